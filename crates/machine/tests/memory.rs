//! Guest memory: copies that fault, addresses that are not the guest's, patches that go away in time.

mod common;

use common::Guest;
use lwp_abi::mman::Prot;
use lwp_kernel::ctx::Trap;
use lwp_kernel::machine::{Advice, Backing, BadAddress, GUEST_BOUND, GUEST_START, Memory};
use std::io::Write;
use std::os::fd::AsRawFd;

const PAGE: u64 = 4096;
const CALL: [u8; 7] = [0xb8, 42, 0, 0, 0, 0x0f, 5];
const RW: Prot = Prot::READ.union(Prot::WRITE);
const RX: Prot = Prot::READ.union(Prot::EXEC);

#[test]
fn copies_of_every_length_come_out_whole() {
    let guest = Guest::new();
    let at = guest.data();
    for len in (0..200).chain([4095, 4096, 4097, 70_000]) {
        for shift in [0, 1, 3, 8] {
            let bytes: Vec<u8> = (0..len)
                .map(|i: u64| u8::try_from((i * 31 + len) % 256).unwrap())
                .collect();
            guest.machine.copyout(&bytes, at + shift).expect("writable");
            let mut back = vec![0; bytes.len()];
            guest
                .machine
                .copyin(at + shift, &mut back)
                .expect("readable");
            assert!(back == bytes, "len {len}");
        }
    }
}

#[test]
fn copies_fault_at_every_kind_of_hole() {
    let guest = Guest::new();
    let m = &guest.machine;
    let (hole, wall) = (guest.data() + PAGE, guest.data() + 8 * PAGE);
    m.unmap(hole..hole + PAGE).expect("mapped");
    m.protect(wall..wall + PAGE, Prot::NONE).expect("mapped");
    let text = guest.text(&CALL);
    for len in [1, 2, 4, 7, 8, 60, 64, 65, 100, 4000] {
        let mut bytes = vec![1; len];
        for edge in [hole, wall] {
            let before = edge - len as u64;
            assert_eq!(m.copyout(&bytes, before), Ok(()));
            assert_eq!(m.copyin(before, &mut bytes), Ok(()));
            for at in [edge, before + 1] {
                assert_eq!(m.copyout(&bytes, at), Err(BadAddress), "len {len}");
                assert_eq!(m.copyin(at, &mut bytes), Err(BadAddress), "len {len}");
            }
        }
        assert_eq!(
            m.copyout(&bytes, text),
            Err(BadAddress),
            "text is not writable"
        );
    }
    assert_eq!(m.store_u32(7, hole), Err(BadAddress));
    assert_eq!(m.store_u32(7, hole - 4), Ok(()));
}

#[test]
fn addresses_beyond_the_guests_are_refused() {
    let guest = Guest::new();
    let m = &guest.machine;
    let host = [0_u8; 16];
    let ours = host.as_ptr() as u64;
    let mut bytes = [0; 16];
    let wild = [
        0,
        GUEST_START - 1,
        GUEST_BOUND - 8,
        GUEST_BOUND,
        ours,
        0x7fff_ffff_f000,
        1 << 47,
        0xffff_8000_0000_0000,
        u64::MAX - 15,
        u64::MAX,
    ];
    for at in wild {
        assert_eq!(m.copyin(at, &mut bytes), Err(BadAddress), "{at:#x}");
        assert_eq!(m.copyout(&bytes, at), Err(BadAddress), "{at:#x}");
        assert_eq!(m.copyinstr(at, &mut bytes), Err(BadAddress), "{at:#x}");
        assert_eq!(m.store_u32(1, at), Err(BadAddress), "{at:#x}");
        assert_eq!(m.copyin(at, &mut []), Ok(()), "nothing is nowhere");
        let range = at & !(PAGE - 1)..(at & !(PAGE - 1)).saturating_add(PAGE);
        if range.start < GUEST_START || range.end > GUEST_BOUND {
            let anon = Backing::Anon {
                shared: false,
                stack: false,
            };
            assert!(m.map(range.clone(), RW, anon).is_err(), "{at:#x}");
            assert!(m.unmap(range.clone()).is_err(), "{at:#x}");
            assert!(m.protect(range.clone(), RW).is_err(), "{at:#x}");
            assert!(m.advise(range.clone(), Advice::Free).is_err(), "{at:#x}");
            assert!(m.relocate(range.clone(), range).is_err(), "{at:#x}");
        }
    }
}

#[test]
fn strings_end_at_their_nul_and_may_lie_before_a_hole() {
    let guest = Guest::new();
    let m = &guest.machine;
    let end = guest.data() + PAGE;
    m.unmap(end..end + PAGE).expect("mapped");
    for len in [0_usize, 1, 15, 255, 256, 257, 600] {
        let mut text = vec![b'x'; len];
        text.push(0);
        let at = end - text.len() as u64;
        m.copyout(&text, at).expect("writable");
        let mut to = [0xff_u8; 1024];
        assert_eq!(m.copyinstr(at, &mut to), Ok(Some(len)));
        assert_eq!(to[..=len], text[..]);
        assert_eq!(
            m.copyinstr(at, &mut to[..len]),
            Ok(None),
            "no room for the NUL"
        );
        assert_eq!(m.copyinstr(at, &mut to[..=len]), Ok(Some(len)));
    }
    m.copyout(b"xx", end - 2).expect("writable");
    assert_eq!(m.copyinstr(end - 2, &mut [0; 1024]), Err(BadAddress));
}

