//! Executing programs: what a file is, how a NetBSD program gets into memory, how one image follows
//! another.
//!
//! | file | what |
//! |---|---|
//! | `elf` | reads a file and says what it is: a program we can run, or why not |
//! | `load` | maps the segments and makes the registers at the entry point |
//! | `stack` | arguments, environment, auxiliary vector, `ps_strings` |
//! | `script` | `#!` lines |
//! | `handover` | what survives when the runner executes itself for a new image |
//!
//! # Invariants
//! 1. Whatever a file contains, reading it neither panics nor takes memory without bound.
//! 2. A file is refused before anything is mapped, for one exact reason.
//!
//! Sources: `kern_exec.c`, `exec_elf.c`, elf(5); lwp.md 6, 7.1; syscalls.md 2, 5.3.

mod elf;
mod handover;
mod load;
mod script;
mod stack;

pub use elf::{Program, Segment, examine, examine_file};
pub use handover::{Handover, VARIABLE};
pub use load::{Loaded, load};
pub use script::Script;
pub use stack::{Arguments, Credentials};

use lwp_abi::errno::Errno;

/// Why a file is not executed here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing in it.
    #[error("the file is empty")]
    Empty,
    /// A `#!` script.
    #[error("a script: run its interpreter, {}", .0.shown())]
    Script(Script),
    /// No ELF file, but something recognisable.
    #[error("not an ELF program but {0}")]
    NotElf(&'static str),
    /// The file ends before what its headers promise.
    #[error("the file is truncated: no room for {0}")]
    Truncated(&'static str),
    /// A program for 32 bits.
    #[error("a 32-bit program; only NetBSD/amd64 is supported")]
    Not64Bit,
    /// A program for another processor.
    #[error("built for {0}, not for x86-64")]
    WrongMachine(String),
    /// A program for another system.
    #[error("a {0} program, not a NetBSD one")]
    WrongSystem(&'static str),
    /// No note says for what system it was built.
    #[error("no NetBSD note: it was built for some other system")]
    NoNote,
    /// An ELF file that is no program.
    #[error("{0}, not a program")]
    NotAProgram(&'static str),
    /// A program that needs the dynamic linker.
    #[error("dynamically linked programs are not supported yet (it asks for {0})")]
    Dynamic(String),
    /// Headers that make no sense.
    #[error("a damaged program: {0}")]
    Damaged(&'static str),
    /// It wants to lie where it cannot.
    #[error("it must be loaded at {0:#x}, where there is no room for a program")]
    Unplaceable(u64),
    /// The file could not be read.
    #[error("it cannot be read: {0}")]
    Unreadable(Errno),
    /// Arguments and environment exceed `ARG_MAX`.
    #[error("arguments and environment are longer than 256 KiB")]
    ArgumentsTooLong,
    /// Memory for it could not be had.
    #[error("it cannot be mapped: {0}")]
    Unmappable(Errno),
}

impl Refusal {
    /// What execve(2) says of it.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Unreadable(errno) | Self::Unmappable(errno) => *errno,
            Self::ArgumentsTooLong => Errno::E2BIG,
            Self::Unplaceable(_) => Errno::ENOMEM,
            Self::Empty
            | Self::Script(_)
            | Self::NotElf(_)
            | Self::Truncated(_)
            | Self::Not64Bit
            | Self::WrongMachine(_)
            | Self::WrongSystem(_)
            | Self::NoNote
            | Self::NotAProgram(_)
            | Self::Dynamic(_)
            | Self::Damaged(_) => Errno::ENOEXEC,
        }
    }

    /// The host may be able to execute it, as it is.
    pub fn is_for_the_host(&self) -> bool {
        matches!(
            self,
            Self::Script(_)
                | Self::NotElf(_)
                | Self::Not64Bit
                | Self::WrongMachine(_)
                | Self::WrongSystem(_)
                | Self::NoNote
        )
    }
}
