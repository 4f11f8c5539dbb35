//! `memcpy` and its kin in plain SSE2, linked in place of libc's.
//!
//! glibc's own use YMM, and on AVX-512 CPUs ZMM16 to 31 and the mask registers: that would destroy
//! the part of the guest's state that stays in the registers during a call (`fpu`, invariant 1).
//! In a static build these definitions come before libc's and serve libc itself, too; in a dynamic
//! one libc has its own, which is why `fpu` does not rely on them there.
//!
//! Sources: C11 7.24 for what they do; `tests/plain_sse2.rs` shows that nothing else is reachable.

use core::arch::global_asm;

// All: System V calling convention; lost: rax, rcx, rdx, rsi, rdi, r8, r9, xmm0 to
// xmm2, flags.
//
// Copies up to 32 bytes go through registers, loading everything before storing anything, so they
// are good for overlap; beyond, a loop in the right direction. No `rep movs`: on Zen 3, whatever CPUID says
// of it, it goes byte by byte unless both sides are aligned alike (784 bytes: 160 ns instead of 16).
global_asm!(
    ".pushsection .text.lwp_machine_mem, \"ax\", @progbits",
    ".balign 32",
    ".globl memcpy",
    ".type memcpy, @function",
    ".globl memmove",
    ".type memmove, @function",
    "memcpy:",
    "memmove:",
    "    .cfi_startproc",
    "    mov rax, rdi",
    "    cmp rdx, 16",
    "    jb 3f",
    "    cmp rdx, 32",
    "    ja 1f",
    "    movdqu xmm0, [rsi]",
    "    movdqu xmm1, [rsi + rdx - 16]",
    "    movdqu [rdi], xmm0",
    "    movdqu [rdi + rdx - 16], xmm1",
    "    ret",
    "1:  mov rcx, rdi",
    "    sub rcx, rsi",
    "    cmp rcx, rdx",
    "    jb 6f", // the target begins inside the source: from the end down
    // Upwards by 16, the last 16 loaded first.
    "    movdqu xmm1, [rsi + rdx - 16]",
    "    lea r8, [rdi + rdx - 16]",
    "7:  movdqu xmm0, [rsi]",
    "    movdqu [rdi], xmm0",
    "    add rsi, 16",
    "    add rdi, 16",
    "    cmp rdi, r8",
    "    jb 7b",
    "    movdqu [r8], xmm1",
    "    ret",
    "3:  cmp edx, 8",
    "    jb 4f",
    "    mov rcx, [rsi]",
    "    mov r8, [rsi + rdx - 8]",
    "    mov [rdi], rcx",
    "    mov [rdi + rdx - 8], r8",
    "    ret",
    "4:  cmp edx, 4",
    "    jb 5f",
    "    mov ecx, [rsi]",
    "    mov r8d, [rsi + rdx - 4]",
    "    mov [rdi], ecx",
    "    mov [rdi + rdx - 4], r8d",
    "    ret",
    "5:  test edx, edx",
    "    jz 8f",
    "    mov r8, rdx",
    "    shr r8",
    "    movzx ecx, byte ptr [rsi + r8]",
    "    movzx r9d, byte ptr [rsi + rdx - 1]",
    "    movzx esi, byte ptr [rsi]",
    "    mov [rdi + r8], cl",
    "    mov [rdi + rdx - 1], r9b",
    "    mov [rdi], sil",
    "8:  ret",
    // Downwards by 16, the first 16 loaded first.
    "6:  test rcx, rcx",
    "    jz 8b",
    "    movdqu xmm1, [rsi]",
    "9:  movdqu xmm0, [rsi + rdx - 16]",
    "    movdqu [rdi + rdx - 16], xmm0",
    "    sub rdx, 16",
    "    cmp rdx, 16",
    "    ja 9b",
    "    movdqu [rdi], xmm1",
    "    ret",
    "    .cfi_endproc",
    ".size memcpy, . - memcpy",
    ".size memmove, . - memmove",
    ".popsection",
);

