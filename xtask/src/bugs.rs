//! The planted concurrency bugs (`guests/bugs`, `guests/go/bugs`), and their correct twins.
//!
//! Responsible for how often each shows without any help, as a table, and for the twins, which must never fail. A
//! program says itself which bugs it has, and whether one has shown: by its exit status, by a signal that kills it, or
//! by not ending.
//!
//! What a search for schedules makes of them is in `hunt`.

mod hunt;

use crate::esbuild::VCPUS;
use crate::project::Project;
use crate::report::Report;
use crate::run::{Finished, ending, run, start, wait};
use crate::runner::Runner;
use crate::setup;
use clap::Args;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// A thousand times what a run takes: one that is still there hangs.
const LIMIT: Duration = Duration::from_secs(5);
/// A twin that hangs is a finding: it gets the time for a host that is busy with something else.
const TWINS_LIMIT: Duration = Duration::from_mins(1);
/// Runs of each twin in the suite, with each number of vcpus.
const TWINS_RUNS: u32 = 50;

/// What `cargo xtask bugs` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Plain runs of each bug with the default vcpus, and of its twin with 1, 2 and 8.
    #[arg(long, value_name = "RUNS", num_args = 0..=1, default_missing_value = "1000")]
    plain: Option<u32>,

    /// Hunt for each bug, and run so many schedules of each twin.
    #[arg(long, value_name = "SCHEDULES", num_args = 0..=1, default_missing_value = "10000")]
    hunt: Option<u32>,

    /// Compare so many runs of one seed, for several programs.
    #[arg(long, value_name = "RUNS", num_args = 0..=1, default_missing_value = "1000")]
    replay: Option<u32>,
}

/// The bugs suite: no twin fails, and a hundred goroutines say the same with any number of vcpus.
pub(crate) fn suite(project: &Project, report: &mut Report) {
    let Some(planted) = report.need("set-up", || Planted::prepare(project)) else {
        return;
    };
    for bug in &planted.bugs {
        report.check(format!("{}, fixed", bug.name), || {
            planted.twin(project, bug, TWINS_RUNS)
        });
    }
    report.check("a hundred goroutines", || hundred(project, &planted.runner));
    hunt::checks(project, &planted, report);
}

/// `cargo xtask bugs`: prints tables.
///
/// # Errors
/// Something cannot be built or run, or a twin has failed.
pub(crate) fn task(project: &Project, options: &Options) -> Result<(), String> {
    let planted = Planted::prepare(project)?;
    if let Some(runs) = options.plain {
        plain(project, &planted, runs)?;
    }
    if let Some(schedules) = options.hunt {
        hunt::table(project, &planted, schedules)?;
    }
    match options.replay {
        Some(runs) => hunt::replays(project, &planted, runs),
        None => Ok(()),
    }
}

/// Prints how often each bug shows by itself.
fn plain(project: &Project, planted: &Planted, runs: u32) -> Result<(), String> {
    println!(
        "| bug | what people get wrong | windows without a system call | shows in {runs} plain runs |"
    );
    println!("|---|---|---|---|");
    for bug in &planted.bugs {
        let shown = planted.plain(bug, runs)?;
        println!(
            "| `{}` | {} | {} | {shown} |",
            bug.name, bug.about, bug.bare
        );
        planted.twin(project, bug, runs)?;
    }
    println!("\nNo twin failed, in {runs} runs each with 1, 2 and 8 vcpus.");
    Ok(())
}

/// One bug, as the program that has it lists it.
struct Bug {
    program: PathBuf,
    name: String,
    /// How many of its racing windows hold no system call.
    bare: u32,
    about: String,
}

impl Bug {
    /// Of a line `NAME BARE ABOUT`.
    fn read(program: &Path, line: &str) -> Option<Self> {
        let (name, rest) = line.split_once(' ')?;
        let (bare, about) = rest.trim_start().split_once(' ')?;
        Some(Self {
            program: program.to_path_buf(),
            name: name.to_owned(),
            bare: bare.parse().ok()?,
            about: about.to_owned(),
        })
    }

    /// Runs it.
    fn command(&self, runner: &Runner) -> Command {
        let mut command = runner.command(&self.program);
        command.arg(&self.name);
        command
    }

    /// Runs its twin.
    fn fixed(&self, runner: &Runner) -> Command {
        let mut command = self.command(runner);
        command.arg("fixed");
        command
    }
}

/// All bugs, and what runs them.
struct Planted {
    runner: Runner,
    bugs: Vec<Bug>,
}

