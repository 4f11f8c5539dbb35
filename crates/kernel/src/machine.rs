//! What the kernel asks of the machine below it.
//!
//! Two machines exist: `lwp-machine` (x86-64, Linux) and `lwp-sim` (deterministic, virtual time).
//! The kernel never names Linux; the machine never decides what NetBSD does.
//!
//! All methods are synchronous and, unless they say otherwise, never block in the host. They are
//! called from vcpus only, with no kernel lock held that the machine could want: the machine calls
//! nothing of the kernel but [`crate::Kernel::run_vcpu`] on threads it starts.

use crate::Kernel;
use crate::ctx::{Fpu, Fxsave, Trap, Uppers, UserCtx};
use core::ops::Range;
use core::time::Duration;
use lwp_abi::mman::Prot;
use lwp_abi::signal::{Siginfo, Signo};
use std::sync::Arc;

/// Index of a vcpu, from 0; also what the guest sees in `lc_curcpu`.
pub type CpuId = usize;

/// First address that is not the guest's. NetBSD's own top, 0x7f7ffffff000, is given up.
pub const GUEST_BOUND: u64 = 0x5000_0000_0000;

/// First address a guest may map. Trampolines of a non-PIE image may use room from here.
pub const GUEST_START: u64 = 0x1_0000;

/// Entering and leaving user mode, and the FP state that stays in registers meanwhile.
pub trait UserMode {
    /// Runs the guest in `cx` until something happens.
    ///
    /// Loads the rest of the FP state first when it is not live. Returns [`Trap::Preempted`] without
    /// running anything when a kick came since the last return.
    fn enter(&self, cx: &mut UserCtx) -> Trap;

    /// Runs the guest in `cx` as [`UserMode::enter`] does, but has `calls` make those system calls it can make
    /// on the spot. They may put another LWP's context into `cx`.
    ///
    /// `None`: the LWP has parked, and `cx` is empty.
    fn run(&self, cx: &mut Option<Box<UserCtx>>, calls: &mut dyn FastCalls) -> Option<Trap> {
        loop {
            match self.enter(cx.as_deref_mut()?) {
                Trap::Syscall => match calls.fast_call(cx) {
                    FastEnd::Done | FastEnd::Switched => {}
                    FastEnd::Slow => return Some(Trap::Syscall),
                    FastEnd::Parked => return None,
                },
                other => return Some(other),
            }
        }
    }

    /// Runs one instruction of the guest in `cx`, or one round of a `rep` instruction. `None`: it has run, and nothing
    /// else has happened; else what [`UserMode::enter`] would have said. On [`Trap::Preempted`] it has run if that is
    /// for the breakpoint ([`UserMode::take_hit`]), else not.
    ///
    /// By default the machine cannot do it, and enters.
    fn step(&self, cx: &mut UserCtx) -> Option<Trap> {
        Some(self.enter(cx))
    }

    /// Sets the process's one breakpoint in the guest's text, or takes it away. An instruction must begin at `at`.
    ///
    /// When an LWP arrives there in user mode, [`UserMode::enter`] and [`UserMode::step`] return [`Trap::Preempted`]
    /// before the instruction runs, and [`UserMode::take_hit`] tells. A context that is at the breakpoint when it is
    /// entered goes over it. The breakpoint goes with its text: when that is unmapped, replaced or protected anew. A
    /// fork child has it, too.
    ///
    /// `false`: there is none now, because `at` is not private guest text that cannot be written, is a place that the
    /// machine bypasses (a `syscall` instruction for which it has a quicker way), or is a `rep` instruction.
    fn set_breakpoint(&self, at: Option<u64>) -> bool {
        at.is_none()
    }

    /// Whether the breakpoint was the reason for a [`Trap::Preempted`] on this vcpu since the last time.
    fn take_hit(&self) -> bool {
        false
    }

    /// How many system calls of this vcpu have come by a road that takes much longer than the common one.
    fn traps(&self) -> u64 {
        0
    }

    /// As [`UserMode::switch_out`], if that takes neither memory nor time, and the [`Clocks::stamp`] of the moment;
    /// else `None`, and nothing has changed. For [`FastCalls`] only. Afterwards the state is [`Fpu::is_plain`], and the guest may go on
    /// all the same.
    fn set_aside(&self, cx: &mut UserCtx) -> Option<u64>;

