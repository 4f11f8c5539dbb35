//! Before and after: the directory, the process that keeps the run going, and what there is.

use crate::berth;
use crate::filter::{FORKS, PID};
use core::ffi::CStr;
use core::fmt::Write;
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use rt::abi::lwp::KinfoLwp;
use rt::abi::nr::SYS_GETITIMER50;
use rt::abi::time::{Itimerval, Timeval};
use rt::check::Verdict;
use rt::fmt::Text;
use rt::process::{WNOHANG, low};
use rt::time::{MS, timespec};
use rt::{Errno, SysResult, process, sys, sysctl, time, vm};

/// Descriptors that are looked at.
const DESCRIPTORS: i32 = 8192;
/// `O_DIRECTORY | O_NOFOLLOW`.
const DIRECTORY: i32 = 0x0020_0000 | 0x0100;
/// `AT_REMOVEDIR`.
const REMOVEDIR: i32 = 0x800;
/// The directory's descriptor.
const HOME: i32 = 0;

/// Mappings that calls have made: where, and how long.
static MADE: [(AtomicU64, AtomicU64); 64] = [const { (AtomicU64::new(0), AtomicU64::new(0)) }; 64];

/// Notes a mapping; whoever was noted in its place is unmapped. What lies in the arena is the arena's.
pub(crate) fn keep_track(addr: u64, len: u64, luck: u64) {
    let arena = berth::ARENA.load(Ordering::Relaxed);
    let len = len.next_multiple_of(4096);
    // What begins in a hole of the arena may end behind it, where nothing else is.
    if (arena..arena + berth::ARENA_LEN).contains(&addr) {
        let end = arena + berth::ARENA_LEN;
        let _ = vm::munmap(
            end,
            usize::try_from((addr + len).saturating_sub(end)).unwrap_or(0),
        );
        return;
    }
    let (at, size) = &MADE[usize::try_from(luck % 64).unwrap_or(0)];
    // The length goes out before the address comes in: of two at once, one pair is whole.
    let old_len = size.swap(0, Ordering::SeqCst);
    if old_len == 0 {
        // Somebody else is at it.
        let _ = vm::munmap(addr, usize::try_from(len).unwrap_or(0));
        return;
    }
    let old = at.swap(addr, Ordering::SeqCst);
    size.store(len, Ordering::SeqCst);
    if old != 0 {
        let _ = vm::munmap(old, usize::try_from(old_len).unwrap_or(0));
    }
}

/// Makes the table of mappings ready.
fn prepare_table() {
    for (_, size) in &MADE {
        size.store(1, Ordering::SeqCst);
    }
}

/// Children that calls have made.
static CHILDREN: [AtomicI32; FORKS as usize] = [const { AtomicI32::new(0) }; FORKS as usize];

/// Notes a child, which is to be ended at the end.
pub(crate) fn note_child(pid: i32) {
    for child in &CHILDREN {
        if child
            .compare_exchange(0, pid, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
        {
            return;
        }
    }
}

/// The directory in which names are tried.
pub(crate) struct Home {
    path: Text<200>,
}

impl Home {
    /// Makes the directory and goes there. It is also descriptor 0, which no call gets.
    ///
    /// # Errors
    /// Those of mkdir(2), chdir(2), open(2) and dup2(2).
    pub(crate) fn make(path: &str) -> Result<Self, Errno> {
        prepare_table();
        // 0 to 2 stay as they are, so they have to be there: what a call put in their place would stay, too.
        while low(sys!(SYS_OPEN, c"/dev/null", 2, 0)?) <= 2 {}
        // What is left to us beyond them would be closed by some call.
        let _ = close_all();
        let mut text = Text::new();
        // Text is cut off, which then fails below.
        let _ = if path.is_empty() {
            write!(text, "/tmp/barrage.{}\0", PID.load(Ordering::Relaxed))
        } else {
            write!(text, "{path}\0")
        };
        let home = Self { path: text };
        sys!(SYS_MKDIR, home.path(), 0o777)?;
        sys!(SYS_CHDIR, home.path())?;
        let fd = low(sys!(SYS_OPEN, c".", DIRECTORY, 0)?);
        sys!(SYS_DUP2, fd, HOME)?;
        process::close(fd)?;
        Ok(home)
    }

    fn path(&self) -> &CStr {
        CStr::from_bytes_with_nul(self.path.as_bytes()).unwrap_or(c"")
    }

    /// Removes it and all in it.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn remove(self) -> SysResult {
        empty()?;
        sys!(SYS_CHDIR, c"/")?;
        sys!(SYS_RMDIR, self.path())
    }
}

/// Removes what is in the directory. Calls may have put directories into each other deeper than there
/// are descriptors, so what lies inside one is moved out of it first.
fn empty() -> SysResult {
    let mut moved = 0;
    while each_in(HOME, |name| {
        if sys!(SYS_UNLINKAT, HOME, name, 0).is_ok() {
            return Ok(0);
        }
        // A directory; its mode may be anything.
        let _ = sys!(SYS_FCHMODAT, HOME, name, 0o700, 0);
        let inner = low(sys!(SYS_OPENAT, HOME, name, DIRECTORY, 0)?);
        while each_in(inner, |name| {
            moved += 1;
            let mut out: Text<32> = Text::new();
            // It has room for any number.
            let _ = write!(out, "moved.{moved}\0");
            sys!(SYS_RENAMEAT, inner, name, HOME, out.as_bytes().as_ptr())
        })? {}
        process::close(inner)?;
        sys!(SYS_UNLINKAT, HOME, name, REMOVEDIR)
    })? {}
    Ok(0)
}

