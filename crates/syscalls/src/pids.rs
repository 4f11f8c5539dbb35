//! Process ids as the guest sees them: the host's, or such as come from a seed.
//!
//! With a seed ([`crate::Options::of_seed`]) the process and its relatives have small numbers of their own, the same
//! in every run: each is drawn by the seed, the parent's number and how many children that had before. A fork child
//! goes on with a copy of its parent's table, and counts its own children from none. Numbers of others are the
//! host's, unless a relative has that number.
//!
//! # Invariants
//! 1. No two entries have the same guest number. What the guest calls by the number of a child that is gone, or by the
//!    host number of a relative, does not exist.
//! 2. Without a seed nothing is in the table, and both worlds have the same numbers.
//!
//! # Locks
//! `table`: nothing else is locked under it.

use crate::host::Host;
use core::sync::atomic::{AtomicBool, Ordering};
use lwp_abi::errno::Errno;
use lwp_kernel::machine::Forked;
use lwp_kernel::sched::{GOLDEN, mix};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Numbers that are drawn: beyond a system's first processes, up to NetBSD's `PID_MAX`.
const FIRST: u64 = 100;
const COUNT: u64 = 30_000 - FIRST;
/// What the numbers of the first process and its relatives are drawn with, in place of the parent's.
const ROOT: i32 = 0;

/// The table; see the module.
#[derive(Debug, Default)]
pub(crate) struct Pids {
    is_used: AtomicBool,
    table: Mutex<Table>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table {
    seed: u64,
    /// The number of this process.
    own: i32,
    /// How many numbers were drawn for children.
    drawn: i32,
    /// Later ones outrank earlier ones, for a host number may come again.
    known: Vec<Known>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    /// 0: the host has not been asked yet.
    host: i32,
    guest: i32,
    /// Waited for, or never born.
    is_gone: bool,
}

impl Pids {
    /// Numbers for the process that `before`, from [`Pids::record`], tells of, or for a first one.
    pub(crate) fn new(host: &dyn Host, seed: Option<u64>, before: &[i32]) -> Self {
        let pids = Self::default();
        if let Some(seed) = seed {
            let table = Table::decode(seed, before);
            pids.install(table.unwrap_or_else(|| Table::first(seed, relatives(host))));
        }
        pids
    }

    /// Numbers by `seed` for the calling process, as the first of all; returns its own.
    pub(crate) fn begin(&self, seed: u64, relatives: [i32; 4]) -> i32 {
        self.install(Table::first(seed, relatives))
    }

    fn install(&self, table: Table) -> i32 {
        let own = table.own;
        *self.lock() = table;
        self.is_used.store(true, Ordering::Relaxed);
        own
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table, if there are numbers other than the host's.
    fn used(&self) -> Option<MutexGuard<'_, Table>> {
        self.is_used.load(Ordering::Relaxed).then(|| self.lock())
    }

    /// The calling process's own number.
    pub(crate) fn own(&self) -> i32 {
        self.used().map_or_else(host_pid, |table| table.own)
    }

    /// The guest's number for a process, or, negative, for a group of the host's.
    pub(crate) fn to_guest(&self, host: i32) -> i32 {
        let Some(mut table) = self.used() else {
            return host;
        };
        let number = table.name_of(host.saturating_abs());
        if host < 0 { -number } else { number }
    }

    /// The host's number for what the guest calls so: a process, or, negative, a group.
    ///
    /// # Errors
    /// ESRCH: no such process.
    pub(crate) fn to_host(&self, guest: i32) -> Result<i32, Errno> {
        let Some(table) = self.used() else {
            return Ok(guest);
        };
        let number = table.to_host(guest.saturating_abs()).ok_or(Errno::ESRCH)?;
        Ok(if guest < 0 { -number } else { number })
    }

    /// A number for a child that is about to be born, if it does not get the host's.
    pub(crate) fn reserve(&self) -> Option<i32> {
        let mut table = self.used()?;
        let (own, nth) = (table.own, table.drawn);
        table.drawn += 1;
        let guest = table.draw(own, nth);
        table.known.push(Known {
            host: 0,
            guest,
            is_gone: true,
        });
        Some(guest)
    }

    /// Both sides of a fork, after it: the child has the number `reserved`, if one was. Returns the guest's numbers.
    pub(crate) fn born(&self, side: Forked, reserved: Option<i32>) -> Forked {
        let (Some(mut table), Some(guest)) = (self.used(), reserved) else {
            return side;
        };
        table.known.retain(|known| known.guest != guest);
        match side {
            Forked::Parent(host) => {
                table.know(host, guest);
                Forked::Parent(guest)
            }
            Forked::Child { pid } => {
                table.know(pid, guest);
                (table.own, table.drawn) = (guest, 0);
                Forked::Child { pid: guest }
            }
        }
    }

