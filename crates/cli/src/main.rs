//! The `lwp` command: runs NetBSD programs on Linux.
//!
//! | file | what |
//! |---|---|
//! | `args` | what can be typed |
//! | `run` | `lwp run`: puts machine, kernel and system calls together and starts a program |
//! | `demo` | `lwp demo`: a tour, and what things cost |
//! | `conform` | `lwp conform`: which statements about NetBSD's LWP calls hold |
//! | `bench` | `lwp bench`: what everything costs, beside what Linux offers |
//! | `find` | which file a program's name means |
//! | `install` | `lwp install`, `lwp uninstall`: the kernel starts NetBSD programs with us |
//! | `json` | the strings of `--json` |
//! | `stats`, `tally`, `observe` | `--stats`; listeners of the kernel's events |
//! | `trace` | `lwp trace`: where the lines go |
//! | `timeline` | `--timeline` |
//! | `ps`, `top`, `snapshot`, `control` | `lwp ps`, `lwp top`: what guests are doing, and how that is asked |
//! | `waits` | who waits for what: `lwp ps --waits`, and the report of a deadlock |
//! | `chaos` | `--chaos`, `lwp replay`: schedules from a seed or a file |
//! | `hunt` | `lwp hunt`: many schedules, until the program fails |
//! | `fail` | how the command itself fails: exit statuses and the one line on stderr |
//! | `guests` | the programs that come with it |
//!
//! The guest's exit status is the command's; there is no way back from [`run::run`].
#![cfg_attr(not(test), no_main)]

mod args;
mod bench;
mod chaos;
mod conform;
mod control;
mod demo;
mod doctor;
mod fail;
mod find;
mod guests;
mod hunt;
mod install;
mod json;
mod manual;
mod observe;
mod ps;
mod run;
mod snapshot;
mod stats;
mod tally;
mod timeline;
mod top;
mod trace;
mod waits;

use crate::args::{Cli, Command};
use crate::fail::Failure;
use clap::Parser;
use core::convert::Infallible;
use std::ffi::OsString;
use std::io::Write;

#[cfg(not(test))]
lwp_machine::start!(start);

/// Does what `args` say; the exit status.
#[cfg_attr(
    test,
    expect(dead_code, reason = "the test harness has a `main` of its own")
)]
fn start(args: Vec<OsString>) -> i32 {
    lwp_machine::give_inherited();
    let failure = if let Some(state) = run::handed_over() {
        done(run::resume(&state))
    } else if lwp_machine::is_interpreter() {
        done(run::interpret(args))
    } else {
        match Cli::try_parse_from(&args) {
            Ok(cli) => match obey(cli, &args) {
                Err(failure) => failure,
                Ok(()) => return 0,
            },
            Err(err) => match Failure::from_clap(&err) {
                Some(failure) => failure,
                None => return 0,
            },
        }
    };
    if !failure.is_told() {
        eprintln!("lwp: {failure}");
    }
    failure.status()
}

/// Carries out the command, typed as `args`. `lwp run` does not come back from a program that runs.
fn obey(cli: Cli, args: &[OsString]) -> Result<(), Failure> {
    match cli.command {
        Command::Run(options) => Err(done(run::run(&options.into(), args))),
        Command::Trace(options) => Err(done(run::run(&options.into(), args))),
        Command::Install(at) => {
            let runner = std::env::current_exe().map_err(Failure::Myself)?;
            say(&install::install(&at.registry, &runner)?);
            Ok(())
        }
        Command::Uninstall(at) => {
            say(&install::uninstall(&at.registry)?);
            Ok(())
        }
        Command::Hunt(options) => hunt::run(&options, args),
        Command::Replay(options) => Err(done(chaos::replay(options))),
        Command::Ps(options) => ps::run(&options),
        Command::Top(options) => top::run(&options),
        Command::Demo => demo::run(),
        Command::Doctor(at) => doctor::run(&at.registry),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { command } => manual::page(command.as_deref()),
        Command::Conform(options) => conform::run(&options),
        Command::Bench(options) => bench::run(&options),
    }
}

/// Says how things are now, to whoever listens.
fn say(what: &install::Done) {
    let _nobody_listens = writeln!(std::io::stdout(), "{what}");
}

fn done(result: Result<Infallible, Failure>) -> Failure {
    match result {
        Err(failure) => failure,
        Ok(never) => match never {},
    }
}
