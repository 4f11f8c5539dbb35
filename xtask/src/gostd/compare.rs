//! What of a package's outcome is ours to answer for, and the table of it.
//!
//! Ours are the tests and subtests that pass in the Linux build, less those that skip themselves on
//! NetBSD or are not there (other files, other subtests), less the known differences. A test that is
//! in the program and did not come to its end has failed.

use super::outcome::{Ended, Outcome};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// One package, both sides.
pub(crate) struct Compared {
    package: String,
    /// Passed on both sides.
    passed: usize,
    /// Passed on Linux, skipped themselves or absent on NetBSD.
    skipped: usize,
    /// Passed on Linux, failed or never ended on NetBSD, and not known.
    failed: Vec<String>,
    /// The same, and known.
    known: usize,
    /// Listed as known, and passed.
    repaired: Vec<String>,
    /// How the process ended, if it did not come to its end.
    broken: Option<String>,
    /// No test passed on Linux, and not because it has none that runs there.
    is_void: bool,
    netbsd: Duration,
    linux: Duration,
}

impl Compared {
    /// The first line of the table.
    pub(crate) const HEAD: &'static str = "package                              passed  failed skipped   known   netbsd    linux  ratio";

    /// Compares `ours` with `theirs`.
    pub(crate) fn new(package: &str, ours: &Outcome, theirs: &Outcome, known: &[String]) -> Self {
        let has_twin = !theirs.listed.is_empty();
        let expected: BTreeSet<String> = if has_twin {
            let passed = theirs
                .tests
                .iter()
                .filter(|&(_, &ended)| ended == Ended::Passed);
            passed.map(|(name, _)| name.clone()).collect()
        } else {
            ours.listed
                .iter()
                .chain(ours.tests.keys())
                .cloned()
                .collect()
        };
        let mut compared = Self {
            package: package.to_owned(),
            passed: 0,
            skipped: 0,
            failed: Vec::new(),
            known: 0,
            repaired: Vec::new(),
            broken: (!ours.is_whole()).then(|| ours.ending.clone()),
            is_void: expected.is_empty() && !(theirs.is_whole() && theirs.ran_all()),
            netbsd: ours.took,
            linux: theirs.took,
        };
        for name in expected {
            compared.count(name, ours, known);
        }
        compared
    }

    fn count(&mut self, name: String, ours: &Outcome, known: &[String]) {
        let is_known =
            known.iter().any(|known| is_within(&name, known)) || only_known(&name, ours, known);
        match ours.tests.get(&name) {
            Some(Ended::Passed) => {
                self.passed += 1;
                if known.contains(&name) {
                    self.repaired.push(name);
                }
            }
            Some(Ended::Skipped) => self.skipped += 1,
            None if is_absent(&name, ours) => self.skipped += 1,
            Some(Ended::Failed) | None if is_known => self.known += 1,
            Some(Ended::Failed) => self.failed.push(name),
            None => self.failed.push(format!("{name} (did not end)")),
        }
    }

    /// Whether lwp ran all of it as it should.
    ///
    /// # Errors
    /// What failed, in words.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        let mut faults = Vec::new();
        faults.extend(self.broken.iter().cloned());
        if !self.failed.is_empty() {
            faults.push(format!(
                "{} failed: {}",
                self.failed.len(),
                self.failed.join(" ")
            ));
        }
        if !self.repaired.is_empty() {
            faults.push(format!("known, but passed: {}", self.repaired.join(" ")));
        }
        if self.is_void {
            faults.push("no test ran on Linux".to_owned());
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults.join("; "))
        }
    }
}

