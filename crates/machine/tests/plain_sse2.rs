//! Host code leaves the guest's upper vector halves and mask registers alone: it is plain SSE2.
//!
//! Disassembles this program, which is all of the runner's libraries and libc, and the `lwp` binary
//! beside it if that has been built. VEX and EVEX instructions may stand only in glibc's own variants
//! of a few functions, chosen at start-up through IFUNC symbols. Those left are [`LEFT`]: string functions
//! of glibc's locale, name-service and wide-character code. Ours (`mem_fns`, `str_fns`) take the place of
//! the others, which ordinary calls use. In a dynamic build libc is not in the program and `fpu`
//! saves the uppers after every trap; then there is nothing to check here.

use iced_x86::{Decoder, DecoderOptions, EncodingKind};
use object::read::elf::Sym;
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};
use std::path::Path;

/// IFUNC symbols that may be left, without leading underscores.
const LEFT: [&str; 21] = [
    // With SSE4.1 or without: no VEX either way.
    "floor",
    "floorf32x",
    "floorf64",
    "index",
    "libc_strstr",
    "strcasecmp",
    "strcasecmp_l",
    "strcpy",
    "strcspn",
    "strncasecmp",
    "strncasecmp_l",
    "strncpy",
    "strpbrk",
    "strspn",
    "strstr",
    "wcslen",
    "wcsnlen",
    "wmemchr",
    "wmemset",
    "time",
    "gettimeofday",
];

/// Whether a function is one of glibc's variants for a certain CPU.
fn is_variant(name: &str) -> bool {
    let for_cpu = ["_avx2", "_avx512", "_evex", "_avx_unaligned"];
    let kinds = ["__str", "__stp", "__mem", "__wcs", "__wmem", "__rawmem"];
    name.starts_with("_dl_runtime_")
        || kinds.iter().any(|kind| name.starts_with(kind))
            && for_cpu.iter().any(|cpu| name.contains(cpu))
}

/// Whether there is no VEX or EVEX instruction in `code`. The decoder knows none of the latter, but what they begin
/// with: in 64-bit code nothing else does.
fn is_plain(code: &[u8]) -> bool {
    const EVEX: u8 = 0x62;
    let mut decoder = Decoder::new(64, code, DecoderOptions::NONE);
    let mut at = 0;
    while decoder.can_decode() {
        let instruction = decoder.decode();
        let is_legacy = matches!(instruction.encoding(), EncodingKind::Legacy);
        if instruction.is_invalid() && code[at] == EVEX || !instruction.is_invalid() && !is_legacy {
            return false;
        }
        at = decoder.position();
    }
    true
}

#[test]
fn vex_and_evex_are_seen() {
    // mov %rsp,%rbp; nop. vzeroupper. vpxord %zmm0,%zmm0,%zmm0.
    assert!(is_plain(&[0x48, 0x89, 0xe5, 0x90]));
    assert!(!is_plain(&[0x90, 0xc5, 0xf8, 0x77]));
    assert!(!is_plain(&[0x90, 0x62, 0xf1, 0x7d, 0x48, 0xef, 0xc0]));
}

/// The functions of a program that use VEX, EVEX or the like, but for glibc's variants.
fn offenders(file: &object::File<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut checked = 0;
    for symbol in file
        .symbols()
        .filter(|s| s.kind() == SymbolKind::Text && s.size() > 0)
    {
        let name = symbol.name().unwrap_or("?");
        let Some(section) = symbol
            .section_index()
            .and_then(|i| file.section_by_index(i).ok())
        else {
            continue;
        };
        let code = section
            .data_range(symbol.address(), symbol.size())
            .ok()
            .flatten();
        checked += 1;
        let code = code.unwrap_or(&[]);
        let plain = is_plain(code);
        if !plain && !is_variant(name) {
            found.push(name.to_owned());
        }
    }
    assert!(
        checked > 1000,
        "only {checked} functions: is this a stripped program?"
    );
    found
}

/// IFUNC symbols that nothing excuses.
fn ifuncs(file: &object::File<'_>) -> Vec<String> {
    const STT_GNU_IFUNC: u8 = 10;
    let object::File::Elf64(elf) = file else {
        panic!("a 64-bit program")
    };
    let mut names: Vec<String> = elf
        .elf_symbol_table()
        .symbols()
        .iter()
        .filter(|symbol| symbol.st_info.0 & 0xf == STT_GNU_IFUNC)
        .filter_map(|symbol| {
            let name = symbol
                .name(elf.endian(), elf.elf_symbol_table().strings())
                .ok()?;
            Some(
                String::from_utf8_lossy(name)
                    .trim_start_matches('_')
                    .to_owned(),
            )
        })
        .filter(|name| !LEFT.contains(&name.as_str()))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Checks one program; functions with `excused` in their names are its own business.
fn check(path: &Path, excused: Option<&str>) {
    let bytes = std::fs::read(path).expect("the program can be read");
    let file = object::File::parse(&*bytes).expect("it is an object file");
    let mut found = offenders(&file);
    found.retain(|name| excused.is_none_or(|excused| !name.contains(excused)));
    assert_eq!(found, Vec::<String>::new(), "in {}", path.display());
    assert_eq!(ifuncs(&file), Vec::<String>::new(), "in {}", path.display());
}

#[test]
fn host_code_is_plain_sse2() {
    if cfg!(not(target_feature = "crt-static")) {
        return;
    }
    let own = std::env::current_exe().expect("it runs");
    // Linked with the machine, or its functions would not be there.
    let _ = lwp_machine::own_descriptors();
    // This test reads object files, with the help of the memchr crate; the runner does not.
    check(&own, Some("6memchr4arch"));
    let lwp = own
        .parent()
        .and_then(Path::parent)
        .map(|dir| dir.join("lwp"));
    if let Some(lwp) = lwp.filter(|path| path.exists()) {
        check(&lwp, None);
    }
}
