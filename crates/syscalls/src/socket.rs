//! Sockets: making, naming, connecting and accepting. [`msg`] sends and receives, [`sockopt`] has options.
//!
//! A guest's socket is a socket of the host; what differs is numbers, layouts, defaults and errors. No
//! call waits in the host: accept and transfers are tried and slept for, a blocking connect runs on a
//! helper thread.
//!
//! Differs from NetBSD: a blocking connect to a local socket whose queue is full waits instead of failing.
//!
//! Sources: `uipc_syscalls.c`, `uipc_socket.c: socreate, soconnect`; syscalls.md 5.6.

mod addr;
mod control;
pub(crate) mod msg;
pub(crate) mod sockopt;

use crate::Unix;
use crate::args::Args;
use crate::copy::{copyin_struct, copyout_struct};
use crate::errno::{from_host, host_unless_interrupted, interrupted, restartable};
use crate::files::Kind;
use crate::host::Host;
use crate::sys_generic::is_nonblocking;
use addr::{HOST_ROOM, copyin_addr, copyout_addr, host_family};
use lwp_abi::errno::Errno;
use lwp_abi::signal::SigSet;
use lwp_abi::socket::{
    ADDRESS_FAMILIES, AF_INET6, AF_LOCAL, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_FLAGS, SOCK_FLAGS_MASK,
    SOCK_NONBLOCK, SOCK_NOSIGPIPE, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM,
};
use lwp_abi::table::{flags_to_linux, from_linux};
use lwp_kernel::machine::{HostErr, Ready};
use lwp_kernel::sleepq::Catch;
use lwp_kernel::{CurLwp, Ended, Outcome, Ret, SysResult};
use rustix::io::Errno as HostErrno;
use rustix::net::sockopt::{set_ipv6_v6only, socket_type};
use rustix::net::{AddressFamily, SocketType};
use std::os::fd::OwnedFd;
use std::sync::Arc;

const IPPROTO_TCP: i32 = 6;
const IPPROTO_UDP: i32 = 17;

/// The type argument of socket(2) and socketpair(2), or the flags of paccept(2).
#[derive(Clone, Copy, Debug)]
struct TypeArg {
    kind: u32,
    flags: u32,
}

impl TypeArg {
    fn new(arg: u32) -> Self {
        Self {
            kind: arg & !SOCK_FLAGS_MASK,
            flags: arg & SOCK_FLAGS_MASK,
        }
    }

    /// The host's SOCK_* flags.
    fn host_flags(self) -> i32 {
        let flags = self.flags & (SOCK_CLOEXEC | SOCK_NONBLOCK);
        flags_to_linux(SOCK_FLAGS, flags).bits.cast_signed()
    }

    /// Types 1 to 5 have the same numbers on the host.
    fn host(self) -> i32 {
        self.kind.cast_signed() | self.host_flags()
    }

    fn is_nosigpipe(self) -> bool {
        self.flags & SOCK_NOSIGPIPE != 0
    }
}

/// The protocol for the host, by the rules of `socreate`.
///
/// # Errors
/// EAFNOSUPPORT, EPROTOTYPE, EPROTONOSUPPORT: no such family, type, protocol.
fn protocol(domain: i32, kind: u32, protocol: i32) -> Result<i32, Errno> {
    if host_family(domain).is_none() {
        return Err(Errno::EAFNOSUPPORT);
    }
    let is_local = domain == i32::from(AF_LOCAL);
    let wanted = match kind {
        SOCK_STREAM | SOCK_DGRAM | SOCK_SEQPACKET if is_local => 0,
        SOCK_STREAM if !is_local => IPPROTO_TCP,
        SOCK_DGRAM if !is_local => IPPROTO_UDP,
        SOCK_RAW if !is_local => return Ok(protocol),
        _ if protocol == 0 && kind != 0 => return Err(Errno::EPROTOTYPE),
        _ => return Err(Errno::EPROTONOSUPPORT),
    };
    if protocol == 0 || (protocol == wanted && !is_local) {
        Ok(wanted)
    } else {
        Err(Errno::EPROTONOSUPPORT)
    }
}

/// `__socket30`.
///
/// # Errors
/// EAFNOSUPPORT, EPROTOTYPE, EPROTONOSUPPORT. EPERM: a raw socket. EMFILE, ENFILE, ENOBUFS.
pub(crate) fn sys_socket(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    let (domain, kind) = (a.int(0), TypeArg::new(a.uint(1)));
    let protocol = protocol(domain, kind.kind, a.int(2))?;
    let family = host_family(domain).ok_or(Errno::EAFNOSUPPORT)?;
    let socket = sys
        .host
        .socket(family, kind.host(), protocol)
        .map_err(from_host)?;
    if domain == i32::from(AF_INET6) {
        // The default on NetBSD; Linux takes IPv4 as well.
        set_ipv6_v6only(&socket, true).map_err(crate::errno::from_rustix)?;
    }
    adopt(sys, socket, kind)
}

