//! Checks of the program's start and of the system call instruction: L-260 to L-273.

#![no_std]
#![no_main]

use rt::abi::exec::{
    AT_BASE, AT_EGID, AT_ENTRY, AT_EUID, AT_FLAGS, AT_PAGESZ, AT_PHDR, AT_PHENT, AT_PHNUM, AT_RGID,
    AT_RUID, AT_STACKBASE,
};
use rt::abi::nr::{
    SYS___SYSCALL, SYS_CLOCK_GETTIME50, SYS_GETPID, SYS_GETUID, SYS_LWP_KILL, SYS_LWP_SELF,
    SYS_LWP_UNPARK, SYS_MMAP, SYS_SCHED_YIELD, SYS_SYSCALL,
};
use rt::abi::signal::Signo;
use rt::check::{Check, Fail, Verdict};
use rt::process::{self, in_child, low};
use rt::regs::{Random, shape, try_shape};
use rt::start::{Args, entry_regs, ps_strings};
use rt::sys::{self, Raw, raw_nr, raw_stack};
use rt::{Errno, ensure, ensure_eq, ensure_err, lwp, sig, vm};

rt::main!(main);

fn main(args: Args) -> i32 {
    rt::check::run(args, &[CHECKS])
}

const CHECKS: &[Check] = &[
    ("L-260", ps_strings_match_the_stack),
    ("L-261", stack_holds_arguments),
    ("L-262", registers_at_entry),
    ("L-262/fpu", control_words_at_entry),
    ("L-263", no_private_pointer),
    ("L-264", auxiliary_vector),
    ("L-265", stackbase_is_above_all),
    ("L-266", carry_and_rax),
    ("L-267/short", shape_short),
    ("L-267/long", shape_long),
    ("L-267/libc", shape_libc),
    ("L-267/load", shape_load),
    ("L-267/store", shape_store),
    ("L-267/alone", shape_alone),
    ("L-267/jump", shape_jump),
    ("L-267/gate", shape_gate),
    ("L-268", second_result),
    ("L-269", indirect_self),
    ("L-270", seventh_argument),
    ("L-271", indirect_indirect),
    ("indirect/EFAULT-stack", indirect_without_a_stack),
    ("L-272", unknown_numbers),
    ("L-273", upper_halves_are_ignored),
    ("number/masked", only_nine_bits_count),
];

fn ps_strings_match_the_stack() -> Verdict {
    let args = Args::get();
    ensure!(!ps_strings().is_null());
    // SAFETY: not null, and RBX points to one (this is what is checked; a fault fails it).
    let ps = unsafe { ps_strings().read() };
    ensure_eq!(ps.ps_argvstr, sys::Arg::arg(args.argv()));
    ensure_eq!(ps.ps_nargvstr, i32::try_from(args.len()).unwrap_or(-1));
    ensure_eq!(ps.ps_envstr, sys::Arg::arg(args.envp()));
    ensure_eq!(
        ps.ps_nenvstr,
        i32::try_from(args.env().count()).unwrap_or(-1)
    );
    Ok(())
}

fn stack_holds_arguments() -> Verdict {
    let args = Args::get();
    ensure!(args.arg(0).ends_with("abi"), "argv[0] is {:?}", args.arg(0));
    // SAFETY: argv and its end are on the stack.
    let end = unsafe { args.argv().wrapping_add(args.len()).read() };
    ensure_eq!(end, 0);
    Ok(())
}

fn registers_at_entry() -> Verdict {
    let regs = entry_regs();
    ensure_eq!((regs.rdx, regs.rcx), (0, 0));
    ensure_eq!((regs.rdi, regs.rsi, regs.rax, regs.rbp), (0, 0, 0, 0));
    ensure_eq!(regs.rsp % 8, 0);
    ensure!(
        regs.rflags & !0x20_0000 == 0x202,
        "rflags {:#x}",
        regs.rflags
    );
    Ok(())
}

fn control_words_at_entry() -> Verdict {
    let regs = entry_regs();
    ensure_eq!((regs.mxcsr, regs.fcw, regs.fsw), (0x1f80, 0x037f, 0));
    Ok(())
}

fn no_private_pointer() -> Verdict {
    ensure_eq!(lwp::private(), 0);
    Ok(())
}

fn auxiliary_vector() -> Verdict {
    let args = Args::get();
    for kind in [
        AT_PHDR,
        AT_PHENT,
        AT_PHNUM,
        AT_PAGESZ,
        AT_BASE,
        AT_FLAGS,
        AT_ENTRY,
        AT_STACKBASE,
        AT_EUID,
        AT_RUID,
        AT_EGID,
        AT_RGID,
    ] {
        ensure!(args.aux(kind).is_some(), "type {kind} is missing");
    }
    ensure_eq!(args.aux(AT_PAGESZ), Some(4096));
    ensure_eq!(args.aux(AT_PHENT), Some(56));
    ensure_eq!((args.aux(AT_BASE), args.aux(AT_FLAGS)), (Some(0), Some(0)));
    ensure_eq!(args.aux(AT_EUID), Some(u64::from(process::euid())));
    let start: unsafe extern "C" fn() -> ! = rt::start::_start;
    ensure_eq!(args.aux(AT_ENTRY), Some(start as usize as u64));
    // The headers are mapped: the first is readable, and its type is a small number.
    let header = vm::pointer::<u32>(args.aux(AT_PHDR).unwrap_or(0));
    // SAFETY: not null in a program with headers; a fault fails the check.
    let kind = unsafe { header.read() };
    ensure!(
        (1..=7).contains(&kind),
        "the first header has type {kind:#x}"
    );
    Ok(())
}

