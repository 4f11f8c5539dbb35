//! Syscall User Dispatch: the net under the guest's system calls.
//!
//! Responsible for telling Linux, thread by thread, that a `syscall` or `int $0x80` outside our own
//! addresses is not Linux's. Not for what happens then (`signals`).
//!
//! # Invariants
//! 1. A thread that enters user mode has called [`arm`] since it was created or forked: Linux
//!    switches dispatch off in every child. The failure would be silent, NetBSD's numbers reaching
//!    Linux, so `tests/sud.rs` has a canary for every way a thread can come to be.
//! 2. The allowed range is everything from the guest bound up, so our text, libc and the vDSO pass
//!    (static and dynamic builds alike), and nothing of the guest's does.
//!
//! Sources: Linux, `Documentation/admin-guide/syscall-user-dispatch.rst`; Linux 5.11 is the first.

use lwp_kernel::machine::GUEST_BOUND;

const PR_SET_SYSCALL_USER_DISPATCH: libc::c_int = 59;
const PR_SYS_DISPATCH_OFF: libc::c_ulong = 0;
const PR_SYS_DISPATCH_ON: libc::c_ulong = 1;

/// `si_code` of the SIGSYS that dispatch sends.
pub(crate) const SYS_USER_DISPATCH: i32 = 2;

/// End of user addresses with four-level page tables, which is as far as the host maps unasked.
pub(crate) const HOST_TOP: u64 = 0x7fff_ffff_f000;

/// Switches dispatch on for this thread; `false` when Linux does not know it.
pub(crate) fn arm() -> bool {
    prctl(PR_SYS_DISPATCH_ON, GUEST_BOUND, HOST_TOP - GUEST_BOUND)
}

/// Switches dispatch off for this thread.
pub(crate) fn disarm() {
    prctl(PR_SYS_DISPATCH_OFF, 0, 0);
}

fn prctl(mode: libc::c_ulong, from: u64, len: u64) -> bool {
    // SAFETY: no pointer is passed (the selector is null); dispatch concerns only `syscall`
    // instructions below the guest bound, where no host code lies (`layout`).
    0 == unsafe { libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, mode, from, len, 0_u64) }
}
