//! A server that runs one program under many schedules: it loads the program once, and forks for each run.
//!
//! It is asked by lines of JSON on its standard input ([`Ask`]), and answers in lines on its standard output ([`Told`]). The
//! runs have their output in a file in memory, and no input.
//!
//! # Invariants
//! 1. The server itself never runs the program: what it has loaded is what each run begins with.

use crate::args::{Hunt, Program, Wanted};
use crate::chaos::Direction;
use crate::fail::Failure;
use crate::hunt::report::{Hung, Report};
use crate::run::Prepared;
use core::convert::Infallible;
use core::time::Duration;
use lwp_abi::signal::Signo;
use lwp_chaos::schedule::{Decision, Schedule};
use lwp_chaos::shrink::shrink;
use lwp_chaos::strategy::Plan;
use lwp_chaos::{Seed, Source};
use lwp_kernel::machine::{Forked, Vcpus};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, OFlags, SeekFrom, fcntl_setfl, ftruncate, memfd_create, seek};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, kill_process, pidfd_open,
    set_parent_process_death_signal, waitpid,
};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

/// How much longer than usual a run may be, in points, before it hangs.
const LONGER: u64 = 100;
/// And so many points besides.
const POINTS: u64 = 100_000;
/// How many runs it may take to find out which decisions matter.
const SHRINKING: usize = 3000;
/// Bytes of a run's output that are shown.
const SHOWN: u64 = 4096;

/// What a server is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Runs it as without a seed.
    Plain,
    /// Runs it under so many seeds, up to the first with which it fails.
    Seeds {
        first: u64,
        count: u64,
        plan: String,
        usual: u64,
    },
    /// Finds out what matters about a seed with which it fails.
    Shrink { seed: u64, plan: String, usual: u64 },
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    /// To [`Ask::Plain`].
    Plain(Ran),
    /// To [`Ask::Seeds`]: how many it has run, and what the last one was if that failed.
    Seeds {
        ran: u64,
        points: u64,
        /// The seed.
        found: Option<u64>,
    },
    /// To [`Ask::Shrink`].
    Shrunk(Box<Shrunk>),
}

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ran {
    pub(crate) end: End,
    pub(crate) report: Report,
    pub(crate) output: String,
}

/// What is left of a schedule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Shrunk {
    /// As a file.
    pub(crate) schedule: String,
    /// The run.
    pub(crate) ran: Ran,
    /// How many decisions there were, and how many are left; of those, how many take the vcpu from somebody.
    pub(crate) before: usize,
    pub(crate) after: usize,
    pub(crate) preemptions: usize,
    /// How many runs it took.
    pub(crate) tries: usize,
    /// The seed alone does not make it fail again.
    pub(crate) is_flaky: bool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    Exit(i32),
    Signal(i32),
    Hang(Hung),
    /// It was stopped after the time it was given.
    TimeOut,
    /// It printed what it should not.
    Pattern,
}

impl End {
    /// The points after which a system call is too late, of a run that has had so many when it hung.
    fn hangs_after(self, points: u64) -> Option<u64> {
        match self {
            Self::Hang(Hung::Points) => Some(points.saturating_sub(1)),
            Self::Hang(Hung::Deadlock | Hung::Time) => Some(points),
            _ => None,
        }
    }

    /// Whether a replay ends at the very same place. For how long a program may go on is no part of a schedule.
    fn is_at_a_point(self) -> bool {
        !matches!(self, Self::Hang(Hung::Time) | Self::TimeOut)
    }

    /// Whether that is what is hunted.
    pub(crate) fn is_failure(self) -> bool {
        self != Self::Exit(0)
    }
}

impl core::fmt::Display for End {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Exit(status) => write!(f, "exits with status {status}"),
            Self::Signal(signo) => {
                let ours = Signo::from_linux(*signo).map(Signo::raw);
                write!(
                    f,
                    "is killed by {}",
                    lwp_trace::names::signo(ours.unwrap_or(*signo))
                )
            }
            Self::Hang(Hung::Deadlock) => f.write_str("hangs: every LWP waits for another"),
            Self::Hang(Hung::Time) => f.write_str("hangs: it does not end in the time it has"),
            Self::Hang(Hung::Points) => {
                f.write_str("hangs: it goes on and on, many times longer than usual")
            }
            Self::TimeOut => f.write_str("hangs: it was stopped when the time was over"),
            Self::Pattern => f.write_str("prints the pattern"),
        }
    }
}

