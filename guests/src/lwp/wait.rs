//! Wait, detach and exit: L-101 to L-140.

use rt::abi::lwp::{KinfoLwp, LwpId, LwpState};
use rt::abi::nr::SYS_LWP_EXIT;
use rt::abi::signal::{SaFlags, Siginfo, Signo};
use rt::abi::ucontext::Ucontext;
use rt::check::{Check, Fail, Verdict};
use rt::lwp::{self, How, NOBODY, spawn};
use rt::process::{self, in_child};
use rt::sync::{Word, until};
use rt::{Errno, ensure, ensure_eq, ensure_err, scene, sig, sys, sysctl, vm};

pub(crate) const CHECKS: &[Check] = &[
    ("L-101", wait_for_a_zombie),
    ("L-102", wait_for_a_live_one),
    ("L-103", wait_twice),
    ("L-104", wait_for_nobody),
    ("L-105", wait_for_a_detached_one),
    ("L-106", wait_for_a_dead_detached_one),
    ("L-107", wait_for_oneself),
    ("L-108", wait_for_oneself_detached),
    ("L-109", wait_for_each_other),
    ("L-110", wait_in_a_circle),
    ("L-111", wait_alone),
    ("L-112", wait_for_any_when_all_are_detached),
    ("L-113", all_wait),
    ("L-114", each_zombie_once),
    ("L-115", newest_first),
    ("L-116", nobody_asks_who),
    ("L-117", no_place_for_the_id),
    ("L-118", signal_ends_wait),
    ("L-119", signal_restarts_wait),
    ("L-120", two_wait_for_one),
    ("L-121", specific_before_any),
    ("L-122", detached_while_waited_for),
    ("L-123", last_one_detaches_itself),
    ("L-124", wait_for_a_suspended_one),
    ("L-125", wait_for_the_first_lwp),
    ("L-126", detach_twice),
    ("L-127", detach_a_zombie),
    ("L-128", detach_nobody),
    ("L-129", detach_oneself),
    ("L-130", detach_a_detached_one),
    ("L-131", detach_the_first_lwp),
    ("L-132", others_go_on),
    ("L-133", last_exit_is_exit),
    ("L-134", last_exit_with_zombies),
    ("L-135", last_running_exit_with_a_suspended_one),
    ("L-136", zombie_cannot_be_killed),
    ("L-137", detached_ones_leave_nothing),
    ("L-138", exit_needs_no_stack),
    ("L-139", what_sysctl_shows_of_a_zombie),
    ("L-140", function_may_return),
];

fn wait_for_a_zombie() -> Verdict {
    let task = scene::zombie()?;
    ensure_eq!(lwp::wait(task.lid), Ok(task.lid));
    Ok(())
}

fn wait_for_a_live_one() -> Verdict {
    let task = scene::parked()?;
    let waiter = spawn(move || lwp::wait(task.lid));
    sysctl::until_asleep(waiter.lid, "lwpwait")?;
    lwp::unpark(task.lid)?;
    ensure_eq!(waiter.join()?, Ok(task.lid));
    Ok(())
}

fn wait_twice() -> Verdict {
    let task = scene::zombie()?;
    lwp::wait(task.lid)?;
    ensure_err!(lwp::wait(task.lid), ESRCH);
    Ok(())
}

fn wait_for_nobody() -> Verdict {
    for lid in [NOBODY, LwpId::new(-1), LwpId::new(i32::MIN)] {
        ensure_err!(lwp::wait(lid), ESRCH);
    }
    Ok(())
}

fn wait_for_a_detached_one() -> Verdict {
    let task = How::new().detached().spawn(lwp::rest)?;
    ensure_err!(lwp::wait(task.lid), EINVAL);
    Ok(())
}

fn wait_for_a_dead_detached_one() -> Verdict {
    static GO: Word = Word::new();
    let task = How::new().detached().spawn(|| GO.spin(1))?;
    GO.set(1);
    until("an end", || lwp::wait(task.lid) == Err(Errno::ESRCH))?;
    Ok(())
}

