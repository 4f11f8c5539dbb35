//! `lwp ps`: the guests that run now, LWP by LWP.

use crate::args;
use crate::control::{self, Looked};
use crate::fail::Failure;
use crate::snapshot::{Row, Snapshot, span};
use crate::waits;
use core::fmt::Write;
use std::io;
use std::path::Path;

/// Does what `options` say.
///
/// # Errors
/// There is no such guest, or it does not answer.
pub(crate) fn run(options: &args::Ps) -> Result<(), Failure> {
    let Looked { found, silent } = control::look(options.pid).map_err(Failure::Ps)?;
    for why in silent {
        eprintln!("lwp: {why}");
    }
    let text = if options.json {
        serde_json::to_string_pretty(&found).unwrap_or_default() + "\n"
    } else if options.waits {
        found.iter().map(waits::report).collect()
    } else {
        table(&found)
    };
    io::Write::write_all(&mut io::stdout(), text.as_bytes()).map_err(Failure::Ps)
}

/// Headings of [`cells`], and how wide the columns are; negative: to the left.
pub(crate) const COLUMNS: [(&str, i16); 14] = [
    ("PID", 7),
    ("LID", 8),
    ("STAT", -4),
    ("VCPU", 4),
    ("PRI", 3),
    ("TIME", 8),
    ("USER", 8),
    ("KERNEL", 8),
    ("SWITCHES", 9),
    ("SINCE", 8),
    ("WCHAN", -8),
    ("PENDING", -8),
    ("NAME", -16),
    ("COMMAND", -8),
];

/// What there is to be seen of an LWP, in the order of [`COLUMNS`].
pub(crate) fn cells(snapshot: &Snapshot, row: &Row) -> [String; COLUMNS.len()] {
    let part = |time: Option<u64>| time.map_or_else(|| "-".to_owned(), span);
    let or_none = |text: &str| if text.is_empty() { "-" } else { text }.to_owned();
    let wchan = match (&row.wchan, row.waits_for) {
        (Some(wchan), Some(lid @ 1..)) => format!("{wchan} {lid}"),
        (Some(wchan), _) => wchan.clone(),
        (None, _) => "-".to_owned(),
    };
    let command = Path::new(&snapshot.program).file_name().unwrap_or_default();
    [
        snapshot.pid.to_string(),
        row.lid.to_string(),
        row.state.clone(),
        row.vcpu.to_string(),
        row.priority.to_string(),
        span(row.time),
        part(row.user),
        part(row.kernel),
        row.switches.to_string(),
        part(row.since),
        wchan,
        or_none(&row.pending.join(",")),
        or_none(&row.name),
        command.to_string_lossy().into_owned(),
    ]
}

/// A line for each LWP, below the headings.
fn table(all: &[Snapshot]) -> String {
    let rows = all.iter().flat_map(|snapshot| {
        let lwps = snapshot.lwps.iter();
        lwps.map(|row| {
            aligned(
                cells(snapshot, row)
                    .iter()
                    .zip(COLUMNS.map(|(_, width)| width)),
            )
        })
    });
    let headings = COLUMNS.iter().map(|&(name, width)| (name, width));
    [aligned(headings)].into_iter().chain(rows).collect()
}

/// A line of texts, each as wide as it is to be, or wider.
pub(crate) fn aligned<T: AsRef<str>>(cells: impl Iterator<Item = (T, i16)>) -> String {
    let mut line = String::new();
    for (text, width) in cells {
        let (text, room) = (text.as_ref(), usize::from(width.unsigned_abs()));
        // Writing to a string cannot fail.
        let _ = if width < 0 {
            write!(line, "{text:<room$} ")
        } else {
            write!(line, "{text:>room$} ")
        };
    }
    format!("{}\n", line.trim_end())
}
