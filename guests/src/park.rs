//! Ping-pong: two LWPs wake each other by park and unpark, re-testing a shared word.
//!
//! Arguments: rounds (100,000), pairs of LWPs (1). No unpark may be lost (L-081): a lost one shows
//! as a program that does not end, which the watchdog ends.

#![no_std]
#![no_main]

use rt::lwp::{self, Task, spawn};
use rt::start::Args;
use rt::sync::Turn;
use rt::{say, time};

rt::main!(main);

/// More pairs than this are not started.
const MAX_PAIRS: usize = 64;

static TURNS: [Turn; MAX_PAIRS] = [const { Turn::new() }; MAX_PAIRS];

fn main(args: Args) -> i32 {
    let rounds = u32::try_from(args.number(1, 100_000)).unwrap_or(u32::MAX);
    let pairs = usize::try_from(args.number(2, 1))
        .unwrap_or(1)
        .clamp(1, MAX_PAIRS);
    rt::process::watchdog(240);
    let start = time::now();
    let mut players: [Option<Task<u32>>; MAX_PAIRS] = [None; MAX_PAIRS];
    for (slot, turn) in players.iter_mut().zip(&TURNS).take(pairs) {
        *slot = Some(spawn(move || first(turn, rounds)));
    }
    let mut played = 0;
    for player in players.into_iter().flatten() {
        played += u64::from(player.join().unwrap_or(0));
    }
    let took = time::now() - start;
    let wanted = u64::from(rounds) * pairs as u64;
    if played != wanted {
        say!("FAIL park {played} rounds, not {wanted}");
        return 1;
    }
    say!("ok park {played} rounds, {} ns each", took / wanted.max(1));
    0
}

/// One LWP of a pair: starts the other, and plays with it.
fn first(turn: &'static Turn, rounds: u32) -> u32 {
    let me = lwp::me();
    let other = spawn(move || {
        for _ in 0..rounds {
            turn.take(1);
            turn.give(0, me);
        }
    });
    for _ in 0..rounds {
        turn.give(1, other.lid);
        turn.take(0);
    }
    if other.join().is_ok() { rounds } else { 0 }
}