fn wait_for_oneself() -> Verdict {
    ensure_err!(lwp::wait(lwp::me()), EDEADLK);
    ensure_eq!(spawn(|| lwp::wait(lwp::me())).join()?, Err(Errno::EDEADLK));
    Ok(())
}

fn wait_for_oneself_detached() -> Verdict {
    static RESULT: Word = Word::new();
    How::new().detached().spawn(|| {
        RESULT.set(if lwp::wait(lwp::me()) == Err(Errno::EINVAL) {
            1
        } else {
            2
        });
    })?;
    RESULT.wait(1)?;
    ensure_eq!(RESULT.get(), 1);
    Ok(())
}

fn wait_for_each_other() -> Verdict {
    let main = lwp::me();
    let task = spawn(move || {
        let asleep = sysctl::until_asleep(main, "lwpwait").is_ok();
        let result = lwp::wait(main);
        // A failed wait makes the others look again, so it may be up for a moment.
        (
            result,
            asleep && sysctl::until_asleep(main, "lwpwait").is_ok(),
        )
    });
    ensure_eq!(task.join()?, (Err(Errno::EDEADLK), true));
    Ok(())
}

extern "C" fn nothing(_: i32, _: &mut Siginfo, _: &mut Ucontext) {}

fn wait_in_a_circle() -> Verdict {
    static LIDS: [Word; 3] = [const { Word::new() }; 3];
    sig::catch(Signo::SIGUSR1, nothing, SaFlags::empty())?;
    let tasks: [_; 3] = core::array::from_fn(|i| {
        spawn(move || {
            let next = &LIDS[(i + 1) % 3];
            next.wait(1).ok();
            lwp::wait(LwpId::new(next.get().cast_signed()))
        })
    });
    for (task, lid) in tasks.iter().zip(&LIDS) {
        lid.set(task.lid.raw().cast_unsigned());
    }
    for task in &tasks {
        sysctl::until_asleep(task.lid, "lwpwait")?;
    }
    lwp::kill(tasks[0].lid, Signo::SIGUSR1.raw())?;
    // 0 leaves; 2 waited for 0, and gets it; 1 waited for 2. To wait earlier would be EDEADLK: all
    // LWPs would.
    sysctl::until_state(tasks[1].lid, LwpState::Zomb)?;
    ensure_eq!(tasks[1].join()?, Ok(tasks[2].lid));
    ensure_eq!(tasks[0].result(), Some(Err(Errno::EINTR)));
    ensure_eq!(tasks[2].result(), Some(Ok(tasks[0].lid)));
    Ok(())
}

fn wait_alone() -> Verdict {
    ensure_err!(lwp::wait_any(), ESRCH);
    Ok(())
}

fn wait_for_any_when_all_are_detached() -> Verdict {
    How::new().detached().spawn(lwp::rest)?;
    ensure_err!(lwp::wait_any(), ESRCH);
    Ok(())
}

fn all_wait() -> Verdict {
    static STILL: Word = Word::new();
    let main = lwp::me();
    let task = spawn(move || {
        let asleep = sysctl::until_asleep(main, "lwpwait").is_ok();
        let result = lwp::wait_any();
        STILL.set(u32::from(sysctl::until_asleep(main, "lwpwait").is_ok()));
        (asleep, result)
    });
    ensure_eq!(lwp::wait_any(), Ok(task.lid));
    ensure_eq!(task.result(), Some((true, Err(Errno::EDEADLK))));
    ensure_eq!(STILL.get(), 1);
    Ok(())
}

fn each_zombie_once() -> Verdict {
    let tasks: [_; 8] = core::array::from_fn(|_| spawn(|| ()));
    let mut seen = [0_u32; 8];
    for _ in 0..tasks.len() {
        let lid = lwp::wait_any()?;
        let Some(i) = tasks.iter().position(|t| t.lid == lid) else {
            return Err(Fail::new(format_args!("{lid} is nobody's")));
        };
        seen[i] += 1;
    }
    ensure_eq!(seen, [1; 8]);
    ensure_err!(lwp::wait_any(), ESRCH);
    Ok(())
}

