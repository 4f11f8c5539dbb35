//! The scheduler: which LWP runs next on which vcpu.
//!
//! Each vcpu has a run queue and a `next` slot for the LWP just made runnable by the one running there,
//! which is often about to park (direct hand-off). Idle vcpus steal from the queues, never from `next`.
//! Responsible for order and for deciding when another vcpu must be woken; not for sleeping or time.
//!
//! # Waking an idle vcpu
//! It costs the waker 8 µs and arrives 30 µs later, as much as many calls. So an LWP in `next` alone
//! wakes nobody; the second runnable LWP does, and so does a `next` that is still there when the
//! hand-off tick comes (`handoff_ns` later, doubling up to [`HANDOFF_MAX`] while hand-offs work out,
//! back to [`HANDOFF_MIN`] when one got stuck). No such tick was set while all vcpus were busy: the one that
//! then finds nothing to do watches that `next` for as long ([`Sched::watch_next`]) before it waits for good.
//!
//! # Invariants
//! 1. An LWP is in one queue at most, in LSRUN.
//! 2. A vcpu announces itself idle before it looks at the queues a last time, with each one's lock, and an
//!    enqueuer looks at the idle count after it has taken that lock: either the one sees the LWP, or the
//!    other the idle vcpu.
//!
//! Sources: `kern_runq.c`; design section 5.

use crate::lwp::Lwp;
use crate::machine::{CpuId, Machine};
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Rank, SpinMutex};
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

/// How long an LWP may run while others wait.
pub const QUANTUM: Duration = Duration::from_millis(10);
const HANDOFF_MIN: u64 = 50_000;
const HANDOFF_MAX: u64 = 1_600_000;
/// One pick in so many takes the queue's head even if `next` is set.
const FAIRNESS: u64 = 61;

/// Decides among the runnable LWPs of one vcpu. Called with the run queue locked.
pub trait Policy: Send + Sync {
    /// Takes out the LWP to run.
    fn pick(&self, queue: &mut RunQueue) -> Option<Arc<Lwp>>;

    /// Whether every return of the machine is a chance for others, not only the end of a quantum.
    fn preempts_at_once(&self) -> bool;

    /// Whether what follows is to be asked at all.
    fn meddles(&self) -> bool {
        false
    }

    /// Whether `lwp`, which runs and has come to `place`, gives way to one of `others`. There is one.
    fn gives_way(&self, _lwp: &Lwp, _place: Place, _others: &RunQueue) -> bool {
        false
    }

    /// Which of `of` things that NetBSD may do happens to the LWP that runs, or by it; 0 is the usual one.
    fn choose(&self, _chance: Chance, _of: u32) -> u32 {
        0
    }

    /// A signal with a handler was posted to `lwp`, or can be taken since it changed its mask.
    fn signal_posted(&self, _lwp: &Lwp) {}

    /// Whether `lwp`, at its user boundary, goes on as if its signal had not come yet.
    fn holds_signal(&self, _lwp: &Lwp) -> bool {
        false
    }

    /// A sleep of `lwp` was ended by a signal, which is to be taken before it returns to user mode.
    fn signal_due(&self, _lwp: &Lwp) {}
}

/// Where a [`Policy`] may take the vcpu from an LWP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// It has made a system call, and nothing of that has been done.
    Call,
    /// It is about to go to user mode.
    Return,
}

/// What a [`Policy`] may decide otherwise than usual, within what NetBSD permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Chance {
    /// `_lwp_park(2)` that would sleep: 1 returns at once, as if somebody had woken the LWP.
    Park,
    /// Which of several LWPs that are woken together comes first.
    Wake,
    /// By how many bytes a transfer on a pipe or a stream socket falls short of what was asked for.
    Transfer,
}

/// One vcpu's runnable LWPs.
#[derive(Debug, Default)]
pub struct RunQueue {
    /// Just made runnable by the LWP running here.
    pub next: Option<Arc<Lwp>>,
    /// The others, longest waiting first.
    pub queue: VecDeque<Arc<Lwp>>,
    /// Picks so far.
    pub picks: u64,
}

