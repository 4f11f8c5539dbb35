//! Who takes a signal: L-218 to L-223, timers, and the ends of processes.

use rt::abi::signal::{SI_USER, SaFlags, SigSet, Siginfo, Signo};
use rt::abi::time::{ITIMER_REAL, Itimerval, Timeval};
use rt::abi::ucontext::Ucontext;
use rt::check::{Check, Verdict, times};
use rt::lwp::{self, How, spawn};
use rt::process::{self, in_child};
use rt::sync::Word;
use rt::{ensure, ensure_eq, ensure_err, scene, sig, sys, sysctl};

pub(crate) const CHECKS: &[Check] = &[
    ("L-218", one_lwp_takes_it),
    ("L-219", pending_for_the_process),
    ("L-220", newest_takes_it),
    ("L-221", sigtimedwait_consumes),
    ("L-222", sigtimedwait_of_another),
    ("L-223", ignored_before_sigtimedwait),
    ("kill/siginfo", siginfo_of_kill),
    ("kill/errors", errors_of_kill),
    ("kill/spinning", preempts_a_spinning_lwp),
    ("itimer/REAL", alarm),
    ("death/default", default_actions),
    ("L-257", exit_from_anywhere),
    ("L-258", fatal_signal_in_any_lwp),
    ("L-288", two_exits),
    ("L-255", stop_and_continue),
    ("L-256", sleep_across_a_stop),
];

const USR1: Signo = Signo::SIGUSR1;
const ONLY_USR1: SigSet = SigSet::of(&[USR1]);

/// How often [`note`] ran.
static HANDLED: Word = Word::new();
/// Where it ran last.
static WHERE: Word = Word::new();

extern "C" fn note(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
    WHERE.set(lwp::me().raw().cast_unsigned());
    HANDLED.add();
}

fn post() -> rt::SysResult {
    process::kill(process::pid(), USR1.raw())
}

fn one_lwp_takes_it() -> Verdict {
    sig::catch(USR1, note, SaFlags::empty())?;
    let tasks: [_; 4] = core::array::from_fn(|i| {
        let mask = if i == 2 { SigSet::EMPTY } else { ONLY_USR1 };
        How::new().mask(mask).spawn(lwp::rest)
    });
    sig::block(USR1)?;
    for task in tasks {
        sysctl::until_parked(task?.lid)?;
    }
    post()?;
    HANDLED.wait(1)?;
    ensure_eq!(WHERE.get(), tasks[2]?.lid.raw().cast_unsigned());
    scene::stands_still(&HANDLED)
}

fn pending_for_the_process() -> Verdict {
    static GO: Word = Word::new();
    sig::catch(USR1, note, SaFlags::empty())?;
    sig::block(USR1)?;
    let task = spawn(|| {
        let before = sig::pending();
        let _ = GO.wait(1);
        let _ = sig::unblock(USR1);
        before
    });
    post()?;
    ensure!(sig::pending()?.contains(USR1));
    // Ask again in a new LWP: the first may have looked before the post.
    ensure_eq!(spawn(sig::pending).join()?, Ok(ONLY_USR1));
    ensure_eq!(HANDLED.get(), 0);
    GO.set(1);
    let lid = task.lid;
    task.join()??;
    ensure_eq!((HANDLED.get(), WHERE.get()), (1, lid.raw().cast_unsigned()));
    ensure!(sig::pending()?.is_empty());
    Ok(())
}

fn newest_takes_it() -> Verdict {
    sig::catch(USR1, note, SaFlags::empty())?;
    let (_old, new) = (scene::parked()?, scene::parked()?);
    sig::block(USR1)?;
    post()?;
    HANDLED.wait(1)?;
    ensure_eq!(WHERE.get(), new.lid.raw().cast_unsigned());
    Ok(())
}

fn sigtimedwait_consumes() -> Verdict {
    sig::catch(USR1, note, SaFlags::empty())?;
    sig::block(USR1)?;
    let task = spawn(|| sig::timedwait(ONLY_USR1, None));
    sysctl::until_sleeping(task.lid)?;
    post()?;
    let info = task.join()??;
    ensure_eq!((info.si_signo, info.si_code), (USR1.raw(), SI_USER));
    ensure!(sig::pending()?.is_empty());
    ensure_eq!(HANDLED.get(), 0);
    Ok(())
}

