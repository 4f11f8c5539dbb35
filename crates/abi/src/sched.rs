//! Scheduling classes and priorities.
//!
//! Sources: `_sched_setparam(2)`, sched(3), sys/sched.h.

use crate::table::numbers;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

numbers! {
    /// Classes, and the range of their priorities.
    SCHED_POLICIES: i32 {
        SCHED_FIFO = 1 => 1,
        SCHED_NONE = -1,
        SCHED_OTHER = 0 => 0,
        SCHED_PRI_MAX = 63,
        SCHED_PRI_MIN = 0,
        SCHED_RR = 2 => 2,
    }
}

/// The priority at which an LWP of class `SCHED_OTHER` with a nice value of 0 runs, as ps(1) and
/// `_sched_getparam(2)` show it.
pub const USER_PRIORITY: i32 = 43;

/// `struct sched_param`.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SchedParam {
    /// The priority.
    pub sched_priority: i32,
}
