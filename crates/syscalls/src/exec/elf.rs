//! What a file is: a NetBSD program for this processor, or why it is not one.
//!
//! A program is recognised by its NetBSD note, in a `PT_NOTE` segment or a note section. `PaX` notes ask
//! for things we never do, and are not looked at.
//!
//! Sources: `exec_elf.c: elf_check_header, exec_elf_makecmds`, `exec_elf64.c: netbsd_elf64_probe`; elf(5);
//! lwp.md 6.8.

use super::Refusal;
use super::script::{MAX_LINE, Script};
use crate::errno::from_rustix;
use core::ops::Range;
use lwp_abi::mman::Prot;
use lwp_abi::until_nul;
use lwp_kernel::machine::{GUEST_BOUND, GUEST_START};
use lwp_kernel::vm::{PAGE, round_down, round_up};
use object::LittleEndian as LE;
use object::elf::{self, FileHeader64, ProgramHeader64};
use object::read::ReadRef;
use object::read::elf::{FileHeader, NoteIterator, ProgramHeader, SectionHeader};
use object::read::{ReadCache, ReadCacheOps};
use std::os::fd::BorrowedFd;

/// `MAXPHNUM`.
const MAX_SEGMENTS: usize = 128;
/// No more sections than this are searched for notes.
const MAX_SECTIONS: u64 = 4096;
/// Larger notes are not read.
const MAX_NOTE: u64 = 64 << 10;
/// No program needs to be aligned to more.
const MAX_ALIGN: u64 = 1 << 30;

/// A program we can load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// It may lie anywhere, and addresses are relative to where.
    pub is_pie: bool,
    /// Where it begins.
    pub entry: u64,
    /// What is to be mapped, in ascending order; at least one.
    pub segments: Vec<Segment>,
    /// Where its program headers will be; 0 if they are not loaded.
    pub phdr: u64,
    /// How many there are.
    pub phnum: u64,
    /// What its start must be a multiple of.
    pub align: u64,
    /// The version of NetBSD it was built for.
    pub version: u32,
}

/// A piece of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its addresses.
    pub at: Range<u64>,
    /// What of the file is at its beginning; the rest is zero.
    pub file: Range<u64>,
    /// What may be done to it.
    pub prot: Prot,
}

impl Program {
    /// All its pages, from the first to the last.
    pub fn span(&self) -> Range<u64> {
        let start = self
            .segments
            .first()
            .map_or(0, |first| round_down(first.at.start));
        let end = self.segments.last().map_or(0, |last| last.at.end);
        // `layout` bounds the end.
        start..round_up(end).unwrap_or(start)
    }
}

/// Examines an open file.
///
/// # Errors
/// Why it is not executed here.
pub fn examine_file(file: BorrowedFd<'_>) -> Result<Program, Refusal> {
    let mut head = [0; MAX_LINE];
    let len = rustix::io::pread(file, &mut head, 0)
        .map_err(|err| Refusal::Unreadable(from_rustix(err)))?;
    // The cache would read the whole of it to find out.
    recognise(&head[..len])?;
    let cache = ReadCache::new(Source { file, at: 0 });
    examine(&cache)
}

/// A file, and a place in it of its own. (Not `object`'s own way to read files: that comes with code for AVX2, which
/// no host code may have, since the vector registers are the guest's.)
struct Source<'a> {
    file: BorrowedFd<'a>,
    at: u64,
}

impl ReadCacheOps for Source<'_> {
    fn len(&mut self) -> Result<u64, ()> {
        let stat = rustix::fs::fstat(self.file).map_err(drop)?;
        u64::try_from(stat.st_size).map_err(drop)
    }

    fn seek(&mut self, pos: u64) -> Result<u64, ()> {
        self.at = pos;
        Ok(pos)
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ()> {
        let len = rustix::io::pread(self.file, buf, self.at).map_err(drop)?;
        self.at += len as u64;
        Ok(len)
    }

    fn read_exact(&mut self, mut buf: &mut [u8]) -> Result<(), ()> {
        while !buf.is_empty() {
            let len = self.read(buf)?;
            buf = buf.get_mut(len..).filter(|_| len > 0).ok_or(())?;
        }
        Ok(())
    }
}

