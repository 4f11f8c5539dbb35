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
//! # Handing over
//! An LWP that unparks another keeps that one at hand ([`Passing::next`]) if nobody else waits for the vcpu: on
//! no run queue, but on the vcpu as far as others can see. So it takes no lock to go on with it, and a signal or a
//! suspension that comes meanwhile kicks the vcpu. If the waker comes back without having parked, the
//! other goes to the run queue.
//!
//! # Invariants
//! 1. No reference that could be the last one is dropped in [`FastCalls::fast_call`]: those to be dropped
//!    wait in [`Passing::spent`].
//! 2. Nothing here takes a lock other than a [`crate::sync::SpinMutex`].
//! 3. At the end of a visit nobody is left at hand ([`Passing::end`]): the rest of the kernel does not know of it.
//! 4. An LWP goes to user mode here only if its park was ended by an unpark, and there is nothing its
//!    future would do at the end of the sleep or at the user boundary ([`enterable`], under its lock).
//!    What comes later kicks the vcpu, as for any LWP in user mode.
//!
//! Sources: design section 3; what the calls do: `park`, `time`.

use crate::ctx::{Regs, UserCtx};
use crate::kernel::Kernel;
use crate::lwp::{Lwp, LwpFlags, LwpSt, NOT_YET, SyncObj};
use crate::machine::{CpuId, FastCalls, FastEnd};
use crate::sleepq::PARKED;
use lwp_abi::errno::Errno;
use lwp_abi::lwp::{LwpId, LwpState as LwpStat};
use lwp_abi::time::{ClockId, Timespec};
use std::sync::Arc;
use zerocopy::IntoBytes;

/// Numbers of the calls that can be made on the spot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastNumbers {
    /// `_lwp_self`: the LWP's own id.
    pub own: u16,
    /// `_lwp_unpark` of one LWP.
    pub unpark: u16,
    /// `___lwp_park60`; with a time it is left to the ordinary way.
    pub park: u16,
    /// `__clock_gettime50`.
    pub time: u16,
}

/// A system call that can be made on the spot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FastCall {
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
const SPENT: usize = 16;

/// What keeps an LWP from going to sleep, or to user mode, without its future.
const DUE: LwpFlags = LwpFlags::USERRET.union(LwpFlags::CANCELLED);

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
    lwp: Arc<Lwp>,
    /// Who goes on here when this one parks, with its context.
    next: Option<(Arc<Lwp>, Box<UserCtx>)>,
    /// Who was here before: the one that is most often to be woken, found without the table.
    last: Option<Arc<Lwp>>,
    /// Taken off the run queue, but its future has something to do first.
    picked: Option<Arc<Lwp>>,
    /// Dropped where there is an allocator.
    spent: [Option<Arc<Lwp>>; SPENT],
    /// How many there are.
    spent_len: usize,
}

/// How an attempt to sleep ended.
enum Sleeping {
    /// The LWP is asleep, its context lent.
    Asleep,
    /// A wake-up was pending, and is consumed.
    Woken,
    /// Its future has something to do first.
    Due,
}

impl FastCalls for Alone<'_> {
    fn fast_call(&mut self, cx: &mut Option<Box<UserCtx>>) -> FastEnd {
        let kernel = self.kernel;
        let Some(regs) = cx.as_deref_mut().map(|cx| &mut cx.regs) else {
            return FastEnd::Slow;
        };
        let Some(call) = kernel.fast_numbers.call(regs) else {
            return FastEnd::Slow;
        };
        kernel.fast_call(self.lwp, call, regs, |lid| {
            kernel.fast_unpark(self.cpu, lid, self.lwp)
        })
    }
}

