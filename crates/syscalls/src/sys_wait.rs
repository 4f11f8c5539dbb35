//! Waiting for children: wait4 and wait6.
//!
//! The host knows the children; it is asked without waiting. A caller that must wait sleeps until SIGCHLD
//! comes in from the host, whatever the guest's disposition of it.
//!
//! # Invariants
//! 1. A sleeper is in the queue before it asks the host a last time, so no change is missed.
//!
//! Sources: `kern_exit.c: do_sys_waitid`; wait4(2), wait6(2); syscalls.md 5.3.

use crate::Unix;
use crate::args::Args;
use crate::copy::copyout_struct;
use crate::errno::{from_host, restartable};
use crate::host::{ChildInfo, WaitFor};
use core::sync::atomic::{AtomicI32, Ordering};
use core::time::Duration;
use lwp_abi::errno::Errno;
use lwp_abi::lwp::Pid;
use lwp_abi::resource::Rusage;
use lwp_abi::signal::{
    CLD_CONTINUED, CLD_DUMPED, CLD_KILLED, CLD_STOPPED, CLD_TRAPPED, Siginfo, Signo,
};
use lwp_abi::time::Timeval;
use lwp_abi::wait::{P_ALL, P_PGID, P_PID, WaitFlags, WaitStatus, Wrusage};
use lwp_kernel::kernel::Kernel;
use lwp_kernel::sleepq::{Catch, WaitQueue};
use lwp_kernel::watch::SignalListener;
use lwp_kernel::{CurLwp, Ended, Outcome, Ret};
use std::sync::{Arc, Weak};
use zerocopy::FromZeros;

/// Options of the host's wait4(2) and waitid(2).
mod host {
    pub(super) const WUNTRACED: i32 = 2;
    pub(super) const WEXITED: i32 = 4;
    pub(super) const WCONTINUED: i32 = 8;
    pub(super) const WNOWAIT: i32 = 0x0100_0000;
}

/// The options that are accepted.
const KNOWN: WaitFlags = WaitFlags::NOHANG
    .union(WaitFlags::UNTRACED)
    .union(WaitFlags::ALTSIG)
    .union(WaitFlags::ALLSIG)
    .union(WaitFlags::CONTINUED)
    .union(WaitFlags::EXITED)
    .union(WaitFlags::TRAPPED)
    .union(WaitFlags::NOWAIT);
/// Those that wait for something.
const AWAITED: WaitFlags = WaitFlags::EXITED
    .union(WaitFlags::UNTRACED)
    .union(WaitFlags::CONTINUED)
    .union(WaitFlags::TRAPPED);

/// A child that changed state, and what it used.
struct Child {
    info: ChildInfo,
    used: Rusage,
}

/// Those who wait for a child.
#[derive(Default)]
pub(crate) struct Children {
    changed: WaitQueue,
    /// The process that hears of SIGCHLD: not a fork child's, until it waits itself.
    listening: AtomicI32,
}

impl SignalListener for Children {
    fn signalled(&self, kernel: &Arc<Kernel>, signo: Signo) {
        if signo == Signo::SIGCHLD {
            self.changed.wake_all(kernel);
        }
    }
}

impl Children {
    /// Hears of SIGCHLD from now on.
    fn listen(self: &Arc<Self>, kernel: &Kernel) {
        let pid = kernel.proc.pid();
        if self.listening.swap(pid, Ordering::AcqRel) != pid {
            // In a fork child: the parent's sleepers do not exist here.
            self.changed.clear();
            let me: Weak<Self> = Arc::downgrade(self);
            kernel.watches.listen_to_signals(me);
        }
    }
}

