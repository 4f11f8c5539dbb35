//! What is never called, and what only with harmless arguments: the whole list, with reasons.
//!
//! Everything else may be called by any LWP at any time with any arguments. The list protects what
//! is outside (other processes, other files, the network) and what the judgement of a run rests on;
//! it hides no call because a kernel could get it wrong. [`allows`] looks at arguments as a kernel
//! does: the low half of the register where an `int` is meant.

use crate::berth::{ARENA, ROOM};
use crate::calls::Call;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};
#[expect(clippy::wildcard_imports, reason = "a table of them")]
use rt::abi::nr::*;
use rt::process::low;

/// Forks that are allowed, the one that keeps the program from staying stopped included.
pub(crate) const FORKS: u32 = 16;
/// Forks so far.
pub(crate) static FORKED: AtomicU32 = AtomicU32::new(0);
/// How often all memory is locked or unlocked, at most.
const LOCKS: u32 = 64;
static LOCKED: AtomicU32 = AtomicU32::new(0);
/// This process.
pub(crate) static PID: AtomicI32 = AtomicI32::new(0);

/// The highest process id that a host hands out, and more: nobody's.
pub(crate) const NOBODY: i32 = 1 << 23;
/// The most that a file, a new mapping or the break may be grown by for real.
const LARGE: u64 = 1 << 20;
/// Where addresses end that a program can have.
const BOUND: u64 = 0x5000_0000_0000;

/// Calls that are not made, and why.
pub(crate) static NEVER: &[(u16, &str)] = &[
    (SYS_EXIT, "it ends the run"),
    (
        SYS_LWP_EXIT,
        "an LWP that is to make calls has to stay; every short life ends by it",
    ),
    (SYS_EXECVE, "it ends the run"),
    (SYS_FEXECVE, "it ends the run"),
    (SYS_POSIX_SPAWN, "what is spawned is under no filter"),
    (SYS_CLONE, "what is cloned counts as no fork"),
    (SYS_CHROOT, "afterwards the directory cannot be removed"),
    (SYS_FCHROOT, "afterwards the directory cannot be removed"),
    (SYS_SYNC, "it waits for everybody's files"),
    (
        SYS_SETSID,
        "whoever gives the run a time limit ends its process group",
    ),
    (
        SYS_SETPGID,
        "whoever gives the run a time limit ends its process group",
    ),
    (
        SYS_SETUID,
        "without rights the rest would be less than it is",
    ),
    (SYS_SETEUID, "as setuid"),
    (SYS_SETREUID, "as setuid"),
    (SYS_SETGID, "as setuid"),
    (SYS_SETEGID, "as setuid"),
    (SYS_SETREGID, "as setuid"),
    (SYS_SETGROUPS, "as setuid"),
    (
        SYS_SETLOGIN,
        "it names the session of whoever started the run",
    ),
    (SYS_REBOOT, "on NetBSD, as root, it does"),
    (SYS_COMPAT_12_OREBOOT, "as reboot"),
    (SYS_MOUNT50, "on NetBSD, as root, it changes files outside"),
    (SYS_COMPAT_40_MOUNT, "as mount"),
    (SYS_UNMOUNT, "as mount"),
    (SYS_REVOKE, "it takes terminals from their users"),
    (SYS_SWAPCTL, "on NetBSD, as root, it changes the machine"),
    (SYS_MODCTL, "as swapctl"),
    (SYS_NFSSVC, "as swapctl"),
    (SYS_ACCT, "as swapctl"),
    (
        SYS_CLOCK_SETTIME50,
        "on NetBSD, as root, it sets the machine's clock",
    ),
    (SYS_SETTIMEOFDAY50, "as clock_settime"),
    (SYS_ADJTIME50, "as clock_settime"),
    (SYS_NTP_ADJTIME, "as clock_settime"),
];

/// A condition on the arguments of some calls, and why.
type Condition = (&'static [u16], fn(&Call) -> bool, &'static str);

