//! poll(2), select(2) and their p-forms.

use crate::kqueue::{apply, change, kqueue};
use crate::socket::{pair, tcp, write};
use rt::abi::event::{EV_ADD, EVFILT_READ};
use rt::abi::poll::{POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLRDNORM, POLLWRNORM, Pollfd};
use rt::abi::signal::{SaFlags, SigSet, Signo};
use rt::abi::time::{Timespec, Timeval};
use rt::check::{Check, Verdict};
use rt::lwp::spawn;
use rt::process::{close, pipe};
use rt::time::{MS, now, timespec};
use rt::{SysResult, ensure, ensure_eq, ensure_err, sig, sys};

pub(crate) const CHECKS: &[Check] = &[
    ("poll-reports", reports),
    ("poll-bad-descriptors", bad_descriptors),
    ("poll-too-many", too_many),
    ("poll-timeout", timeout),
    ("poll-wakes", wakes),
    ("poll-hangup", hangup),
    ("poll-fresh-socket", fresh_socket),
    ("poll-kqueue", poll_kqueue),
    ("poll-is-not-restarted", is_not_restarted),
    ("pollts-mask", pollts_mask),
    ("pollts-bad-time", pollts_bad_time),
    ("select-sets", select_sets),
    ("select-errors", select_errors),
    ("select-wakes", select_wakes),
    ("pselect-does-not-write-the-time", pselect_time),
];

fn poll(fds: &mut [Pollfd], millis: i32) -> SysResult {
    sys!(SYS_POLL, fds.as_mut_ptr(), fds.len(), millis)
}

fn want(fd: i32, events: i16) -> Pollfd {
    Pollfd {
        fd,
        events,
        revents: 0x7fff,
    }
}

fn reports() -> Verdict {
    let (one, other) = pair()?;
    let mut fds = [
        want(one, POLLIN | POLLOUT),
        want(other, POLLIN),
        want(-1, POLLIN),
    ];
    ensure_eq!(poll(&mut fds, 0), Ok(1));
    ensure_eq!(fds.map(|each| each.revents), [POLLOUT, 0, 0]);
    write(one, b"x")?;
    let mut fds = [want(other, POLLIN | POLLRDNORM), want(one, POLLWRNORM)];
    ensure_eq!(poll(&mut fds, -1), Ok(2));
    ensure_eq!(
        fds.map(|each| each.revents),
        [POLLIN | POLLRDNORM, POLLWRNORM]
    );
    Ok(())
}

fn bad_descriptors() -> Verdict {
    let mut fds = [want(700, POLLIN), want(-7, POLLIN), want(0x1234_5678, 0)];
    ensure_eq!(poll(&mut fds, -1), Ok(2));
    ensure_eq!(fds.map(|each| each.revents), [POLLNVAL, 0, POLLNVAL]);
    ensure_err!(sys!(SYS_POLL, 8_u64, 1_u32, 0), EFAULT);
    Ok(())
}

fn too_many() -> Verdict {
    ensure_err!(sys!(SYS_POLL, 0_u64, u32::MAX, 0), EINVAL);
    ensure_eq!(sys!(SYS_POLL, 0_u64, 0_u32, 0), Ok(0));
    Ok(())
}

fn timeout() -> Verdict {
    let (one, _) = pair()?;
    let start = now();
    ensure_eq!(poll(&mut [want(one, POLLIN)], 20), Ok(0));
    ensure!((20 * MS..2000 * MS).contains(&(now() - start)));
    Ok(())
}

fn wakes() -> Verdict {
    let (one, other) = pair()?;
    let sleeper = spawn(move || poll(&mut [want(one, POLLIN)], -1));
    rt::scene::pulse()?;
    write(other, b"x")?;
    ensure_eq!(sleeper.join()?, Ok(1));
    Ok(())
}

fn hangup() -> Verdict {
    let (reader, writer) = pipe()?;
    close(writer)?;
    let mut fds = [want(reader, POLLIN)];
    ensure_eq!(poll(&mut fds, -1), Ok(1));
    ensure_eq!(fds[0].revents & POLLHUP, POLLHUP);
    let (reader, writer) = pipe()?;
    close(reader)?;
    let mut fds = [want(writer, POLLOUT)];
    ensure_eq!(poll(&mut fds, -1), Ok(1));
    ensure!(fds[0].revents & (POLLHUP | POLLERR) != 0);
    Ok(())
}

fn fresh_socket() -> Verdict {
    let mut fds = [want(tcp()?, POLLIN | POLLOUT)];
    ensure_eq!(poll(&mut fds, 0), Ok(0));
    Ok(())
}

fn poll_kqueue() -> Verdict {
    let (kq, (one, other)) = (kqueue()?, pair()?);
    apply(kq, &[change(one, EVFILT_READ, EV_ADD)])?;
    ensure_eq!(poll(&mut [want(kq, POLLIN)], 0), Ok(0));
    let sleeper = spawn(move || poll(&mut [want(kq, POLLIN)], -1));
    rt::scene::pulse()?;
    write(other, b"x")?;
    ensure_eq!(sleeper.join()?, Ok(1));
    Ok(())
}

