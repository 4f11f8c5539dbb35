//! Compares the crate with tables made from NetBSD's headers: `data/*.tsv`.
//!
//! Both directions: whatever the crate defines must be in the tables, with the same value, place
//! and size; whatever is in the tables must be in the crate, or in a list of what it leaves out,
//! with the reason. So neither a wrong number nor a forgotten group goes unnoticed.

mod calls;
mod constants;
mod errors;
mod structs;

use std::collections::HashMap;

/// One row of a table: values by the names in its first line.
type Row = HashMap<&'static str, &'static str>;

/// Reads a table of tab-separated values.
fn rows(text: &'static str) -> Vec<Row> {
    let mut lines = text.lines();
    let head: Vec<_> = lines.next().expect("a first line").split('\t').collect();
    lines
        .map(|line| head.iter().copied().zip(line.split('\t')).collect())
        .collect()
}

/// Reads a number: decimal or hexadecimal, or `-` for none.
fn number(text: &str) -> Option<i64> {
    if text == "-" {
        return None;
    }
    Some(match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).expect(text),
        None => text.parse().expect(text),
    })
}

/// Fails with all complaints at once.
fn complain(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}
