//! Checks of the LWP calls: results, errors and their order, one by one.
//!
//! Names are the numbers of the statements in the specification; a further word tells variants
//! apart. Statements that need a debugger or another kernel configuration are not here; those about
//! signals and contexts are in `sig`, those about fork and exec in `fork`.

#![no_std]
#![no_main]

mod create;
mod names;
mod park;
mod source;
mod suspend;
mod wait;

use rt::start::Args;

rt::main!(main);

fn main(args: Args) -> i32 {
    let groups = [
        create::CHECKS,
        park::CHECKS,
        wait::CHECKS,
        suspend::CHECKS,
        names::CHECKS,
        source::life::CHECKS,
        source::suspend::CHECKS,
        source::park::CHECKS,
        source::names::CHECKS,
    ];
    rt::check::run(args, &groups)
}
