//! Sockets: TCP over the loopback, local ones.

use rt::abi::signal::Signo;
use rt::abi::socket::{
    AF_INET, AF_LOCAL, MSG_DONTWAIT, MSG_PEEK, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM, SockaddrIn,
};
use rt::abi::sockopt::{SO_ERROR, SO_REUSEADDR, SO_TYPE, SOL_SOCKET};
use rt::check::{Check, Verdict};
use rt::lwp::spawn;
use rt::process::{close, low, read, write};
use rt::{Errno, ensure, ensure_eq, ensure_err, sig, sys, sysctl, vm};

pub(crate) const CHECKS: &[Check] = &[
    ("socket/errors", socket_errors),
    ("tcp/echo", tcp_echo),
    ("tcp/accept-blocks", accept_blocks),
    ("tcp/accept-inherits", accept_inherits_nonblock),
    ("tcp/refused", refused),
    ("tcp/nonblocking", nonblocking_connect),
    ("tcp/shutdown", half_closed),
    ("tcp/EPIPE", broken_connection),
    ("tcp/names", names),
    ("socketpair", pair),
    ("socketpair/EOPNOTSUPP", pair_of_inet),
    ("sockopt", options),
    ("recv/flags", receive_flags),
    ("udp", datagrams),
    ("local/path", local_path),
    ("close/wakes-accept", close_wakes_accept),
];

/// Port `port` of the loopback.
fn loopback(port: [u8; 2]) -> SockaddrIn {
    SockaddrIn {
        sin_len: 16,
        sin_family: AF_INET,
        sin_port: port,
        sin_addr: [127, 0, 0, 1],
        sin_zero: [0; 8],
    }
}

fn socket(family: u8, kind: u32) -> Result<i32, Errno> {
    sys!(SYS_SOCKET30, family, kind, 0).map(low)
}

fn address_of(fd: i32) -> Result<(SockaddrIn, u32), Errno> {
    let (mut addr, mut len) = (loopback([0, 0]), 16_u32);
    sys!(SYS_GETSOCKNAME, fd, &mut addr, &mut len)?;
    Ok((addr, len))
}

/// A listening socket and its address.
pub(crate) fn listener(kind: u32) -> Result<(i32, SockaddrIn), Errno> {
    let fd = socket(AF_INET, SOCK_STREAM | kind)?;
    sys!(SYS_BIND, fd, &loopback([0, 0]), 16)?;
    sys!(SYS_LISTEN, fd, 16)?;
    Ok((fd, address_of(fd)?.0))
}

/// Both ends of a connection: the one that connected, the one that was accepted.
fn connection() -> Result<(i32, i32), Errno> {
    let (listener, addr) = listener(0)?;
    let near = socket(AF_INET, SOCK_STREAM)?;
    sys!(SYS_CONNECT, near, &addr, 16)?;
    let far = low(sys!(SYS_PACCEPT, listener, 0, 0, 0, 0)?);
    close(listener)?;
    Ok((near, far))
}

fn socket_errors() -> Verdict {
    ensure_err!(socket(99, SOCK_STREAM), EAFNOSUPPORT);
    ensure_err!(sys!(SYS_BIND, 9999, &loopback([0, 0]), 16), EBADF);
    let (end, _) = rt::process::pipe()?;
    ensure_err!(sys!(SYS_LISTEN, end, 1), ENOTSOCK);
    let fd = socket(AF_INET, SOCK_STREAM)?;
    ensure_err!(sys!(SYS_BIND, fd, vm::NOWHERE, 16), EFAULT);
    ensure_err!(sys!(SYS_BIND, fd, &loopback([0, 0]), 1), EINVAL);
    ensure_err!(sys!(SYS_PACCEPT, fd, 0, 0, 0, 0), EINVAL);
    ensure_err!(read(fd, &mut [0]), ENOTCONN);
    Ok(())
}

