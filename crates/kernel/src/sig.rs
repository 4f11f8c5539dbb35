//! Signals: posting, choosing the LWP, taking.
//!
//! A signal is posted to the process or to one LWP ([`Kernel::psignal`], [`Kernel::lwp_signal`]), becomes
//! pending there, and is taken by an LWP at its user boundary ([`CurLwp::take_signals`]) or noticed in
//! its sleep. `sigframe` builds what a handler finds on its stack; `stop` does job control.
//!
//! # Invariants
//! 1. Pending sets, masks and dispositions change under p_lock only.
//! 2. An LWP with a deliverable signal of its own, and the one chosen for a signal of the process, has PENDSIG
//!    set; it clears the flag itself, under p_lock, when
//!    it has found nothing more to take.
//!
//! Sources: `kern_sig.c: kpsignal2, sigpost, issignal, postsig, sigget, sigput`; lwp.md section 5.

use crate::ctx::{Fault, FaultKind};
use crate::events::What;
use crate::kernel::Kernel;
use crate::lwp::{CurLwp, Lwp, LwpFlags, SyncObj};
use crate::machine::ExitWith;
use crate::proc::{ProcSt, ProcStat};
use crate::sleepq::{Catch, SleepEnd};
use crate::sync::Guard;
use lwp_abi::lwp::LwpState as LwpStat;
use lwp_abi::signal::{
    BUS_ADRALN, BUS_ADRERR, BUS_OBJERR, DefaultAction, FPE_FLTDIV, FPE_FLTINV, FPE_FLTOVF,
    FPE_FLTRES, FPE_FLTSUB, FPE_FLTUND, FPE_INTDIV, FPE_INTOVF, ILL_ILLOPC, ILL_PRVOPC,
    SEGV_ACCERR, SEGV_MAPERR, SI_NOINFO, SIG_DFL, SIG_IGN, SaFlags, SigSet, Siginfo, Signo,
    TRAP_BRKPT, TRAP_TRACE,
};
use lwp_abi::trap::trap_number;
use std::sync::Arc;

/// Siginfo entries a pending set can hold.
const QUEUE_MAX: usize = 32;

/// A set of pending signals with what is known of each.
#[derive(Clone, Debug, Default)]
pub struct SigPend {
    set: SigSet,
    queue: Vec<Siginfo>,
}

impl SigPend {
    /// Which signals are pending.
    pub fn set(&self) -> SigSet {
        self.set
    }

    /// `sigput`: makes a signal pending. The latest siginfo of signals 1 to 32 overwrites; real-time ones
    /// queue. `false` if there was no room for the siginfo; the signal is pending all the same.
    pub fn put(&mut self, signo: Signo, info: &Siginfo) -> bool {
        self.set.insert(signo);
        if !signo.is_realtime()
            && let Some(old) = self
                .queue
                .iter_mut()
                .find(|each| each.si_signo == signo.raw())
        {
            *old = *info;
            return true;
        }
        if self.queue.len() >= QUEUE_MAX {
            return false;
        }
        self.queue.push(*info);
        true
    }

    /// `sigget`: takes one instance of a pending signal. Without a queued siginfo the code is SI_NOINFO.
    pub fn take(&mut self, signo: Signo) -> Siginfo {
        let mut of_it = self
            .queue
            .iter()
            .enumerate()
            .filter(|(_, each)| each.si_signo == signo.raw());
        let Some((first, _)) = of_it.next() else {
            self.set.remove(signo);
            return Siginfo::new(signo, SI_NOINFO);
        };
        if of_it.next().is_none() {
            self.set.remove(signo);
        }
        self.queue.remove(first)
    }

    /// `sigclear`: forgets the signals of `which`.
    pub fn clear(&mut self, which: SigSet) {
        self.set = self.set.minus(which);
        let set = self.set;
        self.queue
            .retain(|each| each.signo().is_some_and(|signo| set.contains(signo)));
    }
}

/// What is to happen when a signal is taken.
#[derive(Clone, Copy, Debug)]
pub struct SigAct {
    /// Address of the handler, [`SIG_DFL`] or [`SIG_IGN`].
    pub handler: u64,
    /// Blocked while the handler runs; holds the signal itself unless SA_NODEFER.
    pub mask: SigSet,
    /// Flags; SA_RESTART by default.
    pub flags: SaFlags,
    /// Address of the trampoline the handler returns to.
    pub tramp: u64,
    /// Version of the trampoline.
    pub vers: i32,
}

