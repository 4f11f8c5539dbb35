//! Identity and creation: L-001 to L-040.

use rt::abi::lwp::{KinfoLwp, LWP_DETACHED, LwpId, LwpState};
use rt::abi::nr::SYS_LWP_CREATE;
use rt::abi::resource::Rlimit;
use rt::abi::signal::{SS_DISABLE, SigSet, Signo};
use rt::abi::ucontext::{_UC_CPU, _UC_FPU, _UC_SIGMASK, PSL_USERSET, Ucontext};
use rt::check::{Check, Fail, Verdict};
use rt::lwp::{self, How, NOBODY, spawn};
use rt::process::{self, in_child};
use rt::regs::{FLAGS, Random, State, capture, probe, shape};
use rt::sync::Word;
use rt::{Errno, ensure, ensure_eq, ensure_err, scene, sig, skip, sys, sysctl, vm};

pub(crate) const CHECKS: &[Check] = &[
    ("L-001", first_lid_is_the_pid),
    ("L-002", lid_stays),
    ("L-003", lids_are_distinct),
    ("L-004", lids_have_their_top_bits_clear),
    ("L-005", lid_is_no_pid),
    ("L-007", create_stores_the_id),
    ("L-008", id_is_there_at_the_first_instruction),
    ("L-009", context_without_registers),
    ("L-010", context_that_is_not_there),
    ("L-011", rip_outside),
    ("L-012", bad_cs),
    ("L-013", zero_selectors_refused),
    ("L-014", zero_selectors_accepted),
    ("L-015", rflags_zero),
    ("L-016", rflags_with_iopl),
    ("L-017", unknown_flags),
    ("L-018", no_place_for_the_id),
    ("L-019", corpse_after_efault),
    ("L-020", no_corpse_when_detached),
    ("L-021", registers_are_exact),
    ("L-022", flags_are_exact),
    ("L-023/image", vectors_from_the_image),
    ("L-023/creator", vectors_from_the_creator),
    ("L-024", private_pointer_from_the_context),
    ("L-025", no_private_pointer),
    ("L-026", signal_mask),
    ("L-027", no_alternate_stack),
    ("L-028", no_pending_signal),
    ("L-029", no_name),
    ("L-030", no_link),
    ("L-031", created_suspended),
    ("L-032", created_suspended_and_continued),
    ("L-033", suspended_does_not_prevent_exit),
    ("L-034", limit_of_lwps),
    ("L-035", reaping_makes_room_for_one),
    ("L-036", zombie_counts),
    ("L-037", first_lwp_is_not_limited),
    ("L-038", peers),
    ("L-039", pid_is_a_free_lid),
    ("L-040", lids_are_not_reused_soon),
    ("L-316", found_as_soon_as_created),
    ("L-320", until_no_more),
];

fn first_lid_is_the_pid() -> Verdict {
    ensure_eq!(lwp::me().raw(), process::pid());
    Ok(())
}

fn lid_stays() -> Verdict {
    let first = lwp::me();
    for _ in 0..1000 {
        ensure_eq!(lwp::me(), first);
    }
    Ok(())
}

fn lids_are_distinct() -> Verdict {
    static GO: Word = Word::new();
    let tasks: [_; 16] = core::array::from_fn(|_| spawn(|| GO.park(1)));
    for (i, a) in tasks.iter().enumerate() {
        ensure!(tasks[..i].iter().all(|b| a.lid != b.lid) && a.lid != lwp::me());
    }
    GO.set(1);
    for task in tasks {
        // One that has not parked yet is gone.
        let _ = lwp::unpark(task.lid);
        task.join()?;
    }
    Ok(())
}

fn lids_have_their_top_bits_clear() -> Verdict {
    for _ in 0..100 {
        let task = spawn(lwp::me);
        let lid = task.join()?.raw();
        ensure!(lid > 0 && lid < 1 << 30, "{lid:#x}");
    }
    Ok(())
}

