//! Job control with many LWPs.

use crate::common::{MS, SECOND, asleep, now, parked, stat};
use crate::signals::{later, to_process};
use lwp_abi::errno::Errno;
use lwp_abi::lwp::{LWP_SUSPENDED, LwpState};
use lwp_abi::signal::{SIG_IGN, SaFlags, SigSet, Signo};
use lwp_kernel::callout::Call;
use lwp_kernel::machine::ExitWith;
use lwp_kernel::proc::ProcStat;
use lwp_sim::{Ended, PID, Sim, for_each_seed, run, run_to, seeds};

#[test]
pub(crate) fn sigstop_stops_all_and_sigcont_lets_all_go_on() {
    run(|user| async move {
        let count = user.put(&0u64);
        for _ in 0..3 {
            user.spawn(move |user| async move {
                loop {
                    user.add(count, 1);
                    user.pause().await;
                }
            })
            .await
            .unwrap();
        }
        let sleeper = parked(&user).await;
        let before = now(&user);
        later(&user, SECOND, Signo::SIGCONT);
        user.kill(sleeper, Signo::SIGSTOP).await.unwrap();
        // Here the process has been stopped and continued.
        assert!(now(&user) >= before + SECOND);
        let counted = user.get::<u64>(count);
        user.until("they go on", || user.get::<u64>(count) > counted + 10)
            .await;
        user.exit(0).await;
    });
}

#[test]
pub(crate) fn the_host_is_stopped_once_when_none_runs() {
    for_each_seed("lwp_calls", seeds(50), |seed| {
        let sim = Sim::new(seed, |user| async move {
            parked(&user).await;
            let lid = user.spawn_with(LWP_SUSPENDED, |_| async {}).await.unwrap();
            user.until("it is there", || {
                stat(&user, lid) == Some(LwpState::Suspended)
            })
            .await;
            later(&user, SECOND, Signo::SIGCONT);
            to_process(&user, Signo::SIGTSTP);
            user.nanosleep(2 * SECOND).await.unwrap();
            user.exit(0).await;
        });
        let mut stopped = 0;
        let ended = sim.run_checked(|kernel| {
            kernel.check_invariants().expect("the invariants hold");
            stopped += u32::from(kernel.proc.lock().stat == ProcStat::Stopped);
        });
        assert_eq!(ended, Ended::Exit(ExitWith::Code(0)));
        assert_eq!(sim.machine().stops(), [Signo::SIGTSTP]);
        assert!(stopped > 0);
    });
}