/// Makes a new socket the guest's.
fn adopt(sys: &Unix, socket: OwnedFd, kind: TypeArg) -> SysResult {
    let fd = sys.adopt(socket)?;
    sys.files.set_nosigpipe(fd, kind.is_nosigpipe());
    Ok(Ret(u64::from(fd.unsigned_abs()), 0))
}

/// `socketpair(2)`.
///
/// # Errors
/// As [`sys_socket`]. EOPNOTSUPP: not a local family. EFAULT.
pub(crate) fn sys_socketpair(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let (domain, kind) = (a.int(0), TypeArg::new(a.uint(1)));
    let protocol = protocol(domain, kind.kind, a.int(2))?;
    if domain != i32::from(AF_LOCAL) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let family = host_family(domain).ok_or(Errno::EAFNOSUPPORT)?;
    let [one, other] = sys
        .host
        .socketpair(family, kind.host(), protocol)
        .map_err(from_host)?;
    let one = sys.adopt(one)?;
    let both = sys.adopt(other).and_then(|other| {
        let written = copyout_struct(l, &[one, other], a.ptr(3));
        written
            .inspect_err(|_| close_new(sys, l, other))
            .map(|()| other)
    });
    let other = both.inspect_err(|_| close_new(sys, l, one))?;
    for fd in [one, other] {
        sys.files.set_nosigpipe(fd, kind.is_nosigpipe());
    }
    Ok(Ret::ZERO)
}

/// Closes a descriptor that the guest was to get, and does not.
fn close_new(sys: &Unix, l: &CurLwp, fd: i32) {
    // It was made a moment ago and nobody knows of it: nobody misses an error.
    let _ = sys.close(l, fd);
}

/// That `fd` is a socket.
///
/// # Errors
/// EBADF, ENOTSOCK.
fn check_socket(sys: &Unix, fd: i32) -> Result<(), Errno> {
    match sys.files.kind(&*sys.host, fd)? {
        Kind::Socket => Ok(()),
        _ => Err(Errno::ENOTSOCK),
    }
}

fn type_of(sys: &Unix, fd: i32) -> Option<SocketType> {
    socket_type(sys.host.fd(fd).ok()?).ok()
}

pub(crate) fn is_stream(sys: &Unix, fd: i32) -> bool {
    type_of(sys, fd) == Some(SocketType::STREAM)
}

fn is_datagram(sys: &Unix, fd: i32) -> bool {
    type_of(sys, fd) == Some(SocketType::DGRAM)
}

/// `bind(2)`.
///
/// # Errors
/// EBADF, ENOTSOCK. Those of the address. EADDRINUSE, EADDRNOTAVAIL, EACCES, EINVAL.
pub(crate) fn sys_bind(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let name = copyin_addr(l, a.ptr(1), a.uint(2))?;
    check_socket(sys, a.int(0))?;
    sys.host.bind(a.int(0), &name).map_err(from_host)?;
    Ok(Ret::ZERO)
}

/// `listen(2)`: a negative backlog is 0.
///
/// # Errors
/// EBADF, ENOTSOCK, EOPNOTSUPP, EINVAL.
pub(crate) fn sys_listen(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    check_socket(sys, a.int(0))?;
    sys.host
        .listen(a.int(0), a.int(1).max(0))
        .map_err(from_host)?;
    Ok(Ret::ZERO)
}

/// `connect(2)`: interrupted, the attempt goes on.
///
/// # Errors
/// EBADF, ENOTSOCK. Those of the address. EISCONN, EALREADY, EINPROGRESS, ECONNREFUSED, ETIMEDOUT and
/// others of the network. EINTR.
pub(crate) fn sys_connect<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let fd = a.int(0);
    let name = match check_connect(sys, l, fd, a.ptr(1), a.uint(2)) {
        Ok(name) => name,
        Err(errno) => return Outcome::Done(Err(errno.into())),
    };
    if is_nonblocking(sys, fd) || is_datagram(sys, fd) {
        return Outcome::Done(connected(sys.host.connect(fd, &name)));
    }
    let host: Arc<dyn Host> = Arc::clone(&sys.host);
    Outcome::Sleep(Box::pin(async move {
        let job = move || host_unless_interrupted(host.connect(fd, &name));
        let done = l
            .run_blocking("netcon", Catch::Signals, job)
            .await
            .map_err(interrupted)?;
        connected(done)
    }))
}