    /// A child of the host's number was waited for: nobody has its number any more.
    pub(crate) fn reaped(&self, host: i32) {
        if let Some(mut table) = self.used()
            && let Some(known) = table.known.iter_mut().rfind(|known| known.host == host)
        {
            known.is_gone = true;
        }
    }

    /// What the next image of this process has to know.
    pub(crate) fn record(&self) -> Vec<i32> {
        self.used().map_or_else(Vec::new, |table| table.encode())
    }
}

/// The host's numbers of the calling process, its parent, its group and its session; 0 for those out of its sight.
pub(crate) fn relatives(host: &dyn Host) -> [i32; 4] {
    let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    let group = host.getpgid(0).unwrap_or(0);
    [host_pid(), parent, group, host.getsid(0).unwrap_or(0)]
}

fn host_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

impl Table {
    /// The table of a first process with these [`relatives`].
    fn first(seed: u64, relatives: [i32; 4]) -> Self {
        let mut table = Self {
            seed,
            ..Self::default()
        };
        for (role, host) in (0..).zip(relatives) {
            // Init is itself.
            if host > 1 && table.of_host(host).is_none() {
                let guest = table.draw(ROOT, role);
                table.know(host, guest);
            }
        }
        table.own = table.name_of(relatives[0]);
        table
    }

    /// A number that nobody has, by the seed and two more.
    fn draw(&self, parent: i32, nth: i32) -> i32 {
        let both = u64::from(parent.cast_unsigned()) << 32 | u64::from(nth.cast_unsigned());
        let first = spread(self.seed ^ spread(both)) % COUNT;
        let numbers = (0..COUNT).map(|more| FIRST + (first + more) % COUNT);
        numbers
            .filter_map(|number| i32::try_from(number).ok())
            .find(|&number| self.known.iter().all(|known| known.guest != number))
            .unwrap_or(i32::MAX)
    }

    fn know(&mut self, host: i32, guest: i32) {
        self.known.push(Known {
            host,
            guest,
            is_gone: false,
        });
    }

    fn of_host(&self, host: i32) -> Option<&Known> {
        self.known.iter().rfind(|known| known.host == host)
    }

    fn name_of(&mut self, host: i32) -> i32 {
        if host <= 1 {
            return host;
        }
        if let Some(known) = self.of_host(host) {
            return known.guest;
        }
        if self.known.iter().all(|known| known.guest != host) {
            return host;
        }
        // A stranger with a relative's number.
        let guest = self.draw(ROOT, host);
        self.know(host, guest);
        guest
    }

    fn to_host(&self, guest: i32) -> Option<i32> {
        match self.known.iter().find(|known| known.guest == guest) {
            Some(known) => (!known.is_gone).then_some(known.host),
            None => (guest <= 1 || self.of_host(guest).is_none()).then_some(guest),
        }
    }

    fn encode(&self) -> Vec<i32> {
        let known = self.known.iter();
        let known = known.flat_map(|known| [known.host, known.guest, known.is_gone.into()]);
        [self.own, self.drawn].into_iter().chain(known).collect()
    }

