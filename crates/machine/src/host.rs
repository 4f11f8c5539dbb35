//! Host calls for the system-call layer that take unsafe code: [`LinuxHost`].
//!
//! Bare system calls by their numbers, so that no errno, no cancellation point and no wrapper of the C
//! library is involved. Everything here is called with the host's FS in force.
//!
//! # Invariants
//! 1. A pointer handed to Linux points either into a Rust value that lives until the call returns,
//!    with the length that goes with it, or into the guest's part of the address space
//!    ([`guest_piece`]), where nothing of Rust lives.
//! 2. A descriptor number handed to Linux is the guest's (`descriptors`), or was a moment ago.
//!
//! Sources: the manual pages of section 2; `lwp_syscalls::host`.

use crate::descriptors;
use core::ffi::{c_int, c_void};
use core::ops::Range;
use lwp_abi::resource::Rusage;
use lwp_abi::signal::SigSet;
use lwp_abi::uio::Iovec;
use lwp_kernel::machine::{GUEST_BOUND, GUEST_START, HostErr};
use lwp_syscalls::host::{
    At, ChildInfo, Host, HostResult, LockOp, Received, RecordLock, RecvMsg, SendMsg, WaitFor,
    Waited, Waiting,
};
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An address at which neither the guest nor the runner can have anything (below `GUEST_START`).
const NOWHERE: u64 = 8;

/// Linux, as one guest process may use it.
#[derive(Debug, Default)]
pub struct LinuxHost {
    /// Held around "is a connection there?" and taking it, so that no two LWPs race for one.
    accepting: Mutex<()>,
    /// Held while a number stops being the guest's, and while a file takes the place of another: the
    /// number is the guest's all the time then.
    replacing: Mutex<()>,
}

/// How often a number that the runner has for a moment is asked for.
const PATIENCE: usize = 1000;

/// The number, if it is the guest's (invariant 2).
fn guests(call: &'static str, fd: i32) -> HostResult<c_int> {
    known(call, fd, descriptors::is_guests(fd))
}

fn known(call: &'static str, fd: i32, is_guests: bool) -> HostResult<c_int> {
    if is_guests {
        Ok(fd)
    } else {
        let errno = libc::EBADF;
        Err(HostErr { call, errno })
    }
}

impl LinuxHost {
    fn replacing(&self) -> MutexGuard<'_, ()> {
        self.replacing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The number, which was the guest's and is not from now on.
    fn take(&self, call: &'static str, fd: i32) -> HostResult<c_int> {
        let _replacing = self.replacing();
        known(call, fd, descriptors::take(fd))
    }

    /// dup3(2) over what is the guest's; `false` if that is nothing.
    fn replace(&self, from: i32, to: i32, is_cloexec: bool) -> HostResult<bool> {
        let _replacing = self.replacing();
        if !descriptors::is_guests(to) {
            return Ok(false);
        }
        let flags = if is_cloexec { libc::O_CLOEXEC } else { 0 };
        let args: [Word; 3] = [from.into(), to.into(), flags.into()];
        // SAFETY: `to` is the guest's as long as the lock is held. EINTR comes before anything has changed.
        unsafe { call_again("dup3", libc::SYS_dup3, args) }?;
        Ok(true)
    }
}

/// An argument of a host call.
#[derive(Clone, Copy)]
struct Word(i64);

impl From<i32> for Word {
    fn from(value: i32) -> Self {
        Self(value.into())
    }
}

impl From<i64> for Word {
    fn from(value: i64) -> Self {
        Self(value)
    }
}

impl From<usize> for Word {
    fn from(value: usize) -> Self {
        Self(value.cast_signed() as i64)
    }
}

impl<T> From<*const T> for Word {
    fn from(at: *const T) -> Self {
        at.expose_provenance().into()
    }
}

impl<T> From<*mut T> for Word {
    fn from(at: *mut T) -> Self {
        at.expose_provenance().into()
    }
}

/// Makes a host call.
///
/// # Safety
/// The call, with these arguments, reads and writes no memory but what its pointers point to as the
/// module's invariant 1 says, and closes or replaces no descriptor that something in Rust owns.
unsafe fn call<const N: usize>(
    name: &'static str,
    number: libc::c_long,
    args: [Word; N],
) -> HostResult<i64> {
    let mut all = [Word(0); 6];
    all[..N].copy_from_slice(&args);
    let result: i64;
    // SAFETY: the kernel keeps all registers but RAX, RCX and R11; what the call does to memory is the
    // caller's promise.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") all[0].0,
            in("rsi") all[1].0,
            in("rdx") all[2].0,
            in("r10") all[3].0,
            in("r8") all[4].0,
            in("r9") all[5].0,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    match i32::try_from(-result) {
        Ok(errno @ 1..4096) => Err(HostErr { call: name, errno }),
        _ => Ok(result),
    }
}

