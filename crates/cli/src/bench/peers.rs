//! What people would use instead of LWPs: the programs among it. Threads are in `threads`.

use super::Costs;
use super::ours::{self, Guests};
use super::rows::{ESBUILD, Trial};
use super::threads::{self, pinned};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// With what a row is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// As little as a system call of Linux's can do.
    Getppid,
    /// clock_gettime without a system call.
    Vdso,
    /// Two threads that wake each other by futexes, on one CPU or on two.
    FutexPair,
    /// Two goroutines on OS threads of their own, on one CPU or on two.
    GoPair,
    /// A switch that only exchanges stacks.
    Floor,
    /// A ring of 1,000 threads.
    FutexRing,
    /// The standard library's, which are made of futexes.
    MutexCondvar,
    /// pthread_create and pthread_join.
    CreateJoin,
    /// pthread_create of detached threads.
    CreateDetached,
    /// 1,024 FUTEX_WAKEs with a waiter each.
    FutexWakes,
    /// A thread that waits is stopped in a signal handler.
    StopParked,
    /// A thread that computes is stopped in a signal handler.
    StopRunning,
    /// tgkill to the calling thread.
    SignalSelf,
    /// tgkill to a thread that waits.
    SignalParked,
    /// tgkill to a thread that computes.
    SignalRunning,
    /// clock_nanosleep.
    Nanosleep,
    /// clock_nanosleep while another thread computes on the CPU.
    NanosleepBusy,
    /// Many threads at once.
    Threads,
    /// What was promised.
    Budget,
    /// The same program for Linux.
    HelloLinux,
    /// esbuild's own Linux build.
    EsbuildLinux,
    /// The same operation with 1,000 LWPs alive.
    Itself,
}

/// What a row of [`Peer::Budget`] may be: 10 s for a million; 1 KiB of kernel memory for one, and of all memory
/// its share of 8 GiB for a million.
const BUDGET: [(&str, f64); 3] = [
    ("million", 10_000.0),
    ("bytes", 1024.0),
    ("bytes_in_all", 8_589.934_592),
];

const GO_PAIR: &str = include_str!("pair.go");

/// The peers that need something to be made or found first.
pub(crate) struct Peers {
    esbuild: Option<PathBuf>,
    scratch: PathBuf,
    go_pair: OnceLock<Result<PathBuf, String>>,
}

impl Peers {
    /// `esbuild` is a directory of `node_modules` and a project to bundle.
    pub(crate) fn new(esbuild: Option<PathBuf>) -> Self {
        Self {
            esbuild: esbuild.or_else(cached_project),
            scratch: env::temp_dir().join(format!("lwp-bench-{}", std::process::id())),
            go_pair: OnceLock::new(),
        }
    }

    /// Does once what the trial's guest did.
    pub(crate) fn measure(
        &self,
        peer: Peer,
        trial: &Trial,
        guests: &Guests,
    ) -> Result<Costs, String> {
        match peer {
            Peer::Itself => Ok(Costs::new()),
            Peer::Budget => Ok(BUDGET
                .map(|(name, budget)| (name.to_owned(), budget))
                .into()),
            Peer::Floor => {
                let floor = guests.bench("floor", trial.count, 1)?;
                let named = floor
                    .into_iter()
                    .map(|(_, value)| (trial.rows[0].cost.to_owned(), value));
                Ok(named.collect())
            }
            Peer::HelloLinux => guests.start_up_linux(),
            Peer::EsbuildLinux => self.bundle(trial, false),
            Peer::GoPair => self.go_pair(trial),
            _ => threads::measure(peer, trial),
        }
    }

    /// Bundles the project with esbuild, for NetBSD under lwp or for Linux.
    pub(crate) fn bundle(&self, trial: &Trial, under_lwp: bool) -> Result<Costs, String> {
        let missing =
            "no project: run `cargo xtask test --only esbuild` first, or give --esbuild DIR";
        let base = self.esbuild.as_ref().ok_or(missing)?;
        let esbuild = |system: &str| {
            base.join("node_modules/@esbuild")
                .join(system)
                .join("bin/esbuild")
        };
        let mut command = if under_lwp {
            let mut command = ours::runner(trial.cpus);
            command.arg(esbuild("netbsd-x64"));
            command
        } else {
            Command::new(esbuild("linux-x64"))
        };
        let out = self.scratch()?.join("bundle.js");
        command
            .args([
                "main.ts",
                "--bundle",
                "--minify",
                "--sourcemap",
                "--log-level=error",
            ])
            .arg(format!("--outfile={}", out.display()))
            .current_dir(base.join("project"));
        ours::timed(ESBUILD, trial.cpus, &mut command)
    }

