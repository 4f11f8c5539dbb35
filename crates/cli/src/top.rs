//! `lwp top`: what guests are doing, in a terminal, looked at again and again.
//!
//! [`Model`] knows what is shown and nothing of terminals; [`watch`] has the terminal, which is as it was before on
//! every way out: a key, a signal, the end of the guest, an error.

use crate::args;
use crate::control;
use crate::fail::Failure;
use crate::ps::{COLUMNS, aligned, cells};
use crate::snapshot::Snapshot;
use core::cmp::Ordering;
use core::time::Duration;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::{DefaultTerminal, Frame};
use signal_hook::consts::{SIGHUP, SIGTERM};
use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering as Atomic};
use std::time::Instant;

/// How long a signal may go unseen.
const NAP: Duration = Duration::from_millis(100);
/// Lines that are not LWPs: what is above them, and below.
const AROUND: u16 = 3;

/// Does what `options` say.
///
/// # Errors
/// There is no terminal, no such guest, or a signal has ended it.
pub(crate) fn run(options: &args::Top) -> Result<(), Failure> {
    let mut model = Model::default();
    model.look(options.pid)?;
    if options.once {
        std::thread::sleep(options.delay);
        model.look(options.pid)?;
        let text: String = model.lines().map(|line| line + "\n").collect();
        let text = format!("{}\n{}\n{text}", model.title(), headings());
        return io::stdout().write_all(text.as_bytes()).map_err(Failure::Ps);
    }
    if !io::stdout().is_terminal() {
        let text = "standard output is no terminal; try 'lwp top --once' or 'lwp ps'";
        return Err(Failure::Ps(io::Error::other(text)));
    }
    let signalled = Arc::new(AtomicUsize::new(0));
    for signo in [SIGTERM, SIGHUP] {
        let number = usize::try_from(signo).unwrap_or(0);
        signal_hook::flag::register_usize(signo, Arc::clone(&signalled), number)
            .map_err(Failure::Ps)?;
    }
    let mut terminal = ratatui::try_init().map_err(Failure::Ps)?;
    let ended = watch(&mut terminal, &mut model, options, &signalled);
    ratatui::restore();
    ended
}

/// Shows `model`, until somebody wants to leave or the process that was asked for is no more.
fn watch(
    terminal: &mut DefaultTerminal,
    model: &mut Model,
    options: &args::Top,
    signalled: &AtomicUsize,
) -> Result<(), Failure> {
    let mut due = Instant::now() + options.delay;
    loop {
        terminal
            .draw(|frame| model.draw(frame))
            .map_err(Failure::Ps)?;
        loop {
            let signo = signalled.load(Atomic::Relaxed);
            if signo != 0 {
                return Err(Failure::Signalled(i32::try_from(signo).unwrap_or(0)));
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                match model.look(options.pid) {
                    Err(Failure::Ps(err)) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
                    looked => looked?,
                }
                due = Instant::now() + options.delay;
                break;
            }
            match event::poll(left.min(NAP)) {
                Ok(false) => continue,
                Ok(true) => {}
                // A signal, which the next turn sees.
                Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
                Err(err) => return Err(Failure::Ps(err)),
            }
            match event::read().map_err(Failure::Ps)? {
                Event::Key(key) if model.press(key) => return Ok(()),
                _ => break,
            }
        }
    }
}

/// What the LWPs are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Key {
    #[default]
    Cpu,
    Time,
    Switches,
    Lid,
    Name,
}

/// An LWP as it is shown.
struct Shown {
    pid: i32,
    lid: i32,
    name: String,
    time: u64,
    switches: u32,
    /// In tenths of a per cent of one CPU.
    cpu: u64,
    cells: [String; COLUMNS.len()],
}

/// What is shown.
#[derive(Default)]
struct Model {
    lwps: Vec<Shown>,
    processes: usize,
    /// Processes that did not answer.
    silent: usize,
    /// CPU time of each LWP at the last look, and when that was.
    before: HashMap<(i32, i32), u64>,
    looked: Option<Instant>,
    key: Key,
    reversed: bool,
    filter: String,
    is_typing: bool,
    /// The first LWP that is visible, and how many lines there are for them.
    first: usize,
    room: usize,
}

