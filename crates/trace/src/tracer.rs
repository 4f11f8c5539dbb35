//! The listener on the kernel's events that makes lines of them.
//!
//! A call has one line, written when it comes back: `name(arguments) = result <duration>`. One that sleeps has
//! what is known of it written when it goes to sleep, and the rest when it comes back: on the same line if
//! nobody has said anything in between, else `<unfinished ...>` and `<... name resumed>`.
//!
//! # Invariants
//! 1. Guest memory is read only where the kernel holds no lock: when an LWP enters a call or leaves it.
//! 2. `state` is locked for moments, never while guest memory is read or lines are written.
//!
//! # Locks
//! The kernel's (some events come with an LWP's lock held) → `state` → the queue of `lines`.

use crate::decode::{Call, Decoded, Decoder, Shown};
use crate::filter::Filter;
use crate::json::quoted;
use crate::lines::{Lines, Patience, Sink};
use crate::summary::{Summary, micros};
use core::fmt::Write;
use core::time::Duration;
use lwp_abi::errno::Errno;
use lwp_abi::lwp::LwpState;
use lwp_abi::nr;
use lwp_abi::signal::Signo;
use lwp_abi::until_nul;
use lwp_kernel::events::{Event, Listener, What};
use lwp_kernel::machine::{ExitWith, Memory};
use lwp_kernel::{Ended, SysResult};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// For people.
    #[default]
    Text,
    /// One JSON object in a line.
    Json,
}

/// What is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which calls.
    pub filter: Filter,
    /// How.
    pub form: Form,
    /// Not the calls, but a table of them when the process ends.
    pub summary: bool,
    /// How many bytes of a string are shown.
    pub strings: usize,
    /// The process is one of several: lines say which.
    pub is_child: bool,
}

/// Makes lines of what happens in one process.
pub struct Tracer {
    memory: Arc<dyn Memory + Send + Sync>,
    options: Options,
    lines: Lines,
    state: Mutex<State>,
}

struct State {
    pid: i32,
    /// There is more than one process.
    has_several: bool,
    lwps: HashMap<i32, Thread>,
    /// Whose line is not ended.
    open_line: Option<i32>,
    summary: Summary,
}

/// What is known of an LWP.
#[derive(Default)]
struct Thread {
    name: String,
    call: Option<Making>,
}

/// A call that is being made.
struct Making {
    number: u16,
    begun: Duration,
    trapped: bool,
    /// What is to be shown of it; nothing for a mere count.
    decoded: Option<Decoded>,
    /// What is written of it when it sleeps.
    head: String,
    is_written: bool,
}

