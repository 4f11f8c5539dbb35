//! What signals do to sleeping calls: EINTR or restart, by `SA_RESTART` and by call.

use rt::abi::signal::{SaFlags, SigSet, Siginfo, Signo};
use rt::abi::ucontext::Ucontext;
use rt::check::{By, Check, Verdict, is_relaxed};
use rt::lwp::{self, spawn};
use rt::process;
use rt::sync::Word;
use rt::time::{self, MS, SECOND, timespec};
use rt::{Errno, SysResult, ensure, ensure_eq, scene, sig, sys, sysctl};

pub(crate) const CHECKS: &[Check] = &[
    ("read/EINTR", read_is_interrupted),
    ("L-274", read_is_restarted),
    ("write/EINTR", write_is_interrupted),
    ("nanosleep/EINTR", nanosleep_is_interrupted),
    ("nanosleep/rest", nanosleep_tells_the_rest),
    ("wait4/EINTR", wait4_is_interrupted),
    ("wait4/restart", wait4_is_restarted),
    ("sigsuspend/EINTR", sigsuspend_is_interrupted),
    ("sigtimedwait/ECANCELED", sigtimedwait_is_interrupted),
    ("poll/EINTR", poll_is_interrupted),
    ("kevent/EINTR", kevent_is_interrupted),
    ("ignored/none", ignored_signal_interrupts_nothing),
    (
        "default-ignored/none",
        default_ignored_signal_interrupts_nothing,
    ),
    ("L-311", wakeup_of_sigtimedwait),
    ("L-312", join_under_a_storm),
];

const USR1: i32 = Signo::SIGUSR1.raw();

/// How often [`count`] ran.
pub(crate) static HANDLED: Word = Word::new();

pub(crate) extern "C" fn count(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
    HANDLED.add();
}

/// Runs `call` in an LWP, sends it SIGUSR1 when it is asleep, and gives its result.
pub(crate) fn interrupted<F>(flags: SaFlags, call: F) -> Result<SysResult, rt::check::Fail>
where
    F: FnOnce() -> SysResult + Send + 'static,
{
    sig::catch(Signo::SIGUSR1, count, flags)?;
    let before = HANDLED.get();
    let task = spawn(call);
    sysctl::until_sleeping(task.lid)?;
    lwp::kill(task.lid, USR1)?;
    let result = task.join()?;
    ensure_eq!(HANDLED.get(), before + 1);
    Ok(result)
}

/// As [`interrupted`]; the call sleeps again after the handler, until `end` ends it.
pub(crate) fn restarted<F>(
    call: F,
    end: impl FnOnce() -> SysResult,
) -> Result<SysResult, rt::check::Fail>
where
    F: FnOnce() -> SysResult + Send + 'static,
{
    sig::catch(Signo::SIGUSR1, count, SaFlags::RESTART)?;
    let before = HANDLED.get();
    let task = spawn(call);
    for round in 1..=3 {
        sysctl::until_sleeping(task.lid)?;
        lwp::kill(task.lid, USR1)?;
        HANDLED.wait(before + round)?;
    }
    sysctl::until_sleeping(task.lid)?;
    end()?;
    Ok(task.join()?)
}

fn read_is_interrupted() -> Verdict {
    let (read, _write) = process::pipe()?;
    let result = interrupted(SaFlags::empty(), move || process::read(read, &mut [0; 4]))?;
    ensure_eq!(result, Err(Errno::EINTR));
    Ok(())
}

fn read_is_restarted() -> Verdict {
    let (read, write) = process::pipe()?;
    let call = move || {
        let mut buf = [0; 4];
        let n = process::read(read, &mut buf);
        let got = n.map_or(0, |n| usize::try_from(n).unwrap_or(0)).min(3);
        let some = is_relaxed(By::Transfer) && b"abc".starts_with(&buf[..got]);
        if some || buf == *b"abc\0" {
            n
        } else {
            Ok(1000)
        }
    };
    let n = restarted(call, || process::write(write, b"abc"))?;
    if is_relaxed(By::Transfer) {
        ensure!(matches!(n, Ok(1..=3)), "{n:?}");
    } else {
        ensure_eq!(n, Ok(3));
    }
    Ok(())
}

fn write_is_interrupted() -> Verdict {
    let (_read, write) = process::pipe()?;
    let call = move || {
        static CHUNK: [u8; 4096] = [7; 4096];
        loop {
            process::write(write, &CHUNK)?;
        }
    };
    ensure_eq!(interrupted(SaFlags::empty(), call)?, Err(Errno::EINTR));
    Ok(())
}

fn nanosleep_is_interrupted() -> Verdict {
    for flags in [SaFlags::empty(), SaFlags::RESTART] {
        let result = interrupted(flags, || time::nanosleep(timespec(60 * SECOND), None))?;
        ensure_eq!(result, Err(Errno::EINTR));
    }
    Ok(())
}

fn nanosleep_tells_the_rest() -> Verdict {
    let call = || {
        let mut left = timespec(0);
        let result = time::nanosleep(timespec(60 * SECOND), Some(&mut left));
        let left = time::nanos(left);
        if left > 50 * SECOND && left <= 60 * SECOND + 20 * MS {
            result
        } else {
            Ok(left)
        }
    };
    ensure_eq!(interrupted(SaFlags::empty(), call)?, Err(Errno::EINTR));
    Ok(())
}

