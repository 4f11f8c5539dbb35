//! ioctl(2): how requests are built, and the requests to files, terminals and sockets.
//!
//! A request carries its direction and the size of its argument, with the direction bits the other
//! way round than on Linux: an untranslated request is another one.
//!
//! Sources: ioctl(2), tty(4), ptm(4), sys/ioccom.h, sys/filio.h, sys/ttycom.h, sys/sockio.h.

use crate::table::numbers;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

numbers! {
    /// The fields of a request.
    IOC_FIELDS: u32 {
        IOC_VOID = 0x2000_0000,
        /// Direction bits are the other way round on Linux.
        IOC_OUT = 0x4000_0000 => 0x8000_0000,
        /// Direction bits are the other way round on Linux.
        IOC_IN = 0x8000_0000 => 0x4000_0000,
        IOC_INOUT = 0xc000_0000 => 0xc000_0000,
        IOC_DIRMASK = 0xe000_0000,
        /// 13 bits of size (Linux 14).
        IOCPARM_MASK = 0x1fff,
        IOCPARM_SHIFT = 0x10,
        IOCGROUP_SHIFT = 0x8,
    }
}

/// A request, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct IoctlCmd(u32);

impl IoctlCmd {
    /// Takes a request from the guest.
    pub const fn new(request: u32) -> Self {
        Self(request)
    }

    /// The request.
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// Whether the argument is read from the guest.
    pub const fn is_in(self) -> bool {
        self.0 & IOC_IN != 0
    }

    /// Whether the argument is written to the guest.
    pub const fn is_out(self) -> bool {
        self.0 & IOC_OUT != 0
    }

    /// The size of the argument (`IOCPARM_LEN`), below 8 KiB.
    pub const fn len(self) -> usize {
        (self.0 >> IOCPARM_SHIFT & IOCPARM_MASK) as usize
    }

    /// Whether the argument has no size.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The group: `b't'` for terminals, `b'f'` for files.
    pub const fn group(self) -> u8 {
        self.0.to_le_bytes()[1]
    }
}

numbers! {
    /// Requests to any descriptor.
    IOCTL_FILE: u32 {
        /// As `O_ASYNC`.
        FIOASYNC = 0x8004_667d => 0x5452,
        /// As `F_SETFD`.
        FIOCLEX = 0x2000_6601 => 0x5451,
        FIOGETBMAP = 0xc008_667a,
        FIOGETOWN = 0x4004_667b => 0x8903,
        /// As `O_NONBLOCK`.
        FIONBIO = 0x8004_667e => 0x5421,
        FIONCLEX = 0x2000_6602 => 0x5450,
        FIONREAD = 0x4004_667f => 0x541b,
        /// Free space in the send buffer.
        FIONSPACE = 0x4004_6678,
        FIONWRITE = 0x4004_6679 => 0x5411,
        FIOSEEKDATA = 0xc008_6661 => 0x3,
        FIOSEEKHOLE = 0xc008_6662 => 0x4,
        FIOSETOWN = 0x8004_667c => 0x8901,
    }
}

numbers! {
    /// Requests to terminals.
    IOCTL_TTY: u32 {
        TIOCCBRK = 0x2000_747a => 0x5428,
        TIOCCDTR = 0x2000_7478,
        TIOCCONS = 0x8004_7462 => 0x541d,
        TIOCDCDTIMESTAMP = 0x4010_7458,
        /// The twin needs a nonzero argument.
        TIOCDRAIN = 0x2000_745e => 0x5409,
        TIOCEXCL = 0x2000_740d => 0x540c,
        TIOCEXT = 0x8004_7460,
        /// The argument is a pointer to 1 (read), 2 (written) or 0 (both); the twin takes a selector.
        TIOCFLUSH = 0x8004_7410 => 0x540b,
        /// The twin tells standard speeds only; `TCGETS2` tells all.
        TIOCGETA = 0x402c_7413 => 0x5401,
        TIOCGETD = 0x4004_741a => 0x5424,
        TIOCGFLAGS = 0x4004_745d,
        TIOCGLINED = 0x4020_7442,
        TIOCGPGRP = 0x4004_7477 => 0x540f,
        TIOCGQSIZE = 0x4004_7481,
        /// The twin takes a flag: 0 to unlock.
        TIOCGRANTPT = 0x2000_7447 => 0x4004_5431,
        TIOCGSID = 0x4004_7463 => 0x5429,
        TIOCGSIZE = 0x4008_7468 => 0x5413,
        /// Same 8-byte record.
        TIOCGWINSZ = 0x4008_7468 => 0x5413,
        TIOCMBIC = 0x8004_746b => 0x5417,
        TIOCMBIS = 0x8004_746c => 0x5416,
        TIOCMGET = 0x4004_746a => 0x5415,
        TIOCMSET = 0x8004_746d => 0x5418,
        TIOCNOTTY = 0x2000_7471 => 0x5422,
        TIOCNXCL = 0x2000_740e => 0x540d,
        TIOCOUTQ = 0x4004_7473 => 0x5411,
        TIOCPKT = 0x8004_7470 => 0x5420,
        /// Asked of `/dev/ptm`. Older programs have `TIOCPTMGET_16`.
        TIOCPTMGET = 0x4808_7446 => 0x5441,
        /// Older programs have `TIOCPTSNAME_16`.
        TIOCPTSNAME = 0x4808_7448 => 0x8004_5430,
        TIOCREMOTE = 0x8004_7469,
        TIOCSBRK = 0x2000_747b => 0x5427,
        /// No argument; the twin takes an int.
        TIOCSCTTY = 0x2000_7461 => 0x540e,
        TIOCSDTR = 0x2000_7479,
        /// The twin sets standard speeds only; `TCSETS2` sets all.
        TIOCSETA = 0x802c_7414 => 0x5402,
        /// The twin sets standard speeds only; `TCSETSF2` sets all.
        TIOCSETAF = 0x802c_7416 => 0x5404,
        /// The twin sets standard speeds only; `TCSETSW2` sets all.
        TIOCSETAW = 0x802c_7415 => 0x5403,
        TIOCSETD = 0x8004_741b => 0x5423,
        TIOCSFLAGS = 0x8004_745c,
        TIOCSIG = 0x2000_745f => 0x4004_5436,
        TIOCSLINED = 0x8020_7443,
        /// The process group is behind a pointer on both.
        TIOCSPGRP = 0x8004_7476 => 0x5410,
        TIOCSQSIZE = 0x8004_7480,
        TIOCSSIZE = 0x8008_7467 => 0x5414,
        /// The twin takes `TCOON`.
        TIOCSTART = 0x2000_746e => 0x540a,
        TIOCSTAT = 0x8004_7465,
        TIOCSTI = 0x8001_7472 => 0x5412,
        /// The twin takes `TCOOFF`.
        TIOCSTOP = 0x2000_746f => 0x540a,
        /// Same 8-byte record.
        TIOCSWINSZ = 0x8008_7467 => 0x5414,
        TIOCUCNTL = 0x8004_7466,
    }
}

