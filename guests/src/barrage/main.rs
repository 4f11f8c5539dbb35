//! Calls at random, from many LWPs at once, with good, wild and hostile arguments.
//!
//! Arguments: seed (1), calls in all (20,000), LWPs (16), directory (`/tmp/barrage.PID`). The directory
//! is made, and removed at the end. One seed gives each LWP the same sequence of draws; what the calls
//! meet is up to the schedule. `calls` says which calls are made, `draw` with what, `filter` which are
//! not.
//!
//! What must hold:
//! 1. The program ends, and by itself: no crash, no hang. The first LWP gets the others out of every
//!    sleep, with `_lwp_continue`, `_lwp_unpark` and `_lwp_wakeup`; one that does not come out within
//!    [`PATIENCE`] is a finding, and is named.
//! 2. When all LWPs are reaped, what there is (LWPs, descriptors, timers) is what there was. The runner's
//!    own counts (`lwp run --left`) are to be those of a run with no calls.

#![no_std]
#![no_main]

mod berth;
mod calls;
mod draw;
mod filter;
mod tidy;

use berth::{BERTHS, Berth, LIDS, WORKERS};
use calls::Call;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use draw::Hand;
use filter::{FORKED, FORKS, PID};
use rt::abi::lwp::{KinfoLwp, LwpId, LwpState};
use rt::abi::nr::{
    SYS___SYSCALL, SYS_FORK, SYS_LWP_CREATE, SYS_MMAP, SYS_MREMAP, SYS_SYSCALL, SYS_VFORK,
    SYS_VFORK14,
};
use rt::abi::signal::{SIG_SETMASK, SaFlags, SigSet, Siginfo, Signo};
use rt::abi::ucontext::Ucontext;
use rt::check::{Fail, Verdict};
use rt::process::low;
use rt::start::Args;
use rt::time::{MS, SECOND, now, timespec};
use rt::{ensure_eq, lwp, process, say, sig, sysctl, time};

rt::main!(main);

/// How long an LWP may stay in one call although everything was done to get it out.
const PATIENCE: u64 = 60 * SECOND;
/// How long the first LWP lets the others sleep.
const NAP: u64 = 2 * MS;
/// LWPs that are looked at in one go, the newest first: all that live, and as many dead.
const RECORDS: usize = 2 * BERTHS + 2;
/// Calls of a short life.
const SHORT_CALLS: u64 = 6;
/// Calls of a child.
const CHILD_CALLS: u64 = 200;

/// Calls to be made in all, and those taken on so far.
static WANTED: AtomicU64 = AtomicU64::new(0);
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// Of each berth: calls begun, and the last of them.
static BEGUN: [AtomicU64; BERTHS] = [const { AtomicU64::new(0) }; BERTHS];
static LAST: [[AtomicU64; 7]; BERTHS] = [const { [const { AtomicU64::new(0) }; 7] }; BERTHS];
/// Calls that succeeded, by this process.
static SUCCEEDED: AtomicU64 = AtomicU64::new(0);
static HANDLED: AtomicU64 = AtomicU64::new(0);
/// Short lives, and the seed of all.
static LIVES: AtomicU64 = AtomicU64::new(0);
static SEED: AtomicU64 = AtomicU64::new(0);
/// A child of the run, which ends by itself.
static IS_CHILD: AtomicBool = AtomicBool::new(false);

fn main(args: Args) -> i32 {
    SEED.store(args.number(1, 1), Ordering::Relaxed);
    WANTED.store(args.number(2, 20_000), Ordering::Relaxed);
    let lwps = usize::try_from(args.number(3, 16))
        .unwrap_or(16)
        .clamp(1, WORKERS);
    match barrage(lwps, args) {
        Ok(()) => {
            say!(
                "ok barrage seed {}: {} calls, {} succeeded, {} LWPs and {} short lives, {} signals handled",
                SEED.load(Ordering::Relaxed),
                WANTED.load(Ordering::Relaxed),
                SUCCEEDED.load(Ordering::Relaxed),
                lwps,
                LIVES.load(Ordering::Relaxed),
                HANDLED.load(Ordering::Relaxed)
            );
            0
        }
        Err(fail) => {
            say!("FAIL barrage seed {}: {fail}", SEED.load(Ordering::Relaxed));
            1
        }
    }
}

