//! The calls that change names: link, unlink, rename, mkdir, symlink, mkfifo; and the current directory.
//!
//! Sources: link(2), unlink(2), rename(2), mkdir(2), symlink(2), mkfifo(2), chdir(2), `__getcwd(2)`;
//! `vfs_syscalls.c: do_sys_renameat, do_sys_unlinkat, do_sys_linkat`, `vfs_getcwd.c`; syscalls.md 3.2.

use crate::Unix;
use crate::args::Args;
use crate::copy::{copyin_path, copyout};
use crate::errno::{from_host, from_rustix};
use crate::files::Kind;
use crate::vfs::{FOLLOW, Place, at, at_flags, here};
use lwp_abi::errno::Errno;
use lwp_abi::fs::{AT_REMOVEDIR, S_IFIFO, S_IFMT};
use lwp_abi::limits::MAXSYMLINKS;
use lwp_kernel::{CurLwp, Ret, SysResult};
use rustix::fs::{AtFlags, FileType, Mode, Stat};
use rustix::io::Errno as Linux;
use std::borrow::Cow;
use std::ffi::{CStr, CString};

fn done(result: rustix::io::Result<()>) -> SysResult {
    result.map_err(from_rustix)?;
    Ok(Ret::ZERO)
}

/// `link(2)`: follows a symbolic link in the first path, unlike Linux.
///
/// # Errors
/// EPERM: a directory. Those of looking up paths.
pub(crate) fn sys_link(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let (from, to) = (here(sys, l, a.ptr(0))?, here(sys, l, a.ptr(1))?);
    link(&from, &to, AtFlags::SYMLINK_FOLLOW)
}

/// `linkat(2)`.
///
/// # Errors
/// As [`sys_link`]. EINVAL: unknown flags.
pub(crate) fn sys_linkat(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let flags = at_flags(a.uint(4), FOLLOW)?;
    let (from, to) = (
        at(sys, l, a.int(0), a.ptr(1))?,
        at(sys, l, a.int(2), a.ptr(3))?,
    );
    link(&from, &to, flags)
}

fn link(from: &Place<'_>, to: &Place<'_>, flags: AtFlags) -> SysResult {
    done(rustix::fs::linkat(
        from.dir,
        from.path(),
        to.dir,
        to.path(),
        flags,
    ))
}

/// `unlink(2)`.
///
/// # Errors
/// EPERM: a directory. Those of looking up a path.
pub(crate) fn sys_unlink(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    unlink(&here(sys, l, a.ptr(0))?, AtFlags::empty())
}

/// `rmdir(2)`.
///
/// # Errors
/// ENOTDIR, ENOTEMPTY, EINVAL: ".". Those of looking up a path.
pub(crate) fn sys_rmdir(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    unlink(&here(sys, l, a.ptr(0))?, AtFlags::REMOVEDIR)
}

/// `unlinkat(2)`.
///
/// # Errors
/// As [`sys_unlink`], or with `AT_REMOVEDIR` as [`sys_rmdir`]. EINVAL: unknown flags.
pub(crate) fn sys_unlinkat(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let flags = at_flags(a.uint(2), AT_REMOVEDIR)?;
    unlink(&at(sys, l, a.int(0), a.ptr(1))?, flags)
}

fn unlink(place: &Place<'_>, flags: AtFlags) -> SysResult {
    let path = through_links(place)?;
    match rustix::fs::unlinkat(place.dir, &*path, flags) {
        Err(Linux::ISDIR) => Err(Errno::EPERM.into()),
        result => done(result),
    }
}

/// The path to hand to the host: slashes behind a name that is a symbolic link mean what it points to, even
/// where the call is about the name (`namei`, TRAILINGSLASH). Linux takes the link.
///
/// # Errors
/// ELOOP: more than 32 links. ENAMETOOLONG.
fn through_links<'a>(place: &'a Place<'_>) -> Result<Cow<'a, CStr>, Errno> {
    let mut path = Cow::Borrowed(place.path().as_c_str());
    for _ in 0..=MAXSYMLINKS {
        let bytes = path.to_bytes();
        let name_end = bytes
            .iter()
            .rposition(|&c| c != b'/')
            .map_or(0, |at| at + 1);
        if name_end == 0 || name_end == bytes.len() {
            return Ok(path);
        }
        let Ok(target) = rustix::fs::readlinkat(place.dir, &bytes[..name_end], Vec::new()) else {
            return Ok(path);
        };
        let parent_end = bytes[..name_end]
            .iter()
            .rposition(|&c| c == b'/')
            .map_or(0, |at| at + 1);
        let start = if target.as_bytes().starts_with(b"/") {
            0
        } else {
            parent_end
        };
        let joined = [&bytes[..start], target.as_bytes(), b"/"].concat();
        path = Cow::Owned(CString::new(joined).map_err(|_| Errno::EINVAL)?);
    }
    Err(Errno::ELOOP)
}

