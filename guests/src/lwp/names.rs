//! Private pointers, names, `_lwp_kill`, lwpctl, and what sysctl tells: L-177 to L-215, L-303 on.

use rt::abi::lwp::{
    KinfoLwp, L_DETACHED, LWPCTL_CPU_EXITED, LWPCTL_CPU_NONE, LWPCTL_FEATURE_CURCPU,
    LWPCTL_FEATURE_PCTR, LwpId, LwpState,
};
use rt::abi::signal::{SI_LWP, SaFlags, SigSet, Siginfo, Signo};
use rt::abi::time::{CLOCK_THREAD_CPUTIME_ID, Timespec};
use rt::abi::ucontext::Ucontext;
use rt::check::{Check, Fail, Verdict};
use rt::lwp::{self, How, NOBODY, spawn};
use rt::process::{self, in_child};
use rt::sync::{Word, until};
use rt::time::{self, MS, timespec};
use rt::{Errno, ensure, ensure_eq, ensure_err, scene, sig, sys, sysctl, vm};

pub(crate) const CHECKS: &[Check] = &[
    ("L-177", private_pointer),
    ("L-178", private_pointers_differ),
    ("L-179", private_pointer_outside),
    ("L-180", refused_pointer_is_told),
    ("L-181", name_of_15),
    ("L-182", longer_names_are_cut),
    ("L-183", never_named),
    ("L-184", short_buffer),
    ("L-185", no_buffer),
    ("L-186", buffer_of_one),
    ("L-187", zero_is_the_caller),
    ("L-188", name_of_nobody),
    ("L-189", order_of_errors),
    ("L-190", bad_buffer),
    ("L-191", name_of_a_zombie),
    ("L-192", name_of_another),
    ("L-193", empty_name),
    ("L-194", does_it_exist),
    ("L-195", no_signals),
    ("L-196", no_signals_to_nobody),
    ("L-197", handler_runs_in_its_lwp),
    ("L-198", siginfo_of_lwp_kill),
    ("L-199", signal_to_oneself_is_prompt),
    ("L-200", blocked_signal_is_nobody_elses),
    ("L-201", sigkill_kills_the_process),
    ("L-202", sigstop_stops_the_process),
    ("L-203", sigterm_ends_the_process),
    ("L-204", ignored_signal_is_not_pending),
    ("L-205", curcpu),
    ("L-206", pctr),
    ("L-207", same_block_again),
    ("L-208", unknown_feature),
    ("L-209", no_place_for_the_address),
    ("L-210", blocks_differ),
    ("L-211", block_of_a_zombie),
    ("L-212", block_of_a_sleeper),
    ("L-213", block_after_fork),
    ("L-214", no_block_for_a_vfork_child),
    ("L-303", records_newest_first),
    ("L-304", size_with_room),
    ("L-305", room_for_one),
    ("L-306", records_of_nobody),
    ("L-307", detached_flag),
    ("L-308", limit_of_lwps_is_readable),
    ("L-309", what_wait_and_suspend_wait_for),
    ("L-310", cpu_clock_of_another),
    ("L-319", many_blocks),
];

/// The word at `%fs:0`.
fn fs_word() -> u64 {
    let word: u64;
    // SAFETY: the caller has set the private pointer to a word.
    unsafe { core::arch::asm!("mov {}, fs:[0]", out(reg) word, options(nostack, readonly)) };
    word
}

/// A word that holds `value`, to point FS to.
fn word(value: u64) -> Result<u64, Errno> {
    let page = vm::map(vm::PAGE)?;
    // SAFETY: a fresh mapping.
    unsafe { page.ptr::<u64>(0).write(value) };
    Ok(page.base)
}

fn private_pointer() -> Verdict {
    let at = word(77)?;
    ensure_eq!(lwp::setprivate(at), Ok(0));
    ensure_eq!((lwp::private(), fs_word()), (at, 77));
    Ok(())
}

fn private_pointers_differ() -> Verdict {
    let (a, b) = (word(1)?, word(2)?);
    lwp::setprivate(a)?;
    let task = spawn(move || {
        let set = lwp::setprivate(b);
        for _ in 0..100 {
            rt::sync::yield_now();
        }
        (set, lwp::private(), fs_word())
    });
    for _ in 0..100 {
        ensure_eq!((lwp::private(), fs_word()), (a, 1));
        rt::sync::yield_now();
    }
    ensure_eq!(task.join()?, (Ok(0), b, 2));
    ensure_eq!((lwp::private(), fs_word()), (a, 1));
    Ok(())
}