fn barrage(lwps: usize, args: Args) -> Verdict {
    PID.store(process::pid(), Ordering::Relaxed);
    // The lwpctl area stays: it is to be there before the arena is.
    lwp::ctl(1)?;
    berth::prepare()?;
    let home = tidy::Home::make(args.arg(4))?;
    for signo in Signo::all().filter(|signo| !signo.is_cantmask()) {
        sig::catch(signo, caught, SaFlags::RESTART)?;
    }
    // None is for the first LWP: it has to look after the others.
    let mut all = SigSet::EMPTY;
    Signo::all().for_each(|each| all.insert(each));
    sig::procmask(SIG_SETMASK, Some(&all))?;
    let minder = tidy::start_minder()?;
    FORKED.fetch_add(1, Ordering::Relaxed);
    let before = tidy::Census::take()?;
    for (slot, lid) in LIDS.iter().enumerate().take(lwps) {
        let mut uc = lwp::makecontext(worker, slot as u64, Berth(slot).stack_top())?;
        uc.uc_flags |= rt::abi::ucontext::_UC_SIGMASK;
        uc.uc_sigmask = SigSet::EMPTY;
        lid.store(lwp::create(&uc, 0)?.raw(), Ordering::Release);
    }
    look_after_them()?;
    tidy::end_minder(minder)?;
    tidy::tidy()?;
    home.remove()?;
    let after = tidy::Census::take()?;
    ensure_eq!(after, before);
    Ok(())
}

/// Takes on one call, if there are any left.
fn take_on() -> bool {
    TAKEN.fetch_add(1, Ordering::Relaxed) < WANTED.load(Ordering::Relaxed)
}

/// An LWP that makes calls for as long as there are any to make.
extern "C" fn worker(slot: u64) {
    let slot = usize::try_from(slot).unwrap_or(0);
    let mut hand = Hand::new(SEED.load(Ordering::Relaxed), slot, short_life, caught);
    while take_on() {
        one_call(&mut hand);
    }
}

/// An LWP that some call has made.
extern "C" fn short_life(slot: u64) {
    let slot = usize::try_from(slot).unwrap_or(0);
    let life = LIVES.fetch_add(1, Ordering::Relaxed);
    let seed = SEED.load(Ordering::Relaxed) ^ life << 8;
    let mut hand = Hand::new(seed, slot, short_life, caught);
    for _ in 0..SHORT_CALLS {
        if !take_on() {
            break;
        }
        one_call(&mut hand);
    }
}

/// Draws a call, makes it, and notes what has to be undone.
fn one_call(hand: &mut Hand) {
    let call = hand.draw();
    let slot = hand.berth.0;
    LAST[slot][0].store(u64::from(call.nr), Ordering::Relaxed);
    for (note, arg) in LAST[slot][1..].iter().zip(call.args) {
        note.store(arg, Ordering::Relaxed);
    }
    BEGUN[slot].fetch_add(1, Ordering::Relaxed);
    let raw = call.make();
    let (nr, args) = real(&call);
    let is_fork = [SYS_FORK, SYS_VFORK, SYS_VFORK14].contains(&nr) && !raw.carry;
    if is_fork && process::pid() != PID.load(Ordering::Relaxed) {
        child(hand, nr != SYS_FORK);
    }
    if is_fork {
        tidy::note_child(low(raw.rax));
    }
    if !raw.carry {
        SUCCEEDED.fetch_add(1, Ordering::Relaxed);
    }
    let is_made = nr == SYS_LWP_CREATE && !raw.carry;
    // SAFETY: the kernel stored the id there, or the call would have failed; `Kind::LidOut` is the
    // sink or an address that fails.
    let made =
        is_made.then(|| unsafe { rt::vm::pointer::<i32>(hand.berth.sink()).read_volatile() });
    hand.settle(made);
    if (nr == SYS_MMAP || nr == SYS_MREMAP) && !raw.carry {
        let len = if nr == SYS_MMAP { args[1] } else { args[3] };
        tidy::keep_track(raw.rax, len, hand.random.draw());
    }
}

/// What a call is, when it is made by way of another.
fn real(call: &Call) -> (u16, [u64; 6]) {
    if call.nr != SYS_SYSCALL && call.nr != SYS___SYSCALL {
        return (call.nr, call.args);
    }
    let mut args = call.args;
    args.rotate_left(1);
    (u16::try_from(call.args[0] % 512).unwrap_or(0), args)
}

/// What a child does: a few calls more, alone. Whatever keeps it, the parent ends it.
fn child(hand: &mut Hand, is_vfork: bool) -> ! {
    PID.store(process::pid(), Ordering::Relaxed);
    IS_CHILD.store(true, Ordering::Relaxed);
    FORKED.store(FORKS, Ordering::Relaxed);
    let calls = if is_vfork { 0 } else { CHILD_CALLS };
    for _ in 0..calls {
        one_call(hand);
    }
    process::exit(0)
}

