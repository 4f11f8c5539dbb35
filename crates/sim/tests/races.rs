//! What can only happen between vcpus: the kernel on several host threads, each pair of calls that can
//! meet run against each other over and over.
//!
//! Every program checks its own results; a run that hangs is found by the machine, which sees that all
//! vcpus wait. `LWP_SIM_SEEDS=N` sets the number of runs of each test.
//!
//! With the feature `shuttle` the host threads, locks and atomics are those of a model checker:
//! `cargo test --release -p lwp-sim --features shuttle --test races`.
#![allow(
    clippy::unwrap_used,
    clippy::unchecked_time_subtraction,
    reason = "a test may say so by panicking, in its helpers too"
)]

use core::time::Duration;
use lwp_abi::errno::Errno;
use lwp_abi::lwp::{LWP_DETACHED, LwpState};
use lwp_abi::signal::{SIG_IGN, SaFlags, Siginfo, Signo};
use lwp_kernel::Kernel;
use lwp_kernel::callout::Call;
use lwp_kernel::itimer::Which;
use lwp_kernel::machine::ExitWith;
use lwp_sim::{Ended, PID, Threads, User, describe};
use std::sync::Arc;

/// One run on `ncpu` vcpus; the process is to exit with status 0.
fn once<F>(seed: u64, ncpu: usize, main: impl Fn(User) -> F + Send + Sync + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let main = Arc::new(main);
    let run = Threads::new(seed, ncpu, move |user| {
        let main = Arc::clone(&main);
        async move {
            start_all(&user, ncpu).await;
            main(user).await;
        }
    });
    let ended = run.run();
    let exited = Ended::Exit(ExitWith::Code(0));
    assert_eq!(ended, exited, "{}", describe(run.kernel()));
}

/// Keeps vcpus busy until every one has been started: they are as they are needed.
async fn start_all(user: &User, ncpu: usize) {
    let spin = move |user: User| async move {
        let kernel = user.kernel();
        user.until("all vcpus run", || kernel.sched.started() == ncpu)
            .await;
    };
    let mut lids = Vec::new();
    for _ in 0..ncpu {
        lids.push(user.spawn(spin).await.unwrap());
    }
    spin(user.clone()).await;
    for lid in lids {
        user.wait(lid).await.unwrap();
    }
}

/// Runs `main` on 2 to 8 vcpus, many times.
#[cfg(not(feature = "shuttle"))]
fn race<F>(main: impl Fn(User) -> F + Send + Sync + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let main = Arc::new(main);
    lwp_sim::for_each_seed("races", lwp_sim::seeds(100), |seed| {
        let ncpu = 2 + usize::try_from(seed % 7).unwrap();
        let main = Arc::clone(&main);
        once(seed, ncpu, move |user| main(user));
    });
}

/// Runs `main` on 2 and 3 vcpus, every switch of the host decided by the model checker: at random, and
/// with few but well placed ones (PCT). A failure prints its schedule.
#[cfg(feature = "shuttle")]
fn race<F>(main: impl Fn(User) -> F + Send + Sync + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    use shuttle::scheduler::{PctScheduler, RandomScheduler};
    let main = Arc::new(main);
    let count = usize::try_from(lwp_sim::seeds(200).count()).unwrap();
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 20;
    config.silence_warnings = true;
    for ncpu in [2, 3] {
        let body = {
            let main = Arc::clone(&main);
            move || {
                let main = Arc::clone(&main);
                once(7, ncpu, move |user| main(user));
            }
        };
        shuttle::Runner::new(RandomScheduler::new(count), config.clone()).run(body.clone());
        shuttle::Runner::new(PctScheduler::new(3, count), config.clone()).run(body);
    }
}

/// Rounds of a test: few where each takes a thousand times as long.
fn rounds(count: u64) -> u64 {
    if cfg!(feature = "shuttle") {
        count.div_ceil(10)
    } else {
        count
    }
}

/// A bit of user mode, more or less of it.
async fn dawdle(user: &User, seed: u64) {
    for _ in 0..seed % 4 {
        user.pause().await;
    }
}

/// Whether an LWP is still there, dead or alive.
fn exists(user: &User, lid: i32) -> bool {
    user.kernel().lids.find(lid).is_some()
}

#[test]
fn park_against_unpark() {
    race(|user| async move {
        let turn = user.put(&0u64);
        let partner = user
            .spawn(move |user| async move {
                for round in 0..rounds(50) {
                    while user.get::<u64>(turn) != 2 * round + 1 {
                        // Spurious ends are part of the contract.
                        let _ = user.park().await;
                    }
                    user.add(turn, 1);
                    user.unpark(PID).await.unwrap();
                }
            })
            .await
            .unwrap();
        for round in 0..rounds(50) {
            user.add(turn, 1);
            let unparked = user.unpark(partner).await;
            // In the last round it may have seen its turn without this, and be gone.
            assert!(unparked.is_ok() || round == rounds(50) - 1, "{unparked:?}");
            while user.get::<u64>(turn) != 2 * round + 2 {
                let _ = user.park().await;
            }
        }
        assert_eq!(user.wait(partner).await, Ok(partner));
    });
}

