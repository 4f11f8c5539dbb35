//! Helper threads, for host work that may block and has no readiness to wait for.
//!
//! # Invariants
//! 1. A helper is no vcpu: its GS base is zero, and it takes no signal but the kick, whose handler then
//!    does nothing: that ends the host call in which a job waits whose LWP has something else to do.
//! 2. A helper takes no lock of the kernel's, so a fork may happen at any moment of its work. The
//!    child has no helpers: it leaves this pool, whose locks may be held for ever, and makes another. (A thread of
//!    [`spawn`]'s that is not in the pool may take one while it keeps forks away: `control`.)
//!
//! # Locks
//! `jobs`, `done`: leaves, held for a few instructions.

use crate::signals;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Threads at most; further jobs wait.
const MAX_THREADS: usize = 64;
pub(crate) const STACK_BYTES: usize = 256 << 10;

type Work = Box<dyn FnOnce() + Send>;

struct Job {
    token: u64,
    work: Work,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    threads: usize,
    idle: usize,
    /// Jobs that run, and the host's id of the thread that each is on.
    running: HashMap<u64, i32>,
}

/// A set of threads that take jobs from one queue.
pub(crate) struct Pool {
    jobs: Mutex<Jobs>,
    some: Condvar,
    done: Mutex<Vec<u64>>,
    /// Called after each job.
    notify: Box<dyn Fn() + Send + Sync>,
}

impl Pool {
    pub(crate) fn new(notify: Box<dyn Fn() + Send + Sync>) -> Arc<Self> {
        Arc::new(Self {
            jobs: Mutex::default(),
            some: Condvar::new(),
            done: Mutex::default(),
            notify,
        })
    }

    /// Gives a job to a helper; `token` comes out of [`Pool::drain`] when it is done.
    pub(crate) fn run(self: &Arc<Self>, token: u64, work: Work) {
        let mut jobs = lock(&self.jobs);
        jobs.waiting.push_back(Job { token, work });
        if jobs.idle < jobs.waiting.len() && jobs.threads < MAX_THREADS {
            let pool = Arc::clone(self);
            if spawn("lwp helper", STACK_BYTES, move || pool.serve()) {
                jobs.threads += 1;
            }
        }
        drop(jobs);
        self.some.notify_one();
    }

    /// Keeps a job from being begun, or interrupts the host call in which it waits; whether it is over.
    pub(crate) fn cancel(&self, token: u64) -> bool {
        let mut jobs = lock(&self.jobs);
        jobs.waiting.retain(|job| job.token != token);
        let running = jobs.running.get(&token);
        if let Some(&host_tid) = running {
            crate::vcpu::tgkill(host_tid, signals::SIG_KICK);
        }
        running.is_none()
    }

    /// Hands out the tokens of the jobs done since the last time.
    pub(crate) fn drain(&self) -> Vec<u64> {
        core::mem::take(&mut *lock(&self.done))
    }

    /// Whether [`Pool::drain`] would hand out something.
    pub(crate) fn has_done(&self) -> bool {
        !lock(&self.done).is_empty()
    }

    fn serve(&self) {
        let host_tid = crate::vcpu::host_tid();
        loop {
            let job = self.next(host_tid);
            (job.work)();
            lock(&self.jobs).running.remove(&job.token);
            lock(&self.done).push(job.token);
            (self.notify)();
        }
    }

    fn next(&self, host_tid: i32) -> Job {
        let mut jobs = lock(&self.jobs);
        loop {
            if let Some(job) = jobs.waiting.pop_front() {
                jobs.running.insert(job.token, host_tid);
                return job;
            }
            jobs.idle += 1;
            jobs = self.some.wait(jobs).unwrap_or_else(PoisonError::into_inner);
            jobs.idle -= 1;
        }
    }
}

/// Starts a thread that is no vcpu; `false` if the host refuses.
///
/// The new thread inherits the GS base of this one, so signals are kept from it until it has its own.
pub(crate) fn spawn(name: &str, stack_bytes: usize, body: impl FnOnce() + Send + 'static) -> bool {
    let mask = signals::set_mask(signals::HELD_BACK);
    let result = thread::Builder::new()
        .name(name.into())
        .stack_size(stack_bytes)
        .spawn(move || {
            signals::set_gs(core::ptr::null());
            signals::set_mask(signals::HELD_BACK & !signals::bit(signals::SIG_KICK));
            body();
        });
    signals::set_mask(mask);
    result.is_ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
