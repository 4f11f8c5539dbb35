//! `lwp run`: machine, kernel and system calls put together around one program; also the start of an
//! image that follows another (execve), which finds its state in a [`Handover`].
//!
//! Order matters: the machine first, on the only thread, since it may execute the runner again; the
//! program last, since from then on the process belongs to the guest.

use crate::args::{self, Wanted};
use crate::chaos::Directed;
use crate::control;
use crate::fail::Failure;
use crate::find;
use crate::observe;
use crate::stats;
use crate::tally::Tally;
use crate::timeline::Timeline;
use crate::trace;
use crate::waits;
use core::convert::Infallible;
use core::num::NonZeroUsize;
use core::sync::atomic::Ordering;
use core::time::Duration;
use lwp_abi::lwp::LwpId;
use lwp_abi::resource::{RLIMIT_STACK, Rlimit};
use lwp_abi::signal::{SI_NOINFO, SIG_IGN, SigSet, Siginfo, Signo};
use lwp_kernel::ctx::UserCtx;
use lwp_kernel::events::Listener;
use lwp_kernel::itimer::Which;
use lwp_kernel::kernel::Config;
use lwp_kernel::machine::{Machine, Vcpus};
use lwp_kernel::sched::{Fair, Policy};
use lwp_kernel::sig::SigAct;
use lwp_kernel::{Kernel, Personality};
use lwp_machine::{HostMachine, LinuxHost, MainVcpu};
use lwp_syscalls::exec::{self, Arguments, Handover};
use lwp_syscalls::{Image, OfRunner, Options, Unix};
use std::env;
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

/// Runs the program that the user asked for with the command line `typed`; its end is the end of this process.
///
/// # Errors
/// Why it was not run.
pub(crate) fn run(wanted: &Wanted, typed: &[OsString]) -> Result<Infallible, Failure> {
    // The program has at least one word: `args` says so.
    let argv = wanted.program.called.words.clone();
    let name = argv.first().cloned().unwrap_or_default();
    let before = typed.len().saturating_sub(argv.len());
    let words = typed.iter().take(before);
    let words = words.map(|word| word.as_bytes().to_vec()).collect();
    let of_runner = OfRunner {
        words: wanted.words_again(words),
        ..OfRunner::default()
    };
    start(wanted, of_runner, &name, argv)
}

/// Runs the program for which the kernel has started us as interpreter (`lwp install`): our own name, the
/// program's path, then its arguments, the first of which is its own.
///
/// # Errors
/// Why it was not run.
pub(crate) fn interpret(words: Vec<OsString>) -> Result<Infallible, Failure> {
    let mut words = words.into_iter().skip(1);
    let path = words.next().unwrap_or_default();
    let of_runner = OfRunner {
        // Quiet: the user may not know that we are here.
        words: ["lwp", "run", "--quiet"].map(Into::into).to_vec(),
        ..OfRunner::default()
    };
    let wanted = Wanted::again(&of_runner.words);
    start(&wanted, of_runner, &path, words.collect())
}

/// Runs the program called `name` as the first of this process.
fn start(
    wanted: &Wanted,
    of_runner: OfRunner,
    name: &OsString,
    argv: Vec<OsString>,
) -> Result<Infallible, Failure> {
    let runner = Runner::new(wanted, of_runner)?;
    let loaded = runner.load_first(wanted, name, argv)?;
    runner.go_with(loaded)
}

/// A program that is loaded, and has not begun.
struct Loaded {
    ctx: UserCtx,
    blocked: SigSet,
}

/// A directed run that has not begun: for a process that forks, to have it begin many times.
pub(crate) struct Prepared {
    runner: Runner,
    loaded: Loaded,
}

impl Prepared {
    /// All but the beginning of what `wanted` says.
    ///
    /// # Errors
    /// Why the program cannot be run.
    pub(crate) fn new(wanted: &Wanted) -> Result<Self, Failure> {
        let runner = Runner::new(
            wanted,
            OfRunner {
                words: wanted.words_again(Vec::new()),
                ..OfRunner::default()
            },
        )?;
        let argv = wanted.program.called.words.clone();
        let name = argv.first().cloned().unwrap_or_default();
        let loaded = runner.load_first(wanted, &name, argv)?;
        Ok(Self { runner, loaded })
    }

    /// What is to be forked.
    pub(crate) fn machine(&self) -> Arc<HostMachine> {
        Arc::clone(&self.runner.machine)
    }

    /// Begins, as `seed` has it, once `direct` has said how.
    pub(crate) fn go(self, seed: u64, direct: impl FnOnce(&Directed)) -> ! {
        self.runner.kernel.proc.set_pid(self.runner.sys.begin(seed));
        if let Some(chaos) = &self.runner.chaos {
            direct(chaos);
        }
        self.runner.go_with(self.loaded)
    }
}

