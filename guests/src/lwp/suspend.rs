//! Suspend, continue and wakeup: L-141 to L-176.

use rt::abi::lwp::{LwpId, LwpState};
use rt::abi::signal::{SaFlags, SigSet, Siginfo, Signo};
use rt::abi::ucontext::Ucontext;
use rt::check::{By, Check, Fail, Verdict, is_relaxed, times};
use rt::lwp::{self, NOBODY, Task, spawn};
use rt::process;
use rt::scene::{self, has_token, moves, parked_twice, pulse, sleeping, spinning, stands_still};
use rt::sync::{Word, until};
use rt::time::{self, MS, SECOND, timespec};
use rt::{Errno, SysResult, ensure, ensure_eq, ensure_err, sig, sysctl, vm};

pub(crate) const CHECKS: &[Check] = &[
    ("L-141", suspended_does_not_run),
    ("L-142", continued_runs),
    ("L-143", suspended_is_state_8),
    ("L-144", nobody),
    ("L-145", zombie),
    ("L-146", alone),
    ("L-147", alone_but_for_suspended),
    ("L-148", alone_but_for_zombies),
    ("L-149", oneself_with_a_sleeper),
    ("L-150", oneself_until_a_continue),
    ("L-151", all_but_the_caller),
    ("L-152", continue_of_a_running_one),
    ("L-153", continue_of_oneself),
    ("L-154", suspension_does_not_nest),
    ("L-155", second_suspend_waits),
    ("L-156", continue_leaves_no_credit),
    ("L-157", sleeper_is_suspended_when_it_wakes),
    ("L-158", parked_one_is_suspended),
    ("L-159", signal_does_not_end_suspend),
    ("L-160", signal_waits_for_continue),
    ("L-161", running_one_takes_the_signal),
    ("L-162", signal_stays_pending),
    ("L-163", wakeup_of_a_sleeper),
    ("L-164", wakeup_of_a_parked_one),
    ("L-165", wakeup_leaves_a_token),
    ("L-166", wakeup_counts_twice),
    ("L-167", wakeup_of_a_running_one),
    ("L-168", wakeup_of_a_running_one_is_kept),
    ("L-169", wakeup_of_oneself),
    ("L-170", sigkill_to_suspended_ones),
    ("L-171", wakeup_of_a_suspended_one),
    ("L-172", wakeup_of_a_vfork_parent),
    ("L-173", wakeup_of_sigtimedwait),
    ("L-174", wakeup_of_wait),
    ("L-175", wakeup_of_read),
    ("L-176", wakeup_runs_no_handler),
    ("L-313", wakeup_of_wait_counts_twice),
    ("L-314", nothing_is_lost),
];

fn suspended_does_not_run() -> Verdict {
    static STOP: Word = Word::new();
    static COUNT: Word = Word::new();
    let task = spinning(&STOP, &COUNT)?;
    for _ in 0..times(20) {
        ensure_eq!(lwp::suspend(task.lid), Ok(0));
        ensure!(sysctl::is_in(task.lid, LwpState::Suspended));
        stands_still(&COUNT)?;
        lwp::resume(task.lid)?;
    }
    STOP.set(1);
    task.join()?;
    Ok(())
}

fn continued_runs() -> Verdict {
    static STOP: Word = Word::new();
    static COUNT: Word = Word::new();
    let task = spinning(&STOP, &COUNT)?;
    for _ in 0..times(20) {
        lwp::suspend(task.lid)?;
        let before = COUNT.get();
        ensure_eq!(lwp::resume(task.lid), Ok(0));
        ensure!(!sysctl::is_in(task.lid, LwpState::Suspended));
        COUNT.wait(before + 1)?;
    }
    STOP.set(1);
    task.join()?;
    Ok(())
}

fn suspended_is_state_8() -> Verdict {
    static STOP: Word = Word::new();
    static COUNT: Word = Word::new();
    let spinning = spinning(&STOP, &COUNT)?;
    for _ in 0..times(50) {
        let parked = scene::parked()?;
        for lid in [spinning.lid, parked.lid] {
            ensure_eq!(lwp::suspend(lid), Ok(0));
            // Asked for at once: nothing happens between the return and the look.
            let stat = sysctl::lwp(lid).map(|info| info.l_stat);
            ensure_eq!(stat, Some(8));
            lwp::resume(lid)?;
        }
        ensure_eq!(parked.join()?, Ok(0));
    }
    STOP.set(1);
    spinning.join()?;
    Ok(())
}