/// The policy of `lwp run`: hand-off first, then first come, first served.
#[derive(Debug)]
pub struct Fair;

impl Policy for Fair {
    fn pick(&self, rq: &mut RunQueue) -> Option<Arc<Lwp>> {
        rq.picks += 1;
        if rq.picks.is_multiple_of(FAIRNESS) {
            rq.queue.pop_front().or_else(|| rq.next.take())
        } else {
            rq.next.take().or_else(|| rq.queue.pop_front())
        }
    }

    fn preempts_at_once(&self) -> bool {
        false
    }
}

/// Every decision from a seed: any runnable LWP may be next.
#[derive(Debug)]
pub struct Chaos {
    state: AtomicU64,
}

impl Chaos {
    /// The schedule of `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            state: AtomicU64::new(seed),
        }
    }

    /// The next number of the sequence (SplitMix64).
    pub fn draw(&self) -> u64 {
        let before = self.state.fetch_add(GOLDEN, Ordering::Relaxed);
        mix(before.wrapping_add(GOLDEN))
    }
}

/// By how much the state of SplitMix64 grows from one number to the next.
pub const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The number that SplitMix64 makes of a state.
pub fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Policy for Chaos {
    fn pick(&self, rq: &mut RunQueue) -> Option<Arc<Lwp>> {
        rq.picks += 1;
        if let Some(next) = rq.next.take() {
            rq.queue.push_back(next);
        }
        let len = u64::try_from(rq.queue.len()).ok().filter(|&len| len > 0)?;
        let index = usize::try_from(self.draw() % len).ok()?;
        rq.queue.remove(index)
    }

    fn preempts_at_once(&self) -> bool {
        true
    }
}

/// What a tick asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an LWP may be stuck in a queue"]
pub(crate) struct Tick {
    /// Another vcpu should come and help.
    pub(crate) summon: bool,
    /// The running LWP has had its turn.
    pub(crate) preempt: bool,
}

/// A `next` slot of another vcpu, or what it has at hand, that a vcpu about to wait has an eye on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched {
    cpu: CpuId,
    due: u64,
}

impl Watched {
    /// When to look again.
    pub(crate) fn due(self) -> Duration {
        Duration::from_nanos(self.due)
    }
}

#[derive(Debug)]
struct Cpu {
    rq: SpinMutex<RunQueue>,
    /// LWPs in `rq`, readable without its lock; written under it.
    len: AtomicUsize,
    /// An LWP runs here; otherwise this vcpu looks at `rq` before it waits, and needs no tick.
    is_busy: AtomicBool,
    /// The LWP that runs here keeps another at hand, off the queue ([`crate::fast`]); only this vcpu writes it.
    holds: AtomicBool,
    /// When the last LWP left, a stamp, if the vcpu has not waited since; else 0.
    left_at: AtomicU64,
    /// LWPs that have come to run here; only this vcpu writes it.
    picks: AtomicU64,
    /// When the running LWP's turn ends because others wait, nanoseconds, 0 for never; and how many picks
    /// there were when it began.
    quantum_due: AtomicU64,
    quantum_picks: AtomicU64,
    /// When the hand-off tick is due, nanoseconds, 0 for none; and how many picks there were then.
    handoff_due: AtomicU64,
    handoff_picks: AtomicU64,
    handoff_ns: AtomicU64,
}

impl RunQueue {
    /// How many LWPs wait.
    pub fn len(&self) -> usize {
        usize::from(self.next.is_some()) + self.queue.len()
    }

    /// Those who wait, by birth, in the order in which they would run.
    pub fn births(&self) -> impl Iterator<Item = u64> {
        self.next.iter().chain(&self.queue).map(|lwp| lwp.birth)
    }

    /// Nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Cpu {
    /// Tells how long `rq`, which is its queue, has become.
    fn publish(&self, rq: &RunQueue) {
        self.len.store(rq.len(), Ordering::Relaxed);
    }
}

