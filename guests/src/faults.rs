//! Three programs with a fault each, for the views that are to name the culprit.
//!
//! | argument | what is wrong | what shows it |
//! |---|---|---|
//! | `convoy` | an LWP called `slow` computes with a lock held that four others want all the time | `lwp run --stats` |
//! | `lost` | an LWP called `consumer` waits for a second wake-up; the two that came early were one | the runner's report, `lwp ps --waits` |
//! | `spin` | an LWP called `spinner` waits for a word that nobody writes, without a system call | `lwp top` |
//!
//! Without an argument it says so, and ends.

#![no_std]
#![no_main]

use core::ffi::CStr;
use core::sync::atomic::{AtomicU32, Ordering};
use rt::lwp::{self, Task, spawn};
use rt::say;
use rt::start::Args;
use rt::sync::{Word, yield_now};
use rt::time::now;

rt::main!(main);

/// LWPs that want the lock of `convoy`.
const QUICK: usize = 4;
const QUICK_ONES: u32 = 4;
/// How often `slow` takes it.
const ROUNDS: u32 = 50;
/// For how long `slow` has it, in nanoseconds.
const HELD: u64 = 1_000_000;

fn main(args: Args) -> i32 {
    match args.arg(1) {
        "convoy" => convoy(),
        "lost" => lost(),
        "spin" => spin(),
        _ => say!("faults: one of convoy, lost, spin"),
    }
    0
}

/// Starts an LWP with a name.
fn start(name: &'static CStr, body: impl FnOnce() + Send + 'static) -> Task<()> {
    spawn(move || {
        lwp::setname(lwp::me(), name).expect("a name");
        body();
    })
}

/// A lock that is taken in turns: a number is drawn, and who comes next is unparked.
struct Tickets {
    drawn: AtomicU32,
    served: AtomicU32,
    /// The ids of those who wait, by their numbers.
    waiting: [AtomicU32; 2 * (QUICK + 1)],
}

impl Tickets {
    const fn new() -> Self {
        Self {
            drawn: AtomicU32::new(0),
            served: AtomicU32::new(0),
            waiting: [const { AtomicU32::new(0) }; 2 * (QUICK + 1)],
        }
    }

    fn place(&self, number: u32) -> &AtomicU32 {
        let len = u32::try_from(self.waiting.len()).unwrap_or(1);
        &self.waiting[usize::try_from(number % len).unwrap_or(0)]
    }

    fn lock(&self) -> u32 {
        let number = self.drawn.fetch_add(1, Ordering::SeqCst);
        let me = lwp::me().raw().unsigned_abs();
        self.place(number).store(me, Ordering::SeqCst);
        while self.served.load(Ordering::SeqCst) != number {
            // Whatever ended it, the number is looked at again.
            let _ = lwp::park();
        }
        number
    }

    fn unlock(&self, number: u32) {
        self.place(number).store(0, Ordering::SeqCst);
        self.served.store(number.wrapping_add(1), Ordering::SeqCst);
        let next = self.place(number.wrapping_add(1)).load(Ordering::SeqCst);
        if next != 0 {
            // It may have seen its number before it parked, and be gone.
            let _ = lwp::unpark(lwp_abi::lwp::LwpId::new(next.cast_signed()));
        }
    }
}

static TICKETS: Tickets = Tickets::new();

/// LWPs that have begun to take the lock; and whether `slow` is through.
static BEGUN: Word = Word::new();
static THROUGH: Word = Word::new();

/// Takes the lock, keeps it for `held` nanoseconds, and gives it back.
fn turn(held: u64) {
    let number = TICKETS.lock();
    let begun = now();
    while now() - begun < held {
        // On one vcpu, too, the others come as far as the lock.
        yield_now();
    }
    TICKETS.unlock(number);
}

fn convoy() {
    let slow = start(c"slow", || {
        BEGUN.wait(QUICK_ONES).expect("the others");
        for _ in 0..ROUNDS {
            turn(HELD);
        }
        THROUGH.set(1);
    });
    let quick = [(); QUICK].map(|()| {
        start(c"quick", || {
            BEGUN.add();
            while THROUGH.get() == 0 {
                turn(0);
            }
        })
    });
    for task in quick.into_iter().chain([slow]) {
        task.join().expect("its end");
    }
    say!("all rounds done");
}

/// How many items the consumer may take.
static ITEMS: Word = Word::new();

fn lost() {
    let consumer = start(c"consumer", || {
        // Both items are there before it parks.
        ITEMS.spin(2);
        for _ in 0..2 {
            let _ = lwp::park();
        }
    });
    for _ in 0..2 {
        lwp::unpark(consumer.lid).expect("it lives");
        ITEMS.add();
    }
    consumer.join().expect("its end");
}

/// Nobody writes it.
static NEVER: Word = Word::new();

fn spin() {
    let spinner = start(c"spinner", || NEVER.spin(1));
    spinner.join().expect("its end");
}
