//! sysctl(7): values, and what it tells about LWPs.

use crate::sync::{self, NeverCame};
use crate::{SysResult, process, sys};
use lwp_abi::Errno;
use lwp_abi::lwp::{KinfoLwp, LwpId, LwpState};
use lwp_abi::sysctl::{CTL_QUERY, SYSCTL_VERSION, Sysctlnode};

/// `__sysctl(2)`, as it is: `old` and its length in and out.
///
/// # Errors
/// The call's own.
pub fn sysctl(mib: &[i32], old: u64, len: &mut usize) -> SysResult {
    sys!(SYS_SYSCTL, mib.as_ptr(), mib.len(), old, len, 0_u64, 0_u64)
}

/// Fills `buf`, and gives the full length of the value.
///
/// # Errors
/// The call's own.
pub fn read(mib: &[i32], buf: &mut [u8]) -> Result<usize, Errno> {
    use sys::Arg as _;
    let mut len = buf.len();
    sysctl(mib, buf.as_mut_ptr().arg(), &mut len)?;
    Ok(len)
}

/// An `int`.
///
/// # Errors
/// The call's own; `EINVAL` if the value has another size.
pub fn int(mib: &[i32]) -> Result<i32, Errno> {
    let mut buf = [0; 4];
    match read(mib, &mut buf)? {
        4 => Ok(i32::from_le_bytes(buf)),
        _ => Err(Errno::EINVAL),
    }
}

/// The number of the node called `name` below the node `mib`, as libc looks it up.
///
/// # Errors
/// The call's own; `ENOENT` if there is none among the first 128.
pub fn child(mib: &[i32], name: &str) -> Result<i32, Errno> {
    use sys::Arg as _;
    let mut query = [0; 4];
    query[..mib.len()].copy_from_slice(mib);
    query[mib.len()] = CTL_QUERY;
    let wanted = Sysctlnode {
        sysctl_flags: SYSCTL_VERSION,
        ..Sysctlnode::default()
    };
    let mut nodes = [Sysctlnode::default(); 128];
    let mut len = size_of_val(&nodes);
    sys!(
        SYS_SYSCTL,
        query.as_ptr(),
        mib.len() + 1,
        nodes.as_mut_ptr().arg(),
        &mut len,
        &wanted,
        size_of::<Sysctlnode>()
    )?;
    let known = &nodes[..len / size_of::<Sysctlnode>()];
    let named = |node: &&Sysctlnode| {
        let rest = node.sysctl_name.strip_prefix(name.as_bytes());
        rest.is_some_and(|rest| rest.first() == Some(&0))
    };
    let node = known.iter().find(named).ok_or(Errno::ENOENT)?;
    Ok(node.sysctl_num)
}

/// `hw.ncpu`.
///
/// # Errors
/// The call's own.
pub fn ncpu() -> Result<i32, Errno> {
    int(&[6, 3])
}

/// The size of a [`KinfoLwp`], for a mib.
const KINFO_SIZE: i32 = 128;

/// `kern.lwp` of this process: how many records came to `buf`, the newest LWP first. Those for
/// which there is no room are left out.
///
/// # Errors
/// The call's own.
pub fn lwps(buf: &mut [KinfoLwp]) -> Result<usize, Errno> {
    use sys::Arg as _;
    let count = i32::try_from(buf.len()).unwrap_or(i32::MAX);
    let mib = [1, 64, process::pid(), KINFO_SIZE, count];
    let mut len = size_of_val(buf);
    match sysctl(&mib, buf.as_mut_ptr().arg(), &mut len) {
        Ok(_) | Err(Errno::ENOMEM) => Ok((len / size_of::<KinfoLwp>()).min(buf.len())),
        Err(errno) => Err(errno),
    }
}

/// The record of one LWP among the newest 64 of this process.
pub fn lwp(lid: LwpId) -> Option<KinfoLwp> {
    let mut buf = [KinfoLwp::default(); 64];
    let n = lwps(&mut buf).ok()?;
    buf[..n.min(buf.len())]
        .iter()
        .find(|info| info.l_lid == lid.raw())
        .copied()
}

/// What an LWP waits for.
pub fn wmesg(info: &KinfoLwp) -> &str {
    let end = info
        .l_wmesg
        .iter()
        .position(|&b| b == 0)
        .unwrap_or(info.l_wmesg.len());
    str::from_utf8(&info.l_wmesg[..end]).unwrap_or("?")
}

/// Whether the LWP is in this state now.
pub fn is_in(lid: LwpId, state: LwpState) -> bool {
    lwp(lid).is_some_and(|info| info.l_stat == state.raw())
}

/// Gives up the CPU until the LWP is in this state.
///
/// # Errors
/// After [`sync::PATIENCE`].
pub fn until_state(lid: LwpId, state: LwpState) -> Result<(), NeverCame> {
    sync::until(state.name(), || is_in(lid, state))
}

/// Gives up the CPU until the LWP is asleep, and waits for what `wmesg` says.
///
/// # Errors
/// After [`sync::PATIENCE`].
pub fn until_asleep(lid: LwpId, message: &'static str) -> Result<(), NeverCame> {
    sync::until(message, || {
        lwp(lid).is_some_and(|i| i.l_stat == LwpState::Sleep.raw() && wmesg(&i) == message)
    })
}

/// Gives up the CPU until the LWP is asleep, for whatever reason.
///
/// # Errors
/// After [`sync::PATIENCE`].
pub fn until_sleeping(lid: LwpId) -> Result<(), NeverCame> {
    until_state(lid, LwpState::Sleep)
}

/// Gives up the CPU until the LWP is parked.
///
/// # Errors
/// After [`sync::PATIENCE`].
pub fn until_parked(lid: LwpId) -> Result<(), NeverCame> {
    until_asleep(lid, "parked")
}
