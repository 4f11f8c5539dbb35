//! The guests suite: every program of `guests/` with 1, 2 and 8 vcpus, and with 2 once more without the
//! system calls that are made on the spot, and traced.
//!
//! A guest that checks something prints `ok NAME` or `FAIL NAME WHY` for each check and ends with
//! exit status 0 if all are ok. One that only does something has to end with 0. All say something:
//! an `lwp` that ran nothing would end with 0 as well.

use crate::esbuild::VCPUS;
use crate::project::Project;
use crate::report::Report;
use crate::run::{Finished, ending, run};
use crate::runner::Runner;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Many times what the longest takes; most guests have a shorter limit of their own.
const LIMIT: Duration = Duration::from_mins(1);

/// Runs every guest, and the tour.
pub(crate) fn suite(project: &Project, report: &mut Report) {
    let Some(lwp) = report.need("lwp builds", || project.lwp()) else {
        return;
    };
    for vcpus in VCPUS {
        let runner = Runner::new(lwp.clone()).vcpus(vcpus);
        all(project, report, &runner, &format!("{vcpus} vcpus"));
    }
    let slow = Runner::new(lwp.clone()).vcpus(2).option("--no-fast-calls");
    all(project, report, &slow, "2 vcpus, no fast calls");
    let traced = Runner::new(lwp.clone()).tracing().vcpus(2);
    let nowhere = traced.option("--output").option("/dev/null");
    all(project, report, &nowhere, "2 vcpus, traced");
    report.check("lwp demo", || demo(project, &lwp));
}

/// Runs every guest under `runner`.
pub(crate) fn all(project: &Project, report: &mut Report, runner: &Runner, how: &str) {
    let Some(guests) = report.need("guests build", || project.guests()) else {
        return;
    };
    for guest in guests {
        let name = guest
            .file_name()
            .map(|name| name.to_string_lossy())
            .unwrap_or_default();
        report.check(format!("{name}, {how}"), || {
            let log = project.log(&format!("{name}-{}", how.replace([' ', ','], "-")));
            judge(run(&mut runner.command(&guest), LIMIT, &log)?)
        });
    }
}

/// Says which checks failed, rather than what was printed last.
pub(crate) fn judge(done: Finished) -> Result<(), String> {
    let failed: Vec<_> = done
        .stdout
        .lines()
        .filter(|line| line.starts_with("FAIL "))
        .collect();
    if failed.is_empty() {
        return done.success().map(drop);
    }
    Err(format!(
        "{}\n    {}",
        ending(done.status),
        failed.join("\n    ")
    ))
}

fn demo(project: &Project, lwp: &Path) -> Result<(), String> {
    let done = run(Command::new(lwp).arg("demo"), LIMIT, &project.log("demo"))?.success()?;
    if done.stdout.lines().count() > 10 {
        Ok(())
    } else {
        Err("it prints no tour".to_owned())
    }
}
