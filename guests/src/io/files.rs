//! Files, directories, descriptors, pipes.

use core::ffi::CStr;
use rt::abi::fs::{
    DirentHeader, F_CLOSEM, F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_GETFL, F_MAXFD, F_SETFD, F_SETFL,
    FD_CLOEXEC, O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR,
    O_TRUNC, O_WRONLY, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, SEEK_CUR, SEEK_END, SEEK_SET,
    Stat,
};
use rt::abi::signal::{SaFlags, Siginfo, Signo};
use rt::abi::ucontext::Ucontext;
use rt::check::{Check, Verdict};
use rt::lwp::spawn;
use rt::process::{self, close, in_child, low, pipe, read, write};
use rt::sync::Word;
use rt::sys::Arg;
use rt::{Errno, SysResult, ensure, ensure_eq, ensure_err, sig, sys, sysctl, vm};

pub(crate) const CHECKS: &[Check] = &[
    ("open/flags", open_flags),
    ("open/EINVAL-mode", access_mode_3),
    ("open/EFTYPE-nofollow", nofollow),
    ("open/errors", open_errors),
    ("read/errors", read_errors),
    ("lseek", seek),
    ("pread", positioned),
    ("ftruncate", truncate),
    ("append", append),
    ("stat/file", stat_of_a_file),
    ("stat/kinds", stat_of_others),
    ("getdents", directory),
    ("getdents/errors", directory_errors),
    ("rename", renames),
    ("link", links),
    ("readlink", symbolic_links),
    ("fcntl/dup", duplicates),
    ("fcntl/flags", descriptor_flags),
    ("fcntl/closem", close_from),
    ("pipe/result", pipe_results),
    ("pipe2/flags", pipe2_flags),
    ("pipe/EPIPE", broken_pipe),
    ("pipe/SIGPIPE", broken_pipe_kills),
    ("pipe/EAGAIN", pipe_without_waiting),
    ("pipe/blocks", pipe_blocks),
    ("close/wakes", close_wakes_sleepers),
    ("close/EBADF", close_twice),
    ("writev", vectors),
    ("chdir", working_directory),
];

/// The directory of a check.
const DIR: &CStr = c"io-check.tmp";
/// A file in it.
const FILE: &CStr = c"file";
/// Another.
const OTHER: &CStr = c"other";

/// Runs `check` in a new directory, and takes that away with the files named above.
fn in_dir(check: impl FnOnce() -> Verdict) -> Verdict {
    sys!(SYS_MKDIR, DIR, 0o755)?;
    sys!(SYS_CHDIR, DIR)?;
    let verdict = check();
    for name in [FILE, OTHER] {
        let _ = sys!(SYS_UNLINK, name);
    }
    sys!(SYS_CHDIR, c"..")?;
    sys!(SYS_RMDIR, DIR)?;
    verdict
}

pub(crate) fn open(path: &CStr, flags: u32, mode: i32) -> Result<i32, Errno> {
    sys!(SYS_OPEN, path, flags, mode).map(low)
}

/// Makes a file with these contents.
fn make(path: &CStr, contents: &[u8]) -> Result<i32, Errno> {
    let fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0o644)?;
    write(fd, contents)?;
    Ok(fd)
}

/// What a file holds, up to 16 bytes.
fn contents(path: &CStr) -> Result<([u8; 16], u64), Errno> {
    let fd = open(path, O_RDONLY, 0)?;
    let mut buf = [0; 16];
    let n = read(fd, &mut buf)?;
    close(fd)?;
    Ok((buf, n))
}

