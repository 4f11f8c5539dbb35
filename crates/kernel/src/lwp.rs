//! What an LWP is.
//!
//! [`Lwp`] is what others may touch: its state under its own lock (lwp_lock) and its flags.
//! [`CurLwp`] is what only the running LWP may touch; kernel code that acts for the current LWP takes
//! it by `&mut`, and that borrow is the proof that it runs on the LWP's own vcpu.
//!
//! # States (`LwpStat`; values are ABI)
//! | state | true in it | goes to |
//! |---|---|---|
//! | LSIDL | being built, or reaped; nobody finds it | LSRUN, LSZOMB |
//! | LSRUN | on one run queue, or `on_cpu` and about to be put there | LSONPROC |
//! | LSONPROC | its future is being polled, `on_cpu` | LSSLEEP, LSRUN, LSSTOP, LSSUSPENDED, LSZOMB |
//! | LSSLEEP | `asleep`; one wake-up ends it | LSRUN, LSSTOP |
//! | LSSTOP | job control; `asleep` if it was | LSRUN, LSSLEEP |
//! | LSSUSPENDED | at its user boundary, waiting for `_lwp_continue` | LSRUN |
//! | LSZOMB | will never run again; waits to be reaped | LSIDL |
//!
//! # Invariants
//! 1. An LWP is on at most one run queue, and only in LSRUN.
//! 2. Whoever takes `asleep` away makes the LWP runnable (or leaves it stopped), and nobody else does.
//! 3. While `on_cpu` is set the vcpu that polls the future puts a woken LWP on its queue itself.
//!
//! Sources: `lwp.h`, `kern_lwp.c` (the comment on states), lwp.md 1.2 to 1.4.

use crate::ctx::{Answer, Ctx, Trap, Uppers, UserCtx};
use crate::kernel::Kernel;
use crate::life::Joinable;
use crate::machine::CpuId;
use crate::park::Park;
use crate::sig::SigPend;
use crate::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use crate::sync::{Rank, SpinGuard, SpinMutex};
use core::time::Duration;
use lwp_abi::lwp::{LwpId, LwpState as LwpStat};
use lwp_abi::signal::{SigSet, StackT};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

bitflags::bitflags! {
    /// `l_flag`: what an LWP has been told. Bits as in NetBSD.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct LwpFlags: u32 {
        /// The current timed sleep ended by its timer.
        const STIMO = 0x0000_0040;
        /// Must suspend itself at the user boundary.
        const WSUSPEND = 0x0002_0000;
        /// Must stop for good at the user boundary: another LWP ends the process with a core.
        const WCORE = 0x0008_0000;
        /// Must exit at the user boundary.
        const WEXIT = 0x0010_0000;
        /// Look for signals at the user boundary.
        const PENDSIG = 0x0100_0000;
        /// The next, or current, interruptible sleep fails with EINTR.
        const CANCELLED = 0x0200_0000;
        /// One unpark is pending.
        const UNPARKED = 0x1000_0000;
        /// What stops an LWP at the user boundary.
        const USERRET = Self::WSUSPEND.bits() | Self::WCORE.bits() | Self::WEXIT.bits()
            | Self::PENDSIG.bits();
        /// The LWP is to be gone soon.
        const DYING = Self::WCORE.bits() | Self::WEXIT.bits();
        /// What ends an interruptible sleep, or keeps it from beginning, with EINTR.
        const INTR = Self::CANCELLED.bits() | Self::DYING.bits();
        /// A pending wake-up, as a park sees it.
        const WAKES = Self::CANCELLED.bits() | Self::UNPARKED.bits();
    }
}

/// What an LWP sleeps on, as far as others must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncObj {
    /// `_lwp_park`: unpark ends it.
    Park,
    /// Anything else: its own wait queue, or time, ends it.
    Other,
}

/// What others may see and change of an LWP, under its lock.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and true beside any of the others"
)]
pub struct LwpSt {
    /// `l_stat`.
    pub stat: LwpStat,
    /// It gives up the vcpu of its own will and is to be queued behind the others.
    pub yielding: bool,
    /// It is on vcpu `last_cpu` now; see [`LwpSt::on_cpu`].
    is_on: bool,
    /// The vcpu it ran on last.
    pub last_cpu: CpuId,
    /// Asleep, and on whom. Stays while stopped.
    pub asleep: Option<SyncObj>,
    /// LW_SINTR: the sleep can be interrupted.
    pub interruptible: bool,
    /// Counts sleeps, so that a late timer or a stale queue entry does not end the wrong one.
    pub sleep_gen: u64,
    /// The wait message of the sleep.
    pub wmesg: &'static str,
    /// LPR_DETACHED.
    pub detached: bool,
    /// It is inside `_lwp_wait`, for this LWP (`None` in `Some`: for any).
    pub waiting_for: Option<Option<LwpId>>,
    /// The LWP registered as its first specific waiter.
    pub waiter: Option<LwpId>,
    /// `l_sigmask`; only the LWP itself writes it, under p_lock.
    pub sigmask: SigSet,
    /// Pending signals directed to it; under p_lock as well.
    pub sigpend: SigPend,
    /// `l_name`, with its NUL; `None` if never named.
    pub name: Option<Box<[u8; 16]>>,
    /// Address of its lwpctl block, 0 for none, and the switch count kept in it.
    pub lwpctl: u64,
    /// `lc_pctr`.
    pub pctr: u32,
    /// How often it was switched onto a vcpu.
    pub switches: u32,
    /// Who unparked it last; 0 for nobody.
    pub unparked_by: LwpId,
    /// CPU time used up to the last switch away, in the machine's stamps; see [`Kernel::cpu_time`].
    pub cpu_time: u64,
    /// The user-mode state of an LWP that sleeps, or has slept, in a park without a limit ([`Ctx`]).
    pub(crate) user: Option<Box<UserCtx>>,
    /// It has been to user mode while its future slept in that park, and this is why it came back.
    pub(crate) trap: Option<Trap>,
}

