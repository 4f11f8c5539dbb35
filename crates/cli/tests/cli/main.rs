//! The `lwp` command as a shell sees it: exit statuses, deaths, error messages, options.
//!
//! The programs it runs are made here, a few instructions each, so that a test shows all that its
//! guest does. What NetBSD programs get to see is tested by the guests themselves, in `guests/`.

#![expect(
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

mod bench;
mod chaos;
mod elf;
mod errors;
mod hostile;
mod hunt;
mod install;
mod options;
mod outside;
mod ps;
mod run;
mod status;
mod timeline;
mod trace;