    /// Takes all FP state of `cx` out of this vcpu's registers, so that another LWP can run here and
    /// this one elsewhere.
    fn switch_out(&self, cx: &mut UserCtx);

    /// The FP state of `cx` as NetBSD shows it. Leaves the state as it is.
    fn fpu_image(&self, cx: &mut UserCtx) -> Fxsave;

    /// Replaces the FP state of `cx` by `image`, in FXSAVE's form, upper halves cleared; reserved MXCSR bits are
    /// dropped.
    fn fpu_install(&self, cx: &mut UserCtx, image: &[u8; 512]);

    /// The FP state of `cx`, upper halves included, for a new LWP.
    fn fpu_clone(&self, cx: &mut UserCtx) -> Fpu;

    /// What of `cx`'s state [`UserMode::fpu_image`] does not show, if it is not all zero.
    fn uppers(&self, cx: &mut UserCtx) -> Option<Uppers>;

    /// Puts back what [`UserMode::uppers`] gave; after `fpu_install`.
    fn set_uppers(&self, cx: &mut UserCtx, uppers: &Uppers);
}

/// What came of [`FastCalls::fast_call`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a call nobody has made"]
pub enum FastEnd {
    /// The call is made, its result in the registers.
    Done,
    /// The LWP has parked, and the context is that of another LWP, whose FP state is plain.
    Switched,
    /// Nothing has happened: the call is to be made in the ordinary way.
    Slow,
    /// The LWP has parked, and there is no context any more.
    Parked,
}

/// The system calls that are made without leaving [`UserMode::run`].
pub trait FastCalls {
    /// Makes the system call in `cx`, if it is one that can be made on the spot.
    ///
    /// The machine may call this where there is no libc: with thread-local storage, and so with the
    /// allocator, that is the guest's. Of the machine's own methods only [`UserMode::set_aside`],
    /// [`Memory::copyout`], [`Memory::store_u32`], [`Clocks::monotonic`] and [`Clocks::realtime`] may be called from here. `crates/machine/tests/fast_calls.rs` looks at what the
    /// compiler has made of it.
    fn fast_call(&mut self, cx: &mut Option<Box<UserCtx>>) -> FastEnd;
}

/// A guest address could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAddress;

/// What backs a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Zeroed memory; `shared` is inherited as the same memory by fork.
    Anon {
        /// MAP_SHARED.
        shared: bool,
        /// A stack: no huge pages.
        stack: bool,
    },
    /// A file of the host.
    File {
        /// The host's descriptor.
        fd: i32,
        /// Page-aligned offset in bytes.
        offset: u64,
        /// MAP_SHARED.
        shared: bool,
    },
}

/// What [`Memory::advise`] can be told. Names and effects are madvise(2)'s and minherit(2)'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after madvise(2) and minherit(2)")]
pub enum Advice {
    Normal,
    Random,
    Sequential,
    WillNeed,
    /// The contents may go; private anonymous memory only.
    Free,
    /// Not inherited by fork.
    InheritNone,
    /// Zeroed in a fork child.
    InheritZero,
    /// Inherited as a copy (the default).
    InheritCopy,
}

/// The host refused; the number is the host's own errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call}: host error {errno}")]
pub struct HostErr {
    /// The host call that failed.
    pub call: &'static str,
    /// Its errno.
    pub errno: i32,
}

/// The guest's address space: copying, and the host's side of mappings.
///
/// Ranges given to the mapping calls are page aligned and inside `GUEST_START..GUEST_BOUND`
/// (`vm` sees to that); the copy calls check for themselves.
#[expect(
    clippy::missing_errors_doc,
    reason = "the error type says all there is"
)]
pub trait Memory {
    /// copyin(9): reads `to.len()` bytes of guest memory. Part of `to` may have been written on error.
    fn copyin(&self, from: u64, to: &mut [u8]) -> Result<(), BadAddress>;

    /// copyout(9): writes guest memory. Part may have been written on error.
    fn copyout(&self, from: &[u8], to: u64) -> Result<(), BadAddress>;

