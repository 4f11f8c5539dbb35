//! Makes the timeline of a run that never was: 10,000 LWPs, 1,000,000 events, four vcpus. Writes it to the file
//! named by the argument, and its counts, a name and a number a line, to standard output.
//!
//! The events go the way of real ones: through the recorder, the history and the writer.

use core::time::Duration;
use lwp_abi::lwp::{LwpId, LwpState};
use lwp_abi::nr;
use lwp_kernel::events::{Event, Listener, What};
use lwp_kernel::life::Start;
use lwp_kernel::run::Ret;
use lwp_timeline::history::State;
use lwp_timeline::{History, Program, Recorder, page};
use std::collections::VecDeque;
use std::process::ExitCode;

const LWPS: i32 = 10_000;
const EVENTS: u64 = 1_000_000;
const VCPUS: usize = 4;

/// A run, played by one generator of random numbers.
struct Run {
    recorder: Recorder,
    now: u64,
    told: u64,
    random: u64,
    /// Who is on each vcpu.
    on: [Option<i32>; VCPUS],
    runnable: VecDeque<i32>,
    parked: VecDeque<i32>,
}

impl Run {
    /// A number below `limit`. (xorshift64)
    fn random(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % limit
    }

    /// `what` happens on `cpu` to `lid`, done by whoever is there.
    fn tell(&mut self, cpu: usize, lid: i32, what: What) {
        self.now += 20 + self.random(200);
        if self.told == EVENTS {
            return;
        }
        self.told += 1;
        self.recorder.event(&Event {
            at: Duration::from_nanos(self.now),
            cpu,
            by: self.on[cpu].map(LwpId::new),
            lid: LwpId::new(lid),
            what,
        });
    }

    fn create(&mut self, lid: i32) {
        let start = Start::Running;
        self.tell(0, lid, What::Create { start });
        let mut name = [0; 16];
        let text = format!("worker-{lid}");
        name[..text.len()].copy_from_slice(text.as_bytes());
        self.tell(0, lid, What::Name(name));
        self.tell(0, lid, What::Runnable);
        self.runnable.push_back(lid);
    }

    /// One thing more on `cpu`.
    fn step(&mut self, cpu: usize) {
        let Some(lid) = self.on[cpu] else {
            if let Some(next) = self.runnable.pop_front() {
                self.on[cpu] = Some(next);
                self.tell(cpu, next, What::SwitchIn);
                let result = Ok(Ret::ZERO);
                self.tell(cpu, next, What::Leave { result });
            }
            return;
        };
        match self.random(4) {
            0 | 1 => self.unpark(cpu),
            2 => {
                self.enter(cpu, lid, nr::SYS_LWP_PARK60);
                self.tell(cpu, lid, What::Sleep { wmesg: "parked" });
                self.leave(cpu, lid, LwpState::Sleep);
                self.parked.push_back(lid);
            }
            _ => {
                self.leave(cpu, lid, LwpState::Run);
                self.runnable.push_back(lid);
            }
        }
        // A long think, at times.
        let thought = self.random(1 << 16);
        self.now += if thought < 64 { thought << 10 } else { 0 };
    }

    fn enter(&mut self, cpu: usize, lid: i32, number: u16) {
        let number = number.into();
        let (args, trapped) = ([0; 6], false);
        let what = What::Enter {
            number,
            args,
            stack: 0,
            trapped,
        };
        self.tell(cpu, lid, what);
    }

    fn leave(&mut self, cpu: usize, lid: i32, state: LwpState) {
        self.tell(cpu, lid, What::SwitchOut { state });
        self.on[cpu] = None;
    }

    fn unpark(&mut self, cpu: usize) {
        let Some(other) = self.parked.pop_front() else {
            return;
        };
        let me = self.on[cpu].unwrap_or(other);
        self.enter(cpu, me, nr::SYS_LWP_UNPARK);
        self.tell(cpu, other, What::Unpark { is_kept: false });
        self.tell(cpu, other, What::Runnable);
        let result = Ok(Ret::ZERO);
        self.tell(cpu, me, What::Leave { result });
        self.runnable.push_back(other);
    }
}

fn main() -> ExitCode {
    let Some(file) = std::env::args_os().nth(1) else {
        eprintln!("usage: big FILE");
        return ExitCode::FAILURE;
    };
    let mut run = Run {
        recorder: Recorder::new(VCPUS, 4_000_000),
        now: 0,
        told: 0,
        random: 88_172_645_463_325_252,
        on: [None; VCPUS],
        runnable: VecDeque::new(),
        parked: VecDeque::new(),
    };
    for lid in 1..=LWPS {
        run.create(lid);
    }
    while run.told < EVENTS {
        for cpu in 0..VCPUS {
            run.step(cpu);
        }
    }
    let history = History::new(run.recorder.finish().unwrap_or_default());
    let program = Program {
        words: "big".to_owned(),
        pid: 1,
    };
    if let Err(why) = std::fs::write(&file, page::write(&history, &program)) {
        eprintln!("{}: {why}", file.display());
        return ExitCode::FAILURE;
    }
    let spans = history.rows.iter().flat_map(|row| &row.spans);
    let runs = spans.filter(|span| matches!(span.state, State::Running { .. }));
    println!("runs {}", runs.count());
    for (name, count) in history.counts.by_name() {
        println!("{name} {count}");
    }
    ExitCode::SUCCESS
}
