//! A counter raised by a load and a store: each LWP takes the next place of a log, and two may take the same.
//!
//! One entry overwrites the other. The place has to be taken in one step.
//!
//! The window has no system call: it begins some instructions after the clock was read, and is as long as an entry
//! takes to write.

use crate::How;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use rt::check::Verdict;
use rt::ensure;
use rt::lwp::spawn;
use rt::time::now;

const WRITERS: usize = 3;
/// Entries of each.
const EACH: usize = 5;

/// Who writes what, and when.
struct Entry {
    writer: AtomicUsize,
    number: AtomicUsize,
    seconds: AtomicU32,
    micros: AtomicU32,
}

static LOG: [Entry; WRITERS * EACH] = [const {
    Entry {
        writer: AtomicUsize::new(0),
        number: AtomicUsize::new(0),
        seconds: AtomicU32::new(0),
        micros: AtomicU32::new(0),
    }
}; WRITERS * EACH];
/// Entries in the log.
static LEN: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn run(how: How) -> Verdict {
    let mut writer = 0;
    let writers = [(); WRITERS].map(|()| {
        writer += 1;
        spawn(move || {
            for number in 0..EACH {
                write(how, writer, number);
            }
        })
    });
    for writer in writers {
        writer.join()?;
    }
    let len = LEN.load(Ordering::Relaxed);
    ensure!(len == LOG.len(), "{len} entries, not {}", LOG.len());
    Ok(())
}

/// Writes an entry in the next place.
fn write(how: How, writer: usize, number: usize) {
    let time = now();
    match how {
        How::Bug => {
            let place = LEN.load(Ordering::Relaxed);
            LOG[place].fill(writer, number, time);
            LEN.store(place + 1, Ordering::Relaxed);
        }
        How::Fixed => {
            let place = LEN.fetch_add(1, Ordering::Relaxed);
            LOG[place].fill(writer, number, time);
        }
    }
}

impl Entry {
    fn fill(&self, writer: usize, number: usize, time: u64) {
        let micros = u32::try_from(time / 1000 % 1_000_000).unwrap_or(0);
        let seconds = u32::try_from(time / 1_000_000_000).unwrap_or(u32::MAX);
        self.writer.store(writer, Ordering::Relaxed);
        self.number.store(number, Ordering::Relaxed);
        self.seconds.store(seconds, Ordering::Relaxed);
        self.micros.store(micros, Ordering::Relaxed);
    }
}
