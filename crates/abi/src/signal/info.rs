//! What comes with a signal: `siginfo_t`.
//!
//! `si_code` comes before `si_errno`, unlike on Linux. What follows the first 16 bytes depends on
//! the signal and the code; [`Siginfo`] keeps it as words, and a constructor and accessors for each
//! form put the fields where NetBSD has them.

use super::Signo;
use crate::lwp::{LwpId, Pid};
use crate::table::numbers;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// How much of a [`Siginfo`] means something; `sigtimedwait(2)` writes no more.
pub const KSIGINFO_SIZE: usize = 96;

/// `siginfo_t`.
#[derive(Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Siginfo {
    /// The signal number.
    pub si_signo: i32,
    /// Where it comes from: one of [`SI_CODES`].
    pub si_code: i32,
    /// The error number that goes with it; normally 0.
    pub si_errno: i32,
    /// Padding.
    _pad: u32,
    /// The union, as words: two 32-bit fields share one, the first in the low half.
    reason: [u64; 10],
    /// What the C type has beyond its meaning.
    _tail: [u64; 4],
}

impl Siginfo {
    /// A signal about which nothing more is known.
    pub fn new(signo: Signo, code: i32) -> Self {
        Self {
            si_signo: signo.raw(),
            si_code: code,
            ..Self::default()
        }
    }

    /// A signal from kill(2): who sent it.
    pub fn user(signo: Signo, pid: Pid, uid: u32) -> Self {
        Self::rt(signo, SI_USER, pid, uid, 0)
    }

    /// A signal from `_lwp_kill(2)`.
    pub fn lwp(signo: Signo, pid: Pid, uid: u32) -> Self {
        Self::rt(signo, SI_LWP, pid, uid, 0)
    }

    /// A signal with a value, from sigqueue(2) or the like.
    pub fn rt(signo: Signo, code: i32, pid: Pid, uid: u32, value: u64) -> Self {
        Self::new(signo, code)
            .with(0, pair(pid.raw(), uid))
            .with(1, value)
    }

    /// A signal from a timer that has run out.
    pub fn timer(signo: Signo, value: u64) -> Self {
        Self::rt(signo, SI_TIMER, Pid::default(), 0, value)
    }

    /// A trap: the address that could not be used, and the trap number.
    pub fn fault(signo: Signo, code: i32, addr: u64, trap: i32) -> Self {
        Self::new(signo, code).with(0, addr).with(1, pair(trap, 0))
    }

    /// A child that changed state; times in hundredths of a second.
    pub fn child(code: i32, pid: Pid, uid: u32, status: i32, utime: u32, stime: u32) -> Self {
        Self::new(Signo::SIGCHLD, code)
            .with(0, pair(pid.raw(), uid))
            .with(1, pair(status, utime))
            .with(2, u64::from(stime))
    }

    /// A descriptor that is ready.
    pub fn poll(code: i32, band: i64, fd: i32) -> Self {
        Self::new(Signo::SIGIO, code)
            .with(0, band.cast_unsigned())
            .with(1, pair(fd, 0))
    }

    /// A bad system call: `SIGSYS` for a number that does not exist.
    pub fn syscall(code: i32, number: i32) -> Self {
        Self::new(Signo::SIGSYS, code).with(0, pair(number, 0))
    }

    /// An event of a traced process: what happened, and to which LWP or process.
    pub fn ptrace_state(code: i32, event: i32, other: LwpId) -> Self {
        Self::new(Signo::SIGTRAP, code).with(0, pair(event, other.raw().cast_unsigned()))
    }

    /// The signal, if the number is one.
    pub fn signo(&self) -> Option<Signo> {
        Signo::new(self.si_signo)
    }

    /// Who sent it, or which child it tells of.
    pub fn pid(&self) -> Pid {
        Pid::new(low(self.reason[0]))
    }

    /// Changes [`Siginfo::pid`].
    pub fn set_pid(&mut self, pid: Pid) {
        self.reason[0] = pair(pid.raw(), self.uid());
    }

    /// The real user id of the sender or child.
    pub fn uid(&self) -> u32 {
        high(self.reason[0])
    }

    /// The value that was sent along.
    pub fn value(&self) -> u64 {
        self.reason[1]
    }

    /// The exit status or signal of the child.
    pub fn status(&self) -> i32 {
        low(self.reason[1])
    }

    /// The address of a fault.
    pub fn addr(&self) -> u64 {
        self.reason[0]
    }

    /// The trap number of a fault.
    pub fn trap(&self) -> i32 {
        low(self.reason[1])
    }

    fn with(mut self, word: usize, value: u64) -> Self {
        self.reason[word] = value;
        self
    }
}