impl SigAct {
    const DEFAULT: Self = Self {
        handler: SIG_DFL,
        mask: SigSet::EMPTY,
        flags: SaFlags::RESTART,
        tramp: 0,
        vers: 0,
    };

    /// A handler is to run.
    pub(crate) fn is_caught(&self) -> bool {
        ![SIG_DFL, SIG_IGN].contains(&self.handler)
    }
}

/// The dispositions of a process.
#[derive(Clone, Debug)]
pub struct SigActs(Box<[SigAct; 64]>);

impl Default for SigActs {
    fn default() -> Self {
        Self(Box::new([SigAct::DEFAULT; 64]))
    }
}

impl SigActs {
    /// The disposition of one signal.
    pub fn get(&self, signo: Signo) -> &SigAct {
        &self.0[signo.index()]
    }

    /// Replaces the disposition of one signal.
    pub fn set(&mut self, signo: Signo, act: SigAct) {
        self.0[signo.index()] = act;
    }

    /// Whether a signal is in the ignored set: SIG_IGN, or ignored by default. SIGCONT never is.
    pub fn ignores(&self, signo: Signo) -> bool {
        match self.get(signo).handler {
            SIG_DFL => signo.default_action() == DefaultAction::Ignore,
            SIG_IGN => signo != Signo::SIGCONT,
            _ => false,
        }
    }

    /// The signals set to SIG_IGN, for exec.
    pub fn ignored(&self) -> SigSet {
        let mut set = SigSet::EMPTY;
        Signo::all()
            .filter(|&each| self.get(each).handler == SIG_IGN)
            .for_each(|each| set.insert(each));
        set
    }
}

/// An LWP in sigtimedwait.
#[derive(Clone, Debug)]
pub struct SigWaiter {
    /// The LWP.
    pub(crate) lwp: Arc<Lwp>,
    /// Its sleep.
    pub(crate) sleep: u64,
    /// What it waits for.
    pub(crate) set: SigSet,
    /// What it got.
    pub(crate) got: Option<Siginfo>,
}

/// To whom a signal is directed.
#[derive(Clone, Copy)]
enum Target<'a> {
    Process,
    Lwp(&'a Arc<Lwp>),
}

/// What an LWP does about a signal it has found.
enum Found {
    Nothing,
    Stop(Signo),
    Act(Signo),
}

/// What [`CurLwp::issignal`] says.
pub(crate) enum Due {
    /// No signal is to be taken.
    Nothing,
    /// This one is to be acted upon, and stays pending.
    Signal(Signo),
    /// The LWP is to stop ([`CurLwp::stop_here`]), then to ask again.
    Stop,
}

impl Kernel {
    /// `kpsignal` for the process.
    pub fn psignal(&self, info: &Siginfo) {
        if let Some(signo) = info.signo() {
            self.watches.signalled(&self.arc(), signo);
        }
        let mut p = self.proc.lock();
        self.post(&mut p, Target::Process, info);
    }

    /// `kpsignal` directed at one LWP.
    pub fn lwp_signal(&self, lwp: &Arc<Lwp>, info: &Siginfo) {
        let mut p = self.proc.lock();
        self.post(&mut p, Target::Lwp(lwp), info);
    }

    /// `_lwp_kill`'s posting, under the lock that found the target.
    pub fn lwp_signal_locked(&self, p: &mut Guard<'_, ProcSt>, lwp: &Arc<Lwp>, info: &Siginfo) {
        self.post(p, Target::Lwp(lwp), info);
    }

    /// `sigaction1`, the part after the checks: a signal that is ignored from now on is no longer pending
    /// anywhere.
    pub fn set_action(&self, p: &mut Guard<'_, ProcSt>, signo: Signo, act: SigAct) {
        p.sigacts.set(signo, act);
        if p.sigacts.ignores(signo) || (act.handler == SIG_IGN && signo == Signo::SIGCONT) {
            let which = SigSet::of(&[signo]);
            p.sigpend.clear(which);
            if p.directed.contains(signo) {
                p.directed = p.directed.minus(which);
                for lwp in p.lwps.values() {
                    lwp.lock().sigpend.clear(which);
                }
            }
        }
    }

