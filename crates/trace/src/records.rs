//! The records that calls take and give, by field.
//!
//! Each function shows the record at an address, or the address if there is nothing. Fields that hardly
//! anybody asks for are left out, and dots say so.

use crate::dump::{Dump, ROWS};
use crate::names;
use core::fmt;
use lwp_abi::event::{EVFILT_SIGNAL, Kevent, Kevent100};
use lwp_abi::fs::{DirentHeader, Flock, Stat, Statvfs, Statvfs90, UTIME_NOW, UTIME_OMIT};
use lwp_abi::poll::{NFDBITS, Pollfd};
use lwp_abi::resource::{RLIM_INFINITY, Rlimit, Rusage};
use lwp_abi::sched::SchedParam;
use lwp_abi::signal::{SIG_DFL, SIG_IGN, SigSet, Sigaction, Siginfo, Signo, StackT};
use lwp_abi::socket::{
    ADDRESS_FAMILIES, AF_INET, AF_INET6, AF_LOCAL, Mmsghdr, Msghdr, SOCKADDR_STORAGE_SIZE,
};
use lwp_abi::table::name_of;
use lwp_abi::termios::{Termios, Winsize};
use lwp_abi::time::{Itimerspec, Itimerval, Timespec, Timeval, Timezone};
use lwp_abi::ucontext::{UcFlags, Ucontext};
use lwp_abi::uio::Iovec;
use lwp_abi::wait::{_WCONTINUED, _WSTOPPED, WCOREFLAG, Wrusage};

/// `struct timespec`.
pub(crate) fn timespec(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, time: Timespec| d.put(format_args!("{}", Ts(time))));
}

/// `struct timespec` of utimensat(2), which has two special values.
pub(crate) fn utime(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, time: Timespec| match time.tv_nsec {
        UTIME_NOW => d.push("UTIME_NOW"),
        UTIME_OMIT => d.push("UTIME_OMIT"),
        _ => d.put(format_args!("{}", Ts(time))),
    });
}

/// `struct timeval`.
pub(crate) fn timeval(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, time: Timeval| d.put(format_args!("{}", Tv(time))));
}

/// `struct timezone`.
pub(crate) fn timezone(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, zone: Timezone| {
        d.put(format_args!(
            "{{tz_minuteswest={}, tz_dsttime={}}}",
            zone.tz_minuteswest, zone.tz_dsttime
        ));
    });
}

/// `struct itimerval`.
pub(crate) fn itimerval(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, timer: Itimerval| {
        d.put(format_args!(
            "{{it_interval={}, it_value={}}}",
            Tv(timer.it_interval),
            Tv(timer.it_value)
        ));
    });
}

/// `struct itimerspec`.
pub(crate) fn itimerspec(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, timer: Itimerspec| {
        d.put(format_args!(
            "{{it_interval={}, it_value={}}}",
            Ts(timer.it_interval),
            Ts(timer.it_value)
        ));
    });
}

/// `struct stat`.
pub(crate) fn stat(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, stat: Stat| {
        d.put(format_args!(
            "{{st_mode={}, st_ino={}, st_nlink={}, st_uid={}, st_gid={}, st_size={}, ...}}",
            names::mode(stat.st_mode),
            stat.st_ino,
            stat.st_nlink,
            stat.st_uid,
            stat.st_gid,
            stat.st_size
        ));
    });
}

/// `struct statvfs`.
pub(crate) fn statvfs(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, vfs: Statvfs| {
        show_statvfs(
            d,
            vfs.f_flag,
            [vfs.f_frsize, vfs.f_blocks, vfs.f_bfree],
            &vfs.f_fstypename,
        );
    });
}

/// `struct statvfs` of NetBSD 3 to 9.
pub(crate) fn statvfs90(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, vfs: Statvfs90| {
        show_statvfs(
            d,
            vfs.f_flag,
            [vfs.f_frsize, vfs.f_blocks, vfs.f_bfree],
            &vfs.f_fstypename,
        );
    });
}

