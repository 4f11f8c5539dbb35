//! `lwp run` as a shell has it, in a terminal: signals, job control, and what programs say of errors.
//!
//! Each check has a pseudo-terminal, with bash in it. What is typed is echoed, so what is expected must
//! not be among it.
//!
//! Sources: what the program says of errors is in Go's `zerrors_netbsd_amd64.go`, which has it from NetBSD's
//! `<sys/errno.h>`; who gets which signal, and EIO, in `tty.c: ttread, ttwrite` and tty(4); a status of
//! 128 and more in bash(1), "Exit status", with Linux's numbers, since bash is Linux's.

use crate::project::Project;
use crate::report::Report;
use crate::run::cannot_run;
use crate::runner::Runner;
use crate::setup;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal};
use rustix::pty::OpenptFlags;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// For each thing expected: far more than it takes.
const LIMIT: Duration = Duration::from_secs(30);

/// What is typed, and what is then to be seen.
enum Step {
    Type(&'static str),
    See(&'static str),
    /// The number that follows is that of a process, for [`Step::Kill`].
    Note(&'static str),
    /// Sends SIGTERM to the process last noted.
    Kill,
}

use Step::{Kill, Note, See, Type};

/// A terminal that has left the alternate screen.
const LEFT: &str = "\x1b[?1049l";

/// The checks; `$RUN` runs the program of `xtask/setup/terminal`, `$LWP` is `lwp`.
const CHECKS: &[(&str, &[Step])] = &[
    (
        "kill -TERM",
        &[
            Type("$RUN wait &\n"),
            See("ready\r\n"),
            Type("kill -TERM %1\n"),
            See("Terminated"),
            // By its number: the job may be forgotten by now, its status is not.
            Type("wait $!; echo status $?\n"),
            See("status 143\r\n"),
        ],
    ),
    (
        "Ctrl-C",
        &[
            Type("$RUN wait\n"),
            See("ready\r\n"),
            Type("\x03"),
            See("^C"),
            Type("echo status $?\n"),
            See("status 130\r\n"),
        ],
    ),
    (
        "Ctrl-Z and fg",
        &[
            Type("$RUN repeat\n"),
            See("ready\r\n"),
            Type("one\n"),
            See("again: one\r\n"),
            Type("\x1a"),
            See("Stopped"),
            Type("echo status $?\n"),
            See("status 148\r\n"),
            Type("fg\n"),
            See("$RUN repeat\r\n"),
            Type("two\n"),
            See("again: two\r\n"),
            Type("\x04"),
            See("the end\r\n"),
        ],
    ),
    (
        "reading in the background",
        &[
            Type("$RUN repeat &\n"),
            See("ready\r\n"),
            See("Stopped"),
            Type("jobs -l\n"),
            See("tty input"),
            Type("fg\n"),
            See("$RUN repeat\r\n"),
            Type("one\n"),
            See("again: one\r\n"),
            Type("\x04"),
            See("the end\r\n"),
        ],
    ),
    (
        "reading in the background without SIGTTIN",
        &[
            Type("$RUN deaf &\n"),
            See("read /dev/stdin: input/output error\r\n"),
        ],
    ),
    (
        "reading in an orphaned process group",
        &[
            Type("(parent=$BASHPID; $RUN orphan $parent < /dev/tty &)\n"),
            See("ready\r\n"),
            See("read /dev/stdin: input/output error\r\n"),
        ],
    ),
    (
        "writing in the background",
        &[
            Type("stty tostop\n"),
            Type("$RUN wait &\n"),
            See("Stopped"),
            Type("jobs -l\n"),
            See("tty output"),
            Type("fg\n"),
            See("ready\r\n"),
            Type("\x03"),
            See("^C"),
        ],
    ),
    (
        "a closed pipe",
        &[
            Type("$RUN flood | head -n 1; echo status ${PIPESTATUS[0]}\n"),
            See("line\r\n"),
            See("status 141\r\n"),
            Type("$RUN pipe\n"),
            See("write |1: broken pipe\r\n"),
        ],
    ),
    (
        "a full disk",
        &[
            Type("$RUN full\n"),
            See("write /dev/full: no space left on device\r\n"),
        ],
    ),
    (
        "a missing file",
        &[
            Type("$RUN missing\n"),
            See("open /no/such/file: no such file or directory\r\n"),
        ],
    ),
    (
        "too many files",
        &[
            Type("(ulimit -n 64; $RUN files)\n"),
            See("are open, then open /dev/null: too many open files\r\n"),
        ],
    ),
    (
        "top restores the terminal after q",
        &[
            Type("stty rows 24 cols 160; $RUN wait &\n"),
            See("ready\r\n"),
            Type("$LWP top\n"),
            See("lwp top:"),
            Type("q"),
            See(LEFT),
            Type("echo status $?; stty -a | grep -c -e -icanon\n"),
            See("status 0\r\n0\r\n"),
            Type("kill %1\n"),
            See("Terminated"),
        ],
    ),
    (
        "top restores the terminal after Ctrl-C",
        &[
            Type("stty rows 24 cols 160; $RUN wait &\n"),
            See("ready\r\n"),
            Type("$LWP top\n"),
            See("lwp top:"),
            Type("\x03"),
            See(LEFT),
            Type("echo status $?; stty -a | grep -c -e -icanon\n"),
            See("status 0\r\n0\r\n"),
            Type("kill %1\n"),
            See("Terminated"),
        ],
    ),
    (
        "top restores the terminal after SIGTERM",
        &[
            Type("stty rows 24 cols 160; $RUN wait &\n"),
            See("ready\r\n"),
            Type("bash -c 'echo number=$$; exec $LWP top'\n"),
            See("exec"),
            Note("number="),
            See("lwp top:"),
            Kill,
            See(LEFT),
            See("lwp: ended by signal 15\r\n"),
            Type("echo status $?; stty -a | grep -c -e -icanon\n"),
            See("status 143\r\n0\r\n"),
            Type("kill %1\n"),
            See("Terminated"),
        ],
    ),
    (
        "top restores the terminal after the guest's death",
        &[
            Type("stty rows 24 cols 160; $RUN wait &\n"),
            See("ready\r\n"),
            Type("echo number=$!\n"),
            See("echo"),
            See("\r\n"),
            Note("number="),
            Type("$LWP top $!\n"),
            See("lwp top:"),
            Kill,
            See(LEFT),
            Type("echo status $?; stty -a | grep -c -e -icanon\n"),
            See("status 0\r\n0\r\n"),
        ],
    ),
];

/// The terminal suite.
pub(crate) fn suite(project: &Project, report: &mut Report) {
    let Some((command, lwp)) = report.need("set-up", || prepare(project)) else {
        return;
    };
    for (name, steps) in CHECKS {
        report.check(name, || {
            let mut terminal = Terminal::open(&command, &lwp)?;
            steps.iter().try_for_each(|step| terminal.step(step))
        });
    }
}

/// Builds the program; the command that runs it, for bash, and `lwp`.
fn prepare(project: &Project) -> Result<(String, PathBuf), String> {
    let go = setup::go(project)?;
    let directory = "xtask/setup/terminal";
    let program = setup::go_program(project, &go, directory, "netbsd", "terminal/program")?;
    let lwp = project.lwp()?;
    let runner = Runner::new(lwp.clone());
    let words: Vec<_> = runner
        .words()
        .chain([program.into()])
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    Ok((words.join(" "), lwp))
}

/// A pseudo-terminal with bash in it, which gets SIGHUP when this is dropped.
struct Terminal {
    master: File,
    bash: Child,
    said: Receiver<Vec<u8>>,
    /// What has been said and not yet been expected.
    unseen: String,
    /// See [`Step::Note`].
    noted: Option<Pid>,
}

impl Terminal {
    fn open(command: &str, lwp: &Path) -> Result<Self, String> {
        let (master, slave) = pair().map_err(|why| format!("a pseudo-terminal: {why}"))?;
        // -b: says at once that a job has stopped or ended.
        let mut bash = Command::new("setsid");
        bash.args(["--ctty", "bash", "--norc", "--noprofile", "--noediting"])
            .args(["-b", "-i"])
            .env("PS1", "> ")
            .env("RUN", command)
            .env("LWP", lwp)
            .env("TERM", "xterm")
            .env("LC_ALL", "C")
            .env("HISTFILE", "");
        let copy = || slave.try_clone().map_err(|why| format!("dup: {why}"));
        bash.stdin(copy()?).stdout(copy()?).stderr(copy()?);
        let bash = bash.spawn().map_err(|why| cannot_run(&bash, &why))?;
        let reader = master.try_clone().map_err(|why| format!("dup: {why}"))?;
        let mut terminal = Self {
            master,
            bash,
            said: listen(reader),
            unseen: String::new(),
            noted: None,
        };
        terminal.see("> ")?;
        Ok(terminal)
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Type(keys) => {
                let typed = self.master.write_all(keys.as_bytes());
                typed.map_err(|why| format!("typing {keys:?}: {why}"))
            }
            See(text) => self.see(text),
            Note(before) => {
                self.see(before)?;
                while !self.unseen.contains('\r') {
                    self.hear("a number")?;
                }
                let digits = self
                    .unseen
                    .split('\r')
                    .next()
                    .and_then(|text| text.parse().ok());
                self.noted = digits.and_then(Pid::from_raw);
                Ok(())
            }
            Kill => {
                let noted = self.noted.ok_or("no process is noted")?;
                let killed = rustix::process::kill_process(noted, Signal::TERM);
                killed.map_err(|why| format!("kill: {why}"))
            }
        }
    }

    /// Waits until `text` is there, and passes it.
    fn see(&mut self, text: &str) -> Result<(), String> {
        loop {
            if let Some(at) = self.unseen.find(text) {
                self.unseen.drain(..at + text.len());
                return Ok(());
            }
            self.hear(text)?;
        }
    }

    /// Waits for more, in which `text` may be.
    fn hear(&mut self, text: &str) -> Result<(), String> {
        let more = self.said.recv_timeout(LIMIT);
        let more = more.map_err(|_| format!("no {text:?}, but {:?}", self.unseen))?;
        self.unseen += &String::from_utf8_lossy(&more);
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It fails if bash is gone already.
        let _is_gone = self.bash.kill();
        let _status = self.bash.wait();
    }
}

/// Both ends of a new pseudo-terminal.
fn pair() -> rustix::io::Result<(File, File)> {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    let name = rustix::pty::ptsname(&master, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave: OwnedFd = rustix::fs::open(name, flags, Mode::empty())?;
    Ok((master.into(), slave.into()))
}

/// What the terminal says, as it comes; a thread reads it to the end.
fn listen(mut master: File) -> Receiver<Vec<u8>> {
    let (sender, said) = channel();
    thread::spawn(move || {
        let mut buf = [0; 4096];
        // EIO when the last process has closed the terminal.
        while let Ok(count @ 1..) = master.read(&mut buf) {
            if sender.send(buf[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    said
}
