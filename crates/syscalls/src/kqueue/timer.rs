//! `EVFILT_TIMER`.
//!
//! Expirations are counted by arithmetic when somebody looks, so a timer of one nanosecond costs no
//! more than one of a minute: a callout is set for the next expiration only after a look.
//!
//! Differs from NetBSD: times are exact, not rounded up to ticks; limits are NetBSD's, in ticks of 10 ms.
//!
//! Source: `kern_event.c: filt_timercompute, filt_timerstart, filt_timertouch`.

use super::Bell;
use super::knotes::{Knote, Touched};
use super::source::Cx;
use core::time::Duration;
use lwp_abi::errno::Errno;
use lwp_abi::event::{
    EvFlags, Kevent100, NOTE_ABSTIME, NOTE_MSECONDS, NOTE_NSECONDS, NOTE_SECONDS, NOTE_USECONDS,
};
use lwp_kernel::Kernel;
use lwp_kernel::callout::{Call, CalloutId};
use std::sync::{Arc, Weak};

/// `NOTE_TIMER_UNITMASK`.
const UNITS: u32 = NOTE_NSECONDS;
const NANOS_PER_SEC: i128 = 1_000_000_000;
const NANOS_PER_TICK: i128 = 10_000_000;

/// What a change asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Plan {
    /// From now to the first expiration.
    first: Duration,
    /// From one to the next.
    period: Option<Duration>,
    /// `EV_CLEAR` goes with it.
    is_relative: bool,
}

impl Plan {
    /// `filt_timercompute`, at `now` on the real-time clock.
    fn new(change: &Kevent100, now: Duration) -> Result<Self, Errno> {
        if change.fflags & !(UNITS | NOTE_ABSTIME) != 0 {
            return Err(Errno::EINVAL);
        }
        let unit: i128 = match change.fflags & UNITS {
            NOTE_SECONDS => NANOS_PER_SEC,
            NOTE_MSECONDS => 1_000_000,
            NOTE_USECONDS => 1_000,
            _ => 1,
        };
        let asked = i128::from(change.data) * unit;
        let is_relative = change.fflags & NOTE_ABSTIME == 0;
        let nanos = if is_relative {
            asked
        } else {
            asked - nanos(now)
        };
        if !is_relative && nanos <= 0 {
            return Ok(Self {
                first: Duration::ZERO,
                period: None,
                is_relative,
            });
        }
        if change.data == 0 || nanos > i128::from(i32::MAX) * NANOS_PER_TICK {
            return Err(Errno::EINVAL);
        }
        // A negative time is one tick.
        let first = if nanos < 0 { NANOS_PER_TICK } else { nanos };
        let first = Duration::from_nanos(u64::try_from(first).map_err(|_| Errno::EINVAL)?);
        let is_oneshot = EvFlags::from_bits_retain(change.flags).contains(EvFlags::ONESHOT);
        let period = (is_relative && !is_oneshot).then_some(first);
        Ok(Self {
            first,
            period,
            is_relative,
        })
    }
}

fn nanos(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}

/// When a timer expires next, on the monotonic clock, and how often it did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Schedule {
    /// `None` once it has expired and does not repeat.
    next: Option<Duration>,
    period: Option<Duration>,
}

impl Schedule {
    /// The expirations up to `now` since the last look.
    fn take(&mut self, now: Duration) -> i64 {
        let Some(late) = self.next.and_then(|next| now.checked_sub(next)) else {
            return 0;
        };
        let Some(period) = self.period else {
            self.next = None;
            return 1;
        };
        let more = late.as_nanos() / period.as_nanos().max(1);
        let rest = late.as_nanos() % period.as_nanos().max(1);
        let rest = Duration::from_nanos(u64::try_from(rest).unwrap_or(0));
        self.next = Some(now.saturating_sub(rest).saturating_add(period));
        i64::try_from(more).unwrap_or(i64::MAX).saturating_add(1)
    }
}

/// A timer under way.
#[derive(Debug)]
pub(super) struct TimerSource {
    schedule: Schedule,
    alarm: Alarm,
}

impl TimerSource {
    /// Starts the timer.
    ///
    /// # Errors
    /// EINVAL: no time, too much time, or flags of other filters.
    pub(super) fn attach(cx: Cx<'_>, bell: &Arc<Bell>, kn: &mut Knote) -> Result<Self, Errno> {
        let change = Kevent100 {
            fflags: kn.sfflags,
            data: kn.sdata,
            ..kn.kev
        };
        let mut source = Self {
            schedule: Schedule {
                next: None,
                period: None,
            },
            alarm: Alarm::new(cx.kernel),
        };
        source.start(bell, kn, &change, cx)?;
        Ok(source)
    }

    fn start(
        &mut self,
        bell: &Arc<Bell>,
        kn: &mut Knote,
        change: &Kevent100,
        cx: Cx<'_>,
    ) -> Result<(), Errno> {
        let plan = Plan::new(change, cx.kernel.machine.realtime())?;
        kn.kev.flags = change.flags;
        if plan.is_relative {
            kn.set(EvFlags::CLEAR);
        }
        kn.sfflags = change.fflags;
        kn.sdata = change.data;
        let next = cx.kernel.machine.monotonic().saturating_add(plan.first);
        self.schedule = Schedule {
            next: Some(next),
            period: plan.period,
        };
        self.alarm.set(cx, bell, next);
        Ok(())
    }

