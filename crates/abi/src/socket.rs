//! Sockets: addresses, messages, credentials, and how a socket is made and used.
//!
//! An address begins with its length and an 8-bit family; on Linux the family has 16 bits. Fields in
//! network order are byte arrays, so that no one can take them for numbers.
//!
//! Options are in `sockopt`. Sources: socket(2), send(2), recv(2), unix(4), sys/socket.h, sys/un.h,
//! netinet/in.h, `net/if_dl.h`.

use crate::table::numbers;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

numbers! {
    /// Types of sockets.
    SOCK_TYPES: u32 {
        SOCK_CONN_DGRAM = 0x6,
        SOCK_DCCP = 0x6 => 0x6,
        SOCK_DGRAM = 0x2 => 0x2,
        SOCK_RAW = 0x3 => 0x3,
        SOCK_RDM = 0x4 => 0x4,
        SOCK_SEQPACKET = 0x5 => 0x5,
        SOCK_STREAM = 0x1 => 0x1,
    }
}

numbers! {
    /// Flags in the type argument of socket(2).
    SOCK_FLAGS: u32 {
        /// In the type argument only; not the `O_CLOEXEC` value.
        SOCK_CLOEXEC = 0x1000_0000 => 0x80000,
        /// NetBSD 11.
        SOCK_CLOFORK = 0x8000_0000,
        /// In the type argument only; not the `O_NONBLOCK` value.
        SOCK_NONBLOCK = 0x2000_0000 => 0x800,
        /// In the type argument only.
        SOCK_NOSIGPIPE = 0x4000_0000,
    }
}

/// All flags in the type argument of socket(2).
pub const SOCK_FLAGS_MASK: u32 = 0xf000_0000;

numbers! {
    /// Address families; protocol families are the same.
    ADDRESS_FAMILIES: u8 {
        AF_APPLETALK = 16 => 5,
        AF_ARP = 28,
        AF_BLUETOOTH = 31 => 31,
        AF_CAN = 35 => 29,
        AF_CCITT = 10,
        AF_CHAOS = 5,
        AF_CNT = 21,
        AF_COIP = 20,
        AF_DATAKIT = 9,
        AF_DECNET = 12 => 12,
        AF_DLI = 13,
        AF_E164 = 26,
        AF_ECMA = 8,
        AF_ETHER = 36,
        AF_HYLINK = 15,
        AF_IEEE80211 = 32,
        AF_IMPLINK = 3,
        AF_INET = 2 => 2,
        AF_INET6 = 24 => 10,
        AF_IPX = 23 => 4,
        AF_ISDN = 26 => 34,
        AF_ISO = 7,
        AF_LAT = 14,
        AF_LINK = 18 => 17,
        AF_LOCAL = 1 => 1,
        AF_MAX = 37 => 46,
        AF_MPLS = 33 => 28,
        AF_NATM = 27,
        AF_NS = 6,
        AF_OROUTE = 17,
        AF_OSI = 7,
        AF_PUP = 4,
        /// Routing sockets; the twin is `AF_NETLINK`, and works otherwise.
        AF_ROUTE = 34 => 16,
        AF_SNA = 11 => 22,
        AF_UNIX = 1 => 1,
        AF_UNSPEC = 0 => 0,
        PSEUDO_AF_HDRCMPLT = 30,
        PSEUDO_AF_KEY = 29,
        PSEUDO_AF_PIP = 25,
        PSEUDO_AF_RTIP = 22,
        PSEUDO_AF_XTP = 19,
    }
}

numbers! {
    /// Flags of send(2) and recv(2).
    MSG_FLAGS: u32 {
        MSG_BCAST = 0x100,
        MSG_CMSG_CLOEXEC = 0x800 => 0x4000_0000,
        /// NetBSD 11.
        MSG_CMSG_CLOFORK = 0x8000,
        MSG_CONTROLMBUF = 0x200_0000,
        MSG_CTRUNC = 0x20 => 0x8,
        MSG_DONTROUTE = 0x4 => 0x4,
        /// 0x80 is `MSG_EOR` on Linux.
        MSG_DONTWAIT = 0x80 => 0x40,
        /// 0x8 is `MSG_CTRUNC` on Linux.
        MSG_EOR = 0x8 => 0x80,
        MSG_IOVUSRSPACE = 0x400_0000,
        MSG_LENUSRSPACE = 0x800_0000,
        MSG_MCAST = 0x200,
        MSG_NAMEMBUF = 0x100_0000,
        MSG_NBIO = 0x1000,
        MSG_NOSIGNAL = 0x400 => 0x4000,
        MSG_NOTIFICATION = 0x4000,
        MSG_OOB = 0x1 => 0x1,
        MSG_PEEK = 0x2 => 0x2,
        MSG_TRUNC = 0x10 => 0x20,
        MSG_USERFLAGS = 0xff_ffff,
        /// 0x40 is `MSG_DONTWAIT` on Linux.
        MSG_WAITALL = 0x40 => 0x100,
        MSG_WAITFORONE = 0x2000 => 0x10000,
    }
}

