//! Many LWPs at once: a million, and what each of the operations costs while there are so many.

use crate::cost;
use crate::crowd::Crowd;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use rt::abi::lwp::LwpId;
use rt::abi::signal::{SaFlags, Siginfo, Signo};
use rt::abi::ucontext::Ucontext;
use rt::check::Verdict;
use rt::time::{SECOND, now, timespec};
use rt::{lwp, process, say, sig};

/// A stack for a loop around park, and for a signal frame on top of it.
const STACK: usize = 4096;
/// How often an operation is done at least, however few LWPs there are.
const LEAST: u64 = 2000;

static MAIN: AtomicI32 = AtomicI32::new(0);
/// LWPs that have come since it was last set to 0, and when to tell the first LWP.
static CAME: AtomicU64 = AtomicU64::new(0);
static AWAITED: AtomicU64 = AtomicU64::new(0);
static LEAVE: AtomicBool = AtomicBool::new(false);
/// Goes up whenever the parked are to come.
static CALLED: AtomicU32 = AtomicU32::new(0);

/// Counts the caller, and tells the first LWP when it was the last.
fn come() {
    if CAME.fetch_add(1, Ordering::AcqRel) + 1 == AWAITED.load(Ordering::Relaxed) {
        let _ = lwp::unpark(LwpId::new(MAIN.load(Ordering::Relaxed)));
    }
}

/// Sets up for `count` comers.
fn expect(count: u64) {
    MAIN.store(lwp::me().raw(), Ordering::Relaxed);
    CAME.store(0, Ordering::Relaxed);
    AWAITED.store(count, Ordering::Relaxed);
}

/// Has the next `count` that are woken come.
fn call(count: u64) {
    expect(count);
    CALLED.fetch_add(1, Ordering::Release);
}

/// Parks until they have come.
fn all_came() {
    while CAME.load(Ordering::Acquire) < AWAITED.load(Ordering::Relaxed) {
        let _ = lwp::park();
    }
}

/// Whether the parks of [`come_and_park`] have a time.
static TIMED: AtomicBool = AtomicBool::new(false);

/// Comes, and parks; again whenever called, until it may leave.
extern "C" fn come_and_park(i: u64) {
    let mut seen = CALLED.load(Ordering::Acquire);
    come();
    loop {
        if TIMED.load(Ordering::Relaxed) {
            // Never over; each at another time.
            let _ = lwp::park_for(&mut timespec(1000 * SECOND + i * 1_000_003));
        } else {
            let _ = lwp::park();
        }
        if LEAVE.load(Ordering::Acquire) {
            return;
        }
        let now = CALLED.load(Ordering::Acquire);
        if now != seen {
            seen = now;
            come();
        }
    }
}

/// Makes `count` LWPs and has them park. Returns how long `_lwp_create` took altogether.
fn gather(count: u64) -> Result<(Crowd, u64), rt::Errno> {
    let crowd = Crowd::new(count, STACK)?;
    let mut uc = crowd.context(come_and_park)?;
    let mut made = 0;
    for part in crowd.parts() {
        expect(part.len() as u64);
        let start = now();
        crowd.create_part(&mut uc, part)?;
        made += now() - start;
        all_came();
    }
    Ok((crowd, made))
}

/// Has all leave and waits for them. Returns how long that took.
fn dismiss(crowd: &Crowd) -> Result<u64, rt::Errno> {
    LEAVE.store(true, Ordering::Release);
    let start = now();
    crowd.unpark_all();
    crowd.wait()?;
    let took = now() - start;
    LEAVE.store(false, Ordering::Relaxed);
    crowd.unmap();
    Ok(took)
}

/// Tells whoever measures memory that now is the time, and waits for his answer; where nobody
/// answers, it goes on.
fn pause(what: &str) {
    say!("{what}");
    let _ = process::read(0, &mut [0]);
}

