//! Vcpus: the host threads that run guests, and how they are stopped, kicked and ticked.
//!
//! # Invariants
//! 1. A thread is adopted as a vcpu from [`adopt`] until its [`Adopted`] is dropped: meanwhile its GS
//!    base points to the vcpu's block, its alternate stack is in place, Syscall User Dispatch is
//!    armed, and all its signals are unblocked.
//! 2. While a fork is on, `stop` is 1 and every other vcpu is at its stop point (`at_stop`), or on its
//!    way there: kicked out of user mode and out of the poller. Nothing is held there.
//! 3. `changes` grows after every change a forking vcpu may be waiting for.
//!
//! | `alive` | `at_stop` | the vcpu |
//! |---|---|---|
//! | no | no | has no thread |
//! | yes | no | runs, or is being started and comes to its stop point before anything else |
//! | yes | yes | waits for `stop` to be 0 |
//!
//! # Locks
//! None; the stop point is a raw futex, because a thread that stopped inside a lock's implementation
//! would leave that lock unusable in the fork child.
//!
//! Sources: tgkill(2), `timer_create(2)`, sigaltstack(2), futex(2).

use crate::block::Block;
use crate::{HostMachine, Inner, Refusal, clock, counter, layout, signals, sud};
use core::cell::Cell;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use lwp_kernel::Kernel;
use lwp_kernel::machine::CpuId;
use std::sync::Arc;
use std::thread;

/// Stack of a vcpu's thread; the kernel's futures live on the heap.
const STACK_BYTES: usize = 1 << 20;
/// Room for our handlers on an alternate stack, beyond Linux's frame.
const HANDLER_BYTES: usize = 32 << 10;
/// A vcpu that was kicked and has not answered is sent another signal after so long: several times what
/// handling one takes.
const REPEAT_NANOS: u64 = 20_000;
const AT_MINSIGSTKSZ: libc::c_ulong = 51;
/// What the two timers send with their signals.
pub(crate) const TICK: usize = 0;
const CPU_TIME: usize = 1;

/// One vcpu.
pub(crate) struct Vcpu {
    pub(crate) block: Block,
    /// The thread's id; 0 when there is none (yet).
    tid: AtomicI32,
    alive: AtomicBool,
    at_stop: AtomicBool,
    /// The host's timer for ticks; -1 before it is needed.
    timer: AtomicI32,
    /// The host's timer for CPU time; -1 when there is none.
    cpu_timer: AtomicI32,
    /// How much CPU time that one lets pass, in nanoseconds; 0 when there is none.
    cpu_every: AtomicU64,
}

/// What makes all other vcpus stand still.
#[derive(Default)]
pub(crate) struct Gate {
    /// 1 while somebody has the right to fork.
    claimed: AtomicU32,
    stop: AtomicU32,
    changes: AtomicU32,
}

thread_local! {
    /// Which vcpu of which machine this thread is.
    static CURRENT: Cell<Option<(usize, CpuId)>> = const { Cell::new(None) };
}

impl Vcpu {
    pub(crate) fn new() -> Self {
        Self {
            block: Block::new(),
            tid: AtomicI32::new(0),
            alive: AtomicBool::new(false),
            at_stop: AtomicBool::new(false),
            timer: AtomicI32::new(-1),
            cpu_timer: AtomicI32::new(-1),
            cpu_every: AtomicU64::new(0),
        }
    }
}

/// A thread's being a vcpu; it stops being one when this is dropped, on the same thread.
pub(crate) struct Adopted {
    inner: Arc<Inner>,
    old_mask: u64,
    stack: AltStack,
}

/// Makes this thread vcpu `cpu`.
///
/// # Errors
/// When the vcpu already has a thread, or this thread already is a vcpu.
pub(crate) fn adopt(inner: &Arc<Inner>, cpu: CpuId) -> Result<Adopted, Refusal> {
    let vcpu = inner.cpus.get(cpu).ok_or(Refusal::NoSuchVcpu { cpu })?;
    if CURRENT.get().is_some() || vcpu.alive.swap(true, Ordering::SeqCst) {
        return Err(Refusal::NoSuchVcpu { cpu });
    }
    inner.poller.vcpu_arrives();
    arrive(inner, cpu)
}

