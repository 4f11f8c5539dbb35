//! `net.route.0.FAMILY.OP.INDEX`: interfaces and addresses, as getifaddrs(3) and Go's `net` ask for them.
//!
//! The answer is a row of messages: for each interface one with its link-layer address, then one for each
//! of its addresses. Every socket address takes a multiple of eight bytes. There are two layouts of the
//! address message, by the operation: 5 for programs from before NetBSD 8, and Go; 6 since.
//!
//! The routing table is empty.
//!
//! Sources: `rtsock.c: sysctl_iflist, rt_msg2`; route(4); syscalls.md 5.6, "net.Interfaces".

use super::netlink::{self, Addr, Link};
use super::{Asked, Value};
use core::net::IpAddr;
use lwp_abi::errno::Errno;
use lwp_abi::socket::{AF_INET, AF_INET6, AF_LINK, SockaddrIn, SockaddrIn6};
use zerocopy::IntoBytes;

const NET_RT_DUMP: i32 = 1;
const NET_RT_FLAGS: i32 = 2;
const NET_RT_OIFLIST: i32 = 5;
const NET_RT_IFLIST: i32 = 6;

const RTM_VERSION: u8 = 4;
const RTM_IFINFO: u8 = 0x14;
const RTM_ONEWADDR: u8 = 0xc;
const RTM_NEWADDR: u8 = 0x16;

const RTA_NETMASK: u32 = 0x4;
const RTA_IFP: u32 = 0x10;
const RTA_IFA: u32 = 0x20;
const RTA_BRD: u32 = 0x80;

/// Length of `struct if_msghdr`.
const IF_HEADER: usize = 152;
const LINK_STATE_DOWN: u32 = 1;
const LINK_STATE_UP: u32 = 2;

/// Interface types (IFT_*), and the host's ARPHRD_*.
const IFT_OTHER: u8 = 1;
const IFT_ETHER: u8 = 6;
const IFT_LOOP: u8 = 24;
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;

/// Flags that are the same on both systems, up to PROMISC and ALLMULTI.
const SAME_FLAGS: u32 = 0x3df;
const IFF_RUNNING: u32 = 0x40;
const IFF_MULTICAST: u32 = 0x8000;
const HOST_IFF_MULTICAST: u32 = 0x1000;

/// The value of a name below `net.route`.
///
/// # Errors
/// EINVAL: not four numbers, or no such operation. Those of the host.
pub(super) fn value(asked: &Asked<'_>) -> Value {
    let &[0, family, operation, index] = asked.rest else {
        return Err(Errno::EINVAL);
    };
    let form = match operation {
        NET_RT_OIFLIST => Form::Old,
        NET_RT_IFLIST => Form::New,
        NET_RT_DUMP | NET_RT_FLAGS => return Ok(Vec::new()),
        _ => return Err(Errno::EINVAL),
    };
    let index = u32::try_from(index).map_err(|_| Errno::EINVAL)?;
    Ok(list(
        form,
        family,
        index,
        &netlink::links()?,
        &netlink::addrs()?,
    ))
}

/// The layout of an address message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Old,
    New,
}

/// The messages for the interfaces and addresses asked for; 0 asks for all.
fn list(form: Form, family: i32, index: u32, links: &[Link], addrs: &[Addr]) -> Vec<u8> {
    let mut out = Vec::new();
    for link in links
        .iter()
        .filter(|link| index == 0 || link.index == index)
    {
        out.extend(link_message(link));
        let of_it = addrs.iter().filter(|addr| addr.index == link.index);
        for addr in of_it.filter(|addr| family == 0 || i32::from(family_of(addr.local)) == family) {
            out.extend(addr_message(form, addr));
        }
    }
    out
}

/// The length at the beginning of a message, when it is complete.
fn finish(mut message: Vec<u8>) -> Vec<u8> {
    let len = u16::try_from(message.len()).unwrap_or(0);
    message[..2].copy_from_slice(&len.to_ne_bytes());
    message
}

