//! Locks with an order.
//!
//! A [`Mutex`] here carries its [`Rank`]; debug builds panic when a lock is taken while one of the
//! same or a later rank is held by the same host thread. Poisoning is ignored: a panic in the kernel
//! ends the runner anyway.
//!
//! A [`SpinMutex`] is for what is held for a few dozen instructions, on the way of every park and unpark:
//! taking it is one locked operation, giving it back a plain store, and no libc is involved unless it is
//! contended (`fast`). Who finds it taken spins a little, then gives the host's CPU away.
//!
//! All locks and atomics of the kernel come from here. With the feature `shuttle` they are those of the
//! shuttle model checker, which then decides every switch between host threads
//! (`cargo test -p lwp-sim --features shuttle --test races`).

use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
#[cfg(feature = "shuttle")]
use shuttle::sync as host;
#[cfg(debug_assertions)]
use std::cell::Cell;
#[cfg(not(feature = "shuttle"))]
use std::sync as host;

/// Atomics.
pub mod atomic {
    #[cfg(not(feature = "shuttle"))]
    pub use core::sync::atomic::{
        AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering,
    };
    #[cfg(feature = "shuttle")]
    pub use shuttle::sync::atomic::{
        AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering,
    };
}

/// A lock's place in the one order, first to be taken first (`lib.rs` has the table).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "explained in the table in lib.rs")]
pub enum Rank {
    Files,
    Kqueue,
    Timers,
    Proc,
    Vm,
    Watch,
    Queue,
    Lids,
    Lwp,
    Callout,
    Run,
}

/// A mutual-exclusion lock that knows its rank.
#[derive(Debug)]
pub struct Mutex<T: ?Sized> {
    #[cfg(debug_assertions)]
    rank: Rank,
    inner: host::Mutex<T>,
}

#[cfg(all(debug_assertions, feature = "shuttle"))]
shuttle::thread_local! {
    /// One bit per rank held by this host thread.
    static HELD: Cell<u32> = Cell::new(0);
}

#[cfg(all(debug_assertions, not(feature = "shuttle")))]
thread_local! {
    /// One bit per rank held by this host thread.
    static HELD: Cell<u32> = const { Cell::new(0) };
}

impl<T> Mutex<T> {
    /// A lock of rank `rank` around `value`.
    pub const fn new(rank: Rank, value: T) -> Self {
        #[cfg(not(debug_assertions))]
        let _ = rank;
        Self {
            #[cfg(debug_assertions)]
            rank,
            inner: host::Mutex::new(value),
        }
    }

    /// The value, through an exclusive borrow.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner
            .get_mut()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the lock.
    ///
    /// # Panics
    /// In debug builds, if the order of ranks is violated.
    pub fn lock(&self) -> Guard<'_, T> {
        #[cfg(debug_assertions)]
        hold(self.rank);
        Guard {
            #[cfg(debug_assertions)]
            rank: self.rank,
            inner: self
                .inner
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        }
    }
}

#[cfg(debug_assertions)]
fn hold(rank: Rank) {
    HELD.with(|held| {
        let bit = 1 << rank as u32;
        assert!(
            held.get() < bit,
            "lock order: {rank:?} taken with ranks {:#b} held",
            held.get()
        );
        held.set(held.get() | bit);
    });
}

/// A held lock; released on drop.
#[derive(Debug)]
pub struct Guard<'a, T: ?Sized> {
    #[cfg(debug_assertions)]
    rank: Rank,
    inner: host::MutexGuard<'a, T>,
}

impl<T: ?Sized> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

#[cfg(debug_assertions)]
impl<T: ?Sized> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        HELD.with(|held| held.set(held.get() & !(1 << self.rank as u32)));
    }
}

/// A lock for short sections; see the module's header.
#[derive(Debug)]
pub struct SpinMutex<T> {
    #[cfg(debug_assertions)]
    rank: Rank,
    #[cfg(not(feature = "shuttle"))]
    inner: spin::mutex::SpinMutex<T, Patience>,
    #[cfg(feature = "shuttle")]
    inner: host::Mutex<T>,
}

/// What a spinning vcpu does between two looks: its holder may wait for this very CPU.
#[cfg(not(feature = "shuttle"))]
#[derive(Debug)]
struct Patience;

#[cfg(not(feature = "shuttle"))]
impl spin::RelaxStrategy for Patience {
    #[cold]
    #[inline(never)]
    fn relax() {
        // About a microsecond, several times as long as any holder takes that runs.
        for _ in 0..32 {
            core::hint::spin_loop();
        }
        std::thread::yield_now();
    }
}

#[cfg(not(feature = "shuttle"))]
type Spun<'a, T> = spin::mutex::SpinMutexGuard<'a, T, Patience>;
#[cfg(feature = "shuttle")]
type Spun<'a, T> = host::MutexGuard<'a, T>;

impl<T> SpinMutex<T> {
    /// A lock of rank `rank` around `value`.
    pub const fn new(rank: Rank, value: T) -> Self {
        #[cfg(not(debug_assertions))]
        let _ = rank;
        Self {
            #[cfg(debug_assertions)]
            rank,
            #[cfg(not(feature = "shuttle"))]
            inner: spin::mutex::SpinMutex::new(value),
            #[cfg(feature = "shuttle")]
            inner: host::Mutex::new(value),
        }
    }

    /// Takes the lock.
    ///
    /// # Panics
    /// In debug builds, if the order of ranks is violated.
    #[inline]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        #[cfg(debug_assertions)]
        hold(self.rank);
        #[cfg(not(feature = "shuttle"))]
        let inner = self.inner.lock();
        #[cfg(feature = "shuttle")]
        let inner = self
            .inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        SpinGuard {
            #[cfg(debug_assertions)]
            rank: self.rank,
            inner,
            stays_here: PhantomData,
        }
    }
}

/// A held [`SpinMutex`]; released on drop, by the host thread that took it: a future that holds one across
/// an `.await` does not compile.
#[derive(Debug)]
pub struct SpinGuard<'a, T> {
    #[cfg(debug_assertions)]
    rank: Rank,
    inner: Spun<'a, T>,
    stays_here: PhantomData<*const ()>,
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

#[cfg(debug_assertions)]
impl<T> Drop for SpinGuard<'_, T> {
    fn drop(&mut self) {
        HELD.with(|held| held.set(held.get() & !(1 << self.rank as u32)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_in_order_are_fine() {
        let (a, b) = (Mutex::new(Rank::Proc, 1), Mutex::new(Rank::Lwp, 2));
        let x = a.lock();
        let y = b.lock();
        assert_eq!(*x + *y, 3);
    }

    #[test]
    fn a_contended_spin_lock_loses_no_change() {
        let sum = SpinMutex::new(Rank::Run, 0_u64);
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| (0..20_000).for_each(|_| *sum.lock() += 1));
            }
        });
        assert_eq!(*sum.lock(), 80_000);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "lock order")]
    fn locks_out_of_order_panic_in_debug_builds() {
        let (a, b) = (Mutex::new(Rank::Proc, 1), Mutex::new(Rank::Lwp, 2));
        let _y = b.lock();
        let _x = a.lock();
    }
}
