//! Contexts: what a signal handler finds on its stack, and `ucontext_t` in and out.
//!
//! Frames are NetBSD 10's, byte for byte (920 bytes, no room for the upper halves of vector registers).
//! Those are kept here, by frame address, and come back when the context of that frame is installed.
//!
//! Differs from NetBSD 10: there the upper halves are lost when a handler runs.
//!
//! Sources: `amd64/machdep.c: sendsig_siginfo, cpu_getmcontext, cpu_setmcontext,
//! cpu_mcontext_validate`; `kern_sig.c: getucontext, setucontext`; lwp.md 5.9, 5.10.

use crate::ctx::Regs;
use crate::lwp::CurLwp;
use crate::machine::{BadAddress, GUEST_BOUND};
use crate::sig::SigAct;
use crate::sync::atomic::Ordering;
use core::mem::{offset_of, size_of};
use lwp_abi::errno::Errno;
use lwp_abi::exec::VM_MAXUSER_ADDRESS;
use lwp_abi::signal::{SS_DISABLE, SS_ONSTACK, SaFlags, SigSet, Siginfo, StackT};
use lwp_abi::ucontext::{
    Gregs, Mcontext, PSL_CLEARSIG, PSL_USER, PSL_USERSTATIC, SEL_GUCODE, SEL_GUDATA, SEL_UCODE,
    SEL_UDATA, UcFlags, Ucontext,
};
use zerocopy::{FromZeros, Immutable, IntoBytes};

/// `struct sigframe_siginfo`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Sigframe {
    return_address: u64,
    info: Siginfo,
    uc: Ucontext,
}

const RED_ZONE: u64 = 128;
const FRAME: u64 = size_of::<Sigframe>() as u64;
const FRAME_UC: u64 = offset_of!(Sigframe, uc) as u64;
/// Frames whose upper halves are kept; more are handlers that never returned.
const UPPERS_MAX: usize = 64;

