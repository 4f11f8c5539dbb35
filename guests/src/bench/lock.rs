//! A mutex and a condition variable built on park and unpark, as a thread library builds them.

use crate::measure;
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use rt::abi::lwp::LwpId;
use rt::check::Verdict;
use rt::lwp::{self, spawn};

/// An LWP that waits, in a list; lies on the LWP's own stack until `woken`.
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
            let _ = lwp::park();
        }
    }
}

/// Wakes a waiter that is in no list any more.
fn wake(waiter: *mut Waiter) {
    // SAFETY: it lies there until it is woken.
    let lid = unsafe { (*waiter).lid };
    // SAFETY: as above; the last access.
    unsafe { (*waiter).woken.store(true, Ordering::Release) };
    let _ = lwp::unpark(lid);
}

/// A mutex that hands itself over. The word is null: free; [`HELD`]: held; else: held, and the latest
/// waiter.
struct Mutex(AtomicPtr<Waiter>);

/// No waiter can lie here.
const HELD: *mut Waiter = ptr::without_provenance_mut(1);

impl Mutex {
    fn lock(&self) {
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
                .0
                .compare_exchange_weak(seen, new, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) if seen == free => return,
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        if let Some(me) = &me {
            me.wait();
        }
    }

    /// Only the holder takes waiters out, so none comes back between the load and the exchange.
    fn unlock(&self) {
        let mut seen = HELD;
        loop {
            let new = if seen == HELD {
                ptr::null_mut()
            } else {
                // SAFETY: a waiter lies there until it is woken, which is ours to do.
                unsafe { (*seen).next }
            };
            match self
                .0
                .compare_exchange_weak(seen, new, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(HELD) => return,
                Ok(waiter) => return wake(waiter),
                Err(now) => seen = now,
            }
        }
    }
}

/// A condition variable; its list is the mutex's to guard.
struct Cond(UnsafeCell<*mut Waiter>);

impl Cond {
    fn wait(&self, held: &Mutex) {
        let mut me = Waiter::new();
        // SAFETY: the mutex is held.
        me.next = unsafe { self.0.get().replace(&raw mut me) };
        held.unlock();
        me.wait();
        held.lock();
    }

    fn signal(&self) {
        // SAFETY: the mutex is held.
        let first = unsafe { self.0.get().read() };
        if !first.is_null() {
            // SAFETY: a waiter lies there until it is woken.
            let next = unsafe { (*first).next };
            // SAFETY: the mutex is held.
            unsafe { self.0.get().write(next) };
            wake(first);
        }
    }
}

/// A place for one item between two LWPs.
struct Slot {
    lock: Mutex,
    filled: Cond,
    emptied: Cond,
    item: UnsafeCell<u64>,
}

// SAFETY: everything in it is touched with `lock` held.
unsafe impl Sync for Slot {}

static SLOT: Slot = Slot {
    lock: Mutex(AtomicPtr::new(ptr::null_mut())),
    filled: Cond(UnsafeCell::new(ptr::null_mut())),
    emptied: Cond(UnsafeCell::new(ptr::null_mut())),
    item: UnsafeCell::new(0),
};

/// Puts an item other than 0 in, as soon as the place is free.
fn put(item: u64) {
    SLOT.lock.lock();
    // SAFETY: the mutex is held.
    while unsafe { SLOT.item.get().read() } != 0 {
        SLOT.emptied.wait(&SLOT.lock);
    }
    // SAFETY: as above.
    unsafe { SLOT.item.get().write(item) };
    SLOT.filled.signal();
    SLOT.lock.unlock();
}

/// Takes an item out, as soon as there is one.
fn take() -> u64 {
    SLOT.lock.lock();
    // SAFETY: the mutex is held.
    while unsafe { SLOT.item.get().read() } == 0 {
        SLOT.filled.wait(&SLOT.lock);
    }
    // SAFETY: as above.
    let item = unsafe { SLOT.item.get().replace(0) };
    SLOT.emptied.signal();
    SLOT.lock.unlock();
    item
}

/// One item from one LWP to another, through a place for one.
pub(crate) fn hand_over(count: u64) -> Verdict {
    const LAST: u64 = u64::MAX;
    let other = spawn(|| while take() != LAST {});
    measure("lock", count, |n| (1..=n).for_each(put));
    put(LAST);
    other.join()?;
    Ok(())
}