/// All run queues.
pub struct Sched {
    cpus: Box<[Cpu]>,
    /// Vcpus that wait, or are about to.
    idle: AtomicUsize,
    /// Vcpus whose host threads have been started.
    started: AtomicUsize,
    policy: Box<dyn Policy>,
    /// [`Policy::meddles`].
    meddles: bool,
}

impl Sched {
    /// Queues for `ncpu` vcpus, of which the first is running.
    pub fn new(ncpu: usize, policy: Box<dyn Policy>) -> Self {
        let cpu = || Cpu {
            rq: SpinMutex::new(Rank::Run, RunQueue::default()),
            len: AtomicUsize::new(0),
            is_busy: AtomicBool::new(false),
            holds: AtomicBool::new(false),
            left_at: AtomicU64::new(0),
            picks: AtomicU64::new(0),
            quantum_due: AtomicU64::new(0),
            quantum_picks: AtomicU64::new(0),
            handoff_due: AtomicU64::new(0),
            handoff_picks: AtomicU64::new(0),
            handoff_ns: AtomicU64::new(HANDOFF_MIN),
        };
        Self {
            cpus: (0..ncpu.max(1)).map(|_| cpu()).collect(),
            idle: AtomicUsize::new(0),
            started: AtomicUsize::new(1),
            meddles: policy.meddles(),
            policy,
        }
    }

    /// [`Policy::meddles`].
    pub fn meddles(&self) -> bool {
        self.meddles
    }

    /// The policy, if it is one that meddles.
    #[inline]
    fn meddler(&self) -> Option<&dyn Policy> {
        self.meddles.then_some(&*self.policy)
    }

    /// Whether `lwp`, which runs on vcpu `here` and has come to `place`, is to give way to another.
    #[inline]
    pub(crate) fn gives_way(&self, here: CpuId, lwp: &Lwp, place: Place) -> bool {
        let cpu = &self.cpus[here];
        self.meddler().is_some_and(|policy| {
            cpu.len.load(Ordering::Relaxed) > 0 && policy.gives_way(lwp, place, &cpu.rq.lock())
        })
    }

    /// [`Policy::choose`].
    #[inline]
    pub fn choose(&self, chance: Chance, of: u32) -> u32 {
        let chosen = self.meddler().filter(|_| of > 1);
        chosen.map_or(0, |policy| policy.choose(chance, of).min(of - 1))
    }

    /// Puts what is woken together into another order, if the policy wants that.
    pub(crate) fn shuffle<T>(&self, woken: &mut [T]) {
        let many = u32::try_from(woken.len()).unwrap_or(u32::MAX);
        let first = usize::try_from(self.choose(Chance::Wake, many)).unwrap_or(0);
        if let Some(front) = woken.get_mut(..=first) {
            front.rotate_right(1);
        }
    }

    /// [`Policy::signal_posted`].
    #[inline]
    pub(crate) fn signal_posted(&self, lwp: &Lwp) {
        if let Some(policy) = self.meddler() {
            policy.signal_posted(lwp);
        }
    }

    /// [`Policy::holds_signal`].
    #[inline]
    pub(crate) fn holds_signal(&self, lwp: &Lwp) -> bool {
        self.meddler()
            .is_some_and(|policy| policy.holds_signal(lwp))
    }

    /// [`Policy::signal_due`].
    #[inline]
    pub(crate) fn signal_due(&self, lwp: &Lwp) {
        if let Some(policy) = self.meddler() {
            policy.signal_due(lwp);
        }
    }

    /// Queues an LWP in LSRUN that is on no vcpu: into the current vcpu's `next` slot. Returns whether
    /// another vcpu should come and help.
    #[must_use]
    pub(crate) fn enqueue(&self, lwp: &Arc<Lwp>, machine: &dyn Machine) -> bool {
        let here = machine.current();
        let cpu = &self.cpus[here];
        let crowded = {
            let mut rq = cpu.rq.lock();
            let displaced = rq.next.replace(Arc::clone(lwp));
            rq.queue.extend(displaced);
            cpu.publish(&rq);
            !rq.queue.is_empty()
        };
        let is_busy = cpu.is_busy.load(Ordering::Relaxed);
        if is_busy {
            self.arm_quantum(here, machine);
        }
        if !self.has_help() {
            return false;
        }
        if is_busy && !crowded && cpu.handoff_due.load(Ordering::Relaxed) == 0 {
            let now = nanos(machine.monotonic());
            let due = now.saturating_add(cpu.handoff_ns.load(Ordering::Relaxed));
            let picks = cpu.picks.load(Ordering::Relaxed);
            cpu.handoff_picks.store(picks, Ordering::Relaxed);
            cpu.handoff_due.store(due, Ordering::Relaxed);
            machine.tick_at(here, Duration::from_nanos(due));
        }
        crowded
    }