fn private_pointer_outside() -> Verdict {
    for at in [0x7f7f_ffff_f000, 1 << 63, u64::MAX, 0x8000_0000_0000] {
        ensure_err!(lwp::setprivate(at), EINVAL);
    }
    Ok(())
}

fn refused_pointer_is_told() -> Verdict {
    lwp::setprivate(word(5)?)?;
    ensure_err!(lwp::setprivate(1 << 63), EINVAL);
    ensure_eq!((lwp::private(), fs_word()), (1 << 63, 5));
    Ok(())
}

/// The caller's name, without its NUL.
fn own_name() -> Result<([u8; 16], usize), Errno> {
    let mut name = [0xee; 16];
    lwp::getname(lwp::me(), &mut name)?;
    let len = name.iter().position(|&b| b == 0).unwrap_or(16);
    Ok((name, len))
}

fn name_of_15() -> Verdict {
    lwp::setname(lwp::me(), c"fifteen-letters")?;
    let (name, len) = own_name()?;
    ensure_eq!(&name[..len], b"fifteen-letters");
    Ok(())
}

fn longer_names_are_cut() -> Verdict {
    for name in [
        c"sixteen-letters!",
        c"many more letters than there is room for",
    ] {
        ensure_eq!(lwp::setname(lwp::me(), name), Ok(0));
        let (got, len) = own_name()?;
        ensure_eq!(&got[..len], &name.to_bytes()[..15]);
    }
    Ok(())
}

fn never_named() -> Verdict {
    ensure_eq!(own_name()?.1, 0);
    Ok(())
}

fn short_buffer() -> Verdict {
    lwp::setname(lwp::me(), c"abcdefgh")?;
    let mut buf = [0xee; 8];
    ensure_err!(lwp::getname(lwp::me(), &mut buf[..5]), ENAMETOOLONG);
    ensure_eq!(&buf, b"abcde\xee\xee\xee");
    // Exactly as long as the name, without room for its end.
    ensure_err!(lwp::getname(lwp::me(), &mut buf), ENAMETOOLONG);
    ensure_eq!(&buf, b"abcdefgh");
    Ok(())
}

fn no_buffer() -> Verdict {
    ensure_err!(lwp::getname(lwp::me(), &mut []), ENAMETOOLONG);
    ensure_err!(
        sys!(SYS_LWP_GETNAME, lwp::me(), vm::NOWHERE, 0),
        ENAMETOOLONG
    );
    ensure_err!(
        sys!(SYS_LWP_GETNAME, lwp::me(), vm::NOWHERE, 1_u64 << 32),
        ENAMETOOLONG
    );
    Ok(())
}

fn buffer_of_one() -> Verdict {
    let mut buf = [0xee; 2];
    ensure_eq!(lwp::getname(lwp::me(), &mut buf[..1]), Ok(0));
    ensure_eq!(buf, [0, 0xee]);
    Ok(())
}

fn zero_is_the_caller() -> Verdict {
    let zero = LwpId::new(0);
    lwp::setname(zero, c"me")?;
    let mut buf = [0; 16];
    lwp::getname(zero, &mut buf)?;
    ensure!(buf.starts_with(b"me\0"));
    ensure_eq!(own_name()?.1, 2);
    Ok(())
}

fn name_of_nobody() -> Verdict {
    for lid in [NOBODY, LwpId::new(-1)] {
        ensure_err!(lwp::setname(lid, c"x"), ESRCH);
        ensure_err!(lwp::getname(lid, &mut [0; 16]), ESRCH);
    }
    Ok(())
}

fn order_of_errors() -> Verdict {
    ensure_err!(sys!(SYS_LWP_SETNAME, NOBODY, vm::NOWHERE), EFAULT);
    ensure_err!(sys!(SYS_LWP_GETNAME, NOBODY, vm::NOWHERE, 16), ESRCH);
    Ok(())
}

fn bad_buffer() -> Verdict {
    ensure_err!(sys!(SYS_LWP_GETNAME, lwp::me(), vm::NOWHERE, 16), EFAULT);
    ensure_err!(sys!(SYS_LWP_GETNAME, lwp::me(), u64::MAX - 3, 16), EFAULT);
    Ok(())
}

