//! Use after detach: the record of a detached LWP is written to when the LWP may have freed it and be gone.
//!
//! Nobody waits for a detached LWP, so nobody but itself knows when it has ended. What it shares with its creator
//! belongs to whoever of the two needs it last: here, each lets go of the record, and the second frees it.

use crate::How;
use rt::abi::lwp::LwpId;
use rt::check::Verdict;
use rt::lwp::{self, How as Start};
use rt::sync::Word;
use rt::time::now;
use rt::vm::{self, Area, PAGE};

const LWPS: u32 = 3;

/// What a detached LWP is told, and what is known about it; in a page of its own.
type Record = [Word; 3];
/// Whether it may begin.
const BEGIN: usize = 0;
/// Whether the time of that has been noted.
const NOTED: usize = 1;
/// How many have let go of the record.
const LET_GO: usize = 2;

/// LWPs that have begun to wait, and those that have done their work.
static READY: Word = Word::new();
static DONE: Word = Word::new();

pub(crate) fn run(how: How) -> Verdict {
    let me = lwp::me();
    let mut pages = [None; LWPS as usize];
    for page in &mut pages {
        let new = vm::map(PAGE)?;
        let lwp = Start::new().detached().spawn(move || work(how, new, me))?;
        *page = Some((new, lwp.lid));
    }
    wait_for_all(&READY);
    for (page, lid) in pages.into_iter().flatten() {
        begin(how, page, lid);
    }
    wait_for_all(&DONE);
    Ok(())
}

/// Parks until all have counted themselves.
fn wait_for_all(count: &Word) {
    while count.get() < LWPS {
        let _ = lwp::park();
    }
}

/// Counts the caller, for the creator to see.
fn count_me(count: &Word, creator: LwpId) {
    count.add();
    // It waits for all of us, and has not ended.
    let _ = lwp::unpark(creator);
}

/// Lets an LWP begin, and notes when.
fn begin(how: How, page: Area, lid: LwpId) {
    let record: &Record = page.shared();
    record[BEGIN].set(1);
    // It may have looked by itself, and be gone.
    let _ = lwp::unpark(lid);
    record[NOTED].set(u32::from(now() != 0));
    match how {
        How::Bug => {}
        How::Fixed => let_go(page),
    }
}

fn work(how: How, page: Area, creator: LwpId) {
    let record: &Record = page.shared();
    count_me(&READY, creator);
    while record[BEGIN].get() == 0 {
        let _ = lwp::park();
    }
    match how {
        How::Bug => page.unmap(),
        How::Fixed => let_go(page),
    }
    count_me(&DONE, creator);
}

/// The second of two frees the record.
fn let_go(page: Area) {
    let record: &Record = page.shared();
    if record[LET_GO].add() == 1 {
        page.unmap();
    }
}
