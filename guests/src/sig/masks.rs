//! Masks and dispositions: L-216 to L-224, L-239, L-248 to L-254.

use rt::abi::signal::{SIG_BLOCK, SIG_DFL, SIG_IGN, SaFlags, SigSet, Sigaction, Siginfo, Signo};
use rt::abi::time::Timespec;
use rt::abi::ucontext::Ucontext;
use rt::check::{Check, Verdict};
use rt::lwp::{self, How, spawn};
use rt::process;
use rt::sync::Word;
use rt::sys::Arg as _;
use rt::time::{MS, now, timespec};
use rt::{Errno, ensure, ensure_eq, ensure_err, scene, sig, sys, sysctl, vm};

pub(crate) const CHECKS: &[Check] = &[
    ("L-216", masks_are_per_lwp),
    ("L-217", dispositions_are_shared),
    ("L-239", blocked_during_the_handler),
    ("L-248", sigkill_and_sigstop),
    ("L-249", trampolines),
    ("L-250", unknown_flag),
    ("sigaction/EINVAL-number", no_such_signal),
    ("sigaction/EFAULT", bad_addresses),
    ("sigaction/SA_RESETHAND", reset),
    ("sigaction/old", what_was_before),
    ("sigprocmask/EINVAL-how", bad_how),
    ("sigprocmask/order", old_mask_is_written_last),
    ("L-251", sigsuspend),
    ("L-252", one_pending_instance),
    ("L-253", realtime_signals_queue),
    ("L-254", order_of_delivery),
    ("sigpending/both", own_and_process),
    ("L-224", sigtimedwait_without_waiting),
    ("sigtimedwait/mask", sigtimedwait_takes_what_is_pending),
    ("sigtimedwait/limit", sigtimedwait_limit),
    ("sigignore/pending", ignoring_discards),
];

const USR1: Signo = Signo::SIGUSR1;
const USR2: Signo = Signo::SIGUSR2;
const ONLY_USR1: SigSet = SigSet::of(&[USR1]);

/// How often [`count`] ran.
static HANDLED: Word = Word::new();

extern "C" fn count(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
    HANDLED.add();
}

fn masks_are_per_lwp() -> Verdict {
    let task = spawn(|| {
        let _ = sig::setmask(SigSet::of(&[USR2, Signo::SIGRTMIN]));
        sig::mask()
    });
    ensure_eq!(task.join()?, SigSet::of(&[USR2, Signo::SIGRTMIN]));
    ensure!(sig::mask().is_empty());
    Ok(())
}

fn dispositions_are_shared() -> Verdict {
    spawn(|| sig::catch(USR1, count, SaFlags::empty())).join()??;
    lwp::kill(lwp::me(), USR1.raw())?;
    ensure_eq!(HANDLED.get(), 1);
    Ok(())
}

/// The mask that [`keep_mask`] found.
static MASK: Word = Word::new();

extern "C" fn keep_mask(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
    MASK.set(sig::mask().words()[0]);
}

fn blocked_during_the_handler() -> Verdict {
    let usr1 = ONLY_USR1.words()[0];
    let both = SigSet::of(&[USR1, USR2]).words()[0];
    let handler = sig::handler_addr(keep_mask);
    let cases = [
        (SaFlags::empty(), SigSet::of(&[USR2, Signo::SIGKILL]), both),
        (SaFlags::empty(), SigSet::EMPTY, usr1),
        (SaFlags::NODEFER, SigSet::of(&[USR2]), both & !usr1),
        (SaFlags::NODEFER, SigSet::EMPTY, 0),
    ];
    for (flags, mask, want) in cases {
        sig::action(USR1, handler, flags, mask)?;
        MASK.set(u32::MAX);
        lwp::kill(lwp::me(), USR1.raw())?;
        ensure!(MASK.get() == want, "{:#x}, not {want:#x}", MASK.get());
        ensure!(sig::mask().is_empty());
    }
    Ok(())
}

fn sigkill_and_sigstop() -> Verdict {
    for signo in [Signo::SIGKILL, Signo::SIGSTOP] {
        ensure_err!(sig::catch(signo, count, SaFlags::empty()), EINVAL);
        ensure_err!(sig::ignore(signo), EINVAL);
        ensure_err!(sig::default(signo), EINVAL);
        ensure_eq!(sig::query(signo)?.sa_handler, SIG_DFL);
    }
    Ok(())
}

/// A disposition.
fn disposition(sa_handler: u64, sa_flags: u32) -> Sigaction {
    Sigaction {
        sa_handler,
        sa_mask: SigSet::EMPTY,
        sa_flags,
        pad: 0,
    }
}

