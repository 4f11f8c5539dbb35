//! How often each call was made, and how long it took (`-c`).

use crate::json::quoted;
use core::cmp::Reverse;
use core::fmt::Write;
use core::time::Duration;
use lwp_abi::nr;
use std::collections::BTreeMap;

/// Parts of a power of two that are told apart: a median is right to 6 %.
const PARTS: u32 = 16;
const BUCKETS: usize = 64 * PARTS as usize;

/// Counts by call.
#[derive(Debug, Default)]
pub struct Summary {
    rows: BTreeMap<u16, Row>,
}

/// What is known of one call.
#[derive(Debug)]
struct Row {
    count: u64,
    errors: u64,
    slow: u64,
    total: Duration,
    /// How many took how long.
    spread: Box<[u32; BUCKETS]>,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            count: 0,
            errors: 0,
            slow: 0,
            total: Duration::ZERO,
            spread: Box::new([0; BUCKETS]),
        }
    }
}

impl Summary {
    /// A call was made.
    pub fn enter(&mut self, number: u16, trapped: bool) {
        let row = self.rows.entry(number).or_default();
        row.count += 1;
        row.slow += u64::from(trapped);
    }

    /// It came back.
    pub fn leave(&mut self, number: u16, took: Duration, is_error: bool) {
        let row = self.rows.entry(number).or_default();
        row.errors += u64::from(is_error);
        row.total += took;
        let counted = &mut row.spread[bucket(nanos(took))];
        *counted = counted.saturating_add(1);
    }

    /// The rows, those that took longest first.
    fn sorted(&self) -> Vec<(String, &Row)> {
        let named = |(&number, row)| {
            let name = nr::name(number).map_or_else(|| format!("call {number}"), str::to_owned);
            (name, row)
        };
        let mut rows: Vec<_> = self.rows.iter().map(named).collect();
        rows.sort_by_key(|(_, row): &(_, &Row)| Reverse((row.total, row.count)));
        rows
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let rows = self.sorted();
        let all: Duration = rows.iter().map(|(_, row)| row.total).sum();
        let sum = |of: fn(&Row) -> u64| rows.iter().map(|(_, row)| of(row)).sum::<u64>();
        let mut text = format!(
            "{:>6} {:>12} {:>11} {:>9} {:>8} {:>7}  call\n",
            "% time", "total ms", "median us", "calls", "errors", "% slow"
        );
        for (name, row) in &rows {
            line(
                &mut text,
                row,
                (share(row.total, all), &micros(row.median())),
                name,
            );
        }
        let total = Row {
            count: sum(|row| row.count),
            errors: sum(|row| row.errors),
            slow: sum(|row| row.slow),
            total: all,
            ..Row::default()
        };
        line(&mut text, &total, (share(all, all), ""), "total");
        text
    }

    /// An array for programs.
    pub fn json(&self) -> String {
        let rows = self.sorted();
        let object = |(name, row): &(String, &Row)| {
            format!(
                "{{\"call\":{},\"count\":{},\"errors\":{},\"slow\":{},\"total_ns\":{},\"median_ns\":{}}}",
                quoted(name),
                row.count,
                row.errors,
                row.slow,
                row.total.as_nanos(),
                row.median().as_nanos()
            )
        };
        let objects: Vec<_> = rows.iter().map(object).collect();
        format!("[{}]", objects.join(","))
    }
}

impl Row {
    /// What half of those that came back took at most.
    fn median(&self) -> Duration {
        let all: u64 = self.spread.iter().copied().map(u64::from).sum();
        let mut before = 0;
        let half = self.spread.iter().position(|&count| {
            before += u64::from(count);
            before * 2 >= all && all > 0
        });
        half.map_or(Duration::ZERO, middle)
    }
}

fn line(text: &mut String, row: &Row, (share, median): (String, &str), name: &str) {
    let slow = tenths(row.slow.into(), row.count.into());
    let errors = match row.errors {
        0 => String::new(),
        errors => errors.to_string(),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{share:>6} {:>12} {median:>11} {:>9} {errors:>8} {slow:>7}  {name}",
        millis(row.total),
        row.count
    );
}

fn share(part: Duration, whole: Duration) -> String {
    tenths(part.as_nanos(), whole.as_nanos())
}

/// `part` of `whole` in per cent, with one decimal.
fn tenths(part: u128, whole: u128) -> String {
    let tenths = part * 1000 / whole.max(1);
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn millis(time: Duration) -> String {
    format!("{}.{:03}", time.as_millis(), time.subsec_micros() % 1000)
}

/// A time in microseconds, with one decimal.
pub(crate) fn micros(time: Duration) -> String {
    format!("{}.{}", time.as_micros(), time.subsec_nanos() % 1000 / 100)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Where a time is counted: powers of two in [`PARTS`] parts each.
fn bucket(nanos: u64) -> usize {
    let power = nanos.checked_ilog2().unwrap_or(0);
    let Some(shift) = power.checked_sub(PARTS.ilog2()) else {
        return usize::try_from(nanos).unwrap_or(0);
    };
    let part = (nanos >> shift) % u64::from(PARTS);
    let start = u64::from(shift + 1) * u64::from(PARTS);
    usize::try_from(start + part).unwrap_or(0)
}

/// The middle of the times that are counted in one place.
fn middle(bucket: usize) -> Duration {
    let bucket = bucket as u64;
    let (power, part) = (bucket / u64::from(PARTS), bucket % u64::from(PARTS));
    let Some(shift) = power.checked_sub(1) else {
        return Duration::from_nanos(bucket);
    };
    let low = (u64::from(PARTS) + part) << shift;
    Duration::from_nanos(low + ((1 << shift) >> 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_are_sorted_by_time_and_the_sum_is_last() {
        let mut summary = Summary::default();
        for (number, micros, is_error) in [
            (nr::SYS_READ, 10, false),
            (nr::SYS_READ, 20, true),
            (nr::SYS_READ, 30, false),
            (nr::SYS_WRITE, 1000, false),
        ] {
            summary.enter(number, is_error);
            summary.leave(number, Duration::from_micros(micros), is_error);
        }
        summary.enter(nr::SYS_EXIT, false);
        let table = summary.table();
        let lines: Vec<Vec<_>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines[1][0], "94.3");
        assert_eq!(lines[1].last(), Some(&"write"));
        assert_eq!(lines[2][3..], ["3", "1", "33.3", "read"]);
        assert_eq!(lines[3].last(), Some(&"exit"));
        assert_eq!(lines[4], ["100.0", "1.060", "5", "1", "20.0", "total"]);
        let json = summary.json();
        assert!(
            json.contains(
                "\"call\":\"read\",\"count\":3,\"errors\":1,\"slow\":1,\"total_ns\":60000"
            )
        );
    }

    proptest! {
        #[test]
        fn a_median_is_right_to_six_per_cent(nanos: u64) {
            let place = bucket(nanos);
            prop_assert!(place < BUCKETS);
            let middle = u64::try_from(middle(place).as_nanos()).unwrap();
            prop_assert!(middle.abs_diff(nanos) <= nanos / 16, "{} for {}", middle, nanos);
        }
    }
}