fn tcp_echo() -> Verdict {
    let (near, far) = connection()?;
    let server = spawn(move || {
        let mut buf = [0; 256];
        let mut total = 0;
        loop {
            match read(far, &mut buf)? {
                0 => return Ok::<_, Errno>(total),
                n => total += write(far, &buf[..usize::try_from(n).unwrap_or(0)])?,
            }
        }
    });
    for round in 0..100_u8 {
        let message = [round; 100];
        ensure_eq!(write(near, &message), Ok(100));
        let (mut back, mut got) = ([0; 100], 0);
        while got < 100 {
            got += usize::try_from(read(near, &mut back[got..])?).unwrap_or(0);
        }
        ensure!(back == message);
    }
    close(near)?;
    ensure_eq!(server.join()?, Ok(10_000));
    Ok(())
}

fn accept_blocks() -> Verdict {
    let (fd, addr) = listener(0)?;
    let task = spawn(move || {
        let (mut peer, mut len) = (loopback([0, 0]), 255_u32);
        let accepted = sys!(SYS_ACCEPT, fd, &mut peer, &mut len)?;
        Ok::<_, Errno>((low(accepted), peer, len))
    });
    sysctl::until_sleeping(task.lid)?;
    let near = socket(AF_INET, SOCK_STREAM)?;
    sys!(SYS_CONNECT, near, &addr, 16)?;
    let (far, peer, len) = task.join()??;
    ensure_eq!((len, peer.sin_len, peer.sin_family), (16, 16, 2));
    ensure_eq!(peer.sin_port, address_of(near)?.0.sin_port);
    ensure_eq!(write(far, b"hi"), Ok(2));
    ensure_eq!(read(near, &mut [0; 4]), Ok(2));
    Ok(())
}

fn accept_inherits_nonblock() -> Verdict {
    const F_GETFL: i32 = 3;
    const O_RDWR_NONBLOCK: u64 = 0x2 | 0x4;
    let (fd, addr) = listener(SOCK_NONBLOCK)?;
    ensure_err!(sys!(SYS_ACCEPT, fd, 0, 0), EAGAIN);
    let connect = || {
        let near = socket(AF_INET, SOCK_STREAM)?;
        sys!(SYS_CONNECT, near, &addr, 16)
    };
    connect()?;
    connect()?;
    let first = low(sys!(SYS_ACCEPT, fd, 0, 0)?);
    ensure_eq!(sys!(SYS_FCNTL, first, F_GETFL, 0), Ok(O_RDWR_NONBLOCK));
    let second = low(sys!(SYS_PACCEPT, fd, 0, 0, 0, 0)?);
    ensure_eq!(sys!(SYS_FCNTL, second, F_GETFL, 0), Ok(2));
    Ok(())
}

fn refused() -> Verdict {
    let (fd, addr) = listener(0)?;
    close(fd)?;
    let near = socket(AF_INET, SOCK_STREAM)?;
    ensure_err!(sys!(SYS_CONNECT, near, &addr, 16), ECONNREFUSED);
    Ok(())
}

/// An option of the socket level that is an int.
fn option(fd: i32, name: i32) -> Result<i32, Errno> {
    let (mut value, mut len) = (0_i32, 4_u32);
    sys!(SYS_GETSOCKOPT, fd, SOL_SOCKET, name, &mut value, &mut len)?;
    Ok(value)
}

fn nonblocking_connect() -> Verdict {
    let (fd, addr) = listener(0)?;
    let near = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK)?;
    let first = sys!(SYS_CONNECT, near, &addr, 16);
    ensure!(
        matches!(first, Ok(0) | Err(Errno::EINPROGRESS)),
        "{first:?}"
    );
    let far = low(sys!(SYS_PACCEPT, fd, 0, 0, 0, 0)?);
    ensure_eq!(option(near, SO_ERROR)?, 0);
    ensure_err!(sys!(SYS_CONNECT, near, &addr, 16), EISCONN);
    ensure_err!(read(near, &mut [0]), EAGAIN);
    write(far, b"x")?;
    rt::sync::until("a byte", || read(near, &mut [0]) == Ok(1))?;
    Ok(())
}