/// A child that lives until it is killed.
fn patient_child() -> Result<i32, Errno> {
    process::spawn_child(|| {
        let _ = lwp::rest();
        0
    })
}

fn wait4_is_interrupted() -> Verdict {
    let child = patient_child()?;
    let call = move || process::wait4(child, 0).map(|_| 0);
    ensure_eq!(interrupted(SaFlags::empty(), call)?, Err(Errno::EINTR));
    process::kill(child, Signo::SIGKILL.raw())?;
    process::wait(child)?;
    Ok(())
}

fn wait4_is_restarted() -> Verdict {
    let child = patient_child()?;
    let call = move || process::wait4(child, 0).map(|(_, s)| u64::from(s.0.cast_unsigned()));
    let result = restarted(call, || process::kill(child, Signo::SIGKILL.raw()))?;
    ensure_eq!(result, Ok(9));
    Ok(())
}

fn sigsuspend_is_interrupted() -> Verdict {
    for flags in [SaFlags::empty(), SaFlags::RESTART] {
        let result = interrupted(flags, || sig::suspend(SigSet::EMPTY))?;
        ensure_eq!(result, Err(Errno::EINTR));
    }
    Ok(())
}

fn sigtimedwait_is_interrupted() -> Verdict {
    let call = || sig::timedwait(SigSet::of(&[Signo::SIGUSR2]), None).map(|_| 0);
    ensure_eq!(interrupted(SaFlags::empty(), call)?, Err(Errno::ECANCELED));
    // With a limit: what is left is told, and it is no success (a listed deviation).
    let call = || {
        let mut left = timespec(60 * SECOND);
        let result = sig::timedwait(SigSet::of(&[Signo::SIGUSR2]), Some(&mut left));
        let left = time::nanos(left);
        if left > 50 * SECOND && left <= 60 * SECOND {
            result.map(|_| 0)
        } else {
            Ok(left)
        }
    };
    ensure_eq!(interrupted(SaFlags::empty(), call)?, Err(Errno::ECANCELED));
    Ok(())
}

fn wakeup_of_sigtimedwait() -> Verdict {
    let task = spawn(|| {
        let mut left = timespec(60 * SECOND);
        let result = sig::timedwait(SigSet::of(&[Signo::SIGUSR2]), Some(&mut left));
        (result.map(|info| info.si_signo), time::nanos(left))
    });
    sysctl::until_sleeping(task.lid)?;
    ensure_eq!(lwp::wakeup(task.lid), Ok(0));
    let (result, left) = task.join()?;
    ensure_eq!(result, Err(Errno::ECANCELED));
    ensure!(left > 0 && left < 60 * SECOND, "{left} ns left");
    Ok(())
}

fn poll_is_interrupted() -> Verdict {
    let (read, _write) = process::pipe()?;
    let call = move || {
        let mut fds = [rt::abi::poll::Pollfd {
            fd: read,
            events: 1,
            revents: 0,
        }];
        sys!(SYS_POLL, fds.as_mut_ptr(), 1, -1)
    };
    ensure_eq!(interrupted(SaFlags::RESTART, call)?, Err(Errno::EINTR));
    Ok(())
}

fn kevent_is_interrupted() -> Verdict {
    let call = || {
        let kq = sys!(SYS_KQUEUE)?;
        let mut event = rt::abi::event::Kevent::default();
        sys!(SYS_KEVENT50, kq, 0, 0, &mut event, 1, 0)
    };
    ensure_eq!(interrupted(SaFlags::RESTART, call)?, Err(Errno::EINTR));
    Ok(())
}

/// That a signal leaves a read asleep.
fn interrupts_nothing(signo: Signo) -> Verdict {
    let (read, write) = process::pipe()?;
    let task = spawn(move || process::read(read, &mut [0]));
    sysctl::until_sleeping(task.lid)?;
    lwp::kill(task.lid, signo.raw())?;
    process::kill(process::pid(), signo.raw())?;
    process::write(write, b"x")?;
    ensure_eq!(task.join()?, Ok(1));
    Ok(())
}

fn ignored_signal_interrupts_nothing() -> Verdict {
    sig::ignore(Signo::SIGUSR1)?;
    interrupts_nothing(Signo::SIGUSR1)
}

fn default_ignored_signal_interrupts_nothing() -> Verdict {
    for signo in [
        Signo::SIGCHLD,
        Signo::SIGURG,
        Signo::SIGWINCH,
        Signo::SIGIO,
        Signo::SIGINFO,
    ] {
        interrupts_nothing(signo)?;
    }
    Ok(())
}

fn join_under_a_storm() -> Verdict {
    static STOP: Word = Word::new();
    sig::catch(Signo::SIGUSR1, count, SaFlags::empty())?;
    for _ in 0..20 {
        STOP.set(0);
        let target = scene::parked()?;
        let waiter = spawn(move || target.join());
        let storm = spawn(move || {
            for _ in 0..100 {
                let _ = lwp::kill(waiter.lid, USR1);
                let _ = lwp::wakeup(waiter.lid);
                rt::sync::yield_now();
            }
            let _ = lwp::unpark(target.lid);
        });
        storm.join()?;
        ensure!(waiter.join()? == Ok(Ok(0)));
    }
    Ok(())
}
