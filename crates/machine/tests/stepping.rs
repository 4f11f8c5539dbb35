//! Single steps and the breakpoint: a stepped guest computes what it computes anyway.

mod common;

use common::{Guest, Random};
use lwp_abi::mman::Prot;
use lwp_kernel::ctx::{FaultKind, Regs, Trap, UserCtx};
use lwp_kernel::machine::{Advice, Backing, ExitWith, Forked, Memory, Poller, UserMode, Vcpus};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const TF: u64 = 1 << 8;
const RF: u64 = 1 << 16;
const PAGE: u64 = 4096;

/// Everything that leaves the flags, or comes near them, and a loop around it: 200 rounds.
///
/// ```text
///  0  mov   $200,%ebx
///  5  pushfq
///  6  pop   %r8
///  8  add   %r8,%r9
/// 11  mov   $42,%eax          (patched)
/// 16  syscall
/// 18  add   %rcx,%r9
/// 21  mov   $43,%eax
/// 26  mov   %rcx,%r10
/// 29  syscall
/// 31  nop
/// 32  syscall                 (not patched)
/// 34  mov   %r11,%r12
/// 37  lea   -256(%rsp),%rdi
/// 45  mov   $3,%ecx
/// 50  std
/// 51  rep   stosb
/// 53  cld
/// 54  pushfq
/// 55  popfq
/// 56  imul  %rbx,%r9
/// 60  dec   %ebx
/// 62  jnz   5
/// 64  ud2
/// ```
const LOOP: [u8; 66] = [
    0xbb, 200, 0, 0, 0, 0x9c, 0x41, 0x58, 0x4d, 0x01, 0xc1, 0xb8, 42, 0, 0, 0, 0x0f, 5, 0x49, 0x01,
    0xc9, 0xb8, 43, 0, 0, 0, 0x49, 0x89, 0xca, 0x0f, 5, 0x90, 0x0f, 5, 0x4d, 0x89, 0xdc, 0x48,
    0x8d, 0xbc, 0x24, 0, 0xff, 0xff, 0xff, 0xb9, 3, 0, 0, 0, 0xfd, 0xf3, 0xaa, 0xfc, 0x9c, 0x9d,
    0x4c, 0x0f, 0xaf, 0xcb, 0xff, 0xcb, 0x75, 0xc5, 0x0f, 0x0b,
];
/// Instructions of a round, with three of `rep`, and system calls among them.
const ROUND: u64 = 24;
const CALLS: u64 = 3;

/// What the kernel would leave in the registers: RCX and R11 are what the instruction makes of them, as far as it
/// did.
fn answer(cx: &mut UserCtx) {
    cx.regs.rcx = cx.regs.rip;
    cx.regs.r11 = cx.regs.rflags & !RF;
    cx.regs.succeed(7, 0);
}

/// Runs until the `ud2` at the end; every way in is `enter`'s.
fn run(guest: &Guest, at: u64, mut enter: impl FnMut(&mut UserCtx) -> Option<Trap>) -> Regs {
    let mut cx = guest.cx(at);
    cx.fpu.xmm[7] = [7, 8];
    loop {
        match enter(&mut cx) {
            None | Some(Trap::Preempted) => {}
            Some(Trap::Syscall) => answer(&mut cx),
            Some(Trap::Fault(fault)) => {
                assert_eq!((fault.kind, fault.trapno), (FaultKind::IllOpc, 6));
                break;
            }
        }
        assert_eq!(cx.regs.rflags & TF, 0, "at {:#x}", cx.regs.rip);
    }
    assert_eq!(cx.fpu.xmm[7], [7, 8]);
    cx.regs.rflags &= !RF;
    cx.regs
}

#[test]
fn a_stepped_loop_comes_to_the_same_with_as_many_steps_as_instructions() {
    let guest = Guest::new();
    let at = guest.text(&LOOP);
    let unstepped = run(&guest, at, |cx| Some(guest.enter(cx)));
    let (mut steps, mut calls) = (0, 0);
    let stepped = run(&guest, at, |cx| {
        let trap = guest.machine.step(cx);
        steps += u64::from(trap.is_none());
        calls += u64::from(trap == Some(Trap::Syscall));
        trap
    });
    assert_eq!(stepped, unstepped);
    assert_eq!((steps, calls), (1 + 200 * (ROUND - CALLS), 200 * CALLS));
}

