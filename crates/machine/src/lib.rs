//! The machine: everything x86-64, Linux and unsafe.
//!
//! Implements [`lwp_kernel::machine::Machine`] on real CPUs: guest code runs natively in this process,
//! below [`GUEST_BOUND`](lwp_kernel::machine::GUEST_BOUND), on host threads called vcpus. The machine
//! decides nothing about NetBSD; it enters the guest and says why it came back.
//!
//! | file | what |
//! |---|---|
//! | `entry` | the stubs into and out of user mode |
//! | `fast` | system calls made on the spot, on the guest's FS |
//! | `block` | what a vcpu's assembly and handlers find through `%gs:` |
//! | `signals`, `fault`, `outside` | host signals: system calls that trap, faults, kicks, signals from outside |
//! | `sud` | Syscall User Dispatch, which catches every system call |
//! | `step` | one instruction at a time, and over the breakpoint |
//! | `counter` | the CPU's time-stamp counter, kept from the guest |
//! | `patch`, `trampoline` | patched call sites, which make the common one cheap |
//! | `fpu`, `mem_fns`, `str_fns` | vector and x87 state; `memcpy` and the like that leave it alone |
//! | `mem`, `guest_asm` | guest memory |
//! | `vcpu`, `poller`, `helpers`, `process`, `clock`, `descriptors` | threads, waiting, the host process |
//! | `host` | host calls for the system-call layer |
//! | `control` | the socket through which other processes ask what the guest is doing |
//! | `layout`, `start` | where the runner lies; its `main` |
//! | [`peer`] | what Linux does instead, for `lwp bench` |
//!
//! # Invariants
//! 1. Nothing of the host's lies below `GUEST_BOUND`, nothing of the guest's above, but for trampolines,
//!    which hold code and no state.
//! 2. Unsafe code is in this crate only, and each file of it owns the facts its blocks rely on.
//!
//! # Locks
//! `control`'s, then `vcpu`'s gate, then nothing. `patch`'s, the poller's and the helpers' are leaves: no kernel code
//! runs under them.

mod block;
mod clock;
mod control;
mod counter;
mod descriptors;
mod entry;
mod fast;
mod fault;
mod fpu;
mod guest_asm;
mod helpers;
mod host;
mod layout;
mod mem;
mod mem_fns;
mod outside;
mod patch;
pub mod peer;
mod poller;
mod process;
mod signals;
mod start;
mod step;
mod str_fns;
mod sud;
mod trampoline;
mod vcpu;

pub use control::{Answer, ask};
pub use descriptors::{give_inherited, inherit, initial_descriptor_limits, keep, own_descriptors};
pub use host::LinuxHost;
pub use layout::{initial_stack_limit, is_interpreter};
pub use process::{catch_host_signals, initial_signals, restore_host_signals};
pub use start::start_with;
pub use vcpu::MainVcpu;

use crate::block::Block;
use crate::control::Control;
use crate::entry::{LEFT_FAULT, LEFT_PARKED, LEFT_SYSCALL};
use crate::fast::Visit;
use crate::poller::Poller as HostPoller;
use crate::signals::Inherited;
use crate::vcpu::{Gate, Vcpu};
use core::ops::Range;
use core::sync::atomic::Ordering;
use core::time::Duration;
use lwp_abi::mman::Prot;
use lwp_abi::signal::Signo;
use lwp_kernel::Kernel;
use lwp_kernel::ctx::{Fpu, Fxsave, Trap, Uppers, UserCtx};
use lwp_kernel::machine::{
    Advice, AlwaysReady, Backing, BadAddress, Clocks, CpuId, Event, ExitWith, FastCalls, Forked,
    HostErr, Memory, Poller, Ready, UserMode, Vcpus, Wait,
};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// HWCAP2 bit: the CPU and Linux allow `wrgsbase` and its kin in user mode.
const HWCAP2_FSGSBASE: u64 = 1 << 1;

/// Why the machine cannot run here.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Syscall User Dispatch is missing.
    #[error("this Linux has no Syscall User Dispatch (it came with 5.11), or a filter forbids it")]
    NoDispatch,
    /// The runner lies where the guest should.
    #[error("the runner was mapped at {addr:#x}, below its own bound; try `ulimit -s 8192`")]
    Layout {
        /// An address of the runner's.
        addr: u64,
    },
    /// The CPU has no XSAVE.
    #[error("this CPU has no XSAVE")]
    NoXsave,
    /// A host call failed that the machine cannot do without.
    #[error("cannot set up the machine: {0}")]
    Host(#[from] HostErr),
    /// No memory for a signal stack.
    #[error("no memory for a signal stack")]
    NoMemory,
    /// There is no such vcpu, or it has a thread already, or the thread has a vcpu.
    #[error("vcpu {cpu} cannot run on this thread")]
    NoSuchVcpu {
        /// Its number.
        cpu: CpuId,
    },
}

