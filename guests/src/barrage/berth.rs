//! Where each LWP has its place: stack, alternate stack, and memory for arguments; and the arena,
//! memory that any call may do anything to.
//!
//! ```text
//! 0         STACK     stack
//! 0x40000   ALT       alternate stack
//! 0x80000   NOTES     one page: arguments that mean something, written before each call
//! 0x81000   SINK      two pages: what calls write to
//! 0x83000   CONST     one page, read only: zeros, a set of limits, names
//! 0x84000   GUARD     one page, inaccessible
//! ```
//! A kernel that writes too far from [`SINK`] meets a page where it may not.

use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use rt::Errno;
use rt::vm::{self, Area, PAGE, PROT_NONE, PROT_READ, PROT_RW};

/// LWPs that make calls for the whole of a run, at most.
pub(crate) const WORKERS: usize = 64;
/// LWPs that live for a few calls, at the same time.
pub(crate) const SHORT: usize = 64;
/// Places in all.
pub(crate) const BERTHS: usize = WORKERS + SHORT;

const ALT: u64 = 0x4_0000;
const NOTES: u64 = 0x8_0000;
const SINK: u64 = 0x8_1000;
const CONST: u64 = 0x8_3000;
const GUARD: u64 = 0x8_4000;
const SIZE: u64 = 0x8_5000;
/// Where in the page of constants the limits lie, and the names.
const LIMITS: u64 = 0x200;
const NAMES: u64 = 0x400;

/// What no program has mapped ends here (`vm.user_va0`).
pub(crate) const ROOM: u64 = 0x1_0000;
/// Bytes of the arena.
pub(crate) const ARENA_LEN: u64 = 256 * 4096;
/// The arena.
pub(crate) static ARENA: AtomicU64 = AtomicU64::new(0);
/// All places, one behind the other.
static BASE: AtomicU64 = AtomicU64::new(0);
/// Who is there: the LWP's id, 0 for nobody, [`CLAIMED`] for one about to be made.
pub(crate) static LIDS: [AtomicI32; BERTHS] = [const { AtomicI32::new(0) }; BERTHS];
/// An LWP is being made.
pub(crate) const CLAIMED: i32 = -1;

/// The names of files; all lie in the directory. The empty one and the long one are refused.
const FILES: &[&[u8]] = &[
    b"a",
    b"b",
    b"c",
    b"d",
    b"e",
    b"f",
    b"g",
    b"d/a",
    b"d/b",
    b"d/d",
    b"g/a",
    b".",
    b"",
    b"d/",
    b"a/",
    b"\xff\xfe",
    b"s0",
    b"s1",
    b"l",
];

/// Maps all places, and the arena.
///
/// # Errors
/// Those of mmap(2) and mprotect(2).
pub(crate) fn prepare() -> Result<(), Errno> {
    let all = vm::map(BERTHS * usize::try_from(SIZE).unwrap_or(0))?;
    BASE.store(all.base, Ordering::Relaxed);
    for slot in 0..BERTHS {
        let berth = Berth(slot);
        berth.write_constants();
        vm::mprotect(berth.base() + CONST, PAGE, PROT_READ)?;
        vm::mprotect(berth.base() + GUARD, PAGE, PROT_NONE)?;
    }
    // Between the places and the arena nothing is: what runs over one does not reach the other.
    let arena = vm::map(usize::try_from(ARENA_LEN).unwrap_or(0) + 64 * PAGE)?;
    vm::munmap(arena.base + ARENA_LEN, 64 * PAGE)?;
    ARENA.store(arena.base, Ordering::Relaxed);
    reset_arena()
}

/// Makes the arena what it was, whatever calls have done to it.
///
/// # Errors
/// Those of mmap(2).
pub(crate) fn reset_arena() -> Result<(), Errno> {
    let flags = vm::MAP_PRIVATE | vm::MAP_ANON | vm::MAP_FIXED;
    let len = usize::try_from(ARENA_LEN).unwrap_or(0);
    vm::mmap(ARENA.load(Ordering::Relaxed), len, PROT_RW, flags, -1, 0).map(drop)
}

unsafe extern "C" {
    /// The end of the program's data, by the linker.
    static _end: u8;
}

/// Where the break is at the start.
pub(crate) fn first_break() -> u64 {
    let end = (&raw const _end).addr() as u64;
    end.next_multiple_of(4096)
}

