//! Interval timers: setitimer(2).
//!
//! Real and monotonic timers are callouts. Virtual and profiling timers count the CPU time of the whole
//! process; they are looked at as often as it could at most have run out, given the number of vcpus.
//!
//! Differs from NetBSD: the virtual timer counts system time too; an absolute wall-clock step does not
//! move the real timer.
//!
//! Sources: `kern_time.c: dosetitimer`; setitimer(2).

use crate::callout::{Call, CalloutId};
use crate::kernel::Kernel;
use crate::sync::{Mutex, Rank};
use core::time::Duration;
use lwp_abi::errno::Errno;
use lwp_abi::signal::{Siginfo, Signo};
use std::sync::Arc;

/// The shortest interval: one tick, or a process could have nothing else to do but take its signals
/// (`subr_time.c: itimespecfix`). The first expiry is exact.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// The closest that two looks at a CPU-time timer come.
const CPU_LOOK_MIN: Duration = Duration::from_micros(500);

/// Which timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// ITIMER_REAL: SIGALRM.
    Real,
    /// ITIMER_VIRTUAL: SIGVTALRM.
    Virtual,
    /// ITIMER_PROF: SIGPROF.
    Prof,
    /// ITIMER_MONOTONIC: SIGALRM.
    Monotonic,
}

impl Which {
    /// From the number of setitimer(2).
    ///
    /// # Errors
    /// EINVAL.
    pub fn new(number: i32) -> Result<Self, Errno> {
        match number {
            0 => Ok(Self::Real),
            1 => Ok(Self::Virtual),
            2 => Ok(Self::Prof),
            3 => Ok(Self::Monotonic),
            _ => Err(Errno::EINVAL),
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Real => 0,
            Self::Virtual => 1,
            Self::Prof => 2,
            Self::Monotonic => 3,
        }
    }

    fn signal(self) -> Signo {
        match self {
            Self::Real | Self::Monotonic => Signo::SIGALRM,
            Self::Virtual => Signo::SIGVTALRM,
            Self::Prof => Signo::SIGPROF,
        }
    }

    fn counts_cpu(self) -> bool {
        matches!(self, Self::Virtual | Self::Prof)
    }
}

#[derive(Debug, Default)]
struct Itimer {
    /// When it expires, on its own clock.
    expires: Option<Duration>,
    interval: Duration,
    callout: Option<CalloutId>,
    /// Counts looks: one that another vcpu had begun when the timer was set anew is of no account.
    looks: u64,
}

/// The four timers of a process.
#[derive(Debug)]
pub struct Itimers {
    timers: Mutex<[Itimer; 4]>,
}

impl Itimers {
    pub(crate) fn new() -> Self {
        Self {
            timers: Mutex::new(Rank::Timers, Default::default()),
        }
    }

    /// How many are armed.
    pub(crate) fn armed(&self) -> usize {
        let timers = self.timers.lock();
        timers
            .iter()
            .filter(|timer| timer.expires.is_some())
            .count()
    }

    /// For a fork child, which inherits none.
    pub(crate) fn clear(&self) {
        *self.timers.lock() = Default::default();
    }
}

impl Kernel {
    fn itimer_now(&self, which: Which) -> Duration {
        if which.counts_cpu() {
            self.machine.process_cpu()
        } else {
            self.machine.monotonic()
        }
    }

    /// Interval and time to the next expiry, both zero if it is not armed.
    pub fn itimer_get(&self, which: Which) -> (Duration, Duration) {
        let timers = self.itimers.timers.lock();
        let timer = &timers[which.index()];
        let now = self.itimer_now(which);
        timer
            .expires
            .map_or((Duration::ZERO, Duration::ZERO), |at| {
                // An armed timer never reads as disarmed.
                (
                    timer.interval,
                    at.saturating_sub(now).max(Duration::from_micros(1)),
                )
            })
    }

    /// Arms a timer to expire after `value` and then every `interval` (if not zero, a tick at least);
    /// `value` zero disarms it.
    pub fn itimer_set(&self, which: Which, interval: Duration, value: Duration) {
        let mut timers = self.itimers.timers.lock();
        let timer = &mut timers[which.index()];
        if let Some(old) = timer.callout.take() {
            self.callouts.cancel(old);
        }
        timer.interval = if interval.is_zero() {
            interval
        } else {
            interval.max(INTERVAL_MIN)
        };
        timer.expires = (!value.is_zero()).then(|| self.itimer_now(which).saturating_add(value));
        if let Some(expires) = timer.expires {
            self.itimer_look(which, timer, expires);
        }
    }

    /// Schedules the next look at a timer.
    fn itimer_look(&self, which: Which, timer: &mut Itimer, expires: Duration) {
        let at = if which.counts_cpu() {
            let left = expires.saturating_sub(self.machine.process_cpu());
            let vcpus = u32::try_from(self.machine.ncpu())
                .unwrap_or(u32::MAX)
                .max(1);
            self.machine
                .monotonic()
                .saturating_add((left / vcpus).max(CPU_LOOK_MIN))
        } else {
            expires
        };
        timer.looks += 1;
        let look = timer.looks;
        let due = move |kernel: &Arc<Self>| kernel.itimer_due(which, look);
        timer.callout = Some(self.timeout(at, Call::Run(Box::new(due))));
    }

    fn itimer_due(self: &Arc<Self>, which: Which, look: u64) {
        let expired = {
            let mut timers = self.itimers.timers.lock();
            let timer = &mut timers[which.index()];
            if timer.looks != look {
                return;
            }
            timer.callout = None;
            let Some(expires) = timer.expires else { return };
            let now = self.itimer_now(which);
            let expired = now >= expires;
            if expired {
                timer.expires = next_expiry(expires, timer.interval, now);
            }
            if let Some(expires) = timer.expires {
                self.itimer_look(which, timer, expires);
            }
            expired
        };
        if expired {
            self.psignal(&Siginfo::timer(which.signal(), 0));
        }
    }
}

/// The first expiry after `now`; missed ones are skipped.
fn next_expiry(expired: Duration, interval: Duration, now: Duration) -> Option<Duration> {
    if interval.is_zero() {
        return None;
    }
    let next = expired.saturating_add(interval);
    if next > now {
        return Some(next);
    }
    let missed = now.saturating_sub(expired).as_nanos() / interval.as_nanos();
    let skip = interval.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX));
    Some(expired.saturating_add(skip).saturating_add(interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_expiries_are_skipped_but_the_rhythm_is_kept() {
        let ms = Duration::from_millis;
        assert_eq!(next_expiry(ms(100), ms(10), ms(101)), Some(ms(110)));
        assert_eq!(next_expiry(ms(100), ms(10), ms(135)), Some(ms(140)));
        assert_eq!(next_expiry(ms(100), ms(0), ms(135)), None);
    }
}
