//! What a recording means: where each LWP was, when, and who woke whom.
//!
//! Responsible for intervals out of moments. The events are taken as they come: two vcpus can tell of the same
//! nanosecond in either order, and the end of a recording can cut anything off, so nothing here insists.
//!
//! # Invariants
//! 1. The spans of an LWP follow each other without gap or overlap, from its creation to its end.
//! 2. On one vcpu no two LWPs run at the same time.
//! 3. The calls of an LWP do not overlap.
//! 4. Wake-ups are in the order of time.

use crate::counts::Counts;
use crate::recorder::{Kept, Nanos, Record, Recording};
use lwp_abi::errno::Errno;
use lwp_abi::lwp::LwpState;
use lwp_abi::signal::Signo;
use lwp_abi::until_nul;
use lwp_kernel::sleepq::PARKED;
use rustc_hash::FxHashMap;
use std::cmp::Reverse;

/// How many of the longest waits, and of the pairs that woke each other most, are listed.
const LISTED: usize = 100;

/// An LWP, by the order of creation: ids are used again, rows are not.
pub type RowId = u32;

/// A run, for people.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The first moment.
    pub begin: Nanos,
    /// The last.
    pub end: Nanos,
    /// One for each LWP, in the order of creation.
    pub rows: Vec<Row>,
    /// What an LWP was woken by and when, in the order of time.
    pub wakes: Vec<Wake>,
    /// The longest waits, the longest first.
    pub waits: Vec<Wait>,
    /// Who woke whom most, the most frequent first.
    pub pairs: Vec<Pair>,
    /// Wait messages, which [`State::Sleeping`] refers to.
    pub wmesgs: Vec<&'static str>,
    /// What was counted, dropped events included.
    pub counts: Counts,
    /// Events that found no room.
    pub dropped: u64,
    /// How many vcpus there were.
    pub vcpus: usize,
}

/// The life of one LWP.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Its id.
    pub lid: i32,
    /// The last name it had; empty if it had none.
    pub name: String,
    /// Who made it.
    pub made_by: Option<RowId>,
    /// Where it was.
    pub spans: Vec<Span>,
    /// The system calls it made.
    pub calls: Vec<Call>,
}

/// A time in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// From when.
    pub from: Nanos,
    /// Until when: later than `from`.
    pub to: Nanos,
    /// In which state.
    pub state: State,
}

/// Where an LWP can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// On a vcpu.
    Running {
        /// Which.
        cpu: u16,
    },
    /// It could run, and no vcpu has taken it up.
    Runnable,
    /// In `_lwp_park(2)`.
    Parked,
    /// In another sleep.
    Sleeping {
        /// An index into [`History::wmesgs`].
        wmesg: u16,
    },
    /// Suspended by another LWP.
    Suspended,
    /// Stopped with its process.
    Stopped,
}

impl State {
    /// It can only go on when something else happens.
    pub fn is_wait(self) -> bool {
        !matches!(self, Self::Running { .. } | Self::Runnable)
    }
}

/// One system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it began.
    pub from: Nanos,
    /// When it came back, or the LWP ended.
    pub to: Nanos,
    /// Which.
    pub number: u16,
    /// Whether it failed; `None` if it never came back.
    pub result: Option<Result<(), Errno>>,
}

/// An LWP that waited, or is new, became runnable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    /// When.
    pub at: Nanos,
    /// Who did it; `None` is time, or the outside.
    pub by: Option<RowId>,
    /// Who was woken.
    pub row: RowId,
    /// Why.
    pub why: Why,
    /// When a vcpu took it up.
    pub ran: Option<Nanos>,
}

/// Why an LWP became runnable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// What it waited for is there.
    Ready,
    /// It is new.
    Created,
    /// It was unparked.
    Unparked,
    /// The time of its sleep was over.
    Timeout,
    /// `_lwp_wakeup(2)`.
    Cancelled,
    /// It is to suspend itself.
    Suspend,
    /// It was continued.
    Continued,
    /// A signal.
    Signal(Signo),
}

/// A long wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Whose.
    pub row: RowId,
    /// An index into its [`Row::spans`].
    pub span: u32,
    /// What ended it: an index into [`History::wakes`]; `None` if it was not over.
    pub wake: Option<u32>,
}

