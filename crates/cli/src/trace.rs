//! `lwp trace`: where the lines go. What they say is `lwp-trace`'s.
//!
//! The place is opened once, by the first image; its children inherit it, and so do the programs that are
//! executed, by its number ([`Tracing::to_fd`]): the name may mean another file by then, and stderr may be the
//! guest's to close. The number is one of the runner's own, which no guest meets.

use crate::args::{Format, Tracing};
use crate::fail::Failure;
use lwp_kernel::events::Listener;
use lwp_machine::HostMachine;
use lwp_syscalls::OfRunner;
use lwp_trace::lines::Sink;
use lwp_trace::tracer::{Form, Options, Tracer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, FdFlags};
use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

/// The command's own word, and so the place of its first option, among those of a command line.
const OPTIONS: usize = 2;

/// A listener that traces process `pid` as the user asked; `of_runner` is told what the next image needs to go on.
///
/// # Errors
/// The output cannot be opened.
pub(crate) fn start(
    tracing: &Tracing,
    machine: &Arc<HostMachine>,
    of_runner: &mut OfRunner,
    pid: i32,
) -> Result<Arc<dyn Listener>, Failure> {
    let output = match tracing.to_fd.and_then(lwp_machine::inherit) {
        Some(output) => output,
        None => lwp_machine::keep(open(tracing)?),
    };
    if tracing.to_fd.is_none() {
        let number = output.as_raw_fd().to_string();
        let words = [b"--to-fd".to_vec(), number.into_bytes()];
        let at = OPTIONS.min(of_runner.words.len());
        of_runner.words.splice(at..at, words);
    }
    let options = Options {
        filter: tracing.filter.clone().unwrap_or_default(),
        form: match tracing.format {
            Format::Text => Form::Text,
            Format::Json => Form::Json,
        },
        summary: tracing.summary,
        strings: tracing.strings.into(),
        is_child: of_runner.is_child,
    };
    let below = Arc::<HostMachine>::clone(machine);
    let sink = Box::new(Output(output));
    Ok(Arc::new(Tracer::new(below, sink, pid, options)))
}

fn open(tracing: &Tracing) -> Result<OwnedFd, Failure> {
    let failed = |name: OsString| move |why: Errno| Failure::Output(name, why.into());
    let Some(path) = &tracing.output else {
        let copy = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 0);
        return copy.map_err(failed("standard error".into()));
    };
    // Children append, too: each whole lines.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::APPEND | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o666));
    file.map_err(failed(path.clone().into()))
}

/// A file, a terminal or a pipe.
struct Output(OwnedFd);

impl Output {
    /// Whether it can be written now, or once it can.
    fn wait(&self, limit: Option<&Timespec>) -> bool {
        let ready = poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], limit);
        ready.is_ok_and(|count| count > 0)
    }
}

impl Sink for Output {
    fn write(&self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            match rustix::io::write(&self.0, rest) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::INTR) => {}
                // Whoever opened it wants it so.
                Err(Errno::AGAIN) => {
                    self.wait(None);
                }
                // The reader has gone, or the disk is full: the program is to go on.
                Err(_) => return,
            }
        }
    }

    fn is_ready(&self) -> bool {
        self.wait(Some(&Timespec::default()))
    }

    fn hand_on(&self) {
        // At worst the next image opens it anew.
        let _ = rustix::io::fcntl_setfd(&self.0, FdFlags::empty());
    }
}
