//! The per-vcpu block: what assembly and signal handlers of one vcpu thread find through `%gs:`.
//!
//! GS is free on both sides of the boundary: the guest has no use for it and the host's libc uses
//! FS. A thread adopted as a vcpu has its GS base pointing to its [`Block`]; on every other thread it
//! is zero, which is how a handler knows.
//!
//! # Invariants
//! 1. While a thread's GS base is non-zero it points to a live `Block` that only this thread was
//!    adopted with (`vcpu::Adopted` keeps both).
//! 2. `cx`, `host_rsp` and `visit`, if there is one, are valid from the first instruction of the entry stub to the last of the
//!    exit stub, and only there.
//! 3. `pending` is set before a kick's signal is sent, and cleared only by the vcpu itself, outside
//!    user mode.
//!
//! # Locks
//! None: every field is an atomic, or fixed when the block is made.

use crate::entry;
use core::ffi::c_void;
use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering,
};
use lwp_kernel::ctx::{Fault, FaultKind, UserCtx};

/// MXCSR as host code expects it: all exceptions masked, round to nearest.
pub(crate) const HOST_MXCSR: u32 = 0x1f80;

/// The same, for instructions that want it in memory.
pub(crate) static HOST_MXCSR_WORD: u32 = HOST_MXCSR;

/// No value that MXCSR can have.
pub(crate) const MXCSR_UNKNOWN: u32 = u32::MAX;

/// How many places that take the slow road are remembered per vcpu.
const SLOW_SITES: usize = 32;

/// What one vcpu's assembly and signal handlers share with its Rust code.
#[repr(C, align(64))]
pub(crate) struct Block {
    /// The context being run. Written by the entry stub.
    pub(crate) cx: AtomicPtr<UserCtx>,
    /// The host's stack while the guest runs. Written by the entry stub.
    pub(crate) host_rsp: AtomicU64,
    /// The host's FS base on this thread. Written by `arrive`.
    pub(crate) host_fs: AtomicU64,
    /// Where the entry stub's last jump goes.
    pub(crate) guest_rip: AtomicU64,
    /// The exit stub; trampolines jump through it.
    pub(crate) exit: u64,
    /// The visit whose fast calls the exit stub makes (`fast::Visit`), or none.
    pub(crate) visit: AtomicPtr<c_void>,
    /// System calls that came through a trampoline.
    pub(crate) fast: AtomicU64,
    /// Not zero: leave user mode, or do not enter it.
    pub(crate) pending: AtomicU32,
    /// The host thread to which a kick's signal is on its way, or 0: another would only queue up behind it.
    pub(crate) kicked: AtomicI32,
    /// What is in FS when the entry stub begins, and then what it has put there.
    pub(crate) fs: AtomicU64,
    /// What is in MXCSR when the entry stub begins: [`MXCSR_UNKNOWN`], since host code's own arithmetic may have
    /// left its flags there, or what `fpu::set_aside` has found.
    pub(crate) mxcsr: AtomicU32,
    /// [`HOST_MXCSR`], where `ldmxcsr` can reach it.
    pub(crate) host_mxcsr: u32,
    /// The host has `wrfsbase` and lets us use it.
    pub(crate) fsgsbase: AtomicU8,

    /// When a kick's signal was sent last, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) kicked_at: AtomicU64,
    /// The guest has arrived at the breakpoint (`patch`), and nobody has asked yet.
    pub(crate) hit: AtomicBool,
    /// System calls that came through Syscall User Dispatch.
    pub(crate) slow: AtomicU64,
    /// Signals that made this vcpu leave user mode or stay out of it.
    pub(crate) kicks: AtomicU64,
    /// When the armed tick is due, in nanoseconds of `CLOCK_MONOTONIC`; `u64::MAX` when none is.
    pub(crate) tick: AtomicU64,
    trap: TrapCell,
    sites: [SlowSite; SLOW_SITES],
}

/// The last fault, handed from the signal handler to `enter`.
struct TrapCell {
    kind: AtomicU8,
    addr: AtomicU64,
    trapno: AtomicU32,
    err: AtomicU32,
}

/// A `syscall` instruction that was not patched, and how often it ran.
struct SlowSite {
    addr: AtomicU64,
    count: AtomicU64,
}

