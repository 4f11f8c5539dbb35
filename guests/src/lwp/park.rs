//! Park and unpark: L-041 to L-100.

use core::sync::atomic::Ordering;
use rt::abi::lwp::{L_SINTR, LwpId, LwpState};
use rt::abi::nr::{SYS_COMPAT_50__LWP_PARK, SYS_COMPAT_60__LWP_PARK};
use rt::abi::signal::{SaFlags, Siginfo, Signo};
use rt::abi::time::{
    CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_THREAD_CPUTIME_ID, TIMER_ABSTIME, Timespec,
};
use rt::abi::ucontext::Ucontext;
use rt::check::{By, Check, Fail, Verdict, is_relaxed, times};
use rt::lwp::{self, NOBODY, Task, again, park_for, park_until, spawn, tokenless};
use rt::process::{self, in_child};
use rt::scene::{has_token, lacks_token, parked, parked_twice, peek, peek_in_vain};
use rt::sync::{Turn, Word};
use rt::time::{self, MS, SECOND, now, timespec};
use rt::{Errno, SysResult, ensure, ensure_eq, ensure_err, scene, sig, sys, sysctl, vm};

pub(crate) const CHECKS: &[Check] = &[
    ("L-041", unpark_makes_park_return),
    ("L-042", unpark_before_park_is_kept),
    ("L-043", two_unparks_leave_one_token),
    ("L-044", unpark_of_oneself),
    ("L-045", unpark_of_a_zombie),
    ("L-046", unpark_of_nobody),
    ("L-047", unpark_of_another_process),
    ("L-048", unpark_does_not_end_nanosleep),
    ("L-049", hints_do_not_matter),
    ("L-050", hints_may_be_bad_addresses),
    ("L-051", relative_timeout),
    ("L-052", nothing_is_left_after_the_timeout),
    ("L-053", rest_is_written_back),
    ("L-054", rest_is_written_back_after_a_signal),
    ("L-055", absolute_time_is_not_touched),
    ("L-056", deadline_in_the_past),
    ("L-057", absolute_deadline),
    ("L-058", no_time_at_all),
    ("L-059", negative_time),
    ("L-060", bad_nanoseconds),
    ("L-061", unknown_clock),
    ("L-062", clock_without_a_time),
    ("L-063", clocks_for_timers_only),
    ("L-064", clock_of_nobody),
    ("L-065", unknown_flags),
    ("L-066", time_that_is_not_there),
    ("L-067", time_that_cannot_be_written),
    ("L-068", expired_deadline_keeps_the_token),
    ("L-069", bad_time_keeps_the_token),
    ("L-070", unpark_and_park),
    ("L-071", unpark_of_nobody_and_park),
    ("L-072", unpark_comes_before_the_time),
    ("L-073", unpark_of_oneself_and_park),
    ("L-074", unpark_of_zero_and_park),
    ("L-075", signal_ends_park),
    ("L-076", park_is_not_restarted),
    ("L-077", blocked_signal_does_not_end_park),
    ("L-078", handler_leaves_no_trace),
    ("L-079", token_survives_a_handler),
    ("L-080", ignored_signal_does_not_end_park),
    ("L-081", no_unpark_is_lost),
    ("L-082", stopped_and_continued),
    ("L-083", suspended_park_returns_0),
    ("L-084", unpark_while_suspended),
    ("L-085", old_form),
    ("L-086", old_form_without_a_time),
    ("L-087", oldest_form),
    ("L-088", how_many_at_once),
    ("L-089", none_at_once),
    ("L-090", too_many_at_once),
    ("L-091", list_that_is_not_there),
    ("L-092", all_wake),
    ("L-093", nobody_in_the_middle),
    ("L-094", twice_in_the_list),
    ("L-095", caller_in_the_list),
    ("L-096", running_lwp_in_the_list),
    ("L-097", no_count),
    ("L-098", one_nanosecond),
    ("L-099", signal_and_unpark_together),
    ("L-100", what_sysctl_shows),
];

const NO_ONE: LwpId = LwpId::new(0);

