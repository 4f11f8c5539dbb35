//! Every register survives every way into and out of user mode, but for those a call changes.

mod common;

use common::{Guest, Random, Script, TWO_CALLS};
use lwp_kernel::ctx::{Answer, ExtState, FaultKind, Trap, UserCtx};
use lwp_kernel::machine::{FastEnd, UserMode, Vcpus};
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};

/// CF, PF, AF, ZF, SF, DF, OF, AC.
const FLAGS: u64 = 0x4_0cd5;
const ROUNDS: usize = 400;

/// Ways to make a system call: what they are, the code up to and including the instruction, and
/// whether it gets patched.
const CALLS: [(&str, &[u8], bool); 7] = [
    ("mov imm32, eax", &[0xb8, 0x2a, 0, 0, 0, 0x0f, 5], true),
    (
        "mov imm32, rax",
        &[0x48, 0xc7, 0xc0, 0x2a, 0, 0, 0, 0x0f, 5],
        true,
    ),
    ("Go's load", &[0x48, 0x8b, 0x44, 0x24, 8, 0x0f, 5], true),
    ("Go's store", &[0x4c, 0x89, 0x54, 0x24, 8, 0x0f, 5], true),
    (
        "libc's",
        &[0xb8, 0x2a, 0, 0, 0, 0x49, 0x89, 0xca, 0x0f, 5],
        true,
    ),
    (
        "bare syscall",
        &[0x90, 0x90, 0x90, 0x90, 0x90, 0x0f, 5],
        false,
    ),
    (
        "int 0x80",
        &[0x90, 0x90, 0x90, 0x90, 0x90, 0xcd, 0x80],
        false,
    ),
];

/// Fills every register with something; RSP is a stack if `cx` has to have one.
fn randomize(cx: &mut UserCtx, random: &mut Random) {
    let regs = &mut cx.regs;
    for reg in [
        &mut regs.rax,
        &mut regs.rbx,
        &mut regs.rcx,
        &mut regs.rdx,
        &mut regs.rsi,
        &mut regs.rdi,
        &mut regs.rbp,
        &mut regs.r8,
        &mut regs.r9,
        &mut regs.r10,
        &mut regs.r11,
        &mut regs.r12,
        &mut regs.r13,
        &mut regs.r14,
        &mut regs.r15,
    ] {
        *reg = random.next();
    }
    regs.rflags = 0x202 | random.next() & FLAGS;
    regs.fs_base = random.next() >> 17;
    for word in cx.fpu.xmm.as_flattened_mut() {
        *word = random.next();
    }
    // All exceptions masked, any rounding, FTZ and DAZ.
    cx.fpu.mxcsr = 0x1f80 | u32::try_from(random.next() & 0xe07f).expect("16 bits");
    cx.fpu.live = false;
    cx.fpu.ext = Some(random_ext(random));
}

/// An image with something in every component the CPU has.
fn random_ext(random: &mut Random) -> Box<ExtState> {
    let mut ext = Box::new(ExtState {
        bytes: [0; ExtState::SIZE],
    });
    let mut present = 1_u64;
    // x87: control word with everything masked, top 3, some values.
    ext.bytes[..5].copy_from_slice(&[0x7f, 0x02, 0, 0x18, 0xff]);
    for register in ext.bytes[32..160].chunks_exact_mut(16) {
        register[..8].copy_from_slice(&(random.next() | 1 << 63).to_le_bytes());
        register[8..10].copy_from_slice(&0x3fff_u16.to_le_bytes());
    }
    for (bit, range) in components() {
        present |= 1 << bit;
        for word in ext.bytes[range].chunks_exact_mut(8) {
            word.copy_from_slice(&random.next().to_le_bytes());
        }
    }
    ext.bytes[512..520].copy_from_slice(&present.to_le_bytes());
    ext
}