/// Serves until nobody asks any more.
///
/// # Errors
/// Why the program cannot be run.
pub(crate) fn serve(options: &Hunt) -> Result<Infallible, Failure> {
    let asked = BufReader::new(own(0)?);
    let mut answers = own(1)?;
    let report = memory("lwp report")?;
    let output = memory("lwp output")?;
    // Each of several processes that write to it does so at its end.
    fcntl_setfl(&output, OFlags::APPEND).map_err(failed)?;
    let direction = Direction {
        seed: Seed(0),
        plan: Plan::Fair,
        perturb: options.how.perturb,
        time: options.time(),
        source: Source::Seed,
        record: None,
        expects: None,
        hunted: Some(Arc::clone(&report)),
    };
    let wanted = Wanted {
        program: Program {
            called: options.called.clone(),
            quiet: true,
            ..Program::default()
        },
        direction: Some(direction.clone()),
        ..Wanted::default()
    };
    let prepared = Prepared::new(&wanted)?;
    let mut server = Server {
        prepared: Some(prepared),
        options,
        direction,
        report,
        output,
    };
    for line in asked.lines() {
        let line = line.map_err(Failure::Hunt)?;
        let ask = serde_json::from_str(&line)
            .map_err(|err| Failure::Hunt(io::Error::other(err.to_string())))?;
        let told = server.answer(&ask)?;
        let mut line = serde_json::to_vec(&told).unwrap_or_default();
        line.push(b'\n');
        answers.write_all(&line).map_err(Failure::Hunt)?;
    }
    std::process::exit(0)
}

fn failed(errno: Errno) -> Failure {
    Failure::Hunt(errno.into())
}

/// A standard descriptor, where no run meets it.
fn own(fd: i32) -> Result<File, Failure> {
    let copy = match fd {
        0 => rustix::io::dup(rustix::stdio::stdin()),
        _ => rustix::io::dup(rustix::stdio::stdout()),
    };
    Ok(File::from(lwp_machine::keep(copy.map_err(failed)?)))
}

fn memory(name: &str) -> Result<Arc<File>, Failure> {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC).map_err(failed)?;
    Ok(Arc::new(File::from(lwp_machine::keep(fd))))
}

/// What a run is decided by.
enum By<'a> {
    Seed(u64, Plan),
    List(u64, Plan, &'a [Decision]),
}

struct Server<'a> {
    /// In a fork it is used up.
    prepared: Option<Prepared>,
    options: &'a Hunt,
    direction: Direction,
    report: Arc<File>,
    output: Arc<File>,
}

