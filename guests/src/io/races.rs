//! Descriptors that one LWP replaces or closes while another uses them, or while the kernel does.
//!
//! Found by `barrage`. A race has no moment that a check could wait for, so each is tried many times.

use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use rt::abi::signal::{SaFlags, Siginfo, Signo};
use rt::abi::ucontext::Ucontext;
use rt::check::{Check, Verdict};
use rt::lwp::{self, spawn};
use rt::process::{self, close, low, pipe};
use rt::{Errno, SysResult, ensure, ensure_eq, sig, sync, sys, time};

pub(crate) const CHECKS: &[Check] = &[
    ("races/close-own", closing_what_is_not_ours),
    ("races/replace", read_of_a_file_that_becomes_a_pipe),
    ("races/vfork", vforks_and_forks_at_once),
    ("races/watch", waiting_while_the_number_is_closed),
    ("races/fifo", opens_given_up_make_room),
    ("races/open", open_of_a_file_that_becomes_a_fifo),
    ("races/kind", what_a_number_was_is_forgotten),
];

/// An LWP closes numbers it does not have, while another makes calls for which a kernel that lives in a
/// process may need descriptors of its own.
fn closing_what_is_not_ours() -> Verdict {
    static STOP: AtomicU32 = AtomicU32::new(0);
    let closer = spawn(|| {
        while STOP.load(Ordering::Relaxed) == 0 {
            for fd in 3..9 {
                let _ = close(fd);
            }
        }
    });
    for _ in 0..400 {
        // PRIO_PROCESS, the caller, as before; F_MAXFD.
        sys!(SYS_SETPRIORITY, 0, 0, 0)?;
        sys!(SYS_FCNTL, 0, 11, 0)?;
    }
    STOP.store(1, Ordering::Relaxed);
    closer.join()?;
    Ok(())
}

extern "C" fn nothing(_: i32, _: &mut Siginfo, _: &mut Ucontext) {}

/// A descriptor is a file when a read of it begins, and an empty pipe a moment later. Whatever the read
/// then waits for, a signal ends that, and the read that begins again finds the file.
fn read_of_a_file_that_becomes_a_pipe() -> Verdict {
    static STOP: AtomicU32 = AtomicU32::new(0);
    static READS: AtomicU32 = AtomicU32::new(0);
    sig::catch(Signo::SIGUSR1, nothing, SaFlags::RESTART)?;
    let (empty, _writer) = pipe()?;
    // O_RDWR | O_CREAT; a file on a disk has no name of its own for waiting.
    let file = low(sys!(SYS_OPEN, c"io-races.tmp", 0x202, 0o600)?);
    sys!(SYS_UNLINK, c"io-races.tmp")?;
    process::write(file, &[0; 8])?;
    let fd = low(sys!(SYS_DUP, file)?);
    let reader = spawn(move || {
        let mut buf = [0; 8];
        while STOP.load(Ordering::Relaxed) == 0 {
            // Fails on the pipe.
            let _ = sys!(SYS_LSEEK, fd, 0, 0_u64, 0);
            let got = process::read(fd, &mut buf);
            if !matches!(got, Ok(0 | 8) | Err(Errno::EINTR)) {
                return got;
            }
            READS.fetch_add(1, Ordering::Relaxed);
            // Or on one vcpu each round would take a quantum.
            sync::yield_now();
        }
        Ok(0)
    });
    let end = time::now() + 3 * time::SECOND;
    while time::now() < end {
        for _ in 0..50 {
            sys!(SYS_DUP2, empty, fd)?;
            sys!(SYS_DUP2, file, fd)?;
        }
        let before = READS.load(Ordering::Relaxed);
        // A signal at a time: a storm of them would leave the reader no time to read.
        let mut next = time::now();
        sync::until("a read of the file", || {
            if time::now() > next {
                next = time::now() + time::MS;
                let _ = lwp::kill(reader.lid, Signo::SIGUSR1.raw());
            }
            READS.load(Ordering::Relaxed) != before
        })?;
    }
    STOP.store(1, Ordering::Relaxed);
    ensure_eq!(reader.join()?, Ok(0));
    Ok(())
}

/// vfork(2) and fork(2) from many LWPs at once: nobody waits for another's child.
fn vforks_and_forks_at_once() -> Verdict {
    const EACH: usize = 4;
    static CHILDREN: [AtomicI32; EACH] = [const { AtomicI32::new(0) }; EACH];
    let (read, write) = pipe()?;
    let forks = [0, 1, 2, 3].map(|i| {
        spawn(move || {
            let child = process::spawn_child(|| {
                // Until the parent closes the other end, or ends.
                let _ = close(write);
                let _ = process::read(read, &mut [0]);
                0
            });
            CHILDREN[i].store(child.unwrap_or(-1), Ordering::Relaxed);
        })
    });
    let vforks = [(); EACH].map(|()| {
        spawn(
            || match sys::raw::<{ rt::abi::nr::SYS_VFORK }>([0; 6]).result() {
                Ok(0) => process::exit(9),
                other => other,
            },
        )
    });
    for task in vforks {
        let child = low(task.join()??);
        ensure_eq!(process::wait(child)?.code(), Some(9));
    }
    for task in forks {
        task.join()?;
    }
    close(write)?;
    for child in &CHILDREN {
        let child = child.load(Ordering::Relaxed);
        ensure!(child > 0, "fork");
        ensure_eq!(process::wait(child)?.code(), Some(0));
    }
    Ok(())
}

