//! LWPs as a program sees them: ids, creation flags, the shared control block, sysctl records.
//!
//! Sources: `_lwp_create(2)`, `_lwp_ctl(2)`, sys/lwp.h, sys/lwpctl.h, sys/sysctl.h.

use crate::table::numbers;
use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The number by which a guest names an LWP of its own process (`lwpid_t`); it may name nobody.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(transparent)]
pub struct LwpId(i32);

impl LwpId {
    /// Takes a number from the guest.
    pub const fn new(lid: i32) -> Self {
        Self(lid)
    }

    /// The number.
    pub const fn raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for LwpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number by which a guest names a process (`pid_t`); it may name nobody, a group, or all.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(transparent)]
pub struct Pid(i32);

impl Pid {
    /// Takes a number from the guest or the host: they are the same.
    pub const fn new(pid: i32) -> Self {
        Self(pid)
    }

    /// The number.
    pub const fn raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

numbers! {
    /// Flags of `_lwp_create(2)`.
    LWP_FLAGS: u64 {
        LWP_DETACHED = 0x40,
        LWP_SUSPENDED = 0x80,
        LWP_VFORK = 0x8000_0000,
    }
}

numbers! {
    /// Features of `_lwp_ctl(2)`, and the special values of [`Lwpctl::lc_curcpu`].
    LWPCTL: i32 {
        LWPCTL_CPU_EXITED = -2,
        LWPCTL_CPU_NONE = -1,
        LWPCTL_FEATURE_CURCPU = 0x1,
        LWPCTL_FEATURE_PCTR = 0x2,
    }
}

/// How many targets `_lwp_unpark_all(2)` takes at once.
pub const LWP_UNPARK_MAX: usize = 1024;

/// The longest name of an LWP or command, with its terminating NUL.
pub const MAXCOMLEN: usize = 16;

/// `struct lwpctl`: what the kernel tells an LWP through shared memory.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Lwpctl {
    /// The CPU it is on, or one of [`LWPCTL_CPU_NONE`], [`LWPCTL_CPU_EXITED`].
    pub lc_curcpu: i32,
    /// How often it was switched onto a CPU.
    pub lc_pctr: i32,
}

/// `l_stat`: the state of an LWP. The values are visible through sysctl(7).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(i8)]
pub enum LwpState {
    /// Being built, or reaped: no id lookup finds it.
    Idl = 1,
    /// Runnable, on a run queue.
    Run = 2,
    /// Asleep in the kernel.
    Sleep = 3,
    /// Stopped, by job control or a debugger.
    Stop = 4,
    /// Exited, and waiting to be reaped.
    Zomb = 5,
    /// On a CPU.
    Onproc = 7,
    /// Suspended.
    Suspended = 8,
}

impl LwpState {
    /// The number in [`KinfoLwp::l_stat`].
    pub const fn raw(self) -> i8 {
        self as i8
    }

    /// NetBSD's name: `"LSRUN"`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idl => "LSIDL",
            Self::Run => "LSRUN",
            Self::Sleep => "LSSLEEP",
            Self::Stop => "LSSTOP",
            Self::Zomb => "LSZOMB",
            Self::Onproc => "LSONPROC",
            Self::Suspended => "LSSUSPENDED",
        }
    }
}

/// Flag of [`KinfoLwp::l_flag`]: in memory. Always set.
pub const L_INMEM: i32 = 0x4;
/// Flag of [`KinfoLwp::l_flag`]: in an interruptible sleep.
pub const L_SINTR: i32 = 0x80;
/// Flag of [`KinfoLwp::l_flag`]: a kernel thread.
pub const L_SYSTEM: i32 = 0x200;
/// Flag of [`KinfoLwp::l_flag`]: nobody will wait for it.
pub const L_DETACHED: i32 = 0x0080_0000;

/// `struct kinfo_lwp`: an LWP in the answer to `sysctl` `kern.lwp`.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct KinfoLwp {
    /// A kernel address; zero without privilege.
    pub l_forw: u64,
    /// A kernel address; zero without privilege.
    pub l_back: u64,
    /// A kernel address; zero without privilege.
    pub l_laddr: u64,
    /// A kernel address; zero without privilege.
    pub l_addr: u64,
    /// The LWP's id.
    pub l_lid: i32,
    /// [`L_INMEM`] and friends.
    pub l_flag: i32,
    /// Seconds in memory.
    pub l_swtime: u32,
    /// Seconds asleep.
    pub l_slptime: u32,
    /// Flags of the scheduler.
    pub l_schedflags: i32,
    /// How many hold it in memory.
    pub l_holdcnt: i32,
    /// The scheduling priority.
    pub l_priority: u8,
    /// The priority in user mode.
    pub l_usrpri: u8,
    /// The state: see [`LwpState`].
    pub l_stat: i8,
    /// Padding.
    pub l_pad1: i8,
    /// Padding.
    pub l_pad2: i32,
    /// What it waits for, in a word.
    pub l_wmesg: [u8; 8],
    /// The wait channel.
    pub l_wchan: u64,
    /// The CPU it is on or was on.
    pub l_cpuid: u64,
    /// Real time used: seconds.
    pub l_rtime_sec: u32,
    /// Real time used: microseconds.
    pub l_rtime_usec: u32,
    /// CPU ticks of late.
    pub l_cpticks: u32,
    /// The share of a CPU of late.
    pub l_pctcpu: u32,
    /// The process.
    pub l_pid: u32,
    /// The name, with a NUL.
    pub l_name: [u8; 20],
}
