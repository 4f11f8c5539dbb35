//! What a guest asks of the kernel, for people to read: the decoder behind `lwp trace`.
//!
//! | file | what |
//! |---|---|
//! | `table` | the signature of every system call: names and kinds of arguments, family, result |
//! | `kind` | what an argument can be |
//! | `names` | numbers and flags by name |
//! | `dump` | text of bounded length, made of guest memory |
//! | `records` | the records that calls take and give, by field |
//! | `decode` | one call: its arguments at entry and at return, its result |
//! | `filter` | which calls are wanted (`-e`) |
//! | `summary` | how often, how long (`-c`) |
//! | `json` | strings for programs |
//! | `tracer` | the listener on the kernel's events, which makes lines of all that |
//! | `lines` | how lines leave for the file or terminal |
//!
//! Responsible for what is shown, and in which order. Not for where it goes: that is a [`lines::Sink`].
//!
//! # Invariants
//! 1. Nothing here writes guest memory, and what is read there may be anything: it is shown, never trusted.
//! 2. What one argument becomes has a bounded length, whatever the guest passes.
//!
//! Sources: ktrace(1), kdump(1); strace(1) for the form.
#![forbid(unsafe_code)]

pub mod decode;
mod dump;
mod errtext;
pub mod filter;
mod json;
pub mod kind;
pub mod lines;
pub mod names;
mod records;
pub mod summary;
pub mod table;
pub mod tracer;
