//! How LWPs come and go: create, start, exit, wait, detach, reap.
//!
//! # Invariants
//! 1. An LWP's id is stored to the guest before the LWP can be found or run ([`CurLwp::lwp_create`] builds,
//!    [`Kernel::lwp_start`] publishes).
//! 2. An LWP is reaped once: by its waiter, by detach, or from the detached-zombie slot.
//! 3. Every change that a waiter could be waiting for broadcasts `lwpcv`, under p_lock.
//!
//! Sources: `kern_lwp.c: lwp_create, lwp_start, lwp_exit, lwp_wait, lwp_free, lwp_find`;
//! `sys_lwp.c`; lwp.md 2.1, 2.2, 2.9, 2.11.

use crate::ctx::{Answer, Fpu, UserCtx};
use crate::events::What;
use crate::kernel::Kernel;
use crate::lwp::{CurLwp, Lwp, LwpFlags};
use crate::machine::ExitWith;
use crate::proc::{ProcSt, ProcStat};
use crate::run::{Ended, Outcome, lwp_main};
use crate::sig::SigPend;
use crate::sleepq::{Catch, LWP_WAIT, SleepEnd};
use crate::sync::Guard;
use crate::sync::atomic::Ordering;
use lwp_abi::errno::Errno;
use lwp_abi::lwp::{LwpId, LwpState as LwpStat};
use lwp_abi::signal::SigSet;
use lwp_abi::ucontext::{UcFlags, Ucontext};
use std::sync::Arc;

/// Whether a new LWP is joinable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joinable {
    /// It stays a zombie until waited for.
    Yes,
    /// LWP_DETACHED.
    No,
}

/// Whether a new LWP runs at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Start {
    /// It does.
    Running,
    /// LWP_SUSPENDED: it waits at its first user boundary.
    Suspended,
}

impl Kernel {
    /// `lwp_find`: the live LWP called `lid` (zombies and those being built are absent).
    pub fn lwp_find(&self, _: &ProcSt, lid: i32) -> Option<Arc<Lwp>> {
        self.lids
            .find(lid)
            .filter(|t| !matches!(t.lock().stat, LwpStat::Zomb | LwpStat::Idl))
    }

    /// Makes the process's first LWP and queues it. Its id is the pid, or what an LWP has brought along through
    /// exec.
    ///
    /// `setup` finishes it before it can run (signal mask, private pointer).
    pub fn start_first(
        &self,
        lid: LwpId,
        ctx: UserCtx,
        setup: impl FnOnce(&mut CurLwp),
    ) -> Arc<Lwp> {
        self.lids.keep(lid);
        let lwp = Self::lwp_alloc(&mut self.proc.lock(), lid, SigSet::EMPTY, Joinable::Yes);
        let mut cur = CurLwp::new(&self.arc(), &lwp, ctx);
        setup(&mut cur);
        lwp.set_future(Some(Box::pin(lwp_main(cur))));
        self.lwp_start(&lwp, Start::Running);
        lwp
    }

    /// A new LWP in LSIDL, known to nobody.
    fn lwp_alloc(
        p: &mut Guard<'_, ProcSt>,
        lid: LwpId,
        mask: SigSet,
        joinable: Joinable,
    ) -> Arc<Lwp> {
        let birth = p.births;
        p.births += 1;
        Arc::new(Lwp::new(lid, birth, mask, joinable))
    }

    /// Counts a new LWP, which can be found from now on.
    fn lwp_attach(&self, p: &mut Guard<'_, ProcSt>, lwp: &Arc<Lwp>) {
        p.lwps.insert(lwp.birth, Arc::clone(lwp));
        p.nrlwps += 1;
        p.ndlwps += usize::from(lwp.lock().detached);
        self.lids.insert(lwp, self.proc.pid());
    }

    /// `lwp_start`: publishes a new LWP and sets it running.
    pub fn lwp_start(&self, lwp: &Arc<Lwp>, start: Start) {
        let mut p = self.proc.lock();
        self.lwp_attach(&mut p, lwp);
        if start == Start::Suspended {
            lwp.set_flags(LwpFlags::WSUSPEND);
        }
        if p.stat == ProcStat::Dying {
            lwp.set_flags(LwpFlags::WEXIT);
        }
        // It may be the one to take a signal that nobody else could.
        lwp.set_flags(LwpFlags::PENDSIG);
        let mut st = lwp.lock();
        self.tell(lwp, || What::Create { start });
        if matches!(p.stat, ProcStat::Stopping | ProcStat::Stopped) {
            st.stat = LwpStat::Stop;
            self.tell(lwp, || What::Stopped);
            p.nrlwps -= 1;
        } else {
            self.setrunnable(lwp, st);
        }
    }

