//! The decoder and the tracer, on memory that is made up.

#![expect(
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

mod calls;
mod hostile;
mod lines;
mod memory;
