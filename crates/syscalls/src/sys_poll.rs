//! poll(2) and select(2), and their p-forms.
//!
//! All four come down to a row of `pollfd` and a deadline. The host is asked about all its descriptors in
//! one call that does not wait; then the LWP sleeps on one wait queue that every descriptor rings.
//!
//! # Invariants
//! 1. The LWP is in its queue before it looks at `has_rung` a last time: no edge is lost.
//! 2. What is written back is written only if the call succeeds; the time-out never.
//!
//! Differs from NetBSD: a negative time in pollts and pselect has passed, as the manual says.
//!
//! Sources: `sys_select.c: pollcommon, selcommon, sel_do_scan`; syscalls.md 3.3.

use crate::Unix;
use crate::args::Args;
use crate::copy::{copyin_slice, copyin_struct, copyout_struct};
use crate::errno::interrupted;
use crate::files::{FileObject, Kind};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use lwp_abi::errno::Errno;
use lwp_abi::poll::{
    NFDBITS, POLL_EVENTS, POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI, POLLRDBAND,
    POLLRDNORM, POLLWRNORM, Pollfd,
};
use lwp_abi::signal::SigSet;
use lwp_abi::table::{flags_from_linux, flags_to_linux};
use lwp_abi::time::{Timespec, Timeval};
use lwp_kernel::machine::Ready;
use lwp_kernel::sleepq::{Catch, SleepEnd, WaitQueue};
use lwp_kernel::watch::Listener;
use lwp_kernel::{CurLwp, Ended, Kernel, Outcome, Ret, SysResult};
use rustix::event::{PollFd, PollFlags, poll};
use std::sync::{Arc, Weak};

/// What is reported whether asked for or not.
const ALWAYS: i16 = POLLERR | POLLHUP | POLLNVAL;
/// What select(2) takes for readable, writable and exceptional (`sel_flag`).
const SELECT: [i16; 3] = [
    POLLRDNORM | POLLHUP | POLLERR,
    POLLWRNORM | POLLHUP | POLLERR,
    POLLRDBAND,
];
/// How many more records than descriptors poll(2) takes.
const SLACK: u64 = 1000;
/// The host refuses more records than it allows descriptors: so many it will always take.
const AT_A_TIME: usize = 256;

/// How long a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Forever,
    For(Duration),
}

impl Limit {
    /// A time that may be negative, or wrong.
    fn of(time: Option<Timespec>) -> Result<Self, Errno> {
        match time {
            None => Ok(Self::Forever),
            Some(time) if !time.has_valid_nsec() => Err(Errno::EINVAL),
            Some(time) => Ok(Self::For(Duration::try_from(time).unwrap_or_default())),
        }
    }

    /// poll(2)'s milliseconds.
    fn of_millis(millis: i32) -> Self {
        u64::try_from(millis).map_or(Self::Forever, |ms| Self::For(Duration::from_millis(ms)))
    }

    fn of_timeval(time: Option<Timeval>) -> Result<Self, Errno> {
        Self::of(time.map(|time| Timespec {
            tv_sec: time.tv_sec,
            tv_nsec: i64::from(time.tv_usec) * 1_000,
        }))
    }
}

/// `poll(2)`.
///
/// # Errors
/// EINVAL: more records than descriptors. EFAULT. EINTR.
pub(crate) fn sys_poll<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let limit = Limit::of_millis(a.int(2));
    let fds = fetch_pollfds(sys, l, a.ptr(0), a.uint(1));
    begin(sys, l, fds, Ok(limit), None)
}

/// `__pollts50`.
///
/// # Errors
/// As [`sys_poll`]. EINVAL: bad time.
pub(crate) fn sys_pollts<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let fetch = |l: &CurLwp| {
        let time = copyin_optional::<Timespec>(l, a.ptr(2))?;
        let mask = copyin_optional::<SigSet>(l, a.ptr(3))?;
        Ok((time, mask, fetch_pollfds(sys, l, a.ptr(0), a.uint(1))?))
    };
    match fetch(l) {
        Ok((time, mask, fds)) => begin(sys, l, Ok(fds), Limit::of(time), mask),
        Err(errno) => Outcome::Done(Err(Ended::Failed(errno))),
    }
}

