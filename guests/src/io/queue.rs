//! Kernel queues.

use super::sockets::listener;
use rt::abi::event::{
    EV_ADD, EV_CLEAR, EV_DELETE, EV_DISABLE, EV_DISPATCH, EV_ENABLE, EV_EOF, EV_ERROR, EV_ONESHOT,
    EV_RECEIPT, EVFILT_PROC, EVFILT_READ, EVFILT_SIGNAL, EVFILT_TIMER, EVFILT_USER, EVFILT_WRITE,
    Kevent, NOTE_EXIT, NOTE_FFCOPY, NOTE_TRIGGER,
};
use rt::abi::signal::Signo;
use rt::abi::time::Timespec;
use rt::check::{Check, Verdict};
use rt::lwp::spawn;
use rt::process::{self, close, low, pipe, read, write};
use rt::sys::Arg as _;
use rt::time::{MS, now, timespec};
use rt::{Errno, ensure, ensure_eq, ensure_err, sig, sys, sysctl, vm};

pub(crate) const CHECKS: &[Check] = &[
    ("kqueue/errors", errors),
    ("kqueue/level", level),
    ("kqueue/EV_CLEAR", edge),
    ("kqueue/EV_ONESHOT", once),
    ("kqueue/EV_DISPATCH", dispatch),
    ("kqueue/EV_DISABLE", disable),
    ("kqueue/EV_RECEIPT", receipt),
    ("kqueue/ENOENT", no_such_knote),
    ("kqueue/EV_EOF", end_of_file),
    ("kqueue/close", close_drops_the_knote),
    ("kqueue/write", writable),
    ("kqueue/wait", waits_for_data),
    ("kqueue/timeout", times_out),
    ("kqueue/timer", timer),
    ("kqueue/timer-oneshot", timer_once),
    ("kqueue/user", user),
    ("kqueue/signal", signal),
    ("kqueue/proc", process_exit),
    ("kqueue/listen", listening),
    ("kqueue/connect", connecting),
    ("kqueue/go", as_go_does),
    ("kqueue/fork", not_inherited),
];

fn kqueue() -> Result<i32, Errno> {
    sys!(SYS_KQUEUE).map(low)
}

fn change(ident: i32, filter: u32, flags: u32) -> Kevent {
    let ident = ident.arg();
    Kevent {
        ident,
        filter,
        flags,
        udata: 0x1234,
        ..Kevent::default()
    }
}

/// Applies changes, and asks for no events.
fn apply(kq: i32, changes: &[Kevent]) -> rt::SysResult {
    sys!(SYS_KEVENT50, kq, changes.as_ptr(), changes.len(), 0, 0, 0)
}

/// What is there now, up to 4 events.
fn poll(kq: i32) -> Result<([Kevent; 4], usize), Errno> {
    let mut events = [Kevent::default(); 4];
    let n = sys!(
        SYS_KEVENT50,
        kq,
        0,
        0,
        events.as_mut_ptr(),
        4,
        &Timespec::ZERO
    )?;
    Ok((events, usize::try_from(n).unwrap_or(0)))
}

/// How many events are there now.
fn pending(kq: i32) -> Result<usize, Errno> {
    Ok(poll(kq)?.1)
}

/// Waits for one event, 5 s at most.
fn next(kq: i32) -> Result<Kevent, Errno> {
    let mut event = Kevent::default();
    let limit = timespec(5000 * MS);
    match sys!(SYS_KEVENT50, kq, 0, 0, &mut event, 1, &limit)? {
        1 => Ok(event),
        _ => Err(Errno::ETIMEDOUT),
    }
}

fn errors() -> Verdict {
    let kq = kqueue()?;
    let (end, _) = pipe()?;
    ensure_err!(apply(end, &[]), EBADF);
    ensure_err!(apply(9999, &[]), EBADF);
    ensure_err!(apply(kq, &[change(end, 77, EV_ADD)]), EINVAL);
    ensure_err!(apply(kq, &[change(9999, EVFILT_READ, EV_ADD)]), EBADF);
    ensure_err!(sys!(SYS_KEVENT50, kq, vm::NOWHERE, 1, 0, 0, 0), EFAULT);
    let bad = Timespec {
        tv_sec: 0,
        tv_nsec: -1,
    };
    ensure_err!(
        sys!(SYS_KEVENT50, kq, 0, 0, &mut Kevent::default(), 1, &bad),
        EINVAL
    );
    ensure_err!(sys!(SYS_READ, kq, vm::NOWHERE, 1), ENXIO);
    Ok(())
}

