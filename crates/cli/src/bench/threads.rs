//! What Linux programs do with threads where NetBSD programs use LWPs: the same logic on
//! pthreads (`std::thread`, which calls `pthread_create`) and raw futexes.

use super::Costs;
use super::peers::Peer;
use super::rows::Trial;
use lwp_machine::peer::{HostThread, catch_peer_signals, handled, wait_handled};
use rustix::thread::{CpuSet, futex};
use std::hint::black_box;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, Once, mpsc};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

/// Stacks as small as the library allows, and a little more.
const STACK: usize = 64 << 10;
/// Threads in a ring, and threads woken together: as many as there are LWPs in the guest.
const RING: usize = 1000;
const TOGETHER: usize = 1024;
/// Everybody, as futex(2) wants it: a signed number.
const ALL: u32 = i32::MAX.cast_unsigned();
/// Threads are dear: of so many LWPs one is matched.
const LWPS_PER_THREAD: u64 = 50;

/// Measures a peer that is made of threads.
pub(crate) fn measure(peer: Peer, trial: &Trial) -> Result<Costs, String> {
    let name = trial.rows[0].cost;
    let count = trial.count;
    let one = |nanos: f64| vec![(name.to_owned(), nanos)];
    pinned(trial.cpus, || match peer {
        Peer::Getppid => Ok(one(each(count, || {
            black_box(rustix::process::getppid());
        }))),
        Peer::Vdso => Ok(one(each(count, || {
            black_box(Instant::now());
        }))),
        Peer::FutexPair => futex_pair(count, &cpus()?[..trial.cpus]).map(one),
        Peer::FutexRing => futex_ring(count).map(one),
        Peer::MutexCondvar => mutex_condvar(count).map(one),
        Peer::CreateJoin => create_join(count).map(one),
        Peer::CreateDetached => create_detached(count).map(one),
        Peer::FutexWakes => futex_wakes(count),
        Peer::StopParked => stop(count, Other::Waits).map(one),
        Peer::StopRunning => stop(count, Other::Computes).map(one),
        Peer::SignalSelf => Ok(one(signal_self(count))),
        Peer::SignalParked => signal_other(count, Other::Waits).map(one),
        Peer::SignalRunning => signal_other(count, Other::Computes).map(one),
        Peer::Nanosleep => Ok(lateness(["late_p50", "late_p99"], count, 200)),
        Peer::NanosleepBusy => busy(count),
        Peer::Threads => crowd(count).map(one),
        Peer::GoPair
        | Peer::Floor
        | Peer::Budget
        | Peer::HelloLinux
        | Peer::EsbuildLinux
        | Peer::Itself => Err(io::Error::other("it is not made of threads")),
    })
}

/// Does `work` on a thread that may use the first `count` CPUs of ours alone; what it starts inherits
/// that.
pub(crate) fn pinned<T: Send>(
    count: usize,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> Result<T, String> {
    let all = cpus().map_err(|why| why.to_string())?;
    let some = all
        .get(..count)
        .ok_or_else(|| format!("there are not {count} CPUs"))?;
    let done = thread::scope(|scope| {
        let worker = scope.spawn(|| {
            pin(some)?;
            work()
        });
        worker.join()
    });
    match done {
        Ok(result) => result.map_err(|why| why.to_string()),
        Err(_) => Err("it panicked".to_owned()),
    }
}

fn pin(to: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &cpu in to {
        set.set(cpu);
    }
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// The CPUs this thread may use.
fn cpus() -> io::Result<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None)?;
    let all = (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu));
    Ok(all.collect())
}

/// Nanoseconds for one of `count` operations, after a tenth to warm up.
fn each(count: u64, mut operation: impl FnMut()) -> f64 {
    (0..=count / 10).for_each(|_| operation());
    let start = Instant::now();
    (0..count).for_each(|_| operation());
    of(start.elapsed(), count)
}

/// Nanoseconds for one of `count`.
fn of(time: Duration, count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let count = count.max(1) as f64;
    time.as_secs_f64() * 1e9 / count
}

fn wait_while(word: &AtomicU32, value: u32) {
    while word.load(Ordering::Acquire) == value {
        // It may have changed meanwhile, or a signal came: looked at again.
        let _ = futex::wait(word, futex::Flags::PRIVATE, value, None);
    }
}

fn set_and_wake(word: &AtomicU32, value: u32) {
    word.store(value, Ordering::Release);
    // It fails for a bad address only.
    let _ = futex::wake(word, futex::Flags::PRIVATE, ALL);
}

fn small<'s, 'e, T: Send + 's>(
    scope: &'s Scope<'s, 'e>,
    work: impl FnOnce() -> T + Send + 's,
) -> io::Result<thread::ScopedJoinHandle<'s, T>> {
    thread::Builder::new()
        .stack_size(STACK)
        .spawn_scoped(scope, work)
}

