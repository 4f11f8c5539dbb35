//! Socket options, level by level, with their twins on Linux.
//!
//! The same option number means something else at another level: a conversion begins with the level.
//!
//! Sources: getsockopt(2), ip(4), ip6(4), tcp(4), unix(4), netinet/in.h, netinet6/in6.h,
//! netinet/tcp.h, sys/un.h.

use crate::table::numbers;

numbers! {
    /// Levels, which are protocols but for the first.
    SOCKOPT_LEVELS: i32 {
        SOL_SOCKET = 0xffff => 0x1,
        IPPROTO_AH = 0x33 => 0x33,
        IPPROTO_DCCP = 0x21 => 0x21,
        IPPROTO_ESP = 0x32 => 0x32,
        IPPROTO_GRE = 0x2f => 0x2f,
        IPPROTO_ICMP = 0x1 => 0x1,
        IPPROTO_ICMPV6 = 0x3a => 0x3a,
        IPPROTO_IGMP = 0x2 => 0x2,
        IPPROTO_IP = 0x0 => 0x0,
        IPPROTO_IPV6 = 0x29 => 0x29,
        IPPROTO_RAW = 0xff => 0xff,
        IPPROTO_SCTP = 0x84 => 0x84,
        IPPROTO_TCP = 0x6 => 0x6,
        IPPROTO_UDP = 0x11 => 0x11,
    }
}

numbers! {
    /// The level of `AF_LOCAL` sockets: the number of `IPPROTO_IP`, told apart by the family.
    SOCKOPT_LEVELS_LOCAL: i32 {
        SOL_LOCAL = 0x0,
    }
}

numbers! {
    /// Options at level [`SOL_SOCKET`].
    SO_OPTIONS: i32 {
        SO_ACCEPTCONN = 0x2 => 0x1e,
        SO_ACCEPTFILTER = 0x1000,
        SO_BROADCAST = 0x20 => 0x6,
        /// The twin wants privilege.
        SO_DEBUG = 0x1 => 0x1,
        SO_DEFOPTS = 0x6bfd,
        SO_DONTROUTE = 0x10 => 0x5,
        /// The value is an error number, to be translated, too.
        SO_ERROR = 0x1007 => 0x4,
        SO_KEEPALIVE = 0x8 => 0x9,
        /// The same record on both.
        SO_LINGER = 0x80 => 0xd,
        SO_NOHEADER = 0x100a,
        /// `EPIPE` without `SIGPIPE`.
        SO_NOSIGPIPE = 0x800,
        SO_OOBINLINE = 0x100 => 0xa,
        SO_OVERFLOWED = 0x1009,
        /// NetBSD reports what was set; Linux, the double.
        SO_RCVBUF = 0x1002 => 0x8,
        SO_RCVLOWAT = 0x1004 => 0x12,
        /// The value is a `Timeval`.
        SO_RCVTIMEO = 0x100c => 0x14,
        SO_RERROR = 0x4000,
        SO_REUSEADDR = 0x4 => 0x2,
        /// Linux balances load between sockets; NetBSD does not.
        SO_REUSEPORT = 0x200 => 0xf,
        /// NetBSD reports what was set; Linux, the double.
        SO_SNDBUF = 0x1001 => 0x7,
        /// Linux cannot set it (`ENOPROTOOPT`).
        SO_SNDLOWAT = 0x1003 => 0x13,
        /// The value is a `Timeval`.
        SO_SNDTIMEO = 0x100b => 0x15,
        /// Brings a control message `SCM_TIMESTAMP` with a `Timeval`.
        SO_TIMESTAMP = 0x2000 => 0x1d,
        SO_TYPE = 0x1008 => 0x3,
        /// Ignored.
        SO_USELOOPBACK = 0x40,
    }
}

numbers! {
    /// Options at level [`SOL_LOCAL`].
    LOCAL_OPTIONS: i32 {
        LOCAL_CONNWAIT = 2,
        /// Brings a control message `SCM_CREDS` before the first data.
        LOCAL_CREDS = 4 => 16,
        LOCAL_OCREDS = 1,
        /// The value is an `Unpcbid`.
        LOCAL_PEEREID = 3 => 17,
    }
}

