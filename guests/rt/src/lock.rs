//! A mutex and a condition variable on park and unpark, as a thread library builds them.
//!
//! # Invariants
//! 1. The end of a park means nothing: a waiter goes by its own flag. So an early return, a signal, and a wake-up that
//!    was meant for something else do no harm.
//! 2. A waiter lies on the stack of the LWP that waits, and in one list at most; whoever takes it out of the list sets
//!    its flag, and from then on touches it no more.
//! 3. Whom of several waiters a wake-up reaches is not said.

use crate::lwp;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use lwp_abi::lwp::LwpId;

/// An LWP that waits, in a list.
#[derive(Debug)]
struct Waiter {
    lid: LwpId,
    next: *mut Waiter,
    woken: AtomicBool,
}

impl Waiter {
    #[inline]
    fn new() -> Self {
        Self {
            lid: lwp::me(),
            next: ptr::null_mut(),
            woken: AtomicBool::new(false),
        }
    }

    /// Parks until somebody says so. Pairs with the store in [`wake`].
    #[inline]
    fn wait(&self) {
        while !self.woken.load(Ordering::Acquire) {
            // Whatever ended it, the flag is looked at again.
            let _ = lwp::park();
        }
    }
}

/// Wakes a waiter that is in no list any more.
#[inline]
fn wake(waiter: *mut Waiter) {
    // SAFETY: it lies there until its flag is set (invariant 2).
    let lid = unsafe { (*waiter).lid };
    // SAFETY: as above; the last access.
    unsafe { (*waiter).woken.store(true, Ordering::Release) };
    // It may have seen the flag before it parked, and be gone.
    let _ = lwp::unpark(lid);
}

/// A mutex around a value. Whoever unlocks it hands it to a waiter, if there is one.
#[derive(Debug)]
pub struct Mutex<T> {
    /// Null: free; [`HELD`]: held; else: held, and the latest waiter.
    word: AtomicPtr<Waiter>,
    value: UnsafeCell<T>,
}

// SAFETY: only a guard leads to the value, and there is one at a time.
unsafe impl<T: Send> Sync for Mutex<T> {}

/// No waiter can lie here.
const HELD: *mut Waiter = ptr::without_provenance_mut(1);

impl<T> Mutex<T> {
    /// A free one.
    pub const fn new(value: T) -> Self {
        Self {
            word: AtomicPtr::new(ptr::null_mut()),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits until it is ours, which it is until the guard is dropped.
    pub fn lock(&self) -> Guard<'_, T> {
        let free = ptr::null_mut();
        let mut seen = free;
        let mut me = None;
        loop {
            let new = if seen == free {
                HELD
            } else {
                let me = me.get_or_insert_with(Waiter::new);
                me.next = seen;
                ptr::from_mut(me)
            };
            match self
                .word
                .compare_exchange(seen, new, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) if seen == free => break,
                Ok(_) => {
                    if let Some(me) = &me {
                        me.wait();
                    }
                    break;
                }
                Err(now) => seen = now,
            }
        }
        Guard {
            of: self,
            value: PhantomData,
        }
    }

    /// Only the holder takes waiters out, so none comes back between the load and the exchange.
    fn unlock(&self) {
        let mut seen = HELD;
        loop {
            let new = if seen == HELD {
                ptr::null_mut()
            } else {
                // SAFETY: a waiter lies there until its flag is set, which is ours to do.
                unsafe { (*seen).next }
            };
            match self
                .word
                .compare_exchange(seen, new, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(HELD) => return,
                Ok(waiter) => return wake(waiter),
                Err(now) => seen = now,
            }
        }
    }
}

/// A mutex is held as long as this lives.
#[derive(Debug)]
#[must_use = "the mutex is free again as soon as it is dropped"]
pub struct Guard<'a, T> {
    of: &'a Mutex<T>,
    value: PhantomData<&'a mut T>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the mutex is held.
        unsafe { &*self.of.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the mutex is held, and this is its one guard.
        unsafe { &mut *self.of.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.of.unlock();
    }
}

/// LWPs that wait for something, the latest first. It is guarded by the mutex in whose value it lies.
#[derive(Debug)]
pub struct Waiters(*mut Waiter);

// SAFETY: the waiters in it lie where they are until they are taken out.
unsafe impl Send for Waiters {}

impl Waiters {
    /// Nobody.
    pub const NONE: Self = Self(ptr::null_mut());

    /// Puts a waiter in, which is to wait until it is taken out.
    fn push(&mut self, waiter: &mut Waiter) {
        waiter.next = self.0;
        self.0 = waiter;
    }

    fn pop(&mut self) -> Option<*mut Waiter> {
        let first = self.0;
        if first.is_null() {
            return None;
        }
        // SAFETY: a waiter in the list lies there.
        self.0 = unsafe { (*first).next };
        Some(first)
    }

    /// Wakes one of them.
    #[inline]
    pub fn wake_one(&mut self) {
        if let Some(waiter) = self.pop() {
            wake(waiter);
        }
    }
}

impl<T> Guard<'_, T> {
    /// Lets go of the mutex, waits among those whom `of` says, and takes the mutex again.
    pub fn wait(mut self, of: impl FnOnce(&mut T) -> &mut Waiters) -> Self {
        let mutex = self.of;
        let mut me = Waiter::new();
        of(&mut self).push(&mut me);
        drop(self);
        me.wait();
        mutex.lock()
    }
}

/// A condition variable. Signals may be sent with the mutex held, or without.
#[derive(Debug)]
pub struct Condvar {
    waiters: Mutex<Waiters>,
}

impl Condvar {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self {
            waiters: Mutex::new(Waiters::NONE),
        }
    }

    /// Lets go of the mutex, waits for a signal, and takes the mutex again. Others may have it in between: what was
    /// signalled need not be so any more.
    pub fn wait<'a, T>(&self, held: Guard<'a, T>) -> Guard<'a, T> {
        let mutex = held.of;
        let mut me = Waiter::new();
        self.waiters.lock().push(&mut me);
        // In the list before the mutex is free: no signal of the next holder's is missed.
        drop(held);
        me.wait();
        mutex.lock()
    }

    /// Wakes one of those who wait.
    pub fn signal(&self) {
        // The list is free again before the LWP runs.
        let first = self.waiters.lock().pop();
        if let Some(waiter) = first {
            wake(waiter);
        }
    }

    /// Wakes all who wait.
    pub fn broadcast(&self) {
        let mut all = core::mem::replace(&mut *self.waiters.lock(), Waiters::NONE);
        while let Some(waiter) = all.pop() {
            wake(waiter);
        }
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}
