//! Terminals: modes, special characters, speeds, window size.
//!
//! Sources: termios(4), tcsetattr(3), sys/termios.h, sys/ttydefaults.h.

use crate::table::numbers;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct termios`.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Termios {
    /// Some of [`IFLAGS`].
    pub c_iflag: u32,
    /// Some of [`OFLAGS`].
    pub c_oflag: u32,
    /// Some of [`CFLAGS`].
    pub c_cflag: u32,
    /// Some of [`LFLAGS`].
    pub c_lflag: u32,
    /// The special characters, at the indices of [`CONTROL_CHARS`].
    pub c_cc: [u8; 20],
    /// The speed of input, in bits per second.
    pub c_ispeed: i32,
    /// The speed of output, in bits per second.
    pub c_ospeed: i32,
}

/// `struct winsize`.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Winsize {
    /// Rows.
    pub ws_row: u16,
    /// Columns.
    pub ws_col: u16,
    /// Width, in pixels.
    pub ws_xpixel: u16,
    /// Height, in pixels.
    pub ws_ypixel: u16,
}

numbers! {
    /// Input modes.
    IFLAGS: u32 {
        IGNBRK = 0x1 => 0x1,
        BRKINT = 0x2 => 0x2,
        IGNPAR = 0x4 => 0x4,
        PARMRK = 0x8 => 0x8,
        INPCK = 0x10 => 0x10,
        ISTRIP = 0x20 => 0x20,
        INLCR = 0x40 => 0x40,
        IGNCR = 0x80 => 0x80,
        ICRNL = 0x100 => 0x100,
        IXON = 0x200 => 0x400,
        IXOFF = 0x400 => 0x1000,
        IXANY = 0x800 => 0x800,
        IMAXBEL = 0x2000 => 0x2000,
    }
}

numbers! {
    /// Output modes.
    OFLAGS: u32 {
        OPOST = 0x1 => 0x1,
        ONLCR = 0x2 => 0x4,
        OXTABS = 0x4,
        ONOEOT = 0x8,
        OCRNL = 0x10 => 0x8,
        ONOCR = 0x20 => 0x10,
        ONLRET = 0x40 => 0x20,
    }
}

numbers! {
    /// Control modes.
    CFLAGS: u32 {
        CIGNORE = 0x1,
        CSIZE = 0x300 => 0x30,
        CS5 = 0x0 => 0x0,
        CS6 = 0x100 => 0x10,
        CS7 = 0x200 => 0x20,
        CS8 = 0x300 => 0x30,
        CSTOPB = 0x400 => 0x40,
        CREAD = 0x800 => 0x80,
        PARENB = 0x1000 => 0x100,
        PARODD = 0x2000 => 0x200,
        HUPCL = 0x4000 => 0x400,
        CLOCAL = 0x8000 => 0x800,
        CRTSCTS = 0x10000 => 0x8000_0000,
        CDTRCTS = 0x20000,
        MDMBUF = 0x10_0000,
        CHWFLOW = 0x13_0000,
    }
}

numbers! {
    /// Local modes.
    LFLAGS: u32 {
        ECHOKE = 0x1 => 0x800,
        ECHOE = 0x2 => 0x10,
        ECHOK = 0x4 => 0x20,
        ECHO = 0x8 => 0x8,
        ECHONL = 0x10 => 0x40,
        ECHOPRT = 0x20 => 0x400,
        ECHOCTL = 0x40 => 0x200,
        ISIG = 0x80 => 0x1,
        ICANON = 0x100 => 0x2,
        ALTWERASE = 0x200,
        IEXTEN = 0x400 => 0x8000,
        EXTPROC = 0x800 => 0x10000,
        TOSTOP = 0x40_0000 => 0x100,
        FLUSHO = 0x80_0000 => 0x1000,
        NOKERNINFO = 0x200_0000,
        PENDIN = 0x2000_0000 => 0x4000,
        NOFLSH = 0x8000_0000 => 0x80,
    }
}

numbers! {
    /// Indices into [`Termios::c_cc`].
    CONTROL_CHARS: usize {
        VEOF = 0x0 => 0x4,
        VEOL = 0x1 => 0xb,
        VEOL2 = 0x2 => 0x10,
        VERASE = 0x3 => 0x2,
        VWERASE = 0x4 => 0xe,
        VKILL = 0x5 => 0x3,
        VREPRINT = 0x6 => 0xc,
        VINTR = 0x8 => 0x0,
        VQUIT = 0x9 => 0x1,
        VSUSP = 0xa => 0xa,
        VDSUSP = 0xb,
        VSTART = 0xc => 0x8,
        VSTOP = 0xd => 0x9,
        VLNEXT = 0xe => 0xf,
        VDISCARD = 0xf => 0xd,
        VMIN = 0x10 => 0x6,
        VTIME = 0x11 => 0x5,
        VSTATUS = 0x12,
    }
}

/// How many special characters there are.
pub const NCCS: usize = 20;
/// The value of a special character that is switched off; on Linux it is 0.
pub const _POSIX_VDISABLE: u8 = 0xff;

numbers! {
    /// Modes of a new terminal.
    TTYDEF_MODES: u32 {
        TTYDEF_IFLAG = 11010 => 11554,
        TTYDEF_OFLAG = 3 => 6149,
        TTYDEF_LFLAG = 1483 => 35355,
        TTYDEF_CFLAG = 19200 => 1440,
        TTYDEF_SPEED = 9600 => 13,
    }
}

numbers! {
    /// Special characters of a new terminal.
    TTYDEF_CHARS: u8 {
        CEOF = 4 => 4,
        CERASE = 127 => 127,
        CINTR = 3 => 3,
        CKILL = 21 => 21,
        CQUIT = 28 => 28,
        CSUSP = 26 => 26,
        CSTART = 17 => 17,
        CSTOP = 19 => 19,
        CLNEXT = 22 => 22,
        CWERASE = 23 => 23,
        CRPRNT = 18 => 18,
        CSTATUS = 20 => 0,
        CDSUSP = 25 => 25,
        CDISCARD = 15 => 15,
        CMIN = 1 => 1,
        CTIME = 0 => 0,
    }
}

numbers! {
    /// Speeds, which are numbers here and codes on Linux.
    SPEEDS: i32 {
        B0 = 0 => 0,
        B1000000 = 1_000_000 => 4104,
        B110 = 110 => 3,
        B115200 = 115_200 => 4098,
        B1200 = 1200 => 9,
        B134 = 134 => 4,
        B14400 = 14400,
        B150 = 150 => 5,
        B1500000 = 0x16_e360 => 4106,
        B1800 = 1800 => 10,
        B19200 = 19200 => 14,
        B200 = 200 => 6,
        B2000000 = 0x1e_8480 => 4107,
        B230400 = 230_400 => 4099,
        B2400 = 2400 => 11,
        B2500000 = 0x26_25a0 => 4108,
        B28800 = 28800,
        B300 = 300 => 7,
        B3000000 = 0x2d_c6c0 => 4109,
        B3500000 = 0x35_67e0 => 4110,
        B38400 = 38400 => 15,
        B4000000 = 0x3d_0900 => 4111,
        B460800 = 460_800 => 4100,
        B4800 = 4800 => 12,
        B50 = 50 => 1,
        B500000 = 500_000 => 4101,
        B57600 = 57600 => 4097,
        B600 = 600 => 8,
        B7200 = 7200,
        B75 = 75 => 2,
        B76800 = 76800,
        B921600 = 921_600 => 4103,
        B9600 = 9600 => 13,
    }
}

numbers! {
    /// When tcsetattr(3) acts, and what tcflush(3) and tcflow(3) do.
    TC_ACTIONS: i32 {
        TCIFLUSH = 1 => 0,
        TCIOFF = 3 => 2,
        TCIOFLUSH = 3 => 2,
        TCION = 4 => 3,
        TCOFLUSH = 2 => 1,
        TCOOFF = 1 => 0,
        TCOON = 2 => 1,
        TCSADRAIN = 1 => 1,
        TCSAFLUSH = 2 => 2,
        TCSANOW = 0 => 0,
        TCSASOFT = 16,
    }
}
