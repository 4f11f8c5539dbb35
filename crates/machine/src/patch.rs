//! Patching system-call sites in guest text, so that the common call does not trap.
//!
//! Responsible for finding `syscall` instructions that can be reached by a jump, for putting the
//! jump there, and for taking it away again. The net under all of this is `sud`: a site that is not
//! patched is slow, not wrong.
//!
//! One instruction of at least five bytes that stands directly before `0f 05` is replaced by
//! `jmp rel32` to a trampoline that has it; `0f 05` stays where it is. So nothing can jump into the
//! middle of what was changed, and a jump straight to `0f 05` (or a restarted call) still traps.
//!
//! The one breakpoint (an `int3`) is set and taken away here as well, for it is a patch like the others.
//!
//! | before `0f 05` | whose |
//! |---|---|
//! | `b8 imm32` | compilers, Go's runtime |
//! | `48 c7 c0 imm32` | GNU as, for `mov $nr,%rax` |
//! | `48/4c 8b/89 44-7c 24 disp8`, between a register and the stack | Go's generic wrappers |
//! | `b8 imm32`, `49 89 ca` | NetBSD's libc |
//!
//! # Invariants
//! 1. Only private text that is not writable and was not executable before is patched: nobody runs
//!    it yet, and no file sees the change.
//! 2. `sites` has every patch in place. Before its bytes can be written, replaced or unmapped by the
//!    guest, or its trampoline be, the original bytes are back. So it is with the breakpoint.
//! 3. [`BREAKPOINT`] is the address where there is an `int3` of ours, or 0: handlers read it.
//!
//! # Locks
//! `TEXT`, taken by the mapping calls of `mem`; nothing else is locked under it.
//!
//! Sources: AMD64 APM vol. 3 for the encodings.

use crate::trampoline::{self, Site};
use crate::{guest_asm, size, step};
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use iced_x86::{Decoder, DecoderOptions, Mnemonic};
use lwp_kernel::machine::GUEST_BOUND;
use rangemap::RangeSet;
use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

pub(crate) use crate::trampoline::{Moved, moved};

/// NetBSD's call numbers are below this; larger immediates are no call numbers.
const MAX_CALL: u32 = 1024;
/// Bytes of a `jmp rel32`.
const JUMP: usize = 5;
/// The breakpoint's instruction.
const INT3: u8 = 0xcc;
const PAGE: u64 = 4096;
/// How far back the decoder looks to see where instructions begin.
const WINDOW: usize = 40;

/// What is known of the guest's text.
#[derive(Default)]
struct Text {
    /// Executable ranges.
    exec: RangeSet<u64>,
    /// Shared mappings: a patch there would be seen by others.
    shared: RangeSet<u64>,
    /// Patches in place, by address.
    sites: BTreeMap<u64, Patched>,
    breakpoint: Option<Breakpoint>,
}

struct Patched {
    original: [u8; JUMP],
    trampoline: u64,
    /// The address behind the syscall instruction.
    behind: u64,
}

#[derive(Clone, Copy)]
struct Breakpoint {
    at: u64,
    original: u8,
}

/// Where the breakpoint is; see invariant 3.
static BREAKPOINT: AtomicU64 = AtomicU64::new(0);

/// Whether the breakpoint is at `rip`. Called by signal handlers.
pub(crate) fn is_breakpoint(rip: u64) -> bool {
    rip != 0 && BREAKPOINT.load(Ordering::Relaxed) == rip
}

/// Whether there is a breakpoint.
pub(crate) fn has_breakpoint() -> bool {
    BREAKPOINT.load(Ordering::Relaxed) != 0
}

static TEXT: LazyLock<Mutex<Text>> = LazyLock::new(Mutex::default);

/// Whether anything is patched at all.
static ENABLED: AtomicBool = AtomicBool::new(true);

/// Says whether text mapped from now on is patched.
pub(crate) fn set_enabled(enabled: bool) {
    ENABLED.store(enabled, Ordering::Relaxed);
}

