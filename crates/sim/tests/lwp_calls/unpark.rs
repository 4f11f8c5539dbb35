//! `_lwp_unpark(2)` and `_lwp_unpark_all(2)`.

use crate::common::{MS, NOBODIES, NOBODY, SECOND, asleep, in_state, now, parked, stat, zombie};
use lwp_abi::errno::Errno;
use lwp_abi::lwp::{LWP_SUSPENDED, LWP_UNPARK_MAX, LwpState};
use lwp_abi::nr;
use lwp_sim::{NOWHERE, PID, run};

#[test]
pub(crate) fn an_unknown_id_is_esrch() {
    run(|user| async move {
        for nobody in NOBODIES {
            assert_eq!(user.unpark(nobody).await, Err(Errno::ESRCH));
        }
    });
}

#[test]
pub(crate) fn a_zombie_is_esrch() {
    run(|user| async move {
        let dead = zombie(&user).await;
        assert_eq!(user.unpark(dead).await, Err(Errno::ESRCH));
        assert_eq!(user.wait(dead).await, Ok(dead));
        assert_eq!(user.unpark(dead).await, Err(Errno::ESRCH));
    });
}

#[test]
pub(crate) fn other_sleeps_are_not_disturbed_and_the_token_is_kept() {
    run(|user| async move {
        let lid = user.spawn(|user| async move {
            let before = now(&user);
            user.nanosleep(SECOND).await.unwrap();
            assert!(now(&user) >= before + SECOND);
            assert_eq!(user.park().await, Err(Errno::EALREADY));
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "nanoslp").await;
        user.unpark(lid).await.unwrap();
        user.wait(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn a_suspended_newborn_keeps_the_token() {
    run(|user| async move {
        let lid = user.spawn_with(LWP_SUSPENDED, |user| async move {
            assert_eq!(user.park().await, Err(Errno::EALREADY));
        });
        let lid = lid.await.unwrap();
        user.unpark(lid).await.unwrap();
        user.resume(lid).await.unwrap();
        user.wait(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn without_a_list_it_says_how_many_it_takes() {
    run(|user| async move {
        for count in [0, 1, u64::MAX] {
            let max = user.call(nr::SYS_LWP_UNPARK_ALL, &[0, count, 0]).await;
            assert_eq!(max, Ok(LWP_UNPARK_MAX as u64));
        }
    });
}

#[test]
pub(crate) fn none_or_too_many_are_einval_before_the_list_is_read() {
    run(|user| async move {
        for count in [0, LWP_UNPARK_MAX as u64 + 1, 1 << 32, u64::from(u32::MAX)] {
            let all = user
                .call(nr::SYS_LWP_UNPARK_ALL, &[NOWHERE, count, 0])
                .await;
            assert_eq!(all, Err(Errno::EINVAL));
        }
        assert_eq!(user.unpark_all(&[PID; LWP_UNPARK_MAX]).await, Ok(()));
        // Only 32 bits of the count are looked at.
        let one = user.put(&[PID]);
        let all = user
            .call(nr::SYS_LWP_UNPARK_ALL, &[one, (1 << 32) + 1, 0])
            .await;
        assert_eq!(all, Ok(0));
    });
}

#[test]
pub(crate) fn an_unreadable_list_is_efault_and_wakes_nobody() {
    run(|user| async move {
        let lid = parked(&user).await;
        // The first id can be read.
        let page = user.memory().alloc(4096);
        let last = page + 4092;
        user.memory().write(&lid.to_le_bytes(), last).unwrap();
        let all = user.call(nr::SYS_LWP_UNPARK_ALL, &[last, 2, 0]).await;
        assert_eq!(all, Err(Errno::EFAULT));
        assert_eq!(stat(&user, lid), Some(LwpState::Sleep));
        user.unpark(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn more_than_32_are_read_before_anybody_wakes() {
    run(|user| async move {
        let mut lids = Vec::new();
        for _ in 0..33 {
            lids.push(parked(&user).await);
        }
        let list: Vec<u8> = lids.iter().flat_map(|lid| lid.to_le_bytes()).collect();
        let count = lids.len() as u64;
        let at = user.memory().alloc(4096) + 4096 - 4 * count;
        user.memory().write(&list, at).unwrap();
        let all = user.call(nr::SYS_LWP_UNPARK_ALL, &[at, count + 1, 0]).await;
        assert_eq!(all, Err(Errno::EFAULT));
        for &lid in &lids {
            assert_eq!(stat(&user, lid), Some(LwpState::Sleep));
        }
        let all = user.call(nr::SYS_LWP_UNPARK_ALL, &[at, count, 0]).await;
        assert_eq!(all, Ok(0));
        for lid in lids {
            assert_eq!(user.wait(lid).await, Ok(lid));
        }
    });
}

#[test]
pub(crate) fn all_that_are_parked_wake() {
    run(|user| async move {
        let mut lids = Vec::new();
        for _ in 0..5 {
            lids.push(parked(&user).await);
        }
        assert_eq!(user.unpark_all(&lids).await, Ok(()));
        for lid in lids {
            assert_eq!(user.wait(lid).await, Ok(lid));
        }
    });
}

#[test]
pub(crate) fn an_unknown_id_among_others_is_esrch_and_the_others_wake() {
    run(|user| async move {
        let (a, dead, b) = (
            parked(&user).await,
            zombie(&user).await,
            parked(&user).await,
        );
        let list = [a, NOBODY, dead, 0, -1, b];
        assert_eq!(user.unpark_all(&list).await, Err(Errno::ESRCH));
        assert_eq!(user.wait(a).await, Ok(a));
        assert_eq!(user.wait(b).await, Ok(b));
    });
}

#[test]
pub(crate) fn one_named_twice_wakes_and_has_a_token() {
    run(|user| async move {
        let lid = user.spawn(|user| async move {
            assert_eq!(user.park().await, Ok(()));
            assert_eq!(user.park().await, Err(Errno::EALREADY));
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "parked").await;
        assert_eq!(user.unpark_all(&[lid, PID, lid]).await, Ok(()));
        assert_eq!(user.park().await, Err(Errno::EALREADY));
        assert_eq!(user.park_for(MS).await, Err(Errno::ETIMEDOUT));
        user.wait(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn a_zombie_main_lwp_is_esrch_too() {
    run(|user| async move {
        user.spawn(|user| async move {
            in_state(&user, PID, LwpState::Zomb).await;
            assert_eq!(user.unpark(PID).await, Err(Errno::ESRCH));
        })
        .await
        .unwrap();
    });
}
