//! Descriptors: close(2), dup(2), fcntl(2), pipe(2).
//!
//! # Invariants
//! 1. Before a number is closed or replaced on the host, [`crate::files::Files::closing`] runs.
//! 2. A new number becomes the guest's by [`Unix::adopt`], which enforces `RLIMIT_NOFILE`.
//!
//! Locks that must be waited for are in `sys_lock`.
//!
//! Sources: close(2), dup(2), fcntl(2), pipe(2); `sys_descrip.c`, `sys_pipe.c`; syscalls.md 5.2.

use crate::Unix;
use crate::args::Args;
use crate::copy::{copyin_str, copyout, copyout_struct};
use crate::errno::{from_host, from_rustix};
use crate::files::Kind;
use crate::sys_lock;
use lwp_abi::errno::Errno;
use lwp_abi::fs::{
    F_ADD_SEALS, F_CLOSEM, F_DUPFD, F_DUPFD_CLOBOTH, F_DUPFD_CLOEXEC, F_DUPFD_CLOFORK, F_GET_SEALS,
    F_GETFD, F_GETFL, F_GETLK, F_GETNOSIGPIPE, F_GETOWN, F_GETPATH, F_MAXFD, F_SETFD, F_SETFL,
    F_SETLK, F_SETLKW, F_SETNOSIGPIPE, F_SETOWN, FD_CLOEXEC, O_ACCMODE, O_ALT_IO, O_APPEND,
    O_ASYNC, O_CLOEXEC, O_DIRECT, O_DSYNC, O_NONBLOCK, O_NOSIGPIPE, O_RSYNC, O_SYNC, OPEN_FLAGS,
};
use lwp_abi::limits::PATH_MAX;
use lwp_abi::table::{flags_from_linux, flags_to_linux};
use lwp_kernel::{CurLwp, Outcome, Ret, SysResult};
use rustix::fs::{MemfdFlags, OFlags};
use rustix::io::FdFlags;
use rustix::pipe::PipeFlags;
use std::os::fd::{AsRawFd, OwnedFd};
use zerocopy::IntoBytes;

/// What `F_SETFL` may change. `O_SYNC` and its kin are accepted, and without effect: Linux cannot.
const SETTABLE: u32 = O_APPEND | O_ASYNC | O_NONBLOCK | O_DIRECT;
/// What `F_GETFL` shows.
const SHOWN: u32 =
    O_ACCMODE | O_APPEND | O_ASYNC | O_NONBLOCK | O_SYNC | O_DSYNC | O_RSYNC | O_DIRECT | O_ALT_IO;
/// What the calls that make descriptors take.
const NEW_FLAGS: u32 = O_CLOEXEC | O_NONBLOCK | O_NOSIGPIPE;

impl Unix {
    /// Makes a new host descriptor the guest's.
    ///
    /// # Errors
    /// EMFILE: its number is not below `RLIMIT_NOFILE`; it is closed again.
    pub fn adopt(&self, fd: OwnedFd) -> Result<i32, Errno> {
        if fd.as_raw_fd() >= self.limits.nofile() {
            return Err(Errno::EMFILE);
        }
        self.host.adopt(fd).map_err(from_host)
    }

    /// Closes one of the guest's descriptors.
    ///
    /// # Errors
    /// EBADF: it is not open.
    pub fn close(&self, l: &CurLwp, fd: i32) -> Result<(), Errno> {
        // The runner's own, which the watches know too, are refused before they are told.
        self.host.fd(fd).map_err(from_host)?;
        self.files.closing(&l.kernel, fd);
        let closed = self.host.close(fd);
        self.files.closed(&l.kernel, fd);
        closed.map_err(from_host)
    }
}

/// `close(2)`: wakes who sleeps on the descriptor; they find EBADF. Never restarted.
///
/// # Errors
/// EBADF.
pub(crate) fn sys_close(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    sys.close(l, a.int(0))?;
    Ok(Ret::ZERO)
}

/// `dup(2)`.
///
/// # Errors
/// EBADF. EMFILE.
pub(crate) fn sys_dup(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    duplicate(sys, a.int(0), 0, false)
}

/// `dup2(2)`: equal descriptors succeed and change nothing.
///
/// # Errors
/// EBADF: the first is not open, or the second cannot be.
pub(crate) fn sys_dup2(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    replace(sys, l, a.int(0), a.int(1), 0)
}

