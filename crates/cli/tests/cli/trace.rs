//! `lwp trace`: what is written, where, and that the guest does not notice.

use crate::elf::{Code, Elf, Value, data, nr};
use crate::run::{file, finish, lwp, output, program, stderr};
use serde_json::{Deserializer, Value as Json};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

const STDOUT: Value = Value::Is(1);
const STDERR: Value = Value::Is(2);
const FORK: u32 = 2;
const CLOSE: u32 = 6;
const EXECVE: u32 = 59;
const FCNTL: u32 = 92;
const F_CLOSEM: Value = Value::Is(10);

/// A program that says "said" after `code`, and ends with 5.
fn speaker(name: &str, code: Code) -> PathBuf {
    let write = code.call(nr::WRITE, &[STDOUT, data(), Value::Is(5)]);
    let elf = Elf {
        data: b"said\n",
        ..Elf::netbsd(write.exit_with_result())
    };
    file(name, &elf.bytes(), 0o755)
}

/// Checks that a [`speaker`] has come to its end.
#[track_caller]
fn assert_ended(output: &Output) {
    assert_eq!(output.status.code(), Some(5), "{}", stderr(output));
}

/// Where a test has its trace written.
fn paper(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.trace"))
}

/// Lines without what varies: who it is, and how long it took.
fn plain(text: &str) -> Vec<&str> {
    text.lines()
        .map(|line| line.split_once("] ").unwrap().1)
        .map(|line| line.split_once(" <").map_or(line, |(line, _)| line))
        .collect()
}

#[test]
fn every_call_has_a_line_and_the_guest_does_not_notice() {
    let path = speaker("trace-text", Code::default());
    let traced = output(lwp().arg("trace").arg(&path));
    assert_ended(&traced);
    assert_eq!(traced.stdout, b"said\n");
    assert_eq!(
        plain(stderr(&traced)),
        [
            r#"write(1, "said\n", 5) = 5"#,
            "exit(5) = ?",
            "+++ exited with 5 +++"
        ]
    );
}

#[test]
fn a_file_takes_the_lines_and_what_was_in_it_goes() {
    let path = speaker("trace-file", Code::default());
    let to = paper("trace-file");
    fs::write(&to, "old\n".repeat(1000)).unwrap();
    let traced = output(lwp().args(["trace", "-o"]).arg(&to).arg(&path));
    assert_eq!(stderr(&traced), "");
    assert_eq!(plain(&fs::read_to_string(&to).unwrap()).len(), 3);
    let refused = output(lwp().args(["trace", "-o", "/nonexistent/x"]).arg(&path));
    assert_eq!(refused.status.code(), Some(125));
    assert!(stderr(&refused).starts_with("lwp: /nonexistent/x: "));
}

