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
    fn new() -> Self {
        Self {
            lid: lwp::me(),
            next: ptr::null_mut(),
            woken: AtomicBool::new(false),
        }
    }

    /// Parks until somebody says so. Pairs with the store in [`wake`].
    fn wait(&self) {
        while !self.woken.load(Ordering::Acquire) {
            // Whatever ended it, the flag is looked at again.
            let _ = lwp::park();
        }
    }
}

/// Wakes a waiter that is in no list any more.
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

/// A condition variable. Signals may be sent with the mutex held, or without.
#[derive(Debug)]
pub struct Condvar {
    waiters: Mutex<List>,
}

/// The latest waiter, or null.
#[derive(Debug)]
struct List(*mut Waiter);

// SAFETY: the waiters in it lie where they are until they are taken out.
unsafe impl Send for List {}

impl Condvar {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self {
            waiters: Mutex::new(List(ptr::null_mut())),
        }
    }

    /// Lets go of the mutex, waits for a signal, and takes the mutex again. Others may have it in between: what was
    /// signalled need not be so any more.
    pub fn wait<'a, T>(&self, held: Guard<'a, T>) -> Guard<'a, T> {
        let mutex = held.of;
        let mut me = Waiter::new();
        let mut waiters = self.waiters.lock();
        me.next = waiters.0;
        waiters.0 = &raw mut me;
        drop(waiters);
        // In the list before the mutex is free: no signal of the next holder's is missed.
        drop(held);
        me.wait();
        mutex.lock()
    }

    /// Wakes one of those who wait.
    pub fn signal(&self) {
        let mut waiters = self.waiters.lock();
        let first = waiters.0;
        if first.is_null() {
            return;
        }
        // SAFETY: a waiter in the list lies there.
        waiters.0 = unsafe { (*first).next };
        drop(waiters);
        wake(first);
    }

    /// Wakes all who wait.
    pub fn broadcast(&self) {
        let mut next = core::mem::replace(&mut self.waiters.lock().0, ptr::null_mut());
        while !next.is_null() {
            let waiter = next;
            // SAFETY: it is in no list of others, and lies there until its flag is set.
            next = unsafe { (*waiter).next };
            wake(waiter);
        }
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}
