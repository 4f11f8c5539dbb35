//! The string functions that libc itself uses during ordinary calls, in plain SSE2.
//!
//! Like `mem_fns`, for the same reason: glibc picks AVX2 or AVX-512 variants of these at start-up.
//! Threads are started with `mempcpy`, errors are named with it, `getenv` compares with `strncmp`,
//! `realpath` uses `rawmemchr`. The strings are short, so these go byte by byte. What glibc still has
//! variants of is used by its locale, name-service and wide-character code, which the runner does not
//! call while a guest's state is in the registers (`tests/plain_sse2.rs` has the list).
//!
//! Sources: C11 7.24, string(3).

use core::arch::global_asm;

// All: System V calling convention. Lost: rax, rcx, rdx, rdi, rsi, flags. Leaves without a stack.
// A name of libc's own (`__mempcpy`) is a second label, as libc has it.
global_asm!(
    ".pushsection .text.lwp_machine_str, \"ax\", @progbits",
    ".balign 16",
    // mempcpy(to, from, len): memcpy, but the end of the copy is the result.
    ".globl mempcpy",
    ".type mempcpy, @function",
    ".globl __mempcpy",
    ".type __mempcpy, @function",
    "mempcpy:",
    "__mempcpy:",
    "    mov rcx, rdx",
    "    rep movsb",
    "    mov rax, rdi",
    "    ret",
    ".size mempcpy, . - mempcpy",
    // strcmp(a, b)
    ".globl strcmp",
    ".type strcmp, @function",
    "strcmp:",
    "1:  movzx eax, byte ptr [rdi]",
    "    movzx ecx, byte ptr [rsi]",
    "    cmp eax, ecx",
    "    jne 2f",
    "    inc rdi",
    "    inc rsi",
    "    test eax, eax",
    "    jnz 1b",
    "2:  sub eax, ecx",
    "    ret",
    ".size strcmp, . - strcmp",
    // strncmp(a, b, len)
    ".globl strncmp",
    ".type strncmp, @function",
    "strncmp:",
    "1:  sub rdx, 1",
    "    jb 3f",
    "    movzx eax, byte ptr [rdi]",
    "    movzx ecx, byte ptr [rsi]",
    "    cmp eax, ecx",
    "    jne 2f",
    "    inc rdi",
    "    inc rsi",
    "    test eax, eax",
    "    jnz 1b",
    "2:  sub eax, ecx",
    "    ret",
    "3:  xor eax, eax",
    "    ret",
    ".size strncmp, . - strncmp",
    // strchr(s, byte), which is also called index
    ".globl strchr",
    ".type strchr, @function",
    ".globl index",
    ".type index, @function",
    "strchr:",
    "index:",
    "1:  movzx eax, byte ptr [rdi]",
    "    cmp al, sil",
    "    je 2f",
    "    inc rdi",
    "    test eax, eax",
    "    jnz 1b",
    "    xor eax, eax",
    "    ret",
    "2:  mov rax, rdi",
    "    ret",
    ".size strchr, . - strchr",
    // strchrnul(s, byte): the byte or the end.
    ".globl strchrnul",
    ".type strchrnul, @function",
    ".globl __strchrnul",
    ".type __strchrnul, @function",
    "strchrnul:",
    "__strchrnul:",
    "    mov rax, rdi",
    "1:  movzx ecx, byte ptr [rax]",
    "    cmp cl, sil",
    "    je 2f",
    "    test ecx, ecx",
    "    jz 2f",
    "    inc rax",
    "    jmp 1b",
    "2:  ret",
    ".size strchrnul, . - strchrnul",
    // strrchr(s, byte), which is also called rindex
    ".globl strrchr",
    ".type strrchr, @function",
    ".globl rindex",
    ".type rindex, @function",
    "strrchr:",
    "rindex:",
    "    xor eax, eax",
    "1:  movzx ecx, byte ptr [rdi]",
    "    cmp cl, sil",
    "    cmove rax, rdi",
    "    inc rdi",
    "    test ecx, ecx",
    "    jnz 1b",
    "    ret",
    ".size strrchr, . - strrchr",
    // strnlen(s, len)
    ".globl strnlen",
    ".type strnlen, @function",
    ".globl __strnlen",
    ".type __strnlen, @function",
    "strnlen:",
    "__strnlen:",
    "    xor eax, eax",
    "1:  cmp rax, rsi",
    "    jae 2f",
    "    cmp byte ptr [rdi + rax], 0",
    "    je 2f",
    "    inc rax",
    "    jmp 1b",
    "2:  ret",
    ".size strnlen, . - strnlen",
    // rawmemchr(s, byte): it is there.
    ".globl rawmemchr",
    ".type rawmemchr, @function",
    ".globl __rawmemchr",
    ".type __rawmemchr, @function",
    "rawmemchr:",
    "__rawmemchr:",
    "    mov rax, rdi",
    "1:  cmp [rax], sil",
    "    je 2f",
    "    inc rax",
    "    jmp 1b",
    "2:  ret",
    ".size rawmemchr, . - rawmemchr",
    // stpcpy(to, from): the end of the copy.
    ".globl stpcpy",
    ".type stpcpy, @function",
    ".globl __stpcpy",
    ".type __stpcpy, @function",
    "stpcpy:",
    "__stpcpy:",
    "    mov rax, rdi",
    "1:  movzx ecx, byte ptr [rsi]",
    "    mov [rax], cl",
    "    test ecx, ecx",
    "    jz 2f",
    "    inc rax",
    "    inc rsi",
    "    jmp 1b",
    "2:  ret",
    ".size stpcpy, . - stpcpy",
    ".popsection",
);

