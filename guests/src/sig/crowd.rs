//! Signals and many LWPs at once: stops, continues, fatal signals and exits with LWPs in every state,
//! handlers nested on many of them, and a handler that is left by setcontext(2).

use crate::frame::twice;
use core::sync::atomic::{AtomicU64, Ordering};
use rt::abi::fs::{LOCK_EX, O_CREAT, O_RDWR};
use rt::abi::lwp::{LwpId, LwpState};
use rt::abi::poll::Pollfd;
use rt::abi::signal::{SS_ONSTACK, SaFlags, SigSet, Siginfo, Signo};
use rt::abi::ucontext::Ucontext;
use rt::check::{Check, Fail, Verdict};
use rt::lwp::{self, How, spawn};
use rt::process::{self, Status, in_child, low};
use rt::sync::Word;
use rt::time::{SECOND, timespec};
use rt::{Errno, SysResult, ensure, ensure_eq, scene, sig, sys, sysctl, vm};

pub(crate) const CHECKS: &[Check] = &[
    ("crowd/exit", exit_of_a_crowd),
    ("crowd/fatal", fatal_signals_to_a_crowd),
    ("crowd/fault", fault_in_a_crowd),
    ("crowd/stop", stop_of_a_crowd),
    ("crowd/stop-again", stops_in_a_row),
    ("crowd/nested", nested_handlers_on_many),
    ("frame/left-by-setcontext", handler_left_by_setcontext),
];

const USR1: Signo = Signo::SIGUSR1;
const USR2: Signo = Signo::SIGUSR2;

/// How many LWPs of a crowd sleep in calls.
const SLEEPERS: usize = 12;

/// LWPs in every state.
struct Crowd {
    /// In calls of every kind.
    asleep: [LwpId; SLEEPERS],
    /// Suspended while parked, and from the start.
    suspended: [LwpId; 2],
    /// What a running one counts in.
    count: &'static Word,
}

fn forever() -> SysResult {
    lwp::park_for(&mut timespec(600 * SECOND))
}

/// Starts an LWP that sleeps in `call`, again when it comes back.
fn sleeper(call: impl Fn() -> SysResult + Send + 'static) -> LwpId {
    let task = spawn(move || {
        loop {
            let _ = call();
        }
    });
    let task: lwp::Task<()> = task;
    task.lid
}

fn poll_forever(fd: i32) -> SysResult {
    let mut fds = [Pollfd {
        fd,
        events: 1,
        revents: 0,
    }];
    sys!(SYS_POLL, fds.as_mut_ptr(), 1, -1)
}

/// Waits for a lock that another open file of this process holds.
fn lock_forever() -> SysResult {
    let open = || sys!(SYS_OPEN, c"crowd-lock.tmp", O_RDWR | O_CREAT, 0o600).map(low);
    let (held, wanted) = (open()?, open()?);
    sys!(SYS_UNLINK, c"crowd-lock.tmp")?;
    sys!(SYS_FLOCK, held, LOCK_EX)?;
    sys!(SYS_FLOCK, wanted, LOCK_EX)
}

impl Crowd {
    /// Gathers one. `count` is what the running one counts in.
    fn gather(count: &'static Word) -> Result<Self, Fail> {
        extern "C" fn stay(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
            let _ = nap();
        }
        sig::catch(USR1, stay, SaFlags::RESTART)?;
        let (read, _) = process::pipe()?;
        let (_, write) = process::pipe()?;
        let parked = sleeper(forever);
        let target = sleeper(nap);
        let handling = sleeper(nap);
        // In user mode it could be suspended.
        sysctl::until_sleeping(target)?;
        let asleep = [
            sleeper(lwp::park),
            parked,
            target,
            handling,
            sleeper(move || process::read(read, &mut [0])),
            sleeper(move || fill(write)),
            sleeper(move || poll_forever(read)),
            sleeper(lock_forever),
            sleeper(move || lwp::wait(parked).map(|_| 0)),
            sleeper(move || lwp::suspend(target)),
            sleeper(|| sig::suspend(SigSet::of(&[USR2]))),
            sleeper(|| sig::timedwait(SigSet::of(&[USR2]), None).map(|_| 0)),
        ];
        for lid in asleep {
            sysctl::until_sleeping(lid)?;
        }
        lwp::kill(handling, USR1.raw())?;
        scene::zombie()?;
        let stopped = scene::parked()?.lid;
        lwp::suspend(stopped)?;
        let newborn = How::new().suspended().spawn(|| ())?.lid;
        sysctl::until_state(newborn, LwpState::Suspended)?;
        let _: lwp::Task<()> = spawn(move || {
            loop {
                count.add();
            }
        });
        count.wait(1)?;
        Ok(Self {
            asleep,
            suspended: [stopped, newborn],
            count,
        })
    }

