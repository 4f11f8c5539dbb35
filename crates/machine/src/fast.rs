//! Fast calls: from the exit stub into the kernel and back, on the guest's FS.
//!
//! Responsible for what the kernel's [`FastCalls`] may rely on while there is no libc, and for the vcpu's block
//! to name the context that they leave. Not for what they do (`lwp_kernel::fast`), nor for the way back (`entry`).
//!
//! # Invariants
//! 1. Between the exit stub and its way back FS is the guest's, and MXCSR too: nothing reachable from
//!    [`lwp_fast_call`] uses thread-local storage, the allocator or floating point. `tests/fast_calls.rs`
//!    disassembles it. Debug builds check the order of locks in thread-local storage, so there the host's
//!    FS is put in place first.
//! 2. A panic here is a bug that ends the process, like a fault (`signals`): the panic's own bookkeeping is
//!    thread-local.

use crate::block::Block;
use crate::{fault, fpu};
use core::arch::asm;
use core::sync::atomic::Ordering;
use lwp_kernel::ctx::UserCtx;
use lwp_kernel::machine::{FastCalls, FastEnd, GUEST_BOUND};

/// The call is done: back to the guest.
const DONE: u64 = 0;
/// Nothing is done: leave.
pub(crate) const SLOW: u64 = 1;
/// Another context is to be entered.
pub(crate) const SWITCHED: u64 = 2;
/// There is no context any more: leave.
pub(crate) const PARKED: u64 = 3;
/// As `SWITCHED`, but the context cannot be entered: leave, as if kicked.
pub(crate) const STUCK: u64 = 4;
/// As `DONE`, but the guest cannot go on where it is: leave, as if kicked.
const DONE_AT_END: u64 = 5;

/// One call of `HostMachine::run`, on whose stack it lies.
pub(crate) struct Visit<'a> {
    pub(crate) block: &'a Block,
    pub(crate) cx: &'a mut Option<Box<UserCtx>>,
    pub(crate) calls: &'a mut dyn FastCalls,
}

/// Has the kernel make the system call in the visit's context, and says how to go on.
///
/// # Safety
/// Called by the exit stub alone, with what its vcpu's block names, which nobody else uses meanwhile.
pub(crate) unsafe extern "C" fn lwp_fast_call(visit: *mut Visit<'_>) -> u64 {
    // SAFETY: `run` made it and waits for the guest (`block`, invariant 2).
    let visit = unsafe { &mut *visit };
    if !cfg!(debug_assertions) {
        return call(visit);
    }
    if visit.block.fsgsbase.load(Ordering::Relaxed) == 0 {
        return SLOW;
    }
    let guest_fs = swap_fs(visit.block.host_fs.load(Ordering::Relaxed));
    let end = call(visit);
    swap_fs(guest_fs);
    end
}

fn call(visit: &mut Visit<'_>) -> u64 {
    let end = visit.calls.fast_call(visit.cx);
    let Some(cx) = visit.cx.as_deref_mut() else {
        return PARKED;
    };
    let block = visit.block;
    match end {
        FastEnd::Slow => SLOW,
        FastEnd::Parked => PARKED,
        // The instruction was the last one below the bound.
        FastEnd::Done if cx.regs.rip >= GUEST_BOUND => {
            cx.fpu.live = true;
            DONE_AT_END
        }
        FastEnd::Done => {
            // It may have been set aside in vain; its registers still hold all of it.
            cx.fpu.live = true;
            block.guest_rip.store(cx.regs.rip, Ordering::Relaxed);
            DONE
        }
        FastEnd::Switched => {
            block.cx.store(&raw mut *cx, Ordering::Relaxed);
            block.guest_rip.store(cx.regs.rip, Ordering::Relaxed);
            if fault::unenterable(&cx.regs).is_some() {
                return STUCK;
            }
            fpu::assume_live(cx);
            SWITCHED
        }
    }
}

/// Sets FS to `base` and returns what it was.
fn swap_fs(base: u64) -> u64 {
    let old: u64;
    // SAFETY: both are bases that have been in force on this thread, and the block says that the CPU and
    // Linux allow the instructions.
    unsafe {
        asm!("rdfsbase {}", "wrfsbase {}", out(reg) old, in(reg) base,
            options(nostack, preserves_flags));
    }
    old
}