/// Bit and place of AVX's and AVX-512's components.
fn components() -> Vec<(u32, std::ops::Range<usize>)> {
    let has = [
        (2, is_x86_feature_detected!("avx")),
        (5, is_x86_feature_detected!("avx512f")),
        (6, is_x86_feature_detected!("avx512f")),
        (7, is_x86_feature_detected!("avx512f")),
    ];
    let place = |bit| {
        let leaf = core::arch::x86_64::__cpuid_count(0xd, bit);
        leaf.ebx as usize..(leaf.ebx + leaf.eax) as usize
    };
    has.into_iter()
        .filter(|&(_, has)| has)
        .map(|(bit, _)| (bit, place(bit)))
        .collect()
}

/// What of `cx` must be equal before and after: everything, in a comparable form.
fn everything(guest: &Guest, cx: &mut UserCtx) -> (Vec<u64>, u32, Vec<u8>) {
    guest.machine.switch_out(cx);
    let ext = cx.fpu.ext.as_ref().expect("every component is in use");
    let mut bytes = ext.bytes[..24].to_vec();
    // The last x87 instruction's address is not kept by every CPU.
    bytes[6..].fill(0);
    bytes.extend(&ext.bytes[32..160]);
    for (_, range) in components() {
        bytes.extend(&ext.bytes[range]);
    }
    (cx.fpu.xmm.as_flattened().to_vec(), cx.fpu.mxcsr, bytes)
}

/// Work of the host's that would show if it touched the guest's registers.
fn be_busy() {
    let text: Vec<u8> = (0..5000_u32)
        .map(|i| u8::try_from(i % 251).expect("8 bits"))
        .collect();
    let copy = black_box(&text).clone();
    let mut map = HashMap::new();
    map.insert(format!("{:?} {}", &copy[..50], copy.len()), copy);
    assert!(map.values().any(|value| *value == text));
    let sum: f64 = text.iter().map(|&byte| f64::from(byte).sqrt()).sum();
    black_box((map, sum, std::time::Instant::now()));
}

#[test]
fn a_call_changes_rcx_r11_and_nothing_else() {
    let guest = Guest::new();
    let mut random = Random(0x1234_5678_9abc_def1);
    for (number, (name, call, patched)) in CALLS.into_iter().enumerate() {
        let mut code = call.to_vec();
        code.extend([0x0f, 0x0b]);
        let at = guest.text_at(guest.base + 4096 * number as u64, &code);
        let before = guest.machine.stats();
        for round in 0..ROUNDS {
            let mut cx = guest.cx(at);
            randomize(&mut cx, &mut random);
            let start = cx.clone();
            assert_eq!(guest.enter(&mut cx), Trap::Syscall, "{name}");
            let mut expected = start.regs.clone();
            expected.rip = at + call.len() as u64;
            expected.rflags = cx.regs.rflags;
            assert_eq!(cx.regs.rflags & FLAGS, start.regs.rflags & FLAGS, "{name}");
            match name {
                "mov imm32, eax" | "mov imm32, rax" => expected.rax = 0x2a,
                "libc's" => {
                    expected.rax = 0x2a;
                    expected.r10 = start.regs.rcx;
                }
                "Go's load" => expected.rax = cx.regs.rax,
                // Linux hands over the low half: the call's number is all there is in it.
                "int 0x80" => expected.rax &= 0xffff_ffff,
                _ => {}
            }
            if name != "int 0x80" {
                expected.rcx = expected.rip;
                expected.r11 = cx.regs.r11;
                assert_eq!(cx.regs.r11 & FLAGS, start.regs.rflags & FLAGS, "{name}");
            }
            assert_eq!(cx.regs, expected, "{name}, round {round}");
            be_busy();
            // And in again, to `ud2`: there the guest's registers are what the kernel left.
            cx.regs.rcx = random.next();
            cx.regs.r11 = random.next();
            cx.regs.rflags ^= 1;
            let entered = cx.regs.clone();
            let Trap::Fault(fault) = guest.enter(&mut cx) else {
                panic!("{name}: no fault")
            };
            assert_eq!(
                (fault.kind, fault.addr),
                (FaultKind::IllOpc, entered.rip),
                "{name}"
            );
            // RF is the exception's own.
            cx.regs.rflags &= !0x1_0000;
            assert_eq!(cx.regs, entered, "{name}, round {round}, into the guest");
            let mut start = start;
            assert_eq!(
                everything(&guest, &mut cx),
                everything(&guest, &mut start),
                "{name}"
            );
        }
        let stats = guest.machine.stats();
        let (fast, slow) = (stats.fast - before.fast, stats.slow - before.slow);
        assert_eq!(
            (fast > 0, slow > 0),
            (patched, !patched),
            "{name}: {fast} fast, {slow} slow"
        );
    }
}