/// Whether `name` is the test `of`, or a subtest of it.
fn is_within(name: &str, of: &str) -> bool {
    name.strip_prefix(of)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a test failed only because subtests did whose failure is known.
fn only_known(name: &str, ours: &Outcome, known: &[String]) -> bool {
    let mut below = ours
        .tests
        .iter()
        .filter(|&(sub, &ended)| ended == Ended::Failed && sub != name && is_within(sub, name))
        .peekable();
    // A subtest that itself has subtests is judged by those.
    below.peek().is_some()
        && below.all(|(sub, _)| {
            known.iter().any(|known| is_within(sub, known)) || only_known(sub, ours, known)
        })
}

/// Whether the NetBSD build does not have this test, or did not make this subtest.
fn is_absent(name: &str, ours: &Outcome) -> bool {
    match name.split_once('/') {
        None => !ours.listed.contains(name),
        Some((test, _)) => match ours.tests.get(test) {
            Some(Ended::Passed | Ended::Skipped) => true,
            Some(Ended::Failed) => false,
            None => !ours.listed.contains(test),
        },
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (netbsd, linux) = (self.netbsd.as_secs_f64(), self.linux.as_secs_f64());
        let Self {
            package,
            passed,
            skipped,
            known,
            ..
        } = self;
        let failed = self.failed.len();
        write!(
            f,
            "{package:36} {passed:6} {failed:7} {skipped:7} {known:7} {netbsd:7.2}s {linux:7.2}s"
        )?;
        if linux > 0.0 {
            write!(f, " {:6.2}", netbsd / linux)?;
        }
        let broken = self.broken.iter().map(String::as_str);
        for fault in broken.chain(self.failed.iter().map(String::as_str)) {
            write!(f, "\n    FAIL {fault}")?;
        }
        for name in &self.repaired {
            write!(f, "\n    known, but passed: {name}")?;
        }
        Ok(())
    }
}

/// The sums of a run.
#[derive(Default)]
pub(crate) struct Totals {
    packages: usize,
    passed: usize,
    failed: usize,
    skipped: usize,
    known: usize,
    unwell: Vec<String>,
    netbsd: Duration,
    linux: Duration,
}

impl Totals {
    /// Adds one package.
    pub(crate) fn add(&mut self, one: &Compared) {
        self.packages += 1;
        self.passed += one.passed;
        self.failed += one.failed.len();
        self.skipped += one.skipped;
        self.known += one.known;
        if one.linux > Duration::ZERO {
            self.netbsd += one.netbsd;
            self.linux += one.linux;
        }
        if one.verdict().is_err() {
            self.unwell.push(one.package.clone());
        }
    }

    /// Adds a package that could not be built or started.
    pub(crate) fn broken(&mut self, package: &str) {
        self.packages += 1;
        self.unwell.push(package.to_owned());
    }

    /// Whether nothing failed.
    pub(crate) fn is_well(&self) -> bool {
        self.unwell.is_empty()
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ours = self.passed + self.failed;
        let (netbsd, linux) = (self.netbsd.as_secs_f64(), self.linux.as_secs_f64());
        let Self {
            packages,
            passed,
            skipped,
            known,
            ..
        } = self;
        // Rounded down: 100 % is said of all and of nothing less.
        let tenths = passed * 1000 / ours.max(1);
        writeln!(
            f,
            "{packages} packages, {passed} of {ours} tests ({}.{} %), {skipped} skipped, {known} known",
            tenths / 10,
            tenths % 10
        )?;
        write!(
            f,
            "{netbsd:.1} s, Linux {linux:.1} s, ratio {:.2}",
            netbsd / linux.max(0.001)
        )?;
        if !self.unwell.is_empty() {
            write!(f, "\nnot well: {}", self.unwell.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(ending: &str, listed: &[&str], tests: &[(&str, Ended)]) -> Outcome {
        Outcome {
            ending: ending.to_owned(),
            took: Duration::from_secs(1),
            tests: tests
                .iter()
                .map(|&(name, ended)| (name.to_owned(), ended))
                .collect(),
            listed: listed.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    fn compared(ours: &Outcome, theirs: &Outcome, known: &[&str]) -> Compared {
        let known: Vec<_> = known.iter().map(|&name| name.to_owned()).collect();
        Compared::new("p", ours, theirs, &known)
    }

    #[test]
    fn only_what_passes_on_linux_and_is_there_is_ours() {
        use Ended::{Failed, Passed, Skipped};
        let theirs = [
            ("A", Passed),
            ("A/l", Passed),
            ("B", Failed),
            ("C", Passed),
            ("D", Passed),
        ];
        let theirs = outcome("exit status 1", &["A", "B", "C", "D"], &theirs);
        let ours = outcome(
            "exit status 1",
            &["A", "B", "C"],
            &[("A", Passed), ("B", Failed), ("C", Skipped)],
        );
        let compared = compared(&ours, &theirs, &[]);
        assert_eq!(
            (compared.passed, compared.skipped, compared.failed.len()),
            (1, 3, 0)
        );
        assert_eq!(compared.verdict(), Ok(()));
    }

    #[test]
    fn a_test_that_never_ended_has_failed_with_its_subtests() {
        use Ended::Passed;
        let theirs = outcome("exit status 0", &["A"], &[("A", Passed), ("A/x", Passed)]);
        let ours = outcome("killed by signal 11", &["A"], &[]);
        let compared = compared(&ours, &theirs, &[]);
        assert_eq!(compared.failed, ["A (did not end)", "A/x (did not end)"]);
        assert!(
            compared
                .verdict()
                .unwrap_err()
                .starts_with("killed by signal 11; 2 failed")
        );
    }

    #[test]
    fn a_known_subtest_excuses_its_parent_and_nothing_else() {
        use Ended::{Failed, Passed};
        let tests = ["A", "A/x", "A/y"];
        let theirs = outcome("exit status 0", &["A"], &tests.map(|name| (name, Passed)));
        let ours = |y| {
            outcome(
                "exit status 1",
                &["A"],
                &[("A", Failed), ("A/x", Failed), ("A/y", y)],
            )
        };
        let one = compared(&ours(Passed), &theirs, &["A/x"]);
        assert_eq!((one.known, one.failed.len()), (2, 0));
        let two = compared(&ours(Failed), &theirs, &["A/x"]);
        assert_eq!(
            (two.known, two.failed),
            (1, vec!["A".to_owned(), "A/y".to_owned()])
        );
    }

    #[test]
    fn a_package_where_nothing_can_pass_is_well_if_it_ran() {
        use Ended::Skipped;
        let skipped = outcome("exit status 0", &["A"], &[("A", Skipped)]);
        let none = outcome("exit status 0", &[], &[]);
        for one in [skipped, none] {
            assert_eq!(compared(&one, &one, &[]).verdict(), Ok(()));
        }
        let silent = outcome("exit status 0", &["A"], &[]);
        let died = outcome("killed by signal 9", &[], &[]);
        let ours = outcome("exit status 0", &[], &[]);
        for theirs in [silent, died] {
            assert!(compared(&ours, &theirs, &[]).verdict().is_err());
        }
    }

    #[test]
    fn a_known_difference_that_passes_is_to_be_struck_out() {
        let theirs = outcome("exit status 0", &["A"], &[("A", Ended::Passed)]);
        assert!(compared(&theirs, &theirs, &["A"]).verdict().is_err());
    }
}
