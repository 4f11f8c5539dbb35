//! Trampolines: the few bytes of code a patched system-call site jumps to.
//!
//! Responsible for where they lie, what is in them, and for telling the signal handler what an RIP
//! inside one means. Not for which sites have one (`patch`).
//!
//! One slot:
//! ```text
//! the moved instruction           5 or 7 bytes
//! what stands between             0 or 3 bytes (libc's `mov %rcx,%r10`)
//! lea  rcx, [rip + ...]           the address behind the syscall instruction, as that would leave it
//! jmp  *gs:[exit]                 into the exit stub
//! ```
//!
//! # Invariants
//! 1. A slot is written before its arena becomes executable, and never again: code may be running in
//!    it at any time.
//! 2. [`moved`] is called by signal handlers: it reads what [`open`] published, without locks.
//! 3. The guest's stack is not touched: it may be tiny, and has a red zone.
//!
//! # Locks
//! Arenas are opened and closed under `patch`'s lock only.

use crate::block::Block;
use crate::size;
use core::mem::offset_of;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use lwp_kernel::machine::{GUEST_BOUND, GUEST_START};
use std::sync::OnceLock;

/// Bytes of one slot.
const SLOT: u64 = 32;
const PAGE: u64 = 4096;
/// How far apart a site and its trampoline may be: the reach of `jmp rel32`, with room to spare.
const REACH: u64 = (1 << 31) - (1 << 20);
/// Executable mappings with sites in them; further ones go without patches.
const ARENAS: usize = 1024;

/// A system-call site that can be patched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    /// Where the instruction lies that is replaced by a jump.
    pub(crate) addr: u64,
    /// It, and what stands between it and the syscall instruction.
    pub(crate) code: Vec<u8>,
    /// Length of the instruction alone.
    pub(crate) len: u8,
}

impl Site {
    /// The address behind the syscall instruction.
    pub(crate) fn behind(&self) -> u64 {
        self.addr + self.code.len() as u64 + 2
    }
}

/// What an RIP in a trampoline means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Where the moved instruction came from.
    pub(crate) site: u64,
    /// Where the guest would be now, had nothing been moved.
    pub(crate) next: u64,
    /// The moved instruction has run.
    pub(crate) has_run: bool,
}

struct Arena {
    start: AtomicU64,
    /// 0 when there is no such arena, or no more.
    end: AtomicU64,
    /// Packed: the address behind the syscall, the moved instruction's length, and what follows.
    slots: OnceLock<Box<[u64]>>,
}

static TABLE: [Arena; ARENAS] = [const {
    Arena {
        start: AtomicU64::new(0),
        end: AtomicU64::new(0),
        slots: OnceLock::new(),
    }
}; ARENAS];

static OPENED: AtomicUsize = AtomicUsize::new(0);

/// What `rip` means, if it lies in a trampoline. Called by signal handlers.
pub(crate) fn moved(rip: u64) -> Option<Moved> {
    // Pairs with the release in `open`.
    let opened = OPENED.load(Ordering::Acquire).min(ARENAS);
    let arena = TABLE[..opened]
        .iter()
        .find(|arena| arena.range().contains(&rip))?;
    let offset = rip - arena.range().start;
    let packed = *arena
        .slots
        .get()?
        .get(usize::try_from(offset / SLOT).ok()?)?;
    let behind = packed & ((1 << 48) - 1);
    let len = packed >> 48 & 0xf;
    let between = packed >> 52 & 0xf;
    let within = offset % SLOT;
    let site = behind.checked_sub(2 + between + len)?;
    let next = match within {
        0 => site,
        _ if within < len + between => site + len,
        _ => behind - 2,
    };
    Some(Moved {
        site,
        next,
        has_run: within >= len,
    })
}

impl Arena {
    fn range(&self) -> Range<u64> {
        self.start.load(Ordering::Relaxed)..self.end.load(Ordering::Acquire)
    }
}

/// Makes a trampoline for each of `sites` (in ascending order), somewhere all of them can reach.
///
/// Returns their addresses, in the same order; `None` if there is no room for them.
pub(crate) fn open(sites: &[Site]) -> Option<Vec<u64>> {
    let (first, last) = (sites.first()?.addr, sites.last()?.behind());
    let index = OPENED.load(Ordering::Relaxed);
    let arena = TABLE.get(index)?;
    let len = (sites.len() as u64 * SLOT).next_multiple_of(PAGE);
    let start = reserve(first..last, len)?;
    let mut code = vec![0xcc_u8; usize::try_from(len).ok()?];
    let mut packed = Vec::with_capacity(sites.len());
    for (number, site) in sites.iter().enumerate() {
        let at = number * size(SLOT);
        write_slot(site, start + at as u64, &mut code[at..])?;
        let between = site.code.len() as u64 - u64::from(site.len);
        packed.push(site.behind() | u64::from(site.len) << 48 | between << 52);
    }
    if !fill(start, &code) {
        return None;
    }
    arena.slots.set(packed.into_boxed_slice()).ok()?;
    arena.start.store(start, Ordering::Relaxed);
    arena.end.store(start + len, Ordering::Release);
    // Pairs with the acquire in `moved`.
    OPENED.store(index + 1, Ordering::Release);
    Some(
        (0..sites.len() as u64)
            .map(|number| start + number * SLOT)
            .collect(),
    )
}

