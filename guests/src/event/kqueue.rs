//! kqueue(2): knotes, delivery, filters.

use crate::socket::{pair, read, write};
use core::ffi::CStr;
use rt::abi::event::{
    EV_ADD, EV_CLEAR, EV_DELETE, EV_EOF, EV_ERROR, EV_ONESHOT, EVFILT_READ, EVFILT_TIMER,
    EVFILT_USER, EVFILT_VNODE, EVFILT_WRITE, Kevent, Kevent100, NOTE_ABSTIME, NOTE_DELETE,
    NOTE_EXTEND, NOTE_NSECONDS, NOTE_SECONDS, NOTE_TRIGGER, NOTE_WRITE,
};
use rt::abi::signal::Signo;
use rt::abi::time::{Itimerspec, Timespec};
use rt::check::{Check, Verdict};
use rt::lwp::spawn;
use rt::process::{close, low, pipe};
use rt::sync::Word;
use rt::time::{MS, now, timespec};
use rt::{Errno, SysResult, ensure, ensure_eq, ensure_err, sig, sys};

pub(crate) const CHECKS: &[Check] = &[
    (
        "kq-errors-are-reported-if-there-is-room",
        errors_are_reported,
    ),
    ("kq-bad-arguments", bad_arguments),
    ("kq-clear-read", clear_read),
    ("kq-order-and-limit", order_and_limit),
    ("kq-close-drops-knotes", close_drops_knotes),
    ("kq-dup-keeps-its-own", dup_keeps_its_own),
    ("kq-write-end-without-reader", write_end_without_reader),
    (
        "kq-data-is-no-news-for-a-writer",
        data_is_no_news_for_a_writer,
    ),
    ("kq-eof-of-socket", eof_of_socket),
    ("kq-signal-interrupts", signal_interrupts),
    ("kq-closed-while-waiting", closed_while_waiting),
    ("kq-timer-counts", timer_counts),
    ("kq-timer-absolute", timer_absolute),
    ("kq-vnode", vnode),
    ("kq-file-read", file_read),
    ("kq-in-kqueue", in_kqueue),
    ("kq-no-read-no-write", no_read_no_write),
    ("kq-wide-records", wide_records),
    ("kq-many-waiters", many_waiters),
    ("kq-add-while-others-look", add_while_others_look),
    ("kq-eventfd", eventfd),
    ("kq-timerfd", timerfd),
    ("kq-datagrams-and-listeners", datagrams_and_listeners),
];

/// A time that is over at once.
const NOW: Timespec = Timespec::ZERO;
/// `O_RDWR | O_CREAT | O_TRUNC`.
const CREATE: i32 = 0x2 | 0x200 | 0x400;

pub(crate) fn kqueue() -> Result<i32, Errno> {
    sys!(SYS_KQUEUE).map(low)
}

pub(crate) fn change(ident: i32, filter: u32, flags: u32) -> Kevent {
    Kevent {
        ident: u64::from(ident.unsigned_abs()),
        filter,
        flags,
        ..Kevent::default()
    }
}

/// kevent(2) with everything.
fn kevent(
    kq: i32,
    changes: &[Kevent],
    events: &mut [Kevent],
    limit: Option<&Timespec>,
) -> Result<usize, Errno> {
    let found = sys!(
        SYS_KEVENT50,
        kq,
        changes.as_ptr(),
        changes.len(),
        events.as_mut_ptr(),
        events.len(),
        limit
    )?;
    Ok(usize::try_from(found).unwrap_or(usize::MAX))
}

/// Makes changes.
pub(crate) fn apply(kq: i32, changes: &[Kevent]) -> Result<usize, Errno> {
    kevent(kq, changes, &mut [], None)
}

/// What there is now, at most four records.
struct Found {
    count: usize,
    events: [Kevent; 4],
}

fn poll(kq: i32) -> Result<Found, Errno> {
    wait(kq, Some(&NOW))
}

