//! Touching guest memory from host code: the routines that may fault.
//!
//! Responsible for the assembly whose faults are answered, not reported: [`fixup`] tells the signal
//! handler where such a routine goes on. Not for bounds (`mem`), which every caller checks first.
//!
//! # Invariants
//! 1. Between `lwp_guest_first` and `lwp_guest_last` no instruction moves the stack pointer or
//!    changes a callee-saved register, so a fix-up may return from any of them.
//! 2. Guest memory is never seen by compiled code: other LWPs may change it meanwhile.
//!
//! Sources: copyin(9), copyout(9).

use core::arch::global_asm;

// fn lwp_guest_copy(to [rdi], from [rsi], len [rdx]) -> u64: 0, or 1 after a fault.
// fn lwp_guest_store32(to [rdi], value [esi]) -> u64: the same.
// fn lwp_guest_find(from [rdi], end [rsi]) -> u64: the first place of `0f 05` that ends at or before
//    `end`, else (and after a fault) `end`. Reads nothing at or behind `end`.
//
// All are leaves. Lost: rax, rcx, rdx, rsi (not in find), rdi, xmm0 to xmm3, flags.
// A copy moves aligned words of 2, 4 and 8 bytes in one access, as other LWPs may expect.
global_asm!(
    ".pushsection .text.lwp_machine_guest, \"ax\", @progbits",
    ".balign 64",
    ".globl lwp_guest_first",
    ".hidden lwp_guest_first",
    "lwp_guest_first:",
    ".globl lwp_guest_copy",
    ".hidden lwp_guest_copy",
    ".type lwp_guest_copy, @function",
    "lwp_guest_copy:",
    "    .cfi_startproc",
    "    mov rcx, rdx",
    "    and edx, 15",
    "    shr rcx, 4",
    "    jz 2f",
    "4:  movdqu xmm0, [rsi]",
    "    movdqu [rdi], xmm0",
    "    add rsi, 16",
    "    add rdi, 16",
    "    dec rcx",
    "    jnz 4b",
    "2:  test dl, 8",
    "    jz 7f",
    "    mov rax, [rsi]",
    "    mov [rdi], rax",
    "    add rsi, 8",
    "    add rdi, 8",
    "7:  test dl, 4",
    "    jz 5f",
    "    mov eax, [rsi]",
    "    mov [rdi], eax",
    "    add rsi, 4",
    "    add rdi, 4",
    "5:  test dl, 2",
    "    jz 6f",
    "    mov ax, [rsi]",
    "    mov [rdi], ax",
    "    add rsi, 2",
    "    add rdi, 2",
    "6:  test dl, 1",
    "    jz 3f",
    "    mov al, [rsi]",
    "    mov [rdi], al",
    "3:  xor eax, eax",
    "    ret",
    "    .cfi_endproc",
    ".size lwp_guest_copy, . - lwp_guest_copy",
    ".globl lwp_guest_store32",
    ".hidden lwp_guest_store32",
    ".type lwp_guest_store32, @function",
    "lwp_guest_store32:",
    "    .cfi_startproc",
    "    mov [rdi], esi",
    "    xor eax, eax",
    "    ret",
    "    .cfi_endproc",
    ".size lwp_guest_store32, . - lwp_guest_store32",
    ".globl lwp_guest_find",
    ".hidden lwp_guest_find",
    ".type lwp_guest_find, @function",
    "lwp_guest_find:",
    "    .cfi_startproc",
    "    mov eax, 0x0f0f0f0f",
    "    movd xmm2, eax",
    "    pshufd xmm2, xmm2, 0",
    "    mov eax, 0x05050505",
    "    movd xmm3, eax",
    "    pshufd xmm3, xmm3, 0",
    "1:  lea rax, [rdi + 17]",
    "    cmp rax, rsi",
    "    ja 3f",
    "    movdqu xmm0, [rdi]",
    "    movdqu xmm1, [rdi + 1]",
    "    pcmpeqb xmm0, xmm2",
    "    pcmpeqb xmm1, xmm3",
    "    pand xmm0, xmm1",
    "    pmovmskb eax, xmm0",
    "    test eax, eax",
    "    jnz 2f",
    "    add rdi, 16",
    "    jmp 1b",
    "2:  bsf eax, eax",
    "    add rax, rdi",
    "    ret",
    "3:  lea rax, [rdi + 2]",
    "    cmp rax, rsi",
    "    ja 4f",
    "    cmp word ptr [rdi], 0x050f",
    "    je 5f",
    "    inc rdi",
    "    jmp 3b",
    "4:  mov rax, rsi",
    "    ret",
    "5:  mov rax, rdi",
    "    ret",
    "    .cfi_endproc",
    ".size lwp_guest_find, . - lwp_guest_find",
    ".globl lwp_guest_last",
    ".hidden lwp_guest_last",
    "lwp_guest_last:",
    ".globl lwp_guest_fault",
    ".hidden lwp_guest_fault",
    "lwp_guest_fault:",
    "    mov eax, 1",
    "    ret",
    ".globl lwp_guest_find_fault",
    ".hidden lwp_guest_find_fault",
    "lwp_guest_find_fault:",
    "    mov rax, rsi",
    "    ret",
    ".popsection",
);