impl Server<'_> {
    fn answer(&mut self, ask: &Ask) -> Result<Told, Failure> {
        let plan = |text: &str| text.parse::<Plan>().unwrap_or_default();
        Ok(match ask {
            Ask::Plain => Told::Plain(self.run(&By::Seed(0, Plan::Fair), true, u64::MAX)?),
            Ask::Seeds {
                first,
                count,
                plan: text,
                usual,
            } => self.search(*first, *count, plan(text), limit(*usual))?,
            Ask::Shrink {
                seed,
                plan: text,
                usual,
            } => Told::Shrunk(Box::new(self.shrink(*seed, plan(text), limit(*usual))?)),
        })
    }

    fn search(&mut self, first: u64, count: u64, plan: Plan, most: u64) -> Result<Told, Failure> {
        let (mut ran, mut points) = (0, 0);
        for seed in first..first.saturating_add(count) {
            let run = self.run(&By::Seed(seed, plan), false, most)?;
            ran += 1;
            points += run.report.points;
            if run.end.is_failure() {
                let found = Some(seed);
                return Ok(Told::Seeds { ran, points, found });
            }
        }
        let found = None;
        Ok(Told::Seeds { ran, points, found })
    }

    fn shrink(&mut self, seed: u64, plan: Plan, most: u64) -> Result<Shrunk, Failure> {
        let first = self.run(&By::Seed(seed, plan), true, most)?;
        let all = decisions(&first);
        let before = all.len();
        let mut tries = 1;
        let mut broken = None;
        let left = shrink(all, SHRINKING, |fewer| {
            tries += 1;
            match self.run(&By::List(seed, plan, fewer), false, most) {
                Ok(run) => run.end == first.end,
                Err(err) => {
                    broken = Some(err);
                    false
                }
            }
        });
        if let Some(err) = broken {
            return Err(err);
        }
        let mut ran = self.run(&By::List(seed, plan, &left), true, most)?;
        // What it has decided, which is what it found of its list.
        let left = decisions(&ran);
        let schedule = Schedule {
            seed: Seed(seed),
            plan,
            hash: ran.end.is_at_a_point().then_some(ran.report.hash),
            hang: ran.end.hangs_after(ran.report.points),
            decisions: left.clone(),
            ..self.direction.schedule(&self.options.called)
        };
        let is_flaky = ran.end != first.end;
        if is_flaky {
            // How it has failed, if it does not again.
            ran.end = first.end;
            ran.output = first.output;
        }
        Ok(Shrunk {
            schedule: schedule.to_string(),
            before,
            after: left.len(),
            preemptions: left.iter().filter(|each| each.is_preemption()).count(),
            tries,
            is_flaky,
            ran,
        })
    }

    /// Runs it once.
    fn run(&mut self, by: &By<'_>, is_full: bool, most: u64) -> Result<Ran, Failure> {
        for file in [&self.report, &self.output] {
            ftruncate(file, 0).map_err(failed)?;
        }
        seek(&*self.output, SeekFrom::Start(0)).map_err(failed)?;
        let Some(prepared) = &self.prepared else {
            return Err(Failure::Hunt(io::Error::other("a run has no program")));
        };
        let machine = prepared.machine();
        while !machine.begin_fork() {}
        match machine
            .fork(0)
            .map_err(|err| Failure::Hunt(io::Error::from_raw_os_error(err.errno)))?
        {
            Forked::Parent(pid) => self.wait(pid),
            Forked::Child { .. } => {
                self.become_run(by, is_full, most);
                std::process::exit(125)
            }
        }
    }

    /// The child's side; comes back only if it cannot.
    fn become_run(&mut self, by: &By<'_>, is_full: bool, most: u64) {
        let quiet = File::open("/dev/null");
        // Without a parent it would run for as long as it likes.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        let set = quiet.is_ok_and(|quiet| {
            rustix::stdio::dup2_stdin(quiet).is_ok()
                && rustix::stdio::dup2_stdout(&self.output).is_ok()
                && rustix::stdio::dup2_stderr(&self.output).is_ok()
        });
        let Some(prepared) = self.prepared.take().filter(|_| set) else {
            return;
        };
        let (seed, plan, source) = match by {
            By::Seed(seed, plan) => (*seed, *plan, Source::Seed),
            By::List(seed, plan, list) => (*seed, *plan, Source::List(list.to_vec())),
        };
        let end = self.options.timeout;
        prepared.go(seed, |chaos| {
            chaos.chaos.begin(Seed(seed), plan, source);
            chaos.machine.end_at(end);
            if let Some(reporter) = &chaos.reporter {
                reporter.begin(is_full, most);
            }
        });
    }

    /// The server's side: what became of the run.
    fn wait(&self, pid: i32) -> Result<Ran, Failure> {
        let pid = Pid::from_raw(pid).ok_or_else(|| failed(Errno::SRCH))?;
        let is_over = await_end(pid, self.options.timeout).map_err(failed)?;
        if !is_over {
            kill_process(pid, Signal::KILL).map_err(failed)?;
        }
        let status = loop {
            match waitpid(Some(pid), WaitOptions::empty()) {
                Err(Errno::INTR) | Ok(None) => {}
                Err(errno) => return Err(failed(errno)),
                Ok(Some((_, status))) => break status,
            }
        };
        let report = self.reported();
        let mut ran = Ran {
            end: ended(is_over, status, &report),
            report,
            output: String::new(),
        };
        if self.has_pattern() {
            ran.end = End::Pattern;
        }
        if ran.end.is_failure() {
            ran.output = self.tail();
        }
        Ok(ran)
    }

    fn reported(&self) -> Report {
        let bytes = contents(&self.report, 0);
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn has_pattern(&self) -> bool {
        self.options.pattern.as_ref().is_some_and(|pattern| {
            let output = contents(&self.output, 0);
            let mut places = output.windows(pattern.len().max(1));
            places.any(|place| place == pattern.as_bytes())
        })
    }

    /// The end of what it has printed.
    fn tail(&self) -> String {
        let len = self.output.metadata().map_or(0, |about| about.len());
        let bytes = contents(&self.output, len.saturating_sub(SHOWN));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn contents(file: &File, from: u64) -> Vec<u8> {
    let len = file.metadata().map_or(0, |about| about.len());
    let mut bytes = vec![0; usize::try_from(len.saturating_sub(from)).unwrap_or(0)];
    if file.read_exact_at(&mut bytes, from).is_err() {
        bytes.clear();
    }
    bytes
}

fn decisions(ran: &Ran) -> Vec<Decision> {
    let lines = ran.report.decisions.iter();
    lines.filter_map(|line| line.parse().ok()).collect()
}

/// After how many points a run hangs, if it usually has so many.
fn limit(usual: u64) -> u64 {
    usual.saturating_mul(LONGER).saturating_add(POINTS)
}

/// Waits for a child to end; `false` if it does not in time.
fn await_end(pid: Pid, timeout: Duration) -> rustix::io::Result<bool> {
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let end = Instant::now() + timeout;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
            // A signal: the child has ended.
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok(count) => return Ok(count > 0),
        }
    }
}

fn ended(is_over: bool, status: WaitStatus, report: &Report) -> End {
    match report.hang {
        Some(hang) => End::Hang(hang),
        None if !is_over => End::TimeOut,
        None => match (status.exit_status(), status.terminating_signal()) {
            (_, Some(signo)) => End::Signal(signo),
            (status, None) => End::Exit(status.unwrap_or(0)),
        },
    }
}