fn sigtimedwait_of_another() -> Verdict {
    sig::block(USR1)?;
    let task = spawn(|| sig::timedwait(ONLY_USR1, None).map(|info| info.si_code));
    sysctl::until_sleeping(task.lid)?;
    lwp::kill(lwp::me(), USR1.raw())?;
    ensure!(sig::pending()?.contains(USR1));
    post()?;
    ensure_eq!(task.join()?, Ok(SI_USER));
    Ok(())
}

fn ignored_before_sigtimedwait() -> Verdict {
    sig::ignore(USR1)?;
    let task =
        spawn(|| sig::timedwait(SigSet::of(&[USR1, Signo::SIGUSR2]), None).map(|i| i.si_signo));
    sysctl::until_sleeping(task.lid)?;
    post()?;
    sig::catch(Signo::SIGUSR2, note, SaFlags::empty())?;
    lwp::kill(task.lid, Signo::SIGUSR2.raw())?;
    ensure_eq!(task.join()?, Ok(Signo::SIGUSR2.raw()));
    Ok(())
}

fn siginfo_of_kill() -> Verdict {
    sig::block(USR1)?;
    post()?;
    let info = sig::timedwait(ONLY_USR1, None)?;
    ensure_eq!((info.si_signo, info.si_code), (USR1.raw(), SI_USER));
    ensure_eq!(
        (info.pid().raw(), info.uid()),
        (process::pid(), process::euid())
    );
    Ok(())
}

fn errors_of_kill() -> Verdict {
    let pid = process::pid();
    for signo in [64, -1, i32::MAX] {
        ensure_err!(process::kill(pid, signo), EINVAL);
    }
    ensure_err!(process::kill(0x3fff_fff0, 0), ESRCH);
    ensure_eq!(process::kill(pid, 0), Ok(0));
    Ok(())
}

fn preempts_a_spinning_lwp() -> Verdict {
    static STOP: Word = Word::new();
    static COUNT: Word = Word::new();
    sig::catch(USR1, note, SaFlags::empty())?;
    let task = scene::spinning(&STOP, &COUNT)?;
    for round in 0..50 {
        lwp::kill(task.lid, USR1.raw())?;
        HANDLED.wait(round + 1)?;
    }
    STOP.set(1);
    task.join()?;
    Ok(())
}

fn alarm() -> Verdict {
    sig::catch(Signo::SIGALRM, note, SaFlags::empty())?;
    let ms = |ms: i32| Timeval {
        tv_sec: 0,
        tv_usec: ms * 1000,
        pad: 0xdead,
    };
    let timer = Itimerval {
        it_interval: ms(10),
        it_value: ms(5),
    };
    let start = rt::time::now();
    sys!(SYS_SETITIMER50, ITIMER_REAL, &timer, 0)?;
    HANDLED.wait(3)?;
    ensure!(rt::time::now() - start >= 25 * rt::time::MS);
    let mut left = Itimerval::default();
    sys!(SYS_GETITIMER50, ITIMER_REAL, &mut left)?;
    ensure_eq!(
        (left.it_interval.tv_sec, left.it_interval.tv_usec),
        (0, 10_000)
    );
    ensure!(left.it_value.tv_sec == 0 && left.it_value.tv_usec <= 10_000);
    sys!(SYS_SETITIMER50, ITIMER_REAL, &Itimerval::default(), 0)?;
    let seen = HANDLED.get();
    scene::stands_still(&HANDLED)?;
    ensure!(HANDLED.get() == seen);
    Ok(())
}

