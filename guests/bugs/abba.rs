//! ABBA: two locks are taken in the order in which the arguments come.
//!
//! While one LWP moves money from A to B, another moves some from B to A: each has one lock and waits for the other's.
//! Where several locks are held at a time, they have one order.

use crate::How;
use rt::check::Verdict;
use rt::ensure_eq;
use rt::lock::Mutex;
use rt::lwp::spawn;
use rt::sync::Word;
use rt::time::now;

const ROUNDS: u32 = 4;

static ACCOUNTS: [Mutex<u32>; 2] = [const { Mutex::new(100) }; 2];
/// Lines of the journal.
static LINES: Word = Word::new();

pub(crate) fn run(how: How) -> Verdict {
    let there = spawn(move || transfers(how, 0, 1));
    let back = spawn(move || transfers(how, 1, 0));
    there.join()?;
    back.join()?;
    ensure_eq!(*ACCOUNTS[0].lock(), 100);
    ensure_eq!(*ACCOUNTS[1].lock(), 100);
    ensure_eq!(LINES.get(), 2 * ROUNDS);
    Ok(())
}

fn transfers(how: How, from: usize, to: usize) {
    for _ in 0..ROUNDS {
        transfer(how, from, to);
    }
}

fn transfer(how: How, from: usize, to: usize) {
    let (first, second) = match how {
        How::Bug => (from, to),
        How::Fixed => (from.min(to), from.max(to)),
    };
    let mut first_held = ACCOUNTS[first].lock();
    note();
    let mut second_held = ACCOUNTS[second].lock();
    let (source, target) = if first == from {
        (&mut *first_held, &mut *second_held)
    } else {
        (&mut *second_held, &mut *first_held)
    };
    *source -= 1;
    *target += 1;
}

/// A line in the journal, with the time.
fn note() {
    if now() != 0 {
        LINES.add();
    }
}
