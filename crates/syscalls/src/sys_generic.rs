//! Transfers: read(2), write(2) and their families.
//!
//! A transfer is tried without waiting; if it must wait, the LWP sleeps until the descriptor may be
//! ready and tries again. Files on a disk are transferred at once: the host's wait for a disk is not a
//! sleep. Data go straight between the host's file and guest memory.
//!
//! # Invariants
//! 1. A read returns what is there; a write without `O_NONBLOCK` returns when all is written, or something
//!    came in between: then the short count, if anything was written.
//! 2. EPIPE posts SIGPIPE to the calling LWP, unless the descriptor has `O_NOSIGPIPE`; EFBIG by the limit
//!    posts SIGXFSZ. The host ignores both signals.
//!
//! Sources: read(2), write(2); `sys_generic.c: dofileread, dofilewrite, do_filereadv, do_filewritev`;
//! syscalls.md 3.1.

use crate::Unix;
use crate::args::Args;
use crate::background;
use crate::copy;
use crate::errno::{from_host, restartable};
use crate::files::Kind;
use crate::host::{At, HostResult, RecvMsg, SendMsg, Waiting};
use crate::patience::Patience;
use crate::socket::is_stream;
use crate::sys_misc::copyout_random;
use core::time::Duration;
use lwp_abi::errno::Errno;
use lwp_abi::limits::PIPE_BUF;
use lwp_abi::signal::{SI_USER, Siginfo, Signo};
use lwp_abi::uio::Iovec;
use lwp_kernel::machine::{HostErr, Ready};
use lwp_kernel::sched::Chance;
use lwp_kernel::{CurLwp, Ended, Outcome, Ret, SysResult};
use rustix::fs::OFlags;
use rustix::io::Errno as Linux;

/// The most that is written to a terminal in one piece: it has to take it all before we are back.
const TTY_CHUNK: u64 = 1024;
/// The most that is written to a pipe which the host cannot try without waiting: Linux's `PIPE_BUF`, for
/// which there is room when it is reported ready.
const PIPE_CHUNK: u64 = 4096;
/// The most that one read of `/dev/urandom` gives: 0.1 s of work.
const MOST_RANDOM: u64 = 32 << 20;
/// The largest result there is.
const SSIZE_MAX: u64 = i64::MAX.unsigned_abs();

/// Which way the data go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// To the guest.
    Read,
    /// From the guest.
    Write,
}

/// The pieces of guest memory of one transfer.
#[derive(Clone, Debug)]
pub(crate) enum Pieces {
    One([Iovec; 1]),
    Many(Vec<Iovec>),
}

impl Pieces {
    pub(crate) fn one(base: u64, len: u64) -> Self {
        Self::One([Iovec {
            iov_base: base,
            iov_len: len,
        }])
    }

    pub(crate) fn as_slice(&self) -> &[Iovec] {
        match self {
            Self::One(one) => one,
            Self::Many(many) => many,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        // Bounded by SSIZE_MAX when they were made.
        self.as_slice()
            .iter()
            .fold(0, |sum, piece| sum.saturating_add(piece.iov_len))
    }

    /// Takes the first `count` bytes away.
    pub(crate) fn advance(&mut self, mut count: u64) {
        let pieces = match self {
            Self::One(one) => one.as_mut_slice(),
            Self::Many(many) => many.as_mut_slice(),
        };
        for piece in pieces {
            let step = count.min(piece.iov_len);
            piece.iov_base = piece.iov_base.wrapping_add(step);
            piece.iov_len -= step;
            count -= step;
        }
    }

    /// Leaves the first `len` bytes.
    fn truncate(&mut self, mut len: u64) {
        let pieces = match self {
            Self::One(one) => one.as_mut_slice(),
            Self::Many(many) => many.as_mut_slice(),
        };
        for piece in pieces {
            piece.iov_len = piece.iov_len.min(len);
            len -= piece.iov_len;
        }
    }

    /// Leaves out as many bytes at the end as the policy says, if it wants to, and if the transfer `may` come short.
    pub(crate) fn fall_short(&mut self, l: &CurLwp, may: impl FnOnce(u64) -> bool) {
        let len = self.len();
        if !l.kernel.sched.meddles() || !may(len) {
            return;
        }
        let less = l
            .kernel
            .sched
            .choose(Chance::Transfer, u32::try_from(len).unwrap_or(u32::MAX));
        self.truncate(len - u64::from(less));
    }

    /// The first `limit` bytes, of the first piece that has any.
    fn first(&self, limit: u64) -> [Iovec; 1] {
        let piece = self.as_slice().iter().find(|piece| piece.iov_len > 0);
        let Some(&Iovec { iov_base, iov_len }) = piece else {
            return [Iovec::default()];
        };
        [Iovec {
            iov_base,
            iov_len: iov_len.min(limit),
        }]
    }
}

/// One transfer, on its way.
struct Transfer {
    way: Way,
    fd: i32,
    kind: Kind,
    at: At,
    pieces: Pieces,
    /// Bytes moved so far.
    done: u64,
}

/// `read(2)`.
///
/// # Errors
/// EBADF. EISDIR. ENXIO: a kqueue. EINVAL: more than `SSIZE_MAX`. EAGAIN: nothing there, and `O_NONBLOCK`.
/// EINTR or a restart: a signal. EFAULT.
pub(crate) fn sys_read<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let pieces = Pieces::one(a.ptr(1), a.size(2));
    begin(sys, l, Way::Read, a.int(0), None, |_| Ok(pieces))
}