fn level() -> Verdict {
    let (kq, (r, w)) = (kqueue()?, pipe()?);
    apply(kq, &[change(r, EVFILT_READ, EV_ADD)])?;
    ensure_eq!(pending(kq)?, 0);
    write(w, b"abc")?;
    for _ in 0..3 {
        let (events, n) = poll(kq)?;
        ensure_eq!((n, events[0].data, events[0].ident), (1, 3, r.arg()));
        ensure_eq!((events[0].udata, events[0].filter), (0x1234, EVFILT_READ));
    }
    read(r, &mut [0; 3])?;
    ensure_eq!(pending(kq)?, 0);
    Ok(())
}

fn edge() -> Verdict {
    let (kq, (r, w)) = (kqueue()?, pipe()?);
    write(w, b"a")?;
    apply(kq, &[change(r, EVFILT_READ, EV_ADD | EV_CLEAR)])?;
    // What is there already is reported; then only what is new, even if the old is still there.
    ensure_eq!((pending(kq)?, pending(kq)?), (1, 0));
    write(w, b"b")?;
    let (events, n) = poll(kq)?;
    ensure_eq!((n, events[0].data), (1, 2));
    ensure_eq!(pending(kq)?, 0);
    Ok(())
}

fn once() -> Verdict {
    let (kq, (r, w)) = (kqueue()?, pipe()?);
    apply(kq, &[change(r, EVFILT_READ, EV_ADD | EV_ONESHOT)])?;
    write(w, b"a")?;
    ensure_eq!((pending(kq)?, pending(kq)?), (1, 0));
    ensure_err!(apply(kq, &[change(r, EVFILT_READ, EV_DELETE)]), ENOENT);
    Ok(())
}

fn dispatch() -> Verdict {
    let (kq, (r, w)) = (kqueue()?, pipe()?);
    apply(kq, &[change(r, EVFILT_READ, EV_ADD | EV_DISPATCH)])?;
    write(w, b"a")?;
    ensure_eq!((pending(kq)?, pending(kq)?), (1, 0));
    apply(kq, &[change(r, EVFILT_READ, EV_ENABLE)])?;
    ensure_eq!((pending(kq)?, pending(kq)?), (1, 0));
    Ok(())
}

fn disable() -> Verdict {
    let (kq, (r, w)) = (kqueue()?, pipe()?);
    apply(kq, &[change(r, EVFILT_READ, EV_ADD | EV_DISABLE)])?;
    write(w, b"a")?;
    ensure_eq!(pending(kq)?, 0);
    // Adding again does not enable.
    apply(kq, &[change(r, EVFILT_READ, EV_ADD)])?;
    ensure_eq!(pending(kq)?, 0);
    apply(kq, &[change(r, EVFILT_READ, EV_ENABLE)])?;
    ensure_eq!(pending(kq)?, 1);
    apply(kq, &[change(r, EVFILT_READ, EV_DELETE)])?;
    ensure_eq!(pending(kq)?, 0);
    Ok(())
}

fn receipt() -> Verdict {
    let (kq, (r, w)) = (kqueue()?, pipe()?);
    write(w, b"a")?;
    let changes = [
        change(r, EVFILT_READ, EV_ADD | EV_RECEIPT),
        change(9999, EVFILT_READ, EV_ADD),
    ];
    let mut events = [Kevent::default(); 4];
    let n = sys!(
        SYS_KEVENT50,
        kq,
        changes.as_ptr(),
        2,
        events.as_mut_ptr(),
        4,
        0
    )?;
    ensure_eq!(n, 2);
    ensure_eq!((events[0].flags, events[0].data), (EV_ERROR, 0));
    ensure_eq!(
        (events[1].flags, events[1].data),
        (EV_ERROR, i64::from(Errno::EBADF.raw()))
    );
    ensure_eq!(pending(kq)?, 1);
    Ok(())
}