impl FastCalls for Passing<'_> {
    fn fast_call(&mut self, cx: &mut Option<Box<UserCtx>>) -> FastEnd {
        let kernel = self.kernel;
        let Some(regs) = cx.as_deref_mut().map(|cx| &mut cx.regs) else {
            return FastEnd::Slow;
        };
        match kernel.fast_numbers.call(regs) {
            None => FastEnd::Slow,
            Some(FastCall::Park(unpark)) if !self.lwp.flags().intersects(LwpFlags::WAKES) => {
                self.park(cx, unpark)
            }
            Some(FastCall::Unpark(lid)) => match self.unpark(lid) {
                None => FastEnd::Slow,
                Some(result) => done(cx, result),
            },
            Some(call) => kernel.fast_call(&self.lwp, call, regs, |lid| {
                kernel.fast_unpark(self.cpu, lid, &self.lwp)
            }),
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
            last: None,
            picked: None,
            spent: [const { None }; SPENT],
            spent_len: 0,
        }
    }

    /// The visit is over. Returns the LWP that is, or was, in user mode, and one to be run after it.
    pub(crate) fn end(self) -> (Arc<Lwp>, Option<Arc<Lwp>>) {
        if let Some((lwp, user)) = self.next {
            self.kernel.sched.set_holds(self.cpu, false);
            let mut st = lwp.lock();
            st.user = Some(user);
            st.set_off();
            self.kernel.setrunnable(&lwp, st);
        }
        (self.lwp, self.picked)
    }

    /// [`Kernel::fast_unpark`]; the LWP stays at hand if nobody else waits for the vcpu.
    fn unpark(&mut self, lid: i32) -> Option<Result<(), Errno>> {
        let by = self.lwp.lid();
        if self.next.is_none() && self.kernel.sched.may_hold(self.cpu) {
            let cpu = self.cpu;
            if let Some(last) = self.last.take_if(|last| last.lid().raw() == lid) {
                match take_in_hand(&last, cpu, by) {
                    Some(user) => self.next = Some((last, user)),
                    None => self.last = Some(last),
                }
            } else {
                let hand = |lwp: &Arc<Lwp>| Some((Arc::clone(lwp), take_in_hand(lwp, cpu, by)?));
                self.next = self.kernel.lids.with(lid, hand).flatten();
            }
            if self.next.is_some() {
                self.kernel.sched.set_holds(cpu, true);
                return Some(Ok(()));
            }
        }
        self.kernel.fast_unpark(self.cpu, lid, &self.lwp)
    }

    /// A park that finds no wake-up pending, after an unpark of the LWP called `unpark`, if that is not 0.
    fn park(&mut self, cx: &mut Option<Box<UserCtx>>, unpark: i32) -> FastEnd {
        let kernel = self.kernel;
        let Some(here) = cx.as_deref_mut() else {
            return FastEnd::Slow;
        };
        if self.lwp.flags().intersects(DUE) {
            return FastEnd::Slow;
        }
        let Some(now) = kernel.machine.set_aside(here) else {
            return FastEnd::Slow;
        };
        if unpark != 0 {
            match self.unpark(unpark) {
                None => return FastEnd::Slow,
                Some(Ok(())) => {}
                Some(Err(errno)) => return done(cx, Err(errno)),
            }
        }
        match kernel.fast_sleep(&self.lwp, cx, now) {
            Sleeping::Asleep => self.go_on(cx, now),
            Sleeping::Woken => done(cx, Err(Errno::EALREADY)),
            Sleeping::Due if unpark == 0 => FastEnd::Slow,
            // What is due has kicked this vcpu. To suspend is no interruption (`CurLwp::park_wait`).
            Sleeping::Due if self.lwp.flags().intersection(DUE) == LwpFlags::WSUSPEND => {
                done(cx, Ok(()))
            }
            Sleeping::Due => done(cx, Err(Errno::EINTR)),
        }
    }

    /// The LWP is asleep: who is next?
    fn go_on(&mut self, cx: &mut Option<Box<UserCtx>>, now: u64) -> FastEnd {
        let (kernel, cpu) = (self.kernel, self.cpu);
        let has_room = self.spent_len < SPENT;
        let next = match self
            .next
            .take_if(|_| has_room && !kernel.sched.has_waiting(cpu))
        {
            Some((lwp, user)) => {
                lwp.set_since(now);
                kernel.sched.count_pick(cpu);
                kernel.sched.set_holds(cpu, false);
                *cx = Some(user);
                Some(lwp)
            }
            // The queue's policy decides about those at hand, too, if others wait.
            None if self.next.is_some() || !has_room => None,
            None => kernel.sched.pick_fast(cpu).and_then(|lwp| {
                *cx = kernel.fast_resume(&lwp, cpu, now);
                if cx.is_none() {
                    self.picked = Some(lwp);
                    return None;
                }
                Some(lwp)
            }),
        };
        let (Some(next), Some(user)) = (next, cx) else {
            kernel.sched.note_left(cpu, now);
            return FastEnd::Parked;
        };
        user.regs.succeed(0, 0);
        let parked = core::mem::replace(&mut self.lwp, next);
        if let Some(before) = self.last.replace(parked) {
            self.spent[self.spent_len] = Some(before);
            self.spent_len += 1;
        }
        FastEnd::Switched
    }
}