/// Goes on as the program that another has executed.
///
/// # Errors
/// Why it is not run.
pub(crate) fn resume(from: &Handover) -> Result<Infallible, Failure> {
    let mut wanted = Wanted::again(&from.of_runner.words);
    let argv = from.arguments.argv.iter().cloned();
    wanted.program.called.words = argv.map(OsString::from_vec).collect();
    let runner = Runner::new(&wanted, from.of_runner.clone())?;
    let kernel = &runner.kernel;
    runner.sys.limits.set_all(from.limits);
    let Rlimit { rlim_cur, rlim_max } = from.nthr;
    kernel.proc.nthr_soft.store(rlim_cur, Ordering::Relaxed);
    kernel.proc.nthr_hard.store(rlim_max, Ordering::Relaxed);
    runner.ignore(from.ignored);
    let name = OsString::from_vec(from.arguments.execname.clone());
    let host = Arc::clone(&runner.sys.host);
    let file = host.fd(from.program).map_err(lwp_machine::Refusal::from)?;
    let ctx = runner.load(&name, file, &from.arguments)?;
    // It was open a moment ago.
    let _ = host.close(from.program);
    let first = kernel.start_first(LwpId::new(from.lid), ctx, |first| {
        first.set_sigmask(from.mask);
    });
    for signo in from.pending.iter() {
        kernel.psignal(&Siginfo::new(signo, SI_NOINFO));
    }
    for signo in from.lwp_pending.iter() {
        kernel.lwp_signal(&first, &Siginfo::new(signo, SI_NOINFO));
    }
    let which = [Which::Real, Which::Virtual, Which::Prof, Which::Monotonic];
    for (which, (interval, value)) in which.into_iter().zip(from.itimers) {
        if value != 0 {
            let (interval, value) = (Duration::from_nanos(interval), Duration::from_nanos(value));
            kernel.itimer_set(which, interval, value);
        }
    }
    runner.go()
}

/// The record that the image before has left for this one.
pub(crate) fn handed_over() -> Option<Handover> {
    env::var_os(exec::VARIABLE)?;
    Handover::receive(&LinuxHost::default())
}

/// Everything but the program.
struct Runner {
    machine: Arc<HostMachine>,
    kernel: Arc<Kernel>,
    sys: Arc<Unix>,
    chaos: Option<Arc<Directed>>,
    /// This thread's being vcpu 0.
    _main_vcpu: MainVcpu,
}

impl Runner {
    fn new(wanted: &Wanted, of_runner: OfRunner) -> Result<Self, Failure> {
        let program = &wanted.program;
        let direction = wanted.direction.as_ref();
        let of_machine = lwp_machine::Options {
            vcpus: direction
                .map(|_| 1)
                .or(program.vcpus.map(NonZeroUsize::get)),
            no_fast_calls: program.no_fast_calls,
            ..lwp_machine::Options::default()
        };
        let machine = Arc::new(HostMachine::new(&of_machine)?);
        // The user wants to hear of what he started, not of each of its children.
        let is_heard = !of_runner.is_child;
        let tally = (wanted.watch.stats && is_heard).then(|| Arc::new(Tally::new(machine.ncpu())));
        let mut options = Options {
            is_quiet: program.quiet,
            of_seed: direction.map(|direction| direction.seed.0),
            of_runner,
        };
        let host = Arc::new(LinuxHost::default());
        let pid = options.pid(&*host);
        let tracing = wanted.tracing.as_ref();
        let tracer = tracing
            .map(|tracing| trace::start(tracing, &machine, &mut options.of_runner, pid))
            .transpose()?;
        let sys = Arc::new(Unix::new(host, options));
        let config = Config {
            maxlwp: program.maxlwp.unwrap_or(Config::default().maxlwp),
            superuser: rustix::process::geteuid().is_root(),
        };
        let calls: Arc<dyn Personality> = Arc::<Unix>::clone(&sys);
        let main_vcpu = machine.adopt_main_thread()?;
        let chaos = direction.map(|direction| Directed::new(direction, &machine));
        let mut listeners: Vec<Arc<dyn Listener>> = Vec::new();
        if let Some(tally) = &tally {
            listeners.push(Arc::<Tally>::clone(tally));
        }
        listeners.extend(tracer);
        if let Some(timeline) = wanted.watch.timeline.as_ref().filter(|_| is_heard) {
            let room = (machine.ncpu(), wanted.watch.timeline_events);
            let timeline = Timeline::new(timeline, room, &program.called.words, pid);
            listeners.push(Arc::new(timeline));
        }
        if let Some(chaos) = &chaos {
            listeners.extend(chaos.listeners(is_heard, &program.called));
        }
        let listener = observe::all(listeners);
        let below: Arc<dyn Machine> = match &chaos {
            Some(chaos) => Arc::clone(&chaos.machine) as Arc<dyn Machine>,
            None => Arc::<HostMachine>::clone(&machine),
        };
        let policy: Box<dyn Policy> = match &chaos {
            Some(chaos) => Box::new(chaos.policy()),
            None => Box::new(Fair),
        };
        let kernel = Kernel::with_listener(below, calls, policy, config, pid, listener);
        let chaos = chaos.map(Arc::new);
        if let Some(chaos) = &chaos {
            chaos.set_kernel(&kernel);
        }
        if direction.is_none_or(|direction| direction.hunted.is_none()) {
            control::serve(&machine, &kernel, &sys);
        }
        // A replay says it by itself.
        if !program.quiet && direction.is_none_or(|direction| direction.expects.is_none()) {
            waits::watch_for_deadlock(&kernel, &sys);
        }
        match tally {
            Some(tally) => stats::print_at_exit(&machine, &kernel, &sys, tally, chaos.clone()),
            None if wanted.watch.left && is_heard => {
                stats::print_left_at_exit(&machine, &kernel, &sys);
            }
            None => {}
        }
        Ok(Self {
            machine,
            kernel,
            sys,
            chaos,
            _main_vcpu: main_vcpu,
        })
    }