fn name_of_a_zombie() -> Verdict {
    let task = scene::zombie()?;
    ensure_err!(lwp::setname(task.lid, c"late"), ESRCH);
    ensure_err!(lwp::getname(task.lid, &mut [0; 16]), ESRCH);
    Ok(())
}

fn name_of_another() -> Verdict {
    let task = spawn(|| {
        let _ = lwp::rest();
        own_name()
    });
    sysctl::until_parked(task.lid)?;
    lwp::setname(task.lid, c"given")?;
    let info = sysctl::lwp(task.lid).unwrap_or_default();
    ensure!(info.l_name.starts_with(b"given\0"));
    lwp::unpark(task.lid)?;
    let (name, len) = task.join()??;
    ensure_eq!(&name[..len], b"given");
    Ok(())
}

fn empty_name() -> Verdict {
    lwp::setname(lwp::me(), c"something")?;
    lwp::setname(lwp::me(), c"")?;
    ensure_eq!(own_name()?.1, 0);
    Ok(())
}

fn does_it_exist() -> Verdict {
    ensure_eq!(lwp::kill(lwp::me(), 0), Ok(0));
    let (live, dead) = (scene::parked()?, scene::zombie()?);
    ensure_eq!(lwp::kill(live.lid, 0), Ok(0));
    ensure_err!(lwp::kill(dead.lid, 0), ESRCH);
    ensure_err!(lwp::kill(NOBODY, 0), ESRCH);
    ensure_err!(lwp::kill(LwpId::new(process::parent()), 0), ESRCH);
    Ok(())
}

fn no_signals() -> Verdict {
    for signo in [64, -1, i32::MIN, i32::MAX] {
        ensure_err!(lwp::kill(lwp::me(), signo), EINVAL);
    }
    Ok(())
}

fn no_signals_to_nobody() -> Verdict {
    for signo in [64, -1, i32::MIN, i32::MAX] {
        for lid in [NOBODY, LwpId::new(0), LwpId::new(-1)] {
            ensure_err!(lwp::kill(lid, signo), EINVAL);
        }
    }
    Ok(())
}

/// In which LWP [`note_lwp`] ran last.
static RAN_IN: Word = Word::new();
/// How often.
static RAN: Word = Word::new();

extern "C" fn note_lwp(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
    RAN_IN.set(lwp::me().raw().cast_unsigned());
    RAN.add();
}

fn handler_runs_in_its_lwp() -> Verdict {
    static STOP: Word = Word::new();
    sig::catch(Signo::SIGUSR1, note_lwp, SaFlags::empty())?;
    let tasks: [_; 4] = core::array::from_fn(|_| {
        spawn(|| {
            while STOP.get() == 0 {
                let _ = lwp::park_for(&mut timespec(5 * MS));
            }
        })
    });
    let mut random = rt::regs::Random::new(197);
    for round in 0..100 {
        let i = usize::try_from(random.below(4)).unwrap_or(0);
        lwp::kill(tasks[i].lid, Signo::SIGUSR1.raw())?;
        RAN.wait(round + 1)?;
        ensure_eq!(RAN_IN.get(), tasks[i].lid.raw().cast_unsigned());
    }
    STOP.set(1);
    for task in tasks {
        task.join()?;
    }
    Ok(())
}

fn siginfo_of_lwp_kill() -> Verdict {
    static RIGHT: Word = Word::new();
    extern "C" fn look(signo: i32, info: &mut Siginfo, _: &mut Ucontext) {
        let right = signo == Signo::SIGUSR1.raw()
            && info.si_signo == signo
            && info.si_code == SI_LWP
            && info.si_errno == 0
            && info.pid().raw() == process::pid()
            && info.uid() == process::euid();
        RIGHT.set(1 + u32::from(right));
    }
    sig::catch(Signo::SIGUSR1, look, SaFlags::SIGINFO)?;
    lwp::kill(lwp::me(), Signo::SIGUSR1.raw())?;
    ensure_eq!(RIGHT.get(), 2);
    Ok(())
}

fn signal_to_oneself_is_prompt() -> Verdict {
    sig::catch(Signo::SIGUSR1, note_lwp, SaFlags::empty())?;
    for round in 0..1000 {
        lwp::kill(lwp::me(), Signo::SIGUSR1.raw())?;
        ensure_eq!(RAN.get(), round + 1);
    }
    Ok(())
}

