//! Callouts: things to do when a time has come.
//!
//! A hashed, hierarchical wheel, so that to arm and to cancel costs the same however many there are: most
//! timed parks never expire. Responsible for order and cancelling; not for noticing that time has passed: an
//! idle vcpu waits in the poller until the first deadline, a busy one asks the machine for a tick (`sched`).
//!
//! # The wheel
//! Time is cut into slots of 2^[`SLOT_SHIFT`] ns. Level 0 has the 64 slots that share all but the last six bits of
//! their number with the slot where the wheel stands (`now`), level 1 what differs in the six bits before, each
//! of its places being 64 slots wide, and so on. So whatever is on a level comes before whatever is on the next,
//! and no place is ever behind the wheel. When the wheel comes to a place of a higher level, what is there is put
//! on lower ones; what comes to `now` itself goes into a small ordered map, for deadlines are exact.
//!
//! # Invariants
//! 1. `next` is no later than the earliest deadline, and [`NEVER`] only if there is none, whenever the lock is
//!    free. It is the deadline itself unless that is far off and in a crowd ([`FEW`]).
//! 2. A callout runs at most once, with no lock held, never before its deadline.
//! 3. After [`Callouts::take_due`] has found nothing, `next` is later than the time it was given.
//!
//! Sources: callout(9), `kern_timeout.c`. Exact instead of ticks: design, settled details.

use crate::kernel::Kernel;
use crate::lwp::Lwp;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, Rank};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The deadline that never comes, in nanoseconds.
const NEVER: u64 = u64::MAX;
/// A slot is 65 µs wide.
const SLOT_SHIFT: u32 = 16;
/// Places on a level: one word of bits.
const PLACES: usize = 64;
const PLACE_BITS: u32 = 6;
/// Enough for every slot that 64 bits of nanoseconds have.
const LEVELS: usize = 8;
/// Of so many in one place the earliest is looked for; of more, the beginning of their place will do.
const FEW: usize = 16;
/// No entry.
const NIL: u32 = u32::MAX;

/// Something to do later.
pub type Action = Box<dyn FnOnce(&Arc<Kernel>) + Send>;

/// What to do.
pub enum Call {
    /// End sleep number `1` of the LWP by timing out.
    Timeout(Arc<Lwp>, u64),
    /// Run this, with no lock held.
    Run(Action),
}

/// Names a scheduled callout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalloutId {
    seq: u64,
    index: u32,
}

/// All callouts of one kernel.
pub struct Callouts {
    next: AtomicU64,
    wheel: Mutex<Wheel>,
}

/// Where an entry is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// In `Wheel::near`.
    Near,
    /// In the list of a place.
    Place { level: u8, place: u8 },
}

/// A callout, or a free entry.
struct Entry {
    /// Deadline in nanoseconds.
    due: u64,
    /// Unique: an old name of this entry does not fit. Among equal deadlines the order.
    seq: u64,
    /// `None` in a free entry.
    call: Option<Call>,
    at: At,
    /// Neighbours in the place's list; of a free entry `after` is the next free one.
    before: u32,
    after: u32,
}

/// The places of one level.
#[derive(Clone, Copy)]
struct Level {
    /// One bit per place that has entries.
    taken: u64,
    first: [u32; PLACES],
}

struct Wheel {
    /// The slot where the wheel stands; nothing on it is earlier.
    now: u64,
    levels: [Level; LEVELS],
    /// What is due in slot `now` or before, by deadline and number.
    near: BTreeMap<(u64, u64), u32>,
    entries: Vec<Entry>,
    /// The first free entry.
    free: u32,
    len: usize,
    seq: u64,
}

impl Callouts {
    pub(crate) fn new() -> Self {
        Self {
            next: AtomicU64::new(NEVER),
            wheel: Mutex::new(Rank::Callout, Wheel::new()),
        }
    }

    /// Schedules `call` for `at`.
    pub fn schedule(&self, at: Duration, call: Call) -> CalloutId {
        let due = nanos(at);
        let mut wheel = self.wheel.lock();
        let id = wheel.insert(due, call);
        if due < self.next.load(Ordering::Relaxed) {
            self.next.store(due, Ordering::SeqCst);
        }
        id
    }

    /// Cancels; `false` if it has run, or is about to.
    pub fn cancel(&self, id: CalloutId) -> bool {
        let mut wheel = self.wheel.lock();
        let Some(due) = wheel.remove(id) else {
            return false;
        };
        if wheel.len == 0 || due <= self.next.load(Ordering::Relaxed) {
            self.next.store(wheel.next(), Ordering::SeqCst);
        }
        true
    }