fn open_flags() -> Verdict {
    in_dir(|| {
        ensure_err!(open(FILE, O_RDONLY, 0), ENOENT);
        let fd = open(FILE, O_WRONLY | O_CREAT | O_EXCL, 0o600)?;
        ensure_eq!(write(fd, b"abc"), Ok(3));
        ensure_err!(read(fd, &mut [0]), EBADF);
        close(fd)?;
        ensure_err!(open(FILE, O_WRONLY | O_CREAT | O_EXCL, 0o600), EEXIST);
        ensure_eq!(contents(FILE)?.1, 3);
        close(open(FILE, O_WRONLY | O_TRUNC, 0)?)?;
        ensure_eq!(contents(FILE)?.1, 0);
        // The lowest free number is taken.
        let (a, b) = (open(FILE, O_RDONLY, 0)?, open(FILE, O_RDONLY, 0)?);
        close(a)?;
        ensure_eq!(open(FILE, O_RDONLY, 0), Ok(a));
        ensure!(a < b);
        Ok(())
    })
}

fn access_mode_3() -> Verdict {
    ensure_err!(open(c"/", 3, 0), EINVAL);
    Ok(())
}

fn nofollow() -> Verdict {
    in_dir(|| {
        sys!(SYS_SYMLINK, c"nowhere", FILE)?;
        ensure_err!(open(FILE, O_RDONLY | O_NOFOLLOW, 0), EFTYPE);
        ensure_err!(open(FILE, O_RDONLY | O_NOFOLLOW | O_DIRECTORY, 0), EFTYPE);
        ensure_err!(open(FILE, O_RDONLY | O_CREAT | O_EXCL, 0o600), EEXIST);
        ensure_err!(open(FILE, O_RDONLY, 0), ENOENT);
        Ok(())
    })
}

fn open_errors() -> Verdict {
    in_dir(|| {
        close(make(FILE, b"x")?)?;
        ensure_err!(open(c"file/below", O_RDONLY, 0), ENOTDIR);
        ensure_err!(open(FILE, O_RDONLY | O_DIRECTORY, 0), ENOTDIR);
        ensure_err!(open(c".", O_WRONLY, 0), EISDIR);
        ensure_err!(sys!(SYS_OPEN, vm::NOWHERE, O_RDONLY), EFAULT);
        ensure_err!(open(c"", O_RDONLY, 0), ENOENT);
        // Longer than any path may be, and than any component.
        let mut long = [b'a'; 2000];
        long[1999] = 0;
        ensure_err!(sys!(SYS_OPEN, long.as_ptr(), O_RDONLY), ENAMETOOLONG);
        Ok(())
    })
}

fn read_errors() -> Verdict {
    in_dir(|| {
        let fd = make(FILE, b"x")?;
        ensure_err!(read(-1, &mut [0]), EBADF);
        ensure_err!(read(9999, &mut [0]), EBADF);
        sys!(SYS_LSEEK, fd, 0, 0, SEEK_SET)?;
        ensure_err!(sys!(SYS_READ, fd, vm::NOWHERE, 1), EFAULT);
        ensure_err!(sys!(SYS_WRITE, fd, vm::NOWHERE, 1), EFAULT);
        ensure_err!(sys!(SYS_WRITE, fd, 1_u64 << 63, 1), EFAULT);
        ensure_err!(read(open(c".", O_RDONLY, 0)?, &mut [0]), EISDIR);
        Ok(())
    })
}

fn seek() -> Verdict {
    in_dir(|| {
        let fd = make(FILE, b"0123456789")?;
        // The second word is padding.
        let lseek = |offset: i64, whence: i32| sys!(SYS_LSEEK, fd, 0xdead_u64, offset, whence);
        ensure_eq!(lseek(3, SEEK_SET), Ok(3));
        ensure_eq!(lseek(2, SEEK_CUR), Ok(5));
        ensure_eq!(lseek(-1, SEEK_END), Ok(9));
        ensure_eq!(lseek(100, SEEK_END), Ok(110));
        ensure_err!(lseek(-1, SEEK_SET), EINVAL);
        ensure_err!(lseek(0, 77), EINVAL);
        let (end, _) = pipe()?;
        ensure_err!(sys!(SYS_LSEEK, end, 0, 0, SEEK_SET), ESPIPE);
        Ok(())
    })
}

