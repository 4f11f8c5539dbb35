//! Limits on resources, their use, and nice values.
//!
//! [`Limits`] holds what the guest believes. The host is told of those limits that it alone can
//! enforce and that mean the same there (CPU, FSIZE, CORE, MEMLOCK). Not of the others: AS, DATA and
//! STACK would hit the runner, NPROC counts host threads, and the runner's descriptors lie above the
//! guest's NOFILE.
//!
//! # Invariants
//! 1. `cur <= max` in every pair, and infinity is [`RLIM_INFINITY`], never more.
//! 2. NOFILE never exceeds [`MAX_FILES`] nor reaches the runner's own descriptors.
//!
//! Sources: getrlimit(2), setpriority(2); `kern_resource.c: dosetrlimit, sys_getpriority, donice`;
//! syscalls.md 3.1.

use crate::Unix;
use crate::args::Args;
use crate::copy::{copyin_struct, copyout_struct};
use crate::errno::{from_host, from_rustix};
use crate::files::MAX_FILES;
use core::sync::atomic::Ordering;
use lwp_abi::errno::Errno;
use lwp_abi::resource::{
    PRIO_MAX, PRIO_MIN, PRIO_PGRP, PRIO_PROCESS, PRIO_USER, RLIM_INFINITY, RLIM_NLIMITS,
    RLIMIT_CORE, RLIMIT_CPU, RLIMIT_DATA, RLIMIT_FSIZE, RLIMIT_MEMLOCK, RLIMIT_NOFILE,
    RLIMIT_NPROC, RLIMIT_NTHR, RLIMIT_RSS, RLIMIT_STACK, RUSAGE_CHILDREN, RUSAGE_SELF, Rlimit,
};
use lwp_kernel::{CurLwp, Ret, SysResult};
use rustix::process::{Pid, Resource, Uid};
use std::fs::DirEntry;
use std::sync::{Mutex, PoisonError};

/// MAXSSIZ: no stack grows beyond it.
const MAX_STACK: u64 = 128 << 20;
/// MAXDSIZ.
const MAX_DATA: u64 = 8 << 30;
/// `kern.maxproc`.
pub(crate) const MAX_PROC: u64 = 1044;

/// The guest's limits; see the module header.
#[derive(Debug)]
pub struct Limits {
    all: Mutex<[Rlimit; RLIM_NLIMITS]>,
}