    /// A signal that reached the host process.
    pub(crate) fn signal_from_outside(&self, signo: Signo, info: Siginfo) {
        debug_assert_eq!(info.si_signo, signo.raw());
        self.psignal(&self.calls.as_guest_sees(info));
    }

    /// `kpsignal2`.
    fn post(&self, p: &mut Guard<'_, ProcSt>, target: Target<'_>, info: &Siginfo) {
        let Some(signo) = info.signo() else { return };
        if p.stat == ProcStat::Dying {
            return;
        }
        if p.sigacts.ignores(signo) {
            return;
        }
        if signo == Signo::SIGCONT {
            p.sigpend.clear(SigSet::STOP);
        } else if signo.is_stop() {
            p.sigpend.clear(SigSet::CONT);
        }
        if p.stat == ProcStat::Active && self.give_to_sigwaiter(p, target, signo, info) {
            return;
        }
        match target {
            Target::Lwp(lwp) if !signo.acts_on_all() => {
                p.directed.insert(signo);
                lwp.lock().sigpend.put(signo, info);
                self.sigpost(p, lwp, signo);
            }
            _ => self.post_to_process(p, signo, info),
        }
    }

    fn post_to_process(&self, p: &mut Guard<'_, ProcSt>, signo: Signo, info: &Siginfo) {
        let is_caught = p.sigacts.get(signo).is_caught();
        if p.stat != ProcStat::Active {
            if signo == Signo::SIGCONT || signo == Signo::SIGKILL {
                self.proc_unstop(p);
            } else if signo.is_stop() {
                return;
            }
        }
        if signo == Signo::SIGCONT && !is_caught {
            return;
        }
        p.sigpend.put(signo, info);
        // Newest first, and one at a time: the first one asked mostly takes it, of however many.
        let mut asked = u64::MAX;
        while let Some((birth, lwp)) = p.lwps.before(asked) {
            let lwp = Arc::clone(lwp);
            asked = birth;
            if self.sigpost(p, &lwp, signo) && !signo.acts_on_all() {
                break;
            }
        }
    }

    /// Hands a signal to an LWP in sigtimedwait: the target, or the one that came last.
    fn give_to_sigwaiter(
        &self,
        p: &mut Guard<'_, ProcSt>,
        target: Target<'_>,
        signo: Signo,
        info: &Siginfo,
    ) -> bool {
        if signo.is_cantmask() {
            return false;
        }
        let fits = |waiter: &&mut SigWaiter| {
            let chosen = match target {
                Target::Lwp(lwp) => Arc::ptr_eq(lwp, &waiter.lwp),
                Target::Process => true,
            };
            chosen && waiter.got.is_none() && waiter.set.contains(signo)
        };
        let Some(waiter) = p.sigwaiters.iter_mut().rev().find(fits) else {
            return false;
        };
        waiter.got = Some(*info);
        let (lwp, sleep) = (Arc::clone(&waiter.lwp), waiter.sleep);
        self.tell(&lwp, || What::Signal { signo });
        self.wake_sleep(&lwp, sleep);
        true
    }

    /// `sigpost`: offers a pending signal to one LWP; whether it will take it.
    fn sigpost(&self, p: &mut Guard<'_, ProcSt>, lwp: &Arc<Lwp>, signo: Signo) -> bool {
        let st = lwp.lock();
        if matches!(st.stat, LwpStat::Zomb | LwpStat::Idl) {
            return false;
        }
        lwp.set_flags(LwpFlags::PENDSIG);
        self.tell(lwp, || What::Signal { signo });
        if st.sigmask.contains(signo) {
            return false;
        }
        if p.sigacts.get(signo).is_caught() {
            self.sched.signal_posted(lwp);
        }
        match st.stat {
            LwpStat::Run => true,
            LwpStat::Onproc => {
                let cpu = st.on_cpu();
                drop(st);
                cpu.inspect(|&cpu| self.kick(cpu));
                true
            }
            LwpStat::Sleep if st.interruptible => {
                self.unsleep(lwp, st);
                true
            }
            // Killed although all it does is stay suspended: without this nobody would take SIGKILL.
            LwpStat::Suspended if signo == Signo::SIGKILL => {
                lwp.clear_flags(LwpFlags::WSUSPEND);
                drop(st);
                self.unsuspend(p, lwp);
                true
            }
            // It stays stopped, but looks for signals when it is continued, awake.
            LwpStat::Stop if !signo.is_stop() && (st.asleep.is_none() || st.interruptible) => {
                if st.asleep.is_some() {
                    self.unsleep(lwp, st);
                }
                true
            }
            LwpStat::Sleep | LwpStat::Suspended | LwpStat::Stop | LwpStat::Zomb | LwpStat::Idl => {
                false
            }
        }
    }
}

