//! Signals and contexts: sigaction, masks, waiting, alternate stacks, getcontext and setcontext.
//!
//! Sources: `sys_sig.c`, `kern_sig.c`; sigaction(2) and its family; lwp.md 5.7 to 5.10.

use crate::Unix;
use crate::args::Args;
use crate::copy::{copyin_struct, copyout, copyout_struct};
use lwp_abi::errno::Errno;
use lwp_abi::signal::{
    KSIGINFO_SIZE, MINSIGSTKSZ, SIG_BLOCK, SIG_DFL, SIG_IGN, SIG_SETMASK, SIG_UNBLOCK, SS_DISABLE,
    SS_ONSTACK, SaFlags, SigSet, Sigaction, Siginfo, Signo, StackT,
};
use lwp_abi::time::{ClockId, Timespec};
use lwp_abi::ucontext::{UcFlags, Ucontext};
use lwp_kernel::run::Ended;
use lwp_kernel::sig::SigAct;
use lwp_kernel::sleepq::{Catch, SleepEnd};
use lwp_kernel::time::{TimeKind, Timo};
use lwp_kernel::{CurLwp, Outcome, Ret, SysResult};
use zerocopy::IntoBytes;

/// The one trampoline version of amd64.
const TRAMP_VERSION: i32 = 2;

/// `__sigaction_sigtramp`: reads and sets what a signal does.
///
/// # Errors
/// EFAULT. EINVAL: no such signal, trampoline version, flags, or SIGKILL or SIGSTOP.
pub(crate) fn sys_sigaction_sigtramp(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let (nsa, osa, tramp, vers) = (a.ptr(1), a.ptr(2), a.ptr(3), a.int(4));
    let new: Option<Sigaction> = (nsa != 0).then(|| copyin_struct(l, nsa)).transpose()?;
    let signo = Signo::new(a.int(0)).ok_or(Errno::EINVAL)?;
    if let Some(new) = &new {
        check_action(signo, new, tramp, vers)?;
    }
    let old = {
        let mut p = l.kernel.proc.lock();
        let old = *p.sigacts.get(signo);
        if let Some(new) = &new {
            l.kernel
                .set_action(&mut p, signo, new_action(signo, new, tramp, vers));
        }
        old
    };
    if let (Some(new), Signo::SIGCHLD) = (&new, signo) {
        let is_ignored = new.sa_handler == SIG_IGN;
        sys.host
            .discard_children(is_ignored || new.flags().contains(SaFlags::NOCLDWAIT));
    }
    if osa != 0 {
        let shown = Sigaction {
            sa_handler: old.handler,
            sa_mask: old.mask,
            sa_flags: old.flags.bits(),
            pad: 0,
        };
        copyout_struct(l, &shown, osa)?;
    }
    Ok(Ret::ZERO)
}

fn check_action(signo: Signo, new: &Sigaction, tramp: u64, vers: i32) -> Result<(), Errno> {
    let has_handler = ![SIG_DFL, SIG_IGN].contains(&new.sa_handler);
    let bad_tramp = has_handler && (vers != TRAMP_VERSION || tramp == 0);
    if bad_tramp || !(new.flags() - SaFlags::KNOWN).is_empty() || signo.is_cantmask() {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

fn new_action(signo: Signo, new: &Sigaction, tramp: u64, vers: i32) -> SigAct {
    let mut mask = new.sa_mask.minus(SigSet::CANTMASK);
    if !new.flags().contains(SaFlags::NODEFER) {
        mask.insert(signo);
    }
    SigAct {
        handler: new.sa_handler,
        mask,
        flags: new.flags(),
        tramp,
        vers,
    }
}

/// `__sigprocmask14`.
///
/// # Errors
/// EFAULT. EINVAL: bad `how`, if a set is given.
pub(crate) fn sys_sigprocmask14(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let (how, set, oset) = (a.int(0), a.ptr(1), a.ptr(2));
    let old = l.sigmask();
    if set != 0 {
        let set: SigSet = copyin_struct(l, set)?;
        l.set_sigmask(match how {
            SIG_BLOCK => old.union(set),
            SIG_UNBLOCK => old.minus(set),
            SIG_SETMASK => set,
            _ => return Err(Errno::EINVAL.into()),
        });
    }
    if oset != 0 {
        copyout_struct(l, &old, oset)?;
    }
    Ok(Ret::ZERO)
}

/// `__sigpending14`: what is pending for the LWP or the process.
///
/// # Errors
/// EFAULT.
pub(crate) fn sys_sigpending14(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let set = {
        let p = l.kernel.proc.lock();
        let own = l.lwp.lock().sigpend.set();
        own.union(p.sigpend.set())
    };
    copyout_struct(l, &set, a.ptr(0))?;
    Ok(Ret::ZERO)
}

/// `__sigsuspend14`: waits for a signal with another mask in force.
///
/// # Errors
/// EFAULT. EINTR, in the end.
pub(crate) fn sys_sigsuspend14<'a>(_: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let set = a.ptr(0);
    if set != 0 {
        match copyin_struct(l, set) {
            Ok(mask) => l.set_sigmask_for_sleep(mask),
            Err(errno) => return Outcome::Done(Err(errno.into())),
        }
    }
    Outcome::Sleep(Box::pin(async move {
        loop {
            l.sleepq_enter("pause", lwp_kernel::lwp::SyncObj::Other, Catch::Signals);
            if l.sleepq_block(None, Catch::Signals).await.is_err() {
                return Err(Errno::EINTR.into());
            }
        }
    }))
}

/// `____sigtimedwait50`: waits for one of a set of signals and takes it.
///
/// # Errors
/// EFAULT, EINVAL, ETIMEDOUT: the timeout. EAGAIN: none came. ECANCELED: interrupted.
///
/// Differs from NetBSD: an interrupted wait with a finite timeout returns ECANCELED or restarts with
/// the rest, where the source loses its error (design, settled details).
pub(crate) fn sys_sigtimedwait50<'a>(_: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let wanted = SigWait {
        set: a.ptr(0),
        info: a.ptr(1),
        timeout: a.ptr(2),
    };
    match wanted.begin(l) {
        Ok(Begun::Taken(info)) => Outcome::Done(wanted.taken(l, &info)),
        Ok(Begun::Waits(timo)) => Outcome::Sleep(Box::pin(wanted.wait(l, timo))),
        Err(errno) => Outcome::Done(Err(errno.into())),
    }
}

