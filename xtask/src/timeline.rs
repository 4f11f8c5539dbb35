//! The timeline suite: pages of `lwp run --timeline`, as Chromium has them.
//!
//! What a page's program has computed is read out of the page, and compared with what was counted elsewhere.
//! What the mouse and the keys do goes in as the browser's own events. Times are said, not judged: the machine
//! may be busy.

use crate::browser::Browser;
use crate::project::Project;
use crate::report::Report;
use crate::run::{run, start};
use crate::runner::Runner;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Many times what the longest takes.
const LIMIT: Duration = Duration::from_mins(1);
/// A window's width and height.
const WINDOW: (u32, u32) = (1280, 720);
/// A place over the rows of LWPs.
const ROWS: (u32, u32) = (520, 420);

/// How often what has happened.
type Counts = BTreeMap<String, u64>;

/// A page of a million events, and a small one.
pub(crate) fn suite(project: &Project, report: &mut Report) {
    let Some(mut browser) = report.need("Chromium", || Browser::start(project, WINDOW)) else {
        return;
    };
    if let Some(big) = report.need("a run", || Guest::run(project, "relay", &["10000", "9"])) {
        report.check("10,000 LWPs and 1,000,000 events", || {
            million(&mut browser, &big)
        });
    }
    let Some(small) = report.need("a run", || Guest::run(project, "faults", &["convoy"])) else {
        return;
    };
    report.check("the page's numbers are those of --stats", || {
        browser.open(&small.page)?;
        small.agrees(&mut browser)
    });
    report.check("LWPs are found by name, waits by a click", || {
        find(&mut browser)
    });
    report.check("no network is asked for", || offline(&mut browser));
    report.check("ps, trace -c, --stats and the page agree", || {
        all_agree(project, &mut browser)
    });
}

/// Makes the pictures in `docs`: of a lock convoy, of a lost wake-up, of an LWP that spins.
///
/// # Errors
/// Chromium, the run or the file fail.
pub(crate) fn picture(project: &Project) -> Result<(), String> {
    let mut browser = Browser::start(project, (1200, 560))?;
    let guest = Guest::run(project, "faults", &["convoy"])?;
    browser.open(&guest.page)?;
    // The lock is handed over, with the arrows of who woke whom.
    browser.eval(
        "(() => { const s = h.wake.at[h.wake.at.length >> 1]; look(s - 1e4, s + 3e4); })()",
    )?;
    browser.point((470, 224))?;
    browser.settle()?;
    browser.picture(&project.source("docs/timeline.png"))?;
    for (fault, field, value) in [("lost", "wchan", "parked"), ("spin", "state", "O")] {
        let page = Guest::cut_short(project, fault, |lwps| lwps[1][field] == value)?;
        browser.open(&page)?;
        browser.settle()?;
        browser.picture(&project.source(&format!("docs/{fault}.png")))?;
    }
    Ok(())
}

