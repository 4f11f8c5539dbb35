//! Free room, found by size.
//!
//! Best fit, at its top. NetBSD's first fit from the top needs a tree that knows the
//! largest gap below each node; two ordered sets answer as fast (a process with 30,000 stacks maps in
//! microseconds), and no program can rely on which free place it gets.
//!
//! # Invariants
//! 1. `by_start` and `by_len` hold the same gaps; they do not touch each other.

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};

/// The free parts of a window.
#[derive(Debug)]
pub(super) struct Gaps {
    window: Range<u64>,
    /// End by start.
    by_start: BTreeMap<u64, u64>,
    /// Length and start.
    by_len: BTreeSet<(u64, u64)>,
}

impl Gaps {
    /// All of `window` is free.
    pub(super) fn new(window: Range<u64>) -> Self {
        let mut gaps = Self {
            window: window.clone(),
            by_start: BTreeMap::new(),
            by_len: BTreeSet::new(),
        };
        gaps.add(window);
        gaps
    }

    /// A free place for `len` bytes at a multiple of `align`; it stays free until it is taken.
    pub(super) fn find(&self, len: u64, align: u64) -> Option<Range<u64>> {
        let mut fitting = self.by_len.range((len, 0)..);
        fitting.find_map(|&(size, start)| top_of(&(start..start + size), len, align))
    }

    /// `at` is no longer free.
    pub(super) fn take(&mut self, at: &Range<u64>) {
        for gap in self.touching(at) {
            if gap.start < at.end && at.start < gap.end {
                self.remove(&gap);
                self.add(gap.start..at.start.min(gap.end));
                self.add(at.end.max(gap.start)..gap.end);
            }
        }
    }

    /// `at` is free again.
    pub(super) fn give(&mut self, at: &Range<u64>) {
        let mut free = at.start.max(self.window.start)..at.end.min(self.window.end);
        if free.is_empty() {
            return;
        }
        for gap in self.touching(&free) {
            self.remove(&gap);
            free = free.start.min(gap.start)..free.end.max(gap.end);
        }
        self.add(free);
    }

    /// The gaps that overlap or touch `at`.
    fn touching(&self, at: &Range<u64>) -> Vec<Range<u64>> {
        let below = self.by_start.range(..at.start).next_back();
        let inside = self.by_start.range(at.start..=at.end);
        below
            .into_iter()
            .chain(inside)
            .map(|(&start, &end)| start..end)
            .filter(|gap| gap.end >= at.start)
            .collect()
    }

    fn add(&mut self, gap: Range<u64>) {
        if !gap.is_empty() {
            self.by_start.insert(gap.start, gap.end);
            self.by_len.insert((gap.end - gap.start, gap.start));
        }
    }

    fn remove(&mut self, gap: &Range<u64>) {
        self.by_start.remove(&gap.start);
        self.by_len.remove(&(gap.end - gap.start, gap.start));
    }

    /// The gaps, for tests.
    #[cfg(test)]
    pub(super) fn ranges(&self) -> Vec<Range<u64>> {
        assert_eq!(self.by_start.len(), self.by_len.len(), "invariant 1");
        self.by_start
            .iter()
            .map(|(&start, &end)| start..end)
            .collect()
    }
}

/// The highest place in `gap` for `len` bytes at a multiple of `align`, a power of two.
pub(super) fn top_of(gap: &Range<u64>, len: u64, align: u64) -> Option<Range<u64>> {
    let start = gap.end.checked_sub(len)? & !(align - 1);
    (start >= gap.start).then(|| start..start + len)
}
