//! Several vcpus, each a host thread, with virtual time.
//!
//! Responsible for where vcpus wait and how they are interrupted, as faithfully as it matters to the
//! kernel: a wake-up is a token, a kick sticks until it is seen, a tick is replaced by a sooner one only
//! and lapses when it has fired. When every vcpu waits, time jumps to the next deadline; without one
//! the run is a deadlock.
//!
//! # Invariants
//! 1. A vcpu that waits has looked at tokens, kicks and the time after it announced its deadline, so
//!    whoever changes one of them later notifies it.

use crate::host::sync::{Condvar, Mutex, MutexGuard};
use crate::host::thread::{self, JoinHandle};
use core::any::Any;
use core::cell::Cell;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use lwp_kernel::Kernel;
use lwp_kernel::machine::CpuId;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, PoisonError};

const NEVER: u64 = u64::MAX;

crate::host::thread_local! {
    /// The vcpu this host thread is.
    static CPU: Cell<CpuId> = const { Cell::new(0) };
}

/// Why a run ended other than by exit.
pub(crate) enum Stopped {
    /// Every vcpu waits for another, and no deadline is left.
    Deadlock,
    /// A program or the kernel panicked.
    Panic(Box<dyn Any + Send>),
}

/// What unwinds a vcpu of a run that has stopped.
struct Unwind;

#[derive(Default)]
struct State {
    /// Wake-ups nobody has taken.
    tokens: usize,
    /// The deadline of each vcpu that waits.
    waiting: Vec<Option<u64>>,
    started: usize,
    has_ended: bool,
    stopped: Option<Stopped>,
    /// Set with `stopped`, and stays when that is taken.
    is_stopped: bool,
}

struct Vcpu {
    kicked: AtomicBool,
    tick: AtomicU64,
}

