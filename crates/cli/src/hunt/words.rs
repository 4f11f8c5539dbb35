//! Decisions in words: which LWP was held where, and who ran instead.

use crate::snapshot::called;
use core::fmt::Write;
use lwp_abi::nr;
use lwp_abi::until_nul;
use lwp_chaos::Chaos;
use lwp_chaos::schedule::{Choice, Decision, Point};
use lwp_kernel::events::{Event, What};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What is known of an LWP.
#[derive(Clone, Debug, Default)]
struct Known {
    lid: i32,
    name: String,
    /// The last call it made, and whether it is still in it.
    call: Option<&'static str>,
    is_in_call: bool,
    /// How many calls it has made.
    calls: u64,
}

/// Follows a run, to tell of its decisions.
pub(crate) struct Narrator {
    chaos: Arc<Chaos>,
    st: Mutex<St>,
}

#[derive(Default)]
struct St {
    /// By order of birth.
    lwps: Vec<Known>,
    births: BTreeMap<i32, usize>,
    /// A line for each decision so far.
    story: Vec<String>,
}

impl Narrator {
    /// Of what `chaos` decides.
    pub(crate) fn new(chaos: &Arc<Chaos>) -> Self {
        Self {
            chaos: Arc::clone(chaos),
            st: Mutex::default(),
        }
    }

    /// Something has happened.
    pub(crate) fn event(&self, event: &Event) {
        let st = &mut *self.st.lock().unwrap_or_else(PoisonError::into_inner);
        // What was decided since the last event is told of LWPs as they were then.
        for decision in self.chaos.decisions_from(st.story.len()) {
            let text = st.tell(&decision, &self.chaos);
            st.story.push(text);
        }
        st.follow(event);
    }

    /// A line for each decision.
    pub(crate) fn story(&self) -> Vec<String> {
        let st = self.st.lock().unwrap_or_else(PoisonError::into_inner);
        st.story.clone()
    }
}

impl St {
    fn follow(&mut self, event: &Event) {
        let lid = event.lid.raw();
        if let What::Create { .. } = event.what {
            self.births.insert(lid, self.lwps.len());
            self.lwps.push(Known {
                lid,
                ..Known::default()
            });
        }
        let Some(known) = self
            .births
            .get(&lid)
            .and_then(|&birth| self.lwps.get_mut(birth))
        else {
            return;
        };
        match event.what {
            What::Enter { number, .. } => {
                known.call = nr::name(nr::of_word(number));
                known.is_in_call = true;
                known.calls += 1;
            }
            What::Leave { .. } => known.is_in_call = false,
            What::Name(name) => {
                known.name = String::from_utf8_lossy(until_nul(&name)).into_owned();
            }
            _ => {}
        }
    }

    fn known(&self, birth: u64) -> Option<&Known> {
        self.lwps.get(usize::try_from(birth).ok()?)
    }

    fn called(&self, birth: u64) -> String {
        match self.known(birth) {
            Some(known) => called(known.lid, &known.name),
            None => format!("LWP number {birth}"),
        }
    }

    /// Where an LWP is.
    fn place(&self, birth: u64) -> String {
        let Some(known) = self.known(birth) else {
            return String::new();
        };
        match (known.call, known.is_in_call) {
            (None, _) => "before its first system call".to_owned(),
            (Some(call), true) => format!("as it called {call} (its call {})", known.calls),
            (Some(call), false) => format!("back from {call} (its call {})", known.calls),
        }
    }

    fn tell(&self, decision: &Decision, chaos: &Chaos) -> String {
        let birth = decision.anchor.birth;
        let who = self.called(birth);
        let place = self.place(birth);
        match (decision.anchor.point, decision.choice) {
            (Point::Pick, Choice::To(to)) => {
                let next = if to == birth {
                    "it".to_owned()
                } else {
                    self.called(to)
                };
                format!("{who} gave up the vcpu {place}; {next} ran, though another was due")
            }
            (_, Choice::To(to)) => format!("{who} was held {place}; {} ran", self.called(to)),
            (_, Choice::Walk { steps, hits, to }) => {
                let mut text = format!("{who} was held {steps} instructions after it was {place}");
                if hits > 0 {
                    text = format!(
                        "whoever came to the place {steps} instructions after {who} was {place}, for the {hits}. time, was held"
                    );
                }
                if let Some(address) = chaos.address(decision.anchor) {
                    let _ = write!(text, ", at {address:#x}");
                }
                text + &format!("; {} ran", self.called(to))
            }
            (Point::Park, _) => {
                format!("{who} came back early from a park, with nobody having woken it")
            }
            (Point::Wake, Choice::By(which)) => {
                format!(
                    "{who} woke several LWPs, and number {} of them came first",
                    which + 1
                )
            }
            (Point::Transfer, Choice::By(less)) => {
                format!("{who} moved {less} bytes less than it asked for, {place}")
            }
            (Point::Signal, _) => {
                format!(
                    "a signal came to {who} in user mode, {place}, and was not taken before its next system call"
                )
            }
            (Point::Start, Choice::By(points)) => {
                format!("{who} did not begin for {points} points")
            }
            _ => decision.to_string(),
        }
    }
}
