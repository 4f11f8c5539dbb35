//! The signature of every system call that is implemented, and of some that are not.
//!
//! A row is `number "name" (argument: kind, …)`, and what it returns if that is not a number. Padding that
//! NetBSD has in registers is [`Kind::Pad`].
//!
//! Sources: syscalls.master of NetBSD 10 and 11; the manual page of each call.

use crate::kind::Count::{Arg as ArgN, At32, At64, Fixed, Int as IntN, Result as Returned};
use crate::kind::Kind::{
    AtFd, Clock, Enum, FcntlArg, Fd, Flags, Id, Int, Ioctl, IoctlArg, Long, LongFlags, MapFlags,
    Mem, Mode, OpenMode, Pad, Ptr, Signo, Size, SockOpt, SockType, Uint,
};
use crate::kind::Shape::{
    Bytes, Dirents, FdSet, Iov, Mib, Msg, One, Polls, Rows, Sockaddr, Str, Strs, Value,
};
use crate::kind::When::{Both, In, Out};
use crate::kind::{Arg, Count, Family, Kind, Returns, Shape, Show, Signature};
use crate::{names, records};
use lwp_abi::event::{Kevent, Kevent100};
use lwp_abi::fs::{Statvfs, Statvfs90};
use lwp_abi::nr;
use lwp_abi::socket::Mmsghdr;
use lwp_abi::time::{Timespec, Timeval};

/// The name of a file, or another string the guest passes.
const STR: Kind = Mem(In, Str);
/// Addresses of strings.
const STRS: Kind = Mem(In, Strs);
/// An address of a socket that comes back, with its length in the next argument but n.
const fn sockaddr_out(len: usize) -> Kind {
    Mem(Out, Sockaddr(At32(len)))
}

/// A record that the guest passes.
const fn from(show: Show) -> Kind {
    Mem(In, One(show))
}

/// A record that the guest gets.
const fn to(show: Show) -> Kind {
    Mem(Out, One(show))
}

/// So many records of type `T`.
const fn rows<T>(show: Show, count: Count) -> Shape {
    Rows(show, size_of::<T>() as u64, count)
}

macro_rules! calls {
    ($($family:ident {
        $($number:literal $name:literal ($($arg:ident: $kind:expr),* $(,)?) $($returns:ident)?;)*
    })*) => {
        static CALLS: &[Signature] = &[$($(Signature {
            number: $number,
            name: $name,
            family: Family::$family,
            args: &[$(Arg { name: stringify!($arg), kind: $kind },)*],
            returns: calls!(@returns $($returns)?),
        },)*)*];
    };
    (@returns) => { Returns::Number };
    (@returns $returns:ident) => { Returns::$returns };
}

/// Where in [`CALLS`] the call of a number is, plus one.
static BY_NUMBER: [u16; nr::SYS_NSYSENT as usize] = {
    let mut by_number = [0; nr::SYS_NSYSENT as usize];
    let mut at = 0;
    let mut place = 0;
    while at < CALLS.len() {
        place += 1;
        by_number[CALLS[at].number as usize] = place;
        at += 1;
    }
    by_number
};

/// All signatures.
pub fn all() -> &'static [Signature] {
    CALLS
}

/// The signature of the call with this number.
pub fn signature(number: u16) -> Option<&'static Signature> {
    let place = *BY_NUMBER.get(usize::from(number))?;
    CALLS.get(usize::from(place).checked_sub(1)?)
}

