//! Representative calls, as people read them.

use crate::memory::{BASE, Piece};
use lwp_abi::errno::Errno;
use lwp_abi::event::{
    EV_ADD, EV_CLEAR, EVFILT_READ, EVFILT_VNODE, Kevent, NOTE_DELETE, NOTE_WRITE,
};
use lwp_abi::fs::{DirentHeader, Flock, Stat};
use lwp_abi::nr;
use lwp_abi::poll::Pollfd;
use lwp_abi::resource::{RLIM_INFINITY, Rlimit};
use lwp_abi::signal::{SA_RESTART, SA_SIGINFO, SigSet, Sigaction, Signo};
use lwp_abi::socket::{Msghdr, SockaddrIn};
use lwp_abi::time::{Timespec, Timeval};
use lwp_abi::uio::Iovec;
use lwp_abi::wait::WaitStatus;
use lwp_kernel::{Ended, Ret, SysResult};
use lwp_trace::decode::{Call, Decoded, Decoder};
use zerocopy::IntoBytes;

/// A word that holds an `int`.
fn int(value: i32) -> u64 {
    value.cast_unsigned().into()
}

fn enter(memory: &Piece, number: u16, args: &[u64]) -> Decoded {
    let mut regs = [0; 6];
    regs[..args.len().min(6)].copy_from_slice(&args[..args.len().min(6)]);
    // What has no room in registers lies above a return address.
    let mut stack = vec![0u64];
    stack.extend(args.iter().skip(6));
    let stack = memory.put(&stack[..]);
    let call = Call::new(memory, number.into(), regs, stack);
    Decoder {
        memory,
        strings: 32,
    }
    .enter(call)
}

fn leave(memory: &Piece, mut decoded: Decoded, result: SysResult) -> String {
    let shown = Decoder {
        memory,
        strings: 32,
    }
    .leave(&mut decoded, result);
    let head = decoded.head();
    let whole = decoded.whole();
    assert!(whole.starts_with(&head), "{head} does not begin {whole}");
    format!("{whole} = {}", shown.text)
}

/// The line of a call that has returned `value`.
fn line(memory: &Piece, number: u16, args: &[u64], value: u64) -> String {
    leave(memory, enter(memory, number, args), Ok(Ret(value, 0)))
}

#[test]
fn strings_are_quoted_and_cut() {
    let memory = Piece::default();
    let path = memory.put(&b"/tmp/a \"b\"\n\0"[..]);
    let args = [int(-100), path, 0x40_0201, 0o640];
    assert_eq!(
        line(&memory, nr::SYS_OPENAT, &args, 3),
        r#"openat(AT_FDCWD, "/tmp/a \"b\"\n", O_WRONLY|O_CLOEXEC|O_CREAT, 0640) = 3"#
    );
    let args = [path, 0, 0o777];
    assert_eq!(
        line(&memory, nr::SYS_OPEN, &args, 3),
        r#"open("/tmp/a \"b\"\n", O_RDONLY) = 3"#
    );
    let long = memory.put(&[b'x'; 40][..]);
    assert_eq!(
        line(&memory, nr::SYS_WRITE, &[1, long, 40], 40),
        r#"write(1, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"..., 40) = 40"#
    );
}

#[test]
fn what_comes_back_is_read_when_it_is_there() {
    let memory = Piece::default();
    let buf = memory.put(&[0u8; 8]);
    let decoded = enter(&memory, nr::SYS_READ, &[5, buf, 8]);
    assert_eq!(decoded.head(), "read(5,");
    memory.set(buf, &b"hi\0\x01"[..]);
    assert_eq!(
        leave(&memory, decoded, Ok(Ret(4, 0))),
        r#"read(5, "hi\0\x01", 8) = 4"#
    );
    let failed = enter(&memory, nr::SYS_READ, &[5, buf, 8]);
    assert_eq!(
        leave(&memory, failed, Err(Ended::Failed(Errno::EBADF))),
        format!("read(5, {buf:#x}, 8) = -1 EBADF (Bad file descriptor)")
    );
    let again = enter(&memory, nr::SYS_READ, &[5, buf, 8]);
    assert!(
        leave(&memory, again, Err(Ended::Restart)).ends_with("= ? ERESTART (to be made again)")
    );
}

