//! The views on LWPs: each of three programs with a planted fault (`guests/src/faults.rs`), and the view that names
//! the LWP to blame.

use crate::project::Project;
use crate::report::Report;
use crate::run::{kill_group, run, start};
use crate::runner::Runner;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Many times what anything here takes.
const LIMIT: Duration = Duration::from_mins(1);
/// Looks at a guest until what is expected is to be seen.
const LOOKS: u32 = 100;

/// The views suite.
pub(crate) fn suite(project: &Project, report: &mut Report) {
    let Some(views) = report.need("set-up", || Views::prepare(project)) else {
        return;
    };
    for vcpus in [1, 2, 8] {
        report.check(
            format!("--stats names who holds the lock, {vcpus} vcpus"),
            || views.convoy(project, vcpus),
        );
        report.check(
            format!("a lost wake-up is no silent hang, {vcpus} vcpus"),
            || views.lost(vcpus),
        );
    }
    report.check("top names who spins", || views.spin(project));
}

struct Views {
    lwp: PathBuf,
    faults: PathBuf,
}

impl Views {
    fn prepare(project: &Project) -> Result<Self, String> {
        Ok(Self {
            lwp: project.lwp()?,
            faults: project.guest("faults")?,
        })
    }

    /// `--stats` blames the LWP that computes with the lock held: it is among the three that it lists. (Not always the
    /// first: the host may have kept another from running just when it had the lock.)
    fn convoy(&self, project: &Project, vcpus: u32) -> Result<(), String> {
        let runner = Runner::new(self.lwp.clone()).vcpus(vcpus).option("--stats");
        let log = project.log(&format!("convoy-{vcpus}"));
        let done = run(runner.command(&self.faults).arg("convoy"), LIMIT, &log)?.success()?;
        let mut blamed = done
            .stderr
            .lines()
            .filter(|line| line.starts_with("lwp: waited for"));
        if blamed.any(|line| is_named(line, "slow")) {
            Ok(())
        } else {
            Err(format!("no LWP called slow is blamed:\n{}", done.stderr))
        }
    }

    /// The runner says who waits, and `lwp ps --waits` says the same.
    fn lost(&self, vcpus: u32) -> Result<(), String> {
        let runner = Runner::new(self.lwp.clone()).vcpus(vcpus);
        let mut command = runner.command(&self.faults);
        let mut guest = Guest(start(command.arg("lost").stderr(Stdio::piped()))?);
        let stderr = guest.0.stderr.take().ok_or("no standard error")?;
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let is_its = |line: &str| is_named(line, "consumer") && line.contains("has been parked");
        lines
            .find(|line| is_its(line))
            .ok_or("the runner does not say who waits")?;
        let pid = guest.0.id().to_string();
        let seen = look(&self.lwp, &["ps", "--waits", &pid])?;
        let line = seen.lines().find(|line| is_its(line));
        match line {
            Some(line) if line.contains(&format!("was last unparked by LWP {pid}")) => Ok(()),
            _ => Err(format!("ps --waits does not say who woke it:\n{seen}")),
        }
    }

    /// `lwp top` has the LWP that spins in its first row, and `lwp ps --json` counts its time.
    fn spin(&self, project: &Project) -> Result<(), String> {
        let runner = Runner::new(self.lwp.clone());
        let log = project.log("spin");
        let mut command = runner.command(&self.faults);
        let guest = Guest(start(command.arg("spin"))?);
        let pid = guest.0.id().to_string();
        let mut seen = String::new();
        for _ in 0..LOOKS {
            // It fails until the guest listens.
            let mut top = Command::new(&self.lwp);
            top.args(["top", "--once", "--delay", "0.1", &pid]);
            seen = run(&mut top, LIMIT, &log)?.stdout;
            // Below the title and the headings.
            let first = seen.lines().nth(2).unwrap_or_default();
            if first.contains(" spinner ") && first.contains(" O ") {
                return Ok(());
            }
        }
        Err(format!(
            "the first row is not that of the LWP called spinner:\n{seen}"
        ))
    }
}

/// A guest that does not end by itself.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        kill_group(&self.0);
        let _status = self.0.wait();
    }
}

/// Whether `line` has the id and the name of the LWP called `name`.
fn is_named(line: &str, name: &str) -> bool {
    let before = line.split(&format!(" ({name})")).next().unwrap_or_default();
    let lid = before.rsplit(' ').next().unwrap_or_default();
    before.len() < line.len() && lid.parse::<i32>().is_ok()
}

/// What `lwp` says when asked with `args`.
fn look(lwp: &Path, args: &[&str]) -> Result<String, String> {
    let output = Command::new(lwp).args(args).output();
    let output = output.map_err(|why| format!("lwp {}: {why}", args.join(" ")))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
