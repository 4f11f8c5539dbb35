//! What NetBSD's LWP calls do, statement by statement, and what shows each.
//!
//! Responsible for the one list, `statements.tsv`, from which `lwp conform` makes its table and from which
//! `docs/conformance.md` is made. Not for the tests themselves: they are in `guests/` and `crates/sim/tests`,
//! under the names that the list has; this crate's tests prove that they exist.
#![forbid(unsafe_code)]

use core::fmt;

const LIST: &str = include_str!("statements.tsv");

/// How firmly a statement holds in NetBSD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Programs, tests or manual pages rely on it.
    Relied,
    /// It is clear from the sources.
    Clear,
    /// A quirk.
    Quirk,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relied => "R",
            Self::Clear => "C",
            Self::Quirk => "Q",
        })
    }
}

/// What a statement needs said besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Nothing: it is to hold.
    None,
    /// We do otherwise, for this reason; what shows the statement shows what we do.
    Deviates(&'static str),
    /// It is not there, for this reason.
    NotYet(&'static str),
    /// A perturbation that NetBSD permits (`lwp run --perturb`) makes less of it.
    Relaxed {
        /// The perturbation.
        by: &'static str,
        /// What is left.
        to: &'static str,
    },
}

/// One thing that shows a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The check of a guest program that has the statement's id.
    Guest(&'static str),
    /// A test of the kernel on the sim machine: `FILE::NAME`.
    Sim(&'static str),
    /// Such a test that explores interleavings.
    Race(&'static str),
}

/// One statement.
#[derive(Clone, Copy, Debug)]
pub struct Statement {
    /// L-001 and on.
    pub id: &'static str,
    /// How firmly it holds.
    pub class: Class,
    /// The call, or the topic.
    pub call: &'static str,
    shown: &'static str,
    /// Where the source says so, if it is none of the first 320.
    pub source: Option<&'static str>,
    /// What is to be said besides.
    pub note: Note,
    /// The statement, in one sentence.
    pub text: &'static str,
}

impl Statement {
    /// What shows it.
    pub fn shown(&self) -> impl Iterator<Item = Shown> {
        let names = self.shown.split(' ').filter(|name| *name != "-");
        names.map(|name| match name.split_once("::") {
            None => Shown::Guest(name),
            Some(("races", _)) => Shown::Race(name),
            Some(_) => Shown::Sim(name),
        })
    }

    /// The guest program that has its check.
    pub fn guest(&self) -> Option<&'static str> {
        self.shown().find_map(|shown| match shown {
            Shown::Guest(name) => Some(name),
            Shown::Sim(_) | Shown::Race(_) => None,
        })
    }

    /// Whether a check of this name is its own: the id, or the id and a variant.
    pub fn has_check(&self, name: &str) -> bool {
        name.strip_prefix(self.id)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// All statements, in the order of their numbers.
///
/// # Panics
/// If the list is malformed; a test reads it.
pub fn statements() -> Vec<Statement> {
    let rows = LIST.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| parse(row).unwrap_or_else(|| panic!("statements.tsv: {row}")))
        .collect()
}

fn parse(row: &'static str) -> Option<Statement> {
    let mut columns = row.split('\t');
    let id = columns.next()?;
    let class = match columns.next()? {
        "R" => Class::Relied,
        "C" => Class::Clear,
        "Q" => Class::Quirk,
        _ => return None,
    };
    let (call, shown) = (columns.next()?, columns.next()?);
    let source = Some(columns.next()?).filter(|source| *source != "-");
    let note = match columns.next()?.split_once(": ") {
        Some(("DEVIATES", why)) => Note::Deviates(why),
        Some(("NOT YET", why)) => Note::NotYet(why),
        Some((note, to)) => Note::Relaxed {
            by: note.strip_prefix("RELAXED ")?,
            to,
        },
        None => Note::None,
    };
    let text = columns.next()?;
    columns.next().is_none().then_some(Statement {
        id,
        class,
        call,
        shown,
        source,
        note,
        text,
    })
}
