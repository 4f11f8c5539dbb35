//! What is kept by births: in order, and mostly added at the end.
//!
//! An LWP's birth is a number that is never used again, and nearly always higher than all there are. So a sorted row
//! does: a new one goes to the end, and one that is gone leaves a gap, found by halving. No search for a place, and no
//! memory to ask for each time.
//!
//! # Invariants
//! 1. Births in `row` ascend; none comes twice. `live` counts those that are no gaps.
//! 2. The last place is no gap. No more than [`FEW`] are, or half.

/// So many gaps may stay, however few are left.
const FEW: usize = 32;

/// A map from births to `T`.
#[derive(Debug)]
pub struct Births<T> {
    row: Vec<(u64, Option<T>)>,
    live: usize,
}

impl<T> Births<T> {
    /// Of nobody.
    pub const fn new() -> Self {
        Self {
            row: Vec::new(),
            live: 0,
        }
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.live
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Adds one. Two that are born at once may come in the wrong order; then the later ones move.
    ///
    /// # Panics
    /// In debug builds: the birth is there, or was and has left a gap.
    pub fn insert(&mut self, birth: u64, value: T) {
        self.live += 1;
        let is_last = self.row.last().is_none_or(|&(last, _)| last < birth);
        let at = if is_last {
            self.row.len()
        } else {
            let at = self.place(birth);
            debug_assert!(at.is_err(), "nobody is born twice");
            at.unwrap_or_else(|at| at)
        };
        self.row.insert(at, (birth, Some(value)));
    }

    /// Takes one out.
    pub fn remove(&mut self, birth: u64) -> Option<T> {
        let at = self.place(birth).ok()?;
        let gone = self.row[at].1.take()?;
        self.live -= 1;
        while self.row.last().is_some_and(|(_, last)| last.is_none()) {
            self.row.pop();
        }
        let gaps = self.row.len() - self.live;
        if gaps > FEW && gaps > self.live {
            self.row.retain(|(_, each)| each.is_some());
        }
        Some(gone)
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// The one with this birth.
    pub fn get(&self, birth: u64) -> Option<&T> {
        self.row[self.place(birth).ok()?].1.as_ref()
    }

    /// All, the eldest first.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.row.iter().filter_map(|(_, each)| each.as_ref())
    }

    /// The youngest of those that are older than `birth`.
    pub fn before(&self, birth: u64) -> Option<(u64, &T)> {
        let end = self.place(birth).unwrap_or_else(|at| at);
        let mut older = self.row[..end].iter().rev();
        older.find_map(|(birth, each)| Some((*birth, each.as_ref()?)))
    }

    fn place(&self, birth: u64) -> Result<usize, usize> {
        self.row.binary_search_by_key(&birth, |&(birth, _)| birth)
    }
}

impl<T> Default for Births<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    proptest! {
        #[test]
        fn it_is_a_map_in_order(
            // Births come nearly in order; who goes is anybody.
            steps in proptest::collection::vec((0_u64..4, 0_usize..200, any::<bool>()), 0..400),
        ) {
            let (mut births, mut model) = (Births::new(), BTreeMap::new());
            let mut born = BTreeSet::new();
            let mut next = 4;
            for (earlier, whom, is_born) in steps {
                if is_born {
                    next += 1;
                    let birth = 5 * next - 5 * earlier + earlier;
                    if born.insert(birth) {
                        births.insert(birth, next);
                        model.insert(birth, next);
                    }
                } else if let Some(&birth) = model.keys().nth(whom % model.len().max(1)) {
                    prop_assert_eq!(births.remove(birth), model.remove(&birth));
                    prop_assert_eq!(births.remove(birth), None);
                }
                prop_assert_eq!(births.len(), model.len());
                prop_assert!(births.values().eq(model.values()));
                prop_assert!(births.values().rev().eq(model.values().rev()));
                let asked = 5 * next - u64::try_from(whom).unwrap_or(0).min(5 * next);
                prop_assert_eq!(births.get(asked), model.get(&asked));
                let before = model.range(..asked).next_back();
                prop_assert_eq!(births.before(asked), before.map(|(&birth, each)| (birth, each)));
                let gaps = births.row.len() - births.live;
                prop_assert!(gaps <= FEW.max(births.live));
            }
        }
    }
}