/// Waits for a child to change state, or only looks if told so; `None` if none has.
async fn wait_child(
    sys: &Unix,
    l: &mut CurLwp,
    whom: WaitFor,
    flags: WaitFlags,
) -> Result<Option<Child>, Ended> {
    let children = Arc::clone(&sys.children);
    children.listen(&l.kernel);
    let whom = whom_of_host(sys, whom)?;
    loop {
        let queued = children.changed.enter(l, "wait", Catch::Signals);
        let answer = sys.host.waitid(whom, host_options(flags));
        let found = match answer {
            Ok((info, used)) => (info.pid != 0).then(|| named(sys, info, used, flags)),
            Err(err) => {
                l.sleepq_leave();
                return Err(from_host(err).into());
            }
        };
        if found.is_some() || flags.contains(WaitFlags::NOHANG) {
            l.sleepq_leave();
            return Ok(found);
        }
        l.sleepq_block(None, Catch::Signals)
            .await
            .map_err(restartable)?;
        drop(queued);
    }
}

/// The child under the guest's number, and used up if that is what the caller does.
fn named(sys: &Unix, mut info: ChildInfo, used: Rusage, flags: WaitFlags) -> Child {
    let host = info.pid;
    info.pid = sys.pids.to_guest(host);
    let used = if sys.options.of_seed.is_some() {
        self::used(Duration::ZERO)
    } else {
        used
    };
    let has_ended = ![CLD_STOPPED, CLD_CONTINUED, CLD_TRAPPED].contains(&info.code);
    if has_ended && !flags.contains(WaitFlags::NOWAIT) {
        sys.pids.reaped(host);
    }
    Child { info, used }
}

/// What was used, as far as it is the same in every run: so much time of the CPU, and nothing else.
pub(crate) fn used(cpu: Duration) -> Rusage {
    Rusage {
        ru_utime: Timeval::from(cpu),
        ..Rusage::new_zeroed()
    }
}

/// Whom the guest means, in the host's numbers.
///
/// # Errors
/// ECHILD: nobody.
fn whom_of_host(sys: &Unix, whom: WaitFor) -> Result<WaitFor, Errno> {
    let to_host = |number| sys.pids.to_host(number).map_err(|_| Errno::ECHILD);
    Ok(match whom {
        WaitFor::Any => WaitFor::Any,
        WaitFor::Pid(pid) => WaitFor::Pid(to_host(pid)?),
        WaitFor::Group(group) => WaitFor::Group(to_host(group)?),
    })
}

fn host_options(flags: WaitFlags) -> i32 {
    [
        (WaitFlags::EXITED, host::WEXITED),
        (WaitFlags::UNTRACED, host::WUNTRACED),
        (WaitFlags::CONTINUED, host::WCONTINUED),
        (WaitFlags::NOWAIT, host::WNOWAIT),
    ]
    .into_iter()
    .filter(|&(flag, _)| flags.contains(flag))
    .fold(0, |options, (_, option)| options | option)
}

/// The children that a wait4(2) means.
fn whom_of_wait4(pid: i32) -> WaitFor {
    match pid {
        -1 => WaitFor::Any,
        0 => WaitFor::Group(0),
        pid if pid < 0 => WaitFor::Group(pid.wrapping_neg()),
        pid => WaitFor::Pid(pid),
    }
}

fn check_wait6(idtype: i32, id: i32, flags: WaitFlags) -> Result<WaitFor, Errno> {
    if !KNOWN.contains(flags) || !flags.intersects(AWAITED) {
        return Err(Errno::EINVAL);
    }
    match (idtype, id) {
        (P_ALL, _) => Ok(WaitFor::Any),
        (P_PID | P_PGID, 0) => Ok(WaitFor::Group(0)),
        (P_PID, pid) => Ok(WaitFor::Pid(pid)),
        (P_PGID, group) => Ok(WaitFor::Group(group)),
        _ => Err(Errno::EINVAL),
    }
}

