//! poll(2) and select(2).
//!
//! Sources: poll(2), select(2), poll.h, `sys/fd_set.h`.

use crate::table::numbers;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct pollfd`.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Pollfd {
    /// The descriptor; a negative one is passed over.
    pub fd: i32,
    /// What to wait for: some of [`POLL_EVENTS`].
    pub events: i16,
    /// What there is.
    pub revents: i16,
}

numbers! {
    /// Events of poll(2).
    POLL_EVENTS: i16 {
        POLLERR = 0x8 => 0x8,
        POLLHUP = 0x10 => 0x10,
        POLLIN = 0x1 => 0x1,
        POLLNVAL = 0x20 => 0x20,
        POLLOUT = 0x4 => 0x4,
        POLLPRI = 0x2 => 0x2,
        POLLRDBAND = 0x80 => 0x80,
        POLLRDNORM = 0x40 => 0x40,
        /// 0x100 is `POLLWRNORM` on Linux.
        POLLWRBAND = 0x100 => 0x200,
        /// The same as `POLLOUT`, unlike on Linux.
        POLLWRNORM = 0x4 => 0x100,
    }
}

/// The timeout that never ends.
pub const INFTIM: i32 = -1;

/// The bits in one word of a set of select(2), which is an array of `u32`.
pub const NFDBITS: usize = 32;
/// The descriptors in a set, unless the program was built with more.
pub const FD_SETSIZE: usize = 256;
