//! Start-up without std's: `lwp_machine::start!`.
//!
//! std's own start would ignore SIGPIPE (which tools the guest executes would inherit), open
//! /dev/null on closed descriptors 0 to 2 (where the guest must see EBADF) and take SIGSEGV for itself.

use std::ffi::OsString;

/// Defines the C `main` of a `#![no_main]` program: it calls `$main`, a
/// `fn(Vec<OsString>) -> i32`, with the arguments, and returns its result as exit status.
#[macro_export]
macro_rules! start {
    ($main:path) => {
        /// Called by the C library's start code.
        // SAFETY: the one `main` of the program, with C's signature.
        #[unsafe(no_mangle)]
        extern "C" fn main(
            _argc: ::core::ffi::c_int,
            _argv: *const *const ::core::ffi::c_char,
        ) -> ::core::ffi::c_int {
            $crate::start_with($main)
        }
    };
}

/// Calls `main` with the program's arguments; 125 after a panic, which has reported itself.
pub fn start_with(main: fn(Vec<OsString>) -> i32) -> i32 {
    // glibc hands the arguments to std before `main`, static or not.
    let args = std::env::args_os().collect();
    std::panic::catch_unwind(move || main(args)).unwrap_or(125)
}
