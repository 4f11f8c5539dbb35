//! Checks of processes: fork, exec, wait, and what LWPs have to do with them: L-275 to L-287.
//!
//! Argument of some: the program itself runs again as `fork --again WHAT`, to look at itself after
//! an exec.

#![no_std]
#![no_main]

use rt::abi::lwp::{KinfoLwp, LwpId};
use rt::abi::nr::{SYS_FORK, SYS_VFORK, SYS_VFORK14};
use rt::abi::signal::{SIG_DFL, SIG_IGN, SS_DISABLE, SaFlags, SigSet, Siginfo, Signo};
use rt::abi::ucontext::Ucontext;
use rt::check::{Check, Fail, Verdict, times};
use rt::lwp::{self, How, spawn};
use rt::process::{self, Status, in_child, low};
use rt::start::Args;
use rt::sync::Word;
use rt::sys::{self, Arg as _};
use rt::{Errno, ensure, ensure_eq, ensure_err, scene, sig, sysctl, vm};

rt::main!(main);

fn main(args: Args) -> i32 {
    if args.arg(1) == "--again" {
        process::watchdog(10);
        return again(args.arg(2));
    }
    rt::check::run(args, &[CHECKS])
}

const CHECKS: &[Check] = &[
    ("fork/result", results_of_fork),
    ("fork/memory", memory_is_copied),
    ("fork/descriptors", descriptors_are_shared),
    ("L-006", pid_is_nobodys_lid),
    ("L-275", child_has_one_lwp),
    ("L-276", parents_lids_are_unknown),
    ("L-277", token_is_not_inherited),
    ("L-278", name_is_not_inherited),
    ("L-279", child_is_joinable),
    ("L-280", pending_signals_are_not_inherited),
    ("fork/lwp", fork_in_another_lwp),
    ("fork/many", forks_while_others_run),
    ("L-281", vfork_blocks_its_caller_only),
    ("L-281/others", vfork_waits_for_its_own_child_only),
    ("L-282", vfork_child_has_its_lid),
    ("L-283", exec_leaves_one_lwp),
    ("L-283/mask", exec_keeps_the_mask),
    ("L-284", exec_keeps_the_lid),
    ("L-285", failed_exec_changes_nothing),
    ("L-286", exec_ends_the_others),
    ("L-287", exec_and_dispositions),
    ("L-215", exec_drops_the_block),
    ("L-317", exec_without_the_first_lwp),
    ("L-318", signals_without_the_first_lwp),
    ("exec/ENOEXEC", no_program),
    ("exec/EACCES", not_executable),
    ("exec/EFAULT", bad_addresses),
    ("exec/arguments", arguments_are_exact),
    ("exec/cloexec", close_on_exec),
    ("exec/host", host_tool),
    ("exec/script", script),
    ("wait/status", statuses),
    ("wait/ECHILD", nobody_to_wait_for),
    ("wait/WNOHANG", without_waiting),
    ("wait/EINVAL", bad_options),
    ("wait/any", any_child),
    ("SIGCHLD", child_signal),
    ("SIGCHLD/ignored", no_zombies),
    ("getppid", parents),
];

fn results_of_fork() -> Verdict {
    let raw = sys::raw::<{ SYS_FORK }>([0, 0, 0x5a5a, 0, 0, 0]);
    if raw.rax == 0 {
        process::exit(i32::from(raw.carry));
    }
    ensure_eq!((raw.carry, raw.rdx), (false, 0));
    ensure_eq!(process::wait(low(raw.rax))?.code(), Some(0));
    Ok(())
}

fn memory_is_copied() -> Verdict {
    static VALUE: Word = Word::new();
    let shared = vm::map_shared(vm::PAGE)?.shared::<Word>();
    VALUE.set(1);
    let status = in_child(|| {
        let seen = VALUE.get();
        VALUE.set(2);
        shared.set(7);
        i32::from(seen == 1)
    })?;
    ensure_eq!(status.code(), Some(1));
    ensure_eq!((VALUE.get(), shared.get()), (1, 7));
    Ok(())
}

fn descriptors_are_shared() -> Verdict {
    let (read, write) = process::pipe()?;
    let child = process::spawn_child(|| i32::from(process::write(write, b"hello") != Ok(5)))?;
    process::close(write)?;
    let mut buf = [0; 8];
    ensure_eq!(process::read(read, &mut buf), Ok(5));
    ensure!(buf.starts_with(b"hello"));
    ensure_eq!(process::wait(child)?.code(), Some(0));
    ensure_eq!(process::read(read, &mut buf), Ok(0));
    Ok(())
}

