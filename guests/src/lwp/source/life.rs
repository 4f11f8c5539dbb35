//! Creation, wait, kill, detach and exit.

use super::{before, edge};
use crate::create::limit_lwps;
use rt::abi::lwp::{L_DETACHED, LWP_DETACHED, LwpId, LwpState};
use rt::abi::signal::{SaFlags, SigSet, Siginfo, Signo};
use rt::abi::ucontext::{_UC_CPU, _UC_FPU, Ucontext};
use rt::check::{Check, Verdict};
use rt::lwp::{self, How, NOBODY};
use rt::sync::{Word, until};
use rt::{Errno, ensure, ensure_eq, ensure_err, scene, sig, sys, sysctl, vm};

pub(crate) const CHECKS: &[Check] = &[
    ("L-321", order_of_errors),
    ("L-322", context_that_is_cut_off),
    ("L-323", detached_and_suspended),
    ("L-324", nameless_one_never_runs),
    ("L-325", id_of_32_bits),
    ("L-335", departed_of_32_bits),
    ("L-336", signal_without_room),
    ("L-337", detach_a_dead_detached_one),
    ("L-338", detach_before_it_runs),
    ("L-354", unmaskable_signals_in_a_context),
];

extern "C" fn nothing(_: u64) {}

/// A context for an LWP that does nothing.
fn context() -> Result<Ucontext, Errno> {
    let stack = vm::map(lwp::STACK_SIZE)?;
    lwp::makecontext(nothing, 0, stack.end())
}

/// That a creation whose id has no place fails so, and leaves no LWP.
fn fails(uc: u64, errno: Errno) -> Verdict {
    ensure_eq!(sys!(SYS_LWP_CREATE, uc, 0, 0), Err(errno));
    ensure_err!(lwp::wait_any(), ESRCH);
    Ok(())
}

fn order_of_errors() -> Verdict {
    use rt::sys::Arg as _;
    let mut without = context()?;
    without.uc_flags &= !_UC_CPU;
    let mut refused = context()?;
    refused.uc_mcontext.gregs.cs = 8;
    fails(vm::NOWHERE, Errno::EFAULT)?;
    fails((&without).arg(), Errno::EINVAL)?;
    fails((&refused).arg(), Errno::EINVAL)?;
    limit_lwps(0)?;
    fails((&refused).arg(), Errno::EINVAL)?;
    fails((&context()?).arg(), Errno::EAGAIN)
}

fn context_that_is_cut_off() -> Verdict {
    let mut uc = context()?;
    uc.uc_flags &= !_UC_FPU;
    let edge = edge()?;
    let mut lid = LwpId::new(0);
    let at = before(edge, uc);
    sys!(SYS_LWP_CREATE, at, 0, &mut lid)?;
    lwp::wait(lid)?;
    // The registers are there, the end of the image is not.
    let start: [u8; size_of::<Ucontext>() - 8] = {
        let from = (&raw const uc).cast();
        // SAFETY: it is shorter than the context it comes from.
        unsafe { core::ptr::read(from) }
    };
    let at = before(edge, start);
    ensure_err!(sys!(SYS_LWP_CREATE, at, 0, &mut lid), EFAULT);
    ensure_err!(lwp::wait_any(), ESRCH);
    Ok(())
}

fn detached_and_suspended() -> Verdict {
    static RAN: Word = Word::new();
    let task = How::new().detached().suspended().spawn(|| RAN.set(1))?;
    sysctl::until_state(task.lid, LwpState::Suspended)?;
    let flags = sysctl::lwp(task.lid).map(|info| info.l_flag & L_DETACHED);
    ensure_eq!((flags, RAN.get()), (Some(L_DETACHED), 0));
    ensure_err!(lwp::wait(task.lid), EINVAL);
    lwp::resume(task.lid)?;
    RAN.wait(1)?;
    until("its end", || lwp::wait(task.lid) == Err(Errno::ESRCH))?;
    Ok(())
}