fn lid_is_no_pid() -> Verdict {
    let task = scene::parked()?;
    ensure_err!(process::kill(task.lid.raw(), 0), ESRCH);
    lwp::unpark(task.lid)?;
    ensure_eq!(task.join()?, Ok(0));
    Ok(())
}

fn create_stores_the_id() -> Verdict {
    let task = spawn(lwp::me);
    let lid = task.lid;
    ensure_eq!(task.join()?, lid);
    Ok(())
}

/// Where `id_is_there_at_the_first_instruction` has its id stored.
static NEW: Word = Word::new();

fn id_is_there_at_the_first_instruction() -> Verdict {
    static SEEN: Word = Word::new();
    extern "C" fn compare(_: u64) {
        SEEN.set(if NEW.get() == lwp::me().raw().cast_unsigned() {
            1
        } else {
            2
        });
    }
    for _ in 0..200 {
        NEW.set(0);
        SEEN.set(0);
        let stack = vm::map(lwp::STACK_SIZE)?;
        let uc = lwp::makecontext(compare, 0, stack.end())?;
        sys!(SYS_LWP_CREATE, &uc, 0, NEW.atomic().as_ptr())?;
        SEEN.wait(1)?;
        ensure_eq!(SEEN.get(), 1);
        lwp::wait(LwpId::new(NEW.get().cast_signed()))?;
        stack.unmap();
    }
    Ok(())
}

extern "C" fn nothing(_: u64) {}

/// Creates an LWP that does nothing, from a context that `edit` has changed; waits for it.
fn created(flags: u64, edit: impl FnOnce(&mut Ucontext)) -> Result<(), Errno> {
    let stack = vm::map(lwp::STACK_SIZE)?;
    let mut uc = lwp::makecontext(nothing, 0, stack.end())?;
    edit(&mut uc);
    let lid = lwp::create(&uc, flags)?;
    if flags & LWP_DETACHED == 0 {
        lwp::wait(lid)?;
    }
    Ok(())
}

fn context_without_registers() -> Verdict {
    ensure_err!(created(0, |uc| uc.uc_flags &= !_UC_CPU), EINVAL);
    ensure_eq!(sysctl::lwps(&mut [KinfoLwp::default(); 2])?, 1);
    Ok(())
}

fn context_that_is_not_there() -> Verdict {
    let mut lid = LwpId::new(7);
    for at in [0, vm::NOWHERE, u64::MAX, 1 << 63, 0x7f7f_ffff_ff00] {
        ensure_err!(sys!(SYS_LWP_CREATE, at, 0, &mut lid), EFAULT);
    }
    ensure_eq!(lid.raw(), 7);
    Ok(())
}

fn rip_outside() -> Verdict {
    for rip in [0x7f7f_ffff_f000, 0x8000_0000_0000, 1 << 63, u64::MAX] {
        ensure_err!(created(0, |uc| uc.uc_mcontext.gregs.rip = rip), EINVAL);
    }
    Ok(())
}

fn bad_cs() -> Verdict {
    for cs in [0x08, 0x10, 0x3f, 0x23] {
        ensure_err!(created(0, |uc| uc.uc_mcontext.gregs.cs = cs), EINVAL);
    }
    created(0, |uc| uc.uc_mcontext.gregs.cs = 0x1b)?;
    Ok(())
}

fn zero_selectors_refused() -> Verdict {
    ensure_err!(created(0, |uc| uc.uc_mcontext.gregs.cs = 0), EINVAL);
    ensure_err!(created(0, |uc| uc.uc_mcontext.gregs.ds = 0), EINVAL);
    ensure_err!(created(0, |uc| uc.uc_mcontext.gregs.ss = 0), EINVAL);
    Ok(())
}

fn zero_selectors_accepted() -> Verdict {
    created(0, |uc| {
        uc.uc_mcontext.gregs.es = 0;
        uc.uc_mcontext.gregs.fs = 0;
        uc.uc_mcontext.gregs.gs = 0;
    })?;
    Ok(())
}