    /// That everybody is, or comes, where he was.
    fn is_unchanged(&self) -> Verdict {
        for lid in self.asleep {
            sysctl::until_sleeping(lid)?;
        }
        for lid in self.suspended {
            ensure!(sysctl::is_in(lid, LwpState::Suspended));
        }
        scene::moves(self.count)
    }
}

fn nap() -> SysResult {
    rt::time::nanosleep(timespec(600 * SECOND), None)
}

/// Writes to a pipe that nobody empties.
fn fill(to: i32) -> SysResult {
    static CHUNK: [u8; 4096] = [7; 4096];
    loop {
        process::write(to, &CHUNK)?;
    }
}

/// A counter that the parent sees, too.
fn shared<const N: usize>() -> Result<&'static [Word; N], Errno> {
    Ok(vm::map_shared(vm::PAGE)?.shared())
}

/// How a process ends that gathers a crowd and does `what`.
fn end_of(what: impl Fn() -> i32) -> Result<Status, Fail> {
    let words = shared::<1>()?;
    let status = in_child(|| match Crowd::gather(&words[0]) {
        Ok(_) => what(),
        Err(why) => {
            rt::complain!("no crowd: {why}");
            99
        }
    })?;
    // Nothing of it runs on.
    scene::stands_still(&words[0])?;
    Ok(status)
}

fn exit_of_a_crowd() -> Verdict {
    for _ in 0..3 {
        ensure_eq!(end_of(|| 3)?.code(), Some(3));
        let from_another = || {
            let _: lwp::Task<()> = spawn(|| process::exit(4));
            let _ = lwp::rest();
            5
        };
        ensure_eq!(end_of(from_another)?.code(), Some(4));
    }
    Ok(())
}

fn fatal_signals_to_a_crowd() -> Verdict {
    for signo in [Signo::SIGTERM, Signo::SIGKILL, Signo::SIGABRT] {
        let to_the_process = || {
            let _ = process::kill(process::pid(), signo.raw());
            let _ = lwp::rest();
            5
        };
        ensure_eq!(end_of(to_the_process)?.signal(), Some(signo.raw()));
        let to_one = || {
            let Ok(task) = scene::parked() else { return 6 };
            let _ = lwp::kill(task.lid, signo.raw());
            let _ = lwp::rest();
            5
        };
        ensure_eq!(end_of(to_one)?.signal(), Some(signo.raw()));
    }
    Ok(())
}

fn fault_in_a_crowd() -> Verdict {
    let fault = || {
        let _: lwp::Task<()> = spawn(|| {
            // SAFETY: nothing is mapped there, which is the point; the process dies of it.
            unsafe { vm::pointer::<u8>(vm::NOWHERE).write_volatile(1) };
        });
        let _ = lwp::rest();
        5
    };
    let status = end_of(fault)?;
    ensure_eq!(status.signal(), Some(Signo::SIGSEGV.raw()));
    Ok(())
}

/// Stops and continues a crowd so often, and lets it look at itself each time.
fn stopped(rounds: u32) -> Verdict {
    let words = shared::<3>()?;
    let [count, turn, seen] = words;
    let child = process::spawn_child(|| {
        let Ok(crowd) = Crowd::gather(count) else {
            return 1;
        };
        for round in 1..=rounds {
            seen.set(2 * round - 1);
            if turn.wait(round).is_err() || crowd.is_unchanged().is_err() {
                return 2;
            }
            seen.set(2 * round);
        }
        0
    })?;
    for round in 1..=rounds {
        seen.wait(2 * round - 1)?;
        process::kill(child, Signo::SIGSTOP.raw())?;
        let (_, status) = process::wait4(child, process::WUNTRACED)?;
        ensure_eq!(status.stopped(), Some(Signo::SIGSTOP.raw()));
        scene::stands_still(count)?;
        process::kill(child, Signo::SIGCONT.raw())?;
        let (_, status) = process::wait4(child, process::WCONTINUED)?;
        ensure!(status.continued(), "{status:?}");
        scene::moves(count)?;
        turn.set(round);
        // It says so, unless it has ended, which is said below.
        let _ = seen.wait(2 * round);
    }
    ensure_eq!(process::wait(child)?.code(), Some(0));
    Ok(())
}

fn stop_of_a_crowd() -> Verdict {
    stopped(1)
}

fn stops_in_a_row() -> Verdict {
    stopped(10)
}

/// How many LWPs handle signals at once.
const HANDLERS: usize = 6;
/// How often each.
const ROUNDS: u32 = 200;
/// How deep a handler of USR1 nests.
const DEPTH: u32 = 3;