/// What became of a child. A host signal that NetBSD lacks shows as the exit status a shell would give.
fn wait_status(info: &ChildInfo) -> WaitStatus {
    let signo = Signo::from_linux(info.status);
    match (info.code, signo) {
        (CLD_CONTINUED, _) => WaitStatus::Continued,
        (CLD_KILLED, Some(signo)) => WaitStatus::Killed {
            signo,
            is_core: false,
        },
        (CLD_DUMPED, Some(signo)) => WaitStatus::Killed {
            signo,
            is_core: true,
        },
        (CLD_STOPPED | CLD_TRAPPED, Some(signo)) => WaitStatus::Stopped(signo),
        (CLD_KILLED | CLD_DUMPED | CLD_STOPPED | CLD_TRAPPED, None) => {
            WaitStatus::Exited(128 + info.status)
        }
        _ => WaitStatus::Exited(info.status),
    }
}

fn child_siginfo(info: &ChildInfo, used: &Rusage) -> Siginfo {
    let status = match wait_status(info) {
        WaitStatus::Exited(code) => code,
        WaitStatus::Killed { signo, .. } | WaitStatus::Stopped(signo) => signo.raw(),
        WaitStatus::Continued => Signo::SIGCONT.raw(),
    };
    let pid = Pid::new(info.pid);
    let (utime, stime) = (ticks(&used.ru_utime), ticks(&used.ru_stime));
    Siginfo::child(info.code, pid, info.uid, status, utime, stime)
}

/// A time in ticks of 10 ms.
fn ticks(time: &Timeval) -> u32 {
    let hundredths = time
        .tv_sec
        .saturating_mul(100)
        .saturating_add(i64::from(time.tv_usec / 10_000));
    u32::try_from(hundredths).unwrap_or(u32::MAX)
}

/// `__wait450`: waits for a child to end, or to stop.
///
/// # Errors
/// EINVAL: unknown options. ECHILD. EINTR. EFAULT: the child has been reaped by then.
pub(crate) fn sys_wait450<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let (pid, status, rusage) = (a.int(0), a.ptr(1), a.ptr(3));
    let flags = WaitFlags::from_bits_retain(a.uint(2));
    if !KNOWN.contains(flags) {
        return Outcome::Done(Err(Errno::EINVAL.into()));
    }
    Outcome::Sleep(Box::pin(async move {
        let whom = whom_of_wait4(pid);
        let waited = wait_child(sys, l, whom, flags | WaitFlags::EXITED).await?;
        let Some(Child { info, used }) = waited else {
            return Ok(Ret::ZERO);
        };
        if status != 0 {
            copyout_struct(l, &wait_status(&info).raw(), status)?;
        }
        if rusage != 0 {
            copyout_struct(l, &used, rusage)?;
        }
        Ok(Ret(u64::from(info.pid.unsigned_abs()), 0))
    }))
}

/// `wait6(2)`: the same with more to choose and more to learn.
///
/// # Errors
/// EINVAL: unknown options or none that waits for something, or an id type that is not supported. ECHILD.
/// EINTR. EFAULT.
pub(crate) fn sys_wait6<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let (status, wrusage) = (a.ptr(2), a.ptr(4));
    let flags = WaitFlags::from_bits_retain(a.uint(3));
    let whom = match check_wait6(a.int(0), a.int(1), flags) {
        Ok(whom) => whom,
        Err(errno) => return Outcome::Done(Err(errno.into())),
    };
    let siginfo = a.ptr(5);
    Outcome::Sleep(Box::pin(async move {
        let waited = wait_child(sys, l, whom, flags).await?;
        let (info, used) = match &waited {
            Some(Child { info, used }) => (Some(*info), *used),
            None => (None, Rusage::new_zeroed()),
        };
        if status != 0 {
            let word = info.map_or(0, |info| wait_status(&info).raw());
            copyout_struct(l, &word, status)?;
        }
        if wrusage != 0 {
            let both = Wrusage {
                wru_self: used,
                wru_children: Rusage::new_zeroed(),
            };
            copyout_struct(l, &both, wrusage)?;
        }
        if siginfo != 0 {
            let told = info.map_or_else(Siginfo::new_zeroed, |info| child_siginfo(&info, &used));
            copyout_struct(l, &told, siginfo)?;
        }
        Ok(Ret(
            info.map_or(0, |info| u64::from(info.pid.unsigned_abs())),
            0,
        ))
    }))
}