fn trampolines() -> Verdict {
    let caught = disposition(sig::handler_addr(count), 0);
    let tramp = sig::trampoline_addr();
    let set =
        |new: &Sigaction, tramp, vers| sig::sigaction_raw(USR1.raw(), new.arg(), 0, tramp, vers);
    ensure_err!(set(&caught, tramp, 0), EINVAL);
    ensure_err!(set(&caught, tramp, 1), EINVAL);
    ensure_err!(set(&caught, 0, 2), EINVAL);
    for vers in [-1, 4, 100] {
        ensure_err!(set(&caught, tramp, vers), EINVAL);
    }
    ensure_eq!(set(&disposition(SIG_IGN, 0), 0, 0), Ok(0));
    ensure_eq!(set(&disposition(SIG_DFL, 0), 0, 77), Ok(0));
    ensure_eq!(set(&caught, tramp, 2), Ok(0));
    Ok(())
}

fn unknown_flag() -> Verdict {
    for flags in [0x100, 0x8000_0000] {
        let new = disposition(SIG_IGN, flags);
        ensure_err!(sig::sigaction_raw(USR1.raw(), new.arg(), 0, 0, 0), EINVAL);
    }
    Ok(())
}

fn no_such_signal() -> Verdict {
    let new = disposition(SIG_IGN, 0);
    for signo in [0, -1, 64, i32::MAX, i32::MIN] {
        ensure_err!(sig::sigaction_raw(signo, new.arg(), 0, 0, 0), EINVAL);
        ensure_err!(sig::sigaction_raw(signo, 0, 0, 0, 0), EINVAL);
        // The address is looked at first.
        ensure_err!(sig::sigaction_raw(signo, vm::NOWHERE, 0, 0, 0), EFAULT);
    }
    Ok(())
}

fn bad_addresses() -> Verdict {
    ensure_err!(
        sig::sigaction_raw(USR1.raw(), u64::MAX - 8, 0, 0, 0),
        EFAULT
    );
    // The change has been made when the old one cannot be stored.
    let new = disposition(SIG_IGN, 0);
    ensure_err!(
        sig::sigaction_raw(USR1.raw(), new.arg(), vm::NOWHERE, 0, 0),
        EFAULT
    );
    ensure_eq!(sig::query(USR1)?.sa_handler, SIG_IGN);
    Ok(())
}

fn reset() -> Verdict {
    sig::catch(USR1, count, SaFlags::RESETHAND)?;
    lwp::kill(lwp::me(), USR1.raw())?;
    ensure_eq!(HANDLED.get(), 1);
    ensure_eq!(sig::query(USR1)?.sa_handler, SIG_DFL);
    Ok(())
}

fn what_was_before() -> Verdict {
    let mask = SigSet::of(&[USR2, Signo::SIGRTMAX]);
    let handler = sig::handler_addr(count);
    sig::action(USR1, handler, SaFlags::RESTART | SaFlags::NODEFER, mask)?;
    let old = sig::query(USR1)?;
    ensure_eq!((old.sa_handler, old.sa_flags), (handler, 0x12));
    ensure_eq!(old.sa_mask, mask);
    Ok(())
}

fn bad_how() -> Verdict {
    for how in [0, 4, -1, i32::MAX] {
        ensure_err!(sig::procmask(how, Some(&ONLY_USR1)), EINVAL);
        ensure!(sig::procmask(how, None).is_ok());
    }
    ensure_err!(sys!(SYS_SIGPROCMASK14, SIG_BLOCK, vm::NOWHERE, 0), EFAULT);
    // The set is read before the way is judged.
    ensure_err!(sys!(SYS_SIGPROCMASK14, 77, vm::NOWHERE, 0), EFAULT);
    ensure!(sig::mask().is_empty());
    Ok(())
}

fn old_mask_is_written_last() -> Verdict {
    ensure_err!(
        sys!(SYS_SIGPROCMASK14, SIG_BLOCK, &ONLY_USR1, vm::NOWHERE),
        EFAULT
    );
    ensure_eq!(sig::mask(), ONLY_USR1);
    Ok(())
}

fn sigsuspend() -> Verdict {
    sig::action(
        USR1,
        sig::handler_addr(keep_mask),
        SaFlags::RESTART,
        SigSet::EMPTY,
    )?;
    let own = SigSet::of(&[USR1, Signo::SIGHUP]);
    let task = How::new()
        .mask(own)
        .spawn(|| (sig::suspend(SigSet::of(&[USR2])), sig::mask()))?;
    sysctl::until_sleeping(task.lid)?;
    lwp::kill(task.lid, USR1.raw())?;
    ensure_eq!(task.join()?, (Err(Errno::EINTR), own));
    ensure_eq!(MASK.get(), SigSet::of(&[USR1, USR2]).words()[0]);
    ensure_err!(sys!(SYS_SIGSUSPEND14, vm::NOWHERE), EFAULT);
    Ok(())
}

fn one_pending_instance() -> Verdict {
    sig::catch(USR1, count, SaFlags::empty())?;
    sig::block(USR1)?;
    for _ in 0..10 {
        lwp::kill(lwp::me(), USR1.raw())?;
    }
    sig::unblock(USR1)?;
    ensure_eq!(HANDLED.get(), 1);
    Ok(())
}

