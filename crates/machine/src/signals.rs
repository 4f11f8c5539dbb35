//! Host signals: the stub every handler begins with, and what is done for each place a signal can
//! find a vcpu in.
//!
//! Responsible for the handlers and their installation. Not for what a trap means (`kernel`), nor
//! for the outside signals' way on (`outside`).
//!
//! # What is decided by RIP alone
//! | RIP at the signal | kick, tick, outside signal | SEGV, BUS, FPE, ILL | TRAP | SIGSYS |
//! |---|---|---|---|---|
//! | guest | registers to the context, leave: `Preempted` | leave: fault | leave: fault; at the breakpoint: `Preempted` | leave: system call |
//! | trampoline | set `pending`, return (it runs straight into the host) | fault, at the moved instruction's own address | as if the instruction had run where it was | – |
//! | entry stub, or the way back from a fast call, up to the last jump | RIP := abort | at the jump: fault at the bad RIP | our bug | – |
//! | `guest_asm` | set `pending`, return | RIP := its fix-up | our bug | – |
//! | exit stub, other host code, vDSO | set `pending`, return | our bug: report, exit 125 | our bug | our bug |
//!
//! Host code that reads a counter which is kept from the guest gets its value (`counter`), wherever it is.
//!
//! # Invariants
//! 1. Handlers run on the vcpu's alternate stack with every signal masked, and on the host's FS; the
//!    FS found is put back. They allocate nothing, lock nothing, panic never and format only into a
//!    fixed buffer.
//! 2. A handler that takes the guest out leaves XMM and MXCSR in the context; what lies beyond goes
//!    back into the registers with the frame, where `fpu` expects it.
//! 3. Without `pending`, a kick's signal does nothing: it was late, its request is already answered.
//!
//! Sources: Linux, `arch/x86/include/uapi/asm/{ucontext,sigcontext}.h`, sigaction(2), sigaltstack(2).

use crate::block::{Block, bump};
use crate::entry::{self, HOST_HATES, LEFT_FAULT, LEFT_PREEMPTED, LEFT_SYSCALL, Sequence};
use crate::outside::{self, HostSignal};
use crate::patch::{self, Moved};
use crate::{counter, fault, guest_asm, poller, size, sud, vcpu};
use core::arch::{asm, global_asm};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use libc::{c_int, siginfo_t, ucontext_t};
use lwp_kernel::ctx::{Fault, FaultKind, UserCtx};
use lwp_kernel::machine::GUEST_BOUND;

/// The kick's signal: glibc's `SIGCANCEL`, which only `pthread_cancel` uses, and nobody here calls
/// that. It is a real-time signal, so it is never lost, and no twin of it can come from outside.
pub(crate) const SIG_KICK: c_int = 32;

/// Signals that tell of an exception.
const EXCEPTIONS: [c_int; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
];

/// Vectors of exceptions: a trap flag's, `int3`'s, and what an instruction that is not allowed raises.
const TRACE: u64 = 1;
const BREAKPOINT: u64 = 3;
pub(crate) const PROTECTION: u64 = 13;

/// All signals but the one by which host code may get the CPU's counter (`counter`): a fault cannot wait.
pub(crate) const HELD_BACK: u64 = !bit(libc::SIGSEGV);

/// Signals the host process ignores, because the kernel raises them itself where NetBSD would.
pub(crate) const IGNORED: [c_int; 2] = [libc::SIGPIPE, libc::SIGXFSZ];

/// Whether `rdgsbase` and the like may be used; read by the stub below.
static FSGSBASE: AtomicU8 = AtomicU8::new(0);

