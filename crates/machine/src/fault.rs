//! What an exception was, from what Linux tells of it.
//!
//! Sources: AMD64 APM vol. 2, table 8-1 (vectors); Linux, `arch/x86/kernel/traps.c`.

use libc::c_int;
use lwp_kernel::ctx::{Fault, FaultKind, Regs};
use lwp_kernel::machine::GUEST_BOUND;

// Linux's signal codes (`asm-generic/siginfo.h`), which the libc crate lacks in part.
const ILL_PRVOPC: c_int = 5;
const BUS_ADRALN: c_int = 1;
const BUS_ADRERR: c_int = 2;
const SEGV_MAPERR: c_int = 1;

/// The kind of an exception: Linux's signal and code, and the CPU's vector where they do not say.
pub(crate) fn kind(signo: c_int, code: c_int, trapno: u32) -> FaultKind {
    match (signo, trapno) {
        (libc::SIGTRAP, 3) => FaultKind::TrapBrkpt,
        (libc::SIGTRAP, _) => FaultKind::TrapTrace,
        (libc::SIGILL, _) if code == ILL_PRVOPC => FaultKind::IllPrv,
        (libc::SIGILL, _) => FaultKind::IllOpc,
        (libc::SIGFPE, _) => float(code),
        (libc::SIGBUS, _) => match code {
            BUS_ADRALN => FaultKind::BusAdrAln,
            BUS_ADRERR => FaultKind::BusAdrErr,
            _ => FaultKind::BusObjErr,
        },
        _ if code == SEGV_MAPERR => FaultKind::SegvMapErr,
        _ => FaultKind::SegvAccErr,
    }
}

/// The codes of SIGFPE, which Linux numbers as NetBSD does (`asm-generic/siginfo.h`).
fn float(code: c_int) -> FaultKind {
    match code {
        1 => FaultKind::FpeIntDiv,
        2 => FaultKind::FpeIntOvf,
        3 => FaultKind::FpeFltDiv,
        4 => FaultKind::FpeFltOvf,
        5 => FaultKind::FpeFltUnd,
        6 => FaultKind::FpeFltRes,
        8 => FaultKind::FpeFltSub,
        _ => FaultKind::FpeFltInv,
    }
}

/// The fault of registers that cannot be entered with, which the CPU would only find half way: an
/// RIP that is not the guest's, or an FS base that `wrfsbase` refuses.
pub(crate) fn unenterable(regs: &Regs) -> Option<Fault> {
    const CANONICAL: u64 = 1 << 47;
    if regs.rip < GUEST_BOUND && regs.fs_base < CANONICAL {
        return None;
    }
    Some(if regs.rip < CANONICAL && regs.fs_base < CANONICAL {
        // Nothing of the guest's is mapped there: a page fault of an instruction fetch.
        Fault {
            kind: FaultKind::SegvMapErr,
            addr: regs.rip,
            trapno: 14,
            err: 0x14,
        }
    } else {
        Fault {
            kind: FaultKind::SegvAccErr,
            addr: 0,
            trapno: 13,
            err: 0,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_of_the_hosts_are_refused_and_the_guests_are_not() {
        let at = |rip, fs_base| {
            unenterable(&Regs {
                rip,
                fs_base,
                ..Regs::default()
            })
        };
        assert_eq!(at(0, 0), None);
        assert_eq!(at(GUEST_BOUND - 1, (1 << 47) - 1), None);
        assert_eq!(at(GUEST_BOUND, 0).map(|fault| fault.trapno), Some(14));
        assert_eq!(at(u64::MAX, 0).map(|fault| fault.trapno), Some(13));
        assert_eq!(at(0, 1 << 47).map(|fault| fault.trapno), Some(13));
    }

    #[test]
    fn every_combination_has_a_kind() {
        for signo in [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGFPE,
            libc::SIGILL,
            libc::SIGTRAP,
        ] {
            for code in -1..200 {
                for trapno in 0..40 {
                    let _ = kind(signo, code, trapno);
                }
            }
        }
        assert_eq!(kind(libc::SIGTRAP, 128, 3), FaultKind::TrapBrkpt);
        assert_eq!(kind(libc::SIGFPE, 1, 0), FaultKind::FpeIntDiv);
    }
}