/// Calls `f` with some names of the directory `fd`; whether there were any.
fn each_in(fd: i32, mut f: impl FnMut(&CStr) -> SysResult) -> Result<bool, Errno> {
    let mut buf = [0_u8; 1024];
    sys!(SYS_LSEEK, fd, 0, 0_u64, 0)?;
    let len = sys!(SYS_GETDENTS30, fd, buf.as_mut_ptr(), buf.len())?;
    let len = usize::try_from(len).unwrap_or(0);
    let (mut at, mut is_any) = (0, false);
    while at < len {
        // struct dirent: d_fileno 8, d_reclen 2, d_namlen 2, d_type 1, d_name.
        let size = usize::from(u16::from_le_bytes([buf[at + 8], buf[at + 9]]));
        let name = CStr::from_bytes_until_nul(&buf[at + 13..at + size]).unwrap_or(c".");
        if name != c"." && name != c".." {
            f(name)?;
            is_any = true;
        }
        at += size;
    }
    Ok(is_any)
}

/// Starts a process that continues this one whenever a call has stopped it.
///
/// # Errors
/// Those of fork(2).
pub(crate) fn start_minder() -> Result<i32, Errno> {
    match process::fork()? {
        0 => mind(PID.load(Ordering::Relaxed)),
        child => Ok(child),
    }
}

/// `SIGCONT`.
const SIGCONT: i32 = 19;

fn mind(whom: i32) -> ! {
    while process::parent() == whom {
        let _ = process::kill(whom, SIGCONT);
        let _ = time::nanosleep(timespec(3 * MS), None);
    }
    process::exit(0)
}

/// Ends that process, when nobody is left who could make a call that stops this one, and all children.
///
/// # Errors
/// Those of kill(2).
pub(crate) fn end_minder(minder: i32) -> Verdict {
    // A stop that is on its way comes before this is over.
    for _ in 0..4 {
        time::nanosleep(timespec(10 * MS), None)?;
    }
    // SIGKILL; a call may have reaped it already, had it ended.
    process::kill(minder, 9)?;
    for child in &CHILDREN {
        let child = child.load(Ordering::Relaxed);
        // A call may have waited for it; its number may be another's by now.
        if child > 0 && process::wait4(child, WNOHANG).is_ok_and(|(pid, _)| pid.raw() == 0) {
            let _ = process::kill(child, 9);
        }
    }
    loop {
        match process::wait4(-1, 0) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Gives back all that calls have got.
///
/// # Errors
/// Those of the calls for it.
pub(crate) fn tidy() -> Verdict {
    for which in 0..4 {
        let none = Itimerval {
            it_interval: Timeval::ZERO,
            it_value: Timeval::ZERO,
        };
        sys!(SYS_SETITIMER50, which, &none, 0_u64)?;
    }
    let _ = close_all();
    sys!(SYS_MUNLOCKALL)?;
    for (at, size) in &MADE {
        let (at, size) = (at.load(Ordering::SeqCst), size.load(Ordering::SeqCst));
        if at != 0 {
            // Another call may have unmapped it, by a number out of the air.
            let _ = vm::munmap(at, usize::try_from(size).unwrap_or(0));
        }
    }
    berth::reset_arena()?;
    sys!(SYS_BREAK, berth::first_break())?;
    Ok(())
}

/// Closes what is not 0 to 2 (`F_CLOSEM`). It fails if there is nothing.
fn close_all() -> SysResult {
    sys!(SYS_FCNTL, 3, 10, 0)
}

/// What there is, as far as a program can see it.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Census {
    lwps: usize,
    descriptors: usize,
    timers: usize,
}

impl Census {
    /// Counts.
    ///
    /// # Errors
    /// Those of sysctl(3).
    pub(crate) fn take() -> Result<Self, Errno> {
        let mut records = [KinfoLwp::default(); 8];
        let is_open = |fd: &i32| sys!(SYS_FCNTL, *fd, 1, 0).is_ok();
        let is_armed = |which: &i32| {
            let mut left = Itimerval {
                it_interval: Timeval::ZERO,
                it_value: Timeval::ZERO,
            };
            sys::call::<SYS_GETITIMER50>(sys::args([
                u64::from(which.unsigned_abs()),
                sys::Arg::arg(&mut left),
                0,
            ]))
            .is_ok_and(|_| left.it_value.tv_sec != 0 || left.it_value.tv_usec != 0)
        };
        Ok(Self {
            lwps: sysctl::lwps(&mut records)?,
            descriptors: (0..DESCRIPTORS).filter(is_open).count(),
            timers: (0..4).filter(is_armed).count(),
        })
    }
}
