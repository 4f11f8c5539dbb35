//! A machine around another, for runs that are decided by [`Chaos`].
//!
//! User mode, memory and host descriptors are the other's. Random bytes are the seed's. With [`Time::Virtual`] so is time:
//! a visit to user mode takes as long as the seed says, and when every LWP waits, time jumps to the next deadline.
//! Then ticks come at visits, host events are looked for every [`LOOK`] points, and what a kick of the other machine
//! would change is not let through, unless an LWP makes no system call for so long that others would wait for ever.
//!
//! Host descriptors, forked processes and helper threads go on in real time. Before a jump, descriptors and threads are
//! waited for, for [`GRACE`]; a process that has forked, and a child, wait as long as they say, since nothing tells what the
//! other one will do: their times do not jump, but stand still until then.

use crate::director::{Chaos, Visit};
use crate::draw::{Seed, by_magnitude};
use crate::strategy::Walk;
use core::fmt;
use core::ops::Range;
use core::str::FromStr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use lwp_abi::mman::Prot;
use lwp_abi::signal::Signo;
use lwp_kernel::Kernel;
use lwp_kernel::ctx::{Fault, FaultKind, Fpu, Fxsave, Trap, Uppers, UserCtx};
use lwp_kernel::machine::{
    Advice, AlwaysReady, Backing, BadAddress, Clocks, CpuId, Event, ExitWith, FastCalls, Forked,
    HostErr, Machine, Memory, Poller, Ready, UserMode, Vcpus, Wait,
};
use std::sync::Arc;

/// Which time the guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// The host's.
    Real,
    /// The seed's.
    Virtual,
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Real => "real",
            Self::Virtual => "virtual",
        })
    }
}

impl FromStr for Time {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "real" => Ok(Self::Real),
            "virtual" => Ok(Self::Virtual),
            _ => Err("time is real or virtual"),
        }
    }
}

/// Why a program counts as one that hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hang {
    /// Every LWP waits, and nothing can wake any.
    Deadlock,
    /// The end of time has come ([`ChaosMachine::end_at`]).
    Time,
}

/// What is done about a program that hangs.
pub type OnHang = Box<dyn Fn(Hang) + Send + Sync>;

/// The monotonic clock when a run begins, nanoseconds.
const BEGIN: u64 = 1_000_000_000_000;
/// The realtime clock is ahead of it by this: a run begins on 2023-11-14 at 22:30 UTC.
const EPOCH: Duration = Duration::from_secs(1_700_000_000);
/// The longest visit to user mode, nanoseconds.
const VISIT: u32 = 8_000;
/// One visit in so many takes up to [`LONG_VISIT`], as if other processes had had the CPU.
const LONG_ONE_IN: u64 = 512;
const LONG_VISIT: u32 = 2_000_000;
/// Host events are looked for once in so many points.
const LOOK: u64 = 128;
/// How long real events are waited for before time jumps.
const GRACE: Duration = Duration::from_millis(2);
/// For how long a program may wait for nothing but host descriptors before it hangs.
const PATIENCE: Duration = Duration::from_millis(300);
/// An LWP that has computed for between one and two times this without a system call is preempted: CPU time of the
/// host's, and as much of the guest's.
const STRETCH: Duration = Duration::from_millis(4);
/// The first time it takes so many times this: a host that is slow for once must not look like a program that spins.
const SPINS: u64 = 8;
/// The instructions that read the time-stamp counter.
const RDTSC: [u8; 2] = [0x0f, 0x31];
const RDTSCP: [u8; 3] = [0x0f, 0x01, 0xf9];
/// x86 vector of a general-protection fault.
const T_PROTFLT: u32 = 13;

// What numbers are drawn for.
const TIME: u64 = 8;
const RANDOM: u64 = 9;

