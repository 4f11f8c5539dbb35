//! LWPs: the calls, and tasks that are closures on stacks of their own.

use crate::check::{By, is_relaxed};
use crate::process::low;
use crate::vm::{self, Area};
use crate::{SysResult, sys};
use core::ffi::CStr;
use core::marker::PhantomData;
use lwp_abi::Errno;
use lwp_abi::lwp::{LWP_DETACHED, LWP_SUSPENDED, LwpId, Lwpctl};
use lwp_abi::nr::SYS_LWP_EXIT;
use lwp_abi::time::Timespec;
use lwp_abi::ucontext::{_UC_SIGMASK, _UC_TLSBASE, Ucontext};

/// An id that nobody has.
pub const NOBODY: LwpId = LwpId::new(0x1fff_fff0);

/// `_lwp_self(2)`.
pub fn me() -> LwpId {
    LwpId::new(sys!(SYS_LWP_SELF).map_or(0, low))
}

/// `_lwp_exit(2)`.
pub fn exit() -> ! {
    let _ = sys!(SYS_LWP_EXIT);
    crate::process::abort()
}

/// `_lwp_wait(2)`: who departed.
///
/// # Errors
/// The call's own.
pub fn wait(lid: LwpId) -> Result<LwpId, Errno> {
    let mut departed = LwpId::new(-1);
    sys!(SYS_LWP_WAIT, lid, &mut departed)?;
    Ok(departed)
}

/// `_lwp_wait(2)` for any.
///
/// # Errors
/// The call's own.
pub fn wait_any() -> Result<LwpId, Errno> {
    wait(LwpId::new(0))
}

