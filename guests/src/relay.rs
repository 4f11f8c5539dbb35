//! A baton that goes round: each LWP parks until it has the baton, and hands it on by unparking the next.
//!
//! Arguments: LWPs (100), rounds (10), `wait` (to the end of standard input, before its own). For the views: as many LWPs and events as are wanted, and each wake-up is
//! known beforehand. No unpark may be lost: a lost one shows as a program that does not end, which the watchdog
//! ends.

#![no_std]
#![no_main]

use core::ffi::CStr;
use core::fmt::Write;
use core::sync::atomic::{AtomicI32, Ordering};
use rt::abi::lwp::LwpId;
use rt::fmt::Text;
use rt::lwp::{self, spawn};
use rt::say;
use rt::start::Args;
use rt::sync::Turn;

rt::main!(main);

/// More runners than this are not started.
const MAX: usize = 16_384;

static BATON: Turn = Turn::new();
/// The ids of the runners, which are numbered from 1; 0 is the first LWP.
static LIDS: [AtomicI32; MAX + 1] = [const { AtomicI32::new(0) }; MAX + 1];

fn main(args: Args) -> i32 {
    let count = usize::try_from(args.number(1, 100)).unwrap_or(MAX);
    let count = count.clamp(1, MAX);
    let rounds = u32::try_from(args.number(2, 10)).unwrap_or(u32::MAX);
    rt::process::watchdog(240);
    LIDS[0].store(lwp::me().raw(), Ordering::Relaxed);
    for (number, slot) in (1..=count).zip(&LIDS[1..]) {
        // The last one hands it to the first LWP.
        let next = if number == count { 0 } else { number + 1 };
        let runner = spawn(move || run(number, next, rounds));
        slot.store(runner.lid.raw(), Ordering::Relaxed);
    }
    for _ in 0..rounds {
        hand_to(1);
        BATON.take(0);
    }
    let ended = (1..=count).filter(|&number| lwp::wait(lid(number)).is_ok());
    let ended = ended.count();
    if ended == count {
        say!("ok relay {rounds} rounds of {count} LWPs");
        if args.arg(3) == "wait" {
            while matches!(rt::process::read(0, &mut [0]), Ok(read) if read != 0) {}
        }
        0
    } else {
        say!("FAIL relay {ended} of {count} LWPs have ended");
        1
    }
}

fn run(number: usize, next: usize, rounds: u32) {
    let mut name: Text<16> = Text::of(format_args!("runner-{number}"));
    // There is room for it: the number has at most five digits.
    let _ = name.write_str("\0");
    if let Ok(name) = CStr::from_bytes_until_nul(name.as_bytes()) {
        let _ = lwp::setname(lwp::me(), name);
    }
    for _ in 0..rounds {
        BATON.take(u32::try_from(number).unwrap_or(0));
        hand_to(next);
    }
}

fn hand_to(next: usize) {
    BATON.give(u32::try_from(next).unwrap_or(0), lid(next));
}

fn lid(number: usize) -> LwpId {
    LwpId::new(LIDS[number].load(Ordering::Relaxed))
}
