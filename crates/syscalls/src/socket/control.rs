//! Control messages.
//!
//! NetBSD's header has 12 bytes and pads to 16; Linux's has 16. So data begin at 16 on both, lengths are
//! the same numbers, and only the header words move.
//!
//! | NetBSD | Linux | |
//! |---|---|---|
//! | `SCM_RIGHTS` | `SCM_RIGHTS` | received all or none |
//! | `SCM_CREDS` | `SCM_CREDENTIALS` | from the host's ucred, without groups |
//! | `SCM_TIMESTAMP` | `SO_TIMESTAMP` | the same bytes |
//! | `IP_PKTINFO` | `IP_PKTINFO` | in another order |
//! | `IP_RECVDSTADDR` | `IP_ORIGDSTADDR` | the address of a sockaddr |
//! | `IP_RECVTTL` | `IP_TTL` | a byte for an int |
//! | `IPV6_PKTINFO`, _HOPLIMIT, _TCLASS | the same names | the same bytes |
//!
//! Sources: `uipc_usrreq.c: unp_internalize, unp_externalize`, `uipc_syscalls.c: copyout_msg_control`;
//! syscalls.md 5.6.

use crate::pids::Pids;
use lwp_abi::errno::Errno;
use lwp_abi::socket::{Cmsghdr, InPktinfo, SCM_CREDS, SCM_RIGHTS, SCM_TIMESTAMP, Sockcred};
use lwp_abi::sockopt::{
    IP_PKTINFO, IP_RECVDSTADDR, IP_RECVTTL, IP_SENDSRCADDR, IPPROTO_IP, IPPROTO_IPV6,
    IPV6_HOPLIMIT, IPV6_OPTIONS, IPV6_PKTINFO, IPV6_TCLASS, SOL_SOCKET,
};
use lwp_abi::table::{from_linux, to_linux};
use zerocopy::{FromBytes, IntoBytes};

/// Linux's level and types.
mod linux {
    pub(super) const SOL_SOCKET: i32 = 1;
    pub(super) const SCM_RIGHTS: i32 = 1;
    pub(super) const SCM_CREDENTIALS: i32 = 2;
    pub(super) const SCM_TIMESTAMP: i32 = 29;
    pub(super) const IP_TTL: i32 = 2;
    pub(super) const IP_PKTINFO: i32 = 8;
    pub(super) const IP_ORIGDSTADDR: i32 = 20;
}

/// Length of the header on both systems, with padding.
const HEADER: usize = Cmsghdr::DATA;

/// One control message of the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Message<'a> {
    level: i32,
    kind: i32,
    data: &'a [u8],
}

/// The bytes of a field at a fixed place.
fn word<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

fn int(bytes: &[u8]) -> Option<i32> {
    word::<4>(bytes, 0).map(i32::from_ne_bytes)
}

/// The guest's control messages, as the host has them.
///
/// `check_fd` judges each descriptor that is to be sent.
///
/// # Errors
/// EINVAL: lengths that do not fit, or a message that cannot be sent. EBADF: by `check_fd`.
pub(super) fn to_host(
    guest: &[u8],
    check_fd: impl Fn(i32) -> Result<(), Errno>,
) -> Result<Vec<u8>, Errno> {
    let mut host = Vec::new();
    let mut rest = guest;
    while !rest.is_empty() {
        let (header, _) = Cmsghdr::read_from_prefix(rest).map_err(|_| Errno::EINVAL)?;
        let len = usize::try_from(header.cmsg_len).map_err(|_| Errno::EINVAL)?;
        let data = rest.get(HEADER..len).ok_or(Errno::EINVAL)?;
        put_for_host(
            &mut host,
            header.cmsg_level,
            header.cmsg_type,
            data,
            &check_fd,
        )?;
        let space = Cmsghdr::space(data.len()).ok_or(Errno::EINVAL)?;
        rest = rest.get(space..).unwrap_or_default();
    }
    Ok(host)
}

