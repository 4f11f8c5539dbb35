//! `lwp hunt`: runs a program under many schedules until it fails, and finds out what matters about the one with which it
//! does.
//!
//! | file | what |
//! |---|---|
//! | `server` | a process that has loaded the program, and forks for each run |
//! | `report` | what a run tells when it ends |
//! | `words`, `symbols` | decisions in words, and the names of addresses |
//! | `tell` | what a hunt has come to |
//! | `measure` | `--bench` |
//!
//! The command itself only hands out seeds and says what came of them. Servers are this program again, with the same
//! options and `--server`.

mod measure;
mod report;
mod server;
mod symbols;
mod tell;
mod words;

pub(crate) use report::Reporter;

use crate::args::Hunt;
use crate::fail::Failure;
use crate::find;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use lwp_chaos::Time;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use server::{Ask, Shrunk, Told};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;
use tell::{Caught, Outcome, per_second};

/// How many seeds a server is given at a time.
const BATCH: u64 = 16;
/// How many decisions a schedule may have left before a shorter one is looked for, among how many finds, and for how long.
const SHORT: usize = 3;
const FINDS: u32 = 5;
const FOR_MORE: Duration = Duration::from_secs(10);
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
    if plain.end.is_failure() {
        let found = Some(Caught::plain(&plain));
        return say(
            options,
            &Outcome {
                found,
                ..Outcome::default()
            },
        );
    }
    if options.bench {
        return measure::run(options, first, typed, plain.report.points);
    }
    let hunting = Hunting::new(options, plain.report.points);
    let begun = Instant::now();
    let servers = hunting.search(first, typed, options.jobs())?;
    let mut outcome = Outcome {
        schedules: hunting.ran.load(Ordering::Relaxed),
        seconds: begun.elapsed().as_secs_f64(),
        found: None,
    };
    if let Some(seed) = hunting.take_found() {
        let mut server = servers.into_iter().next().ok_or_else(confused)?;
        let shortest = hunting.shortest(&mut server, seed)?;
        outcome.found = Some(keep(options, &shortest)?);
    }
    say(options, &outcome)
}

/// Says what a hunt has come to.
fn say(options: &Hunt, outcome: &Outcome) -> Result<(), Failure> {
    let mut out = io::stdout();
    if options.json {
        outcome.print_json(&mut out)?;
    } else {
        outcome.print(&mut out)?;
    }
    match outcome.found {
        Some(_) => Err(Failure::Caught),
        None => Ok(()),
    }
}

/// Writes what was found to files.
fn keep(
    options: &Hunt,
    Shortest {
        seed,
        shrunk,
        finds,
    }: &Shortest,
) -> Result<Caught, Failure> {
    let mut found = Caught::shrunk(*seed, *finds, shrunk);
    let file = schedule_file(options, *seed);
    fs::write(&file, &shrunk.schedule)
        .map_err(|why| Failure::Output(file.clone().into_os_string(), why))?;
    let page = file.with_extension("html");
    if draw(&file, &page) {
        found.timeline = Some(page);
    }
    found.schedule = Some(file);
    let program = options
        .called
        .words
        .first()
        .and_then(|name| find::find(name).ok());
    if let Some(program) = program.and_then(|found| fs::read(OsStr::from_bytes(&found.path)).ok()) {
        for line in &mut found.story {
            *line = symbols::name_addresses(line, &program);
        }
    }
    Ok(found)
}

