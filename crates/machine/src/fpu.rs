//! The FP state beyond XMM: x87, MXCSR, and the upper halves of the vector registers.
//!
//! Responsible for when that state is in the vcpu's registers and when in the context, and for its
//! forms: the machine's own (XSAVE's standard form), NetBSD's (FXSAVE), and the uppers kept aside
//! during a signal handler. XMM and MXCSR are stored and loaded by the stubs of `entry` on every trap.
//!
//! # Invariants
//! 1. Host code is plain SSE2 (`mem_fns`; `tests/plain_sse2.rs`), so while `Fpu::live` is set the
//!    upper halves, the mask registers and x87 in this vcpu's registers are the guest's.
//! 2. Where that cannot be promised, because libc is linked dynamically and its own copies use AVX,
//!    [`after_exit`] takes everything out after every trap.
//! 3. Before a context that is not live is entered, the registers hold its state or the initial one,
//!    never the last LWP's: [`Residue`] says what is in them, and only [`switch_out`] may say "clean".
//! 4. An image given to `xrstor` comes from `xsave` or from this module: its header has only bits of
//!    [`Features::mask`] and its MXCSR no reserved bits, so the instruction cannot fault.
//!
//! | state of the context | `live` | `ext` | where x87 and uppers are |
//! |---|---|---|---|
//! | in use on a vcpu | yes | stale | the vcpu's registers |
//! | out, clean | no | `None` | x87 empty with control word `fcw`, uppers zero |
//! | out | no | `Some` | `ext`; a component without its header bit is initial |
//!
//! Not kept: the last x87 instruction's address and opcode, when the x87 is otherwise empty.
//!
//! Sources: AMD64 APM vol. 2 chapter 11, vol. 4 and 5 (xsave, xrstor, fxsave); CPUID function 0xd.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::cell::Cell;
use core::ops::Range;
use std::sync::OnceLock;

use crate::block::Block;
use lwp_kernel::ctx::{ExtState, Fpu, Fxsave, Uppers, UserCtx};

/// XCR0's bits of what is handled here; SSE (bit 1) is the stubs' business.
const X87: u64 = 1;
const AVX: u64 = 1 << 2;
const AVX512: u64 = 0b111 << 5;
const UPPERS: u64 = AVX | AVX512;

/// The control word at exec.
const FCW: u16 = Fpu::FCW;
/// Where XSAVE keeps MXCSR, XMM and the header.
const MXCSR_AT: Range<usize> = 24..28;
const XMM_AT: Range<usize> = 160..416;
const HEADER_AT: usize = 512;

/// What the CPU and Linux offer.
#[derive(Debug)]
struct Features {
    /// Components of XCR0 that are handled here.
    mask: u64,
    /// `xgetbv(1)` tells what is in use.
    tells_in_use: bool,
    /// Bits of MXCSR that may be set.
    mxcsr_mask: u32,
    /// Where each upper component lies, by bit number.
    at: [Range<usize>; 8],
}

/// What the vcpu's registers hold when no context is live in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Residue {
    /// Anything.
    Dirty,
    /// Upper halves zero, x87 empty with this control word.
    Clean(u16),
}

thread_local! {
    static RESIDUE: Cell<Residue> = const { Cell::new(Residue::Dirty) };
    /// An area to save into before it is known whether it must be kept.
    static SPARE: Cell<Option<Box<ExtState>>> = const { Cell::new(None) };
}

static FEATURES: OnceLock<Features> = OnceLock::new();

/// Finds out what the CPU can do; `false` if it has no XSAVE.
pub(crate) fn init() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    if __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    FEATURES.get_or_init(Features::find);
    true
}

fn features() -> &'static Features {
    FEATURES
        .get()
        .expect("HostMachine::new has looked at the CPU")
}

