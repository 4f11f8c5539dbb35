//! sysctl(7): names as numbers, flags of nodes, and a few of the records.
//!
//! Sources: sysctl(3), sysctl(7), sys/sysctl.h, sys/time.h, `uvm/uvm_param.h`.

use crate::table::numbers;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

numbers! {
    /// The first number of a name, and requests in place of the last.
    CTL_TOP: i32 {
        CTL_CREATE = -3,
        CTL_CREATESYM = -4,
        CTL_DDB = 9,
        CTL_DEBUG = 5,
        /// The new value is as for `CTL_QUERY`.
        CTL_DESCRIBE = -7,
        CTL_DESTROY = -5,
        CTL_EMUL = 12,
        CTL_EOL = -1,
        CTL_HW = 6,
        CTL_KERN = 1,
        CTL_MACHDEP = 7,
        CTL_MAXNAME = 12,
        CTL_MMAP = -6,
        CTL_NET = 4,
        CTL_PROC = 10,
        /// The new value is a `Sysctlnode` of version 1.
        CTL_QUERY = -2,
        CTL_SECURITY = 13,
        CTL_UNSPEC = 0,
        CTL_USER = 8,
        CTL_VENDOR = 11,
        CTL_VFS = 3,
        CTL_VM = 2,
    }
}

numbers! {
    /// Names below [`CTL_KERN`].
    CTL_KERN_NAMES: i32 {
        KERN_ARGMAX = 8,
        /// Up to 256 bytes; longer is `E2BIG`.
        KERN_ARND = 81,
        KERN_AUTONICETIME = 27,
        KERN_AUTONICEVAL = 28,
        KERN_BOOTTIME = 83,
        KERN_BUF = 76,
        KERN_CCPU = 50,
        KERN_CLOCKRATE = 12,
        KERN_CONSDEV = 54,
        KERN_CP_ID = 79,
        KERN_CP_TIME = 51,
        KERN_DEFCORENAME = 45,
        KERN_DOMAINNAME = 22,
        KERN_DRIVERS = 75,
        KERN_DUMP_ON_PANIC = 72,
        /// NetBSD 11.
        KERN_ENTROPY = 86,
        KERN_EVCNT = 84,
        KERN_FILE = 15,
        KERN_FILE2 = 77,
        KERN_FORKFSLEEP = 65,
        KERN_FSCALE = 49,
        KERN_FSYNC = 32,
        KERN_HARDCLOCK_TICKS = 80,
        KERN_HOSTID = 11,
        KERN_HOSTNAME = 10,
        KERN_IOV_MAX = 38,
        KERN_JOB_CONTROL = 19,
        KERN_LABELOFFSET = 63,
        KERN_LABELSECTOR = 62,
        KERN_LOGIN_NAME_MAX = 44,
        KERN_LOGSIGEXIT = 46,
        KERN_LWP = 64,
        KERN_MAPPED_FILES = 40,
        KERN_MAXFILES = 7,
        KERN_MAXPARTITIONS = 23,
        KERN_MAXPHYS = 57,
        KERN_MAXPROC = 6,
        KERN_MAXPTYS = 55,
        KERN_MAXVNODES = 5,
        KERN_MBUF = 39,
        KERN_MEMLOCK = 41,
        KERN_MEMLOCK_RANGE = 42,
        KERN_MEMORY_PROTECTION = 43,
        KERN_MONOTONIC_CLOCK = 60,
        KERN_MSGBUF = 53,
        KERN_MSGBUFSIZE = 31,
        KERN_NGROUPS = 18,
        KERN_NTPTIME = 25,
        KERN_OBOOTTIME = 21,
        KERN_OLDSHORTCORENAME = 36,
        KERN_OLDSYSVIPC_INFO = 52,
        KERN_OLDSYSVMSG = 33,
        KERN_OLDSYSVSEM = 34,
        KERN_OLDSYSVSHM = 35,
        KERN_OSRELEASE = 2,
        KERN_OSREV = 3,
        KERN_OSTYPE = 1,
        KERN_PIPE = 56,
        KERN_POSIX1 = 17,
        KERN_POSIX_BARRIERS = 68,
        KERN_POSIX_READER_WRITER_LOCKS = 71,
        KERN_POSIX_SEMAPHORES = 67,
        KERN_POSIX_SPIN_LOCKS = 70,
        KERN_POSIX_THREADS = 66,
        KERN_POSIX_TIMERS = 69,
        KERN_PROC = 14,
        KERN_PROC2 = 47,
        KERN_PROF = 16,
        KERN_RAWPARTITION = 24,
        KERN_ROOT_DEVICE = 30,
        KERN_ROOT_PARTITION = 74,
        KERN_RTC_OFFSET = 29,
        KERN_SAVED_IDS = 20,
        KERN_SBMAX = 58,
        KERN_SECURELVL = 9,
        KERN_SOFIXEDBUF = 85,
        KERN_SOMAXKVA = 73,
        KERN_SYNCHRONIZED_IO = 37,
        KERN_SYSVIPC = 82,
        KERN_TIMEX = 26,
        KERN_TKSTAT = 59,
        KERN_URND = 61,
        KERN_VERIEXEC = 78,
        KERN_VERSION = 4,
        KERN_VNODE = 13,
    }
}