/// A socket address, in a multiple of eight bytes.
fn put(message: &mut Vec<u8>, sockaddr: &[u8]) {
    message.extend(sockaddr);
    message.resize(message.len().next_multiple_of(8), 0);
}

fn short(index: u32) -> [u8; 2] {
    u16::try_from(index).unwrap_or(0).to_ne_bytes()
}

/// `struct if_msghdr` and a `sockaddr_dl`.
fn link_message(link: &Link) -> Vec<u8> {
    let kind = match link.hardware {
        ARPHRD_LOOPBACK => IFT_LOOP,
        ARPHRD_ETHER => IFT_ETHER,
        _ => IFT_OTHER,
    };
    // Loopback has an address of zeros on the host, and none in NetBSD.
    let address = if kind == IFT_LOOP {
        &[]
    } else {
        link.address.as_slice()
    };
    let address = &address[..address.len().min(16)];
    let name = &link.name[..link.name.len().min(15)];
    let state = if link.flags & IFF_RUNNING != 0 {
        LINK_STATE_UP
    } else {
        LINK_STATE_DOWN
    };
    let mut message = vec![0; IF_HEADER];
    message[2..4].copy_from_slice(&[RTM_VERSION, RTM_IFINFO]);
    message[4..8].copy_from_slice(&RTA_IFP.to_ne_bytes());
    message[8..12].copy_from_slice(&flags(link.flags).to_ne_bytes());
    message[12..14].copy_from_slice(&short(link.index));
    let lens = [name, address].map(|part| u8::try_from(part.len()).unwrap_or(0));
    message[16..18].copy_from_slice(&[kind, lens[1]]);
    message[20..24].copy_from_slice(&state.to_ne_bytes());
    message[24..32].copy_from_slice(&u64::from(link.mtu).to_ne_bytes());
    let sockaddr_len = (8 + lens[0] + lens[1]).max(20);
    let mut sockaddr = vec![sockaddr_len, AF_LINK];
    sockaddr.extend(short(link.index));
    sockaddr.extend([kind, lens[0], lens[1], 0]);
    sockaddr.extend(name);
    sockaddr.extend(address);
    sockaddr.resize(usize::from(sockaddr_len), 0);
    put(&mut message, &sockaddr);
    finish(message)
}

fn flags(host: u32) -> u32 {
    let multicast = if host & HOST_IFF_MULTICAST != 0 {
        IFF_MULTICAST
    } else {
        0
    };
    host & SAME_FLAGS | multicast
}

/// `struct ifa_msghdr` of the old or the new layout, and the addresses.
fn addr_message(form: Form, addr: &Addr) -> Vec<u8> {
    let brd = if addr.other.is_some() { RTA_BRD } else { 0 };
    let which = (RTA_NETMASK | RTA_IFA | brd).to_ne_bytes();
    let mut message = match form {
        Form::Old => {
            let mut message = vec![0; 24];
            message[3] = RTM_ONEWADDR;
            message[4..8].copy_from_slice(&which);
            message[16..18].copy_from_slice(&short(addr.index));
            message
        }
        Form::New => {
            let mut message = vec![0; 32];
            message[3] = RTM_NEWADDR;
            message[4..6].copy_from_slice(&short(addr.index));
            message[12..16].copy_from_slice(&which);
            message
        }
    };
    message[2] = RTM_VERSION;
    // In the order of their bits: netmask, address, broadcast or other end.
    put(
        &mut message,
        &sockaddr(netmask(addr.local, addr.prefix_len), 0),
    );
    put(&mut message, &sockaddr(addr.local, addr.index));
    if let Some(other) = addr.other {
        put(&mut message, &sockaddr(other, addr.index));
    }
    finish(message)
}

fn family_of(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

fn netmask(ip: IpAddr, prefix_len: u8) -> IpAddr {
    let len = u32::from(prefix_len);
    match ip {
        IpAddr::V4(_) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(len)).unwrap_or(0);
            IpAddr::from(mask.to_be_bytes())
        }
        IpAddr::V6(_) => {
            let mask = u128::MAX
                .checked_shl(128u32.saturating_sub(len))
                .unwrap_or(0);
            IpAddr::from(mask.to_be_bytes())
        }
    }
}