/// The same, again after EINTR.
///
/// # Safety
/// As [`call`]; and making the call again after EINTR is harmless.
unsafe fn call_again<const N: usize>(
    name: &'static str,
    number: libc::c_long,
    args: [Word; N],
) -> HostResult<i64> {
    loop {
        // SAFETY: the caller's promise.
        match unsafe { call(name, number, args) } {
            Err(HostErr {
                errno: libc::EINTR, ..
            }) => {}
            done => return done,
        }
    }
}

/// A descriptor just made by a host call.
fn new_fd(result: i64) -> OwnedFd {
    // SAFETY: Linux made it for this call; nobody else has it.
    unsafe { OwnedFd::from_raw_fd(int(result)) }
}

/// A result known to be an `int`.
fn int(result: i64) -> i32 {
    i32::try_from(result).unwrap_or(i32::MAX)
}

/// A result known not to be negative.
fn count(result: i64) -> usize {
    usize::try_from(result).unwrap_or(0)
}

/// One piece of guest memory for Linux (invariant 1). A piece that reaches beyond the guest's bound
/// becomes one that faults, so that Linux reports EFAULT when its turn comes.
fn guest_piece(piece: &Iovec) -> libc::iovec {
    let is_inside = piece
        .iov_base
        .checked_add(piece.iov_len)
        .is_some_and(|end| end <= GUEST_BOUND);
    let base = if is_inside { piece.iov_base } else { NOWHERE };
    libc::iovec {
        iov_base: core::ptr::with_exposed_provenance_mut(usize::try_from(base).unwrap_or_default()),
        iov_len: usize::try_from(piece.iov_len).unwrap_or(usize::MAX),
    }
}

/// Calls `with` with the pieces for Linux; one piece, the usual case, takes no allocation.
fn with_pieces<T>(iov: &[Iovec], with: impl FnOnce(&[libc::iovec]) -> T) -> T {
    match iov {
        [piece] => with(&[guest_piece(piece)]),
        pieces => with(&pieces.iter().map(guest_piece).collect::<Vec<_>>()),
    }
}

/// preadv2(2) and pwritev2(2), which know `RWF_NOWAIT` and, at offset -1, the file's own offset.
fn transfer(
    name: &'static str,
    number: libc::c_long,
    fd: i32,
    iov: &[Iovec],
    at: At,
    waiting: Waiting,
) -> HostResult<u64> {
    let offset = match at {
        At::Current => -1,
        // Linux would take -1 for the file's own offset.
        At::Offset(..0) => {
            return Err(HostErr {
                call: name,
                errno: libc::EINVAL,
            });
        }
        At::Offset(offset) => offset,
    };
    let flags = match waiting {
        Waiting::May => 0,
        Waiting::Never => libc::RWF_NOWAIT,
    };
    with_pieces(iov, |pieces| {
        let args: [Word; 6] = [
            fd.into(),
            pieces.as_ptr().into(),
            pieces.len().into(),
            offset.into(),
            0.into(),
            flags.into(),
        ];
        // SAFETY: `pieces` lives until the call returns; what it points to is the guest's
        // (`guest_piece`).
        let moved = unsafe { call(name, number, args) }?;
        Ok(moved.unsigned_abs())
    })
}

