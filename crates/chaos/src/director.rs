//! [`Chaos`]: the policy of a run whose every decision comes from a seed, or from a list.
//!
//! Each point is counted, whoever decides: so a list that was recorded under a seed finds its anchors again. A
//! listed decision whose LWP cannot run any more is left out.

use crate::draw::Seed;
use crate::schedule::{Anchor, Choice, Decision, Point};
use crate::strategy::{Perturb, Plan, Rates, Strategy, Walk, strategy};
use lwp_kernel::lwp::Lwp;
use lwp_kernel::sched::{Chance, Place, Policy, RunQueue};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the seed of a forked process is drawn for, which no anchor is drawn for.
const FORK: u64 = 1 << 60;

/// Where decisions come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The seed.
    Seed,
    /// A list.
    List(Vec<Decision>),
}

/// Decides what is left open, and keeps what it has decided.
#[derive(Debug)]
pub struct Chaos {
    st: Mutex<St>,
}

enum Decider {
    Seed {
        strategy: Box<dyn Strategy>,
        rates: Rates,
    },
    List(FxHashMap<Anchor, Choice>),
}

/// Why the LWP that runs is to make way at the machine's next return.
#[derive(Clone, Copy, Debug)]
enum Forced {
    /// A walk has come to its end.
    Walk(Anchor, Walk),
    /// It computes without system calls, and others wait.
    Stretch,
}

#[derive(Debug)]
struct St {
    seed: Seed,
    plan: Plan,
    perturb: Option<Perturb>,
    decider: Decider,
    /// How often each LWP, by birth, has come to each kind of point.
    counts: Vec<[u32; Point::ALL.len()]>,
    points: u64,
    /// Who runs, or ran last.
    current: u64,
    /// Who runs next.
    chosen: Option<u64>,
    forced: Option<Forced>,
    /// A walk that waits for the place where it ended to be come to again, so many times.
    place: Option<(Anchor, Walk, u32)>,
    /// LWPs that lost the vcpu in user mode.
    in_user: FxHashSet<u64>,
    /// Those of them that do not take their signals yet.
    held: FxHashSet<u64>,
    /// Up to which point an LWP has not begun.
    late: FxHashMap<u64, u64>,
    /// How often an LWP was preempted because it made no system call for long.
    stretches: u64,
    forks: u64,
    /// Where walks have led.
    addresses: FxHashMap<Anchor, u64>,
    record: Vec<Decision>,
}

impl core::fmt::Debug for Decider {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Seed { rates, .. } => f.debug_tuple("Seed").field(rates).finish(),
            Self::List(list) => f.debug_tuple("List").field(&list.len()).finish(),
        }
    }
}

/// What is to happen in a visit to user mode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    /// Which.
    pub(crate) at: Anchor,
    /// A walk, and what becomes of it.
    pub(crate) walk: Option<Walk>,
}

impl Chaos {
    /// Decides what `plan`, with `perturb`, makes of `seed`, or what a list says.
    pub fn new(seed: Seed, plan: Plan, perturb: Option<Perturb>, source: Source) -> Arc<Self> {
        let st = St {
            seed,
            plan,
            perturb,
            decider: decider(seed, plan, perturb, source),
            counts: Vec::new(),
            points: 0,
            current: 0,
            chosen: None,
            forced: None,
            place: None,
            in_user: FxHashSet::default(),
            held: FxHashSet::default(),
            late: FxHashMap::default(),
            stretches: 0,
            forks: 0,
            addresses: FxHashMap::default(),
            record: Vec::new(),
        };
        Arc::new(Self { st: Mutex::new(st) })
    }

    fn st(&self) -> MutexGuard<'_, St> {
        self.st.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins anew with another seed, or another list; nothing has run yet.
    pub fn begin(&self, seed: Seed, plan: Plan, source: Source) {
        let mut st = self.st();
        st.decider = decider(seed, plan, st.perturb, source);
        st.seed = seed;
        st.plan = plan;
    }

    /// What was decided until now.
    pub fn decisions(&self) -> Vec<Decision> {
        self.decisions_from(0)
    }

    /// The same without the first `told` decisions.
    pub fn decisions_from(&self, told: usize) -> Vec<Decision> {
        self.st().record.get(told..).unwrap_or_default().to_vec()
    }

    /// At how many points something could have been decided.
    pub fn points(&self) -> u64 {
        self.st().points
    }

    /// How often an LWP was preempted only because it made no system call for long: when that happens depends on
    /// how fast the host is.
    pub fn stretches(&self) -> u64 {
        self.st().stretches
    }

    /// The address of the instruction to which the walk at `at` has led.
    pub fn address(&self, at: Anchor) -> Option<u64> {
        self.st().addresses.get(&at).copied()
    }

    /// The seed for whatever is no decision.
    pub(crate) fn seed(&self) -> Seed {
        self.st().seed
    }

