//! Reuse of an id: a signal is sent to an LWP that may be gone, and its id another's.
//!
//! "If it has ended meanwhile, there is ESRCH, and all is well." On NetBSD the id that equals the process id goes to
//! the next new LWP as soon as its bearer has been waited for. So the first LWP of this program hands over to another
//! and exits; tasks that run one after the other then all have its id. Who wants to cancel one has to know that it runs,
//! and goes on running until the signal is sent: cancelling and ending use one lock.

use crate::How;
use rt::abi::lwp::LwpId;
use rt::abi::signal::{SaFlags, Siginfo, Signo};
use rt::abi::ucontext::Ucontext;
use rt::check::Verdict;
use rt::lock::{Condvar, Mutex};
use rt::lwp::{self, spawn};
use rt::sync::Word;
use rt::time::now;
use rt::{Errno, ensure, process, sig};

/// Tasks, numbered from 1; the first is not wanted for long.
const TASKS: u32 = 4;
const UNWANTED: u32 = 1;
/// Steps of each.
const STEPS: u32 = 4;

/// What is known of the task that is not wanted.
struct Unwanted {
    lid: Option<LwpId>,
    /// Whether somebody sees to it that it does not run for long.
    watched: bool,
    runs: bool,
}

static TASK: Mutex<Unwanted> = Mutex::new(Unwanted {
    lid: None,
    watched: false,
    runs: false,
});
static CHANGED: Condvar = Condvar::new();
/// The number of the task that runs.
static NUMBER: Word = Word::new();
/// The number of the task that a signal has reached.
static CANCELLED: Word = Word::new();
/// Steps done by all.
static DONE: Word = Word::new();

pub(crate) fn run(how: How) -> Verdict {
    sig::catch(Signo::SIGUSR1, cancelled, SaFlags::empty())?;
    let first = lwp::me();
    spawn(move || process::exit(crate::report(go_on(how, first))));
    lwp::exit()
}

/// What is left to do when the first LWP has handed over.
fn go_on(how: How, first: LwpId) -> Verdict {
    let canceller = spawn(move || cancel(how).is_ok());
    while lwp::wait(first) == Err(Errno::EINTR) {}
    for number in 1..=TASKS {
        NUMBER.set(number);
        spawn(move || task(number)).join()?;
    }
    ensure!(canceller.join()?, "no signal could be sent");
    let hit = CANCELLED.get();
    ensure!(hit <= UNWANTED, "task {hit} was cancelled, not {UNWANTED}");
    Ok(())
}

fn task(number: u32) {
    if number == UNWANTED {
        begin();
    }
    for _ in 0..STEPS {
        step();
    }
    if number == UNWANTED {
        TASK.lock().runs = false;
    }
}

/// Says that the task runs, and waits until it is watched.
fn begin() {
    let lid = lwp::me();
    let mut task = TASK.lock();
    task.lid = Some(lid);
    task.runs = true;
    CHANGED.broadcast();
    while !task.watched {
        task = CHANGED.wait(task);
    }
}

/// Waits until the task has begun.
fn watch() -> LwpId {
    let mut task = TASK.lock();
    loop {
        if let Some(lid) = task.lid {
            task.watched = true;
            CHANGED.broadcast();
            return lid;
        }
        task = CHANGED.wait(task);
    }
}

/// Watches the task, and cancels it after a step.
fn cancel(how: How) -> Result<(), Errno> {
    let lid = watch();
    step();
    match how {
        How::Bug => {
            // ESRCH: it has ended.
            let _ = lwp::kill(lid, Signo::SIGUSR1.raw());
        }
        How::Fixed => {
            let task = TASK.lock();
            if task.runs {
                lwp::kill(lid, Signo::SIGUSR1.raw())?;
            }
        }
    }
    Ok(())
}

extern "C" fn cancelled(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
    CANCELLED.set(NUMBER.get());
}

fn step() {
    if now() != 0 {
        DONE.add();
    }
}