impl LwpSt {
    /// The vcpu that polls its future now, or that it is in user mode on.
    pub fn on_cpu(&self) -> Option<CpuId> {
        self.is_on.then_some(self.last_cpu)
    }

    /// It is on vcpu `cpu` from now on.
    pub(crate) fn set_on(&mut self, cpu: CpuId) {
        self.stat = LwpStat::Onproc;
        self.switches = self.switches.wrapping_add(1);
        self.yielding = false;
        self.is_on = true;
        self.last_cpu = cpu;
    }

    /// It is on no vcpu any more.
    pub(crate) fn set_off(&mut self) {
        self.is_on = false;
    }
}

/// It is on a vcpu, but has not used any of its time ([`crate::fast`]).
pub(crate) const NOT_YET: u64 = u64::MAX;

/// The future an LWP is; see [`crate::run`].
pub type LwpFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One LWP, as others see it.
pub struct Lwp {
    lid: AtomicI32,
    /// Position in the order of creation within the process.
    pub birth: u64,
    flags: AtomicU32,
    /// Since when it has been on its vcpu, or off it, as `on_cpu` says: a stamp, or [`NOT_YET`]. Only the vcpu that
    /// it is on, or comes to, writes it.
    since: AtomicU64,
    /// Time in user mode, in stamps; kept only for a listener, by the vcpu that it is on.
    user_time: AtomicU64,
    st: SpinMutex<LwpSt>,
    /// Not ranked: only the vcpu that runs the LWP takes it, around everything else.
    pub(crate) future: std::sync::Mutex<Option<LwpFuture>>,
}

impl Lwp {
    /// A new LWP in LSIDL.
    pub(crate) fn new(lid: LwpId, birth: u64, sigmask: SigSet, joinable: Joinable) -> Self {
        Self {
            lid: AtomicI32::new(lid.raw()),
            birth,
            flags: AtomicU32::new(0),
            since: AtomicU64::new(NOT_YET),
            user_time: AtomicU64::new(0),
            st: SpinMutex::new(
                Rank::Lwp,
                LwpSt {
                    stat: LwpStat::Idl,
                    yielding: false,
                    is_on: false,
                    last_cpu: 0,
                    asleep: None,
                    interruptible: false,
                    sleep_gen: 0,
                    wmesg: "",
                    detached: joinable == Joinable::No,
                    waiting_for: None,
                    waiter: None,
                    sigmask,
                    sigpend: SigPend::default(),
                    name: None,
                    lwpctl: 0,
                    pctr: 0,
                    switches: 0,
                    unparked_by: LwpId::new(0),
                    cpu_time: 0,
                    user: None,
                    trap: None,
                },
            ),
            future: std::sync::Mutex::new(None),
        }
    }

    /// Its id: constant, but for a fork child's only LWP, which takes the child's pid.
    pub fn lid(&self) -> LwpId {
        LwpId::new(self.lid.load(Ordering::Relaxed))
    }

    /// See [`Lwp::lid`].
    pub(crate) fn set_lid(&self, lid: LwpId) {
        self.lid.store(lid.raw(), Ordering::Relaxed);
    }

    /// What it will do, before it can run; `None` if it never will.
    pub(crate) fn set_future(&self, future: Option<LwpFuture>) {
        *self
            .future
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = future;
    }

    /// It is on a vcpu, or on none, since `now`, a stamp.
    pub(crate) fn set_since(&self, now: u64) {
        self.since.store(now, Ordering::Relaxed);
    }

    /// How long it has been on its vcpu, or off it, at `now`, in stamps; 0 if that is not known.
    pub(crate) fn ran_until(&self, now: u64) -> u64 {
        now.saturating_sub(self.since.load(Ordering::Relaxed))
    }

    /// When it came onto its vcpu, or left it, a stamp, if that is known.
    pub(crate) fn changed(&self) -> Option<u64> {
        Some(self.since.load(Ordering::Relaxed)).filter(|&since| since != NOT_YET)
    }

