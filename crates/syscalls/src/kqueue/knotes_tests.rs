use super::*;
use core::cell::{Cell, RefCell};
use proptest::collection::vec;
use proptest::prelude::*;
use std::rc::Rc;

/// Idents in use: few, so that they meet often.
const IDENTS: usize = 4;

/// Whether each thing is ready: all that a filter of these tests looks at.
type World = RefCell<[bool; IDENTS]>;

#[derive(Debug)]
struct Level(usize);

impl Filter<World> for Level {
    fn event(&mut self, kn: &mut Knote, world: &World) -> bool {
        let ready = world.borrow()[self.0];
        kn.kev.data = i64::from(ready);
        ready
    }
}

fn change(ident: usize, flags: EvFlags) -> Kevent100 {
    Kevent100 {
        ident: u64::try_from(ident).unwrap(),
        flags: flags.bits(),
        udata: 7,
        ..Kevent100::default()
    }
}

fn key(ident: usize) -> Key {
    Key::of(&change(ident, EvFlags::empty()))
}

/// What a guest, or the world, can do.
#[derive(Clone, Debug)]
enum Op {
    Change(usize, EvFlags),
    Ready(usize, bool),
    News(usize),
    Scan(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let flag = prop::sample::select(vec![
        EvFlags::ADD,
        EvFlags::DELETE,
        EvFlags::ENABLE,
        EvFlags::DISABLE,
        EvFlags::ADD | EvFlags::CLEAR,
        EvFlags::ADD | EvFlags::ONESHOT,
        EvFlags::ADD | EvFlags::DISPATCH,
        EvFlags::ADD | EvFlags::DISABLE,
        EvFlags::ADD | EvFlags::CLEAR | EvFlags::DISPATCH,
        EvFlags::ADD | EvFlags::ENABLE,
    ]);
    let op = prop_oneof![
        3 => (0..IDENTS, flag).prop_map(|(ident, flags)| Op::Change(ident, flags)),
        2 => (0..IDENTS, any::<bool>()).prop_map(|(ident, ready)| Op::Ready(ident, ready)),
        2 => (0..IDENTS).prop_map(Op::News),
        3 => (0..=IDENTS).prop_map(Op::Scan),
    ];
    vec(op, 0..60)
}

/// The same rules with nothing but a list: first in the list, first reported.
#[derive(Default)]
struct Model {
    knotes: Vec<Note>,
    queue: Vec<usize>,
}

#[derive(Clone)]
struct Note {
    ident: usize,
    flags: EvFlags,
    is_active: bool,
    is_disabled: bool,
}

impl Model {
    fn note(&mut self, ident: usize) -> Option<&mut Note> {
        self.knotes.iter_mut().find(|note| note.ident == ident)
    }

    fn forget(&mut self, ident: usize) {
        self.knotes.retain(|note| note.ident != ident);
        self.queue.retain(|&each| each != ident);
    }

    fn enqueue(&mut self, ident: usize) {
        if self.note(ident).is_some_and(|note| note.is_active) && !self.queue.contains(&ident) {
            self.queue.push(ident);
        }
    }

    fn news(&mut self, ident: usize, ready: bool) {
        let Some(note) = self.note(ident).filter(|_| ready) else {
            return;
        };
        note.is_active = true;
        if !note.is_disabled {
            self.enqueue(ident);
        }
    }

    /// `false` for ENOENT.
    fn change(&mut self, ident: usize, flags: EvFlags, ready: bool) -> bool {
        let exists = self.note(ident).is_some();
        if exists && flags.contains(EvFlags::DELETE) {
            self.forget(ident);
            return true;
        }
        if !exists && !flags.contains(EvFlags::ADD) {
            return false;
        }
        if !exists {
            self.knotes.push(Note {
                ident,
                flags,
                is_active: false,
                is_disabled: false,
            });
        }
        self.news(ident, ready);
        if flags.contains(EvFlags::DISABLE) {
            self.note(ident).unwrap().is_disabled = true;
        }
        if flags.contains(EvFlags::ENABLE) {
            self.note(ident).unwrap().is_disabled = false;
            self.enqueue(ident);
        }
        true
    }

    fn scan(&mut self, room: usize, ready: [bool; IDENTS]) -> Vec<usize> {
        let mut out = Vec::new();
        let mut turn: Vec<usize> = self.queue.clone();
        while !turn.is_empty() && out.len() < room {
            let ident = turn.remove(0);
            self.queue.remove(0);
            let note = self.note(ident).unwrap();
            if note.is_disabled {
                continue;
            }
            if note.flags.contains(EvFlags::ONESHOT) {
                out.push(ident);
                self.forget(ident);
            } else if !ready[ident] {
                note.is_active = false;
            } else {
                out.push(ident);
                if note.flags.contains(EvFlags::CLEAR) {
                    note.is_active = false;
                } else if note.flags.contains(EvFlags::DISPATCH) {
                    note.is_active = false;
                    note.is_disabled = true;
                } else {
                    self.queue.push(ident);
                }
            }
        }
        out
    }
}

/// Both sides of the comparison.
#[derive(Default)]
struct Both {
    world: World,
    knotes: Knotes<Level>,
    model: Model,
}

impl Both {
    fn change(&mut self, ident: usize, flags: EvFlags) {
        let wanted = self.model.change(ident, flags, self.world.borrow()[ident]);
        let change = change(ident, flags);
        let got = if flags.contains(EvFlags::ADD) && !self.knotes.contains(key(ident)) {
            self.knotes
                .insert(Knote::new(&change), Level(ident), &change, &self.world);
            true
        } else {
            self.knotes.change(&change, &self.world).is_ok()
        };
        assert_eq!(got, wanted);
    }

