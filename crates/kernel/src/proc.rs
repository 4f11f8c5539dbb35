//! The process: what its LWPs share, under the process lock (p_lock).
//!
//! # States
//! | `ProcStat` | true in it |
//! |---|---|
//! | Active | LWPs run |
//! | Stopping | a stop signal was taken; LWPs stop one by one at their boundaries or in their sleeps |
//! | Stopped | none runs (`nrlwps` is 0); the host process is stopped too |
//! | Dying | somebody called exit; the others leave |
//!
//! # Invariants
//! 1. `lwps` holds every LWP that has not been reaped, by order of creation; `nlwps` is its length.
//! 2. `nrlwps` counts LWPs in LSIDL (new), LSRUN, LSONPROC and LSSLEEP; `nzlwps` those that entered
//!    `lwp_exit`; `ndlwps` the detached ones; `nlwpwait` those inside `_lwp_wait`.
//! 3. `zombies` holds the joinable LWPs in LSZOMB that nobody waits for by their id.
//!
//! Sources: `proc.h`, lwp.md 1.4, 1.5.

use crate::births::Births;
use crate::lwp::Lwp;
use crate::lwpctl::LwpctlArea;
use crate::machine::ExitWith;
use crate::sig::{SigActs, SigPend, SigWaiter};
use crate::sleepq::WaitQueue;
use crate::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use crate::sync::{Guard, Mutex, Rank};
use lwp_abi::signal::{SigSet, Signo};
use std::collections::BTreeSet;
use std::sync::Arc;

/// `p_stat`, as far as it differs while LWPs exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "see the table in the module header")]
pub enum ProcStat {
    Active,
    Stopping,
    Stopped,
    Dying,
}

/// What p_lock guards.
#[derive(Debug)]
pub struct ProcSt {
    /// `p_stat`.
    pub stat: ProcStat,
    /// Every unreaped LWP by birth.
    pub lwps: Births<Arc<Lwp>>,
    /// The next LWP's birth.
    pub(crate) births: u64,
    /// LWPs that count as running.
    pub nrlwps: usize,
    /// LWPs that entered `lwp_exit`.
    pub nzlwps: usize,
    /// Detached LWPs.
    pub ndlwps: usize,
    /// LWPs inside `_lwp_wait`.
    pub nlwpwait: usize,
    /// Births of joinable zombies, but for those that somebody waits for by their id.
    pub(crate) zombies: BTreeSet<u64>,
    /// `p_zomblwp`: the last detached LWP that exited.
    pub(crate) detached_zombie: Option<Arc<Lwp>>,
    /// How the process ends, once somebody has decided.
    pub(crate) exiting: Option<ExitWith>,
    /// Dispositions.
    pub sigacts: SigActs,
    /// Signals pending on the process.
    pub sigpend: SigPend,
    /// Signals that may be pending on some LWP: no other need be looked for there.
    pub(crate) directed: SigSet,
    /// The signal that stops the process.
    pub(crate) stop_signo: Option<Signo>,
    /// LWPs in sigtimedwait, most recent last.
    pub(crate) sigwaiters: Vec<SigWaiter>,
    /// The lwpctl area.
    pub(crate) lwpctl: LwpctlArea,
}

impl ProcSt {
    /// `p_nlwps`.
    pub fn nlwps(&self) -> usize {
        self.lwps.len()
    }

    /// How many LWPs there have been.
    pub fn births(&self) -> u64 {
        self.births
    }

    /// LWPs that have not entered `lwp_exit`.
    pub fn live(&self) -> usize {
        self.lwps.len() - self.nzlwps
    }
}

/// A process.
#[derive(Debug)]
pub struct Proc {
    pid: AtomicI32,
    st: Mutex<ProcSt>,
    /// `p_lwpcv`: `_lwp_wait`, `_lwp_suspend` and exit wait here.
    pub(crate) lwpcv: WaitQueue,
    /// This is a vfork child whose parent still waits: `_lwp_ctl` is EBUSY.
    pub is_vfork_child: AtomicBool,
    /// Lowest address and size of the main stack, as getcontext(2) reports them.
    pub stack_base: AtomicU64,
    /// See `stack_base`.
    pub stack_size: AtomicU64,
    /// RLIMIT_NTHR, soft: LWPs beyond the first.
    pub nthr_soft: AtomicU64,
    /// RLIMIT_NTHR, hard.
    pub nthr_hard: AtomicU64,
}

impl Proc {
    pub(crate) fn new(pid: i32, maxlwp: u32) -> Self {
        Self {
            pid: AtomicI32::new(pid),
            st: Mutex::new(
                Rank::Proc,
                ProcSt {
                    stat: ProcStat::Active,
                    lwps: Births::new(),
                    births: 0,
                    nrlwps: 0,
                    nzlwps: 0,
                    ndlwps: 0,
                    nlwpwait: 0,
                    zombies: BTreeSet::new(),
                    detached_zombie: None,
                    exiting: None,
                    sigacts: SigActs::default(),
                    sigpend: SigPend::default(),
                    directed: SigSet::EMPTY,
                    stop_signo: None,
                    sigwaiters: Vec::new(),
                    lwpctl: LwpctlArea::default(),
                },
            ),
            lwpcv: WaitQueue::new(),
            is_vfork_child: AtomicBool::new(false),
            stack_base: AtomicU64::new(0),
            stack_size: AtomicU64::new(0),
            nthr_soft: AtomicU64::new(u64::from(maxlwp)),
            nthr_hard: AtomicU64::new(u64::from(maxlwp)),
        }
    }

    /// The process id, the host's and the guest's.
    pub fn pid(&self) -> i32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// Says what it is in a process just forked, where no LWP knows another.
    pub fn set_pid(&self, pid: i32) {
        self.pid.store(pid, Ordering::Relaxed);
    }

    /// p_lock.
    pub fn lock(&self) -> Guard<'_, ProcSt> {
        self.st.lock()
    }
}
