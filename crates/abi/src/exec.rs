//! What a new image finds: the auxiliary vector, `ps_strings`, the notes that make it a NetBSD one.
//!
//! Sources: elf(5), sys/exec.h, `sys/exec_elf.h`, sys/param.h.

use crate::table::numbers;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `AuxInfo`: one entry of the auxiliary vector. The type has 32 bits, unlike on Linux.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct AuxEntry {
    /// One of [`AUXV`].
    pub a_type: u32,
    /// Padding.
    pub pad: u32,
    /// The value.
    pub a_v: u64,
}

impl AuxEntry {
    /// An entry.
    pub const fn new(a_type: u32, a_v: u64) -> Self {
        Self {
            a_type,
            pad: 0,
            a_v,
        }
    }
}

/// `struct ps_strings`: where the arguments and the environment are, above the stack.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct PsStrings {
    /// Address of `argv[0]`.
    pub ps_argvstr: u64,
    /// How many arguments.
    pub ps_nargvstr: i32,
    /// Padding.
    pub pad1: u32,
    /// Address of `envp[0]`.
    pub ps_envstr: u64,
    /// How many environment strings.
    pub ps_nenvstr: i32,
    /// Padding.
    pub pad2: u32,
}

/// The name in NetBSD's own notes, padded to a multiple of four.
pub const ELF_NOTE_NETBSD_NAME: &[u8; 8] = b"NetBSD\0\0";
/// The name in `PaX` notes.
pub const ELF_NOTE_PAX_NAME: &[u8; 4] = b"PaX\0";

numbers! {
    /// Types of [`AuxEntry`].
    AUXV: u32 {
        AT_NULL = 0 => 0,
        AT_IGNORE = 1 => 1,
        AT_EXECFD = 2 => 2,
        AT_PHDR = 3 => 3,
        AT_PHENT = 4 => 4,
        AT_PHNUM = 5 => 5,
        AT_PAGESZ = 6 => 6,
        AT_BASE = 7 => 7,
        AT_FLAGS = 8 => 8,
        AT_ENTRY = 9 => 9,
        AT_DCACHEBSIZE = 10 => 19,
        AT_ICACHEBSIZE = 11 => 20,
        AT_UCACHEBSIZE = 12 => 21,
        /// Top of the main stack.
        AT_STACKBASE = 13,
        AT_EUID = 2000 => 12,
        AT_RUID = 2001 => 11,
        AT_EGID = 2002 => 14,
        AT_RGID = 2003 => 13,
        AT_SUN_LDELF = 2004,
        AT_SUN_LDSHDR = 2005,
        AT_SUN_LDNAME = 2006,
        AT_SUN_PLATFORM = 2008,
        AT_SUN_HWCAP = 2009,
        AT_SUN_IFLUSH = 2010,
        AT_SUN_CPU = 2011,
        AT_SUN_EMUL_ENTRY = 2012,
        AT_SUN_EMUL_EXECFD = 2013,
        AT_SUN_EXECNAME = 2014 => 31,
    }
}

numbers! {
    /// Types, sizes and flags of ELF notes.
    ELF_NOTES: u32 {
        ELF_NOTE_NETBSD_CORE_AUXV = 2,
        ELF_NOTE_NETBSD_CORE_PROCINFO = 1,
        ELF_NOTE_NETBSD_DESCSZ = 4,
        ELF_NOTE_NETBSD_EMUL_DESCSZ = 7,
        ELF_NOTE_NETBSD_EMUL_NAMESZ = 7,
        ELF_NOTE_NETBSD_NAMESZ = 7,
        ELF_NOTE_PAX_ASLR = 16,
        ELF_NOTE_PAX_DESCSZ = 4,
        ELF_NOTE_PAX_GUARD = 4,
        ELF_NOTE_PAX_MPROTECT = 1,
        ELF_NOTE_PAX_NAMESZ = 4,
        ELF_NOTE_PAX_NOASLR = 32,
        ELF_NOTE_PAX_NOGUARD = 8,
        ELF_NOTE_PAX_NOMPROTECT = 2,
        ELF_NOTE_TYPE_ABI_TAG = 1,
        ELF_NOTE_TYPE_GNU_BUILD_ID = 3,
        ELF_NOTE_TYPE_GNU_HWCAP = 2,
        ELF_NOTE_TYPE_GO_BUILDID_TAG = 4,
        ELF_NOTE_TYPE_MARCH_TAG = 5,
        ELF_NOTE_TYPE_MCMODEL_TAG = 6,
        ELF_NOTE_TYPE_NETBSD_EMUL_TAG = 2,
        ELF_NOTE_TYPE_NETBSD_TAG = 1,
        ELF_NOTE_TYPE_PAX_TAG = 3,
    }
}

numbers! {
    /// Where user memory may be, and how large its parts.
    ADDRESS_SPACE: u64 {
        VM_MIN_ADDRESS = 0x0,
        /// User addresses end here.
        VM_MAXUSER_ADDRESS = 0x7f7f_ffff_f000,
        /// The main stack ends here.
        USRSTACK = 0x7f7f_ffff_f000,
        MAXTSIZ = 0x2_0000_0000,
        DFLDSIZ = 0x1000_0000,
        MAXDSIZ = 0x2_0000_0000,
        DFLSSIZ = 0x40_0000,
        MAXSSIZ = 0x800_0000,
    }
}
