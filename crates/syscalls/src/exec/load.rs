//! Puts a program into memory and makes the state in which it starts.
//!
//! Sources: `exec_elf.c: elf_load_psection`, `exec_subr.c: vmcmd_map_pagedvn`, `machdep.c: setregs`;
//! lwp.md 6.1.

use super::Refusal;
use super::elf::{Program, Segment};
use super::stack::{self, Arguments, Credentials, Where};
use core::ops::Range;
use lwp_abi::errno::Errno;
use lwp_abi::exec::DFLDSIZ;
use lwp_abi::mman::Prot;
use lwp_kernel::Kernel;
use lwp_kernel::ctx::UserCtx;
use lwp_kernel::machine::Backing;
use lwp_kernel::vm::{Place, Request, round_down, round_up};
use std::os::fd::{AsRawFd, BorrowedFd};

/// From this version on the x87 control word at start is 0x037f, before it 0x127f.
const FPU_VERSION: u32 = 699_002_600;
/// The interrupt flag, and the bit that is always set.
const RFLAGS: u64 = 0x202;

/// A program in memory.
#[derive(Debug)]
pub struct Loaded {
    /// The registers at its entry point.
    pub ctx: UserCtx,
    /// Where `struct ps_strings` is.
    pub ps_strings: u64,
}

/// Loads `program` from `file` into an empty address space, with `stack_soft` bytes of stack.
///
/// # Errors
/// [`Refusal::ArgumentsTooLong`], [`Refusal::Unmappable`]; the address space is then of no more use.
pub fn load(
    kernel: &Kernel,
    file: BorrowedFd<'_>,
    program: &Program,
    args: &Arguments,
    stack_soft: u64,
) -> Result<Loaded, Refusal> {
    let bias = place(kernel, program).map_err(Refusal::Unmappable)?;
    let at = Where {
        phdr: if program.phdr == 0 {
            0
        } else {
            program.phdr + bias
        },
        phnum: program.phnum,
        entry: program.entry + bias,
    };
    let initial = stack::build(args, Credentials::of_host(), at)?;
    for segment in &program.segments {
        map_segment(kernel, file, segment, bias).map_err(Refusal::Unmappable)?;
    }
    kernel
        .vm
        .set_break(program.segments.last().map_or(0, |last| last.at.end + bias));
    let machine = &*kernel.machine;
    kernel
        .vm
        .map_stack(machine, stack_soft)
        .map_err(Refusal::Unmappable)?;
    machine
        .copyout(&initial.bytes, initial.rsp)
        .map_err(|_| Refusal::Unmappable(Errno::ENOMEM))?;
    let mut ctx = UserCtx::default();
    ctx.regs.rip = at.entry;
    ctx.regs.rsp = initial.rsp;
    ctx.regs.rbx = initial.ps_strings;
    ctx.regs.rflags = RFLAGS;
    if program.version < FPU_VERSION {
        ctx.fpu.fcw = 0x127f;
    }
    Ok(Loaded {
        ctx,
        ps_strings: initial.ps_strings,
    })
}

/// What is added to the program's addresses.
fn place(kernel: &Kernel, program: &Program) -> Result<u64, Errno> {
    if !program.is_pie {
        return Ok(0);
    }
    let span = program.span();
    // Room behind it, for the break. Near the top, so that what the machine adds lies above the guest.
    let room = span.end.checked_add(DFLDSIZ).ok_or(Errno::ENOMEM)?;
    kernel.vm.find_room(room, program.align)
}

/// Maps one segment: pages of the file, zeros for the rest.
fn map_segment(
    kernel: &Kernel,
    file: BorrowedFd<'_>,
    segment: &Segment,
    bias: u64,
) -> Result<(), Errno> {
    let filesz = segment.file.end - segment.file.start;
    let at = segment.at.start + bias..segment.at.end + bias;
    let file_end = at.start + filesz;
    let end = round_up(at.end).ok_or(Errno::ENOMEM)?;
    let start = round_down(at.start);
    // The last page of the file's part holds zeros behind it.
    let paged = if filesz == 0 {
        start
    } else {
        round_up(file_end).ok_or(Errno::ENOMEM)?
    };
    if paged > start {
        let backing = Backing::File {
            fd: file.as_raw_fd(),
            offset: round_down(segment.file.start),
            shared: false,
        };
        let zeros = file_end..paged.min(end);
        if at.end > file_end && !zeros.is_empty() {
            map(kernel, start..paged, Prot::READ | Prot::WRITE, backing)?;
            clear(kernel, zeros)?;
            kernel
                .vm
                .protect(&*kernel.machine, start..paged, segment.prot)?;
        } else {
            map(kernel, start..paged, segment.prot, backing)?;
        }
    }
    if end > paged {
        map(
            kernel,
            paged..end,
            segment.prot,
            Backing::Anon {
                shared: false,
                stack: false,
            },
        )?;
    }
    Ok(())
}

fn map(kernel: &Kernel, at: Range<u64>, prot: Prot, backing: Backing) -> Result<(), Errno> {
    let request = Request {
        place: Place::Fixed(at.start),
        backing,
        ..Request::anon(at.end - at.start, prot, "")
    };
    kernel.vm.map(&*kernel.machine, &request).map(|_| ())
}

/// Zeroes less than a page.
fn clear(kernel: &Kernel, at: Range<u64>) -> Result<(), Errno> {
    let zeros = vec![0; usize::try_from(at.end - at.start).unwrap_or(0)];
    kernel
        .machine
        .copyout(&zeros, at.start)
        .map_err(|_| Errno::ENOMEM)
}