/// The plain call, with everything in its hands.
fn park_raw(clock: i32, flags: i32, ts: u64, wake: LwpId, hint: u64, other: u64) -> SysResult {
    sys!(SYS_LWP_PARK60, clock, flags, ts, wake, hint, other)
}

/// Unparks a parked LWP, which must see it.
fn release(task: Task<SysResult>) -> Verdict {
    lwp::unpark(task.lid)?;
    ensure_eq!(task.join()?, Ok(0));
    Ok(())
}

fn unpark_makes_park_return() -> Verdict {
    let task = parked()?;
    ensure_eq!(lwp::unpark(task.lid), Ok(0));
    ensure_eq!(task.join()?, Ok(0));
    Ok(())
}

fn unpark_before_park_is_kept() -> Verdict {
    static GO: Word = Word::new();
    let task = spawn(|| {
        GO.spin(1);
        (lwp::park(), peek_in_vain())
    });
    lwp::unpark(task.lid)?;
    GO.set(1);
    ensure_eq!(task.join()?, (Err(Errno::EALREADY), Err(Errno::ETIMEDOUT)));
    Ok(())
}

fn two_unparks_leave_one_token() -> Verdict {
    lwp::unpark(lwp::me())?;
    lwp::unpark(lwp::me())?;
    ensure_err!(lwp::park(), EALREADY);
    ensure_err!(peek_in_vain(), ETIMEDOUT);
    Ok(())
}

fn unpark_of_oneself() -> Verdict {
    ensure_eq!(lwp::unpark(lwp::me()), Ok(0));
    ensure_err!(lwp::park(), EALREADY);
    ensure!(lacks_token());
    Ok(())
}

fn unpark_of_a_zombie() -> Verdict {
    let task = scene::zombie()?;
    ensure_err!(lwp::unpark(task.lid), ESRCH);
    task.join()?;
    ensure_err!(lwp::unpark(task.lid), ESRCH);
    Ok(())
}

fn unpark_of_nobody() -> Verdict {
    for lid in [
        NOBODY,
        NO_ONE,
        LwpId::new(-1),
        LwpId::new(i32::MIN),
        LwpId::new(i32::MAX),
    ] {
        ensure_err!(lwp::unpark(lid), ESRCH);
    }
    Ok(())
}

fn unpark_of_another_process() -> Verdict {
    let (own, task) = (lwp::me(), parked()?);
    let status = in_child(|| {
        let known = [own, task.lid].map(|lid| lwp::unpark(lid) != Err(Errno::ESRCH));
        i32::from(known[0]) + 2 * i32::from(known[1])
    })?;
    ensure_eq!(status.code(), Some(0));
    release(task)
}

fn unpark_does_not_end_nanosleep() -> Verdict {
    let task = spawn(|| {
        let start = now();
        let slept = time::nanosleep(timespec(100 * MS), None);
        (slept, now() - start, peek())
    });
    sysctl::until_sleeping(task.lid)?;
    lwp::unpark(task.lid)?;
    let (slept, took, token) = task.join()?;
    ensure_eq!((slept, token), (Ok(0), Err(Errno::EALREADY)));
    ensure!(took >= 100 * MS, "{took} ns");
    Ok(())
}

fn hints_do_not_matter() -> Verdict {
    let task = spawn(|| again(|| park_raw(0, 0, 0, NO_ONE, 0x1000, 0)));
    sysctl::until_parked(task.lid)?;
    sys!(SYS_LWP_UNPARK, task.lid, 0x2000)?;
    ensure_eq!(task.join()?, Ok(0));
    Ok(())
}

fn hints_may_be_bad_addresses() -> Verdict {
    let task = spawn(|| again(|| park_raw(0, 0, 0, NO_ONE, 1, u64::MAX)));
    sysctl::until_parked(task.lid)?;
    sys!(SYS_LWP_UNPARK, task.lid, u64::MAX)?;
    ensure_eq!(task.join()?, Ok(0));
    ensure_eq!(sys!(SYS_LWP_UNPARK_ALL, &[lwp::me().raw()], 1, 1), Ok(0));
    Ok(())
}

