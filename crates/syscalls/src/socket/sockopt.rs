//! getsockopt(2) and setsockopt(2).
//!
//! One table says what each option is on the host and how its value is to be treated; options that are
//! ours, or mean nothing, have a treatment of their own. What is not in the table is ENOPROTOOPT.
//!
//! Differs from NetBSD: `SO_SNDLOWAT` is accepted and reads as 2048; `SO_REUSEPORT` sets the host's
//! `SO_REUSEADDR` too for datagrams, which is what lets several bind one multicast port there.
//!
//! Sources: `uipc_socket.c: sosetopt1, sogetopt1`, `ip_output.c: ip_ctloutput`,
//! `ip6_output.c: ip6_ctloutput`, `tcp_usrreq.c: tcp_ctloutput`, `uipc_usrreq.c: uipc_ctloutput`;
//! syscalls.md 5.6.

use super::{check_socket, family_of, is_datagram};
use crate::Unix;
use crate::args::Args;
use crate::copy::{copyin_slice, copyin_struct, copyout, copyout_struct};
use crate::errno::from_host;
use lwp_abi::errno::Errno;
use lwp_abi::socket::{AF_LOCAL, Linger, Unpcbid};
use lwp_abi::sockopt::{
    IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP, IP_HDRINCL, IP_MINTTL, IP_MULTICAST_IF,
    IP_MULTICAST_LOOP, IP_MULTICAST_TTL, IP_PKTINFO, IP_PORTRANGE, IP_RECVDSTADDR, IP_RECVPKTINFO,
    IP_RECVTTL, IP_TOS, IP_TTL, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPV4_OPTIONS, IPV6_CHECKSUM,
    IPV6_DONTFRAG, IPV6_JOIN_GROUP, IPV6_LEAVE_GROUP, IPV6_MULTICAST_HOPS, IPV6_MULTICAST_IF,
    IPV6_MULTICAST_LOOP, IPV6_OPTIONS, IPV6_PORTRANGE, IPV6_RECVHOPLIMIT, IPV6_RECVPKTINFO,
    IPV6_RECVTCLASS, IPV6_TCLASS, IPV6_UNICAST_HOPS, IPV6_V6ONLY, LOCAL_CONNWAIT, LOCAL_CREDS,
    LOCAL_PEEREID, SO_ACCEPTCONN, SO_BROADCAST, SO_DEBUG, SO_DONTROUTE, SO_ERROR, SO_KEEPALIVE,
    SO_LINGER, SO_NOHEADER, SO_NOSIGPIPE, SO_OOBINLINE, SO_OPTIONS, SO_OVERFLOWED, SO_RCVBUF,
    SO_RCVLOWAT, SO_RCVTIMEO, SO_RERROR, SO_REUSEADDR, SO_REUSEPORT, SO_SNDBUF, SO_SNDLOWAT,
    SO_SNDTIMEO, SO_TIMESTAMP, SO_TYPE, SO_USELOOPBACK, SOL_LOCAL, SOL_SOCKET, TCP_CONGCTL,
    TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_MAXSEG, TCP_NODELAY, TCP_OPTIONS,
};
use lwp_abi::table::{Number, to_linux};
use lwp_abi::time::Timeval;
use lwp_kernel::{CurLwp, Ret, SysResult};
use zerocopy::{FromBytes, IntoBytes};

/// MCLBYTES: no option value is longer.
const VALUE_MAX: u32 = 2048;
/// `sb_max`: no socket buffer is larger.
const BUFFER_MAX: i32 = 262_144;
/// What `SO_SNDLOWAT` reads as.
const SEND_LOW_WATER: i32 = 2048;
/// Linux's `IP_RECVORIGDSTADDR`: the like of `IP_RECVDSTADDR`, and told from `IP_PKTINFO` when it comes.
const HOST_RECVORIGDSTADDR: i32 = 20;

