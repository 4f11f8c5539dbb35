//! Missed signal: an LWP looks whether the signal has come, and then waits for it.
//!
//! If it comes in between, its handler has run by the time the wait begins, and the wait has no end. The signal has to
//! be blocked from before the look, and `sigsuspend(2)` lets it in.

use crate::How;
use rt::abi::signal::{SaFlags, SigSet, Siginfo, Signo};
use rt::abi::ucontext::Ucontext;
use rt::check::Verdict;
use rt::lwp::{self, spawn};
use rt::sync::Word;
use rt::time::now;
use rt::{ensure, ensure_err, sig};

const WORKERS: u32 = 2;

/// Workers that have finished.
static FINISHED: Word = Word::new();
/// Looks at that.
static LOOKS: Word = Word::new();

pub(crate) fn run(how: How) -> Verdict {
    sig::catch(Signo::SIGUSR1, finished, SaFlags::empty())?;
    match how {
        How::Bug => sig::unblock(Signo::SIGUSR1)?,
        How::Fixed => sig::block(Signo::SIGUSR1)?,
    };
    let me = lwp::me();
    let workers = [(); WORKERS as usize].map(|()| {
        spawn(move || {
            FINISHED.add();
            lwp::kill(me, Signo::SIGUSR1.raw()).is_ok()
        })
    });
    while FINISHED.get() < WORKERS {
        note();
        ensure_err!(sig::suspend(SigSet::EMPTY), EINTR);
    }
    for worker in workers {
        ensure!(worker.join()?, "no signal was sent");
    }
    Ok(())
}

/// It is enough that it ends the wait: several signals may come as one.
extern "C" fn finished(_: i32, _: &mut Siginfo, _: &mut Ucontext) {}

/// Notes when we looked.
fn note() {
    if now() != 0 {
        LOOKS.add();
    }
}
