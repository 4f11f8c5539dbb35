//! The tour: each stop makes LWPs, does something to them, and prints what came of it.

use rt::abi::lwp::{LWPCTL_CPU_EXITED, LWPCTL_FEATURE_CURCPU, LWPCTL_FEATURE_PCTR, LwpState};
use rt::abi::signal::{SaFlags, Siginfo, Signo};
use rt::abi::ucontext::Ucontext;
use rt::check::Verdict;
use rt::fmt::Text;
use rt::lwp::{self, How, spawn};
use rt::sync::{Word, until};
use rt::time::{self, MS, timespec};
use rt::{Errno, ensure, ensure_eq, process, say, scene, sig, sysctl};

/// The whole tour.
pub(crate) fn walk() -> Verdict {
    arrive()?;
    create()?;
    park()?;
    pass_it_on()?;
    crowd()?;
    suspend()?;
    signal()?;
    cancel()?;
    lwpctl()?;
    detach()?;
    Ok(())
}

/// Prints one line of the tour: the calls, then what happened.
macro_rules! stop {
    ($calls:literal, $($what:tt)*) => { say!("{:<26} {}", $calls, format_args!($($what)*)) };
}

fn arrive() -> Verdict {
    let mut release = [0; 16];
    let len = sysctl::read(&[1, 2], &mut release)?;
    let release = str::from_utf8(&release[..len.saturating_sub(1)]).unwrap_or("?");
    let (pid, ncpu) = (process::pid(), sysctl::ncpu()?);
    stop!(
        "_lwp_self",
        "LWP {} of process {pid}: NetBSD {release}, {ncpu} CPUs",
        lwp::me()
    );
    ensure_eq!(lwp::me().raw(), pid);
    Ok(())
}

fn create() -> Verdict {
    let task = spawn(|| {
        let _ = lwp::setname(lwp::me(), c"worker");
        lwp::park()
    });
    sysctl::until_parked(task.lid)?;
    stop!(
        "_lwp_create, _lwp_setname",
        "LWP {} calls itself {:?}",
        task.lid,
        name(task.lid)?
    );
    let info = sysctl::lwp(task.lid).unwrap_or_default();
    stop!(
        "sysctl kern.lwp",
        "it is asleep (state {}), wmesg {:?}",
        info.l_stat,
        sysctl::wmesg(&info)
    );
    lwp::unpark(task.lid)?;
    let lid = task.lid;
    ensure_eq!(task.join()?, Ok(0));
    stop!(
        "_lwp_unpark, _lwp_wait",
        "woken, it returned; LWP {lid} is gone"
    );
    Ok(())
}

/// An LWP's name.
fn name(lid: rt::abi::lwp::LwpId) -> Result<Text<16>, Errno> {
    let mut buf = [0; 16];
    lwp::getname(lid, &mut buf)?;
    let len = buf.iter().position(|&b| b == 0).unwrap_or(buf.len());
    Ok(Text::of(format_args!(
        "{}",
        str::from_utf8(&buf[..len]).unwrap_or("?")
    )))
}

fn park() -> Verdict {
    lwp::unpark(lwp::me())?;
    let early = lwp::park();
    ensure_eq!(early, Err(Errno::EALREADY));
    stop!(
        "_lwp_unpark, _lwp_park",
        "an unpark that comes first is kept: EALREADY at once"
    );
    let start = time::now();
    ensure_eq!(lwp::park_for(&mut timespec(20 * MS)), Err(Errno::ETIMEDOUT));
    let took = (time::now() - start) / 1000;
    stop!(
        "_lwp_park, 20 ms",
        "nobody comes: ETIMEDOUT after {took} us"
    );
    Ok(())
}

fn pass_it_on() -> Verdict {
    const LENGTH: u32 = 1000;
    static PASSED: Word = Word::new();
    let start = time::now();
    let mut last = lwp::me();
    // The one made last goes first. Each waits for its turn, not just for the start: one that has not
    // run before the word sets out must not overtake it.
    for turn in (1..=LENGTH).rev() {
        let next = last;
        last = How::new()
            .detached()
            .stack(2 * rt::vm::PAGE)
            .spawn(move || {
                while PASSED.get() != turn {
                    let _ = lwp::park();
                }
                PASSED.add();
                let _ = lwp::unpark(next);
            })?
            .lid;
    }
    let made = time::now();
    PASSED.set(1);
    lwp::unpark(last)?;
    while PASSED.get() <= LENGTH {
        let _ = lwp::park();
    }
    let done = time::now();
    let (making, passing) = ((made - start) / 1000, (done - made) / 1000);
    stop!(
        "a chain of 1000 LWPs",
        "made in {making} us; a word went through all in {passing} us"
    );
    Ok(())
}