/// `rename(2)`, with the BSD rule for two names of one file.
///
/// # Errors
/// EINVAL: `.` or `..`, or a directory into itself. EISDIR, ENOTDIR, ENOTEMPTY. EXDEV. Those of looking
/// up paths.
pub(crate) fn sys_rename(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let (from, to) = (here(sys, l, a.ptr(0))?, here(sys, l, a.ptr(1))?);
    rename(&from, &to)?;
    drop_second_name(&from, &to)
}

/// `renameat(2)`.
///
/// # Errors
/// As [`sys_rename`]. EBADF, ENOTDIR: no directory to start from.
pub(crate) fn sys_renameat(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let (from, to) = (
        at(sys, l, a.int(0), a.ptr(1))?,
        at(sys, l, a.int(2), a.ptr(3))?,
    );
    rename(&from, &to)?;
    drop_second_name(&from, &to)
}

/// `__posix_rename`: two names of one file both stay.
///
/// # Errors
/// As [`sys_rename`].
pub(crate) fn sys_posix_rename(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let (from, to) = (here(sys, l, a.ptr(0))?, here(sys, l, a.ptr(1))?);
    rename(&from, &to)?;
    Ok(Ret::ZERO)
}

fn rename(from: &Place<'_>, to: &Place<'_>) -> Result<(), Errno> {
    let (old, new) = (through_links(from)?, through_links(to)?);
    let result = rustix::fs::renameat(from.dir, &*old, to.dir, &*new);
    result.map_err(|err| match err {
        // What Linux says of `.` and `..`.
        Linux::BUSY => dots(from, to).unwrap_or(Errno::EBUSY),
        err => from_rustix(err),
    })
}

/// What NetBSD says of a rename with `.` or `..` as a last component.
fn dots(from: &Place<'_>, to: &Place<'_>) -> Option<Errno> {
    let (from, to) = (last_component(from.path()), last_component(to.path()));
    match to {
        _ if from == b"." || from == b".." => Some(Errno::EINVAL),
        b"." => Some(Errno::EISDIR),
        b".." => Some(Errno::EINVAL),
        _ => None,
    }
}

/// The last component of a path, without slashes behind it.
fn last_component(path: &CString) -> &[u8] {
    let path = path.as_bytes();
    let end = path.iter().rposition(|&c| c != b'/').map_or(0, |at| at + 1);
    path[..end]
        .rsplit(|&c| c == b'/')
        .next()
        .unwrap_or_default()
}

/// After a rename between two names of one file, which Linux leaves alone: the old name goes away,
/// unless both are the same name.
fn drop_second_name(from: &Place<'_>, to: &Place<'_>) -> SysResult {
    let look = |place: &Place<'_>| {
        rustix::fs::statat(place.dir, place.path(), AtFlags::SYMLINK_NOFOLLOW).ok()
    };
    // Gone, as after any other rename; the usual case.
    let Some(old) = look(from) else {
        return Ok(Ret::ZERO);
    };
    let Some(new) = look(to) else {
        return Ok(Ret::ZERO);
    };
    let is_link = is_same(&old, &new) && old.st_nlink > 1;
    if is_link
        && FileType::from_raw_mode(old.st_mode) != FileType::Directory
        && !is_one_entry(from, to)
    {
        return unlink(from, AtFlags::empty());
    }
    Ok(Ret::ZERO)
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    one.st_dev == other.st_dev && one.st_ino == other.st_ino
}

/// Whether two paths name the same entry of the same directory.
fn is_one_entry(one: &Place<'_>, other: &Place<'_>) -> bool {
    if last_component(one.path()) != last_component(other.path()) {
        return false;
    }
    let parent = |place: &Place<'_>| {
        let path = place.path().as_bytes();
        let name = last_component(place.path()).len();
        let slashes = path.iter().rev().take_while(|&&c| c == b'/').count();
        let parent = match &path[..path.len() - slashes - name] {
            b"" => CString::from(c"."),
            parent => CString::new(parent).ok()?,
        };
        rustix::fs::statat(place.dir, &parent, AtFlags::empty()).ok()
    };
    matches!((parent(one), parent(other)), (Some(one), Some(other)) if is_same(&one, &other))
}