/// `__select50`.
///
/// # Errors
/// EINVAL: negative count, or bad time. EBADF: a descriptor in a set is not open. EFAULT. EINTR.
pub(crate) fn sys_select<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let fetch = |l: &CurLwp| {
        let time = copyin_optional::<Timeval>(l, a.ptr(4))?;
        Ok((Limit::of_timeval(time), fetch_sets(sys, l, a)?))
    };
    match fetch(l) {
        Ok((limit, sets)) => begin(sys, l, Ok(sets), limit, None),
        Err(errno) => Outcome::Done(Err(Ended::Failed(errno))),
    }
}

/// `__pselect50`.
///
/// # Errors
/// As [`sys_select`].
pub(crate) fn sys_pselect<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let fetch = |l: &CurLwp| {
        let time = copyin_optional::<Timespec>(l, a.ptr(4))?;
        let mask = copyin_optional::<SigSet>(l, a.ptr(5))?;
        Ok((time, mask, fetch_sets(sys, l, a)?))
    };
    match fetch(l) {
        Ok((time, mask, sets)) => begin(sys, l, Ok(sets), Limit::of(time), mask),
        Err(errno) => Outcome::Done(Err(Ended::Failed(errno))),
    }
}

fn copyin_optional<T>(l: &CurLwp, addr: u64) -> Result<Option<T>, Errno>
where
    T: zerocopy::FromBytes + zerocopy::IntoBytes,
{
    if addr == 0 {
        Ok(None)
    } else {
        copyin_struct(l, addr).map(Some)
    }
}

/// What is asked, and where the answer goes.
struct Request {
    fds: Vec<Pollfd>,
    reply: Reply,
}

enum Reply {
    /// The same records, at this address.
    Records(u64),
    /// Sets of so many descriptors, at these addresses (0: not given).
    Sets { count: usize, addrs: [u64; 3] },
}

fn fetch_pollfds(sys: &Unix, l: &CurLwp, addr: u64, count: u32) -> Result<Request, Errno> {
    if u64::from(count) > SLACK + u64::from(sys.limits.nofile().unsigned_abs()) {
        return Err(Errno::EINVAL);
    }
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
    let fds = copyin_slice(l, addr, count)?;
    Ok(Request {
        fds,
        reply: Reply::Records(addr),
    })
}

fn fetch_sets(sys: &Unix, l: &CurLwp, a: &Args) -> Result<Request, Errno> {
    let count = usize::try_from(a.int(0)).map_err(|_| Errno::EINVAL)?;
    // What is beyond the table is cut off.
    let count = count.min(usize::try_from(sys.limits.nofile()).unwrap_or(0));
    let addrs = [a.ptr(1), a.ptr(2), a.ptr(3)];
    let mut sets: [Vec<u32>; 3] = Default::default();
    for (set, addr) in sets.iter_mut().zip(addrs) {
        if addr != 0 {
            *set = copyin_slice(l, addr, count.div_ceil(NFDBITS))?;
        }
    }
    let fds = pollfds_of(&sets, count);
    Ok(Request {
        fds,
        reply: Reply::Sets { count, addrs },
    })
}

/// One record for each descriptor that is in a set.
fn pollfds_of(sets: &[Vec<u32>; 3], count: usize) -> Vec<Pollfd> {
    let wanted = |index: usize| {
        let bit = |set: &Vec<u32>| {
            set.get(index / NFDBITS)
                .is_some_and(|word| word >> (index % NFDBITS) & 1 != 0)
        };
        let events = sets.iter().zip(SELECT).filter(|(set, _)| bit(set));
        events.fold(0, |events, (_, more)| events | more)
    };
    (0i32..)
        .zip(0..count)
        .map(|(fd, index)| Pollfd {
            fd,
            events: wanted(index),
            revents: 0,
        })
        .filter(|entry| entry.events != 0)
        .collect()
}

