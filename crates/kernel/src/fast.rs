//! Fast calls: system calls made on the spot, and parked LWPs entered without their futures.
//!
//! [`UserMode::run`](crate::machine::UserMode::run) asks here before it comes back with a system call. What
//! is done here needs no allocation, no sleep and no help of the host's; whatever would is left to the ordinary
//! way, before anything has happened. Responsible for no behaviour of its own: each call does what its
//! handler in the system-call layer does, and the tests run over both.
//!
//! # Two kinds of visits to user mode
//! | | [`Alone`] | [`Passing`] |
//! |---|---|---|
//! | entered from | the LWP's future (`run::lwp_main`) | the vcpu's loop, for an LWP whose context was lent |
//! | a park that must sleep | left to the future | here: the next LWP's context takes the place of this one's |
//! | comes back with | its own trap | the trap of whatever LWP is there by then |
//!
//! So two LWPs that wake each other by park and unpark do not leave the machine, and their futures sleep
//! through it, in the park that each began in the ordinary way.
//!
//! # Invariants
//! 1. No reference that could be the last one is dropped in [`FastCalls::fast_call`]: those to be dropped
//!    wait in [`Passing::spent`].
//! 2. Nothing here takes a lock other than a [`crate::sync::SpinMutex`].
//! 3. An LWP goes to user mode here only if its park was ended by an unpark, and there is nothing its
//!    future would do at the end of the sleep or at the user boundary ([`enterable`], under its lock).
//!    What comes later kicks the vcpu, as for any LWP in user mode.
//!
//! Sources: design section 3; what the calls do: `park`, `time`.

use crate::ctx::{Regs, UserCtx};
use crate::kernel::Kernel;
use crate::lwp::{Lwp, LwpFlags, LwpSt, SyncObj};
use crate::machine::{CpuId, FastCalls, FastEnd};
use crate::sync::atomic::Ordering;
use lwp_abi::errno::Errno;
use lwp_abi::lwp::LwpState as LwpStat;
use lwp_abi::time::{ClockId, Timespec};
use std::sync::Arc;
use zerocopy::IntoBytes;

/// A system call that can be made on the spot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FastCall {
    /// `_lwp_self`.
    Own,
    /// `_lwp_unpark` of one LWP.
    Unpark(i32),
    /// `_lwp_park` without a time; the LWP to be unparked before, or 0.
    Park(i32),
    /// `clock_gettime` of a clock, and where the time goes.
    Time(ClockId, u64),
}

/// How many references may wait to be dropped.
const SPENT: usize = 64;

/// A visit to user mode of one LWP.
pub(crate) struct Alone<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) lwp: &'a Arc<Lwp>,
    pub(crate) cpu: CpuId,
}

/// A visit to user mode that LWPs hand on to each other.
pub(crate) struct Passing<'a> {
    kernel: &'a Kernel,
    cpu: CpuId,
    /// The LWP in user mode, or the last one that was.
    pub(crate) lwp: Arc<Lwp>,
    /// Taken off the run queue, but its future has something to do first.
    pub(crate) next: Option<Arc<Lwp>>,
    /// Dropped where there is an allocator.
    spent: Vec<Arc<Lwp>>,
}

impl FastCalls for Alone<'_> {
    fn fast_call(&mut self, cx: &mut Option<Box<UserCtx>>) -> FastEnd {
        let Some(regs) = cx.as_deref_mut().map(|cx| &mut cx.regs) else {
            return FastEnd::Slow;
        };
        match self.kernel.calls.fast(regs) {
            None => FastEnd::Slow,
            Some(FastCall::Park(unpark)) => self.kernel.fast_park(self.cpu, self.lwp, unpark, regs),
            Some(call) => self.kernel.fast_now(self.cpu, self.lwp, call, regs),
        }
    }
}

impl<'a> Passing<'a> {
    /// A visit that begins with `lwp`.
    pub(crate) fn new(kernel: &'a Kernel, cpu: CpuId, lwp: Arc<Lwp>) -> Self {
        Self {
            kernel,
            cpu,
            lwp,
            next: None,
            spent: Vec::with_capacity(SPENT),
        }
    }

    /// Parks the LWP and brings the next one's context into `cx`, if there is one that needs no more.
    fn park(&mut self, cx: &mut Option<Box<UserCtx>>) -> FastEnd {
        let Some(now) = self.kernel.fast_sleep(&self.lwp, cx) else {
            return FastEnd::Slow;
        };
        let has_room = self.spent.len() < SPENT;
        let picked = has_room.then(|| self.kernel.sched.pick_fast(self.cpu));
        let Some(next) = picked.flatten() else {
            self.kernel.sched.note_left(self.cpu, now);
            return FastEnd::Parked;
        };
        *cx = self.kernel.fast_resume(self.cpu, &next, now);
        if cx.is_some() {
            let parked = core::mem::replace(&mut self.lwp, next);
            self.spent.push(parked);
            return FastEnd::Switched;
        }
        self.kernel.sched.note_left(self.cpu, now);
        self.next = Some(next);
        FastEnd::Parked
    }
}

impl FastCalls for Passing<'_> {
    fn fast_call(&mut self, cx: &mut Option<Box<UserCtx>>) -> FastEnd {
        let Some(regs) = cx.as_deref_mut().map(|cx| &mut cx.regs) else {
            return FastEnd::Slow;
        };
        match self.kernel.calls.fast(regs) {
            None => FastEnd::Slow,
            Some(FastCall::Park(unpark)) => {
                match self.kernel.fast_park(self.cpu, &self.lwp, unpark, regs) {
                    FastEnd::Slow if unpark == 0 => self.park(cx),
                    end => end,
                }
            }
            Some(call) => self.kernel.fast_now(self.cpu, &self.lwp, call, regs),
        }
    }
}

