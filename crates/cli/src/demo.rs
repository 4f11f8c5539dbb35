//! `lwp demo`: a tour of the LWP calls, given by a NetBSD program that comes with `lwp`, then what the
//! calls cost beside what Linux threads do for the same purpose.
//!
//! Guest and Linux are measured in turns, in the same minute on the same machine, and the middle one of
//! the turns counts. Figures on a busy machine are worth little; the ratio stands first.

use crate::fail::Failure;
use crate::guests;
use core::time::Duration;
use rustix::fs::MemfdFlags;
use rustix::thread::CpuSet;
use std::hint::black_box;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Instant;

/// How often guest and Linux take turns.
const TURNS: usize = 3;
/// How often an operation of Linux's is done in one turn.
const CALLS: u32 = 200_000;
const ROUND_TRIPS: u32 = 5_000;
const CREATIONS: u32 = 1_000;

/// What costs what: the guest's name for its operation and ours, and what Linux does instead.
const ROWS: [(&str, &str, Linux); 7] = [
    ("lwp_self", "_lwp_self", Linux::Getppid),
    ("unpark_running", "unpark of a running LWP", Linux::Getppid),
    (
        "unpark_and_park_pending",
        "unpark, then park",
        Linux::Getppid,
    ),
    (
        "park_unpark_round_trip",
        "park/unpark round trip",
        Linux::RoundTripOneCpu,
    ),
    (
        "park_unpark_round_trip",
        "park/unpark round trip",
        Linux::RoundTripTwoCpus,
    ),
    ("create_exit_wait", "create, exit, wait", Linux::CreateJoin),
    ("clock_gettime", "clock_gettime", Linux::ClockGettime),
];

/// What Linux does instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Linux {
    Getppid,
    RoundTripOneCpu,
    RoundTripTwoCpus,
    CreateJoin,
    ClockGettime,
}

/// Gives the tour and prints the costs.
///
/// # Errors
/// [`Failure::Demo`].
pub(crate) fn run() -> Result<(), Failure> {
    let program = program().map_err(Failure::Demo)?;
    let toured = guest(&program, &[]).status().map_err(Failure::Demo)?;
    if !toured.success() {
        return Err(Failure::Demo(io::Error::other(format!(
            "the tour ended with {toured}"
        ))));
    }
    println!("\nwhat it costs, in nanoseconds, beside Linux in the same run:");
    let mut guests = Vec::new();
    let mut linux = Vec::new();
    for _ in 0..TURNS {
        let out = guest(&program, &["--costs"])
            .stderr(Stdio::inherit())
            .output();
        guests.push(String::from_utf8_lossy(&out.map_err(Failure::Demo)?.stdout).into_owned());
        linux.push(Linux::ALL.map(Linux::measure));
    }
    println!(
        "{:>9}  {:25} {:>9}  {:36} {:>9}",
        "ratio", "under lwp", "", "Linux", ""
    );
    for (name, shown, what) in &ROWS {
        let ours = guests.iter().filter_map(|text| cost(text, name)).collect();
        let theirs = linux
            .iter()
            .filter_map(|turn| turn[*what as usize])
            .collect();
        if let (Some(ours), Some(theirs)) = (middle(ours), middle(theirs)) {
            let ratio = ours / theirs;
            println!(
                "{ratio:>8.3}x  {shown:25} {ours:>9.0}  {:36} {theirs:>9.0}",
                what.shown()
            );
        }
    }
    Ok(())
}

/// The embedded program, in memory, as a file that a child can execute.
fn program() -> io::Result<OwnedFd> {
    let image = guests::find("demo").ok_or_else(|| io::Error::other("it was left out"))?;
    let file = rustix::fs::memfd_create("demo", MemfdFlags::empty())?;
    let mut rest = image;
    while !rest.is_empty() {
        rest = &rest[rustix::io::write(&file, rest)?..];
    }
    Ok(file)
}

