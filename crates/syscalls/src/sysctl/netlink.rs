//! The host's network interfaces and their addresses, by rtnetlink.
//!
//! Two dumps, of links and of addresses. Only reads; an attribute that is not understood is passed over.
//!
//! Source: rtnetlink(7), netlink(7).

use crate::errno::from_rustix;
use core::net::IpAddr;
use lwp_abi::errno::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};
use std::os::fd::OwnedFd;

const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;

/// Length of a message's header.
const HEADER: usize = 16;
/// Length of `struct ifinfomsg`.
const LINK_HEADER: usize = 16;
/// Length of `struct ifaddrmsg`.
const ADDR_HEADER: usize = 8;
/// A page-sized answer is the most the host sends at a time, unless given more room.
const ROOM: usize = 32 << 10;

/// A network interface.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: Vec<u8>,
    /// The host's ARPHRD_*.
    pub(super) hardware: u16,
    pub(super) address: Vec<u8>,
    pub(super) mtu: u32,
    /// The host's IFF_*.
    pub(super) flags: u32,
}

/// An address of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Addr {
    pub(super) index: u32,
    pub(super) prefix_len: u8,
    pub(super) local: IpAddr,
    /// The broadcast address, or the other end.
    pub(super) other: Option<IpAddr>,
}

/// All interfaces.
///
/// # Errors
/// Those of the host's sockets.
pub(super) fn links() -> Result<Vec<Link>, Errno> {
    dump(RTM_GETLINK, |kind, body| {
        (kind == RTM_NEWLINK).then(|| link(body))?
    })
}

/// All addresses.
///
/// # Errors
/// Those of the host's sockets.
pub(super) fn addrs() -> Result<Vec<Addr>, Errno> {
    dump(RTM_GETADDR, |kind, body| {
        (kind == RTM_NEWADDR).then(|| addr(body))?
    })
}

fn dump<T>(kind: u16, parse: impl Fn(u16, &[u8]) -> Option<T>) -> Result<Vec<T>, Errno> {
    let socket = ask(kind).map_err(from_rustix)?;
    let mut found = Vec::new();
    let mut answer = vec![0; ROOM];
    loop {
        let (len, _) =
            recv(&socket, answer.as_mut_slice(), RecvFlags::empty()).map_err(from_rustix)?;
        if take(&answer[..len], &parse, &mut found) == More::No {
            return Ok(found);
        }
    }
}

fn ask(kind: u16) -> rustix::io::Result<OwnedFd> {
    // Protocol 0 is NETLINK_ROUTE.
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let mut request = Vec::with_capacity(HEADER + LINK_HEADER);
    let len = u32::try_from(HEADER + LINK_HEADER).unwrap_or(0);
    request.extend(len.to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    // Sequence and sender, then "any family".
    request.resize(HEADER + LINK_HEADER, 0);
    send(&socket, &request, SendFlags::empty())?;
    Ok(socket)
}

/// Whether more answers are to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum More {
    Yes,
    No,
}

