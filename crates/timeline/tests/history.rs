//! What holds for the history of any run, and of any heap of events that is none.
#![allow(
    clippy::unwrap_used,
    reason = "a test may say so by panicking, in its helpers too"
)]

use core::time::Duration;
use lwp_abi::errno::Errno;
use lwp_abi::lwp::{LwpId, LwpState};
use lwp_abi::nr;
use lwp_abi::signal::Signo;
use lwp_kernel::events::{Event, Listener, What};
use lwp_kernel::life::Start;
use lwp_kernel::run::Ret;
use lwp_sim::{Sim, User, seeds};
use lwp_timeline::history::{State, Why};
use lwp_timeline::perfetto::{self, HAS_NUMBERS, SLICE_BEGIN, SLICE_END, Trace};
use lwp_timeline::{History, Program, Recorder};
use proptest::prelude::*;
use prost::Message;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

const VCPUS: usize = 2;

fn event(at: u64, cpu: usize, by: i32, lid: i32, what: What) -> Event {
    Event {
        at: Duration::from_nanos(at),
        cpu,
        by: (by != 0).then(|| LwpId::new(by)),
        lid: LwpId::new(lid),
        what,
    }
}

fn history(events: &[Event]) -> History {
    let recorder = Recorder::new(VCPUS, 1 << 20);
    for each in events {
        recorder.event(each);
    }
    History::new(recorder.finish().unwrap())
}

fn start() -> What {
    What::Create {
        start: Start::Running,
    }
}

fn out(state: LwpState) -> What {
    What::SwitchOut { state }
}

fn enter(number: u16) -> What {
    What::Enter {
        number: number.into(),
        args: [0; 6],
        stack: 0,
        trapped: false,
    }
}

/// LWP 1 parks, LWP 2 unparks it and ends.
fn a_park() -> Vec<Event> {
    let parked = What::Sleep { wmesg: "parked" };
    let result = Ok(Ret::ZERO);
    let failed = Err(Errno::EALREADY.into());
    vec![
        event(10, 0, 0, 1, start()),
        event(10, 0, 0, 1, What::Runnable),
        event(20, 0, 1, 1, What::SwitchIn),
        event(25, 0, 1, 1, What::Name(*b"main\0\0\0\0\0\0\0\0\0\0\0\0")),
        event(30, 0, 1, 2, start()),
        event(30, 0, 1, 2, What::Runnable),
        event(40, 0, 1, 1, enter(nr::SYS_LWP_PARK60)),
        event(45, 0, 1, 1, parked),
        event(50, 0, 1, 1, out(LwpState::Sleep)),
        event(60, 1, 2, 2, What::SwitchIn),
        event(70, 1, 2, 1, What::Unpark { is_kept: false }),
        event(70, 1, 2, 1, What::Runnable),
        event(75, 0, 1, 1, What::SwitchIn),
        event(80, 0, 1, 1, What::Leave { result: failed }),
        event(85, 1, 2, 2, enter(nr::SYS_LWP_EXIT)),
        event(90, 1, 2, 2, What::Exit),
        event(91, 1, 2, 2, out(LwpState::Zomb)),
        event(99, 0, 1, 1, What::Leave { result }),
    ]
}

