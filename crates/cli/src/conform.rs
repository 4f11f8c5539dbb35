//! `lwp conform`: runs the guest programs that check NetBSD's LWP calls, and says of each statement in the
//! list of `lwp-conform` what came of it.
//!
//! Responsible for what a statement's verdict is. Not for running programs (`suite`) nor for how verdicts
//! look (`report`).
//!
//! # Invariants
//! 1. Each statement of the list that was asked for has a verdict; a check that said nothing has failed.
//! 2. A check that fails fails the command, whether it belongs to a statement or not.

mod report;
mod suite;

use crate::args;
use crate::fail::Failure;
use core::num::NonZeroUsize;
use lwp_conform::{Note, Shown, Statement, statements};
use std::collections::BTreeMap;
use std::time::Instant;
use suite::{Ran, Suite};

/// What came of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It was shown.
    Holds,
    /// It was shown that we do otherwise, as the list says.
    Deviates(&'static str),
    /// It is not there, as the list says.
    NotYet(&'static str),
    /// Nothing can show it from inside a guest; tests of the kernel do.
    SimOnly,
    /// It was not shown.
    Fails,
}

/// Passes that failed, and how the first and the last of them did.
#[derive(Clone, Debug, Default)]
struct Failed {
    passes: usize,
    first: String,
    last: String,
}

impl Failed {
    fn add(&mut self, why: &str) {
        if self.passes == 0 {
            why.clone_into(&mut self.first);
        }
        why.clone_into(&mut self.last);
        self.passes += 1;
    }
}

/// One statement and what all passes made of it.
struct Row {
    statement: Statement,
    failed: Failed,
}

impl Row {
    fn verdict(&self) -> Verdict {
        match self.statement.note {
            _ if self.failed.passes > 0 => Verdict::Fails,
            Note::NotYet(why) => Verdict::NotYet(why),
            Note::Deviates(why) => Verdict::Deviates(why),
            _ if self.statement.guest().is_none() => Verdict::SimOnly,
            Note::None | Note::Relaxed { .. } => Verdict::Holds,
        }
    }

    /// Looks at what its program said.
    fn judge(&mut self, ran: &Ran) {
        let Some(program) = self.statement.guest() else {
            return;
        };
        let mut said = false;
        for check in ran.checks.iter().filter(|check| check.program == program) {
            if !self.statement.has_check(&check.name) {
                continue;
            }
            said = true;
            if let Err(why) = &check.result {
                return self.failed.add(&format!("{program} {}: {why}", check.name));
            }
        }
        if !said {
            let ended = ran.ended_early.get(program).map_or("", String::as_str);
            self.failed
                .add(&format!("{program}: its check said nothing; {ended}"));
        }
    }
}

/// Everything there is to report.
struct Results {
    rows: Vec<Row>,
    /// Checks that belong to no statement: how many a pass has.
    others: usize,
    /// Those of them that failed, by program and name, and programs that broke off.
    others_failed: BTreeMap<String, Failed>,
    passes: usize,
    seconds: f64,
}

impl Results {
    fn add(&mut self, ran: &Ran) {
        for row in &mut self.rows {
            row.judge(ran);
        }
        let numbered = |name: &str| self.rows.iter().any(|row| row.statement.has_check(name));
        let others = ran.checks.iter().filter(|check| !numbered(&check.name));
        self.others = others.clone().count();
        for check in others {
            if let Err(why) = &check.result {
                let name = format!("{} {}", check.program, check.name);
                self.others_failed.entry(name).or_default().add(why);
            }
        }
        for (program, how) in &ran.ended_early {
            let failed = self.others_failed.entry(program.clone()).or_default();
            failed.add(how);
        }
        self.passes += 1;
    }

    /// How many passes failed, and how the last did, of everything that failed.
    fn all_failed(&self) -> impl Iterator<Item = (&str, &Failed)> {
        let rows = self.rows.iter().map(|row| (row.statement.id, &row.failed));
        let others = self.others_failed.iter();
        rows.chain(others.map(|(name, failed)| (name.as_str(), failed)))
            .filter(|(_, failed)| failed.passes > 0)
    }

    fn failures(&self) -> usize {
        self.all_failed().count()
    }
}

/// Runs the programs and prints the table.
///
/// # Errors
/// [`Failure::Conform`]: they cannot be run. [`Failure::NotConforming`]: something failed.
pub(crate) fn run(options: &args::Conform) -> Result<(), Failure> {
    let rows = chosen(options.filter.as_deref())?;
    let wanted: Vec<_> = rows.iter().map(|row| row.statement).collect();
    let suite = Suite::new(&wanted, options.filter.is_some(), options.vcpus);
    let suite = suite.map_err(Failure::Conform)?;
    let mut results = Results {
        rows,
        others: 0,
        others_failed: BTreeMap::new(),
        passes: 0,
        seconds: 0.0,
    };
    let start = Instant::now();
    let repeat = options.repeat.map_or(1, NonZeroUsize::get);
    for pass in 1..=repeat {
        let ran = suite.pass(pass).map_err(Failure::Conform)?;
        results.add(&ran);
        results.seconds = start.elapsed().as_secs_f64();
        if repeat > 1 {
            tell(&results, pass, repeat);
        }
    }
    if options.json {
        print!("{}", report::json(&results));
    } else {
        print!("{}", report::table(&results, options.vcpus));
    }
    match results.failures() {
        0 => Ok(()),
        count => Err(Failure::NotConforming(count)),
    }
}

/// Says on stderr how a pass went: it may be long until the table comes.
fn tell(results: &Results, pass: usize, repeat: usize) {
    let failures = results.failures();
    let seconds = results.seconds;
    eprintln!("pass {pass} of {repeat}: {failures} failed so far, {seconds:.0} s");
    for (what, failed) in results.all_failed() {
        eprintln!("    {what}: {} times, last {}", failed.passes, failed.last);
    }
}

/// The statements that a pattern means: all without one.
fn chosen(pattern: Option<&str>) -> Result<Vec<Row>, Failure> {
    let wanted = pattern.unwrap_or_default().to_lowercase();
    let matches = |each: &Statement| {
        let words = [each.id, each.call, each.text];
        words
            .iter()
            .any(|word| word.to_lowercase().contains(&wanted))
    };
    let rows: Vec<_> = statements()
        .into_iter()
        .filter(matches)
        .map(|statement| Row {
            statement,
            failed: Failed::default(),
        })
        .collect();
    if rows.is_empty() {
        return Err(Failure::Usage(format!("no statement matches '{wanted}'")));
    }
    Ok(rows)
}

/// The sim tests that show a statement.
fn sim_tests(statement: &Statement) -> impl Iterator<Item = &'static str> {
    statement.shown().filter_map(|shown| match shown {
        Shown::Sim(name) | Shown::Race(name) => Some(name),
        Shown::Guest(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::suite::Check;
    use super::*;

    fn results(pattern: &str) -> Results {
        Results {
            rows: chosen(Some(pattern)).unwrap(),
            others: 0,
            others_failed: BTreeMap::new(),
            passes: 0,
            seconds: 0.0,
        }
    }

    fn said(name: &str, result: Result<(), &str>) -> Check {
        Check {
            program: "lwp".to_owned(),
            name: name.to_owned(),
            result: result.map_err(str::to_owned),
        }
    }

    #[test]
    fn a_statement_holds_if_all_its_checks_do() {
        let mut results = results("L-023");
        results.add(&Ran {
            checks: vec![said("L-023/image", Ok(())), said("L-023/creator", Ok(()))],
            ended_early: BTreeMap::new(),
        });
        assert_eq!(results.rows[0].verdict(), Verdict::Holds);
        results.add(&Ran {
            checks: vec![
                said("L-023/image", Ok(())),
                said("L-023/creator", Err("no")),
            ],
            ended_early: BTreeMap::new(),
        });
        assert_eq!(results.rows[0].verdict(), Verdict::Fails);
        assert_eq!(results.rows[0].failed.first, "lwp L-023/creator: no");
        assert_eq!((results.passes, results.failures()), (2, 1));
    }

    #[test]
    fn silence_fails() {
        let mut results = results("L-041");
        results.add(&Ran {
            checks: vec![said("L-0411", Ok(()))],
            ended_early: BTreeMap::from([("lwp".to_owned(), "exit status 3".to_owned())]),
        });
        assert_eq!(results.rows[0].verdict(), Verdict::Fails);
        assert!(results.rows[0].failed.first.ends_with("exit status 3"));
    }

    #[test]
    fn checks_without_a_statement_count() {
        let mut results = results("L-041");
        results.add(&Ran {
            checks: vec![
                said("L-041", Ok(())),
                said("kill/errors", Ok(())),
                said("itimer/REAL", Err("late")),
            ],
            ended_early: BTreeMap::new(),
        });
        assert_eq!(results.others, 2);
        assert_eq!(results.failures(), 1);
        assert!(report::table(&results, None).contains("lwp itimer/REAL"));
    }

    #[test]
    fn what_is_not_there_is_said() {
        let results = results("core file");
        assert!(matches!(results.rows[0].verdict(), Verdict::NotYet(_)));
        assert!(report::table(&results, None).contains("not yet"));
        assert!(chosen(Some("no such statement")).is_err());
    }
}