#[test]
fn steps_and_runs_mix_in_any_order_with_kicks_at_any_time() {
    let guest = Guest::new();
    let at = guest.text(&LOOP);
    let unstepped = run(&guest, at, |cx| Some(guest.enter(cx)));
    let stop = AtomicBool::new(false);
    let mut random = Random(5);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                guest.machine.kick(0);
            }
        });
        for _ in 0..20 {
            let mixed = run(&guest, at, |cx| {
                if random.next().is_multiple_of(4) {
                    Some(guest.enter(cx))
                } else {
                    guest.machine.step(cx)
                }
            });
            assert_eq!(mixed, unstepped);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// One step of `code`, from registers as `change` wants them: where it ended, and with what.
fn one_step(
    guest: &Guest,
    code: &[u8],
    change: impl FnOnce(&mut UserCtx),
) -> (u64, Option<Trap>, UserCtx) {
    let at = guest.text(code);
    let mut cx = guest.cx(at);
    change(&mut cx);
    let trap = loop {
        match guest.machine.step(&mut cx) {
            Some(Trap::Preempted) => {}
            trap => break trap,
        }
    };
    (cx.regs.rip - at, trap, cx)
}

fn fault_of(trap: Option<Trap>) -> Option<(FaultKind, u32)> {
    match trap {
        Some(Trap::Fault(fault)) => Some((fault.kind, fault.trapno)),
        _ => None,
    }
}

#[test]
fn each_special_instruction_ends_its_step_as_it_would_have_ended_anyway() {
    let guest = Guest::new();
    let read_stack = |cx: &UserCtx| {
        let mut bytes = [0; 8];
        guest
            .machine
            .copyin(cx.regs.rsp, &mut bytes)
            .expect("a stack");
        u64::from_le_bytes(bytes)
    };
    // pushfq, pushfw
    let (rip, trap, cx) = one_step(&guest, &[0x9c], |cx| cx.regs.rflags |= 0xc1);
    assert_eq!((rip, trap, read_stack(&cx)), (1, None, 0x2c3));
    let (rip, trap, cx) = one_step(&guest, &[0x66, 0x9c], |cx| cx.regs.rflags |= 0xc1);
    assert_eq!((rip, trap, read_stack(&cx) & 0xffff), (2, None, 0x2c3));
    // popfq, with and without the flag; the step after it is the guest's own.
    for flag in [0, TF] {
        let push = |cx: &mut UserCtx| {
            cx.regs.rsp -= 8;
            let flags = (0x246 | flag).to_le_bytes();
            guest.machine.copyout(&flags, cx.regs.rsp).expect("a stack");
        };
        let (rip, trap, mut cx) = one_step(&guest, &[0x9d, 0x90, 0x9c, 0x90], push);
        assert_eq!((rip, trap, cx.regs.rflags), (1, None, 0x246 | flag));
        let own = (flag != 0).then_some((FaultKind::TrapTrace, 1));
        for _ in 0..2 {
            assert_eq!(fault_of(guest.machine.step(&mut cx)), own);
        }
        assert_eq!(read_stack(&cx), 0x246 | flag);
    }
    // iretq, to the next instruction.
    let (rip, trap, cx) = one_step(&guest, &[0x48, 0xcf, 0x90], |cx| {
        cx.regs.rsp -= 40;
        let frame = [cx.regs.rip + 2, 0x33, 0x246 | TF, cx.regs.rsp + 40, 0x2b];
        let bytes: Vec<u8> = frame.into_iter().flat_map(u64::to_le_bytes).collect();
        guest.machine.copyout(&bytes, cx.regs.rsp).expect("a stack");
    });
    assert_eq!((rip, trap, cx.regs.rflags), (2, None, 0x246 | TF));
    // int3, int1: the guest's own.
    let (rip, trap, cx) = one_step(&guest, &[0xcc], |_| {});
    assert_eq!(rip, 1);
    assert_eq!(fault_of(trap), Some((FaultKind::TrapBrkpt, 3)));
    assert_eq!(cx.regs.rflags & !RF, 0x202);
    // Where that one leaves RIP depends on the hypervisor, if there is one.
    let (_, trap, cx) = one_step(&guest, &[0xf1], |_| {});
    assert_eq!(fault_of(trap), Some((FaultKind::TrapTrace, 1)));
    assert_eq!(cx.regs.rflags & !RF, 0x202);
    // A fault, and one in the moved instruction of a patched call.
    let (rip, trap, cx) = one_step(&guest, &[0x8a, 0x00], |cx| cx.regs.rax = 0x10);
    assert_eq!(
        (rip, fault_of(trap)),
        (0, Some((FaultKind::SegvMapErr, 14)))
    );
    assert_eq!(cx.regs.rflags & !RF, 0x202);
    let load = [0x48, 0x8b, 0x44, 0x24, 8, 0x0f, 5];
    let (rip, trap, cx) = one_step(&guest, &load, |cx| cx.regs.rsp = 0x1000);
    assert_eq!(
        (rip, fault_of(trap)),
        (0, Some((FaultKind::SegvMapErr, 14)))
    );
    assert_eq!(cx.regs.rflags & !RF, 0x202);
    // Calls, one by one; libc's has three instructions.
    let code = [0xb8, 1, 0, 0, 0, 0x49, 0x89, 0xca, 0x0f, 5];
    let (rip, trap, mut cx) = one_step(&guest, &code, |cx| cx.regs.rcx = 99);
    assert_eq!((rip, trap, cx.regs.rax, cx.regs.rcx), (5, None, 1, 99));
    assert_eq!((guest.machine.step(&mut cx), cx.regs.r10), (None, 99));
    assert_eq!(guest.machine.step(&mut cx), Some(Trap::Syscall));
    assert_eq!(cx.regs.rip, cx.regs.rcx);
    assert_eq!((cx.regs.rflags & !RF, cx.regs.r11 & !RF), (0x202, 0x202));
    // An instruction at the very end of its mapping.
    let last = guest.base + PAGE - 1;
    guest
        .machine
        .unmap(guest.base + PAGE..guest.base + 2 * PAGE)
        .expect("mapped");
    let at = guest.text_at(last, &[0x90]);
    let mut cx = guest.cx(at);
    assert_eq!(guest.machine.step(&mut cx), None);
    assert_eq!(
        fault_of(guest.machine.step(&mut cx)),
        Some((FaultKind::SegvMapErr, 14))
    );
    assert_eq!(cx.regs.rip, last + 1);
}

#[test]
fn the_guests_own_trap_flag_is_left_to_it() {
    let guest = Guest::new();
    let at = guest.text(&[0x90, 0x9c, 0x90]);
    let mut cx = guest.cx(at);
    cx.regs.rflags |= TF;
    for rip in 1..3 {
        let trap = guest.machine.step(&mut cx);
        assert_eq!(fault_of(trap), Some((FaultKind::TrapTrace, 1)));
        assert_eq!((cx.regs.rip - at, cx.regs.rflags & TF), (rip, TF));
    }
}

/// The one breakpoint there is, for one test at a time.
fn the_breakpoint() -> MutexGuard<'static, ()> {
    static THE: Mutex<()> = Mutex::new(());
    THE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Steps, or enters.
fn go_on(guest: &Guest, cx: &mut UserCtx, is_stepped: bool) -> Option<Trap> {
    if is_stepped {
        guest.machine.step(cx)
    } else {
        Some(guest.enter(cx))
    }
}

/// mov $n,%ebx; 5: nop; 6: dec %ebx; 8: jnz 5; mov $1,%eax; syscall
const COUNT: [u8; 17] = [
    0xbb, 100, 0, 0, 0, 0x90, 0xff, 0xcb, 0x75, 0xfb, 0xb8, 1, 0, 0, 0, 0x0f, 5,
];

/// Runs [`COUNT`] from the start; how often it came to the breakpoint, and that nothing else happened.
fn hits(guest: &Guest, at: u64, from: u64, is_stepped: bool) -> u64 {
    let mut cx = guest.cx(at + from);
    cx.regs.rbx = if from < 10 { 100 } else { 0 };
    let mut hits = 0;
    loop {
        let trap = go_on(guest, &mut cx, is_stepped);
        match trap {
            None => assert!(!guest.machine.take_hit()),
            Some(Trap::Preempted) if guest.machine.take_hit() => {
                assert!(!guest.machine.take_hit(), "said once");
                hits += 1;
            }
            Some(Trap::Preempted) => {}
            Some(Trap::Syscall) => {
                assert_eq!((cx.regs.rip - at, cx.regs.rbx), (17, 0));
                return hits;
            }
            Some(Trap::Fault(fault)) => panic!("{fault:?}"),
        }
    }
}

#[test]
fn a_breakpoint_is_hit_each_time_before_its_instruction() {
    let _mine = the_breakpoint();
    let guest = Guest::new();
    let at = guest.text(&COUNT);
    for is_stepped in [false, true] {
        for breakpoint in [5, 6, 8] {
            assert!(guest.machine.set_breakpoint(Some(at + breakpoint)));
            assert_eq!(hits(&guest, at, 0, is_stepped), 100);
            // From the place itself it is gone over; the jump goes back without having counted.
            let again = if breakpoint == 8 { 100 } else { 99 };
            assert_eq!(hits(&guest, at, breakpoint, is_stepped), again);
        }
        // A patched site.
        assert!(guest.machine.set_breakpoint(Some(at + 10)));
        assert_eq!(hits(&guest, at, 0, is_stepped), 1);
        assert_eq!(hits(&guest, at, 10, is_stepped), 0);
        assert!(guest.machine.set_breakpoint(None));
        assert_eq!(hits(&guest, at, 0, is_stepped), 0);
    }
    let mut code = [0; 17];
    guest.machine.copyin(at, &mut code).expect("text");
    assert_eq!(code[..10], COUNT[..10]);
}

#[test]
fn arrivals_are_hits_whatever_else_happens_at_that_moment() {
    let _mine = the_breakpoint();
    let guest = Guest::new();
    let at = guest.text(&COUNT);
    let stop = AtomicBool::new(false);
    assert!(guest.machine.set_breakpoint(Some(at + 6)));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                guest.machine.kick(0);
            }
        });
        for round in 0..40 {
            assert_eq!(hits(&guest, at, 0, round % 4 == 0), 100);
        }
        stop.store(true, Ordering::Relaxed);
    });
    guest.machine.set_breakpoint(None);
}