fn show_statvfs(d: &mut Dump<'_>, flags: u64, sizes: [u64; 3], kind: &[u8]) {
    let [frsize, blocks, bfree] = sizes;
    d.put(format_args!(
        "{{f_flag={}, f_frsize={frsize}, f_blocks={blocks}, f_bfree={bfree}, f_fstypename=",
        names::MOUNT.show(flags)
    ));
    d.name(kind);
    d.push(", ...}");
}

/// `struct rlimit`.
pub(crate) fn rlimit(d: &mut Dump<'_>, at: u64) {
    let show = |limit| match limit {
        RLIM_INFINITY => "RLIM_INFINITY".to_owned(),
        limit => limit.to_string(),
    };
    d.record(at, |d, limit: Rlimit| {
        d.put(format_args!(
            "{{rlim_cur={}, rlim_max={}}}",
            show(limit.rlim_cur),
            show(limit.rlim_max)
        ));
    });
}

/// `struct rusage`.
pub(crate) fn rusage(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, used: Rusage| show_rusage(d, &used));
}

/// `struct wrusage`.
pub(crate) fn wrusage(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, used: Wrusage| {
        d.push("{wru_self=");
        show_rusage(d, &used.wru_self);
        d.push(", ...}");
    });
}

fn show_rusage(d: &mut Dump<'_>, used: &Rusage) {
    d.put(format_args!(
        "{{ru_utime={}, ru_stime={}, ru_maxrss={}, ...}}",
        Tv(used.ru_utime),
        Tv(used.ru_stime),
        used.ru_maxrss
    ));
}

/// The status word of wait(2).
pub(crate) fn status(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, status: i32| {
        let second = status >> 8 & 0xff;
        d.put(format_args!(
            "[{}]",
            match (status, status & 0x7f) {
                (_WCONTINUED, _) => "WIFCONTINUED(s)".to_owned(),
                (_, _WSTOPPED) =>
                    format!("WIFSTOPPED(s) && WSTOPSIG(s) == {}", names::signo(second)),
                (_, 0) => format!("WIFEXITED(s) && WEXITSTATUS(s) == {second}"),
                (_, signal) => {
                    let core = if status & WCOREFLAG == 0 {
                        ""
                    } else {
                        " && WCOREDUMP(s)"
                    };
                    format!(
                        "WIFSIGNALED(s) && WTERMSIG(s) == {}{core}",
                        names::signo(signal)
                    )
                }
            }
        ));
    });
}

/// `sigset_t`.
pub(crate) fn sigset(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, set: SigSet| d.sigset(set));
}

/// `struct sigaction`.
pub(crate) fn sigaction(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, act: Sigaction| {
        d.push("{sa_handler=");
        match act.sa_handler {
            SIG_DFL => d.push("SIG_DFL"),
            SIG_IGN => d.push("SIG_IGN"),
            handler => d.address(handler),
        }
        d.push(", sa_mask=");
        d.sigset(act.sa_mask);
        d.put(format_args!(
            ", sa_flags={}}}",
            names::SA.show(act.sa_flags.into())
        ));
    });
}

/// `stack_t`.
pub(crate) fn stack(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, stack: StackT| show_stack(d, &stack));
}

fn show_stack(d: &mut Dump<'_>, stack: &StackT) {
    let flags = names::STACK.show(stack.ss_flags.cast_unsigned().into());
    d.push("{ss_sp=");
    d.address(stack.ss_sp);
    d.put(format_args!(
        ", ss_size={}, ss_flags={flags}}}",
        stack.ss_size
    ));
}