/// Whether `addr` is where a berth keeps its limits.
pub(crate) fn is_limits(addr: u64) -> bool {
    offset(addr) == Some(CONST + LIMITS)
}

/// Whether `addr` is where a berth keeps a context with no part that would be installed.
pub(crate) fn is_empty_context(addr: u64) -> bool {
    offset(addr) == Some(CONST)
}

fn offset(addr: u64) -> Option<u64> {
    let at = addr.checked_sub(BASE.load(Ordering::Relaxed))?;
    (at < SIZE * BERTHS as u64).then_some(at % SIZE)
}

/// One LWP's place.
#[derive(Clone, Copy)]
pub(crate) struct Berth(pub(crate) usize);

impl Berth {
    fn base(self) -> u64 {
        BASE.load(Ordering::Relaxed) + SIZE * self.0 as u64
    }

    /// The upper end of its stack.
    pub(crate) fn stack_top(self) -> u64 {
        self.base() + ALT
    }

    /// Its alternate stack.
    pub(crate) fn alt(self) -> Area {
        Area {
            base: self.base() + ALT,
            len: usize::try_from(NOTES - ALT).unwrap_or(0),
        }
    }

    /// Where arguments are written that mean something.
    pub(crate) fn notes(self) -> u64 {
        self.base() + NOTES
    }

    /// Where calls may write: two pages.
    pub(crate) fn sink(self) -> u64 {
        self.base() + SINK
    }

    /// A page that can only be read. It begins with zeros.
    pub(crate) fn constants(self) -> u64 {
        self.base() + CONST
    }

    /// A page that cannot be touched; what can be read ends before it.
    pub(crate) fn guard(self) -> u64 {
        self.base() + GUARD
    }

    /// Limits that limit nothing.
    pub(crate) fn limits(self) -> u64 {
        self.base() + CONST + LIMITS
    }

    /// One of the names.
    pub(crate) fn name(self, n: u64) -> u64 {
        self.base() + CONST + NAMES + 16 * (n % (FILES.len() as u64 + 1))
    }

    /// Writes a word of the notes.
    pub(crate) fn note(self, at: u64, word: u64) {
        debug_assert!(at < 4096 && at.is_multiple_of(8));
        // SAFETY: a word of the page of notes, which is mapped for the whole run and which no call
        // may unmap (`filter`); only the LWP of this berth writes it.
        unsafe { vm::pointer::<u64>(self.notes() + at).write_volatile(word) };
    }

    /// Copies bytes to the notes.
    pub(crate) fn note_bytes(self, at: u64, bytes: &[u8]) {
        for (i, byte) in bytes.iter().enumerate() {
            // SAFETY: as in `note`.
            unsafe { vm::pointer::<u8>(self.notes() + at + i as u64).write_volatile(*byte) };
        }
    }

    fn write_constants(self) {
        let unlimited = i64::MAX.cast_unsigned();
        for i in 0..2 {
            // SAFETY: in the page of constants, which is still writable and nobody else's.
            unsafe { vm::pointer::<u64>(self.limits() + 8 * i).write(unlimited) };
        }
        for (n, file) in (0..).zip(FILES) {
            for (i, byte) in (0..).zip(*file) {
                // SAFETY: as above; names are shorter than their 16 bytes.
                unsafe { vm::pointer::<u8>(self.name(n) + i).write(*byte) };
            }
        }
        // Behind the last: longer than a name may be, and it ends where the page does.
        for at in self.name(FILES.len() as u64)..self.guard() - 1 {
            // SAFETY: as above.
            unsafe { vm::pointer::<u8>(at).write(b'x') };
        }
    }

    /// Claims a place for a short life. Who was there before may have died unseen.
    pub(crate) fn claim(from: u64) -> Option<Self> {
        let first = usize::try_from(from).unwrap_or(0);
        (0..SHORT)
            .map(|i| WORKERS + (first + i) % SHORT)
            .take(8)
            .find(|&slot| {
                let lid = LIDS[slot].load(Ordering::Acquire);
                let is_free = lid == 0
                    || lid > 0
                        && rt::lwp::kill(rt::abi::lwp::LwpId::new(lid), 0) == Err(Errno::ESRCH);
                is_free
                    && LIDS[slot]
                        .compare_exchange(lid, CLAIMED, Ordering::AcqRel, Ordering::Relaxed)
                        .is_ok()
            })
            .map(Berth)
    }
}