/// The arguments of a sigtimedwait.
struct SigWait {
    set: u64,
    info: u64,
    timeout: u64,
}

enum Begun {
    Taken(Siginfo),
    Waits(Option<Timo>),
}

impl SigWait {
    /// Up to the sleep, which is begun (`CurLwp::sigwait_enter`) if there is nothing to take.
    fn begin(&self, l: &mut CurLwp) -> Result<Begun, Errno> {
        let timeout: Option<Timespec> = (self.timeout != 0)
            .then(|| copyin_struct(l, self.timeout))
            .transpose()?;
        let timo = match timeout {
            Some(ts) if ts == Timespec::ZERO => None,
            Some(ts) => Some(l.ts2timo(ClockId::MONOTONIC, TimeKind::Relative, ts)?),
            None => None,
        };
        let set: SigSet = copyin_struct(l, self.set)?;
        let poll = timeout == Some(Timespec::ZERO);
        match l.sigwait_enter(set.minus(SigSet::CANTMASK), poll) {
            Some(info) => Ok(Begun::Taken(info)),
            None if poll => Err(Errno::EAGAIN),
            None => Ok(Begun::Waits(timo)),
        }
    }

    async fn wait(self, l: &mut CurLwp, timo: Option<Timo>) -> SysResult {
        let ended = l
            .sleepq_block(timo.map(|timo| timo.deadline), Catch::Signals)
            .await;
        if let Some(info) = l.sigwait_leave() {
            return self.taken(l, &info);
        }
        let ended = match ended {
            Err(SleepEnd::TimedOut) => return Err(Errno::EAGAIN.into()),
            Err(SleepEnd::Intr) => Errno::ECANCELED.into(),
            Ok(()) | Err(SleepEnd::Restart) => Ended::Restart,
        };
        if let Some(timo) = timo {
            let left = timo.left(l);
            if left.tv_sec < 0 || left == Timespec::ZERO {
                return Err(Errno::EAGAIN.into());
            }
            copyout_struct(l, &left, self.timeout)?;
        }
        Err(ended)
    }

    fn taken(&self, l: &CurLwp, info: &Siginfo) -> SysResult {
        if self.info != 0 {
            copyout(l, &info.as_bytes()[..KSIGINFO_SIZE], self.info)?;
        }
        Ok(Ret(u64::from(info.si_signo.unsigned_abs()), 0))
    }
}

/// `__sigaltstack14`.
///
/// # Errors
/// EFAULT. EINVAL: unknown flags, or disabling it while on it. ENOMEM: too small.
pub(crate) fn sys_sigaltstack14(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let (nss, oss) = (a.ptr(0), a.ptr(1));
    let new: Option<StackT> = (nss != 0).then(|| copyin_struct(l, nss)).transpose()?;
    let old = l.sigstk();
    if let Some(new) = new {
        if new.ss_flags & !(SS_DISABLE | SS_ONSTACK) != 0 {
            return Err(Errno::EINVAL.into());
        }
        if new.ss_flags & SS_DISABLE != 0 {
            if old.ss_flags & SS_ONSTACK != 0 {
                return Err(Errno::EINVAL.into());
            }
        } else if new.ss_size < u64::from(MINSIGSTKSZ.unsigned_abs()) {
            return Err(Errno::ENOMEM.into());
        }
        // Whether the LWP is on it is not for the caller to say.
        let on_stack = old.ss_flags & SS_ONSTACK;
        l.set_sigstk(StackT {
            ss_flags: new.ss_flags & SS_DISABLE | on_stack,
            pad: 0,
            ..new
        });
    }
    if oss != 0 {
        copyout_struct(l, &old, oss)?;
    }
    Ok(Ret::ZERO)
}

/// `getcontext(2)`.
///
/// # Errors
/// EFAULT.
pub(crate) fn sys_getcontext(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let mut uc = l.getucontext();
    // What the call returns when this context is entered again.
    uc.uc_mcontext.gregs.rax = 0;
    copyout_struct(l, &uc, a.ptr(0))?;
    Ok(Ret::ZERO)
}

/// `setcontext(2)`: continues in another context; also how handlers return.
///
/// # Errors
/// EFAULT. EINVAL: no registers, or not acceptable ones.
pub(crate) fn sys_setcontext<'a>(_: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let from = a.ptr(0);
    let result = copyin_struct::<Ucontext>(l, from).and_then(|uc| {
        if !uc.flags().contains(UcFlags::CPU) {
            return Err(Errno::EINVAL);
        }
        l.setucontext(&uc, from)
    });
    Outcome::Done(match result {
        Ok(()) => Err(Ended::AsSet),
        Err(errno) => Err(errno.into()),
    })
}
