//! Measuring under lwp: the guest programs, as processes of their own.

use super::Costs;
use super::peers::Peers;
use super::rows::{ESBUILD, HELLO, Trial};
use super::threads::pinned;
use crate::guests::{self, InMemory};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

/// Host addresses from here on are the runner's own (`lwp_kernel::machine::GUEST_BOUND`).
const RUNNER_START: u64 = lwp_kernel::machine::GUEST_BOUND;

/// Programs in memory, as files that a child can execute.
pub(crate) struct Guests {
    bench: InMemory,
    hello: InMemory,
    hello_linux: InMemory,
}

impl Guests {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            bench: InMemory::guest("bench")?,
            hello: InMemory::guest("hello")?,
            hello_linux: InMemory::new(guests::HELLO_LINUX)?,
        })
    }

    /// Does what the trial says once.
    pub(crate) fn measure(&self, trial: &Trial, peers: &Peers) -> Result<Costs, String> {
        match trial.guest {
            HELLO => self.start_up(),
            ESBUILD => peers.bundle(trial, true),
            "million" => self.crowd(trial),
            guest => self.bench(guest, trial.count, trial.cpus),
        }
    }

    /// One row of the guest program `bench`.
    pub(crate) fn bench(&self, row: &str, count: u64, cpus: usize) -> Result<Costs, String> {
        let mut command = self.command(row, count, cpus);
        let done = pinned(cpus, || command.stdin(Stdio::null()).output())?;
        Ok(costs(&succeeded(&done)?))
    }

    fn command(&self, row: &str, count: u64, cpus: usize) -> Command {
        let mut command = runner(cpus);
        command
            .arg(self.bench.path())
            .args([row, &count.to_string()]);
        command
    }

    /// A start of `hello`, from the creation of the process to its end.
    fn start_up(&self) -> Result<Costs, String> {
        let mut command = runner(1);
        command.arg(self.hello.path());
        timed(HELLO, 1, &mut command)
    }

    /// The same for Linux's own.
    pub(crate) fn start_up_linux(&self) -> Result<Costs, String> {
        timed(HELLO, 1, &mut Command::new(self.hello_linux.path()))
    }

    /// Many LWPs: how long they take, and what the runner's memory grows by while they are parked.
    fn crowd(&self, trial: &Trial) -> Result<Costs, String> {
        pinned(trial.cpus, || {
            let mut child = self
                .command(trial.guest, trial.count, trial.cpus)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let mut ask = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
            let mut answers = BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
            let mut memory = [Resident::default(); 2];
            for each in &mut memory {
                // It pauses before, and when all are parked.
                answers.read_line(&mut String::new())?;
                *each = resident(child.id())?;
                ask.write_all(b"\n")?;
            }
            let mut text = String::new();
            answers.read_to_string(&mut text)?;
            child.wait()?;
            let mut costs = costs(&text);
            let grown = memory[1].runner.saturating_sub(memory[0].runner);
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let of_one = |bytes: u64| bytes as f64 / trial.count as f64;
            costs.push(("bytes".to_owned(), of_one(grown)));
            costs.push(("bytes_in_all".to_owned(), of_one(memory[1].all)));
            Ok(costs)
        })
    }
}

/// `lwp run`, to be given a program.
pub(crate) fn runner(vcpus: usize) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg("run").arg(format!("--vcpus={vcpus}"));
    command
}

/// How long a command takes, in nanoseconds, as the cost called `name`.
pub(crate) fn timed(name: &str, cpus: usize, command: &mut Command) -> Result<Costs, String> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let took = pinned(cpus, || {
        let start = Instant::now();
        let status = command.stderr(Stdio::piped()).output()?.status;
        let took = start.elapsed();
        if status.success() {
            Ok(took)
        } else {
            Err(io::Error::other(status.to_string()))
        }
    })?;
    Ok(vec![(name.to_owned(), took.as_secs_f64() * 1e9)])
}

/// The output of a command that must have succeeded.
fn succeeded(done: &Output) -> Result<String, String> {
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let last = said.lines().last().unwrap_or_default();
    Err(format!("{}: {last}", done.status))
}

/// What is told in lines `cost NAME NANOSECONDS`.
pub(crate) fn costs(text: &str) -> Costs {
    let cost = |line: &str| {
        let (name, value) = line.strip_prefix("cost ")?.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(cost).collect()
}

/// Resident bytes of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Resident {
    /// Outside the guest's half of the address space.
    runner: u64,
    /// The guest's memory included.
    all: u64,
}

fn resident(pid: u32) -> io::Result<Resident> {
    Ok(resident_in(&fs::read_to_string(format!(
        "/proc/{pid}/smaps"
    ))?))
}

/// Adds up the `Rss:` lines; the runner's are those of mappings that begin at [`RUNNER_START`] or above.
fn resident_in(smaps: &str) -> Resident {
    let mut is_runners = false;
    let mut sum = Resident::default();
    for line in smaps.lines() {
        let start = line.split('-').next().unwrap_or_default();
        if let Some(rss) = line.strip_prefix("Rss:") {
            let kib: u64 = rss.trim().trim_end_matches(" kB").parse().unwrap_or(0);
            sum.all += kib * 1024;
            sum.runner += kib * 1024 * u64::from(is_runners);
        } else if let Ok(start) = u64::from_str_radix(start, 16) {
            is_runners = start >= RUNNER_START;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_found_by_their_whole_names() {
        let text = "hello\ncost park_long 7\ncost park 12.5\ncost bad\n";
        let expected = [("park_long".to_owned(), 7.0), ("park".to_owned(), 12.5)];
        assert_eq!(costs(text), expected);
    }

    #[test]
    fn the_runner_s_memory_is_what_lies_above_the_guest() {
        let smaps = "\
00400000-00401000 r-xp 00000000 00:01 1 /guest
Rss:                   4 kB
7f0000000000-7f0000100000 rw-p 00000000 00:00 0
Size:               1024 kB
Rss:                 100 kB
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]
Rss:                   0 kB
";
        let expected = Resident {
            runner: 100 * 1024,
            all: 104 * 1024,
        };
        assert_eq!(resident_in(smaps), expected);
    }
}
