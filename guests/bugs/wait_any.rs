//! Waiting for the wrong id: an LWP waits for any LWP to end, and takes the first that does for the one it has started.
//!
//! Another part of the program has LWPs of its own. If one of those is the first, the waiter goes on before its own has
//! ended, and the other part waits for an id that is no more. Who has started an LWP waits for that one.

use crate::How;
use rt::check::Verdict;
use rt::lwp::{self, spawn};
use rt::sync::Word;
use rt::time::now;
use rt::{Errno, ensure};

/// Steps done by all.
static STEPS: Word = Word::new();

pub(crate) fn run(how: How) -> Verdict {
    let other_part = spawn(other_part);
    let helper = spawn(|| square(4));
    step();
    let result = match how {
        How::Bug => {
            while lwp::wait_any() == Err(Errno::EINTR) {}
            helper.result()
        }
        How::Fixed => Some(helper.join()?),
    };
    ensure!(result == Some(16), "the result is {result:?}, not 16");
    let result = other_part.join()?;
    ensure!(result == Some(9), "the other part has {result:?}, not 9");
    Ok(())
}

/// A part of the program that knows nothing of the first, and has a helper, too.
fn other_part() -> Option<u32> {
    let helper = spawn(|| square(3));
    step();
    helper.join().ok()
}

fn square(input: u32) -> u32 {
    step();
    input * input
}

fn step() {
    if now() != 0 {
        STEPS.add();
    }
}