/// `TIOCPTMGET` of NetBSD up to 7, with names of 16 bytes. Go has it still.
pub const TIOCPTMGET_16: u32 = 0x4028_7446;
/// `TIOCPTSNAME` of NetBSD up to 7, with names of 16 bytes.
pub const TIOCPTSNAME_16: u32 = 0x4028_7448;

numbers! {
    /// Bits in the arguments of requests to terminals.
    IOCTL_TTY_ARGS: u32 {
        TIOCFLAG_CDTRCTS = 0x10,
        TIOCFLAG_CLOCAL = 0x2,
        TIOCFLAG_CRTSCTS = 0x4,
        TIOCFLAG_MDMBUF = 0x8,
        TIOCFLAG_SOFTCAR = 0x1,
        TIOCM_CAR = 0x40 => 0x40,
        TIOCM_CD = 0x40 => 0x40,
        TIOCM_CTS = 0x20 => 0x20,
        TIOCM_DSR = 0x100 => 0x100,
        TIOCM_DTR = 0x2 => 0x2,
        TIOCM_LE = 0x1 => 0x1,
        TIOCM_RI = 0x80 => 0x80,
        TIOCM_RNG = 0x80 => 0x80,
        TIOCM_RTS = 0x4 => 0x4,
        TIOCM_SR = 0x10 => 0x10,
        TIOCM_ST = 0x8 => 0x8,
        TIOCPKT_DATA = 0x0 => 0x0,
        TIOCPKT_DOSTOP = 0x20 => 0x20,
        TIOCPKT_FLUSHREAD = 0x1 => 0x1,
        TIOCPKT_FLUSHWRITE = 0x2 => 0x2,
        TIOCPKT_IOCTL = 0x40 => 0x40,
        TIOCPKT_NOSTOP = 0x10 => 0x10,
        TIOCPKT_START = 0x8 => 0x8,
        TIOCPKT_STOP = 0x4 => 0x4,
    }
}

/// `struct ptmget`: a new pair of terminals.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Ptmget {
    /// The controlling side.
    pub cfd: i32,
    /// The other side.
    pub sfd: i32,
    /// The path of the one.
    pub cn: [u8; 1024],
    /// The path of the other.
    pub sn: [u8; 1024],
}

