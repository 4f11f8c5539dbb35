//! Processes: ids, fork and its ends, limits on how long a program may take.

use crate::{SysResult, sig, sys};
use core::ffi::CStr;
use lwp_abi::Errno;
use lwp_abi::lwp::Pid;
use lwp_abi::nr::SYS_GETPID;
use lwp_abi::time::{Itimerval, Timeval};

/// The exit status of a program that panicked.
pub const BROKEN: i32 = 99;

/// `exit(2)`.
pub fn exit(status: i32) -> ! {
    let _ = sys!(SYS_EXIT, status);
    // Nothing better is left than a fault.
    abort()
}

/// Ends the program by an illegal instruction.
pub fn abort() -> ! {
    // SAFETY: it does not return.
    unsafe { core::arch::asm!("ud2", options(noreturn)) }
}

/// `getpid(2)`.
pub fn pid() -> i32 {
    sys!(SYS_GETPID).map_or(0, low)
}

/// The parent, which `getpid(2)` leaves in RDX.
pub fn parent() -> i32 {
    low(sys::raw::<{ SYS_GETPID }>([0; 6]).rdx)
}

/// `geteuid(2)`.
pub fn euid() -> u32 {
    sys!(SYS_GETEUID).map_or(0, |uid| low(uid).cast_unsigned())
}

/// An `int` result.
pub fn low(word: u64) -> i32 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low half is what is asked for"
    )]
    let word = word as u32;
    word.cast_signed()
}

/// `kill(2)`.
///
/// # Errors
/// The call's own.
pub fn kill(pid: i32, signo: i32) -> SysResult {
    sys!(SYS_KILL, pid, signo)
}

/// `fork(2)`: the child's id, or 0 in the child.
///
/// # Errors
/// The call's own.
pub fn fork() -> Result<i32, Errno> {
    sys!(SYS_FORK).map(low)
}

/// How a process ended, as wait(2) tells it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Status(pub i32);

impl Status {
    /// The exit status, if it exited.
    pub fn code(self) -> Option<i32> {
        (self.0 % 0x80 == 0).then_some(self.0 >> 8 & 0xff)
    }

    /// The signal that killed it, if one did.
    pub fn signal(self) -> Option<i32> {
        let signo = self.0 & 0x7f;
        (signo != 0 && signo != 0x7f).then_some(signo)
    }

    /// The signal that stopped it, if it is stopped.
    pub fn stopped(self) -> Option<i32> {
        (self.0 & 0xff == 0x7f).then_some(self.0 >> 8 & 0xff)
    }

    /// Whether it was continued.
    pub fn continued(self) -> bool {
        self.0 == 0xffff
    }
}

impl core::fmt::Debug for Status {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.continued() {
            f.write_str("continued")
        } else if let Some(signo) = self.stopped() {
            write!(f, "stopped by signal {signo}")
        } else if let Some(signo) = self.signal() {
            write!(f, "killed by signal {signo}")
        } else {
            write!(f, "exit {}", self.0 >> 8)
        }
    }
}

/// `WNOHANG`.
pub const WNOHANG: i32 = 1;
/// `WUNTRACED`.
pub const WUNTRACED: i32 = 2;
/// `WCONTINUED`.
pub const WCONTINUED: i32 = 0x10;

/// `wait4(2)`: the process and its status.
///
/// # Errors
/// The call's own.
pub fn wait4(pid: i32, options: i32) -> Result<(Pid, Status), Errno> {
    let mut status = 0_i32;
    let found = sys!(SYS_WAIT450, pid, &mut status, options, 0_u64)?;
    Ok((Pid::new(low(found)), Status(status)))
}

/// Waits for a child; again, if a signal comes between.
///
/// # Errors
/// The call's own, but for `EINTR`.
pub fn wait(pid: i32) -> Result<Status, Errno> {
    loop {
        match wait4(pid, 0) {
            Ok((_, status)) => return Ok(status),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Runs `f` in a child, with the watchdog, and says how the child ended.
///
/// # Errors
/// Those of fork(2) and wait(2).
pub fn in_child(f: impl FnOnce() -> i32) -> Result<Status, Errno> {
    wait(spawn_child(f)?)
}

/// Starts `f` in a child, with the watchdog; its result is the exit status.
///
/// # Errors
/// Those of fork(2).
pub fn spawn_child(f: impl FnOnce() -> i32) -> Result<i32, Errno> {
    match fork()? {
        0 => {
            watchdog(10);
            exit(f())
        }
        child => Ok(child),
    }
}

/// Lets the program die of `SIGALRM` when `seconds` are over. Nothing may hang.
pub fn watchdog(seconds: i64) {
    let it_value = Timeval {
        tv_sec: seconds,
        tv_usec: 0,
        pad: 0,
    };
    let limit = Itimerval {
        it_interval: Timeval::ZERO,
        it_value,
    };
    // A kernel without timers fails the checks of timers; this one is for the rest.
    let _ = sys!(SYS_SETITIMER50, lwp_abi::time::ITIMER_REAL, &limit, 0_u64);
    let _ = sig::unblock(lwp_abi::signal::Signo::SIGALRM);
}

/// `execve(2)`. The lists end with 0.
///
/// # Errors
/// The call's own; otherwise it does not return.
pub fn execve(path: &CStr, argv: &[u64], envp: &[u64]) -> SysResult {
    sys!(SYS_EXECVE, path, argv.as_ptr(), envp.as_ptr())
}

/// `pipe(2)`: read end, write end.
///
/// # Errors
/// The call's own.
pub fn pipe() -> Result<(i32, i32), Errno> {
    let raw = sys::raw::<{ lwp_abi::nr::SYS_PIPE }>([0; 6]);
    raw.result()?;
    Ok((low(raw.rax), low(raw.rdx)))
}

/// `close(2)`.
///
/// # Errors
/// The call's own.
pub fn close(fd: i32) -> SysResult {
    sys!(SYS_CLOSE, fd)
}

/// `read(2)`.
///
/// # Errors
/// The call's own.
pub fn read(fd: i32, buf: &mut [u8]) -> SysResult {
    sys!(SYS_READ, fd, buf.as_mut_ptr(), buf.len())
}

/// `write(2)`.
///
/// # Errors
/// The call's own.
pub fn write(fd: i32, buf: &[u8]) -> SysResult {
    sys!(SYS_WRITE, fd, buf.as_ptr(), buf.len())
}