fn wait(kq: i32, limit: Option<&Timespec>) -> Result<Found, Errno> {
    let mut events = [Kevent::default(); 4];
    let count = kevent(kq, &[], &mut events, limit)?;
    Ok(Found { count, events })
}

/// How many records there are now.
fn count(kq: i32) -> Result<usize, Errno> {
    poll(kq).map(|found| found.count)
}

/// What `wait` finds within a second: for what the kernel is told from outside.
fn soon(kq: i32) -> Result<Found, Errno> {
    wait(kq, Some(&timespec(1000 * MS)))
}

fn errors_are_reported() -> Verdict {
    let kq = kqueue()?;
    let changes = [
        change(777, EVFILT_READ, EV_ADD),
        change(5, EVFILT_USER, EV_ADD),
        change(6, EVFILT_USER, EV_DELETE),
    ];
    let mut events = [Kevent::default(); 4];
    ensure_eq!(kevent(kq, &changes, &mut events, None), Ok(2));
    for (event, (ident, errno)) in events.iter().zip([(777, Errno::EBADF), (6, Errno::ENOENT)]) {
        ensure_eq!((event.ident, event.flags), (ident, EV_ERROR));
        ensure_eq!(event.data, i64::from(errno.raw()));
    }
    // The one between them was made.
    ensure_eq!(apply(kq, &[change(5, EVFILT_USER, EV_DELETE)]), Ok(0));
    Ok(())
}

fn bad_arguments() -> Verdict {
    let kq = kqueue()?;
    let (no_kqueue, _) = pipe()?;
    let mut event = [Kevent::default()];
    let bad = Timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000_000,
    };
    ensure_err!(kevent(777, &[], &mut event, Some(&NOW)), EBADF);
    ensure_err!(kevent(no_kqueue, &[], &mut event, Some(&NOW)), EBADF);
    ensure_err!(kevent(kq, &[], &mut event, Some(&bad)), EINVAL);
    ensure_err!(
        sys!(SYS_KEVENT50, kq, 8_u64, 1_u64, 0_u64, 0_u64, 0_u64),
        EFAULT
    );
    ensure_err!(
        sys!(SYS_KEVENT50, kq, 0_u64, 0_u64, 0_u64, 1_u64, 8_u64),
        EFAULT
    );
    // Records may be as many as there are; where they would go is looked at when there are some.
    ensure_eq!(
        sys!(SYS_KEVENT50, kq, 0_u64, 0_u64, 8_u64, u64::MAX, &NOW),
        Ok(0)
    );
    let changes = [
        change(1, EVFILT_USER, EV_ADD),
        Kevent {
            fflags: NOTE_TRIGGER,
            ..change(1, EVFILT_USER, 0)
        },
    ];
    apply(kq, &changes)?;
    ensure_err!(
        sys!(SYS_KEVENT50, kq, 0_u64, 0_u64, 8_u64, u64::MAX, &NOW),
        EFAULT
    );
    Ok(())
}

fn clear_read() -> Verdict {
    let (kq, (one, other)) = (kqueue()?, pair()?);
    write(other, b"a")?;
    apply(kq, &[change(one, EVFILT_READ, EV_ADD | EV_CLEAR)])?;
    let found = poll(kq)?;
    ensure_eq!((found.count, found.events[0].flags), (1, EV_ADD | EV_CLEAR));
    ensure_eq!(count(kq)?, 0);
    // More bytes while some are unread: again an event.
    write(other, b"b")?;
    let found = soon(kq)?;
    ensure_eq!((found.count, found.events[0].data), (1, 2));
    ensure_eq!(count(kq)?, 0);
    Ok(())
}