fn positioned() -> Verdict {
    in_dir(|| {
        let fd = make(FILE, b"0123456789")?;
        let mut buf = [0; 3];
        let at = buf.as_mut_ptr();
        ensure_eq!(sys!(SYS_PREAD, fd, at, 3, 0xdead_u64, 4), Ok(3));
        ensure_eq!(&buf, b"456");
        ensure_eq!(
            sys!(SYS_PWRITE, fd, b"xy".as_ptr(), 2, 0xdead_u64, 8),
            Ok(2)
        );
        ensure_eq!(sys!(SYS_LSEEK, fd, 0, 0, SEEK_CUR), Ok(10));
        ensure!(contents(FILE)?.0.starts_with(b"01234567xy"));
        ensure_err!(sys!(SYS_PREAD, fd, at, 3, 0, -1), EINVAL);
        Ok(())
    })
}

fn truncate() -> Verdict {
    in_dir(|| {
        let fd = make(FILE, b"0123456789")?;
        sys!(SYS_FTRUNCATE, fd, 0xdead_u64, 4)?;
        ensure_eq!(contents(FILE)?.1, 4);
        sys!(SYS_TRUNCATE, FILE, 0xdead_u64, 8)?;
        ensure!(contents(FILE)?.0.starts_with(b"0123\0\0\0\0"));
        ensure_err!(sys!(SYS_FTRUNCATE, fd, 0, -1), EINVAL);
        Ok(())
    })
}

fn append() -> Verdict {
    in_dir(|| {
        close(make(FILE, b"abc")?)?;
        let fd = open(FILE, O_WRONLY | O_APPEND, 0)?;
        write(fd, b"def")?;
        ensure!(contents(FILE)?.0.starts_with(b"abcdef\0"));
        Ok(())
    })
}

fn stat(path: &CStr) -> Result<Stat, Errno> {
    let mut st = Stat::default();
    sys!(SYS_STAT50, path, &mut st)?;
    Ok(st)
}

fn fstat(fd: i32) -> Result<Stat, Errno> {
    let mut st = Stat::default();
    sys!(SYS_FSTAT50, fd, &mut st)?;
    Ok(st)
}

fn stat_of_a_file() -> Verdict {
    in_dir(|| {
        sys!(SYS_UMASK, 0o022)?;
        let fd = make(FILE, b"hello")?;
        let (by_path, by_fd) = (stat(FILE)?, fstat(fd)?);
        ensure_eq!(by_path.st_ino, by_fd.st_ino);
        ensure_eq!((by_path.st_size, by_path.st_nlink), (5, 1));
        ensure_eq!(by_path.st_mode, S_IFREG | 0o644);
        ensure_eq!(by_path.st_uid, process::euid());
        ensure!(by_path.st_mtim.tv_sec > 1_000_000_000 && by_path.st_blksize >= 512);
        ensure_err!(stat(OTHER), ENOENT);
        ensure_err!(sys!(SYS_STAT50, FILE, vm::NOWHERE), EFAULT);
        ensure_err!(fstat(-1), EBADF);
        Ok(())
    })
}

fn stat_of_others() -> Verdict {
    in_dir(|| {
        sys!(SYS_SYMLINK, c"nowhere", FILE)?;
        let mut st = Stat::default();
        sys!(SYS_LSTAT50, FILE, &mut st)?;
        ensure_eq!((st.st_mode & S_IFMT, st.st_size), (S_IFLNK, 7));
        ensure_eq!(stat(c".")?.st_mode & S_IFMT, S_IFDIR);
        ensure_eq!(fstat(pipe()?.0)?.st_mode & S_IFMT, S_IFIFO);
        Ok(())
    })
}

/// Counts the names in a block of getdents(2); whether `wanted` is among them.
fn names(block: &[u8], wanted: &[u8]) -> (usize, bool) {
    let (mut at, mut count, mut found) = (0, 0, false);
    while at < block.len() {
        let word = |i: usize| usize::from(u16::from_le_bytes([block[at + i], block[at + i + 1]]));
        let (reclen, namlen) = (word(8), word(10));
        let name = at + size_of::<DirentHeader>();
        found |= &block[name..name + namlen] == wanted && block[name + namlen] == 0;
        count += 1;
        at += reclen;
    }
    (count, found)
}

