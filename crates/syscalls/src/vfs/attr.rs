//! The calls that change what a file is: mode, owner, times, size; and those that write it out.
//!
//! Sources: chmod(2), chown(2), utimes(2), `utimensat(2)`, truncate(2), fsync(2), `posix_fallocate(2)`,
//! `posix_fadvise(2)`, chflags(2); `vfs_syscalls.c`; syscalls.md 1.7, 3.2, 3.3, 5.2.

use crate::Unix;
use crate::args::Args;
use crate::copy::copyin_struct;
use crate::errno::{from_host, from_rustix};
use crate::files::Kind;
use crate::sys_generic::status_flags;
use crate::vfs::{NOFOLLOW, Place, at, at_flags, here};
use core::num::NonZeroU64;
use lwp_abi::errno::Errno;
use lwp_abi::fs::{S_ISTXT, UTIME_NOW, UTIME_OMIT};
use lwp_abi::time::{Timespec, Timeval};
use lwp_kernel::{CurLwp, Ended, Ret, SysResult};
use rustix::fs::{Advice, AtFlags, FallocateFlags, FileType, Gid, Mode, OFlags, Timestamps, Uid};
use rustix::io::Errno as Linux;
use std::os::fd::BorrowedFd;

fn done(result: rustix::io::Result<()>) -> SysResult {
    result.map_err(from_rustix)?;
    Ok(Ret::ZERO)
}

/// A descriptor for a call that is for files with a vnode.
///
/// # Errors
/// EBADF. EINVAL: a socket or another thing without one (`fd_getvnode`).
fn vnode(sys: &Unix, fd: i32) -> Result<BorrowedFd<'_>, Errno> {
    match sys.files.kind(&*sys.host, fd)? {
        Kind::Socket | Kind::Anonymous | Kind::Object => Err(Errno::EINVAL),
        Kind::Disk | Kind::Directory | Kind::Fifo | Kind::Device | Kind::Random => {
            sys.host.fd(fd).map_err(from_host)
        }
    }
}

/// `chmod(2)`.
///
/// # Errors
/// EPERM: not the owner. EFTYPE: the sticky bit, not on a directory, and not root. Those of looking up a
/// path.
pub(crate) fn sys_chmod(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    chmod(&here(sys, l, a.ptr(0))?, a.uint(1), AtFlags::empty())
}

/// `lchmod(2)`.
///
/// # Errors
/// As [`sys_chmod`].
pub(crate) fn sys_lchmod(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    chmod(
        &here(sys, l, a.ptr(0))?,
        a.uint(1),
        AtFlags::SYMLINK_NOFOLLOW,
    )
}

/// `fchmodat(2)`.
///
/// # Errors
/// As [`sys_chmod`]. EINVAL: unknown flags.
pub(crate) fn sys_fchmodat(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let flags = at_flags(a.uint(3), NOFOLLOW)?;
    chmod(&at(sys, l, a.int(0), a.ptr(1))?, a.uint(2), flags)
}

/// `fchmod(2)`.
///
/// # Errors
/// EBADF. EINVAL: a socket. EPERM, EFTYPE as [`sys_chmod`].
pub(crate) fn sys_fchmod(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    let fd = vnode(sys, a.int(0))?;
    let mode = a.uint(1) & 0o7777;
    if mode & S_ISTXT != 0 {
        let stat = rustix::fs::fstat(fd).map_err(from_rustix)?;
        check_sticky(FileType::from_raw_mode(stat.st_mode))?;
    }
    done(rustix::fs::fchmod(fd, Mode::from_bits_retain(mode)))
}

fn chmod(place: &Place<'_>, mode: u32, flags: AtFlags) -> SysResult {
    let mode = mode & 0o7777;
    let is_link_itself = flags.contains(AtFlags::SYMLINK_NOFOLLOW);
    if is_link_itself || mode & S_ISTXT != 0 {
        let stat = rustix::fs::statat(place.dir, place.path(), flags).map_err(from_rustix)?;
        let file = FileType::from_raw_mode(stat.st_mode);
        if file == FileType::Symlink {
            // NetBSD stores a mode that means nothing; Linux has none to store.
            return Ok(Ret::ZERO);
        }
        if mode & S_ISTXT != 0 {
            check_sticky(file)?;
        }
    }
    done(rustix::fs::chmodat(
        place.dir,
        place.path(),
        Mode::from_bits_retain(mode),
        AtFlags::empty(),
    ))
}