/// DF and AC: with them a call leaves user mode.
const SLOW_FLAGS: u64 = 0x4_0400;

#[test]
fn a_call_made_on_the_spot_changes_its_results_rcx_r11_and_nothing_else() {
    let guest = Guest::new();
    let at = guest.text(&TWO_CALLS);
    let mut random = Random(0x0bad_cafe);
    for round in 0..ROUNDS {
        let mut start = guest.cx(at);
        randomize(&mut start, &mut random);
        let mut slot = Some(Box::new(start.clone()));
        let mut script = Script::new(&guest, FastEnd::Done);
        let trap = guest.machine.run(&mut slot, &mut script);
        assert_eq!(trap, Some(Trap::Syscall));
        let is_slow =
            start.regs.rflags & SLOW_FLAGS != 0 || cfg!(not(target_feature = "crt-static"));
        assert_eq!(script.made, u32::from(!is_slow), "round {round}");
        let cx = slot.as_deref_mut().expect("it has not parked");
        let mut expected = start.regs.clone();
        expected.rflags = cx.regs.rflags;
        let mut flags = start.regs.rflags & FLAGS;
        if is_slow {
            (expected.rip, expected.rax) = (at + 7, 42);
        } else {
            (expected.rip, expected.rax, expected.rdx) = (at + 14, 43, 9);
            // Success: carry clear.
            flags &= !1;
        }
        expected.rcx = expected.rip;
        expected.r11 = cx.regs.r11;
        assert_eq!(cx.regs.rflags & FLAGS, flags, "round {round}");
        assert_eq!(cx.regs, expected, "round {round}");
        assert_eq!(everything(&guest, cx), everything(&guest, &mut start));
    }
}

#[test]
fn an_answered_call_changes_its_results_rcx_r11_and_nothing_else() {
    let guest = Guest::new();
    let at = guest.text(&TWO_CALLS);
    let mut random = Random(0x0dd_ba11);
    for round in 0..ROUNDS {
        let mut start = guest.cx(at);
        randomize(&mut start, &mut random);
        start.regs.rflags &= !SLOW_FLAGS;
        let value = random.next();
        start.answer = Answer { number: 42, value };
        let mut slot = Some(Box::new(start.clone()));
        let mut script = Script::new(&guest, FastEnd::Slow);
        let trap = guest.machine.run(&mut slot, &mut script);
        assert_eq!(trap, Some(Trap::Syscall));
        if cfg!(not(target_feature = "crt-static")) {
            return;
        }
        let cx = slot.as_deref_mut().expect("it has not parked");
        let mut expected = start.regs.clone();
        (expected.rip, expected.rcx) = (at + 14, at + 14);
        (expected.rax, expected.rdx) = (43, 0);
        (expected.r11, expected.rflags) = (cx.regs.r11, cx.regs.rflags);
        let flags = start.regs.rflags & FLAGS & !1;
        assert_eq!(cx.regs.rflags & FLAGS, flags, "round {round}");
        assert_eq!(cx.regs, expected, "round {round}");
        assert_eq!(everything(&guest, cx), everything(&guest, &mut start));
    }
}

#[test]
fn the_answer_is_what_was_said() {
    if cfg!(not(target_feature = "crt-static")) {
        return;
    }
    let guest = Guest::new();
    // The call, then rax to rbx, then ud2.
    let at = guest.text(&[0xb8, 42, 0, 0, 0, 0x0f, 5, 0x48, 0x89, 0xc3, 0x0f, 0x0b]);
    let before = guest.machine.stats();
    let mut cx = guest.cx(at);
    cx.answer = Answer {
        number: 42,
        value: 0x1234_5678_9abc,
    };
    let mut slot = Some(Box::new(cx));
    let mut script = Script::new(&guest, FastEnd::Done);
    let trap = guest.machine.run(&mut slot, &mut script);
    assert!(matches!(trap, Some(Trap::Fault(_))));
    assert_eq!(script.made, 0);
    assert_eq!(slot.expect("it is there").regs.rbx, 0x1234_5678_9abc);
    assert_eq!(guest.machine.stats().fast, before.fast + 1);
}