/// The part of [`adopt`] that needs the thread: `alive` is set.
fn arrive(inner: &Arc<Inner>, cpu: CpuId) -> Result<Adopted, Refusal> {
    let old_mask = signals::set_mask(signals::HELD_BACK);
    let stack = AltStack::new().ok_or(Refusal::NoMemory)?;
    // One that this thread has been sent before found no vcpu, and told nobody.
    inner.cpus[cpu].block.kicked.store(0, Ordering::SeqCst);
    inner.become_current(cpu);
    if !sud::arm() {
        return Err(Refusal::NoDispatch);
    }
    signals::set_mask(0);
    Ok(Adopted {
        inner: Arc::clone(inner),
        old_mask,
        stack,
    })
}

impl Drop for Adopted {
    fn drop(&mut self) {
        // In a fork child this need not be the vcpu that was adopted.
        let vcpu = self.inner.current();
        signals::set_mask(signals::HELD_BACK);
        CURRENT.set(None);
        vcpu.tid.store(0, Ordering::SeqCst);
        sud::disarm();
        counter::allow();
        delete_timers(vcpu);
        signals::set_gs(core::ptr::null());
        self.stack.remove();
        self.inner.poller.vcpu_leaves();
        vcpu.alive.store(false, Ordering::SeqCst);
        self.inner.gate.changed();
        // A kick that comes now finds a thread that is no vcpu, and does nothing.
        signals::set_mask(self.old_mask);
    }
}

impl Inner {
    /// This thread's vcpu.
    ///
    /// # Panics
    /// When the thread is none of this machine's.
    pub(crate) fn current(&self) -> &Vcpu {
        &self.cpus[self.current_cpu()]
    }

    /// The number of [`Inner::current`].
    ///
    /// # Panics
    /// As that.
    pub(crate) fn current_cpu(&self) -> CpuId {
        let (machine, cpu) = CURRENT.get().expect("the caller is a vcpu");
        assert_eq!(
            machine,
            core::ptr::from_ref(self).addr(),
            "a vcpu of another machine"
        );
        cpu
    }

    /// Makes this thread's registers and variables those of vcpu `cpu`. Signals are blocked.
    fn become_current(&self, cpu: CpuId) {
        let vcpu = &self.cpus[cpu];
        vcpu.block
            .host_fs
            .store(signals::host_fs(), Ordering::Relaxed);
        vcpu.block
            .fsgsbase
            .store(u8::from(self.has_fsgsbase), Ordering::Relaxed);
        signals::set_gs(&raw const vcpu.block);
        CURRENT.set(Some((core::ptr::from_ref(self).addr(), cpu)));
        vcpu.tid.store(host_tid(), Ordering::SeqCst);
    }

    fn is_current(&self, cpu: CpuId) -> bool {
        CURRENT.get() == Some((core::ptr::from_ref(self).addr(), cpu))
    }

    pub(crate) fn start(self: &Arc<Self>, kernel: Arc<Kernel>, cpu: CpuId) {
        let Some(vcpu) = self.cpus.get(cpu) else {
            return;
        };
        if vcpu.alive.swap(true, Ordering::SeqCst) {
            return;
        }
        self.poller.vcpu_arrives();
        let inner = Arc::clone(self);
        // The new thread inherits this one's GS base; `arrive` gives it its own, then unblocks.
        let mask = signals::set_mask(signals::HELD_BACK);
        let started = thread::Builder::new()
            .name(format!("vcpu {cpu}"))
            .stack_size(STACK_BYTES)
            .spawn(move || match arrive(&inner, cpu) {
                Ok(_adopted) => kernel.run_vcpu(cpu),
                Err(_) => inner.has_not_started(cpu),
            });
        signals::set_mask(mask);
        if started.is_err() {
            self.has_not_started(cpu);
        }
    }

