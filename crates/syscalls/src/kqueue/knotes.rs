//! The knotes of one kqueue, and the order in which they are reported.
//!
//! Pure bookkeeping: what an event *is* comes from a [`Filter`]; descriptors, time and sleeping are
//! elsewhere. So a naive model can be run against it (the tests below).
//!
//! | a knote is | true of it |
//! |---|---|
//! | idle | its filter said no when last asked |
//! | active | its filter said yes; queued, unless disabled |
//! | queued | it has a place; asked again when its turn comes, unless it is one-shot |
//! | disabled | not reported; activity is remembered |
//!
//! # Invariants
//! 1. A knote has at most one place, and `queue` holds exactly the places that knotes have.
//! 2. Places are handed out in rising order and never again, so a place is also a point in time.
//! 3. A queued knote is active.
//!
//! Sources: `kern_event.c: kqueue_register, kqueue_scan, knote_activate, knote_enqueue`; syscalls.md 5.5.

use lwp_abi::errno::Errno;
use lwp_abi::event::{EvFlags, Kevent100};
use std::collections::{BTreeMap, HashMap};

/// What names a knote within its kqueue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Key {
    /// The thing watched.
    pub(super) ident: u64,
    /// The filter's number.
    pub(super) filter: u32,
}

impl Key {
    /// The knote a record speaks of.
    pub(super) fn of(kev: &Kevent100) -> Self {
        Self {
            ident: kev.ident,
            filter: kev.filter,
        }
    }
}

/// What the filter may look at and change.
#[derive(Clone, Debug)]
pub(super) struct Knote {
    /// `kn_kevent`: what is reported. Flags are those of the registration.
    pub(super) kev: Kevent100,
    /// `kn_sfflags`: what the guest asked to watch for.
    pub(super) sfflags: u32,
    /// `kn_sdata`: the number the guest gave along.
    pub(super) sdata: i64,
}

impl Knote {
    /// A knote as first registered.
    pub(super) fn new(change: &Kevent100) -> Self {
        let kev = Kevent100 {
            fflags: 0,
            data: 0,
            ..*change
        };
        Self {
            kev,
            sfflags: change.fflags,
            sdata: change.data,
        }
    }

    /// Whether all of `flags` are among those of the registration.
    pub(super) fn has(&self, flags: EvFlags) -> bool {
        EvFlags::from_bits_retain(self.kev.flags).contains(flags)
    }

    /// Adds flags to those reported.
    pub(super) fn set(&mut self, flags: EvFlags) {
        self.kev.flags |= flags.bits();
    }

    /// Takes flags away from those reported.
    pub(super) fn unset(&mut self, flags: EvFlags) {
        self.kev.flags &= !flags.bits();
    }
}

/// What a filter's `f_touch` makes of a change to an existing knote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Touched {
    /// What was queued stays queued.
    Kept,
    /// The event is withdrawn.
    Withdrawn,
}

/// One filter at work on one knote. `C` is what it needs of the world.
pub(super) trait Filter<C: ?Sized> {
    /// `f_event`: whether there is something to report; fills in data and fflags.
    fn event(&mut self, kn: &mut Knote, cx: &C) -> bool;

    /// As [`Filter::event`], on news from the thing watched. What `hint` says is the filter's matter.
    fn activity(&mut self, kn: &mut Knote, _hint: u64, cx: &C) -> bool {
        self.event(kn, cx)
    }

    /// `f_touch` with `EVENT_REGISTER`: takes over a change to an existing knote.
    ///
    /// # Errors
    /// The filter's own. The knote then stays, changed or not.
    fn touch(&mut self, kn: &mut Knote, change: &Kevent100, _cx: &C) -> Result<Touched, Errno> {
        kn.sfflags = change.fflags;
        kn.sdata = change.data;
        Ok(Touched::Kept)
    }

