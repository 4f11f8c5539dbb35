//! `_lwp_create(2)`.

use crate::common::{MS, NOBODY, in_state, now, stat, zombie};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use lwp_abi::errno::Errno;
use lwp_abi::lwp::{LWP_DETACHED, LWP_SUSPENDED, LwpState};
use lwp_abi::nr;
use lwp_abi::signal::{SS_DISABLE, SaFlags, SigSet, Signo, StackT};
use lwp_abi::ucontext::{Gregs, PSL_C, PSL_USERSET, UcFlags, Ucontext};
use lwp_sim::{NOWHERE, PID, User, run};
use std::sync::Arc;

/// Creates from a context that `change` has changed; the function never runs to anything.
async fn create_changed(user: &User, change: impl FnOnce(&mut Ucontext)) -> Result<(), Errno> {
    let function = user.thread(|_, _| async {});
    let mut uc = user.context(function, 0);
    change(&mut uc);
    let lid = user.put(&0i32);
    user.create(user.put(&uc), 0, lid).await
}

#[test]
pub(crate) fn the_new_lwp_knows_its_id_when_it_starts() {
    run(|user| async move {
        assert_eq!(user.lwp_self().await, PID);
        let slot = user.put(&0i32);
        let function = user.thread(move |user, _| async move {
            assert_eq!(user.get::<i32>(slot), user.lwp_self().await);
        });
        let uc = user.put(&user.context(function, 0));
        user.create(uc, 0, slot).await.unwrap();
        let lid = user.get::<i32>(slot);
        assert!(lid > 0 && lid < 1 << 30 && lid != PID);
        assert_eq!(user.wait(lid).await, Ok(lid));
    });
}

#[test]
pub(crate) fn ids_of_live_lwps_are_distinct_and_a_freed_one_is_not_reused_soon() {
    run(|user| async move {
        let first = zombie(&user).await;
        user.wait(first).await.unwrap();
        let mut seen = vec![PID, first];
        for _ in 0..20 {
            let lid = zombie(&user).await;
            assert!(!seen.contains(&lid));
            seen.push(lid);
        }
    });
}

#[test]
pub(crate) fn an_unreadable_context_is_efault() {
    run(|user| async move {
        let lid = user.put(&0i32);
        assert_eq!(user.create(NOWHERE, 0, lid).await, Err(Errno::EFAULT));
        assert_eq!(user.create(0, 0, lid).await, Err(Errno::EFAULT));
        // The last byte counts too.
        let page = user.memory().alloc(4096);
        let end = page + 4096 - size_of::<Ucontext>() as u64;
        assert_eq!(user.create(end + 1, 0, lid).await, Err(Errno::EFAULT));
        assert_eq!(user.create(end, 0, lid).await, Err(Errno::EINVAL));
        assert_eq!(user.get::<i32>(lid), 0);
    });
}

#[test]
pub(crate) fn a_context_without_registers_is_einval() {
    run(|user| async move {
        let created = create_changed(&user, |uc| uc.uc_flags = UcFlags::FPU.bits()).await;
        assert_eq!(created, Err(Errno::EINVAL));
        assert_eq!(user.wait(0).await, Err(Errno::ESRCH));
    });
}

#[test]
pub(crate) fn registers_that_user_mode_may_not_have_are_einval() {
    run(|user| async move {
        let bad: [fn(&mut Gregs); 8] = [
            |g| g.rip = 0x7fff_ffff_f000,
            |g| g.cs = 0x08,
            |g| g.cs = 0,
            |g| g.ds = 0,
            |g| g.ss = 0,
            |g| g.rflags = 0,
            |g| g.rflags = 0x3202,
            |g| g.es = 0x08,
        ];
        for change in bad {
            let created = create_changed(&user, |uc| change(&mut uc.uc_mcontext.gregs)).await;
            assert_eq!(created, Err(Errno::EINVAL));
        }
        assert_eq!(user.wait(0).await, Err(Errno::ESRCH));
        let good = create_changed(&user, |uc| {
            let g = &mut uc.uc_mcontext.gregs;
            (g.es, g.fs, g.gs, g.rflags) = (0, 0, 0, 0x202);
        });
        assert_eq!(good.await, Ok(()));
    });
}

#[test]
pub(crate) fn the_context_is_judged_before_the_limit_and_the_limit_before_the_id() {
    run(|user| async move {
        let kernel = user.kernel();
        kernel.proc.nthr_soft.store(0, Ordering::Relaxed);
        let created = create_changed(&user, |uc| uc.uc_mcontext.gregs.cs = 0).await;
        assert_eq!(created, Err(Errno::EINVAL));
        let function = user.thread(|_, _| async {});
        let uc = user.put(&user.context(function, 0));
        assert_eq!(user.create(uc, 0, NOWHERE).await, Err(Errno::EAGAIN));
    });
}

