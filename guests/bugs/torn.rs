//! A torn update: several words that belong together are read and written without a lock.
//!
//! Each word alone is written in one step; all of them are not. A reader gets some of the new ones and some of the old.
//!
//! There are two windows, both without a system call: some instructions after the clock was read, as long as the words
//! take to write, and as long as they take to read.

use crate::How;
use core::sync::atomic::{AtomicU32, Ordering};
use rt::check::Verdict;
use rt::ensure;
use rt::lock::Mutex;
use rt::lwp::spawn;
use rt::sync::Word;
use rt::time::now;

const UPDATES: u32 = 6;
const READS: u32 = 6;

/// Prices of one day.
static PRICES: [AtomicU32; 8] = [const { AtomicU32::new(0) }; 8];
/// Held by whoever reads or writes them.
static LOCK: Mutex<()> = Mutex::new(());
/// Looks at the clock.
static LOOKS: Word = Word::new();

pub(crate) fn run(how: How) -> Verdict {
    let writer = spawn(move || {
        for day in 1..=UPDATES {
            look_at_the_clock();
            match how {
                How::Bug => update(day),
                How::Fixed => {
                    let _held = LOCK.lock();
                    update(day);
                }
            }
        }
    });
    let readers = [(); 2].map(|()| {
        spawn(move || {
            let whole = (0..READS).filter(|_| {
                look_at_the_clock();
                match how {
                    How::Bug => are_of_one_day(),
                    How::Fixed => {
                        let _held = LOCK.lock();
                        are_of_one_day()
                    }
                }
            });
            whole.count()
        })
    });
    writer.join()?;
    for reader in readers {
        let torn = READS as usize - reader.join()?;
        ensure!(torn == 0, "{torn} times prices of two days");
    }
    Ok(())
}

fn update(day: u32) {
    for (price, n) in PRICES.iter().zip(0..) {
        price.store(day * 10 + n, Ordering::Relaxed);
    }
}

fn are_of_one_day() -> bool {
    let day = PRICES[0].load(Ordering::Relaxed) / 10;
    PRICES
        .iter()
        .all(|price| price.load(Ordering::Relaxed) / 10 == day)
}

fn look_at_the_clock() {
    if now() != 0 {
        LOOKS.add();
    }
}
