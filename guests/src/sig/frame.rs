//! Signal frames, alternate stacks, getcontext and setcontext: L-225 to L-247.

use core::sync::atomic::{AtomicU64, Ordering};
use rt::abi::nr::{SYS_GETCONTEXT, SYS_LWP_KILL};
use rt::abi::signal::{
    FPE_INTDIV, ILL_ILLOPC, SEGV_ACCERR, SEGV_MAPERR, SI_LWP, SS_DISABLE, SS_ONSTACK, SaFlags,
    SigSet, Siginfo, Signo, StackT,
};
use rt::abi::ucontext::{_UC_CPU, _UC_TLSBASE, PSL_C, PSL_D, Ucontext};
use rt::check::{Check, Fail, Verdict};
use rt::lwp::{self, spawn};
use rt::process::{self, in_child};
use rt::regs::capture::{self, Frame};
use rt::regs::{Random, State, probe, shape};
use rt::sync::Word;
use rt::sys::Arg as _;
use rt::{Errno, ensure, ensure_eq, ensure_err, sig, sys, sysctl, vm};

pub(crate) const CHECKS: &[Check] = &[
    ("L-225", alternate_stacks_are_per_lwp),
    ("L-226", alternate_stack_errors),
    ("L-227", handler_stack_is_aligned),
    ("L-228", handler_arguments),
    ("L-229", frame_layout),
    ("L-230", red_zone_is_kept),
    ("L-231", context_flags),
    ("frame/address", frame_address),
    ("frame/altstack", frame_on_the_alternate_stack),
    ("frame/registers", saved_registers),
    ("frame/siginfo", saved_siginfo),
    ("frame/entry-registers", registers_at_the_handler),
    ("frame/nested", nested_handlers),
    ("frame/bad-stack", no_room_for_the_frame),
    ("L-232", edited_mask),
    ("L-233", edited_rip),
    ("L-234", edited_cs),
    ("L-235", direction_flag),
    ("L-236", registers_survive_a_handler),
    ("L-237", control_words_at_the_handler),
    ("L-238", private_pointer_is_put_back),
    ("L-240/MAPERR", unmapped_address),
    ("L-240/ACCERR", protected_address),
    ("L-240/FPE", division_by_zero),
    ("L-240/ILL", illegal_instruction),
    ("L-241", blocked_trap_kills),
    ("L-242", what_getcontext_stores),
    ("L-243", setcontext_resumes),
    ("L-244", setcontext_errors),
    ("L-245", setcontext_changes_the_mask_first),
    ("L-246", setcontext_and_the_private_pointer),
    ("L-247", setcontext_cannot_block_sigkill),
];

const USR1: Signo = Signo::SIGUSR1;

/// What a signal to oneself did: registers before the call, at the handler, behind the call.
struct Taken {
    before: State,
    entry: State,
    frame: Frame,
    after: State,
}

/// Sends SIGUSR1 to the caller with random registers; the handler inspects its frame.
fn take(flags: SaFlags, seed: u64, edit: impl FnOnce(&mut State)) -> Result<Taken, Fail> {
    sig::action(USR1, capture::inspector_addr(), flags, SigSet::EMPTY)?;
    let (mut before, mut after) = (State::new(), State::new());
    before.randomize(&mut Random::new(seed));
    (before.rdi, before.rsi) = (lwp::me().arg(), USR1.raw().arg());
    edit(&mut before);
    let [(_, site, _), ..] = shape::all::<{ SYS_LWP_KILL }>();
    let count = capture::count();
    probe(&mut before, &mut after, site);
    after.raw().result()?;
    ensure_eq!(capture::count(), count + 1);
    let Some(frame) = capture::frame() else {
        return Err(Fail::new(format_args!("no frame")));
    };
    Ok(Taken {
        before,
        entry: capture::captured(),
        frame,
        after,
    })
}

/// RSP at the `syscall` instruction: inside the call that [`probe`] makes.
fn interrupted_rsp(taken: &Taken) -> u64 {
    taken.before.rsp - 8
}

