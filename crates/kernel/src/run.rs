//! The two loops: a vcpu's, which picks LWPs and polls them, and an LWP's, which alternates between
//! user mode and the kernel.
//!
//! ```text
//! vcpu:  stop_point → pick → poll the LWP's future → queue it again, or leave it to its waker
//! LWP:   userret → enter (user mode) → trap → system call, fault or preemption → userret …
//! ```
//! `userret` is the user boundary of lwp.md 1.8: the one place where an LWP stops for suspension, exits,
//! takes signals and loses the vcpu.
//!
//! # Invariants
//! 1. A future is polled by one vcpu at a time: only the one that took the LWP off a run queue.
//! 2. The post-poll look at the state and a waker's look at `on_cpu` are both under lwp_lock, so a
//!    woken LWP is queued by exactly one of them.
//!
//! Sources: `kern_synch.c: mi_switch`, `kern_lwp.c: lwp_userret`; design section 4.

use crate::callout::Call;
use crate::ctx::{Fault, FaultKind, Trap};
use crate::events::What;
use crate::fast::{Alone, FastNumbers, Passing, enterable};
use crate::kernel::Kernel;
use crate::lwp::{CurLwp, Lwp, LwpFlags, LwpSt};
use crate::machine::{CpuId, Event, GUEST_BOUND, Wait};
use crate::sched::{Place, Watched};
use crate::sleepq::Blocked;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Waker};
use core::time::Duration;
use lwp_abi::errno::Errno;
use lwp_abi::lwp::LwpState as LwpStat;
use lwp_abi::signal::Siginfo;
use std::sync::Arc;

/// x86 vector of a page fault, as frames show it.
const T_PAGEFLT: u32 = 14;

/// What a successful system call returns in RAX and RDX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ret(pub u64, pub u64);

impl Ret {
    /// Success without a value.
    pub const ZERO: Self = Self(0, 0);
}

/// How a system call ends without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// A positive errno, carry set.
    Failed(Errno),
    /// ERESTART: the call is made again after signals have been dealt with.
    Restart,
    /// EJUSTRETURN: the registers are as the guest is to see them.
    AsSet,
    /// The LWP is no more.
    Gone,
}

impl From<Errno> for Ended {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno)
    }
}

/// The result of a system call.
pub type SysResult = Result<Ret, Ended>;

/// A system call that had to sleep.
pub type Sleeping<'a> = Pin<Box<dyn Future<Output = SysResult> + Send + 'a>>;

/// What a system call came to.
pub enum Outcome<'a> {
    /// It is done.
    Done(SysResult),
    /// It waits.
    Sleep(Sleeping<'a>),
    /// It is `_lwp_park`, the commonest sleep: its state is in the LWP.
    Park,
}

/// The system calls on top of the kernel.
pub trait Personality: Send + Sync + 'static {
    /// Makes the call in `l.ctx.regs`. The caller stores the result in the registers.
    fn syscall<'a>(&'a self, l: &'a mut CurLwp) -> Outcome<'a>;

    /// A signal that has reached the host process, as the guest is to see it: its sender or child is the host's yet.
    fn as_guest_sees(&self, info: Siginfo) -> Siginfo {
        info
    }

    /// Which calls the kernel may make on the spot.
    fn fast_numbers(&self) -> FastNumbers;
}

/// The life of an LWP in user mode and the kernel, until it is gone.
pub(crate) fn lwp_main(mut l: CurLwp) -> impl Future<Output = ()> + Send {
    // Not an async fn: that would have room for `l` twice.
    let kernel = Arc::clone(&l.kernel);
    async move {
        l.tell(|| What::Start);
        loop {
            let trap = match l.came_back.take() {
                Some(trap) => trap,
                None if l.userret().await => {
                    if l.gives_way(Place::Return) {
                        l.give_way().await;
                        continue;
                    }
                    l.enter()
                }
                None => return,
            };
            match trap {
                Trap::Syscall => {
                    if l.gives_way(Place::Call) {
                        l.give_way().await;
                    }
                    let result = match kernel.calls.syscall(&mut l) {
                        Outcome::Done(result) => Some(result),
                        Outcome::Sleep(sleeping) => Some(sleeping.await),
                        Outcome::Park => None,
                    };
                    let result = match result {
                        Some(result) => result,
                        None => match l.park_wait().await {
                            Some(result) => result,
                            None => continue,
                        },
                    };
                    if !l.syscall_return(result) {
                        return;
                    }
                }
                Trap::Fault(fault) => l.trap(&fault),
                Trap::Preempted => {
                    if l.preempted() {
                        l.give_way().await;
                    }
                }
            }
        }
    }
}