    /// A user who has raised the stack limit wants deep stacks.
    fn deepen_stack(&self) {
        let limit = self.sys.limits.get(RLIMIT_STACK);
        let ours = lwp_machine::initial_stack_limit();
        let rlim_cur = limit.rlim_cur.max(ours).min(limit.rlim_max);
        self.sys
            .limits
            .set(RLIMIT_STACK, Rlimit { rlim_cur, ..limit });
    }

    /// Ignores `signals` on behalf of the guest.
    fn ignore(&self, signals: SigSet) {
        let mut p = self.kernel.proc.lock();
        for signo in signals.iter() {
            let act = SigAct {
                handler: SIG_IGN,
                ..*p.sigacts.get(signo)
            };
            p.sigacts.set(signo, act);
        }
    }

    /// Loads the program `name` and says what it starts with.
    fn load(
        &self,
        name: &OsString,
        file: BorrowedFd<'_>,
        arguments: &Arguments,
    ) -> Result<UserCtx, Failure> {
        let refused = |refusal| Failure::Refused(name.clone(), refusal);
        let program = exec::examine_file(file).map_err(refused)?;
        let stack = self.sys.limits.get(RLIMIT_STACK).rlim_cur;
        let loaded = exec::load(&self.kernel, file, &program, arguments, stack);
        let loaded = loaded.map_err(refused)?;
        let path = arguments.execname.clone();
        show_name(&path);
        self.sys.set_image(Image {
            path,
            ps_strings: loaded.ps_strings,
        });
        Ok(loaded.ctx)
    }

    /// Loads the first program of this process.
    fn load_first(
        &self,
        wanted: &Wanted,
        name: &OsString,
        argv: Vec<OsString>,
    ) -> Result<Loaded, Failure> {
        let found = find::find(name)?;
        let arguments = Arguments {
            argv: argv.into_iter().map(OsString::into_vec).collect(),
            envp: environment(&wanted.program.called.env),
            execname: found.path,
        };
        self.deepen_stack();
        let (ignored, blocked) = lwp_machine::initial_signals();
        // NetBSD's exec never leaves SIGCHLD ignored.
        self.ignore(ignored.minus(SigSet::of(&[Signo::SIGCHLD])));
        let ctx = self.load(name, found.file.as_fd(), &arguments)?;
        Ok(Loaded { ctx, blocked })
    }

    /// Runs what was loaded.
    fn go_with(&self, loaded: Loaded) -> ! {
        let lid = LwpId::new(self.kernel.proc.pid());
        let Loaded { ctx, blocked } = loaded;
        self.kernel
            .start_first(lid, ctx, |first| first.set_sigmask(blocked));
        self.go()
    }

    /// Runs LWPs for as long as there are any.
    fn go(&self) -> ! {
        if let Some(chaos) = &self.chaos {
            chaos.machine.begin();
        }
        self.kernel.run_vcpu(0);
        unreachable!("the machine ends the process when the kernel says so")
    }
}

/// Has the host call the process by the program's name.
fn show_name(path: &[u8]) {
    let name = Path::new(std::ffi::OsStr::from_bytes(path)).file_name();
    let name = name.and_then(|name| CString::new(name.as_bytes()).ok());
    if let Some(name) = name {
        // Without a name of its own it is called after the runner.
        let _ = rustix::thread::set_name(&name);
    }
}

/// The environment we were given, with the changes the user asked for.
fn environment(changes: &[args::Variable]) -> Vec<Vec<u8>> {
    let mut all: Vec<_> = env::vars_os()
        .map(|(name, value)| [name.into_vec(), b"=".to_vec(), value.into_vec()].concat())
        .collect();
    for change in changes {
        change.put_into(&mut all);
    }
    all
}