/// Forgets arenas that overlap `range`: the guest puts something else there. Returns what they were.
pub(crate) fn close(range: &Range<u64>) -> Vec<Range<u64>> {
    let mut closed = Vec::new();
    for arena in &TABLE[..OPENED.load(Ordering::Relaxed).min(ARENAS)] {
        let there = arena.range();
        if there.start < range.end && range.start < there.end {
            arena.end.store(0, Ordering::Release);
            closed.push(there);
        }
    }
    closed
}

fn write_slot(site: &Site, at: u64, slot: &mut [u8]) -> Option<()> {
    let mut code = site.code.clone();
    let after_lea = at + code.len() as u64 + 7;
    code.extend([0x48, 0x8d, 0x0d]);
    code.extend(distance(after_lea, site.behind())?);
    code.extend([0x65, 0xff, 0x24, 0x25]);
    code.extend(u32::try_from(offset_of!(Block, exit)).ok()?.to_le_bytes());
    slot.get_mut(..code.len())?.copy_from_slice(&code);
    Some(())
}

/// A jump from `site` to `trampoline`.
pub(crate) fn jump(site: u64, trampoline: u64) -> Option<[u8; 5]> {
    let mut code = [0xe9, 0, 0, 0, 0];
    code[1..].copy_from_slice(&distance(site + 5, trampoline)?);
    Some(code)
}

fn distance(from: u64, to: u64) -> Option<[u8; 4]> {
    let distance = i32::try_from(to.wrapping_sub(from).cast_signed()).ok()?;
    Some(distance.to_le_bytes())
}

/// Maps `len` bytes that every address of `near` can reach and nothing else uses.
fn reserve(near: Range<u64>, len: u64) -> Option<u64> {
    candidates(&near)
        .filter(|&start| {
            let end = start + len;
            end.max(near.end) - start.min(near.start) < REACH
        })
        .find(|&start| claim(start, len))
}

/// Where to look for room: above the guest's own addresses if the site is near them, then below a
/// low image, then at some distance, so that the kernel's next mappings do not want the place.
fn candidates(near: &Range<u64>) -> impl Iterator<Item = u64> + use<> {
    const STEP: u64 = 1 << 16;
    const FAR: u64 = 1 << 30;
    const FAR_STEP: u64 = 1 << 22;
    let (start, end) = (near.start, near.end);
    let above = (0..4096)
        .map(|i| GUEST_BOUND + i * STEP)
        .filter(move |at| at - start < REACH);
    let low = (0..64)
        .map(|i| GUEST_START + i * STEP)
        .filter(move |&at| at + STEP <= start);
    let below = (0..200).filter_map(move |i| {
        (start & !(STEP - 1))
            .checked_sub(FAR + i * FAR_STEP)
            .filter(|&at| at >= GUEST_START)
    });
    let beyond = (0..200)
        .map(move |i| end.next_multiple_of(STEP) + FAR + i * FAR_STEP)
        .filter(|&at| at < GUEST_BOUND - FAR_STEP);
    above.chain(low).chain(below).chain(beyond)
}

/// Maps `len` bytes at `start` if nothing is there.
fn claim(start: u64, len: u64) -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let at = core::ptr::without_provenance_mut::<libc::c_void>(size(start));
    // SAFETY: a new mapping that replaces none.
    let got = unsafe {
        libc::mmap(
            at,
            size(len),
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            -1,
            0,
        )
    };
    got == at
}

/// Writes an arena's code and makes it executable.
fn fill(start: u64, code: &[u8]) -> bool {
    let at = core::ptr::without_provenance_mut::<u8>(size(start));
    // SAFETY: `claim` has just mapped that much there, writable, for us alone.
    unsafe { core::ptr::copy_nonoverlapping(code.as_ptr(), at, code.len()) };
    // SAFETY: the mapping is ours.
    0 == unsafe { libc::mprotect(at.cast(), code.len(), libc::PROT_READ | libc::PROT_EXEC) }
}
