//! Callouts: things to do when a time has come.
//!
//! One ordered map of deadlines on the monotonic clock. Responsible for order and cancelling; not for
//! noticing that time has passed: an idle vcpu waits in the poller until the first deadline, a busy
//! one asks the machine for a tick (`sched`).
//!
//! # Invariants
//! 1. `next` is the earliest deadline in the map, or [`NEVER`], whenever the lock is free.
//! 2. A callout runs at most once, with no lock held, never before its deadline.
//!
//! Sources: callout(9). Exact instead of ticks: design, settled details.

use crate::kernel::Kernel;
use crate::lwp::Lwp;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, Rank};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The deadline that never comes, in nanoseconds.
const NEVER: u64 = u64::MAX;

/// Something to do later.
pub type Action = Box<dyn FnOnce(&Arc<Kernel>) + Send>;

/// What to do.
pub enum Call {
    /// End sleep number `1` of the LWP by timing out.
    Timeout(Arc<Lwp>, u64),
    /// Run this, with no lock held.
    Run(Action),
}

/// Names a scheduled callout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CalloutId {
    at: Duration,
    seq: u64,
}

/// All callouts of one kernel.
pub struct Callouts {
    next: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    calls: BTreeMap<CalloutId, Call>,
    seq: u64,
}

impl Callouts {
    pub(crate) fn new() -> Self {
        Self {
            next: AtomicU64::new(NEVER),
            inner: Mutex::new(Rank::Callout, Inner::default()),
        }
    }

    /// Schedules `call` for `at`.
    pub fn schedule(&self, at: Duration, call: Call) -> CalloutId {
        let mut inner = self.inner.lock();
        inner.seq += 1;
        let id = CalloutId { at, seq: inner.seq };
        inner.calls.insert(id, call);
        self.publish(&inner);
        id
    }

    /// Cancels; `false` if it has run, or is about to.
    pub fn cancel(&self, id: CalloutId) -> bool {
        let mut inner = self.inner.lock();
        let found = inner.calls.remove(&id).is_some();
        self.publish(&inner);
        found
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Duration> {
        match self.next.load(Ordering::SeqCst) {
            NEVER => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// How many are scheduled.
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().calls.len()
    }

    /// Takes out the first callout that is due at `now`.
    pub(crate) fn take_due(&self, now: Duration) -> Option<Call> {
        if self.next()? > now {
            return None;
        }
        let mut inner = self.inner.lock();
        let first = inner
            .calls
            .first_entry()
            .filter(|first| first.key().at <= now)?;
        let call = first.remove();
        self.publish(&inner);
        Some(call)
    }

    /// Forgets everything: for a fork child. Nothing is dropped, see `Lids::clear`.
    pub(crate) fn clear(&self) {
        let mut inner = self.inner.lock();
        core::mem::forget(core::mem::take(&mut inner.calls));
        self.publish(&inner);
    }

    fn publish(&self, inner: &Inner) {
        let first = inner.calls.keys().next();
        let nanos = first.map_or(NEVER, |id| {
            u64::try_from(id.at.as_nanos())
                .unwrap_or(NEVER - 1)
                .min(NEVER - 1)
        });
        self.next.store(nanos, Ordering::SeqCst);
    }
}

impl core::fmt::Debug for Callouts {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Callouts")
            .field("next", &self.next())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> Call {
        Call::Run(Box::new(|_| {}))
    }

    #[test]
    fn callouts_come_due_in_order_and_never_early() {
        let callouts = Callouts::new();
        let late = callouts.schedule(Duration::from_secs(2), nothing());
        callouts.schedule(Duration::from_secs(1), nothing());
        assert_eq!(callouts.next(), Some(Duration::from_secs(1)));
        assert!(callouts.take_due(Duration::from_millis(999)).is_none());
        assert!(callouts.take_due(Duration::from_secs(1)).is_some());
        assert_eq!(callouts.next(), Some(Duration::from_secs(2)));
        assert!(callouts.cancel(late));
        assert!(!callouts.cancel(late));
        assert_eq!(callouts.next(), None);
    }
}
