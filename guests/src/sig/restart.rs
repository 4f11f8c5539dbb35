//! Every call that can sleep, hit by a handled signal: EINTR without `SA_RESTART`; with it the call begins
//! again, or is EINTR all the same, as NetBSD has it for that call.
//!
//! Sources: the man page of each call; `sigaction(2)`; `sys_generic.c`, `sys_select.c`, `kern_event.c`,
//! `kern_time.c`, `uipc_syscalls.c`, `vfs_lockf.c`, `fifo_vnops.c`.

use crate::sleep::{interrupted, restarted};
use core::ffi::CStr;
use rt::abi::event::Kevent;
use rt::abi::fs::{
    F_SETFL, F_SETLKW, F_WRLCK, Flock, LOCK_EX, LOCK_NB, LOCK_UN, O_CREAT, O_NONBLOCK, O_RDWR,
};
use rt::abi::poll::Pollfd;
use rt::abi::signal::{SaFlags, SigSet, Signo};
use rt::abi::socket::{AF_INET, AF_LOCAL, SOCK_STREAM, SockaddrIn};
use rt::abi::time::{CLOCK_MONOTONIC, Timespec};
use rt::abi::wait::{P_PID, WEXITED};
use rt::check::{Check, Fail, Verdict};
use rt::lwp::{self, spawn};
use rt::process::{self, low, read, write};
use rt::sync::Word;
use rt::time::{SECOND, timespec};
use rt::{Errno, SysResult, ensure_eq, scene, sig, sys, sysctl};

pub(crate) const CHECKS: &[Check] = &[
    ("restart/read", reading_restarts),
    ("restart/readv", readv_restarts),
    ("restart/recvfrom", recvfrom_restarts),
    ("restart/recvmsg", recvmsg_restarts),
    ("restart/write", write_restarts),
    ("restart/sendto", sendto_restarts),
    ("restart/accept", accept_restarts),
    ("restart/paccept", paccept_restarts),
    ("restart/fcntl", fcntl_restarts),
    ("restart/flock", flock_restarts),
    ("restart/flock-or-not", flock_has_the_lock_or_not),
    ("restart/eventfd", eventfd_restarts),
    ("restart/wait6", wait6_restarts),
    ("restart/sigtimedwait", sigtimedwait_restarts),
    ("restart/_lwp_suspend", suspend_restarts),
    ("eintr/open-fifo", open_does_not),
    ("eintr/poll", poll_does_not),
    ("eintr/pollts", pollts_does_not),
    ("eintr/select", select_does_not),
    ("eintr/pselect", pselect_does_not),
    ("eintr/kevent", kevent_does_not),
    ("eintr/clock_nanosleep", clock_nanosleep_does_not),
    ("eintr/_lwp_park", park_does_not),
];

/// That a call which `scene` makes, with what ends it, is EINTR without `SA_RESTART`, and with it begins
/// again and gives `want` in the end.
fn restarts<F, E>(scene: impl Fn() -> Result<(F, E), Fail>, want: SysResult) -> Verdict
where
    F: FnOnce() -> SysResult + Send + 'static,
    E: FnOnce() -> SysResult,
{
    let (call, end) = scene()?;
    ensure_eq!(interrupted(SaFlags::empty(), call)?, Err(Errno::EINTR));
    end()?;
    let (call, end) = scene()?;
    ensure_eq!(restarted(call, end)?, want);
    Ok(())
}

/// That a call is EINTR, whatever the flag.
fn is_eintr<F>(call: F) -> Verdict
where
    F: FnOnce() -> SysResult + Copy + Send + 'static,
{
    for flags in [SaFlags::empty(), SaFlags::RESTART] {
        ensure_eq!(interrupted(flags, call)?, Err(Errno::EINTR));
    }
    Ok(())
}

/// A pipe whose read end `call` reads from.
fn from_a_pipe(call: fn(i32) -> SysResult) -> Verdict {
    let scene = || {
        let (from, to) = process::pipe()?;
        Ok((move || call(from), move || write(to, b"abc")))
    };
    restarts(scene, Ok(3))
}

/// Two connected sockets, from one of which `call` receives.
fn from_a_socket(call: fn(i32) -> SysResult) -> Verdict {
    let scene = || {
        let [from, to] = socketpair()?;
        Ok((move || call(from), move || write(to, b"abc")))
    };
    restarts(scene, Ok(3))
}

