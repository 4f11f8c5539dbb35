//! The tour that `lwp demo` gives: every LWP call once, and what it did. What the calls cost is
//! `bench`'s to say.

#![no_std]
#![no_main]

mod tour;

use rt::start::Args;

rt::main!(main);

fn main(_: Args) -> i32 {
    rt::process::watchdog(120);
    match tour::walk() {
        Ok(()) => 0,
        Err(fail) => {
            rt::complain!("demo: {fail}");
            1
        }
    }
}
