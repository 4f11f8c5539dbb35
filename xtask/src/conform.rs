//! The conform suite: `lwp conform`, as a user runs it, once each with 1, 2 and 8 vcpus.

use crate::esbuild::VCPUS;
use crate::project::Project;
use crate::report::Report;
use crate::run::{Finished, ending, run};
use std::process::Command;
use std::time::Duration;

/// A pass is to take no longer.
const LIMIT: Duration = Duration::from_mins(1);

/// Runs one pass with each number of vcpus.
pub(crate) fn suite(project: &Project, report: &mut Report) {
    let Some(lwp) = report.need("lwp builds", || project.lwp()) else {
        return;
    };
    for vcpus in VCPUS {
        report.check(format!("lwp conform, {vcpus} vcpus"), || {
            let mut command = Command::new(&lwp);
            command.args(["conform", "--vcpus", &vcpus.to_string()]);
            judge(&run(
                &mut command,
                LIMIT,
                &project.log(&format!("conform-{vcpus}")),
            )?)
        });
    }
}

/// Says which statements and checks failed. One that says nothing of any statement has failed, too.
fn judge(done: &Finished) -> Result<(), String> {
    let mut lines = done.stdout.lines();
    let summary = lines.next_back().unwrap_or_default();
    if done.status.success() && summary.contains(" statements: ") {
        return Ok(());
    }
    let failed: Vec<_> = lines.filter(|line| line.contains("FAILS")).collect();
    Err(format!(
        "{}\n    {}\n    {summary}",
        ending(done.status),
        failed.join("\n    ")
    ))
}