/// Linux's numbers of level `SOL_SOCKET`.
mod linux {
    pub(super) const SOL_SOCKET: i32 = 1;
    pub(super) const SO_REUSEADDR: i32 = 2;
    pub(super) const SO_PASSCRED: i32 = 16;
    pub(super) const SO_PEERCRED: i32 = 17;
}

/// How the value of an option is treated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Treat {
    /// An int, the same on both systems.
    Int,
    /// An int that reads as 0 or 1.
    Bool,
    /// Bytes, the same on both systems.
    Bytes,
    /// A byte or an int; reads as a byte.
    Byte,
    /// A size of a buffer: the host doubles it.
    Buffer,
    /// `struct linger`.
    Linger,
    /// `struct timeval`.
    Timeval,
    /// Reads as 0 or 1; cannot be set.
    ReadBool,
    /// Reads as an int; cannot be set.
    ReadInt,
    /// A pending error, in the other system's numbers; cannot be set.
    Error,
    /// `O_NOSIGPIPE` of the descriptor.
    NoSigpipe,
    /// `SO_REUSEPORT`.
    ReusePort,
    /// The credentials of the peer; cannot be set.
    PeerCred,
    /// An int that is accepted, has no effect, and reads as this.
    Ignored(i32),
}

/// An option on the host, and how to treat it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Opt {
    level: i32,
    name: i32,
    treat: Treat,
}

/// The option that the guest means.
fn find(is_local: bool, level: i32, name: i32) -> Option<Opt> {
    match level {
        SOL_SOCKET => socket_option(name),
        SOL_LOCAL if is_local => local_option(name),
        _ if is_local => None,
        IPPROTO_IP => ip_option(name),
        IPPROTO_IPV6 => ip6_option(name),
        IPPROTO_TCP => tcp_option(name),
        _ => None,
    }
}

/// An option of a table, at `level` of the host.
fn of_table(table: &[Number], level: i32, name: i32, treat: Treat) -> Option<Opt> {
    let name = i32::try_from(to_linux(table, i64::from(name))?).ok()?;
    Some(Opt { level, name, treat })
}

/// An option that the host has nothing to do with.
const fn own(treat: Treat) -> Opt {
    Opt {
        level: 0,
        name: 0,
        treat,
    }
}

fn socket_option(name: i32) -> Option<Opt> {
    let treat = match name {
        SO_DEBUG | SO_USELOOPBACK | SO_RERROR | SO_NOHEADER | SO_OVERFLOWED => {
            return Some(own(Treat::Ignored(0)));
        }
        SO_SNDLOWAT => return Some(own(Treat::Ignored(SEND_LOW_WATER))),
        SO_NOSIGPIPE => return Some(own(Treat::NoSigpipe)),
        SO_DONTROUTE | SO_BROADCAST | SO_KEEPALIVE | SO_OOBINLINE | SO_REUSEADDR | SO_TIMESTAMP => {
            Treat::Bool
        }
        SO_REUSEPORT => Treat::ReusePort,
        SO_LINGER => Treat::Linger,
        SO_SNDBUF | SO_RCVBUF => Treat::Buffer,
        SO_RCVLOWAT => Treat::Int,
        SO_SNDTIMEO | SO_RCVTIMEO => Treat::Timeval,
        SO_ERROR => Treat::Error,
        SO_TYPE => Treat::ReadInt,
        SO_ACCEPTCONN => Treat::ReadBool,
        _ => return None,
    };
    of_table(SO_OPTIONS, linux::SOL_SOCKET, name, treat)
}

fn local_option(name: i32) -> Option<Opt> {
    let host = |name, treat| {
        Some(Opt {
            level: linux::SOL_SOCKET,
            name,
            treat,
        })
    };
    match name {
        LOCAL_CREDS => host(linux::SO_PASSCRED, Treat::Bool),
        LOCAL_PEEREID => host(linux::SO_PEERCRED, Treat::PeerCred),
        LOCAL_CONNWAIT => Some(own(Treat::Ignored(0))),
        _ => None,
    }
}

