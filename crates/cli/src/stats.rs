//! `--stats`: what was counted, on stderr, when the program ends.

use lwp_kernel::Kernel;
use lwp_kernel::census::Census;
use lwp_machine::{HostMachine, Stats};
use lwp_syscalls::Unix;
use std::io::Write;
use std::sync::Arc;

/// Addresses of slow call sites that are listed.
const SITES: usize = 16;

/// What the kernel has counted.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    lwps: u64,
    switches: u64,
    /// What was left at the end.
    left: Census,
    descriptors: usize,
}

/// Prints the counts when this process, and not a fork of it, ends.
pub(crate) fn print_at_exit(machine: &HostMachine, kernel: &Arc<Kernel>, sys: &Arc<Unix>) {
    let sys = Arc::downgrade(sys);
    let weak = Arc::downgrade(kernel);
    let pid = kernel.proc.pid();
    machine.at_exit(Box::new(move |stats| {
        let Some(kernel) = weak.upgrade().filter(|kernel| kernel.proc.pid() == pid) else {
            return;
        };
        let lwps = kernel.proc.lock().births();
        let counts = Counts {
            lwps,
            switches: kernel.sched.switches(),
            left: kernel.census(),
            descriptors: sys.upgrade().map_or(0, |sys| sys.open_descriptors()),
        };
        // Nobody is left to be told of a failure.
        let _ = std::io::stderr().write_all(report(stats, counts).as_bytes());
    }));
}

fn report(stats: &Stats, counts: Counts) -> String {
    let Stats { fast, slow, .. } = *stats;
    let lines = [
        ("system calls", (fast + slow).to_string()),
        ("  fast", format!("{fast} ({})", percent(fast, fast + slow))),
        ("  slow", format!("{slow} ({})", percent(slow, fast + slow))),
        ("patched sites", stats.patches.to_string()),
        ("lwps", counts.lwps.to_string()),
        ("switches", counts.switches.to_string()),
        ("preemptions", stats.kicks.to_string()),
        ("vcpu wake-ups", stats.wakes.to_string()),
        ("at exit", left(counts)),
    ];
    let counted = lines
        .into_iter()
        .map(|(name, value)| format!("{name:14} {value}"));
    let sites = stats.slow_sites.iter().take(SITES);
    let sites = sites.map(|(addr, count)| format!("  slow at {addr:#x}: {count}"));
    let more = stats
        .slow_sites
        .len()
        .checked_sub(SITES)
        .filter(|&more| more > 0);
    let more = more.map(|more| format!("  and at {more} more addresses"));
    let lines: Vec<_> = counted.chain(sites).chain(more).collect();
    format!("lwp: {}\n", lines.join("\nlwp: "))
}

/// What there was when the program ended: whatever is not that of a short program is a leak, the
/// program's or ours.
fn left(counts: Counts) -> String {
    let left = counts.left;
    format!(
        "{} lwps, {} asleep, {} queued, {} callouts, {} timers, {} waiters, {} watches, {} jobs, \
         {} descriptors, {} bytes mapped",
        left.lwps,
        left.asleep,
        left.queued,
        left.callouts,
        left.timers,
        left.waiters,
        left.watches,
        left.jobs,
        counts.descriptors,
        left.mapped
    )
}

/// `part` of `whole` in per cent, rounded down to a tenth.
fn percent(part: u64, whole: u64) -> String {
    let tenths = u128::from(part) * 1000 / u128::from(whole.max(1));
    format!("{}.{} %", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_how_many_calls_were_fast() {
        let stats = Stats {
            fast: 999,
            slow: 1,
            slow_sites: vec![(0x40_1000, 1)],
            ..Stats::default()
        };
        let text = report(
            &stats,
            Counts {
                lwps: 3,
                switches: 9,
                ..Counts::default()
            },
        );
        assert!(
            text.contains("lwp:   fast         999 (99.9 %)\n"),
            "{text}"
        );
        assert!(text.ends_with("lwp:   slow at 0x401000: 1\n"), "{text}");
        assert_eq!(percent(0, 0), "0.0 %");
    }
}