fn relative_timeout() -> Verdict {
    for clock in [CLOCK_REALTIME, CLOCK_MONOTONIC] {
        for limit in [MS, 30 * MS] {
            let start = now();
            let park = || park_until(clock, 0, Some(&mut timespec(limit)), NO_ONE);
            ensure_err!(tokenless(park), ETIMEDOUT);
            ensure!(now() - start >= limit);
        }
    }
    Ok(())
}

fn nothing_is_left_after_the_timeout() -> Verdict {
    let mut ts = timespec(20 * MS);
    ensure_err!(tokenless(|| park_for(&mut ts)), ETIMEDOUT);
    ensure_eq!(ts, Timespec::ZERO);
    Ok(())
}

/// That what is left of a second is a time, and not more than a second and a tick.
fn plausible_rest(ts: Timespec) -> Verdict {
    ensure!(ts.has_valid_nsec() && ts.tv_sec >= -1);
    ensure!(
        ts != Timespec::ZERO && time::nanos(ts) <= SECOND + 20 * MS,
        "{ts:?}"
    );
    Ok(())
}

fn rest_is_written_back() -> Verdict {
    let task = spawn(|| {
        let mut ts = timespec(SECOND);
        (again(|| park_for(&mut ts)), ts)
    });
    sysctl::until_parked(task.lid)?;
    lwp::unpark(task.lid)?;
    let (result, left) = task.join()?;
    ensure_eq!(result, Ok(0));
    plausible_rest(left)
}

/// How often [`count`] ran.
static HANDLED: Word = Word::new();

extern "C" fn count(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
    HANDLED.add();
}

fn rest_is_written_back_after_a_signal() -> Verdict {
    sig::catch(Signo::SIGUSR1, count, SaFlags::empty())?;
    let task = spawn(|| {
        let mut ts = timespec(SECOND);
        (again(|| park_for(&mut ts)), ts)
    });
    sysctl::until_parked(task.lid)?;
    lwp::kill(task.lid, Signo::SIGUSR1.raw())?;
    let (result, left) = task.join()?;
    ensure_err!(result, EINTR);
    ensure_eq!(HANDLED.get(), 1);
    plausible_rest(left)
}

/// A deadline on a clock.
fn deadline(clock: i32, after: u64) -> Result<Timespec, Errno> {
    Ok(timespec(time::nanos(time::gettime(clock)?) + after))
}

fn absolute_time_is_not_touched() -> Verdict {
    let task = spawn(|| {
        let want = deadline(CLOCK_MONOTONIC, 5 * SECOND)?;
        let mut ts = want;
        again(|| park_until(CLOCK_MONOTONIC, TIMER_ABSTIME, Some(&mut ts), NO_ONE))?;
        Ok::<_, Errno>(ts == want)
    });
    sysctl::until_parked(task.lid)?;
    lwp::unpark(task.lid)?;
    ensure_eq!(task.join()?, Ok(true));
    let want = deadline(CLOCK_MONOTONIC, 20 * MS)?;
    let mut ts = want;
    let park = || park_until(CLOCK_MONOTONIC, TIMER_ABSTIME, Some(&mut ts), NO_ONE);
    ensure_err!(tokenless(park), ETIMEDOUT);
    ensure_eq!(ts, want);
    Ok(())
}

fn deadline_in_the_past() -> Verdict {
    let mut ts = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    ensure_err!(
        park_until(CLOCK_REALTIME, TIMER_ABSTIME, Some(&mut ts), NO_ONE),
        ETIMEDOUT
    );
    let mut ts = Timespec {
        tv_sec: i64::MIN,
        tv_nsec: 0,
    };
    let result = park_until(CLOCK_REALTIME, TIMER_ABSTIME, Some(&mut ts), NO_ONE);
    ensure!(
        matches!(result, Err(Errno::ETIMEDOUT | Errno::EINVAL)),
        "{result:?}"
    );
    Ok(())
}

