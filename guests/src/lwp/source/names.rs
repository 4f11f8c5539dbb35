//! Names and lwpctl.

use super::{before, edge};
use rt::abi::lwp::{LWPCTL_FEATURE_CURCPU, LWPCTL_FEATURE_PCTR, LwpId};
use rt::check::{Check, Verdict};
use rt::lwp;
use rt::process;
use rt::{Errno, ensure, ensure_eq, ensure_err, sys, vm};

pub(crate) const CHECKS: &[Check] = &[
    ("L-347", name_at_the_end_of_memory),
    ("L-348", long_name_at_the_end_of_memory),
    ("L-349", length_of_32_bits),
    ("L-350", nothing_behind_the_name),
    ("L-351", buffer_at_the_end_of_memory),
    ("L-352", order_of_errors),
    ("L-353", features_of_32_bits),
];

/// The caller.
const ME: LwpId = LwpId::new(0);

/// That the caller has this name.
fn is_named(name: &[u8]) -> Verdict {
    let mut buf = [0; 16];
    lwp::getname(ME, &mut buf)?;
    let len = buf.iter().position(|&byte| byte == 0).unwrap_or(16);
    ensure_eq!(&buf[..len], name);
    Ok(())
}

fn name_at_the_end_of_memory() -> Verdict {
    let edge = edge()?;
    let at = before(edge, *b"abc\0");
    ensure_eq!(sys!(SYS_LWP_SETNAME, ME, at), Ok(0));
    is_named(b"abc")?;
    let at = before(edge, *b"defg");
    ensure_err!(sys!(SYS_LWP_SETNAME, ME, at), EFAULT);
    is_named(b"abc")
}

fn long_name_at_the_end_of_memory() -> Verdict {
    let edge = edge()?;
    let at = before(edge, *b"sixteen-letters!");
    ensure_eq!(sys!(SYS_LWP_SETNAME, ME, at), Ok(0));
    is_named(b"sixteen-letters")?;
    ensure_err!(sys!(SYS_LWP_SETNAME, ME, at + 1), EFAULT);
    is_named(b"sixteen-letters")
}

fn length_of_32_bits() -> Verdict {
    lwp::setname(ME, c"ab")?;
    let mut buf = [0xee_u8; 16];
    let at = buf.as_mut_ptr();
    ensure_err!(sys!(SYS_LWP_GETNAME, ME, at, 1_u64 << 32), ENAMETOOLONG);
    ensure_err!(
        sys!(SYS_LWP_GETNAME, ME, at, (1_u64 << 32) + 2),
        ENAMETOOLONG
    );
    ensure_eq!(sys!(SYS_LWP_GETNAME, ME, at, (1_u64 << 32) + 3), Ok(0));
    Ok(())
}

fn nothing_behind_the_name() -> Verdict {
    lwp::setname(ME, c"ab")?;
    let mut buf = [0xee; 32];
    ensure_eq!(lwp::getname(ME, &mut buf), Ok(0));
    ensure!(buf.starts_with(b"ab\0"));
    ensure!(buf[3..].iter().all(|&byte| byte == 0xee));
    // With a length that no buffer has, too.
    let at = buf.as_mut_ptr();
    ensure_eq!(sys!(SYS_LWP_GETNAME, ME, at, u64::MAX), Ok(0));
    ensure!(buf[3..].iter().all(|&byte| byte == 0xee));
    Ok(())
}

fn buffer_at_the_end_of_memory() -> Verdict {
    lwp::setname(ME, c"ab")?;
    let edge = edge()?;
    ensure_eq!(sys!(SYS_LWP_GETNAME, ME, edge - 3, 16), Ok(0));
    ensure_err!(sys!(SYS_LWP_GETNAME, ME, edge - 2, 16), EFAULT);
    ensure_err!(sys!(SYS_LWP_GETNAME, ME, edge - 2, 2), ENAMETOOLONG);
    Ok(())
}

fn order_of_errors() -> Verdict {
    for features in [4, 7, -1] {
        ensure_err!(sys!(SYS_LWP_CTL, features, vm::NOWHERE), ENODEV);
    }
    let child = process::low(sys!(SYS_VFORK)?);
    if child == 0 {
        let busy = sys!(SYS_LWP_CTL, 0, vm::NOWHERE) == Err(Errno::EBUSY);
        let unknown = sys!(SYS_LWP_CTL, 4, vm::NOWHERE) == Err(Errno::ENODEV);
        process::exit(i32::from(!busy) + 2 * i32::from(!unknown));
    }
    ensure_eq!(process::wait(child)?.code(), Some(0));
    ensure_err!(sys!(SYS_LWP_CTL, 0, vm::NOWHERE), EFAULT);
    Ok(())
}

fn features_of_32_bits() -> Verdict {
    const BOTH: i32 = LWPCTL_FEATURE_CURCPU | LWPCTL_FEATURE_PCTR;
    let mut place = [0_u64, 0x5a5a];
    let features = u64::from(BOTH.unsigned_abs()) | 0xdead_beef << 32;
    sys!(SYS_LWP_CTL, features, place.as_mut_ptr())?;
    ensure!(place[0] != 0);
    ensure_eq!(place[1], 0x5a5a);
    let again = lwp::ctl(BOTH)?;
    ensure_eq!(again.addr() as u64, place[0]);
    Ok(())
}
