//! What `--stats` counts: a listener that keeps sums, and no events.
//!
//! | what | from |
//! |---|---|
//! | time in the guest | an LWP is on a vcpu, and in no system call |
//! | time in the kernel | an LWP is on a vcpu, and in one |
//! | a wait | from `Sleep` to `Runnable` |
//! | how late a wake-up is | from `Runnable`, after a sleep, to `SwitchIn` |
//!
//! # Who is waited for
//! Whoever ends a park may itself have been parked for most of that time: in a queue for a lock each is woken by
//! the one before it. So the time of a park goes to its waker only from the moment on when that one was itself woken;
//! what lies before goes to the waker's waker, and so on ([`Tally::blame`]). That leads to who held the lock.
//!
//! # Locks
//! One vcpu's sums, then one shard of LWPs; both are leaves, and most of the time nobody else wants them.

use core::time::Duration;
use lwp_abi::lwp::{LwpId, LwpState};
use lwp_abi::until_nul;
use lwp_kernel::events::{Event, Listener, What};
use lwp_kernel::sleepq::PARKED;
use lwp_timeline::{Counts, Population};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// LWPs are kept in so many maps, by their ids.
const SHARDS: usize = 64;
/// How far back blame is followed.
const CHAIN: usize = 64;
/// Classes of lateness: under 1 us, under 2, under 4 ...
pub(crate) const CLASSES: usize = 22;

/// See the module.
pub(crate) struct Tally {
    cpus: Box<[Mutex<Sums>]>,
    shards: Box<[Mutex<HashMap<LwpId, Track>>]>,
    population: Population,
    names: Mutex<HashMap<LwpId, String>>,
}

/// What has been counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// What a timeline counts as well.
    pub(crate) counts: Counts,
    /// System calls by the slow road.
    pub(crate) trapped: u64,
    /// Why LWPs have left a vcpu.
    pub(crate) parked: u64,
    pub(crate) slept: u64,
    pub(crate) preempted: u64,
    pub(crate) stopped: u64,
    pub(crate) exited: u64,
    /// Sleeps, parks among them, whose time was over.
    pub(crate) timeouts: u64,
    /// Signals that were taken.
    pub(crate) signals: u64,
    pub(crate) guest: Duration,
    pub(crate) kernel: Duration,
    /// How many wake-ups were how late: under 1 us, under 2, under 4 ...
    pub(crate) late: [u64; CLASSES],
    /// The longest.
    pub(crate) latest: Duration,
    /// How many parks an LWP has ended, and how long others were parked because of it.
    pub(crate) wakers: HashMap<LwpId, (u64, Duration)>,
}

/// An LWP between two events.
#[derive(Debug, Default)]
struct Track {
    /// Since when it is on a vcpu in this way: in the guest, or in the kernel.
    on: Option<Duration>,
    in_call: bool,
    /// It sleeps since then; whether in a park.
    asleep: Option<(Duration, bool)>,
    /// It was woken then, and has not run since.
    woken: Option<Duration>,
    /// The last sleep was a park.
    was_park: bool,
    /// When its last park was ended, and by whom.
    unparked: Option<(Duration, LwpId)>,
}

impl Tally {
    /// Sums of zero, for so many vcpus.
    pub(crate) fn new(ncpu: usize) -> Self {
        Self {
            cpus: (0..ncpu.max(1)).map(|_| Mutex::default()).collect(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            population: Population::default(),
            names: Mutex::default(),
        }
    }

    /// All that was counted on all vcpus.
    pub(crate) fn sums(&self) -> Sums {
        let mut all = Sums::default();
        for sums in &self.cpus {
            all.add(&lock(sums));
        }
        all.counts.peak = self.population.peak();
        all
    }

    /// The name that an LWP was last given.
    pub(crate) fn name(&self, lid: LwpId) -> Option<String> {
        lock(&self.names).get(&lid).cloned()
    }

    /// A park that lasted from one time to the other was ended by `by`: says who let it last so long.
    fn blame(&self, sums: &mut Sums, (since, mut until): (Duration, Duration), by: LwpId) {
        let mut who = by;
        for _ in 0..CHAIN {
            let unparked = self.shard(who).get(&who).and_then(|lwp| lwp.unparked);
            let earlier = unparked.filter(|&(at, _)| (since..until).contains(&at));
            let from = earlier.map_or(since, |(at, _)| at);
            sums.wakers.entry(who).or_default().1 += until.saturating_sub(from);
            match earlier {
                Some((at, waker)) => (until, who) = (at, waker),
                None => return,
            }
        }
    }

    fn shard(&self, lid: LwpId) -> MutexGuard<'_, HashMap<LwpId, Track>> {
        let index = usize::try_from(lid.raw().unsigned_abs()).unwrap_or(0) % SHARDS;
        lock(&self.shards[index])
    }
}

