//! Limits that programs are built with.
//!
//! Those of the host are often others; a path that Linux would take may be too long here.
//!
//! Sources: limits.h, sys/syslimits.h, sys/param.h.

use crate::table::numbers;

numbers! {
    /// Limits.
    LIMITS: usize {
        /// Longer is `ENAMETOOLONG`.
        PATH_MAX = 1024 => 4096,
        NAME_MAX = 511 => 255,
        /// Longer is `E2BIG`.
        ARG_MAX = 262_144,
        IOV_MAX = 1024 => 1024,
        NGROUPS_MAX = 16 => 65536,
        OPEN_MAX = 128,
        CHILD_MAX = 160,
        PIPE_BUF = 512 => 4096,
        LOGIN_NAME_MAX = 17 => 256,
        MAXHOSTNAMELEN = 256,
        MAXPATHLEN = 1024,
        MAXSYMLINKS = 32,
        MAXLOGNAME = 16,
        PAGE_SIZE = 4096,
    }
}
