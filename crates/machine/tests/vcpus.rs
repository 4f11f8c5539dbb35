//! Vcpu threads and the process around them: interception everywhere, fork, kicks, ticks, death.

mod common;

use common::Guest;
use lwp_abi::mman::Prot;
use lwp_abi::signal::Signo;
use lwp_kernel::ctx::{Trap, UserCtx};
use lwp_kernel::machine::{Clocks, ExitWith, Forked, Memory, UserMode, Vcpus};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// A patched call, one that is not, and a loop around both. The number is Linux's `exit_group`: if
/// it ever reached Linux, the test would be over.
const CALLS: [u8; 11] = [0xb8, 231, 0, 0, 0, 0x0f, 5, 0x90, 0x0f, 5, 0x90];

/// Makes both calls of [`CALLS`] and says whether they arrived here.
fn calls_are_caught(guest_cx: impl Fn(u64) -> UserCtx, machine: &impl UserMode, at: u64) -> bool {
    let mut cx = guest_cx(at);
    [at + 7, at + 10].into_iter().all(|behind| {
        let mut trap = machine.enter(&mut cx);
        while trap == Trap::Preempted {
            trap = machine.enter(&mut cx);
        }
        trap == Trap::Syscall && cx.regs.rax == 231 && cx.regs.rip == behind
    })
}

/// Enters until it is not a signal that ends it: other tests' children do end.
fn run(guest: &Guest, cx: &mut UserCtx) -> Trap {
    loop {
        match guest.enter(cx) {
            Trap::Preempted => {}
            trap => return trap,
        }
    }
}

fn wait_for(pid: i32) -> ExitStatus {
    let mut status = 0;
    // SAFETY: writes one integer.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    ExitStatus::from_raw(status)
}

#[test]
fn guest_calls_are_caught_on_every_vcpu() {
    let guest = Guest::with(3);
    let at = guest.text(&CALLS);
    assert!(calls_are_caught(|rip| guest.cx(rip), &guest.machine, at));
    std::thread::scope(|threads| {
        for cpu in 1..3 {
            let guest = &guest;
            threads.spawn(move || {
                let _vcpu = guest.machine.adopt(cpu).expect("free");
                assert_eq!(guest.machine.current(), cpu);
                assert!(calls_are_caught(|rip| guest.cx(rip), &guest.machine, at));
            });
        }
    });
    // A vcpu that has left can come again, on another thread.
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let _vcpu = guest.machine.adopt(1).expect("free again");
            assert!(guest.machine.adopt(2).is_err(), "one thread is one vcpu");
            assert!(calls_are_caught(|rip| guest.cx(rip), &guest.machine, at));
        });
    });
    assert!(guest.machine.adopt(0).is_err());
}

#[test]
fn a_fork_child_catches_calls_as_vcpu_0_while_the_parent_goes_on() {
    let guest = Guest::with(2);
    let at = guest.text(&CALLS);
    let spin = guest.text_at(guest.base + 4096, &[0xeb, 0xfe]);
    let stop = AtomicBool::new(false);
    let rounds = AtomicU32::new(0);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            // Vcpu 1 spins in the guest; only a kick brings it to its stop point.
            let _vcpu = guest.machine.adopt(1).expect("free");
            let mut cx = guest.cx(spin);
            while !stop.load(Ordering::Relaxed) {
                guest.machine.stop_point(1);
                assert_eq!(guest.machine.enter(&mut cx), Trap::Preempted);
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        });
        for _ in 0..50 {
            assert!(guest.machine.begin_fork());
            assert!(!guest.machine.begin_fork(), "one at a time");
            match guest.machine.fork(0).expect("room") {
                Forked::Child { pid } => child(&guest, at, pid),
                Forked::Parent(pid) => assert_eq!(wait_for(pid).code(), Some(7)),
            }
            assert!(calls_are_caught(|rip| guest.cx(rip), &guest.machine, at));
        }
        stop.store(true, Ordering::Relaxed);
        guest.machine.kick(1);
    });
    assert!(rounds.load(Ordering::Relaxed) > 0);
}

/// What the child does: catches calls, runs jobs, waits with a tick; forks again.
fn child(guest: &Guest, at: u64, pid: i32) -> ! {
    let own = std::process::id().cast_signed();
    let caught = calls_are_caught(|rip| guest.cx(rip), &guest.machine, at);
    let code = if pid == own && caught && guest.machine.current() == 0 {
        7
    } else {
        8
    };
    guest.machine.exit(ExitWith::Code(code));
    unreachable!("exit does not return")
}

#[test]
fn a_fork_from_another_vcpu_makes_it_vcpu_0() {
    let guest = Guest::with(2);
    let at = guest.text(&CALLS);
    std::thread::scope(|threads| {
        let forker = threads.spawn(|| {
            let _vcpu = guest.machine.adopt(1).expect("free");
            assert!(guest.machine.begin_fork());
            match guest.machine.fork(1).expect("room") {
                Forked::Child { pid } => child(&guest, at, pid),
                Forked::Parent(pid) => wait_for(pid).code(),
            }
        });
        while !forker.is_finished() {
            guest.machine.stop_point(0);
            std::thread::yield_now();
        }
        assert_eq!(forker.join().ok(), Some(Some(7)));
    });
}

