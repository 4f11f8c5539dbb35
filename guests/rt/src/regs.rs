//! All registers: loaded, taken through a system call, and stored again.
//!
//! Responsible for [`probe`], which runs one call [`site`] with the registers of a [`State`] and
//! leaves the registers behind it in another. The judging (what may change) is [`State::expect`]'s.
//!
//! # Invariants
//! 1. Between the loads and the stores only the site's own instructions run; they use no memory
//!    but the stack, whose pointer is checked like the rest.
//! 2. AC, TF and the system flags are never loaded: the first two would trap.
//!
//! Sources: lwp.md 6.4 and L-266 to L-268; the shapes of call sites: syscalls.md 1.3.

pub mod capture;
mod probe;
pub mod shape;

use crate::sys::Raw;
use core::arch::x86_64;
use core::sync::atomic::{AtomicU32, Ordering};
use lwp_abi::ucontext::{PSL_AF, PSL_C, PSL_D, PSL_N, PSL_PF, PSL_USERSET, PSL_V, PSL_Z};

/// The flags that a program may set without a trap.
pub const FLAGS: u64 = PSL_C | PSL_PF | PSL_AF | PSL_Z | PSL_N | PSL_D | PSL_V;

/// All registers of user mode.
#[derive(Clone)]
#[repr(C, align(64))]
#[expect(
    missing_docs,
    reason = "the fields are the registers of the same names"
)]
pub struct State {
    /// x87, MXCSR and XMM, as FXSAVE stores them.
    pub fx: [u8; 512],
    /// The whole of ZMM0 to ZMM31, as far as the CPU has them.
    pub zmm: [[u64; 8]; 32],
    /// The mask registers.
    pub k: [u64; 8],
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
    pub rflags: u64,
    /// What a site's store has left in the word above the call's return address.
    pub stored: u64,
}

/// What the CPU has beyond SSE: 0 nothing, 1 AVX, 2 AVX-512 with 64-bit masks.
static LEVEL: AtomicU32 = AtomicU32::new(0);

/// Finds out what the CPU has, and keeps it for [`probe`].
pub fn level() -> u32 {
    let level = detect();
    LEVEL.store(level, Ordering::Relaxed);
    level
}

fn detect() -> u32 {
    const OSXSAVE_AVX: u32 = 1 << 27 | 1 << 28;
    const AVX512F_BW: u32 = 1 << 16 | 1 << 30;
    if x86_64::__cpuid(1).ecx & OSXSAVE_AVX != OSXSAVE_AVX {
        return 0;
    }
    let xcr0: u32;
    // SAFETY: OSXSAVE says that the instruction is there; it only reads.
    unsafe {
        core::arch::asm!("xgetbv", in("ecx") 0, out("eax") xcr0, out("edx") _, options(nomem, nostack));
    }
    match x86_64::__cpuid_count(7, 0).ebx {
        ebx if ebx & AVX512F_BW == AVX512F_BW && xcr0 & 0xe6 == 0xe6 => 2,
        _ if xcr0 & 6 == 6 => 1,
        _ => 0,
    }
}

/// Clobbers what a function may clobber and a signal handler's return must restore: vectors, the
/// x87 state, MXCSR.
pub fn clobber() {
    // SAFETY: the outputs say what is lost; control words are put back.
    unsafe {
        core::arch::asm!(
            "fninit",
            "fldpi",
            "fldpi",
            "pcmpeqd xmm0, xmm0",
            "pcmpeqd xmm7, xmm7",
            "pcmpeqd xmm15, xmm15",
            "fstp st(0)",
            "fstp st(0)",
            out("xmm0") _, out("xmm7") _, out("xmm15") _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            options(nomem, nostack),
        );
    }
    if LEVEL.load(Ordering::Relaxed) > 0 {
        // SAFETY: the CPU has AVX; all vector registers are given up.
        unsafe { core::arch::asm!("vzeroall", clobber_abi("C"), options(nomem, nostack)) };
    }
}

/// A generator of register contents: xorshift, seeded.
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts from a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }
}

/// Where the FXSAVE image keeps things.
const FCW: usize = 0;
const MXCSR: usize = 24;
const ST: usize = 32;
const XMM: usize = 160;

impl State {
    /// Everything zero, flags and control words as a program starts with.
    pub const fn new() -> Self {
        let mut state = Self {
            fx: [0; 512],
            zmm: [[0; 8]; 32],
            k: [0; 8],
            rax: 0,
            rbx: 0,
            rcx: 0,
            rdx: 0,
            rsi: 0,
            rdi: 0,
            rbp: 0,
            rsp: 0,
            r8: 0,
            r9: 0,
            r10: 0,
            r11: 0,
            r12: 0,
            r13: 0,
            r14: 0,
            r15: 0,
            rflags: PSL_USERSET,
            stored: 0,
        };
        state.set_control(0x037f, 0x1f80);
        state
    }

