//! Waiting for children: flags, kinds of ids, and the status word.
//!
//! A status is made here and taken apart here, with NetBSD's signal numbers in it.
//!
//! Sources: wait(2), sys/wait.h, sys/idtype.h.

use crate::resource::Rusage;
use crate::signal::Signo;
use crate::table::numbers;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

numbers! {
    /// Options of wait4(2) and wait6(2).
    WAIT_FLAGS: u32 {
        /// Accepted, without effect.
        WALLSIG = 0x8 => 0x4000_0000,
        /// Accepted, without effect.
        WALTSIG = 0x4 => 0x8000_0000,
        WCONTINUED = 0x10 => 0x8,
        /// Implied by wait4(2).
        WEXITED = 0x20 => 0x4,
        WNOHANG = 0x1 => 0x1,
        WNOWAIT = 0x10000 => 0x100_0000,
        /// Kernel internal.
        WNOZOMBIE = 0x20000,
        /// Older headers have 0x7f.
        WSTOPPED = 0x2 => 0x2,
        /// Implied by wait4(2).
        WTRAPPED = 0x40,
        WUNTRACED = 0x2 => 0x2,
    }
}

bitflags::bitflags! {
    /// What a wait waits for. Unknown bits survive.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct WaitFlags: u32 {
        /// Do not wait.
        const NOHANG = WNOHANG;
        /// Children that stopped, too.
        const UNTRACED = WUNTRACED;
        /// Children with another exit signal.
        const ALTSIG = WALTSIG;
        /// Children with whatever exit signal.
        const ALLSIG = WALLSIG;
        /// Children that went on, too.
        const CONTINUED = WCONTINUED;
        /// Children that ended.
        const EXITED = WEXITED;
        /// Traced children that stopped.
        const TRAPPED = WTRAPPED;
        /// Leave the child as it is.
        const NOWAIT = WNOWAIT;
        /// The kernel's own.
        const NOZOMBIE = WNOZOMBIE;
        const _ = !0;
    }
}

numbers! {
    /// What an id of wait6(2) means.
    IDTYPES: i32 {
        P_ALL = 0 => 0,
        P_PID = 1 => 1,
        P_LWPID = 2,
        P_PPID = 3,
        P_PGID = 4 => 2,
        P_SID = 5,
        P_UID = 7,
        P_GID = 8,
    }
}

/// The flag of a core file in a status.
pub const WCOREFLAG: i32 = 0x80;
/// The low seven bits of the status of a stopped child.
pub const _WSTOPPED: i32 = 0x7f;
/// The status of a continued child.
pub const _WCONTINUED: i32 = 0xffff;

/// What became of a child: the meaning of a status word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitStatus {
    /// It exited with this code. Its low eight bits are seen by the parent.
    Exited(i32),
    /// A signal ended it.
    Killed {
        /// The signal.
        signo: Signo,
        /// Whether a core file was written.
        is_core: bool,
    },
    /// A signal stopped it.
    Stopped(Signo),
    /// It goes on.
    Continued,
}

impl WaitStatus {
    /// The status word.
    pub fn raw(self) -> i32 {
        match self {
            Self::Exited(code) => (code & 0xff) << 8,
            Self::Killed {
                signo,
                is_core: false,
            } => signo.raw(),
            Self::Killed {
                signo,
                is_core: true,
            } => signo.raw() | WCOREFLAG,
            Self::Stopped(signo) => signo.raw() << 8 | _WSTOPPED,
            Self::Continued => _WCONTINUED,
        }
    }

    /// The meaning of a status word of the host. `None` if NetBSD lacks the signal.
    pub fn from_linux(status: i32) -> Option<Self> {
        let second = status >> 8 & 0xff;
        match (status & 0xffff, status & 0x7f) {
            (0xffff, _) => Some(Self::Continued),
            (_, 0x7f) => Signo::from_linux(second).map(Self::Stopped),
            (_, 0) => Some(Self::Exited(second)),
            (_, signal) => {
                let is_core = status & WCOREFLAG != 0;
                Signo::from_linux(signal).map(|signo| Self::Killed { signo, is_core })
            }
        }
    }
}

/// `struct wrusage`: what wait6(2) tells.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Wrusage {
    /// Used by the child.
    pub wru_self: Rusage,
    /// Used by its children.
    pub wru_children: Rusage,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_netbsds() {
        assert_eq!(WaitStatus::Exited(-1).raw(), 0xff00);
        let bus = WaitStatus::Killed {
            signo: Signo::SIGBUS,
            is_core: true,
        };
        assert_eq!(bus.raw(), 0x8a);
        assert_eq!(WaitStatus::Stopped(Signo::SIGTSTP).raw(), 18 << 8 | 0x7f);
        assert_eq!(WaitStatus::Continued.raw(), 0xffff);
    }

    #[test]
    fn statuses_of_the_host_are_translated() {
        let bus = WaitStatus::Killed {
            signo: Signo::SIGBUS,
            is_core: true,
        };
        assert_eq!(WaitStatus::from_linux(0x87), Some(bus));
        assert_eq!(
            WaitStatus::from_linux(0x137f),
            Some(WaitStatus::Stopped(Signo::SIGSTOP))
        );
        assert_eq!(WaitStatus::from_linux(0x2a00), Some(WaitStatus::Exited(42)));
        assert_eq!(WaitStatus::from_linux(0xffff), Some(WaitStatus::Continued));
        assert_eq!(WaitStatus::from_linux(16), None);
    }
}