fn blocked_signal_is_nobody_elses() -> Verdict {
    let mask = SigSet::of(&[Signo::SIGUSR1]);
    sig::catch(Signo::SIGUSR1, note_lwp, SaFlags::empty())?;
    let task = How::new().mask(mask).spawn(|| {
        let _ = lwp::rest();
        sig::pending()
    })?;
    sysctl::until_parked(task.lid)?;
    lwp::kill(task.lid, Signo::SIGUSR1.raw())?;
    ensure!(sig::pending()?.is_empty());
    ensure_eq!(RAN.get(), 0);
    lwp::unpark(task.lid)?;
    ensure_eq!(task.join()?, Ok(mask));
    ensure_eq!(RAN.get(), 0);
    Ok(())
}

/// What becomes of a process that sends a signal to one of its LWPs.
fn fate(signo: Signo) -> Result<process::Status, Fail> {
    Ok(in_child(|| {
        let Ok(task) = scene::parked() else { return 1 };
        let _ = lwp::kill(task.lid, signo.raw());
        let _ = until("the end", || false);
        2
    })?)
}

fn sigkill_kills_the_process() -> Verdict {
    ensure_eq!(fate(Signo::SIGKILL)?.signal(), Some(Signo::SIGKILL.raw()));
    Ok(())
}

fn sigterm_ends_the_process() -> Verdict {
    ensure_eq!(fate(Signo::SIGTERM)?.signal(), Some(Signo::SIGTERM.raw()));
    ensure_eq!(fate(Signo::SIGUSR1)?.signal(), Some(Signo::SIGUSR1.raw()));
    Ok(())
}

fn sigstop_stops_the_process() -> Verdict {
    let count = vm::map_shared(vm::PAGE)?.shared::<Word>();
    let child = process::spawn_child(|| {
        let task = spawn(|| {
            loop {
                count.add();
            }
        });
        let _: &lwp::Task<()> = &task;
        if count.wait(1).is_err() {
            return 1;
        }
        let _ = lwp::kill(task.lid, Signo::SIGSTOP.raw());
        let _ = until("the end", || false);
        2
    })?;
    let (_, status) = process::wait4(child, process::WUNTRACED)?;
    ensure_eq!(status.stopped(), Some(Signo::SIGSTOP.raw()));
    scene::stands_still(count)?;
    process::kill(child, Signo::SIGCONT.raw())?;
    scene::moves(count)?;
    process::kill(child, Signo::SIGKILL.raw())?;
    ensure_eq!(process::wait(child)?.signal(), Some(Signo::SIGKILL.raw()));
    Ok(())
}

fn ignored_signal_is_not_pending() -> Verdict {
    sig::ignore(Signo::SIGUSR1)?;
    sig::block(Signo::SIGUSR1)?;
    ensure_eq!(lwp::kill(lwp::me(), Signo::SIGUSR1.raw()), Ok(0));
    ensure!(sig::pending()?.is_empty());
    Ok(())
}

const BOTH: i32 = LWPCTL_FEATURE_CURCPU | LWPCTL_FEATURE_PCTR;

fn curcpu() -> Verdict {
    let ctl = lwp::ctl(LWPCTL_FEATURE_CURCPU)?;
    let ncpu = sysctl::ncpu()?;
    for _ in 0..100 {
        let cpu = lwp::read_ctl(ctl).lc_curcpu;
        ensure!((0..ncpu).contains(&cpu), "{cpu} of {ncpu}");
        rt::sync::yield_now();
    }
    Ok(())
}

fn pctr() -> Verdict {
    let ctl = lwp::ctl(LWPCTL_FEATURE_PCTR)?;
    let before = lwp::read_ctl(ctl).lc_pctr;
    time::nanosleep(timespec(10 * MS), None)?;
    let after = lwp::read_ctl(ctl).lc_pctr;
    ensure!(after != before, "{before} and {after}");
    Ok(())
}

fn same_block_again() -> Verdict {
    let first = lwp::ctl(BOTH)?;
    ensure_eq!(lwp::ctl(0)?, first);
    ensure_eq!(lwp::ctl(LWPCTL_FEATURE_PCTR)?, first);
    Ok(())
}

