//! The kernel as a value: everything of one guest process, and the machine below it.

use crate::callout::{Call, CalloutId, Callouts};
use crate::events::{Events, Listener};
use crate::fast::FastNumbers;
use crate::itimer::Itimers;
use crate::lids::Lids;
use crate::machine::Machine;
use crate::proc::Proc;
use crate::run::Personality;
use crate::sched::{Policy, Sched};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::vm::Vmspace;
use crate::watch::{Jobs, Watches};
use core::time::Duration;
use std::sync::{Arc, Mutex, Weak};

/// No vcpu watches any deadline.
const UNWATCHED: u64 = u64::MAX;

/// What is to be done about a deadlock.
pub(crate) type DeadlockHook = Box<dyn FnOnce(&Kernel) + Send>;

/// What varies between kernels.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// `kern.maxlwp`: LWPs per process beyond the first.
    pub maxlwp: u32,
    /// The guest may exceed its limits.
    pub superuser: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            maxlwp: 4_194_304,
            superuser: false,
        }
    }
}

/// A NetBSD kernel with one process.
pub struct Kernel {
    /// Below.
    pub machine: Arc<dyn Machine>,
    /// Above.
    pub(crate) calls: Arc<dyn Personality>,
    /// What [`Personality::fast_numbers`] said.
    pub(crate) fast_numbers: FastNumbers,
    /// The process.
    pub proc: Proc,
    /// LWPs by id.
    pub lids: Lids,
    /// Who runs.
    pub sched: Sched,
    /// What happens when.
    pub callouts: Callouts,
    /// Host descriptors somebody waits for.
    pub watches: Watches,
    /// What happens to LWPs.
    pub(crate) events: Events,
    /// Interval timers.
    pub(crate) itimers: Itimers,
    /// Jobs on helper threads.
    pub(crate) jobs: Jobs,
    /// The address space.
    pub vm: Vmspace,
    /// Limits.
    pub config: Config,
    /// The earliest deadline some vcpu will come back for, in nanoseconds.
    watched: AtomicU64,
    /// See [`Kernel::on_deadlock`]; nothing once it was called.
    pub(crate) deadlock: Mutex<Option<DeadlockHook>>,
    over: AtomicBool,
    me: Weak<Kernel>,
}

impl Kernel {
    /// A kernel whose process has no LWP yet; `life::start_first` makes the first.
    pub fn new(
        machine: Arc<dyn Machine>,
        calls: Arc<dyn Personality>,
        policy: Box<dyn Policy>,
        config: Config,
        pid: i32,
    ) -> Arc<Self> {
        Self::with_listener(machine, calls, policy, config, pid, None)
    }

    /// The same, with a listener that is told all that happens to LWPs.
    pub fn with_listener(
        machine: Arc<dyn Machine>,
        calls: Arc<dyn Personality>,
        policy: Box<dyn Policy>,
        config: Config,
        pid: i32,
        listener: Option<Arc<dyn Listener>>,
    ) -> Arc<Self> {
        let ncpu = machine.ncpu();
        Arc::new_cyclic(|me| Self {
            machine,
            fast_numbers: calls.fast_numbers(),
            calls,
            proc: Proc::new(pid, config.maxlwp),
            lids: Lids::new(),
            sched: Sched::new(ncpu, policy),
            callouts: Callouts::new(),
            watches: Watches::new(),
            events: Events::new(ncpu, listener),
            itimers: Itimers::new(),
            jobs: Jobs::default(),
            vm: Vmspace::new(),
            config,
            watched: AtomicU64::new(UNWATCHED),
            deadlock: Mutex::default(),
            over: AtomicBool::new(false),
            me: Weak::clone(me),
        })
    }

    /// This kernel, to be kept.
    ///
    /// # Panics
    /// Never: somebody holds the kernel whose method this is.
    pub(crate) fn arc(&self) -> Arc<Self> {
        self.me.upgrade().expect("a kernel in use is alive")
    }

    /// The process has ended; vcpus leave their loops.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    pub(crate) fn set_over(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// Gets one more vcpu to look at the run queues: an idle one, or one not started yet.
    pub(crate) fn summon(&self) {
        if self.sched.idle() > 0 {
            self.machine.wake_one();
        } else if let Some(cpu) = self.sched.claim_start() {
            self.machine.start(self.arc(), cpu);
        }
    }

    /// Schedules `call` on behalf of an LWP that goes on running.
    pub fn timeout(&self, at: Duration, call: Call) -> CalloutId {
        let id = self.callouts.schedule(at, call);
        if self.claim_deadline(at) {
            self.machine.tick_at(self.machine.current(), at);
        }
        id
    }

    /// Promises to come back at `at`; `false` if somebody has promised to come no later.
    pub(crate) fn claim_deadline(&self, at: Duration) -> bool {
        let at = nanos(at);
        self.watched
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |watched| {
                (at < watched).then_some(at)
            })
            .is_ok()
    }

    /// Takes back all promises: a vcpu has come back from its wait or its tick. Whoever goes on makes
    /// its own again; one promise too many costs a needless tick, one too few a lost time-out.
    pub(crate) fn release_deadlines(&self) {
        self.watched.store(UNWATCHED, Ordering::SeqCst);
    }

    /// Forgets the parent's other LWPs and what they waited for: the kernel's side of a fork child.
    pub(crate) fn forget_others(&self) {
        self.lids.clear();
        self.sched.clear();
        self.callouts.clear();
        self.watches.clear();
        self.jobs.clear();
        self.itimers.clear();
        self.watched.store(UNWATCHED, Ordering::SeqCst);
    }
}

impl core::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Kernel").finish_non_exhaustive()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos())
        .unwrap_or(UNWATCHED - 1)
        .min(UNWATCHED - 1)
}
