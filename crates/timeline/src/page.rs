//! A history as one page of HTML, which needs nothing else: no network, no other file.
//!
//! The page's program, style and frame are files of their own beside this one. The history goes in as one run of
//! bytes in base64; `page.js: decode` reads it back. Nothing the guest has a say in, such as names, is ever
//! written as HTML: it is all in there.
//!
//! # The bytes
//! Numbers are LEB128, least significant seven bits first. Strings are a length and UTF-8. Times are differences,
//! in nanoseconds. Where something can be missing the number is one more, and 0 says that it is.
//!
//! | what | of what |
//! |---|---|
//! | head | version, program, pid, vcpus, duration, dropped, then the counts in the order of [`Counts::by_name`](crate::counts::Counts::by_name) |
//! | words | how many; wait messages |
//! | words | how many; names of calls. An index into them is what a call's number becomes |
//! | words | how many; names of errors, likewise |
//! | words | how many; reasons of wake-ups, likewise |
//! | sums | how many rows, spans, calls and wakes there are, for whoever makes room |
//! | rows | lid, name, who made it?, begin; spans: how many, each (length, state, vcpu or wait message); calls: how many, each (distance, length, name, 0 never came back, 1 well, 2 and on an error) |
//! | runs | how many; the rows of all spans on vcpus in the order of their beginnings |
//! | wakes | each (distance, by?, row, why, latency?) |
//! | waits | how many; each (row, index of the span, wake?) |
//! | pairs | how many; each (by?, row, count, latency) |
//!
//! Here `?` is a number that can be missing, and a distance is the one from the end, or time, before.

use crate::Program;
use crate::history::{History, Row, Span, State};
use crate::perfetto::call_name;
use crate::recorder::Nanos;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustc_hash::FxHashMap;
use std::hash::Hash;

/// The number at the head of the bytes.
const VERSION: u64 = 1;

/// The page that shows `history`.
pub fn write(history: &History, program: &Program) -> String {
    let data = STANDARD.encode(encode(history, program));
    let parts = [
        ("/*STYLE*/", include_str!("page.css")),
        ("/*PROGRAM*/", include_str!("page.js")),
        // Last, and so never searched.
        ("/*DATA*/", &data),
    ];
    let mut page = String::with_capacity(data.len() + (64 << 10));
    let mut rest = include_str!("page.html");
    for (mark, part) in parts {
        let (before, after) = rest.split_once(mark).unwrap_or((rest, ""));
        page.push_str(before);
        page.push_str(part);
        rest = after;
    }
    page.push_str(rest);
    page
}

/// The bytes that `page.js: decode` reads.
fn encode(history: &History, program: &Program) -> Vec<u8> {
    let mut out = Bytes::default();
    out.number(VERSION);
    out.string(&program.words);
    out.number(program.pid.unsigned_abs().into());
    out.number(history.vcpus as u64);
    out.number(history.end - history.begin);
    out.number(history.dropped);
    for (_, count) in history.counts.by_name() {
        out.number(count);
    }
    // First what refers to the words, so that all of them are known; they stand before it.
    let mut words = Tables::default();
    let mut body = Bytes::default();
    for row in &history.rows {
        body.row(row, history.begin, &mut words);
    }
    body.runs(history);
    body.wakes(history, &mut words);
    body.waits(history);
    body.pairs(history);
    out.words(history.wmesgs.iter().copied());
    let calls: Vec<_> = words.calls.all.iter().map(|it| call_name(*it)).collect();
    out.words(calls.iter().map(String::as_str));
    out.words(words.errnos.all.iter().copied());
    out.words(words.whys.all.iter().copied());
    let sum = |count: fn(&Row) -> usize| history.rows.iter().map(count).sum::<usize>() as u64;
    out.number(history.rows.len() as u64);
    out.number(sum(|row| row.spans.len()));
    out.number(sum(|row| row.calls.len()));
    out.number(history.wakes.len() as u64);
    out.0.append(&mut body.0);
    out.0
}

/// Words that are written once and then called by their numbers.
#[derive(Default)]
struct Tables {
    calls: Words<u16>,
    errnos: Words<&'static str>,
    whys: Words<&'static str>,
}

struct Words<T> {
    all: Vec<T>,
    index: FxHashMap<T, u64>,
}

impl<T> Default for Words<T> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            index: FxHashMap::default(),
        }
    }
}