#[test]
fn contexts_that_take_each_others_place_keep_their_registers() {
    let guest = Guest::new();
    let at = guest.text(&TWO_CALLS);
    let mut random = Random(0xfeed);
    let mut plain = |rip| {
        let mut cx = guest.cx(rip);
        randomize(&mut cx, &mut random);
        cx.regs.rflags &= !SLOW_FLAGS;
        cx.fpu.ext = None;
        cx
    };
    for round in 0..ROUNDS {
        let (first, second) = (plain(at), plain(at + 7));
        let mut slot = Some(Box::new(first.clone()));
        let mut script = Script::new(&guest, FastEnd::Switched);
        script.other = Some(Box::new(second.clone()));
        let trap = guest.machine.run(&mut slot, &mut script);
        assert_eq!(trap, Some(Trap::Syscall));
        if cfg!(not(target_feature = "crt-static")) {
            return;
        }
        let parked = script.parked.as_deref().expect("the first has parked");
        assert!(parked.fpu.is_plain());
        let mut here = slot.expect("the second runs");
        guest.machine.switch_out(&mut here);
        for (cx, start, rip, rax) in [(parked, &first, at + 7, 42), (&*here, &second, at + 14, 43)]
        {
            let mut expected = start.regs.clone();
            (expected.rip, expected.rcx, expected.rax) = (rip, rip, rax);
            (expected.r11, expected.rflags) = (cx.regs.r11, cx.regs.rflags);
            assert_eq!(cx.regs, expected, "round {round}");
            assert_eq!(
                cx.regs.rflags & FLAGS,
                start.regs.rflags & FLAGS,
                "round {round}"
            );
            assert_eq!((cx.fpu.xmm, cx.fpu.mxcsr), (start.fpu.xmm, start.fpu.mxcsr));
            assert!(cx.fpu.is_plain(), "round {round}");
        }
    }
}

#[test]
fn a_context_with_more_than_xmm_is_not_set_aside_on_the_spot() {
    let guest = Guest::new();
    let at = guest.text(&TWO_CALLS);
    let mut random = Random(0xace);
    let mut start = guest.cx(at);
    randomize(&mut start, &mut random);
    start.regs.rflags &= !SLOW_FLAGS;
    let mut slot = Some(Box::new(start.clone()));
    let mut script = Script::new(&guest, FastEnd::Parked);
    assert_eq!(
        guest.machine.run(&mut slot, &mut script),
        Some(Trap::Syscall)
    );
    assert_eq!(script.made, 0);
    let mut cx = slot.expect("it is there");
    assert_eq!(cx.regs.rip, at + 7);
    assert_eq!(everything(&guest, &mut cx), everything(&guest, &mut start));
}

