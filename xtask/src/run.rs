//! Running a command to its end, or to its time limit.
//!
//! A command with a limit runs in its own process group, without standard input, with its output
//! in files: a process that it leaves behind can then keep neither a pipe nor us waiting. When it
//! has ended, in whatever way, the group is killed.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A command that ended by itself, and what it said.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Says `Ok` if the command ended with exit status 0, and otherwise how it ended and what it
    /// said last.
    pub(crate) fn success(self) -> Result<Self, String> {
        if self.status.success() {
            return Ok(self);
        }
        let said = spoken(&self.stdout, &self.stderr);
        Err(format!("{}{}", ending(self.status), last_lines(said)))
    }
}

/// Runs `command` for at most `limit`, and keeps its output in `LOG.out` and `LOG.err`.
///
/// # Errors
/// It did not start, or it did not end in time. How it ended is for the caller to judge.
pub(crate) fn run(command: &mut Command, limit: Duration, log: &Path) -> Result<Finished, String> {
    let (out, err) = (log.with_extension("out"), log.with_extension("err"));
    let mut child = start(
        command
            .stdin(Stdio::null())
            .stdout(create(&out)?)
            .stderr(create(&err)?),
    )?;
    let ended = wait(&mut child, limit);
    kill_group(&child);
    let (stdout, stderr) = (read(&out)?, read(&err)?);
    match ended? {
        Some(status) => Ok(Finished {
            status,
            stdout,
            stderr,
        }),
        None => Err(format!(
            "still running after {} s, killed{}",
            limit.as_secs(),
            last_lines(spoken(&stdout, &stderr))
        )),
    }
}

/// Starts `command` as the leader of a new process group.
pub(crate) fn start(command: &mut Command) -> Result<Child, String> {
    let started = command.process_group(0).spawn();
    started.map_err(|why| cannot_run(command, &why))
}

/// Waits until `child` ends, for at most `limit`; then kills it and says `None`.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>, String> {
    let ended = ends_within(child, limit)?;
    if !ended {
        kill_group(child);
    }
    let status = child.wait().map_err(|why| format!("wait: {why}"))?;
    Ok(ended.then_some(status))
}

fn ends_within(child: &Child, limit: Duration) -> Result<bool, String> {
    let pidfd =
        pidfd_open(pid(child), PidfdFlags::empty()).map_err(|why| format!("pidfd_open: {why}"))?;
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| "time limit too long".to_owned())?;
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(why) => return Err(format!("poll: {why}")),
        }
    }
}

/// Kills whatever is left of the group that `child` leads or led.
pub(crate) fn kill_group(child: &Child) {
    // It fails if nobody is left, which is what we want.
    let _nobody_left = kill_process_group(pid(child), Signal::KILL);
}

/// The process id of `child`, as rustix has it.
pub(crate) fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Runs `command` in front of the user: its words are his to read.
pub(crate) fn show(command: &mut Command) -> Result<(), String> {
    println!("$ {}", words(command));
    let status = command.status().map_err(|why| cannot_run(command, &why))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{}, see above", ending(status)))
    }
}

/// Says in words how a process ended.
pub(crate) fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Says that `command` could not be started, and what to do if it is missing.
pub(crate) fn cannot_run(command: &Command, why: &std::io::Error) -> String {
    let program = command.get_program().display();
    if why.kind() == std::io::ErrorKind::NotFound {
        format!("{program} is missing: install it, this suite cannot run without it")
    } else {
        format!("{program}: {why}")
    }
}

fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn create(path: &Path) -> Result<File, String> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|why| format!("{}: {why}", parent.display()))?;
    }
    File::create(path).map_err(|why| format!("{}: {why}", path.display()))
}

fn read(path: &Path) -> Result<String, String> {
    let bytes = fs::read(path).map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What says most about a failure: standard error, or else standard output.
fn spoken<'t>(stdout: &'t str, stderr: &'t str) -> &'t str {
    if stderr.trim().is_empty() {
        stdout
    } else {
        stderr
    }
}

/// The last lines of `text`, indented, after a line break; nothing of nothing.
fn last_lines(text: &str) -> String {
    const SHOWN: usize = 15;
    let lines: Vec<_> = text.trim_end().lines().collect();
    let shown = &lines[lines.len().saturating_sub(SHOWN)..];
    if shown.is_empty() {
        String::new()
    } else {
        format!("\n    {}", shown.join("\n    "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    fn log(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("xtask-{}-{name}", std::process::id()))
    }

    #[test]
    fn output_and_status_are_kept() {
        let log = log("kept");
        let limit = Duration::from_mins(1);
        let done = run(&mut shell("echo out; echo err >&2; exit 3"), limit, &log).unwrap();
        assert_eq!(done.status.code(), Some(3));
        assert_eq!(
            (done.stdout.as_str(), done.stderr.as_str()),
            ("out\n", "err\n")
        );
        assert_eq!(done.success().err().unwrap(), "exit status 3\n    err");
    }

    #[test]
    fn a_command_that_does_not_end_is_killed_with_its_children() {
        let log = log("endless");
        let mut command = shell("echo begun >&2; sleep 1000 & sleep 1000");
        let why = run(&mut command, Duration::from_millis(200), &log)
            .err()
            .unwrap();
        assert!(why.starts_with("still running after 0 s, killed"), "{why}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let why = run(
            &mut Command::new("no-such-tool"),
            Duration::from_secs(1),
            &log("missing"),
        );
        assert!(why.err().unwrap().starts_with("no-such-tool is missing"));
    }

    #[test]
    fn only_the_end_of_a_long_output_is_shown() {
        let text = (0..100)
            .map(|line| line.to_string())
            .collect::<Vec<_>>()
            .join("\n");
        assert!(last_lines(&text).starts_with("\n    85\n"));
        assert_eq!(last_lines(""), "");
    }
}