/// One LWP that woke another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Who woke; `None` is time, or the outside.
    pub by: Option<RowId>,
    /// Who was woken.
    pub row: RowId,
    /// How often.
    pub count: u64,
    /// How long it took, all together, until the woken one ran.
    pub latency: Nanos,
}

impl Why {
    /// What people read.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Created => "created",
            Self::Unparked => "unparked",
            Self::Timeout => "time-out",
            Self::Cancelled => "cancelled",
            Self::Suspend => "to suspend",
            Self::Continued => "continued",
            Self::Signal(signo) => signo.name(),
        }
    }
}

impl History {
    /// Makes a history of a recording.
    pub fn new(recording: Recording) -> Self {
        let begin = recording.records.first().map_or(0, |first| first.at);
        let end = recording.records.last().map_or(0, |last| last.at);
        let mut builder = Builder {
            on: vec![None; recording.vcpus],
            names: recording.names,
            parked: recording.wmesgs.iter().position(|it| *it == PARKED),
            ..Builder::default()
        };
        for record in &recording.records {
            builder.take(record);
        }
        let (rows, wakes) = builder.finish(end);
        Self {
            begin,
            end,
            waits: longest_waits(&rows, &wakes),
            pairs: most_frequent(&wakes),
            rows,
            wakes,
            wmesgs: recording.wmesgs,
            counts: recording.counts,
            dropped: recording.dropped,
            vcpus: recording.vcpus,
        }
    }

    /// The word for what an LWP does in `state`.
    pub fn word(&self, state: State) -> String {
        match state {
            State::Running { cpu } => format!("running on vcpu {cpu}"),
            State::Runnable => "runnable".to_owned(),
            State::Parked => "parked".to_owned(),
            State::Sleeping { wmesg } => {
                let wmesg = self.wmesgs.get(usize::from(wmesg));
                format!("sleeping in {}", wmesg.unwrap_or(&"?"))
            }
            State::Suspended => "suspended".to_owned(),
            State::Stopped => "stopped".to_owned(),
        }
    }
}

/// An LWP that is alive.
struct Live {
    row: RowId,
    state: State,
    since: Nanos,
    /// The state it will be in when it leaves its vcpu.
    next: Option<State>,
    /// Why it will be runnable, if anybody said so.
    why: Option<Why>,
    /// The wake-up after which it has not run yet.
    wake: Option<usize>,
    /// The call it is in: number and beginning.
    call: Option<(u16, Nanos)>,
}

/// A history as it grows.
#[derive(Default)]
struct Builder {
    rows: Vec<Row>,
    wakes: Vec<Wake>,
    live: FxHashMap<i32, Live>,
    /// The lid on each vcpu.
    on: Vec<Option<i32>>,
    names: Vec<[u8; 16]>,
    /// The index of the wait message of `_lwp_park(2)`.
    parked: Option<usize>,
}

impl Builder {
    fn take(&mut self, record: &Record) {
        let Record { at, lid, by, what } = *record;
        match what {
            Kept::Create => self.create(record),
            Kept::SwitchIn { cpu } => self.switch_in(lid, cpu, at),
            Kept::SwitchOut { cpu, state } => self.switch_out(lid, cpu, at, state),
            Kept::Runnable => self.runnable(lid, by, at),
            _ => {
                if let Some(live) = self.live.get_mut(&lid)
                    && let Some(row) = self.rows.get_mut(live.row as usize)
                {
                    let names = &self.names;
                    let name = |name: u32| names.get(name as usize).map_or(&[][..], |it| &it[..]);
                    live.take(row, record, self.parked, name);
                }
            }
        }
    }

    fn create(&mut self, record: &Record) {
        let Record { at, lid, by, .. } = *record;
        self.end_of(lid, at);
        let row = RowId::try_from(self.rows.len()).unwrap_or(RowId::MAX);
        self.rows.push(Row {
            lid,
            made_by: self.live.get(&by).map(|live| live.row),
            ..Row::default()
        });
        let live = Live {
            row,
            state: State::Runnable,
            since: at,
            next: None,
            why: Some(Why::Created),
            wake: None,
            call: None,
        };
        self.live.insert(lid, live);
    }

