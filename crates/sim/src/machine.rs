//! The machine's side: time, memory and the trait the kernel sees.

use crate::PID;
use crate::crew::Crew;
use crate::memory::Memory;
use crate::user::{Space, Step};
use core::ops::Range;
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use core::time::Duration;
use lwp_abi::lwp::Pid;
use lwp_abi::mman::Prot;
use lwp_abi::signal::{Siginfo, Signo};
use lwp_kernel::Kernel;
use lwp_kernel::ctx::{Fpu, Fxsave, Trap, Uppers, UserCtx};
use lwp_kernel::machine::{
    Advice, AlwaysReady, Backing, BadAddress, Clocks, CpuId, Event, ExitWith, Forked, HostErr,
    Memory as GuestMemory, Poller, Ready, UserMode, Vcpus, Wait,
};
use lwp_kernel::sched::Chaos;
use std::sync::{Arc, Mutex, PoisonError};

/// One return to user mode in so many is cut short.
const PREEMPT_ONE_IN: u64 = 6;
/// A step in user mode takes up to this long, in nanoseconds.
const STEP_MAX: u64 = 20_000;
/// The same on several vcpus: long enough for hand-off ticks to come at any point.
const LONG_STEP_MAX: u64 = 100_000;
/// What the realtime clock shows at monotonic 0.
const EPOCH: Duration = Duration::from_secs(1_700_000_000);

/// A machine whose every choice comes from a seed: of one vcpu, or of several host threads.
pub struct SimMachine {
    choices: Chaos,
    /// Virtual time, nanoseconds.
    now: AtomicU64,
    space: Arc<Space>,
    /// The process's memory.
    pub memory: Arc<Memory>,
    exited: Mutex<Option<ExitWith>>,
    stops: Mutex<Vec<Signo>>,
    /// What has happened outside and was not told yet.
    outside: Mutex<Vec<Event>>,
    /// How often the process has forked. What runs on is the child, each time.
    forks: AtomicI32,
    /// The host threads, if there are any.
    pub(crate) crew: Option<Arc<Crew>>,
}

impl SimMachine {
    pub(crate) fn new(seed: u64, space: &Arc<Space>, crew: Option<Arc<Crew>>) -> Self {
        Self {
            choices: Chaos::new(seed ^ 0x5eed),
            now: AtomicU64::new(0),
            space: Arc::clone(space),
            memory: Arc::clone(&space.memory),
            exited: Mutex::new(None),
            stops: Mutex::new(Vec::new()),
            outside: Mutex::new(Vec::new()),
            forks: AtomicI32::new(0),
            crew,
        }
    }

    /// Lets time pass until `at`.
    pub(crate) fn advance_to(&self, at: Duration) {
        self.now.fetch_max(nanos(at), Ordering::SeqCst);
    }

    /// A bit of time passes in user mode.
    fn pass_time(&self) {
        let longest = if self.crew.is_some() {
            LONG_STEP_MAX
        } else {
            STEP_MAX
        };
        let step = 1 + self.choices.draw() % longest;
        let now = self.now.fetch_add(step, Ordering::SeqCst) + step;
        if let Some(crew) = &self.crew {
            crew.time_passed(now);
        }
    }

    /// How the process ended, if it has.
    pub fn exited(&self) -> Option<ExitWith> {
        *self.exited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A signal comes to the process from outside.
    pub fn signal(&self, signo: Signo) {
        let info = Siginfo::user(signo, Pid::new(1), 0);
        self.outside
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Event::Signal { signo, info });
    }

