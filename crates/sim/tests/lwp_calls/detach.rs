//! `_lwp_detach(2)`.

use crate::common::{NOBODIES, NOBODY, asleep, in_state, parked, stat, zombie};
use lwp_abi::errno::Errno;
use lwp_abi::lwp::{LWP_DETACHED, LwpState};
use lwp_sim::{PID, run};

#[test]
pub(crate) fn a_live_lwp_is_detached_once_and_then_einval() {
    run(|user| async move {
        let lid = parked(&user).await;
        assert_eq!(user.detach(lid).await, Ok(()));
        assert_eq!(user.detach(lid).await, Err(Errno::EINVAL));
        assert_eq!(user.wait(lid).await, Err(Errno::EINVAL));
        user.unpark(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn an_unknown_id_is_esrch() {
    run(|user| async move {
        for nobody in NOBODIES {
            assert_eq!(user.detach(nobody).await, Err(Errno::ESRCH));
        }
    });
}

#[test]
pub(crate) fn a_zombie_is_reaped() {
    run(|user| async move {
        let lid = zombie(&user).await;
        assert_eq!(user.detach(lid).await, Ok(()));
        assert_eq!(stat(&user, lid), None);
        assert_eq!(user.detach(lid).await, Err(Errno::ESRCH));
        assert_eq!(user.wait(lid).await, Err(Errno::ESRCH));
    });
}

#[test]
pub(crate) fn a_dead_detached_lwp_is_einval_until_it_is_reclaimed() {
    run(|user| async move {
        let lid = user.spawn_with(LWP_DETACHED, |_| async {}).await.unwrap();
        in_state(&user, lid, LwpState::Zomb).await;
        assert_eq!(user.detach(lid).await, Err(Errno::EINVAL));
        // Any wait reclaims it.
        assert_eq!(user.wait(NOBODY).await, Err(Errno::ESRCH));
        assert_eq!(user.detach(lid).await, Err(Errno::ESRCH));
    });
}

#[test]
pub(crate) fn an_lwp_born_detached_is_einval() {
    run(|user| async move {
        let lid = user.spawn_with(LWP_DETACHED, |user| async move {
            user.park().await.unwrap();
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "parked").await;
        assert_eq!(user.detach(lid).await, Err(Errno::EINVAL));
        user.unpark(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn oneself_works_once() {
    run(|user| async move {
        assert_eq!(user.detach(PID).await, Ok(()));
        assert_eq!(user.detach(PID).await, Err(Errno::EINVAL));
        let lid = parked(&user).await;
        user.spawn(move |user| async move {
            assert_eq!(user.wait(PID).await, Err(Errno::EINVAL));
            user.unpark_all(&[lid, PID]).await.unwrap();
        })
        .await
        .unwrap();
        // Unparked, before or after.
        let _ = user.park().await;
    });
}