/// A round trip between two threads that wake each other.
fn futex_pair(count: u64, cpus: &[usize]) -> io::Result<f64> {
    const STOP: u32 = 2;
    let turn = AtomicU32::new(0);
    let (first, last) = (cpus[0], cpus[cpus.len() - 1]);
    pin(&[first])?;
    thread::scope(|scope| {
        let turn = &turn;
        small(scope, move || {
            pin(&[last])?;
            loop {
                wait_while(turn, 0);
                if turn.load(Ordering::Acquire) == STOP {
                    return io::Result::Ok(());
                }
                set_and_wake(turn, 0);
            }
        })?;
        let nanos = each(count, || {
            set_and_wake(turn, 1);
            wait_while(turn, 1);
        });
        set_and_wake(turn, STOP);
        Ok(nanos)
    })
}

/// One turn in a ring of threads.
fn futex_ring(count: u64) -> io::Result<f64> {
    const STOP: u32 = 2;
    let words: Vec<_> = (0..RING).map(|_| AtomicU32::new(0)).collect();
    let left = AtomicU64::new(count);
    let done = AtomicU32::new(0);
    let stop = || words.iter().for_each(|word| set_and_wake(word, STOP));
    thread::scope(|scope| {
        for me in 0..RING {
            let (words, left, done) = (&words, &left, &done);
            let started = small(scope, move || {
                loop {
                    wait_while(&words[me], 0);
                    if words[me].load(Ordering::Relaxed) == STOP {
                        return;
                    }
                    words[me].store(0, Ordering::Relaxed);
                    if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                        set_and_wake(done, 1);
                    } else {
                        set_and_wake(&words[(me + 1) % RING], 1);
                    }
                }
            });
            if let Err(why) = started {
                stop();
                return Err(why);
            }
        }
        let start = Instant::now();
        set_and_wake(&words[0], 1);
        wait_while(&done, 0);
        let took = start.elapsed();
        stop();
        Ok(of(took, count))
    })
}

/// One item from one thread to another, through a place for one.
fn mutex_condvar(count: u64) -> io::Result<f64> {
    #[derive(Default)]
    struct Slot {
        item: Mutex<u64>,
        filled: Condvar,
        emptied: Condvar,
    }
    const LAST: u64 = u64::MAX;
    let slot = Slot::default();
    let poisoned = std::sync::PoisonError::into_inner;
    let put = |item| {
        let mut place = slot.item.lock().unwrap_or_else(poisoned);
        while *place != 0 {
            place = slot
                .emptied
                .wait(place)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        *place = item;
        slot.filled.notify_one();
    };
    let take = || {
        let mut place = slot.item.lock().unwrap_or_else(poisoned);
        while *place == 0 {
            place = slot
                .filled
                .wait(place)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        slot.emptied.notify_one();
        core::mem::take(&mut *place)
    };
    thread::scope(|scope| {
        small(scope, || while take() != LAST {})?;
        let nanos = each(count, || put(1));
        put(LAST);
        Ok(nanos)
    })
}

fn create_join(count: u64) -> io::Result<f64> {
    let mut failed = Ok(());
    let nanos = each(count, || {
        match thread::Builder::new().stack_size(STACK).spawn(|| ()) {
            // It does nothing that could fail.
            Ok(thread) => drop(thread.join()),
            Err(why) => failed = Err(why),
        }
    });
    failed.map(|()| nanos)
}

/// Detached threads, 64 at a time, until the last has run.
fn create_detached(count: u64) -> io::Result<f64> {
    const BATCH: u32 = 64;
    static LEFT: AtomicU32 = AtomicU32::new(0);
    let batches = count.div_ceil(BATCH.into());
    let start = Instant::now();
    for _ in 0..batches {
        LEFT.store(BATCH, Ordering::Release);
        for _ in 0..BATCH {
            thread::Builder::new().stack_size(STACK).spawn(|| {
                if LEFT.fetch_sub(1, Ordering::AcqRel) == 1 {
                    // Only woken, not set: the next batch may have begun.
                    let _ = futex::wake(&LEFT, futex::Flags::PRIVATE, 1);
                }
            })?;
        }
        loop {
            match LEFT.load(Ordering::Acquire) {
                0 => break,
                left => wait_while(&LEFT, left),
            }
        }
    }
    Ok(of(start.elapsed(), batches * u64::from(BATCH)))
}

/// Wakes threads that wait on futexes of their own: the calls alone, and until all have run.
fn futex_wakes(count: u64) -> io::Result<Costs> {
    const STOP: u32 = 2;
    let words: Vec<_> = (0..TOGETHER).map(|_| AtomicU32::new(0)).collect();
    let (home, all_home) = (AtomicU64::new(0), AtomicU32::new(0));
    let come_home = || {
        if home.fetch_add(1, Ordering::AcqRel) + 1 == TOGETHER as u64 {
            set_and_wake(&all_home, 1);
        }
    };
    let stop = || words.iter().for_each(|word| set_and_wake(word, STOP));
    thread::scope(|scope| {
        for word in &words {
            let started = small(scope, move || {
                loop {
                    come_home();
                    wait_while(word, 0);
                    if word.load(Ordering::Relaxed) == STOP {
                        return;
                    }
                    word.store(0, Ordering::Relaxed);
                }
            });
            if let Err(why) = started {
                stop();
                return Err(why);
            }
        }
        wait_while(&all_home, 0);
        let (mut calls, mut turns) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..count {
            // The last to come home is still on its way to the futex.
            thread::sleep(Duration::from_millis(1));
            all_home.store(0, Ordering::Relaxed);
            home.store(0, Ordering::Relaxed);
            let start = Instant::now();
            for word in &words {
                set_and_wake(word, 1);
            }
            calls += start.elapsed();
            wait_while(&all_home, 0);
            turns += start.elapsed();
        }
        stop();
        let costs = [("unpark_all", calls), ("unpark_all_run", turns)];
        Ok(costs
            .map(|(name, took)| (name.to_owned(), of(took, count)))
            .into())
    })
}

/// What the other thread does when a signal finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    Waits,
    Computes,
}

/// Calls `measure` with a thread that does nothing else.
fn with_other(other: Other, measure: impl FnOnce(HostThread) -> f64) -> io::Result<f64> {
    static HANDLERS: Once = Once::new();
    HANDLERS.call_once(catch_peer_signals);
    let over = AtomicU32::new(0);
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let over = &over;
        small(scope, move || {
            // The receiver waits.
            let _ = tell.send(HostThread::current());
            match other {
                Other::Waits => wait_while(over, 0),
                Other::Computes => {
                    while over.load(Ordering::Relaxed) == 0 {
                        core::hint::spin_loop();
                    }
                }
            }
        })?;
        let thread = told.recv().map_err(io::Error::other)?;
        let nanos = measure(thread);
        set_and_wake(over, 1);
        Ok(nanos)
    })
}

