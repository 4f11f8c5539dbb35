//! What is left of LWPs in the child of fork(2).

use crate::common::{SECOND, asleep, parked, stat};
use lwp_abi::nr;
use lwp_abi::signal::{SaFlags, SigSet, Signo, StackT};
use lwp_sim::{PID, run};

#[test]
pub(crate) fn the_child_has_one_lwp_which_has_its_pid() {
    run(|user| async move {
        let other = parked(&user).await;
        let child = user.spawn(move |user| async move {
            let pid = user.fork().await;
            assert_ne!(pid, PID);
            assert_eq!(user.lwp_self().await, pid);
            let kernel = user.kernel();
            assert_eq!(kernel.proc.lock().nlwps(), 1);
            for gone in [other, PID] {
                assert!(kernel.lids.find(gone).is_none());
            }
            // It is a first LWP as any.
            let me = kernel.lids.find(pid).unwrap();
            assert_eq!(
                format!("{me:?}"),
                format!("Lwp {{ lid: LwpId({pid}), .. }}")
            );
            let next = parked(&user).await;
            user.unpark(next).await.unwrap();
            assert_eq!(user.wait(next).await, Ok(next));
            user.exit(0).await;
        });
        user.wait(child.await.unwrap()).await.unwrap();
    });
}

#[test]
pub(crate) fn nobody_waits_in_the_child() {
    run(|user| async move {
        let busy = parked(&user).await;
        let waiter = user.spawn(move |user| async move {
            user.wait(busy).await.unwrap();
        });
        asleep(&user, waiter.await.unwrap(), "lwpwait").await;
        let taker = user.spawn(|user| async move {
            let usr1 = SigSet::of(&[Signo::SIGUSR1]);
            user.sigtimedwait(usr1, Some(1000 * SECOND)).await.unwrap();
        });
        asleep(&user, taker.await.unwrap(), "sigwait").await;
        let before = user.kernel().census();
        assert_eq!((before.waiters, before.asleep, before.callouts), (2, 3, 1));
        let pid = user.fork().await;
        let after = user.kernel().census();
        assert_eq!((after.waiters, after.asleep, after.callouts), (0, 0, 0));
        assert_eq!(user.kernel().proc.lock().nrlwps, 1);
        assert_eq!(user.lwp_self().await, pid);
    });
}

#[test]
pub(crate) fn the_child_has_no_pending_signals_but_the_mask_the_handlers_and_the_stack() {
    run(|user| async move {
        let count = user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        user.block(&[Signo::SIGUSR1]).await;
        let stack = StackT {
            ss_sp: user.memory().alloc(16384),
            ss_size: 16384,
            ..StackT::default()
        };
        let (new, old) = (user.put(&stack), user.put(&StackT::default()));
        user.call(nr::SYS_SIGALTSTACK14, &[new, 0]).await.unwrap();
        user.kill(PID, Signo::SIGUSR1).await.unwrap();
        let pid = user.fork().await;
        assert!(user.sigpending().await.is_empty());
        user.call(nr::SYS_SIGALTSTACK14, &[0, old]).await.unwrap();
        assert_eq!(user.get::<StackT>(old), stack);
        user.kill(pid, Signo::SIGUSR1).await.unwrap();
        assert_eq!(user.get::<u64>(count), 0);
        user.unblock(&[Signo::SIGUSR1]).await;
        assert_eq!(user.get::<u64>(count), 1);
    });
}

#[test]
pub(crate) fn the_lwpctl_area_is_not_inherited() {
    run(|user| async move {
        let block = user.ctl(3).await.unwrap();
        let area = 64 << 10;
        assert_eq!(user.kernel().census().mapped, area);
        user.fork().await;
        assert_eq!(user.kernel().census().mapped, 0);
        assert!(user.memory().read(block, &mut [0; 8]).is_err());
        let again = user.ctl(3).await.unwrap();
        assert_eq!(user.kernel().census().mapped, area);
        assert_eq!(user.lwpctl(again).lc_curcpu, 0);
        assert!(stat(&user, PID).is_none());
    });
}