/// Takes the messages of one answer.
fn take<T>(mut answer: &[u8], parse: impl Fn(u16, &[u8]) -> Option<T>, found: &mut Vec<T>) -> More {
    if answer.is_empty() {
        return More::No;
    }
    while let (Some(len), Some(kind)) = (u32_at(answer, 0), u16_at(answer, 4)) {
        let len = usize::try_from(len).unwrap_or(0);
        let Some(body) = answer.get(HEADER..len) else {
            return More::No;
        };
        if matches!(kind, NLMSG_DONE | NLMSG_ERROR) {
            return More::No;
        }
        found.extend(parse(kind, body));
        answer = answer.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    More::Yes
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The attributes behind a message's own header: type and value.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let len = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)?;
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn link(body: &[u8]) -> Option<Link> {
    const IFLA_ADDRESS: u16 = 1;
    const IFLA_IFNAME: u16 = 3;
    const IFLA_MTU: u16 = 4;
    let mut link = Link {
        hardware: u16_at(body, 2)?,
        index: u32_at(body, 4)?,
        flags: u32_at(body, 8)?,
        ..Link::default()
    };
    for (kind, value) in attributes(body.get(LINK_HEADER..)?) {
        match kind {
            IFLA_ADDRESS => link.address = value.to_vec(),
            IFLA_IFNAME => link.name = value.strip_suffix(&[0]).unwrap_or(value).to_vec(),
            IFLA_MTU => link.mtu = u32_at(value, 0)?,
            _ => {}
        }
    }
    Some(link)
}

fn addr(body: &[u8]) -> Option<Addr> {
    const IFA_ADDRESS: u16 = 1;
    const IFA_LOCAL: u16 = 2;
    const IFA_BROADCAST: u16 = 4;
    let (mut address, mut local, mut broadcast) = (None, None, None);
    for (kind, value) in attributes(body.get(ADDR_HEADER..)?) {
        match kind {
            IFA_ADDRESS => address = ip(value),
            IFA_LOCAL => local = ip(value),
            IFA_BROADCAST => broadcast = ip(value),
            _ => {}
        }
    }
    // With an other end, that is "the address"; without, both are the same.
    let own = local.or(address)?;
    let peer = address.filter(|&address| address != own);
    let (prefix_len, index) = (*body.get(1)?, u32_at(body, 4)?);
    Some(Addr {
        index,
        prefix_len,
        local: own,
        other: broadcast.or(peer),
    })
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [&len.to_ne_bytes(), &kind.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(HEADER + body.len()).unwrap();
        [
            &len.to_ne_bytes(),
            kind.to_ne_bytes().as_slice(),
            &[0; 10],
            body,
        ]
        .concat()
    }

    #[test]
    fn links_and_the_end_of_them_are_understood() {
        let head = [0, 0, 4, 3, 1, 0, 0, 0, 0x49, 0, 1, 0, 0, 0, 0, 0];
        let body = [
            head.to_vec(),
            attribute(3, b"lo\0"),
            attribute(4, &65536u32.to_ne_bytes()),
            attribute(1, &[0; 6]),
            attribute(77, b"?"),
        ];
        let answer = [
            message(RTM_NEWLINK, &body.concat()),
            message(NLMSG_DONE, &[0; 4]),
        ]
        .concat();
        let mut found = Vec::new();
        let more = take(&answer, |_, body| link(body), &mut found);
        assert_eq!(more, More::No);
        let lo = Link {
            index: 1,
            name: b"lo".to_vec(),
            hardware: 772,
            address: vec![0; 6],
            mtu: 65536,
            flags: 0x1_0049,
        };
        assert_eq!(found, [lo]);
    }

    #[test]
    fn an_address_comes_with_its_broadcast_or_its_other_end() {
        let head = [2, 24, 0, 0, 7, 0, 0, 0];
        let with = |more: &[u8]| {
            addr(&[&head, attribute(2, &[10, 0, 0, 1]).as_slice(), more].concat()).unwrap()
        };
        let plain = with(&attribute(1, &[10, 0, 0, 1]));
        assert_eq!((plain.index, plain.prefix_len, plain.other), (7, 24, None));
        assert_eq!(plain.local, IpAddr::from([10, 0, 0, 1]));
        let broadcast = with(&attribute(4, &[10, 0, 0, 255]));
        assert_eq!(broadcast.other, Some(IpAddr::from([10, 0, 0, 255])));
        let tunnel = with(&attribute(1, &[10, 0, 0, 2]));
        assert_eq!(tunnel.other, Some(IpAddr::from([10, 0, 0, 2])));
    }

    #[test]
    fn this_host_has_a_loopback_interface() {
        let links = links().unwrap();
        let lo = links.iter().find(|link| link.hardware == 772).unwrap();
        assert!(addrs().unwrap().iter().any(|addr| addr.index == lo.index));
    }

    proptest! {
        #[test]
        fn any_answer_is_understood_or_passed_over(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = take(&bytes, |_, body| link(body), &mut Vec::new());
            let _ = (link(&bytes), addr(&bytes));
        }
    }
}
