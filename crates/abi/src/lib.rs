//! Numbers and layouts as a NetBSD/amd64 program sees them.
//!
//! Responsible for what stands in NetBSD's headers: numbers, flags, records, and their twins on
//! Linux where there is one. Not for any behaviour: nothing here decides what a call does.
//!
//! # Invariants
//! 1. Every record is plain bytes: any bit pattern is valid, there is no hidden padding. So copying
//!    one in or out of guest memory is safe code, and leaks nothing.
//! 2. A number is written once. Conversions to and from Linux are made from the tables.
//! 3. Decoding is total: types made of guest numbers accept all of them, and refuse nothing.
//!
//! Sources: the headers of NetBSD 10 (and 11, where it adds); `tests/headers` compares all that
//! is here with tables made from them.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod errno;
pub mod event;
pub mod exec;
pub mod fs;
pub mod futex;
pub mod ioctl;
pub mod limits;
pub mod lwp;
pub mod mman;
pub mod nr;
pub mod poll;
pub mod random;
pub mod resource;
pub mod sched;
pub mod signal;
pub mod socket;
pub mod sockopt;
pub mod spawn;
pub mod sysarch;
pub mod sysctl;
pub mod table;
pub mod termios;
pub mod time;
pub mod trap;
pub mod ucontext;
pub mod uio;
pub mod wait;

pub use errno::Errno;

/// What stands before the first NUL, or all if there is none: the string in a field of fixed length.
pub fn until_nul(field: &[u8]) -> &[u8] {
    let len = field.iter().position(|&byte| byte == 0);
    &field[..len.unwrap_or(field.len())]
}

#[cfg(test)]
mod tests {
    use super::until_nul;

    #[test]
    fn a_field_may_be_full_or_empty() {
        assert_eq!(until_nul(b"ab\0c\0"), b"ab");
        assert_eq!(until_nul(b"abcd"), b"abcd");
        assert_eq!([until_nul(b"\0a"), until_nul(b"")], [b"", b""]);
    }
}