    fn runnable(&mut self, lid: i32, by: i32, at: Nanos) {
        let by = self.live.get(&by).map(|live| live.row);
        let Some(live) = self.live.get_mut(&lid) else {
            return;
        };
        let is_running = matches!(live.state, State::Running { .. });
        if is_running {
            // It has not left its vcpu yet, and if it leaves, then to come back.
            if live.next.take().is_none() {
                return;
            }
        } else {
            live.become_in(&mut self.rows, State::Runnable, at);
        }
        live.wake = Some(self.wakes.len());
        self.wakes.push(Wake {
            at,
            by,
            row: live.row,
            why: live.why.take().unwrap_or(Why::Ready),
            ran: is_running.then_some(at),
        });
    }

    fn switch_in(&mut self, lid: i32, cpu: u16, at: Nanos) {
        self.leave(cpu, at, State::Runnable);
        let Some(live) = self.live.get_mut(&lid) else {
            return;
        };
        if let State::Running { cpu } = live.state
            && let Some(on) = self.on.get_mut(usize::from(cpu))
        {
            *on = None;
        }
        live.become_in(&mut self.rows, State::Running { cpu }, at);
        live.next = None;
        if let Some(wake) = live.wake.take().and_then(|wake| self.wakes.get_mut(wake)) {
            wake.ran = Some(at);
        }
        if let Some(on) = self.on.get_mut(usize::from(cpu)) {
            *on = Some(lid);
        }
    }

    fn switch_out(&mut self, lid: i32, cpu: u16, at: Nanos, state: LwpState) {
        // An LWP that another vcpu has reaped may leave only after its id was given away.
        if self.on.get(usize::from(cpu)) != Some(&Some(lid)) {
            return;
        }
        if matches!(state, LwpState::Zomb | LwpState::Idl) {
            if let Some(on) = self.on.get_mut(usize::from(cpu)) {
                *on = None;
            }
            return self.end_of(lid, at);
        }
        let plain = match state {
            LwpState::Suspended => State::Suspended,
            LwpState::Stop => State::Stopped,
            _ => State::Runnable,
        };
        self.leave(cpu, at, plain);
    }

    /// Whoever is on `cpu` leaves it, for the state it has announced, or else for `plain`.
    fn leave(&mut self, cpu: u16, at: Nanos, plain: State) {
        let on = self.on.get_mut(usize::from(cpu)).and_then(Option::take);
        if let Some(live) = on.and_then(|lid| self.live.get_mut(&lid)) {
            let next = live.next.take().unwrap_or(plain);
            live.become_in(&mut self.rows, next, at);
            if let Some(wake) = live.wake.and_then(|wake| self.wakes.get_mut(wake)) {
                wake.ran = None;
            }
        }
    }

    /// The LWP called `lid`, if there is one, is no more.
    fn end_of(&mut self, lid: i32, at: Nanos) {
        let Some(mut live) = self.live.remove(&lid) else {
            return;
        };
        live.become_in(&mut self.rows, State::Runnable, at);
        if let Some(row) = self.rows.get_mut(live.row as usize) {
            live.leave_call(row, at, None);
        }
        for on in &mut self.on {
            if *on == Some(lid) {
                *on = None;
            }
        }
    }

    fn finish(mut self, end: Nanos) -> (Vec<Row>, Vec<Wake>) {
        let lids: Vec<_> = self.live.keys().copied().collect();
        for lid in lids {
            self.end_of(lid, end);
        }
        (self.rows, self.wakes)
    }
}