// memset(to [rdi], byte [esi], len [rdx]).
global_asm!(
    ".pushsection .text.lwp_machine_mem, \"ax\", @progbits",
    ".balign 32",
    ".globl memset",
    ".type memset, @function",
    "memset:",
    "    .cfi_startproc",
    "    mov rax, rdi",
    "    movzx ecx, sil",
    "    imul ecx, ecx, 0x01010101",
    "    cmp rdx, 16",
    "    jb 2f",
    "    cmp rdx, 2048",
    "    ja 3f",
    "    movd xmm0, ecx",
    "    pshufd xmm0, xmm0, 0",
    "    lea r8, [rdi + rdx - 16]",
    "    movdqu [r8], xmm0",
    "1:  movdqu [rdi], xmm0",
    "    add rdi, 16",
    "    cmp rdi, r8",
    "    jb 1b",
    "    ret",
    "2:  cmp edx, 4",
    "    jb 4f",
    "    mov [rdi], ecx",
    "    mov [rdi + rdx - 4], ecx",
    "    mov r8, rdx",
    "    shr r8, 3", // 8 and more: two more words, in the middle
    "    shl r8, 2",
    "    mov [rdi + r8], ecx",
    "    neg r8",
    "    add r8, rdx",
    "    mov [rdi + r8 - 4], ecx",
    "    ret",
    "3:  mov r8, rax",
    "    mov eax, esi",
    "    mov rcx, rdx",
    "    rep stosb",
    "    mov rax, r8",
    "    ret",
    "4:  test edx, edx",
    "    jz 5f",
    "    mov [rdi], cl",
    "    mov [rdi + rdx - 1], cl",
    "    shr edx",
    "    mov [rdi + rdx], cl",
    "5:  ret",
    "    .cfi_endproc",
    ".size memset, . - memset",
    ".popsection",
);

// memcmp(a [rdi], b [rsi], len [rdx]); bcmp is the same.
global_asm!(
    ".pushsection .text.lwp_machine_mem, \"ax\", @progbits",
    ".balign 32",
    ".globl memcmp",
    ".type memcmp, @function",
    ".globl bcmp",
    ".type bcmp, @function",
    "memcmp:",
    "bcmp:",
    "    .cfi_startproc",
    "    xor ecx, ecx",
    "1:  lea r8, [rcx + 16]",
    "    cmp r8, rdx",
    "    ja 3f",
    "    movdqu xmm0, [rdi + rcx]",
    "    movdqu xmm1, [rsi + rcx]",
    "    pcmpeqb xmm0, xmm1",
    "    pmovmskb eax, xmm0",
    "    xor eax, 0xffff",
    "    jnz 2f",
    "    mov rcx, r8",
    "    jmp 1b",
    "2:  bsf eax, eax",
    "    add rcx, rax",
    "    movzx eax, byte ptr [rdi + rcx]",
    "    movzx edx, byte ptr [rsi + rcx]",
    "    sub eax, edx",
    "    ret",
    "3:  cmp rcx, rdx",
    "    jae 4f",
    "    movzx eax, byte ptr [rdi + rcx]",
    "    movzx r8d, byte ptr [rsi + rcx]",
    "    inc rcx",
    "    sub eax, r8d",
    "    jz 3b",
    "    ret",
    "4:  xor eax, eax",
    "    ret",
    "    .cfi_endproc",
    ".size memcmp, . - memcmp",
    ".size bcmp, . - bcmp",
    ".popsection",
);

// strlen(s [rdi]): aligned reads only, so none crosses into a page the string does not touch.
// memchr(s [rdi], byte [esi], len [rdx]) and memrchr: byte by byte; std uses them on short texts.
global_asm!(
    ".pushsection .text.lwp_machine_mem, \"ax\", @progbits",
    ".balign 32",
    ".globl strlen",
    ".type strlen, @function",
    "strlen:",
    "    .cfi_startproc",
    "    pxor xmm0, xmm0",
    "    mov rdx, rdi",
    "    and rdx, -16",
    "    mov ecx, edi",
    "    and ecx, 15",
    "    movdqa xmm1, [rdx]",
    "    pcmpeqb xmm1, xmm0",
    "    pmovmskb eax, xmm1",
    "    shr eax, cl",
    "    test eax, eax",
    "    jnz 2f",
    "1:  add rdx, 16",
    "    movdqa xmm1, [rdx]",
    "    pcmpeqb xmm1, xmm0",
    "    pmovmskb eax, xmm1",
    "    test eax, eax",
    "    jz 1b",
    "    bsf eax, eax",
    "    sub rdx, rdi",
    "    add rax, rdx",
    "    ret",
    "2:  bsf eax, eax",
    "    ret",
    "    .cfi_endproc",
    ".size strlen, . - strlen",
    ".globl memchr",
    ".type memchr, @function",
    "memchr:",
    "    .cfi_startproc",
    "    test rdx, rdx",
    "    jz 2f",
    "1:  cmp [rdi], sil",
    "    je 3f",
    "    inc rdi",
    "    dec rdx",
    "    jnz 1b",
    "2:  xor eax, eax",
    "    ret",
    "3:  mov rax, rdi",
    "    ret",
    "    .cfi_endproc",
    ".size memchr, . - memchr",
    ".globl memrchr",
    ".type memrchr, @function",
    "memrchr:",
    "    .cfi_startproc",
    "1:  sub rdx, 1",
    "    jb 2f",
    "    cmp [rdi + rdx], sil",
    "    jne 1b",
    "    lea rax, [rdi + rdx]",
    "    ret",
    "2:  xor eax, eax",
    "    ret",
    "    .cfi_endproc",
    ".size memrchr, . - memrchr",
    ".popsection",
);