/// `dup3(2)` up to NetBSD 10: equal descriptors succeed, and the flags are ignored then.
///
/// # Errors
/// EINVAL: unknown flags. As [`sys_dup2`].
pub(crate) fn sys_dup3(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let flags = a.uint(2);
    if flags & !NEW_FLAGS != 0 {
        return Err(Errno::EINVAL.into());
    }
    replace(sys, l, a.int(0), a.int(1), flags)
}

/// `dup3(2)` of NetBSD 11: equal descriptors are an error.
///
/// # Errors
/// As [`sys_dup3`]. EINVAL: equal descriptors.
pub(crate) fn sys_dup3_100(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    if a.int(0) == a.int(1) {
        return Err(Errno::EINVAL.into());
    }
    sys_dup3(sys, l, a)
}

/// A copy of `fd` at the lowest free number from `lowest` up.
pub(crate) fn duplicate(sys: &Unix, fd: i32, lowest: i32, is_cloexec: bool) -> SysResult {
    sys.files.check(&*sys.host, fd)?;
    let copy = sys.host.dup(fd, lowest, is_cloexec).map_err(from_host)?;
    let new = sys.adopt(copy)?;
    sys.files.duplicated(fd, new);
    Ok(number(new))
}

/// Makes `to` a copy of `from`.
fn replace(sys: &Unix, l: &CurLwp, from: i32, to: i32, flags: u32) -> SysResult {
    sys.files.check(&*sys.host, from)?;
    if !(0..sys.limits.nofile()).contains(&to) {
        return Err(Errno::EBADF.into());
    }
    if from != to {
        sys.files.closing(&l.kernel, to);
        let replaced = sys.host.dup3(from, to, flags & O_CLOEXEC != 0);
        sys.files.closed(&l.kernel, to);
        replaced.map_err(from_host)?;
        sys.files.duplicated(from, to);
        if flags & O_NONBLOCK != 0 {
            set_status(sys, to, OFlags::NONBLOCK, OFlags::NONBLOCK)?;
        }
        if flags & O_NOSIGPIPE != 0 {
            sys.files.set_nosigpipe(to, true);
        }
    }
    Ok(number(to))
}

/// `pipe(2)`: both numbers come in registers.
///
/// # Errors
/// EMFILE, ENFILE.
pub(crate) fn sys_pipe(sys: &Unix, _: &mut CurLwp, _: &Args) -> SysResult {
    let [reader, writer] = pipe(sys, 0)?;
    Ok(Ret(number(reader).0, number(writer).0))
}

/// `pipe2(2)`.
///
/// # Errors
/// EINVAL: unknown flags. EMFILE, ENFILE. EFAULT: then both are closed again.
pub(crate) fn sys_pipe2(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let ends = pipe(sys, a.uint(1))?;
    if let Err(errno) = copyout(l, ends.as_bytes(), a.ptr(0)) {
        for end in ends {
            sys.close(l, end)?;
        }
        return Err(errno.into());
    }
    Ok(Ret::ZERO)
}

fn pipe(sys: &Unix, flags: u32) -> Result<[i32; 2], Errno> {
    if flags & !NEW_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let mut host_flags = PipeFlags::empty();
    host_flags.set(PipeFlags::CLOEXEC, flags & O_CLOEXEC != 0);
    host_flags.set(PipeFlags::NONBLOCK, flags & O_NONBLOCK != 0);
    let (reader, writer) = rustix::pipe::pipe_with(host_flags).map_err(from_rustix)?;
    if reader.as_raw_fd().max(writer.as_raw_fd()) >= sys.limits.nofile() {
        return Err(Errno::EMFILE);
    }
    let ends = [sys.adopt(reader)?, sys.adopt(writer)?];
    for end in ends {
        sys.files.set_nosigpipe(end, flags & O_NOSIGPIPE != 0);
    }
    Ok(ends)
}

/// `memfd_create(2)` (NetBSD 11).
///
/// # Errors
/// EFAULT. ENAMETOOLONG. EINVAL: unknown flags. EMFILE, ENFILE.
pub(crate) fn sys_memfd_create(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    const KNOWN: MemfdFlags = MemfdFlags::CLOEXEC.union(MemfdFlags::ALLOW_SEALING);
    /// What is left of `NAME_MAX` beside the prefix that both kernels put before it.
    const ROOM: usize = 249;
    let name = copyin_str(l, a.ptr(0), ROOM + 1)?;
    // Both flags have the host's values.
    let flags = MemfdFlags::from_bits_retain(a.uint(1));
    if !KNOWN.contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let fd = rustix::fs::memfd_create(name, flags).map_err(from_rustix)?;
    Ok(number(sys.adopt(fd)?))
}

