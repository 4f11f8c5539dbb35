//! Entering and leaving user mode: the two stubs and their addresses.
//!
//! Responsible for swapping the host's registers for the guest's and back, for one call of
//! [`enter`]. Not for the state beyond XMM and MXCSR (`fpu`), nor for how the guest's syscall
//! instructions come to jump here (`patch`) or trap (`sud`, `signals`).
//!
//! # Invariants
//! 1. From `lwp_entry_first` to the last jump the entry stub is a restartable sequence: nothing it
//!    has done needs undoing except RSP, FS, MXCSR and flags, and `lwp_entry_abort` does that from any
//!    register state. A signal in that range makes it abort, so a kick is never lost between the
//!    check of `pending` and the guest.
//! 2. The last jump (or `iretq`) changes no register: after a signal return all sixteen and the flags are exact.
//! 3. Nothing is stored below a stack pointer of the guest's, nor above it.
//! 4. The exit stub is a straight line into host code; signals in it only set `pending`.
//! 5. From `lwp_fast_first` to `lwp_fast_jump` the way back from a fast call is a second restartable
//!    sequence: the context is complete but for MXCSR, and `lwp_fast_abort` sees to that. A third one answers
//!    a call ([`Answer`]) before the context is complete; interrupted, it goes on as any other call.
//!
//! # The host's stack while the guest runs
//! ```text
//! host_rsp + 48   return address of lwp_machine_enter
//!          + 40   rbp
//!          + 32   rbx
//!          + 24   r12
//!          + 16   r13
//!          +  8   r14
//!          +  0   r15
//! ```
//!
//! Sources: AMD64 Architecture Programmer's Manual vol. 2 (syscall, FSGSBASE), System V ABI.

use crate::block::{Block, MXCSR_UNKNOWN};
use crate::fast;
use core::arch::global_asm;
use core::mem::offset_of;
use lwp_kernel::ctx::{Answer, Fpu, Regs, UserCtx};
use lwp_kernel::machine::GUEST_BOUND;

/// The guest came through a trampoline, or through Syscall User Dispatch: a system call.
pub(crate) const LEFT_SYSCALL: u64 = 0;
/// The guest faulted; the block holds the fault.
pub(crate) const LEFT_FAULT: u64 = 1;
/// The vcpu was kicked.
pub(crate) const LEFT_PREEMPTED: u64 = 2;
/// The LWP has parked in a fast call, and its context is no longer the vcpu's.
pub(crate) const LEFT_PARKED: u64 = 3;

/// Flags that `sahf` cannot set, or that host code cannot live with: TF, DF, NT, AC, ID.
const RARE_FLAGS: u32 = 1 << 8 | 1 << 10 | 1 << 14 | 1 << 18 | 1 << 21;
/// Flags that user mode can set: these, and CF, PF, AF, ZF, SF, OF. RF would only hide a debugger's breakpoint.
const LOADABLE_FLAGS: u32 = RARE_FLAGS | 1 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 11;
/// Flags with which compiled code does not work: TF, DF, AC, and NT for good measure.
pub(crate) const HOST_HATES: u32 = 1 << 8 | 1 << 10 | 1 << 14 | 1 << 18;

const fn reg(at: usize) -> usize {
    offset_of!(UserCtx, regs) + at
}

const fn fpu(at: usize) -> usize {
    offset_of!(UserCtx, fpu) + at
}

/// Assembly that sets FS to %rax. Changes rax and flags, and without FSGSBASE also rcx, rsi, rdi and
/// r11 (which a call of Linux's clobbers).
macro_rules! set_fs {
    () => {
        concat!(
            "    cmp byte ptr gs:[{b_fsgsbase}], 0\n",
            "    je 771f\n",
            "    wrfsbase rax\n",
            "    jmp 772f\n",
            "771:\n",
            "    mov rsi, rax\n",
            "    mov edi, 0x1002\n", // ARCH_SET_FS
            "    mov eax, 158\n",    // arch_prctl
            "    syscall\n",
            "772:\n",
        )
    };
}