/// Examines the contents of a file.
///
/// # Errors
/// Why it is not executed here.
pub fn examine<'d>(data: impl ReadRef<'d>) -> Result<Program, Refusal> {
    let len = data
        .len()
        .map_err(|()| Refusal::Truncated("an ELF header"))?;
    let head = data
        .read_bytes_at(0, len.min(MAX_LINE as u64))
        .unwrap_or(&[]);
    recognise(head)?;
    let header =
        FileHeader64::<LE>::parse(data).map_err(|_| Refusal::Truncated("an ELF header"))?;
    let phnum = header.e_phnum.get(LE);
    if usize::from(phnum) > MAX_SEGMENTS {
        return Err(Refusal::Damaged("it has too many segments"));
    }
    let headers = header
        .program_headers(LE, data)
        .map_err(|_| Refusal::Truncated("the program headers"))?;
    let notes = find_notes(header, headers, data);
    let interpreter = headers
        .iter()
        .find(|each| each.p_type.get(LE) == elf::PT_INTERP);
    let interpreter = interpreter.map(|each| text(each, data));
    let version = match (notes, header.e_ident.os_abi) {
        (Note::NetBsd(version), _) => version,
        (Note::Other(system), _) => return Err(Refusal::WrongSystem(system)),
        (Note::None, elf::ELFOSABI_FREEBSD) => return Err(Refusal::WrongSystem("FreeBSD")),
        (Note::None, elf::ELFOSABI_LINUX) => return Err(Refusal::WrongSystem("Linux")),
        (Note::None, _)
            if interpreter
                .as_ref()
                .is_some_and(|path| path.contains("ld-")) =>
        {
            return Err(Refusal::WrongSystem("Linux"));
        }
        (Note::None, _) => return Err(Refusal::NoNote),
    };
    if let Some(interpreter) = interpreter {
        return Err(Refusal::Dynamic(interpreter));
    }
    let is_pie = header.e_type.get(LE) == elf::ET_DYN;
    layout(header, headers, is_pie, version, len)
}

/// Most significant byte first.
const BIG: u8 = elf::ELFDATA2MSB.0;

/// Refuses what is not an ELF program for this processor, by its first bytes.
fn recognise(head: &[u8]) -> Result<(), Refusal> {
    if head.is_empty() {
        return Err(Refusal::Empty);
    }
    if let Some(script) = Script::parse(head) {
        return Err(Refusal::Script(script));
    }
    if !head.starts_with(&elf::ELFMAG) {
        return Err(Refusal::NotElf(what_else(head)));
    }
    let &[_, _, _, _, class, order, ..] = head else {
        return Err(Refusal::Truncated("an ELF header"));
    };
    let Some(&[a, b, c, d]) = head.get(16..20) else {
        return Err(Refusal::Truncated("an ELF header"));
    };
    let half = |low, high| match order {
        BIG => u16::from_be_bytes([low, high]),
        _ => u16::from_le_bytes([low, high]),
    };
    let machine = elf::Machine(half(c, d));
    if (machine, order) != (elf::EM_X86_64, elf::ELFDATA2LSB.0) {
        return Err(match machine {
            elf::EM_386 => Refusal::Not64Bit,
            _ => Refusal::WrongMachine(machine_name(machine)),
        });
    }
    if class != elf::ELFCLASS64.0 {
        return Err(Refusal::Not64Bit);
    }
    match elf::FileType(half(a, b)) {
        elf::ET_EXEC | elf::ET_DYN => Ok(()),
        elf::ET_REL => Err(Refusal::NotAProgram("an object file")),
        elf::ET_CORE => Err(Refusal::NotAProgram("a core file")),
        _ => Err(Refusal::Damaged("its type is unknown")),
    }
}