#[test]
fn a_loop_of_one_instruction_arrives_again_and_again() {
    let _mine = the_breakpoint();
    let guest = Guest::new();
    let at = guest.text(&[0xeb, 0xfe]);
    assert!(guest.machine.set_breakpoint(Some(at)));
    let mut cx = guest.cx(at);
    for _ in 0..10 {
        while !guest.machine.take_hit() {
            assert_eq!(guest.enter(&mut cx), Trap::Preempted);
        }
        assert_eq!(cx.regs.rip, at);
    }
    guest.machine.set_breakpoint(None);
}

#[test]
fn a_breakpoint_is_refused_where_it_cannot_work() {
    let _mine = the_breakpoint();
    let guest = Guest::new();
    let m = &guest.machine;
    let at = guest.text(&LOOP);
    for (offset, works) in [
        (0, true),
        (11, true),
        // The patched call's own instruction, and what else is bypassed.
        (16, false),
        (18, true),
        (26, false),
        (29, false),
        (32, true),
        // rep stosb
        (51, false),
    ] {
        assert_eq!(m.set_breakpoint(Some(at + offset)), works, "{offset}");
    }
    for nowhere in [0, 1 << 40, guest.data(), 0x4fff_ffff_ffff, u64::MAX] {
        assert!(!m.set_breakpoint(Some(nowhere)), "{nowhere:#x}");
    }
    // rdtsc; rdtscp
    let at = guest.text(&[0x0f, 0x31, 0x0f, 0x01, 0xf9]);
    for offset in [0, 2] {
        assert!(!m.set_breakpoint(Some(at + offset)), "{offset}");
    }
    // Text that the guest may write.
    m.protect(at..at + PAGE, Prot::READ | Prot::WRITE | Prot::EXEC)
        .expect("mapped");
    assert!(!m.set_breakpoint(Some(at)));
}

