//! `lwp hunt --bench`: schedules a second, and what a directed run costs beside a plain one.

use crate::args::Hunt;
use crate::fail::Failure;
use crate::hunt::tell::per_second;
use crate::hunt::{Hunting, Server};
use core::sync::atomic::Ordering;
use core::time::Duration;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Runs of either kind; the first pair does not count.
const ROUNDS: usize = 12;

/// Measures, with `first` as one of the servers; a plain run has `points`.
pub(crate) fn run(
    options: &Hunt,
    first: Server,
    typed: &[OsString],
    points: u64,
) -> Result<(), Failure> {
    let mut out = io::stdout();
    let hunting = Hunting::new(options, points);
    let begun = Instant::now();
    let servers = hunting.search(first, typed, options.jobs())?;
    let took = begun.elapsed();
    let ran = hunting.ran.load(Ordering::Relaxed);
    let all = hunting.points.load(Ordering::Relaxed);
    writeln!(
        out,
        "{:.0} schedules a second: {ran} in {:.2} s with {} jobs; {} points each, {points} in a plain run",
        per_second(ran, took),
        took.as_secs_f64(),
        servers.len(),
        all / ran.max(1),
    )?;
    drop(servers);
    let plain = ["run", "--quiet", "--vcpus", "1"];
    let chaos = [
        "run",
        "--quiet",
        "--chaos",
        "1",
        "--policy",
        "fair",
        "--perturb",
        "none",
        "--virtual-time",
    ];
    let (mut plains, mut chaoses) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let pair = [once(&plain, options)?, once(&chaos, options)?];
        if round > 0 {
            plains.push(pair[0]);
            chaoses.push(pair[1]);
        }
    }
    let (plain, chaos) = (median(plains), median(chaoses));
    writeln!(
        out,
        "{:.2} times as long as on one vcpu: {:.2} ms, {:.2} ms (medians of {} runs)",
        chaos.as_secs_f64() / plain.as_secs_f64().max(1e-9),
        chaos.as_secs_f64() * 1e3,
        plain.as_secs_f64() * 1e3,
        ROUNDS - 1
    )?;
    Ok(())
}

fn once(how: &[&str], options: &Hunt) -> Result<Duration, Failure> {
    let myself = std::env::current_exe().map_err(Failure::Myself)?;
    let mut command = Command::new(myself);
    command.args(how).args(&options.called.words);
    command.stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    command.status().map_err(Failure::Hunt)?;
    Ok(begun.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
