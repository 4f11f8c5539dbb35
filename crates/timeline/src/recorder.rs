//! Keeps what happens to LWPs until the process ends.
//!
//! Responsible for bounded memory and for being quick: a listener is called in the midst of things. Not for
//! what the events mean (`history`).
//!
//! # Invariants
//! 1. Each vcpu writes to a buffer of its own, so the lock is never waited for.
//! 2. The events kept are those before one moment, of all vcpus. What comes after the first that found no room
//!    is dropped and counted: a history with a known end, rather than one with holes.
//! 3. [`Counts`] are exact, whatever was dropped.
//! 4. In a fork child nothing is kept or written: the timeline is that of the process the user started.

use crate::counts::{Counts, Population};
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use lwp_abi::errno::Errno;
use lwp_abi::lwp::{LwpId, LwpState};
use lwp_abi::signal::Signo;
use lwp_kernel::events::{Event, Listener, What};
use lwp_kernel::run::Ended;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Events for which a buffer makes room at once: 96 KiB.
const CHUNK: usize = 4096;

/// A time, in nanoseconds on the machine's monotonic clock.
pub type Nanos = u64;

/// What is kept of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub at: Nanos,
    /// To which LWP.
    pub lid: i32,
    /// By which LWP; 0 is nobody.
    pub by: i32,
    /// What.
    pub what: Kept,
}

/// Of [`What`], what a timeline shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the one of `What`")]
pub enum Kept {
    Create,
    Exit,
    Runnable,
    SwitchIn {
        cpu: u16,
    },
    SwitchOut {
        cpu: u16,
        state: LwpState,
    },
    Sleep {
        /// An index into [`Recording::wmesgs`].
        wmesg: u16,
    },
    Awake,
    Token,
    Unpark {
        is_kept: bool,
    },
    Timeout,
    Cancel,
    Suspend,
    Suspended,
    Continue,
    Stopped,
    Signal(Signo),
    Name {
        /// An index into [`Recording::names`].
        name: u32,
    },
    Enter {
        number: u16,
    },
    Leave {
        errno: Option<Errno>,
    },
}

/// All that was kept of a run.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// In the order of time.
    pub records: Vec<Record>,
    /// Wait messages.
    pub wmesgs: Vec<&'static str>,
    /// Names given to LWPs, ended by NUL.
    pub names: Vec<[u8; 16]>,
    /// What was counted.
    pub counts: Counts,
    /// Events that found no room, or came after one that did not.
    pub dropped: u64,
    /// How many vcpus there were.
    pub vcpus: usize,
}

/// What one vcpu has noticed.
#[derive(Default)]
struct Buffer {
    chunks: Vec<Vec<Record>>,
    wmesgs: Vec<&'static str>,
    names: Vec<[u8; 16]>,
    counts: Counts,
    dropped: u64,
}

/// Two buffers do not share a cache line.
#[repr(align(128))]
struct Alone(Mutex<Buffer>);

/// The listener that keeps events.
pub struct Recorder {
    /// One for each vcpu.
    buffers: Box<[Alone]>,
    /// For how many events there is room that no buffer has taken.
    room: AtomicUsize,
    /// How many events a buffer takes room for at a time.
    chunk: usize,
    /// The moment after which nothing is kept.
    until: AtomicU64,
    is_over: AtomicBool,
    population: Population,
}

impl Recorder {
    /// A recorder for `vcpus` vcpus, which keeps at most `limit` events (24 bytes each).
    pub fn new(vcpus: usize, limit: usize) -> Self {
        let vcpus = vcpus.max(1);
        Self {
            buffers: (0..vcpus)
                .map(|_| Alone(Mutex::new(Buffer::default())))
                .collect(),
            room: AtomicUsize::new(limit),
            chunk: (limit / (4 * vcpus)).clamp(1, CHUNK),
            until: AtomicU64::new(Nanos::MAX),
            is_over: AtomicBool::new(false),
            population: Population::default(),
        }
    }

