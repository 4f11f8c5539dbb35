//! The timeline suite: pages of `lwp run --timeline`, as Chromium has them.
//!
//! What a page's program has computed is read out of the page, and compared with what was counted elsewhere.
//! What the mouse and the keys do goes in as the browser's own events. Times are said, not judged: the machine
//! may be busy.

use crate::browser::Browser;
use crate::project::Project;
use crate::report::Report;
use crate::run::{Finished, run};
use crate::runner::Runner;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Many times what the longest takes.
const LIMIT: Duration = Duration::from_mins(1);
/// A window's width and height.
const WINDOW: (u32, u32) = (1280, 720);
/// A place over the rows of LWPs.
const ROWS: (u32, u32) = (520, 420);

/// How often what has happened.
type Counts = BTreeMap<String, u64>;

/// A page of a million events, and one of a guest.
pub(crate) fn suite(project: &Project, report: &mut Report) {
    let Some(mut browser) = report.need("Chromium", || Browser::start(project, WINDOW)) else {
        return;
    };
    report.check("10,000 LWPs and 1,000,000 events", || {
        let (page, counts) = big(project)?;
        million(&mut browser, &page, &counts)
    });
    let Some(guest) = report.need("a run", || Guest::run(project, "convoy")) else {
        return;
    };
    report.check("the page's numbers are those of --stats", || {
        browser.open(&guest.page)?;
        agrees(
            &read_counts(&mut browser)?,
            &from_stats(&guest.done.stderr)?,
        )
    });
    report.check("LWPs are found by name, waits by a click", || {
        find(&mut browser)
    });
    report.check("no network is asked for", || offline(&mut browser));
}

/// Makes docs/timeline.png.
///
/// # Errors
/// Chromium, the run or the file fail.
pub(crate) fn picture(project: &Project) -> Result<(), String> {
    let mut browser = Browser::start(project, (1200, 560))?;
    let guest = Guest::run(project, "convoy")?;
    browser.open(&guest.page)?;
    // A few turns of the lock, in the middle, with the arrows of who woke whom.
    browser.eval("look(h.duration * 0.5, h.duration * 0.5 + 3e6)")?;
    browser.settle()?;
    browser.picture(&project.source("docs/timeline.png"))
}

/// The page of a run that never was, and what was counted when it was made.
fn big(project: &Project) -> Result<(PathBuf, Counts), String> {
    let program = project.example("lwp-timeline", "big")?;
    let page = project.target("timeline/big.html");
    make_parent(&page)?;
    let log = project.log("timeline-big");
    let done = run(Command::new(program).arg(&page), LIMIT, &log)?.success()?;
    let lines = done.stdout.lines().filter_map(|line| line.split_once(' '));
    let counts = lines.map(|(name, count)| {
        let count = count
            .parse()
            .map_err(|_| format!("{name} {count}: no number"))?;
        Ok((name.to_owned(), count))
    });
    Ok((page, counts.collect::<Result<_, String>>()?))
}

/// Opens the big page, compares its numbers, and goes about in it.
fn million(browser: &mut Browser, page: &Path, counts: &Counts) -> Result<(), String> {
    let start = Instant::now();
    browser.open(page)?;
    let loaded = start.elapsed();
    agrees(&read_counts(browser)?, counts)?;
    let rows = number(browser, "tracks.length")?;
    same("rows", rows, 10_000.0)?;
    let runs = number(browser, "h.turn.from.length")?;
    same(
        "intervals on vcpus",
        runs,
        as_float(*counts.get("runs").unwrap_or(&0)),
    )?;
    let start = Instant::now();
    let whole = width(browser)?;
    for _ in 0..20 {
        browser.wheel(ROWS, -240, true)?;
        browser.settle()?;
    }
    let near = width(browser)?;
    let arrows = "document.body.dataset.arrows > 0";
    expect(near < whole / 1000.0, || {
        format!("20 turns of the wheel: {whole} to {near} ns")
    })?;
    expect(browser.eval(arrows)? == true, || "no arrows".to_owned())?;
    pan(browser)?;
    scroll(browser)?;
    browser.key("0")?;
    browser.settle()?;
    same("all in view", width(browser)?, whole)?;
    let took = start.elapsed();
    expect(is_drawn(browser)?, || "the canvas is empty".to_owned())?;
    println!(
        "     loaded in {:.2} s; 20 zooms, 4 pans and a scroll to the end in {:.2} s",
        loaded.as_secs_f64(),
        took.as_secs_f64()
    );
    Ok(())
}

