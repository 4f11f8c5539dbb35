//! Numbers that have a twin on Linux: the tables from which conversions are made.
//!
//! A module names a group of constants once, in `numbers!`; the macro makes a constant of each
//! and a table of all. So the number of a thing, here and on Linux, is written in one place, and
//! the test against the headers finds every one of them.

/// One number of NetBSD, and the Linux number of the same meaning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Number {
    /// The name in NetBSD's headers.
    pub name: &'static str,
    /// The value in NetBSD's headers.
    pub netbsd: i64,
    /// The value on Linux, if Linux has the thing.
    pub linux: Option<i64>,
}

/// Declares constants with their Linux twins, and a table of them.
macro_rules! numbers {
    (
        $(#[$about:meta])* $table:ident: $ty:ty {
            $($(#[$doc:meta])* $name:ident = $netbsd:literal $(=> $linux:literal)?,)*
        }
    ) => {
        $(
            #[doc = concat!(
                "`", stringify!($name), "`: ", stringify!($netbsd), $("; on Linux ", stringify!($linux),)? "."
            )]
            #[doc = ""]
            $(#[$doc])*
            pub const $name: $ty = $netbsd;
        )*
        $(#[$about])*
        pub static $table: &[$crate::table::Number] = &[$(
            $crate::table::Number {
                name: stringify!($name),
                netbsd: $netbsd,
                linux: numbers!(@linux $($linux)?),
            },
        )*];
    };
    (@linux) => { None };
    (@linux $linux:literal) => { Some($linux) };
}
pub(crate) use numbers;

/// The Linux value of one NetBSD value, if both have the thing.
pub fn to_linux(table: &[Number], netbsd: i64) -> Option<i64> {
    // Several names may share a number; the first that Linux knows decides.
    table
        .iter()
        .filter(|n| n.netbsd == netbsd)
        .find_map(|n| n.linux)
}

/// The NetBSD value of one Linux value, if both have the thing.
pub fn from_linux(table: &[Number], linux: i64) -> Option<i64> {
    Some(table.iter().find(|n| n.linux == Some(linux))?.netbsd)
}

/// The name of one NetBSD value, for traces.
pub fn name_of(table: &[Number], netbsd: i64) -> Option<&'static str> {
    Some(table.iter().find(|n| n.netbsd == netbsd)?.name)
}

/// A flag word in the other system's bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Translated {
    /// The bits that both systems have, in the new values.
    pub bits: u32,
    /// The bits that were not understood, in the old values.
    pub rest: u32,
}

/// Translates a flag word to Linux, bit by bit.
pub fn flags_to_linux(table: &[Number], bits: u32) -> Translated {
    translate(bits, table.iter().map(|n| (Some(n.netbsd), n.linux)))
}

/// Translates a flag word from Linux, bit by bit.
pub fn flags_from_linux(table: &[Number], bits: u32) -> Translated {
    translate(bits, table.iter().map(|n| (n.linux, Some(n.netbsd))))
}

fn translate(bits: u32, pairs: impl Iterator<Item = (Option<i64>, Option<i64>)>) -> Translated {
    let mut done = Translated {
        bits: 0,
        rest: bits,
    };
    for (from, to) in pairs {
        let (Some(from), Some(to)) = (word(from), word(to)) else {
            continue;
        };
        if from != 0 && bits & from == from {
            done.bits |= to;
            done.rest &= !from;
        }
    }
    done
}

fn word(value: Option<i64>) -> Option<u32> {
    u32::try_from(value?).ok()
}

#[cfg(test)]
#[expect(
    unreachable_pub,
    reason = "the macro makes public items, here for nobody"
)]
mod tests {
    use super::*;

    numbers! {
        /// An example.
        EXAMPLE: u32 {
            A = 0x1 => 0x10,
            B = 0x2,
            AC = 0x5 => 0x30,
        }
    }

    #[test]
    fn flags_without_a_twin_are_left_over() {
        let got = flags_to_linux(EXAMPLE, A | B | AC | 0x100);
        assert_eq!(
            got,
            Translated {
                bits: 0x30,
                rest: 0x102
            }
        );
    }

    #[test]
    fn a_multi_bit_flag_needs_all_its_bits() {
        assert_eq!(
            flags_from_linux(EXAMPLE, 0x20),
            Translated {
                bits: 0,
                rest: 0x20
            }
        );
    }

    #[test]
    fn single_values_go_both_ways() {
        assert_eq!(to_linux(EXAMPLE, 1), Some(0x10));
        assert_eq!(from_linux(EXAMPLE, 0x30), Some(5));
        assert_eq!(name_of(EXAMPLE, 2), Some("B"));
    }
}
