//! The `_lwp_*` calls: arguments in, results out; what they do is in the kernel crate.
//!
//! Each handler makes the checks of its namesake in `sys_lwp.c` in the same order, because a guest sees
//! which error comes first.
//!
//! Sources: `sys_lwp.c` 1.84; `_lwp_create(2)` and its family; lwp.md section 2.

use crate::Unix;
use crate::args::Args;
use crate::copy::{copyin_into, copyin_slice, copyin_struct, copyout, copyout_struct, fault};
use core::cell::Cell;
use lwp_abi::errno::Errno;
use lwp_abi::lwp::{
    LWP_DETACHED, LWP_SUSPENDED, LWP_UNPARK_MAX, LWPCTL_FEATURE_CURCPU, LWPCTL_FEATURE_PCTR, LwpId,
    MAXCOMLEN, Pid,
};
use lwp_abi::signal::{NSIG, Siginfo, Signo};
use lwp_abi::time::{ClockId, TIMER_ABSTIME, Timespec};
use lwp_abi::ucontext::{UcFlags, Ucontext};
use lwp_abi::until_nul;
use lwp_kernel::life::{Joinable, Start};
use lwp_kernel::time::TimeKind;
use lwp_kernel::{CurLwp, Outcome, Ret, SysResult};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// `_lwp_create(2)`: starts an LWP in a given context.
///
/// # Errors
/// EFAULT: the context, or the place for the id; in the second case the LWP exists as a corpse. EINVAL: the
/// context. EAGAIN: RLIMIT_NTHR.
pub(crate) fn sys_lwp_create(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    thread_local! {
        /// Room for the context, which is large, and need not be cleared before it is read.
        static SPARE: Cell<Option<Box<Ucontext>>> = const { Cell::new(None) };
    }
    let mut uc = SPARE
        .take()
        .unwrap_or_else(|| Box::new(Ucontext::new_zeroed()));
    let copied = copyin_into(l, a.ptr(0), &mut *uc).map_err(Into::into);
    let made = copied.and_then(|()| create(l, a, &uc));
    SPARE.set(Some(uc));
    made
}

fn create(l: &mut CurLwp, a: &Args, uc: &Ucontext) -> SysResult {
    let (flags, new_lwp) = (a.u64(1), a.ptr(2));
    if !uc.flags().contains(UcFlags::CPU) {
        return Err(Errno::EINVAL.into());
    }
    l.mcontext_validate(&uc.uc_mcontext)?;
    let has = |flag| flags & flag != 0;
    let joinable = if has(LWP_DETACHED) {
        Joinable::No
    } else {
        Joinable::Yes
    };
    let start = if has(LWP_SUSPENDED) {
        Start::Suspended
    } else {
        Start::Running
    };
    let lwp = l.lwp_create(uc, joinable)?;
    if let Err(errno) = copyout_struct(l, &lwp.lid(), new_lwp) {
        l.lwp_abandon(&lwp);
        return Err(errno.into());
    }
    l.kernel.lwp_start(&lwp, start);
    Ok(Ret::ZERO)
}

/// `_lwp_exit(2)`: ends the calling LWP, and the process with it if no other lives.
pub(crate) fn sys_lwp_exit<'a>(_: &'a Unix, l: &'a mut CurLwp, _: &Args) -> Outcome<'a> {
    l.exit_lwp()
}

/// `_lwp_self(2)`: the caller's id.
#[expect(clippy::unnecessary_wraps, reason = "the shape the table wants")]
pub(crate) fn sys_lwp_self(_: &Unix, l: &mut CurLwp, _: &Args) -> SysResult {
    Ok(Ret(u64::from(l.lwp.lid().raw().unsigned_abs()), 0))
}

/// `_lwp_getprivate(2)`: the kernel's copy of the private pointer.
#[expect(clippy::unnecessary_wraps, reason = "the shape the table wants")]
pub(crate) fn sys_lwp_getprivate(_: &Unix, l: &mut CurLwp, _: &Args) -> SysResult {
    Ok(Ret(l.private, 0))
}

/// `_lwp_setprivate(2)`.
///
/// # Errors
/// EINVAL: no user address; `_lwp_getprivate` returns it from now on all the same.
pub(crate) fn sys_lwp_setprivate(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    l.set_private(a.ptr(0))?;
    Ok(Ret::ZERO)
}

/// `_lwp_suspend(2)`: stops an LWP at its user boundary and waits until it is there.
///
/// # Errors
/// ESRCH: no such live LWP. EDEADLK: the caller itself, and nobody else runs.
pub(crate) fn sys_lwp_suspend<'a>(_: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let target = a.int(0);
    Outcome::Sleep(Box::pin(l.suspend(target)))
}

