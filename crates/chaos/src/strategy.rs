//! Which decisions a seed makes.
//!
//! A strategy is asked who is to run, at points where an LWP could go on and when the vcpu is free. It knows LWPs by
//! their order of birth. What besides switching happens is decided by rates ([`Rates`]), whatever the strategy.

use crate::draw::{Seed, by_magnitude};
use crate::schedule::{Anchor, Point};
use core::fmt;
use core::str::FromStr;
use rustc_hash::FxHashMap;

/// How many points a run is taken to have where nobody knows.
const POINTS: u32 = 1000;
/// LWPs of a run among which a starving one is chosen.
const VICTIMS: u64 = 8;
/// The most instructions that are stepped through at a time: some 10 µs each.
const STEPS: u32 = 512;
/// The most visits of a place that are waited for.
const HITS: u32 = 32;

bitflags::bitflags! {
    /// What may be done besides switching, all of which NetBSD permits.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Perturb: u8 {
        /// Parks return at once.
        const PARK = 1;
        /// LWPs woken together run in another order.
        const WAKE = 2;
        /// Reads and writes are short.
        const TRANSFER = 4;
        /// A signal that comes to an LWP in user mode is taken only when that has been in the kernel once more, and so
        /// ends a sleep that it begins there: EINTR.
        const SIGNAL = 8;
        /// New LWPs begin late.
        const START = 0x10;
    }
}

impl fmt::Display for Perturb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let names = self.iter_names().map(|(name, _)| name.to_ascii_lowercase());
        f.write_str(&names.collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Perturb {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => return Ok(Self::all()),
            "none" => return Ok(Self::empty()),
            _ => {}
        }
        let mut all = Self::empty();
        for name in text.split(',') {
            let found = Self::from_name(&name.to_ascii_uppercase());
            all |= found.ok_or("all, none, or some of park,wake,transfer,signal,start")?;
        }
        Ok(all)
    }
}

/// How a seed is to decide who runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// As without a seed.
    Fair,
    /// Any LWP, at one point in `rate`; 0: the seed says at how many.
    Random {
        /// How many points there are for each switch.
        rate: u32,
    },
    /// Probabilistic concurrency testing (Burckhardt and others, 2010): always the LWP of the highest priority, which are
    /// random, and `depth` - 1 times in the `points` points of a run the one that runs gets the lowest.
    Pct {
        /// How many constraints on the order a bug may have.
        depth: u32,
        /// How many points a run has.
        points: u32,
    },
    /// For a while one LWP does not run unless nobody else can.
    Starve {
        /// How many points a run has.
        points: u32,
    },
    /// Switches in the midst of user code, a few instructions after a system call or where another LWP was then.
    Steps {
        /// How many points a run has.
        points: u32,
    },
    /// One of the others, by seed.
    Mix {
        /// How many points a run has.
        points: u32,
    },
}

impl Plan {
    /// The same for a run of so many points, if that was not said.
    #[must_use]
    pub fn for_points(self, known: u32) -> Self {
        let of = |points| if points == 0 { known } else { points };
        match self {
            Self::Pct { depth, points } => Self::Pct {
                depth,
                points: of(points),
            },
            Self::Starve { points } => Self::Starve { points: of(points) },
            Self::Steps { points } => Self::Steps { points: of(points) },
            Self::Mix { points } => Self::Mix { points: of(points) },
            Self::Fair | Self::Random { .. } => self,
        }
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self::Mix { points: 0 }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fair => f.write_str("fair"),
            Self::Random { rate } => write!(f, "random:{rate}"),
            Self::Pct { depth, points } => write!(f, "pct:{depth}:{points}"),
            Self::Starve { points } => write!(f, "starve:{points}"),
            Self::Steps { points } => write!(f, "steps:{points}"),
            Self::Mix { points } => write!(f, "mix:{points}"),
        }
    }
}

