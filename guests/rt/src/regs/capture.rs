//! Registers at a first instruction: of a new LWP, and of a signal handler.
//!
//! The code stores into one static block and touches no register before it has stored it.

use super::State;
use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, Ordering};
use lwp_abi::nr::SYS_LWP_EXIT;
use lwp_abi::signal::Siginfo;
use lwp_abi::ucontext::Ucontext;

#[repr(transparent)]
struct Block(UnsafeCell<State>);

// SAFETY: one LWP writes at a time, and says so by `DONE`; see `captured`.
unsafe impl Sync for Block {}

static BLOCK: Block = Block(UnsafeCell::new(State::new()));

/// How often something was captured.
static DONE: AtomicU32 = AtomicU32::new(0);

/// Makes a naked function that stores all registers in [`BLOCK`], adds one to [`DONE`], and goes
/// on with the code given. It loses the arithmetic flags only.
macro_rules! capture {
    ($(#[$doc:meta])* $name:ident, $($then:literal),+) => {
        $(#[$doc])*
        #[unsafe(naked)]
        pub extern "C" fn $name() {
            naked_asm!(
                "mov [rip + {block} + {rsp}], rsp",
                "pushfq",
                "pop qword ptr [rip + {block} + {rflags}]",
                "mov [rip + {block} + {rax}], rax",
                "mov [rip + {block} + {rbx}], rbx",
                "mov [rip + {block} + {rcx}], rcx",
                "mov [rip + {block} + {rdx}], rdx",
                "mov [rip + {block} + {rsi}], rsi",
                "mov [rip + {block} + {rdi}], rdi",
                "mov [rip + {block} + {rbp}], rbp",
                "mov [rip + {block} + {r8}], r8",
                "mov [rip + {block} + {r9}], r9",
                "mov [rip + {block} + {r10}], r10",
                "mov [rip + {block} + {r11}], r11",
                "mov [rip + {block} + {r12}], r12",
                "mov [rip + {block} + {r13}], r13",
                "mov [rip + {block} + {r14}], r14",
                "mov [rip + {block} + {r15}], r15",
                "fxsave64 [rip + {block} + {fx}]",
                "lock inc dword ptr [rip + {done}]",
                $($then,)+
                // Named, so that every variant uses every operand.
                "# {exit} {inspect}",
                block = sym BLOCK,
                done = sym DONE,
                exit = const SYS_LWP_EXIT,
                inspect = sym inspect,
                fx = const offset_of!(State, fx),
                rsp = const offset_of!(State, rsp),
                rflags = const offset_of!(State, rflags),
                rax = const offset_of!(State, rax),
                rbx = const offset_of!(State, rbx),
                rcx = const offset_of!(State, rcx),
                rdx = const offset_of!(State, rdx),
                rsi = const offset_of!(State, rsi),
                rdi = const offset_of!(State, rdi),
                rbp = const offset_of!(State, rbp),
                r8 = const offset_of!(State, r8),
                r9 = const offset_of!(State, r9),
                r10 = const offset_of!(State, r10),
                r11 = const offset_of!(State, r11),
                r12 = const offset_of!(State, r12),
                r13 = const offset_of!(State, r13),
                r14 = const offset_of!(State, r14),
                r15 = const offset_of!(State, r15),
            )
        }
    };
}

capture! {
    /// The first instruction of an LWP that only captures, and exits. It needs 8 bytes of stack.
    and_exit, "mov eax, {exit}", "syscall", "ud2"
}

capture! {
    /// A signal handler that only captures, and returns to the trampoline.
    and_return, "ret"
}

capture! {
    /// A signal handler that captures, keeps a copy of its [`Frame`], clobbers what it may, and
    /// returns to the trampoline.
    and_inspect, "jmp {inspect}"
}

/// What the kernel pushes for a signal handler (lwp.md 5.10).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Frame {
    /// The return address: the trampoline.
    pub ret: u64,
    /// What RSI points to.
    pub info: Siginfo,
    /// What RDX and R15 point to.
    pub uc: Ucontext,
}

const _: () = assert!(size_of::<Frame>() == 920);

struct Frames(UnsafeCell<Option<Frame>>);

// SAFETY: as `Block`.
unsafe impl Sync for Frames {}

static FRAME: Frames = Frames(UnsafeCell::new(None));

/// The rest of [`and_inspect`].
extern "C" fn inspect(_: i32, info: *const u64, _: u64) {
    let at = info.wrapping_sub(1).cast::<Frame>();
    // SAFETY: the kernel's frame, if RSI is right; a fault fails the check.
    let frame = unsafe { at.read() };
    // SAFETY: one LWP captures at a time.
    unsafe { *FRAME.0.get() = Some(frame) };
    super::clobber();
}

/// The frame that [`and_inspect`] found last. Only for a program in which nothing captures now.
pub fn frame() -> Option<Frame> {
    // SAFETY: complete, as `count` has told the caller.
    unsafe { *FRAME.0.get() }
}

/// The address of [`and_inspect`].
pub fn inspector_addr() -> u64 {
    let f: extern "C" fn() = and_inspect;
    f as usize as u64
}

/// The address of [`and_exit`].
pub fn exit_addr() -> u64 {
    let f: extern "C" fn() = and_exit;
    f as usize as u64
}

/// The address of [`and_return`].
pub fn handler_addr() -> u64 {
    let f: extern "C" fn() = and_return;
    f as usize as u64
}

/// How often something was captured.
pub fn count() -> u32 {
    DONE.load(Ordering::Acquire)
}

/// What was captured last. Only for a program in which nothing captures now.
pub fn captured() -> State {
    // SAFETY: complete, as `count` has told the caller.
    unsafe { (*BLOCK.0.get()).clone() }
}
