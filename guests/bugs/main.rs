//! Concurrency bugs as people write them, each with its correct twin.
//!
//! `bugs NAME` runs a bug, `bugs NAME fixed` its twin, `bugs` alone lists them: the name, how many of its racing windows
//! hold no system call, and what people get wrong. One file is one bug; the bug and its twin are in it side by side, as
//! the two arms of a `match`.
//!
//! A run in which the bug does not show, and every run of a twin, prints `ok` and ends with exit status 0. A bug shows
//! as exit status 1 with a line on standard error, as a signal that kills the program, or as a hang.
//!
//! What must hold:
//! 1. A twin is right under every schedule that NetBSD permits, with parks that return early, wake-ups in any order,
//!    signals that come late, calls that a signal interrupts, reads and writes that come short, LWPs that start late.
//! 2. No outcome depends on how fast anything is. Nothing sleeps for a time.
//! 3. A bug's window holds no call that its twin does not make as well.
//! 4. Words without a lock are atomics, so that the compiler keeps the accesses as they are written. `Relaxed` marks
//!    those that the bug is about.

#![no_std]
#![no_main]

mod aba;
mod abba;
mod cond_if;
mod counter;
mod detach;
mod double_checked;
mod fd_reuse;
mod lid_reuse;
mod lost_wakeup;
mod missed_signal;
mod notify_unlocked;
mod order;
mod publish;
mod semaphore;
mod signal_one;
mod starvation;
mod torn;
mod wait_any;

use rt::check::Verdict;
use rt::fmt::line;
use rt::start::Args;
use rt::{complain, say};

rt::main!(main);

/// Which of the two is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    /// As people write it.
    Bug,
    /// Its twin.
    Fixed,
}

/// One bug.
struct Bug {
    name: &'static str,
    /// How many of its racing windows hold no system call.
    bare: u32,
    about: &'static str,
    run: fn(How) -> Verdict,
}

const BUGS: &[Bug] = &[
    Bug {
        name: "lost-wakeup",
        bare: 0,
        about: "looks whether there is work, and only then says that it is going to sleep",
        run: lost_wakeup::run,
    },
    Bug {
        name: "cond-if",
        bare: 0,
        about: "takes the end of a wait for what it waited for, and does not look again",
        run: cond_if::run,
    },
    Bug {
        name: "abba",
        bare: 0,
        about: "takes two locks in the order in which the arguments come",
        run: abba::run,
    },
    Bug {
        name: "order",
        bare: 1,
        about: "lets a new LWP use what its creator writes when the creation has returned",
        run: order::run,
    },
    Bug {
        name: "double-checked",
        bare: 1,
        about: "shows a table to those who look without the lock, and fills it then",
        run: double_checked::run,
    },
    Bug {
        name: "publish",
        bare: 0,
        about: "counts a connection as open before it has its descriptors",
        run: publish::run,
    },
    Bug {
        name: "semaphore",
        bare: 1,
        about: "raises a semaphore's count by a load and a store",
        run: semaphore::run,
    },
    Bug {
        name: "missed-signal",
        bare: 0,
        about: "looks whether the signal has come, and then waits for it",
        run: missed_signal::run,
    },
    Bug {
        name: "detach",
        bare: 0,
        about: "writes to the record of a detached LWP, which may have freed it and be gone",
        run: detach::run,
    },
    Bug {
        name: "wait-any",
        bare: 0,
        about: "waits for any LWP, and takes the first that ends for its own",
        run: wait_any::run,
    },
    Bug {
        name: "lid-reuse",
        bare: 0,
        about: "sends a signal to an id whose LWP may be gone, and the id another's",
        run: lid_reuse::run,
    },
    Bug {
        name: "starvation",
        bare: 0,
        about: "lets readers in although a writer has been waiting for longer",
        run: starvation::run,
    },
    Bug {
        name: "fd-reuse",
        bare: 0,
        about: "closes a descriptor that another LWP is about to write to",
        run: fd_reuse::run,
    },
    Bug {
        name: "counter",
        bare: 1,
        about: "takes the next place of a log by a load and a store",
        run: counter::run,
    },
    Bug {
        name: "torn",
        bare: 2,
        about: "reads and writes several words that belong together without a lock",
        run: torn::run,
    },
    Bug {
        name: "aba",
        bare: 1,
        about: "takes the head of a lock-free list for unchanged because it is the same node",
        run: aba::run,
    },
    Bug {
        name: "notify-unlocked",
        bare: 0,
        about: "changes what others wait for without the mutex of their condition variable",
        run: notify_unlocked::run,
    },
    Bug {
        name: "signal-one",
        bare: 0,
        about: "wakes one of several that wait for different things",
        run: signal_one::run,
    },
];

const STDOUT: i32 = 1;
const STDERR: i32 = 2;

fn main(args: Args) -> i32 {
    let how = match args.arg(2) {
        "" => How::Bug,
        "fixed" => How::Fixed,
        other => {
            complain!("bugs: {other}: `fixed`, or nothing, is wanted here");
            return 2;
        }
    };
    let name = args.arg(1);
    if matches!(name, "" | "list") {
        list(STDOUT);
        return 0;
    }
    let Some(bug) = BUGS.iter().find(|bug| bug.name == name) else {
        complain!("bugs: {name}: there is no such bug, only:");
        list(STDERR);
        return 2;
    };
    report((bug.run)(how))
}

fn list(fd: i32) {
    for Bug {
        name, bare, about, ..
    } in BUGS
    {
        line(fd, format_args!("{name:15} {bare} {about}"));
    }
}

/// Says how a run went: the exit status.
fn report(verdict: Verdict) -> i32 {
    match verdict {
        Ok(()) => {
            say!("ok");
            0
        }
        Err(fail) => {
            complain!("bugs: {fail}");
            1
        }
    }
}
