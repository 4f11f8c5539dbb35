//! The host process around the guest's: fork, exit, stopping, and what it hands to the next program.
//!
//! Sources: fork(2), signal(7), getrandom(2), wait(2).

use crate::mem::last_error;
use crate::signals::{self, bit};
use crate::{Inner, counter, outside};
use lwp_abi::signal::{SigSet, Signo};
use lwp_kernel::machine::{CpuId, ExitWith, Forked, HostErr};

impl Inner {
    /// Forks the host process, once every other vcpu is at its stop point.
    ///
    /// libc's own fork, not a bare clone: it takes malloc's locks, which a helper thread may hold.
    pub(crate) fn fork(&self, cpu: CpuId) -> Result<Forked, HostErr> {
        let nobody_looks = self.control.hold();
        self.stop_others(cpu);
        let mask = signals::set_mask(signals::HELD_BACK);
        // SAFETY: no lock is held by a thread that will be missing, as far as the child can reach:
        // vcpus hold none at their stop points, helpers none of the kernel's, and nobody looks at it.
        let pid = unsafe { libc::fork() };
        drop(nobody_looks);
        let result = match pid {
            0 => self.become_child(),
            -1 => Err(last_error("fork")),
            _ => Ok(Forked::Parent(pid)),
        };
        if pid != 0 {
            self.let_others_go();
        }
        signals::set_mask(mask);
        result
    }

    /// Makes what the child does not inherit. The alternate stack and the handlers are there.
    fn become_child(&self) -> Result<Forked, HostErr> {
        outside::clear();
        self.after_fork();
        self.poller.after_fork()?;
        self.control.after_fork();
        // SAFETY: has no effects.
        let pid = unsafe { libc::getpid() };
        Ok(Forked::Child { pid })
    }
}

/// Ends the host process, all its threads at once. Nothing is flushed: the kernel has no buffers.
pub(crate) fn exit(with: ExitWith) -> ! {
    let code = match with {
        ExitWith::Code(code) => code,
        ExitWith::Signal(signo) => {
            if let Some(host) = signo.to_linux() {
                die_by(host);
            }
            128 + signo.raw()
        }
    };
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Dies by a signal, without a core file of ours. Returns if the signal does not kill.
fn die_by(signo: i32) {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: reads one structure.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    signals::set_plain(signo, false);
    raise(signo);
}

/// Stops the host process as by job control; returns when it goes on.
pub(crate) fn stop_process(signo: Signo) {
    match signo.to_linux() {
        Some(host) if signo.is_tty_stop() => {
            // By its own default action, which spares orphaned process groups, as NetBSD's does.
            signals::set_plain(host, false);
            raise(host);
            signals::set_caught(host);
        }
        _ => raise(libc::SIGSTOP),
    }
}

/// Sends this thread a signal that is not blocked: it has been taken when the call returns.
fn raise(signo: i32) {
    let mask = signals::set_mask(0);
    // SAFETY: a signal to this thread.
    unsafe { libc::raise(signo) };
    signals::set_mask(mask);
}

/// Fills `buf` with random bytes.
pub(crate) fn random(buf: &mut [u8]) {
    let mut rest = buf;
    while !rest.is_empty() {
        // SAFETY: writes at most `rest.len()` bytes there.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        // It can only be interrupted.
        let got = usize::try_from(got).unwrap_or(0).min(rest.len());
        rest = &mut rest[got..];
    }
}

/// The signals that were ignored, and those that were blocked, when the runner was started: NetBSD
/// programs inherit both, as any program does.
pub fn initial_signals() -> (SigSet, SigSet) {
    let inherited = crate::inherited();
    let set = |bits: u64| {
        let mut set = SigSet::EMPTY;
        for signo in (1..=64).filter(|&signo| bits & bit(signo) != 0) {
            if let Some(signo) = Signo::from_linux(signo) {
                set.insert(signo);
            }
        }
        set
    };
    (set(inherited.ignored), set(inherited.mask))
}

/// Gives the host process the dispositions and the mask of the guest, right before execve(2):
/// `ignored` signals are ignored, what only the runner ignores is not. Nor does the CPU's counter stay kept from
/// what is executed.
///
/// Handlers stay where they are: execve itself puts them back to the default, and until then a tick
/// must not kill the process.
///
/// After a failed execve, [`catch_host_signals`] undoes it.
pub fn restore_host_signals(ignored: &[Signo], mask: &SigSet) {
    for signo in 1..=64 {
        let is_ignored = ignored.iter().any(|i| i.to_linux() == Some(signo));
        if is_ignored || signals::is_ignored_by_us(signo) {
            signals::set_plain(signo, is_ignored);
        }
    }
    let blocked = mask
        .iter()
        .filter_map(Signo::to_linux)
        .fold(0, |set, signo| set | bit(signo));
    counter::allow();
    signals::set_mask(blocked);
}

/// Installs the runner's handlers again and unblocks everything.
pub fn catch_host_signals() {
    crate::install_handlers();
    signals::set_mask(0);
}
