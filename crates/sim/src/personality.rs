//! The system calls of a simulated process: NetBSD's, and some of the sim's own, for what its programs have
//! no instructions or no files for. The low nine bits of their numbers are those of a call that the kernel does not
//! make on the spot.

use crate::nohost::NoHost;
use lwp_kernel::ctx::ExtState;
use lwp_kernel::fast::FastNumbers;
use lwp_kernel::{CurLwp, Outcome, Personality, Ret};
use lwp_syscalls::{Options, Unix};
use std::sync::Arc;

/// Ends all LWPs but the caller, as execve(2) does.
pub(crate) const SINGLE_THREADED: u16 = 0x600;
/// Puts a number into the upper half of a vector register.
pub(crate) const SET_UPPER: u16 = 0x800;
/// Returns that number.
pub(crate) const GET_UPPER: u16 = 0xa00;

/// See the module.
pub(crate) struct Calls(Unix);

impl Calls {
    /// The calls of a new process.
    pub(crate) fn new() -> Self {
        let options = Options {
            is_quiet: true,
            ..Options::default()
        };
        Self(Unix::new(Arc::new(NoHost), options))
    }
}

impl Personality for Calls {
    fn syscall<'a>(&'a self, l: &'a mut CurLwp) -> Outcome<'a> {
        match u16::try_from(l.ctx.regs.rax) {
            Ok(SINGLE_THREADED) => Outcome::Sleep(Box::pin(async {
                l.single_threaded().await?;
                Ok(Ret::ZERO)
            })),
            Ok(SET_UPPER) => {
                let mut bytes = [0; ExtState::SIZE];
                bytes[..8].copy_from_slice(&l.ctx.regs.rdi.to_le_bytes());
                l.ctx.fpu.ext = Some(Box::new(ExtState { bytes }));
                Outcome::Done(Ok(Ret::ZERO))
            }
            Ok(GET_UPPER) => {
                let mut value = [0; 8];
                if let Some(ext) = &l.ctx.fpu.ext {
                    value.copy_from_slice(&ext.bytes[..8]);
                }
                Outcome::Done(Ok(Ret(u64::from_le_bytes(value), 0)))
            }
            _ => self.0.syscall(l),
        }
    }

    fn fast_numbers(&self) -> FastNumbers {
        self.0.fast_numbers()
    }
}