/// To the left and right by keys, and back to where it was.
fn pan(browser: &mut Browser) -> Result<(), String> {
    let before = number(browser, "view.from")?;
    for (key, is_later) in [
        ("d", true),
        ("ArrowLeft", false),
        ("a", false),
        ("ArrowRight", true),
    ] {
        let from = number(browser, "view.from")?;
        browser.key(key)?;
        browser.settle()?;
        let to = number(browser, "view.from")?;
        expect((to > from) == is_later, || {
            format!("{key}: from {from} to {to} ns")
        })?;
    }
    let after = number(browser, "view.from")?;
    expect((after - before).abs() < 1.0, || {
        format!("{before} became {after} ns")
    })
}

/// Down to the last LWP: rows are drawn where they come into view.
fn scroll(browser: &mut Browser) -> Result<(), String> {
    browser.wheel(ROWS, 10_000_000, false)?;
    browser.eval("new Promise((done) => { const look = () => visibleTracks().includes(tracks.at(-1)) ? done(1) : requestAnimationFrame(look); look(); })")?;
    let last = browser.eval("lwpText(tracks.at(-1) - h.vcpus)")?;
    expect(last == "10000 worker-10000", || {
        format!("the last row is {last}")
    })
}

/// The search field, and the table of waits.
fn find(browser: &mut Browser) -> Result<(), String> {
    browser.key("/")?;
    for letter in ["s", "l", "o", "w"] {
        browser.eval(&format!(
            "el('search').value += '{letter}', el('search').dispatchEvent(new Event('input'))"
        ))?;
    }
    same("rows called slow", number(browser, "tracks.length")?, 1.0)?;
    let found = browser.eval("h.name[tracks[0] - h.vcpus]")?;
    expect(found == "slow", || format!("found {found}"))?;
    browser.eval("el('search').value = '', search('')")?;
    browser.eval("el('waits').tBodies[0].rows[0].click()")?;
    browser.settle()?;
    let shown = browser.eval(
        "(({row, span}) => { const s = h.span.first[row] + span; \
         return chosen === h.vcpus + row && view.from < h.span.from[s] && h.span.to[s] < view.to; })(h.waits[0])",
    )?;
    expect(shown == true, || {
        "the longest wait is not in view".to_owned()
    })?;
    // Over that row there is a tip, with the exact figure.
    let at = browser.eval(
        "(() => { const box = canvas.getBoundingClientRect(), w = h.waits[0], s = h.span.first[w.row] + w.span; \
         return [x((h.span.from[s] + h.span.to[s]) / 2) + box.left, y(chosen) + 8 + box.top].map(Math.round); })()",
    )?;
    let place = |index: usize| at[index].as_u64().and_then(|it| u32::try_from(it).ok());
    let (Some(x), Some(y)) = (place(0), place(1)) else {
        return Err(format!("no place for the mouse: {at}"));
    };
    browser.point((x, y))?;
    let tip = browser.eval("el('tip').hidden ? '' : el('tip').textContent")?;
    let figure = browser.eval(
        "(({row, span}) => timeText(h.span.to[h.span.first[row] + span] - h.span.from[h.span.first[row] + span]))(h.waits[0])",
    )?;
    let has_figure = tip
        .as_str()
        .unwrap_or("")
        .contains(figure.as_str().unwrap_or("?"));
    expect(has_figure, || format!("the tip says {tip}, not {figure}"))
}

/// The page has loaded nothing but itself.
fn offline(browser: &mut Browser) -> Result<(), String> {
    let loaded = number(browser, "performance.getEntriesByType('resource').length")?;
    same("things loaded", loaded, 0.0)
}

/// A run of a guest with `--stats` and `--timeline`.
struct Guest {
    page: PathBuf,
    done: Finished,
}

impl Guest {
    /// Runs the guest that has faults, with the one called `fault`.
    fn run(project: &Project, fault: &str) -> Result<Self, String> {
        let guests = project.guests()?;
        let found = guests.into_iter().find(|guest| guest.ends_with("faults"));
        let guest = found.ok_or_else(|| "there is no guest called faults".to_owned())?;
        let page = project.target(&format!("timeline/{fault}.html"));
        make_parent(&page)?;
        let option = format!("--timeline={}", page.display());
        let runner = Runner::new(project.lwp()?).vcpus(2);
        let runner = runner.option("--stats").option(&option);
        let log = project.log(&format!("timeline-{fault}"));
        let done = run(runner.command(&guest).arg(fault), LIMIT, &log)?.success()?;
        Ok(Self { page, done })
    }
}

