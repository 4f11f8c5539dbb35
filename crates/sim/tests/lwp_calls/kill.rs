//! `_lwp_kill(2)`.

use crate::common::{MS, NOBODIES, NOBODY, asleep, in_state, parked, zombie};
use lwp_abi::errno::Errno;
use lwp_abi::lwp::LwpState;
use lwp_abi::signal::{SI_LWP, SIG_IGN, SaFlags, Siginfo, Signo};
use lwp_kernel::machine::ExitWith;
use lwp_sim::{Ended, PID, run, run_to};

#[test]
pub(crate) fn no_signal_number_is_einval_before_esrch() {
    run(|user| async move {
        for signo in [64, 65, -1, i32::MAX, i32::MIN] {
            assert_eq!(user.kill_raw(PID, signo).await, Err(Errno::EINVAL));
            assert_eq!(user.kill_raw(NOBODY, signo).await, Err(Errno::EINVAL));
        }
    });
}

#[test]
pub(crate) fn an_unknown_id_or_a_zombie_is_esrch() {
    run(|user| async move {
        let dead = zombie(&user).await;
        for nobody in NOBODIES.into_iter().chain([dead]) {
            assert_eq!(user.kill_raw(nobody, 0).await, Err(Errno::ESRCH));
            assert_eq!(user.kill_raw(nobody, 9).await, Err(Errno::ESRCH));
        }
    });
}

#[test]
pub(crate) fn signal_0_only_looks() {
    run(|user| async move {
        let lid = parked(&user).await;
        assert_eq!(user.kill_raw(lid, 0).await, Ok(()));
        assert_eq!(user.kill_raw(PID, 0).await, Ok(()));
        in_state(&user, lid, LwpState::Sleep).await;
        user.unpark(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn the_handler_runs_in_exactly_the_target() {
    run(|user| async move {
        let wanted = user.put(&0i32);
        let handler = user.handler(move |user, [signo, info, _]| async move {
            assert_eq!(user.lwp_self().await, user.get::<i32>(wanted));
            let info: Siginfo = user.get(info);
            assert_eq!(i32::try_from(signo), Ok(info.si_signo));
            assert_eq!((info.si_code, info.pid().raw()), (SI_LWP, PID));
            user.memory().write(&0i32.to_le_bytes(), wanted).unwrap();
        });
        user.sigaction(Signo::SIGUSR1, handler, SaFlags::RESTART)
            .await;
        let mut lids = vec![PID];
        for _ in 0..4 {
            let lid = user.spawn(|user| async move {
                // Interrupted each time; the process ends it.
                while user.park().await == Err(Errno::EINTR) {}
            });
            lids.push(lid.await.unwrap());
        }
        for round in 0..20 {
            let lid = lids[round * 7 % lids.len()];
            user.memory().write(&lid.to_le_bytes(), wanted).unwrap();
            user.kill(lid, Signo::SIGUSR1).await.unwrap();
            user.until("it is handled", || user.get::<i32>(wanted) == 0)
                .await;
        }
        user.exit(0).await;
    });
}

#[test]
pub(crate) fn a_signal_to_oneself_is_handled_before_the_call_returns() {
    run(|user| async move {
        let count = user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        for round in 1..=10 {
            user.kill(PID, Signo::SIGUSR1).await.unwrap();
            assert_eq!(user.get::<u64>(count), round);
        }
    });
}

#[test]
pub(crate) fn a_blocked_signal_stays_with_its_target() {
    run(|user| async move {
        let count = user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        user.block(&[Signo::SIGUSR1]).await;
        let lid = user.spawn(move |user| async move {
            assert_eq!(user.park().await, Ok(()));
            assert!(user.sigpending().await.contains(Signo::SIGUSR1));
            assert_eq!(user.get::<u64>(count), 0);
            user.unblock(&[Signo::SIGUSR1]).await;
            assert_eq!(user.get::<u64>(count), 1);
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "parked").await;
        user.unblock(&[Signo::SIGUSR1]).await;
        user.kill(lid, Signo::SIGUSR1).await.unwrap();
        assert!(!user.sigpending().await.contains(Signo::SIGUSR1));
        user.nanosleep(MS).await.unwrap();
        assert_eq!(user.get::<u64>(count), 0);
        user.unpark(lid).await.unwrap();
        user.wait(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn sigkill_and_default_actions_end_the_process() {
    for signo in [Signo::SIGKILL, Signo::SIGTERM, Signo::SIGRTMIN] {
        let expected = Ended::Exit(ExitWith::Signal(signo));
        run_to(expected, move |user| async move {
            let lid = parked(&user).await;
            user.kill(lid, signo).await.unwrap();
            user.park().await.unwrap();
        });
    }
}

#[test]
pub(crate) fn an_ignored_signal_is_dropped() {
    run(|user| async move {
        user.sigaction(Signo::SIGUSR1, SIG_IGN, SaFlags::empty())
            .await;
        let lid = parked(&user).await;
        for signo in [Signo::SIGUSR1, Signo::SIGCHLD, Signo::SIGWINCH] {
            user.kill(lid, signo).await.unwrap();
            user.kill(PID, signo).await.unwrap();
        }
        user.nanosleep(MS).await.unwrap();
        in_state(&user, lid, LwpState::Sleep).await;
        assert!(user.sigpending().await.is_empty());
        user.unpark(lid).await.unwrap();
    });
}