/// `write(2)`.
///
/// # Errors
/// As [`sys_read`]. EPIPE: nobody reads; with SIGPIPE. EFBIG: with SIGXFSZ if by `RLIMIT_FSIZE`.
pub(crate) fn sys_write<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let pieces = Pieces::one(a.ptr(1), a.size(2));
    begin(sys, l, Way::Write, a.int(0), None, |_| Ok(pieces))
}

/// `readv(2)`.
///
/// # Errors
/// As [`sys_read`]. EINVAL: no piece, too many, or too much.
pub(crate) fn sys_readv<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let (iov, count) = (a.ptr(1), a.int(2));
    begin(sys, l, Way::Read, a.int(0), None, |l| {
        copy::copyin_iov(l, iov, count).map(Pieces::Many)
    })
}

/// `writev(2)`.
///
/// # Errors
/// As [`sys_write`] and [`sys_readv`].
pub(crate) fn sys_writev<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let (iov, count) = (a.ptr(1), a.int(2));
    begin(sys, l, Way::Write, a.int(0), None, |l| {
        copy::copyin_iov(l, iov, count).map(Pieces::Many)
    })
}

/// `pread(2)`; argument 3 is padding.
///
/// # Errors
/// As [`sys_read`]. ESPIPE: one cannot seek there. EINVAL: a negative offset.
pub(crate) fn sys_pread<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let pieces = Pieces::one(a.ptr(1), a.size(2));
    begin(sys, l, Way::Read, a.int(0), Some(a.i64(4)), |_| Ok(pieces))
}

/// `pwrite(2)`; argument 3 is padding.
///
/// # Errors
/// As [`sys_write`] and [`sys_pread`].
pub(crate) fn sys_pwrite<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let pieces = Pieces::one(a.ptr(1), a.size(2));
    begin(sys, l, Way::Write, a.int(0), Some(a.i64(4)), |_| Ok(pieces))
}

/// `preadv(2)`; argument 3 is padding.
///
/// # Errors
/// As [`sys_readv`] and [`sys_pread`].
pub(crate) fn sys_preadv<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let (iov, count) = (a.ptr(1), a.int(2));
    begin(sys, l, Way::Read, a.int(0), Some(a.i64(4)), |l| {
        copy::copyin_iov(l, iov, count).map(Pieces::Many)
    })
}

/// `pwritev(2)`; argument 3 is padding.
///
/// # Errors
/// As [`sys_writev`] and [`sys_pwrite`].
pub(crate) fn sys_pwritev<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let (iov, count) = (a.ptr(1), a.int(2));
    begin(sys, l, Way::Write, a.int(0), Some(a.i64(4)), |l| {
        copy::copyin_iov(l, iov, count).map(Pieces::Many)
    })
}

/// Checks, tries, and sleeps if that was not enough.
fn begin<'a>(
    sys: &'a Unix,
    l: &'a mut CurLwp,
    way: Way,
    fd: i32,
    offset: Option<i64>,
    pieces: impl FnOnce(&CurLwp) -> Result<Pieces, Errno>,
) -> Outcome<'a> {
    let mut transfer = match check(sys, l, way, fd, offset, pieces) {
        Ok(transfer) => transfer,
        Err(errno) => return Outcome::Done(Err(errno.into())),
    };
    match transfer.attempt(sys, l) {
        Some(result) => Outcome::Done(transfer.end(sys, l, result)),
        None => Outcome::Sleep(Box::pin(async move {
            let result = transfer.sleep(sys, l).await;
            transfer.end(sys, l, result)
        })),
    }
}