/// Assembly that loads the guest's XMM registers from the context at %rdi.
macro_rules! load_xmm {
    () => {
        concat!(
            "    movaps xmm0, [rdi + {xmm} + 0]\n",
            "    movaps xmm1, [rdi + {xmm} + 16]\n",
            "    movaps xmm2, [rdi + {xmm} + 32]\n",
            "    movaps xmm3, [rdi + {xmm} + 48]\n",
            "    movaps xmm4, [rdi + {xmm} + 64]\n",
            "    movaps xmm5, [rdi + {xmm} + 80]\n",
            "    movaps xmm6, [rdi + {xmm} + 96]\n",
            "    movaps xmm7, [rdi + {xmm} + 112]\n",
            "    movaps xmm8, [rdi + {xmm} + 128]\n",
            "    movaps xmm9, [rdi + {xmm} + 144]\n",
            "    movaps xmm10, [rdi + {xmm} + 160]\n",
            "    movaps xmm11, [rdi + {xmm} + 176]\n",
            "    movaps xmm12, [rdi + {xmm} + 192]\n",
            "    movaps xmm13, [rdi + {xmm} + 208]\n",
            "    movaps xmm14, [rdi + {xmm} + 224]\n",
            "    movaps xmm15, [rdi + {xmm} + 240]\n",
        )
    };
}

/// Assembly that sets the guest's flags, of which none is rare, from %eax, and RSP. Changes eax and ecx; after it
/// only moves may follow.
///
/// The common flags without popf, which takes four times as long: OF by an overflow, the rest by sahf.
macro_rules! load_flags_and_rsp {
    () => {
        concat!(
            "    mov ecx, eax\n",
            "    shr ecx, 11\n",
            "    and ecx, 1\n",
            "    mov ah, al\n",
            "    mov al, cl\n",
            "    mov rsp, [rdi + {rsp}]\n",
            "    add al, 0x7f\n",
            "    sahf\n",
        )
    };
}

