//! Running a program under many seeds, and saying which one failed.
//!
//! `LWP_SIM_SEED=N` in the environment replaces all seeds by one; `LWP_SIM_SEEDS=N` sets how many a
//! test takes that asks for a number.

use crate::{Ended, Sim, User, describe};
use lwp_kernel::machine::ExitWith;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// Schedules per behaviour.
const SEEDS: u64 = 50;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The seeds to run: `count` of them, unless the environment says otherwise.
pub fn seeds(count: u64) -> core::ops::Range<u64> {
    match from_environment("LWP_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..from_environment("LWP_SIM_SEEDS").unwrap_or(count),
    }
}

/// Calls `body` with each seed; when it panics, says how to do it again.
///
/// `target` is the name of the integration test.
pub fn for_each_seed(
    target: &str,
    seeds: impl IntoIterator<Item = u64>,
    mut body: impl FnMut(u64),
) {
    for seed in seeds {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| body(seed))) {
            let thread = std::thread::current();
            let test = thread.name().unwrap_or("").to_owned();
            let profile = if cfg!(debug_assertions) {
                ""
            } else {
                "--release "
            };
            eprintln!(
                "seed {seed} failed; again: LWP_SIM_SEED={seed} cargo test {profile}-p lwp-sim --test {target} {test}"
            );
            resume_unwind(payload);
        }
    }
}

/// Runs `main` under many seeds; the process is to exit with status 0 each time.
pub fn run<F>(main: impl Fn(User) -> F + Send + Sync + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    run_to(Ended::Exit(ExitWith::Code(0)), main);
}

/// Runs `main` under many seeds; each run is to end like this.
///
/// # Panics
/// If it does not, or if a program panics.
pub fn run_to<F>(expected: Ended, main: impl Fn(User) -> F + Send + Sync + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let main = Arc::new(main);
    for_each_seed("lwp_calls", seeds(SEEDS), |seed| {
        let main = Arc::clone(&main);
        let sim = Sim::new(seed, move |user| main(user));
        let ended = sim.run();
        assert_eq!(ended, expected, "{}", describe(sim.kernel()));
    });
}