impl Features {
    fn find() -> Self {
        let mut mask = xgetbv(0) & (X87 | UPPERS);
        let mut at = [const { 0..0 }; 8];
        for (bit, range) in at.iter_mut().enumerate() {
            if UPPERS & mask & (1 << bit) != 0 {
                let leaf = __cpuid_count(0xd, u32::try_from(bit).unwrap_or(0));
                let start = usize::try_from(leaf.ebx).unwrap_or(0);
                *range = start..start + usize::try_from(leaf.eax).unwrap_or(0);
            }
        }
        if at.iter().any(|range| range.end > ExtState::SIZE) {
            mask &= X87;
        }
        let mut image = Fxsave([0; 512]);
        fxsave(&mut image);
        let reported = u32::from_le_bytes([image.0[28], image.0[29], image.0[30], image.0[31]]);
        Self {
            mask,
            tells_in_use: __cpuid_count(0xd, 1).eax & 4 != 0,
            mxcsr_mask: if reported == 0 { 0xffbf } else { reported },
            at,
        }
    }

    /// Components that may hold something other than their initial state.
    fn in_use(&self) -> u64 {
        if self.tells_in_use {
            xgetbv(1) & self.mask
        } else {
            self.mask
        }
    }

    /// The bytes of an image's upper components that are marked present.
    fn uppers_of<'a>(&'a self, area: &'a ExtState) -> impl Iterator<Item = (u64, &'a [u8])> {
        let present = header(area) & UPPERS;
        self.at
            .iter()
            .enumerate()
            .map(|(bit, range)| (1_u64 << bit, range))
            .filter(move |(bit, _)| present & bit != 0)
            .map(|(bit, range)| (bit, &area.bytes[range.clone()]))
    }
}

/// Brings `cx`'s state into the registers.
pub(crate) fn load(cx: &mut UserCtx) {
    if cx.fpu.live {
        return;
    }
    let features = features();
    match (&mut cx.fpu.ext, RESIDUE.get()) {
        (Some(area), _) => {
            area.bytes[MXCSR_AT].copy_from_slice(&cx.fpu.mxcsr.to_le_bytes());
            xrstor(area, features.mask);
        }
        (None, Residue::Clean(fcw)) if fcw == cx.fpu.fcw => {}
        (None, Residue::Clean(_)) => fldcw(cx.fpu.fcw),
        (None, Residue::Dirty) => {
            let mut area = SPARE.take().unwrap_or_else(new_area);
            clear_header(&mut area);
            area.bytes[MXCSR_AT].copy_from_slice(&cx.fpu.mxcsr.to_le_bytes());
            xrstor(&area, features.mask);
            SPARE.set(Some(area));
            if cx.fpu.fcw != FCW {
                fldcw(cx.fpu.fcw);
            }
        }
    }
    RESIDUE.set(Residue::Dirty);
    cx.fpu.live = true;
}

/// Takes `cx`'s state out of the registers.
pub(crate) fn switch_out(cx: &mut UserCtx) {
    if !cx.fpu.live {
        return;
    }
    cx.fpu.live = false;
    let features = features();
    let in_use = features.in_use();
    if in_use == 0 {
        cx.fpu.ext = None;
        cx.fpu.fcw = FCW;
        RESIDUE.set(Residue::Clean(FCW));
        return;
    }
    let mut area = cx
        .fpu
        .ext
        .take()
        .or_else(|| SPARE.take())
        .unwrap_or_else(new_area);
    clear_header(&mut area);
    xsave(&mut area, in_use);
    let (kept, fcw) = tidy(features, &mut area);
    cx.fpu.fcw = fcw;
    if kept == 0 {
        // Initial contents, but marked as in use: without this every switch would look again.
        clear_header(&mut area);
        area.bytes[MXCSR_AT].copy_from_slice(&cx.fpu.mxcsr.to_le_bytes());
        xrstor(&area, features.mask);
        RESIDUE.set(Residue::Clean(FCW));
        SPARE.set(Some(area));
    } else {
        cx.fpu.ext = Some(area);
    }
}