/// `siginfo_t`.
pub(crate) fn siginfo(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, info: Siginfo| {
        let code = match names::SI
            .find(info.si_code.into())
            .filter(|_| info.si_code <= 0)
        {
            Some(name) => name.to_owned(),
            None => info.si_code.to_string(),
        };
        d.put(format_args!(
            "{{si_signo={}, si_code={code}",
            names::signo(info.si_signo)
        ));
        if info.si_code <= 0 || info.si_signo == Signo::SIGCHLD.raw() {
            d.put(format_args!(
                ", si_pid={}, si_uid={}",
                info.pid(),
                info.uid()
            ));
        } else {
            d.put(format_args!(", si_addr={:#x}", info.addr()));
        }
        d.push("}");
    });
}

/// `ucontext_t`.
pub(crate) fn ucontext(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, uc: Ucontext| {
        let flags = uc.flags();
        d.put(format_args!(
            "{{uc_flags={}",
            names::UCONTEXT.show(uc.uc_flags.into())
        ));
        if flags.contains(UcFlags::SIGMASK) {
            d.push(", uc_sigmask=");
            d.sigset(uc.uc_sigmask);
        }
        if flags.contains(UcFlags::STACK) {
            d.push(", uc_stack=");
            show_stack(d, &uc.uc_stack);
        }
        if flags.contains(UcFlags::CPU) {
            let regs = &uc.uc_mcontext.gregs;
            d.put(format_args!(", rip={:#x}, rsp={:#x}", regs.rip, regs.rsp));
        }
        if flags.contains(UcFlags::TLSBASE) {
            d.put(format_args!(", tlsbase={:#x}", uc.uc_mcontext.tlsbase));
        }
        d.push(", ...}");
    });
}

/// The size of `struct pollfd`.
pub(crate) const POLLFD: u64 = size_of::<Pollfd>() as u64;

/// `struct pollfd`, before the call.
pub(crate) fn pollfd(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, poll: Pollfd| {
        let events = names::POLL.show(bits(poll.events));
        d.put(format_args!("{{fd={}, events={events}}}", poll.fd));
    });
}

/// `struct pollfd`, after it.
pub(crate) fn polled(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, poll: Pollfd| {
        let revents = names::POLL.show(bits(poll.revents));
        d.put(format_args!("{{fd={}, revents={revents}}}", poll.fd));
    });
}

fn bits(events: i16) -> u64 {
    events.cast_unsigned().into()
}

/// `struct kevent` up to NetBSD 10.
pub(crate) fn kevent(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, event: Kevent| show_kevent(d, &event.into()));
}

/// `struct kevent` since NetBSD 11.
pub(crate) fn kevent100(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, event: Kevent100| show_kevent(d, &event));
}

fn show_kevent(d: &mut Dump<'_>, event: &Kevent100) {
    let ident = match event.filter {
        EVFILT_SIGNAL => names::signo(i32::try_from(event.ident).unwrap_or(-1)),
        _ => event.ident.to_string(),
    };
    d.put(format_args!(
        "{{ident={ident}, filter={}, flags={}, fflags={}, data={}, udata=",
        names::EVFILT.show(event.filter.into()),
        names::EV.show(event.flags.into()),
        names::notes(event.filter, event.fflags),
        event.data
    ));
    d.address(event.udata);
    d.push("}");
}

/// `struct flock`.
pub(crate) fn flock(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, lock: Flock| {
        d.put(format_args!(
            "{{l_type={}, l_whence={}, l_start={}, l_len={}, l_pid={}}}",
            names::LOCK.show(lock.l_type.into()),
            names::SEEK.show(lock.l_whence.into()),
            lock.l_start,
            lock.l_len,
            lock.l_pid
        ));
    });
}

/// `struct sched_param`.
pub(crate) fn sched_param(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, param: SchedParam| {
        d.put(format_args!("{{sched_priority={}}}", param.sched_priority));
    });
}

/// An `int`.
pub(crate) fn int(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, value: i32| d.put(format_args!("[{value}]")));
}

/// An element of a row of `int`s.
pub(crate) fn item(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, value: i32| d.put(format_args!("{value}")));
}