fn directory() -> Verdict {
    in_dir(|| {
        close(make(FILE, b"")?)?;
        let fd = open(c".", O_RDONLY | O_DIRECTORY, 0)?;
        let mut buf = [0; 4096];
        let n = sys!(SYS_GETDENTS30, fd, buf.as_mut_ptr(), buf.len())?;
        let block = &buf[..usize::try_from(n).unwrap_or(0)];
        ensure_eq!(names(block, b"file"), (3, true));
        ensure_eq!(sys!(SYS_GETDENTS30, fd, buf.as_mut_ptr(), buf.len()), Ok(0));
        // From the start again.
        sys!(SYS_LSEEK, fd, 0, 0, SEEK_SET)?;
        ensure_eq!(sys!(SYS_GETDENTS30, fd, buf.as_mut_ptr(), buf.len()), Ok(n));
        close(fd)?;
        Ok(())
    })
}

fn directory_errors() -> Verdict {
    in_dir(|| {
        let fd = make(FILE, b"")?;
        let mut buf = [0_u8; 512];
        ensure_err!(sys!(SYS_GETDENTS30, fd, buf.as_mut_ptr(), 512), EINVAL);
        let dir = open(c".", O_RDONLY, 0)?;
        ensure_err!(sys!(SYS_GETDENTS30, dir, buf.as_mut_ptr(), 8), EINVAL);
        ensure_err!(sys!(SYS_GETDENTS30, dir, vm::NOWHERE, 512), EFAULT);
        ensure_err!(sys!(SYS_GETDENTS30, 9999, buf.as_mut_ptr(), 512), EBADF);
        Ok(())
    })
}

fn renames() -> Verdict {
    in_dir(|| {
        close(make(FILE, b"new")?)?;
        close(make(OTHER, b"old")?)?;
        sys!(SYS_RENAME, FILE, OTHER)?;
        ensure_err!(stat(FILE), ENOENT);
        ensure!(contents(OTHER)?.0.starts_with(b"new"));
        ensure_err!(sys!(SYS_RENAME, FILE, OTHER), ENOENT);
        Ok(())
    })
}

fn links() -> Verdict {
    in_dir(|| {
        let fd = make(FILE, b"x")?;
        sys!(SYS_LINK, FILE, OTHER)?;
        ensure_eq!(fstat(fd)?.st_nlink, 2);
        sys!(SYS_UNLINK, OTHER)?;
        ensure_err!(sys!(SYS_UNLINK, OTHER), ENOENT);
        ensure_eq!(fstat(fd)?.st_nlink, 1);
        Ok(())
    })
}

fn symbolic_links() -> Verdict {
    in_dir(|| {
        sys!(SYS_SYMLINK, c"target", FILE)?;
        let mut buf = [0xee_u8; 8];
        ensure_eq!(sys!(SYS_READLINK, FILE, buf.as_mut_ptr(), 8), Ok(6));
        ensure_eq!(&buf, b"target\xee\xee");
        ensure_eq!(sys!(SYS_READLINK, FILE, buf.as_mut_ptr(), 3), Ok(3));
        ensure_err!(sys!(SYS_READLINK, c".", buf.as_mut_ptr(), 8), EINVAL);
        Ok(())
    })
}

fn fcntl(fd: i32, cmd: i32, arg: impl Arg) -> SysResult {
    sys!(SYS_FCNTL, fd, cmd, arg)
}

fn duplicates() -> Verdict {
    let (a, _) = pipe()?;
    ensure_eq!(fcntl(a, F_DUPFD, 70), Ok(70));
    ensure_eq!(fcntl(a, F_DUPFD, 70), Ok(71));
    ensure_eq!(fcntl(a, F_DUPFD_CLOEXEC, 80), Ok(80));
    ensure_eq!(
        (fcntl(80, F_GETFD, 0), fcntl(70, F_GETFD, 0)),
        (Ok(1), Ok(0))
    );
    ensure_err!(fcntl(a, F_DUPFD, -1), EINVAL);
    ensure_eq!(sys!(SYS_DUP2, a, 90), Ok(90));
    ensure_eq!(sys!(SYS_DUP2, a, a), Ok(a.arg()));
    ensure_err!(sys!(SYS_DUP2, 9999, 91), EBADF);
    ensure_err!(sys!(SYS_DUP2, a, -1), EBADF);
    Ok(())
}