/// `count` LWPs, all parked, all woken, all waited for.
pub(crate) fn million(count: u64) -> Verdict {
    pause("before");
    let start = now();
    let (crowd, _) = gather(count)?;
    let parked = now();
    pause("parked");
    let took = parked - start + dismiss(&crowd)?;
    cost("million", took, count);
    Ok(())
}

/// What each operation costs while there are `count` LWPs.
pub(crate) fn curve(count: u64) -> Verdict {
    sig::catch(Signo::SIGUSR1, handle, SaFlags::empty())?;
    let rounds = LEAST.div_ceil(count.max(1));
    let (mut creating, mut leaving) = (0, 0);
    for _ in 1..rounds {
        let (crowd, made) = gather(count)?;
        creating += made;
        leaving += dismiss(&crowd)?;
    }
    let (crowd, made) = gather(count)?;
    cost("curve_create", creating + made, rounds * count);
    unpark(&crowd, count, rounds);
    switch(&crowd, count, rounds);
    timer(count, &crowd, rounds);
    signal(&crowd)?;
    cost("curve_exit", leaving + dismiss(&crowd)?, rounds * count);
    Ok(())
}

/// `_lwp_unpark` of all, one after the other; the calls alone.
fn unpark(crowd: &Crowd, count: u64, rounds: u64) {
    let mut took = 0;
    for part in (0..rounds).flat_map(|_| crowd.parts()) {
        call(part.len() as u64);
        let start = now();
        for i in part {
            let _ = lwp::unpark(crowd.lid(i));
        }
        took += now() - start;
        all_came();
    }
    cost("curve_unpark", took, rounds * count);
}

/// A switch: from one LWP to the next, through all; and to one and back, while the others sleep.
fn switch(crowd: &Crowd, count: u64, rounds: u64) {
    let mut took = 0;
    for part in (0..rounds).flat_map(|_| crowd.parts()) {
        call(part.len() as u64);
        crowd.unpark_part(part);
        // All of them are runnable: from here on each is switched to, comes, and parks.
        let start = now();
        all_came();
        took += now() - start;
    }
    cost("curve_switch", took, rounds * count);
    let one = crowd.lid(crowd.len() / 2);
    let start = now();
    for _ in 0..LEAST {
        call(1);
        let _ = lwp::unpark(one);
        all_came();
    }
    cost("curve_switch_one", now() - start, LEAST);
}

/// What a time adds to a park: armed, and taken back by the unpark, while all the others' are armed.
fn timer(count: u64, crowd: &Crowd, rounds: u64) {
    let turn = || {
        call(count);
        crowd.unpark_all();
        all_came();
    };
    let mut took = [0; 2];
    for timed in [false, true] {
        TIMED.store(timed, Ordering::Relaxed);
        // From this turn on they park in the new way.
        turn();
        let start = now();
        (0..rounds).for_each(|_| turn());
        took[usize::from(timed)] = now() - start;
    }
    TIMED.store(false, Ordering::Relaxed);
    turn();
    cost(
        "curve_timer",
        took[1].saturating_sub(took[0]),
        rounds * count,
    );
}

extern "C" fn handle(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
    come();
}

/// A signal to an LWP, until its handler has run: to up to 10,000, one after the other; and to the
/// process, which leaves the choice to the kernel.
fn signal(crowd: &Crowd) -> Verdict {
    const FEW: u64 = 200;
    let some = crowd.len().min(10_000);
    let rounds = LEAST.div_ceil(some as u64);
    let step = crowd.len() / some;
    let start = now();
    for _ in 0..rounds {
        expect(some as u64);
        for i in 0..some {
            let _ = lwp::kill(crowd.lid(i * step), Signo::SIGUSR1.raw());
        }
        all_came();
    }
    cost("curve_signal", now() - start, rounds * some as u64);
    let start = now();
    for _ in 0..FEW {
        expect(1);
        process::kill(process::pid(), Signo::SIGUSR1.raw())?;
        all_came();
    }
    cost("curve_psignal", now() - start, FEW);
    Ok(())
}
