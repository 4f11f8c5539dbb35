//! The start of a program: entry point, arguments, environment, auxiliary vector.
//!
//! Arguments come from the stack, not from `ps_strings`; that both agree is for `abi` to check.
//! Sources: lwp.md 6.1 to 6.3, elf(5).

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char};
use core::mem::offset_of;
use core::sync::atomic::{AtomicPtr, Ordering};
use lwp_abi::exec::{AT_NULL, AuxEntry, PsStrings};

/// The registers as the kernel left them at the entry point.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
#[expect(
    missing_docs,
    reason = "the fields are the registers of the same names"
)]
pub struct EntryRegs {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub rflags: u64,
    pub mxcsr: u32,
    pub fcw: u16,
    pub fsw: u16,
    pub cs: u64,
    pub ss: u64,
}

/// Written by [`_start`] alone, before anything else runs.
static ENTRY: Once<EntryRegs> = Once(UnsafeCell::new(EntryRegs {
    rax: 0,
    rbx: 0,
    rcx: 0,
    rdx: 0,
    rsi: 0,
    rdi: 0,
    rbp: 0,
    rsp: 0,
    rflags: 0,
    mxcsr: 0,
    fcw: 0,
    fsw: 0,
    cs: 0,
    ss: 0,
}));

#[repr(transparent)]
struct Once<T>(UnsafeCell<T>);

// SAFETY: written before there is a second LWP, and only read from then on.
unsafe impl<T> Sync for Once<T> {}

/// The kernel enters here: RSP points to argc, RBX to `ps_strings`. Keeps the registers in
/// [`ENTRY`] and calls [`begin`] on the same stack, aligned.
///
/// # Safety
/// For the kernel only.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _start() -> ! {
    core::arch::naked_asm!(
        "mov [rip + {entry} + {rax}], rax",
        "mov [rip + {entry} + {rbx}], rbx",
        "mov [rip + {entry} + {rcx}], rcx",
        "mov [rip + {entry} + {rdx}], rdx",
        "mov [rip + {entry} + {rsi}], rsi",
        "mov [rip + {entry} + {rdi}], rdi",
        "mov [rip + {entry} + {rbp}], rbp",
        "mov [rip + {entry} + {rsp}], rsp",
        "stmxcsr [rip + {entry} + {mxcsr}]",
        "fnstcw [rip + {entry} + {fcw}]",
        "fnstsw [rip + {entry} + {fsw}]",
        "pushfq",
        "pop qword ptr [rip + {entry} + {rflags}]",
        "mov eax, cs",
        "mov [rip + {entry} + {cs}], rax",
        "mov eax, ss",
        "mov [rip + {entry} + {ss}], rax",
        "mov rdi, rsp",
        "and rsp, -16",
        "xor ebp, ebp",
        "call {begin}",
        "ud2",
        entry = sym ENTRY,
        begin = sym begin,
        rax = const offset_of!(EntryRegs, rax),
        rbx = const offset_of!(EntryRegs, rbx),
        rcx = const offset_of!(EntryRegs, rcx),
        rdx = const offset_of!(EntryRegs, rdx),
        rsi = const offset_of!(EntryRegs, rsi),
        rdi = const offset_of!(EntryRegs, rdi),
        rbp = const offset_of!(EntryRegs, rbp),
        rsp = const offset_of!(EntryRegs, rsp),
        rflags = const offset_of!(EntryRegs, rflags),
        mxcsr = const offset_of!(EntryRegs, mxcsr),
        fcw = const offset_of!(EntryRegs, fcw),
        fsw = const offset_of!(EntryRegs, fsw),
        cs = const offset_of!(EntryRegs, cs),
        ss = const offset_of!(EntryRegs, ss),
    )
}

unsafe extern "Rust" {
    /// Made by [`main!`](crate::main).
    safe fn rt_guest_main(args: Args) -> i32;
}

/// The first Rust code of a program; `stack` is the kernel's stack pointer.
extern "C" fn begin(stack: *const u64) -> ! {
    ARGS.store(stack.cast_mut(), Ordering::Relaxed);
    crate::process::exit(rt_guest_main(Args::get()))
}

static ARGS: AtomicPtr<u64> = AtomicPtr::new(core::ptr::null_mut());

/// The registers at the entry point.
pub fn entry_regs() -> EntryRegs {
    // SAFETY: `_start` has written it; nobody writes it any more.
    unsafe { *ENTRY.0.get() }
}

