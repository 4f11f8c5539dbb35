//! A history in Perfetto's own format, for its viewer and its SQL.
//!
//! Each LWP has two tracks, since the slices of one must nest: where it was, and below it the system calls it
//! made. Each vcpu has one, with the LWPs it ran. A flow goes from the slice in which an LWP woke another to the
//! slice in which that one ran.
//!
//! The messages are those fields of Perfetto's that are used, under their numbers. Words are written once and
//! then called by numbers.
//!
//! Sources: Perfetto's `protos/perfetto/trace`: `trace.proto`, `trace_packet.proto`,
//! `interned_data/interned_data.proto`,
//! `track_event/track_event.proto`, `track_event/track_descriptor.proto`, `process_descriptor.proto`.

use crate::Program;
use crate::history::{History, RowId, Span, State, Wake};
use crate::recorder::Nanos;
use lwp_abi::nr;
use prost::Message;
use rustc_hash::FxHashMap;

/// `perfetto.protos.Trace`.
#[derive(Clone, PartialEq, Message)]
pub struct Trace {
    /// In any order; each has its time.
    #[prost(message, repeated, tag = "1")]
    pub packet: Vec<TracePacket>,
}

/// `perfetto.protos.TracePacket`.
#[derive(Clone, PartialEq, Message)]
pub struct TracePacket {
    /// Nanoseconds.
    #[prost(uint64, optional, tag = "8")]
    pub timestamp: Option<u64>,
    /// The writer: only one here.
    #[prost(uint32, optional, tag = "10")]
    pub trusted_packet_sequence_id: Option<u32>,
    /// Something happened.
    #[prost(message, optional, tag = "11")]
    pub track_event: Option<TrackEvent>,
    /// Words that are numbers from here on.
    #[prost(message, optional, tag = "12")]
    pub interned_data: Option<InternedData>,
    /// [`NUMBERS_BEGIN`] in the first packet, [`HAS_NUMBERS`] in those that have numbers for words.
    #[prost(uint32, optional, tag = "13")]
    pub sequence_flags: Option<u32>,
    /// A track is declared.
    #[prost(message, optional, tag = "60")]
    pub track_descriptor: Option<TrackDescriptor>,
}

/// `perfetto.protos.InternedData`.
#[derive(Clone, PartialEq, Message)]
pub struct InternedData {
    /// For [`TrackEvent::category_iids`].
    #[prost(message, repeated, tag = "1")]
    pub event_categories: Vec<Word>,
    /// For [`TrackEvent::name_iid`].
    #[prost(message, repeated, tag = "2")]
    pub event_names: Vec<Word>,
}

/// `perfetto.protos.EventName` and `EventCategory`, which are the same.
#[derive(Clone, PartialEq, Message)]
pub struct Word {
    /// Its number, not 0.
    #[prost(uint64, optional, tag = "1")]
    pub iid: Option<u64>,
    /// The word.
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
}

/// `perfetto.protos.TrackDescriptor`.
#[derive(Clone, PartialEq, Message)]
pub struct TrackDescriptor {
    /// What events call it.
    #[prost(uint64, optional, tag = "1")]
    pub uuid: Option<u64>,
    /// What people call it.
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
    /// It is a process's.
    #[prost(message, optional, tag = "3")]
    pub process: Option<ProcessDescriptor>,
    /// The track it belongs to.
    #[prost(uint64, optional, tag = "5")]
    pub parent_uuid: Option<u64>,
}

/// `perfetto.protos.ProcessDescriptor`.
#[derive(Clone, PartialEq, Message)]
pub struct ProcessDescriptor {
    /// Its id.
    #[prost(int32, optional, tag = "1")]
    pub pid: Option<i32>,
    /// Its name.
    #[prost(string, optional, tag = "6")]
    pub process_name: Option<String>,
}

