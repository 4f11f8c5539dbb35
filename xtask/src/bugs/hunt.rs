//! Bugs and twins under `lwp hunt`, and whether a seed is one run.

use super::{Bug, Planted, hundred_of};
use crate::project::Project;
use crate::report::Report;
use crate::run::{Finished, run};
use crate::runner::Runner;
use crate::setup;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a bug has to be found within.
const LIMIT: Duration = Duration::from_mins(1);
/// Schedules of a twin take as long as they take.
const TWINS_LIMIT: Duration = Duration::from_mins(30);
/// Preemptions of which at most a schedule may consist in the end.
const PREEMPTIONS: u64 = 5;
/// More than are run in the time.
const SCHEDULES: u32 = 10_000_000;
/// Schedules of each twin, and runs of one seed, in the suite.
const IN_SUITE: u32 = 300;
const REPLAYS_IN_SUITE: u32 = 30;
/// First seeds of the hunts for each bug.
const SEEDS: [u64; 3] = [1, 1_000_000_000, 2_000_000_000];

/// Checks that each bug is found, no twin is reported, and a seed is one run.
pub(super) fn checks(project: &Project, planted: &Planted, report: &mut Report) {
    let Some(hunter) = report.need("a hunter", || Hunter::new(project)) else {
        return;
    };
    for bug in &planted.bugs {
        report.check(format!("{}, hunted", bug.name), || {
            hunter.find(bug, SEEDS[0]).map(|_| ())
        });
        report.check(format!("{}, fixed, hunted", bug.name), || {
            hunter.twin(bug, IN_SUITE)
        });
    }
    report.check("the walk-through", || hunter.walk_through());
    report.check("a seed is one run", || {
        for (program, words) in replayed(project, planted)? {
            hunter.replays(&program, &words, REPLAYS_IN_SUITE)?;
        }
        Ok(())
    });
}

/// Prints what hunts come to, with so many schedules of each twin.
pub(super) fn table(project: &Project, planted: &Planted, schedules: u32) -> Result<(), String> {
    let hunter = Hunter::new(project)?;
    let hunts = SEEDS.len();
    println!(
        "\n| bug | found after, schedules in {hunts} hunts | seconds | decisions that matter | preemptions among them |"
    );
    println!("|---|---|---|---|---|");
    for bug in &planted.bugs {
        let found: Vec<_> = SEEDS
            .iter()
            .map(|&seed| hunter.find(bug, seed))
            .collect::<Result<_, _>>()?;
        let all = |number: &dyn Fn(&Found) -> String| {
            found.iter().map(number).collect::<Vec<_>>().join(", ")
        };
        println!(
            "| `{}` | {} | {} | {} | {} |",
            bug.name,
            all(&|found| found.schedules.to_string()),
            all(&|found| format!("{:.1}", found.seconds)),
            all(&|found| found.decisions.to_string()),
            all(&|found| found.preemptions.to_string()),
        );
    }
    for bug in &planted.bugs {
        hunter.twin(bug, schedules)?;
    }
    println!("\nNo twin failed under {schedules} schedules.");
    Ok(())
}

/// Prints how many of so many runs of a seed were the same.
pub(super) fn replays(project: &Project, planted: &Planted, runs: u32) -> Result<(), String> {
    let hunter = Hunter::new(project)?;
    println!("\n| program | runs with the same hash |\n|---|---|");
    for (program, words) in replayed(project, planted)? {
        hunter.replays(&program, &words, runs)?;
        let name = program.file_name().unwrap_or_default().display();
        println!("| `{name} {}` | {runs} of {runs} |", words.join(" "));
    }
    Ok(())
}

/// Programs of which each seed is to be one run.
fn replayed(project: &Project, planted: &Planted) -> Result<Vec<(PathBuf, Vec<String>)>, String> {
    let mut all = vec![(project.guest("relay")?, Vec::new())];
    for bug in &planted.bugs {
        let words = vec![bug.name.clone(), "fixed".to_owned()];
        all.push((bug.program.clone(), words));
    }
    all.push((hundred_of(project)?, Vec::new()));
    Ok(all)
}

/// What a hunt has found.
struct Found {
    schedules: u64,
    seconds: f64,
    decisions: u64,
    preemptions: u64,
}

struct Hunter<'a> {
    project: &'a Project,
    hunts: Runner,
    runner: Runner,
}

