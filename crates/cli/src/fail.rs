//! How the command itself fails.
//!
//! One line on stderr, `lwp: what: why`, and a status that no guest's can be taken for by accident: 125
//! we failed, 126 the program cannot be run, 127 there is no such program; as env(1) has it.

use crate::install::Refused;
use lwp_chaos::schedule::NotASchedule;
use lwp_machine::Refusal as MachineRefusal;
use lwp_syscalls::exec::Refusal;
use std::ffi::{OsStr, OsString};
use std::io;

/// Why no guest runs, or what a guest has shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line.
    #[error("{0}; try 'lwp --help'")]
    Usage(String),
    /// No file of that name.
    #[error("{}: not found", shown(.0))]
    NotFound(OsString),
    /// There is a file, but it cannot be opened or may not be executed.
    #[error("{}: {why}", shown(.0), why = .1)]
    Denied(OsString, io::Error),
    /// There is a file, but we cannot execute it.
    #[error("{}: {why}", shown(.0), why = .1)]
    Refused(OsString, Refusal),
    /// The demonstration broke off.
    #[error("demo: {0}")]
    Demo(io::Error),
    /// The conformance suite cannot be run.
    #[error("conform: {0}")]
    Conform(io::Error),
    /// So many statements or checks failed.
    #[error("conform: {0} failed")]
    NotConforming(usize),
    /// So many things that no program runs without are missing.
    #[error("doctor: NetBSD programs do not run here ({0} missing)")]
    Unfit(usize),
    /// Where the runner itself lies.
    #[error("/proc/self/exe: {0}")]
    Myself(io::Error),
    /// The kernel's registry of interpreters.
    #[error("{0}")]
    Install(#[from] Refused),
    /// A guest cannot be looked at.
    #[error("{0}")]
    Ps(io::Error),
    /// `lwp top` was ended by a signal.
    #[error("ended by signal {0}")]
    Signalled(i32),
    /// Nobody takes the manual, or the script.
    #[error("standard output: {0}")]
    Manual(io::Error),
    /// A measurement could not be made or reported.
    #[error("bench: {0}")]
    Bench(io::Error),
    /// The trace cannot be written there.
    #[error("{}: {why}", shown(.0), why = .1)]
    Output(OsString, io::Error),
    /// The file is no schedule.
    #[error("{}: {why}", shown(.0), why = .1)]
    Schedule(OsString, NotASchedule),
    /// A hunt cannot go on.
    #[error("hunt: {0}")]
    Hunt(io::Error),
    /// The hunt has found something, and said so.
    #[error("the program fails")]
    Caught,
    /// Another process of ours has said what it is, and ended with this status.
    #[error("a server has ended with status {0}")]
    Told(i32),
    /// The machine cannot be set up.
    #[error("this host: {0}")]
    Machine(#[from] MachineRefusal),
}

/// A file's name on one line, whatever is in it.
fn shown(name: &OsStr) -> String {
    if name.is_empty() {
        return "''".to_owned();
    }
    let escaped = |each: char| match each {
        control if control.is_control() => control.escape_default().to_string(),
        other => other.to_string(),
    };
    name.to_string_lossy().chars().map(escaped).collect()
}

impl From<io::Error> for Failure {
    /// Nobody takes what the command has to say.
    fn from(err: io::Error) -> Self {
        Self::Manual(err)
    }
}

impl Failure {
    /// Whether there is nothing to add to what was said.
    pub(crate) fn is_told(&self) -> bool {
        matches!(self, Self::Caught | Self::Told(_))
    }

    /// The exit status.
    pub(crate) fn status(&self) -> i32 {
        match self {
            Self::NotConforming(_) | Self::Unfit(_) | Self::Caught => 1,
            Self::Usage(_)
            | Self::Demo(_)
            | Self::Bench(_)
            | Self::Conform(_)
            | Self::Myself(_)
            | Self::Install(_)
            | Self::Manual(_)
            | Self::Output(..)
            | Self::Schedule(..)
            | Self::Hunt(_)
            | Self::Ps(_)
            | Self::Machine(_) => 125,
            Self::Signalled(signo) => 128 + signo,
            Self::Told(status) => *status,
            Self::Denied(..) | Self::Refused(..) => 126,
            Self::NotFound(_) => 127,
        }
    }

    /// A complaint of the parser as one line; `None` after printing what was asked for (help, version).
    pub(crate) fn from_clap(err: &clap::Error) -> Option<Self> {
        if !err.use_stderr() {
            // The reader may have gone.
            let _ = err.print();
            return None;
        }
        let text = err.to_string();
        let first = text.split("\n\n").next().unwrap_or_default();
        let first = first.strip_prefix("error: ").unwrap_or(first);
        let line: Vec<_> = first.split_whitespace().collect();
        Some(Self::Usage(line.join(" ")))
    }
}