#[test]
pub(crate) fn a_parked_lwp_gets_0_or_stays_parked() {
    run(|user| async move {
        let lid = user.spawn(|user| async move {
            assert_eq!(user.park().await, Ok(()));
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "parked").await;
        later(&user, SECOND, Signo::SIGCONT);
        user.kill(PID, Signo::SIGSTOP).await.unwrap();
        // It may have returned already.
        let _ = user.unpark(lid).await;
        assert_eq!(user.wait(lid).await, Ok(lid));
    });
}

#[test]
pub(crate) fn a_sleep_across_a_stop_ends_no_earlier_and_without_an_error() {
    run(|user| async move {
        let lid = user.spawn(|user| async move {
            let before = now(&user);
            assert_eq!(user.nanosleep(3 * SECOND).await, Ok(()));
            assert!(now(&user) >= before + 3 * SECOND);
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "nanoslp").await;
        later(&user, SECOND, Signo::SIGCONT);
        to_process(&user, Signo::SIGSTOP);
        user.wait(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn a_time_out_during_a_stop_is_reported_after_it() {
    run(|user| async move {
        let lid = user.spawn(|user| async move {
            // Not woken by the stop signal: stopped in its sleep.
            user.block(&[Signo::SIGTSTP]).await;
            let before = now(&user);
            assert_eq!(user.park_for(SECOND).await, Err(Errno::ETIMEDOUT));
            assert!(now(&user) >= before + 2 * SECOND);
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "parked").await;
        later(&user, 3 * SECOND, Signo::SIGCONT);
        user.kill(PID, Signo::SIGTSTP).await.unwrap();
        user.wait(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn a_signal_that_comes_during_a_stop_is_handled_after_it() {
    run(|user| async move {
        let count = user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        user.block(&[Signo::SIGUSR1]).await;
        let lid = user.spawn(move |user| async move {
            // Not woken by the stop signal: stopped in its sleep.
            user.set_mask(SigSet::of(&[Signo::SIGTSTP])).await;
            let slept = user.nanosleep(1000 * SECOND).await;
            assert_eq!(slept.map_err(|(errno, _)| errno), Err(Errno::EINTR));
            assert_eq!(user.get::<u64>(count), 1);
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "nanoslp").await;
        later(&user, SECOND, Signo::SIGUSR1);
        later(&user, 2 * SECOND, Signo::SIGCONT);
        let before = now(&user);
        user.kill(PID, Signo::SIGTSTP).await.unwrap();
        user.wait(lid).await.unwrap();
        assert!(now(&user) < before + 10 * SECOND);
    });
}

#[test]
pub(crate) fn sigkill_ends_a_stopped_process() {
    let killed = Ended::Exit(ExitWith::Signal(Signo::SIGKILL));
    run_to(killed, |user| async move {
        parked(&user).await;
        later(&user, SECOND, Signo::SIGTERM);
        later(&user, 2 * SECOND, Signo::SIGKILL);
        user.block(&[Signo::SIGTERM]).await;
        user.kill(PID, Signo::SIGSTOP).await.unwrap();
        user.park().await.unwrap();
    });
}

#[test]
pub(crate) fn sigcont_that_is_caught_runs_its_handler_once() {
    run(|user| async move {
        let count = user.count_signals(Signo::SIGCONT, SaFlags::RESTART).await;
        later(&user, SECOND, Signo::SIGCONT);
        user.kill(PID, Signo::SIGSTOP).await.unwrap();
        assert_eq!(user.get::<u64>(count), 1);
    });
}

#[test]
pub(crate) fn sigcont_that_is_ignored_continues_and_does_nothing_else() {
    run(|user| async move {
        user.sigaction(Signo::SIGCONT, SIG_IGN, SaFlags::empty())
            .await;
        user.kill(PID, Signo::SIGCONT).await.unwrap();
        later(&user, SECOND, Signo::SIGCONT);
        let before = now(&user);
        user.kill(PID, Signo::SIGSTOP).await.unwrap();
        assert!(now(&user) >= before + SECOND);
        assert_eq!(user.nanosleep(MS).await, Ok(()));
    });
}

#[test]
pub(crate) fn an_lwp_can_be_suspended_across_a_stop() {
    run(|user| async move {
        let lid = parked(&user).await;
        user.suspend(lid).await.unwrap();
        later(&user, SECOND, Signo::SIGCONT);
        user.kill(PID, Signo::SIGSTOP).await.unwrap();
        assert_eq!(stat(&user, lid), Some(LwpState::Suspended));
        user.resume(lid).await.unwrap();
        assert_eq!(user.wait(lid).await, Ok(lid));
    });
}

#[test]
pub(crate) fn a_stop_finds_sleepers_asleep_but_waits_for_the_uninterruptible() {
    for_each_seed("lwp_calls", seeds(50), |seed| {
        let sim = Sim::new(seed, |user| async move {
            // Their sleeps are not ended by the signal.
            user.block(&[Signo::SIGTSTP]).await;
            let sleeper = parked(&user).await;
            let busy = user.spawn(|user| async move {
                user.nanosleep(SECOND).await.unwrap();
            });
            let busy = busy.await.unwrap();
            asleep(&user, busy, "nanoslp").await;
            // As in vfork(2), which the sim has not.
            let lwp = user.kernel().lids.find(busy).unwrap();
            lwp.lock().interruptible = false;
            let kernel = user.kernel();
            let look = Call::Run(Box::new(move |kernel| {
                let stat_of = |lid: i32| kernel.lids.find(lid).unwrap().lock().stat;
                assert_eq!(stat_of(sleeper), LwpState::Stop);
                assert_eq!(stat_of(busy), LwpState::Sleep);
                assert_eq!(kernel.proc.lock().stat, ProcStat::Stopping);
            }));
            kernel.timeout(now(&user) + SECOND / 2, look);
            later(&user, 3 * SECOND, Signo::SIGCONT);
            user.unblock(&[Signo::SIGTSTP]).await;
            user.kill(PID, Signo::SIGTSTP).await.unwrap();
            assert!(now(&user) >= 3 * SECOND);
            assert_eq!(user.wait(busy).await, Ok(busy));
            asleep(&user, sleeper, "parked").await;
            user.exit(0).await;
        });
        assert_eq!(sim.run(), Ended::Exit(ExitWith::Code(0)));
        assert_eq!(sim.machine().stops(), [Signo::SIGTSTP]);
    });
}