/// `perfetto.protos.TrackEvent`.
#[derive(Clone, PartialEq, Message)]
pub struct TrackEvent {
    /// Kinds of slices, for filters.
    #[prost(uint64, repeated, tag = "3")]
    pub category_iids: Vec<u64>,
    /// [`SLICE_BEGIN`] or [`SLICE_END`].
    #[prost(int32, optional, tag = "9")]
    pub r#type: Option<i32>,
    /// What the slice is called.
    #[prost(uint64, optional, tag = "10")]
    pub name_iid: Option<u64>,
    /// Where.
    #[prost(uint64, optional, tag = "11")]
    pub track_uuid: Option<u64>,
    /// Flows that begin or end here.
    #[prost(fixed64, repeated, packed = "false", tag = "47")]
    pub flow_ids: Vec<u64>,
}

/// `SEQ_INCREMENTAL_STATE_CLEARED`.
pub const NUMBERS_BEGIN: u32 = 1;
/// `SEQ_NEEDS_INCREMENTAL_STATE`.
pub const HAS_NUMBERS: u32 = 2;
/// `TYPE_SLICE_BEGIN`.
pub const SLICE_BEGIN: i32 = 1;
/// `TYPE_SLICE_END`.
pub const SLICE_END: i32 = 2;

/// The track of the process.
const PROCESS: u64 = 1;
/// The first track of a vcpu.
const VCPUS: u64 = 1 << 20;
/// The first track of an LWP; the next is that of its calls.
const LWPS: u64 = 1 << 32;

/// The track of where an LWP is.
pub fn lwp_track(row: RowId) -> u64 {
    LWPS + 2 * u64::from(row)
}

/// The track of the calls an LWP makes.
pub fn calls_track(row: RowId) -> u64 {
    lwp_track(row) + 1
}

/// The track of a vcpu.
pub fn vcpu_track(cpu: u16) -> u64 {
    VCPUS + u64::from(cpu)
}

/// The file that shows `history`.
pub fn write(history: &History, program: &Program) -> Vec<u8> {
    let mut writer = Writer {
        history,
        bytes: Vec::new(),
        categories: FxHashMap::default(),
        names: FxHashMap::default(),
    };
    writer.tracks(program);
    writer.vcpus();
    let flows = flows(history);
    for (row, flows) in (0..).zip(&flows) {
        writer.lwp(row, flows);
    }
    writer.bytes
}

/// For each LWP, in the order of time: moments within its slices, and the flows that touch them.
fn flows(history: &History) -> Vec<Vec<(Nanos, u64)>> {
    let mut flows = vec![Vec::new(); history.rows.len()];
    for (flow, wake) in (1..).zip(&history.wakes) {
        // Without a waker, or a vcpu that took it up, there is nothing to connect.
        let Wake {
            at,
            by: Some(by),
            row,
            ran: Some(ran),
            ..
        } = *wake
        else {
            continue;
        };
        for (row, at) in [(by, at), (row, ran)] {
            if let Some(flows) = flows.get_mut(row as usize) {
                flows.push((at, flow));
            }
        }
    }
    for flows in &mut flows {
        flows.sort_unstable();
    }
    flows
}

struct Writer<'h> {
    history: &'h History,
    bytes: Vec<u8>,
    /// The numbers of the words so far.
    categories: FxHashMap<String, u64>,
    names: FxHashMap<String, u64>,
}

