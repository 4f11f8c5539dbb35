//! `lwp demo`: a tour of the LWP calls, given by a NetBSD program that comes with `lwp`, then what the
//! commonest calls cost beside what Linux threads do for the same purpose: some rows of `lwp bench`, in
//! a hurry.

use crate::bench;
use crate::fail::Failure;
use crate::guests::InMemory;
use std::io;
use std::process::Command;

/// Gives the tour and prints the costs.
///
/// # Errors
/// [`Failure::Demo`].
pub(crate) fn run() -> Result<(), Failure> {
    let program = InMemory::guest("demo").map_err(Failure::Demo)?;
    let toured = Command::new("/proc/self/exe")
        .args(["run", &program.path()])
        .status()
        .map_err(Failure::Demo)?;
    if !toured.success() {
        return Err(Failure::Demo(io::Error::other(format!(
            "the tour ended with {toured}"
        ))));
    }
    let costs = bench::glance(&bench::DEMO).map_err(Failure::Demo)?;
    println!("\nwhat it costs, in nanoseconds, beside Linux in the same run:");
    print!("{costs}");
    Ok(())
}
