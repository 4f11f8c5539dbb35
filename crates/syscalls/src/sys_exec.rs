//! execve(2): one image follows another in the same process.
//!
//! Everything that can fail cheaply is done first and leaves the process as it was: finding the file, its
//! permission, its format, copying the arguments. Then the other LWPs are ended, and the host executes:
//! the runner itself for a NetBSD program (see `exec::handover`), the file as it is for everything the
//! host may know (its own programs, scripts for its own interpreters), so that guests can call host
//! tools. A failure from then on kills the process, as NetBSD has it.
//!
//! Differs from NetBSD: kqueues do not survive (their numbers are closed), nor does `O_NOSIGPIPE` on a
//! descriptor; set-id bits are ignored for NetBSD programs.
//!
//! Sources: execve(2), `kern_exec.c: exec_loadvm, execve_runproc, copyinargs`, `exec_script.c`;
//! lwp.md 7.1; syscalls.md 5.3.

use crate::args::Args;
use crate::copy::{copyin_str, copyin_u64};
use crate::errno::from_rustix;
use crate::exec::{Arguments, Handover, Refusal, Script, VARIABLE, examine_file};
use crate::vfs::{Place, here};
use crate::{OfRunner, Unix};
use core::sync::atomic::Ordering;
use lwp_abi::errno::Errno;
use lwp_abi::resource::{RLIMIT_NOFILE, Rlimit};
use lwp_abi::signal::{SigSet, Signo};
use lwp_kernel::itimer::Which;
use lwp_kernel::machine::ExitWith;
use lwp_kernel::{CurLwp, Outcome, SysResult};
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::{Errno as Linux, FdFlags};
use rustix::process::Resource;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// `ARG_MAX`: bytes of all strings with their NULs.
const ARG_MAX: usize = 262_144;
/// Most strings are shorter; longer ones are read in a second attempt.
const SHORT: usize = 512;
/// The longest string that the host takes as an argument, with its NUL.
const HOST_STRING: usize = 128 << 10;

/// What is to be executed, and how.
enum Plan {
    /// By the runner: a NetBSD program, and the script that asked for it.
    Runner {
        program: OwnedFd,
        path: Vec<u8>,
        script: Option<Script>,
    },
    /// By the host, as it is.
    Host,
}

/// `execve(2)`.
///
/// # Errors
/// ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, EACCES: the file. ENOEXEC: its format. EINVAL: no argument vector.
/// EFAULT. E2BIG: more than 256 KiB of strings.
pub(crate) fn sys_execve<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let (path, argv, envp) = (a.ptr(0), a.ptr(1), a.ptr(2));
    Outcome::Sleep(Box::pin(
        async move { execve(sys, l, path, argv, envp).await },
    ))
}

async fn execve(sys: &Unix, l: &mut CurLwp, path: u64, argv: u64, envp: u64) -> SysResult {
    let at = here(sys, l, path)?;
    let path = at.path().to_owned();
    let plan = plan(&at)?;
    let Arguments { argv, envp, .. } = copyin_args(l, argv, envp)?;
    if matches!(plan, Plan::Host) && argv.iter().chain(&envp).any(|s| s.len() >= HOST_STRING) {
        return Err(Errno::E2BIG.into());
    }
    l.single_threaded().await?;
    let is_ours = matches!(plan, Plan::Runner { .. });
    l.kernel.tell_exec(&l.lwp, is_ours);
    match plan {
        Plan::Host => by_host(sys, l, &path, &argv, &envp),
        Plan::Runner {
            program,
            path: execname,
            script,
        } => {
            let argv = match script {
                Some(script) => script.arguments(path.as_bytes(), &argv),
                None => argv,
            };
            by_runner(
                sys,
                l,
                &program,
                Arguments {
                    argv,
                    envp,
                    execname,
                },
            );
        }
    }
    // It failed, and there is no way back: the other LWPs are gone.
    Err(l.exit_process(ExitWith::Signal(Signo::SIGABRT)).await)
}

