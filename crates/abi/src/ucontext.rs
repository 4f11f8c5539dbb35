//! The context of an LWP: registers, mask and stack, as signal frames and `_lwp_create(2)` have them.
//!
//! Responsible for the layout and for the constants that judge one. Which contexts are accepted,
//! and what is taken from them, is the kernel's.
//!
//! Sources: getcontext(2), sys/ucontext.h, amd64/mcontext.h, amd64/psl.h, `_lwp_create(2)`.

use crate::signal::{SigSet, StackT};
use crate::table::numbers;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `__gregset_t`: the general registers, in NetBSD's order. `struct reg` of ptrace(2) is the same.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Gregs {
    /// A general register; argument 1 of a C function.
    pub rdi: u64,
    /// A general register; argument 2 of a C function.
    pub rsi: u64,
    /// A general register; argument 3 of a C function.
    pub rdx: u64,
    /// A general register; argument 4 of a C function.
    pub rcx: u64,
    /// A general register; argument 5 of a C function.
    pub r8: u64,
    /// A general register; argument 6 of a C function.
    pub r9: u64,
    /// A general register.
    pub r10: u64,
    /// A general register.
    pub r11: u64,
    /// A general register.
    pub r12: u64,
    /// A general register.
    pub r13: u64,
    /// A general register.
    pub r14: u64,
    /// A general register.
    pub r15: u64,
    /// A general register.
    pub rbp: u64,
    /// A general register.
    pub rbx: u64,
    /// A general register.
    pub rax: u64,
    /// Segment selector.
    pub gs: u64,
    /// Segment selector.
    pub fs: u64,
    /// Segment selector.
    pub es: u64,
    /// Segment selector.
    pub ds: u64,
    /// The trap that made the context.
    pub trapno: u64,
    /// The error code of that trap.
    pub err: u64,
    /// The next instruction.
    pub rip: u64,
    /// Segment selector.
    pub cs: u64,
    /// The flags.
    pub rflags: u64,
    /// The stack pointer.
    pub rsp: u64,
    /// Segment selector.
    pub ss: u64,
}

/// `__fpregset_t`: an FXSAVE image.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Fpregs {
    /// The image.
    pub fxsave: [u8; 512],
}

impl Default for Fpregs {
    fn default() -> Self {
        Self { fxsave: [0; 512] }
    }
}

impl core::fmt::Debug for Fpregs {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Fpregs").finish_non_exhaustive()
    }
}

/// `mcontext_t`: all registers.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Mcontext {
    /// The general registers; valid with [`_UC_CPU`].
    pub gregs: Gregs,
    /// The FS base; valid with [`_UC_TLSBASE`].
    pub tlsbase: u64,
    /// The vector and x87 registers; valid with [`_UC_FPU`].
    pub fpregs: Fpregs,
}

/// `ucontext_t`.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Ucontext {
    /// What of it is valid: [`UcFlags`].
    pub uc_flags: u32,
    /// Padding.
    pub pad: u32,
    /// The context to resume after this one. The kernel only keeps it.
    pub uc_link: u64,
    /// The blocked signals; valid with [`_UC_SIGMASK`].
    pub uc_sigmask: SigSet,
    /// The stack; valid with [`_UC_STACK`].
    pub uc_stack: StackT,
    /// The registers.
    pub uc_mcontext: Mcontext,
}

impl Ucontext {
    /// The flags, with unknown bits.
    pub fn flags(&self) -> UcFlags {
        UcFlags::from_bits_retain(self.uc_flags)
    }
}

/// The size of a [`Ucontext`] in every release.
pub const UCONTEXT_SIZE: usize = 784;

numbers! {
    /// Flags of [`Ucontext::uc_flags`].
    UC_FLAGS: u32 {
        _UC_CLRSTACK = 0x20000,
        _UC_CPU = 0x4,
        _UC_FPU = 0x8,
        _UC_MD_BIT16 = 0x10000,
        _UC_MD_BIT17 = 0x20000,
        _UC_MD_BIT18 = 0x40000,
        _UC_MD_BIT19 = 0x80000,
        _UC_MD_BIT20 = 0x10_0000,
        _UC_MD_BIT21 = 0x20_0000,
        _UC_MD_BIT30 = 0x4000_0000,
        _UC_MD_BIT5 = 0x20,
        _UC_SETSTACK = 0x10000,
        _UC_SIGMASK = 0x1,
        _UC_STACK = 0x2,
        /// `_mc_tlsbase` is valid.
        _UC_TLSBASE = 0x80000,
        /// NetBSD 11.
        _UC_XSAVE = 0x10_0000,
    }
}

