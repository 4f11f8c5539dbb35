//! Everything at once: LWPs that come and go, wake each other, time out, take signals, are
//! suspended and preempted, while invariants are checked.
//!
//! Arguments: LWPs (8), rounds of each (10,000), seed (1). The work is L-315's condition variable: a
//! lock word, a list of waiters, absolute time-outs of 0 to 5 ms. What must hold:
//! 1. Every item that is put is taken exactly once.
//! 2. The critical section is never entered by two.
//! 3. A handler runs in the LWP that was meant, and leaves no register changed (`private`, a
//!    vector of canaries).
//! 4. The program ends: no wake-up is lost.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use rt::abi::lwp::LwpId;
use rt::abi::signal::{SaFlags, Siginfo, Signo};
use rt::abi::time::{CLOCK_MONOTONIC, TIMER_ABSTIME};
use rt::abi::ucontext::Ucontext;
use rt::check::{Fail, Verdict};
use rt::lwp::{self, How, Task, spawn};
use rt::regs::Random;
use rt::start::Args;
use rt::time::{MS, now, timespec};
use rt::{Errno, ensure, ensure_eq, say, sig};

rt::main!(main);

/// What it shows.
const STATEMENT: &str = "L-315";

/// More LWPs than this are not started.
const MAX: usize = 256;

fn main(args: Args) -> i32 {
    let lwps = usize::try_from(args.number(1, 8))
        .unwrap_or(8)
        .clamp(2, MAX);
    let rounds = u32::try_from(args.number(2, 10_000)).unwrap_or(10_000);
    rt::process::watchdog(240);
    match storm(lwps, rounds, args.number(3, 1)) {
        Ok(()) => {
            say!(
                "ok {STATEMENT} {lwps} LWPs, {rounds} rounds, {} signals",
                HANDLED.load(Ordering::Relaxed)
            );
            0
        }
        Err(fail) => {
            say!("FAIL {STATEMENT} {fail}");
            1
        }
    }
}

/// A lock that parks: 0 free, 1 taken, 2 taken with waiters. Waiters stand in [`WAITERS`].
static LOCK: AtomicU32 = AtomicU32::new(0);
/// Who waits for the lock or an item: a lid in each worker's slot, or 0.
static WAITERS: [AtomicI32; MAX] = [const { AtomicI32::new(0) }; MAX];
/// How many are in the critical section.
static INSIDE: AtomicU32 = AtomicU32::new(0);
/// Items that can be taken. Under the lock.
static ITEMS: AtomicU32 = AtomicU32::new(0);
/// What was put and taken in all. Under the lock.
static PUT: AtomicU64 = AtomicU64::new(0);
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// A broken invariant: its number.
static BROKEN: AtomicU32 = AtomicU32::new(0);
static HANDLED: AtomicU64 = AtomicU64::new(0);
/// Who works in each slot.
static LIDS: [AtomicI32; MAX] = [const { AtomicI32::new(0) }; MAX];
/// Workers that have ended.
static ENDED: AtomicU32 = AtomicU32::new(0);

/// Waits in one's slot until someone wakes, or a random time of up to 5 ms is over.
fn wait(slot: usize, random: &mut Random) {
    let mut until = timespec(now() + random.below(5 * MS));
    let result = lwp::park_until(
        CLOCK_MONOTONIC,
        TIMER_ABSTIME,
        Some(&mut until),
        LwpId::new(0),
    );
    if !matches!(
        result,
        Ok(0) | Err(Errno::ETIMEDOUT | Errno::EINTR | Errno::EALREADY)
    ) {
        BROKEN.store(4, Ordering::Relaxed);
    }
    WAITERS[slot].store(0, Ordering::SeqCst);
}

/// Enlists, so that the next [`wake`] finds one. To be followed by a test and [`wait`].
fn enlist(slot: usize) {
    WAITERS[slot].store(lwp::me().raw(), Ordering::SeqCst);
}

/// Wakes one waiter, if there is any.
fn wake(from: usize) {
    for i in 0..MAX {
        let lid = WAITERS[(from + i) % MAX].swap(0, Ordering::SeqCst);
        if lid != 0 {
            let _ = lwp::unpark(LwpId::new(lid));
            return;
        }
    }
}

fn lock(slot: usize, random: &mut Random) {
    loop {
        if LOCK
            .compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
        {
            break;
        }
        enlist(slot);
        if LOCK.swap(2, Ordering::SeqCst) == 0 {
            WAITERS[slot].store(0, Ordering::SeqCst);
            break;
        }
        wait(slot, random);
    }
    if INSIDE.fetch_add(1, Ordering::SeqCst) != 0 {
        BROKEN.store(2, Ordering::Relaxed);
    }
}

fn unlock(slot: usize) {
    INSIDE.fetch_sub(1, Ordering::SeqCst);
    if LOCK.swap(0, Ordering::SeqCst) == 2 {
        wake(slot);
    }
}

fn put(slot: usize, random: &mut Random) {
    lock(slot, random);
    ITEMS.fetch_add(1, Ordering::Relaxed);
    PUT.fetch_add(1, Ordering::Relaxed);
    unlock(slot);
    wake(slot);
}

