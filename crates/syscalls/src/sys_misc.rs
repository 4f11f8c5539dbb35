//! Who the process is, randomness, and calls that need little.
//!
//! User and group ids belong to the process here and to the thread on the host, so they cannot be
//! changed: a request that changes nothing succeeds, any other is EPERM.
//!
//! Sources: getuid(2), setuid(2), getgroups(2), `getlogin(2)`, getrandom(2), sysarch(2);
//! `kern_prot.c`, `sys_machdep.c`; syscalls.md 3.1 to 3.3, 5.8.

use crate::Unix;
use crate::args::Args;
use crate::copy::{copyin_u64, copyout, copyout_struct};
use crate::errno::from_rustix;
use lwp_abi::errno::Errno;
use lwp_abi::limits::{LOGIN_NAME_MAX, NGROUPS_MAX};
use lwp_abi::random::{GRND_INSECURE, GRND_NONBLOCK, GRND_RANDOM};
use lwp_abi::sysarch::{
    X86_64_GET_FSBASE, X86_64_GET_GSBASE, X86_64_SET_FSBASE, X86_64_SET_GSBASE,
};
use lwp_kernel::machine::GUEST_BOUND;
use lwp_kernel::{CurLwp, Ret, SysResult};
use rustix::process::{getegid, geteuid, getgid, getgroups, getppid, getuid};

/// The most random bytes copied at a time.
const RANDOM_CHUNK: usize = 4096;

/// A call that succeeds without effect.
#[expect(clippy::unnecessary_wraps, reason = "a handler")]
pub(crate) fn succeed(_: &Unix, _: &mut CurLwp, _: &Args) -> SysResult {
    Ok(Ret::ZERO)
}

/// A call that only the superuser of a real system could make.
///
/// # Errors
/// EPERM, always.
pub(crate) fn eperm(_: &Unix, _: &mut CurLwp, _: &Args) -> SysResult {
    Err(Errno::EPERM.into())
}

/// A call that nothing here supports.
///
/// # Errors
/// EOPNOTSUPP, always.
pub(crate) fn eopnotsupp(_: &Unix, _: &mut CurLwp, _: &Args) -> SysResult {
    Err(Errno::EOPNOTSUPP.into())
}

/// `getpid(2)`: the parent comes second.
#[expect(clippy::unnecessary_wraps, reason = "a handler")]
pub(crate) fn sys_getpid(sys: &Unix, l: &mut CurLwp, _: &Args) -> SysResult {
    Ok(Ret(l.kernel.proc.pid().unsigned_abs().into(), parent(sys)))
}

/// `getppid(2)`.
#[expect(clippy::unnecessary_wraps, reason = "a handler")]
pub(crate) fn sys_getppid(sys: &Unix, _: &mut CurLwp, _: &Args) -> SysResult {
    Ok(Ret(parent(sys), 0))
}

/// The parent's pid; 0 if it is in another pid namespace.
fn parent(sys: &Unix) -> u64 {
    let pid = getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    sys.pids.to_guest(pid).unsigned_abs().into()
}

/// `getuid(2)`: the effective id comes second.
#[expect(clippy::unnecessary_wraps, reason = "a handler")]
pub(crate) fn sys_getuid(_: &Unix, _: &mut CurLwp, _: &Args) -> SysResult {
    Ok(Ret(getuid().as_raw().into(), geteuid().as_raw().into()))
}

/// `geteuid(2)`.
#[expect(clippy::unnecessary_wraps, reason = "a handler")]
pub(crate) fn sys_geteuid(_: &Unix, _: &mut CurLwp, _: &Args) -> SysResult {
    Ok(Ret(geteuid().as_raw().into(), 0))
}

/// `getgid(2)`: the effective id comes second.
#[expect(clippy::unnecessary_wraps, reason = "a handler")]
pub(crate) fn sys_getgid(_: &Unix, _: &mut CurLwp, _: &Args) -> SysResult {
    Ok(Ret(getgid().as_raw().into(), getegid().as_raw().into()))
}

