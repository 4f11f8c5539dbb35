//! Background processes on their terminal: who is stopped for it, and who gets EIO.
//!
//! The host's terminal has NetBSD's rules: SIGTTIN for who reads, SIGTTOU for who changes it (or writes, with
//! TOSTOP), to the whole process group; EIO in place of the signal in an orphaned group. It cannot know
//! which signals the guest ignores or blocks, since the runner catches them all; so it is told for the
//! time of a call.
//!
//! Sources: `tty.c: ttread, ttwrite, ttioctl, isbackground`; tty(4); `sys_sig.c: sigismasked`.

use crate::Unix;
use crate::errno::restartable;
use crate::host::Host;
use core::time::Duration;
use lwp_abi::errno::Errno;
use lwp_abi::signal::Signo;
use lwp_kernel::lwp::SyncObj;
use lwp_kernel::sleepq::{Catch, SleepEnd};
use lwp_kernel::{CurLwp, Ended};
use rustix::io::Errno as Linux;
use rustix::termios::tcgetpgrp;

/// The signal has been sent, and arrives as any signal from outside. After this time it is sent again.
const ARRIVAL: Duration = Duration::from_secs(1);

/// Whether the process is in the background of `fd`, its controlling terminal.
pub(crate) fn is_background(sys: &Unix, fd: i32) -> bool {
    let foreground = sys.host.fd(fd).ok().and_then(|fd| tcgetpgrp(fd).ok());
    foreground.is_some_and(|group| {
        let own = sys.host.getpgid(0);
        own.is_ok_and(|own| own != group.as_raw_nonzero().get())
    })
}

/// `sigismasked`: whether the signal means nothing to the LWP.
pub(crate) fn is_masked(l: &CurLwp, signo: Signo) -> bool {
    l.sigmask().contains(signo) || l.kernel.proc.lock().sigacts.ignores(signo)
}

/// Makes host calls that may change a terminal, or write to one.
pub(crate) fn change<T>(sys: &Unix, l: &CurLwp, fd: i32, call: impl FnMut() -> T) -> T {
    // Hardly ever; the other question is for the host.
    let is_masked = is_masked(l, Signo::SIGTTOU) && is_background(sys, fd);
    change_as(&*sys.host, is_masked, call)
}

/// The same, when it is known whether SIGTTOU means nothing to the LWP.
pub(crate) fn change_as<T>(host: &dyn Host, is_masked: bool, mut call: impl FnMut() -> T) -> T {
    if !is_masked {
        return call();
    }
    let mut result = None;
    host.without_tty_signals(&mut || result = Some(call()));
    result.expect("the call was made")
}

/// Comes back when the process may read from `fd`: at once if it is in the foreground, otherwise after the
/// signal, and what came of that.
///
/// # Errors
/// EIO: the signal means nothing to the LWP, or the process group is orphaned. EINTR or a restart: the signal,
/// or another.
pub(crate) async fn before_read(sys: &Unix, l: &mut CurLwp, fd: i32) -> Result<(), Ended> {
    while is_background(sys, fd) {
        if is_masked(l, Signo::SIGTTIN) {
            return Err(Errno::EIO.into());
        }
        // No byte is read. In the background the host judges before it waits for anything.
        let asked = sys.host.fd(fd).map(|fd| rustix::io::read(fd, &mut [0; 0]));
        match asked {
            Ok(Err(Linux::INTR)) => {}
            Ok(Err(Linux::IO)) => return Err(Errno::EIO.into()),
            _ => return Ok(()),
        }
        l.sleepq_enter("ttybg", SyncObj::Other, Catch::Signals);
        let deadline = l.kernel.machine.monotonic().saturating_add(ARRIVAL);
        match l.sleepq_block(Some(deadline), Catch::Signals).await {
            Ok(()) | Err(SleepEnd::TimedOut) => {}
            Err(end) => return Err(restartable(end)),
        }
    }
    Ok(())
}