#[test]
fn a_breakpoint_goes_with_its_text() {
    let _mine = the_breakpoint();
    let guest = Guest::new();
    let m = &guest.machine;
    let anon = Backing::Anon {
        shared: false,
        stack: false,
    };
    let (read, write, exec) = (Prot::READ, Prot::WRITE, Prot::EXEC);
    for change in 0..6 {
        let at = guest.text(&COUNT);
        let page = at..at + PAGE;
        let elsewhere = at + 16 * PAGE..at + 17 * PAGE;
        assert!(m.set_breakpoint(Some(at + 6)));
        let mut byte = [0];
        m.copyin(at + 6, &mut byte).expect("text");
        assert_eq!(byte, [0xcc]);
        let now = match change {
            0 => m.protect(page, read | write).map(|()| at),
            1 => m.protect(page, read | write | exec).map(|()| at),
            2 => m.protect(page, read).map(|()| at),
            3 => m
                .relocate(page.clone(), elsewhere.clone())
                .and_then(|()| m.map(page, read | write, anon))
                .map(|()| elsewhere.start),
            4 => m
                .unmap(page.clone())
                .and_then(|()| m.map(page, read | write, anon))
                .map(|()| at),
            _ => m.map(page, read | write, anon).map(|()| at),
        };
        let now = now.expect("mapped");
        m.copyin(now + 6, &mut byte).expect("readable");
        assert_eq!(byte[0], if change < 4 { COUNT[6] } else { 0 }, "{change}");
        // Nothing is put back later, and what comes there is left alone.
        m.protect(now..now + PAGE, read | write).expect("mapped");
        m.copyout(&[0xcc], now + 6).expect("writable");
        assert!(m.set_breakpoint(None));
        m.copyin(now + 6, &mut byte).expect("readable");
        assert_eq!(byte, [0xcc]);
    }
    // Contents dropped under it.
    let at = guest.text(&COUNT);
    assert!(m.set_breakpoint(Some(at + 6)));
    m.map(at + PAGE..at + 2 * PAGE, read, anon).expect("room");
    m.advise(at..at + PAGE, Advice::Free).expect("mapped");
    assert!(m.set_breakpoint(None));
}

