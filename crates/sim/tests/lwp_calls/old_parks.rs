//! The parks of NetBSD 6 (434) and 5 (320): absolute, on the realtime clock, never written back.

use crate::common::{NOBODY, asleep, parked};
use lwp_abi::errno::Errno;
use lwp_abi::nr;
use lwp_abi::signal::{SaFlags, Signo};
use lwp_sim::{NOWHERE, PID, User, int, run};

const CALLS: [u16; 2] = [nr::SYS_COMPAT_60__LWP_PARK, nr::SYS_COMPAT_50__LWP_PARK];

/// The realtime clock `ahead` nanoseconds from now, in a form that both calls read alike.
fn ahead(user: &User, ahead: i64) -> u64 {
    let now = user.kernel().machine.realtime().as_nanos();
    let at = i64::try_from(now).unwrap() + ahead;
    // Little endian: 32 bits of seconds and zeros are 64 bits of seconds.
    user.put(&[at / 1_000_000_000, at % 1_000_000_000])
}

async fn park(user: &User, call: u16, ts: u64, unpark: i32) -> Result<u64, Errno> {
    user.call(call, &[ts, int(unpark), 1, u64::MAX]).await
}

#[test]
pub(crate) fn an_unreadable_time_is_efault() {
    run(|user| async move {
        for call in CALLS {
            assert_eq!(park(&user, call, NOWHERE, 0).await, Err(Errno::EFAULT));
        }
    });
}

#[test]
pub(crate) fn unparking_nobody_is_esrch() {
    run(|user| async move {
        for call in CALLS {
            assert_eq!(park(&user, call, 0, NOBODY).await, Err(Errno::ESRCH));
        }
    });
}

#[test]
pub(crate) fn bad_nanoseconds_are_einval() {
    run(|user| async move {
        for call in CALLS {
            let bad = user.put(&[2_000_000_000i64, -1]);
            assert_eq!(park(&user, call, bad, 0).await, Err(Errno::EINVAL));
        }
    });
}

#[test]
pub(crate) fn the_deadline_is_etimedout_and_stays_as_it_is() {
    run(|user| async move {
        for call in CALLS {
            for time in [-1_000_000, 1_000_000] {
                let ts = ahead(&user, time);
                let before: [i64; 2] = user.get(ts);
                assert_eq!(park(&user, call, ts, 0).await, Err(Errno::ETIMEDOUT));
                assert_eq!(user.get::<[i64; 2]>(ts), before);
            }
        }
    });
}

#[test]
pub(crate) fn a_pending_unpark_is_ealready() {
    run(|user| async move {
        for call in CALLS {
            user.unpark(PID).await.unwrap();
            assert_eq!(park(&user, call, 0, 0).await, Err(Errno::EALREADY));
            assert_eq!(park(&user, call, 0, PID).await, Err(Errno::EALREADY));
        }
    });
}

#[test]
pub(crate) fn a_signal_is_eintr() {
    run(|user| async move {
        user.count_signals(Signo::SIGUSR1, SaFlags::RESTART).await;
        for call in CALLS {
            let lid = user.spawn(move |user| async move {
                assert_eq!(park(&user, call, 0, 0).await, Err(Errno::EINTR));
            });
            let lid = lid.await.unwrap();
            asleep(&user, lid, "parked").await;
            user.kill(lid, Signo::SIGUSR1).await.unwrap();
            user.wait(lid).await.unwrap();
        }
    });
}

#[test]
pub(crate) fn they_wake_another_and_are_woken() {
    run(|user| async move {
        for call in CALLS {
            let other = parked(&user).await;
            let lid = user.spawn(move |user| async move {
                assert_eq!(park(&user, call, 0, other).await, Ok(0));
            });
            let lid = lid.await.unwrap();
            user.wait(other).await.unwrap();
            asleep(&user, lid, "parked").await;
            user.unpark(lid).await.unwrap();
            user.wait(lid).await.unwrap();
        }
    });
}