const CALLS: [fn(LwpId) -> SysResult; 3] = [lwp::suspend, lwp::resume, lwp::wakeup];

fn nobody() -> Verdict {
    for call in CALLS {
        for lid in [NOBODY, LwpId::new(0), LwpId::new(-1), LwpId::new(i32::MIN)] {
            ensure_err!(call(lid), ESRCH);
        }
    }
    Ok(())
}

fn zombie() -> Verdict {
    let task = scene::zombie()?;
    for call in CALLS {
        ensure_err!(call(task.lid), ESRCH);
    }
    Ok(())
}

fn alone() -> Verdict {
    ensure_err!(lwp::suspend(lwp::me()), EDEADLK);
    Ok(())
}

fn alone_but_for_suspended() -> Verdict {
    let task = scene::parked()?;
    lwp::suspend(task.lid)?;
    ensure_err!(lwp::suspend(lwp::me()), EDEADLK);
    Ok(())
}

fn alone_but_for_zombies() -> Verdict {
    scene::zombie()?;
    scene::zombie()?;
    ensure_err!(lwp::suspend(lwp::me()), EDEADLK);
    Ok(())
}

/// An LWP that suspends itself, at rest in its call.
fn suspending_itself(back: &'static Word) -> Result<Task<SysResult>, Fail> {
    let task = spawn(move || {
        let result = lwp::suspend(lwp::me());
        back.set(1);
        result
    });
    sysctl::until_asleep(task.lid, "lwpwait")?;
    Ok(task)
}

fn oneself_with_a_sleeper() -> Verdict {
    static BACK: Word = Word::new();
    sleeping()?;
    let task = suspending_itself(&BACK)?;
    // Broadcasts alone do not bring it back.
    for _ in 0..times(20) {
        pulse()?;
        sysctl::until_asleep(task.lid, "lwpwait")?;
    }
    ensure_eq!(BACK.get(), 0);
    Ok(())
}

fn oneself_until_a_continue() -> Verdict {
    static BACK: Word = Word::new();
    let task = suspending_itself(&BACK)?;
    ensure_eq!(lwp::resume(task.lid), Ok(0));
    pulse()?;
    ensure_eq!(task.join()?, Ok(0));
    Ok(())
}

fn all_but_the_caller() -> Verdict {
    let tasks = [scene::parked()?, scene::parked()?];
    for task in &tasks {
        ensure_eq!(lwp::suspend(task.lid), Ok(0));
    }
    for task in tasks {
        lwp::resume(task.lid)?;
        task.join()??;
    }
    Ok(())
}

fn continue_of_a_running_one() -> Verdict {
    static STOP: Word = Word::new();
    static COUNT: Word = Word::new();
    let task = spinning(&STOP, &COUNT)?;
    ensure_eq!(lwp::resume(task.lid), Ok(0));
    moves(&COUNT)?;
    STOP.set(1);
    task.join()?;
    let task = scene::parked()?;
    ensure_eq!(lwp::resume(task.lid), Ok(0));
    ensure!(sysctl::is_in(task.lid, LwpState::Sleep));
    Ok(())
}

fn continue_of_oneself() -> Verdict {
    ensure_eq!(lwp::resume(lwp::me()), Ok(0));
    Ok(())
}

fn suspension_does_not_nest() -> Verdict {
    static STOP: Word = Word::new();
    static COUNT: Word = Word::new();
    let task = spinning(&STOP, &COUNT)?;
    lwp::suspend(task.lid)?;
    let second = spawn(move || lwp::suspend(task.lid));
    // It sleeps until a broadcast, or returns at once: a pulse serves both.
    until("the second suspend", || {
        sysctl::is_in(second.lid, LwpState::Sleep) || sysctl::is_in(second.lid, LwpState::Zomb)
    })?;
    pulse()?;
    ensure_eq!(second.join()?, Ok(0));
    lwp::resume(task.lid)?;
    moves(&COUNT)?;
    STOP.set(1);
    task.join()?;
    Ok(())
}