    /// copyinstr(9): reads up to and including a NUL, at most `to.len()` bytes.
    ///
    /// Returns the length without the NUL, or `None` if no NUL was among the first `to.len()`.
    /// Reads no byte behind the NUL, so a string may end at an unmapped page.
    fn copyinstr(&self, from: u64, to: &mut [u8]) -> Result<Option<usize>, BadAddress>;

    /// One aligned 32-bit store, for the lwpctl blocks, which other LWPs read at any time.
    fn store_u32(&self, value: u32, to: u64) -> Result<(), BadAddress>;

    /// Maps `at`, replacing what was there. Executable pages get their system-call sites patched.
    fn map(&self, at: Range<u64>, prot: Prot, backing: Backing) -> Result<(), HostErr>;

    /// Unmaps `at`; holes are fine.
    fn unmap(&self, at: Range<u64>) -> Result<(), HostErr>;

    /// Changes protection; text that becomes executable is patched, text that becomes writable loses
    /// its patches first.
    fn protect(&self, at: Range<u64>, prot: Prot) -> Result<(), HostErr>;

    /// Gives advice.
    fn advise(&self, at: Range<u64>, advice: Advice) -> Result<(), HostErr>;

    /// Moves a mapping's pages from `from` to `to` (same length or grown), `from` being unmapped.
    fn relocate(&self, from: Range<u64>, to: Range<u64>) -> Result<(), HostErr>;
}

/// The passing of time.
pub trait Clocks {
    /// CLOCK_MONOTONIC: never steps.
    fn monotonic(&self) -> Duration;
    /// CLOCK_REALTIME since the epoch.
    fn realtime(&self) -> Duration;
    /// A count that grows with time at a constant rate; on one vcpu it never goes back. Cheaper than a clock.
    fn stamp(&self) -> u64 {
        nanos(self.monotonic())
    }
    /// How long it takes the count of [`Clocks::stamp`] to grow by `count`.
    fn stamped(&self, count: u64) -> Duration {
        Duration::from_nanos(count)
    }
    /// CPU time used by this process, all vcpus.
    fn process_cpu(&self) -> Duration;
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Something from outside that the kernel has to know.
#[derive(Clone, Debug)]
pub enum Event {
    /// A descriptor or other source registered with [`Poller::poll_add`] has changed.
    Ready {
        /// As given at registration.
        token: u64,
        /// What it is ready for now.
        ready: Ready,
    },
    /// A job given to [`Poller::run_blocking`] is done.
    Done {
        /// As given with the job.
        token: u64,
    },
    /// A signal reached the host process from outside.
    Signal {
        /// NetBSD's number.
        signo: Signo,
        /// Sender and code, translated.
        info: Siginfo,
    },
}

bitflags::bitflags! {
    /// Readiness of a host descriptor, in poll(2)'s sense.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Ready: u32 {
        /// Something to read, or a connection to accept.
        const IN = 1;
        /// Room to write, or a connect is done.
        const OUT = 2;
        /// Urgent data.
        const PRI = 4;
        /// An error is pending.
        const ERR = 8;
        /// Hung up, both directions.
        const HUP = 0x10;
        /// The peer closed its writing side.
        const RDHUP = 0x20;
    }
}

/// How long [`Poller::poll`] may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    No,
    /// Until something happens or CLOCK_MONOTONIC reaches this.
    Until(Duration),
    /// Until something happens.
    Forever,
}

/// The host cannot watch this descriptor, because it is always ready (regular files, some devices).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlwaysReady;

/// Host descriptors and other sources of events; where idle vcpus wait.
#[expect(
    clippy::missing_errors_doc,
    reason = "the error type says all there is"
)]
pub trait Poller {
    /// Collects events into `events` (cleared first), waiting as long as `wait` says.
    ///
    /// May return early, with nothing, when [`Vcpus::wake_one`] or [`Vcpus::kick`] was called.
    fn poll(&self, cpu: CpuId, wait: Wait, events: &mut Vec<Event>);

    /// Watches a host descriptor, edge triggered, in every direction, until [`Poller::poll_del`].
    fn poll_add(&self, fd: i32, token: u64) -> Result<(), AlwaysReady>;

