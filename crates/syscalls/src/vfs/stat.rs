//! What a file is: stat(2), access(2), readlink(2), pathconf(2).
//!
//! Sources: stat(2), access(2), readlink(2), pathconf(2); `vfs_syscalls.c`; syscalls.md 3.3, 5.2.

use crate::Unix;
use crate::args::Args;
use crate::copy::{copyout, copyout_struct};
use crate::errno::{from_host, from_rustix};
use crate::files::Kind;
use crate::vfs::{NOFOLLOW, Place, at, at_flags, here};
use lwp_abi::errno::Errno;
use lwp_abi::fs::{
    _PC_2_SYMLINKS, _PC_CHOWN_RESTRICTED, _PC_FILESIZEBITS, _PC_LINK_MAX, _PC_MAX_CANON,
    _PC_MAX_INPUT, _PC_NAME_MAX, _PC_NO_TRUNC, _PC_PATH_MAX, _PC_PIPE_BUF, _PC_SYMLINK_MAX,
    _PC_SYNC_IO, _PC_VDISABLE, AT_EACCESS, S_IFLNK, S_IFMT, Stat,
};
use lwp_abi::limits::{PATH_MAX, PIPE_BUF};
use lwp_abi::termios::_POSIX_VDISABLE;
use lwp_abi::time::Timespec;
use lwp_kernel::{CurLwp, Ret, SysResult};
use rustix::fs::{Access, AtFlags, FileType, Statx, StatxFlags, StatxTimestamp};
use std::os::fd::AsFd;

/// What the guest's record is made of.
const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// `__stat50`.
///
/// # Errors
/// EFAULT, ENAMETOOLONG, and those of looking up a path.
pub(crate) fn sys_stat(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    stat_place(l, &here(sys, l, a.ptr(0))?, AtFlags::empty(), a.ptr(1))
}

/// `__lstat50`.
///
/// # Errors
/// As [`sys_stat`].
pub(crate) fn sys_lstat(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    stat_place(
        l,
        &here(sys, l, a.ptr(0))?,
        AtFlags::SYMLINK_NOFOLLOW,
        a.ptr(1),
    )
}

/// `fstatat(2)`.
///
/// # Errors
/// EINVAL: unknown flags. EBADF, ENOTDIR. As [`sys_stat`].
pub(crate) fn sys_fstatat(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let flags = at_flags(a.uint(3), NOFOLLOW)?;
    stat_place(l, &at(sys, l, a.int(0), a.ptr(1))?, flags, a.ptr(2))
}

/// `__fstat50`.
///
/// # Errors
/// EBADF. EFAULT.
pub(crate) fn sys_fstat(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let stat = fstat(sys, a.int(0))?;
    copyout_struct(l, &stat, a.ptr(1))?;
    Ok(Ret::ZERO)
}

fn stat_place(l: &CurLwp, place: &Place<'_>, flags: AtFlags, to: u64) -> SysResult {
    let found = rustix::fs::statx(place.dir, place.path(), flags, WANTED).map_err(from_rustix)?;
    let mut stat = from_statx(&found);
    if place.name.is_exe && flags.contains(AtFlags::SYMLINK_NOFOLLOW) {
        stat.st_mode = S_IFLNK | 0o755;
    }
    copyout_struct(l, &stat, to)?;
    Ok(Ret::ZERO)
}

/// What `fd` is.
///
/// # Errors
/// EBADF.
pub(crate) fn fstat(sys: &Unix, fd: i32) -> Result<Stat, Errno> {
    if let Some(object) = sys.files.object(fd) {
        return Ok(object.stat());
    }
    let kind = sys.files.kind(&*sys.host, fd)?;
    let host_fd = sys.host.fd(fd).map_err(from_host)?;
    let found =
        rustix::fs::statx(host_fd, c"", AtFlags::EMPTY_PATH, WANTED).map_err(from_rustix)?;
    let mut stat = from_statx(&found);
    if kind == Kind::Fifo {
        let waiting = rustix::io::ioctl_fionread(host_fd).unwrap_or(0);
        stat.st_size = i64::try_from(waiting).unwrap_or(i64::MAX);
    }
    Ok(stat)
}