fn unknown_feature() -> Verdict {
    for features in [4, -1, 7] {
        ensure_err!(lwp::ctl(features), ENODEV);
    }
    lwp::ctl(0)?;
    ensure_err!(lwp::ctl(4), ENODEV);
    Ok(())
}

fn no_place_for_the_address() -> Verdict {
    ensure_err!(sys!(SYS_LWP_CTL, BOTH, vm::NOWHERE), EFAULT);
    ensure_err!(sys!(SYS_LWP_CTL, BOTH, 0), EFAULT);
    lwp::ctl(BOTH)?;
    Ok(())
}

fn blocks_differ() -> Verdict {
    let own = lwp::ctl(BOTH)?.addr();
    let other = spawn(|| lwp::ctl(BOTH)).join()??.addr();
    ensure!(own % 8 == 0 && other % 8 == 0 && own.abs_diff(other) >= 8);
    Ok(())
}

fn block_of_a_zombie() -> Verdict {
    let task = spawn(|| lwp::ctl(BOTH));
    sysctl::until_state(task.lid, LwpState::Zomb)?;
    let Some(Ok(ctl)) = task.result() else {
        return Err(Fail::new(format_args!("no block")));
    };
    until("-2", || lwp::read_ctl(ctl).lc_curcpu == LWPCTL_CPU_EXITED)?;
    task.join()??;
    Ok(())
}

fn block_of_a_sleeper() -> Verdict {
    let base = lwp::ctl(BOTH)?;
    let main = lwp::me();
    let task = spawn(move || {
        let parked = sysctl::until_parked(main).is_ok();
        let (first, second) = (lwp::read_ctl(base), lwp::read_ctl(base));
        let _ = lwp::unpark(main);
        (parked, first, second)
    });
    let before = lwp::read_ctl(base);
    ensure_eq!(lwp::rest(), Ok(0));
    let after = lwp::read_ctl(base);
    let (parked, first, second) = task.join()?;
    ensure!(parked);
    ensure_eq!((first.lc_curcpu, first), (LWPCTL_CPU_NONE, second));
    ensure!(after.lc_pctr > before.lc_pctr && after.lc_curcpu >= 0);
    Ok(())
}

fn block_after_fork() -> Verdict {
    let ctl = lwp::ctl(BOTH)?;
    let status = in_child(|| i32::from(lwp::read_ctl(ctl).lc_curcpu == 12345))?;
    ensure_eq!(status.signal(), Some(Signo::SIGSEGV.raw()));
    let status = in_child(|| match lwp::ctl(BOTH) {
        Ok(ctl) if lwp::read_ctl(ctl).lc_curcpu >= 0 => 0,
        _ => 1,
    })?;
    ensure_eq!(status.code(), Some(0));
    Ok(())
}

fn no_block_for_a_vfork_child() -> Verdict {
    lwp::ctl(BOTH)?;
    let child = process::low(sys!(SYS_VFORK)?);
    if child == 0 {
        process::exit(i32::from(lwp::ctl(BOTH) != Err(Errno::EBUSY)));
    }
    ensure_eq!(process::wait(child)?.code(), Some(0));
    Ok(())
}

fn records_newest_first() -> Verdict {
    let (a, b) = (scene::parked()?, scene::zombie()?);
    let mut records = [KinfoLwp::default(); 8];
    let n = sysctl::lwps(&mut records)?;
    ensure_eq!(n, 3);
    let lids = [records[0].l_lid, records[1].l_lid, records[2].l_lid];
    ensure_eq!(lids, [b.lid.raw(), a.lid.raw(), lwp::me().raw()]);
    let pid = process::pid().cast_unsigned();
    ensure!(
        records[..3]
            .iter()
            .all(|info| info.l_pid == pid && info.l_flag & 4 != 0)
    );
    ensure_eq!(records[2].l_stat, LwpState::Onproc.raw());
    Ok(())
}

/// The mib of this process' LWPs.
fn mib(size: i32, count: i32) -> [i32; 5] {
    [1, 64, process::pid(), size, count]
}

fn size_with_room() -> Verdict {
    let mut len = 0;
    sysctl::sysctl(&mib(128, 100), 0, &mut len)?;
    ensure!(len >= 6 * 128, "{len}");
    Ok(())
}

