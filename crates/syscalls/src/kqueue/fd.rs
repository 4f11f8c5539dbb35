//! `EVFILT_READ`, `EVFILT_WRITE` and `EVFILT_EMPTY`: what a descriptor is ready for.
//!
//! The host says that something happened (an edge); this file says what there is now, in NetBSD's terms.
//! Where the host's idea of readiness differs:
//!
//! | point | remedy |
//! |---|---|
//! | a stream socket not yet connected is "hung up and writable" | HUP without RDHUP: not ready |
//! | a listening socket has no count | 1 |
//! | "writable" is news only where nothing could be written | a WRITE knote with `EV_CLEAR` is not reported at each acknowledgement |
//! | regular files have no edges | inotify |
//! | nobody tells when a send buffer has drained | `EVFILT_EMPTY` looks every 5 ms |
//! | reading `SO_ERROR` clears it | fflags of `EV_EOF` are 0 |
//!
//! Sources: `uipc_socket.c: filt_soread, filt_sowrite, filt_soempty`, `sys_pipe.c: pipe_kqfilter`,
//! `genfs_vnops.c: genfs_kqfilter`; syscalls.md 5.5.

use super::knotes::Knote;
use super::source::Cx;
use super::timer::Alarm;
use super::vnode::Subscription;
use super::{Bell, Kqueue};
use crate::Unix;
use crate::errno::from_rustix;
use crate::files::Kind;
use core::time::Duration;
use lwp_abi::errno::Errno;
use lwp_abi::event::{EVFILT_EMPTY, EVFILT_READ, EvFlags, NOTE_LOWAT};
use lwp_kernel::Kernel;
use lwp_kernel::machine::Ready;
use lwp_kernel::watch::Listener;
use rustix::fs::inotify::WatchFlags;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};

/// The host's SIOCOUTQ: bytes in the send queue.
const SIOCOUTQ: u32 = 0x5411;
/// The host's magic number of the file system in which pipe(2) makes pipes.
const PIPEFS_MAGIC: i64 = 0x5049_5045;
/// How often `EVFILT_EMPTY` looks.
const EMPTY_LOOK: Duration = Duration::from_millis(5);
/// The largest count of an eventfd.
const EVENTFD_MAX: u64 = u64::MAX - 1;

/// Which of the three filters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Read,
    Write,
    Empty,
}

impl Side {
    fn of(filter: u32) -> Self {
        match filter {
            EVFILT_READ => Self::Read,
            EVFILT_EMPTY => Self::Empty,
            _ => Self::Write,
        }
    }
}

/// What the descriptor refers to.
#[derive(Debug)]
enum Object {
    Socket,
    Pipe,
    Terminal,
    /// A file or directory, with the watch that stands in for edges.
    Disk {
        _edges: Subscription,
    },
    /// A device that never waits.
    AlwaysReady,
    Eventfd,
    Timerfd,
    Kqueue(Weak<Kqueue>),
}

/// One of these filters at work.
#[derive(Debug)]
pub(super) struct FdSource {
    fd: i32,
    side: Side,
    object: Object,
    /// For `EVFILT_EMPTY`.
    look: Alarm,
}

impl FdSource {
    /// Attaches to the descriptor that the ident names, which is open.
    ///
    /// # Errors
    /// EINVAL: it has no such filter. EBADF: WRITE on a pipe that nobody will read.
    pub(super) fn attach(
        kq: &Kqueue,
        sys: &Unix,
        cx: Cx<'_>,
        bell: &Arc<Bell>,
        kn: &Knote,
    ) -> Result<Self, Errno> {
        let fd = i32::try_from(kn.kev.ident).map_err(|_| Errno::EBADF)?;
        let side = Side::of(kn.kev.filter);
        let kind = sys.files.kind(cx.host, fd)?;
        let object = match (kind, side) {
            (Kind::Socket, _) => Object::Socket,
            (_, Side::Empty) | (Kind::Disk | Kind::Directory, Side::Write) => {
                return Err(Errno::EINVAL);
            }
            (Kind::Fifo, Side::Read) => Object::Pipe,
            (Kind::Fifo, Side::Write) => {
                check_reader(cx, fd)?;
                Object::Pipe
            }
            (Kind::Disk | Kind::Directory, Side::Read) => {
                let changes = WatchFlags::MODIFY;
                Object::Disk {
                    _edges: Subscription::new(kq, cx, bell, fd, changes)?,
                }
            }
            (Kind::Device | Kind::Random, _) => Object::Terminal,
            (Kind::Anonymous, _) => anonymous(cx, fd, side)?,
            (Kind::Object, Side::Read) => {
                let inner = sys.files.object_of::<Kqueue>(fd).ok_or(Errno::EINVAL)?;
                inner.watch(bell);
                Object::Kqueue(Arc::downgrade(&inner))
            }
            (Kind::Object, Side::Write) => return Err(Errno::EINVAL),
        };
        let object = match object {
            Object::Disk { .. } | Object::Kqueue(_) => object,
            watched if listen(cx.kernel, fd, bell) => watched,
            _ => Object::AlwaysReady,
        };
        Ok(Self {
            fd,
            side,
            object,
            look: Alarm::new(cx.kernel),
        })
    }

