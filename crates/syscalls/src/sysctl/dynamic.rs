//! Values that depend on the rest of the name: a process's arguments, its limits; and random bytes.
//!
//! The only process that can be asked is the asking one.
//!
//! Sources: `kern_proc.c: sysctl_kern_proc_args`, `kern_resource.c: sysctl_proc_plimit`,
//! `init_sysctl.c: sysctl_kern_arnd`; syscalls.md 5.7, 5.8.

use super::{Asked, Value};
use crate::copy::{copyin_str, copyin_struct, copyin_u64};
use crate::errno::from_rustix;
use lwp_abi::errno::Errno;
use lwp_abi::exec::PsStrings;
use lwp_abi::limits::ARG_MAX;
use lwp_abi::resource::RLIM_NLIMITS;
use lwp_abi::sysctl::{
    KERN_PROC_ARGV, KERN_PROC_CWD, KERN_PROC_ENV, KERN_PROC_NARGV, KERN_PROC_NENV,
    KERN_PROC_PATHNAME, PROC_CURPROC, PROC_PID_CORENAME, PROC_PID_LIMIT, PROC_PID_LIMIT_TYPE_HARD,
    PROC_PID_LIMIT_TYPE_SOFT,
};

/// `kern.arandom` gives no more at a time.
const MOST_RANDOM: u64 = 256;

/// The asking process, as the calls for processes name it.
fn is_self(asked: &Asked<'_>, pid: i32) -> bool {
    pid == -1 || pid == asked.l.kernel.proc.pid()
}

/// `kern.proc_args.PID.WHAT`.
///
/// # Errors
/// EINVAL: no such `WHAT`. ESRCH: not the asking process.
pub(super) fn proc_args(asked: &Asked<'_>) -> Value {
    let [pid, what] = asked.rest else {
        return Err(Errno::EINVAL);
    };
    if !(KERN_PROC_ARGV..=KERN_PROC_CWD).contains(what) {
        return Err(Errno::EINVAL);
    }
    if !is_self(asked, *pid) {
        return Err(Errno::ESRCH);
    }
    match *what {
        KERN_PROC_PATHNAME => {
            let path = asked.sys.image().path;
            if path.is_empty() {
                Err(Errno::ENOENT)
            } else {
                Ok([&path[..], b"\0"].concat())
            }
        }
        KERN_PROC_CWD => {
            let cwd = rustix::process::getcwd(Vec::new()).map_err(from_rustix)?;
            Ok(cwd.into_bytes_with_nul())
        }
        what => from_ps_strings(asked, what),
    }
}

/// What the program itself says about its arguments: setproctitle(3) changes it.
fn from_ps_strings(asked: &Asked<'_>, what: i32) -> Value {
    let at = asked.sys.image().ps_strings;
    let ps: PsStrings = copyin_struct(asked.l, at)?;
    match what {
        KERN_PROC_NARGV => Ok(ps.ps_nargvstr.to_le_bytes().to_vec()),
        KERN_PROC_NENV => Ok(ps.ps_nenvstr.to_le_bytes().to_vec()),
        KERN_PROC_ENV => strings(asked, ps.ps_envstr, ps.ps_nenvstr),
        _ => strings(asked, ps.ps_argvstr, ps.ps_nargvstr),
    }
}

/// `count` strings with their NULs, of which the pointers are at `at`; no more than ever fit an exec.
fn strings(asked: &Asked<'_>, at: u64, count: i32) -> Value {
    let mut bytes = Vec::new();
    for i in 0..u64::from(count.max(0).unsigned_abs()) {
        let string = copyin_u64(asked.l, at.wrapping_add(i * 8))?;
        bytes.extend(copyin_str(asked.l, string, ARG_MAX)?);
        bytes.push(0);
        if bytes.len() > ARG_MAX {
            return Err(Errno::E2BIG);
        }
    }
    Ok(bytes)
}

/// `proc.PID.corename` and `proc.PID.rlimit.WHICH.{soft,hard}`.
///
/// # Errors
/// EINVAL: an inner node. ENOENT: no such name. ESRCH: not the asking process. EOPNOTSUPP: queries.
pub(super) fn proc_node(asked: &Asked<'_>) -> Value {
    let [pid, name @ ..] = asked.rest else {
        return Err(Errno::EINVAL);
    };
    if *pid < 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if *pid != PROC_CURPROC && !is_self(asked, *pid) {
        return Err(Errno::ESRCH);
    }
    match *name {
        [] | [PROC_PID_LIMIT] | [PROC_PID_LIMIT, _] => Err(Errno::EINVAL),
        [PROC_PID_CORENAME] => Ok(b"%n.core\0".to_vec()),
        [PROC_PID_LIMIT, which, side] => {
            let limit = resource(which)?;
            let limit = asked.sys.limits.get(limit);
            let value = match side {
                PROC_PID_LIMIT_TYPE_SOFT => limit.rlim_cur,
                PROC_PID_LIMIT_TYPE_HARD => limit.rlim_max,
                _ => return Err(Errno::ENOENT),
            };
            Ok(value.to_le_bytes().to_vec())
        }
        _ => Err(Errno::ENOENT),
    }
}

/// The resource of a `PROC_PID_LIMIT_*`, which is one more.
fn resource(which: i32) -> Result<i32, Errno> {
    let resource = which.checked_sub(1).ok_or(Errno::ENOENT)?;
    match usize::try_from(resource) {
        Ok(..RLIM_NLIMITS) => Ok(resource),
        _ => Err(Errno::ENOENT),
    }
}

/// `kern.arandom`: as many bytes as there is room for.
///
/// # Errors
/// E2BIG: more than 256.
pub(super) fn arandom(asked: &Asked<'_>) -> Value {
    match asked.room.unwrap_or(0) {
        0 => Ok(Vec::new()),
        wanted @ ..=MOST_RANDOM => random_bytes(asked, usize::try_from(wanted).unwrap_or(0)),
        _ => Err(Errno::E2BIG),
    }
}

/// `count` random bytes.
#[expect(clippy::unnecessary_wraps, reason = "the shape of a value")]
pub(super) fn random_bytes(asked: &Asked<'_>, count: usize) -> Value {
    let mut bytes = vec![0; count];
    asked.l.kernel.machine.random(&mut bytes);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_numbered_from_one() {
        assert_eq!(resource(1), Ok(0));
        assert_eq!(resource(12), Ok(11));
        for which in [0, 13, -1, i32::MIN, i32::MAX] {
            assert_eq!(resource(which), Err(Errno::ENOENT));
        }
    }
}