impl Writer<'_> {
    fn tracks(&mut self, program: &Program) {
        self.packet(TracePacket {
            sequence_flags: Some(NUMBERS_BEGIN),
            ..TracePacket::default()
        });
        let process = ProcessDescriptor {
            pid: Some(program.pid),
            process_name: Some(program.words.clone()),
        };
        self.track(TrackDescriptor {
            uuid: Some(PROCESS),
            process: Some(process),
            ..TrackDescriptor::default()
        });
        for cpu in (0..).take(self.history.vcpus) {
            self.child(vcpu_track(cpu), PROCESS, format!("vcpu {cpu}"));
        }
        for (row, it) in (0..).zip(&self.history.rows) {
            self.child(lwp_track(row), PROCESS, title(self.history, row));
            if !it.calls.is_empty() {
                self.child(calls_track(row), lwp_track(row), "system calls".to_owned());
            }
        }
    }

    fn child(&mut self, uuid: u64, parent: u64, name: String) {
        self.track(TrackDescriptor {
            uuid: Some(uuid),
            name: Some(name),
            parent_uuid: Some(parent),
            ..TrackDescriptor::default()
        });
    }

    /// What each vcpu ran.
    fn vcpus(&mut self) {
        let history = self.history;
        for (row, it) in (0..).zip(&history.rows) {
            let name = title(history, row);
            for Span { from, to, state } in &it.spans {
                if let State::Running { cpu } = state {
                    let track = vcpu_track(*cpu);
                    self.slice(track, (*from, *to), "vcpu", &name, Vec::new());
                }
            }
        }
    }

    /// Where an LWP was, and its calls. `flows` are in the order of time.
    fn lwp(&mut self, row: RowId, mut flows: &[(Nanos, u64)]) {
        let history = self.history;
        let Some(it) = history.rows.get(row as usize) else {
            return;
        };
        for Span { from, to, state } in &it.spans {
            let here = flows.partition_point(|(at, _)| at < to);
            let (touch, later) = flows.split_at(here);
            flows = later;
            let touch = touch.iter().map(|(_, flow)| *flow).collect();
            let name = history.word(*state);
            self.slice(lwp_track(row), (*from, *to), category(*state), &name, touch);
        }
        for call in &it.calls {
            let name = match call.result {
                Some(Err(errno)) => format!("{} {}", call_name(call.number), errno.name()),
                _ => call_name(call.number),
            };
            let time = (call.from, call.to);
            self.slice(calls_track(row), time, "call", &name, Vec::new());
        }
    }

    fn slice(
        &mut self,
        track: u64,
        (from, to): (Nanos, Nanos),
        category: &str,
        name: &str,
        flow_ids: Vec<u64>,
    ) {
        let (category, new_category) = number(&mut self.categories, category);
        let (name, new_name) = number(&mut self.names, name);
        let new = InternedData {
            event_categories: Vec::from_iter(new_category),
            event_names: Vec::from_iter(new_name),
        };
        let begin = TrackEvent {
            category_iids: vec![category],
            r#type: Some(SLICE_BEGIN),
            name_iid: Some(name),
            track_uuid: Some(track),
            flow_ids,
        };
        self.packet(TracePacket {
            timestamp: Some(from),
            track_event: Some(begin),
            interned_data: (new != InternedData::default()).then_some(new),
            sequence_flags: Some(HAS_NUMBERS),
            ..TracePacket::default()
        });
        let end = TrackEvent {
            r#type: Some(SLICE_END),
            track_uuid: Some(track),
            ..TrackEvent::default()
        };
        self.packet(TracePacket {
            timestamp: Some(to),
            track_event: Some(end),
            ..TracePacket::default()
        });
    }

    fn track(&mut self, descriptor: TrackDescriptor) {
        self.packet(TracePacket {
            track_descriptor: Some(descriptor),
            ..TracePacket::default()
        });
    }

    /// Appends a packet, as the one field of [`Trace`] is encoded.
    fn packet(&mut self, packet: TracePacket) {
        let packet = TracePacket {
            trusted_packet_sequence_id: Some(1),
            ..packet
        };
        prost::encoding::message::encode(1, &packet, &mut self.bytes);
    }
}

/// The number of a word, and the word itself if the number is new.
fn number(known: &mut FxHashMap<String, u64>, word: &str) -> (u64, Option<Word>) {
    if let Some(number) = known.get(word) {
        return (*number, None);
    }
    let number = known.len() as u64 + 1;
    known.insert(word.to_owned(), number);
    let new = Word {
        iid: Some(number),
        name: Some(word.to_owned()),
    };
    (number, Some(new))
}

/// `lwp 12 name`.
fn title(history: &History, row: RowId) -> String {
    let Some(row) = history.rows.get(row as usize) else {
        return String::new();
    };
    format!("lwp {} {}", row.lid, row.name)
        .trim_end()
        .to_owned()
}

fn category(state: State) -> &'static str {
    match state {
        State::Running { .. } => "running",
        State::Runnable => "runnable",
        State::Parked => "parked",
        State::Sleeping { .. } => "sleeping",
        State::Suspended => "suspended",
        State::Stopped => "stopped",
    }
}

/// A call's name, or its number.
pub(crate) fn call_name(number: u16) -> String {
    nr::name(number).map_or_else(|| format!("syscall {number}"), ToOwned::to_owned)
}