    /// The signals that stopped the host process, in order.
    pub fn stops(&self) -> Vec<Signo> {
        self.stops
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl UserMode for SimMachine {
    fn enter(&self, cx: &mut UserCtx) -> Trap {
        loop {
            self.pass_time();
            let is_cut_short = match &self.crew {
                None => self.choices.draw().is_multiple_of(PREEMPT_ONE_IN),
                Some(crew) => crew.is_wanted(self.now.load(Ordering::SeqCst)),
            };
            if is_cut_short {
                return Trap::Preempted;
            }
            match self.space.run(&mut cx.regs) {
                Step::Call => return Trap::Syscall,
                Step::Fault(fault) => return Trap::Fault(fault),
                Step::Pause if self.crew.is_none() => return Trap::Preempted,
                // User mode on a vcpu of its own goes on until it is interrupted.
                Step::Pause => crate::host::thread::yield_now(),
            }
        }
    }

    fn switch_out(&self, _: &mut UserCtx) {}

    fn set_aside(&self, cx: &mut UserCtx) -> Option<u64> {
        // Nothing is ever in registers here.
        cx.fpu.is_plain().then(|| self.stamp())
    }

    fn fpu_image(&self, cx: &mut UserCtx) -> Fxsave {
        let mut image = [0; 512];
        image[..2].copy_from_slice(&cx.fpu.fcw.to_le_bytes());
        image[24..28].copy_from_slice(&cx.fpu.mxcsr.to_le_bytes());
        let halves = cx.fpu.xmm.as_flattened();
        for (bytes, half) in image[160..416].chunks_exact_mut(8).zip(halves) {
            bytes.copy_from_slice(&half.to_le_bytes());
        }
        Fxsave(image)
    }

    fn fpu_install(&self, cx: &mut UserCtx, image: &[u8; 512]) {
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&image[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        cx.fpu.fcw = u16::from_le_bytes([image[0], image[1]]);
        cx.fpu.mxcsr = u32::from_le_bytes([image[24], image[25], image[26], image[27]]);
        for (index, half) in cx.fpu.xmm.as_flattened_mut().iter_mut().enumerate() {
            *half = word(160 + 8 * index);
        }
        cx.fpu.ext = None;
    }

    fn fpu_clone(&self, cx: &mut UserCtx) -> Fpu {
        cx.fpu.clone()
    }

    fn uppers(&self, cx: &mut UserCtx) -> Option<Uppers> {
        cx.fpu.ext.clone()
    }

    fn set_uppers(&self, cx: &mut UserCtx, uppers: &Uppers) {
        cx.fpu.ext = Some(uppers.clone());
    }
}

impl GuestMemory for SimMachine {
    fn copyin(&self, from: u64, to: &mut [u8]) -> Result<(), BadAddress> {
        self.memory.read(from, to)
    }

    fn copyout(&self, from: &[u8], to: u64) -> Result<(), BadAddress> {
        self.memory.write(from, to)
    }

    fn copyinstr(&self, from: u64, to: &mut [u8]) -> Result<Option<usize>, BadAddress> {
        for index in 0..to.len() {
            let at = from.checked_add(index as u64).ok_or(BadAddress)?;
            self.memory.read(at, &mut to[index..=index])?;
            if to[index] == 0 {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    fn store_u32(&self, value: u32, to: u64) -> Result<(), BadAddress> {
        self.memory.write(&value.to_le_bytes(), to)
    }

    fn map(&self, at: Range<u64>, prot: Prot, _: Backing) -> Result<(), HostErr> {
        if self.memory.is_full() {
            const ENOMEM: i32 = 12;
            return Err(HostErr {
                call: "map",
                errno: ENOMEM,
            });
        }
        self.memory.map(at, prot);
        Ok(())
    }

    fn unmap(&self, at: Range<u64>) -> Result<(), HostErr> {
        self.memory.unmap(&at);
        Ok(())
    }

    fn protect(&self, at: Range<u64>, prot: Prot) -> Result<(), HostErr> {
        self.memory.protect(at, prot);
        Ok(())
    }

    fn advise(&self, _: Range<u64>, _: Advice) -> Result<(), HostErr> {
        Ok(())
    }

    fn relocate(&self, _: Range<u64>, _: Range<u64>) -> Result<(), HostErr> {
        Err(refused("relocate"))
    }
}

impl Clocks for SimMachine {
    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.now.load(Ordering::Relaxed))
    }

    fn realtime(&self) -> Duration {
        EPOCH + self.monotonic()
    }

    fn process_cpu(&self) -> Duration {
        self.monotonic()
    }
}

impl Poller for SimMachine {
    fn poll(&self, cpu: CpuId, wait: Wait, events: &mut Vec<Event>) {
        events.clear();
        events.append(&mut self.outside.lock().unwrap_or_else(PoisonError::into_inner));
        let until = match wait {
            Wait::No => return,
            Wait::Until(at) => nanos(at),
            Wait::Forever => u64::MAX,
        };
        if let Some(crew) = &self.crew {
            crew.poll(&self.now, cpu, until);
        }
    }

    fn poll_add(&self, _: i32, _: u64) -> Result<(), AlwaysReady> {
        Err(AlwaysReady)
    }

    fn poll_del(&self, _: i32) {}

    // Nothing is ever watched.
    fn poll_has(&self, _: i32, _: u64) -> bool {
        false
    }

    fn ready_now(&self, _: i32) -> Ready {
        Ready::all()
    }

    fn run_blocking(&self, _: u64, job: Box<dyn FnOnce() + Send>) {
        job();
    }

    // A job is done when it was given.
    fn cancel_blocking(&self, _: u64) -> bool {
        true
    }
}

impl Vcpus for SimMachine {
    fn ncpu(&self) -> usize {
        self.crew.as_ref().map_or(1, |crew| crew.ncpu())
    }

    fn current(&self) -> CpuId {
        self.crew.as_ref().map_or(0, |_| Crew::current())
    }

    fn start(&self, kernel: Arc<Kernel>, cpu: CpuId) {
        if let Some(crew) = &self.crew {
            crew.start(kernel, cpu);
        }
    }

    fn kick(&self, cpu: CpuId) {
        if let Some(crew) = &self.crew {
            crew.kick(cpu);
        }
    }

    fn wake_one(&self) {
        if let Some(crew) = &self.crew {
            crew.wake_one(self.exited().is_some());
        }
    }

    fn tick_at(&self, cpu: CpuId, at: Duration) {
        if let Some(crew) = &self.crew {
            crew.tick_at(cpu, nanos(at));
        }
    }

    fn stop_point(&self, _: CpuId) {}

    fn stop_wanted(&self) -> bool {
        false
    }

    fn begin_fork(&self) -> bool {
        true
    }

    fn fork(&self, _: CpuId) -> Result<Forked, HostErr> {
        if self.crew.is_some() {
            // The others' host threads would have to be gone.
            return Err(refused("fork"));
        }
        let pid = PID + 1 + self.forks.fetch_add(1, Ordering::Relaxed);
        Ok(Forked::Child { pid })
    }

    fn exit(&self, with: ExitWith) {
        *self.exited.lock().unwrap_or_else(PoisonError::into_inner) = Some(with);
    }

    fn stop_process(&self, signo: Signo) {
        self.stops
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(signo);
    }

    fn random(&self, buf: &mut [u8]) {
        for bytes in buf.chunks_mut(8) {
            let word = self.choices.draw().to_le_bytes();
            bytes.copy_from_slice(&word[..bytes.len()]);
        }
    }
}

fn nanos(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX - 1)
}

/// What the machine has no counterpart of.
fn refused(call: &'static str) -> HostErr {
    const ENOSYS: i32 = 38;
    HostErr {
        call,
        errno: ENOSYS,
    }
}