/// Who may set the sticky bit (`ufs_chmod`).
fn check_sticky(file: FileType) -> Result<(), Errno> {
    if file == FileType::Directory || rustix::process::geteuid().is_root() {
        Ok(())
    } else {
        Err(Errno::EFTYPE)
    }
}

/// `chown(2)` and `__posix_chown`.
///
/// # Errors
/// EPERM, and those of looking up a path.
pub(crate) fn sys_chown(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    chown(
        &here(sys, l, a.ptr(0))?,
        a.uint(1),
        a.uint(2),
        AtFlags::empty(),
    )
}

/// `lchown(2)` and `__posix_lchown`.
///
/// # Errors
/// As [`sys_chown`].
pub(crate) fn sys_lchown(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    chown(
        &here(sys, l, a.ptr(0))?,
        a.uint(1),
        a.uint(2),
        AtFlags::SYMLINK_NOFOLLOW,
    )
}

/// `fchownat(2)`.
///
/// # Errors
/// As [`sys_chown`]. EINVAL: unknown flags.
pub(crate) fn sys_fchownat(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let flags = at_flags(a.uint(4), NOFOLLOW)?;
    chown(
        &at(sys, l, a.int(0), a.ptr(1))?,
        a.uint(2),
        a.uint(3),
        flags,
    )
}

/// `fchown(2)` and `__posix_fchown`.
///
/// # Errors
/// EBADF. EINVAL: a socket. EPERM.
pub(crate) fn sys_fchown(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    done(rustix::fs::fchown(
        vnode(sys, a.int(0))?,
        owner(a.uint(1)),
        group(a.uint(2)),
    ))
}

fn chown(place: &Place<'_>, uid: u32, gid: u32, flags: AtFlags) -> SysResult {
    done(rustix::fs::chownat(
        place.dir,
        place.path(),
        owner(uid),
        group(gid),
        flags,
    ))
}

/// -1 leaves the owner alone.
fn owner(uid: u32) -> Option<Uid> {
    (uid != u32::MAX).then(|| Uid::from_raw(uid))
}

/// -1 leaves the group alone.
fn group(gid: u32) -> Option<Gid> {
    (gid != u32::MAX).then(|| Gid::from_raw(gid))
}

/// `__utimes50`.
///
/// # Errors
/// EFAULT. EINVAL: bad microseconds. EPERM, EACCES, and those of looking up a path.
pub(crate) fn sys_utimes(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let times = from_timevals(l, a.ptr(1))?;
    set_times(&here(sys, l, a.ptr(0))?, &times, AtFlags::empty())
}

/// `__lutimes50`.
///
/// # Errors
/// As [`sys_utimes`].
pub(crate) fn sys_lutimes(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let times = from_timevals(l, a.ptr(1))?;
    set_times(&here(sys, l, a.ptr(0))?, &times, AtFlags::SYMLINK_NOFOLLOW)
}

/// `__futimes50`.
///
/// # Errors
/// EBADF. As [`sys_utimes`].
pub(crate) fn sys_futimes(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let fd = vnode(sys, a.int(0))?;
    done(rustix::fs::futimens(fd, &from_timevals(l, a.ptr(1))?))
}

/// `utimensat(2)`.
///
/// # Errors
/// EFAULT. EINVAL: bad nanoseconds, or unknown flags. As [`sys_utimes`].
pub(crate) fn sys_utimensat(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let flags = at_flags(a.uint(3), NOFOLLOW)?;
    let times = from_timespecs(l, a.ptr(2))?;
    set_times(&at(sys, l, a.int(0), a.ptr(1))?, &times, flags)
}

/// `futimens(2)`.
///
/// # Errors
/// EBADF. As [`sys_utimensat`].
pub(crate) fn sys_futimens(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let fd = vnode(sys, a.int(0))?;
    done(rustix::fs::futimens(fd, &from_timespecs(l, a.ptr(1))?))
}

fn set_times(place: &Place<'_>, times: &Timestamps, flags: AtFlags) -> SysResult {
    done(rustix::fs::utimensat(place.dir, place.path(), times, flags))
}

fn timestamps([last_access, last_modification]: [Timespec; 2]) -> Timestamps {
    let host = |t: Timespec| rustix::fs::Timespec {
        tv_sec: t.tv_sec,
        tv_nsec: t.tv_nsec,
    };
    Timestamps {
        last_access: host(last_access),
        last_modification: host(last_modification),
    }
}

