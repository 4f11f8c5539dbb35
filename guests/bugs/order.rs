//! Order violation: a new LWP uses what its creator writes when the creation has returned.
//!
//! "I am still running, so the new one has not begun." It may have begun, and ended, before `_lwp_create(2)` returns in
//! its creator. What it needs has to be there before it may run: here it is created suspended.
//!
//! The window has no system call: from the return of `_lwp_create` to the store of the id.

use crate::How;
use core::sync::atomic::{AtomicI32, Ordering};
use rt::check::Verdict;
use rt::ensure;
use rt::lwp::{self, How as Start};

const WORKERS: usize = 4;

/// The id of each worker, by its number.
static IDS: [AtomicI32; WORKERS] = [const { AtomicI32::new(0) }; WORKERS];
/// Who has done each job: an id.
static DONE_BY: [AtomicI32; WORKERS] = [const { AtomicI32::new(0) }; WORKERS];

pub(crate) fn run(how: How) -> Verdict {
    let mut workers = [None; WORKERS];
    for (number, worker) in workers.iter_mut().enumerate() {
        *worker = Some(match how {
            How::Bug => {
                let new = Start::new().spawn(move || work(number))?;
                IDS[number].store(new.lid.raw(), Ordering::Relaxed);
                new
            }
            How::Fixed => {
                let new = Start::new().suspended().spawn(move || work(number))?;
                IDS[number].store(new.lid.raw(), Ordering::Relaxed);
                lwp::resume(new.lid)?;
                new
            }
        });
    }
    for worker in workers.into_iter().flatten() {
        worker.join()?;
    }
    for (job, by) in DONE_BY.iter().enumerate() {
        ensure!(
            by.load(Ordering::Relaxed) != 0,
            "nobody knows who has done job {job}"
        );
    }
    Ok(())
}

/// One job, with the worker's signature.
fn work(number: usize) {
    let signature = IDS[number].load(Ordering::Relaxed);
    DONE_BY[number].store(signature, Ordering::Relaxed);
}
