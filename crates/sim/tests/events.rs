//! The kernel's event stream: what is told, in which order, and by whom.
#![allow(
    clippy::unwrap_used,
    reason = "a test may say so by panicking, in its helpers too"
)]

use core::time::Duration;
use lwp_abi::errno::Errno;
use lwp_abi::lwp::{LwpId, LwpState};
use lwp_abi::nr;
use lwp_abi::signal::{SaFlags, SigSet, Signo};
use lwp_kernel::events::{Event, Listener, What};
use lwp_kernel::life::Start;
use lwp_kernel::machine::ExitWith;
use lwp_kernel::run::{Ended as CallEnded, Ret};
use lwp_sim::{Ended, PID, Sim, Threads, User, seeds};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

/// Keeps all events.
#[derive(Default)]
struct Log(Mutex<Vec<Event>>);

impl Listener for Log {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap().push(*event);
    }
}

const MAIN: LwpId = LwpId::new(PID);

/// Runs `main` under `seed` to exit status 0; what was told.
fn told<F>(seed: u64, main: impl Fn(User) -> F + Send + Sync + 'static) -> Vec<Event>
where
    F: Future<Output = ()> + Send + 'static,
{
    let log = Arc::new(Log::default());
    let listener: Arc<dyn Listener> = Arc::<Log>::clone(&log);
    let ended = Sim::with_listener(seed, listener, main).run();
    assert_eq!(ended, Ended::Exit(ExitWith::Code(0)), "seed {seed}");
    let events = log.0.lock().unwrap().clone();
    check(&events, seed);
    events
}

/// What was told of `lid`, without switches and calls.
fn of(events: &[Event], lid: LwpId) -> Vec<(What, Option<LwpId>)> {
    let is_kept = |what: &What| {
        !matches!(
            what,
            What::SwitchIn | What::SwitchOut { .. } | What::Enter { .. } | What::Leave { .. }
        )
    };
    events
        .iter()
        .filter(|event| event.lid == lid && is_kept(&event.what))
        .map(|event| (event.what, event.by))
        .collect()
}

/// The lid of the only LWP that the first one has made.
fn child(events: &[Event]) -> LwpId {
    let made: Vec<_> = events
        .iter()
        .filter(|event| event.lid != MAIN && matches!(event.what, What::Create { .. }))
        .collect();
    assert_eq!(made.len(), 1);
    made[0].lid
}

/// Lets time pass until an LWP is parked.
async fn until_parked(user: &User, lid: i32) {
    let lwp = user.kernel().lids.find(lid).unwrap();
    let is_parked = || lwp.lock().wmesg == "parked" && lwp.lock().stat == LwpState::Sleep;
    user.until("it is parked", is_parked).await;
}

/// Where the stream says an LWP is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Made,
    Runnable,
    Running,
    /// It goes to sleep, suspends itself or stops, and is still on its vcpu.
    Leaving,
    Waiting,
    Exited,
    Reaped,
}

