//! Checks of signals: frames, contexts, masks, delivery, and what they do to sleeping calls.

#![no_std]
#![no_main]

mod crowd;
mod deliver;
mod frame;
mod masks;
mod restart;
mod sleep;

use rt::start::Args;

rt::main!(main);

fn main(args: Args) -> i32 {
    let groups = [
        frame::CHECKS,
        masks::CHECKS,
        deliver::CHECKS,
        sleep::CHECKS,
        restart::CHECKS,
        crowd::CHECKS,
    ];
    rt::check::run(args, &groups)
}
