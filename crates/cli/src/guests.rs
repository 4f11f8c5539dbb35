//! The NetBSD programs that come with `lwp`: its demonstration, its measurements, its checks.
//!
//! They are built by `build.rs` from `guests/`, and are in the runner as they would be on disk.

use rustix::fs::MemfdFlags;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// Embeds programs by the names of the variables in which `build.rs` says where they lie.
macro_rules! embed {
    ($($name:literal $variable:literal,)*) => {
        &[$(($name, include_bytes!(env!($variable)))),*]
    };
}

/// Every guest program: its name, and its ELF image.
pub(crate) static GUESTS: &[(&str, &[u8])] = embed! {
    "hello" "LWP_GUEST_HELLO",
    "demo" "LWP_GUEST_DEMO",
    "bench" "LWP_GUEST_BENCH",
    "abi" "LWP_GUEST_ABI",
    "sig" "LWP_GUEST_SIG",
    "lwp" "LWP_GUEST_LWP",
    "park" "LWP_GUEST_PARK",
    "storm" "LWP_GUEST_STORM",
    "fork" "LWP_GUEST_FORK",
    "io" "LWP_GUEST_IO",
    "event" "LWP_GUEST_EVENT",
    "regs" "LWP_GUEST_REGS",
};

/// What `hello` is compared with: the same for Linux.
pub(crate) static HELLO_LINUX: &[u8] = include_bytes!(env!("LWP_HELLO_LINUX"));

/// The program of this name.
pub(crate) fn find(name: &str) -> Option<&'static [u8]> {
    GUESTS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, image)| *image)
}

/// A program in memory, as a file that children inherit and can execute.
#[derive(Debug)]
pub(crate) struct InMemory(OwnedFd);

impl InMemory {
    /// The embedded guest called `name`.
    ///
    /// # Errors
    /// There is none, or the host has no memory for it.
    pub(crate) fn guest(name: &str) -> io::Result<Self> {
        let image = find(name).ok_or_else(|| io::Error::other("it was left out"))?;
        Self::new(image)
    }

    /// A program for Linux or NetBSD.
    ///
    /// # Errors
    /// The host has no memory for it.
    pub(crate) fn new(image: &[u8]) -> io::Result<Self> {
        let file = rustix::fs::memfd_create("lwp-program", MemfdFlags::empty())?;
        let mut rest = image;
        while !rest.is_empty() {
            rest = &rest[rustix::io::write(&file, rest)?..];
        }
        Ok(Self(file))
    }

    /// Its path, for us and our children.
    pub(crate) fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_raw_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ET_EXEC: u64 = 2;
    const PT_LOAD: u64 = 1;
    const PT_INTERP: u64 = 3;
    const PT_NOTE: u64 = 4;
    /// The note by which NetBSD knows its programs: 1001000000 is 10.1.
    const NETBSD_10_1: [u8; 24] = *b"\x07\0\0\0\x04\0\0\0\x01\0\0\0NetBSD\0\0\x40\x0c\xaa\x3b";

    /// A little-endian field of an ELF image.
    fn field<const N: usize>(image: &[u8], at: usize) -> u64 {
        let mut word = [0; 8];
        word[..N].copy_from_slice(&image[at..at + N]);
        u64::from_le_bytes(word)
    }

    /// The program headers: type, file offset, address, size in the file.
    fn segments(image: &[u8]) -> Vec<(u64, usize, u64, usize)> {
        let start = usize::try_from(field::<8>(image, 32)).unwrap();
        (0..usize::try_from(field::<2>(image, 56)).unwrap())
            .map(|i| start + i * 56)
            .map(|at| {
                let offset = usize::try_from(field::<8>(image, at + 8)).unwrap();
                let size = usize::try_from(field::<8>(image, at + 32)).unwrap();
                (
                    field::<4>(image, at),
                    offset,
                    field::<8>(image, at + 16),
                    size,
                )
            })
            .collect()
    }

    #[test]
    fn guests_are_static_netbsd_programs_at_a_fixed_address() {
        for (name, image) in GUESTS {
            assert_eq!(image[..4], *b"\x7fELF", "{name}");
            assert_eq!(field::<2>(image, 16), ET_EXEC, "{name}");
            let segments = segments(image);
            assert!(
                segments.iter().all(|s| s.0 != PT_INTERP),
                "{name} has an interpreter"
            );
            let lowest = segments
                .iter()
                .filter(|s| s.0 == PT_LOAD)
                .map(|s| s.2)
                .min();
            // Below lies the room for trampolines.
            assert!(lowest >= Some(0x20_0000), "{name} begins at {lowest:#x?}");
            let note = segments.iter().find(|s| s.0 == PT_NOTE).unwrap();
            assert_eq!(image[note.1..note.1 + note.3], NETBSD_10_1, "{name}");
        }
    }

    #[test]
    fn guests_are_found_by_their_names() {
        assert_eq!(find("hello"), Some(GUESTS[0].1));
        assert_eq!(find("no such guest"), None);
    }
}
