//! Files by name: what the path calls have in common.
//!
//! A path of the guest is the host's path, but for a few names under /proc and /dev ([`Name`]). The
//! current directory, the root and the umask are the host process's own.
//!
//! | file | calls |
//! |---|---|
//! | [`open`] | open, openat |
//! | [`stat`] | stat and its kin, access, readlink, pathconf |
//! | [`names`] | link, unlink, rename, mkdir, rmdir, symlink, mkfifo, chdir, getcwd |
//! | [`attr`] | chmod, chown, utimes, truncate, fsync |
//! | [`dirents`] | getdents, lseek |
//! | [`statvfs`] | statvfs, getvfsstat |
//!
//! Sources: `vfs_syscalls.c`; syscalls.md 5.2.

pub(crate) mod attr;
pub(crate) mod dirents;
pub(crate) mod names;
pub(crate) mod open;
pub(crate) mod stat;
pub(crate) mod statvfs;

use crate::Unix;
use crate::copy::copyin_path;
use crate::errno::from_host;
use crate::files::Kind;
use lwp_abi::errno::Errno;
use lwp_abi::fs::{
    AT_EACCESS, AT_FDCWD, AT_FLAGS, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW,
};
use lwp_abi::table::flags_to_linux;
use lwp_kernel::CurLwp;
use rustix::fs::{AtFlags, CWD};
use std::ffi::CString;
use std::os::fd::BorrowedFd;

/// A path of the guest, as the host is to be asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// The path for the host.
    pub(crate) path: CString,
    /// It named the executable of the process: /proc/self/exe on the host would be the runner.
    pub(crate) is_exe: bool,
}

/// A name and the directory it starts from.
pub(crate) struct Place<'a> {
    /// The directory.
    pub(crate) dir: BorrowedFd<'a>,
    /// The name.
    pub(crate) name: Name,
}

impl Place<'_> {
    /// The path for the host.
    pub(crate) fn path(&self) -> &CString {
        &self.name.path
    }
}

/// Reads a path that starts from the current directory.
///
/// # Errors
/// EFAULT. ENAMETOOLONG.
pub(crate) fn here<'a>(sys: &Unix, l: &CurLwp, path: u64) -> Result<Place<'a>, Errno> {
    Ok(Place {
        dir: CWD,
        name: name(sys, l, copyin_path(l, path)?),
    })
}

/// Reads a path that starts from the directory `dirfd`.
///
/// # Errors
/// EFAULT. ENAMETOOLONG. EBADF: no such descriptor, though the path may not need it. ENOTDIR: it is not a
/// directory, and the path needs it.
pub(crate) fn at<'a>(sys: &'a Unix, l: &CurLwp, dirfd: i32, path: u64) -> Result<Place<'a>, Errno> {
    let path = copyin_path(l, path)?;
    let is_absolute = path.as_bytes().starts_with(b"/");
    let dir = directory(sys, dirfd, is_absolute)?;
    Ok(Place {
        dir,
        name: name(sys, l, path),
    })
}

/// The directory that `dirfd` names, for a path that may not need it.
fn directory(sys: &Unix, dirfd: i32, is_absolute: bool) -> Result<BorrowedFd<'_>, Errno> {
    if dirfd == AT_FDCWD {
        return Ok(CWD);
    }
    let kind = sys.files.kind(&*sys.host, dirfd)?;
    if is_absolute {
        return Ok(CWD);
    }
    if kind != Kind::Directory {
        return Err(Errno::ENOTDIR);
    }
    sys.host.fd(dirfd).map_err(from_host)
}

/// Translates the few names that mean something else on the host.
fn name(sys: &Unix, l: &CurLwp, path: CString) -> Name {
    if path.as_bytes() == b"/dev/ptm" {
        // Every open of it serves TIOCPTMGET, which makes a pair of its own.
        return Name {
            path: c"/dev/ptmx".into(),
            is_exe: false,
        };
    }
    match in_procfs(path.as_bytes(), l.kernel.proc.pid()) {
        None => Name {
            path: of_others(sys, path),
            is_exe: false,
        },
        Some(b"/exe") => {
            let image = sys.image().path;
            let is_known = !image.is_empty();
            match CString::new(image) {
                Ok(path) if is_known => Name { path, is_exe: true },
                _ => Name {
                    path,
                    is_exe: false,
                },
            }
        }
        Some(rest) => {
            let host = [b"/proc/self", rest].concat();
            // What is left of a path without NUL has none either.
            Name {
                path: CString::new(host).unwrap_or(path),
                is_exe: false,
            }
        }
    }
}