    /// The host would not have it: the other vcpus do its work, and it may be tried again.
    fn has_not_started(&self, cpu: CpuId) {
        self.poller.vcpu_leaves();
        self.cpus[cpu].alive.store(false, Ordering::SeqCst);
        self.gate.changed();
    }

    pub(crate) fn kick(&self, cpu: CpuId) {
        let Some(vcpu) = self.cpus.get(cpu) else {
            return;
        };
        // Pairs with the swaps to 0 in `enter` and `Poller::sleep`: what the kicker wrote before is
        // seen after them.
        let was_set = vcpu.block.pending.swap(1, Ordering::SeqCst) != 0;
        if self.is_current(cpu) {
            return;
        }
        // Also when it was set: the signal that set it may have come right before a host call that
        // waits after all, and only another one ends that. But not at once: a vcpu that gets signals as
        // fast as it handles them does nothing else.
        let now = u64::try_from(clock::monotonic().as_nanos()).unwrap_or(u64::MAX);
        let before = vcpu.block.kicked_at.load(Ordering::Relaxed);
        if was_set && now.saturating_sub(before) < REPEAT_NANOS {
            return;
        }
        vcpu.block.kicked_at.store(now, Ordering::Relaxed);
        let tid = vcpu.tid.load(Ordering::SeqCst);
        // And one at a time: they queue, and Linux has room for so many of a user. Pairs with the store in
        // `signals::on_outside`.
        if tid != 0
            && vcpu.block.kicked.swap(tid, Ordering::SeqCst) != tid
            && !tgkill(tid, signals::SIG_KICK)
        {
            // There was no room for it, or the thread is gone: the next one tries again.
            vcpu.block.kicked.store(0, Ordering::SeqCst);
        }
    }

    pub(crate) fn tick_at(&self, cpu: CpuId, at: Duration) {
        let Some(vcpu) = self.cpus.get(cpu).filter(|_| self.is_current(cpu)) else {
            return;
        };
        let nanos = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        if vcpu.block.tick.load(Ordering::Relaxed) <= nanos {
            return;
        }
        vcpu.block.tick.store(nanos, Ordering::Relaxed);
        if vcpu.timer.load(Ordering::Relaxed) < 0 {
            let timer = make_timer(libc::CLOCK_MONOTONIC, TICK);
            vcpu.timer.store(timer.unwrap_or(-1), Ordering::Relaxed);
        }
        if vcpu.timer.load(Ordering::Relaxed) < 0 {
            // Without a timer the vcpu is kicked at once: too early, never too late.
            vcpu.block.tick.store(u64::MAX, Ordering::Relaxed);
            self.kick(cpu);
            return;
        }
        // A time of zero would disarm.
        let at = at.max(Duration::from_nanos(1));
        let timer = vcpu.timer.load(Ordering::Relaxed);
        set_timer(timer, libc::TIMER_ABSTIME, at, Duration::ZERO);
    }

    pub(crate) fn watch_cpu(&self, every: Duration) {
        let vcpu = self.current();
        let nanos = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
        vcpu.cpu_every.store(nanos, Ordering::Relaxed);
        if vcpu.cpu_timer.load(Ordering::Relaxed) < 0 {
            let timer = make_timer(libc::CLOCK_THREAD_CPUTIME_ID, CPU_TIME);
            vcpu.cpu_timer.store(timer.unwrap_or(-1), Ordering::Relaxed);
        }
        set_timer(vcpu.cpu_timer.load(Ordering::Relaxed), 0, every, every);
    }

    pub(crate) fn stop_point(&self, cpu: CpuId) {
        let gate = &self.gate;
        let Some(vcpu) = self.cpus.get(cpu) else {
            return;
        };
        while gate.stop.load(Ordering::SeqCst) == 1 {
            vcpu.at_stop.store(true, Ordering::SeqCst);
            gate.changed();
            while gate.stop.load(Ordering::SeqCst) == 1 {
                futex_wait(&gate.stop, 1);
            }
            // Then `stop` is looked at again: whoever forks next sets it first and looks at `at_stop`
            // after that, so one of us sees the other.
            vcpu.at_stop.store(false, Ordering::SeqCst);
        }
    }

