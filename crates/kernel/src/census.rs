//! How much there is of what the kernel keeps: for reports, and for tests that look for leaks.

use crate::kernel::Kernel;
use lwp_abi::lwp::LwpState as LwpStat;

/// Counts of one moment. Other vcpus may change them meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// LWPs that have not been reaped.
    pub lwps: usize,
    /// Of these, those asleep.
    pub asleep: usize,
    /// LWPs on run queues.
    pub queued: usize,
    /// Scheduled callouts.
    pub callouts: usize,
    /// Armed interval timers.
    pub timers: usize,
    /// Places in the queue of those who wait for LWPs, and LWPs in sigtimedwait(2).
    pub waiters: usize,
    /// Descriptors registered with the poller.
    pub watches: usize,
    /// Jobs on helper threads that somebody waits for.
    pub jobs: usize,
    /// Bytes of the guest's address space. Not pieces: how far neighbours are one piece depends on their
    /// past.
    pub mapped: u64,
}

impl Kernel {
    /// Counts.
    pub fn census(&self) -> Census {
        let mappings = self.vm.mappings();
        let queued = self
            .sched
            .snapshot()
            .iter()
            .map(|(births, _)| births.len())
            .sum();
        let (watches, jobs) = (self.watches.len(), self.jobs.len());
        let (callouts, timers) = (self.callouts.len(), self.itimers.armed());
        let p = self.proc.lock();
        let is_asleep = |t: &&std::sync::Arc<crate::Lwp>| t.lock().stat == LwpStat::Sleep;
        Census {
            lwps: p.nlwps(),
            asleep: p.lwps.values().filter(is_asleep).count(),
            queued,
            callouts,
            timers,
            waiters: p.sigwaiters.len() + self.proc.lwpcv.len(),
            watches,
            jobs,
            mapped: mappings.iter().map(|(at, _)| at.end - at.start).sum(),
        }
    }
}
