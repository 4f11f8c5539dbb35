//! The suites that are cargo's own: format, lints, documents, and the tests of the crates.

use crate::project::Project;
use crate::report::Report;
use crate::run::{cannot_run, ending, show};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// `cargo fmt --check` in both workspaces.
pub(crate) fn fmt(project: &Project, report: &mut Report) {
    report.check("workspace", || {
        show(project.cargo().args(["fmt", "--all", "--check"]))
    });
    report.check("guests", || {
        show(project.guests_cargo().args(["fmt", "--all", "--check"]))
    });
}

/// Clippy without warnings in both workspaces.
pub(crate) fn clippy(project: &Project, report: &mut Report) {
    let lint = |mut cargo: Command, targets: &str| {
        show(cargo.args(["clippy", "--workspace", targets, "--", "-D", "warnings"]))
    };
    report.check("workspace", || lint(project.cargo(), "--all-targets"));
    // Not all targets: a guest has no test harness, it is the test.
    report.check("guests", || lint(project.guests_cargo(), "--bins"));
}

/// The documentation, private items too, without warnings.
pub(crate) fn doc(project: &Project, report: &mut Report) {
    let mut cargo = project.cargo();
    cargo.args([
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ]);
    report.check("workspace", || {
        show(cargo.env("RUSTDOCFLAGS", "-Dwarnings"))
    });
}

/// The tests of all crates.
pub(crate) fn unit(project: &Project, report: &mut Report) {
    let mut cargo = project.cargo();
    // The sim's seeds are many: they have a suite of their own, optimised.
    count(
        report,
        "cargo test",
        cargo.args(["test", "--workspace", "--exclude=lwp-sim"]),
    );
}

/// The kernel on the sim machine, optimised: thousands of seeds in seconds.
pub(crate) fn sim(project: &Project, report: &mut Report) {
    let mut cargo = project.cargo();
    count(
        report,
        "cargo test",
        cargo.args(["test", "--release", "--package=lwp-sim"]),
    );
}

/// The racy paths: shuttle decides every switch between host threads.
pub(crate) fn races(project: &Project, report: &mut Report) {
    let mut cargo = project.cargo();
    cargo.args([
        "test",
        "--release",
        "--package=lwp-sim",
        "--features=shuttle",
        "--test=races",
    ]);
    count(report, "cargo test", &mut cargo);
}

/// Runs a `cargo test` in front of the user and adds its tests to the report.
fn count(report: &mut Report, name: &str, cargo: &mut Command) {
    let mut counts = Counts::default();
    let outcome = tell(cargo.arg("--no-fail-fast"), |line| counts.read(line));
    report.add(name, counts.passed, counts.failed);
    // Failed tests are counted already; what remains is a build that failed, or a crash.
    report.need(name, || match outcome {
        Err(why) if counts.failed == 0 => Err(why),
        _ if counts.passed + counts.failed == 0 => Err("it ran no test at all".to_owned()),
        _ => Ok(()),
    });
}

/// Runs `command`, gives each line of its standard output to `read` and then to the user.
fn tell(command: &mut Command, mut read: impl FnMut(&str)) -> Result<(), String> {
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = started.map_err(|why| cannot_run(command, &why))?;
    let output = child.stdout.take().expect("it is piped");
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        read(&line);
        println!("{line}");
    }
    let status = child.wait().map_err(|why| format!("wait: {why}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{}, see above", ending(status)))
    }
}

/// How many tests passed and failed, by the last line of each test binary.
#[derive(Default)]
struct Counts {
    passed: usize,
    failed: usize,
}

impl Counts {
    /// Reads `test result: ok. 5 passed; 0 failed; 0 ignored; ...`; other lines say nothing.
    fn read(&mut self, line: &str) {
        let Some(result) = line.trim_start().strip_prefix("test result: ") else {
            return;
        };
        let words: Vec<_> = result.split([' ', ';']).collect();
        let before = |word| {
            let at = words.iter().position(|found| *found == word)?;
            words.get(at.checked_sub(1)?)?.parse::<usize>().ok()
        };
        self.passed += before("passed").unwrap_or(0);
        self.failed += before("failed").unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn results_of_test_binaries_add_up() {
        let mut counts = Counts::default();
        counts.read("test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out");
        counts.read("test result: FAILED. 11 passed; 2 failed; 0 ignored; finished in 0.00s");
        counts.read("test passed: 7 passed");
        assert_eq!((counts.passed, counts.failed), (16, 2));
    }
}