/// More LWPs than a kernel in a process may have helpers wait for the other side of a FIFO, and are
/// woken. Whoever waits next is served.
fn opens_given_up_make_room() -> Verdict {
    const NAME: &core::ffi::CStr = c"io-races.fifo";
    sys!(SYS_MKFIFO, NAME, 0o600)?;
    for _ in 0..3 {
        let tasks = [(); 40].map(|()| spawn(|| sys!(SYS_OPEN, NAME, 0, 0)));
        for task in tasks {
            rt::sysctl::until_asleep(task.lid, "fifo")?;
        }
        for task in tasks {
            lwp::wakeup(task.lid)?;
        }
        for task in tasks {
            ensure_eq!(task.join()?, Err(Errno::EINTR));
        }
    }
    let reader = spawn(|| sys!(SYS_OPEN, NAME, 0, 0));
    let writer = low(sys!(SYS_OPEN, NAME, 1, 0)?);
    let reader = low(reader.join()??);
    ensure_eq!(process::write(writer, b"x"), Ok(1));
    ensure_eq!(process::read(reader, &mut [0; 4]), Ok(1));
    sys!(SYS_UNLINK, NAME)?;
    Ok(())
}

/// A name is a file's when an open of it begins, and a FIFO's a moment later. Whatever the open then waits
/// for keeps nobody from forking, and is a sleep like any other.
fn open_of_a_file_that_becomes_a_fifo() -> Verdict {
    const NAME: &core::ffi::CStr = c"io-races.name";
    const FIFO: &core::ffi::CStr = c"io-races.a-fifo";
    const FILE: &core::ffi::CStr = c"io-races.a-file";
    static STOP: AtomicU32 = AtomicU32::new(0);
    sys!(SYS_MKFIFO, FIFO, 0o600)?;
    close(low(sys!(SYS_OPEN, FILE, 0x202, 0o600)?))?;
    let swapper = spawn(|| -> SysResult {
        while STOP.load(Ordering::Relaxed) == 0 {
            for other in [FILE, FIFO] {
                sys!(SYS_LINK, other, NAME)?;
                sys!(SYS_UNLINK, NAME)?;
            }
        }
        Ok(0)
    });
    let opener = spawn(|| -> SysResult {
        while STOP.load(Ordering::Relaxed) == 0 {
            match sys!(SYS_OPEN, NAME, 0, 0) {
                Ok(fd) => {
                    close(low(fd))?;
                }
                Err(Errno::ENOENT | Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(0)
    });
    for _ in 0..200 {
        let child = process::spawn_child(|| 0)?;
        ensure_eq!(process::wait(child)?.code(), Some(0));
        // It fails unless the open sleeps.
        let _ = lwp::wakeup(opener.lid);
    }
    STOP.store(1, Ordering::Relaxed);
    sync::until("the last open", || {
        lwp::wakeup(opener.lid) == Err(Errno::ESRCH)
    })?;
    ensure_eq!(opener.join()?, Ok(0));
    ensure_eq!(swapper.join()?, Ok(0));
    sys!(SYS_UNLINK, FIFO)?;
    sys!(SYS_UNLINK, FILE)?;
    Ok(())
}

/// An LWP uses a number all the time while it is a file's and then a pipe's. The last read sleeps.
fn what_a_number_was_is_forgotten() -> Verdict {
    static STOP: AtomicU32 = AtomicU32::new(0);
    let (empty, writer) = pipe()?;
    let file = low(sys!(SYS_OPEN, c"io-races.kind", 0x202, 0o600)?);
    sys!(SYS_UNLINK, c"io-races.kind")?;
    let fd = low(sys!(SYS_DUP, file)?);
    let user = spawn(move || {
        while STOP.load(Ordering::Relaxed) == 0 {
            let _ = sys!(SYS_LSEEK, fd, 0, 0_u64, 0);
        }
    });
    for _ in 0..100 {
        sys!(SYS_DUP2, file, fd)?;
        sys!(SYS_DUP2, empty, fd)?;
        let reader = spawn(move || process::read(fd, &mut [0]));
        rt::sysctl::until_asleep(reader.lid, "pipe_rd")?;
        process::write(writer, b"x")?;
        ensure_eq!(reader.join()?, Ok(1));
    }
    STOP.store(1, Ordering::Relaxed);
    user.join()?;
    Ok(())
}

/// LWPs wait for a number that is closed and made anew all the time. Whoever waits for it in the end is
/// woken.
fn waiting_while_the_number_is_closed() -> Verdict {
    const FD: i32 = 99;
    static STOP: AtomicU32 = AtomicU32::new(0);
    let (read, write) = pipe()?;
    let waiters = [(); 3].map(|()| {
        spawn(|| {
            while STOP.load(Ordering::Relaxed) == 0 {
                // struct pollfd: fd, events (POLLIN), revents.
                let mut entry = u64::from(FD.unsigned_abs()) | 1 << 32;
                let _ = sys!(SYS_POLL, &mut entry, 1, 1);
            }
        })
    });
    let end = time::now() + 2 * time::SECOND;
    while time::now() < end {
        for _ in 0..200 {
            sys!(SYS_DUP2, read, FD)?;
            // F_CLOSEM: tells of all before it closes any.
            sys!(SYS_FCNTL, FD, 10, 0)?;
        }
        sys!(SYS_DUP2, read, FD)?;
        let reader = spawn(|| process::read(FD, &mut [0; 1]));
        rt::sysctl::until_asleep(reader.lid, "pipe_rd")?;
        process::write(write, b"x")?;
        ensure_eq!(reader.join()?, Ok(1));
        close(FD)?;
    }
    STOP.store(1, Ordering::Relaxed);
    for waiter in waiters {
        waiter.join()?;
    }
    Ok(())
}
