//! Clocks.

use crate::{SysResult, sys};
use lwp_abi::time::{CLOCK_MONOTONIC, Timespec};

/// A second, in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;
/// A millisecond, in nanoseconds.
pub const MS: u64 = 1_000_000;

/// `clock_gettime(2)`.
///
/// # Errors
/// The call's own.
pub fn gettime(clock: i32) -> Result<Timespec, lwp_abi::Errno> {
    let mut ts = Timespec::ZERO;
    sys!(SYS_CLOCK_GETTIME50, clock, &mut ts)?;
    Ok(ts)
}

/// The monotonic clock, in nanoseconds.
pub fn now() -> u64 {
    gettime(CLOCK_MONOTONIC).map_or(0, nanos)
}

/// A time in nanoseconds; negative ones are 0.
pub fn nanos(ts: Timespec) -> u64 {
    let secs = u64::try_from(ts.tv_sec).unwrap_or(0);
    secs.saturating_mul(SECOND) + u64::try_from(ts.tv_nsec).unwrap_or(0)
}

/// Nanoseconds as a time.
pub fn timespec(nanos: u64) -> Timespec {
    core::time::Duration::from_nanos(nanos).into()
}

/// `nanosleep(2)`, with what is left.
///
/// # Errors
/// The call's own.
pub fn nanosleep(for_: Timespec, left: Option<&mut Timespec>) -> SysResult {
    sys!(SYS_NANOSLEEP50, &for_, left)
}