impl Planted {
    fn prepare(project: &Project) -> Result<Self, String> {
        let go = setup::go(project)?;
        let programs = [
            project.guest("bugs")?,
            setup::go_program(project, &go, "guests/go/bugs", "netbsd", "bugs/go")?,
        ];
        let runner = Runner::new(project.lwp()?).option("-q");
        let mut bugs = Vec::new();
        for program in &programs {
            let listed = run(&mut runner.command(program), LIMIT, &project.log("bugs"))?;
            for line in listed.success()?.stdout.lines() {
                let bug = Bug::read(program, line);
                bugs.push(bug.ok_or_else(|| format!("a bug listed as {line:?}"))?);
            }
        }
        Ok(Self { runner, bugs })
    }

    /// How often a bug shows, and how.
    fn plain(&self, bug: &Bug, runs: u32) -> Result<String, String> {
        let mut shown = Shown::default();
        for _ in 0..runs {
            shown.count(once(&mut bug.command(&self.runner))?)?;
        }
        Ok(shown.to_string())
    }

    /// That a twin never fails.
    fn twin(&self, project: &Project, bug: &Bug, runs: u32) -> Result<(), String> {
        for vcpus in VCPUS {
            let runner = self.runner.clone().vcpus(vcpus);
            let log = project.log(&format!("bugs-{}-{vcpus}", bug.name));
            for nth in 1..=runs {
                let done = run(&mut bug.fixed(&runner), TWINS_LIMIT, &log);
                done.and_then(Finished::success).map_err(|why| {
                    format!("{} fixed, {vcpus} vcpus, run {nth}: {why}", bug.name)
                })?;
            }
        }
        Ok(())
    }
}

/// One run: how it ended, if it did within [`LIMIT`].
fn once(command: &mut Command) -> Result<Option<ExitStatus>, String> {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    wait(&mut start(quiet)?, LIMIT)
}

/// How often a bug has shown, by the way in which it did.
#[derive(Default)]
struct Shown {
    said: u32,
    killed: u32,
    hung: u32,
}

impl Shown {
    /// Counts one run.
    ///
    /// # Errors
    /// It ended as no bug does.
    fn count(&mut self, ended: Option<ExitStatus>) -> Result<(), String> {
        match ended {
            None => self.hung += 1,
            Some(status) if status.success() => {}
            Some(status) if status.code() == Some(1) => self.said += 1,
            Some(status) if status.signal().is_some() => self.killed += 1,
            Some(status) => return Err(format!("no bug ends so: {}", ending(status))),
        }
        Ok(())
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { said, killed, hung } = *self;
        let ways = [(said, "exit status 1"), (killed, "killed"), (hung, "hung")];
        let mut ways = ways.iter().filter(|(times, _)| *times > 0);
        let Some((times, way)) = ways.next() else {
            return f.write_str("0");
        };
        write!(f, "{times} ({way})")?;
        ways.try_for_each(|(times, way)| write!(f, ", {times} ({way})"))
    }
}

/// `guests/go/hundred`.
fn hundred_of(project: &Project) -> Result<PathBuf, String> {
    let go = setup::go(project)?;
    setup::go_program(project, &go, "guests/go/hundred", "netbsd", "bugs/hundred")
}

/// That `guests/go/hundred` prints the same number however it is run.
fn hundred(project: &Project, runner: &Runner) -> Result<(), String> {
    let program = hundred_of(project)?;
    let mut said = Vec::new();
    for vcpus in VCPUS {
        let mut command = runner.clone().vcpus(vcpus).command(&program);
        let log = project.log(&format!("bugs-hundred-{vcpus}"));
        said.push(run(&mut command, TWINS_LIMIT, &log)?.success()?.stdout);
    }
    if said[0].len() > 1 && said.iter().all(|line| *line == said[0]) {
        Ok(())
    } else {
        Err(format!("they say {said:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_read_as_it_is_listed() {
        let bug = Bug::read(Path::new("bugs"), "abba           0 takes two locks").unwrap();
        assert_eq!((bug.name.as_str(), bug.bare), ("abba", 0));
        assert_eq!(bug.about, "takes two locks");
        assert!(Bug::read(Path::new("bugs"), "usage: bugs NAME").is_none());
    }

    #[test]
    fn every_way_to_show_is_counted() {
        let mut shown = Shown::default();
        assert_eq!(shown.to_string(), "0");
        // As wait(2) has them: exit status 0, exit status 1, killed by signal 11.
        for raw in [0, 1 << 8, 11] {
            shown.count(Some(ExitStatus::from_raw(raw))).unwrap();
        }
        shown.count(None).unwrap();
        assert_eq!(shown.to_string(), "1 (exit status 1), 1 (killed), 1 (hung)");
        assert!(shown.count(Some(ExitStatus::from_raw(126 << 8))).is_err());
    }
}
