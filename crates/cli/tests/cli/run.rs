//! Running `lwp` in a test: under a time limit, in files that a test has for itself.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::elf::{Code, Elf};

/// Far longer than any test takes. A run that reaches it is killed, and fails the test.
const LIMIT: Duration = Duration::from_mins(1);

/// The `lwp` under test.
pub(crate) fn lwp() -> Command {
    Command::new(env!("CARGO_BIN_EXE_lwp"))
}

/// `lwp run PROGRAM`.
pub(crate) fn lwp_run(program: &Path) -> Command {
    let mut command = lwp();
    command.arg("run").arg(program);
    command
}

/// `lwp run PROGRAM` behind a shell script that ends with `"$@"`.
pub(crate) fn lwp_run_by_shell(script: &str, program: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_lwp"), "run"])
        .arg(program);
    command
}

/// Makes the file `name` in this test run's directory. Every test has its own names.
pub(crate) fn file(name: &str, bytes: &[u8], mode: u32) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

/// Makes a NetBSD program called `name` that runs `code`.
pub(crate) fn program(name: &str, code: Code) -> PathBuf {
    file(name, &Elf::netbsd(code).bytes(), 0o755)
}

/// The program `name` of `guests/`.
pub(crate) fn guest(name: &str) -> PathBuf {
    // They are all built for those that are embedded.
    Path::new(env!("LWP_GUEST_HELLO")).with_file_name(name)
}

/// Runs `command` with `input` as its standard input, and collects what it says.
pub(crate) fn output_of(command: &mut Command, input: &[u8]) -> Output {
    use std::io::Write;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Whoever does not read gets no input: that is no failure of the test.
    let _unread = child.stdin.take().unwrap().write_all(input);
    finish(child)
}

/// Runs `command` without input, and collects what it says.
pub(crate) fn output(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    finish(command.spawn().unwrap())
}

/// Waits for the end of `child`, and kills it at the time limit.
pub(crate) fn finish(child: Child) -> Output {
    let (done, limit) = channel::<()>();
    let pid = child.id();
    let watchdog = thread::spawn(move || {
        if limit.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            kill(pid, "KILL");
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(done);
    watchdog.join().unwrap();
    assert_ne!(
        output.status.signal(),
        Some(9),
        "still running after {LIMIT:?}: {output:?}"
    );
    output
}

/// Sends a signal, by its name, with kill(1).
pub(crate) fn kill(pid: u32, signal: &str) {
    let killed = Command::new("/bin/sh")
        .args(["-c", &format!("kill -{signal} {pid}")])
        .status();
    assert!(killed.unwrap().success(), "kill -{signal} {pid}");
}

/// The standard error of `output`, which must be text.
pub(crate) fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

/// Checks that `lwp run ARGS` refuses: with `status`, nothing on standard output, and one line on
/// standard error that is for people and holds all `words`.
#[track_caller]
pub(crate) fn assert_refused<S: AsRef<OsStr>>(
    args: impl IntoIterator<Item = S>,
    status: i32,
    words: &[&str],
) {
    let output = output(lwp().arg("run").args(args));
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(output.stdout.is_empty());
    assert_eq!(said.lines().count(), 1, "not one line: {said}");
    assert!(said.starts_with("lwp: "), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

/// Checks that `output` ended with `status` and said nothing on standard error.
#[track_caller]
pub(crate) fn assert_status(output: &Output, status: i32) {
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    assert_eq!(stderr(output), "");
}