#[test]
fn the_guests_own_breakpoints_are_its_own() {
    let _mine = the_breakpoint();
    let guest = Guest::new();
    // nop; int3; int3; ud2
    let at = guest.text(&[0x90, 0xcc, 0xcc, 0x0f, 0x0b]);
    assert!(guest.machine.set_breakpoint(Some(at + 1)));
    let mut cx = guest.cx(at);
    while !guest.machine.take_hit() {
        assert_eq!(guest.enter(&mut cx), Trap::Preempted);
    }
    assert_eq!(cx.regs.rip, at + 1);
    for rip in 2..4 {
        let trap = loop {
            match guest.enter(&mut cx) {
                Trap::Preempted => assert!(!guest.machine.take_hit()),
                trap => break trap,
            }
        };
        assert_eq!(fault_of(Some(trap)), Some((FaultKind::TrapBrkpt, 3)));
        assert_eq!(cx.regs.rip - at, rip);
    }
    guest.machine.set_breakpoint(None);
}

fn wait_for(pid: i32) -> ExitStatus {
    let mut status = 0;
    // SAFETY: writes one integer.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    ExitStatus::from_raw(status)
}

/// Forks; the child ends with 0 if `check` finds everything right there.
fn in_a_child(guest: &Guest, check: impl FnOnce() -> bool) {
    assert!(guest.machine.begin_fork());
    match guest.machine.fork(0).expect("room") {
        Forked::Child { .. } => {
            let code = i32::from(!check());
            guest.machine.exit(ExitWith::Code(code));
        }
        Forked::Parent(pid) => assert_eq!(wait_for(pid).code(), Some(0)),
    }
}

#[test]
fn a_fork_child_has_the_breakpoint_too_and_one_of_its_own() {
    let _mine = the_breakpoint();
    let guest = Guest::new();
    let at = guest.text(&COUNT);
    assert!(guest.machine.set_breakpoint(Some(at + 6)));
    in_a_child(&guest, || {
        hits(&guest, at, 0, false) == 100
            && guest.machine.set_breakpoint(None)
            && hits(&guest, at, 0, false) == 0
    });
    assert_eq!(hits(&guest, at, 0, false), 100);
    guest.machine.set_breakpoint(None);
}

/// rdtsc; nop; rdtscp; nop; mov $1,%eax; syscall
const COUNTER: [u8; 14] = [
    0x0f, 0x31, 0x90, 0x0f, 0x01, 0xf9, 0x90, 0xb8, 1, 0, 0, 0, 0x0f, 5,
];

