//! What is compared with what, and the goals.

use super::peers::Peer;

/// What a row is to reach against its first peer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// Nothing is promised.
    None,
    /// At most this ratio.
    Ratio(f64),
    /// At most this ratio, or at most so many nanoseconds.
    RatioOr(f64, f64),
    /// At most so many nanoseconds more than the peer.
    Added(f64),
}

/// In what a row is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Nanoseconds.
    Nanos,
    /// Bytes.
    Bytes,
}

/// One line of the report, but for its peers.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// The name under which guest and peers report it.
    pub(crate) cost: &'static str,
    pub(crate) goal: Goal,
    pub(crate) unit: Unit,
}

/// Rows that are measured together.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    /// The row of the guest program `bench`, or [`HELLO`], [`ESBUILD`].
    pub(crate) guest: &'static str,
    /// How often the operation is done, or how many LWPs there are.
    pub(crate) count: u64,
    /// Vcpus, and the CPUs that both sides are pinned to.
    pub(crate) cpus: usize,
    pub(crate) peers: &'static [Peer],
    pub(crate) rows: Vec<Row>,
}

/// The start of a program; no row of `bench`.
pub(crate) const HELLO: &str = "hello";
/// A real program; no row of `bench`.
pub(crate) const ESBUILD: &str = "esbuild";
/// The number of LWPs that a curve is compared with.
pub(crate) const CURVE_BASE: u64 = 1000;
const CURVE: [u64; 7] = [1, 10, 100, CURVE_BASE, 10_000, 100_000, 1_000_000];

/// What `lwp demo` shows.
pub(crate) const DEMO: [&str; 6] = [
    "null_call",
    "unpark_running",
    "park_pending",
    "round_trip",
    "create_exit_wait",
    "clock_gettime",
];

/// A trial with one row, as they are written down.
type Line = (
    &'static str,
    &'static str,
    u64,
    usize,
    Goal,
    &'static [Peer],
);

const LINES: [Line; 18] = [
    (
        "null call: _lwp_self",
        "null_call",
        200_000,
        1,
        Goal::RatioOr(0.10, 15.0),
        &[Peer::Getppid],
    ),
    (
        "clock_gettime",
        "clock_gettime",
        200_000,
        1,
        Goal::Ratio(3.0),
        &[Peer::Vdso],
    ),
    (
        "unpark of a running LWP",
        "unpark_running",
        100_000,
        1,
        Goal::RatioOr(0.25, 40.0),
        &[Peer::Getppid],
    ),
    (
        "park with an unpark pending",
        "park_pending",
        100_000,
        1,
        Goal::RatioOr(0.25, 40.0),
        &[Peer::Getppid],
    ),
    (
        "park/unpark round trip, one vcpu",
        "round_trip",
        20_000,
        1,
        Goal::Ratio(0.04),
        &[Peer::FutexPair, Peer::GoPair, Peer::Floor],
    ),
    (
        "park/unpark round trip, two vcpus",
        "round_trip",
        20_000,
        2,
        Goal::Ratio(0.02),
        &[Peer::FutexPair, Peer::GoPair],
    ),
    (
        "ring of 1,000 LWPs, one turn",
        "ring",
        50_000,
        1,
        Goal::None,
        &[Peer::FutexRing],
    ),
    (
        "mutex and condition variable, one item",
        "lock",
        20_000,
        1,
        Goal::None,
        &[Peer::MutexCondvar],
    ),
    (
        "create, exit, wait",
        "create_exit_wait",
        5_000,
        1,
        Goal::Ratio(0.04),
        &[Peer::CreateJoin],
    ),
    (
        "create detached, exit",
        "create_detached",
        5_000,
        1,
        Goal::None,
        &[Peer::CreateDetached],
    ),
    (
        "suspend and continue, parked",
        "suspend_parked",
        5_000,
        1,
        Goal::None,
        &[Peer::StopParked],
    ),
    (
        "suspend and continue, running",
        "suspend_running",
        1_000,
        2,
        Goal::None,
        &[Peer::StopRunning],
    ),
    (
        "signal to self, handler, return",
        "signal_self",
        20_000,
        1,
        Goal::None,
        &[Peer::SignalSelf],
    ),
    (
        "signal to a parked LWP, and word back",
        "signal_parked",
        5_000,
        1,
        Goal::None,
        &[Peer::SignalParked],
    ),
    (
        "signal to a running LWP, and word back",
        "signal_running",
        1_000,
        2,
        Goal::None,
        &[Peer::SignalRunning],
    ),
    (
        "start-up of a static hello",
        HELLO,
        1,
        1,
        Goal::Added(3e6),
        &[Peer::HelloLinux],
    ),
    (
        "esbuild bundles a project",
        ESBUILD,
        1,
        2,
        Goal::Ratio(1.05),
        &[Peer::EsbuildLinux],
    ),
    (
        "bare switch of stacks, there and back",
        "floor",
        200_000,
        1,
        Goal::None,
        &[Peer::Getppid],
    ),
];