/// Calls that are made under a condition.
pub(crate) static ONLY_IF: &[Condition] = &[
    (
        &[SYS_FORK, SYS_VFORK, SYS_VFORK14],
        |_| FORKED.fetch_add(1, Ordering::Relaxed) < FORKS,
        "at most 16 forks: more would be a load on others",
    ),
    (
        &[SYS_KILL, SYS_SIGQUEUEINFO],
        |call| is_own_or_nobody(call.args[0]) && low(call.args[1]) != 9,
        "no signal to any process but this, and not the one that ends it",
    ),
    (
        &[SYS_LWP_KILL],
        |call| low(call.args[1]) != 9,
        "SIGKILL ends the process, whichever LWP it is for",
    ),
    (
        &[SYS_PTRACE, SYS_KTRACE, SYS_FKTRACE, SYS_PROFIL],
        |call| call.args[0] > 0xffff_ffff,
        "nobody is to be traced but in vain",
    ),
    (
        &[SYS_LWP_SUSPEND],
        |call| low(call.args[0]) != PID.load(Ordering::Relaxed),
        "the first LWP gets the others out of their sleeps",
    ),
    (
        &[SYS_SETPRIORITY],
        |call| {
            let [which, who, nice, ..] = call.args;
            let is_known = (0..=2).contains(&low(which));
            !is_known || low(which) == 0 && is_own_or_nobody(who) && low(nice) == 0
        },
        "no other process's priority, nor a whole user's; and with less of its own the run would starve",
    ),
    (
        &[
            SYS_MUNMAP,
            SYS_MPROTECT,
            SYS_MADVISE,
            SYS_MINHERIT,
            SYS_MLOCK,
            SYS_MUNLOCK,
            SYS_MSYNC13,
        ],
        |call| is_harmless_range(call.args[0], call.args[1]),
        "the program's own code, stacks and notes stay as they are",
    ),
    (
        &[SYS_MREMAP],
        |call| {
            let [from, from_len, to, to_len, ..] = call.args;
            is_harmless_range(from, from_len) && is_harmless_range(to, to_len) && is_modest(to_len)
        },
        "as munmap; and memory is not used up",
    ),
    (
        &[SYS_MMAP],
        |call| is_harmless_range(call.args[0], call.args[1]) && is_modest(call.args[1]),
        "as munmap; and memory is not used up when all of it is locked",
    ),
    (
        &[SYS_BREAK],
        |call| {
            let end = crate::berth::first_break();
            call.args[0] < ROOM
                || (end..end + LARGE).contains(&call.args[0])
                || call.args[0] >= BOUND
        },
        "the program's own data stay; and memory is not used up",
    ),
    (
        &[SYS_MLOCKALL, SYS_MUNLOCKALL],
        |_| LOCKED.fetch_add(1, Ordering::Relaxed) < LOCKS,
        "each takes as long as thousands of other calls",
    ),
    (
        &[SYS_POSIX_FALLOCATE],
        |call| is_modest(call.args[3]) && is_modest(call.args[2]),
        "the disk is not used up",
    ),
    (
        &[SYS_FCNTL],
        |call| match low(call.args[1]) {
            // F_CLOSEM
            10 => low(call.args[0]) > 2,
            // F_SETOWN: it says to whom SIGIO is sent.
            6 => is_own_or_nobody(call.args[2]),
            _ => true,
        },
        "descriptors 0 to 2 belong to others too; no signal to another process",
    ),
    (
        &[SYS_DUP2, SYS_DUP3, SYS_DUP3100],
        |call| !(0..=2).contains(&low(call.args[1])),
        "descriptors 0 to 2 belong to others too",
    ),
    (
        &[SYS_SETRLIMIT],
        |call| crate::berth::is_limits(call.args[1]) || is_nowhere(call.args[1]),
        "no limits below what the run needs: the values lie where nobody can write",
    ),
    (
        &[SYS_SETCONTEXT],
        |call| crate::berth::is_empty_context(call.args[0]) || is_nowhere(call.args[0]),
        "a whole context goes anywhere; handlers install thousands of them",
    ),
];

/// Whether a call may be made. Counts forks.
pub(crate) fn allows(call: &Call) -> bool {
    if NEVER.iter().any(|(nr, _)| *nr == call.nr) {
        return false;
    }
    ONLY_IF
        .iter()
        .filter(|(numbers, ..)| numbers.contains(&call.nr))
        .all(|(_, holds, _)| holds(call))
}

/// This process or one that cannot be.
fn is_own_or_nobody(arg: u64) -> bool {
    low(arg) == PID.load(Ordering::Relaxed) || low(arg) >= NOBODY
}

/// An address at which nothing is mapped, and nothing can be.
pub(crate) fn is_nowhere(addr: u64) -> bool {
    !(4096..BOUND).contains(&addr)
}

/// Memory that may be given away: in the arena, or none that a program can have.
fn is_harmless_range(addr: u64, len: u64) -> bool {
    let base = ARENA.load(Ordering::Relaxed);
    let end = addr.checked_add(len);
    let is_in_arena = addr >= base && end.is_some_and(|end| end <= base + crate::berth::ARENA_LEN);
    let is_none = end.is_none() || addr >= BOUND || end.is_some_and(|end| end <= ROOM);
    is_in_arena || is_none
}

/// A size that can be had without harm, or not at all.
fn is_modest(len: u64) -> bool {
    len <= LARGE || len >= 1 << 62
}
