//! kqueue(2), kqueue1(2) and kevent(2), with records of 40 bytes (435) and of 72 (501).
//!
//! kevent never restarts after a signal. A close of the descriptor on which it waits ends it with EBADF.
//!
//! Source: `kern_event.c: kevent1, kqueue_scan`.

use super::Kqueue;
use crate::Unix;
use crate::args::Args;
use crate::copy::{copyin_slice, copyin_struct, copyout_struct};
use crate::errno::from_rustix;
use core::time::Duration;
use lwp_abi::errno::Errno;
use lwp_abi::event::{EV_ERROR, EV_RECEIPT, EV_SYSFLAGS, Kevent, Kevent100};
use lwp_abi::fs::{O_CLOEXEC, O_NOSIGPIPE};
use lwp_abi::time::Timespec;
use lwp_kernel::sleepq::{Catch, SleepEnd};
use lwp_kernel::{CurLwp, Outcome, Ret, SysResult};
use rustix::event::EventfdFlags;
use rustix::io::FdFlags;
use std::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `KQ_NEVENTS`: changes read at a time.
const CHANGES: u64 = 8;
/// Records written at a time.
const EVENTS: usize = 64;

/// A record as one of the two calls has it.
pub(crate) trait Record:
    FromBytes + IntoBytes + Immutable + Into<Kevent100> + From<Kevent100> + Send + 'static
{
}

impl Record for Kevent {}
impl Record for Kevent100 {}

/// kqueue(2).
///
/// # Errors
/// EMFILE, ENFILE, ENOMEM.
pub(crate) fn sys_kqueue(sys: &Unix, _: &mut CurLwp, _: &Args) -> SysResult {
    kqueue1(sys, 0)
}

/// kqueue1(2): `O_CLOEXEC`, `O_NONBLOCK` (which means nothing here) and `O_NOSIGPIPE`; others are ignored.
///
/// # Errors
/// As [`sys_kqueue`].
pub(crate) fn sys_kqueue1(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    kqueue1(sys, a.uint(0))
}

fn kqueue1(sys: &Unix, flags: u32) -> SysResult {
    // Holds the number, and nothing else.
    let holder = rustix::event::eventfd(0, EventfdFlags::empty()).map_err(from_rustix)?;
    if flags & O_CLOEXEC != 0 {
        rustix::io::fcntl_setfd(&holder, FdFlags::CLOEXEC).map_err(from_rustix)?;
    }
    let fd = sys.adopt(holder)?;
    sys.files.install(fd, Kqueue::new(Arc::clone(&sys.host)))?;
    sys.files.set_nosigpipe(fd, flags & O_NOSIGPIPE != 0);
    Ok(Ret(u64::from(fd.unsigned_abs()), 0))
}

/// `__kevent50`.
///
/// # Errors
/// EBADF: no kqueue. EFAULT. EINTR. EINVAL: bad time-out. The error of a change, if there is no room
/// to report it.
pub(crate) fn sys_kevent50<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    kevent::<Kevent>(sys, l, a)
}

/// `__kevent100`.
///
/// # Errors
/// As [`sys_kevent50`].
pub(crate) fn sys_kevent100<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    kevent::<Kevent100>(sys, l, a)
}

fn kevent<'a, R: Record>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let fd = a.int(0);
    let Some(kq) = sys.files.object_of::<Kqueue>(fd) else {
        return Outcome::Done(Err(Errno::EBADF.into()));
    };
    match without_sleep::<R>(sys, l, &kq, a) {
        Ok(Attempt::Done(count)) => Outcome::Done(Ok(Ret(count, 0))),
        Ok(Attempt::Wait { list, deadline }) => {
            Outcome::Sleep(Box::pin(wait::<R>(sys, l, kq, fd, list, deadline)))
        }
        Err(errno) => Outcome::Done(Err(errno.into())),
    }
}

/// Where reports go.
#[derive(Clone, Copy, Debug)]
struct EventList {
    addr: u64,
    /// Room, in records.
    room: u64,
}

impl EventList {
    fn at<R>(self, index: u64) -> u64 {
        let size = u64::try_from(size_of::<R>()).unwrap_or(0);
        self.addr.wrapping_add(index.wrapping_mul(size))
    }
}

enum Attempt {
    Done(u64),
    Wait {
        list: EventList,
        deadline: Option<Duration>,
    },
}