/// A socket address without a port; link-local ones tell their interface.
fn sockaddr(ip: IpAddr, index: u32) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => SockaddrIn {
            sin_len: 16,
            sin_family: AF_INET,
            sin_addr: ip.octets(),
            ..SockaddrIn::default()
        }
        .as_bytes()
        .to_vec(),
        IpAddr::V6(ip) => SockaddrIn6 {
            sin6_len: 28,
            sin6_family: AF_INET6,
            sin6_addr: ip.octets(),
            sin6_scope_id: if ip.is_unicast_link_local() { index } else { 0 },
            ..SockaddrIn6::default()
        }
        .as_bytes()
        .to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ether() -> Link {
        Link {
            index: 2,
            name: b"eth0".to_vec(),
            hardware: ARPHRD_ETHER,
            address: vec![1, 2, 3, 4, 5, 6],
            mtu: 1500,
            flags: 0x1_1043,
        }
    }

    fn v4() -> Addr {
        Addr {
            index: 2,
            prefix_len: 24,
            local: IpAddr::from([10, 0, 0, 5]),
            other: Some(IpAddr::from([10, 0, 0, 255])),
        }
    }

    #[test]
    fn an_interface_message_is_what_go_reads() {
        let message = link_message(&ether());
        assert_eq!(message.len(), IF_HEADER + 24);
        assert_eq!(message[..4], [176, 0, RTM_VERSION, RTM_IFINFO]);
        assert_eq!(message[8..12], 0x8043u32.to_ne_bytes());
        assert_eq!(message[24..28], 1500u32.to_ne_bytes());
        let dl = &message[IF_HEADER..];
        assert_eq!(dl[..8], [20, AF_LINK, 2, 0, IFT_ETHER, 4, 6, 0]);
        assert_eq!(dl[8..18], *b"eth0\x01\x02\x03\x04\x05\x06");
    }

    #[test]
    fn address_messages_have_two_layouts_and_one_order() {
        for (form, header, which_at, index_at) in [(Form::Old, 24, 4, 16), (Form::New, 32, 12, 4)] {
            let message = addr_message(form, &v4());
            assert_eq!(message.len(), header + 3 * 16);
            assert_eq!(message[which_at..which_at + 4], 0xa4u32.to_ne_bytes());
            assert_eq!(message[index_at], 2);
            let addrs: Vec<_> = message[header..]
                .chunks(16)
                .map(|each| each[4..8].to_vec())
                .collect();
            assert_eq!(addrs, [[255, 255, 255, 0], [10, 0, 0, 5], [10, 0, 0, 255]]);
        }
    }

    #[test]
    fn family_and_index_choose() {
        let lo = Link {
            index: 1,
            ..Link::default()
        };
        let links = [lo, ether()];
        let len = |family, index| list(Form::Old, family, index, &links, &[v4()]).len();
        let (one, other) = (link_message(&links[0]).len(), link_message(&links[1]).len());
        assert_eq!(len(0, 1), one);
        assert_eq!(len(2, 2), other + 72);
        assert_eq!(len(24, 0), one + other);
    }

    #[test]
    fn netmasks_have_as_many_bits_as_the_prefix() {
        let v6 = IpAddr::from([0u16; 8]);
        assert_eq!(netmask(v6, 0), v6);
        assert_eq!(netmask(v6, 255), IpAddr::from([0xffffu16; 8]));
        assert_eq!(
            netmask(IpAddr::from([1, 1, 1, 1]), 20),
            IpAddr::from([255, 255, 240, 0])
        );
        assert_eq!(
            netmask(IpAddr::from([1, 1, 1, 1]), 0),
            IpAddr::from([0, 0, 0, 0])
        );
    }

    #[test]
    fn link_local_addresses_tell_their_interface() {
        let local = sockaddr("fe80::1".parse().unwrap(), 7);
        assert_eq!((local.len(), local[24]), (28, 7));
        assert_eq!(sockaddr("2001:db8::1".parse().unwrap(), 7)[24], 0);
    }
}