fn order_and_limit() -> Verdict {
    let kq = kqueue()?;
    for ident in 0..6 {
        apply(kq, &[change(ident, EVFILT_USER, EV_ADD)])?;
    }
    for ident in [3, 1, 5, 0, 4, 2] {
        apply(
            kq,
            &[Kevent {
                fflags: NOTE_TRIGGER,
                ..change(ident, EVFILT_USER, 0)
            }],
        )?;
    }
    let found = poll(kq)?;
    ensure_eq!(found.events.map(|event| event.ident), [3, 1, 5, 0]);
    // The rest comes first now, then those that are still triggered, in the order of their last turn.
    let found = poll(kq)?;
    ensure_eq!(found.events.map(|event| event.ident), [4, 2, 3, 1]);
    Ok(())
}

fn close_drops_knotes() -> Verdict {
    let (kq, (one, other)) = (kqueue()?, pair()?);
    write(other, b"a")?;
    apply(kq, &[change(one, EVFILT_READ, EV_ADD)])?;
    ensure_eq!(count(kq)?, 1);
    close(one)?;
    ensure_eq!(count(kq)?, 0);
    // The number, used again, has no knote.
    let (again, peer) = pair()?;
    ensure_eq!(again, one);
    write(peer, b"a")?;
    ensure_eq!(count(kq)?, 0);
    ensure_err!(apply(kq, &[change(one, EVFILT_READ, EV_DELETE)]), ENOENT);
    // So it is when something is duplicated over the number.
    apply(kq, &[change(again, EVFILT_READ, EV_ADD)])?;
    ensure_eq!(count(kq)?, 1);
    sys!(SYS_DUP2, peer, again)?;
    ensure_eq!(count(kq)?, 0);
    Ok(())
}

fn dup_keeps_its_own() -> Verdict {
    let (kq, (one, other)) = (kqueue()?, pair()?);
    let copy = low(sys!(SYS_DUP, one)?);
    apply(
        kq,
        &[
            change(one, EVFILT_READ, EV_ADD),
            change(copy, EVFILT_READ, EV_ADD),
        ],
    )?;
    write(other, b"a")?;
    ensure_eq!(soon(kq)?.count, 2);
    close(one)?;
    let found = poll(kq)?;
    ensure_eq!(
        (found.count, found.events[0].ident),
        (1, u64::from(copy.unsigned_abs()))
    );
    Ok(())
}

fn write_end_without_reader() -> Verdict {
    let (kq, (reader, writer)) = (kqueue()?, pipe()?);
    apply(kq, &[change(writer, EVFILT_WRITE, EV_ADD)])?;
    let found = poll(kq)?;
    ensure_eq!((found.count, found.events[0].flags), (1, EV_ADD));
    ensure!(found.events[0].data >= 512);
    close(reader)?;
    let found = soon(kq)?;
    ensure_eq!(found.events[0].flags & EV_EOF, EV_EOF);
    apply(kq, &[change(writer, EVFILT_WRITE, EV_DELETE)])?;
    ensure_err!(apply(kq, &[change(writer, EVFILT_WRITE, EV_ADD)]), EBADF);
    Ok(())
}

fn data_is_no_news_for_a_writer() -> Verdict {
    let (kq, (one, other)) = (kqueue()?, pair()?);
    let both = [EVFILT_READ, EVFILT_WRITE];
    apply(
        kq,
        &both.map(|filter| change(one, filter, EV_ADD | EV_CLEAR)),
    )?;
    let found = soon(kq)?;
    ensure_eq!((found.count, found.events[0].filter), (1, EVFILT_WRITE));
    for sent in 1..4 {
        write(other, b"x")?;
        let found = soon(kq)?;
        ensure_eq!((found.count, found.events[0].filter), (1, EVFILT_READ));
        ensure_eq!(found.events[0].data, sent);
    }
    Ok(())
}

fn eof_of_socket() -> Verdict {
    let (kq, (one, other)) = (kqueue()?, pair()?);
    apply(kq, &[change(one, EVFILT_READ, EV_ADD | EV_CLEAR)])?;
    close(other)?;
    let found = soon(kq)?;
    ensure_eq!((found.count, found.events[0].flags & EV_EOF), (1, EV_EOF));
    Ok(())
}

extern "C" fn nothing(
    _: i32,
    _: &mut rt::abi::signal::Siginfo,
    _: &mut rt::abi::ucontext::Ucontext,
) {
}