fn handler_stack_is_aligned() -> Verdict {
    let taken = take(SaFlags::empty(), 227, |_| ())?;
    ensure_eq!((taken.entry.rsp + 8) % 16, 0);
    Ok(())
}

fn handler_arguments() -> Verdict {
    for flags in [SaFlags::empty(), SaFlags::SIGINFO] {
        let Taken { entry, .. } = take(flags, 228, |_| ())?;
        ensure_eq!(entry.rdi, USR1.raw().arg());
        ensure_eq!((entry.rsi, entry.rdx), (entry.rsp + 8, entry.rsp + 136));
    }
    Ok(())
}

fn frame_layout() -> Verdict {
    let Taken { entry, frame, .. } = take(SaFlags::empty(), 229, |_| ())?;
    ensure_eq!(entry.r15, entry.rdx);
    ensure_eq!(frame.ret, sig::trampoline_addr());
    Ok(())
}

fn frame_address() -> Verdict {
    let taken = take(SaFlags::empty(), 1, |_| ())?;
    let want = ((interrupted_rsp(&taken) - 128 - 920) & !15) - 8;
    ensure_eq!(taken.entry.rsp, want);
    Ok(())
}

fn red_zone_is_kept() -> Verdict {
    let taken = take(SaFlags::empty(), 230, |_| ())?;
    ensure!(taken.entry.rsp + 920 <= interrupted_rsp(&taken) - 128);
    Ok(())
}

fn context_flags() -> Verdict {
    let Taken { frame, .. } = take(SaFlags::empty(), 231, |_| ())?;
    ensure_eq!(frame.uc.uc_flags, 0xa_000d);
    ensure_eq!(
        (frame.uc.uc_link, frame.uc.uc_stack),
        (0, StackT::default())
    );
    Ok(())
}

fn frame_on_the_alternate_stack() -> Verdict {
    let area = sig::new_altstack(64 * 1024)?;
    let Taken { entry, frame, .. } = take(SaFlags::ONSTACK, 2, |_| ())?;
    ensure_eq!(entry.rsp, ((area.end() - 920) & !15) - 8);
    ensure_eq!(frame.uc.uc_flags, 0xa_000d);
    // The flag alone decides: without it the same signal goes to the ordinary stack.
    let Taken { entry, .. } = take(SaFlags::empty(), 3, |_| ())?;
    ensure!(entry.rsp < area.base || entry.rsp >= area.end());
    ensure_eq!(sig::altstack(None)?.ss_flags, 0);
    Ok(())
}

fn saved_registers() -> Verdict {
    let taken = take(SaFlags::empty(), 4, |_| ())?;
    let (g, b) = (&taken.frame.uc.uc_mcontext.gregs, &taken.before);
    let pairs = [
        ("rax", g.rax, 0),
        ("rbx", g.rbx, b.rbx),
        ("rdx", g.rdx, 0),
        ("rsi", g.rsi, b.rsi),
        ("rdi", g.rdi, b.rdi),
        ("rbp", g.rbp, b.rbp),
        ("rsp", g.rsp, interrupted_rsp(&taken)),
        ("r8", g.r8, b.r8),
        ("r9", g.r9, b.r9),
        ("r10", g.r10, b.r10),
        ("r12", g.r12, b.r12),
        ("r13", g.r13, b.r13),
        ("r14", g.r14, b.r14),
        ("r15", g.r15, b.r15),
        (
            "rflags",
            g.rflags & rt::regs::FLAGS,
            b.rflags & rt::regs::FLAGS & !PSL_C,
        ),
        ("rflags/static", g.rflags & 0x202, 0x202),
        ("cs", g.cs, 0x47),
        ("ss", g.ss, 0x3f),
    ];
    for (name, got, want) in pairs {
        ensure!(got == want, "{name} is {got:#x}, not {want:#x}");
    }
    let saved = &taken.frame.uc.uc_mcontext.fpregs.fxsave;
    ensure!(saved[160..416] == b.fx[160..416], "XMM");
    ensure!(saved[24..28] == b.fx[24..28], "MXCSR");
    ensure!(saved[..2] == b.fx[..2], "the x87 control word");
    ensure!(saved[32..42] == b.fx[32..42], "ST0");
    ensure_eq!(taken.frame.uc.uc_mcontext.tlsbase, lwp::private());
    ensure_eq!(taken.frame.uc.uc_sigmask, sig::mask());
    Ok(())
}