    pub(crate) fn stop_wanted(&self) -> bool {
        self.gate.stop.load(Ordering::SeqCst) == 1
    }

    pub(crate) fn begin_fork(&self) -> bool {
        let claimed = &self.gate.claimed;
        claimed
            .compare_exchange(0, 1, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
    }

    /// Waits until every vcpu but `cpu` is at its stop point.
    pub(crate) fn stop_others(&self, cpu: CpuId) {
        self.gate.stop.store(1, Ordering::SeqCst);
        let others = || (0..self.cpus.len()).filter(|&other| other != cpu);
        for other in others().filter(|&other| self.cpus[other].alive.load(Ordering::SeqCst)) {
            self.kick(other);
        }
        loop {
            let changes = self.gate.changes.load(Ordering::SeqCst);
            let moving = others().any(|other| {
                let vcpu = &self.cpus[other];
                vcpu.alive.load(Ordering::SeqCst) && !vcpu.at_stop.load(Ordering::SeqCst)
            });
            if !moving {
                return;
            }
            futex_wait(&self.gate.changes, changes);
        }
    }

    /// Ends what [`Inner::stop_others`] and [`Inner::begin_fork`] began.
    pub(crate) fn let_others_go(&self) {
        self.gate.stop.store(0, Ordering::SeqCst);
        futex_wake(&self.gate.stop);
        self.gate.claimed.store(0, Ordering::SeqCst);
    }

    /// In a fork child: this thread is the only one, is vcpu 0 from now on, and Linux has switched
    /// dispatch off for it, and kept no timers. Signals are blocked.
    pub(crate) fn after_fork(&self) {
        let cpu_every = self.current().cpu_every.load(Ordering::Relaxed);
        for vcpu in &self.cpus {
            vcpu.timer.store(-1, Ordering::Relaxed);
            vcpu.cpu_timer.store(-1, Ordering::Relaxed);
            vcpu.cpu_every.store(0, Ordering::Relaxed);
            vcpu.at_stop.store(false, Ordering::Relaxed);
            vcpu.block.tick.store(u64::MAX, Ordering::Relaxed);
            vcpu.block.pending.store(0, Ordering::Relaxed);
            vcpu.block.kicked.store(0, Ordering::Relaxed);
            vcpu.alive.store(false, Ordering::Relaxed);
            vcpu.tid.store(0, Ordering::Relaxed);
        }
        self.become_current(0);
        self.cpus[0].alive.store(true, Ordering::Relaxed);
        self.gate.stop.store(0, Ordering::SeqCst);
        self.gate.claimed.store(0, Ordering::SeqCst);
        assert!(sud::arm(), "dispatch worked before the fork");
        if cpu_every != 0 {
            self.watch_cpu(Duration::from_nanos(cpu_every));
        }
    }
}

impl Gate {
    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        futex_wake(&self.changes);
    }
}

/// An alternate signal stack with a guard page below it.
struct AltStack {
    base: usize,
    len: usize,
}

impl AltStack {
    const GUARD: usize = 4096;