fn newest_first() -> Verdict {
    let (old, new) = (scene::zombie()?, scene::zombie()?);
    ensure_eq!(lwp::wait_any(), Ok(new.lid));
    ensure_eq!(lwp::wait_any(), Ok(old.lid));
    Ok(())
}

fn nobody_asks_who() -> Verdict {
    let task = scene::zombie()?;
    ensure_eq!(sys!(SYS_LWP_WAIT, task.lid, 0), Ok(0));
    ensure_err!(lwp::wait(task.lid), ESRCH);
    Ok(())
}

fn no_place_for_the_id() -> Verdict {
    let task = scene::zombie()?;
    ensure_err!(sys!(SYS_LWP_WAIT, task.lid, vm::NOWHERE), EFAULT);
    ensure_err!(lwp::wait(task.lid), ESRCH);
    Ok(())
}

fn signal_ends_wait() -> Verdict {
    sig::catch(Signo::SIGUSR1, nothing, SaFlags::empty())?;
    let task = scene::parked()?;
    let waiter = spawn(move || lwp::wait(task.lid));
    sysctl::until_asleep(waiter.lid, "lwpwait")?;
    lwp::kill(waiter.lid, Signo::SIGUSR1.raw())?;
    ensure_eq!(waiter.join()?, Err(Errno::EINTR));
    lwp::unpark(task.lid)?;
    ensure_eq!(lwp::wait(task.lid), Ok(task.lid));
    Ok(())
}

/// How often [`count`] ran.
static HANDLED: Word = Word::new();

extern "C" fn count(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
    HANDLED.add();
}

fn signal_restarts_wait() -> Verdict {
    sig::catch(Signo::SIGUSR1, count, SaFlags::RESTART)?;
    let task = scene::parked()?;
    let waiter = spawn(move || lwp::wait(task.lid));
    sysctl::until_asleep(waiter.lid, "lwpwait")?;
    lwp::kill(waiter.lid, Signo::SIGUSR1.raw())?;
    HANDLED.wait(1)?;
    sysctl::until_asleep(waiter.lid, "lwpwait")?;
    lwp::unpark(task.lid)?;
    ensure_eq!(waiter.join()?, Ok(task.lid));
    Ok(())
}

fn two_wait_for_one() -> Verdict {
    let task = scene::parked()?;
    let waiters: [_; 2] = core::array::from_fn(|_| spawn(move || lwp::wait(task.lid)));
    for waiter in &waiters {
        sysctl::until_asleep(waiter.lid, "lwpwait")?;
    }
    lwp::unpark(task.lid)?;
    // To wait while one of them still waits could be EDEADLK: all LWPs would.
    for waiter in &waiters {
        sysctl::until_state(waiter.lid, LwpState::Zomb)?;
    }
    let [a, b] = waiters;
    let got = (a.join()?, b.join()?);
    let one = (Ok(task.lid), Err(Errno::ESRCH));
    ensure!(got == one || got == (one.1, one.0), "{got:?}");
    Ok(())
}

fn specific_before_any() -> Verdict {
    let task = scene::parked()?;
    let specific = spawn(move || lwp::wait(task.lid));
    sysctl::until_asleep(specific.lid, "lwpwait")?;
    let any = spawn(|| {
        let first = lwp::wait_any();
        first.and_then(|first| Ok((first, lwp::wait_any()?)))
    });
    sysctl::until_asleep(any.lid, "lwpwait")?;
    lwp::unpark(task.lid)?;
    // `any` reaps `specific`, if main does not: both are right.
    until("the end of the first waiter", || {
        specific.result().is_some()
    })?;
    ensure_eq!(specific.result(), Some(Ok(task.lid)));
    Ok(())
}

fn detached_while_waited_for() -> Verdict {
    let task = scene::parked()?;
    let waiter = spawn(move || lwp::wait(task.lid));
    sysctl::until_asleep(waiter.lid, "lwpwait")?;
    lwp::detach(task.lid)?;
    ensure_eq!(waiter.join()?, Err(Errno::EINVAL));
    Ok(())
}