    /// As [`FdSource::event`], after an edge that said `edge`; if empty, something else rang.
    pub(super) fn activity(
        &mut self,
        bell: &Arc<Bell>,
        kn: &mut Knote,
        edge: Ready,
        cx: &Cx<'_>,
    ) -> bool {
        // By far the most frequent: data, and no end of them, or there would have been an edge for it.
        let is_data = edge == Ready::IN && self.side == Side::Read && !kn.has(EvFlags::EOF);
        if is_data && matches!(self.object, Object::Socket) && low_water(kn).is_none() {
            let count = self.fionread(cx).unwrap_or(0);
            if count > 0 {
                kn.kev.data = count;
                return true;
            }
        }
        self.event(bell, kn, cx)
    }

    /// Whether there is something to report; fills in data, and `EV_EOF`.
    pub(super) fn event(&mut self, bell: &Arc<Bell>, kn: &mut Knote, cx: &Cx<'_>) -> bool {
        let state = match self.side {
            Side::Read => self.readable(kn, cx),
            Side::Write => self.writable(kn, cx),
            Side::Empty => {
                let is_empty = self.outq(cx) == 0;
                if !is_empty {
                    let at = cx.kernel.machine.monotonic().saturating_add(EMPTY_LOOK);
                    self.look.set(*cx, bell, at);
                }
                State {
                    is_ready: is_empty,
                    data: 0,
                    is_eof: false,
                }
            }
        };
        kn.kev.data = state.data;
        if state.is_eof {
            kn.set(EvFlags::EOF);
        } else {
            kn.unset(EvFlags::EOF);
        }
        state.is_ready
    }

    fn readable(&self, kn: &Knote, cx: &Cx<'_>) -> State {
        let ready = cx.kernel.machine.ready_now(self.fd);
        match &self.object {
            Object::Socket if is_unconnected(ready) => State::NOT,
            Object::Socket => {
                // The host has no count for a listening socket, and refuses.
                let count = self.fionread(cx).unwrap_or(1);
                let is_eof = ready.intersects(Ready::RDHUP | Ready::HUP);
                let enough = match low_water(kn) {
                    Some(mark) => count >= mark,
                    None => ready.contains(Ready::IN),
                };
                State {
                    is_ready: enough || is_eof || ready.contains(Ready::ERR),
                    data: count,
                    is_eof,
                }
            }
            Object::Pipe => {
                let count = self.fionread(cx).unwrap_or(0);
                let is_eof = ready.intersects(Ready::HUP | Ready::ERR);
                State {
                    is_ready: count > 0 || is_eof,
                    data: count,
                    is_eof,
                }
            }
            Object::Terminal => {
                let is_eof = ready.contains(Ready::HUP);
                let is_ready = ready.contains(Ready::IN) || is_eof;
                State {
                    is_ready,
                    data: self.fionread(cx).unwrap_or(0),
                    is_eof,
                }
            }
            Object::Disk { .. } => {
                let data = self.unread(cx).unwrap_or(0);
                State {
                    is_ready: data != 0,
                    data,
                    is_eof: false,
                }
            }
            Object::AlwaysReady => State::ALWAYS,
            Object::Eventfd => State::counting(ready.contains(Ready::IN), self.count(cx, EVENTFD)),
            Object::Timerfd => State::counting(ready.contains(Ready::IN), self.count(cx, TIMERFD)),
            Object::Kqueue(inner) => {
                let pending = inner.upgrade().map_or(0, |kq| kq.pending());
                State::counting(pending > 0, u64::try_from(pending).unwrap_or(u64::MAX))
            }
        }
    }

