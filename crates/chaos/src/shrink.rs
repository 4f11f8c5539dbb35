//! Fewer decisions that do the same.

use crate::schedule::Decision;

/// Drops decisions for as long as `fails` says that without them the run still fails: first halves, then smaller and smaller
/// parts, at last single ones (Zeller's delta debugging). Whatever is left cannot be left out alone.
///
/// `fails` is asked at most `most` times; then the best so far is what is left.
pub fn shrink(
    decisions: Vec<Decision>,
    most: usize,
    mut fails: impl FnMut(&[Decision]) -> bool,
) -> Vec<Decision> {
    let mut left = decisions;
    let mut asked = 0;
    let mut part = left.len().div_ceil(2).max(1);
    while !left.is_empty() && asked < most {
        let mut has_dropped = false;
        // From the end: what came last often only followed from what was before.
        let mut end = left.len();
        while end > 0 && asked < most {
            let begin = end.saturating_sub(part);
            let fewer = [&left[..begin], &left[end..]].concat();
            asked += 1;
            if fails(&fewer) {
                left = fewer;
                has_dropped = true;
            }
            end = begin;
        }
        if part > 1 {
            part = part.div_ceil(2);
        } else if !has_dropped {
            break;
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Anchor, Choice, Point};
    use proptest::prelude::*;

    fn decision(nth: u32) -> Decision {
        let (birth, point) = (1, Point::Call);
        let anchor = Anchor { birth, point, nth };
        let choice = Choice::To(2);
        Decision { anchor, choice }
    }

    proptest! {
        #[test]
        fn what_matters_is_what_is_left(
            count in 0_u32..200,
            matter in proptest::collection::btree_set(0_u32..200, 0..5),
        ) {
            let matters: Vec<_> = matter.into_iter().filter(|&nth| nth < count).collect();
            let all = (0..count).map(decision).collect();
            let has = |list: &[Decision], nth| list.iter().any(|each| each.anchor.nth == nth);
            let left = shrink(all, usize::MAX, |list| matters.iter().all(|&nth| has(list, nth)));
            let left: Vec<_> = left.iter().map(|each| each.anchor.nth).collect();
            prop_assert_eq!(left, matters);
        }
    }

    #[test]
    fn it_ends_when_it_was_asked_often_enough() {
        let mut asked = 0;
        let all = (0..100).map(decision).collect();
        let left = shrink(all, 10, |_| {
            asked += 1;
            false
        });
        assert_eq!((left.len(), asked), (100, 10));
    }
}