fn default_actions() -> Verdict {
    use rt::abi::signal::DefaultAction::{Continue, Core, Ignore, Stop, Terminate};
    for signo in Signo::all() {
        let status = match signo.default_action() {
            Stop => continue,
            _ => in_child(|| {
                let _ = lwp::kill(lwp::me(), signo.raw());
                5
            })?,
        };
        match signo.default_action() {
            Ignore | Continue => ensure_eq!(status.code(), Some(5)),
            // Without a twin on the host the runner can only exit.
            Terminate | Core if signo.to_linux().is_none() => {
                ensure_eq!(status.code(), Some(128 + signo.raw()));
            }
            Terminate | Core => {
                ensure!(status.signal() == Some(signo.raw()), "{signo}: {status:?}");
            }
            Stop => {}
        }
    }
    Ok(())
}

fn exit_from_anywhere() -> Verdict {
    static STOP: Word = Word::new();
    static COUNT: Word = Word::new();
    for _ in 0..times(10) {
        let status = in_child(|| {
            let scenes = (
                scene::spinning(&STOP, &COUNT).is_ok(),
                scene::parked().is_ok(),
                scene::sleeping().is_ok(),
                scene::parked().is_ok_and(|task| lwp::suspend(task.lid).is_ok()),
            );
            if scenes != (true, true, true, true) {
                return 1;
            }
            let task = spawn(|| process::exit(3));
            let _: lwp::Task<()> = task;
            let _ = lwp::rest();
            2
        })?;
        ensure_eq!(status.code(), Some(3));
    }
    Ok(())
}

fn fatal_signal_in_any_lwp() -> Verdict {
    static STOP: Word = Word::new();
    static COUNT: Word = Word::new();
    for signo in [Signo::SIGTERM, Signo::SIGSEGV] {
        let status = in_child(|| {
            if scene::spinning(&STOP, &COUNT).is_err() || scene::parked().is_err() {
                return 1;
            }
            spawn(move || lwp::kill(lwp::me(), signo.raw()));
            let _ = lwp::rest();
            2
        })?;
        ensure_eq!(status.signal(), Some(signo.raw()));
    }
    Ok(())
}

fn two_exits() -> Verdict {
    for _ in 0..times(50) {
        let status = in_child(|| {
            static GO: Word = Word::new();
            let task = spawn(|| {
                GO.spin(1);
                process::exit(1)
            });
            let _: lwp::Task<()> = task;
            GO.set(1);
            2
        })?;
        ensure!(matches!(status.code(), Some(1 | 2)), "{status:?}");
    }
    Ok(())
}

fn stop_and_continue() -> Verdict {
    let counts = rt::vm::map_shared(rt::vm::PAGE)?.shared::<[Word; 3]>();
    let child = process::spawn_child(|| {
        for count in &counts[1..] {
            let _: lwp::Task<()> = spawn(move || {
                loop {
                    count.add();
                }
            });
        }
        loop {
            counts[0].add();
        }
    })?;
    for count in counts {
        count.wait(1)?;
    }
    process::kill(child, Signo::SIGSTOP.raw())?;
    let (_, status) = process::wait4(child, process::WUNTRACED)?;
    ensure_eq!(status.stopped(), Some(Signo::SIGSTOP.raw()));
    for count in counts {
        scene::stands_still(count)?;
    }
    process::kill(child, Signo::SIGCONT.raw())?;
    let (_, status) = process::wait4(child, process::WCONTINUED)?;
    ensure!(status.continued(), "{status:?}");
    for count in counts {
        scene::moves(count)?;
    }
    process::kill(child, Signo::SIGKILL.raw())?;
    ensure_eq!(process::wait(child)?.signal(), Some(Signo::SIGKILL.raw()));
    Ok(())
}

fn sleep_across_a_stop() -> Verdict {
    let child = process::spawn_child(|| {
        let start = rt::time::now();
        let slept = rt::time::nanosleep(rt::time::timespec(300 * rt::time::MS), None);
        let early = rt::time::now() - start < 300 * rt::time::MS;
        i32::from(slept != Ok(0)) + 2 * i32::from(early)
    })?;
    process::kill(child, Signo::SIGSTOP.raw())?;
    let (_, status) = process::wait4(child, process::WUNTRACED)?;
    ensure_eq!(status.stopped(), Some(Signo::SIGSTOP.raw()));
    process::kill(child, Signo::SIGCONT.raw())?;
    ensure_eq!(process::wait(child)?.code(), Some(0));
    Ok(())
}