/// A name for a file that is no ELF file.
fn what_else(head: &[u8]) -> &'static str {
    let known: [(&[u8], &str); 8] = [
        (b"#!", "a script without an interpreter"),
        (b"MZ", "a Windows program"),
        (&[0xcf, 0xfa, 0xed, 0xfe], "a macOS program"),
        (&[0xca, 0xfe, 0xba, 0xbe], "a macOS program or Java class"),
        (b"\0asm", "a WebAssembly module"),
        (b"!<arch>\n", "a library archive"),
        (&[0x1f, 0x8b], "a gzip archive"),
        (b"PK", "a zip archive"),
    ];
    if let Some((_, name)) = known.iter().find(|(magic, _)| head.starts_with(magic)) {
        return name;
    }
    let is_text = core::str::from_utf8(head).is_ok_and(|text| {
        !text
            .chars()
            .any(|each| each.is_control() && !each.is_whitespace())
    });
    if is_text { "text" } else { "data" }
}

fn machine_name(machine: elf::Machine) -> String {
    let name = match machine {
        elf::EM_386 => "i386",
        elf::EM_ARM => "arm",
        elf::EM_AARCH64 => "aarch64",
        elf::EM_RISCV => "risc-v",
        elf::EM_PPC | elf::EM_PPC64 => "powerpc",
        elf::EM_MIPS => "mips",
        elf::EM_SPARC | elf::EM_SPARCV9 => "sparc",
        elf::EM_S390 => "s390",
        elf::EM_68K => "m68k",
        elf::EM_X86_64 => "a big-endian x86-64",
        other => return format!("machine type {}", other.0),
    };
    name.to_owned()
}

/// What the notes say of the system.
enum Note {
    NetBsd(u32),
    Other(&'static str),
    None,
}

/// Looks through the note segments, then through the note sections. What cannot be read is not there.
fn find_notes<'d, R: ReadRef<'d>>(
    header: &FileHeader64<LE>,
    headers: &'d [ProgramHeader64<LE>],
    data: R,
) -> Note {
    let mut found = Note::None;
    for each in headers
        .iter()
        .filter(|each| each.p_filesz.get(LE) <= MAX_NOTE)
    {
        if let Ok(Some(notes)) = each.notes(LE, data) {
            found = judge(notes, found);
        }
    }
    let few = header.e_shnum.get(LE) != 0 && u64::from(header.e_shnum.get(LE)) <= MAX_SECTIONS;
    if !matches!(found, Note::None) || !few {
        return found;
    }
    let sections = header.section_headers(LE, data).unwrap_or(&[]);
    for each in sections
        .iter()
        .filter(|each| each.sh_size.get(LE) <= MAX_NOTE)
    {
        if let Ok(Some(notes)) = each.notes(LE, data) {
            found = judge(notes, found);
        }
    }
    found
}

fn judge(mut notes: NoteIterator<'_, FileHeader64<LE>>, mut found: Note) -> Note {
    while let Ok(Some(note)) = notes.next() {
        const ABI_TAG: u32 = elf::NT_GNU_ABI_TAG.0;
        let kind = note.n_type(LE).0;
        match (note.name(), kind, note.desc()) {
            (b"NetBSD", 1, &[a, b, c, d, ..]) => {
                return Note::NetBsd(u32::from_le_bytes([a, b, c, d]));
            }
            (b"GNU", ABI_TAG, &[0, 0, 0, 0, ..]) => found = Note::Other("Linux"),
            (b"FreeBSD", 1, _) => found = Note::Other("FreeBSD"),
            (b"OpenBSD", 1, _) => found = Note::Other("OpenBSD"),
            (b"DragonFly", 1, _) => found = Note::Other("DragonFly"),
            _ => {}
        }
    }
    found
}

/// The path in a `PT_INTERP` segment.
fn text<'d>(header: &ProgramHeader64<LE>, data: impl ReadRef<'d>) -> String {
    let len = header.p_filesz.get(LE).min(1024);
    let bytes = data
        .read_bytes_at(header.p_offset.get(LE), len)
        .unwrap_or(b"?");
    String::from_utf8_lossy(until_nul(bytes)).into_owned()
}