    /// [`Sched::enqueue`] of many, behind the others.
    #[must_use]
    pub(crate) fn enqueue_all(&self, lwps: Vec<Arc<Lwp>>, machine: &dyn Machine) -> bool {
        let here = machine.current();
        let cpu = &self.cpus[here];
        {
            let mut rq = cpu.rq.lock();
            rq.queue.extend(lwps);
            cpu.publish(&rq);
        }
        if cpu.is_busy.load(Ordering::Relaxed) {
            self.arm_quantum(here, machine);
        }
        self.has_help()
    }

    /// Queues an LWP that gave up vcpu `here`, behind the others. Returns as [`Sched::enqueue`].
    #[must_use]
    pub(crate) fn enqueue_behind(&self, lwp: Arc<Lwp>, here: CpuId) -> bool {
        let cpu = &self.cpus[here];
        let mut rq = cpu.rq.lock();
        rq.queue.push_back(lwp);
        cpu.publish(&rq);
        rq.len() > 1 && self.has_help()
    }

    /// [`Sched::enqueue`] on vcpu `here`, which runs an LWP, if that takes neither memory nor a timer nor
    /// another vcpu; else `false`, and nothing has happened.
    #[must_use]
    pub(crate) fn enqueue_fast(&self, here: CpuId, lwp: &Arc<Lwp>) -> bool {
        let cpu = &self.cpus[here];
        if cpu.quantum_due.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut rq = cpu.rq.lock();
        let is_crowded = rq.next.is_some() || !rq.queue.is_empty();
        let has_tick = cpu.handoff_due.load(Ordering::Relaxed) != 0;
        if self.has_help() && (is_crowded || !has_tick) {
            return false;
        }
        if rq.next.is_some() && rq.queue.len() == rq.queue.capacity() {
            return false;
        }
        if let Some(displaced) = rq.next.replace(Arc::clone(lwp)) {
            rq.queue.push_back(displaced);
        }
        cpu.publish(&rq);
        true
    }

    /// Whether the LWP on vcpu `here` may keep the next one at hand, off the queue: nobody else waits, and
    /// the ticks are set that look after one that waits.
    pub(crate) fn may_hold(&self, here: CpuId) -> bool {
        let cpu = &self.cpus[here];
        let is_set = |due: &AtomicU64| due.load(Ordering::Relaxed) != 0;
        cpu.len.load(Ordering::Relaxed) == 0
            && is_set(&cpu.quantum_due)
            && (is_set(&cpu.handoff_due) || !self.has_help())
    }

    /// The LWP on vcpu `here` keeps one at hand, or no longer does. A vcpu that becomes idle in the very
    /// moment between [`Sched::may_hold`] and this does not see it; then the end of the quantum is what helps.
    pub(crate) fn set_holds(&self, here: CpuId, holds: bool) {
        self.cpus[here].holds.store(holds, Ordering::Relaxed);
    }

    /// An LWP comes to run on vcpu `here` that was on no queue.
    pub(crate) fn count_pick(&self, here: CpuId) {
        bump(&self.cpus[here].picks);
    }

    /// [`Sched::pick`] from the queue of vcpu `here` alone, if no timer has to be set for those who stay there.
    pub(crate) fn pick_fast(&self, here: CpuId) -> Option<Arc<Lwp>> {
        let cpu = &self.cpus[here];
        let mut rq = cpu.rq.lock();
        if rq.len() > 1 && cpu.quantum_due.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let lwp = self.policy.pick(&mut rq)?;
        cpu.publish(&rq);
        bump(&cpu.picks);
        Some(lwp)
    }

