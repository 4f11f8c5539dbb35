//! What the guest programs share: a NetBSD program without a C library.
//!
//! Responsible for the start of a program, raw system calls, LWPs and their stacks, signal
//! handlers, and the form in which checks are written and reported. Not for judging anything:
//! what NetBSD does is said by the checks.
//!
//! # Invariants
//! 1. Nothing here uses `%fs:`: an LWP's private pointer belongs to the checks.
//! 2. Nothing sleeps in the hope that something has happened by then: [`sync::until`] gives up the CPU
//!    and looks again.
//! 3. A line of output is one `write(2)`, so lines of several LWPs and processes stay whole.
//!
//! # Safety
//! [`sys::call`] is not an `unsafe fn`, although a system call can do anything to memory: these
//! programs hand hostile arguments to the kernel on purpose, and a `SAFETY` comment on each of a
//! thousand calls would say nothing. Wrappers that take Rust references are sound; whoever passes
//! bare addresses knows what lies there.

#![no_std]

pub mod check;
pub mod fmt;
pub mod lock;
pub mod lwp;
mod memory;
pub mod process;
pub mod regs;
pub mod scene;
pub mod sig;
pub mod start;
pub mod sync;
pub mod sys;
pub mod sysctl;
pub mod time;
pub mod vm;

pub use lwp_abi as abi;
pub use lwp_abi::Errno;

/// What a system call gives: the first return value, or the error.
pub type SysResult = Result<u64, Errno>;
