//! The poller: readiness, deadlines, wake-ups that are never lost, helpers, signals from outside.

mod common;

use common::Guest;
use lwp_abi::signal::Signo;
use lwp_kernel::ctx::Trap;
use lwp_kernel::machine::{
    AlwaysReady, Clocks, Event, ExitWith, Forked, Poller, Ready, Vcpus, Wait,
};
use lwp_machine::{LinuxHost, own_descriptors};
use lwp_syscalls::host::Host;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Signals from outside reach whichever machine polls first: one test at a time.
static ONE: Mutex<()> = Mutex::new(());

/// The guest's number for a file.
fn given(file: std::io::Result<impl Into<OwnedFd>>) -> i32 {
    let file = file.expect("a descriptor").into();
    LinuxHost::default().adopt(file).expect("a small number")
}

fn alone() -> MutexGuard<'static, ()> {
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Polls until `wanted` is among the events, which is at once or never.
fn until(guest: &Guest, wanted: impl Fn(&Event) -> bool) -> Event {
    let mut events = Vec::new();
    loop {
        guest.machine.poll(0, Wait::Forever, &mut events);
        if let Some(event) = events.iter().find(|event| wanted(event)) {
            return event.clone();
        }
    }
}

/// Polls without waiting. Signals are left out: they may be another test's.
fn poll(guest: &Guest, events: &mut Vec<Event>) {
    guest.machine.poll(0, Wait::No, events);
    events.retain(|event| !matches!(event, Event::Signal { .. }));
}

#[test]
fn readiness_is_reported_once_per_change() {
    let _alone = alone();
    let guest = Guest::new();
    let (mut ours, mut theirs) = UnixStream::pair().expect("sockets");
    let fd = given(ours.try_clone());
    guest.machine.poll_add(fd, 77).expect("it can be watched");
    let mut events = Vec::new();
    poll(&guest, &mut events);
    assert!(matches!(events[..], [Event::Ready { token: 77, ready }] if ready == Ready::OUT));
    poll(&guest, &mut events);
    assert!(events.is_empty(), "edge triggered");
    theirs.write_all(b"x").expect("connected");
    let event = until(&guest, |event| {
        matches!(event, Event::Ready { token: 77, .. })
    });
    assert!(
        matches!(
            event,
            Event::Ready {
                ready: Ready::IN,
                ..
            }
        ),
        "not OUT again"
    );
    assert!(guest.machine.ready_now(fd).contains(Ready::IN | Ready::OUT));
    ours.read_exact(&mut [0]).expect("a byte");
    assert!(!guest.machine.ready_now(fd).contains(Ready::IN));
    // Adding it again changes the token; after `poll_del` it is not heard of any more.
    guest.machine.poll_add(fd, 78).expect("it can be watched");
    poll(&guest, &mut events);
    assert!(matches!(events[..], [Event::Ready { token: 78, .. }]));
    guest.machine.poll_del(fd);
    theirs.write_all(b"y").expect("connected");
    poll(&guest, &mut events);
    assert!(events.is_empty());
    drop(theirs);
    assert!(
        guest
            .machine
            .ready_now(fd)
            .contains(Ready::HUP | Ready::RDHUP)
    );
}