#[test]
fn what_goes_in_and_comes_back_is_shown_twice() {
    let memory = Piece::default();
    let mut fds = [Pollfd {
        fd: 3,
        events: 5,
        revents: 0,
    }];
    let at = memory.put(&fds);
    let decoded = enter(&memory, nr::SYS_POLL, &[at, 1, int(-1)]);
    assert_eq!(decoded.head(), "poll([{fd=3, events=POLLIN|POLLOUT}]");
    fds[0].revents = 4;
    memory.set(at, &fds);
    assert_eq!(
        leave(&memory, decoded, Ok(Ret(1, 0))),
        "poll([{fd=3, events=POLLIN|POLLOUT}] => [{fd=3, revents=POLLOUT}], 1, -1) = 1"
    );
    let set = memory.put(&[0b1001_u32, 0x2]);
    let decoded = enter(&memory, nr::SYS_SELECT50, &[34, set, 0, 0, 0]);
    memory.set(set, &[0b1000_u32, 0]);
    assert_eq!(
        leave(&memory, decoded, Ok(Ret(1, 0))),
        "__select50(34, [0 3 33] => [3], NULL, NULL, NULL) = 1"
    );
}

#[test]
fn arguments_beyond_six_come_from_the_stack_and_padding_is_left_out() {
    let memory = Piece::default();
    let args = [0, 4096, 3, 0x1002, int(-1), 7, 8192];
    assert_eq!(
        line(&memory, nr::SYS_MMAP, &args, 0x7000),
        "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_ANON|MAP_PRIVATE, -1, 8192) = 0x7000"
    );
    assert_eq!(
        line(&memory, nr::SYS_LSEEK, &[3, 99, u64::MAX, 2], 5),
        "lseek(3, -1, SEEK_END) = 5"
    );
}

#[test]
fn a_call_inside_another_is_shown_as_itself() {
    let memory = Piece::default();
    let stack = memory.put(&[0u64, 5, 6, 7]);
    let inner = [nr::SYS_MMAP.into(), 0, 4096, 1, 0x1002, int(-1)];
    let call = Call::new(&memory, nr::SYS___SYSCALL.into(), inner, stack);
    assert_eq!(call.number, nr::SYS_MMAP);
    assert_eq!(call.args[..7], [0, 4096, 1, 0x1002, int(-1), 5, 6]);
}

#[test]
fn records_are_shown_by_field() {
    let memory = Piece::default();
    let time = memory.put(&Timespec {
        tv_sec: 1,
        tv_nsec: 5,
    });
    assert_eq!(
        line(&memory, nr::SYS_CLOCK_GETTIME50, &[3, time], 0),
        "__clock_gettime50(CLOCK_MONOTONIC, {tv_sec=1, tv_nsec=5}) = 0"
    );
    assert_eq!(
        line(&memory, nr::SYS_LWP_PARK60, &[0, 1, time, 17, 0xabc, 0], 0),
        "___lwp_park60(CLOCK_REALTIME, TIMER_ABSTIME, {tv_sec=1, tv_nsec=5}, 17, 0xabc, NULL) = 0"
    );
    let stat = memory.put(&Stat {
        st_mode: 0o100_755,
        st_ino: 4,
        st_nlink: 1,
        st_size: 99,
        ..Stat::default()
    });
    assert_eq!(
        line(&memory, nr::SYS_FSTAT50, &[3, stat], 0),
        "__fstat50(3, {st_mode=S_IFREG|0755, st_ino=4, st_nlink=1, st_uid=0, st_gid=0, st_size=99, ...}) = 0"
    );
    let limit = memory.put(&Rlimit {
        rlim_cur: 20,
        rlim_max: RLIM_INFINITY,
    });
    assert_eq!(
        line(&memory, nr::SYS_SETRLIMIT, &[8, limit], 0),
        "setrlimit(RLIMIT_NOFILE, {rlim_cur=20, rlim_max=RLIM_INFINITY}) = 0"
    );
    let times = memory.put(&[Timeval::ZERO; 2]);
    assert_eq!(
        line(&memory, nr::SYS_FUTIMES50, &[3, times], 0),
        "__futimes50(3, [{tv_sec=0, tv_usec=0}, {tv_sec=0, tv_usec=0}]) = 0"
    );
}