#[test]
fn a_kick_before_entering_is_not_lost_and_counts_once() {
    let guest = Guest::new();
    let at = guest.text(&CALLS);
    let mut cx = guest.cx(at);
    guest.machine.kick(0);
    guest.machine.kick(0);
    assert_eq!(guest.enter(&mut cx), Trap::Preempted);
    assert_eq!(cx.regs.rip, at);
    assert_eq!(run(&guest, &mut cx), Trap::Syscall);
}

/// Real-time signals queue, and Linux has room for only so many of a user: a vcpu that does not come to run
/// for a while would take it all.
#[test]
fn kicks_do_not_queue() {
    let guest = Guest::with(2);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let _vcpu = guest.machine.adopt(1).expect("free");
            let waiting = kicks_waiting(|| {
                let kick = || (0..1000).for_each(|_| guest.machine.kick(1));
                std::thread::scope(|threads| threads.spawn(kick).join().expect("it only kicks"));
            });
            assert_eq!(waiting, 1);
        });
    });
}

/// Blocks the signal of kicks, does `something`, and counts how many of them wait then.
fn kicks_waiting(something: impl FnOnce()) -> usize {
    const SIG_KICK: i32 = 32;
    let set: u64 = 1 << (SIG_KICK - 1);
    let now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // Linux's own calls: libc keeps this signal to itself.
    // SAFETY: reads one word.
    let mask = |how: i32| unsafe {
        let none = core::ptr::null_mut::<u64>();
        libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const set, none, 8_usize)
    };
    assert_eq!(mask(libc::SIG_BLOCK), 0);
    something();
    // SAFETY: reads two structures of the right sizes, writes none.
    let take = || unsafe {
        let nowhere = core::ptr::null_mut::<libc::siginfo_t>();
        libc::syscall(
            libc::SYS_rt_sigtimedwait,
            &raw const set,
            nowhere,
            &raw const now,
            8_usize,
        )
    };
    let count = core::iter::repeat_with(take)
        .take_while(|&signo| signo == i64::from(SIG_KICK))
        .count();
    assert_eq!(mask(libc::SIG_UNBLOCK), 0);
    count
}

#[test]
fn a_tick_comes_when_it_is_due_and_lapses() {
    let guest = Guest::new();
    let spin = guest.text(&[0xeb, 0xfe]);
    let mut cx = guest.cx(spin);
    for _ in 0..5 {
        let due = guest.machine.monotonic() + Duration::from_millis(3);
        guest.machine.tick_at(0, due + Duration::from_hours(1));
        guest.machine.tick_at(0, due);
        guest.machine.tick_at(0, due + Duration::from_secs(1));
        while guest.machine.monotonic() < due {
            assert_eq!(guest.enter(&mut cx), Trap::Preempted);
        }
    }
    // It has lapsed: calls are not disturbed.
    let at = guest.text_at(guest.base + 4096, &CALLS);
    let mut cx = guest.cx(at);
    assert_eq!(run(&guest, &mut cx), Trap::Syscall);
}

#[test]
fn registers_of_a_hostile_guest_are_faults_not_crashes() {
    let guest = Guest::new();
    let at = guest.text(&CALLS);
    let wild = [
        0,
        8,
        0x4fff_ffff_f000,
        0x5000_0000_0000,
        0x7fff_ffff_f000,
        1 << 47,
        u64::MAX,
    ];
    for rip in wild {
        let mut cx = guest.cx(rip);
        assert!(
            matches!(run(&guest, &mut cx), Trap::Fault(_)),
            "rip {rip:#x}"
        );
        assert_eq!(cx.regs.rip, rip);
    }
    for rsp in wild {
        for rflags in [0, !0x100, 1 << 14, 0x3000] {
            let mut cx = guest.cx(at);
            cx.regs.rsp = rsp;
            cx.regs.rflags = rflags;
            assert_eq!(run(&guest, &mut cx), Trap::Syscall, "rsp {rsp:#x}");
            assert_eq!(cx.regs.rsp, rsp);
        }
    }
    // Go's load from a bad stack faults at its own address, patched or not.
    let load = [0x48, 0x8b, 0x44, 0x24, 8, 0x0f, 5];
    let at = guest.text_at(guest.base + 4096, &load);
    let mut cx = guest.cx(at);
    cx.regs.rsp = 0x1000;
    let Trap::Fault(fault) = run(&guest, &mut cx) else {
        panic!("no fault")
    };
    assert_eq!((fault.addr, cx.regs.rip), (0x1008, at));
}

