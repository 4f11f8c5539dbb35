//! What `sys_lwp.c` does and its manual pages do not say: L-321 and on.
//!
//! Each check names the lines of `sys_lwp.c` 1.84 in the list of statements.

pub(crate) mod life;
pub(crate) mod names;
pub(crate) mod park;
pub(crate) mod suspend;

use rt::{Errno, vm};

/// The first address behind a mapped page: what lies before it can be used, what lies behind cannot.
fn edge() -> Result<u64, Errno> {
    let area = vm::map(2 * vm::PAGE)?;
    let edge = area.base + vm::PAGE as u64;
    vm::munmap(edge, vm::PAGE)?;
    Ok(edge)
}

/// Puts a value right before an [`edge`] and gives its address.
fn before<T>(edge: u64, value: T) -> u64 {
    let at = edge - size_of::<T>() as u64;
    // SAFETY: inside the page before the edge, which nobody else uses.
    unsafe { vm::pointer::<T>(at).write_unaligned(value) };
    at
}
