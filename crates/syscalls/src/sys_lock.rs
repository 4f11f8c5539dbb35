//! Locks on files: flock(2), and the record locks of fcntl(2).
//!
//! A lock that is free is taken at once. One that must be waited for has no readiness that could be
//! polled, so a helper thread waits for it in the host while the LWP sleeps. If a signal ends the sleep
//! first, the helper is interrupted, and has the lock or has it not before the call returns.
//!
//! Sources: flock(2), fcntl(2); `sys_descrip.c: do_fcntl_lock, sys_flock`; syscalls.md 5.2.

use crate::Unix;
use crate::args::Args;
use crate::copy::{copyin_struct, copyout_struct};
use crate::errno::{
    from_host, from_rustix, host_unless_interrupted, interrupted, restartable, unless_interrupted,
};
use crate::files::Kind;
use crate::host::{Host, HostResult, LockOp, RecordLock};
use lwp_abi::errno::Errno;
use lwp_abi::fs::{
    F_GETLK, F_RDLCK, F_SETLK, F_SETLKW, F_UNLCK, F_WRLCK, Flock, LOCK_EX, LOCK_NB, LOCK_SH,
    LOCK_TYPES, LOCK_UN,
};
use lwp_abi::table::{from_linux, to_linux};
use lwp_kernel::sleepq::Catch;
use lwp_kernel::{CurLwp, Ended, Outcome, Ret, SysResult};
use rustix::fs::FlockOperation;
use rustix::io::Errno as Linux;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// `flock(2)`.
///
/// # Errors
/// EBADF. EINVAL: not one of the three operations. EOPNOTSUPP: not a file. EWOULDBLOCK: with `LOCK_NB`.
/// EINTR or a restart: a signal.
pub(crate) fn sys_flock<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let (fd, how) = (a.int(0), a.int(1));
    match flock_try(sys, fd, how) {
        Ok(Tried::Done) => Outcome::Done(Ok(Ret::ZERO)),
        Err(errno) => Outcome::Done(Err(errno.into())),
        Ok(Tried::Wait(operation)) => Outcome::Sleep(Box::pin(async move {
            flock_wait(sys, l, fd, operation).await.map(|()| Ret::ZERO)
        })),
    }
}

/// What came of a lock taken without waiting.
enum Tried {
    Done,
    Wait(FlockOperation),
}

fn flock_try(sys: &Unix, fd: i32, how: i32) -> Result<Tried, Errno> {
    if !matches!(
        sys.files.kind(&*sys.host, fd)?,
        Kind::Disk | Kind::Directory | Kind::Fifo | Kind::Device | Kind::Random
    ) {
        return Err(Errno::EOPNOTSUPP);
    }
    let host_fd = sys.host.fd(fd).map_err(from_host)?;
    let (now, later) = match how & (LOCK_UN | LOCK_EX | LOCK_SH) {
        // LOCK_UN outranks the others, and LOCK_EX LOCK_SH (`sys_flock`).
        how if how & LOCK_UN != 0 => (FlockOperation::Unlock, FlockOperation::Unlock),
        how if how & LOCK_EX != 0 => (
            FlockOperation::NonBlockingLockExclusive,
            FlockOperation::LockExclusive,
        ),
        how if how & LOCK_SH != 0 => (
            FlockOperation::NonBlockingLockShared,
            FlockOperation::LockShared,
        ),
        _ => return Err(Errno::EINVAL),
    };
    match rustix::fs::flock(host_fd, now) {
        Ok(()) => Ok(Tried::Done),
        Err(Linux::WOULDBLOCK) if how & LOCK_NB == 0 => Ok(Tried::Wait(later)),
        Err(err) => Err(from_rustix(err)),
    }
}

/// Takes the lock that `O_SHLOCK` or `O_EXLOCK` asked for.
pub(crate) fn lock_opened(fd: impl AsFd, is_exclusive: bool) -> Result<(), Linux> {
    rustix::fs::flock(
        fd,
        if is_exclusive {
            FlockOperation::NonBlockingLockExclusive
        } else {
            FlockOperation::NonBlockingLockShared
        },
    )
}

/// Sleeps until a helper thread has the lock. It belongs to the open file, so a copy of the descriptor
/// will do.
async fn flock_wait(
    sys: &Unix,
    l: &mut CurLwp,
    fd: i32,
    operation: FlockOperation,
) -> Result<(), Ended> {
    let copy = helper_fd(sys, fd)?;
    let job = move || unless_interrupted(rustix::fs::flock(&copy, operation));
    let taken = l.run_blocking("lockf", Catch::Signals, job).await;
    Ok(taken.map_err(restartable)?.map_err(from_rustix)?)
}

/// The same for a file that is not the guest's yet; gives the descriptor back.
pub(crate) async fn flock_wait_owned(
    l: &mut CurLwp,
    fd: OwnedFd,
    is_exclusive: bool,
) -> Result<OwnedFd, Ended> {
    let operation = if is_exclusive {
        FlockOperation::LockExclusive
    } else {
        FlockOperation::LockShared
    };
    let job = move || unless_interrupted(rustix::fs::flock(&fd, operation).map(|()| fd));
    let taken = l.run_blocking("lockf", Catch::Signals, job).await;
    Ok(taken.map_err(interrupted)?.map_err(from_rustix)?)
}

