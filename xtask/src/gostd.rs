//! Go's own standard-library tests, built for NetBSD and for Linux and run on the same machine.
//!
//! Responsible for building the test programs once (they are kept with what was fetched), for running
//! both builds with the same flags, and for the table that compares them. What a result says is in
//! `outcome`, what counts as ours in `compare`, the excused differences in `known`.
//!
//! # Invariants
//! 1. Both builds run in the package's own directory, with the same environment except `GOOS`, one
//!    after the other, and nothing else of ours beside them.
//! 2. The kept result of a package is replaced only by a whole one.
//!
//! Sources: `go help test`, `go help testflag`; the format of `-test.v=test2json` is what
//! `cmd/internal/test2json` reads.

mod compare;
mod known;
mod outcome;

use crate::project::Project;
use crate::report::Report;
use crate::run::{ending, run};
use crate::runner::Runner;
use crate::setup;
use clap::Args;
use compare::{Compared, Totals};
use known::Known;
use outcome::Outcome;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Building one test program, with its part of the library.
const BUILD_LIMIT: Duration = Duration::from_mins(20);
/// What a package may take beyond Go's own limit, at which it shows its goroutines and ends.
const GRACE: Duration = Duration::from_secs(30);

/// The packages of the suite: what touches the kernel in many ways, and some that only compute.
const CI: &[&str] = &[
    "runtime/debug",
    "sync",
    "sync/atomic",
    "os",
    "os/exec",
    "os/signal",
    "os/user",
    "io",
    "io/fs",
    "net",
    "net/http",
    "time",
    "syscall",
    "path/filepath",
    "bufio",
    "compress/bzip2",
    "compress/flate",
    "compress/gzip",
    "compress/lzw",
    "compress/zlib",
    "context",
    "crypto/rand",
    "crypto/tls",
    "encoding/json",
    "go/parser",
    "internal/poll",
    "log",
    "runtime",
];

/// Tests that have nohup(1) start their own program, which takes `lwp install`.
const INSTALLED: (&str, &str) = ("os/signal", "^(TestDetectNohup|TestNohup)$");

/// Installs lwp in a registry of its own and goes on: `$1` is lwp, the rest is the command.
const INSTALL: &str = "mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc && \"$1\" install >&2 \
                       && shift && exec \"$@\"";

/// What `cargo xtask go-std` takes.
#[expect(
    clippy::struct_excessive_bools,
    reason = "flags of a command line are bools"
)]
#[derive(Args)]
pub(crate) struct Options {
    /// Packages to run; all of `std` that have tests, if none is named.
    packages: Vec<String>,
    /// Runs the long tests too: without `-short`.
    #[arg(long)]
    long: bool,
    /// Leaves out packages whose results are kept from an earlier, interrupted run.
    #[arg(long)]
    resume: bool,
    /// Takes the results of the Linux build from an earlier run, where there are any.
    #[arg(long)]
    linux_kept: bool,
    /// Only the tests that this pattern names, as `go test -run` reads it; keeps no result.
    #[arg(long, value_name = "PATTERN")]
    run: Option<String>,
    /// Runs the tests as this user, by number: needs root and setpriv.
    #[arg(long, value_name = "UID")]
    user: Option<u32>,
    /// Go's own time limit for one package, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Prints the packages of the CI suite and runs those.
    #[arg(long)]
    ci: bool,
}

/// The two builds of a package.
#[derive(Clone, Copy, PartialEq, Eq)]
enum System {
    Netbsd,
    Linux,
}

impl System {
    fn name(self) -> &'static str {
        match self {
            Self::Netbsd => "netbsd",
            Self::Linux => "linux",
        }
    }
}

/// The go-std suite: the packages of `CI`, short.
pub(crate) fn suite(project: &Project, report: &mut Report) {
    let options = Options {
        packages: CI.iter().map(|&package| package.to_owned()).collect(),
        long: false,
        resume: false,
        linux_kept: false,
        run: None,
        user: None,
        timeout: 240,
        ci: true,
    };
    let Some(bench) = report.need("set-up", || Bench::prepare(project, &options)) else {
        return;
    };
    let mut totals = Totals::default();
    for package in &options.packages {
        report.check(package, || {
            let compared = bench.package(package)?;
            totals.add(&compared);
            compared.verdict()
        });
    }
    println!("{totals}");
}

/// `cargo xtask go-std`: runs packages and prints the table. Says whether all is well.
///
/// # Errors
/// Nothing can be run at all.
pub(crate) fn task(project: &Project, mut options: Options) -> Result<bool, String> {
    if options.ci {
        options.packages = CI.iter().map(|&package| package.to_owned()).collect();
    }
    let bench = Bench::prepare(project, &options)?;
    let packages = if options.packages.is_empty() {
        bench.packages()?
    } else {
        options.packages.clone()
    };
    println!("{}", Compared::HEAD);
    let mut totals = Totals::default();
    for package in &packages {
        match bench.package(package) {
            Ok(compared) => {
                println!("{compared}");
                totals.add(&compared);
            }
            Err(why) => {
                println!("{package}: {why}");
                totals.broken(package);
            }
        }
    }
    println!("\n{totals}");
    Ok(totals.is_well())
}