/// See the module.
pub struct ChaosMachine<M> {
    inner: Arc<M>,
    chaos: Arc<Chaos>,
    time: Time,
    /// Virtual time, nanoseconds.
    now: AtomicU64,
    /// What of it has passed in user mode.
    ran: AtomicU64,
    /// When a tick is due; `u64::MAX` for never.
    tick: AtomicU64,
    /// Random words so far.
    words: AtomicU64,
    /// Visits to user mode, how many there had been at the last kick, and how many kicks that visit has had since its
    /// first.
    visits: AtomicU64,
    kicked: AtomicU64,
    kicks: AtomicU64,
    /// Host descriptors that are watched, and jobs that are not done.
    watched: AtomicU64,
    /// There has been a fork, of this process or the one that it comes from.
    has_family: AtomicBool,
    /// See [`ChaosMachine::end_at`].
    end: AtomicU64,
    hang: Option<OnHang>,
}

impl<M: Machine> ChaosMachine<M> {
    /// Around `inner`, on whose vcpu 0 this is called. `hang`, if there is one, is called when nothing can ever happen
    /// again, or the end of time has come ([`ChaosMachine::end_at`]).
    pub fn new(inner: Arc<M>, chaos: Arc<Chaos>, time: Time, hang: Option<OnHang>) -> Self {
        Self {
            inner,
            chaos,
            time,
            now: AtomicU64::new(BEGIN),
            ran: AtomicU64::new(0),
            tick: AtomicU64::new(u64::MAX),
            words: AtomicU64::new(0),
            visits: AtomicU64::new(0),
            kicked: AtomicU64::new(u64::MAX),
            kicks: AtomicU64::new(0),
            watched: AtomicU64::new(0),
            has_family: AtomicBool::new(false),
            end: AtomicU64::new(u64::MAX),
            hang,
        }
    }

    /// The program begins, on the vcpu that calls this.
    pub fn begin(&self) {
        if self.is_virtual() {
            self.inner.trap_counter();
            self.inner.watch_cpu(STRETCH);
        }
    }

    /// A program for which so much virtual time has passed counts as one that hangs.
    pub fn end_at(&self, after: Duration) {
        let end = BEGIN.saturating_add(nanos(after));
        self.end.store(end, Ordering::Relaxed);
    }