fn no_such_knote() -> Verdict {
    let (kq, (r, _w)) = (kqueue()?, pipe()?);
    for flags in [EV_DELETE, EV_ENABLE, EV_DISABLE, 0] {
        ensure_err!(apply(kq, &[change(r, EVFILT_READ, flags)]), ENOENT);
    }
    Ok(())
}

fn end_of_file() -> Verdict {
    let (kq, (r, w)) = (kqueue()?, pipe()?);
    apply(kq, &[change(r, EVFILT_READ, EV_ADD)])?;
    write(w, b"ab")?;
    close(w)?;
    let (events, n) = poll(kq)?;
    ensure_eq!((n, events[0].data), (1, 2));
    ensure!(events[0].flags & EV_EOF != 0);
    Ok(())
}

fn close_drops_the_knote() -> Verdict {
    let (kq, (r, w)) = (kqueue()?, pipe()?);
    let dup = low(sys!(SYS_DUP, r)?);
    apply(
        kq,
        &[
            change(r, EVFILT_READ, EV_ADD),
            change(dup, EVFILT_READ, EV_ADD),
        ],
    )?;
    write(w, b"a")?;
    ensure_eq!(pending(kq)?, 2);
    close(r)?;
    let (events, n) = poll(kq)?;
    ensure_eq!((n, events[0].ident), (1, dup.arg()));
    Ok(())
}

fn writable() -> Verdict {
    let (kq, (r, w)) = (kqueue()?, pipe()?);
    apply(kq, &[change(w, EVFILT_WRITE, EV_ADD)])?;
    let (events, n) = poll(kq)?;
    ensure!(n == 1 && events[0].data >= 512);
    sys!(SYS_FCNTL, w, 4, 4)?;
    while write(w, &[0; 512]).is_ok() {}
    ensure_eq!(pending(kq)?, 0);
    // All of it, so that any rule about room is met.
    sys!(SYS_FCNTL, r, 4, 4)?;
    while read(r, &mut [0; 4096]).is_ok_and(|n| n > 0) {}
    ensure_eq!(pending(kq)?, 1);
    close(r)?;
    let (events, n) = poll(kq)?;
    ensure!(n == 1 && events[0].flags & EV_EOF != 0);
    Ok(())
}

fn waits_for_data() -> Verdict {
    let (kq, (r, w)) = (kqueue()?, pipe()?);
    apply(kq, &[change(r, EVFILT_READ, EV_ADD | EV_CLEAR)])?;
    for _ in 0..50 {
        let task = spawn(move || next(kq));
        sysctl::until_sleeping(task.lid)?;
        write(w, b"x")?;
        ensure_eq!(task.join()??.ident, r.arg());
    }
    Ok(())
}

fn times_out() -> Verdict {
    let kq = kqueue()?;
    let (start, limit) = (now(), timespec(20 * MS));
    let mut event = Kevent::default();
    ensure_eq!(sys!(SYS_KEVENT50, kq, 0, 0, &mut event, 1, &limit), Ok(0));
    ensure!(now() - start >= 20 * MS);
    Ok(())
}

fn timer() -> Verdict {
    let kq = kqueue()?;
    let start = now();
    apply(
        kq,
        &[Kevent {
            data: 10,
            ..change(7, EVFILT_TIMER, EV_ADD)
        }],
    )?;
    let mut fired = 0;
    while fired < 3 {
        let event = next(kq)?;
        ensure_eq!((event.ident, event.filter), (7, EVFILT_TIMER));
        ensure!(event.data >= 1);
        fired += event.data;
    }
    ensure!(now() - start >= 30 * MS);
    apply(kq, &[change(7, EVFILT_TIMER, EV_DELETE)])?;
    ensure_err!(apply(kq, &[change(8, EVFILT_TIMER, EV_ADD)]), EINVAL);
    Ok(())
}

fn timer_once() -> Verdict {
    let kq = kqueue()?;
    apply(
        kq,
        &[Kevent {
            data: 5,
            ..change(7, EVFILT_TIMER, EV_ADD | EV_ONESHOT)
        }],
    )?;
    ensure_eq!(next(kq)?.data, 1);
    ensure_err!(apply(kq, &[change(7, EVFILT_TIMER, EV_DELETE)]), ENOENT);
    Ok(())
}