impl Listener for Tally {
    fn event(&self, event: &Event) {
        let Some(sums) = self.cpus.get(event.cpu) else {
            return;
        };
        self.population.note(&event.what);
        if let What::Name(name) = event.what {
            let name = String::from_utf8_lossy(until_nul(&name)).into_owned();
            lock(&self.names).insert(event.lid, name);
        }
        let mut sums = lock(sums);
        sums.counts.count(&event.what);
        let ended = {
            let mut shard = self.shard(event.lid);
            if event.what == What::Reap {
                shard.remove(&event.lid);
                return;
            }
            sums.count(event, shard.entry(event.lid).or_default())
        };
        if let Some((since, by)) = ended {
            sums.wakers.entry(by).or_default().0 += 1;
            self.blame(&mut sums, (since, event.at), by);
        }
    }
}

impl Sums {
    /// Counts what happened to `lwp`. If that ends its park: since when it was parked, and who has ended it.
    fn count(&mut self, event: &Event, lwp: &mut Track) -> Option<(Duration, LwpId)> {
        let at = event.at;
        match event.what {
            What::Enter { trapped, .. } => {
                self.account(lwp, at);
                lwp.in_call = true;
                self.trapped += u64::from(trapped);
            }
            What::Leave { .. } => {
                self.account(lwp, at);
                lwp.in_call = false;
            }
            What::SwitchIn => {
                lwp.on = Some(at);
                if let Some(woken) = lwp.woken.take() {
                    self.was_late(at.saturating_sub(woken));
                }
            }
            What::SwitchOut { state } => {
                self.account(lwp, at);
                lwp.on = None;
                *match state {
                    LwpState::Sleep if lwp.was_park => &mut self.parked,
                    LwpState::Sleep => &mut self.slept,
                    LwpState::Zomb | LwpState::Idl => &mut self.exited,
                    LwpState::Stop | LwpState::Suspended => &mut self.stopped,
                    LwpState::Run | LwpState::Onproc => &mut self.preempted,
                } += 1;
            }
            What::Sleep { wmesg } => {
                lwp.was_park = wmesg == PARKED;
                lwp.asleep = Some((at, lwp.was_park));
            }
            What::Awake => lwp.asleep = None,
            What::Runnable => {
                if let Some((since, was_park)) = lwp.asleep.take() {
                    lwp.woken = Some(at);
                    if let Some(by) = event.by.filter(|_| was_park) {
                        lwp.unparked = Some((at, by));
                        return Some((since, by));
                    }
                }
            }
            What::Timeout => self.timeouts += 1,
            What::Take { .. } => self.signals += 1,
            _ => {}
        }
        None
    }

    /// The LWP goes from the guest to the kernel, or back, or leaves its vcpu.
    fn account(&mut self, lwp: &mut Track, at: Duration) {
        if let Some(since) = lwp.on.replace(at) {
            let spent = at.saturating_sub(since);
            if lwp.in_call {
                self.kernel += spent;
            } else {
                self.guest += spent;
            }
        }
    }

    fn was_late(&mut self, late: Duration) {
        let class = usize::try_from(u128::BITS - late.as_micros().leading_zeros());
        self.late[class.unwrap_or(CLASSES).min(CLASSES - 1)] += 1;
        self.latest = self.latest.max(late);
    }

    fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        for (mine, theirs) in [
            (&mut self.trapped, other.trapped),
            (&mut self.parked, other.parked),
            (&mut self.slept, other.slept),
            (&mut self.preempted, other.preempted),
            (&mut self.stopped, other.stopped),
            (&mut self.exited, other.exited),
            (&mut self.timeouts, other.timeouts),
            (&mut self.signals, other.signals),
        ] {
            *mine += theirs;
        }
        self.guest += other.guest;
        self.kernel += other.kernel;
        for (mine, theirs) in self.late.iter_mut().zip(other.late) {
            *mine += theirs;
        }
        self.latest = self.latest.max(other.latest);
        for (&lid, &(count, all)) in &other.wakers {
            let mine = self.wakers.entry(lid).or_default();
            mine.0 += count;
            mine.1 += all;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lwp_kernel::life::Start;
    use lwp_kernel::run::Ret;

    const A: LwpId = LwpId::new(1);
    const B: LwpId = LwpId::new(2);

    /// What happens to an LWP at a time in microseconds, by whom.
    fn tell(tally: &Tally, micros: u64, lid: LwpId, by: LwpId, what: What) {
        tally.event(&Event {
            at: Duration::from_micros(micros),
            cpu: 0,
            by: Some(by),
            lid,
            what,
        });
    }

    #[test]
    fn a_park_and_its_unpark_are_counted_with_their_times() {
        let tally = Tally::new(1);
        let call = What::Enter {
            number: 478,
            args: [0; 6],
            stack: 0,
            trapped: true,
        };
        let result = What::Leave {
            result: Ok(Ret::ZERO),
        };
        let sleep = LwpState::Sleep;
        for (micros, lid, by, what) in [
            (
                0,
                A,
                A,
                What::Create {
                    start: Start::Running,
                },
            ),
            (
                1,
                B,
                A,
                What::Create {
                    start: Start::Running,
                },
            ),
            (10, A, A, What::SwitchIn),
            (12, A, A, call),
            (13, A, A, What::Sleep { wmesg: "parked" }),
            (14, A, A, What::SwitchOut { state: sleep }),
            (20, B, B, What::SwitchIn),
            (30, B, B, call),
            (31, A, B, What::Unpark { is_kept: false }),
            (31, A, B, What::Runnable),
            (32, B, B, result),
            (36, A, A, What::SwitchIn),
            (37, A, A, result),
        ] {
            tell(&tally, micros, lid, by, what);
        }
        let sums = tally.sums();
        let counts = sums.counts;
        assert_eq!((counts.lwps, counts.peak, counts.calls), (2, 2, 2));
        assert_eq!((sums.trapped, counts.switches, sums.parked), (2, 3, 1));
        assert_eq!((counts.parks, counts.tokens), (1, 0));
        assert_eq!((counts.unparks, counts.kept), (1, 0));
        assert_eq!(sums.guest, Duration::from_micros(2 + 10));
        assert_eq!(sums.kernel, Duration::from_micros(2 + 2 + 1));
        // 5 us: under 8.
        assert_eq!((sums.late[3], sums.late.iter().sum::<u64>()), (1, 1));
        assert_eq!(sums.wakers[&B], (1, Duration::from_micros(18)));
    }

    #[test]
    fn who_holds_a_lock_is_blamed_for_all_who_wait_in_its_queue() {
        const C: LwpId = LwpId::new(3);
        let tally = Tally::new(1);
        let park = What::Sleep { wmesg: "parked" };
        for (micros, lid, by, what) in [
            (0, B, B, park),
            (0, C, C, park),
            // A has held the lock; B holds it for a moment only.
            (100, B, A, What::Runnable),
            (101, C, B, What::Runnable),
        ] {
            tell(&tally, micros, lid, by, what);
        }
        let wakers = tally.sums().wakers;
        assert_eq!(wakers[&A], (1, Duration::from_micros(200)));
        assert_eq!(wakers[&B], (1, Duration::from_micros(1)));
    }
}