fn child_has_one_lwp() -> Verdict {
    static STOP: Word = Word::new();
    static COUNT: Word = Word::new();
    let page = vm::map(vm::PAGE)?;
    lwp::setprivate(page.base)?;
    sig::block(Signo::SIGUSR2)?;
    scene::spinning(&STOP, &COUNT)?;
    scene::parked()?;
    scene::sleeping()?;
    let status = in_child(|| {
        let mut records = [KinfoLwp::default(); 8];
        let right = [
            sysctl::lwps(&mut records) == Ok(1),
            records[0].l_lid == process::pid(),
            lwp::me().raw() == process::pid(),
            lwp::private() == page.base,
            sig::mask().contains(Signo::SIGUSR2),
        ];
        bits(&right)
    })?;
    ensure_eq!(status.code(), Some(0b11111));
    STOP.set(1);
    Ok(())
}

fn pid_is_nobodys_lid() -> Verdict {
    let tasks: [_; 8] = core::array::from_fn(|_| spawn(lwp::rest));
    for _ in 0..times(50) {
        let child = process::spawn_child(|| 0)?;
        ensure!(tasks.iter().all(|task| task.lid.raw() != child));
        ensure_err!(lwp::unpark(LwpId::new(child)), ESRCH);
        process::wait(child)?;
    }
    Ok(())
}

/// Answers as bits, the first lowest.
fn bits(answers: &[bool]) -> i32 {
    answers
        .iter()
        .rev()
        .fold(0, |bits, &answer| bits << 1 | i32::from(answer))
}

fn parents_lids_are_unknown() -> Verdict {
    let task = scene::parked()?;
    let calls: [fn(LwpId) -> rt::SysResult; 6] = [
        lwp::unpark,
        lwp::suspend,
        lwp::resume,
        lwp::wakeup,
        lwp::detach,
        |lid| lwp::kill(lid, 0),
    ];
    let status = in_child(|| {
        let known = calls
            .iter()
            .filter(|call| call(task.lid) != Err(Errno::ESRCH))
            .count();
        let waited = lwp::wait(task.lid) != Err(Errno::ESRCH);
        i32::try_from(known).unwrap_or(99) + 10 * i32::from(waited)
    })?;
    ensure_eq!(status.code(), Some(0));
    Ok(())
}

fn token_is_not_inherited() -> Verdict {
    lwp::unpark(lwp::me())?;
    ensure_eq!(
        in_child(|| i32::from(scene::lacks_token()))?.code(),
        Some(1)
    );
    ensure!(scene::has_token());
    Ok(())
}

fn name_is_not_inherited() -> Verdict {
    lwp::setname(lwp::me(), c"parent")?;
    let status = in_child(|| {
        let mut name = [1; 16];
        let _ = lwp::getname(lwp::me(), &mut name);
        i32::from(name[0])
    })?;
    ensure_eq!(status.code(), Some(0));
    Ok(())
}

fn child_is_joinable() -> Verdict {
    lwp::detach(lwp::me())?;
    let status = in_child(|| i32::from(lwp::detach(lwp::me()) != Ok(0)))?;
    ensure_eq!(status.code(), Some(0));
    Ok(())
}

fn pending_signals_are_not_inherited() -> Verdict {
    sig::setmask(SigSet::of(&[Signo::SIGUSR1, Signo::SIGUSR2]))?;
    lwp::kill(lwp::me(), Signo::SIGUSR1.raw())?;
    process::kill(process::pid(), Signo::SIGUSR2.raw())?;
    let status = in_child(|| i32::from(sig::pending() != Ok(SigSet::EMPTY)))?;
    ensure_eq!(status.code(), Some(0));
    Ok(())
}

fn fork_in_another_lwp() -> Verdict {
    let task = spawn(|| in_child(|| i32::from(lwp::me().raw() != process::pid())));
    ensure_eq!(task.join()?.map(Status::code), Ok(Some(0)));
    Ok(())
}