impl Model {
    /// Looks again.
    fn look(&mut self, pid: Option<i32>) -> Result<(), Failure> {
        let looked = control::look(pid).map_err(Failure::Ps)?;
        self.silent = looked.silent.len();
        self.update(&looked.found, Instant::now());
        Ok(())
    }

    fn update(&mut self, all: &[Snapshot], now: Instant) {
        let elapsed = self.looked.replace(now).map(|then| now - then);
        let before = core::mem::take(&mut self.before);
        self.processes = all.len();
        self.lwps.clear();
        for snapshot in all {
            for row in &snapshot.lwps {
                let id = (snapshot.pid, row.lid);
                // Who was not there at the last look has used all of its time since.
                let used = row.time - before.get(&id).copied().unwrap_or(0).min(row.time);
                let cpu =
                    elapsed.map(|elapsed| u128::from(used) * 1000 / elapsed.as_nanos().max(1));
                self.before.insert(id, row.time);
                self.lwps.push(Shown {
                    pid: snapshot.pid,
                    lid: row.lid,
                    name: row.name.clone(),
                    time: row.time,
                    switches: row.switches,
                    cpu: u64::try_from(cpu.unwrap_or(0)).unwrap_or(u64::MAX),
                    cells: cells(snapshot, row),
                });
            }
        }
        self.sort();
    }

    fn sort(&mut self) {
        let (key, reversed) = (self.key, self.reversed);
        self.lwps.sort_by(|one, other| {
            let order = match key {
                Key::Cpu => other.cpu.cmp(&one.cpu),
                Key::Time => other.time.cmp(&one.time),
                Key::Switches => other.switches.cmp(&one.switches),
                Key::Lid => Ordering::Equal,
                Key::Name => one.name.cmp(&other.name),
            };
            let order = if reversed { order.reverse() } else { order };
            order.then((one.pid, one.lid).cmp(&(other.pid, other.lid)))
        });
    }

    /// Sorts by `key`, or, if that is so already, the other way round.
    fn sort_by(&mut self, key: Key) {
        self.reversed = self.key == key && !self.reversed;
        self.key = key;
        self.sort();
    }

    /// A key was pressed; whether it was one to leave by.
    fn press(&mut self, key: KeyEvent) -> bool {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if is_control => return true,
            KeyCode::Enter | KeyCode::Esc if self.is_typing => self.is_typing = false,
            KeyCode::Backspace if self.is_typing => drop(self.filter.pop()),
            KeyCode::Char(typed) if self.is_typing => self.filter.push(typed),
            KeyCode::Char('q') | KeyCode::Esc => return true,
            KeyCode::Char('/') => {
                self.filter.clear();
                self.is_typing = true;
            }
            KeyCode::Char('c') => self.sort_by(Key::Cpu),
            KeyCode::Char('t') => self.sort_by(Key::Time),
            KeyCode::Char('s') => self.sort_by(Key::Switches),
            KeyCode::Char('l') => self.sort_by(Key::Lid),
            KeyCode::Char('n') => self.sort_by(Key::Name),
            KeyCode::Up => self.first = self.first.saturating_sub(1),
            KeyCode::Down => self.first += 1,
            KeyCode::PageUp => self.first = self.first.saturating_sub(self.room),
            KeyCode::PageDown => self.first += self.room,
            KeyCode::Home => self.first = 0,
            KeyCode::End => self.first = usize::MAX,
            _ => {}
        }
        false
    }

    /// One line for each LWP that the filter lets through.
    fn lines(&self) -> impl Iterator<Item = String> {
        let lines = self.lwps.iter().map(|lwp| {
            let cpu = format!("{}.{}", lwp.cpu / 10, lwp.cpu % 10);
            let cells = lwp.cells.iter().map(String::as_str);
            line(&cpu, cells)
        });
        lines.filter(|line| line.contains(&self.filter))
    }

    fn title(&self) -> String {
        let (lwps, processes) = (self.lwps.len(), self.processes);
        let running = self.lwps.iter().filter(|lwp| lwp.cells[2] == "O").count();
        let all: u64 = self.lwps.iter().map(|lwp| lwp.cpu).sum();
        let silent = match self.silent {
            0 => String::new(),
            some => format!("; {some} do not answer"),
        };
        format!(
            "lwp top: {processes} processes, {lwps} LWPs, {running} on vcpus, {}.{} % CPU{silent}",
            all / 10,
            all % 10
        )
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let area = frame.area();
        self.room = usize::from(area.height.saturating_sub(AROUND)).max(1);
        let lines: Vec<_> = self.lines().collect();
        self.first = self.first.min(lines.len().saturating_sub(self.room));
        let bottom = match (self.is_typing, self.filter.is_empty()) {
            (true, _) => format!("/{}_", self.filter),
            (false, false) => format!("only with \"{}\"; / for another, q to leave", self.filter),
            (false, true) => "q leave  c t s l n sort  / filter".to_owned(),
        };
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        let shown = lines.into_iter().skip(self.first).take(self.room);
        let top = [
            Line::styled(self.title(), bold),
            Line::styled(headings(), reversed),
        ];
        let all = top.into_iter().chain(shown.map(Line::raw));
        for (y, line) in (0..area.height.saturating_sub(1)).zip(all) {
            frame.render_widget(
                line,
                Rect {
                    y,
                    height: 1,
                    ..area
                },
            );
        }
        if let Some(y) = area.height.checked_sub(1) {
            frame.render_widget(
                Line::raw(bottom),
                Rect {
                    y,
                    height: 1,
                    ..area
                },
            );
        }
    }
}