// The first instructions of every handler.
//
// On entry: rdi, rsi, rdx = signal number, siginfo, ucontext; the alternate stack; any FS; DF clear,
// but AC as the guest left it. rbx keeps the FS found; r12 is unused and keeps the stack aligned.
global_asm!(
    ".pushsection .text.lwp_machine_signal, \"ax\", @progbits",
    ".balign 64",
    ".globl lwp_signal_stub",
    ".hidden lwp_signal_stub",
    ".type lwp_signal_stub, @function",
    "lwp_signal_stub:",
    "    push rbx",
    "    push r12",
    "    pushfq",
    "    and dword ptr [rsp], {clean}",
    "    popfq",
    "    cmp byte ptr [rip + {fsgsbase}], 0",
    "    je 2f",
    "    rdgsbase rax",
    "    test rax, rax",
    "    jz 1f",
    "    rdfsbase rbx",
    "    mov rcx, gs:[{host_fs}]",
    "    wrfsbase rcx",
    "    mov rcx, rax",
    "    sub rsp, 8",
    "    call {on_vcpu}",
    "    add rsp, 8",
    "    wrfsbase rbx",
    "    pop r12",
    "    pop rbx",
    "    ret",
    // Not a vcpu: FS is the host's.
    "1:  pop r12",
    "    pop rbx",
    "    jmp {elsewhere}",
    // The same by arch_prctl: GET_GS, GET_FS, SET_FS. rdi, rsi, rdx wait on the stack.
    "2:  push rdi",
    "    push rsi",
    "    push rdx",
    "    sub rsp, 16",
    "    mov edi, 0x1004",
    "    mov rsi, rsp",
    "    mov eax, 158",
    "    syscall",
    "    mov r12, [rsp]",
    "    test r12, r12",
    "    jz 3f",
    "    mov edi, 0x1003",
    "    mov rsi, rsp",
    "    mov eax, 158",
    "    syscall",
    "    mov rbx, [rsp]",
    "    mov edi, 0x1002",
    "    mov rsi, gs:[{host_fs}]",
    "    mov eax, 158",
    "    syscall",
    "    add rsp, 16",
    "    pop rdx",
    "    pop rsi",
    "    pop rdi",
    "    mov rcx, r12",
    "    sub rsp, 8",
    "    call {on_vcpu}",
    "    add rsp, 8",
    "    mov edi, 0x1002",
    "    mov rsi, rbx",
    "    mov eax, 158",
    "    syscall",
    "    pop r12",
    "    pop rbx",
    "    ret",
    "3:  add rsp, 16",
    "    pop rdx",
    "    pop rsi",
    "    pop rdi",
    "    jmp 1b",
    ".size lwp_signal_stub, . - lwp_signal_stub",
    ".balign 16",
    ".globl lwp_signal_return",
    ".hidden lwp_signal_return",
    "lwp_signal_return:",
    "    mov rax, 15",
    "    syscall",
    ".popsection",
    clean = const !HOST_HATES.cast_signed(),
    fsgsbase = sym FSGSBASE,
    host_fs = const offset_of!(Block, host_fs),
    on_vcpu = sym on_vcpu,
    elsewhere = sym elsewhere,
);

unsafe extern "C" {
    static lwp_signal_stub: u8;
    static lwp_signal_return: u8;
}

/// What the kernel of Linux calls `struct sigaction`, not glibc's.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct KernelSigaction {
    handler: u64,
    flags: u64,
    restorer: u64,
    mask: u64,
}

const SA_RESTORER: u64 = 0x0400_0000;

/// Where a signal found the vcpu.
enum Place {
    Guest,
    Trampoline(Moved),
    Entering(Sequence),
    Fixable(u64),
    Host,
}

/// Installs every handler, once per process. Remembers what was ignored before.
pub(crate) fn install(has_fsgsbase: bool) -> Inherited {
    FSGSBASE.store(u8::from(has_fsgsbase), Ordering::Relaxed);
    let mut inherited = Inherited {
        ignored: 0,
        mask: set_mask(0),
    };
    for signo in 1..=64 {
        let action = match signo {
            libc::SIGKILL | libc::SIGSTOP | 33 => continue,
            _ if IGNORED.contains(&signo) => ignore(),
            // Without SA_RESTART: a vcpu that has come to wait in the host after all (a descriptor was
            // replaced by a pipe under its hands, a background process reads its terminal) comes back
            // at the next kick, and begins again from the guest.
            _ => catch(0),
        };
        if sigaction(signo, &action).handler == libc::SIG_IGN as u64 {
            inherited.ignored |= bit(signo);
        }
    }
    inherited
}

/// Signal state the process was started with, as Linux's bit sets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inherited {
    pub(crate) ignored: u64,
    pub(crate) mask: u64,
}

/// One signal's bit in a set of Linux's.
pub(crate) const fn bit(signo: c_int) -> u64 {
    1 << ((signo - 1) & 63)
}

/// Whether the runner ignores a signal for its own sake.
pub(crate) fn is_ignored_by_us(signo: c_int) -> bool {
    IGNORED.contains(&signo)
}