fn ip_option(name: i32) -> Option<Opt> {
    let treat = match name {
        IP_TOS | IP_TTL | IP_MINTTL => Treat::Int,
        IP_HDRINCL | IP_RECVTTL | IP_PKTINFO | IP_RECVPKTINFO => Treat::Bool,
        IP_MULTICAST_TTL | IP_MULTICAST_LOOP => Treat::Byte,
        IP_MULTICAST_IF | IP_ADD_MEMBERSHIP | IP_DROP_MEMBERSHIP => Treat::Bytes,
        IP_PORTRANGE => return Some(own(Treat::Ignored(0))),
        IP_RECVDSTADDR => {
            let name = HOST_RECVORIGDSTADDR;
            return Some(Opt {
                level: IPPROTO_IP,
                name,
                treat: Treat::Bool,
            });
        }
        _ => return None,
    };
    of_table(IPV4_OPTIONS, IPPROTO_IP, name, treat)
}

fn ip6_option(name: i32) -> Option<Opt> {
    let treat = match name {
        IPV6_UNICAST_HOPS | IPV6_MULTICAST_HOPS | IPV6_MULTICAST_IF | IPV6_CHECKSUM
        | IPV6_TCLASS => Treat::Int,
        IPV6_MULTICAST_LOOP | IPV6_V6ONLY | IPV6_RECVPKTINFO | IPV6_RECVHOPLIMIT
        | IPV6_RECVTCLASS | IPV6_DONTFRAG => Treat::Bool,
        IPV6_JOIN_GROUP | IPV6_LEAVE_GROUP => Treat::Bytes,
        IPV6_PORTRANGE => return Some(own(Treat::Ignored(0))),
        _ => return None,
    };
    of_table(IPV6_OPTIONS, IPPROTO_IPV6, name, treat)
}

fn tcp_option(name: i32) -> Option<Opt> {
    let treat = match name {
        TCP_NODELAY => Treat::Bool,
        TCP_MAXSEG | TCP_KEEPIDLE | TCP_KEEPINTVL | TCP_KEEPCNT => Treat::Int,
        TCP_CONGCTL => Treat::Bytes,
        _ => return None,
    };
    of_table(TCP_OPTIONS, IPPROTO_TCP, name, treat)
}

fn find_for(sys: &Unix, a: &Args) -> Result<Opt, Errno> {
    let is_local = family_of(sys, a.int(0)) == Some(AF_LOCAL);
    find(is_local, a.int(1), a.int(2)).ok_or(Errno::ENOPROTOOPT)
}

/// `setsockopt(2)`.
///
/// # Errors
/// EBADF, ENOTSOCK. EFAULT. EINVAL: no value, one of the wrong length, or a bad one. ENOPROTOOPT: no such
/// option, or it cannot be set. EDOM: a time that is too long. ENOBUFS: a buffer that is too large.
pub(crate) fn sys_setsockopt(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let (addr, len) = (a.ptr(3), a.uint(4));
    if (addr == 0 && len != 0) || len > VALUE_MAX {
        return Err(Errno::EINVAL.into());
    }
    check_socket(sys, a.int(0))?;
    let value = match addr {
        0 => Vec::new(),
        _ => copyin_slice::<u8>(l, addr, usize::try_from(len).map_err(|_| Errno::EINVAL)?)?,
    };
    set(sys, a.int(0), find_for(sys, a)?, &value)?;
    Ok(Ret::ZERO)
}

/// The value as an int (`sockopt_getint`).
fn int(value: &[u8]) -> Result<i32, Errno> {
    i32::read_from_bytes(value).map_err(|_| Errno::EINVAL)
}