numbers! {
    /// Names below those: `KERN_PROC`, `KERN_FILE2`, `KERN_SYSVIPC` and others.
    CTL_KERN_SUBNAMES: i32 {
        /// NetBSD 11.
        KERN_ENTROPY_EPOCH = 1,
        KERN_FILE_BYFILE = 1,
        KERN_FILE_BYPID = 2,
        KERN_PROC_ALL = 0,
        KERN_PROC_ARGS = 48,
        KERN_PROC_ARGV = 1,
        KERN_PROC_CWD = 6,
        KERN_PROC_ENV = 3,
        KERN_PROC_GID = 7,
        KERN_PROC_NARGV = 2,
        KERN_PROC_NENV = 4,
        /// Comes after `KERN_PROC_ARGS` and a process id, or -1.
        KERN_PROC_PATHNAME = 5,
        KERN_PROC_PGRP = 2,
        KERN_PROC_PID = 1,
        KERN_PROC_RGID = 8,
        KERN_PROC_RUID = 6,
        KERN_PROC_SESSION = 3,
        KERN_PROC_TTY = 4,
        KERN_PROC_UID = 5,
        KERN_SYSVIPC_INFO = 1,
        KERN_SYSVIPC_MSG = 2,
        KERN_SYSVIPC_MSG_INFO = 4,
        KERN_SYSVIPC_SEM = 3,
        KERN_SYSVIPC_SEM_INFO = 5,
        KERN_SYSVIPC_SHM = 4,
        KERN_SYSVIPC_SHMMAX = 5,
        KERN_SYSVIPC_SHMMAXPGS = 8,
        KERN_SYSVIPC_SHMMNI = 6,
        KERN_SYSVIPC_SHMSEG = 7,
        KERN_SYSVIPC_SHMUSEPHYS = 9,
        KERN_SYSVIPC_SHM_INFO = 6,
    }
}

numbers! {
    /// Names below [`CTL_HW`].
    CTL_HW_NAMES: i32 {
        HW_ALIGNBYTES = 11,
        HW_BYTEORDER = 4,
        HW_CNMAGIC = 12,
        HW_DISKNAMES = 8,
        HW_IOSTATNAMES = 15,
        HW_IOSTATS = 9,
        HW_MACHINE = 1,
        HW_MACHINE_ARCH = 10,
        HW_MODEL = 2,
        HW_NCPU = 3,
        HW_NCPUONLINE = 16,
        HW_PAGESIZE = 7,
        HW_PHYSMEM = 5,
        HW_PHYSMEM64 = 13,
        HW_USERMEM = 6,
        HW_USERMEM64 = 14,
    }
}

numbers! {
    /// Names below [`CTL_VM`].
    CTL_VM_NAMES: i32 {
        VM_ANONMAX = 11,
        VM_ANONMIN = 6,
        VM_EXECMAX = 12,
        VM_EXECMIN = 7,
        VM_FILEMAX = 13,
        VM_FILEMIN = 8,
        /// Asked for by libpthread.
        VM_GUARD_SIZE = 17,
        VM_LOADAVG = 2,
        VM_MAXADDRESS = 15,
        VM_MAXSLP = 9,
        VM_METER = 1,
        VM_MINADDRESS = 14,
        VM_NKMEMPAGES = 4,
        VM_PROC = 16,
        VM_PROC_MAP = 1,
        /// Asked for by libpthread.
        VM_THREAD_GUARD_SIZE = 18,
        VM_USPACE = 10,
        VM_UVMEXP = 3,
        VM_UVMEXP2 = 5,
    }
}

numbers! {
    /// Names below [`CTL_USER`].
    CTL_USER_NAMES: i32 {
        USER_ATEXIT_MAX = 21,
        USER_BC_BASE_MAX = 2,
        USER_BC_DIM_MAX = 3,
        USER_BC_SCALE_MAX = 4,
        USER_BC_STRING_MAX = 5,
        USER_COLL_WEIGHTS_MAX = 6,
        USER_CS_PATH = 1,
        USER_EXPR_NEST_MAX = 7,
        USER_LINE_MAX = 8,
        USER_POSIX2_CHAR_TERM = 13,
        USER_POSIX2_C_BIND = 11,
        USER_POSIX2_C_DEV = 12,
        USER_POSIX2_FORT_DEV = 14,
        USER_POSIX2_FORT_RUN = 15,
        USER_POSIX2_LOCALEDEF = 16,
        USER_POSIX2_SW_DEV = 17,
        USER_POSIX2_UPE = 18,
        USER_POSIX2_VERSION = 10,
        USER_RE_DUP_MAX = 9,
        USER_STREAM_MAX = 19,
        USER_TZNAME_MAX = 20,
    }
}