    /// Ends the recording and takes what was kept; nothing if it has ended before.
    pub fn finish(&self) -> Option<Recording> {
        if self.is_over.swap(true, Ordering::Relaxed) {
            return None;
        }
        let until = self.until.load(Ordering::Relaxed);
        let mut all = Recording {
            vcpus: self.buffers.len(),
            ..Recording::default()
        };
        for buffer in &self.buffers {
            all.take(&mut lock(&buffer.0), until);
        }
        all.counts.peak = self.population.peak();
        // Each buffer is in order already, which this sort makes use of.
        all.records.sort_by_key(|record| record.at);
        Some(all)
    }

    /// Room for more events, if there is any.
    fn take_room(&self) -> usize {
        let chunk = self.chunk;
        let take = |room: usize| Some(room.saturating_sub(chunk));
        let relaxed = Ordering::Relaxed;
        let room = self.room.fetch_update(relaxed, relaxed, take);
        room.unwrap_or(0).min(chunk)
    }

    fn keep(&self, buffer: &mut Buffer, record: Record) {
        if buffer
            .chunks
            .last()
            .is_none_or(|it| it.len() == it.capacity())
        {
            let room = self.take_room();
            if room == 0 {
                // The first that finds none ends it for all (invariant 2).
                self.until.fetch_min(record.at, Ordering::Relaxed);
                buffer.dropped += 1;
                return;
            }
            buffer.chunks.push(Vec::with_capacity(room));
        }
        if let Some(chunk) = buffer.chunks.last_mut() {
            chunk.push(record);
        }
    }
}

impl Listener for Recorder {
    fn event(&self, event: &Event) {
        if self.is_over.load(Ordering::Relaxed) {
            return;
        }
        if event.what == What::Forked {
            self.is_over.store(true, Ordering::Relaxed);
            return;
        }
        let Some(buffer) = self.buffers.get(event.cpu) else {
            return;
        };
        self.population.note(&event.what);
        let mut buffer = lock(&buffer.0);
        buffer.counts.count(&event.what);
        let at = Nanos::try_from(event.at.as_nanos()).unwrap_or(Nanos::MAX);
        if at > self.until.load(Ordering::Relaxed) {
            buffer.dropped += 1;
            return;
        }
        if let Some(what) = buffer.kept(event) {
            let record = Record {
                at,
                lid: event.lid.raw(),
                by: event.by.map_or(0, LwpId::raw),
                what,
            };
            self.keep(&mut buffer, record);
        }
    }
}

impl Buffer {
    /// What is kept of `event`, if a timeline shows it.
    fn kept(&mut self, event: &Event) -> Option<Kept> {
        let cpu = u16::try_from(event.cpu).unwrap_or(u16::MAX);
        Some(match event.what {
            What::Create { .. } => Kept::Create,
            What::Exit => Kept::Exit,
            What::Runnable => Kept::Runnable,
            What::SwitchIn => Kept::SwitchIn { cpu },
            What::SwitchOut { state } => Kept::SwitchOut { cpu, state },
            What::Sleep { wmesg } => Kept::Sleep {
                wmesg: self.wmesg(wmesg),
            },
            What::Awake => Kept::Awake,
            What::Token => Kept::Token,
            What::Unpark { is_kept } => Kept::Unpark { is_kept },
            What::Timeout => Kept::Timeout,
            What::Cancel => Kept::Cancel,
            What::Suspend => Kept::Suspend,
            What::Suspended => Kept::Suspended,
            What::Continue => Kept::Continue,
            What::Stopped => Kept::Stopped,
            What::Signal { signo } => Kept::Signal(signo),
            What::Name(name) => {
                let at = self.names.len();
                self.names.push(name);
                Kept::Name {
                    name: u32::try_from(at).unwrap_or(u32::MAX),
                }
            }
            What::Enter { number, .. } => Kept::Enter {
                number: u16::try_from(number).unwrap_or(u16::MAX),
            },
            What::Leave { result } => Kept::Leave {
                errno: match result {
                    Err(Ended::Failed(errno)) => Some(errno),
                    _ => None,
                },
            },
            _ => return None,
        })
    }

    /// The index of a wait message, of which there are a few dozen in all.
    fn wmesg(&mut self, wmesg: &'static str) -> u16 {
        let known = self.wmesgs.iter().position(|it| core::ptr::eq(*it, wmesg));
        let at = known.unwrap_or_else(|| {
            self.wmesgs.push(wmesg);
            self.wmesgs.len() - 1
        });
        u16::try_from(at).unwrap_or(u16::MAX)
    }
}

