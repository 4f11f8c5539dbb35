//! Signals: masks, handlers and their trampoline, alternate stacks.

use crate::{SysResult, sys, vm};
use lwp_abi::Errno;
use lwp_abi::nr::{SYS_EXIT, SYS_SETCONTEXT};
use lwp_abi::signal::{
    SIG_BLOCK, SIG_DFL, SIG_IGN, SIG_SETMASK, SIG_UNBLOCK, SaFlags, SigSet, Sigaction, Siginfo,
    Signo, StackT,
};
use lwp_abi::time::Timespec;
use lwp_abi::ucontext::Ucontext;

/// A signal handler. NetBSD passes all three, whatever the flags.
pub type Handler = extern "C" fn(signo: i32, info: &mut Siginfo, context: &mut Ucontext);

/// Where a handler returns to: R15 holds the context (lwp.md 5.10).
#[unsafe(naked)]
pub extern "C" fn trampoline() -> ! {
    core::arch::naked_asm!(
        "mov rdi, r15",
        "mov eax, {setcontext}",
        "syscall",
        "mov edi, -1",
        "mov eax, {exit}",
        "syscall",
        "ud2",
        setcontext = const SYS_SETCONTEXT,
        exit = const SYS_EXIT,
    )
}

/// A handler's address, for a disposition.
pub fn handler_addr(handler: Handler) -> u64 {
    handler as usize as u64
}

/// The trampoline's address.
pub fn trampoline_addr() -> u64 {
    let f: extern "C" fn() -> ! = trampoline;
    f as usize as u64
}

/// `__sigaction_sigtramp`, as it is.
///
/// # Errors
/// The call's own.
pub fn sigaction_raw(signo: i32, new: u64, old: u64, tramp: u64, vers: i32) -> SysResult {
    sys!(SYS_SIGACTION_SIGTRAMP, signo, new, old, tramp, vers)
}

/// `sigaction(2)` with a handler at any address.
///
/// # Errors
/// The call's own.
pub fn action(signo: Signo, handler: u64, flags: SaFlags, mask: SigSet) -> SysResult {
    use sys::Arg as _;
    let new = Sigaction {
        sa_handler: handler,
        sa_mask: mask,
        sa_flags: flags.bits(),
        pad: 0,
    };
    sigaction_raw(signo.raw(), (&new).arg(), 0, trampoline_addr(), 2)
}

/// Installs a handler.
///
/// # Errors
/// The call's own.
pub fn catch(signo: Signo, handler: Handler, flags: SaFlags) -> SysResult {
    action(signo, handler_addr(handler), flags, SigSet::EMPTY)
}

/// Ignores a signal.
///
/// # Errors
/// The call's own.
pub fn ignore(signo: Signo) -> SysResult {
    action(signo, SIG_IGN, SaFlags::empty(), SigSet::EMPTY)
}

/// Restores the default.
///
/// # Errors
/// The call's own.
pub fn default(signo: Signo) -> SysResult {
    action(signo, SIG_DFL, SaFlags::empty(), SigSet::EMPTY)
}

/// The disposition.
///
/// # Errors
/// The call's own.
pub fn query(signo: Signo) -> Result<Sigaction, Errno> {
    use sys::Arg as _;
    let mut old = Sigaction::default();
    sigaction_raw(signo.raw(), 0, (&mut old).arg(), 0, 0)?;
    Ok(old)
}

/// `sigprocmask(2)`: the mask before.
///
/// # Errors
/// The call's own.
pub fn procmask(how: i32, set: Option<&SigSet>) -> Result<SigSet, Errno> {
    let mut old = SigSet::EMPTY;
    sys!(SYS_SIGPROCMASK14, how, set, &mut old)?;
    Ok(old)
}

/// The mask.
pub fn mask() -> SigSet {
    procmask(SIG_BLOCK, None).unwrap_or_default()
}

/// Replaces the mask.
///
/// # Errors
/// The call's own.
pub fn setmask(set: SigSet) -> Result<SigSet, Errno> {
    procmask(SIG_SETMASK, Some(&set))
}

/// Blocks one signal.
///
/// # Errors
/// The call's own.
pub fn block(signo: Signo) -> Result<SigSet, Errno> {
    procmask(SIG_BLOCK, Some(&SigSet::of(&[signo])))
}

/// Unblocks one signal.
///
/// # Errors
/// The call's own.
pub fn unblock(signo: Signo) -> Result<SigSet, Errno> {
    procmask(SIG_UNBLOCK, Some(&SigSet::of(&[signo])))
}

/// `sigpending(2)`.
///
/// # Errors
/// The call's own.
pub fn pending() -> Result<SigSet, Errno> {
    let mut set = SigSet::EMPTY;
    sys!(SYS_SIGPENDING14, &mut set)?;
    Ok(set)
}

/// `sigsuspend(2)`.
///
/// # Errors
/// The call's own, always.
pub fn suspend(set: SigSet) -> SysResult {
    sys!(SYS_SIGSUSPEND14, &set)
}

/// `sigtimedwait(2)`.
///
/// # Errors
/// The call's own.
pub fn timedwait(set: SigSet, limit: Option<&mut Timespec>) -> Result<Siginfo, Errno> {
    let mut info = Siginfo::default();
    sys!(SYS_SIGTIMEDWAIT50, &set, &mut info, limit)?;
    Ok(info)
}

/// `sigaltstack(2)`: the one before.
///
/// # Errors
/// The call's own.
pub fn altstack(new: Option<&StackT>) -> Result<StackT, Errno> {
    let mut old = StackT::default();
    sys!(SYS_SIGALTSTACK14, new, &mut old)?;
    Ok(old)
}

/// Maps an alternate stack and makes it this LWP's.
///
/// # Errors
/// The calls' own.
pub fn new_altstack(size: usize) -> Result<vm::Area, Errno> {
    let area = vm::map(size)?;
    let ss_size = area.len as u64;
    altstack(Some(&StackT {
        ss_sp: area.base,
        ss_size,
        ss_flags: 0,
        pad: 0,
    }))?;
    Ok(area)
}
