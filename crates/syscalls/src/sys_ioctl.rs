//! ioctl(2): files and descriptors; terminals are in [`crate::tty`].
//!
//! The argument is copied in and out here, by the size in the request, so that a bad pointer is EFAULT before
//! anybody looks at the request. Workers see bytes only.
//!
//! Sources: ioctl(2); `sys_generic.c: sys_ioctl`, sys/ioccom.h, sys/filio.h; syscalls.md 5.9.

use crate::Unix;
use crate::args::Args;
use crate::background;
use crate::copy::copyout;
use crate::errno::{from_host, from_rustix, host_unless_interrupted, restartable};
use crate::files::Kind;
use crate::host::HostResult;
use crate::sys_descrip::{owner, set_owner, set_status};
use crate::tty;
use lwp_abi::errno::Errno;
use lwp_abi::ioctl::{
    FIOASYNC, FIOCLEX, FIOGETOWN, FIONBIO, FIONCLEX, FIONREAD, FIONSPACE, FIONWRITE, FIOSEEKDATA,
    FIOSEEKHOLE, FIOSETOWN, IoctlCmd, SIOCATMARK, SIOCGPGRP, SIOCSPGRP,
};
use lwp_abi::signal::Signo;
use lwp_kernel::machine::HostErr;
use lwp_kernel::sleepq::Catch;
use lwp_kernel::{CurLwp, Ended, Outcome, Ret, SysResult};
use rustix::fs::{OFlags, SeekFrom};
use rustix::io::{Errno as Linux, FdFlags};
use std::sync::Arc;

/// The host's FIONREAD.
const HOST_FIONREAD: u32 = 0x541b;
/// The host's TIOCOUTQ, SIOCOUTQ.
pub(crate) const HOST_OUTQ: u32 = 0x5411;

/// What a worker has to say.
pub(crate) enum Done {
    /// It is done; the argument goes back to the guest.
    Now,
    /// This host request may wait: it is made on a helper thread.
    Later(Job),
}

/// A host request that may wait.
pub(crate) struct Job {
    /// The host's request.
    pub(crate) request: u32,
    /// What goes with it.
    pub(crate) arg: JobArg,
}

/// The argument of a [`Job`].
pub(crate) enum JobArg {
    /// By pointer.
    Bytes(Vec<u8>),
    /// By value.
    Word(i32),
}

/// `ioctl(2)`.
///
/// # Errors
/// EBADF. EFAULT. ENOTTY: not for this file. By the request, see there. A restart: a background process
/// changes its terminal.
pub(crate) fn sys_ioctl<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let (fd, cmd, at) = (a.int(0), IoctlCmd::new(a.uint(1)), a.ptr(2));
    let (done, arg) = match begin(sys, l, fd, cmd, at) {
        Ok(both) => both,
        Err(ended) => return Outcome::Done(Err(ended)),
    };
    match done {
        Done::Now => Outcome::Done(give_back(l, cmd, &arg, at)),
        Done::Later(job) => Outcome::Sleep(Box::pin(on_helper(sys, l, fd, job))),
    }
}

/// Reads the argument and does what is asked.
fn begin(
    sys: &Unix,
    l: &CurLwp,
    fd: i32,
    cmd: IoctlCmd,
    at: u64,
) -> Result<(Done, Vec<u8>), Ended> {
    let kind = sys.files.kind(&*sys.host, fd)?;
    if let FIOCLEX | FIONCLEX = cmd.raw() {
        set_cloexec(sys, fd, cmd.raw() == FIOCLEX)?;
        return Ok((Done::Now, Vec::new()));
    }
    let mut arg = vec![0; cmd.len()];
    if cmd.is_in() {
        l.kernel
            .machine
            .copyin(at, &mut arg)
            .map_err(crate::copy::fault)?;
    }
    if kind == Kind::Object {
        return Err(Errno::ENOTTY.into());
    }
    let done = match on_any_file(sys, fd, kind, cmd, &mut arg)? {
        true => Done::Now,
        false if cmd.group() == b't' => {
            background::change(sys, l, fd, || tty::ioctl(sys, l, fd, cmd, &mut arg))?
        }
        false => return Err(Errno::ENOTTY.into()),
    };
    Ok((done, arg))
}

/// Copies the argument out, if the request has one that goes that way.
fn give_back(l: &CurLwp, cmd: IoctlCmd, arg: &[u8], at: u64) -> SysResult {
    if cmd.is_out() && !arg.is_empty() {
        copyout(l, arg, at)?;
    }
    Ok(Ret::ZERO)
}

async fn on_helper(sys: &Unix, l: &mut CurLwp, fd: i32, job: Job) -> SysResult {
    let host = Arc::clone(&sys.host);
    let is_masked = background::is_masked(l, Signo::SIGTTOU);
    let mut arg = job.arg;
    let run = move || {
        let done = background::change_as(&*host, is_masked, || match &mut arg {
            JobArg::Bytes(bytes) => host.ioctl(fd, job.request, bytes),
            JobArg::Word(word) => host.ioctl_word(fd, job.request, *word),
        });
        host_unless_interrupted(done)
    };
    let result = l
        .run_blocking("ttyout", Catch::Signals, run)
        .await
        .map_err(restartable)?;
    result.map_err(from_host)?;
    Ok(Ret::ZERO)
}