    /// Takes the LWP that vcpu `here` is to run, from its own queue or another's.
    pub(crate) fn pick(&self, here: CpuId) -> Option<Arc<Lwp>> {
        let picked = self.take(here, |rq| self.policy.pick(rq)).or_else(|| {
            let others = (here + 1..self.cpus.len()).chain(0..here);
            others
                .into_iter()
                .find_map(|cpu| self.take(cpu, |rq| rq.queue.pop_front()))
        });
        if picked.is_some() {
            bump(&self.cpus[here].picks);
        }
        picked
    }

    fn take(
        &self,
        index: CpuId,
        how: impl FnOnce(&mut RunQueue) -> Option<Arc<Lwp>>,
    ) -> Option<Arc<Lwp>> {
        let cpu = &self.cpus[index];
        if cpu.len.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let mut rq = cpu.rq.lock();
        let lwp = how(&mut rq)?;
        cpu.publish(&rq);
        Some(lwp)
    }

    /// The last LWP left vcpu `cpu` at `now`, a stamp: the next one need not make another.
    pub(crate) fn note_left(&self, cpu: CpuId, now: u64) {
        self.cpus[cpu].left_at.store(now, Ordering::Relaxed);
    }

    /// Takes what [`Sched::note_left`] noted. Only the vcpu itself calls either.
    pub(crate) fn take_left_at(&self, cpu: CpuId) -> Option<u64> {
        let left_at = self.cpus[cpu].left_at.load(Ordering::Relaxed);
        self.cpus[cpu].left_at.store(0, Ordering::Relaxed);
        (left_at != 0).then_some(left_at)
    }

    /// An LWP begins or ceases to run on vcpu `cpu`.
    pub(crate) fn set_busy(&self, cpu: CpuId, is_busy: bool) {
        self.cpus[cpu].is_busy.store(is_busy, Ordering::Relaxed);
    }

    /// Whether other LWPs wait for vcpu `cpu`.
    pub fn has_waiting(&self, cpu: CpuId) -> bool {
        self.waiting(cpu) > 0
    }

    /// How many LWPs wait for vcpu `cpu`.
    pub(crate) fn waiting(&self, cpu: CpuId) -> usize {
        self.cpus[cpu].len.load(Ordering::SeqCst)
    }

    /// Whether an LWP waits that vcpu `here`, about to idle, could run. Takes every lock (invariant 2).
    pub(crate) fn has_work_for(&self, here: CpuId) -> bool {
        self.cpus.iter().enumerate().any(|(index, cpu)| {
            let rq = cpu.rq.lock();
            !rq.queue.is_empty() || index == here && rq.next.is_some()
        })
    }

    /// Counts the current vcpu as idle; [`Sched::leave_idle`] takes it back.
    pub(crate) fn enter_idle(&self) {
        self.idle.fetch_add(1, Ordering::SeqCst);
    }

    /// See [`Sched::enter_idle`].
    pub(crate) fn leave_idle(&self) {
        self.idle.fetch_sub(1, Ordering::SeqCst);
    }

    /// How many vcpus wait.
    pub fn idle(&self) -> usize {
        self.idle.load(Ordering::SeqCst)
    }

    /// How many vcpus have been started.
    pub fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    /// How many times an LWP was switched to, on all vcpus.
    pub fn switches(&self) -> u64 {
        self.cpus
            .iter()
            .map(|cpu| cpu.picks.load(Ordering::Relaxed))
            .sum()
    }

    /// Some vcpu could take work over: one is idle, or not started yet.
    fn has_help(&self) -> bool {
        self.idle() > 0 || self.started() < self.cpus.len()
    }