    /// It has been in user mode for so many stamps more.
    pub(crate) fn add_user_time(&self, stamps: u64) {
        self.user_time.fetch_add(stamps, Ordering::Relaxed);
    }

    /// Time in user mode, in stamps.
    pub(crate) fn user_time(&self) -> u64 {
        self.user_time.load(Ordering::Relaxed)
    }

    /// lwp_lock.
    #[inline]
    pub fn lock(&self) -> SpinGuard<'_, LwpSt> {
        self.st.lock()
    }

    /// `l_flag`. A bit set under the LWP's lock is seen by whoever takes that lock later; without
    /// the lock this is a hint that userret re-reads.
    pub fn flags(&self) -> LwpFlags {
        LwpFlags::from_bits_retain(self.flags.load(Ordering::Acquire))
    }

    /// Sets bits of `l_flag`. Pairs with the load in [`Lwp::flags`].
    pub fn set_flags(&self, flags: LwpFlags) {
        self.flags.fetch_or(flags.bits(), Ordering::AcqRel);
    }

    /// Clears bits of `l_flag`.
    pub fn clear_flags(&self, flags: LwpFlags) {
        self.flags.fetch_and(!flags.bits(), Ordering::AcqRel);
    }
}

impl Kernel {
    /// CPU time an LWP has used, the time it runs now included. `st` is its own.
    pub fn cpu_time(&self, lwp: &Lwp, st: &LwpSt) -> Duration {
        let running = match st.on_cpu() {
            Some(_) => lwp.ran_until(self.machine.stamp()),
            None => 0,
        };
        self.machine.stamped(st.cpu_time.saturating_add(running))
    }
}

impl core::fmt::Debug for Lwp {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Lwp")
            .field("lid", &self.lid())
            .finish_non_exhaustive()
    }
}

/// The current LWP: everything of it that nobody else touches.
pub struct CurLwp {
    /// The kernel it runs in.
    pub kernel: Arc<Kernel>,
    /// What others see of it.
    pub lwp: Arc<Lwp>,
    /// Its user-mode state.
    pub ctx: Ctx,
    /// `l_private`: the last value given to `_lwp_setprivate` or installed with _UC_TLSBASE.
    pub private: u64,
    /// What few LWPs have any of; see [`CurLwp::rare`].
    rare: Option<Box<Rare>>,
    /// What [`LwpSt::trap`] said when the last sleep ended.
    pub(crate) came_back: Option<Trap>,
    /// The park in progress.
    pub(crate) park: Park,
}

/// What an LWP has only once it has to do with signals.
#[derive(Debug)]
pub(crate) struct Rare {
    /// `l_ctxlink`: the uc_link of the last context installed.
    pub(crate) ctxlink: u64,
    /// `l_sigstk`: the alternate signal stack.
    pub(crate) sigstk: StackT,
    /// The mask that the next signal frame restores (sigsuspend, pselect).
    pub(crate) sigmask_restore: Option<SigSet>,
    /// Upper halves of interrupted code, by the address of the frame that will restore them.
    pub(crate) uppers: Vec<(u64, Uppers)>,
    /// Trap number (NetBSD's) and error code of the last exception, for signal frames.
    pub(crate) fault_words: (u32, u32),
}

impl Rare {
    /// That of an LWP without any.
    const fn none() -> Self {
        Self {
            ctxlink: 0,
            sigstk: StackT::DISABLED,
            sigmask_restore: None,
            uppers: Vec::new(),
            fault_words: (0, 0),
        }
    }
}

/// [`Rare::none`], to be read.
static NONE: Rare = Rare::none();

impl CurLwp {
    /// The current LWP around `lwp`, about to start in `ctx`.
    pub(crate) fn new(kernel: &Arc<Kernel>, lwp: &Arc<Lwp>, mut ctx: UserCtx) -> Self {
        ctx.answer = Answer {
            number: u64::from(kernel.fast_numbers.own),
            value: u64::from(lwp.lid().raw().unsigned_abs()),
        };
        Self {
            kernel: Arc::clone(kernel),
            lwp: Arc::clone(lwp),
            ctx: Ctx::new(ctx),
            came_back: None,
            private: 0,
            rare: None,
            park: Park::default(),
        }
    }

    /// What it has of [`Rare`], to be read.
    pub(crate) fn rare(&self) -> &Rare {
        self.rare.as_deref().unwrap_or(&NONE)
    }

    /// The same, to be changed.
    pub(crate) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_with(|| Box::new(Rare::none()))
    }

    /// `l_sigstk`: the alternate signal stack.
    pub fn sigstk(&self) -> StackT {
        self.rare().sigstk
    }

    /// Sets `l_sigstk`.
    pub fn set_sigstk(&mut self, stack: StackT) {
        self.rare_mut().sigstk = stack;
    }

    /// The current vcpu.
    pub fn cpu(&self) -> CpuId {
        self.kernel.machine.current()
    }
}