fn rflags_zero() -> Verdict {
    ensure_err!(created(0, |uc| uc.uc_mcontext.gregs.rflags = 0), EINVAL);
    created(0, |uc| uc.uc_mcontext.gregs.rflags = PSL_USERSET)?;
    Ok(())
}

fn rflags_with_iopl() -> Verdict {
    for rflags in [
        0x3202,
        0x4202,
        0x2_0202,
        0x8_0202,
        0x20_0000_0000_0000 | 0x20a,
    ] {
        ensure_err!(
            created(0, |uc| uc.uc_mcontext.gregs.rflags = rflags),
            EINVAL
        );
    }
    Ok(())
}

fn unknown_flags() -> Verdict {
    created(0x100, |_| ())?;
    created(0xffff_ffff_0000_0100, |_| ())?;
    Ok(())
}

/// Creates an LWP whose id cannot be stored.
fn nameless(flags: u64, at: u64) -> rt::SysResult {
    let stack = vm::map(lwp::STACK_SIZE)?;
    let uc = lwp::makecontext(nothing, 0, stack.end())?;
    sys!(SYS_LWP_CREATE, &uc, flags, at)
}

fn no_place_for_the_id() -> Verdict {
    ensure_err!(nameless(0, 0), EFAULT);
    ensure_err!(nameless(LWP_DETACHED, u64::MAX - 2), EFAULT);
    Ok(())
}

fn corpse_after_efault() -> Verdict {
    ensure_err!(nameless(0, 0), EFAULT);
    ensure!(lwp::wait_any()?.raw() > 0);
    ensure_err!(lwp::wait_any(), ESRCH);
    Ok(())
}

fn no_corpse_when_detached() -> Verdict {
    ensure_err!(nameless(LWP_DETACHED, 0), EFAULT);
    ensure_err!(lwp::wait_any(), ESRCH);
    Ok(())
}

/// Starts an LWP with these registers that captures them, and gives what it found.
fn captured(edit: impl FnOnce(&mut Ucontext)) -> Result<State, Fail> {
    let stack = vm::map(lwp::STACK_SIZE)?;
    let mut uc = lwp::makecontext(nothing, 0, stack.end())?;
    uc.uc_mcontext.gregs.rip = capture::exit_addr();
    edit(&mut uc);
    let before = capture::count();
    let lid = lwp::create(&uc, 0)?;
    lwp::wait(lid)?;
    ensure_eq!(capture::count(), before + 1);
    Ok(capture::captured())
}

fn registers_are_exact() -> Verdict {
    let mut random = Random::new(21);
    let mut wanted = None;
    let got = captured(|uc| {
        let g = &mut uc.uc_mcontext.gregs;
        for reg in [
            &mut g.rax, &mut g.rbx, &mut g.rcx, &mut g.rdx, &mut g.rsi, &mut g.rdi, &mut g.rbp,
            &mut g.r8, &mut g.r9, &mut g.r10, &mut g.r11, &mut g.r12, &mut g.r13, &mut g.r14,
            &mut g.r15,
        ] {
            *reg = random.draw();
        }
        wanted = Some(*g);
    })?;
    let Some(want) = wanted else {
        return Err(Fail::new(format_args!("no context was made")));
    };
    let pairs = [
        ("rax", got.rax, want.rax),
        ("rbx", got.rbx, want.rbx),
        ("rcx", got.rcx, want.rcx),
        ("rdx", got.rdx, want.rdx),
        ("rsi", got.rsi, want.rsi),
        ("rdi", got.rdi, want.rdi),
        ("rbp", got.rbp, want.rbp),
        ("rsp", got.rsp, want.rsp),
        ("r8", got.r8, want.r8),
        ("r9", got.r9, want.r9),
        ("r10", got.r10, want.r10),
        ("r11", got.r11, want.r11),
        ("r12", got.r12, want.r12),
        ("r13", got.r13, want.r13),
        ("r14", got.r14, want.r14),
        ("r15", got.r15, want.r15),
    ];
    for (name, got, want) in pairs {
        ensure!(got == want, "{name} is {got:#x}, not {want:#x}");
    }
    Ok(())
}

