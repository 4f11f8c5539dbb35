//! Host descriptors that somebody waits for, and jobs on helper threads.
//!
//! A descriptor gets one registration with the machine's poller, edge triggered and in every direction,
//! at the first wait, and keeps it until it is closed. An edge wakes all LWPs that wait for it and tells
//! all listeners (knotes); each looks for itself whether its condition holds. Because a sleeper is in
//! the queue before it looks a last time, an edge between look and sleep is not lost.
//!
//! Edge triggered rather than one-shot: no re-arming call per wait, and a descriptor that a child still
//! holds cannot report for ever.
//!
//! # Invariants
//! 1. `gone` must be called before a descriptor's number is closed or replaced, and `closed` afterwards;
//!    stale events are recognised by the generation in the token.
//!
//! Sources: design section 6; syscalls.md 5.5, "Building it on Linux".

use crate::kernel::Kernel;
use crate::lwp::{CurLwp, Lwp, SyncObj};
use crate::machine::{AlwaysReady, Ready};
use crate::sleepq::{Catch, SleepEnd, WaitQueue};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, Rank};
use core::time::Duration;
use lwp_abi::signal::Signo;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Told of every edge on a descriptor; must not block and may take locks from `Queue` on only.
pub trait Listener: Send + Sync {
    /// The descriptor has changed.
    fn activity(&self, kernel: &Arc<Kernel>, ready: Ready);
    /// The descriptor's number is about to be closed.
    fn closed(&self, kernel: &Arc<Kernel>);
}

/// Told of every signal posted to the process, before its disposition is looked at; no lock is held.
pub trait SignalListener: Send + Sync {
    /// `signo` was posted.
    fn signalled(&self, kernel: &Arc<Kernel>, signo: Signo);
}

/// How long an LWP waits for its interrupted job before it interrupts it once more.
const ASK_AGAIN: Duration = Duration::from_millis(1);

/// One watched descriptor.
pub struct Watch {
    generation: u32,
    waiters: WaitQueue,
    listeners: Mutex<Vec<Weak<dyn Listener>>>,
    gone: AtomicBool,
}

impl Watch {
    /// Tells `listener` of all that happens from now on, for as long as it lives.
    pub fn listen(&self, listener: Weak<dyn Listener>) {
        let mut listeners = self.listeners.lock();
        listeners.retain(|each| each.strong_count() > 0);
        listeners.push(listener);
    }

    fn tell(&self, mut tell: impl FnMut(&dyn Listener)) {
        let listeners: Vec<_> = self
            .listeners
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        for listener in listeners {
            tell(&*listener);
        }
    }
}

/// All watched descriptors of the process.
pub struct Watches {
    inner: Mutex<Inner>,
    signal_listeners: Mutex<Vec<Weak<dyn SignalListener>>>,
}

#[derive(Default)]
struct Inner {
    by_fd: HashMap<i32, Arc<Watch>>,
    generation: u32,
}