/// Sets the disposition of one signal to the default or to "ignore".
pub(crate) fn set_plain(signo: c_int, ignored: bool) {
    sigaction(
        signo,
        &if ignored {
            ignore()
        } else {
            KernelSigaction::default()
        },
    );
}

/// Whether children that end leave zombies; SIGCHLD comes all the same.
pub(crate) fn discard_children(discards: bool) {
    let flag = if discards { libc::SA_NOCLDWAIT } else { 0 };
    sigaction(libc::SIGCHLD, &catch(flag));
}

/// Puts our handler back after [`set_plain`].
pub(crate) fn set_caught(signo: c_int) {
    sigaction(signo, &catch(0));
}

/// Replaces this thread's signal mask, all 64 bits of it (glibc would keep two for itself).
pub(crate) fn set_mask(mask: u64) -> u64 {
    let mut old = 0_u64;
    // SAFETY: both sets are 8 bytes, as said.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            &raw mut old,
            8,
        )
    };
    assert_eq!(result, 0, "rt_sigprocmask accepts any mask");
    old
}

fn catch(restart: c_int) -> KernelSigaction {
    let flags = libc::SA_SIGINFO | libc::SA_ONSTACK | restart;
    KernelSigaction {
        handler: (&raw const lwp_signal_stub).addr() as u64,
        flags: u64::from(flags.cast_unsigned()) | SA_RESTORER,
        restorer: (&raw const lwp_signal_return).addr() as u64,
        mask: u64::MAX,
    }
}

fn ignore() -> KernelSigaction {
    KernelSigaction {
        handler: libc::SIG_IGN as u64,
        ..KernelSigaction::default()
    }
}

/// `rt_sigaction(2)`, as the kernel has it: signals 32 and 33 are not hidden.
fn sigaction(signo: c_int, new: &KernelSigaction) -> KernelSigaction {
    let mut old = KernelSigaction::default();
    // SAFETY: both structures have the kernel's layout, and the handler is `lwp_signal_stub`, which
    // keeps the kernel's calling convention, or none.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signo,
            &raw const *new,
            &raw mut old,
            8,
        );
    }
    old
}

/// A handler's frame on the alternate stack, of the signal being handled.
pub(crate) struct Frame<'a> {
    uc: &'a mut ucontext_t,
}

/// The place of one of libc's `REG_` numbers.
fn index(reg: c_int) -> usize {
    usize::try_from(reg).unwrap_or(0)
}

impl Frame<'_> {
    pub(crate) fn get(&self, reg: c_int) -> u64 {
        self.uc.uc_mcontext.gregs[index(reg)].cast_unsigned()
    }

    /// The low half of a register.
    fn word(&self, reg: c_int) -> u32 {
        u32::try_from(self.get(reg) & 0xffff_ffff).unwrap_or(0)
    }

    pub(crate) fn set(&mut self, reg: c_int, value: u64) {
        self.uc.uc_mcontext.gregs[index(reg)] = value.cast_signed();
    }

    pub(crate) fn rip(&self) -> u64 {
        self.get(libc::REG_RIP)
    }

    /// Makes the interrupted code go on at `rip`, as host code.
    fn go_on_at(&mut self, rip: u64) {
        self.set(libc::REG_RIP, rip);
        let flags = self.get(libc::REG_EFL) & !u64::from(HOST_HATES);
        self.set(libc::REG_EFL, flags);
    }

    /// Copies the guest's registers to `cx`: all of [`lwp_kernel::ctx::Regs`] but FS, XMM, MXCSR.
    fn save(&self, cx: &mut UserCtx) {
        let regs = &mut cx.regs;
        regs.rax = self.get(libc::REG_RAX);
        regs.rbx = self.get(libc::REG_RBX);
        regs.rcx = self.get(libc::REG_RCX);
        regs.rdx = self.get(libc::REG_RDX);
        regs.rsi = self.get(libc::REG_RSI);
        regs.rdi = self.get(libc::REG_RDI);
        regs.rbp = self.get(libc::REG_RBP);
        regs.rsp = self.get(libc::REG_RSP);
        regs.r8 = self.get(libc::REG_R8);
        regs.r9 = self.get(libc::REG_R9);
        regs.r10 = self.get(libc::REG_R10);
        regs.r11 = self.get(libc::REG_R11);
        regs.r12 = self.get(libc::REG_R12);
        regs.r13 = self.get(libc::REG_R13);
        regs.r14 = self.get(libc::REG_R14);
        regs.r15 = self.get(libc::REG_R15);
        regs.rip = self.get(libc::REG_RIP);
        regs.rflags = self.get(libc::REG_EFL);
        self.save_vectors(cx);
    }

    fn save_vectors(&self, cx: &mut UserCtx) {
        let image = self.uc.uc_mcontext.fpregs.cast::<FrameFp>();
        // SAFETY: Linux points `fpregs` into the frame it has just made, in FXSAVE's form at least;
        // the frame stays until the handler returns.
        let legacy = unsafe { &(*image).legacy };
        cx.fpu.mxcsr = legacy.mxcsr;
        cx.fpu.xmm = legacy.xmm;
        if legacy.sw_magic == XSTATE_MAGIC {
            // SAFETY: the magic number says that an XSAVE header follows the FXSAVE image.
            let xstate_bv = unsafe { (*image).xstate_bv };
            if xstate_bv & 2 == 0 {
                cx.fpu.xmm = [[0; 2]; 16];
            }
        }
    }
}

