//! Says hello, and repeats its arguments: one line of output.

#![no_std]
#![no_main]

use rt::fmt::{Text, write_all};
use rt::start::Args;

rt::main!(main);

fn main(args: Args) -> i32 {
    use core::fmt::Write as _;
    let mut line: Text<4000> = Text::of(format_args!("hello from NetBSD"));
    for arg in args.rest() {
        // What does not fit is cut off.
        let _ = write!(line, " {arg}");
    }
    let _ = line.write_str("\n");
    write_all(1, line.as_bytes());
    0
}
