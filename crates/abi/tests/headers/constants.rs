//! Constants, group by group.

use crate::{Row, complain, number, rows};
use lwp_abi::signal::{DefaultAction, Signo};
use lwp_abi::table::Number;
use lwp_abi::{
    event, exec, fs, futex, ioctl, limits, lwp, mman, nr, poll, random, resource, sched, signal,
    socket, sockopt, spawn, sysarch, sysctl, termios, time, ucontext, wait,
};
use std::mem::offset_of;

const TABLE: &str = include_str!("data/constants.tsv");

/// The tables of the crate, and the groups that they are.
static TABLES: &[(&str, &[Number])] = &[
    ("open-flag", fs::OPEN_FLAGS),
    ("fcntl-cmd", fs::FCNTL_CMDS),
    ("fcntl-lock", fs::LOCK_TYPES),
    ("fcntl-seal", fs::SEALS),
    ("fd-flag", fs::FD_FLAGS),
    ("access-mode", fs::ACCESS_MODES),
    ("flock-op", fs::FLOCK_OPS),
    ("seek", fs::SEEKS),
    ("at-flag", fs::AT_FLAGS),
    ("utime", fs::UTIMES),
    ("file-mode", fs::FILE_MODES),
    ("file-flag", fs::FILE_FLAGS),
    ("dirent-type", fs::DIRENT_TYPES),
    ("pathconf", fs::PATHCONF),
    ("statvfs-flag", fs::ST_FLAGS),
    ("statvfs-flag", fs::ST_WAITS),
    ("mmap-prot", mman::PROT_FLAGS),
    ("mmap-flag", mman::MAP_FLAGS),
    ("minherit", mman::MINHERIT),
    ("madvise", mman::MADVICE),
    ("msync", mman::MSYNC_FLAGS),
    ("mlockall", mman::MLOCKALL_FLAGS),
    ("fadvise", fs::FADVICE),
    ("sigaction-flag", signal::SA_FLAGS),
    ("sigaltstack", signal::SIGALTSTACK),
    ("sigprocmask", signal::SIG_HOW),
    ("si-code", signal::SI_CODES),
    ("wait-flag", wait::WAIT_FLAGS),
    ("idtype", wait::IDTYPES),
    ("clock", time::CLOCKS),
    ("clock", time::TIMER_FLAGS),
    ("itimer", time::ITIMERS),
    ("sigev", signal::SIGEV),
    ("rlimit", resource::RLIMITS),
    ("rlimit", resource::RLIM_VALUES),
    ("rusage", resource::RUSAGE_WHO),
    ("priority", resource::PRIORITIES),
    ("socket-type", socket::SOCK_TYPES),
    ("socket-type", socket::SOCK_FLAGS),
    ("address-family", socket::ADDRESS_FAMILIES),
    ("sockopt-level", sockopt::SOCKOPT_LEVELS),
    ("sockopt-level", sockopt::SOCKOPT_LEVELS_LOCAL),
    ("sockopt-socket", sockopt::SO_OPTIONS),
    ("sockopt-local", sockopt::LOCAL_OPTIONS),
    ("sockopt-ip", sockopt::IPV4_OPTIONS),
    ("sockopt-ip", sockopt::IP_OPTION_VALUES),
    ("sockopt-ipv6", sockopt::IPV6_OPTIONS),
    ("sockopt-ipv6", sockopt::IPV6_OPTION_VALUES),
    ("sockopt-icmp6", sockopt::ICMP6_OPTIONS),
    ("sockopt-tcp", sockopt::TCP_OPTIONS),
    ("msg-flag", socket::MSG_FLAGS),
    ("cmsg-type", socket::CMSG_TYPES),
    ("shutdown", socket::SHUTDOWNS),
    ("socket-misc", socket::SOCKET_MISC),
    ("poll", poll::POLL_EVENTS),
    ("kqueue-filter", event::EVFILTS),
    ("kqueue-flag", event::EV_FLAGS),
    ("kqueue-fflag", event::NOTES),
    ("kqueue-ioctl", event::KQUEUE_IOCTLS),
    ("ioctl-encoding", ioctl::IOC_FIELDS),
    ("ioctl-file", ioctl::IOCTL_FILE),
    ("ioctl-tty", ioctl::IOCTL_TTY),
    ("ioctl-tty-arg", ioctl::IOCTL_TTY_ARGS),
    ("ioctl-socket", ioctl::IOCTL_SOCKET),
    ("termios-iflag", termios::IFLAGS),
    ("termios-oflag", termios::OFLAGS),
    ("termios-cflag", termios::CFLAGS),
    ("termios-lflag", termios::LFLAGS),
    ("termios-cc", termios::CONTROL_CHARS),
    ("termios-default", termios::TTYDEF_MODES),
    ("termios-default", termios::TTYDEF_CHARS),
    ("termios-speed", termios::SPEEDS),
    ("termios-action", termios::TC_ACTIONS),
    ("sysctl-top", sysctl::CTL_TOP),
    ("sysctl-kern", sysctl::CTL_KERN_NAMES),
    ("sysctl-kern-sub", sysctl::CTL_KERN_SUBNAMES),
    ("sysctl-hw", sysctl::CTL_HW_NAMES),
    ("sysctl-vm", sysctl::CTL_VM_NAMES),
    ("sysctl-user", sysctl::CTL_USER_NAMES),
    ("sysctl-proc", sysctl::CTL_PROC_NAMES),
    ("sysctl-node", sysctl::SYSCTL_NODE),
    ("lwp", lwp::LWP_FLAGS),
    ("lwp", lwp::LWPCTL),
    ("ucontext-flag", ucontext::UC_FLAGS),
    ("spawn-flag", spawn::SPAWN_FLAGS),
    ("spawn-action", spawn::SPAWN_ACTIONS),
    ("sched", sched::SCHED_POLICIES),
    ("getrandom", random::GRND_FLAGS),
    ("eventfd", event::EVENTFD_FLAGS),
    ("timerfd", event::TIMERFD_FLAGS),
    ("memfd", mman::MEMFD_FLAGS),
    ("futex", futex::FUTEX_OPS),
    ("auxv", exec::AUXV),
    ("elf-note", exec::ELF_NOTES),
    ("sysarch", sysarch::SYSARCH_OPS),
    ("xattr", fs::XATTRS),
    ("limits", limits::LIMITS),
    ("address-space", exec::ADDRESS_SPACE),
];