#[test]
fn a_park_is_told_with_its_waker_and_how_late_it_was() {
    let history = history(&a_park());
    let spans = |row: usize| -> Vec<_> {
        let spans = history.rows[row].spans.iter();
        spans.map(|it| (it.from, it.to, it.state)).collect()
    };
    let running = |cpu| State::Running { cpu };
    let main = [
        (10, 20, State::Runnable),
        (20, 50, running(0)),
        (50, 70, State::Parked),
        (70, 75, State::Runnable),
        (75, 99, running(0)),
    ];
    assert_eq!(spans(0), main);
    assert_eq!(spans(1), [(30, 60, State::Runnable), (60, 91, running(1))]);
    assert_eq!(
        (history.rows[0].name.as_str(), history.rows[1].made_by),
        ("main", Some(0))
    );
    let call = history.rows[0].calls[0];
    assert_eq!(
        (call.from, call.to, call.number),
        (40, 80, nr::SYS_LWP_PARK60)
    );
    assert_eq!(call.result, Some(Err(Errno::EALREADY)));
    assert_eq!(history.rows[1].calls[0].result, None, "it never came back");
    let wake = history.wakes[2];
    assert_eq!((wake.at, wake.by, wake.row), (70, Some(1), 0));
    assert_eq!((wake.why, wake.ran), (Why::Unparked, Some(75)));
    assert_eq!(history.waits.len(), 1);
    assert_eq!((history.waits[0].span, history.waits[0].wake), (2, Some(2)));
    assert_eq!(history.pairs.len(), 1, "to be made is not to be woken");
    let pair = history.pairs[0];
    assert_eq!(
        (pair.by, pair.row, pair.count, pair.latency),
        (Some(1), 0, 1, 5)
    );
}

#[test]
fn an_id_that_is_used_again_is_another_row() {
    let history = history(&[
        event(1, 0, 0, 7, start()),
        event(2, 0, 7, 7, What::SwitchIn),
        event(3, 1, 0, 7, What::Reap),
        event(4, 1, 0, 7, start()),
        // The first leaves its vcpu only now.
        event(5, 0, 7, 7, out(LwpState::Zomb)),
        event(6, 1, 7, 7, What::SwitchIn),
        event(8, 1, 7, 7, out(LwpState::Zomb)),
    ]);
    let lives: Vec<_> = history
        .rows
        .iter()
        .map(|it| (it.lid, it.spans[0].from))
        .collect();
    assert_eq!(lives, [(7, 1), (7, 4)]);
    assert_eq!(history.rows[1].spans.last().unwrap().to, 8);
}

#[test]
fn woken_before_it_left_its_vcpu_it_is_not_late() {
    let sleep = What::Sleep { wmesg: "select" };
    let history = history(&[
        event(1, 0, 0, 1, start()),
        event(2, 0, 1, 1, What::SwitchIn),
        event(3, 0, 1, 1, sleep),
        event(4, 1, 0, 1, What::Timeout),
        event(4, 1, 0, 1, What::Runnable),
        event(9, 0, 1, 1, What::Token),
    ]);
    let wake = history.wakes[0];
    assert_eq!((wake.why, wake.ran), (Why::Timeout, Some(4)));
    assert_eq!(history.rows[0].spans.len(), 2, "runnable, running");
}

/// The invariants of `history.rs`, and what follows from them.
fn check(history: &History) {
    let mut on: HashMap<u16, Vec<(u64, u64)>> = HashMap::new();
    for row in &history.rows {
        for pair in row.spans.windows(2) {
            assert_eq!(pair[0].to, pair[1].from, "a gap or an overlap: {row:?}");
        }
        for span in &row.spans {
            assert!(span.from < span.to, "{row:?}");
            assert!(history.begin <= span.from && span.to <= history.end);
            if let State::Running { cpu } = span.state {
                on.entry(cpu).or_default().push((span.from, span.to));
            }
        }
        for pair in row.calls.windows(2) {
            assert!(pair[0].to <= pair[1].from, "calls overlap: {row:?}");
        }
        if let (Some(first), Some(call)) = (row.spans.first(), row.calls.first()) {
            assert!(first.from <= call.from, "a call before birth: {row:?}");
        }
    }
    for (cpu, mut runs) in on {
        runs.sort_unstable();
        for pair in runs.windows(2) {
            assert!(
                pair[0].1 <= pair[1].0,
                "two at once on vcpu {cpu}: {pair:?}"
            );
        }
    }
    assert!(history.wakes.is_sorted_by_key(|wake| wake.at));
    for wake in &history.wakes {
        assert!(wake.ran.is_none_or(|ran| ran >= wake.at), "{wake:?}");
    }
    let length = |wait: &lwp_timeline::history::Wait| {
        let span = history.rows[wait.row as usize].spans[wait.span as usize];
        assert!(span.state.is_wait());
        span.to - span.from
    };
    let longest: Vec<_> = history.waits.iter().map(length).collect();
    assert!(longest.is_sorted_by(|one, other| one >= other));
}