fn second_suspend_waits() -> Verdict {
    let task = scene::parked()?;
    lwp::suspend(task.lid)?;
    let second = spawn(move || lwp::suspend(task.lid));
    sysctl::until_asleep(second.lid, "lwpwait")?;
    pulse()?;
    ensure_eq!(second.join()?, Ok(0));
    Ok(())
}

fn continue_leaves_no_credit() -> Verdict {
    static STOP: Word = Word::new();
    static COUNT: Word = Word::new();
    let task = spinning(&STOP, &COUNT)?;
    lwp::resume(task.lid)?;
    lwp::suspend(task.lid)?;
    stands_still(&COUNT)?;
    lwp::resume(task.lid)?;
    STOP.set(1);
    task.join()?;
    Ok(())
}

fn sleeper_is_suspended_when_it_wakes() -> Verdict {
    static BACK: Word = Word::new();
    let task = spawn(|| {
        let result = time::nanosleep(timespec(300 * MS), None);
        BACK.set(1);
        result
    });
    sysctl::until_sleeping(task.lid)?;
    ensure_eq!(lwp::suspend(task.lid), Ok(0));
    ensure!(sysctl::is_in(task.lid, LwpState::Suspended));
    stands_still(&BACK)?;
    lwp::resume(task.lid)?;
    ensure_eq!(task.join()?, Ok(0));
    Ok(())
}

fn parked_one_is_suspended() -> Verdict {
    let task = scene::parked()?;
    ensure_eq!(lwp::suspend(task.lid), Ok(0));
    ensure!(sysctl::is_in(task.lid, LwpState::Suspended));
    Ok(())
}

/// How often [`count`] ran.
static HANDLED: Word = Word::new();

extern "C" fn count(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
    HANDLED.add();
}

const USR1: i32 = Signo::SIGUSR1.raw();

fn signal_does_not_end_suspend() -> Verdict {
    sig::catch(Signo::SIGUSR1, count, SaFlags::empty())?;
    let task = scene::parked()?;
    lwp::suspend(task.lid)?;
    let second = spawn(move || lwp::suspend(task.lid));
    sysctl::until_asleep(second.lid, "lwpwait")?;
    lwp::kill(second.lid, USR1)?;
    HANDLED.wait(1)?;
    sysctl::until_asleep(second.lid, "lwpwait")?;
    pulse()?;
    ensure_eq!(second.join()?, Ok(0));
    Ok(())
}

fn signal_waits_for_continue() -> Verdict {
    sig::catch(Signo::SIGUSR1, count, SaFlags::empty())?;
    let task = spawn(|| {
        let result = lwp::rest();
        (result, HANDLED.get())
    });
    sysctl::until_parked(task.lid)?;
    lwp::suspend(task.lid)?;
    lwp::kill(task.lid, USR1)?;
    stands_still(&HANDLED)?;
    ensure!(sysctl::is_in(task.lid, LwpState::Suspended));
    lwp::resume(task.lid)?;
    ensure_eq!(task.join()?, (Ok(0), 1));
    Ok(())
}

fn running_one_takes_the_signal() -> Verdict {
    sig::catch(Signo::SIGUSR1, count, SaFlags::empty())?;
    let task = scene::parked()?;
    lwp::suspend(task.lid)?;
    process::kill(process::pid(), USR1)?;
    // Taken by the caller before the call returned: nobody else could.
    ensure_eq!(HANDLED.get(), 1);
    ensure!(sysctl::is_in(task.lid, LwpState::Suspended));
    Ok(())
}

fn signal_stays_pending() -> Verdict {
    let mask = SigSet::of(&[Signo::SIGUSR1]);
    let task = lwp::How::new().mask(mask).spawn(|| {
        let _ = lwp::rest();
        sig::pending()
    })?;
    sysctl::until_parked(task.lid)?;
    lwp::suspend(task.lid)?;
    lwp::kill(task.lid, USR1)?;
    lwp::resume(task.lid)?;
    ensure_eq!(task.join()?, Ok(mask));
    Ok(())
}