fn absolute_deadline() -> Verdict {
    for clock in [CLOCK_MONOTONIC, CLOCK_REALTIME] {
        let mut ts = deadline(clock, 100 * MS)?;
        let park = || park_until(clock, TIMER_ABSTIME, Some(&mut ts), NO_ONE);
        ensure_err!(tokenless(park), ETIMEDOUT);
        ensure!(time::gettime(clock)? >= ts);
    }
    Ok(())
}

fn no_time_at_all() -> Verdict {
    let mut ts = Timespec::ZERO;
    ensure_err!(park_for(&mut ts), ETIMEDOUT);
    Ok(())
}

fn negative_time() -> Verdict {
    let mut ts = Timespec {
        tv_sec: -1,
        tv_nsec: 0,
    };
    ensure_err!(park_for(&mut ts), ETIMEDOUT);
    ensure_eq!(
        ts,
        Timespec {
            tv_sec: -1,
            tv_nsec: 0
        }
    );
    Ok(())
}

fn bad_nanoseconds() -> Verdict {
    for tv_nsec in [-1, 1_000_000_000, i64::MIN, i64::MAX] {
        for flags in [0, TIMER_ABSTIME] {
            let mut ts = Timespec { tv_sec: 0, tv_nsec };
            ensure_err!(
                park_until(CLOCK_MONOTONIC, flags, Some(&mut ts), NO_ONE),
                EINVAL
            );
            ensure_eq!(ts, Timespec { tv_sec: 0, tv_nsec });
        }
    }
    Ok(())
}

fn unknown_clock() -> Verdict {
    for flags in [0, TIMER_ABSTIME] {
        for clock in [99, -1, 4, i32::MIN] {
            let mut ts = timespec(MS);
            ensure_err!(park_until(clock, flags, Some(&mut ts), NO_ONE), EINVAL);
        }
    }
    Ok(())
}

fn clock_without_a_time() -> Verdict {
    let task = spawn(|| again(|| park_until(99, -1, None, NO_ONE)));
    sysctl::until_parked(task.lid)?;
    release(task)
}

fn clocks_for_timers_only() -> Verdict {
    for clock in [1, 2] {
        ensure_err!(
            park_until(clock, 0, Some(&mut timespec(MS)), NO_ONE),
            EINVAL
        );
    }
    Ok(())
}

fn clock_of_nobody() -> Verdict {
    let clock = CLOCK_THREAD_CPUTIME_ID | NOBODY.raw();
    let result = park_until(clock, 0, Some(&mut timespec(MS)), NO_ONE);
    ensure!(
        matches!(result, Err(Errno::ESRCH | Errno::EINVAL)),
        "{result:?}"
    );
    Ok(())
}

fn unknown_flags() -> Verdict {
    let mut ts = timespec(10 * MS);
    let park = || park_until(CLOCK_MONOTONIC, 0x80, Some(&mut ts), NO_ONE);
    ensure_err!(tokenless(park), ETIMEDOUT);
    ensure_eq!(ts, Timespec::ZERO);
    Ok(())
}

fn time_that_is_not_there() -> Verdict {
    let task = parked()?;
    for at in [vm::NOWHERE, u64::MAX - 7, 1 << 63] {
        ensure_err!(park_raw(CLOCK_MONOTONIC, 0, at, task.lid, 0, 0), EFAULT);
    }
    ensure!(sysctl::is_in(task.lid, LwpState::Sleep));
    release(task)
}

fn time_that_cannot_be_written() -> Verdict {
    let page = vm::map(vm::PAGE)?;
    // SAFETY: a fresh mapping.
    unsafe { page.ptr::<Timespec>(0).write(timespec(10 * MS)) };
    vm::mprotect(page.base, page.len, vm::PROT_READ)?;
    let park = || park_raw(CLOCK_MONOTONIC, 0, page.base, NO_ONE, 0, 0);
    ensure_err!(tokenless(park), ETIMEDOUT);
    Ok(())
}