/// Rounds of a hand-off whose other end also gets signals, suspensions and unparks from elsewhere, all of which
/// find it parked with its context lent, at hand, in a run queue, or in user mode.
#[test]
fn hand_off_against_everything_else() {
    race(|user| async move {
        let count = user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        let turn = user.put(&0u64);
        let partner = user
            .spawn(move |user| async move {
                for round in 0..rounds(60) {
                    while user.get::<u64>(turn) != 2 * round + 1 {
                        let _ = user.park().await;
                    }
                    user.add(turn, 1);
                    user.unpark(PID).await.unwrap();
                }
            })
            .await
            .unwrap();
        let pest = user
            .spawn(move |user| async move {
                for round in 0..rounds(40) {
                    dawdle(&user, round).await;
                    let done = match round % 4 {
                        0 => user.kill(partner, Signo::SIGUSR1).await,
                        1 => user.unpark(partner).await,
                        2 => user.wakeup(partner).await,
                        _ => match user.suspend(partner).await {
                            Ok(()) => user.resume(partner).await,
                            failed => failed,
                        },
                    };
                    // It may be gone already; or awake.
                    assert!(
                        matches!(done, Ok(()) | Err(Errno::ESRCH | Errno::ENODEV)),
                        "{done:?}"
                    );
                }
            })
            .await
            .unwrap();
        for round in 0..rounds(60) {
            user.add(turn, 1);
            let unparked = user.unpark(partner).await;
            // In the last round it may have seen its turn without this, and be gone.
            assert!(unparked.is_ok() || round == rounds(60) - 1, "{unparked:?}");
            while user.get::<u64>(turn) != 2 * round + 2 {
                let _ = user.park().await;
            }
        }
        for lid in [partner, pest] {
            assert_eq!(user.wait(lid).await, Ok(lid));
        }
        assert!(user.get::<u64>(count) <= rounds(40));
    });
}

/// Several LWPs unpark each other in a ring, so that the one at hand is displaced and stolen.
#[test]
fn a_ring_of_hand_offs() {
    race(|user| async move {
        const LWPS: u64 = 4;
        let turn = user.put(&0u64);
        let ids = user.put(&[0u64; 4]);
        let mut lids = Vec::new();
        for me in 0..LWPS {
            let lid = user
                .spawn(move |user| async move {
                    for round in 0..rounds(20) {
                        while user.get::<u64>(turn) != round * LWPS + me + 1 {
                            let _ = user.park().await;
                        }
                        user.add(turn, 1);
                        let next = user.get::<u64>(ids + 8 * ((me + 1) % LWPS));
                        // The last round's last one has nobody left to wake.
                        let _ = user.unpark(i32::try_from(next).unwrap()).await;
                    }
                })
                .await
                .unwrap();
            user.add(ids + 8 * me, u64::try_from(lid).unwrap());
            lids.push(lid);
        }
        user.add(turn, 1);
        user.unpark(lids[0]).await.unwrap();
        for lid in lids {
            assert_eq!(user.wait(lid).await, Ok(lid));
        }
    });
}

#[test]
fn unpark_against_timeout() {
    race(|user| async move {
        let parker = user
            .spawn(|user| async move {
                let mut unparked: u64 = 0;
                // 20 unparks come in all; none is lost, whoever wins.
                while unparked < rounds(20) {
                    match user.park_for(Duration::from_micros(30)).await {
                        Ok(()) | Err(Errno::EALREADY) => unparked += 1,
                        Err(errno) => assert_eq!(errno, Errno::ETIMEDOUT),
                    }
                    user.unpark(PID).await.unwrap();
                }
            })
            .await
            .unwrap();
        for round in 0..rounds(20) {
            dawdle(&user, round).await;
            user.unpark(parker).await.unwrap();
            if round < rounds(20) - 1 {
                // The parker has had a turn: two tokens would be one.
                while user.park().await == Err(Errno::EALREADY) && round % 3 == 0 {}
            }
        }
        // Tokens that were one are made up for.
        while exists(&user, parker) {
            if user.unpark(parker).await == Err(Errno::ESRCH) {
                break;
            }
            user.pause().await;
        }
        user.wait(parker).await.unwrap();
    });
}