/// The order that `events.rs` promises, for any run.
#[expect(clippy::too_many_lines, reason = "one table of states")]
fn check(events: &[Event], seed: u64) {
    let mut at: HashMap<LwpId, At> = HashMap::new();
    let mut started: HashMap<LwpId, bool> = HashMap::new();
    let mut on: HashMap<usize, LwpId> = HashMap::new();
    for (i, event) in events.iter().enumerate() {
        let say = |what: &str| format!("seed {seed}, event {i}: {what}: {event:?}");
        let lid = event.lid;
        let was = at.get(&lid).copied();
        let now = match event.what {
            What::Create { .. } => {
                assert!(
                    matches!(was, None | Some(At::Reaped)),
                    "{}",
                    say("made twice")
                );
                started.insert(lid, false);
                At::Made
            }
            What::Start => {
                assert_eq!(was, Some(At::Running), "{}", say("starts without running"));
                assert_eq!(
                    started.insert(lid, true),
                    Some(false),
                    "{}",
                    say("starts twice")
                );
                At::Running
            }
            What::Enter { .. } | What::Leave { .. } | What::Fault { .. } => {
                assert_eq!(
                    started.get(&lid),
                    Some(&true),
                    "{}",
                    say("before it started")
                );
                assert!(
                    matches!(was, Some(At::Running | At::Leaving)),
                    "{}",
                    say("by whom?")
                );
                assert_eq!(event.by, Some(lid), "{}", say("another's call"));
                continue;
            }
            What::SwitchIn => {
                assert_eq!(was, Some(At::Runnable), "{}", say("not runnable"));
                assert_eq!(
                    on.insert(event.cpu, lid),
                    None,
                    "{}",
                    say("the vcpu is taken")
                );
                At::Running
            }
            What::SwitchOut { state } => {
                assert_eq!(on.remove(&event.cpu), Some(lid), "{}", say("not here"));
                match state {
                    LwpState::Run => At::Runnable,
                    LwpState::Zomb | LwpState::Idl => was.unwrap(),
                    _ => At::Waiting,
                }
            }
            What::Runnable => match was {
                Some(At::Made | At::Waiting) => At::Runnable,
                // Woken before it got off its vcpu.
                Some(At::Leaving) => At::Running,
                _ => panic!("{}", say("was not waiting")),
            },
            What::Sleep { .. } | What::Suspended => {
                assert!(
                    matches!(was, Some(At::Running)),
                    "{}",
                    say("was not running")
                );
                At::Leaving
            }
            What::Awake => At::Running,
            What::Exit => At::Exited,
            What::Reap => {
                assert_eq!(was, Some(At::Exited), "{}", say("reaped alive"));
                At::Reaped
            }
            _ => continue,
        };
        at.insert(lid, now);
    }
}

#[test]
fn an_lwp_is_made_starts_before_it_calls_exits_and_is_reaped() {
    for seed in seeds(100) {
        let events = told(seed, |user| async move {
            let lid = user.spawn(|_| async {}).await.unwrap();
            user.wait(lid).await.unwrap();
            user.exit(0).await;
        });
        let lid = child(&events);
        let running = What::Create {
            start: Start::Running,
        };
        assert_eq!(
            of(&events, lid),
            [
                (running, Some(MAIN)),
                (What::Runnable, Some(MAIN)),
                (What::Start, Some(lid)),
                (What::Exit, Some(lid)),
                (What::Reap, Some(MAIN)),
            ]
        );
        let first = events
            .iter()
            .find(|e| e.lid == lid && matches!(e.what, What::Enter { .. }));
        let What::Enter { number, .. } = first.unwrap().what else {
            unreachable!()
        };
        assert_eq!(number, u64::from(nr::SYS_LWP_EXIT));
    }
}

#[test]
fn an_unpark_says_who_woke_whom() {
    for seed in seeds(100) {
        let events = told(seed, |user| async move {
            let lid = user.spawn(|user| async move {
                let _ = user.park().await;
            });
            let lid = lid.await.unwrap();
            until_parked(&user, lid).await;
            user.unpark(lid).await.unwrap();
            user.wait(lid).await.unwrap();
            user.exit(0).await;
        });
        let lid = child(&events);
        let wmesg = "parked";
        let all = of(&events, lid);
        let at = all
            .iter()
            .position(|(what, _)| *what == What::Sleep { wmesg })
            .unwrap();
        let unpark = What::Unpark { is_kept: false };
        assert_eq!(
            all[at..at + 3],
            [
                (What::Sleep { wmesg }, Some(lid)),
                (unpark, Some(MAIN)),
                (What::Runnable, Some(MAIN)),
            ]
        );
        let leave = What::Leave {
            result: Ok(Ret::ZERO),
        };
        assert!(events.iter().any(|e| e.lid == lid && e.what == leave));
    }
}

