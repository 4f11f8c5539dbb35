//! Job control: stopping all LWPs of the process and setting them going again.
//!
//! The LWP that takes a stop signal marks the process as stopping and moves interruptible sleepers to
//! LSSTOP, still on their sleep; the others look for signals, and stop at their boundary or as they fall
//! asleep. When none counts as running, the host process stops, so that the parent sees it.
//!
//! Differs from NetBSD: a tty stop signal with default action stops the process also when its process
//! group is orphaned; an LWP that falls asleep during a stop is caught at once, not by a sweep per tick.
//!
//! Sources: `kern_sig.c: proc_stop, proc_unstop, sigswitch`; lwp.md 5.11.

use crate::events::What;
use crate::kernel::Kernel;
use crate::lwp::{CurLwp, LwpFlags};
use crate::proc::{ProcSt, ProcStat};
use crate::sync::Guard;
use lwp_abi::lwp::LwpState as LwpStat;
use lwp_abi::signal::Signo;
use std::sync::Arc;

impl Kernel {
    /// `proc_stop`: begins a stop on behalf of `l`.
    pub(crate) fn proc_stop(&self, p: &mut Guard<'_, ProcSt>, signo: Signo, l: &CurLwp) {
        p.stat = ProcStat::Stopping;
        p.stop_signo = Some(signo);
        let others: Vec<_> = p
            .lwps
            .values()
            .filter(|t| !Arc::ptr_eq(t, &l.lwp))
            .cloned()
            .collect();
        for t in others {
            let mut st = t.lock();
            match st.stat {
                LwpStat::Sleep if st.interruptible => {
                    st.stat = LwpStat::Stop;
                    self.tell(&t, || What::Stopped);
                    p.nrlwps -= 1;
                }
                // One that is suspended may be continued by an LWP that has not stopped yet.
                LwpStat::Sleep | LwpStat::Run | LwpStat::Suspended => {
                    t.set_flags(LwpFlags::PENDSIG);
                }
                LwpStat::Onproc => {
                    t.set_flags(LwpFlags::PENDSIG);
                    let cpu = st.on_cpu();
                    drop(st);
                    cpu.inspect(|&cpu| self.kick(cpu));
                }
                LwpStat::Idl | LwpStat::Stop | LwpStat::Zomb => {}
            }
        }
    }

    /// `proc_unstop`: sets a stopped or stopping process going.
    pub(crate) fn proc_unstop(&self, p: &mut Guard<'_, ProcSt>) {
        p.stat = ProcStat::Active;
        p.stop_signo = None;
        let stopped: Vec<_> = p.lwps.values().cloned().collect();
        for t in stopped {
            let mut st = t.lock();
            if st.stat != LwpStat::Stop {
                continue;
            }
            p.nrlwps += 1;
            if st.asleep.is_some() {
                st.stat = LwpStat::Sleep;
            } else {
                self.setrunnable(&t, st);
            }
        }
    }

    /// One LWP less runs. If it was the last of a stopping process, the host process stops here, vcpus
    /// and all; what continues it then comes in from outside, as SIGCONT.
    pub(crate) fn one_less_runs(&self, p: &mut Guard<'_, ProcSt>) {
        p.nrlwps -= 1;
        if p.nrlwps > 0 || p.stat != ProcStat::Stopping {
            return;
        }
        p.stat = ProcStat::Stopped;
        if let Some(signo) = p.stop_signo {
            self.machine.stop_process(signo);
        }
    }
}

impl CurLwp {
    /// `sigswitch`: stays stopped until the process is continued.
    pub(crate) async fn stop_here(&mut self) {
        {
            let mut p = self.kernel.proc.lock();
            if p.stat != ProcStat::Stopping && p.stat != ProcStat::Stopped {
                return;
            }
            let mut st = self.lwp.lock();
            st.stat = LwpStat::Stop;
            self.tell(|| What::Stopped);
            drop(st);
            self.kernel.one_less_runs(&mut p);
        }
        self.block().await;
    }
}