/// `mkdir(2)`: without the sticky bit.
///
/// # Errors
/// EEXIST, and those of looking up a path.
pub(crate) fn sys_mkdir(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    mkdir(&here(sys, l, a.ptr(0))?, a.uint(1))
}

/// `mkdirat(2)`.
///
/// # Errors
/// As [`sys_mkdir`].
pub(crate) fn sys_mkdirat(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    mkdir(&at(sys, l, a.int(0), a.ptr(1))?, a.uint(2))
}

fn mkdir(place: &Place<'_>, mode: u32) -> SysResult {
    let path = through_links(place)?;
    done(rustix::fs::mkdirat(
        place.dir,
        &*path,
        Mode::from_bits_retain(mode & 0o777),
    ))
}

/// `symlink(2)`.
///
/// # Errors
/// EEXIST, and those of looking up a path.
pub(crate) fn sys_symlink(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let target = copyin_path(l, a.ptr(0))?;
    symlink(&target, &here(sys, l, a.ptr(1))?)
}

/// `symlinkat(2)`.
///
/// # Errors
/// As [`sys_symlink`].
pub(crate) fn sys_symlinkat(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let target = copyin_path(l, a.ptr(0))?;
    symlink(&target, &at(sys, l, a.int(1), a.ptr(2))?)
}

fn symlink(target: &CString, place: &Place<'_>) -> SysResult {
    done(rustix::fs::symlinkat(target, place.dir, place.path()))
}

/// `mkfifo(2)`.
///
/// # Errors
/// EEXIST, and those of looking up a path.
pub(crate) fn sys_mkfifo(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    mkfifo(&here(sys, l, a.ptr(0))?, a.uint(1))
}

/// `mkfifoat(2)`.
///
/// # Errors
/// As [`sys_mkfifo`].
pub(crate) fn sys_mkfifoat(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    mkfifo(&at(sys, l, a.int(0), a.ptr(1))?, a.uint(2))
}

fn mkfifo(place: &Place<'_>, mode: u32) -> SysResult {
    let mode = Mode::from_bits_retain(mode & 0o777);
    done(rustix::fs::mknodat(
        place.dir,
        place.path(),
        FileType::Fifo,
        mode,
        0,
    ))
}

/// `__mknod50`: FIFOs only.
///
/// # Errors
/// EPERM: a device. As [`sys_mkfifo`].
pub(crate) fn sys_mknod(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    check_node(a.uint(1))?;
    mkfifo(&here(sys, l, a.ptr(0))?, a.uint(1))
}

/// `mknodat(2)`.
///
/// # Errors
/// As [`sys_mknod`].
pub(crate) fn sys_mknodat(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    check_node(a.uint(2))?;
    mkfifo(&at(sys, l, a.int(0), a.ptr(1))?, a.uint(2))
}

