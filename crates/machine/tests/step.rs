//! A signal at every single instruction of entering, running and leaving the guest.
//!
//! The trap flag is set before `enter` and kept set throughout by a handler of the test's own, in
//! place of the machine's: it counts the traps, and at the chosen one raises a signal from outside, which
//! is delivered when the handler returns, before the next instruction. Whatever that instruction
//! is, the guest's registers must come out right, and the signal once.

mod common;

use common::{Guest, Random, Script, TWO_CALLS};
use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::Relaxed};
use libc::{c_int, siginfo_t, ucontext_t};
use lwp_abi::signal::Signo;
use lwp_kernel::ctx::{Answer, FaultKind, Trap, UserCtx};
use lwp_kernel::machine::{Event, FastEnd, GUEST_BOUND, Poller, UserMode, Wait};

const TF: u64 = 1 << 8;
const PUSHFQ: u8 = 0x9c;
const POPFQ: u8 = 0x9d;
const IRETQ: [u8; 2] = [0x48, 0xcf];

/// Traps seen, the one to raise the signal at, and what to raise it with.
static SEEN: AtomicU64 = AtomicU64::new(0);
static WANTED: AtomicU64 = AtomicU64::new(0);
static PID: AtomicI32 = AtomicI32::new(0);
static TID: AtomicI32 = AtomicI32::new(0);

/// `enter` is being stepped through.
static STEPPING: AtomicBool = AtomicBool::new(false);

/// Counts a step. Runs on whatever FS there is, so it may not use anything of libc's, nor panic.
extern "C" fn on_step(_: c_int, _: *const siginfo_t, uc: *mut ucontext_t) {
    // SAFETY: Linux made it for this handler.
    let regs = unsafe { &mut (*uc).uc_mcontext.gregs };
    if !STEPPING.load(Relaxed) {
        return;
    }
    let step = SEEN.load(Relaxed) + 1;
    SEEN.store(step, Relaxed);
    if step == WANTED.load(Relaxed) {
        raise();
    }
    let rip = regs[16].cast_unsigned();
    if rip < GUEST_BOUND {
        return;
    }
    let rsp = regs[15].cast_unsigned();
    // Host code that looks at or sets the flags must not meet, or lose, the test's own.
    // SAFETY: the instruction about to run.
    let byte = unsafe { *core::ptr::with_exposed_provenance::<u8>(at(rip)) };
    if byte == PUSHFQ {
        let to = core::ptr::with_exposed_provenance_mut::<u64>(at(rsp) - 8);
        // SAFETY: where the instruction would store.
        unsafe { *to = regs[17].cast_unsigned() & !TF };
        regs[15] -= 8;
        regs[16] += 1;
    } else if byte == POPFQ {
        let from = core::ptr::with_exposed_provenance::<u64>(at(rsp));
        // SAFETY: where the instruction would load from.
        regs[17] = unsafe { *from | TF | 2 }.cast_signed();
        regs[15] += 8;
        regs[16] += 1;
    } else if byte == IRETQ[0] {
        let next = core::ptr::with_exposed_provenance::<u8>(at(rip) + 1);
        // SAFETY: what an instruction that begins with this prefix goes on with.
        if unsafe { *next } == IRETQ[1] {
            let flags = core::ptr::with_exposed_provenance_mut::<u64>(at(rsp) + 16);
            // SAFETY: where the instruction will load from.
            unsafe { *flags |= TF };
        }
    }
}

/// An address as a `usize`, which is as wide.
#[expect(clippy::cast_possible_truncation, reason = "64-bit hosts only")]
fn at(address: u64) -> usize {
    address as usize
}

/// SIGUSR1 to this thread, without libc.
fn raise() {
    // SAFETY: tgkill, with the registers the call clobbers named.
    unsafe {
        asm!("syscall", inlateout("rax") libc::SYS_tgkill => _, in("rdi") PID.load(Relaxed),
            in("rsi") TID.load(Relaxed), in("rdx") libc::SIGUSR1, lateout("rcx") _,
            lateout("r11") _);
    }
}

unsafe extern "C" {
    fn step_return();
}

core::arch::global_asm!(
    ".globl step_return",
    "step_return:",
    "mov rax, 15",
    "syscall"
);

/// Installs [`on_step`], without the stub that libc or the machine would put before it.
fn install() {
    // SAFETY: no arguments.
    PID.store(unsafe { libc::getpid() }, Relaxed);
    // SAFETY: no arguments.
    TID.store(unsafe { libc::gettid() }, Relaxed);
    let flags = (libc::SA_SIGINFO | libc::SA_ONSTACK) as u64 | 0x0400_0000;
    let action = [
        on_step as *const () as u64,
        flags,
        step_return as *const () as u64,
        u64::MAX,
    ];
    let none = core::ptr::null_mut::<u64>();
    // SAFETY: the kernel's `struct sigaction`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            libc::SIGTRAP,
            action.as_ptr(),
            none,
            8,
        )
    };
    assert_eq!(result, 0);
}

