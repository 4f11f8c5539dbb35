//! What the system calls ask of the host that safe code cannot do by itself.
//!
//! Most host calls are made through `rustix`, on [`Host::fd`]. Here is the rest: numbers in place of
//! owned descriptors, transfers straight to and from guest memory, and records as bytes. The machine
//! implements it; a test may implement a part.
//!
//! # Invariants
//! 1. A guest's descriptor number is the host's number. A host descriptor becomes the guest's by
//!    [`Host::adopt`], [`Host::dup3`] or by having been inherited. All others do not exist for the guest
//!    (EBADF): the runner's own, from [`Host::first_own_fd`] up, and those that it has for a moment.
//! 2. A piece of guest memory that reaches beyond the guest's bound faults like any bad address. No
//!    transfer can touch the runner's memory.
//! 3. No call waits in the host for long, unless its page says so; those belong on a helper thread
//!    (`CurLwp::run_blocking`).
//! 4. EINTR is passed on where a terminal may be behind it (transfers, ioctl): a background process is
//!    to take SIGTTIN or SIGTTOU before it tries again. Elsewhere it is retried here.
//!
//! Source: design sections 3, 6 and 7.

use core::ops::Range;
use lwp_abi::resource::Rusage;
use lwp_abi::signal::SigSet;
use lwp_abi::uio::Iovec;
use lwp_kernel::machine::HostErr;
use std::ffi::{CStr, CString};
use std::os::fd::{BorrowedFd, OwnedFd};

/// What a host call gives.
pub type HostResult<T> = Result<T, HostErr>;

/// Where in the file a transfer takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// At the file's own offset, which moves.
    Current,
    /// There; the offset stays.
    Offset(i64),
}

/// Whether a transfer may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// It may: the file is on a disk, has `O_NONBLOCK` set, or was found ready.
    May,
    /// It fails with EAGAIN instead, or with EOPNOTSUPP where the host cannot promise that.
    Never,
}

/// A message to be sent: everything but the data in the host's own layout.
#[derive(Clone, Copy, Debug)]
pub struct SendMsg<'a> {
    /// The destination (`sockaddr`); empty for none.
    pub name: &'a [u8],
    /// The data, in guest memory.
    pub iov: &'a [Iovec],
    /// Control messages; empty for none.
    pub control: &'a [u8],
    /// MSG_*; `MSG_NOSIGNAL` is added.
    pub flags: i32,
}

/// Room for a message, filled by [`Host::recvmsg`].
#[derive(Debug)]
pub struct RecvMsg<'a> {
    /// Room for the source; empty for not wanted.
    pub name: &'a mut [u8],
    /// Room for the data, in guest memory.
    pub iov: &'a [Iovec],
    /// Room for control messages.
    pub control: &'a mut [u8],
    /// MSG_*.
    pub flags: i32,
}

/// What [`Host::recvmsg`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes of data.
    pub len: usize,
    /// The true length of the source address, which may exceed the room for it.
    pub name_len: usize,
    /// Bytes of control messages.
    pub control_len: usize,
    /// The host's MSG_* of the message.
    pub flags: i32,
}

/// A child that changed state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waited {
    /// Who.
    pub pid: i32,
    /// The host's wait status, with the host's signal numbers.
    pub status: i32,
    /// What it used.
    pub rusage: Rusage,
}

/// The host's siginfo of a child that changed state, as far as waitid(2) fills it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChildInfo {
    /// CLD_*, which are NetBSD's numbers too.
    pub code: i32,
    /// Who; 0 if nobody had changed state.
    pub pid: i32,
    /// Its real user id.
    pub uid: u32,
    /// The exit code, or the host's signal number.
    pub status: i32,
}

/// Whom [`Host::waitid`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFor {
    /// Any child.
    Any,
    /// This child.
    Pid(i32),
    /// Any child of this group; 0 for the own group.
    Group(i32),
}