    /// The LWP that runs goes to user mode.
    pub(crate) fn visit(&self) -> Visit {
        let st = &mut *self.st();
        if let Some(Forced::Walk(at, Walk { steps, hits })) = st.forced.take() {
            // Nobody waited. All the same it was one visit, and is two.
            let to = st.current;
            st.note(at, Choice::Walk { steps, hits, to });
        }
        st.in_user.remove(&st.current);
        let at = st.come_to(Point::User);
        let walk = match &mut st.decider {
            // One at a time.
            Decider::Seed { strategy, .. } if st.place.is_none() => strategy.walk(at),
            Decider::Seed { .. } => None,
            Decider::List(list) => match list.get(&at) {
                Some(&Choice::Walk { steps, hits, .. }) => Some(Walk { steps, hits }),
                _ => None,
            },
        };
        Visit { at, walk }
    }

    /// The steps of a walk are done, and have led to `address`: whether its place is to be watched. If not, the LWP is
    /// to make way.
    pub(crate) fn walked(&self, at: Anchor, walk: Walk, address: u64) -> bool {
        let st = &mut *self.st();
        st.addresses.insert(at, address);
        if walk.hits == 0 {
            st.forced = Some(Forced::Walk(at, walk));
            return false;
        }
        st.place = Some((at, walk, walk.hits));
        true
    }

    /// Somebody has come to the place that is watched: whether it need not be watched any more, and the LWP is to
    /// make way.
    pub(crate) fn hit(&self) -> bool {
        let st = &mut *self.st();
        let Some((at, walk, left)) = &mut st.place else {
            return true;
        };
        *left -= 1;
        if *left > 0 {
            return false;
        }
        st.forced = Some(Forced::Walk(*at, *walk));
        st.place = None;
        true
    }

    /// The place cannot be watched.
    pub(crate) fn is_unwatched(&self) {
        self.st().place = None;
    }

    /// The LWP that runs has made no system call for long, and is to make way.
    pub(crate) fn stretched(&self) {
        let st = &mut *self.st();
        st.forced = Some(Forced::Stretch);
        st.stretches += 1;
        if let Decider::Seed { strategy, .. } = &mut st.decider {
            strategy.tire(st.current);
        }
    }

    /// This process has forked. A child is another process, which decides by a seed of its own.
    pub(crate) fn forked(&self, is_child: bool) {
        let st = &mut *self.st();
        st.forks += 1;
        if !is_child {
            return;
        }
        let seed = st.seed.of(FORK + st.forks);
        st.seed = seed;
        st.decider = decider(seed, st.plan, st.perturb, Source::Seed);
        st.place = None;
        st.in_user.clear();
        st.held.clear();
        st.late.clear();
        st.record.clear();
        st.forks = 0;
    }
}

fn decider(seed: Seed, plan: Plan, perturb: Option<Perturb>, source: Source) -> Decider {
    match source {
        Source::Seed => Decider::Seed {
            strategy: strategy(plan, seed),
            rates: Rates::new(seed, perturb),
        },
        Source::List(list) => {
            let pairs = list.iter().map(|each| (each.anchor, each.choice));
            Decider::List(pairs.collect())
        }
    }
}

/// Whether LWP `birth` is not kept from beginning at point `points`.
fn may_run(late: &FxHashMap<u64, u64>, points: u64, birth: u64) -> bool {
    late.get(&birth).is_none_or(|&until| until <= points)
}

impl St {
    fn count(&mut self, birth: u64, point: Point) -> Anchor {
        let index = usize::try_from(birth).unwrap_or(usize::MAX);
        if index >= self.counts.len() {
            self.counts.resize(index + 1, [0; Point::ALL.len()]);
        }
        let count = &mut self.counts[index][point as usize];
        let nth = *count;
        *count = nth.wrapping_add(1);
        Anchor { birth, point, nth }
    }

    /// The LWP that runs has come to a point.
    fn come_to(&mut self, point: Point) -> Anchor {
        self.points += 1;
        self.count(self.current, point)
    }

    fn note(&mut self, anchor: Anchor, choice: Choice) {
        self.record.push(Decision { anchor, choice });
    }

    /// Who runs in place of the one that does, and has come to `at`.
    fn at_point(&mut self, at: Anchor, rq: &RunQueue) -> Option<u64> {
        let (late, points) = (&self.late, self.points);
        let mut others = rq.births().filter(|&birth| may_run(late, points, birth));
        match &mut self.decider {
            Decider::Seed { strategy, .. } => strategy.at_point(at, &mut others),
            Decider::List(list) => match list.get(&at) {
                Some(&Choice::To(to)) => others.find(|&birth| birth == to),
                _ => None,
            },
        }
    }

