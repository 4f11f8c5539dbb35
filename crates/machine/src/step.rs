//! One instruction of the guest at a time, and the way over the breakpoint.
//!
//! Responsible for the trap flag while it is ours: the guest sees it nowhere. Not for where the breakpoint may be
//! (`patch`), nor for the trap itself (`signals`).
//!
//! | instruction | with our trap flag |
//! |---|---|
//! | a patched system call's | the jump is none of the guest's; the moved instruction is one, and the `syscall` behind it another, which traps (`sud`) |
//! | `syscall` | leaves the flag in R11: taken out |
//! | `pushf` | stores the flag: taken out |
//! | `popf`, `iret` | the flag found afterwards is the guest's |
//! | `int1` | raises what a step ends with: it is the guest's |
//! | `rep ...` | stops after each round |
//! | `mov ss` | stops after the next instruction |
//!
//! Sources: AMD64 APM vol. 2, 13.1.4 (single stepping), vol. 3 for the instructions.

use crate::block::Block;
use crate::{guest_asm, patch, size};
use core::sync::atomic::Ordering;
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic};
use lwp_kernel::ctx::{FaultKind, Trap, UserCtx};
use lwp_kernel::machine::GUEST_BOUND;

/// The trap flag, and the one that is set between the rounds of a `rep` instruction.
const TF: u64 = 1 << 8;
const RF: u64 = 1 << 16;
const PAGE: u64 = 4096;
/// The longest instruction.
const LONGEST: u64 = 15;

/// Runs one instruction of the guest in `cx` by `enter`; `None` if that is all that has happened.
pub(crate) fn step(
    block: &Block,
    cx: &mut UserCtx,
    enter: impl FnOnce(&mut UserCtx) -> Trap,
) -> Option<Trap> {
    let begun_at = cx.regs.rip;
    let trap = if patch::is_breakpoint(begun_at) {
        patch::lock().without_breakpoint(|| bare_step(cx, enter))
    } else {
        bare_step(cx, enter)
    };
    if trap.is_none() && patch::is_breakpoint(cx.regs.rip) {
        block.hit.store(true, Ordering::Relaxed);
        return Some(Trap::Preempted);
    }
    trap
}

/// As [`step`], with no breakpoint at the instruction.
fn bare_step(cx: &mut UserCtx, enter: impl FnOnce(&mut UserCtx) -> Trap) -> Option<Trap> {
    if cx.regs.rflags & TF != 0 {
        // The guest steps itself.
        return Some(enter(cx));
    }
    let mnemonic = instruction_at(cx.regs.rip).map_or(Mnemonic::INVALID, |it| it.mnemonic());
    cx.regs.rflags |= TF;
    let trap = enter(cx);
    let is_traced = matches!(&trap, Trap::Fault(fault) if fault.kind == FaultKind::TrapTrace);
    let has_loaded = is_traced && loads_flags(mnemonic);
    if !has_loaded {
        cx.regs.rflags &= !TF;
    }
    if trap == Trap::Syscall && mnemonic == Mnemonic::Syscall {
        cx.regs.r11 &= !TF;
    }
    if !is_traced || mnemonic == Mnemonic::Int1 {
        return Some(trap);
    }
    cx.regs.rflags &= !RF;
    if matches!(mnemonic, Mnemonic::Pushf | Mnemonic::Pushfq) {
        hide_trap_flag(cx.regs.rsp);
    }
    None
}

fn loads_flags(mnemonic: Mnemonic) -> bool {
    use Mnemonic::{Iret, Iretd, Iretq, Popf, Popfq};
    matches!(mnemonic, Popf | Popfq | Iret | Iretd | Iretq)
}

/// Takes the trap flag out of the flags on the guest's stack.
fn hide_trap_flag(flags: u64) {
    let at = flags + 1;
    let mut byte = [0];
    if at >= GUEST_BOUND {
        return;
    }
    // SAFETY: just checked.
    if unsafe { guest_asm::read(at, &mut byte) }.is_ok() {
        byte[0] &= !1;
        // It cannot fail: the guest has just written there.
        // SAFETY: as above.
        let _ = unsafe { guest_asm::write(&byte, at) };
    }
}

/// The instruction of the guest's at `rip`, if it can be read.
pub(crate) fn instruction_at(rip: u64) -> Option<Instruction> {
    let end = (rip + LONGEST).min(GUEST_BOUND);
    let page_end = (rip / PAGE + 1) * PAGE;
    let mut buffer = [0; 15];
    // The next page need not be there.
    for end in [end, page_end.min(end)] {
        let bytes = &mut buffer[..size(end.checked_sub(rip)?)];
        // SAFETY: ends below the guest bound.
        if unsafe { guest_asm::read(rip, bytes) }.is_ok() {
            return Some(Decoder::with_ip(64, bytes, rip, DecoderOptions::NONE).decode());
        }
    }
    None
}

/// Whether an instruction stops between rounds.
pub(crate) fn is_repeated(instruction: &Instruction) -> bool {
    instruction.is_string_instruction()
        && (instruction.has_rep_prefix() || instruction.has_repne_prefix())
}

/// Whether an instruction reads the time-stamp counter.
pub(crate) fn reads_counter(instruction: &Instruction) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Rdtsc | Mnemonic::Rdtscp)
}
