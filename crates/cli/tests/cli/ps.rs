//! `lwp ps`: which guests it sees, and through what.

use crate::elf::{Code, Elf, Value, data, nr};
use crate::run::{file, lwp, output, stderr};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use serde_json::Value as Json;
use std::env;
use std::fs;
use std::io::Read;
use std::ops::Deref;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Output, Stdio};

/// A private directory for sockets: not where tests have theirs, since a socket's path has to be short.
struct Runtime(PathBuf);

fn runtime(name: &str) -> Runtime {
    let path = env::temp_dir().join(format!("lwp-{}-{name}", process::id()));
    fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
    Runtime(path)
}

impl Deref for Runtime {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // What is left of it is in nobody's way.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The same, for both sides.
fn beside(mut command: Command, runtime: &Path) -> Command {
    command.env("XDG_RUNTIME_DIR", runtime);
    command
}

/// A guest that has said "up" by then, and ends at the end of its input.
fn reader(name: &str, runtime: &Path, command: &str) -> Child {
    let (stdin, stdout, len) = (Value::Is(0), Value::Is(1), Value::Is(3));
    let code = Code::default()
        .call(nr::WRITE, &[stdout, data(), len])
        .call(nr::READ, &[stdin, data(), len])
        .exit_with_result();
    let elf = Elf {
        data: b"up\n",
        ..Elf::netbsd(code)
    };
    let path = file(name, &elf.bytes(), 0o755);
    let mut guest = beside(lwp(), runtime);
    let piped = guest.arg(command).arg(&path).stdin(Stdio::piped());
    let mut child = piped.stdout(Stdio::piped()).spawn().unwrap();
    let mut up = [0; 3];
    child.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
    child
}

fn ps(runtime: &Path, args: &[&str]) -> Output {
    output(beside(lwp(), runtime).arg("ps").args(args))
}

/// What is seen of a process; `None` if it is not among the guests. (There may be others.)
fn seen(runtime: &Path, pid: u32) -> Option<Json> {
    let all: Vec<Json> = serde_json::from_slice(&ps(runtime, &["--json"]).stdout).unwrap();
    all.into_iter().find(|guest| guest["pid"] == pid)
}

/// Lets a [`reader`] come to its end.
fn end(mut guest: Child) {
    drop(guest.stdin.take());
    assert_eq!(guest.wait().unwrap().code(), Some(0));
}

#[test]
fn a_guest_is_there_while_it_runs_and_its_socket_no_longer() {
    let runtime = runtime("ps-one");
    let guest = reader("ps-one-guest", &runtime, "run");
    let pid = guest.id();
    let socket = runtime.join("lwp").join(pid.to_string());
    assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
    let directory = fs::metadata(runtime.join("lwp")).unwrap().permissions();
    assert_eq!(directory.mode() & 0o777, 0o700);

    let seen = seen(&runtime, pid).unwrap();
    assert_eq!(seen["lwps"][0]["lid"], pid);
    assert_eq!(seen["created"], 1);
    let text = ps(&runtime, &[&pid.to_string()]).stdout;
    let text = String::from_utf8(text).unwrap();
    let line = text.lines().nth(1).unwrap();
    assert!(line.ends_with(" ps-one-guest"), "{text}");

    end(guest);
    assert!(!socket.exists());
    assert_eq!(self::seen(&runtime, pid), None);
}

#[test]
fn time_in_the_guest_is_known_where_somebody_listens() {
    let runtime = runtime("ps-traced");
    let guest = reader("ps-traced-guest", &runtime, "trace");
    let seen = seen(&runtime, guest.id()).unwrap();
    let lwp = &seen["lwps"][0];
    let field = |name: &str| lwp[name].as_u64().unwrap();
    assert_eq!(field("user") + field("kernel"), field("time"), "{lwp}");
    end(guest);
}

#[test]
fn what_was_killed_is_not_there_and_its_socket_goes() {
    let runtime = runtime("ps-killed");
    let mut guest = reader("ps-killed-guest", &runtime, "run");
    let pid = guest.id();
    let socket = runtime.join("lwp").join(pid.to_string());
    guest.kill().unwrap();
    guest.wait().unwrap();
    assert!(socket.exists());
    assert_eq!(seen(&runtime, pid), None);
    assert!(!socket.exists());
}

#[test]
fn a_stopped_guest_keeps_nobody_waiting() {
    let runtime = runtime("ps-stopped");
    let guest = reader("ps-stopped-guest", &runtime, "run");
    let pid = Pid::from_child(&guest);
    let signal = |signal| rustix::process::kill_process(pid, signal).unwrap();
    signal(Signal::STOP);
    // Linux stops it before it says so.
    rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED).unwrap();
    let seen = ps(&runtime, &[&guest.id().to_string()]);
    assert_eq!(seen.status.code(), Some(125));
    let expected = "is stopped, and cannot say what it does\n";
    assert!(stderr(&seen).ends_with(expected), "{}", stderr(&seen));
    signal(Signal::CONT);
    end(guest);
}

#[test]
fn a_process_that_is_no_guest_is_an_error() {
    let runtime = runtime("ps-none");
    let refused = ps(&runtime, &["1"]);
    assert_eq!(refused.status.code(), Some(125));
    assert_eq!(
        stderr(&refused),
        "lwp: process 1 is no guest of this user's\n"
    );
}

#[test]
fn a_directory_that_others_can_search_is_not_used() {
    let runtime = runtime("ps-open");
    let open = runtime.join("lwp");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o711)).unwrap();
    let guest = reader("ps-open-guest", &runtime, "run");
    assert_eq!(fs::read_dir(&open).unwrap().count(), 0);
    // It is in the other place, where guests of other tests may be too.
    let seen = ps(&runtime, &["--json", &guest.id().to_string()]);
    assert_eq!(seen.status.code(), Some(0), "{}", stderr(&seen));
    end(guest);
}
