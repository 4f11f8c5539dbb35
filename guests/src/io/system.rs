//! sysctl, limits, clocks and sleeping: what Go's runtime and C libraries ask for at start.

use rt::abi::nr::SYS_CLOCK_NANOSLEEP;
use rt::abi::resource::Rlimit;
use rt::abi::time::{
    CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_REALTIME, CLOCK_THREAD_CPUTIME_ID,
    ITIMER_REAL, Itimerval, TIMER_ABSTIME, Timespec, Timeval,
};
use rt::check::{Check, Verdict};
use rt::sys::Arg as _;
use rt::time::{MS, SECOND, gettime, nanos, now, timespec};
use rt::{Errno, ensure, ensure_eq, ensure_err, process, sys, sysctl, vm};

pub(crate) const CHECKS: &[Check] = &[
    ("sysctl/numbers", numbers),
    ("sysctl/strings", strings),
    ("sysctl/rules", rules),
    ("sysctl/arandom", random_bytes),
    ("sysctl/pathname", pathname),
    ("sysctl/query", query),
    ("rlimit", limits),
    ("clock/monotonic", monotonic),
    ("clock/errors", clock_errors),
    ("clock/cpu", cpu_time),
    ("clock/resolution", resolution),
    ("nanosleep", sleeps),
    ("nanosleep/errors", sleep_errors),
    ("clock_nanosleep", sleeps_until),
    ("itimer", interval_timers),
    ("getrandom", getrandom),
    ("ids", ids),
    ("rusage", usage),
];

fn numbers() -> Verdict {
    ensure!(sysctl::int(&[6, 3])? >= 1);
    ensure_eq!(sysctl::int(&[6, 16])?, sysctl::int(&[6, 3])?);
    ensure_eq!(sysctl::int(&[6, 7])?, 4096);
    ensure_eq!(sysctl::int(&[1, 3])?, 1_001_000_000);
    ensure_eq!(sysctl::int(&[1, 8])?, 262_144);
    ensure_eq!(sysctl::int(&[1, 18])?, 16);
    let mut clockrate = [0; 20];
    ensure_eq!(sysctl::read(&[1, 12], &mut clockrate)?, 20);
    ensure_eq!(clockrate[..4], 100_i32.to_le_bytes());
    Ok(())
}

/// That a string is what is wanted, with its NUL.
fn is(mib: &[i32], want: &[u8]) -> Verdict {
    let mut buf = [0; 64];
    let len = sysctl::read(mib, &mut buf)?;
    ensure!(&buf[..len] == want, "{:?}", str::from_utf8(&buf[..len]));
    Ok(())
}

fn strings() -> Verdict {
    is(&[1, 1], b"NetBSD\0")?;
    is(&[1, 2], b"10.1\0")?;
    is(&[6, 1], b"amd64\0")?;
    is(&[6, 10], b"x86_64\0")
}

fn rules() -> Verdict {
    let mut len = 0;
    sysctl::sysctl(&[1, 1], 0, &mut len)?;
    ensure_eq!(len, 7);
    let mut buf = [0xee_u8; 8];
    let mut len = 3;
    ensure_err!(
        sysctl::sysctl(&[1, 1], buf.as_mut_ptr().arg(), &mut len),
        ENOMEM
    );
    ensure_eq!((len, &buf), (7, b"Net\xee\xee\xee\xee\xee"));
    ensure_err!(sysctl::read(&[1, 9999], &mut buf), ENOENT);
    ensure_err!(sysctl::read(&[1, 1, 5], &mut buf), ENOTDIR);
    ensure!(sysctl::read(&[], &mut buf).is_err());
    ensure_err!(sysctl::read(&[1; 13], &mut buf), EINVAL);
    ensure_err!(sys!(SYS_SYSCTL, vm::NOWHERE, 2, 0, 0, 0, 0), EFAULT);
    let mut len = 4;
    let new = 5_i32;
    ensure_err!(sys!(SYS_SYSCTL, &[6, 3], 2, 0, &mut len, &new, 4), EPERM);
    Ok(())
}

fn random_bytes() -> Verdict {
    let (mut a, mut b) = ([0; 64], [0; 64]);
    ensure_eq!(sysctl::read(&[1, 81], &mut a)?, 64);
    ensure_eq!(sysctl::read(&[1, 81], &mut b)?, 64);
    ensure!(a != b && a != [0; 64]);
    Ok(())
}

fn pathname() -> Verdict {
    let mut buf = [0; 1024];
    let len = sysctl::read(&[1, 48, -1, 5], &mut buf)?;
    ensure!(buf[0] == b'/' && buf[len - 1] == 0);
    let mut st = rt::abi::fs::Stat::default();
    ensure_eq!(sys!(SYS_STAT50, buf.as_ptr(), &mut st), Ok(0));
    Ok(())
}

/// The version in the flags of a sysctlnode.
const VERSION: u32 = 0x0100_0000;

