//! `lwp run --timeline FILE`: what each LWP did, in a file, when the program ends or executes another.

use crate::args::{Timeline as Wanted, TimelineKind};
use lwp_kernel::events::{Event, Listener, What};
use lwp_timeline::{History, Program, Recorder, page, perfetto};
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::Path;

/// The listener that records, and writes in the end.
pub(crate) struct Timeline {
    recorder: Recorder,
    wanted: Wanted,
    program: Program,
}

impl Timeline {
    /// A timeline as it is `wanted` of the program that `words` start as `pid`, with at most `events` events
    /// on `ncpu` vcpus.
    pub(crate) fn new(
        wanted: &Wanted,
        (ncpu, events): (usize, usize),
        words: &[OsString],
        pid: i32,
    ) -> Self {
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        Self {
            recorder: Recorder::new(ncpu, events),
            wanted: wanted.clone(),
            program: Program {
                words: words.join(" "),
                pid,
            },
        }
    }

    /// Writes what was recorded, if this process is the one that was to be, and has not done so.
    fn write(&self) {
        let Some(recording) = self.recorder.finish() else {
            return;
        };
        let history = History::new(recording);
        let bytes = match self.wanted.kind {
            TimelineKind::Page => page::write(&history, &self.program).into_bytes(),
            TimelineKind::Perfetto => perfetto::write(&history, &self.program),
        };
        let file: &Path = &self.wanted.file;
        if let Err(why) = fs::write(file, bytes) {
            // Nobody is left to be told of a failure of this.
            let _ = writeln!(std::io::stderr(), "lwp: {}: {why}", file.display());
        }
    }
}

impl Listener for Timeline {
    fn event(&self, event: &Event) {
        self.recorder.event(event);
        if matches!(event.what, What::End { .. } | What::Exec { .. }) {
            self.write();
        }
    }
}