    fn go_pair(&self, trial: &Trial) -> Result<Costs, String> {
        let program = self.go_pair.get_or_init(|| self.build_go_pair()).clone()?;
        let done = pinned(trial.cpus, || {
            Command::new(program)
                .arg(trial.count.to_string())
                .env("GOMAXPROCS", trial.cpus.to_string())
                .output()
        })?;
        let named = |(_, value)| (trial.rows[0].cost.to_owned(), value);
        let costs = ours::costs(&String::from_utf8_lossy(&done.stdout));
        Ok(costs.into_iter().map(named).collect())
    }

    fn build_go_pair(&self) -> Result<PathBuf, String> {
        let scratch = self.scratch()?;
        let (source, program) = (scratch.join("pair.go"), scratch.join("pair"));
        fs::write(&source, GO_PAIR).map_err(|why| why.to_string())?;
        let built = Command::new("go")
            .args(["build", "-o"])
            .args([&program, &source])
            .envs([
                ("GO111MODULE", "off"),
                ("CGO_ENABLED", "0"),
                ("GOTOOLCHAIN", "local"),
            ])
            .env("GOCACHE", scratch.join("go-cache"))
            .stdin(Stdio::null())
            .output();
        match built {
            Err(_) => Err("there is no go in PATH".to_owned()),
            Ok(done) if done.status.success() => Ok(program),
            Ok(done) => Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()),
        }
    }

    /// A directory that goes away with us.
    fn scratch(&self) -> Result<&Path, String> {
        fs::create_dir_all(&self.scratch).map_err(|why| why.to_string())?;
        Ok(&self.scratch)
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

/// What the project's tests have fetched, if they have: `target/cache/npm` above here, or above us.
fn cached_project() -> Option<PathBuf> {
    let starts = [env::current_dir().ok(), env::current_exe().ok()];
    let above = starts.iter().flatten().flat_map(|start| start.ancestors());
    above
        .map(|directory| directory.join("target/cache/npm"))
        .find(|found| found.join("project").is_dir())
}

impl Peer {
    /// What the report calls it.
    pub(crate) fn shown(self, cpus: usize) -> String {
        let on = if cpus == 1 { "one CPU" } else { "two CPUs" };
        match self {
            Self::Getppid => "getppid".to_owned(),
            Self::Vdso => "clock_gettime (vDSO)".to_owned(),
            Self::FutexPair => format!("two threads on futexes, {on}"),
            Self::GoPair => format!("Go, two locked OS threads, {on}"),
            Self::Floor => "bare switch of stacks".to_owned(),
            Self::FutexRing => "1,000 threads on futexes".to_owned(),
            Self::MutexCondvar => "Mutex and Condvar (futexes)".to_owned(),
            Self::CreateJoin => "pthread_create and join".to_owned(),
            Self::CreateDetached => "pthread_create, detached".to_owned(),
            Self::FutexWakes => "1,024 futex wakes".to_owned(),
            Self::StopParked | Self::StopRunning => "stopped in a signal handler".to_owned(),
            Self::SignalSelf => "tgkill to self".to_owned(),
            Self::SignalParked => "tgkill to a waiting thread".to_owned(),
            Self::SignalRunning => "tgkill to a running thread".to_owned(),
            Self::Nanosleep => "clock_nanosleep".to_owned(),
            Self::NanosleepBusy => "clock_nanosleep, CPU busy".to_owned(),
            Self::Threads => "threads on a futex".to_owned(),
            Self::Budget => "what was promised".to_owned(),
            Self::HelloLinux => "the same for Linux".to_owned(),
            Self::EsbuildLinux => "esbuild for Linux".to_owned(),
            Self::Itself => "the same with 1,000 LWPs".to_owned(),
        }
    }
}