fn query() -> Verdict {
    // Names to numbers, as Go and libc do it: the children of the root.
    let mut node = [0_u8; 96];
    node[..4].copy_from_slice(&VERSION.to_le_bytes());
    let mut nodes = [[0_u8; 96]; 64];
    let mut len = size_of_val(&nodes);
    sys!(
        SYS_SYSCTL,
        &[-2],
        1,
        nodes.as_mut_ptr(),
        &mut len,
        node.as_ptr(),
        96
    )?;
    let found = nodes[..len / 96]
        .iter()
        .find(|node| node[8..].starts_with(b"hw\0"));
    let Some(hw) = found else {
        return Err(rt::check::Fail::new(format_args!("no node hw")));
    };
    ensure_eq!(hw[4..8], 6_i32.to_le_bytes());
    ensure_eq!(
        u32::from_le_bytes([hw[0], hw[1], hw[2], hw[3]]) & 0xff00_000f,
        VERSION | 1
    );
    node[..4].fill(0);
    let refused = sys!(
        SYS_SYSCTL,
        &[-2],
        1,
        nodes.as_mut_ptr(),
        &mut len,
        node.as_ptr(),
        96
    );
    ensure_err!(refused, EINVAL);
    Ok(())
}

fn limits() -> Verdict {
    let mut limit = Rlimit::default();
    for resource in 0..12 {
        sys!(SYS_GETRLIMIT, resource, &mut limit)?;
        ensure!(limit.rlim_cur <= limit.rlim_max, "resource {resource}");
    }
    ensure_err!(sys!(SYS_GETRLIMIT, 12, &mut limit), EINVAL);
    ensure_err!(sys!(SYS_GETRLIMIT, 3, vm::NOWHERE), EFAULT);
    // As Go does with RLIMIT_NOFILE at start.
    sys!(SYS_GETRLIMIT, 8, &mut limit)?;
    let lower = Rlimit {
        rlim_cur: 64,
        ..limit
    };
    sys!(SYS_SETRLIMIT, 8, &lower)?;
    let mut now = Rlimit::default();
    sys!(SYS_GETRLIMIT, 8, &mut now)?;
    ensure_eq!(now, lower);
    ensure_err!(sys!(SYS_FCNTL, 1, 0, 64), EINVAL);
    ensure_eq!(sys!(SYS_SETRLIMIT, 8, &limit), Ok(0));
    Ok(())
}

fn monotonic() -> Verdict {
    let mut last = now();
    ensure!(last > 0);
    for _ in 0..10_000 {
        let next = now();
        ensure!(next >= last);
        last = next;
    }
    ensure!(gettime(CLOCK_REALTIME)?.tv_sec > 1_600_000_000);
    let mut tv = Timeval::ZERO;
    sys!(SYS_GETTIMEOFDAY50, &mut tv, 0)?;
    ensure!(tv.has_valid_usec() && (tv.tv_sec - gettime(CLOCK_REALTIME)?.tv_sec).abs() <= 1);
    Ok(())
}

fn clock_errors() -> Verdict {
    for clock in [1, 2, 99, -1] {
        ensure_err!(gettime(clock), EINVAL);
    }
    ensure_err!(
        sys!(SYS_CLOCK_GETTIME50, CLOCK_MONOTONIC, vm::NOWHERE),
        EFAULT
    );
    Ok(())
}

fn cpu_time() -> Verdict {
    for clock in [CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID] {
        let before = gettime(clock)?;
        rt::sync::until("CPU time", || gettime(clock).is_ok_and(|now| now > before))?;
    }
    Ok(())
}

fn resolution() -> Verdict {
    let mut res = Timespec::ZERO;
    for clock in [CLOCK_REALTIME, CLOCK_MONOTONIC] {
        sys!(SYS_CLOCK_GETRES50, clock, &mut res)?;
        ensure!(res.tv_sec == 0 && res.tv_nsec > 0);
        ensure_eq!(sys!(SYS_CLOCK_GETRES50, clock, 0), Ok(0));
    }
    ensure_err!(sys!(SYS_CLOCK_GETRES50, 1, &mut res), EINVAL);
    Ok(())
}

fn sleeps() -> Verdict {
    for length in [1, MS, 15 * MS] {
        let start = now();
        ensure_eq!(rt::time::nanosleep(timespec(length), None), Ok(0));
        ensure!(now() - start >= length);
    }
    Ok(())
}

fn sleep_errors() -> Verdict {
    for tv_nsec in [-1, 1_000_000_000] {
        let bad = Timespec { tv_sec: 0, tv_nsec };
        ensure_err!(rt::time::nanosleep(bad, None), EINVAL);
    }
    let past = Timespec {
        tv_sec: -1,
        tv_nsec: 0,
    };
    ensure_eq!(rt::time::nanosleep(past, None), Ok(0));
    ensure_err!(sys!(SYS_NANOSLEEP50, vm::NOWHERE, 0), EFAULT);
    Ok(())
}

