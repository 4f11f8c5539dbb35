//! How the tests of one package ended in one of the builds, and the file that keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// How one test or subtest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Passed,
    Failed,
    Skipped,
}

impl Ended {
    const ALL: [(Self, &'static str); 3] = [
        (Self::Passed, "PASS"),
        (Self::Failed, "FAIL"),
        (Self::Skipped, "SKIP"),
    ];

    fn word(self) -> &'static str {
        let [passed, failed, skipped] = Self::ALL.map(|(_, word)| word);
        match self {
            Self::Passed => passed,
            Self::Failed => failed,
            Self::Skipped => skipped,
        }
    }

    fn read(word: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|&&(_, name)| name == word)
            .map(|&(ended, _)| ended)
    }
}

/// The events of one run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// How the process ended, in words.
    pub(crate) ending: String,
    /// From its start to its end, in milliseconds.
    pub(crate) took: Duration,
    /// Tests and subtests by name.
    pub(crate) tests: BTreeMap<String, Ended>,
    /// The tests in the program, without subtests.
    pub(crate) listed: BTreeSet<String>,
}

impl Outcome {
    /// The outcome of a package that has no tests for this system.
    pub(crate) fn without_tests() -> Self {
        Self {
            ending: "no tests".to_owned(),
            took: Duration::ZERO,
            tests: BTreeMap::new(),
            listed: BTreeSet::new(),
        }
    }

    /// Reads what a test program printed with `-test.v=test2json`.
    ///
    /// The framing lines of the testing package begin with a SYN, wherever on the line that is: a
    /// test may have printed half a line before.
    pub(crate) fn of(said: &str, ending: String, took: Duration, listed: Vec<String>) -> Self {
        let framed = said.lines().flat_map(|line| line.split('\x16').skip(1));
        Self {
            ending,
            took: Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            tests: framed.filter_map(event).collect(),
            listed: listed.into_iter().collect(),
        }
    }

    /// Whether the process ended by itself with exit status 0 or 1: it ran all its tests.
    pub(crate) fn is_whole(&self) -> bool {
        ["exit status 0", "exit status 1", "no tests"].contains(&self.ending.as_str())
    }

    /// Whether all tests that the program holds came to their end.
    pub(crate) fn ran_all(&self) -> bool {
        self.listed.iter().all(|test| self.tests.contains_key(test))
    }

    /// Reads what [`fmt::Display`] has written.
    pub(crate) fn read(kept: &str) -> Option<Self> {
        let mut outcome = Self::without_tests();
        for line in kept.lines() {
            let (word, rest) = line.split_once('\t')?;
            match word {
                "ending" => rest.clone_into(&mut outcome.ending),
                "ms" => outcome.took = Duration::from_millis(rest.parse().ok()?),
                "listed" => drop(outcome.listed.insert(rest.to_owned())),
                _ => drop(outcome.tests.insert(rest.to_owned(), Ended::read(word)?)),
            }
        }
        Some(outcome)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ending\t{}", self.ending)?;
        writeln!(f, "ms\t{}", self.took.as_millis())?;
        for name in &self.listed {
            writeln!(f, "listed\t{name}")?;
        }
        for (name, ended) in &self.tests {
            writeln!(f, "{}\t{name}", ended.word())?;
        }
        Ok(())
    }
}

/// The test that a line like `    --- PASS: TestName/sub (0.01s)` is about.
fn event(line: &str) -> Option<(String, Ended)> {
    let (word, rest) = line.trim_start().strip_prefix("--- ")?.split_once(": ")?;
    let name = rest.rsplit_once(" (").map_or(rest, |(name, _)| name);
    Some((name.to_owned(), Ended::read(word)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(said: &str) -> Outcome {
        Outcome::of(
            said,
            "exit status 1".to_owned(),
            Duration::from_millis(7),
            vec!["TestA".to_owned()],
        )
    }

    #[test]
    fn framed_lines_are_events_and_others_are_not() {
        let said = "\x16=== RUN   TestA\n--- FAIL: TestLie (0.00s)\nhalf a line\x16--- PASS: TestA (0.01s)\n\
                    \x16    --- SKIP: TestA/b_(c) (0.00s)\n\x16--- FAIL: TestD (1.00s)\nFAIL\n";
        let events: Vec<_> = outcome(said).tests.into_iter().collect();
        let expected = [
            ("TestA", Ended::Passed),
            ("TestA/b_(c)", Ended::Skipped),
            ("TestD", Ended::Failed),
        ];
        assert_eq!(
            events,
            expected.map(|(name, ended)| (name.to_owned(), ended))
        );
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let outcome = outcome("\x16--- PASS: TestA (0.01s)\n\x16--- FAIL: TestB (0.01s)\n");
        assert_eq!(Outcome::read(&outcome.to_string()), Some(outcome));
        assert_eq!(Outcome::read("nonsense"), None);
    }
}
