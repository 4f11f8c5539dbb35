//! The esbuild suite: a real program on real input, byte for byte.

use crate::bundle::Bundle;
use crate::project::Project;
use crate::report::Report;
use crate::runner::Runner;
use crate::serve::serve;
use crate::trace;

/// The numbers of vcpus that everything is tried with.
pub(crate) const VCPUS: [u32; 3] = [1, 2, 8];

/// Runs of each kind in the test command.
const RUNS: u32 = 5;

/// How many of 100 system calls must enter through a patched site.
const FAST_PERCENT: u64 = 99;

/// Bundles with 1, 2 and 8 vcpus, counts and traces system calls, serves HTTP.
pub(crate) fn suite(project: &Project, report: &mut Report) {
    let Some((bundle, runner)) = prepare(project, report) else {
        return;
    };
    repeat(project, report, (&bundle, &runner), RUNS);
    report.check("system calls are fast", || {
        let runner = runner.clone().option("--stats");
        fast_enough(&bundle.run(project, &runner, "stats")?)
    });
    report.check("lwp trace decodes every call", || {
        trace::every_call_is_decoded(project, &bundle, &runner)
    });
    report.check("trace -c and --stats count the same", || {
        trace::counts_agree(project, &bundle, &runner)
    });
    for vcpus in VCPUS {
        report.check(format!("serves HTTP, {vcpus} vcpus"), || {
            serve(&bundle, &runner.clone().vcpus(vcpus))
        });
    }
}

/// Bundles `runs` times with each number of vcpus.
pub(crate) fn soak(project: &Project, report: &mut Report, runs: u32) {
    let Some((bundle, runner)) = prepare(project, report) else {
        return;
    };
    repeat(project, report, (&bundle, &runner), runs);
}

fn prepare(project: &Project, report: &mut Report) -> Option<(Bundle, Runner)> {
    let bundle = report.need("set-up", || Bundle::prepare(project))?;
    let lwp = report.need("lwp builds", || project.lwp())?;
    Some((bundle, Runner::new(lwp)))
}

fn repeat(project: &Project, report: &mut Report, on: (&Bundle, &Runner), runs: u32) {
    let (bundle, runner) = on;
    for vcpus in VCPUS {
        for turn in 1..=runs {
            report.check(
                format!("bundle, {vcpus} vcpus, run {turn} of {runs}"),
                || {
                    let name = format!("esbuild-{vcpus}-{turn}");
                    bundle
                        .run(project, &runner.clone().vcpus(vcpus), &name)
                        .map(drop)
                },
            );
        }
    }
}

/// Reads what `--stats` says about the ways of entry.
fn fast_enough(stats: &str) -> Result<(), String> {
    let (fast, slow) = (counter(stats, "fast")?, counter(stats, "slow")?);
    let all = fast + slow;
    if fast > 0 && fast * 100 >= all * FAST_PERCENT {
        Ok(())
    } else {
        Err(format!(
            "only {fast} of {all} entered through a patched site:\n{stats}"
        ))
    }
}

/// The number in the one line `lwp: NAME NUMBER ...`.
pub(crate) fn counter(stats: &str, name: &str) -> Result<u64, String> {
    let found = stats.lines().find_map(|line| {
        let mut words = line.strip_prefix("lwp:")?.split_whitespace();
        (words.next()? == name).then(|| words.next()?.parse().ok())?
    });
    found.ok_or_else(|| format!("--stats says nothing of {name}:\n{stats}"))
}

#[cfg(test)]
mod tests {
    use super::fast_enough;

    #[test]
    fn ninety_nine_of_a_hundred_are_enough() {
        let stats = "  Done in 9ms\nlwp:   fast   990 (99.0 %)\nlwp:   slow   10 (1.0 %)\n";
        assert_eq!(fast_enough(stats), Ok(()));
        assert!(fast_enough(&stats.replace("990", "989")).is_err());
        assert!(fast_enough("lwp:   fast 0\nlwp:   slow 0\n").is_err());
        assert!(fast_enough("lwp:   fast 1\n").is_err());
    }
}
