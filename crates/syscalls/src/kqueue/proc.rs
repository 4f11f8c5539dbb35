//! `EVFILT_PROC`: the end of a process.
//!
//! A pidfd becomes readable when the process ends. `NOTE_FORK`, `NOTE_EXEC` and `NOTE_TRACK` are accepted and
//! never reported: other processes do not tell us. The wait status of one's own child is looked up
//! without reaping it; that of others, or of a child reaped meanwhile, reads as 0.
//!
//! Source: `kern_event.c: filt_procattach, knote_proc_exit`.

use super::Bell;
use super::fd::{Own, own};
use super::knotes::Knote;
use super::source::Cx;
use crate::Unix;
use lwp_abi::errno::Errno;
use lwp_abi::event::{EvFlags, NOTE_EXIT};
use lwp_abi::wait::WaitStatus;
use lwp_kernel::machine::Ready;
use rustix::io::Errno as HostErrno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus};
use std::os::fd::AsFd;
use std::sync::Arc;

/// A process watched.
#[derive(Debug)]
pub(super) struct ProcSource {
    pidfd: Own,
    has_ended: bool,
}

impl ProcSource {
    /// Attaches to the process that the ident names.
    ///
    /// # Errors
    /// ESRCH: there is none, or only its remains. EACCES: it is somebody else's. EMFILE, ENFILE, ENOMEM.
    pub(super) fn attach(
        sys: &Unix,
        cx: Cx<'_>,
        bell: &Arc<Bell>,
        kn: &mut Knote,
    ) -> Result<Self, Errno> {
        let pid = i32::try_from(kn.kev.ident).map_err(|_| Errno::ESRCH)?;
        let pid = Pid::from_raw(sys.pids.to_host(pid)?).ok_or(Errno::ESRCH)?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(refused)?;
        let pidfd = own(cx, pidfd)?;
        if cx
            .kernel
            .machine
            .ready_now(pidfd.number())
            .contains(Ready::IN)
        {
            return Err(Errno::ESRCH);
        }
        let me = rustix::process::geteuid();
        let owner = rustix::fs::stat(format!("/proc/{}", pid.as_raw_pid()))
            .map_err(refused)?
            .st_uid;
        if !me.is_root() && owner != me.as_raw() {
            return Err(Errno::EACCES);
        }
        pidfd.listen(cx, bell);
        kn.set(EvFlags::CLEAR);
        Ok(Self {
            pidfd,
            has_ended: false,
        })
    }

    /// `knote_proc_exit`: an ended process is reported once, whatever was asked for.
    pub(super) fn event(&mut self, kn: &mut Knote, cx: &Cx<'_>) -> bool {
        if !self.has_ended
            && cx
                .kernel
                .machine
                .ready_now(self.pidfd.number())
                .contains(Ready::IN)
        {
            self.has_ended = true;
            kn.set(EvFlags::EOF | EvFlags::ONESHOT);
            kn.kev.fflags |= kn.sfflags & NOTE_EXIT;
            kn.kev.data = self.status().map_or(0, |status| i64::from(status.raw()));
        }
        self.has_ended
    }

    fn status(&self) -> Option<WaitStatus> {
        let how = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let status = rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), how).ok()??;
        WaitStatus::from_linux(wait_word(&status))
    }
}

/// The status word of wait(2), from what waitid(2) tells.
fn wait_word(status: &WaitIdStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => (code & 0xff) << 8,
        (None, Some(signal)) => signal | if status.dumped() { 0x80 } else { 0 },
        (None, None) => 0,
    }
}

fn refused(err: HostErrno) -> Errno {
    match err {
        HostErrno::MFILE | HostErrno::NFILE | HostErrno::NOMEM => crate::errno::from_rustix(err),
        _ => Errno::ESRCH,
    }
}