/// `_lwp_continue(2)`.
///
/// # Errors
/// ESRCH: no such live LWP.
pub(crate) fn sys_lwp_continue(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    l.kernel.resume(a.int(0))?;
    Ok(Ret::ZERO)
}

/// `_lwp_wakeup(2)`: cancels a sleep, now or the next one.
///
/// # Errors
/// ESRCH: no such live LWP. ENODEV: it does not sleep. EBUSY: it cannot be interrupted.
pub(crate) fn sys_lwp_wakeup(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    l.kernel.wakeup(a.int(0))?;
    Ok(Ret::ZERO)
}

/// `_lwp_wait(2)`: waits for an LWP to exit and stores its id.
///
/// # Errors
/// ESRCH: nobody to wait for. EINVAL: it is detached. EDEADLK: nobody could ever exit. EINTR. EFAULT: the
/// place for the id; the LWP has been reaped by then.
pub(crate) fn sys_lwp_wait<'a>(_: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let (target, departed) = (a.int(0), a.ptr(1));
    Outcome::Sleep(Box::pin(async move {
        let lid = l.lwp_wait(target).await?;
        if departed != 0 {
            copyout_struct(l, &lid, departed)?;
        }
        Ok(Ret::ZERO)
    }))
}

/// `_lwp_kill(2)`: sends a signal to one LWP; 0 only looks whether it lives.
///
/// # Errors
/// EINVAL: no such signal. ESRCH: no such live LWP.
pub(crate) fn sys_lwp_kill(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let (target, number) = (a.int(0), a.int(1));
    if !(0..NSIG).contains(&number) {
        return Err(Errno::EINVAL.into());
    }
    let mut p = l.kernel.proc.lock();
    let t = l.kernel.lwp_find(&p, target).ok_or(Errno::ESRCH)?;
    if let Some(signo) = Signo::new(number) {
        let info = Siginfo::lwp(
            signo,
            Pid::new(l.kernel.proc.pid()),
            rustix::process::geteuid().as_raw(),
        );
        l.kernel.lwp_signal_locked(&mut p, &t, &info);
    }
    Ok(Ret::ZERO)
}

/// `_lwp_detach(2)`.
///
/// # Errors
/// ESRCH: no such LWP. EINVAL: it is detached.
pub(crate) fn sys_lwp_detach(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    l.kernel.detach(a.int(0))?;
    Ok(Ret::ZERO)
}

/// `___lwp_park60`: wakes `unpark`, if given, then sleeps until unparked.
///
/// # Errors
/// EFAULT, ESRCH (`unpark` names nobody), EINVAL, ETIMEDOUT, EALREADY (the unpark came first), EINTR.
pub(crate) fn sys_lwp_park60<'a>(_: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let kind = if a.int(1) & TIMER_ABSTIME == 0 {
        TimeKind::Relative
    } else {
        TimeKind::Absolute
    };
    let at = a.ptr(2);
    let time = match (at != 0).then(|| copyin_struct(l, at)).transpose() {
        Ok(time) => time,
        Err(errno) => return Outcome::Done(Err(errno.into())),
    };
    let write_back = if kind == TimeKind::Relative { at } else { 0 };
    park(l, ClockId::new(a.int(0)), kind, time, a.int(3), write_back)
}

/// `___lwp_park50`, NetBSD 6: an absolute time on the realtime clock, never written back.
///
/// # Errors
/// As [`sys_lwp_park60`].
pub(crate) fn sys_lwp_park50<'a>(_: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let at = a.ptr(0);
    match (at != 0).then(|| copyin_struct(l, at)).transpose() {
        Ok(time) => park(l, ClockId::REALTIME, TimeKind::Absolute, time, a.int(1), 0),
        Err(errno) => Outcome::Done(Err(errno.into())),
    }
}

/// `struct timespec50`: seconds of 32 bits.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Timespec50 {
    tv_sec: i32,
    pad: u32,
    tv_nsec: i64,
}

/// `_lwp_park` of NetBSD 5: as [`sys_lwp_park50`], with the old timespec.
///
/// # Errors
/// As [`sys_lwp_park60`].
pub(crate) fn sys_lwp_park<'a>(_: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let at = a.ptr(0);
    let time = (at != 0)
        .then(|| copyin_struct::<Timespec50>(l, at))
        .transpose();
    match time {
        Ok(time) => {
            let time = time.map(|old| Timespec {
                tv_sec: i64::from(old.tv_sec),
                tv_nsec: old.tv_nsec,
            });
            park(l, ClockId::REALTIME, TimeKind::Absolute, time, a.int(1), 0)
        }
        Err(errno) => Outcome::Done(Err(errno.into())),
    }
}

