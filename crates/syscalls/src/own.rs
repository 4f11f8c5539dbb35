//! Directories of the host that the runner reads for itself, through descriptors of its own.
//!
//! A descriptor in the guest's range can be closed by any of its LWPs at any time, and the standard
//! library's reader of directories panics when that happens. Here it is an error like others.

use crate::host::Host;
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::{Result, fcntl_dupfd_cloexec};

/// Bytes of entries that are read at once.
const BATCH: usize = 4096;

/// The names in the host's directory `path` that are numbers, such as descriptors and threads.
///
/// # Errors
/// The host's; `EBADF` if the guest closed the number that the descriptor had for a moment.
pub(crate) fn numbers_in(host: &dyn Host, path: &str) -> Result<Vec<i32>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let low = rustix::fs::open(path, flags, Mode::empty())?;
    let dir = fcntl_dupfd_cloexec(&low, host.first_own_fd())?;
    drop(low);
    let mut buf = Vec::with_capacity(BATCH);
    let mut entries = RawDir::new(dir, buf.spare_capacity_mut());
    let mut numbers = Vec::new();
    while let Some(entry) = entries.next() {
        let name = entry?;
        numbers.extend(
            name.file_name()
                .to_str()
                .ok()
                .and_then(|name| name.parse::<i32>().ok()),
        );
    }
    Ok(numbers)
}