/// The checks before a transfer, in NetBSD's order.
fn check(
    sys: &Unix,
    l: &CurLwp,
    way: Way,
    fd: i32,
    offset: Option<i64>,
    pieces: impl FnOnce(&CurLwp) -> Result<Pieces, Errno>,
) -> Result<Transfer, Errno> {
    let kind = sys.files.kind(&*sys.host, fd)?;
    let is_seekable = !matches!(
        kind,
        Kind::Fifo | Kind::Socket | Kind::Anonymous | Kind::Object
    );
    let at = match offset {
        Some(_) if !is_seekable => {
            check_mode(sys, fd, way)?;
            return Err(Errno::ESPIPE);
        }
        Some(offset) if offset < 0 => {
            check_mode(sys, fd, way)?;
            return Err(Errno::EINVAL);
        }
        Some(offset) => At::Offset(offset),
        None => At::Current,
    };
    let mut pieces = pieces(l)?;
    if copy::total(pieces.as_slice())? > SSIZE_MAX {
        return Err(Errno::EINVAL);
    }
    match (kind, way) {
        (Kind::Object, _) => return Err(Errno::ENXIO),
        (Kind::Directory, Way::Read) => return Err(Errno::EISDIR),
        _ => {}
    }
    pieces.fall_short(l, |len| may_fall_short(sys, way, fd, kind, len));
    Ok(Transfer {
        way,
        fd,
        kind,
        at,
        pieces,
        done: 0,
    })
}

/// Whether less may be transferred than there is, or than there is room for.
fn may_fall_short(sys: &Unix, way: Way, fd: i32, kind: Kind, len: u64) -> bool {
    let is_stream = match kind {
        // What is no longer is written as a whole, or not at all.
        Kind::Fifo => way == Way::Read || len > PIPE_BUF as u64,
        Kind::Socket => is_stream(sys, fd),
        _ => false,
    };
    is_stream && (way == Way::Read || is_nonblocking(sys, fd))
}

/// Whether the descriptor is open for this way.
fn check_mode(sys: &Unix, fd: i32, way: Way) -> Result<(), Errno> {
    let mode = status_flags(sys, fd)?.intersection(OFlags::RWMODE);
    let is_open = match way {
        Way::Read => mode == OFlags::RDONLY || mode == OFlags::RDWR,
        Way::Write => mode == OFlags::WRONLY || mode == OFlags::RDWR,
    };
    if is_open { Ok(()) } else { Err(Errno::EBADF) }
}

/// The host's status flags of a descriptor.
pub(crate) fn status_flags(sys: &Unix, fd: i32) -> Result<OFlags, Errno> {
    let fd = sys.host.fd(fd).map_err(from_host)?;
    rustix::fs::fcntl_getfl(fd).map_err(crate::errno::from_rustix)
}

/// Whether the guest set `O_NONBLOCK` on a descriptor.
pub(crate) fn is_nonblocking(sys: &Unix, fd: i32) -> bool {
    status_flags(sys, fd).is_ok_and(|flags| flags.contains(OFlags::NONBLOCK))
}

/// When a blocking transfer on a socket gives up, by `SO_RCVTIMEO` or `SO_SNDTIMEO`; now is the beginning.
pub(crate) fn socket_deadline(sys: &Unix, l: &CurLwp, fd: i32, want: Ready) -> Option<Duration> {
    use rustix::net::sockopt::{Timeout, socket_timeout};
    let which = if want == Ready::IN {
        Timeout::Recv
    } else {
        Timeout::Send
    };
    let limit = socket_timeout(sys.host.fd(fd).ok()?, which)
        .ok()
        .flatten()?;
    l.kernel.machine.monotonic().checked_add(limit)
}