fn wakeup_of_a_sleeper() -> Verdict {
    let task = sleeping()?;
    ensure_eq!(lwp::wakeup(task.lid), Ok(0));
    let (result, left) = task.join()?;
    ensure_err!(result, EINTR);
    let left = time::nanos(left);
    ensure!(left > 0 && left <= 61 * SECOND, "{left} ns left");
    Ok(())
}

fn wakeup_of_a_parked_one() -> Verdict {
    let task = scene::parked()?;
    ensure_eq!(lwp::wakeup(task.lid), Ok(0));
    ensure_eq!(task.join()?, Err(Errno::EINTR));
    Ok(())
}

fn wakeup_leaves_a_token() -> Verdict {
    let task = spawn(|| (lwp::rest(), lwp::park(), scene::peek_in_vain()));
    sysctl::until_parked(task.lid)?;
    lwp::wakeup(task.lid)?;
    let want = (
        Err(Errno::EINTR),
        Err(Errno::EALREADY),
        Err(Errno::ETIMEDOUT),
    );
    ensure_eq!(task.join()?, want);
    Ok(())
}

fn wakeup_counts_twice() -> Verdict {
    let task = spawn(|| {
        let nap = |ms| time::nanosleep(timespec(ms * MS), None);
        (nap(60_000), nap(60_000), nap(20), has_token())
    });
    sysctl::until_sleeping(task.lid)?;
    lwp::wakeup(task.lid)?;
    ensure_eq!(
        task.join()?,
        (Err(Errno::EINTR), Err(Errno::EINTR), Ok(0), true)
    );
    Ok(())
}

/// An LWP that computes until `go` is set, and parks then.
fn parking_later(go: &'static Word) -> Result<Task<SysResult>, Fail> {
    static RUNS: Word = Word::new();
    let task = spawn(move || {
        RUNS.set(1);
        go.spin(1);
        lwp::park()
    });
    RUNS.wait(1)?;
    Ok(task)
}

fn wakeup_of_a_running_one() -> Verdict {
    static GO: Word = Word::new();
    let task = parking_later(&GO)?;
    ensure_err!(lwp::wakeup(task.lid), ENODEV);
    // It goes on as if nothing had happened: that is, not at all.
    ensure!(!sysctl::is_in(task.lid, LwpState::Sleep));
    Ok(())
}

fn wakeup_of_a_running_one_is_kept() -> Verdict {
    static GO: Word = Word::new();
    let task = parking_later(&GO)?;
    let _ = lwp::wakeup(task.lid);
    GO.set(1);
    ensure_eq!(task.join()?, Err(Errno::EALREADY));
    Ok(())
}

fn wakeup_of_oneself() -> Verdict {
    ensure_err!(lwp::wakeup(lwp::me()), ENODEV);
    ensure_err!(time::nanosleep(timespec(60 * SECOND), None), EINTR);
    ensure_eq!(time::nanosleep(timespec(MS), None), Ok(0));
    ensure!(has_token());
    Ok(())
}

fn sigkill_to_suspended_ones() -> Verdict {
    let ready = vm::map_shared(vm::PAGE)?.shared::<Word>();
    let child = process::spawn_child(|| {
        let first = lwp::me();
        let Ok(parked) = scene::parked() else {
            return 1;
        };
        // Suspends all others, says so, and exits: the rest is suspended.
        spawn(move || {
            let all = [parked.lid, first].map(lwp::suspend) == [Ok(0), Ok(0)];
            ready.set(1 + u32::from(all));
        });
        loop {
            core::hint::spin_loop();
        }
    })?;
    ready.wait(1)?;
    ensure_eq!(ready.get(), 2);
    process::kill(child, Signo::SIGKILL.raw())?;
    ensure_eq!(process::wait(child)?.signal(), Some(Signo::SIGKILL.raw()));
    Ok(())
}

fn wakeup_of_a_suspended_one() -> Verdict {
    let task = parked_twice(scene::peek)?;
    lwp::suspend(task.lid)?;
    ensure_err!(lwp::wakeup(task.lid), ENODEV);
    ensure!(sysctl::is_in(task.lid, LwpState::Suspended));
    Ok(())
}