/// What can be told of an LWP, in a row in which nothing of it makes sense.
fn anything() -> impl Strategy<Value = What> {
    use LwpState::{Run, Sleep, Stop, Suspended, Zomb};
    let states = prop::sample::select(vec![Run, Sleep, Stop, Suspended, Zomb]);
    let result = Ok(Ret::ZERO);
    prop_oneof![
        4 => Just(What::SwitchIn),
        4 => states.prop_map(out),
        3 => Just(What::Runnable),
        2 => prop::sample::select(vec!["parked", "select"]).prop_map(|wmesg| What::Sleep { wmesg }),
        1 => Just(start()),
        1 => prop::sample::select(vec![
            What::Exit, What::Reap, What::Awake, What::Token, What::Unpark { is_kept: false },
            What::Timeout, What::Cancel, What::Suspend, What::Suspended, What::Continue,
            What::Stopped, What::Signal { signo: Signo::SIGINT }, What::Name([b'x'; 16]),
            enter(3), What::Leave { result },
        ]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(1000)
    })]

    #[test]
    fn any_heap_of_events_makes_a_sound_history(
        heap in prop::collection::vec((0_u64..3, 0..VCPUS, 0..4, 1..4, anything()), 0..200),
    ) {
        let mut at = 5;
        let events: Vec<_> = heap
            .into_iter()
            .map(|(pause, cpu, by, lid, what)| {
                at += pause;
                event(at, cpu, by, lid, what)
            })
            .collect();
        let history = history(&events);
        check(&history);
        let _ = perfetto::write(&history, &Program::default());
        let _ = lwp_timeline::page::write(&history, &Program::default());
    }
}

/// A run on the sim machine: six LWPs that park and unpark each other, seen as `history.rs` does and also,
/// naively, by going through all events anew for each moment.
#[test]
fn a_real_run_s_history_says_where_each_lwp_was() {
    for seed in seeds(20) {
        let log = Arc::new(Log::default());
        let listener: Arc<dyn Listener> = Arc::<Log>::clone(&log);
        let ended = Sim::with_listener(seed, listener, program).run();
        assert!(
            matches!(ended, lwp_sim::Ended::Exit(_)),
            "seed {seed}: {ended:?}"
        );
        let events = log.0.lock().unwrap().clone();
        let history = history(&events);
        check(&history);
        let created = events
            .iter()
            .filter(|it| matches!(it.what, What::Create { .. }));
        assert_eq!(history.rows.len(), created.count());
        for moment in events.iter().map(|it| it.at) {
            let running = naively_running(&events, moment);
            let moment = u64::try_from(moment.as_nanos()).unwrap();
            let rows = history.rows.iter().filter(|row| {
                row.spans.iter().any(|span| {
                    let is_here = span.from <= moment && moment < span.to;
                    is_here && matches!(span.state, State::Running { .. })
                })
            });
            let rows: HashSet<_> = rows.map(|row| row.lid).collect();
            if moment < history.end {
                assert_eq!(rows, running, "seed {seed}, {moment} ns");
            }
        }
    }
}

/// Two rounds of LWPs that park, early or late, and are unparked.
async fn program(user: User) {
    for _ in 0..2 {
        let mut lids = Vec::new();
        for _ in 0..5 {
            let lid = user.spawn(|user| async move {
                let _ = user.park().await;
            });
            lids.push(lid.await.unwrap());
        }
        for &lid in &lids {
            user.unpark(lid).await.unwrap();
        }
        for lid in lids {
            user.wait(lid).await.unwrap();
        }
    }
    user.exit(0).await;
}