fn room_for_one() -> Verdict {
    use rt::sys::Arg as _;
    let task = scene::parked()?;
    let mut records = [KinfoLwp::default(); 2];
    let mut len = 128;
    let at = records.as_mut_ptr().arg();
    ensure_err!(sysctl::sysctl(&mib(128, 1), at, &mut len), ENOMEM);
    ensure_eq!((records[0].l_lid, records[1].l_lid), (task.lid.raw(), 0));
    Ok(())
}

fn records_of_nobody() -> Verdict {
    let mut len = 0;
    ensure_err!(
        sysctl::sysctl(&[1, 64, 0x3fff_fff0, 128, 1], 0, &mut len),
        ESRCH
    );
    ensure_err!(
        sysctl::sysctl(&[1, 64, process::pid(), 128], 0, &mut len),
        EINVAL
    );
    ensure_err!(
        sysctl::sysctl(&[1, 64, process::pid(), 128, 1, 0], 0, &mut len),
        EINVAL
    );
    Ok(())
}

fn detached_flag() -> Verdict {
    let (joinable, detached) = (scene::parked()?, How::new().detached().spawn(lwp::rest)?);
    let flag = |lid| sysctl::lwp(lid).map(|info| info.l_flag & L_DETACHED);
    ensure_eq!(flag(joinable.lid), Some(0));
    ensure_eq!(flag(detached.lid), Some(L_DETACHED));
    lwp::detach(joinable.lid)?;
    ensure_eq!(flag(joinable.lid), Some(L_DETACHED));
    Ok(())
}

fn limit_of_lwps_is_readable() -> Verdict {
    let mut limit = rt::abi::resource::Rlimit::default();
    sys!(SYS_GETRLIMIT, 11, &mut limit)?;
    ensure!(limit.rlim_cur > 0 && limit.rlim_cur <= limit.rlim_max);
    let maxlwp = sysctl::int(&[1, sysctl::child(&[1], "maxlwp")?])?;
    ensure!(limit.rlim_max <= u64::from(maxlwp.unsigned_abs()));
    Ok(())
}

fn what_wait_and_suspend_wait_for() -> Verdict {
    let task = scene::parked()?;
    let waiter = spawn(move || lwp::wait(task.lid));
    sysctl::until_asleep(waiter.lid, "lwpwait")?;
    let target = scene::sleeping()?;
    let suspender = spawn(move || lwp::suspend(target.lid));
    sysctl::until_asleep(suspender.lid, "lwpwait")?;
    Ok(())
}

fn cpu_clock_of_another() -> Verdict {
    static STOP: Word = Word::new();
    static COUNT: Word = Word::new();
    let clock = |lid: LwpId| -> Result<Timespec, Errno> {
        time::gettime(CLOCK_THREAD_CPUTIME_ID | lid.raw())
    };
    let task = scene::spinning(&STOP, &COUNT)?;
    let before = clock(task.lid)?;
    until("CPU time", || clock(task.lid).is_ok_and(|now| now > before))?;
    STOP.set(1);
    task.join()?;
    let asleep = scene::parked()?;
    // It may be on its way off the CPU still.
    let mut before = clock(asleep.lid)?;
    until("it stands still", || {
        let earlier = before;
        before = clock(asleep.lid).unwrap_or(before);
        before == earlier
    })?;
    for _ in 0..100 {
        ensure_eq!(clock(asleep.lid)?, before);
    }
    Ok(())
}

fn many_blocks() -> Verdict {
    const N: usize = 513;
    static AT: [Word; N] = [const { Word::new() }; N];
    static DONE: Word = Word::new();
    static GO: Word = Word::new();
    for at in &AT {
        How::new().detached().stack(4 * vm::PAGE).spawn(move || {
            // The low half tells blocks of one area apart.
            let addr = lwp::ctl(BOTH).map_or(0, lwp::Ctl::addr);
            at.set(u32::try_from(addr & 0xffff_ffff).unwrap_or(0));
            DONE.add();
            while GO.get() == 0 {
                let _ = lwp::park_for(&mut timespec(20 * MS));
            }
        })?;
    }
    DONE.wait(513)?;
    for (i, a) in AT.iter().enumerate() {
        ensure!(a.get() != 0);
        ensure!(
            AT[..i].iter().all(|b| b.get() != a.get()),
            "block {i} is another's"
        );
    }
    GO.set(1);
    Ok(())
}