impl Watches {
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::new(Rank::Watch, Inner::default()),
            signal_listeners: Mutex::new(Rank::Queue, Vec::new()),
        }
    }

    /// Tells `listener` of all signals from now on, for as long as it lives.
    pub fn listen_to_signals(&self, listener: Weak<dyn SignalListener>) {
        let mut listeners = self.signal_listeners.lock();
        listeners.retain(|each| each.strong_count() > 0);
        listeners.push(listener);
    }

    pub(crate) fn signalled(&self, kernel: &Arc<Kernel>, signo: Signo) {
        let listeners: Vec<_> = self
            .signal_listeners
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        for listener in listeners {
            listener.signalled(kernel, signo);
        }
    }

    /// The watch of a descriptor, registered with the poller if it was not yet.
    ///
    /// # Errors
    /// [`AlwaysReady`] if the host cannot watch it because it never waits.
    pub fn get(&self, kernel: &Kernel, fd: i32) -> Result<Arc<Watch>, AlwaysReady> {
        let mut inner = self.inner.lock();
        if let Some(watch) = inner.by_fd.get(&fd) {
            return Ok(Arc::clone(watch));
        }
        inner.generation = inner.generation.wrapping_add(1);
        let generation = inner.generation;
        kernel.machine.poll_add(fd, token(fd, generation))?;
        let watch = Arc::new(Watch {
            generation,
            waiters: WaitQueue::new(),
            listeners: Mutex::new(Rank::Queue, Vec::new()),
            gone: AtomicBool::new(false),
        });
        inner.by_fd.insert(fd, Arc::clone(&watch));
        Ok(watch)
    }

    /// The descriptor `fd` is about to be closed or replaced: whoever sleeps on it wakes and looks again
    /// (and finds EBADF), listeners are told, the poller forgets it.
    pub fn gone(&self, kernel: &Arc<Kernel>, fd: i32) {
        let Some(watch) = self.inner.lock().by_fd.remove(&fd) else {
            return;
        };
        kernel.machine.poll_del(fd);
        watch.gone.store(true, Ordering::Release);
        watch.waiters.wake_all(kernel);
        watch.tell(|listener| listener.closed(kernel));
    }

    /// The descriptor `fd` has been closed or replaced. Whoever came to watch it after [`Watches::gone`]
    /// and before that watches what is no more, and whoever comes later would join: it goes, too.
    pub fn closed(&self, kernel: &Arc<Kernel>, fd: i32) {
        let stale = {
            let mut inner = self.inner.lock();
            let is_stale =
                |watch: &Arc<Watch>| !kernel.machine.poll_has(fd, token(fd, watch.generation));
            let stale = inner.by_fd.get(&fd).is_some_and(is_stale);
            // With the lock held: what has the number now may be watched at any moment.
            stale.then(|| {
                kernel.machine.poll_del(fd);
                inner.by_fd.remove(&fd)
            })
        };
        if let Some(watch) = stale.flatten() {
            watch.gone.store(true, Ordering::Release);
            watch.waiters.wake_all(kernel);
            watch.tell(|listener| listener.closed(kernel));
        }
    }

    /// An event from the poller.
    pub(crate) fn ready(&self, kernel: &Arc<Kernel>, token: u64, ready: Ready) {
        let Ok(fd) = i32::try_from(token & 0x7fff_ffff) else {
            return;
        };
        let watch = match self.inner.lock().by_fd.get(&fd) {
            Some(watch) if self::token(fd, watch.generation) == token => Arc::clone(watch),
            _ => return,
        };
        watch.waiters.wake_all(kernel);
        watch.tell(|listener| listener.activity(kernel, ready));
    }

    /// How many descriptors are watched.
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().by_fd.len()
    }

    /// For a fork child, whose poller is new. Nothing is dropped, see `Lids::clear`.
    pub(crate) fn clear(&self) {
        core::mem::forget(core::mem::take(&mut self.inner.lock().by_fd));
        core::mem::forget(core::mem::take(&mut *self.signal_listeners.lock()));
    }
}

impl core::fmt::Debug for Watches {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Watches").finish_non_exhaustive()
    }
}

fn token(fd: i32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(fd.unsigned_abs())
}

impl CurLwp {
    /// Sleeps, interruptibly, until host descriptor `fd` may be ready for some of `want`, has an error
    /// or was hung up, or until `deadline`. The caller tries its operation again afterwards.
    ///
    /// # Errors
    /// As [`CurLwp::sleepq_block`]; [`SleepEnd::Restart`] also when the descriptor was closed meanwhile.
    pub async fn wait_ready(
        &mut self,
        fd: i32,
        want: Ready,
        deadline: Option<Duration>,
        wmesg: &'static str,
    ) -> Result<(), SleepEnd> {
        let kernel = Arc::clone(&self.kernel);
        let Ok(watch) = kernel.watches.get(&kernel, fd) else {
            return Ok(());
        };
        let queued = watch.waiters.enter(self, wmesg, Catch::Signals);
        let ready = kernel.machine.ready_now(fd);
        if ready.intersects(want | Ready::ERR | Ready::HUP) {
            self.sleepq_leave();
            return Ok(());
        }
        let ended = self.sleepq_block(deadline, Catch::Signals).await;
        drop(queued);
        if ended.is_ok() && watch.gone.load(Ordering::Acquire) {
            return Err(SleepEnd::Restart);
        }
        ended
    }