/// Where the schedule goes.
fn schedule_file(options: &Hunt, seed: u64) -> PathBuf {
    options.output.clone().unwrap_or_else(|| {
        let program = options.called.words.first().map(Path::new);
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

/// A server has said what makes no sense.
fn confused() -> Failure {
    Failure::Hunt(io::Error::other(
        "a server has not answered what it was asked",
    ))
}

/// Of the seeds that were found, the one of which least is left.
struct Shortest {
    seed: u64,
    shrunk: Shrunk,
    finds: u32,
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
    found: Mutex<Option<u64>>,
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

    /// The smallest seed that was found.
    fn take_found(&self) -> Option<u64> {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner)
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
            let told = server.ask(&self.seeds(first, count))?;
            let Told::Seeds { ran, points, found } = told else {
                return Err(confused());
            };
            self.ran.fetch_add(ran, Ordering::Relaxed);
            self.points.fetch_add(points, Ordering::Relaxed);
            if let Some(seed) = found {
                let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
                *all = Some(all.map_or(seed, |other| seed.min(other)));
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What is left of the schedule of `seed`, or of a later seed's with which the program fails in the same way, if that
    /// is shorter. For the shortest part of one schedule may still be long: what it has too much of cannot be left out one
    /// by one.
    fn shortest(&self, server: &mut Server, seed: u64) -> Result<Shortest, Failure> {
        let mut best = Shortest {
            seed,
            shrunk: self.shrink(server, seed)?,
            finds: 1,
        };
        let begun = Instant::now();
        let mut next = seed.saturating_add(1);
        while best.shrunk.after > SHORT && best.finds < FINDS && begun.elapsed() < FOR_MORE {
            let Told::Seeds { found, .. } = server.ask(&self.seeds(next, 1))? else {
                return Err(confused());
            };
            next = next.saturating_add(1);
            let Some(seed) = found else {
                continue;
            };
            let other = self.shrink(server, seed)?;
            if other.ran.end != best.shrunk.ran.end {
                continue;
            }
            best.finds += 1;
            let badness = |one: &Shrunk| (one.is_flaky, one.after);
            if badness(&other) < badness(&best.shrunk) {
                best.seed = seed;
                best.shrunk = other;
            }
        }
        Ok(best)
    }

    fn shrink(&self, server: &mut Server, seed: u64) -> Result<Shrunk, Failure> {
        let (plan, usual) = (self.plan.clone(), self.usual);
        match server.ask(&Ask::Shrink { seed, plan, usual })? {
            Told::Shrunk(shrunk) => Ok(*shrunk),
            _ => Err(confused()),
        }
    }

    fn seeds(&self, first: u64, count: u64) -> Ask {
        Ask::Seeds {
            first,
            count,
            plan: self.plan.clone(),
            usual: self.usual,
        }
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
    asks: Option<UnixStream>,
    answers: BufReader<ChildStdout>,
}

impl Server {
    /// Starts one for the hunt that was `typed`.
    fn start(typed: &[OsString]) -> Result<Self, Failure> {
        let myself = std::env::current_exe().map_err(Failure::Myself)?;
        let mut command = Command::new(myself);
        let mut words = typed.iter().skip(1);
        command.args(words.next()).arg("--server").args(words);
        // Not a pipe: one that is gone would have us killed by SIGPIPE.
        let (asks, asked) = UnixStream::pair().map_err(Failure::Hunt)?;
        command.stdin(OwnedFd::from(asked)).stdout(Stdio::piped());
        // What is typed at the terminal is for the hunt: it ends, and its servers with it.
        command.process_group(0);
        let mut child = command.spawn().map_err(Failure::Hunt)?;
        let answers = BufReader::new(child.stdout.take().ok_or_else(confused)?);
        Ok(Self {
            child,
            asks: Some(asks),
            answers,
        })
    }

    /// Asks, and waits for the answer.
    fn ask(&mut self, ask: &Ask) -> Result<Told, Failure> {
        let mut line = serde_json::to_vec(ask).unwrap_or_default();
        line.push(b'\n');
        let mut left = &line[..];
        while let Some(asks) = self.asks.as_ref().filter(|_| !left.is_empty()) {
            match send(asks, left, SendFlags::NOSIGNAL) {
                Ok(sent) => left = &left[sent..],
                Err(Errno::INTR) => {}
                // It is gone, as is found out below.
                Err(_) => break,
            }
        }
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
