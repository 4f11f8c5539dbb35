//! `___lwp_park60`.

use crate::common::{MS, NOBODIES, NOBODY, SECOND, asleep, in_state, now, parked};
use core::time::Duration;
use lwp_abi::errno::Errno;
use lwp_abi::lwp::LwpState;
use lwp_abi::mman::Prot;
use lwp_abi::signal::{SaFlags, Signo};
use lwp_abi::time::{ClockId, TIMER_ABSTIME, Timespec};
use lwp_sim::{NOWHERE, PID, Park, User, run};

const BAD_NSEC: [i64; 4] = [-1, 1_000_000_000, i64::MIN, i64::MAX];

fn ts(tv_sec: i64, tv_nsec: i64) -> Timespec {
    Timespec { tv_sec, tv_nsec }
}

/// Parks with a time; returns the result and what the time is afterwards.
async fn park_ts(user: &User, time: Timespec, park: Park) -> (Result<(), Errno>, Timespec) {
    let at = user.put(&time);
    let result = user.park_with(Park { ts: at, ..park }).await;
    (result, user.get(at))
}

#[test]
pub(crate) fn an_unpark_ends_it_with_0() {
    run(|user| async move {
        let lid = user.spawn(|user| async move {
            assert_eq!(user.park().await, Ok(()));
            assert_eq!(user.park_for(MS).await, Err(Errno::ETIMEDOUT));
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "parked").await;
        user.unpark(lid).await.unwrap();
        user.wait(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn one_early_unpark_is_kept_and_not_two() {
    run(|user| async move {
        user.unpark(PID).await.unwrap();
        user.unpark(PID).await.unwrap();
        assert_eq!(user.park().await, Err(Errno::EALREADY));
        assert_eq!(user.park_for(MS).await, Err(Errno::ETIMEDOUT));
    });
}

#[test]
pub(crate) fn an_unreadable_time_is_efault_and_nobody_is_unparked() {
    run(|user| async move {
        let lid = parked(&user).await;
        let park = Park {
            ts: NOWHERE,
            unpark: lid,
            ..Park::default()
        };
        assert_eq!(user.park_with(park).await, Err(Errno::EFAULT));
        assert_eq!(
            user.kernel().lids.find(lid).unwrap().lock().stat,
            LwpState::Sleep
        );
        user.unpark(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn unparking_nobody_is_esrch_without_parking() {
    run(|user| async move {
        for nobody in NOBODIES.into_iter().filter(|&nobody| nobody != 0) {
            let park = Park {
                unpark: nobody,
                ..Park::default()
            };
            assert_eq!(user.park_with(park).await, Err(Errno::ESRCH));
            // Before the time is judged, and without writing it back.
            let bad = ts(5, -1);
            assert_eq!(park_ts(&user, bad, park).await, (Err(Errno::ESRCH), bad));
        }
    });
}

#[test]
pub(crate) fn bad_nanoseconds_are_einval_and_leave_the_token() {
    run(|user| async move {
        user.unpark(PID).await.unwrap();
        for nsec in BAD_NSEC {
            for flags in [0, TIMER_ABSTIME] {
                let park = Park {
                    flags,
                    ..Park::default()
                };
                let bad = ts(5, nsec);
                assert_eq!(park_ts(&user, bad, park).await, (Err(Errno::EINVAL), bad));
            }
        }
        assert_eq!(user.park().await, Err(Errno::EALREADY));
    });
}

#[test]
pub(crate) fn an_unknown_clock_is_einval_if_there_is_a_time() {
    run(|user| async move {
        for clock in [99, ClockId::VIRTUAL.raw(), ClockId::PROF.raw(), -1] {
            for flags in [0, TIMER_ABSTIME] {
                let park = Park {
                    clock: ClockId::new(clock),
                    flags,
                    ..Park::default()
                };
                let (result, _) = park_ts(&user, ts(1, 0), park).await;
                assert_eq!(result, Err(Errno::EINVAL), "clock {clock}");
                user.unpark(PID).await.unwrap();
                assert_eq!(user.park_with(park).await, Err(Errno::EALREADY));
            }
        }
    });
}

#[test]
pub(crate) fn the_cpu_clock_of_an_unknown_lwp_is_esrch() {
    run(|user| async move {
        let park = Park {
            clock: ClockId::new(0x2000_0000 | NOBODY),
            ..Park::default()
        };
        let (result, _) = park_ts(&user, ts(1, 0), park).await;
        assert_eq!(result, Err(Errno::ESRCH));
        let park = Park {
            clock: ClockId::new(0x2000_0000),
            ..Park::default()
        };
        let (result, _) = park_ts(&user, ts(0, 1000), park).await;
        assert_eq!(result, Err(Errno::ETIMEDOUT));
    });
}

#[test]
pub(crate) fn an_absolute_time_too_far_away_is_einval() {
    run(|user| async move {
        let park = Park {
            flags: TIMER_ABSTIME,
            clock: ClockId::REALTIME,
            ..Park::default()
        };
        let far = ts(i64::MIN, 0);
        assert_eq!(park_ts(&user, far, park).await, (Err(Errno::EINVAL), far));
    });
}

#[test]
pub(crate) fn a_time_that_is_over_is_etimedout_and_leaves_the_token() {
    run(|user| async move {
        user.unpark(PID).await.unwrap();
        for past in [ts(0, 0), ts(-1, 0), ts(-1, 999_999_999), ts(i64::MIN, 5)] {
            let result = park_ts(&user, past, Park::default()).await;
            assert_eq!(result, (Err(Errno::ETIMEDOUT), past));
        }
        for clock in [ClockId::REALTIME, ClockId::MONOTONIC] {
            let park = Park {
                clock,
                flags: TIMER_ABSTIME,
                ..Park::default()
            };
            let past = ts(0, 1);
            let result = park_ts(&user, past, park).await;
            assert_eq!(result, (Err(Errno::ETIMEDOUT), past));
        }
        assert_eq!(user.park().await, Err(Errno::EALREADY));
    });
}

#[test]
pub(crate) fn the_timer_ends_it_with_etimedout_never_early() {
    run(|user| async move {
        let before = now(&user);
        let result = park_ts(&user, ts(0, 1_500_000), Park::default()).await;
        assert_eq!(result, (Err(Errno::ETIMEDOUT), Timespec::ZERO));
        assert!(now(&user) >= before + Duration::from_micros(1500));
        let deadline = now(&user) + 2 * MS;
        let park = Park {
            flags: TIMER_ABSTIME,
            ..Park::default()
        };
        let result = park_ts(&user, deadline.into(), park).await;
        assert_eq!(result, (Err(Errno::ETIMEDOUT), deadline.into()));
        assert!(now(&user) >= deadline);
        let real = user.kernel().machine.realtime() + 2 * MS;
        let park = Park {
            clock: ClockId::REALTIME,
            ..park
        };
        let result = park_ts(&user, real.into(), park).await;
        assert_eq!(result, (Err(Errno::ETIMEDOUT), real.into()));
        assert!(user.kernel().machine.realtime() >= real);
    });
}

#[test]
pub(crate) fn an_unparked_relative_park_gets_the_rest_back() {
    run(|user| async move {
        let lid = user.spawn(|user| async move {
            let (result, rest) = park_ts(&user, ts(1, 0), Park::default()).await;
            assert_eq!(result, Ok(()));
            assert!(rest.tv_sec == 0 && rest.tv_nsec > 0);
            let slept = Duration::new(1, 0) - Duration::try_from(rest).unwrap();
            assert!(slept >= 100 * MS, "{slept:?}");
            // An absolute one is never written.
            let deadline = now(&user) + SECOND;
            let park = Park {
                flags: TIMER_ABSTIME,
                ..Park::default()
            };
            user.unpark(user.lwp_self().await).await.unwrap();
            let result = park_ts(&user, deadline.into(), park).await;
            assert_eq!(result, (Err(Errno::EALREADY), deadline.into()));
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "parked").await;
        user.nanosleep(100 * MS).await.unwrap();
        user.unpark(lid).await.unwrap();
        user.wait(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn ealready_writes_the_time_back_as_it_came() {
    run(|user| async move {
        user.unpark(PID).await.unwrap();
        let result = park_ts(&user, ts(3, 7), Park::default()).await;
        assert_eq!(result, (Err(Errno::EALREADY), ts(3, 7)));
    });
}

#[test]
pub(crate) fn ealready_spends_the_cancellation_too() {
    run(|user| async move {
        assert_eq!(user.wakeup(PID).await, Err(Errno::ENODEV));
        assert_eq!(user.park().await, Err(Errno::EALREADY));
        assert_eq!(user.nanosleep(MS).await, Ok(()));
        assert_eq!(user.park_for(MS).await, Err(Errno::ETIMEDOUT));
    });
}

#[test]
pub(crate) fn a_time_that_cannot_be_written_back_is_no_error() {
    run(|user| async move {
        let at = user.put(&ts(0, 1000));
        let page = at & !4095;
        user.memory().protect(page..page + 4096, Prot::READ);
        let park = Park {
            ts: at,
            ..Park::default()
        };
        assert_eq!(user.park_with(park).await, Err(Errno::ETIMEDOUT));
        user.unpark(PID).await.unwrap();
        assert_eq!(user.park_with(park).await, Err(Errno::EALREADY));
        assert_eq!(user.get::<Timespec>(at), ts(0, 1000));
    });
}

#[test]
pub(crate) fn unknown_flags_are_ignored() {
    run(|user| async move {
        let park = Park {
            flags: 0x80,
            ..Park::default()
        };
        let result = park_ts(&user, ts(0, 1000), park).await;
        assert_eq!(result, (Err(Errno::ETIMEDOUT), Timespec::ZERO));
    });
}

#[test]
pub(crate) fn the_folded_unpark_comes_first() {
    run(|user| async move {
        let other = user.spawn(|user| async move {
            assert_eq!(user.park().await, Ok(()));
        });
        let other = other.await.unwrap();
        asleep(&user, other, "parked").await;
        let lid = user.spawn(move |user| async move {
            let park = Park {
                unpark: other,
                ..Park::default()
            };
            assert_eq!(user.park_with(park).await, Ok(()));
        });
        let lid = lid.await.unwrap();
        user.wait(other).await.unwrap();
        asleep(&user, lid, "parked").await;
        user.unpark(lid).await.unwrap();
        user.wait(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn a_bad_time_comes_after_the_folded_unpark() {
    run(|user| async move {
        let lid = parked(&user).await;
        let park = Park {
            unpark: lid,
            ..Park::default()
        };
        assert_eq!(park_ts(&user, ts(0, -1), park).await.0, Err(Errno::EINVAL));
        assert_eq!(user.wait(lid).await, Ok(lid));
    });
}

#[test]
pub(crate) fn unparking_oneself_is_ealready_once() {
    run(|user| async move {
        let park = Park {
            unpark: PID,
            ..Park::default()
        };
        assert_eq!(user.park_with(park).await, Err(Errno::EALREADY));
        assert_eq!(user.park_for(MS).await, Err(Errno::ETIMEDOUT));
    });
}

#[test]
pub(crate) fn a_handler_ends_it_with_eintr_restart_or_not() {
    for flags in [SaFlags::empty(), SaFlags::RESTART] {
        run(move |user| async move {
            let count = user.count_signals(Signo::SIGUSR1, flags).await;
            let lid = user.spawn(move |user| async move {
                let (result, rest) = park_ts(&user, ts(5, 0), Park::default()).await;
                assert_eq!(result, Err(Errno::EINTR));
                assert_eq!(user.get::<u64>(count), 1);
                assert!(rest.tv_sec == 4);
            });
            let lid = lid.await.unwrap();
            asleep(&user, lid, "parked").await;
            user.kill(lid, Signo::SIGUSR1).await.unwrap();
            user.wait(lid).await.unwrap();
        });
    }
}

#[test]
pub(crate) fn a_wakeup_ends_it_with_eintr() {
    crate::wakeup::a_parked_lwp_gets_eintr_then_ealready_then_blocks();
}

#[test]
pub(crate) fn blocked_and_ignored_signals_do_not_end_it() {
    run(|user| async move {
        let count = user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        user.block(&[Signo::SIGUSR1]).await;
        let lid = parked(&user).await;
        user.kill(lid, Signo::SIGUSR1).await.unwrap();
        user.kill(lid, Signo::SIGCHLD).await.unwrap();
        user.nanosleep(MS).await.unwrap();
        in_state(&user, lid, LwpState::Sleep).await;
        user.unpark(lid).await.unwrap();
        user.wait(lid).await.unwrap();
        assert_eq!(user.get::<u64>(count), 0);
    });
}

#[test]
pub(crate) fn a_handler_before_it_leaves_no_trace_and_keeps_the_token() {
    run(|user| async move {
        user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        user.kill(PID, Signo::SIGUSR1).await.unwrap();
        assert_eq!(user.park_for(MS).await, Err(Errno::ETIMEDOUT));
        user.unpark(PID).await.unwrap();
        user.kill(PID, Signo::SIGUSR1).await.unwrap();
        assert_eq!(user.park().await, Err(Errno::EALREADY));
    });
}

#[test]
pub(crate) fn an_unpark_and_a_signal_at_once_leave_at_most_one_result() {
    run(|user| async move {
        user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        let lid = user.spawn(|user| async move {
            let mut unparked = 0;
            let first = user.park().await;
            assert!(matches!(first, Ok(()) | Err(Errno::EINTR)), "{first:?}");
            unparked += u32::from(first.is_ok());
            let second = user.park_for(MS).await;
            match second {
                Err(Errno::EALREADY) | Ok(()) => unparked += 1,
                Err(Errno::EINTR) => {}
                other => assert_eq!(other, Err(Errno::ETIMEDOUT)),
            }
            assert!(unparked <= 1);
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "parked").await;
        let killer = user.spawn(move |user| async move {
            // The LWP may be gone already.
            let _ = user.kill(lid, Signo::SIGUSR1).await;
        });
        killer.await.unwrap();
        // The same here.
        let _ = user.unpark(lid).await;
    });
}

#[test]
pub(crate) fn no_unpark_is_lost_in_a_ping_pong() {
    run(|user| async move {
        let turn = user.put(&0u64);
        let main = PID;
        let partner = user.spawn(move |user| async move {
            for round in 0..100u64 {
                while user.get::<u64>(turn) != 2 * round + 1 {
                    // Spurious ends are part of the contract.
                    let _ = user.park().await;
                }
                user.add(turn, 1);
                user.unpark(main).await.unwrap();
            }
        });
        let partner = partner.await.unwrap();
        for round in 0..100u64 {
            user.add(turn, 1);
            user.unpark(partner).await.unwrap();
            while user.get::<u64>(turn) != 2 * round + 2 {
                let _ = user.park().await;
            }
        }
        user.wait(partner).await.unwrap();
    });
}
