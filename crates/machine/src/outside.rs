//! Signals from outside: the queue between the handler that catches them and the vcpu that reports
//! them to the kernel.
//!
//! # Invariants
//! 1. [`push`] is called by signal handlers: it takes no lock, allocates nothing and never waits.
//! 2. A slot's `turn` says whose it is: `2 * lap` the pushers', `2 * lap + 1` the poppers'.
//! 3. When the queue is full a signal is dropped: standard signals coalesce anyway, and 256 queued
//!    ones mean that no vcpu has polled for a long time.
//!
//! # Locks
//! None; a bounded queue after Dmitry Vyukov's description.

use crate::size;
use core::sync::atomic::{AtomicU64, Ordering};
use lwp_abi::lwp::Pid;
use lwp_abi::signal::{SI_NOINFO, SI_QUEUE, SI_TIMER, SI_USER, Siginfo, Signo};
use lwp_kernel::machine::Event;

const SLOTS: u64 = 256;

/// A signal as Linux gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostSignal {
    pub(crate) signo: i32,
    pub(crate) code: i32,
    pub(crate) pid: i32,
    pub(crate) uid: u32,
    pub(crate) value: u64,
}

struct Slot {
    turn: AtomicU64,
    words: [AtomicU64; 3],
}

struct Queue {
    slots: [Slot; 256],
    pushed: AtomicU64,
    popped: AtomicU64,
}

static QUEUE: Queue = Queue::new();

/// Queues a signal; `false` if there was no room.
pub(crate) fn push(signal: HostSignal) -> bool {
    QUEUE.push(signal)
}

/// Whether [`drain`] would find anything.
pub(crate) fn waiting() -> bool {
    QUEUE.waiting()
}

/// Moves everything queued to `events`, in NetBSD's terms. Signals NetBSD does not have are dropped.
pub(crate) fn drain(events: &mut Vec<Event>) {
    while let Some(signal) = QUEUE.pop() {
        events.extend(translate(&signal));
    }
}

/// Forgets everything queued: in a fork child, where it was the parent's.
pub(crate) fn clear() {
    while QUEUE.pop().is_some() {}
}

impl Queue {
    const fn new() -> Self {
        Self {
            slots: [const {
                Slot {
                    turn: AtomicU64::new(0),
                    words: [AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)],
                }
            }; 256],
            pushed: AtomicU64::new(0),
            popped: AtomicU64::new(0),
        }
    }

    fn slot(&self, at: u64) -> (&Slot, u64) {
        (&self.slots[size(at % SLOTS)], 2 * (at / SLOTS))
    }

    fn push(&self, signal: HostSignal) -> bool {
        let mut at = self.pushed.load(Ordering::Relaxed);
        loop {
            let (slot, lap) = self.slot(at);
            // Pairs with the release in `pop`: the slot's words have been read.
            let turn = slot.turn.load(Ordering::Acquire);
            if turn < lap {
                return false;
            }
            if turn > lap {
                at = self.pushed.load(Ordering::Relaxed);
                continue;
            }
            match self.pushed.compare_exchange_weak(
                at,
                at + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    let words = signal.pack();
                    for (to, from) in slot.words.iter().zip(words) {
                        to.store(from, Ordering::Relaxed);
                    }
                    // Pairs with the acquire in `pop`.
                    slot.turn.store(lap + 1, Ordering::Release);
                    return true;
                }
                Err(now) => at = now,
            }
        }
    }

    fn pop(&self) -> Option<HostSignal> {
        let mut at = self.popped.load(Ordering::Relaxed);
        loop {
            let (slot, lap) = self.slot(at);
            // Pairs with the release in `push`.
            let turn = slot.turn.load(Ordering::Acquire);
            if turn <= lap {
                return None;
            }
            if turn > lap + 1 {
                at = self.popped.load(Ordering::Relaxed);
                continue;
            }
            match self.popped.compare_exchange_weak(
                at,
                at + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    let signal = HostSignal::unpack(
                        slot.words
                            .each_ref()
                            .map(|word| word.load(Ordering::Relaxed)),
                    );
                    // Pairs with the acquire in `push`.
                    slot.turn.store(lap + 2, Ordering::Release);
                    return Some(signal);
                }
                Err(now) => at = now,
            }
        }
    }

    fn waiting(&self) -> bool {
        self.pushed.load(Ordering::Relaxed) != self.popped.load(Ordering::Relaxed)
    }
}

