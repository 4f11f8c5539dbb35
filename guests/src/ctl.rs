//! lwpctl under preemption: what an LWP reads in its own block is true whenever it reads it.
//!
//! Arguments: LWPs (6), milliseconds (400). The LWPs, more than there are vcpus, sample their blocks
//! without a break, and go to sleep, yield and take signals now and then, so that they are preempted and
//! change their vcpus. What must hold (lwp.md, section 3):
//! 1. Who runs has a CPU: `lc_curcpu` is one of `hw.ncpu`.
//! 2. `lc_pctr` never goes back.
//! 3. While it stays the same, so does the CPU: nobody is moved without its being counted.
//! 4. Others see a CPU or `LWPCTL_CPU_NONE` in the block of an LWP that lives, and `LWPCTL_CPU_EXITED`, and
//!    a count that stands still, from when it has exited until it is reaped.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use rt::abi::lwp::{LWPCTL_CPU_EXITED, LWPCTL_CPU_NONE, LwpId};
use rt::abi::signal::{SaFlags, Siginfo, Signo};
use rt::abi::ucontext::Ucontext;
use rt::check::{Fail, Verdict};
use rt::lwp::{self, Ctl, Task, read_ctl, spawn};
use rt::regs::Random;
use rt::start::Args;
use rt::time::{MS, now, timespec};
use rt::{ensure, ensure_eq, say, sig, sync, sysctl};

rt::main!(main);

/// More LWPs than this are not started.
const MAX: usize = 32;
/// Both features.
const FEATURES: i32 = 3;
/// Samples between two looks at the clock.
const SAMPLES: u32 = 20_000;

fn main(args: Args) -> i32 {
    let lwps = usize::try_from(args.number(1, 6))
        .unwrap_or(6)
        .clamp(2, MAX);
    rt::process::watchdog(60);
    match sample_all(lwps, args.number(2, 400)) {
        Ok(()) => {
            say!(
                "ok ctl {lwps} LWPs, {} samples, {} switches seen",
                TAKEN.load(Ordering::Relaxed),
                SEEN.load(Ordering::Relaxed)
            );
            0
        }
        Err(fail) => {
            say!("FAIL ctl {fail}");
            1
        }
    }
}

static TAKEN: AtomicU64 = AtomicU64::new(0);
static SEEN: AtomicU64 = AtomicU64::new(0);
/// The number of the invariant that is broken.
static BROKEN: AtomicU32 = AtomicU32::new(0);
/// Where each worker's block is.
static BLOCKS: [AtomicUsize; MAX] = [const { AtomicUsize::new(0) }; MAX];
/// Workers do not exit before they are asked to.
static DONE: AtomicU32 = AtomicU32::new(0);

/// What an LWP has read of its own block.
struct Sampler {
    block: Ctl,
    ncpu: i32,
    cpu: i32,
    count: i32,
}

impl Sampler {
    /// One look. Not counted if a switch came into the middle of it.
    fn sample(&mut self) {
        let first = read_ctl(self.block).lc_pctr;
        let cpu = read_ctl(self.block).lc_curcpu;
        if read_ctl(self.block).lc_pctr != first {
            return;
        }
        let broken = if !(0..self.ncpu).contains(&cpu) {
            1
        } else if first.wrapping_sub(self.count) < 0 {
            2
        } else if first == self.count && cpu != self.cpu {
            3
        } else {
            0
        };
        if broken != 0 {
            BROKEN.store(broken, Ordering::Relaxed);
        }
        if first != self.count {
            SEEN.fetch_add(1, Ordering::Relaxed);
        }
        (self.count, self.cpu) = (first, cpu);
    }
}