    fn decode(seed: u64, record: &[i32]) -> Option<Self> {
        let (&[own, drawn], known) = record.split_first_chunk()?;
        let known = known.chunks_exact(3).map(|known| Known {
            host: known[0],
            guest: known[1],
            is_gone: known[2] != 0,
        });
        Some(Self {
            seed,
            own,
            drawn,
            known: known.collect(),
        })
    }
}

/// SplitMix64's number after this one.
fn spread(number: u64) -> u64 {
    mix(number.wrapping_add(GOLDEN))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The numbers of a first process, by this seed.
    fn first(seed: u64) -> Pids {
        let pids = Pids::default();
        pids.begin(seed, [host_pid(), 1, 0, 0]);
        pids
    }

    /// Those of one that knows what another did.
    fn next(pids: &Pids) -> Pids {
        let next = Pids::default();
        let seed = pids.lock().seed;
        next.install(Table::decode(seed, &pids.record()).unwrap());
        next
    }

    #[test]
    fn without_a_seed_all_numbers_are_the_host_s() {
        let pids = Pids::default();
        assert_eq!(pids.own(), host_pid());
        assert_eq!((pids.reserve(), pids.record()), (None, Vec::new()));
        for number in [i32::MIN, -7, -1, 0, 1, 7, i32::MAX] {
            assert_eq!(pids.to_guest(number), number);
            assert_eq!(pids.to_host(number), Ok(number));
        }
        assert_eq!(pids.born(Forked::Parent(7), None), Forked::Parent(7));
    }

    #[test]
    fn a_seed_says_what_the_process_is_called() {
        let pids = first(3);
        assert_eq!(pids.own(), first(3).own());
        assert_ne!(pids.own(), first(4).own());
        assert_eq!(pids.to_guest(host_pid()), pids.own());
        assert_eq!(pids.to_guest(-host_pid()), -pids.own());
        assert_eq!(pids.to_host(-pids.own()), Ok(-host_pid()));
        assert_eq!(pids.to_host(host_pid()), Err(Errno::ESRCH));
        for number in [-1, 0, 1] {
            assert_eq!(pids.to_guest(number), number);
            assert_eq!(pids.to_host(number), Ok(number));
        }
    }

    /// The numbers of the first children of a process, and of their first children.
    fn family(seed: u64, first_host: i32) -> Vec<i32> {
        let pids = first(seed);
        let mut family = vec![pids.own()];
        for host in (first_host..).step_by(2).take(20) {
            let reserved = pids.reserve();
            let child = next(&pids);
            let number = reserved.unwrap();
            assert_eq!(
                pids.born(Forked::Parent(host), reserved),
                Forked::Parent(number)
            );
            let born = child.born(Forked::Child { pid: host }, reserved);
            assert_eq!(born, Forked::Child { pid: number });
            assert_eq!((child.own(), child.to_guest(host)), (number, number));
            assert_eq!(child.to_guest(host_pid()), pids.own());
            let grandchild = child.reserve();
            let born = child.born(Forked::Parent(host + 1), grandchild);
            assert_eq!(born, Forked::Parent(grandchild.unwrap()));
            family.extend([number, grandchild.unwrap()]);
        }
        family
    }

    #[test]
    fn children_have_the_same_numbers_whatever_the_host_calls_them() {
        for seed in 0..20 {
            let family_of = family(seed, 1_000_000);
            assert_eq!(family_of, family(seed, 2_000_000));
            assert!(
                family_of
                    .iter()
                    .all(|number| (100..30_000).contains(number))
            );
            let children: BTreeSet<_> = family_of.iter().skip(1).step_by(2).collect();
            assert_eq!(children.len(), 20);
        }
    }

    #[test]
    fn whoever_is_gone_is_not_found_and_a_host_number_may_come_again() {
        let pids = first(1);
        let born = |host| {
            let number = pids.reserve();
            assert!(pids.to_host(number.unwrap()).is_err(), "not yet");
            pids.born(Forked::Parent(host), number);
            number.unwrap()
        };
        let first = born(2_000_000);
        assert_eq!(pids.to_host(first), Ok(2_000_000));
        pids.reaped(2_000_000);
        assert_eq!(pids.to_host(first), Err(Errno::ESRCH));
        assert_eq!(
            pids.to_guest(2_000_000),
            first,
            "a late SIGCHLD tells of it"
        );
        let second = born(2_000_000);
        assert_ne!(first, second);
        assert_eq!(pids.to_guest(2_000_000), second);
        assert_eq!(pids.to_host(second), Ok(2_000_000));
    }

    #[test]
    fn a_stranger_does_not_get_a_relative_s_number() {
        let pids = first(1);
        let number = pids.to_guest(pids.own());
        assert!(number != pids.own() && pids.to_host(number) == Ok(pids.own()));
        assert_eq!(pids.to_guest(1_999_999), 1_999_999);
    }

    /// As in a container, which has its init in a group and session of its host's.
    #[test]
    fn who_is_out_of_sight_is_nobody_and_init_is_itself() {
        let pids = Pids::default();
        assert_eq!(pids.begin(1, [1, 0, 0, 0]), 1);
        assert_eq!([0, 1].map(|number| pids.to_guest(number)), [0, 1]);
        let own = pids.begin(1, [7, 1, 0, 9]);
        assert_eq!([7, 1, 0].map(|number| pids.to_guest(number)), [own, 1, 0]);
        assert_ne!(pids.to_guest(9), 9);
    }

    #[test]
    fn the_next_image_knows_everybody() {
        let pids = first(1);
        let child = pids.reserve();
        pids.born(Forked::Parent(2_000_000), child);
        let next = next(&pids);
        assert_eq!(*next.lock(), *pids.lock());
        assert_eq!(next.own(), pids.own());
        assert_eq!(next.to_host(child.unwrap()), Ok(2_000_000));
    }
}