fn expired_deadline_keeps_the_token() -> Verdict {
    for (flags, tv_sec) in [(TIMER_ABSTIME, 1), (0, 0), (0, -1)] {
        lwp::unpark(lwp::me())?;
        let mut ts = Timespec { tv_sec, tv_nsec: 0 };
        ensure_err!(
            park_until(CLOCK_REALTIME, flags, Some(&mut ts), NO_ONE),
            ETIMEDOUT
        );
        ensure!(has_token());
    }
    Ok(())
}

fn bad_time_keeps_the_token() -> Verdict {
    lwp::unpark(lwp::me())?;
    let mut ts = Timespec {
        tv_sec: 0,
        tv_nsec: -1,
    };
    ensure_err!(park_for(&mut ts), EINVAL);
    ensure!(has_token());
    Ok(())
}

/// What a park that wakes another gave, or, if it came back early, one that wakes nobody.
fn unless_early(parked: SysResult) -> SysResult {
    match parked {
        Err(Errno::EALREADY) => lwp::rest(),
        result => result,
    }
}

fn unpark_and_park() -> Verdict {
    let other = parked()?;
    let task = spawn(move || unless_early(park_until(CLOCK_REALTIME, 0, None, other.lid)));
    ensure_eq!(other.join()?, Ok(0));
    sysctl::until_parked(task.lid)?;
    release(task)
}

fn unpark_of_nobody_and_park() -> Verdict {
    for lid in [NOBODY, LwpId::new(-1)] {
        let mut ts = timespec(SECOND);
        ensure_err!(park_until(CLOCK_MONOTONIC, 0, Some(&mut ts), lid), ESRCH);
        ensure_eq!(ts, timespec(SECOND));
    }
    // Comes before the time is judged.
    let mut ts = Timespec {
        tv_sec: 0,
        tv_nsec: -1,
    };
    ensure_err!(park_until(99, 0, Some(&mut ts), NOBODY), ESRCH);
    Ok(())
}

fn unpark_comes_before_the_time() -> Verdict {
    let task = parked()?;
    let mut ts = Timespec {
        tv_sec: 0,
        tv_nsec: -1,
    };
    ensure_err!(
        park_until(CLOCK_MONOTONIC, 0, Some(&mut ts), task.lid),
        EINVAL
    );
    ensure_eq!(task.join()?, Ok(0));
    Ok(())
}

fn unpark_of_oneself_and_park() -> Verdict {
    let task = spawn(|| {
        let first = park_until(CLOCK_REALTIME, 0, None, lwp::me());
        (first, lwp::rest())
    });
    sysctl::until_parked(task.lid)?;
    lwp::unpark(task.lid)?;
    ensure_eq!(task.join()?, (Err(Errno::EALREADY), Ok(0)));
    Ok(())
}

fn unpark_of_zero_and_park() -> Verdict {
    let others = [parked()?, parked()?];
    let task = spawn(|| again(|| park_until(CLOCK_REALTIME, 0, None, NO_ONE)));
    sysctl::until_parked(task.lid)?;
    for other in others {
        ensure!(sysctl::is_in(other.lid, LwpState::Sleep));
    }
    ensure!(lacks_token());
    release(task)
}

/// An LWP is parked; SIGUSR1 with these flags ends it.
fn signalled(flags: SaFlags) -> Verdict {
    sig::catch(Signo::SIGUSR1, count, flags)?;
    let task = spawn(|| (lwp::rest(), HANDLED.get()));
    sysctl::until_parked(task.lid)?;
    lwp::kill(task.lid, Signo::SIGUSR1.raw())?;
    ensure_eq!(task.join()?, (Err(Errno::EINTR), 1));
    Ok(())
}

fn signal_ends_park() -> Verdict {
    signalled(SaFlags::empty())
}

fn park_is_not_restarted() -> Verdict {
    signalled(SaFlags::RESTART)
}

fn blocked_signal_does_not_end_park() -> Verdict {
    sig::catch(Signo::SIGUSR1, count, SaFlags::empty())?;
    let task = spawn(|| {
        sig::block(Signo::SIGUSR1)?;
        lwp::kill(lwp::me(), Signo::SIGUSR1.raw())?;
        lwp::rest()
    });
    sysctl::until_parked(task.lid)?;
    lwp::kill(task.lid, Signo::SIGUSR1.raw())?;
    ensure!(sysctl::is_in(task.lid, LwpState::Sleep));
    release(task)?;
    ensure_eq!(HANDLED.get(), 0);
    Ok(())
}

