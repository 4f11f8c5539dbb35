//! What an LWP finds in a call that it was on its way to when another vcpu did something. Deterministic:
//! the programs wait between two calls, where nothing can take their vcpu away.

use crate::common::{MS, SECOND, asleep, flags, in_state, now, parked, stat};
use crate::signals::{later, to_process};
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, Ordering};
use lwp_abi::errno::Errno;
use lwp_abi::lwp::LwpState;
use lwp_abi::signal::{SaFlags, Signo};
use lwp_kernel::Kernel;
use lwp_kernel::events::{Event, Listener, What};
use lwp_kernel::lwp::LwpFlags;
use lwp_kernel::machine::ExitWith;
use lwp_kernel::proc::ProcStat;
use lwp_sim::{Ended, PID, Threads, User, describe, seeds};
use std::sync::Arc;
use std::thread::yield_now;

/// Runs `main` on `ncpu` vcpus; the process is to exit with status 0, all LWPs accounted for.
fn on<F>(
    ncpu: usize,
    listener: Option<&Arc<dyn Listener>>,
    main: impl Fn(User) -> F + Send + Sync + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let main = Arc::new(main);
    for seed in seeds(10) {
        let main = Arc::clone(&main);
        let threads = Threads::with_listener(seed, ncpu, listener.cloned(), move |user| main(user));
        let ended = threads.run();
        let kernel = threads.kernel();
        let exited = Ended::Exit(ExitWith::Code(0));
        assert_eq!(ended, exited, "{}", describe(kernel));
        assert_eq!(kernel.proc.lock().nrlwps, 0, "seed {seed}");
    }
}

/// Waits as one long instruction: the LWP stays on its vcpu, and its next call comes right after.
fn stay_until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        yield_now();
        spin_loop();
    }
}

/// Whether an LWP was asked to look for signals.
fn is_to_look(user: &User, lid: i32) -> bool {
    flags(user, lid).contains(LwpFlags::PENDSIG)
}

fn proc_stat(kernel: &Kernel) -> ProcStat {
    kernel.proc.lock().stat
}