    /// Sets the x87 control word and MXCSR.
    pub const fn set_control(&mut self, fcw: u16, mxcsr: u32) {
        [self.fx[FCW], self.fx[FCW + 1]] = fcw.to_le_bytes();
        let at = MXCSR;
        [
            self.fx[at],
            self.fx[at + 1],
            self.fx[at + 2],
            self.fx[at + 3],
        ] = mxcsr.to_le_bytes();
    }

    /// Random contents. Pointers are random, too: the high bit of each general register is set, so
    /// that none is an address of the program.
    pub fn randomize(&mut self, random: &mut Random) {
        const HIGH: u64 = 1 << 63;
        for reg in [
            &mut self.rax,
            &mut self.rbx,
            &mut self.rcx,
            &mut self.rdx,
            &mut self.rsi,
            &mut self.rdi,
            &mut self.rbp,
            &mut self.r8,
            &mut self.r9,
            &mut self.r10,
            &mut self.r11,
            &mut self.r12,
            &mut self.r13,
            &mut self.r14,
            &mut self.r15,
        ] {
            *reg = random.draw() | HIGH;
        }
        self.rflags = PSL_USERSET | random.draw() & FLAGS;
        for word in self.zmm.iter_mut().flatten() {
            *word = random.draw();
        }
        for word in &mut self.k {
            *word = random.draw();
        }
        self.randomize_fx(random);
    }

    fn randomize_fx(&mut self, random: &mut Random) {
        // Rounding and the sticky flags; every exception stays masked.
        let [fcw, mxcsr, ..] = random.draw().to_le_bytes();
        let rounding = u16::from(fcw & 3);
        self.set_control(
            0x037f | rounding << 10,
            0x1f80 | u32::from(rounding) << 13 | u32::from(mxcsr & 0x3f),
        );
        // The x87 stack: full of normal numbers (sign and exponent, then a mantissa with its top).
        self.fx[4] = 0xff;
        for st in self.fx[ST..XMM].chunks_exact_mut(16) {
            st[..8].copy_from_slice(&(random.draw() | 1 << 63).to_le_bytes());
            st[8..10].copy_from_slice(&0x3fff_u16.to_le_bytes());
        }
        for (xmm, zmm) in self.fx[XMM..416].chunks_exact_mut(16).zip(&self.zmm) {
            xmm[..8].copy_from_slice(&zmm[0].to_le_bytes());
            xmm[8..].copy_from_slice(&zmm[1].to_le_bytes());
        }
    }

    /// The flags that matter.
    fn flags(&self) -> u64 {
        self.rflags & FLAGS
    }

    /// What the registers must be behind a call with this outcome; RCX and R11 are taken from
    /// `after`, as the call may leave anything in them, and so are the results.
    #[must_use]
    pub fn expect(&self, after: &Self, carry: bool) -> Self {
        let mut want = self.clone();
        want.rcx = after.rcx;
        want.r11 = after.r11;
        want.rax = after.rax;
        if !carry {
            want.rdx = after.rdx;
        }
        want.rflags = self.rflags & !PSL_C | if carry { PSL_C } else { 0 };
        want
    }

