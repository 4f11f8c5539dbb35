//! The go suite: the tests of a small Go module, built for NetBSD, under `go test -exec 'lwp run'`.

use crate::esbuild::VCPUS;
use crate::project::Project;
use crate::report::Report;
use crate::run::run;
use crate::runner::Runner;
use crate::setup;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// For building the Go library once (a minute) and for the tests (a second).
const LIMIT: Duration = Duration::from_mins(10);

/// Go's own limit for the tests, so that its goroutines are shown when they hang.
const TEST_LIMIT: &str = "-timeout=60s";

/// Tests the module as NetBSD programs with 1, 2 and 8 vcpus, and as many as there are CPUs.
pub(crate) fn suite(project: &Project, report: &mut Report) {
    let Some(go) = report.need("set-up", || Go::prepare(project)) else {
        return;
    };
    let Some(lwp) = report.need("lwp builds", || project.lwp()) else {
        return;
    };
    let runner = Runner::new(lwp);
    report.check("default vcpus", || go.test(project, &runner, "go"));
    for vcpus in VCPUS {
        let name = format!("go-{vcpus}");
        report.check(format!("{vcpus} vcpus"), || {
            go.test(project, &runner.clone().vcpus(vcpus), &name)
        });
    }
}

/// The Go toolchain, fetched, and the tests that pass on Linux itself.
pub(crate) struct Go {
    go: PathBuf,
    tests: BTreeSet<String>,
}

impl Go {
    /// Fetches the toolchain and runs the module's tests natively.
    ///
    /// # Errors
    /// Those of [`setup::go`]; or a test fails on Linux, which is no fault of lwp.
    pub(crate) fn prepare(project: &Project) -> Result<Self, String> {
        let mut go = Self {
            go: setup::go(project)?,
            tests: BTreeSet::new(),
        };
        let done = run(&mut go.command(project), LIMIT, &project.log("go-linux"))?.success();
        go.tests = passed(
            &done
                .map_err(|why| format!("on Linux itself: {why}"))?
                .stdout,
        );
        if go.tests.is_empty() {
            Err("no test ran on Linux itself".to_owned())
        } else {
            Ok(go)
        }
    }

    /// Runs the module's tests as NetBSD programs under `runner`.
    ///
    /// # Errors
    /// One fails, or hangs, or did not run: `go test` itself takes a program that ends with exit
    /// status 0 and says nothing for one whose tests have passed.
    pub(crate) fn test(
        &self,
        project: &Project,
        runner: &Runner,
        name: &str,
    ) -> Result<(), String> {
        let mut go = self.command(project);
        go.env("GOOS", "netbsd").arg("-exec").arg(runner.quoted()?);
        let done = run(&mut go, LIMIT, &project.log(name))?;
        let passed = passed(&done.stdout);
        done.success()?;
        let mut missing = self.tests.difference(&passed);
        match missing.next() {
            None => Ok(()),
            Some(first) => {
                let more = missing.count();
                Err(format!(
                    "go test is content, but {first} and {more} more did not run"
                ))
            }
        }
    }

    /// `go test` with all that it writes below the target directory, and nothing fetched.
    fn command(&self, project: &Project) -> Command {
        let mut go = setup::go_command(project, &self.go);
        go.args(["test", "-v", "-count=1", TEST_LIMIT, "./..."])
            .current_dir(project.source("xtask/setup/gotest"));
        go
    }
}

/// The names in lines like `--- PASS: TestName (0.01s)`.
fn passed(verbose: &str) -> BTreeSet<String> {
    let names = verbose
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--- PASS: "));
    names
        .filter_map(|name| name.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::passed;

    #[test]
    fn only_passed_tests_are_read() {
        let verbose = "=== RUN   TestA\n--- PASS: TestA (0.01s)\n--- FAIL: TestB (1.00s)\nPASS\n";
        assert_eq!(passed(verbose).into_iter().collect::<Vec<_>>(), ["TestA"]);
    }
}