/// The three sets of what is there, and how many bits are set.
fn sets_of(fds: &[Pollfd], count: usize) -> ([Vec<u32>; 3], u64) {
    let mut sets = [(); 3].map(|()| vec![0; count.div_ceil(NFDBITS)]);
    let mut total = 0;
    for entry in fds {
        let index = usize::try_from(entry.fd).unwrap_or(usize::MAX);
        for (set, flag) in sets.iter_mut().zip(SELECT) {
            // HUP and ERR are in two sets' flags, whichever of them was asked for.
            let asked = entry.events & flag & !ALWAYS != 0;
            if let Some(word) = set.get_mut(index / NFDBITS)
                && asked
                && entry.revents & flag != 0
            {
                *word |= 1 << (index % NFDBITS);
                total += 1;
            }
        }
    }
    (sets, total)
}

/// Looks, and sleeps if there is nothing yet.
fn begin<'a>(
    sys: &'a Unix,
    l: &'a mut CurLwp,
    request: Result<Request, Errno>,
    limit: Result<Limit, Errno>,
    mask: Option<SigSet>,
) -> Outcome<'a> {
    let (mut request, limit) = match (request, limit) {
        (Ok(request), Ok(limit)) => (request, limit),
        (Err(errno), _) | (_, Err(errno)) => return Outcome::Done(Err(errno.into())),
    };
    if let Some(mask) = mask {
        l.set_sigmask_for_sleep(mask);
    }
    let deadline = match limit {
        Limit::Forever => None,
        Limit::For(time) => Some(l.kernel.machine.monotonic().saturating_add(time)),
    };
    match request.look(sys, l) {
        Ok(0) if limit != Limit::For(Duration::ZERO) => Outcome::Sleep(Box::pin(async move {
            request.wait(sys, l, deadline).await?;
            request.reply(l)
        })),
        Ok(_) => Outcome::Done(request.reply(l)),
        Err(errno) => Outcome::Done(Err(errno.into())),
    }
}

impl Request {
    /// Fills in what there is now; returns how many records have something.
    fn look(&mut self, sys: &Unix, l: &CurLwp) -> Result<usize, Errno> {
        let is_select = matches!(self.reply, Reply::Sets { .. });
        let found = look(sys, l, &mut self.fds)?;
        if is_select && self.fds.iter().any(|entry| entry.revents & POLLNVAL != 0) {
            return Err(Errno::EBADF);
        }
        Ok(found)
    }

    /// Sleeps until a look finds something, or the time is over.
    async fn wait(
        &mut self,
        sys: &Unix,
        l: &mut CurLwp,
        deadline: Option<Duration>,
    ) -> Result<(), Ended> {
        let mut waiter = Waiter::on(sys, l, &self.fds);
        loop {
            if waiter.is_stale.load(Ordering::SeqCst) {
                waiter = Waiter::on(sys, l, &self.fds);
            }
            waiter.has_rung.store(false, Ordering::SeqCst);
            if self.look(sys, l)? > 0 {
                return Ok(());
            }
            let queued = waiter.queue.enter(l, "select", Catch::Signals);
            let ended = if waiter.has_rung.load(Ordering::SeqCst) {
                l.sleepq_leave();
                Ok(())
            } else {
                l.sleepq_block(deadline, Catch::Signals).await
            };
            drop(queued);
            match ended {
                Ok(()) => {}
                Err(SleepEnd::TimedOut) => {
                    self.look(sys, l)?;
                    return Ok(());
                }
                Err(end) => return Err(interrupted(end)),
            }
        }
    }

    /// Writes the answer.
    fn reply(&self, l: &CurLwp) -> SysResult {
        let total = match &self.reply {
            Reply::Records(addr) => {
                copyout_struct(l, self.fds.as_slice(), *addr)?;
                let found = self.fds.iter().filter(|entry| entry.revents != 0).count();
                u64::try_from(found).unwrap_or(u64::MAX)
            }
            Reply::Sets { count, addrs } => {
                let (sets, total) = sets_of(&self.fds, *count);
                for (set, &addr) in sets.iter().zip(addrs) {
                    if addr != 0 {
                        copyout_struct(l, set.as_slice(), addr)?;
                    }
                }
                total
            }
        };
        Ok(Ret(total, 0))
    }
}