    fn is_virtual(&self) -> bool {
        self.time == Time::Virtual
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// Time passes in user mode, for `by` nanoseconds.
    fn pass(&self, by: u64) {
        // Written by the one vcpu only.
        let now = self.now() + by;
        self.now.store(now, Ordering::Relaxed);
        let ran = self.ran.load(Ordering::Relaxed) + by;
        self.ran.store(ran, Ordering::Relaxed);
        if now >= self.end.load(Ordering::Relaxed) {
            self.hangs(Hang::Time);
        }
    }

    fn hangs(&self, why: Hang) {
        if let Some(hang) = &self.hang {
            hang(why);
        }
    }

    /// Virtual time passes in a visit; whether it is cut short for a tick, or to look at what happened outside.
    fn begin_visit(&self, visit: &Visit) -> bool {
        let number = self.chaos.seed().of(TIME).at(visit.at);
        let longest = if Seed::is_one_in(number, LONG_ONE_IN) {
            LONG_VISIT
        } else {
            VISIT
        };
        self.pass(by_magnitude(number / LONG_ONE_IN, longest).into());
        let visits = self.visits.load(Ordering::Relaxed) + 1;
        self.visits.store(visits, Ordering::Relaxed);
        let is_due = self.now() >= self.tick.load(Ordering::Relaxed);
        if is_due {
            self.tick.store(u64::MAX, Ordering::Relaxed);
        }
        is_due || visits.is_multiple_of(LOOK)
    }

    /// Runs the guest for so many instructions; the trap, if that came first or there is nothing more to run.
    fn walk(&self, cx: &mut UserCtx, visit: &Visit, walk: Walk) -> Option<Trap> {
        let mut left = walk.steps;
        while left > 0 {
            match self.inner.step(cx) {
                None => left -= 1,
                Some(trap) => match self.arrived(cx, trap) {
                    // Something for this module alone.
                    None => {}
                    Some(trap) => return Some(trap),
                },
            }
        }
        if !self.chaos.walked(visit.at, walk, cx.regs.rip) {
            return Some(Trap::Preempted);
        }
        if !self.inner.set_breakpoint(Some(cx.regs.rip)) {
            self.chaos.is_unwatched();
        }
        None
    }

    /// What a trap of the other machine is for the kernel; `None` if it is none of its business.
    fn arrived(&self, cx: &mut UserCtx, trap: Trap) -> Option<Trap> {
        match trap {
            // The breakpoint, come to by anybody.
            Trap::Preempted if self.inner.take_hit() => {
                if !self.chaos.hit() {
                    return None;
                }
                self.inner.set_breakpoint(None);
                Some(trap)
            }
            Trap::Preempted if self.is_virtual() => self.is_stretch().then(|| {
                self.pass(nanos(STRETCH));
                self.chaos.stretched();
                trap
            }),
            Trap::Fault(fault) if self.is_virtual() && self.read_counter(cx, &fault) => None,
            other => Some(other),
        }
    }

    /// The other machine was kicked: whether this visit to user mode has been there for enough kicks.
    fn is_stretch(&self) -> bool {
        let visits = self.visits.load(Ordering::Relaxed);
        if self.kicked.swap(visits, Ordering::Relaxed) != visits {
            self.kicks.store(0, Ordering::Relaxed);
            return false;
        }
        let enough = match self.chaos.stretches() {
            0 => SPINS,
            _ => 1,
        };
        1 + self.kicks.fetch_add(1, Ordering::Relaxed) >= enough
    }

    /// Does what the guest's RDTSC or RDTSCP would have done, if that was what faulted.
    fn read_counter(&self, cx: &mut UserCtx, fault: &Fault) -> bool {
        if fault.kind != FaultKind::SegvAccErr || fault.trapno != T_PROTFLT {
            return false;
        }
        let mut code = [0; 3];
        let rip = cx.regs.rip;
        if self.inner.copyin(rip, &mut code[..2]).is_err() {
            return false;
        }
        let len = if code.starts_with(&RDTSC) {
            RDTSC.len()
        } else if self.inner.copyin(rip, &mut code).is_ok() && code == RDTSCP {
            cx.regs.rcx = 0;
            RDTSCP.len()
        } else {
            return false;
        };
        // A loop that waits for it to grow ends.
        self.pass(25);
        let count = self.now();
        cx.regs.rax = count & 0xffff_ffff;
        cx.regs.rdx = count >> 32;
        cx.regs.rip = rip.wrapping_add(len as u64);
        true
    }

    /// Whether something may come from outside.
    fn has_outside(&self) -> bool {
        self.watched.load(Ordering::Relaxed) > 0 || self.has_family.load(Ordering::Relaxed)
    }

    /// [`Poller::poll`] in virtual time, nothing having happened yet.
    fn wait(&self, cpu: CpuId, wait: Wait, events: &mut Vec<Event>) {
        // A tick ends a wait as well: the kernel counts on it, and may give no time of its own.
        let tick = self.tick.load(Ordering::Relaxed);
        let wait = match wait {
            Wait::Until(at) if nanos(at) <= tick => wait,
            Wait::Until(_) | Wait::Forever if tick != u64::MAX => {
                self.tick.store(u64::MAX, Ordering::Relaxed);
                Wait::Until(Duration::from_nanos(tick))
            }
            _ => wait,
        };
        match wait {
            Wait::No => {}
            Wait::Until(at) => {
                let patience = if self.has_family.load(Ordering::Relaxed) {
                    Duration::from_nanos(nanos(at).saturating_sub(self.now()))
                } else if self.has_outside() {
                    GRACE
                } else {
                    Duration::ZERO
                };
                if !patience.is_zero() {
                    let until = self.inner.monotonic() + patience;
                    self.inner.poll(cpu, Wait::Until(until), events);
                    if !events.is_empty() || self.inner.monotonic() < until {
                        return;
                    }
                }
                self.now.fetch_max(nanos(at), Ordering::Relaxed);
                // The end of time may have come.
                self.pass(0);
            }
            Wait::Forever => {
                if self.hang.is_some() && !self.has_family.load(Ordering::Relaxed) {
                    let patience = if self.has_outside() {
                        PATIENCE
                    } else {
                        Duration::ZERO
                    };
                    let until = self.inner.monotonic() + patience;
                    self.inner.poll(cpu, Wait::Until(until), events);
                    if !events.is_empty() {
                        return;
                    }
                    self.hangs(Hang::Deadlock);
                }
                self.inner.poll(cpu, Wait::Forever, events);
            }
        }
    }
}

impl<M: Machine> UserMode for ChaosMachine<M> {
    fn enter(&self, cx: &mut UserCtx) -> Trap {
        let visit = self.chaos.visit();
        if self.is_virtual() && self.begin_visit(&visit) {
            return Trap::Preempted;
        }
        if let Some(walk) = visit.walk
            && let Some(trap) = self.walk(cx, &visit, walk)
        {
            return trap;
        }
        loop {
            let trap = self.inner.enter(cx);
            if let Some(trap) = self.arrived(cx, trap) {
                return trap;
            }
        }
    }