/// All of kevent that does not sleep.
fn without_sleep<R: Record>(
    sys: &Unix,
    l: &CurLwp,
    kq: &Kqueue,
    a: &Args,
) -> Result<Attempt, Errno> {
    let timeout = match a.ptr(5) {
        0 => None,
        addr => Some(copyin_struct::<Timespec>(l, addr)?),
    };
    let changes = EventList {
        addr: a.ptr(1),
        room: a.size(2),
    };
    let list = EventList {
        addr: a.ptr(3),
        room: a.size(4),
    };
    match apply::<R>(sys, l, kq, changes, list)? {
        Applied::Reported(count) => return Ok(Attempt::Done(count)),
        Applied::Silently if list.room == 0 => return Ok(Attempt::Done(0)),
        Applied::Silently => {}
    }
    // Judged only now, as in NetBSD: with a bad time-out the changes have been made.
    let timeout = timeout.map(Duration::try_from).transpose()?;
    let now = l.kernel.machine.monotonic();
    match (collect::<R>(l, kq, list)?, timeout) {
        (0, None) => Ok(Attempt::Wait {
            list,
            deadline: None,
        }),
        (0, Some(timeout)) if !timeout.is_zero() => Ok(Attempt::Wait {
            list,
            deadline: Some(now.saturating_add(timeout)),
        }),
        (count, _) => Ok(Attempt::Done(count)),
    }
}

enum Applied {
    /// Errors and receipts were written: so many.
    Reported(u64),
    /// Nothing to say.
    Silently,
}

/// Makes the changes, in order. The first that has something to say ends the call if there is no room.
fn apply<R: Record>(
    sys: &Unix,
    l: &CurLwp,
    kq: &Kqueue,
    changes: EventList,
    list: EventList,
) -> Result<Applied, Errno> {
    let mut reported = 0;
    let mut next = 0;
    while next < changes.room {
        let count = CHANGES.min(changes.room - next);
        let batch = usize::try_from(count).map_err(|_| Errno::EFAULT)?;
        for record in copyin_slice::<R>(l, changes.at::<R>(next), batch)? {
            let mut change: Kevent100 = record.into();
            change.flags &= !EV_SYSFLAGS;
            let outcome = kq.register(sys, &l.kernel, &change);
            if outcome.is_ok() && change.flags & EV_RECEIPT == 0 {
                continue;
            }
            if reported == list.room {
                // NetBSD returns what it would have reported: an error, or 0 for a receipt, whose
                // later changes are not made.
                outcome?;
                return Ok(Applied::Reported(0));
            }
            change.flags = EV_ERROR;
            change.data = outcome.err().map_or(0, |errno| i64::from(errno.raw()));
            copyout_struct(l, &R::from(change), list.at::<R>(reported))?;
            reported += 1;
        }
        next += count;
    }
    Ok(if reported > 0 {
        Applied::Reported(reported)
    } else {
        Applied::Silently
    })
}

/// Reports what is queued now (`kqueue_scan`, without the wait).
fn collect<R: Record>(l: &CurLwp, kq: &Kqueue, list: EventList) -> Result<u64, Errno> {
    l.kernel.poll_events();
    let mut end = None;
    let mut total = 0;
    let mut out = Vec::new();
    while total < list.room {
        let room = usize::try_from(list.room - total).map_or(EVENTS, |left| left.min(EVENTS));
        out.clear();
        end = Some(kq.scan(&l.kernel, end, room, &mut out));
        if out.is_empty() {
            break;
        }
        let records: Vec<R> = out.iter().map(|&kev| R::from(kev)).collect();
        copyout_struct(l, records.as_slice(), list.at::<R>(total))?;
        total += u64::try_from(records.len()).unwrap_or(0);
    }
    Ok(total)
}

/// Waits until there is something to report.
///
/// # Cancellation
/// Nothing is lost: what was not reported stays queued.
async fn wait<R: Record>(
    sys: &Unix,
    l: &mut CurLwp,
    kq: Arc<Kqueue>,
    fd: i32,
    list: EventList,
    deadline: Option<Duration>,
) -> SysResult {
    loop {
        let queued = kq.waiters.enter(l, "kqueue", Catch::Signals);
        let is_ours = sys
            .files
            .object_of::<Kqueue>(fd)
            .is_some_and(|now| Arc::ptr_eq(&now, &kq));
        let ended = if kq.has_news() || !is_ours {
            l.sleepq_leave();
            Ok(())
        } else {
            l.sleepq_block(deadline, Catch::Signals).await
        };
        drop(queued);
        match ended {
            Ok(()) if !is_ours => return Err(Errno::EBADF.into()),
            Ok(()) => {}
            Err(SleepEnd::TimedOut) => return Ok(Ret(collect::<R>(l, &kq, list)?, 0)),
            Err(SleepEnd::Intr | SleepEnd::Restart) => return Err(Errno::EINTR.into()),
        }
        let count = collect::<R>(l, &kq, list)?;
        if count > 0 {
            return Ok(Ret(count, 0));
        }
    }
}
