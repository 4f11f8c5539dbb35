//! Which descriptors are the guest's, and where the runner's own are.
//!
//! Guest descriptor numbers are host numbers, so ours must not be met by chance. They lie just below
//! [`CEILING`], or below the hard limit if that is lower: not at the very top of a large limit, since
//! Linux sizes (and at every fork copies) the table by the highest number in use, 8 bytes each.
//!
//! A host call gives the lowest free number, so for a moment the runner's files are among the guest's: one
//! that is read and closed again, or one just opened and not yet the guest's. Hence a bit for each
//! number that is the guest's. What has none does not exist for it: it cannot be used, watched, copied,
//! closed or replaced.
//!
//! # Invariants
//! 1. A number's bit is set by who made the descriptor ([`mark`]), once nothing in Rust owns it, and cleared
//!    by who is about to close it ([`take`]): only one of two who try succeeds.
//!
//! Sources: getrlimit(2), fcntl(2); `kern_descrip.c: fd_affix`.

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Ours end here at the latest.
const CEILING: u64 = 1 << 14;
/// Room for ours, where there is room enough.
const OURS: u64 = 64;
/// Of a small limit we take one in so many.
const SHARE: u64 = 4;

struct Limits {
    /// As the process was started.
    soft: u64,
    hard: u64,
}

static LIMITS: OnceLock<Limits> = OnceLock::new();

/// A bit for each number that is the guest's.
static GUESTS: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];
/// Of the runner's own numbers, those that were open from the start and that nobody has taken over.
static LEFT_OPEN: Mutex<Vec<i32>> = Mutex::new(Vec::new());
const WORDS: usize = 1 << 8;
const _: () = assert!((WORDS as u64) << 6 == CEILING);

/// The limits on descriptors that the runner was started with: soft and hard.
pub fn initial_descriptor_limits() -> (u64, u64) {
    let limits = limits();
    (limits.soft, limits.hard)
}

/// The numbers that descriptors of the runner's own may have; no guest may touch those open there.
pub fn own_descriptors() -> Range<i32> {
    let own = own_of(limits().hard);
    let number = |n| i32::try_from(n).unwrap_or(0);
    number(own.start)..number(own.end)
}

/// The word of [`GUESTS`] with the number's bit, and the bit.
fn place(fd: i32) -> Option<(&'static AtomicU64, u64)> {
    let at = usize::try_from(fd).ok()?;
    let word = GUESTS.get(at / 64)?;
    Some((word, 1 << (at % 64)))
}

/// Whether the guest can have such a number.
fn can_be_guests(fd: i32) -> bool {
    (0..own_descriptors().start).contains(&fd)
}

/// `fd` is the guest's from now on, if it can be. Nothing in Rust owns it.
pub(crate) fn mark(fd: i32) {
    if let Some((word, bit)) = place(fd).filter(|_| can_be_guests(fd)) {
        word.fetch_or(bit, Ordering::AcqRel);
    }
}

/// Makes a descriptor the guest's; gives it back if the guest cannot have such a number.
pub(crate) fn give(fd: OwnedFd) -> Result<i32, OwnedFd> {
    if !can_be_guests(fd.as_raw_fd()) {
        return Err(fd);
    }
    let number = fd.into_raw_fd();
    mark(number);
    Ok(number)
}

/// Makes every descriptor that is open now, and has a number that the guest can have, the guest's; those with
/// numbers of the runner's own are there for [`inherit`]. To be called once, before the runner has any itself.
pub fn give_inherited() {
    let names = std::fs::read_dir("/proc/self/fd");
    let numbers: Vec<i32> = match names {
        // The one that reads is among them, and closed when its bit is set.
        Ok(names) => names
            .filter_map(|name| name.ok()?.file_name().to_str()?.parse().ok())
            .collect(),
        // No procfs: ask for each.
        Err(_) => (0..own_descriptors().end).collect(),
    };
    for fd in numbers {
        // SAFETY: asks, by number.
        let is_open = unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0;
        if is_open && own_descriptors().contains(&fd) {
            left_open().push(fd);
        } else if is_open {
            mark(fd);
        }
    }
}

/// The guest's descriptor `fd` is about to be closed; `false` if it is not the guest's.
pub(crate) fn take(fd: i32) -> bool {
    place(fd).is_some_and(|(word, bit)| word.fetch_and(!bit, Ordering::AcqRel) & bit != 0)
}

/// Whether `fd` is the guest's.
pub(crate) fn is_guests(fd: i32) -> bool {
    place(fd).is_some_and(|(word, bit)| word.load(Ordering::Acquire) & bit != 0)
}

/// All that are the guest's, in order.
pub(crate) fn guests() -> Vec<i32> {
    let mut numbers = Vec::new();
    for (start, word) in (0..).step_by(64).zip(&GUESTS) {
        let mut bits = word.load(Ordering::Acquire);
        while bits != 0 {
            numbers.push(start + bits.trailing_zeros().cast_signed());
            bits &= bits - 1;
        }
    }
    numbers
}

/// Where ours lie below a hard limit; a guest keeps most of a small one.
fn own_of(hard: u64) -> Range<u64> {
    let end = hard.min(CEILING);
    end - OURS.min(end / SHARE)..end
}

/// Raises the soft limit to the hard one, so that ours fit above whatever the guest was allowed.
fn limits() -> &'static Limits {
    LIMITS.get_or_init(|| {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: writes one structure.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
        let raised = libc::rlimit {
            rlim_cur: limit.rlim_max,
            rlim_max: limit.rlim_max,
        };
        // SAFETY: reads one structure.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) };
        Limits {
            soft: limit.rlim_cur,
            hard: limit.rlim_max,
        }
    })
}

/// Moves a fresh descriptor of ours to its place. If there is no room it stays where it is.
pub(crate) fn move_up(fd: i32) -> i32 {
    let from = own_descriptors().start;
    if fd < 0 || fd >= from {
        return fd;
    }
    // SAFETY: duplicates a descriptor of ours.
    let moved = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, from) };
    if moved < 0 {
        return fd;
    }
    close(fd);
    moved
}

/// [`move_up`] of a descriptor that the runner keeps, so that no guest meets it.
pub fn keep(fd: OwnedFd) -> OwnedFd {
    let moved = move_up(fd.into_raw_fd());
    // SAFETY: what was owned, or the only copy of it.
    unsafe { OwnedFd::from_raw_fd(moved) }
}

/// Takes over a descriptor that the image before has kept, and left open for this one. `None` if there was none of
/// this number among the runner's own when the process was started, or it has been taken over.
pub fn inherit(fd: i32) -> Option<OwnedFd> {
    let mut left = left_open();
    let at = left.iter().position(|&each| each == fd)?;
    left.swap_remove(at);
    // SAFETY: open since before the runner had any itself, and taken out of the list: nobody else owns it.
    let taken = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: changes a flag of a descriptor of ours.
    unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    Some(taken)
}

fn left_open() -> MutexGuard<'static, Vec<i32>> {
    LEFT_OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Closes a descriptor of ours.
pub(crate) fn close(fd: i32) {
    if fd >= 0 {
        // SAFETY: ours, and nobody uses it any more.
        unsafe { libc::close(fd) };
    }
}

#[cfg(test)]
mod tests {
    use super::own_of;

    #[test]
    fn a_small_limit_is_shared() {
        assert_eq!(own_of(u64::MAX), 16_320..16_384);
        assert_eq!(own_of(4096), 4032..4096);
        assert_eq!(own_of(32), 24..32);
        assert_eq!(own_of(0), 0..0);
    }
}