    /// Counts expirations; sets the alarm for the next.
    pub(super) fn event(&mut self, bell: &Arc<Bell>, kn: &mut Knote, cx: &Cx<'_>) -> bool {
        let more = self.schedule.take(cx.kernel.machine.monotonic());
        if more > 0 {
            kn.kev.data = kn.kev.data.saturating_add(more);
            if let Some(next) = self.schedule.next {
                self.alarm.set(*cx, bell, next);
            }
        }
        kn.kev.data != 0
    }

    /// `EV_ADD` starts the timer anew; other changes leave it alone.
    pub(super) fn touch(
        &mut self,
        bell: &Arc<Bell>,
        kn: &mut Knote,
        change: &Kevent100,
        cx: &Cx<'_>,
    ) -> Result<Touched, Errno> {
        if !EvFlags::from_bits_retain(change.flags).contains(EvFlags::ADD) {
            return Ok(Touched::Kept);
        }
        self.alarm.cancel();
        self.schedule = Schedule {
            next: None,
            period: None,
        };
        kn.kev.data = 0;
        self.start(bell, kn, change, *cx)?;
        Ok(Touched::Withdrawn)
    }
}

/// A callout that rings a bell; dropping it cancels it.
#[derive(Debug)]
pub(super) struct Alarm {
    kernel: Weak<Kernel>,
    callout: Option<CalloutId>,
}

impl Alarm {
    /// An alarm that is not set.
    pub(super) fn new(kernel: &Arc<Kernel>) -> Self {
        Self {
            kernel: Arc::downgrade(kernel),
            callout: None,
        }
    }

    /// Sets it, in place of what it was set to.
    pub(super) fn set(&mut self, cx: Cx<'_>, bell: &Arc<Bell>, at: Duration) {
        self.cancel();
        let bell = Arc::downgrade(bell);
        let ring = move |kernel: &Arc<Kernel>| {
            if let Some(bell) = bell.upgrade() {
                bell.ring(kernel);
            }
        };
        self.callout = Some(cx.kernel.timeout(at, Call::Run(Box::new(ring))));
    }

    fn cancel(&mut self) {
        if let (Some(id), Some(kernel)) = (self.callout.take(), self.kernel.upgrade()) {
            kernel.callouts.cancel(id);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    fn plan(flags: EvFlags, fflags: u32, data: i64) -> Result<Plan, Errno> {
        let change = Kevent100 {
            flags: flags.bits(),
            fflags,
            data,
            ..Kevent100::default()
        };
        Plan::new(&change, NOW)
    }

    fn relative(fflags: u32, data: i64) -> Result<Duration, Errno> {
        plan(EvFlags::ADD, fflags, data).map(|plan| plan.first)
    }

    #[test]
    fn units_are_milliseconds_unless_said_otherwise() {
        assert_eq!(relative(0, 5), Ok(Duration::from_millis(5)));
        assert_eq!(relative(NOTE_SECONDS, 5), Ok(Duration::from_secs(5)));
        assert_eq!(relative(NOTE_USECONDS, 5), Ok(Duration::from_micros(5)));
        assert_eq!(relative(NOTE_NSECONDS, 5), Ok(Duration::from_nanos(5)));
    }

    #[test]
    fn no_time_too_much_time_and_strange_flags_are_refused() {
        assert_eq!(relative(0, 0), Err(Errno::EINVAL));
        assert_eq!(relative(NOTE_SECONDS, i64::MAX), Err(Errno::EINVAL));
        assert_eq!(relative(NOTE_SECONDS, 30_000_000), Err(Errno::EINVAL));
        assert_eq!(relative(0x20, 1), Err(Errno::EINVAL));
    }

    #[test]
    fn an_absolute_time_does_not_repeat_and_may_be_past() {
        let late = plan(EvFlags::ADD, NOTE_SECONDS | NOTE_ABSTIME, 999).unwrap();
        assert_eq!(
            (late.first, late.period, late.is_relative),
            (Duration::ZERO, None, false)
        );
        let early = plan(EvFlags::ADD, NOTE_SECONDS | NOTE_ABSTIME, 1_003).unwrap();
        assert_eq!(early.first, Duration::from_secs(3));
    }

    #[test]
    fn a_one_shot_has_no_period() {
        assert_eq!(
            plan(EvFlags::ADD | EvFlags::ONESHOT, 0, 7).unwrap().period,
            None
        );
        assert_eq!(
            plan(EvFlags::ADD, 0, 7).unwrap().period,
            Some(Duration::from_millis(7))
        );
    }

    #[test]
    fn missed_expirations_are_counted_and_the_beat_is_kept() {
        let ms = Duration::from_millis;
        let mut schedule = Schedule {
            next: Some(ms(10)),
            period: Some(ms(10)),
        };
        assert_eq!(schedule.take(ms(9)), 0);
        assert_eq!(schedule.take(ms(10)), 1);
        assert_eq!(schedule.take(ms(19)), 0);
        assert_eq!(schedule.take(ms(45)), 3);
        assert_eq!(schedule.next, Some(ms(50)));
        let mut once = Schedule {
            next: Some(ms(5)),
            period: None,
        };
        assert_eq!((once.take(ms(99)), once.take(ms(100))), (1, 0));
    }
}
