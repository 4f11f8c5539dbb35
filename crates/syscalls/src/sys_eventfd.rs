//! eventfd(2) and timerfd(2): the host's, with flags translated.
//!
//! Reading, writing, waiting and kqueue filters treat them as any descriptor that may wait.
//!
//! Sources: `sys_eventfd.c`, `sys_timerfd.c`; syscalls.md 3.3.

use crate::Unix;
use crate::args::Args;
use crate::copy::{copyin_struct, copyout_struct};
use crate::errno::{from_host, from_rustix};
use core::time::Duration;
use lwp_abi::errno::Errno;
use lwp_abi::event::{
    EFD_CLOEXEC, EFD_NONBLOCK, EFD_SEMAPHORE, EVENTFD_FLAGS, TFD_CLOEXEC, TFD_NONBLOCK,
    TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET, TIMERFD_FLAGS,
};
use lwp_abi::table::flags_to_linux;
use lwp_abi::time::{ClockId, Itimerspec, Timespec};
use lwp_kernel::{CurLwp, Ret, SysResult};
use rustix::event::EventfdFlags;
use rustix::time::{TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};
use std::os::fd::OwnedFd;

/// `eventfd(2)`.
///
/// # Errors
/// EINVAL: unknown flags. EMFILE, ENFILE, ENOMEM.
pub(crate) fn sys_eventfd(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    let flags = a.uint(1);
    if flags & !(EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let flags = EventfdFlags::from_bits_retain(flags_to_linux(EVENTFD_FLAGS, flags).bits);
    adopt(
        sys,
        rustix::event::eventfd(a.uint(0), flags).map_err(from_rustix)?,
    )
}

fn adopt(sys: &Unix, fd: OwnedFd) -> SysResult {
    Ok(Ret(u64::from(sys.adopt(fd)?.unsigned_abs()), 0))
}

/// `timerfd_create(2)`.
///
/// # Errors
/// EINVAL: unknown flags, or a clock that has no such timers. EMFILE, ENFILE, ENOMEM.
pub(crate) fn sys_timerfd_create(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    let flags = a.uint(1);
    if flags & !(TFD_CLOEXEC | TFD_NONBLOCK) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let clock = match ClockId::new(a.int(0)) {
        ClockId::REALTIME => TimerfdClockId::Realtime,
        ClockId::MONOTONIC => TimerfdClockId::Monotonic,
        _ => return Err(Errno::EINVAL.into()),
    };
    let flags = TimerfdFlags::from_bits_retain(flags_to_linux(TIMERFD_FLAGS, flags).bits);
    adopt(
        sys,
        rustix::time::timerfd_create(clock, flags).map_err(from_rustix)?,
    )
}

/// `timerfd_settime(2)`.
///
/// # Errors
/// EBADF. EINVAL: no timerfd, unknown flags, bad times. EFAULT.
pub(crate) fn sys_timerfd_settime(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let (flags, old_addr) = (a.uint(1), a.ptr(3));
    let new: Itimerspec = copyin_struct(l, a.ptr(2))?;
    if flags & !(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let new = rustix::time::Itimerspec {
        it_interval: host_time(new.it_interval)?,
        it_value: host_time(new.it_value)?,
    };
    let flags = TimerfdTimerFlags::from_bits_retain(flags_to_linux(TIMERFD_FLAGS, flags).bits);
    let fd = sys.host.fd(a.int(0)).map_err(from_host)?;
    let old = rustix::time::timerfd_settime(fd, flags, &new).map_err(from_rustix)?;
    if old_addr != 0 {
        copyout_struct(l, &guest_timer(&old), old_addr)?;
    }
    Ok(Ret::ZERO)
}

/// `timerfd_gettime(2)`.
///
/// # Errors
/// EBADF. EINVAL: no timerfd. EFAULT.
pub(crate) fn sys_timerfd_gettime(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let fd = sys.host.fd(a.int(0)).map_err(from_host)?;
    let now = rustix::time::timerfd_gettime(fd).map_err(from_rustix)?;
    copyout_struct(l, &guest_timer(&now), a.ptr(1))?;
    Ok(Ret::ZERO)
}

/// A time for the host, which has the same layout and the same limits.
fn host_time(time: Timespec) -> Result<rustix::time::Timespec, Errno> {
    Duration::try_from(time)?;
    Ok(rustix::time::Timespec {
        tv_sec: time.tv_sec,
        tv_nsec: time.tv_nsec,
    })
}

fn guest_timer(timer: &rustix::time::Itimerspec) -> Itimerspec {
    let time = |time: rustix::time::Timespec| Timespec {
        tv_sec: time.tv_sec,
        tv_nsec: time.tv_nsec,
    };
    Itimerspec {
        it_interval: time(timer.it_interval),
        it_value: time(timer.it_value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_out_of_range_are_refused() {
        assert!(
            host_time(Timespec {
                tv_sec: 1,
                tv_nsec: 999_999_999
            })
            .is_ok()
        );
        for (tv_sec, tv_nsec) in [(-1, 0), (0, -1), (0, 1_000_000_000)] {
            assert_eq!(host_time(Timespec { tv_sec, tv_nsec }), Err(Errno::EINVAL));
        }
    }

    #[test]
    fn flags_have_other_values_on_the_host() {
        let bits = flags_to_linux(EVENTFD_FLAGS, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE).bits;
        assert_eq!(bits, 0x80000 | 0x800 | 1);
    }
}