impl<T: Copy + Eq + Hash> Words<T> {
    /// The number of `word`.
    fn number(&mut self, word: T) -> u64 {
        let next = self.all.len() as u64;
        *self.index.entry(word).or_insert_with(|| {
            self.all.push(word);
            next
        })
    }
}

#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn number(&mut self, number: u64) {
        prost::encoding::encode_varint(number, &mut self.0);
    }

    /// A number that can be missing.
    fn optional(&mut self, number: Option<u64>) {
        self.number(number.map_or(0, |number| number.saturating_add(1)));
    }

    fn string(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn words<'w>(&mut self, words: impl ExactSizeIterator<Item = &'w str>) {
        self.number(words.len() as u64);
        for word in words {
            self.string(word);
        }
    }

    fn row(&mut self, row: &Row, begin: Nanos, words: &mut Tables) {
        let first = row.spans.first().map_or(begin, |span| span.from);
        self.number(row.lid.unsigned_abs().into());
        self.string(&row.name);
        self.optional(row.made_by.map(u64::from));
        self.number(first - begin);
        self.number(row.spans.len() as u64);
        for Span { from, to, state } in &row.spans {
            self.number(to - from);
            let (kind, detail) = kind(*state);
            self.number(kind);
            self.number(detail.into());
        }
        self.number(row.calls.len() as u64);
        let mut last = first;
        for call in &row.calls {
            self.number(call.from - last);
            self.number(call.to - call.from);
            self.number(words.calls.number(call.number));
            self.number(match call.result {
                None => 0,
                Some(Ok(())) => 1,
                Some(Err(errno)) => 2 + words.errnos.number(errno.name()),
            });
            last = call.to;
        }
    }

    /// Whose turn it was, over all vcpus: the page makes their rows of it without sorting.
    fn runs(&mut self, history: &History) {
        let runs = (0_u64..).zip(&history.rows).flat_map(|(row, it)| {
            let is_run = |span: &&Span| matches!(span.state, State::Running { .. });
            it.spans
                .iter()
                .filter(is_run)
                .map(move |span| (span.from, row))
        });
        let mut runs: Vec<_> = runs.collect();
        runs.sort_unstable();
        self.number(runs.len() as u64);
        for (_, row) in runs {
            self.number(row);
        }
    }

    fn wakes(&mut self, history: &History, words: &mut Tables) {
        let mut last = history.begin;
        for wake in &history.wakes {
            self.number(wake.at - last);
            self.optional(wake.by.map(u64::from));
            self.number(wake.row.into());
            self.number(words.whys.number(wake.why.word()));
            self.optional(wake.ran.map(|ran| ran - wake.at));
            last = wake.at;
        }
    }

    fn waits(&mut self, history: &History) {
        self.number(history.waits.len() as u64);
        for wait in &history.waits {
            self.number(wait.row.into());
            self.number(wait.span.into());
            self.optional(wait.wake.map(u64::from));
        }
    }

    fn pairs(&mut self, history: &History) {
        self.number(history.pairs.len() as u64);
        for pair in &history.pairs {
            self.optional(pair.by.map(u64::from));
            self.number(pair.row.into());
            self.number(pair.count);
            self.number(pair.latency);
        }
    }
}

/// A state's number, in the order of `page.js: STATES`, and which vcpu or wait message.
fn kind(state: State) -> (u64, u16) {
    match state {
        State::Running { cpu } => (0, cpu),
        State::Runnable => (1, 0),
        State::Parked => (2, 0),
        State::Sleeping { wmesg } => (3, wmesg),
        State::Suspended => (4, 0),
        State::Stopped => (5, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_the_guest_says_is_html() {
        let program = Program {
            words: "</script><b>&".to_owned(),
            pid: 7,
        };
        let page = write(&History::default(), &program);
        assert!(!page.contains("<b>"), "{page}");
        assert!(!page.contains("/*DATA*/"), "{page}");
    }

    #[test]
    fn the_page_asks_for_nothing_from_outside() {
        let page = write(&History::default(), &Program::default());
        for word in ["http:", "https:", "src=", "<link", "@import", "url("] {
            assert!(!page.contains(word), "{word}");
        }
    }

    #[test]
    fn equal_words_have_one_number() {
        let mut words = Words::default();
        let numbers = ["a", "b", "a"].map(|word| words.number(word));
        assert_eq!((numbers, words.all), ([0, 1, 0], vec!["a", "b"]));
    }
}