/// Finds the file and decides who executes it.
fn plan(at: &Place<'_>) -> Result<Plan, Errno> {
    let found = open(at.dir, at.path())?;
    let Some(program) = found else {
        return Ok(Plan::Host);
    };
    match examine_file(program.as_fd()) {
        Ok(_) => Ok(Plan::Runner {
            path: resolved(&program, at.path()),
            program,
            script: None,
        }),
        Err(Refusal::Script(script)) => plan_script(script),
        Err(refusal) => for_host(&refusal),
    }
}

/// A script is executed by whoever executes its interpreter; there is no second level of scripts.
fn plan_script(script: Script) -> Result<Plan, Errno> {
    let path = CString::new(script.interpreter.clone()).map_err(|_| Errno::ENOEXEC)?;
    let Some(program) = open(CWD, &path)? else {
        return Ok(Plan::Host);
    };
    match examine_file(program.as_fd()) {
        Ok(_) => Ok(Plan::Runner {
            path: resolved(&program, &path),
            program,
            script: Some(script),
        }),
        Err(refusal) => for_host(&refusal),
    }
}

fn for_host(refusal: &Refusal) -> Result<Plan, Errno> {
    match refusal {
        // Without an interpreter or for another processor the host would say so, but too late.
        Refusal::NotElf(_) | Refusal::Script(_) | Refusal::WrongMachine(_) => Err(Errno::ENOEXEC),
        refusal if refusal.is_for_the_host() => Ok(Plan::Host),
        refusal => Err(refusal.errno()),
    }
}

/// Opens a file that may be executed; `None` if it may be executed but not read.
fn open(dir: BorrowedFd<'_>, path: &CStr) -> Result<Option<OwnedFd>, Errno> {
    // Not blocking: it may be a FIFO.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match rustix::fs::openat(dir, path, flags, Mode::empty()) {
        Ok(file) => Some(file),
        Err(Linux::ACCESS) => None,
        // A device without a driver, a socket.
        Err(Linux::NXIO) => return Err(Errno::EACCES),
        Err(err) => return Err(from_rustix(err)),
    };
    let stat = match &file {
        Some(file) => rustix::fs::fstat(file),
        None => rustix::fs::statat(dir, path, AtFlags::empty()),
    };
    let stat = stat.map_err(from_rustix)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::EACCES);
    }
    rustix::fs::accessat(dir, path, Access::EXEC_OK, AtFlags::EACCESS).map_err(from_rustix)?;
    Ok(file)
}

/// The absolute path of an open file, without links; the given one if the host does not say.
fn resolved(file: &OwnedFd, given: &CStr) -> Vec<u8> {
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::readlink(link, Vec::new())
        .map_or_else(|_| given.to_bytes().to_vec(), CString::into_bytes)
}

/// Reads argument vector and environment.
fn copyin_args(l: &CurLwp, argv: u64, envp: u64) -> Result<Arguments, Errno> {
    if argv == 0 {
        return Err(Errno::EINVAL);
    }
    let mut room = ARG_MAX;
    let argv = copyin_row(l, argv, &mut room)?;
    let envp = if envp == 0 {
        Vec::new()
    } else {
        copyin_row(l, envp, &mut room)?
    };
    Ok(Arguments {
        argv,
        envp,
        execname: Vec::new(),
    })
}

/// Reads the strings of a row of pointers that ends with NULL; all strings share `room`.
fn copyin_row(l: &CurLwp, mut row: u64, room: &mut usize) -> Result<Vec<Vec<u8>>, Errno> {
    let mut strings = Vec::new();
    loop {
        let at = copyin_u64(l, row)?;
        if at == 0 {
            return Ok(strings);
        }
        let string = match copyin_str(l, at, SHORT.min(*room)) {
            Err(Errno::ENAMETOOLONG) => copyin_str(l, at, *room),
            other => other,
        };
        let string = string.map_err(|errno| match errno {
            Errno::ENAMETOOLONG => Errno::E2BIG,
            other => other,
        })?;
        *room -= string.len() + 1;
        strings.push(string);
        row = row.checked_add(8).ok_or(Errno::EFAULT)?;
    }
}