/// `getegid(2)`.
#[expect(clippy::unnecessary_wraps, reason = "a handler")]
pub(crate) fn sys_getegid(_: &Unix, _: &mut CurLwp, _: &Args) -> SysResult {
    Ok(Ret(getegid().as_raw().into(), 0))
}

/// `issetugid(2)`: setuid bits are not honoured, and ids do not change.
#[expect(clippy::unnecessary_wraps, reason = "a handler")]
pub(crate) fn sys_issetugid(_: &Unix, _: &mut CurLwp, _: &Args) -> SysResult {
    Ok(Ret::ZERO)
}

/// Whether a request to change ids changes nothing.
fn unless_changed(is_changed: bool) -> SysResult {
    if is_changed {
        Err(Errno::EPERM.into())
    } else {
        Ok(Ret::ZERO)
    }
}

/// `setuid(2)`.
///
/// # Errors
/// EPERM: another id.
pub(crate) fn sys_setuid(_: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    let wanted = a.uint(0);
    unless_changed(wanted != getuid().as_raw() || wanted != geteuid().as_raw())
}

/// `seteuid(2)`.
///
/// # Errors
/// EPERM: another id.
pub(crate) fn sys_seteuid(_: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    unless_changed(a.uint(0) != geteuid().as_raw())
}

/// `setgid(2)`.
///
/// # Errors
/// EPERM: another id.
pub(crate) fn sys_setgid(_: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    let wanted = a.uint(0);
    unless_changed(wanted != getgid().as_raw() || wanted != getegid().as_raw())
}

/// `setegid(2)`.
///
/// # Errors
/// EPERM: another id.
pub(crate) fn sys_setegid(_: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    unless_changed(a.uint(0) != getegid().as_raw())
}

/// `setreuid(2)`: -1 leaves an id alone.
///
/// # Errors
/// EPERM: another id.
pub(crate) fn sys_setreuid(_: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    let is_other = |wanted: u32, now: u32| wanted != u32::MAX && wanted != now;
    unless_changed(
        is_other(a.uint(0), getuid().as_raw()) || is_other(a.uint(1), geteuid().as_raw()),
    )
}

/// `setregid(2)`: -1 leaves an id alone.
///
/// # Errors
/// EPERM: another id.
pub(crate) fn sys_setregid(_: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    let is_other = |wanted: u32, now: u32| wanted != u32::MAX && wanted != now;
    unless_changed(
        is_other(a.uint(0), getgid().as_raw()) || is_other(a.uint(1), getegid().as_raw()),
    )
}

/// The supplementary groups, of which NetBSD has no more than 16.
fn groups() -> Result<Vec<u32>, Errno> {
    let mut groups: Vec<u32> = getgroups()
        .map_err(from_rustix)?
        .into_iter()
        .map(rustix::process::Gid::as_raw)
        .collect();
    groups.truncate(NGROUPS_MAX);
    Ok(groups)
}

/// `getgroups(2)`.
///
/// # Errors
/// EINVAL: less room than groups, and not 0. EFAULT.
pub(crate) fn sys_getgroups(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let groups = groups()?;
    let room = a.int(0);
    if room != 0 {
        if usize::try_from(room).map_or(true, |room| room < groups.len()) {
            return Err(Errno::EINVAL.into());
        }
        copyout_struct(l, &groups[..], a.ptr(1))?;
    }
    Ok(Ret(groups.len() as u64, 0))
}

/// `setgroups(2)`.
///
/// # Errors
/// EINVAL: more than 16. EPERM: other groups than those the process has. EFAULT.
pub(crate) fn sys_setgroups(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let count = usize::try_from(a.int(0)).map_err(|_| Errno::EINVAL)?;
    if count > NGROUPS_MAX {
        return Err(Errno::EINVAL.into());
    }
    let wanted = crate::copy::copyin_slice::<u32>(l, a.ptr(1), count)?;
    unless_changed(wanted != groups()?)
}

