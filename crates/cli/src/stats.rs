//! `--stats`: what was counted, on stderr, when the program ends.

use crate::chaos::Directed;
use crate::snapshot::{called, nanos, span};
use crate::tally::{CLASSES, Sums, Tally};
use core::time::Duration;
use lwp_abi::lwp::LwpId;
use lwp_kernel::Kernel;
use lwp_kernel::census::Census;
use lwp_machine::{HostMachine, Stats};
use lwp_syscalls::Unix;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

/// Addresses of slow call sites that are listed.
const SITES: usize = 16;
/// LWPs that are listed among those that others have waited for.
const WAKERS: usize = 3;
/// Characters of the longest bar.
const BAR: u64 = 40;

/// Prints what `tally` has counted, and what is left, when this process, and not a fork of it, ends.
pub(crate) fn print_at_exit(
    machine: &HostMachine,
    kernel: &Arc<Kernel>,
    sys: &Arc<Unix>,
    tally: Arc<Tally>,
    chaos: Option<Arc<Directed>>,
) {
    let begun = Instant::now();
    at_exit(machine, kernel, sys, move |stats, kernel, left| {
        let named = |lid: LwpId| called(lid.raw(), &tally.name(lid).unwrap_or_default());
        let time = (begun.elapsed(), kernel.sched.started());
        let of_chaos = chaos.iter().flat_map(|chaos| chaos.report());
        let of_chaos = of_chaos.map(|(name, value)| line(name, &value));
        report(&tally.sums(), stats, time, named) + &of_chaos.collect::<String>() + &left
    });
}

/// Prints what is left, and nothing else, when this process ends.
pub(crate) fn print_left_at_exit(machine: &HostMachine, kernel: &Arc<Kernel>, sys: &Arc<Unix>) {
    at_exit(machine, kernel, sys, |_, _, left| left);
}

fn at_exit(
    machine: &HostMachine,
    kernel: &Arc<Kernel>,
    sys: &Arc<Unix>,
    text: impl Fn(&Stats, &Kernel, String) -> String + Send + Sync + 'static,
) {
    let sys = Arc::downgrade(sys);
    let weak = Arc::downgrade(kernel);
    let pid = kernel.proc.pid();
    machine.at_exit(Box::new(move |stats| {
        let Some(kernel) = weak.upgrade().filter(|kernel| kernel.proc.pid() == pid) else {
            return;
        };
        let descriptors = sys.upgrade().map_or(0, |sys| sys.open_descriptors());
        let left = line("at exit", &left(&kernel.census(), descriptors));
        // Nobody is left to be told of a failure.
        let _ = std::io::stderr().write_all(text(stats, &kernel, left).as_bytes());
    }));
}

fn line(name: &str, value: &str) -> String {
    format!("lwp: {name:14} {value}\n")
}

/// All but what is left; `time` is how long the program has run, and on how many vcpus.
fn report(
    sums: &Sums,
    stats: &Stats,
    time: (Duration, usize),
    named: impl Fn(LwpId) -> String,
) -> String {
    let counts = &sums.counts;
    let part = |of: u64| format!("{of} ({})", percent(of.into(), counts.calls.into()));
    let mut lines = vec![
        ("system calls", counts.calls.to_string()),
        ("  fast", part(counts.calls - sums.trapped)),
        ("  slow", part(sums.trapped)),
    ];
    let sites = stats.slow_sites.iter().take(SITES);
    lines.extend(sites.map(|(addr, count)| ("    at", format!("{addr:#x}: {count}"))));
    if stats.slow_sites.len() > SITES {
        let more = stats.slow_sites.len() - SITES;
        lines.push(("    at", format!("{more} more addresses")));
    }
    lines.extend([
        ("patched sites", stats.patches.to_string()),
        (
            "lwps",
            format!("{}, at most {} at a time", counts.lwps, counts.peak),
        ),
        (
            "switches",
            format!(
                "{}; left because parked {}, asleep {}, preempted or yielding {}, stopped or suspended {}, \
                 gone {}",
                counts.switches, sums.parked, sums.slept, sums.preempted, sums.stopped, sums.exited
            ),
        ),
        (
            "parks",
            format!(
                "{}, {} of them with an unpark pending; {} sleeps timed out",
                counts.parks, counts.tokens, sums.timeouts
            ),
        ),
        (
            "unparks",
            format!("{}, {} of them before the park", counts.unparks, counts.kept),
        ),
        ("signals taken", sums.signals.to_string()),
        ("preemptions", stats.kicks.to_string()),
        ("vcpu wake-ups", stats.wakes.to_string()),
        ("time", times(sums, time)),
    ]);
    lines.extend(
        lateness(sums)
            .into_iter()
            .map(|text| ("woken, late by", text)),
    );
    lines.extend(
        wakers(sums, named)
            .into_iter()
            .map(|text| ("waited for", text)),
    );
    lines
        .iter()
        .map(|(name, value)| line(name, value))
        .collect()
}