fn make_parent(file: &Path) -> Result<(), String> {
    let parent = file.parent().expect("it is in the target directory");
    std::fs::create_dir_all(parent).map_err(|why| format!("{}: {why}", parent.display()))
}

/// The counts in the page, by their names, as a person reads them.
fn read_counts(browser: &mut Browser) -> Result<Counts, String> {
    let texts = browser.eval(
        "Object.fromEntries([...document.querySelectorAll('[data-count]')].map((it) => [it.dataset.count, it.textContent]))",
    )?;
    let Value::Object(texts) = texts else {
        return Err(format!("no counts in the page: {texts}"));
    };
    let counts = texts.into_iter().map(|(name, text)| {
        let digits = text
            .as_str()
            .unwrap_or("")
            .chars()
            .filter(char::is_ascii_digit);
        let count = digits.collect::<String>().parse();
        count
            .map_err(|_| format!("{name} is {text} in the page"))
            .map(|count| (name, count))
    });
    counts.collect()
}

/// The counts that a page has, out of the lines of `--stats`.
fn from_stats(stats: &str) -> Result<Counts, String> {
    let numbers = |name: &str| -> Result<Vec<u64>, String> {
        let line = stats
            .lines()
            .find_map(|line| line.strip_prefix("lwp: ")?.strip_prefix(name));
        let line = line.ok_or_else(|| format!("--stats says nothing of {name}:\n{stats}"))?;
        let words = line.split(|letter: char| !letter.is_ascii_digit());
        Ok(words.filter_map(|word| word.parse().ok()).collect())
    };
    let mut counts = Counts::new();
    let lines: [(&str, &[&str]); 5] = [
        ("system calls", &["calls"]),
        ("lwps", &["lwps", "peak"]),
        ("switches", &["switches"]),
        ("parks", &["parks", "tokens"]),
        ("unparks", &["unparks", "kept"]),
    ];
    for (line, names) in lines {
        for (name, count) in names.iter().zip(numbers(line)?) {
            counts.insert((*name).to_owned(), count);
        }
    }
    counts.insert("dropped".to_owned(), 0);
    Ok(counts)
}

/// Every count that the page has and `wanted` knows is the same, and there are some.
fn agrees(page: &Counts, wanted: &Counts) -> Result<(), String> {
    let shared = page
        .iter()
        .filter_map(|(name, count)| Some((name, count, wanted.get(name)?)));
    let shared: Vec<_> = shared.collect();
    expect(shared.len() >= 8, || format!("the page has only {page:?}"))?;
    match shared.iter().find(|(_, page, wanted)| page != wanted) {
        None => Ok(()),
        Some((name, page, wanted)) => Err(format!("{name}: {page} in the page, not {wanted}")),
    }
}

/// Whether the canvas has colours of states in it.
fn is_drawn(browser: &mut Browser) -> Result<bool, String> {
    let colours = "new Set(new Uint32Array(context.getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size > 4";
    browser.eval(colours).map(|it| it == true)
}

/// How many nanoseconds are in view.
fn width(browser: &mut Browser) -> Result<f64, String> {
    number(browser, "view.to - view.from")
}

fn number(browser: &mut Browser, expression: &str) -> Result<f64, String> {
    let value = browser.eval(expression)?;
    value
        .as_f64()
        .ok_or_else(|| format!("{expression} is {value}"))
}

fn as_float(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

fn same(what: &str, is: f64, wanted: f64) -> Result<(), String> {
    expect((is - wanted).abs() < 0.5, || {
        format!("{what}: {is}, not {wanted}")
    })
}

fn expect(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_stats() {
        let stats = "lwp: system calls   12\nlwp:   fast         11 (91.6 %)\n\
                     lwp: lwps           3, at most 2 at a time\nlwp: switches       9; left because parked 4\n\
                     lwp: parks          5, 1 of them with an unpark pending; 0 sleeps timed out\n\
                     lwp: unparks        7, 2 of them before the park\n";
        let counts = from_stats(stats).unwrap();
        let wanted = [("calls", 12), ("lwps", 3), ("peak", 2), ("switches", 9)];
        for (name, count) in wanted.into_iter().chain([("tokens", 1), ("kept", 2)]) {
            assert_eq!(counts.get(name), Some(&count), "{name}");
        }
        assert!(from_stats("").is_err());
    }
}
