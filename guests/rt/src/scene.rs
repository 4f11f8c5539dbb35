//! LWPs in the states that checks need.

use crate::check::{Fail, Verdict};
use crate::lwp::{self, Task, spawn};
use crate::sync::Word;
use crate::{SysResult, sysctl, time};
use lwp_abi::Errno;
use lwp_abi::lwp::LwpState;
use lwp_abi::time::Timespec;

/// An LWP that has exited and nobody has waited for.
///
/// # Errors
/// If it does not get there.
pub fn zombie() -> Result<Task<()>, Fail> {
    let task = spawn(|| ());
    sysctl::until_state(task.lid, LwpState::Zomb)?;
    Ok(task)
}

/// An LWP that is parked, without a limit; what its park gave is its result.
///
/// # Errors
/// If it does not get there.
pub fn parked() -> Result<Task<SysResult>, Fail> {
    let task = spawn(lwp::rest);
    sysctl::until_parked(task.lid)?;
    Ok(task)
}

/// An LWP that parks, and parks again in the `second` way; the results of both. It is in the first park.
///
/// # Errors
/// If it does not get there.
pub fn parked_twice(second: fn() -> SysResult) -> Result<Task<(SysResult, SysResult)>, Fail> {
    let task = spawn(move || (lwp::rest(), second()));
    sysctl::until_parked(task.lid)?;
    Ok(task)
}

/// A park that ends at once: `EALREADY` if there was a token (which is gone then), else
/// `ETIMEDOUT`.
///
/// # Errors
/// Always.
pub fn peek() -> SysResult {
    lwp::park_for(&mut Timespec {
        tv_sec: 0,
        tv_nsec: 1,
    })
}

/// The same where there is to be none; see [`lwp::tokenless`].
///
/// # Errors
/// Always.
pub fn peek_in_vain() -> SysResult {
    lwp::tokenless(peek)
}

/// That the caller has a token; it is gone then.
pub fn has_token() -> bool {
    peek() == Err(Errno::EALREADY)
}

/// That it has none.
pub fn lacks_token() -> bool {
    peek_in_vain() == Err(Errno::ETIMEDOUT)
}

/// An LWP that computes until `stop` is set, and counts in `count`.
///
/// # Errors
/// If it does not begin.
pub fn spinning(stop: &'static Word, count: &'static Word) -> Result<Task<()>, Fail> {
    let task = spawn(|| {
        while stop.get() == 0 {
            count.add();
        }
    });
    count.wait(1)?;
    Ok(task)
}

/// An LWP in a `nanosleep(2)` of a minute: the result, and what was left.
///
/// # Errors
/// If it does not get there.
pub fn sleeping() -> Result<Task<(SysResult, Timespec)>, Fail> {
    let task = spawn(|| {
        let mut left = Timespec::ZERO;
        let result = time::nanosleep(time::timespec(60 * time::SECOND), Some(&mut left));
        (result, left)
    });
    sysctl::until_sleeping(task.lid)?;
    Ok(task)
}

/// Two broadcasts on the process' LWP condition variable: an LWP that exits, and is reaped.
///
/// # Errors
/// Those of `_lwp_wait(2)`.
pub fn pulse() -> Verdict {
    spawn(|| ()).join()?;
    Ok(())
}

/// That a counter stands still while others run: the process gives up the CPU many times.
///
/// # Errors
/// If it moved.
pub fn stands_still(count: &Word) -> Verdict {
    let before = count.get();
    for _ in 0..1000 {
        crate::sync::yield_now();
    }
    crate::ensure_eq!(count.get(), before);
    Ok(())
}

/// That a counter moves.
///
/// # Errors
/// If it does not.
pub fn moves(count: &Word) -> Verdict {
    let before = count.get();
    crate::sync::until("a counter that moves", || count.get() != before)?;
    Ok(())
}
