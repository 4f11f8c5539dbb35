//! How often things happened: what `--stats` and a timeline have in common.

use core::sync::atomic::{AtomicI64, Ordering};
use lwp_kernel::events::What;
use lwp_kernel::sleepq::PARKED;

/// How often something happened, all told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events of any kind, dropped ones included.
    pub events: u64,
    /// LWPs made.
    pub lwps: u64,
    /// LWPs that there were at the same time.
    pub peak: u64,
    /// Times that a vcpu took up an LWP.
    pub switches: u64,
    /// Calls of `_lwp_park(2)` that did not fail at once.
    pub parks: u64,
    /// Of these, those that found a wake-up waiting.
    pub tokens: u64,
    /// LWPs unparked.
    pub unparks: u64,
    /// Of these, those that were not parked: the wake-up was kept.
    pub kept: u64,
    /// System calls begun.
    pub calls: u64,
}

impl Counts {
    /// Counts what happened.
    pub fn count(&mut self, what: &What) {
        self.events += 1;
        match what {
            What::Create { .. } => self.lwps += 1,
            What::SwitchIn => self.switches += 1,
            What::Sleep { wmesg } => self.parks += u64::from(*wmesg == PARKED),
            What::Token => {
                self.parks += 1;
                self.tokens += 1;
            }
            What::Unpark { is_kept } => {
                self.unparks += 1;
                self.kept += u64::from(*is_kept);
            }
            What::Enter { .. } => self.calls += 1,
            _ => {}
        }
    }

    /// Each count with the name it has in the page.
    pub fn by_name(&self) -> [(&'static str, u64); 9] {
        [
            ("events", self.events),
            ("lwps", self.lwps),
            ("peak", self.peak),
            ("switches", self.switches),
            ("parks", self.parks),
            ("tokens", self.tokens),
            ("unparks", self.unparks),
            ("kept", self.kept),
            ("calls", self.calls),
        ]
    }

    /// Adds what was counted elsewhere; not the peak, which is no sum.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.lwps += other.lwps;
        self.switches += other.switches;
        self.parks += other.parks;
        self.tokens += other.tokens;
        self.unparks += other.unparks;
        self.kept += other.kept;
        self.calls += other.calls;
    }
}

/// How many LWPs there are, and were at most, whichever vcpu makes and ends them.
#[derive(Debug, Default)]
pub struct Population {
    alive: AtomicI64,
    peak: AtomicI64,
}

impl Population {
    /// Takes note of LWPs that come and go.
    pub fn note(&self, what: &What) {
        match what {
            What::Create { .. } => {
                let alive = self.alive.fetch_add(1, Ordering::Relaxed) + 1;
                self.peak.fetch_max(alive, Ordering::Relaxed);
            }
            What::Exit => {
                self.alive.fetch_sub(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    /// LWPs that there were at the same time.
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed).unsigned_abs()
    }
}
