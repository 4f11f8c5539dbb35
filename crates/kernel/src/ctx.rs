//! The state of one LWP in user mode: what `enter` loads and a trap leaves behind.
//!
//! Plain data (but for [`Ctx`], the place where an LWP keeps it), laid out for the machine's assembly (`repr(C)`, offsets by `offset_of!`). The kernel
//! reads and writes [`Regs`] freely between traps; of [`Fpu`] it knows only that the machine can
//! turn it into an FXSAVE image and back ([`crate::machine::UserMode`]).
//!
//! # Invariants
//! 1. A context is loaded on at most one vcpu, and only while [`Fpu::live`] is set may parts of its
//!    vector and x87 state exist in that vcpu's registers alone.
//! 2. [`crate::machine::UserMode::switch_out`] clears `live`; the kernel calls it before the LWP can
//!    be taken up by another vcpu (`CurLwp::block` is the one place).

use core::ops::{Deref, DerefMut};
use lwp_abi::errno::Errno;
use lwp_abi::ucontext::PSL_C;

/// The general registers of user mode. Segment selectors never vary and are not kept.
#[repr(C)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are the registers of the same names"
)]
pub struct Regs {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
    /// The FS base in force in user mode; `l_private` is the kernel's copy and may differ.
    pub fs_base: u64,
}

impl Regs {
    /// A system call has succeeded: its values, carry clear.
    pub fn succeed(&mut self, rax: u64, rdx: u64) {
        self.rax = rax;
        self.rdx = rdx;
        self.set_rflags(self.rflags & !PSL_C);
    }

    /// A system call has failed: carry set, RDX as it was.
    pub fn fail(&mut self, errno: Errno) {
        self.rax = u64::from(errno.raw().unsigned_abs());
        self.set_rflags(self.rflags | PSL_C);
    }

    /// Stores all eight bytes: the compiler would change one in place, and a CPU that is about to load them
    /// all would wait for that to reach its cache (5 ns).
    fn set_rflags(&mut self, rflags: u64) {
        self.rflags = core::hint::black_box(rflags);
    }
}

/// Vector and x87 state. All fields belong to the machine; the kernel only moves the whole.
#[repr(C, align(16))]
#[derive(Clone, Debug)]
pub struct Fpu {
    /// XMM0 to XMM15 as of the last trap: always in memory while the LWP is in the kernel.
    pub xmm: [[u64; 2]; 16],
    /// MXCSR, when not `live`.
    pub mxcsr: u32,
    /// The x87 control word, when not `live` and `ext` is `None`.
    pub fcw: u16,
    /// What is not XMM is still in the vcpu's registers.
    pub live: bool,
    /// Everything beyond XMM, MXCSR and a clean x87, when not `live` and there is any.
    pub ext: Option<Box<ExtState>>,
}

/// An XSAVE image in the machine's own format (64-byte aligned, standard form).
#[repr(C, align(64))]
#[derive(Clone, Debug)]
pub struct ExtState {
    /// The bytes; how many are used depends on the host CPU.
    pub bytes: [u8; ExtState::SIZE],
}

impl ExtState {
    /// Room for x87, SSE, AVX and AVX-512 state in XSAVE's standard form.
    pub const SIZE: usize = 2752;
}

impl Fpu {
    /// The x87 control word at exec.
    pub const FCW: u16 = 0x037f;

    /// Nothing of it is in registers, and nothing but XMM and MXCSR differs from the state at exec.
    pub fn is_plain(&self) -> bool {
        !self.live && self.ext.is_none() && self.fcw == Self::FCW
    }
}

impl Default for Fpu {
    /// The state at exec: everything zero, MXCSR 0x1f80, control word 0x037f.
    fn default() -> Self {
        Self {
            xmm: [[0; 2]; 16],
            mxcsr: 0x1f80,
            fcw: Self::FCW,
            live: false,
            ext: None,
        }
    }
}

/// A system call that a machine with fast calls may make by itself, because all it ever does is to succeed with
/// the same value.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What is in RAX for it, all of it.
    pub number: u64,
    /// What it returns.
    pub value: u64,
}

impl Default for Answer {
    /// None. (`syscall(2)` with rubbish in the upper half, which nobody asks of an LWP that has none.)
    fn default() -> Self {
        Self {
            number: 0xdead_beef_0000_0000,
            value: 0,
        }
    }
}

/// One LWP's user-mode state. Its alignment is what the allocator gives anyway: more would cost every new LWP
/// time and memory.
#[repr(C, align(16))]
#[derive(Clone, Debug, Default)]
pub struct UserCtx {
    /// General registers.
    pub regs: Regs,
    /// What the machine may answer.
    pub answer: Answer,
    /// Vector and x87 state.
    pub fpu: Fpu,
}

/// Where the current LWP keeps its user-mode state.
///
/// It is empty only while the LWP sleeps in a park whose end needs no kernel code of its own: then the state
/// is lent to `LwpSt::user`, so that whoever picks the LWP can go straight to user mode with it.
#[derive(Debug)]
pub struct Ctx(pub(crate) Option<Box<UserCtx>>);

impl Ctx {
    /// A place for `cx`.
    pub(crate) fn new(cx: UserCtx) -> Self {
        Self(Some(Box::new(cx)))
    }
}

impl Deref for Ctx {
    type Target = UserCtx;
    fn deref(&self) -> &UserCtx {
        self.0.as_deref().expect("an LWP that runs has its context")
    }
}

impl DerefMut for Ctx {
    fn deref_mut(&mut self) -> &mut UserCtx {
        self.0
            .as_deref_mut()
            .expect("an LWP that runs has its context")
    }
}

/// A 512-byte FXSAVE image, the form in which NetBSD shows FP state to programs.
#[repr(C, align(16))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fxsave(pub [u8; 512]);

/// Upper halves of vector registers, which NetBSD's signal frame has no room for.
///
/// Kept by the kernel for the time a handler runs; see `sigframe`.
pub type Uppers = Box<ExtState>;

/// Why the guest left user mode.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a trap nobody handles is a lost system call"]
pub enum Trap {
    /// A system call: number in RAX, `rip` behind the instruction, RCX and R11 unspecified.
    Syscall,
    /// An exception in user mode; `rip` is the faulting instruction.
    Fault(Fault),
    /// The machine was asked to come back ([`crate::machine::Vcpus::kick`], a tick, an outside signal).
    Preempted,
}

/// An exception taken in user mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What happened.
    pub kind: FaultKind,
    /// The address that faulted, or the instruction's own address.
    pub addr: u64,
    /// x86 vector number.
    pub trapno: u32,
    /// x86 error code.
    pub err: u32,
}

/// Kinds of exceptions, by the names of the signal codes they become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "named after si_code values, explained in `sig::fault_signal`"
)]
pub enum FaultKind {
    SegvMapErr,
    SegvAccErr,
    BusAdrAln,
    BusAdrErr,
    BusObjErr,
    FpeIntDiv,
    FpeIntOvf,
    FpeFltDiv,
    FpeFltOvf,
    FpeFltUnd,
    FpeFltRes,
    FpeFltInv,
    FpeFltSub,
    IllOpc,
    IllPrv,
    TrapBrkpt,
    TrapTrace,
}