    /// Maps one and puts it in place.
    fn new() -> Option<Self> {
        let frame = usize::try_from(layout::auxv(AT_MINSIGSTKSZ))
            .ok()?
            .max(libc::MINSIGSTKSZ);
        let size = (frame + HANDLER_BYTES).next_multiple_of(4096);
        let len = size + Self::GUARD;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping anywhere.
        let base = unsafe { libc::mmap(core::ptr::null_mut(), len, prot, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: the first page of the mapping just made.
        unsafe { libc::mprotect(base, Self::GUARD, libc::PROT_NONE) };
        let ss_sp = base.wrapping_byte_add(Self::GUARD);
        set_altstack(&libc::stack_t {
            ss_sp,
            ss_flags: 0,
            ss_size: size,
        });
        Some(Self {
            base: base.addr(),
            len,
        })
    }

    /// Takes it away again.
    fn remove(&mut self) {
        let ss_flags = libc::SS_DISABLE;
        set_altstack(&libc::stack_t {
            ss_sp: core::ptr::null_mut(),
            ss_flags,
            ss_size: 0,
        });
        let base = core::ptr::without_provenance_mut(self.base);
        // SAFETY: our mapping, no longer in use: it is not the alternate stack, and signals are blocked.
        unsafe { libc::munmap(base, self.len) };
    }
}

fn set_altstack(stack: &libc::stack_t) {
    // SAFETY: the memory described is ours and stays mapped until `AltStack::remove`.
    unsafe { libc::sigaltstack(&raw const *stack, core::ptr::null_mut()) };
}

/// Makes a timer that kicks the calling thread, and says with `value` which one it is.
fn make_timer(clock: libc::clockid_t, value: usize) -> Option<i32> {
    // SAFETY: all-zero is a valid `sigevent`.
    let mut event: libc::sigevent = unsafe { core::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_THREAD_ID;
    event.sigev_signo = signals::SIG_KICK;
    event.sigev_notify_thread_id = host_tid();
    event.sigev_value.sival_ptr = core::ptr::without_provenance_mut(value);
    let mut timer = -1_i32;
    // SAFETY: reads and writes one structure each.
    let result = unsafe {
        libc::syscall(
            libc::SYS_timer_create,
            clock,
            &raw const event,
            &raw mut timer,
        )
    };
    (result == 0).then_some(timer)
}

/// Sets a timer, if there is one.
fn set_timer(timer: i32, flags: libc::c_int, value: Duration, interval: Duration) {
    let spec = libc::itimerspec {
        it_interval: clock::timespec(interval),
        it_value: clock::timespec(value),
    };
    let none = core::ptr::null_mut::<libc::itimerspec>();
    // SAFETY: reads one structure.
    unsafe { libc::syscall(libc::SYS_timer_settime, timer, flags, &raw const spec, none) };
}

fn delete_timers(vcpu: &Vcpu) {
    for timer in [&vcpu.timer, &vcpu.cpu_timer] {
        let timer = timer.swap(-1, Ordering::Relaxed);
        if timer >= 0 {
            // SAFETY: a timer of this vcpu's.
            unsafe { libc::syscall(libc::SYS_timer_delete, timer) };
        }
    }
    vcpu.cpu_every.store(0, Ordering::Relaxed);
    vcpu.block.tick.store(u64::MAX, Ordering::Relaxed);
}

/// The host's id of the calling thread.
pub(crate) fn host_tid() -> i32 {
    // SAFETY: has no effects.
    unsafe { libc::gettid() }
}

/// Sends a signal to a thread of ours. `false`: Linux has no room for it, or the thread has just ended.
pub(crate) fn tgkill(tid: i32, signo: i32) -> bool {
    // SAFETY: has no effects.
    let pid = unsafe { libc::getpid() };
    // SAFETY: a signal of ours to a thread of ours.
    unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signo) == 0 }
}

fn futex_wait(word: &AtomicU32, value: u32) {
    let op = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    let forever = core::ptr::null::<libc::timespec>();
    // SAFETY: the word outlives the call. It may return early: callers look again.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), op, value, forever) };
}

fn futex_wake(word: &AtomicU32) {
    let op = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word outlives the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), op, i32::MAX) };
}

/// The calling thread's being vcpu 0; see [`HostMachine::adopt_main_thread`].
pub struct MainVcpu {
    _adopted: Adopted,
}

impl HostMachine {
    /// Makes the calling thread vcpu 0, until the result is dropped (on the same thread).
    ///
    /// # Errors
    /// [`Refusal::NoSuchVcpu`] when there is a vcpu 0 already; what [`HostMachine::new`] refuses.
    pub fn adopt_main_thread(&self) -> Result<MainVcpu, Refusal> {
        self.adopt(0)
    }

    /// Makes the calling thread vcpu `cpu`, until the result is dropped (on the same thread).
    ///
    /// # Errors
    /// As for [`HostMachine::adopt_main_thread`].
    pub fn adopt(&self, cpu: CpuId) -> Result<MainVcpu, Refusal> {
        adopt(self.inner(), cpu).map(|adopted| MainVcpu { _adopted: adopted })
    }
}