fn saved_siginfo() -> Verdict {
    let Taken { frame, .. } = take(SaFlags::empty(), 5, |_| ())?;
    let info = frame.info;
    ensure_eq!(
        (info.si_signo, info.si_code, info.si_errno),
        (USR1.raw(), SI_LWP, 0)
    );
    ensure_eq!(
        (info.pid().raw(), info.uid()),
        (process::pid(), process::euid())
    );
    Ok(())
}

fn registers_at_the_handler() -> Verdict {
    let Taken { before, entry, .. } = take(SaFlags::empty(), 6, |_| ())?;
    let got = [
        entry.rbx, entry.rbp, entry.r8, entry.r9, entry.r10, entry.r12, entry.r13, entry.r14,
    ];
    let want = [
        before.rbx, before.rbp, before.r8, before.r9, before.r10, before.r12, before.r13,
        before.r14,
    ];
    ensure_eq!(got, want);
    Ok(())
}

fn direction_flag() -> Verdict {
    let taken = take(SaFlags::empty(), 235, |state| state.rflags |= PSL_D)?;
    ensure_eq!(taken.entry.rflags & PSL_D, 0);
    ensure_eq!(taken.after.rflags & PSL_D, PSL_D);
    Ok(())
}

fn registers_survive_a_handler() -> Verdict {
    for seed in 0..50 {
        let Taken { before, after, .. } = take(SaFlags::empty(), seed, |_| ())?;
        if let Some(wrong) = before.expect(&after, false).difference(&after) {
            return Err(Fail::new(format_args!("{wrong}")));
        }
    }
    Ok(())
}

fn control_words_at_the_handler() -> Verdict {
    let Taken { entry, .. } = take(SaFlags::empty(), 237, |state| {
        state.set_control(0x0c7f, 0x7fbf);
    })?;
    ensure_eq!(u16::from_le_bytes([entry.fx[0], entry.fx[1]]), 0x037f);
    ensure_eq!(entry.fx[24..28], 0x1f80_u32.to_le_bytes());
    ensure!(
        entry.fx[4] == 0,
        "the x87 stack is not empty: {:#x}",
        entry.fx[4]
    );
    Ok(())
}

/// How deep [`nest`] is.
static DEPTH: Word = Word::new();

extern "C" fn nest(_: i32, _: &mut Siginfo, uc: &mut Ucontext) {
    let mask = sig::mask();
    let depth = DEPTH.add();
    if depth < 20 {
        let _ = lwp::kill(lwp::me(), USR1.raw());
    }
    // NODEFER: not blocked here, and what is saved is the mask around.
    if mask.contains(USR1) || uc.uc_sigmask.contains(USR1) {
        DEPTH.set(1000);
    }
}

fn nested_handlers() -> Verdict {
    sig::catch(USR1, nest, SaFlags::NODEFER)?;
    lwp::kill(lwp::me(), USR1.raw())?;
    ensure_eq!(DEPTH.get(), 21);
    Ok(())
}

/// Sends a signal to itself with a stack pointer where nothing is.
#[unsafe(naked)]
extern "C" fn kill_without_a_stack(lid: i32, signo: i32) {
    core::arch::naked_asm!(
        "mov rsp, 0x10000000",
        "mov eax, {nr}",
        "syscall",
        "ud2",
        nr = const SYS_LWP_KILL,
    )
}