unsafe extern "C" {
    fn lwp_guest_copy(to: u64, from: u64, len: usize) -> u64;
    fn lwp_guest_store32(to: u64, value: u32) -> u64;
    fn lwp_guest_find(from: u64, end: u64) -> u64;
    static lwp_guest_first: u8;
    static lwp_guest_last: u8;
    static lwp_guest_fault: u8;
    static lwp_guest_find_fault: u8;
}

/// A guest address that could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Faulted;

/// Where a routine of this module goes on after a fault at `rip`, if `rip` is one's.
pub(crate) fn fixup(rip: u64) -> Option<u64> {
    let first = (&raw const lwp_guest_first).addr() as u64;
    let last = (&raw const lwp_guest_last).addr() as u64;
    let find = lwp_guest_find as *const () as u64;
    match rip {
        _ if !(first..last).contains(&rip) => None,
        _ if rip >= find => Some((&raw const lwp_guest_find_fault).addr() as u64),
        _ => Some((&raw const lwp_guest_fault).addr() as u64),
    }
}

/// Copies `to.len()` bytes from guest memory.
///
/// # Safety
/// `from..from + to.len()` lies below the guest bound, and the handlers of `signals` are in place.
pub(crate) unsafe fn read(from: u64, to: &mut [u8]) -> Result<(), Faulted> {
    // SAFETY: `to` is ours to write; the other side is the guest's, where a fault comes back as 1.
    answer(unsafe { lwp_guest_copy(to.as_mut_ptr() as u64, from, to.len()) })
}

/// Copies `from` into guest memory.
///
/// # Safety
/// `to..to + from.len()` lies below the guest bound, and the handlers of `signals` are in place.
pub(crate) unsafe fn write(from: &[u8], to: u64) -> Result<(), Faulted> {
    // SAFETY: `from` is readable; nothing of ours lies below the guest bound (`layout`), and a
    // fault comes back as 1.
    answer(unsafe { lwp_guest_copy(to, from.as_ptr() as u64, from.len()) })
}

/// Stores one word in guest memory.
///
/// # Safety
/// `to..to + 4` lies below the guest bound, and the handlers of `signals` are in place.
pub(crate) unsafe fn store32(value: u32, to: u64) -> Result<(), Faulted> {
    // SAFETY: as for `write`.
    answer(unsafe { lwp_guest_store32(to, value) })
}

/// Finds the bytes `0f 05` in guest memory; `end` if there are none or a page cannot be read.
///
/// # Safety
/// `from..end` lies below the guest bound, and the handlers of `signals` are in place.
pub(crate) unsafe fn find_syscall(from: u64, end: u64) -> u64 {
    // SAFETY: it only reads, below `end`; a fault comes back as `end`.
    unsafe { lwp_guest_find(from, end) }
}

fn answer(faulted: u64) -> Result<(), Faulted> {
    if faulted == 0 { Ok(()) } else { Err(Faulted) }
}