impl Tracer {
    /// A tracer of the process `pid`, whose memory this is; it writes to `sink`.
    pub fn new(
        memory: Arc<dyn Memory + Send + Sync>,
        sink: Box<dyn Sink>,
        pid: i32,
        options: Options,
    ) -> Self {
        let state = State::new(pid, options.is_child);
        Self {
            memory,
            options,
            lines: Lines::new(sink),
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decoder(&self) -> Decoder<'_> {
        Decoder {
            memory: &*self.memory,
            strings: self.options.strings,
        }
    }

    fn is_text(&self) -> bool {
        self.options.form == Form::Text && !self.options.summary
    }

    fn enter(&self, event: &Event, call: Call, trapped: bool) {
        let number = call.number;
        let is_wanted = self.options.filter.has(number);
        let decoded = (is_wanted && !self.options.summary).then(|| self.decoder().enter(call));
        let mut state = self.lock();
        if [nr::SYS_FORK, nr::SYS_VFORK, nr::SYS_VFORK14].contains(&number) {
            self.end_line(&mut state);
            state.has_several = true;
        }
        if is_wanted {
            state.summary.enter(number, trapped);
            let making = Making {
                number,
                begun: event.at,
                trapped,
                head: decoded.as_ref().map_or_else(String::new, Decoded::head),
                decoded,
                is_written: false,
            };
            let comes_back = making.decoded.as_ref().is_none_or(Decoded::returns);
            state.thread(event).call = Some(making);
            if !comes_back {
                self.end_call(&mut state, event, &Shown::default(), Ok(()));
            }
        }
        drop(state);
        self.lines.flush(Patience::Waits);
    }

    fn leave(&self, event: &Event, result: SysResult) {
        let Some(mut making) = self.lock().thread(event).call.take() else {
            return self.lines.flush(Patience::Waits);
        };
        let shown = making
            .decoded
            .as_mut()
            .map(|decoded| self.decoder().leave(decoded, result));
        let outcome = match result {
            Err(Ended::Failed(errno)) => Err(errno),
            _ => Ok(()),
        };
        let mut state = self.lock();
        let took = event.at.saturating_sub(making.begun);
        state.summary.leave(making.number, took, outcome.is_err());
        if let Some(shown) = shown {
            state.thread(event).call = Some(making);
            self.end_call(&mut state, event, &shown, outcome);
        }
        drop(state);
        self.lines.flush(Patience::Waits);
    }

    /// Writes of the LWP's call what is not written yet. Without a result it does not come back.
    fn end_call(
        &self,
        state: &mut State,
        event: &Event,
        result: &Shown,
        outcome: Result<(), Errno>,
    ) {
        let Some(mut making) = state.thread(event).call.take() else {
            return;
        };
        let Some(mut decoded) = making.decoded.take() else {
            return;
        };
        decoded.give_up();
        let took = event.at.saturating_sub(making.begun);
        if self.options.form == Form::Json {
            let line = json_call(
                &state.labels(event),
                &decoded,
                &making,
                (result, outcome),
                took,
            );
            return self.lines.append(&line);
        }
        let whole = decoded.whole();
        let ending = if result.text.is_empty() {
            " = ?\n".to_owned()
        } else {
            format!(" = {} <{} us>\n", result.text, micros(took))
        };
        let rest = whole.strip_prefix(&*making.head).unwrap_or(&whole);
        if state.open_line == Some(event.lid.raw()) {
            state.open_line = None;
            return self.lines.append(&format!("{rest}{ending}"));
        }
        let said = if making.is_written {
            format!("<... {} resumed>{rest}{ending}", decoded.name())
        } else {
            format!("{whole}{ending}")
        };
        self.line(state, event, &said);
    }

    /// The LWP goes to sleep: what is known of its call is written.
    fn sleep(&self, state: &mut State, event: &Event) {
        let making = state.thread(event).call.as_mut();
        let Some(making) = making.filter(|making| making.decoded.is_some() && !making.is_written)
        else {
            return;
        };
        making.is_written = true;
        let head = making.head.clone();
        if state.has_several {
            // Another process may write in between.
            return self.line(state, event, &format!("{head} <unfinished ...>\n"));
        }
        self.line(state, event, &head);
        state.open_line = Some(event.lid.raw());
    }

    /// Writes a line, or its beginning.
    fn line(&self, state: &mut State, event: &Event, text: &str) {
        self.end_line(state);
        let line = format!("{}{text}", state.prefix(event));
        self.lines.append(&line);
    }

    fn end_line(&self, state: &mut State) {
        if state.open_line.take().is_some() {
            self.lines.append(" <unfinished ...>\n");
        }
    }

    /// Writes of something that is no call: words for people, a name and a value for programs.
    fn note(&self, state: &mut State, event: &Event, words: &str, named: (&str, &str)) {
        if self.options.summary {
            return;
        }
        match self.options.form {
            Form::Text => self.line(state, event, &format!("{words}\n")),
            Form::Json => {
                let (name, value) = named;
                let line = format!(
                    "{{{},\"event\":{},\"value\":{},\"at\":{}}}\n",
                    state.labels(event),
                    quoted(name),
                    quoted(value),
                    event.at.as_nanos()
                );
                self.lines.append(&line);
            }
        }
    }

    fn exec(&self, event: &Event, is_ours: bool) {
        let mut state = self.lock();
        self.end_call(&mut state, event, &Shown::default(), Ok(()));
        self.total(&mut state);
        drop(state);
        self.lines.flush_all();
        if is_ours {
            self.lines.hand_on();
        }
    }

    fn end(&self, event: &Event, with: ExitWith) {
        let mut state = self.lock();
        let (how, value) = match with {
            ExitWith::Code(code) => ("exited with", (code & 0xff).to_string()),
            ExitWith::Signal(signo) => ("killed by", signo.name().to_owned()),
        };
        let words = format!("+++ {how} {value} +++");
        self.note(&mut state, event, &words, ("end", &value));
        self.total(&mut state);
        drop(state);
        self.lines.flush_all();
    }

    /// The table, when there is nothing more to count.
    fn total(&self, state: &mut State) {
        if !self.options.summary {
            return;
        }
        let pid = state.pid;
        let summary = core::mem::take(&mut state.summary);
        let text = match self.options.form {
            Form::Json => format!("{{\"pid\":{pid},\"calls\":{}}}\n", summary.json()),
            Form::Text if state.has_several => format!("process {pid}:\n{}", summary.table()),
            Form::Text => summary.table(),
        };
        self.lines.append(&text);
    }

    /// Something that is told with locks of the kernel's held: nothing waits.
    fn aside(&self, tell: impl FnOnce(&mut State)) {
        tell(&mut self.lock());
        self.lines.flush(Patience::GoesOn);
    }

    /// Whether LWPs that come and go are shown.
    fn shows_lwps(&self) -> bool {
        self.options.filter.has(nr::SYS_LWP_CREATE)
    }

    fn created(&self, state: &mut State, event: &Event) {
        // Another may have had the number before.
        *state.thread(event) = Thread::default();
        if let Some(by) = event.by.filter(|_| self.shows_lwps()) {
            let words = format!("+++ created by {by} +++");
            self.note(state, event, &words, ("create", &by.to_string()));
        }
    }

    fn exited(&self, state: &mut State, event: &Event) {
        // A call that was to end the process, or to execute another program: one that came first does that.
        self.end_call(state, event, &Shown::default(), Ok(()));
        if self.shows_lwps() {
            self.note(state, event, "+++ LWP exited +++", ("exit", ""));
        }
        state.lwps.remove(&event.lid.raw());
    }

    fn signal(&self, state: &mut State, event: &Event, signo: Signo) {
        let words = format!("--- {signo} ---");
        self.note(state, event, &words, ("signal", signo.name()));
    }

    fn fault(&self, state: &mut State, event: &Event, trapno: u32, addr: u64) {
        let words = format!("--- fault: trap {trapno} at {addr:#x} ---");
        self.note(state, event, &words, ("fault", &format!("{addr:#x}")));
    }

    /// In the child: all that is known is the parent's.
    fn forked(&self, state: &mut State, event: &Event) {
        self.lines.forget();
        *state = State::new(event.lid.raw(), true);
    }
}

impl Listener for Tracer {
    fn event(&self, event: &Event) {
        match event.what {
            What::Enter {
                number,
                args,
                stack,
                trapped,
            } => {
                let call = Call::new(&*self.memory, number, args, stack);
                self.enter(event, call, trapped);
            }
            What::Leave { result } => self.leave(event, result),
            What::Exec { is_ours } => self.exec(event, is_ours),
            What::End { with } => self.end(event, with),
            What::SwitchOut {
                state: LwpState::Sleep,
            } if self.is_text() => self.aside(|state| self.sleep(state, event)),
            What::Create { .. } => self.aside(|state| self.created(state, event)),
            What::Exit => self.aside(|state| self.exited(state, event)),
            What::Name(name) => self.lock().thread(event).name = shown_name(&name),
            What::Take { signo } => self.aside(|state| self.signal(state, event, signo)),
            What::Fault { trapno, addr } => {
                self.aside(|state| self.fault(state, event, trapno, addr));
            }
            What::Forked => self.forked(&mut self.lock(), event),
            _ => {}
        }
    }
}

/// A name as it can stand in a line.
fn shown_name(name: &[u8]) -> String {
    until_nul(name).escape_ascii().to_string()
}

impl State {
    fn new(pid: i32, has_several: bool) -> Self {
        Self {
            pid,
            has_several,
            lwps: HashMap::new(),
            open_line: None,
            summary: Summary::default(),
        }
    }

