//! Sockets: addresses, connections, messages, options.

use rt::abi::signal::{SaFlags, Signo};
use rt::abi::socket::{
    AF_INET, AF_LOCAL, Cmsghdr, MSG_CTRUNC, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK, MSG_TRUNC,
    MSG_WAITALL, Msghdr, SCM_RIGHTS, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM,
    SockaddrIn, Unpcbid,
};
use rt::abi::sockopt::{
    LOCAL_PEEREID, SO_KEEPALIVE, SO_NOSIGPIPE, SO_RCVTIMEO, SO_SNDBUF, SO_TYPE, SOL_LOCAL,
    SOL_SOCKET,
};
use rt::abi::time::Timeval;
use rt::abi::uio::Iovec;
use rt::check::{Check, Verdict};
use rt::lwp::spawn;
use rt::process::{close, low, pipe};
use rt::sync::Word;
use rt::sys::Arg;
use rt::time::{MS, now};
use rt::{Errno, SysResult, ensure, ensure_eq, ensure_err, sig, sys};

pub(crate) const CHECKS: &[Check] = &[
    ("sock-pair-errors", pair_errors),
    ("sock-not-a-socket", not_a_socket),
    ("sock-accept-inherits", accept_inherits),
    ("sock-unnamed", unnamed),
    ("sock-flags", flags),
    ("sock-truncated", truncated),
    ("sock-waitall", waitall),
    ("sock-send-waits", send_waits),
    ("sock-timeout", timeout),
    ("sock-sigpipe", sigpipe),
    ("sock-descriptors", descriptors),
    ("sock-descriptors-without-room", descriptors_without_room),
    ("sock-options-errors", options_errors),
    ("sock-peer-id", peer_id),
    ("sock-msg-errors", msg_errors),
];

/// A stream pair of local sockets.
pub(crate) fn pair() -> Result<(i32, i32), Errno> {
    pair_of(SOCK_STREAM)
}

fn pair_of(kind: u32) -> Result<(i32, i32), Errno> {
    let mut both = [0_i32; 2];
    sys!(SYS_SOCKETPAIR, AF_LOCAL, kind, 0, &mut both)?;
    Ok((both[0], both[1]))
}

pub(crate) fn write(fd: i32, bytes: &[u8]) -> SysResult {
    sys!(SYS_WRITE, fd, bytes.as_ptr(), bytes.len())
}

/// Reads at most `len` bytes, and forgets them.
pub(crate) fn read(fd: i32, len: usize) -> SysResult {
    let mut bytes = [0_u8; 64];
    sys!(SYS_READ, fd, bytes.as_mut_ptr(), len.min(64))
}

fn socket(family: u8, kind: u32) -> Result<i32, Errno> {
    sys!(SYS_SOCKET30, family, kind, 0).map(low)
}

/// A TCP socket without anything.
pub(crate) fn tcp() -> Result<i32, Errno> {
    socket(AF_INET, SOCK_STREAM)
}

fn loopback(port: [u8; 2]) -> SockaddrIn {
    // The length byte is ignored.
    SockaddrIn {
        sin_len: 99,
        sin_family: AF_INET,
        sin_port: port,
        sin_addr: [127, 0, 0, 1],
        ..SockaddrIn::default()
    }
}

fn bind(fd: i32, addr: &SockaddrIn) -> SysResult {
    sys!(SYS_BIND, fd, addr, size_of::<SockaddrIn>())
}

pub(crate) fn connect(fd: i32, addr: &SockaddrIn) -> SysResult {
    sys!(SYS_CONNECT, fd, addr, size_of::<SockaddrIn>())
}

fn name_of(fd: i32) -> Result<SockaddrIn, Errno> {
    let (mut addr, mut len) = (SockaddrIn::default(), 16_u32);
    sys!(SYS_GETSOCKNAME, fd, &mut addr, &mut len)?;
    Ok(addr)
}

/// A listening TCP socket, and its address.
pub(crate) fn listener(flags: u32) -> Result<(i32, SockaddrIn), Errno> {
    let fd = socket(AF_INET, SOCK_STREAM | flags)?;
    bind(fd, &loopback([0, 0]))?;
    sys!(SYS_LISTEN, fd, 16)?;
    Ok((fd, name_of(fd)?))
}

fn accept(fd: i32) -> SysResult {
    sys!(SYS_ACCEPT, fd, 0_u64, 0_u64)
}

fn send(fd: i32, bytes: &[u8], flags: u32) -> SysResult {
    sys!(
        SYS_SENDTO,
        fd,
        bytes.as_ptr(),
        bytes.len(),
        flags,
        0_u64,
        0_u64
    )
}

