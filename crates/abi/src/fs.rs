//! Files: records, open flags, and what can be asked of a descriptor or a path.
//!
//! Sources: open(2), fcntl(2), stat(2), getdents(2), statvfs(2), sys/fcntl.h, sys/stat.h,
//! sys/dirent.h, sys/statvfs.h, sys/extattr.h.

use crate::table::numbers;
use crate::time::Timespec;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

numbers! {
    /// Flags of open(2).
    OPEN_FLAGS: u32 {
        /// All three bits of the access mode; with this value itself, open(2) says `EINVAL`.
        O_ACCMODE = 0x3 => 0x3,
        /// Kept and ignored.
        O_ALT_IO = 0x40000,
        O_APPEND = 0x8 => 0x400,
        /// Sends `SIGIO`.
        O_ASYNC = 0x40 => 0x2000,
        O_CLOEXEC = 0x40_0000 => 0x80000,
        /// NetBSD 11.
        O_CLOFORK = 0x800_0000,
        O_CREAT = 0x200 => 0x40,
        O_DIRECT = 0x80000 => 0x4000,
        /// With `O_CREAT`: `EINVAL`.
        O_DIRECTORY = 0x20_0000 => 0x10000,
        O_DSYNC = 0x10000 => 0x1000,
        O_EXCL = 0x800 => 0x80,
        /// NetBSD 10 and later.
        O_EXEC = 0x400_0000 => 0x20_0000,
        /// Takes the lock of flock(2), at once.
        O_EXLOCK = 0x20,
        O_FSYNC = 0x80 => 0x10_1000,
        O_NDELAY = 0x4 => 0x800,
        O_NOCTTY = 0x8000 => 0x100,
        /// A link then fails with `EFTYPE`, not `ELOOP`.
        O_NOFOLLOW = 0x100 => 0x20000,
        /// May be changed by `F_SETFL`.
        O_NONBLOCK = 0x4 => 0x800,
        /// `EPIPE` without `SIGPIPE`; belongs to the open file.
        O_NOSIGPIPE = 0x100_0000,
        O_RDONLY = 0x0 => 0x0,
        O_RDWR = 0x2 => 0x2,
        /// Anything but a regular file: `EFTYPE`.
        O_REGULAR = 0x200_0000,
        O_RSYNC = 0x20000 => 0x10_1000,
        /// A directory for searching only. `O_PATH` is near it, but not the same.
        O_SEARCH = 0x80_0000 => 0x20_0000,
        /// Takes the lock of flock(2), at once.
        O_SHLOCK = 0x10,
        /// Linux `O_SYNC` includes its `O_DSYNC` bit.
        O_SYNC = 0x80 => 0x10_1000,
        O_TRUNC = 0x400 => 0x200,
        O_WRONLY = 0x1 => 0x1,
    }
}

bitflags::bitflags! {
    /// How a file is opened, and what `F_GETFL` tells of it. Unknown bits survive.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct OFlags: u32 {
        /// Only for writing.
        const WRONLY = O_WRONLY;
        /// For reading and writing.
        const RDWR = O_RDWR;
        /// Never wait.
        const NONBLOCK = O_NONBLOCK;
        /// Write at the end.
        const APPEND = O_APPEND;
        /// Take a shared lock.
        const SHLOCK = O_SHLOCK;
        /// Take an exclusive lock.
        const EXLOCK = O_EXLOCK;
        /// Send `SIGIO`.
        const ASYNC = O_ASYNC;
        /// Write through, with all metadata.
        const SYNC = O_SYNC;
        /// Do not follow a symbolic link at the end of the path.
        const NOFOLLOW = O_NOFOLLOW;
        /// Make the file if it is not there.
        const CREAT = O_CREAT;
        /// Make it empty.
        const TRUNC = O_TRUNC;
        /// Fail if it is there.
        const EXCL = O_EXCL;
        /// A terminal does not become the controlling one.
        const NOCTTY = O_NOCTTY;
        /// Write through.
        const DSYNC = O_DSYNC;
        /// Reads wait for writes.
        const RSYNC = O_RSYNC;
        /// Kept, and without effect.
        const ALT_IO = O_ALT_IO;
        /// Past the cache.
        const DIRECT = O_DIRECT;
        /// Fail unless it is a directory.
        const DIRECTORY = O_DIRECTORY;
        /// Close the descriptor on exec.
        const CLOEXEC = O_CLOEXEC;
        /// A directory, for searching only.
        const SEARCH = O_SEARCH;
        /// `EPIPE` without `SIGPIPE`.
        const NOSIGPIPE = O_NOSIGPIPE;
        /// Fail unless it is a regular file.
        const REGULAR = O_REGULAR;
        /// Only for executing.
        const EXEC = O_EXEC;
        /// Close the descriptor on fork (NetBSD 11).
        const CLOFORK = O_CLOFORK;
        const _ = !0;
    }
}

