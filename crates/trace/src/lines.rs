//! How lines leave: in order, from whichever vcpu, without a thread of their own.
//!
//! Whoever has something to say appends it, and whoever comes first carries away all there is. Who holds locks
//! of the kernel's never waits for the reader: what he cannot write at once is left for the next.
//!
//! # Invariants
//! 1. At most one writes at a time ([`Queue::is_busy`]); nothing is locked while he does.
//! 2. What waits to be written is bounded: who may wait does so above [`ENOUGH`], and what others have to
//!    say above twice that is dropped and counted.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What waits to be written, in bytes, before writers are waited for.
const ENOUGH: usize = 1 << 20;
/// So much can be written without waiting where [`Sink::is_ready`]: `PIPE_BUF`.
const PIECE: usize = 4096;

/// Where lines go.
pub trait Sink: Send + Sync {
    /// Writes all of it, however long that takes. Nobody is told of a failure.
    fn write(&self, bytes: &[u8]);

    /// Whether 4096 bytes can be written without waiting.
    fn is_ready(&self) -> bool;

    /// The next image of this process is to find the place open.
    fn hand_on(&self);
}

/// Whether a caller may wait for the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// He holds no lock of the kernel's.
    Waits,
    /// He must go on.
    GoesOn,
}

/// Lines on their way.
pub struct Lines {
    sink: Box<dyn Sink>,
    queue: Mutex<Queue>,
    written: Condvar,
}

#[derive(Default)]
struct Queue {
    text: Vec<u8>,
    is_busy: bool,
    dropped: u64,
}

impl Lines {
    /// Nothing yet, for `sink`.
    pub fn new(sink: Box<dyn Sink>) -> Self {
        Self {
            sink,
            queue: Mutex::default(),
            written: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds text behind all other.
    pub(crate) fn append(&self, text: &str) {
        let mut queue = self.lock();
        if queue.text.len() > 2 * ENOUGH {
            queue.dropped += 1;
            return;
        }
        if queue.dropped > 0 {
            let note = format!("\n... {} lines dropped\n", queue.dropped);
            queue.text.extend(note.as_bytes());
            queue.dropped = 0;
        }
        queue.text.extend(text.as_bytes());
    }

    /// Writes what there is, unless somebody else does.
    pub(crate) fn flush(&self, patience: Patience) {
        let mut queue = self.lock();
        if patience == Patience::Waits {
            let is_too_much = |queue: &mut Queue| queue.is_busy && queue.text.len() > ENOUGH;
            let waited = self.written.wait_while(queue, is_too_much);
            queue = waited.unwrap_or_else(PoisonError::into_inner);
        }
        while !queue.is_busy && !queue.text.is_empty() {
            if patience == Patience::GoesOn && !self.sink.is_ready() {
                return;
            }
            let piece = queue.take(patience);
            queue.is_busy = true;
            drop(queue);
            self.sink.write(&piece);
            queue = self.lock();
            queue.is_busy = false;
            self.written.notify_all();
        }
    }

    /// Writes what there is, and waits for whoever else writes.
    pub(crate) fn flush_all(&self) {
        self.flush(Patience::Waits);
        let queue = self.lock();
        let queue = self.written.wait_while(queue, |queue| queue.is_busy);
        drop(queue);
        self.flush(Patience::Waits);
    }

    /// In a fork child: what waits here is the parent's to write.
    pub(crate) fn forget(&self) {
        *self.lock() = Queue::default();
    }

    /// See [`Sink::hand_on`].
    pub(crate) fn hand_on(&self) {
        self.sink.hand_on();
    }
}

impl Queue {
    /// Takes out what is to be written next: whole lines, if possible.
    fn take(&mut self, patience: Patience) -> Vec<u8> {
        if patience == Patience::Waits || self.text.len() <= PIECE {
            return core::mem::take(&mut self.text);
        }
        let end = self.text[..PIECE].iter().rposition(|&byte| byte == b'\n');
        self.text
            .drain(..end.map_or(PIECE, |end| end + 1))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicBool, Ordering};
    use std::sync::Arc;

    #[derive(Default)]
    struct Paper {
        text: Mutex<Vec<u8>>,
        is_full: AtomicBool,
    }

    impl Sink for Arc<Paper> {
        fn write(&self, bytes: &[u8]) {
            self.text.lock().unwrap().extend(bytes);
        }
        fn is_ready(&self) -> bool {
            !self.is_full.load(Ordering::Relaxed)
        }
        fn hand_on(&self) {}
    }

    fn lines() -> (Arc<Paper>, Lines) {
        let paper = Arc::new(Paper::default());
        (Arc::clone(&paper), Lines::new(Box::new(paper)))
    }

    #[test]
    fn who_may_not_wait_leaves_it_to_the_next() {
        let (paper, lines) = lines();
        paper.is_full.store(true, Ordering::Relaxed);
        lines.append("first\n");
        lines.flush(Patience::GoesOn);
        assert!(paper.text.lock().unwrap().is_empty());
        lines.append("second\n");
        lines.flush(Patience::Waits);
        assert_eq!(*paper.text.lock().unwrap(), b"first\nsecond\n");
    }

    #[test]
    fn what_is_too_much_is_dropped_and_counted() {
        let (paper, lines) = lines();
        let long = "x".repeat(ENOUGH + 1);
        for text in [&*long, &*long, "lost\n", "lost\n"] {
            lines.append(text);
        }
        lines.flush(Patience::Waits);
        lines.append("found\n");
        lines.flush_all();
        let text = paper.text.lock().unwrap().split_off(2 * long.len());
        assert_eq!(text, b"\n... 2 lines dropped\nfound\n");
    }

    #[test]
    fn a_child_does_not_write_what_its_parent_will() {
        let (paper, lines) = lines();
        lines.append("the parent's\n");
        lines.forget();
        lines.flush_all();
        assert!(paper.text.lock().unwrap().is_empty());
    }
}