fn forks_while_others_run() -> Verdict {
    static STOP: Word = Word::new();
    static COUNT: Word = Word::new();
    let spinning = scene::spinning(&STOP, &COUNT)?;
    let forker = || {
        for _ in 0..times(20) {
            // The child makes LWPs of its own.
            let status = in_child(|| spawn(|| 6).join().unwrap_or(1))?;
            if status.code() != Some(6) {
                return Ok(Some(status.0));
            }
        }
        Ok::<_, Errno>(None)
    };
    let tasks = [spawn(forker), spawn(forker)];
    for task in tasks {
        ensure_eq!(task.join()?, Ok(None));
    }
    scene::moves(&COUNT)?;
    STOP.set(1);
    spinning.join()?;
    Ok(())
}

fn vfork_blocks_its_caller_only() -> Verdict {
    static STOP: Word = Word::new();
    static COUNT: Word = Word::new();
    let spinning = scene::spinning(&STOP, &COUNT)?;
    let (read, write) = process::pipe()?;
    let task = spawn(move || match sys::raw::<{ SYS_VFORK }>([0; 6]).result() {
        Ok(0) => {
            let _ = process::read(read, &mut [0]);
            process::exit(9)
        }
        other => other,
    });
    sysctl::until_sleeping(task.lid)?;
    scene::moves(&COUNT)?;
    ensure!(sysctl::is_in(task.lid, rt::abi::lwp::LwpState::Sleep));
    process::write(write, b"x")?;
    let child = low(task.join()??);
    ensure_eq!(process::wait(child)?.code(), Some(9));
    STOP.set(1);
    spinning.join()?;
    Ok(())
}

fn vfork_waits_for_its_own_child_only() -> Verdict {
    let (read, write) = process::pipe()?;
    let (read_other, write_other) = process::pipe()?;
    let task = spawn(move || match sys::raw::<{ SYS_VFORK }>([0; 6]).result() {
        Ok(0) => {
            let _ = process::read(read, &mut [0]);
            process::exit(9)
        }
        other => other,
    });
    sysctl::until_asleep(task.lid, "vfork")?;
    // Forked while the other's child runs, and lives on when that ends.
    let other = process::spawn_child(|| {
        let _ = process::read(read_other, &mut [0]);
        8
    })?;
    process::write(write, b"x")?;
    let child = low(task.join()??);
    ensure_eq!(process::wait(child)?.code(), Some(9));
    process::write(write_other, b"x")?;
    ensure_eq!(process::wait(other)?.code(), Some(8));
    Ok(())
}

fn vfork_child_has_its_lid() -> Verdict {
    for number in [SYS_VFORK, SYS_VFORK14] {
        let raw = sys::raw_nr(u64::from(number), [0; 6]);
        if raw.rax == 0 {
            process::exit(i32::from(lwp::me().raw() != process::pid()));
        }
        ensure_eq!((raw.carry, raw.rdx), (false, 0));
        ensure_eq!(process::wait(low(raw.rax))?.code(), Some(0));
    }
    Ok(())
}

/// Runs this program again, to do `what`, with the environment "KEY=value".
fn exec_again(what: &core::ffi::CStr) -> rt::SysResult {
    let path = Args::get().c_arg(0);
    let argv = [path.arg(), c"--again".arg(), what.arg(), 0];
    process::execve(path, &argv, &[c"KEY=value".arg(), 0])
}

/// What the program does when it runs again: its exit status is the answer.
fn again(what: &str) -> i32 {
    match what {
        "lwps" => {
            let mut records = [KinfoLwp::default(); 8];
            i32::try_from(sysctl::lwps(&mut records).unwrap_or(99)).unwrap_or(99)
        }
        "mask" => bits(&[
            sig::mask().contains(Signo::SIGUSR1),
            !sig::mask().contains(Signo::SIGUSR2),
            sig::pending().is_ok_and(|set| set.contains(Signo::SIGUSR1)),
        ]),
        "block" => match lwp::ctl(0) {
            Ok(ctl) => bits(&[lwp::read_ctl(ctl).lc_curcpu >= 0]),
            Err(_) => 73,
        },
        "lid" => {
            let own = lwp::me().raw() != process::pid();
            let next = spawn(lwp::me)
                .join()
                .is_ok_and(|lid| lid.raw() == process::pid());
            // One has the pid; all are there at once.
            let others = [(); 3].map(|()| spawn(lwp::rest).lid);
            bits(&[own, next, !others.contains(&lwp::me())])
        }
        "dispositions" => {
            let handler = |signo| sig::query(signo).map_or(99, |old| old.sa_handler);
            bits(&[
                handler(Signo::SIGUSR1) == SIG_DFL,
                handler(Signo::SIGUSR2) == SIG_IGN,
                handler(Signo::SIGCHLD) == SIG_DFL,
                sig::altstack(None).is_ok_and(|old| old.ss_flags == SS_DISABLE),
            ])
        }
        "arguments" => {
            let args = Args::get();
            let mut env = args.env();
            bits(&[
                args.len() == 3,
                args.arg(0).ends_with("fork"),
                env.next() == Some(c"KEY=value"),
                env.next().is_none(),
            ])
        }
        "closed" => bits(&[
            process::read(100, &mut [0]) == Err(Errno::EBADF),
            process::write(101, b"") == Ok(0),
        ]),
        _ => 77,
    }
}