/// Executes a host program. Returns if that failed.
fn by_host(sys: &Unix, l: &CurLwp, path: &CStr, argv: &[Vec<u8>], envp: &[Vec<u8>]) {
    let (argv, envp) = (c_strings(argv), c_strings(envp));
    close_objects(sys);
    limit_descriptors(sys);
    sys.host.leave_signals(ignored(l), l.sigmask());
    let _ = sys.host.execve(path, &argv, &envp);
}

/// Gives the host the guest's own limit on descriptors, which the runner had raised for itself.
fn limit_descriptors(sys: &Unix) {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = Some(sys.limits.get(RLIMIT_NOFILE).rlim_cur);
    // At worst the program may open more.
    let _ = rustix::process::setrlimit(Resource::Nofile, limit);
}

/// Executes the runner for a NetBSD program. Returns if that failed.
fn by_runner(sys: &Unix, l: &CurLwp, program: &OwnedFd, arguments: Arguments) {
    close_objects(sys);
    let shown = c_strings(&arguments.argv);
    if rustix::io::fcntl_setfd(program, FdFlags::empty()).is_err() {
        return;
    }
    let Ok(record) = handover(sys, l, program, arguments).store() else {
        return;
    };
    let Ok(variable) = CString::new(format!("{VARIABLE}={}", record.as_raw_fd())) else {
        return;
    };
    // Whatever comes now stays pending in the host until the next runner looks.
    sys.host.leave_signals(ignored(l), SigSet::ALL);
    let _ = sys.host.execve(c"/proc/self/exe", &shown, &[variable]);
}

fn handover(sys: &Unix, l: &CurLwp, program: &OwnedFd, arguments: Arguments) -> Handover {
    let proc = &l.kernel.proc;
    let itimer = |which| {
        let (interval, value) = l.kernel.itimer_get(which);
        let nanos = |time: core::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(0);
        (nanos(interval), nanos(value))
    };
    // Before the record, not in it: no lock outlives its line.
    let pending = proc.lock().sigpend.set();
    let lwp_pending = l.lwp.lock().sigpend.set();
    Handover {
        arguments,
        program: program.as_raw_fd(),
        lid: l.lwp.lid().raw(),
        mask: l.sigmask(),
        ignored: ignored(l),
        pending,
        lwp_pending,
        limits: sys.limits.all(),
        nthr: Rlimit {
            rlim_cur: proc.nthr_soft.load(Ordering::Relaxed),
            rlim_max: proc.nthr_hard.load(Ordering::Relaxed),
        },
        itimers: [Which::Real, Which::Virtual, Which::Prof, Which::Monotonic].map(itimer),
        of_runner: OfRunner {
            words: sys.options.of_runner.words.clone(),
            is_child: sys.options.of_runner.is_child || proc.pid() != sys.first_pid,
            pids: sys.pids.record(),
        },
    }
}

/// The signals that the new image ignores: SIGCHLD never.
fn ignored(l: &CurLwp) -> SigSet {
    l.kernel
        .proc
        .lock()
        .sigacts
        .ignored()
        .minus(SigSet::of(&[Signo::SIGCHLD]))
}

/// Closes what only looks like a descriptor of the host.
fn close_objects(sys: &Unix) {
    for fd in sys.files.objects() {
        // Nobody else is left to have closed it.
        let _ = sys.host.close(fd);
    }
}

/// Strings for the host; what is too long for it is left out, which only ps(1) can see.
fn c_strings(strings: &[Vec<u8>]) -> Vec<CString> {
    // Without NULs: they were read up to one.
    strings
        .iter()
        .filter(|string| string.len() < HOST_STRING)
        .filter_map(|string| CString::new(&string[..]).ok())
        .collect()
}
