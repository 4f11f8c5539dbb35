//! Who waits for what: `lwp ps --waits`, and the report that a runner prints when nothing can wake its guest any more.

use crate::snapshot::{Row, Snapshot, span};
use core::fmt::Write;
use lwp_kernel::Kernel;
use lwp_kernel::sleepq::PARKED;
use lwp_syscalls::Unix;
use std::io;
use std::sync::Arc;

/// LWPs that are listed in a report that nobody has asked for.
const LISTED: usize = 32;

/// Has the runner say so, once, when the LWPs of its guest all wait for each other.
pub(crate) fn watch_for_deadlock(kernel: &Arc<Kernel>, sys: &Arc<Unix>) {
    let sys = Arc::downgrade(sys);
    kernel.on_deadlock(Box::new(move |kernel| {
        let program = sys.upgrade().map(|sys| sys.image().path);
        let mut snapshot = Snapshot::take(kernel, &program.unwrap_or_default());
        let more = snapshot.lwps.len().saturating_sub(LISTED);
        snapshot.lwps.truncate(LISTED);
        let mut text = report(&snapshot);
        if more > 0 {
            let _ = writeln!(text, "  and {more} more: lwp ps --waits {}", snapshot.pid);
        }
        let text = format!(
            "every LWP waits for another, and nothing can wake any of them\n{}",
            text.trim_end()
        );
        let lines = text.lines().map(|line| format!("lwp: {line}\n"));
        // Nobody is left to be told of a failure.
        let _ = io::Write::write_all(&mut io::stderr(), lines.collect::<String>().as_bytes());
    }));
}

/// What each LWP of a process waits for, since when, and who woke it last; then the circles among them.
pub(crate) fn report(snapshot: &Snapshot) -> String {
    let mut text = format!("{} (process {}):\n", snapshot.program, snapshot.pid);
    for row in &snapshot.lwps {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {} {}", row.called(), doing(snapshot, row));
    }
    for circle in circles(snapshot) {
        let names: Vec<_> = circle.iter().map(|row| row.called()).collect();
        let _ = writeln!(
            text,
            "  a circle: {} wait for each other to exit",
            names.join(", ")
        );
    }
    text
}

/// What an LWP is doing.
fn doing(snapshot: &Snapshot, row: &Row) -> String {
    let called = |lid: i32| match snapshot.lwp(lid) {
        Some(row) => row.called(),
        None => format!("LWP {lid}, which is gone"),
    };
    let since = row
        .since
        .map_or_else(String::new, |since| format!(" for {}", span(since)));
    match (row.state.as_str(), row.wchan.as_deref(), row.waits_for) {
        ("O", ..) => format!("has been running on vcpu {}{since}", row.vcpu),
        ("R", ..) => "is about to run".to_owned(),
        ("Z", ..) => "has exited, and nobody has waited for it".to_owned(),
        ("U", ..) => format!("is suspended{since}"),
        ("T", ..) => format!("is stopped{since}"),
        (_, Some(PARKED), _) => {
            let by = match row.unparked_by {
                Some(lid) => format!("was last unparked by {}", called(lid)),
                None => "has never been unparked".to_owned(),
            };
            format!("has been parked{since}; {by}")
        }
        (_, Some(_), Some(0)) => format!("has been waiting{since} for any LWP to exit"),
        (_, Some(_), Some(lid)) => format!("has been waiting{since} for {} to exit", called(lid)),
        (_, Some(wchan), None) => format!("has been asleep{since} in \"{wchan}\""),
        (_, None, _) => format!("is in state {}", row.state),
    }
}

/// LWPs that wait for each other to exit, each circle once.
fn circles(snapshot: &Snapshot) -> Vec<Vec<&Row>> {
    let mut circles: Vec<Vec<&Row>> = Vec::new();
    for start in &snapshot.lwps {
        let mut path: Vec<&Row> = vec![start];
        while let Some(next) = path
            .last()
            .and_then(|row| snapshot.lwp(row.waits_for?))
            .filter(|next| !path[1..].iter().any(|row| row.lid == next.lid))
        {
            if next.lid != start.lid {
                path.push(next);
                continue;
            }
            let is_known = circles.iter().flatten().any(|row| row.lid == start.lid);
            if !is_known {
                circles.push(path);
            }
            break;
        }
    }
    circles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(lid: i32, name: &str, wchan: &str, waits_for: Option<i32>) -> Row {
        Row {
            lid,
            name: name.to_owned(),
            state: "S".to_owned(),
            wchan: Some(wchan.to_owned()),
            waits_for,
            since: Some(1_500_000_000),
            ..Row::default()
        }
    }

    fn of(lwps: Vec<Row>) -> Snapshot {
        Snapshot {
            pid: 7,
            program: "/bin/a".to_owned(),
            lwps,
            ..Snapshot::default()
        }
    }

    #[test]
    fn says_who_waits_for_whom_and_finds_each_circle_once() {
        let all = of(vec![
            row(1, "main", "lwpwait", Some(2)),
            row(2, "left", "lwpwait", Some(3)),
            row(3, "right", "lwpwait", Some(2)),
            Row {
                unparked_by: Some(9),
                ..row(4, "", "parked", None)
            },
        ]);
        let text = report(&all);
        assert_eq!(
            text,
            "/bin/a (process 7):\n  \
             LWP 1 (main) has been waiting for 1.5 s for LWP 2 (left) to exit\n  \
             LWP 2 (left) has been waiting for 1.5 s for LWP 3 (right) to exit\n  \
             LWP 3 (right) has been waiting for 1.5 s for LWP 2 (left) to exit\n  \
             LWP 4 has been parked for 1.5 s; was last unparked by LWP 9, which is gone\n  \
             a circle: LWP 2 (left), LWP 3 (right) wait for each other to exit\n"
        );
    }
}
