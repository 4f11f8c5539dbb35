//! Generated programs: eight LWPs, each with 50 LWP calls or more, drawn from all of them with good and
//! bad arguments, under one schedule per seed.
//!
//! After every step the kernel's invariants hold; every result is one that its call can have; when
//! nobody can go on there is a good reason, and a nudge (SIGCONT, continue and wakeup for all) gets
//! them going; in the end nothing is left of anybody but the main LWP, which ends the process.
//!
//! 10,000 seeds in release builds, 300 in others; `LWP_SIM_SEEDS=N` says otherwise. A failure prints the
//! command that repeats it.
#![allow(
    clippy::unwrap_used,
    reason = "a test may say so by panicking, in its helpers too"
)]

use core::time::Duration;
use lwp_abi::errno::Errno;
use lwp_abi::lwp::{LWP_DETACHED, LWP_SUSPENDED, LWP_UNPARK_MAX, LwpState};
use lwp_abi::nr;
use lwp_abi::signal::{SaFlags, SigSet, Siginfo, Signo};
use lwp_abi::time::{ClockId, Timespec};
use lwp_abi::ucontext::{UCONTEXT_SIZE, UcFlags};
use lwp_kernel::Kernel;
use lwp_kernel::lwp::LwpFlags;
use lwp_kernel::machine::ExitWith;
use lwp_kernel::sched::Chaos;
use lwp_sim::{Ended, NOWHERE, PID, Sim, User, describe, for_each_seed, int, seeds};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use zerocopy::IntoBytes;

/// LWPs with a program of their own.
const LWPS: u64 = 8;
/// Calls of each.
const CALLS: u64 = 50;
/// LWPs beyond the first at any time.
const LIMIT: u64 = 14;
/// The status of a run that went well.
const STATUS: i32 = 42;
/// Whoever is stuck is nudged; so often nobody is.
const NUDGES: usize = 2_000;

/// Which errors each call can have.
static ERRORS: LazyLock<HashMap<&str, Vec<&str>>> = LazyLock::new(|| {
    let mut errors: HashMap<_, Vec<_>> = HashMap::new();
    for row in include_str!("data/lwp_errors.tsv").lines() {
        let mut fields = row.split('\t');
        if let (Some(call), Some(errno)) = (fields.next(), fields.next()) {
            errors.entry(call).or_default().push(errno);
        }
    }
    errors
});

/// What all LWPs of a run share on the host's side.
struct Shared {
    seed: u64,
    /// Every id there ever was.
    lids: Mutex<Vec<i32>>,
    finished: AtomicUsize,
    /// How often each call was made, by place in [`DRAWS`].
    made: [AtomicUsize; DRAWS.len()],
}

/// One LWP of a generated program.
struct Player {
    user: User,
    shared: Arc<Shared>,
    draws: Chaos,
    lid: i32,
    /// A page to pass arguments in.
    page: u64,
}

/// The calls, and how many tickets each has.
const DRAWS: [(u16, &str, u64); 18] = [
    (nr::SYS_LWP_CREATE, "_lwp_create", 6),
    (nr::SYS_LWP_SELF, "_lwp_self", 2),
    (nr::SYS_LWP_WAIT, "_lwp_wait", 8),
    (nr::SYS_LWP_SUSPEND, "_lwp_suspend", 5),
    (nr::SYS_LWP_CONTINUE, "_lwp_continue", 6),
    (nr::SYS_LWP_WAKEUP, "_lwp_wakeup", 5),
    (nr::SYS_LWP_GETPRIVATE, "_lwp_getprivate", 1),
    (nr::SYS_LWP_SETPRIVATE, "_lwp_setprivate", 1),
    (nr::SYS_LWP_KILL, "_lwp_kill", 8),
    (nr::SYS_LWP_DETACH, "_lwp_detach", 3),
    (nr::SYS_COMPAT_50__LWP_PARK, "_lwp_park", 3),
    (nr::SYS_LWP_UNPARK, "_lwp_unpark", 10),
    (nr::SYS_LWP_UNPARK_ALL, "_lwp_unpark_all", 4),
    (nr::SYS_LWP_SETNAME, "_lwp_setname", 2),
    (nr::SYS_LWP_GETNAME, "_lwp_getname", 2),
    (nr::SYS_LWP_CTL, "_lwp_ctl", 2),
    (nr::SYS_COMPAT_60__LWP_PARK, "___lwp_park50", 3),
    (nr::SYS_LWP_PARK60, "___lwp_park60", 12),
];

impl Player {
    async fn new(user: User, shared: Arc<Shared>, index: u64) -> Self {
        let lid = user.lwp_self().await;
        let page = user.memory().alloc(4096);
        let seed = shared.seed.wrapping_mul(0x9e37_79b9).wrapping_add(index);
        Self {
            user,
            draws: Chaos::new(seed),
            shared,
            lid,
            page,
        }
    }