/// Opens the page of 10,001 LWPs and a million events, compares its numbers, and goes about in it.
fn million(browser: &mut Browser, guest: &Guest) -> Result<(), String> {
    let start = Instant::now();
    browser.open(&guest.page)?;
    let loaded = start.elapsed();
    guest.agrees(browser)?;
    let (rows, events) = (
        number(browser, "tracks.length")?,
        number(browser, "h.counts[0]")?,
    );
    let is_big = rows > 10_000.0 && events > 1e6;
    expect(is_big, || format!("only {rows} LWPs and {events} events"))?;
    let start = Instant::now();
    let whole = width(browser)?;
    for _ in 0..20 {
        // At a wake-up: between two of them there may be long stretches, where the host let nobody run.
        let at = number(
            browser,
            "Math.round(x(h.wake.at[h.wake.at.length >> 1]) + canvas.getBoundingClientRect().left)",
        )?;
        browser.wheel((to_pixel(at), ROWS.1), -240, true)?;
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
    browser.eval(
        "new Promise((done) => { const look = () => \
         visibleTracks().includes(tracks.at(-1)) ? done(1) : requestAnimationFrame(look); look(); })",
    )?;
    let last = browser.eval("lwpText(tracks.at(-1) - h.vcpus)")?;
    expect(
        last.as_str()
            .is_some_and(|last| last.ends_with(" runner-10000")),
        || format!("the last row is {last}"),
    )
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
    /// What `--stats` says.
    stats: String,
}

impl Guest {
    /// Runs the guest called `name` to its good end.
    fn run(project: &Project, name: &str, args: &[&str]) -> Result<Self, String> {
        let guest = project.guest(name)?;
        let directory = project.target("timeline");
        let made = std::fs::create_dir_all(&directory);
        made.map_err(|why| format!("{}: {why}", directory.display()))?;
        let page = directory.join(name).with_extension("html");
        let option = format!("--timeline={}", page.display());
        let runner = Runner::new(project.lwp()?).vcpus(2);
        let runner = runner.option("--stats").option(&option);
        // By a name that is the same on all machines: it is in the picture.
        let mut command = runner.command(&Path::new(".").join(name));
        command
            .args(args)
            .current_dir(guest.parent().unwrap_or(&guest));
        let log = project.log(&format!("timeline-{name}"));
        let stats = run(&mut command, LIMIT, &log)?.success()?.stderr;
        Ok(Self { page, stats })
    }

    /// Runs the guest called `faults`, which does not end with such a fault, until its LWPs are as they are to be;
    /// the page.
    fn cut_short(
        project: &Project,
        fault: &str,
        are_so: impl Fn(&Value) -> bool,
    ) -> Result<PathBuf, String> {
        let (lwp, guest) = (project.lwp()?, project.guest("faults")?);
        let page = project
            .target("timeline")
            .join(fault)
            .with_extension("html");
        let mut command = Command::new(&lwp);
        command
            .args(["run", "-q", "--vcpus", "2", "--timeline"])
            .arg(&page)
            .args(["./faults", fault])
            .current_dir(guest.parent().unwrap_or(&guest));
        let mut child = start(&mut command)?;
        let seen = seen(&lwp, child.id(), are_so);
        let killed = kill_process(Pid::from_child(&child), Signal::TERM);
        killed.map_err(|why| why.to_string())?;
        child.wait().map_err(|why| why.to_string())?;
        seen.map(|_| page)
    }

    /// The open page has the counts that `--stats` says, and has dropped nothing.
    fn agrees(&self, browser: &mut Browser) -> Result<(), String> {
        let page = read_counts(browser)?;
        let mut wanted = from_stats(&self.stats)?;
        wanted.insert("dropped".to_owned(), 0);
        match wanted
            .iter()
            .find(|(name, count)| page.get(*name) != Some(count))
        {
            None => Ok(()),
            Some((name, count)) => Err(format!("{name} {count} in --stats, {page:?} in the page")),
        }
    }
}

/// One run with every view, looked at by `lwp ps` when all but its end is over.
fn all_agree(project: &Project, browser: &mut Browser) -> Result<(), String> {
    let directory = project.target("timeline");
    let lwp = project.lwp()?;
    let [page, counted] = ["all.html", "all.json"].map(|name| directory.join(name));
    let mut command = Command::new(&lwp);
    command
        .args(["trace", "-c", "-f", "json", "--vcpus", "2", "--stats"])
        .arg("-o")
        .args([&counted, Path::new("--timeline"), &page])
        .arg(project.guest("relay")?)
        .args(["50", "20", "wait"]);
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = start(pipes.stderr(Stdio::piped()))?;
    let is_over = |lwps: &Value| lwps[1].is_null() && lwps[0]["wchan"] == "pipe_rd";
    let seen = seen(&lwp, child.id(), is_over);
    drop(child.stdin.take());
    let output = child.wait_with_output().map_err(|why| why.to_string())?;
    let (seen, stats) = (seen?, String::from_utf8_lossy(&output.stderr));
    let wanted = from_stats(&stats)?;
    let of = |name: &str| wanted.get(name).copied().unwrap_or(0);
    let field = |name: &str| seen[name].as_u64().unwrap_or(0);
    let exact = |what: &str, is: u64, wanted: u64| {
        expect(is == wanted, || {
            format!("{what}: {is}, not {wanted}\n{stats}")
        })
    };
    exact("LWPs in ps", field("created"), of("lwps"))?;
    // After that the first LWP has come back from its read.
    exact("switches in ps", field("switches") + 1, of("switches"))?;
    let counted = std::fs::read(&counted).map_err(|why| why.to_string())?;
    let counted: Value = serde_json::from_slice(&counted).map_err(|why| why.to_string())?;
    let rows = counted["calls"].as_array().into_iter().flatten();
    let calls = rows.filter_map(|row| row["count"].as_u64()).sum();
    exact("calls in trace -c", calls, of("calls"))?;
    browser.open(&page)?;
    let stats = stats.into_owned();
    Guest { page, stats }.agrees(browser)
}

/// What `lwp ps` says of the process, once its LWPs are as they are to be.
fn seen(lwp: &Path, pid: u32, are_so: impl Fn(&Value) -> bool) -> Result<Value, String> {
    let start = Instant::now();
    loop {
        let asked = Command::new(lwp)
            .args(["ps", "--json", &pid.to_string()])
            .output()
            .map_err(|why| why.to_string())?;
        // It fails until the guest listens.
        let seen: Value = serde_json::from_slice(&asked.stdout).unwrap_or_default();
        if are_so(&seen[0]["lwps"]) {
            return Ok(seen[0].clone());
        }
        expect(start.elapsed() < LIMIT, || {
            format!("it does not come so far: {seen}")
        })?;
    }
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
        let found = numbers(line)?;
        if found.len() < names.len() {
            return Err(format!("--stats says too little of {line}:\n{stats}"));
        }
        counts.extend(names.iter().map(|name| (*name).to_owned()).zip(found));
    }
    Ok(counts)
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

/// A place in the window.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the window"
)]
fn to_pixel(at: f64) -> u32 {
    at.clamp(0.0, f64::from(WINDOW.0)) as u32
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