fn no_room_for_the_frame() -> Verdict {
    let status = in_child(|| {
        let _ = sig::catch(USR1, nest, SaFlags::empty());
        kill_without_a_stack(lwp::me().raw(), USR1.raw());
        0
    })?;
    ensure_eq!(status.signal(), Some(Signo::SIGILL.raw()));
    Ok(())
}

extern "C" fn block_usr2(_: i32, _: &mut Siginfo, uc: &mut Ucontext) {
    uc.uc_sigmask.insert(Signo::SIGUSR2);
    uc.uc_sigmask.insert(Signo::SIGKILL);
}

fn edited_mask() -> Verdict {
    sig::catch(USR1, block_usr2, SaFlags::empty())?;
    lwp::kill(lwp::me(), USR1.raw())?;
    ensure_eq!(sig::mask(), SigSet::of(&[Signo::SIGUSR2]));
    Ok(())
}

/// An instruction that faults; [`jump`] goes on behind it.
#[unsafe(naked)]
extern "C" fn stumble() -> u64 {
    core::arch::naked_asm!("mov eax, 1", "ud2", "add eax, 100", "ret")
}

extern "C" fn jump(_: i32, _: &mut Siginfo, uc: &mut Ucontext) {
    uc.uc_mcontext.gregs.rip += 2;
    uc.uc_mcontext.gregs.rax += 20;
}

fn edited_rip() -> Verdict {
    sig::catch(Signo::SIGILL, jump, SaFlags::empty())?;
    for _ in 0..100 {
        ensure_eq!(stumble(), 121);
    }
    Ok(())
}

extern "C" fn spoil_cs(_: i32, _: &mut Siginfo, uc: &mut Ucontext) {
    uc.uc_mcontext.gregs.cs = 0x08;
}

fn edited_cs() -> Verdict {
    let status = in_child(|| {
        let _ = sig::catch(USR1, spoil_cs, SaFlags::empty());
        let _ = lwp::kill(lwp::me(), USR1.raw());
        1
    })?;
    ensure_eq!(status.code(), Some(255));
    Ok(())
}

extern "C" fn change_private(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
    let _ = lwp::setprivate(0x2_0000);
}

fn private_pointer_is_put_back() -> Verdict {
    let page = vm::map(vm::PAGE)?;
    lwp::setprivate(page.base)?;
    sig::catch(USR1, change_private, SaFlags::empty())?;
    lwp::kill(lwp::me(), USR1.raw())?;
    ensure_eq!(lwp::private(), page.base);
    Ok(())
}

static FAULT_CODE: Word = Word::new();
static FAULT_ADDR: AtomicU64 = AtomicU64::new(0);

/// Notes a fault, and lets [`touch`] or [`divide`] go on behind the instruction: RBX says where.
extern "C" fn note_fault(_: i32, info: &mut Siginfo, uc: &mut Ucontext) {
    FAULT_CODE.set(info.si_code.cast_unsigned());
    FAULT_ADDR.store(info.addr(), Ordering::SeqCst);
    uc.uc_mcontext.gregs.rip = uc.uc_mcontext.gregs.rdx;
}

/// Writes a byte.
fn touch(at: u64) {
    // SAFETY: the fault handler goes on behind the store, at the address in RDX.
    unsafe {
        core::arch::asm!(
            "lea rdx, [rip + 2f]",
            "mov byte ptr [{at}], 1",
            "2:",
            at = in(reg) at,
            out("rdx") _,
        );
    }
}

fn unmapped_address() -> Verdict {
    sig::catch(Signo::SIGSEGV, note_fault, SaFlags::SIGINFO)?;
    let page = vm::map(vm::PAGE)?;
    page.unmap();
    for at in [page.base + 5, vm::NOWHERE] {
        touch(at);
        ensure_eq!(FAULT_CODE.get(), SEGV_MAPERR.cast_unsigned());
        ensure_eq!(FAULT_ADDR.load(Ordering::SeqCst), at);
    }
    Ok(())
}