fn stop(count: u64, other: Other) -> io::Result<f64> {
    with_other(other, |thread| {
        each(count, || {
            thread.stop();
            thread.go_on();
        })
    })
}

fn signal_other(count: u64, other: Other) -> io::Result<f64> {
    with_other(other, |thread| {
        each(count, || {
            let seen = handled();
            thread.interrupt();
            match other {
                Other::Waits => wait_handled(seen),
                Other::Computes => {
                    while handled() == seen {
                        core::hint::spin_loop();
                    }
                }
            }
        })
    })
}

fn signal_self(count: u64) -> f64 {
    catch_peer_signals();
    let me = HostThread::current();
    each(count, || me.interrupt())
}

/// The middle lateness of a sleep, and the 99th of 100.
fn lateness(names: [&str; 2], count: u64, micros: u64) -> Costs {
    let nap = Duration::from_micros(micros);
    let mut late: Vec<_> = (0..count.max(1))
        .map(|_| {
            let due = Instant::now() + nap;
            thread::sleep(nap);
            due.elapsed()
        })
        .collect();
    late.sort_unstable();
    let [p50, p99] = [late.len() / 2, late.len() * 99 / 100].map(|at| of(late[at], 1));
    vec![(names[0].to_owned(), p50), (names[1].to_owned(), p99)]
}

/// The lateness of a sleep of 5 ms while another thread computes on the same CPU.
fn busy(count: u64) -> io::Result<Costs> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        small(scope, || {
            while !over.load(Ordering::Relaxed) {
                black_box(());
            }
        })?;
        let costs = lateness(["preempt_p50", "preempt_p99"], count, 5000);
        over.store(true, Ordering::Relaxed);
        Ok(costs)
    })
}

/// Threads that all wait, are all woken and joined; as many as there are, for one of many LWPs.
fn crowd(count: u64) -> io::Result<f64> {
    let count = count.div_ceil(LWPS_PER_THREAD);
    let gate = AtomicU32::new(0);
    let start = Instant::now();
    let made = thread::scope(|scope| {
        let made = (0..count).try_for_each(|_| small(scope, || wait_while(&gate, 0)).map(drop));
        set_and_wake(&gate, 1);
        made
    });
    made.map(|()| of(start.elapsed(), count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows::trials;

    #[test]
    fn every_peer_made_of_threads_measures_its_rows() {
        for trial in trials(1, "").iter().filter(|trial| trial.cpus == 1) {
            let made_of_threads = |peer: &&Peer| {
                !matches!(
                    peer,
                    Peer::GoPair
                        | Peer::Floor
                        | Peer::Budget
                        | Peer::HelloLinux
                        | Peer::EsbuildLinux
                        | Peer::Itself
                )
            };
            for &peer in trial.peers.iter().filter(made_of_threads) {
                let few = Trial {
                    count: trial.count.min(20),
                    ..trial.clone()
                };
                let costs = measure(peer, &few).unwrap();
                assert!(
                    costs.iter().any(|(name, _)| name == few.rows[0].cost),
                    "{peer:?}"
                );
            }
        }
    }
}