impl CurLwp {
    /// `sigispending`: whether a signal is pending that the LWP would take.
    pub(crate) fn sigispending(&self) -> bool {
        let p = self.kernel.proc.lock();
        !matches!(self.find_signal(&p), Found::Nothing) || p.stat == ProcStat::Stopping
    }

    /// The first pending signal that is neither blocked nor ignored: the LWP's own first.
    fn find_signal(&self, p: &ProcSt) -> Found {
        let st = self.lwp.lock();
        let candidates = [
            st.sigpend.set().minus(st.sigmask),
            p.sigpend.set().minus(st.sigmask),
        ];
        for signo in candidates.into_iter().flat_map(SigSet::iter) {
            let act = p.sigacts.get(signo);
            if p.sigacts.ignores(signo) {
                continue;
            }
            return match signo.default_action() {
                _ if act.is_caught() => Found::Act(signo),
                // Also when it is ignored, which the ignored set does not say of SIGCONT.
                DefaultAction::Continue => continue,
                DefaultAction::Stop => Found::Stop(signo),
                DefaultAction::Terminate | DefaultAction::Core | DefaultAction::Ignore => {
                    Found::Act(signo)
                }
            };
        }
        Found::Nothing
    }

    /// `issignal`, one turn of its loop: what to do about signals. Clears PENDSIG if there is none.
    fn issignal(&self) -> Due {
        let kernel = &self.kernel;
        let mut p = kernel.proc.lock();
        if self.lwp.flags().contains(LwpFlags::WEXIT) {
            // A dying process neither stops nor handles anything.
            return Due::Nothing;
        }
        if matches!(p.stat, ProcStat::Stopping | ProcStat::Stopped) {
            return Due::Stop;
        }
        match self.find_signal(&p) {
            Found::Act(signo) => Due::Signal(signo),
            Found::Nothing => {
                self.lwp.clear_flags(LwpFlags::PENDSIG);
                Due::Nothing
            }
            Found::Stop(signo) => {
                self.sigget(&mut p, signo);
                kernel.proc_stop(&mut p, signo, self);
                Due::Stop
            }
        }
    }

    /// Takes a pending signal, from the LWP's own set first.
    fn sigget(&self, p: &mut Guard<'_, ProcSt>, signo: Signo) -> Siginfo {
        let mut st = self.lwp.lock();
        if st.sigpend.set().contains(signo) {
            st.sigpend.take(signo)
        } else {
            p.sigpend.take(signo)
        }
    }

    /// The end of an interruptible sleep with PENDSIG set: EINTR, a restart, or nothing after all.
    ///
    /// The signal stays pending for the user boundary. `None`: the LWP is to stop, then to ask again.
    pub(crate) fn sleep_signalled(&self) -> Option<Result<(), SleepEnd>> {
        let signo = match self.issignal() {
            Due::Nothing => return Some(Ok(())),
            Due::Stop => return None,
            Due::Signal(signo) => signo,
        };
        self.kernel.sched.signal_due(&self.lwp);
        let p = self.kernel.proc.lock();
        if p.sigacts.get(signo).flags.contains(SaFlags::RESTART) {
            Some(Err(SleepEnd::Restart))
        } else {
            Some(Err(SleepEnd::Intr))
        }
    }

    /// Takes all deliverable signals, at the user boundary; `false` if the process ended on one.
    pub(crate) async fn take_signals(&mut self) -> bool {
        loop {
            match self.issignal() {
                Due::Nothing => return true,
                Due::Stop => self.stop_here().await,
                Due::Signal(signo) => {
                    if let Some(fatal) = self.postsig(signo) {
                        // Boxed, or every LWP's future had room for the end of the process.
                        Box::pin(self.exit_process(ExitWith::Signal(fatal))).await;
                        return false;
                    }
                }
            }
        }
    }

