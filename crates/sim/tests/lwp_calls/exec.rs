//! What execve(2) does to the other LWPs.

use crate::common::{asleep_and_suspended, parked, zombie};
use lwp_abi::lwp::LWP_DETACHED;
use lwp_kernel::lwp::LwpFlags;
use lwp_kernel::machine::ExitWith;
use lwp_kernel::proc::ProcStat;
use lwp_sim::{Ended, PID, run, run_to};

#[test]
pub(crate) fn exec_ends_all_others_and_goes_on_alone() {
    run_to(Ended::Exit(ExitWith::Code(7)), |user| async move {
        parked(&user).await;
        zombie(&user).await;
        asleep_and_suspended(&user).await;
        for flags in [0, LWP_DETACHED] {
            let spinner = user.spawn_with(flags, |user| async move {
                loop {
                    user.pause().await;
                }
            });
            spinner.await.unwrap();
        }
        user.single_threaded().await.unwrap();
        {
            let kernel = user.kernel();
            let p = kernel.proc.lock();
            assert_eq!((p.nlwps(), p.nrlwps), (1, 1));
            assert_eq!(p.stat, ProcStat::Active);
        }
        // New ones live as before.
        let lid = parked(&user).await;
        user.unpark(lid).await.unwrap();
        assert_eq!(user.wait(lid).await, Ok(lid));
        user.exit(7).await;
    });
}

#[test]
pub(crate) fn exec_by_one_that_was_told_to_suspend_is_not_held_up() {
    run(|user| async move {
        parked(&user).await;
        // As if another vcpu had just done it.
        let lwp = user.kernel().lids.find(PID).unwrap();
        lwp.set_flags(LwpFlags::WSUSPEND);
        user.single_threaded().await.unwrap();
        assert!(!lwp.flags().contains(LwpFlags::WSUSPEND));
    });
}