/// A record lock, in the host's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLock {
    /// `F_RDLCK`, `F_WRLCK` or `F_UNLCK`.
    pub kind: i16,
    /// SEEK_*.
    pub whence: i16,
    /// The first byte, seen from there.
    pub start: i64,
    /// How many bytes; 0 for up to the end.
    pub len: i64,
    /// Who holds it (`F_GETLK`).
    pub pid: i32,
}

/// What to do with a [`RecordLock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockOp {
    /// `F_GETLK`: who is in the way?
    Get,
    /// `F_SETLK`: take it or fail.
    Set,
    /// `F_SETLKW`: take it; waits.
    SetWait,
}

/// The host, as far as it takes unsafe code.
///
/// Every method fails with [`HostErr`], which holds the host's errno.
#[expect(
    clippy::missing_errors_doc,
    reason = "each fails as the host call of its name"
)]
pub trait Host: Send + Sync + 'static {
    /// The first descriptor number that the guest cannot have.
    fn first_own_fd(&self) -> i32;

    /// The guest's descriptor for the host calls of `rustix`; it may not be open.
    ///
    /// Numbers that are not the guest's fail with EBADF.
    fn fd(&self, fd: i32) -> HostResult<BorrowedFd<'_>>;

    /// The guest's descriptors, in order.
    fn fds(&self) -> Vec<i32>;

    /// Makes a descriptor the guest's. EMFILE: its number is the runner's own; it is closed.
    fn adopt(&self, fd: OwnedFd) -> HostResult<i32>;

    /// close(2). The caller has told the watches. Never EINTR. EBADF also for the second of two at once.
    fn close(&self, fd: i32) -> HostResult<()>;

    /// fcntl(2) `F_DUPFD`: a copy at the lowest free number from `lowest` up.
    fn dup(&self, fd: i32, lowest: i32, is_cloexec: bool) -> HostResult<OwnedFd>;

    /// dup3(2): `to` becomes a copy of `from`, and the guest's. Equal numbers succeed and change nothing.
    /// EBUSY: the runner has had a file under that number for longer than a moment.
    fn dup3(&self, from: i32, to: i32, is_cloexec: bool) -> HostResult<()>;

    /// Reads into guest memory.
    fn readv(&self, fd: i32, iov: &[Iovec], at: At, waiting: Waiting) -> HostResult<u64>;

    /// Writes from guest memory. Raises no signal.
    fn writev(&self, fd: i32, iov: &[Iovec], at: At, waiting: Waiting) -> HostResult<u64>;

    /// fcntl(2) with a command that takes an int, or nothing.
    fn fcntl(&self, fd: i32, cmd: i32, arg: i32) -> HostResult<i32>;

    /// fcntl(2) with a record lock. [`LockOp::SetWait`] waits, and is not retried after EINTR.
    fn record_lock(&self, fd: i32, op: LockOp, lock: &mut RecordLock) -> HostResult<()>;

    /// ioctl(2) with a pointer to `arg`. Only for requests the implementation knows, with at least as
    /// many bytes as they take; ENOTTY for others.
    fn ioctl(&self, fd: i32, request: u32, arg: &mut [u8]) -> HostResult<i32>;

    /// ioctl(2) with a plain word, or without an argument; ENOTTY for requests not known to be such.
    fn ioctl_word(&self, fd: i32, request: u32, arg: i32) -> HostResult<i32>;

    /// socket(2), all three in the host's numbers. The new descriptor is the lowest free number.
    fn socket(&self, domain: i32, kind: i32, protocol: i32) -> HostResult<OwnedFd>;

    /// socketpair(2).
    fn socketpair(&self, domain: i32, kind: i32, protocol: i32) -> HostResult<[OwnedFd; 2]>;

    /// bind(2) to a host `sockaddr`.
    fn bind(&self, fd: i32, name: &[u8]) -> HostResult<()>;

    /// connect(2) to a host `sockaddr`. Waits, unless `O_NONBLOCK` is set on the socket: without it, call it
    /// on a helper thread. After EINTR the attempt goes on.
    fn connect(&self, fd: i32, name: &[u8]) -> HostResult<()>;

    /// listen(2).
    fn listen(&self, fd: i32, backlog: i32) -> HostResult<()>;

    /// accept4(2) with the host's SOCK_* flags; EAGAIN instead of waiting. Returns the descriptor and the
    /// true length of the peer's address.
    fn accept(&self, fd: i32, name: &mut [u8], flags: i32) -> HostResult<(OwnedFd, usize)>;

    /// getsockname(2): the true length of the address.
    fn getsockname(&self, fd: i32, name: &mut [u8]) -> HostResult<usize>;

    /// getpeername(2): the true length of the address.
    fn getpeername(&self, fd: i32, name: &mut [u8]) -> HostResult<usize>;

    /// getsockopt(2): how many bytes were filled in.
    fn getsockopt(&self, fd: i32, level: i32, name: i32, value: &mut [u8]) -> HostResult<usize>;

    /// setsockopt(2).
    fn setsockopt(&self, fd: i32, level: i32, name: i32, value: &[u8]) -> HostResult<()>;

    /// sendmsg(2); EAGAIN instead of waiting. Raises no signal.
    fn sendmsg(&self, fd: i32, msg: &SendMsg<'_>) -> HostResult<usize>;

    /// recvmsg(2); EAGAIN instead of waiting.
    fn recvmsg(&self, fd: i32, msg: &mut RecvMsg<'_>) -> HostResult<Received>;

    /// wait4(2) with the host's options and WNOHANG; `None` if nobody has changed state.
    fn wait4(&self, pid: i32, options: i32) -> HostResult<Option<Waited>>;

    /// waitid(2) with the host's options and WNOHANG, and what the child used.
    fn waitid(&self, whom: WaitFor, options: i32) -> HostResult<(ChildInfo, Rusage)>;

    /// From now on children that end leave no zombie, or do again.
    fn discard_children(&self, discards: bool);

    /// getrusage(2): 0 for the process, -1 for its children.
    fn getrusage(&self, who: i32) -> HostResult<Rusage>;

    /// getpgid(2); 0: the group is of another pid namespace. (`rustix` takes such a 0 for a `Pid`.)
    fn getpgid(&self, pid: i32) -> HostResult<i32>;

    /// getsid(2), in the same way.
    fn getsid(&self, pid: i32) -> HostResult<i32>;

    /// kill(2) with the host's signal number.
    fn kill(&self, pid: i32, host_signo: i32) -> HostResult<()>;

    /// msync(2) of guest memory with the host's flags; may wait for a disk.
    fn msync(&self, at: Range<u64>, flags: i32) -> HostResult<()>;

    /// mincore(2) of guest memory: a byte for each of its pages.
    fn mincore(&self, at: Range<u64>, resident: &mut [u8]) -> HostResult<()>;

    /// mlock(2) of guest memory.
    fn mlock(&self, at: Range<u64>) -> HostResult<()>;

    /// munlock(2) of guest memory.
    fn munlock(&self, at: Range<u64>) -> HostResult<()>;

    /// Gives the host process these dispositions and this mask, in NetBSD's numbers, for the program it is
    /// about to execute: signals not in `ignored` have their default.
    fn leave_signals(&self, ignored: SigSet, mask: SigSet);

    /// Makes `call` with SIGTTIN and SIGTTOU blocked in this thread: what it does with a terminal is then done
    /// in the background too.
    fn without_tty_signals(&self, call: &mut dyn FnMut());

    /// execve(2); returns only if it failed. Signal dispositions and mask are the caller's affair.
    fn execve(&self, path: &CStr, argv: &[CString], envp: &[CString]) -> HostErr;
}