/// `__getlogin`: the name by which the user logged in, cut to the room there is.
///
/// # Errors
/// EFAULT.
pub(crate) fn sys_getlogin(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let mut name = login_name();
    name.truncate(LOGIN_NAME_MAX - 1);
    name.push(0);
    let room = usize::try_from(a.size(1)).unwrap_or(usize::MAX);
    copyout(l, &name[..name.len().min(room)], a.ptr(0))?;
    Ok(Ret::ZERO)
}

/// The name of the user in the host's list of users, or its number.
fn login_name() -> Vec<u8> {
    let uid = getuid().as_raw().to_string();
    let users = std::fs::read("/etc/passwd").unwrap_or_default();
    users
        .split(|&c| c == b'\n')
        .find_map(|line| {
            let mut fields = line.split(|&c| c == b':');
            let name = fields.next()?;
            (fields.nth(1)? == uid.as_bytes()).then(|| name.to_vec())
        })
        .unwrap_or_else(|| uid.into_bytes())
}

/// `getrandom(2)`.
///
/// # Errors
/// EINVAL: unknown flags, or `GRND_RANDOM` with `GRND_INSECURE`. EFAULT.
///
/// Differs from NetBSD: with `GRND_NONBLOCK`, too, it waits for a host that has just been started.
pub(crate) fn sys_getrandom(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let flags = a.uint(2);
    let is_known = flags & !(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE) == 0;
    if !is_known || flags & (GRND_RANDOM | GRND_INSECURE) == GRND_RANDOM | GRND_INSECURE {
        return Err(Errno::EINVAL.into());
    }
    let wanted = a.size(1).min(u64::from(u32::MAX >> 1));
    Ok(Ret(copyout_random(l, a.ptr(0), wanted)?, 0))
}

/// Fills `len` bytes of guest memory with random ones; returns how many.
///
/// # Errors
/// EFAULT: some may have been written.
pub(crate) fn copyout_random(l: &CurLwp, to: u64, len: u64) -> Result<u64, Errno> {
    let mut chunk = [0; RANDOM_CHUNK];
    let mut done = 0;
    while done < len {
        let now = usize::try_from(len - done).map_or(RANDOM_CHUNK, |left| left.min(RANDOM_CHUNK));
        l.kernel.machine.random(&mut chunk[..now]);
        copyout(l, &chunk[..now], to.wrapping_add(done))?;
        done += now as u64;
    }
    Ok(done)
}

/// `sysarch(2)`: the FS base, by which the private pointer stays as it was.
///
/// # Errors
/// EINVAL: no such operation, or an address that is not the guest's. EPERM: the GS base, which the runner
/// needs. EFAULT.
pub(crate) fn sys_sysarch(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    match a.int(0) {
        X86_64_SET_FSBASE => {
            let base = copyin_u64(l, a.ptr(1))?;
            if base >= GUEST_BOUND {
                return Err(Errno::EINVAL.into());
            }
            l.ctx.regs.fs_base = base;
        }
        X86_64_GET_FSBASE => copyout_struct(l, &l.ctx.regs.fs_base, a.ptr(1))?,
        X86_64_GET_GSBASE => copyout_struct(l, &0u64, a.ptr(1))?,
        X86_64_SET_GSBASE => {
            if copyin_u64(l, a.ptr(1))? != 0 {
                return Err(Errno::EPERM.into());
            }
        }
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(Ret::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_has_a_name() {
        let name = login_name();
        assert!(!name.is_empty() && !name.contains(&b':'));
    }

    #[test]
    fn ids_may_be_set_to_what_they_are() {
        assert_eq!(unless_changed(false), Ok(Ret::ZERO));
        assert_eq!(unless_changed(true), Err(Errno::EPERM.into()));
    }
}