fn socketpair() -> Result<[i32; 2], Errno> {
    let mut pair = [0; 2];
    sys!(SYS_SOCKETPAIR, AF_LOCAL, SOCK_STREAM, 0, pair.as_mut_ptr())?;
    Ok(pair)
}

fn reading_restarts() -> Verdict {
    from_a_pipe(|fd| read(fd, &mut [0; 8]))
}

/// `struct iovec`.
#[repr(C)]
struct Piece {
    base: *mut u8,
    len: usize,
}

fn readv_restarts() -> Verdict {
    from_a_pipe(|fd| {
        let mut buf = [0; 8];
        let pieces = [2, 6].map(|len| Piece {
            base: buf.as_mut_ptr(),
            len,
        });
        sys!(SYS_READV, fd, pieces.as_ptr(), pieces.len())
    })
}

fn recvfrom_restarts() -> Verdict {
    from_a_socket(|fd| sys!(SYS_RECVFROM, fd, [0_u8; 8].as_mut_ptr(), 8, 0, 0, 0))
}

fn recvmsg_restarts() -> Verdict {
    from_a_socket(|fd| {
        let mut buf = [0; 8];
        let piece = Piece {
            base: buf.as_mut_ptr(),
            len: buf.len(),
        };
        // Name and its length, pieces and their number, control and its length, flags.
        let message = [0, 0, sys::Arg::arg(&piece), 1, 0, 0, 0];
        sys!(SYS_RECVMSG, fd, message.as_ptr(), 0)
    })
}

static CHUNK: [u8; 4096] = [7; 4096];

/// Whether there is room now: what is written then is the last.
static DRAINED: Word = Word::new();

/// Writes by `call` until it has been drained.
fn fill(call: impl Fn() -> SysResult) -> SysResult {
    loop {
        let written = call()?;
        if DRAINED.get() == 1 {
            return Ok(written);
        }
    }
}

/// Makes room: reads what lies there.
fn drain(from: i32) -> SysResult {
    DRAINED.set(1);
    sys!(SYS_FCNTL, from, F_SETFL, O_NONBLOCK)?;
    let mut buf = [0; 4096];
    let mut total = 0;
    loop {
        match read(from, &mut buf) {
            Ok(n) => total += n,
            Err(Errno::EAGAIN) => return Ok(total),
            Err(errno) => return Err(errno),
        }
    }
}

fn write_restarts() -> Verdict {
    let scene = || {
        DRAINED.set(0);
        let (from, to) = process::pipe()?;
        Ok((move || fill(|| write(to, &CHUNK)), move || drain(from)))
    };
    restarts(scene, Ok(4096))
}

fn sendto_restarts() -> Verdict {
    let scene = || {
        DRAINED.set(0);
        let [from, to] = socketpair()?;
        // Small enough to go whole or not at all.
        let send = move || sys!(SYS_SENDTO, to, CHUNK.as_ptr(), 64, 0, 0, 0);
        Ok((move || fill(send), move || drain(from)))
    };
    restarts(scene, Ok(64))
}

/// A listening socket and its address.
fn listener() -> Result<(i32, SockaddrIn), Errno> {
    let mut addr = SockaddrIn {
        sin_len: 16,
        sin_family: AF_INET,
        sin_port: [0; 2],
        sin_addr: [127, 0, 0, 1],
        sin_zero: [0; 8],
    };
    let mut len = 16_u32;
    let fd = low(sys!(SYS_SOCKET30, AF_INET, SOCK_STREAM, 0)?);
    sys!(SYS_BIND, fd, &addr, len)?;
    sys!(SYS_LISTEN, fd, 4)?;
    sys!(SYS_GETSOCKNAME, fd, &mut addr, &mut len)?;
    Ok((fd, addr))
}

/// That accepting by `call` restarts; it gives 1 for a descriptor.
fn accepting_restarts(call: fn(i32) -> SysResult) -> Verdict {
    let scene = || {
        let (fd, addr) = listener()?;
        let connect = move || {
            let near = low(sys!(SYS_SOCKET30, AF_INET, SOCK_STREAM, 0)?);
            sys!(SYS_CONNECT, near, &addr, 16)
        };
        Ok((move || call(fd).map(|_| 1), connect))
    };
    restarts(scene, Ok(1))
}

fn accept_restarts() -> Verdict {
    accepting_restarts(|fd| sys!(SYS_ACCEPT, fd, 0, 0))
}

fn paccept_restarts() -> Verdict {
    accepting_restarts(|fd| sys!(SYS_PACCEPT, fd, 0, 0, 0, 0))
}

