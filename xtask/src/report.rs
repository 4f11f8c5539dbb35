//! What has passed and what has failed, as lines for people and two numbers at the end.

use std::fmt::Display;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The results so far. Every check is said as soon as it is known, and failures again at the end.
#[derive(Default)]
pub(crate) struct Report {
    suite: &'static str,
    passed: usize,
    failed: usize,
    failures: Vec<String>,
}

impl Report {
    /// Starts the suite called `suite`: what follows is its.
    pub(crate) fn begin(&mut self, suite: &'static str, about: &str) {
        self.suite = suite;
        println!("\n== {suite}: {about}");
    }

    /// Performs one check, times it and counts its outcome.
    pub(crate) fn check(&mut self, name: impl Display, check: impl FnOnce() -> Result<(), String>) {
        let start = Instant::now();
        let outcome = check();
        self.say(&name, outcome, start.elapsed());
    }

    /// Performs a step that others need; `None` means that it failed and is counted.
    ///
    /// A step that works is not a test and counts nothing.
    pub(crate) fn need<T>(
        &mut self,
        name: impl Display,
        step: impl FnOnce() -> Result<T, String>,
    ) -> Option<T> {
        let start = Instant::now();
        match step() {
            Ok(made) => Some(made),
            Err(why) => {
                self.say(&name, Err(why), start.elapsed());
                None
            }
        }
    }

    /// Adds the counts of tests that reported for themselves.
    pub(crate) fn add(&mut self, name: impl Display, passed: usize, failed: usize) {
        self.passed += passed;
        self.failed += failed;
        if failed > 0 {
            self.failures
                .push(format!("{}/{name}: {failed} failed, see above", self.suite));
        }
    }

    /// Counts the outcome of a check that was made elsewhere.
    pub(crate) fn say(&mut self, name: &dyn Display, outcome: Result<(), String>, took: Duration) {
        let Self { suite, .. } = *self;
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("ok   {suite}/{name} ({:.2} s)", took.as_secs_f64());
            }
            Err(why) => {
                self.failed += 1;
                println!("FAIL {suite}/{name} ({:.2} s): {why}", took.as_secs_f64());
                let why = why.lines().next().unwrap_or_default();
                self.failures.push(format!("{suite}/{name}: {why}"));
            }
        }
    }

    /// Says the end: all failures again, in short, then the numbers alone on a line.
    pub(crate) fn finish(self) -> ExitCode {
        println!();
        for failure in &self.failures {
            println!("FAIL {failure}");
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        // Nothing passed means that nothing ran: that is no success either.
        if self.failed == 0 && self.passed > 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_tests_is_a_failure() {
        let mut report = Report::default();
        assert!(report.need("step", || Ok(())).is_some());
        assert_eq!(report.finish(), ExitCode::FAILURE);
    }

    #[test]
    fn one_failure_among_many_fails_the_run() {
        let mut report = Report::default();
        report.add("many", 100, 0);
        report.check("one", || Err("why".to_owned()));
        assert_eq!((report.passed, report.failed), (100, 1));
        assert_eq!(report.finish(), ExitCode::FAILURE);
    }

    #[test]
    fn only_passes_are_a_success() {
        let mut report = Report::default();
        report.check("one", || Ok(()));
        assert_eq!(report.finish(), ExitCode::SUCCESS);
    }
}