impl Block {
    pub(crate) fn new() -> Self {
        Self {
            cx: AtomicPtr::new(core::ptr::null_mut()),
            host_rsp: AtomicU64::new(0),
            host_fs: AtomicU64::new(0),
            guest_rip: AtomicU64::new(0),
            exit: entry::exit_stub(),
            visit: AtomicPtr::new(core::ptr::null_mut()),
            fast: AtomicU64::new(0),
            pending: AtomicU32::new(0),
            kicked: AtomicI32::new(0),
            fs: AtomicU64::new(0),
            mxcsr: AtomicU32::new(MXCSR_UNKNOWN),
            host_mxcsr: HOST_MXCSR,
            fsgsbase: AtomicU8::new(0),
            kicked_at: AtomicU64::new(0),
            hit: AtomicBool::new(false),
            slow: AtomicU64::new(0),
            kicks: AtomicU64::new(0),
            tick: AtomicU64::new(u64::MAX),
            trap: TrapCell {
                kind: AtomicU8::new(0),
                addr: AtomicU64::new(0),
                trapno: AtomicU32::new(0),
                err: AtomicU32::new(0),
            },
            sites: [const {
                SlowSite {
                    addr: AtomicU64::new(0),
                    count: AtomicU64::new(0),
                }
            }; SLOW_SITES],
        }
    }

    /// Leaves a fault for `enter` to find. Called by the handler, on this vcpu's thread.
    pub(crate) fn put_fault(&self, fault: &Fault) {
        let kind = KINDS
            .iter()
            .position(|&kind| kind == fault.kind)
            .unwrap_or(0);
        self.trap
            .kind
            .store(u8::try_from(kind).unwrap_or(0), Ordering::Relaxed);
        self.trap.addr.store(fault.addr, Ordering::Relaxed);
        self.trap.trapno.store(fault.trapno, Ordering::Relaxed);
        self.trap.err.store(fault.err, Ordering::Relaxed);
    }

    /// The fault last left by [`Block::put_fault`].
    pub(crate) fn take_fault(&self) -> Fault {
        Fault {
            kind: KINDS[usize::from(self.trap.kind.load(Ordering::Relaxed)) % KINDS.len()],
            addr: self.trap.addr.load(Ordering::Relaxed),
            trapno: self.trap.trapno.load(Ordering::Relaxed),
            err: self.trap.err.load(Ordering::Relaxed),
        }
    }

    /// Counts a system call that came the slow road from `addr`. Called by the handler.
    pub(crate) fn count_slow(&self, addr: u64) {
        bump(&self.slow);
        for site in &self.sites {
            let known = site.addr.load(Ordering::Relaxed);
            if known == 0 {
                site.addr.store(addr, Ordering::Relaxed);
            }
            if known == 0 || known == addr {
                bump(&site.count);
                return;
            }
        }
    }

    /// The places counted by [`Block::count_slow`], in the order they were first seen.
    pub(crate) fn slow_sites(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.sites
            .iter()
            .map(|site| {
                (
                    site.addr.load(Ordering::Relaxed),
                    site.count.load(Ordering::Relaxed),
                )
            })
            .take_while(|&(addr, _)| addr != 0)
    }
}

/// Adds one to a counter that only this thread (and its handlers, masked meanwhile) writes.
pub(crate) fn bump(counter: &AtomicU64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(1),
        Ordering::Relaxed,
    );
}

/// Every kind of fault; its place here is its number in [`TrapCell`].
const KINDS: [FaultKind; 17] = [
    FaultKind::SegvMapErr,
    FaultKind::SegvAccErr,
    FaultKind::BusAdrAln,
    FaultKind::BusAdrErr,
    FaultKind::BusObjErr,
    FaultKind::FpeIntDiv,
    FaultKind::FpeIntOvf,
    FaultKind::FpeFltDiv,
    FaultKind::FpeFltOvf,
    FaultKind::FpeFltUnd,
    FaultKind::FpeFltRes,
    FaultKind::FpeFltInv,
    FaultKind::FpeFltSub,
    FaultKind::IllOpc,
    FaultKind::IllPrv,
    FaultKind::TrapBrkpt,
    FaultKind::TrapTrace,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_comes_out_as_it_went_in() {
        let block = Block::new();
        for kind in KINDS {
            let fault = Fault {
                kind,
                addr: u64::MAX,
                trapno: 14,
                err: 7,
            };
            block.put_fault(&fault);
            assert_eq!(block.take_fault(), fault);
        }
    }

    #[test]
    fn slow_sites_are_counted_apart_and_never_overflow_the_table() {
        let block = Block::new();
        for round in 0..2 {
            for addr in 1..=100 {
                block.count_slow(addr);
            }
            assert_eq!(block.slow_sites().count(), SLOW_SITES);
            assert!(block.slow_sites().all(|(_, count)| count == round + 1));
        }
        assert_eq!(block.slow.load(Ordering::Relaxed), 200);
    }
}
