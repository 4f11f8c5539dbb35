//! Limits on resources, and the account of them.
//!
//! Sources: getrlimit(2), getrusage(2), getpriority(2), sys/resource.h.

use crate::table::numbers;
use crate::time::Timeval;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

numbers! {
    /// Resources.
    RLIMITS: i32 {
        RLIMIT_AS = 10 => 9,
        RLIMIT_CORE = 4 => 4,
        RLIMIT_CPU = 0 => 0,
        RLIMIT_DATA = 2 => 2,
        RLIMIT_FSIZE = 1 => 1,
        RLIMIT_MEMLOCK = 6 => 8,
        RLIMIT_NOFILE = 8 => 7,
        /// Counts processes; the twin counts threads.
        RLIMIT_NPROC = 7 => 6,
        /// LWPs per user; no Linux limit.
        RLIMIT_NTHR = 11,
        RLIMIT_RSS = 5 => 5,
        /// Socket buffer memory; no Linux limit.
        RLIMIT_SBSIZE = 9,
        RLIMIT_STACK = 3 => 3,
        RLIMIT_VMEM = 10,
    }
}

/// How many resources there are.
pub const RLIM_NLIMITS: usize = 12;

numbers! {
    /// Special limits.
    RLIM_VALUES: u64 {
        /// Infinity is the largest signed number; on Linux all bits are set.
        RLIM_INFINITY = 0x7fff_ffff_ffff_ffff => -1,
        RLIM_SAVED_CUR = 0x7fff_ffff_ffff_ffff => -1,
        RLIM_SAVED_MAX = 0x7fff_ffff_ffff_ffff => -1,
    }
}

/// `struct rlimit`.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Rlimit {
    /// The limit in force; [`RLIM_INFINITY`] for none.
    pub rlim_cur: u64,
    /// How far the process may raise it.
    pub rlim_max: u64,
}

numbers! {
    /// Whose use getrusage(2) tells of.
    RUSAGE_WHO: i32 {
        RUSAGE_CHILDREN = -1 => -1,
        RUSAGE_SELF = 0 => 0,
    }
}

/// `struct rusage`: what was used.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Rusage {
    /// Time in user mode.
    pub ru_utime: Timeval,
    /// Time in the kernel.
    pub ru_stime: Timeval,
    /// The most memory, in KiB.
    pub ru_maxrss: i64,
    /// Shared memory over time.
    pub ru_ixrss: i64,
    /// Unshared data over time.
    pub ru_idrss: i64,
    /// Unshared stack over time.
    pub ru_isrss: i64,
    /// Page faults without input.
    pub ru_minflt: i64,
    /// Page faults with input.
    pub ru_majflt: i64,
    /// Swaps.
    pub ru_nswap: i64,
    /// Blocks read.
    pub ru_inblock: i64,
    /// Blocks written.
    pub ru_oublock: i64,
    /// Messages sent.
    pub ru_msgsnd: i64,
    /// Messages received.
    pub ru_msgrcv: i64,
    /// Signals received.
    pub ru_nsignals: i64,
    /// Context switches by waiting.
    pub ru_nvcsw: i64,
    /// Context switches by force.
    pub ru_nivcsw: i64,
}

numbers! {
    /// Whom setpriority(2) means, and the range.
    PRIORITIES: i32 {
        PRIO_MAX = 20 => 20,
        PRIO_MIN = -20 => -20,
        PRIO_PGRP = 1 => 1,
        PRIO_PROCESS = 0 => 0,
        PRIO_USER = 2 => 2,
    }
}