/// Fills in `revents` of all records, without waiting; returns how many are not 0.
fn look(sys: &Unix, l: &CurLwp, fds: &mut [Pollfd]) -> Result<usize, Errno> {
    let mut asked = Vec::with_capacity(fds.len());
    let mut entries = Vec::with_capacity(fds.len());
    let mut has_polled = false;
    for entry in &mut *fds {
        entry.revents = 0;
        if entry.fd < 0 {
            continue;
        }
        if let Some(object) = sys.files.object(entry.fd) {
            if !has_polled {
                // An object knows only what has been handed out.
                l.kernel.poll_events();
                has_polled = true;
            }
            entry.revents = of_object(&*object, &l.kernel) & (entry.events | ALWAYS);
            continue;
        }
        let Ok(fd) = sys.host.fd(entry.fd) else {
            entry.revents = POLLNVAL;
            continue;
        };
        asked.push(PollFd::from_borrowed_fd(fd, host_events(entry.events)));
        entries.push(entry);
    }
    let no_wait = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    for some in asked.chunks_mut(AT_A_TIME) {
        // If nothing is ready, a signal for this thread makes it EINTR, although it does not wait.
        rustix::io::retry_on_intr(|| poll(some, Some(&no_wait)))
            .map_err(crate::errno::from_rustix)?;
    }
    for (entry, answer) in entries.into_iter().zip(asked) {
        let is_socket = || matches!(sys.files.kind(&*sys.host, entry.fd), Ok(Kind::Socket));
        entry.revents = guest_events(answer.revents(), is_socket) & (entry.events | ALWAYS);
    }
    Ok(fds.iter().filter(|entry| entry.revents != 0).count())
}

/// What an object of ours is ready for, in poll(2)'s bits.
fn of_object(object: &dyn FileObject, kernel: &Arc<Kernel>) -> i16 {
    let ready = object.ready(kernel);
    let pairs = [
        (Ready::IN, POLLIN | POLLRDNORM),
        (Ready::OUT, POLLOUT | POLLWRNORM),
        (Ready::PRI, POLLPRI | POLLRDBAND),
        (Ready::ERR, POLLERR),
        (Ready::HUP, POLLHUP),
    ];
    let set = pairs.into_iter().filter(|(bit, _)| ready.contains(*bit));
    set.fold(0, |events, (_, more)| events | more)
}

/// What to ask the host. RDHUP is always asked for: it tells a socket that was hung up from one that was
/// never connected. Urgent data are "priority" on the host, and a "band" too in NetBSD.
fn host_events(events: i16) -> PollFlags {
    let bits = flags_to_linux(POLL_EVENTS, u32::from(events.cast_unsigned())).bits;
    let mut flags =
        PollFlags::from_bits_retain(u16::try_from(bits).unwrap_or(0)) | PollFlags::RDHUP;
    if events & POLLRDBAND != 0 {
        flags |= PollFlags::PRI;
    }
    flags
}

/// What the host's answer is in NetBSD's bits.
fn guest_events(found: PollFlags, is_socket: impl Fn() -> bool) -> i16 {
    let mut found = found;
    let is_unconnected = found.contains(PollFlags::HUP) && !found.contains(PollFlags::RDHUP);
    if is_unconnected && is_socket() {
        found -= PollFlags::HUP | PollFlags::OUT | PollFlags::WRNORM | PollFlags::WRBAND;
    }
    let bits = flags_from_linux(POLL_EVENTS, u32::from((found - PollFlags::RDHUP).bits())).bits;
    let mut events = u16::try_from(bits).unwrap_or(0).cast_signed();
    if found.contains(PollFlags::PRI) {
        events |= POLLRDBAND;
    }
    events
}

/// What an LWP in poll(2) sleeps on.
struct Waiter {
    queue: WaitQueue,
    has_rung: AtomicBool,
    /// A descriptor was closed: its number may mean something else now.
    is_stale: AtomicBool,
}