#[test]
fn an_early_unpark_is_kept_and_taken() {
    let events = told(1, |user| async move {
        user.unpark(MAIN.raw()).await.unwrap();
        assert_eq!(user.park().await, Err(Errno::EALREADY));
        user.exit(0).await;
    });
    let all = of(&events, MAIN);
    let kept = (What::Unpark { is_kept: true }, Some(MAIN));
    let at = all.iter().position(|told| *told == kept).unwrap();
    assert_eq!(all[at + 1], (What::Token, Some(MAIN)));
    let failed = What::Leave {
        result: Err(CallEnded::Failed(Errno::EALREADY)),
    };
    assert!(events.iter().any(|e| e.what == failed));
}

#[test]
fn a_time_out_is_nobodys_doing() {
    for seed in seeds(50) {
        let events = told(seed, |user| async move {
            let spinner = user.spawn(|user| async move {
                for _ in 0..200 {
                    user.pause().await;
                }
            });
            let spinner = spinner.await.unwrap();
            let limit = Duration::from_micros(50);
            assert_eq!(user.park_for(limit).await, Err(Errno::ETIMEDOUT));
            user.wait(spinner).await.unwrap();
            user.exit(0).await;
        });
        let all = of(&events, MAIN);
        let at = all
            .iter()
            .position(|(what, _)| *what == What::Timeout)
            .unwrap();
        assert_eq!(
            all[at..at + 2],
            [(What::Timeout, None), (What::Runnable, None)]
        );
    }
}

#[test]
fn suspending_continuing_signals_and_names_are_told() {
    for seed in seeds(50) {
        let events = told(seed, |user| async move {
            let lid = user.spawn(|user| async move {
                // The suspension ends it.
                let _ = user.park().await;
            });
            let lid = lid.await.unwrap();
            until_parked(&user, lid).await;
            user.setname(lid, "bob").await.unwrap();
            user.kill(lid, Signo::SIGURG).await.unwrap();
            user.suspend(lid).await.unwrap();
            user.resume(lid).await.unwrap();
            user.wait(lid).await.unwrap();
            user.exit(0).await;
        });
        let lid = child(&events);
        let all = of(&events, lid);
        let find = |what: What| all.iter().position(|told| told.0 == what).unwrap();
        let mut bob = [0; 16];
        bob[..3].copy_from_slice(b"bob");
        assert!(find(What::Name(bob)) < find(What::Suspend));
        assert!(find(What::Suspend) < find(What::Suspended));
        assert_eq!(all[find(What::Suspended)].1, Some(lid));
        let resumed = find(What::Continue);
        assert!(find(What::Suspended) < resumed);
        assert_eq!(
            all[resumed..resumed + 2],
            [(What::Continue, Some(MAIN)), (What::Runnable, Some(MAIN))]
        );
    }
}

#[test]
fn a_sleep_with_nothing_to_take_goes_on_to_its_end() {
    for seed in seeds(50) {
        let events = told(seed, |user| async move {
            let lid = user.spawn(|user| async move {
                for signo in [Signo::SIGUSR1, Signo::SIGUSR2] {
                    user.count_signals(signo, SaFlags::empty()).await;
                }
                // A new mask is a reason to look for signals, and there is none.
                let usr2 = SigSet::of(&[Signo::SIGUSR2]);
                assert_eq!(user.sigsuspend(usr2).await, Err(Errno::EINTR));
            });
            let lid = lid.await.unwrap();
            let lwp = user.kernel().lids.find(lid).unwrap();
            user.until("it sleeps", || lwp.lock().stat == LwpState::Sleep)
                .await;
            user.kill(lid, Signo::SIGUSR2).await.unwrap();
            user.kill(lid, Signo::SIGUSR1).await.unwrap();
            user.wait(lid).await.unwrap();
            user.exit(0).await;
        });
        let all = of(&events, child(&events));
        assert!(all.iter().all(|(what, _)| *what != What::Awake));
        let pause = What::Sleep { wmesg: "pause" };
        let sleeps = all.iter().filter(|(what, _)| *what == pause).count();
        assert_eq!(sleeps, 1, "seed {seed}");
    }
}

