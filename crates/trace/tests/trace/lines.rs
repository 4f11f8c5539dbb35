//! Lines, as events become them.

use crate::memory::Piece;
use core::time::Duration;
use lwp_abi::errno::Errno;
use lwp_abi::lwp::{LwpId, LwpState};
use lwp_abi::nr;
use lwp_abi::signal::Signo;
use lwp_kernel::events::{Event, Listener, What};
use lwp_kernel::life::Start;
use lwp_kernel::machine::ExitWith;
use lwp_kernel::{Ended, Ret};
use lwp_trace::filter::Filter;
use lwp_trace::lines::Sink;
use lwp_trace::tracer::{Form, Options, Tracer};
use std::sync::{Arc, Mutex};

const FIRST: i32 = 7;
const SECOND: i32 = 8;

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<String>>);

impl Sink for Paper {
    fn write(&self, bytes: &[u8]) {
        self.0
            .lock()
            .unwrap()
            .push_str(str::from_utf8(bytes).unwrap());
    }
    fn is_ready(&self) -> bool {
        true
    }
    fn hand_on(&self) {
        self.write(b"(handed on)\n");
    }
}

/// A tracer, and what it has written. Every event comes a microsecond after the one before.
struct Desk {
    paper: Paper,
    tracer: Tracer,
    now: Duration,
}

impl Desk {
    fn new(options: Options) -> Self {
        let paper = Paper::default();
        let sink = Box::new(paper.clone());
        Self {
            tracer: Tracer::new(Arc::new(Piece::default()), sink, FIRST, options),
            paper,
            now: Duration::ZERO,
        }
    }

    fn tell(&mut self, lid: i32, what: What) {
        self.now += Duration::from_micros(1);
        let lid = LwpId::new(lid);
        self.tracer.event(&Event {
            at: self.now,
            cpu: 0,
            by: Some(LwpId::new(FIRST)),
            lid,
            what,
        });
    }

    fn enter(&mut self, lid: i32, number: u16, first: u64) {
        let args = [first, 0, 0, 0, 0, 0];
        let number = number.into();
        self.tell(
            lid,
            What::Enter {
                number,
                args,
                stack: 0,
                trapped: true,
            },
        );
    }

    fn leave(&mut self, lid: i32, value: u64) {
        self.tell(
            lid,
            What::Leave {
                result: Ok(Ret(value, 0)),
            },
        );
    }

    fn sleep(&mut self, lid: i32) {
        let state = LwpState::Sleep;
        self.tell(lid, What::SwitchOut { state });
    }

    fn text(&self) -> String {
        core::mem::take(&mut self.paper.0.lock().unwrap())
    }
}

fn text() -> Options {
    Options {
        filter: Filter::default(),
        form: Form::Text,
        summary: false,
        strings: 32,
        is_child: false,
    }
}

#[test]
fn a_call_has_one_line() {
    let mut desk = Desk::new(text());
    desk.enter(FIRST, nr::SYS_CLOSE, 3);
    assert_eq!(desk.text(), "");
    desk.leave(FIRST, 0);
    assert_eq!(desk.text(), "[7] close(3) = 0 <1.0 us>\n");
    desk.enter(FIRST, nr::SYS_CLOSE, 3);
    let result = Err(Ended::Failed(Errno::EBADF));
    desk.tell(FIRST, What::Leave { result });
    assert_eq!(
        desk.text(),
        "[7] close(3) = -1 EBADF (Bad file descriptor) <1.0 us>\n"
    );
}

#[test]
fn a_sleep_shows_what_is_known_and_goes_on_in_the_same_line() {
    let mut desk = Desk::new(text());
    desk.enter(FIRST, nr::SYS_READ, 3);
    desk.sleep(FIRST);
    assert_eq!(desk.text(), "[7] read(3,");
    desk.leave(FIRST, 0);
    assert_eq!(desk.text(), " NULL, 0) = 0 <2.0 us>\n");
}

#[test]
fn a_sleep_that_others_talk_into_is_resumed() {
    let mut desk = Desk::new(text());
    desk.tell(SECOND, What::Name(*b"worker\0\0\0\0\0\0\0\0\0\0"));
    desk.enter(FIRST, nr::SYS_READ, 3);
    desk.sleep(FIRST);
    desk.enter(SECOND, nr::SYS_SCHED_YIELD, 0);
    desk.leave(SECOND, 0);
    desk.leave(FIRST, 0);
    assert_eq!(
        desk.text(),
        "[7] read(3, <unfinished ...>\n\
         [8 worker] sched_yield() = 0 <1.0 us>\n\
         [7] <... read resumed> NULL, 0) = 0 <4.0 us>\n"
    );
}

#[test]
fn lines_name_the_process_when_there_are_several() {
    let mut desk = Desk::new(text());
    desk.enter(FIRST, nr::SYS_READ, 3);
    desk.sleep(FIRST);
    desk.enter(SECOND, nr::SYS_FORK, 0);
    desk.leave(SECOND, 9);
    desk.enter(SECOND, nr::SYS_READ, 4);
    desk.sleep(SECOND);
    assert_eq!(
        desk.text(),
        "[7] read(3, <unfinished ...>\n\
         [7:8] fork() = 9 <1.0 us>\n\
         [7:8] read(4, <unfinished ...>\n"
    );
    // The same tracer, as the child has it.
    desk.tell(9, What::Forked);
    desk.leave(9, 0);
    desk.enter(9, nr::SYS_EXIT, 1);
    desk.tell(
        9,
        What::End {
            with: ExitWith::Code(1),
        },
    );
    assert_eq!(
        desk.text(),
        "[9:9] exit(1) = ?\n[9:9] +++ exited with 1 +++\n"
    );
}

