//! getrandom(2).
//!
//! Sources: getrandom(2), sys/random.h.

use crate::table::numbers;

numbers! {
    /// Flags of getrandom(2).
    GRND_FLAGS: u32 {
        /// Getrandom.
        GRND_INSECURE = 4 => 4,
        GRND_NONBLOCK = 1 => 1,
        GRND_RANDOM = 2 => 2,
    }
}