    /// `lwp_free`: reaps a zombie.
    pub(crate) fn lwp_free(&self, p: &mut Guard<'_, ProcSt>, t: &Arc<Lwp>) {
        p.lwps.remove(t.birth);
        p.zombies.remove(&t.birth);
        p.nzlwps -= 1;
        let lwpctl = {
            let mut st = t.lock();
            debug_assert_eq!(st.stat, LwpStat::Zomb, "only zombies are reaped");
            st.stat = LwpStat::Idl;
            self.tell(t, || What::Reap);
            if st.detached {
                p.ndlwps -= 1;
            }
            core::mem::take(&mut st.lwpctl)
        };
        p.lwpctl.free(lwpctl);
        self.lids.remove(t.lid());
        self.proc.lwpcv.wake_all(self);
    }

    /// Reaps what sits in the detached-zombie slot.
    fn drain_detached(&self, p: &mut Guard<'_, ProcSt>) {
        if let Some(t) = p.detached_zombie.take() {
            self.lwp_free(p, &t);
        }
    }

    /// `_lwp_detach(2)`.
    ///
    /// # Errors
    /// ESRCH: no such LWP. EINVAL: it is detached already.
    pub fn detach(&self, target: i32) -> Result<(), Errno> {
        let mut p = self.proc.lock();
        let t = self.lids.find(target).ok_or(Errno::ESRCH)?;
        let is_zombie = {
            let mut st = t.lock();
            if st.stat == LwpStat::Idl {
                return Err(Errno::ESRCH);
            }
            if st.detached {
                return Err(Errno::EINVAL);
            }
            st.detached = true;
            st.stat == LwpStat::Zomb
        };
        p.ndlwps += 1;
        if is_zombie {
            self.lwp_free(&mut p, &t);
        } else {
            self.proc.lwpcv.wake_all(self);
        }
        Ok(())
    }
}

impl CurLwp {
    /// `lwp_create`: builds an LWP in the context `uc`, which has been validated. Nobody can find it before
    /// [`Kernel::lwp_start`].
    ///
    /// # Errors
    /// EAGAIN: RLIMIT_NTHR, or no id is left.
    pub fn lwp_create(&mut self, uc: &Ucontext, joinable: Joinable) -> Result<Arc<Lwp>, Errno> {
        let kernel = &self.kernel;
        let mask = if uc.flags().contains(UcFlags::SIGMASK) {
            uc.uc_sigmask
        } else {
            self.lwp.lock().sigmask
        };
        let lwp = {
            let mut p = kernel.proc.lock();
            // As a side effect, as in NetBSD: a dead detached LWP makes room.
            kernel.drain_detached(&mut p);
            let additional = u64::try_from(p.nlwps()).unwrap_or(u64::MAX);
            if additional > kernel.proc.nthr_soft.load(Ordering::Relaxed)
                && !kernel.config.superuser
            {
                return Err(Errno::EAGAIN);
            }
            let lid = self.new_lid()?;
            Kernel::lwp_alloc(&mut p, lid, mask, joinable)
        };
        let fpu = if uc.flags().contains(UcFlags::FPU) {
            // The context brings its own.
            Fpu::default()
        } else {
            self.kernel.machine.fpu_clone(&mut self.ctx)
        };
        let mut ctx = UserCtx {
            regs: self.ctx.regs.clone(),
            fpu,
            answer: Answer::default(),
        };
        crate::sigframe::set_gregs(&mut ctx.regs, &uc.uc_mcontext.gregs);
        let mut cur = CurLwp::new(&self.kernel, &lwp, ctx);
        cur.set_fp_and_tls(uc);
        lwp.set_future(Some(Box::pin(lwp_main(cur))));
        Ok(lwp)
    }

