//! `posix_spawn(2)`: what the child shall do before it runs the program.
//!
//! Sources: `posix_spawn(2)`, sys/spawn.h.

use crate::sched::SchedParam;
use crate::signal::SigSet;
use crate::table::numbers;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

numbers! {
    /// Flags of [`SpawnAttr::sa_flags`].
    SPAWN_FLAGS: i16 {
        POSIX_SPAWN_RESETIDS = 0x1 => 0x1,
        POSIX_SPAWN_RETURNERROR = 0x40,
        POSIX_SPAWN_SETPGROUP = 0x2 => 0x2,
        POSIX_SPAWN_SETSCHEDPARAM = 0x4 => 0x10,
        POSIX_SPAWN_SETSCHEDULER = 0x8 => 0x20,
        POSIX_SPAWN_SETSIGDEF = 0x10 => 0x4,
        POSIX_SPAWN_SETSIGMASK = 0x20 => 0x8,
    }
}

/// `struct posix_spawnattr`.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SpawnAttr {
    /// Some of [`SPAWN_FLAGS`].
    pub sa_flags: i16,
    /// Padding.
    pub pad: [u8; 2],
    /// The process group.
    pub sa_pgroup: i32,
    /// The priority.
    pub sa_schedparam: SchedParam,
    /// The class.
    pub sa_schedpolicy: i32,
    /// Signals that go back to their defaults.
    pub sa_sigdefault: SigSet,
    /// The signal mask.
    pub sa_sigmask: SigSet,
}

/// `struct posix_spawn_file_actions`.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SpawnFileActions {
    /// How many there is room for.
    pub size: u32,
    /// How many there are.
    pub len: u32,
    /// Where they are.
    pub fae: u64,
}

numbers! {
    /// Values of [`SpawnFileAction::fae_action`].
    SPAWN_ACTIONS: i32 {
        FAE_OPEN = 0,
        FAE_DUP2 = 1,
        FAE_CLOSE = 2,
        FAE_CHDIR = 3,
        FAE_FCHDIR = 4,
    }
}

/// `struct posix_spawn_file_actions_entry`.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SpawnFileAction {
    /// One of [`SPAWN_ACTIONS`].
    pub fae_action: i32,
    /// The descriptor.
    pub fae_fildes: i32,
    /// Path, flags and mode to open; or a descriptor; or a path.
    pub fae_data: [u64; 2],
}