/// Requests that take a pointer, and how many bytes they read or write there.
const POINTER_REQUESTS: &[(u32, usize)] = &[
    (0x541b, 4),       // FIONREAD
    (0x5421, 4),       // FIONBIO
    (0x5452, 4),       // FIOASYNC
    (0x5411, 4),       // TIOCOUTQ, SIOCOUTQ
    (0x5413, 8),       // TIOCGWINSZ
    (0x5414, 8),       // TIOCSWINSZ
    (0x540f, 4),       // TIOCGPGRP
    (0x5410, 4),       // TIOCSPGRP
    (0x5429, 4),       // TIOCGSID
    (0x5412, 1),       // TIOCSTI
    (0x5415, 4),       // TIOCMGET
    (0x5416, 4),       // TIOCMBIS
    (0x5417, 4),       // TIOCMBIC
    (0x5418, 4),       // TIOCMSET
    (0x5420, 4),       // TIOCPKT
    (0x4004_5431, 4),  // TIOCSPTLCK
    (0x8004_5430, 4),  // TIOCGPTN
    (0x802c_542a, 44), // TCGETS2
    (0x402c_542b, 44), // TCSETS2
    (0x402c_542c, 44), // TCSETSW2
    (0x402c_542d, 44), // TCSETSF2
    (0x8901, 4),       // FIOSETOWN
    (0x8902, 4),       // SIOCSPGRP
    (0x8903, 4),       // FIOGETOWN
    (0x8904, 4),       // SIOCGPGRP
    (0x8905, 4),       // SIOCATMARK
    (0x8910, 40),      // SIOCGIFNAME
    (0x8913, 40),      // SIOCGIFFLAGS
    (0x8915, 40),      // SIOCGIFADDR
    (0x8917, 40),      // SIOCGIFDSTADDR
    (0x8919, 40),      // SIOCGIFBRDADDR
    (0x891b, 40),      // SIOCGIFNETMASK
    (0x891d, 40),      // SIOCGIFMETRIC
    (0x8921, 40),      // SIOCGIFMTU
    (0x8927, 40),      // SIOCGIFHWADDR
    (0x8933, 40),      // SIOCGIFINDEX
];

/// Requests that take a word, or nothing.
const WORD_REQUESTS: &[u32] = &[
    0x5409,      // TCSBRK
    0x540a,      // TCXONC
    0x540b,      // TCFLSH
    0x540c,      // TIOCEXCL
    0x540d,      // TIOCNXCL
    0x540e,      // TIOCSCTTY
    0x5422,      // TIOCNOTTY
    0x5427,      // TIOCSBRK
    0x5428,      // TIOCCBRK
    0x5441,      // TIOCGPTPEER
    0x5450,      // FIONCLEX
    0x5451,      // FIOCLEX
    0x4004_5436, // TIOCSIG
];

/// Commands of fcntl(2) that take an int, or nothing.
const INT_COMMANDS: &[i32] = &[
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
    libc::F_GETOWN,
    libc::F_SETOWN,
    libc::F_SETPIPE_SZ,
    libc::F_GETPIPE_SZ,
    libc::F_ADD_SEALS,
    libc::F_GET_SEALS,
];

/// The address and length of a range, if all of it is the guest's (invariant 1).
fn guest_range(call: &'static str, at: &Range<u64>) -> HostResult<[Word; 2]> {
    let is_guests = GUEST_START <= at.start && at.start < at.end && at.end <= GUEST_BOUND;
    let word = |value: u64| i64::try_from(value).ok().filter(|_| is_guests).map(Word);
    match (word(at.start), word(at.end.wrapping_sub(at.start))) {
        (Some(start), Some(len)) => Ok([start, len]),
        _ => Err(HostErr {
            call,
            errno: libc::ENOMEM,
        }),
    }
}

fn socklen(len: usize) -> libc::socklen_t {
    libc::socklen_t::try_from(len).unwrap_or(libc::socklen_t::MAX)
}

/// A host call that fills in an address: getsockname(2), getpeername(2).
fn name_call(
    call_name: &'static str,
    number: libc::c_long,
    fd: i32,
    name: &mut [u8],
) -> HostResult<usize> {
    let mut len = socklen(name.len());
    let args: [Word; 3] = [fd.into(), name.as_mut_ptr().into(), (&raw mut len).into()];
    // SAFETY: both pointers are to locals or borrows that outlive the call; `len` is the room in `name`.
    unsafe { call(call_name, number, args) }?;
    Ok(usize::try_from(len).unwrap_or(usize::MAX))
}

/// A header for sendmsg(2) and recvmsg(2). Empty slices become null pointers.
fn header(name: &mut [u8], pieces: &[libc::iovec], control: &mut [u8], flags: i32) -> libc::msghdr {
    // SAFETY: the type is plain data, for which zeroes are a value.
    let mut header: libc::msghdr = unsafe { core::mem::zeroed() };
    header.msg_name = pointer(name);
    header.msg_namelen = socklen(name.len());
    header.msg_iov = pieces.as_ptr().cast_mut();
    header.msg_iovlen = pieces.len();
    header.msg_control = pointer(control);
    header.msg_controllen = control.len();
    header.msg_flags = flags;
    header
}

fn pointer(bytes: &mut [u8]) -> *mut c_void {
    if bytes.is_empty() {
        core::ptr::null_mut()
    } else {
        bytes.as_mut_ptr().cast()
    }
}