#[test]
pub(crate) fn one_lwp_more_than_the_limit_is_eagain() {
    run(|user| async move {
        let kernel = user.kernel();
        kernel.proc.nthr_soft.store(2, Ordering::Relaxed);
        let a = zombie(&user).await;
        let b = zombie(&user).await;
        // Zombies count until they are reaped.
        let refused = user.spawn(|_| async {}).await;
        assert_eq!(refused, Err(Errno::EAGAIN));
        user.wait(a).await.unwrap();
        zombie(&user).await;
        assert_eq!(user.spawn(|_| async {}).await, Err(Errno::EAGAIN));
        kernel.proc.nthr_soft.store(3, Ordering::Relaxed);
        zombie(&user).await;
        user.wait(b).await.unwrap();
    });
}

#[test]
pub(crate) fn an_unwritable_place_for_the_id_is_efault_and_leaves_a_corpse() {
    run(|user| async move {
        let function = user.thread(|_, _| async { panic!("it never runs") });
        let uc = user.put(&user.context(function, 0));
        for bad in [0, NOWHERE] {
            assert_eq!(user.create(uc, 0, bad).await, Err(Errno::EFAULT));
            let corpse = user.wait(0).await.unwrap();
            assert!(corpse > 0 && corpse != PID);
            assert_eq!(user.wait(0).await, Err(Errno::ESRCH));
        }
    });
}

#[test]
pub(crate) fn the_corpse_of_a_detached_lwp_reclaims_itself() {
    run(|user| async move {
        let function = user.thread(|_, _| async { panic!("it never runs") });
        let uc = user.put(&user.context(function, 0));
        for _ in 0..3 {
            let created = user.create(uc, LWP_DETACHED, NOWHERE).await;
            assert_eq!(created, Err(Errno::EFAULT));
        }
        assert_eq!(user.wait(0).await, Err(Errno::ESRCH));
        assert_eq!(user.kernel().proc.lock().nlwps(), 1);
    });
}

#[test]
pub(crate) fn unknown_flags_do_nothing() {
    run(|user| async move {
        let ran = Arc::new(AtomicBool::new(false));
        let sets = Arc::clone(&ran);
        let flags = 0x100 | 0x8000_0000 | 0x4000_0000 | 1 << 63;
        let lid = user
            .spawn_with(flags, move |_| async move {
                sets.store(true, Ordering::Relaxed);
            })
            .await
            .unwrap();
        assert_eq!(user.wait(lid).await, Ok(lid));
        assert!(ran.load(Ordering::Relaxed));
    });
}

#[test]
pub(crate) fn a_suspended_lwp_runs_nothing_until_it_is_continued() {
    run(|user| async move {
        let count = user.put(&0u64);
        let lid = user
            .spawn_with(LWP_SUSPENDED, move |user| async move { user.add(count, 1) })
            .await
            .unwrap();
        in_state(&user, lid, LwpState::Suspended).await;
        user.nanosleep(MS).await.unwrap();
        assert_eq!(user.get::<u64>(count), 0);
        user.resume(lid).await.unwrap();
        user.wait(lid).await.unwrap();
        assert_eq!(user.get::<u64>(count), 1);
    });
}

#[test]
pub(crate) fn a_continue_right_after_creation_is_not_lost() {
    run(|user| async move {
        for _ in 0..20 {
            let lid = user.spawn_with(LWP_SUSPENDED, |_| async {}).await.unwrap();
            user.resume(lid).await.unwrap();
            assert_eq!(user.wait(lid).await, Ok(lid));
        }
    });
}

#[test]
pub(crate) fn a_suspended_lwp_does_not_prevent_exit() {
    run(|user| async move {
        let lid = user.spawn_with(LWP_SUSPENDED, |_| async { panic!("it never runs") });
        let lid = lid.await.unwrap();
        if now(&user).subsec_nanos().is_multiple_of(2) {
            in_state(&user, lid, LwpState::Suspended).await;
        }
        user.exit(0).await;
    });
}

#[test]
pub(crate) fn all_registers_come_from_the_context() {
    run(|user| async move {
        // What the sim can see of them: the argument registers, RAX and the carry flag.
        let seen = user.put(&[0u64; 3]);
        let function = user.thread(move |user, rdi| async move {
            user.memory().write(&rdi.to_le_bytes(), seen).unwrap();
            let uc = user.put(&[0u8; size_of::<Ucontext>()]);
            user.call(nr::SYS_GETCONTEXT, &[uc]).await.unwrap();
            let uc: Ucontext = user.get(uc);
            assert_eq!(uc.uc_link, 0);
            let g = &uc.uc_mcontext.gregs;
            assert_eq!((g.rbx, g.rcx, g.r11, g.r15), (2, 3, 11, 15));
            assert_eq!(uc.uc_mcontext.tlsbase, 0);
            assert_eq!(user.call(nr::SYS_LWP_GETPRIVATE, &[]).await, Ok(0));
        });
        user.call(nr::SYS_LWP_SETPRIVATE, &[0x4242]).await.unwrap();
        let mut uc = user.context(function, 77);
        uc.uc_link = 0x1234;
        let g = &mut uc.uc_mcontext.gregs;
        (g.rbx, g.rcx, g.r11, g.r15) = (2, 3, 11, 15);
        g.rflags = PSL_USERSET | PSL_C;
        let lid = user.put(&0i32);
        user.create(user.put(&uc), 0, lid).await.unwrap();
        user.wait(user.get(lid)).await.unwrap();
        assert_eq!(user.get::<u64>(seen), 77);
    });
}

