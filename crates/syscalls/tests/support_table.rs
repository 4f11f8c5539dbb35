//! `docs/support.md` says what the dispatch table says.
//!
//! After a change of the table: `LWP_BLESS=1 cargo test -p lwp-syscalls --test support_table`.

use lwp_syscalls::table::{Support, support};
use std::fmt::Write;
use std::path::PathBuf;

const HEAD: &str = "\
# System calls

Made from the dispatch table (`crates/syscalls/src/table.rs`); a test keeps it true.

*full*: as NetBSD does it, as far as we know. *partial*: all but what is named. A call that is not in the table
answers ENOSYS and says so once, on standard error, by name and number; a number that NetBSD itself does not know gets
SIGSYS besides. Deviations that belong to no single call are in [deviations.md](deviations.md).
";

fn page() -> String {
    let rows: Vec<_> = support().filter(|row| !row.name.starts_with('(')).collect();
    let here = rows
        .iter()
        .filter(|row| row.support != Support::None)
        .count();
    let mut page = format!(
        "{HEAD}\n{here} of the {} calls that NetBSD knows:\n\n| number | call | support |\n|---:|---|---|\n",
        rows.len()
    );
    for row in rows {
        let support = match row.support {
            Support::Full => "full".to_owned(),
            Support::Partial(missing) => format!("partial: {missing}"),
            Support::None => continue,
        };
        let _ = writeln!(page, "| {} | `{}` | {support} |", row.number, row.name);
    }
    page
}

#[test]
fn the_support_page_is_what_the_table_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/support.md");
    let page = page();
    if std::env::var_os("LWP_BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == page,
        "docs/support.md is out of date: run this test with LWP_BLESS=1"
    );
}