/// Constants that are in no table of the crate.
fn singles() -> Vec<(&'static str, i64)> {
    let mut all = vec![
        ("AT_FDCWD", i64::from(fs::AT_FDCWD)),
        ("CTL_MAXNAME", i64::from(sysctl::CTL_MAXNAME)),
        ("FD_SETSIZE", length(poll::FD_SETSIZE)),
        ("INFTIM", i64::from(poll::INFTIM)),
        ("MAXCOMLEN", length(lwp::MAXCOMLEN)),
        ("NCCS", length(termios::NCCS)),
        ("NFDBITS", length(poll::NFDBITS)),
        ("NSIG", i64::from(signal::NSIG)),
        ("PROT_MPROTECT(PROT_READ)", mprotect(mman::Prot::READ)),
        ("PROT_MPROTECT(PROT_WRITE)", mprotect(mman::Prot::WRITE)),
        ("PROT_MPROTECT(PROT_EXEC)", mprotect(mman::Prot::EXEC)),
        ("RLIM_NLIMITS", length(resource::RLIM_NLIMITS)),
        ("SIG_DFL", signal::SIG_DFL.cast_signed()),
        ("SIG_ERR", signal::SIG_ERR.cast_signed()),
        ("SIG_HOLD", signal::SIG_HOLD.cast_signed()),
        ("SIG_IGN", signal::SIG_IGN.cast_signed()),
        ("SOCK_FLAGS_MASK", i64::from(socket::SOCK_FLAGS_MASK)),
        ("SYS_MAXSYSARGS", length(nr::SYS_MAXSYSARGS)),
        ("SYS_NSYSENT", i64::from(nr::SYS_NSYSENT)),
        ("TFD_IOC_SET_TICKS", i64::from(event::TFD_IOC_SET_TICKS)),
        ("WCOREFLAG", i64::from(wait::WCOREFLAG)),
        ("_NGREG", length(size_of::<ucontext::Gregs>() / 8)),
        ("_NSIG", i64::from(signal::NSIG)),
        ("_POSIX_VDISABLE", i64::from(termios::_POSIX_VDISABLE)),
        ("_WCONTINUED", i64::from(wait::_WCONTINUED)),
        ("_WSTOPPED", i64::from(wait::_WSTOPPED)),
        ("__UCONTEXT_SIZE", length(ucontext::UCONTEXT_SIZE)),
    ];
    all.extend(registers());
    all
}

