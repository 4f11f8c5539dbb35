//! Clocks, sleeping and interval timers.
//!
//! Sources: `kern_time.c`, `subr_time.c`; clock_gettime(2), nanosleep(2), setitimer(2);
//! syscalls.md 3.1, 5.4.

use crate::Unix;
use crate::args::Args;
use crate::copy::{copyin_struct, copyout_struct};
use core::time::Duration;
use lwp_abi::errno::Errno;
use lwp_abi::time::{ClockId, Itimerval, TIMER_ABSTIME, Timespec, Timeval, Timezone};
use lwp_kernel::itimer::Which;
use lwp_kernel::lwp::SyncObj;
use lwp_kernel::run::Sleeping;
use lwp_kernel::sleepq::{Catch, SleepEnd};
use lwp_kernel::time::{TimeKind, Timo};
use lwp_kernel::{CurLwp, Outcome, Ret, SysResult};

/// `__clock_gettime50`.
///
/// # Errors
/// EINVAL: no such clock. ESRCH: of an unknown LWP or process. EFAULT.
pub(crate) fn sys_clock_gettime50(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let time = l.clock_gettime(ClockId::new(a.int(0)))?;
    copyout_struct(l, &Timespec::from(time), a.ptr(1))?;
    Ok(Ret::ZERO)
}

/// `__clock_settime50`: nobody may.
///
/// # Errors
/// EFAULT. EINVAL: nanoseconds, or a clock that cannot be set. EPERM: the realtime clock.
pub(crate) fn sys_clock_settime50(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let time: Timespec = copyin_struct(l, a.ptr(1))?;
    if !time.has_valid_nsec() || ClockId::new(a.int(0)) != ClockId::REALTIME {
        return Err(Errno::EINVAL.into());
    }
    Err(Errno::EPERM.into())
}

/// `__clock_getres50`: one nanosecond.
///
/// # Errors
/// EINVAL: neither the realtime nor the monotonic clock. EFAULT.
pub(crate) fn sys_clock_getres50(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    if ![ClockId::REALTIME, ClockId::MONOTONIC].contains(&ClockId::new(a.int(0))) {
        return Err(Errno::EINVAL.into());
    }
    if a.ptr(1) != 0 {
        copyout_struct(
            l,
            &Timespec {
                tv_sec: 0,
                tv_nsec: 1,
            },
            a.ptr(1),
        )?;
    }
    Ok(Ret::ZERO)
}

/// `__gettimeofday50`; the zone, if asked for, is none.
///
/// # Errors
/// EFAULT.
pub(crate) fn sys_gettimeofday50(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let (tp, tzp) = (a.ptr(0), a.ptr(1));
    if tp != 0 {
        copyout_struct(l, &Timeval::from(l.kernel.machine.realtime()), tp)?;
    }
    if tzp != 0 {
        copyout_struct(
            l,
            &Timezone {
                tz_minuteswest: 0,
                tz_dsttime: 0,
            },
            tzp,
        )?;
    }
    Ok(Ret::ZERO)
}

/// `__nanosleep50`: sleeps for a time on the monotonic clock.
///
/// # Errors
/// EFAULT. EINVAL: nanoseconds. EINTR: the rest has been stored.
pub(crate) fn sys_nanosleep50<'a>(_: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let rest = a.ptr(1);
    match copyin_struct(l, a.ptr(0))
        .and_then(|time| begin_sleep(l, ClockId::MONOTONIC, TimeKind::Relative, time))
    {
        Ok(Some(timo)) => Outcome::Sleep(sleep_interruptible(l, timo, rest)),
        Ok(None) => Outcome::Done(slept(l, rest)),
        Err(errno) => Outcome::Done(Err(errno.into())),
    }
}

