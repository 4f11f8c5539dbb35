//! `_lwp_self(2)`, `_lwp_getprivate(2)`, `_lwp_setprivate(2)`.

use lwp_abi::errno::Errno;
use lwp_abi::exec::VM_MAXUSER_ADDRESS;
use lwp_abi::nr;
use lwp_sim::{PID, Reply, run};

#[test]
pub(crate) fn self_is_the_pid_in_the_first_lwp_and_constant() {
    run(|user| async move {
        for _ in 0..5 {
            let reply = user.syscall(nr::SYS_LWP_SELF, &[]).await;
            let expected = Reply {
                rax: u64::from(PID.unsigned_abs()),
                rdx: 0,
                carry: false,
            };
            assert_eq!(reply, expected);
        }
    });
}

#[test]
pub(crate) fn the_private_pointer_is_per_lwp() {
    run(|user| async move {
        assert_eq!(user.call(nr::SYS_LWP_GETPRIVATE, &[]).await, Ok(0));
        user.call(nr::SYS_LWP_SETPRIVATE, &[0x1000]).await.unwrap();
        let lid = user.spawn(|user| async move {
            user.call(nr::SYS_LWP_SETPRIVATE, &[0x2000]).await.unwrap();
            user.pause().await;
            assert_eq!(user.call(nr::SYS_LWP_GETPRIVATE, &[]).await, Ok(0x2000));
        });
        let lid = lid.await.unwrap();
        user.wait(lid).await.unwrap();
        assert_eq!(user.call(nr::SYS_LWP_GETPRIVATE, &[]).await, Ok(0x1000));
    });
}

#[test]
pub(crate) fn a_pointer_outside_user_space_is_einval_and_kept_all_the_same() {
    run(|user| async move {
        for bad in [VM_MAXUSER_ADDRESS, u64::MAX, 1 << 63] {
            let set = user.call(nr::SYS_LWP_SETPRIVATE, &[bad]).await;
            assert_eq!(set, Err(Errno::EINVAL));
            assert_eq!(user.call(nr::SYS_LWP_GETPRIVATE, &[]).await, Ok(bad));
        }
        let last = VM_MAXUSER_ADDRESS - 1;
        assert_eq!(user.call(nr::SYS_LWP_SETPRIVATE, &[last]).await, Ok(0));
    });
}