fn check_connect(sys: &Unix, l: &CurLwp, fd: i32, addr: u64, len: u32) -> Result<Vec<u8>, Errno> {
    let name = copyin_addr(l, addr, len)?;
    check_socket(sys, fd)?;
    // Linux would report the success of an earlier attempt once more.
    if !is_datagram(sys, fd) && sys.host.getpeername(fd, &mut [0; HOST_ROOM]).is_ok() {
        return Err(Errno::EISCONN);
    }
    let is_internet = name
        .first()
        .is_some_and(|&family| family != 0 && family != AF_LOCAL);
    let has_port = matches!(
        type_of(sys, fd),
        Some(SocketType::STREAM | SocketType::DGRAM)
    );
    if is_internet && has_port && name.get(2..4) == Some(&[0, 0]) {
        return Err(Errno::EADDRNOTAVAIL);
    }
    Ok(name)
}

fn connected(result: Result<(), HostErr>) -> SysResult {
    match result {
        Ok(()) => Ok(Ret::ZERO),
        // The queue of a local listener is full.
        Err(err) if err.errno == HostErrno::AGAIN.raw_os_error() => Err(Errno::ECONNREFUSED.into()),
        Err(err) => Err(from_host(err).into()),
    }
}

/// `accept(2)`: the new socket inherits `O_NONBLOCK` and `O_NOSIGPIPE`.
///
/// # Errors
/// EBADF, ENOTSOCK. EINVAL: it does not listen. EOPNOTSUPP. EAGAIN. ECONNABORTED. EMFILE, ENFILE.
/// EINTR or a restart. EFAULT.
pub(crate) fn sys_accept<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let fd = a.int(0);
    let mut flags = 0;
    if is_nonblocking(sys, fd) {
        flags |= SOCK_NONBLOCK;
    }
    if sys.files.is_nosigpipe(fd) {
        flags |= SOCK_NOSIGPIPE;
    }
    accept(
        sys,
        l,
        Accept {
            fd,
            addr: a.ptr(1),
            len_addr: a.ptr(2),
            flags: TypeArg::new(flags),
        },
    )
}

/// `paccept(2)`: the new socket has the flags given, and none of the listener's. The mask is in force
/// while waiting.
///
/// # Errors
/// As [`sys_accept`].
pub(crate) fn sys_paccept<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    if a.ptr(3) != 0 {
        match copyin_struct::<SigSet>(l, a.ptr(3)) {
            Ok(mask) => l.set_sigmask_for_sleep(mask),
            Err(errno) => return Outcome::Done(Err(errno.into())),
        }
    }
    let flags = TypeArg::new(a.uint(4) & SOCK_FLAGS_MASK);
    accept(
        sys,
        l,
        Accept {
            fd: a.int(0),
            addr: a.ptr(1),
            len_addr: a.ptr(2),
            flags,
        },
    )
}

/// An accept under way.
#[derive(Clone, Copy)]
struct Accept {
    fd: i32,
    addr: u64,
    len_addr: u64,
    flags: TypeArg,
}

fn accept<'a>(sys: &'a Unix, l: &'a mut CurLwp, accept: Accept) -> Outcome<'a> {
    match accept.attempt(sys, l) {
        Some(result) => Outcome::Done(result),
        None => Outcome::Sleep(Box::pin(async move {
            loop {
                l.wait_ready(accept.fd, Ready::IN, None, "netcon")
                    .await
                    .map_err(restartable)?;
                if let Some(result) = accept.attempt(sys, l) {
                    return result;
                }
            }
        })),
    }
}

impl Accept {
    /// Takes a connection. `None` if there is none, and the LWP has to wait.
    fn attempt(self, sys: &Unix, l: &CurLwp) -> Option<SysResult> {
        if let Err(errno) = check_socket(sys, self.fd) {
            return Some(Err(errno.into()));
        }
        let mut name = [0; HOST_ROOM];
        match sys.host.accept(self.fd, &mut name, self.flags.host_flags()) {
            Ok((socket, len)) => Some(self.hand_over(sys, l, socket, &name[..len.min(HOST_ROOM)])),
            Err(err) if err.errno == HostErrno::AGAIN.raw_os_error() => {
                is_nonblocking(sys, self.fd).then_some(Err(Errno::EAGAIN.into()))
            }
            Err(err) => Some(Err(from_host(err).into())),
        }
    }

