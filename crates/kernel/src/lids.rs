//! LWP ids: handing them out and finding an LWP by its id.
//!
//! The first LWP of a process has the pid as its id. The others have ids in `LID_MIN..LID_END`: a slot
//! of the table plus a generation that grows each time the slot is used again, so that an id stays
//! unused for at least 2^16 creations after it is freed (`REUSE_GAP` slots wait in the queue of free
//! ones, and each has [`GENERATIONS`] ids).
//!
//! Responsible for ids only; a found LWP may be a zombie. Looking up takes one slot's lock, no
//! process lock, because `_lwp_unpark` takes none in NetBSD.
//!
//! Differs from NetBSD: there the ids share one table with pids and count from where pids are.
//! Here they lie above every Linux pid (design: settled details), which keeps `kill(lid)` ESRCH.
//!
//! Sources: lwp.md 1.6; `kern_proc.c: proc_alloc_lwpid, proc_find_lwp_unlocked`.

use crate::lwp::Lwp;
use crate::sync::atomic::{AtomicI32, Ordering};
use crate::sync::{Mutex, Rank, SpinMutex};
use lwp_abi::lwp::LwpId;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

const SLOT_BITS: u32 = 22;
const SLOTS: usize = 1 << SLOT_BITS;
const LEAF_BITS: u32 = 10;
const LEAF: usize = 1 << LEAF_BITS;
/// First id that is not a pid. A multiple of the number of slots.
const LID_MIN: i32 = 1 << 23;
/// Ids end here: they are or-ed into CPU-time clock ids.
const LID_END: i32 = 1 << 29;
/// Ids per slot before they repeat.
const GENERATIONS: i32 = (LID_END - LID_MIN) >> SLOT_BITS;
/// Free slots that wait before one is used again: with [`GENERATIONS`] that is more than 2^16 ids.
const REUSE_GAP: usize = 1024;

type Slot = SpinMutex<Option<Arc<Lwp>>>;

/// The table of one process.
pub struct Lids {
    /// Id of the LWP that carries the pid, or 0.
    main_lid: AtomicI32,
    main: Slot,
    leaves: Box<[OnceLock<Box<[Slot]>>]>,
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    /// Slots freed, oldest first, each with the generation its next user gets.
    queue: VecDeque<(u32, i32)>,
    /// Slots from here on were never used.
    unused: usize,
}

impl Lids {
    /// An empty table.
    pub fn new() -> Self {
        Self {
            main_lid: AtomicI32::new(0),
            main: SpinMutex::new(Rank::Lids, None),
            leaves: (0..SLOTS >> LEAF_BITS).map(|_| OnceLock::new()).collect(),
            free: Mutex::new(Rank::Lids, Free::default()),
        }
    }

    /// A new id, or `None` when 4,194,304 are in use.
    pub fn alloc(&self) -> Option<LwpId> {
        let mut free = self.free.lock();
        let recycled = if free.queue.len() > REUSE_GAP || free.unused == SLOTS {
            free.queue.pop_front()
        } else {
            None
        };
        let (slot, generation) = match recycled {
            Some(pair) => pair,
            None if free.unused < SLOTS => {
                free.unused += 1;
                (u32::try_from(free.unused - 1).ok()?, 0)
            }
            None => return None,
        };
        let slot = i32::try_from(slot).ok()?;
        Some(LwpId::new(LID_MIN + (generation << SLOT_BITS) + slot))
    }

    /// Keeps an id that an LWP has brought along through exec from being handed out. Nothing was handed out
    /// yet; the pid needs no keeping.
    pub(crate) fn keep(&self, lid: LwpId) {
        let Some(slot) = slot_index(lid.raw()) else {
            return;
        };
        let mut free = self.free.lock();
        free.queue = (0..).map(|slot| (slot, 0)).take(slot).collect();
        free.unused = slot + 1;
    }

