//! `_lwp_suspend`, `_lwp_continue` and `_lwp_wakeup`.
//!
//! A suspended LWP stops at its user boundary and nowhere else; until it gets there `WSUSPEND` says
//! that it is to. Suspension is a state, not a count.
//!
//! Sources: `kern_lwp.c: lwp_suspend, lwp_continue`; `sys_lwp.c`; lwp.md 2.6 to 2.8.

use crate::events::What;
use crate::kernel::Kernel;
use crate::lwp::{CurLwp, Lwp, LwpFlags};
use crate::proc::ProcSt;
use crate::run::{Ended, Ret, SysResult};
use crate::sleepq::{Catch, LWP_WAIT};
use crate::sync::Guard;
use lwp_abi::errno::Errno;
use lwp_abi::lwp::LwpState as LwpStat;
use std::sync::Arc;

impl CurLwp {
    /// `_lwp_suspend(2)`: suspends `target` and waits until it is, or is continued.
    ///
    /// # Errors
    /// ESRCH: no such live LWP, also when it exits meanwhile. EDEADLK: it is the caller and no other
    /// LWP runs. A signal restarts the call, never EINTR.
    pub async fn suspend(&mut self, target: i32) -> SysResult {
        let kernel = Arc::clone(&self.kernel);
        // Asleep before p_lock is let go, here and below, so that the target's broadcast is not missed.
        let mut queued = {
            let p = kernel.proc.lock();
            let t = kernel.lwp_find(&p, target).ok_or(Errno::ESRCH)?;
            let is_dying = self.lwp.flags().intersects(LwpFlags::DYING);
            if (Arc::ptr_eq(&t, &self.lwp) && p.nrlwps == 1) || is_dying {
                return Err(Errno::EDEADLK.into());
            }
            kernel.lwp_suspend(&t);
            kernel.proc.lwpcv.enter(self, LWP_WAIT, Catch::Signals)
        };
        loop {
            // Sleeps first and tests afterwards, as the source does.
            let ended = self.sleepq_block(None, Catch::Signals).await;
            drop(queued);
            if ended.is_err() {
                return Err(Ended::Restart);
            }
            let p = kernel.proc.lock();
            let t = kernel.lwp_find(&p, target).ok_or(Errno::ESRCH)?;
            let flags = t.flags();
            if flags.union(self.lwp.flags()).intersects(LwpFlags::DYING) {
                return Err(Ended::Restart);
            }
            if t.lock().stat == LwpStat::Suspended || !flags.contains(LwpFlags::WSUSPEND) {
                return Ok(Ret::ZERO);
            }
            queued = kernel.proc.lwpcv.enter(self, LWP_WAIT, Catch::Signals);
        }
    }

    /// The user boundary with WSUSPEND set: stays here until continued or the process ends.
    pub(crate) async fn suspend_here(&mut self) {
        {
            let mut p = self.kernel.proc.lock();
            let mut st = self.lwp.lock();
            // Continued meanwhile, or to exit: do not stop.
            let flags = self.lwp.flags();
            if !flags.contains(LwpFlags::WSUSPEND) || flags.contains(LwpFlags::WEXIT) {
                return;
            }
            st.stat = LwpStat::Suspended;
            self.tell(|| What::Suspended);
            drop(st);
            self.kernel.one_less_runs(&mut p);
            self.kernel.proc.lwpcv.wake_all(&self.kernel);
        }
        self.block().await;
    }
}

impl Kernel {
    /// Tells `t` to suspend itself, and gets it there if it sleeps interruptibly or runs.
    fn lwp_suspend(&self, t: &Arc<Lwp>) {
        let st = t.lock();
        if st.stat == LwpStat::Suspended {
            return;
        }
        t.set_flags(LwpFlags::WSUSPEND);
        self.tell(t, || What::Suspend);
        let is_asleep = matches!(st.stat, LwpStat::Sleep | LwpStat::Stop) && st.asleep.is_some();
        if is_asleep && st.interruptible {
            self.unsleep(t, st);
        } else if let Some(cpu) = st.on_cpu() {
            drop(st);
            self.kick(cpu);
        }
    }

    /// `_lwp_continue(2)`. A suspension that has not taken effect is cancelled.
    ///
    /// # Errors
    /// ESRCH: no such live LWP.
    pub fn resume(&self, target: i32) -> Result<(), Errno> {
        let mut p = self.proc.lock();
        let t = self.lwp_find(&p, target).ok_or(Errno::ESRCH)?;
        t.clear_flags(LwpFlags::WSUSPEND);
        self.tell(&t, || What::Continue);
        self.unsuspend(&mut p, &t);
        Ok(())
    }

    /// Sets a suspended LWP running.
    pub(crate) fn unsuspend(&self, p: &mut Guard<'_, ProcSt>, t: &Arc<Lwp>) {
        let st = t.lock();
        if st.stat == LwpStat::Suspended {
            p.nrlwps += 1;
            self.setrunnable(t, st);
            self.proc.lwpcv.wake_all(self);
        }
    }

    /// `_lwp_wakeup(2)`: cancels the interruptible sleep of `target`, or its next one.
    ///
    /// # Errors
    /// ESRCH: no such live LWP. ENODEV: not asleep. EBUSY: asleep uninterruptibly. In the last two
    /// cases the target has been marked all the same.
    pub fn wakeup(&self, target: i32) -> Result<(), Errno> {
        let p = self.proc.lock();
        let t = self.lwp_find(&p, target).ok_or(Errno::ESRCH)?;
        let st = t.lock();
        t.set_flags(LwpFlags::WAKES);
        self.tell(&t, || What::Cancel);
        if st.stat != LwpStat::Sleep {
            return Err(Errno::ENODEV);
        }
        if !st.interruptible {
            return Err(Errno::EBUSY);
        }
        self.unsleep(&t, st);
        Ok(())
    }

    /// Makes vcpu `cpu` enter the kernel soon, unless it is the calling one.
    pub(crate) fn kick(&self, cpu: crate::machine::CpuId) {
        if cpu != self.machine.current() {
            self.machine.kick(cpu);
        }
    }
}