macro_rules! on_an_lwp {
    ($($(#[$doc:meta])* $name:ident $nr:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// The call's own.
        pub fn $name(lid: LwpId) -> SysResult {
            sys!($nr, lid)
        }
    )*};
}

on_an_lwp! {
    /// `_lwp_suspend(2)`.
    suspend SYS_LWP_SUSPEND;
    /// `_lwp_continue(2)`.
    resume SYS_LWP_CONTINUE;
    /// `_lwp_wakeup(2)`.
    wakeup SYS_LWP_WAKEUP;
    /// `_lwp_detach(2)`.
    detach SYS_LWP_DETACH;
}

/// `_lwp_unpark(2)`.
///
/// # Errors
/// The call's own.
pub fn unpark(lid: LwpId) -> SysResult {
    sys!(SYS_LWP_UNPARK, lid, 0_u64)
}

/// `_lwp_unpark_all(2)`.
///
/// # Errors
/// The call's own.
pub fn unpark_all(lids: &[LwpId]) -> SysResult {
    sys!(SYS_LWP_UNPARK_ALL, lids.as_ptr(), lids.len(), 0_u64)
}

/// `_lwp_park(2)`: without a limit, without waking anybody.
///
/// # Errors
/// The call's own.
pub fn park() -> SysResult {
    sys!(SYS_LWP_PARK60, 0, 0, 0_u64, 0, 0_u64, 0_u64)
}

/// `_lwp_park(2)`, as programs make it: again when a wake-up was there already, for that may have been meant for an
/// earlier park. Nobody may wake the caller before it sleeps.
///
/// # Errors
/// The call's own, but for EALREADY.
pub fn rest() -> SysResult {
    again(park)
}

/// Some form of `_lwp_park(2)`, made in the same way.
///
/// # Errors
/// The call's own, but for EALREADY.
pub fn again(mut park: impl FnMut() -> SysResult) -> SysResult {
    loop {
        match park() {
            Err(Errno::EALREADY) => {}
            result => return result,
        }
    }
}

/// Some form of `_lwp_park(2)` that is to find no wake-up. Made again after EALREADY only if checks are
/// [relaxed](crate::check::is_relaxed) by early parks.
///
/// # Errors
/// The call's own.
pub fn tokenless(mut park: impl FnMut() -> SysResult) -> SysResult {
    if is_relaxed(By::Park) {
        again(park)
    } else {
        park()
    }
}

/// `_lwp_park(2)` with a time, and someone to wake first.
///
/// # Errors
/// The call's own.
pub fn park_until(clock: i32, flags: i32, ts: Option<&mut Timespec>, wake: LwpId) -> SysResult {
    sys!(SYS_LWP_PARK60, clock, flags, ts, wake, 0_u64, 0_u64)
}

/// `_lwp_park(2)` for a time on the monotonic clock.
///
/// # Errors
/// The call's own.
pub fn park_for(ts: &mut Timespec) -> SysResult {
    park_until(lwp_abi::time::CLOCK_MONOTONIC, 0, Some(ts), LwpId::new(0))
}

/// `_lwp_kill(2)`.
///
/// # Errors
/// The call's own.
pub fn kill(lid: LwpId, signo: i32) -> SysResult {
    sys!(SYS_LWP_KILL, lid, signo)
}

/// `_lwp_setname(2)`.
///
/// # Errors
/// The call's own.
pub fn setname(lid: LwpId, name: &CStr) -> SysResult {
    sys!(SYS_LWP_SETNAME, lid, name)
}

/// `_lwp_getname(2)`.
///
/// # Errors
/// The call's own.
pub fn getname(lid: LwpId, buf: &mut [u8]) -> SysResult {
    sys!(SYS_LWP_GETNAME, lid, buf.as_mut_ptr(), buf.len())
}

/// `_lwp_getprivate(2)`.
pub fn private() -> u64 {
    sys!(SYS_LWP_GETPRIVATE).unwrap_or(0)
}

/// `_lwp_setprivate(2)`.
///
/// # Errors
/// The call's own.
pub fn setprivate(addr: u64) -> SysResult {
    sys!(SYS_LWP_SETPRIVATE, addr)
}

/// `_lwp_ctl(2)`: where the block is.
///
/// # Errors
/// The call's own.
pub fn ctl(features: i32) -> Result<Ctl, Errno> {
    let mut addr = 0_u64;
    sys!(SYS_LWP_CTL, features, &mut addr)?;
    Ok(Ctl(vm::pointer(addr)))
}

/// Where an LWP's block is: in memory that the kernel mapped for the life of the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ctl(*const Lwpctl);

// SAFETY: only ever read, as volatile memory.
unsafe impl Send for Ctl {}

impl Ctl {
    /// Its address.
    pub fn addr(self) -> usize {
        self.0.expose_provenance()
    }

    /// The block at an address that [`Ctl::addr`] gave.
    ///
    /// # Safety
    /// It is the address of a block whose LWP has not been reaped, or whose area is still mapped.
    pub unsafe fn at(addr: usize) -> Self {
        Self(core::ptr::with_exposed_provenance(addr))
    }
}

/// Reads the caller's block, or another LWP's.
pub fn read_ctl(at: Ctl) -> Lwpctl {
    // SAFETY: `at` comes from `ctl`; the kernel writes it, hence volatile.
    unsafe { at.0.read_volatile() }
}

/// `getcontext(2)`.
///
/// # Errors
/// The call's own.
pub fn getcontext() -> Result<Ucontext, Errno> {
    let mut uc = Ucontext::default();
    sys!(SYS_GETCONTEXT, &mut uc)?;
    Ok(uc)
}

/// `setcontext(2)`.
///
/// # Errors
/// The call's own; otherwise it does not return.
pub fn setcontext(uc: &Ucontext) -> SysResult {
    sys!(SYS_SETCONTEXT, uc)
}

/// `_lwp_create(2)`.
///
/// # Errors
/// The call's own.
pub fn create(uc: &Ucontext, flags: u64) -> Result<LwpId, Errno> {
    let mut lid = LwpId::new(0);
    sys!(SYS_LWP_CREATE, uc, flags, &mut lid)?;
    Ok(lid)
}

/// Where a started function returns to.
#[unsafe(naked)]
extern "C" fn exit_stub() -> ! {
    core::arch::naked_asm!("mov eax, {nr}", "syscall", "ud2", nr = const SYS_LWP_EXIT)
}

/// Makes a context that calls `entry(arg)` on a stack that ends at `top`, as libc's
/// `_lwp_makecontext` does: the caller's mask and registers, and a return address that exits.
///
/// # Errors
/// Those of `getcontext(2)`.
pub fn makecontext(entry: extern "C" fn(u64), arg: u64, top: u64) -> Result<Ucontext, Errno> {
    let mut uc = getcontext()?;
    let sp = (top & !15) - 8;
    let stub: extern "C" fn() -> ! = exit_stub;
    // SAFETY: the caller's stack, which ends at `top`.
    unsafe { vm::pointer::<u64>(sp).write(stub as usize as u64) };
    uc.uc_link = 0;
    uc.uc_flags &= !_UC_TLSBASE;
    uc.uc_mcontext.gregs.rip = entry as usize as u64;
    uc.uc_mcontext.gregs.rdi = arg;
    uc.uc_mcontext.gregs.rsp = sp;
    uc.uc_mcontext.gregs.rbp = 0;
    Ok(uc)
}

/// The stack of a task.
pub const STACK_SIZE: usize = 64 * 1024;

/// How a task starts.
#[derive(Clone, Copy, Debug)]
pub struct How {
    flags: u64,
    mask: Option<lwp_abi::signal::SigSet>,
    private: Option<u64>,
    stack: usize,
}

/// Starts a task: joinable, running, with the creator's mask and no private pointer.
///
/// # Panics
/// If the kernel refuses.
pub fn spawn<T: Copy + 'static, F: FnOnce() -> T + Send + 'static>(f: F) -> Task<T> {
    How::new().spawn(f).expect("an LWP")
}

impl Default for How {
    fn default() -> Self {
        Self::new()
    }
}

impl How {
    /// As [`spawn`] does it.
    pub const fn new() -> Self {
        Self {
            flags: 0,
            mask: None,
            private: None,
            stack: STACK_SIZE,
        }
    }

    /// Nobody can wait for it.
    #[must_use]
    pub const fn detached(self) -> Self {
        self.flags(self.flags | LWP_DETACHED)
    }

    /// It waits to be continued.
    #[must_use]
    pub const fn suspended(self) -> Self {
        self.flags(self.flags | LWP_SUSPENDED)
    }

    /// With these flags of `_lwp_create(2)`.
    #[must_use]
    pub const fn flags(self, flags: u64) -> Self {
        Self { flags, ..self }
    }

    /// With this signal mask.
    #[must_use]
    pub const fn mask(self, mask: lwp_abi::signal::SigSet) -> Self {
        Self {
            mask: Some(mask),
            ..self
        }
    }

    /// With this private pointer.
    #[must_use]
    pub const fn private(self, private: u64) -> Self {
        Self {
            private: Some(private),
            ..self
        }
    }

    /// With a stack of so many bytes.
    #[must_use]
    pub const fn stack(self, stack: usize) -> Self {
        Self { stack, ..self }
    }

    /// Starts it.
    ///
    /// # Errors
    /// Those of `mmap(2)`, `getcontext(2)` and `_lwp_create(2)`.
    pub fn spawn<T, F>(self, f: F) -> Result<Task<T>, Errno>
    where
        T: Copy + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let stack = vm::map(self.stack)?;
        let start: *mut Start<F, T> = Start::place(stack);
        // SAFETY: inside the new mapping, aligned by `place`, and nobody else knows it yet.
        unsafe {
            start.write(Start {
                f: Some(f),
                result: None,
            });
        };
        let at = sys::Arg::arg(start);
        let mut uc = makecontext(begin::<F, T>, at, at)?;
        if let Some(mask) = self.mask {
            uc.uc_flags |= _UC_SIGMASK;
            uc.uc_sigmask = mask;
        }
        if let Some(private) = self.private {
            uc.uc_flags |= _UC_TLSBASE;
            uc.uc_mcontext.tlsbase = private;
        }
        let lid = create(&uc, self.flags)?;
        Ok(Task {
            lid,
            stack,
            result: Start::result(start),
            of: PhantomData,
        })
    }
}