#[test]
fn signals_are_shown_by_name() {
    let memory = Piece::default();
    let act = memory.put(&Sigaction {
        sa_handler: 0x40_1000,
        sa_mask: SigSet::of(&[Signo::SIGINT, Signo::SIGTERM]),
        sa_flags: SA_RESTART | SA_SIGINFO,
        pad: 0,
    });
    assert_eq!(
        line(
            &memory,
            nr::SYS_SIGACTION_SIGTRAMP,
            &[30, act, 0, 0x5000, 2],
            0
        ),
        "__sigaction_sigtramp(SIGUSR1, {sa_handler=0x401000, sa_mask=[SIGINT SIGTERM], \
         sa_flags=SA_RESTART|SA_SIGINFO}, NULL, 0x5000, 2) = 0"
    );
    let all = memory.put(&SigSet::ALL);
    assert_eq!(
        line(&memory, nr::SYS_SIGPROCMASK14, &[3, all, 0], 0),
        "__sigprocmask14(SIG_SETMASK, ~[], NULL) = 0"
    );
    assert_eq!(line(&memory, nr::SYS_KILL, &[9, 0], 0), "kill(9, 0) = 0");
}

#[test]
fn events_sockets_and_messages_are_shown() {
    let memory = Piece::default();
    let changes = memory.put(&[
        Kevent {
            ident: 4,
            filter: EVFILT_READ,
            flags: EV_ADD | EV_CLEAR,
            udata: 0x99,
            ..Kevent::default()
        },
        Kevent {
            ident: 5,
            filter: EVFILT_VNODE,
            flags: EV_ADD,
            fflags: NOTE_DELETE | NOTE_WRITE,
            ..Kevent::default()
        },
    ]);
    assert_eq!(
        line(&memory, nr::SYS_KEVENT50, &[3, changes, 2, 0, 0, 0], 0),
        "__kevent50(3, [{ident=4, filter=EVFILT_READ, flags=EV_ADD|EV_CLEAR, fflags=0, data=0, udata=0x99}, \
         {ident=5, filter=EVFILT_VNODE, flags=EV_ADD, fflags=NOTE_DELETE|NOTE_WRITE, data=0, udata=NULL}], 2, \
         NULL, 0, NULL) = 0"
    );
    let address = memory.put(&SockaddrIn {
        sin_len: 16,
        sin_family: 2,
        sin_port: [0, 80],
        sin_addr: [127, 0, 0, 1],
        sin_zero: [0; 8],
    });
    assert_eq!(
        line(&memory, nr::SYS_CONNECT, &[3, address, 16], 0),
        "connect(3, {sa_family=AF_INET, sin_port=80, sin_addr=127.0.0.1}, 16) = 0"
    );
    assert_eq!(
        line(&memory, nr::SYS_SOCKET30, &[2, 0x1000_0001, 6], 3),
        "__socket30(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP) = 3"
    );
    let one = memory.put(&1i32);
    assert_eq!(
        line(&memory, nr::SYS_SETSOCKOPT, &[3, 0xffff, 4, one, 4], 0),
        "setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0"
    );
    let data = memory.put(&b"hello"[..]);
    let pieces = memory.put(&[Iovec {
        iov_base: data,
        iov_len: 5,
    }]);
    let msg = memory.put(&Msghdr {
        msg_iov: pieces,
        msg_iovlen: 1,
        ..Msghdr::default()
    });
    assert_eq!(
        line(&memory, nr::SYS_SENDMSG, &[3, msg, 0x400], 5),
        r#"sendmsg(3, {msg_name=NULL, msg_iov=[{iov_base="hello", iov_len=5}], msg_controllen=0, msg_flags=0}, MSG_NOSIGNAL) = 5"#
    );
    assert_eq!(
        line(&memory, nr::SYS_READV, &[3, pieces, 1], 2),
        r#"readv(3, [{iov_base="he", iov_len=5}], 1) = 2"#
    );
}

