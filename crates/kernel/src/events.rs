//! The kernel's one event stream: what happens to LWPs, as it happens, for one listener.
//!
//! Tracing, timelines, `top` and replay build on it, and nothing else hooks into the kernel sideways. The
//! listener is given when the kernel is made ([`Kernel::with_listener`]). Without one, each place that
//! has something to tell costs one predictable branch, and nothing is computed.
//!
//! # Order
//! 1. Events of one LWP come in the order in which they happened. Those that change its state are told with
//!    its lock held, so they are in order whoever causes them.
//! 2. [`What::Create`] comes before anything else of the new LWP, from its creator; [`What::Start`] before
//!    its first user instruction, from itself, where NetBSD reports `PTRACE_LWP_CREATE`; [`What::Exit`]
//!    after everything it did, and [`What::Reap`] last. (Reaped at once by another vcpu, it may leave its
//!    own only then: one `SwitchOut` can follow.)
//! 3. Between [`What::SwitchIn`] and [`What::SwitchOut`] of an LWP no other is switched in on that vcpu.
//!
//! A sleep is `Sleep`, then one `Runnable` by whoever ended it (preceded by `Unpark`, `Timeout`, `Signal`,
//! `Suspend` or the like, which says why), or `Awake` if the LWP itself found that there was no need to
//! wait.
//!
//! Sources: `sys_lwp.c: mi_startlwp`; ktrace(1) for what people ask of such a stream.

use crate::kernel::Kernel;
use crate::life::Start;
use crate::lwp::Lwp;
use crate::machine::{CpuId, ExitWith};
use crate::run::SysResult;
use crate::sync::atomic::{AtomicI32, Ordering};
use core::time::Duration;
use lwp_abi::lwp::{LwpId, LwpState};
use lwp_abi::signal::Signo;
use std::sync::Arc;

/// Something that happened to an LWP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, on the machine's monotonic clock.
    pub at: Duration,
    /// The vcpu on which it was noticed.
    pub cpu: CpuId,
    /// The LWP that ran on that vcpu, and so did it; nobody if time or the outside did.
    pub by: Option<LwpId>,
    /// The LWP to which it happened.
    pub lid: LwpId,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum What {
    /// It was made, by [`Event::by`], and can be found from now on.
    Create {
        /// It is to suspend itself before it runs.
        start: Start,
    },
    /// It is about to run for the first time.
    Start,
    /// It has exited: a zombie, unless it is detached and reclaimed soon.
    Exit,
    /// It was waited for or reclaimed; its id is free.
    Reap,
    /// It may run: `LSRUN`, on a queue or about to be. [`Event::by`] woke, continued or made it.
    Runnable,
    /// A vcpu took it up: `LSONPROC`.
    SwitchIn,
    /// It left its vcpu in this state: `LSRUN` if it was preempted or has yielded.
    SwitchOut {
        /// What it is now.
        state: LwpState,
    },
    /// It is going to sleep on this wait message; `parked` is `_lwp_park(2)`.
    Sleep {
        /// `l_wmesg`.
        wmesg: &'static str,
    },
    /// It does not sleep after all.
    Awake,
    /// `_lwp_park(2)` found that the wake-up had come before.
    Token,
    /// [`Event::by`] unparks it.
    Unpark {
        /// It is not parked: the wake-up is kept for its next park.
        is_kept: bool,
    },
    /// The time of its sleep is over.
    Timeout,
    /// `_lwp_wakeup(2)` cancels its sleep, or its next one.
    Cancel,
    /// [`Event::by`] tells it to suspend itself.
    Suspend,
    /// It has suspended itself: `LSSUSPENDED`.
    Suspended,
    /// [`Event::by`] continues it.
    Continue,
    /// It has stopped with its process: `LSSTOP`.
    Stopped,
    /// A signal was posted to it, or for the whole process and it was asked to look.
    Signal {
        /// Which.
        signo: Signo,
    },
    /// It takes a signal: its handler will run, or the default action happens.
    Take {
        /// Which.
        signo: Signo,
    },
    /// It has another name, ended by NUL.
    Name([u8; 16]),
    /// It makes a system call.
    Enter {
        /// Its number, as it is in RAX.
        number: u64,
        /// The arguments that are in registers.
        args: [u64; 6],
        /// Its stack pointer; what further arguments there are lie above the word that is there.
        stack: u64,
        /// It came by the slow road ([`crate::machine::UserMode::traps`]).
        trapped: bool,
    },
    /// The call came back; a call that ends the LWP does not.
    Leave {
        /// With what.
        result: SysResult,
    },
    /// It took an exception of this vector number.
    Fault {
        /// x86's number.
        trapno: u32,
        /// Where.
        addr: u64,
    },
    /// It is the only LWP of a new process, and has this id from now on.
    Forked,
    /// It executes another program, and is the only LWP left. Told with no lock of the kernel's held. Nothing
    /// of this kernel comes back from that; if it fails, the process is killed.
    Exec {
        /// The program is NetBSD's: another kernel will run it in this process.
        is_ours: bool,
    },
    /// It ends the process, and is the only LWP left: the last event of all. Told with no lock of the kernel's
    /// held.
    End {
        /// How.
        with: ExitWith,
    },
}

