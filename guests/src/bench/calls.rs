//! Calls that neither sleep nor switch.

use crate::{cost, measure};
use rt::check::Verdict;
use rt::lwp;
use rt::time::now;

/// `_lwp_self`: as little as a system call can do.
pub(crate) fn null_call(count: u64) -> Verdict {
    measure("null_call", count, |n| {
        for _ in 0..n {
            lwp::me();
        }
    });
    Ok(())
}

/// `clock_gettime(CLOCK_MONOTONIC)`.
pub(crate) fn clock_gettime(count: u64) -> Verdict {
    measure("clock_gettime", count, |n| {
        for _ in 0..n {
            now();
        }
    });
    Ok(())
}

/// An unpark of an LWP that runs: the caller, so that no other vcpu has a part in it.
pub(crate) fn unpark_running(count: u64) -> Verdict {
    let me = lwp::me();
    measure("unpark_running", count, |n| {
        for _ in 0..n {
            let _ = lwp::unpark(me);
        }
    });
    let _ = lwp::park();
    Ok(())
}

/// A park that finds an unpark pending. One unpark is kept, not more, so each park needs one before
/// it: what is reported is the pair less an unpark, the two measured in turns.
pub(crate) fn park_pending(count: u64) -> Verdict {
    const SLICES: u64 = 10;
    let me = lwp::me();
    let slice = (count / SLICES).max(1);
    let (mut pairs, mut unparks) = (0, 0);
    for _ in 0..SLICES {
        let start = now();
        for _ in 0..slice {
            let _ = lwp::unpark(me);
            let _ = lwp::park();
        }
        let middle = now();
        for _ in 0..slice {
            let _ = lwp::unpark(me);
        }
        let end = now();
        let _ = lwp::park();
        pairs += middle - start;
        unparks += end - middle;
    }
    cost(
        "park_pending",
        pairs.saturating_sub(unparks),
        slice * SLICES,
    );
    Ok(())
}