fn nameless_one_never_runs() -> Verdict {
    static RAN: Word = Word::new();
    extern "C" fn run(_: u64) {
        RAN.set(1);
    }
    for flags in [0, LWP_DETACHED] {
        let stack = vm::map(lwp::STACK_SIZE)?;
        let uc = lwp::makecontext(run, 0, stack.end())?;
        ensure_err!(sys!(SYS_LWP_CREATE, &uc, flags, 0), EFAULT);
        // Once it has been reaped nothing is left that could run.
        let reaped = lwp::wait_any();
        ensure_eq!(reaped.is_ok(), flags == 0);
        ensure_err!(lwp::wait_any(), ESRCH);
        ensure_eq!(RAN.get(), 0);
    }
    Ok(())
}

fn id_of_32_bits() -> Verdict {
    let mut place = [0_u32, 0x5a5a_5a5a];
    let uc = context()?;
    sys!(SYS_LWP_CREATE, &uc, 0, place.as_mut_ptr())?;
    ensure_eq!(place[1], 0x5a5a_5a5a);
    lwp::wait(LwpId::new(place[0].cast_signed()))?;
    // Any alignment will do, up to the end of memory.
    let at = edge()? - 4;
    sys!(SYS_LWP_CREATE, &uc, 0, at)?;
    lwp::wait_any()?;
    Ok(())
}

fn departed_of_32_bits() -> Verdict {
    let mut place = [0x5a5a_5a5a_u32; 2];
    for (lid, errno) in [(NOBODY, Errno::ESRCH), (lwp::me(), Errno::EDEADLK)] {
        ensure_eq!(sys!(SYS_LWP_WAIT, lid, place.as_mut_ptr()), Err(errno));
        ensure_eq!(place, [0x5a5a_5a5a; 2]);
    }
    let task = scene::zombie()?;
    sys!(SYS_LWP_WAIT, 0, place.as_mut_ptr())?;
    ensure_eq!(place, [task.lid.raw().cast_unsigned(), 0x5a5a_5a5a]);
    Ok(())
}

/// How often [`count`] ran.
static HANDLED: Word = Word::new();

extern "C" fn count(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
    HANDLED.add();
}

fn signal_without_room() -> Verdict {
    const ROOM: u32 = 32;
    let signo = Signo::SIGRTMIN;
    sig::catch(signo, count, SaFlags::empty())?;
    sig::block(signo)?;
    for _ in 0..ROOM + 8 {
        ensure_eq!(lwp::kill(lwp::me(), signo.raw()), Ok(0));
    }
    sig::unblock(signo)?;
    ensure_eq!(HANDLED.get(), ROOM);
    ensure!(sig::pending()?.is_empty());
    Ok(())
}

fn detach_a_dead_detached_one() -> Verdict {
    let task = How::new().detached().spawn(|| ())?;
    until("its end", || lwp::kill(task.lid, 0) == Err(Errno::ESRCH))?;
    ensure_err!(lwp::detach(task.lid), EINVAL);
    ensure_err!(lwp::detach(task.lid), EINVAL);
    // A wait reclaims it, whatever it is for.
    ensure_err!(lwp::wait(NOBODY), ESRCH);
    ensure_err!(lwp::detach(task.lid), ESRCH);
    Ok(())
}

fn detach_before_it_runs() -> Verdict {
    static RAN: Word = Word::new();
    let task = How::new().suspended().spawn(|| RAN.set(1))?;
    sysctl::until_state(task.lid, LwpState::Suspended)?;
    ensure_eq!(lwp::detach(task.lid), Ok(0));
    ensure_err!(lwp::wait(task.lid), EINVAL);
    ensure_eq!(RAN.get(), 0);
    lwp::resume(task.lid)?;
    RAN.wait(1)?;
    until("its end", || lwp::wait(task.lid) == Err(Errno::ESRCH))?;
    Ok(())
}

fn unmaskable_signals_in_a_context() -> Verdict {
    let given = SigSet::CANTMASK;
    let seen = How::new().mask(given).spawn(sig::mask)?.join()?;
    ensure_eq!(seen, given);
    // Not so when a mask is set.
    sig::setmask(given)?;
    ensure_eq!(sig::mask(), SigSet::EMPTY);
    Ok(())
}