/// The handler of every signal. An exception in the program itself is a finding.
extern "C" fn caught(signo: i32, info: &mut Siginfo, uc: &mut Ucontext) {
    let is_exception = Signo::new(signo).is_some_and(Signo::is_trap) && info.si_code > 0;
    if is_exception && info.si_code < 0x1_0000 {
        let rip = uc.uc_mcontext.gregs.rip;
        say!(
            "FAIL barrage signal {signo} code {} at {rip:#x}, LWP {}",
            info.si_code,
            lwp::me()
        );
        process::exit(3);
    }
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Wakes, continues and waits for everybody until nobody is left.
#[expect(
    clippy::large_stack_arrays,
    reason = "the first LWP's stack has megabytes"
)]
fn look_after_them() -> Verdict {
    let mut seen = [(0_u64, 0_u64); BERTHS];
    for round in 0_u64.. {
        // Cut short by whoever wakes it.
        let _ = time::nanosleep(timespec(NAP), None);
        let time = now();
        let mut records = [KinfoLwp::default(); RECORDS];
        let count = sysctl::lwps(&mut records)?;
        let others = records[..count]
            .iter()
            .filter(|each| each.l_lid != lwp::me().raw());
        let is_over = TAKEN.load(Ordering::Relaxed) >= WANTED.load(Ordering::Relaxed);
        let mut is_alone = true;
        for each in others {
            is_alone = false;
            let lid = LwpId::new(each.l_lid);
            if each.l_stat == LwpState::Zomb.raw() {
                // It may be another's to wait for, or detached.
                let _ = rt::sys!(SYS_LWP_WAIT, lid, 0_u64);
            } else {
                nudge(lid, &mut seen, time, round)?;
            }
        }
        if is_over && is_alone {
            return Ok(());
        }
        if is_over {
            // The last detached one goes when somebody looks for the dead.
            let _ = lwp::wait(lwp::NOBODY);
        }
    }
    Ok(())
}

/// Gets an LWP out of a call that it is in since the last look.
fn nudge(lid: LwpId, seen: &mut [(u64, u64); BERTHS], time: u64, round: u64) -> Verdict {
    let slot = LIDS
        .iter()
        .position(|each| each.load(Ordering::Relaxed) == lid.raw());
    if let Some(slot) = slot {
        let begun = BEGUN[slot].load(Ordering::Relaxed);
        if seen[slot].0 != begun || seen[slot].1 == 0 {
            seen[slot] = (begun, time);
            return Ok(());
        }
        if time - seen[slot].1 > PATIENCE {
            return Err(stuck(lid, slot));
        }
    }
    // Each fails if there is nothing to do, or nobody. An LWP that suspends itself does so again when
    // it is woken by anything but a look around by those who wait for LWPs: that comes alone.
    let _ = lwp::resume(lid);
    let _ = lwp::unpark(lid);
    if slot.is_some_and(|slot| time - seen[slot].1 > SECOND) {
        // It may be where only a signal gets it out; or signals make its call begin again: then be
        // quicker than the next.
        let _ = lwp::kill(lid, Signo::SIGUSR1.raw());
        for _ in 0..64 {
            let _ = lwp::resume(lid);
            let _ = lwp::wait(lwp::NOBODY);
            rt::sync::yield_now();
        }
    }
    if round % 4 < 2 {
        let _ = lwp::wait(lwp::NOBODY);
    } else {
        let _ = lwp::wakeup(lid);
    }
    Ok(())
}

/// Says who is where.
#[expect(
    clippy::large_stack_arrays,
    reason = "the first LWP's stack has megabytes"
)]
fn stuck(lid: LwpId, slot: usize) -> Fail {
    let mut records = [KinfoLwp::default(); RECORDS];
    let count = sysctl::lwps(&mut records).unwrap_or(0);
    for each in &records[..count] {
        say!(
            "LWP {} state {} {}",
            each.l_lid,
            each.l_stat,
            sysctl::wmesg(each)
        );
    }
    let [nr, args @ ..] = &LAST[slot];
    let args = args.each_ref().map(|arg| arg.load(Ordering::Relaxed));
    Fail::new(format_args!(
        "LWP {lid} (place {slot}) is stuck in call {} {args:x?}",
        nr.load(Ordering::Relaxed)
    ))
}
