//! The hash of the event stream: equal for equal runs.

use crate::machine::Time;
use core::hash::{Hash, Hasher};
use core::sync::atomic::{AtomicU64, Ordering};
use lwp_kernel::events::{Event, Listener, What};
use rustc_hash::FxHasher;

/// A listener that keeps a hash of what it was told.
///
/// Virtual times are part of it, real ones are not, nor by which road a system call has come: a single step takes the slow
/// one. Of a process that forks, what its child does is not.
#[derive(Debug)]
pub struct EventHash {
    time: Time,
    hash: AtomicU64,
    events: AtomicU64,
}

impl EventHash {
    /// Of nothing yet.
    pub fn new(time: Time) -> Self {
        Self {
            time,
            hash: AtomicU64::new(0),
            events: AtomicU64::new(0),
        }
    }

    /// The hash of what has happened.
    pub fn hash(&self) -> u64 {
        self.hash.load(Ordering::Relaxed)
    }

    /// How many events it is of.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }
}

impl Listener for EventHash {
    fn event(&self, event: &Event) {
        let mut hasher = FxHasher::default();
        self.hash.load(Ordering::Relaxed).hash(&mut hasher);
        if self.time == Time::Virtual {
            event.at.hash(&mut hasher);
        }
        (event.by, event.lid).hash(&mut hasher);
        let what = match event.what {
            What::Enter {
                number,
                args,
                stack,
                ..
            } => What::Enter {
                number,
                args,
                stack,
                trapped: false,
            },
            what => what,
        };
        what.hash(&mut hasher);
        self.hash.store(hasher.finish(), Ordering::Relaxed);
        self.events.fetch_add(1, Ordering::Relaxed);
    }
}
