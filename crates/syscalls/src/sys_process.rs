//! Processes: exit, fork, signals to others, groups and sessions.
//!
//! One guest process is one host process, so most of this is the host's; `pids` says who is who. Waiting for
//! children is in `sys_wait`, execve in `sys_exec`.
//!
//! Sources: `kern_fork.c`, `kern_exit.c`, `kern_prot.c`; fork(2), kill(2); syscalls.md 5.3.

use crate::Unix;
use crate::args::Args;
use crate::errno::{from_host, from_rustix};
use lwp_abi::errno::Errno;
use lwp_abi::lwp::Pid;
use lwp_abi::signal::{NSIG, Siginfo, Signo};
use lwp_kernel::machine::{ExitWith, Forked};
use lwp_kernel::sleepq::Catch;
use lwp_kernel::{CurLwp, Outcome, Ret, SysResult};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process as host;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The writing ends of the pipes by which children of vfork(2) say that they have executed or ended:
/// those of this process's children that are being made, and this process's own if it is such a child.
///
/// A fork copies them all, and the parent of one would wait for the others, too. So each child closes
/// what is not its own.
#[derive(Debug, Default)]
pub(crate) struct Vforks(Mutex<Vec<OwnedFd>>);

impl Vforks {
    fn lock(&self) -> MutexGuard<'_, Vec<OwnedFd>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, end: OwnedFd) -> RawFd {
        let name = end.as_raw_fd();
        self.lock().push(end);
        name
    }

    fn close(&self, name: RawFd) {
        self.lock().retain(|end| end.as_raw_fd() != name);
    }

    fn keep_only(&self, name: Option<RawFd>) {
        self.lock().retain(|end| Some(end.as_raw_fd()) == name);
    }
}

/// `exit(2)`: ends the process with all its LWPs.
pub(crate) fn sys_exit<'a>(_: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let with = ExitWith::Code(a.int(0));
    Outcome::Sleep(Box::pin(async move { Err(l.exit_process(with).await) }))
}

/// `fork(2)`.
///
/// # Errors
/// EAGAIN, ENOMEM: the host's.
pub(crate) fn sys_fork<'a>(sys: &'a Unix, l: &'a mut CurLwp, _: &Args) -> Outcome<'a> {
    Outcome::Sleep(Box::pin(async move {
        match fork(sys, l, None).await? {
            Forked::Parent(pid) => Ok(parent(pid)),
            Forked::Child { .. } => Ok(child(l)),
        }
    }))
}

/// `vfork(2)` and `__vfork14(2)`: the calling LWP sleeps until the child has executed or ended.
///
/// # Errors
/// As [`sys_fork`].
///
/// Differs from NetBSD: 282 copies memory, as 66 does there.
pub(crate) fn sys_vfork<'a>(sys: &'a Unix, l: &'a mut CurLwp, _: &Args) -> Outcome<'a> {
    Outcome::Sleep(Box::pin(async move {
        // The child holds the writing end until the host closes it, at exec or exit.
        let (held, holding) = high_pipe(sys)?;
        let holding = sys.vforks.add(holding);
        let forked = fork(sys, l, Some(holding)).await;
        if !matches!(forked, Ok(Forked::Child { .. })) {
            sys.vforks.close(holding);
        }
        match forked? {
            Forked::Parent(pid) => {
                let until_let_go = move || {
                    Some(rustix::io::retry_on_intr(|| {
                        rustix::io::read(&held, &mut [0])
                    }))
                };
                let _ = l.run_blocking("vfork", Catch::Nothing, until_let_go).await;
                Ok(parent(pid))
            }
            Forked::Child { .. } => {
                drop(held);
                l.kernel.set_vfork_child(true);
                Ok(child(l))
            }
        }
    }))
}

/// Forks; a child of vfork(2) keeps the end of the pipe that is called `holding`.
async fn fork(sys: &Unix, l: &mut CurLwp, holding: Option<RawFd>) -> Result<Forked, Errno> {
    let called = sys.pids.reserve();
    let side = l.fork(called).await.map_err(from_host)?;
    let side = sys.pids.born(side, called);
    if matches!(side, Forked::Child { .. }) {
        sys.vforks.keep_only(holding);
        l.kernel.set_vfork_child(false);
        l.kernel.vm.forked();
        sys.files.forked_child(&*sys.host);
    }
    Ok(side)
}