/// Takes an item, waiting for it as long as it takes.
fn take(slot: usize, random: &mut Random) {
    loop {
        lock(slot, random);
        let got = ITEMS.load(Ordering::Relaxed) > 0;
        if got {
            ITEMS.fetch_sub(1, Ordering::Relaxed);
            TAKEN.fetch_add(1, Ordering::Relaxed);
        } else {
            enlist(slot);
        }
        unlock(slot);
        if got {
            return;
        }
        wait(slot, random);
    }
}

/// One worker: puts and takes as often, computes in between, and minds its registers.
fn worker(slot: usize, rounds: u32, seed: u64) {
    let mut random = Random::new(seed);
    let canary = 0x7000_0000 + 0x1000 * slot as u64;
    let _ = lwp::setprivate(canary);
    LIDS[slot].store(lwp::me().raw(), Ordering::Relaxed);
    for round in 0..rounds {
        if (slot + round as usize).is_multiple_of(2) {
            put(slot, &mut random);
            take(slot, &mut random);
        } else {
            // Whoever puts first keeps everybody from waiting for ever.
            put(slot, &mut random);
            // Now and then long enough to be preempted.
            let long = if random.below(256) == 0 { 1 << 13 } else { 1 };
            compute(slot as u64 + u64::from(round), random.below(200) * long);
            take(slot, &mut random);
        }
        if random.below(64) == 0 {
            short_life(&mut random);
        }
        if random.below(16) == 0 {
            disturb_one(&mut random);
        }
        if lwp::private() != canary {
            BROKEN.store(3, Ordering::Relaxed);
        }
    }
    ENDED.fetch_add(1, Ordering::SeqCst);
}

/// Floating-point work whose result is known: preemption must not disturb it.
fn compute(seed: u64, steps: u64) {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let start = (seed % 1000) as f64;
    let (mut a, mut b) = (start, start);
    for _ in 0..steps {
        // Two chains of the same operations: they stay equal as long as registers do.
        a = core::hint::black_box(a) * 1.000_1 + 0.5;
        b = core::hint::black_box(b) * 1.000_1 + 0.5;
    }
    if a.to_bits() != b.to_bits() {
        BROKEN.store(3, Ordering::Relaxed);
    }
}

/// An LWP that is created, does little, and is waited for or not.
fn short_life(random: &mut Random) {
    let stack = 4 * rt::vm::PAGE;
    if random.below(2) == 0 {
        match How::new().stack(stack).spawn(lwp::me) {
            Ok(task) if task.join() == Ok(task.lid) => {}
            _ => BROKEN.store(1, Ordering::Relaxed),
        }
    } else {
        let task = How::new().suspended().stack(stack).spawn(|| ());
        if !task.is_ok_and(|task| lwp::resume(task.lid).is_ok() && task.join().is_ok()) {
            BROKEN.store(1, Ordering::Relaxed);
        }
    }
}

extern "C" fn handler(_: i32, info: &mut Siginfo, _: &mut Ucontext) {
    if info.pid().raw() != rt::process::pid() {
        BROKEN.store(3, Ordering::Relaxed);
    }
    HANDLED.fetch_add(1, Ordering::Relaxed);
    rt::regs::clobber();
}

/// Does something to one of the workers, or to one that is not there.
fn disturb_one(random: &mut Random) {
    let i = usize::try_from(random.below(16)).unwrap_or(0);
    let lid = LwpId::new(LIDS[i].load(Ordering::Relaxed));
    // Errors are part of it: the worker may have ended, or never begun.
    let _ = match random.below(6) {
        0 | 1 => lwp::kill(lid, Signo::SIGUSR1.raw()),
        2 => lwp::unpark(lid),
        3 => lwp::wakeup(lid),
        4 => lwp::resume(lid),
        _ => rt::process::kill(rt::process::pid(), Signo::SIGUSR2.raw()),
    };
    if random.below(8) == 0 {
        wake(i);
    }
}

/// Disturbs the workers until all have ended.
fn disturb(lwps: usize, seed: u64) {
    let mut random = Random::new(seed);
    let wanted = u32::try_from(lwps).unwrap_or(u32::MAX);
    while ENDED.load(Ordering::SeqCst) < wanted {
        disturb_one(&mut random);
        rt::sync::yield_now();
    }
}

fn storm(lwps: usize, rounds: u32, seed: u64) -> Verdict {
    rt::regs::level();
    sig::catch(Signo::SIGUSR1, handler, SaFlags::RESTART)?;
    sig::catch(Signo::SIGUSR2, handler, SaFlags::empty())?;
    let mut workers: [Option<Task<()>>; MAX] = [None; MAX];
    for (slot, task) in workers.iter_mut().enumerate().take(lwps) {
        let seed = seed ^ (slot as u64) << 32;
        *task = Some(spawn(move || worker(slot, rounds, seed)));
    }
    disturb(lwps, seed);
    for task in workers.into_iter().flatten() {
        task.join()?;
    }
    let broken = BROKEN.load(Ordering::SeqCst);
    ensure!(broken == 0, "invariant {broken}");
    let wanted = u64::from(rounds) * lwps as u64;
    ensure_eq!(
        (PUT.load(Ordering::SeqCst), TAKEN.load(Ordering::SeqCst)),
        (wanted, wanted)
    );
    ensure_eq!(
        (ITEMS.load(Ordering::SeqCst), LOCK.load(Ordering::SeqCst)),
        (0, 0)
    );
    match lwp::wait_any() {
        Err(Errno::ESRCH) => Ok(()),
        other => Err(Fail::new(format_args!("somebody is left: {other:?}"))),
    }
}
