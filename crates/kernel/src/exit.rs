//! The end of a process, and the end of all its LWPs but one.
//!
//! Sources: `kern_exit.c: exit1, exit_lwps`; lwp.md 5.11, 7.1.

use crate::events::What;
use crate::kernel::Kernel;
use crate::lwp::{CurLwp, Lwp, LwpFlags};
use crate::machine::ExitWith;
use crate::proc::{ProcSt, ProcStat};
use crate::run::Ended;
use crate::sleepq::{Catch, LWP_WAIT};
use crate::sync::Guard;
use lwp_abi::lwp::LwpState as LwpStat;
use std::sync::Arc;

impl CurLwp {
    /// `exit1`: ends the process. The first LWP to come here decides how; the others just exit.
    pub async fn exit_process(&mut self, with: ExitWith) -> Ended {
        let first = {
            let mut p = self.kernel.proc.lock();
            let first = p.stat != ProcStat::Dying;
            if first {
                p.exiting = Some(with);
                self.begin_dying(&mut p);
            }
            first
        };
        if !first {
            self.lwp_exit();
            return Ended::Gone;
        }
        self.others_gone().await;
        let kernel = Arc::clone(&self.kernel);
        self.tell(|| What::End { with });
        kernel.machine.exit(with);
        // Only the sim machine comes back.
        let mut p = kernel.proc.lock();
        p.nrlwps -= 1;
        p.lwps.clear();
        self.lwp.lock().stat = LwpStat::Idl;
        kernel.set_over();
        kernel.machine.wake_one();
        Ended::Gone
    }

    /// Ends all other LWPs, for exec.
    ///
    /// # Errors
    /// [`Ended::Gone`]: another LWP ends the process, or execs; this one has exited instead.
    pub async fn single_threaded(&mut self) -> Result<(), Ended> {
        {
            let mut p = self.kernel.proc.lock();
            if p.stat == ProcStat::Dying || self.lwp.flags().contains(LwpFlags::WEXIT) {
                drop(p);
                self.lwp_exit();
                return Err(Ended::Gone);
            }
            self.begin_dying(&mut p);
        }
        self.others_gone().await;
        self.kernel.proc.lock().stat = ProcStat::Active;
        Ok(())
    }

    /// The first half of `exit_lwps`: this LWP has the last word, the others are told to exit, new ones are
    /// stillborn. All at once, so that no other sees a dying process without being told.
    fn begin_dying(&self, p: &mut Guard<'_, ProcSt>) {
        p.stat = ProcStat::Dying;
        self.lwp
            .clear_flags(LwpFlags::WEXIT.union(LwpFlags::WSUSPEND));
        let others: Vec<_> = p
            .lwps
            .values()
            .filter(|t| !Arc::ptr_eq(t, &self.lwp))
            .cloned()
            .collect();
        for t in &others {
            self.kernel.tell_to_exit(p, t);
        }
    }

    /// The second half of `exit_lwps`: waits, uninterruptibly, until the others are reaped.
    async fn others_gone(&mut self) {
        let kernel = Arc::clone(&self.kernel);
        loop {
            let queued = {
                let mut p = kernel.proc.lock();
                kernel.reap_all(&mut p);
                if p.nlwps() == 1 {
                    return;
                }
                kernel.proc.lwpcv.enter(self, LWP_WAIT, Catch::Nothing)
            };
            let _ = self.sleepq_block(None, Catch::Nothing).await;
            drop(queued);
        }
    }
}

impl Kernel {
    fn tell_to_exit(&self, p: &mut Guard<'_, ProcSt>, t: &Arc<Lwp>) {
        let mut st = t.lock();
        t.set_flags(LwpFlags::WEXIT);
        match st.stat {
            LwpStat::Sleep if st.interruptible => self.unsleep(t, st),
            LwpStat::Suspended => {
                p.nrlwps += 1;
                self.setrunnable(t, st);
            }
            LwpStat::Stop => {
                p.nrlwps += 1;
                st.asleep = None;
                st.interruptible = false;
                self.setrunnable(t, st);
            }
            LwpStat::Onproc => {
                let cpu = st.on_cpu();
                drop(st);
                cpu.inspect(|&cpu| self.kick(cpu));
            }
            LwpStat::Sleep | LwpStat::Run | LwpStat::Idl | LwpStat::Zomb => {}
        }
    }

    /// Reaps every zombie, whoever was to wait for it.
    fn reap_all(&self, p: &mut Guard<'_, ProcSt>) {
        let detached = p.detached_zombie.take();
        let joinable = p.lwps.values().filter(|t| {
            let st = t.lock();
            st.stat == LwpStat::Zomb && !st.detached
        });
        let dead: Vec<_> = joinable.cloned().chain(detached).collect();
        for t in &dead {
            self.lwp_free(p, t);
        }
    }

    /// Ends the process where it is, whatever its LWPs do: for a runner that has seen enough. No lock is held, and
    /// this thread runs no LWP in the kernel.
    pub fn give_up(&self, with: ExitWith) {
        let lwp = self.proc.lock().lwps.values().next().cloned();
        if let Some(lwp) = lwp {
            self.tell(&lwp, || What::End { with });
        }
        self.machine.exit(with);
    }
}