    fn scan(&mut self, room: usize) -> Vec<usize> {
        let (mut out, mut gone) = (Vec::new(), Vec::new());
        self.knotes
            .scan(&[], None, room, &self.world, &mut out, &mut gone);
        out.iter()
            .map(|kev| usize::try_from(kev.ident).unwrap())
            .collect()
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Change(ident, flags) => self.change(ident, flags),
            Op::Ready(ident, ready) => self.world.borrow_mut()[ident] = ready,
            Op::News(ident) => {
                self.model.news(ident, self.world.borrow()[ident]);
                self.knotes.activity(key(ident), Some(0), &self.world);
            }
            Op::Scan(room) => {
                let ready = *self.world.borrow();
                let wanted = self.model.scan(room, ready);
                assert_eq!(self.scan(room), wanted);
            }
        }
        assert_eq!(self.knotes.queued(), self.model.queue.len());
    }
}

proptest! {
    #[test]
    fn knotes_do_what_a_plain_list_would(ops in ops()) {
        let mut both = Both::default();
        for op in &ops {
            both.run(op);
        }
    }
}

fn with(flags: EvFlags) -> Both {
    let mut both = Both::default();
    both.world.borrow_mut()[0] = true;
    both.change(0, EvFlags::ADD | flags);
    both
}

#[test]
fn a_level_knote_is_reported_until_its_condition_ends() {
    let mut both = with(EvFlags::empty());
    assert_eq!(both.scan(4), [0]);
    assert_eq!(both.scan(4), [0]);
    both.world.borrow_mut()[0] = false;
    assert_eq!(both.scan(4), []);
    assert_eq!(both.knotes.queued(), 0);
}

#[test]
fn a_clear_knote_is_reported_once_per_activity() {
    let mut both = with(EvFlags::CLEAR);
    assert_eq!(both.scan(4), [0]);
    assert_eq!(both.scan(4), []);
    both.knotes.activity(key(0), Some(0), &both.world);
    assert_eq!(both.scan(4), [0]);
}

#[test]
fn a_one_shot_knote_is_reported_once_even_if_its_condition_has_ended() {
    let mut both = with(EvFlags::ONESHOT);
    both.world.borrow_mut()[0] = false;
    assert_eq!(both.scan(4), [0]);
    assert!(!both.knotes.contains(key(0)));
}

#[test]
fn a_dispatched_knote_is_disabled_until_enabled_again() {
    let mut both = with(EvFlags::DISPATCH);
    assert_eq!(both.scan(4), [0]);
    both.knotes.activity(key(0), Some(0), &both.world);
    assert_eq!(both.scan(4), []);
    both.change(0, EvFlags::ENABLE);
    assert_eq!(both.scan(4), [0]);
}

#[test]
fn a_report_shows_the_flags_of_registration_and_the_latest_udata() {
    let mut both = with(EvFlags::CLEAR);
    let update = Kevent100 {
        udata: 9,
        ..change(0, EvFlags::ADD)
    };
    assert!(both.knotes.change(&update, &both.world).is_ok());
    let (mut out, mut gone) = (Vec::new(), Vec::new());
    both.knotes
        .scan(&[], None, 1, &both.world, &mut out, &mut gone);
    assert_eq!(out[0].flags, (EvFlags::ADD | EvFlags::CLEAR).bits());
    assert_eq!((out[0].udata, out[0].data), (9, 1));
}

#[test]
fn what_is_queued_during_a_scan_waits_for_the_next() {
    let mut both = with(EvFlags::empty());
    let (mut out, mut gone) = (Vec::new(), Vec::new());
    let mut end = None;
    for _ in 0..2 {
        let ended = both
            .knotes
            .scan(&[], end, 4, &both.world, &mut out, &mut gone);
        end = Some(ended);
    }
    assert_eq!(out.len(), 1);
}

/// Says yes, and counts how often it was asked.
struct Counting(Rc<Cell<u32>>);

impl Filter<()> for Counting {
    fn event(&mut self, _: &mut Knote, (): &()) -> bool {
        self.0.set(self.0.get() + 1);
        true
    }
}

#[test]
fn a_filter_that_has_news_is_asked_once_and_not_trusted_later() {
    let mut knotes = Knotes::default();
    let asked = Rc::new(Cell::new(0));
    let add = change(0, EvFlags::ADD);
    knotes.insert(Knote::new(&add), Counting(Rc::clone(&asked)), &add, &());
    let (mut out, mut gone) = (Vec::new(), Vec::new());
    for (news, wanted) in [(&[(key(0), 0)][..], 2), (&[], 3), (&[(key(0), 0)], 4)] {
        knotes.scan(news, None, 9, &(), &mut out, &mut gone);
        assert_eq!(asked.get(), wanted);
    }
    assert_eq!(out.len(), 3);
}
