//! The guest programs of `lwp conform`: where they lie, how they are run, and what they say.
//!
//! They run in a directory of their own, which is taken away at the end. As root they run as nobody if that
//! can be done: limits do not bind root, so their checks would say nothing.
//!
//! # Invariants
//! 1. No program runs longer than [`LIMIT`].

use crate::guests;
use core::num::NonZeroUsize;
use lwp_conform::Statement;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take; the checks in it have limits of their own.
const LIMIT: Duration = Duration::from_mins(5);

/// The user and the group that own nothing.
const NOBODY: u32 = 65534;

/// A program that is one check, not a table of them: it takes numbers.
const STORM: &str = "storm";

/// What one check said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) program: String,
    pub(super) name: String,
    /// Why it failed, or could not be made.
    pub(super) result: Result<(), String>,
}

/// What one pass came to.
pub(super) struct Ran {
    pub(super) checks: Vec<Check>,
    /// The programs that did not come to their end, and how they ended.
    pub(super) ended_early: BTreeMap<String, String>,
}

/// The programs, ready to be run.
pub(super) struct Suite {
    scratch: Scratch,
    /// Each with the names of the checks that are wanted; none for all.
    programs: Vec<(&'static str, Vec<&'static str>)>,
    vcpus: Option<NonZeroUsize>,
    as_nobody: bool,
}

impl Suite {
    /// Puts the programs that have the checks of `wanted` where they can be run. With `only_these` no
    /// other checks run.
    ///
    /// # Errors
    /// The directory or a file in it cannot be made.
    pub(super) fn new(
        wanted: &[Statement],
        only_these: bool,
        vcpus: Option<NonZeroUsize>,
    ) -> io::Result<Self> {
        let mut programs: Vec<(&str, Vec<&str>)> = Vec::new();
        for statement in wanted {
            let Some(program) = statement.guest() else {
                continue;
            };
            let at = programs.iter().position(|(name, _)| *name == program);
            let at = at.unwrap_or_else(|| {
                programs.push((program, Vec::new()));
                programs.len() - 1
            });
            if only_these {
                programs[at].1.push(statement.id);
            }
        }
        let scratch = Scratch::new()?;
        for (name, _) in &programs {
            let image = guests::find(name)
                .ok_or_else(|| io::Error::other(format!("{name} was left out")))?;
            let path = scratch.0.join(name);
            fs::write(&path, image)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        let mut suite = Self {
            scratch,
            programs,
            vcpus,
            as_nobody: false,
        };
        suite.as_nobody = rustix::process::geteuid().is_root() && suite.can_be_nobody();
        Ok(suite)
    }

    /// Whether a child of ours can become nobody, and use the directory then.
    fn can_be_nobody(&self) -> bool {
        if chown(&self.scratch.0, Some(NOBODY), Some(NOBODY)).is_err() {
            return false;
        }
        let mut command = self.command(true);
        command.arg("--version").stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// Ourselves, in the directory.
    fn command(&self, as_nobody: bool) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.current_dir(&self.scratch.0).stdin(Stdio::null());
        if as_nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Runs each program once. The number of the pass is the seed of what is random.
    ///
    /// # Errors
    /// A program cannot be started.
    pub(super) fn pass(&self, pass: usize) -> io::Result<Ran> {
        let mut ran = Ran {
            checks: Vec::new(),
            ended_early: BTreeMap::new(),
        };
        for (program, names) in &self.programs {
            let mut command = self.command(self.as_nobody);
            command.arg("run");
            if let Some(vcpus) = self.vcpus {
                command.arg(format!("--vcpus={vcpus}"));
            }
            command.arg(format!("./{program}"));
            if *program == STORM {
                command.args(["8".to_owned(), "10000".to_owned(), pass.to_string()]);
            } else {
                command.args(names);
            }
            let (said, ending) = self.finish(program, &mut command)?;
            let mut checks: Vec<_> = said
                .lines()
                .filter_map(|line| check(program, line))
                .collect();
            let has_failed = checks.iter().any(|check| check.result.is_err());
            ran.checks.append(&mut checks);
            if let Some(how) = ending.filter(|_| !has_failed) {
                ran.ended_early.insert((*program).to_owned(), how);
            }
        }
        Ok(ran)
    }

    /// Runs a command to its end; its output, and how it ended, unless with status 0.
    fn finish(&self, program: &str, command: &mut Command) -> io::Result<(String, Option<String>)> {
        let path = |suffix: &str| self.scratch.0.join(format!("{program}.{suffix}"));
        let (out, err) = (path("out"), path("err"));
        let mut child = command
            .stdout(File::create(&out)?)
            .stderr(File::create(&err)?)
            .spawn()?;
        let ending = match within_limit(&mut child)? {
            Some(status) if status.success() => None,
            Some(status) => Some(format!("{status}{}", last_line(&err))),
            None => Some(format!("still running after {} s", LIMIT.as_secs())),
        };
        Ok((read(&out), ending))
    }
}

/// Waits for a child; kills it when the time is over, and gives `None`.
fn within_limit(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let end = Instant::now() + LIMIT;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(0) => {
                child.kill()?;
                child.wait()?;
                return Ok(None);
            }
            Ok(_) => return child.wait().map(Some),
        }
    }
}

/// What a program wrote. It may have been cut off within a character.
fn read(path: &Path) -> String {
    fs::read(path).map_or_else(
        |_| String::new(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}

fn last_line(path: &Path) -> String {
    let text = read(path);
    let last = text.trim_end().lines().next_back();
    last.map(|line| format!(": {line}")).unwrap_or_default()
}

/// What a line of a program's output says of a check.
fn check(program: &str, line: &str) -> Option<Check> {
    let (word, rest) = line.split_once(' ')?;
    let (name, detail) = rest.split_once(' ').unwrap_or((rest, ""));
    let result = match word {
        "ok" => Ok(()),
        "FAIL" => Err(detail.to_owned()),
        "skip" => Err(format!("it could not be made: {detail}")),
        _ => return None,
    };
    Some(Check {
        program: program.to_owned(),
        name: name.to_owned(),
        result,
    })
}

/// A directory that is taken away in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        let name = format!("lwp-conform-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing depends on it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let read = |line| check("lwp", line).map(|check| (check.name, check.result));
        assert_eq!(read("ok L-001"), Some(("L-001".to_owned(), Ok(()))));
        let failed = Err("line 3: 1, not 2".to_owned());
        assert_eq!(
            read("FAIL L-023/image line 3: 1, not 2"),
            Some(("L-023/image".to_owned(), failed))
        );
        let skipped = read("skip L-034 root has no limits").unwrap().1;
        assert!(skipped.is_err());
        assert_eq!(read("24 passed, 0 failed, 0 skipped"), None);
        assert_eq!(
            read("ok L-315 8 LWPs, 10000 rounds"),
            Some(("L-315".to_owned(), Ok(())))
        );
    }
}
