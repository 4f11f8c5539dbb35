//! How a guest ends is how `lwp run` ends; what a guest reads and writes is what the shell gave.

use crate::elf::{Code, Elf, Value, data, nr};
use crate::run::{
    assert_status, file, finish, kill, lwp, lwp_run, lwp_run_by_shell, output, output_of, program,
    stderr,
};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;

/// Descriptor numbers.
const STDIN: Value = Value::Is(0);
const STDOUT: Value = Value::Is(1);

const EBADF: i32 = 9;
const EPIPE: i32 = 32;

fn writer(name: &str) -> PathBuf {
    let write = Code::default().call(nr::WRITE, &[STDOUT, data(), Value::Is(5)]);
    let elf = Elf {
        data: b"said\n",
        ..Elf::netbsd(write.exit_with_result())
    };
    file(name, &elf.bytes(), 0o755)
}

#[test]
fn exit_statuses_are_passed_on() {
    for status in [0, 1, 7, 125, 255] {
        let path = program(&format!("exit-{status}"), Code::default().exit(status));
        assert_status(&output(&mut lwp_run(&path)), i32::try_from(status).unwrap());
    }
}

#[test]
fn only_eight_bits_of_a_status_reach_the_waiter() {
    let path = program("exit-big", Code::default().exit(0x1234_5607));
    assert_status(&output(&mut lwp_run(&path)), 7);
}

#[test]
fn a_guest_dies_of_its_signal_by_linuxs_number() {
    // NetBSD's number and Linux's.
    for (signal, host) in [(6, 6), (9, 9), (10, 7), (15, 15), (30, 10), (31, 12)] {
        let path = program(&format!("signal-{signal}"), Code::default().die_of(signal));
        let script = "\"$@\"; echo $? >&2";
        let by_shell = output(&mut lwp_run_by_shell(script, &path));
        let said = stderr(&by_shell).lines().last().map(str::to_owned);
        assert_eq!(said, Some((128 + host).to_string()), "{by_shell:?}");
    }
}

#[test]
fn a_signal_without_a_linux_twin_is_128_and_its_number() {
    // SIGEMT.
    let path = program("signal-emt", Code::default().die_of(7));
    assert_status(&output(&mut lwp_run(&path)), 128 + 7);
}

#[test]
fn a_signal_that_is_ignored_by_default_does_not_kill() {
    // SIGWINCH, 28 there and here.
    let path = program("signal-winch", Code::default().die_of(28));
    assert_status(&output(&mut lwp_run(&path)), 0);
}

#[test]
fn a_fault_kills_with_sigsegv() {
    let path = program("fault", Code::default().fault());
    let output = output(&mut lwp_run(&path));
    assert_eq!(output.status.signal(), Some(11), "{output:?}");
}

#[test]
fn a_signal_from_outside_kills_a_spinning_guest() {
    for vcpus in ["1", "2"] {
        let path = program(&format!("spin-{vcpus}"), write_then(Code::spin));
        let mut command = lwp();
        command.args(["run", "--vcpus", vcpus]).arg(path);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It has begun: what comes now interrupts the guest, not its start.
        let mut word = [0; 1];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut word).unwrap();
        kill(child.id(), "TERM");
        assert_eq!(finish(child).status.signal(), Some(15));
    }
}

#[test]
fn a_signal_from_outside_kills_a_sleeping_guest() {
    let read = |code: Code| {
        code.call(nr::READ, &[STDIN, Value::Buffer, Value::Is(1)])
            .exit(0)
    };
    let mut command = lwp_run(&program("sleep", write_then(read)));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Held open: the end of its input would end the read.
    let _input = child.stdin.take();
    let mut word = [0; 1];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut word).unwrap();
    kill(child.id(), "TERM");
    assert_eq!(finish(child).status.signal(), Some(15));
}

/// Writes one byte (of its own first argument), then does the rest.
fn write_then(rest: impl FnOnce(Code) -> Code) -> Code {
    rest(Code::default().write_argument(0, 1))
}

#[test]
fn standard_output_is_the_guests() {
    let output = output(&mut lwp_run(&writer("writer")));
    assert_status(&output, 5);
    assert_eq!(output.stdout, b"said\n");
}

#[test]
fn standard_input_is_the_guests() {
    let echo = Code::default()
        .call(nr::READ, &[STDIN, Value::Buffer, Value::Is(4)])
        .call(nr::WRITE, &[STDOUT, Value::Buffer, Value::Is(4)])
        .exit_with_result();
    let output = output_of(&mut lwp_run(&program("echo", echo)), b"word");
    assert_status(&output, 4);
    assert_eq!(output.stdout, b"word");
}

#[test]
fn closed_standard_input_stays_closed() {
    let read = Code::default().call(nr::READ, &[STDIN, Value::Buffer, Value::Is(1)]);
    let path = program("read", read.exit_with_result());
    assert_status(
        &output(&mut lwp_run_by_shell("exec \"$@\" <&-", &path)),
        EBADF,
    );
}

#[test]
fn closed_standard_output_stays_closed() {
    let path = writer("writer-closed");
    assert_status(
        &output(&mut lwp_run_by_shell("exec \"$@\" >&-", &path)),
        EBADF,
    );
}

#[test]
fn writing_to_nobody_kills_with_sigpipe() {
    let script = "{ \"$@\" 3>&-; echo $? >&3; } 3>&2 | :";
    let path = writer("writer-pipe");
    // The reader may end after the write: then it has succeeded, and another attempt decides.
    let mut last = String::new();
    for _attempt in 0..100 {
        last = stderr(&output(&mut lwp_run_by_shell(script, &path))).to_owned();
        if last != "5\n" {
            break;
        }
    }
    assert_eq!(last.lines().last(), Some("141"));
}

#[test]
fn writing_to_nobody_is_epipe_if_the_shell_ignores_sigpipe() {
    let script = "trap '' PIPE; exec \"$@\"";
    let mut command = lwp_run_by_shell(script, &writer("writer-epipe"));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(Stdio::piped());
    assert_status(&finish(command.spawn().unwrap()), EPIPE);
}

#[test]
fn being_asked_what_it_does_costs_the_guest_no_descriptor() {
    let dup = Code::default()
        .call(nr::READ, &[STDIN, Value::Buffer, Value::Is(1)])
        .call(nr::DUP, &[STDIN]);
    let path = program("asked", dup.exit_with_result());
    let mut command = lwp_run(&path);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut guest = command.spawn().unwrap();
    // Until it listens, and often enough that it waits for the next who asks.
    for _ in 0..20 {
        output(lwp().arg("ps").arg(guest.id().to_string()));
    }
    guest.stdin.take().unwrap().write_all(b"x").unwrap();
    assert_status(&finish(guest), 3);
}
