//! The twin of `src/hello.rs` for Linux: the same line by the same way, a static program without a
//! C library. Built as an example, so that nothing takes it for a guest.

#![no_std]
#![no_main]

use core::arch::{asm, naked_asm};

const SYS_WRITE: u64 = 1;
const SYS_EXIT_GROUP: u64 = 231;

/// The kernel enters here; RSP is aligned as for a call's first instruction but one word.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!("xor ebp, ebp", "call {begin}", "ud2", begin = sym begin)
}

extern "C" fn begin() -> ! {
    let line = "hello from Linux\n";
    call(
        SYS_WRITE,
        [1, line.as_ptr().addr() as u64, line.len() as u64],
    );
    exit()
}

fn exit() -> ! {
    loop {
        call(SYS_EXIT_GROUP, [0; 3]);
    }
}

fn call(nr: u64, a: [u64; 3]) {
    // SAFETY: both calls read at most the line.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") nr => _,
            in("rdi") a[0],
            in("rsi") a[1],
            in("rdx") a[2],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit()
}