/// A `size_t` or other word.
pub(crate) fn word(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, value: u64| d.put(format_args!("[{value}]")));
}

/// An address.
pub(crate) fn pointer(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, value: u64| {
        d.push("[");
        d.address(value);
        d.push("]");
    });
}

/// The class of an LWP.
pub(crate) fn policy(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, value: i32| {
        d.put(format_args!("[{}]", names::SCHED.show(value.into())));
    });
}

/// A value of `len` bytes: a number, if it has the size of one.
pub(crate) fn value(d: &mut Dump<'_>, at: u64, len: u64) {
    match len {
        4 => int(d, at),
        8 => word(d, at),
        len => d.bytes(at, len),
    }
}

/// Records of getdents(2), `len` bytes in all.
pub(crate) fn dirents(d: &mut Dump<'_>, at: u64, len: u64) {
    const HEADER: u64 = size_of::<DirentHeader>() as u64;
    if at == 0 {
        return d.address(at);
    }
    let mut done = 0;
    d.push("[");
    for index in 0..=ROWS {
        let comma = if index == 0 { "" } else { ", " };
        if done >= len {
            break;
        }
        d.push(comma);
        let place = at.wrapping_add(done);
        let Some(entry) = d.read::<DirentHeader>(place).filter(|_| index < ROWS) else {
            d.push("...");
            break;
        };
        let (number, kind, namlen) = (entry.d_fileno, entry.d_type, entry.d_namlen);
        d.put(format_args!(
            "{{d_fileno={number}, d_type={}, d_name=",
            names::DIRENT.show(kind.into())
        ));
        d.bytes(place.wrapping_add(HEADER), namlen.into());
        d.push("}");
        done += u64::from(entry.d_reclen).max(HEADER);
    }
    d.push("]");
}

/// `struct winsize`.
pub(crate) fn winsize(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, size: Winsize| {
        d.put(format_args!(
            "{{ws_row={}, ws_col={}, ...}}",
            size.ws_row, size.ws_col
        ));
    });
}

/// `struct termios`.
pub(crate) fn termios(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, modes: Termios| {
        d.put(format_args!(
            "{{c_iflag={}, c_oflag={}, c_lflag={}, ...}}",
            names::TTY_IN.show(modes.c_iflag.into()),
            names::TTY_OUT.show(modes.c_oflag.into()),
            names::TTY_LOCAL.show(modes.c_lflag.into())
        ));
    });
}

/// A set of descriptors below `count`.
pub(crate) fn fd_set(d: &mut Dump<'_>, at: u64, count: u64) {
    const WORD: u64 = NFDBITS as u64;
    let count = count.min(1024);
    if at == 0 {
        return d.address(at);
    }
    let mut found = Vec::new();
    for word in 0..count.div_ceil(WORD) {
        let Some(bits) = d.read::<u32>(at.wrapping_add(word * 4)) else {
            return d.address(at);
        };
        let fds = (0..WORD).filter(|bit| bits & 1 << bit != 0);
        found.extend(fds.map(|bit| word * WORD + bit).filter(|&fd| fd < count));
    }
    d.push("[");
    for (index, fd) in found.into_iter().enumerate() {
        let space = if index == 0 { "" } else { " " };
        d.put(format_args!("{space}{fd}"));
    }
    d.push("]");
}

/// Pieces of memory with `bytes` in all.
pub(crate) fn iov(d: &mut Dump<'_>, at: u64, count: u64, bytes: u64) {
    let left = core::cell::Cell::new(bytes);
    d.rows(at, 16, count, |d, at| {
        d.record(at, |d, piece: Iovec| {
            let len = piece.iov_len.min(left.get());
            left.set(left.get() - len);
            d.push("{iov_base=");
            d.bytes(piece.iov_base, len);
            d.put(format_args!(", iov_len={}}}", piece.iov_len));
        });
    });
}