#[test]
fn a_preempted_guest_goes_on_with_every_register() {
    let guest = Guest::new();
    // inc rax; jmp back.
    let at = guest.text(&[0x48, 0xff, 0xc0, 0xeb, 0xfb]);
    let mut random = Random(77);
    let mut cx = guest.cx(at);
    randomize(&mut cx, &mut random);
    let start = cx.clone();
    let stop = AtomicBool::new(false);
    let machine = &guest.machine;
    let mut preempted = 0;
    std::thread::scope(|threads| {
        threads.spawn(|| {
            // This thread is no vcpu.
            while !stop.load(Ordering::Relaxed) {
                machine.kick(0);
            }
        });
        while preempted < 4_000 {
            assert_eq!(guest.enter(&mut cx), Trap::Preempted);
            preempted += 1;
            if preempted % 64 == 0 {
                be_busy();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let mut expected = start.regs.clone();
    assert!(cx.regs.rip == at || cx.regs.rip == at + 3);
    assert!(cx.regs.rax.wrapping_sub(start.regs.rax) > 0);
    expected.rax = cx.regs.rax;
    expected.rip = cx.regs.rip;
    expected.rflags = cx.regs.rflags;
    assert_eq!(cx.regs, expected);
    let mut start = start;
    assert_eq!(everything(&guest, &mut cx), everything(&guest, &mut start));
}

#[test]
fn two_lwps_on_one_vcpu_do_not_see_each_others_registers() {
    let guest = Guest::new();
    let at = guest.text(&[0xb8, 1, 0, 0, 0, 0x0f, 5, 0xeb, 0xf7]);
    let mut random = Random(5);
    let mut full = guest.cx(at);
    randomize(&mut full, &mut random);
    let mut start = full.clone();
    let mut plain = guest.cx(at);
    for _ in 0..ROUNDS {
        assert_eq!(guest.enter(&mut full), Trap::Syscall);
        guest.machine.switch_out(&mut full);
        assert_eq!(guest.enter(&mut plain), Trap::Syscall);
        assert!(guest.machine.uppers(&mut plain).is_none());
        assert!(plain.fpu.ext.is_none(), "a clean LWP needs no room");
        // An LWP that ends without being switched out leaves its registers behind.
        let mut gone = start.clone();
        assert_eq!(guest.enter(&mut gone), Trap::Syscall);
    }
    start.regs = full.regs.clone();
    assert_eq!(
        everything(&guest, &mut full),
        everything(&guest, &mut start)
    );
    assert_eq!(plain.fpu.xmm, [[0; 2]; 16]);
}

#[test]
fn the_guests_fs_is_in_force_and_read_back() {
    let guest = Guest::new();
    // rdfsbase rax; mov eax, fs:[0] would fault: no memory there. Then a call that is not patched.
    let at = guest.text(&[0xf3, 0x48, 0x0f, 0xae, 0xc0, 0x48, 0x89, 0xc3, 0x0f, 5]);
    for fs_base in [0, 0x1234_5678, (1 << 47) - 1] {
        let mut cx = guest.cx(at);
        cx.regs.fs_base = fs_base;
        assert_eq!(guest.enter(&mut cx), Trap::Syscall);
        assert_eq!(cx.regs.rbx, fs_base);
    }
    let mut cx = guest.cx(at);
    cx.regs.fs_base = 1 << 47;
    assert!(matches!(guest.enter(&mut cx), Trap::Fault(fault) if fault.trapno == 13));
}

#[test]
fn an_image_of_the_guests_registers_shows_them_and_can_be_put_back() {
    let guest = Guest::new();
    let at = guest.text(&[0xb8, 1, 0, 0, 0, 0x0f, 5, 0xeb, 0xf7]);
    let mut random = Random(9);
    let mut cx = guest.cx(at);
    randomize(&mut cx, &mut random);
    let mut start = cx.clone();
    assert_eq!(guest.enter(&mut cx), Trap::Syscall);
    let live = cx.fpu.live;
    let image = guest.machine.fpu_image(&mut cx);
    assert_eq!(cx.fpu.live, live, "looking changes nothing");
    let ext = start.fpu.ext.as_ref().expect("it was given");
    assert_eq!(image.0[..6], ext.bytes[..6]);
    assert_eq!(image.0[32..160], ext.bytes[32..160]);
    let uppers = guest.machine.uppers(&mut cx).expect("they are not zero");
    // As for a signal handler: a clean state, a while of use, and back.
    let clean = guest.machine.fpu_image(&mut UserCtx::default());
    guest.machine.fpu_install(&mut cx, &clean.0);
    assert_eq!(guest.enter(&mut cx), Trap::Syscall);
    assert!(guest.machine.uppers(&mut cx).is_none());
    guest.machine.fpu_install(&mut cx, &image.0);
    guest.machine.set_uppers(&mut cx, &uppers);
    assert_eq!(guest.enter(&mut cx), Trap::Syscall);
    assert_eq!(everything(&guest, &mut cx), everything(&guest, &mut start));
    // A child gets all of it.
    let mut child = guest.cx(at);
    child.fpu = guest.machine.fpu_clone(&mut cx);
    assert_eq!(guest.enter(&mut child), Trap::Syscall);
    assert_eq!(
        everything(&guest, &mut child),
        everything(&guest, &mut start)
    );
}