fn set(sys: &Unix, fd: i32, opt: Opt, value: &[u8]) -> Result<(), Errno> {
    let on_host = |value: &[u8]| {
        sys.host
            .setsockopt(fd, opt.level, opt.name, value)
            .map_err(from_host)
    };
    match opt.treat {
        Treat::Int => on_host(&int(value)?.to_ne_bytes()),
        Treat::Bool => on_host(&i32::from(int(value)? != 0).to_ne_bytes()),
        Treat::Bytes => on_host(value),
        Treat::Byte => on_host(&byte_or_int(value)?.to_ne_bytes()),
        Treat::Buffer => on_host(&buffer_size(int(value)?)?.to_ne_bytes()),
        Treat::Linger => on_host(linger(value)?.as_bytes()),
        Treat::Timeval => on_host(timeval(value)?.as_bytes()),
        Treat::NoSigpipe => {
            sys.files.set_nosigpipe(fd, int(value)? != 0);
            Ok(())
        }
        Treat::ReusePort => {
            let is_set = i32::from(int(value)? != 0).to_ne_bytes();
            if is_datagram(sys, fd) {
                sys.host
                    .setsockopt(fd, linux::SOL_SOCKET, linux::SO_REUSEADDR, &is_set)
                    .map_err(from_host)?;
            }
            on_host(&is_set)
        }
        Treat::Ignored(_) => int(value).map(|_| ()),
        Treat::ReadBool | Treat::ReadInt | Treat::Error | Treat::PeerCred => {
            Err(Errno::ENOPROTOOPT)
        }
    }
}

/// `ip_setmoptions`: a byte, or an int that is one.
fn byte_or_int(value: &[u8]) -> Result<i32, Errno> {
    match value {
        &[byte] => Ok(i32::from(byte)),
        _ => int(value).and_then(|int| u8::try_from(int).map(i32::from).map_err(|_| Errno::EINVAL)),
    }
}

/// `sbreserve`. The host doubles what it is given, and gives it back doubled.
fn buffer_size(size: i32) -> Result<i32, Errno> {
    match size {
        ..1 => Err(Errno::EINVAL),
        1..=BUFFER_MAX => Ok(size),
        _ => Err(Errno::ENOBUFS),
    }
}

fn linger(value: &[u8]) -> Result<Linger, Errno> {
    let linger = Linger::read_from_bytes(value).map_err(|_| Errno::EINVAL)?;
    // INT_MAX ticks of 10 ms.
    if (0..=i32::MAX / 100).contains(&linger.l_linger) {
        Ok(linger)
    } else {
        Err(Errno::EDOM)
    }
}

/// The padding of a guest's timeval may hold anything: on the host those are bits of the microseconds.
fn timeval(value: &[u8]) -> Result<Timeval, Errno> {
    let time = Timeval::read_from_bytes(value).map_err(|_| Errno::EINVAL)?;
    let is_short = (0..=i64::from(i32::MAX) / 100).contains(&time.tv_sec);
    if is_short && time.has_valid_usec() {
        Ok(Timeval { pad: 0, ..time })
    } else {
        Err(Errno::EDOM)
    }
}

/// `getsockopt(2)`: a value longer than the room for it is cut off.
///
/// # Errors
/// EBADF, ENOTSOCK. EFAULT. EINVAL. ENOPROTOOPT.
pub(crate) fn sys_getsockopt(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let (addr, len_addr) = (a.ptr(3), a.ptr(4));
    let room = if addr == 0 {
        0
    } else {
        copyin_struct::<u32>(l, len_addr)?
    };
    if room > VALUE_MAX {
        return Err(Errno::EINVAL.into());
    }
    check_socket(sys, a.int(0))?;
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    let value = get(sys, a.int(0), find_for(sys, a)?, room)?;
    let value = &value[..value.len().min(room)];
    if addr != 0 {
        copyout(l, value, addr)?;
        copyout_struct(l, &u32::try_from(value.len()).unwrap_or(0), len_addr)?;
    }
    Ok(Ret::ZERO)
}