fn flags_are_exact() -> Verdict {
    let mut random = Random::new(22);
    for flags in [0, FLAGS, random.draw() & FLAGS, random.draw() & FLAGS] {
        let got = captured(|uc| uc.uc_mcontext.gregs.rflags = PSL_USERSET | flags)?;
        ensure!(
            got.rflags & FLAGS == flags,
            "{:#x}, not {flags:#x}",
            got.rflags & FLAGS
        );
    }
    Ok(())
}

/// The XMM registers of an FXSAVE image.
fn xmm(fx: &[u8; 512]) -> &[u8] {
    &fx[160..416]
}

fn vectors_from_the_image() -> Verdict {
    let mut state = State::new();
    state.randomize(&mut Random::new(23));
    let got = captured(|uc| {
        uc.uc_flags |= _UC_FPU;
        uc.uc_mcontext.fpregs.fxsave = state.fx;
    })?;
    ensure!(xmm(&got.fx) == xmm(&state.fx));
    ensure!(got.fx[24..28] == state.fx[24..28], "MXCSR");
    ensure!(got.fx[..2] == state.fx[..2], "the x87 control word");
    ensure!(got.fx[32..42] == state.fx[32..42], "ST0");
    Ok(())
}

fn vectors_from_the_creator() -> Verdict {
    use sys::Arg as _;
    let stack = vm::map(lwp::STACK_SIZE)?;
    let mut uc = lwp::makecontext(nothing, 0, stack.end())?;
    uc.uc_mcontext.gregs.rip = capture::exit_addr();
    uc.uc_flags &= !_UC_FPU;
    let mut lid = LwpId::new(0);
    let (mut before, mut after) = (State::new(), State::new());
    before.randomize(&mut Random::new(24));
    (before.rdi, before.rsi, before.rdx) = ((&uc).arg(), 0, (&mut lid).arg());
    let [(_, site, _), ..] = shape::all::<{ SYS_LWP_CREATE }>();
    probe(&mut before, &mut after, site);
    after.raw().result()?;
    lwp::wait(lid)?;
    ensure!(xmm(&capture::captured().fx) == xmm(&before.fx));
    Ok(())
}

fn private_pointer_from_the_context() -> Verdict {
    let block = vm::map(vm::PAGE)?;
    // SAFETY: a fresh mapping.
    unsafe { block.ptr::<u64>(0).write(0x1234_5678_9abc) };
    let task = How::new()
        .private(block.base)
        .spawn(|| (lwp::private(), fs_word()))?;
    ensure_eq!(task.join()?, (block.base, 0x1234_5678_9abc));
    Ok(())
}

/// The word at `%fs:0`.
fn fs_word() -> u64 {
    let word: u64;
    // SAFETY: the caller has set the private pointer to a word.
    unsafe { core::arch::asm!("mov {}, fs:[0]", out(reg) word, options(nostack, readonly)) };
    word
}

fn no_private_pointer() -> Verdict {
    let block = vm::map(vm::PAGE)?;
    lwp::setprivate(block.base)?;
    // `makecontext` takes the flag away.
    ensure_eq!(spawn(lwp::private).join()?, 0);
    Ok(())
}

fn signal_mask() -> Verdict {
    static MASK: Word = Word::new();
    extern "C" fn tell(_: u64) {
        MASK.set(1 + u32::from(sig::mask() == SigSet::of(&[Signo::SIGUSR2])));
    }
    let given = SigSet::of(&[Signo::SIGUSR1, Signo::SIGRTMAX]);
    let own = SigSet::of(&[Signo::SIGUSR2]);
    sig::setmask(own)?;
    ensure_eq!(How::new().mask(given).spawn(sig::mask)?.join()?, given);
    let stack = vm::map(lwp::STACK_SIZE)?;
    let mut uc = lwp::makecontext(tell, 0, stack.end())?;
    uc.uc_flags &= !_UC_SIGMASK;
    uc.uc_sigmask = given;
    lwp::wait(lwp::create(&uc, 0)?)?;
    ensure_eq!(MASK.get(), 2);
    Ok(())
}

