//! Error numbers: what a failed call leaves in RAX, and what the host's numbers become.
//!
//! Responsible for the numbers, their names, and the two directions between NetBSD and Linux. Not
//! for the outcomes that are no numbers (a restart, a context set by the handler): those never
//! reach the guest, and have their own type in the kernel.
//!
//! # Invariants
//! 1. An [`Errno`] holds one of the 98 numbers of NetBSD 10; no other value can be made.
//! 2. [`Errno::from_linux`] is total: an unknown host number becomes `EINVAL`, and is never passed
//!    on. The number 35 alone would turn a busy `EAGAIN` into a deadlock.
//!
//! Sources: errno(2), sys/errno.h; errno(3) of Linux.

use core::fmt;

/// An error number as NetBSD programs know it. Having one means that the guest is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Errno(u16);

/// One row: NetBSD's number, its name, and the Linux number of the same meaning.
struct Row(Errno, &'static str, Option<u16>);

macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident = $number:literal $(=> $linux:literal)?,)*) => {
        impl Errno {
            $($(#[$doc])* pub const $name: Self = Self($number);)*
        }
        const ROWS: &[Row] = &[$(Row(
            Errno::$name,
            stringify!($name),
            errnos!(@linux $($linux)?),
        ),)*];
    };
    (@linux) => { None };
    (@linux $linux:literal) => { Some($linux) };
}

errnos! {
    /// The caller may not do this.
    EPERM = 1 => 1,
    /// There is no such file or directory.
    ENOENT = 2 => 2,
    /// There is no such process or LWP.
    ESRCH = 3 => 3,
    /// A signal came first.
    EINTR = 4 => 4,
    /// The device failed.
    EIO = 5 => 5,
    /// The device is not there.
    ENXIO = 6 => 6,
    /// The argument list is too long.
    E2BIG = 7 => 7,
    /// The file is not executable in any known format.
    ENOEXEC = 8 => 8,
    /// The descriptor is not open, or not open for this.
    EBADF = 9 => 9,
    /// There is no child to wait for.
    ECHILD = 10 => 10,
    /// Waiting would be for ever.
    EDEADLK = 11 => 35,
    /// Memory is short.
    ENOMEM = 12 => 12,
    /// Permission is denied.
    EACCES = 13 => 13,
    /// The address is not the program's.
    EFAULT = 14 => 14,
    /// A block device is needed.
    ENOTBLK = 15 => 15,
    /// The thing is in use.
    EBUSY = 16 => 16,
    /// The file exists already.
    EEXIST = 17 => 17,
    /// The link would cross file systems.
    EXDEV = 18 => 18,
    /// The device cannot do this.
    ENODEV = 19 => 19,
    /// A component is not a directory.
    ENOTDIR = 20 => 20,
    /// It is a directory.
    EISDIR = 21 => 21,
    /// An argument is not acceptable.
    EINVAL = 22 => 22,
    /// The system has too many open files.
    ENFILE = 23 => 23,
    /// The process has too many open files.
    EMFILE = 24 => 24,
    /// The ioctl is not for this descriptor.
    ENOTTY = 25 => 25,
    /// The text of a running program is busy.
    ETXTBSY = 26 => 26,
    /// The file would be too large.
    EFBIG = 27 => 27,
    /// The file system is full.
    ENOSPC = 28 => 28,
    /// One cannot seek here.
    ESPIPE = 29 => 29,
    /// The file system is read-only.
    EROFS = 30 => 30,
    /// There are too many links.
    EMLINK = 31 => 31,
    /// Nobody reads from the pipe.
    EPIPE = 32 => 32,
    /// The number is outside the function's domain.
    EDOM = 33 => 33,
    /// The result does not fit.
    ERANGE = 34 => 34,
    /// Try again: it would block, or a resource is short.
    EAGAIN = 35 => 11,
    /// The operation has begun and goes on.
    EINPROGRESS = 36 => 115,
    /// The operation is under way; for `_lwp_park(2)`: the unpark came first.
    EALREADY = 37 => 114,
    /// It is not a socket.
    ENOTSOCK = 38 => 88,
    /// A destination address is needed.
    EDESTADDRREQ = 39 => 89,
    /// The message is too long.
    EMSGSIZE = 40 => 90,
    /// The protocol does not fit the socket type.
    EPROTOTYPE = 41 => 91,
    /// The protocol has no such option.
    ENOPROTOOPT = 42 => 92,
    /// The protocol is not supported.
    EPROTONOSUPPORT = 43 => 93,
    /// The socket type is not supported.
    ESOCKTNOSUPPORT = 44 => 94,
    /// The operation is not supported on this object.
    EOPNOTSUPP = 45 => 95,
    /// The protocol family is not supported.
    EPFNOSUPPORT = 46 => 96,
    /// The address family is not supported here.
    EAFNOSUPPORT = 47 => 97,
    /// The address is in use.
    EADDRINUSE = 48 => 98,
    /// The address is not one of ours.
    EADDRNOTAVAIL = 49 => 99,
    /// The network is down.
    ENETDOWN = 50 => 100,
    /// The network cannot be reached.
    ENETUNREACH = 51 => 101,
    /// The network dropped the connection.
    ENETRESET = 52 => 102,
    /// The connection was aborted on this side.
    ECONNABORTED = 53 => 103,
    /// The peer reset the connection.
    ECONNRESET = 54 => 104,
    /// Buffer space is short.
    ENOBUFS = 55 => 105,
    /// The socket is connected already.
    EISCONN = 56 => 106,
    /// The socket is not connected.
    ENOTCONN = 57 => 107,
    /// The socket has been shut down.
    ESHUTDOWN = 58 => 108,
    /// There are too many references.
    ETOOMANYREFS = 59 => 109,
    /// The time ran out.
    ETIMEDOUT = 60 => 110,
    /// The peer refused the connection.
    ECONNREFUSED = 61 => 111,
    /// There are too many symbolic links.
    ELOOP = 62 => 40,
    /// The name is too long.
    ENAMETOOLONG = 63 => 36,
    /// The host is down.
    EHOSTDOWN = 64 => 112,
    /// There is no route to the host.
    EHOSTUNREACH = 65 => 113,
    /// The directory is not empty.
    ENOTEMPTY = 66 => 39,
    /// There are too many processes (the kernel never says so).
    EPROCLIM = 67,
    /// There are too many users.
    EUSERS = 68 => 87,
    /// The disk quota is used up.
    EDQUOT = 69 => 122,
    /// The file handle is stale.
    ESTALE = 70 => 116,
    /// There are too many levels of remote path.
    EREMOTE = 71 => 66,
    /// The RPC structure is bad.
    EBADRPC = 72,
    /// The RPC version is wrong.
    ERPCMISMATCH = 73,
    /// The RPC program is not available.
    EPROGUNAVAIL = 74,
    /// The RPC program has another version.
    EPROGMISMATCH = 75,
    /// The RPC program has no such procedure.
    EPROCUNAVAIL = 76,
    /// There are no locks left.
    ENOLCK = 77 => 37,
    /// The system call does not exist; it also raises SIGSYS.
    ENOSYS = 78 => 38,
    /// The file is of the wrong type; `O_NOFOLLOW` on a symbolic link.
    EFTYPE = 79,
    /// Authentication failed.
    EAUTH = 80,
    /// Authentication is needed first.
    ENEEDAUTH = 81,
    /// The identifier was removed.
    EIDRM = 82 => 43,
    /// There is no message of that type.
    ENOMSG = 83 => 42,
    /// The value does not fit its type.
    EOVERFLOW = 84 => 75,
    /// The byte sequence is illegal.
    EILSEQ = 85 => 84,
    /// The feature is not supported.
    ENOTSUP = 86 => 95,
    /// The operation was cancelled.
    ECANCELED = 87 => 125,
    /// The message is bad.
    EBADMSG = 88 => 74,
    /// There is no message to be had.
    ENODATA = 89 => 61,
    /// There are no STREAMS resources.
    ENOSR = 90 => 63,
    /// It is not a STREAM.
    ENOSTR = 91 => 60,
    /// The STREAM ioctl timed out.
    ETIME = 92 => 62,
    /// There is no such extended attribute.
    ENOATTR = 93,
    /// A multihop was attempted.
    EMULTIHOP = 94 => 72,
    /// The link has been severed.
    ENOLINK = 95 => 67,
    /// The protocol failed.
    EPROTO = 96 => 71,
    /// The previous owner of the mutex died.
    EOWNERDEAD = 97 => 130,
    /// The state protected by the mutex is lost.
    ENOTRECOVERABLE = 98 => 131,
}

/// Linux numbers that NetBSD does not have, and what a NetBSD kernel would have said instead.
///
/// From 512 on they are kernel-internal, and seen by tracers only.
const LINUX_ONLY: &[(u16, Errno)] = &[
    (44, Errno::EINVAL),      // ECHRNG
    (45, Errno::EIO),         // EL2NSYNC
    (46, Errno::EIO),         // EL3HLT
    (47, Errno::EIO),         // EL3RST
    (48, Errno::EINVAL),      // ELNRNG
    (49, Errno::EIO),         // EUNATCH
    (50, Errno::EIO),         // ENOCSI
    (51, Errno::EIO),         // EL2HLT
    (52, Errno::EINVAL),      // EBADE
    (53, Errno::EINVAL),      // EBADR
    (54, Errno::EBUSY),       // EXFULL
    (55, Errno::ENOENT),      // ENOANO
    (56, Errno::EINVAL),      // EBADRQC
    (57, Errno::EINVAL),      // EBADSLT
    (59, Errno::EINVAL),      // EBFONT
    (64, Errno::ENETDOWN),    // ENONET
    (65, Errno::ENODEV),      // ENOPKG
    (68, Errno::EIO),         // EADV
    (69, Errno::EBUSY),       // ESRMNT
    (70, Errno::EIO),         // ECOMM
    (73, Errno::EIO),         // EDOTDOT
    (76, Errno::EEXIST),      // ENOTUNIQ
    (77, Errno::EBADF),       // EBADFD
    (78, Errno::EIO),         // EREMCHG
    (79, Errno::ENOEXEC),     // ELIBACC
    (80, Errno::ENOEXEC),     // ELIBBAD
    (81, Errno::ENOEXEC),     // ELIBSCN
    (82, Errno::ENOEXEC),     // ELIBMAX
    (83, Errno::ENOEXEC),     // ELIBEXEC
    (86, Errno::EPIPE),       // ESTRPIPE
    (117, Errno::EIO),        // EUCLEAN
    (118, Errno::EINVAL),     // ENOTNAM
    (119, Errno::ENOENT),     // ENAVAIL
    (120, Errno::EEXIST),     // EISNAM
    (121, Errno::EIO),        // EREMOTEIO
    (123, Errno::ENODEV),     // ENOMEDIUM
    (124, Errno::EFTYPE),     // EMEDIUMTYPE
    (126, Errno::EACCES),     // ENOKEY
    (127, Errno::EACCES),     // EKEYEXPIRED
    (128, Errno::EACCES),     // EKEYREVOKED
    (129, Errno::EACCES),     // EKEYREJECTED
    (132, Errno::ENETDOWN),   // ERFKILL
    (133, Errno::EFAULT),     // EHWPOISON
    (85, Errno::EINTR),       // ERESTART
    (512, Errno::EINTR),      // ERESTARTSYS
    (513, Errno::EINTR),      // ERESTARTNOINTR
    (514, Errno::EINTR),      // ERESTARTNOHAND
    (515, Errno::ENOTTY),     // ENOIOCTLCMD
    (516, Errno::EINTR),      // ERESTART_RESTARTBLOCK
    (517, Errno::EAGAIN),     // EPROBE_DEFER
    (518, Errno::ESTALE),     // EOPENSTALE
    (519, Errno::EINVAL),     // ENOPARAM
    (524, Errno::EOPNOTSUPP), // ENOTSUPP
];

/// One past the largest Linux number in the tables.
const LINUX_END: usize = 525;

/// What each Linux number becomes.
static FROM_LINUX: [Errno; LINUX_END] = from_linux_table();

const fn from_linux_table() -> [Errno; LINUX_END] {
    let mut table = [Errno::EINVAL; LINUX_END];
    let mut at = 0;
    while at < ROWS.len() {
        // ENOTSUP and EOPNOTSUPP share one number on Linux; sockets and flock(2) say the latter.
        if let Row(errno, _, Some(linux)) = &ROWS[at]
            && errno.0 != Errno::ENOTSUP.0
        {
            table[*linux as usize] = *errno;
        }
        at += 1;
    }
    at = 0;
    while at < LINUX_ONLY.len() {
        table[LINUX_ONLY[at].0 as usize] = LINUX_ONLY[at].1;
        at += 1;
    }
    table
}

impl Errno {
    /// The other name of `EAGAIN`.
    pub const EWOULDBLOCK: Self = Self::EAGAIN;

    /// The largest number there is.
    pub const ELAST: Self = Self::ENOTRECOVERABLE;

    /// Names the error with this NetBSD number, if there is one.
    pub fn from_raw(number: i32) -> Option<Self> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        ROWS.get(at).map(|row| row.0)
    }

    /// Translates a Linux error number. Unknown numbers become `EINVAL`.
    ///
    /// What depends on the call is the caller's: `ELOOP` from an `O_NOFOLLOW` open is `EFTYPE`,
    /// `ENODATA` of extended attributes is `ENOATTR`, 95 may have to be `ENOTSUP`.
    pub fn from_linux(linux: i32) -> Self {
        usize::try_from(linux)
            .ok()
            .and_then(|at| FROM_LINUX.get(at).copied())
            .unwrap_or(Self::EINVAL)
    }

    /// The Linux number of the same meaning, if Linux has one.
    pub fn to_linux(self) -> Option<i32> {
        self.row().2.map(i32::from)
    }

    /// The number, as the guest finds it in RAX.
    pub fn raw(self) -> i32 {
        i32::from(self.0)
    }

    /// The name, as in errno(2): `"ENOENT"`.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    fn row(self) -> &'static Row {
        // Invariant 1: the rows are the numbers 1 to 98, in order.
        &ROWS[usize::from(self.0) - 1]
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl core::error::Error for Errno {}

const _: () = {
    let mut at = 0;
    while at < ROWS.len() {
        assert!(ROWS[at].0.0 as usize == at + 1, "a gap in the numbers");
        at += 1;
    }
};