#[test]
fn room_to_write_is_reported_when_there_was_none() {
    let _alone = alone();
    let guest = Guest::new();
    let pairs: Vec<_> = (0..200).map(|_| full_pair()).collect();
    for (token, (ours, _)) in (0..).zip(&pairs) {
        let fd = given(ours.try_clone());
        guest
            .machine
            .poll_add(fd, token)
            .expect("it can be watched");
    }
    let mut events = Vec::new();
    poll(&guest, &mut events);
    assert!(events.is_empty(), "full, and nothing to read: {events:?}");
    // More at once than are taken at once, so that some are left.
    for (_, theirs) in &pairs {
        empty(theirs);
    }
    poll(&guest, &mut events);
    let tokens: BTreeSet<_> = events
        .iter()
        .map(|event| match event {
            Event::Ready { token, ready } if *ready == Ready::OUT => *token,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(tokens.into_iter().eq(0..200));
}

/// Connected sockets; in the first nothing more can be written.
fn full_pair() -> (UnixStream, UnixStream) {
    let (mut ours, theirs) = UnixStream::pair().expect("sockets");
    for socket in [&ours, &theirs] {
        socket.set_nonblocking(true).expect("a flag");
    }
    while ours.write(&[0; 1 << 13]).is_ok() {}
    (ours, theirs)
}

fn empty(mut socket: &UnixStream) {
    while socket.read(&mut [0; 1 << 13]).is_ok() {}
}

#[test]
fn what_cannot_be_watched_is_always_ready() {
    let _alone = alone();
    let guest = Guest::new();
    let file = given(std::fs::File::open("/proc/self/exe"));
    assert_eq!(guest.machine.poll_add(file, 1), Err(AlwaysReady));
    assert_eq!(guest.machine.poll_add(-1, 1), Err(AlwaysReady));
    // A file that the runner has for a moment, under a number that the guest could have.
    let (passing, _other) = UnixStream::pair().expect("sockets");
    let fd = passing.as_raw_fd();
    assert_eq!(guest.machine.poll_add(fd, 1), Err(AlwaysReady));
    let fd = given(passing.try_clone());
    guest.machine.poll_add(fd, 2).expect("it can be watched");
    assert!(guest.machine.poll_has(fd, 2));
    LinuxHost::default().close(fd).expect("it is open");
    let again = passing.try_clone().expect("a descriptor");
    assert!(!guest.machine.poll_has(fd, 2), "{}", again.as_raw_fd());
    assert!(guest.machine.ready_now(12345).contains(Ready::ERR));
}

#[test]
fn a_deadline_ends_a_wait_and_never_early() {
    let _alone = alone();
    let guest = Guest::new();
    let mut events = Vec::new();
    for micros in [0, 5, 50, 700, 3000] {
        let due = guest.machine.monotonic() + Duration::from_micros(micros);
        while guest.machine.monotonic() < due {
            guest.machine.poll(0, Wait::Until(due), &mut events);
            assert!(events.is_empty());
        }
    }
    let due = guest.machine.monotonic() + Duration::from_millis(2);
    guest.machine.poll(0, Wait::Until(due), &mut events);
    assert!(guest.machine.monotonic() >= due);
}

#[test]
fn a_wake_before_the_wait_is_kept() {
    let _alone = alone();
    let guest = Guest::new();
    guest.machine.wake_one();
    guest.machine.poll(0, Wait::Forever, &mut Vec::new());
    guest.machine.kick(0);
    guest.machine.poll(0, Wait::Forever, &mut Vec::new());
    assert_eq!(
        guest.machine.stats().wakes,
        0,
        "nobody slept, so nobody was woken"
    );
}

#[test]
fn work_left_with_a_wake_is_always_found() {
    const ROUNDS: u32 = 20_000;
    let _alone = alone();
    let guest = Guest::with(2);
    let (work, done) = (AtomicU32::new(1), AtomicU32::new(0));
    // As a vcpu's loop does: look for work, and wait for ever when there is none. Whoever finds
    // some leaves the next, wakes somebody, and waits, so a lost wake-up ends in silence.
    let play = |cpu: usize| {
        let mut events = Vec::new();
        while done.load(Ordering::SeqCst) < ROUNDS {
            let found = work
                .compare_exchange(1, 0, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok();
            if found {
                done.fetch_add(1, Ordering::SeqCst);
                work.store(1, Ordering::SeqCst);
                guest.machine.wake_one();
            }
            guest.machine.poll(cpu, Wait::Forever, &mut events);
        }
        guest.machine.wake_one();
    };
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let _vcpu = guest.machine.adopt(1).expect("free");
            play(1);
        });
        play(0);
    });
}

#[test]
fn a_kick_ends_another_vcpus_wait() {
    let _alone = alone();
    let guest = Guest::with(2);
    let waits = AtomicU32::new(0);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let _vcpu = guest.machine.adopt(1).expect("free");
            for _ in 0..2000 {
                waits.fetch_add(1, Ordering::SeqCst);
                guest.machine.poll(1, Wait::Forever, &mut Vec::new());
            }
            waits.store(u32::MAX, Ordering::SeqCst);
        });
        // However it falls, before the sleep or into it, a kick must not be lost: there are as
        // many as waits.
        let mut kicked = 0;
        loop {
            let now = waits.load(Ordering::SeqCst);
            if now == u32::MAX {
                break;
            }
            if now > kicked {
                kicked = now;
                guest.machine.kick(1);
            }
            std::hint::spin_loop();
        }
    });
}

#[test]
fn jobs_that_are_interrupted_make_room() {
    let _alone = alone();
    let guest = Guest::new();
    let (mut ours, theirs) = UnixStream::pair().expect("sockets");
    // More than there are helpers, each waiting for a byte that does not come.
    for token in 0..200 {
        let reader = theirs.try_clone().expect("a descriptor");
        let job = move || {
            // Not `read_exact`, which begins again after EINTR.
            let _ = (&reader).read(&mut [0; 1]);
        };
        guest.machine.run_blocking(token, Box::new(job));
    }
    let mut events = Vec::new();
    for token in 0..200 {
        // One that was about to wait misses it. Without a pause it would have no time for anything but this.
        while !guest.machine.cancel_blocking(token) {
            let again = guest.machine.monotonic() + Duration::from_millis(1);
            guest.machine.poll(0, Wait::Until(again), &mut events);
        }
    }
    guest.machine.run_blocking(1000, Box::new(|| ()));
    until(&guest, |event| matches!(event, Event::Done { token: 1000 }));
    ours.write_all(b"x").expect("connected");
}