impl Transfer {
    /// Moves what can be moved without waiting. `None` if the LWP has to wait.
    fn attempt(&mut self, sys: &Unix, l: &CurLwp) -> Option<Result<(), Ended>> {
        if self.reads_in_background(sys) {
            return None;
        }
        loop {
            match self.step(sys, l) {
                Ok(moved) => {
                    self.done += moved;
                    self.pieces.advance(moved);
                    let is_all = self.pieces.len() == 0 || moved == 0;
                    if self.way == Way::Read || is_all || self.kind == Kind::Disk {
                        return Some(Ok(()));
                    }
                    if is_nonblocking(sys, self.fd) {
                        return Some(Ok(()));
                    }
                    if let At::Offset(at) = &mut self.at {
                        *at = at.saturating_add_unsigned(moved);
                    }
                }
                Err(Linux::AGAIN) if !is_nonblocking(sys, self.fd) => return None,
                // A background process on its terminal: SIGTTIN or SIGTTOU first, then again.
                Err(Linux::INTR) => return Some(Err(Ended::Restart)),
                Err(err) => {
                    return Some(Err(Errno::from_linux(err.raw_os_error()).into()));
                }
            }
        }
    }

    /// One host call that does not wait.
    fn step(&self, sys: &Unix, l: &CurLwp) -> Result<u64, Linux> {
        let moved = match self.kind {
            Kind::Random if self.way == Way::Read => return self.random(sys, l),
            Kind::Disk | Kind::Directory | Kind::Object | Kind::Random => {
                self.host_transfer(sys, self.pieces.as_slice(), Waiting::May)
            }
            Kind::Socket => self.message(sys),
            Kind::Fifo | Kind::Device | Kind::Anonymous => {
                match self.host_transfer(sys, self.pieces.as_slice(), Waiting::Never) {
                    Err(HostErr { errno, .. }) if is_not_supported(errno) => {
                        self.when_ready(sys, l)
                    }
                    moved => moved,
                }
            }
        };
        moved.map_err(|err| Linux::from_raw_os_error(err.errno))
    }

    /// `/dev/urandom`: not the host's bytes, but the machine's.
    fn random(&self, sys: &Unix, l: &CurLwp) -> Result<u64, Linux> {
        check_mode(sys, self.fd, self.way).map_err(|_| Linux::BADF)?;
        self.pieces.as_slice().iter().try_fold(0, |done, piece| {
            let len = piece.iov_len.min(MOST_RANDOM - done);
            let moved = copyout_random(l, piece.iov_base, len);
            Ok(done + moved.map_err(|_| Linux::FAULT)?)
        })
    }

    fn host_transfer(&self, sys: &Unix, iov: &[Iovec], waiting: Waiting) -> HostResult<u64> {
        match self.way {
            Way::Read => sys.host.readv(self.fd, iov, self.at, waiting),
            Way::Write => sys.host.writev(self.fd, iov, self.at, waiting),
        }
    }

    /// For files whose driver knows no `RWF_NOWAIT` (terminals): transfers once the file says it is ready,
    /// and no more than it then takes without waiting.
    fn when_ready(&self, sys: &Unix, l: &CurLwp) -> HostResult<u64> {
        let ready = l.kernel.machine.ready_now(self.fd);
        let want = self.want() | Ready::ERR | Ready::HUP;
        if !ready.intersects(want) && !is_nonblocking(sys, self.fd) {
            return Err(HostErr {
                call: "poll",
                errno: Linux::AGAIN.raw_os_error(),
            });
        }
        let limit = match (self.way, self.kind) {
            (Way::Write, Kind::Fifo) => PIPE_CHUNK,
            (Way::Write, Kind::Device) if is_tty(sys, self.fd) => TTY_CHUNK,
            _ => return self.host_transfer(sys, self.pieces.as_slice(), Waiting::May),
        };
        background::change(sys, l, self.fd, || {
            self.host_transfer(sys, &self.pieces.first(limit), Waiting::May)
        })
    }

    fn reads_in_background(&self, sys: &Unix) -> bool {
        self.kind == Kind::Device
            && self.way == Way::Read
            && background::is_background(sys, self.fd)
    }

    /// A socket: sendmsg(2) and recvmsg(2) can be told not to wait, and not to raise SIGPIPE.
    fn message(&self, sys: &Unix) -> HostResult<u64> {
        let iov = self.pieces.as_slice();
        let moved = match self.way {
            Way::Read => {
                let mut msg = RecvMsg {
                    name: &mut [],
                    iov,
                    control: &mut [],
                    flags: 0,
                };
                sys.host.recvmsg(self.fd, &mut msg)?.len
            }
            Way::Write => sys.host.sendmsg(
                self.fd,
                &SendMsg {
                    name: &[],
                    iov,
                    control: &[],
                    flags: 0,
                },
            )?,
        };
        Ok(moved as u64)
    }

    fn want(&self) -> Ready {
        match self.way {
            Way::Read => Ready::IN,
            Way::Write => Ready::OUT,
        }
    }

