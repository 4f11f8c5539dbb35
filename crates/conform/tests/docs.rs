//! `docs/conformance.md` says what the list of statements says.
//!
//! After a change of the list: `LWP_BLESS=1 cargo test -p lwp-conform --test docs`.
#![allow(
    clippy::unwrap_used,
    reason = "a test may say so by panicking, in its helpers too"
)]

use lwp_conform::{Note, Shown, Statement, statements};
use std::fmt::Write;
use std::path::PathBuf;

const HEAD: &str = "\
# Conformance

Every statement about what NetBSD's LWP calls do, and signals, process start, exec and fork around them. Made from the
list of statements (`crates/conform/src/statements.tsv`); a test keeps it true, and tests prove that every check and
test named here exists.

`lwp conform` shows them: it runs the guest programs that come with `lwp`, real NetBSD programs with real system calls,
and prints what came out for each statement.

- *guest*: a check in a program of `guests/`, named by the statement's number.
- *sim*: a test in `crates/sim/tests` of the same kernel on a machine with virtual time, under many schedules.
- *interleaving*: a test in `crates/sim/tests/races.rs`, on several host threads and under a model checker.
- Class R: programs rely on it; C: clear from NetBSD's sources; Q: a quirk.
";

/// How many statements about one call there are, and how many of them are shown by what.
#[derive(Default)]
struct Counts {
    all: u32,
    guest: u32,
    sim: u32,
    race: u32,
}

impl Counts {
    fn add(&mut self, statement: &Statement) {
        let has = |kind: fn(&Shown) -> bool| u32::from(statement.shown().any(|each| kind(&each)));
        self.all += 1;
        self.guest += has(|shown| matches!(shown, Shown::Guest(_)));
        self.sim += has(|shown| matches!(shown, Shown::Sim(_)));
        self.race += has(|shown| matches!(shown, Shown::Race(_)));
    }

    fn row(&self, page: &mut String, what: &str) {
        let Self {
            all,
            guest,
            sim,
            race,
        } = self;
        let _ = writeln!(page, "| {what} | {all} | {guest} | {sim} | {race} |");
    }
}

fn page() -> String {
    let statements = statements();
    let mut page = format!("{HEAD}\n## What shows how many\n\n");
    page +=
        "| call or topic | statements | guest | sim | interleaving |\n|---|---:|---:|---:|---:|\n";
    let mut calls: Vec<&str> = Vec::new();
    for statement in &statements {
        if !calls.contains(&statement.call) {
            calls.push(statement.call);
        }
    }
    let mut sum = Counts::default();
    for call in calls {
        let mut counts = Counts::default();
        let of_it = statements.iter().filter(|each| each.call == call);
        of_it.for_each(|statement| {
            counts.add(statement);
            sum.add(statement);
        });
        counts.row(&mut page, &format!("`{call}`"));
    }
    sum.row(&mut page, "all");
    page += "\n## Where we deviate, and what is not there\n\n| statement | NetBSD | here |\n|---|---|---|\n";
    for each in &statements {
        let (what, why) = match each.note {
            Note::None | Note::Relaxed { .. } => continue,
            Note::Deviates(why) => ("deviates", why),
            Note::NotYet(why) => ("not yet", why),
        };
        let _ = writeln!(page, "| {} | {} | {what}: {why} |", each.id, each.text);
    }
    page += "\n## What holds in part under `--perturb`\n\n`lwp run --chaos` and `lwp hunt` may do more of what NetBSD permits than it does unasked ([chaos.md](chaos.md)). These\n\
             statements are then checked as the last column says, all others as they are: `cargo xtask seeds`.\n\n\
             | statement | as it is | by | what is left |\n|---|---|---|---|\n";
    for each in &statements {
        if let Note::Relaxed { by, to } = each.note {
            let _ = writeln!(page, "| {} | {} | `{by}` | {to} |", each.id, each.text);
        }
    }
    page += "\n## The statements\n\n| statement | class | call | what | shown by |\n|---|---|---|---|---|\n";
    for each in &statements {
        let shown: Vec<_> = each.shown().map(name).collect();
        let source = each.source.map(|source| format!(" ({source})"));
        let _ = writeln!(
            page,
            "| {} | {} | `{}` | {}{} | {} |",
            each.id,
            each.class,
            each.call,
            each.text,
            source.unwrap_or_default(),
            shown.join(", ")
        );
    }
    page
}

fn name(shown: Shown) -> String {
    match shown {
        Shown::Guest(program) => format!("guest `{program}`"),
        Shown::Sim(test) | Shown::Race(test) => format!("`{test}`"),
    }
}

#[test]
fn the_conformance_page_is_what_the_list_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/conformance.md");
    let page = page();
    if std::env::var_os("LWP_BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == page,
        "docs/conformance.md is out of date: run this test with LWP_BLESS=1"
    );
}
