//! `lwp run --timeline`: when the file is written, and what it is. What is in it is tested elsewhere.

use crate::elf::{Code, Elf, Value, data_at, nr};
use crate::run::{assert_refused, assert_status, file, lwp, output, program, stderr};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SIGTERM: u32 = 15;

/// Runs `program` in this test run's directory, with a timeline in the file called `name`.
fn timeline(name: &str, program: &Path) -> (Output, Option<Vec<u8>>) {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut command: Command = lwp();
    command.args(["run", "--timeline", name]).arg(program);
    let output = output(command.current_dir(directory));
    (output, fs::read(directory.join(name)).ok())
}

fn contains(bytes: &[u8], text: &str) -> bool {
    let mut windows = bytes.windows(text.len());
    windows.any(|window| window == text.as_bytes())
}

#[test]
fn a_page_replaces_the_file_when_the_program_ends() {
    file("ends.html", b"old", 0o644);
    let guest = program("timeline-ends", Code::default().exit(3));
    let (output, page) = timeline("ends.html", &guest);
    assert_status(&output, 3);
    assert_eq!(stderr(&output), "");
    let page = String::from_utf8(page.unwrap()).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
}

#[test]
fn a_program_that_a_signal_ends_has_one_too() {
    let guest = program("timeline-killed", Code::default().die_of(SIGTERM));
    let (output, trace) = timeline("killed.pftrace", &guest);
    assert_eq!(output.status.signal(), Some(15));
    assert!(contains(&trace.unwrap(), "kill"), "the call is not there");
}

/// A program that executes the file at a path of up to seven bytes, found from its directory.
fn executes(name: &str, data: &'static [u8; 24]) -> PathBuf {
    // The path, then the vector of arguments: the path, and NULL. No environment.
    let args = [data_at(0), data_at(8), Value::Is(0)];
    let code = Code::default().call(nr::EXECVE, &args).exit_with_result();
    let elf = Elf {
        data,
        ..Elf::netbsd(code)
    };
    file(name, &elf.bytes(), 0o755)
}

#[test]
fn of_two_netbsd_programs_the_last_is_shown() {
    program("t-last", Code::default().exit(7));
    let guest = executes(
        "timeline-execs",
        b"t-last\0\0\x00\x08\x40\0\0\0\0\0\0\0\0\0\0\0\0\0",
    );
    let (output, trace) = timeline("execs.pftrace", &guest);
    assert_status(&output, 7);
    let trace = trace.unwrap();
    assert!(contains(&trace, "t-last") && contains(&trace, "exit"));
    assert!(!contains(&trace, "timeline-execs") && !contains(&trace, "execve"));
}

#[test]
fn before_a_host_s_program_it_is_written() {
    file("t-host", b"#!/bin/sh\nexit 9\n", 0o755);
    let guest = executes(
        "timeline-host",
        b"t-host\0\0\x00\x08\x40\0\0\0\0\0\0\0\0\0\0\0\0\0",
    );
    let (output, trace) = timeline("host.pftrace", &guest);
    assert_status(&output, 9);
    assert!(contains(&trace.unwrap(), "execve"));
}

#[test]
fn what_cannot_be_written_is_one_line_and_the_status_is_the_program_s() {
    let guest = program("timeline-nowhere", Code::default().exit(3));
    let (output, page) = timeline("no/such/place.html", &guest);
    assert_status_and_words(&output, 3, &["no/such/place.html", "No such file"]);
    assert_eq!(page, None);
}

/// Its exit status, and one line on standard error that holds all `words`.
#[track_caller]
fn assert_status_and_words(output: &Output, status: i32, words: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

#[test]
fn a_file_is_a_page_or_a_trace_by_its_name() {
    let guest = program("timeline-name", Code::default().exit(0));
    let args = ["--timeline", "out.txt", guest.to_str().unwrap()];
    assert_refused(args, 125, &[".html", ".pftrace"]);
}