numbers! {
    /// Options at level [`IPPROTO_IP`].
    IPV4_OPTIONS: i32 {
        IP_ADD_MEMBERSHIP = 12 => 35,
        IP_BINDANY = 27 => 19,
        IP_DROP_MEMBERSHIP = 13 => 36,
        IP_ERRORMTU = 21,
        IP_HDRINCL = 2 => 3,
        IP_IPSEC_POLICY = 22 => 16,
        IP_MINTTL = 24 => 21,
        IP_MULTICAST_IF = 9 => 32,
        IP_MULTICAST_LOOP = 11 => 34,
        /// The value may have one byte or four.
        IP_MULTICAST_TTL = 10 => 33,
        IP_OPTIONS = 1 => 4,
        IP_PKTINFO = 25 => 8,
        IP_PORTALGO = 18,
        IP_PORTRANGE = 19,
        /// The message is an address of four bytes, a part of what `IP_PKTINFO` brings.
        IP_RECVDSTADDR = 7 => 8,
        /// The message is a `SockaddrDl`, a part of what `IP_PKTINFO` brings.
        IP_RECVIF = 20 => 8,
        IP_RECVOPTS = 5 => 6,
        IP_RECVPKTINFO = 26 => 8,
        IP_RECVRETOPTS = 6 => 7,
        /// The message has one byte; that of the twin four.
        IP_RECVTTL = 23 => 12,
        IP_RETOPTS = 8 => 7,
        IP_SENDSRCADDR = 7 => 8,
        IP_TOS = 3 => 1,
        IP_TTL = 4 => 2,
    }
}

numbers! {
    /// Special values of options at level [`IPPROTO_IP`].
    IP_OPTION_VALUES: i32 {
        IP_DEFAULT_MULTICAST_LOOP = 1 => 1,
        IP_DEFAULT_MULTICAST_TTL = 1 => 1,
        IP_MAX_MEMBERSHIPS = 20 => 20,
        IP_PORTRANGE_DEFAULT = 0,
        IP_PORTRANGE_HIGH = 1,
        IP_PORTRANGE_LOW = 2,
    }
}

numbers! {
    /// Options at level [`IPPROTO_IPV6`].
    IPV6_OPTIONS: i32 {
        IPV6_BINDANY = 64 => 75,
        IPV6_CHECKSUM = 26 => 7,
        IPV6_DONTFRAG = 62 => 62,
        IPV6_DSTOPTS = 50 => 59,
        IPV6_FAITH = 29,
        IPV6_HOPLIMIT = 47 => 52,
        IPV6_HOPOPTS = 49 => 54,
        IPV6_IPSEC_POLICY = 28 => 34,
        IPV6_JOIN_GROUP = 12 => 20,
        IPV6_LEAVE_GROUP = 13 => 21,
        IPV6_MULTICAST_HOPS = 10 => 18,
        IPV6_MULTICAST_IF = 9 => 17,
        IPV6_MULTICAST_LOOP = 11 => 19,
        IPV6_NEXTHOP = 48 => 9,
        IPV6_PATHMTU = 44 => 61,
        IPV6_PKTINFO = 46 => 50,
        IPV6_PORTALGO = 17,
        IPV6_PORTRANGE = 14,
        IPV6_PREFER_TEMPADDR = 63,
        IPV6_RECVDSTOPTS = 40 => 58,
        IPV6_RECVHOPLIMIT = 37 => 51,
        IPV6_RECVHOPOPTS = 39 => 53,
        IPV6_RECVPATHMTU = 43 => 60,
        IPV6_RECVPKTINFO = 36 => 49,
        IPV6_RECVRTHDR = 38 => 56,
        IPV6_RECVTCLASS = 57 => 66,
        IPV6_RTHDR = 51 => 57,
        IPV6_RTHDRDSTOPTS = 35 => 55,
        IPV6_SOCKOPT_RESERVED1 = 3,
        IPV6_TCLASS = 61 => 67,
        IPV6_UNICAST_HOPS = 4 => 16,
        IPV6_USE_MIN_MTU = 42,
        IPV6_V6ONLY = 27 => 26,
    }
}

numbers! {
    /// Special values of options at level [`IPPROTO_IPV6`].
    IPV6_OPTION_VALUES: i32 {
        IPV6_DEFAULT_MULTICAST_HOPS = 1,
        IPV6_DEFAULT_MULTICAST_LOOP = 1,
        IPV6_PORTRANGE_DEFAULT = 0,
        IPV6_PORTRANGE_HIGH = 1,
        IPV6_PORTRANGE_LOW = 2,
        IPV6_RTHDR_LOOSE = 0 => 0,
        IPV6_RTHDR_STRICT = 1 => 1,
        IPV6_RTHDR_TYPE_0 = 0 => 0,
    }
}

numbers! {
    /// Options at level [`IPPROTO_ICMPV6`].
    ICMP6_OPTIONS: i32 {
        ICMP6_FILTER = 18 => 1,
    }
}

numbers! {
    /// Options at level [`IPPROTO_TCP`].
    TCP_OPTIONS: i32 {
        TCP_CONGCTL = 32 => 13,
        TCP_INFO = 9 => 11,
        TCP_KEEPCNT = 6 => 6,
        TCP_KEEPIDLE = 3 => 4,
        /// The twin is not quite the same.
        TCP_KEEPINIT = 7 => 18,
        TCP_KEEPINTVL = 5 => 5,
        TCP_MAXSEG = 2 => 2,
        TCP_MD5SIG = 16 => 14,
        TCP_NODELAY = 1 => 1,
    }
}
