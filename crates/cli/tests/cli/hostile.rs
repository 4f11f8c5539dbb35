//! Damaged programs: whatever a file holds, `lwp run` runs it or refuses it, and nothing else.
//!
//! Only headers and note are damaged. Wherever the entry point goes then, the only system call in
//! the file is the program's own exit: no damage makes it do harm here.

use crate::elf::{Code, Elf};
use crate::run::{file, lwp_run, output, stderr};

/// Damaged files tried; each takes about as long as starting a process.
const FILES: u64 = 1_500;
/// Header, program headers and note end before here.
const HEADERS: u64 = 0x1c0;
/// What a number is likely to be confused by.
const EDGES: [u64; 12] = [
    0,
    1,
    0xfff,
    0x1000,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x4fff_ffff_f000,
    0x5000_0000_0000,
    0x7fff_ffff_f000,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// Numbers that are the same in every run (splitmix64), so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn place(&mut self, bound: u64) -> usize {
        usize::try_from(self.below(bound)).unwrap()
    }
}

/// Damages a file: a bit, a field, or its end.
fn damage(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    match numbers.below(8) {
        0 => bytes.truncate(numbers.place(0x900)),
        1..=3 => {
            let bit = 1 << numbers.below(8);
            bytes[numbers.place(HEADERS)] ^= bit;
        }
        _ => {
            let width = 1 << numbers.below(4);
            let at = numbers.place(HEADERS - 8) / width * width;
            let edge = EDGES[numbers.place(12)].to_le_bytes();
            bytes[at..at + width].copy_from_slice(&edge[..width]);
        }
    }
}

#[test]
fn damaged_programs_run_or_are_refused() {
    let whole = Elf::netbsd(Code::default().exit(7)).bytes();
    for seed in 0..FILES {
        let mut numbers = Numbers(seed);
        let mut bytes = whole.clone();
        // Truncation comes alone: what is cut off cannot be damaged.
        for _ in 0..=numbers.below(3) {
            if bytes.len() == whole.len() {
                damage(&mut bytes, &mut numbers);
            }
        }
        let path = file("hostile", &bytes, 0o755);
        let output = output(&mut lwp_run(&path));
        let said = stderr(&output);
        match output.status.code() {
            // It was refused, and that is said in one line.
            Some(126) => assert_eq!(said.lines().count(), 1, "seed {seed}: {said}"),
            // It ran; from a wrong place, or without memory it needed, it died as programs die.
            Some(7) | None => {}
            Some(code) => panic!("seed {seed}: exit status {code}: {said}"),
        }
        assert!(!said.contains("panicked"), "seed {seed}: {said}");
    }
}

#[test]
fn every_truncation_of_the_headers_is_refused() {
    let whole = Elf::netbsd(Code::default().exit(7)).bytes();
    for len in 0..usize::try_from(HEADERS).unwrap() {
        let path = file("truncated", &whole[..len], 0o755);
        let output = output(&mut lwp_run(&path));
        assert_eq!(
            output.status.code(),
            Some(126),
            "{len} bytes: {}",
            stderr(&output)
        );
        assert_eq!(
            stderr(&output).lines().count(),
            1,
            "{len} bytes: {}",
            stderr(&output)
        );
    }
}