impl OFlags {
    /// The bits of the access mode.
    pub const ACCMODE: Self = Self::from_bits_retain(O_ACCMODE);

    /// The access mode alone.
    #[must_use]
    pub fn accmode(self) -> Self {
        self.intersection(Self::ACCMODE)
    }

    /// Whether the access mode allows reading.
    pub fn is_readable(self) -> bool {
        matches!(self.bits() & O_ACCMODE, O_RDONLY | O_RDWR)
    }

    /// Whether the access mode allows writing.
    pub fn is_writable(self) -> bool {
        matches!(self.bits() & O_ACCMODE, O_WRONLY | O_RDWR)
    }
}

/// The descriptor that stands for the current directory.
pub const AT_FDCWD: i32 = -100;

numbers! {
    /// Flags of the calls whose names end in "at".
    AT_FLAGS: u32 {
        AT_EACCESS = 0x100 => 0x200,
        /// Linux has other flags at this value.
        AT_SYMLINK_NOFOLLOW = 0x200 => 0x100,
        AT_SYMLINK_FOLLOW = 0x400 => 0x400,
        AT_REMOVEDIR = 0x800 => 0x200,
    }
}

numbers! {
    /// Commands of fcntl(2).
    FCNTL_CMDS: i32 {
        /// NetBSD 11.
        F_ADD_SEALS = 0x10 => 0x409,
        /// Closes every descriptor from the argument on.
        F_CLOSEM = 0xa,
        F_DUPFD = 0x0 => 0x0,
        /// NetBSD 11.
        F_DUPFD_CLOBOTH = 0x13,
        F_DUPFD_CLOEXEC = 0xc => 0x406,
        /// NetBSD 11.
        F_DUPFD_CLOFORK = 0x12,
        F_GETFD = 0x1 => 0x1,
        F_GETFL = 0x3 => 0x3,
        /// 7 is `F_SETLKW` on Linux.
        F_GETLK = 0x7 => 0x5,
        /// See `O_NOSIGPIPE`.
        F_GETNOSIGPIPE = 0xd,
        /// 5 is `F_GETLK` on Linux.
        F_GETOWN = 0x5 => 0x9,
        /// The argument is a buffer of 1024 bytes.
        F_GETPATH = 0xf,
        /// NetBSD 11.
        F_GET_SEALS = 0x11 => 0x40a,
        /// Asks for the highest open descriptor.
        F_MAXFD = 0xb,
        F_SETFD = 0x2 => 0x2,
        F_SETFL = 0x4 => 0x4,
        /// 8 is `F_SETOWN` on Linux.
        F_SETLK = 0x8 => 0x6,
        /// 9 is `F_GETOWN` on Linux.
        F_SETLKW = 0x9 => 0x7,
        /// See `O_NOSIGPIPE`.
        F_SETNOSIGPIPE = 0xe,
        /// 6 is `F_SETLK` on Linux. A negative argument names a process group.
        F_SETOWN = 0x6 => 0x8,
    }
}