fn handler_leaves_no_trace() -> Verdict {
    sig::catch(Signo::SIGUSR1, count, SaFlags::empty())?;
    let task = spawn(|| {
        lwp::kill(lwp::me(), Signo::SIGUSR1.raw())?;
        lwp::rest()
    });
    sysctl::until_parked(task.lid)?;
    release(task)?;
    ensure_eq!(HANDLED.get(), 1);
    Ok(())
}

fn token_survives_a_handler() -> Verdict {
    sig::catch(Signo::SIGUSR1, count, SaFlags::empty())?;
    lwp::unpark(lwp::me())?;
    lwp::kill(lwp::me(), Signo::SIGUSR1.raw())?;
    ensure_eq!(HANDLED.get(), 1);
    ensure_err!(lwp::park(), EALREADY);
    Ok(())
}

fn ignored_signal_does_not_end_park() -> Verdict {
    sig::ignore(Signo::SIGUSR1)?;
    let task = parked()?;
    for signo in [Signo::SIGUSR1, Signo::SIGCHLD, Signo::SIGWINCH] {
        lwp::kill(task.lid, signo.raw())?;
        process::kill(process::pid(), signo.raw())?;
    }
    for _ in 0..100 {
        rt::sync::yield_now();
    }
    ensure!(sysctl::is_in(task.lid, LwpState::Sleep));
    release(task)
}

fn no_unpark_is_lost() -> Verdict {
    static TURN: Turn = Turn::new();
    const ROUNDS: u32 = 100_000;
    let main = lwp::me();
    let task = spawn(move || {
        for _ in 0..times(ROUNDS) {
            TURN.take(1);
            TURN.give(0, main);
        }
    });
    for _ in 0..times(ROUNDS) {
        TURN.give(1, task.lid);
        TURN.take(0);
    }
    task.join()?;
    Ok(())
}

fn stopped_and_continued() -> Verdict {
    let stage = vm::map_shared(vm::PAGE)?.shared::<Word>();
    let child = process::spawn_child(|| {
        let Ok(task) = parked() else { return 2 };
        stage.set(1);
        if stage.wait(2).is_err() {
            return 3;
        }
        // Still parked, or ended by the stop: 0 either way.
        let _ = lwp::unpark(task.lid);
        i32::from(task.join() != Ok(Ok(0)))
    })?;
    stage.wait(1)?;
    process::kill(child, Signo::SIGSTOP.raw())?;
    let (_, status) = process::wait4(child, process::WUNTRACED)?;
    ensure_eq!(status.stopped(), Some(Signo::SIGSTOP.raw()));
    process::kill(child, Signo::SIGCONT.raw())?;
    stage.set(2);
    ensure_eq!(process::wait(child)?.code(), Some(0));
    Ok(())
}

fn suspended_park_returns_0() -> Verdict {
    let task = parked_twice(peek_in_vain)?;
    lwp::suspend(task.lid)?;
    ensure!(sysctl::is_in(task.lid, LwpState::Suspended));
    lwp::resume(task.lid)?;
    ensure_eq!(task.join()?, (Ok(0), Err(Errno::ETIMEDOUT)));
    Ok(())
}

fn unpark_while_suspended() -> Verdict {
    let task = parked_twice(peek)?;
    lwp::suspend(task.lid)?;
    lwp::unpark(task.lid)?;
    lwp::resume(task.lid)?;
    ensure_eq!(task.join()?, (Ok(0), Err(Errno::EALREADY)));
    Ok(())
}