/// Now, for both: what a null pointer stands for.
const NOW: [Timespec; 2] = [Timespec {
    tv_sec: 0,
    tv_nsec: UTIME_NOW,
}; 2];

fn from_timevals(l: &CurLwp, from: u64) -> Result<Timestamps, Errno> {
    if from == 0 {
        return Ok(timestamps(NOW));
    }
    let times: [Timeval; 2] = copyin_struct(l, from)?;
    if !times.iter().all(|t| t.has_valid_usec()) {
        return Err(Errno::EINVAL);
    }
    Ok(timestamps(times.map(|t| Timespec {
        tv_sec: t.tv_sec,
        tv_nsec: i64::from(t.tv_usec) * 1000,
    })))
}

fn from_timespecs(l: &CurLwp, from: u64) -> Result<Timestamps, Errno> {
    if from == 0 {
        return Ok(timestamps(NOW));
    }
    let times: [Timespec; 2] = copyin_struct(l, from)?;
    let is_valid =
        |t: &Timespec| t.has_valid_nsec() || t.tv_nsec == UTIME_NOW || t.tv_nsec == UTIME_OMIT;
    if !times.iter().all(is_valid) {
        return Err(Errno::EINVAL);
    }
    Ok(timestamps(times))
}

/// `truncate(2)`; argument 1 is padding.
///
/// # Errors
/// EINVAL: negative. EISDIR. EFBIG. Those of looking up a path.
pub(crate) fn sys_truncate(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let len = u64::try_from(a.i64(2)).map_err(|_| Errno::EINVAL)?;
    let place = here(sys, l, a.ptr(0))?;
    // Never waits, should it be a FIFO.
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = rustix::fs::openat(place.dir, place.path(), flags, Mode::empty());
    let fd = fd.map_err(from_rustix)?;
    resized(sys, l, rustix::fs::ftruncate(fd, len))
}

/// `ftruncate(2)`; argument 1 is padding.
///
/// # Errors
/// EBADF. EINVAL: negative, or not open for writing, or no file. EFBIG.
pub(crate) fn sys_ftruncate(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let len = u64::try_from(a.i64(2)).map_err(|_| Errno::EINVAL)?;
    let fd = vnode(sys, a.int(0))?;
    resized(sys, l, rustix::fs::ftruncate(fd, len))
}

/// A file beyond `RLIMIT_FSIZE` is EFBIG and SIGXFSZ.
fn resized(sys: &Unix, l: &CurLwp, result: rustix::io::Result<()>) -> SysResult {
    if result == Err(Linux::FBIG) {
        crate::sys_generic::sigxfsz(sys, l);
    }
    done(result)
}

/// `fsync(2)`.
///
/// # Errors
/// EBADF. EINVAL: nothing that can be written out. EIO.
pub(crate) fn sys_fsync(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    done(rustix::fs::fsync(vnode(sys, a.int(0))?))
}

/// `fdatasync(2)`.
///
/// # Errors
/// As [`sys_fsync`]. EBADF also: not open for writing.
pub(crate) fn sys_fdatasync(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    done(rustix::fs::fdatasync(writable(sys, a.int(0))?))
}

/// `fsync_range(2)`: the whole file, whatever the range.
///
/// # Errors
/// EINVAL: a range that overflows, or not exactly one of FDATASYNC and FFILESYNC. As [`sys_fdatasync`].
pub(crate) fn sys_fsync_range(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    const FDATASYNC: u32 = 0x10;
    const FFILESYNC: u32 = 0x20;
    const FDISKSYNC: u32 = 0x40;
    let fd = writable(sys, a.int(0))?;
    let how = a.uint(1);
    let is_one = matches!(how & (FDATASYNC | FFILESYNC), FDATASYNC | FFILESYNC);
    if !is_one || how & !(FDATASYNC | FFILESYNC | FDISKSYNC) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (start, len) = (a.i64(2), a.i64(3));
    if len != 0 && (start < 0 || start.checked_add(len).is_none_or(|end| end < start)) {
        return Err(Errno::EINVAL.into());
    }
    done(if how & FDATASYNC == 0 {
        rustix::fs::fsync(fd)
    } else {
        rustix::fs::fdatasync(fd)
    })
}

/// A descriptor that is open for writing.
fn writable(sys: &Unix, fd: i32) -> Result<BorrowedFd<'_>, Errno> {
    let host_fd = vnode(sys, fd)?;
    if status_flags(sys, fd)?.intersects(OFlags::WRONLY | OFlags::RDWR) {
        Ok(host_fd)
    } else {
        Err(Errno::EBADF)
    }
}

