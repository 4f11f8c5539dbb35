//! Where the runner itself lies: above everything the guest may have.
//!
//! Responsible for the check at start-up and for the one way out when it fails: with `ulimit -s
//! unlimited`, or the legacy layout of `setarch -L`, Linux maps us in the guest's half. Then the soft
//! stack limit is lowered, or the personality cleared, and the runner executes itself again, once.
//!
//! # Invariants
//! 1. After [`check`] text, data, stack, brk heap, vDSO and further mappings of ours lie in
//!    `GUEST_BOUND..HOST_TOP`.
//! 2. The markers that carry the old limit and the way of starting across are gone from the environment before anybody looks.
//!
//! Sources: Linux, `arch/x86/mm/mmap.c: mmap_is_legacy`; personality(2).

use crate::Refusal;
use crate::sud::HOST_TOP;
use core::ffi::CStr;
use lwp_kernel::machine::GUEST_BOUND;
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

/// The environment variable that carries the old soft stack limit to the second start.
const MARKER: &str = "LWP_STACK_LIMIT";
/// The environment variable that tells the second start that the first was an interpreter's.
const INTERPRETER: &str = "LWP_INTERPRETER";
/// `AT_FLAGS_PRESERVE_ARGV0`: binfmt_misc has started us, and hands on the program's own name.
const AT_FLAGS_PRESERVE_ARGV0: u64 = 1;
/// The soft stack limit of the second start.
const STACK_LIMIT: u64 = 8 << 20;
const ADDR_COMPAT_LAYOUT: libc::c_ulong = 0x0020_0000;

static STACK: OnceLock<u64> = OnceLock::new();

/// The soft limit on the stack's size that the runner was started with, in bytes; `u64::MAX` is none.
pub fn initial_stack_limit() -> u64 {
    *STACK.get_or_init(|| soft_stack_limit().rlim_cur)
}

/// Whether the kernel has started the runner as the interpreter of a program (binfmt_misc), so that the
/// arguments are the program's path and its own arguments. Asked before [`crate::HostMachine::new`].
pub fn is_interpreter() -> bool {
    auxv(libc::AT_FLAGS) & AT_FLAGS_PRESERVE_ARGV0 != 0 || env::var_os(INTERPRETER).is_some()
}

/// Checks invariant 1; may replace the process.
///
/// # Errors
/// [`Refusal::Layout`] when the second start has not helped either.
pub(crate) fn check() -> Result<(), Refusal> {
    let marker = env::var_os(MARKER);
    if let Some(limit) = marker.as_ref().and_then(|text| text.to_str()?.parse().ok()) {
        let _ = STACK.set(limit);
    } else {
        initial_stack_limit();
    }
    for name in [MARKER, INTERPRETER] {
        if env::var_os(name).is_some() {
            // SAFETY: `HostMachine::new` comes before the process has a second thread that could be
            // reading the environment; in tests no marker is set.
            unsafe { env::remove_var(name) };
        }
    }
    let Some(addr) = misplaced() else {
        return Ok(());
    };
    if marker.is_none() {
        start_again();
    }
    Err(Refusal::Layout { addr })
}

/// An address of ours that lies where the guest's should.
fn misplaced() -> Option<u64> {
    let local = 0_u8;
    // SAFETY: asks for the current break, changes nothing.
    let brk = unsafe { libc::sbrk(0) };
    let here = [
        misplaced as *const () as u64,
        (&raw const STACK).addr() as u64,
        (&raw const local).addr() as u64,
        brk.addr() as u64,
        auxv(libc::AT_SYSINFO_EHDR),
        fresh_mapping(),
    ];
    // A process without vDSO has a zero there.
    here.into_iter()
        .find(|&addr| addr != 0 && !(GUEST_BOUND..HOST_TOP).contains(&addr))
}

/// Where the host maps things when nobody says where.
fn fresh_mapping() -> u64 {
    const PAGE: usize = 4096;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping anywhere.
    let at = unsafe { libc::mmap(core::ptr::null_mut(), PAGE, libc::PROT_NONE, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return 0;
    }
    // SAFETY: the page just mapped.
    unsafe { libc::munmap(at, PAGE) };
    at.addr() as u64
}

/// Executes the runner again with a layout it can live with. Returns if that fails.
fn start_again() {
    let old = soft_stack_limit();
    let new = libc::rlimit {
        rlim_cur: STACK_LIMIT.min(old.rlim_max),
        rlim_max: old.rlim_max,
    };
    // SAFETY: reads one structure.
    unsafe { libc::setrlimit(libc::RLIMIT_STACK, &raw const new) };
    // SAFETY: the argument that asks, and changes nothing.
    let persona = unsafe { libc::personality(0xffff_ffff) };
    if let Ok(persona) = libc::c_ulong::try_from(persona) {
        // SAFETY: takes effect with the next execve.
        unsafe { libc::personality(persona & !ADDR_COMPAT_LAYOUT) };
    }
    let args: Vec<CString> = env::args_os().filter_map(|arg| c_string(&arg)).collect();
    let mut vars: Vec<CString> = env::vars_os()
        .filter_map(|(name, value)| c_string(&join(&name, &value)))
        .collect();
    vars.extend(c_string(OsStr::new(&format!("{MARKER}={}", old.rlim_cur))));
    if is_interpreter() {
        vars.extend(c_string(OsStr::new(&format!("{INTERPRETER}=1"))));
    }
    execve(c"/proc/self/exe", &args, &vars);
}

fn execve(path: &CStr, args: &[CString], vars: &[CString]) {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings
            .iter()
            .map(|s| s.as_ptr())
            .chain([core::ptr::null()])
            .collect()
    };
    let (args, vars) = (pointers(args), pointers(vars));
    // SAFETY: both arrays end with a null pointer, and their strings live in the caller.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), vars.as_ptr()) };
}

fn c_string(text: &OsStr) -> Option<CString> {
    CString::new(text.as_bytes()).ok()
}

fn join(name: &OsStr, value: &OsStr) -> OsString {
    let mut text = name.to_owned();
    text.push("=");
    text.push(value);
    text
}

fn soft_stack_limit() -> libc::rlimit {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: writes one structure.
    unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) };
    limit
}

/// An entry of the auxiliary vector; 0 if there is none.
pub(crate) fn auxv(entry: libc::c_ulong) -> u64 {
    // SAFETY: reads what the process was started with.
    unsafe { libc::getauxval(entry) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn everything_of_ours_lies_above_the_bound() {
        assert_eq!(super::misplaced(), None);
    }
}