fn no_alternate_stack() -> Verdict {
    sig::new_altstack(64 * 1024)?;
    let old = spawn(|| sig::altstack(None)).join()??;
    ensure_eq!((old.ss_flags, old.ss_sp, old.ss_size), (SS_DISABLE, 0, 0));
    Ok(())
}

fn no_pending_signal() -> Verdict {
    sig::block(Signo::SIGUSR1)?;
    lwp::kill(lwp::me(), Signo::SIGUSR1.raw())?;
    ensure!(sig::pending()?.contains(Signo::SIGUSR1));
    ensure!(spawn(sig::pending).join()??.is_empty());
    Ok(())
}

fn no_name() -> Verdict {
    lwp::setname(lwp::me(), c"creator")?;
    let task = spawn(|| {
        let mut name = [0xff; 16];
        lwp::getname(lwp::me(), &mut name).map(|_| name[0])
    });
    ensure_eq!(task.join()?, Ok(0));
    Ok(())
}

fn no_link() -> Verdict {
    static LINK: Word = Word::new();
    extern "C" fn tell(_: u64) {
        LINK.set(match lwp::getcontext() {
            Ok(uc) if uc.uc_link == 0 => 1,
            _ => 2,
        });
    }
    let stack = vm::map(lwp::STACK_SIZE)?;
    let mut uc = lwp::makecontext(tell, 0, stack.end())?;
    uc.uc_link = stack.base;
    uc.uc_stack.ss_sp = 1;
    uc.uc_stack.ss_size = 1;
    lwp::wait(lwp::create(&uc, 0)?)?;
    ensure_eq!(LINK.get(), 1);
    Ok(())
}

fn created_suspended() -> Verdict {
    static RAN: Word = Word::new();
    let task = How::new().suspended().spawn(|| RAN.set(1))?;
    sysctl::until_state(task.lid, LwpState::Suspended)?;
    ensure_eq!(RAN.get(), 0);
    lwp::resume(task.lid)?;
    task.join()?;
    ensure_eq!(RAN.get(), 1);
    Ok(())
}

fn created_suspended_and_continued() -> Verdict {
    for _ in 0..1000 {
        let task = How::new().suspended().spawn(|| 5)?;
        lwp::resume(task.lid)?;
        ensure_eq!(task.join()?, 5);
    }
    Ok(())
}

fn suspended_does_not_prevent_exit() -> Verdict {
    let status = in_child(|| {
        let task = How::new().suspended().spawn(|| ());
        i32::from(task.is_err()) + 4
    })?;
    ensure_eq!(status.code(), Some(4));
    Ok(())
}

/// `RLIMIT_NTHR`.
const RLIMIT_NTHR: i32 = 11;

/// Sets the soft limit of LWPs, as an ordinary user.
pub(crate) fn limit_lwps(soft: u64) -> Verdict {
    if process::euid() == 0 && sys!(SYS_SETUID, 32767).is_err() {
        skip!("root has no limits here, and cannot become somebody else");
    }
    let mut limit = Rlimit::default();
    sys!(SYS_GETRLIMIT, RLIMIT_NTHR, &mut limit)?;
    limit.rlim_cur = soft;
    sys!(SYS_SETRLIMIT, RLIMIT_NTHR, &limit)?;
    Ok(())
}

fn limit_of_lwps() -> Verdict {
    let parked = scene::parked()?;
    limit_lwps(1)?;
    ensure_err!(created(0, |_| ()), EAGAIN);
    limit_lwps(2)?;
    created(0, |_| ())?;
    lwp::unpark(parked.lid)?;
    ensure_eq!(parked.join()?, Ok(0));
    Ok(())
}

