//! The results: the table and the JSON.

use super::Values;
use super::peers::Peer;
use super::rows::{Goal, Row, Trial, Unit};
use crate::json::quoted;
use core::fmt::Write as _;

/// The rounds of one measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

impl Sample {
    /// `None` of nothing.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            median: *sorted.get(sorted.len() / 2)?,
            lowest: *sorted.first()?,
            highest: *sorted.last()?,
        })
    }
}

/// One row beside one peer.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) row: String,
    pub(crate) peer: String,
    pub(crate) unit: Unit,
    pub(crate) ours: Option<Sample>,
    pub(crate) theirs: Option<Sample>,
    /// Ours by theirs, of the medians.
    pub(crate) ratio: Option<f64>,
    /// The most that the ratio may be, whatever the goal is stated in.
    pub(crate) goal: Option<f64>,
    /// Why there is no ratio.
    pub(crate) missing: Option<String>,
}

impl Entry {
    pub(crate) fn new(
        trial: &Trial,
        row: &Row,
        ours: &Values,
        peer: Peer,
        theirs: &Values,
        goal: Goal,
    ) -> Self {
        let missing = ours
            .missing
            .as_ref()
            .map(|why| format!("lwp: {why}"))
            .or_else(|| theirs.missing.clone());
        let (ours, theirs) = (ours.sample(), theirs.sample());
        let ratio = match (ours, theirs) {
            (Some(ours), Some(theirs)) => Some(ours.median / theirs.median),
            _ => None,
        };
        Self {
            row: row.name.clone(),
            peer: peer.shown(trial.cpus),
            unit: row.unit,
            ours,
            theirs,
            ratio: ratio.filter(|ratio| ratio.is_finite()),
            goal: theirs.and_then(|theirs| goal.as_ratio(theirs.median)),
            missing,
        }
    }

    fn is_met(&self) -> Option<bool> {
        Some(self.ratio? <= self.goal?)
    }
}

impl Goal {
    /// The same goal as a ratio, beside a peer that took `theirs`.
    fn as_ratio(self, theirs: f64) -> Option<f64> {
        match self {
            Self::None => None,
            Self::Ratio(most) => Some(most),
            Self::RatioOr(most, nanos) => Some(most.max(nanos / theirs)),
            Self::Added(nanos) => Some((theirs + nanos) / theirs),
        }
    }
}

/// The table for people.
pub(crate) fn table(entries: &[Entry]) -> String {
    let mut text = format!(
        "{:>9}  {:>9}  {:48} {:>20}   {:38} {:>20}\n",
        "ratio", "goal", "under lwp", "median [spread]", "beside", "median [spread]"
    );
    for entry in entries {
        line(&mut text, entry);
    }
    let judged: Vec<_> = entries.iter().filter_map(Entry::is_met).collect();
    let met = judged.iter().filter(|&&met| met).count();
    let _ = writeln!(text, "{met} of {} goals met", judged.len());
    text
}

fn line(text: &mut String, entry: &Entry) {
    let ratio = entry.ratio.map_or("-".to_owned(), shown_ratio);
    let goal = match (entry.goal, entry.is_met()) {
        (Some(goal), Some(true)) => format!("<={} ok", short(goal)),
        (Some(goal), _) => format!("<={} NO", short(goal)),
        _ => String::new(),
    };
    let shown = |sample| sample_text(sample, entry.unit);
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "{ratio:>9}  {goal:>9}  {:48} {:>20}   {:38} {:>20}",
        entry.row,
        shown(entry.ours),
        entry.peer,
        shown(entry.theirs)
    );
    if let Some(why) = &entry.missing {
        let _ = write!(text, "  {why}");
    }
    text.push('\n');
}

/// The table of `lwp demo`: without goals and spread.
pub(crate) fn short_table(entries: &[Entry]) -> String {
    let mut text = format!(
        "{:>9}  {:33} {:>9}  {:37} {:>9}\n",
        "ratio", "under lwp", "", "Linux", ""
    );
    for entry in entries {
        let (Some(ratio), Some(ours), Some(theirs)) = (entry.ratio, entry.ours, entry.theirs)
        else {
            continue;
        };
        let _ = writeln!(
            text,
            "{ratio:>8.3}x  {:33} {:>9.0}  {:37} {:>9.0}",
            entry.row, ours.median, entry.peer, theirs.median
        );
    }
    text
}

fn shown_ratio(ratio: f64) -> String {
    format!("{}x", short(ratio))
}

/// Three figures that matter.
fn short(number: f64) -> String {
    match number {
        n if n < 10.0 => format!("{n:.3}"),
        n if n < 1000.0 => format!("{n:.1}"),
        n => format!("{n:.0}"),
    }
}