fn old_form() -> Verdict {
    let want = deadline(CLOCK_REALTIME, 20 * MS)?;
    let mut ts = want;
    let a = sys::args([sys::Arg::arg(&mut ts)]);
    let park = || sys::call::<{ SYS_COMPAT_60__LWP_PARK }>(a);
    ensure_err!(tokenless(park), ETIMEDOUT);
    ensure_eq!(ts, want);
    ensure!(time::gettime(CLOCK_REALTIME)? >= want);
    lwp::unpark(lwp::me())?;
    let mut ts = deadline(CLOCK_REALTIME, SECOND)?;
    let a = sys::args([sys::Arg::arg(&mut ts)]);
    ensure_err!(sys::call::<{ SYS_COMPAT_60__LWP_PARK }>(a), EALREADY);
    ensure_err!(
        sys::call::<{ SYS_COMPAT_60__LWP_PARK }>([vm::NOWHERE, 0, 0, 0, 0, 0]),
        EFAULT
    );
    Ok(())
}

fn old_form_without_a_time() -> Verdict {
    let other = parked()?;
    let wake = sys::Arg::arg(other.lid);
    let task = spawn(move || {
        unless_early(sys::call::<{ SYS_COMPAT_60__LWP_PARK }>([
            0, wake, 0, 0, 0, 0,
        ]))
    });
    ensure_eq!(other.join()?, Ok(0));
    sysctl::until_parked(task.lid)?;
    release(task)
}

fn oldest_form() -> Verdict {
    let want = deadline(CLOCK_REALTIME, 20 * MS)?;
    // Seconds of 32 bits; the other half of the word is garbage.
    let old = [(want.tv_sec & 0xffff_ffff) | 0x5a5a << 32, want.tv_nsec];
    let a = sys::args([sys::Arg::arg(&old)]);
    let park = || sys::call::<{ SYS_COMPAT_50__LWP_PARK }>(a);
    ensure_err!(tokenless(park), ETIMEDOUT);
    ensure!(time::gettime(CLOCK_REALTIME)? >= want);
    Ok(())
}

fn how_many_at_once() -> Verdict {
    for n in [0, 1, 1024, 1025, u64::MAX] {
        ensure_eq!(sys!(SYS_LWP_UNPARK_ALL, 0, n, 0), Ok(1024));
    }
    Ok(())
}

fn none_at_once() -> Verdict {
    ensure_err!(sys!(SYS_LWP_UNPARK_ALL, &[0_i32], 0, 0), EINVAL);
    ensure_err!(sys!(SYS_LWP_UNPARK_ALL, vm::NOWHERE, 0, 0), EINVAL);
    Ok(())
}

fn too_many_at_once() -> Verdict {
    static LIDS: [LwpId; 1024] = [NOBODY; 1024];
    ensure_err!(lwp::unpark_all(&LIDS), ESRCH);
    ensure_err!(sys!(SYS_LWP_UNPARK_ALL, &LIDS, 1025, 0), EINVAL);
    ensure_err!(sys!(SYS_LWP_UNPARK_ALL, vm::NOWHERE, 1025, 0), EINVAL);
    Ok(())
}

fn list_that_is_not_there() -> Verdict {
    let task = parked()?;
    ensure_err!(sys!(SYS_LWP_UNPARK_ALL, vm::NOWHERE, 1, 0), EFAULT);
    // The list begins in a good page and goes on behind it.
    let page = vm::map(2 * vm::PAGE)?;
    vm::munmap(page.base + 4096, vm::PAGE)?;
    let at = page.base + 4092;
    // SAFETY: the last word of the page that is left.
    unsafe { vm::pointer::<LwpId>(at).write(task.lid) };
    ensure_err!(sys!(SYS_LWP_UNPARK_ALL, at, 2, 0), EFAULT);
    ensure!(sysctl::is_in(task.lid, LwpState::Sleep));
    ensure_eq!(sys!(SYS_LWP_UNPARK_ALL, at, 1, 0), Ok(0));
    ensure_eq!(task.join()?, Ok(0));
    Ok(())
}

/// Several parked LWPs that park again in the `second` way.
fn several<const N: usize>(
    second: fn() -> SysResult,
) -> Result<[Task<(SysResult, SysResult)>; N], Fail> {
    let tasks = core::array::from_fn(|_| spawn(move || (lwp::rest(), second())));
    for task in &tasks {
        sysctl::until_parked(task.lid)?;
    }
    Ok(tasks)
}

