//! Suspend, continue and wakeup.

use rt::abi::lwp::{LwpId, LwpState};
use rt::abi::nr::SYS_VFORK;
use rt::abi::signal::{SaFlags, Siginfo, Signo};
use rt::abi::ucontext::Ucontext;
use rt::check::{Check, Verdict, times};
use rt::lwp::{self, How, Task, spawn};
use rt::process;
use rt::scene::{self, has_token, lacks_token, pulse};
use rt::sync::{NeverCame, Word, until};
use rt::time::{self, MS, SECOND, timespec};
use rt::{Errno, SysResult, ensure, ensure_eq, ensure_err, sig, sysctl};

pub(crate) const CHECKS: &[Check] = &[
    ("L-326", target_that_exits),
    ("L-327", target_that_a_third_continues),
    ("L-328", wakeup_does_not_end_it),
    ("L-329", signal_makes_it_real),
    ("L-330", suspender_is_suspended_after_its_call),
    ("L-331", detached_ones_are_like_others),
    ("L-332", marks_after_ebusy),
    ("L-333", marks_of_a_suspended_one),
];

fn target_that_exits() -> Verdict {
    static GO: Word = Word::new();
    for _ in 0..times(200) {
        GO.set(0);
        let task = spawn(|| GO.spin(1));
        GO.set(1);
        match lwp::suspend(task.lid) {
            Ok(_) => {
                ensure!(sysctl::is_in(task.lid, LwpState::Suspended));
                lwp::resume(task.lid)?;
            }
            result => ensure_err!(result, ESRCH),
        }
        task.join()?;
    }
    Ok(())
}

/// Ends the calls of `suspenders`: continues `target` and lets them look, until they are over.
fn release<T>(target: LwpId, suspender: &Task<T>) -> Result<(), NeverCame> {
    until("the end of a suspend", || {
        let _ = lwp::resume(target);
        let _ = pulse();
        sysctl::is_in(suspender.lid, LwpState::Zomb)
    })
}

/// A suspender asleep in its call, since its target is in a long sleep, which asks something `after` it; and the target.
fn suspender(after: fn() -> bool) -> Result<(Task<Suspended>, Task<Slept>), rt::check::Fail> {
    let target = scene::sleeping()?;
    let task = spawn(move || {
        let result = lwp::suspend(target.lid);
        (result, after())
    });
    sysctl::until_asleep(task.lid, "lwpwait")?;
    Ok((task, target))
}

/// The result of a suspend, and an answer afterwards.
type Suspended = (SysResult, bool);
/// The result of a sleep, and what was left.
type Slept = (SysResult, rt::abi::time::Timespec);

fn target_that_a_third_continues() -> Verdict {
    let (task, target) = suspender(lacks_token)?;
    // Not by itself: a broadcast alone changes nothing.
    pulse()?;
    sysctl::until_asleep(task.lid, "lwpwait")?;
    lwp::resume(target.lid)?;
    pulse()?;
    ensure_eq!(task.join()?, (Ok(0), true));
    // It was on its way to the user boundary for a moment, and may be still.
    sysctl::until_sleeping(target.lid)?;
    lwp::wakeup(target.lid)?;
    ensure_err!(target.join()?.0, EINTR);
    Ok(())
}

fn wakeup_does_not_end_it() -> Verdict {
    let (task, target) = suspender(has_token)?;
    ensure_eq!(lwp::wakeup(task.lid), Ok(0));
    sysctl::until_asleep(task.lid, "lwpwait")?;
    release(target.lid, &task)?;
    ensure_eq!(task.join()?, (Ok(0), true));
    Ok(())
}

/// How often [`count`] ran.
static HANDLED: Word = Word::new();

extern "C" fn count(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
    HANDLED.add();
}

fn signal_makes_it_real() -> Verdict {
    sig::catch(Signo::SIGUSR1, count, SaFlags::empty())?;
    let task = spawn(|| lwp::suspend(lwp::me()));
    sysctl::until_asleep(task.lid, "lwpwait")?;
    lwp::kill(task.lid, Signo::SIGUSR1.raw())?;
    sysctl::until_state(task.lid, LwpState::Suspended)?;
    ensure_eq!(HANDLED.get(), 0);
    lwp::resume(task.lid)?;
    HANDLED.wait(1)?;
    sysctl::until_asleep(task.lid, "lwpwait")?;
    lwp::resume(task.lid)?;
    pulse()?;
    ensure_eq!(task.join()?, Ok(0));
    ensure_eq!(HANDLED.get(), 1);
    Ok(())
}

