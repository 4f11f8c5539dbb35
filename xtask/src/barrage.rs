//! The barrage suite: calls at random, from many LWPs at once.
//!
//! The guest says what is called and what must hold. Here its run is compared with one that makes no
//! calls: what the runner has at exit must be the same. A run is made again with
//! `lwp run --vcpus 2 .../barrage SEED CALLS LWPS`.

use crate::project::Project;
use crate::report::Report;
use crate::run::{Finished, run};
use crate::runner::Runner;
use crate::setup::remove;
use std::path::Path;
use std::time::Duration;

/// Calls of the test command, and of the long run.
const CALLS: u64 = 1_000_000;
/// LWPs that make them.
const LWPS: u32 = 64;
/// Ten times what a run takes on two idle CPUs.
const LIMIT: Duration = Duration::from_mins(5);
/// What begins the line of `--left` that is compared.
const AT_EXIT: &str = "lwp: at exit";

/// One million calls on two vcpus.
pub(crate) fn suite(project: &Project, report: &mut Report) {
    calls(project, report, 1, CALLS, LIMIT);
}

/// As many calls as wanted, from one seed.
pub(crate) fn calls(
    project: &Project,
    report: &mut Report,
    seed: u64,
    count: u64,
    limit: Duration,
) {
    let Some(lwp) = report.need("lwp builds", || project.lwp()) else {
        return;
    };
    let Some(guest) = report.need("guests build", || project.guest("barrage")) else {
        return;
    };
    let runner = Runner::new(lwp).vcpus(2).option("--left").option("-q");
    report.check(format!("{count} calls from seed {seed}"), || {
        let nothing = barrage(project, &runner, &guest, (seed, 0), limit)?;
        let much = barrage(project, &runner, &guest, (seed, count), limit)?;
        compare(&nothing, &much)
    });
}

/// Runs the guest to its good end, and gives its line about what was left.
fn barrage(
    project: &Project,
    runner: &Runner,
    guest: &Path,
    (seed, count): (u64, u64),
    limit: Duration,
) -> Result<String, String> {
    let directory = project.target("barrage");
    // It is there if an earlier run was cut short.
    remove(&directory)?;
    let mut command = runner.command(guest);
    command
        .args([seed.to_string(), count.to_string(), LWPS.to_string()])
        .arg(&directory);
    let done = run(
        &mut command,
        limit,
        &project.log(&format!("barrage-{count}")),
    )?
    .success()?;
    judge(&done)
}

fn judge(done: &Finished) -> Result<String, String> {
    // A child's finding is printed by the child, and ends nothing else.
    if let Some(failed) = done.stdout.lines().find(|line| line.starts_with("FAIL ")) {
        return Err(failed.to_owned());
    }
    if let Some(line) = done.stderr.lines().find(|line| !line.starts_with("lwp: ")) {
        return Err(format!("the runner says: {line}"));
    }
    let line = done.stderr.lines().find(|line| line.starts_with(AT_EXIT));
    line.map(str::to_owned)
        .ok_or_else(|| format!("no line begins {AT_EXIT:?}"))
}

fn compare(nothing: &str, much: &str) -> Result<(), String> {
    if nothing == much {
        Ok(())
    } else {
        Err(format!("without calls: {nothing}\n    with calls: {much}"))
    }
}