/// `sync(2)`. Cannot fail.
#[expect(clippy::unnecessary_wraps, reason = "a handler")]
pub(crate) fn sys_sync(_: &Unix, _: &mut CurLwp, _: &Args) -> SysResult {
    rustix::fs::sync();
    Ok(Ret::ZERO)
}

/// A call that returns its errno as a value (`posix_fallocate(2)` and its like).
#[expect(clippy::unnecessary_wraps, reason = "what handlers return")]
fn as_value(result: Result<(), Errno>) -> SysResult {
    Ok(Ret(
        result.map_or_else(|errno| u64::from(errno.raw().unsigned_abs()), |()| 0),
        0,
    ))
}

/// `posix_fallocate(2)`; argument 1 is padding. The errno is the value.
///
/// # Errors
/// As a value: EBADF, EINVAL, ESPIPE: a pipe, ENODEV: no file, EFBIG, ENOSPC.
pub(crate) fn sys_posix_fallocate(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    as_value(fallocate(sys, a, FallocateFlags::empty()))
}

/// `fdiscard(2)`; argument 1 is padding.
///
/// # Errors
/// EBADF, EINVAL, ESPIPE, ENODEV. EOPNOTSUPP: not on this file system.
pub(crate) fn sys_fdiscard(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    fallocate(
        sys,
        a,
        FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
    )?;
    Ok(Ret::ZERO)
}

fn fallocate(sys: &Unix, a: &Args, flags: FallocateFlags) -> Result<(), Errno> {
    let (start, len) = (a.i64(2), a.i64(3));
    let kind = sys.files.kind(&*sys.host, a.int(0))?;
    let start_at = u64::try_from(start).map_err(|_| Errno::EINVAL)?;
    let len_of = u64::try_from(len)
        .ok()
        .filter(|&len| len > 0)
        .ok_or(Errno::EINVAL)?;
    start.checked_add(len).ok_or(Errno::EINVAL)?;
    match kind {
        Kind::Fifo => return Err(Errno::ESPIPE),
        Kind::Disk => {}
        _ => return Err(Errno::ENODEV),
    }
    let fd = writable(sys, a.int(0))?;
    rustix::fs::fallocate(fd, flags, start_at, len_of).map_err(from_rustix)
}

/// `__posix_fadvise50`; argument 1 is padding. The errno is the value.
///
/// # Errors
/// As a value: EBADF. EINVAL: no such advice. ESPIPE: a pipe.
pub(crate) fn sys_posix_fadvise(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    as_value(fadvise(sys, a))
}

fn fadvise(sys: &Unix, a: &Args) -> Result<(), Errno> {
    let kind = sys.files.kind(&*sys.host, a.int(0))?;
    let advice = match a.int(4) {
        0 => Advice::Normal,
        1 => Advice::Random,
        2 => Advice::Sequential,
        3 => Advice::WillNeed,
        4 => Advice::DontNeed,
        5 => Advice::NoReuse,
        _ => return Err(Errno::EINVAL),
    };
    match kind {
        Kind::Fifo => return Err(Errno::ESPIPE),
        Kind::Disk => {}
        _ => return Err(Errno::EOPNOTSUPP),
    }
    let start = u64::try_from(a.i64(2)).map_err(|_| Errno::EINVAL)?;
    let len = u64::try_from(a.i64(3)).map_err(|_| Errno::EINVAL)?;
    let fd = sys.host.fd(a.int(0)).map_err(from_host)?;
    rustix::fs::fadvise(fd, start, NonZeroU64::new(len), advice).map_err(from_rustix)
}

/// `chflags(2)` and `lchflags(2)`: there are no flags to set.
///
/// # Errors
/// EOPNOTSUPP: any flag. Those of looking up a path.
pub(crate) fn sys_chflags(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let place = here(sys, l, a.ptr(0))?;
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::statat(place.dir, place.path(), nofollow).map_err(from_rustix)?;
    no_flags(a.u64(1))
}

/// `fchflags(2)`: there are no flags to set.
///
/// # Errors
/// EBADF. EINVAL: a socket. EOPNOTSUPP: any flag.
pub(crate) fn sys_fchflags(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    vnode(sys, a.int(0))?;
    no_flags(a.u64(1))
}

fn no_flags(flags: u64) -> SysResult {
    if flags == 0 {
        Ok(Ret::ZERO)
    } else {
        Err(Ended::Failed(Errno::EOPNOTSUPP))
    }
}
