//! What the tests share: looking at LWPs from outside, and small programs.

use core::time::Duration;
use lwp_abi::lwp::{LWP_SUSPENDED, LwpState};
use lwp_kernel::lwp::LwpFlags;
use lwp_sim::User;

/// An id that names nobody.
pub(crate) const NOBODY: i32 = 0x0123_4567;
/// Ids that cannot name anybody.
pub(crate) const NOBODIES: [i32; 5] = [NOBODY, 0, -1, i32::MIN, i32::MAX];

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The state of an LWP, unless it has been reaped.
pub(crate) fn stat(user: &User, lid: i32) -> Option<LwpState> {
    let lwp = user.kernel().lids.find(lid)?;
    let stat = lwp.lock().stat;
    Some(stat)
}

/// The flags of an LWP.
pub(crate) fn flags(user: &User, lid: i32) -> LwpFlags {
    let lwp = user.kernel().lids.find(lid);
    lwp.map_or(LwpFlags::empty(), |lwp| lwp.flags())
}

/// Waits until an LWP is asleep with this wait message.
pub(crate) async fn asleep(user: &User, lid: i32, wmesg: &'static str) {
    let kernel = user.kernel();
    let holds = || {
        kernel.lids.find(lid).is_some_and(|lwp| {
            let st = lwp.lock();
            st.stat == LwpState::Sleep && st.wmesg == wmesg
        })
    };
    user.until(wmesg, holds).await;
}

/// Waits until an LWP is in this state.
pub(crate) async fn in_state(user: &User, lid: i32, wanted: LwpState) {
    let holds = || stat(user, lid) == Some(wanted);
    user.until(wanted.name(), holds).await;
}

/// Starts an LWP that exits at once, and waits until it is a zombie.
pub(crate) async fn zombie(user: &User) -> i32 {
    let lid = user.spawn(|_| async {}).await.expect("there is room");
    in_state(user, lid, LwpState::Zomb).await;
    lid
}

/// Reaps an LWP without waiting in the call, where the caller counts as one more that waits.
pub(crate) async fn reap(user: &User, lid: i32) {
    in_state(user, lid, LwpState::Zomb).await;
    assert_eq!(user.wait(lid).await, Ok(lid));
}

/// Starts an LWP that parks once, and waits until it does.
pub(crate) async fn parked(user: &User) -> i32 {
    let lid = user
        .spawn(|user| async move {
            // However it ends: the tests say.
            let _ = user.park().await;
        })
        .await
        .expect("there is room");
    asleep(user, lid, "parked").await;
    lid
}

/// Starts an LWP that sleeps and one that is suspended, and waits until they are: neither comes back.
pub(crate) async fn asleep_and_suspended(user: &User) {
    let sleeper = user.spawn(|user| async move {
        user.nanosleep(1000 * SECOND)
            .await
            .expect("nobody interrupts it");
        panic!("it does not come back");
    });
    asleep(user, sleeper.await.expect("there is room"), "nanoslp").await;
    let suspended = user.spawn_with(LWP_SUSPENDED, |_| async { panic!("it never runs") });
    let suspended = suspended.await.expect("there is room");
    in_state(user, suspended, LwpState::Suspended).await;
}

/// Two broadcasts on the LWPs' condition variable.
pub(crate) async fn pulse(user: &User) {
    let lid = user.spawn(|_| async {}).await.expect("there is room");
    assert_eq!(user.wait(lid).await, Ok(lid));
}

/// Virtual time.
pub(crate) fn now(user: &User) -> Duration {
    user.kernel().machine.monotonic()
}