// fn lwp_machine_enter(cx: *mut UserCtx [rdi]) -> u64 [rax]
//
// On entry: the host's FS, a host stack, C's calling convention. Between the last jump and
// lwp_machine_exit everything is the guest's but GS. The return comes from lwp_machine_leave, with the
// callee-saved registers of the call, the host's FS and MXCSR; flags DF, TF, AC clear.
global_asm!(
    ".pushsection .text.lwp_machine_entry, \"ax\", @progbits",
    ".balign 64",
    ".globl lwp_machine_enter",
    ".hidden lwp_machine_enter",
    ".type lwp_machine_enter, @function",
    "lwp_machine_enter:",
    "    .cfi_startproc",
    "    push rbp",
    "    .cfi_adjust_cfa_offset 8",
    "    .cfi_rel_offset rbp, 0",
    "    push rbx",
    "    .cfi_adjust_cfa_offset 8",
    "    .cfi_rel_offset rbx, 0",
    "    push r12",
    "    .cfi_adjust_cfa_offset 8",
    "    .cfi_rel_offset r12, 0",
    "    push r13",
    "    .cfi_adjust_cfa_offset 8",
    "    .cfi_rel_offset r13, 0",
    "    push r14",
    "    .cfi_adjust_cfa_offset 8",
    "    .cfi_rel_offset r14, 0",
    "    push r15",
    "    .cfi_adjust_cfa_offset 8",
    "    .cfi_rel_offset r15, 0",
    "    mov gs:[{b_cx}], rdi",
    "    mov dword ptr gs:[{b_mxcsr}], {unknown}",
    "    mov rax, gs:[{b_host_fs}]",
    "    mov gs:[{b_fs}], rax",
    "    mov gs:[{b_host_rsp}], rsp",
    "    mov rax, [rdi + {rip}]",
    "    mov gs:[{b_guest_rip}], rax",
    // Invariant 1 begins. What came before may be interrupted: the handler only sets `pending`.
    ".globl lwp_entry_first",
    ".hidden lwp_entry_first",
    "lwp_entry_first:",
    "    cmp dword ptr gs:[{b_pending}], 0",
    "    jne lwp_entry_abort",
    // Neither FS nor MXCSR is loaded if it holds the value already, as from one LWP to the next it may: they
    // take longer than all the rest. The note of FS is made first: an interrupted entry leaves.
    "    mov rax, [rdi + {fs_base}]",
    "    cmp rax, gs:[{b_fs}]",
    "    je 5f",
    "    mov gs:[{b_fs}], rax",
    "    mov rbx, rdi",
    set_fs!(),
    "    mov rdi, rbx",
    "5:",
    "    mov eax, [rdi + {mxcsr}]",
    "    cmp eax, gs:[{b_mxcsr}]",
    "    je 4f",
    "    ldmxcsr [rdi + {mxcsr}]",
    "4:",
    load_xmm!(),
    "    mov rbx, [rdi + {rbx}]",
    "    mov rdx, [rdi + {rdx}]",
    "    mov rsi, [rdi + {rsi}]",
    "    mov rbp, [rdi + {rbp}]",
    "    mov r8, [rdi + {r8}]",
    "    mov r9, [rdi + {r9}]",
    "    mov r10, [rdi + {r10}]",
    "    mov r11, [rdi + {r11}]",
    "    mov r12, [rdi + {r12}]",
    "    mov r13, [rdi + {r13}]",
    "    mov r14, [rdi + {r14}]",
    "    mov r15, [rdi + {r15}]",
    "    mov rax, [rdi + {rflags}]",
    "    test eax, {rare}",
    "    jnz 2f",
    load_flags_and_rsp!(),
    "    mov rcx, [rdi + {rcx}]",
    "    mov rax, [rdi + {rax}]",
    "    mov rdi, [rdi + {rdi}]",
    ".globl lwp_entry_jump",
    ".hidden lwp_entry_jump",
    "lwp_entry_jump:",
    "    jmp qword ptr gs:[{b_guest_rip}]",
    // All of the rest at once: with TF the first trap comes after the guest's first instruction.
    "2:  mov ecx, ss",
    "    push rcx",
    "    push [rdi + {rsp}]",
    "    and eax, {loadable}",
    "    push rax",
    "    mov ecx, cs",
    "    push rcx",
    "    push gs:[{b_guest_rip}]",
    "    mov rcx, [rdi + {rcx}]",
    "    mov rax, [rdi + {rax}]",
    "    mov rdi, [rdi + {rdi}]",
    "    iretq",
    ".globl lwp_entry_last",
    ".hidden lwp_entry_last",
    "lwp_entry_last:",
    // Any register, FS, RSP and flags may be the guest's here (the handler has cleared TF, DF, AC).
    ".globl lwp_entry_abort",
    ".hidden lwp_entry_abort",
    "lwp_entry_abort:",
    "    mov rsp, gs:[{b_host_rsp}]",
    "    mov eax, {preempted}",
    "    jmp lwp_machine_leave",
    "    .cfi_endproc",
    ".size lwp_machine_enter, . - lwp_machine_enter",
    ".popsection",
    b_cx = const offset_of!(Block, cx),
    b_host_rsp = const offset_of!(Block, host_rsp),
    b_guest_rip = const offset_of!(Block, guest_rip),
    b_pending = const offset_of!(Block, pending),
    b_fsgsbase = const offset_of!(Block, fsgsbase),
    b_fs = const offset_of!(Block, fs),
    b_host_fs = const offset_of!(Block, host_fs),
    b_mxcsr = const offset_of!(Block, mxcsr),
    unknown = const MXCSR_UNKNOWN.cast_signed(),
    fs_base = const reg(offset_of!(Regs, fs_base)),
    mxcsr = const fpu(offset_of!(Fpu, mxcsr)),
    xmm = const fpu(offset_of!(Fpu, xmm)),
    rip = const reg(offset_of!(Regs, rip)),
    rflags = const reg(offset_of!(Regs, rflags)),
    rax = const reg(offset_of!(Regs, rax)),
    rbx = const reg(offset_of!(Regs, rbx)),
    rcx = const reg(offset_of!(Regs, rcx)),
    rdx = const reg(offset_of!(Regs, rdx)),
    rsi = const reg(offset_of!(Regs, rsi)),
    rdi = const reg(offset_of!(Regs, rdi)),
    rbp = const reg(offset_of!(Regs, rbp)),
    rsp = const reg(offset_of!(Regs, rsp)),
    r8 = const reg(offset_of!(Regs, r8)),
    r9 = const reg(offset_of!(Regs, r9)),
    r10 = const reg(offset_of!(Regs, r10)),
    r11 = const reg(offset_of!(Regs, r11)),
    r12 = const reg(offset_of!(Regs, r12)),
    r13 = const reg(offset_of!(Regs, r13)),
    r14 = const reg(offset_of!(Regs, r14)),
    r15 = const reg(offset_of!(Regs, r15)),
    rare = const RARE_FLAGS,
    loadable = const LOADABLE_FLAGS,
    preempted = const LEFT_PREEMPTED,
);