impl CurLwp {
    /// Tells the listener what happened to this LWP.
    #[inline]
    pub(crate) fn tell(&self, what: impl FnOnce() -> What) {
        self.kernel.tell(&self.lwp, what);
    }

    /// Tells of the system call in the registers.
    fn tell_enter(&self, trapped: bool) {
        self.tell(|| {
            let r = &self.ctx.regs;
            let args = [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9];
            What::Enter {
                number: r.rax,
                args,
                stack: r.rsp,
                trapped,
            }
        });
    }

    /// User mode, until the LWP comes back with something for its future.
    fn enter(&mut self) -> Trap {
        if self.ctx.regs.rip >= GUEST_BOUND {
            // NetBSD would let it go there and fault.
            return Trap::Fault(Fault {
                kind: FaultKind::SegvMapErr,
                addr: self.ctx.regs.rip,
                trapno: T_PAGEFLT,
                err: 0x14,
            });
        }
        if self.kernel.has_listener() {
            return self.enter_watched();
        }
        let mut calls = Alone {
            kernel: &self.kernel,
            lwp: &self.lwp,
            cpu: self.kernel.machine.current(),
        };
        let left = self.kernel.machine.run(&mut self.ctx.0, &mut calls);
        left.expect("an LWP whose future runs does not park outside it")
    }

    /// The same for a listener, who is told of every call: all take the ordinary way.
    #[cold]
    fn enter_watched(&mut self) -> Trap {
        let machine = Arc::clone(&self.kernel.machine);
        let (traps, begun) = (machine.traps(), machine.stamp());
        let trap = machine.enter(&mut self.ctx);
        self.lwp
            .add_user_time(machine.stamp().saturating_sub(begun));
        if matches!(trap, Trap::Syscall) {
            self.tell_enter(machine.traps() != traps);
        }
        trap
    }

    /// Stores the result of a system call; `false` if there is no LWP left to return to.
    fn syscall_return(&mut self, result: SysResult) -> bool {
        if result != Err(Ended::Gone) {
            self.tell(|| What::Leave { result });
        }
        let regs = &mut self.ctx.regs;
        match result {
            Ok(Ret(rax, rdx)) => regs.succeed(rax, rdx),
            Err(Ended::Failed(errno)) => regs.fail(errno),
            // The two bytes of the instruction; RAX still holds the number.
            Err(Ended::Restart) => regs.rip = regs.rip.wrapping_sub(2),
            Err(Ended::AsSet) => {}
            Err(Ended::Gone) => return false,
        }
        true
    }

    /// The user boundary. `false` if the LWP exited here.
    async fn userret(&mut self) -> bool {
        loop {
            let mut flags = self.lwp.flags();
            if flags.contains(LwpFlags::PENDSIG)
                && self.rare().sigmask_restore.is_none()
                && self.kernel.sched.holds_signal(&self.lwp)
            {
                flags.remove(LwpFlags::PENDSIG);
            }
            if !flags.intersects(LwpFlags::USERRET) {
                if self.rare().sigmask_restore.is_none() {
                    return true;
                }
                // No handler took the mask over; what it held back is due now.
                self.restore_sigmask();
                continue;
            }
            if flags.contains(LwpFlags::PENDSIG)
                && !flags.intersects(LwpFlags::DYING)
                && !self.take_signals().await
            {
                return false;
            }
            if self.lwp.flags().contains(LwpFlags::WEXIT) {
                self.lwp_exit();
                return false;
            }
            if self.lwp.flags().contains(LwpFlags::WSUSPEND) {
                self.suspend_here().await;
            }
        }
    }

    /// The vcpu was asked to come back: looks after time and events. Whether to give way to others.
    fn preempted(&self) -> bool {
        let cpu = self.cpu();
        let make_way = self.kernel.clock_intr(cpu);
        self.kernel.machine.stop_wanted() || make_way && self.kernel.sched.has_waiting(cpu)
    }

    /// Whether the policy takes the vcpu from this LWP at `place`.
    #[inline]
    fn gives_way(&self, place: Place) -> bool {
        self.kernel.sched.gives_way(self.cpu(), &self.lwp, place)
    }

    /// `yield`: goes behind the other runnable LWPs, if there are any.
    pub async fn yield_vcpu(&mut self) {
        if !self.kernel.sched.has_waiting(self.cpu()) {
            return;
        }
        self.give_way().await;
    }

