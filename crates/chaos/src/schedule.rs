//! Decisions, and the files in which they are kept.
//!
//! A file is text, a line for each thing:
//! ```text
//! lwp-schedule 1
//! seed 17
//! policy pct:3
//! perturb park,wake
//! time virtual
//! hash 9f0c6a7d3a0be171
//! hang 4711
//! env GOMAXPROCS=4
//! program ./server
//! program -v
//! decide 0 call 12 to 3
//! decide 2 user 5 steps 17 hits 0 to 1
//! decide 2 park 3 by 1
//! ```
//! LWPs are numbered by birth, from 0, and so are the times each has come to a kind of point. The bytes of the
//! program's words, and of the variables set for it, are escaped as in Rust's strings.

use crate::draw::Seed;
use crate::machine::Time;
use crate::strategy::{Perturb, Plan};
use core::fmt;
use core::str::FromStr;

/// A kind of point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// The LWP has made a system call, and nothing of it has been done.
    Call,
    /// It is about to go to user mode.
    Return,
    /// It is in user mode, where it came by its n-th visit.
    User,
    /// It has left the vcpu.
    Pick,
    /// It parks, and would sleep.
    Park,
    /// It wakes several LWPs together.
    Wake,
    /// It reads or writes several bytes.
    Transfer,
    /// A signal with a handler was posted to it.
    Signal,
    /// It was made.
    Start,
}

impl Point {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Call,
        Self::Return,
        Self::User,
        Self::Pick,
        Self::Park,
        Self::Wake,
        Self::Transfer,
        Self::Signal,
        Self::Start,
    ];

    /// How it is called in a file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Return => "return",
            Self::User => "user",
            Self::Pick => "pick",
            Self::Park => "park",
            Self::Wake => "wake",
            Self::Transfer => "transfer",
            Self::Signal => "signal",
            Self::Start => "start",
        }
    }

    /// What is chosen at such a point.
    fn kind(self) -> Kind {
        match self {
            Self::Call | Self::Return | Self::Pick => Kind::To,
            Self::User => Kind::Walk,
            _ => Kind::By,
        }
    }
}

enum Kind {
    To,
    Walk,
    By,
}

/// Where a decision is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Anchor {
    /// The LWP, by order of birth, from 0.
    pub birth: u64,
    /// What it has come to.
    pub point: Point,
    /// How often it had come to such a point before.
    pub nth: u32,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Choice {
    /// This LWP runs next.
    To(u64),
    /// `steps` instructions later (none of them a system call) this LWP runs next; with `hits` not 0, only when
    /// that place in the program has been come to so many times more, by whichever LWP.
    Walk {
        /// Instructions.
        steps: u32,
        /// Visits of the place.
        hits: u32,
        /// Who runs next.
        to: u64,
    },
    /// A number, whose meaning is the point's: 1 for a park that returns at once; which of those woken comes
    /// first; bytes not transferred; 1 for a signal that is not taken yet; points for which an LWP does not begin.
    By(u32),
}

/// Something that was not as usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// Where.
    pub anchor: Anchor,
    /// What.
    pub choice: Choice,
}

impl Decision {
    /// It takes the vcpu from an LWP that could have gone on.
    pub fn is_preemption(&self) -> bool {
        matches!(self.anchor.point, Point::Call | Point::Return | Point::User)
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Anchor { birth, point, nth } = self.anchor;
        write!(f, "{birth} {} {nth} ", point.name())?;
        match self.choice {
            Choice::To(to) => write!(f, "to {to}"),
            Choice::Walk { steps, hits, to } => write!(f, "steps {steps} hits {hits} to {to}"),
            Choice::By(value) => write!(f, "by {value}"),
        }
    }
}

impl FromStr for Decision {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHAT: &str = "a decision is LWP POINT NTH, and what was decided";
        let mut words = text.split(' ');
        let mut word = || words.next().ok_or(WHAT);
        let birth = number(word()?)?;
        let name = word()?;
        let mut points = Point::ALL.into_iter();
        let point = points
            .find(|point| point.name() == name)
            .ok_or("there is no such point")?;
        let nth = number(word()?)?;
        let mut named = |name| {
            if word()? == name {
                number(word()?)
            } else {
                Err(WHAT)
            }
        };
        let choice = match point.kind() {
            Kind::To => Choice::To(named("to")?.into()),
            Kind::By => Choice::By(named("by")?),
            Kind::Walk => Choice::Walk {
                steps: named("steps")?,
                hits: named("hits")?,
                to: named("to")?.into(),
            },
        };
        if words.next().is_some() {
            return Err(WHAT);
        }
        let birth = u64::from(birth);
        let anchor = Anchor { birth, point, nth };
        Ok(Self { anchor, choice })
    }
}

fn number(word: &str) -> Result<u32, &'static str> {
    word.parse().map_err(|_| "there is a number to be")
}

/// How a program is to be run, and how it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Of whatever is not a decision: time, random bytes.
    pub seed: Seed,
    /// Which decisions the seed made, and makes still in forked processes and in programs executed later.
    pub plan: Plan,
    /// What it may do besides switching; `None` leaves that to the seed.
    pub perturb: Option<Perturb>,
    /// Which time the program sees.
    pub time: Time,
    /// The hash of its events.
    pub hash: Option<u64>,
    /// It hung after so many points: a system call that comes later is too late.
    pub hang: Option<u64>,
    /// Variables that were set in the program's environment, NAME=VALUE.
    pub env: Vec<Vec<u8>>,
    /// The program's words.
    pub program: Vec<Vec<u8>>,
    /// What was decided, in order.
    pub decisions: Vec<Decision>,
}