/// That this program, run again by a child that has prepared itself, answers `want`.
fn answers(what: &core::ffi::CStr, want: i32, prepare: impl FnOnce() -> Verdict) -> Verdict {
    let status = in_child(|| {
        if prepare().is_err() {
            return 70;
        }
        let _ = exec_again(what);
        71
    })?;
    ensure_eq!(status.code(), Some(want));
    Ok(())
}

fn exec_leaves_one_lwp() -> Verdict {
    answers(c"lwps", 1, || {
        scene::parked()?;
        scene::sleeping()?;
        Ok(())
    })
}

fn exec_keeps_the_mask() -> Verdict {
    answers(c"mask", 0b111, || {
        sig::block(Signo::SIGUSR1)?;
        process::kill(process::pid(), Signo::SIGUSR1.raw())?;
        Ok(())
    })
}

fn exec_keeps_the_lid() -> Verdict {
    let status = in_child(|| {
        spawn(|| exec_again(c"lid"));
        let _ = lwp::rest();
        72
    })?;
    ensure_eq!(status.code(), Some(0b111));
    Ok(())
}

fn failed_exec_changes_nothing() -> Verdict {
    static STOP: Word = Word::new();
    static COUNT: Word = Word::new();
    let spinning = scene::spinning(&STOP, &COUNT)?;
    ensure_err!(process::execve(c"/no/such/program", &[0], &[0]), ENOENT);
    scene::moves(&COUNT)?;
    STOP.set(1);
    spinning.join()?;
    Ok(())
}

fn exec_ends_the_others() -> Verdict {
    static STOP: Word = Word::new();
    static COUNT: Word = Word::new();
    answers(c"lwps", 1, || {
        scene::spinning(&STOP, &COUNT)?;
        let suspended = scene::parked()?;
        lwp::suspend(suspended.lid)?;
        scene::parked()?;
        How::new().detached().spawn(lwp::rest)?;
        Ok(())
    })
}

extern "C" fn nothing(_: i32, _: &mut Siginfo, _: &mut Ucontext) {}

fn exec_and_dispositions() -> Verdict {
    answers(c"dispositions", 0b1111, || {
        sig::catch(Signo::SIGUSR1, nothing, SaFlags::empty())?;
        sig::ignore(Signo::SIGUSR2)?;
        sig::ignore(Signo::SIGCHLD)?;
        sig::new_altstack(64 * 1024)?;
        Ok(())
    })
}

fn exec_drops_the_block() -> Verdict {
    answers(c"block", 1, || {
        lwp::ctl(0)?;
        Ok(())
    })
}

fn exec_without_the_first_lwp() -> Verdict {
    let status = in_child(|| {
        let first = lwp::me();
        spawn(move || {
            let _ = lwp::wait(first);
            exec_again(c"lwps")
        });
        lwp::exit()
    })?;
    ensure_eq!(status.code(), Some(1));
    Ok(())
}

fn signals_without_the_first_lwp() -> Verdict {
    static TAKEN: Word = Word::new();
    extern "C" fn take(_: i32, _: &mut Siginfo, _: &mut Ucontext) {
        TAKEN.set(1);
    }
    let words = vm::map_shared(vm::PAGE)?.shared::<[Word; 2]>();
    let child = process::spawn_child(|| {
        let _ = sig::catch(Signo::SIGUSR1, take, SaFlags::empty());
        let first = lwp::me();
        let _: lwp::Task<()> = spawn(move || {
            let _ = sysctl::until_state(first, rt::abi::lwp::LwpState::Zomb);
            words[0].set(1);
            if TAKEN.wait(1).is_ok() {
                words[0].set(2);
            }
            loop {
                words[1].add();
            }
        });
        lwp::exit()
    })?;
    words[0].wait(1)?;
    process::kill(child, Signo::SIGUSR1.raw())?;
    words[0].wait(2)?;
    scene::moves(&words[1])?;
    process::kill(child, Signo::SIGSTOP.raw())?;
    let (_, status) = process::wait4(child, process::WUNTRACED)?;
    ensure_eq!(status.stopped(), Some(Signo::SIGSTOP.raw()));
    scene::stands_still(&words[1])?;
    process::kill(child, Signo::SIGCONT.raw())?;
    scene::moves(&words[1])?;
    process::kill(child, Signo::SIGKILL.raw())?;
    ensure_eq!(process::wait(child)?.signal(), Some(Signo::SIGKILL.raw()));
    Ok(())
}