/// The guest's record. Blocks are of 512 bytes on both sides; flags and generation are not shown.
fn from_statx(found: &Statx) -> Stat {
    let time = |t: StatxTimestamp| Timespec {
        tv_sec: t.tv_sec,
        tv_nsec: t.tv_nsec.into(),
    };
    let times = [found.stx_atime, found.stx_mtime, found.stx_ctime].map(time);
    let has_birth = found.stx_mask & StatxFlags::BTIME.bits() != 0;
    let earliest = times.into_iter().min().unwrap_or_default();
    let birth = if has_birth {
        time(found.stx_btime)
    } else {
        earliest
    };
    let mut mode = u32::from(found.stx_mode);
    if mode & S_IFMT == S_IFLNK {
        // A link has the mode 0777 less the usual umask; Linux shows 0777.
        mode = S_IFLNK | 0o755;
    }
    Stat {
        st_dev: makedev(found.stx_dev_major, found.stx_dev_minor),
        st_mode: mode,
        st_ino: found.stx_ino,
        st_nlink: found.stx_nlink,
        st_uid: found.stx_uid,
        st_gid: found.stx_gid,
        st_rdev: makedev(found.stx_rdev_major, found.stx_rdev_minor),
        st_atim: times[0],
        st_mtim: times[1],
        st_ctim: times[2],
        st_birthtim: birth,
        st_size: i64::try_from(found.stx_size).unwrap_or(i64::MAX),
        st_blocks: i64::try_from(found.stx_blocks).unwrap_or(i64::MAX),
        st_blksize: i32::try_from(found.stx_blksize).unwrap_or(4096),
        ..Stat::default()
    }
}

/// NetBSD's `makedev`: major in bits 8 to 19, minor in 0 to 7 and 20 to 31.
fn makedev(major: u32, minor: u32) -> u64 {
    u64::from((major << 8 & 0xf_ff00) | (minor << 12 & 0xfff0_0000) | minor & 0xff)
}

/// `access(2)`: by the real ids.
///
/// # Errors
/// EINVAL: a mode that is not one. EACCES, EROFS, and those of looking up a path.
pub(crate) fn sys_access(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let mode = access_mode(a.int(1))?;
    access(&here(sys, l, a.ptr(0))?, mode, AtFlags::empty())
}

/// `faccessat(2)`.
///
/// # Errors
/// As [`sys_access`]. EINVAL: unknown flags.
pub(crate) fn sys_faccessat(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let flags = at_flags(a.uint(3), AT_EACCESS | NOFOLLOW)?;
    let mode = access_mode(a.int(2))?;
    access(&at(sys, l, a.int(0), a.ptr(1))?, mode, flags)
}

fn access_mode(mode: i32) -> Result<Access, Errno> {
    u32::try_from(mode)
        .ok()
        .filter(|&mode| mode & !7 == 0)
        .map(Access::from_bits_retain)
        .ok_or(Errno::EINVAL)
}

fn access(place: &Place<'_>, mode: Access, flags: AtFlags) -> SysResult {
    rustix::fs::accessat(place.dir, place.path(), mode, flags).map_err(from_rustix)?;
    Ok(Ret::ZERO)
}

/// `readlink(2)`.
///
/// # Errors
/// EINVAL: not a link. EFAULT, and those of looking up a path.
pub(crate) fn sys_readlink(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    readlink(l, &here(sys, l, a.ptr(0))?, a.ptr(1), a.size(2))
}

/// `readlinkat(2)`.
///
/// # Errors
/// As [`sys_readlink`].
pub(crate) fn sys_readlinkat(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    readlink(l, &at(sys, l, a.int(0), a.ptr(1))?, a.ptr(2), a.size(3))
}

/// Stores at most `room` bytes, and no NUL.
fn readlink(l: &CurLwp, place: &Place<'_>, to: u64, room: u64) -> SysResult {
    let target = if place.name.is_exe {
        place.name.path.clone()
    } else {
        rustix::fs::readlinkat(place.dir, place.path(), Vec::new()).map_err(from_rustix)?
    };
    let bytes = target.as_bytes();
    let count = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
    copyout(l, &bytes[..count], to)?;
    Ok(Ret(count as u64, 0))
}

/// `pathconf(2)`.
///
/// # Errors
/// EINVAL: no such name, or not for this file. Those of looking up a path.
pub(crate) fn sys_pathconf(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    pathconf_place(&here(sys, l, a.ptr(0))?, AtFlags::empty(), a.int(1))
}