    /// `f_touch` with `EVENT_PROCESS`: the record to report.
    fn report(&mut self, kn: &mut Knote) -> Kevent100 {
        kn.kev
    }
}

#[derive(Debug)]
struct Entry<F> {
    kn: Knote,
    filter: F,
    is_active: bool,
    is_disabled: bool,
    place: Option<u64>,
    /// The scan in whose course the filter last said yes.
    asked: u64,
}

/// What became of a change.
#[derive(Debug)]
#[must_use = "a deleted filter is to be detached with no lock held"]
pub(super) enum Changed<F> {
    /// The knote is up to date.
    Updated,
    /// The knote is gone; this was its filter.
    Deleted(F),
}

/// The knotes of one kqueue.
#[derive(Debug)]
pub(super) struct Knotes<F> {
    by_key: HashMap<Key, Entry<F>>,
    queue: BTreeMap<u64, Key>,
    next_place: u64,
    scans: u64,
}

impl<F> Default for Knotes<F> {
    fn default() -> Self {
        Self {
            by_key: HashMap::new(),
            queue: BTreeMap::new(),
            next_place: 0,
            scans: 0,
        }
    }
}

impl<F> Knotes<F> {
    /// How many knotes are queued (`kq_count`): disabled ones included until their turn comes.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether there is a knote of that name.
    pub(super) fn contains(&self, key: Key) -> bool {
        self.by_key.contains_key(&key)
    }

    /// The filter of a knote.
    pub(super) fn filter(&self, key: Key) -> Option<&F> {
        self.by_key.get(&key).map(|entry| &entry.filter)
    }

    /// Takes a knote out, wherever it is.
    pub(super) fn remove(&mut self, key: Key) -> Option<F> {
        let entry = self.by_key.remove(&key)?;
        if let Some(place) = entry.place {
            self.queue.remove(&place);
        }
        Some(entry.filter)
    }

    /// Adds a knote under a name that has none, and asks its filter at once.
    pub(super) fn insert<C: ?Sized>(&mut self, kn: Knote, filter: F, change: &Kevent100, cx: &C)
    where
        F: Filter<C>,
    {
        let key = Key::of(&kn.kev);
        let entry = Entry {
            kn,
            filter,
            is_active: false,
            is_disabled: false,
            place: None,
            asked: 0,
        };
        self.by_key.insert(key, entry);
        self.activity(key, None, cx);
        self.enable_or_disable(key, change);
    }

    /// Applies a change to an existing knote: deletes it, or updates it and asks its filter again.
    ///
    /// Flags of the registration stay, and a disabled knote stays disabled unless `EV_ENABLE` is given.
    ///
    /// # Errors
    /// ENOENT: no such knote. The filter's own.
    pub(super) fn change<C: ?Sized>(
        &mut self,
        change: &Kevent100,
        cx: &C,
    ) -> Result<Changed<F>, Errno>
    where
        F: Filter<C>,
    {
        let key = Key::of(change);
        let entry = self.by_key.get_mut(&key).ok_or(Errno::ENOENT)?;
        if EvFlags::from_bits_retain(change.flags).contains(EvFlags::DELETE) {
            return self.remove(key).map(Changed::Deleted).ok_or(Errno::ENOENT);
        }
        entry.kn.kev.udata = change.udata;
        entry.kn.kev.ext = change.ext;
        let touched = entry.filter.touch(&mut entry.kn, change, cx);
        if touched != Ok(Touched::Kept) {
            entry.is_active = false;
            if let Some(place) = entry.place.take() {
                self.queue.remove(&place);
            }
        }
        touched?;
        self.activity(key, None, cx);
        self.enable_or_disable(key, change);
        Ok(Changed::Updated)
    }

    fn enable_or_disable(&mut self, key: Key, change: &Kevent100) {
        let flags = EvFlags::from_bits_retain(change.flags);
        let Some(entry) = self.by_key.get_mut(&key) else {
            return;
        };
        if flags.contains(EvFlags::DISABLE) {
            entry.is_disabled = true;
        }
        if flags.contains(EvFlags::ENABLE) {
            entry.is_disabled = false;
            self.enqueue(key);
        }
    }

