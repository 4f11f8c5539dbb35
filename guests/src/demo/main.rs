//! The tour that `lwp demo` gives: every LWP call once, and what it did. With `--costs`, what the
//! calls cost: lines `cost NAME NANOSECONDS`, medians.

#![no_std]
#![no_main]

mod costs;
mod tour;

use rt::start::Args;

rt::main!(main);

fn main(args: Args) -> i32 {
    rt::process::watchdog(120);
    let done = match args.arg(1) {
        "--costs" => costs::measure(),
        _ => tour::walk(),
    };
    match done {
        Ok(()) => 0,
        Err(fail) => {
            rt::complain!("demo: {fail}");
            1
        }
    }
}
