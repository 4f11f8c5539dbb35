//! `lwp hunt`: runs a program under many schedules until it fails, and finds out what matters about the one with which it
//! does.
//!
//! | file | what |
//! |---|---|
//! | `server` | a process that has loaded the program, and forks for each run |
//! | `report` | what a run tells when it ends |
//! | `words` | decisions in words |
//! | `measure` | `--bench` |
//!
//! The command itself only hands out seeds and says what came of them. Servers are this program again, with the same
//! options and `--server`.

mod measure;
mod report;
mod server;
mod words;

pub(crate) use report::Reporter;

use crate::args::Hunt;
use crate::fail::Failure;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use lwp_chaos::Time;
use server::{Ask, Found, Ran, Shrunk, Told};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// How many seeds a server is given at a time.
const BATCH: u64 = 16;
/// How often progress is shown.
const SHOW: Duration = Duration::from_millis(100);
/// Characters of the progress bar.
const BAR: u64 = 30;

impl Hunt {
    /// Which time the program sees.
    pub(crate) fn time(&self) -> Time {
        if self.real_time {
            Time::Real
        } else {
            Time::Virtual
        }
    }

    fn plan(&self) -> lwp_chaos::strategy::Plan {
        self.how.policy.unwrap_or_default()
    }
}

/// Hunts; `typed` is the command line.
///
/// # Errors
/// [`Failure::Caught`] if it was found to fail; else why there was no hunt.
pub(crate) fn run(options: &Hunt, typed: &[OsString]) -> Result<(), Failure> {
    if options.server {
        return match server::serve(options) {
            Err(failure) => Err(failure),
            Ok(never) => match never {},
        };
    }
    let mut first = Server::start(typed)?;
    let Told::Plain(plain) = first.ask(&Ask::Plain)? else {
        return Err(confused());
    };
    let mut out = io::stdout();
    if plain.end.is_failure() {
        let said = said(&plain);
        write!(out, "It {} with no help from a seed.\n{said}", plain.end)?;
        return Err(Failure::Caught);
    }
    if options.bench {
        return measure::run(options, first, typed, plain.report.points);
    }
    let hunting = Hunting::new(options, plain.report.points);
    let begun = Instant::now();
    let servers = hunting.search(first, typed, options.jobs())?;
    let found = hunting.take_found();
    let ran = hunting.ran.load(Ordering::Relaxed);
    let took = begun.elapsed();
    let rate = per_second(ran, took);
    let Some(found) = found else {
        writeln!(
            out,
            "No failure under {ran} schedules ({:.1} s, {rate:.0} a second).",
            took.as_secs_f64()
        )?;
        return Ok(());
    };
    writeln!(
        out,
        "Found after {ran} schedules ({:.1} s, {rate:.0} a second), with seed {}: it {}.",
        took.as_secs_f64(),
        found.seed,
        found.end
    )?;
    let mut server = servers.into_iter().next().ok_or_else(confused)?;
    let told = server.ask(&Ask::Shrink {
        seed: found.seed,
        plan: hunting.plan.clone(),
        usual: hunting.usual,
    })?;
    let Told::Shrunk(shrunk) = told else {
        return Err(confused());
    };
    tell(&mut out, options, &found, &shrunk)?;
    Err(Failure::Caught)
}

