//! `_lwp_wakeup(2)`.

use crate::common::{MS, NOBODIES, SECOND, asleep, flags, parked, zombie};
use lwp_abi::errno::Errno;
use lwp_abi::lwp::LwpState;
use lwp_abi::signal::{SaFlags, SigSet, Signo};
use lwp_kernel::lwp::LwpFlags;
use lwp_sim::{PID, run};

#[test]
pub(crate) fn an_unknown_id_or_a_zombie_is_esrch() {
    run(|user| async move {
        let dead = zombie(&user).await;
        for nobody in NOBODIES.into_iter().chain([dead]) {
            assert_eq!(user.wakeup(nobody).await, Err(Errno::ESRCH));
        }
    });
}

#[test]
pub(crate) fn an_lwp_that_does_not_sleep_is_enodev_but_marked() {
    run(|user| async move {
        assert_eq!(user.wakeup(PID).await, Err(Errno::ENODEV));
        assert_eq!(user.park().await, Err(Errno::EALREADY));
        assert_eq!(user.park_for(MS).await, Err(Errno::ETIMEDOUT));
        assert_eq!(user.wakeup(PID).await, Err(Errno::ENODEV));
        // The cancellation is spent on the first sleep, the unpark stays for the first park.
        let (errno, rest) = user.nanosleep(SECOND).await.unwrap_err();
        assert_eq!(errno, Errno::EINTR);
        assert!(rest.tv_sec == 1 || rest.tv_nsec > 900_000_000);
        assert_eq!(user.nanosleep(MS).await, Ok(()));
        assert_eq!(user.park().await, Err(Errno::EALREADY));
        assert_eq!(user.park_for(MS).await, Err(Errno::ETIMEDOUT));
    });
}

#[test]
pub(crate) fn a_suspended_lwp_is_enodev() {
    run(|user| async move {
        let lid = parked(&user).await;
        user.suspend(lid).await.unwrap();
        assert_eq!(user.wakeup(lid).await, Err(Errno::ENODEV));
        user.resume(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn an_uninterruptible_sleep_is_ebusy_but_marked() {
    run(|user| async move {
        let lid = parked(&user).await;
        // As in vfork(2), which the sim has not.
        let lwp = user.kernel().lids.find(lid).unwrap();
        lwp.lock().interruptible = false;
        assert_eq!(user.wakeup(lid).await, Err(Errno::EBUSY));
        let marks = LwpFlags::CANCELLED | LwpFlags::UNPARKED;
        assert!(flags(&user, lid).contains(marks));
        assert_eq!(lwp.lock().stat, LwpState::Sleep);
        lwp.lock().interruptible = true;
        assert_eq!(user.wakeup(lid).await, Ok(()));
    });
}

#[test]
pub(crate) fn a_parked_lwp_gets_eintr_then_ealready_then_blocks() {
    run(|user| async move {
        let lid = user.spawn(|user| async move {
            assert_eq!(user.park().await, Err(Errno::EINTR));
            assert_eq!(user.park().await, Err(Errno::EALREADY));
            assert_eq!(user.park_for(MS).await, Err(Errno::ETIMEDOUT));
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "parked").await;
        assert_eq!(user.wakeup(lid).await, Ok(()));
        user.wait(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn a_nanosleep_gets_eintr_and_so_does_the_next() {
    run(|user| async move {
        let count = user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        let lid = user.spawn(|user| async move {
            let (errno, rest) = user.nanosleep(1000 * SECOND).await.unwrap_err();
            assert_eq!(errno, Errno::EINTR);
            assert!(rest.tv_sec > 990);
            let (errno, _) = user.nanosleep(1000 * SECOND).await.unwrap_err();
            assert_eq!(errno, Errno::EINTR);
            assert_eq!(user.nanosleep(MS).await, Ok(()));
            assert_eq!(user.park().await, Err(Errno::EALREADY));
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "nanoslp").await;
        assert_eq!(user.wakeup(lid).await, Ok(()));
        user.wait(lid).await.unwrap();
        assert_eq!(user.get::<u64>(count), 0);
    });
}

#[test]
pub(crate) fn a_sigtimedwait_gets_ecanceled() {
    run(|user| async move {
        let lid = user.spawn(|user| async move {
            let set = SigSet::of(&[Signo::SIGUSR1]);
            let waited = user.sigtimedwait(set, None).await;
            assert_eq!(waited.map(|info| info.si_signo), Err(Errno::ECANCELED));
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "sigwait").await;
        assert_eq!(user.wakeup(lid).await, Ok(()));
        user.wait(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn a_wait_that_was_cancelled_leaves_its_place() {
    run(|user| async move {
        let lid = user.spawn(|user| async move {
            assert_eq!(user.wait(PID).await, Err(Errno::EINTR));
            assert_eq!(user.park().await, Err(Errno::EALREADY));
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "lwpwait").await;
        assert_eq!(user.kernel().census().waiters, 1);
        user.wakeup(lid).await.unwrap();
        user.until("it has left", || user.kernel().census().waiters == 0)
            .await;
        assert_eq!(user.wait(lid).await, Ok(lid));
    });
}

#[test]
pub(crate) fn every_sleep_has_a_number_of_its_own() {
    run(|user| async move {
        let lwp = user.kernel().lids.find(PID).unwrap();
        let mut numbers = vec![lwp.lock().sleep_gen];
        for _ in 0..3 {
            let _ = user.park_for(MS).await;
            numbers.push(lwp.lock().sleep_gen);
            user.nanosleep(MS).await.unwrap();
            numbers.push(lwp.lock().sleep_gen);
        }
        assert!(numbers.is_sorted_by(|one, next| one < next));
    });
}
