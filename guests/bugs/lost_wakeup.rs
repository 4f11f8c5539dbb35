//! Lost wake-up: an LWP looks whether there is work, and only then says that it is going to sleep.
//!
//! Whoever posts work in between finds nobody to wake, and the worker sleeps with work to do. One has to be on the list
//! before the last look, and again before each further one: whoever has taken one off the list sends one wake-up, which
//! may end a park that has nothing to do with it.

use crate::How;
use core::sync::atomic::{AtomicI32, Ordering};
use rt::abi::lwp::LwpId;
use rt::check::Verdict;
use rt::lwp::{self, spawn};
use rt::sync::Word;

const JOBS: u32 = 6;

/// Jobs posted so far.
static POSTED: Word = Word::new();
/// The worker's id while it sleeps, or 0.
static SLEEPER: AtomicI32 = AtomicI32::new(0);

pub(crate) fn run(how: How) -> Verdict {
    let worker = spawn(move || {
        for done in 0..JOBS {
            match how {
                How::Bug => sleep_if_idle(done),
                How::Fixed => sleep_until_posted(done),
            }
        }
    });
    let poster = spawn(|| {
        for _ in 0..JOBS {
            post();
        }
    });
    poster.join()?;
    worker.join()?;
    Ok(())
}

fn post() {
    POSTED.add();
    let sleeper = SLEEPER.swap(0, Ordering::SeqCst);
    if sleeper != 0 {
        // It may be gone by now: then it has all that it waited for.
        let _ = lwp::unpark(LwpId::new(sleeper));
    }
}

fn enlist() {
    SLEEPER.store(lwp::me().raw(), Ordering::SeqCst);
}

/// The bug: looks, and then enlists.
fn sleep_if_idle(done: u32) {
    while POSTED.get() == done {
        enlist();
        let _ = lwp::park();
    }
}

/// The twin: enlists, and then looks.
fn sleep_until_posted(done: u32) {
    loop {
        enlist();
        if POSTED.get() != done {
            return;
        }
        let _ = lwp::park();
    }
}
