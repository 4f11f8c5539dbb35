//! LWPs that wake each other by park and unpark.

use crate::crowd::Crowd;
use crate::{cost, measure};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use rt::abi::lwp::LwpId;
use rt::check::Verdict;
use rt::lwp::{self, spawn};
use rt::sync::Turn;
use rt::time::now;

/// A stack that holds a loop around park.
const STACK: usize = 4096;

/// Two LWPs: two unparks and two parks that sleep.
pub(crate) fn round_trip(count: u64) -> Verdict {
    static TURN: Turn = Turn::new();
    static STOP: AtomicBool = AtomicBool::new(false);
    let main = lwp::me();
    let other = spawn(move || {
        loop {
            TURN.take(1);
            if STOP.load(Ordering::Relaxed) {
                return;
            }
            TURN.give(0, main);
        }
    });
    measure("round_trip", count, |n| {
        for _ in 0..n {
            TURN.give(1, other.lid);
            TURN.take(0);
        }
    });
    STOP.store(true, Ordering::Relaxed);
    TURN.give(1, other.lid);
    other.join()?;
    Ok(())
}

/// How many LWPs pass the word on in a ring.
const RING: u64 = 1000;

/// LWPs that have come to where they park.
static HOME: AtomicU32 = AtomicU32::new(0);

/// Parks until so many have come; the last one unparks us.
fn until_home(all: u32) {
    while HOME.load(Ordering::Acquire) < all {
        let _ = lwp::park();
    }
}

/// How often the word has been passed on, and how often it is to be.
static PASSED: AtomicU64 = AtomicU64::new(0);
static GOAL: AtomicU64 = AtomicU64::new(0);
/// The ids of the ring, and the LWP that waits for its end.
static LIDS: [AtomicI32; 1000] = [const { AtomicI32::new(0) }; 1000];
static MAIN: AtomicI32 = AtomicI32::new(0);

fn id(of: &AtomicI32) -> LwpId {
    LwpId::new(of.load(Ordering::Relaxed))
}

extern "C" fn pass_on(me: u64) {
    if HOME.fetch_add(1, Ordering::AcqRel) + 1 == 1000 {
        let _ = lwp::unpark(id(&MAIN));
    }
    let next = &LIDS[usize::try_from((me + 1) % RING).unwrap_or(0)];
    loop {
        let passed = PASSED.load(Ordering::Acquire);
        if passed == u64::MAX {
            let _ = lwp::park();
            continue;
        }
        if passed >= GOAL.load(Ordering::Relaxed) {
            let _ = lwp::unpark(id(if me + 1 == RING { &MAIN } else { next }));
            return;
        }
        if passed % RING == me {
            PASSED.store(passed + 1, Ordering::Release);
            let _ = lwp::unpark(id(next));
        }
        let _ = lwp::park();
    }
}

/// A word that goes round a ring of 1,000 LWPs; what is counted is one LWP's turn.
pub(crate) fn ring(count: u64) -> Verdict {
    let goal = count.next_multiple_of(RING);
    let crowd = Crowd::new(RING, STACK)?;
    MAIN.store(lwp::me().raw(), Ordering::Relaxed);
    // Nobody has its turn before all are there: the word is with one that does not exist.
    PASSED.store(u64::MAX, Ordering::Relaxed);
    GOAL.store(goal, Ordering::Relaxed);
    crowd.create(pass_on, 0)?;
    for (i, lid) in LIDS.iter().enumerate() {
        lid.store(crowd.lid(i).raw(), Ordering::Relaxed);
    }
    until_home(1000);
    PASSED.store(0, Ordering::Relaxed);
    let start = now();
    let _ = lwp::unpark(crowd.lid(0));
    while PASSED.load(Ordering::Acquire) != goal {
        let _ = lwp::park();
    }
    cost("ring", now() - start, goal);
    crowd.wait()?;
    crowd.unmap();
    Ok(())
}

/// How many LWPs one call wakes.
const TOGETHER: u32 = 1024;

static GENERATION: AtomicU32 = AtomicU32::new(0);
static OVER: AtomicBool = AtomicBool::new(false);

extern "C" fn come_home(_: u64) {
    let mut seen = 0;
    loop {
        if HOME.fetch_add(1, Ordering::AcqRel) + 1 == TOGETHER {
            let _ = lwp::unpark(id(&MAIN));
        }
        while GENERATION.load(Ordering::Acquire) == seen {
            let _ = lwp::park();
        }
        seen = GENERATION.load(Ordering::Acquire);
        if OVER.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// `_lwp_unpark_all` of 1,024 parked LWPs: the call alone, and until each has run and parked again.
pub(crate) fn unpark_all(count: u64) -> Verdict {
    let crowd = Crowd::new(TOGETHER.into(), STACK)?;
    HOME.store(0, Ordering::Relaxed);
    MAIN.store(lwp::me().raw(), Ordering::Relaxed);
    crowd.create(come_home, 0)?;
    until_home(TOGETHER);
    let (mut calls, mut turns) = (0, 0);
    for _ in 0..count {
        HOME.store(0, Ordering::Relaxed);
        GENERATION.fetch_add(1, Ordering::Release);
        let start = now();
        crowd.unpark_all();
        let called = now();
        until_home(TOGETHER);
        turns += now() - start;
        calls += called - start;
    }
    cost("unpark_all", calls, count);
    cost("unpark_all_run", turns, count);
    OVER.store(true, Ordering::Relaxed);
    GENERATION.fetch_add(1, Ordering::Release);
    crowd.unpark_all();
    crowd.wait()?;
    crowd.unmap();
    Ok(())
}