/// Whether the LWP of `st` may go to user mode without its future; its park has then succeeded.
pub(crate) fn enterable(lwp: &Lwp, st: &LwpSt) -> bool {
    st.user.is_some()
        && !lwp
            .flags()
            .intersects(LwpFlags::USERRET.union(LwpFlags::CANCELLED))
}

impl Kernel {
    /// A call that cannot sleep.
    fn fast_now(&self, cpu: CpuId, lwp: &Arc<Lwp>, call: FastCall, regs: &mut Regs) -> FastEnd {
        match call {
            FastCall::Own => regs.succeed(u64::from(lwp.lid().raw().unsigned_abs()), 0),
            FastCall::Unpark(lid) => match self.fast_unpark(cpu, lid) {
                None => return FastEnd::Slow,
                Some(Ok(())) => regs.succeed(0, 0),
                Some(Err(errno)) => regs.fail(errno),
            },
            FastCall::Time(clock, to) => {
                let time = match clock {
                    ClockId::REALTIME => self.machine.realtime(),
                    ClockId::MONOTONIC => self.machine.monotonic(),
                    _ => return FastEnd::Slow,
                };
                match self.machine.copyout(Timespec::from(time).as_bytes(), to) {
                    Ok(()) => regs.succeed(0, 0),
                    Err(_) => regs.fail(Errno::EFAULT),
                }
            }
            FastCall::Park(_) => return FastEnd::Slow,
        }
        FastEnd::Done
    }

    /// [`Kernel::unpark`], unless waking the LWP takes more than a place in the run queue.
    fn fast_unpark(&self, cpu: CpuId, lid: i32) -> Option<Result<(), Errno>> {
        let found = self.lids.with(lid, |lwp| {
            let mut st = lwp.lock();
            match st.stat {
                _ if st.asleep == Some(SyncObj::Park) => {
                    let is_queued = st.stat == LwpStat::Sleep && st.on_cpu.is_none();
                    if is_queued && !self.sched.enqueue_fast(cpu, lwp) {
                        return None;
                    }
                    st.asleep = None;
                    st.interruptible = false;
                    if st.stat == LwpStat::Sleep {
                        st.stat = LwpStat::Run;
                    }
                }
                LwpStat::Zomb | LwpStat::Idl => return Some(Err(Errno::ESRCH)),
                _ if lwp.flags().contains(LwpFlags::UNPARKED) => {}
                _ => lwp.set_flags(LwpFlags::UNPARKED),
            }
            Some(Ok(()))
        });
        found.unwrap_or(Some(Err(Errno::ESRCH)))
    }

    /// A park without a time that finds a wake-up pending. [`FastEnd::Slow`] if it would have to sleep, or
    /// has somebody to unpark before.
    fn fast_park(&self, cpu: CpuId, lwp: &Arc<Lwp>, unpark: i32, regs: &mut Regs) -> FastEnd {
        let wakes = LwpFlags::CANCELLED | LwpFlags::UNPARKED;
        if !lwp.flags().intersects(wakes) {
            return FastEnd::Slow;
        }
        if unpark != 0 {
            match self.fast_unpark(cpu, unpark) {
                None => return FastEnd::Slow,
                Some(Ok(())) => {}
                Some(Err(errno)) => {
                    regs.fail(errno);
                    return FastEnd::Done;
                }
            }
        }
        let st = lwp.lock();
        // Nobody but this LWP takes them away.
        lwp.clear_flags(wakes);
        drop(st);
        regs.fail(Errno::EALREADY);
        FastEnd::Done
    }

    /// The LWP in `cx` parks, and is asleep: its context is lent, its vcpu free. Returns when that was, or
    /// `None` if it cannot be done here.
    fn fast_sleep(&self, lwp: &Arc<Lwp>, cx: &mut Option<Box<UserCtx>>) -> Option<u64> {
        if self.proc.stopping.load(Ordering::SeqCst) {
            return None;
        }
        let mut st = lwp.lock();
        let looks = LwpFlags::USERRET | LwpFlags::CANCELLED | LwpFlags::UNPARKED;
        if lwp.flags().intersects(looks) || !self.machine.set_aside(cx.as_deref_mut()?) {
            return None;
        }
        let now = self.machine.stamp();
        st.sleep_gen += 1;
        st.stat = LwpStat::Sleep;
        st.asleep = Some(SyncObj::Park);
        st.interruptible = true;
        st.wmesg = "parked";
        st.cpu_time += now.saturating_sub(st.on_since);
        st.on_cpu = None;
        self.lwpctl_off(&st);
        st.user = cx.take();
        Some(now)
    }

    /// Puts an LWP taken off the run queue on vcpu `cpu` and returns its context, or leaves it as it is.
    fn fast_resume(&self, cpu: CpuId, lwp: &Arc<Lwp>, now: u64) -> Option<Box<UserCtx>> {
        let mut st = lwp.lock();
        let is_plain = st.user.as_ref().is_some_and(|user| user.fpu.is_plain());
        if !is_plain || !enterable(lwp, &st) {
            return None;
        }
        self.set_on(&mut st, cpu, now);
        let mut user = st.user.take();
        drop(st);
        user.as_deref_mut()?.regs.succeed(0, 0);
        user
    }
}