/// The lock on what is known of the text, held while a mapping changes.
pub(crate) struct Guard(MutexGuard<'static, Text>);

/// Takes the lock.
pub(crate) fn lock() -> Guard {
    Guard(TEXT.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Guard {
    /// `range` is about to be unmapped or replaced.
    pub(crate) fn before_replacing(&mut self, range: &Range<u64>) {
        self.drop_breakpoint_in(range);
        for arena in trampoline::close(range) {
            self.restore_where(|_, patch| arena.contains(&patch.trampoline));
        }
        self.restore_in(range);
        self.0.exec.remove(range.clone());
        self.0.shared.remove(range.clone());
    }

    /// `range` was mapped.
    pub(crate) fn after_mapping(&mut self, range: &Range<u64>, prot: Access, shared: bool) {
        if shared {
            self.0.shared.insert(range.clone());
        }
        self.after_protecting(range, prot);
    }

    /// What `range` is, for [`Guard::after_relocating`].
    pub(crate) fn kind(&self, range: &Range<u64>) -> Kind {
        Kind {
            exec: self.0.exec.overlaps(range),
            shared: self.0.shared.overlaps(range),
        }
    }

    /// Pages of this kind were moved to `range`. Text among them stays without patches: somebody may
    /// be running it already.
    pub(crate) fn after_relocating(&mut self, range: &Range<u64>, kind: Kind) {
        if kind.exec {
            self.0.exec.insert(range.clone());
        }
        if kind.shared {
            self.0.shared.insert(range.clone());
        }
    }

    /// `range` is about to get another protection.
    pub(crate) fn before_protecting(&mut self, range: &Range<u64>, prot: Access) {
        self.drop_breakpoint_in(range);
        for arena in trampoline::close(range) {
            self.restore_where(|_, patch| arena.contains(&patch.trampoline));
        }
        if prot.write {
            self.restore_in(range);
        }
    }

    /// `range` has got another protection.
    pub(crate) fn after_protecting(&mut self, range: &Range<u64>, prot: Access) {
        if !prot.exec {
            if !self.0.exec.is_empty() {
                self.0.exec.remove(range.clone());
            }
            return;
        }
        if prot.read && !prot.write && ENABLED.load(Ordering::Relaxed) {
            let fresh: Vec<_> = self.0.exec.gaps(range).collect();
            for gap in fresh {
                if !self.0.shared.overlaps(&gap) {
                    self.patch(gap);
                }
            }
        }
        self.0.exec.insert(range.clone());
    }

    /// Patches what can be patched in `range`, which is mapped, readable and run by nobody.
    fn patch(&mut self, range: Range<u64>) {
        let sites = find_sites(&range);
        let Some(trampolines) = trampoline::open(&sites) else {
            return;
        };
        let (read, exec) = (libc::PROT_READ, libc::PROT_EXEC);
        if !protect(&range, read | libc::PROT_WRITE) {
            return;
        }
        for (site, trampoline) in sites.iter().zip(trampolines) {
            let Some(jump) = trampoline::jump(site.addr, trampoline) else {
                continue;
            };
            let Some(original) = site.code.first_chunk().copied() else {
                continue;
            };
            if write(&jump, site.addr) {
                self.0.sites.insert(
                    site.addr,
                    Patched {
                        original,
                        trampoline,
                        behind: site.behind(),
                    },
                );
            }
        }
        // It was so before, and it is not writable for long. If the host refuses, the guest's next
        // instruction there faults: there is nobody to tell here.
        protect(&range, read | exec);
    }

    /// Puts back the original bytes of every patch that reaches into `range`.
    fn restore_in(&mut self, range: &Range<u64>) {
        if self.0.sites.is_empty() {
            return;
        }
        let from = range.start.saturating_sub(JUMP as u64 - 1);
        let found: Vec<u64> = self
            .0
            .sites
            .range(from..range.end)
            .map(|(&addr, _)| addr)
            .collect();
        self.restore(&found);
    }

    fn restore_where(&mut self, wanted: impl Fn(u64, &Patched) -> bool) {
        let found: Vec<u64> = self
            .0
            .sites
            .iter()
            .filter(|&(&addr, patch)| wanted(addr, patch))
            .map(|(&addr, _)| addr)
            .collect();
        self.restore(&found);
    }

    fn restore(&mut self, addrs: &[u64]) {
        for &addr in addrs {
            if let Some(patch) = self.0.sites.remove(&addr) {
                self.drop_breakpoint_in(&(addr..patch.behind));
                restore_bytes(patch.original, addr);
            }
        }
    }

    /// Takes the breakpoint away, and sets it anew if `at` is a place for one: private text that cannot be written,
    /// no `rep` instruction, none that reads the time-stamp counter (whoever traps it reads the text), and nothing that
    /// a patch bypasses.
    pub(crate) fn set_breakpoint(&mut self, at: Option<u64>) -> bool {
        self.drop_breakpoint_in(&(0..u64::MAX));
        let Some(at) = at else {
            return true;
        };
        if !self.0.exec.contains(&at) || self.0.shared.contains(&at) || self.is_bypassed(at) {
            return false;
        }
        let Some(instruction) = step::instruction_at(at) else {
            return false;
        };
        let mut original = [0];
        // SAFETY: executable, so it is the guest's.
        let is_there = unsafe { guest_asm::read(at, &mut original) }.is_ok();
        // Writable, if it can be written: what it is now.
        let is_fit = !step::is_repeated(&instruction) && !step::reads_counter(&instruction);
        if !is_fit || !is_there || write(&original, at) {
            return false;
        }
        let [original] = original;
        if !write_text(INT3, at) {
            return false;
        }
        self.0.breakpoint = Some(Breakpoint { at, original });
        BREAKPOINT.store(at, Ordering::Relaxed);
        true
    }

    /// Whether `at` lies behind the jump of a patched site, and not behind the site.
    fn is_bypassed(&self, at: u64) -> bool {
        let before = self.0.sites.range(..at).next_back();
        before.is_some_and(|(_, patch)| at < patch.behind)
    }

    fn drop_breakpoint_in(&mut self, range: &Range<u64>) {
        if let Some(breakpoint) = self.0.breakpoint.take_if(|it| range.contains(&it.at)) {
            lift(breakpoint);
        }
    }

    /// Calls `run` with the original byte where the breakpoint is.
    pub(crate) fn without_breakpoint<T>(&mut self, run: impl FnOnce() -> T) -> T {
        let breakpoint = self.0.breakpoint;
        if let Some(breakpoint) = breakpoint {
            lift(breakpoint);
        }
        let result = run();
        if let Some(Breakpoint { at, .. }) = breakpoint
            && write_text(INT3, at)
        {
            BREAKPOINT.store(at, Ordering::Relaxed);
        }
        result
    }

    /// How many patches are in place.
    pub(crate) fn patches(&self) -> usize {
        self.0.sites.len()
    }
}

/// What is known of a mapping beside its protection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    exec: bool,
    shared: bool,
}

/// What may be done with a mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) exec: bool,
}

/// Writes the original bytes of a patch, page by page: its second page may have another protection,
/// or be gone.
fn restore_bytes(original: [u8; JUMP], addr: u64) {
    let first = ((addr / PAGE + 1) * PAGE - addr).min(JUMP as u64);
    let (head, tail) = original.split_at(size(first));
    for (bytes, at) in [(head, addr), (tail, addr + first)] {
        if bytes.is_empty() {
            continue;
        }
        let page = at & !(PAGE - 1);
        let all = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        // Other LWPs may be running on this page, so it stays executable while it is written.
        if protect(&(page..page + PAGE), all) {
            write(bytes, at);
            protect(&(page..page + PAGE), libc::PROT_READ | libc::PROT_EXEC);
        }
    }
}

/// Puts the original byte of a breakpoint back, unless the `int3` has gone with its page (madvise(2)).
fn lift(Breakpoint { at, original }: Breakpoint) {
    BREAKPOINT.store(0, Ordering::Relaxed);
    let mut found = [0];
    // SAFETY: it was the guest's when the breakpoint was set.
    let is_there = unsafe { guest_asm::read(at, &mut found) }.is_ok();
    if is_there && found == [INT3] {
        write_text(original, at);
    }
}

/// Writes one byte of text that only this thread may be running.
fn write_text(byte: u8, at: u64) -> bool {
    let page = at & !(PAGE - 1);
    let page = page..page + PAGE;
    let (read, exec) = (libc::PROT_READ, libc::PROT_EXEC);
    let is_written = protect(&page, read | libc::PROT_WRITE) && write(&[byte], at);
    protect(&page, read | exec);
    is_written
}

/// Every site in `range` that can be patched, in ascending order.
fn find_sites(range: &Range<u64>) -> Vec<Site> {
    let mut sites = Vec::new();
    let mut from = range.start;
    if range.end > GUEST_BOUND {
        return sites;
    }
    loop {
        // SAFETY: `range` lies below the guest bound, as just seen.
        let at = unsafe { guest_asm::find_syscall(from, range.end) };
        if at >= range.end {
            return sites;
        }
        sites.extend(site_before(at, range));
        from = at + 2;
    }
}

/// The site of the `0f 05` at `at`, if it is one.
fn site_before(at: u64, range: &Range<u64>) -> Option<Site> {
    let back = size((at - range.start).min(WINDOW as u64 + 10));
    let mut buffer = [0_u8; WINDOW + 12];
    let bytes = &mut buffer[..back + 2];
    // SAFETY: `range` lies below the guest bound (`find_sites`), and this is a part of it.
    unsafe { guest_asm::read(at - back as u64, bytes) }.ok()?;
    let (before, _) = bytes.split_at(back);
    let (len, between) = shape(before)?;
    let start = back - len - between;
    if !begins_an_instruction(bytes, start, len) {
        return None;
    }
    Some(Site {
        addr: at - (len + between) as u64,
        code: before[start..].to_vec(),
        len: u8::try_from(len).ok()?,
    })
}

/// The length of the instruction to move, and of what stands between it and the end of `before`.
fn shape(before: &[u8]) -> Option<(usize, usize)> {
    let call_number = |imm: &[u8; 4]| u32::from_le_bytes(*imm) < MAX_CALL;
    match before {
        [.., 0xb8, a, b, c, d] if call_number(&[*a, *b, *c, *d]) => Some((5, 0)),
        [.., 0xb8, a, b, c, d, 0x49, 0x89, 0xca] if call_number(&[*a, *b, *c, *d]) => Some((5, 3)),
        [.., 0x48, 0xc7, 0xc0, a, b, c, d] if call_number(&[*a, *b, *c, *d]) => Some((7, 0)),
        [.., 0x48 | 0x4c, 0x8b | 0x89, modrm, 0x24, _] if modrm & 0xc7 == 0x44 => Some((5, 0)),
        _ => None,
    }
}

/// Whether the instruction at `start` really is one, and the syscall at the end, too.
///
/// Decodes from every offset of the window before it: streams that start wrong fall into step within
/// a few instructions, so most arrive at `start` if an instruction begins there.
fn begins_an_instruction(bytes: &[u8], start: usize, len: usize) -> bool {
    let mut decoder = Decoder::new(64, &bytes[start..], DecoderOptions::NONE);
    let first = decoder.decode();
    if first.is_invalid() || first.len() != len {
        return false;
    }
    let mut last = decoder.decode();
    if last.mnemonic() == Mnemonic::Mov {
        last = decoder.decode();
    }
    if last.mnemonic() != Mnemonic::Syscall {
        return false;
    }
    let streams = start.saturating_sub(WINDOW)..start.saturating_sub(7);
    let total = streams.len();
    let arrived = streams
        .filter(|&from| arrives(&bytes[from..], start - from))
        .count();
    // Text may begin right here; then there is nothing to be seen before it.
    arrived * 2 >= total
}

/// Whether decoding `bytes` comes to an instruction that begins at `target`.
fn arrives(bytes: &[u8], target: usize) -> bool {
    let mut decoder = Decoder::new(64, bytes, DecoderOptions::NONE);
    while decoder.position() < target && decoder.can_decode() {
        let _instruction = decoder.decode();
    }
    decoder.position() == target
}

fn write(bytes: &[u8], to: u64) -> bool {
    // SAFETY: patches lie below the guest bound: `find_sites` looks nowhere else.
    unsafe { guest_asm::write(bytes, to) }.is_ok()
}

fn protect(range: &Range<u64>, prot: libc::c_int) -> bool {
    let at = core::ptr::without_provenance_mut(size(range.start));
    // SAFETY: guest text, none of ours.
    0 == unsafe { libc::mprotect(at, size(range.end - range.start), prot) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site_in(code: &[u8]) -> Option<(usize, usize)> {
        let (before, _) = code.split_at(code.len() - 2);
        let (len, between) = shape(before)?;
        let start = before.len() - len - between;
        begins_an_instruction(code, start, len).then_some((len, between))
    }

    #[test]
    fn the_known_shapes_are_sites() {
        assert_eq!(site_in(&[0xb8, 1, 0, 0, 0, 0x0f, 5]), Some((5, 0)));
        assert_eq!(
            site_in(&[0xb8, 1, 0, 0, 0, 0x49, 0x89, 0xca, 0x0f, 5]),
            Some((5, 3))
        );
        assert_eq!(
            site_in(&[0x48, 0xc7, 0xc0, 1, 1, 0, 0, 0x0f, 5]),
            Some((7, 0))
        );
        assert_eq!(site_in(&[0x48, 0x8b, 0x44, 0x24, 8, 0x0f, 5]), Some((5, 0)));
        assert_eq!(site_in(&[0x4c, 0x89, 0x54, 0x24, 8, 0x0f, 5]), Some((5, 0)));
    }

    #[test]
    fn call_displacements_and_other_registers_are_none() {
        // call with 0f 05 in its displacement.
        assert_eq!(
            site_in(&[0x90, 0x90, 0x90, 0x90, 0x90, 0xe8, 0x0f, 5]),
            None
        );
        // mov $1,%r8d: the b8 is the middle of it.
        let mut code = vec![0x90; 40];
        code.extend([0x41, 0xb8, 1, 0, 0, 0, 0x0f, 5]);
        assert_eq!(site_in(&code), None);
        // Not a call number.
        assert_eq!(site_in(&[0xb8, 1, 0, 1, 0, 0x0f, 5]), None);
    }
}
