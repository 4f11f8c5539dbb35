//! `lwp ps`: the guests that run now, LWP by LWP.

use crate::args;
use crate::control;
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
    let found = control::look(options.pid).map_err(Failure::Ps)?;
    let text = if options.json {
        serde_json::to_string_pretty(&found).unwrap_or_default() + "\n"
    } else if options.waits {
        found.iter().map(waits::report).collect()
    } else {
        table(&found)
    };
    io::Write::write_all(&mut io::stdout(), text.as_bytes()).map_err(Failure::Ps)
}

/// A line for each LWP.
fn table(all: &[Snapshot]) -> String {
    let mut text = String::from(
        "    PID    LID STAT VCPU PRI     TIME     USER   KERNEL SWITCHES    SINCE WCHAN    PENDING   NAME             COMMAND\n",
    );
    for snapshot in all {
        for row in &snapshot.lwps {
            line(&mut text, snapshot, row);
        }
    }
    text
}

fn line(text: &mut String, snapshot: &Snapshot, row: &Row) {
    let part = |time: Option<u64>| time.map_or_else(|| "-".to_owned(), span);
    let wchan = match (&row.wchan, row.waits_for) {
        (Some(wchan), Some(lid)) => format!("{wchan} {lid}"),
        (Some(wchan), None) => wchan.clone(),
        (None, _) => "-".to_owned(),
    };
    let or_none = |text: &str| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text.to_owned()
        }
    };
    let name = Path::new(&snapshot.program).file_name();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{:>7} {:>6} {:<4} {:>4} {:>3} {:>8} {:>8} {:>8} {:>8} {:>8} {:<8} {:<9} {:<16} {}",
        snapshot.pid,
        row.lid,
        row.state,
        row.vcpu,
        row.priority,
        span(row.time),
        part(row.user),
        part(row.kernel),
        row.switches,
        part(row.since),
        wchan,
        or_none(&row.pending.join(",")),
        or_none(&row.name),
        name.unwrap_or_default().to_string_lossy(),
    );
}