/// `lpathconf(2)`: the link itself, not what it names.
///
/// # Errors
/// As [`sys_pathconf`].
pub(crate) fn sys_lpathconf(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    pathconf_place(
        &here(sys, l, a.ptr(0))?,
        AtFlags::SYMLINK_NOFOLLOW,
        a.int(1),
    )
}

/// `fpathconf(2)`.
///
/// # Errors
/// EBADF. EINVAL: no such name, or not for this file.
pub(crate) fn sys_fpathconf(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    let (fd, which) = (a.int(0), a.int(1));
    match sys.files.kind(&*sys.host, fd)? {
        // `sys_fpathconf`: these know one name.
        Kind::Socket | Kind::Fifo if which != _PC_PIPE_BUF => Err(Errno::EINVAL.into()),
        Kind::Socket | Kind::Fifo => Ok(Ret(PIPE_BUF as u64, 0)),
        Kind::Object | Kind::Anonymous => Err(Errno::EOPNOTSUPP.into()),
        Kind::Disk | Kind::Directory | Kind::Device | Kind::Random => {
            let host_fd = sys.host.fd(fd).map_err(from_host)?;
            let stat = rustix::fs::fstat(host_fd).map_err(from_rustix)?;
            pathconf(host_fd, FileType::from_raw_mode(stat.st_mode), which)
        }
    }
}

fn pathconf_place(place: &Place<'_>, flags: AtFlags, which: i32) -> SysResult {
    use rustix::fs::{Mode, OFlags};
    let stat = rustix::fs::statat(place.dir, place.path(), flags).map_err(from_rustix)?;
    let mut open = OFlags::PATH | OFlags::CLOEXEC;
    open.set(OFlags::NOFOLLOW, flags.contains(AtFlags::SYMLINK_NOFOLLOW));
    let fd =
        rustix::fs::openat(place.dir, place.path(), open, Mode::empty()).map_err(from_rustix)?;
    pathconf(&fd, FileType::from_raw_mode(stat.st_mode), which)
}

/// The value of one name. Where the file system decides, the host's is asked.
fn pathconf(fd: impl AsFd, file: FileType, which: i32) -> SysResult {
    let is_tty = file == FileType::CharacterDevice;
    let value = match which {
        // The host knows no common limit; ext4's and FFS's 32767 is what programs expect.
        _PC_LINK_MAX => 32_767,
        _PC_NAME_MAX => {
            let found = rustix::fs::fstatfs(fd).map_err(from_rustix)?;
            u64::try_from(found.f_namelen).unwrap_or(255)
        }
        _PC_PATH_MAX => PATH_MAX as u64,
        _PC_PIPE_BUF => PIPE_BUF as u64,
        _PC_CHOWN_RESTRICTED | _PC_NO_TRUNC | _PC_SYNC_IO | _PC_2_SYMLINKS => 1,
        _PC_FILESIZEBITS => 64,
        _PC_SYMLINK_MAX => 1024,
        _PC_MAX_CANON | _PC_MAX_INPUT if is_tty => 255,
        _PC_VDISABLE if is_tty => _POSIX_VDISABLE.into(),
        _ => return Err(Errno::EINVAL.into()),
    };
    Ok(Ret(value, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_are_the_host_s_below_major_4096() {
        for (major, minor) in [(0, 0), (8, 1), (136, 5), (259, 0x12345), (4095, 255)] {
            assert_eq!(makedev(major, minor), rustix::fs::makedev(major, minor));
        }
    }

    #[test]
    fn a_file_is_told_of_as_the_host_knows_it() {
        let found = rustix::fs::statx(rustix::fs::CWD, c"/proc/self/exe", AtFlags::empty(), WANTED);
        let stat = from_statx(&found.unwrap());
        assert_eq!(stat.st_mode & S_IFMT, lwp_abi::fs::S_IFREG);
        assert!(stat.st_size > 0 && stat.st_nlink > 0 && stat.st_blksize > 0);
        assert!(stat.st_birthtim <= stat.st_ctim);
    }

    #[test]
    fn access_modes_have_three_bits() {
        assert_eq!(access_mode(5), Ok(Access::READ_OK | Access::EXEC_OK));
        assert_eq!(access_mode(0), Ok(Access::EXISTS));
        for bad in [8, -1, i32::MIN] {
            assert_eq!(access_mode(bad), Err(Errno::EINVAL));
        }
    }
}
