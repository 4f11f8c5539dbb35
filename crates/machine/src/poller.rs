//! Where idle vcpus wait: one epoll for all of them, and the ways to wake one.
//!
//! A descriptor is registered for input there, and for output in a second epoll, which the first one
//! watches. An entry for both would report both at every change: each arriving segment would wake
//! whoever waits for room to write.
//!
//! Responsible for host descriptors' readiness, for sleeping until a deadline, and for waking without
//! a system call where possible. Not for who is woken for what (`kernel::sched`, `kernel::watch`).
//!
//! # Invariants
//! 1. A wake-up is a token: [`Poller::wake_one`] leaves one, and a vcpu that finds one in
//!    [`Poller::poll`] takes it and does not wait. So none is lost between a vcpu's last look at the run
//!    queue and its sleep; at most one wakes per token.
//! 2. A vcpu sleeps with all signals blocked until `epoll_pwait2` unblocks them: a kick or an outside
//!    signal either is seen before, or ends the sleep.
//! 3. Entries are edge triggered and taken out by `poll_del` before the guest's close: after a fork
//!    a closed descriptor that the child still holds would otherwise be reported for ever.
//! 4. At most (host CPUs − busy vcpus) vcpus spin.
//!
//! # Locks
//! `watched` (vcpus only), `pool` (vcpus only); the pool's own are leaves.
//!
//! Sources: epoll(7), `epoll_pwait2(2)`, eventfd(2).

use crate::block::Block;
use crate::helpers::Pool;
use crate::mem::last_error;
use crate::{clock, descriptors, outside, signals};
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use lwp_kernel::machine::{AlwaysReady, Event, HostErr, Ready, Wait};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// What a registration for input watches for, besides errors.
const INPUT: i32 = libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLPRI | libc::EPOLLET;
/// What a registration for output watches for, besides errors.
const OUTPUT: i32 = libc::EPOLLOUT | libc::EPOLLET;

/// The token of our own eventfd; the kernel's are smaller.
const WAKE: u64 = u64::MAX;
/// The token of the epoll for output.
const OUTPUTS: u64 = WAKE - 1;
/// How long a vcpu looks for a token before it sleeps, when a CPU is free for that.
const SPIN: Duration = Duration::from_micros(20);
/// Events taken from the host at once.
const BATCH: usize = 64;

/// The eventfd that [`interrupt`] writes to.
static INTERRUPT: AtomicI32 = AtomicI32::new(-1);

/// What all vcpus of one machine wait in.
pub(crate) struct Poller {
    epoll: AtomicI32,
    /// The epoll for output.
    outputs: AtomicI32,
    wake: AtomicI32,
    watched: Mutex<BTreeMap<i32, u64>>,
    pool: RwLock<Arc<Pool>>,
    counts: Arc<Counts>,
    host_cpus: u32,
}

/// Who waits, and for how many a token is there.
#[derive(Default)]
struct Counts {
    tokens: AtomicU32,
    spinning: AtomicU32,
    sleeping: AtomicU32,
    /// Vcpus with a thread.
    vcpus: AtomicU32,
    /// Wake-ups that took a system call.
    wakes: AtomicU64,
    wake_fd: AtomicI32,
}

/// Makes one sleeping vcpu look at the queue of outside signals. Called by signal handlers.
pub(crate) fn interrupt() {
    write_event(INTERRUPT.load(Ordering::Relaxed));
}

impl Poller {
    pub(crate) fn new(host_cpus: usize) -> Result<Self, HostErr> {
        let counts = Arc::new(Counts::default());
        let poller = Self {
            epoll: AtomicI32::new(-1),
            outputs: AtomicI32::new(-1),
            wake: AtomicI32::new(-1),
            watched: Mutex::default(),
            pool: RwLock::new(new_pool(&counts)),
            counts,
            host_cpus: u32::try_from(host_cpus).unwrap_or(1),
        };
        poller.open()?;
        Ok(poller)
    }

