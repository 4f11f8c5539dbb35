//! `lwp run --chaos SEED`, and `lwp replay FILE`: schedules from a seed, or from a file.

use crate::args::{self, Called, Program, Replay, Variable, Wanted};
use crate::fail::Failure;
use crate::hunt::Reporter;
use crate::run;
use crate::snapshot::Snapshot;
use crate::waits;
use core::convert::Infallible;
use lwp_chaos::schedule::Schedule;
use lwp_chaos::strategy::{Perturb, Plan};
use lwp_chaos::{Chaos, ChaosMachine, Director, EventHash, OnHang, Seed, Source, Time};
use lwp_kernel::Kernel;
use lwp_kernel::events::{Event, Listener, What};
use lwp_kernel::machine::ExitWith;
use lwp_machine::HostMachine;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{self, PathBuf};
use std::sync::{Arc, OnceLock, Weak};

/// The exit status of a program that was ended because it hangs; timeout(1) has the same.
pub(crate) const STATUS_OF_HANG: i32 = 124;

/// Who decides in a run, and how.
#[derive(Clone, Debug)]
pub(crate) struct Direction {
    pub(crate) seed: Seed,
    pub(crate) plan: Plan,
    pub(crate) perturb: Option<Perturb>,
    pub(crate) time: Time,
    pub(crate) source: Source,
    /// Where to write what was decided.
    pub(crate) record: Option<PathBuf>,
    /// What a replay is expected to come to.
    pub(crate) expects: Option<Expected>,
    /// Where a hunted process reports to.
    pub(crate) hunted: Option<Arc<File>>,
}

/// What happened when a schedule was recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    hash: Option<u64>,
    /// It hung, after so many points at the latest.
    hang: Option<u64>,
}

impl args::Chaos {
    /// What the options say, if there is a seed among them.
    pub(crate) fn direction(&self) -> Option<Direction> {
        let seed = Seed(self.seed?);
        // The program may go to another directory before it ends.
        let absolute = |file: &PathBuf| path::absolute(file).unwrap_or_else(|_| file.clone());
        Some(Direction {
            seed,
            plan: self.how.policy.unwrap_or_default(),
            perturb: self.how.perturb,
            time: if self.virtual_time {
                Time::Virtual
            } else {
                Time::Real
            },
            source: Source::Seed,
            record: self.record.as_ref().map(absolute),
            expects: None,
            hunted: None,
        })
    }
}

impl Direction {
    /// The words before the program's, for the program that this one executes, if they are not those that were typed: the
    /// same seed, and no file.
    pub(crate) fn words_again(&self) -> Option<Vec<Vec<u8>>> {
        if self.record.is_none() && self.source == Source::Seed && self.hunted.is_none() {
            return None;
        }
        let mut again: Vec<_> = ["lwp", "run", "--chaos"].map(str::to_owned).to_vec();
        again.extend([
            self.seed.0.to_string(),
            "--policy".to_owned(),
            self.plan.to_string(),
        ]);
        if let Some(perturb) = self.perturb {
            again.extend(["--perturb".to_owned(), perturb.to_string()]);
        }
        if self.time == Time::Virtual {
            again.push("--virtual-time".to_owned());
        }
        Some(again.into_iter().map(String::into_bytes).collect())
    }

    /// What is known of a run of `program` before it has begun.
    pub(crate) fn schedule(&self, program: &Called) -> Schedule {
        Schedule {
            seed: self.seed,
            plan: self.plan,
            perturb: self.perturb,
            time: self.time,
            hash: None,
            hang: None,
            env: program
                .env
                .iter()
                .map(|variable| variable.whole().to_vec())
                .collect(),
            program: program
                .words
                .iter()
                .map(|word| word.as_bytes().to_vec())
                .collect(),
            decisions: Vec::new(),
        }
    }
}

/// The parts of a run that is directed.
pub(crate) struct Directed {
    pub(crate) machine: Arc<ChaosMachine<HostMachine>>,
    direction: Direction,
    pub(crate) chaos: Arc<Chaos>,
    hash: Arc<EventHash>,
    pub(crate) reporter: Option<Arc<Reporter>>,
    stop: Arc<Stop>,
}

/// Ends a replay that hangs as it did when it was recorded.
#[derive(Default)]
struct Stop(OnceLock<Weak<Kernel>>);

impl Stop {
    fn at_hang(&self) {
        let Some(kernel) = self.0.get().and_then(Weak::upgrade) else {
            return;
        };
        let report = waits::report(&Snapshot::take(&kernel, b""));
        let lines = report.lines().skip(1).map(|line| format!("lwp: {line}\n"));
        let text = format!("lwp: the program hangs\n{}", lines.collect::<String>());
        // Nobody is left to be told of a failure.
        let _ = std::io::stderr().write_all(text.as_bytes());
        kernel.give_up(ExitWith::Code(STATUS_OF_HANG));
    }
}