fn signal_interrupts() -> Verdict {
    let kq = kqueue()?;
    sig::catch(Signo::SIGUSR1, nothing, rt::abi::signal::SaFlags::RESTART)?;
    let lid = rt::lwp::me();
    let other = spawn(move || {
        rt::scene::pulse().is_ok() && rt::lwp::kill(lid, Signo::SIGUSR1.raw()).is_ok()
    });
    ensure_err!(wait(kq, None).map(|found| found.count), EINTR);
    ensure!(other.join()?);
    Ok(())
}

fn closed_while_waiting() -> Verdict {
    let kq = kqueue()?;
    let sleeper = spawn(move || wait(kq, None).map(|found| found.count));
    rt::scene::pulse()?;
    close(kq)?;
    ensure_eq!(sleeper.join()?, Err(Errno::EBADF));
    Ok(())
}

fn timer_counts() -> Verdict {
    let kq = kqueue()?;
    let every = Kevent {
        data: 2_000_000,
        fflags: NOTE_NSECONDS,
        ..change(1, EVFILT_TIMER, EV_ADD)
    };
    apply(kq, &[every])?;
    let start = now();
    rt::sync::until("20 ms", || now() - start > 20 * MS)?;
    let found = poll(kq)?;
    ensure_eq!((found.count, found.events[0].flags), (1, EV_ADD | EV_CLEAR));
    ensure!(
        found.events[0].data >= 9,
        "{} expirations",
        found.events[0].data
    );
    let found = wait(kq, None)?;
    ensure!((1..9).contains(&found.events[0].data));
    apply(kq, &[change(1, EVFILT_TIMER, EV_DELETE)])?;
    ensure_eq!(wait(kq, Some(&timespec(10 * MS)))?.count, 0);
    Ok(())
}

fn timer_absolute() -> Verdict {
    let kq = kqueue()?;
    let past = Kevent {
        data: 1000,
        fflags: NOTE_ABSTIME | NOTE_SECONDS,
        ..change(1, EVFILT_TIMER, EV_ADD | EV_ONESHOT)
    };
    apply(kq, &[past])?;
    ensure_eq!(count(kq)?, 1);
    Ok(())
}

fn open(path: &'static CStr) -> Result<(i32, &'static CStr), Errno> {
    Ok((low(sys!(SYS_OPEN, path, CREATE, 0o600)?), path))
}

fn vnode() -> Verdict {
    let kq = kqueue()?;
    let (file, path) = open(c"/tmp/.lwp-event-1")?;
    let watch = Kevent {
        fflags: NOTE_WRITE | NOTE_EXTEND | NOTE_DELETE,
        ..change(file, EVFILT_VNODE, EV_ADD | EV_CLEAR)
    };
    apply(kq, &[watch])?;
    ensure_eq!(count(kq)?, 0);
    write(file, b"more")?;
    let found = soon(kq)?;
    ensure_eq!(
        (found.count, found.events[0].fflags),
        (1, NOTE_WRITE | NOTE_EXTEND)
    );
    ensure_eq!(count(kq)?, 0);
    sys!(SYS_UNLINK, path)?;
    let found = soon(kq)?;
    ensure_eq!((found.count, found.events[0].fflags), (1, NOTE_DELETE));
    Ok(())
}

fn file_read() -> Verdict {
    let kq = kqueue()?;
    let (file, path) = open(c"/tmp/.lwp-event-2")?;
    sys!(SYS_UNLINK, path)?;
    apply(kq, &[change(file, EVFILT_READ, EV_ADD)])?;
    ensure_eq!(count(kq)?, 0);
    write(file, b"12345")?;
    // Written and passed: the offset is at the end.
    ensure_eq!(count(kq)?, 0);
    sys!(SYS_LSEEK, file, 0, 2_i64, 0)?;
    apply(kq, &[change(file, EVFILT_READ, EV_ADD)])?;
    let found = poll(kq)?;
    ensure_eq!((found.count, found.events[0].data), (1, 3));
    Ok(())
}

