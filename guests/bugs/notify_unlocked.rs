//! A condition variable whose condition is changed without the mutex.
//!
//! "It is one word, and written in one step: what is the mutex for?" For the LWP that has just looked at the word and is
//! about to wait: it is in no list yet, and the broadcast finds nobody. Only the mutex keeps the change out of that
//! moment. (The broadcast itself need not be under it.)

use crate::How;
use rt::check::Verdict;
use rt::lock::{Condvar, Mutex};
use rt::lwp::spawn;
use rt::sync::Word;
use rt::time::now;

const STAGES: u32 = 3;

/// The stage that has been reached.
static STAGE: Word = Word::new();
/// Held by those who wait for a stage.
static LOCK: Mutex<()> = Mutex::new(());
static REACHED: Condvar = Condvar::new();
/// Work done between stages.
static WORK: Word = Word::new();

pub(crate) fn run(how: How) -> Verdict {
    let waiters = [(); 2].map(|()| {
        spawn(|| {
            for stage in 1..=STAGES {
                wait_for(stage);
            }
        })
    });
    let worker = spawn(move || {
        for _ in 0..STAGES {
            work();
            reach_next(how);
        }
    });
    worker.join()?;
    for waiter in waiters {
        waiter.join()?;
    }
    Ok(())
}

fn wait_for(stage: u32) {
    let mut held = LOCK.lock();
    while STAGE.get() < stage {
        held = REACHED.wait(held);
    }
}

fn reach_next(how: How) {
    match how {
        How::Bug => {
            STAGE.add();
        }
        How::Fixed => {
            let _held = LOCK.lock();
            STAGE.add();
        }
    }
    REACHED.broadcast();
}

fn work() {
    if now() != 0 {
        WORK.add();
    }
}
