//! The list of statements is sound, and names only what exists.
#![allow(
    clippy::unwrap_used,
    reason = "a test may say so by panicking, in its helpers too"
)]

use lwp_conform::{Class, Note, Shown, Statement, statements};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The Rust files in a directory and below, and what is in them.
fn sources(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

#[test]
fn numbers_have_no_gaps_and_sentences_end() {
    for (at, statement) in statements().iter().enumerate() {
        assert_eq!(statement.id, format!("L-{:03}", at + 1));
        assert!(statement.text.ends_with('.'), "{}", statement.id);
        assert_eq!(statement.source.is_some(), at >= 320, "{}", statement.id);
    }
}

#[test]
fn only_quirks_deviate_and_only_core_files_and_ptrace_are_not_yet() {
    for statement in statements() {
        match statement.note {
            Note::None => {}
            Note::Relaxed { by, .. } => {
                assert!(matches!(by, "park" | "transfer"), "{}", statement.id);
                assert!(statement.guest().is_some(), "{}", statement.id);
            }
            Note::Deviates(_) => assert_eq!(statement.class, Class::Quirk, "{}", statement.id),
            Note::NotYet(_) => {
                assert!(
                    matches!(statement.call, "core" | "ptrace"),
                    "{}",
                    statement.id
                );
            }
        }
    }
}

#[test]
fn every_statement_is_shown_unless_it_is_not_yet() {
    for statement in statements() {
        let not_yet = matches!(statement.note, Note::NotYet(_));
        assert_eq!(
            statement.shown().next().is_none(),
            not_yet,
            "{}",
            statement.id
        );
    }
}

/// The tests in `crates/sim/tests`, as `FILE::NAME`.
fn sim_tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (path, text) in sources(&root().join("crates/sim/tests")) {
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        for after in text.split("#[test]\n").skip(1) {
            let line = after.trim_start().lines().next().unwrap();
            let (_, from) = line.split_once("fn ").unwrap();
            let name = from.split_once('(').unwrap().0;
            names.insert(format!("{file}::{name}"));
        }
    }
    names
}

#[test]
fn every_sim_test_that_is_named_exists() {
    let tests = sim_tests();
    for statement in statements() {
        for shown in statement.shown() {
            if let Shown::Sim(name) | Shown::Race(name) = shown {
                assert!(tests.contains(name), "{}: no test {name}", statement.id);
            }
        }
    }
}

/// The checks in the guest programs that have a statement's number: program and name.
fn guest_checks() -> Vec<(String, String)> {
    let dir = root().join("guests/src");
    let mut checks = Vec::new();
    for (path, text) in sources(&dir) {
        let below = path.strip_prefix(&dir).unwrap();
        let program = below.iter().next().unwrap();
        let program = Path::new(program).file_stem().unwrap().to_string_lossy();
        for after in text.split("\"L-").skip(1) {
            let name = after.split('"').next().unwrap();
            checks.push((program.clone().into_owned(), format!("L-{name}")));
        }
    }
    checks
}

#[test]
fn every_statement_has_its_check_where_the_list_says() {
    let checks = guest_checks();
    for statement in statements() {
        let Some(program) = statement.guest() else {
            continue;
        };
        let has = |(place, name): &(String, String)| place == program && statement.has_check(name);
        assert!(
            checks.iter().any(has),
            "{}: none in {program}",
            statement.id
        );
    }
}

#[test]
fn every_check_with_a_number_belongs_to_a_statement() {
    let all = statements();
    for (program, name) in guest_checks() {
        let owns = |each: &Statement| each.guest() == Some(&program) && each.has_check(&name);
        assert!(all.iter().any(owns), "{program}: {name} is nobody's");
    }
}