/// Starts an LWP that runs `f`, which is told its id, and waits until it has its vcpu, from which nothing takes it before it calls.
async fn spawn_beside<F>(user: &User, f: impl FnOnce(User, i32) -> F + Send + 'static) -> i32
where
    F: Future<Output = ()> + Send + 'static,
{
    let is_there = Arc::new(AtomicBool::new(false));
    let sets = Arc::clone(&is_there);
    let lid = user.spawn(move |user| async move {
        let me = user.lwp_self().await;
        sets.store(true, Ordering::SeqCst);
        f(user, me).await;
    });
    let lid = lid.await.unwrap();
    user.until("the other runs", || is_there.load(Ordering::SeqCst))
        .await;
    lid
}

/// Starts an LWP that stops the process, for a second, while the caller, who has SIGTSTP blocked, stays on its vcpu.
async fn begin_stop(user: &User) {
    let kernel = user.kernel();
    let stays = Arc::new(AtomicBool::new(false));
    let looks = Arc::clone(&stays);
    spawn_beside(user, move |user, me| async move {
        stay_until(|| looks.load(Ordering::SeqCst));
        user.unblock(&[Signo::SIGTSTP]).await;
        user.kill(me, Signo::SIGTSTP).await.unwrap();
        user.park().await.unwrap();
    })
    .await;
    later(user, SECOND, Signo::SIGCONT);
    stays.store(true, Ordering::SeqCst);
    stay_until(|| proc_stat(&kernel) == ProcStat::Stopping);
}

#[test]
pub(crate) fn exit_while_the_process_stops_ends_the_stopped_too() {
    on(2, None, |user| async move {
        user.block(&[Signo::SIGTSTP]).await;
        let lid = parked(&user).await;
        begin_stop(&user).await;
        assert_eq!(stat(&user, lid), Some(LwpState::Stop));
        user.exit(0).await;
    });
}

#[test]
pub(crate) fn an_lwp_made_while_the_process_stops_waits_for_its_end() {
    on(2, None, |user| async move {
        user.block(&[Signo::SIGTSTP]).await;
        let kernel = user.kernel();
        begin_stop(&user).await;
        let lid = user.spawn(|_| async {}).await.unwrap();
        // Here the process has been stopped and continued.
        assert!(kernel.machine.monotonic() >= SECOND);
        assert_eq!(proc_stat(&kernel), ProcStat::Active);
        user.wait(lid).await.unwrap();
        let live = kernel.proc.lock().live();
        assert_eq!(kernel.proc.lock().nrlwps, live);
        user.exit(0).await;
    });
}

#[test]
pub(crate) fn exec_while_another_execs_is_the_end() {
    on(2, None, |user| async move {
        let kernel = user.kernel();
        spawn_beside(&user, |user, _| async move {
            let kernel = user.kernel();
            stay_until(|| proc_stat(&kernel) == ProcStat::Dying);
            let _ = user.single_threaded().await;
            panic!("it does not come back");
        })
        .await;
        user.single_threaded().await.unwrap();
        assert_eq!(kernel.proc.lock().nlwps(), 1);
        user.exit(0).await;
    });
}

#[test]
pub(crate) fn a_signal_whose_taker_exits_goes_to_another() {
    on(2, None, |user| async move {
        let count = user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        let taker = spawn_beside(&user, |user, me| async move {
            stay_until(|| is_to_look(&user, me));
            user.lwp_exit().await;
        });
        let taker = taker.await;
        to_process(&user, Signo::SIGUSR1);
        user.until("it is handled", || user.get::<u64>(count) == 1)
            .await;
        user.wait(taker).await.unwrap();
        user.exit(0).await;
    });
}

#[test]
pub(crate) fn suspend_interrupts_another_vcpu() {
    on(2, None, |user| async move {
        let is_over = Arc::new(AtomicBool::new(false));
        let looks = Arc::clone(&is_over);
        let spinner = user.spawn(move |user| async move {
            user.until("it is over", || looks.load(Ordering::SeqCst))
                .await;
        });
        let spinner = spinner.await.unwrap();
        in_state(&user, spinner, LwpState::Onproc).await;
        user.suspend(spinner).await.unwrap();
        assert_eq!(stat(&user, spinner), Some(LwpState::Suspended));
        user.resume(spinner).await.unwrap();
        is_over.store(true, Ordering::SeqCst);
        user.wait(spinner).await.unwrap();
        user.exit(0).await;
    });
}

#[test]
pub(crate) fn a_busy_vcpu_looks_after_the_time() {
    on(1, None, |user| async move {
        let lid = user.spawn(|user| async move { user.nanosleep(MS).await.unwrap() });
        let lid = lid.await.unwrap();
        in_state(&user, lid, LwpState::Zomb).await;
        assert_eq!(user.wait(lid).await, Ok(lid));
        user.exit(0).await;
    });
}

/// Holds up the first LWP's signal until another goes to sleep in nanosleep(2), and that one until somebody has
/// stopped.
#[derive(Default)]
struct HoldUp {
    is_asleep: AtomicBool,
    has_stopped: AtomicBool,
}

impl Listener for HoldUp {
    fn event(&self, event: &Event) {
        match event.what {
            What::Create { .. } => {
                self.is_asleep.store(false, Ordering::SeqCst);
                self.has_stopped.store(false, Ordering::SeqCst);
            }
            What::Signal { .. } if event.lid.raw() == PID => {
                stay_until(|| self.is_asleep.load(Ordering::SeqCst));
            }
            What::Sleep { wmesg: "nanoslp" } => {
                self.is_asleep.store(true, Ordering::SeqCst);
                stay_until(|| self.has_stopped.load(Ordering::SeqCst));
            }
            What::Stopped => self.has_stopped.store(true, Ordering::SeqCst),
            _ => {}
        }
    }
}

#[test]
pub(crate) fn an_lwp_that_a_stop_finds_between_its_call_and_its_sleep_stops_once() {
    let hold_up: Arc<dyn Listener> = Arc::new(HoldUp::default());
    on(2, Some(&hold_up), |user| async move {
        let kernel = user.kernel();
        user.block(&[Signo::SIGTSTP]).await;
        let parker = parked(&user).await;
        // Keeps the stop from being complete: as in vfork(2), which the sim has not.
        let busy = user.spawn(|user| async move {
            assert_eq!(user.park_for(1000 * SECOND).await, Err(Errno::ETIMEDOUT));
        });
        let busy = busy.await.unwrap();
        asleep(&user, busy, "parked").await;
        kernel.lids.find(busy).unwrap().lock().interruptible = false;
        let sleeper = spawn_beside(&user, |user, me| async move {
            stay_until(|| is_to_look(&user, me));
            user.nanosleep(SECOND).await.unwrap();
        });
        let sleeper = sleeper.await;
        later(&user, 3000 * SECOND, Signo::SIGCONT);
        user.unblock(&[Signo::SIGTSTP]).await;
        user.kill(PID, Signo::SIGTSTP).await.unwrap();
        assert!(now(&user) >= 3000 * SECOND);
        for lid in [sleeper, busy] {
            assert_eq!(user.wait(lid).await, Ok(lid));
        }
        asleep(&user, parker, "parked").await;
        assert_eq!(kernel.proc.lock().nrlwps, 2);
        user.exit(0).await;
    });
}