impl Recording {
    /// Takes over what `buffer` holds from before `until`.
    fn take(&mut self, buffer: &mut Buffer, until: Nanos) {
        self.counts.add(&buffer.counts);
        self.dropped += buffer.dropped;
        let wmesgs: Vec<_> = buffer.wmesgs.iter().map(|it| self.wmesg(it)).collect();
        let names = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.append(&mut buffer.names);
        for chunk in core::mem::take(&mut buffer.chunks) {
            let kept = chunk.iter().take_while(|record| record.at < until).count();
            self.dropped += (chunk.len() - kept) as u64;
            self.records
                .extend(chunk.into_iter().take(kept).map(|record| Record {
                    what: match record.what {
                        Kept::Sleep { wmesg } => Kept::Sleep {
                            wmesg: wmesgs.get(usize::from(wmesg)).copied().unwrap_or(0),
                        },
                        Kept::Name { name } => Kept::Name {
                            name: name.saturating_add(names),
                        },
                        other => other,
                    },
                    ..record
                }));
        }
    }

    /// The index of a wait message: equal ones of several buffers have one.
    fn wmesg(&mut self, wmesg: &'static str) -> u16 {
        let known = self.wmesgs.iter().position(|it| *it == wmesg);
        let at = known.unwrap_or_else(|| {
            self.wmesgs.push(wmesg);
            self.wmesgs.len() - 1
        });
        u16::try_from(at).unwrap_or(u16::MAX)
    }
}

/// Nobody panics with the lock held; if somebody does, what is there is still worth showing.
fn lock(buffer: &Mutex<Buffer>) -> MutexGuard<'_, Buffer> {
    buffer.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn event(at: u64, cpu: usize, what: What) -> Event {
        Event {
            at: Duration::from_nanos(at),
            cpu,
            by: None,
            lid: LwpId::new(1),
            what,
        }
    }

    #[test]
    fn a_record_is_small() {
        assert!(size_of::<Record>() <= 24);
    }

    #[test]
    fn buffers_are_merged_by_time_and_share_their_wait_messages() {
        let recorder = Recorder::new(2, 100);
        recorder.event(&event(1, 1, What::Sleep { wmesg: "select" }));
        recorder.event(&event(2, 0, What::Sleep { wmesg: "parked" }));
        recorder.event(&event(3, 1, What::Sleep { wmesg: "parked" }));
        let all = recorder.finish().unwrap();
        let told: Vec<_> = all.records.iter().map(|it| (it.at, it.what)).collect();
        let sleep = |wmesg| Kept::Sleep { wmesg };
        assert_eq!(told, [(1, sleep(1)), (2, sleep(0)), (3, sleep(0))]);
        assert_eq!(all.wmesgs, ["parked", "select"]);
        assert_eq!((all.counts.parks, all.dropped), (2, 0));
        assert!(recorder.finish().is_none());
    }

    #[test]
    fn what_comes_after_the_first_without_room_is_dropped_on_all_vcpus_and_counted() {
        let recorder = Recorder::new(2, 8);
        recorder.event(&event(1, 1, What::SwitchIn));
        for at in 2..20 {
            recorder.event(&event(at, 0, What::SwitchIn));
        }
        recorder.event(&event(20, 1, What::SwitchIn));
        let all = recorder.finish().unwrap();
        assert_eq!(all.counts.switches, 20);
        assert_eq!(all.records.len() as u64 + all.dropped, 20);
        assert!(all.records.len() <= 8, "{}", all.records.len());
        let times: Vec<_> = all.records.iter().map(|it| it.at).collect();
        let first: Vec<_> = (1..=times.len() as u64).collect();
        assert_eq!(times, first, "a beginning without holes");
    }

    #[test]
    fn a_fork_child_keeps_nothing() {
        let recorder = Recorder::new(1, 8);
        recorder.event(&event(1, 0, What::SwitchIn));
        recorder.event(&event(2, 0, What::Forked));
        assert!(recorder.finish().is_none());
    }
}
