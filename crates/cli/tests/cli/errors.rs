//! What `lwp run` says of files it cannot run: one line each, with an exit status as of env(1).

use crate::elf::{Code, Elf};
use crate::run::{assert_refused, file};

fn elf(name: &str, elf: &Elf) -> std::path::PathBuf {
    file(name, &elf.bytes(), 0o755)
}

fn exiting() -> Elf {
    Elf::netbsd(Code::default().exit(0))
}

#[test]
fn a_missing_file_is_127() {
    assert_refused(["/nowhere/at/all"], 127, &["/nowhere/at/all: not found"]);
}

#[test]
fn a_file_in_a_file_is_127() {
    let plain = file("plain", b"", 0o644);
    assert_refused([plain.join("inner")], 127, &["inner: not found"]);
}

#[test]
fn an_empty_name_is_127() {
    assert_refused([""], 127, &["not found"]);
}

#[test]
fn a_directory_is_126() {
    assert_refused(["/"], 126, &["/: ", "a directory"]);
}

#[test]
fn a_file_without_execute_permission_is_126() {
    let path = file("no-permission", &exiting().bytes(), 0o644);
    assert_refused([path], 126, &["no-permission: ", "permission denied"]);
}

#[test]
fn an_empty_file_is_named_so() {
    assert_refused(
        [file("empty", b"", 0o755)],
        126,
        &["empty: ", "the file is empty"],
    );
}

#[test]
fn text_is_named_so() {
    assert_refused([file("text", b"Dear reader,\n", 0o755)], 126, &["text"]);
}

#[test]
fn data_is_named_so() {
    assert_refused([file("noise", &[0x80; 4096], 0o755)], 126, &["data"]);
}

#[test]
fn a_linux_program_is_named_so() {
    assert_refused([elf("linux", &Elf::linux())], 126, &["Linux program"]);
}

#[test]
fn this_test_program_is_a_linux_program() {
    let me = std::env::current_exe().unwrap();
    assert_refused([me], 126, &["not", "NetBSD"]);
}

#[test]
fn a_program_for_another_processor_is_named_so() {
    let arm = Elf {
        machine: 183,
        ..exiting()
    };
    assert_refused([elf("arm", &arm)], 126, &["aarch64", "x86-64"]);
}

#[test]
fn a_program_of_32_bits_is_named_so() {
    let small = Elf {
        class: 1,
        machine: 3,
        ..exiting()
    };
    assert_refused([elf("i386", &small)], 126, &["32-bit"]);
}

#[test]
fn an_object_file_is_no_program() {
    let object = Elf {
        kind: 1,
        ..exiting()
    };
    assert_refused([elf("object", &object)], 126, &["object file"]);
}

#[test]
fn a_dynamic_program_is_not_supported_yet() {
    let dynamic = Elf {
        interpreter: Some("/libexec/ld.elf_so"),
        ..exiting()
    };
    assert_refused(
        [elf("dynamic", &dynamic)],
        126,
        &["dynamic", "/libexec/ld.elf_so"],
    );
}

#[test]
fn a_program_without_a_note_is_not_taken_for_netbsds() {
    let unmarked = Elf {
        note: None,
        ..exiting()
    };
    assert_refused([elf("unmarked", &unmarked)], 126, &["no NetBSD note"]);
}

#[test]
fn a_program_cut_short_is_named_so() {
    let whole = exiting().bytes();
    for len in [4, 20, 63, 64, 100, 0x300] {
        let path = file(&format!("cut-{len}"), &whole[..len], 0o755);
        assert_refused([path], 126, &[&format!("cut-{len}: "), "truncated"]);
    }
}

#[test]
fn a_name_that_is_no_text_is_said_on_one_line() {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::OsStr::from_bytes(b"/nowhere/\xff\n\x1b[31m");
    assert_refused([name], 127, &["/nowhere/", "not found"]);
}