impl core::fmt::Debug for Siginfo {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Siginfo")
            .field("signo", &self.si_signo)
            .field("code", &self.si_code)
            .field("reason", &&self.reason[..3])
            .finish_non_exhaustive()
    }
}

/// Two neighbouring 32-bit fields.
fn pair(first: i32, second: u32) -> u64 {
    u64::from(first.cast_unsigned()) | u64::from(second) << 32
}

/// The first of two neighbouring fields.
fn low(word: u64) -> i32 {
    word_half(word & 0xffff_ffff).cast_signed()
}

/// The second of two neighbouring fields.
fn high(word: u64) -> u32 {
    word_half(word >> 32)
}

fn word_half(half: u64) -> u32 {
    u32::try_from(half).expect("a half of a 64-bit word has 32 bits")
}

numbers! {
    /// Values of `si_code`. Those of different signals share numbers.
    SI_CODES: i32 {
        BUS_ADRALN = 1 => 1,
        BUS_ADRERR = 2 => 2,
        BUS_OBJERR = 3 => 3,
        CLD_CONTINUED = 6 => 6,
        CLD_DUMPED = 3 => 3,
        CLD_EXITED = 1 => 1,
        CLD_KILLED = 2 => 2,
        CLD_STOPPED = 5 => 5,
        CLD_TRAPPED = 4 => 4,
        FPE_FLTDIV = 3 => 3,
        FPE_FLTINV = 7 => 7,
        FPE_FLTOVF = 4 => 4,
        FPE_FLTRES = 6 => 6,
        FPE_FLTSUB = 8 => 8,
        FPE_FLTUND = 5 => 5,
        FPE_INTDIV = 1 => 1,
        FPE_INTOVF = 2 => 2,
        ILL_BADSTK = 8 => 8,
        ILL_COPROC = 7 => 7,
        ILL_ILLADR = 3 => 3,
        ILL_ILLOPC = 1 => 1,
        ILL_ILLOPN = 2 => 2,
        ILL_ILLTRP = 4 => 4,
        ILL_PRVOPC = 5 => 5,
        ILL_PRVREG = 6 => 6,
        POLL_ERR = 4 => 4,
        POLL_HUP = 6 => 6,
        POLL_IN = 1 => 1,
        POLL_MSG = 3 => 3,
        POLL_OUT = 2 => 2,
        POLL_PRI = 5 => 5,
        SEGV_ACCERR = 2 => 2,
        SEGV_MAPERR = 1 => 1,
        /// Swapped with Linux `SI_MESGQ`.
        SI_ASYNCIO = -3 => -4,
        /// From `_lwp_kill(2)`.
        SI_LWP = -5 => -6,
        /// Swapped with Linux `SI_ASYNCIO`.
        SI_MESGQ = -4 => -3,
        /// The kernel knew no more.
        SI_NOINFO = 32767,
        SI_QUEUE = -1 => -1,
        SI_TIMER = -2 => -2,
        SI_USER = 0 => 0,
        TRAP_BRKPT = 1 => 1,
        TRAP_CHLD = 4,
        TRAP_DBREG = 6,
        TRAP_EXEC = 3,
        TRAP_LWP = 5,
        TRAP_SCE = 7,
        TRAP_SCX = 8,
        TRAP_TRACE = 2 => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    fn field(info: &Siginfo, at: usize) -> i32 {
        i32::from_le_bytes(info.as_bytes()[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn a_childs_fields_lie_where_netbsd_has_them() {
        let info = Siginfo::child(CLD_EXITED, Pid::new(-2), 3, -4, 5, 6);
        let at = |at| field(&info, at);
        assert_eq!((at(0), at(4), at(8)), (20, 1, 0));
        assert_eq!((at(16), at(20), at(24), at(28), at(32)), (-2, 3, -4, 5, 6));
        assert_eq!(
            (info.pid(), info.uid(), info.status()),
            (Pid::new(-2), 3, -4)
        );
    }

    #[test]
    fn a_value_lies_at_24_and_a_fault_address_at_16() {
        let rt = Siginfo::rt(Signo::SIGRTMIN, SI_QUEUE, Pid::new(1), 2, 0x1_0000_0007);
        assert_eq!(
            (
                field(&rt, 16),
                field(&rt, 20),
                field(&rt, 24),
                field(&rt, 28)
            ),
            (1, 2, 7, 1)
        );
        let fault = Siginfo::fault(Signo::SIGSEGV, SEGV_MAPERR, 0x9, 6);
        assert_eq!((field(&fault, 16), field(&fault, 24)), (9, 6));
        assert_eq!((fault.addr(), fault.trap()), (9, 6));
    }
}
