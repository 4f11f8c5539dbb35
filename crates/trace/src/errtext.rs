//! What errors mean, in NetBSD's words. Source: errno(2), strerror(3).

use lwp_abi::errno::Errno;

/// From 1 on.
const TEXTS: [&str; 98] = [
    "Operation not permitted",
    "No such file or directory",
    "No such process",
    "Interrupted system call",
    "Input/output error",
    "Device not configured",
    "Argument list too long",
    "Exec format error",
    "Bad file descriptor",
    "No child processes",
    "Resource deadlock avoided",
    "Cannot allocate memory",
    "Permission denied",
    "Bad address",
    "Block device required",
    "Device busy",
    "File exists",
    "Cross-device link",
    "Operation not supported by device",
    "Not a directory",
    "Is a directory",
    "Invalid argument",
    "Too many open files in system",
    "Too many open files",
    "Inappropriate ioctl for device",
    "Text file busy",
    "File too large",
    "No space left on device",
    "Illegal seek",
    "Read-only file system",
    "Too many links",
    "Broken pipe",
    "Numerical argument out of domain",
    "Result too large or too small",
    "Resource temporarily unavailable",
    "Operation now in progress",
    "Operation already in progress",
    "Socket operation on non-socket",
    "Destination address required",
    "Message too long",
    "Protocol wrong type for socket",
    "Protocol option not available",
    "Protocol not supported",
    "Socket type not supported",
    "Operation not supported",
    "Protocol family not supported",
    "Address family not supported by protocol family",
    "Address already in use",
    "Can't assign requested address",
    "Network is down",
    "Network is unreachable",
    "Network dropped connection on reset",
    "Software caused connection abort",
    "Connection reset by peer",
    "No buffer space available",
    "Socket is already connected",
    "Socket is not connected",
    "Can't send after socket shutdown",
    "Too many references: can't splice",
    "Connection timed out",
    "Connection refused",
    "Too many levels of symbolic links",
    "File name too long",
    "Host is down",
    "No route to host",
    "Directory not empty",
    "Too many processes",
    "Too many users",
    "Disc quota exceeded",
    "Stale NFS file handle",
    "Too many levels of remote in path",
    "RPC struct is bad",
    "RPC version wrong",
    "RPC prog. not avail",
    "Program version wrong",
    "Bad procedure for program",
    "No locks available",
    "Function not implemented",
    "Inappropriate file type or format",
    "Authentication error",
    "Need authenticator",
    "Identifier removed",
    "No message of desired type",
    "Value too large to be stored in data type",
    "Illegal byte sequence",
    "Not supported",
    "Operation canceled",
    "Bad message",
    "No message available",
    "No STREAM resources",
    "Not a STREAM",
    "STREAM ioctl timeout",
    "Attribute not found",
    "Multihop attempted",
    "Link severed",
    "Protocol error",
    "Previous owner died",
    "State not recoverable",
];

/// What the error means.
pub(crate) fn text(errno: Errno) -> &'static str {
    let at = usize::try_from(errno.raw()).unwrap_or(0);
    at.checked_sub(1)
        .and_then(|at| TEXTS.get(at))
        .copied()
        .unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_text() {
        assert_eq!(Errno::ELAST.raw(), 98);
        let known = [
            (Errno::ENOENT, "No such file or directory"),
            (Errno::EAGAIN, "Resource temporarily unavailable"),
            (Errno::ETIMEDOUT, "Connection timed out"),
            (Errno::ENOSYS, "Function not implemented"),
            (Errno::ENOTSUP, "Not supported"),
            (Errno::EPROTO, "Protocol error"),
            (Errno::EOWNERDEAD, "Previous owner died"),
            (Errno::ENOTRECOVERABLE, "State not recoverable"),
        ];
        for (errno, words) in known {
            assert_eq!(text(errno), words);
        }
    }
}