fn receive(fd: i32, bytes: &mut [u8], flags: u32) -> SysResult {
    sys!(
        SYS_RECVFROM,
        fd,
        bytes.as_mut_ptr(),
        bytes.len(),
        flags,
        0_u64,
        0_u64
    )
}

fn pair_errors() -> Verdict {
    let mut both = [0_i32; 2];
    ensure_err!(
        sys!(SYS_SOCKETPAIR, AF_INET, SOCK_STREAM, 0, &mut both),
        EOPNOTSUPP
    );
    // Nothing is left open when the numbers cannot be written.
    let (next, _) = pair()?;
    close(next)?;
    ensure_err!(
        sys!(SYS_SOCKETPAIR, AF_LOCAL, SOCK_STREAM, 0, 8_u64),
        EFAULT
    );
    ensure_eq!(tcp()?, next);
    Ok(())
}

fn not_a_socket() -> Verdict {
    let (reader, _) = pipe()?;
    ensure_err!(accept(reader), ENOTSOCK);
    ensure_err!(send(reader, b"x", 0), ENOTSOCK);
    ensure_err!(sys!(SYS_LISTEN, reader, 1), ENOTSOCK);
    ensure_err!(sys!(SYS_LISTEN, 777, 1), EBADF);
    Ok(())
}

/// Whether fcntl(2) says that it does not wait.
fn is_nonblocking(fd: i32) -> bool {
    sys!(SYS_FCNTL, fd, 3, 0).is_ok_and(|flags| flags & 4 != 0)
}

fn is_cloexec(fd: i32) -> bool {
    sys!(SYS_FCNTL, fd, 1, 0) == Ok(1)
}

fn accept_inherits() -> Verdict {
    let (server, addr) = listener(SOCK_NONBLOCK)?;
    ensure_err!(accept(server), EAGAIN);
    let clients = [tcp()?, tcp()?, tcp()?];
    for client in clients {
        connect(client, &addr)?;
    }
    let inherited = low(accept(server)?);
    ensure!(is_nonblocking(inherited) && !is_cloexec(inherited));
    let plain = low(sys!(SYS_PACCEPT, server, 0_u64, 0_u64, 0_u64, 0)?);
    ensure!(!is_nonblocking(plain) && !is_cloexec(plain));
    let both = SOCK_CLOEXEC | SOCK_NONBLOCK;
    let flagged = low(sys!(SYS_PACCEPT, server, 0_u64, 0_u64, 0_u64, both)?);
    ensure!(is_nonblocking(flagged) && is_cloexec(flagged));
    Ok(())
}

fn unnamed() -> Verdict {
    let (one, _) = pair()?;
    let (mut addr, mut len) = ([0xff_u8; 106], 106_u32);
    sys!(SYS_GETSOCKNAME, one, &mut addr, &mut len)?;
    ensure_eq!((len, addr[0], addr[1], addr[2]), (2, 2, AF_LOCAL, 0xff));
    Ok(())
}

fn flags() -> Verdict {
    let (one, other) = pair()?;
    let mut bytes = [0; 8];
    ensure_err!(receive(one, &mut bytes, MSG_DONTWAIT), EAGAIN);
    ensure!(!is_nonblocking(one));
    send(other, b"abc", 0)?;
    ensure_eq!(receive(one, &mut bytes, MSG_PEEK), Ok(3));
    ensure_eq!(receive(one, &mut bytes[..2], 0), Ok(2));
    ensure_eq!(receive(one, &mut bytes, MSG_DONTWAIT), Ok(1));
    ensure_eq!(receive(one, &mut [], 0), Ok(0));
    Ok(())
}

/// A message header with one piece.
fn header(piece: &Iovec) -> Msghdr {
    Msghdr {
        msg_iov: piece.arg(),
        msg_iovlen: 1,
        ..Msghdr::default()
    }
}

fn piece(bytes: &mut [u8]) -> Iovec {
    Iovec {
        iov_base: bytes.as_mut_ptr().arg(),
        iov_len: bytes.len().arg(),
    }
}

fn truncated() -> Verdict {
    let (one, other) = pair_of(SOCK_DGRAM)?;
    send(other, b"abcdef", 0)?;
    let mut bytes = [0; 4];
    let piece = piece(&mut bytes);
    let mut msg = header(&piece);
    ensure_eq!(sys!(SYS_RECVMSG, one, &mut msg, 0), Ok(4));
    ensure_eq!(
        (msg.msg_flags, msg.msg_iov, msg.msg_controllen),
        (MSG_TRUNC, piece.arg(), 0)
    );
    Ok(())
}

