//! `__futex(2)`, which NetBSD 10 has for programs made for Linux, and its operations.
//!
//! Sources: sys/futex.h.

use crate::table::numbers;

numbers! {
    /// Operations, flags and fields of `__futex(2)`.
    FUTEX_OPS: u32 {
        FUTEX_BITSET_MATCH_ANY = 0xffff_ffff => 0xffff_ffff,
        FUTEX_CLOCK_REALTIME = 256 => 256,
        FUTEX_CMD_MASK = 0xffff_fe7f => 0xffff_fe7f,
        FUTEX_CMP_REQUEUE = 4 => 4,
        FUTEX_CMP_REQUEUE_PI = 12 => 12,
        FUTEX_FD = 2 => 2,
        FUTEX_LOCK_PI = 6 => 6,
        FUTEX_OP_ADD = 1 => 1,
        FUTEX_OP_ANDN = 3 => 3,
        FUTEX_OP_CMPARG_MASK = 4095,
        FUTEX_OP_CMP_EQ = 0 => 0,
        FUTEX_OP_CMP_GE = 5 => 5,
        FUTEX_OP_CMP_GT = 4 => 4,
        FUTEX_OP_CMP_LE = 3 => 3,
        FUTEX_OP_CMP_LT = 2 => 2,
        FUTEX_OP_CMP_MASK = 0xf00_0000,
        FUTEX_OP_CMP_NE = 1 => 1,
        FUTEX_OP_OPARG_MASK = 0xff_f000,
        FUTEX_OP_OPARG_SHIFT = 8 => 8,
        FUTEX_OP_OP_MASK = 0xf000_0000,
        FUTEX_OP_OR = 2 => 2,
        FUTEX_OP_SET = 0 => 0,
        FUTEX_OP_XOR = 4 => 4,
        FUTEX_OWNER_DIED = 0x4000_0000 => 0x4000_0000,
        FUTEX_PRIVATE_FLAG = 128 => 128,
        FUTEX_REQUEUE = 3 => 3,
        /// 28 bits; Linux has 30.
        FUTEX_TID_MASK = 0xfff_ffff => 0x3fff_ffff,
        FUTEX_TRYLOCK_PI = 8 => 8,
        FUTEX_UNLOCK_PI = 7 => 7,
        FUTEX_WAIT = 0 => 0,
        FUTEX_WAITERS = 0x8000_0000 => 0x8000_0000,
        FUTEX_WAIT_BITSET = 9 => 9,
        FUTEX_WAIT_REQUEUE_PI = 11 => 11,
        FUTEX_WAKE = 1 => 1,
        FUTEX_WAKE_BITSET = 10 => 10,
        FUTEX_WAKE_OP = 5 => 5,
    }
}