const WOKEN: (SysResult, SysResult) = (Ok(0), Err(Errno::ETIMEDOUT));

fn all_wake() -> Verdict {
    let tasks = several::<20>(peek_in_vain)?;
    ensure_eq!(lwp::unpark_all(&tasks.map(|t| t.lid)), Ok(0));
    for task in tasks {
        ensure_eq!(task.join()?, WOKEN);
    }
    Ok(())
}

fn nobody_in_the_middle() -> Verdict {
    let [a, b] = several::<2>(peek_in_vain)?;
    ensure_err!(lwp::unpark_all(&[a.lid, NOBODY, b.lid]), ESRCH);
    ensure_eq!((a.join()?, b.join()?), (WOKEN, WOKEN));
    Ok(())
}

fn twice_in_the_list() -> Verdict {
    let [task] = several::<1>(peek)?;
    ensure_eq!(lwp::unpark_all(&[task.lid, task.lid]), Ok(0));
    ensure_eq!(task.join()?, (Ok(0), Err(Errno::EALREADY)));
    Ok(())
}

fn caller_in_the_list() -> Verdict {
    ensure_eq!(lwp::unpark_all(&[lwp::me()]), Ok(0));
    ensure!(has_token() && lacks_token());
    Ok(())
}

fn running_lwp_in_the_list() -> Verdict {
    static GO: Word = Word::new();
    static RUNS: Word = Word::new();
    let task = spawn(|| {
        RUNS.set(1);
        GO.spin(1);
        (has_token(), lacks_token())
    });
    RUNS.wait(1)?;
    ensure_eq!(lwp::unpark_all(&[task.lid]), Ok(0));
    GO.set(1);
    ensure_eq!(task.join()?, (true, true));
    Ok(())
}

fn no_count() -> Verdict {
    let tasks = several::<3>(peek)?;
    let lids = [tasks[0].lid, tasks[1].lid, tasks[2].lid, lwp::me()];
    ensure_eq!(lwp::unpark_all(&lids), Ok(0));
    ensure_eq!(lwp::unpark_all(&[lwp::me(); 40]), Ok(0));
    Ok(())
}

fn one_nanosecond() -> Verdict {
    let start = now();
    ensure_err!(peek_in_vain(), ETIMEDOUT);
    ensure!(now() > start);
    Ok(())
}

fn signal_and_unpark_together() -> Verdict {
    sig::catch(Signo::SIGUSR1, count, SaFlags::empty())?;
    for round in 0..100 {
        let task = parked_twice(peek)?;
        let second = if round % 2 == 0 {
            lwp::unpark(task.lid)?;
            lwp::kill(task.lid, Signo::SIGUSR1.raw())
        } else {
            lwp::kill(task.lid, Signo::SIGUSR1.raw())?;
            lwp::unpark(task.lid)
        };
        // After the first it goes its way, and may have come to its end.
        ensure!(matches!(second, Ok(_) | Err(Errno::ESRCH)), "{second:?}");
        let (first, second) = task.join()?;
        ensure!(matches!(first, Ok(0) | Err(Errno::EINTR)), "{first:?}");
        let (woken, token) = (first == Ok(0), second == Err(Errno::EALREADY));
        ensure!(
            !(woken && token) || is_relaxed(By::Park),
            "woken, and a token besides"
        );
    }
    HANDLED.atomic().store(0, Ordering::Relaxed);
    Ok(())
}

fn what_sysctl_shows() -> Verdict {
    let task = parked()?;
    let Some(info) = sysctl::lwp(task.lid) else {
        return Err(Fail::new(format_args!("no record")));
    };
    ensure_eq!(
        (info.l_stat, sysctl::wmesg(&info)),
        (LwpState::Sleep.raw(), "parked")
    );
    ensure!(info.l_flag & L_SINTR != 0, "{:#x}", info.l_flag);
    ensure_eq!(info.l_pid.cast_signed(), process::pid());
    release(task)
}