bitflags::bitflags! {
    /// How to send or receive, and what came. Unknown bits survive.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MsgFlags: u32 {
        /// Urgent data.
        const OOB = MSG_OOB;
        /// Leave the data where it is.
        const PEEK = MSG_PEEK;
        /// Only to direct neighbours.
        const DONTROUTE = MSG_DONTROUTE;
        /// The record ends here.
        const EOR = MSG_EOR;
        /// The data was cut off.
        const TRUNC = MSG_TRUNC;
        /// The control data was cut off.
        const CTRUNC = MSG_CTRUNC;
        /// Wait for all of it.
        const WAITALL = MSG_WAITALL;
        /// Do not wait.
        const DONTWAIT = MSG_DONTWAIT;
        /// It came by broadcast.
        const BCAST = MSG_BCAST;
        /// It came by multicast.
        const MCAST = MSG_MCAST;
        /// `EPIPE` without `SIGPIPE`.
        const NOSIGNAL = MSG_NOSIGNAL;
        /// Received descriptors close on exec.
        const CMSG_CLOEXEC = MSG_CMSG_CLOEXEC;
        /// As if the descriptor did not block.
        const NBIO = MSG_NBIO;
        /// Wait for the first message only.
        const WAITFORONE = MSG_WAITFORONE;
        const _ = !0;
    }
}

numbers! {
    /// What shutdown(2) ends.
    SHUTDOWNS: i32 {
        SHUT_RD = 0 => 0,
        SHUT_RDWR = 2 => 2,
        SHUT_WR = 1 => 1,
    }
}

numbers! {
    /// Queue length, name length, and well-known addresses in host order.
    SOCKET_MISC: u32 {
        /// What counts is `kern.somaxconn`.
        SOMAXCONN = 128 => 4096,
        IFNAMSIZ = 16 => 16,
        INADDR_ANY = 0 => 0,
        INADDR_LOOPBACK = 0x7f00_0001 => 0x7f00_0001,
        INADDR_BROADCAST = 0xffff_ffff => 0xffff_ffff,
    }
}

numbers! {
    /// Types of control messages at level `SOL_SOCKET`.
    CMSG_TYPES: i32 {
        /// The data is a `Sockcred`. It was 4 up to NetBSD 7.
        SCM_CREDS = 16 => 2,
        SCM_RIGHTS = 1 => 1,
        SCM_TIMESTAMP = 8 => 29,
    }
}

/// `struct sockaddr`: an address of any family.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Sockaddr {
    /// The length of the address.
    pub sa_len: u8,
    /// One of [`ADDRESS_FAMILIES`].
    pub sa_family: u8,
    /// The address.
    pub sa_data: [u8; 14],
}

/// `struct sockaddr_in`: an IPv4 address.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SockaddrIn {
    /// The length of the address.
    pub sin_len: u8,
    /// One of [`ADDRESS_FAMILIES`].
    pub sin_family: u8,
    /// The port, in network order.
    pub sin_port: [u8; 2],
    /// The address.
    pub sin_addr: [u8; 4],
    /// Nothing.
    pub sin_zero: [u8; 8],
}

/// `struct sockaddr_in6`: an IPv6 address.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SockaddrIn6 {
    /// The length of the address.
    pub sin6_len: u8,
    /// One of [`ADDRESS_FAMILIES`].
    pub sin6_family: u8,
    /// The port, in network order.
    pub sin6_port: [u8; 2],
    /// The flow, in network order.
    pub sin6_flowinfo: [u8; 4],
    /// The address.
    pub sin6_addr: [u8; 16],
    /// The interface of a link-local address.
    pub sin6_scope_id: u32,
}

/// `struct sockaddr_un`: a path. NetBSD has no abstract names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SockaddrUn {
    /// The length of the address.
    pub sun_len: u8,
    /// One of [`ADDRESS_FAMILIES`].
    pub sun_family: u8,
    /// The path; a NUL is not needed.
    pub sun_path: [u8; 104],
}