fn protected_address() -> Verdict {
    sig::catch(Signo::SIGSEGV, note_fault, SaFlags::SIGINFO)?;
    let page = vm::map(vm::PAGE)?;
    vm::mprotect(page.base, page.len, vm::PROT_READ)?;
    touch(page.base + 77);
    ensure_eq!(FAULT_CODE.get(), SEGV_ACCERR.cast_unsigned());
    ensure_eq!(FAULT_ADDR.load(Ordering::SeqCst), page.base + 77);
    Ok(())
}

fn division_by_zero() -> Verdict {
    sig::catch(Signo::SIGFPE, note_fault, SaFlags::SIGINFO)?;
    let at: u64;
    // SAFETY: the fault handler goes on behind the division, at the address in RDX.
    unsafe {
        core::arch::asm!(
            "lea rdx, [rip + 3f]",
            "lea {at}, [rip + 2f]",
            "xor ecx, ecx",
            "2: div rcx",
            "3:",
            at = out(reg) at,
            inout("rax") 1_u64 => _,
            out("rcx") _,
            out("rdx") _,
        );
    }
    ensure_eq!(FAULT_CODE.get(), FPE_INTDIV.cast_unsigned());
    ensure_eq!(FAULT_ADDR.load(Ordering::SeqCst), at);
    Ok(())
}

fn illegal_instruction() -> Verdict {
    sig::catch(Signo::SIGILL, note_fault, SaFlags::SIGINFO)?;
    let at: u64;
    // SAFETY: the fault handler goes on behind the instruction, at the address in RDX.
    unsafe {
        core::arch::asm!(
            "lea rdx, [rip + 3f]",
            "lea {at}, [rip + 2f]",
            "2: ud2",
            "3:",
            at = out(reg) at,
            out("rdx") _,
        );
    }
    ensure_eq!(FAULT_CODE.get(), ILL_ILLOPC.cast_unsigned());
    ensure_eq!(FAULT_ADDR.load(Ordering::SeqCst), at);
    Ok(())
}

fn blocked_trap_kills() -> Verdict {
    for ignored in [false, true] {
        let status = in_child(|| {
            let _ = sig::catch(Signo::SIGSEGV, note_fault, SaFlags::empty());
            if ignored {
                let _ = sig::ignore(Signo::SIGSEGV);
            } else {
                let _ = sig::block(Signo::SIGSEGV);
            }
            touch(vm::NOWHERE);
            0
        })?;
        ensure_eq!(status.signal(), Some(Signo::SIGSEGV.raw()));
    }
    Ok(())
}

fn alternate_stack_errors() -> Verdict {
    let area = vm::map(64 * 1024)?;
    let stack = |size, flags| StackT {
        ss_sp: area.base,
        ss_size: size,
        ss_flags: flags,
        pad: 0,
    };
    ensure_err!(sig::altstack(Some(&stack(8191, 0))), ENOMEM);
    ensure_err!(sig::altstack(Some(&stack(16384, 2))), EINVAL);
    ensure_err!(sig::altstack(Some(&stack(0, 0x100))), EINVAL);
    ensure_eq!(sig::altstack(None)?.ss_flags, SS_DISABLE);
    sig::altstack(Some(&stack(8192, 0)))?;
    ensure_eq!(sig::altstack(Some(&stack(0, SS_DISABLE)))?, stack(8192, 0));
    ensure_err!(sys!(SYS_SIGALTSTACK14, vm::NOWHERE, 0), EFAULT);
    on_it()
}