fn guest(program: &OwnedFd, args: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg("run")
        .arg(format!("/proc/self/fd/{}", program.as_raw_fd()))
        .args(args);
    command
}

/// The cost called `name` among lines `cost NAME NANOSECONDS`.
fn cost(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix("cost ")?.strip_prefix(name)?;
        rest.strip_prefix(' ')?.trim().parse().ok()
    })
}

/// The middle one of some numbers.
fn middle(mut of: Vec<f64>) -> Option<f64> {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied()
}

impl Linux {
    /// In the order of declaration.
    const ALL: [Self; 5] = [
        Self::Getppid,
        Self::RoundTripOneCpu,
        Self::RoundTripTwoCpus,
        Self::CreateJoin,
        Self::ClockGettime,
    ];

    fn shown(self) -> &'static str {
        match self {
            Self::Getppid => "getppid",
            Self::RoundTripOneCpu => "two threads on futexes, one CPU",
            Self::RoundTripTwoCpus => "two threads on futexes, two CPUs",
            Self::CreateJoin => "pthread_create and join",
            Self::ClockGettime => "clock_gettime (vDSO)",
        }
    }

    /// Nanoseconds for one; `None` if this host cannot do it.
    fn measure(self) -> Option<f64> {
        match self {
            Self::Getppid => Some(each(CALLS, || {
                black_box(rustix::process::getppid());
            })),
            Self::ClockGettime => Some(each(CALLS, || {
                black_box(Instant::now());
            })),
            Self::CreateJoin => Some(each(CREATIONS, || {
                // It does nothing that could fail.
                let _ = thread::spawn(|| ()).join();
            })),
            Self::RoundTripOneCpu => {
                let &cpu = cpus().first()?;
                Some(round_trip(cpu, cpu))
            }
            Self::RoundTripTwoCpus => match cpus()[..] {
                [first, second, ..] => Some(round_trip(first, second)),
                _ => None,
            },
        }
    }
}

fn each(count: u32, mut operation: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..count {
        operation();
    }
    nanos(start.elapsed()) / f64::from(count)
}

fn nanos(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

/// The CPUs we may use.
fn cpus() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::MAX_CPU)
        .filter(|&cpu| set.is_set(cpu))
        .collect()
}

/// A round trip between two threads that park and unpark each other, each on a CPU of its own choice.
fn round_trip(first: usize, second: usize) -> f64 {
    let turn = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&turn);
    let one = thread::spawn(move || {
        pin(first);
        let two = thread::current();
        let other = thread::spawn(move || {
            pin(second);
            play(1, &two, &theirs);
        });
        let start = Instant::now();
        play(0, other.thread(), &turn);
        // It ends with its last turn.
        let _ = other.join();
        start.elapsed()
    });
    one.join()
        .map_or(f64::NAN, |time| nanos(time) / f64::from(ROUND_TRIPS))
}

/// Waits for `me`'s turn and gives it to the other, so many times.
fn play(me: usize, other: &Thread, turn: &AtomicUsize) {
    for _ in 0..ROUND_TRIPS {
        while turn.load(Ordering::Acquire) != me {
            thread::park();
        }
        // Pairs with the load above, in the other thread.
        turn.store(1 - me, Ordering::Release);
        other.unpark();
    }
}

fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    // Where it is not allowed the figure is that of free threads.
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_found_by_their_whole_names() {
        let text = "cost park_long 7\ncost park 12.5\n";
        assert_eq!(cost(text, "park"), Some(12.5));
        assert_eq!(cost(text, "unpark"), None);
        assert_eq!(middle(vec![3.0, 1.0, 2.0]), Some(2.0));
    }

    #[test]
    fn measurements_are_found_where_they_were_put() {
        for (at, what) in Linux::ALL.into_iter().enumerate() {
            assert_eq!(what as usize, at, "{what:?}");
        }
    }

    #[test]
    fn threads_take_turns() {
        assert!(
            Linux::RoundTripOneCpu
                .measure()
                .is_none_or(|nanos| nanos > 0.0)
        );
    }
}