impl Limits {
    /// What a first process finds: NetBSD's defaults for what is the guest's own, the host's for the rest.
    pub fn new(first_own_fd: i32) -> Self {
        let max_files = u64::from(MAX_FILES.min(first_own_fd).unsigned_abs());
        let mut all = [Rlimit {
            rlim_cur: RLIM_INFINITY,
            rlim_max: RLIM_INFINITY,
        }; RLIM_NLIMITS];
        for (which, pair) in (0i32..).zip(&mut all) {
            let ceiling = ceiling(which, max_files);
            let limit = host_resource(which).map_or(
                Rlimit {
                    rlim_cur: ceiling,
                    rlim_max: ceiling,
                },
                |host| from_linux(rustix::process::getrlimit(host)),
            );
            *pair = Rlimit {
                rlim_cur: limit.rlim_cur.min(ceiling),
                rlim_max: limit.rlim_max.min(ceiling),
            };
            match which {
                RLIMIT_STACK => pair.rlim_cur = 4 << 20,
                RLIMIT_DATA => pair.rlim_cur = 256 << 20,
                _ => {}
            }
        }
        Self {
            all: Mutex::new(all),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, [Rlimit; RLIM_NLIMITS]> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All limits, to be handed to a new image.
    pub fn all(&self) -> [Rlimit; RLIM_NLIMITS] {
        *self.lock()
    }

    /// Takes all limits over from the image before.
    pub fn set_all(&self, all: [Rlimit; RLIM_NLIMITS]) {
        *self.lock() = all;
    }

    /// One limit; infinite if there is no such resource.
    pub fn get(&self, which: i32) -> Rlimit {
        let infinite = Rlimit {
            rlim_cur: RLIM_INFINITY,
            rlim_max: RLIM_INFINITY,
        };
        usize::try_from(which)
            .ok()
            .and_then(|at| self.lock().get(at).copied())
            .unwrap_or(infinite)
    }

    /// Sets one limit without any check, as the runner's own start does.
    pub fn set(&self, which: i32, limit: Rlimit) {
        let Ok(at) = usize::try_from(which) else {
            return;
        };
        if let Some(pair) = self.lock().get_mut(at) {
            *pair = limit;
        }
    }

    /// One more than the largest descriptor number that may be made.
    pub fn nofile(&self) -> i32 {
        i32::try_from(self.get(RLIMIT_NOFILE).rlim_cur)
            .unwrap_or(MAX_FILES)
            .min(MAX_FILES)
    }

    /// Whether the size of files is limited.
    pub(crate) fn has_fsize(&self) -> bool {
        self.get(RLIMIT_FSIZE).rlim_cur != RLIM_INFINITY
    }
}

/// The host's resource whose limit is the guest's too: to begin with, and if [`is_host_s`], always.
fn host_resource(which: i32) -> Option<Resource> {
    Some(match which {
        RLIMIT_CPU => Resource::Cpu,
        RLIMIT_FSIZE => Resource::Fsize,
        RLIMIT_CORE => Resource::Core,
        RLIMIT_RSS => Resource::Rss,
        RLIMIT_MEMLOCK => Resource::Memlock,
        RLIMIT_NPROC => Resource::Nproc,
        RLIMIT_NOFILE => Resource::Nofile,
        _ => return None,
    })
}

/// Whether the host is told when the guest changes this limit.
fn is_host_s(which: i32) -> bool {
    matches!(
        which,
        RLIMIT_CPU | RLIMIT_FSIZE | RLIMIT_CORE | RLIMIT_MEMLOCK
    )
}

/// What no limit exceeds; larger values are clipped in silence.
fn ceiling(which: i32, max_files: u64) -> u64 {
    match which {
        RLIMIT_STACK => MAX_STACK,
        RLIMIT_DATA => MAX_DATA,
        RLIMIT_NOFILE => max_files,
        RLIMIT_NPROC => MAX_PROC,
        _ => RLIM_INFINITY,
    }
}

fn from_linux(limit: rustix::process::Rlimit) -> Rlimit {
    let value = |value: Option<u64>| value.map_or(RLIM_INFINITY, |v| v.min(RLIM_INFINITY));
    Rlimit {
        rlim_cur: value(limit.current),
        rlim_max: value(limit.maximum),
    }
}

fn to_linux(limit: Rlimit) -> rustix::process::Rlimit {
    let value = |value: u64| (value < RLIM_INFINITY).then_some(value);
    rustix::process::Rlimit {
        current: value(limit.rlim_cur),
        maximum: value(limit.rlim_max),
    }
}

/// `getrlimit(2)`.
///
/// # Errors
/// EINVAL: no such resource. EFAULT.
pub(crate) fn sys_getrlimit(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let which = a.int(0);
    check_resource(which)?;
    let limit = if which == RLIMIT_NTHR {
        nthr(l)
    } else {
        sys.limits.get(which)
    };
    copyout_struct(l, &limit, a.ptr(1))?;
    Ok(Ret::ZERO)
}

/// `setrlimit(2)`.
///
/// # Errors
/// EFAULT. EINVAL: no such resource, or soft above hard. EPERM: raises the hard limit.
pub(crate) fn sys_setrlimit(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let which = a.int(0);
    let wanted: Rlimit = copyin_struct(l, a.ptr(1))?;
    check_resource(which)?;
    if wanted.rlim_cur > wanted.rlim_max {
        return Err(Errno::EINVAL.into());
    }
    let max_files = u64::from(MAX_FILES.min(sys.host.first_own_fd()).unsigned_abs());
    let ceiling = ceiling(which, max_files);
    let old = if which == RLIMIT_NTHR {
        nthr(l)
    } else {
        sys.limits.get(which)
    };
    if wanted.rlim_max > old.rlim_max && !l.kernel.config.superuser {
        return Err(Errno::EPERM.into());
    }
    let new = Rlimit {
        rlim_cur: wanted.rlim_cur.min(ceiling),
        rlim_max: wanted.rlim_max.min(ceiling),
    };
    if which == RLIMIT_NTHR {
        l.kernel
            .proc
            .nthr_soft
            .store(new.rlim_cur, Ordering::Relaxed);
        l.kernel
            .proc
            .nthr_hard
            .store(new.rlim_max, Ordering::Relaxed);
        return Ok(Ret::ZERO);
    }
    if let Some(host) = host_resource(which).filter(|_| is_host_s(which)) {
        rustix::process::setrlimit(host, to_linux(new)).map_err(from_rustix)?;
    }
    if which == RLIMIT_STACK {
        l.kernel
            .vm
            .set_stack_limit(&*l.kernel.machine, new.rlim_cur)?;
    }
    sys.limits.set(which, new);
    Ok(Ret::ZERO)
}

/// `RLIMIT_NTHR`, which the kernel keeps.
fn nthr(l: &CurLwp) -> Rlimit {
    Rlimit {
        rlim_cur: l.kernel.proc.nthr_soft.load(Ordering::Relaxed),
        rlim_max: l.kernel.proc.nthr_hard.load(Ordering::Relaxed),
    }
}

fn check_resource(which: i32) -> Result<(), Errno> {
    match usize::try_from(which) {
        Ok(..RLIM_NLIMITS) => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

/// `__getrusage50`. The record is laid out as on Linux.
///
/// # Errors
/// EINVAL: neither `RUSAGE_SELF` nor `RUSAGE_CHILDREN`. EFAULT.
pub(crate) fn sys_getrusage(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let who = a.int(0);
    if who != RUSAGE_SELF && who != RUSAGE_CHILDREN {
        return Err(Errno::EINVAL.into());
    }
    let rusage = if sys.options.of_seed.is_some() {
        let own = (who == RUSAGE_SELF).then(|| l.kernel.machine.process_cpu());
        crate::sys_wait::used(own.unwrap_or_default())
    } else {
        sys.host.getrusage(who).map_err(from_host)?
    };
    copyout_struct(l, &rusage, a.ptr(1))?;
    Ok(Ret::ZERO)
}

/// `getpriority(2)`: the nice value itself, which may be negative.
///
/// # Errors
/// EINVAL: no such kind of number. ESRCH: nobody is meant.
pub(crate) fn sys_getpriority(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    use rustix::process::{getpriority_pgrp, getpriority_process, getpriority_user};
    let (which, who) = (a.int(0), a.int(1));
    let nice = match which {
        PRIO_PROCESS => getpriority_process(pid(sys, who)?),
        PRIO_PGRP => getpriority_pgrp(pid(sys, who)?),
        PRIO_USER => getpriority_user(uid(who)),
        _ => return Err(Errno::EINVAL.into()),
    };
    Ok(Ret(
        i64::from(nice.map_err(from_rustix)?).cast_unsigned(),
        0,
    ))
}

/// `setpriority(2)`.
///
/// # Errors
/// EINVAL: no such kind of number. ESRCH: nobody is meant. EACCES: only root may lower nice values.
/// EPERM: not one's own process.
pub(crate) fn sys_setpriority(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    use rustix::process::{setpriority_pgrp, setpriority_process, setpriority_user};
    let (which, who) = (a.int(0), a.int(1));
    // Linux clips 20 to 19 by itself.
    let nice = a.int(2).clamp(PRIO_MIN, PRIO_MAX);
    let done = match which {
        PRIO_PROCESS if who == 0 || who == l.kernel.proc.pid() => renice_self(nice),
        PRIO_PROCESS => setpriority_process(pid(sys, who)?, nice),
        PRIO_PGRP => setpriority_pgrp(pid(sys, who)?, nice),
        PRIO_USER => setpriority_user(uid(who), nice),
        _ => return Err(Errno::EINVAL.into()),
    };
    done.map_err(from_rustix)?;
    Ok(Ret::ZERO)
}

/// Linux keeps a nice value per thread: every thread of the runner gets it.
fn renice_self(nice: i32) -> rustix::io::Result<()> {
    use rustix::process::setpriority_process;
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return setpriority_process(None, nice);
    };
    let tid = |task: DirEntry| Pid::from_raw(task.file_name().to_str()?.parse().ok()?);
    for tid in tasks.flatten().filter_map(tid) {
        match setpriority_process(Some(tid), nice) {
            // It has ended meanwhile.
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(err) => return Err(err),
        }
    }
    Ok(())
}

/// A process or group as the host call wants it: `None` for the caller's own.
fn pid(sys: &Unix, who: i32) -> Result<Option<Pid>, Errno> {
    match who {
        0 => Ok(None),
        1.. => Ok(Pid::from_raw(sys.pids.to_host(who)?)),
        _ => Err(Errno::ESRCH),
    }
}

/// A user: 0 is the caller (`sys_getpriority`).
fn uid(who: i32) -> Uid {
    match who {
        0 => rustix::process::getuid(),
        who => Uid::from_raw(who.cast_unsigned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinity_is_another_number_here() {
        let none = rustix::process::Rlimit {
            current: Some(5),
            maximum: None,
        };
        let ours = from_linux(none);
        assert_eq!((ours.rlim_cur, ours.rlim_max), (5, RLIM_INFINITY));
        assert_eq!(to_linux(ours), none);
        let huge = Rlimit {
            rlim_cur: RLIM_INFINITY + 1,
            rlim_max: u64::MAX,
        };
        assert_eq!(to_linux(huge).current, None);
    }

    #[test]
    fn the_guest_s_descriptors_end_below_the_runner_s() {
        let limits = Limits::new(100);
        assert!(limits.nofile() <= 100);
        assert!(limits.get(RLIMIT_NOFILE).rlim_max <= 100);
    }

    #[test]
    fn there_are_twelve_resources() {
        assert_eq!(check_resource(11), Ok(()));
        for which in [-1, 12, i32::MAX, i32::MIN] {
            assert_eq!(check_resource(which), Err(Errno::EINVAL));
            assert_eq!(Limits::new(100).get(which).rlim_cur, RLIM_INFINITY);
        }
    }
}