/// As [`switch_out`], if nothing beyond XMM is in use and the context has no image; else `false`, and nothing has
/// changed. On the guest's MXCSR, in a fast call.
pub(crate) fn set_aside(cx: &mut UserCtx) -> bool {
    let is_in_use = || FEATURES.get().is_none_or(|features| features.in_use() != 0);
    if !cx.fpu.live || cx.fpu.ext.is_some() || is_in_use() {
        return false;
    }
    cx.fpu.live = false;
    cx.fpu.fcw = FCW;
    cx.fpu.mxcsr = stmxcsr();
    true
}

/// A plain context is about to be entered on registers that [`set_aside`] found clean.
pub(crate) fn assume_live(cx: &mut UserCtx) {
    debug_assert!(
        cx.fpu.is_plain(),
        "the kernel switches to plain contexts only"
    );
    cx.fpu.live = true;
}

/// The registers hold nothing: the last context was [`set_aside`].
pub(crate) fn are_clean() {
    RESIDUE.set(Residue::Clean(FCW));
}

/// After a trap: where compiled code may spoil the registers, saves them at once.
pub(crate) fn after_exit(cx: &mut UserCtx, host_keeps_uppers: bool) {
    if !host_keeps_uppers {
        switch_out(cx);
    }
}

/// Drops from an image's header what is in its initial state anyway. Returns what is left, and the
/// control word.
fn tidy(features: &Features, area: &mut ExtState) -> (u64, u16) {
    let mut kept = header(area);
    let mut fcw = FCW;
    if kept & X87 != 0 {
        fcw = u16::from_le_bytes([area.bytes[0], area.bytes[1]]);
        if is_x87_empty(&area.bytes) {
            kept &= !X87;
        }
    }
    for (bit, bytes) in features.uppers_of(area) {
        if is_zero(bytes) {
            kept &= !bit;
        }
    }
    // Without its bit, x87 would get the initial control word; `load` then sees to `fcw`, which
    // only works if nothing else is kept either.
    if kept != 0 && fcw != FCW {
        kept |= X87;
    }
    set_header(area, kept);
    (kept, fcw)
}

/// The state of `cx` in FXSAVE's form.
pub(crate) fn image(cx: &UserCtx) -> Fxsave {
    let mut image = Fxsave([0; 512]);
    if cx.fpu.live {
        fxsave(&mut image);
        image.0[416..].fill(0);
    } else if let Some(area) = cx.fpu.ext.as_ref().filter(|area| header(area) & X87 != 0) {
        image.0[..XMM_AT.start].copy_from_slice(&area.bytes[..XMM_AT.start]);
    } else {
        image.0[..2].copy_from_slice(&cx.fpu.fcw.to_le_bytes());
    }
    image.0[MXCSR_AT].copy_from_slice(&cx.fpu.mxcsr.to_le_bytes());
    image.0[28..32].copy_from_slice(&features().mxcsr_mask.to_le_bytes());
    for (to, from) in image.0[XMM_AT]
        .chunks_exact_mut(8)
        .zip(cx.fpu.xmm.as_flattened())
    {
        to.copy_from_slice(&from.to_le_bytes());
    }
    image
}

/// Gives `cx` the state of `image`, upper halves zero.
pub(crate) fn install(cx: &mut UserCtx, image: &[u8; 512]) {
    let word = |at: usize| u32::from_le_bytes(core::array::from_fn(|i| image[at + i]));
    cx.fpu.live = false;
    cx.fpu.mxcsr = word(MXCSR_AT.start) & features().mxcsr_mask;
    for (to, from) in cx
        .fpu
        .xmm
        .as_flattened_mut()
        .iter_mut()
        .zip(image[XMM_AT].chunks_exact(8))
    {
        *to = u64::from_le_bytes(core::array::from_fn(|i| from[i]));
    }
    cx.fpu.fcw = u16::from_le_bytes([image[0], image[1]]);
    cx.fpu.ext = (!is_x87_empty(image)).then(|| {
        let mut area = new_area();
        area.bytes[..MXCSR_AT.start].copy_from_slice(&image[..MXCSR_AT.start]);
        area.bytes[32..XMM_AT.start].copy_from_slice(&image[32..XMM_AT.start]);
        set_header(&mut area, X87);
        area
    });
}