#[test]
fn blocking_jobs_run_elsewhere_and_report() {
    let _alone = alone();
    let guest = Guest::new();
    let (mut ours, theirs) = UnixStream::pair().expect("sockets");
    for token in 0..100 {
        guest.machine.run_blocking(token, Box::new(|| ()));
    }
    let mut done: Vec<u64> = Vec::new();
    let mut events = Vec::new();
    while done.len() < 100 {
        guest.machine.poll(0, Wait::Forever, &mut events);
        done.extend(events.iter().filter_map(|event| match event {
            Event::Done { token } => Some(*token),
            _ => None,
        }));
    }
    done.sort_unstable();
    assert!(done.iter().copied().eq(0..100));
    // One that blocks does not hold up others, and a fork child has helpers of its own.
    let mut reader = theirs.try_clone().expect("a descriptor");
    guest.machine.run_blocking(
        1,
        Box::new(move || reader.read_exact(&mut [0]).expect("a byte")),
    );
    guest.machine.run_blocking(2, Box::new(|| ()));
    until(&guest, |event| matches!(event, Event::Done { token: 2 }));
    assert!(guest.machine.begin_fork());
    match guest.machine.fork(0).expect("room") {
        Forked::Child { .. } => {
            guest.machine.run_blocking(3, Box::new(|| ()));
            until(&guest, |event| matches!(event, Event::Done { token: 3 }));
            guest.machine.exit(ExitWith::Code(9));
        }
        Forked::Parent(pid) => {
            let mut status = 0;
            // SAFETY: writes one integer.
            unsafe { libc::waitpid(pid, &raw mut status, 0) };
            assert_eq!(libc::WEXITSTATUS(status), 9);
        }
    }
    ours.write_all(b"x").expect("connected");
    until(&guest, |event| matches!(event, Event::Done { token: 1 }));
}

#[test]
fn what_was_watched_is_watched_in_a_fork_child() {
    let _alone = alone();
    let guest = Guest::new();
    let (ours, mut theirs) = UnixStream::pair().expect("sockets");
    guest
        .machine
        .poll_add(given(ours.try_clone()), 5)
        .expect("it can be watched");
    until(&guest, |event| {
        matches!(event, Event::Ready { token: 5, .. })
    });
    assert!(guest.machine.begin_fork());
    if let Forked::Parent(pid) = guest.machine.fork(0).expect("room") {
        theirs.write_all(b"x").expect("connected");
        let mut status = 0;
        // SAFETY: writes one integer.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert_eq!(libc::WEXITSTATUS(status), 4);
    } else {
        until(
            &guest,
            |event| matches!(event, Event::Ready { token: 5, ready } if ready.contains(Ready::IN)),
        );
        guest.machine.exit(ExitWith::Code(4));
    }
}

#[test]
fn signals_from_outside_arrive_with_their_sender_wherever_they_hit() {
    let _alone = alone();
    let guest = Guest::new();
    let spin = guest.text(&[0xeb, 0xfe]);
    // SAFETY: no arguments.
    let tid = unsafe { libc::gettid() };
    // SAFETY: no arguments.
    let uid = unsafe { libc::getuid() };
    let pid = std::process::id().cast_signed();
    let send = move |signo: i32| {
        // SAFETY: a signal to a thread of this process.
        unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signo) };
    };
    std::thread::scope(|threads| {
        // In the guest.
        threads.spawn(move || send(libc::SIGHUP));
        assert_eq!(guest.enter(&mut guest.cx(spin)), Trap::Preempted);
    });
    until(&guest, |event| {
        matches!(event, Event::Signal { signo: Signo::SIGHUP, info }
            if (info.pid().raw(), info.uid()) == (pid, uid))
    });
    // In the host, then in the poller.
    send(libc::SIGUSR2);
    until(&guest, |event| {
        matches!(
            event,
            Event::Signal {
                signo: Signo::SIGUSR2,
                ..
            }
        )
    });
    std::thread::scope(|threads| {
        threads.spawn(move || {
            for _ in 0..100 {
                send(libc::SIGINT);
            }
        });
        until(&guest, |event| {
            matches!(
                event,
                Event::Signal {
                    signo: Signo::SIGINT,
                    ..
                }
            )
        });
    });
}

#[test]
fn our_descriptors_are_high_and_close_on_exec() {
    let _alone = alone();
    let _guest = Guest::new();
    let mut found = 0;
    for fd in own_descriptors() {
        // SAFETY: asks for a flag.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if flags >= 0 {
            found += 1;
            assert_eq!(flags, libc::FD_CLOEXEC);
        }
    }
    assert!(found >= 2, "an epoll and an eventfd");
}