#[test]
fn suspend_against_wakeup() {
    race(|user| async move {
        let target = user
            .spawn(|user| async move {
                loop {
                    match user.park().await {
                        Ok(()) | Err(Errno::EALREADY | Errno::EINTR) => {}
                        Err(errno) => panic!("{errno:?}"),
                    }
                    user.pause().await;
                }
            })
            .await
            .unwrap();
        let waker = user
            .spawn(move |user| async move {
                for round in 0..rounds(15) {
                    dawdle(&user, round).await;
                    user.unpark(target).await.unwrap();
                    let woken = user.wakeup(target).await;
                    assert!(woken.is_ok() || woken == Err(Errno::ENODEV));
                }
            })
            .await
            .unwrap();
        for round in 0..rounds(15) {
            user.suspend(target).await.unwrap();
            let lwp = user.kernel().lids.find(target).unwrap();
            assert_eq!(lwp.lock().stat, LwpState::Suspended);
            dawdle(&user, round).await;
            assert_eq!(lwp.lock().stat, LwpState::Suspended);
            user.resume(target).await.unwrap();
        }
        user.wait(waker).await.unwrap();
        user.exit(0).await;
    });
}

#[test]
fn two_that_suspend_and_continue_one() {
    race(|user| async move {
        let target = user
            .spawn(|user| async move {
                loop {
                    user.pause().await;
                }
            })
            .await
            .unwrap();
        let mut lids = Vec::new();
        for _ in 0..2 {
            let lid = user
                .spawn(move |user| async move {
                    for _ in 0..rounds(10) {
                        user.suspend(target).await.unwrap();
                        user.resume(target).await.unwrap();
                    }
                })
                .await;
            lids.push(lid.unwrap());
        }
        // A second suspend of one that is suspended waits for any broadcast.
        while lids.iter().any(|&lid| {
            let lwp = user.kernel().lids.find(lid).unwrap();
            let stat = lwp.lock().stat;
            stat != LwpState::Zomb
        }) {
            let pulse = user.spawn(|_| async {}).await.unwrap();
            user.wait(pulse).await.unwrap();
            user.pause().await;
        }
        user.exit(0).await;
    });
}

#[test]
fn exit_against_wait() {
    race(|user| async move {
        for round in 0..rounds(10) {
            let lid = user.spawn(move |user| async move { dawdle(&user, round).await });
            let lid = lid.await.unwrap();
            dawdle(&user, round / 2).await;
            assert_eq!(user.wait(lid).await, Ok(lid));
            assert_eq!(user.wait(lid).await, Err(Errno::ESRCH));
        }
    });
}

#[test]
fn two_waiters_for_one() {
    race(|user| async move {
        for round in 0..rounds(5) {
            let lid = user.spawn(move |user| async move { dawdle(&user, round).await });
            let lid = lid.await.unwrap();
            let rival = user
                .spawn(move |user| async move {
                    let waited = user.wait(lid).await;
                    assert!(matches!(waited, Ok(_) | Err(Errno::ESRCH)), "{waited:?}");
                })
                .await
                .unwrap();
            let waited = user.wait(lid).await;
            assert!(matches!(waited, Ok(_) | Err(Errno::ESRCH)), "{waited:?}");
            // The rival may count as waiting still.
            while user.wait(rival).await != Ok(rival) {
                user.pause().await;
            }
        }
    });
}

#[test]
fn detach_against_exit() {
    race(|user| async move {
        for round in 0..rounds(10) {
            let lid = user.spawn(move |user| async move { dawdle(&user, round).await });
            let lid = lid.await.unwrap();
            dawdle(&user, round / 2).await;
            assert_eq!(user.detach(lid).await, Ok(()));
            let again = user.detach(lid).await;
            assert!(
                matches!(again, Err(Errno::EINVAL | Errno::ESRCH)),
                "{again:?}"
            );
        }
        while user.wait(0).await != Err(Errno::ESRCH) {
            user.pause().await;
        }
    });
}

#[test]
fn detached_exits_against_each_other() {
    race(|user| async move {
        for _ in 0..8 {
            let spawned = user.spawn_with(LWP_DETACHED, |user| async move {
                user.pause().await;
            });
            spawned.await.unwrap();
        }
    });
}

#[test]
fn kill_against_exit() {
    race(|user| async move {
        let count = user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        for round in 0..rounds(10) {
            let lid = user.spawn(move |user| async move { dawdle(&user, round).await });
            let lid = lid.await.unwrap();
            dawdle(&user, round / 2).await;
            let killed = user.kill(lid, Signo::SIGUSR1).await;
            assert!(matches!(killed, Ok(()) | Err(Errno::ESRCH)), "{killed:?}");
            assert_eq!(user.wait(lid).await, Ok(lid));
            assert_eq!(user.kill(lid, Signo::SIGUSR1).await, Err(Errno::ESRCH));
        }
        assert!(user.get::<u64>(count) <= 10);
    });
}