fn in_kqueue() -> Verdict {
    let (outer, inner) = (kqueue()?, kqueue()?);
    ensure_err!(apply(outer, &[change(inner, EVFILT_WRITE, EV_ADD)]), EINVAL);
    apply(outer, &[change(inner, EVFILT_READ, EV_ADD)])?;
    // And in a circle, which must not matter.
    apply(inner, &[change(outer, EVFILT_READ, EV_ADD)])?;
    ensure_eq!(count(outer)?, 0);
    apply(inner, &[change(3, EVFILT_USER, EV_ADD | EV_CLEAR)])?;
    apply(
        inner,
        &[Kevent {
            fflags: NOTE_TRIGGER,
            ..change(3, EVFILT_USER, 0)
        }],
    )?;
    let found = poll(outer)?;
    ensure_eq!(
        (found.count, found.events[0].ident),
        (1, u64::from(inner.unsigned_abs()))
    );
    ensure!(found.events[0].data >= 1);
    Ok(())
}

fn no_read_no_write() -> Verdict {
    let kq = kqueue()?;
    ensure_err!(read(kq, 8), ENXIO);
    ensure_err!(write(kq, b"12345678"), ENXIO);
    Ok(())
}

fn kevent100(kq: i32, changes: &[Kevent100], events: &mut [Kevent100]) -> SysResult {
    sys!(
        SYS_KEVENT100,
        kq,
        changes.as_ptr(),
        changes.len(),
        events.as_mut_ptr(),
        events.len(),
        &NOW
    )
}

fn wide_records() -> Verdict {
    let kq = kqueue()?;
    let event = Kevent100 {
        ident: 5,
        filter: EVFILT_USER,
        flags: EV_ADD,
        udata: 1,
        ext: [10, 20, 30, 40],
        ..Kevent100::default()
    };
    kevent100(kq, &[event], &mut [])?;
    let fire = Kevent100 {
        fflags: NOTE_TRIGGER,
        flags: 0,
        udata: 2,
        ..event
    };
    kevent100(kq, &[fire], &mut [])?;
    let mut events = [Kevent100::default(); 2];
    ensure_eq!(kevent100(kq, &[], &mut events), Ok(1));
    ensure_eq!(
        (events[0].ident, events[0].udata, events[0].ext),
        (5, 2, [10, 20, 30, 40])
    );
    ensure_eq!(events[1], Kevent100::default());
    Ok(())
}

fn many_waiters() -> Verdict {
    const LWPS: usize = 8;
    const EACH: u32 = 200;
    let (kq, (one, other)) = (kqueue()?, pair()?);
    apply(kq, &[change(one, EVFILT_READ, EV_ADD | EV_CLEAR)])?;
    let eater = move || {
        let mut eaten = 0_u32;
        loop {
            match wait(kq, None) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(_) => return eaten,
            }
            while let Ok(bytes) = sys!(SYS_RECVFROM, one, &mut [0_u8; 16], 16_u64, 0x80, 0, 0) {
                eaten += u32::try_from(bytes).unwrap_or(0);
                if bytes == 0 {
                    return eaten;
                }
            }
        }
    };
    let eaters = [(); LWPS].map(|()| spawn(eater));
    for _ in 0..EACH {
        write(other, b"x")?;
        rt::sync::yield_now();
    }
    rt::sync::until("all eaten", || unread(one) == 0)?;
    close(kq)?;
    let mut total = 0;
    for each in eaters {
        total += each.join()?;
    }
    ensure_eq!(total, EACH);
    Ok(())
}