    /// `KNOTE`: asks the filter, with a hint if it is news, and queues the knote if it says yes. Returns
    /// what it said.
    pub(super) fn activity<C: ?Sized>(&mut self, key: Key, hint: Option<u64>, cx: &C) -> bool
    where
        F: Filter<C>,
    {
        let Some(entry) = self.by_key.get_mut(&key) else {
            return false;
        };
        let fires = match hint {
            Some(hint) => entry.filter.activity(&mut entry.kn, hint, cx),
            None => entry.filter.event(&mut entry.kn, cx),
        };
        if fires {
            entry.is_active = true;
            if !entry.is_disabled {
                self.enqueue(key);
            }
        }
        fires
    }

    /// Queues a knote that is active and has no place.
    fn enqueue(&mut self, key: Key) {
        let place = self.next_place;
        match self.by_key.get_mut(&key) {
            Some(entry) if entry.is_active && entry.place.is_none() => {
                entry.place = Some(place);
                self.queue.insert(place, key);
                self.next_place += 1;
            }
            _ => {}
        }
    }

    /// Asks the filters of `news`, with the hints, and reports queued knotes with a place before `end`, or
    /// all, until `out` has `room` records. Filters of one-shot knotes, which go with their report, are
    /// added to `gone`. Returns the end.
    ///
    /// All this is one moment: a filter that has just said yes is not asked again.
    pub(super) fn scan<C: ?Sized>(
        &mut self,
        news: &[(Key, u64)],
        end: Option<u64>,
        room: usize,
        cx: &C,
        out: &mut Vec<Kevent100>,
        gone: &mut Vec<F>,
    ) -> u64
    where
        F: Filter<C>,
    {
        self.scans += 1;
        let scan = self.scans;
        for &(key, hint) in news {
            if self.activity(key, Some(hint), cx)
                && let Some(entry) = self.by_key.get_mut(&key)
            {
                entry.asked = scan;
            }
        }
        let end = end.unwrap_or(self.next_place);
        while out.len() < room {
            let Some((&place, &key)) = self.queue.first_key_value() else {
                break;
            };
            if place >= end {
                break;
            }
            self.queue.remove(&place);
            let entry = self
                .by_key
                .get_mut(&key)
                .expect("a place belongs to a knote");
            entry.place = None;
            if let Some(record) = entry.deliver(scan, cx) {
                out.push(record);
            }
            if entry.kn.has(EvFlags::ONESHOT) && !entry.is_disabled {
                gone.extend(self.remove(key));
            } else if !entry.is_disabled {
                self.enqueue(key);
            }
        }
        end
    }
}

impl<F> Entry<F> {
    /// The record of a knote whose turn it is; leaves it active if it is to be queued again.
    fn deliver<C: ?Sized>(&mut self, scan: u64, cx: &C) -> Option<Kevent100>
    where
        F: Filter<C>,
    {
        if self.is_disabled {
            return None;
        }
        let is_oneshot = self.kn.has(EvFlags::ONESHOT);
        let is_asked = is_oneshot || self.asked == scan;
        if !is_asked && !self.filter.event(&mut self.kn, cx) {
            self.is_active = false;
            return None;
        }
        let record = self.filter.report(&mut self.kn);
        if is_oneshot {
            return Some(record);
        }
        if self.kn.has(EvFlags::CLEAR) {
            self.kn.kev.data = 0;
            self.kn.kev.fflags = 0;
            self.is_active = false;
        } else if self.kn.has(EvFlags::DISPATCH) {
            self.is_disabled = true;
            self.is_active = false;
        }
        Some(record)
    }
}

#[cfg(test)]
#[path = "knotes_tests.rs"]
mod tests;
