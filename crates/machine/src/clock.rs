//! The host's clocks, and a count that is cheaper than they are.
//!
//! Monotonic and realtime are read from the vDSO by pointer: fast calls (`fast`) have no libc. The count is the
//! CPU's time-stamp counter where Linux itself takes the time from that; else the monotonic clock.
//!
//! # Invariants
//! 1. [`SOURCE`] is written once, by [`init`], before any vcpu runs.
//! 2. [`RATE`] is found once: what a count has been told to be does not change, so that CPU times never go back.
//!
//! Sources: `clock_gettime(2)`, vdso(7); System V ABI, chapter 5 (dynamic section, symbol table).

use crate::layout;
use core::ffi::CStr;
use core::time::Duration;
use std::sync::OnceLock;

type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> libc::c_int;

/// Where time comes from.
#[derive(Debug)]
struct Source {
    /// The vDSO's function, if there is one.
    gettime: Option<ClockGettime>,
    /// The counter runs at a constant rate, the same everywhere.
    has_counter: bool,
    /// For the counter's rate.
    start: Moment,
}

/// A moment on both.
#[derive(Debug)]
struct Moment {
    counter: u64,
    clock: Duration,
}

impl Moment {
    /// The moment of this call: of several looks the one that was interrupted least.
    fn now() -> Self {
        let look = || {
            let before = counter();
            let clock = by_libc(libc::CLOCK_MONOTONIC);
            let took = counter().saturating_sub(before);
            let counter = before + took / 2;
            (took, Self { counter, clock })
        };
        let looks = core::array::from_fn::<_, 8, _>(|_| look());
        let (_, best) = looks
            .into_iter()
            .min_by_key(|(took, _)| *took)
            .expect("eight looks were taken");
        best
    }
}

static SOURCE: OnceLock<Source> = OnceLock::new();

/// How many nanoseconds so many ticks of the counter are.
static RATE: OnceLock<(u128, u128)> = OnceLock::new();
/// Over which time the rate is found at least: a moment is a few ten nanoseconds long.
const RATE_TIME: Duration = Duration::from_millis(1);

/// Looks for the vDSO and the counter; `false` if clocks have to be read by way of libc.
pub(crate) fn init() -> bool {
    let source = SOURCE.get_or_init(|| {
        let name = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        let source = std::fs::read(name).unwrap_or_default();
        let has_counter = [&b"tsc"[..], b"kvm-clock", b"hyperv_clocksource_tsc_page"]
            .contains(&source.trim_ascii())
            && has_constant_counter();
        Source {
            gettime: vdso_gettime(),
            has_counter,
            start: Moment::now(),
        }
    });
    source.gettime.is_some()
}

/// `CLOCK_MONOTONIC`.
pub(crate) fn monotonic() -> Duration {
    read(libc::CLOCK_MONOTONIC)
}

/// Time since the epoch.
pub(crate) fn realtime() -> Duration {
    read(libc::CLOCK_REALTIME)
}

