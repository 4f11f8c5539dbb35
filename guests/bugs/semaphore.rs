//! A semaphore whose count slips: it is raised by a load and a store.
//!
//! Two who post at the same time raise it by one, and whoever waits for the second waits for ever. One who takes
//! between the load and the store takes for nothing. The count has to be raised in one step.
//!
//! The window has no system call: it begins some instructions after the end of the work for which one posts.

use crate::How;
use core::sync::atomic::{AtomicU32, Ordering};
use rt::abi::lwp::LwpId;
use rt::check::Verdict;
use rt::ensure;
use rt::lwp::{self, spawn};
use rt::sync::Word;
use rt::time::now;

/// LWPs that post, and how often each does.
const POSTERS: usize = 3;
const EACH: u32 = 5;

static COUNT: AtomicU32 = AtomicU32::new(0);
/// The highest count so far, for the statistics.
static HIGHEST: AtomicU32 = AtomicU32::new(0);
/// Pieces of work done.
static DONE: Word = Word::new();

pub(crate) fn run(how: How) -> Verdict {
    let taker = lwp::me();
    let posters = [(); POSTERS].map(|()| {
        spawn(move || {
            for _ in 0..EACH {
                work();
                post(how, taker);
            }
        })
    });
    for _ in posters {
        for _ in 0..EACH {
            take();
        }
    }
    for poster in posters {
        poster.join()?;
    }
    let left = COUNT.load(Ordering::Relaxed);
    ensure!(left == 0, "all is taken, and the count is {left}");
    Ok(())
}

fn work() {
    if now() != 0 {
        DONE.add();
    }
}

/// Raises the count, and wakes the one who takes.
fn post(how: How, taker: LwpId) {
    let before = match how {
        How::Bug => {
            let before = COUNT.load(Ordering::Relaxed);
            note(before + 1);
            COUNT.store(before + 1, Ordering::Relaxed);
            before
        }
        How::Fixed => {
            let before = COUNT.fetch_add(1, Ordering::SeqCst);
            note(before + 1);
            before
        }
    };
    if before == 0 {
        // It does not end before all have posted.
        let _ = lwp::unpark(taker);
    }
}

/// Keeps the highest count.
fn note(count: u32) {
    if count > HIGHEST.load(Ordering::Relaxed) {
        HIGHEST.store(count, Ordering::Relaxed);
    }
}

/// Lowers the count, and waits for that if it is 0. For one LWP only.
fn take() {
    loop {
        let count = COUNT.load(Ordering::SeqCst);
        if count == 0 {
            let _ = lwp::park();
        } else if COUNT
            .compare_exchange(count, count - 1, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
        {
            return;
        }
    }
}