fn stackbase_is_above_all() -> Verdict {
    let args = Args::get();
    let base = args.aux(AT_STACKBASE).unwrap_or(0);
    ensure!(base >= entry_regs().rbx + 32);
    for i in 0..args.len() {
        ensure!(sys::Arg::arg(args.c_arg(i)) < base);
    }
    for string in args.env() {
        ensure!(sys::Arg::arg(string) < base);
    }
    Ok(())
}

fn carry_and_rax() -> Verdict {
    let lid = lwp::me();
    let good = sys::raw::<{ SYS_LWP_SELF }>([1, 2, 3, 4, 5, 6]);
    ensure_eq!(
        good,
        Raw {
            rax: sys::Arg::arg(lid),
            rdx: 0,
            carry: false
        }
    );
    let bad = sys::raw::<{ SYS_LWP_KILL }>([sys::Arg::arg(lid), 64, 3, 4, 5, 6]);
    let errno = sys::Arg::arg(Errno::EINVAL.raw());
    ensure_eq!(
        bad,
        Raw {
            rax: errno,
            rdx: 3,
            carry: true
        }
    );
    Ok(())
}

/// Several calls in one shape (an index into [`shape::all`]), with random registers.
fn registers_survive(index: usize) -> Verdict {
    let mut random = Random::new(0x5eed + index as u64);
    let (lid, pid) = (lwp::me().raw(), process::pid());
    for _ in 0..200 {
        let own = one(&mut random, shape::all::<{ SYS_LWP_SELF }>()[index])?;
        ensure_eq!((low(own.rax), own.rdx, own.carry), (lid, 0, false));
        let ids = one(&mut random, shape::all::<{ SYS_GETPID }>()[index])?;
        ensure_eq!((low(ids.rax), low(ids.rdx)), (pid, process::parent()));
        one(&mut random, shape::all::<{ SYS_GETUID }>()[index])?;
        one(&mut random, shape::all::<{ SYS_SCHED_YIELD }>()[index])?;
        // Random ids, clocks and addresses: every one of these fails.
        let calls = [
            one(&mut random, shape::all::<{ SYS_LWP_UNPARK }>()[index])?,
            one(&mut random, shape::all::<{ SYS_CLOCK_GETTIME50 }>()[index])?,
        ];
        ensure!(calls.iter().all(|raw| raw.carry), "{calls:?}");
    }
    Ok(())
}

fn one(
    random: &mut Random,
    (name, site, also): (&str, rt::regs::Site, shape::Also),
) -> Result<Raw, Fail> {
    try_shape(random, (site, also), |_| ())
        .map_err(|difference| Fail::new(format_args!("{name}: {difference}")))
}

fn shape_short() -> Verdict {
    registers_survive(0)
}

fn shape_long() -> Verdict {
    registers_survive(1)
}

fn shape_libc() -> Verdict {
    registers_survive(2)
}

fn shape_load() -> Verdict {
    registers_survive(3)
}

fn shape_store() -> Verdict {
    registers_survive(4)
}

fn shape_alone() -> Verdict {
    registers_survive(5)
}

fn shape_jump() -> Verdict {
    registers_survive(6)
}

fn shape_gate() -> Verdict {
    registers_survive(7)
}

fn second_result() -> Verdict {
    let failed = raw_nr(
        u64::from(SYS_LWP_KILL),
        [0, 64, 0x1234_5678_9abc_def0, 0, 0, 0],
    );
    ensure!(failed.carry && failed.rdx == 0x1234_5678_9abc_def0);
    let own = raw_nr(u64::from(SYS_LWP_SELF), [7; 6]);
    ensure!(!own.carry && own.rdx == 0);
    let ids = raw_nr(u64::from(SYS_GETPID), [7; 6]);
    let parent = rt::sys!(SYS_GETPPID)?;
    ensure_eq!((ids.carry, ids.rdx), (false, parent));
    Ok(())
}

fn indirect_self() -> Verdict {
    let lid = sys::Arg::arg(lwp::me());
    for number in [SYS_SYSCALL, SYS___SYSCALL] {
        let a = [u64::from(SYS_LWP_SELF), 1, 2, 3, 4, 5];
        ensure_eq!(
            raw_nr(u64::from(number), a),
            Raw {
                rax: lid,
                rdx: 0,
                carry: false
            }
        );
        let a = [u64::from(SYS_LWP_KILL), lid, 64, 3, 4, 5];
        ensure_err!(raw_nr(u64::from(number), a).result(), EINVAL);
    }
    Ok(())
}