/// A copy of a guest descriptor for a helper thread.
fn helper_fd(sys: &Unix, fd: i32) -> Result<OwnedFd, Errno> {
    let host_fd = sys.host.fd(fd).map_err(from_host)?;
    rustix::io::fcntl_dupfd_cloexec(host_fd, sys.host.first_own_fd()).map_err(from_rustix)
}

/// `F_GETLK`, `F_SETLK` and `F_SETLKW`.
///
/// # Errors
/// EBADF: not open, or not open for the kind of lock. EFAULT. EINVAL: a bad kind, origin or range, or
/// nothing that can be locked. EAGAIN: in the way, and `F_SETLK`. EDEADLK. EINTR or a restart.
pub(crate) fn record_lock<'a>(
    sys: &'a Unix,
    l: &'a mut CurLwp,
    fd: i32,
    cmd: i32,
    at: u64,
) -> Outcome<'a> {
    let lock = match lock_from_guest(sys, l, fd, cmd, at) {
        Ok(lock) => lock,
        Err(errno) => return Outcome::Done(Err(errno.into())),
    };
    match cmd {
        F_GETLK => Outcome::Done(get_lock(sys, l, fd, lock, at)),
        F_SETLKW => match set_lock(&*sys.host, fd, lock, LockOp::Set) {
            Err(err) if is_in_the_way(err.errno) => {
                Outcome::Sleep(Box::pin(lock_wait(sys, l, fd, lock)))
            }
            done => Outcome::Done(
                done.map(|()| Ret::ZERO)
                    .map_err(|err| from_host(err).into()),
            ),
        },
        _ => Outcome::Done(match set_lock(&*sys.host, fd, lock, LockOp::Set) {
            Ok(()) => Ok(Ret::ZERO),
            Err(err) if is_in_the_way(err.errno) => Err(Errno::EAGAIN.into()),
            Err(err) => Err(from_host(err).into()),
        }),
    }
}

/// Linux says EACCES or EAGAIN.
fn is_in_the_way(errno: i32) -> bool {
    errno == Linux::ACCESS.raw_os_error() || errno == Linux::AGAIN.raw_os_error()
}

/// Reads and checks a record lock (`do_fcntl_lock`).
fn lock_from_guest(
    sys: &Unix,
    l: &CurLwp,
    fd: i32,
    cmd: i32,
    at: u64,
) -> Result<RecordLock, Errno> {
    let kind = sys.files.kind(&*sys.host, fd)?;
    if !matches!(
        kind,
        Kind::Disk | Kind::Directory | Kind::Device | Kind::Random
    ) {
        return Err(Errno::EINVAL);
    }
    let lock: Flock = copyin_struct(l, at)?;
    let is_known = [F_RDLCK, F_WRLCK].contains(&lock.l_type)
        || (lock.l_type == F_UNLCK && [F_SETLK, F_SETLKW, F_GETLK].contains(&cmd));
    let host_kind = to_linux(LOCK_TYPES, lock.l_type.into())
        .filter(|_| is_known)
        .and_then(|kind| i16::try_from(kind).ok())
        .ok_or(Errno::EINVAL)?;
    Ok(RecordLock {
        kind: host_kind,
        whence: lock.l_whence,
        start: lock.l_start,
        len: lock.l_len,
        pid: 0,
    })
}

fn set_lock(host: &dyn Host, fd: i32, mut lock: RecordLock, op: LockOp) -> HostResult<()> {
    host.record_lock(fd, op, &mut lock)
}

fn get_lock(sys: &Unix, l: &CurLwp, fd: i32, mut lock: RecordLock, at: u64) -> SysResult {
    if lock.kind == 2 {
        // Asking who is in the way of unlocking.
        return Err(Errno::EINVAL.into());
    }
    sys.host
        .record_lock(fd, LockOp::Get, &mut lock)
        .map_err(from_host)?;
    let l_type = from_linux(LOCK_TYPES, lock.kind.into()).unwrap_or(F_UNLCK.into());
    let found = Flock {
        l_start: lock.start,
        l_len: lock.len,
        l_pid: sys.pids.to_guest(lock.pid),
        l_type: i16::try_from(l_type).unwrap_or(F_UNLCK),
        l_whence: lock.whence,
    };
    copyout_struct(l, &found, at)?;
    Ok(Ret::ZERO)
}

async fn lock_wait(sys: &Unix, l: &mut CurLwp, fd: i32, lock: RecordLock) -> SysResult {
    let host = Arc::clone(&sys.host);
    let job = move || host_unless_interrupted(set_lock(&*host, fd, lock, LockOp::SetWait));
    let taken = l.run_blocking("lockf", Catch::Signals, job).await;
    taken.map_err(restartable)?.map_err(from_host)?;
    Ok(Ret::ZERO)
}