fn arguments_are_exact() -> Verdict {
    answers(c"arguments", 0b1111, || Ok(()))
}

fn close_on_exec() -> Verdict {
    answers(c"closed", 0b11, || {
        const F_SETFD: i32 = 2;
        let (read, write) = process::pipe()?;
        rt::sys!(SYS_DUP2, read, 100)?;
        rt::sys!(SYS_DUP2, write, 101)?;
        rt::sys!(SYS_FCNTL, 100, F_SETFD, 1)?;
        Ok(())
    })
}

/// A file in the working directory, with these contents and mode.
fn file(path: &core::ffi::CStr, contents: &[u8], mode: i32) -> Verdict {
    const O_WRONLY_CREAT_TRUNC: i32 = 0x1 | 0x200 | 0x400;
    let fd = low(rt::sys!(SYS_OPEN, path, O_WRONLY_CREAT_TRUNC, mode)?);
    rt::fmt::write_all(fd, contents);
    process::close(fd)?;
    Ok(())
}

fn no_program() -> Verdict {
    file(c"no-program.tmp", b"neither one nor the other\n", 0o755)?;
    let result = process::execve(c"no-program.tmp", &[0], &[0]);
    rt::sys!(SYS_UNLINK, c"no-program.tmp")?;
    ensure_err!(result, ENOEXEC);
    Ok(())
}

fn not_executable() -> Verdict {
    file(c"not-executable.tmp", b"#!/bin/sh\n", 0o644)?;
    let result = process::execve(c"not-executable.tmp", &[0], &[0]);
    rt::sys!(SYS_UNLINK, c"not-executable.tmp")?;
    ensure_err!(result, EACCES);
    ensure_err!(process::execve(c"/", &[0], &[0]), EACCES);
    Ok(())
}

fn bad_addresses() -> Verdict {
    let (path, list) = (Args::get().c_arg(0), [0_u64]);
    ensure_err!(
        rt::sys!(SYS_EXECVE, vm::NOWHERE, list.as_ptr(), list.as_ptr()),
        EFAULT
    );
    ensure_err!(
        rt::sys!(SYS_EXECVE, path, vm::NOWHERE, list.as_ptr()),
        EFAULT
    );
    ensure_err!(
        rt::sys!(SYS_EXECVE, path, list.as_ptr(), vm::NOWHERE),
        EFAULT
    );
    ensure_err!(
        rt::sys!(SYS_EXECVE, path, &[vm::NOWHERE, 0], list.as_ptr()),
        EFAULT
    );
    ensure_err!(rt::sys!(SYS_EXECVE, path, 0, list.as_ptr()), EINVAL);
    Ok(())
}

/// Runs `argv` with its standard output in a pipe; what it printed, and how it ended.
fn output<const N: usize>(argv: &[u64], path: &core::ffi::CStr) -> Result<([u8; N], Status), Fail> {
    let (read, write) = process::pipe()?;
    let child = process::spawn_child(|| {
        let _ = rt::sys!(SYS_DUP2, write, 1);
        let _ = process::close(read);
        let _ = process::close(write);
        let _ = process::execve(path, argv, &[c"PATH=/bin:/usr/bin".arg(), 0]);
        127
    })?;
    process::close(write)?;
    let (mut buf, mut len) = ([0; N], 0);
    loop {
        match process::read(read, &mut buf[len..])? {
            0 => break,
            n => len += usize::try_from(n).unwrap_or(0),
        }
    }
    process::close(read)?;
    Ok((buf, process::wait(child)?))
}

fn host_tool() -> Verdict {
    let argv = [c"echo".arg(), c"from the host".arg(), 0];
    let (printed, status) = output::<32>(&argv, c"/bin/echo")?;
    ensure_eq!(status.code(), Some(0));
    ensure!(printed.starts_with(b"from the host\n\0"));
    Ok(())
}

