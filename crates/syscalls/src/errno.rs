//! The one place where the host's refusals become NetBSD's numbers.
//!
//! What depends on the call is decided in the call, before it comes here.

use crate::host::HostResult;
use lwp_abi::errno::Errno;
use lwp_kernel::Ended;
use lwp_kernel::machine::HostErr;
use lwp_kernel::sleepq::SleepEnd;

/// The host's errno of a call made through [`crate::host::Host`].
pub(crate) fn from_host(err: HostErr) -> Errno {
    Errno::from_linux(err.errno)
}

/// The host's errno of a call made through `rustix`.
pub(crate) fn from_rustix(err: rustix::io::Errno) -> Errno {
    Errno::from_linux(err.raw_os_error())
}

/// What a job on a helper thread gives (`CurLwp::run_blocking`): nothing if its host call was interrupted.
pub(crate) fn unless_interrupted<T>(
    result: Result<T, rustix::io::Errno>,
) -> Option<Result<T, rustix::io::Errno>> {
    (!matches!(result, Err(rustix::io::Errno::INTR))).then_some(result)
}

/// The same for a call made through [`crate::host::Host`].
pub(crate) fn host_unless_interrupted<T>(result: HostResult<T>) -> Option<HostResult<T>> {
    let intr = rustix::io::Errno::INTR.raw_os_error();
    (!matches!(&result, Err(err) if err.errno == intr)).then_some(result)
}

/// A sleep that ended without what it waited for, in a call that a signal may restart.
pub(crate) fn restartable(end: SleepEnd) -> Ended {
    match end {
        SleepEnd::Intr => Errno::EINTR.into(),
        SleepEnd::Restart => Ended::Restart,
        SleepEnd::TimedOut => Errno::EWOULDBLOCK.into(),
    }
}

/// The same in a call that is never restarted.
pub(crate) fn interrupted(end: SleepEnd) -> Ended {
    match end {
        SleepEnd::Intr | SleepEnd::Restart => Errno::EINTR.into(),
        SleepEnd::TimedOut => Errno::EWOULDBLOCK.into(),
    }
}
