//! What a hunt has come to, for people and for programs.

use crate::hunt::server::{Ran, Shrunk};
use core::time::Duration;
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;

/// What came of a hunt.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Outcome {
    /// How many schedules were run.
    pub(crate) schedules: u64,
    /// Seconds that took.
    pub(crate) seconds: f64,
    pub(crate) found: Option<Caught>,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Caught {
    /// With which seed; none if it fails without.
    pub(crate) seed: Option<u64>,
    /// How many such seeds there were to choose from.
    pub(crate) finds: u32,
    /// How it fails.
    pub(crate) how: String,
    /// The end of what it printed.
    pub(crate) output: String,
    /// How many decisions there were, how many matter, and how many of those are preemptions.
    pub(crate) decided: usize,
    pub(crate) decisions: usize,
    pub(crate) preemptions: usize,
    /// How many runs it took to find that out.
    pub(crate) tries: usize,
    /// The same decisions do not make it fail each time.
    pub(crate) is_flaky: bool,
    /// The decisions in words.
    pub(crate) story: Vec<String>,
    /// Who waits for what in the end, if it hangs.
    pub(crate) waits: String,
    /// Preemptions of LWPs that made no system call for long.
    pub(crate) stretches: u64,
    /// For `lwp replay`.
    pub(crate) schedule: Option<PathBuf>,
    pub(crate) timeline: Option<PathBuf>,
}

impl Caught {
    /// Of a run without a seed.
    pub(crate) fn plain(ran: &Ran) -> Self {
        Self {
            how: ran.end.to_string(),
            output: ran.output.clone(),
            ..Self::default()
        }
    }

    /// Of what is left of a schedule.
    pub(crate) fn shrunk(seed: u64, finds: u32, shrunk: &Shrunk) -> Self {
        Self {
            seed: Some(seed),
            finds,
            decided: shrunk.before,
            decisions: shrunk.after,
            preemptions: shrunk.preemptions,
            tries: shrunk.tries,
            is_flaky: shrunk.is_flaky,
            story: shrunk.ran.report.story.clone(),
            // The first line says which process.
            waits: match shrunk.ran.report.waits.split_once('\n') {
                Some((_, waits)) => waits.to_owned(),
                None => String::new(),
            },
            stretches: shrunk.ran.report.stretches,
            ..Self::plain(&shrunk.ran)
        }
    }
}

/// How many of something there were in a second.
pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let count = count as f64;
    count / time.as_secs_f64().max(1e-9)
}

impl Outcome {
    /// In JSON, on one line.
    ///
    /// # Errors
    /// Nobody takes it.
    pub(crate) fn print_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let text = serde_json::to_string(self).map_err(|err| io::Error::other(err.to_string()))?;
        writeln!(out, "{text}")
    }

    /// In words.
    ///
    /// # Errors
    /// Nobody takes them.
    pub(crate) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let time = Duration::try_from_secs_f64(self.seconds).unwrap_or_default();
        let rate = format!(
            "{:.1} s, {:.0} a second",
            self.seconds,
            per_second(self.schedules, time)
        );
        let ran = self.schedules;
        let Some(found) = &self.found else {
            return writeln!(out, "No failure under {ran} schedules ({rate}).");
        };
        let how = &found.how;
        match found.seed {
            None => writeln!(out, "It {how} with no help from a seed.")?,
            Some(seed) if found.finds > 1 => writeln!(
                out,
                "Found after {ran} schedules ({rate}). The shortest of {} finds has seed {seed}: it {how}.",
                found.finds
            )?,
            Some(seed) => writeln!(
                out,
                "Found after {ran} schedules ({rate}), with seed {seed}: it {how}."
            )?,
        }
        if !found.output.is_empty() {
            writeln!(out, "It said:")?;
            for line in found.output.lines() {
                writeln!(out, "    {line}")?;
            }
        }
        if found.seed.is_some() {
            found.print_decisions(out)?;
        }
        Ok(())
    }
}

impl Caught {
    fn print_decisions(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.is_flaky {
            writeln!(
                out,
                "\nThe same decisions do not make it fail each time: something else differs between runs\n\
                 (other processes, the network, files)."
            )?;
        }
        let Self {
            decided,
            decisions,
            preemptions,
            tries,
            ..
        } = self;
        writeln!(
            out,
            "\nOf {decided} decisions {decisions} matter, {preemptions} of them preemptions ({tries} runs to find out):"
        )?;
        for (index, line) in self.story.iter().enumerate() {
            writeln!(out, "{:3}. {line}", index + 1)?;
        }
        if !self.waits.is_empty() {
            write!(out, "\nIn the end:\n{}", self.waits)?;
        }
        if self.stretches > 0 {
            writeln!(
                out,
                "\nAn LWP was preempted because it made no system call for long, {} times. When that happens\n\
                 depends on how fast the host is: the same schedule may go on differently.",
                self.stretches
            )?;
        }
        if let Some(schedule) = &self.schedule {
            writeln!(out, "\nAgain:    lwp replay {}", schedule.display())?;
        }
        if let Some(timeline) = &self.timeline {
            writeln!(out, "Timeline: {}", timeline.display())?;
        }
        Ok(())
    }
}