unsafe extern "C" {
    fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8;
}

/// The address of our `memcpy`. Asking for it makes the linker take this module before libc's.
pub(crate) fn anchor() -> usize {
    memcpy as *const () as usize
}

#[cfg(test)]
mod tests {
    unsafe extern "C" {
        fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8;
        fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8;
        fn memcmp(a: *const u8, b: *const u8, len: usize) -> i32;
        fn strlen(s: *const u8) -> usize;
        fn memchr(s: *const u8, byte: i32, len: usize) -> *const u8;
        fn memrchr(s: *const u8, byte: i32, len: usize) -> *const u8;
    }

    fn pattern(len: usize) -> Vec<u8> {
        (0..len)
            .map(|i| u8::try_from(i * 37 % 251).unwrap() | 1)
            .collect()
    }

    fn lengths() -> impl Iterator<Item = usize> {
        (0..=130).chain([255, 256, 511, 512, 513, 1000, 4096])
    }

    #[test]
    fn memmove_moves_with_any_overlap() {
        for len in lengths() {
            for shift in [
                0_isize, 1, 7, 15, 16, 17, 40, 511, -1, -7, -15, -16, -17, -40, -600,
            ] {
                let mut bytes = pattern(len + 1400);
                let from = 700_usize;
                let to = from.checked_add_signed(shift).expect("in range");
                let mut expected = bytes.clone();
                let moved: Vec<u8> = expected[from..from + len].to_vec();
                expected[to..to + len].copy_from_slice(&moved);
                let base = bytes.as_mut_ptr();
                // SAFETY: both ranges lie in `bytes`.
                let result =
                    unsafe { memmove(base.wrapping_add(to), base.wrapping_add(from), len) };
                assert_eq!(result, base.wrapping_add(to));
                assert!(bytes == expected, "len {len} shift {shift}");
            }
        }
    }

    #[test]
    fn memset_sets_exactly_what_it_is_told() {
        for len in lengths() {
            let mut bytes = pattern(len + 64);
            let mut expected = bytes.clone();
            expected[32..32 + len]
                .iter_mut()
                .for_each(|byte| *byte = 0xa5);
            let to = bytes.as_mut_ptr().wrapping_add(32);
            // SAFETY: the range lies in `bytes`.
            let result = unsafe { memset(to, 0x1a5, len) };
            assert_eq!(result, to);
            assert!(bytes == expected, "len {len}");
        }
    }

    #[test]
    fn memcmp_orders_by_the_first_difference() {
        for len in lengths() {
            let a = pattern(len);
            // SAFETY: both are `len` long.
            assert_eq!(unsafe { memcmp(a.as_ptr(), a.as_ptr(), len) }, 0);
            for at in (0..len).step_by(5) {
                let mut b = a.clone();
                b[at] = b[at].wrapping_add(1);
                // SAFETY: as above.
                let order = unsafe { memcmp(a.as_ptr(), b.as_ptr(), len) };
                assert_eq!(order.signum(), if a[at] < b[at] { -1 } else { 1 });
            }
        }
    }

    #[test]
    fn strings_and_bytes_are_found() {
        for len in 0..100 {
            for shift in 0..17 {
                let mut bytes = vec![0; shift];
                bytes.extend(pattern(len));
                bytes.push(0);
                let s = bytes.as_ptr().wrapping_add(shift);
                // SAFETY: `s` ends with a zero.
                assert_eq!(unsafe { strlen(s) }, len);
                // SAFETY: `len + 1` bytes are there.
                assert_eq!(unsafe { memchr(s, 0, len + 1) }, s.wrapping_add(len));
                // SAFETY: as above.
                assert!(unsafe { memrchr(s, 0, len) }.is_null());
                if len > 0 {
                    // SAFETY: as above.
                    let found = unsafe { memrchr(s, i32::from(bytes[shift]), len) };
                    let last = bytes[shift..shift + len]
                        .iter()
                        .rposition(|&b| b == bytes[shift]);
                    assert_eq!(found, s.wrapping_add(last.expect("the first one")));
                }
            }
        }
    }

    #[test]
    fn the_linker_takes_ours() {
        assert_ne!(super::anchor(), 0);
    }
}