/// How the machine is to be.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Number of vcpus; by default the CPUs this process may use (affinity and cgroup quota).
    pub vcpus: Option<usize>,
    /// Leave system-call sites as they are: every call traps.
    pub no_patches: bool,
    /// Leave no system call to the fast road: each one leaves user mode.
    pub no_fast_calls: bool,
    /// Do without `wrfsbase` and its kin, as on CPUs that lack them; the process's first machine
    /// decides.
    pub no_fsgsbase: bool,
}

/// What the machine has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// System calls through a trampoline.
    pub fast: u64,
    /// System calls that trapped.
    pub slow: u64,
    /// Where they trapped, and how often: address of the instruction, count.
    pub slow_sites: Vec<(u64, u64)>,
    /// How often a signal took a vcpu out of user mode.
    pub kicks: u64,
    /// Wake-ups of vcpus that took a host call.
    pub wakes: u64,
    /// Patches in place.
    pub patches: usize,
}

/// The machine on a Linux host. Clones are the same machine.
#[derive(Clone)]
pub struct HostMachine {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    cpus: Box<[Vcpu]>,
    poller: HostPoller,
    gate: Gate,
    has_fsgsbase: bool,
    /// System calls may be made on the guest's FS.
    makes_fast_calls: bool,
    /// libc's own copying leaves vector state alone (`fpu`, invariant 2).
    host_keeps_uppers: bool,
    at_exit: OnceLock<AtExit>,
    control: Control,
}

/// What is to be done when the process ends.
type AtExit = Box<dyn Fn(&Stats) + Send + Sync>;

static INHERITED: OnceLock<Inherited> = OnceLock::new();
/// Whether FS and GS are set by instruction, not by `arch_prctl`: one answer per process, because the
/// handlers' stub has to know before it knows anything else.
static FSGSBASE: OnceLock<bool> = OnceLock::new();

/// Installs the handlers; what was inherited is remembered the first time.
fn install_handlers() {
    let found = signals::install(has_fsgsbase());
    INHERITED.get_or_init(|| found);
}

/// Signal state the process was started with.
fn inherited() -> Inherited {
    *INHERITED.get_or_init(|| signals::install(has_fsgsbase()))
}

fn has_fsgsbase() -> bool {
    *FSGSBASE.get_or_init(|| layout::auxv(libc::AT_HWCAP2) & HWCAP2_FSGSBASE != 0)
}

impl HostMachine {
    /// Makes the machine. Call it first thing, on the only thread: it may execute the runner again
    /// (`ulimit -s unlimited`).
    ///
    /// # Errors
    /// [`Refusal`] says what is missing.
    pub fn new(options: &Options) -> Result<Self, Refusal> {
        layout::check()?;
        if !fpu::init() {
            return Err(Refusal::NoXsave);
        }
        if !sud::arm() {
            return Err(Refusal::NoDispatch);
        }
        sud::disarm();
        if options.no_fsgsbase {
            FSGSBASE.get_or_init(|| false);
        }
        inherited();
        let host_cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let vcpus = options.vcpus.unwrap_or(host_cpus).max(1);
        patch::set_enabled(!options.no_patches);
        let host_keeps_uppers = is_static() && mem_fns::anchor() != 0 && str_fns::anchor() != 0;
        Ok(Self {
            inner: Arc::new(Inner {
                cpus: (0..vcpus).map(|_| Vcpu::new()).collect(),
                poller: HostPoller::new(host_cpus)?,
                gate: Gate::default(),
                has_fsgsbase: has_fsgsbase(),
                // Without a vDSO the clocks are libc's, which has thread-local storage.
                makes_fast_calls: host_keeps_uppers && !options.no_fast_calls && clock::init(),
                host_keeps_uppers,
                at_exit: OnceLock::new(),
                control: Control::new(),
            }),
        })
    }

    fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Has `hook` called right before the process ends by its own doing; also in forks of it. The first
    /// hook stays.
    pub fn at_exit(&self, hook: AtExit) {
        let _ = self.inner.at_exit.set(hook);
    }

    /// Lets other processes of this user ask what the guest is doing: listens on a socket in `directory`, whose name
    /// is the process's number, and writes what `answer` makes of a line. Fork children listen, too. `answer` is
    /// called on a thread that is no vcpu, and may look at the kernel.
    pub fn serve(&self, directory: PathBuf, answer: Answer) {
        self.inner.control.serve(directory, answer);
    }