impl FromStr for Plan {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHAT: &str = "fair, random[:RATE], pct[:DEPTH[:POINTS]], starve[:POINTS], steps[:POINTS] or mix[:POINTS]";
        let mut words = text.split(':');
        let name = words.next().unwrap_or_default();
        let mut number = |otherwise: u32| match words.next() {
            None => Ok(otherwise),
            Some(word) => word.parse().map_err(|_| WHAT),
        };
        let plan = match name {
            "fair" => Self::Fair,
            "random" => Self::Random { rate: number(0)? },
            "pct" => Self::Pct {
                depth: number(3)?,
                points: number(0)?,
            },
            "starve" => Self::Starve { points: number(0)? },
            "steps" => Self::Steps { points: number(0)? },
            "mix" => Self::Mix { points: number(0)? },
            _ => return Err(WHAT),
        };
        match words.next() {
            None => Ok(plan),
            Some(_) => Err(WHAT),
        }
    }
}

/// A walk through user code, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Walk {
    /// Instructions.
    pub(crate) steps: u32,
    /// How often the place where it ends is to be come to again before the switch.
    pub(crate) hits: u32,
}

/// Who may run, by birth, the longest waiting first.
pub(crate) type Others<'a> = &'a mut dyn Iterator<Item = u64>;

/// Decides who runs.
pub(crate) trait Strategy: Send {
    /// LWP `at.birth` could go on; who runs in its place, if anybody.
    fn at_point(&mut self, at: Anchor, others: Others<'_>) -> Option<u64>;

    /// The vcpu is free, and `others` wait for it; who runs, if not the first.
    fn at_pick(&mut self, at: Anchor, others: Others<'_>) -> Option<u64>;

    /// LWP `birth` made no system call for long, while others wait.
    fn tire(&mut self, _birth: u64) {}

    /// Whether LWP `at.birth`, about to go to user mode, is to be switched away from there.
    fn walk(&mut self, _at: Anchor) -> Option<Walk> {
        None
    }
}

/// What `plan` makes of a seed.
pub(crate) fn strategy(plan: Plan, seed: Seed) -> Box<dyn Strategy> {
    let known = |points| if points == 0 { POINTS } else { points };
    match plan {
        Plan::Fair => Box::new(Fair),
        Plan::Random { rate } => Box::new(Random::new(seed, rate)),
        Plan::Pct { depth, points } => Box::new(Pct::new(seed, depth, known(points))),
        Plan::Starve { points } => Box::new(Starve::new(seed, known(points))),
        Plan::Steps { points } => Box::new(Steps::new(seed, known(points))),
        Plan::Mix { points } => strategy(mixed(seed, points), seed),
    }
}

/// Which of the others a mixture is under this seed.
fn mixed(seed: Seed, points: u32) -> Plan {
    let number = seed.of(MIXTURE).0;
    match number % 8 {
        0 | 1 => Plan::Random { rate: 0 },
        2 | 3 => Plan::Pct {
            depth: u32::try_from(2 + number / 8 % 3).unwrap_or(2),
            points,
        },
        4 => Plan::Starve { points },
        _ => Plan::Steps { points },
    }
}

// What numbers are drawn for.
const MIXTURE: u64 = 1;
const RATE: u64 = 2;
const WHO: u64 = 3;
const PRIORITY: u64 = 4;
const CHANGES: u64 = 5;
const WINDOWS: u64 = 6;
const PERTURB: u64 = 7;

struct Fair;

impl Strategy for Fair {
    fn at_point(&mut self, _: Anchor, _: Others<'_>) -> Option<u64> {
        None
    }

    fn at_pick(&mut self, _: Anchor, _: Others<'_>) -> Option<u64> {
        None
    }
}

struct Random {
    seed: Seed,
    who: Seed,
    rate: u64,
}

impl Random {
    fn new(seed: Seed, rate: u32) -> Self {
        Self {
            seed,
            who: seed.of(WHO),
            rate: match rate {
                0 => 1 << (1 + seed.of(RATE).0 % 6),
                rate => rate.into(),
            },
        }
    }

    fn sometimes(&self, at: Anchor, others: Others<'_>) -> Option<u64> {
        Seed::is_one_in(self.seed.at(at), self.rate)
            .then(|| self.any(at, others))
            .flatten()
    }

    fn any(&self, at: Anchor, others: Others<'_>) -> Option<u64> {
        // The one whose number is the greatest, which takes no counting.
        let number = self.who.at(at);
        others.max_by_key(|&birth| Seed(number).draw(birth))
    }
}

impl Strategy for Random {
    fn at_point(&mut self, at: Anchor, others: Others<'_>) -> Option<u64> {
        self.sometimes(at, others)
    }

    fn at_pick(&mut self, at: Anchor, others: Others<'_>) -> Option<u64> {
        self.any(at, others)
    }
}

/// For how many points an LWP may wait for those of higher priority: they may be waiting for it, in turns.
const PATIENCE: u32 = 300;

struct Pct {
    /// Of births.
    priorities: FxHashMap<u64, u64>,
    seed: Seed,
    changes: Vec<u64>,
    /// Points so far.
    points: u64,
    /// Who of those that wait has the lowest priority, and for how many points in a row it was that one.
    waiting: (u64, u32),
    /// The lowest priority of all so far, and the highest.
    lowest: u64,
    highest: u64,
}

impl Pct {
    fn new(seed: Seed, depth: u32, points: u32) -> Self {
        let places = seed.of(CHANGES);
        let change = |index| places.draw(index) % u64::from(points.max(1));
        Self {
            priorities: FxHashMap::default(),
            seed: seed.of(PRIORITY),
            changes: (1..u64::from(depth.min(POINTS))).map(change).collect(),
            points: 0,
            waiting: (0, 0),
            lowest: 1 << 32,
            highest: 1 << 63,
        }
    }

    fn priority(&mut self, birth: u64) -> u64 {
        let seed = self.seed;
        let any = || 1 << 33 | seed.draw(birth) >> 8;
        *self.priorities.entry(birth).or_insert_with(any)
    }

    /// The one of the highest priority, or who has waited for long: that has the highest from now on.
    fn highest(&mut self, others: Others<'_>) -> Option<u64> {
        let known = others.map(|birth| (self.priority(birth), birth));
        let (lowest, highest) = known.fold((None, None), |(lowest, highest), each| {
            (
                Some(lowest.map_or(each, |other| each.min(other))),
                highest.max(Some(each)),
            )
        });
        let (_, lowest) = lowest?;
        self.waiting = match self.waiting {
            (birth, count) if birth == lowest => (birth, count + 1),
            _ => (lowest, 0),
        };
        if self.waiting.1 > PATIENCE {
            self.highest += 1;
            self.priorities.insert(lowest, self.highest);
            return Some(lowest);
        }
        highest.map(|(_, birth)| birth)
    }

    fn lower(&mut self, birth: u64) {
        self.lowest -= 1;
        self.priorities.insert(birth, self.lowest);
    }
}

impl Strategy for Pct {
    fn at_point(&mut self, at: Anchor, others: Others<'_>) -> Option<u64> {
        self.points += 1;
        let highest = self.highest(others);
        if self.changes.contains(&self.points) {
            self.lower(at.birth);
        }
        let mine = self.priority(at.birth);
        highest.filter(|&highest| self.priority(highest) > mine)
    }

    fn at_pick(&mut self, _: Anchor, others: Others<'_>) -> Option<u64> {
        self.points += 1;
        self.highest(others)
    }

    fn tire(&mut self, birth: u64) {
        self.lower(birth);
    }
}

struct Starve {
    random: Random,
    /// Who does not run, and in which points.
    windows: Vec<(u64, core::ops::Range<u64>)>,
    points: u64,
}

impl Starve {
    fn new(seed: Seed, points: u32) -> Self {
        let numbers = seed.of(WINDOWS);
        let window = |index: u64| {
            let draw = |what| numbers.draw(3 * index + what);
            let begin = draw(0) % u64::from(points.max(1));
            let len = u64::from(by_magnitude(draw(1), points.max(64)));
            (draw(2) % VICTIMS, begin..begin + len)
        };
        Self {
            random: Random::new(seed, 0),
            windows: (0..=numbers.0 % 4).map(window).collect(),
            points: 0,
        }
    }

    fn is_starving(&self, birth: u64) -> bool {
        let points = &self.points;
        let mut windows = self.windows.iter();
        windows.any(|(victim, window)| *victim == birth && window.contains(points))
    }
}

impl Strategy for Starve {
    fn at_point(&mut self, at: Anchor, others: Others<'_>) -> Option<u64> {
        self.points += 1;
        let is_mine = self.is_starving(at.birth);
        let mut fed = others.filter(|&birth| !self.is_starving(birth));
        if is_mine {
            return self.random.any(at, &mut fed);
        }
        self.random.sometimes(at, &mut fed)
    }

    fn at_pick(&mut self, at: Anchor, others: Others<'_>) -> Option<u64> {
        self.points += 1;
        let mut fed = others.filter(|&birth| !self.is_starving(birth));
        self.random.any(at, &mut fed)
    }
}

struct Steps {
    seed: Seed,
    random: Option<Random>,
    rate: u64,
}

impl Steps {
    fn new(seed: Seed, points: u32) -> Self {
        let numbers = seed.of(RATE);
        // One to four walks in a run, of which every other point could be the beginning.
        let walks = 1 + numbers.0 % 4;
        Self {
            seed,
            random: (numbers.0 / 4)
                .is_multiple_of(2)
                .then(|| Random::new(seed, 32)),
            rate: (u64::from(points) / 2 / walks).max(2),
        }
    }
}

impl Strategy for Steps {
    fn at_point(&mut self, at: Anchor, others: Others<'_>) -> Option<u64> {
        self.random.as_mut()?.at_point(at, others)
    }

    fn at_pick(&mut self, at: Anchor, others: Others<'_>) -> Option<u64> {
        self.random.as_mut()?.at_pick(at, others)
    }

    fn walk(&mut self, at: Anchor) -> Option<Walk> {
        let number = self.seed.at(at);
        if !Seed::is_one_in(number, self.rate) {
            return None;
        }
        let number = number / self.rate;
        Some(Walk {
            steps: by_magnitude(number >> 8, STEPS),
            hits: match number % 2 {
                0 => 0,
                _ => by_magnitude(number >> 32, HITS),
            },
        })
    }
}

/// What happens besides switching: at one point in so many, for each kind of point; 0 for never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    seed: Seed,
    perturb: Perturb,
    rate: u64,
}

/// For how many points a new LWP does not begin at most.
const LATE: u32 = 256;

impl Rates {
    /// With `perturb` all of that happens often; without, the seed says what does, and how often.
    pub(crate) fn new(seed: Seed, perturb: Option<Perturb>) -> Self {
        let seed = seed.of(PERTURB);
        let number = seed.draw(0);
        match perturb {
            Some(perturb) => Self {
                seed,
                perturb,
                rate: 3,
            },
            None => Self {
                seed,
                // Each of them in one run of four.
                perturb: Perturb::from_bits_truncate(number.to_le_bytes()[0])
                    & Perturb::from_bits_truncate(number.to_le_bytes()[1]),
                rate: 2 << ((number >> 16) % 5),
            },
        }
    }

