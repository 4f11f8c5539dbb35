//! System calls as instructions.
//!
//! Responsible for the register convention (lwp.md 6.4, syscall(2)): number in RAX, arguments in
//! RDI, RSI, RDX, R10, R8, R9, then the stack; carry set means that RAX is an error number.

use crate::SysResult;
use core::arch::asm;
use lwp_abi::Errno;
use lwp_abi::lwp::LwpId;

/// What a system call leaves in the registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Raw {
    /// The first return value, or the error number.
    pub rax: u64,
    /// The second return value; on an error, what was there before.
    pub rdx: u64,
    /// Whether the carry flag says that it failed.
    pub carry: bool,
}

impl Raw {
    /// The usual reading.
    ///
    /// # Errors
    /// The call's own, when carry is set.
    ///
    /// # Panics
    /// When the number is none of NetBSD's.
    pub fn result(self) -> SysResult {
        if self.carry {
            let number = i32::try_from(self.rax).unwrap_or(-1);
            Err(Errno::from_raw(number).unwrap_or_else(|| panic!("errno {}", self.rax)))
        } else {
            Ok(self.rax)
        }
    }
}

/// Makes system call `NR` in the commonest shape: `mov $NR,%eax; syscall`.
#[inline]
pub fn raw<const NR: u16>(a: [u64; 6]) -> Raw {
    let (rax, rdx, carry): (u64, u64, u64);
    // SAFETY: see the crate's header.
    unsafe {
        asm!(
            "mov eax, {nr}",
            "syscall",
            "setc cl",
            "movzx ecx, cl",
            nr = const NR,
            lateout("rax") rax,
            lateout("rcx") carry,
            lateout("r11") _,
            in("rdi") a[0],
            in("rsi") a[1],
            inlateout("rdx") a[2] => rdx,
            in("r10") a[3],
            in("r8") a[4],
            in("r9") a[5],
            options(nostack),
        );
    }
    Raw {
        rax,
        rdx,
        carry: carry != 0,
    }
}

/// Makes the system call whose number is `rax`, by an instruction that stands alone.
#[inline(never)]
pub fn raw_nr(rax: u64, a: [u64; 6]) -> Raw {
    let (out, rdx, carry): (u64, u64, u64);
    // SAFETY: see the crate's header.
    unsafe {
        asm!(
            "nop",
            "syscall",
            "setc cl",
            "movzx ecx, cl",
            inlateout("rax") rax => out,
            lateout("rcx") carry,
            lateout("r11") _,
            in("rdi") a[0],
            in("rsi") a[1],
            inlateout("rdx") a[2] => rdx,
            in("r10") a[3],
            in("r8") a[4],
            in("r9") a[5],
            options(nostack),
        );
    }
    Raw {
        rax: out,
        rdx,
        carry: carry != 0,
    }
}

/// Makes a call with arguments on the stack, at 8, 16 and 24 above the stack pointer.
#[inline(never)]
pub fn raw_stack(rax: u64, a: [u64; 6], on_stack: [u64; 3]) -> Raw {
    let (out, rdx, carry): (u64, u64, u64);
    // SAFETY: see the crate's header. The stack pointer ends where it began.
    unsafe {
        asm!(
            "push qword ptr [r12 + 16]",
            "push qword ptr [r12 + 8]",
            "push qword ptr [r12]",
            "push 0",
            "syscall",
            "setc cl",
            "movzx ecx, cl",
            "add rsp, 32",
            inlateout("rax") rax => out,
            lateout("rcx") carry,
            lateout("r11") _,
            in("rdi") a[0],
            in("rsi") a[1],
            inlateout("rdx") a[2] => rdx,
            in("r10") a[3],
            in("r8") a[4],
            in("r9") a[5],
            in("r12") on_stack.as_ptr(),
        );
    }
    Raw {
        rax: out,
        rdx,
        carry: carry != 0,
    }
}

/// Makes system call `NR`.
///
/// # Errors
/// The call's own.
#[inline]
pub fn call<const NR: u16>(a: [u64; 6]) -> SysResult {
    raw::<NR>(a).result()
}

/// Fills up an argument list with zeros.
#[inline]
pub fn args<const N: usize>(given: [u64; N]) -> [u64; 6] {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&given);
    all
}

/// What can be an argument of a system call.
pub trait Arg {
    /// The register's value: integers sign-extended, pointers as addresses.
    fn arg(self) -> u64;
}

macro_rules! integer_args {
    ($($ty:ty => $via:ty),*) => {$(
        impl Arg for $ty {
            #[inline]
            fn arg(self) -> u64 {
                <$via>::from(self) as u64
            }
        }
    )*};
}
integer_args!(u64 => u64, u32 => u64, u16 => u64, u8 => u64, bool => u64);

impl Arg for i64 {
    #[inline]
    fn arg(self) -> u64 {
        self.cast_unsigned()
    }
}

impl Arg for i32 {
    #[inline]
    fn arg(self) -> u64 {
        i64::from(self).arg()
    }
}

impl Arg for usize {
    #[inline]
    fn arg(self) -> u64 {
        self as u64
    }
}

impl Arg for LwpId {
    #[inline]
    fn arg(self) -> u64 {
        self.raw().arg()
    }
}

impl<T> Arg for *const T {
    #[inline]
    fn arg(self) -> u64 {
        self.expose_provenance() as u64
    }
}

impl<T> Arg for *mut T {
    #[inline]
    fn arg(self) -> u64 {
        self.expose_provenance() as u64
    }
}

impl<T> Arg for &T {
    #[inline]
    fn arg(self) -> u64 {
        core::ptr::from_ref(self).arg()
    }
}

impl<T> Arg for &mut T {
    #[inline]
    fn arg(self) -> u64 {
        core::ptr::from_mut(self).arg()
    }
}

impl<T> Arg for Option<&T> {
    #[inline]
    fn arg(self) -> u64 {
        self.map_or(0, Arg::arg)
    }
}

impl<T> Arg for Option<&mut T> {
    #[inline]
    fn arg(self) -> u64 {
        self.map_or(0, Arg::arg)
    }
}

impl Arg for &core::ffi::CStr {
    #[inline]
    fn arg(self) -> u64 {
        self.as_ptr().arg()
    }
}

/// `sys!(SYS_KILL, pid, signo)`: makes a call by the name of its number in `lwp_abi::nr`.
#[macro_export]
macro_rules! sys {
    ($nr:ident $(, $arg:expr)* $(,)?) => {
        $crate::sys::call::<{ $crate::abi::nr::$nr }>(
            $crate::sys::args([$($crate::sys::Arg::arg($arg)),*])
        )
    };
}