fn realtime_signals_queue() -> Verdict {
    sig::catch(Signo::SIGRTMIN, count, SaFlags::empty())?;
    sig::block(Signo::SIGRTMIN)?;
    for _ in 0..10 {
        lwp::kill(lwp::me(), Signo::SIGRTMIN.raw())?;
    }
    sig::unblock(Signo::SIGRTMIN)?;
    ensure_eq!(HANDLED.get(), 10);
    Ok(())
}

/// The signals in the order in which [`note`] saw them, eight bits each.
static ORDER: Word = Word::new();

extern "C" fn note(signo: i32, _: &mut Siginfo, _: &mut Ucontext) {
    ORDER.set(ORDER.get() << 8 | signo.cast_unsigned());
}

fn order_of_delivery() -> Verdict {
    // While one handler runs the others wait, so that the order shows.
    let all = [Signo::SIGHUP, Signo::SIGINT, USR1, USR2];
    for signo in all {
        sig::action(
            signo,
            sig::handler_addr(note),
            SaFlags::empty(),
            SigSet::of(&all),
        )?;
        sig::block(signo)?;
    }
    process::kill(process::pid(), Signo::SIGHUP.raw())?;
    process::kill(process::pid(), Signo::SIGINT.raw())?;
    lwp::kill(lwp::me(), USR2.raw())?;
    lwp::kill(lwp::me(), USR1.raw())?;
    sig::setmask(SigSet::EMPTY)?;
    // Own ones first, then the process'. Each handler's mask keeps the next from being built.
    ensure_eq!(ORDER.get().to_be_bytes(), [30, 31, 1, 2]);
    Ok(())
}

fn own_and_process() -> Verdict {
    let both = SigSet::of(&[USR1, USR2]);
    sig::setmask(both)?;
    lwp::kill(lwp::me(), USR1.raw())?;
    process::kill(process::pid(), USR2.raw())?;
    ensure_eq!(sig::pending()?, both);
    ensure_eq!(spawn(sig::pending).join()?, Ok(SigSet::of(&[USR2])));
    ensure_err!(sys!(SYS_SIGPENDING14, vm::NOWHERE), EFAULT);
    Ok(())
}

fn sigtimedwait_without_waiting() -> Verdict {
    ensure_err!(sig::timedwait(ONLY_USR1, Some(&mut timespec(0))), EAGAIN);
    sig::block(USR1)?;
    lwp::kill(lwp::me(), USR1.raw())?;
    let mut bad = Timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000_000,
    };
    ensure_err!(sig::timedwait(ONLY_USR1, Some(&mut bad)), EINVAL);
    ensure_err!(sys!(SYS_SIGTIMEDWAIT50, &ONLY_USR1, 0, vm::NOWHERE), EFAULT);
    ensure_err!(
        sys!(SYS_SIGTIMEDWAIT50, vm::NOWHERE, 0, &Timespec::ZERO),
        EFAULT
    );
    let info = sig::timedwait(ONLY_USR1, Some(&mut timespec(0)))?;
    ensure_eq!(info.si_signo, USR1.raw());
    Ok(())
}

fn sigtimedwait_takes_what_is_pending() -> Verdict {
    sig::catch(USR1, count, SaFlags::empty())?;
    sig::setmask(SigSet::of(&[USR1, USR2]))?;
    lwp::kill(lwp::me(), USR1.raw())?;
    process::kill(process::pid(), USR2.raw())?;
    // The process' set comes first, here.
    let info = sig::timedwait(SigSet::ALL, None)?;
    ensure_eq!(
        (info.si_signo, info.si_code, info.pid().raw()),
        (USR2.raw(), 0, process::pid())
    );
    let mut set = SigSet::EMPTY;
    set.insert(USR1);
    ensure_eq!(sys!(SYS_SIGTIMEDWAIT50, &set, 0, 0), Ok(USR1.raw().arg()));
    ensure!(sig::pending()?.is_empty());
    ensure_eq!(HANDLED.get(), 0);
    Ok(())
}

fn sigtimedwait_limit() -> Verdict {
    let start = now();
    let mut limit = timespec(20 * MS);
    ensure_err!(sig::timedwait(ONLY_USR1, Some(&mut limit)), EAGAIN);
    ensure!(now() - start >= 20 * MS);
    let mut negative = Timespec {
        tv_sec: -1,
        tv_nsec: 0,
    };
    ensure_err!(sig::timedwait(ONLY_USR1, Some(&mut negative)), ETIMEDOUT);
    Ok(())
}

fn ignoring_discards() -> Verdict {
    sig::setmask(SigSet::of(&[USR1, Signo::SIGCHLD]))?;
    sig::catch(Signo::SIGCHLD, count, SaFlags::empty())?;
    process::kill(process::pid(), USR1.raw())?;
    lwp::kill(lwp::me(), Signo::SIGCHLD.raw())?;
    let task = scene::parked()?;
    lwp::kill(task.lid, Signo::SIGCHLD.raw())?;
    sig::ignore(USR1)?;
    sig::default(Signo::SIGCHLD)?;
    ensure!(sig::pending()?.is_empty());
    Ok(())
}