    /// Stops watching. Must come before the descriptor is closed or replaced.
    fn poll_del(&self, fd: i32);

    /// Whether a descriptor registered with `token` is still the one that has this number, and watched.
    fn poll_has(&self, fd: i32, token: u64) -> bool;

    /// What the descriptor is ready for at this moment (poll(2) with zero time-out).
    fn ready_now(&self, fd: i32) -> Ready;

    /// Runs a job that may block in the host on a helper thread, then reports [`Event::Done`].
    /// The job may take no kernel lock.
    fn run_blocking(&self, token: u64, job: Box<dyn FnOnce() + Send>);

    /// Keeps a job from being begun, or interrupts the host call in which it waits (EINTR). `true` if it is
    /// over: it was never begun, or it has ended. One that is about to wait may miss this: ask again.
    fn cancel_blocking(&self, token: u64) -> bool;
}

/// How a process ends on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitWith {
    /// `_exit(code)`; only the low 8 bits reach the parent.
    Code(i32),
    /// Killed by a signal; the host dies by the twin, or exits with 128 + N where there is none.
    Signal(Signo),
}

/// Which side of a fork this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forked {
    /// The parent, with the child's pid.
    Parent(i32),
    /// The child, with its pid: one vcpu, the calling one, is left, and is vcpu 0 from now on.
    Child {
        /// Own pid.
        pid: i32,
    },
}

/// The vcpus and the host process around them.
#[expect(
    clippy::missing_errors_doc,
    reason = "the error type says all there is"
)]
pub trait Vcpus {
    /// How many vcpus there are; fixed.
    fn ncpu(&self) -> usize;

    /// The vcpu this host thread is.
    fn current(&self) -> CpuId;

    /// Starts the host thread of vcpu `cpu`, which then calls `kernel.run_vcpu(cpu)`.
    fn start(&self, kernel: Arc<Kernel>, cpu: CpuId);

    /// Makes vcpu `cpu` leave user mode soon (IPI). Cheap when it is already on its way.
    fn kick(&self, cpu: CpuId);

    /// Wakes one vcpu that waits in [`Poller::poll`], if any.
    fn wake_one(&self);

    /// Asks that vcpu `cpu`, the calling one, be kicked at `at` (CLOCK_MONOTONIC) at the latest. Later
    /// requests replace earlier ones only if sooner; the request lapses when it has fired.
    fn tick_at(&self, cpu: CpuId, at: Duration);

    /// From now on the calling vcpu is kicked whenever its thread has used so much CPU time more, in fork children,
    /// too. By default never.
    fn watch_cpu(&self, every: Duration) {
        let _ = every;
    }

    /// From now on a guest on the calling vcpu that reads the CPU's time-stamp counter (`rdtsc`, `rdtscp`) gets a
    /// general-protection fault, vector 13, in fork children, too. By default it can read it.
    fn trap_counter(&self) {}

    /// The top of a vcpu's loop, nothing held: waits here while another vcpu forks or execs.
    fn stop_point(&self, cpu: CpuId);

    /// Whether somebody waits for the vcpus to come to their stop points.
    fn stop_wanted(&self) -> bool;

    /// Claims the right to fork; `false` while another vcpu has it (yield, then try again).
    fn begin_fork(&self) -> bool;

    /// Brings the other vcpus to their stop points, forks the host process, and lets them go on.
    /// Gives up the claim of [`Vcpus::begin_fork`].
    fn fork(&self, cpu: CpuId) -> Result<Forked, HostErr>;

    /// Ends the host process. Only the sim machine returns from this; the kernel then stops its vcpus.
    fn exit(&self, with: ExitWith);

    /// Stops the host process as by job control, with the default action of `signo`'s twin; returns
    /// when it is continued.
    fn stop_process(&self, signo: Signo);

    /// Fills `buf` with random bytes.
    fn random(&self, buf: &mut [u8]);
}

/// All of it.
pub trait Machine: UserMode + Memory + Clocks + Poller + Vcpus + Send + Sync + 'static {}

impl<T: UserMode + Memory + Clocks + Poller + Vcpus + Send + Sync + 'static> Machine for T {}