fn put_for_host(
    host: &mut Vec<u8>,
    level: i32,
    kind: i32,
    data: &[u8],
    check_fd: impl Fn(i32) -> Result<(), Errno>,
) -> Result<(), Errno> {
    match (level, kind) {
        (SOL_SOCKET, SCM_RIGHTS) => {
            let fds = data.as_chunks::<4>().0;
            fds.iter()
                .try_for_each(|fd| check_fd(i32::from_ne_bytes(*fd)))?;
            put_host(
                host,
                linux::SOL_SOCKET,
                linux::SCM_RIGHTS,
                fds.as_flattened(),
            );
        }
        (IPPROTO_IP, IP_PKTINFO) => {
            let (info, _) = InPktinfo::read_from_prefix(data).map_err(|_| Errno::EINVAL)?;
            let index = info.ipi_ifindex.to_ne_bytes();
            put_host(
                host,
                level,
                linux::IP_PKTINFO,
                &[index, info.ipi_addr, [0; 4]].concat(),
            );
        }
        (IPPROTO_IP, IP_SENDSRCADDR) => {
            let addr = word::<4>(data, 0).ok_or(Errno::EINVAL)?;
            put_host(
                host,
                level,
                linux::IP_PKTINFO,
                &[[0; 4], addr, [0; 4]].concat(),
            );
        }
        (IPPROTO_IPV6, IPV6_PKTINFO | IPV6_HOPLIMIT | IPV6_TCLASS) => {
            let kind = to_linux(IPV6_OPTIONS, i64::from(kind)).ok_or(Errno::EINVAL)?;
            put_host(
                host,
                level,
                i32::try_from(kind).map_err(|_| Errno::EINVAL)?,
                data,
            );
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}

fn put_host(host: &mut Vec<u8>, level: i32, kind: i32, data: &[u8]) {
    host.extend((HEADER + data.len()).to_ne_bytes());
    host.extend(level.to_ne_bytes());
    host.extend(kind.to_ne_bytes());
    host.extend(data);
    host.resize(host.len().next_multiple_of(8), 0);
}

/// The messages in the host's control data; what does not fit ends them.
fn messages(host: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = host;
    core::iter::from_fn(move || {
        let len = usize::from_ne_bytes(word(rest, 0)?);
        let level = i32::from_ne_bytes(word(rest, 8)?);
        let kind = i32::from_ne_bytes(word(rest, 12)?);
        let data = rest.get(HEADER..len)?;
        rest = rest
            .get(len.checked_next_multiple_of(8)?..)
            .unwrap_or_default();
        Some(Message { level, kind, data })
    })
}

/// What the guest gets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct ForGuest {
    /// The bytes, without padding behind the last message.
    pub(super) bytes: Vec<u8>,
    /// Not everything had room.
    pub(super) is_truncated: bool,
    /// Descriptors that came and have no room: to be closed.
    pub(super) refused: Vec<i32>,
}

/// The host's control messages as the guest has them, in `room` bytes.
pub(super) fn to_guest(host: &[u8], room: usize, pids: &Pids) -> ForGuest {
    let mut out = ForGuest::default();
    for message in messages(host) {
        let Some((level, kind, data)) = for_guest(message, pids) else {
            continue;
        };
        if out.is_truncated || !out.put(room, level, kind, &data) {
            out.is_truncated = true;
            if (level, kind) == (SOL_SOCKET, SCM_RIGHTS) {
                let fds = message.data.as_chunks::<4>().0;
                out.refused
                    .extend(fds.iter().map(|fd| i32::from_ne_bytes(*fd)));
            }
        }
    }
    out
}

/// All descriptors in the host's control messages.
pub(super) fn descriptors(host: &[u8]) -> Vec<i32> {
    to_guest(host, 0, &Pids::default()).refused
}

impl ForGuest {
    fn put(&mut self, room: usize, level: i32, kind: i32, data: &[u8]) -> bool {
        let begin = self.bytes.len().next_multiple_of(8);
        let Some(cmsg_len) = Cmsghdr::len(data.len()) else {
            return false;
        };
        if begin + HEADER + data.len() > room {
            return false;
        }
        self.bytes.resize(begin, 0);
        let header = Cmsghdr {
            cmsg_len,
            cmsg_level: level,
            cmsg_type: kind,
        };
        self.bytes.extend(header.as_bytes());
        self.bytes.resize(begin + HEADER, 0);
        self.bytes.extend(data);
        true
    }
}

/// One message, if NetBSD has its like.
fn for_guest(message: Message<'_>, pids: &Pids) -> Option<(i32, i32, Vec<u8>)> {
    let Message { level, kind, data } = message;
    match (level, kind) {
        (linux::SOL_SOCKET, linux::SCM_RIGHTS) => Some((SOL_SOCKET, SCM_RIGHTS, data.to_vec())),
        (linux::SOL_SOCKET, linux::SCM_TIMESTAMP) => {
            Some((SOL_SOCKET, SCM_TIMESTAMP, data.to_vec()))
        }
        (linux::SOL_SOCKET, linux::SCM_CREDENTIALS) => {
            let (pid, uid, gid) = (int(data)?, word::<4>(data, 4)?, word::<4>(data, 8)?);
            let (uid, gid) = (u32::from_ne_bytes(uid), u32::from_ne_bytes(gid));
            let cred = Sockcred {
                sc_pid: pids.to_guest(pid),
                sc_uid: uid,
                sc_euid: uid,
                sc_gid: gid,
                sc_egid: gid,
                sc_ngroups: 0,
            };
            Some((SOL_SOCKET, SCM_CREDS, cred.as_bytes().to_vec()))
        }
        (IPPROTO_IP, linux::IP_PKTINFO) => {
            let (index, addr) = (word::<4>(data, 0)?, word::<4>(data, 8)?);
            Some((IPPROTO_IP, IP_PKTINFO, [addr, index].concat()))
        }
        (IPPROTO_IP, linux::IP_ORIGDSTADDR) => {
            Some((IPPROTO_IP, IP_RECVDSTADDR, word::<4>(data, 4)?.to_vec()))
        }
        (IPPROTO_IP, linux::IP_TTL) => {
            Some((IPPROTO_IP, IP_RECVTTL, vec![u8::try_from(int(data)?).ok()?]))
        }
        (IPPROTO_IPV6, _) => {
            let kind = i32::try_from(from_linux(IPV6_OPTIONS, i64::from(kind))?).ok()?;
            Some((IPPROTO_IPV6, kind, data.to_vec()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn guest(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut out = ForGuest::default();
        assert!(out.put(4096, level, kind, data));
        out.bytes.resize(out.bytes.len().next_multiple_of(8), 0);
        out.bytes
    }

    fn host(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_host(&mut bytes, level, kind, data);
        bytes
    }

    fn fds(numbers: &[i32]) -> Vec<u8> {
        numbers.iter().flat_map(|fd| fd.to_ne_bytes()).collect()
    }

    #[test]
    fn descriptors_go_both_ways() {
        let there = to_host(&guest(SOL_SOCKET, SCM_RIGHTS, &fds(&[3, 4, 5])), |_| Ok(())).unwrap();
        assert_eq!(there, host(1, 1, &fds(&[3, 4, 5])));
        let back = to_guest(&there, 64, &Pids::default());
        assert_eq!(back.bytes.len(), 16 + 12);
        assert_eq!(back.bytes[..4], 28u32.to_ne_bytes());
        assert_eq!(back.bytes[16..], fds(&[3, 4, 5]));
    }

    #[test]
    fn a_descriptor_that_is_refused_refuses_the_message() {
        let bytes = guest(SOL_SOCKET, SCM_RIGHTS, &fds(&[3, 99]));
        let check = |fd| if fd == 99 { Err(Errno::EBADF) } else { Ok(()) };
        assert_eq!(to_host(&bytes, check), Err(Errno::EBADF));
    }

    #[test]
    fn descriptors_are_received_all_or_none() {
        let got = to_guest(&host(1, 1, &fds(&[7, 8])), 20, &Pids::default());
        assert_eq!(got.refused, [7, 8]);
        assert!(got.is_truncated && got.bytes.is_empty());
        assert_eq!(descriptors(&host(1, 1, &fds(&[7, 8]))), [7, 8]);
    }

    #[test]
    fn packet_information_changes_order() {
        let got = to_guest(
            &host(0, 8, &[2, 0, 0, 0, 9, 9, 9, 9, 127, 0, 0, 1]),
            64,
            &Pids::default(),
        );
        assert_eq!(got.bytes[16..], [127, 0, 0, 1, 2, 0, 0, 0]);
        let sent = to_host(&guest(0, IP_PKTINFO, &[127, 0, 0, 1, 2, 0, 0, 0]), |_| {
            Ok(())
        })
        .unwrap();
        assert_eq!(
            sent[16..],
            [2, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn the_next_message_begins_at_a_multiple_of_eight_and_the_end_is_not_padded() {
        let both = [
            host(0, linux::IP_TTL, &64i32.to_ne_bytes()),
            host(41, 52, &1i32.to_ne_bytes()),
        ];
        let got = to_guest(&both.concat(), 64, &Pids::default());
        assert_eq!(got.bytes.len(), 24 + 20);
        assert_eq!(got.bytes[16], 64);
        assert_eq!(got.bytes[32..36], 47i32.to_ne_bytes());
    }

    proptest! {
        #[test]
        fn any_control_data_is_understood_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            room in 0usize..200,
        ) {
            let _ = to_host(&bytes, |_| Ok(()));
            prop_assert!(to_guest(&bytes, room, &Pids::default()).bytes.len() <= room);
        }
    }
}
