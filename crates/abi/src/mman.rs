//! Memory: protections, kinds of mappings, advice.
//!
//! Sources: mmap(2), madvise(2), minherit(2), mremap(2), sys/mman.h, sys/memfd.h.

use crate::table::numbers;

numbers! {
    /// Protections.
    PROT_FLAGS: u32 {
        PROT_EXEC = 0x4 => 0x4,
        PROT_NONE = 0x0 => 0x0,
        PROT_READ = 0x1 => 0x1,
        PROT_WRITE = 0x2 => 0x2,
    }
}

bitflags::bitflags! {
    /// What may be done to memory. Unknown bits survive.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Prot: u32 {
        /// It may be read.
        const READ = PROT_READ;
        /// It may be written.
        const WRITE = PROT_WRITE;
        /// It may be run.
        const EXEC = PROT_EXEC;
        const _ = !0;
    }
}

impl Prot {
    /// No access at all.
    pub const NONE: Self = Self::from_bits_retain(PROT_NONE);

    /// All access.
    pub const ALL: Self = Self::READ.union(Self::WRITE).union(Self::EXEC);

    /// The protections that mprotect(2) may add later (`PROT_MPROTECT`): three bits further up.
    #[must_use]
    pub fn later(self) -> Self {
        Self::from_bits_retain(self.bits() >> 3).intersection(Self::ALL)
    }
}

numbers! {
    /// Kinds of mappings.
    MAP_FLAGS: u32 {
        MAP_ALIGNMENT_16MB = 0x1800_0000,
        MAP_ALIGNMENT_1TB = 0x2800_0000,
        MAP_ALIGNMENT_256TB = 0x3000_0000,
        MAP_ALIGNMENT_4GB = 0x2000_0000,
        MAP_ALIGNMENT_64KB = 0x1000_0000,
        MAP_ALIGNMENT_64PB = 0x3800_0000,
        /// Bits 24-31 hold log2 of the alignment.
        MAP_ALIGNMENT_MASK = 0xff00_0000,
        MAP_ALIGNMENT_SHIFT = 0x18,
        MAP_ANON = 0x1000 => 0x20,
        MAP_ANONYMOUS = 0x1000 => 0x20,
        MAP_FILE = 0x0 => 0x0,
        /// Also for `mremap(2)`.
        MAP_FIXED = 0x10 => 0x10,
        /// Ignored.
        MAP_HASSEMAPHORE = 0x200,
        /// Ignored.
        MAP_INHERIT = 0x80,
        /// Ignored.
        MAP_NORESERVE = 0x40 => 0x4000,
        MAP_PRIVATE = 0x2 => 0x2,
        /// For `mremap(2)` only: keeps the old mapping.
        MAP_REMAPDUP = 0x4,
        /// Ignored.
        MAP_RENAME = 0x20,
        MAP_SHARED = 0x1 => 0x1,
        /// A remark; newer kernels do not merge such mappings.
        MAP_STACK = 0x2000 => 0x20000,
        /// A hint that may fall among heap and text, too. If the address is taken, another is found.
        MAP_TRYFIXED = 0x400,
        /// Locks the memory.
        MAP_WIRED = 0x800 => 0x2000,
    }
}

bitflags::bitflags! {
    /// What kind of mapping mmap(2) and mremap(2) shall make. Unknown bits survive.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MapFlags: u32 {
        /// Writes are seen by everybody who maps the object.
        const SHARED = MAP_SHARED;
        /// Writes are for this mapping alone.
        const PRIVATE = MAP_PRIVATE;
        /// `mremap(2)` keeps the old mapping.
        const REMAPDUP = MAP_REMAPDUP;
        /// The address is an order.
        const FIXED = MAP_FIXED;
        /// Ignored.
        const RENAME = MAP_RENAME;
        /// Ignored.
        const NORESERVE = MAP_NORESERVE;
        /// Ignored.
        const INHERIT = MAP_INHERIT;
        /// Ignored.
        const HASSEMAPHORE = MAP_HASSEMAPHORE;
        /// The address is a strong wish.
        const TRYFIXED = MAP_TRYFIXED;
        /// The memory is locked.
        const WIRED = MAP_WIRED;
        /// There is no file.
        const ANON = MAP_ANON;
        /// It will be a stack.
        const STACK = MAP_STACK;
        const _ = !0;
    }
}

impl MapFlags {
    /// The alignment that was asked for, as a power of two; 0 for none.
    pub fn alignment_log2(self) -> u32 {
        self.bits() >> MAP_ALIGNMENT_SHIFT
    }
}

numbers! {
    /// What fork(2) does with memory; see minherit(2).
    MINHERIT: i32 {
        MAP_INHERIT_COPY = 1 => 11,
        MAP_INHERIT_DEFAULT = 1,
        MAP_INHERIT_DONATE_COPY = 3,
        MAP_INHERIT_NONE = 2 => 10,
        MAP_INHERIT_SHARE = 0,
        MAP_INHERIT_ZERO = 4 => 18,
    }
}

numbers! {
    /// Advice on memory.
    MADVICE: i32 {
        /// Keeps the data! The Linux advice of this number throws private pages away.
        MADV_DONTNEED = 4 => 4,
        /// The twin wants private anonymous memory, and says `EINVAL` otherwise.
        MADV_FREE = 6 => 8,
        MADV_NORMAL = 0 => 0,
        MADV_RANDOM = 1 => 1,
        MADV_SEQUENTIAL = 2 => 2,
        /// Always `EINVAL`.
        MADV_SPACEAVAIL = 5,
        MADV_WILLNEED = 3 => 3,
        /// Keeps the data; see `MADV_DONTNEED`.
        POSIX_MADV_DONTNEED = 4 => 4,
        POSIX_MADV_NORMAL = 0 => 0,
        POSIX_MADV_RANDOM = 1 => 1,
        POSIX_MADV_SEQUENTIAL = 2 => 2,
        POSIX_MADV_WILLNEED = 3 => 3,
    }
}

numbers! {
    /// Flags of msync(2).
    MSYNC_FLAGS: u32 {
        MS_ASYNC = 1 => 1,
        MS_INVALIDATE = 2 => 2,
        MS_SYNC = 4 => 4,
    }
}

numbers! {
    /// Flags of mlockall(2).
    MLOCKALL_FLAGS: u32 {
        MCL_CURRENT = 1 => 1,
        MCL_FUTURE = 2 => 2,
    }
}

numbers! {
    /// Flags of `memfd_create(2)`.
    MEMFD_FLAGS: u32 {
        MFD_ALLOW_SEALING = 2 => 2,
        MFD_CLOEXEC = 1 => 1,
        /// NetBSD 11.
        MFD_CLOFORK = 4,
    }
}