/// Whether the guest's readings of the counter fault, and nothing else does.
fn counter_faults(guest: &Guest, at: u64, is_stepped: bool) -> bool {
    let mut cx = guest.cx(at);
    let mut faults = Vec::new();
    loop {
        let trap = go_on(guest, &mut cx, is_stepped);
        match trap {
            None | Some(Trap::Preempted) => {}
            Some(Trap::Syscall) => return faults == [0, 3],
            Some(Trap::Fault(fault)) => {
                if (fault.kind, fault.trapno) != (FaultKind::SegvAccErr, 13) {
                    return false;
                }
                faults.push(cx.regs.rip - at);
                cx.regs.rip += if faults.len() == 1 { 2 } else { 3 };
            }
        }
    }
}

/// Whether the host's clocks, which read the counter, go on.
fn clocks_advance() -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1) {}
    let mut cpu = 0;
    // SAFETY: this CPU has it.
    let before = unsafe { core::arch::x86_64::_rdtsc() };
    // SAFETY: as above.
    let after = unsafe { core::arch::x86_64::__rdtscp(&raw mut cpu) };
    before < after
}

#[test]
fn the_counter_is_kept_from_the_guest_and_not_from_the_host() {
    let guest = Guest::new();
    let at = guest.text(&COUNTER);
    assert!(!counter_faults(&guest, at, false), "it may be read");
    guest.machine.trap_counter();
    for is_stepped in [false, true] {
        assert!(counter_faults(&guest, at, is_stepped));
        assert!(clocks_advance());
    }
    // A thread made now inherits it, and is no vcpu.
    std::thread::scope(|threads| {
        threads.spawn(|| assert!(clocks_advance()));
    });
    for _ in 0..10 {
        in_a_child(&guest, || {
            counter_faults(&guest, at, false) && clocks_advance()
        });
    }
    // A helper, which has its signals blocked.
    let (send, receive) = std::sync::mpsc::channel();
    let job = move || send.send(clocks_advance()).expect("somebody waits");
    guest.machine.run_blocking(1, Box::new(job));
    assert!(receive.recv().expect("it was run"));
    in_a_child(&guest, || {
        lwp_machine::restore_host_signals(&[], &lwp_abi::signal::SigSet::EMPTY);
        let mut state = 0;
        // SAFETY: writes one integer.
        unsafe { libc::prctl(libc::PR_GET_TSC, &raw mut state) };
        state == libc::PR_TSC_ENABLE
    });
    // The thread has it back when it is no vcpu any more.
    drop(guest);
    assert!(clocks_advance());
}

#[test]
fn a_pure_loop_comes_back_for_its_cpu_time() {
    let guest = Guest::new();
    let spin = guest.text(&[0xeb, 0xfe]);
    let mut cx = guest.cx(spin);
    guest.machine.watch_cpu(Duration::from_millis(5));
    for _ in 0..3 {
        assert_eq!(guest.enter(&mut cx), Trap::Preempted);
    }
    in_a_child(&guest, || {
        (0..3).all(|_| guest.enter(&mut guest.cx(spin)) == Trap::Preempted)
    });
    assert_eq!(cx.regs.rip, spin);
}

#[test]
#[ignore = "prints how long a step and a hit take"]
fn costs() {
    const ROUNDS: u32 = 100_000;
    let _mine = the_breakpoint();
    let guest = Guest::new();
    let spin = guest.text(&[0xeb, 0xfe]);
    let measure = |name: &str, enter: &dyn Fn(&mut UserCtx)| {
        let mut cx = guest.cx(spin);
        let start = Instant::now();
        for _ in 0..ROUNDS {
            enter(&mut cx);
        }
        println!("{name}: {} ns", (start.elapsed() / ROUNDS).as_nanos());
    };
    measure("step", &|cx| assert_eq!(guest.machine.step(cx), None));
    // Two instructions: one gone over, one run into.
    let at = guest.text_at(guest.base + PAGE, &[0x90, 0xeb, 0xfd]);
    assert!(guest.machine.set_breakpoint(Some(at)));
    measure("hit, and over it", &|cx| {
        cx.regs.rip = at;
        assert_eq!(guest.enter(cx), Trap::Preempted);
    });
    guest.machine.set_breakpoint(None);
    guest.machine.trap_counter();
    let start = Instant::now();
    for _ in 0..ROUNDS {
        std::hint::black_box(Instant::now());
    }
    println!(
        "a clock of the host's, counter trapped: {} ns",
        (start.elapsed() / ROUNDS).as_nanos()
    );
}