/// The state of `cx` for a new LWP.
pub(crate) fn clone(cx: &mut UserCtx) -> Fpu {
    switch_out(cx);
    cx.fpu.clone()
}

/// What of `cx` [`image`] does not show.
pub(crate) fn uppers(cx: &mut UserCtx) -> Option<Uppers> {
    switch_out(cx);
    let area = cx
        .fpu
        .ext
        .as_ref()
        .filter(|area| header(area) & UPPERS != 0)?;
    let mut kept = area.clone();
    let present = header(&kept) & UPPERS;
    set_header(&mut kept, present);
    Some(kept)
}

/// Puts back what [`uppers`] gave.
pub(crate) fn set_uppers(cx: &mut UserCtx, uppers: &Uppers) {
    switch_out(cx);
    let features = features();
    let fcw = cx.fpu.fcw;
    let area = cx.fpu.ext.get_or_insert_with(|| {
        let mut area = new_area();
        if fcw != FCW {
            // An empty x87 with this control word.
            area.bytes[..2].copy_from_slice(&fcw.to_le_bytes());
            set_header(&mut area, X87);
        }
        area
    });
    let mut present = header(area) & X87;
    for (bit, bytes) in features.uppers_of(uppers) {
        let at = features.at[bit.trailing_zeros() as usize].clone();
        area.bytes[at].copy_from_slice(bytes);
        present |= bit;
    }
    set_header(area, present);
    if present == 0 {
        cx.fpu.ext = None;
    }
}

/// Whether an image's x87 part holds nothing but a control word: no value, no flag, top at 0.
fn is_x87_empty(image: &[u8]) -> bool {
    image[2] == 0 && image[3] == 0 && image[4] == 0
}

fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().all(|word| u64::from_ne_bytes(*word) == 0) && rest.iter().all(|&byte| byte == 0)
}

fn new_area() -> Box<ExtState> {
    Box::new(ExtState {
        bytes: [0; ExtState::SIZE],
    })
}

fn header(area: &ExtState) -> u64 {
    u64::from_le_bytes(core::array::from_fn(|i| area.bytes[HEADER_AT + i]))
}

fn set_header(area: &mut ExtState, present: u64) {
    area.bytes[HEADER_AT..HEADER_AT + 8].copy_from_slice(&present.to_le_bytes());
}

fn clear_header(area: &mut ExtState) {
    area.bytes[HEADER_AT..HEADER_AT + 64].fill(0);
}

fn xgetbv(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: `init` has seen OSXSAVE; register 1 is read only where CPUID says it is there.
    unsafe {
        asm!("xgetbv", in("ecx") register, out("eax") low, out("edx") high,
            options(nomem, nostack, preserves_flags));
    }
    u64::from(low) | u64::from(high) << 32
}

/// The half of a mask that goes to EAX; nothing handled here is in the other.
#[expect(
    clippy::cast_possible_truncation,
    reason = "`Features::mask` has eight bits"
)]
fn low(mask: u64) -> u32 {
    mask as u32
}

fn xsave(area: &mut ExtState, mask: u64) {
    // SAFETY: the area is aligned to 64 and has room for every component of `mask`
    // (`Features::find`).
    unsafe {
        asm!("xsave64 [{}]", in(reg) area.bytes.as_mut_ptr(), in("eax") low(mask), in("edx") 0,
            options(nostack, preserves_flags));
    }
}