    /// Makes the host's side of the poller, and registers what is watched.
    fn open(&self) -> Result<(), HostErr> {
        let (epoll, outputs) = (new_epoll()?, new_epoll()?);
        let flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK;
        // SAFETY: makes a descriptor.
        let wake = owned("eventfd", unsafe { libc::eventfd(0, flags) })?;
        self.epoll.store(epoll, Ordering::Relaxed);
        self.outputs.store(outputs, Ordering::Relaxed);
        self.wake.store(wake, Ordering::Relaxed);
        self.counts.wake_fd.store(wake, Ordering::Relaxed);
        INTERRUPT.store(wake, Ordering::Relaxed);
        let interest = libc::EPOLLIN | libc::EPOLLET;
        control(epoll, libc::EPOLL_CTL_ADD, wake, WAKE, interest)?;
        control(epoll, libc::EPOLL_CTL_ADD, outputs, OUTPUTS, interest)?;
        for (&fd, &token) in &*self.watched.lock().unwrap_or_else(PoisonError::into_inner) {
            // One that cannot be watched any more is one its owner will hear of by its own calls.
            let _ = self.add(fd, token);
        }
        Ok(())
    }

    /// In a fork child: everything anew, as the only vcpu.
    pub(crate) fn after_fork(&self) -> Result<(), HostErr> {
        self.close();
        let counts = &self.counts;
        for count in [&counts.tokens, &counts.spinning, &counts.sleeping] {
            count.store(0, Ordering::Relaxed);
        }
        counts.vcpus.store(1, Ordering::Relaxed);
        let mut pool = self.pool.write().unwrap_or_else(PoisonError::into_inner);
        // Its threads are gone, and may have gone holding its locks.
        core::mem::forget(core::mem::replace(&mut *pool, new_pool(counts)));
        drop(pool);
        self.open()
    }

    fn close(&self) {
        for fd in [&self.epoll, &self.outputs, &self.wake] {
            descriptors::close(fd.load(Ordering::Relaxed));
        }
    }