/// What the fields of an FXSAVE image are that a handler reads, in a frame of Linux's.
#[repr(C)]
struct FrameFp {
    legacy: FrameLegacy,
    xstate_bv: u64,
}

#[repr(C)]
struct FrameLegacy {
    x87: [u8; 24],
    mxcsr: u32,
    mxcsr_mask: u32,
    st: [u8; 128],
    xmm: [[u64; 2]; 16],
    reserved: [u8; 48],
    sw_magic: u32,
    sw_rest: [u8; 44],
}

const XSTATE_MAGIC: u32 = 0x4650_5853;
const _: () = assert!(offset_of!(FrameFp, xstate_bv) == 512);
const _: () = assert!(offset_of!(FrameLegacy, sw_magic) == 464);

/// Handles a signal on a vcpu thread. FS is the host's.
///
/// # Safety
/// Called by `lwp_signal_stub` alone, with what Linux passed it and the thread's block.
unsafe extern "C" fn on_vcpu(
    signo: c_int,
    info: *const siginfo_t,
    uc: *mut ucontext_t,
    block: *const Block,
) {
    // SAFETY: Linux made it for this handler.
    let info = unsafe { &*info };
    // SAFETY: as above; nobody else looks at this frame.
    let uc = unsafe { &mut *uc };
    // SAFETY: GS points to a block as long as it is not zero (`block`, invariant 1).
    let block = unsafe { &*block };
    let mut frame = Frame { uc };
    if signo == libc::SIGSYS && info.si_code == sud::SYS_USER_DISPATCH {
        on_syscall(block, &mut frame);
    } else if EXCEPTIONS.contains(&signo) && info.si_code > 0 {
        if !counter::emulate(&mut frame) {
            on_exception(block, &mut frame, signo, info);
        }
    } else {
        on_outside(block, &mut frame, signo, info);
    }
}

/// Handles a signal on a thread that is no vcpu.
///
/// # Safety
/// Called by `lwp_signal_stub` alone, with what Linux passed it.
unsafe extern "C" fn elsewhere(signo: c_int, info: *const siginfo_t, uc: *mut ucontext_t) {
    // SAFETY: Linux made it for this handler.
    let info = unsafe { &*info };
    // SAFETY: as above; nobody else looks at this frame.
    let uc = unsafe { &mut *uc };
    let mut frame = Frame { uc };
    if EXCEPTIONS.contains(&signo) && info.si_code > 0 {
        match guest_asm::fixup(frame.rip()) {
            Some(fixup) => frame.go_on_at(fixup),
            None if counter::emulate(&mut frame) => {}
            None => our_bug(signo, &frame),
        }
    } else if signo == libc::SIGSYS && info.si_code == sud::SYS_USER_DISPATCH {
        our_bug(signo, &frame);
    } else if signo != SIG_KICK {
        queue(signo, info);
        poller::interrupt();
    }
}

fn place(rip: u64) -> Place {
    if let Some(moved) = patch::moved(rip) {
        Place::Trampoline(moved)
    } else if rip < GUEST_BOUND {
        Place::Guest
    } else if let Some(sequence) = Sequence::of(rip) {
        Place::Entering(sequence)
    } else {
        guest_asm::fixup(rip).map_or(Place::Host, Place::Fixable)
    }
}