    /// `postsig`: acts on a pending signal by building a handler frame. `Some` if it kills the process.
    fn postsig(&mut self, signo: Signo) -> Option<Signo> {
        let kernel = Arc::clone(&self.kernel);
        let mut p = kernel.proc.lock();
        // Another LWP may have been faster.
        if matches!(self.find_signal(&p), Found::Act(found) if found != signo)
            || matches!(self.find_signal(&p), Found::Nothing | Found::Stop(_))
        {
            return None;
        }
        let info = self.sigget(&mut p, signo);
        self.tell(|| What::Take { signo });
        let act = *p.sigacts.get(signo);
        if act.handler == SIG_DFL {
            return Some(signo);
        }
        let mask = self.lwp.lock().sigmask;
        let return_mask = self.take_sigmask_restore().unwrap_or(mask);
        if act.flags.contains(SaFlags::RESETHAND) && !signo.no_reset() {
            p.sigacts.set(signo, SigAct::DEFAULT);
        }
        self.lwp.lock().sigmask = mask.union(act.mask).minus(SigSet::CANTMASK);
        drop(p);
        self.sendsig(&act, &info, return_mask)
            .err()
            .map(|_| Signo::SIGILL)
    }

    /// The first half of sigtimedwait(2): takes a pending signal of `set`, the process's before the LWP's
    /// own, whatever the mask. If there is none, and this is no mere `poll`, the LWP is registered as a
    /// waiter and asleep; [`CurLwp::sigwait_leave`] must follow.
    pub fn sigwait_enter(&mut self, set: SigSet, poll: bool) -> Option<Siginfo> {
        let kernel = Arc::clone(&self.kernel);
        let mut p = kernel.proc.lock();
        if let Some(signo) = p.sigpend.set().intersection(set).first() {
            return Some(p.sigpend.take(signo));
        }
        {
            let mut st = self.lwp.lock();
            if let Some(signo) = st.sigpend.set().intersection(set).first() {
                return Some(st.sigpend.take(signo));
            }
        }
        if !poll {
            let sleep = self.sleepq_enter("sigwait", SyncObj::Other, Catch::Signals);
            let lwp = Arc::clone(&self.lwp);
            p.sigwaiters.push(SigWaiter {
                lwp,
                sleep,
                set,
                got: None,
            });
        }
        None
    }

    /// The second half: no longer a waiter. What it was given, if anything.
    pub fn sigwait_leave(&mut self) -> Option<Siginfo> {
        let mut p = self.kernel.proc.lock();
        let mine = p
            .sigwaiters
            .iter()
            .position(|each| Arc::ptr_eq(&each.lwp, &self.lwp))?;
        p.sigwaiters.remove(mine).got
    }

    /// Sets the signal mask; newly unblocked signals are looked for at the user boundary.
    pub fn set_sigmask(&mut self, mask: SigSet) {
        let _p = self.kernel.proc.lock();
        self.lwp.lock().sigmask = mask.minus(SigSet::CANTMASK);
        self.lwp.set_flags(LwpFlags::PENDSIG);
        self.kernel.sched.signal_posted(&self.lwp);
    }

    /// The current signal mask.
    pub fn sigmask(&self) -> SigSet {
        self.lwp.lock().sigmask
    }

    /// `sigsuspend_setup`: puts `mask` in force until a handler returns, or until the user boundary.
    pub fn set_sigmask_for_sleep(&mut self, mask: SigSet) {
        self.rare_mut().sigmask_restore = Some(self.sigmask());
        self.set_sigmask(mask);
    }

    fn take_sigmask_restore(&mut self) -> Option<SigSet> {
        self.rare().sigmask_restore?;
        self.rare_mut().sigmask_restore.take()
    }

    /// `sigsuspend_teardown`: no handler took the mask over.
    pub(crate) fn restore_sigmask(&mut self) {
        if let Some(mask) = self.take_sigmask_restore() {
            self.set_sigmask(mask);
        }
    }

