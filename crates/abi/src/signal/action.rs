//! Dispositions and alternate stacks: the records, and their flags.

use super::SigSet;
use crate::table::numbers;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The handler value that asks for the default action.
pub const SIG_DFL: u64 = 0;
/// The handler value that asks for nothing to happen.
pub const SIG_IGN: u64 = 1;
/// What signal(3) returns on failure.
pub const SIG_ERR: u64 = u64::MAX;
/// What sigset(3) takes to block a signal. The kernel knows no such handler.
pub const SIG_HOLD: u64 = 3;

numbers! {
    /// Flags of `sigaction(2)` in a program's hands.
    SA_FLAGS: u32 {
        SA_NOCLDSTOP = 0x8 => 0x1,
        SA_NOCLDWAIT = 0x20 => 0x2,
        SA_NODEFER = 0x10 => 0x4000_0000,
        SA_NOKERNINFO = 0x80,
        SA_ONSTACK = 0x1 => 0x800_0000,
        SA_RESETHAND = 0x4 => 0x8000_0000,
        SA_RESTART = 0x2 => 0x1000_0000,
        SA_SIGINFO = 0x40 => 0x4,
    }
}

bitflags::bitflags! {
    /// Flags of [`Sigaction`]. Unknown bits survive, so that the kernel can refuse them.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct SaFlags: u32 {
        /// The handler runs on the alternate stack.
        const ONSTACK = SA_ONSTACK;
        /// Interrupted calls restart.
        const RESTART = SA_RESTART;
        /// The disposition goes back to the default when the handler is entered.
        const RESETHAND = SA_RESETHAND;
        /// No `SIGCHLD` when children stop.
        const NOCLDSTOP = SA_NOCLDSTOP;
        /// The signal is not blocked while its handler runs.
        const NODEFER = SA_NODEFER;
        /// Children leave no zombies.
        const NOCLDWAIT = SA_NOCLDWAIT;
        /// The handler takes three arguments. On NetBSD it always gets them.
        const SIGINFO = SA_SIGINFO;
        /// No status line from the terminal.
        const NOKERNINFO = SA_NOKERNINFO;
        const _ = !0;
    }
}

impl SaFlags {
    /// The bits that the kernel accepts (`SA_ALLBITS`).
    pub const KNOWN: Self = Self::from_bits_retain(0xff);
}

/// `struct sigaction`: what to do on a signal.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Sigaction {
    /// Address of the handler, or [`SIG_DFL`] or [`SIG_IGN`].
    pub sa_handler: u64,
    /// Signals blocked while the handler runs.
    pub sa_mask: SigSet,
    /// See [`SaFlags`].
    pub sa_flags: u32,
    /// Padding.
    pub pad: u32,
}

impl Sigaction {
    /// The flags, with unknown bits.
    pub fn flags(&self) -> SaFlags {
        SaFlags::from_bits_retain(self.sa_flags)
    }
}

/// `stack_t`: the alternate signal stack.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct StackT {
    /// The lowest address.
    pub ss_sp: u64,
    /// The size, in bytes.
    pub ss_size: u64,
    /// [`SS_ONSTACK`](super::SS_ONSTACK), [`SS_DISABLE`](super::SS_DISABLE).
    pub ss_flags: i32,
    /// Padding.
    pub pad: u32,
}

impl StackT {
    /// What an LWP starts with: no alternate stack.
    pub const DISABLED: Self = Self {
        ss_sp: 0,
        ss_size: 0,
        ss_flags: super::SS_DISABLE,
        pad: 0,
    };
}

numbers! {
    /// How a timer or a queue tells of an event.
    SIGEV: i32 {
        /// Values 0 and 1 are exchanged with Linux.
        SIGEV_NONE = 0 => 1,
        SIGEV_SA = 3,
        /// Values 0 and 1 are exchanged with Linux.
        SIGEV_SIGNAL = 1 => 0,
        SIGEV_THREAD = 2 => 2,
    }
}

/// `struct sigevent`: whom to tell of an event, and how.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Sigevent {
    /// One of [`SIGEV`].
    pub sigev_notify: i32,
    /// The signal to send.
    pub sigev_signo: i32,
    /// The value to send along.
    pub sigev_value: u64,
    /// The function to run in a new thread; the C library's business.
    pub sigev_notify_function: u64,
    /// The attributes of that thread.
    pub sigev_notify_attributes: u64,
}