fn half_closed() -> Verdict {
    let (near, far) = connection()?;
    write(near, b"last")?;
    sys!(SYS_SHUTDOWN, near, 1)?;
    let mut buf = [0; 16];
    ensure_eq!(read(far, &mut buf), Ok(4));
    ensure_eq!(read(far, &mut buf), Ok(0));
    ensure_eq!(write(far, b"answer"), Ok(6));
    ensure_eq!(read(near, &mut buf), Ok(6));
    ensure_err!(sys!(SYS_SHUTDOWN, near, 7), EINVAL);
    Ok(())
}

fn broken_connection() -> Verdict {
    sig::ignore(Signo::SIGPIPE)?;
    let (near, _far) = connection()?;
    sys!(SYS_SHUTDOWN, near, 1)?;
    ensure_err!(write(near, b"x"), EPIPE);
    sig::default(Signo::SIGPIPE)?;
    let status = rt::process::in_child(|| {
        let _ = write(near, b"x");
        3
    })?;
    ensure_eq!(status.signal(), Some(Signo::SIGPIPE.raw()));
    Ok(())
}

fn names() -> Verdict {
    let (near, far) = connection()?;
    let (own, len) = address_of(near)?;
    ensure_eq!((len, own.sin_len, own.sin_addr), (16, 16, [127, 0, 0, 1]));
    let (mut peer, mut len) = (loopback([0, 0]), 16_u32);
    sys!(SYS_GETPEERNAME, far, &mut peer, &mut len)?;
    ensure_eq!(peer.sin_port, own.sin_port);
    // Never more than there is room for, and that is what is told.
    let (mut short, mut len) = ([0xee_u8; 8], 4_u32);
    sys!(SYS_GETPEERNAME, far, short.as_mut_ptr(), &mut len)?;
    ensure_eq!((len, short[4..].as_ref()), (4, [0xee; 4].as_slice()));
    ensure_eq!(&short[..4], &[16, 2, own.sin_port[0], own.sin_port[1]]);
    let lone = socket(AF_INET, SOCK_STREAM)?;
    ensure_err!(
        sys!(SYS_GETPEERNAME, lone, &mut peer, &mut 16_u32),
        ENOTCONN
    );
    Ok(())
}

fn socketpair(kind: u32) -> Result<(i32, i32), Errno> {
    let mut fds = [0_i32; 2];
    sys!(SYS_SOCKETPAIR, AF_LOCAL, kind, 0, fds.as_mut_ptr())?;
    Ok((fds[0], fds[1]))
}

fn pair() -> Verdict {
    let (a, b) = socketpair(SOCK_STREAM)?;
    let mut buf = [0; 8];
    ensure_eq!(write(a, b"abc"), Ok(3));
    ensure_eq!(read(b, &mut buf), Ok(3));
    let task = spawn(move || read(a, &mut [0; 8]));
    sysctl::until_sleeping(task.lid)?;
    ensure_eq!(write(b, b"defg"), Ok(4));
    ensure_eq!(task.join()?, Ok(4));
    close(b)?;
    ensure_eq!(read(a, &mut buf), Ok(0));
    Ok(())
}

fn pair_of_inet() -> Verdict {
    let mut fds = [0_i32; 2];
    ensure_err!(
        sys!(SYS_SOCKETPAIR, AF_INET, SOCK_STREAM, 0, fds.as_mut_ptr()),
        EOPNOTSUPP
    );
    Ok(())
}

