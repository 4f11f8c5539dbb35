//! The seeds suite: what is stated of NetBSD's LWP calls holds under schedules from seeds, too.
//!
//! Each statement of classes R and C that a guest shows is a hunt of its own, with virtual time and every perturbation. One
//! of which a perturbation makes less is checked for what is left (`RELAXED` in the list of statements). Root has them run
//! by nobody, as `lwp conform` does: limits do not bind root.

use crate::project::Project;
use crate::report::Report;
use crate::run::{Finished, run};
use crate::runner::Runner;
use lwp_conform::{Class, Note, Statement, statements};
use rustix::process::geteuid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Seeds of each statement in the suite.
const IN_SUITE: u32 = 3;
/// Hunts at a time. Each runs one schedule at a time: checks have files, which are theirs alone.
const HUNTS: usize = 2;
/// What a run may take, in seconds, with LWPs that spin for as long as they are let.
const RUN_LIMIT: &str = "60";
/// What all runs of a statement may take.
const LIMIT: Duration = Duration::from_hours(2);

/// Whom root has them run by.
const NOBODY: u32 = 65534;

/// Tries all statements with a few seeds.
pub(crate) fn suite(project: &Project, report: &mut Report) {
    each(project, report, IN_SUITE, &[]);
}

/// Tries statements, all unless some are named, with so many seeds each.
pub(crate) fn each(project: &Project, report: &mut Report, seeds: u32, named: &[String]) {
    let Some(lwp) = report.need("lwp builds", || project.lwp()) else {
        return;
    };
    let is_wanted = |id: &str| named.is_empty() || named.iter().any(|name| name == id);
    let all = statements().into_iter();
    let shown: Vec<_> = all
        .filter(|each| is_shown(each) && is_wanted(each.id))
        .collect();
    let names: BTreeSet<_> = shown.iter().filter_map(Statement::guest).collect();
    let guests = names
        .into_iter()
        .map(|name| Ok((name, project.guest(name)?)));
    let Some(guests) = report.need("guests build", || guests.collect()) else {
        return;
    };
    let tries = Tries {
        project,
        runner: Runner::new(lwp),
        guests,
        seeds,
    };
    let next = AtomicUsize::new(0);
    let (done, all_done) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..HUNTS {
            let (tries, shown, next, done) = (&tries, &shown, &next, done.clone());
            scope.spawn(move || {
                while let Some(statement) = shown.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let start = Instant::now();
                    let outcome = tries.statement(statement);
                    let _ = done.send((statement.id, outcome, start.elapsed()));
                }
            });
        }
        drop(done);
        for (id, outcome, took) in all_done {
            report.say(&format!("{id}, {seeds} seeds"), outcome, took);
        }
    });
}

/// Whether it is to hold, and a guest can show that.
fn is_shown(statement: &Statement) -> bool {
    statement.class != Class::Quirk && statement.guest().is_some()
}

struct Tries<'a> {
    project: &'a Project,
    runner: Runner,
    guests: BTreeMap<&'static str, PathBuf>,
    seeds: u32,
}

impl Tries<'_> {
    /// That a statement holds: without perturbations, so that its check is known to be made, and then with them.
    fn statement(&self, statement: &Statement) -> Result<(), String> {
        let place = self.project.target("seeds").join(statement.id);
        let made = fs::create_dir_all(&place).and_then(|()| {
            let nobody = geteuid().is_root().then_some(NOBODY);
            chown(&place, nobody, nobody)
        });
        made.map_err(|why| format!("{}: {why}", place.display()))?;
        let log = place.join("log");

        let plain = self.runner.clone();
        let plain = plain.options(&["-q", "--chaos", "1", "--virtual-time"]);
        let plain = plain.options(&["--policy", "fair", "--perturb", "none"]);
        let said = run(&mut self.check(&plain, statement, &place), LIMIT, &log)?;
        let said = said.success()?.stdout;
        if !said.contains(&format!("ok {}", statement.id)) {
            return Err(format!("no check was made: {said}"));
        }

        let schedule = place.join("found.schedule");
        let hunt = self.runner.clone().hunting();
        let hunt = hunt.options(&["--jobs", "1", "--runs", &self.seeds.to_string()]);
        let hunt = hunt.options(&["--timeout", RUN_LIMIT, "--perturb", "all"]);
        let hunt = hunt.options(&["-o", &schedule.to_string_lossy()]);
        let done = run(&mut self.check(&hunt, statement, &place), LIMIT, &log);
        done.and_then(Finished::success).map(drop)
    }

    /// The command that makes the check of a statement, in a place of its own.
    fn check(&self, runner: &Runner, statement: &Statement, place: &Path) -> Command {
        let name = statement.guest().unwrap_or_default();
        let mut command = runner.command(&self.guests[name]);
        match name {
            // It makes no other, and many more rounds unless it is told.
            "storm" => command.args(["4", "100"]),
            _ => command.args(["--inline", "--few", statement.id]),
        };
        if let Note::Relaxed { by, .. } = statement.note {
            command.arg(format!("--relaxed={by}"));
        }
        if geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.current_dir(place);
        command
    }
}