/// The host threads of one machine.
pub(crate) struct Crew {
    vcpus: Box<[Vcpu]>,
    state: Mutex<State>,
    wake: Condvar,
    /// The earliest deadline of a waiting vcpu.
    earliest: AtomicU64,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Crew {
    pub(crate) fn new(ncpu: usize) -> Self {
        let vcpu = || Vcpu {
            kicked: AtomicBool::new(false),
            tick: AtomicU64::new(NEVER),
        };
        Self {
            vcpus: (0..ncpu).map(|_| vcpu()).collect(),
            state: Mutex::new(State {
                waiting: vec![None; ncpu],
                started: 1,
                ..State::default()
            }),
            wake: Condvar::new(),
            earliest: AtomicU64::new(NEVER),
            handles: Mutex::default(),
        }
    }

    pub(crate) fn ncpu(&self) -> usize {
        self.vcpus.len()
    }

    /// The vcpu that the calling host thread is.
    pub(crate) fn current() -> CpuId {
        CPU.with(Cell::get)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs vcpu 0 on the calling thread until the process ends, then joins the others.
    pub(crate) fn run(&self, kernel: &Arc<Kernel>) -> Option<Stopped> {
        self.run_vcpu(kernel, 0);
        loop {
            let next = self
                .handles
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop();
            let Some(handle) = next else { break };
            handle.join().expect("a vcpu catches its panics");
        }
        self.lock().stopped.take()
    }

    fn run_vcpu(&self, kernel: &Arc<Kernel>, cpu: CpuId) {
        CPU.with(|here| here.set(cpu));
        let ended = catch_unwind(AssertUnwindSafe(|| kernel.run_vcpu(cpu)));
        let mut state = self.lock();
        match ended {
            Ok(()) => state.has_ended = true,
            Err(payload) if payload.is::<Unwind>() => {}
            Err(payload) => stop(&mut state, Stopped::Panic(payload)),
        }
        self.wake.notify_all();
    }

    /// Starts the host thread of vcpu `cpu`.
    pub(crate) fn start(self: &Arc<Self>, kernel: Arc<Kernel>, cpu: CpuId) {
        self.lock().started += 1;
        let crew = Arc::clone(self);
        let handle = thread::spawn(move || crew.run_vcpu(&kernel, cpu));
        self.handles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(handle);
    }

    pub(crate) fn kick(&self, cpu: CpuId) {
        self.vcpus[cpu].kicked.store(true, Ordering::SeqCst);
        let _state = self.lock();
        self.wake.notify_all();
    }

    /// `wake_one` of the machine; everybody is woken when the process has ended.
    pub(crate) fn wake_one(&self, has_ended: bool) {
        let mut state = self.lock();
        state.has_ended |= has_ended;
        state.tokens += 1;
        self.wake.notify_all();
    }

    pub(crate) fn tick_at(&self, cpu: CpuId, at: u64) {
        debug_assert_eq!(cpu, Self::current(), "a tick is asked for by its vcpu");
        self.vcpus[cpu].tick.fetch_min(at, Ordering::SeqCst);
    }

    /// Whether the current vcpu is to leave user mode.
    pub(crate) fn is_wanted(&self, now: u64) -> bool {
        self.check_stopped();
        let vcpu = &self.vcpus[Self::current()];
        vcpu.take_tick(now) | vcpu.kicked.swap(false, Ordering::SeqCst)
    }

    /// Does not return when the run has stopped.
    fn check_stopped(&self) {
        if self.lock().is_stopped {
            resume_unwind(Box::new(Unwind));
        }
    }

    /// User mode let time pass: a waiting vcpu may be due.
    pub(crate) fn time_passed(&self, now: u64) {
        if now >= self.earliest.load(Ordering::SeqCst) {
            let _state = self.lock();
            self.wake.notify_all();
        }
    }

    /// Where an idle vcpu waits.
    pub(crate) fn poll(&self, clock: &AtomicU64, cpu: CpuId, until: u64) {
        let vcpu = &self.vcpus[cpu];
        let mut state = self.lock();
        loop {
            let deadline = until.min(vcpu.tick.load(Ordering::SeqCst));
            state.waiting[cpu] = Some(deadline);
            self.publish(&state);
            let now = clock.load(Ordering::SeqCst);
            if state.is_stopped {
                drop(state);
                resume_unwind(Box::new(Unwind));
            }
            if state.has_ended || now >= deadline || vcpu.kicked.swap(false, Ordering::SeqCst) {
                break;
            }
            if state.tokens > 0 {
                state.tokens -= 1;
                break;
            }
            if self.all_wait(&mut state, clock) {
                self.wake.notify_all();
                continue;
            }
            state = self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        vcpu.take_tick(clock.load(Ordering::SeqCst));
        state.waiting[cpu] = None;
        self.publish(&state);
    }

    fn publish(&self, state: &State) {
        let earliest = state.waiting.iter().flatten().min().copied();
        self.earliest
            .store(earliest.unwrap_or(NEVER), Ordering::SeqCst);
    }

    /// If nobody is busy, moves time on, or ends the run; `true` if it did.
    fn all_wait(&self, state: &mut State, clock: &AtomicU64) -> bool {
        let waiting = &state.waiting[..state.started];
        let is_kicked = |vcpu: &Vcpu| vcpu.kicked.load(Ordering::SeqCst);
        if waiting.iter().any(Option::is_none) || self.vcpus.iter().any(is_kicked) {
            return false;
        }
        let next = waiting.iter().flatten().min().copied().unwrap_or(NEVER);
        if next == NEVER {
            stop(state, Stopped::Deadlock);
            return true;
        }
        clock.fetch_max(next, Ordering::SeqCst) < next
    }
}

impl Vcpu {
    /// Whether the tick is due, in which case it lapses.
    fn take_tick(&self, now: u64) -> bool {
        let is_due = self.tick.load(Ordering::SeqCst) <= now;
        if is_due {
            self.tick.store(NEVER, Ordering::SeqCst);
        }
        is_due
    }
}

fn stop(state: &mut State, why: Stopped) {
    if !state.is_stopped {
        state.is_stopped = true;
        state.stopped = Some(why);
    }
}
