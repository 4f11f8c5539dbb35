//! The shapes in which programs make system calls (syscalls.md 1.3).

use super::Site;
use core::arch::naked_asm;

/// `mov $nr,%eax; syscall`: most of Go's.
#[unsafe(naked)]
unsafe extern "C" fn short<const NR: u16>() {
    naked_asm!("mov eax, {nr}", "syscall", "ret", nr = const NR)
}

/// `mov $nr,%rax; syscall`: some of Go's.
#[unsafe(naked)]
unsafe extern "C" fn long<const NR: u16>() {
    naked_asm!(".byte 0x48, 0xc7, 0xc0", ".long {nr}", "syscall", "ret", nr = const NR)
}

/// `mov $nr,%eax; mov %rcx,%r10; syscall`: the C library's. R10 changes.
#[unsafe(naked)]
unsafe extern "C" fn libc<const NR: u16>() {
    naked_asm!("mov eax, {nr}", ".byte 0x49, 0x89, 0xca", "syscall", "ret", nr = const NR)
}

/// A stack load just before: Go's generic wrapper. RDX is the word 24 above (`stored`).
#[unsafe(naked)]
unsafe extern "C" fn load<const NR: u16>() {
    naked_asm!(
        "mov eax, {nr}",
        "nop",
        ".byte 0x48, 0x8b, 0x54, 0x24, 0x18",
        "syscall",
        "ret",
        nr = const NR,
    )
}

/// A stack store just before: Go's wrapper for nine arguments. R13 goes 24 above (`stored`).
#[unsafe(naked)]
unsafe extern "C" fn store<const NR: u16>() {
    naked_asm!(
        "mov eax, {nr}",
        "nop",
        ".byte 0x4c, 0x89, 0x6c, 0x24, 0x18",
        "syscall",
        "ret",
        nr = const NR,
    )
}

/// `syscall` behind a short instruction: nothing to replace.
#[unsafe(naked)]
unsafe extern "C" fn alone<const NR: u16>() {
    naked_asm!("mov eax, {nr}", "nop", "syscall", "ret", nr = const NR)
}

/// A jump straight to the `syscall` of a patched pair. RAX must not be the skipped number.
#[unsafe(naked)]
unsafe extern "C" fn jump<const NR: u16>() {
    naked_asm!(
        "mov eax, {nr}",
        "jmp 20f",
        "mov eax, 1",
        "20:",
        "syscall",
        "ret",
        nr = const NR,
    )
}

/// `int $0x80`, the old gate.
#[unsafe(naked)]
unsafe extern "C" fn gate<const NR: u16>() {
    naked_asm!("mov eax, {nr}", "int 0x80", "ret", nr = const NR)
}

/// What a shape does to registers besides making the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Also {
    /// Nothing.
    Nothing,
    /// R10 := RCX.
    MovesRcx,
    /// RDX := 0, the word on the stack.
    LoadsRdx,
    /// The word on the stack := R13.
    StoresR13,
}

/// Every shape of call `NR`: its name, its code, what else it does.
pub fn all<const NR: u16>() -> [(&'static str, Site, Also); 8] {
    [
        ("short", short::<NR>, Also::Nothing),
        ("long", long::<NR>, Also::Nothing),
        ("libc", libc::<NR>, Also::MovesRcx),
        ("load", load::<NR>, Also::LoadsRdx),
        ("store", store::<NR>, Also::StoresR13),
        ("alone", alone::<NR>, Also::Nothing),
        ("jump", jump::<NR>, Also::Nothing),
        ("gate", gate::<NR>, Also::Nothing),
    ]
}
