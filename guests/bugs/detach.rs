//! Use after detach: the record of a detached LWP is written to when the LWP may have freed it and be gone.
//!
//! Nobody waits for a detached LWP, so nobody but itself knows when it has ended. What it shares with its creator
//! belongs to whoever of the two needs it last: here, each lets go of the record, and the second frees it.

use crate::How;
use core::sync::atomic::Ordering;
use rt::check::Verdict;
use rt::lwp::{self, How as Start};
use rt::sync::Word;
use rt::time::now;
use rt::vm::{self, Area, PAGE};
use rt::{abi::lwp::LwpId, ensure};

const LWPS: u32 = 4;

/// What a detached LWP is told, and what is known about it; in a page of its own.
type Record = [Word; 3];
/// The number of which it computes the square.
const INPUT: usize = 0;
/// Whether the time of its start has been noted.
const NOTED: usize = 1;
/// How many have let go of the record.
const LET_GO: usize = 2;

/// LWPs that have done their work, and the sum of the squares.
static DONE: Word = Word::new();
static SUM: Word = Word::new();

pub(crate) fn run(how: How) -> Verdict {
    let me = lwp::me();
    for input in 0..LWPS {
        start(how, input, me)?;
    }
    while DONE.get() < LWPS {
        let _ = lwp::park();
    }
    let wanted = (0..LWPS).map(|n| n * n).sum();
    ensure!(
        SUM.get() == wanted,
        "the sum is {}, not {wanted}",
        SUM.get()
    );
    Ok(())
}

/// Starts a detached LWP, and notes when.
fn start(how: How, input: u32, creator: LwpId) -> Verdict {
    let page = vm::map(PAGE)?;
    let record: &Record = page.shared();
    record[INPUT].set(input);
    Start::new()
        .detached()
        .spawn(move || work(how, page, creator))?;
    record[NOTED].set(u32::from(now() != 0));
    match how {
        How::Bug => {}
        How::Fixed => let_go(page),
    }
    Ok(())
}

fn work(how: How, page: Area, creator: LwpId) {
    let record: &Record = page.shared();
    let input = record[INPUT].get();
    SUM.atomic().fetch_add(input * input, Ordering::SeqCst);
    match how {
        How::Bug => page.unmap(),
        How::Fixed => let_go(page),
    }
    DONE.add();
    // It waits for all of us.
    let _ = lwp::unpark(creator);
}

/// The second of two frees the record.
fn let_go(page: Area) {
    let record: &Record = page.shared();
    if record[LET_GO].add() == 1 {
        page.unmap();
    }
}
