//! Times, clocks and timers.
//!
//! A guest's time may be anything: negative, or with a billion nanoseconds and more. Conversions
//! to [`Duration`] say so; they never wrap.
//!
//! Sources: `clock_gettime(2)`, setitimer(2), sys/time.h, sys/timespec.h.

use crate::errno::Errno;
use crate::table::numbers;
use core::time::Duration;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const NSEC_PER_SEC: i64 = 1_000_000_000;
const USEC_PER_SEC: i32 = 1_000_000;

/// `struct timespec`.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(C)]
pub struct Timespec {
    /// Seconds.
    pub tv_sec: i64,
    /// Nanoseconds.
    pub tv_nsec: i64,
}

impl Timespec {
    /// No time at all.
    pub const ZERO: Self = Self {
        tv_sec: 0,
        tv_nsec: 0,
    };

    /// Whether the nanoseconds are less than a second, and not negative.
    pub fn has_valid_nsec(self) -> bool {
        (0..NSEC_PER_SEC).contains(&self.tv_nsec)
    }
}

/// Fails with `EINVAL` if the seconds are negative or the nanoseconds out of range. Callers that
/// tell the two apart look at [`Timespec::has_valid_nsec`] first.
impl TryFrom<Timespec> for Duration {
    type Error = Errno;