/// How often handlers ran in each LWP: of USR1 and of USR2, which those raise.
static RAN: [[Word; 2]; HANDLERS] = [const { [const { Word::new() }; 2] }; HANDLERS];
/// Something that must not be.
static WRONG: Word = Word::new();

/// Which of the LWPs this is: its private pointer says so.
fn slot() -> usize {
    usize::try_from(lwp::private() >> 12).unwrap_or(0) % HANDLERS
}

extern "C" fn nest(_: i32, info: &mut Siginfo, uc: &mut Ucontext) {
    rt::regs::clobber();
    let before = RAN[slot()][0].add();
    let is_innermost = before % DEPTH == DEPTH - 1;
    let next = if is_innermost { USR2 } else { USR1 };
    let _ = lwp::kill(lwp::me(), next.raw());
    if info.pid().raw() != process::pid() || uc.uc_sigmask.contains(USR1) {
        WRONG.set(1);
    }
    rt::regs::clobber();
}

extern "C" fn innermost(_: i32, _: &mut Siginfo, uc: &mut Ucontext) {
    rt::regs::clobber();
    RAN[slot()][1].add();
    // It came while USR1 was handled, which is not blocked then (SA_NODEFER).
    if !sig::mask().contains(USR2) || uc.uc_sigmask.contains(USR2) {
        WRONG.set(2);
    }
}

/// Computes with vector registers while handlers clobber them; the result is known.
fn compute(steps: u64) -> bool {
    let (mut a, mut b) = (1.5_f64, 1.5_f64);
    for _ in 0..steps {
        a = core::hint::black_box(a) * 1.000_1 + 0.5;
        b = core::hint::black_box(b) * 1.000_1 + 0.5;
    }
    a.to_bits() == b.to_bits()
}

fn nested_handlers_on_many() -> Verdict {
    rt::regs::level();
    sig::catch(USR1, nest, SaFlags::NODEFER)?;
    sig::catch(USR2, innermost, SaFlags::empty())?;
    let tasks: [_; HANDLERS] = core::array::from_fn(|i| {
        let private = 0x7000_0000 + 0x1000 * (i as u64 + HANDLERS as u64);
        spawn(move || {
            let _ = lwp::setprivate(private);
            let slot = slot();
            for _ in 0..ROUNDS {
                let _ = lwp::kill(lwp::me(), USR1.raw());
                if !compute(200) || lwp::private() != private {
                    WRONG.set(3);
                }
            }
            (slot, sig::mask().is_empty())
        })
    });
    let mut slots = [0_u32; HANDLERS];
    for task in tasks {
        let (slot, is_empty) = task.join()?;
        slots[slot] += 1;
        ensure!(is_empty, "a mask is left");
    }
    ensure_eq!((slots, WRONG.get()), ([1; HANDLERS], 0));
    for [usr1, usr2] in &RAN {
        ensure_eq!((usr1.get(), usr2.get()), (ROUNDS * DEPTH, ROUNDS));
    }
    Ok(())
}

/// The context to which [`leave`] goes.
static BACK: AtomicU64 = AtomicU64::new(0);
/// How often it ran, and how often on the alternate stack, with its mask.
static LEFT: [Word; 2] = [const { Word::new() }; 2];

extern "C" fn leave(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
    LEFT[0].add();
    let on_it = sig::altstack(None).is_ok_and(|old| old.ss_flags & SS_ONSTACK != 0);
    if on_it && sig::mask().contains(USR1) {
        LEFT[1].add();
    }
    let uc: *const Ucontext = vm::pointer(BACK.load(Ordering::SeqCst));
    // SAFETY: `handler_left_by_setcontext` keeps it while signals may come.
    let _ = lwp::setcontext(unsafe { &*uc });
}

/// Raises a signal whose handler does not come back.
extern "C" fn raise(uc: &mut Ucontext) {
    BACK.store(sys::Arg::arg(uc), Ordering::SeqCst);
    let _ = lwp::kill(lwp::me(), USR1.raw());
}

fn handler_left_by_setcontext() -> Verdict {
    const TIMES: u32 = 100;
    sig::new_altstack(64 * 1024)?;
    sig::catch(USR1, leave, SaFlags::ONSTACK)?;
    for _ in 0..TIMES {
        twice(&mut Ucontext::default(), raise);
        ensure!(sig::altstack(None)?.ss_flags & SS_ONSTACK == 0);
        ensure!(sig::mask().is_empty());
    }
    ensure_eq!((LEFT[0].get(), LEFT[1].get()), (TIMES, TIMES));
    Ok(())
}