/// `struct dl_addr`: the link-layer part of [`SockaddrDl`].
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct DlAddr {
    /// The kind of interface.
    pub dl_type: u8,
    /// The length of the name.
    pub dl_nlen: u8,
    /// The length of the address.
    pub dl_alen: u8,
    /// The length of the selector.
    pub dl_slen: u8,
    /// The name, then the address.
    pub dl_data: [u8; 24],
}

/// `struct sockaddr_dl`: a link-layer address.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SockaddrDl {
    /// The length of the address.
    pub sdl_len: u8,
    /// One of [`ADDRESS_FAMILIES`].
    pub sdl_family: u8,
    /// The index of the interface.
    pub sdl_index: u16,
    /// Name and address.
    pub sdl_addr: DlAddr,
}

/// The size of `struct sockaddr_storage`: no address is longer.
pub const SOCKADDR_STORAGE_SIZE: usize = 128;

/// `struct msghdr`: a message with everything.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Msghdr {
    /// The address of the peer.
    pub msg_name: u64,
    /// Its length.
    pub msg_namelen: u32,
    /// Padding.
    pub pad1: u32,
    /// The buffers.
    pub msg_iov: u64,
    /// How many.
    pub msg_iovlen: i32,
    /// Padding.
    pub pad2: u32,
    /// The control messages.
    pub msg_control: u64,
    /// Their length.
    pub msg_controllen: u32,
    /// [`MsgFlags`] of what came.
    pub msg_flags: u32,
}

/// `struct mmsghdr`: one of many messages.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Mmsghdr {
    /// The message.
    pub msg_hdr: Msghdr,
    /// How many bytes were sent or received.
    pub msg_len: u32,
    /// Padding.
    pub pad: u32,
}

/// `struct cmsghdr`: before a control message. The data begins at [`Cmsghdr::DATA`].
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Cmsghdr {
    /// The length, with this header and its padding.
    pub cmsg_len: u32,
    /// Whose message it is.
    pub cmsg_level: i32,
    /// One of [`CMSG_TYPES`].
    pub cmsg_type: i32,
}

impl Cmsghdr {
    /// Where the data begins, seen from the header.
    pub const DATA: usize = 16;

    /// The length of a message with `len` bytes of data (`CMSG_LEN`).
    pub fn len(len: usize) -> Option<u32> {
        u32::try_from(len.checked_add(Self::DATA)?).ok()
    }

    /// The room that it takes (`CMSG_SPACE`): a multiple of eight.
    pub fn space(len: usize) -> Option<usize> {
        len.checked_add(Self::DATA)?.checked_next_multiple_of(8)
    }
}

/// `struct sockcred`, as far as the groups: what `SCM_CREDS` brings. `sc_ngroups` ids follow.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Sockcred {
    /// The process.
    pub sc_pid: i32,
    /// Its real user.
    pub sc_uid: u32,
    /// Its effective user.
    pub sc_euid: u32,
    /// Its real group.
    pub sc_gid: u32,
    /// Its effective group.
    pub sc_egid: u32,
    /// How many groups follow.
    pub sc_ngroups: i32,
}

/// `struct unpcbid`: what `LOCAL_PEEREID` tells of the peer.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Unpcbid {
    /// The process.
    pub unp_pid: i32,
    /// Its effective user.
    pub unp_euid: u32,
    /// Its effective group.
    pub unp_egid: u32,
}

/// `struct linger`: how long a close waits for its data to leave.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Linger {
    /// Whether to linger.
    pub l_onoff: i32,
    /// For how many seconds.
    pub l_linger: i32,
}

/// `struct ip_mreq`: membership in a group.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct IpMreq {
    /// The group.
    pub imr_multiaddr: [u8; 4],
    /// The address of the interface.
    pub imr_interface: [u8; 4],
}

/// `struct ipv6_mreq`: membership in a group.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Ipv6Mreq {
    /// The group.
    pub ipv6mr_multiaddr: [u8; 16],
    /// The index of the interface.
    pub ipv6mr_interface: u32,
}

/// `struct in_pktinfo`: where a datagram came in.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct InPktinfo {
    /// The address.
    pub ipi_addr: [u8; 4],
    /// The index of the interface.
    pub ipi_ifindex: u32,
}

/// `struct in6_pktinfo`: where a datagram came in.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct In6Pktinfo {
    /// The address.
    pub ipi6_addr: [u8; 16],
    /// The index of the interface.
    pub ipi6_ifindex: u32,
}
