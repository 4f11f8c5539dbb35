//! Helper threads, for host work that may block and has no readiness to wait for.
//!
//! # Invariants
//! 1. A helper is no vcpu: its GS base is zero, and it takes no signal but the kick, whose handler then
//!    does nothing: that ends the host call in which a job waits that nobody wants any more.
//! 2. A helper takes no lock of the kernel's, so a fork may happen at any moment of its work. The
//!    child has no helpers: it leaves this pool, whose locks may be held for ever, and makes another.
//!
//! # Locks
//! `jobs`, `done`: leaves, held for a few instructions.

use crate::signals;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Threads at most; further jobs wait.
const MAX_THREADS: usize = 64;
const STACK_BYTES: usize = 256 << 10;

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
    /// Jobs that run: on which thread, and whether somebody still waits for it.
    running: HashMap<u64, Running>,
}

#[derive(Clone, Copy)]
struct Running {
    host_tid: i32,
    is_wanted: bool,
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
        if jobs.threads == MAX_THREADS {
            jobs.interrupt_unwanted();
        }
        if jobs.idle < jobs.waiting.len() && jobs.threads < MAX_THREADS {
            let pool = Arc::clone(self);
            if spawn("lwp helper", STACK_BYTES, move || pool.serve()) {
                jobs.threads += 1;
            }
        }
        drop(jobs);
        self.some.notify_one();
    }

    /// Nobody waits for this job any more: it is not begun, or what it waits for in the host is
    /// interrupted. One that was about to wait is interrupted when room is needed.
    pub(crate) fn cancel(&self, token: u64) {
        let mut jobs = lock(&self.jobs);
        jobs.waiting.retain(|job| job.token != token);
        if let Some(running) = jobs.running.get_mut(&token) {
            running.is_wanted = false;
        }
        jobs.interrupt_unwanted();
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
            let was = lock(&self.jobs).running.remove(&job.token);
            if was.is_some_and(|was| was.is_wanted) {
                lock(&self.done).push(job.token);
                (self.notify)();
            }
        }
    }

    fn next(&self, host_tid: i32) -> Job {
        let mut jobs = lock(&self.jobs);
        loop {
            if let Some(job) = jobs.waiting.pop_front() {
                let is_wanted = true;
                jobs.running.insert(
                    job.token,
                    Running {
                        host_tid,
                        is_wanted,
                    },
                );
                return job;
            }
            jobs.idle += 1;
            jobs = self.some.wait(jobs).unwrap_or_else(PoisonError::into_inner);
            jobs.idle -= 1;
        }
    }
}

impl Jobs {
    /// Interrupts the host calls of all jobs that nobody waits for.
    fn interrupt_unwanted(&self) {
        for each in self.running.values().filter(|each| !each.is_wanted) {
            crate::vcpu::tgkill(each.host_tid, signals::SIG_KICK);
        }
    }
}

/// Starts a thread that is no vcpu; `false` if the host refuses.
///
/// The new thread inherits the GS base of this one, so signals are kept from it until it has its own.
fn spawn(name: &str, stack_bytes: usize, body: impl FnOnce() + Send + 'static) -> bool {
    let mask = signals::set_mask(u64::MAX);
    let result = thread::Builder::new()
        .name(name.into())
        .stack_size(stack_bytes)
        .spawn(move || {
            signals::set_gs(core::ptr::null());
            signals::set_mask(!signals::bit(signals::SIG_KICK));
            body();
        });
    signals::set_mask(mask);
    result.is_ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
