//! `_lwp_exit(2)` and the end of the process.

use crate::common::{MS, SECOND, asleep, asleep_and_suspended, in_state, parked, stat, zombie};
use lwp_abi::errno::Errno;
use lwp_abi::lwp::{LWP_DETACHED, LWP_SUSPENDED, LWPCTL_CPU_EXITED, LwpState};
use lwp_abi::signal::Signo;
use lwp_kernel::machine::ExitWith;
use lwp_sim::{Ended, PID, Sim, for_each_seed, run, run_to, seeds};

#[test]
pub(crate) fn the_last_lwp_ends_the_process_with_status_0() {
    run(|user| async move {
        let lid = user.spawn(|user| async move { user.lwp_exit().await });
        lid.await.unwrap();
        user.lwp_exit().await;
    });
}

#[test]
pub(crate) fn zombies_do_not_keep_a_process_alive() {
    run(|user| async move {
        zombie(&user).await;
        zombie(&user).await;
    });
}

#[test]
pub(crate) fn the_main_lwp_may_exit_and_be_waited_for() {
    run(|user| async move {
        user.spawn(|user| async move {
            assert_eq!(user.wait(PID).await, Ok(PID));
            assert_eq!(user.wait(PID).await, Err(Errno::ESRCH));
        })
        .await
        .unwrap();
    });
}

#[test]
pub(crate) fn a_suspended_lwp_counts_as_live() {
    run_to(Ended::Deadlock, |user| async move {
        let lid = user.spawn_with(LWP_SUSPENDED, |_| async {}).await.unwrap();
        in_state(&user, lid, LwpState::Suspended).await;
    });
}

#[test]
pub(crate) fn a_zombie_is_called_zombie_and_is_no_live_lwp() {
    run(|user| async move {
        let lid = user
            .spawn(|user| async move { user.setname(0, "worker").await.unwrap() })
            .await
            .unwrap();
        in_state(&user, lid, LwpState::Zomb).await;
        let lwp = user.kernel().lids.find(lid).unwrap();
        assert_eq!(
            lwp.lock().name.as_deref(),
            Some(b"(zombie)\0\0\0\0\0\0\0\0")
        );
        assert_eq!(user.kill_raw(lid, 0).await, Err(Errno::ESRCH));
        assert_eq!(user.wait(lid).await, Ok(lid));
    });
}

#[test]
pub(crate) fn its_block_says_exited_until_it_is_reaped() {
    run(|user| async move {
        let slot = user.put(&0u64);
        let lid = user
            .spawn(move |user| async move {
                let block = user.ctl(1).await.unwrap();
                user.add(slot, block);
            })
            .await
            .unwrap();
        in_state(&user, lid, LwpState::Zomb).await;
        let block = user.get::<u64>(slot);
        assert_eq!(user.lwpctl(block).lc_curcpu, LWPCTL_CPU_EXITED);
        user.wait(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn detached_lwps_are_reclaimed() {
    run(|user| async move {
        for _ in 0..50 {
            let lid = user.spawn_with(LWP_DETACHED, |_| async {}).await.unwrap();
            user.until("it is gone", || {
                matches!(stat(&user, lid), None | Some(LwpState::Zomb))
            })
            .await;
            // The one in the slot, at most.
            assert!(user.kernel().proc.lock().nlwps() <= 2);
        }
    });
}

#[test]
pub(crate) fn exit_ends_all_others_whatever_they_do() {
    run_to(Ended::Exit(ExitWith::Code(3)), |user| async move {
        parked(&user).await;
        user.spawn(|user| async move {
            loop {
                user.pause().await;
            }
        })
        .await
        .unwrap();
        asleep_and_suspended(&user).await;
        let waiter = user.spawn(|user| async move {
            user.wait(PID).await.unwrap();
        });
        asleep(&user, waiter.await.unwrap(), "lwpwait").await;
        zombie(&user).await;
        user.spawn(|user| async move { user.exit(3).await })
            .await
            .unwrap();
        user.nanosleep(1000 * SECOND).await.unwrap();
    });
}

#[test]
pub(crate) fn of_two_exits_at_once_the_first_decides() {
    for seed in seeds(50) {
        let sim = Sim::new(seed, |user| async move {
            for code in [1, 2] {
                let exit = user.spawn(move |user| async move { user.exit(code).await });
                exit.await.unwrap();
            }
            // Not the last live LWP, so this does not end the process.
            user.lwp_exit().await;
        });
        let ended = sim.run();
        assert!(
            matches!(ended, Ended::Exit(ExitWith::Code(1 | 2))),
            "seed {seed}: {ended:?}"
        );
    }
}

#[test]
pub(crate) fn signals_pending_on_the_lwp_die_with_it() {
    run(|user| async move {
        let count = user
            .count_signals(Signo::SIGUSR1, lwp_abi::signal::SaFlags::empty())
            .await;
        user.block(&[Signo::SIGUSR1]).await;
        let lid = parked(&user).await;
        user.kill(lid, Signo::SIGUSR1).await.unwrap();
        user.unpark(lid).await.unwrap();
        user.wait(lid).await.unwrap();
        user.unblock(&[Signo::SIGUSR1]).await;
        user.nanosleep(MS).await.unwrap();
        assert_eq!(user.get::<u64>(count), 0);
    });
}

#[test]
pub(crate) fn exit_waits_for_the_uninterruptible_and_leaves_nothing() {
    for_each_seed("lwp_calls", seeds(50), |seed| {
        let sim = Sim::new(seed, |user| async move {
            let busy = user.spawn(|user| async move {
                let _ = user.nanosleep(SECOND).await;
                panic!("it does not come back");
            });
            let busy = busy.await.unwrap();
            asleep(&user, busy, "nanoslp").await;
            // As in vfork(2), which the sim has not.
            let lwp = user.kernel().lids.find(busy).unwrap();
            lwp.lock().interruptible = false;
            user.exit(0).await;
        });
        assert_eq!(sim.run(), Ended::Exit(ExitWith::Code(0)));
        assert!(sim.elapsed() >= SECOND);
        let p = sim.kernel().proc.lock();
        assert_eq!((p.nlwps(), p.nrlwps), (0, 0));
    });
}