fn script() -> Verdict {
    file(c"script.tmp", b"#!/bin/sh\necho \"$0 $1\"\nexit 6\n", 0o755)?;
    let argv = [c"ignored".arg(), c"argument".arg(), 0];
    let result = output::<64>(&argv, c"./script.tmp");
    rt::sys!(SYS_UNLINK, c"script.tmp")?;
    let (printed, status) = result?;
    ensure_eq!(status.code(), Some(6));
    ensure!(printed.starts_with(b"./script.tmp argument\n\0"));
    Ok(())
}

fn statuses() -> Verdict {
    for code in [0, 1, 77, 255] {
        ensure_eq!(in_child(|| code)?, Status(code << 8));
    }
    ensure_eq!(in_child(|| 256 + 3)?.code(), Some(3));
    for signo in [
        Signo::SIGKILL,
        Signo::SIGTERM,
        Signo::SIGHUP,
        Signo::SIGUSR1,
        Signo::SIGABRT,
    ] {
        let status = in_child(|| {
            let _ = process::kill(process::pid(), signo.raw());
            1
        })?;
        ensure_eq!(status.signal(), Some(signo.raw()));
    }
    Ok(())
}

fn nobody_to_wait_for() -> Verdict {
    for pid in [-1, 0, process::pid(), process::parent(), 0x3fff_fff0] {
        ensure_err!(process::wait4(pid, 0), ECHILD);
        ensure_err!(process::wait4(pid, process::WNOHANG), ECHILD);
    }
    Ok(())
}

fn without_waiting() -> Verdict {
    let child = process::spawn_child(|| {
        let _ = lwp::rest();
        0
    })?;
    ensure_eq!(process::wait4(child, process::WNOHANG)?.0.raw(), 0);
    process::kill(child, Signo::SIGKILL.raw())?;
    let (pid, status) = process::wait4(child, 0)?;
    ensure_eq!((pid.raw(), status.signal()), (child, Some(9)));
    ensure_err!(process::wait4(child, 0), ECHILD);
    Ok(())
}

fn bad_options() -> Verdict {
    ensure_err!(process::wait4(-1, 0x4000_0000), EINVAL);
    Ok(())
}

fn any_child() -> Verdict {
    let children = [process::spawn_child(|| 1)?, process::spawn_child(|| 2)?];
    let mut sum = 0;
    for _ in children {
        let (pid, status) = process::wait4(-1, 0)?;
        ensure!(children.contains(&pid.raw()));
        sum += status.code().unwrap_or(100);
    }
    ensure_eq!(sum, 3);
    Ok(())
}

/// What the handler of SIGCHLD saw.
static CHILD: [Word; 3] = [const { Word::new() }; 3];

extern "C" fn note_child(_: i32, info: &mut Siginfo, _: &mut Ucontext) {
    CHILD[1].set(info.pid().raw().cast_unsigned());
    CHILD[2].set(info.status().cast_unsigned());
    CHILD[0].set(info.si_code.cast_unsigned());
}

fn child_signal() -> Verdict {
    use rt::abi::signal::{CLD_EXITED, CLD_KILLED};
    sig::catch(Signo::SIGCHLD, note_child, SaFlags::SIGINFO)?;
    let child = process::spawn_child(|| 7)?;
    CHILD[0].wait(1)?;
    let seen = CHILD.each_ref().map(|word| word.get().cast_signed());
    ensure_eq!(seen, [CLD_EXITED, child, 7]);
    ensure_eq!(process::wait(child)?.code(), Some(7));
    CHILD[0].set(0);
    let child = process::spawn_child(|| {
        let _ = process::kill(process::pid(), Signo::SIGTERM.raw());
        0
    })?;
    CHILD[0].wait(1)?;
    let seen = CHILD.each_ref().map(|word| word.get().cast_signed());
    ensure_eq!(seen, [CLD_KILLED, child, Signo::SIGTERM.raw()]);
    Ok(())
}

fn no_zombies() -> Verdict {
    sig::ignore(Signo::SIGCHLD)?;
    process::spawn_child(|| 7)?;
    ensure_err!(process::wait4(-1, 0), ECHILD);
    Ok(())
}

fn parents() -> Verdict {
    let pid = process::pid();
    let status = in_child(|| bits(&[process::parent() == pid, process::pid() != pid]))?;
    ensure_eq!(status.code(), Some(0b11));
    Ok(())
}
