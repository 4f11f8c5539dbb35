//! open(2) and openat(2).
//!
//! Open never waits on a vcpu: a FIFO is opened by a helper thread, unless `O_NONBLOCK` or `O_RDWR` say that
//! it cannot wait, and so is a lock taken by `O_EXLOCK`. An interrupted open is EINTR, never restarted.
//!
//! Sources: open(2); `vfs_syscalls.c: do_open`, `vfs_vnops.c: vn_open`; syscalls.md 5.2.

use crate::Unix;
use crate::args::Args;
use crate::errno::{from_rustix, interrupted, unless_interrupted};
use crate::files::Kind;
use crate::sys_descrip::{self, number};
use crate::sys_lock;
use crate::vfs::{Place, at, here};
use lwp_abi::errno::Errno;
use lwp_abi::fs::{OFlags, OPEN_FLAGS};
use lwp_abi::table::flags_to_linux;
use lwp_kernel::sleepq::Catch;
use lwp_kernel::{CurLwp, Ended, Outcome, Ret, SysResult};
use rustix::fs::{AtFlags, FileType, Mode, OFlags as HostFlags};
use rustix::io::Errno as Linux;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What the guest asked for.
#[derive(Clone, Copy, Debug)]
struct How {
    flags: OFlags,
    mode: u32,
}

/// `open(2)`.
///
/// # Errors
/// EFAULT, ENAMETOOLONG. EINVAL: a bad access mode, or `O_CREAT` with `O_DIRECTORY`. EMFILE. EFTYPE:
/// `O_NOFOLLOW` and a link, or `O_REGULAR` and something else. EOPNOTSUPP: a socket. EINTR.
pub(crate) fn sys_open<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let how = How {
        flags: OFlags::from_bits_retain(a.uint(1)),
        mode: a.uint(2),
    };
    let place = here(sys, l, a.ptr(0));
    begin(sys, l, place, how)
}

/// `openat(2)`.
///
/// # Errors
/// As [`sys_open`]. EBADF, ENOTDIR: no directory to start from.
pub(crate) fn sys_openat<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let how = How {
        flags: OFlags::from_bits_retain(a.uint(2)),
        mode: a.uint(3),
    };
    let place = at(sys, l, a.int(0), a.ptr(1));
    begin(sys, l, place, how)
}

fn begin<'a>(
    sys: &'a Unix,
    l: &'a mut CurLwp,
    place: Result<Place<'a>, Errno>,
    how: How,
) -> Outcome<'a> {
    let place = match place.and_then(|place| how.check().map(|()| place)) {
        Ok(place) => place,
        Err(errno) => return Outcome::Done(Err(errno.into())),
    };
    if let Some(fd) = descriptor_name(place.path().as_bytes()) {
        return Outcome::Done(duplicate(sys, fd, how));
    }
    match before(&place, how) {
        Err(errno) => Outcome::Done(Err(errno.into())),
        Ok(Before::Inline) => match open_now(place.dir, &place, how) {
            Ok(fd) if how.wants_lock() => lock_and_install(sys, l, fd, how),
            Ok(fd) => Outcome::Done(install(sys, fd, how)),
            Err(errno) => Outcome::Done(Err(errno.into())),
        },
        Ok(Before::MayWait) => Outcome::Sleep(Box::pin(open_on_helper(sys, l, place, how))),
    }
}

