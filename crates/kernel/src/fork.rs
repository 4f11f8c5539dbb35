//! fork: the kernel's side.
//!
//! The host process forks as a whole while every other vcpu stands at the top of its loop. In the child
//! only the calling LWP is left, under the child's pid; what belonged to the others is forgotten, not
//! dropped, because it may refer to host threads that do not exist there.
//!
//! Sources: `kern_fork.c: fork1`; lwp.md 7.2; design section 7.

use crate::kernel::Kernel;
use crate::lwp::{CurLwp, LwpFlags};
use crate::machine::{Forked, HostErr};
use crate::proc::ProcStat;
use crate::sig::SigPend;
use crate::sync::atomic::Ordering;
use lwp_abi::lwp::{LwpId, LwpState as LwpStat};
use std::sync::Arc;

impl CurLwp {
    /// `fork1`: forks the process. Returns in both; the results are up to the caller. The child's id is `called`, or
    /// what the host says.
    ///
    /// # Errors
    /// What the host said.
    pub async fn fork(&mut self, called: Option<i32>) -> Result<Forked, HostErr> {
        while !self.kernel.machine.begin_fork() {
            // Another LWP forks, and needs this vcpu at the top of its loop.
            self.give_way().await;
        }
        let kernel = Arc::clone(&self.kernel);
        // The child must find everything in memory.
        kernel.machine.switch_out(&mut self.ctx);
        let side = kernel.machine.fork(self.cpu())?;
        if let Forked::Child { pid } = side {
            self.become_child(called.unwrap_or(pid));
        }
        Ok(side)
    }

    /// Makes this LWP the child's first and only one.
    fn become_child(&mut self, pid: i32) {
        let kernel = Arc::clone(&self.kernel);
        kernel.forget_others();
        kernel.proc.set_pid(pid);
        kernel.proc.lwpcv.clear();
        let areas = {
            let mut p = kernel.proc.lock();
            core::mem::forget(core::mem::take(&mut p.lwps));
            p.lwps.insert(self.lwp.birth, Arc::clone(&self.lwp));
            core::mem::forget(core::mem::take(&mut p.sigwaiters));
            core::mem::forget(p.detached_zombie.take());
            p.zombies.clear();
            p.stat = ProcStat::Active;
            p.exiting = None;
            (p.nrlwps, p.nzlwps, p.ndlwps, p.nlwpwait) = (1, 0, 0, 0);
            p.sigpend = SigPend::default();
            p.lwpctl.take_areas()
        };
        for area in areas {
            // The host did not copy it; the guest's map must not show it either.
            let _ = kernel.vm.unmap(&*kernel.machine, area);
        }
        self.lwp.set_lid(LwpId::new(pid));
        self.ctx.answer.value = u64::from(pid.unsigned_abs());
        self.lwp.clear_flags(LwpFlags::all());
        let mut st = self.lwp.lock();
        debug_assert_eq!(st.stat, LwpStat::Onproc, "the caller of fork runs");
        st.name = None;
        st.detached = false;
        st.sigpend = SigPend::default();
        st.lwpctl = 0;
        st.cpu_time = 0;
        self.lwp.set_since(kernel.machine.stamp());
        st.set_on(0);
        drop(st);
        kernel.lids.claim_main(pid);
        kernel.lids.insert(&self.lwp, pid);
        kernel.tell_forked(&self.lwp);
    }
}

impl Kernel {
    /// This process is a vfork child whose parent waits, or no longer is.
    pub fn set_vfork_child(&self, is_one: bool) {
        self.proc.is_vfork_child.store(is_one, Ordering::Relaxed);
    }
}
