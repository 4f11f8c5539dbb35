//! Clocks as the guest names them, and what a time-out means.
//!
//! Sleeps run on the monotonic clock whatever clock they were given in; the clock only serves to turn
//! an absolute time into an interval, once.
//!
//! Differs from NetBSD: intervals are exact, not rounded up to ticks (design, settled details).
//!
//! Sources: `subr_time.c: ts2timo, clock_gettime1, clock_timeleft`; lwp.md 4.3.

use crate::lwp::CurLwp;
use core::time::Duration;
use lwp_abi::errno::Errno;
use lwp_abi::lwp::LwpState as LwpStat;
use lwp_abi::time::{ClockId, Timespec};

/// Whether a time is a point or a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeKind {
    /// TIMER_RELTIME.
    Relative,
    /// TIMER_ABSTIME.
    Absolute,
}

/// A time-out under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timo {
    /// When it ends, on the monotonic clock.
    pub deadline: Duration,
    clock: ClockId,
    started: Duration,
    interval: Duration,
}

impl Timo {
    /// `clock_timeleft`: what is left of the interval on the clock it was given in; may be negative.
    pub fn left(&self, l: &CurLwp) -> Timespec {
        let now = l.clock_gettime(self.clock).unwrap_or(self.started);
        let elapsed = now.saturating_sub(self.started);
        match self.interval.checked_sub(elapsed) {
            Some(left) => left.into(),
            None => negated(elapsed.saturating_sub(self.interval)),
        }
    }
}

fn negated(time: Duration) -> Timespec {
    let Timespec { tv_sec, tv_nsec } = time.into();
    if tv_nsec == 0 {
        Timespec {
            tv_sec: -tv_sec,
            tv_nsec: 0,
        }
    } else {
        Timespec {
            tv_sec: -tv_sec - 1,
            tv_nsec: 1_000_000_000 - tv_nsec,
        }
    }
}

impl CurLwp {
    /// `clock_gettime1`: the time of `clock`, as a duration since its own origin.
    ///
    /// # Errors
    /// EINVAL: no such clock. ESRCH: a CPU-time clock of an unknown LWP or process.
    pub fn clock_gettime(&self, clock: ClockId) -> Result<Duration, Errno> {
        let machine = &*self.kernel.machine;
        if clock == ClockId::REALTIME {
            return Ok(machine.realtime());
        }
        if clock == ClockId::MONOTONIC {
            return Ok(machine.monotonic());
        }
        if let Some(pid) = clock.process() {
            return if pid == 0 || pid == self.kernel.proc.pid() {
                Ok(machine.process_cpu())
            } else {
                Err(Errno::ESRCH)
            };
        }
        match clock.lwp() {
            Some(lid) => self.lwp_cpu_time(lid),
            None => Err(Errno::EINVAL),
        }
    }

    /// CPU time of a live LWP of this process; 0 is the caller.
    fn lwp_cpu_time(&self, lid: i32) -> Result<Duration, Errno> {
        let lwp = if lid == 0 {
            std::sync::Arc::clone(&self.lwp)
        } else {
            self.kernel.lids.find(lid).ok_or(Errno::ESRCH)?
        };
        let st = lwp.lock();
        match st.stat {
            LwpStat::Zomb | LwpStat::Idl => Err(Errno::ESRCH),
            _ => Ok(self.kernel.cpu_time(&lwp, &st)),
        }
    }

    /// `ts2timo`: turns a time-out into a deadline.
    ///
    /// # Errors
    /// EINVAL: nanoseconds out of range, no such clock, or an absolute time too far away. ESRCH: the
    /// clock of an unknown LWP. ETIMEDOUT: the time is over already.
    pub fn ts2timo(&self, clock: ClockId, kind: TimeKind, ts: Timespec) -> Result<Timo, Errno> {
        if !ts.has_valid_nsec() {
            return Err(Errno::EINVAL);
        }
        let started = self.clock_gettime(clock)?;
        let interval = match kind {
            TimeKind::Relative => Duration::try_from(ts).ok(),
            TimeKind::Absolute => {
                let now = Timespec::from(started);
                ts.tv_sec.checked_sub(now.tv_sec).ok_or(Errno::EINVAL)?;
                Duration::try_from(ts)
                    .ok()
                    .and_then(|at| at.checked_sub(started))
            }
        };
        let interval = interval
            .filter(|left| !left.is_zero())
            .ok_or(Errno::ETIMEDOUT)?;
        let deadline = self.kernel.machine.monotonic().saturating_add(interval);
        Ok(Timo {
            deadline,
            clock,
            started,
            interval,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_rest_has_nanoseconds_in_range() {
        let rest = negated(Duration::new(1, 250_000_000));
        assert_eq!((rest.tv_sec, rest.tv_nsec), (-2, 750_000_000));
        let rest = negated(Duration::new(3, 0));
        assert_eq!((rest.tv_sec, rest.tv_nsec), (-3, 0));
    }
}
