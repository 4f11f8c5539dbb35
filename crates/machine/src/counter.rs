//! The CPU's time-stamp counter, kept from the guest.
//!
//! Once [`trap`] was called on a thread, Linux lets none of its code read the counter: `rdtsc` and `rdtscp` raise a
//! SIGSEGV. The guest's come back as a fault of the instruction; the host's own (the vDSO's clocks, `clock`) are
//! made by the handler.
//!
//! # Invariants
//! 1. The setting is the thread's. Linux passes it on to new threads, to fork children and through execve(2), so what
//!    is executed instead of the runner gets [`allow`]; a new image of the runner's sets it again if it wants to.
//! 2. [`emulate`] runs in handlers, on every thread, with all signals blocked.
//!
//! Sources: prctl(2), `PR_SET_TSC`; AMD64 APM vol. 3, rdtsc and rdtscp.

use crate::signals::{Frame, PROTECTION};
use crate::size;
use core::arch::x86_64::{__rdtscp, _rdtsc};
use lwp_kernel::machine::GUEST_BOUND;

/// Keeps the counter from this thread's code.
pub(crate) fn trap() {
    set(libc::PR_TSC_SIGSEGV);
}

/// Lets this thread's code read the counter again. Returns whether it could not.
pub(crate) fn allow() -> bool {
    let mut state = 0;
    // SAFETY: writes one integer.
    unsafe { libc::prctl(libc::PR_GET_TSC, &raw mut state) };
    let was_trapping = state == libc::PR_TSC_SIGSEGV;
    if was_trapping {
        set(libc::PR_TSC_ENABLE);
    }
    was_trapping
}

fn set(state: libc::c_int) {
    // SAFETY: passes no pointer. Host code that reads the counter is helped by `emulate`.
    unsafe { libc::prctl(libc::PR_SET_TSC, state) };
}

/// Reads the counter for host code that was about to, and makes it go on behind that. `false` if the frame shows
/// something else.
pub(crate) fn emulate(frame: &mut Frame<'_>) -> bool {
    let rip = frame.rip();
    if frame.get(libc::REG_TRAPNO) != PROTECTION || rip < GUEST_BOUND {
        return false;
    }
    let byte = |at: u64| {
        let at = core::ptr::with_exposed_provenance::<u8>(size(rip + at));
        // SAFETY: a part of the instruction that has just been fetched to be run: no more is read of it than
        // what was read before says is there.
        unsafe { at.read() }
    };
    if byte(0) != 0x0f {
        return false;
    }
    let (len, with_cpu) = match byte(1) {
        0x31 => (2, false),
        0x01 if byte(2) == 0xf9 => (3, true),
        _ => return false,
    };
    if !allow() {
        return false;
    }
    let mut cpu = 0;
    let count = if with_cpu {
        // SAFETY: the code that is helped runs on a CPU that has it, or it would be another exception.
        unsafe { __rdtscp(&raw mut cpu) }
    } else {
        // SAFETY: every CPU has it, and Linux lets it be used (just above).
        unsafe { _rdtsc() }
    };
    trap();
    frame.set(libc::REG_RAX, count & 0xffff_ffff);
    frame.set(libc::REG_RDX, count >> 32);
    if with_cpu {
        frame.set(libc::REG_RCX, cpu.into());
    }
    frame.set(libc::REG_RIP, rip + len);
    true
}
