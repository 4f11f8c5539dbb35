//! Park and unpark.

use super::{before, edge};
use rt::abi::lwp::{LwpId, LwpState};
use rt::abi::time::{CLOCK_MONOTONIC, TIMER_ABSTIME, Timespec};
use rt::check::{Check, Verdict};
use rt::lwp::{self, How, NOBODY, Task, again, park_for, park_until, spawn, tokenless};
use rt::scene::{has_token, lacks_token, parked};
use rt::time::{self, MS, SECOND, now, timespec};
use rt::{Errno, SysResult, ensure, ensure_eq, ensure_err, sys, sysctl, vm};

pub(crate) const CHECKS: &[Check] = &[
    ("L-334", ealready_spends_the_cancellation),
    ("L-339", unpark_of_a_newborn),
    ("L-340", ealready_writes_the_time_back),
    ("L-341", efault_before_esrch),
    ("L-342", absolute_beside_unknown_flags),
    ("L-343", time_that_is_cut_off),
    ("L-344", count_of_32_bits),
    ("L-345", long_list_that_is_cut_off),
    ("L-346", long_list),
];

fn ealready_spends_the_cancellation() -> Verdict {
    ensure_err!(lwp::wakeup(lwp::me()), ENODEV);
    ensure_err!(lwp::park(), EALREADY);
    ensure_eq!(time::nanosleep(timespec(MS), None), Ok(0));
    ensure!(lacks_token());
    Ok(())
}

fn unpark_of_a_newborn() -> Verdict {
    let task = How::new()
        .suspended()
        .spawn(|| (has_token(), lacks_token()))?;
    sysctl::until_state(task.lid, LwpState::Suspended)?;
    ensure_eq!(lwp::unpark(task.lid), Ok(0));
    lwp::resume(task.lid)?;
    ensure_eq!(task.join()?, (true, true));
    Ok(())
}

fn ealready_writes_the_time_back() -> Verdict {
    let asked = timespec(1_234_567_890);
    let page = vm::map(vm::PAGE)?;
    let at = page.ptr::<Timespec>(0);
    // SAFETY: a fresh mapping.
    unsafe { at.write(asked) };
    lwp::unpark(lwp::me())?;
    ensure_err!(
        sys!(SYS_LWP_PARK60, CLOCK_MONOTONIC, 0, page.base, 0, 0, 0),
        EALREADY
    );
    // SAFETY: as above.
    ensure_eq!(unsafe { at.read() }, asked);
    Ok(())
}

fn efault_before_esrch() -> Verdict {
    let park = |at, lid| sys!(SYS_LWP_PARK60, CLOCK_MONOTONIC, 0, at, lid, 0, 0);
    ensure_err!(park(vm::NOWHERE, NOBODY), EFAULT);
    let bad = before(
        edge()?,
        Timespec {
            tv_sec: 0,
            tv_nsec: -1,
        },
    );
    ensure_err!(park(bad, NOBODY), ESRCH);
    Ok(())
}

fn absolute_beside_unknown_flags() -> Verdict {
    let want = timespec(now() + 20 * MS);
    let mut ts = want;
    let flags = TIMER_ABSTIME | 0x80;
    let mut park = || park_until(CLOCK_MONOTONIC, flags, Some(&mut ts), LwpId::new(0));
    ensure_err!(tokenless(&mut park), ETIMEDOUT);
    ensure_eq!(ts, want);
    ensure!(now() >= time::nanos(want));
    Ok(())
}

fn time_that_is_cut_off() -> Verdict {
    let edge = edge()?;
    let whole = before(edge, timespec(MS));
    let park = |at| sys!(SYS_LWP_PARK60, CLOCK_MONOTONIC, 0, at, 0, 0, 0);
    ensure_err!(tokenless(|| park(whole)), ETIMEDOUT);
    ensure_err!(park(whole + 8), EFAULT);
    ensure_err!(tokenless(|| park_for(&mut timespec(MS))), ETIMEDOUT);
    Ok(())
}

fn count_of_32_bits() -> Verdict {
    let lids = [lwp::me(); 2];
    ensure_err!(sys!(SYS_LWP_UNPARK_ALL, &lids, 1_u64 << 32, 0), EINVAL);
    ensure!(lacks_token());
    ensure_eq!(sys!(SYS_LWP_UNPARK_ALL, &lids, (1_u64 << 32) + 1, 0), Ok(0));
    ensure!(has_token());
    ensure_err!(
        sys!(SYS_LWP_UNPARK_ALL, &lids, (7_u64 << 32) + 1025, 0),
        EINVAL
    );
    Ok(())
}

/// More than the kernel has room for on its stack.
const MANY: usize = 40;

/// Ids right before an [`edge`], where the rest of a list would be.
fn listed(edge: u64, lids: [LwpId; MANY]) -> u64 {
    before(edge, lids)
}

fn long_list_that_is_cut_off() -> Verdict {
    let task = parked()?;
    let at = listed(edge()?, [task.lid; MANY]);
    ensure_err!(sys!(SYS_LWP_UNPARK_ALL, at, MANY + 1, 0), EFAULT);
    ensure_err!(sys!(SYS_LWP_UNPARK_ALL, at, 1024, 0), EFAULT);
    ensure!(sysctl::is_in(task.lid, LwpState::Sleep));
    ensure_eq!(sys!(SYS_LWP_UNPARK_ALL, at + 4 * 39, 1, 0), Ok(0));
    ensure_eq!(task.join()?, Ok(0));
    Ok(())
}

fn long_list() -> Verdict {
    let tasks: [Task<SysResult>; MANY] =
        core::array::from_fn(|_| spawn(|| again(|| park_for(&mut timespec(60 * SECOND)))));
    for task in &tasks {
        sysctl::until_parked(task.lid)?;
    }
    let at = listed(edge()?, tasks.map(|task| task.lid));
    ensure_eq!(sys!(SYS_LWP_UNPARK_ALL, at, MANY, 0), Ok(0));
    for task in tasks {
        ensure_eq!(task.join()?, Ok::<u64, Errno>(0));
    }
    Ok(())
}
