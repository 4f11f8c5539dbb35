//! The project's own commands: `cargo xtask test` is the one test command, `cargo xtask soak` the
//! long one.
//!
//! Responsible for everything a fresh machine needs before a test can run (what is fetched lies
//! under `target/cache`), for running every suite, and for one last line that says how it went.
//! Not for what is right: that is in the tests themselves.
//!
//! # Invariants
//! 1. A suite that cannot run fails, by name and with the reason. Nothing is skipped.
//! 2. Every guest runs under a time limit, in its own process group, which is killed at the end.
//! 3. Nothing is written outside the target directory.

mod barrage;
mod browser;
mod bugs;
mod bundle;
mod conform;
mod esbuild;
mod go;
mod gostd;
mod guests;
mod headers;
mod http;
mod layouts;
mod project;
mod report;
mod run;
mod runner;
mod rust;
mod seeds;
mod serve;
mod setup;
mod terminal;
mod timeline;
mod trace;
mod views;

use clap::{Parser, Subcommand};
use project::Project;
use report::Report;
use std::process::ExitCode;
use std::time::Duration;

/// One group of checks that can be run alone.
struct Suite {
    name: &'static str,
    about: &'static str,
    run: fn(&Project, &mut Report),
}

/// All suites, the quick ones first.
const SUITES: &[Suite] = &[
    Suite {
        name: "fmt",
        about: "cargo fmt --check, both workspaces",
        run: rust::fmt,
    },
    Suite {
        name: "clippy",
        about: "cargo clippy without warnings, both workspaces",
        run: rust::clippy,
    },
    Suite {
        name: "doc",
        about: "cargo doc without warnings, private items too",
        run: rust::doc,
    },
    Suite {
        name: "unit",
        about: "cargo test --workspace",
        run: rust::unit,
    },
    Suite {
        name: "sim",
        about: "the kernel on the sim machine, optimised",
        run: rust::sim,
    },
    Suite {
        name: "races",
        about: "racy paths under a model checker (shuttle)",
        run: rust::races,
    },
    Suite {
        name: "guests",
        about: "guest programs with 1, 2 and 8 vcpus; lwp demo",
        run: guests::suite,
    },
    Suite {
        name: "conform",
        about: "lwp conform with 1, 2 and 8 vcpus",
        run: conform::suite,
    },
    Suite {
        name: "seeds",
        about: "statements under schedules from seeds, with every perturbation",
        run: seeds::suite,
    },
    Suite {
        name: "headers",
        about: "C programs with NetBSD's headers read what we write",
        run: headers::suite,
    },
    Suite {
        name: "barrage",
        about: "a million random calls from 64 LWPs",
        run: barrage::suite,
    },
    Suite {
        name: "bugs",
        about: "planted concurrency bugs: each is found, no twin fails",
        run: bugs::suite,
    },
    Suite {
        name: "esbuild",
        about: "bundles as esbuild for Linux does; serves HTTP",
        run: esbuild::suite,
    },
    Suite {
        name: "go",
        about: "go test -exec 'lwp run'",
        run: go::suite,
    },
    Suite {
        name: "go-std",
        about: "tests of Go's own library, against their Linux build",
        run: gostd::suite,
    },
    Suite {
        name: "http",
        about: "an HTTP server in Go, with 1,000 connections",
        run: http::suite,
    },
    Suite {
        name: "views",
        about: "ps, top, --stats and the report of a deadlock name who is to blame",
        run: views::suite,
    },
    Suite {
        name: "terminal",
        about: "in a terminal: signals, job control, errors",
        run: terminal::suite,
    },
    Suite {
        name: "timeline",
        about: "timelines in Chromium: numbers, zoom, a million events",
        run: timeline::suite,
    },
    Suite {
        name: "layouts",
        about: "guests, bundle, go under unusual conditions",
        run: layouts::suite,
    },
];

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Sets up what is needed and runs every test; ends with `N passed, N failed`.
    Test {
        /// Runs only this suite; may be given several times.
        #[arg(long, value_name = "SUITE", value_parser = suite_names())]
        only: Vec<String>,
        /// Lists the suites and runs none.
        #[arg(long)]
        list: bool,
    },
    /// Bundles with esbuild again and again with 1, 2 and 8 vcpus: none may fail, differ or hang.
    Soak {
        /// Runs for each number of vcpus.
        #[arg(long, default_value_t = 50)]
        runs: u32,
    },
    /// Runs the tests of Go's own library, built for NetBSD, and compares them with their Linux build.
    GoStd(gostd::Options),
    /// Puts a load on an HTTP server in Go, built for NetBSD and for Linux, and compares the rates.
    Http(http::Options),
    /// Counts how often each planted concurrency bug shows by itself, and that no correct twin of one fails.
    Bugs(bugs::Options),
    /// Shows each statement that programs rely on, or that is clear from NetBSD's sources, under many seeds.
    Seeds {
        /// How many for each.
        #[arg(default_value_t = 1000)]
        seeds: u32,
        /// Only these, by their numbers.
        statements: Vec<String>,
    },
    /// Makes random calls from 64 LWPs on 2 vcpus: none may crash, hang, or leave anything behind.
    Barrage {
        /// How many calls.
        #[arg(long, default_value_t = 10_000_000)]
        calls: u64,
        /// From where the random numbers come.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Makes docs/timeline.png again: the page of a run, as Chromium shows it.
    TimelinePicture,
}

