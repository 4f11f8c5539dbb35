//! An HTTP server written in Go, built for NetBSD, under a load of keep-alive connections.
//!
//! Responsible for building the server, for both systems, and the load generator, for running one against
//! the other, and for the rates. What a right answer is, the load generator knows: it fails if a single
//! one is wrong or missing.

use crate::project::Project;
use crate::report::Report;
use crate::run::{kill_group, run, start};
use crate::runner::Runner;
use crate::setup;
use clap::Args;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What connecting and the last answers may take beyond the time of the load.
const GRACE: Duration = Duration::from_mins(2);

/// What `cargo xtask http` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Connections open at the same time.
    #[arg(long, default_value_t = 1000)]
    connections: u32,
    /// How long each run lasts.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Runs of each server, in turn.
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

/// The http suite: 1,000 connections for five seconds, and no answer wrong or lost.
pub(crate) fn suite(project: &Project, report: &mut Report) {
    let options = Options {
        connections: 1000,
        seconds: 5,
        runs: 1,
    };
    let Some(bench) = report.need("set-up", || Bench::prepare(project)) else {
        return;
    };
    report.check("1000 connections", || {
        bench.netbsd(&options, project).map(|rate| {
            println!("     {rate:.0} answers a second");
        })
    });
}

/// `cargo xtask http`: runs both servers in turn and prints the rates, and the ratio of the medians.
///
/// # Errors
/// Something cannot be built or run, or an answer was wrong or missing.
pub(crate) fn task(project: &Project, options: &Options) -> Result<(), String> {
    let bench = Bench::prepare(project)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    println!("answers a second: linux, netbsd");
    for _ in 0..options.runs {
        theirs.push(bench.linux(options, project)?);
        ours.push(bench.netbsd(options, project)?);
        let latest = |rates: &[f64]| rates.last().copied().unwrap_or_default();
        println!("{:10.0} {:10.0}", latest(&theirs), latest(&ours));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!("medians: {theirs:.0} and {ours:.0}: {:.2}", ours / theirs);
    Ok(())
}

/// The programs.
struct Bench {
    runner: Runner,
    netbsd: PathBuf,
    linux: PathBuf,
    load: PathBuf,
}

impl Bench {
    fn prepare(project: &Project) -> Result<Self, String> {
        let go = setup::go(project)?;
        let build = |package: &str, system: &str| {
            let directory = format!("xtask/setup/http/{package}");
            let name = format!("http/{package}-{system}");
            setup::go_program(project, &go, &directory, system, &name)
        };
        Ok(Self {
            netbsd: build("server", "netbsd")?,
            linux: build("server", "linux")?,
            load: build("load", "linux")?,
            runner: Runner::new(project.lwp()?),
        })
    }

    fn netbsd(&self, options: &Options, project: &Project) -> Result<f64, String> {
        self.measure(self.runner.command(&self.netbsd), options, project)
    }

    fn linux(&self, options: &Options, project: &Project) -> Result<f64, String> {
        self.measure(Command::new(&self.linux), options, project)
    }

    /// Puts the load on a server: answers a second.
    fn measure(
        &self,
        mut server: Command,
        options: &Options,
        project: &Project,
    ) -> Result<f64, String> {
        let mut child = start(server.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let rate = address(&mut child)
            .and_then(|address| load(&self.load, &address, options, &project.log("http-load")));
        kill_group(&child);
        child.wait().map_err(|why| format!("wait: {why}"))?;
        rate
    }
}

/// The line in which the server says where it listens.
fn address(server: &mut Child) -> Result<String, String> {
    let mut line = String::new();
    let mut said = BufReader::new(server.stdout.take().expect("it is piped"));
    said.read_line(&mut line)
        .map_err(|why| format!("the server's output: {why}"))?;
    if line.is_empty() {
        return Err("the server does not say where it listens".to_owned());
    }
    Ok(line.trim_end().to_owned())
}

fn load(program: &Path, address: &str, options: &Options, log: &Path) -> Result<f64, String> {
    let mut load = Command::new(program);
    load.arg(format!("-address={address}"))
        .arg(format!("-connections={}", options.connections))
        .arg(format!("-seconds={}", options.seconds));
    let limit = Duration::from_secs(options.seconds.into()) + GRACE;
    let done = run(&mut load, limit, log)?.success()?;
    rate(&done.stdout).ok_or_else(|| format!("the load generator says {:?}", done.stdout))
}

/// Of `ANSWERS SECONDS`.
fn rate(said: &str) -> Option<f64> {
    let (answers, seconds) = said.trim_end().split_once(' ')?;
    let (answers, seconds): (f64, f64) = (answers.parse().ok()?, seconds.parse().ok()?);
    Some(answers / seconds)
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_answers_by_seconds() {
        assert_eq!(rate("3000 1.500\n"), Some(2000.0));
        assert_eq!(rate("3000\n"), None);
    }

    #[test]
    fn one_run_out_of_the_way_does_not_count() {
        assert!((median(vec![9.0, 1.0, 8.0]) - 8.0).abs() < 1e-9);
    }
}