/// Makes the descriptors that came with a message the guest's.
fn give_received(mut control: &[u8]) {
    let word = |bytes: &[u8]| bytes.first_chunk().copied().map_or(0, usize::from_ne_bytes);
    let rights = [
        libc::SOL_SOCKET.to_ne_bytes(),
        libc::SCM_RIGHTS.to_ne_bytes(),
    ]
    .concat();
    let header = 8 + rights.len();
    while control.len() >= header {
        let len = word(control).clamp(header, control.len());
        if control[8..header] == rights {
            for fd in control[header..len].as_chunks().0 {
                descriptors::mark(i32::from_ne_bytes(*fd));
            }
        }
        control = &control[len.next_multiple_of(8).min(control.len())..];
    }
}

impl Host for LinuxHost {
    fn first_own_fd(&self) -> i32 {
        descriptors::own_descriptors().start
    }

    fn fd(&self, fd: i32) -> HostResult<BorrowedFd<'_>> {
        let fd = guests("fd", fd)?;
        // SAFETY: not -1 (`guests`). Being open is not needed for soundness here: the number belongs to
        // the guest, nothing in Rust owns it (invariant 2), and Linux answers EBADF if it is closed.
        Ok(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    fn fds(&self) -> Vec<i32> {
        descriptors::guests()
    }

    fn adopt(&self, fd: OwnedFd) -> HostResult<i32> {
        descriptors::give(fd).map_err(|_| HostErr {
            call: "open",
            errno: libc::EMFILE,
        })
    }

    fn close(&self, fd: i32) -> HostResult<()> {
        let fd = self.take("close", fd)?;
        // SAFETY: the guest's own number. On Linux it is closed even when EINTR is reported.
        match unsafe { call("close", libc::SYS_close, [fd.into()]) } {
            Err(HostErr {
                errno: libc::EINTR, ..
            })
            | Ok(_) => Ok(()),
            Err(err) => Err(err),
        }
    }

    fn dup(&self, fd: i32, lowest: i32, is_cloexec: bool) -> HostResult<OwnedFd> {
        let fd = guests("fcntl", fd)?;
        let cmd = if is_cloexec {
            libc::F_DUPFD_CLOEXEC
        } else {
            libc::F_DUPFD
        };
        let args: [Word; 3] = [fd.into(), cmd.into(), lowest.into()];
        // SAFETY: no pointers.
        Ok(new_fd(unsafe { call("fcntl", libc::SYS_fcntl, args) }?))
    }

    fn dup3(&self, from: i32, to: i32, is_cloexec: bool) -> HostResult<()> {
        let from = guests("dup3", from)?;
        if from == to {
            return Ok(());
        }
        for _ in 0..PATIENCE {
            if self.replace(from, to, is_cloexec)? {
                return Ok(());
            }
            // Free, then, or for a moment somebody else's, whose file must not be replaced.
            let copy = self.dup(from, to, is_cloexec)?;
            if copy.as_raw_fd() == to {
                return self.adopt(copy).map(|_| ());
            }
            drop(copy);
            std::thread::yield_now();
        }
        let (call, errno) = ("dup3", libc::EBUSY);
        Err(HostErr { call, errno })
    }

    fn readv(&self, fd: i32, iov: &[Iovec], at: At, waiting: Waiting) -> HostResult<u64> {
        let fd = guests("read", fd)?;
        transfer("read", libc::SYS_preadv2, fd, iov, at, waiting)
    }

    fn writev(&self, fd: i32, iov: &[Iovec], at: At, waiting: Waiting) -> HostResult<u64> {
        let fd = guests("write", fd)?;
        transfer("write", libc::SYS_pwritev2, fd, iov, at, waiting)
    }

    fn fcntl(&self, fd: i32, cmd: i32, arg: i32) -> HostResult<i32> {
        let fd = guests("fcntl", fd)?;
        if !INT_COMMANDS.contains(&cmd) {
            return Err(HostErr {
                call: "fcntl",
                errno: libc::EINVAL,
            });
        }
        // SAFETY: the command takes an int (`INT_COMMANDS`).
        Ok(int(unsafe {
            call(
                "fcntl",
                libc::SYS_fcntl,
                [fd.into(), cmd.into(), arg.into()],
            )
        }?))
    }

    fn record_lock(&self, fd: i32, op: LockOp, lock: &mut RecordLock) -> HostResult<()> {
        let fd = guests("fcntl", fd)?;
        let cmd = match op {
            LockOp::Get => libc::F_GETLK,
            LockOp::Set => libc::F_SETLK,
            LockOp::SetWait => libc::F_SETLKW,
        };
        let mut record = libc::flock {
            l_type: lock.kind,
            l_whence: lock.whence,
            l_start: lock.start,
            l_len: lock.len,
            l_pid: lock.pid,
        };
        let args: [Word; 3] = [fd.into(), cmd.into(), (&raw mut record).into()];
        // SAFETY: `record` is what these commands take, and lives until the call returns.
        unsafe { call("fcntl", libc::SYS_fcntl, args) }?;
        lock.kind = record.l_type;
        lock.whence = record.l_whence;
        lock.start = record.l_start;
        lock.len = record.l_len;
        lock.pid = record.l_pid;
        Ok(())
    }

    fn ioctl(&self, fd: i32, request: u32, arg: &mut [u8]) -> HostResult<i32> {
        let fd = guests("ioctl", fd)?;
        let fits = POINTER_REQUESTS
            .iter()
            .any(|&(r, len)| r == request && arg.len() >= len);
        if !fits {
            return Err(HostErr {
                call: "ioctl",
                errno: libc::ENOTTY,
            });
        }
        let args: [Word; 3] = [
            fd.into(),
            i64::from(request).into(),
            arg.as_mut_ptr().into(),
        ];
        // SAFETY: the request touches no more than `arg` holds (`POINTER_REQUESTS`).
        Ok(int(unsafe { call("ioctl", libc::SYS_ioctl, args) }?))
    }

    fn ioctl_word(&self, fd: i32, request: u32, arg: i32) -> HostResult<i32> {
        let fd = guests("ioctl", fd)?;
        if !WORD_REQUESTS.contains(&request) {
            return Err(HostErr {
                call: "ioctl",
                errno: libc::ENOTTY,
            });
        }
        let args: [Word; 3] = [fd.into(), i64::from(request).into(), arg.into()];
        // SAFETY: the request takes no pointer (`WORD_REQUESTS`).
        Ok(int(unsafe { call("ioctl", libc::SYS_ioctl, args) }?))
    }

    fn socket(&self, domain: i32, kind: i32, protocol: i32) -> HostResult<OwnedFd> {
        let args: [Word; 3] = [domain.into(), kind.into(), protocol.into()];
        // SAFETY: no pointers.
        Ok(new_fd(unsafe { call("socket", libc::SYS_socket, args) }?))
    }

    fn socketpair(&self, domain: i32, kind: i32, protocol: i32) -> HostResult<[OwnedFd; 2]> {
        let mut pair = [0i32; 2];
        let args: [Word; 4] = [
            domain.into(),
            kind.into(),
            protocol.into(),
            pair.as_mut_ptr().into(),
        ];
        // SAFETY: `pair` is the two ints that the call writes.
        unsafe { call("socketpair", libc::SYS_socketpair, args) }?;
        Ok(pair.map(|fd| new_fd(fd.into())))
    }

    fn bind(&self, fd: i32, name: &[u8]) -> HostResult<()> {
        let fd = guests("bind", fd)?;
        let args: [Word; 3] = [fd.into(), name.as_ptr().into(), name.len().into()];
        // SAFETY: `name` with its length, only read.
        unsafe { call("bind", libc::SYS_bind, args) }?;
        Ok(())
    }

    fn connect(&self, fd: i32, name: &[u8]) -> HostResult<()> {
        let fd = guests("connect", fd)?;
        let args: [Word; 3] = [fd.into(), name.as_ptr().into(), name.len().into()];
        // SAFETY: `name` with its length, only read.
        unsafe { call("connect", libc::SYS_connect, args) }?;
        Ok(())
    }

    fn listen(&self, fd: i32, backlog: i32) -> HostResult<()> {
        let fd = guests("listen", fd)?;
        // SAFETY: no pointers.
        unsafe { call("listen", libc::SYS_listen, [fd.into(), backlog.into()]) }?;
        Ok(())
    }

    fn accept(&self, fd: i32, name: &mut [u8], flags: i32) -> HostResult<(OwnedFd, usize)> {
        let fd = guests("accept", fd)?;
        let _one_at_a_time = self
            .accepting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut poll = libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let args: [Word; 3] = [(&raw mut poll).into(), 1.into(), 0.into()];
        // SAFETY: one pollfd, which lives until the call returns.
        let ready = unsafe { call_again("poll", libc::SYS_poll, args) }?;
        // A socket that does not listen reports POLLHUP: accept then tells what is wrong.
        if ready == 0 {
            return Err(HostErr {
                call: "accept",
                errno: libc::EAGAIN,
            });
        }
        let mut len = socklen(name.len());
        let args: [Word; 4] = [
            fd.into(),
            pointer(name).into(),
            (&raw mut len).into(),
            flags.into(),
        ];
        // SAFETY: both pointers are to values that outlive the call; `len` is the room in `name`.
        let new = unsafe { call("accept", libc::SYS_accept4, args) }?;
        Ok((new_fd(new), usize::try_from(len).unwrap_or(usize::MAX)))
    }

    fn getsockname(&self, fd: i32, name: &mut [u8]) -> HostResult<usize> {
        name_call(
            "getsockname",
            libc::SYS_getsockname,
            guests("getsockname", fd)?,
            name,
        )
    }

    fn getpeername(&self, fd: i32, name: &mut [u8]) -> HostResult<usize> {
        name_call(
            "getpeername",
            libc::SYS_getpeername,
            guests("getpeername", fd)?,
            name,
        )
    }

    fn getsockopt(&self, fd: i32, level: i32, name: i32, value: &mut [u8]) -> HostResult<usize> {
        let fd = guests("getsockopt", fd)?;
        let mut len = socklen(value.len());
        let args: [Word; 5] = [
            fd.into(),
            level.into(),
            name.into(),
            value.as_mut_ptr().into(),
            (&raw mut len).into(),
        ];
        // SAFETY: both pointers are to values that outlive the call; `len` is the room in `value`.
        unsafe { call("getsockopt", libc::SYS_getsockopt, args) }?;
        Ok(usize::try_from(len).unwrap_or(usize::MAX).min(value.len()))
    }

    fn setsockopt(&self, fd: i32, level: i32, name: i32, value: &[u8]) -> HostResult<()> {
        let fd = guests("setsockopt", fd)?;
        let args: [Word; 5] = [
            fd.into(),
            level.into(),
            name.into(),
            value.as_ptr().into(),
            value.len().into(),
        ];
        // SAFETY: `value` with its length, only read. (Options that hold pointers of their own, BPF
        // filters, have no NetBSD number that could lead here.)
        unsafe { call("setsockopt", libc::SYS_setsockopt, args) }?;
        Ok(())
    }

    fn sendmsg(&self, fd: i32, msg: &SendMsg<'_>) -> HostResult<usize> {
        let fd = guests("sendmsg", fd)?;
        let (mut name, mut control) = (msg.name.to_vec(), msg.control.to_vec());
        let flags = msg.flags | libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        with_pieces(msg.iov, |pieces| {
            let header = header(&mut name, pieces, &mut control, 0);
            let args: [Word; 3] = [fd.into(), (&raw const header).into(), flags.into()];
            // SAFETY: the header points to values that outlive the call, and to the guest's memory.
            Ok(count(unsafe {
                call_again("sendmsg", libc::SYS_sendmsg, args)
            }?))
        })
    }

    fn recvmsg(&self, fd: i32, msg: &mut RecvMsg<'_>) -> HostResult<Received> {
        let fd = guests("recvmsg", fd)?;
        let flags = msg.flags | libc::MSG_DONTWAIT;
        with_pieces(msg.iov, |pieces| {
            let mut header = header(msg.name, pieces, msg.control, 0);
            let args: [Word; 3] = [fd.into(), (&raw mut header).into(), flags.into()];
            // SAFETY: the header points to values that outlive the call, and to the guest's memory.
            let len = count(unsafe { call_again("recvmsg", libc::SYS_recvmsg, args) }?);
            Ok(Received {
                len,
                name_len: usize::try_from(header.msg_namelen).unwrap_or(usize::MAX),
                control_len: header.msg_controllen,
                flags: header.msg_flags,
            })
        })
        .inspect(|got| give_received(&msg.control[..got.control_len.min(msg.control.len())]))
    }

    fn wait4(&self, pid: i32, options: i32) -> HostResult<Option<Waited>> {
        let (mut status, mut rusage) = (0, Rusage::default());
        let options = options | libc::WNOHANG;
        let args: [Word; 4] = [
            pid.into(),
            (&raw mut status).into(),
            options.into(),
            (&raw mut rusage).into(),
        ];
        // SAFETY: an int and a rusage, whose layout is Linux's too (144 bytes); both outlive the call.
        let pid = int(unsafe { call_again("wait4", libc::SYS_wait4, args) }?);
        Ok((pid != 0).then_some(Waited {
            pid,
            status,
            rusage,
        }))
    }

    fn waitid(&self, whom: WaitFor, options: i32) -> HostResult<(ChildInfo, Rusage)> {
        let (which, id) = match whom {
            WaitFor::Any => (libc::P_ALL, 0),
            WaitFor::Pid(pid) => (libc::P_PID, pid),
            WaitFor::Group(group) => (libc::P_PGID, group),
        };
        let (mut info, mut rusage) = ([0i32; 32], Rusage::default());
        let options = options | libc::WNOHANG;
        let args: [Word; 5] = [
            i64::from(which).into(),
            id.into(),
            info.as_mut_ptr().into(),
            options.into(),
            (&raw mut rusage).into(),
        ];
        // SAFETY: 128 bytes of siginfo and a rusage; both outlive the call.
        unsafe { call_again("waitid", libc::SYS_waitid, args) }?;
        let info = ChildInfo {
            code: info[2],
            pid: info[4],
            uid: info[5].cast_unsigned(),
            status: info[6],
        };
        Ok((info, rusage))
    }

    fn discard_children(&self, discards: bool) {
        crate::signals::discard_children(discards);
    }

    fn getrusage(&self, who: i32) -> HostResult<Rusage> {
        let mut rusage = Rusage::default();
        let args: [Word; 2] = [who.into(), (&raw mut rusage).into()];
        // SAFETY: a rusage, whose layout is Linux's too, and which outlives the call.
        unsafe { call("getrusage", libc::SYS_getrusage, args) }?;
        Ok(rusage)
    }

    fn getpgid(&self, pid: i32) -> HostResult<i32> {
        // SAFETY: no pointers.
        let group = unsafe { call("getpgid", libc::SYS_getpgid, [pid.into()]) }?;
        Ok(i32::try_from(group).unwrap_or(0))
    }

    fn getsid(&self, pid: i32) -> HostResult<i32> {
        // SAFETY: no pointers.
        let session = unsafe { call("getsid", libc::SYS_getsid, [pid.into()]) }?;
        Ok(i32::try_from(session).unwrap_or(0))
    }

    fn kill(&self, pid: i32, host_signo: i32) -> HostResult<()> {
        // SAFETY: no pointers.
        unsafe { call("kill", libc::SYS_kill, [pid.into(), host_signo.into()]) }?;
        Ok(())
    }

    fn msync(&self, at: Range<u64>, flags: i32) -> HostResult<()> {
        let [start, len] = guest_range("msync", &at)?;
        // SAFETY: writes pages back; their contents stay.
        unsafe { call_again("msync", libc::SYS_msync, [start, len, flags.into()]) }.map(|_| ())
    }

    fn mincore(&self, at: Range<u64>, resident: &mut [u8]) -> HostResult<()> {
        let [start, len] = guest_range("mincore", &at)?;
        if resident.len() as u64 != (at.end - at.start) / 4096 {
            return Err(HostErr {
                call: "mincore",
                errno: libc::EINVAL,
            });
        }
        let vec = resident.as_mut_ptr();
        // SAFETY: writes one byte for each page, for which there is room.
        unsafe { call("mincore", libc::SYS_mincore, [start, len, vec.into()]) }.map(|_| ())
    }

    fn mlock(&self, at: Range<u64>) -> HostResult<()> {
        let [start, len] = guest_range("mlock", &at)?;
        // SAFETY: changes no memory.
        unsafe { call("mlock", libc::SYS_mlock, [start, len]) }.map(|_| ())
    }

    fn munlock(&self, at: Range<u64>) -> HostResult<()> {
        let [start, len] = guest_range("munlock", &at)?;
        // SAFETY: changes no memory.
        unsafe { call("munlock", libc::SYS_munlock, [start, len]) }.map(|_| ())
    }

    fn leave_signals(&self, ignored: SigSet, mask: SigSet) {
        let ignored: Vec<_> = ignored.iter().collect();
        crate::restore_host_signals(&ignored, &mask);
    }

    fn without_tty_signals(&self, call: &mut dyn FnMut()) {
        let mask = crate::signals::set_mask(crate::signals::HELD_BACK);
        crate::signals::set_mask(
            mask | crate::signals::bit(libc::SIGTTIN) | crate::signals::bit(libc::SIGTTOU),
        );
        call();
        crate::signals::set_mask(mask);
    }

    fn execve(&self, path: &CStr, argv: &[CString], envp: &[CString]) -> HostErr {
        let ends_in_null = |strings: &[CString]| -> Vec<*const core::ffi::c_char> {
            strings
                .iter()
                .map(|s| s.as_ptr())
                .chain([core::ptr::null()])
                .collect()
        };
        let (argv, envp) = (ends_in_null(argv), ends_in_null(envp));
        let args: [Word; 3] = [
            path.as_ptr().into(),
            argv.as_ptr().into(),
            envp.as_ptr().into(),
        ];
        // SAFETY: strings that end in NUL in arrays that end in null, all alive until the call fails.
        match unsafe { call("execve", libc::SYS_execve, args) } {
            Err(err) => err,
            Ok(_) => HostErr {
                call: "execve",
                errno: libc::EINVAL,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    fn errno<T>(result: HostResult<T>) -> Option<i32> {
        result.err().map(|err| err.errno)
    }

    #[test]
    fn the_runner_s_own_numbers_do_not_exist() {
        let host = LinuxHost::default();
        let ours = std::fs::File::open("/proc/self/maps").unwrap();
        for fd in [ours.as_raw_fd(), -1, i32::MIN, i32::MAX] {
            assert_eq!(errno(host.fd(fd)), Some(libc::EBADF));
            assert_eq!(errno(host.close(fd)), Some(libc::EBADF));
            assert_eq!(errno(host.dup3(fd, 0, false)), Some(libc::EBADF));
        }
        let theirs = host.adopt(ours.try_clone().unwrap().into()).unwrap();
        assert!(host.fds().contains(&theirs));
        let number = ours.as_raw_fd();
        assert_eq!(
            errno(host.dup3(theirs, number, false)),
            Some(libc::EBUSY),
            "what is ours is not replaced"
        );
        assert_eq!(errno(host.close(theirs)), None);
        assert_eq!(errno(host.close(theirs)), Some(libc::EBADF));
        assert!(ours.metadata().is_ok());
    }

    #[test]
    fn a_copy_takes_the_place_of_what_is_the_guest_s() {
        let host = LinuxHost::default();
        let open = |path| host.adopt(std::fs::File::open(path).unwrap().into());
        let (from, to) = (open("/dev/zero").unwrap(), open("/proc/self/maps").unwrap());
        host.dup3(from, to, true).unwrap();
        let file = |fd: i32| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
        assert_eq!(file(from), file(to));
        host.close(to).unwrap();
        // Another test may have the number now.
        if host.dup3(from, to, true).is_ok() {
            assert_eq!(file(from), file(to));
            host.close(to).unwrap();
        }
        host.close(from).unwrap();
    }

    #[test]
    fn memory_beyond_the_guest_s_bound_faults() {
        let host = LinuxHost::default();
        let file = std::fs::File::open("/proc/self/maps").unwrap();
        let file = host.adopt(file.into()).unwrap();
        let mut ours = [0u8; 16];
        for (iov_base, iov_len) in [
            (ours.as_mut_ptr().expose_provenance() as u64, 16),
            (GUEST_BOUND - 1, 2),
            (u64::MAX, 2),
            (0, u64::MAX >> 1),
        ] {
            let iov = [Iovec { iov_base, iov_len }];
            let got = host.readv(file, &iov, At::Current, Waiting::May);
            assert_eq!(errno(got), Some(libc::EFAULT));
        }
        assert_eq!(ours, [0; 16]);
    }

    #[test]
    fn a_negative_offset_is_not_the_file_s_own() {
        let host = LinuxHost::default();
        let file = std::fs::File::open("/proc/self/maps").unwrap();
        let file = host.adopt(file.into()).unwrap();
        let got = host.readv(file, &[], At::Offset(-1), Waiting::May);
        assert_eq!(errno(got), Some(libc::EINVAL));
    }

    #[test]
    fn requests_not_in_the_lists_are_refused() {
        let host = LinuxHost::default();
        let file = std::fs::File::open("/proc/self/maps").unwrap();
        let fd = host.adopt(file.into()).unwrap();
        let tty_get = 0x802c_542a;
        assert_eq!(
            errno(host.ioctl(fd, tty_get, &mut [0; 43])),
            Some(libc::ENOTTY)
        );
        assert_eq!(errno(host.ioctl_word(fd, tty_get, 0)), Some(libc::ENOTTY));
        assert_eq!(errno(host.fcntl(fd, libc::F_GETLK, 0)), Some(libc::EINVAL));
    }

    #[test]
    fn accept_does_not_wait() {
        let host = LinuxHost::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = host.adopt(listener.into()).unwrap();
        let got = host.accept(listener, &mut [], 0);
        assert_eq!(errno(got), Some(libc::EAGAIN));
    }

    #[test]
    fn nobody_to_wait_for_is_echild() {
        let host = LinuxHost::default();
        // A group that cannot be ours.
        assert_eq!(errno(host.wait4(-0x3fff_ffff, 0)), Some(libc::ECHILD));
    }
}