#[test]
fn the_last_two_leave_at_once() {
    race(|user| async move {
        for _ in 0..3 {
            user.spawn(|_| async {}).await.unwrap();
        }
    });
}

#[test]
fn exit_against_exit_and_creation() {
    race(|user| async move {
        for _ in 0..3 {
            user.spawn(|user| async move {
                for _ in 0..3 {
                    user.spawn(|_| async {}).await.unwrap();
                }
                user.exit(0).await;
            })
            .await
            .unwrap();
        }
        // Without a limit: the others end it.
        let _ = user.park().await;
    });
}

#[test]
fn signals_of_the_process_against_sleeps() {
    race(|user| async move {
        let count = user.count_signals(Signo::SIGRTMIN, SaFlags::empty()).await;
        let mut lids = Vec::new();
        for _ in 0..3 {
            let lid = user.spawn(|user| async move {
                loop {
                    // Ends by a signal, sooner or later.
                    let slept = user.nanosleep(Duration::from_secs(1000)).await;
                    assert_eq!(slept.unwrap_err().0, Errno::EINTR);
                }
            });
            lids.push(lid.await.unwrap());
        }
        user.block(&[Signo::SIGRTMIN]).await;
        for sent in 1..=rounds(10) {
            let info = Siginfo::new(Signo::SIGRTMIN, 0);
            user.kernel().psignal(&info);
            // One after the other, or the counter would be torn.
            user.until("it is handled", || user.get::<u64>(count) == sent)
                .await;
        }
        user.exit(0).await;
    });
}

/// Continues the process in a while, and again `times` times: the first may come before the stop.
fn continue_later(kernel: &Arc<Kernel>, times: u32) {
    let at = kernel.machine.monotonic() + Duration::from_micros(100);
    let call = Call::Run(Box::new(move |kernel| {
        kernel.psignal(&Siginfo::new(Signo::SIGCONT, 0));
        if times > 0 {
            continue_later(kernel, times - 1);
        }
    }));
    kernel.timeout(at, call);
}

#[test]
fn stop_and_continue_against_everything() {
    race(|user| async move {
        user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        let mut lids = Vec::new();
        for which in 0..3 {
            let lid = user.spawn(move |user| async move {
                for round in 0..rounds(10) {
                    let micros = Duration::from_micros(20 * (round + which));
                    match (round + which) % 3 {
                        0 => drop(user.park_for(micros).await),
                        1 => drop(user.nanosleep(micros).await),
                        _ => dawdle(&user, round).await,
                    }
                }
            });
            lids.push(lid.await.unwrap());
        }
        continue_later(&user.kernel(), 10_000);
        for _ in 0..3 {
            user.kill(PID, Signo::SIGSTOP).await.unwrap();
            for &lid in &lids {
                // Dead or alive.
                let _ = user.kill(lid, Signo::SIGUSR1).await;
                let _ = user.unpark(lid).await;
            }
        }
        for lid in lids {
            while let Err(errno) = user.wait(lid).await {
                assert_eq!(errno, Errno::EINTR);
            }
        }
    });
}

#[test]
fn deadlines_are_kept_whatever_else_the_vcpus_do() {
    race(|user| async move {
        for _ in 0..3 {
            user.spawn(|user| async move {
                loop {
                    user.pause().await;
                }
            })
            .await
            .unwrap();
        }
        for round in 1..rounds(20) {
            let clock = || user.kernel().machine.monotonic();
            let before = clock();
            let time = Duration::from_micros(50 * round);
            user.nanosleep(time).await.unwrap();
            // Virtual time runs on while the host lets this vcpu wait, so the bound is a wide one.
            let late = clock() - before - time;
            assert!(late < Duration::from_secs(30), "{late:?} late");
        }
        user.exit(0).await;
    });
}

#[test]
fn a_timer_set_anew_against_its_expiry() {
    race(|user| async move {
        user.sigaction(Signo::SIGALRM, SIG_IGN, SaFlags::empty())
            .await;
        let spinner = user.spawn(|user| async move {
            // What is due is found by this vcpu, too.
            for _ in 0..rounds(200) {
                user.kernel().poll_events();
                user.pause().await;
            }
        });
        let spinner = spinner.await.unwrap();
        let kernel = user.kernel();
        let set = |value| kernel.itimer_set(Which::Real, Duration::ZERO, value);
        for round in 0..rounds(100) {
            set(Duration::from_nanos(1 + round * 100));
            dawdle(&user, round).await;
            set(Duration::from_hours(1));
        }
        set(Duration::ZERO);
        user.wait(spinner).await.unwrap();
        assert_eq!(kernel.census().callouts, 0, "a look was forgotten");
        user.exit(0).await;
    });
}
