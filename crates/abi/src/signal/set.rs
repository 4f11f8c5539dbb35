//! Sets of signals.

use super::{NSIG, Signo};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `sigset_t`: signal n is bit (n - 1) mod 32 of word (n - 1) / 32.
///
/// There is room for 128; bits that name no signal are kept, and never come out of [`Self::iter`].
#[derive(Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct SigSet {
    bits: [u32; 4],
}

impl SigSet {
    /// No signal.
    pub const EMPTY: Self = Self { bits: [0; 4] };
    /// Every signal (`sigfillset(3)`).
    pub const ALL: Self = Self {
        bits: [u32::MAX; 4],
    };
    /// The signals that nobody may block: `SIGKILL` and `SIGSTOP`.
    pub const CANTMASK: Self = Self::of(&[Signo::SIGKILL, Signo::SIGSTOP]);
    /// The signals that stop a process by default.
    pub const STOP: Self = Self::of(&[
        Signo::SIGSTOP,
        Signo::SIGTSTP,
        Signo::SIGTTIN,
        Signo::SIGTTOU,
    ]);
    /// The signal that continues it.
    pub const CONT: Self = Self::of(&[Signo::SIGCONT]);

    /// The set of these signals.
    pub const fn of(signals: &[Signo]) -> Self {
        let mut bits = [0; 4];
        let mut at = 0;
        while at < signals.len() {
            let (word, bit) = place(signals[at]);
            bits[word] |= bit;
            at += 1;
        }
        Self { bits }
    }

    /// Whether the signal is in the set.
    pub const fn contains(self, signo: Signo) -> bool {
        let (word, bit) = place(signo);
        self.bits[word] & bit != 0
    }

    /// Adds the signal.
    pub const fn insert(&mut self, signo: Signo) {
        let (word, bit) = place(signo);
        self.bits[word] |= bit;
    }

    /// Takes the signal out.
    pub const fn remove(&mut self, signo: Signo) {
        let (word, bit) = place(signo);
        self.bits[word] &= !bit;
    }

    /// What is in either set.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    /// What is in both sets.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    /// What is in this set, and not in the other.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.zip(other, |a, b| a & !b)
    }

    /// Whether no valid signal is in the set.
    pub fn is_empty(self) -> bool {
        self.valid() == 0
    }

    /// The lowest signal of the set.
    pub fn first(self) -> Option<Signo> {
        self.iter().next()
    }

    /// The signals of the set, lowest first.
    pub fn iter(self) -> impl Iterator<Item = Signo> {
        let mut left = self.valid();
        core::iter::from_fn(move || {
            let signo = Signo::new(left.trailing_zeros().cast_signed() + 1)?;
            left &= left - 1;
            Some(signo)
        })
    }

    /// The four words, as they lie in memory.
    pub const fn words(self) -> [u32; 4] {
        self.bits
    }

    /// The bits of signals 1 to 63.
    fn valid(self) -> u64 {
        let both = u64::from(self.bits[0]) | u64::from(self.bits[1]) << 32;
        both & !(1 << (NSIG - 1))
    }

    fn zip(self, other: Self, f: impl Fn(u32, u32) -> u32) -> Self {
        Self {
            bits: core::array::from_fn(|i| f(self.bits[i], other.bits[i])),
        }
    }
}

impl FromIterator<Signo> for SigSet {
    fn from_iter<I: IntoIterator<Item = Signo>>(signals: I) -> Self {
        let mut set = Self::EMPTY;
        signals.into_iter().for_each(|signo| set.insert(signo));
        set
    }
}

impl core::fmt::Debug for SigSet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The word and the bit of a signal.
const fn place(signo: Signo) -> (usize, u32) {
    let at = signo.index() - 1;
    (at / 32, 1 << (at % 32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn every_signal_goes_in_and_comes_out_alone() {
        for signo in Signo::all() {
            let mut set = SigSet::EMPTY;
            set.insert(signo);
            assert!(set.contains(signo));
            assert_eq!(set.iter().collect::<Vec<_>>(), [signo]);
            set.remove(signo);
            assert!(set.is_empty());
        }
    }

    #[test]
    fn a_full_set_has_sixty_three_signals() {
        assert_eq!(SigSet::ALL.iter().count(), 63);
        assert_eq!(SigSet::ALL.iter().last(), Some(Signo::SIGRTMAX));
        assert_eq!(SigSet::EMPTY.first(), None);
    }

    #[test]
    fn bits_beyond_the_signals_are_kept_and_not_seen() {
        let set = SigSet {
            bits: [0, 1 << 31, 7, 7],
        };
        assert!(set.is_empty());
        assert_eq!(set.minus(SigSet::CANTMASK).words(), [0, 1 << 31, 7, 7]);
    }

    #[test]
    fn signal_33_is_the_first_bit_of_the_second_word() {
        assert_eq!(SigSet::of(&[Signo::SIGRTMIN]).words(), [0, 1, 0, 0]);
        assert_eq!(SigSet::CANTMASK.words(), [1 << 8 | 1 << 16, 0, 0, 0]);
    }
}
