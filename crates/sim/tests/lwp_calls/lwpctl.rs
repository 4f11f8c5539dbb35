//! `_lwp_ctl(2)` and the block it returns.

use crate::common::{MS, asleep, zombie};
use core::sync::atomic::Ordering;
use lwp_abi::errno::Errno;
use lwp_abi::lwp::LWPCTL_CPU_NONE;
use lwp_abi::nr;
use lwp_sim::{NOWHERE, int, run};

#[test]
pub(crate) fn unknown_features_are_enodev_even_with_a_block() {
    run(|user| async move {
        for features in [4, -1, i32::MIN] {
            assert_eq!(user.ctl(features).await, Err(Errno::ENODEV));
        }
        user.ctl(3).await.unwrap();
        assert_eq!(user.ctl(4).await, Err(Errno::ENODEV));
    });
}

#[test]
pub(crate) fn a_vfork_child_is_ebusy() {
    run(|user| async move {
        let kernel = user.kernel();
        kernel.proc.is_vfork_child.store(true, Ordering::Relaxed);
        assert_eq!(user.ctl(1).await, Err(Errno::EBUSY));
        kernel.proc.is_vfork_child.store(false, Ordering::Relaxed);
        assert!(user.ctl(1).await.is_ok());
    });
}

#[test]
pub(crate) fn no_memory_is_enomem() {
    run(|user| async move {
        user.memory().set_full(true);
        assert_eq!(user.ctl(1).await, Err(Errno::ENOMEM));
        user.memory().set_full(false);
        assert!(user.ctl(1).await.is_ok());
    });
}

#[test]
pub(crate) fn a_bad_address_is_efault_and_the_block_stays() {
    run(|user| async move {
        let failed = user.call(nr::SYS_LWP_CTL, &[int(1), NOWHERE]).await;
        assert_eq!(failed, Err(Errno::EFAULT));
        let lwp = user.kernel().lids.find(lwp_sim::PID).unwrap();
        let block = lwp.lock().lwpctl;
        assert_ne!(block, 0);
        assert_eq!(user.ctl(0).await, Ok(block));
        assert_eq!(user.ctl(3).await, Ok(block));
    });
}

#[test]
pub(crate) fn blocks_are_distinct_and_a_reaped_lwps_block_is_used_again() {
    run(|user| async move {
        let mine = user.ctl(1).await.unwrap();
        assert_eq!(mine % 8, 0);
        let slot = user.put(&0u64);
        let take = move |user: lwp_sim::User| async move {
            let block = user.ctl(1).await.unwrap();
            user.memory().write(&block.to_le_bytes(), slot).unwrap();
        };
        let first = user.spawn(take).await.unwrap();
        user.wait(first).await.unwrap();
        let block: u64 = user.get(slot);
        assert!(block.abs_diff(mine) >= 8);
        let second = user.spawn(take).await.unwrap();
        user.wait(second).await.unwrap();
        assert_eq!(user.get::<u64>(slot), block);
    });
}

#[test]
pub(crate) fn it_shows_the_cpu_and_counts_switches() {
    run(|user| async move {
        let slot = user.put(&0u64);
        let lid = user.spawn(move |user| async move {
            let block = user.ctl(3).await.unwrap();
            assert_eq!(user.lwpctl(block).lc_curcpu, 0);
            user.memory().write(&block.to_le_bytes(), slot).unwrap();
            user.park().await.unwrap();
            assert_eq!(user.lwpctl(block).lc_curcpu, 0);
            let before = user.lwpctl(block).lc_pctr;
            user.nanosleep(10 * MS).await.unwrap();
            assert!(user.lwpctl(block).lc_pctr > before);
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "parked").await;
        let block = user.lwpctl(user.get(slot));
        assert_eq!(block.lc_curcpu, LWPCTL_CPU_NONE);
        user.nanosleep(MS).await.unwrap();
        assert_eq!(user.lwpctl(user.get(slot)), block);
        user.unpark(lid).await.unwrap();
        user.wait(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn a_switch_that_finds_nobody_else_does_not_count() {
    run(|user| async move {
        zombie(&user).await;
        let block = user.ctl(3).await.unwrap();
        let before = user.lwpctl(block);
        for _ in 0..50 {
            user.pause().await;
        }
        assert_eq!(user.lwpctl(block), before);
    });
}
