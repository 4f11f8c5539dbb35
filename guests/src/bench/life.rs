//! How LWPs come and go, and how they are stopped.

use crate::crowd::Crowd;
use crate::{cost, measure};
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use rt::abi::lwp::{LWP_DETACHED, LwpId};
use rt::check::Verdict;
use rt::sync::Word;
use rt::time::now;
use rt::{lwp, scene, vm};

/// An LWP from its creation to its end, on a stack that is there already.
pub(crate) fn create_exit_wait(count: u64) -> Verdict {
    extern "C" fn nothing(_: u64) {}
    let stack = vm::map(lwp::STACK_SIZE)?;
    let uc = lwp::makecontext(nothing, 0, stack.end())?;
    measure("create_exit_wait", count, |n| {
        for _ in 0..n {
            let lid = lwp::create(&uc, 0).unwrap_or(LwpId::new(-1));
            let _ = lwp::wait(lid);
        }
    });
    Ok(())
}

static LEFT: AtomicU64 = AtomicU64::new(0);
static MAIN: AtomicI32 = AtomicI32::new(0);

extern "C" fn leave(_: u64) {
    if LEFT.fetch_sub(1, Ordering::AcqRel) == 1 {
        let _ = lwp::unpark(LwpId::new(MAIN.load(Ordering::Relaxed)));
    }
}

/// Detached LWPs, 64 at a time, until the last has run. Two sets of stacks in turns: an LWP that has
/// said it is done still needs its own for a moment.
pub(crate) fn create_detached(count: u64) -> Verdict {
    const TOGETHER: u64 = 64;
    MAIN.store(lwp::me().raw(), Ordering::Relaxed);
    let crowds = [Crowd::new(TOGETHER, 8192)?, Crowd::new(TOGETHER, 8192)?];
    let batches = count.div_ceil(TOGETHER);
    let start = now();
    for batch in 0..batches {
        LEFT.store(TOGETHER, Ordering::Relaxed);
        crowds[usize::from(!batch.is_multiple_of(2))].create(leave, LWP_DETACHED)?;
        while LEFT.load(Ordering::Acquire) != 0 {
            let _ = lwp::park();
        }
    }
    cost("create_detached", now() - start, batches * TOGETHER);
    Ok(())
}

/// `_lwp_suspend` of an LWP that is parked, and `_lwp_continue`.
pub(crate) fn suspend_parked(count: u64) -> Verdict {
    static STOP: Word = Word::new();
    let task = lwp::spawn(|| {
        while STOP.get() == 0 {
            let _ = lwp::park();
        }
    });
    rt::sysctl::until_parked(task.lid)?;
    measure("suspend_parked", count, |n| {
        for _ in 0..n {
            let _ = lwp::suspend(task.lid);
            let _ = lwp::resume(task.lid);
        }
    });
    STOP.set(1);
    lwp::unpark(task.lid)?;
    task.join()?;
    Ok(())
}

/// The same of an LWP that computes, on another vcpu if there is one.
pub(crate) fn suspend_running(count: u64) -> Verdict {
    static STOP: Word = Word::new();
    static COUNT: Word = Word::new();
    let task = scene::spinning(&STOP, &COUNT)?;
    measure("suspend_running", count, |n| {
        for _ in 0..n {
            let _ = lwp::suspend(task.lid);
            let _ = lwp::resume(task.lid);
        }
    });
    STOP.set(1);
    task.join()?;
    Ok(())
}