    /// The earliest deadline, or a time before it when it will be known better.
    pub fn next(&self) -> Option<Duration> {
        match self.next.load(Ordering::SeqCst) {
            NEVER => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// How many are scheduled.
    pub(crate) fn len(&self) -> usize {
        self.wheel.lock().len
    }

    /// Takes out the first callout that is due at `now`.
    pub(crate) fn take_due(&self, now: Duration) -> Option<Call> {
        if self.next()? > now {
            return None;
        }
        let mut wheel = self.wheel.lock();
        let call = wheel.take_due(nanos(now));
        self.next.store(wheel.next(), Ordering::SeqCst);
        call
    }

    /// Forgets everything: for a fork child. Nothing is dropped, see `Lids::clear`.
    pub(crate) fn clear(&self) {
        let mut wheel = self.wheel.lock();
        core::mem::forget(core::mem::replace(&mut *wheel, Wheel::new()));
        self.next.store(NEVER, Ordering::SeqCst);
    }
}

impl Wheel {
    fn new() -> Self {
        let level = Level {
            taken: 0,
            first: [NIL; PLACES],
        };
        Self {
            now: 0,
            levels: [level; LEVELS],
            near: BTreeMap::new(),
            entries: Vec::new(),
            free: NIL,
            len: 0,
            seq: 0,
        }
    }

    fn entry(&mut self, index: u32) -> &mut Entry {
        &mut self.entries[index as usize]
    }

    fn insert(&mut self, due: u64, call: Call) -> CalloutId {
        self.seq += 1;
        let seq = self.seq;
        let entry = Entry {
            due,
            seq,
            call: Some(call),
            at: At::Near,
            before: NIL,
            after: NIL,
        };
        let index = self.free;
        let index = if index == NIL {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).expect("every callout takes 56 bytes of memory")
        } else {
            self.free = self.entry(index).after;
            *self.entry(index) = entry;
            index
        };
        self.len += 1;
        self.put(index);
        CalloutId { seq, index }
    }

    /// Takes an entry out, and returns its deadline; `None` if `id` is no longer its name.
    fn remove(&mut self, id: CalloutId) -> Option<u64> {
        let entry = self.entries.get(id.index as usize)?;
        if entry.seq != id.seq || entry.call.is_none() {
            return None;
        }
        let due = entry.due;
        match entry.at {
            At::Near => {
                self.near.remove(&(due, id.seq));
            }
            At::Place { level, place } => self.unlink(id.index, level, place),
        }
        self.release(id.index);
        Some(due)
    }

    /// Frees an entry that is nowhere any more.
    fn release(&mut self, index: u32) -> Option<Call> {
        let free = core::mem::replace(&mut self.free, index);
        self.len -= 1;
        let entry = self.entry(index);
        entry.after = free;
        entry.call.take()
    }

    /// Puts an entry where its deadline belongs, seen from `now`.
    fn put(&mut self, index: u32) {
        let now = self.now;
        let entry = self.entry(index);
        let slot = entry.due >> SLOT_SHIFT;
        if slot <= now {
            entry.at = At::Near;
            let key = (entry.due, entry.seq);
            self.near.insert(key, index);
            return;
        }
        // The highest bit in which the two differ decides.
        let level = (slot ^ now).ilog2() / PLACE_BITS;
        let place = (slot >> (level * PLACE_BITS)) % PLACES as u64;
        let [level, place] = [u64::from(level), place].map(|small| small.to_le_bytes()[0]);
        entry.at = At::Place { level, place };
        let head = &mut self.levels[usize::from(level)];
        head.taken |= 1 << place;
        let after = core::mem::replace(&mut head.first[usize::from(place)], index);
        let entry = self.entry(index);
        (entry.before, entry.after) = (NIL, after);
        if after != NIL {
            self.entry(after).before = index;
        }
    }

    fn unlink(&mut self, index: u32, level: u8, place: u8) {
        let &mut Entry { before, after, .. } = self.entry(index);
        if after != NIL {
            self.entry(after).before = before;
        }
        if before != NIL {
            self.entry(before).after = after;
            return;
        }
        let head = &mut self.levels[usize::from(level)];
        head.first[usize::from(place)] = after;
        if after == NIL {
            head.taken &= !(1 << place);
        }
    }

    /// The first place that has entries: its level, its number, and the first slot of it.
    fn first_place(&self) -> Option<(usize, usize, u64)> {
        let level = self.levels.iter().position(|level| level.taken != 0)?;
        let place = self.levels[level].taken.trailing_zeros();
        let shift = PLACE_BITS * u32::try_from(level).ok()?;
        // Of `now` what is above this level.
        let above = self.now.checked_shr(shift + PLACE_BITS).unwrap_or(0);
        let slot = (above << PLACE_BITS | u64::from(place)) << shift;
        Some((level, place as usize, slot))
    }

    /// See [`Callouts`], invariant 1.
    fn next(&self) -> u64 {
        if let Some(&(due, _)) = self.near.keys().next() {
            return due;
        }
        let Some((level, place, slot)) = self.first_place() else {
            return NEVER;
        };
        let mut earliest = NEVER;
        let mut index = self.levels[level].first[place];
        for _ in 0..FEW {
            let entry = &self.entries[index as usize];
            earliest = earliest.min(entry.due);
            index = entry.after;
            if index == NIL {
                return earliest;
            }
        }
        slot << SLOT_SHIFT
    }

    fn take_due(&mut self, now: u64) -> Option<Call> {
        loop {
            if let Some(first) = self.near.first_entry() {
                if first.key().0 > now {
                    return None;
                }
                let index = first.remove();
                return self.release(index);
            }
            let (level, place, slot) = self.first_place()?;
            if slot > now >> SLOT_SHIFT {
                return None;
            }
            self.now = slot;
            let head = &mut self.levels[level];
            head.taken &= !(1 << place);
            let mut index = core::mem::replace(&mut head.first[place], NIL);
            while index != NIL {
                let after = self.entry(index).after;
                self.put(index);
                index = after;
            }
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos())
        .unwrap_or(NEVER - 1)
        .min(NEVER - 1)
}

impl core::fmt::Debug for Callouts {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Callouts")
            .field("next", &self.next())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::Joinable;
    use lwp_abi::lwp::LwpId;
    use lwp_abi::signal::SigSet;
    use proptest::prelude::*;

    fn nothing() -> Call {
        Call::Run(Box::new(|_| {}))
    }

    #[test]
    fn callouts_come_due_in_order_and_never_early() {
        let callouts = Callouts::new();
        let late = callouts.schedule(Duration::from_secs(2), nothing());
        callouts.schedule(Duration::from_secs(1), nothing());
        assert_eq!(callouts.next(), Some(Duration::from_secs(1)));
        assert!(callouts.take_due(Duration::from_millis(999)).is_none());
        assert!(callouts.take_due(Duration::from_secs(1)).is_some());
        assert_eq!(callouts.next(), Some(Duration::from_secs(2)));
        assert!(callouts.cancel(late));
        assert!(!callouts.cancel(late));
        assert_eq!(callouts.next(), None);
    }

    #[test]
    fn an_old_name_does_not_cancel_the_entrys_next_user() {
        let callouts = Callouts::new();
        let first = callouts.schedule(Duration::from_secs(1), nothing());
        assert!(callouts.cancel(first));
        let second = callouts.schedule(Duration::from_secs(1), nothing());
        assert_eq!(first.index, second.index);
        assert!(!callouts.cancel(first));
        assert!(callouts.cancel(second));
    }

    /// One step of a program for [`the_wheel_does_what_a_list_does`].
    #[derive(Clone, Debug)]
    enum Step {
        /// Schedule so many nanoseconds from now.
        Schedule(u64),
        /// Cancel one of those ever scheduled.
        Cancel(usize),
        /// Let so much time pass, and take out what is due.
        Pass(u64),
        /// Let time pass until `next`, and take out what is due.
        PassToNext,
    }

    fn step() -> impl Strategy<Value = Step> {
        // Spans of every magnitude, and many that are equal.
        let span =
            || (0..64u32, 0..4u64).prop_map(|(bits, more)| (1u64 << bits).saturating_add(more));
        prop_oneof![
            4 => span().prop_map(Step::Schedule),
            2 => (0..64usize).prop_map(Step::Cancel),
            1 => (0..40u32, 0..1000u64).prop_map(|(bits, more)| Step::Pass((1 << bits) + more)),
            1 => Just(Step::PassToNext),
        ]
    }

    proptest! {
        #[test]
        fn the_wheel_does_what_a_list_does(steps in prop::collection::vec(step(), 1..200)) {
            let callouts = Callouts::new();
            let (mut now, mut ids, mut model) = (1u64 << 40, Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Schedule(after) => {
                        let due = now.saturating_add(after).min(NEVER - 1);
                        let number = ids.len() as u64;
                        let call = Call::Timeout(Arc::new(Lwp::new(LwpId::new(1), 0, SigSet::EMPTY, Joinable::Yes)), number);
                        ids.push(callouts.schedule(Duration::from_nanos(due), call));
                        model.push((due, number));
                    }
                    Step::Cancel(which) if !ids.is_empty() => {
                        let which = which % ids.len();
                        let found = model.iter().position(|&(_, number)| number == which as u64);
                        prop_assert_eq!(callouts.cancel(ids[which]), found.is_some());
                        found.map(|at| model.remove(at));
                    }
                    Step::Cancel(_) => {}
                    Step::Pass(_) | Step::PassToNext => {
                        now = match step {
                            Step::Pass(span) => now.saturating_add(span).min(NEVER - 1),
                            _ => callouts.next().map_or(now, |next| nanos(next).max(now)),
                        };
                        let mut expected: Vec<_> = model.iter().copied().filter(|&(due, _)| due <= now).collect();
                        expected.sort_unstable();
                        model.retain(|&(due, _)| due > now);
                        let mut taken = Vec::new();
                        while let Some(Call::Timeout(_, number)) = callouts.take_due(Duration::from_nanos(now)) {
                            taken.push(number);
                        }
                        let expected: Vec<_> = expected.into_iter().map(|(_, number)| number).collect();
                        prop_assert_eq!(taken, expected);
                        prop_assert!(callouts.next().is_none_or(|next| nanos(next) > now));
                    }
                }
                let earliest = model.iter().map(|&(due, _)| due).min();
                let next = callouts.next().map(nanos);
                prop_assert_eq!(next.is_some(), earliest.is_some());
                prop_assert!(next <= earliest);
                if model.len() <= FEW {
                    prop_assert_eq!(next, earliest);
                }
                prop_assert_eq!(callouts.len(), model.len());
            }
        }
    }
}