fn user() -> Verdict {
    let kq = kqueue()?;
    apply(kq, &[change(5, EVFILT_USER, EV_ADD | EV_CLEAR)])?;
    ensure_eq!(pending(kq)?, 0);
    let trigger = Kevent {
        fflags: NOTE_TRIGGER | NOTE_FFCOPY | 0x77,
        ..change(5, EVFILT_USER, 0)
    };
    let task = spawn(move || next(kq));
    sysctl::until_sleeping(task.lid)?;
    apply(kq, &[trigger])?;
    let event = task.join()??;
    ensure_eq!((event.ident, event.fflags), (5, 0x77));
    ensure_eq!(pending(kq)?, 0);
    Ok(())
}

fn signal() -> Verdict {
    let kq = kqueue()?;
    sig::ignore(Signo::SIGUSR1)?;
    apply(kq, &[change(Signo::SIGUSR1.raw(), EVFILT_SIGNAL, EV_ADD)])?;
    for _ in 0..3 {
        process::kill(process::pid(), Signo::SIGUSR1.raw())?;
    }
    let (events, n) = poll(kq)?;
    ensure_eq!((n, events[0].data), (1, 3));
    ensure_eq!(pending(kq)?, 0);
    Ok(())
}

fn process_exit() -> Verdict {
    let kq = kqueue()?;
    let child = process::spawn_child(|| {
        let _ = rt::lwp::park();
        0
    })?;
    apply(
        kq,
        &[Kevent {
            fflags: NOTE_EXIT,
            ..change(child, EVFILT_PROC, EV_ADD)
        }],
    )?;
    ensure_eq!(pending(kq)?, 0);
    process::kill(child, Signo::SIGKILL.raw())?;
    let event = next(kq)?;
    ensure_eq!((event.ident, event.data), (child.arg(), 9));
    ensure!(event.fflags & NOTE_EXIT != 0);
    process::wait(child)?;
    let gone = Kevent {
        fflags: NOTE_EXIT,
        ..change(child, EVFILT_PROC, EV_ADD)
    };
    ensure_err!(apply(kq, &[gone]), ESRCH);
    Ok(())
}

fn listening() -> Verdict {
    let (kq, (fd, addr)) = (kqueue()?, listener(0)?);
    apply(kq, &[change(fd, EVFILT_READ, EV_ADD)])?;
    ensure_eq!(pending(kq)?, 0);
    let near = sys!(SYS_SOCKET30, 2, 1, 0)?;
    sys!(SYS_CONNECT, near, &addr, 16)?;
    let event = next(kq)?;
    ensure!(event.ident == fd.arg() && event.data >= 1);
    Ok(())
}

fn connecting() -> Verdict {
    let (kq, (_fd, addr)) = (kqueue()?, listener(0)?);
    let near = low(sys!(SYS_SOCKET30, 2, 0x2000_0001, 0)?);
    // As Go does: registered before it connects, when it is not yet ready.
    apply(kq, &[change(near, EVFILT_WRITE, EV_ADD | EV_CLEAR)])?;
    ensure_eq!(pending(kq)?, 0);
    let first = sys!(SYS_CONNECT, near, &addr, 16);
    ensure!(
        matches!(first, Ok(0) | Err(Errno::EINPROGRESS)),
        "{first:?}"
    );
    let event = next(kq)?;
    ensure_eq!((event.ident, event.flags & EV_EOF), (near.arg(), 0));
    Ok(())
}

fn as_go_does() -> Verdict {
    let (kq, (r, w)) = (kqueue()?, pipe()?);
    for fd in [r, w] {
        let both = [
            change(fd, EVFILT_READ, EV_ADD | EV_CLEAR),
            change(fd, EVFILT_WRITE, EV_ADD | EV_CLEAR),
        ];
        // The read end cannot be written, and the other way round: either is refused or silent.
        let _ = apply(kq, &both);
    }
    while pending(kq)? > 0 {}
    write(w, b"x")?;
    let event = next(kq)?;
    ensure_eq!((event.ident, event.filter), (r.arg(), EVFILT_READ));
    Ok(())
}

fn not_inherited() -> Verdict {
    let kq = kqueue()?;
    let status = process::in_child(|| i32::from(close(kq) != Err(Errno::EBADF)))?;
    ensure_eq!(status.code(), Some(0));
    ensure_eq!(close(kq), Ok(0));
    Ok(())
}