    /// A number below `count`.
    fn below(&self, count: u64) -> u64 {
        self.draws.draw() % count
    }

    fn one_of<T: Copy>(&self, choices: &[T]) -> T {
        let index = self.below(choices.len() as u64);
        choices[usize::try_from(index).unwrap()]
    }

    /// An id: mostly one that there is or was.
    fn target(&self) -> i32 {
        match self.below(12) {
            0 => self.one_of(&[0, -1, 0x0123_4567, i32::MIN]),
            1 => PID,
            2 => self.lid,
            _ => self.one_of(&self.shared.lids.lock().unwrap()),
        }
    }

    /// An address: mostly a good one.
    fn address(&self, good: u64) -> u64 {
        match self.below(16) {
            0 => NOWHERE,
            1 => u64::MAX,
            _ => good,
        }
    }

    fn store<T: IntoBytes + zerocopy::Immutable + ?Sized>(&self, value: &T) -> u64 {
        self.user
            .memory()
            .write(value.as_bytes(), self.page)
            .unwrap();
        self.page
    }

    /// The address of a time, relative to now or not; or nothing.
    fn time(&self, base: Duration) -> u64 {
        let nanos = self.one_of(&[0, 1, 20_000, 200_000, 2_000_000]);
        let at = Timespec::from(base + Duration::from_nanos(nanos));
        let bad = self.one_of(&[-1, 1_000_000_000]);
        match self.below(8) {
            0 | 1 => 0,
            2 => self.address(self.store(&Timespec { tv_nsec: bad, ..at })),
            3 => self.address(self.store(&Timespec { tv_sec: -5, ..at })),
            _ => self.address(self.store(&at)),
        }
    }

    /// The arguments of a call.
    fn arguments(&self, call: u16) -> [u64; 6] {
        let real = self.user.kernel().machine.realtime();
        let target = int(self.target());
        let unpark = int(if self.below(3) == 0 { self.target() } else { 0 });
        match call {
            nr::SYS_LWP_CREATE => self.creation(),
            nr::SYS_LWP_WAIT => {
                let target = if self.below(3) == 0 { 0 } else { target };
                [
                    target,
                    self.one_of(&[0, self.page, self.page, NOWHERE]),
                    0,
                    0,
                    0,
                    0,
                ]
            }
            nr::SYS_LWP_KILL => {
                // Nothing that kills.
                let signo = self.one_of(&[0, 30, 31, 30, 31, 33, 20, 18, 19, 17, 64, -1]);
                [target, int(signo), 0, 0, 0, 0]
            }
            nr::SYS_LWP_SETPRIVATE => [self.one_of(&[0, self.page, u64::MAX]), 0, 0, 0, 0, 0],
            nr::SYS_LWP_UNPARK_ALL => {
                let list: Vec<i32> = (0..self.below(5)).map(|_| self.target()).collect();
                let count = self.one_of(&[list.len() as u64, LWP_UNPARK_MAX as u64 + 1, 0]);
                let count = count.min(list.len() as u64).max(count / 2);
                let list = self.store(list.as_slice());
                [
                    self.one_of(&[0, list, list, list, NOWHERE]),
                    count,
                    0,
                    0,
                    0,
                    0,
                ]
            }
            nr::SYS_LWP_SETNAME => {
                let name = self.one_of(&["", "name", "a name that is too long"]);
                let at = self.store(format!("{name}\0").as_bytes());
                [target, self.address(at), 0, 0, 0, 0]
            }
            nr::SYS_LWP_GETNAME => {
                let len = self.one_of(&[0, 1, 3, 16, 1000]);
                [target, self.address(self.page), len, 0, 0, 0]
            }
            nr::SYS_LWP_CTL => {
                let features = self.one_of(&[0, 1, 2, 3, 3, 4]);
                [int(features), self.address(self.page), 0, 0, 0, 0]
            }
            nr::SYS_COMPAT_50__LWP_PARK | nr::SYS_COMPAT_60__LWP_PARK => {
                [self.time(real), unpark, 0, 0, 0, 0]
            }
            nr::SYS_LWP_PARK60 => {
                let clocks = [ClockId::MONOTONIC.raw(), 3, 0, 99, 0x2000_0000 | PID];
                let (clock, flags) = (self.one_of(&clocks), self.one_of(&[0, 0, 1]));
                let mono = self.user.kernel().machine.monotonic();
                let base = match (flags, clock) {
                    (0, _) => Duration::ZERO,
                    (_, 0) => real,
                    _ => mono,
                };
                [int(clock), int(flags), self.time(base), unpark, 0, 0]
            }
            // One id, or nothing.
            _ => [target, 0, 0, 0, 0, 0],
        }
    }