/// What follows the process's own directory of procfs in `path`, if it begins so.
fn in_procfs(path: &[u8], pid: i32) -> Option<&[u8]> {
    let rest = path.strip_prefix(b"/proc/")?;
    let end = rest.iter().position(|&c| c == b'/').unwrap_or(rest.len());
    let (who, rest) = rest.split_at(end);
    let is_own = who == b"curproc" || who == b"self" || who == pid.to_string().as_bytes();
    is_own.then_some(rest)
}

/// Another process's place in procfs, under the host's number.
fn of_others(sys: &Unix, path: CString) -> CString {
    let Some((pid, rest)) = numbered(path.as_bytes()) else {
        return path;
    };
    // Who does not exist is not there either.
    let host = sys.pids.to_host(pid).unwrap_or(0);
    let moved = [format!("/proc/{host}").as_bytes(), rest].concat();
    CString::new(moved).unwrap_or(path)
}

/// The process whose place in procfs `path` names, and what follows.
fn numbered(path: &[u8]) -> Option<(i32, &[u8])> {
    let rest = path.strip_prefix(b"/proc/")?;
    let end = rest.iter().position(|&c| c == b'/').unwrap_or(rest.len());
    let (who, rest) = rest.split_at(end);
    let pid = core::str::from_utf8(who).ok()?.parse().ok()?;
    Some((pid, rest))
}

/// Translates the flags of a call that knows those in `known`.
///
/// # Errors
/// EINVAL: another flag.
pub(crate) fn at_flags(flags: u32, known: u32) -> Result<AtFlags, Errno> {
    if flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    // EACCESS and REMOVEDIR share a bit on Linux, and no call knows both.
    debug_assert!(
        known & (AT_EACCESS | AT_REMOVEDIR) != AT_EACCESS | AT_REMOVEDIR,
        "one at most"
    );
    Ok(AtFlags::from_bits_retain(
        flags_to_linux(AT_FLAGS, flags).bits,
    ))
}

/// Flags of calls that may be told not to follow a link.
pub(crate) const NOFOLLOW: u32 = AT_SYMLINK_NOFOLLOW;
/// Flags of linkat(2).
pub(crate) const FOLLOW: u32 = AT_SYMLINK_FOLLOW;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_directory_of_procfs_has_three_names() {
        assert_eq!(in_procfs(b"/proc/curproc/exe", 7), Some(&b"/exe"[..]));
        assert_eq!(in_procfs(b"/proc/self", 7), Some(&b""[..]));
        assert_eq!(in_procfs(b"/proc/7/maps", 7), Some(&b"/maps"[..]));
        assert_eq!(in_procfs(b"/proc/8/exe", 7), None);
        assert_eq!(in_procfs(b"/proc/curprocs/exe", 7), None);
        assert_eq!(in_procfs(b"/procs/self", 7), None);
    }

    #[test]
    fn others_have_a_number_in_procfs() {
        assert_eq!(numbered(b"/proc/17/cwd"), Some((17, &b"/cwd"[..])));
        assert_eq!(numbered(b"/proc/17"), Some((17, &b""[..])));
        assert_eq!(numbered(b"/proc/net/17"), None);
        assert_eq!(numbered(b"/prok/17"), None);
    }

    #[test]
    fn at_flags_are_not_the_host_s() {
        assert_eq!(at_flags(0x200, NOFOLLOW), Ok(AtFlags::SYMLINK_NOFOLLOW));
        assert_eq!(at_flags(0x100, AT_EACCESS | NOFOLLOW), Ok(AtFlags::EACCESS));
        assert_eq!(at_flags(0x800, AT_REMOVEDIR), Ok(AtFlags::REMOVEDIR));
        assert_eq!(at_flags(0x1, NOFOLLOW), Err(Errno::EINVAL));
        assert_eq!(at_flags(0x800, NOFOLLOW), Err(Errno::EINVAL));
    }
}
