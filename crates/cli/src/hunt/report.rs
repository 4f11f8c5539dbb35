//! What a hunted process tells its server: written to a file in memory when it ends, or hangs.

use crate::chaos::STATUS_OF_HANG;
use crate::hunt::words::Narrator;
use crate::snapshot::Snapshot;
use crate::waits;
use lwp_chaos::{Chaos, EventHash, Hang};
use lwp_kernel::Kernel;
use lwp_kernel::events::{Event, Listener, What};
use lwp_kernel::machine::ExitWith;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// Why a process counts as one that hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Hung {
    /// Every LWP waits, and nothing can wake any.
    Deadlock,
    /// It has had all the time there is.
    Time,
    /// It has come to too many points.
    Points,
}

/// What a process has come to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) points: u64,
    pub(crate) stretches: u64,
    pub(crate) hash: u64,
    pub(crate) hang: Option<Hung>,
    /// Who waits for what, if it hangs.
    pub(crate) waits: String,
    /// What was decided, as in a schedule's file.
    pub(crate) decisions: Vec<String>,
    /// The same in words.
    pub(crate) story: Vec<String>,
}

/// Reports for one process at a time, of those that a server forks.
pub(crate) struct Reporter {
    file: Arc<File>,
    chaos: Arc<Chaos>,
    hash: Arc<EventHash>,
    hung: Mutex<Option<(Hung, String)>>,
    kernel: OnceLock<Weak<Kernel>>,
    /// The process is not one that its own program has forked.
    is_ours: AtomicBool,
    /// Decisions are to be reported, and told.
    is_full: AtomicBool,
    most_points: AtomicU64,
    narrator: Narrator,
}

impl Reporter {
    /// Into `file`.
    pub(crate) fn new(file: Arc<File>, chaos: &Arc<Chaos>, hash: &Arc<EventHash>) -> Self {
        Self {
            file,
            chaos: Arc::clone(chaos),
            hash: Arc::clone(hash),
            hung: Mutex::new(None),
            kernel: OnceLock::new(),
            is_ours: AtomicBool::new(true),
            is_full: AtomicBool::new(false),
            most_points: AtomicU64::new(u64::MAX),
            narrator: Narrator::new(chaos),
        }
    }

    /// Whose LWPs it is about.
    pub(crate) fn set_kernel(&self, kernel: &Arc<Kernel>) {
        let _once = self.kernel.set(Arc::downgrade(kernel));
    }

    /// For the process just forked: whether to report decisions, and after how many points it hangs.
    pub(crate) fn begin(&self, is_full: bool, most_points: u64) {
        self.is_full.store(is_full, Ordering::Relaxed);
        self.most_points.store(most_points, Ordering::Relaxed);
    }

    /// The process hangs, and is to end.
    pub(crate) fn hang(&self, hang: Hang) {
        self.hung(match hang {
            Hang::Deadlock => Hung::Deadlock,
            Hang::Time => Hung::Time,
        });
    }

    fn hung(&self, hang: Hung) {
        if !self.is_ours.load(Ordering::Relaxed) {
            return;
        }
        let Some(kernel) = self.kernel.get().and_then(Weak::upgrade) else {
            return;
        };
        let waits = waits::report(&Snapshot::take(&kernel, b""));
        *self.hung.lock().unwrap_or_else(PoisonError::into_inner) = Some((hang, waits));
        kernel.give_up(ExitWith::Code(STATUS_OF_HANG));
    }

    fn write(&self) {
        let hung = self.hung.lock().unwrap_or_else(PoisonError::into_inner);
        let (hang, waits) = hung.clone().unzip();
        let mut report = Report {
            points: self.chaos.points(),
            stretches: self.chaos.stretches(),
            hash: self.hash.hash(),
            hang,
            waits: waits.unwrap_or_default(),
            ..Report::default()
        };
        if self.is_full.load(Ordering::Relaxed) {
            let decisions = self.chaos.decisions();
            report.decisions = decisions.iter().map(ToString::to_string).collect();
            report.story = self.narrator.story();
        }
        let bytes = serde_json::to_vec(&report).unwrap_or_default();
        // Without a report it counts as one that ended as Linux says.
        let _ = self.file.write_all_at(&bytes, 0);
    }
}

impl Listener for Reporter {
    fn event(&self, event: &Event) {
        match event.what {
            What::Forked => self.is_ours.store(false, Ordering::Relaxed),
            What::End { .. } | What::Exec { .. } if self.is_ours.load(Ordering::Relaxed) => {
                self.narrator.event(event);
                self.write();
            }
            What::Enter { .. }
                if self.chaos.points() > self.most_points.load(Ordering::Relaxed) =>
            {
                self.hung(Hung::Points);
            }
            _ if self.is_full.load(Ordering::Relaxed) => self.narrator.event(event),
            _ => {}
        }
    }
}