fn on_syscall(block: &Block, frame: &mut Frame<'_>) {
    if !matches!(place(frame.rip()), Place::Guest) {
        our_bug(libc::SIGSYS, frame);
    }
    block.count_slow(frame.rip().wrapping_sub(2));
    leave(block, frame, LEFT_SYSCALL);
}

fn on_outside(block: &Block, frame: &mut Frame<'_>, signo: c_int, info: &siginfo_t) {
    if signo != SIG_KICK {
        if !queue(signo, info) {
            return;
        }
        block.pending.store(1, Ordering::Relaxed);
    } else if info.si_code == libc::SI_TIMER {
        // SAFETY: a timer's siginfo carries the value it was made with.
        if unsafe { info.si_value() }.sival_ptr.addr() == vcpu::TICK {
            block.tick.store(u64::MAX, Ordering::Relaxed);
        }
        block.pending.store(1, Ordering::Relaxed);
    } else {
        // Pairs with the swap in `kick`: either this kick is seen below, or its own signal comes.
        block.kicked.store(0, Ordering::SeqCst);
    }
    if block.pending.load(Ordering::Relaxed) == 0 {
        return;
    }
    match place(frame.rip()) {
        Place::Guest => {
            bump(&block.kicks);
            // It has arrived there all the same, and goes on over it.
            if patch::is_breakpoint(frame.rip()) {
                block.hit.store(true, Ordering::Relaxed);
            }
            leave(block, frame, LEFT_PREEMPTED);
        }
        Place::Entering(sequence) => frame.go_on_at(sequence.abort()),
        Place::Trampoline(_) | Place::Fixable(_) | Place::Host => {}
    }
}

fn on_exception(block: &Block, frame: &mut Frame<'_>, signo: c_int, info: &siginfo_t) {
    let trapno = frame.get(libc::REG_TRAPNO);
    let is_step = trapno == TRACE;
    match place(frame.rip()) {
        Place::Guest if trapno == BREAKPOINT && patch::is_breakpoint(frame.rip() - 1) => {
            frame.set(libc::REG_RIP, frame.rip() - 1);
            block.hit.store(true, Ordering::Relaxed);
            leave(block, frame, LEFT_PREEMPTED);
        }
        Place::Guest => guest_fault(block, frame, signo, info, None),
        Place::Trampoline(moved) => on_trampoline_exception(block, frame, signo, info, &moved),
        Place::Entering(sequence) if frame.rip() == sequence.jump() => {
            let rip = block.guest_rip.load(Ordering::Relaxed);
            guest_fault(block, frame, signo, info, Some(rip));
        }
        Place::Fixable(fixup) if !is_step => frame.go_on_at(fixup),
        Place::Entering(_) | Place::Fixable(_) | Place::Host => our_bug(signo, frame),
    }
}

/// An exception in a trampoline: only the moved instruction can fault, and a step is over when it
/// has run.
fn on_trampoline_exception(
    block: &Block,
    frame: &mut Frame<'_>,
    signo: c_int,
    info: &siginfo_t,
    moved: &Moved,
) {
    let is_step = frame.get(libc::REG_TRAPNO) == TRACE;
    match (is_step, moved.has_run) {
        // The jump at the site is not an instruction of the guest's.
        (true, false) => {}
        (true, true) => guest_fault(block, frame, signo, info, Some(moved.next)),
        (false, false) => guest_fault(block, frame, signo, info, Some(moved.site)),
        (false, true) => our_bug(signo, frame),
    }
}

/// Takes the guest out with a fault, at `rip` if that is not where the frame says.
fn guest_fault(
    block: &Block,
    frame: &mut Frame<'_>,
    signo: c_int,
    info: &siginfo_t,
    rip: Option<u64>,
) {
    if let Some(rip) = rip {
        frame.set(libc::REG_RIP, rip);
    }
    let trapno = frame.word(libc::REG_TRAPNO);
    let kind = fault::kind(signo, info.si_code, trapno);
    let addr = match kind {
        FaultKind::TrapBrkpt | FaultKind::TrapTrace => frame.rip(),
        // SAFETY: an exception's siginfo carries an address.
        _ => (unsafe { info.si_addr() }).addr() as u64,
    };
    let err = frame.word(libc::REG_ERR);
    block.put_fault(&Fault {
        kind,
        addr,
        trapno,
        err,
    });
    leave(block, frame, LEFT_FAULT);
}