/// Data come in, and another LWP empties the queue, at the very moment of adding: what comes later must be
/// reported all the same.
fn add_while_others_look() -> Verdict {
    static SEEN: Word = Word::new();
    static WRITE_TO: Word = Word::new();
    let kq = kqueue()?;
    let looker = spawn(move || {
        while let Ok(found) = poll(kq) {
            for _ in 0..found.count {
                SEEN.add();
            }
            rt::sync::yield_now();
        }
    });
    let writer = spawn(|| {
        loop {
            match WRITE_TO.get() {
                0 => rt::sync::yield_now(),
                u32::MAX => return,
                fd => {
                    WRITE_TO.set(0);
                    let _ = write(fd.cast_signed(), b"x");
                }
            }
        }
    });
    for _ in 0..200 {
        let (one, other) = pair()?;
        WRITE_TO.set(other.unsigned_abs());
        apply(kq, &[change(one, EVFILT_READ, EV_ADD | EV_CLEAR)])?;
        rt::sync::until("the first byte", || unread(one) == 1)?;
        let before = SEEN.get();
        write(other, b"y")?;
        rt::sync::until("an event for the second byte", || SEEN.get() > before)?;
        close(one)?;
        close(other)?;
    }
    WRITE_TO.set(u32::MAX);
    close(kq)?;
    looker.join()?;
    writer.join()?;
    Ok(())
}

fn eventfd() -> Verdict {
    let kq = kqueue()?;
    // EFD_SEMAPHORE is 2, EFD_NONBLOCK 4; 1 is nothing.
    ensure_err!(sys!(SYS_EVENTFD, 0_u32, 1), EINVAL);
    let fd = low(sys!(SYS_EVENTFD, 3_u32, 2 | 4)?);
    apply(kq, &[change(fd, EVFILT_READ, EV_ADD)])?;
    let found = poll(kq)?;
    ensure_eq!((found.count, found.events[0].data), (1, 3));
    for _ in 0..3 {
        ensure_eq!(read(fd, 8), Ok(8));
    }
    ensure_eq!(count(kq)?, 0);
    ensure_err!(read(fd, 8), EAGAIN);
    Ok(())
}

fn timerfd() -> Verdict {
    let kq = kqueue()?;
    ensure_err!(sys!(SYS_TIMERFD_CREATE, 77, 0), EINVAL);
    let fd = low(sys!(SYS_TIMERFD_CREATE, 3, 0)?);
    apply(kq, &[change(fd, EVFILT_READ, EV_ADD)])?;
    let every = Itimerspec {
        it_interval: timespec(MS),
        it_value: timespec(MS),
    };
    sys!(SYS_TIMERFD_SETTIME, fd, 0, &every, 0_u64)?;
    let found = wait(kq, None)?;
    ensure!(found.count == 1 && found.events[0].data >= 1);
    ensure_eq!(read(fd, 8), Ok(8));
    let mut now = every;
    sys!(SYS_TIMERFD_GETTIME, fd, &mut now)?;
    ensure_eq!(now.it_interval, every.it_interval);
    ensure_err!(sys!(SYS_TIMERFD_GETTIME, kq, &mut now), EINVAL);
    Ok(())
}

fn datagrams_and_listeners() -> Verdict {
    let (kq, (server, addr)) = (kqueue()?, crate::socket::listener(0)?);
    apply(kq, &[change(server, EVFILT_READ, EV_ADD)])?;
    ensure_eq!(count(kq)?, 0);
    crate::socket::connect(crate::socket::tcp()?, &addr)?;
    let found = soon(kq)?;
    ensure_eq!((found.count, found.events[0].data), (1, 1));
    let fresh = crate::socket::tcp()?;
    apply(kq, &[change(server, EVFILT_READ, EV_DELETE)])?;
    apply(
        kq,
        &[
            change(fresh, EVFILT_READ, EV_ADD),
            change(fresh, EVFILT_WRITE, EV_ADD),
        ],
    )?;
    // Neither readable nor writable before it is connected.
    ensure_eq!(count(kq)?, 0);
    Ok(())
}

/// FIONREAD.
fn unread(fd: i32) -> i32 {
    let mut count = 0_i32;
    sys!(SYS_IOCTL, fd, 0x4004_667f_u32, &mut count).map_or(-1, |_| count)
}