/// The FP state at handler entry and at exec: empty x87 stack, all exceptions masked.
fn initial_fxsave() -> [u8; 512] {
    let mut image = [0; 512];
    image[..2].copy_from_slice(&0x037f_u16.to_le_bytes());
    image[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
    image
}

impl CurLwp {
    /// `sendsig_siginfo`: builds the frame for a handler and makes the LWP continue there.
    ///
    /// # Errors
    /// The frame cannot be written, or the handler is no user address.
    pub(crate) fn sendsig(
        &mut self,
        act: &SigAct,
        info: &Siginfo,
        return_mask: SigSet,
    ) -> Result<(), BadAddress> {
        if act.handler >= GUEST_BOUND {
            return Err(BadAddress);
        }
        let sigstk = self.sigstk();
        let on_stack = sigstk.ss_flags & SS_ONSTACK != 0;
        let switch = act.flags.contains(SaFlags::ONSTACK)
            && sigstk.ss_flags & (SS_ONSTACK | SS_DISABLE) == 0;
        let top = if switch {
            sigstk.ss_sp.wrapping_add(sigstk.ss_size)
        } else {
            self.ctx.regs.rsp.wrapping_sub(RED_ZONE)
        };
        let at = (top.wrapping_sub(FRAME) & !15).wrapping_sub(8);
        let mut uc = self.getucontext();
        let stack = if on_stack {
            UcFlags::SETSTACK
        } else {
            UcFlags::CLRSTACK
        };
        uc.uc_flags = UcFlags::SIGFRAME.union(stack).bits();
        uc.uc_stack = StackT::new_zeroed();
        uc.uc_sigmask = return_mask;
        let (trapno, err) = core::mem::take(&mut self.rare_mut().fault_words);
        uc.uc_mcontext.gregs.trapno = u64::from(trapno);
        uc.uc_mcontext.gregs.err = u64::from(err);
        let frame = Sigframe {
            return_address: act.tramp,
            info: *info,
            uc,
        };
        self.kernel.machine.copyout(frame.as_bytes(), at)?;
        self.keep_uppers(at);
        let kernel = &self.kernel;
        kernel.machine.fpu_install(&mut self.ctx, &initial_fxsave());
        let regs = &mut self.ctx.regs;
        regs.rip = act.handler;
        regs.rsp = at;
        regs.rdi = u64::from(info.si_signo.unsigned_abs());
        regs.rsi = at + offset_of!(Sigframe, info) as u64;
        regs.rdx = at + FRAME_UC;
        regs.r15 = at + FRAME_UC;
        regs.rflags &= !PSL_CLEARSIG;
        if switch {
            self.rare_mut().sigstk.ss_flags |= SS_ONSTACK;
        }
        Ok(())
    }

    fn keep_uppers(&mut self, frame: u64) {
        let uppers = self.kernel.machine.uppers(&mut self.ctx);
        let kept = &mut self.rare_mut().uppers;
        kept.retain(|&(at, _)| at != frame);
        if let Some(uppers) = uppers {
            if kept.len() == UPPERS_MAX {
                kept.remove(0);
            }
            kept.push((frame, uppers));
        }
    }

    /// `getucontext`: the current context.
    pub fn getucontext(&mut self) -> Ucontext {
        let mut uc = Ucontext::new_zeroed();
        uc.uc_flags = UcFlags::GETCONTEXT.bits();
        uc.uc_link = self.rare().ctxlink;
        uc.uc_sigmask = self.sigmask();
        uc.uc_stack = if self.sigstk().ss_flags & SS_ONSTACK != 0 {
            self.sigstk()
        } else {
            let proc = &self.kernel.proc;
            StackT {
                ss_sp: proc.stack_base.load(Ordering::Relaxed),
                ss_size: proc.stack_size.load(Ordering::Relaxed),
                ..StackT::new_zeroed()
            }
        };
        uc.uc_mcontext.gregs = gregs(&self.ctx.regs);
        uc.uc_mcontext.tlsbase = self.private;
        uc.uc_mcontext.fpregs.fxsave = self.kernel.machine.fpu_image(&mut self.ctx).0;
        uc
    }

    /// `setucontext`: installs the context that was read from user address `from`.
    ///
    /// # Errors
    /// EINVAL: the registers are not acceptable. The signal mask has been changed by then.
    pub fn setucontext(&mut self, uc: &Ucontext, from: u64) -> Result<(), Errno> {
        let flags = uc.flags();
        if flags.contains(UcFlags::SIGMASK) {
            self.set_sigmask(uc.uc_sigmask);
        }
        if flags.contains(UcFlags::CPU) {
            self.mcontext_validate(&uc.uc_mcontext)?;
            set_gregs(&mut self.ctx.regs, &uc.uc_mcontext.gregs);
        }
        self.set_fp_and_tls(uc);
        let rare = self.rare_mut();
        if flags.contains(UcFlags::SETSTACK) {
            rare.sigstk.ss_flags |= SS_ONSTACK;
        }
        if flags.contains(UcFlags::CLRSTACK) {
            rare.sigstk.ss_flags &= !SS_ONSTACK;
        }
        rare.ctxlink = uc.uc_link;
        if flags.contains(UcFlags::STACK) {
            let on_stack = uc.uc_stack.ss_flags & SS_ONSTACK;
            rare.sigstk.ss_flags = (rare.sigstk.ss_flags & !SS_ONSTACK) | on_stack;
        }
        let kept = &mut rare.uppers;
        if let Some(index) = kept.iter().position(|&(at, _)| at + FRAME_UC == from) {
            let (_, uppers) = kept.swap_remove(index);
            self.kernel.machine.set_uppers(&mut self.ctx, &uppers);
        }
        Ok(())
    }

    /// The parts of a context beyond the general registers.
    pub(crate) fn set_fp_and_tls(&mut self, uc: &Ucontext) {
        let flags = uc.flags();
        if flags.contains(UcFlags::FPU) {
            let image = &uc.uc_mcontext.fpregs.fxsave;
            self.kernel.machine.fpu_install(&mut self.ctx, image);
        }
        if flags.contains(UcFlags::TLSBASE) {
            // A base that is no user address is kept as the private pointer only.
            let _ = self.set_private(uc.uc_mcontext.tlsbase);
        }
    }

    /// `lwp_setprivate`: sets the private pointer and the FS base.
    ///
    /// # Errors
    /// EINVAL: no user address; the private pointer has been set all the same.
    pub fn set_private(&mut self, ptr: u64) -> Result<(), Errno> {
        self.private = ptr;
        if ptr >= VM_MAXUSER_ADDRESS {
            return Err(Errno::EINVAL);
        }
        self.ctx.regs.fs_base = ptr;
        Ok(())
    }

    /// `cpu_mcontext_validate`.
    ///
    /// # Errors
    /// EINVAL: flags that a user may not change, selectors, or an instruction pointer outside user space.
    pub fn mcontext_validate(&self, mc: &Mcontext) -> Result<(), Errno> {
        let g = &mc.gregs;
        let nullable = [0, SEL_GUDATA, SEL_UDATA];
        let data = [SEL_GUDATA, SEL_UDATA];
        let sel = |value: u64| value & 0xffff;
        let fits = (g.rflags ^ self.ctx.regs.rflags) & PSL_USERSTATIC == 0
            && [g.es, g.fs, g.gs]
                .iter()
                .all(|&each| nullable.contains(&sel(each)))
            && [g.ds, g.ss].iter().all(|&each| data.contains(&sel(each)))
            && [SEL_GUCODE, SEL_UCODE].contains(&sel(g.cs))
            && g.rip < VM_MAXUSER_ADDRESS;
        if fits { Ok(()) } else { Err(Errno::EINVAL) }
    }
}

/// Registers as a program sees them.
fn gregs(regs: &Regs) -> Gregs {
    Gregs {
        rdi: regs.rdi,
        rsi: regs.rsi,
        rdx: regs.rdx,
        rcx: regs.rcx,
        r8: regs.r8,
        r9: regs.r9,
        r10: regs.r10,
        r11: regs.r11,
        r12: regs.r12,
        r13: regs.r13,
        r14: regs.r14,
        r15: regs.r15,
        rbp: regs.rbp,
        rbx: regs.rbx,
        rax: regs.rax,
        gs: 0,
        fs: 0,
        es: SEL_GUDATA,
        ds: SEL_GUDATA,
        trapno: 0,
        err: 0,
        rip: regs.rip,
        cs: SEL_UCODE,
        rflags: regs.rflags,
        rsp: regs.rsp,
        ss: SEL_UDATA,
    }
}

/// Takes registers from a validated context. Of the flags only what a user may change.
pub(crate) fn set_gregs(regs: &mut Regs, g: &Gregs) {
    *regs = Regs {
        rax: g.rax,
        rbx: g.rbx,
        rcx: g.rcx,
        rdx: g.rdx,
        rsi: g.rsi,
        rdi: g.rdi,
        rbp: g.rbp,
        rsp: g.rsp,
        r8: g.r8,
        r9: g.r9,
        r10: g.r10,
        r11: g.r11,
        r12: g.r12,
        r13: g.r13,
        r14: g.r14,
        r15: g.r15,
        rip: g.rip,
        rflags: (regs.rflags & !PSL_USER) | (g.rflags & PSL_USER),
        fs_base: regs.fs_base,
    };
}

const _: () = assert!(size_of::<Sigframe>() == 920);
