//! Numbers and flags by name, out of the tables of `lwp_abi`.
//!
//! What has no name is shown as a number with a question mark: a reader sees what we do not know.

use core::fmt::Write;
use lwp_abi::table::Number;
use lwp_abi::{
    event, fs, ioctl, lwp, mman, poll, random, resource, sched, signal, socket, sockopt,
};
use lwp_abi::{sysarch, termios, time, ucontext, wait};

/// A set of names for single values.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    table: &'static [Number],
    /// Names in the table that are no values of this kind.
    skip: &'static [&'static str],
}

impl Names {
    const fn new(table: &'static [Number], skip: &'static [&'static str]) -> Self {
        Self { table, skip }
    }

    /// The name of one value.
    pub fn find(&self, value: i64) -> Option<&'static str> {
        let numbers = self.table.iter();
        let mut named = numbers.filter(|number| !self.skip.contains(&number.name));
        Some(named.find(|number| number.netbsd == value)?.name)
    }

    /// The name of one value, or the number and a question mark.
    pub fn show(&self, value: i64) -> String {
        self.find(value)
            .map_or_else(|| format!("{value}?"), str::to_owned)
    }
}

/// A set of names for bits.
#[derive(Clone, Copy, Debug)]
pub struct Flags {
    names: Names,
    /// These bits are one value.
    field: u64,
}

impl Flags {
    const fn new(table: &'static [Number], skip: &'static [&'static str]) -> Self {
        Self {
            names: Names::new(table, skip),
            field: 0,
        }
    }

    const fn with_field(
        table: &'static [Number],
        skip: &'static [&'static str],
        field: u64,
    ) -> Self {
        Self {
            names: Names::new(table, skip),
            field,
        }
    }

    /// The names of the bits, with `|` between; what is left over as a number and a question mark.
    pub fn show(&self, bits: u64) -> String {
        let mut text = String::new();
        let mut rest = bits & !self.field;
        if self.field != 0 || bits == 0 {
            let value = (bits & self.field).cast_signed();
            let name = self.names.find(value);
            if name.is_some() || value != 0 {
                text.push_str(&name.map_or_else(|| format!("{value:#x}?"), str::to_owned));
            }
        }
        for number in self.names.table {
            let value = number.netbsd.cast_unsigned() & u64::from(u32::MAX) | high(number.netbsd);
            let is_flag = value != 0 && value & self.field == 0;
            if is_flag && rest & value == value && !self.names.skip.contains(&number.name) {
                rest &= !value;
                join(&mut text, number.name);
            }
        }
        if rest != 0 {
            join(&mut text, &format!("{rest:#x}?"));
        }
        if text.is_empty() {
            text.push('0');
        }
        text
    }
}

/// The upper half of a flag; of one with a sign there is none.
fn high(value: i64) -> u64 {
    if value < 0 {
        0
    } else {
        value.cast_unsigned() & !u64::from(u32::MAX)
    }
}

fn join(text: &mut String, name: &str) {
    if !text.is_empty() {
        text.push('|');
    }
    text.push_str(name);
}