    /// What is chosen at `at` from `of` things, if it is not the usual one.
    pub(crate) fn choose(&self, at: Anchor, of: u32) -> u32 {
        let perturb = match at.point {
            Point::Park => Perturb::PARK,
            Point::Wake => Perturb::WAKE,
            Point::Transfer => Perturb::TRANSFER,
            Point::Signal => Perturb::SIGNAL,
            Point::Start => Perturb::START,
            Point::Call | Point::Return | Point::User | Point::Pick => Perturb::empty(),
        };
        let allowed = self.perturb & perturb;
        let number = self.seed.at(at);
        if allowed.is_empty() || !Seed::is_one_in(number, self.rate) {
            return 0;
        }
        let number = number / self.rate;
        let below = |of: u32| u32::try_from(number % u64::from(of.max(1))).unwrap_or(0);
        match at.point {
            Point::Start => by_magnitude(number, LATE),
            Point::Signal => 1,
            // One byte is what is expected least.
            Point::Transfer if number.is_multiple_of(4) => of - 1,
            _ => 1 + below(of - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_read_as_they_are_written() {
        for text in [
            "fair",
            "random:5",
            "pct:3:1000",
            "starve:20",
            "steps:7",
            "mix:0",
        ] {
            assert_eq!(text.parse::<Plan>().unwrap().to_string(), text);
        }
        assert_eq!(
            "pct".parse(),
            Ok(Plan::Pct {
                depth: 3,
                points: 0
            })
        );
        for text in ["", "pct:x", "fair:1:2", "random:1:2", "mad"] {
            assert!(text.parse::<Plan>().is_err(), "{text}");
        }
    }

    #[test]
    fn perturbations_are_read_as_they_are_written() {
        for text in ["none", "park", "park,signal", "wake,transfer,signal,start"] {
            assert_eq!(text.parse::<Perturb>().unwrap().to_string(), text);
        }
        assert_eq!("all".parse(), Ok(Perturb::all()));
        assert!("park,nothing".parse::<Perturb>().is_err());
    }

    fn at(birth: u64, nth: u32) -> Anchor {
        let point = Point::Call;
        Anchor { birth, point, nth }
    }

    /// Runs `lwps` that never wait for so many points; who ran at each.
    fn play(strategy: &mut dyn Strategy, lwps: u64, points: u32) -> Vec<u64> {
        let mut running = 0;
        (0..points)
            .map(|nth| {
                let mut others = (0..lwps).filter(|&birth| birth != running);
                if let Some(next) = strategy.at_point(at(running, nth), &mut others) {
                    running = next;
                }
                running
            })
            .collect()
    }

    #[test]
    fn every_strategy_lets_everybody_run_whatever_the_seed() {
        for plan in [
            Plan::Random { rate: 0 },
            Plan::Pct {
                depth: 3,
                points: 0,
            },
            Plan::Starve { points: 0 },
        ] {
            for seed in 0..50 {
                let ran = play(&mut *strategy(plan, Seed(seed)), 4, 5000);
                for birth in 0..4 {
                    assert!(ran.contains(&birth), "{plan} {seed}: {birth} never ran");
                }
            }
        }
    }

    #[test]
    fn priorities_change_a_few_times_and_one_that_waits_loses_its_own() {
        let plan = Plan::Pct {
            depth: 3,
            points: 100,
        };
        let ran = play(&mut *strategy(plan, Seed(5)), 4, 100);
        let switches = ran.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!((1..=3).contains(&switches), "{ran:?}");
    }

    /// As of two that wake each other in turns and wait for the third, which has no high priority.
    #[test]
    fn two_in_turns_do_not_keep_a_third_from_running() {
        for seed in 0..50 {
            let plan = Plan::Pct {
                depth: 2,
                points: 1000,
            };
            let mut strategy = strategy(plan, Seed(seed));
            let mut running = 0;
            let mut ran = Vec::new();
            for nth in 0..5000 {
                ran.push(running);
                let point = Point::Call;
                let at = Anchor {
                    birth: running,
                    point,
                    nth,
                };
                // Of the two one sleeps.
                let next = match running {
                    2 => strategy.at_point(at, &mut [u64::from(nth % 2)].into_iter()),
                    one => strategy.at_pick(at, &mut [1 - one, 2].into_iter()),
                };
                running = next.unwrap_or(running);
            }
            assert!(
                ran.iter().filter(|&&birth| birth == 2).count() > 5,
                "{seed}"
            );
        }
    }

    #[test]
    fn a_starving_lwp_is_left_out_for_a_while() {
        let found = (0..100).any(|seed| {
            let ran = play(
                &mut *strategy(Plan::Starve { points: 200 }, Seed(seed)),
                4,
                400,
            );
            let longest = ran.split(|&birth| birth == 1).map(<[u64]>::len).max();
            longest > Some(100)
        });
        assert!(found);
    }

    #[test]
    fn what_is_switched_off_never_happens_and_what_is_on_does() {
        let kinds = [
            Point::Park,
            Point::Wake,
            Point::Transfer,
            Point::Signal,
            Point::Start,
        ];
        let happens = |perturb: Perturb, point| {
            let rates = Rates::new(Seed(3), Some(perturb));
            (0..100).any(|nth| {
                let birth = 1;
                rates.choose(Anchor { birth, point, nth }, 4) != 0
            })
        };
        for point in kinds {
            assert!(happens(Perturb::all(), point));
            assert!(!happens(Perturb::empty(), point));
        }
        assert!(!happens(Perturb::PARK, Point::Wake));
    }
}