impl Directed {
    /// As `direction` has it, on `machine`, whose vcpu 0 this thread is.
    pub(crate) fn new(direction: &Direction, machine: &Arc<HostMachine>) -> Self {
        let Direction {
            seed,
            plan,
            perturb,
            time,
            ref source,
            ..
        } = *direction;
        let chaos = Chaos::new(seed, plan, perturb, source.clone());
        let hash = Arc::new(EventHash::new(time));
        let reporter = direction.hunted.as_ref().map(|file| {
            let file = Arc::clone(file);
            Arc::new(Reporter::new(file, &chaos, &hash))
        });
        let stop = Arc::new(Stop::default());
        let hang: Option<OnHang> = match (&reporter, direction.expects) {
            (Some(reporter), _) => {
                let reporter = Arc::clone(reporter);
                Some(Box::new(move |hang| reporter.hang(hang)))
            }
            (None, Some(_)) => {
                let stop = Arc::clone(&stop);
                Some(Box::new(move |_| stop.at_hang()))
            }
            (None, None) => None,
        };
        let machine = ChaosMachine::new(Arc::clone(machine), Arc::clone(&chaos), time, hang);
        Self {
            machine: Arc::new(machine),
            direction: direction.clone(),
            chaos,
            hash,
            reporter,
            stop,
        }
    }

    /// Whose LWPs it directs.
    pub(crate) fn set_kernel(&self, kernel: &Arc<Kernel>) {
        let _once = self.stop.0.set(Arc::downgrade(kernel));
        if let Some(reporter) = &self.reporter {
            reporter.set_kernel(kernel);
        }
    }

    pub(crate) fn policy(&self) -> Director {
        Director(Arc::clone(&self.chaos))
    }

    /// Who is to listen: one that makes the hash, and one that looks at it in the end, if anybody is to be told.
    pub(crate) fn listeners(&self, is_heard: bool, program: &Called) -> Vec<Arc<dyn Listener>> {
        let hash = Arc::<EventHash>::clone(&self.hash);
        let mut listeners: Vec<Arc<dyn Listener>> = vec![hash];
        if let Some(reporter) = &self.reporter {
            listeners.push(Arc::<Reporter>::clone(reporter));
        }
        if is_heard && (self.direction.record.is_some() || self.direction.expects.is_some()) {
            listeners.push(Arc::new(Last {
                chaos: Arc::clone(&self.chaos),
                hash: Arc::clone(&self.hash),
                schedule: self.direction.schedule(program),
                direction: self.direction.clone(),
                stop: Arc::clone(&self.stop),
            }));
        }
        listeners
    }

    /// What `--stats` says of it.
    pub(crate) fn report(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("event hash:", format!("{:016x}", self.hash.hash())),
            ("events", self.hash.events().to_string()),
            (
                "decisions",
                format!(
                    "{} at {} points",
                    self.chaos.decisions().len(),
                    self.chaos.points()
                ),
            ),
        ];
        if self.chaos.stretches() > 0 {
            let stretches = self.chaos.stretches();
            let text = format!(
                "{stretches} preemptions of LWPs that made no system call for long; they may come elsewhere next time"
            );
            lines.push(("by the clock", text));
        }
        lines
    }
}

/// Writes the record, and compares the hash, when the program ends or executes another.
struct Last {
    chaos: Arc<Chaos>,
    hash: Arc<EventHash>,
    schedule: Schedule,
    direction: Direction,
    stop: Arc<Stop>,
}

impl Last {
    fn finish(&self) {
        let hash = self.hash.hash();
        if let Some(file) = &self.direction.record {
            let schedule = Schedule {
                hash: Some(hash),
                decisions: self.chaos.decisions(),
                ..self.schedule.clone()
            };
            if let Err(why) = fs::write(file, schedule.to_string()) {
                // Nobody is left to be told of a failure of this.
                let _ = writeln!(std::io::stderr(), "lwp: {}: {why}", file.display());
            }
        }
        let expected = self.direction.expects.and_then(|expects| expects.hash);
        if expected.is_some_and(|expected| expected != hash) {
            let _ = writeln!(
                std::io::stderr(),
                "lwp: the program did not do what it did when this was recorded"
            );
        }
    }
}

impl Listener for Last {
    fn event(&self, event: &Event) {
        let hang = self.direction.expects.and_then(|expects| expects.hang);
        match event.what {
            What::End { .. } | What::Exec { .. } => self.finish(),
            What::Enter { .. } if hang.is_some_and(|hang| self.chaos.points() > hang) => {
                self.stop.at_hang();
            }
            _ => {}
        }
    }
}

/// `lwp replay`.
///
/// # Errors
/// Why the program was not run.
pub(crate) fn replay(options: Replay) -> Result<Infallible, Failure> {
    let name = || options.file.clone().into_os_string();
    let text = fs::read(&options.file).map_err(|why| Failure::Denied(name(), why))?;
    let text = String::from_utf8_lossy(&text);
    let schedule: Schedule = text.parse().map_err(|why| Failure::Schedule(name(), why))?;
    let words: Vec<_> = schedule
        .program
        .into_iter()
        .map(OsString::from_vec)
        .collect();
    if words.is_empty() {
        return Err(Failure::Usage(format!(
            "{} names no program",
            options.file.display()
        )));
    }
    let env = schedule.env.into_iter().map(OsString::from_vec);
    let wanted = Wanted {
        program: Program {
            called: Called {
                words,
                env: env.filter_map(Variable::new).collect(),
            },
            quiet: options.quiet,
            ..Program::default()
        },
        watch: options.watch,
        tracing: None,
        direction: Some(Direction {
            seed: schedule.seed,
            plan: schedule.plan,
            perturb: schedule.perturb,
            time: schedule.time,
            source: Source::List(schedule.decisions),
            record: None,
            expects: Some(Expected {
                hash: schedule.hash,
                hang: schedule.hang,
            }),
            hunted: None,
        }),
    };
    run::run(&wanted, &[])
}
