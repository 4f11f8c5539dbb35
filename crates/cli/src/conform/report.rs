//! How verdicts look: a table for people, JSON for programs.

use super::{Results, Row, Verdict, sim_tests};
use crate::json::quoted;
use core::num::NonZeroUsize;
use lwp_conform::Shown;
use std::fmt::Write;

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Deviates(_) => "deviates",
            Self::NotYet(_) => "not yet",
            Self::SimOnly => "sim only",
            Self::Fails => "FAILS",
        }
    }
}

/// What is said below a statement.
fn remark(row: &Row, passes: usize) -> Option<String> {
    match row.verdict() {
        Verdict::Holds => None,
        Verdict::Deviates(why) | Verdict::NotYet(why) => Some(why.to_owned()),
        Verdict::SimOnly => {
            let tests: Vec<_> = sim_tests(&row.statement).collect();
            Some(tests.join(", "))
        }
        Verdict::Fails if passes > 1 => Some(format!(
            "in {} of {passes} passes, first {}",
            row.failed.passes, row.failed.first
        )),
        Verdict::Fails => Some(row.failed.first.clone()),
    }
}

/// A line for each statement, one for each other check that failed, and a summary.
pub(super) fn table(results: &Results, vcpus: Option<NonZeroUsize>) -> String {
    let mut text = String::new();
    for row in &results.rows {
        let statement = &row.statement;
        let _ = writeln!(
            text,
            "{:<6} {:<16} {:<9} {}",
            statement.id,
            statement.call,
            row.verdict().word(),
            statement.text
        );
        if let Some(remark) = remark(row, results.passes) {
            let _ = writeln!(text, "{:34}{remark}", "");
        }
    }
    for (name, failed) in &results.others_failed {
        let passes = if results.passes > 1 {
            format!("in {} of {} passes, first ", failed.passes, results.passes)
        } else {
            String::new()
        };
        let _ = writeln!(text, "{name}: FAILS: {passes}{}", failed.first);
    }
    let _ = writeln!(text, "\n{}", summary(results, vcpus));
    text
}

fn summary(results: &Results, vcpus: Option<NonZeroUsize>) -> String {
    let count = |word: &str| {
        let verdicts = results.rows.iter().map(Row::verdict);
        verdicts.filter(|verdict| verdict.word() == word).count()
    };
    let vcpus = match vcpus {
        None => String::new(),
        Some(one) if one.get() == 1 => ", 1 vcpu".to_owned(),
        Some(more) => format!(", {more} vcpus"),
    };
    let passes = match results.passes {
        1 => "1 pass".to_owned(),
        more => format!("{more} passes"),
    };
    format!(
        "{} statements: {} hold, {} deviate, {} not yet, {} shown on the sim machine only, {} FAIL; \
         {} other checks, {} FAIL ({passes}{vcpus}, {:.1} s)",
        results.rows.len(),
        count("holds"),
        count("deviates"),
        count("not yet"),
        count("sim only"),
        count("FAILS"),
        results.others,
        results.others_failed.len(),
        results.seconds
    )
}

/// An array of statements and one of other checks that failed, in an object.
pub(super) fn json(results: &Results) -> String {
    let rows: Vec<_> = results
        .rows
        .iter()
        .map(|row| format!("    {}", json_row(row, results.passes)))
        .collect();
    let others: Vec<_> = results
        .others_failed
        .iter()
        .map(|(name, failed)| {
            let fields = [
                field("check", name),
                field("remark", &failed.first),
                format!("\"failed\": {}", failed.passes),
            ];
            format!("    {{{}}}", fields.join(", "))
        })
        .collect();
    format!(
        "{{\n  \"passes\": {},\n  \"seconds\": {:.3},\n  \"statements\": {},\n  \"other_checks\": {},\n  \
         \"other_failures\": {}\n}}\n",
        results.passes,
        results.seconds,
        list(&rows),
        results.others,
        list(&others)
    )
}

fn list(rows: &[String]) -> String {
    if rows.is_empty() {
        "[]".to_owned()
    } else {
        format!("[\n{}\n  ]", rows.join(",\n"))
    }
}

fn json_row(row: &Row, passes: usize) -> String {
    let statement = &row.statement;
    let shown: Vec<_> = statement
        .shown()
        .map(|shown| match shown {
            Shown::Guest(name) | Shown::Sim(name) | Shown::Race(name) => quoted(name),
        })
        .collect();
    let fields = [
        field("id", statement.id),
        field("class", &statement.class.to_string()),
        field("call", statement.call),
        field("statement", statement.text),
        field("verdict", &row.verdict().word().to_lowercase()),
        field("remark", &remark(row, passes).unwrap_or_default()),
        format!("\"shown_by\": [{}]", shown.join(", ")),
        format!("\"failed\": {}", row.failed.passes),
    ];
    format!("{{{}}}", fields.join(", "))
}

fn field(name: &str, value: &str) -> String {
    format!("\"{name}\": {}", quoted(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_may_be_empty() {
        assert_eq!(list(&[]), "[]");
    }
}