#[test]
fn commands_decide_what_their_argument_is() {
    let memory = Piece::default();
    assert_eq!(
        line(&memory, nr::SYS_FCNTL, &[3, 3, 77], 6),
        "fcntl(3, F_GETFL) = O_RDWR|O_NONBLOCK"
    );
    assert_eq!(
        line(&memory, nr::SYS_FCNTL, &[3, 2, 1], 0),
        "fcntl(3, F_SETFD, FD_CLOEXEC) = 0"
    );
    let lock = memory.put(&Flock {
        l_type: 3,
        ..Flock::default()
    });
    assert_eq!(
        line(&memory, nr::SYS_FCNTL, &[3, 8, lock], 0),
        "fcntl(3, F_SETLK, {l_type=F_WRLCK, l_whence=SEEK_SET, l_start=0, l_len=0, l_pid=0}) = 0"
    );
    let size = memory.put(&[24u16, 80, 0, 0]);
    assert_eq!(
        line(&memory, nr::SYS_IOCTL, &[1, 0x4008_7468, size], 0),
        "ioctl(1, TIOCGWINSZ, {ws_row=24, ws_col=80, ...}) = 0"
    );
    assert_eq!(
        line(&memory, nr::SYS_IOCTL, &[1, 0x2000_6601, 5], 0),
        "ioctl(1, FIOCLEX) = 0"
    );
}

#[test]
fn processes_and_the_system_are_shown() {
    let memory = Piece::default();
    let status = memory.put(&WaitStatus::Exited(3).raw());
    assert_eq!(
        line(&memory, nr::SYS_WAIT450, &[int(-1), status, 1, 0], 88),
        "__wait450(-1, [WIFEXITED(s) && WEXITSTATUS(s) == 3], WNOHANG, NULL) = 88"
    );
    let status = memory.put(
        &WaitStatus::Killed {
            signo: Signo::SIGSEGV,
            is_core: true,
        }
        .raw(),
    );
    assert_eq!(
        line(&memory, nr::SYS_WAIT450, &[9, status, 0, 0], 9),
        "__wait450(9, [WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV && WCOREDUMP(s)], 0, NULL) = 9"
    );
    let (word, arg) = (memory.put(&b"sh\0"[..]), memory.put(&b"-c\0"[..]));
    let argv = memory.put(&[word, arg, 0]);
    assert_eq!(
        line(&memory, nr::SYS_EXECVE, &[word, argv, 0], 0),
        r#"execve("sh", ["sh", "-c"], NULL) = 0"#
    );
    let name = memory.put(&[6i32, 3]);
    let (value, len) = (memory.put(&8i32), memory.put(&4u64));
    assert_eq!(
        line(&memory, nr::SYS_SYSCTL, &[name, 2, value, len, 0, 0], 0),
        "__sysctl([CTL_HW, HW_NCPU], 2, [8], [4], NULL, 0) = 0"
    );
    let mut entry = DirentHeader {
        d_fileno: 7,
        d_reclen: 16,
        d_namlen: 1,
        d_type: 4,
    }
    .as_bytes()
    .to_vec();
    entry.extend(b".\0\0");
    let entries = memory.put(&entry[..]);
    assert_eq!(
        line(&memory, nr::SYS_GETDENTS30, &[3, entries, 512], 16),
        r#"__getdents30(3, [{d_fileno=7, d_type=DT_DIR, d_name="."}], 512) = 16"#
    );
    let pair = enter(&memory, nr::SYS_PIPE, &[]);
    assert_eq!(leave(&memory, pair, Ok(Ret(3, 4))), "pipe() = [3, 4]");
}

#[test]
fn what_is_not_known_says_so() {
    let memory = Piece::default();
    assert_eq!(
        line(&memory, nr::SYS_NFSSVC, &[1, 0x20], 0),
        "nfssvc?(0x1, 0x20, 0x0, 0x0, 0x0, 0x0) = 0"
    );
    assert!(line(&memory, 511, &[], 0).starts_with("call 511?("));
    assert_eq!(
        line(&memory, nr::SYS_MPROTECT, &[BASE, 4096, 0x41], 0),
        "mprotect(0x100000, 4096, PROT_READ|0x40?) = 0"
    );
    assert_eq!(
        line(&memory, nr::SYS_OPEN, &[8, 0, 0], 3),
        "open(0x8, O_RDONLY) = 3"
    );
}