impl How {
    /// # Errors
    /// EINVAL: a bad access mode, or `O_CREAT` with `O_DIRECTORY`.
    fn check(self) -> Result<(), Errno> {
        let is_searching = self.flags.intersects(OFlags::SEARCH | OFlags::EXEC);
        let is_bad_mode = self.flags.accmode() == OFlags::ACCMODE && !is_searching;
        if is_bad_mode || self.flags.contains(OFlags::CREAT | OFlags::DIRECTORY) {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    fn wants_lock(self) -> bool {
        self.flags.intersects(OFlags::SHLOCK | OFlags::EXLOCK)
    }

    /// The flags for the host. The file is emptied only after its lock is held.
    fn host_flags(self) -> HostFlags {
        let mut flags = self.flags;
        if self.wants_lock() {
            flags.remove(OFlags::TRUNC);
        }
        let bits = flags_to_linux(OPEN_FLAGS, flags.bits()).bits;
        // Only TIOCSCTTY makes a controlling terminal on NetBSD.
        HostFlags::from_bits_retain(bits).difference(HostFlags::ASYNC) | HostFlags::NOCTTY
    }

    /// The mode of a new file: no sticky bit. The host applies the umask.
    fn host_mode(self) -> Mode {
        Mode::from_bits_retain(self.mode & 0o6777)
    }
}

/// What a look at the file before opening it says.
enum Before {
    /// Opening it does not wait.
    Inline,
    /// It may, for the other side of a FIFO.
    MayWait,
}

/// Looks at what is there, as far as opening depends on it.
///
/// # Errors
/// EFTYPE: `O_REGULAR`, and it is not.
fn before(place: &Place<'_>, how: How) -> Result<Before, Errno> {
    let flags = how.flags;
    let cannot_wait = flags.contains(OFlags::NONBLOCK)
        || flags.contains(OFlags::CREAT | OFlags::EXCL)
        || flags.contains(OFlags::DIRECTORY)
        || flags.accmode() == OFlags::RDWR;
    if cannot_wait && !flags.contains(OFlags::REGULAR) {
        return Ok(Before::Inline);
    }
    let Ok(stat) = rustix::fs::statat(place.dir, place.path(), AtFlags::empty()) else {
        return Ok(Before::Inline);
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(Before::Inline),
        _ if flags.contains(OFlags::REGULAR) => Err(Errno::EFTYPE),
        FileType::Fifo if !cannot_wait => Ok(Before::MayWait),
        _ => Ok(Before::Inline),
    }
}

/// Opens on the host.
fn open_now(dir: BorrowedFd<'_>, place: &Place<'_>, how: How) -> Result<OwnedFd, Errno> {
    let opened = rustix::io::retry_on_intr(|| open_once(dir, place, how));
    opened_as(opened, dir, place, how)
}

fn open_once(dir: BorrowedFd<'_>, place: &Place<'_>, how: How) -> Result<OwnedFd, Linux> {
    rustix::fs::openat(dir, place.path(), how.host_flags(), how.host_mode())
}

/// What becomes of the host's answer.
fn opened_as(
    opened: Result<OwnedFd, Linux>,
    dir: BorrowedFd<'_>,
    place: &Place<'_>,
    how: How,
) -> Result<OwnedFd, Errno> {
    let fd = opened.map_err(|err| open_error(err, place, how))?;
    if how.host_flags().contains(HostFlags::PATH) {
        check_path_only(&fd, dir, place, how)?;
    }
    Ok(fd)
}

/// NetBSD's number for a failed open.
fn open_error(err: Linux, place: &Place<'_>, how: How) -> Errno {
    match err {
        // A socket in the file system; for a FIFO ENXIO stands.
        Linux::NXIO if file_type(place, AtFlags::empty()) == Some(FileType::Socket) => {
            Errno::EOPNOTSUPP
        }
        Linux::LOOP | Linux::NOTDIR
            if how.flags.contains(OFlags::NOFOLLOW)
                && file_type(place, AtFlags::SYMLINK_NOFOLLOW) == Some(FileType::Symlink) =>
        {
            Errno::EFTYPE
        }
        err => from_rustix(err),
    }
}

fn file_type(place: &Place<'_>, flags: AtFlags) -> Option<FileType> {
    let stat = rustix::fs::statat(place.dir, place.path(), flags).ok()?;
    Some(FileType::from_raw_mode(stat.st_mode))
}

/// `O_SEARCH` and `O_EXEC` become `O_PATH`, for which the host checks neither kind nor permission.
fn check_path_only(
    fd: &OwnedFd,
    dir: BorrowedFd<'_>,
    place: &Place<'_>,
    how: How,
) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(fd).map_err(from_rustix)?;
    let file = FileType::from_raw_mode(stat.st_mode);
    if file == FileType::Symlink {
        return Err(Errno::EFTYPE);
    }
    if how.flags.contains(OFlags::SEARCH) && file != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    let access = rustix::fs::Access::EXEC_OK;
    rustix::fs::accessat(dir, place.path(), access, AtFlags::EACCESS).map_err(from_rustix)
}

/// Makes the open file the guest's.
fn install(sys: &Unix, fd: OwnedFd, how: How) -> SysResult {
    let fd = sys.adopt(fd)?;
    sys.files
        .set_nosigpipe(fd, how.flags.contains(OFlags::NOSIGPIPE));
    Ok(number(fd))
}

/// Takes the lock of `O_SHLOCK` or `O_EXLOCK`, then empties the file if `O_TRUNC` asks for it.
fn lock_and_install<'a>(sys: &'a Unix, l: &'a mut CurLwp, fd: OwnedFd, how: How) -> Outcome<'a> {
    let is_exclusive = how.flags.contains(OFlags::EXLOCK);
    match sys_lock::lock_opened(fd.as_fd(), is_exclusive) {
        Ok(()) => Outcome::Done(truncate_and_install(sys, fd, how)),
        Err(Linux::WOULDBLOCK) if !how.flags.contains(OFlags::NONBLOCK) => {
            Outcome::Sleep(Box::pin(async move {
                let fd = sys_lock::flock_wait_owned(l, fd, is_exclusive).await?;
                truncate_and_install(sys, fd, how)
            }))
        }
        Err(err) => Outcome::Done(Err(from_rustix(err).into())),
    }
}

fn truncate_and_install(sys: &Unix, fd: OwnedFd, how: How) -> SysResult {
    if how.flags.contains(OFlags::TRUNC) {
        rustix::fs::ftruncate(&fd, 0).map_err(from_rustix)?;
    }
    install(sys, fd, how)
}

/// Opens a FIFO, which may wait for the other side.
async fn open_on_helper(
    sys: &Unix,
    l: &mut CurLwp,
    place: Place<'_>,
    how: How,
) -> Result<Ret, Ended> {
    // The job may outlive the call, and with it the guest's directory descriptor.
    let dir = rustix::io::fcntl_dupfd_cloexec(place.dir, sys.host.first_own_fd());
    let name = place.name;
    let job = move || {
        let dir = dir.as_ref().map_or(rustix::fs::CWD, AsFd::as_fd);
        let place = Place { dir, name };
        let opened = unless_interrupted(open_once(dir, &place, how))?;
        Some(opened_as(opened, dir, &place, how))
    };
    match l.run_blocking("fifo", Catch::Signals, job).await {
        Ok(fd) => install(sys, fd?, how),
        Err(end) => Err(interrupted(end)),
    }
}

/// The descriptor that a name under /dev stands for.
fn descriptor_name(path: &[u8]) -> Option<i32> {
    match path {
        b"/dev/stdin" => Some(0),
        b"/dev/stdout" => Some(1),
        b"/dev/stderr" => Some(2),
        path => {
            let digits = path.strip_prefix(b"/dev/fd/")?;
            let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            str::from_utf8(digits)
                .ok()
                .filter(|_| is_number)?
                .parse()
                .ok()
        }
    }
}

/// Opening /dev/fd/N duplicates descriptor N, if it is open for what is asked (`kern_descrip.c: fd_dupopen`).
///
/// # Errors
/// EBADF: it is not open. EACCES: not for this. EMFILE.
fn duplicate(sys: &Unix, fd: i32, how: How) -> SysResult {
    if sys.files.kind(&*sys.host, fd)? == Kind::Object {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let has = OFlags::from_bits_retain(crate::sys_generic::status_flags(sys, fd)?.bits());
    let lacks_read = how.flags.is_readable() && !has.is_readable();
    let lacks_write = how.flags.is_writable() && !has.is_writable();
    if lacks_read || lacks_write {
        return Err(Errno::EACCES.into());
    }
    sys_descrip::duplicate(sys, fd, 0, how.flags.contains(OFlags::CLOEXEC))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lwp_abi::fs::{O_CREAT, O_DIRECTORY, O_EXLOCK, O_RDWR, O_TRUNC};

    fn how(flags: u32) -> How {
        How {
            flags: OFlags::from_bits_retain(flags),
            mode: 0o1666,
        }
    }

    #[test]
    fn descriptors_have_names() {
        assert_eq!(descriptor_name(b"/dev/fd/12"), Some(12));
        assert_eq!(descriptor_name(b"/dev/stderr"), Some(2));
        for other in [
            &b"/dev/fd/"[..],
            b"/dev/fd/-1",
            b"/dev/fd/1x",
            b"/dev/fd/99999999999",
            b"x",
        ] {
            assert_eq!(descriptor_name(other), None);
        }
    }

    #[test]
    fn bad_combinations_are_refused() {
        assert_eq!(how(3).check(), Err(Errno::EINVAL));
        assert_eq!(how(O_CREAT | O_DIRECTORY).check(), Err(Errno::EINVAL));
        assert_eq!(how(O_RDWR | O_CREAT).check(), Ok(()));
    }

    #[test]
    fn a_locked_file_is_emptied_later() {
        let flags = how(O_RDWR | O_TRUNC | O_EXLOCK).host_flags();
        assert_eq!(flags, HostFlags::RDWR | HostFlags::NOCTTY);
        assert_eq!(how(0).host_mode(), Mode::from_bits_retain(0o666));
    }
}