    /// Claims the next vcpu to be started, if one is left.
    pub(crate) fn claim_start(&self) -> Option<CpuId> {
        self.started
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| {
                (n < self.cpus.len()).then_some(n + 1)
            })
            .ok()
    }

    /// Begins a turn for the LWP on vcpu `here` if others wait for it and none has begun.
    pub(crate) fn arm_quantum(&self, here: CpuId, machine: &dyn Machine) {
        let cpu = &self.cpus[here];
        if cpu.len.load(Ordering::Relaxed) > 0 && cpu.quantum_due.load(Ordering::Relaxed) == 0 {
            let due = machine.monotonic() + QUANTUM;
            let picks = cpu.picks.load(Ordering::Relaxed);
            cpu.quantum_picks.store(picks, Ordering::Relaxed);
            cpu.quantum_due.store(nanos(due), Ordering::Relaxed);
            machine.tick_at(here, due);
        }
    }

    /// Forgets the quantum and the hand-off of vcpu `here`, which has nothing to run: a tick that comes
    /// while it waits is not told to the scheduler, and what stays promised is never armed again.
    pub(crate) fn forget_ticks(&self, here: CpuId) {
        let cpu = &self.cpus[here];
        cpu.quantum_due.store(0, Ordering::Relaxed);
        cpu.handoff_due.store(0, Ordering::Relaxed);
    }

    /// Asks again for what vcpu `here` still waits for: the machine keeps one time, the first, and
    /// that has come.
    pub(crate) fn rearm(&self, here: CpuId, machine: &dyn Machine) {
        let cpu = &self.cpus[here];
        for due in [&cpu.quantum_due, &cpu.handoff_due] {
            let due = due.load(Ordering::Relaxed);
            if due > 0 {
                machine.tick_at(here, Duration::from_nanos(due));
            }
        }
    }

    /// The machine came back at `now`: settles the quantum and the hand-off of vcpu `here`.
    pub(crate) fn tick(&self, here: CpuId, now: Duration) -> Tick {
        let cpu = &self.cpus[here];
        let picks = cpu.picks.load(Ordering::Relaxed);
        let mut tick = Tick {
            summon: false,
            preempt: self.policy.preempts_at_once(),
        };
        if is_due(&cpu.quantum_due, now) {
            // An LWP that came to run meanwhile has its turn before it.
            tick.preempt |= picks == cpu.quantum_picks.load(Ordering::Relaxed);
        }
        if is_due(&cpu.handoff_due, now) {
            tick.summon = Self::settle_handoff(cpu) && self.has_help();
        }
        tick
    }

    /// Judges the hand-off whose time is over, and with it how long the next one gets. Returns whether
    /// somebody was stuck in `next`, who is now there for all.
    fn settle_handoff(cpu: &Cpu) -> bool {
        let picks = cpu.picks.load(Ordering::Relaxed);
        let is_stuck = picks == cpu.handoff_picks.load(Ordering::Relaxed);
        let before = cpu.handoff_ns.load(Ordering::Relaxed);
        let after = if is_stuck {
            HANDOFF_MIN
        } else {
            (before * 2).min(HANDOFF_MAX)
        };
        cpu.handoff_ns.store(after, Ordering::Relaxed);
        is_stuck && Self::spill_next(cpu)
    }

    /// Looks for an LWP in the `next` slot of a busy vcpu that has set no tick for it, since nobody could
    /// have come. The caller, about to wait, can now: it is to call [`Sched::settle_watched`] after its wait,
    /// which is to end when the hand-off has had its time.
    pub(crate) fn watch_next(&self, here: CpuId, now: Duration) -> Option<Watched> {
        let is_left = |index: CpuId| {
            let cpu = &self.cpus[index];
            index != here
                && cpu.is_busy.load(Ordering::Relaxed)
                && cpu.handoff_due.load(Ordering::Relaxed) == 0
                && (cpu.holds.load(Ordering::Relaxed)
                    || cpu.len.load(Ordering::Relaxed) > 0 && cpu.rq.lock().next.is_some())
        };
        let index = (0..self.cpus.len()).find(|&index| is_left(index))?;
        let cpu = &self.cpus[index];
        let due = nanos(now).saturating_add(cpu.handoff_ns.load(Ordering::Relaxed));
        let picks = cpu.picks.load(Ordering::Relaxed);
        cpu.handoff_picks.store(picks, Ordering::Relaxed);
        cpu.handoff_due.store(due, Ordering::Relaxed);
        Some(Watched { cpu: index, due })
    }

    /// Ends what [`Sched::watch_next`] began, at `now`, which may be before its time. Returns the vcpu that is to
    /// come into the kernel, where it lets go of the LWP it still has at hand.
    #[must_use]
    pub(crate) fn settle_watched(&self, watched: Watched, now: Duration) -> Option<CpuId> {
        let cpu = &self.cpus[watched.cpu];
        let is_mine =
            cpu.handoff_due
                .compare_exchange(watched.due, 0, Ordering::Relaxed, Ordering::Relaxed);
        if is_mine.is_err() || nanos(now) < watched.due {
            return None;
        }
        let is_stuck =
            cpu.picks.load(Ordering::Relaxed) == cpu.handoff_picks.load(Ordering::Relaxed);
        let _whoever_picks_next_finds_it = Self::settle_handoff(cpu);
        (is_stuck && cpu.holds.load(Ordering::Relaxed)).then_some(watched.cpu)
    }

    /// Lets others have the LWP in the `next` slot, if there is one.
    fn spill_next(cpu: &Cpu) -> bool {
        let mut rq = cpu.rq.lock();
        let next = rq.next.take();
        let is_any = next.is_some();
        rq.queue.extend(next);
        cpu.publish(&rq);
        is_any
    }

    /// Each vcpu's runnable LWPs, by birth, and their number as kept.
    pub(crate) fn snapshot(&self) -> Vec<(Vec<u64>, usize)> {
        let of = |cpu: &Cpu| {
            let rq = cpu.rq.lock();
            let births = rq.births().collect();
            (births, cpu.len.load(Ordering::SeqCst))
        };
        self.cpus.iter().map(of).collect()
    }

    /// Leaves no LWP and only vcpu 0: for a fork child. Nothing is dropped, see `Lids::clear`.
    pub(crate) fn clear(&self) {
        for each in &self.cpus {
            core::mem::forget(core::mem::take(&mut *each.rq.lock()));
            each.len.store(0, Ordering::SeqCst);
            each.quantum_due.store(0, Ordering::Relaxed);
            each.handoff_due.store(0, Ordering::Relaxed);
            each.holds.store(false, Ordering::Relaxed);
        }
        self.idle.store(0, Ordering::SeqCst);
        self.started.store(1, Ordering::SeqCst);
    }
}

