//! Starvation: a lock lets readers in although a writer has been waiting for longer.
//!
//! As long as one reader is always there when the next comes, the writer never gets its turn. Who comes after a waiting
//! writer has to queue behind it.
//!
//! The lock counts the readers that were let in past a waiting writer. More than [`PATIENCE`] in one wait is a finding.

use crate::How;
use rt::check::Verdict;
use rt::ensure;
use rt::lock::{Condvar, Mutex};
use rt::lwp::spawn;
use rt::sync::Word;
use rt::time::now;

/// LWPs that read, and how often each does.
const READERS: usize = 2;
const READS: u32 = 12;
const WRITES: u32 = 3;
/// Readers that may come past a waiting writer.
const PATIENCE: u32 = 8;

struct State {
    readers: u32,
    writes: bool,
    /// Writers that wait.
    waiting: u32,
    /// Readers that came in since one has been waiting.
    past: u32,
}

static LOCK: Mutex<State> = Mutex::new(State {
    readers: 0,
    writes: false,
    waiting: 0,
    past: 0,
});
static MAY_READ: Condvar = Condvar::new();
static MAY_WRITE: Condvar = Condvar::new();
/// What is read and written, with the time.
static VALUE: Word = Word::new();

pub(crate) fn run(how: How) -> Verdict {
    let readers = [(); READERS].map(|()| {
        spawn(move || {
            for _ in 0..READS {
                read(how);
            }
        })
    });
    let writer = spawn(|| (0..WRITES).map(|_| write()).max());
    for reader in readers {
        reader.join()?;
    }
    let past = writer.join()?.unwrap_or(0);
    ensure!(
        past <= PATIENCE,
        "{past} readers came in while a writer waited"
    );
    ensure!(
        VALUE.get() == WRITES,
        "{} writes, not {WRITES}",
        VALUE.get()
    );
    Ok(())
}

fn read(how: How) {
    let mut lock = LOCK.lock();
    match how {
        How::Bug => {
            while lock.writes {
                lock = MAY_READ.wait(lock);
            }
        }
        How::Fixed => {
            while lock.writes || lock.waiting > 0 {
                lock = MAY_READ.wait(lock);
            }
        }
    }
    lock.readers += 1;
    if lock.waiting > 0 {
        lock.past += 1;
    }
    drop(lock);
    let _ = (VALUE.get(), now());
    let mut lock = LOCK.lock();
    lock.readers -= 1;
    if lock.readers == 0 {
        MAY_WRITE.signal();
    }
}

/// Gives the number of readers that came in while it waited.
fn write() -> u32 {
    let mut lock = LOCK.lock();
    lock.past = 0;
    lock.waiting += 1;
    while lock.writes || lock.readers > 0 {
        lock = MAY_WRITE.wait(lock);
    }
    lock.waiting -= 1;
    lock.writes = true;
    let past = lock.past;
    drop(lock);
    if now() != 0 {
        VALUE.add();
    }
    let mut lock = LOCK.lock();
    lock.writes = false;
    drop(lock);
    MAY_READ.broadcast();
    past
}