fn headings() -> String {
    line("%CPU", COLUMNS.iter().map(|&(name, _)| name))
}

/// The columns of `lwp ps`, with the use of the CPU before the times.
fn line<'a>(cpu: &'a str, cells: impl Iterator<Item = &'a str>) -> String {
    let mut cells: Vec<_> = cells.zip(COLUMNS.map(|(_, width)| width)).collect();
    cells.insert(5, (cpu, 5));
    aligned(cells.into_iter()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Row;

    fn of(times: &[(i32, &str, u64)]) -> Vec<Snapshot> {
        let lwps = times.iter().map(|&(lid, name, time)| Row {
            lid,
            name: name.to_owned(),
            state: "O".to_owned(),
            time,
            ..Row::default()
        });
        vec![Snapshot {
            pid: 7,
            lwps: lwps.collect(),
            ..Snapshot::default()
        }]
    }

    fn order(model: &Model) -> Vec<i32> {
        model.lwps.iter().map(|lwp| lwp.lid).collect()
    }

    #[test]
    fn who_has_used_the_cpu_since_the_last_look_comes_first() {
        let mut model = Model::default();
        let start = Instant::now();
        model.update(&of(&[(1, "old", 9_000_000_000), (2, "spinner", 0)]), start);
        let second = [(1, "old", 9_000_000_000), (2, "spinner", 1_000_000_000)];
        model.update(&of(&second), start + Duration::from_secs(1));
        assert_eq!(order(&model), [2, 1]);
        assert_eq!(model.lwps[0].cpu, 1000);
        for (key, expected) in [('t', [1, 2]), ('t', [2, 1]), ('n', [1, 2]), ('l', [1, 2])] {
            assert!(!model.press(KeyCode::Char(key).into()));
            assert_eq!(order(&model), expected, "{key}");
        }
    }

    #[test]
    fn what_is_typed_filters_until_enter_and_then_keys_are_keys() {
        let mut model = Model::default();
        model.update(&of(&[(1, "main", 0), (2, "quick", 0)]), Instant::now());
        for typed in "/q".chars() {
            assert!(!model.press(KeyCode::Char(typed).into()), "typed");
        }
        assert_eq!(model.lines().count(), 1);
        assert!(!model.press(KeyCode::Enter.into()));
        assert!(model.press(KeyCode::Char('q').into()));
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(Model::default().press(control_c));
    }
}