#[test]
fn a_file_cut_short_is_a_bad_address() {
    let guest = Guest::new();
    let m = &guest.machine;
    let path = std::env::temp_dir().join(format!("lwp-machine-{}", std::process::id()));
    let mut file = std::fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .expect("a place for files");
    std::fs::remove_file(&path).expect("ours");
    file.write_all(&CALL).expect("room");
    let at = guest.data();
    // More pages than the file has: looking for call sites must not trip over them.
    let backing = Backing::File {
        fd: file.as_raw_fd(),
        offset: 0,
        shared: false,
    };
    m.map(at..at + 4 * PAGE, RX, backing).expect("mapped");
    let mut cx = guest.cx(at);
    assert_eq!(guest.enter(&mut cx), Trap::Syscall);
    assert_eq!(m.copyin(at + 2 * PAGE, &mut [0; 8]), Err(BadAddress));
    let mut beyond = guest.cx(at + 2 * PAGE);
    assert!(matches!(guest.enter(&mut beyond), Trap::Fault(_)));
    // The file itself was not patched, and a shared mapping of it is not either.
    let shared = Backing::File {
        fd: file.as_raw_fd(),
        offset: 0,
        shared: true,
    };
    m.map(at + 8 * PAGE..at + 9 * PAGE, RX, shared)
        .expect("mapped");
    let mut bytes = [0; 7];
    m.copyin(at + 8 * PAGE, &mut bytes).expect("readable");
    assert_eq!(bytes, CALL);
}

/// Whether the call at `at` is patched, by what its first byte reads as.
fn is_patched(guest: &Guest, at: u64) -> bool {
    let mut byte = [0];
    guest.machine.copyin(at, &mut byte).expect("readable");
    byte[0] == 0xe9
}

/// Makes the call at `at`; it must work, fast or slow.
fn call(guest: &Guest, at: u64) {
    let mut cx = guest.cx(at);
    assert_eq!(guest.enter(&mut cx), Trap::Syscall);
    assert_eq!((cx.regs.rax, cx.regs.rip), (42, at + 7));
}

#[test]
fn patches_are_gone_before_the_guest_can_write_replace_or_lose_the_text() {
    let guest = Guest::new();
    let m = &guest.machine;
    let anon = Backing::Anon {
        shared: false,
        stack: false,
    };
    let at = guest.text(&CALL);
    assert!(is_patched(&guest, at));
    call(&guest, at);
    m.protect(at..at + PAGE, RW | Prot::EXEC).expect("mapped");
    assert!(!is_patched(&guest, at), "it may be written now");
    call(&guest, at);
    m.protect(at..at + PAGE, RX).expect("mapped");
    assert!(!is_patched(&guest, at), "somebody may be running it");
    call(&guest, at);
    m.protect(at..at + PAGE, RW).expect("mapped");
    m.protect(at..at + PAGE, RX).expect("mapped");
    assert!(is_patched(&guest, at), "nobody could run it meanwhile");
    // A call that reaches over the end of what is replaced.
    let astride = at + PAGE - 3;
    guest.text_at(astride, &CALL);
    assert!(is_patched(&guest, astride));
    m.map(at + PAGE..at + 2 * PAGE, RW, anon).expect("room");
    let mut bytes = [0; 3];
    m.copyin(astride, &mut bytes).expect("readable");
    assert_eq!(bytes, CALL[..3]);
    // Unmapping and mapping anew.
    m.unmap(at..at + PAGE).expect("mapped");
    m.map(at..at + PAGE, RW, anon).expect("room");
    guest.text(&CALL);
    call(&guest, at);
    assert!(is_patched(&guest, at));
    // Moving takes the text along, without its patches.
    let to = guest.data();
    m.relocate(at..at + PAGE, to..to + PAGE).expect("room");
    assert!(!is_patched(&guest, to));
    call(&guest, to);
}

#[test]
fn a_guest_that_maps_over_trampolines_only_loses_speed() {
    let guest = Guest::new();
    let m = &guest.machine;
    let at = guest.text(&CALL);
    let mut jump = [0; 5];
    m.copyin(at, &mut jump).expect("readable");
    assert_eq!(jump[0], 0xe9);
    let distance = i32::from_le_bytes([jump[1], jump[2], jump[3], jump[4]]);
    let trampoline = (at + 5).wrapping_add_signed(i64::from(distance));
    let page = trampoline & !(PAGE - 1);
    assert!(
        (GUEST_START..GUEST_BOUND).contains(&page),
        "next to the text here"
    );
    let anon = Backing::Anon {
        shared: false,
        stack: false,
    };
    m.map(page..page + PAGE, RW, anon).expect("room");
    assert!(!is_patched(&guest, at));
    call(&guest, at);
}

#[test]
fn call_sites_are_found_in_all_of_a_large_text() {
    let guest = Guest::new();
    let mut code = Vec::new();
    for number in 0..20_000_u32 {
        code.extend([0x90; 3][..number as usize % 4].iter());
        code.extend(CALL);
    }
    let sites = 20_000;
    let len = (code.len() as u64).next_multiple_of(PAGE);
    let at = guest.data();
    assert!(len < common::PIECE / 4);
    guest.text_at(at, &code);
    let mut now = vec![0; code.len()];
    guest.machine.copyin(at, &mut now).expect("readable");
    let is_patched = |(old, new): &(&[u8], &[u8])| old == &CALL && new[0] == 0xe9;
    let patched = code
        .windows(7)
        .zip(now.windows(7))
        .filter(is_patched)
        .count();
    assert_eq!(patched, sites);
    let mut cx = guest.cx(at);
    let slow = guest.machine.stats().slow;
    for _ in 0..sites {
        assert_eq!(guest.enter(&mut cx), Trap::Syscall);
    }
    assert_eq!(guest.machine.stats().slow, slow);
}