    /// The first register in which two states differ.
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        let found = |what, a: u64, b: u64| {
            (a != b).then_some(Difference {
                what,
                want: a,
                got: b,
            })
        };
        let (a, b) = (self, other);
        found("rax", a.rax, b.rax)
            .or_else(|| found("rbx", a.rbx, b.rbx))
            .or_else(|| found("rcx", a.rcx, b.rcx))
            .or_else(|| found("rdx", a.rdx, b.rdx))
            .or_else(|| found("rsi", a.rsi, b.rsi))
            .or_else(|| found("rdi", a.rdi, b.rdi))
            .or_else(|| found("rbp", a.rbp, b.rbp))
            .or_else(|| found("rsp", a.rsp, b.rsp))
            .or_else(|| found("r8", a.r8, b.r8))
            .or_else(|| found("r9", a.r9, b.r9))
            .or_else(|| found("r10", a.r10, b.r10))
            .or_else(|| found("r11", a.r11, b.r11))
            .or_else(|| found("r12", a.r12, b.r12))
            .or_else(|| found("r13", a.r13, b.r13))
            .or_else(|| found("r14", a.r14, b.r14))
            .or_else(|| found("r15", a.r15, b.r15))
            .or_else(|| found("rflags", a.flags(), b.flags()))
            .or_else(|| self.vector_difference(other))
    }

    fn vector_difference(&self, other: &Self) -> Option<Difference> {
        let word = |fx: &[u8; 512], at: usize, len: usize| {
            fx[at..at + len]
                .iter()
                .rev()
                .fold(0, |word, &byte| word << 8 | u64::from(byte))
        };
        // Not the last x87 instruction's address and operand (bytes 5 to 23): CPUs differ in them.
        let parts: [(&str, usize, usize); 4] = [
            ("fcw", FCW, 2),
            ("fsw", 2, 2),
            ("ftw", 4, 1),
            ("mxcsr", MXCSR, 4),
        ];
        for (what, at, len) in parts {
            let (want, got) = (word(&self.fx, at, len), word(&other.fx, at, len));
            if want != got {
                return Some(Difference { what, want, got });
            }
        }
        for st in 0..8 {
            for (part, len) in [(0, 8), (8, 2)] {
                let at = ST + 16 * st + part;
                let (want, got) = (word(&self.fx, at, len), word(&other.fx, at, len));
                if want != got {
                    return Some(Difference {
                        what: "st",
                        want,
                        got,
                    });
                }
            }
        }
        let (names, registers, words) = match LEVEL.load(Ordering::Relaxed) {
            0 => ("xmm", 16, 2),
            1 => ("ymm", 16, 4),
            _ => ("zmm", 32, 8),
        };
        for (a, b) in self.zmm.iter().zip(&other.zmm).take(registers) {
            for (&want, &got) in a.iter().zip(b).take(words) {
                if want != got {
                    return Some(Difference {
                        what: names,
                        want,
                        got,
                    });
                }
            }
        }
        let masks = if words == 8 { 8 } else { 0 };
        let differs = |(&want, &got): (&u64, &u64)| {
            (want != got).then_some(Difference {
                what: "k",
                want,
                got,
            })
        };
        self.k.iter().zip(&other.k).take(masks).find_map(differs)
    }

    /// The result, as the call's convention says.
    pub fn raw(&self) -> Raw {
        Raw {
            rax: self.rax,
            rdx: self.rdx,
            carry: self.rflags & PSL_C != 0,
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

/// A register that is not what it must be.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// Its name.
    pub what: &'static str,
    /// What it must be.
    pub want: u64,
    /// What it is.
    pub got: u64,
}

impl core::fmt::Display for Difference {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} is {:#x}, not {:#x}", self.what, self.got, self.want)
    }
}

/// Code that makes a system call and returns. See [`site`].
pub type Site = unsafe extern "C" fn();

/// Calls `site` with the registers of `before`; what they are afterwards comes to `after`. RSP is
/// not loaded: its value at the call is written to `before`.
pub fn probe(before: &mut State, after: &mut State, site: Site) {
    if LEVEL.load(Ordering::Relaxed) == 0 {
        level();
    }
    // SAFETY: the states are ours alone; `probe::probe_asm` keeps what the calling convention wants kept.
    unsafe { probe::probe_asm(before, after, site) };
    // Where there is no AVX, XMM is in the FXSAVE image alone.
    for (xmm, zmm) in after.fx[XMM..416].chunks_exact(16).zip(&mut after.zmm) {
        for (word, bytes) in zmm.iter_mut().zip(xmm.chunks_exact(8)) {
            *word = bytes
                .iter()
                .rev()
                .fold(0, |word, &byte| word << 8 | u64::from(byte));
        }
    }
}

/// Makes one call of a shape with random registers, and judges what it leaves.
///
/// # Errors
/// The first register that is wrong.
pub fn try_shape(
    random: &mut Random,
    (site, also): (Site, shape::Also),
    adjust: impl FnOnce(&mut State),
) -> Result<Raw, Difference> {
    let mut before = State::new();
    before.randomize(random);
    adjust(&mut before);
    let mut after = State::new();
    probe(&mut before, &mut after, site);
    let raw = after.raw();
    match also {
        shape::Also::Nothing => {}
        shape::Also::MovesRcx => before.r10 = before.rcx,
        shape::Also::LoadsRdx => before.rdx = 0,
        shape::Also::StoresR13 if after.stored == before.r13 => {}
        shape::Also::StoresR13 => {
            return Err(Difference {
                what: "stored",
                want: before.r13,
                got: after.stored,
            });
        }
    }
    before
        .expect(&after, raw.carry)
        .difference(&after)
        .map_or(Ok(raw), Err)
}
