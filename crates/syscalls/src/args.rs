//! The arguments of a system call: registers and, from the seventh on, words of the guest's stack.
//!
//! Decoding is total: an `int` is the low half of its register, whatever the upper half holds.
//!
//! Sources: syscalls.md 1.1, 1.4, 1.6; the function `syscall` of amd64's `syscall.c`.

use crate::copy;
use lwp_abi::errno::Errno;
use lwp_kernel::CurLwp;
use lwp_kernel::ctx::Regs;

/// How many arguments come in registers.
const IN_REGISTERS: usize = 6;

/// Arguments, counted from 0. Having them says nothing about their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Args {
    words: [u64; IN_REGISTERS],
    /// Where the argument after those is.
    stack: u64,
}

impl Args {
    /// The arguments of a plain call. 0(RSP) is taken to be a return address.
    pub fn new(regs: &Regs) -> Self {
        Self {
            words: [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9],
            stack: regs.rsp.wrapping_add(8),
        }
    }

    /// The arguments of the call inside `syscall(2)` or `__syscall(2)`: one place later.
    ///
    /// The sixth is on the stack then. Three words of the stack are read whether the call has them or
    /// not.
    ///
    /// # Errors
    /// EFAULT: the stack is not there.
    pub fn shifted(&self, l: &CurLwp) -> Result<Self, Errno> {
        let [sixth, _, _] = copy::copyin_struct::<[u64; 3]>(l, self.stack)?;
        let mut words = self.words;
        words.rotate_left(1);
        words[IN_REGISTERS - 1] = sixth;
        Ok(Self {
            words,
            stack: self.stack.wrapping_add(8),
        })
    }

    /// An argument of 64 bits.
    ///
    /// # Panics
    /// If `i` is not below 6; the others come from [`Args::on_stack`].
    pub fn u64(&self, i: usize) -> u64 {
        self.words[i]
    }

    /// An address.
    pub fn ptr(&self, i: usize) -> u64 {
        self.u64(i)
    }

    /// A `size_t`.
    pub fn size(&self, i: usize) -> u64 {
        self.u64(i)
    }

    /// A signed argument of 64 bits, such as an `off_t`.
    pub fn i64(&self, i: usize) -> i64 {
        self.u64(i).cast_signed()
    }

    /// An argument of 32 bits, without sign.
    pub fn uint(&self, i: usize) -> u32 {
        u32::try_from(self.u64(i) & u64::from(u32::MAX)).unwrap_or(u32::MAX)
    }

    /// An `int`.
    pub fn int(&self, i: usize) -> i32 {
        self.uint(i).cast_signed()
    }

    /// The argument with number `6 + i`.
    ///
    /// # Errors
    /// EFAULT: the stack is not there.
    pub fn on_stack(&self, l: &CurLwp, i: u64) -> Result<u64, Errno> {
        copy::copyin_u64(l, self.stack.wrapping_add(i.wrapping_mul(8)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> Args {
        let regs = Regs {
            rdi: 0xdead_beef_ffff_ff9c,
            rsi: 0xffff_ffff,
            rdx: u64::MAX,
            r10: 4,
            r8: 5,
            r9: 6,
            rsp: 0x1000,
            ..Regs::default()
        };
        Args::new(&regs)
    }

    #[test]
    fn an_int_is_the_low_half_with_its_sign() {
        assert_eq!(args().int(0), -100);
        assert_eq!(args().int(1), -1);
        assert_eq!(args().uint(1), u32::MAX);
    }

    #[test]
    fn words_come_in_order_and_whole() {
        assert_eq!(
            (args().i64(2), args().u64(3), args().u64(4), args().u64(5)),
            (-1, 4, 5, 6)
        );
    }
}