impl Live {
    /// What happens to an LWP without its leaving or taking a vcpu.
    fn take<'n>(
        &mut self,
        row: &mut Row,
        record: &Record,
        parked: Option<usize>,
        name: impl Fn(u32) -> &'n [u8],
    ) {
        let at = record.at;
        match record.what {
            Kept::Sleep { wmesg } => {
                (self.why, self.wake) = (None, None);
                self.next = Some(if Some(usize::from(wmesg)) == parked {
                    State::Parked
                } else {
                    State::Sleeping { wmesg }
                });
            }
            Kept::Awake => self.next = None,
            Kept::Unpark { is_kept: false } => self.why = Some(Why::Unparked),
            Kept::Timeout => self.why = Some(Why::Timeout),
            Kept::Cancel => self.why = Some(Why::Cancelled),
            Kept::Suspend => self.why = Some(Why::Suspend),
            Kept::Continue => self.why = Some(Why::Continued),
            Kept::Signal(signo) => self.why = Some(Why::Signal(signo)),
            Kept::Suspended => self.next = Some(State::Suspended),
            Kept::Stopped if matches!(self.state, State::Running { .. }) => {
                self.next = Some(State::Stopped);
            }
            Kept::Stopped => self.become_in_row(row, State::Stopped, at),
            Kept::Name { name: index } => {
                row.name = String::from_utf8_lossy(until_nul(name(index))).into_owned();
            }
            Kept::Enter { number } => {
                self.leave_call(row, at, None);
                self.call = Some((number, at));
            }
            Kept::Leave { errno } => {
                self.leave_call(row, at, Some(errno.map_or(Ok(()), Err)));
            }
            _ => {}
        }
    }

    fn become_in(&mut self, rows: &mut [Row], state: State, at: Nanos) {
        if let Some(row) = rows.get_mut(self.row as usize) {
            self.become_in_row(row, state, at);
        }
    }

    /// Ends the present span and begins the next.
    fn become_in_row(&mut self, row: &mut Row, state: State, at: Nanos) {
        let (from, was) = (self.since, self.state);
        if at > from {
            match row.spans.last_mut() {
                Some(last) if last.state == was && !was.is_wait() => last.to = at,
                _ => row.spans.push(Span {
                    from,
                    to: at,
                    state: was,
                }),
            }
        }
        (self.since, self.state) = (at, state);
    }

    fn leave_call(&mut self, row: &mut Row, to: Nanos, result: Option<Result<(), Errno>>) {
        if let Some((number, from)) = self.call.take() {
            row.calls.push(Call {
                from,
                to,
                number,
                result,
            });
        }
    }
}

/// The longest waits, and what ended each.
fn longest_waits(rows: &[Row], wakes: &[Wake]) -> Vec<Wait> {
    let length = |(_, _, span): &(RowId, u32, Span)| Reverse(span.to - span.from);
    let mut waits: Vec<_> = (0..)
        .zip(rows)
        .flat_map(|(row, it)| {
            (0..)
                .zip(&it.spans)
                .map(move |(index, span)| (row, index, *span))
        })
        .filter(|(_, _, span)| span.state.is_wait())
        .collect();
    if waits.len() > LISTED {
        waits.select_nth_unstable_by_key(LISTED, length);
        waits.truncate(LISTED);
    }
    waits.sort_by_key(|wait| (length(wait), wait.2.from));
    let waits = waits.into_iter();
    waits
        .map(|(row, index, span)| {
            let first = wakes.partition_point(|wake| wake.at < span.to);
            let at_once = wakes.iter().skip(first).take_while(|it| it.at == span.to);
            let wake = at_once.zip(first..).find(|(wake, _)| wake.row == row);
            Wait {
                row,
                span: index,
                wake: wake.and_then(|(_, wake)| u32::try_from(wake).ok()),
            }
        })
        .collect()
}

/// Who woke whom most; making an LWP is no waking.
fn most_frequent(wakes: &[Wake]) -> Vec<Pair> {
    let mut counted: FxHashMap<(Option<RowId>, RowId), (u64, Nanos)> = FxHashMap::default();
    for wake in wakes.iter().filter(|wake| wake.why != Why::Created) {
        let (count, latency) = counted.entry((wake.by, wake.row)).or_default();
        *count += 1;
        *latency += wake.ran.map_or(0, |ran| ran - wake.at);
    }
    let pairs = counted.into_iter();
    let mut pairs: Vec<_> = pairs
        .map(|((by, row), (count, latency))| Pair {
            by,
            row,
            count,
            latency,
        })
        .collect();
    pairs.sort_by_key(|pair| (Reverse(pair.count), pair.by, pair.row));
    pairs.truncate(LISTED);
    pairs
}