#[test]
fn whom_an_unpark_does_not_find_it_tells_nothing() {
    let events = told(1, |user| async move {
        let lid = user.spawn(|_| async {}).await.unwrap();
        let lwp = user.kernel().lids.find(lid).unwrap();
        user.until("it is dead", || lwp.lock().stat == LwpState::Zomb)
            .await;
        assert_eq!(user.unpark(lid).await, Err(Errno::ESRCH));
        let nobody = user
            .kernel()
            .unpark_all(&[LwpId::new(lid), LwpId::new(1), MAIN], MAIN);
        assert_eq!(nobody, 2);
        assert_eq!(user.park().await, Err(Errno::EALREADY));
        user.wait(lid).await.unwrap();
        user.exit(0).await;
    });
    let all = of(&events, child(&events));
    assert!(
        all.iter()
            .all(|(what, _)| !matches!(what, What::Unpark { .. }))
    );
}

/// A bit of everything.
async fn medley(user: User) {
    let mut lids = Vec::new();
    for i in 0..4_u64 {
        let lid = user.spawn(move |user| async move {
            for k in 0..6 {
                match (i + k) % 3 {
                    0 => drop(user.park_for(Duration::from_micros(20 * k)).await),
                    1 => user.pause().await,
                    _ => drop(user.unpark(MAIN.raw()).await),
                }
            }
        });
        lids.push(lid.await.unwrap());
    }
    for &lid in &lids {
        let _ = user.unpark(lid).await;
        let _ = user.suspend(lid).await;
        let _ = user.resume(lid).await;
    }
    for lid in lids {
        user.wait(lid).await.unwrap();
    }
    user.exit(0).await;
}

#[test]
fn the_order_holds_under_many_seeds() {
    for seed in seeds(300) {
        told(seed, medley);
    }
}

#[test]
fn the_order_holds_on_several_vcpus() {
    for seed in seeds(100) {
        let log = Arc::new(Log::default());
        let listener: Arc<dyn Listener> = Arc::<Log>::clone(&log);
        let ended = Threads::with_listener(seed, 3, Some(listener), medley).run();
        assert_eq!(ended, Ended::Exit(ExitWith::Code(0)), "seed {seed}");
        let events = log.0.lock().unwrap().clone();
        assert!(events.iter().any(|event| event.what == What::SwitchIn));
        // One vcpu's events are in order among themselves; those of an LWP are under its lock.
        check_each_lwp(&events);
    }
}

/// What must hold for one LWP on any number of vcpus.
fn check_each_lwp(events: &[Event]) {
    let mut last: HashMap<LwpId, (bool, bool)> = HashMap::new();
    for event in events {
        let (is_on, is_over) = last.entry(event.lid).or_default();
        assert!(
            !*is_over || matches!(event.what, What::Create { .. } | What::SwitchOut { .. }),
            "{event:?}"
        );
        match event.what {
            What::SwitchIn => assert!(!core::mem::replace(is_on, true), "{event:?}"),
            What::SwitchOut { .. } => assert!(core::mem::replace(is_on, false), "{event:?}"),
            What::Reap => *is_over = true,
            What::Create { .. } => *is_over = false,
            _ => {}
        }
    }
}

#[test]
fn one_seed_is_one_stream() {
    let hash = |seed| {
        let mut hasher = DefaultHasher::new();
        for event in told(seed, medley) {
            format!("{event:?}").hash(&mut hasher);
        }
        hasher.finish()
    };
    assert_eq!(hash(11), hash(11));
    assert_ne!(hash(11), hash(12));
}

#[test]
fn nobody_is_told_anything_without_being_asked() {
    let sim = Sim::new(1, medley);
    assert!(!sim.kernel().has_listener());
    assert_eq!(sim.run(), Ended::Exit(ExitWith::Code(0)));
}