/// A closure and its result, at the top of its own stack.
#[repr(C)]
struct Start<F, T> {
    f: Option<F>,
    result: Option<T>,
}

impl<F, T> Start<F, T> {
    /// The place for one: the highest of the stack.
    fn place(stack: Area) -> *mut Self {
        let size = size_of::<Self>().next_multiple_of(16);
        assert!(
            size < stack.len / 2 && align_of::<Self>() <= 16,
            "a task too large"
        );
        stack.ptr(stack.len - size)
    }

    /// Where the result comes to lie.
    fn result(start: *mut Self) -> *mut Option<T> {
        // SAFETY: `start` is in its mapping; only an address is computed.
        unsafe { &raw mut (*start).result }
    }
}

/// The first function of a task.
extern "C" fn begin<F: FnOnce() -> T, T>(at: u64) {
    let start: *mut Start<F, T> = vm::pointer(at);
    // SAFETY: `How::spawn` wrote it, and only this LWP touches it until it has been waited for.
    let start = unsafe { &mut *start };
    if let Some(f) = start.f.take() {
        start.result = Some(f());
    }
}

/// An LWP that runs a closure.
#[derive(Clone, Copy, Debug)]
pub struct Task<T> {
    /// Its id.
    pub lid: LwpId,
    /// Its stack.
    pub stack: Area,
    result: *mut Option<T>,
    of: PhantomData<T>,
}

// SAFETY: the pointer leads into a mapping that any LWP may read; `result` says when.
unsafe impl<T: Send> Send for Task<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Task<T> {}

impl<T: Copy> Task<T> {
    /// Waits for its end (again, if a signal comes between), gives its stack back, and its result.
    ///
    /// # Errors
    /// Those of `_lwp_wait(2)`, but for `EINTR`.
    ///
    /// # Panics
    /// If it ended without a result.
    pub fn join(self) -> Result<T, Errno> {
        loop {
            match wait(self.lid) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        let result = self.result();
        self.stack.unmap();
        Ok(result.expect("a task that ended by itself"))
    }

    /// Its result, once it has been waited for by other means.
    pub fn result(&self) -> Option<T> {
        // SAFETY: it has exited, so nobody writes; the stack is still mapped.
        unsafe { self.result.read() }
    }
}