fn xrstor(area: &ExtState, mask: u64) {
    // SAFETY: invariant 4. Compiled code keeps nothing in the registers that change: x87 and the
    // uppers are the guest's (invariant 1); MXCSR changes and is set back at once.
    unsafe {
        asm!(
            "xrstor64 [{area}]",
            "ldmxcsr [{mxcsr}]",
            area = in(reg) area.bytes.as_ptr(),
            mxcsr = in(reg) &raw const crate::block::HOST_MXCSR_WORD,
            in("eax") low(mask),
            in("edx") 0,
            options(nostack, preserves_flags, readonly)
        );
    }
}

fn fxsave(image: &mut Fxsave) {
    // SAFETY: 512 bytes, aligned to 16.
    unsafe {
        asm!("fxsave64 [{}]", in(reg) image.0.as_mut_ptr(), options(nostack, preserves_flags));
    }
}

/// MXCSR, of which the vcpu's block keeps a note for the entry stub.
fn stmxcsr() -> u32 {
    let mxcsr;
    // SAFETY: a fast call runs on a vcpu, whose GS points to its block (`block`, invariant 1).
    unsafe {
        asm!("stmxcsr gs:[{at}]", "mov {:e}, gs:[{at}]", out(reg) mxcsr,
            at = const core::mem::offset_of!(Block, mxcsr), options(nostack, preserves_flags));
    }
    mxcsr
}

fn fldcw(fcw: u16) {
    // SAFETY: called with an empty x87 without pending exceptions, so it cannot trap; compiled
    // code does not use the x87.
    unsafe {
        asm!("fldcw word ptr [{}]", in(reg) &raw const fcw,
            options(nostack, preserves_flags, readonly));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_comes_back_as_it_was_installed_but_for_reserved_mxcsr_bits() {
        assert!(init());
        let mut cx = UserCtx::default();
        let mut image = Fxsave(core::array::from_fn(|i| u8::try_from(i * 7 % 256).unwrap()));
        image.0[416..].fill(0);
        image.0[28..32].copy_from_slice(&features().mxcsr_mask.to_le_bytes());
        install(&mut cx, &image.0);
        let mxcsr = u32::from_le_bytes(core::array::from_fn(|i| image.0[24 + i]));
        image.0[24..28].copy_from_slice(&(mxcsr & features().mxcsr_mask).to_le_bytes());
        assert_eq!(super::image(&cx), image);
    }

    #[test]
    fn the_state_at_exec_needs_no_room() {
        assert!(init());
        let mut cx = UserCtx::default();
        load(&mut cx);
        assert!(cx.fpu.live);
        switch_out(&mut cx);
        assert!(cx.fpu.ext.is_none());
        assert_eq!(cx.fpu.fcw, FCW);
    }

    #[test]
    fn a_control_word_alone_needs_no_room_and_survives_another_lwp() {
        assert!(init());
        let mut cx = UserCtx::default();
        cx.fpu.fcw = 0x027f;
        load(&mut cx);
        switch_out(&mut cx);
        let mut other = UserCtx::default();
        load(&mut other);
        switch_out(&mut other);
        assert_eq!((cx.fpu.fcw, other.fpu.fcw), (0x027f, FCW));
        assert!(cx.fpu.ext.is_none());
    }

    #[test]
    fn uppers_can_be_taken_away_and_put_back() {
        assert!(init());
        if features().mask & AVX == 0 {
            return;
        }
        let mut cx = UserCtx::default();
        let mut area = new_area();
        area.bytes[features().at[2].clone()].fill(0x5a);
        set_header(&mut area, AVX);
        cx.fpu.ext = Some(area);
        load(&mut cx);
        let kept = uppers(&mut cx).expect("uppers are not zero");
        install(&mut cx, &image(&UserCtx::default()).0);
        load(&mut cx);
        assert_eq!(uppers(&mut cx).map(|_| ()), None);
        set_uppers(&mut cx, &kept);
        load(&mut cx);
        let again = uppers(&mut cx).expect("they are back");
        assert_eq!(again.bytes[features().at[2].clone()], [0x5a; 256]);
    }
}