/// A page of a file whose page 1 begins with "two", mapped at offset 4096 by `map`.
fn maps_page_two(map: impl FnOnce(u64, u64, u64) -> Raw) -> Verdict {
    const O_RDWR_CREAT_TRUNC: i32 = 0x2 | 0x200 | 0x400;
    let path = c"seventh-argument.tmp";
    let fd = low(rt::sys!(SYS_OPEN, path, O_RDWR_CREAT_TRUNC, 0o600)?);
    rt::sys!(SYS_UNLINK, path)?;
    rt::sys!(SYS_FTRUNCATE, fd, 0, 8192)?;
    rt::sys!(SYS_PWRITE, fd, b"two".as_ptr(), 3, 0, 4096)?;
    let prot = sys::Arg::arg(vm::PROT_READ);
    let at = map(prot, sys::Arg::arg(vm::MAP_PRIVATE), sys::Arg::arg(fd)).result()?;
    // SAFETY: the mapping just made.
    let found = unsafe { vm::pointer::<[u8; 3]>(at).read() };
    ensure_eq!(&found, b"two");
    process::close(fd)?;
    Ok(())
}

fn seventh_argument() -> Verdict {
    const PAD: u64 = 0xdead_0000_beef;
    let direct = |prot, flags, fd| {
        raw_stack(
            u64::from(SYS_MMAP),
            [0, 4096, prot, flags, fd, PAD],
            [4096, PAD, PAD],
        )
    };
    maps_page_two(direct)?;
    let indirect = |prot, flags, fd| {
        let a = [u64::from(SYS_MMAP), 0, 4096, prot, flags, fd];
        raw_stack(u64::from(SYS___SYSCALL), a, [PAD, 4096, PAD])
    };
    maps_page_two(indirect)
}

fn indirect_indirect() -> Verdict {
    for outer in [SYS_SYSCALL, SYS___SYSCALL] {
        for inner in [SYS_SYSCALL, SYS___SYSCALL] {
            let a = [u64::from(inner), u64::from(SYS_LWP_SELF), 0, 0, 0, 0];
            sig::ignore(Signo::SIGSYS)?;
            ensure_err!(raw_nr(u64::from(outer), a).result(), ENOSYS);
        }
    }
    Ok(())
}

/// Makes an indirect `_lwp_self` with a stack pointer where nothing is.
fn indirect_on(stack: u64) -> Raw {
    let (rax, rdx, carry): (u64, u64, u64);
    // SAFETY: the stack pointer comes back before anything uses the stack; no handler is installed.
    unsafe {
        core::arch::asm!(
            "mov r12, rsp",
            "mov rsp, r13",
            "nop",
            "syscall",
            "mov rsp, r12",
            "setc cl",
            "movzx ecx, cl",
            inlateout("rax") u64::from(SYS___SYSCALL) => rax,
            in("rdi") u64::from(SYS_LWP_SELF),
            lateout("rdx") rdx,
            lateout("rcx") carry,
            lateout("r11") _,
            out("r12") _,
            in("r13") stack,
        );
    }
    Raw {
        rax,
        rdx,
        carry: carry != 0,
    }
}

fn indirect_without_a_stack() -> Verdict {
    ensure_err!(indirect_on(0).result(), EFAULT);
    ensure_err!(indirect_on(1 << 63).result(), EFAULT);
    ensure_err!(indirect_on(u64::MAX - 8).result(), EFAULT);
    let page = vm::map(vm::PAGE)?;
    ensure_eq!(
        indirect_on(page.base).result(),
        Ok(sys::Arg::arg(lwp::me()))
    );
    Ok(())
}

fn unknown_numbers() -> Verdict {
    let deadly = in_child(|| {
        let _ = raw_nr(326, [0; 6]);
        3
    })?;
    ensure_eq!(deadly.signal(), Some(Signo::SIGSYS.raw()));
    sig::ignore(Signo::SIGSYS)?;
    for number in [326, 11, 507, 511, 67] {
        ensure_err!(raw_nr(number, [0; 6]).result(), ENOSYS);
    }
    Ok(())
}

fn upper_halves_are_ignored() -> Verdict {
    const HIGH: u64 = 0xabcd_ef01_0000_0000;
    let lid = u64::from(lwp::me().raw().cast_unsigned());
    rt::sys!(SYS_LWP_UNPARK, lid | HIGH, 0)?;
    ensure_err!(lwp::park(), EALREADY);
    ensure_eq!(rt::sys!(SYS_LWP_KILL, lid | HIGH, HIGH), Ok(0));
    let mut ts = rt::abi::time::Timespec::ZERO;
    ensure_eq!(rt::sys!(SYS_CLOCK_GETTIME50, 3_u64 | HIGH, &mut ts), Ok(0));
    Ok(())
}

fn only_nine_bits_count() -> Verdict {
    let lid = sys::Arg::arg(lwp::me());
    for high in [512, 0x1_0000_0000, 1 << 63] {
        ensure_eq!(
            raw_nr(u64::from(SYS_LWP_SELF) | high, [0; 6]).result(),
            Ok(lid)
        );
    }
    Ok(())
}