calls! {
    File {
        5 "open" (path: STR, flags: Flags(names::OPEN), mode: OpenMode);
        9 "link" (path: STR, link: STR);
        10 "unlink" (path: STR);
        12 "chdir" (path: STR);
        15 "chmod" (path: STR, mode: Mode);
        16 "chown" (path: STR, uid: Id, gid: Id);
        33 "access" (path: STR, flags: Flags(names::ACCESS));
        34 "chflags" (path: STR, flags: LongFlags(names::FILE));
        56 "revoke" (path: STR);
        57 "symlink" (path: STR, link: STR);
        58 "readlink" (path: STR, buf: Mem(Out, Bytes(Returned)), count: Size);
        61 "chroot" (path: STR);
        128 "rename" (from: STR, to: STR);
        132 "mkfifo" (path: STR, mode: Mode);
        136 "mkdir" (path: STR, mode: Mode);
        137 "rmdir" (path: STR);
        191 "pathconf" (path: STR, name: Enum(names::PATHCONF));
        200 "truncate" (path: STR, pad: Pad, length: Long);
        205 "undelete" (path: STR);
        270 "__posix_rename" (from: STR, to: STR);
        274 "lchmod" (path: STR, mode: Mode);
        275 "lchown" (path: STR, uid: Id, gid: Id);
        283 "__posix_chown" (path: STR, uid: Id, gid: Id);
        285 "__posix_lchown" (path: STR, uid: Id, gid: Id);
        296 "__getcwd" (bufp: Mem(Out, Str), length: Size);
        304 "lchflags" (path: STR, flags: LongFlags(names::FILE));
        357 "compat_90_statvfs1" (path: STR, buf: to(records::statvfs90), flags: Enum(names::STWAIT));
        420 "__utimes50" (path: STR, tptr: Mem(In, rows::<Timeval>(records::timeval, Fixed(2))));
        424 "__lutimes50" (path: STR, tptr: Mem(In, rows::<Timeval>(records::timeval, Fixed(2))));
        439 "__stat50" (path: STR, ub: to(records::stat));
        441 "__lstat50" (path: STR, ub: to(records::stat));
        450 "__mknod50" (path: STR, mode: Mode, dev: Size);
        457 "linkat" (fd1: AtFd, name1: STR, fd2: AtFd, name2: STR, flags: Flags(names::AT));
        458 "renameat" (fromfd: AtFd, from: STR, tofd: AtFd, to: STR);
        459 "mkfifoat" (fd: AtFd, path: STR, mode: Mode);
        460 "mknodat" (fd: AtFd, path: STR, mode: Mode, pad: Pad, dev: Size);
        461 "mkdirat" (fd: AtFd, path: STR, mode: Mode);
        462 "faccessat" (fd: AtFd, path: STR, amode: Flags(names::ACCESS), flag: Flags(names::AT));
        463 "fchmodat" (fd: AtFd, path: STR, mode: Mode, flag: Flags(names::AT));
        464 "fchownat" (fd: AtFd, path: STR, owner: Id, group: Id, flag: Flags(names::AT));
        466 "fstatat" (fd: AtFd, path: STR, buf: to(records::stat), flag: Flags(names::AT));
        467 "utimensat" (
            fd: AtFd, path: STR, tptr: Mem(In, rows::<Timespec>(records::utime, Fixed(2))), flag: Flags(names::AT)
        );
        468 "openat" (fd: AtFd, path: STR, oflags: Flags(names::OPEN), mode: OpenMode);
        469 "readlinkat" (fd: AtFd, path: STR, buf: Mem(Out, Bytes(Returned)), bufsize: Size);
        470 "symlinkat" (path1: STR, fd: AtFd, path2: STR);
        471 "unlinkat" (fd: AtFd, path: STR, flag: Flags(names::AT));
        484 "__statvfs190" (path: STR, buf: to(records::statvfs), flags: Enum(names::STWAIT));
        487 "__acl_get_link" (path: STR, type: Int, aclp: Ptr);
        488 "__acl_set_link" (path: STR, type: Int, aclp: Ptr);
        489 "__acl_delete_link" (path: STR, type: Int);
        490 "__acl_aclcheck_link" (path: STR, type: Int, aclp: Ptr);
        491 "__acl_get_file" (path: STR, type: Int, aclp: Ptr);
        492 "__acl_set_file" (path: STR, type: Int, aclp: Ptr);
        495 "__acl_delete_file" (path: STR, type: Int);
        497 "__acl_aclcheck_file" (path: STR, type: Int, aclp: Ptr);
        499 "lpathconf" (path: STR, name: Enum(names::PATHCONF));
        375 "setxattr" (path: STR, name: STR, value: Mem(In, Bytes(ArgN(3))), size: Size, flags: Int);
        376 "lsetxattr" (path: STR, name: STR, value: Mem(In, Bytes(ArgN(3))), size: Size, flags: Int);
        378 "getxattr" (path: STR, name: STR, value: Mem(Out, Bytes(Returned)), size: Size);
        379 "lgetxattr" (path: STR, name: STR, value: Mem(Out, Bytes(Returned)), size: Size);
        381 "listxattr" (path: STR, list: Mem(Out, Bytes(Returned)), size: Size);
        382 "llistxattr" (path: STR, list: Mem(Out, Bytes(Returned)), size: Size);
        384 "removexattr" (path: STR, name: STR);
        385 "lremovexattr" (path: STR, name: STR);
    }
    Desc {
        3 "read" (fd: Fd, buf: Mem(Out, Bytes(Returned)), nbyte: Size);
        4 "write" (fd: Fd, buf: Mem(In, Bytes(ArgN(2))), nbyte: Size);
        6 "close" (fd: Fd);
        13 "fchdir" (fd: Fd);
        35 "fchflags" (fd: Fd, flags: LongFlags(names::FILE));
        41 "dup" (fd: Fd);
        42 "pipe" () Pair;
        54 "ioctl" (fd: Fd, com: Ioctl, data: IoctlArg);
        90 "dup2" (from: Fd, to: Fd);
        92 "fcntl" (fd: Fd, cmd: Enum(names::FCNTL), arg: FcntlArg) Fcntl;
        95 "fsync" (fd: Fd);
        120 "readv" (fd: Fd, iovp: Mem(Out, Iov(IntN(2))), iovcnt: Int);
        121 "writev" (fd: Fd, iovp: Mem(In, Iov(IntN(2))), iovcnt: Int);
        123 "fchown" (fd: Fd, uid: Id, gid: Id);
        124 "fchmod" (fd: Fd, mode: Mode);
        131 "flock" (fd: Fd, how: Flags(names::FLOCK));
        173 "pread" (fd: Fd, buf: Mem(Out, Bytes(Returned)), nbyte: Size, pad: Pad, offset: Long);
        174 "pwrite" (fd: Fd, buf: Mem(In, Bytes(ArgN(2))), nbyte: Size, pad: Pad, offset: Long);
        192 "fpathconf" (fd: Fd, name: Enum(names::PATHCONF));
        199 "lseek" (fd: Fd, pad: Pad, offset: Long, whence: Enum(names::SEEK));
        201 "ftruncate" (fd: Fd, pad: Pad, length: Long);
        241 "fdatasync" (fd: Fd);
        284 "__posix_fchown" (fd: Fd, uid: Id, gid: Id);
        289 "preadv" (fd: Fd, iovp: Mem(Out, Iov(IntN(2))), iovcnt: Int, pad: Pad, offset: Long);
        290 "pwritev" (fd: Fd, iovp: Mem(In, Iov(IntN(2))), iovcnt: Int, pad: Pad, offset: Long);
        297 "fchroot" (fd: Fd);
        354 "fsync_range" (fd: Fd, flags: Flags(names::FSYNC), start: Long, length: Long);
        358 "compat_90_fstatvfs1" (fd: Fd, buf: to(records::statvfs90), flags: Enum(names::STWAIT));
        390 "__getdents30" (fd: Fd, buf: Mem(Out, Dirents(Returned)), count: Size);
        416 "__posix_fadvise50" (fd: Fd, pad: Pad, offset: Long, len: Long, advice: Enum(names::FADVICE));
        423 "__futimes50" (fd: Fd, tptr: Mem(In, rows::<Timeval>(records::timeval, Fixed(2))));
        440 "__fstat50" (fd: Fd, sb: to(records::stat));
        453 "pipe2" (fildes: Mem(Out, rows::<i32>(records::item, Fixed(2))), flags: Flags(names::NEW_FD));
        454 "dup3" (from: Fd, to: Fd, flags: Flags(names::NEW_FD));
        472 "futimens" (fd: Fd, tptr: Mem(In, rows::<Timespec>(records::utime, Fixed(2))));
        479 "posix_fallocate" (fd: Fd, pad: Pad, pos: Long, len: Long);
        480 "fdiscard" (fd: Fd, pad: Pad, pos: Long, len: Long);
        485 "__fstatvfs190" (fd: Fd, buf: to(records::statvfs), flags: Enum(names::STWAIT));
        493 "__acl_get_fd" (filedes: Fd, type: Int, aclp: Ptr);
        494 "__acl_set_fd" (filedes: Fd, type: Int, aclp: Ptr);
        496 "__acl_delete_fd" (filedes: Fd, type: Int);
        498 "__acl_aclcheck_fd" (filedes: Fd, type: Int, aclp: Ptr);
        500 "memfd_create" (name: STR, flags: Flags(names::MEMFD));
        505 "__dup3100" (from: Fd, to: Fd, flags: Flags(names::NEW_FD));
    }
    Lwp {
        307 "getcontext" (ucp: to(records::ucontext));
        308 "setcontext" (ucp: from(records::ucontext));
        309 "_lwp_create" (
            ucp: from(records::ucontext), flags: LongFlags(names::LWP), new_lwp: to(records::int)
        );
        310 "_lwp_exit" () Never;
        311 "_lwp_self" ();
        312 "_lwp_wait" (wait_for: Int, departed: to(records::int));
        313 "_lwp_suspend" (target: Int);
        314 "_lwp_continue" (target: Int);
        315 "_lwp_wakeup" (target: Int);
        316 "_lwp_getprivate" () Ptr;
        317 "_lwp_setprivate" (ptr: Ptr) Nothing;
        318 "_lwp_kill" (target: Int, signo: Signo);
        319 "_lwp_detach" (target: Int);
        320 "compat_50__lwp_park" (ts: Ptr, unpark: Int, hint: Ptr, unparkhint: Ptr);
        321 "_lwp_unpark" (target: Int, hint: Ptr);
        322 "_lwp_unpark_all" (targets: Mem(In, rows::<i32>(records::item, ArgN(1))), ntargets: Size, hint: Ptr);
        323 "_lwp_setname" (target: Int, name: STR);
        324 "_lwp_getname" (target: Int, name: Mem(Out, Str), len: Size);
        325 "_lwp_ctl" (features: Flags(names::LWPCTL), address: to(records::pointer));
        343 "rasctl" (addr: Ptr, len: Size, op: Enum(names::RAS));
        346 "_sched_setparam" (
            pid: Int, lid: Int, policy: Enum(names::SCHED), params: from(records::sched_param)
        );
        347 "_sched_getparam" (pid: Int, lid: Int, policy: to(records::policy), params: to(records::sched_param));
        348 "_sched_setaffinity" (pid: Int, lid: Int, size: Size, cpuset: Mem(In, FdSet(Fixed(256))));
        349 "_sched_getaffinity" (pid: Int, lid: Int, size: Size, cpuset: Mem(Out, FdSet(Fixed(256))));
        350 "sched_yield" ();
        351 "_sched_protect" (priority: Int);
        434 "compat_60__lwp_park" (ts: from(records::timespec), unpark: Int, hint: Ptr, unparkhint: Ptr);
        478 "___lwp_park60" (
            clock_id: Clock, flags: Flags(names::TIMER), ts: from(records::timespec), unpark: Int, hint: Ptr,
            unparkhint: Ptr
        );
        166 "__futex" (uaddr: Ptr, op: Int, val: Int, timeout: Ptr, uaddr2: Ptr, val2: Int, val3: Int);
        167 "__futex_set_robust_list" (head: Ptr, len: Size);
        168 "__futex_get_robust_list" (lwpid: Int, headp: to(records::pointer), lenp: to(records::word));
    }
    Process {
        1 "exit" (rval: Int) Never;
        2 "fork" ();
        20 "getpid" ();
        23 "setuid" (uid: Id);
        24 "getuid" ();
        25 "geteuid" ();
        26 "ptrace" (req: Int, pid: Int, addr: Ptr, data: Int);
        39 "getppid" ();
        43 "getegid" ();
        47 "getgid" ();
        49 "__getlogin" (namebuf: Mem(Out, Str), namelen: Size);
        50 "__setlogin" (namebuf: STR);
        59 "execve" (path: STR, argp: STRS, envp: STRS);
        60 "umask" (newmask: Mode) Mode;
        66 "vfork" ();
        79 "getgroups" (gidsetsize: Int, gidset: Mem(Out, rows::<i32>(records::item, Returned)));
        80 "setgroups" (gidsetsize: Int, gidset: Mem(In, rows::<i32>(records::item, IntN(0))));
        81 "getpgrp" ();
        82 "setpgid" (pid: Int, pgid: Int);
        96 "setpriority" (which: Enum(names::PRIO), who: Int, prio: Int);
        100 "getpriority" (which: Enum(names::PRIO), who: Int);
        126 "setreuid" (ruid: Id, euid: Id);
        127 "setregid" (rgid: Id, egid: Id);
        147 "setsid" ();
        181 "setgid" (gid: Id);
        182 "setegid" (gid: Id);
        183 "seteuid" (uid: Id);
        194 "getrlimit" (which: Enum(names::RLIMIT), rlp: to(records::rlimit));
        195 "setrlimit" (which: Enum(names::RLIMIT), rlp: from(records::rlimit));
        207 "getpgid" (pid: Int);
        282 "__vfork14" ();
        286 "getsid" (pid: Int);
        305 "issetugid" ();
        445 "__getrusage50" (who: Enum(names::RUSAGE), rusage: to(records::rusage));
        449 "__wait450" (
            pid: Int, status: to(records::status), options: Flags(names::WAIT), rusage: to(records::rusage)
        );
        465 "fexecve" (fd: Fd, argp: STRS, envp: STRS);
        474 "posix_spawn" (
            pid: to(records::int), path: STR, file_actions: Ptr, attrp: Ptr, argv: STRS, envp: STRS
        );
        481 "wait6" (
            idtype: Enum(names::IDTYPE), id: Int, status: to(records::status), options: Flags(names::WAIT),
            wru: to(records::wrusage), info: to(records::siginfo)
        );
    }
    Signal {
        37 "kill" (pid: Int, signum: Signo);
        245 "sigqueueinfo" (pid: Int, info: from(records::siginfo));
        281 "__sigaltstack14" (nss: from(records::stack), oss: to(records::stack));
        292 "__sigpending14" (set: to(records::sigset));
        293 "__sigprocmask14" (how: Enum(names::SIGHOW), set: from(records::sigset), oset: to(records::sigset));
        294 "__sigsuspend14" (set: from(records::sigset));
        340 "__sigaction_sigtramp" (
            signum: Signo, nsa: from(records::sigaction), osa: to(records::sigaction), tramp: Ptr, vers: Int
        );
        431 "____sigtimedwait50" (
            set: from(records::sigset), info: to(records::siginfo), timeout: from(records::timespec)
        );
    }
    Memory {
        17 "break" (nsize: Ptr);
        73 "munmap" (addr: Ptr, len: Size);
        74 "mprotect" (addr: Ptr, len: Size, prot: Flags(names::PROT));
        75 "madvise" (addr: Ptr, len: Size, behav: Enum(names::MADVICE));
        78 "mincore" (addr: Ptr, len: Size, vec: Ptr);
        197 "mmap" (
            addr: Ptr, len: Size, prot: Flags(names::PROT), flags: MapFlags, fd: Fd, pad: Pad, pos: Long
        ) Ptr;
        203 "mlock" (addr: Ptr, len: Size);
        204 "munlock" (addr: Ptr, len: Size);
        242 "mlockall" (flags: Flags(names::MLOCKALL));
        243 "munlockall" ();
        273 "minherit" (addr: Ptr, len: Size, inherit: Enum(names::MINHERIT));
        277 "__msync13" (addr: Ptr, len: Size, flags: Flags(names::MSYNC));
        411 "mremap" (
            old_address: Ptr, old_size: Size, new_address: Ptr, new_size: Size, flags: MapFlags
        ) Ptr;
    }
    Network {
        27 "recvmsg" (s: Fd, msg: Mem(Out, Msg), flags: Flags(names::MSG));
        28 "sendmsg" (s: Fd, msg: Mem(In, Msg), flags: Flags(names::MSG));
        29 "recvfrom" (
            s: Fd, buf: Mem(Out, Bytes(Returned)), len: Size, flags: Flags(names::MSG), from: sockaddr_out(5),
            fromlenaddr: to(records::int)
        );
        30 "accept" (s: Fd, name: sockaddr_out(2), anamelen: to(records::int));
        31 "getpeername" (fdes: Fd, asa: sockaddr_out(2), alen: to(records::int));
        32 "getsockname" (fdes: Fd, asa: sockaddr_out(2), alen: to(records::int));
        98 "connect" (s: Fd, name: Mem(In, Sockaddr(IntN(2))), namelen: Uint);
        104 "bind" (s: Fd, name: Mem(In, Sockaddr(IntN(2))), namelen: Uint);
        105 "setsockopt" (
            s: Fd, level: Enum(names::SOL), name: SockOpt, val: Mem(In, Value(IntN(4))), valsize: Uint
        );
        106 "listen" (s: Fd, backlog: Int);
        118 "getsockopt" (
            s: Fd, level: Enum(names::SOL), name: SockOpt, val: Mem(Out, Value(At32(4))),
            avalsize: to(records::int)
        );
        133 "sendto" (
            s: Fd, buf: Mem(In, Bytes(ArgN(2))), len: Size, flags: Flags(names::MSG),
            to: Mem(In, Sockaddr(IntN(5))), tolen: Uint
        );
        134 "shutdown" (s: Fd, how: Enum(names::SHUT));
        135 "socketpair" (
            domain: Enum(names::DOMAIN), type: SockType, protocol: Enum(names::PROTOCOL),
            rsv: Mem(Out, rows::<i32>(records::item, Fixed(2)))
        );
        394 "__socket30" (domain: Enum(names::DOMAIN), type: SockType, protocol: Enum(names::PROTOCOL));
        456 "paccept" (
            s: Fd, name: sockaddr_out(2), anamelen: to(records::int), mask: from(records::sigset), flags: Flags(names::SOCK_FLAGS)
        );
        475 "recvmmsg" (
            s: Fd, mmsg: Mem(Out, rows::<Mmsghdr>(records::mmsghdr_received, Returned)), vlen: Uint,
            flags: Flags(names::MSG), timeout: from(records::timespec)
        );
        476 "sendmmsg" (
            s: Fd, mmsg: Mem(In, rows::<Mmsghdr>(records::mmsghdr, IntN(2))), vlen: Uint, flags: Flags(names::MSG)
        );
    }
    Time {
        177 "timerfd_create" (clock_id: Clock, flags: Flags(names::TIMERFD));
        178 "timerfd_settime" (
            fd: Fd, flags: Flags(names::TIMERFD_SET), new_value: from(records::itimerspec),
            old_value: to(records::itimerspec)
        );
        179 "timerfd_gettime" (fd: Fd, curr_value: to(records::itimerspec));
        235 "timer_create" (clock_id: Clock, evp: Ptr, timerid: to(records::int));
        236 "timer_delete" (timerid: Int);
        239 "timer_getoverrun" (timerid: Int);
        418 "__gettimeofday50" (tp: to(records::timeval), tzp: to(records::timezone));
        419 "__settimeofday50" (tv: from(records::timeval), tzp: from(records::timezone));
        425 "__setitimer50" (
            which: Enum(names::ITIMER), itv: from(records::itimerval), oitv: to(records::itimerval)
        );
        426 "__getitimer50" (which: Enum(names::ITIMER), itv: to(records::itimerval));
        427 "__clock_gettime50" (clock_id: Clock, tp: to(records::timespec));
        428 "__clock_settime50" (clock_id: Clock, tp: from(records::timespec));
        429 "__clock_getres50" (clock_id: Clock, tp: to(records::timespec));
        430 "__nanosleep50" (rqtp: from(records::timespec), rmtp: Ptr);
        446 "__timer_settime50" (
            timerid: Int, flags: Flags(names::TIMER), value: from(records::itimerspec),
            ovalue: to(records::itimerspec)
        );
        447 "__timer_gettime50" (timerid: Int, value: to(records::itimerspec));
        477 "clock_nanosleep" (clock_id: Clock, flags: Flags(names::TIMER), rqtp: from(records::timespec), rmtp: Ptr);
        482 "clock_getcpuclockid2" (idtype: Enum(names::IDTYPE), id: Int, clock_id: to(records::int));
    }
    Event {
        209 "poll" (fds: Mem(Both, Polls(IntN(1))), nfds: Uint, timeout: Int);
        267 "eventfd" (val: Uint, flags: Flags(names::EVENTFD));
        344 "kqueue" ();
        417 "__select50" (
            nd: Int, in: Mem(Both, FdSet(IntN(0))), ou: Mem(Both, FdSet(IntN(0))), ex: Mem(Both, FdSet(IntN(0))),
            tv: from(records::timeval)
        );
        435 "__kevent50" (
            fd: Fd, changelist: Mem(In, rows::<Kevent>(records::kevent, ArgN(2))), nchanges: Size,
            eventlist: Mem(Out, rows::<Kevent>(records::kevent, Returned)), nevents: Size,
            timeout: from(records::timespec)
        );
        436 "__pselect50" (
            nd: Int, in: Mem(Both, FdSet(IntN(0))), ou: Mem(Both, FdSet(IntN(0))), ex: Mem(Both, FdSet(IntN(0))),
            ts: from(records::timespec), mask: from(records::sigset)
        );
        437 "__pollts50" (
            fds: Mem(Both, Polls(IntN(1))), nfds: Uint, ts: from(records::timespec),
            mask: from(records::sigset)
        );
        455 "kqueue1" (flags: Flags(names::NEW_FD));
        501 "__kevent100" (
            fd: Fd, changelist: Mem(In, rows::<Kevent100>(records::kevent100, ArgN(2))), nchanges: Size,
            eventlist: Mem(Out, rows::<Kevent100>(records::kevent100, Returned)), nevents: Size,
            timeout: from(records::timespec)
        );
    }
    System {
        0 "syscall" ();
        21 "compat_40_mount" (type: STR, path: STR, flags: Int, data: Ptr);
        22 "unmount" (path: STR, flags: Int);
        36 "sync" () Nothing;
        45 "ktrace" (fname: STR, ops: Int, facs: Int, pid: Int);
        51 "acct" (path: STR);
        91 "getrandom" (buf: Mem(Out, Bytes(Returned)), buflen: Size, flags: Flags(names::RANDOM));
        165 "sysarch" (op: Enum(names::SYSARCH), parms: Ptr);
        198 "__syscall" ();
        202 "__sysctl" (
            name: Mem(In, Mib(IntN(1))), namelen: Uint, oldv: Mem(Out, Value(At64(3))), oldlenp: to(records::word),
            newv: Mem(In, Value(ArgN(5))), newlen: Size
        );
        208 "reboot" (opt: Int, bootstr: STR);
        246 "modctl" (cmd: Int, arg: Ptr);
        288 "fktrace" (fd: Fd, ops: Int, facs: Int, pid: Int);
        306 "utrace" (label: STR, addr: Mem(In, Bytes(ArgN(2))), len: Size);
        356 "compat_90_getvfsstat" (
            buf: Mem(Out, rows::<Statvfs90>(records::statvfs90, Returned)), bufsize: Size, flags: Enum(names::STWAIT)
        );
        360 "extattrctl" (path: STR, cmd: Int, filename: STR, attrnamespace: Int, attrname: STR);
        395 "__getfh30" (fname: STR, fhp: Ptr, fh_size: to(records::word));
        396 "__fhopen40" (fhp: Ptr, fh_size: Size, flags: Flags(names::OPEN));
        410 "__mount50" (type: STR, path: STR, flags: Int, data: Ptr, data_len: Size);
        451 "__fhstat50" (fhp: Ptr, fh_size: Size, sb: to(records::stat));
        473 "__quotactl" (path: STR, args: Ptr);
        483 "__getvfsstat90" (
            buf: Mem(Out, rows::<Statvfs>(records::statvfs, Returned)), bufsize: Size, flags: Enum(names::STWAIT)
        );
        486 "__fhstatvfs190" (fhp: Ptr, fh_size: Size, buf: to(records::statvfs), flags: Enum(names::STWAIT));
    }
    Misc {
        55 "compat_12_oreboot" (opt: Int);
        85 "compat_12_oswapon" (name: STR);
        88 "compat_43_osethostname" (hostname: STR, len: Uint);
        122 "compat_50_settimeofday" (tv: Ptr, tzp: from(records::timezone));
        143 "compat_43_osethostid" (hostid: Int);
        161 "compat_30_getfh" (fname: STR, fhp: Ptr);
        163 "compat_09_osetdomainname" (domainname: STR, len: Int);
        298 "compat_30_fhopen" (fhp: Ptr, flags: Flags(names::OPEN));
        299 "compat_30_fhstat" (fhp: Ptr, sb: Ptr);
        300 "compat_20_fhstatfs" (fhp: Ptr, buf: Ptr);
        359 "compat_30_fhstatvfs1" (fhp: Ptr, buf: Ptr, flags: Enum(names::STWAIT));
        391 "(ignored old posix_fadvise)" ();
        392 "compat_30___fhstat30" (fhp: Ptr, sb: Ptr);
        397 "compat_90_fhstatvfs1" (fhp: Ptr, fh_size: Size, buf: Ptr, flags: Enum(names::STWAIT));
        398 "compat_50___fhstat40" (fhp: Ptr, fh_size: Size, sb: Ptr);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lwp_syscalls::table::{Support, support};

    #[test]
    fn every_call_that_is_implemented_has_a_signature() {
        let missing: Vec<_> = support()
            .filter(|row| row.support != Support::None && signature(row.number).is_none())
            .map(|row| (row.number, row.name))
            .collect();
        assert_eq!(missing, []);
    }

    #[test]
    fn numbers_and_names_are_the_kernels_own() {
        for call in all() {
            assert_eq!(nr::name(call.number), Some(call.name));
            let found = signature(call.number).unwrap();
            assert_eq!(found.name, call.name, "two rows for {}", call.number);
        }
        assert_eq!(
            all().len(),
            BY_NUMBER.iter().filter(|&&place| place != 0).count()
        );
    }

    #[test]
    fn lengths_are_found_in_arguments_there_are() {
        for call in all() {
            assert!(call.args.len() <= nr::SYS_MAXSYSARGS, "{}", call.name);
            for arg in call.args {
                let Mem(_, shape) = arg.kind else { continue };
                let count = match shape {
                    Bytes(count)
                    | Value(count)
                    | Dirents(count)
                    | Iov(count)
                    | Sockaddr(count)
                    | FdSet(count)
                    | Polls(count)
                    | Mib(count)
                    | Rows(_, _, count) => count,
                    One(_) | Str | Strs | Msg => continue,
                };
                let at = match count {
                    Fixed(_) | Returned => continue,
                    Count::Arg(at) | Count::Int(at) | At32(at) | At64(at) => at,
                };
                assert!(at < call.args.len(), "{}: {}", call.name, arg.name);
            }
        }
    }
}