/// Everything that running a package takes.
struct Bench<'p> {
    project: &'p Project,
    options: &'p Options,
    go: PathBuf,
    runner: Runner,
    known: Known,
    /// How a command is run where lwp is installed, if this host lets us have that for ourselves.
    installed: Option<Vec<OsString>>,
}

impl<'p> Bench<'p> {
    fn prepare(project: &'p Project, options: &'p Options) -> Result<Self, String> {
        let go = setup::go(project)?;
        setup::go_std(project)?;
        let lwp = project.lwp()?;
        Self {
            project,
            options,
            go,
            installed: installed(project, &lwp),
            runner: Runner::new(lwp),
            known: Known::read(&project.source("xtask/setup/go-std.known"))?,
        }
        .with_wrapper()
    }

    /// Writes the program by which `go run` starts what it has built for another system: it looks for
    /// this name in `PATH`.
    ///
    /// Source: `go help run`.
    fn with_wrapper(self) -> Result<Self, String> {
        let directory = self.wrapper();
        let path = directory.join("go_netbsd_amd64_exec");
        let failed = |why: std::io::Error| format!("{}: {why}", path.display());
        let script = format!("#!/bin/sh\nexec {} \"$@\"\n", self.runner.quoted()?);
        fs::create_dir_all(&directory).map_err(failed)?;
        fs::write(&path, script).map_err(failed)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(failed)?;
        Ok(self)
    }

    fn wrapper(&self) -> PathBuf {
        self.project.target("go-std/bin")
    }

    /// All packages of the library that have tests for NetBSD.
    fn packages(&self) -> Result<Vec<String>, String> {
        let with_tests = "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}";
        let mut list = setup::go_command(self.project, &self.go);
        list.args(["list", "-f", with_tests, "std"])
            .env("GOOS", System::Netbsd.name());
        let listed = run(&mut list, BUILD_LIMIT, &self.project.log("go-std-list"))?.success()?;
        Ok(listed.stdout.lines().map(str::to_owned).collect())
    }

    /// Builds and runs one package on both sides, unless it is to be taken from what is kept.
    fn package(&self, package: &str) -> Result<Compared, String> {
        let known = self.known.of(package);
        if self.options.resume
            && let (Some(ours), Some(theirs)) = (
                self.kept(System::Netbsd, package),
                self.kept(System::Linux, package),
            )
        {
            return Ok(Compared::new(package, &ours, &theirs, known));
        }
        let theirs = self
            .options
            .linux_kept
            .then(|| self.kept(System::Linux, package));
        let theirs = match theirs.flatten() {
            Some(kept) => kept,
            None => self.run(System::Linux, package)?,
        };
        let ours = self.run(System::Netbsd, package)?;
        Ok(Compared::new(package, &ours, &theirs, known))
    }

    /// The result of an earlier run.
    fn kept(&self, system: System, package: &str) -> Option<Outcome> {
        Outcome::read(&fs::read_to_string(self.result(system, package)).ok()?)
    }

    /// Where the result of `package` is kept.
    fn result(&self, system: System, package: &str) -> PathBuf {
        let length = if self.options.long { "long" } else { "short" };
        let user = match self.options.user {
            Some(uid) => format!("-{uid}"),
            None => String::new(),
        };
        let name = format!("go-std/{length}{user}/{}/{package}.tsv", system.name());
        self.project.target(&name)
    }

    /// Runs the tests of `package` in one of the builds.
    fn run(&self, system: System, package: &str) -> Result<Outcome, String> {
        let Some(program) = self.build(system, package)? else {
            return Ok(Outcome::without_tests());
        };
        let listed = self.list(system, package, &program)?;
        let mut tests = self.command(system, package, &program);
        tests.args(["-test.v=test2json", "-test.paniconexit0", "-test.count=1"]);
        tests.arg(format!("-test.timeout={}s", self.options.timeout));
        if !self.options.long {
            tests.arg("-test.short");
        }
        if let Some(pattern) = &self.options.run {
            tests.arg(format!("-test.run={pattern}"));
        }
        if package == INSTALLED.0 && self.installed.is_none() {
            println!(
                "{package}: without {}: no binfmt_misc of our own here",
                INSTALLED.1
            );
            tests.arg(format!("-test.skip={}", INSTALLED.1));
        }
        let log = self.log(system, package);
        let limit = Duration::from_secs(self.options.timeout) + GRACE;
        let start = Instant::now();
        let done = run(&mut tests, limit, &log);
        let took = start.elapsed();
        let outcome = match done {
            Ok(done) => Outcome::of(&done.stdout, ending(done.status), took, listed),
            Err(why) => {
                let said = fs::read(log.with_extension("out")).unwrap_or_default();
                let why = why.lines().next().unwrap_or_default().to_owned();
                Outcome::of(&String::from_utf8_lossy(&said), why, took, listed)
            }
        };
        if self.options.run.is_none() {
            keep(&self.result(system, package), &outcome)?;
        }
        Ok(outcome)
    }