    /// A new LWP with a short program; or a bad context, or nowhere to store the id.
    fn creation(&self) -> [u64; 6] {
        let shared = Arc::clone(&self.shared);
        let index = 100 + self.below(1 << 32);
        let function = self.user.thread(move |user, _| {
            let shared = Arc::clone(&shared);
            async move {
                let player = Player::new(user, shared, index).await;
                player.play(3).await;
            }
        });
        let mut uc = self.user.context(function, 0);
        uc.uc_flags |= self.one_of(&[0, UcFlags::SIGMASK.bits(), UcFlags::TLSBASE.bits()]);
        uc.uc_sigmask = SigSet::of(&[Signo::SIGUSR2]);
        match self.below(16) {
            0 => uc.uc_flags &= !UcFlags::CPU.bits(),
            1 => uc.uc_mcontext.gregs.cs = 0,
            2 => uc.uc_mcontext.gregs.rip = u64::MAX,
            _ => {}
        }
        let flags = self.one_of(&[
            0,
            0,
            0,
            LWP_DETACHED,
            LWP_SUSPENDED,
            LWP_DETACHED | LWP_SUSPENDED,
        ]);
        let lid = self.page + UCONTEXT_SIZE as u64;
        [
            self.address(self.store(&uc)),
            flags,
            self.address(lid),
            0,
            0,
            0,
        ]
    }

    /// Makes `count` calls.
    async fn play(&self, count: u64) {
        let tickets: u64 = DRAWS.iter().map(|&(_, _, tickets)| tickets).sum();
        for _ in 0..count {
            let mut ticket = self.below(tickets);
            let index = DRAWS.iter().position(|&(_, _, tickets)| {
                let is_it = ticket < tickets;
                ticket = ticket.wrapping_sub(tickets);
                is_it
            });
            self.make(index.unwrap()).await;
            if self.below(4) == 0 {
                self.user.pause().await;
            }
        }
    }

    /// Makes one call and judges its result.
    async fn make(&self, index: usize) {
        let (call, name, _) = DRAWS[index];
        self.shared.made[index].fetch_add(1, Ordering::Relaxed);
        let args = self.arguments(call);
        let reply = self.user.syscall(call, &args).await;
        match reply.result() {
            Err(errno) => {
                let known = ERRORS
                    .get(name)
                    .is_some_and(|known| known.contains(&errno.name()));
                assert!(known, "{name}{args:x?}: {errno:?}");
            }
            Ok(value) => {
                assert_eq!(reply.rdx, 0, "{name}");
                self.judge(call, &args, value);
            }
        }
    }

    fn judge(&self, call: u16, args: &[u64], value: u64) {
        match call {
            nr::SYS_LWP_SELF => assert_eq!(value, u64::from(self.lid.unsigned_abs())),
            nr::SYS_LWP_GETPRIVATE => {}
            nr::SYS_LWP_UNPARK_ALL if args[0] == 0 => assert_eq!(value, LWP_UNPARK_MAX as u64),
            nr::SYS_LWP_CREATE => {
                assert_eq!(value, 0);
                let lid: i32 = self.user.get(args[2]);
                self.shared.lids.lock().unwrap().push(lid);
            }
            _ => assert_eq!(value, 0, "call {call}"),
        }
    }
}

/// The main LWP: starts the others, waits until they have played, and clears up.
async fn main(user: User, shared: Arc<Shared>) {
    user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
    user.count_signals(Signo::SIGUSR2, SaFlags::RESTART).await;
    user.count_signals(Signo::SIGRTMIN, SaFlags::RESTART).await;
    for index in 0..LWPS {
        let theirs = Arc::clone(&shared);
        let spawned = user.spawn(move |user| async move {
            let player = Player::new(user, theirs, index).await;
            player.play(CALLS).await;
            player.shared.finished.fetch_add(1, Ordering::Relaxed);
            player.user.lwp_exit().await;
        });
        let lid = spawned.await.expect("there is room for them");
        shared.lids.lock().unwrap().push(lid);
    }
    let kernel = user.kernel();
    kernel.proc.nthr_soft.store(LIMIT, Ordering::Relaxed);
    while shared.finished.load(Ordering::Relaxed) < usize::try_from(LWPS).unwrap() {
        // Nobody has to wake it: who is stuck is nudged.
        let _ = user.park().await;
        // Broadcasts: LWPs in `_lwp_suspend` look whether their targets were continued.
        assert_eq!(user.wait_to(-1, 0).await, Err(Errno::ESRCH));
    }
    loop {
        match user.wait_to(0, 0).await {
            Ok(()) | Err(Errno::EINTR) => {}
            Err(Errno::ESRCH) if user.kernel().proc.lock().nlwps() == 1 => break,
            // Detached ones are left, or others wait as well.
            Err(Errno::ESRCH | Errno::EDEADLK) => {
                let _ = user.park().await;
            }
            Err(errno) => panic!("{errno:?}"),
        }
    }
    {
        let p = kernel.proc.lock();
        assert_eq!((p.nrlwps, p.nzlwps, p.nlwpwait), (1, 0, 0));
    }
    user.exit(STATUS).await;
}