// lwp_machine_exit: reached by a jump from a trampoline.
//
// On entry: everything is the guest's, RCX the address behind its syscall instruction (as the
// instruction would have left it), R11 free. Then the host's stack, the registers in the context.
// Then, if the visit has fast calls, the function that makes them (`fast`), on the guest's FS; it says how
// to go on: back to the guest at once, into another context, or out.
//
// lwp_machine_leave: reached from above and, as the return address of a signal frame, from the
// handlers, with RSP = host_rsp and RAX = why. FS and MXCSR may be either side's.
global_asm!(
    ".pushsection .text.lwp_machine_entry, \"ax\", @progbits",
    ".balign 64",
    ".globl lwp_machine_exit",
    ".hidden lwp_machine_exit",
    ".type lwp_machine_exit, @function",
    "lwp_machine_exit:",
    "    .cfi_startproc",
    "    .cfi_def_cfa rsp, 56",
    "    .cfi_offset rip, -8",
    "    mov r11, gs:[{b_cx}]",
    "    mov [r11 + {rsp}], rsp",
    "    mov rsp, gs:[{b_host_rsp}]",
    "    mov [r11 + {rax}], rax",
    "    mov [r11 + {rip}], rcx",
    "    mov [r11 + {rcx}], rcx",
    "    pushfq",
    "    pop rcx",
    "    mov [r11 + {rflags}], rcx",
    "    mov [r11 + {r11}], rcx",
    // A call that is always answered in the same way: nothing else need be saved.
    "    cmp rax, [r11 + {answer_number}]",
    "    je 9f",
    "22: mov [r11 + {rbx}], rbx",
    "    mov [r11 + {rdx}], rdx",
    "    mov [r11 + {rsi}], rsi",
    "    mov [r11 + {rdi}], rdi",
    "    mov [r11 + {rbp}], rbp",
    "    mov [r11 + {r8}], r8",
    "    mov [r11 + {r9}], r9",
    "    mov [r11 + {r10}], r10",
    "    mov [r11 + {r12}], r12",
    "    mov [r11 + {r13}], r13",
    "    mov [r11 + {r14}], r14",
    "    mov [r11 + {r15}], r15",
    "    movaps [r11 + {xmm}], xmm0",
    "    movaps [r11 + {xmm} + 16], xmm1",
    "    movaps [r11 + {xmm} + 32], xmm2",
    "    movaps [r11 + {xmm} + 48], xmm3",
    "    movaps [r11 + {xmm} + 64], xmm4",
    "    movaps [r11 + {xmm} + 80], xmm5",
    "    movaps [r11 + {xmm} + 96], xmm6",
    "    movaps [r11 + {xmm} + 112], xmm7",
    "    movaps [r11 + {xmm} + 128], xmm8",
    "    movaps [r11 + {xmm} + 144], xmm9",
    "    movaps [r11 + {xmm} + 160], xmm10",
    "    movaps [r11 + {xmm} + 176], xmm11",
    "    movaps [r11 + {xmm} + 192], xmm12",
    "    movaps [r11 + {xmm} + 208], xmm13",
    "    movaps [r11 + {xmm} + 224], xmm14",
    "    movaps [r11 + {xmm} + 240], xmm15",
    "    inc qword ptr gs:[{b_fast}]",
    "    test ecx, {hates}",
    "    jnz 4f",
    // Fast calls: the host's stack, the guest's FS and MXCSR, the context complete but for MXCSR. The
    // callee-saved registers still hold the guest's values, and so they do when the function returns.
    "    mov rdi, gs:[{b_visit}]",
    "    test rdi, rdi",
    "    jz 5f",
    "    sub rsp, 8",
    "    .cfi_adjust_cfa_offset 8",
    "    call {fast}",
    "    add rsp, 8",
    "    .cfi_adjust_cfa_offset -8",
    "    mov rdi, gs:[{b_cx}]",
    "    cmp eax, {fast_slow}",
    "    je 6f",
    "    cmp eax, {fast_switched}",
    "    je lwp_entry_first",
    "    ja 7f",
    // The call is done. Rare flags: as into a fresh context.
    "    mov eax, [rdi + {rflags}]",
    "    test eax, {rare}",
    "    jnz 8f",
    // From here on as restartable as the entry stub, but with the call's results in the context and the
    // guest's own MXCSR in force.
    ".globl lwp_fast_first",
    ".hidden lwp_fast_first",
    "lwp_fast_first:",
    "    cmp dword ptr gs:[{b_pending}], 0",
    "    jne lwp_fast_abort",
    load_xmm!(),
    "    mov rdx, [rdi + {rdx}]",
    "    mov rsi, [rdi + {rsi}]",
    "    mov r8, [rdi + {r8}]",
    "    mov r9, [rdi + {r9}]",
    "    mov r10, [rdi + {r10}]",
    "    mov r11, [rdi + {r11}]",
    load_flags_and_rsp!(),
    "    mov rcx, [rdi + {rcx}]",
    "    mov rax, [rdi + {rax}]",
    "    mov rdi, [rdi + {rdi}]",
    ".globl lwp_fast_jump",
    ".hidden lwp_fast_jump",
    "lwp_fast_jump:",
    "    jmp qword ptr gs:[{b_guest_rip}]",
    ".globl lwp_fast_last",
    ".hidden lwp_fast_last",
    "lwp_fast_last:",
    // Any register but FS and MXCSR may be anything here.
    ".globl lwp_fast_abort",
    ".hidden lwp_fast_abort",
    "lwp_fast_abort:",
    "    mov rsp, gs:[{b_host_rsp}]",
    "    mov rdi, gs:[{b_cx}]",
    "    stmxcsr [rdi + {mxcsr}]",
    "    mov eax, {preempted}",
    "    jmp lwp_machine_leave",
    "8:  stmxcsr [rdi + {mxcsr}]",
    "    jmp lwp_entry_first",
    // The answer, if calls are made on the spot and the guest can go on where it is. r11 is the context, the
    // context's RSP, RAX, RCX, R11, RIP and flags are what the guest had, and ecx its flags; other registers
    // are the guest's still, so that an interrupted answer begins anew as any other call.
    "9:  cmp qword ptr gs:[{b_visit}], 0",
    "    je 22b",
    "    mov eax, {bound_high}",
    "    shl rax, 32",
    "    cmp [r11 + {rip}], rax",
    "    jae 22b",
    "    test ecx, {rare}",
    "    jnz 22b",
    "    inc qword ptr gs:[{b_fast}]",
    ".globl lwp_answer_first",
    ".hidden lwp_answer_first",
    "lwp_answer_first:",
    "    cmp dword ptr gs:[{b_pending}], 0",
    "    jne lwp_answer_abort",
    // Success: carry clear.
    "    and ecx, -2",
    "    mov eax, ecx",
    "    shr ecx, 11",
    "    and ecx, 1",
    "    mov ah, al",
    "    mov al, cl",
    "    mov rsp, [r11 + {rsp}]",
    "    add al, 0x7f",
    "    sahf",
    "    mov edx, 0",
    "    mov rax, [r11 + {answer_value}]",
    "    mov rcx, [r11 + {rip}]",
    "    mov r11, [r11 + {r11}]",
    ".globl lwp_answer_jump",
    ".hidden lwp_answer_jump",
    "lwp_answer_jump:",
    "    jmp rcx",
    ".globl lwp_answer_last",
    ".hidden lwp_answer_last",
    "lwp_answer_last:",
    // RDX may be 0 already, as it will be after the call.
    ".globl lwp_answer_abort",
    ".hidden lwp_answer_abort",
    "lwp_answer_abort:",
    "    mov r11, gs:[{b_cx}]",
    "    mov rsp, gs:[{b_host_rsp}]",
    "    dec qword ptr gs:[{b_fast}]",
    "    mov rcx, [r11 + {rflags}]",
    "    jmp 22b",
    // Parked, or a context that cannot be entered: the context needs nothing more.
    "7:  cmp eax, {fast_stuck}",
    "    ja lwp_fast_abort",
    "    mov eax, {preempted}",
    "    je lwp_machine_leave",
    "    mov eax, {parked}",
    "    jmp lwp_machine_leave",
    // DF, TF, AC or NT of the guest's: host code gets none of them.
    "4:  push 2",
    "    popfq",
    "5:  mov rdi, gs:[{b_cx}]",
    "6:  stmxcsr [rdi + {mxcsr}]",
    "    mov eax, {syscall}",
    ".globl lwp_machine_leave",
    ".hidden lwp_machine_leave",
    "lwp_machine_leave:",
    "    ldmxcsr gs:[{b_host_mxcsr}]",
    "    mov rbx, rax",
    "    mov rax, gs:[{b_host_fs}]",
    set_fs!(),
    "    mov rax, rbx",
    "    pop r15",
    "    .cfi_def_cfa_offset 48",
    "    pop r14",
    "    .cfi_def_cfa_offset 40",
    "    pop r13",
    "    .cfi_def_cfa_offset 32",
    "    pop r12",
    "    .cfi_def_cfa_offset 24",
    "    pop rbx",
    "    .cfi_def_cfa_offset 16",
    "    pop rbp",
    "    .cfi_def_cfa_offset 8",
    "    ret",
    "    .cfi_endproc",
    ".size lwp_machine_exit, . - lwp_machine_exit",
    ".popsection",
    b_cx = const offset_of!(Block, cx),
    b_host_rsp = const offset_of!(Block, host_rsp),
    b_host_fs = const offset_of!(Block, host_fs),
    b_host_mxcsr = const offset_of!(Block, host_mxcsr),
    b_fsgsbase = const offset_of!(Block, fsgsbase),
    b_fast = const offset_of!(Block, fast),
    mxcsr = const fpu(offset_of!(Fpu, mxcsr)),
    xmm = const fpu(offset_of!(Fpu, xmm)),
    rip = const reg(offset_of!(Regs, rip)),
    rflags = const reg(offset_of!(Regs, rflags)),
    rax = const reg(offset_of!(Regs, rax)),
    rbx = const reg(offset_of!(Regs, rbx)),
    rcx = const reg(offset_of!(Regs, rcx)),
    rdx = const reg(offset_of!(Regs, rdx)),
    rsi = const reg(offset_of!(Regs, rsi)),
    rdi = const reg(offset_of!(Regs, rdi)),
    rbp = const reg(offset_of!(Regs, rbp)),
    rsp = const reg(offset_of!(Regs, rsp)),
    r8 = const reg(offset_of!(Regs, r8)),
    r9 = const reg(offset_of!(Regs, r9)),
    r10 = const reg(offset_of!(Regs, r10)),
    r11 = const reg(offset_of!(Regs, r11)),
    r12 = const reg(offset_of!(Regs, r12)),
    r13 = const reg(offset_of!(Regs, r13)),
    r14 = const reg(offset_of!(Regs, r14)),
    r15 = const reg(offset_of!(Regs, r15)),
    hates = const HOST_HATES,
    rare = const RARE_FLAGS,
    bound_high = const GUEST_BOUND >> 32,
    answer_number = const offset_of!(UserCtx, answer) + offset_of!(Answer, number),
    answer_value = const offset_of!(UserCtx, answer) + offset_of!(Answer, value),
    syscall = const LEFT_SYSCALL,
    preempted = const LEFT_PREEMPTED,
    parked = const LEFT_PARKED,
    b_visit = const offset_of!(Block, visit),
    b_pending = const offset_of!(Block, pending),
    b_guest_rip = const offset_of!(Block, guest_rip),
    fast = sym fast::lwp_fast_call,
    fast_slow = const fast::SLOW,
    fast_switched = const fast::SWITCHED,
    fast_stuck = const fast::STUCK,
);

