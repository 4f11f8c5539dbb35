//! Text of bounded length, made of guest memory.

use core::fmt;
use lwp_abi::signal::{SigSet, Signo};
use lwp_abi::until_nul;
use lwp_kernel::machine::Memory;
use zerocopy::{FromBytes, IntoBytes};

/// How many of a row are shown.
pub(crate) const ROWS: u64 = 16;
/// What one argument may take beside the strings in it, in bytes.
const ROOM: usize = 2048;
/// How many strings of full length one argument may show.
const STRINGS: usize = 8;

/// The text of one argument.
pub struct Dump<'a> {
    memory: &'a dyn Memory,
    /// How many bytes of a string are shown.
    strings: usize,
    text: String,
    room: usize,
}

impl<'a> Dump<'a> {
    pub(crate) fn new(memory: &'a dyn Memory, strings: usize) -> Self {
        Self {
            memory,
            strings,
            text: String::new(),
            // A byte may take four characters.
            room: ROOM + STRINGS * strings.saturating_mul(4),
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// Adds text, as far as there is room.
    pub(crate) fn push(&mut self, text: &str) {
        if self.text.len() + text.len() <= self.room {
            self.text.push_str(text);
        } else if !self.is_full() {
            self.room = 0;
            self.text.push_str("...");
        }
    }

    /// Whether something was left out for lack of room.
    fn is_full(&self) -> bool {
        self.room == 0
    }

    /// Adds formatted text.
    pub(crate) fn put(&mut self, what: fmt::Arguments<'_>) {
        match what.as_str() {
            Some(text) => self.push(text),
            None => self.push(&what.to_string()),
        }
    }

    /// Adds an address.
    pub(crate) fn address(&mut self, at: u64) {
        match at {
            0 => self.push("NULL"),
            at => self.put(format_args!("{at:#x}")),
        }
    }

    /// Reads a record; `None` if it is not there.
    pub(crate) fn read<T: FromBytes + IntoBytes>(&self, at: u64) -> Option<T> {
        let mut value = T::new_zeroed();
        self.memory.copyin(at, value.as_mut_bytes()).ok()?;
        Some(value)
    }

    /// Reads bytes; `false` if they are not there.
    pub(crate) fn fill(&self, at: u64, bytes: &mut [u8]) -> bool {
        self.memory.copyin(at, bytes).is_ok()
    }

    /// Shows the record at an address, or the address if nothing is there.
    pub(crate) fn record<T: FromBytes + IntoBytes>(
        &mut self,
        at: u64,
        show: impl FnOnce(&mut Self, T),
    ) {
        match self.read(at).filter(|_| at != 0) {
            Some(record) => show(self, record),
            None => self.address(at),
        }
    }

    /// Shows a row of records, each `size` bytes.
    pub(crate) fn rows(&mut self, at: u64, size: u64, count: u64, show: impl Fn(&mut Self, u64)) {
        if at == 0 {
            return self.address(at);
        }
        self.push("[");
        for index in 0..count.min(ROWS) {
            if index > 0 {
                self.push(", ");
            }
            show(self, at.wrapping_add(index.wrapping_mul(size)));
        }
        self.push(if count > ROWS { ", ...]" } else { "]" });
    }

    /// Shows `len` bytes, as a string.
    pub(crate) fn bytes(&mut self, at: u64, len: u64) {
        if at == 0 {
            return self.address(at);
        }
        let shown = usize::try_from(len).unwrap_or(usize::MAX).min(self.strings);
        let mut bytes = vec![0; shown];
        if self.fill(at, &mut bytes) {
            self.quoted(&bytes, shown as u64 == len);
        } else {
            self.address(at);
        }
    }

    /// Shows the string that ends with NUL.
    pub(crate) fn string(&mut self, at: u64) {
        if at == 0 {
            return self.address(at);
        }
        let mut bytes = vec![0; self.strings + 1];
        match self.memory.copyinstr(at, &mut bytes) {
            Ok(Some(len)) => self.quoted(&bytes[..len], true),
            Ok(None) => self.quoted(&bytes[..self.strings], false),
            Err(_) => self.address(at),
        }
    }

    /// Shows bytes in quotes; dots if they are not all.
    pub(crate) fn quoted(&mut self, bytes: &[u8], is_all: bool) {
        let mut text = String::from("\"");
        for (at, &byte) in bytes.iter().enumerate() {
            match byte {
                // A digit behind it would belong to it.
                0 if !bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => text.push_str("\\0"),
                byte => text.extend(byte.escape_ascii().map(char::from)),
            }
        }
        text.push_str(if is_all { "\"" } else { "\"..." });
        self.push(&text);
    }

    /// Shows the bytes of a field up to their NUL.
    pub(crate) fn name(&mut self, field: &[u8]) {
        let name = until_nul(field);
        let shown = name.len().min(self.strings);
        self.quoted(&name[..shown], shown == name.len());
    }

    /// Shows the signals of a set; those that are missing if they are fewer.
    pub(crate) fn sigset(&mut self, set: SigSet) {
        let missing = Signo::all().filter(|&signo| !set.contains(signo));
        let (sign, shown): (_, Vec<_>) = match missing.collect::<Vec<_>>() {
            missing if missing.len() < 32 => ("~[", missing),
            _ => ("[", set.iter().collect()),
        };
        self.push(sign);
        for (at, signo) in shown.into_iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            self.put(format_args!("{space}{signo}"));
        }
        self.push("]");
    }
}