/// Nobody can go on: looks whether each has a reason, and gets all going.
fn nudge(kernel: &Arc<Kernel>, has_stopped: bool) {
    let mut to_wake = Vec::new();
    let lwps: Vec<_> = {
        let p = kernel.proc.lock();
        for t in p.lwps.values() {
            let st = t.lock();
            let is_asleep = st.stat == LwpState::Sleep;
            // A wakeup of an LWP stopped asleep leaves its marks with a sleeper.
            let marks = LwpFlags::UNPARKED | LwpFlags::CANCELLED;
            let is_marked = t.flags().intersects(marks) && !has_stopped;
            assert!(
                !(is_asleep && st.wmesg == "parked" && is_marked),
                "{}: parked with an unpark pending",
                t.lid()
            );
            let waiting_for = st.waiting_for;
            // A wakeup would make `_lwp_suspend` suspend once more.
            let in_suspend = st.wmesg == "lwpwait" && waiting_for.is_none();
            drop(st);
            if !in_suspend {
                to_wake.push(t.lid().raw());
            }
            let Some(Some(target)) = waiting_for.filter(|_| is_asleep) else {
                continue;
            };
            let target = kernel.lids.find(target.raw()).expect("it would be ESRCH");
            let st = target.lock();
            assert!(
                st.stat != LwpState::Zomb && !st.detached,
                "{}: waits for {} in vain",
                t.lid(),
                target.lid()
            );
        }
        p.lwps.values().map(|t| t.lid().raw()).collect()
    };
    kernel.psignal(&Siginfo::new(Signo::SIGCONT, 0));
    // Some are dead, or awake by now.
    for lid in lwps {
        let _ = kernel.resume(lid);
    }
    for lid in to_wake {
        let _ = kernel.wakeup(lid);
    }
}

/// One program under one schedule. Returns how many steps it took.
fn run(seed: u64, made: &[AtomicUsize]) -> usize {
    let shared = Arc::new(Shared {
        seed,
        lids: Mutex::new(vec![PID]),
        finished: AtomicUsize::new(0),
        made: [const { AtomicUsize::new(0) }; DRAWS.len()],
    });
    let theirs = Arc::clone(&shared);
    let sim = Sim::new(seed, move |user| main(user, Arc::clone(&theirs)));
    let mut steps = 0;
    let check = |kernel: &Arc<Kernel>| {
        if let Err(broken) = kernel.check_invariants() {
            panic!("invariant broken: {broken}\n{}", describe(kernel));
        }
    };
    let mut ended = Ended::Deadlock;
    for _ in 0..NUDGES {
        ended = sim.run_checked(|kernel| {
            steps += 1;
            check(kernel);
        });
        if ended != Ended::Deadlock {
            break;
        }
        nudge(sim.kernel(), !sim.machine().stops().is_empty());
        check(sim.kernel());
    }
    let expected = Ended::Exit(ExitWith::Code(STATUS));
    assert_eq!(ended, expected, "{}", describe(sim.kernel()));
    for (sum, count) in made.iter().zip(&shared.made) {
        sum.fetch_add(count.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    steps
}

#[test]
fn programs_under_seeds() {
    let count = if cfg!(debug_assertions) { 300 } else { 10_000 };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let made = [const { AtomicUsize::new(0) }; DRAWS.len()];
    let (steps, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for first in 0..threads {
            let (made, steps, failed) = (&made, &steps, &failed);
            let body = move || {
                let mine = seeds(count).skip(first).step_by(threads);
                let mine = mine.take_while(|_| !failed.load(Ordering::Relaxed));
                for_each_seed("generated", mine, |seed| {
                    steps.fetch_add(run(seed, made), Ordering::Relaxed);
                });
            };
            std::thread::Builder::new()
                .name("programs_under_seeds".into())
                .spawn_scoped(scope, move || {
                    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
                    failed.fetch_or(ended.is_err(), Ordering::Relaxed);
                })
                .unwrap();
        }
    });
    assert!(!failed.into_inner(), "see above");
    for (count, (_, name, _)) in made.iter().zip(DRAWS) {
        assert!(count.load(Ordering::Relaxed) > 0, "{name} was never drawn");
    }
    println!("{} steps", steps.into_inner());
}