    fn hand_over(self, sys: &Unix, l: &CurLwp, socket: OwnedFd, name: &[u8]) -> SysResult {
        let accepted = adopt(sys, socket, self.flags)?;
        let name = addr::to_guest(name);
        if let Err(errno) = copyout_addr(l, name.as_deref(), self.addr, self.len_addr) {
            let fd = i32::try_from(accepted.0).map_err(|_| Errno::EBADF)?;
            close_new(sys, l, fd);
            return Err(Ended::Failed(errno));
        }
        Ok(accepted)
    }
}

/// `getsockname(2)`.
///
/// # Errors
/// EBADF, ENOTSOCK. EFAULT.
pub(crate) fn sys_getsockname(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    check_socket(sys, a.int(0))?;
    let mut name = [0; HOST_ROOM];
    let len = sys
        .host
        .getsockname(a.int(0), &mut name)
        .map_err(from_host)?;
    let name = addr::to_guest(&name[..len.min(HOST_ROOM)]);
    copyout_addr(l, name.as_deref(), a.ptr(1), a.ptr(2))?;
    Ok(Ret::ZERO)
}

/// `getpeername(2)`.
///
/// # Errors
/// As [`sys_getsockname`]. ENOTCONN.
pub(crate) fn sys_getpeername(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    check_socket(sys, a.int(0))?;
    let mut name = [0; HOST_ROOM];
    let len = sys
        .host
        .getpeername(a.int(0), &mut name)
        .map_err(from_host)?;
    let name = addr::to_guest(&name[..len.min(HOST_ROOM)]);
    copyout_addr(l, name.as_deref(), a.ptr(1), a.ptr(2))?;
    Ok(Ret::ZERO)
}

/// `shutdown(2)`.
///
/// # Errors
/// EBADF, ENOTSOCK. EINVAL: not 0, 1 or 2. ENOTCONN.
pub(crate) fn sys_shutdown(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    use rustix::net::{Shutdown, shutdown};
    check_socket(sys, a.int(0))?;
    let how = match a.int(1) {
        lwp_abi::socket::SHUT_RD => Shutdown::Read,
        lwp_abi::socket::SHUT_WR => Shutdown::Write,
        lwp_abi::socket::SHUT_RDWR => Shutdown::Both,
        _ => return Err(Errno::EINVAL.into()),
    };
    let fd = sys.host.fd(a.int(0)).map_err(from_host)?;
    shutdown(fd, how).map_err(crate::errno::from_rustix)?;
    Ok(Ret::ZERO)
}

/// The address family of a socket, in NetBSD's number.
fn family_of(sys: &Unix, fd: i32) -> Option<u8> {
    let family: AddressFamily = rustix::net::sockopt::socket_domain(sys.host.fd(fd).ok()?).ok()?;
    u8::try_from(from_linux(ADDRESS_FAMILIES, i64::from(family.as_raw()))?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: i32 = 1;
    const INET: i32 = 2;

    #[test]
    fn unknown_families_types_and_protocols_have_their_own_errors() {
        assert_eq!(protocol(99, SOCK_STREAM, 0), Err(Errno::EAFNOSUPPORT));
        assert_eq!(protocol(34, SOCK_RAW, 0), Err(Errno::EAFNOSUPPORT));
        assert_eq!(protocol(INET, 77, 0), Err(Errno::EPROTOTYPE));
        assert_eq!(protocol(INET, SOCK_SEQPACKET, 0), Err(Errno::EPROTOTYPE));
        assert_eq!(
            protocol(INET, SOCK_STREAM, IPPROTO_UDP),
            Err(Errno::EPROTONOSUPPORT)
        );
        assert_eq!(protocol(LOCAL, SOCK_STREAM, 5), Err(Errno::EPROTONOSUPPORT));
    }

    #[test]
    fn known_ones_are_passed_on() {
        assert_eq!(protocol(INET, SOCK_STREAM, 0), Ok(IPPROTO_TCP));
        assert_eq!(protocol(24, SOCK_DGRAM, IPPROTO_UDP), Ok(IPPROTO_UDP));
        assert_eq!(protocol(LOCAL, SOCK_SEQPACKET, 0), Ok(0));
    }

    #[test]
    fn the_type_argument_comes_apart() {
        let arg = TypeArg::new(SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NOSIGPIPE);
        assert_eq!((arg.kind, arg.host_flags()), (SOCK_DGRAM, 0x80000));
        assert!(arg.is_nosigpipe());
    }
}
