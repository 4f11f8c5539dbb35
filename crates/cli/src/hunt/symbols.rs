//! Names for addresses in a program.

use core::fmt::Write;
use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSymbol, SymbolKind};
use rustc_demangle::demangle;

/// What stands before an address in a story.
const BEFORE: &str = ", at 0x";

/// Adds to the addresses in `line` the functions of `program`, an ELF file's bytes, that they are in. Those of a
/// program that may lie anywhere have none.
pub(crate) fn name_addresses(line: &str, program: &[u8]) -> String {
    let Some((before, rest)) = line.split_once(BEFORE) else {
        return line.to_owned();
    };
    let end = rest
        .find(|each: char| !each.is_ascii_hexdigit())
        .unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    let mut text = format!("{before}{BEFORE}{digits}");
    let address = u64::from_str_radix(digits, 16).ok();
    if let Some((name, offset)) = address.and_then(|address| function_at(program, address)) {
        // Writing to a string does not fail.
        let _ = write!(text, " in {name}+{offset}");
    }
    text + after
}

fn function_at(program: &[u8], address: u64) -> Option<(String, u64)> {
    let file = ElfFile64::<Endianness>::parse(program).ok()?;
    let mut symbols = file.symbols();
    let found = symbols.find(|symbol| {
        let range = symbol.address()..symbol.address().saturating_add(symbol.size());
        symbol.kind() == SymbolKind::Text && range.contains(&address)
    })?;
    let name = found.name().ok()?;
    Some((format!("{:#}", demangle(name)), address - found.address()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_program_and_what_has_no_address_is_left_as_it_is() {
        for line in ["LWP 1 was held, at 0x10; LWP 2 ran", "LWP 1 was held"] {
            assert_eq!(name_addresses(line, b"#!/bin/sh\n"), line);
        }
    }

    #[test]
    fn an_address_in_this_program_has_the_name_of_its_function() {
        let program = std::fs::read("/proc/self/exe").expect("this program can be read");
        let file = ElfFile64::<Endianness>::parse(&*program).expect("it is an ELF file");
        let function = file
            .symbols()
            .find(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 4)
            .expect("it has functions");
        let line = format!("held, at {:#x}; LWP 2 ran", function.address() + 3);
        let named = name_addresses(&line, &program);
        assert!(named.ends_with("+3; LWP 2 ran"), "{named}");
    }
}