fn reaping_makes_room_for_one() -> Verdict {
    let first = scene::parked()?;
    limit_lwps(1)?;
    lwp::unpark(first.lid)?;
    ensure_eq!(first.join()?, Ok(0));
    let second = scene::parked()?;
    ensure_err!(created(0, |_| ()), EAGAIN);
    lwp::unpark(second.lid)?;
    ensure_eq!(second.join()?, Ok(0));
    Ok(())
}

fn zombie_counts() -> Verdict {
    let zombie = scene::zombie()?;
    limit_lwps(1)?;
    ensure_err!(created(0, |_| ()), EAGAIN);
    zombie.join()?;
    created(0, |_| ())?;
    Ok(())
}

/// More than the limit that `until_no_more` sets.
const MANY: usize = 400;

fn until_no_more() -> Verdict {
    static GO: Word = Word::new();
    const LIMIT: u32 = 300;
    limit_lwps(u64::from(LIMIT))?;
    for _ in 0..3 {
        GO.set(0);
        let mut tasks = [None; MANY];
        let mut refused = None;
        for slot in &mut tasks {
            match How::new().stack(4 * vm::PAGE).spawn(|| GO.park(1)) {
                Ok(task) => *slot = Some(task),
                Err(errno) => {
                    refused = Some(errno);
                    break;
                }
            }
        }
        ensure!(matches!(refused, Some(Errno::EAGAIN | Errno::ENOMEM)));
        // The process goes on: it can wait for children, sleep and wake others.
        ensure_eq!(
            in_child(|| spawn(|| 6).join().unwrap_or(1))?.code(),
            Some(6)
        );
        rt::time::nanosleep(rt::time::timespec(rt::time::MS), None)?;
        GO.set(1);
        for task in tasks.into_iter().flatten() {
            let _ = lwp::unpark(task.lid);
            task.join()?;
        }
        created(0, |_| ())?;
    }
    Ok(())
}

fn first_lwp_is_not_limited() -> Verdict {
    limit_lwps(0)?;
    ensure_err!(created(0, |_| ()), EAGAIN);
    ensure_eq!(in_child(|| 0)?.code(), Some(0));
    Ok(())
}

fn peers() -> Verdict {
    let outer = spawn(|| spawn(|| 7));
    let inner = outer.join()?;
    ensure_eq!(inner.join()?, 7);
    Ok(())
}

fn pid_is_a_free_lid() -> Verdict {
    let status = in_child(|| {
        let first = lwp::me();
        let _ = spawn(move || {
            let reaped = lwp::wait(first) == Ok(first);
            let next = spawn(lwp::me).join();
            let same = next == Ok(LwpId::new(process::pid()));
            process::exit(i32::from(!reaped) + 2 * i32::from(!same))
        });
        lwp::exit()
    })?;
    ensure_eq!(status.code(), Some(0));
    Ok(())
}

fn lids_are_not_reused_soon() -> Verdict {
    let gone = spawn(lwp::me).join()?;
    for _ in 0..100 {
        ensure!(spawn(lwp::me).join()? != gone);
    }
    ensure_err!(lwp::unpark(gone), ESRCH);
    ensure_err!(lwp::unpark(NOBODY), ESRCH);
    Ok(())
}

fn found_as_soon_as_created() -> Verdict {
    static LID: Word = Word::new();
    static FOUND: Word = Word::new();
    let finder = spawn(|| {
        let mut last = 0;
        loop {
            match LID.get() {
                1 => return true,
                lid if lid == last => rt::sync::yield_now(),
                lid => {
                    last = lid;
                    let lid = LwpId::new(lid.cast_signed());
                    // It parks until it is found, so it is alive.
                    if lwp::kill(lid, 0) != Ok(0) || lwp::unpark(lid) != Ok(0) {
                        return false;
                    }
                    FOUND.add();
                    let _ = lwp::unpark(lid);
                }
            }
        }
    });
    for round in 0..200 {
        let task = spawn(move || FOUND.park(round + 1));
        LID.set(task.lid.raw().cast_unsigned());
        task.join()?;
    }
    LID.set(1);
    ensure!(finder.join()?);
    Ok(())
}
