//! `lwp hunt`: what it finds, how it says so, and how it ends.

use crate::elf::{Code, Elf, Value, data, nr};
use crate::run::{file, guest, lwp, output, program, stderr};
use serde_json::Value as Json;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// `lwp hunt ARGS`, whose schedule goes to a file of that name.
fn hunt(name: &str, args: &[&str]) -> Command {
    let mut command = lwp();
    command.args(["hunt", "--json", "--output"]);
    command.arg(schedule(name)).args(args);
    command
}

fn schedule(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.schedule"))
}

/// What a hunt says, and its exit status.
#[track_caller]
fn told(command: &mut Command) -> (Json, Option<i32>) {
    let output = output(command);
    let told = serde_json::from_slice(&output.stdout);
    let told = told.unwrap_or_else(|err| panic!("{err}: {output:?}"));
    (told, output.status.code())
}

/// Hunts for a planted bug; how it fails, and what its replay does.
#[track_caller]
fn found(name: &str) -> (String, Output) {
    let (told, status) = told(hunt(name, &[]).arg(guest("bugs")).arg(name));
    assert_eq!(status, Some(1), "{told}");
    let caught = &told["found"];
    assert_eq!(caught["is_flaky"], false, "{told}");
    assert!(caught["seed"].is_u64() && told["schedules"].as_u64() > Some(0));
    let story = caught["story"].as_array().unwrap();
    assert_eq!(Some(story.len() as u64), caught["decisions"].as_u64());
    let how = caught["how"].as_str().unwrap().to_owned();
    (how, output(lwp().arg("replay").arg(schedule(name))))
}

#[test]
fn a_deadlock_is_found_and_replayed() {
    let (how, again) = found("abba");
    assert_eq!(how, "hangs: every LWP waits for another");
    assert_eq!(again.status.code(), Some(124));
}

#[test]
fn an_exit_status_is_found_and_replayed() {
    let (how, again) = found("cond-if");
    assert_eq!(how, "exits with status 1");
    assert_eq!(again.status.code(), Some(1));
}

#[test]
fn a_signal_is_found_and_replayed() {
    let (how, again) = found("detach");
    assert!(how.starts_with("is killed by SIG"), "{how}");
    assert!(again.status.signal().is_some(), "{again:?}");
}

#[test]
fn a_race_without_a_system_call_is_found_and_its_function_is_named() {
    let (told, _) = told(hunt("counter", &[]).arg(guest("bugs")).arg("counter"));
    let story = told["found"]["story"].to_string();
    assert!(
        story.contains("instructions after") && story.contains(" in "),
        "{story}"
    );
}

#[test]
fn nothing_found_is_status_0() {
    let guest = program("hunt-right", Code::default().exit(0));
    let (told, status) = told(hunt("right", &["--runs", "50", "--jobs", "2"]).arg(guest));
    assert_eq!(status, Some(0));
    assert!(told["found"].is_null());
    assert_eq!(told["schedules"], 50);
}

#[test]
fn what_fails_without_a_seed_is_said_to() {
    let guest = program("hunt-fails", Code::default().exit(7));
    let (told, status) = told(hunt("fails", &[]).arg(&guest));
    assert_eq!(status, Some(1));
    assert!(told["found"]["seed"].is_null());
    assert_eq!(told["found"]["how"], "exits with status 7");
    let in_words = output(lwp().arg("hunt").arg(guest));
    let said = String::from_utf8_lossy(&in_words.stdout).into_owned();
    assert_eq!(said, "It exits with status 7 with no help from a seed.\n");
}

/// A program that writes "said" `times` times a kilobyte, and ends well.
fn writer(name: &str, times: u32, bytes: &'static [u8]) -> PathBuf {
    let len = Value::Is(u32::try_from(bytes.len()).unwrap());
    let write = Code::default().call(nr::WRITE, &[Value::Is(1), data(), len]);
    let elf = Elf {
        data: bytes,
        ..Elf::netbsd(Code::default().repeat(times, &write).exit(0))
    };
    file(name, &elf.bytes(), 0o755)
}

#[test]
fn a_pattern_in_the_output_is_found() {
    let guest = writer("hunt-says", 1, b"said: 7 of 8\n");
    let pattern = |pattern| {
        let args = ["--runs", "5", "--pattern", pattern];
        told(hunt("says", &args).arg(&guest))
    };
    let (told, status) = pattern("7 of 8");
    assert_eq!(status, Some(1));
    assert_eq!(told["found"]["how"], "prints the pattern");
    assert_eq!(told["found"]["output"], "said: 7 of 8\n");
    assert_eq!(pattern("8 of 8").1, Some(0));
}

#[test]
fn a_hundred_megabytes_of_output_are_no_hang() {
    static BYTES: [u8; 1 << 16] = [b'x'; 1 << 16];
    let guest = writer("hunt-writes", 1600, &BYTES);
    let (told, status) = told(hunt("writes", &["--runs", "2", "--jobs", "1"]).arg(guest));
    assert_eq!(status, Some(0), "{told}");
}

#[test]
fn who_goes_on_for_ever_hangs() {
    for (name, code) in [
        ("hunt-spins", Code::default().spin()),
        ("hunt-calls", Code::default().for_ever(nr::GETPID)),
    ] {
        let guest = program(name, code);
        let (told, status) = told(hunt(name, &["--timeout", "0.1"]).arg(guest));
        assert_eq!(status, Some(1), "{told}");
        let how = told["found"]["how"].as_str().unwrap();
        assert!(how.starts_with("hangs: "), "{how}");
    }
}

#[test]
fn a_hang_by_seed_is_replayed() {
    // Half of the seeds give it an even process id.
    let endless = Code::default().for_ever(nr::GETPID);
    let code = Code::default().call(nr::GETPID, &[]).if_even(&endless);
    let guest = program("hunt-even", code.exit(0));
    let (told, status) = told(hunt("even", &[]).arg(guest));
    assert_eq!(status, Some(1), "{told}");
    let how = told["found"]["how"].as_str().unwrap();
    assert!(how.starts_with("hangs: it goes on and on"), "{told}");
    let again = output(lwp().arg("replay").arg(schedule("even")));
    assert_eq!(again.status.code(), Some(124));
    assert!(!stderr(&again).contains("did not do"), "{again:?}");
}

#[test]
fn a_hunt_that_cannot_begin_says_why_in_one_line() {
    let text = file("hunt-text", b"no program", 0o755);
    let right = program("hunt-begins", Code::default().exit(0));
    let text = text.to_str().unwrap();
    for (args, status) in [
        (vec!["/nowhere/program"], 127),
        (vec![text], 126),
        (vec!["--policy", "mad", text], 125),
        (vec!["--timeout", "0", text], 125),
        (vec!["--jobs", "0", text], 125),
        (vec![], 125),
    ] {
        let refused = output(lwp().arg("hunt").args(&args));
        assert_eq!(refused.status.code(), Some(status), "{args:?}: {refused:?}");
        assert_eq!(stderr(&refused).lines().count(), 1, "{args:?}: {refused:?}");
    }
    let mut command = lwp();
    command.args(["hunt", "--output", "/nowhere/x.schedule"]);
    let unwritten = output(command.arg(guest("bugs")).arg("cond-if"));
    assert_eq!(unwritten.status.code(), Some(125), "{unwritten:?}");
    assert_eq!(
        output(lwp().args(["hunt", "--runs", "0"]).arg(right))
            .status
            .code(),
        Some(0)
    );
}