impl<'a> Hunter<'a> {
    fn new(project: &'a Project) -> Result<Self, String> {
        let runner = Runner::new(project.lwp()?);
        Ok(Self {
            project,
            hunts: runner.clone().hunting().option("--json"),
            runner: runner
                .option("-q")
                .option("--stats")
                .option("--virtual-time"),
        })
    }

    /// Hunts for a bug: it is to be found in time, and to need few preemptions.
    fn find(&self, bug: &Bug, seed: u64) -> Result<Found, String> {
        let file = self.project.log(&format!("{}-{seed}.schedule", bug.name));
        let hunter = self.hunts.clone();
        let hunter = hunter.option("--runs").option(&SCHEDULES.to_string());
        let hunter = hunter.option("--seed").option(&seed.to_string());
        let hunter = hunter.option("-o").option(&file.to_string_lossy());
        let log = self.project.log(&format!("hunt-{}", bug.name));
        let finished = run(&mut bug.command(&hunter), LIMIT, &log)?;
        let told: Value = serde_json::from_str(finished.stdout.trim())
            .map_err(|err| format!("{}: {err}: {}", bug.name, finished.stdout))?;
        let number = |value: &Value| value.as_u64().unwrap_or(u64::MAX);
        let caught = &told["found"];
        let found = Found {
            schedules: number(&told["schedules"]),
            seconds: told["seconds"].as_f64().unwrap_or(f64::MAX),
            decisions: number(&caught["decisions"]),
            preemptions: number(&caught["preemptions"]),
        };
        let wrong = if caught["seed"].is_null() {
            "fails without a seed, or never"
        } else if caught["is_flaky"] != false {
            "no replay"
        } else if found.preemptions > PREEMPTIONS {
            "too many preemptions"
        } else {
            return Ok(found);
        };
        Err(format!("{}: {wrong}: {told}", bug.name))
    }

    /// That a twin never fails.
    fn twin(&self, bug: &Bug, schedules: u32) -> Result<(), String> {
        let hunter = self
            .hunts
            .clone()
            .option("--runs")
            .option(&schedules.to_string());
        let log = self.project.log(&format!("hunt-{}-fixed", bug.name));
        let done = run(&mut bug.fixed(&hunter), TWINS_LIMIT, &log);
        done.and_then(Finished::success)
            .map(|_| ())
            .map_err(|why| format!("{} fixed: {why}", bug.name))
    }

    /// That docs/hunt.md is right: the race in `guests/go/pool` is found, and not when it is fixed.
    fn walk_through(&self) -> Result<(), String> {
        let go = setup::go(self.project)?;
        let pool = setup::go_program(self.project, &go, "guests/go/pool", "netbsd", "bugs/pool")?;
        let file = self.project.log("pool.schedule");
        let log = self.project.log("hunt-pool");
        let hunter = self.hunts.clone().option("--env").option("GOMAXPROCS=2");
        let hunter = hunter.option("-o").option(&file.to_string_lossy());
        let found = run(&mut hunter.command(&pool), LIMIT, &log)?.stdout;
        let told: Value =
            serde_json::from_str(found.trim()).map_err(|err| format!("pool: {err}: {found}"))?;
        let output = told["found"]["output"].as_str().unwrap_or_default();
        if !output.contains("send on closed channel") || told["found"]["is_flaky"] != false {
            return Err(format!("not the race of the walk-through: {told}"));
        }
        let fixed = run(hunter.command(&pool).arg("fixed"), TWINS_LIMIT, &log);
        fixed.and_then(Finished::success).map(|_| ())
    }

    /// That so many runs of a seed are the same.
    fn replays(&self, program: &Path, words: &[String], runs: u32) -> Result<(), String> {
        let name = program
            .file_name()
            .unwrap_or_default()
            .display()
            .to_string();
        let log = self.project.log(&format!("replays-{name}"));
        let mut hashes = Vec::new();
        for _ in 0..runs {
            let runner = self.runner.clone().option("--chaos").option("17");
            let mut command = runner.command(program);
            let said = run(command.args(words), LIMIT, &log)?.stderr;
            let hash = said.lines().find(|line| line.contains("event hash:"));
            hashes.push(hash.map(str::to_owned));
        }
        let first = hashes.first().cloned().flatten();
        let same = hashes.iter().filter(|hash| **hash == first).count();
        if first.is_some() && same == hashes.len() {
            Ok(())
        } else {
            Err(format!(
                "{name} {words:?}: {same} of {runs} runs have the first one's hash"
            ))
        }
    }
}