/// The call in `cx` is done.
fn done(cx: &mut Option<Box<UserCtx>>, result: Result<(), Errno>) -> FastEnd {
    match (cx, result) {
        (None, _) => return FastEnd::Slow,
        (Some(cx), Ok(())) => cx.regs.succeed(0, 0),
        (Some(cx), Err(errno)) => cx.regs.fail(errno),
    }
    FastEnd::Done
}

impl FastNumbers {
    /// What the call in `regs` is, if it is one of these. As in dispatch, nine bits of RAX are the number, and the
    /// low half of a register is an `int`.
    #[inline]
    fn call(self, regs: &Regs) -> Option<FastCall> {
        let int = |register: u64| u32::try_from(register & u64::from(u32::MAX)).ok();
        let number = u16::try_from(regs.rax & 0x1ff).ok()?;
        let first = int(regs.rdi)?.cast_signed();
        if number == self.unpark {
            Some(FastCall::Unpark(first))
        } else if number == self.park && regs.rdx == 0 {
            Some(FastCall::Park(int(regs.r10)?.cast_signed()))
        } else if number == self.time {
            Some(FastCall::Time(ClockId::new(first), regs.rsi))
        } else if number == self.own {
            Some(FastCall::Own)
        } else {
            None
        }
    }
}

/// Whether the LWP of `st` may go to user mode without its future; its park has then succeeded.
pub(crate) fn enterable(lwp: &Lwp, st: &LwpSt) -> bool {
    st.user.is_some() && !lwp.flags().intersects(DUE)
}

/// Whether nothing at all is to be done for the LWP of `st` but to load its context.
fn is_plain(lwp: &Lwp, st: &LwpSt) -> bool {
    enterable(lwp, st) && st.user.as_ref().is_some_and(|user| user.fpu.is_plain())
}

/// Ends the park of `lwp` in favour of vcpu `cpu`, where it counts as running from now on, and returns its
/// context; `None` if it does not sleep in a park, or there is more to be done. `by` unparks it.
fn take_in_hand(lwp: &Lwp, cpu: CpuId, by: LwpId) -> Option<Box<UserCtx>> {
    let mut st = lwp.lock();
    let is_parked = st.asleep == Some(SyncObj::Park) && st.stat == LwpStat::Sleep;
    if !is_parked || st.on_cpu().is_some() || st.lwpctl != 0 || !is_plain(lwp, &st) {
        return None;
    }
    st.asleep = None;
    st.interruptible = false;
    st.unparked_by = by;
    lwp.set_since(NOT_YET);
    st.set_on(cpu);
    st.user.take()
}

/// A park of the current LWP that finds a wake-up pending.
fn consume_wake(lwp: &Lwp) -> Result<(), Errno> {
    // With the lock, as everywhere; nobody but this LWP takes them away.
    let st = lwp.lock();
    lwp.clear_flags(LwpFlags::WAKES);
    drop(st);
    Err(Errno::EALREADY)
}