unsafe extern "C" {
    fn lwp_machine_enter(cx: *mut UserCtx) -> u64;
    static lwp_machine_exit: u8;
    static lwp_machine_leave: u8;
    static lwp_entry_first: u8;
    static lwp_entry_jump: u8;
    static lwp_entry_last: u8;
    static lwp_entry_abort: u8;
    static lwp_fast_first: u8;
    static lwp_fast_jump: u8;
    static lwp_fast_last: u8;
    static lwp_fast_abort: u8;
    static lwp_answer_first: u8;
    static lwp_answer_jump: u8;
    static lwp_answer_last: u8;
    static lwp_answer_abort: u8;
}

/// Runs the guest in `cx` and says why it came back.
///
/// # Safety
/// The calling thread is a vcpu (its GS base points to its [`Block`]), its XMM upper halves and x87
/// state are the guest's (`fpu::load`), and `cx` holds an RIP below the guest bound and a canonical FS
/// base. Guest code runs: what it does to memory it can reach is not in anybody's hands.
pub(crate) unsafe fn enter(cx: *mut UserCtx) -> u64 {
    // SAFETY: the caller's promise; the stub keeps C's calling convention.
    unsafe { lwp_machine_enter(cx) }
}

/// A sequence that a signal makes begin anew by leaving it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sequence {
    /// The entry stub's.
    Entry,
    /// The way back from a fast call.
    Fast,
    /// The answer to a call that is answered by the stub.
    Answer,
}