    pub(crate) fn vcpu_arrives(&self) {
        self.counts.vcpus.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn vcpu_leaves(&self) {
        self.counts.vcpus.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn poll(&self, block: &Block, wait: Wait, events: &mut Vec<Event>) {
        events.clear();
        self.drain(events);
        if wait == Wait::No || !events.is_empty() {
            self.collect(Some(Duration::ZERO), 0, events);
            return;
        }
        let deadline = match wait {
            Wait::Until(at) => Some(at),
            Wait::No | Wait::Forever => None,
        };
        if self.spin(block, deadline) {
            self.collect(Some(Duration::ZERO), 0, events);
        } else {
            self.sleep(block, deadline, events);
        }
        self.drain(events);
    }

    /// Takes what does not come through epoll.
    fn drain(&self, events: &mut Vec<Event>) {
        if outside::waiting() {
            outside::drain(events);
        }
        let done = self.pool().drain();
        events.extend(done.into_iter().map(|token| Event::Done { token }));
    }

    fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.pool.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks for a token for a while; `false` when the vcpu should sleep instead.
    fn spin(&self, block: &Block, deadline: Option<Duration>) -> bool {
        let counts = &self.counts;
        if counts.take_token() {
            return true;
        }
        let spinning = counts.spinning.fetch_add(1, Ordering::SeqCst);
        let idle = spinning + counts.sleeping.load(Ordering::Relaxed) + 1;
        let busy = counts.vcpus.load(Ordering::Relaxed).saturating_sub(idle);
        let mut found = false;
        if spinning + busy < self.host_cpus {
            let now = clock::monotonic();
            let end = deadline.map_or(now + SPIN, |at| at.min(now + SPIN));
            while !found && clock::monotonic() < end {
                for _ in 0..16 {
                    core::hint::spin_loop();
                }
                found = counts.take_token()
                    || block.pending.load(Ordering::Relaxed) != 0
                        && block.pending.swap(0, Ordering::SeqCst) != 0;
            }
        }
        // Before `sleep` looks at the tokens again: pairs with the load in `wake_one`.
        counts.spinning.fetch_sub(1, Ordering::SeqCst);
        found
    }

    /// Waits in the host.
    fn sleep(&self, block: &Block, deadline: Option<Duration>, events: &mut Vec<Event>) {
        let mask = signals::set_mask(signals::HELD_BACK);
        self.counts.sleeping.fetch_add(1, Ordering::SeqCst);
        let is_wanted = self.counts.take_token()
            || block.pending.swap(0, Ordering::SeqCst) != 0
            || outside::waiting()
            || self.pool().has_done();
        let time = match deadline {
            _ if is_wanted => Some(Duration::ZERO),
            Some(at) => Some(at.saturating_sub(clock::monotonic())),
            None => None,
        };
        let is_woken = self.collect(time, mask, events);
        self.counts.sleeping.fetch_sub(1, Ordering::SeqCst);
        if is_woken {
            self.counts.take_token();
        }
        signals::set_mask(mask);
    }

    /// Asks the host for events, waiting `time` at most, with this signal mask meanwhile. Says
    /// whether our own eventfd was among them.
    fn collect(&self, time: Option<Duration>, mask: u64, events: &mut Vec<Event>) -> bool {
        let (mut is_woken, mut has_outputs) = (false, false);
        let epoll = self.epoll.load(Ordering::Relaxed);
        take(epoll, time, mask, |token, ready| match token {
            WAKE => is_woken = true,
            OUTPUTS => has_outputs = true,
            token => events.push(Event::Ready { token, ready }),
        });
        if has_outputs {
            self.collect_outputs(mask, events);
        }
        is_woken
    }

    /// Takes all that the epoll for output has: it is reported again only after that.
    fn collect_outputs(&self, mask: u64, events: &mut Vec<Event>) {
        let outputs = self.outputs.load(Ordering::Relaxed);
        loop {
            let count = take(outputs, Some(Duration::ZERO), mask, |token, ready| {
                events.push(Event::Ready { token, ready });
            });
            if count < BATCH {
                return;
            }
        }
    }

    pub(crate) fn wake_one(&self) {
        self.counts.wake_one();
    }

    /// How many wake-ups took a system call.
    pub(crate) fn wakes(&self) -> u64 {
        self.counts.wakes.load(Ordering::Relaxed)
    }

    pub(crate) fn poll_add(&self, fd: i32, token: u64) -> Result<(), AlwaysReady> {
        // A file of the runner's may have had this number for a moment.
        if !can_watch(fd) {
            return Err(AlwaysReady);
        }
        self.add(fd, token)?;
        self.watched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(fd, token);
        Ok(())
    }

    /// Registers a descriptor with the host. Whatever the host cannot watch is called always ready:
    /// its owner then finds out by trying.
    fn add(&self, fd: i32, token: u64) -> Result<(), AlwaysReady> {
        for (epoll, interest) in self.directions() {
            match control(epoll, libc::EPOLL_CTL_ADD, fd, token, interest) {
                Err(HostErr {
                    errno: libc::EEXIST,
                    ..
                }) => control(epoll, libc::EPOLL_CTL_MOD, fd, token, interest),
                result => result,
            }
            .map_err(|_| AlwaysReady)?;
        }
        Ok(())
    }

    /// Both epolls, with what they watch for.
    fn directions(&self) -> [(i32, i32); 2] {
        [(&self.epoll, INPUT), (&self.outputs, OUTPUT)]
            .map(|(epoll, interest)| (epoll.load(Ordering::Relaxed), interest))
    }

    /// The host knows a registration by number and open file: another file under the same number has
    /// none. Asking changes nothing; an edge may be reported once more.
    pub(crate) fn poll_has(&self, fd: i32, token: u64) -> bool {
        let epoll = self.epoll.load(Ordering::Relaxed);
        can_watch(fd) && control(epoll, libc::EPOLL_CTL_MOD, fd, token, INPUT).is_ok()
    }

    pub(crate) fn poll_del(&self, fd: i32) {
        let known = self
            .watched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&fd);
        if known.is_some() {
            for (epoll, _) in self.directions() {
                // It can only be gone already.
                let _ = control(epoll, libc::EPOLL_CTL_DEL, fd, 0, 0);
            }
        }
    }

    pub(crate) fn run_blocking(&self, token: u64, job: Box<dyn FnOnce() + Send>) {
        self.pool().run(token, job);
    }

    pub(crate) fn cancel_blocking(&self, token: u64) -> bool {
        self.pool().cancel(token)
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        let wake = self.wake.load(Ordering::Relaxed);
        // The newest poller's descriptor stays the one to interrupt.
        let _ = INTERRUPT.compare_exchange(wake, -1, Ordering::Relaxed, Ordering::Relaxed);
        self.counts.wake_fd.store(-1, Ordering::Relaxed);
        self.close();
    }
}

impl Counts {
    fn take_token(&self) -> bool {
        let taken = self
            .tokens
            .fetch_update(Ordering::SeqCst, Ordering::Relaxed, |tokens| {
                tokens.checked_sub(1)
            });
        taken.is_ok()
    }