numbers! {
    /// Flags of descriptors.
    FD_FLAGS: i32 {
        FD_CLOEXEC = 1 => 1,
        /// NetBSD 11.
        FD_CLOFORK = 2,
    }
}

numbers! {
    /// Kinds of record locks.
    LOCK_TYPES: i16 {
        F_RDLCK = 1 => 0,
        F_UNLCK = 2 => 2,
        F_WRLCK = 3 => 1,
    }
}

/// `struct flock`: a record lock. Kind and origin come last, unlike on Linux.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Flock {
    /// Where it begins, seen from `l_whence`.
    pub l_start: i64,
    /// How long it is; 0 for up to the end.
    pub l_len: i64,
    /// Who holds it.
    pub l_pid: i32,
    /// One of [`LOCK_TYPES`].
    pub l_type: i16,
    /// One of [`SEEKS`].
    pub l_whence: i16,
}

numbers! {
    /// Seals of `F_ADD_SEALS` (NetBSD 11).
    SEALS: i32 {
        F_SEAL_FUTURE_WRITE = 16 => 16,
        F_SEAL_GROW = 4 => 4,
        F_SEAL_SEAL = 1 => 1,
        F_SEAL_SHRINK = 2 => 2,
        F_SEAL_WRITE = 8 => 8,
    }
}

numbers! {
    /// Operations of flock(2).
    FLOCK_OPS: i32 {
        LOCK_EX = 2 => 2,
        LOCK_NB = 4 => 4,
        LOCK_SH = 1 => 1,
        LOCK_UN = 8 => 8,
    }
}

numbers! {
    /// Origins of lseek(2).
    SEEKS: i32 {
        SEEK_CUR = 1 => 1,
        SEEK_END = 2 => 2,
        SEEK_SET = 0 => 0,
    }
}

numbers! {
    /// Modes of access(2).
    ACCESS_MODES: i32 {
        F_OK = 0 => 0,
        R_OK = 4 => 4,
        W_OK = 2 => 2,
        X_OK = 1 => 1,
    }
}

numbers! {
    /// Advice of `posix_fadvise(2)`.
    FADVICE: i32 {
        POSIX_FADV_DONTNEED = 4 => 4,
        POSIX_FADV_NOREUSE = 5 => 5,
        POSIX_FADV_NORMAL = 0 => 0,
        POSIX_FADV_RANDOM = 1 => 1,
        POSIX_FADV_SEQUENTIAL = 2 => 2,
        POSIX_FADV_WILLNEED = 3 => 3,
    }
}

/// `struct stat`, since NetBSD 6.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Stat {
    /// The device the file is on.
    pub st_dev: u64,
    /// Type and permissions.
    pub st_mode: u32,
    /// Padding.
    pub pad1: u32,
    /// The serial number of the file.
    pub st_ino: u64,
    /// How many links there are.
    pub st_nlink: u32,
    /// The owner.
    pub st_uid: u32,
    /// The group.
    pub st_gid: u32,
    /// Padding.
    pub pad2: u32,
    /// The device that the file is.
    pub st_rdev: u64,
    /// The last access.
    pub st_atim: Timespec,
    /// The last change of the contents.
    pub st_mtim: Timespec,
    /// The last change of the file.
    pub st_ctim: Timespec,
    /// When the file was made.
    pub st_birthtim: Timespec,
    /// The size, in bytes.
    pub st_size: i64,
    /// The space used, in blocks of 512 bytes.
    pub st_blocks: i64,
    /// The best size for input and output.
    pub st_blksize: i32,
    /// File flags.
    pub st_flags: u32,
    /// The generation of the file.
    pub st_gen: u32,
    /// Spare.
    pub st_spare: [u32; 2],
    /// Padding.
    pub pad3: u32,
}