impl Sequence {
    /// The one that `rip` is in, if any.
    pub(crate) fn of(rip: u64) -> Option<Self> {
        let within = |first: u64, last: u64| (first..last).contains(&rip);
        let entry = (&raw const lwp_entry_first).addr() as u64;
        let fast = (&raw const lwp_fast_first).addr() as u64;
        if within(entry, (&raw const lwp_entry_last).addr() as u64) {
            Some(Self::Entry)
        } else if within(fast, (&raw const lwp_fast_last).addr() as u64) {
            Some(Self::Fast)
        } else if within(
            (&raw const lwp_answer_first).addr() as u64,
            (&raw const lwp_answer_last).addr() as u64,
        ) {
            Some(Self::Answer)
        } else {
            None
        }
    }

    /// Its last instruction, the jump into the guest.
    pub(crate) fn jump(self) -> u64 {
        match self {
            Self::Entry => (&raw const lwp_entry_jump).addr() as u64,
            Self::Fast => (&raw const lwp_fast_jump).addr() as u64,
            Self::Answer => (&raw const lwp_answer_jump).addr() as u64,
        }
    }

    /// Where it goes on when it has been interrupted.
    pub(crate) fn abort(self) -> u64 {
        match self {
            Self::Entry => (&raw const lwp_entry_abort).addr() as u64,
            Self::Fast => (&raw const lwp_fast_abort).addr() as u64,
            Self::Answer => (&raw const lwp_answer_abort).addr() as u64,
        }
    }
}

/// Where trampolines jump to.
pub(crate) fn exit_stub() -> u64 {
    (&raw const lwp_machine_exit).addr() as u64
}

/// Where a signal frame goes on when the handler has taken the guest out.
pub(crate) fn leave() -> u64 {
    (&raw const lwp_machine_leave).addr() as u64
}