    /// What was counted until now.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            wakes: self.inner.poller.wakes(),
            patches: patch::lock().patches(),
            ..Stats::default()
        };
        for vcpu in &self.inner.cpus {
            let block = &vcpu.block;
            stats.fast += block.fast.load(Ordering::Relaxed);
            stats.slow += block.slow.load(Ordering::Relaxed);
            stats.kicks += block.kicks.load(Ordering::Relaxed);
            for (addr, count) in block.slow_sites() {
                match stats.slow_sites.iter_mut().find(|site| site.0 == addr) {
                    Some(site) => site.1 += count,
                    None => stats.slow_sites.push((addr, count)),
                }
            }
        }
        stats
            .slow_sites
            .sort_by_key(|&(_, count)| core::cmp::Reverse(count));
        stats
    }
}

/// A guest number as a length or an address of this host's, which is just as wide.
#[expect(
    clippy::cast_possible_truncation,
    reason = "this crate is for 64-bit hosts"
)]
pub(crate) const fn size(number: u64) -> usize {
    number as usize
}

/// Whether libc was linked statically: then there is no interpreter.
fn is_static() -> bool {
    layout::auxv(libc::AT_BASE) == 0
}

impl HostMachine {
    /// What the stub's answer means, once the guest is out.
    fn left(block: &Block, left: u64) -> Trap {
        match left {
            LEFT_SYSCALL => Trap::Syscall,
            LEFT_FAULT => Trap::Fault(block.take_fault()),
            _ => {
                // Pairs with the swap in `kick`.
                block.pending.swap(0, Ordering::SeqCst);
                Trap::Preempted
            }
        }
    }

    /// Gets `cx` ready to be entered; a trap if it cannot be, or need not be.
    fn get_ready(block: &Block, cx: &mut UserCtx) -> Option<Trap> {
        if let Some(fault) = fault::unenterable(&cx.regs) {
            return Some(Trap::Fault(fault));
        }
        // The stub looks again; this saves loading state for nothing.
        if block.pending.load(Ordering::Relaxed) != 0 {
            return Some(Self::left(block, entry::LEFT_PREEMPTED));
        }
        fpu::load(cx);
        None
    }

    /// Enters, wherever the breakpoint is.
    fn enter_bare(&self, block: &Block, cx: &mut UserCtx) -> Trap {
        if let Some(trap) = Self::get_ready(block, cx) {
            return trap;
        }
        // SAFETY: `current` shows that this thread is a vcpu; RIP and FS base were looked at and the
        // FP state loaded just now.
        let left = unsafe { entry::enter(cx) };
        fpu::after_exit(cx, self.inner.host_keeps_uppers);
        Self::left(block, left)
    }
}

impl UserMode for HostMachine {
    fn traps(&self) -> u64 {
        self.inner.current().block.slow.load(Ordering::Relaxed)
    }

    fn run(&self, cx: &mut Option<Box<UserCtx>>, calls: &mut dyn FastCalls) -> Option<Trap> {
        let here = cx.as_deref_mut()?;
        // With a breakpoint, too, contexts are entered one by one.
        if !self.inner.makes_fast_calls || patch::has_breakpoint() {
            return Some(self.enter(here));
        }
        let block = &self.inner.current().block;
        if let Some(trap) = Self::get_ready(block, here) {
            return Some(trap);
        }
        let first = &raw mut *here;
        let mut visit = Visit { block, cx, calls };
        block
            .visit
            .store((&raw mut visit).cast(), Ordering::Relaxed);
        // SAFETY: as in `enter`; the context stays where it is until `fast` replaces it.
        let left = unsafe { entry::enter(first) };
        block.visit.store(core::ptr::null_mut(), Ordering::Relaxed);
        if left == LEFT_PARKED {
            fpu::are_clean();
            return None;
        }
        Some(Self::left(block, left))
    }

    fn set_aside(&self, cx: &mut UserCtx) -> Option<u64> {
        fpu::set_aside(cx).then(clock::stamp)
    }

    fn enter(&self, cx: &mut UserCtx) -> Trap {
        let block = &self.inner.current().block;
        if patch::is_breakpoint(cx.regs.rip)
            && let Some(trap) = step::step(block, cx, |cx| self.enter_bare(block, cx))
        {
            return trap;
        }
        self.enter_bare(block, cx)
    }

    fn step(&self, cx: &mut UserCtx) -> Option<Trap> {
        let block = &self.inner.current().block;
        step::step(block, cx, |cx| self.enter_bare(block, cx))
    }

    fn set_breakpoint(&self, at: Option<u64>) -> bool {
        patch::lock().set_breakpoint(at)
    }

    fn take_hit(&self) -> bool {
        self.inner
            .current()
            .block
            .hit
            .swap(false, Ordering::Relaxed)
    }