    /// Goes through the top of the vcpu's loop, even if nobody else wants to run.
    pub(crate) fn give_way(&mut self) -> Blocked<'_> {
        {
            let mut st = self.lwp.lock();
            st.stat = LwpStat::Run;
            st.yielding = true;
        }
        self.block()
    }
}

impl Kernel {
    /// The loop of vcpu `cpu`; returns when the process is over (sim machine only).
    pub fn run_vcpu(self: &Arc<Self>, _cpu: CpuId) {
        let mut events = Vec::new();
        while !self.is_over() {
            // Asked for anew each time: in a fork child this vcpu is another one.
            let cpu = self.machine.current();
            self.machine.stop_point(cpu);
            if !self.run_one(cpu) {
                self.idle(cpu, &mut events);
            }
        }
    }

    /// Runs one LWP on vcpu `cpu` until it gives the vcpu up; `false` if none was runnable.
    pub fn run_one(self: &Arc<Self>, cpu: CpuId) -> bool {
        let Some(mut lwp) = self.sched.pick(cpu) else {
            return false;
        };
        self.watch_time(cpu);
        self.sched.set_busy(cpu, true);
        loop {
            self.sched.arm_quantum(cpu, &*self.machine);
            match self.switch_to(cpu, lwp) {
                Some(next) => lwp = next,
                None => break,
            }
        }
        // Asked for anew: in a fork child this vcpu is another one.
        self.sched.set_busy(self.machine.current(), false);
        true
    }

    /// An LWP in LSRUN, on no run queue, comes to run on vcpu `cpu` at `now`, a stamp.
    pub(crate) fn set_on(&self, lwp: &Lwp, st: &mut LwpSt, cpu: CpuId, now: u64) {
        debug_assert_eq!(st.stat, LwpStat::Run, "an LWP on a run queue is runnable");
        st.set_on(cpu);
        lwp.set_since(now);
        self.lwpctl_on(st, cpu);
    }

    /// `mi_switch`, the part after choosing: runs the LWP, and those that take its place in user mode, and
    /// sees to what becomes of the last. Returns one more to be run, taken off the queue.
    fn switch_to(&self, cpu: CpuId, lwp: Arc<Lwp>) -> Option<Arc<Lwp>> {
        let left_at = self.sched.take_left_at(cpu);
        let now = left_at.unwrap_or_else(|| self.machine.stamp());
        let mut user = {
            let mut st = lwp.lock();
            self.set_on(&lwp, &mut st, cpu, now);
            self.tell_switch_in(cpu, &lwp);
            if enterable(&lwp, &st) && !self.has_listener() {
                st.user.take()
            } else {
                None
            }
        };
        let Some(cx) = &mut user else {
            self.poll(&lwp);
            return None;
        };
        cx.regs.succeed(0, 0);
        let mut visit = Passing::new(self, cpu, lwp);
        let trap = self.machine.run(&mut user, &mut visit);
        let (lwp, next) = visit.end();
        if let Some(trap) = trap {
            {
                let mut st = lwp.lock();
                st.user = user;
                st.trap = Some(trap);
            }
            self.poll(&lwp);
        }
        next
    }

    /// Polls the future of the LWP that is on this vcpu, and sees to what becomes of it.
    fn poll(&self, lwp: &Arc<Lwp>) {
        let mut slot = lwp
            .future
            .try_lock()
            .expect("an LWP is polled by one vcpu at a time");
        let future = slot.as_mut().expect("a runnable LWP has a future");
        let polled = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        if polled.is_ready() {
            *slot = None;
            let mut st = lwp.lock();
            st.set_off();
            self.tell_switch_out(lwp, st.stat);
            return;
        }
        drop(slot);
        let mut st = lwp.lock();
        // With the lock, or somebody who asks for the CPU time could be told of a later moment before.
        let now = self.machine.stamp();
        self.sched.note_left(self.machine.current(), now);
        st.cpu_time += lwp.ran_until(now);
        lwp.set_since(now);
        st.set_off();
        self.lwpctl_off(&st);
        self.tell_switch_out(lwp, st.stat);
        let again = st.stat == LwpStat::Run;
        drop(st);
        if again
            && self
                .sched
                .enqueue_behind(Arc::clone(lwp), self.machine.current())
        {
            self.summon();
        }
    }