numbers! {
    /// Names below [`CTL_PROC`] and a process id.
    CTL_PROC_NAMES: i32 {
        PROC_CURPROC = 0x7fff_ffff,
        PROC_PID_CORENAME = 1,
        PROC_PID_LIMIT = 2,
        PROC_PID_LIMIT_AS = 11,
        PROC_PID_LIMIT_CORE = 5,
        PROC_PID_LIMIT_CPU = 1,
        PROC_PID_LIMIT_DATA = 3,
        PROC_PID_LIMIT_FSIZE = 2,
        PROC_PID_LIMIT_MEMLOCK = 7,
        PROC_PID_LIMIT_NOFILE = 9,
        PROC_PID_LIMIT_NPROC = 8,
        PROC_PID_LIMIT_NTHR = 12,
        PROC_PID_LIMIT_RSS = 6,
        PROC_PID_LIMIT_SBSIZE = 10,
        PROC_PID_LIMIT_STACK = 4,
        PROC_PID_LIMIT_TYPE_HARD = 2,
        PROC_PID_LIMIT_TYPE_SOFT = 1,
        PROC_PID_PAXFLAGS = 6,
        PROC_PID_STOPEXEC = 4,
        PROC_PID_STOPEXIT = 5,
        PROC_PID_STOPFORK = 3,
        CTL_PROC_PAXFLAGS_ASLR = 1,
        CTL_PROC_PAXFLAGS_GUARD = 4,
        CTL_PROC_PAXFLAGS_MPROTECT = 2,
    }
}

numbers! {
    /// Types, flags and versions of nodes.
    SYSCTL_NODE: u32 {
        CTLFLAG_ALIAS = 0x10000,
        CTLFLAG_ANYNUMBER = 0x4000,
        CTLFLAG_ANYWRITE = 0x80,
        CTLFLAG_HEX = 0x1000,
        CTLFLAG_HIDDEN = 0x8000,
        CTLFLAG_IMMEDIATE = 0x800,
        CTLFLAG_MMAP = 0x20000,
        CTLFLAG_OWNDATA = 0x400,
        CTLFLAG_OWNDESC = 0x40000,
        CTLFLAG_PERMANENT = 0x200,
        CTLFLAG_PRIVATE = 0x100,
        CTLFLAG_READONLY = 0x0,
        CTLFLAG_READWRITE = 0x70,
        CTLFLAG_ROOT = 0x2000,
        CTLFLAG_UNSIGNED = 0x80000,
        CTLTYPE_BOOL = 0x6,
        CTLTYPE_INT = 0x2,
        CTLTYPE_LONG = 0x4,
        CTLTYPE_NODE = 0x1,
        CTLTYPE_QUAD = 0x4,
        CTLTYPE_STRING = 0x3,
        CTLTYPE_STRUCT = 0x5,
        SYSCTL_NAMELEN = 0x20,
        SYSCTL_TYPEMASK = 0xf,
        SYSCTL_VERSION = 0x100_0000,
        SYSCTL_VERS_0 = 0x0,
        SYSCTL_VERS_1 = 0x100_0000,
        SYSCTL_VERS_MASK = 0xff00_0000,
        CREATE_BASE = 0x400,
    }
}

/// `struct sysctlnode`: a node, as `CTL_QUERY` tells of it.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Sysctlnode {
    /// Type, flags and version.
    pub sysctl_flags: u32,
    /// The number.
    pub sysctl_num: i32,
    /// The name, with a NUL.
    pub sysctl_name: [u8; 32],
    /// The version of the tree.
    pub sysctl_ver: u32,
    /// Reserved.
    pub rsvd: u32,
    /// The children (their room and number, then an address), or data and offset, or a value.
    pub sysctl_un: [u64; 2],
    /// The size of the value.
    pub sysctl_size: u64,
    /// A kernel address.
    pub sysctl_func: u64,
    /// A kernel address.
    pub sysctl_parent: u64,
    /// A kernel address.
    pub sysctl_desc: u64,
}

/// `struct clockinfo`: `kern.clockrate`.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Clockinfo {
    /// Ticks per second.
    pub hz: i32,
    /// Microseconds per tick.
    pub tick: i32,
    /// How far adjtime(2) bends a tick.
    pub tickadj: i32,
    /// Ticks per second of the statistics clock.
    pub stathz: i32,
    /// Ticks per second of the profiling clock.
    pub profhz: i32,
}

/// `struct loadavg`: `vm.loadavg`.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Loadavg {
    /// The averages of 1, 5 and 15 minutes, times `fscale`.
    pub ldavg: [u32; 3],
    /// Padding.
    pub pad: u32,
    /// The scale.
    pub fscale: i64,
}
