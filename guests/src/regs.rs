//! Register fuzz: random contents in every register, over random cheap calls, on several LWPs,
//! while signals and preemption come between.
//!
//! Arguments: rounds of each LWP (20,000), LWPs (4), seed (1). Prints the first register that is not
//! what the convention says (lwp.md 6.4).

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use rt::abi::nr::{
    SYS_CLOCK_GETTIME50, SYS_GETPID, SYS_GETUID, SYS_LWP_GETPRIVATE, SYS_LWP_SELF, SYS_LWP_UNPARK,
    SYS_SCHED_YIELD,
};
use rt::abi::signal::{SaFlags, Siginfo, Signo};
use rt::abi::ucontext::Ucontext;
use rt::check::{Fail, Verdict};
use rt::lwp::{self, Task, spawn};
use rt::process::low;
use rt::regs::{Random, Site, shape, try_shape};
use rt::start::Args;
use rt::{say, sig};

rt::main!(main);

/// More LWPs than this are not started.
const MAX: usize = 64;

fn main(args: Args) -> i32 {
    let rounds = args.number(1, 20_000);
    let lwps = usize::try_from(args.number(2, 4))
        .unwrap_or(4)
        .clamp(1, MAX);
    rt::process::watchdog(240);
    match fuzz(rounds, lwps, args.number(3, 1)) {
        Ok(()) => {
            let handled = HANDLED.load(Ordering::Relaxed);
            say!(
                "ok regs {lwps} LWPs, {rounds} rounds, level {}, {handled} signals",
                rt::regs::level()
            );
            0
        }
        Err(fail) => {
            say!("FAIL regs {fail}");
            1
        }
    }
}

static FAILED: AtomicBool = AtomicBool::new(false);
static ENDED: AtomicU32 = AtomicU32::new(0);
static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn handler(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
    rt::regs::clobber();
}

/// The sites of one call.
type Sites = [(&'static str, Site, shape::Also); 8];

fn fuzz(rounds: u64, lwps: usize, seed: u64) -> Verdict {
    rt::regs::level();
    sig::catch(Signo::SIGUSR1, handler, SaFlags::empty())?;
    let mut tasks: [Option<Task<()>>; MAX] = [None; MAX];
    for (i, slot) in tasks.iter_mut().enumerate().take(lwps) {
        *slot = Some(spawn(move || run(rounds, seed + i as u64)));
    }
    let mut random = Random::new(seed);
    while ENDED.load(Ordering::SeqCst) < u32::try_from(lwps).unwrap_or(0) {
        let i = usize::try_from(random.below(lwps as u64)).unwrap_or(0);
        if let Some(task) = &tasks[i] {
            // It may have ended.
            let _ = lwp::kill(task.lid, Signo::SIGUSR1.raw());
        }
        rt::sync::yield_now();
    }
    for task in tasks.into_iter().flatten() {
        task.join()?;
    }
    if FAILED.load(Ordering::Relaxed) {
        return Err(Fail::new(format_args!("see above")));
    }
    Ok(())
}

/// One LWP's rounds. Findings are printed here, since a task's result is small.
fn run(rounds: u64, seed: u64) {
    let mut random = Random::new(seed);
    let lid = lwp::me().raw();
    for round in 0..rounds {
        if FAILED.load(Ordering::Relaxed) {
            break;
        }
        if let Err(fail) = step(&mut random, lid) {
            FAILED.store(true, Ordering::Relaxed);
            say!("LWP {lid}, round {round}: {fail}");
        }
    }
    ENDED.fetch_add(1, Ordering::SeqCst);
}

/// One call with random registers.
fn step(random: &mut Random, lid: i32) -> Verdict {
    let calls: [(&str, Sites); 7] = [
        ("_lwp_self", shape::all::<{ SYS_LWP_SELF }>()),
        ("getpid", shape::all::<{ SYS_GETPID }>()),
        ("getuid", shape::all::<{ SYS_GETUID }>()),
        ("_lwp_getprivate", shape::all::<{ SYS_LWP_GETPRIVATE }>()),
        ("sched_yield", shape::all::<{ SYS_SCHED_YIELD }>()),
        ("_lwp_unpark", shape::all::<{ SYS_LWP_UNPARK }>()),
        ("clock_gettime", shape::all::<{ SYS_CLOCK_GETTIME50 }>()),
    ];
    let call = usize::try_from(random.below(7)).unwrap_or(0);
    // The patched shapes more often than those that trap.
    let shapes = if random.below(4) == 0 { 8 } else { 5 };
    let index = random.below(shapes);
    let (name, sites) = calls[call];
    let (shape, site, also) = sites[usize::try_from(index).unwrap_or(0)];
    // No id has its top bit set, so that nobody is unparked by accident.
    let raw = try_shape(random, (site, also), |state| state.rdi |= 1 << 31)
        .map_err(|wrong| Fail::new(format_args!("{name} as {shape}: {wrong}")))?;
    if call == 0 && low(raw.rax) != lid {
        return Err(Fail::new(format_args!("{name} as {shape}: {:#x}", raw.rax)));
    }
    if raw.carry != (call > 4) {
        return Err(Fail::new(format_args!("{name} as {shape}: {raw:?}")));
    }
    Ok(())
}