fn options() -> Verdict {
    let fd = socket(AF_INET, SOCK_STREAM)?;
    ensure_eq!(option(fd, SO_TYPE)?, 1);
    ensure_eq!(option(fd, SO_REUSEADDR)?, 0);
    sys!(SYS_SETSOCKOPT, fd, SOL_SOCKET, SO_REUSEADDR, &5_i32, 4)?;
    ensure!(option(fd, SO_REUSEADDR)? != 0);
    ensure_err!(
        sys!(SYS_SETSOCKOPT, fd, SOL_SOCKET, 0x7777, &1_i32, 4),
        ENOPROTOOPT
    );
    ensure_err!(
        sys!(SYS_SETSOCKOPT, 9999, SOL_SOCKET, SO_REUSEADDR, &1_i32, 4),
        EBADF
    );
    Ok(())
}

fn receive_flags() -> Verdict {
    let (a, b) = socketpair(SOCK_STREAM)?;
    let mut buf = [0_u8; 8];
    let at = buf.as_mut_ptr();
    ensure_err!(sys!(SYS_RECVFROM, b, at, 8, MSG_DONTWAIT, 0, 0), EAGAIN);
    write(a, b"peek")?;
    ensure_eq!(sys!(SYS_RECVFROM, b, at, 8, MSG_PEEK, 0, 0), Ok(4));
    ensure_eq!(sys!(SYS_RECVFROM, b, at, 8, 0, 0, 0), Ok(4));
    ensure_eq!(&buf[..4], b"peek");
    Ok(())
}

fn datagrams() -> Verdict {
    let (a, b) = (socket(AF_INET, SOCK_DGRAM)?, socket(AF_INET, SOCK_DGRAM)?);
    sys!(SYS_BIND, a, &loopback([0, 0]), 16)?;
    let to = address_of(a)?.0;
    ensure_err!(sys!(SYS_SENDTO, b, b"x".as_ptr(), 1, 0, 0, 0), EDESTADDRREQ);
    ensure_eq!(
        sys!(SYS_SENDTO, b, b"datagram".as_ptr(), 8, 0, &to, 16),
        Ok(8)
    );
    let (mut from, mut len, mut buf) = (loopback([0, 0]), 16_u32, [0_u8; 32]);
    let at = buf.as_mut_ptr();
    ensure_eq!(sys!(SYS_RECVFROM, a, at, 32, 0, &mut from, &mut len), Ok(8));
    ensure_eq!((len, from.sin_port), (16, address_of(b)?.0.sin_port));
    Ok(())
}

fn local_path() -> Verdict {
    const PATH: &[u8] = b"io-socket.tmp";
    let mut addr = [0_u8; 106];
    (addr[0], addr[1]) = (106, 1);
    addr[2..2 + PATH.len()].copy_from_slice(PATH);
    let _ = sys!(SYS_UNLINK, c"io-socket.tmp");
    let fd = socket(AF_LOCAL, SOCK_STREAM)?;
    sys!(SYS_BIND, fd, addr.as_ptr(), 106)?;
    let again = socket(AF_LOCAL, SOCK_STREAM)?;
    ensure_err!(sys!(SYS_BIND, again, addr.as_ptr(), 106), EADDRINUSE);
    sys!(SYS_LISTEN, fd, 1)?;
    sys!(SYS_CONNECT, again, addr.as_ptr(), 106)?;
    let far = low(sys!(SYS_ACCEPT, fd, 0, 0)?);
    write(again, b"path")?;
    ensure_eq!(read(far, &mut [0; 8]), Ok(4));
    sys!(SYS_UNLINK, c"io-socket.tmp")?;
    ensure_err!(
        sys!(
            SYS_CONNECT,
            socket(AF_LOCAL, SOCK_STREAM)?,
            addr.as_ptr(),
            106
        ),
        ENOENT
    );
    Ok(())
}

fn close_wakes_accept() -> Verdict {
    let (fd, _) = listener(0)?;
    let task = spawn(move || sys!(SYS_ACCEPT, fd, 0, 0));
    sysctl::until_sleeping(task.lid)?;
    close(fd)?;
    let result = task.join()?;
    ensure!(
        matches!(result, Err(Errno::EBADF | Errno::ECONNABORTED)),
        "{result:?}"
    );
    Ok(())
}