/// A file in the working directory that is taken away when the check is over.
struct File(&'static CStr);

impl Drop for File {
    fn drop(&mut self) {
        let _ = sys!(SYS_UNLINK, self.0);
    }
}

/// A new file, open.
fn open_new(name: &CStr) -> SysResult {
    sys!(SYS_OPEN, name, O_RDWR | O_CREAT, 0o600)
}

/// Locks a whole file, or waits for the lock.
fn lock(fd: i32) -> SysResult {
    let whole = Flock {
        l_type: F_WRLCK,
        ..Flock::default()
    };
    sys!(SYS_FCNTL, fd, F_SETLKW, &whole)
}

fn fcntl_restarts() -> Verdict {
    const NAME: &CStr = c"restart-fcntl.tmp";
    let _file = File(NAME);
    let fd = low(open_new(NAME)?);
    let (from, release) = process::pipe()?;
    let (ready, tell) = process::pipe()?;
    // Such locks belong to a process: another has to hold it.
    let child = process::spawn_child(|| {
        let is_held = open_new(NAME).is_ok_and(|fd| lock(low(fd)).is_ok());
        let _ = write(tell, b"x");
        let _ = read(from, &mut [0]);
        i32::from(!is_held)
    })?;
    read(ready, &mut [0])?;
    let call = move || lock(fd);
    ensure_eq!(interrupted(SaFlags::empty(), call)?, Err(Errno::EINTR));
    ensure_eq!(restarted(call, || write(release, b"x"))?, Ok(0));
    ensure_eq!(process::wait(child)?.code(), Some(0));
    Ok(())
}

/// Three open files of one file, the first of which has its lock.
fn locked(name: &CStr) -> Result<[i32; 3], Errno> {
    let fds = [
        low(open_new(name)?),
        low(open_new(name)?),
        low(open_new(name)?),
    ];
    sys!(SYS_UNLINK, name)?;
    sys!(SYS_FLOCK, fds[0], LOCK_EX)?;
    Ok(fds)
}

fn flock_restarts() -> Verdict {
    let [held, wanted, other] = locked(c"restart-flock.tmp")?;
    let call = move || sys!(SYS_FLOCK, wanted, LOCK_EX);
    ensure_eq!(interrupted(SaFlags::empty(), call)?, Err(Errno::EINTR));
    let release = || sys!(SYS_FLOCK, held, LOCK_UN);
    ensure_eq!(restarted(call, release)?, Ok(0));
    let free = sys!(SYS_FLOCK, other, LOCK_EX | LOCK_NB);
    ensure_eq!(free, Err(Errno::EAGAIN));
    Ok(())
}

/// A signal comes as the lock becomes free: whoever was told that it has the lock has it, and nobody else.
fn flock_has_the_lock_or_not() -> Verdict {
    let [held, wanted, other] = locked(c"restart-flock-race.tmp")?;
    for round in 0..60 {
        let restarts = round % 2 == 0;
        let flags = if restarts {
            SaFlags::RESTART
        } else {
            SaFlags::empty()
        };
        sig::catch(Signo::SIGUSR1, crate::sleep::count, flags)?;
        let task = spawn(move || sys!(SYS_FLOCK, wanted, LOCK_EX));
        sysctl::until_asleep(task.lid, "lockf")?;
        lwp::kill(task.lid, Signo::SIGUSR1.raw())?;
        sys!(SYS_FLOCK, held, LOCK_UN)?;
        let has_it = task.join()?;
        if restarts || has_it.is_ok() {
            ensure_eq!(has_it, Ok(0));
            let free = sys!(SYS_FLOCK, other, LOCK_EX | LOCK_NB);
            ensure_eq!(free, Err(Errno::EAGAIN));
            sys!(SYS_FLOCK, wanted, LOCK_UN)?;
        }
        sys!(SYS_FLOCK, held, LOCK_EX | LOCK_NB)?;
    }
    Ok(())
}

fn eventfd_restarts() -> Verdict {
    let scene = || {
        let fd = low(sys!(SYS_EVENTFD, 0, 0)?);
        Ok((
            move || read(fd, &mut [0; 8]),
            move || write(fd, &1_u64.to_le_bytes()),
        ))
    };
    restarts(scene, Ok(8))
}

fn wait6_restarts() -> Verdict {
    let scene = || {
        let child = process::spawn_child(|| {
            let _ = lwp::rest();
            0
        })?;
        let wait = move || {
            let mut status = 0_i32;
            sys!(SYS_WAIT6, P_PID, child, &mut status, WEXITED, 0, 0)?;
            Ok(sys::Arg::arg(status))
        };
        Ok((wait, move || process::kill(child, Signo::SIGKILL.raw())))
    };
    restarts(scene, Ok(9))
}

fn sigtimedwait_restarts() -> Verdict {
    static WAITER: Word = Word::new();
    let usr2 = SigSet::of(&[Signo::SIGUSR2]);
    let call = move || {
        WAITER.set(lwp::me().raw().cast_unsigned());
        let info = sig::timedwait(usr2, None)?;
        Ok(sys::Arg::arg(info.si_signo))
    };
    ensure_eq!(interrupted(SaFlags::empty(), call)?, Err(Errno::ECANCELED));
    sig::block(Signo::SIGUSR2)?;
    let end = || process::kill(process::pid(), Signo::SIGUSR2.raw());
    ensure_eq!(restarted(call, end)?, Ok(31));
    Ok(())
}

fn suspend_restarts() -> Verdict {
    for flags in [SaFlags::empty(), SaFlags::RESTART] {
        sig::catch(Signo::SIGUSR1, crate::sleep::count, flags)?;
        let target = scene::sleeping()?;
        let task = spawn(move || lwp::suspend(target.lid));
        for _ in 0..3 {
            sysctl::until_asleep(task.lid, "lwpwait")?;
            let before = crate::sleep::HANDLED.get();
            lwp::kill(task.lid, Signo::SIGUSR1.raw())?;
            crate::sleep::HANDLED.wait(before + 1)?;
        }
        sysctl::until_asleep(task.lid, "lwpwait")?;
        lwp::resume(target.lid)?;
        scene::pulse()?;
        ensure_eq!(task.join()?, Ok(0));
    }
    Ok(())
}

/// A pipe from which nothing comes, to be waited for.
fn silent() -> Result<Pollfd, Errno> {
    let (fd, _) = process::pipe()?;
    Ok(Pollfd {
        fd,
        events: 1,
        revents: 0,
    })
}

fn open_does_not() -> Verdict {
    const NAME: &CStr = c"eintr-open.fifo";
    let _file = File(NAME);
    sys!(SYS_MKFIFO, NAME, 0o600)?;
    is_eintr(|| sys!(SYS_OPEN, NAME, 0, 0))
}

fn poll_does_not() -> Verdict {
    let fd = silent()?;
    is_eintr(move || sys!(SYS_POLL, [fd].as_mut_ptr(), 1, -1))
}

fn pollts_does_not() -> Verdict {
    let fd = silent()?;
    is_eintr(move || sys!(SYS_POLLTS50, [fd].as_mut_ptr(), 1, 0, 0))
}

/// A set for select(2) with one descriptor below 64.
fn set_of(fd: i32) -> [u64; 4] {
    [1 << fd, 0, 0, 0]
}

fn select_does_not() -> Verdict {
    let fd = silent()?.fd;
    is_eintr(move || sys!(SYS_SELECT50, fd + 1, &mut set_of(fd), 0, 0, 0))
}

fn pselect_does_not() -> Verdict {
    let fd = silent()?.fd;
    is_eintr(move || {
        let limit = timespec(60 * SECOND);
        sys!(SYS_PSELECT50, fd + 1, &mut set_of(fd), 0, 0, &limit, 0)
    })
}

fn kevent_does_not() -> Verdict {
    let kq = sys!(SYS_KQUEUE)?;
    is_eintr(move || {
        let mut event = Kevent::default();
        sys!(SYS_KEVENT50, kq, 0, 0, &mut event, 1, 0)
    })
}

fn clock_nanosleep_does_not() -> Verdict {
    let nap = |flags, time: Timespec| {
        // The error is the result, in rax.
        let result = sys!(SYS_CLOCK_NANOSLEEP, CLOCK_MONOTONIC, flags, &time, 0);
        match result {
            Ok(errno) if errno == sys::Arg::arg(Errno::EINTR.raw()) => Err(Errno::EINTR),
            other => other,
        }
    };
    is_eintr(move || nap(0, timespec(60 * SECOND)))?;
    is_eintr(move || nap(1, timespec(rt::time::now() + 60 * SECOND)))
}

fn park_does_not() -> Verdict {
    is_eintr(lwp::rest)?;
    is_eintr(|| lwp::again(|| lwp::park_for(&mut timespec(60 * SECOND))))
}