macro_rules! sets {
    ($($(#[$about:meta])* $name:ident: $kind:ident = $new:ident($($arg:expr),*);)*) => {
        $($(#[$about])* pub const $name: &$kind = &$kind::$new($($arg),*);)*
    };
}

sets! {
    /// open(2).
    OPEN: Flags = with_field(fs::OPEN_FLAGS, &["O_NDELAY", "O_FSYNC"], 3);
    /// pipe2(2), dup3(2), kqueue1(2) and others, which take some of open(2)'s.
    NEW_FD: Flags = new(fs::OPEN_FLAGS, &["O_NDELAY", "O_FSYNC", "O_RDONLY"]);
    /// Calls whose names end in "at".
    AT: Flags = new(fs::AT_FLAGS, &[]);
    /// access(2).
    ACCESS: Flags = new(fs::ACCESS_MODES, &[]);
    /// `F_SETFD`.
    FD: Flags = new(fs::FD_FLAGS, &[]);
    /// `F_ADD_SEALS`.
    SEALS: Flags = new(fs::SEALS, &[]);
    /// flock(2).
    FLOCK: Flags = new(fs::FLOCK_OPS, &[]);
    /// chflags(2).
    FILE: Flags = new(fs::FILE_FLAGS, &["SF_SETTABLE", "UF_SETTABLE"]);
    /// File systems.
    MOUNT: Flags = new(fs::ST_FLAGS, &["ST_EXKERB"]);
    /// Protections.
    PROT: Flags = new(mman::PROT_FLAGS, &[]);
    /// mlockall(2).
    MLOCKALL: Flags = new(mman::MLOCKALL_FLAGS, &[]);
    /// msync(2).
    MSYNC: Flags = new(mman::MSYNC_FLAGS, &[]);
    /// `memfd_create(2)`.
    MEMFD: Flags = new(mman::MEMFD_FLAGS, &[]);
    /// getrandom(2).
    RANDOM: Flags = new(random::GRND_FLAGS, &[]);
    /// `_lwp_create(2)`.
    LWP: Flags = new(lwp::LWP_FLAGS, &[]);
    /// `_lwp_ctl(2)`.
    LWPCTL: Flags = new(lwp::LWPCTL, &["LWPCTL_CPU_EXITED", "LWPCTL_CPU_NONE"]);
    /// wait4(2), wait6(2).
    WAIT: Flags = new(wait::WAIT_FLAGS, &["WSTOPPED"]);
    /// `sigaction(2)`.
    SA: Flags = new(signal::SA_FLAGS, &[]);
    /// sigaltstack(2).
    STACK: Flags = new(signal::SIGALTSTACK, &["MINSIGSTKSZ", "SIGSTKSZ"]);
    /// ucontexts.
    UCONTEXT: Flags = new(ucontext::UC_FLAGS, &[
        "_UC_MD_BIT17", "_UC_MD_BIT16", "_UC_MD_BIT19", "_UC_MD_BIT20",
    ]);
    /// `clock_nanosleep(2)` and the like.
    TIMER: Flags = new(time::TIMER_FLAGS, &["CLOCKS_PER_SEC"]);
    /// eventfd(2).
    EVENTFD: Flags = new(event::EVENTFD_FLAGS, &[]);
    /// `timerfd_create(2)`.
    TIMERFD: Flags = new(event::TIMERFD_FLAGS, &["TFD_TIMER_ABSTIME", "TFD_TIMER_CANCEL_ON_SET"]);
    /// `timerfd_settime(2)`.
    TIMERFD_SET: Flags = new(event::TIMERFD_FLAGS, &["TFD_CLOEXEC", "TFD_NONBLOCK"]);
    /// kevents.
    EV: Flags = new(event::EV_FLAGS, &["EV_SYSFLAGS"]);
    /// send(2), recv(2).
    MSG: Flags = new(socket::MSG_FLAGS, &["MSG_USERFLAGS"]);
    /// The flags in the type argument of socket(2).
    SOCK_FLAGS: Flags = new(socket::SOCK_FLAGS, &[]);
    /// poll(2).
    POLL: Flags = new(poll::POLL_EVENTS, &["POLLWRNORM"]);
    /// Input modes of terminals.
    TTY_IN: Flags = new(termios::IFLAGS, &[]);
    /// Output modes of terminals.
    TTY_OUT: Flags = new(termios::OFLAGS, &[]);
    /// Local modes of terminals.
    TTY_LOCAL: Flags = new(termios::LFLAGS, &[]);
    /// fsync_range(2).
    FSYNC: Flags = new(FSYNC_RANGE, &[]);

    /// fcntl(2).
    FCNTL: Names = new(fs::FCNTL_CMDS, &[]);
    /// Record locks.
    LOCK: Names = new(fs::LOCK_TYPES, &[]);
    /// lseek(2).
    SEEK: Names = new(fs::SEEKS, &[]);
    /// posix_fadvise(2).
    FADVICE: Names = new(fs::FADVICE, &[]);
    /// getvfsstat(2).
    STWAIT: Names = new(fs::ST_WAITS, &[]);
    /// pathconf(2).
    PATHCONF: Names = new(fs::PATHCONF, &[]);
    /// Directory entries.
    DIRENT: Names = new(fs::DIRENT_TYPES, &[]);
    /// File types.
    FILE_TYPE: Names = new(fs::FILE_MODES, &[]);
    /// madvise(2).
    MADVICE: Names = new(mman::MADVICE, &[
        "POSIX_MADV_DONTNEED", "POSIX_MADV_NORMAL", "POSIX_MADV_RANDOM", "POSIX_MADV_SEQUENTIAL",
        "POSIX_MADV_WILLNEED",
    ]);
    /// minherit(2).
    MINHERIT: Names = new(mman::MINHERIT, &["MAP_INHERIT_DEFAULT"]);
    /// setitimer(2).
    ITIMER: Names = new(time::ITIMERS, &[]);
    /// getrlimit(2).
    RLIMIT: Names = new(resource::RLIMITS, &["RLIMIT_VMEM"]);
    /// getrusage(2).
    RUSAGE: Names = new(resource::RUSAGE_WHO, &[]);
    /// setpriority(2).
    PRIO: Names = new(resource::PRIORITIES, &["PRIO_MAX", "PRIO_MIN"]);
    /// Scheduling classes.
    SCHED: Names = new(sched::SCHED_POLICIES, &["SCHED_PRI_MAX", "SCHED_PRI_MIN"]);
    /// sigprocmask(2).
    SIGHOW: Names = new(signal::SIG_HOW, &[]);
    /// sysarch(2).
    SYSARCH: Names = new(sysarch::SYSARCH_OPS, &[]);
    /// wait6(2).
    IDTYPE: Names = new(wait::IDTYPES, &[]);
    /// kqueue filters.
    EVFILT: Names = new(event::EVFILTS, &[]);
    /// socket(2).
    DOMAIN: Names = new(socket::ADDRESS_FAMILIES, &["AF_UNIX", "AF_ISO", "AF_ISDN", "AF_MAX"]);
    /// socket(2).
    SOCK_TYPE: Names = new(socket::SOCK_TYPES, &["SOCK_CONN_DGRAM"]);
    /// shutdown(2).
    SHUT: Names = new(socket::SHUTDOWNS, &[]);
    /// Protocols.
    PROTOCOL: Names = new(sockopt::SOCKOPT_LEVELS, &["SOL_SOCKET"]);
    /// setsockopt(2).
    SOL: Names = new(sockopt::SOCKOPT_LEVELS, &[]);
    /// Control messages.
    SCM: Names = new(socket::CMSG_TYPES, &[]);
    /// Clocks.
    CLOCK: Names = new(time::CLOCKS, &[]);
    /// rasctl(2).
    RAS: Names = new(RAS_OPS, &[]);
    /// wait6(2)'s and siginfo's `si_code`, where it does not depend on the signal.
    SI: Names = new(signal::SI_CODES, &[
        "BUS_ADRALN", "BUS_ADRERR", "BUS_OBJERR", "CLD_CONTINUED", "CLD_DUMPED", "CLD_EXITED", "CLD_KILLED",
        "CLD_STOPPED", "CLD_TRAPPED",
    ]);
}

const fn number(name: &'static str, netbsd: i64) -> Number {
    Number {
        name,
        netbsd,
        linux: None,
    }
}

/// How fsync_range(2) syncs. Source: sys/fcntl.h.
const FSYNC_RANGE: &[Number] = &[
    number("FDATASYNC", 0x10),
    number("FFILESYNC", 0x20),
    number("FDISKSYNC", 0x40),
];

/// What rasctl(2) does. Source: sys/ras.h.
const RAS_OPS: &[Number] = &[
    number("RAS_INSTALL", 0),
    number("RAS_PURGE", 1),
    number("RAS_PURGE_ALL", 2),
];

/// The flags of mmap(2), in whose upper byte is the alignment.
pub fn map_flags(bits: u32) -> String {
    const FLAGS: &Flags = &Flags::new(
        mman::MAP_FLAGS,
        &["MAP_ALIGNMENT_MASK", "MAP_ALIGNMENT_SHIFT", "MAP_ANONYMOUS"],
    );
    let alignment = bits & mman::MAP_ALIGNMENT_MASK;
    let mut text = FLAGS.show(u64::from(bits - alignment));
    if alignment != 0 {
        let name = FLAGS.names.find(i64::from(alignment));
        let log2 = alignment >> mman::MAP_ALIGNMENT_SHIFT;
        join(
            &mut text,
            &name.map_or_else(|| format!("MAP_ALIGNED({log2})"), str::to_owned),
        );
    }
    text
}

/// The type argument of socket(2), flags included.
pub fn socket_type(bits: u32) -> String {
    let flags = bits & socket::SOCK_FLAGS_MASK;
    let mut text = SOCK_TYPE.show(i64::from(bits - flags));
    if flags != 0 {
        join(&mut text, &SOCK_FLAGS.show(u64::from(flags)));
    }
    text
}

/// A clock; that of a process or LWP with its number.
pub fn clock(id: i32) -> String {
    let with_id = |kind: &str, who: i32| match who {
        0 => kind.to_owned(),
        who => format!("{kind}|{who}"),
    };
    let id = time::ClockId::new(id);
    match (id.process(), id.lwp()) {
        (Some(pid), _) => with_id("CLOCK_PROCESS_CPUTIME_ID", pid),
        (_, Some(lid)) => with_id("CLOCK_THREAD_CPUTIME_ID", lid),
        (None, None) => CLOCK.show(i64::from(id.raw())),
    }
}

/// A signal by name; 0 is none.
pub fn signo(number: i32) -> String {
    match signal::Signo::new(number) {
        Some(signo) => signo.name().to_owned(),
        None if number == 0 => "0".to_owned(),
        None => format!("{number}?"),
    }
}

/// Type and permissions of a file.
pub fn mode(bits: u32) -> String {
    let kind = bits & fs::S_IFMT;
    let permissions = bits & !fs::S_IFMT;
    match kind {
        0 => format!("0{permissions:o}"),
        kind => format!("{}|0{permissions:o}", FILE_TYPE.show(i64::from(kind))),
    }
}

/// An option of a socket; which names there are depends on the level.
pub fn sockopt(level: i32, option: i32) -> String {
    let value = i64::from(option);
    let among = |table: &'static [Number]| Names::new(table, &["SO_DEFOPTS"]).find(value);
    let name = match level {
        sockopt::SOL_SOCKET => among(sockopt::SO_OPTIONS),
        // Local sockets have the same level: their options are those without a name here.
        sockopt::IPPROTO_IP => among(sockopt::IPV4_OPTIONS).or(among(sockopt::LOCAL_OPTIONS)),
        sockopt::IPPROTO_IPV6 => among(sockopt::IPV6_OPTIONS),
        sockopt::IPPROTO_ICMPV6 => among(sockopt::ICMP6_OPTIONS),
        sockopt::IPPROTO_TCP => among(sockopt::TCP_OPTIONS),
        _ => None,
    };
    name.map_or_else(|| format!("{value}?"), str::to_owned)
}

/// What a kevent watches for; which names there are depends on the filter.
pub fn notes(filter: u32, bits: u32) -> String {
    const VNODE: &[&str] = &[
        "NOTE_ATTRIB",
        "NOTE_CLOSE",
        "NOTE_CLOSE_WRITE",
        "NOTE_DELETE",
        "NOTE_EXTEND",
        "NOTE_LINK",
        "NOTE_OPEN",
        "NOTE_READ",
        "NOTE_RENAME",
        "NOTE_REVOKE",
        "NOTE_WRITE",
    ];
    const PROC: &[&str] = &[
        "NOTE_CHILD",
        "NOTE_EXEC",
        "NOTE_EXIT",
        "NOTE_FORK",
        "NOTE_TRACK",
        "NOTE_TRACKERR",
    ];
    let names: &[&str] = match filter {
        event::EVFILT_VNODE => VNODE,
        event::EVFILT_PROC => PROC,
        event::EVFILT_READ | event::EVFILT_WRITE => &["NOTE_LOWAT"],
        event::EVFILT_TIMER => return timer_notes(bits),
        event::EVFILT_USER => return user_notes(bits),
        _ => &[],
    };
    named_bits(bits, names)
}

fn timer_notes(bits: u32) -> String {
    const UNITS: [&str; 4] = [
        "NOTE_MSECONDS",
        "NOTE_SECONDS",
        "NOTE_USECONDS",
        "NOTE_NSECONDS",
    ];
    let unit = UNITS.iter().zip(0..).find(|&(_, value)| bits & 3 == value);
    let mut text = unit.map_or("", |(name, _)| name).to_owned();
    if bits & !3 != 0 {
        join(&mut text, &named_bits(bits & !3, &["NOTE_ABSTIME"]));
    }
    text
}

fn user_notes(bits: u32) -> String {
    const OPS: [&str; 4] = ["", "NOTE_FFAND", "NOTE_FFOR", "NOTE_FFCOPY"];
    let op = OPS.iter().zip(0..).find(|&(_, value)| bits >> 30 == value);
    let mut text = op.map_or("", |(name, _)| name).to_owned();
    if bits & event::NOTE_TRIGGER != 0 {
        join(&mut text, "NOTE_TRIGGER");
    }
    // The rest is the program's own: a number is all there is.
    match bits & event::NOTE_FFLAGSMASK {
        0 if !text.is_empty() => {}
        own => join(&mut text, &own.to_string()),
    }
    text
}

fn named_bits(bits: u32, names: &[&str]) -> String {
    let mut rest = bits;
    let mut text = String::new();
    for number in event::NOTES.iter().filter(|n| names.contains(&n.name)) {
        let value = u32::try_from(number.netbsd).unwrap_or(0);
        if value != 0 && rest & value == value {
            rest &= !value;
            join(&mut text, number.name);
        }
    }
    if rest != 0 || text.is_empty() {
        let unknown = if rest == 0 {
            "0".to_owned()
        } else {
            format!("{rest:#x}?")
        };
        join(&mut text, &unknown);
    }
    text
}

/// A request of ioctl(2); one without a name is taken apart.
pub fn ioctl(request: u32) -> String {
    const TABLES: [&[Number]; 4] = [
        ioctl::IOCTL_FILE,
        ioctl::IOCTL_TTY,
        ioctl::IOCTL_SOCKET,
        event::KQUEUE_IOCTLS,
    ];
    let mut numbers = TABLES.into_iter().flatten();
    let old = ["TIOCGSIZE", "TIOCSSIZE"];
    let found = numbers.find(|n| n.netbsd == i64::from(request) && !old.contains(&n.name));
    if let Some(number) = found {
        return number.name.to_owned();
    }
    if request == event::TFD_IOC_SET_TICKS {
        return "TFD_IOC_SET_TICKS".to_owned();
    }
    let cmd = ioctl::IoctlCmd::new(request);
    let direction = match (cmd.is_in(), cmd.is_out()) {
        (true, true) => "_IOWR",
        (true, false) => "_IOW",
        (false, true) => "_IOR",
        (false, false) => "_IO",
    };
    let group = char::from(cmd.group()).escape_default();
    format!("{direction}('{group}', {}, {})", request & 0xff, cmd.len())
}

/// A name of sysctl(3), as far as its numbers have names.
pub fn mib(name: &[i32]) -> String {
    use lwp_abi::sysctl;
    let mut text = String::from("[");
    for (at, &number) in name.iter().enumerate() {
        let top = name.first().copied().unwrap_or(0);
        let table = match (at, top) {
            (0, _) => sysctl::CTL_TOP,
            _ if number < 0 => sysctl::CTL_TOP,
            (1, sysctl::CTL_KERN) => sysctl::CTL_KERN_NAMES,
            (1, sysctl::CTL_HW) => sysctl::CTL_HW_NAMES,
            (1, sysctl::CTL_VM) => sysctl::CTL_VM_NAMES,
            (1, sysctl::CTL_USER) => sysctl::CTL_USER_NAMES,
            (1, sysctl::CTL_NET) => socket::ADDRESS_FAMILIES,
            _ => &[],
        };
        let names = Names::new(table, &["CTL_MAXNAME", "AF_UNIX"]);
        let is_args = (at, top, number) == (1, sysctl::CTL_KERN, sysctl::KERN_PROC_ARGS);
        let shown = match names.find(i64::from(number)) {
            Some(name) => name.to_owned(),
            None if is_args => "KERN_PROC_ARGS".to_owned(),
            None => number.to_string(),
        };
        let comma = if at == 0 { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{shown}");
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_flags_begin_with_the_access_mode() {
        assert_eq!(OPEN.show(0), "O_RDONLY");
        let flags = fs::O_RDWR | fs::O_CREAT | fs::O_CLOEXEC;
        assert_eq!(OPEN.show(u64::from(flags)), "O_RDWR|O_CLOEXEC|O_CREAT");
        assert_eq!(OPEN.show(0x1000_0001), "O_WRONLY|0x10000000?");
    }

    #[test]
    fn no_flags_are_zero_or_have_a_name() {
        assert_eq!(PROT.show(0), "PROT_NONE");
        assert_eq!(AT.show(0), "0");
        assert_eq!(ACCESS.show(0), "F_OK");
        assert_eq!(ACCESS.show(6), "R_OK|W_OK");
    }

    #[test]
    fn alignments_of_mappings_are_one_value() {
        assert_eq!(map_flags(0x1002), "MAP_ANON|MAP_PRIVATE");
        assert_eq!(
            map_flags(0x1800_1002),
            "MAP_ANON|MAP_PRIVATE|MAP_ALIGNMENT_16MB"
        );
        assert_eq!(map_flags(0x1500_0010), "MAP_FIXED|MAP_ALIGNED(21)");
    }

    #[test]
    fn what_a_kevent_watches_for_depends_on_its_filter() {
        assert_eq!(notes(event::EVFILT_VNODE, 3), "NOTE_DELETE|NOTE_WRITE");
        assert_eq!(
            notes(event::EVFILT_TIMER, 0x13),
            "NOTE_NSECONDS|NOTE_ABSTIME"
        );
        assert_eq!(notes(event::EVFILT_USER, 0x0100_0000), "NOTE_TRIGGER");
        assert_eq!(notes(event::EVFILT_READ, 0), "0");
        assert_eq!(notes(event::EVFILT_PROC, 0x8000_0000), "NOTE_EXIT");
    }

    #[test]
    fn requests_clocks_and_sysctl_names_have_names() {
        assert_eq!(ioctl(ioctl::TIOCGWINSZ), "TIOCGWINSZ");
        assert_eq!(ioctl(0x4010_7a05), "_IOR('z', 5, 16)");
        assert_eq!(clock(time::CLOCK_MONOTONIC), "CLOCK_MONOTONIC");
        assert_eq!(
            clock(time::CLOCK_THREAD_CPUTIME_ID | 7),
            "CLOCK_THREAD_CPUTIME_ID|7"
        );
        assert_eq!(mib(&[1, 1]), "[CTL_KERN, KERN_OSTYPE]");
        assert_eq!(mib(&[6, -2]), "[CTL_HW, CTL_QUERY]");
        assert_eq!(
            socket_type(0x3000_0001),
            "SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK"
        );
        assert_eq!(mode(0o100_644), "S_IFREG|0644");
    }
}