bitflags::bitflags! {
    /// What of a [`Ucontext`] is valid, and what it asks for. Unknown bits survive.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct UcFlags: u32 {
        /// The signal mask is valid.
        const SIGMASK = _UC_SIGMASK;
        /// The stack is valid.
        const STACK = _UC_STACK;
        /// The general registers are valid.
        const CPU = _UC_CPU;
        /// The FXSAVE image is valid.
        const FPU = _UC_FPU;
        /// Note that the LWP is on its alternate stack.
        const SETSTACK = _UC_SETSTACK;
        /// Note that the LWP is not on its alternate stack.
        const CLRSTACK = _UC_CLRSTACK;
        /// The FS base is valid.
        const TLSBASE = _UC_TLSBASE;
        const _ = !0;
    }
}

impl UcFlags {
    /// What getcontext(2) reports: 0x8000f.
    pub const GETCONTEXT: Self =
        Self::from_bits_retain(_UC_SIGMASK | _UC_STACK | _UC_CPU | _UC_FPU | _UC_TLSBASE);
    /// What of the context in a signal frame is valid: 0x8000d.
    pub const SIGFRAME: Self =
        Self::from_bits_retain(_UC_SIGMASK | _UC_CPU | _UC_FPU | _UC_TLSBASE);
}

/// Selector of user code (CS of every LWP).
pub const SEL_UCODE: u64 = 0x47;
/// Selector of user data (SS of every LWP).
pub const SEL_UDATA: u64 = 0x3f;
/// The other selector of user code that a context may have.
pub const SEL_GUCODE: u64 = 0x1b;
/// The other selector of user data (DS and ES of every LWP).
pub const SEL_GUDATA: u64 = 0x23;

/// RFLAGS: carry.
pub const PSL_C: u64 = 0x1;
/// RFLAGS: parity.
pub const PSL_PF: u64 = 0x4;
/// RFLAGS: auxiliary carry.
pub const PSL_AF: u64 = 0x10;
/// RFLAGS: zero.
pub const PSL_Z: u64 = 0x40;
/// RFLAGS: sign.
pub const PSL_N: u64 = 0x80;
/// RFLAGS: single step.
pub const PSL_T: u64 = 0x100;
/// RFLAGS: interrupts are enabled.
pub const PSL_I: u64 = 0x200;
/// RFLAGS: string instructions go down.
pub const PSL_D: u64 = 0x400;
/// RFLAGS: overflow.
pub const PSL_V: u64 = 0x800;
/// RFLAGS: virtual 8086 mode.
pub const PSL_VM: u64 = 0x2_0000;
/// RFLAGS: alignment checks.
pub const PSL_AC: u64 = 0x4_0000;
/// RFLAGS: the bit that is always one.
pub const PSL_MBO: u64 = 0x2;

/// What a signal handler starts without.
pub const PSL_CLEARSIG: u64 = PSL_T | PSL_VM | PSL_AC | PSL_D;
/// What an LWP starts with.
pub const PSL_USERSET: u64 = PSL_MBO | PSL_I;
/// What a context may change. Of a context, only these are taken.
pub const PSL_USER: u64 = PSL_C | PSL_PF | PSL_AF | PSL_Z | PSL_N | PSL_T | PSL_V | PSL_D | PSL_AC;
/// What a context must have as [`PSL_USERSET`] has it: bits 1, 3, 5, 9, 12 to 15, 17, 19, 20, and
/// 22 to 31. (Bits 16 and 21, RF and ID, and those above 31 are not looked at.)
pub const PSL_USERSTATIC: u64 = 0xffda_f22a;

const _: () = assert!(size_of::<Ucontext>() == UCONTEXT_SIZE);
const _: () = assert!(PSL_USER & PSL_USERSTATIC == 0);
