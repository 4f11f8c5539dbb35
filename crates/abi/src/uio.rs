//! Buffers in pieces.
//!
//! Sources: readv(2), sys/uio.h.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct iovec`: one piece.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Iovec {
    /// Where it begins.
    pub iov_base: u64,
    /// How long it is.
    pub iov_len: u64,
}
