//! Checks of what a program waits for: kqueue, poll, select, and sockets as their commonest objects.
//!
//! What NetBSD does is taken from its sources (`kern_event.c`, `sys_select.c`, `uipc_*.c`) and manual pages;
//! syscalls.md 5.5 and 5.6 gather it.

#![no_std]
#![no_main]

mod kqueue;
mod poll;
mod socket;

use rt::start::Args;

rt::main!(main);

fn main(args: Args) -> i32 {
    let groups = [kqueue::CHECKS, poll::CHECKS, socket::CHECKS];
    rt::check::run(args, &groups)
}