fn suite_names() -> Vec<&'static str> {
    SUITES.iter().map(|suite| suite.name).collect()
}

fn main() -> ExitCode {
    match perform(Args::parse().task) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<ExitCode, String> {
    match task {
        Task::Test { list: true, .. } => {
            for suite in SUITES {
                println!("{:8} {}", suite.name, suite.about);
            }
            Ok(ExitCode::SUCCESS)
        }
        Task::Test { only, list: false } => test(&only),
        Task::Soak { runs } => soak(runs),
        Task::GoStd(options) => {
            let is_well = gostd::task(&Project::open()?, options)?;
            Ok(if is_well {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Task::Http(options) => http::task(&Project::open()?, &options).map(|()| ExitCode::SUCCESS),
        Task::Bugs(options) => bugs::task(&Project::open()?, &options).map(|()| ExitCode::SUCCESS),
        Task::Seeds { seeds, statements } => many_seeds(seeds, &statements),
        Task::TimelinePicture => timeline::picture(&Project::open()?).map(|()| ExitCode::SUCCESS),
        Task::Barrage { calls, seed } => long_barrage(calls, seed),
    }
}

fn test(only: &[String]) -> Result<ExitCode, String> {
    let project = Project::open()?;
    let mut report = Report::default();
    for suite in SUITES {
        if only.is_empty() || only.iter().any(|name| name == suite.name) {
            report.begin(suite.name, suite.about);
            (suite.run)(&project, &mut report);
        }
    }
    Ok(report.finish())
}

/// Makes one suite's checks alone, and longer than the test command does.
fn alone(
    suite: &'static str,
    about: &str,
    checks: impl FnOnce(&Project, &mut Report),
) -> Result<ExitCode, String> {
    let project = Project::open()?;
    let mut report = Report::default();
    report.begin(suite, about);
    checks(&project, &mut report);
    Ok(report.finish())
}

fn many_seeds(seeds: u32, named: &[String]) -> Result<ExitCode, String> {
    let about = "statements under schedules from seeds";
    alone("seeds", about, |project, report| {
        seeds::each(project, report, seeds, named);
    })
}

fn long_barrage(calls: u64, seed: u64) -> Result<ExitCode, String> {
    alone("barrage", "random calls from 64 LWPs", |project, report| {
        barrage::calls(project, report, seed, calls, Duration::from_hours(1));
    })
}

fn soak(runs: u32) -> Result<ExitCode, String> {
    let about = "bundles with esbuild again and again";
    alone("soak", about, |project, report| {
        esbuild::soak(project, report, runs);
    })
}