    fn try_from(ts: Timespec) -> Result<Self, Errno> {
        let secs = u64::try_from(ts.tv_sec).map_err(|_| Errno::EINVAL)?;
        match u32::try_from(ts.tv_nsec) {
            Ok(nanos) if ts.has_valid_nsec() => Ok(Self::new(secs, nanos)),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// Times beyond the range of `time_t` become its last second.
impl From<Duration> for Timespec {
    fn from(d: Duration) -> Self {
        Self {
            tv_sec: i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(d.subsec_nanos()),
        }
    }
}

/// `struct timeval`. The microseconds have 32 bits, unlike on Linux.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Timeval {
    /// Seconds.
    pub tv_sec: i64,
    /// Microseconds.
    pub tv_usec: i32,
    /// Padding.
    pub pad: u32,
}

impl Timeval {
    /// No time at all.
    pub const ZERO: Self = Self {
        tv_sec: 0,
        tv_usec: 0,
        pad: 0,
    };

    /// Whether the microseconds are less than a second, and not negative.
    pub fn has_valid_usec(self) -> bool {
        (0..USEC_PER_SEC).contains(&self.tv_usec)
    }
}

/// Fails with `EINVAL` if the seconds are negative or the microseconds out of range.
impl TryFrom<Timeval> for Duration {
    type Error = Errno;

    fn try_from(tv: Timeval) -> Result<Self, Errno> {
        let secs = u64::try_from(tv.tv_sec).map_err(|_| Errno::EINVAL)?;
        match u32::try_from(tv.tv_usec) {
            Ok(micros) if tv.has_valid_usec() => Ok(Self::new(secs, micros * 1_000)),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// What is below a microsecond is cut off.
impl From<Duration> for Timeval {
    fn from(d: Duration) -> Self {
        Self {
            tv_sec: i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
            tv_usec: d.subsec_micros().cast_signed(),
            pad: 0,
        }
    }
}

/// `struct timezone`. The kernel does not use it.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Timezone {
    /// Minutes west of Greenwich.
    pub tz_minuteswest: i32,
    /// Kind of daylight saving time.
    pub tz_dsttime: i32,
}

/// `struct itimerval`: an interval timer of setitimer(2).
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Itimerval {
    /// The time from one expiry to the next; zero for one expiry only.
    pub it_interval: Timeval,
    /// The time to the next expiry; zero for none.
    pub it_value: Timeval,
}

/// `struct itimerspec`: a timer of `timer_settime(2)`.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Itimerspec {
    /// The time from one expiry to the next; zero for one expiry only.
    pub it_interval: Timespec,
    /// The time to the next expiry; zero for none.
    pub it_value: Timespec,
}

/// `clockid_t`: it may name no clock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct ClockId(i32);

impl ClockId {
    /// The time of day.
    pub const REALTIME: Self = Self(CLOCK_REALTIME);
    /// The user time of the process; it can only drive timers.
    pub const VIRTUAL: Self = Self(CLOCK_VIRTUAL);
    /// The CPU time of the process; it can only drive timers.
    pub const PROF: Self = Self(CLOCK_PROF);
    /// Time since some moment in the past. 3, not 1 as on Linux.
    pub const MONOTONIC: Self = Self(CLOCK_MONOTONIC);

    /// Takes a number from the guest.
    pub const fn new(id: i32) -> Self {
        Self(id)
    }

    /// The number.
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// The process whose CPU time the clock counts: 0 for the caller's own.
    pub fn process(self) -> Option<i32> {
        self.carried(CLOCK_PROCESS_CPUTIME_ID)
    }

    /// The LWP whose CPU time the clock counts: 0 for the caller itself.
    pub fn lwp(self) -> Option<i32> {
        self.carried(CLOCK_THREAD_CPUTIME_ID)
    }

    /// The id in the low bits, if the kind in the upper bits is `kind`.
    fn carried(self, kind: i32) -> Option<i32> {
        const ID: i32 = 0x1fff_ffff;
        (self.0 & !ID == kind).then_some(self.0 & ID)
    }
}

numbers! {
    /// Clocks.
    CLOCKS: i32 {
        /// 1 is `CLOCK_VIRTUAL` here.
        CLOCK_MONOTONIC = 0x3 => 0x1,
        /// Low bits may carry a process id.
        CLOCK_PROCESS_CPUTIME_ID = 0x4000_0000 => 0x2,
        /// It drives timers only: `clock_gettime(2)` says `EINVAL`.
        CLOCK_PROF = 0x2,
        CLOCK_REALTIME = 0x0 => 0x0,
        /// Low bits may carry an LWP id.
        CLOCK_THREAD_CPUTIME_ID = 0x2000_0000 => 0x3,
        /// It drives timers only: `clock_gettime(2)` says `EINVAL`.
        CLOCK_VIRTUAL = 0x1,
    }
}

numbers! {
    /// How a time is meant. (Also `CLOCKS_PER_SEC`.)
    TIMER_FLAGS: i32 {
        /// The absence of `TIMER_ABSTIME`.
        TIMER_RELTIME = 0x0,
        TIMER_ABSTIME = 0x1 => 0x1,
        /// `clock_t` has 32 bits.
        CLOCKS_PER_SEC = 0x64 => 0xf4240,
    }
}

numbers! {
    /// Interval timers of setitimer(2).
    ITIMERS: i32 {
        /// Sends `SIGALRM`, by the monotonic clock.
        ITIMER_MONOTONIC = 3,
        ITIMER_PROF = 2 => 2,
        ITIMER_REAL = 0 => 0,
        ITIMER_VIRTUAL = 1 => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_times_are_refused() {
        for (tv_sec, tv_nsec) in [(-1, 0), (0, -1), (0, NSEC_PER_SEC), (i64::MIN, i64::MIN)] {
            let got = Duration::try_from(Timespec { tv_sec, tv_nsec });
            assert_eq!(got, Err(Errno::EINVAL));
        }
        let tv = Timeval {
            tv_sec: 1,
            tv_usec: USEC_PER_SEC,
            pad: 0,
        };
        assert_eq!(Duration::try_from(tv), Err(Errno::EINVAL));
    }

    #[test]
    fn durations_come_back_whole() {
        let d = Duration::new(7, 999_999_999);
        assert_eq!(Duration::try_from(Timespec::from(d)), Ok(d));
        assert_eq!(
            Duration::try_from(Timeval::from(d)),
            Ok(Duration::new(7, 999_999_000))
        );
        assert_eq!(Timespec::from(Duration::MAX).tv_sec, i64::MAX);
    }

    #[test]
    fn cpu_clocks_carry_an_id() {
        assert_eq!(
            ClockId::new(CLOCK_THREAD_CPUTIME_ID | 0x80_0001).lwp(),
            Some(0x80_0001)
        );
        assert_eq!(ClockId::new(CLOCK_PROCESS_CPUTIME_ID).process(), Some(0));
        assert_eq!(ClockId::MONOTONIC.lwp(), None);
        assert_eq!(ClockId::new(-1).process(), None);
    }
}
