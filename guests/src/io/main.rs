//! Checks of files, sockets, kernel queues, memory, sysctl and clocks, as programs use them.
//!
//! Each works in a directory of its own below the working directory, and takes it away again.

#![no_std]
#![no_main]

mod files;
mod memory;
mod queue;
mod races;
mod sockets;
mod system;

use rt::start::Args;

rt::main!(main);

fn main(args: Args) -> i32 {
    let groups = [
        files::CHECKS,
        races::CHECKS,
        sockets::CHECKS,
        queue::CHECKS,
        memory::CHECKS,
        system::CHECKS,
    ];
    rt::check::run(args, &groups)
}