/// A host ioctl's result; EINTR means that a signal has to be taken first.
pub(crate) fn host_result<T>(result: HostResult<T>) -> Result<T, Ended> {
    result.map_err(|err| match err {
        HostErr { errno, .. } if errno == Linux::INTR.raw_os_error() => Ended::Restart,
        err => from_host(err).into(),
    })
}

/// An int in an argument. The request's own size says that it is there.
pub(crate) fn int(arg: &[u8]) -> i32 {
    arg.first_chunk()
        .map_or(0, |bytes| i32::from_le_bytes(*bytes))
}

/// Stores an int in an argument.
pub(crate) fn set_int(arg: &mut [u8], value: i32) {
    if let Some(bytes) = arg.first_chunk_mut() {
        *bytes = value.to_le_bytes();
    }
}

/// The requests that do not depend on a driver. `false` if it is not one of them.
fn on_any_file(
    sys: &Unix,
    fd: i32,
    kind: Kind,
    cmd: IoctlCmd,
    arg: &mut [u8],
) -> Result<bool, Ended> {
    match cmd.raw() {
        FIONBIO => flag(sys, fd, OFlags::NONBLOCK, int(arg) != 0)?,
        FIOASYNC => flag(sys, fd, OFlags::from_bits_retain(0x2000), int(arg) != 0)?,
        FIONREAD => host_result(sys.host.ioctl(fd, HOST_FIONREAD, arg)).map(drop)?,
        FIONWRITE => host_result(sys.host.ioctl(fd, HOST_OUTQ, arg)).map(drop)?,
        FIONSPACE => space(sys, fd, kind, arg)?,
        FIOSEEKDATA | FIOSEEKHOLE => seek(sys, fd, kind, cmd.raw() == FIOSEEKDATA, arg)?,
        FIOGETOWN | SIOCGPGRP => {
            set_int(arg, owner(sys, fd)?);
        }
        FIOSETOWN | SIOCSPGRP => {
            set_owner(sys, fd, int(arg))?;
        }
        SIOCATMARK => host_result(sys.host.ioctl(fd, 0x8905, arg)).map(drop)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn flag(sys: &Unix, fd: i32, flag: OFlags, is_set: bool) -> Result<(), Errno> {
    set_status(sys, fd, flag, if is_set { flag } else { OFlags::empty() })
}

fn set_cloexec(sys: &Unix, fd: i32, is_set: bool) -> Result<(), Errno> {
    let mut flags = FdFlags::empty();
    flags.set(FdFlags::CLOEXEC, is_set);
    rustix::io::fcntl_setfd(sys.host.fd(fd).map_err(from_host)?, flags).map_err(from_rustix)
}

/// FIONSPACE: room in the send buffer. The host doubles its size for its own accounting.
fn space(sys: &Unix, fd: i32, kind: Kind, arg: &mut [u8]) -> Result<(), Ended> {
    if kind != Kind::Socket {
        return Err(Errno::ENOTTY.into());
    }
    let host_fd = sys.host.fd(fd).map_err(from_host)?;
    let size = rustix::net::sockopt::socket_send_buffer_size(host_fd).map_err(from_rustix)? / 2;
    host_result(sys.host.ioctl(fd, HOST_OUTQ, arg))?;
    let used = usize::try_from(int(arg)).unwrap_or(0);
    set_int(
        arg,
        i32::try_from(size.saturating_sub(used)).unwrap_or(i32::MAX),
    );
    Ok(())
}

/// FIOSEEKDATA and FIOSEEKHOLE: where the next data or hole is; the file's own offset stays.
///
/// # Errors
/// ENXIO: none. ENOTTY: no file.
fn seek(sys: &Unix, fd: i32, kind: Kind, is_data: bool, arg: &mut [u8]) -> Result<(), Ended> {
    if kind != Kind::Disk {
        return Err(Errno::ENOTTY.into());
    }
    let host_fd = sys.host.fd(fd).map_err(from_host)?;
    let Some(bytes) = arg.first_chunk_mut::<8>() else {
        return Err(Errno::ENOTTY.into());
    };
    let from = u64::try_from(i64::from_le_bytes(*bytes)).map_err(|_| Errno::ENXIO)?;
    let here = rustix::fs::tell(host_fd).map_err(from_rustix)?;
    let to = if is_data {
        SeekFrom::Data(from)
    } else {
        SeekFrom::Hole(from)
    };
    let found = rustix::fs::seek(host_fd, to);
    rustix::fs::seek(host_fd, SeekFrom::Start(here)).map_err(from_rustix)?;
    *bytes = found.map_err(from_rustix)?.to_le_bytes();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ints_are_read_and_stored_only_where_they_fit() {
        let mut arg = [0; 4];
        set_int(&mut arg, -7);
        assert_eq!(int(&arg), -7);
        set_int(&mut [], 1);
        assert_eq!(int(&[1, 2, 3]), 0);
    }

    #[test]
    fn an_interrupted_request_is_made_again() {
        let interrupted = HostErr {
            call: "ioctl",
            errno: Linux::INTR.raw_os_error(),
        };
        assert_eq!(host_result::<()>(Err(interrupted)), Err(Ended::Restart));
        let refused = HostErr {
            call: "ioctl",
            errno: Linux::NOTTY.raw_os_error(),
        };
        assert_eq!(host_result::<()>(Err(refused)), Err(Errno::ENOTTY.into()));
    }
}
