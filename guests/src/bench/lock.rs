//! A place for one item between two LWPs, with a mutex and condition variables built on park and unpark.

use crate::measure;
use rt::check::Verdict;
use rt::lock::{Mutex, Waiters};
use rt::lwp::spawn;

struct Slot {
    /// 0: there is none.
    item: u64,
    filled: Waiters,
    emptied: Waiters,
}

static SLOT: Mutex<Slot> = Mutex::new(Slot {
    item: 0,
    filled: Waiters::NONE,
    emptied: Waiters::NONE,
});

/// Puts an item other than 0 in, as soon as the place is free.
fn put(item: u64) {
    let mut slot = SLOT.lock();
    while slot.item != 0 {
        slot = slot.wait(|slot| &mut slot.emptied);
    }
    slot.item = item;
    slot.filled.wake_one();
}

/// Takes an item out, as soon as there is one.
fn take() -> u64 {
    let mut slot = SLOT.lock();
    while slot.item == 0 {
        slot = slot.wait(|slot| &mut slot.filled);
    }
    let item = core::mem::take(&mut slot.item);
    slot.emptied.wake_one();
    item
}

/// One item from one LWP to another, through a place for one.
pub(crate) fn hand_over(count: u64) -> Verdict {
    const LAST: u64 = u64::MAX;
    let other = spawn(|| while take() != LAST {});
    measure("lock", count, |n| (1..=n).for_each(put));
    put(LAST);
    other.join()?;
    Ok(())
}