/// Saves the guest's registers and makes the frame return to the end of the exit stub.
fn leave(block: &Block, frame: &mut Frame<'_>, why: u64) {
    // SAFETY: the frame's RIP was in the guest, so the context `enter` was called with is still
    // borrowed by that call (`block`, invariant 2).
    let cx = unsafe { &mut *block.cx.load(Ordering::Relaxed) };
    frame.save(cx);
    frame.set(libc::REG_RSP, block.host_rsp.load(Ordering::Relaxed));
    frame.set(libc::REG_RAX, why);
    frame.go_on_at(entry::leave());
}

/// Queues a signal that came from outside; `false` if there is nothing in it for the kernel.
fn queue(signo: c_int, info: &siginfo_t) -> bool {
    let is_sent = info.si_code <= 0;
    let is_child = signo == libc::SIGCHLD && !is_sent;
    // SAFETY: with a code of 0 or less the union begins with pid and uid; otherwise the bytes are
    // there as well, and not used.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as above.
    let uid = unsafe { info.si_uid() };
    // SAFETY: as above; the value follows pid and uid.
    let value = unsafe { info.si_value() };
    // SAFETY: as above; a child's status follows pid and uid.
    let status = unsafe { info.si_status() };
    let has_sender = is_sent || is_child;
    outside::push(HostSignal {
        signo,
        code: info.si_code,
        pid: if has_sender { pid } else { 0 },
        uid: if has_sender { uid } else { 0 },
        value: match info.si_code {
            libc::SI_QUEUE => value.sival_ptr.addr() as u64,
            _ if is_child => u64::from(status.cast_unsigned()),
            _ => 0,
        },
    })
}

/// Says where host code faulted and ends the process with status 125.
fn our_bug(signo: c_int, frame: &Frame<'_>) -> ! {
    static REPORTING: AtomicU64 = AtomicU64::new(0);
    if REPORTING.fetch_add(1, Ordering::Relaxed) == 0 {
        let mut line = Line::default();
        line.text("lwp: internal error: signal ")
            .number(u64::from(signo.cast_unsigned()), 10);
        line.text(" at 0x").number(frame.rip(), 16);
        line.text(", address 0x")
            .number(frame.get(libc::REG_CR2), 16);
        line.text(", exit stub at 0x")
            .number(entry::exit_stub(), 16)
            .text("\n");
        line.write();
    }
    // SAFETY: ends the process.
    unsafe { libc::_exit(125) }
}

/// A line of text put together without allocation or formatting.
struct Line {
    bytes: [u8; 160],
    len: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            bytes: [0; 160],
            len: 0,
        }
    }
}

impl Line {
    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        for &byte in bytes {
            if let Some(to) = self.bytes.get_mut(self.len) {
                *to = byte;
                self.len += 1;
            }
        }
        self
    }

    fn number(&mut self, mut value: u64, base: u64) -> &mut Self {
        let mut digits = [0_u8; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b"0123456789abcdef"[size(value % base)];
            value /= base;
            if value == 0 || at == 0 {
                break;
            }
        }
        self.bytes(&digits[at..])
    }

    fn write(&self) {
        // SAFETY: the bytes are ours; write(2) may be called from handlers.
        unsafe {
            libc::write(2, self.bytes.as_ptr().cast(), self.len);
        }
    }
}

/// Sets this thread's GS base to its block, or to zero.
pub(crate) fn set_gs(block: *const Block) {
    let base = block.addr() as u64;
    if FSGSBASE.load(Ordering::Relaxed) == 0 {
        // SAFETY: host code has no use for GS, and the handlers only for what `block` says.
        unsafe {
            libc::syscall(libc::SYS_arch_prctl, 0x1001, base);
        }
    } else {
        // SAFETY: as above; the CPU and Linux allow the instruction (AT_HWCAP2).
        unsafe {
            asm!("wrgsbase {}", in(reg) base, options(nomem, nostack, preserves_flags));
        }
    }
}

/// This thread's FS base.
pub(crate) fn host_fs() -> u64 {
    let mut base = 0_u64;
    // SAFETY: ARCH_GET_FS writes one word.
    unsafe {
        libc::syscall(libc::SYS_arch_prctl, 0x1003, &raw mut base);
    }
    base
}