#[test]
fn lwps_signals_and_faults_have_lines() {
    let mut desk = Desk::new(text());
    desk.tell(
        SECOND,
        What::Create {
            start: Start::Running,
        },
    );
    desk.tell(
        SECOND,
        What::Take {
            signo: Signo::SIGUSR1,
        },
    );
    desk.tell(
        SECOND,
        What::Fault {
            trapno: 14,
            addr: 0x10,
        },
    );
    desk.tell(SECOND, What::Exit);
    desk.tell(
        FIRST,
        What::End {
            with: ExitWith::Signal(Signo::SIGSEGV),
        },
    );
    assert_eq!(
        desk.text(),
        "[8] +++ created by 7 +++\n\
         [8] --- SIGUSR1 ---\n\
         [8] --- fault: trap 14 at 0x10 ---\n\
         [8] +++ LWP exited +++\n\
         [7] +++ killed by SIGSEGV +++\n"
    );
}

#[test]
fn an_execve_is_shown_before_the_next_image_takes_over() {
    let mut desk = Desk::new(text());
    desk.enter(FIRST, nr::SYS_EXECVE, 0);
    desk.tell(FIRST, What::Exec { is_ours: true });
    assert_eq!(
        desk.text(),
        "[7] execve(NULL, NULL, NULL) = ?\n(handed on)\n"
    );
    desk.enter(FIRST, nr::SYS_EXECVE, 0);
    desk.tell(FIRST, What::Exec { is_ours: false });
    assert_eq!(desk.text(), "[7] execve(NULL, NULL, NULL) = ?\n");
}

#[test]
fn a_call_that_ends_with_its_lwp_has_its_line() {
    let mut desk = Desk::new(text());
    // Another LWP's exit came first.
    desk.enter(SECOND, nr::SYS_EXECVE, 0);
    desk.tell(SECOND, What::Exit);
    assert_eq!(
        desk.text(),
        "[8] execve(NULL, NULL, NULL) = ?\n[8] +++ LWP exited +++\n"
    );
}

#[test]
fn only_what_is_wanted_is_shown() {
    let mut desk = Desk::new(Options {
        filter: "desc,!close".parse().unwrap(),
        ..text()
    });
    for number in [nr::SYS_CLOSE, nr::SYS_DUP, nr::SYS_GETPID] {
        desk.enter(FIRST, number, 3);
        desk.sleep(FIRST);
        desk.leave(FIRST, 4);
    }
    desk.tell(
        SECOND,
        What::Create {
            start: Start::Running,
        },
    );
    assert_eq!(desk.text(), "[7] dup(3) = 4 <2.0 us>\n");
}

#[test]
fn programs_get_an_object_for_each_call() {
    let mut desk = Desk::new(Options {
        form: Form::Json,
        ..text()
    });
    desk.enter(FIRST, nr::SYS_CLOSE, 3);
    desk.sleep(FIRST);
    desk.leave(FIRST, 0);
    desk.enter(FIRST, nr::SYS_EXIT, 2);
    desk.tell(
        FIRST,
        What::End {
            with: ExitWith::Code(2),
        },
    );
    let text = desk.text();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["call"], "close");
    assert_eq!(lines[0]["args"]["fd"], 3);
    assert_eq!(lines[0]["result"], 0);
    assert_eq!(
        (&lines[0]["start"], &lines[0]["duration"]),
        (&1000.into(), &2000.into())
    );
    assert_eq!(
        (&lines[0]["lid"], &lines[0]["trapped"]),
        (&FIRST.into(), &true.into())
    );
    assert_eq!(
        (&lines[1]["call"], &lines[1]["result"]),
        (&"exit".into(), &serde_json::Value::Null)
    );
    assert_eq!(
        (&lines[2]["event"], &lines[2]["value"]),
        (&"end".into(), &"2".into())
    );
}

#[test]
fn a_summary_counts_each_call_once_and_says_so_at_the_end() {
    let mut desk = Desk::new(Options {
        summary: true,
        form: Form::Json,
        ..text()
    });
    for fd in 0..3 {
        desk.enter(FIRST, nr::SYS_CLOSE, fd);
        desk.sleep(FIRST);
        desk.leave(FIRST, 0);
    }
    desk.enter(FIRST, nr::SYS_EXIT, 0);
    assert_eq!(desk.text(), "");
    desk.tell(
        FIRST,
        What::End {
            with: ExitWith::Code(0),
        },
    );
    let table: serde_json::Value = serde_json::from_str(&desk.text()).unwrap();
    assert_eq!(table["pid"], FIRST);
    assert_eq!(
        (&table["calls"][0]["call"], &table["calls"][0]["count"]),
        (&"close".into(), &3.into())
    );
    assert_eq!(table["calls"][0]["total_ns"], 6000);
    assert_eq!(
        (&table["calls"][1]["call"], &table["calls"][1]["count"]),
        (&"exit".into(), &1.into())
    );
}
