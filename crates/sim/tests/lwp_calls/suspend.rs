//! `_lwp_suspend(2)` and `_lwp_continue(2)`.

use crate::common::{MS, NOBODIES, SECOND, asleep, in_state, now, parked, pulse, stat, zombie};
use lwp_abi::errno::Errno;
use lwp_abi::lwp::{LWP_SUSPENDED, LwpState};
use lwp_abi::signal::{SaFlags, Signo};
use lwp_kernel::lwp::LwpFlags;
use lwp_kernel::machine::ExitWith;
use lwp_sim::{Ended, PID, User, run, run_to};

/// An LWP that counts in user mode for ever, and the counter.
async fn spinner(user: &User) -> (i32, u64) {
    let count = user.put(&0u64);
    let lid = user.spawn(move |user| async move {
        loop {
            user.add(count, 1);
            user.pause().await;
        }
    });
    let lid = lid.await.unwrap();
    user.until("it spins", || user.get::<u64>(count) > 0).await;
    (lid, count)
}

#[test]
pub(crate) fn a_running_lwp_stops_until_it_is_continued() {
    run(|user| async move {
        let (lid, count) = spinner(&user).await;
        assert_eq!(user.suspend(lid).await, Ok(()));
        assert_eq!(stat(&user, lid), Some(LwpState::Suspended));
        let before = user.get::<u64>(count);
        user.nanosleep(MS).await.unwrap();
        assert_eq!(user.get::<u64>(count), before);
        assert_eq!(user.resume(lid).await, Ok(()));
        user.until("it spins again", || user.get::<u64>(count) > before)
            .await;
        user.exit(0).await;
    });
}

#[test]
pub(crate) fn an_unknown_id_or_a_zombie_is_esrch_in_both() {
    run(|user| async move {
        let dead = zombie(&user).await;
        for nobody in NOBODIES.into_iter().chain([dead]) {
            assert_eq!(user.suspend(nobody).await, Err(Errno::ESRCH));
            assert_eq!(user.resume(nobody).await, Err(Errno::ESRCH));
        }
    });
}

#[test]
pub(crate) fn a_target_that_exits_meanwhile_is_esrch() {
    run(|user| async move {
        let target = user.spawn(|user| async move {
            user.nanosleep(1000 * SECOND).await.unwrap();
        });
        let target = target.await.unwrap();
        asleep(&user, target, "nanoslp").await;
        let suspender = user.spawn(move |user| async move {
            // The target loops in its call, so it is not suspended there (lwp.md 2.6).
            assert_eq!(user.suspend(target).await, Err(Errno::ESRCH));
        });
        let suspender = suspender.await.unwrap();
        asleep(&user, suspender, "lwpwait").await;
        end_by_hand(&user, target);
        assert_eq!(user.wait(suspender).await, Ok(suspender));
        assert_eq!(user.wait(target).await, Ok(target));
    });
}

/// Tells one LWP to exit, as only a whole process is told.
fn end_by_hand(user: &User, lid: i32) {
    let kernel = user.kernel();
    let lwp = kernel.lids.find(lid).unwrap();
    lwp.set_flags(LwpFlags::WEXIT);
    // Asleep, or about to be again.
    let _ = kernel.wakeup(lid);
}

#[test]
pub(crate) fn suspending_oneself_with_nobody_else_running_is_edeadlk() {
    run(|user| async move {
        assert_eq!(user.suspend(PID).await, Err(Errno::EDEADLK));
        zombie(&user).await;
        assert_eq!(user.suspend(PID).await, Err(Errno::EDEADLK));
        let lid = user.spawn_with(LWP_SUSPENDED, |_| async {}).await.unwrap();
        in_state(&user, lid, LwpState::Suspended).await;
        assert_eq!(user.suspend(PID).await, Err(Errno::EDEADLK));
        user.exit(0).await;
    });
}