fn last_one_detaches_itself() -> Verdict {
    let main = lwp::me();
    spawn(move || {
        let _ = sysctl::until_asleep(main, "lwpwait");
        let _ = lwp::detach(lwp::me());
        lwp::rest()
    });
    ensure_err!(lwp::wait_any(), ESRCH);
    Ok(())
}

fn wait_for_a_suspended_one() -> Verdict {
    let task = How::new().suspended().spawn(|| ())?;
    sysctl::until_state(task.lid, LwpState::Suspended)?;
    let waiter = spawn(move || lwp::wait(task.lid));
    sysctl::until_asleep(waiter.lid, "lwpwait")?;
    lwp::resume(task.lid)?;
    ensure_eq!(waiter.join()?, Ok(task.lid));
    Ok(())
}

fn wait_for_the_first_lwp() -> Verdict {
    let status = in_child(|| {
        let (first, pid) = (lwp::me(), process::pid());
        spawn(move || {
            let right = lwp::wait(first) == Ok(first)
                && process::pid() == pid
                && process::kill(pid, 0) == Ok(0);
            process::exit(i32::from(right) + 1)
        });
        lwp::exit()
    })?;
    ensure_eq!(status.code(), Some(2));
    Ok(())
}

fn detach_twice() -> Verdict {
    let task = scene::parked()?;
    ensure_eq!(lwp::detach(task.lid), Ok(0));
    ensure_err!(lwp::detach(task.lid), EINVAL);
    Ok(())
}

fn detach_a_zombie() -> Verdict {
    let task = scene::zombie()?;
    ensure_eq!(lwp::detach(task.lid), Ok(0));
    ensure_err!(lwp::wait(task.lid), ESRCH);
    ensure!(sysctl::lwp(task.lid).is_none(), "it still has a record");
    Ok(())
}

fn detach_nobody() -> Verdict {
    for lid in [NOBODY, LwpId::new(0), LwpId::new(-1)] {
        ensure_err!(lwp::detach(lid), ESRCH);
    }
    Ok(())
}

fn detach_oneself() -> Verdict {
    static RESULT: Word = Word::new();
    spawn(|| {
        let once = lwp::detach(lwp::me()) == Ok(0);
        let twice = lwp::detach(lwp::me()) == Err(Errno::EINVAL);
        RESULT.set(1 + u32::from(once && twice));
    });
    RESULT.wait(1)?;
    ensure_eq!(RESULT.get(), 2);
    Ok(())
}

fn detach_a_detached_one() -> Verdict {
    let task = How::new().detached().spawn(lwp::rest)?;
    ensure_err!(lwp::detach(task.lid), EINVAL);
    Ok(())
}

fn detach_the_first_lwp() -> Verdict {
    let status = in_child(|| {
        let first = lwp::me();
        if lwp::detach(first).is_err() {
            return 1;
        }
        spawn(move || {
            // While it lives EINVAL, afterwards ESRCH.
            let gone = until("its end", || lwp::wait(first) == Err(Errno::ESRCH));
            process::exit(if gone.is_ok() { 7 } else { 2 })
        });
        if lwp::wait(first) == Err(Errno::EINVAL) {
            lwp::exit()
        } else {
            3
        }
    })?;
    ensure_eq!(status.code(), Some(7));
    Ok(())
}

fn others_go_on() -> Verdict {
    static STOP: Word = Word::new();
    static COUNT: Word = Word::new();
    let task = scene::spinning(&STOP, &COUNT)?;
    scene::zombie()?;
    scene::moves(&COUNT)?;
    STOP.set(1);
    task.join()?;
    Ok(())
}

fn last_exit_is_exit() -> Verdict {
    ensure_eq!(in_child(|| lwp::exit())?.code(), Some(0));
    let status = in_child(|| {
        let first = lwp::me();
        spawn(move || {
            let _ = lwp::wait(first);
        });
        lwp::exit()
    })?;
    ensure_eq!(status.code(), Some(0));
    Ok(())
}

fn last_exit_with_zombies() -> Verdict {
    let status = in_child(|| {
        if scene::zombie().is_err() || scene::zombie().is_err() {
            return 1;
        }
        lwp::exit()
    })?;
    ensure_eq!(status.code(), Some(0));
    Ok(())
}