fn descriptor_flags() -> Verdict {
    let (end, other) = pipe()?;
    ensure_eq!(fcntl(end, F_GETFD, 0), Ok(0));
    fcntl(end, F_SETFD, FD_CLOEXEC)?;
    ensure_eq!(fcntl(end, F_GETFD, 0), Ok(1));
    ensure_eq!(fcntl(end, F_GETFL, 0), Ok(u64::from(O_RDONLY)));
    ensure_eq!(fcntl(other, F_GETFL, 0), Ok(u64::from(O_WRONLY)));
    fcntl(end, F_SETFL, O_NONBLOCK)?;
    ensure_eq!(fcntl(end, F_GETFL, 0), Ok(u64::from(O_NONBLOCK)));
    ensure_err!(fcntl(9999, F_GETFL, 0), EBADF);
    ensure_err!(fcntl(end, 9999, 0), EINVAL);
    Ok(())
}

fn close_from() -> Verdict {
    // Whatever was inherited beyond the first three.
    ensure_eq!(fcntl(3, F_CLOSEM, 0), Ok(0));
    let (a, b) = pipe()?;
    // Not 3 and 4 exactly: one of the first three may have been closed from the start.
    ensure!(a.max(b) <= 4, "{a} and {b}");
    sys!(SYS_DUP2, a, 120)?;
    sys!(SYS_DUP2, b, 121)?;
    ensure_eq!(fcntl(0, F_MAXFD, 0), Ok(121));
    ensure_eq!(fcntl(100, F_CLOSEM, 0), Ok(0));
    ensure_err!(close(120), EBADF);
    ensure_eq!(close(a), Ok(0));
    ensure_err!(fcntl(-1, F_CLOSEM, 0), EBADF);
    Ok(())
}

fn pipe_results() -> Verdict {
    let (r, w) = pipe()?;
    ensure_eq!(write(w, b"abc"), Ok(3));
    let mut buf = [0; 8];
    ensure_eq!(read(r, &mut buf), Ok(3));
    ensure_err!(read(w, &mut buf), EBADF);
    ensure_err!(write(r, b"x"), EBADF);
    close(w)?;
    ensure_eq!(read(r, &mut buf), Ok(0));
    Ok(())
}

fn pipe2_flags() -> Verdict {
    const O_CLOEXEC: u32 = rt::abi::fs::O_CLOEXEC;
    let mut fds = [0_i32; 2];
    sys!(SYS_PIPE2, fds.as_mut_ptr(), O_CLOEXEC | O_NONBLOCK)?;
    ensure_eq!(fcntl(fds[0], F_GETFD, 0), Ok(1));
    ensure_err!(read(fds[0], &mut [0]), EAGAIN);
    ensure_err!(sys!(SYS_PIPE2, vm::NOWHERE, 0), EFAULT);
    ensure_err!(sys!(SYS_PIPE2, fds.as_mut_ptr(), 0x8000_0000_u32), EINVAL);
    Ok(())
}

/// How often [`count`] ran.
static HANDLED: Word = Word::new();

extern "C" fn count(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
    HANDLED.add();
}

fn broken_pipe() -> Verdict {
    let (r, w) = pipe()?;
    close(r)?;
    sig::ignore(Signo::SIGPIPE)?;
    ensure_err!(write(w, b"x"), EPIPE);
    sig::catch(Signo::SIGPIPE, count, SaFlags::empty())?;
    ensure_err!(write(w, b"x"), EPIPE);
    ensure_eq!(HANDLED.get(), 1);
    Ok(())
}

