//! The picture: one bar per row and peer, on a logarithmic scale of ratios, with the goal as a mark.

use super::report::{Entry, amount};
use core::fmt::Write as _;

const WIDTH: f64 = 1240.0;
const LINE: f64 = 20.0;
const TOP: f64 = 64.0;
/// Where the bars begin and end.
const LEFT: f64 = 620.0;
const RIGHT: f64 = 1100.0;
/// Powers of ten at both ends of the scale.
const LOWEST: f64 = -3.0;
const HIGHEST: f64 = 2.0;

const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#222}.small{font-size:11px;fill:#666}
.grid{stroke:#ddd}.one{stroke:#888}.bar{fill:#4a7db5}.met{fill:#3f8f5f}.missed{fill:#c2553f}
.goal{stroke:#111;stroke-width:2}.title{font-size:17px;font-weight:600}
@media(prefers-color-scheme:dark){svg{background:#16181c}text{fill:#ddd}.small{fill:#999}.grid{stroke:#333}.goal{stroke:#fff}}";

/// Draws `entries`.
pub(crate) fn picture(entries: &[Entry]) -> String {
    let drawn: Vec<_> = entries
        .iter()
        .filter(|entry| entry.ratio.is_some())
        .collect();
    let height = TOP + LINE * count(drawn.len()) + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>What LWPs cost beside what Linux offers</title>\n<style>{STYLE}</style>\n\
         <text class=\"title\" x=\"12\" y=\"24\">What LWPs cost, as a ratio: shorter is better</text>\n"
    );
    scale(&mut svg, height);
    for (i, entry) in drawn.iter().enumerate() {
        bar(&mut svg, entry, TOP + LINE * count(i));
    }
    svg.push_str("</svg>\n");
    svg
}

/// A number of lines.
fn count(lines: usize) -> f64 {
    f64::from(u32::try_from(lines).unwrap_or(u32::MAX))
}

/// Where a ratio lies.
fn x(ratio: f64) -> f64 {
    let place = (libm::log10(ratio).clamp(LOWEST, HIGHEST) - LOWEST) / (HIGHEST - LOWEST);
    LEFT + place * (RIGHT - LEFT)
}

fn scale(svg: &mut String, height: f64) {
    let grid = ["0.001", "0.01", "0.1", "1", "10", "100"];
    for (shown, power) in grid.into_iter().zip(-3..) {
        let class = if power == 0 { "one" } else { "grid" };
        let x = x(10_f64.powi(power));
        // Writing to a string cannot fail.
        let _ = writeln!(
            svg,
            "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"48\" y2=\"{:.1}\"/>\
             <text class=\"small\" x=\"{x:.1}\" y=\"42\" text-anchor=\"middle\">{shown}x</text>",
            height - 20.0
        );
    }
}

fn bar(svg: &mut String, entry: &Entry, y: f64) {
    let (Some(ratio), Some(ours), Some(theirs)) = (entry.ratio, entry.ours, entry.theirs) else {
        return;
    };
    let class = match entry.goal {
        Some(goal) if ratio <= goal => "met",
        Some(_) => "missed",
        None => "bar",
    };
    let end = x(ratio).max(LEFT + 1.0);
    let _ = writeln!(
        svg,
        "<text x=\"12\" y=\"{base:.1}\">{}</text><text class=\"small\" x=\"{text:.1}\" y=\"{base:.1}\" text-anchor=\"end\">{}</text>\
         <rect class=\"{class}\" x=\"{LEFT}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{thick}\"/>\
         <text class=\"small\" x=\"{after}\" y=\"{base:.1}\">{ratio:.3}x</text>",
        escaped(&entry.row),
        escaped(&format!(
            "{} / {} {}",
            amount(ours.median, entry.unit),
            amount(theirs.median, entry.unit),
            entry.peer
        )),
        base = y + 14.0,
        text = LEFT - 8.0,
        top = y + 4.0,
        width = end - LEFT,
        thick = LINE - 8.0,
        after = RIGHT + 10.0,
    );
    if let Some(goal) = entry.goal {
        let at = x(goal);
        let _ = writeln!(
            svg,
            "<line class=\"goal\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
            y + 2.0,
            y + LINE - 2.0
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::tests::entry;
    use crate::bench::rows::Goal;

    #[test]
    fn bars_have_the_colour_of_their_goal() {
        let svg = picture(&[
            entry(&[1.0], &[100.0], Goal::Ratio(0.1)),
            entry(&[50.0], &[100.0], Goal::Ratio(0.1)),
            entry(&[1e9], &[1.0], Goal::None),
        ]);
        for class in ["met", "missed", "bar"] {
            let bars = svg.matches(&format!("<rect class=\"{class}\"")).count();
            assert_eq!(bars, 1, "{class}");
        }
        assert_eq!(svg.matches("class=\"goal\"").count(), 2);
        assert!(svg.ends_with("</svg>\n"));
    }
}