/// Where the time of all vcpus went.
fn times(sums: &Sums, (elapsed, vcpus): (Duration, usize)) -> String {
    let all = elapsed.as_nanos() * vcpus as u128;
    let (guest, kernel) = (sums.guest.as_nanos(), sums.kernel.as_nanos());
    let idle = all.saturating_sub(guest + kernel);
    format!(
        "{} on {vcpus} vcpus: guest {}, kernel {}, idle {}",
        short(elapsed),
        percent(guest, all),
        percent(kernel, all),
        percent(idle, all)
    )
}

/// A histogram of how late woken LWPs came to run: a line for each class that is not empty.
fn lateness(sums: &Sums) -> Vec<String> {
    let most = sums.late.iter().copied().max().unwrap_or(0).max(1);
    let classes = (0..CLASSES).filter(|&class| sums.late[class] > 0);
    let mut lines: Vec<_> = classes
        .map(|class| {
            let count = sums.late[class];
            let bar = usize::try_from((count * BAR).div_ceil(most)).unwrap_or(0);
            let below = short(Duration::from_micros(1 << class));
            format!("< {below:9} {count:>9} {}", "#".repeat(bar))
        })
        .collect();
    if !lines.is_empty() {
        lines.push(format!("at most {}", short(sums.latest)));
    }
    lines
}

/// Because of whom others were parked for longest.
fn wakers(sums: &Sums, named: impl Fn(LwpId) -> String) -> Vec<String> {
    let mut wakers: Vec<_> = sums.wakers.iter().collect();
    wakers.sort_by_key(|&(&lid, &(_, all))| (core::cmp::Reverse(all), lid));
    let listed = wakers.into_iter().take(WAKERS);
    listed
        .map(|(&lid, &(count, all))| {
            format!(
                "{}: others were parked for {} because of it; it ended {count} parks",
                named(lid),
                short(all)
            )
        })
        .collect()
}

/// What there was when the program ended: whatever is not that of a short program is a leak, the
/// program's or ours.
fn left(left: &Census, descriptors: usize) -> String {
    format!(
        "{} lwps, {} asleep, {} queued, {} callouts, {} timers, {} waiters, {} watches, {} jobs, \
         {descriptors} descriptors, {} bytes mapped",
        left.lwps,
        left.asleep,
        left.queued,
        left.callouts,
        left.timers,
        left.waiters,
        left.watches,
        left.jobs,
        left.mapped
    )
}

fn short(time: Duration) -> String {
    span(nanos(time))
}

/// `part` of `whole` in per cent, rounded down to a tenth.
fn percent(part: u128, whole: u128) -> String {
    let tenths = part * 1000 / whole.max(1);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_how_many_calls_were_fast_and_who_was_waited_for() {
        let stats = Stats {
            slow_sites: vec![(0x40_1000, 1)],
            ..Stats::default()
        };
        let mut sums = Sums {
            trapped: 1,
            guest: Duration::from_millis(500),
            ..Sums::default()
        };
        sums.counts.calls = 1000;
        sums.late[3] = 7;
        let (first, second) = (LwpId::new(4), LwpId::new(5));
        sums.wakers.insert(first, (9, Duration::from_millis(1)));
        sums.wakers.insert(second, (2, Duration::from_millis(3)));
        let time = (Duration::from_secs(1), 2);
        let text = report(&sums, &stats, time, |lid| format!("LWP {}", lid.raw()));
        for expected in [
            "lwp:   fast         999 (99.9 %)\n",
            "lwp:     at         0x401000: 1\n",
            "lwp: time           1.0 s on 2 vcpus: guest 25.0 %, kernel 0.0 %, idle 75.0 %\n",
            "lwp: woken, late by < 8.0 us            7 ########################################\n",
            "lwp: waited for     LWP 5: others were parked for 3.0 ms because of it; it ended 2 parks\n\
             lwp: waited for     LWP 4: others were parked for 1.0 ms",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        assert_eq!(percent(0, 0), "0.0 %");
    }
}
