use super::*;
use proptest::prelude::*;

/// An ELF file made for tests; what a real one has and the loader ignores is left out.
struct Elf {
    kind: elf::FileType,
    machine: elf::Machine,
    entry: u64,
    os_abi: u8,
    note: Option<(&'static [u8], u32, u32)>,
    interp: Option<&'static [u8]>,
    /// vaddr, memsz, offset, filesz, flags
    loads: Vec<[u64; 5]>,
    len: usize,
}

impl Default for Elf {
    fn default() -> Self {
        Self {
            kind: elf::ET_EXEC,
            machine: elf::EM_X86_64,
            entry: 0x40_1000,
            os_abi: 0,
            note: Some((b"NetBSD\0", 1, 1_001_000_000)),
            interp: None,
            loads: vec![
                [0x40_0000, 0x1000, 0, 0x1000, 4],
                [0x40_1000, 0x800, 0x1000, 0x800, 5],
                [0x40_2800, 0x3000, 0x1800, 0x200, 6],
            ],
            len: 0x2000,
        }
    }
}

impl Elf {
    fn bytes(&self) -> Vec<u8> {
        let mut headers = Vec::new();
        let note = self.note.map(|(name, kind, desc)| {
            let mut note = Vec::new();
            for word in [u32::try_from(name.len()).unwrap(), 4, kind] {
                note.extend(word.to_le_bytes());
            }
            note.extend(name);
            note.resize(note.len().next_multiple_of(4), 0);
            note.extend(desc.to_le_bytes());
            note
        });
        for (kind, content, at) in [(4_u32, note.as_deref(), 0x400), (3, self.interp, 0x500)] {
            if let Some(content) = content {
                let len = content.len() as u64;
                headers.extend(header(kind, [0x40_0000 + at, len, at, len, 4], 4));
            }
        }
        for load in &self.loads {
            headers.extend(header(1, *load, 0x1000));
        }
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, self.os_abi];
        file.resize(16, 0);
        file.extend(self.kind.0.to_le_bytes());
        file.extend(self.machine.0.to_le_bytes());
        file.extend(1_u32.to_le_bytes());
        for word in [self.entry, 64, 0] {
            file.extend(word.to_le_bytes());
        }
        file.extend(0_u32.to_le_bytes());
        let phnum = u16::try_from(headers.len() / 56).unwrap();
        for half in [64, 56, phnum, 64, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        file.extend(headers);
        file.resize(0x400, 0);
        file.extend(note.unwrap_or_default());
        file.resize(0x500, 0);
        file.extend(self.interp.unwrap_or_default());
        file.resize(self.len, 0);
        file
    }