#[test]
pub(crate) fn suspending_oneself_lasts_until_a_continue_and_a_broadcast() {
    run(|user| async move {
        let lid = user.spawn(|user| async move {
            let me = user.lwp_self().await;
            assert_eq!(user.suspend(me).await, Ok(()));
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "lwpwait").await;
        pulse(&user).await;
        asleep(&user, lid, "lwpwait").await;
        user.resume(lid).await.unwrap();
        pulse(&user).await;
        assert_eq!(user.wait(lid).await, Ok(lid));
    });
}

#[test]
pub(crate) fn continuing_what_is_not_suspended_does_nothing() {
    run(|user| async move {
        let lid = parked(&user).await;
        assert_eq!(user.resume(lid).await, Ok(()));
        assert_eq!(user.resume(PID).await, Ok(()));
        assert_eq!(stat(&user, lid), Some(LwpState::Sleep));
        user.unpark(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn suspension_is_a_state_and_not_a_count() {
    run(|user| async move {
        let (lid, count) = spinner(&user).await;
        user.suspend(lid).await.unwrap();
        let second = user.spawn(move |user| async move {
            // Sleeps first, tests afterwards: it takes a broadcast.
            assert_eq!(user.suspend(lid).await, Ok(()));
        });
        let second = second.await.unwrap();
        asleep(&user, second, "lwpwait").await;
        pulse(&user).await;
        user.wait(second).await.unwrap();
        user.resume(lid).await.unwrap();
        let before = user.get::<u64>(count);
        user.until("it spins again", || user.get::<u64>(count) > before)
            .await;
        user.exit(0).await;
    });
}

#[test]
pub(crate) fn a_continue_leaves_no_credit() {
    run(|user| async move {
        let (lid, count) = spinner(&user).await;
        user.resume(lid).await.unwrap();
        user.suspend(lid).await.unwrap();
        let before = user.get::<u64>(count);
        user.nanosleep(MS).await.unwrap();
        assert_eq!(user.get::<u64>(count), before);
        user.exit(0).await;
    });
}

#[test]
pub(crate) fn a_suspender_returns_0_when_a_third_continues_the_target() {
    run(|user| async move {
        // Loops in its sleep, so the suspension does not take effect.
        let target = user.spawn(|user| async move {
            user.nanosleep(1000 * SECOND).await.unwrap();
        });
        let target = target.await.unwrap();
        asleep(&user, target, "nanoslp").await;
        let suspender = user.spawn(move |user| async move {
            assert_eq!(user.suspend(target).await, Ok(()));
        });
        let suspender = suspender.await.unwrap();
        asleep(&user, suspender, "lwpwait").await;
        pulse(&user).await;
        asleep(&user, suspender, "lwpwait").await;
        user.resume(target).await.unwrap();
        pulse(&user).await;
        user.wait(suspender).await.unwrap();
        user.exit(0).await;
    });
}

/// An LWP that sleeps for long, one that waits to have suspended it, and what its call came to: 1 for 0.
async fn suspender(user: &User) -> (i32, i32, u64) {
    let result = user.put(&0u64);
    let target = user.spawn(|user| async move {
        user.nanosleep(1000 * SECOND).await.unwrap();
    });
    let target = target.await.unwrap();
    asleep(user, target, "nanoslp").await;
    let suspender = user.spawn(move |user| async move {
        let suspended = user.suspend(target).await;
        user.add(result, if suspended.is_ok() { 1 } else { 2 });
        // A wakeup leaves an unpark besides.
        let token = user.park_for(MS).await == Err(Errno::EALREADY);
        user.add(result, if token { 10 } else { 20 });
    });
    let suspender = suspender.await.unwrap();
    asleep(user, suspender, "lwpwait").await;
    (suspender, target, result)
}

#[test]
pub(crate) fn a_wakeup_does_not_end_it() {
    run(|user| async move {
        let (suspender, target, result) = suspender(&user).await;
        assert_eq!(user.wakeup(suspender).await, Ok(()));
        // It may look only after it has made the call again, which suspends the target again.
        while user.get::<u64>(result) == 0 {
            user.resume(target).await.unwrap();
            pulse(&user).await;
        }
        assert_eq!(user.wait(suspender).await, Ok(suspender));
        assert_eq!(user.get::<u64>(result), 11);
        user.exit(0).await;
    });
}

#[test]
pub(crate) fn a_suspender_is_suspended_when_its_call_is_over() {
    run(|user| async move {
        let (first, target, result) = suspender(&user).await;
        let second = user.spawn(move |user| async move {
            assert_eq!(user.suspend(first).await, Ok(()));
        });
        let second = second.await.unwrap();
        asleep(&user, second, "lwpwait").await;
        asleep(&user, first, "lwpwait").await;
        user.resume(target).await.unwrap();
        pulse(&user).await;
        assert_eq!(user.wait(second).await, Ok(second));
        assert_eq!(stat(&user, first), Some(LwpState::Suspended));
        assert_eq!(user.get::<u64>(result), 0);
        user.resume(first).await.unwrap();
        assert_eq!(user.wait(first).await, Ok(first));
        assert_eq!(user.get::<u64>(result), 21);
        user.exit(0).await;
    });
}

#[test]
pub(crate) fn a_signal_makes_a_suspension_of_oneself_real() {
    run(|user| async move {
        let count = user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        let lid = user.spawn(|user| async move {
            let me = user.lwp_self().await;
            assert_eq!(user.suspend(me).await, Ok(()));
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "lwpwait").await;
        user.kill(lid, Signo::SIGUSR1).await.unwrap();
        in_state(&user, lid, LwpState::Suspended).await;
        assert_eq!(user.get::<u64>(count), 0);
        user.resume(lid).await.unwrap();
        user.until("it is handled", || user.get::<u64>(count) == 1)
            .await;
        asleep(&user, lid, "lwpwait").await;
        user.resume(lid).await.unwrap();
        pulse(&user).await;
        assert_eq!(user.wait(lid).await, Ok(lid));
    });
}

#[test]
pub(crate) fn an_lwp_asleep_in_a_looping_call_suspends_only_after_it() {
    run(|user| async move {
        let count = user.put(&0u64);
        let target = user.spawn(move |user| async move {
            user.nanosleep(SECOND).await.unwrap();
            user.add(count, 1);
        });
        let target = target.await.unwrap();
        asleep(&user, target, "nanoslp").await;
        assert_eq!(user.suspend(target).await, Ok(()));
        assert!(now(&user) >= SECOND);
        assert_eq!(stat(&user, target), Some(LwpState::Suspended));
        assert_eq!(user.get::<u64>(count), 0);
        user.resume(target).await.unwrap();
        user.wait(target).await.unwrap();
        assert_eq!(user.get::<u64>(count), 1);
    });
}

#[test]
pub(crate) fn a_parked_lwp_is_suspended_and_its_park_returns_0() {
    run(|user| async move {
        let lid = user.spawn(|user| async move {
            assert_eq!(user.park().await, Ok(()));
            // An unpark that came during the suspension is kept.
            assert_eq!(user.park().await, Err(Errno::EALREADY));
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "parked").await;
        user.suspend(lid).await.unwrap();
        assert_eq!(stat(&user, lid), Some(LwpState::Suspended));
        user.unpark(lid).await.unwrap();
        user.resume(lid).await.unwrap();
        user.wait(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn a_signal_restarts_the_suspender_and_is_never_eintr() {
    run(|user| async move {
        let count = user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        let target = user.spawn(|user| async move {
            user.nanosleep(SECOND).await.unwrap();
        });
        let target = target.await.unwrap();
        asleep(&user, target, "nanoslp").await;
        let suspender = user.spawn(move |user| async move {
            assert_eq!(user.suspend(target).await, Ok(()));
            user.resume(target).await.unwrap();
        });
        let suspender = suspender.await.unwrap();
        asleep(&user, suspender, "lwpwait").await;
        user.kill(suspender, Signo::SIGUSR1).await.unwrap();
        user.until("it is handled", || user.get::<u64>(count) == 1)
            .await;
        asleep(&user, suspender, "lwpwait").await;
        user.wait(suspender).await.unwrap();
        user.wait(target).await.unwrap();
    });
}

#[test]
pub(crate) fn a_signal_to_a_suspended_lwp_waits_for_the_continue() {
    run(|user| async move {
        let (lid, count) = spinner(&user).await;
        let handled = user.put(&0u64);
        let handler = user.handler(move |user, _| async move {
            // Before any other user code of the LWP.
            user.add(handled, user.get::<u64>(count));
        });
        user.sigaction(Signo::SIGUSR1, handler, SaFlags::empty())
            .await;
        user.suspend(lid).await.unwrap();
        let before = user.get::<u64>(count);
        user.kill(lid, Signo::SIGUSR1).await.unwrap();
        user.nanosleep(MS).await.unwrap();
        assert_eq!(user.get::<u64>(handled), 0);
        assert_eq!(stat(&user, lid), Some(LwpState::Suspended));
        user.resume(lid).await.unwrap();
        user.until("it is handled", || user.get::<u64>(handled) != 0)
            .await;
        assert_eq!(user.get::<u64>(handled), before);
        user.exit(0).await;
    });
}

#[test]
pub(crate) fn a_process_signal_is_taken_by_one_that_is_not_suspended() {
    run(|user| async move {
        let (lid, _) = spinner(&user).await;
        user.suspend(lid).await.unwrap();
        let handler = user.handler(|user, _| async move {
            assert_eq!(user.lwp_self().await, PID);
        });
        user.sigaction(Signo::SIGUSR1, handler, SaFlags::empty())
            .await;
        crate::signals::to_process(&user, Signo::SIGUSR1);
        assert!(user.nanosleep(MS).await.is_err());
        user.exit(0).await;
    });
}

#[test]
pub(crate) fn sigkill_ends_a_process_of_suspended_lwps() {
    let killed = Ended::Exit(ExitWith::Signal(Signo::SIGKILL));
    run_to(killed, |user| async move {
        let lid = user.spawn_with(LWP_SUSPENDED, |_| async {}).await.unwrap();
        in_state(&user, lid, LwpState::Suspended).await;
        crate::signals::later(&user, MS, Signo::SIGKILL);
        user.lwp_exit().await;
    });
}

#[test]
pub(crate) fn an_uninterruptible_sleeper_suspends_itself_in_the_end_and_signals_restart_the_call() {
    run(|user| async move {
        let count = user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        let busy = parked(&user).await;
        // As in vfork(2), which the sim has not.
        let lwp = user.kernel().lids.find(busy).unwrap();
        lwp.lock().interruptible = false;
        let caller = user.spawn(move |user| async move {
            assert_eq!(user.suspend(busy).await, Ok(()));
        });
        let caller = caller.await.unwrap();
        for round in 1..4 {
            asleep(&user, caller, "lwpwait").await;
            user.kill(caller, Signo::SIGUSR1).await.unwrap();
            user.until("it is handled", || user.get::<u64>(count) == round)
                .await;
        }
        asleep(&user, caller, "lwpwait").await;
        assert_eq!(user.kernel().census().waiters, 1);
        assert_eq!(stat(&user, busy), Some(LwpState::Sleep));
        user.unpark(busy).await.unwrap();
        assert_eq!(user.wait(caller).await, Ok(caller));
        assert_eq!(stat(&user, busy), Some(LwpState::Suspended));
        user.resume(busy).await.unwrap();
        assert_eq!(user.wait(busy).await, Ok(busy));
    });
}
