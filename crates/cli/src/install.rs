//! `lwp install` and `lwp uninstall`: the host's own way to start NetBSD programs with us.
//!
//! Linux's binfmt_misc starts an interpreter for files that begin with a pattern. Ours is the ELF header
//! of a NetBSD program for this machine, as Go makes it: with NetBSD in the OS/ABI byte. Programs that
//! leave this byte 0 and say who they are in a note, as NetBSD's own tools make them, cannot be told
//! from Linux's by a pattern: they need `lwp run`.
//!
//! The registry is the kernel's, in memory: it is gone after a reboot.
//!
//! Sources: Linux, Documentation/admin-guide/binfmt-misc.rst, `fs/binfmt_misc.c`; elf(5).

use core::fmt;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The name of our entry.
const NAME: &str = "netbsd-x86_64";
/// ELF, 64 bits, little endian, version 1, NetBSD's ABI; executable or shared object, x86-64.
const MAGIC: &[u8] = b"\x7fELF\x02\x01\x01\x02\0\0\0\0\0\0\0\0\x02\0\x3e\0";
/// All of it counts but the ABI's version, the padding, and bit 0 of the type (2 or 3).
const MASK: &[u8] = b"\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0\xfe\xff\xff\xff";
/// The kernel hands on the program's own name (and says so in `AT_FLAGS`).
const FLAGS: &str = "P";
/// The longest line that the kernel reads.
const LINE_MAX: usize = 1920;

/// Why nothing was registered, or nothing removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// There is no registry.
    #[error("{}: binfmt_misc is not mounted; as root: mount -t binfmt_misc binfmt_misc {}", .0.display(), .0.display())]
    NotMounted(PathBuf),
    /// The registry is switched off.
    #[error("{}: binfmt_misc is switched off; as root: echo 1 > {}/status", .0.display(), .0.display())]
    Disabled(PathBuf),
    /// The user may not.
    #[error("{}: not permitted; root may, or the owner of a user namespace that has mounted its own (Linux 6.7)", .0.display())]
    NotPermitted(PathBuf),
    /// Where the runner lies cannot be told to the kernel.
    #[error("{}: the kernel takes no such path for an interpreter", .0.display())]
    BadPath(PathBuf),
    /// The host had another reason.
    #[error("{}: {}", .0.display(), .1)]
    Failed(PathBuf, io::Error),
}

/// What is the case now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Done {
    Registered(PathBuf),
    Removed,
    WasNotThere,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered(runner) => {
                write!(f, "NetBSD programs are started with {}", runner.display())
            }
            Self::Removed => f.write_str("NetBSD programs are not started with lwp any more"),
            Self::WasNotThere => f.write_str("lwp was not installed"),
        }
    }
}

/// Registers `runner` in `registry`, in place of an older entry of ours.
///
/// # Errors
/// [`Refused`].
pub(crate) fn install(registry: &Path, runner: &Path) -> Result<Done, Refused> {
    check(registry)?;
    let line = line(runner)?;
    remove(registry)?;
    write(&registry.join("register"), &line)?;
    Ok(Done::Registered(runner.to_path_buf()))
}

/// Removes our entry from `registry`.
///
/// # Errors
/// [`Refused`].
pub(crate) fn uninstall(registry: &Path) -> Result<Done, Refused> {
    check(registry)?;
    remove(registry)
}

/// What the kernel starts NetBSD programs with, if our entry is in `registry` and switched on.
pub(crate) fn installed(registry: &Path) -> Option<String> {
    let entry = fs::read_to_string(registry.join(NAME)).ok()?;
    let mut lines = entry.lines();
    lines.next().filter(|&first| first == "enabled")?;
    let runner = lines.find_map(|line| line.strip_prefix("interpreter "))?;
    Some(runner.to_owned())
}

fn check(registry: &Path) -> Result<(), Refused> {
    if !registry.join("register").exists() {
        return Err(Refused::NotMounted(registry.to_path_buf()));
    }
    let status = fs::read(registry.join("status")).unwrap_or_default();
    if status.starts_with(b"disabled") {
        return Err(Refused::Disabled(registry.to_path_buf()));
    }
    Ok(())
}

fn remove(registry: &Path) -> Result<Done, Refused> {
    let entry = registry.join(NAME);
    if !entry.exists() {
        return Ok(Done::WasNotThere);
    }
    write(&entry, b"-1")?;
    Ok(Done::Removed)
}

/// The line `:name:type:offset:magic:mask:interpreter:flags`; the kernel knows `\xNN`.
fn line(runner: &Path) -> Result<Vec<u8>, Refused> {
    let escaped = |bytes: &[u8]| {
        let each: Vec<_> = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        each.concat()
    };
    let mut line = format!(":{NAME}:M::{}:{}:", escaped(MAGIC), escaped(MASK)).into_bytes();
    line.extend(runner.as_os_str().as_bytes());
    line.extend(format!(":{FLAGS}").as_bytes());
    let is_bad = |path: &OsStr| {
        path.as_bytes()
            .iter()
            .any(|&byte| byte == b':' || byte == b'\n')
    };
    if is_bad(runner.as_os_str()) || line.len() > LINE_MAX {
        return Err(Refused::BadPath(runner.to_path_buf()));
    }
    Ok(line)
}

/// Writes at once: the kernel reads one line per write.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Refused> {
    let written = OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(bytes));
    written.map_err(|err| match err.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Refused::NotPermitted(path.to_path_buf())
        }
        _ => Refused::Failed(path.to_path_buf(), err),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_is_as_long_as_its_mask() {
        assert_eq!(MAGIC.len(), MASK.len());
        assert!(MAGIC.iter().zip(MASK).all(|(byte, mask)| byte & !mask == 0));
    }

    #[test]
    fn an_entry_says_what_is_started() {
        let registry = std::env::temp_dir().join(format!("lwp-registry-{}", std::process::id()));
        fs::create_dir_all(&registry).unwrap();
        assert_eq!(installed(&registry), None);
        for (entry, runner) in [
            (
                "enabled\ninterpreter /bin/lwp\nflags: P\n",
                Some("/bin/lwp"),
            ),
            ("disabled\ninterpreter /bin/lwp\nflags: P\n", None),
            ("enabled\n", None),
        ] {
            fs::write(registry.join(NAME), entry).unwrap();
            assert_eq!(installed(&registry).as_deref(), runner);
        }
        fs::remove_dir_all(&registry).unwrap();
    }

    #[test]
    fn a_path_that_ends_the_field_is_refused() {
        assert!(line(Path::new("/usr/bin/lwp")).is_ok());
        assert!(line(Path::new("/a:b/lwp")).is_err());
        assert!(line(Path::new(&format!("/{}", "x".repeat(2000)))).is_err());
    }
}