#[test]
fn only_what_is_asked_for_is_shown() {
    let code = || Code::default().call(nr::GETPID, &[]);
    let path = speaker("trace-filter", code());
    for (filter, calls) in [
        ("write", &["write"][..]),
        ("desc", &["write"]),
        ("process", &["getpid", "exit"]),
        ("!write,!exit", &["getpid"]),
    ] {
        let traced = output(lwp().args(["trace", "-e", filter]).arg(&path));
        assert_ended(&traced);
        let lines = plain(stderr(&traced));
        let shown: Vec<_> = lines
            .iter()
            .filter_map(|line| Some(line.split_once('(')?.0))
            .collect();
        assert_eq!(shown, calls, "{filter}");
    }
    let refused = output(lwp().args(["trace", "-e", "nonsense"]).arg(&path));
    assert_eq!(refused.status.code(), Some(125));
    assert!(
        stderr(&refused).contains("nonsense"),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn a_table_counts_as_stats_do() {
    let code = (0..10).fold(Code::default(), |code, _| code.call(nr::GETPID, &[]));
    let path = speaker("trace-table", code.call(CLOSE, &[Value::Is(77)]));
    let table = output(lwp().args(["trace", "-c"]).arg(&path));
    assert_ended(&table);
    let text = stderr(&table);
    let rows: Vec<Vec<_>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let row = |name| rows.iter().find(|row| row.last() == Some(&name)).unwrap();
    assert_eq!(row("getpid")[3], "10", "{text}");
    assert_eq!(row("close")[3..5], ["1", "1"], "{text}");
    assert_eq!(row("total")[2], "13", "{text}");

    let to = paper("trace-table");
    let both = output(
        lwp()
            .args(["trace", "-c", "-f", "json", "--stats", "-o"])
            .arg(&to)
            .arg(&path),
    );
    let object: Json = serde_json::from_slice(&fs::read(&to).unwrap()).unwrap();
    let counts = object["calls"].as_array().unwrap().iter();
    let sum = |field: &str| {
        counts
            .clone()
            .map(|row| row[field].as_u64().unwrap())
            .sum::<u64>()
    };
    for (name, counted) in [("system calls", sum("count")), ("  slow", sum("slow"))] {
        let line = format!("lwp: {name:14} {counted}");
        assert!(stderr(&both).contains(&line), "{line}\n{}", stderr(&both));
    }
}

#[test]
fn programs_get_an_object_in_each_line() {
    let path = speaker("trace-json", Code::default().call(CLOSE, &[Value::Is(77)]));
    let traced = output(lwp().args(["trace", "-f", "json"]).arg(&path));
    assert_ended(&traced);
    let objects: Vec<Json> = Deserializer::from_slice(&traced.stderr)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let [close, write, exit, end] = &objects[..] else {
        panic!("{objects:?}")
    };
    assert_eq!(
        (&close["call"], &close["errno"]),
        (&"close".into(), &"EBADF".into())
    );
    assert_eq!(close["args"]["fd"], 77);
    assert_eq!(
        (&write["args"]["buf"], &write["result"]),
        (&r"said\n".into(), &5.into())
    );
    assert!(
        write["duration"].as_u64() > Some(0) && write["start"].as_u64() > close["start"].as_u64()
    );
    assert_eq!(
        (&exit["call"], &exit["result"]),
        (&"exit".into(), &Json::Null)
    );
    assert_eq!((&end["event"], &end["value"]), (&"end".into(), &"5".into()));
}

#[test]
fn the_last_line_is_out_before_a_signal_kills() {
    let path = program("trace-killed", Code::default().die_of(15));
    let traced = output(lwp().arg("trace").arg(&path));
    assert_eq!(traced.status.signal(), Some(15));
    let lines = plain(stderr(&traced));
    assert!(lines.contains(&"--- SIGTERM ---"), "{lines:?}");
    assert_eq!(lines.last(), Some(&"+++ killed by SIGTERM +++"));
}

#[test]
fn the_guest_cannot_close_it() {
    let code = Code::default()
        .call(CLOSE, &[STDERR])
        .call(FCNTL, &[Value::Is(3), F_CLOSEM]);
    let path = speaker("trace-closed", code);
    let traced = output(lwp().arg("trace").arg(&path));
    assert_ended(&traced);
    let lines = plain(stderr(&traced));
    assert_eq!(lines[..2], ["close(2) = 0", "fcntl(3, F_CLOSEM, 0) = 0"]);
    assert_eq!(lines.len(), 5, "{lines:?}");
}

#[test]
fn children_are_followed_and_lines_say_whose_they_are() {
    let path = speaker("trace-fork", Code::default().call(FORK, &[]));
    let to = paper("trace-fork");
    let traced = output(lwp().args(["trace", "-o"]).arg(&to).arg(&path));
    assert_ended(&traced);
    // The child may outlive its parent, but not the pipe that both write to.
    assert_eq!(traced.stdout, b"said\nsaid\n");
    let text = fs::read_to_string(&to).unwrap();
    let pid_of = |line: &str| line[1..].split_once(':').map(|(pid, _)| pid.to_owned());
    let speakers: Vec<_> = text
        .lines()
        .filter(|line| line.contains("write(1,"))
        .map(|line| pid_of(line).unwrap())
        .collect();
    assert_eq!(speakers.len(), 2, "{text}");
    assert_ne!(speakers[0], speakers[1], "{text}");
    let ends = text
        .lines()
        .filter(|line| line.ends_with("+++ exited with 5 +++"));
    assert_eq!(ends.count(), 2, "{text}");
}

#[test]
fn a_program_that_is_executed_is_traced_into_the_same_file() {
    let target = speaker("trace-executed", Code::default());
    let target = target.to_str().unwrap();
    // The argument vector, then the path.
    let at = 0x40_0800_u64;
    let mut words = [(at + 16).to_le_bytes(), [0; 8]].concat();
    words.extend(target.as_bytes());
    words.push(0);
    let [path, argv] = [at + 16, at].map(|addr| Value::Is(u32::try_from(addr).unwrap()));
    let elf = Elf {
        data: words.leak(),
        ..Elf::netbsd(
            Code::default()
                .call(EXECVE, &[path, argv, Value::Is(0)])
                .exit(1),
        )
    };
    let path = file("trace-executes", &elf.bytes(), 0o755);
    let to = paper("trace-executes");
    let traced = output(
        lwp()
            .args(["trace", "-s", "200", "-o"])
            .arg(&to)
            .arg("--")
            .arg(&path),
    );
    assert_ended(&traced);
    assert_eq!(
        plain(&fs::read_to_string(&to).unwrap()),
        [
            format!(r#"execve("{target}", ["{target}"], NULL) = ?"#).as_str(),
            r#"write(1, "said\n", 5) = 5"#,
            "exit(5) = ?",
            "+++ exited with 5 +++",
        ]
    );
}

#[test]
fn a_reader_that_goes_away_is_not_the_guests_business() {
    let code = (0..50).fold(Code::default(), |code, _| code.call(nr::GETPID, &[]));
    let path = speaker("trace-deaf", code);
    let mut command = lwp();
    command
        .arg("trace")
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stderr.take());
    let traced = finish(child);
    assert_ended(&traced);
    assert_eq!(traced.stdout, b"said\n");
}