fn last_running_exit_with_a_suspended_one() -> Verdict {
    let shared = vm::map_shared(vm::PAGE)?.shared::<Word>();
    let child = process::spawn_child(|| {
        let Ok(task) = How::new().suspended().spawn(|| ()) else {
            return 1;
        };
        if sysctl::until_state(task.lid, LwpState::Suspended).is_err() {
            return 2;
        }
        shared.set(1);
        lwp::exit()
    })?;
    shared.wait(1)?;
    for _ in 0..1000 {
        let (pid, status) = process::wait4(child, process::WNOHANG)?;
        ensure!(pid.raw() == 0, "it ended: {status:?}");
        rt::sync::yield_now();
    }
    process::kill(child, Signo::SIGKILL.raw())?;
    ensure_eq!(process::wait(child)?.signal(), Some(Signo::SIGKILL.raw()));
    Ok(())
}

fn zombie_cannot_be_killed() -> Verdict {
    let task = scene::zombie()?;
    ensure_err!(lwp::kill(task.lid, 0), ESRCH);
    ensure_eq!(lwp::wait(task.lid), Ok(task.lid));
    Ok(())
}

fn detached_ones_leave_nothing() -> Verdict {
    const ROUNDS: usize = 625;
    const STACKS: usize = 16;
    static DONE: Word = Word::new();
    extern "C" fn body(_: u64) {
        DONE.add();
    }
    let stacks = vm::map(STACKS * lwp::STACK_SIZE)?;
    let mut lids = [NOBODY; STACKS];
    for _ in 0..ROUNDS {
        for (i, lid) in lids.iter_mut().enumerate() {
            // A stack may be used again when its LWP's id is nobody's.
            until("an end", || lwp::kill(*lid, 0) == Err(Errno::ESRCH))?;
            let top = stacks.base + ((i + 1) * lwp::STACK_SIZE) as u64;
            let uc = lwp::makecontext(body, 0, top)?;
            *lid = lwp::create(&uc, rt::abi::lwp::LWP_DETACHED)?;
        }
    }
    DONE.wait(10_000)?;
    for lid in lids {
        until("an end", || lwp::kill(lid, 0) == Err(Errno::ESRCH))?;
    }
    let mut records = [KinfoLwp::default(); 4];
    ensure!(sysctl::lwps(&mut records)? <= 2);
    Ok(())
}

/// Unmaps `rsi` bytes at `rdi` and exits, without a stack.
#[unsafe(naked)]
extern "C" fn unmap_and_exit() {
    core::arch::naked_asm!(
        "mov eax, {munmap}",
        "syscall",
        "mov eax, {exit}",
        "syscall",
        "ud2",
        munmap = const rt::abi::nr::SYS_MUNMAP,
        exit = const SYS_LWP_EXIT,
    )
}

fn exit_needs_no_stack() -> Verdict {
    extern "C" fn never(_: u64) {}
    for _ in 0..100 {
        let stack = vm::map(lwp::STACK_SIZE)?;
        let mut uc = lwp::makecontext(never, stack.base, stack.end())?;
        let code: extern "C" fn() = unmap_and_exit;
        uc.uc_mcontext.gregs.rip = code as usize as u64;
        uc.uc_mcontext.gregs.rsi = stack.len as u64;
        let lid = lwp::create(&uc, 0)?;
        ensure_eq!(lwp::wait(lid), Ok(lid));
    }
    Ok(())
}

fn what_sysctl_shows_of_a_zombie() -> Verdict {
    let task = spawn(|| {
        let _ = lwp::setname(lwp::me(), c"mortal");
    });
    sysctl::until_state(task.lid, LwpState::Zomb)?;
    let info = sysctl::lwp(task.lid).unwrap_or_default();
    ensure_eq!(info.l_stat, LwpState::Zomb.raw());
    ensure!(info.l_name.starts_with(b"(zombie)\0"));
    Ok(())
}

fn function_may_return() -> Verdict {
    // Every task's does.
    ensure_eq!(spawn(|| 3).join()?, 3);
    Ok(())
}