    /// Waits and tries until something comes of it.
    async fn sleep(&mut self, sys: &Unix, l: &mut CurLwp) -> Result<(), Ended> {
        let deadline = match self.kind {
            Kind::Socket => socket_deadline(sys, l, self.fd, self.want()),
            _ => None,
        };
        let wmesg = match (self.kind, self.way) {
            (Kind::Fifo, Way::Read) => "pipe_rd",
            (Kind::Fifo, Way::Write) => "pipe_wr",
            (Kind::Socket, _) => "netio",
            (_, Way::Read) => "ttyin",
            (_, Way::Write) => "ttyout",
        };
        let mut patience = Patience::default();
        loop {
            if self.reads_in_background(sys) {
                background::before_read(sys, l, self.fd).await?;
                if let Some(result) = self.attempt(sys, l) {
                    return result;
                }
            }
            let ready = patience.wait_ready(l, self.fd, self.want(), deadline, wmesg);
            ready.await.map_err(restartable)?;
            if let Some(result) = self.attempt(sys, l) {
                return result;
            }
        }
    }

    /// What the guest is told: a short count outranks an interruption (`dofilewrite`).
    fn end(&self, sys: &Unix, l: &CurLwp, result: Result<(), Ended>) -> SysResult {
        let Err(ended) = result else {
            return Ok(Ret(self.done, 0));
        };
        let is_interruption = matches!(
            ended,
            Ended::Restart | Ended::Failed(Errno::EINTR | Errno::EAGAIN)
        );
        if self.done > 0 && is_interruption {
            return Ok(Ret(self.done, 0));
        }
        match ended {
            Ended::Failed(Errno::EPIPE) if self.way == Way::Write => sigpipe(sys, l, self.fd),
            Ended::Failed(Errno::EFBIG) if self.way == Way::Write => sigxfsz(sys, l),
            _ => {}
        }
        Err(ended)
    }
}

/// Posts SIGPIPE to the calling LWP, unless the descriptor forbids it.
pub(crate) fn sigpipe(sys: &Unix, l: &CurLwp, fd: i32) {
    if !sys.files.is_nosigpipe(fd) {
        l.kernel
            .lwp_signal(&l.lwp, &Siginfo::new(Signo::SIGPIPE, SI_USER));
    }
}

/// Posts SIGXFSZ for a file that would have exceeded `RLIMIT_FSIZE`, if there is such a limit.
pub(crate) fn sigxfsz(sys: &Unix, l: &CurLwp) {
    if sys.limits.has_fsize() {
        l.kernel
            .lwp_signal(&l.lwp, &Siginfo::new(Signo::SIGXFSZ, SI_USER));
    }
}

/// Whether the host says that it cannot promise not to wait.
fn is_not_supported(errno: i32) -> bool {
    errno == Linux::OPNOTSUPP.raw_os_error()
}

fn is_tty(sys: &Unix, fd: i32) -> bool {
    sys.host.fd(fd).is_ok_and(rustix::termios::isatty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn many(lens: &[u64]) -> Pieces {
        let mut base = 0x10000;
        Pieces::Many(
            lens.iter()
                .map(|&iov_len| {
                    let piece = Iovec {
                        iov_base: base,
                        iov_len,
                    };
                    base += iov_len + 7;
                    piece
                })
                .collect(),
        )
    }

    /// The addresses of all bytes, in order.
    fn bytes(pieces: &[Iovec]) -> Vec<u64> {
        pieces
            .iter()
            .flat_map(|p| p.iov_base..p.iov_base + p.iov_len)
            .collect()
    }

    proptest! {
        #[test]
        fn advancing_drops_the_first_bytes(
            lens in proptest::collection::vec(0u64..20, 1..6),
            count in 0u64..130,
        ) {
            let mut pieces = many(&lens);
            let all = bytes(pieces.as_slice());
            let count = count.min(pieces.len());
            pieces.advance(count);
            prop_assert_eq!(bytes(pieces.as_slice()), &all[usize::try_from(count).unwrap()..]);
        }

        #[test]
        fn a_chunk_is_a_beginning(
            lens in proptest::collection::vec(0u64..20, 1..6),
            limit in 1u64..30,
        ) {
            let pieces = many(&lens);
            let chunk = bytes(&pieces.first(limit));
            prop_assert!(bytes(pieces.as_slice()).starts_with(&chunk));
            prop_assert_eq!(chunk.is_empty(), pieces.len() == 0);
        }
    }
}
