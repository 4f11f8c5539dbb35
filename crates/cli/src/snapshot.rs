//! What a guest looks like from outside at one moment: what `lwp ps` and `lwp top` show, as the runner writes it to
//! its control socket.
//!
//! States are NetBSD's letters: `O` on a vcpu, `R` runnable, `S` asleep, `I` asleep for 20 s or more, `D` asleep where
//! no signal reaches it, `T` stopped, `U` suspended, `Z` a zombie.
//!
//! Sources: ps(1); NetBSD's `bin/ps/print.c: lstate`.

use core::time::Duration;
use lwp_abi::lwp::{LwpId, LwpState};
use lwp_abi::sched::USER_PRIORITY;
use lwp_abi::signal::{SigSet, Signo};
use lwp_kernel::Kernel;
use lwp_kernel::proc::ProcStat;
use lwp_kernel::ps::{LwpInfo, ProcInfo};
use serde::{Deserialize, Serialize};

/// `maxslp`: who sleeps longer is idle.
const IDLE: Duration = Duration::from_secs(20);

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) pid: i32,
    /// Path of the program.
    pub(crate) program: String,
    /// `running`, `stopping`, `stopped` or `exiting`.
    pub(crate) state: String,
    /// Host threads that run LWPs.
    pub(crate) vcpus: usize,
    /// LWPs that there have been.
    pub(crate) created: u64,
    /// How often an LWP was switched to.
    pub(crate) switches: u64,
    /// Signals pending on the process.
    pub(crate) pending: Vec<String>,
    pub(crate) lwps: Vec<Row>,
}

/// An LWP. Times are in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) lid: i32,
    pub(crate) name: String,
    /// See the module.
    pub(crate) state: String,
    /// The wait message, if it sleeps.
    pub(crate) wchan: Option<String>,
    /// The LWP it waits for, if it is in `_lwp_wait(2)`; 0 for any.
    pub(crate) waits_for: Option<i32>,
    /// For how long it has been running, or not been running.
    pub(crate) since: Option<u64>,
    /// The vcpu it runs on, or ran on last.
    pub(crate) vcpu: usize,
    pub(crate) priority: i32,
    /// CPU time.
    pub(crate) time: u64,
    /// CPU time in user mode; known while `--stats`, `--timeline` or a trace watches.
    pub(crate) user: Option<u64>,
    /// CPU time in the kernel; likewise.
    pub(crate) kernel: Option<u64>,
    /// How often it was switched to.
    pub(crate) switches: u32,
    /// Signals pending on it.
    pub(crate) pending: Vec<String>,
    /// Who unparked it last.
    pub(crate) unparked_by: Option<i32>,
    pub(crate) detached: bool,
}

impl Snapshot {
    /// The guest of `kernel`, which runs `program`, now.
    pub(crate) fn take(kernel: &Kernel, program: &[u8]) -> Self {
        Self::of(&kernel.ps(), program)
    }

    fn of(info: &ProcInfo, program: &[u8]) -> Self {
        let state = match info.stat {
            ProcStat::Active => "running",
            ProcStat::Stopping => "stopping",
            ProcStat::Stopped => "stopped",
            ProcStat::Dying => "exiting",
        };
        Self {
            pid: info.pid,
            program: String::from_utf8_lossy(program).into_owned(),
            state: state.to_owned(),
            vcpus: info.vcpus,
            created: info.born,
            switches: info.switches,
            pending: names(info.pending),
            lwps: info.lwps.iter().map(Row::of).collect(),
        }
    }

    /// The LWP called `lid`.
    pub(crate) fn lwp(&self, lid: i32) -> Option<&Row> {
        self.lwps.iter().find(|row| row.lid == lid)
    }
}

impl Row {
    fn of(info: &LwpInfo) -> Self {
        let user = info.user_time.map(nanos);
        let time = nanos(info.cpu_time);
        Self {
            lid: info.lid.raw(),
            name: String::from_utf8_lossy(&info.name).into_owned(),
            state: letter(info).to_owned(),
            wchan: info.wait.map(|wait| wait.wmesg.to_owned()),
            waits_for: info
                .wait
                .and_then(|wait| wait.on)
                .map(|lid| lid.map_or(0, LwpId::raw)),
            since: info.since.map(nanos),
            vcpu: info.cpu,
            priority: USER_PRIORITY,
            time,
            user,
            kernel: user.map(|user| time.saturating_sub(user)),
            switches: info.switches,
            pending: names(info.pending),
            unparked_by: info.unparked_by.map(LwpId::raw),
            detached: info.detached,
        }
    }

    /// Its id, with its name if it has one.
    pub(crate) fn called(&self) -> String {
        called(self.lid, &self.name)
    }
}

/// An LWP's id, with its name if it has one.
pub(crate) fn called(lid: i32, name: &str) -> String {
    match name {
        "" => format!("LWP {lid}"),
        name => format!("LWP {lid} ({name})"),
    }
}

fn letter(info: &LwpInfo) -> &'static str {
    match info.stat {
        LwpState::Onproc if info.since.is_some() => "O",
        LwpState::Sleep if !info.interruptible => "D",
        LwpState::Sleep if info.since.is_some_and(|since| since >= IDLE) => "I",
        LwpState::Sleep => "S",
        LwpState::Stop => "T",
        LwpState::Suspended => "U",
        LwpState::Zomb => "Z",
        // Runnable, or about to be.
        _ => "R",
    }
}

fn names(set: SigSet) -> Vec<String> {
    set.iter().map(|signo: Signo| signo.to_string()).collect()
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A time for people, in at most six characters or so.
pub(crate) fn span(nanos: u64) -> String {
    let tenths = |unit: u64, name: &str| {
        let tenths = nanos * 10 / unit;
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    };
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => tenths(1_000, "us"),
        1_000_000..1_000_000_000 => tenths(1_000_000, "ms"),
        1_000_000_000..100_000_000_000 => tenths(1_000_000_000, "s"),
        _ => format!("{} s", nanos / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn spans_are_short() {
        let all = [7, 1_500, 2_340_000, 99_900_000_000, 7_200_000_000_000].map(span);
        assert_eq!(all, ["7 ns", "1.5 us", "2.3 ms", "99.9 s", "7200 s"]);
    }
}