impl core::fmt::Debug for Sched {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Sched")
            .field("cpus", &self.cpus)
            .finish_non_exhaustive()
    }
}

/// Whether a deadline has passed; it is taken back then.
fn is_due(deadline: &AtomicU64, now: Duration) -> bool {
    let due = deadline.load(Ordering::Relaxed);
    if due == 0 || nanos(now) < due {
        return false;
    }
    deadline.store(0, Ordering::Relaxed);
    true
}

/// Adds one to a count that only this vcpu writes.
fn bump(count: &AtomicU64) {
    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::Joinable;
    use lwp_abi::lwp::LwpId;
    use lwp_abi::signal::SigSet;

    #[test]
    fn a_vcpu_about_to_wait_frees_an_lwp_stuck_in_anothers_next_slot() {
        let sched = Sched::new(2, Box::new(Fair));
        let lwp = Arc::new(Lwp::new(LwpId::new(1), 0, SigSet::EMPTY, Joinable::Yes));
        // Woken on vcpu 0, which goes on running, while vcpu 1 was busy too: nobody has set a tick for it.
        sched.set_busy(0, true);
        {
            let mut rq = sched.cpus[0].rq.lock();
            rq.next = Some(lwp);
            sched.cpus[0].publish(&rq);
        }
        assert!(sched.pick(1).is_none(), "a next slot is not stolen from");
        let now = Duration::from_secs(1);
        let watched = sched.watch_next(1, now).expect("it is left behind");
        assert!(watched.due() <= now + QUANTUM / 2);
        assert_eq!(sched.settle_watched(watched, watched.due()), None);
        assert!(sched.pick(1).is_some());
    }
}
