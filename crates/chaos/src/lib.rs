//! Schedules from a seed: threads misbehave on purpose, and do it again.
//!
//! A run is decided at *points*: when an LWP makes a system call, when it is about to go back to user mode, when the
//! vcpu is free, when a park would sleep, and so on. At each the kernel asks [`Chaos`], the [`Policy`] of such a run. What
//! the fair scheduler would do is the *default*; everything else is a [`schedule::Decision`], and it has a [`schedule::Anchor`]: which LWP,
//! by order of birth, has come for which time to which kind of point. The list of its decisions is all that tells one
//! schedule of a program from another.
//!
//! | file | what |
//! |---|---|
//! | `schedule` | decisions, and the files in which they are kept |
//! | `draw` | numbers from a seed |
//! | `strategy` | which decisions a seed makes: random, priorities, starvation, steps in user code |
//! | `director` | [`Chaos`]: asks a strategy, or a list, and keeps what was decided |
//! | `machine` | a machine around the real one: virtual time, random bytes, switches inside user code |
//! | `hash` | the hash of the event stream, which equal runs share |
//! | `shrink` | fewer decisions that do the same |
//!
//! # Invariants
//! 1. One vcpu. Nothing here is asked by two host threads at once.
//! 2. A number drawn depends on the seed and on an anchor, never on how many were drawn before: without one of its
//!    decisions a schedule goes on as it did, as far as the program lets it.
//!
//! [`Policy`]: lwp_kernel::sched::Policy
#![forbid(unsafe_code)]

mod director;
mod draw;
mod hash;
mod machine;
pub mod schedule;
pub mod shrink;
pub mod strategy;

pub use director::{Chaos, Director, Source};
pub use draw::Seed;
pub use hash::EventHash;
pub use machine::{ChaosMachine, Hang, OnHang, Time};