/// An address of a socket, of `len` bytes.
pub(crate) fn sockaddr(d: &mut Dump<'_>, at: u64, len: u64) {
    let mut bytes = [0; SOCKADDR_STORAGE_SIZE];
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(bytes.len());
    if at == 0 || len < 2 || !d.fill(at, &mut bytes[..len]) {
        return d.address(at);
    }
    let family = bytes[1];
    let name = name_of(ADDRESS_FAMILIES, family.into());
    match name {
        Some(name) => d.put(format_args!("{{sa_family={name}")),
        None => d.put(format_args!("{{sa_family={family}?")),
    }
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    match family {
        AF_INET if len >= 8 => {
            let addr: [u8; 4] = core::array::from_fn(|index| bytes[4 + index]);
            let addr = core::net::Ipv4Addr::from(addr);
            d.put(format_args!(", sin_port={port}, sin_addr={addr}}}"));
        }
        AF_INET6 if len >= 24 => {
            let addr: [u8; 16] = core::array::from_fn(|index| bytes[8 + index]);
            let addr = core::net::Ipv6Addr::from(addr);
            d.put(format_args!(", sin6_port={port}, sin6_addr={addr}}}"));
        }
        AF_LOCAL => {
            d.push(", sun_path=");
            d.name(&bytes[2..len]);
            d.push("}");
        }
        _ => {
            d.push(", sa_data=");
            d.quoted(&bytes[2..len.min(16)], len <= 16);
            d.push("}");
        }
    }
}

/// `struct msghdr`, with `bytes` of data.
pub(crate) fn msghdr(d: &mut Dump<'_>, at: u64, bytes: u64) {
    d.record(at, |d, msg: Msghdr| show_msghdr(d, &msg, bytes));
}

/// `struct mmsghdr`, before the call.
pub(crate) fn mmsghdr(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, msg: Mmsghdr| {
        d.push("{msg_hdr=");
        show_msghdr(d, &msg.msg_hdr, u64::MAX);
        d.put(format_args!(", msg_len={}}}", msg.msg_len));
    });
}

/// `struct mmsghdr`, as it was received.
pub(crate) fn mmsghdr_received(d: &mut Dump<'_>, at: u64) {
    d.record(at, |d, msg: Mmsghdr| {
        d.push("{msg_hdr=");
        show_msghdr(d, &msg.msg_hdr, msg.msg_len.into());
        d.put(format_args!(", msg_len={}}}", msg.msg_len));
    });
}

fn show_msghdr(d: &mut Dump<'_>, msg: &Msghdr, bytes: u64) {
    d.push("{msg_name=");
    sockaddr(d, msg.msg_name, msg.msg_namelen.into());
    d.push(", msg_iov=");
    iov(
        d,
        msg.msg_iov,
        u64::try_from(msg.msg_iovlen).unwrap_or(0),
        bytes,
    );
    d.put(format_args!(
        ", msg_controllen={}, msg_flags={}}}",
        msg.msg_controllen,
        names::MSG.show(msg.msg_flags.into())
    ));
}

/// The addresses of strings, up to NULL.
pub(crate) fn strings(d: &mut Dump<'_>, at: u64) {
    if at == 0 {
        return d.address(at);
    }
    d.push("[");
    for index in 0..ROWS {
        let comma = if index == 0 { "" } else { ", " };
        match d.read::<u64>(at.wrapping_add(index * 8)) {
            Some(0) => return d.push("]"),
            Some(string) => {
                d.push(comma);
                d.string(string);
            }
            None => {
                d.push(comma);
                return d.push("?]");
            }
        }
    }
    d.push(", ...]");
}

struct Ts(Timespec);

impl fmt::Display for Ts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{{tv_sec={}, tv_nsec={}}}",
            self.0.tv_sec, self.0.tv_nsec
        )
    }
}

struct Tv(Timeval);

impl fmt::Display for Tv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{{tv_sec={}, tv_usec={}}}",
            self.0.tv_sec, self.0.tv_usec
        )
    }
}
