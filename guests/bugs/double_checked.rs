//! Double-checked initialisation: a table is shown to those who look without the lock before it is filled.
//!
//! The lock keeps two from making a table each. It does not keep anybody from using one that is being made: the first
//! look is without it. The table has to be complete when its address is stored.
//!
//! The window has no system call: it begins at the return of `mmap(2)`, and is as long as filling takes.

use crate::How;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use rt::check::{Fail, Verdict};
use rt::ensure;
use rt::lock::Mutex;
use rt::lwp::spawn;
use rt::vm::{self, PAGE};

const LWPS: usize = 3;
/// Squares of the numbers below this.
const SQUARES: u32 = 48;

type Table = [AtomicU32; SQUARES as usize];

/// The table, or null.
static TABLE: AtomicPtr<Table> = AtomicPtr::new(ptr::null_mut());
/// Held by whoever makes it.
static MAKING: Mutex<()> = Mutex::new(());

pub(crate) fn run(how: How) -> Verdict {
    let lwps = [(); LWPS].map(|()| spawn(move || sum(how)));
    let wanted = (0..SQUARES).map(|n| n * n).sum();
    for lwp in lwps {
        ensure!(
            lwp.join()? == Some(wanted),
            "used a table that is not complete"
        );
    }
    Ok(())
}

/// The sum of all that is in the table.
fn sum(how: How) -> Option<u32> {
    let table = table(how).ok()?;
    Some(table.iter().map(|n| n.load(Ordering::Relaxed)).sum())
}

/// The one table, which the first who wants it makes.
fn table(how: How) -> Result<&'static Table, Fail> {
    if let Some(table) = made() {
        return Ok(table);
    }
    let _making = MAKING.lock();
    if let Some(table) = made() {
        return Ok(table);
    }
    let new: *mut Table = vm::map(PAGE)?.ptr(0);
    // SAFETY: a page of our own, zeroed, that stays mapped.
    let table = unsafe { &*new };
    match how {
        How::Bug => {
            TABLE.store(new, Ordering::Release);
            fill(table);
        }
        How::Fixed => {
            fill(table);
            TABLE.store(new, Ordering::Release);
        }
    }
    Ok(table)
}

fn made() -> Option<&'static Table> {
    // SAFETY: null, or the address of a table that stays mapped.
    unsafe { TABLE.load(Ordering::Acquire).as_ref() }
}

fn fill(table: &Table) {
    for (square, n) in table.iter().zip(0..) {
        square.store(n * n, Ordering::Relaxed);
    }
}