/// Checks the segments against each other, the file and the guest's range.
fn layout(
    header: &FileHeader64<LE>,
    headers: &[ProgramHeader64<LE>],
    is_pie: bool,
    version: u32,
    len: u64,
) -> Result<Program, Refusal> {
    let mut segments = Vec::<Segment>::new();
    let mut align = PAGE;
    let loads = headers
        .iter()
        .filter(|each| each.p_type.get(LE) == elf::PT_LOAD);
    for each in loads.filter(|each| each.p_memsz.get(LE) != 0) {
        let segment = segment(each, len)?;
        if segments
            .last()
            .is_some_and(|last| segment.at.start < last.at.end)
        {
            return Err(Refusal::Damaged("its segments overlap or are not in order"));
        }
        segments.push(segment);
        align = align.max(each.p_align.get(LE));
    }
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
        return Err(Refusal::Damaged("it has nothing to load"));
    };
    if !align.is_power_of_two() || align > MAX_ALIGN {
        return Err(Refusal::Damaged("its alignment makes no sense"));
    }
    let lowest = if is_pie { 0 } else { GUEST_START };
    if first.at.start < lowest || last.at.end > GUEST_BOUND {
        return Err(Refusal::Unplaceable(first.at.start));
    }
    let entry = header.e_entry.get(LE);
    if !segments.iter().any(|each| each.at.contains(&entry)) {
        return Err(Refusal::Damaged(
            "its entry point is in none of its segments",
        ));
    }
    let phoff = header.e_phoff.get(LE);
    let by_header = headers
        .iter()
        .find(|each| each.p_type.get(LE) == elf::PT_PHDR);
    let by_offset = segments.iter().find(|each| each.file.contains(&phoff));
    let phdr = by_header
        .map(|each| each.p_vaddr.get(LE))
        .or_else(|| by_offset.map(|each| each.at.start + (phoff - each.file.start)))
        .filter(|&phdr| phdr < GUEST_BOUND);
    let phnum = headers.len() as u64;
    let phdr = phdr.unwrap_or(0);
    Ok(Program {
        is_pie,
        entry,
        segments,
        phdr,
        phnum,
        align,
        version,
    })
}

fn segment(header: &ProgramHeader64<LE>, len: u64) -> Result<Segment, Refusal> {
    const OVERFLOW: Refusal =
        Refusal::Damaged("a segment reaches past the end of the address space");
    let (offset, filesz) = (header.p_offset.get(LE), header.p_filesz.get(LE));
    let (vaddr, memsz) = (header.p_vaddr.get(LE), header.p_memsz.get(LE));
    if filesz > memsz {
        return Err(Refusal::Damaged(
            "a segment is larger in the file than in memory",
        ));
    }
    let end = vaddr
        .checked_add(memsz)
        .filter(|&end| end <= GUEST_BOUND)
        .ok_or(OVERFLOW)?;
    let file_end = offset.checked_add(filesz).filter(|&end| end <= len);
    let file_end = file_end.ok_or(Refusal::Truncated("its segments"))?;
    if filesz != 0 && vaddr % PAGE != offset % PAGE {
        return Err(Refusal::Damaged(
            "a segment's address does not fit its place in the file",
        ));
    }
    let flags = header.p_flags.get(LE);
    let mut prot = Prot::NONE;
    prot.set(Prot::READ, flags.0 & elf::PF_R.0 != 0);
    prot.set(Prot::WRITE, flags.0 & elf::PF_W.0 != 0);
    prot.set(Prot::EXEC, flags.0 & elf::PF_X.0 != 0);
    Ok(Segment {
        at: vaddr..end,
        file: offset..file_end,
        prot,
    })
}

#[cfg(test)]
#[path = "elf_tests.rs"]
mod tests;