    /// Claims the pid as an LWP id, if no LWP has it.
    pub fn claim_main(&self, pid: i32) -> bool {
        self.main_lid
            .compare_exchange(0, pid, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Makes `lwp` findable under its id.
    pub fn insert(&self, lwp: &Arc<Lwp>, pid: i32) {
        if lwp.lid().raw() == pid {
            *self.main.lock() = Some(Arc::clone(lwp));
            self.main_lid.store(pid, Ordering::Release);
        } else if let Some(slot) = self.slot_or_new(lwp.lid().raw()) {
            *slot.lock() = Some(Arc::clone(lwp));
        }
    }

    /// Takes an id out of the table and frees it.
    pub fn remove(&self, lid: LwpId) {
        let raw = lid.raw();
        if raw == self.main_lid.load(Ordering::Acquire) {
            self.main_lid.store(0, Ordering::Release);
            *self.main.lock() = None;
            return;
        }
        if let Some(slot) = self.slot(raw) {
            *slot.lock() = None;
        }
        self.free(raw);
    }

    /// Gives back an id that was never inserted, or has been taken out.
    fn free(&self, raw: i32) {
        if !(LID_MIN..LID_END).contains(&raw) {
            return;
        }
        let offset = raw - LID_MIN;
        let generation = ((offset >> SLOT_BITS) + 1) % GENERATIONS;
        let slot = offset.unsigned_abs() & ((1 << SLOT_BITS) - 1);
        self.free.lock().queue.push_back((slot, generation));
    }

    /// The LWP called `raw`, zombies included.
    pub fn find(&self, raw: i32) -> Option<Arc<Lwp>> {
        self.with(raw, Arc::clone)
    }

    /// What `look` makes of the LWP called `raw`, zombies included. The slot is locked meanwhile: no
    /// reference is counted, and the LWP stays.
    pub(crate) fn with<R>(&self, raw: i32, look: impl FnOnce(&Arc<Lwp>) -> R) -> Option<R> {
        let slot = if raw == self.main_lid.load(Ordering::Acquire) && raw > 0 {
            &self.main
        } else {
            self.slot(raw)?
        };
        let slot = slot.lock();
        let lwp = slot.as_ref().filter(|lwp| lwp.lid().raw() == raw)?;
        Some(look(lwp))
    }

    /// Forgets every LWP without freeing ids: for a fork child.
    pub fn clear(&self) {
        self.main_lid.store(0, Ordering::Release);
        *self.main.lock() = None;
        for leaf in self.leaves.iter().filter_map(OnceLock::get) {
            for slot in leaf {
                // Leaked on purpose: the futures belong to vcpus that do not exist here.
                core::mem::forget(slot.lock().take());
            }
        }
        *self.free.lock() = Free::default();
    }

    fn slot(&self, raw: i32) -> Option<&Slot> {
        let index = slot_index(raw)?;
        self.leaves[index >> LEAF_BITS]
            .get()
            .map(|leaf| &leaf[index & (LEAF - 1)])
    }

    fn slot_or_new(&self, raw: i32) -> Option<&Slot> {
        let index = slot_index(raw)?;
        let leaf = self.leaves[index >> LEAF_BITS].get_or_init(|| {
            (0..LEAF)
                .map(|_| SpinMutex::new(Rank::Lids, None))
                .collect()
        });
        Some(&leaf[index & (LEAF - 1)])
    }
}

impl Default for Lids {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Lids {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Lids")
            .field("main_lid", &self.main_lid)
            .finish_non_exhaustive()
    }
}

fn slot_index(raw: i32) -> Option<usize> {
    if !(LID_MIN..LID_END).contains(&raw) {
        return None;
    }
    usize::try_from((raw - LID_MIN) & ((1 << SLOT_BITS) - 1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::Joinable;
    use lwp_abi::signal::SigSet;
    use std::collections::HashMap;

    fn lwp(lid: LwpId) -> Arc<Lwp> {
        Arc::new(Lwp::new(lid, 0, SigSet::EMPTY, Joinable::Yes))
    }

    #[test]
    fn an_id_is_not_handed_out_again_within_the_last_65536() {
        let lids = Lids::new();
        let mut last_use = HashMap::new();
        for n in 0..300_000u32 {
            let lid = lids.alloc().expect("ids are left");
            assert!((LID_MIN..LID_END).contains(&lid.raw()), "{lid:?}");
            if let Some(before) = last_use.insert(lid.raw(), n) {
                assert!(
                    n - before > 1 << 16,
                    "{lid:?} came back after {}",
                    n - before
                );
            }
            lids.insert(&lwp(lid), 1);
            lids.remove(lid);
        }
    }

    #[test]
    fn there_are_as_many_ids_as_slots_and_a_freed_one_can_be_had_again() {
        let lids = Lids::new();
        let first = lids.alloc().expect("ids are left");
        for _ in 1..SLOTS {
            assert!(lids.alloc().is_some());
        }
        assert_eq!(lids.alloc(), None);
        lids.insert(&lwp(first), 1);
        lids.remove(first);
        let again = lids.alloc().expect("one is free");
        assert_ne!(again, first);
        assert_eq!(slot_index(again.raw()), slot_index(first.raw()));
        assert_eq!(lids.alloc(), None);
    }

    #[test]
    fn a_stale_id_does_not_find_the_slots_next_user() {
        let lids = Lids::new();
        let first = lids.alloc().expect("ids are left");
        lids.insert(&lwp(first), 1);
        lids.remove(first);
        for _ in 0..=REUSE_GAP {
            let lid = lids.alloc().expect("ids are left");
            lids.insert(&lwp(lid), 1);
            lids.remove(lid);
        }
        assert!(lids.find(first.raw()).is_none());
    }

    #[test]
    fn nobody_is_called_zero_or_less() {
        let lids = Lids::new();
        for raw in [0, -1, i32::MIN, i32::MAX, LID_MIN, LID_END] {
            assert!(lids.find(raw).is_none());
        }
    }

    #[test]
    fn slots_are_used_in_order_and_one_waits_for_1024_others_before_its_next_generation() {
        let lids = Lids::new();
        let turn = || {
            let lid = lids.alloc().expect("ids are left");
            lids.insert(&lwp(lid), 1);
            lids.remove(lid);
            lid.raw()
        };
        for expected in (LID_MIN..).take(REUSE_GAP + 1) {
            assert_eq!(turn(), expected);
        }
        let generation = 1 << SLOT_BITS;
        for expected in (LID_MIN + generation..).take(REUSE_GAP) {
            assert_eq!(turn(), expected);
        }
    }

    #[test]
    fn an_id_brought_along_through_exec_is_nobody_elses() {
        let lids = Lids::new();
        let brought = LwpId::new(LID_MIN + (3 << SLOT_BITS) + 5);
        lids.keep(brought);
        let first = lwp(brought);
        lids.insert(&first, 1);
        for _ in 0..2 * REUSE_GAP {
            let lid = lids.alloc().expect("ids are left");
            assert!(lids.find(lid.raw()).is_none(), "{lid}");
            lids.insert(&lwp(lid), 1);
            let found = lids.find(brought.raw());
            assert!(found.is_some_and(|found| Arc::ptr_eq(&found, &first)));
        }
    }

    #[test]
    fn a_table_shows_who_has_the_pid() {
        let lids = Lids::new();
        assert!(lids.claim_main(77));
        assert!(format!("{lids:?}").contains("77"));
    }
}