fn sample_text(sample: Option<Sample>, unit: Unit) -> String {
    let Some(Sample {
        median,
        lowest,
        highest,
    }) = sample
    else {
        return "-".to_owned();
    };
    let figures = |value| amount(value, unit);
    format!(
        "{} [{}-{}]",
        figures(median),
        figures(lowest),
        figures(highest)
    )
}

/// An amount with its unit, short.
pub(crate) fn amount(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Bytes => format!("{value:.0}B"),
        Unit::Nanos if value < 100.0 => format!("{value:.1}ns"),
        Unit::Nanos if value < 10_000.0 => format!("{value:.0}ns"),
        Unit::Nanos if value < 1e7 => format!("{:.1}us", value / 1e3),
        Unit::Nanos => format!("{:.1}ms", value / 1e6),
    }
}

/// An array of objects, one per row and peer.
pub(crate) fn json(entries: &[Entry]) -> String {
    let objects: Vec<_> = entries.iter().map(object).collect();
    format!("[\n{}\n]\n", objects.join(",\n"))
}

/// Rows that count bytes have `ours_bytes` and `peer_bytes`; their nanoseconds are null.
fn object(entry: &Entry) -> String {
    let mut fields = vec![("row", quoted(&entry.row)), ("peer", quoted(&entry.peer))];
    let median = |sample: Option<Sample>| number(sample.map(|sample| sample.median));
    let spread = |sample: Option<Sample>| {
        sample.map_or(
            "null".to_owned(),
            |Sample {
                 lowest, highest, ..
             }| { format!("[{}, {}]", number(Some(lowest)), number(Some(highest))) },
        )
    };
    let (ours, theirs) = (median(entry.ours), median(entry.theirs));
    let null = || "null".to_owned();
    match entry.unit {
        Unit::Nanos => fields.extend([("ours_ns", ours), ("peer_ns", theirs)]),
        Unit::Bytes => fields.extend([
            ("ours_ns", null()),
            ("peer_ns", null()),
            ("ours_bytes", ours),
            ("peer_bytes", theirs),
        ]),
    }
    fields.extend([
        ("ours_spread", spread(entry.ours)),
        ("peer_spread", spread(entry.theirs)),
        ("ratio", number(entry.ratio)),
        ("goal", number(entry.goal)),
        (
            "met",
            entry.is_met().map_or_else(null, |met| met.to_string()),
        ),
        (
            "missing",
            entry.missing.as_deref().map_or_else(null, quoted),
        ),
    ]);
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| format!("\"{name}\": {value}"))
        .collect();
    format!("  {{{}}}", fields.join(", "))
}

/// A JSON number, with as many digits as mean something.
fn number(value: Option<f64>) -> String {
    match value {
        Some(value) if value.is_finite() && value < 1.0 => format!("{value:.5}"),
        Some(value) if value.is_finite() => format!("{value:.2}"),
        _ => "null".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn entry(ours: &[f64], theirs: &[f64], goal: Goal) -> Entry {
        let (ours, theirs) = (Sample::of(ours), Sample::of(theirs));
        Entry {
            row: "a \"row\"".to_owned(),
            peer: "its peer".to_owned(),
            unit: Unit::Nanos,
            ours,
            theirs,
            ratio: Some(ours.unwrap().median / theirs.unwrap().median),
            goal: goal.as_ratio(theirs.unwrap().median),
            missing: None,
        }
    }

    #[test]
    fn the_middle_round_counts() {
        let sample = Sample::of(&[9.0, 1.0, 5.0, 7.0, 3.0]).unwrap();
        assert_eq!(
            (sample.median, sample.lowest, sample.highest),
            (5.0, 1.0, 9.0)
        );
        assert_eq!(Sample::of(&[]), None);
    }

    #[test]
    fn every_goal_is_a_ratio_in_the_end() {
        assert_eq!(Goal::RatioOr(0.1, 15.0).as_ratio(100.0), Some(0.15));
        assert_eq!(Goal::RatioOr(0.1, 15.0).as_ratio(300.0), Some(0.1));
        assert_eq!(Goal::Added(3.0).as_ratio(1.0), Some(4.0));
        assert_eq!(
            entry(&[15.0], &[100.0], Goal::RatioOr(0.1, 15.0)).is_met(),
            Some(true)
        );
        assert_eq!(
            entry(&[16.0], &[100.0], Goal::RatioOr(0.1, 15.0)).is_met(),
            Some(false)
        );
    }

    #[test]
    fn json_is_quoted_and_has_the_fields() {
        let text = json(&[entry(&[1.0], &[4.0], Goal::Ratio(0.5))]);
        assert!(
            text.starts_with("[\n  {\"row\": \"a \\\"row\\\"\", \"peer\": "),
            "{text}"
        );
        assert!(
            text.contains("\"ours_ns\": 1.00, \"peer_ns\": 4.00"),
            "{text}"
        );
        assert!(
            text.contains("\"ratio\": 0.25000, \"goal\": 0.50000, \"met\": true"),
            "{text}"
        );
    }
}
