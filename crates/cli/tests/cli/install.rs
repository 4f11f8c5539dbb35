//! `lwp install` and `lwp uninstall`, on a directory that looks like binfmt_misc, and on the real one
//! where a private one can be mounted.

use crate::elf::{Code, Elf};
use crate::run::{assert_status, file, lwp, output, stderr};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the kernel is told, less the runner's path.
const PATTERN: &str = "\\x7f\\x45\\x4c\\x46\\x02\\x01\\x01\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\x3e\\x00";
/// Ends with 77 where binfmt_misc cannot be had.
const PRIVATE: &str =
    "d=/proc/sys/fs/binfmt_misc; mount -t binfmt_misc binfmt_misc $d || exit 77; ";

/// A directory with the two files that a registry always has.
fn registry(name: &str, status: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&path).unwrap();
    for file in fs::read_dir(&path).unwrap().flatten() {
        fs::remove_file(file.path()).unwrap();
    }
    fs::write(path.join("register"), "").unwrap();
    fs::write(path.join("status"), status).unwrap();
    path
}

fn call(subcommand: &str, registry: &Path) -> Output {
    output(lwp().arg(subcommand).arg("--registry").arg(registry))
}

#[test]
fn install_registers_the_runner_itself() {
    let registry = registry("binfmt-new", "enabled\n");
    assert_status(&call("install", &registry), 0);
    let line = fs::read_to_string(registry.join("register")).unwrap();
    assert!(
        line.starts_with(&format!(":netbsd-x86_64:M::{PATTERN}:")),
        "{line}"
    );
    assert!(
        line.ends_with(&format!(":{}:P", env!("CARGO_BIN_EXE_lwp"))),
        "{line}"
    );
}

#[test]
fn install_replaces_an_older_entry_and_uninstall_removes_it() {
    let registry = registry("binfmt-old", "enabled\n");
    let entry = registry.join("netbsd-x86_64");
    for subcommand in ["install", "uninstall"] {
        fs::write(&entry, "enabled\ninterpreter /old/lwp\n").unwrap();
        assert_status(&call(subcommand, &registry), 0);
        // The kernel takes -1 for "remove"; a plain file keeps it.
        assert!(fs::read(&entry).unwrap().starts_with(b"-1"), "{subcommand}");
    }
}

#[test]
fn uninstall_of_what_is_not_installed_changes_nothing() {
    let registry = registry("binfmt-none", "enabled\n");
    let output = call("uninstall", &registry);
    assert_status(&output, 0);
    assert_eq!(output.stdout, b"lwp was not installed\n");
}

#[test]
fn a_registry_that_is_missing_or_off_is_named() {
    let off = registry("binfmt-off", "disabled\n");
    let missing = Path::new("/nowhere");
    for (registry, words) in [(&*off, "echo 1 >"), (missing, "mount -t binfmt_misc")] {
        let output = call("install", registry);
        assert_eq!(output.status.code(), Some(125));
        let said = stderr(&output);
        assert!(said.starts_with("lwp: ") && said.contains(words), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn an_interpreter_gives_the_program_its_own_name() {
    let path = file(
        "interpreted",
        &abi_elf(Code::default().write_argument(0, 4).exit(0)),
        0o755,
    );
    // As the kernel starts an interpreter; it says so elsewhere, which a second start must be told.
    let output = output(
        lwp()
            .env("LWP_INTERPRETER", "1")
            .arg(path)
            .args(["name", "arg"]),
    );
    assert_status(&output, 0);
    assert_eq!(output.stdout, b"name");
}

#[test]
fn an_installed_runner_starts_programs_for_the_shell() {
    let path = file(
        "installed",
        &abi_elf(Code::default().write_argument(1, 3).exit(7)),
        0o755,
    );
    let script =
        format!("{PRIVATE} \"$1\" install >&2 && \"$2\" yes; s=$?; \"$1\" uninstall >&2; exit $s");
    let output = output(private(&script).arg(env!("CARGO_BIN_EXE_lwp")).arg(path));
    if has_no_namespace(&output) {
        return;
    }
    assert_eq!(
        (output.status.code(), &*output.stdout),
        (Some(7), &b"yes"[..]),
        "{output:?}"
    );
}

/// A shell in a user namespace of its own, where it may mount.
fn private(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args([
        "--user",
        "--map-root-user",
        "--mount",
        "/bin/sh",
        "-c",
        script,
        "sh",
    ]);
    command
}

/// Where the host gives no private registry, `lwp install` has to say why it cannot use the common one,
/// unless it can.
fn has_no_namespace(output: &Output) -> bool {
    let is_refused = stderr(output).contains("unshare") || output.status.code() == Some(77);
    if is_refused {
        let common = Path::new("/proc/sys/fs/binfmt_misc");
        if !common.join("register").exists() {
            assert_eq!(call("install", common).status.code(), Some(125));
        }
    }
    is_refused
}

/// A program that a pattern can tell from Linux's.
fn abi_elf(code: Code) -> Vec<u8> {
    let mut bytes = Elf::netbsd(code).bytes();
    bytes[7] = 2;
    bytes
}
