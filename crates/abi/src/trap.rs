//! Exceptions: NetBSD's own numbers for them, in `si_trap` and in contexts.
//!
//! Sources: `x86/trap.h`; `amd64_trap.S` for which exception gets which number.

/// `T_PAGEFLT`: the number of a page fault.
pub const T_PAGEFLT: u32 = 6;
/// `T_RESERVED`: the number of whatever the processor may add.
pub const T_RESERVED: u32 = 20;

/// By exception vector: `T_DIVIDE`, `T_TRCTRAP`, `T_NMI`, `T_BPTFLT`, `T_OFLOW`, `T_BOUND`, `T_PRIVINFLT`,
/// `T_DNA`, `T_DOUBLEFLT`, `T_FPOPFLT`, `T_TSSFLT`, `T_SEGNPFLT`, `T_STKFLT`, `T_PROTFLT`, `T_PAGEFLT`,
/// `T_ASTFLT`, `T_ARITHTRAP`, `T_ALIGNFLT`, `T_MCA`, `T_XMM`.
const TRAPS: [u8; 20] = [
    8, 5, 9, 1, 10, 11, 0, 12, 13, 14, 15, 16, 17, 4, 6, 3, 2, 7, 18, 19,
];

/// NetBSD's number for the exception that x86 calls `vector`.
pub fn trap_number(vector: u32) -> u32 {
    usize::try_from(vector)
        .ok()
        .and_then(|vector| TRAPS.get(vector))
        .map_or(T_RESERVED, |&trap| u32::from(trap))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vector_has_a_number_of_its_own() {
        assert_eq!(trap_number(14), T_PAGEFLT);
        let mut all: Vec<_> = (0..20).map(trap_number).collect();
        all.sort_unstable();
        assert_eq!(all, (0..20).collect::<Vec<_>>());
        assert_eq!(trap_number(20), T_RESERVED);
        assert_eq!(trap_number(u32::MAX), T_RESERVED);
    }
}
