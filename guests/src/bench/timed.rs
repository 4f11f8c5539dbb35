//! How late a timed park ends.

use crate::cost;
use core::hint::black_box;
use rt::abi::time::Timespec;
use rt::check::Verdict;
use rt::lwp::{self, spawn};
use rt::sync::Word;
use rt::time::{MS, now, timespec};

/// Room for so many measurements.
const MOST: usize = 2000;

/// Parks `count` times for `nap` nanoseconds and reports the middle lateness and the 99th of 100.
fn lateness(name: [&str; 2], count: u64, nap: u64) {
    let mut late = [0; MOST];
    let count = usize::try_from(count).unwrap_or(MOST).clamp(1, MOST);
    for each in &mut late[..count] {
        let mut ts: Timespec = timespec(nap);
        let due = now() + nap;
        // Nobody unparks us.
        let _ = lwp::park_for(&mut ts);
        *each = now().saturating_sub(due);
    }
    let late = &mut late[..count];
    late.sort_unstable();
    cost(name[0], late[count / 2], 1);
    cost(name[1], late[count * 99 / 100], 1);
}

/// A park of 200 µs with nothing else to do.
pub(crate) fn late(count: u64) -> Verdict {
    lateness(["late_p50", "late_p99"], count, 200_000);
    Ok(())
}

/// A park of 5 ms while another LWP computes, without a system call, on the same vcpu.
pub(crate) fn preempt(count: u64) -> Verdict {
    static STOP: Word = Word::new();
    let task = spawn(|| {
        while STOP.get() == 0 {
            black_box(());
        }
    });
    lateness(["preempt_p50", "preempt_p99"], count, 5 * MS);
    STOP.set(1);
    task.join()?;
    Ok(())
}