numbers! {
    /// Types and permissions in [`Stat::st_mode`].
    FILE_MODES: u32 {
        S_IEXEC = 0x40 => 0x40,
        S_IFBLK = 0x6000 => 0x6000,
        S_IFCHR = 0x2000 => 0x2000,
        S_IFDIR = 0x4000 => 0x4000,
        S_IFIFO = 0x1000 => 0x1000,
        S_IFLNK = 0xa000 => 0xa000,
        S_IFMT = 0xf000 => 0xf000,
        S_IFREG = 0x8000 => 0x8000,
        S_IFSOCK = 0xc000 => 0xc000,
        S_IFWHT = 0xe000,
        S_IREAD = 0x100 => 0x100,
        S_IRGRP = 0x20 => 0x20,
        S_IROTH = 0x4 => 0x4,
        S_IRUSR = 0x100 => 0x100,
        S_IRWXG = 0x38 => 0x38,
        S_IRWXO = 0x7 => 0x7,
        S_IRWXU = 0x1c0 => 0x1c0,
        S_ISGID = 0x400 => 0x400,
        S_ISTXT = 0x200 => 0x200,
        S_ISUID = 0x800 => 0x800,
        S_ISVTX = 0x200 => 0x200,
        S_IWGRP = 0x10 => 0x10,
        S_IWOTH = 0x2 => 0x2,
        S_IWRITE = 0x80 => 0x80,
        S_IWUSR = 0x80 => 0x80,
        S_IXGRP = 0x8 => 0x8,
        S_IXOTH = 0x1 => 0x1,
        S_IXUSR = 0x40 => 0x40,
        S_BLKSIZE = 0x200 => 0x200,
    }
}

numbers! {
    /// Flags in [`Stat::st_flags`]; see chflags(2).
    FILE_FLAGS: u32 {
        SF_APPEND = 0x40000,
        SF_ARCHIVED = 0x10000,
        SF_IMMUTABLE = 0x20000,
        SF_LOG = 0x40_0000,
        SF_SETTABLE = 0xffff_0000,
        SF_SNAPINVAL = 0x80_0000,
        SF_SNAPSHOT = 0x20_0000,
        UF_APPEND = 0x4,
        UF_IMMUTABLE = 0x2,
        UF_NODUMP = 0x1,
        UF_OPAQUE = 0x8,
        UF_SETTABLE = 0xffff,
    }
}

numbers! {
    /// Nanoseconds that stand for no time, in utimensat(2).
    UTIMES: i64 {
        UTIME_NOW = 0x3fff_ffff => 0x3fff_ffff,
        UTIME_OMIT = 0x3fff_fffe => 0x3fff_fffe,
    }
}

/// The part of `struct dirent` before the name.
///
/// In the buffer of getdents(2) the name follows at once, with a NUL; [`DirentHeader::reclen`] says
/// where the next record begins.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, packed)]
pub struct DirentHeader {
    /// The serial number of the file.
    pub d_fileno: u64,
    /// The length of the record.
    pub d_reclen: u16,
    /// The length of the name, without the NUL.
    pub d_namlen: u16,
    /// One of [`DIRENT_TYPES`].
    pub d_type: u8,
}

impl DirentHeader {
    /// The longest name that a record holds.
    pub const MAXNAMLEN: usize = 511;

    /// The length of a record with a name of `namlen` bytes: a multiple of eight. `None` if the name is
    /// too long.
    pub fn reclen(namlen: usize) -> Option<u16> {
        if namlen > Self::MAXNAMLEN {
            return None;
        }
        let used = size_of::<Self>() + namlen + 1;
        u16::try_from(used.next_multiple_of(8)).ok()
    }
}

numbers! {
    /// Types in [`DirentHeader::d_type`].
    DIRENT_TYPES: u8 {
        DT_UNKNOWN = 0 => 0,
        DT_FIFO = 1 => 1,
        DT_CHR = 2 => 2,
        DT_DIR = 4 => 4,
        DT_BLK = 6 => 6,
        DT_REG = 8 => 8,
        DT_LNK = 10 => 10,
        DT_SOCK = 12 => 12,
        DT_WHT = 14 => 14,
    }
}

/// `fsid_t`: the id of a file system.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct FsId {
    /// The device, and the kind of file system.
    pub val: [i32; 2],
}