/// The registers, by their index in a context.
fn registers() -> Vec<(&'static str, i64)> {
    macro_rules! registers {
        ($($name:literal $field:ident,)*) => {
            vec![$(($name, length(offset_of!(ucontext::Gregs, $field) / 8)),)*]
        };
    }
    registers! {
        "_REG_RDI" rdi,
        "_REG_RSI" rsi,
        "_REG_RDX" rdx,
        "_REG_RCX" rcx,
        "_REG_R8" r8,
        "_REG_R9" r9,
        "_REG_R10" r10,
        "_REG_R11" r11,
        "_REG_R12" r12,
        "_REG_R13" r13,
        "_REG_R14" r14,
        "_REG_R15" r15,
        "_REG_RBP" rbp,
        "_REG_RBX" rbx,
        "_REG_RAX" rax,
        "_REG_GS" gs,
        "_REG_FS" fs,
        "_REG_ES" es,
        "_REG_DS" ds,
        "_REG_TRAPNO" trapno,
        "_REG_ERR" err,
        "_REG_RIP" rip,
        "_REG_CS" cs,
        "_REG_RFLAGS" rflags,
        "_REG_RSP" rsp,
        "_REG_SS" ss,
    }
}

fn length(value: usize) -> i64 {
    i64::try_from(value).expect("a small number")
}

/// The protection that allows `prot` later, as a program writes it.
fn mprotect(prot: mman::Prot) -> i64 {
    let bits = prot.bits() << 3;
    assert_eq!(mman::Prot::from_bits_retain(bits).later(), prot);
    i64::from(bits)
}

/// Groups that the crate does not have.
const LEFT_OUT_GROUPS: &[(&str, &str)] = &[
    ("arphrd", "no list of network interfaces"),
    ("if-flag", "no list of network interfaces"),
    ("if-type", "no list of network interfaces"),
    ("ioctl-bpf", "no bpf(4)"),
    ("lockf", "made by libc of fcntl(2)"),
    (
        "mcontext-reg",
        "fields of Gregs; compared by their offsets, as singles",
    ),
    (
        "mount-flag",
        "mount(2) is refused; statvfs(2) has its own names",
    ),
    ("ptrace", "no ptrace(2)"),
    ("route", "no routing sockets"),
    ("route-flag", "no routing sockets"),
    ("signal", "associated constants of Signo; compared below"),
    ("signal-default", "methods of Signo; compared below"),
    ("sysvipc", "no System V IPC"),
    ("wait-status", "formulas; see the tests in wait.rs"),
];

/// Constants that the crate does not have, of groups that it has.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "F_FSCTL",
        "asks a file system; no file system of ours answers",
    ),
    ("F_FSIN", "part of F_FSCTL"),
    ("F_FSOUT", "part of F_FSCTL"),
    ("F_FSPRIV", "part of F_FSCTL"),
    ("F_FSVOID", "part of F_FSCTL"),
    ("MAP_ALIGNED(12)", "a formula; see MapFlags::alignment_log2"),
    ("MAP_ALIGNED(21)", "a formula; see MapFlags::alignment_log2"),
    ("MAP_FAILED", "what libc makes of an error"),
    ("SA_CANTMASK", "Signo::is_cantmask"),
    ("SA_CONT", "Signo::default_action"),
    ("SA_CORE", "Signo::default_action"),
    ("SA_IGNORE", "Signo::default_action"),
    ("SA_KILL", "Signo::default_action"),
    ("SA_NORESET", "Signo::no_reset"),
    ("SA_STOP", "Signo::default_action"),
    ("SA_TOALL", "Signo::acts_on_all"),
    ("SA_TOLWP", "Signo::is_trap"),
    ("SA_TTYSTOP", "Signo::is_tty_stop"),
    (
        "SYS_MAXSYSCALL",
        "differs from release to release; the table has 512 slots",
    ),
];

