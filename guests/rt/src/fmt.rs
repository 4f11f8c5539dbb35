//! Text without an allocator, and lines on descriptors 1 and 2.

use crate::sys;
use core::fmt::{self, Write};

/// Text of at most `N` bytes. What does not fit is cut off.
#[derive(Clone, Copy)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    /// No text.
    pub const fn new() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    /// The text of `what`.
    pub fn of(what: fmt::Arguments<'_>) -> Self {
        let mut text = Self::new();
        // Writing to a `Text` cannot fail.
        let _ = text.write_fmt(what);
        text
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The text; empty if the cut went through a character.
    pub fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = (N - self.len).min(s.len());
        self.bytes[self.len..self.len + room].copy_from_slice(&s.as_bytes()[..room]);
        self.len += room;
        Ok(())
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// Writes all of `bytes`; stops at the first error.
pub fn write_all(fd: i32, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match sys!(SYS_WRITE, fd, bytes.as_ptr(), bytes.len()) {
            Ok(n) => bytes = &bytes[usize::try_from(n).unwrap_or(0).min(bytes.len())..],
            Err(lwp_abi::Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

/// Writes one line of at most 400 bytes by one call.
pub fn line(fd: i32, what: fmt::Arguments<'_>) {
    let mut text: Text<400> = Text::of(what);
    text.len = text.len.min(399);
    let _ = text.write_str("\n");
    write_all(fd, text.as_bytes());
}

/// Prints a line on standard output.
#[macro_export]
macro_rules! say {
    ($($arg:tt)*) => { $crate::fmt::line(1, core::format_args!($($arg)*)) };
}

/// Prints a line on standard error.
#[macro_export]
macro_rules! complain {
    ($($arg:tt)*) => { $crate::fmt::line(2, core::format_args!($($arg)*)) };
}