/// Enters the guest with the trap flag set.
fn stepping<T>(enter: impl FnOnce() -> T) -> T {
    STEPPING.store(true, Relaxed);
    // SAFETY: `on_step` takes the traps.
    unsafe { asm!("pushfq", "or dword ptr [rsp], 0x100", "popfq") };
    let trap = enter();
    STEPPING.store(false, Relaxed);
    // SAFETY: ends the stepping.
    unsafe { asm!("pushfq", "and dword ptr [rsp], 0xfffffeff", "popfq") };
    trap
}

/// Runs `code` once for each instruction, with the signal there, until there are no more of them.
///
/// `flags` are the guest's. Returns how many instructions there were.
fn step_through(guest: &Guest, code: &[u8], flags: u64, wanted: &Trap, after: u64) -> u64 {
    let at = guest.text(code);
    let mut random = Random(42);
    for step in 1.. {
        let mut cx = guest.cx(at);
        cx.regs.rbx = random.next();
        cx.regs.r9 = random.next();
        cx.regs.r15 = random.next();
        cx.regs.rflags |= flags;
        cx.regs.fs_base = random.next() >> 17;
        cx.fpu.xmm[3] = [random.next(), random.next()];
        let start = cx.clone();
        WANTED.store(step, Relaxed);
        SEEN.store(0, Relaxed);
        let mut trap = stepping(|| guest.enter(&mut cx));
        let seen = SEEN.load(Relaxed);
        while trap == Trap::Preempted {
            trap = guest.enter(&mut cx);
        }
        assert_eq!(&trap, wanted, "step {step}");
        let mut expected = start.regs.clone();
        expected.rip = at + after;
        expected.rax = cx.regs.rax;
        expected.rcx = cx.regs.rcx;
        expected.r11 = cx.regs.r11;
        expected.rflags |= cx.regs.rflags & (TF | 0x1_0000);
        assert_eq!(cx.regs, expected, "step {step}");
        assert_eq!(cx.fpu.xmm, start.fpu.xmm, "step {step}");
        if settle(guest, at, step, seen) {
            return seen;
        }
    }
    unreachable!("there are infinitely many numbers")
}

/// After a run of `seen` steps with a signal at `step`: it has come, once, if the run was long enough; else
/// `true`.
fn settle(guest: &Guest, at: u64, step: u64, seen: u64) -> bool {
    let mut signals = Vec::new();
    guest.machine.poll(0, Wait::No, &mut signals);
    if seen < step {
        assert!(signals.is_empty());
        return true;
    }
    assert_eq!(signals.len(), 1, "step {step}");
    let signo = match signals[0] {
        Event::Signal { signo, .. } => Some(signo),
        _ => None,
    };
    assert_eq!(signo, Some(Signo::SIGUSR1), "step {step}");
    // Its flag may still be up, if the guest had left before it was looked at.
    let mut next = guest.cx(at);
    while guest.enter(&mut next) == Trap::Preempted {}
    false
}

/// A context at `at` with something in its registers.
fn random_cx(guest: &Guest, at: u64, random: &mut Random) -> UserCtx {
    let mut cx = guest.cx(at);
    cx.regs.rbx = random.next();
    cx.regs.rsi = random.next();
    cx.regs.r9 = random.next();
    cx.regs.r15 = random.next();
    cx.regs.rflags |= 0x8d4;
    cx.regs.fs_base = random.next() >> 17;
    cx.fpu.xmm[3] = [random.next(), random.next()];
    // Any rounding, nothing else.
    cx.fpu.mxcsr = 0x1f80 | u32::try_from(random.next() & 0x6000).expect("16 bits");
    cx
}

/// Checks what a call behind `rip` has left of `start`.
fn check(cx: &UserCtx, start: &UserCtx, rip: u64, rdx: u64, step: u64) {
    let mut expected = start.regs.clone();
    (expected.rip, expected.rdx) = (rip, rdx);
    expected.rax = cx.regs.rax;
    expected.rcx = cx.regs.rcx;
    expected.r11 = cx.regs.r11;
    expected.rflags |= cx.regs.rflags & (TF | 0x1_0000);
    assert_eq!(cx.regs, expected, "step {step}");
    assert_eq!(cx.fpu.xmm, start.fpu.xmm, "step {step}");
    assert_eq!(cx.fpu.mxcsr, start.fpu.mxcsr, "step {step}");
}

