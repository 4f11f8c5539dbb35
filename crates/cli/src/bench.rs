//! `lwp bench`: what LWPs cost, beside what people would use instead, in one run.
//!
//! Responsible for the order of measuring: in each round every row is measured once under lwp and once
//! by each peer, one right after the other, so that a noisy machine hurts both. The middle of the
//! rounds counts; the ratio stands first. `lwp demo` shows some of the same rows.
//!
//! | file | what |
//! |---|---|
//! | `rows` | what is compared with what, and the goals |
//! | `ours` | measuring under lwp: guest programs, as processes of their own |
//! | `peers`, `threads` | what Linux does instead: programs; threads and futexes |
//! | `report`, `svg` | the table, JSON, the picture |

mod ours;
mod peers;
mod report;
mod rows;
mod svg;
mod threads;

use crate::args;
use crate::fail::Failure;
use ours::Guests;
use peers::Peers;
use report::{Entry, Sample};
use rows::Trial;
use std::fs;
use std::io::{self, Write};

pub(crate) use rows::DEMO;

/// One row's values under lwp and by each peer, one per round; or why there are none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    taken: Vec<f64>,
    missing: Option<String>,
}

/// Costs by name, as a guest or a peer reports them.
pub(crate) type Costs = Vec<(String, f64)>;

/// Measures and reports as `options` say.
///
/// # Errors
/// [`Failure::Bench`].
pub(crate) fn run(options: &args::Bench) -> Result<(), Failure> {
    let pattern = options.rows.as_deref().unwrap_or_default();
    let trials = rows::trials(options.effort, pattern);
    if trials.is_empty() {
        let why = format!("no row is called {pattern:?}");
        return Err(Failure::Bench(io::Error::other(why)));
    }
    let peers = Peers::new(options.esbuild.clone());
    let entries = measure(&trials, options.rounds.get(), &peers).map_err(Failure::Bench)?;
    let entries: Vec<_> = entries
        .into_iter()
        .filter(|entry| entry.row.contains(pattern))
        .collect();
    if let Some(path) = &options.svg {
        fs::write(path, svg::picture(&entries)).map_err(Failure::Bench)?;
    }
    let text = if options.json {
        report::json(&entries)
    } else {
        report::table(&entries)
    };
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(Failure::Bench)
}

/// Measures some rows in a hurry, for `lwp demo`: the table.
///
/// # Errors
/// The guest programs cannot be started.
pub(crate) fn glance(names: &[&str]) -> io::Result<String> {
    let mut trials = rows::trials(GLANCE, "");
    trials.retain(|trial| names.contains(&trial.guest));
    for trial in &mut trials {
        trial.peers = &trial.peers[..1];
    }
    let entries = measure(&trials, 3, &Peers::new(None))?;
    let shown: Vec<_> = entries
        .into_iter()
        .filter(|entry| entry.missing.is_none())
        .collect();
    Ok(report::short_table(&shown))
}

/// How hard `lwp demo` tries, in per cent.
const GLANCE: u32 = 10;

/// Measures `trials`, all of them in each round.
fn measure(trials: &[Trial], rounds: u32, peers: &Peers) -> io::Result<Vec<Entry>> {
    let guests = Guests::new()?;
    let mut ours: Vec<Vec<Values>> = trials.iter().map(|trial| blank(trial, 1)).collect();
    let mut theirs: Vec<Vec<Values>> = trials
        .iter()
        .map(|trial| blank(trial, trial.peers.len()))
        .collect();
    for round in 1..=rounds {
        for (at, trial) in trials.iter().enumerate() {
            progress(&format!(
                "round {round} of {rounds}: {}",
                trial.rows[0].name
            ));
            note(trial, &mut ours[at], &guests.measure(trial, peers));
            for (i, &peer) in trial.peers.iter().enumerate() {
                let rows = trial.rows.len();
                let into = &mut theirs[at][i * rows..(i + 1) * rows];
                note(trial, into, &peers.measure(peer, trial, &guests));
            }
        }
    }
    progress("");
    Ok(entries(trials, &ours, &theirs))
}

/// No values yet: one set per row, `times` over.
fn blank(trial: &Trial, times: usize) -> Vec<Values> {
    vec![Values::default(); trial.rows.len() * times]
}

/// Puts what was measured to the rows it belongs to.
fn note(trial: &Trial, into: &mut [Values], measured: &Result<Costs, String>) {
    for (row, values) in trial.rows.iter().zip(into) {
        let found = measured.as_ref().map_err(Clone::clone).and_then(|costs| {
            let found = costs.iter().find(|(name, _)| name == row.cost);
            found.ok_or_else(|| "it reported nothing".to_owned())
        });
        match found {
            Ok((_, value)) => values.taken.push(*value),
            Err(why) => values.missing = Some(why),
        }
    }
}

/// Puts ours and theirs beside each other.
fn entries(trials: &[Trial], ours: &[Vec<Values>], theirs: &[Vec<Values>]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (at, trial) in trials.iter().enumerate() {
        for (i, row) in trial.rows.iter().enumerate() {
            let base = || base_of(trials, ours, trial, row.cost);
            for (p, &peer) in trial.peers.iter().enumerate() {
                let their = if peer == peers::Peer::Itself {
                    base().unwrap_or_default()
                } else {
                    theirs[at][p * trial.rows.len() + i].clone()
                };
                let goal = if p == 0 { row.goal } else { rows::Goal::None };
                entries.push(Entry::new(trial, row, &ours[at][i], peer, &their, goal));
            }
        }
    }
    entries
}

/// The values of the same row with as many LWPs as a curve is compared with.
fn base_of(trials: &[Trial], ours: &[Vec<Values>], trial: &Trial, cost: &str) -> Option<Values> {
    let at = trials
        .iter()
        .position(|each| each.guest == trial.guest && each.count == rows::CURVE_BASE)?;
    let row = trials[at].rows.iter().position(|row| row.cost == cost)?;
    Some(ours[at][row].clone())
}

impl Values {
    fn sample(&self) -> Option<Sample> {
        Sample::of(&self.taken)
    }
}

/// Says on a terminal what is being measured.
fn progress(what: &str) {
    if rustix::termios::isatty(io::stderr()) {
        eprint!("\r\x1b[K{what}");
    }
}