/// CPU time of the process.
pub(crate) fn process_cpu() -> Duration {
    by_libc(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// The count; see `Clocks::stamp`.
pub(crate) fn stamp() -> u64 {
    match SOURCE.get() {
        Some(source) if source.has_counter => counter(),
        _ => nanos(monotonic()),
    }
}

/// How long the count takes to grow by `count`.
pub(crate) fn stamped(count: u64) -> Duration {
    let Some(source) = SOURCE.get().filter(|source| source.has_counter) else {
        return Duration::from_nanos(count);
    };
    let &(time, ticks) = RATE.get_or_init(|| rate(&source.start));
    let nanos = u128::from(count) * time / ticks;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The counter's rate since `start`; waits if that is too short a time ago.
fn rate(start: &Moment) -> (u128, u128) {
    loop {
        let now = Moment::now();
        let time = now.clock.saturating_sub(start.clock);
        if time >= RATE_TIME {
            let ticks = now.counter.saturating_sub(start.counter).max(1);
            return (time.as_nanos(), u128::from(ticks));
        }
    }
}

fn read(clock: libc::clockid_t) -> Duration {
    match SOURCE.get().and_then(|source| source.gettime) {
        // SAFETY: writes one structure.
        Some(gettime) => get(|time| unsafe { gettime(clock, time) }),
        None => by_libc(clock),
    }
}

fn by_libc(clock: libc::clockid_t) -> Duration {
    // SAFETY: writes one structure.
    get(|time| unsafe { libc::clock_gettime(clock, time) })
}

fn get(gettime: impl FnOnce(*mut libc::timespec) -> libc::c_int) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    gettime(&raw mut time);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    // Below a second, so that no carry is looked for.
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0).min(999_999_999);
    Duration::new(seconds, nanos)
}

/// A time as the host's calls want it; beyond its range, the latest it knows.
pub(crate) fn timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn counter() -> u64 {
    // SAFETY: every CPU of this architecture has it, and Linux lets it be used (it would be a SIGSEGV, which
    // the vDSO's clock would meet as well).
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// CPUID says that the counter runs at the same rate in every state of the CPU.
fn has_constant_counter() -> bool {
    let last = core::arch::x86_64::__cpuid(0x8000_0000).eax;
    last >= 0x8000_0007 && core::arch::x86_64::__cpuid(0x8000_0007).edx & 1 << 8 != 0
}

/// `clock_gettime` of the vDSO.
fn vdso_gettime() -> Option<ClockGettime> {
    const PT_LOAD: u32 = 1;
    const PT_DYNAMIC: u32 = 2;
    const DT_HASH: u64 = 4;
    const DT_STRTAB: u64 = 5;
    const DT_SYMTAB: u64 = 6;
    const SYMBOL: u64 = 24;
    let base = layout::auxv(libc::AT_SYSINFO_EHDR);
    if base == 0 {
        return None;
    }
    let headers = base + word::<u64>(base + 32);
    let count = u64::from(word::<u16>(base + 56));
    let segment = |kind| {
        let mut all = (0..count).map(|i| headers + 56 * i);
        all.find(|&at| word::<u32>(at) == kind)
    };
    // Addresses in the image are as if it began where its first segment says.
    let load = segment(PT_LOAD)?;
    let slide = base.wrapping_sub(word::<u64>(load + 16).wrapping_sub(word(load + 8)));
    let dynamic = slide.wrapping_add(word(segment(PT_DYNAMIC)? + 16));
    let entry = |tag| {
        let all = (0..64).map(|i| dynamic + 16 * i);
        let at = all
            .take_while(|&at| word::<u64>(at) != 0)
            .find(|&at| word::<u64>(at) == tag)?;
        Some(slide.wrapping_add(word(at + 8)))
    };
    let (symbols, strings) = (entry(DT_SYMTAB)?, entry(DT_STRTAB)?);
    let count = match entry(DT_HASH) {
        Some(hash) => u64::from(word::<u32>(hash + 4)),
        // Linkers put the names behind the symbols.
        None => strings.checked_sub(symbols)? / SYMBOL,
    };
    let found = (0..count).map(|i| symbols + SYMBOL * i).find(|&symbol| {
        let name = pointer::<u8>(strings + u64::from(word::<u32>(symbol)));
        // SAFETY: the names of an image end with NULs.
        let name = unsafe { CStr::from_ptr(name.cast()) };
        name == c"__vdso_clock_gettime" && word::<u16>(symbol + 6) != 0
    })?;
    let at = pointer::<()>(slide.wrapping_add(word(found + 8)));
    // SAFETY: vdso(7): the function has the signature of the C library's.
    Some(unsafe { core::mem::transmute::<*const (), ClockGettime>(at) })
}

/// A number of the vDSO's image. Called by [`vdso_gettime`] alone.
fn word<T: Copy>(at: u64) -> T {
    // SAFETY: `vdso_gettime` reads only what the format says is there, of the image that Linux has mapped.
    unsafe { pointer::<T>(at).read_unaligned() }
}

fn pointer<T>(at: u64) -> *const T {
    core::ptr::with_exposed_provenance(crate::size(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vdso_and_libc_tell_the_same_time() {
        init();
        for clock in [libc::CLOCK_MONOTONIC, libc::CLOCK_REALTIME] {
            let (before, between, after) = (by_libc(clock), read(clock), by_libc(clock));
            assert!(before <= between && between <= after);
        }
    }

    #[test]
    fn a_count_stays_as_long_as_it_was() {
        init();
        let count = stamp();
        let told = stamped(count);
        let end = monotonic() + Duration::from_millis(20);
        while monotonic() < end {
            assert_eq!(stamped(count), told);
        }
    }

    #[test]
    fn a_count_is_as_long_as_the_clock_says() {
        init();
        let (clock, count) = (monotonic(), stamp());
        while monotonic() < clock + Duration::from_millis(20) {}
        let counted = stamped(stamp() - count);
        let took = monotonic().saturating_sub(clock);
        assert!(
            counted <= took + Duration::from_micros(50),
            "{counted:?} in {took:?}"
        );
        assert!(
            counted >= Duration::from_millis(19),
            "{counted:?} in {took:?}"
        );
    }
}