fn waitall() -> Verdict {
    let (one, other) = pair()?;
    send(other, b"abc", 0)?;
    let reader = spawn(move || receive(one, &mut [0; 6], MSG_WAITALL));
    rt::scene::pulse()?;
    send(other, b"def", 0)?;
    ensure_eq!(reader.join()?, Ok(6));
    send(other, b"abc", 0)?;
    close(other)?;
    ensure_eq!(receive(one, &mut [0; 6], MSG_WAITALL), Ok(3));
    Ok(())
}

/// More than any socket buffer holds.
static BIG: [u8; 1 << 20] = [7; 1 << 20];

fn send_waits() -> Verdict {
    static SENT: Word = Word::new();
    let (one, other) = pair()?;
    let sender = spawn(move || {
        let sent = send(one, &BIG, 0);
        SENT.set(1);
        sent
    });
    rt::scene::pulse()?;
    ensure_eq!(SENT.get(), 0);
    let (mut bytes, mut total) = ([0; 4096], 0);
    while total < BIG.len() as u64 {
        total += receive(other, &mut bytes, 0)?;
    }
    ensure_eq!(sender.join()?, Ok(BIG.len() as u64));
    Ok(())
}

fn timeout() -> Verdict {
    let (one, _) = pair()?;
    // The padding of a timeval is not looked at.
    let limit = Timeval {
        tv_sec: 0,
        tv_usec: 20_000,
        pad: 0xffff_ffff,
    };
    sys!(SYS_SETSOCKOPT, one, SOL_SOCKET, SO_RCVTIMEO, &limit, 16_u32)?;
    let start = now();
    ensure_err!(receive(one, &mut [0; 4], 0), EAGAIN);
    ensure!((15 * MS..2000 * MS).contains(&(now() - start)));
    let (mut got, mut len) = (Timeval::ZERO, 16_u32);
    sys!(
        SYS_GETSOCKOPT,
        one,
        SOL_SOCKET,
        SO_RCVTIMEO,
        &mut got,
        &mut len
    )?;
    ensure_eq!((got.tv_sec, len), (0, 16));
    Ok(())
}

static PIPES: Word = Word::new();

extern "C" fn count(_: i32, _: &mut rt::abi::signal::Siginfo, _: &mut rt::abi::ucontext::Ucontext) {
    PIPES.add();
}

fn sigpipe() -> Verdict {
    sig::catch(Signo::SIGPIPE, count, SaFlags::empty())?;
    let (one, other) = pair()?;
    close(other)?;
    ensure_err!(send(one, b"x", 0), EPIPE);
    ensure_eq!(PIPES.get(), 1);
    ensure_err!(send(one, b"x", MSG_NOSIGNAL), EPIPE);
    ensure_eq!(PIPES.get(), 1);
    sys!(SYS_SETSOCKOPT, one, SOL_SOCKET, SO_NOSIGPIPE, &1_i32, 4_u32)?;
    ensure_err!(send(one, b"x", 0), EPIPE);
    ensure_err!(write(one, b"x"), EPIPE);
    ensure_eq!(PIPES.get(), 1);
    Ok(())
}

/// A control message with one descriptor.
#[repr(C, align(8))]
struct OneFd {
    header: Cmsghdr,
    pad: u32,
    fd: i32,
    pad2: u32,
}

fn one_fd(fd: i32) -> OneFd {
    let header = Cmsghdr {
        cmsg_len: 20,
        cmsg_level: SOL_SOCKET,
        cmsg_type: SCM_RIGHTS,
    };
    OneFd {
        header,
        pad: 0,
        fd,
        pad2: 0,
    }
}

/// Sends a byte and a descriptor.
fn send_fd(over: i32, fd: i32) -> SysResult {
    let (control, mut byte) = (one_fd(fd), [b'!']);
    let piece = piece(&mut byte);
    let msg = Msghdr {
        msg_control: control.arg(),
        msg_controllen: 24,
        ..header(&piece)
    };
    sys!(SYS_SENDMSG, over, &msg, 0)
}