/// The same as [`step_through`], for a call made on the spot that ends in `end`, or is answered by the stub.
fn step_through_fast(guest: &Guest, end: FastEnd, answer: Option<Answer>) -> u64 {
    let at = guest.text(&TWO_CALLS);
    let mut random = Random(43);
    let mut slow = 0;
    for step in 1.. {
        let mut start = random_cx(guest, at, &mut random);
        start.answer = answer.unwrap_or_default();
        let other = random_cx(guest, at + 7, &mut random);
        let mut script = Script::new(guest, end);
        script.other = Some(Box::new(other.clone()));
        let mut slot = Some(Box::new(start.clone()));
        WANTED.store(step, Relaxed);
        SEEN.store(0, Relaxed);
        let mut trap = stepping(|| guest.machine.run(&mut slot, &mut script));
        let seen = SEEN.load(Relaxed);
        while trap == Some(Trap::Preempted) {
            // The test's own, if the guest was interrupted; with it a call is not made on the spot.
            let cx = slot.as_deref_mut().expect("it has not parked");
            cx.regs.rflags &= !TF;
            trap = guest.machine.run(&mut slot, &mut script);
        }
        let (here, parked) = (slot.as_deref(), script.parked.as_deref());
        match (script.made, end, here, parked) {
            (0, FastEnd::Done, Some(here), None) if answer.is_some() => {
                check(here, &start, at + 14, 0, step);
            }
            // Interrupted, it is a call like any other.
            (1, FastEnd::Done, Some(here), None) => {
                check(here, &start, at + 14, 9, step);
                slow += u64::from(answer.is_some());
            }
            (1, FastEnd::Switched, Some(here), Some(parked)) => {
                check(parked, &start, at + 7, start.regs.rdx, step);
                check(here, &other, at + 14, other.regs.rdx, step);
            }
            (1, FastEnd::Parked, None, Some(parked)) => {
                check(parked, &start, at + 7, start.regs.rdx, step);
            }
            // Linux's return from a signal may mark registers as in use that hold nothing.
            (0, FastEnd::Switched | FastEnd::Parked, Some(here), None) => {
                check(here, &start, at + 7, start.regs.rdx, step);
                slow += 1;
            }
            other => panic!("step {step}: {other:?}"),
        }
        let wanted = slot.is_some().then_some(Trap::Syscall);
        assert_eq!(trap, wanted, "step {step}");
        if settle(guest, at, step, seen) {
            assert!(2 * slow < seen, "{end:?}: {slow} of {seen} were not made");
            return seen;
        }
    }
    unreachable!("there are infinitely many numbers")
}

#[test]
fn a_signal_at_every_instruction_is_taken_once_and_disturbs_nothing() {
    let guest = Guest::new();
    install();
    let call = [0xb8, 0x2a, 0, 0, 0, 0x0f, 5];
    let steps = step_through(&guest, &call, 0x8d4, &Trap::Syscall, 7);
    assert!(
        steps > 150,
        "only {steps} steps: the stubs were not stepped through"
    );
    // DF set: flags by popf on the way in, cleaned on the way out.
    step_through(&guest, &call, 0x400, &Trap::Syscall, 7);
    // A call that is not patched, libc's, and Go's.
    step_through(&guest, &[0x90, 0x0f, 5], 0x8d4, &Trap::Syscall, 3);
    step_through(
        &guest,
        &[0xb8, 1, 0, 0, 0, 0x49, 0x89, 0xca, 0x0f, 5],
        0,
        &Trap::Syscall,
        10,
    );
    step_through(
        &guest,
        &[0x48, 0x8b, 0x44, 0x24, 8, 0x0f, 5],
        0,
        &Trap::Syscall,
        7,
    );
    // Calls made on the spot, if the build has them.
    if cfg!(target_feature = "crt-static") {
        for end in [FastEnd::Done, FastEnd::Switched, FastEnd::Parked] {
            let steps = step_through_fast(&guest, end, None);
            assert!(steps > 150, "{end:?}: only {steps} steps");
        }
        let answer = Answer {
            number: 42,
            value: 7,
        };
        step_through_fast(&guest, FastEnd::Done, Some(answer));
    }
    // A fault.
    let fault = lwp_kernel::ctx::Fault {
        kind: FaultKind::IllOpc,
        addr: guest.base,
        trapno: 6,
        err: 0,
    };
    step_through(&guest, &[0x0f, 0x0b], 0x8d4, &Trap::Fault(fault), 0);
}