    fn writable(&self, kn: &Knote, cx: &Cx<'_>) -> State {
        let ready = cx.kernel.machine.ready_now(self.fd);
        match &self.object {
            Object::Socket if is_unconnected(ready) => State::NOT,
            Object::Socket => {
                let space = self.socket_space(cx);
                let is_eof = ready.contains(Ready::HUP);
                let has_room =
                    ready.contains(Ready::OUT) && low_water(kn).is_none_or(|mark| space >= mark);
                State {
                    is_ready: has_room || is_eof || ready.contains(Ready::ERR),
                    data: space,
                    is_eof,
                }
            }
            Object::Pipe => {
                let is_eof = ready.intersects(Ready::ERR | Ready::HUP);
                let data = if is_eof { 0 } else { self.pipe_space(cx) };
                State {
                    is_ready: ready.contains(Ready::OUT) || is_eof,
                    data,
                    is_eof,
                }
            }
            Object::Eventfd => {
                let room = EVENTFD_MAX.saturating_sub(self.count(cx, EVENTFD));
                State::counting(ready.contains(Ready::OUT), room)
            }
            Object::Terminal => {
                let is_eof = ready.contains(Ready::HUP);
                State {
                    is_ready: ready.contains(Ready::OUT) || is_eof,
                    data: 0,
                    is_eof,
                }
            }
            Object::AlwaysReady => State::ALWAYS,
            Object::Disk { .. } | Object::Timerfd | Object::Kqueue(_) => State::NOT,
        }
    }

    fn fionread(&self, cx: &Cx<'_>) -> Option<i64> {
        let fd = cx.host.fd(self.fd).ok()?;
        i64::try_from(rustix::io::ioctl_fionread(fd).ok()?).ok()
    }

    /// Bytes not yet sent, or not yet acknowledged.
    fn outq(&self, cx: &Cx<'_>) -> i64 {
        let mut word = [0; 4];
        match cx.host.ioctl(self.fd, SIOCOUTQ, &mut word) {
            Ok(_) => i64::from(i32::from_le_bytes(word)),
            Err(_) => 0,
        }
    }

    fn socket_space(&self, cx: &Cx<'_>) -> i64 {
        let size = cx.host.fd(self.fd).ok().and_then(|fd| {
            let size = rustix::net::sockopt::socket_send_buffer_size(fd).ok()?;
            i64::try_from(size).ok()
        });
        // Half of the host's number is for its own book-keeping.
        (size.unwrap_or(0) / 2 - self.outq(cx)).max(1)
    }

    fn pipe_space(&self, cx: &Cx<'_>) -> i64 {
        let size = cx.host.fd(self.fd).ok().and_then(|fd| {
            let size = rustix::pipe::fcntl_getpipe_size(fd).ok()?;
            i64::try_from(size).ok()
        });
        (size.unwrap_or(0) - self.fionread(cx).unwrap_or(0)).max(0)
    }

    /// From the offset to the end of the file; negative if the offset is beyond it.
    fn unread(&self, cx: &Cx<'_>) -> Option<i64> {
        let fd = cx.host.fd(self.fd).ok()?;
        let size = rustix::fs::fstat(fd).ok()?.st_size;
        let offset = rustix::fs::tell(fd).ok()?;
        size.checked_sub(i64::try_from(offset).ok()?)
    }

    /// The count of an eventfd or timerfd, which the host tells in its process file system only.
    fn count(&self, cx: &Cx<'_>, (label, radix): (&str, u32)) -> u64 {
        let Ok(fd) = cx.host.fd(self.fd) else {
            return 0;
        };
        let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        field(&text, label)
            .and_then(|n| u64::from_str_radix(n, radix).ok())
            .unwrap_or(1)
    }
}

/// Where the host tells the count of an eventfd, and in which base.
const EVENTFD: (&str, u32) = ("eventfd-count:", 16);
/// The same for a timerfd.
const TIMERFD: (&str, u32) = ("ticks:", 10);

fn field<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(label))
        .map(str::trim)
}

/// What an evaluation found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct State {
    is_ready: bool,
    data: i64,
    is_eof: bool,
}

impl State {
    const NOT: Self = Self {
        is_ready: false,
        data: 0,
        is_eof: false,
    };
    const ALWAYS: Self = Self {
        is_ready: true,
        data: 0,
        is_eof: false,
    };