    fn run(&self, cx: &mut Option<Box<UserCtx>>, _: &mut dyn FastCalls) -> Option<Trap> {
        Some(self.enter(cx.as_deref_mut()?))
    }

    fn traps(&self) -> u64 {
        self.inner.traps()
    }

    fn set_aside(&self, _: &mut UserCtx) -> Option<u64> {
        // Nothing is made on the spot.
        None
    }

    fn switch_out(&self, cx: &mut UserCtx) {
        self.inner.switch_out(cx);
    }

    fn fpu_image(&self, cx: &mut UserCtx) -> Fxsave {
        self.inner.fpu_image(cx)
    }

    fn fpu_install(&self, cx: &mut UserCtx, image: &[u8; 512]) {
        self.inner.fpu_install(cx, image);
    }

    fn fpu_clone(&self, cx: &mut UserCtx) -> Fpu {
        self.inner.fpu_clone(cx)
    }

    fn uppers(&self, cx: &mut UserCtx) -> Option<Uppers> {
        self.inner.uppers(cx)
    }

    fn set_uppers(&self, cx: &mut UserCtx, uppers: &Uppers) {
        self.inner.set_uppers(cx, uppers);
    }
}

impl<M: Machine> Memory for ChaosMachine<M> {
    fn copyin(&self, from: u64, to: &mut [u8]) -> Result<(), BadAddress> {
        self.inner.copyin(from, to)
    }

    fn copyout(&self, from: &[u8], to: u64) -> Result<(), BadAddress> {
        self.inner.copyout(from, to)
    }

    fn copyinstr(&self, from: u64, to: &mut [u8]) -> Result<Option<usize>, BadAddress> {
        self.inner.copyinstr(from, to)
    }

    fn store_u32(&self, value: u32, to: u64) -> Result<(), BadAddress> {
        self.inner.store_u32(value, to)
    }

    fn map(&self, at: Range<u64>, prot: Prot, backing: Backing) -> Result<(), HostErr> {
        self.inner.map(at, prot, backing)
    }

    fn unmap(&self, at: Range<u64>) -> Result<(), HostErr> {
        self.inner.unmap(at)
    }

    fn protect(&self, at: Range<u64>, prot: Prot) -> Result<(), HostErr> {
        self.inner.protect(at, prot)
    }

    fn advise(&self, at: Range<u64>, advice: Advice) -> Result<(), HostErr> {
        self.inner.advise(at, advice)
    }

    fn relocate(&self, from: Range<u64>, to: Range<u64>) -> Result<(), HostErr> {
        self.inner.relocate(from, to)
    }
}

impl<M: Machine> Clocks for ChaosMachine<M> {
    fn monotonic(&self) -> Duration {
        match self.time {
            Time::Real => self.inner.monotonic(),
            Time::Virtual => Duration::from_nanos(self.now()),
        }
    }

    fn realtime(&self) -> Duration {
        match self.time {
            Time::Real => self.inner.realtime(),
            Time::Virtual => EPOCH + self.monotonic(),
        }
    }

    fn stamp(&self) -> u64 {
        match self.time {
            Time::Real => self.inner.stamp(),
            Time::Virtual => self.now(),
        }
    }

    fn stamped(&self, count: u64) -> Duration {
        match self.time {
            Time::Real => self.inner.stamped(count),
            Time::Virtual => Duration::from_nanos(count),
        }
    }

