//! One is woken where all should be: those who put and those who take wait on the same condition variable.
//!
//! After a change that only a taker can use, the one who is woken may be another putter. It goes back to sleep, and the
//! wake-up is used up. With one condition variable for both, all have to look; or there are two of them.

use crate::How;
use rt::check::Verdict;
use rt::ensure;
use rt::lock::{Condvar, Mutex};
use rt::lwp::spawn;

/// LWPs that put items, and as many that take some; and how many each does.
const PAIRS: usize = 2;
const EACH: u32 = 4;

/// A place for one item.
static PLACE: Mutex<Option<u32>> = Mutex::new(None);
/// It was filled, or emptied.
static CHANGED: Condvar = Condvar::new();

pub(crate) fn run(how: How) -> Verdict {
    let takers = [(); PAIRS].map(|()| spawn(move || (0..EACH).map(|_| take(how)).sum::<u32>()));
    let putters = [(); PAIRS].map(|()| spawn(move || (0..EACH).for_each(|item| put(how, item))));
    let mut sum = 0;
    for taker in takers {
        sum += taker.join()?;
    }
    for putter in putters {
        putter.join()?;
    }
    let wanted = 2 * (0..EACH).sum::<u32>();
    ensure!(sum == wanted, "the sum is {sum}, not {wanted}");
    Ok(())
}

fn put(how: How, item: u32) {
    let mut place = PLACE.lock();
    while place.is_some() {
        place = CHANGED.wait(place);
    }
    *place = Some(item);
    tell(how);
}

fn take(how: How) -> u32 {
    let mut place = PLACE.lock();
    loop {
        if let Some(item) = place.take() {
            tell(how);
            return item;
        }
        place = CHANGED.wait(place);
    }
}

fn tell(how: How) {
    match how {
        How::Bug => CHANGED.signal(),
        How::Fixed => CHANGED.broadcast(),
    }
}