/// Is told of every event.
///
/// It is called in the midst of things, with locks of the kernel's held, on whichever vcpu: it must not
/// block, nor call the kernel. Only what an LWP itself tells of its system calls and its end
/// ([`What::Enter`], [`What::Leave`], [`What::Exec`], [`What::End`]) is told with none held: a listener may wait
/// there, and read the guest's memory. After a fork the child has a copy of it.
pub trait Listener: Send + Sync {
    /// This has happened.
    fn event(&self, event: &Event);
}

/// The stream of one kernel.
pub(crate) struct Events {
    listener: Option<Arc<dyn Listener>>,
    /// The LWP on each vcpu, 0 for none. Kept only for a listener.
    running: Box<[AtomicI32]>,
}

impl Events {
    pub(crate) fn new(ncpu: usize, listener: Option<Arc<dyn Listener>>) -> Self {
        Self {
            listener,
            running: (0..ncpu.max(1)).map(|_| AtomicI32::new(0)).collect(),
        }
    }

    /// For a fork child, where only vcpu 0 is left.
    fn clear(&self) {
        for each in &self.running {
            each.store(0, Ordering::Relaxed);
        }
    }
}

/// See [`Kernel::by_nobody`].
pub(crate) struct ByNobody<'a> {
    running: Option<&'a AtomicI32>,
    lid: i32,
}

impl Drop for ByNobody<'_> {
    fn drop(&mut self) {
        if let Some(running) = self.running {
            running.store(self.lid, Ordering::Relaxed);
        }
    }
}

impl Kernel {
    /// Whether anybody listens.
    #[inline]
    pub fn has_listener(&self) -> bool {
        self.events.listener.is_some()
    }

    /// Tells the listener, if there is one, what happened to `lwp`.
    #[inline]
    pub(crate) fn tell(&self, lwp: &Lwp, what: impl FnOnce() -> What) {
        if let Some(listener) = &self.events.listener {
            self.tell_now(&**listener, lwp.lid(), what());
        }
    }

    /// `lwp` has got another name. Called with its lock held, by whoever sets names.
    pub fn tell_name(&self, lwp: &Lwp, name: [u8; 16]) {
        self.tell(lwp, || What::Name(name));
    }

    /// `lwp`, the only one left, executes another program; see [`What::Exec`].
    pub fn tell_exec(&self, lwp: &Lwp, is_ours: bool) {
        self.tell(lwp, || What::Exec { is_ours });
    }

    /// Vcpu `cpu` takes up `lwp`.
    #[inline]
    pub(crate) fn tell_switch_in(&self, cpu: CpuId, lwp: &Lwp) {
        if let Some(listener) = &self.events.listener {
            self.set_running(cpu, lwp.lid().raw());
            self.tell_now(&**listener, lwp.lid(), What::SwitchIn);
        }
    }

    /// The current vcpu has left `lwp`, which is in `state`.
    #[inline]
    pub(crate) fn tell_switch_out(&self, lwp: &Lwp, state: LwpState) {
        if let Some(listener) = &self.events.listener {
            self.tell_now(&**listener, lwp.lid(), What::SwitchOut { state });
            self.set_running(self.machine.current(), 0);
        }
    }

    /// `lwp` is alone in a new process, on vcpu 0.
    pub(crate) fn tell_forked(&self, lwp: &Lwp) {
        if let Some(listener) = &self.events.listener {
            self.events.clear();
            self.set_running(0, lwp.lid().raw());
            self.tell_now(&**listener, lwp.lid(), What::Forked);
        }
    }

    /// What happens until the guard is dropped is time's doing, or the outside's, and not that of the
    /// LWP which happens to be on the current vcpu.
    pub(crate) fn by_nobody(&self) -> ByNobody<'_> {
        let cpu = self.machine.current();
        let running = self.events.running.get(cpu).filter(|_| self.has_listener());
        let lid = running.map_or(0, |running| running.swap(0, Ordering::Relaxed));
        ByNobody { running, lid }
    }

    fn set_running(&self, cpu: CpuId, lid: i32) {
        if let Some(running) = self.events.running.get(cpu) {
            running.store(lid, Ordering::Relaxed);
        }
    }

    #[cold]
    fn tell_now(&self, listener: &dyn Listener, lid: LwpId, what: What) {
        let cpu = self.machine.current();
        let by = self
            .events
            .running
            .get(cpu)
            .map(|lid| lid.load(Ordering::Relaxed));
        listener.event(&Event {
            at: self.machine.monotonic(),
            cpu,
            by: by.filter(|&lid| lid != 0).map(LwpId::new),
            lid,
            what,
        });
    }
}