fn parent(pid: i32) -> Ret {
    Ret(u64::from(pid.unsigned_abs()), 0)
}

/// The child's RDX is as it was.
fn child(l: &CurLwp) -> Ret {
    Ret(0, l.ctx.regs.rdx)
}

/// A pipe, both ends out of the guest's sight and closed at exec: reading, writing.
fn high_pipe(sys: &Unix) -> Result<(OwnedFd, OwnedFd), Errno> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(from_rustix)?;
    let first = sys.host.first_own_fd();
    let high = |end: OwnedFd| fcntl_dupfd_cloexec(end, first).map_err(from_rustix);
    Ok((high(read)?, high(write)?))
}

/// `kill(2)`.
///
/// # Errors
/// EINVAL: no such signal, or one that the host cannot carry to another process. ESRCH, EPERM.
pub(crate) fn sys_kill(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let (pid, number) = (a.int(0), a.int(1));
    if !(0..NSIG).contains(&number) {
        return Err(Errno::EINVAL.into());
    }
    let signo = Signo::new(number);
    if pid == l.kernel.proc.pid() {
        if let Some(signo) = signo {
            let me = Pid::new(pid);
            l.kernel
                .psignal(&Siginfo::user(signo, me, host::getuid().as_raw()));
        }
        return Ok(Ret::ZERO);
    }
    let host_signo = match signo {
        Some(signo) => signo.to_linux().ok_or(Errno::EINVAL)?,
        None => 0,
    };
    let pid = sys.pids.to_host(pid)?;
    sys.host.kill(pid, host_signo).map_err(from_host)?;
    Ok(Ret::ZERO)
}

/// `getpgrp(2)`.
pub(crate) fn sys_getpgrp(sys: &Unix, _: &mut CurLwp, _: &Args) -> SysResult {
    let group = sys.host.getpgid(0).map_err(from_host)?;
    Ok(ret_pid(sys, group))
}

/// `getpgid(2)`.
///
/// # Errors
/// ESRCH.
pub(crate) fn sys_getpgid(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    let group = sys
        .host
        .getpgid(pid_arg(sys, a.int(0))?)
        .map_err(from_host)?;
    Ok(ret_pid(sys, group))
}

/// `getsid(2)`.
///
/// # Errors
/// ESRCH.
pub(crate) fn sys_getsid(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    let session = sys
        .host
        .getsid(pid_arg(sys, a.int(0))?)
        .map_err(from_host)?;
    Ok(ret_pid(sys, session))
}

/// `setpgid(2)`.
///
/// # Errors
/// EINVAL: a negative group. EACCES, EPERM, ESRCH.
pub(crate) fn sys_setpgid(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    let group = a.int(1);
    if group < 0 {
        return Err(Errno::EINVAL.into());
    }
    let pid = pid_arg(sys, a.int(0))?;
    // The group of nobody that is there is none that one could join.
    let group = sys.pids.to_host(group).map_err(|_| Errno::EPERM)?;
    host::setpgid(host::Pid::from_raw(pid), host::Pid::from_raw(group)).map_err(from_rustix)?;
    Ok(Ret::ZERO)
}

/// `setsid(2)`.
///
/// # Errors
/// EPERM: the caller leads a group.
pub(crate) fn sys_setsid(sys: &Unix, _: &mut CurLwp, _: &Args) -> SysResult {
    let session = host::setsid().map_err(from_rustix)?;
    Ok(ret_pid(sys, session.as_raw_nonzero().get()))
}

/// The host's number for a pid argument; 0 is the caller.
fn pid_arg(sys: &Unix, pid: i32) -> Result<i32, Errno> {
    if pid < 0 {
        return Err(Errno::ESRCH);
    }
    sys.pids.to_host(pid)
}

fn ret_pid(sys: &Unix, host: i32) -> Ret {
    let pid = sys.pids.to_guest(host);
    Ret(u64::from(pid.unsigned_abs()), 0)
}
