//! Which file a program's name means, as env(1) and the shell have it.

use crate::fail::Failure;
use rustix::fs::{Access, CWD};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A program file.
pub(crate) struct Found {
    /// Open for reading.
    pub(crate) file: File,
    /// Its path: absolute, links resolved.
    pub(crate) path: Vec<u8>,
}

/// Finds and opens the program called `name`: a path if it has a slash, else in PATH.
///
/// # Errors
/// [`Failure::NotFound`]; [`Failure::Denied`] if there is one that may not be executed.
pub(crate) fn find(name: &OsStr) -> Result<Found, Failure> {
    if name.is_empty() {
        return Err(Failure::NotFound(name.to_owned()));
    }
    if name.as_bytes().contains(&b'/') {
        return open(name, Path::new(name));
    }
    let path = env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    let mut denied = None;
    for directory in env::split_paths(&path) {
        let here = if directory.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &directory
        };
        match open(name, &here.join(name)) {
            Err(Failure::NotFound(_)) => {}
            Err(failure) => denied = denied.or(Some(failure)),
            Ok(found) => return Ok(found),
        }
    }
    Err(denied.unwrap_or_else(|| Failure::NotFound(name.to_owned())))
}

fn open(name: &OsStr, path: &Path) -> Result<Found, Failure> {
    let failed = |err: io::Error| match err.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Failure::NotFound(name.to_owned())
        }
        _ => Failure::Denied(name.to_owned(), plain(err)),
    };
    let file = File::open(path).map_err(failed)?;
    let kind = file.metadata().map_err(failed)?.file_type();
    if !kind.is_file() {
        let what = if kind.is_dir() {
            "a directory"
        } else {
            "not a regular file"
        };
        return Err(Failure::Denied(name.to_owned(), io::Error::other(what)));
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, rustix::fs::AtFlags::EACCESS)
        .map_err(|err| failed(err.into()))?;
    let absolute = path.canonicalize().unwrap_or_else(|_| PathBuf::from(path));
    Ok(Found {
        file,
        path: absolute.into_os_string().into_vec(),
    })
}

/// The error in plain words, without the host's number.
fn plain(err: io::Error) -> io::Error {
    match err.kind() {
        io::ErrorKind::PermissionDenied => io::Error::other("permission denied"),
        _ => err,
    }
}
