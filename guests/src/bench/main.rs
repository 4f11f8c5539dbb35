//! What LWP calls cost, as the guest's own clock sees it: the guest side of `lwp bench`.
//!
//! `bench ROW COUNT` does an operation `COUNT` times and prints lines `cost NAME NANOSECONDS`, one
//! measurement each: repeating, medians and what Linux does instead are the runner's. Without
//! arguments it does every row a few times, which shows that the rows work.
//!
//! Plain NetBSD calls and nothing else; on the way of a measurement there is no output.

#![no_std]
#![no_main]

// Rows have one shape, whether they can fail or not.
#[expect(clippy::unnecessary_wraps, reason = "the shape that the table wants")]
mod calls;
mod crowd;
mod floor;
mod life;
mod lock;
mod many;
mod signals;
#[expect(clippy::unnecessary_wraps, reason = "the shape that the table wants")]
mod timed;
mod turns;

use rt::check::Verdict;
use rt::say;
use rt::start::Args;
use rt::time::now;

rt::main!(main);

/// A row: its name, what measures it, and how often to do it where no number is given.
type Row = (&'static str, fn(u64) -> Verdict, u64);

static ROWS: [Row; 20] = [
    ("null_call", calls::null_call, 100),
    ("clock_gettime", calls::clock_gettime, 100),
    ("unpark_running", calls::unpark_running, 100),
    ("park_pending", calls::park_pending, 100),
    ("floor", floor::switch, 100),
    ("round_trip", turns::round_trip, 100),
    ("ring", turns::ring, 3000),
    ("lock", lock::hand_over, 100),
    ("create_exit_wait", life::create_exit_wait, 100),
    ("create_detached", life::create_detached, 100),
    ("unpark_all", turns::unpark_all, 3),
    ("suspend_parked", life::suspend_parked, 20),
    ("suspend_running", life::suspend_running, 20),
    ("signal_self", signals::to_self, 20),
    ("signal_parked", signals::to_parked, 20),
    ("signal_running", signals::to_running, 20),
    ("late", timed::late, 20),
    ("preempt", timed::preempt, 5),
    ("million", many::million, 300),
    ("curve", many::curve, 300),
];

fn main(args: Args) -> i32 {
    rt::process::watchdog(300);
    let name = args.arg(1);
    let mut status = 0;
    for (_, row, few) in ROWS.iter().filter(|row| name.is_empty() || row.0 == name) {
        if let Err(fail) = row(args.number(2, *few)) {
            rt::complain!("bench: {fail}");
            status = 1;
        }
    }
    status
}

/// Reports a measurement, in nanoseconds with a tenth.
fn cost(name: &str, nanos: u64, count: u64) {
    let tenths = nanos * 10 / count.max(1);
    say!("cost {name} {}.{}", tenths / 10, tenths % 10);
}

/// Measures `work(count)`, which does something `count` times; a tenth of that first, to warm up.
fn measure(name: &str, count: u64, mut work: impl FnMut(u64)) {
    work(count / 10 + 1);
    let start = now();
    work(count);
    cost(name, now() - start, count);
}