    /// Names the tests that the program holds, so that one that never ran is missed.
    fn list(&self, system: System, package: &str, program: &Path) -> Result<Vec<String>, String> {
        let mut list = self.command(system, package, program);
        let pattern = self.options.run.as_deref().unwrap_or(".");
        let pattern = pattern.split('/').next().unwrap_or(".");
        list.arg(format!("-test.list={pattern}"));
        let limit = Duration::from_mins(1);
        let log = self.log(system, &format!("{package}-list"));
        let listed = run(&mut list, limit, &log)?.success()?;
        let is_test = |name: &&str| {
            ["Test", "Example", "Fuzz"]
                .iter()
                .any(|&kind| name.starts_with(kind))
        };
        Ok(listed
            .stdout
            .lines()
            .filter(is_test)
            .map(str::to_owned)
            .collect())
    }

    fn log(&self, system: System, package: &str) -> PathBuf {
        let name = package.replace('/', "-");
        self.project
            .log(&format!("go-std/{}/{name}", system.name()))
    }

    /// The test program, under the runner if it is ours, in the environment that `go test` gives it.
    fn command(&self, system: System, package: &str, program: &Path) -> Command {
        let mut words: Vec<_> = match system {
            System::Netbsd => self.runner.words().collect(),
            System::Linux => Vec::new(),
        };
        words.push(program.into());
        // Both builds, so that they find the same.
        if let Some(before) = self.installed.as_ref().filter(|_| package == INSTALLED.0) {
            words.splice(0..0, before.iter().cloned());
        }
        if let Some(uid) = self.options.user {
            let id = format!("{uid}");
            let behind = ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"];
            words.splice(0..0, behind.iter().map(Into::into));
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        setup::go_environment(self.project, &mut command);
        let root = setup::go_root(&self.go);
        let directory = root.join("src").join(package);
        command.env("GOOS", system.name()).env("PWD", &directory);
        command.env("PATH", first_in_path(&[&root.join("bin"), &self.wrapper()]));
        if let Some(uid) = self.options.user {
            // Root's are closed to others.
            let home = format!("/tmp/lwp-go-std-{uid}");
            command
                .env("GOCACHE", format!("{home}/cache"))
                .env("HOME", &home);
        }
        command.current_dir(directory);
        command
    }

    /// Builds the test program of a package; `None` if there are no tests for that system.
    fn build(&self, system: System, package: &str) -> Result<Option<PathBuf>, String> {
        let directory = self.project.cache("go-std").join(system.name());
        let program = directory.join(format!("{package}.test"));
        if program.exists() {
            return Ok(Some(program));
        }
        let parent = program.parent().expect("a directory per system");
        fs::create_dir_all(parent).map_err(|why| format!("{}: {why}", parent.display()))?;
        let unfinished = program.with_extension("new");
        let mut build = setup::go_command(self.project, &self.go);
        build
            .args(["test", "-c", "-p=2", "-o"])
            .arg(&unfinished)
            .arg(package);
        build.env("GOOS", system.name());
        let log = self.log(system, &format!("{package}-build"));
        let built = run(&mut build, BUILD_LIMIT, &log)?;
        if built
            .stderr
            .contains("build constraints exclude all Go files")
        {
            return Ok(None);
        }
        built
            .success()
            .map_err(|why| format!("go test -c: {why}"))?;
        if !unfinished.exists() {
            return Ok(None);
        }
        fs::rename(&unfinished, &program).map_err(|why| format!("{}: {why}", program.display()))?;
        Ok(Some(program))
    }
}

/// What to put before a command to run it where `lwp` is installed: in a user namespace of its own. `None`
/// if this host does not let us.
fn installed(project: &Project, lwp: &Path) -> Option<Vec<OsString>> {
    let shell = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "/bin/sh",
        "-c",
        INSTALL,
        "sh",
    ];
    let mut words: Vec<OsString> = shell.map(OsString::from).into();
    words.push(lwp.into());
    let mut nothing = Command::new(&words[0]);
    nothing.args(&words[1..]).arg("true");
    let done = run(&mut nothing, GRACE, &project.log("go-std/installed")).ok()?;
    done.success().is_ok().then_some(words)
}

/// Replaces the file at once, so that an interrupted run leaves no half of it.
fn keep(path: &Path, outcome: &Outcome) -> Result<(), String> {
    let failed = |why: std::io::Error| format!("{}: {why}", path.display());
    fs::create_dir_all(path.parent().expect("a directory per system")).map_err(failed)?;
    let new = path.with_extension("new");
    fs::write(&new, outcome.to_string()).map_err(failed)?;
    fs::rename(&new, path).map_err(failed)
}

/// `PATH` with `directories` first: tests of the library start `go`.
fn first_in_path(directories: &[&Path]) -> OsString {
    let mut path = OsString::new();
    for directory in directories {
        path.push(directory);
        path.push(":");
    }
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path
}