/// `fcntl(2)`.
///
/// # Errors
/// EBADF: not open, or a bad `F_CLOSEM`. EINVAL: no such command, or a bad number for `F_DUPFD`. ENOTTY: most
/// commands on a kqueue. By the command: see fcntl(2).
pub(crate) fn sys_fcntl<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let (fd, cmd) = (a.int(0), a.int(1));
    match cmd {
        F_GETLK | F_SETLK | F_SETLKW => sys_lock::record_lock(sys, l, fd, cmd, a.ptr(2)),
        _ => Outcome::Done(control(sys, l, fd, cmd, a)),
    }
}

/// The commands of fcntl(2) that never sleep.
fn control(sys: &Unix, l: &CurLwp, fd: i32, cmd: i32, a: &Args) -> SysResult {
    match cmd {
        F_CLOSEM => return close_from(sys, l, fd),
        F_MAXFD => return Ok(number(max_fd(sys))),
        _ => sys.files.check(&*sys.host, fd)?,
    }
    let arg = a.int(2);
    match cmd {
        F_DUPFD | F_DUPFD_CLOEXEC | F_DUPFD_CLOFORK | F_DUPFD_CLOBOTH => {
            if !(0..sys.limits.nofile()).contains(&arg) {
                return Err(Errno::EINVAL.into());
            }
            let is_cloexec = cmd == F_DUPFD_CLOEXEC || cmd == F_DUPFD_CLOBOTH;
            duplicate(sys, fd, arg, is_cloexec)
        }
        F_GETFD => get_fd_flags(sys, fd),
        F_SETFD => set_fd_flags(sys, fd, arg),
        F_GETNOSIGPIPE => Ok(number(sys.files.is_nosigpipe(fd).into())),
        F_SETNOSIGPIPE => {
            sys.files.set_nosigpipe(fd, arg != 0);
            Ok(Ret::ZERO)
        }
        F_GETFL => get_status(sys, fd),
        _ if sys.files.object(fd).is_some() => Err(Errno::ENOTTY.into()),
        F_SETFL => set_status_flags(sys, fd, a.uint(2)),
        F_GETOWN => Ok(number(owner(sys, fd)?)),
        F_SETOWN => {
            set_owner(sys, fd, arg)?;
            Ok(Ret::ZERO)
        }
        F_GETPATH => get_path(sys, l, fd, a.ptr(2)),
        F_ADD_SEALS => {
            sys.host
                .fcntl(fd, F_ADD_SEALS_LINUX, arg)
                .map_err(from_host)?;
            Ok(Ret::ZERO)
        }
        F_GET_SEALS => Ok(number(
            sys.host
                .fcntl(fd, F_GET_SEALS_LINUX, 0)
                .map_err(from_host)?,
        )),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// Commands in the host's numbers; the table in `lwp_abi::fs` has them too, as values.
const F_GETOWN_LINUX: i32 = 9;
const F_SETOWN_LINUX: i32 = 8;
const F_ADD_SEALS_LINUX: i32 = 0x409;
const F_GET_SEALS_LINUX: i32 = 0x40a;

/// Who hears of the descriptor: a process, or, negative, a group.
pub(crate) fn owner(sys: &Unix, fd: i32) -> Result<i32, Errno> {
    let owner = sys.host.fcntl(fd, F_GETOWN_LINUX, 0).map_err(from_host)?;
    Ok(sys.pids.to_guest(owner))
}

/// Has a process, or a group, hear of the descriptor.
pub(crate) fn set_owner(sys: &Unix, fd: i32, owner: i32) -> Result<(), Errno> {
    let owner = sys.pids.to_host(owner)?;
    sys.host
        .fcntl(fd, F_SETOWN_LINUX, owner)
        .map_err(from_host)?;
    Ok(())
}

/// `F_CLOSEM`: closes every descriptor from `first` up.
fn close_from(sys: &Unix, l: &CurLwp, first: i32) -> SysResult {
    if first < 0 {
        return Err(Errno::EBADF.into());
    }
    for fd in sys.host.fds().into_iter().filter(|&fd| fd >= first) {
        // Another LWP may have closed it meanwhile.
        let _ = sys.close(l, fd);
    }
    Ok(Ret::ZERO)
}

/// `F_MAXFD`: the highest open descriptor, -1 if there is none.
fn max_fd(sys: &Unix) -> i32 {
    sys.host.fds().last().copied().unwrap_or(-1)
}

fn get_fd_flags(sys: &Unix, fd: i32) -> SysResult {
    let flags =
        rustix::io::fcntl_getfd(sys.host.fd(fd).map_err(from_host)?).map_err(from_rustix)?;
    Ok(number(if flags.contains(FdFlags::CLOEXEC) {
        FD_CLOEXEC
    } else {
        0
    }))
}

fn set_fd_flags(sys: &Unix, fd: i32, arg: i32) -> SysResult {
    let mut flags = FdFlags::empty();
    flags.set(FdFlags::CLOEXEC, arg & FD_CLOEXEC != 0);
    rustix::io::fcntl_setfd(sys.host.fd(fd).map_err(from_host)?, flags).map_err(from_rustix)?;
    Ok(Ret::ZERO)
}

fn get_status(sys: &Unix, fd: i32) -> SysResult {
    let host = crate::sys_generic::status_flags(sys, fd)?.bits();
    let mut flags = flags_from_linux(OPEN_FLAGS, host).bits & SHOWN;
    if host & OFlags::SYNC.bits() != OFlags::SYNC.bits() {
        flags &= !(O_SYNC | O_RSYNC);
    }
    if sys.files.is_nosigpipe(fd) {
        flags |= O_NOSIGPIPE;
    }
    Ok(Ret(flags.into(), 0))
}

fn set_status_flags(sys: &Unix, fd: i32, flags: u32) -> SysResult {
    let to_host = |flags: u32| OFlags::from_bits_retain(flags_to_linux(OPEN_FLAGS, flags).bits);
    set_status(sys, fd, to_host(SETTABLE), to_host(flags & SETTABLE))?;
    sys.files.set_nosigpipe(fd, flags & O_NOSIGPIPE != 0);
    Ok(Ret::ZERO)
}

/// Sets those of the host's status flags that `mask` names.
pub(crate) fn set_status(sys: &Unix, fd: i32, mask: OFlags, flags: OFlags) -> Result<(), Errno> {
    let old = crate::sys_generic::status_flags(sys, fd)?;
    let fd = sys.host.fd(fd).map_err(from_host)?;
    rustix::fs::fcntl_setfl(fd, old.difference(mask).union(flags)).map_err(from_rustix)
}

/// `F_GETPATH`: the path by which the file can be reached, if it is one.
fn get_path(sys: &Unix, l: &CurLwp, fd: i32, to: u64) -> SysResult {
    let kind = sys.files.kind(&*sys.host, fd)?;
    if !matches!(
        kind,
        Kind::Disk | Kind::Directory | Kind::Device | Kind::Random
    ) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let path = std::fs::read_link(format!("/proc/self/fd/{fd}"))
        .map_err(|err| Errno::from_linux(err.raw_os_error().unwrap_or(0)))?;
    let mut buffer = [0; PATH_MAX];
    let path = path.as_os_str().as_encoded_bytes();
    if !path.starts_with(b"/") || path.ends_with(b" (deleted)") {
        return Err(Errno::ENOENT.into());
    }
    let Some(room) = buffer
        .get_mut(..path.len())
        .filter(|_| path.len() < PATH_MAX)
    else {
        return Err(Errno::ERANGE.into());
    };
    room.copy_from_slice(path);
    copyout_struct(l, &buffer, to)?;
    Ok(Ret::ZERO)
}

/// A descriptor or another small number as a result.
pub(crate) fn number(value: i32) -> Ret {
    Ret(i64::from(value).cast_unsigned(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_s_status_flags_come_back_as_netbsd_s() {
        let host = (OFlags::RDWR | OFlags::APPEND | OFlags::NONBLOCK).bits() | 0x8000;
        let got = flags_from_linux(OPEN_FLAGS, host).bits & SHOWN;
        assert_eq!(got, lwp_abi::fs::O_RDWR | O_APPEND | O_NONBLOCK);
    }

    #[test]
    fn commands_are_not_the_host_s() {
        assert_eq!(
            (F_GETOWN, F_SETOWN, F_GETLK, F_SETLK, F_SETLKW),
            (5, 6, 7, 8, 9)
        );
    }
}