    /// Runs `job`, which may block in the host, on a helper thread, and sleeps until it is done. `None` from
    /// it means that its host call was interrupted.
    ///
    /// When something else ends the sleep, the job is interrupted and its end awaited: nothing goes on
    /// behind the caller's back, and what the job did all the same is not lost.
    ///
    /// # Errors
    /// As [`CurLwp::sleepq_block`]; the job has then done nothing.
    pub async fn run_blocking<T: Send + 'static>(
        &mut self,
        wmesg: &'static str,
        catch: Catch,
        job: impl FnOnce() -> Option<T> + Send + 'static,
    ) -> Result<T, SleepEnd> {
        let kernel = Arc::clone(&self.kernel);
        let result = Arc::new(std::sync::Mutex::new(None));
        let theirs = Arc::clone(&result);
        let take = move || {
            result
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .take()
        };
        let sleep = self.sleepq_enter(wmesg, SyncObj::Other, catch);
        let token = kernel.jobs.add(Arc::clone(&self.lwp), sleep);
        kernel.machine.run_blocking(
            token,
            Box::new(move || {
                let value = job();
                *theirs
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner) = value;
            }),
        );
        let mut ended = self.sleepq_block(None, catch).await;
        loop {
            if let Some(value) = take() {
                return Ok(value);
            }
            let (until, catch) = match ended {
                // A spurious wake-up (stop and continue): go on sleeping for the same job.
                Ok(()) => (None, catch),
                Err(end) if kernel.machine.cancel_blocking(token) => {
                    kernel.jobs.take(token);
                    return take().ok_or(end);
                }
                Err(_) => (Some(kernel.machine.monotonic() + ASK_AGAIN), Catch::Nothing),
            };
            let sleep = self.sleepq_enter(wmesg, SyncObj::Other, catch);
            if !kernel.jobs.renew(token, sleep) {
                // Over, after the look at its value.
                self.sleepq_leave();
                return take().ok_or(ended.err().unwrap_or(SleepEnd::Restart));
            }
            let again = self.sleepq_block(until, catch).await;
            ended = ended.and(again);
        }
    }
}

/// Jobs on helper threads, by token, with the sleeps that wait for them.
pub(crate) struct Jobs {
    inner: Mutex<JobTable>,
}

#[derive(Default)]
struct JobTable {
    waiting: HashMap<u64, (Arc<Lwp>, u64)>,
    tokens: u64,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Rank::Watch, JobTable::default()),
        }
    }
}

impl Jobs {
    fn add(&self, lwp: Arc<Lwp>, sleep: u64) -> u64 {
        let mut table = self.inner.lock();
        table.tokens += 1;
        let token = table.tokens;
        table.waiting.insert(token, (lwp, sleep));
        token
    }

    fn renew(&self, token: u64, sleep: u64) -> bool {
        self.inner
            .lock()
            .waiting
            .get_mut(&token)
            .map(|job| job.1 = sleep)
            .is_some()
    }

    /// How many somebody waits for.
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().waiting.len()
    }

    fn take(&self, token: u64) -> Option<(Arc<Lwp>, u64)> {
        self.inner.lock().waiting.remove(&token)
    }

    pub(crate) fn clear(&self) {
        core::mem::forget(core::mem::take(&mut self.inner.lock().waiting));
    }
}

impl Kernel {
    pub(crate) fn job_done(&self, token: u64) {
        if let Some((lwp, sleep)) = self.jobs.take(token) {
            self.wake_sleep(&lwp, sleep);
        }
    }
}