impl HostSignal {
    fn pack(self) -> [u64; 3] {
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        [
            pair(self.signo.cast_unsigned(), self.code.cast_unsigned()),
            pair(self.pid.cast_unsigned(), self.uid),
            self.value,
        ]
    }

    fn unpack([first, second, value]: [u64; 3]) -> Self {
        let low = |word: u64| u32::try_from(word & 0xffff_ffff).unwrap_or(0);
        let high = |word: u64| u32::try_from(word >> 32).unwrap_or(0);
        Self {
            signo: low(first).cast_signed(),
            code: high(first).cast_signed(),
            pid: low(second).cast_signed(),
            uid: high(second),
            value,
        }
    }
}

/// A signal in NetBSD's terms, if NetBSD has it.
fn translate(signal: &HostSignal) -> Option<Event> {
    let signo = Signo::from_linux(signal.signo)?;
    if signo == Signo::SIGCHLD && signal.code > 0 {
        let info = child(signal);
        return Some(Event::Signal { signo, info });
    }
    let code = match signal.code {
        libc::SI_USER | libc::SI_TKILL => SI_USER,
        libc::SI_QUEUE => SI_QUEUE,
        libc::SI_TIMER => SI_TIMER,
        // From the terminal and the like: `SI_KERNEL` has no sender.
        _ => {
            return Some(Event::Signal {
                signo,
                info: Siginfo::new(signo, SI_NOINFO),
            });
        }
    };
    let info = Siginfo::rt(signo, code, Pid::new(signal.pid), signal.uid, signal.value);
    Some(Event::Signal { signo, info })
}

/// What became of a child. The codes are the same on both systems; what it used is for wait4(2) to tell.
fn child(signal: &HostSignal) -> Siginfo {
    let host_status = u32::try_from(signal.value).unwrap_or(0).cast_signed();
    let status = match signal.code {
        libc::CLD_EXITED => host_status,
        _ => Signo::from_linux(host_status).map_or(host_status, Signo::raw),
    };
    Siginfo::child(signal.code, Pid::new(signal.pid), signal.uid, status, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(value: u64) -> HostSignal {
        HostSignal {
            signo: -2,
            code: libc::SI_QUEUE,
            pid: -7,
            uid: u32::MAX,
            value,
        }
    }

    #[test]
    fn signals_come_out_in_order_and_whole() {
        let queue = Queue::new();
        for lap in 0..3 {
            for value in 0..SLOTS {
                assert!(queue.push(signal(lap * SLOTS + value)));
            }
            assert!(!queue.push(signal(0)), "full");
            assert!(queue.waiting());
            for value in 0..SLOTS {
                assert_eq!(queue.pop(), Some(signal(lap * SLOTS + value)));
            }
            assert_eq!(queue.pop(), None);
            assert!(!queue.waiting());
        }
    }

    #[test]
    fn pushers_and_poppers_at_once_lose_and_double_nothing() {
        let queue = Queue::new();
        let sum = AtomicU64::new(0);
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    for value in 1..=10_000 {
                        while !queue.push(signal(value)) {
                            std::thread::yield_now();
                        }
                    }
                });
                threads.spawn(|| {
                    for _ in 0..10_000 {
                        let got = loop {
                            match queue.pop() {
                                Some(got) => break got,
                                None => std::thread::yield_now(),
                            }
                        };
                        sum.fetch_add(got.value, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 2 * 10_000 * 10_001 / 2);
    }

    #[test]
    fn senders_are_told_and_terminals_are_nobody() {
        let sent = HostSignal {
            signo: libc::SIGTERM,
            code: libc::SI_USER,
            pid: 7,
            uid: 8,
            value: 0,
        };
        let Some(Event::Signal { signo, info }) = translate(&sent) else {
            panic!("translated")
        };
        assert_eq!(
            (signo, info.pid().raw(), info.uid()),
            (Signo::SIGTERM, 7, 8)
        );
        let typed = HostSignal {
            code: libc::SI_KERNEL,
            ..sent
        };
        let Some(Event::Signal { info, .. }) = translate(&typed) else {
            panic!("translated")
        };
        assert_eq!((info.si_code, info.pid().raw()), (SI_NOINFO, 0));
        assert!(translate(&HostSignal { signo: 33, ..sent }).is_none());
    }
}