fn broken_pipe_kills() -> Verdict {
    let (r, w) = pipe()?;
    close(r)?;
    let status = in_child(|| {
        let _ = write(w, b"x");
        3
    })?;
    ensure_eq!(status.signal(), Some(Signo::SIGPIPE.raw()));
    Ok(())
}

fn pipe_without_waiting() -> Verdict {
    let (r, w) = pipe()?;
    fcntl(w, F_SETFL, O_NONBLOCK)?;
    fcntl(r, F_SETFL, O_NONBLOCK)?;
    ensure_err!(read(r, &mut [0]), EAGAIN);
    let mut total = 0;
    loop {
        match write(w, &[7; 512]) {
            Ok(n) => total += n,
            Err(errno) => {
                ensure_eq!(errno, Errno::EAGAIN);
                break;
            }
        }
        ensure!(total < 1 << 24, "an endless pipe");
    }
    ensure!(total >= 4096);
    Ok(())
}

fn pipe_blocks() -> Verdict {
    let (r, w) = pipe()?;
    let reader = spawn(move || {
        let mut total = 0;
        let mut buf = [0; 1000];
        loop {
            match read(r, &mut buf)? {
                0 => return Ok::<_, Errno>(total),
                n => total += n,
            }
        }
    });
    sysctl::until_sleeping(reader.lid)?;
    // More than any pipe holds: the writer sleeps, too.
    let writer = spawn(move || {
        static CHUNK: [u8; 300_000] = [5; 300_000];
        let written = write(w, &CHUNK);
        let _ = close(w);
        written
    });
    ensure_eq!(writer.join()?, Ok(300_000));
    ensure_eq!(reader.join()?, Ok(300_000));
    Ok(())
}

fn close_wakes_sleepers() -> Verdict {
    let (r, _w) = pipe()?;
    let task = spawn(move || read(r, &mut [0]));
    sysctl::until_sleeping(task.lid)?;
    close(r)?;
    ensure_eq!(task.join()?, Err(Errno::EBADF));
    Ok(())
}

fn close_twice() -> Verdict {
    let (r, _) = pipe()?;
    ensure_eq!(close(r), Ok(0));
    ensure_err!(close(r), EBADF);
    ensure_err!(close(-1), EBADF);
    ensure_err!(close(i32::MAX), EBADF);
    Ok(())
}

fn vectors() -> Verdict {
    let (r, w) = pipe()?;
    let parts =
        [b"one".as_slice(), b"", b"three"].map(|part| [part.as_ptr().arg(), part.len() as u64]);
    ensure_eq!(sys!(SYS_WRITEV, w, parts.as_ptr(), 3), Ok(8));
    let (mut a, mut b) = ([0_u8; 2], [0_u8; 10]);
    let parts = [[a.as_mut_ptr().arg(), 2], [b.as_mut_ptr().arg(), 10]];
    ensure_eq!(sys!(SYS_READV, r, parts.as_ptr(), 2), Ok(8));
    ensure!(&a == b"on" && b.starts_with(b"ethree"));
    ensure_err!(sys!(SYS_WRITEV, w, parts.as_ptr(), -1), EINVAL);
    ensure_err!(sys!(SYS_WRITEV, w, parts.as_ptr(), 1025), EINVAL);
    ensure_err!(sys!(SYS_WRITEV, w, vm::NOWHERE, 1), EFAULT);
    Ok(())
}

fn working_directory() -> Verdict {
    in_dir(|| {
        let mut buf = [0_u8; 1024];
        let n = sys!(SYS_GETCWD, buf.as_mut_ptr(), buf.len())?;
        let path = &buf[..usize::try_from(n).unwrap_or(0)];
        ensure!(path.starts_with(b"/") && path.ends_with(b"/io-check.tmp\0"));
        ensure_err!(sys!(SYS_GETCWD, buf.as_mut_ptr(), 1), ERANGE);
        ensure_err!(sys!(SYS_CHDIR, c"nowhere"), ENOENT);
        Ok(())
    })
}
