//! What can be seen of a process from outside: its LWPs, what they wait for, and whether anything can still wake them.
//!
//! Every lock is taken for a moment and in the usual order, so this may be asked of from a host thread that is no
//! vcpu, provided that no fork happens meanwhile (`Locks` in the machine's documentation).
//!
//! # Invariants
//! 1. Nothing here changes anything, or asks the machine for more than the time.
//!
//! Sources: ps(1), `kern_proc.c: fill_kproc2`, `sysctl_doproc`; `l_stat` and the letters of ps(1) in lwp.md 1.3.

use crate::kernel::{DeadlockHook, Kernel};
use crate::lwp::{Lwp, LwpFlags, LwpSt, SyncObj};
use crate::machine::CpuId;
use crate::proc::ProcStat;
use crate::sleepq::LWP_WAIT;
use core::time::Duration;
use lwp_abi::lwp::{LwpId, LwpState as LwpStat};
use lwp_abi::signal::{SigSet, Signo};
use lwp_abi::until_nul;
use std::sync::{MutexGuard, PoisonError};

/// A process at one moment, but for what its LWPs change meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcInfo {
    /// Its id, the host's and the guest's.
    pub pid: i32,
    /// `p_stat`.
    pub stat: ProcStat,
    /// Its LWPs in the order of their creation, zombies included.
    pub lwps: Vec<LwpInfo>,
    /// How many there have been.
    pub born: u64,
    /// How often an LWP was switched to.
    pub switches: u64,
    /// Vcpus that have a host thread.
    pub vcpus: usize,
    /// Signals pending on the process.
    pub pending: SigSet,
}

/// An LWP at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LwpInfo {
    /// Its id.
    pub lid: LwpId,
    /// `l_name`, without its NUL; empty if it was never named.
    pub name: Vec<u8>,
    /// `l_stat`.
    pub stat: LwpStat,
    /// What it waits for.
    pub wait: Option<Waiting>,
    /// It sleeps and signals can end that (LW_SINTR).
    pub interruptible: bool,
    /// It is told to suspend, or has suspended, itself.
    pub suspended: bool,
    /// Nobody waits for it.
    pub detached: bool,
    /// The vcpu it runs on, or ran on last.
    pub cpu: CpuId,
    /// For how long it has been on that vcpu, or off it, if that is known.
    pub since: Option<Duration>,
    /// How often it was switched to.
    pub switches: u32,
    /// CPU time.
    pub cpu_time: Duration,
    /// CPU time in user mode, if anybody listens to the kernel's events: it is measured for them only.
    pub user_time: Option<Duration>,
    /// Signals pending on it.
    pub pending: SigSet,
    /// Who unparked it last.
    pub unparked_by: Option<LwpId>,
}

/// What an LWP waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The wait message: `l_wmesg`.
    pub wmesg: &'static str,
    /// It is inside `_lwp_wait(2)`, for this LWP, or (`None` in `Some`) for any.
    pub on: Option<Option<LwpId>>,
}

impl LwpInfo {
    fn of(kernel: &Kernel, lwp: &Lwp, st: &LwpSt) -> Self {
        let name = st.name.as_deref().map_or(&[][..], |name| until_nul(name));
        let stamped = |count| kernel.machine.stamped(count);
        Self {
            lid: lwp.lid(),
            name: name.to_vec(),
            stat: st.stat,
            wait: st.asleep.map(|_| Waiting {
                wmesg: st.wmesg,
                on: st.waiting_for,
            }),
            interruptible: st.asleep.is_some() && st.interruptible,
            suspended: st.stat == LwpStat::Suspended || lwp.flags().contains(LwpFlags::WSUSPEND),
            detached: st.detached,
            cpu: st.last_cpu,
            since: lwp
                .changed()
                .map(|_| stamped(lwp.ran_until(kernel.machine.stamp()))),
            switches: st.switches,
            cpu_time: kernel.cpu_time(lwp, st),
            user_time: kernel.has_listener().then(|| stamped(lwp.user_time())),
            pending: st.sigpend.set(),
            unparked_by: Some(st.unparked_by).filter(|lid| lid.raw() != 0),
        }
    }
}

impl Kernel {
    /// Looks at the process and all its LWPs.
    pub fn ps(&self) -> ProcInfo {
        let p = self.proc.lock();
        let lwps = p.lwps.values();
        ProcInfo {
            pid: self.proc.pid(),
            stat: p.stat,
            lwps: lwps
                .map(|lwp| LwpInfo::of(self, lwp, &lwp.lock()))
                .collect(),
            born: p.births(),
            switches: self.sched.switches(),
            vcpus: self.sched.started(),
            pending: p.sigpend.set(),
        }
    }

    /// Has `hook` called, once, when every LWP waits for another and nothing else can wake any of them. Called on a
    /// vcpu, with no lock held. The last hook counts.
    pub fn on_deadlock(&self, hook: Box<dyn FnOnce(&Self) + Send>) {
        *self.deadlock_hook() = Some(hook);
    }

    /// The calling vcpu, about to wait for good, is the last one: if this is a deadlock, tells whoever wants to
    /// know.
    pub(crate) fn look_for_deadlock(&self) {
        let hook = self.deadlock_hook().take_if(|_| self.is_deadlocked());
        if let Some(hook) = hook {
            hook(self);
        }
    }

    fn deadlock_hook(&self) -> MutexGuard<'_, Option<DeadlockHook>> {
        self.deadlock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether every LWP waits for another in a park, `_lwp_wait`, `_lwp_suspend` or a suspension, with no time-out pending and no
    /// handler that a signal from outside could run.
    fn is_deadlocked(&self) -> bool {
        if self.callouts.next().is_some() {
            return false;
        }
        let p = self.proc.lock();
        let waits_for_lwp = |lwp: &Lwp| {
            let st = lwp.lock();
            match st.stat {
                LwpStat::Sleep => st.asleep == Some(SyncObj::Park) || st.wmesg == LWP_WAIT,
                LwpStat::Suspended | LwpStat::Zomb => true,
                _ => false,
            }
        };
        p.stat == ProcStat::Active
            && p.live() > 0
            && !Signo::all().any(|signo| p.sigacts.get(signo).is_caught())
            && p.lwps.values().all(|lwp| waits_for_lwp(lwp))
    }
}