    /// The pid again, if the LWP that had it was reaped; else a new number.
    fn new_lid(&self) -> Result<LwpId, Errno> {
        let kernel = &self.kernel;
        let pid = kernel.proc.pid();
        if kernel.lids.claim_main(pid) {
            return Ok(LwpId::new(pid));
        }
        kernel.lids.alloc().ok_or(Errno::EAGAIN)
    }

    /// Turns an LWP that was never started into a corpse: its id could not be told to the creator.
    ///
    /// A joinable one stays to be reaped by `_lwp_wait(0)`; a detached one is reclaimed.
    pub fn lwp_abandon(&mut self, lwp: &Arc<Lwp>) {
        let kernel = Arc::clone(&self.kernel);
        lwp.set_future(None);
        let mut p = kernel.proc.lock();
        kernel.lwp_attach(&mut p, lwp);
        kernel.make_zombie(&mut p, lwp);
    }

    /// `lwp_exit` for an LWP that is not the last: from here on it is a zombie.
    pub(crate) fn lwp_exit(&mut self) {
        let kernel = Arc::clone(&self.kernel);
        self.become_zombie(&mut kernel.proc.lock());
    }

    fn become_zombie(&self, p: &mut Guard<'_, ProcSt>) {
        let kernel = &self.kernel;
        let sigmask = {
            let mut st = self.lwp.lock();
            let now = kernel.machine.stamp();
            kernel.sched.note_left(self.cpu(), now);
            st.cpu_time += self.lwp.ran_until(now);
            st.sigmask
        };
        let open = p.sigpend.set().minus(sigmask);
        if self.lwp.flags().contains(LwpFlags::PENDSIG) && !open.is_empty() {
            // It may have been chosen for one of them: the others are to look.
            for each in p.lwps.values() {
                each.set_flags(LwpFlags::PENDSIG);
                let cpu = each.lock().on_cpu();
                cpu.inspect(|&cpu| kernel.kick(cpu));
            }
        }
        kernel.make_zombie(p, &self.lwp);
    }