fn sleeps_until() -> Verdict {
    let deadline = timespec(now() + 15 * MS);
    let sleep = |clock: i32, flags: i32, ts: &Timespec| {
        // The error is the value; carry stays clear.
        sys::raw::<{ SYS_CLOCK_NANOSLEEP }>(sys::args([clock.arg(), flags.arg(), ts.arg(), 0]))
    };
    let done = sleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline);
    ensure_eq!((done.carry, done.rax), (false, 0));
    ensure!(now() >= nanos(deadline));
    for (clock, ts) in [
        (99, timespec(1)),
        (
            CLOCK_MONOTONIC,
            Timespec {
                tv_sec: 0,
                tv_nsec: -1,
            },
        ),
    ] {
        let failed = sleep(clock, 0, &ts);
        ensure_eq!(
            (failed.carry, failed.rax),
            (false, Errno::EINVAL.raw().arg())
        );
    }
    Ok(())
}

fn interval_timers() -> Verdict {
    let second = Timeval {
        tv_sec: 60,
        tv_usec: 0,
        pad: 0,
    };
    let timer = Itimerval {
        it_interval: Timeval::ZERO,
        it_value: second,
    };
    let mut old = Itimerval::default();
    sys!(SYS_SETITIMER50, ITIMER_REAL, &timer, 0)?;
    sys!(
        SYS_SETITIMER50,
        ITIMER_REAL,
        &Itimerval::default(),
        &mut old
    )?;
    ensure!(
        (58..=60).contains(&old.it_value.tv_sec),
        "{:?}",
        old.it_value
    );
    sys!(SYS_GETITIMER50, ITIMER_REAL, &mut old)?;
    ensure_eq!((old.it_value.tv_sec, old.it_value.tv_usec), (0, 0));
    ensure_err!(sys!(SYS_GETITIMER50, 99, &mut old), EINVAL);
    let bad = Itimerval {
        it_value: Timeval {
            tv_usec: 1_000_000,
            ..second
        },
        ..timer
    };
    ensure_err!(sys!(SYS_SETITIMER50, ITIMER_REAL, &bad, 0), EINVAL);
    // An interval is a tick of 10 ms at least (`subr_time.c: itimespecfix`).
    let often = Itimerval {
        it_interval: Timeval {
            tv_sec: 0,
            tv_usec: 1,
            pad: 0,
        },
        ..timer
    };
    sys!(SYS_SETITIMER50, ITIMER_REAL, &often, 0)?;
    sys!(SYS_GETITIMER50, ITIMER_REAL, &mut old)?;
    let interval = old.it_interval;
    ensure_eq!((interval.tv_sec, interval.tv_usec), (0, 10_000));
    process::watchdog(20);
    Ok(())
}

fn getrandom() -> Verdict {
    let (mut a, mut b) = ([0_u8; 32], [0_u8; 32]);
    ensure_eq!(sys!(SYS_GETRANDOM, a.as_mut_ptr(), 32, 0), Ok(32));
    ensure_eq!(sys!(SYS_GETRANDOM, b.as_mut_ptr(), 32, 1), Ok(32));
    ensure!(a != b);
    ensure_err!(sys!(SYS_GETRANDOM, a.as_mut_ptr(), 32, 6), EINVAL);
    ensure_err!(sys!(SYS_GETRANDOM, vm::NOWHERE, 32, 0), EFAULT);
    Ok(())
}

fn ids() -> Verdict {
    let uid = sys::raw::<{ rt::abi::nr::SYS_GETUID }>([0; 6]);
    ensure_eq!(Ok(uid.rdx), sys!(SYS_GETEUID));
    let gid = sys::raw::<{ rt::abi::nr::SYS_GETGID }>([0; 6]);
    ensure_eq!(Ok(gid.rdx), sys!(SYS_GETEGID));
    ensure_eq!(sys!(SYS_ISSETUGID), Ok(0));
    ensure!(sys!(SYS_GETPGRP)? > 0);
    Ok(())
}

fn usage() -> Verdict {
    let mut usage = rt::abi::resource::Rusage::default();
    rt::sync::until("CPU time", || {
        sys!(SYS_GETRUSAGE50, 0, &mut usage).is_ok() && usage_nanos(&usage) > 0
    })?;
    ensure_err!(sys!(SYS_GETRUSAGE50, 5, &mut usage), EINVAL);
    ensure_err!(sys!(SYS_GETRUSAGE50, 0, vm::NOWHERE), EFAULT);
    Ok(())
}

/// The CPU time of a usage record.
fn usage_nanos(usage: &rt::abi::resource::Rusage) -> u64 {
    let of = |tv: Timeval| {
        let micros = u64::try_from(tv.tv_usec).unwrap_or(0);
        u64::try_from(tv.tv_sec).unwrap_or(0) * SECOND + micros * 1000
    };
    of(usage.ru_utime) + of(usage.ru_stime)
}