fn descriptors() -> Verdict {
    let ((one, other), (reader, writer)) = (pair()?, pipe()?);
    ensure_eq!(send_fd(one, writer), Ok(1));
    let (mut control, mut byte) = (one_fd(-1), [0]);
    let piece = piece(&mut byte);
    let mut msg = Msghdr {
        msg_control: (&mut control).arg(),
        msg_controllen: 24,
        ..header(&piece)
    };
    ensure_eq!(sys!(SYS_RECVMSG, other, &mut msg, 0), Ok(1));
    ensure_eq!((msg.msg_controllen, msg.msg_flags), (20, 0));
    let head = control.header;
    ensure_eq!(
        (head.cmsg_len, head.cmsg_level, head.cmsg_type),
        (20, SOL_SOCKET, SCM_RIGHTS)
    );
    ensure!(control.fd > 2 && control.fd != writer);
    close(writer)?;
    ensure_eq!(write(control.fd, b"through"), Ok(7));
    ensure_eq!(read(reader, 16), Ok(7));
    ensure_err!(send_fd(one, 777), EBADF);
    ensure_err!(send_fd(one, crate::kqueue::kqueue()?), EBADF);
    Ok(())
}

fn descriptors_without_room() -> Verdict {
    let ((one, other), (_, writer)) = (pair()?, pipe()?);
    send_fd(one, writer)?;
    let (mut control, mut byte) = (one_fd(-1), [0]);
    let piece = piece(&mut byte);
    let mut msg = Msghdr {
        msg_control: (&mut control).arg(),
        msg_controllen: 18,
        ..header(&piece)
    };
    ensure_eq!(sys!(SYS_RECVMSG, other, &mut msg, 0), Ok(1));
    ensure_eq!((msg.msg_controllen, msg.msg_flags), (0, MSG_CTRUNC));
    // It was closed: the next number is the one after the pipe's.
    ensure_eq!(tcp()?, writer + 1);
    Ok(())
}

fn getopt(fd: i32, level: i32, name: i32) -> Result<(i32, u32), Errno> {
    let (mut value, mut len) = (-1_i32, 4_u32);
    sys!(SYS_GETSOCKOPT, fd, level, name, &mut value, &mut len)?;
    Ok((value, len))
}

fn setopt(fd: i32, level: i32, name: i32, value: i32) -> SysResult {
    sys!(SYS_SETSOCKOPT, fd, level, name, &value, 4_u32)
}

fn options_errors() -> Verdict {
    let fd = tcp()?;
    ensure_err!(getopt(fd, SOL_SOCKET, 0x7777), ENOPROTOOPT);
    ensure_err!(getopt(fd, 1, 2), ENOPROTOOPT);
    ensure_err!(setopt(fd, SOL_SOCKET, SO_TYPE, 1), ENOPROTOOPT);
    ensure_err!(setopt(fd, SOL_SOCKET, SO_SNDBUF, 0), EINVAL);
    ensure_err!(setopt(fd, SOL_SOCKET, SO_SNDBUF, 1 << 28), ENOBUFS);
    ensure_err!(
        sys!(SYS_SETSOCKOPT, fd, SOL_SOCKET, SO_KEEPALIVE, &1_i32, 2_u32),
        EINVAL
    );
    ensure_err!(
        sys!(SYS_SETSOCKOPT, fd, SOL_SOCKET, SO_KEEPALIVE, 8_u64, 4_u32),
        EFAULT
    );
    ensure_err!(
        sys!(SYS_SETSOCKOPT, fd, SOL_SOCKET, SO_KEEPALIVE, 0_u64, 4_u32),
        EINVAL
    );
    Ok(())
}

fn peer_id() -> Verdict {
    let (one, _) = pair()?;
    let (mut id, mut len) = (Unpcbid::default(), 12_u32);
    sys!(
        SYS_GETSOCKOPT,
        one,
        SOL_LOCAL,
        LOCAL_PEEREID,
        &mut id,
        &mut len
    )?;
    ensure_eq!(
        (id.unp_pid, id.unp_euid, len),
        (rt::process::pid(), rt::process::euid(), 12)
    );
    Ok(())
}

fn msg_errors() -> Verdict {
    let (one, _) = pair()?;
    let mut bytes = [0; 4];
    let piece = piece(&mut bytes);
    let many = Msghdr {
        msg_iovlen: 1025,
        ..header(&piece)
    };
    ensure_err!(sys!(SYS_SENDMSG, one, &many, 0), EMSGSIZE);
    ensure_err!(sys!(SYS_RECVMSG, one, &many, 0), EMSGSIZE);
    let short = Msghdr {
        msg_control: piece.arg(),
        msg_controllen: 8,
        ..header(&piece)
    };
    ensure_err!(sys!(SYS_SENDMSG, one, &short, 0), EINVAL);
    ensure_err!(sys!(SYS_SENDMSG, one, 8_u64, 0), EFAULT);
    let bad = Msghdr {
        msg_iov: 8,
        ..header(&piece)
    };
    ensure_err!(sys!(SYS_SENDMSG, one, &bad, 0), EFAULT);
    Ok(())
}