    /// Waits until there is something to do on vcpu `cpu`.
    fn idle(self: &Arc<Self>, cpu: CpuId, events: &mut Vec<Event>) {
        self.sched.take_left_at(cpu);
        self.sched.enter_idle();
        if self.sched.has_work_for(cpu) || self.is_over() {
            self.sched.leave_idle();
            return;
        }
        let deadline = self.callouts.next();
        let claimed = deadline.filter(|&at| self.claim_deadline(at));
        let watched = self.sched.watch_next(cpu, self.machine.monotonic());
        let until = claimed.into_iter().chain(watched.map(Watched::due)).min();
        let wait = until.map_or(Wait::Forever, Wait::Until);
        if wait == Wait::Forever && self.sched.idle() == self.sched.started() {
            self.look_for_deadlock();
        }
        self.sched.forget_ticks(cpu);
        self.machine.poll(cpu, wait, events);
        let stuck = watched
            .and_then(|watched| self.sched.settle_watched(watched, self.machine.monotonic()));
        if let Some(stuck) = stuck {
            self.machine.kick(stuck);
        }
        self.release_deadlines();
        self.sched.leave_idle();
        self.deliver(events);
        self.run_due();
        // One wake-up stands for any number of queued LWPs: pass it on.
        if self.sched.has_waiting(cpu) && self.sched.idle() > 0 {
            self.machine.wake_one();
        }
    }

    /// The clock interrupt of a busy vcpu: time, events from outside, hand-off and quantum. Returns whether
    /// the LWP running there should make way for others.
    pub fn clock_intr(self: &Arc<Self>, cpu: CpuId) -> bool {
        let mut events = Vec::new();
        self.machine.poll(cpu, Wait::No, &mut events);
        let queued = self.sched.waiting(cpu);
        self.deliver(&mut events);
        let now = self.run_due();
        // Who waited for time, or for the world outside, goes before who has computed all the while.
        let has_woken = self.sched.waiting(cpu) > queued;
        self.release_deadlines();
        self.watch_time(cpu);
        let tick = self.sched.tick(cpu, now);
        if tick.summon {
            self.summon();
        }
        self.sched.rearm(cpu, &*self.machine);
        self.sched.arm_quantum(cpu, &*self.machine);
        tick.preempt || has_woken
    }

    /// Hands out what has happened outside, and what time has brought, without waiting: so that a call
    /// which reports events does not miss one that came before it.
    pub fn poll_events(self: &Arc<Self>) {
        let mut events = Vec::new();
        self.machine
            .poll(self.machine.current(), Wait::No, &mut events);
        self.deliver(&mut events);
        self.run_due();
    }

    /// Runs the callouts that are due; returns the time.
    pub(crate) fn run_due(self: &Arc<Self>) -> Duration {
        let _nobody = self.by_nobody();
        let now = self.machine.monotonic();
        while let Some(call) = self.callouts.take_due(now) {
            match call {
                Call::Timeout(lwp, sleep) => self.sleep_timeout(&lwp, sleep),
                Call::Run(run) => run(self),
            }
        }
        now
    }

    /// Hands events to whoever waits for them.
    pub(crate) fn deliver(self: &Arc<Self>, events: &mut Vec<Event>) {
        let _nobody = self.by_nobody();
        for event in events.drain(..) {
            match event {
                Event::Ready { token, ready } => self.watches.ready(self, token, ready),
                Event::Done { token } => self.job_done(token),
                Event::Signal { signo, info } => self.signal_from_outside(signo, info),
            }
        }
    }

    /// Sees to it that vcpu `cpu`, about to be busy, or another comes back for the next deadline.
    fn watch_time(&self, cpu: CpuId) {
        if let Some(at) = self.callouts.next().filter(|&at| self.claim_deadline(at)) {
            self.machine.tick_at(cpu, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctx::UserCtx;

    /// What a common allocator takes for `size` bytes: a header of 8, and a multiple of 16 in all.
    fn block(size: usize) -> usize {
        (size + 8).next_multiple_of(16)
    }

    fn size_of_returned<A, F>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_parked_lwps_kernel_state_its_future_and_registers_included_fits_in_1_kib() {
        let future = size_of_returned(lwp_main);
        // Behind the two counts of the `Arc`.
        let lwp = 2 * size_of::<usize>() + size_of::<Lwp>();
        let registers = size_of::<UserCtx>();
        // A slot of `Lids`, and an entry of `ProcSt::lwps`, whose nodes are half full.
        let tables = 2 * size_of::<usize>() + 2 * size_of::<(u64, Arc<Lwp>)>();
        let all = block(future) + block(lwp) + block(registers) + tables;
        assert!(
            all <= 1024,
            "{all}: future {future}, LWP {lwp}, registers {registers}, tables {tables}"
        );
    }
}
