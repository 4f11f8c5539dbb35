//! What can be seen of a process from outside, and that a deadlock is told of, once, and nothing else is.
#![allow(
    clippy::unwrap_used,
    reason = "a test may say so by panicking, in its helpers too"
)]

use core::time::Duration;
use lwp_abi::lwp::{LwpId, LwpState};
use lwp_abi::signal::{SaFlags, Signo};
use lwp_kernel::machine::ExitWith;
use lwp_kernel::ps::{ProcInfo, Waiting};
use lwp_sim::{Ended, PID, Threads, User, seeds};
use std::sync::{Arc, Mutex};

const MAIN: LwpId = LwpId::new(PID);

/// Runs `main` on `ncpu` vcpus; how it ended, and what could be seen whenever a deadlock was told of.
fn told<F>(
    seed: u64,
    ncpu: usize,
    main: impl Fn(User) -> F + Send + Sync + 'static,
) -> (Ended, Vec<ProcInfo>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let threads = Threads::new(seed, ncpu, main);
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let hook = move |kernel: &lwp_kernel::Kernel| log.lock().unwrap().push(kernel.ps());
    threads.kernel().on_deadlock(Box::new(hook));
    let ended = threads.run();
    let told = told.lock().unwrap().clone();
    (ended, told)
}

/// On one vcpu, and on three.
fn everywhere(check: impl Fn(u64, usize)) {
    for seed in seeds(200) {
        check(seed, 1);
        check(seed, 3);
    }
}

#[test]
fn who_waits_for_whom_is_told_once_when_nothing_can_wake_any() {
    everywhere(|seed, ncpu| {
        let (ended, told) = told(seed, ncpu, |user: User| async move {
            let parker = user.spawn(|user| async move {
                for _ in 0..2 {
                    // One wake-up is kept, not two: the second park is for ever.
                    let _ = user.park().await;
                }
            });
            let lid = parker.await.unwrap();
            user.setname(lid, "parker").await.unwrap();
            user.unpark(lid).await.unwrap();
            let _ = user.wait(lid).await;
        });
        assert_eq!(ended, Ended::Deadlock, "seed {seed}, {ncpu} vcpus");
        let [info] = &told[..] else {
            panic!("told {} times, seed {seed}, {ncpu} vcpus", told.len());
        };
        let [main, parker] = &info.lwps[..] else {
            panic!("{info:?}");
        };
        assert_eq!((info.pid, info.born), (PID, 2));
        assert_eq!((main.lid, main.stat), (MAIN, LwpState::Sleep));
        let wait = |wmesg, on| Some(Waiting { wmesg, on });
        assert_eq!(main.wait, wait("lwpwait", Some(Some(parker.lid))));
        assert_eq!(parker.wait, wait("parked", None));
        assert_eq!(
            (&parker.name[..], parker.interruptible),
            (&b"parker"[..], true)
        );
        assert_eq!(parker.unparked_by, Some(MAIN));
        assert_eq!(main.unparked_by, None);
        let switches = u64::from(main.switches + parker.switches);
        assert_eq!(switches, info.switches, "seed {seed}, {ncpu} vcpus");
    });
}

#[test]
fn who_suspends_an_lwp_that_waits_for_it_waits_for_ever() {
    everywhere(|seed, ncpu| {
        let (ended, told) = told(seed, ncpu, |user: User| async move {
            let other = user.spawn(|user| async move { user.suspend(PID).await.unwrap() });
            let lid = other.await.unwrap();
            // Sleeps on, told to suspend itself: as on NetBSD. Suspended before, it sleeps as well.
            let _ = user.wait(lid).await;
            let _ = user.park().await;
        });
        assert_eq!(ended, Ended::Deadlock);
        assert_eq!(told.len(), 1, "seed {seed}, {ncpu} vcpus");
    });
}

#[test]
fn who_may_be_woken_by_time_or_by_a_signal_is_in_no_deadlock() {
    everywhere(|seed, ncpu| {
        let (ended, told) = told(seed, ncpu, |user: User| async move {
            let _ = user.park_for(Duration::from_secs(1)).await;
            let _ = user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
            let _ = user.park().await;
        });
        assert_eq!((ended, told.len()), (Ended::Deadlock, 0));
    });
}

#[test]
fn what_ends_is_no_deadlock() {
    everywhere(|seed, ncpu| {
        let (ended, told) = told(seed, ncpu, |user: User| async move {
            let parker = user.spawn(|user| async move {
                let _ = user.park().await;
            });
            let lid = parker.await.unwrap();
            user.unpark(lid).await.unwrap();
            user.wait(lid).await.unwrap();
            user.exit(0).await;
        });
        assert_eq!(ended, Ended::Exit(ExitWith::Code(0)));
        assert_eq!(told, [], "seed {seed}, {ncpu} vcpus");
    });
}