/// `struct statvfs`, since NetBSD 10 (calls 483 to 486).
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Statvfs {
    /// One or more of [`ST_FLAGS`].
    pub f_flag: u64,
    /// The block size.
    pub f_bsize: u64,
    /// The fragment size, in which blocks are counted.
    pub f_frsize: u64,
    /// The best size for input and output.
    pub f_iosize: u64,
    /// All blocks.
    pub f_blocks: u64,
    /// Free blocks.
    pub f_bfree: u64,
    /// Blocks free for ordinary users.
    pub f_bavail: u64,
    /// Blocks reserved for the superuser.
    pub f_bresvd: u64,
    /// All inodes.
    pub f_files: u64,
    /// Free inodes.
    pub f_ffree: u64,
    /// Inodes free for ordinary users.
    pub f_favail: u64,
    /// Inodes reserved for the superuser.
    pub f_fresvd: u64,
    /// Synchronous reads so far.
    pub f_syncreads: u64,
    /// Synchronous writes so far.
    pub f_syncwrites: u64,
    /// Asynchronous reads so far.
    pub f_asyncreads: u64,
    /// Asynchronous writes so far.
    pub f_asyncwrites: u64,
    /// The id of the file system, in two parts.
    pub f_fsidx: FsId,
    /// The id of the file system, in one.
    pub f_fsid: u64,
    /// The longest name.
    pub f_namemax: u64,
    /// Who mounted it.
    pub f_owner: u32,
    /// Padding.
    pub pad: u32,
    /// Spare.
    pub f_spare: [u64; 4],
    /// The kind of file system, with a NUL.
    pub f_fstypename: [u8; 32],
    /// Where it is mounted.
    pub f_mntonname: [u8; 1024],
    /// What is mounted.
    pub f_mntfromname: [u8; 1024],
    /// The label of what is mounted.
    pub f_mntfromlabel: [u8; 1024],
}

/// `struct statvfs` of NetBSD 3 to 9 (calls 356 to 358).
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Statvfs90 {
    /// One or more of [`ST_FLAGS`].
    pub f_flag: u64,
    /// The block size.
    pub f_bsize: u64,
    /// The fragment size, in which blocks are counted.
    pub f_frsize: u64,
    /// The best size for input and output.
    pub f_iosize: u64,
    /// All blocks.
    pub f_blocks: u64,
    /// Free blocks.
    pub f_bfree: u64,
    /// Blocks free for ordinary users.
    pub f_bavail: u64,
    /// Blocks reserved for the superuser.
    pub f_bresvd: u64,
    /// All inodes.
    pub f_files: u64,
    /// Free inodes.
    pub f_ffree: u64,
    /// Inodes free for ordinary users.
    pub f_favail: u64,
    /// Inodes reserved for the superuser.
    pub f_fresvd: u64,
    /// Synchronous reads so far.
    pub f_syncreads: u64,
    /// Synchronous writes so far.
    pub f_syncwrites: u64,
    /// Asynchronous reads so far.
    pub f_asyncreads: u64,
    /// Asynchronous writes so far.
    pub f_asyncwrites: u64,
    /// The id of the file system, in two parts.
    pub f_fsidx: FsId,
    /// The id of the file system, in one.
    pub f_fsid: u64,
    /// The longest name.
    pub f_namemax: u64,
    /// Who mounted it.
    pub f_owner: u32,
    /// Spare.
    pub f_spare: [u32; 4],
    /// The kind of file system, with a NUL.
    pub f_fstypename: [u8; 32],
    /// Where it is mounted.
    pub f_mntonname: [u8; 1024],
    /// What is mounted.
    pub f_mntfromname: [u8; 1024],
    /// Padding.
    pub pad: u32,
}