fn suspender_is_suspended_after_its_call() -> Verdict {
    static BACK: Word = Word::new();
    let target = scene::sleeping()?;
    let first = spawn(move || {
        let result = lwp::suspend(target.lid);
        BACK.set(1);
        result
    });
    sysctl::until_asleep(first.lid, "lwpwait")?;
    let second = spawn(move || lwp::suspend(first.lid));
    sysctl::until_asleep(second.lid, "lwpwait")?;
    sysctl::until_asleep(first.lid, "lwpwait")?;
    // The first call ends, and its caller stops before it comes back from it.
    lwp::resume(target.lid)?;
    pulse()?;
    ensure_eq!(second.join()?, Ok(0));
    ensure!(sysctl::is_in(first.lid, LwpState::Suspended));
    ensure_eq!(BACK.get(), 0);
    lwp::resume(first.lid)?;
    ensure_eq!(first.join()?, Ok(0));
    Ok(())
}

fn detached_ones_are_like_others() -> Verdict {
    static RESULTS: [Word; 3] = [const { Word::new() }; 3];
    sig::catch(Signo::SIGUSR1, count, SaFlags::empty())?;
    let task = How::new().detached().spawn(|| {
        let note = |at: usize, want: SysResult| {
            RESULTS[at].set(if lwp::rest() == want { 1 } else { 2 });
        };
        note(0, Ok(0));
        note(1, Ok(0));
        note(2, Err(Errno::EINTR));
    })?;
    sysctl::until_parked(task.lid)?;
    ensure_eq!(lwp::setname(task.lid, c"detached"), Ok(0));
    let mut name = [0; 16];
    ensure_eq!(lwp::getname(task.lid, &mut name), Ok(0));
    ensure!(name.starts_with(b"detached\0"));
    ensure_eq!(lwp::suspend(task.lid), Ok(0));
    ensure!(sysctl::is_in(task.lid, LwpState::Suspended));
    ensure_eq!(lwp::resume(task.lid), Ok(0));
    RESULTS[0].wait(1)?;
    sysctl::until_parked(task.lid)?;
    ensure_eq!(lwp::unpark(task.lid), Ok(0));
    RESULTS[1].wait(1)?;
    sysctl::until_parked(task.lid)?;
    ensure_eq!(lwp::kill(task.lid, Signo::SIGUSR1.raw()), Ok(0));
    RESULTS[2].wait(1)?;
    ensure!(RESULTS.iter().all(|result| result.get() == 1));
    ensure_eq!(HANDLED.get(), 1);
    Ok(())
}

/// What the two marks of a wakeup do: sleeps of a minute and of a millisecond, and the token.
fn marks() -> (SysResult, SysResult, bool) {
    let nap = |nanos| time::nanosleep(timespec(nanos), None);
    (nap(60 * SECOND), nap(MS), has_token())
}

const BOTH_MARKS: (SysResult, SysResult, bool) = (Err(Errno::EINTR), Ok(0), true);

fn marks_after_ebusy() -> Verdict {
    let (read, write) = process::pipe()?;
    let task = spawn(move || {
        // Form 66 copies memory, so the child may use this stack.
        match rt::sys::raw::<{ SYS_VFORK }>([0; 6]).result() {
            Ok(0) => {
                let _ = process::read(read, &mut [0]);
                process::exit(0)
            }
            _ => marks(),
        }
    });
    sysctl::until_sleeping(task.lid)?;
    ensure_err!(lwp::wakeup(task.lid), EBUSY);
    process::write(write, b"x")?;
    ensure_eq!(task.join()?, BOTH_MARKS);
    Ok(())
}

fn marks_of_a_suspended_one() -> Verdict {
    let task = spawn(|| (lwp::rest(), marks()));
    sysctl::until_parked(task.lid)?;
    lwp::suspend(task.lid)?;
    ensure_err!(lwp::wakeup(task.lid), ENODEV);
    lwp::resume(task.lid)?;
    ensure_eq!(task.join()?, (Ok(0), BOTH_MARKS));
    Ok(())
}