    /// `_lwp_exit(2)`; the last live LWP ends the process with status 0.
    pub fn exit_lwp(&mut self) -> Outcome<'_> {
        let is_last = {
            // Looked at and left under one lock: of two that leave at once, one is the last.
            let mut p = self.kernel.proc.lock();
            let is_last = p.live() <= 1;
            if !is_last {
                self.become_zombie(&mut p);
            }
            is_last
        };
        if is_last {
            let exit = async move { Err(self.exit_process(ExitWith::Code(0)).await) };
            return Outcome::Sleep(Box::pin(exit));
        }
        // Leaves the vcpu's registers clean for whoever comes next.
        self.kernel.machine.switch_out(&mut self.ctx);
        Outcome::Done(Err(Ended::Gone))
    }

    /// `lwp_wait`: waits for `target` (0: any LWP) to exit, reaps it, returns its id.
    ///
    /// # Errors
    /// ESRCH: nobody to wait for. EINVAL: it is detached. EDEADLK: it waits for the caller, or everybody
    /// waits. EINTR or a restart: a signal, or `_lwp_wakeup` (EINTR).
    pub async fn lwp_wait(&mut self, target: i32) -> Result<LwpId, Ended> {
        let kernel = Arc::clone(&self.kernel);
        let wanted = (target != 0).then(|| LwpId::new(target));
        let mut is_counted = false;
        loop {
            let queued = {
                let mut p = kernel.proc.lock();
                if !is_counted {
                    is_counted = true;
                    p.nlwpwait += 1;
                    self.lwp.lock().waiting_for = Some(wanted);
                }
                kernel.drain_detached(&mut p);
                match self.wait_scan(&mut p, wanted) {
                    Ok(None) => kernel.proc.lwpcv.enter(self, LWP_WAIT, Catch::Signals),
                    Ok(Some(dead)) => return Ok(self.wait_reap(&mut p, &dead)),
                    Err(errno) => return Err(self.wait_failed(&mut p, wanted, errno.into())),
                }
            };
            let ended = self.sleepq_block(None, Catch::Signals).await;
            drop(queued);
            let ended = match ended {
                Ok(()) => continue,
                Err(SleepEnd::Restart) => Ended::Restart,
                Err(SleepEnd::Intr | SleepEnd::TimedOut) => Errno::EINTR.into(),
            };
            let mut p = kernel.proc.lock();
            return Err(self.wait_failed(&mut p, wanted, ended));
        }
    }

    /// One look around for [`CurLwp::lwp_wait`]: the LWP to reap, or `None` to sleep.
    fn wait_scan(
        &mut self,
        p: &mut Guard<'_, ProcSt>,
        wanted: Option<LwpId>,
    ) -> Result<Option<Arc<Lwp>>, Errno> {
        let dead = match wanted {
            Some(lid) => self.wait_look_at(lid)?,
            None => self.wait_look_for_any(p)?,
        };
        if dead.is_none() && p.nlwpwait == p.nlwps() {
            return Err(Errno::EDEADLK);
        }
        Ok(dead)
    }

    fn wait_look_at(&self, lid: LwpId) -> Result<Option<Arc<Lwp>>, Errno> {
        let t = self.kernel.lids.find(lid.raw()).ok_or(Errno::ESRCH)?;
        let mut st = t.lock();
        if st.stat == LwpStat::Idl {
            return Err(Errno::ESRCH);
        }
        if st.detached {
            return Err(Errno::EINVAL);
        }
        if Arc::ptr_eq(&t, &self.lwp) || st.waiting_for == Some(Some(self.lwp.lid())) {
            return Err(Errno::EDEADLK);
        }
        st.waiter.get_or_insert(self.lwp.lid());
        let is_zombie = st.stat == LwpStat::Zomb;
        drop(st);
        Ok(is_zombie.then_some(t))
    }

    fn wait_look_for_any(&self, p: &ProcSt) -> Result<Option<Arc<Lwp>>, Errno> {
        let mut newest_first = p
            .zombies
            .iter()
            .rev()
            .filter_map(|&birth| p.lwps.get(birth));
        if let Some(t) = newest_first.next() {
            return Ok(Some(Arc::clone(t)));
        }
        let joinable = p.nlwps() - p.ndlwps;
        let myself = usize::from(!self.lwp.lock().detached);
        if joinable == myself {
            return Err(Errno::ESRCH);
        }
        Ok(None)
    }

    /// The good end of [`CurLwp::lwp_wait`].
    fn wait_reap(&self, p: &mut Guard<'_, ProcSt>, dead: &Arc<Lwp>) -> LwpId {
        p.nlwpwait -= 1;
        self.lwp.lock().waiting_for = None;
        dead.lock().waiter = None;
        self.kernel.lwp_free(p, dead);
        dead.lid()
    }

    /// Every other end of [`CurLwp::lwp_wait`]: the other waiters are to look again.
    fn wait_failed(&self, p: &mut Guard<'_, ProcSt>, wanted: Option<LwpId>, ended: Ended) -> Ended {
        p.nlwpwait -= 1;
        self.lwp.lock().waiting_for = None;
        if let Some(t) = wanted.and_then(|lid| self.kernel.lids.find(lid.raw())) {
            let mut st = t.lock();
            if st.waiter == Some(self.lwp.lid()) {
                st.waiter = None;
                if st.stat == LwpStat::Zomb && !st.detached {
                    p.zombies.insert(t.birth);
                }
            }
        }
        self.kernel.proc.lwpcv.wake_all(&self.kernel);
        ended
    }
}

impl Kernel {
    /// The common end of an LWP: zombie, name, broadcast, lwpctl.
    fn make_zombie(&self, p: &mut Guard<'_, ProcSt>, lwp: &Arc<Lwp>) {
        p.nzlwps += 1;
        let (detached, is_awaited) = {
            let mut st = lwp.lock();
            st.sigpend = SigPend::default();
            st.stat = LwpStat::Zomb;
            self.tell(lwp, || What::Exit);
            st.asleep = None;
            if let Some(name) = &mut st.name {
                **name = *b"(zombie)\0\0\0\0\0\0\0\0";
            }
            self.lwpctl_exited(&st);
            (st.detached, st.waiter.is_some())
        };
        if detached {
            self.drain_detached(p);
            p.detached_zombie = Some(Arc::clone(lwp));
        } else if !is_awaited {
            p.zombies.insert(lwp.birth);
        }
        self.proc.lwpcv.wake_all(self);
        self.one_less_runs(p);
    }
}