numbers! {
    /// Flags of a file system.
    ST_FLAGS: u64 {
        ST_ACLS = 0x800,
        ST_ASYNC = 0x40,
        ST_DEFEXPORTED = 0x200,
        ST_EXKERB = 0x800,
        ST_EXNORESPORT = 0x800_0000,
        ST_EXPORTANON = 0x400,
        ST_EXPORTED = 0x100,
        ST_EXPUBLIC = 0x1000_0000,
        ST_EXRDONLY = 0x80,
        ST_EXTATTR = 0x100_0000,
        ST_IGNORE = 0x10_0000,
        ST_LOCAL = 0x1000,
        ST_LOG = 0x200_0000,
        ST_NOATIME = 0x400_0000 => 0x400,
        ST_NOCOREDUMP = 0x8000,
        ST_NODEV = 0x10 => 0x4,
        ST_NODEVMTIME = 0x4000_0000,
        ST_NOEXEC = 0x4 => 0x8,
        ST_NOSUID = 0x8 => 0x2,
        ST_QUOTA = 0x2000,
        ST_RDONLY = 0x1 => 0x1,
        ST_RELATIME = 0x20000 => 0x1000,
        ST_ROOTFS = 0x4000,
        ST_SOFTDEP = 0x8000_0000,
        ST_SYMPERM = 0x2000_0000,
        ST_SYNCHRONOUS = 0x2 => 0x10,
        ST_UNION = 0x20,
    }
}

numbers! {
    /// Whether getvfsstat(2) asks the file systems.
    ST_WAITS: i32 {
        ST_NOWAIT = 0x2,
        ST_WAIT = 0x1,
    }
}

numbers! {
    /// Names of pathconf(2).
    PATHCONF: i32 {
        _PC_2_SYMLINKS = 13 => 20,
        _PC_ACL_EXTENDED = 14,
        _PC_ACL_NFS4 = 17,
        _PC_ACL_PATH_MAX = 16,
        _PC_CHOWN_RESTRICTED = 7 => 6,
        _PC_FILESIZEBITS = 11 => 13,
        _PC_LINK_MAX = 1 => 0,
        _PC_MAX_CANON = 2 => 1,
        _PC_MAX_INPUT = 3 => 2,
        _PC_MIN_HOLE_SIZE = 15,
        _PC_NAME_MAX = 4 => 3,
        _PC_NO_TRUNC = 8 => 7,
        _PC_PATH_MAX = 5 => 4,
        _PC_PIPE_BUF = 6 => 5,
        _PC_SYMLINK_MAX = 12 => 19,
        _PC_SYNC_IO = 10 => 9,
        _PC_VDISABLE = 9 => 8,
    }
}

numbers! {
    /// Namespaces and flags of extended attributes.
    XATTRS: i32 {
        EXTATTR_NAMESPACE_EMPTY = 0,
        EXTATTR_NAMESPACE_SYSTEM = 2,
        EXTATTR_NAMESPACE_USER = 1,
        XATTR_CREATE = 1 => 1,
        XATTR_REPLACE = 2 => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Translated, flags_to_linux};

    #[test]
    fn records_of_a_directory_are_multiples_of_eight() {
        assert_eq!(DirentHeader::reclen(1), Some(16));
        assert_eq!(DirentHeader::reclen(2), Some(16));
        assert_eq!(DirentHeader::reclen(3), Some(24));
        assert_eq!(DirentHeader::reclen(511), Some(528));
        assert_eq!(DirentHeader::reclen(512), None);
        assert_eq!(DirentHeader::reclen(usize::MAX), None);
    }

    #[test]
    fn access_mode_three_reads_and_writes_nothing() {
        let mode = OFlags::from_bits_retain(O_ACCMODE | O_APPEND);
        assert!(!mode.is_readable() && !mode.is_writable());
        assert!(OFlags::default().is_readable());
    }

    #[test]
    fn open_flags_without_a_host_twin_are_left_over() {
        let got = flags_to_linux(OPEN_FLAGS, O_RDWR | O_CREAT | O_EXLOCK);
        assert_eq!(
            got,
            Translated {
                bits: 0x42,
                rest: O_EXLOCK
            }
        );
    }
}