/// What the three parks share, from the folded-in unpark on.
fn park<'a>(
    l: &mut CurLwp,
    clock: ClockId,
    kind: TimeKind,
    time: Option<Timespec>,
    unpark: i32,
    write_back: u64,
) -> Outcome<'a> {
    if unpark != 0
        && let Err(errno) = l.kernel.unpark(unpark, l.lwp.lid())
    {
        return Outcome::Done(Err(errno.into()));
    }
    // Judged only now: with a bad time the guest gets EINVAL, and `unpark` is awake.
    let begun = time.map(|time| l.ts2timo(clock, kind, time)).transpose();
    let failed = match begun {
        Ok(timo) if l.park_enter(timo, write_back) => return Outcome::Park,
        Ok(_) => Errno::EALREADY,
        Err(errno) => errno,
    };
    if let Some(time) = time.filter(|_| write_back != 0) {
        // Nothing was slept: it goes back as it came, and failing to write is no error.
        let _ = copyout_struct(l, &time, write_back);
    }
    Outcome::Done(Err(failed.into()))
}

/// `_lwp_unpark(2)`.
///
/// # Errors
/// ESRCH: no such live LWP.
pub(crate) fn sys_lwp_unpark(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    l.kernel.unpark(a.int(0), l.lwp.lid())?;
    Ok(Ret::ZERO)
}

/// `_lwp_unpark_all(2)`; without targets it says how many there may be.
///
/// # Errors
/// EINVAL: none, or too many. EFAULT: none is touched. ESRCH: some were not there, the rest is unparked.
pub(crate) fn sys_lwp_unpark_all(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let (targets, count) = (a.ptr(0), a.uint(1));
    if targets == 0 {
        return Ok(Ret(LWP_UNPARK_MAX as u64, 0));
    }
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
    if count == 0 || count > LWP_UNPARK_MAX {
        return Err(Errno::EINVAL.into());
    }
    let lids: Vec<LwpId> = copyin_slice(l, targets, count)?;
    if l.kernel.unpark_all(&lids, l.lwp.lid()) > 0 {
        return Err(Errno::ESRCH.into());
    }
    Ok(Ret::ZERO)
}

/// `_lwp_setname(2)`; a long name is cut, without an error.
///
/// # Errors
/// EFAULT, before ESRCH: no such live LWP.
pub(crate) fn sys_lwp_setname(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let mut name = [0; MAXCOMLEN];
    let len = l
        .kernel
        .machine
        .copyinstr(a.ptr(1), &mut name)
        .map_err(fault)?;
    name[len.unwrap_or(MAXCOMLEN - 1)..].fill(0);
    let p = l.kernel.proc.lock();
    let t = l
        .kernel
        .lwp_find(&p, self_or(l, a.int(0)))
        .ok_or(Errno::ESRCH)?;
    let mut st = t.lock();
    st.name = Some(Box::new(name));
    l.kernel.tell_name(&t, name);
    Ok(Ret::ZERO)
}

/// `_lwp_getname(2)`.
///
/// # Errors
/// ESRCH: no such live LWP. ENAMETOOLONG: what fits has been stored, without a NUL. EFAULT.
pub(crate) fn sys_lwp_getname(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let (to, len) = (a.ptr(1), a.uint(2));
    let name = {
        let p = l.kernel.proc.lock();
        let t = l
            .kernel
            .lwp_find(&p, self_or(l, a.int(0)))
            .ok_or(Errno::ESRCH)?;
        t.lock().name.as_deref().copied().unwrap_or_default()
    };
    let room = usize::try_from(len).unwrap_or(usize::MAX).min(MAXCOMLEN);
    // `_lwp_setname(2)` has left room for the NUL.
    let with_nul = until_nul(&name).len() + 1;
    copyout(l, &name[..with_nul.min(room)], to)?;
    if with_nul > room {
        return Err(Errno::ENAMETOOLONG.into());
    }
    Ok(Ret::ZERO)
}

/// Target 0 of the name calls is the caller.
fn self_or(l: &CurLwp, target: i32) -> i32 {
    if target == 0 {
        l.lwp.lid().raw()
    } else {
        target
    }
}

/// `_lwp_ctl(2)`: the address of the caller's lwpctl block.
///
/// # Errors
/// ENODEV: unknown features. EBUSY: a vfork child. ENOMEM. EFAULT: the block is there all the same.
pub(crate) fn sys_lwp_ctl(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    if a.int(0) & !(LWPCTL_FEATURE_CURCPU | LWPCTL_FEATURE_PCTR) != 0 {
        return Err(Errno::ENODEV.into());
    }
    let block = l.lwp_ctl_alloc()?;
    copyout_struct(l, &block, a.ptr(1))?;
    Ok(Ret::ZERO)
}
