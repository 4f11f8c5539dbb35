//! `--chaos`: what a program learns from outside is the same each time.

use crate::elf::{Code, Elf, Value, data, nr};
use crate::run::{file, lwp, output};
use std::path::Path;

const STDOUT: Value = Value::Is(1);

/// What the program says and how it ends, by this seed.
fn run(program: &Path, seed: &str) -> (Vec<u8>, Option<i32>) {
    let mut command = lwp();
    command.args(["run", "--chaos", seed]).arg(program);
    let output = output(&mut command);
    (output.stdout, output.status.code())
}

fn assert_of_the_seed(program: &Path) {
    let first = run(program, "5");
    assert_eq!(run(program, "5"), first);
    assert_ne!(run(program, "6"), first);
}

#[test]
fn random_bytes_are_the_seeds_however_they_are_read() {
    let write = |code: Code| code.call(nr::WRITE, &[STDOUT, Value::Buffer, Value::Is(8)]);
    let code = Code::default().call(nr::GETRANDOM, &[Value::Buffer, Value::Is(8), Value::Is(0)]);
    let code = write(code)
        .call(nr::OPEN, &[data(), Value::Is(0), Value::Is(0)])
        .call(nr::DUP, &[Value::Returned])
        .call(nr::READ, &[Value::Returned, Value::Buffer, Value::Is(8)]);
    let elf = Elf {
        data: b"/dev/urandom\0",
        ..Elf::netbsd(write(code).exit(0))
    };
    let program = file("chaos-random", &elf.bytes(), 0o755);
    assert_of_the_seed(&program);
    let (said, status) = run(&program, "7");
    assert_eq!((said.len(), status), (16, Some(0)));
    assert_ne!(said[..8], said[8..]);
}

#[test]
fn process_ids_are_the_seeds() {
    let own = Code::default().call(nr::GETPID, &[]).exit_with_result();
    let own = file("chaos-pid", &Elf::netbsd(own).bytes(), 0o755);
    assert_of_the_seed(&own);
    // The child waits in vain, and ends with ECHILD; the parent with what its child is called.
    let any = [Value::Is(u32::MAX), Value::Is(0), Value::Is(0)];
    let child = Code::default().call(nr::FORK, &[]).call(nr::WAIT450, &any);
    let child = Elf::netbsd(child.exit_with_result());
    assert_of_the_seed(&file("chaos-child", &child.bytes(), 0o755));
}