    fn thread(&mut self, event: &Event) -> &mut Thread {
        self.lwps.entry(event.lid.raw()).or_default()
    }

    /// Before each line: which LWP, and of which process if there are several.
    fn prefix(&mut self, event: &Event) -> String {
        let pid = self.pid;
        let has_several = self.has_several;
        let thread = self.thread(event);
        let space = if thread.name.is_empty() { "" } else { " " };
        let who = format!("{}{space}{}", event.lid, thread.name);
        if has_several {
            format!("[{pid}:{who}] ")
        } else {
            format!("[{who}] ")
        }
    }

    /// The same for programs.
    fn labels(&mut self, event: &Event) -> String {
        let pid = self.pid;
        let name = quoted(&self.thread(event).name);
        format!("\"pid\":{pid},\"lid\":{},\"name\":{name}", event.lid)
    }
}

fn json_call(
    labels: &str,
    decoded: &Decoded,
    making: &Making,
    (result, outcome): (&Shown, Result<(), Errno>),
    took: Duration,
) -> String {
    let shown = decoded
        .args
        .iter()
        .filter_map(|arg| Some((arg.name, arg.shown.as_ref()?)));
    let args: Vec<_> = shown
        .filter(|(_, shown)| !shown.text.is_empty())
        .map(|(name, shown)| format!("{}:{}", quoted(name), json_value(shown)))
        .collect();
    let mut line = format!(
        "{{{labels},\"call\":{},\"args\":{{{}}}",
        quoted(&decoded.name()),
        args.join(",")
    );
    // Writing to a string cannot fail.
    let _ = match outcome {
        Ok(()) if result.text.is_empty() => write!(line, ",\"result\":null"),
        Ok(()) => write!(line, ",\"result\":{}", json_value(result)),
        Err(errno) => write!(line, ",\"result\":-1,\"errno\":{}", quoted(errno.name())),
    };
    let (start, took) = (making.begun.as_nanos(), took.as_nanos());
    let trapped = making.trapped;
    let _ = writeln!(
        line,
        ",\"start\":{start},\"duration\":{took},\"trapped\":{trapped}}}"
    );
    line
}

/// A number, or a string without the quotes that people need.
fn json_value(shown: &Shown) -> String {
    if shown.is_number {
        return shown.text.clone();
    }
    let inner = shown
        .text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    quoted(inner.unwrap_or(&shown.text))
}