/// What RBX pointed to at the entry point.
pub fn ps_strings() -> *const PsStrings {
    core::ptr::with_exposed_provenance(usize::try_from(entry_regs().rbx).unwrap_or(0))
}

/// What lies above the stack pointer at the entry point.
#[derive(Clone, Copy, Debug)]
pub struct Args {
    stack: *const u64,
}

impl Args {
    /// The program's.
    pub fn get() -> Self {
        Self {
            stack: ARGS.load(Ordering::Relaxed),
        }
    }

    /// How many arguments there are, the program's name among them.
    pub fn len(self) -> usize {
        usize::try_from(self.word(0)).unwrap_or(0)
    }

    /// Whether there is not even a name.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// An argument; the empty string if there is none, or if it is no text.
    pub fn arg(self, i: usize) -> &'static str {
        if i >= self.len() {
            return "";
        }
        self.c_arg(i).to_str().unwrap_or("")
    }

    /// An argument, as the kernel laid it out.
    ///
    /// # Panics
    /// If there is none.
    pub fn c_arg(self, i: usize) -> &'static CStr {
        assert!(i < self.len(), "argument {i} is missing");
        string(self.word(1 + i))
    }

    /// All arguments but the name.
    pub fn rest(self) -> impl Iterator<Item = &'static str> {
        (1..self.len()).map(move |i| self.arg(i))
    }

    /// An argument as a number, or `default`.
    pub fn number(self, i: usize, default: u64) -> u64 {
        self.arg(i).parse().unwrap_or(default)
    }

    /// Address of `argv[0]`.
    pub fn argv(self) -> *const u64 {
        self.stack.wrapping_add(1)
    }

    /// Address of the first environment string's pointer.
    pub fn envp(self) -> *const u64 {
        self.argv().wrapping_add(self.len() + 1)
    }

    /// The environment strings.
    pub fn env(self) -> impl Iterator<Item = &'static CStr> {
        let first = self.len() + 2;
        (first..)
            .map(move |i| self.word(i))
            .take_while(|&at| at != 0)
            .map(string)
    }

    /// The auxiliary vector, without its end.
    pub fn auxv(self) -> impl Iterator<Item = AuxEntry> {
        let mut at = self
            .envp()
            .wrapping_add(self.env().count() + 1)
            .cast::<AuxEntry>();
        core::iter::from_fn(move || {
            // SAFETY: the kernel's vector (lwp.md 6.2), which ends with AT_NULL.
            let entry = unsafe { at.read() };
            at = at.wrapping_add(1);
            (entry.a_type != AT_NULL).then_some(entry)
        })
    }

    /// One value of the auxiliary vector.
    pub fn aux(self, kind: u32) -> Option<u64> {
        self.auxv()
            .find(|entry| entry.a_type == kind)
            .map(|entry| entry.a_v)
    }

    /// The word `i` above the stack pointer.
    fn word(self, i: usize) -> u64 {
        // SAFETY: callers stay within argc, argv, envp as the kernel laid them out.
        unsafe { self.stack.wrapping_add(i).read() }
    }
}

/// A string of the arguments or the environment.
fn string(at: u64) -> &'static CStr {
    let at: *const c_char = core::ptr::with_exposed_provenance(usize::try_from(at).unwrap_or(0));
    // SAFETY: the kernel put it there, with a NUL, and it stays for the life of the program.
    unsafe { CStr::from_ptr(at) }
}

/// `rt::main!(f)`: makes a NetBSD program of `fn f(args: Args) -> i32`, whose result is the exit
/// status. Adds what the kernel looks for: the note that says NetBSD 10.1.
#[macro_export]
macro_rules! main {
    ($main:path) => {
        #[unsafe(no_mangle)]
        fn rt_guest_main(args: $crate::start::Args) -> i32 {
            $main(args)
        }

        /// Keeps the entry point in the program.
        #[used]
        static START: unsafe extern "C" fn() -> ! = $crate::start::_start;

        core::arch::global_asm!(
            ".pushsection .note.netbsd.ident, \"a\", @note",
            ".balign 4",
            ".long 7, 4, 1",
            ".asciz \"NetBSD\"",
            ".balign 4",
            ".long 1001000000",
            ".popsection",
        );
    };
}

/// A check that panics is a broken program, not a finding.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    crate::complain!("{info}");
    crate::process::exit(crate::process::BROKEN)
}