/// Says what was found, and how to have it again.
fn tell(
    out: &mut dyn Write,
    options: &Hunt,
    found: &Found,
    shrunk: &Shrunk,
) -> Result<(), Failure> {
    write!(out, "{}", said(&shrunk.ran))?;
    if shrunk.is_flaky {
        writeln!(
            out,
            "\nThe same decisions do not make it fail each time: something else differs between runs\n\
             (other processes, the network, files)."
        )?;
    }
    writeln!(
        out,
        "\nOf {} decisions {} matter, {} of them preemptions ({} runs to find out):",
        shrunk.before, shrunk.after, shrunk.preemptions, shrunk.tries
    )?;
    for (index, line) in shrunk.ran.report.story.iter().enumerate() {
        writeln!(out, "{:3}. {line}", index + 1)?;
    }
    if !shrunk.ran.report.waits.is_empty() {
        writeln!(out, "\nIn the end:")?;
        for line in shrunk.ran.report.waits.lines().skip(1) {
            writeln!(out, "{line}")?;
        }
    }
    if shrunk.ran.report.stretches > 0 {
        writeln!(
            out,
            "\n{} times an LWP was preempted because it made no system call for long. When that happens depends\n\
             on how fast the host is: the same schedule may go on differently.",
            shrunk.ran.report.stretches
        )?;
    }
    let file = schedule_file(options, found.seed);
    fs::write(&file, &shrunk.schedule)
        .map_err(|why| Failure::Output(file.clone().into_os_string(), why))?;
    let page = file.with_extension("html");
    writeln!(out, "\nAgain:    lwp replay {}", file.display())?;
    if draw(&file, &page) {
        writeln!(out, "Timeline: {}", page.display())?;
    }
    Ok(())
}

/// What the run has printed.
fn said(ran: &Ran) -> String {
    let lines = ran.output.lines().map(|line| format!("    {line}\n"));
    let lines: String = lines.collect();
    if lines.is_empty() {
        lines
    } else {
        format!("It said:\n{lines}")
    }
}

/// Where the schedule goes.
fn schedule_file(options: &Hunt, seed: u64) -> PathBuf {
    options.output.clone().unwrap_or_else(|| {
        let program = options.words.first().map(Path::new);
        let name = program
            .and_then(Path::file_name)
            .unwrap_or(OsStr::new("program"));
        let mut name = name.to_os_string();
        name.push(format!(".{seed}.schedule"));
        name.into()
    })
}

/// Draws a timeline of a schedule; whether that worked.
fn draw(schedule: &Path, page: &Path) -> bool {
    let Ok(myself) = std::env::current_exe() else {
        return false;
    };
    let _there_may_be_none = fs::remove_file(page);
    let mut command = Command::new(myself);
    command.args(["replay", "--quiet", "--timeline"]);
    command.arg(page).arg(schedule);
    command.stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok() && page.exists()
}

fn per_second(count: u64, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let count = count as f64;
    count / time.as_secs_f64().max(1e-9)
}

/// A server has said what makes no sense.
fn confused() -> Failure {
    Failure::Hunt(io::Error::other(
        "a server has not answered what it was asked",
    ))
}

/// A hunt under way.
struct Hunting {
    plan: String,
    /// Points of a plain run.
    usual: u64,
    next: AtomicU64,
    end: u64,
    ran: AtomicU64,
    points: AtomicU64,
    is_over: AtomicBool,
    found: Mutex<Option<Found>>,
}

impl Hunting {
    fn new(options: &Hunt, usual: u64) -> Self {
        let known = u32::try_from(usual).unwrap_or(u32::MAX);
        Self {
            plan: options.plan().for_points(known).to_string(),
            usual,
            next: AtomicU64::new(options.seed),
            end: options.seed.saturating_add(options.runs),
            ran: AtomicU64::new(0),
            points: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            found: Mutex::new(None),
        }
    }