/// Everything there is to measure that has `pattern` in a row's name, with `effort` per cent of the
/// usual number of repetitions.
pub(crate) fn trials(effort: u32, pattern: &str) -> Vec<Trial> {
    let scaled = |count: u64| (count * u64::from(effort) / 100).max(1);
    let single = LINES
        .iter()
        .map(|&(name, guest, count, cpus, goal, peers)| Trial {
            guest,
            count: scaled(count),
            cpus,
            peers,
            rows: vec![row(name, guest, goal)],
        });
    let mut all: Vec<_> = single.collect();
    all.extend(together(&scaled));
    all.extend(curve(scaled(1_000_000)));
    all.retain(|trial| trial.rows.iter().any(|row| row.name.contains(pattern)));
    all
}

fn row(name: &str, cost: &'static str, goal: Goal) -> Row {
    Row {
        name: name.to_owned(),
        cost,
        goal,
        unit: Unit::Nanos,
    }
}

/// The trials with several rows.
fn together(scaled: &impl Fn(u64) -> u64) -> [Trial; 4] {
    let crowd = scaled(1_000_000);
    let memory = |what: &str, cost| Row {
        unit: Unit::Bytes,
        ..row(
            &format!("{} parked LWPs: {what} of one", grouped(crowd)),
            cost,
            Goal::Ratio(1.0),
        )
    };
    [
        Trial {
            guest: "unpark_all",
            count: scaled(20),
            cpus: 1,
            peers: &[Peer::FutexWakes],
            rows: vec![
                row("unpark_all of 1,024", "unpark_all", Goal::Ratio(0.04)),
                row(
                    "unpark_all of 1,024, until all have run",
                    "unpark_all_run",
                    Goal::None,
                ),
            ],
        },
        Trial {
            guest: "late",
            count: scaled(500),
            cpus: 1,
            peers: &[Peer::Nanosleep],
            rows: vec![
                row("timed park: lateness, p50", "late_p50", Goal::None),
                row("timed park: lateness, p99", "late_p99", Goal::None),
            ],
        },
        Trial {
            guest: "preempt",
            count: scaled(50),
            cpus: 1,
            peers: &[Peer::NanosleepBusy],
            rows: vec![
                row("preemption latency, p50", "preempt_p50", Goal::None),
                row("preemption latency, p99", "preempt_p99", Goal::None),
            ],
        },
        Trial {
            guest: "million",
            count: crowd,
            cpus: 1,
            peers: &[Peer::Budget, Peer::Threads],
            rows: vec![
                row(
                    &format!("{} LWPs parked, woken, waited for: one", grouped(crowd)),
                    "million",
                    Goal::Ratio(1.0),
                ),
                memory("kernel memory", "bytes"),
                memory("all memory, its stack included,", "bytes_in_all"),
            ],
        },
    ]
}

/// What each operation costs with up to `most` LWPs alive.
fn curve(most: u64) -> impl Iterator<Item = Trial> {
    const ROWS: [(&str, &str); 8] = [
        ("create", "curve_create"),
        ("switch through all", "curve_switch"),
        ("switch to one and back", "curve_switch_one"),
        ("unpark", "curve_unpark"),
        ("signal to an LWP", "curve_signal"),
        ("signal to the process", "curve_psignal"),
        ("a time for a park, never over", "curve_timer"),
        ("exit and wait", "curve_exit"),
    ];
    let sizes = CURVE
        .into_iter()
        .filter(move |&size| size <= most.max(CURVE_BASE));
    sizes.map(|size| Trial {
        guest: "curve",
        count: size,
        cpus: 1,
        peers: &[Peer::Itself],
        rows: ROWS
            .iter()
            .map(|(name, cost)| {
                row(
                    &format!("curve: {name}, {} LWPs", grouped(size)),
                    cost,
                    Goal::Ratio(2.0),
                )
            })
            .collect(),
    })
}

/// A number with commas.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let shown = [0, 999, 1000, 1_000_000].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "1,000,000"]);
    }

    #[test]
    fn a_pattern_chooses_rows_and_an_effort_sizes() {
        assert_eq!(trials(100, "no such row").len(), 0);
        assert_eq!(trials(1, "round trip").len(), 2);
        let most = |effort| {
            trials(effort, "curve:")
                .iter()
                .map(|trial| trial.count)
                .max()
        };
        assert_eq!((most(1), most(100)), (Some(10_000), Some(1_000_000)));
    }

    #[test]
    fn the_demo_shows_rows_that_exist() {
        let known = trials(1, "");
        assert!(
            DEMO.iter()
                .all(|name| known.iter().any(|trial| trial.guest == *name))
        );
    }
}