impl Waiter {
    /// One that all descriptors of the request ring.
    fn on(sys: &Unix, l: &CurLwp, fds: &[Pollfd]) -> Arc<Self> {
        let this = Arc::new(Self {
            queue: WaitQueue::new(),
            has_rung: AtomicBool::new(false),
            is_stale: AtomicBool::new(false),
        });
        for entry in fds.iter().filter(|entry| entry.fd >= 0) {
            let listener: Weak<Self> = Arc::downgrade(&this);
            if let Some(object) = sys.files.object(entry.fd) {
                object.listen(listener);
            } else if let Ok(watch) = l.kernel.watches.get(&l.kernel, entry.fd) {
                watch.listen(listener);
            }
        }
        this
    }

    fn ring(&self, kernel: &Kernel) {
        self.has_rung.store(true, Ordering::SeqCst);
        self.queue.wake_all(kernel);
    }
}

impl Listener for Waiter {
    fn activity(&self, kernel: &Arc<Kernel>, _: Ready) {
        self.ring(kernel);
    }

    fn closed(&self, kernel: &Arc<Kernel>) {
        self.is_stale.store(true, Ordering::SeqCst);
        self.ring(kernel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lwp_abi::poll::POLLWRBAND;
    use proptest::prelude::*;

    #[test]
    fn bits_without_a_like_on_the_host_are_translated_both_ways() {
        assert_eq!(
            host_events(POLLOUT),
            PollFlags::OUT | PollFlags::WRNORM | PollFlags::RDHUP
        );
        assert!(host_events(POLLWRBAND).contains(PollFlags::WRBAND));
        assert_eq!(
            guest_events(PollFlags::OUT | PollFlags::WRNORM, || false),
            POLLOUT
        );
        assert_eq!(guest_events(PollFlags::WRBAND, || false), POLLWRBAND);
        let readable = PollFlags::IN | PollFlags::RDNORM | PollFlags::RDHUP;
        assert_eq!(guest_events(readable, || true), POLLIN | POLLRDNORM);
    }

    #[test]
    fn a_socket_before_connect_is_neither_writable_nor_hung_up() {
        let fresh = PollFlags::OUT | PollFlags::WRNORM | PollFlags::HUP;
        assert_eq!(guest_events(fresh, || true), 0);
        assert_eq!(guest_events(fresh, || false), POLLOUT | POLLHUP);
    }

    #[test]
    fn only_minus_one_and_its_like_wait_for_ever() {
        assert_eq!(Limit::of_millis(-1), Limit::Forever);
        assert_eq!(Limit::of_millis(0), Limit::For(Duration::ZERO));
        let time = |tv_sec, tv_nsec| Limit::of(Some(Timespec { tv_sec, tv_nsec }));
        assert_eq!(time(-1, 0), Ok(Limit::For(Duration::ZERO)));
        assert_eq!(time(1, -1), Err(Errno::EINVAL));
        assert_eq!(time(1, 1_000_000_000), Err(Errno::EINVAL));
        let tv_usec = Timeval {
            tv_usec: 1_000_000,
            ..Timeval::ZERO
        };
        assert_eq!(Limit::of_timeval(Some(tv_usec)), Err(Errno::EINVAL));
    }

    proptest! {
        #[test]
        fn sets_come_back_as_they_went_if_all_is_ready(
            sets in [0u32.., 0u32.., 0u32..].prop_map(|words| words.map(|w| vec![w, !w])),
            count in 0usize..=64,
        ) {
            let mut fds = pollfds_of(&sets, count);
            for entry in &mut fds {
                entry.revents = entry.events;
            }
            let (got, total) = sets_of(&fds, count);
            let mut bits = 0;
            for (set, got) in sets.iter().zip(&got) {
                prop_assert_eq!(got.len(), count.div_ceil(NFDBITS));
                for index in 0..count {
                    let bit = |set: &[u32]| set[index / NFDBITS] >> (index % NFDBITS) & 1;
                    prop_assert_eq!(bit(set), bit(got));
                    bits += u64::from(bit(set));
                }
            }
            prop_assert_eq!(total, bits);
        }
    }
}