    fn switch_out(&self, cx: &mut UserCtx) {
        fpu::switch_out(cx);
    }

    fn fpu_image(&self, cx: &mut UserCtx) -> Fxsave {
        fpu::image(cx)
    }

    fn fpu_install(&self, cx: &mut UserCtx, image: &[u8; 512]) {
        fpu::install(cx, image);
    }

    fn fpu_clone(&self, cx: &mut UserCtx) -> Fpu {
        fpu::clone(cx)
    }

    fn uppers(&self, cx: &mut UserCtx) -> Option<Uppers> {
        fpu::uppers(cx)
    }

    fn set_uppers(&self, cx: &mut UserCtx, uppers: &Uppers) {
        fpu::set_uppers(cx, uppers);
    }
}

impl Memory for HostMachine {
    fn copyin(&self, from: u64, to: &mut [u8]) -> Result<(), BadAddress> {
        mem::copyin(from, to)
    }

    fn copyout(&self, from: &[u8], to: u64) -> Result<(), BadAddress> {
        mem::copyout(from, to)
    }

    fn copyinstr(&self, from: u64, to: &mut [u8]) -> Result<Option<usize>, BadAddress> {
        mem::copyinstr(from, to)
    }

    fn store_u32(&self, value: u32, to: u64) -> Result<(), BadAddress> {
        mem::store_u32(value, to)
    }

    fn map(&self, at: Range<u64>, prot: Prot, backing: Backing) -> Result<(), HostErr> {
        mem::map(at, prot, backing)
    }

    fn unmap(&self, at: Range<u64>) -> Result<(), HostErr> {
        mem::unmap(at)
    }

    fn protect(&self, at: Range<u64>, prot: Prot) -> Result<(), HostErr> {
        mem::protect(at, prot)
    }

    fn advise(&self, at: Range<u64>, advice: Advice) -> Result<(), HostErr> {
        mem::advise(at, advice)
    }

    fn relocate(&self, from: Range<u64>, to: Range<u64>) -> Result<(), HostErr> {
        mem::relocate(from, to)
    }
}

impl Clocks for HostMachine {
    fn monotonic(&self) -> Duration {
        clock::monotonic()
    }

    fn realtime(&self) -> Duration {
        clock::realtime()
    }

    fn stamp(&self) -> u64 {
        clock::stamp()
    }

    fn stamped(&self, count: u64) -> Duration {
        clock::stamped(count)
    }

    fn process_cpu(&self) -> Duration {
        clock::process_cpu()
    }
}

impl Poller for HostMachine {
    fn poll(&self, _cpu: CpuId, wait: Wait, events: &mut Vec<Event>) {
        self.inner
            .poller
            .poll(&self.inner.current().block, wait, events);
    }

    fn poll_add(&self, fd: i32, token: u64) -> Result<(), AlwaysReady> {
        self.inner.poller.poll_add(fd, token)
    }

    fn poll_del(&self, fd: i32) {
        self.inner.poller.poll_del(fd);
    }

    fn poll_has(&self, fd: i32, token: u64) -> bool {
        self.inner.poller.poll_has(fd, token)
    }

    fn ready_now(&self, fd: i32) -> Ready {
        poller::ready_now(fd)
    }

    fn run_blocking(&self, token: u64, job: Box<dyn FnOnce() + Send>) {
        self.inner.poller.run_blocking(token, job);
    }

    fn cancel_blocking(&self, token: u64) -> bool {
        self.inner.poller.cancel_blocking(token)
    }
}

impl Vcpus for HostMachine {
    fn ncpu(&self) -> usize {
        self.inner.cpus.len()
    }

    fn current(&self) -> CpuId {
        self.inner.current_cpu()
    }

    fn start(&self, kernel: Arc<Kernel>, cpu: CpuId) {
        self.inner.start(kernel, cpu);
    }

    fn kick(&self, cpu: CpuId) {
        self.inner.kick(cpu);
    }

    fn wake_one(&self) {
        self.inner.poller.wake_one();
    }

    fn tick_at(&self, cpu: CpuId, at: Duration) {
        self.inner.tick_at(cpu, at);
    }

    fn watch_cpu(&self, every: Duration) {
        self.inner.watch_cpu(every);
    }

    fn trap_counter(&self) {
        counter::trap();
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
        self.inner.fork(cpu)
    }

    fn exit(&self, with: ExitWith) {
        if let Some(hook) = self.inner.at_exit.get() {
            hook(&self.stats());
        }
        self.inner.control.close();
        process::exit(with);
    }

    fn stop_process(&self, signo: Signo) {
        process::stop_process(signo);
    }

    fn random(&self, buf: &mut [u8]) {
        process::random(buf);
    }
}