    /// `trapsignal`: an exception in user mode. Blocked or ignored, it kills.
    pub(crate) fn trap(&mut self, fault: &Fault) {
        let (signo, code) = fault_signal(fault.kind);
        let trap = trap_number(fault.trapno);
        let trapno = i32::try_from(trap).unwrap_or(0);
        self.rare_mut().fault_words = (trap, fault.err);
        self.tell(|| What::Fault {
            trapno: fault.trapno,
            addr: fault.addr,
        });
        let info = Siginfo::fault(signo, code, fault.addr, trapno);
        let kernel = Arc::clone(&self.kernel);
        let mut p = kernel.proc.lock();
        let blocked = self.lwp.lock().sigmask.contains(signo);
        if blocked || p.sigacts.get(signo).handler == SIG_IGN {
            self.lwp.lock().sigmask.remove(signo);
            p.sigacts.set(signo, SigAct::DEFAULT);
        }
        kernel.post(&mut p, Target::Lwp(&self.lwp), &info);
    }
}

/// The signal and code of an exception.
fn fault_signal(kind: FaultKind) -> (Signo, i32) {
    match kind {
        FaultKind::SegvMapErr => (Signo::SIGSEGV, SEGV_MAPERR),
        FaultKind::SegvAccErr => (Signo::SIGSEGV, SEGV_ACCERR),
        FaultKind::BusAdrAln => (Signo::SIGBUS, BUS_ADRALN),
        FaultKind::BusAdrErr => (Signo::SIGBUS, BUS_ADRERR),
        FaultKind::BusObjErr => (Signo::SIGBUS, BUS_OBJERR),
        FaultKind::FpeIntDiv => (Signo::SIGFPE, FPE_INTDIV),
        FaultKind::FpeIntOvf => (Signo::SIGFPE, FPE_INTOVF),
        FaultKind::FpeFltDiv => (Signo::SIGFPE, FPE_FLTDIV),
        FaultKind::FpeFltOvf => (Signo::SIGFPE, FPE_FLTOVF),
        FaultKind::FpeFltUnd => (Signo::SIGFPE, FPE_FLTUND),
        FaultKind::FpeFltRes => (Signo::SIGFPE, FPE_FLTRES),
        FaultKind::FpeFltInv => (Signo::SIGFPE, FPE_FLTINV),
        FaultKind::FpeFltSub => (Signo::SIGFPE, FPE_FLTSUB),
        FaultKind::IllOpc => (Signo::SIGILL, ILL_ILLOPC),
        FaultKind::IllPrv => (Signo::SIGILL, ILL_PRVOPC),
        FaultKind::TrapBrkpt => (Signo::SIGTRAP, TRAP_BRKPT),
        FaultKind::TrapTrace => (Signo::SIGTRAP, TRAP_TRACE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_signals_keep_the_latest_siginfo_only() {
        let mut pend = SigPend::default();
        for code in [1, 2, 3] {
            assert!(pend.put(Signo::SIGUSR1, &Siginfo::new(Signo::SIGUSR1, code)));
        }
        assert_eq!(pend.take(Signo::SIGUSR1).si_code, 3);
        assert!(pend.set().is_empty());
    }

    #[test]
    fn realtime_signals_queue_up_to_32_and_stay_pending_beyond() {
        let mut pend = SigPend::default();
        let rt = Signo::SIGRTMIN;
        let fitted = (0..40)
            .filter(|&code| pend.put(rt, &Siginfo::new(rt, code)))
            .count();
        assert_eq!(fitted, 32);
        let codes: Vec<_> = (0..32).map(|_| pend.take(rt).si_code).collect();
        assert_eq!(codes, (0..32).collect::<Vec<_>>());
        assert!(pend.set().is_empty());
    }

    #[test]
    fn clearing_forgets_the_siginfo_too() {
        let mut pend = SigPend::default();
        pend.put(Signo::SIGTSTP, &Siginfo::new(Signo::SIGTSTP, 0));
        pend.clear(SigSet::STOP);
        assert!(pend.set().is_empty());
        assert_eq!(pend.take(Signo::SIGTSTP).si_code, SI_NOINFO);
    }

    #[test]
    fn sigcont_is_never_ignored() {
        let mut acts = SigActs::default();
        let ignore = SigAct {
            handler: SIG_IGN,
            ..SigAct::DEFAULT
        };
        acts.set(Signo::SIGCONT, ignore);
        acts.set(Signo::SIGINT, ignore);
        assert!(!acts.ignores(Signo::SIGCONT));
        assert!(acts.ignores(Signo::SIGINT));
        assert!(acts.ignores(Signo::SIGCHLD));
        assert_eq!(acts.ignored(), SigSet::of(&[Signo::SIGCONT, Signo::SIGINT]));
    }
}