    fn examined(&self) -> Result<Program, Refusal> {
        examine(&self.bytes()[..])
    }
}

fn header(kind: u32, [vaddr, memsz, offset, filesz, flags]: [u64; 5], align: u64) -> Vec<u8> {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend(u32::try_from(flags).unwrap().to_le_bytes());
    for word in [offset, vaddr, vaddr, filesz, memsz, align] {
        bytes.extend(word.to_le_bytes());
    }
    bytes
}

#[test]
fn a_static_program_is_understood() {
    let program = Elf::default().examined().unwrap();
    assert_eq!(program.version, 1_001_000_000);
    assert_eq!((program.is_pie, program.entry), (false, 0x40_1000));
    assert_eq!((program.phdr, program.phnum), (0x40_0040, 4));
    assert_eq!(program.span(), 0x40_0000..0x40_6000);
    assert_eq!(program.segments[1].prot, Prot::READ | Prot::EXEC);
    assert_eq!(program.segments[2].file, 0x1800..0x1a00);
}

#[test]
fn a_static_pie_may_begin_at_zero() {
    let loads = vec![[0, 0x1000, 0, 0x1000, 5]];
    let pie = Elf {
        kind: elf::ET_DYN,
        entry: 0x10,
        loads: loads.clone(),
        ..Elf::default()
    };
    assert!(pie.examined().unwrap().is_pie);
    let fixed = Elf {
        entry: 0x10,
        loads,
        ..Elf::default()
    };
    assert_eq!(fixed.examined(), Err(Refusal::Unplaceable(0)));
}

#[test]
fn other_files_are_called_by_their_names() {
    let shown = |bytes: &[u8]| examine(bytes).unwrap_err().to_string();
    assert_eq!(shown(b""), "the file is empty");
    assert_eq!(
        shown(b"#!/bin/sh -e\n"),
        "a script: run its interpreter, /bin/sh"
    );
    assert_eq!(shown(b"hello\n"), "not an ELF program but text");
    assert_eq!(shown(&[1, 2, 3]), "not an ELF program but data");
    assert_eq!(shown(b"MZ\x90"), "not an ELF program but a Windows program");
    assert_eq!(
        shown(b"\x7fELF"),
        "the file is truncated: no room for an ELF header"
    );
    assert_eq!(shown(&Elf::default().bytes()[..40]), shown(b"\x7fELF"));
}

#[test]
fn other_programs_are_called_by_their_systems() {
    let shown = |file: Elf| file.examined().unwrap_err().to_string();
    let none = || Elf {
        note: None,
        ..Elf::default()
    };
    assert_eq!(
        shown(none()),
        "no NetBSD note: it was built for some other system"
    );
    assert_eq!(
        shown(Elf {
            os_abi: 9,
            ..none()
        }),
        "a FreeBSD program, not a NetBSD one"
    );
    let linux = Elf {
        interp: Some(b"/lib64/ld-linux-x86-64.so.2\0"),
        ..none()
    };
    assert_eq!(shown(linux), "a Linux program, not a NetBSD one");
    let tagged = Elf {
        note: Some((b"GNU\0", 1, 0)),
        ..none()
    };
    assert_eq!(shown(tagged), "a Linux program, not a NetBSD one");
    let arm = Elf {
        machine: elf::EM_AARCH64,
        ..Elf::default()
    };
    assert_eq!(shown(arm), "built for aarch64, not for x86-64");
    let object = Elf {
        kind: elf::ET_REL,
        ..Elf::default()
    };
    assert_eq!(shown(object), "an object file, not a program");
    let dynamic = Elf {
        interp: Some(b"/usr/libexec/ld.elf_so\0"),
        ..Elf::default()
    };
    assert_eq!(
        dynamic.examined(),
        Err(Refusal::Dynamic("/usr/libexec/ld.elf_so".into()))
    );
}

#[test]
fn hostile_segments_are_refused() {
    let with = |load: [u64; 5]| {
        let loads = vec![Elf::default().loads[1], load];
        Elf {
            loads,
            ..Elf::default()
        }
        .examined()
        .map(|_| ())
    };
    let damaged = |result| matches!(result, Err(Refusal::Damaged(_)));
    assert_eq!(with([0x50_0000, 0x1000, 0, 0x1000, 6]), Ok(()));
    assert!(damaged(with([0x40_1400, 0x1000, 0x400, 0x1000, 6])));
    assert!(damaged(with([0x50_0000, 0x10, 0, 0x20, 6])));
    assert!(damaged(with([0x50_0001, 0x10, 0, 0x10, 6])));
    assert!(damaged(with([u64::MAX - 0xfff, 0x2000, 0, 0x10, 6])));
    assert!(damaged(with([GUEST_BOUND - 0x1000, 0x2000, 0, 0x10, 6])));
    assert_eq!(
        with([0x50_0000, 0x9000, 0, 0x8000, 6]),
        Err(Refusal::Truncated("its segments"))
    );
    let huge = u64::MAX - 0x10;
    assert!(matches!(
        with([0x50_0000, huge, 0, huge, 6]),
        Err(Refusal::Damaged(_))
    ));
    let empty = Elf {
        loads: vec![],
        ..Elf::default()
    };
    assert!(damaged(empty.examined().map(|_| ())));
    let outside = Elf {
        entry: 0x10,
        ..Elf::default()
    };
    assert!(damaged(outside.examined().map(|_| ())));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damaged_files_neither_panic_nor_pass_the_bounds(
        changes in prop::collection::vec((0..0x520_usize, any::<u8>()), 1..12),
        len in 0..0x2001_usize,
    ) {
        let mut bytes = Elf::default().bytes();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(len.max(0x520));
        if let Ok(program) = examine(&bytes[..]) {
            let mut end = 0;
            for segment in &program.segments {
                prop_assert!(segment.at.start >= end && segment.at.end <= GUEST_BOUND);
                prop_assert!(segment.file.end <= bytes.len() as u64);
                prop_assert!(segment.file.end - segment.file.start <= segment.at.end - segment.at.start);
                end = segment.at.end;
            }
        }
    }
}
