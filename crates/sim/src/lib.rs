//! The sim machine: the same kernel over a machine whose every choice comes from a seed.
//!
//! A guest program is an async function that makes system calls through [`User`]. There are two ways to
//! run one. [`Sim`] has one vcpu on the calling thread and is deterministic: who runs, when an LWP is
//! preempted and how long an instruction takes all come from the seed, so one seed is one schedule.
//! [`Threads`] has several vcpus, each a host thread, for what can only happen between them. Time
//! is virtual in both: when nobody can run, it jumps to the next deadline.
//!
//! Responsible for standing in for the machine; it decides nothing about NetBSD. What it cannot show:
//! anything about real memory, registers or signals of the host.
#![forbid(unsafe_code)]

mod calls;
mod crew;
mod host;
mod machine;
pub mod memory;
mod nohost;
mod personality;
mod seeds;
mod user;

pub use calls::{NOWHERE, Park, int};
pub use machine::SimMachine;
pub use seeds::{for_each_seed, run, run_to, seeds};
pub use user::{Reply, User};

use crate::crew::{Crew, Stopped};
use crate::personality::Calls;
use crate::user::Space;
use core::fmt::Write;
use core::time::Duration;
use lwp_abi::lwp::LwpId;
use lwp_kernel::Kernel;
use lwp_kernel::ctx::UserCtx;
use lwp_kernel::events::Listener;
use lwp_kernel::kernel::Config;
use lwp_kernel::machine::{Clocks, ExitWith};
use lwp_kernel::sched::{Chaos, Fair, Policy};
use std::panic::resume_unwind;
use std::sync::Arc;

/// The pid of every simulated process.
pub const PID: i32 = 100;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a run that hung is a finding"]
pub enum Ended {
    /// The process ended.
    Exit(ExitWith),
    /// Every LWP waits and no time-out is left.
    Deadlock,
}

/// A process about to run.
struct Process {
    kernel: Arc<Kernel>,
    machine: Arc<SimMachine>,
    space: Arc<Space>,
}

impl Process {
    fn new(
        seed: u64,
        space: Arc<Space>,
        config: Config,
        crew: Option<Arc<Crew>>,
        policy: Box<dyn Policy>,
        listener: Option<Arc<dyn Listener>>,
    ) -> Self {
        let machine = Arc::new(SimMachine::new(seed, &space, crew));
        let calls = Arc::new(Calls::new());
        let below: Arc<SimMachine> = Arc::clone(&machine);
        let kernel = Kernel::with_listener(below, calls, policy, config, PID, listener);
        space.set_kernel(&kernel);
        let mut ctx = UserCtx::default();
        space.first_registers(&mut ctx.regs);
        kernel.start_first(LwpId::new(PID), ctx, |_| {});
        Self {
            kernel,
            machine,
            space,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Programs hold the space that holds them.
        self.space.clear();
    }
}

/// One run of one program on one vcpu, decided by a seed.
pub struct Sim {
    process: Process,
}

impl Sim {
    /// A process about to run `main`.
    pub fn new<F>(seed: u64, main: impl Fn(User) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::with_config(seed, Config::default(), main)
    }

    /// The same with limits.
    pub fn with_config<F>(
        seed: u64,
        config: Config,
        main: impl Fn(User) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let policy = Box::new(Chaos::new(seed));
        Self {
            process: Process::new(seed, Space::new(main), config, None, policy, None),
        }
    }

    /// The same with a listener to the kernel's events.
    pub fn with_listener<F>(
        seed: u64,
        listener: Arc<dyn Listener>,
        main: impl Fn(User) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let policy = Box::new(Chaos::new(seed));
        let (space, config) = (Space::new(main), Config::default());
        Self {
            process: Process::new(seed, space, config, None, policy, Some(listener)),
        }
    }

    /// The kernel under test.
    pub fn kernel(&self) -> &Arc<Kernel> {
        &self.process.kernel
    }

    /// The machine below it.
    pub fn machine(&self) -> &SimMachine {
        &self.process.machine
    }

    /// Runs to the end, calling `check` each time an LWP has given up the vcpu.
    ///
    /// # Panics
    /// If the process is over without having exited.
    pub fn run_checked(&self, mut check: impl FnMut(&Arc<Kernel>)) -> Ended {
        let kernel = self.kernel();
        while !kernel.is_over() {
            if kernel.run_one(0) {
                check(kernel);
                continue;
            }
            let Some(next) = kernel.callouts.next() else {
                return Ended::Deadlock;
            };
            self.machine().advance_to(next);
            kernel.clock_intr(0);
        }
        let with = self.machine().exited();
        Ended::Exit(with.expect("a process that is over has exited"))
    }

    /// Runs to the end, checking the kernel's invariants all along.
    ///
    /// # Panics
    /// If an invariant does not hold.
    pub fn run(&self) -> Ended {
        self.run_checked(|kernel| {
            if let Err(broken) = kernel.check_invariants() {
                panic!("invariant broken: {broken}\n{}", describe(kernel));
            }
        })
    }

    /// Virtual time so far.
    pub fn elapsed(&self) -> Duration {
        self.machine().monotonic()
    }
}

/// One run of one program on several vcpus, each a host thread.
pub struct Threads {
    process: Process,
    crew: Arc<Crew>,
}

impl Threads {
    /// A process about to run `main` on `ncpu` vcpus; `seed` decides what the host leaves to chance.
    pub fn new<F>(seed: u64, ncpu: usize, main: impl Fn(User) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::with_listener(seed, ncpu, None, main)
    }

    /// The same with a listener to the kernel's events.
    pub fn with_listener<F>(
        seed: u64,
        ncpu: usize,
        listener: Option<Arc<dyn Listener>>,
        main: impl Fn(User) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let crew = Arc::new(Crew::new(ncpu));
        let (space, config) = (Space::new(main), Config::default());
        let ours = Some(Arc::clone(&crew));
        let process = Process::new(seed, space, config, ours, Box::new(Fair), listener);
        Self { process, crew }
    }

    /// The kernel under test.
    pub fn kernel(&self) -> &Arc<Kernel> {
        &self.process.kernel
    }

    /// Runs to the end.
    ///
    /// # Panics
    /// As a program, or the kernel, did.
    pub fn run(&self) -> Ended {
        match self.crew.run(&self.process.kernel) {
            Some(Stopped::Panic(payload)) => resume_unwind(payload),
            Some(Stopped::Deadlock) => Ended::Deadlock,
            None => {
                let with = self.process.machine.exited();
                Ended::Exit(with.expect("a process that is over has exited"))
            }
        }
    }
}

/// Every LWP with what it does, for messages.
pub fn describe(kernel: &Kernel) -> String {
    let p = kernel.proc.lock();
    let mut text = format!("{:?}, {} running\n", p.stat, p.nrlwps);
    for lwp in p.lwps.values() {
        let (lid, flags) = (lwp.lid(), lwp.flags());
        let st = lwp.lock();
        let (stat, wmesg) = (st.stat.name(), st.wmesg);
        // Writing to a string does not fail.
        let _ = writeln!(text, "{lid} {stat} {wmesg:?} {flags:?} {:?}", st.asleep);
    }
    text
}
