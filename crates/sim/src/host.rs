//! The host's threads and locks: the real ones, or those of the model checker.

#[cfg(feature = "shuttle")]
pub(crate) use shuttle::{sync, thread, thread_local};
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::{sync, thread, thread_local};
