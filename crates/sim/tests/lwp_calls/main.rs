//! What every LWP call does, seen by programs on the sim, each under many schedules.
//!
//! Sources: `sys_lwp.c` 1.84; `_lwp_create(2)` and its family; the statements of lwp.md section 10.
#![allow(
    clippy::unwrap_used,
    clippy::unchecked_time_subtraction,
    reason = "a test may say so by panicking, in its helpers too"
)]

mod common;
mod cpu_time;
mod create;
mod detach;
mod errors;
mod exec;
mod exit;
mod fork;
mod kill;
mod lwpctl;
mod names;
mod old_parks;
mod park;
mod private;
mod sigframe;
mod signals;
mod stop;
mod suspend;
mod unpark;
mod vcpus;
mod wait;
mod wakeup;