extern "C" fn nothing(
    _: i32,
    _: &mut rt::abi::signal::Siginfo,
    _: &mut rt::abi::ucontext::Ucontext,
) {
}

fn is_not_restarted() -> Verdict {
    let (one, _) = pair()?;
    sig::catch(Signo::SIGUSR1, nothing, SaFlags::RESTART)?;
    let lid = rt::lwp::me();
    let other = spawn(move || {
        rt::scene::pulse().is_ok() && rt::lwp::kill(lid, Signo::SIGUSR1.raw()).is_ok()
    });
    ensure_err!(poll(&mut [want(one, POLLIN)], -1), EINTR);
    ensure!(other.join()?);
    Ok(())
}

fn pollts_mask() -> Verdict {
    let (one, _) = pair()?;
    sig::catch(Signo::SIGUSR1, nothing, SaFlags::empty())?;
    sig::block(Signo::SIGUSR1)?;
    let before = sig::mask();
    rt::process::kill(rt::process::pid(), Signo::SIGUSR1.raw())?;
    let fds = [want(one, POLLIN)];
    ensure_err!(
        sys!(SYS_POLLTS50, fds.as_ptr(), 1_u32, 0_u64, &SigSet::EMPTY),
        EINTR
    );
    ensure_eq!(sig::mask(), before);
    Ok(())
}

fn pollts_bad_time() -> Verdict {
    let bad = Timespec {
        tv_sec: 0,
        tv_nsec: -1,
    };
    ensure_err!(sys!(SYS_POLLTS50, 0_u64, 0_u32, &bad, 0_u64), EINVAL);
    ensure_err!(sys!(SYS_POLLTS50, 0_u64, 0_u32, 8_u64, 0_u64), EFAULT);
    ensure_eq!(
        sys!(SYS_POLLTS50, 0_u64, 0_u32, &Timespec::ZERO, 0_u64),
        Ok(0)
    );
    Ok(())
}

/// A set with these descriptors.
fn set(fds: &[i32]) -> [u32; 8] {
    let mut words = [0; 8];
    for fd in fds {
        words[usize::try_from(fd / 32).unwrap_or(0)] |= 1 << (fd % 32);
    }
    words
}

fn select(
    count: i32,
    read: &mut [u32; 8],
    write: &mut [u32; 8],
    time: Option<&Timeval>,
) -> SysResult {
    sys!(SYS_SELECT50, count, read, write, 0_u64, time)
}

fn select_sets() -> Verdict {
    let (one, other) = pair()?;
    write(one, b"x")?;
    let (mut read, mut write) = (set(&[one, other]), set(&[one]));
    ensure_eq!(
        select(one.max(other) + 1, &mut read, &mut write, None),
        Ok(2)
    );
    ensure_eq!((read, write), (set(&[other]), set(&[one])));
    let (mut read, mut write) = (set(&[one]), set(&[]));
    ensure_eq!(
        select(one + 1, &mut read, &mut write, Some(&Timeval::ZERO)),
        Ok(0)
    );
    ensure_eq!(read, set(&[]));
    Ok(())
}

fn select_errors() -> Verdict {
    let (mut read, mut write) = (set(&[200]), set(&[]));
    ensure_err!(select(201, &mut read, &mut write, None), EBADF);
    ensure_err!(select(-1, &mut read, &mut write, None), EINVAL);
    let bad = Timeval {
        tv_usec: 1_000_000,
        ..Timeval::ZERO
    };
    ensure_err!(select(0, &mut read, &mut write, Some(&bad)), EINVAL);
    ensure_err!(
        sys!(SYS_SELECT50, 64, 8_u64, 0_u64, 0_u64, &Timeval::ZERO),
        EFAULT
    );
    // Not below the count, not looked at.
    ensure_eq!(
        select(100, &mut read, &mut write, Some(&Timeval::ZERO)),
        Ok(0)
    );
    Ok(())
}

fn select_wakes() -> Verdict {
    let (one, other) = pair()?;
    let sleeper = spawn(move || select(one + 1, &mut set(&[one]), &mut set(&[]), None));
    rt::scene::pulse()?;
    write(other, b"x")?;
    ensure_eq!(sleeper.join()?, Ok(1));
    Ok(())
}

fn pselect_time() -> Verdict {
    let (one, _) = pair()?;
    let time = timespec(5 * MS);
    let mut read = set(&[one]);
    ensure_eq!(
        sys!(
            SYS_PSELECT50,
            one + 1,
            &mut read,
            0_u64,
            0_u64,
            &time,
            0_u64
        ),
        Ok(0)
    );
    ensure_eq!(time, timespec(5 * MS));
    Ok(())
}
