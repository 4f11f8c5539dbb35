//! `_lwp_wait(2)`.

use crate::common::{NOBODIES, SECOND, asleep, in_state, parked, reap, stat, zombie};
use lwp_abi::errno::Errno;
use lwp_abi::lwp::{LWP_DETACHED, LWP_SUSPENDED, LwpState};
use lwp_abi::signal::{SaFlags, Signo};
use lwp_sim::{NOWHERE, PID, User, run};

/// An LWP that waits for `target` and expects this.
async fn waiter(user: &User, target: i32, expected: Result<i32, Errno>) -> i32 {
    let lid = user.spawn(move |user| async move {
        assert_eq!(user.wait(target).await, expected);
    });
    let lid = lid.await.unwrap();
    asleep(user, lid, "lwpwait").await;
    lid
}

#[test]
pub(crate) fn an_exited_lwp_is_reaped_at_once_and_only_once() {
    run(|user| async move {
        let lid = zombie(&user).await;
        assert_eq!(user.wait(lid).await, Ok(lid));
        assert_eq!(stat(&user, lid), None);
        assert_eq!(user.wait(lid).await, Err(Errno::ESRCH));
    });
}

#[test]
pub(crate) fn a_live_lwp_is_waited_for() {
    run(|user| async move {
        let lid = parked(&user).await;
        waiter(&user, lid, Ok(lid)).await;
        user.unpark(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn an_unknown_id_is_esrch() {
    run(|user| async move {
        let lid = zombie(&user).await;
        user.wait(lid).await.unwrap();
        for nobody in NOBODIES
            .into_iter()
            .chain([lid])
            .filter(|&nobody| nobody != 0)
        {
            assert_eq!(user.wait(nobody).await, Err(Errno::ESRCH));
        }
    });
}

#[test]
pub(crate) fn waiting_for_any_alone_is_esrch() {
    run(|user| async move {
        assert_eq!(user.wait(0).await, Err(Errno::ESRCH));
        let detached = user.spawn_with(LWP_DETACHED, |user| async move {
            user.park().await.unwrap();
        });
        let detached = detached.await.unwrap();
        asleep(&user, detached, "parked").await;
        assert_eq!(user.wait(0).await, Err(Errno::ESRCH));
        user.unpark(detached).await.unwrap();
    });
}

#[test]
pub(crate) fn a_live_detached_lwp_is_einval_and_a_dead_one_esrch() {
    run(|user| async move {
        let lid = user.spawn_with(LWP_DETACHED, |user| async move {
            user.park().await.unwrap();
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "parked").await;
        assert_eq!(user.wait(lid).await, Err(Errno::EINVAL));
        user.unpark(lid).await.unwrap();
        in_state(&user, lid, LwpState::Zomb).await;
        assert_eq!(user.wait(lid).await, Err(Errno::ESRCH));
    });
}

#[test]
pub(crate) fn a_target_that_becomes_detached_is_einval() {
    run(|user| async move {
        let lid = parked(&user).await;
        let other = waiter(&user, lid, Err(Errno::EINVAL)).await;
        user.detach(lid).await.unwrap();
        assert_eq!(user.wait(other).await, Ok(other));
        user.unpark(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn the_last_candidate_that_becomes_detached_is_esrch() {
    run(|user| async move {
        user.spawn(|user| async move {
            asleep(&user, PID, "lwpwait").await;
            user.detach(user.lwp_self().await).await.unwrap();
            asleep(&user, PID, "nanoslp").await;
        })
        .await
        .unwrap();
        assert_eq!(user.wait(0).await, Err(Errno::ESRCH));
        user.nanosleep(SECOND).await.unwrap();
    });
}

#[test]
pub(crate) fn waiting_for_oneself_is_edeadlk_or_einval_when_detached() {
    run(|user| async move {
        assert_eq!(user.wait(PID).await, Err(Errno::EDEADLK));
        parked(&user).await;
        assert_eq!(user.wait(PID).await, Err(Errno::EDEADLK));
        user.detach(PID).await.unwrap();
        assert_eq!(user.wait(PID).await, Err(Errno::EINVAL));
        user.exit(0).await;
    });
}

#[test]
pub(crate) fn waiting_for_ones_waiter_is_edeadlk() {
    run(|user| async move {
        let lid = waiter(&user, PID, Ok(PID)).await;
        parked(&user).await;
        assert_eq!(user.wait(lid).await, Err(Errno::EDEADLK));
        asleep(&user, lid, "lwpwait").await;
        user.spawn(move |user| async move {
            user.wait(lid).await.unwrap();
            user.exit(0).await;
        })
        .await
        .unwrap();
    });
}

#[test]
pub(crate) fn the_one_that_completes_the_set_of_waiters_gets_edeadlk() {
    run(|user| async move {
        let lid = user.spawn(|user| async move {
            assert_eq!(user.wait(0).await, Ok(PID));
        });
        asleep(&user, lid.await.unwrap(), "lwpwait").await;
        assert_eq!(user.wait(0).await, Err(Errno::EDEADLK));
    });
}

#[test]
pub(crate) fn a_cycle_of_three_is_not_detected_while_a_fourth_runs() {
    run(|user| async move {
        user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        let slots = user.put(&[0i32; 3]);
        let mut lids = [0; 3];
        for (index, lid) in (0..).zip(&mut lids) {
            *lid = user
                .spawn(move |user| async move {
                    // The ids come in the slots.
                    user.park().await.unwrap();
                    let ids: [i32; 3] = user.get(slots);
                    let next = ids[(index + 1) % 3];
                    let waited = user.wait(next).await;
                    let expected = [Err(Errno::EINTR), Ok(ids[2]), Ok(ids[0])][index];
                    assert_eq!(waited, expected);
                })
                .await
                .unwrap();
            asleep(&user, *lid, "parked").await;
        }
        let bytes: Vec<u8> = lids.iter().flat_map(|lid| lid.to_le_bytes()).collect();
        user.memory().write(&bytes, slots).unwrap();
        for lid in lids {
            user.unpark(lid).await.unwrap();
            asleep(&user, lid, "lwpwait").await;
        }
        user.kill(lids[0], Signo::SIGUSR1).await.unwrap();
        reap(&user, lids[1]).await;
    });
}

#[test]
pub(crate) fn any_returns_each_zombie_once_newest_first() {
    run(|user| async move {
        let lids = [
            zombie(&user).await,
            zombie(&user).await,
            zombie(&user).await,
        ];
        for lid in lids.into_iter().rev() {
            assert_eq!(user.wait(0).await, Ok(lid));
        }
        assert_eq!(user.wait(0).await, Err(Errno::ESRCH));
    });
}

#[test]
pub(crate) fn departed_may_be_null() {
    run(|user| async move {
        let lid = zombie(&user).await;
        assert_eq!(user.wait_to(lid, 0).await, Ok(()));
        assert_eq!(stat(&user, lid), None);
    });
}

#[test]
pub(crate) fn a_bad_departed_is_efault_with_the_lwp_reaped() {
    run(|user| async move {
        let lid = zombie(&user).await;
        assert_eq!(user.wait_to(lid, NOWHERE).await, Err(Errno::EFAULT));
        assert_eq!(user.wait(lid).await, Err(Errno::ESRCH));
    });
}

#[test]
pub(crate) fn a_handler_without_restart_ends_the_wait_with_eintr() {
    run(|user| async move {
        let count = user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        let lid = parked(&user).await;
        let other = waiter(&user, lid, Err(Errno::EINTR)).await;
        user.kill(other, Signo::SIGUSR1).await.unwrap();
        user.wait(other).await.unwrap();
        assert_eq!(user.get::<u64>(count), 1);
        user.unpark(lid).await.unwrap();
        assert_eq!(user.wait(lid).await, Ok(lid));
    });
}

#[test]
pub(crate) fn a_handler_with_restart_lets_the_wait_go_on() {
    run(|user| async move {
        let count = user.count_signals(Signo::SIGUSR1, SaFlags::RESTART).await;
        let lid = parked(&user).await;
        let other = waiter(&user, lid, Ok(lid)).await;
        user.kill(other, Signo::SIGUSR1).await.unwrap();
        user.until("the handler has run", || user.get::<u64>(count) == 1)
            .await;
        asleep(&user, other, "lwpwait").await;
        user.unpark(lid).await.unwrap();
        user.wait(other).await.unwrap();
    });
}

#[test]
pub(crate) fn a_wakeup_ends_the_wait_with_eintr() {
    run(|user| async move {
        user.count_signals(Signo::SIGUSR1, SaFlags::RESTART).await;
        let lid = parked(&user).await;
        let other = waiter(&user, lid, Err(Errno::EINTR)).await;
        user.wakeup(other).await.unwrap();
        user.wait(other).await.unwrap();
        user.unpark(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn of_two_waiters_one_reaps_and_the_other_gets_esrch() {
    run(|user| async move {
        let lid = parked(&user).await;
        let results = user.put(&[0u64; 2]);
        let mut waiters = [0; 2];
        for waiter in &mut waiters {
            *waiter = user
                .spawn(move |user| async move {
                    match user.wait(lid).await {
                        Ok(departed) if departed == lid => user.add(results, 1),
                        Err(Errno::ESRCH) => user.add(results + 8, 1),
                        other => panic!("{other:?}"),
                    }
                })
                .await
                .unwrap();
            asleep(&user, *waiter, "lwpwait").await;
        }
        user.unpark(lid).await.unwrap();
        for waiter in waiters {
            reap(&user, waiter).await;
        }
        assert_eq!(user.get::<[u64; 2]>(results), [1, 1]);
    });
}

#[test]
pub(crate) fn a_zombie_with_a_specific_waiter_is_not_for_any_waiters() {
    run(|user| async move {
        let lid = parked(&user).await;
        waiter(&user, lid, Ok(lid)).await;
        let any = user.spawn(move |user| async move {
            // The specific waiter, or whoever else is left later: never its target.
            assert_ne!(user.wait(0).await, Ok(lid));
        });
        asleep(&user, any.await.unwrap(), "lwpwait").await;
        user.unpark(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn a_suspended_lwp_is_waited_for_until_it_is_continued_and_exits() {
    run(|user| async move {
        let lid = user.spawn_with(LWP_SUSPENDED, |_| async {}).await.unwrap();
        in_state(&user, lid, LwpState::Suspended).await;
        let other = waiter(&user, lid, Ok(lid)).await;
        user.resume(lid).await.unwrap();
        user.wait(other).await.unwrap();
    });
}

#[test]
pub(crate) fn a_join_under_a_storm_of_signals_and_wakeups_ends() {
    run(|user| async move {
        user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        user.count_signals(Signo::SIGUSR2, SaFlags::RESTART).await;
        let target = parked(&user).await;
        let joiner = user.spawn(move |user| async move {
            loop {
                match user.wait(target).await {
                    Ok(_) => return,
                    Err(errno) => assert_eq!(errno, Errno::EINTR),
                }
            }
        });
        let joiner = joiner.await.unwrap();
        for round in 0..10 {
            user.kill(joiner, Signo::SIGUSR1).await.unwrap();
            user.kill(joiner, Signo::SIGUSR2).await.unwrap();
            // Asleep or not.
            let _ = user.wakeup(joiner).await;
            if round == 7 {
                user.unpark(target).await.unwrap();
                break;
            }
        }
        assert_eq!(user.wait(joiner).await, Ok(joiner));
    });
}