fn wakeup_of_a_vfork_parent() -> Verdict {
    let (read, write) = process::pipe()?;
    let task = spawn(move || {
        // Form 66 copies memory, so the child may use this stack.
        match rt::sys::raw::<{ rt::abi::nr::SYS_VFORK }>([0; 6]).result() {
            Ok(0) => {
                let _ = process::read(read, &mut [0]);
                process::exit(0)
            }
            other => other,
        }
    });
    sysctl::until_sleeping(task.lid)?;
    ensure_err!(lwp::wakeup(task.lid), EBUSY);
    process::write(write, b"x")?;
    let child = process::low(task.join()??);
    ensure_eq!(process::wait(child)?.code(), Some(0));
    Ok(())
}

fn wakeup_of_sigtimedwait() -> Verdict {
    let task = spawn(|| sig::timedwait(SigSet::of(&[Signo::SIGUSR1]), None).map(|_| ()));
    sysctl::until_sleeping(task.lid)?;
    lwp::wakeup(task.lid)?;
    ensure_eq!(task.join()?, Err(Errno::ECANCELED));
    Ok(())
}

fn wakeup_of_wait() -> Verdict {
    let task = scene::parked()?;
    let waiter = spawn(move || lwp::wait(task.lid));
    sysctl::until_asleep(waiter.lid, "lwpwait")?;
    lwp::wakeup(waiter.lid)?;
    ensure_eq!(waiter.join()?, Err(Errno::EINTR));
    Ok(())
}

fn wakeup_of_read() -> Verdict {
    sig::catch(Signo::SIGUSR1, count, SaFlags::RESTART)?;
    let (read, _write) = process::pipe()?;
    let task = spawn(move || process::read(read, &mut [0]));
    sysctl::until_sleeping(task.lid)?;
    lwp::wakeup(task.lid)?;
    ensure_eq!(task.join()?, Err(Errno::EINTR));
    Ok(())
}

fn wakeup_runs_no_handler() -> Verdict {
    for signo in Signo::all().filter(|signo| !signo.is_cantmask() && *signo != Signo::SIGALRM) {
        sig::catch(signo, count, SaFlags::empty())?;
    }
    wakeup_of_a_parked_one()?;
    ensure_eq!(HANDLED.get(), 0);
    Ok(())
}

fn wakeup_of_wait_counts_twice() -> Verdict {
    let task = scene::parked()?;
    let waiter = spawn(move || {
        (
            lwp::wait(task.lid),
            lwp::wait(task.lid),
            lwp::wait(task.lid),
        )
    });
    sysctl::until_asleep(waiter.lid, "lwpwait")?;
    lwp::wakeup(waiter.lid)?;
    sysctl::until_asleep(waiter.lid, "lwpwait")?;
    lwp::unpark(task.lid)?;
    let (first, second, third) = waiter.join()?;
    ensure_eq!((first, second), (Err(Errno::EINTR), Err(Errno::EINTR)));
    ensure_eq!(third, Ok(task.lid));
    Ok(())
}

fn nothing_is_lost() -> Verdict {
    // Until then the task must be there.
    static SENT: Word = Word::new();
    const ORDERS: [[u8; 3]; 6] = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    sig::catch(Signo::SIGUSR1, count, SaFlags::empty())?;
    for order in ORDERS {
        HANDLED.set(0);
        SENT.set(0);
        let task = spawn(|| {
            // An unpark shows once: as 0 or as EALREADY, or as EINTR if the signal came before the LWP ran.
            let (mut seen, mut interrupted) = (0, false);
            while seen == 0 && !interrupted || HANDLED.get() == 0 || SENT.get() == 0 {
                match lwp::park_for(&mut timespec(5 * MS)) {
                    Ok(0) | Err(Errno::EALREADY) => seen += 1,
                    Err(Errno::EINTR) => interrupted = true,
                    _ => {}
                }
            }
            seen
        });
        for step in order {
            match step {
                0 => lwp::suspend(task.lid).map(drop)?,
                1 => lwp::kill(task.lid, USR1).map(drop)?,
                _ => lwp::unpark(task.lid).map(drop)?,
            }
        }
        lwp::resume(task.lid)?;
        SENT.set(1);
        let seen = task.join()?;
        // A suspension may end a park with 0, too.
        ensure!(seen <= 2 || is_relaxed(By::Park), "{seen} unparks seen");
        ensure_eq!(HANDLED.get(), 1);
    }
    Ok(())
}
