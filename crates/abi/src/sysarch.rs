//! sysarch(2): what is special to amd64.
//!
//! Sources: `x86_64_get_fsbase(2)`, amd64/sysarch.h.

use crate::table::numbers;

numbers! {
    /// Operations of sysarch(2).
    SYSARCH_OPS: i32 {
        X86_64_GET_FSBASE = 15,
        X86_64_GET_GSBASE = 14,
        X86_64_GET_IOPERM = 3,
        X86_64_GET_LDT = 0,
        X86_64_GET_MTRR = 11,
        X86_64_IOPL = 2,
        X86_64_OLD_VM86 = 5,
        X86_64_SET_FSBASE = 17,
        X86_64_SET_GSBASE = 16,
        X86_64_SET_IOPERM = 4,
        X86_64_SET_LDT = 1,
        X86_64_SET_MTRR = 12,
        X86_64_VM86 = 13,
    }
}