fn crowd() -> Verdict {
    static HOME: Word = Word::new();
    let tasks: [_; 50] = core::array::from_fn(|_| {
        spawn(|| {
            let _ = lwp::park();
            HOME.add()
        })
    });
    for task in &tasks {
        sysctl::until_parked(task.lid)?;
    }
    lwp::unpark_all(&tasks.map(|task| task.lid))?;
    for task in tasks {
        task.join()?;
    }
    stop!("_lwp_unpark_all", "one call woke {} LWPs", HOME.get());
    Ok(())
}

fn suspend() -> Verdict {
    static STOP: Word = Word::new();
    static COUNT: Word = Word::new();
    let task = scene::spinning(&STOP, &COUNT)?;
    lwp::suspend(task.lid)?;
    let frozen = COUNT.get();
    scene::stands_still(&COUNT)?;
    ensure!(sysctl::is_in(task.lid, LwpState::Suspended));
    stop!(
        "_lwp_suspend",
        "LWP {} was counting, and stands still at {frozen}",
        task.lid
    );
    lwp::resume(task.lid)?;
    scene::moves(&COUNT)?;
    STOP.set(1);
    task.join()?;
    stop!(
        "_lwp_continue",
        "it counts again, and ends at {}",
        COUNT.get()
    );
    Ok(())
}

/// In which LWP [`handler`] ran.
static HANDLED_BY: Word = Word::new();

extern "C" fn handler(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
    HANDLED_BY.set(lwp::me().raw().cast_unsigned());
}

fn signal() -> Verdict {
    sig::catch(Signo::SIGUSR1, handler, SaFlags::empty())?;
    let task = scene::parked()?;
    lwp::kill(task.lid, Signo::SIGUSR1.raw())?;
    let lid = task.lid;
    ensure_eq!(task.join()?, Err(Errno::EINTR));
    ensure_eq!(HANDLED_BY.get(), lid.raw().cast_unsigned());
    stop!(
        "_lwp_kill, SIGUSR1",
        "the handler ran in LWP {lid}; its park gave EINTR"
    );
    Ok(())
}

fn cancel() -> Verdict {
    let task = scene::sleeping()?;
    lwp::wakeup(task.lid)?;
    let (result, left) = task.join()?;
    ensure_eq!(result, Err(Errno::EINTR));
    stop!(
        "_lwp_wakeup",
        "a nanosleep of 60 s ended with {} s left: EINTR",
        left.tv_sec
    );
    Ok(())
}

fn lwpctl() -> Verdict {
    const BOTH: i32 = LWPCTL_FEATURE_CURCPU | LWPCTL_FEATURE_PCTR;
    let task = spawn(|| {
        let ctl = lwp::ctl(BOTH)?;
        let before = lwp::read_ctl(ctl);
        time::nanosleep(timespec(MS), None)?;
        Ok::<_, Errno>((ctl, before, lwp::read_ctl(ctl)))
    });
    sysctl::until_state(task.lid, LwpState::Zomb)?;
    let Some(Ok((ctl, before, after))) = task.result() else {
        rt::skip!("no lwpctl block");
    };
    let cpu = before.lc_curcpu;
    stop!(
        "_lwp_ctl",
        "on CPU {cpu}; switched in {} times, {} after a nap",
        before.lc_pctr,
        after.lc_pctr
    );
    until("-2", || lwp::read_ctl(ctl).lc_curcpu == LWPCTL_CPU_EXITED)?;
    stop!(
        "_lwp_exit",
        "its block says {}, before anybody has waited",
        LWPCTL_CPU_EXITED
    );
    let lid = task.lid;
    task.join()??;
    ensure_eq!(lwp::wait(lid), Err(Errno::ESRCH));
    stop!("_lwp_wait", "once; a second one finds nobody: ESRCH");
    Ok(())
}

fn detach() -> Verdict {
    let task = scene::parked()?;
    lwp::detach(task.lid)?;
    ensure_eq!(lwp::wait(task.lid), Err(Errno::EINVAL));
    lwp::unpark(task.lid)?;
    until("its end", || lwp::kill(task.lid, 0) == Err(Errno::ESRCH))?;
    stop!(
        "_lwp_detach",
        "nobody may wait for LWP {} (EINVAL), and it leaves nothing",
        task.lid
    );
    Ok(())
}