fn get(sys: &Unix, fd: i32, opt: Opt, room: usize) -> Result<Vec<u8>, Errno> {
    let bytes = |len: usize| {
        let mut value = vec![0; len];
        let len = sys
            .host
            .getsockopt(fd, opt.level, opt.name, &mut value)
            .map_err(from_host)?;
        value.truncate(len);
        Ok(value)
    };
    let word = || int(&bytes(size_of::<i32>())?);
    let value = match opt.treat {
        Treat::Int | Treat::ReadInt => word()?,
        Treat::Bool | Treat::ReadBool | Treat::ReusePort => i32::from(word()? != 0),
        Treat::Byte => return Ok(vec![u8::try_from(word()?).unwrap_or(u8::MAX)]),
        Treat::Buffer => word()? / 2,
        Treat::Error => match word()? {
            0 => 0,
            errno => Errno::from_linux(errno).raw(),
        },
        Treat::NoSigpipe => i32::from(sys.files.is_nosigpipe(fd)),
        Treat::Ignored(value) => value,
        Treat::Bytes => return bytes(room),
        Treat::Linger => return bytes(size_of::<Linger>()),
        Treat::Timeval => return bytes(size_of::<Timeval>()),
        Treat::PeerCred => return peer(sys, &bytes(size_of::<Unpcbid>())?),
    };
    Ok(value.to_ne_bytes().to_vec())
}

/// `LOCAL_PEEREID`: the host's ucred has the same three words, and pid 0 if there is no peer.
fn peer(sys: &Unix, ucred: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut id = Unpcbid::read_from_bytes(ucred).map_err(|_| Errno::EINVAL)?;
    if id.unp_pid == 0 {
        Err(Errno::EINVAL)
    } else {
        id.unp_pid = sys.pids.to_guest(id.unp_pid);
        Ok(id.as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_decides_what_a_number_means() {
        let name =
            |is_local, level, name| find(is_local, level, name).map(|opt| (opt.level, opt.name));
        assert_eq!(name(false, SOL_SOCKET, SO_REUSEADDR), Some((1, 2)));
        assert_eq!(name(false, IPPROTO_TCP, TCP_KEEPIDLE), Some((6, 4)));
        assert_eq!(name(false, IPPROTO_IP, IP_TTL), Some((0, 2)));
        assert_eq!(name(true, SOL_LOCAL, LOCAL_PEEREID), Some((1, 17)));
        assert_eq!(name(true, IPPROTO_TCP, TCP_NODELAY), None);
        assert_eq!(name(false, 1, 2), None);
    }

    #[test]
    fn sizes_of_buffers_have_limits() {
        assert_eq!(buffer_size(0), Err(Errno::EINVAL));
        assert_eq!(buffer_size(4096), Ok(4096));
        assert_eq!(buffer_size(BUFFER_MAX + 1), Err(Errno::ENOBUFS));
    }

    #[test]
    fn garbage_in_the_padding_of_a_timeval_is_dropped() {
        let guest = Timeval {
            tv_sec: 1,
            tv_usec: 5,
            pad: 0xdead_beef,
        };
        assert_eq!(timeval(guest.as_bytes()), Ok(Timeval { pad: 0, ..guest }));
        let long = Timeval {
            tv_sec: i64::MAX,
            ..guest
        };
        assert_eq!(timeval(long.as_bytes()), Err(Errno::EDOM));
        assert_eq!(timeval(&[0; 8]), Err(Errno::EINVAL));
    }

    #[test]
    fn lingering_for_ever_is_out_of_range() {
        let linger_for = |l_linger| {
            linger(
                Linger {
                    l_onoff: 1,
                    l_linger,
                }
                .as_bytes(),
            )
        };
        assert!(linger_for(10).is_ok());
        assert_eq!(linger_for(-1), Err(Errno::EDOM));
        assert_eq!(linger_for(i32::MAX), Err(Errno::EDOM));
    }

    #[test]
    fn a_byte_option_is_a_byte_or_an_int_that_is_one() {
        assert_eq!(byte_or_int(&[7]), Ok(7));
        assert_eq!(byte_or_int(&7i32.to_ne_bytes()), Ok(7));
        assert_eq!(byte_or_int(&300i32.to_ne_bytes()), Err(Errno::EINVAL));
        assert_eq!(byte_or_int(&[1, 2]), Err(Errno::EINVAL));
    }
}