#[test]
pub(crate) fn the_private_pointer_comes_with_tlsbase() {
    run(|user| async move {
        let function = user.thread(|user, _| async move {
            assert_eq!(user.call(nr::SYS_LWP_GETPRIVATE, &[]).await, Ok(0x7777));
        });
        let mut uc = user.context(function, 0);
        uc.uc_flags |= UcFlags::TLSBASE.bits();
        uc.uc_mcontext.tlsbase = 0x7777;
        let lid = user.put(&0i32);
        user.create(user.put(&uc), 0, lid).await.unwrap();
        user.wait(user.get(lid)).await.unwrap();
    });
}

#[test]
pub(crate) fn the_mask_is_the_contexts_or_the_creators() {
    run(|user| async move {
        let mine = SigSet::of(&[Signo::SIGUSR2, Signo::SIGHUP]);
        user.set_mask(mine).await;
        let seen = Arc::new(std::sync::Mutex::new(SigSet::EMPTY));
        let stores = Arc::clone(&seen);
        let function = user.thread(move |user, _| {
            let stores = Arc::clone(&stores);
            async move {
                let mask = user.block(&[]).await;
                *stores.lock().unwrap() = mask;
            }
        });
        let mut uc = user.context(function, 0);
        uc.uc_sigmask = SigSet::of(&[Signo::SIGUSR1]);
        let lid = user.put(&0i32);
        for (flags, expected) in [
            (UcFlags::CPU, mine),
            (UcFlags::CPU | UcFlags::SIGMASK, uc.uc_sigmask),
        ] {
            uc.uc_flags = flags.bits();
            user.create(user.put(&uc), 0, lid).await.unwrap();
            user.wait(user.get(lid)).await.unwrap();
            assert_eq!(*seen.lock().unwrap(), expected);
        }
    });
}

#[test]
pub(crate) fn the_new_lwp_inherits_no_stack_no_name_and_no_pending_signal() {
    run(|user| async move {
        let stack = StackT {
            ss_sp: user.memory().alloc(16384),
            ss_size: 16384,
            ..StackT::default()
        };
        let stack = user.put(&stack);
        user.call(nr::SYS_SIGALTSTACK14, &[stack, 0]).await.unwrap();
        user.setname(0, "creator").await.unwrap();
        user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        user.block(&[Signo::SIGUSR1]).await;
        user.kill(PID, Signo::SIGUSR1).await.unwrap();
        let lid = user
            .spawn(|user| async move {
                let old = user.put(&StackT::default());
                user.call(nr::SYS_SIGALTSTACK14, &[0, old]).await.unwrap();
                assert_eq!(user.get::<StackT>(old).ss_flags, SS_DISABLE);
                assert_eq!(user.getname(0).await.as_deref(), Ok(""));
                assert!(user.sigpending().await.is_empty());
            })
            .await
            .unwrap();
        user.wait(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn anyone_may_create_and_anyone_may_wait() {
    run(|user| async move {
        let grandchild = Arc::new(AtomicU64::new(0));
        let stores = Arc::clone(&grandchild);
        let child = user
            .spawn(move |user| async move {
                let lid = user.spawn(|_| async {}).await.unwrap();
                stores.store(u64::from(lid.unsigned_abs()), Ordering::Relaxed);
            })
            .await
            .unwrap();
        user.wait(child).await.unwrap();
        let lid = i32::try_from(grandchild.load(Ordering::Relaxed)).unwrap();
        assert_eq!(user.wait(lid).await, Ok(lid));
    });
}

#[test]
pub(crate) fn the_next_lwp_takes_the_pid_when_the_main_lwp_has_been_reaped() {
    run(|user| async move {
        user.spawn_with(LWP_DETACHED, |user| async move {
            assert_eq!(user.wait(PID).await, Ok(PID));
            assert_eq!(stat(&user, PID), None);
            let heir = user.spawn(|user| async move {
                assert_eq!(user.lwp_self().await, PID);
            });
            assert_eq!(heir.await, Ok(PID));
            assert_eq!(user.wait(PID).await, Ok(PID));
        })
        .await
        .unwrap();
    });
}

#[test]
pub(crate) fn a_new_lwp_is_found_as_soon_as_the_call_has_returned() {
    run(|user| async move {
        for _ in 0..10 {
            let lid = user.spawn(|user| async move { user.pause().await }).await;
            let lid = lid.unwrap();
            let live = stat(&user, lid) != Some(LwpState::Zomb);
            let found = user.kill_raw(lid, 0).await;
            assert!(found.is_ok() || !live || stat(&user, lid) == Some(LwpState::Zomb));
            assert_ne!(lid, NOBODY);
        }
    });
}
