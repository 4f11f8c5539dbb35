//! What must hold whenever no vcpu is inside the kernel; checked by tests after every step.

use crate::kernel::Kernel;
use crate::lwp::{Lwp, LwpFlags, LwpSt};
use crate::proc::{ProcSt, ProcStat};
use lwp_abi::lwp::LwpState as LwpStat;
use lwp_abi::signal::SigSet;
use std::collections::HashMap;
use std::sync::Arc;

/// Says so if something does not hold.
fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// An LWP that could take a signal looks for it, and does not sleep on it.
fn check_signals(p: &ProcSt, t: &Lwp, st: &LwpSt) -> Result<(), String> {
    if matches!(st.stat, LwpStat::Zomb | LwpStat::Idl) {
        return Ok(());
    }
    let unlisted = st.sigpend.set().minus(p.directed);
    ensure(unlisted.is_empty(), || {
        format!("{}: {unlisted:?} is pending, but not known to be", t.lid())
    })?;
    let deliverable = |set: SigSet| {
        let open = set.minus(st.sigmask).minus(SigSet::CONT);
        open.iter().find(|&signo| !p.sigacts.ignores(signo))
    };
    let (own, shared) = (deliverable(st.sigpend.set()), deliverable(p.sigpend.set()));
    let looks = t.flags().contains(LwpFlags::PENDSIG);
    ensure(looks || own.is_none(), || {
        format!("{}: does not look for its signals", t.lid())
    })?;
    // Of the process's signals only whoever was chosen need know.
    let somebody_looks = p
        .lwps
        .values()
        .any(|each| each.flags().contains(LwpFlags::PENDSIG));
    ensure(somebody_looks || shared.is_none(), || {
        "nobody looks for the process's signals".to_owned()
    })?;
    let sleeps = st.stat == LwpStat::Sleep && st.interruptible;
    ensure(!sleeps || own.is_none(), || {
        format!("{}: sleeps on {own:?}", t.lid())
    })
}

impl Kernel {
    /// Checks the invariants of `proc`, `lwp`, `lids`, `sched` and `sleepq` at rest.
    ///
    /// # Errors
    /// The first one that is broken, in words.
    pub fn check_invariants(&self) -> Result<(), String> {
        if self.is_over() {
            return Ok(());
        }
        let queued = self.queued()?;
        let p = self.proc.lock();
        let (mut running, mut zombies, mut detached, mut waiting) = (0, 0, 0, 0);
        let mut awaited = 0;
        for t in p.lwps.values() {
            let lid = t.lid();
            let known = self
                .lids
                .find(lid.raw())
                .is_some_and(|found| Arc::ptr_eq(&found, t));
            let st = t.lock();
            ensure(known || st.stat == LwpStat::Idl, || {
                format!("{lid}: not found by its id")
            })?;
            ensure(st.on_cpu().is_none(), || {
                format!("{lid}: on a vcpu at rest")
            })?;
            let in_queues = queued.get(&t.birth).copied().unwrap_or(0);
            let expected = usize::from(st.stat == LwpStat::Run);
            ensure(in_queues == expected, || {
                format!("{lid}: {} and on {in_queues} run queues", st.stat.name())
            })?;
            let may_sleep = matches!(st.stat, LwpStat::Sleep | LwpStat::Stop);
            ensure(st.asleep.is_none() || may_sleep, || {
                format!("{lid}: asleep in {}", st.stat.name())
            })?;
            ensure(st.asleep.is_some() || st.stat != LwpStat::Sleep, || {
                format!("{lid}: LSSLEEP on nothing")
            })?;
            ensure(st.stat != LwpStat::Onproc, || {
                format!("{lid}: LSONPROC at rest")
            })?;
            let suspended_in_vain =
                st.stat == LwpStat::Suspended && !t.flags().contains(LwpFlags::WSUSPEND);
            ensure(!suspended_in_vain, || {
                format!("{lid}: suspended, but continued")
            })?;
            check_signals(&p, t, &st)?;
            running += usize::from(matches!(
                st.stat,
                LwpStat::Idl | LwpStat::Run | LwpStat::Sleep
            ));
            zombies += usize::from(st.stat == LwpStat::Zomb);
            let is_awaited = st.stat == LwpStat::Zomb && !st.detached && st.waiter.is_some();
            ensure(!is_awaited || !p.zombies.contains(&t.birth), || {
                format!("{lid}: listed, though it is waited for")
            })?;
            awaited += usize::from(is_awaited);
            detached += usize::from(st.detached);
            waiting += usize::from(st.waiting_for.is_some());
        }
        let counts = [
            ("nrlwps", p.nrlwps, running),
            ("nzlwps", p.nzlwps, zombies),
            ("ndlwps", p.ndlwps, detached),
            ("nlwpwait", p.nlwpwait, waiting),
        ];
        for (name, kept, counted) in counts {
            ensure(kept == counted, || {
                format!("{name} is {kept}, counted {counted}")
            })?;
        }
        let listed = p.zombies.len() + awaited + usize::from(p.detached_zombie.is_some());
        ensure(listed == zombies, || {
            format!("{zombies} zombies, {listed} listed")
        })?;
        ensure(p.stat != ProcStat::Stopping || running > 0, || {
            "a stop was not completed".into()
        })?;
        ensure(p.stat != ProcStat::Stopped || running == 0, || {
            format!("stopped, but {running} run")
        })
    }

    /// How often each LWP, by birth, is on a run queue.
    fn queued(&self) -> Result<HashMap<u64, usize>, String> {
        let mut queued = HashMap::new();
        for (cpu, (births, len)) in self.sched.snapshot().into_iter().enumerate() {
            ensure(births.len() == len, || {
                format!("vcpu {cpu}: {len} queued, {} found", births.len())
            })?;
            for birth in births {
                *queued.entry(birth).or_insert(0) += 1;
            }
        }
        Ok(queued)
    }
}