/// `clock_nanosleep(2)`; the error is the value, with carry clear.
///
/// # Errors
/// None but those of the result: EFAULT. EINVAL: nanoseconds or clock. EINTR.
pub(crate) fn sys_clock_nanosleep<'a>(_: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let clock = ClockId::new(a.int(0));
    let kind = if a.int(1) & TIMER_ABSTIME == 0 {
        TimeKind::Relative
    } else {
        TimeKind::Absolute
    };
    let rest = if kind == TimeKind::Relative {
        a.ptr(3)
    } else {
        0
    };
    let as_value = |errno: Errno| Ok(Ret(u64::from(errno.raw().unsigned_abs()), 0));
    let begun = copyin_struct(l, a.ptr(2)).and_then(|time| {
        if [ClockId::REALTIME, ClockId::MONOTONIC].contains(&clock) {
            begin_sleep(l, clock, kind, time)
        } else {
            Err(Errno::EINVAL)
        }
    });
    match begun {
        Ok(Some(timo)) => Outcome::Sleep(Box::pin(async move {
            match sleep_interruptible(l, timo, rest).await {
                Err(lwp_kernel::Ended::Failed(errno)) => as_value(errno),
                other => other,
            }
        })),
        Ok(None) => Outcome::Done(slept(l, rest)),
        Err(errno) => Outcome::Done(as_value(errno)),
    }
}

/// `None`: the time is over already, which is success.
fn begin_sleep(
    l: &CurLwp,
    clock: ClockId,
    kind: TimeKind,
    time: Timespec,
) -> Result<Option<Timo>, Errno> {
    match l.ts2timo(clock, kind, time) {
        Ok(timo) => Ok(Some(timo)),
        Err(Errno::ETIMEDOUT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Stores a rest of nothing.
fn slept(l: &CurLwp, rest: u64) -> SysResult {
    if rest != 0 {
        copyout_struct(l, &Timespec::ZERO, rest)?;
    }
    Ok(Ret::ZERO)
}

/// Sleeps until `timo` is over, spurious wake-ups notwithstanding; stores the rest either way.
fn sleep_interruptible(l: &mut CurLwp, timo: Timo, rest: u64) -> Sleeping<'_> {
    Box::pin(async move {
        loop {
            l.sleepq_enter("nanoslp", SyncObj::Other, Catch::Signals);
            match l.sleepq_block(Some(timo.deadline), Catch::Signals).await {
                Err(SleepEnd::TimedOut) => return slept(l, rest),
                Ok(()) if l.kernel.machine.monotonic() >= timo.deadline => return slept(l, rest),
                Ok(()) => {}
                Err(SleepEnd::Intr | SleepEnd::Restart) => break,
            }
        }
        if rest != 0 {
            let left = timo.left(l);
            let left = if left.tv_sec < 0 {
                Timespec::ZERO
            } else {
                left
            };
            copyout_struct(l, &left, rest)?;
        }
        Err(Errno::EINTR.into())
    })
}

/// `__setitimer50`.
///
/// # Errors
/// EINVAL: no such timer, or a time out of range. EFAULT.
pub(crate) fn sys_setitimer50(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let (new, old) = (a.ptr(1), a.ptr(2));
    let which = Which::new(a.int(0))?;
    let new: Option<Itimerval> = (new != 0).then(|| copyin_struct(l, new)).transpose()?;
    if old != 0 {
        store_itimer(l, which, old)?;
    }
    let Some(new) = new else {
        return Ok(Ret::ZERO);
    };
    let value = Duration::try_from(new.it_value)?;
    let interval = Duration::try_from(new.it_interval)?;
    l.kernel.itimer_set(which, interval, value);
    Ok(Ret::ZERO)
}

/// `__getitimer50`.
///
/// # Errors
/// EINVAL: no such timer. EFAULT.
pub(crate) fn sys_getitimer50(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let which = Which::new(a.int(0))?;
    store_itimer(l, which, a.ptr(1))?;
    Ok(Ret::ZERO)
}

fn store_itimer(l: &CurLwp, which: Which, to: u64) -> Result<(), Errno> {
    let (interval, value) = l.kernel.itimer_get(which);
    let shown = Itimerval {
        it_interval: interval.into(),
        it_value: value.into(),
    };
    copyout_struct(l, &shown, to)
}
