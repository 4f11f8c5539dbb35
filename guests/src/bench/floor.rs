//! The floor: what a switch costs that only exchanges stacks, as a library of coroutines does it. No
//! system call is made, so it is the same under any kernel.

use crate::measure;
use core::cell::UnsafeCell;
use rt::check::Verdict;
use rt::vm;

/// The stack pointer of a side that does not run.
struct Side(UnsafeCell<u64>);

// SAFETY: only the first LWP of the program switches.
unsafe impl Sync for Side {}

static HOME: Side = Side(UnsafeCell::new(0));
static AWAY: Side = Side(UnsafeCell::new(0));

/// Keeps this side in `keep` (RDI) and goes on with the one in `load` (RSI). Saves what the C calling
/// convention says a call keeps: six registers, MXCSR and the x87 control word.
#[unsafe(naked)]
extern "C" fn exchange(keep: *mut u64, load: *const u64) {
    core::arch::naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov [rdi], rsp",
        "mov rsp, [rsi]",
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

extern "C" fn away() -> ! {
    loop {
        exchange(AWAY.0.get(), HOME.0.get());
    }
}

/// What `exchange` leaves on a stack: control words, six registers, where to return to; and above it
/// the word where a caller's return address would be.
#[repr(C)]
struct Left {
    mxcsr: u32,
    fcw: u32,
    kept: [u64; 6],
    to: u64,
    caller: u64,
}

/// There and back: two switches.
pub(crate) fn switch(count: u64) -> Verdict {
    let stack = vm::map(vm::PAGE)?;
    let entry: extern "C" fn() -> ! = away;
    let at = stack.len - size_of::<Left>();
    let first = Left {
        mxcsr: 0x1f80,
        fcw: 0x037f,
        kept: [0; 6],
        to: entry as usize as u64,
        caller: 0,
    };
    // SAFETY: inside the new mapping, aligned.
    unsafe { stack.ptr::<Left>(at).write(first) };
    // SAFETY: nobody switches yet.
    unsafe { *AWAY.0.get() = stack.base + at as u64 };
    measure("floor", count, |n| {
        for _ in 0..n {
            exchange(HOME.0.get(), AWAY.0.get());
        }
    });
    stack.unmap();
    Ok(())
}