    fn counting(is_ready: bool, count: u64) -> Self {
        Self {
            is_ready,
            data: count.cast_signed(),
            is_eof: false,
        }
    }
}

/// The low-water mark given with the knote.
fn low_water(kn: &Knote) -> Option<i64> {
    (kn.sfflags & NOTE_LOWAT != 0).then_some(kn.sdata)
}

/// A stream socket before its connection: the host calls it hung up, but not half closed.
pub(crate) fn is_unconnected(ready: Ready) -> bool {
    ready.contains(Ready::HUP) && !ready.contains(Ready::RDHUP)
}

/// `pipe_kqfilter`: no WRITE filter on a pipe whose other end is gone.
fn check_reader(cx: Cx<'_>, fd: i32) -> Result<(), Errno> {
    let host_fd = cx.host.fd(fd).map_err(|_| Errno::EBADF)?;
    let is_pipe = rustix::fs::fstatfs(host_fd).is_ok_and(|fs| fs.f_type == PIPEFS_MAGIC);
    let is_alone = cx
        .kernel
        .machine
        .ready_now(fd)
        .intersects(Ready::ERR | Ready::HUP);
    if is_pipe && is_alone {
        Err(Errno::EBADF)
    } else {
        Ok(())
    }
}

/// What a host descriptor without a file type is.
fn anonymous(cx: Cx<'_>, fd: i32, side: Side) -> Result<Object, Errno> {
    let path = format!("/proc/self/fd/{fd}");
    let name = rustix::fs::readlink(path, Vec::new()).map_err(from_rustix)?;
    match (name.as_bytes(), side) {
        (b"anon_inode:[eventfd]", _) => Ok(Object::Eventfd),
        (b"anon_inode:[timerfd]", Side::Read) => Ok(Object::Timerfd),
        _ if cx.host.fd(fd).is_err() => Err(Errno::EBADF),
        _ => Err(Errno::EINVAL),
    }
}

/// Rings `bell` on every edge from now on; `false` if the host has no edges for such a thing.
fn listen(kernel: &Arc<Kernel>, fd: i32, bell: &Arc<Bell>) -> bool {
    let Ok(watch) = kernel.watches.get(kernel, fd) else {
        return false;
    };
    // A new registration brings an edge for the present state. The filter is asked about that anyway,
    // and the edge would make a second event of it.
    kernel.poll_events();
    let listener: Weak<Bell> = Arc::downgrade(bell);
    let listener: Weak<dyn Listener> = listener;
    watch.listen(listener);
    true
}

/// A host descriptor of our own that a source listens to; dropping it closes it.
#[derive(Debug)]
pub(super) struct Own {
    fd: OwnedFd,
    kernel: Weak<Kernel>,
}

/// Moves a new host descriptor to where the guest has none.
///
/// # Errors
/// EMFILE.
pub(super) fn own(cx: Cx<'_>, fd: OwnedFd) -> Result<Own, Errno> {
    let fd = rustix::io::fcntl_dupfd_cloexec(fd, cx.host.first_own_fd()).map_err(from_rustix)?;
    Ok(Own {
        fd,
        kernel: Arc::downgrade(cx.kernel),
    })
}

impl Own {
    /// The host's number.
    pub(super) fn number(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// Rings `bell` on every edge.
    pub(super) fn listen(&self, cx: Cx<'_>, bell: &Arc<Bell>) {
        listen(cx.kernel, self.number(), bell);
    }
}

impl AsFd for Own {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(kernel) = self.kernel.upgrade() {
            kernel.watches.gone(&kernel, self.number());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_found_in_fdinfo() {
        let text = "pos:\t0\neventfd-count:               1f\nticks: 12\n";
        assert_eq!(field(text, EVENTFD.0), Some("1f"));
        assert_eq!(field(text, TIMERFD.0), Some("12"));
        assert_eq!(field(text, "x:"), None);
    }

    #[test]
    fn a_fresh_stream_socket_is_told_from_a_closed_one() {
        assert!(is_unconnected(Ready::HUP | Ready::OUT));
        assert!(!is_unconnected(
            Ready::HUP | Ready::OUT | Ready::RDHUP | Ready::IN
        ));
        assert!(!is_unconnected(Ready::OUT));
    }
}