impl Kernel {
    /// A call that does not sleep; `unpark` unparks.
    fn fast_call(
        &self,
        lwp: &Lwp,
        call: FastCall,
        regs: &mut Regs,
        mut unpark: impl FnMut(i32) -> Option<Result<(), Errno>>,
    ) -> FastEnd {
        let result = match call {
            FastCall::Own => {
                regs.succeed(u64::from(lwp.lid().raw().unsigned_abs()), 0);
                return FastEnd::Done;
            }
            FastCall::Unpark(lid) => unpark(lid),
            FastCall::Time(clock, to) => self.fast_time(clock, to),
            FastCall::Park(_) if !lwp.flags().intersects(LwpFlags::WAKES) => None,
            FastCall::Park(0) => Some(consume_wake(lwp)),
            FastCall::Park(lid) => match unpark(lid) {
                Some(Ok(())) => Some(consume_wake(lwp)),
                other => other,
            },
        };
        match result {
            None => return FastEnd::Slow,
            Some(Ok(())) => regs.succeed(0, 0),
            Some(Err(errno)) => regs.fail(errno),
        }
        FastEnd::Done
    }

    /// `clock_gettime`.
    fn fast_time(&self, clock: ClockId, to: u64) -> Option<Result<(), Errno>> {
        let time = match clock {
            ClockId::REALTIME => self.machine.realtime(),
            ClockId::MONOTONIC => self.machine.monotonic(),
            _ => return None,
        };
        let stored = self.machine.copyout(Timespec::from(time).as_bytes(), to);
        Some(stored.map_err(|_| Errno::EFAULT))
    }

    /// [`Kernel::unpark`], unless waking the LWP takes more than a place in the run queue of `cpu`.
    fn fast_unpark(&self, cpu: CpuId, lid: i32, by: &Lwp) -> Option<Result<(), Errno>> {
        let found = self.lids.with(lid, |lwp| {
            let mut st = lwp.lock();
            match st.stat {
                _ if st.asleep == Some(SyncObj::Park) => {
                    let is_queued = st.stat == LwpStat::Sleep && st.on_cpu().is_none();
                    if is_queued && !self.sched.enqueue_fast(cpu, lwp) {
                        return None;
                    }
                    st.asleep = None;
                    st.interruptible = false;
                    st.unparked_by = by.lid();
                    if st.stat == LwpStat::Sleep {
                        st.stat = LwpStat::Run;
                    }
                }
                LwpStat::Zomb | LwpStat::Idl => return Some(Err(Errno::ESRCH)),
                _ if lwp.flags().contains(LwpFlags::UNPARKED) => {}
                _ => {
                    st.unparked_by = by.lid();
                    lwp.set_flags(LwpFlags::UNPARKED);
                }
            }
            Some(Ok(()))
        });
        found.unwrap_or(Some(Err(Errno::ESRCH)))
    }

    /// The LWP in `cx`, which has been set aside at `now`, goes to sleep in a park.
    fn fast_sleep(&self, lwp: &Lwp, cx: &mut Option<Box<UserCtx>>, now: u64) -> Sleeping {
        let mut st = lwp.lock();
        let flags = lwp.flags();
        if flags.intersects(LwpFlags::WAKES) {
            lwp.clear_flags(LwpFlags::WAKES);
            return Sleeping::Woken;
        }
        // A stop either finds it asleep, or has told it (`Kernel::proc_stop`).
        if flags.intersects(DUE) {
            return Sleeping::Due;
        }
        st.sleep_gen += 1;
        st.stat = LwpStat::Sleep;
        st.asleep = Some(SyncObj::Park);
        st.interruptible = true;
        st.wmesg = PARKED;
        st.cpu_time += lwp.ran_until(now);
        lwp.set_since(now);
        st.set_off();
        self.lwpctl_off(&st);
        st.user = cx.take();
        Sleeping::Asleep
    }

    /// Puts an LWP taken off the run queue on vcpu `cpu` and returns its context, or leaves it as it is.
    fn fast_resume(&self, lwp: &Lwp, cpu: CpuId, now: u64) -> Option<Box<UserCtx>> {
        let mut st = lwp.lock();
        if !is_plain(lwp, &st) {
            return None;
        }
        self.set_on(lwp, &mut st, cpu, now);
        st.user.take()
    }
}
