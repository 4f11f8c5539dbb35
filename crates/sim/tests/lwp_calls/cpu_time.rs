//! CPU time: whose it is.

use crate::common::now;
use core::time::Duration;
use lwp_sim::{PID, User, run};

/// CPU time of an LWP.
fn used(user: &User, lid: i32) -> Duration {
    let kernel = user.kernel();
    let lwp = kernel.lids.find(lid).unwrap();
    let st = lwp.lock();
    kernel.cpu_time(&lwp, &st)
}

#[test]
pub(crate) fn all_time_of_a_busy_process_is_its_lwps() {
    run(|user| async move {
        let mut lids = Vec::new();
        for _ in 0..3 {
            let lid = user.spawn(|user| async move {
                for _ in 0..20 {
                    user.pause().await;
                }
            });
            lids.push(lid.await.unwrap());
        }
        for _ in 0..10 {
            user.pause().await;
            let sum: Duration = lids.iter().map(|&lid| used(&user, lid)).sum();
            assert_eq!(sum + used(&user, PID), now(&user));
        }
        for &lid in &lids {
            user.wait(lid).await.unwrap();
        }
        let before = now(&user);
        user.fork().await;
        let pid = user.kernel().proc.pid();
        // The child's begins at nothing.
        assert_eq!(used(&user, pid), now(&user) - before);
    });
}