/// What sigaltstack(2) says to a handler that runs on the stack in question.
fn on_it() -> Verdict {
    static SEEN: Word = Word::new();
    extern "C" fn look(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
        let off = StackT::DISABLED;
        let refused = sig::altstack(Some(&off)) == Err(Errno::EINVAL);
        let told = sig::altstack(None).is_ok_and(|old| old.ss_flags & SS_ONSTACK != 0);
        SEEN.set(1 + u32::from(refused) + 2 * u32::from(told));
    }
    sig::new_altstack(64 * 1024)?;
    sig::catch(USR1, look, SaFlags::ONSTACK)?;
    lwp::kill(lwp::me(), USR1.raw())?;
    ensure_eq!(SEEN.get(), 4);
    ensure_eq!(sig::altstack(None)?.ss_flags & SS_ONSTACK, 0);
    Ok(())
}

fn alternate_stacks_are_per_lwp() -> Verdict {
    static RIGHT: Word = Word::new();
    extern "C" fn look(_: i32, info: &mut Siginfo, _: &mut Ucontext) {
        let at = info.arg();
        let own = sig::altstack(None).unwrap_or_default();
        if at >= own.ss_sp && at < own.ss_sp + own.ss_size {
            RIGHT.add();
        }
    }
    sig::catch(USR1, look, SaFlags::ONSTACK)?;
    let body = || {
        sig::new_altstack(32 * 1024)?;
        let own = sig::altstack(None)?;
        let _ = lwp::rest();
        Ok::<_, Errno>(own.ss_sp)
    };
    let tasks = [spawn(body), spawn(body)];
    for task in &tasks {
        sysctl::until_parked(task.lid)?;
        lwp::kill(task.lid, USR1.raw())?;
    }
    let [a, b] = tasks;
    ensure!(a.join()?? != b.join()??);
    ensure_eq!(RIGHT.get(), 2);
    Ok(())
}

fn what_getcontext_stores() -> Verdict {
    let page = vm::map(vm::PAGE)?;
    lwp::setprivate(page.base)?;
    sig::block(Signo::SIGUSR2)?;
    let uc = lwp::getcontext()?;
    ensure_eq!(uc.uc_flags, 0x8_000f);
    ensure_eq!(uc.uc_mcontext.tlsbase, page.base);
    ensure_eq!(uc.uc_sigmask, SigSet::of(&[Signo::SIGUSR2]));
    let g = uc.uc_mcontext.gregs;
    ensure_eq!(
        (g.cs, g.ss, g.ds, g.es, g.fs, g.gs),
        (0x47, 0x3f, 0x23, 0x23, 0, 0)
    );
    ensure_err!(sys!(SYS_GETCONTEXT, vm::NOWHERE), EFAULT);
    ensure_eq!(getcontext_registers()?, None);
    Ok(())
}

/// The first general register that getcontext(2) stores wrongly.
fn getcontext_registers() -> Result<Option<&'static str>, Errno> {
    let (mut before, mut after, mut uc) = (State::new(), State::new(), Ucontext::default());
    before.randomize(&mut Random::new(242));
    before.rdi = (&mut uc).arg();
    let [(_, site, _), ..] = shape::all::<{ SYS_GETCONTEXT }>();
    probe(&mut before, &mut after, site);
    after.raw().result()?;
    let g = uc.uc_mcontext.gregs;
    let pairs = [
        ("rbx", g.rbx, before.rbx),
        ("rbp", g.rbp, before.rbp),
        ("rsi", g.rsi, before.rsi),
        ("rsp", g.rsp, before.rsp - 8),
        ("r8", g.r8, before.r8),
        ("r10", g.r10, before.r10),
        ("r12", g.r12, before.r12),
        ("r15", g.r15, before.r15),
    ];
    Ok(pairs
        .iter()
        .find(|(_, got, want)| got != want)
        .map(|(name, ..)| *name))
}

/// How often [`twice`] has come out of getcontext(2) in one call.
static PASSES: Word = Word::new();

