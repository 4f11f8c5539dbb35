//! The sim machine itself.

use lwp_kernel::machine::ExitWith;
use lwp_sim::{Ended, Sim, Threads, User, seeds};

async fn hand_over(user: User) {
    let parker = user.spawn(|user| async move {
        let woken = user.park().await;
        assert!(woken.is_ok() || woken == Err(lwp_abi::errno::Errno::EALREADY));
    });
    let lid = parker.await.expect("there is room");
    user.unpark(lid).await.expect("it is there");
    assert_eq!(user.wait(lid).await, Ok(lid));
    user.exit(7).await;
}

#[test]
fn create_park_unpark_wait_exit_under_many_seeds() {
    for seed in seeds(200) {
        let ended = Sim::new(seed, hand_over).run();
        assert_eq!(ended, Ended::Exit(ExitWith::Code(7)), "seed {seed}");
    }
}

#[test]
fn the_same_on_several_vcpus() {
    for seed in seeds(200) {
        let ended = Threads::new(seed, 3, hand_over).run();
        assert_eq!(ended, Ended::Exit(ExitWith::Code(7)), "seed {seed}");
    }
}

#[test]
fn one_seed_is_one_schedule() {
    let run = |seed| {
        let sim = Sim::new(seed, hand_over);
        let mut steps = 0;
        let ended = sim.run_checked(|_| steps += 1);
        (ended, steps, sim.elapsed())
    };
    assert_eq!(run(11), run(11));
    assert_ne!(run(11), run(12));
}

#[test]
fn a_lonely_parker_is_a_deadlock() {
    let park = |user: User| async move {
        // Never returns.
        let _ = user.park().await;
    };
    assert_eq!(Sim::new(1, park).run(), Ended::Deadlock);
    assert_eq!(Threads::new(1, 2, park).run(), Ended::Deadlock);
}