#[test]
fn the_guests_own_trap_flag_stops_after_each_of_its_instructions() {
    let guest = Guest::new();
    // nop; mov; syscall; nop; ud2
    let code = [0x90, 0xb8, 5, 0, 0, 0, 0x0f, 5, 0x90, 0x0f, 0x0b];
    let at = guest.text(&code);
    let mut cx = guest.cx(at);
    cx.regs.rflags |= 0x100;
    let mut stops = Vec::new();
    loop {
        match run(&guest, &mut cx) {
            Trap::Fault(fault) if fault.trapno == 1 => stops.push(cx.regs.rip - at),
            Trap::Fault(fault) => break assert_eq!(fault.trapno, 6),
            Trap::Syscall => stops.push(100 + cx.regs.rip - at),
            Trap::Preempted => {}
        }
        assert!(stops.len() < 20);
    }
    assert_eq!(stops, [1, 6, 108, 9]);
}

/// Runs a test of this program that is meant to end its process, and returns how it ended.
fn run_alone(name: &str) -> ExitStatus {
    let program = std::env::current_exe().expect("it runs");
    let mut command = Command::new(program);
    command
        .args(["--exact", "--ignored", name])
        .env("LWP_TEST_ALONE", "1");
    command.output().expect("it starts").status
}

#[test]
#[ignore = "ends the process; run by `death_by_signal_is_passed_on`"]
fn dies_by_sigterm() {
    Guest::new().machine.exit(ExitWith::Signal(Signo::SIGTERM));
}

#[test]
#[ignore = "ends the process; run by `death_by_signal_is_passed_on`"]
fn dies_by_sigpipe() {
    Guest::new().machine.exit(ExitWith::Signal(Signo::SIGPIPE));
}

#[test]
#[ignore = "ends the process; run by `death_by_signal_is_passed_on`"]
fn dies_by_a_signal_without_twin() {
    Guest::new().machine.exit(ExitWith::Signal(Signo::SIGEMT));
}

#[test]
fn death_by_signal_is_passed_on() {
    assert_eq!(run_alone("dies_by_sigterm").signal(), Some(libc::SIGTERM));
    assert_eq!(run_alone("dies_by_sigpipe").signal(), Some(libc::SIGPIPE));
    assert_eq!(
        run_alone("dies_by_a_signal_without_twin").code(),
        Some(128 + 7)
    );
}

/// Runs `guest_calls_are_caught_on_every_vcpu` in a process with `change` made to it.
fn passes_with(change: fn() -> i32) -> bool {
    let mut command = Command::new(std::env::current_exe().expect("it runs"));
    command.args(["--exact", "guest_calls_are_caught_on_every_vcpu"]);
    // SAFETY: the changes are single system calls.
    unsafe {
        command.pre_exec(move || {
            assert!(change() >= 0);
            Ok(())
        });
    }
    let output = command.output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text.contains("1 passed")
}

#[test]
fn unusual_layouts_of_the_host_work_as_well() {
    const ADDR_NO_RANDOMIZE: libc::c_ulong = 0x0004_0000;
    const ADDR_COMPAT_LAYOUT: libc::c_ulong = 0x0020_0000;
    assert!(passes_with(|| {
        let none = libc::rlimit {
            rlim_cur: libc::RLIM_INFINITY,
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: reads one structure.
        unsafe { libc::setrlimit(libc::RLIMIT_STACK, &raw const none) }
    }));
    // SAFETY: takes effect with the coming execve.
    assert!(passes_with(|| unsafe {
        libc::personality(ADDR_NO_RANDOMIZE)
    }));
    // SAFETY: as above.
    assert!(passes_with(|| unsafe {
        libc::personality(ADDR_COMPAT_LAYOUT)
    }));
}

#[test]
fn a_cpu_without_fsgsbase_will_do() {
    for test in [
        "guest_calls_are_caught_on_every_vcpu",
        "registers_of_a_hostile_guest_are_faults_not_crashes",
        "a_fork_child_catches_calls_as_vcpu_0_while_the_parent_goes_on",
        "a_tick_comes_when_it_is_due_and_lapses",
    ] {
        let mut command = Command::new(std::env::current_exe().expect("it runs"));
        command
            .args(["--exact", test])
            .env("LWP_TEST_NO_FSGSBASE", "1");
        let output = command.output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}"
        );
    }
}

#[test]
fn text_may_change_while_another_vcpu_runs_it() {
    let guest = Guest::with(2);
    let at = guest.text(&[0xb8, 1, 0, 0, 0, 0x0f, 5, 0xeb, 0xf7]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let _vcpu = guest.machine.adopt(1).expect("free");
            let mut cx = guest.cx(at);
            while !stop.load(Ordering::Relaxed) {
                match guest.machine.enter(&mut cx) {
                    Trap::Syscall => assert_eq!((cx.regs.rax, cx.regs.rip), (1, at + 7)),
                    Trap::Preempted => {}
                    other @ Trap::Fault(_) => panic!("{other:?}"),
                }
            }
        });
        let page = at..at + 4096;
        let (text, all) = (
            Prot::READ | Prot::EXEC,
            Prot::READ | Prot::WRITE | Prot::EXEC,
        );
        for _ in 0..2000 {
            guest.machine.protect(page.clone(), all).expect("mapped");
            guest.machine.protect(page.clone(), text).expect("mapped");
        }
        stop.store(true, Ordering::Relaxed);
    });
}
