//! What the calls cost, as the guest's own clock sees it.
//!
//! Each cost is the median of [`ROUNDS`] rounds of many calls, so that a round in which the host
//! did something else does not count.

use core::sync::atomic::{AtomicU32, Ordering};
use rt::abi::lwp::LwpId;
use rt::abi::signal::{SaFlags, Siginfo, Signo};
use rt::abi::ucontext::Ucontext;
use rt::check::Verdict;
use rt::lwp::{self, spawn};
use rt::sync::Turn;
use rt::time::now;
use rt::{say, sig, vm};

/// Rounds of each measurement; odd, so that there is a middle.
const ROUNDS: usize = 15;

/// All measurements.
pub(crate) fn measure() -> Verdict {
    let me = lwp::me();
    cost("lwp_self", 20_000, |n| {
        for _ in 0..n {
            lwp::me();
        }
    });
    cost("unpark_running", 10_000, |n| {
        for _ in 0..n {
            let _ = lwp::unpark(me);
        }
    });
    // A pair, less the unpark that was measured alone, would be less exact: both are printed.
    cost("unpark_and_park_pending", 10_000, |n| {
        for _ in 0..n {
            let _ = lwp::unpark(me);
            let _ = lwp::park();
        }
    });
    round_trip();
    life()?;
    signal()?;
    cost("clock_gettime", 10_000, |n| {
        for _ in 0..n {
            now();
        }
    });
    Ok(())
}

/// Measures `work(n)`, which does something `n` times.
fn cost(name: &str, n: u64, mut work: impl FnMut(u64)) {
    let mut took = [0; ROUNDS];
    work(n / 10);
    for round in &mut took {
        let start = now();
        work(n);
        *round = now() - start;
    }
    took.sort_unstable();
    let tenths = took[ROUNDS / 2] * 10 / n;
    say!("cost {name} {}.{}", tenths / 10, tenths % 10);
}

/// Two LWPs that wake each other in turn: two unparks and two parks that sleep.
fn round_trip() {
    static TURN: Turn = Turn::new();
    static STOP: AtomicU32 = AtomicU32::new(0);
    let main = lwp::me();
    let other = spawn(move || {
        loop {
            TURN.take(1);
            if STOP.load(Ordering::Relaxed) != 0 {
                return;
            }
            TURN.give(0, main);
        }
    });
    cost("park_unpark_round_trip", 5_000, |n| {
        for _ in 0..n {
            TURN.give(1, other.lid);
            TURN.take(0);
        }
    });
    STOP.store(1, Ordering::Relaxed);
    TURN.give(1, other.lid);
    let _ = other.join();
}

/// An LWP from its creation to its end, on a stack that is there already.
fn life() -> Verdict {
    extern "C" fn nothing(_: u64) {}
    let stack = vm::map(lwp::STACK_SIZE)?;
    let uc = lwp::makecontext(nothing, 0, stack.end())?;
    cost("create_exit_wait", 1_000, |n| {
        for _ in 0..n {
            let lid = lwp::create(&uc, 0).unwrap_or(LwpId::new(-1));
            let _ = lwp::wait(lid);
        }
    });
    Ok(())
}

/// A signal to oneself: the call, the handler, the return.
fn signal() -> Verdict {
    extern "C" fn nothing(_: i32, _: &mut Siginfo, _: &mut Ucontext) {}
    sig::catch(Signo::SIGUSR1, nothing, SaFlags::empty())?;
    let me = lwp::me();
    cost("signal_to_self", 2_000, |n| {
        for _ in 0..n {
            let _ = lwp::kill(me, Signo::SIGUSR1.raw());
        }
    });
    Ok(())
}