    /// Who runs, the vcpu being free.
    fn at_pick(&mut self, rq: &RunQueue) -> Option<u64> {
        if let Some(chosen) = self.chosen.take() {
            return Some(chosen);
        }
        let forced = self.forced.take();
        let at = match forced {
            Some(Forced::Walk(at, _)) => at,
            _ => self.come_to(Point::Pick),
        };
        // Whoever makes way does so for another.
        let (current, others_only) = (self.current, forced.is_some());
        if others_only {
            self.in_user.insert(current);
        }
        let (late, points) = (&self.late, self.points);
        let can_run =
            |birth: &u64| (!others_only || *birth != current) && may_run(late, points, *birth);
        let usual = rq.births().find(can_run).or_else(|| rq.births().next())?;
        let mut others = rq.births().filter(can_run);
        let chosen = match (&mut self.decider, forced) {
            (_, Some(Forced::Stretch)) => None,
            (Decider::Seed { strategy, .. }, _) => strategy.at_pick(at, &mut others),
            (Decider::List(list), _) => match list.get(&at) {
                Some(&(Choice::To(to) | Choice::Walk { to, .. })) => {
                    others.find(|&birth| birth == to)
                }
                _ => None,
            },
        };
        let to = chosen.unwrap_or(usual);
        match forced {
            Some(Forced::Walk(at, Walk { steps, hits })) => {
                self.note(at, Choice::Walk { steps, hits, to });
            }
            _ if to != usual => self.note(at, Choice::To(to)),
            _ => {}
        }
        Some(to)
    }

    /// A number for `at`, 0 for what is usual.
    fn by(&mut self, at: Anchor, of: u32) -> u32 {
        let value = match &self.decider {
            Decider::Seed { rates, .. } => rates.choose(at, of),
            Decider::List(list) => match list.get(&at) {
                Some(&Choice::By(value)) => value,
                _ => 0,
            },
        };
        if value != 0 {
            self.note(at, Choice::By(value));
        }
        value
    }

    /// LWP `birth` is about to run for the first time: whether it is not to yet.
    fn begins_late(&mut self, birth: u64) -> bool {
        if self.late.contains_key(&birth) {
            return false;
        }
        let at = self.count(birth, Point::Start);
        let points = self.by(at, u32::MAX);
        self.late.insert(birth, self.points + u64::from(points));
        points > 0
    }
}

/// [`Chaos`] as the scheduler's policy.
#[derive(Debug)]
pub struct Director(pub Arc<Chaos>);

impl Policy for Director {
    fn pick(&self, rq: &mut RunQueue) -> Option<Arc<Lwp>> {
        rq.picks += 1;
        let st = &mut *self.0.st();
        let mut birth = st.at_pick(rq)?;
        while st.begins_late(birth) {
            match rq
                .births()
                .find(|&other| may_run(&st.late, st.points, other))
            {
                Some(other) => birth = other,
                None => break,
            }
        }
        st.current = birth;
        if rq.next.as_ref().is_some_and(|next| next.birth == birth) {
            return rq.next.take();
        }
        let index = rq.queue.iter().position(|lwp| lwp.birth == birth);
        index.and_then(|index| rq.queue.remove(index))
    }

    fn preempts_at_once(&self) -> bool {
        self.0.st().forced.is_some()
    }

    fn meddles(&self) -> bool {
        true
    }

    fn gives_way(&self, lwp: &Lwp, place: Place, others: &RunQueue) -> bool {
        let st = &mut *self.0.st();
        debug_assert_eq!(lwp.birth, st.current, "only the LWP that runs is asked for");
        let at = st.come_to(match place {
            Place::Call => Point::Call,
            Place::Return => Point::Return,
        });
        st.chosen = st.at_point(at, others);
        if let Some(to) = st.chosen {
            st.note(at, Choice::To(to));
            if place == Place::Return {
                st.in_user.insert(lwp.birth);
            }
        }
        st.chosen.is_some()
    }

    fn choose(&self, chance: Chance, of: u32) -> u32 {
        let st = &mut *self.0.st();
        let at = st.come_to(match chance {
            Chance::Park => Point::Park,
            Chance::Wake => Point::Wake,
            Chance::Transfer => Point::Transfer,
        });
        st.by(at, of)
    }

    fn signal_posted(&self, lwp: &Lwp) {
        let st = &mut *self.0.st();
        st.held.remove(&lwp.birth);
        // One that is in the kernel takes it before it is in user mode again.
        if lwp.birth == st.current || !st.in_user.contains(&lwp.birth) {
            return;
        }
        let at = st.count(lwp.birth, Point::Signal);
        if st.by(at, 2) != 0 {
            st.held.insert(lwp.birth);
        }
    }

    fn holds_signal(&self, lwp: &Lwp) -> bool {
        self.0.st().held.remove(&lwp.birth)
    }

    fn signal_due(&self, lwp: &Lwp) {
        self.0.st().held.remove(&lwp.birth);
    }
}