    fn take_found(&self) -> Option<Found> {
        self.found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Runs until something is found, or no seed is left, on `first` and as many more servers as make `jobs`. The server
    /// that has found something comes first among those that are left.
    fn search(
        &self,
        first: Server,
        typed: &[OsString],
        jobs: usize,
    ) -> Result<Vec<Server>, Failure> {
        let mut servers = vec![first];
        for _ in 1..jobs {
            servers.push(Server::start(typed)?);
        }
        let is_done = AtomicBool::new(false);
        let mut results = thread::scope(|scope| {
            let all: Vec<_> = servers
                .into_iter()
                .map(|server| scope.spawn(|| self.work(server)))
                .collect();
            let shows = scope.spawn(|| self.show(&is_done));
            let results: Vec<_> = all
                .into_iter()
                .map(thread::ScopedJoinHandle::join)
                .collect();
            is_done.store(true, Ordering::Relaxed);
            shows.thread().unpark();
            results
        })
        .into_iter()
        .map(|joined| joined.unwrap_or_else(|_| Err(confused())))
        .collect::<Result<Vec<_>, _>>()?;
        results.sort_by_key(|(_, has_found)| !has_found);
        Ok(results.into_iter().map(|(server, _)| server).collect())
    }

    /// Has one server run seeds; whether it has found something.
    fn work(&self, mut server: Server) -> Result<(Server, bool), Failure> {
        let result = self.ask_on(&mut server);
        if !matches!(result, Ok(false)) {
            self.is_over.store(true, Ordering::Relaxed);
        }
        result.map(|has_found| (server, has_found))
    }

    fn ask_on(&self, server: &mut Server) -> Result<bool, Failure> {
        while !self.is_over.load(Ordering::Relaxed) {
            let first = self.next.fetch_add(BATCH, Ordering::Relaxed);
            let count = self.end.saturating_sub(first).min(BATCH);
            if count == 0 {
                break;
            }
            let told = server.ask(&Ask::Seeds {
                first,
                count,
                plan: self.plan.clone(),
                usual: self.usual,
            })?;
            let Told::Seeds { ran, points, found } = told else {
                return Err(confused());
            };
            self.ran.fetch_add(ran, Ordering::Relaxed);
            self.points.fetch_add(points, Ordering::Relaxed);
            if let Some(found) = found {
                let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
                // The smallest seed, of those found at a time.
                if all.as_ref().is_none_or(|other| found.seed < other.seed) {
                    *all = Some(found);
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Shows progress on a terminal until `is_done`.
    fn show(&self, is_done: &AtomicBool) {
        let mut err = io::stderr();
        if !err.is_terminal() {
            return;
        }
        let begun = Instant::now();
        let all = self.end - self.next.load(Ordering::Relaxed).min(self.end);
        let all = all.max(1);
        while !is_done.load(Ordering::Relaxed) {
            thread::park_timeout(SHOW);
            let ran = self.ran.load(Ordering::Relaxed);
            let full = (ran * BAR / all).min(BAR);
            let bar: String = (0..BAR)
                .map(|at| if at < full { '#' } else { '.' })
                .collect();
            let rate = per_second(ran, begun.elapsed());
            let _ = write!(err, "\r{bar} {ran}/{all} schedules, {rate:.0} a second ");
        }
        let _ = write!(err, "\r\x1b[K");
    }
}

/// A server, and how to ask it.
pub(crate) struct Server {
    child: Child,
    asks: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Server {
    /// Starts one for the hunt that was `typed`.
    fn start(typed: &[OsString]) -> Result<Self, Failure> {
        let myself = std::env::current_exe().map_err(Failure::Myself)?;
        let mut command = Command::new(myself);
        let mut words = typed.iter().skip(1);
        command.args(words.next()).arg("--server").args(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // What is typed at the terminal is for the hunt: it ends, and its servers with it.
        command.process_group(0);
        let mut child = command.spawn().map_err(Failure::Hunt)?;
        let (asks, answers) = (child.stdin.take(), child.stdout.take());
        let answers = BufReader::new(answers.ok_or_else(confused)?);
        Ok(Self {
            child,
            asks,
            answers,
        })
    }

    /// Asks, and waits for the answer.
    fn ask(&mut self, ask: &Ask) -> Result<Told, Failure> {
        let mut line = serde_json::to_vec(ask).unwrap_or_default();
        line.push(b'\n');
        // One that is gone is found out below.
        let _ = self.asks.as_mut().map(|asks| asks.write_all(&line));
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(Failure::Hunt)?;
        if line.is_empty() {
            let status = self.child.wait().map_err(Failure::Hunt)?;
            // It has said why.
            return Err(Failure::Told(status.code().unwrap_or(125)));
        }
        serde_json::from_str(&line).map_err(|err| Failure::Hunt(io::Error::other(err.to_string())))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends when nobody asks any more.
        self.asks = None;
        let _ = self.child.wait();
    }
}