/// Whom a vcpu had taken up, and not left, right after `moment`.
fn naively_running(events: &[Event], moment: Duration) -> HashSet<i32> {
    let mut running = HashSet::new();
    for event in events.iter().filter(|event| event.at <= moment) {
        match event.what {
            What::SwitchIn => running.insert(event.lid.raw()),
            What::SwitchOut { .. } => running.remove(&event.lid.raw()),
            _ => false,
        };
    }
    running
}

#[derive(Default)]
struct Log(std::sync::Mutex<Vec<Event>>);

impl Listener for Log {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap().push(*event);
    }
}

#[test]
fn perfetto_reads_what_was_written() {
    let history = history(&a_park());
    let program = Program {
        words: "prog arg".to_owned(),
        pid: 42,
    };
    let trace = Trace::decode(&perfetto::write(&history, &program)[..]).unwrap();
    let tracks = trace
        .packet
        .iter()
        .filter_map(|it| it.track_descriptor.as_ref());
    let names: Vec<_> = tracks
        .clone()
        .map(|it| it.name.as_deref().unwrap_or(""))
        .collect();
    let wanted = [
        "",
        "vcpu 0",
        "vcpu 1",
        "lwp 1 main",
        "system calls",
        "lwp 2",
        "system calls",
    ];
    assert_eq!(names, wanted);
    let process = tracks.clone().find_map(|it| it.process.as_ref()).unwrap();
    assert_eq!(
        (process.pid, process.process_name.as_deref()),
        (Some(42), Some("prog arg"))
    );

    // Slices of a track begin and end in turns.
    let mut open: HashMap<u64, &str> = HashMap::new();
    let mut slices = Vec::new();
    let mut words = HashMap::new();
    for packet in &trace.packet {
        let new = packet.interned_data.iter().flat_map(|it| &it.event_names);
        words.extend(new.map(|it| (it.iid, it.name.as_deref().unwrap())));
        let Some(event) = &packet.track_event else {
            continue;
        };
        let track = event.track_uuid.unwrap();
        match event.r#type {
            Some(SLICE_BEGIN) => {
                assert_eq!(packet.sequence_flags, Some(HAS_NUMBERS));
                let name = words[&event.name_iid];
                assert_eq!(
                    open.insert(track, name),
                    None,
                    "slices of one track overlap"
                );
                slices.push((track, packet.timestamp.unwrap(), name, &event.flow_ids[..]));
            }
            Some(SLICE_END) => assert!(open.remove(&track).is_some()),
            other => panic!("{other:?}"),
        }
    }
    assert!(open.is_empty());
    let of = |track| -> Vec<_> {
        let of = slices.iter().filter(|it| it.0 == track);
        of.map(|it| (it.1, it.2)).collect()
    };
    let main = [
        (10, "runnable"),
        (20, "running on vcpu 0"),
        (50, "parked"),
        (70, "runnable"),
        (75, "running on vcpu 0"),
    ];
    assert_eq!(of(perfetto::lwp_track(0)), main);
    assert_eq!(
        of(perfetto::calls_track(0)),
        [(40, "___lwp_park60 EALREADY")]
    );
    assert_eq!(of(perfetto::vcpu_track(1)), [(60, "lwp 2")]);

    // From the slice in which LWP 2 ran, and unparked, to the one in which LWP 1 ran after that.
    let ends = |flow: u64| -> Vec<_> {
        let touched = slices.iter().filter(|it| it.3.contains(&flow));
        touched.map(|it| (it.0, it.1)).collect()
    };
    let (from, to) = ((perfetto::lwp_track(1), 60), (perfetto::lwp_track(0), 75));
    assert_eq!(ends(3), [to, from]);
}
