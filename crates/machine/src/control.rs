//! The control socket: how another process of the same user asks what the guest is doing.
//!
//! A thread that is no vcpu accepts connections, one at a time, reads a line, and writes the answer. So a guest whose
//! vcpus all compute, or all wait, is seen all the same. Responsible for the socket, for the thread, and for both
//! being there in a fork child as well; not for what is asked and answered.
//!
//! # Invariants
//! 1. While the answer is made nobody forks (`look`): a fork child could not do with a lock of the kernel's that this
//!    thread held. Nothing else of the kernel is touched by it.
//! 2. Whoever connects cannot hold the thread up: reading and writing have a limit.
//!
//! # Locks
//! `looking`: read here, written by who forks, around everything else.
//!
//! Sources: unix(7), fork(2).

use crate::descriptors;
use crate::helpers::{self, STACK_BYTES};
use core::sync::atomic::{AtomicI32, Ordering};
use core::time::Duration;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockWriteGuard};

/// What is asked is no longer than this, in bytes.
const LONGEST: u64 = 256;
/// How long a connected process may keep us waiting.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes the answer to a line.
pub type Answer = Box<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// The socket of this process.
pub(crate) struct Control {
    served: OnceLock<Arc<Served>>,
    /// The host's number of the listening socket, -1 for none.
    socket: AtomicI32,
}

struct Served {
    directory: PathBuf,
    answer: Answer,
    looking: RwLock<()>,
}

impl Control {
    pub(crate) const fn new() -> Self {
        Self {
            served: OnceLock::new(),
            socket: AtomicI32::new(-1),
        }
    }

    /// Listens in `directory`, under the process's number. The first call counts. A host that does not allow it
    /// gets a guest that cannot be looked at.
    pub(crate) fn serve(&self, directory: PathBuf, answer: Answer) {
        let served = Served {
            directory,
            answer,
            looking: RwLock::default(),
        };
        if self.served.set(Arc::new(served)).is_ok() {
            self.open();
        }
    }

    fn open(&self) {
        let Some(served) = self.served.get().map(Arc::clone) else {
            return;
        };
        let path = served.path();
        // Left behind by another process that had the number, or by the image before this one.
        let _ = fs::remove_file(&path);
        let Ok(listener) = UnixListener::bind(&path) else {
            return;
        };
        let listener = UnixListener::from(descriptors::keep(listener.into()));
        self.socket.store(listener.as_raw_fd(), Ordering::Relaxed);
        // Without the thread nobody ever accepts: better no socket at all.
        if !helpers::spawn("lwp control", STACK_BYTES, move || served.accept(&listener)) {
            self.close();
        }
    }

    /// The process is about to end, or listens no more.
    pub(crate) fn close(&self) {
        if let Some(served) = self.served.get()
            && self.socket.swap(-1, Ordering::Relaxed) >= 0
        {
            // Whoever asks then finds nobody.
            let _ = fs::remove_file(served.path());
        }
    }

    /// Keeps the thread from looking at the kernel, for a fork.
    pub(crate) fn hold(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        let served = self.served.get()?;
        Some(
            served
                .looking
                .write()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// In a fork child: the socket is the parent's, and the thread is not here.
    pub(crate) fn after_fork(&self) {
        descriptors::close(self.socket.swap(-1, Ordering::Relaxed));
        self.open();
    }
}

/// Waits for somebody to connect. Linux takes a number for the connection before it waits for one: accept(2) alone
/// would keep the lowest free one from the guest for ever.
fn await_connection(listener: &UnixListener) {
    let mut entry = libc::pollfd {
        fd: listener.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one entry.
    let _may_be_early = unsafe { libc::poll(&raw mut entry, 1, -1) };
}

impl Served {
    fn path(&self) -> PathBuf {
        self.directory.join(process::id().to_string())
    }

    fn accept(&self, listener: &UnixListener) {
        loop {
            await_connection(listener);
            // A connection that fails is the other side's business; an interrupted wait is begun anew.
            if let Ok((stream, _)) = listener.accept() {
                let stream = UnixStream::from(descriptors::keep(stream.into()));
                let _ = self.attend(&stream);
            }
        }
    }

    fn attend(&self, mut stream: &UnixStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut line = String::new();
        BufReader::new(stream.take(LONGEST)).read_line(&mut line)?;
        let answer = {
            let looking = self.looking.read();
            let _nobody_forks = looking.unwrap_or_else(PoisonError::into_inner);
            (self.answer)(line.trim_end())
        };
        stream.write_all(&answer)
    }
}

/// Asks the process whose control socket is `path`.
///
/// # Errors
/// The host's: `ConnectionRefused` if that process is no more.
pub fn ask(path: &Path, line: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(2 * PATIENCE))?;
    writeln!(stream, "{line}")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}