numbers! {
    /// Requests to sockets.
    IOCTL_SOCKET: u32 {
        SIOCAADDRCTL_POLICY = 0x8048_756c,
        SIOCADDMULTI = 0x8090_6931 => 0x8931,
        SIOCADDRT = 0x8038_720a => 0x890b,
        SIOCAIFADDR = 0x8040_691a,
        SIOCAIFADDR_IN6 = 0x8080_696b,
        SIOCALIFADDR = 0x8118_691c,
        SIOCATMARK = 0x4004_7307 => 0x8905,
        SIOCDADDRCTL_POLICY = 0x8048_756d,
        SIOCDELMULTI = 0x8090_6932 => 0x8932,
        SIOCDELRT = 0x8038_720b => 0x890c,
        SIOCDIFADDR = 0x8090_6919 => 0x8936,
        SIOCDIFADDR_IN6 = 0x8120_6919,
        SIOCDIFPHYADDR = 0x8090_6949,
        SIOCDLIFADDR = 0x8118_691e,
        SIOCGDRVSPEC = 0xc028_697b,
        SIOCGETPFSYNC = 0xc090_69f8,
        SIOCGHIWAT = 0x4004_7301,
        SIOCGIFADDR = 0xc090_6921 => 0x8915,
        SIOCGIFADDRPREF = 0xc098_6920,
        SIOCGIFADDR_IN6 = 0xc120_6921,
        SIOCGIFAFLAG_IN = 0xc090_6927,
        SIOCGIFAFLAG_IN6 = 0xc120_6949,
        SIOCGIFALIAS = 0xc040_691b,
        SIOCGIFALIFETIME_IN6 = 0xc120_696a,
        SIOCGIFBRDADDR = 0xc090_6923 => 0x8919,
        SIOCGIFCAP = 0xc020_6976,
        /// The records have 144 bytes.
        SIOCGIFCONF = 0xc010_6926 => 0x8912,
        SIOCGIFDATA = 0xc098_6985,
        SIOCGIFDESCR = 0xc090_698f,
        SIOCGIFDLT = 0xc090_6977,
        SIOCGIFDSTADDR = 0xc090_6922 => 0x8917,
        SIOCGIFDSTADDR_IN6 = 0xc120_6922,
        SIOCGIFFLAGS = 0xc090_6911 => 0x8913,
        SIOCGIFGENERIC = 0xc090_693a,
        SIOCGIFINDEX = 0xc090_698c => 0x8933,
        SIOCGIFMEDIA = 0xc030_6938,
        SIOCGIFMETRIC = 0xc090_6917 => 0x891d,
        SIOCGIFMTU = 0xc090_697e => 0x8921,
        SIOCGIFNETMASK = 0xc090_6925 => 0x891b,
        SIOCGIFNETMASK_IN6 = 0xc120_6925,
        SIOCGIFPDSTADDR = 0xc090_6948,
        SIOCGIFPDSTADDR_IN6 = 0xc120_6948,
        SIOCGIFPSRCADDR = 0xc090_6947,
        SIOCGIFPSRCADDR_IN6 = 0xc120_6947,
        SIOCGIFSTAT_ICMP6 = 0xc120_6954,
        SIOCGIFSTAT_IN6 = 0xc120_6953,
        SIOCGLIFADDR = 0xc118_691d,
        SIOCGLIFPHYADDR = 0xc118_694b,
        SIOCGLINKSTR = 0xc028_6987,
        SIOCGLOWAT = 0x4004_7303,
        SIOCGPGRP = 0x4004_7309 => 0x8904,
        SIOCGUMBINFO = 0xc090_69be,
        SIOCGUMBPARAM = 0xc090_69c0,
        SIOCGVH = 0xc090_6983,
        SIOCIFCREATE = 0x8090_697a,
        SIOCIFDESTROY = 0x8090_6979,
        SIOCIFGCLONERS = 0xc010_6978,
        SIOCINITIFADDR = 0xc070_6984,
        SIOCPEELOFF = 0xc004_730a,
        SIOCSDRVSPEC = 0x8028_697b,
        SIOCSETPFSYNC = 0x8090_69f7,
        SIOCSHIWAT = 0x8004_7300,
        SIOCSIFADDR = 0x8090_690c => 0x8916,
        SIOCSIFADDRPREF = 0x8098_691f,
        SIOCSIFADDR_IN6 = 0x8120_690c,
        SIOCSIFBRDADDR = 0x8090_6913 => 0x891a,
        SIOCSIFCAP = 0x8020_6975,
        SIOCSIFDESCR = 0x8090_698e,
        SIOCSIFDSTADDR = 0x8090_690e => 0x8918,
        SIOCSIFFLAGS = 0x8090_6910 => 0x8914,
        SIOCSIFGENERIC = 0x8090_6939,
        SIOCSIFMEDIA = 0xc090_6937,
        SIOCSIFMETRIC = 0x8090_6918 => 0x891e,
        SIOCSIFMTU = 0x8090_697f => 0x8922,
        SIOCSIFNETMASK = 0x8090_6916 => 0x891c,
        SIOCSIFPHYADDR = 0x8040_6946,
        SIOCSIFPHYADDR_IN6 = 0x8080_696e,
        SIOCSLIFPHYADDR = 0x8118_694a,
        SIOCSLINKSTR = 0x8028_6988,
        SIOCSLOWAT = 0x8004_7302,
        SIOCSPGRP = 0x8004_7308 => 0x8902,
        SIOCSUMBPARAM = 0x8090_69bf,
        SIOCSVH = 0xc090_6982,
        SIOCZIFDATA = 0xc098_6986,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_tells_size_and_direction() {
        let get = IoctlCmd::new(TIOCGETA);
        assert_eq!(
            (get.len(), get.group(), get.is_in(), get.is_out()),
            (44, b't', false, true)
        );
        let void = IoctlCmd::new(TIOCSCTTY);
        assert!(void.is_empty() && !void.is_in() && !void.is_out());
    }
}