fn check_node(mode: u32) -> Result<(), Errno> {
    if mode & S_IFMT == S_IFIFO {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// `chdir(2)`.
///
/// # Errors
/// ENOTDIR, EACCES, and those of looking up a path.
pub(crate) fn sys_chdir(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    done(rustix::process::chdir(here(sys, l, a.ptr(0))?.path()))
}

/// `fchdir(2)`.
///
/// # Errors
/// EBADF. ENOTDIR.
pub(crate) fn sys_fchdir(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    if sys.files.kind(&*sys.host, a.int(0))? != Kind::Directory {
        return Err(Errno::ENOTDIR.into());
    }
    done(rustix::process::fchdir(
        sys.host.fd(a.int(0)).map_err(from_host)?,
    ))
}

/// `chroot(2)`.
///
/// # Errors
/// EPERM: not root. ENOTDIR, and those of looking up a path.
pub(crate) fn sys_chroot(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    done(rustix::process::chroot(here(sys, l, a.ptr(0))?.path()))
}

/// `umask(2)`: returns the old one. Cannot fail.
///
/// Differs from NetBSD: the host keeps nine bits, not twelve; the others change nothing it could apply.
#[expect(clippy::unnecessary_wraps, reason = "a handler")]
pub(crate) fn sys_umask(_: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    let old = rustix::process::umask(Mode::from_bits_retain(a.uint(0) & 0o777));
    Ok(Ret(old.bits().into(), 0))
}

/// `__getcwd`: the path and its length, NUL included.
///
/// # Errors
/// ERANGE: no room. ENOENT: the directory was removed, or cannot be reached. EFAULT.
pub(crate) fn sys_getcwd(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    if a.size(1) < 2 {
        return Err(Errno::ERANGE.into());
    }
    let path = rustix::process::getcwd(Vec::new()).map_err(from_rustix)?;
    let bytes = path.as_bytes_with_nul();
    if !bytes.starts_with(b"/") {
        return Err(Errno::ENOENT.into());
    }
    if bytes.len() as u64 > a.size(1) {
        return Err(Errno::ERANGE.into());
    }
    copyout(l, bytes, a.ptr(0))?;
    Ok(Ret(bytes.len() as u64, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::Name;
    use rustix::fs::CWD;

    fn place(path: &str) -> Place<'static> {
        Place {
            dir: CWD,
            name: Name {
                path: CString::new(path).unwrap(),
                is_exe: false,
            },
        }
    }

    /// A directory of its own for one test, removed at the end.
    struct Scratch(std::path::PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("lwp-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn place(&self, name: &str) -> Place<'static> {
            place(self.0.join(name).to_str().unwrap())
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn last_components() {
        for (path, last) in [
            ("a/b", "b"),
            ("a/b//", "b"),
            ("/", ""),
            ("", ""),
            ("..", ".."),
            ("/x", "x"),
        ] {
            assert_eq!(
                last_component(&CString::new(path).unwrap()),
                last.as_bytes(),
                "{path}"
            );
        }
    }

    #[test]
    fn a_rename_between_two_names_of_one_file_drops_the_old_one() {
        let dir = Scratch::new("rename");
        std::fs::write(dir.0.join("a"), "x").unwrap();
        std::fs::hard_link(dir.0.join("a"), dir.0.join("b")).unwrap();
        let (from, to) = (dir.place("a"), dir.place("b"));
        rename(&from, &to).unwrap();
        drop_second_name(&from, &to).unwrap();
        assert!(!dir.0.join("a").exists() && dir.0.join("b").exists());
    }

    #[test]
    fn a_rename_to_the_same_name_drops_nothing() {
        let dir = Scratch::new("rename-same");
        std::fs::write(dir.0.join("a"), "x").unwrap();
        std::fs::hard_link(dir.0.join("a"), dir.0.join("b")).unwrap();
        let (from, to) = (dir.place("a"), dir.place(".//a"));
        rename(&from, &to).unwrap();
        drop_second_name(&from, &to).unwrap();
        assert!(dir.0.join("a").exists() && dir.0.join("b").exists());
    }

    #[test]
    fn dots_are_refused_by_netbsd_s_numbers() {
        let dir = Scratch::new("rename-dots");
        std::fs::create_dir(dir.0.join("d")).unwrap();
        std::fs::create_dir(dir.0.join("e")).unwrap();
        let refused = |from: &str, to: &str| rename(&dir.place(from), &dir.place(to)).unwrap_err();
        assert_eq!(refused("d/.", "x"), Errno::EINVAL);
        assert_eq!(refused("d/..", "x"), Errno::EINVAL);
        assert_eq!(refused("d", "e/."), Errno::EISDIR);
        assert_eq!(refused("d", "e/.."), Errno::EINVAL);
    }

    #[test]
    fn slashes_behind_a_link_mean_its_target() {
        let dir = Scratch::new("slashes");
        std::os::unix::fs::symlink("b", dir.0.join("a")).unwrap();
        std::os::unix::fs::symlink("c", dir.0.join("b")).unwrap();
        mkdir(&dir.place("a/"), 0o777).unwrap();
        assert!(dir.0.join("c").is_dir());
        rename(&dir.place("a//"), &dir.place("d")).unwrap();
        assert!(dir.0.join("d").is_dir() && !dir.0.join("c").exists());
        mkdir(&dir.place("a/"), 0o777).unwrap();
        unlink(&dir.place("b/"), AtFlags::REMOVEDIR).unwrap();
        assert!(!dir.0.join("c").exists() && dir.0.join("a").is_symlink());
    }

    #[test]
    fn links_in_a_circle_are_eloop() {
        let dir = Scratch::new("circle");
        std::os::unix::fs::symlink("b", dir.0.join("a")).unwrap();
        std::os::unix::fs::symlink("a", dir.0.join("b")).unwrap();
        assert_eq!(through_links(&dir.place("a/")).unwrap_err(), Errno::ELOOP);
        assert_eq!(
            through_links(&dir.place("a")).unwrap().to_bytes().last(),
            Some(&b'a')
        );
    }

    #[test]
    fn unlinking_a_directory_is_eperm() {
        let dir = Scratch::new("unlink");
        std::fs::create_dir(dir.0.join("d")).unwrap();
        let got = unlink(&dir.place("d"), AtFlags::empty());
        assert_eq!(got, Err(Errno::EPERM.into()));
    }
}