    /// Leaves a token, and wakes a sleeper if no spinner will see it.
    fn wake_one(&self) {
        let most = self.vcpus.load(Ordering::Relaxed).max(1);
        let added = self
            .tokens
            .fetch_update(Ordering::SeqCst, Ordering::Relaxed, |tokens| {
                (tokens < most).then_some(tokens + 1)
            });
        let tokens = added.map_or(most, |before| before + 1);
        // Pairs with the changes in `spin` and `sleep`, each followed by a look at the tokens.
        if tokens > self.spinning.load(Ordering::SeqCst) && self.sleeping.load(Ordering::SeqCst) > 0
        {
            self.wakes.fetch_add(1, Ordering::Relaxed);
            write_event(self.wake_fd.load(Ordering::Relaxed));
        }
    }
}

fn new_epoll() -> Result<i32, HostErr> {
    // SAFETY: makes a descriptor.
    owned("epoll_create1", unsafe {
        libc::epoll_create1(libc::EPOLL_CLOEXEC)
    })
}

fn control(epoll: i32, op: i32, fd: i32, token: u64, interest: i32) -> Result<(), HostErr> {
    let mut event = libc::epoll_event {
        events: interest.cast_unsigned(),
        u64: token,
    };
    // SAFETY: reads one structure.
    let result = unsafe { libc::epoll_ctl(epoll, op, fd, &raw mut event) };
    if result == 0 {
        Ok(())
    } else {
        Err(last_error("epoll_ctl"))
    }
}

/// Takes events from an epoll, `BATCH` at most, waiting `time` at most, with this signal mask
/// meanwhile; how many there were.
fn take(epoll: i32, time: Option<Duration>, mask: u64, mut each: impl FnMut(u64, Ready)) -> usize {
    let mut ready = [libc::epoll_event { events: 0, u64: 0 }; BATCH];
    let time = time.map(clock::timespec);
    let time = time.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
    // SAFETY: the array has `BATCH` entries, the mask 8 bytes; `time` points to a local or nowhere.
    let count = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll,
            ready.as_mut_ptr(),
            BATCH,
            time,
            &raw const mask,
            // A whole word: the last argument is passed in memory, where an `i32` leaves the
            // upper half as it was, and Linux then says EINVAL.
            size_of::<u64>(),
        )
    };
    let count = usize::try_from(count).unwrap_or(0).min(BATCH);
    for event in &ready[..count] {
        let (token, bits) = (event.u64, event.events);
        each(token, from_epoll(bits));
    }
    count
}

/// Whether the number is the guest's, or in the place of our own.
fn can_watch(fd: i32) -> bool {
    descriptors::is_guests(fd) || descriptors::own_descriptors().contains(&fd)
}

fn new_pool(counts: &Arc<Counts>) -> Arc<Pool> {
    let counts = Arc::clone(counts);
    Pool::new(Box::new(move || counts.wake_one()))
}

/// What a host descriptor is ready for now.
pub(crate) fn ready_now(fd: i32) -> Ready {
    let events = libc::POLLIN | libc::POLLOUT | libc::POLLPRI | libc::POLLRDHUP;
    let mut entry = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    // SAFETY: one entry.
    let count = unsafe { libc::poll(&raw mut entry, 1, 0) };
    let bits = if count > 0 { entry.revents } else { 0 };
    // poll's bits are epoll's; POLLNVAL is an error as well.
    let mut ready = from_epoll(u32::from(bits.cast_unsigned()));
    ready.set(Ready::ERR, bits & (libc::POLLERR | libc::POLLNVAL) != 0);
    ready
}

fn from_epoll(bits: u32) -> Ready {
    let pairs = [
        (libc::EPOLLIN, Ready::IN),
        (libc::EPOLLOUT, Ready::OUT),
        (libc::EPOLLPRI, Ready::PRI),
        (libc::EPOLLERR, Ready::ERR),
        (libc::EPOLLHUP, Ready::HUP),
        (libc::EPOLLRDHUP, Ready::RDHUP),
    ];
    pairs
        .into_iter()
        .filter(|&(bit, _)| bits & bit.cast_unsigned() != 0)
        .map(|(_, r)| r)
        .collect()
}

fn write_event(fd: i32) {
    if fd < 0 {
        return;
    }
    let one = 1_u64;
    // SAFETY: writes 8 bytes to an eventfd of ours.
    unsafe { libc::write(fd, (&raw const one).cast(), 8) };
}

/// A new descriptor of ours, in its place.
fn owned(call: &'static str, fd: i32) -> Result<i32, HostErr> {
    if fd < 0 {
        Err(last_error(call))
    } else {
        Ok(descriptors::move_up(fd))
    }
}
