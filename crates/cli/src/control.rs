//! Where the control sockets of this user's guests are, and what is said through them.
//!
//! One socket for each process, called by its number, in a directory that is the user's own: `lwp` in
//! `$XDG_RUNTIME_DIR`, or else `/tmp/lwp-UID`. Whoever can connect is the user, or root. The question is a line;
//! the answer to `ps` is a [`Snapshot`] in JSON.

use crate::snapshot::Snapshot;
use lwp_kernel::Kernel;
use lwp_machine::HostMachine;
use lwp_syscalls::Unix;
use rustix::fs::{FileType, Mode};
use std::env;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Of a socket's path Linux takes 107 bytes; that is the directory's part.
const LONGEST: usize = 96;
/// What `lwp ps` asks.
const PS: &str = "ps";

/// Lets the guest be looked at. If the host does not allow it, it cannot be looked at.
pub(crate) fn serve(machine: &HostMachine, kernel: &Arc<Kernel>, sys: &Arc<Unix>) {
    let mut all = directories().into_iter();
    let Some(directory) = all.find(|path| path.as_os_str().len() < LONGEST && is_ours(path)) else {
        return;
    };
    let (kernel, sys) = (Arc::downgrade(kernel), Arc::downgrade(sys));
    let answer = move |line: &str| {
        let (kernel, sys) = (kernel.upgrade(), sys.upgrade());
        let guest = kernel.zip(sys).filter(|_| line == PS);
        let snapshot = guest.map(|(kernel, sys)| Snapshot::take(&kernel, &sys.image().path));
        // Nothing at all for what is not understood.
        snapshot.map_or_else(Vec::new, |snapshot| {
            serde_json::to_vec(&snapshot).unwrap_or_default()
        })
    };
    machine.serve(directory, Box::new(answer));
}

/// What a look at the guests has brought.
pub(crate) struct Looked {
    /// By number.
    pub(crate) found: Vec<Snapshot>,
    /// Why others did not answer.
    pub(crate) silent: Vec<io::Error>,
}

/// Looks at the guests of this user that run now; with `pid`, at that one.
///
/// # Errors
/// `NotFound`: there is no such guest. Else why it does not answer.
pub(crate) fn look(pid: Option<i32>) -> io::Result<Looked> {
    let (mut found, mut silent) = (Vec::new(), Vec::new());
    for path in directories().iter().flat_map(|path| sockets(path)) {
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        let Some(number) = number.filter(|&number| pid.is_none_or(|pid| pid == number)) else {
            continue;
        };
        match ask(&path, number) {
            Ok(snapshot) => found.extend(snapshot),
            Err(err) if pid.is_some() => return Err(err),
            Err(err) => silent.push(err),
        }
    }
    found.sort_by_key(|snapshot| snapshot.pid);
    if let Some(pid) = pid.filter(|_| found.is_empty()) {
        let text = format!("process {pid} is no guest of this user's");
        return Err(io::Error::new(ErrorKind::NotFound, text));
    }
    Ok(Looked { found, silent })
}

/// Asks process `pid`, whose socket is `path`; `None` if it is no more.
fn ask(path: &Path, pid: i32) -> io::Result<Option<Snapshot>> {
    if is_stopped(pid) {
        let text = format!("process {pid} is stopped, and cannot say what it does");
        return Err(io::Error::other(text));
    }
    match lwp_machine::ask(path, PS) {
        // Nothing, or half of it: it has ended meanwhile.
        Ok(answer) => Ok(serde_json::from_slice(&answer).ok()),
        Err(err) => match err.kind() {
            // It was killed, and could not take its socket away.
            ErrorKind::ConnectionRefused => {
                let _ = fs::remove_file(path);
                Ok(None)
            }
            // It has just ended.
            ErrorKind::NotFound | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ok(None),
            _ => Err(io::Error::new(err.kind(), format!("process {pid}: {err}"))),
        },
    }
}

/// Whether the host has stopped process `pid`, as by Ctrl-Z.
fn is_stopped(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state comes after the name, which may have anything in it.
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| rest.starts_with(" T"))
}

/// Where sockets may be, the best place first.
fn directories() -> Vec<PathBuf> {
    let runtime = env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty());
    let uid = rustix::process::geteuid().as_raw();
    let runtime = runtime.map(|path| Path::new(&path).join("lwp"));
    runtime
        .into_iter()
        .chain([PathBuf::from(format!("/tmp/lwp-{uid}"))])
        .collect()
}

/// Whether `path` is a directory that nobody but this user can write or search, after it was made if it was missing.
fn is_ours(path: &Path) -> bool {
    // If it is there already, or cannot be, the look at it says so.
    let _ = rustix::fs::mkdir(path, Mode::RWXU);
    rustix::fs::lstat(path).is_ok_and(|stat| {
        let is_private = Mode::from_raw_mode(stat.st_mode).intersection(Mode::RWXG | Mode::RWXO);
        FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            && stat.st_uid == rustix::process::geteuid().as_raw()
            && is_private.is_empty()
    })
}

/// What lies in a directory of ours; nothing if it is somebody else's.
fn sockets(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).ok().filter(|_| is_ours(directory));
    let paths = entries.into_iter().flatten().filter_map(Result::ok);
    paths.map(|entry| entry.path()).collect()
}