/// Captures a context; calls `between` with it, which is to install it; so comes out of the
/// capture a second time, and returns.
#[unsafe(naked)]
pub(crate) extern "C" fn twice(uc: &mut Ucontext, between: extern "C" fn(&mut Ucontext)) {
    core::arch::naked_asm!(
        "push rbx",
        "push r12",
        "push r13",
        "mov rbx, rdi",
        "mov r12, rsi",
        "mov dword ptr [rip + {passes}], 0",
        "mov eax, {getcontext}",
        "syscall",
        "inc dword ptr [rip + {passes}]",
        "cmp dword ptr [rip + {passes}], 1",
        "jne 20f",
        "mov rdi, rbx",
        "call r12",
        "20:",
        "pop r13",
        "pop r12",
        "pop rbx",
        "ret",
        getcontext = const SYS_GETCONTEXT,
        passes = sym PASSES,
    )
}

/// Installs a context: once more from where it was captured.
extern "C" fn install(uc: &mut Ucontext) {
    let _ = lwp::setcontext(uc);
}

fn setcontext_resumes() -> Verdict {
    twice(&mut Ucontext::default(), install);
    ensure_eq!(PASSES.get(), 2);
    Ok(())
}

/// Another private pointer than that of the context.
static OTHER: AtomicU64 = AtomicU64::new(0);

extern "C" fn change_and_install(uc: &mut Ucontext) {
    let _ = lwp::setprivate(OTHER.load(Ordering::SeqCst));
    install(uc);
}

extern "C" fn change_and_install_without(uc: &mut Ucontext) {
    uc.uc_flags &= !_UC_TLSBASE;
    change_and_install(uc);
}

fn setcontext_and_the_private_pointer() -> Verdict {
    let (first, second) = (vm::map(vm::PAGE)?.base, vm::map(vm::PAGE)?.base);
    OTHER.store(second, Ordering::SeqCst);
    for (between, want) in [
        (change_and_install as extern "C" fn(&mut Ucontext), first),
        (change_and_install_without, second),
    ] {
        lwp::setprivate(first)?;
        twice(&mut Ucontext::default(), between);
        ensure_eq!((PASSES.get(), lwp::private()), (2, want));
    }
    Ok(())
}

fn setcontext_errors() -> Verdict {
    let mut uc = lwp::getcontext()?;
    uc.uc_flags &= !_UC_CPU;
    ensure_err!(lwp::setcontext(&uc), EINVAL);
    ensure_err!(sys!(SYS_SETCONTEXT, vm::NOWHERE), EFAULT);
    ensure_err!(sys!(SYS_SETCONTEXT, u64::MAX - 100), EFAULT);
    for edit in [
        (|uc: &mut Ucontext| uc.uc_mcontext.gregs.cs = 0x10) as fn(&mut Ucontext),
        |uc| uc.uc_mcontext.gregs.ss = 0,
        |uc| uc.uc_mcontext.gregs.ds = 0x1b,
        |uc| uc.uc_mcontext.gregs.rflags = 0,
        |uc| uc.uc_mcontext.gregs.rip = 1 << 63,
    ] {
        let mut uc = lwp::getcontext()?;
        edit(&mut uc);
        ensure_err!(lwp::setcontext(&uc), EINVAL);
    }
    Ok(())
}

fn setcontext_changes_the_mask_first() -> Verdict {
    let mut uc = lwp::getcontext()?;
    uc.uc_sigmask = SigSet::of(&[USR1, Signo::SIGKILL]);
    uc.uc_mcontext.gregs.cs = 0x08;
    ensure_err!(lwp::setcontext(&uc), EINVAL);
    ensure_eq!(sig::mask(), SigSet::of(&[USR1]));
    Ok(())
}

fn setcontext_cannot_block_sigkill() -> Verdict {
    sig::setmask(SigSet::ALL)?;
    ensure!(!sig::mask().contains(Signo::SIGKILL) && !sig::mask().contains(Signo::SIGSTOP));
    let mut uc = lwp::getcontext()?;
    uc.uc_sigmask = SigSet::CANTMASK;
    uc.uc_mcontext.gregs.cs = 8;
    ensure_err!(lwp::setcontext(&uc), EINVAL);
    ensure!(sig::mask().is_empty());
    Ok(())
}