    fn process_cpu(&self) -> Duration {
        match self.time {
            Time::Real => self.inner.process_cpu(),
            Time::Virtual => Duration::from_nanos(self.ran.load(Ordering::Relaxed)),
        }
    }
}

impl<M: Machine> Poller for ChaosMachine<M> {
    fn poll(&self, cpu: CpuId, wait: Wait, events: &mut Vec<Event>) {
        if self.is_virtual() {
            self.inner.poll(cpu, Wait::No, events);
            if events.is_empty() {
                self.wait(cpu, wait, events);
            }
        } else {
            self.inner.poll(cpu, wait, events);
        }
        let is_done = |event: &&Event| matches!(event, Event::Done { .. });
        let done = events.iter().filter(is_done).count();
        self.watched.fetch_sub(done as u64, Ordering::Relaxed);
    }

    fn poll_add(&self, fd: i32, token: u64) -> Result<(), AlwaysReady> {
        let is_new = !self.inner.poll_has(fd, token);
        self.inner.poll_add(fd, token)?;
        self.watched.fetch_add(is_new.into(), Ordering::Relaxed);
        Ok(())
    }

    fn poll_del(&self, fd: i32) {
        self.inner.poll_del(fd);
        let less = |watched: u64| Some(watched.saturating_sub(1));
        let _at_least_0 = self
            .watched
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    fn poll_has(&self, fd: i32, token: u64) -> bool {
        self.inner.poll_has(fd, token)
    }

    fn ready_now(&self, fd: i32) -> Ready {
        self.inner.ready_now(fd)
    }

    fn run_blocking(&self, token: u64, job: Box<dyn FnOnce() + Send>) {
        self.watched.fetch_add(1, Ordering::Relaxed);
        self.inner.run_blocking(token, job);
    }

    fn cancel_blocking(&self, token: u64) -> bool {
        self.inner.cancel_blocking(token)
    }
}

impl<M: Machine> Vcpus for ChaosMachine<M> {
    fn ncpu(&self) -> usize {
        1
    }

    fn current(&self) -> CpuId {
        self.inner.current()
    }

    fn start(&self, kernel: Arc<Kernel>, cpu: CpuId) {
        self.inner.start(kernel, cpu);
    }

    fn kick(&self, cpu: CpuId) {
        // The one vcpu is in the kernel whenever the kernel kicks it.
        if !self.is_virtual() {
            self.inner.kick(cpu);
        }
    }

    fn wake_one(&self) {
        self.inner.wake_one();
    }

    fn tick_at(&self, cpu: CpuId, at: Duration) {
        match self.time {
            Time::Real => self.inner.tick_at(cpu, at),
            Time::Virtual => {
                self.tick.fetch_min(nanos(at), Ordering::Relaxed);
            }
        }
    }

    fn stop_point(&self, cpu: CpuId) {
        self.inner.stop_point(cpu);
    }

    fn stop_wanted(&self) -> bool {
        self.inner.stop_wanted()
    }

    fn begin_fork(&self) -> bool {
        self.inner.begin_fork()
    }

    fn fork(&self, cpu: CpuId) -> Result<Forked, HostErr> {
        let forked = self.inner.fork(cpu)?;
        let is_child = matches!(forked, Forked::Child { .. });
        self.has_family.store(true, Ordering::Relaxed);
        if is_child {
            self.watched.store(0, Ordering::Relaxed);
            self.inner.set_breakpoint(None);
        }
        self.chaos.forked(is_child);
        Ok(forked)
    }

    fn exit(&self, with: ExitWith) {
        self.inner.exit(with);
    }

    fn stop_process(&self, signo: Signo) {
        self.inner.stop_process(signo);
    }

    fn random(&self, buf: &mut [u8]) {
        let seed = self.chaos.seed().of(RANDOM);
        for bytes in buf.chunks_mut(8) {
            let word = self.words.fetch_add(1, Ordering::Relaxed);
            bytes.copy_from_slice(&seed.draw(word).to_le_bytes()[..bytes.len()]);
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
