//! Numbers from a seed.

use crate::schedule::Anchor;
use lwp_kernel::sched::{GOLDEN, mix};

/// A seed, from which a number for every purpose and every anchor can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The number for `what`.
    pub(crate) fn draw(self, what: u64) -> u64 {
        // SplitMix64, at place `what` of its sequence.
        let x = mix(self.0 ^ 0x6c77_7063_6861_6f73)
            .wrapping_add(what.wrapping_add(1).wrapping_mul(GOLDEN));
        mix(x)
    }

    /// A seed of its own for one purpose.
    pub(crate) fn of(self, what: u64) -> Self {
        Self(self.draw(what))
    }

    /// The number for an anchor.
    pub(crate) fn at(self, anchor: Anchor) -> u64 {
        let Anchor { birth, point, nth } = anchor;
        self.draw(birth << 32 ^ u64::from(nth) << 4 ^ point as u64)
    }

    /// Whether `number` is one of one in `rate`; never for 0.
    pub(crate) fn is_one_in(number: u64, rate: u64) -> bool {
        rate != 0 && number.is_multiple_of(rate)
    }
}

/// From 1 to `most`, small numbers as often as all twice as large.
pub(crate) fn by_magnitude(number: u64, most: u32) -> u32 {
    let magnitudes = u64::from(most.max(1).ilog2()) + 1;
    let low = 1_u64 << (number % magnitudes);
    let chosen = low + (number / magnitudes) % low;
    u32::try_from(chosen).unwrap_or(most).min(most.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magnitudes_are_equally_frequent_and_keep_to_their_bounds() {
        let mut counts = [0_u32; 10];
        for what in 0..10_000 {
            let number = by_magnitude(Seed(1).draw(what), 1000);
            assert!((1..=1000).contains(&number));
            counts[number.ilog2() as usize] += 1;
        }
        assert!(counts.iter().all(|&count| count > 800), "{counts:?}");
        assert_eq!(by_magnitude(17, 0), 1);
    }

    #[test]
    fn neighbours_share_no_numbers() {
        let mut all: Vec<_> = (0..100)
            .flat_map(|seed| (0..100).map(move |what| Seed(seed).draw(what)))
            .collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 10_000);
    }
}
