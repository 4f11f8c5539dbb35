//! Scheduling as the guest asks for it: `sched_yield`, classes and priorities, affinity.
//!
//! All LWPs are in `SCHED_OTHER`, and run on any vcpu. A user without privileges could not have it
//! otherwise on NetBSD; a superuser could.
//!
//! Sources: sched(3), affinity(3); `sys_sched.c: do_sched_setparam, do_sched_getparam,
//! sys__sched_getaffinity`, `kern_runq.c`.

use crate::Unix;
use crate::args::Args;
use crate::copy::{copyin_struct, copyout, copyout_struct};
use lwp_abi::errno::Errno;
use lwp_abi::sched::{
    SCHED_NONE, SCHED_OTHER, SCHED_PRI_MAX, SCHED_PRI_MIN, SCHED_RR, SchedParam, USER_PRIORITY,
};
use lwp_kernel::{CurLwp, Outcome, Ret, SysResult};

/// "Leave the priority alone".
const PRI_NONE: i32 = -1;
/// Bytes of the kernel's CPU sets.
const CPUSET_SIZE: usize = 32;

/// `sched_yield(2)`: behind the other runnable LWPs. Cannot fail.
pub(crate) fn sys_sched_yield<'a>(_: &'a Unix, l: &'a mut CurLwp, _: &Args) -> Outcome<'a> {
    if !l.kernel.sched.has_waiting(l.cpu()) {
        return Outcome::Done(Ok(Ret::ZERO));
    }
    Outcome::Sleep(Box::pin(async move {
        l.yield_vcpu().await;
        Ok(Ret::ZERO)
    }))
}

/// `_sched_setparam(2)`: `SCHED_OTHER` stays `SCHED_OTHER`.
///
/// # Errors
/// EFAULT. EINVAL: no such class or priority, or a priority for `SCHED_OTHER`. ESRCH: no such process or
/// LWP. EPERM: another class.
pub(crate) fn sys_sched_setparam(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let wanted: SchedParam = copyin_struct(l, a.ptr(3))?;
    let (class, priority) = (a.int(2), wanted.sched_priority);
    let is_priority = (SCHED_PRI_MIN..=SCHED_PRI_MAX).contains(&priority);
    if priority != PRI_NONE && !is_priority {
        return Err(Errno::EINVAL.into());
    }
    if class != SCHED_NONE && !(SCHED_OTHER..=SCHED_RR).contains(&class) {
        return Err(Errno::EINVAL.into());
    }
    find(l, a.int(0), a.int(1))?;
    if class != SCHED_NONE && class != SCHED_OTHER {
        return Err(Errno::EPERM.into());
    }
    if priority != PRI_NONE {
        return Err(Errno::EINVAL.into());
    }
    Ok(Ret::ZERO)
}

/// `_sched_getparam(2)`.
///
/// # Errors
/// ESRCH: no such process or LWP. EFAULT.
pub(crate) fn sys_sched_getparam(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    find(l, a.int(0), a.int(1))?;
    copyout_struct(
        l,
        &SchedParam {
            sched_priority: USER_PRIORITY,
        },
        a.ptr(3),
    )?;
    if a.ptr(2) != 0 {
        copyout_struct(l, &SCHED_OTHER, a.ptr(2))?;
    }
    Ok(Ret::ZERO)
}

/// `_sched_getaffinity(2)`: the empty set, which stands for every CPU.
///
/// # Errors
/// EINVAL: no room. ESRCH: no such process or LWP. EFAULT.
pub(crate) fn sys_sched_getaffinity(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let room = usize::try_from(a.size(2))
        .unwrap_or(CPUSET_SIZE)
        .min(CPUSET_SIZE);
    if room == 0 {
        return Err(Errno::EINVAL.into());
    }
    find(l, a.int(0), a.int(1))?;
    copyout(l, &[0; CPUSET_SIZE][..room], a.ptr(3))?;
    Ok(Ret::ZERO)
}

/// `_sched_setaffinity(2)`: users may not, as long as `security.models.extensions.user_set_cpu_affinity`
/// is 0.
///
/// # Errors
/// EFAULT. ESRCH: no such process or LWP. EPERM.
pub(crate) fn sys_sched_setaffinity(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let size = usize::try_from(a.size(2))
        .unwrap_or(CPUSET_SIZE)
        .min(CPUSET_SIZE);
    l.kernel
        .machine
        .copyin(a.ptr(3), &mut [0; CPUSET_SIZE][..size])
        .map_err(crate::copy::fault)?;
    find(l, a.int(0), a.int(1))?;
    Err(Errno::EPERM.into())
}

/// The process 0 is the caller's own, and the only one there is; LWP 0 is any of it.
fn find(l: &CurLwp, pid: i32, lid: i32) -> Result<(), Errno> {
    if pid != 0 && pid != l.kernel.proc.pid() {
        return Err(Errno::ESRCH);
    }
    if lid != 0 {
        let p = l.kernel.proc.lock();
        l.kernel.lwp_find(&p, lid).ok_or(Errno::ESRCH)?;
    }
    Ok(())
}
