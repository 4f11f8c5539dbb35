//! `kern.lwp`: what the system tells about LWPs.
//!
//! The only process that can be asked about is the asking one.
//!
//! Sources: `kern_proc.c: sysctl_doeproc`, `init_sysctl.c: sysctl_kern_lwp, fill_lwp`; lwp.md 9.2.

use super::{Asked, Value};
use lwp_abi::errno::Errno;
use lwp_abi::lwp::{KinfoLwp, L_DETACHED, L_INMEM, L_SINTR, LwpState};
use lwp_kernel::CurLwp;
use lwp_kernel::lwp::Lwp;
use zerocopy::IntoBytes;

/// For a question about the size alone: room for LWPs that come between the two calls.
const SPARE: usize = 5;
/// The largest record that is padded. A sane program asks for 128 bytes.
const MOST: i32 = 1024;

/// `kern.lwp.PID.SIZE.COUNT`: a record of `SIZE` bytes for each LWP, newest first.
///
/// # Errors
/// EINVAL: not three words, or a size that no record has. ESRCH: not the asking process.
pub(super) fn lwps(asked: &Asked<'_>) -> Value {
    let [pid, size, _] = *asked.rest else {
        return Err(Errno::EINVAL);
    };
    let size = match usize::try_from(size) {
        Ok(bytes) if bytes > 0 && size <= MOST => bytes,
        _ => return Err(Errno::EINVAL),
    };
    if pid != -1 && pid != asked.l.kernel.proc.pid() {
        return Err(Errno::ESRCH);
    }
    let p = asked.l.kernel.proc.lock();
    let Some(room) = asked.room else {
        return Ok(vec![0; (p.nlwps() + SPARE) * size]);
    };
    // One record more than there is room for tells the caller that it was short.
    let most = usize::try_from(room).map_or(usize::MAX, |room| room / size + 1);
    let mut records = Vec::new();
    for lwp in p.lwps.values().rev().take(most) {
        let info = kinfo(asked.l, lwp);
        let bytes = &info.as_bytes()[..size.min(size_of::<KinfoLwp>())];
        let end = records.len() + size;
        records.extend_from_slice(bytes);
        records.resize(end, 0);
    }
    Ok(records)
}

/// One record. What there is no meaning for here is 0: kernel addresses, priorities, ticks.
fn kinfo(l: &CurLwp, lwp: &Lwp) -> KinfoLwp {
    let st = lwp.lock();
    let asleep = st.stat == LwpState::Sleep;
    let mut info = KinfoLwp {
        l_lid: lwp.lid().raw(),
        l_flag: L_INMEM,
        l_stat: st.stat.raw(),
        l_cpuid: st.last_cpu as u64,
        l_pid: l.kernel.proc.pid().unsigned_abs(),
        ..KinfoLwp::default()
    };
    if asleep && st.interruptible {
        info.l_flag |= L_SINTR;
    }
    if st.detached {
        info.l_flag |= L_DETACHED;
    }
    if asleep {
        // One byte stays for the NUL.
        let message = &st.wmesg.as_bytes()[..st.wmesg.len().min(info.l_wmesg.len() - 1)];
        info.l_wmesg[..message.len()].copy_from_slice(message);
    }
    if let Some(name) = &st.name {
        info.l_name[..name.len()].copy_from_slice(&name[..]);
    }
    let used = l.kernel.cpu_time(lwp, &st);
    info.l_rtime_sec = u32::try_from(used.as_secs()).unwrap_or(u32::MAX);
    info.l_rtime_usec = used.subsec_micros();
    info
}
