//! How LWPs wait for each other: shared words, and giving up the CPU.

use crate::{lwp, sys, time};
use core::sync::atomic::{AtomicU32, Ordering};

/// How long [`until`] goes on before it reports what it waited for.
pub const PATIENCE: u64 = 8 * time::SECOND;

/// A condition did not come true within [`PATIENCE`].
#[derive(Clone, Copy, Debug)]
pub struct NeverCame(pub &'static str);

/// `sched_yield(2)`.
pub fn yield_now() {
    // It cannot fail.
    let _ = sys!(SYS_SCHED_YIELD);
}

/// How long [`until`] lets go of the host's CPU, too, after many looks in vain: with more vcpus than
/// CPUs, whoever is waited for may need just that one. Nothing is ordered by it.
const NAP: u64 = 20_000;

/// Gives up the CPU until `cond` holds.
///
/// # Errors
/// After [`PATIENCE`], `what` it waited for.
pub fn until(what: &'static str, mut cond: impl FnMut() -> bool) -> Result<(), NeverCame> {
    let start = time::now();
    loop {
        // The clock is read once in a while only: on one vcpu the others need the time.
        for _ in 0..64 {
            if cond() {
                return Ok(());
            }
            yield_now();
        }
        if time::now() - start > PATIENCE {
            return Err(NeverCame(what));
        }
        // However it ends, the condition is looked at again.
        let _ = time::nanosleep(time::timespec(NAP), None);
    }
}

/// A shared word on which LWPs wait for each other.
#[derive(Default, Debug)]
pub struct Word(AtomicU32);

impl Word {
    /// Zero.
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Its value. Pairs with the writes below.
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }

    /// Changes it.
    pub fn set(&self, value: u32) {
        self.0.store(value, Ordering::SeqCst);
    }

    /// Adds one, and gives the value before.
    pub fn add(&self) -> u32 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }

    /// Gives up the CPU until it is `value` or more.
    ///
    /// # Errors
    /// After [`PATIENCE`].
    pub fn wait(&self, value: u32) -> Result<(), NeverCame> {
        until("a shared word", || self.get() >= value)
    }

    /// Parks until it is `value` or more. Who changes it wakes the caller.
    pub fn park(&self, value: u32) {
        while self.get() < value {
            // Whatever ended it, the word is looked at again.
            let _ = lwp::park();
        }
    }

    /// Computes until it is `value` or more, without a system call in between.
    pub fn spin(&self, value: u32) {
        while self.get() < value {
            core::hint::spin_loop();
        }
    }

    /// The underlying atomic.
    pub fn atomic(&self) -> &AtomicU32 {
        &self.0
    }
}

/// A lock that parks its waiters: one shared word and a place for one waiter's id.
///
/// For two LWPs at most; the checks of park and unpark need more, and have it themselves.
#[derive(Debug)]
pub struct Turn {
    whose: AtomicU32,
}

impl Turn {
    /// It is 0's turn.
    pub const fn new() -> Self {
        Self {
            whose: AtomicU32::new(0),
        }
    }

    /// Parks until it is `me`'s turn.
    pub fn take(&self, me: u32) {
        while self.whose.load(Ordering::Acquire) != me {
            // Whatever ended it, the word is looked at again.
            let _ = lwp::park();
        }
    }

    /// Gives the turn to `other`, which is the LWP `lid`.
    pub fn give(&self, other: u32, lid: lwp_abi::lwp::LwpId) {
        self.whose.store(other, Ordering::Release);
        let _ = lwp::unpark(lid);
    }
}

impl Default for Turn {
    fn default() -> Self {
        Self::new()
    }
}
