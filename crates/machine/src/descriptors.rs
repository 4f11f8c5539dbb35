//! The runner's own descriptors: high, close-on-exec, out of the guest's way.
//!
//! Guest descriptor numbers are host numbers, so ours must not be met by chance. They lie just below
//! [`CEILING`], or below the hard limit if that is lower: not at the very top of a large limit, since
//! Linux sizes (and at every fork copies) the table by the highest number in use, 8 bytes each.
//!
//! Sources: getrlimit(2), fcntl(2).

use core::ops::Range;
use std::sync::OnceLock;

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