/// A file is not what a schedule is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct NotASchedule {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: &'static str,
}

const FIRST: &str = "lwp-schedule 1";

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST}\nseed {}\npolicy {}", self.seed.0, self.plan)?;
        if let Some(perturb) = self.perturb {
            writeln!(f, "perturb {perturb}")?;
        }
        writeln!(f, "time {}", self.time)?;
        if let Some(hash) = self.hash {
            writeln!(f, "hash {hash:016x}")?;
        }
        if let Some(points) = self.hang {
            writeln!(f, "hang {points}")?;
        }
        for variable in &self.env {
            writeln!(f, "env {}", variable.escape_ascii())?;
        }
        for word in &self.program {
            writeln!(f, "program {}", word.escape_ascii())?;
        }
        for decision in &self.decisions {
            writeln!(f, "decide {decision}")?;
        }
        Ok(())
    }
}

impl FromStr for Schedule {
    type Err = NotASchedule;

    fn from_str(text: &str) -> Result<Self, NotASchedule> {
        let mut schedule = Self {
            seed: Seed(0),
            plan: Plan::Fair,
            perturb: None,
            time: Time::Virtual,
            hash: None,
            hang: None,
            env: Vec::new(),
            program: Vec::new(),
            decisions: Vec::new(),
        };
        let mut lines = text.lines();
        if lines.next() != Some(FIRST) {
            let what = "a schedule begins with \"lwp-schedule 1\"";
            return Err(NotASchedule { line: 1, what });
        }
        for (index, line) in lines.enumerate() {
            let added = schedule.add(line);
            added.map_err(|what| NotASchedule {
                line: index + 2,
                what,
            })?;
        }
        Ok(schedule)
    }
}

impl Schedule {
    fn add(&mut self, line: &str) -> Result<(), &'static str> {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        match name {
            "seed" => self.seed = Seed(value.parse().map_err(|_| "a seed is a number")?),
            "policy" => self.plan = value.parse()?,
            "perturb" => self.perturb = Some(value.parse()?),
            "time" => self.time = value.parse()?,
            "hash" => {
                let hash = u64::from_str_radix(value, 16);
                self.hash = Some(hash.map_err(|_| "a hash is a hexadecimal number")?);
            }
            "hang" => {
                let points = value.parse();
                self.hang = Some(points.map_err(|_| "a hang has a number of points")?);
            }
            "env" => self.env.push(unescaped(value)?),
            "program" => self.program.push(unescaped(value)?),
            "decide" => self.decisions.push(value.parse()?),
            "" => {}
            _ => return Err("there is no such entry"),
        }
        Ok(())
    }
}

/// What [`slice::escape_ascii`] was given.
fn unescaped(text: &str) -> Result<Vec<u8>, &'static str> {
    const WHAT: &str = "a backslash is followed by t, r, n, ', \", \\ or xHH";
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (&escape, after) = rest.split_first().ok_or(WHAT)?;
        rest = after;
        bytes.push(match escape {
            b't' => b'\t',
            b'r' => b'\r',
            b'n' => b'\n',
            b'\'' | b'"' | b'\\' => escape,
            b'x' => {
                let (digits, after) = rest.split_first_chunk::<2>().ok_or(WHAT)?;
                rest = after;
                let digits = core::str::from_utf8(digits).map_err(|_| WHAT)?;
                u8::from_str_radix(digits, 16).map_err(|_| WHAT)?
            }
            _ => return Err(WHAT),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn decisions() -> impl Strategy<Value = Decision> {
        let numbers = (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>());
        (0..Point::ALL.len(), numbers, any::<u32>()).prop_map(|(point, numbers, steps)| {
            let (birth, nth, to, hits) = numbers;
            let point = Point::ALL[point];
            let choice = match point.kind() {
                Kind::To => Choice::To(to.into()),
                Kind::By => Choice::By(to),
                Kind::Walk => Choice::Walk {
                    steps,
                    hits,
                    to: to.into(),
                },
            };
            let birth = birth.into();
            let anchor = Anchor { birth, point, nth };
            Decision { anchor, choice }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            seed: u64,
            hash: Option<u64>,
            hang: Option<u64>,
            program in vec(vec(any::<u8>(), 0..20), 0..5),
            env in vec(vec(any::<u8>(), 0..20), 0..3),
            decisions in vec(decisions(), 0..20),
            perturb in proptest::option::of(any::<u8>()),
            is_virtual: bool,
        ) {
            let schedule = Schedule {
                seed: Seed(seed),
                plan: Plan::Pct { depth: 3, points: 77 },
                perturb: perturb.map(Perturb::from_bits_truncate),
                time: if is_virtual { Time::Virtual } else { Time::Real },
                hash,
                hang,
                env,
                program,
                decisions,
            };
            prop_assert_eq!(schedule.to_string().parse(), Ok(schedule));
        }

        #[test]
        fn no_text_makes_it_panic(text in "(lwp-schedule 1\n)?((seed|decide|program|hash|policy|perturb|time)? ?[0-9a-z\\\\ :,-]*\n)*") {
            let _ = text.parse::<Schedule>();
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        let text = "lwp-schedule 1\nseed 3\ndecide 1 call 2 by 3\n";
        let err = text.parse::<Schedule>().unwrap_err();
        assert_eq!(err.line, 3);
        assert_eq!("".parse::<Schedule>().unwrap_err().line, 1);
    }
}
