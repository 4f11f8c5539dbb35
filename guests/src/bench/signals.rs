//! Signals: from `_lwp_kill` until the handler has run, and back.

use crate::measure;
use core::sync::atomic::{AtomicI32, Ordering};
use rt::abi::lwp::LwpId;
use rt::abi::signal::{SaFlags, Siginfo, Signo};
use rt::abi::ucontext::Ucontext;
use rt::check::Verdict;
use rt::lwp::{self, spawn};
use rt::sig;
use rt::sync::{Word, yield_now};

static HANDLED: Word = Word::new();
static MAIN: AtomicI32 = AtomicI32::new(0);

extern "C" fn nothing(_: i32, _: &mut Siginfo, _: &mut Ucontext) {}

/// Tells the first LWP, which is parked.
extern "C" fn tell(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
    HANDLED.add();
    let _ = lwp::unpark(LwpId::new(MAIN.load(Ordering::Relaxed)));
}

/// Leaves a mark for the first LWP, which looks.
extern "C" fn mark(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
    HANDLED.add();
}

/// To oneself: the call, the handler, the return.
pub(crate) fn to_self(count: u64) -> Verdict {
    sig::catch(Signo::SIGUSR1, nothing, SaFlags::empty())?;
    let me = lwp::me();
    measure("signal_self", count, |n| {
        for _ in 0..n {
            let _ = lwp::kill(me, Signo::SIGUSR1.raw());
        }
    });
    Ok(())
}

/// To an LWP that is parked, which handles it, tells us, and parks again.
pub(crate) fn to_parked(count: u64) -> Verdict {
    static STOP: Word = Word::new();
    sig::catch(Signo::SIGUSR1, tell, SaFlags::empty())?;
    MAIN.store(lwp::me().raw(), Ordering::Relaxed);
    let task = spawn(|| {
        while STOP.get() == 0 {
            let _ = lwp::park();
        }
    });
    rt::sysctl::until_parked(task.lid)?;
    measure("signal_parked", count, |n| {
        for _ in 0..n {
            let seen = HANDLED.get();
            let _ = lwp::kill(task.lid, Signo::SIGUSR1.raw());
            while HANDLED.get() == seen {
                let _ = lwp::park();
            }
        }
    });
    STOP.set(1);
    lwp::unpark(task.lid)?;
    task.join()?;
    Ok(())
}

/// To an LWP that computes on another vcpu, while we look for the mark; with one vcpu we yield to it.
pub(crate) fn to_running(count: u64) -> Verdict {
    static STOP: Word = Word::new();
    sig::catch(Signo::SIGUSR1, mark, SaFlags::empty())?;
    let alone = rt::sysctl::ncpu()? < 2;
    let task = spawn(|| STOP.spin(1));
    measure("signal_running", count, |n| {
        for _ in 0..n {
            let seen = HANDLED.get();
            let _ = lwp::kill(task.lid, Signo::SIGUSR1.raw());
            while HANDLED.get() == seen {
                if alone {
                    yield_now();
                }
                core::hint::spin_loop();
            }
        }
    });
    STOP.set(1);
    task.join()?;
    Ok(())
}