fn worker(slot: usize, until: u64, ncpu: i32) {
    let Ok(block) = lwp::ctl(FEATURES) else {
        BROKEN.store(9, Ordering::Relaxed);
        return;
    };
    BLOCKS[slot].store(block.addr(), Ordering::Release);
    let mut random = Random::new(slot as u64);
    let first = read_ctl(block);
    let (cpu, count) = (first.lc_curcpu, first.lc_pctr.wrapping_sub(1));
    let mut sampler = Sampler {
        block,
        ncpu,
        cpu,
        count,
    };
    while now() < until {
        for _ in 0..SAMPLES {
            sampler.sample();
        }
        TAKEN.fetch_add(u64::from(SAMPLES), Ordering::Relaxed);
        match random.below(4) {
            0 => sync::yield_now(),
            1 => {
                // It may also be ended by a signal.
                let _ = lwp::park_for(&mut timespec(random.below(60_000)));
            }
            _ => {}
        }
    }
    while DONE.load(Ordering::Acquire) == 0 {
        sampler.sample();
        sync::yield_now();
    }
}

extern "C" fn handler(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
    rt::regs::clobber();
}

/// Looks at the blocks of others while they live.
fn watch(workers: &[Option<Task<()>>; MAX], lwps: usize, until: u64, ncpu: i32) -> Verdict {
    let mut counts = [None; MAX];
    let mut round = 0_usize;
    while now() < until {
        round += 1;
        for (slot, count) in counts.iter_mut().enumerate().take(lwps) {
            let addr = BLOCKS[slot].load(Ordering::Acquire);
            if addr == 0 {
                continue;
            }
            // SAFETY: the worker has told where its block is, and has not been reaped.
            let block = unsafe { Ctl::at(addr) };
            let (cpu, now) = (read_ctl(block).lc_curcpu, read_ctl(block).lc_pctr);
            ensure!(
                cpu == LWPCTL_CPU_NONE || (0..ncpu).contains(&cpu),
                "slot {slot}: CPU {cpu}"
            );
            let before = count.replace(now).unwrap_or(now);
            ensure!(
                now.wrapping_sub(before) >= 0,
                "slot {slot}: {before}, then {now}"
            );
        }
        if let Some(task) = workers[round % lwps] {
            let _ = lwp::kill(task.lid, Signo::SIGUSR1.raw());
        }
        sync::yield_now();
    }
    Ok(())
}

/// The block of an LWP that is about to exit.
fn exits(slot: usize, task: Task<()>) -> Verdict {
    let addr = BLOCKS[slot].load(Ordering::Acquire);
    ensure!(addr != 0, "slot {slot} has no block");
    // SAFETY: as in `watch`.
    let block = unsafe { Ctl::at(addr) };
    sync::until("LWPCTL_CPU_EXITED", || {
        read_ctl(block).lc_curcpu == LWPCTL_CPU_EXITED
    })?;
    let count = read_ctl(block).lc_pctr;
    for _ in 0..1000 {
        ensure_eq!(read_ctl(block).lc_curcpu, LWPCTL_CPU_EXITED);
        ensure_eq!(read_ctl(block).lc_pctr, count);
    }
    task.join()?;
    Ok(())
}

fn sample_all(lwps: usize, millis: u64) -> Verdict {
    let ncpu = sysctl::ncpu()?;
    sig::catch(Signo::SIGUSR1, handler, SaFlags::RESTART)?;
    let until = now() + millis * MS;
    let mut workers: [Option<Task<()>>; MAX] = [None; MAX];
    for (slot, task) in workers.iter_mut().enumerate().take(lwps) {
        *task = Some(spawn(move || worker(slot, until, ncpu)));
    }
    watch(&workers, lwps, until, ncpu)?;
    DONE.store(1, Ordering::Release);
    for (slot, task) in workers.into_iter().flatten().enumerate() {
        exits(slot, task)?;
    }
    let broken = BROKEN.load(Ordering::SeqCst);
    ensure!(broken == 0, "invariant {broken}");
    ensure!(
        SEEN.load(Ordering::Relaxed) > 20,
        "hardly anybody was switched"
    );
    match lwp::wait(LwpId::new(0)) {
        Err(rt::Errno::ESRCH) => Ok(()),
        other => Err(Fail::new(format_args!("somebody is left: {other:?}"))),
    }
}