unsafe extern "C" {
    fn mempcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8;
}

/// The address of our `mempcpy`; see `mem_fns::anchor`.
pub(crate) fn anchor() -> usize {
    mempcpy as *const () as usize
}

#[cfg(test)]
mod tests {
    use core::ffi::{CStr, c_char, c_int};

    unsafe extern "C" {
        fn strcmp(a: *const c_char, b: *const c_char) -> c_int;
        fn strncmp(a: *const c_char, b: *const c_char, len: usize) -> c_int;
        fn strchr(s: *const c_char, byte: c_int) -> *const c_char;
        fn strrchr(s: *const c_char, byte: c_int) -> *const c_char;
        fn strchrnul(s: *const c_char, byte: c_int) -> *const c_char;
        fn strnlen(s: *const c_char, len: usize) -> usize;
        fn rawmemchr(s: *const c_char, byte: c_int) -> *const c_char;
        fn stpcpy(to: *mut c_char, from: *const c_char) -> *mut c_char;
    }

    const WORDS: [&CStr; 6] = [c"", c"a", c"ab", c"abcab", c"abd", c"\xff\x01"];

    /// Where in `s` a pointer points to; `None` for a null pointer.
    fn at(s: &CStr, found: *const c_char) -> Option<usize> {
        (!found.is_null()).then(|| found.addr() - s.as_ptr().addr())
    }

    #[test]
    fn strings_compare_as_their_bytes_do() {
        for a in WORDS {
            for b in WORDS {
                // SAFETY: both end with a NUL.
                let order = unsafe { strcmp(a.as_ptr(), b.as_ptr()) };
                assert_eq!(order.cmp(&0), a.to_bytes().cmp(b.to_bytes()));
                for len in 0..7 {
                    let cut = |s: &'static CStr| &s.to_bytes()[..len.min(s.to_bytes().len())];
                    // SAFETY: as above.
                    let order = unsafe { strncmp(a.as_ptr(), b.as_ptr(), len) };
                    assert_eq!(order.cmp(&0), cut(a).cmp(cut(b)));
                }
            }
        }
    }

    #[test]
    fn bytes_are_found_where_they_are() {
        for s in WORDS {
            let bytes = s.to_bytes_with_nul();
            for byte in [0, b'a', b'b', b'c', 0xff] {
                let (first, last) = (
                    bytes.iter().position(|&b| b == byte),
                    bytes.iter().rposition(|&b| b == byte),
                );
                let (p, wanted) = (s.as_ptr(), c_int::from(byte));
                // SAFETY: `s` ends with a NUL.
                assert_eq!(at(s, unsafe { strchr(p, wanted) }), first);
                // SAFETY: as above.
                assert_eq!(at(s, unsafe { strrchr(p, wanted) }), last);
                // SAFETY: as above.
                let or_end = at(s, unsafe { strchrnul(p, wanted) });
                assert_eq!(or_end, first.or(Some(s.count_bytes())));
                if first.is_some() {
                    // SAFETY: as above, and the byte is there.
                    assert_eq!(at(s, unsafe { rawmemchr(p, wanted) }), first);
                }
            }
            for len in 0..7 {
                // SAFETY: as above.
                let found = unsafe { strnlen(s.as_ptr(), len) };
                assert_eq!(found, s.count_bytes().min(len));
            }
        }
    }

    #[test]
    fn copies_end_where_they_say() {
        for s in WORDS {
            let mut room = [0x55_u8; 16];
            let to = room.as_mut_ptr();
            // SAFETY: the room is larger than any of the words.
            let end = unsafe { stpcpy(to.cast(), s.as_ptr()) };
            assert_eq!(end.addr() - to.addr(), s.count_bytes());
            let len = s.count_bytes() + 1;
            assert_eq!((&room[..len], room[len]), (s.to_bytes_with_nul(), 0x55));
            // SAFETY: as above.
            let end = unsafe { super::mempcpy(to.wrapping_add(1), s.as_ptr().cast(), len) };
            assert_eq!(
                (end.addr() - to.addr(), &room[1..=len]),
                (len + 1, s.to_bytes_with_nul())
            );
        }
    }
}
