//! The `lwp` command: runs NetBSD programs on Linux.
//!
//! | file | what |
//! |---|---|
//! | `args` | what can be typed |
//! | `run` | `lwp run`: puts machine, kernel and system calls together and starts a program |
//! | `demo` | `lwp demo`: a tour, and what things cost |
//! | `bench` | `lwp bench`: what everything costs, beside what Linux offers |
//! | `find` | which file a program's name means |
//! | `stats` | `--stats` |
//! | `fail` | how the command itself fails: exit statuses and the one line on stderr |
//! | `guests` | the programs that come with it |
//!
//! The guest's exit status is the command's; there is no way back from [`run::run`].
#![cfg_attr(not(test), no_main)]

mod args;
mod bench;
mod demo;
mod fail;
mod find;
mod guests;
mod run;
mod stats;

use crate::args::{Cli, Command};
use crate::fail::Failure;
use clap::Parser;
use core::convert::Infallible;
use std::ffi::OsString;

#[cfg(not(test))]
lwp_machine::start!(start);

/// Does what `args` say; the exit status.
#[cfg_attr(
    test,
    expect(dead_code, reason = "the test harness has a `main` of its own")
)]
fn start(args: Vec<OsString>) -> i32 {
    let failure = if let Some(state) = run::handed_over() {
        done(run::resume(&state))
    } else {
        match Cli::try_parse_from(args) {
            Ok(cli) => match obey(cli) {
                Err(failure) => failure,
                Ok(()) => return 0,
            },
            Err(err) => match Failure::from_clap(&err) {
                Some(failure) => failure,
                None => return 0,
            },
        }
    };
    eprintln!("lwp: {failure}");
    failure.status()
}

/// Carries out the command. `lwp run` does not come back from a program that runs.
fn obey(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Run(options) => Err(done(run::run(&options))),
        Command::Demo => demo::run(),
        Command::Bench(options) => bench::run(&options),
    }
}

fn done(result: Result<Infallible, Failure>) -> Failure {
    match result {
        Err(failure) => failure,
        Ok(never) => match never {},
    }
}