fn is_same_name(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// What the crate has for a row, wherever.
fn compare(row: &Row) -> Result<(), String> {
    let (group, name) = (row["group"], row["name"]);
    let wanted = number(row["netbsd_value"]);
    let mut values: Vec<_> = singles()
        .into_iter()
        .filter(|single| single.0 == name)
        .map(|single| Some(single.1))
        .collect();
    for n in tables(group).filter(|n| is_same_name(n.name, name)) {
        if n.linux != number(row["linux_value"]) {
            return Err(format!("{group} {name}: on Linux {:?}", n.linux));
        }
        values.push(Some(n.netbsd));
    }
    match values.as_slice() {
        [] => Err(format!("{group} {name}: missing")),
        all if all.iter().all(|value| *value == wanted) => Ok(()),
        other => Err(format!("{group} {name}: {other:?}, not {wanted:?}")),
    }
}

fn tables(group: &str) -> impl Iterator<Item = &'static Number> {
    TABLES
        .iter()
        .filter(move |table| table.0 == group)
        .flat_map(|table| table.1)
}

fn is_listed(list: &[(&str, &str)], name: &str) -> bool {
    list.iter().any(|out| out.0 == name)
}

#[test]
fn every_constant_of_the_headers_is_here_or_left_out_for_a_reason() {
    let complaints: Vec<_> = rows(TABLE)
        .iter()
        .filter(|row| {
            !is_listed(LEFT_OUT_GROUPS, row["group"]) && !is_listed(LEFT_OUT, row["name"])
        })
        .filter_map(|row| compare(row).err())
        .collect();
    complain(&complaints);
}

#[test]
fn every_constant_of_the_crate_is_in_the_headers() {
    let rows = rows(TABLE);
    let is_there = |group: &str, name: &str| {
        rows.iter()
            .any(|row| row["group"] == group && is_same_name(row["name"], name))
    };
    let mut complaints = Vec::new();
    for (group, table) in TABLES {
        let unknown = table.iter().filter(|n| !is_there(group, n.name));
        complaints.extend(unknown.map(|n| format!("{group} {}: not in the headers", n.name)));
    }
    for (name, value) in singles() {
        let known = rows.iter().find(|row| row["name"] == name);
        if known.and_then(|row| number(row["netbsd_value"])) != Some(value) {
            complaints.push(format!("{name}: {value} is not in the headers"));
        }
    }
    complain(&complaints);
}

#[test]
fn nothing_is_left_out_that_is_not_in_the_headers() {
    let rows = rows(TABLE);
    for (group, _) in LEFT_OUT_GROUPS {
        assert!(rows.iter().any(|row| row["group"] == *group), "{group}");
        assert!(tables(group).next().is_none(), "{group}");
    }
    for (name, _) in LEFT_OUT {
        assert!(rows.iter().any(|row| row["name"] == *name), "{name}");
    }
}

#[test]
fn signals_have_netbsds_numbers() {
    let mut seen = 0;
    for row in rows(TABLE).iter().filter(|row| row["group"] == "signal") {
        let signo = match row["name"] {
            "NSIG" | "_NSIG" => continue,
            "SIGIOT" => Signo::SIGIOT,
            name => Signo::all().find(|signo| signo.name() == name).expect(name),
        };
        assert_eq!(
            Some(i64::from(signo.raw())),
            number(row["netbsd_value"]),
            "{signo}"
        );
        // Differs from the headers: the first number that a Linux *program* may use is 34.
        if signo != Signo::SIGRTMIN {
            let linux = signo.to_linux().map(i64::from);
            assert_eq!(linux, number(row["linux_value"]), "{signo}");
        }
        seen += 1;
    }
    assert_eq!(seen, 35);
}

#[test]
fn signals_do_by_default_what_netbsd_does() {
    let mut seen = 0;
    for row in rows(TABLE)
        .iter()
        .filter(|row| row["group"] == "signal-default")
    {
        let wanted = match row["netbsd_value"] {
            "terminate" => DefaultAction::Terminate,
            "core" => DefaultAction::Core,
            "stop" => DefaultAction::Stop,
            "ignore" if row["note"].contains("also continues") => DefaultAction::Continue,
            "ignore" => DefaultAction::Ignore,
            odd => panic!("{odd}"),
        };
        let no_reset = row["note"].contains("not reset by SA_RESETHAND");
        let name = row["name"];
        for signo in Signo::all().filter(|signo| match name {
            "SIGRTMIN..SIGRTMAX" => signo.is_realtime(),
            _ => signo.name() == name,
        }) {
            assert_eq!(signo.default_action(), wanted, "{signo}");
            assert_eq!(signo.no_reset(), no_reset, "{signo}");
            seen += 1;
        }
    }
    assert_eq!(seen, 63);
}
