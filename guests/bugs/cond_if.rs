//! A condition variable without a loop: an LWP takes the end of its wait for what it waited for.
//!
//! A wait ends when somebody has signalled; then the LWP queues for the mutex like everybody else, and another may take
//! the item first. (A wait may also end for no reason at all.) What was waited for has to be looked at again.

use crate::How;
use rt::check::Verdict;
use rt::ensure;
use rt::lock::{Condvar, Mutex};
use rt::lwp::spawn;

/// Items that each of two LWPs takes.
const EACH: u32 = 4;

/// How many items there are.
static ITEMS: Mutex<u32> = Mutex::new(0);
static FILLED: Condvar = Condvar::new();

pub(crate) fn run(how: How) -> Verdict {
    let takers = [(); 2].map(|()| spawn(move || (0..EACH).filter(|_| !take(how)).count()));
    let putter = spawn(|| {
        for _ in 0..2 * EACH {
            put();
        }
    });
    putter.join()?;
    for taker in takers {
        ensure!(taker.join()? == 0, "took an item where there was none");
    }
    Ok(())
}

fn put() {
    *ITEMS.lock() += 1;
    FILLED.signal();
}

/// Takes an item; says whether there was one.
fn take(how: How) -> bool {
    let mut items = ITEMS.lock();
    match how {
        How::Bug => {
            if *items == 0 {
                items = FILLED.wait(items);
            }
        }
        How::Fixed => {
            while *items == 0 {
                items = FILLED.wait(items);
            }
        }
    }
    let left = items.checked_sub(1);
    *items = left.unwrap_or(0);
    left.is_some()
}
