//! The shapes of the calls: how often each is made, and what its arguments look like when they are
//! meant to mean something.
//!
//! A number without a shape (not supported, or unknown) is called too, with numbers that are no
//! addresses: what it would do with memory, or take for a file's name, nobody has said.

#[expect(clippy::wildcard_imports, reason = "a table of them")]
use rt::abi::nr::*;

/// What an argument is taken for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any number, more often an edge than not.
    Any,
    /// A small number.
    Int,
    /// Flag bits.
    Bits,
    /// A descriptor.
    Fd,
    /// A descriptor of a directory, or `AT_FDCWD`.
    At,
    /// A file's name.
    Path,
    /// Memory.
    Buf,
    /// How much of it.
    Len,
    /// An LWP.
    Lid,
    /// A process: this one, or none.
    Pid,
    /// A signal.
    Signal,
    /// A clock.
    Clock,
    /// One or two times.
    Time,
    /// An address in the arena.
    Where,
    /// A number of bytes in the arena.
    Span,
    /// The end of the break.
    Break,
    /// A socket's address; always on this machine.
    Sockaddr,
    /// A context that may start a short life.
    Context,
    /// A context that may be installed: none that is whole.
    Install,
    /// Where an id is stored.
    LidOut,
    /// A disposition that kills nobody.
    Action,
    /// Which trampoline.
    Tramp,
    /// An alternate stack: the one of the berth, or none that would be taken.
    AltStack,
    /// Limits that limit nothing.
    Limits,
    /// Names of sysctl values.
    Mib,
    /// Changes for a kqueue.
    Changes,
    /// Segments of memory.
    Iov,
    /// A message.
    Msg,
    /// A set of signals.
    Set,
    /// Whom to wait for.
    Child,
    /// What an ioctl asks for.
    Request,
}
#[expect(clippy::enum_glob_use, reason = "a table of them")]
use Kind::*;

/// A call and how often it is made.
pub(crate) struct Shape {
    /// Its number.
    pub(crate) nr: u16,
    /// How often, relative to the others.
    pub(crate) weight: u16,
    /// Its arguments.
    pub(crate) kinds: &'static [Kind],
}

macro_rules! shapes {
    ($($weight:literal $nr:ident [$($kind:ident)*];)*) => {
        &[$(Shape { nr: $nr, weight: $weight, kinds: &[$($kind),*] }),*]
    };
}

/// All shapes. LWPs, waiting and signals come most often: they are what this is about.
pub(crate) static SHAPES: &[Shape] = shapes! {
    8 SYS_LWP_CREATE [Context Bits LidOut];
    4 SYS_LWP_SELF [];
    4 SYS_LWP_WAIT [Lid LidOut];
    4 SYS_LWP_SUSPEND [Lid];
    8 SYS_LWP_CONTINUE [Lid];
    4 SYS_LWP_WAKEUP [Lid];
    2 SYS_LWP_GETPRIVATE [];
    2 SYS_LWP_SETPRIVATE [Any];
    6 SYS_LWP_KILL [Lid Signal];
    2 SYS_LWP_DETACH [Lid];
    8 SYS_LWP_PARK60 [Clock Bits Time Lid Any Any];
    2 SYS_COMPAT_60__LWP_PARK [Time Lid Any Any];
    8 SYS_LWP_UNPARK [Lid Any];
    4 SYS_LWP_UNPARK_ALL [Buf Len Any];
    2 SYS_LWP_SETNAME [Lid Path];
    2 SYS_LWP_GETNAME [Lid Buf Len];
    2 SYS_LWP_CTL [Bits Buf];
    4 SYS_SCHED_YIELD [];
    2 SYS_SCHED_SETPARAM [Pid Lid Int Buf];
    2 SYS_SCHED_GETPARAM [Pid Lid Buf Buf];
    1 SYS_SCHED_SETAFFINITY [Pid Lid Len Buf];
    1 SYS_SCHED_GETAFFINITY [Pid Lid Len Buf];
    4 SYS_KILL [Pid Signal];
    6 SYS_SIGACTION_SIGTRAMP [Signal Action Buf Tramp Int];
    4 SYS_SIGPROCMASK14 [Int Set Buf];
    2 SYS_SIGPENDING14 [Buf];
    3 SYS_SIGSUSPEND14 [Set];
    4 SYS_SIGTIMEDWAIT50 [Set Buf Time];
    3 SYS_SIGALTSTACK14 [AltStack Buf];
    2 SYS_GETCONTEXT [Buf];
    1 SYS_SETCONTEXT [Install];
    2 SYS_CLOCK_GETTIME50 [Clock Buf];
    1 SYS_CLOCK_GETRES50 [Clock Buf];
    1 SYS_GETTIMEOFDAY50 [Buf Buf];
    4 SYS_NANOSLEEP50 [Time Buf];
    3 SYS_CLOCK_NANOSLEEP [Clock Int Time Buf];
    3 SYS_SETITIMER50 [Int Time Buf];
    2 SYS_GETITIMER50 [Int Buf];
    2 SYS_TIMERFD_CREATE [Clock Bits];
    2 SYS_TIMERFD_SETTIME [Fd Int Time Buf];
    1 SYS_TIMERFD_GETTIME [Fd Buf];
    2 SYS_EVENTFD [Int Bits];
    4 SYS_MMAP [Where Span Int Bits Fd Any];
    4 SYS_MUNMAP [Where Span];
    3 SYS_MPROTECT [Where Span Int];
    2 SYS_MADVISE [Where Span Int];
    1 SYS_MINHERIT [Where Span Int];
    1 SYS_MINCORE [Where Span Buf];
    1 SYS_MSYNC13 [Where Span Int];
    1 SYS_MLOCK [Where Span];
    1 SYS_MUNLOCK [Where Span];
    1 SYS_MLOCKALL [Int];
    1 SYS_MUNLOCKALL [];
    2 SYS_MREMAP [Where Span Where Span Bits];
    1 SYS_BREAK [Break];
    4 SYS_READ [Fd Buf Len];
    4 SYS_WRITE [Fd Buf Len];
    2 SYS_READV [Fd Iov Int];
    2 SYS_WRITEV [Fd Iov Int];
    2 SYS_PREAD [Fd Buf Len Any Int];
    2 SYS_PWRITE [Fd Buf Len Any Int];
    1 SYS_PREADV [Fd Iov Int Any Int];
    1 SYS_PWRITEV [Fd Iov Int Any Int];
    6 SYS_OPEN [Path Bits Int];
    3 SYS_OPENAT [At Path Bits Int];
    10 SYS_CLOSE [Fd];
    2 SYS_LINK [Path Path];
    1 SYS_LINKAT [At Path At Path Bits];
    3 SYS_UNLINK [Path];
    1 SYS_UNLINKAT [At Path Bits];
    1 SYS_CHDIR [Path];
    1 SYS_FCHDIR [Fd];
    1 SYS_CHMOD [Path Int];
    1 SYS_FCHMOD [Fd Int];
    1 SYS_FCHMODAT [At Path Int Bits];
    1 SYS_CHOWN [Path Int Int];
    1 SYS_FCHOWN [Fd Int Int];
    1 SYS_ACCESS [Path Bits];
    1 SYS_FACCESSAT [At Path Bits Bits];
    1 SYS_SYMLINK [Path Path];
    1 SYS_SYMLINKAT [Path At Path];
    1 SYS_READLINK [Path Buf Len];
    1 SYS_READLINKAT [At Path Buf Len];
    1 SYS_UMASK [Int];
    1 SYS_RENAME [Path Path];
    1 SYS_RENAMEAT [At Path At Path];
    2 SYS_MKDIR [Path Int];
    1 SYS_MKDIRAT [At Path Int];
    1 SYS_RMDIR [Path];
    2 SYS_MKFIFO [Path Int];
    1 SYS_MKFIFOAT [At Path Int];
    1 SYS_MKNOD50 [Path Int Any];
    1 SYS_TRUNCATE [Path Int Any];
    1 SYS_FTRUNCATE [Fd Int Any];
    2 SYS_LSEEK [Fd Int Any Int];
    1 SYS_STAT50 [Path Buf];
    1 SYS_LSTAT50 [Path Buf];
    2 SYS_FSTAT50 [Fd Buf];
    1 SYS_FSTATAT [At Path Buf Bits];
    1 SYS_STATVFS190 [Path Buf Int];
    1 SYS_FSTATVFS190 [Fd Buf Int];
    1 SYS_GETVFSSTAT90 [Buf Len Int];
    2 SYS_GETDENTS30 [Fd Buf Len];
    1 SYS_GETCWD [Buf Len];
    1 SYS_PATHCONF [Path Int];
    1 SYS_FPATHCONF [Fd Int];
    1 SYS_UTIMES50 [Path Time];
    1 SYS_FUTIMES50 [Fd Time];
    1 SYS_UTIMENSAT [At Path Time Bits];
    1 SYS_FSYNC [Fd];
    1 SYS_POSIX_FADVISE50 [Fd Int Any Any Int];
    1 SYS_POSIX_FALLOCATE [Fd Int Len Len];
    1 SYS_FDISCARD [Fd Int Len Len];
    2 SYS_FLOCK [Fd Bits];
    6 SYS_FCNTL [Fd Int Any];
    3 SYS_IOCTL [Fd Request Buf];
    3 SYS_DUP [Fd];
    3 SYS_DUP2 [Fd Fd];
    1 SYS_DUP3 [Fd Fd Bits];
    1 SYS_DUP3100 [Fd Fd Bits];
    3 SYS_PIPE [];
    3 SYS_PIPE2 [LidOut Bits];
    1 SYS_MEMFD_CREATE [Path Bits];
    4 SYS_SOCKET30 [Int Int Int];
    4 SYS_SOCKETPAIR [Int Int Int LidOut];
    3 SYS_BIND [Fd Sockaddr Len];
    3 SYS_CONNECT [Fd Sockaddr Len];
    2 SYS_LISTEN [Fd Int];
    2 SYS_ACCEPT [Fd Buf Buf];
    1 SYS_PACCEPT [Fd Buf Buf Set Bits];
    3 SYS_SENDTO [Fd Buf Len Bits Sockaddr Len];
    3 SYS_RECVFROM [Fd Buf Len Bits Buf Buf];
    2 SYS_SENDMSG [Fd Msg Bits];
    2 SYS_RECVMSG [Fd Msg Bits];
    1 SYS_SENDMMSG [Fd Msg Int Bits];
    1 SYS_RECVMMSG [Fd Msg Int Bits Time];
    1 SYS_SHUTDOWN [Fd Int];
    2 SYS_GETSOCKOPT [Fd Int Int Buf Buf];
    2 SYS_SETSOCKOPT [Fd Int Int Buf Len];
    1 SYS_GETSOCKNAME [Fd Buf Buf];
    1 SYS_GETPEERNAME [Fd Buf Buf];
    4 SYS_POLL [Buf Int Int];
    2 SYS_POLLTS50 [Buf Int Time Set];
    2 SYS_SELECT50 [Int Buf Buf Buf Time];
    2 SYS_PSELECT50 [Int Buf Buf Buf Time Set];
    3 SYS_KQUEUE [];
    1 SYS_KQUEUE1 [Bits];
    6 SYS_KEVENT100 [Fd Changes Int Buf Int Time];
    2 SYS_KEVENT50 [Fd Changes Int Buf Int Time];
    3 SYS_WAIT450 [Child Buf Bits Buf];
    1 SYS_WAIT6 [Int Child Buf Bits Buf Buf];
    2 SYS_FORK [];
    1 SYS_VFORK14 [];
    3 SYS_SYSCTL [Mib Int Buf Buf Buf Len];
    1 SYS_GETRLIMIT [Int Buf];
    1 SYS_SETRLIMIT [Int Limits];
    1 SYS_GETRUSAGE50 [Int Buf];
    1 SYS_GETPRIORITY [Int Pid];
    1 SYS_SETPRIORITY [Int Pid Int];
    1 SYS_GETGROUPS [Int Buf];
    1 SYS_GETRANDOM [Buf Len Bits];
    1 SYS_SYSARCH [Int Buf];
    1 SYS_UTRACE [Path Buf Len];
    1 SYS_GETPGID [Pid];
    1 SYS_GETSID [Pid];
    1 SYS_GETPID [];
    1 SYS_GETPPID [];
    1 SYS_GETPGRP [];
    1 SYS_GETUID [];
    1 SYS_ISSETUGID [];
    1 SYS_GETLOGIN [Buf Len];
    1 SYS_POSIX_RENAME [Path Path];
    1 SYS_LCHMOD [Path Int];
    1 SYS_LCHOWN [Path Int Int];
    1 SYS_POSIX_CHOWN [Path Int Int];
    1 SYS_POSIX_LCHOWN [Path Int Int];
    1 SYS_POSIX_FCHOWN [Fd Int Int];
    1 SYS_FCHOWNAT [At Path Int Int Bits];
    1 SYS_CHFLAGS [Path Int];
    1 SYS_FCHFLAGS [Fd Int];
    1 SYS_LCHFLAGS [Path Int];
    1 SYS_LUTIMES50 [Path Time];
    1 SYS_FUTIMENS [Fd Time];
    1 SYS_MKNODAT [At Path Int Int Any];
    1 SYS_LPATHCONF [Path Int];
    1 SYS_UNDELETE [Path];
    1 SYS_FDATASYNC [Fd];
    1 SYS_FSYNC_RANGE [Fd Int Any Any];
    1 SYS_COMPAT_90_STATVFS1 [Path Buf Int];
    1 SYS_COMPAT_90_FSTATVFS1 [Fd Buf Int];
    1 SYS_COMPAT_90_GETVFSSTAT [Buf Len Int];
    1 SYS_COMPAT_50__LWP_PARK [Time Lid Any Any];
    1 SYS_RASCTL [Any Len Int];
};

/// The sum of all weights.
pub(crate) static TOTAL: u64 = {
    let (mut sum, mut i) = (0, 0);
    while i < SHAPES.len() {
        sum += SHAPES[i].weight as u64;
        i += 1;
    }
    sum
};

/// The shape at `at`, which is below [`TOTAL`].
pub(crate) fn pick(mut at: u64) -> &'static Shape {
    for shape in SHAPES {
        match at.checked_sub(u64::from(shape.weight)) {
            None => return shape,
            Some(rest) => at = rest,
        }
    }
    &SHAPES[0]
}

/// The arguments of `nr`, if it has a shape.
pub(crate) fn kinds(nr: u16) -> &'static [Kind] {
    SHAPES
        .iter()
        .find(|shape| shape.nr == nr)
        .map_or(&[], |shape| shape.kinds)
}

/// A call about to be made.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// Its number.
    pub(crate) nr: u16,
    /// Its arguments.
    pub(crate) args: [u64; 6],
}

/// One stub per number, 16 bytes each: `mov $nr,%eax; syscall; ret`. The carry flag survives the way
/// back, and the call sites are of the kind that a runner may patch.
#[unsafe(naked)]
extern "C" fn stubs() {
    core::arch::naked_asm!(
        ".set barrage_nr, 0",
        ".rept 512",
        "mov $barrage_nr, %eax",
        "syscall",
        "ret",
        ".balign 16",
        ".set barrage_nr, barrage_nr + 1",
        ".endr",
        options(att_syntax)
    )
}

impl Call {
    /// Makes it at a site of its own, with nothing in RAX but the number.
    pub(crate) fn make(&self) -> rt::sys::Raw {
        let first: extern "C" fn() = stubs;
        let stub = first as usize + usize::from(self.nr % 512) * 16;
        let a = &self.args;
        let (rax, rdx, carry): (u64, u64, u64);
        // SAFETY: the stub returns, and leaves what a system call leaves; what the call may do to
        // memory is held to the berth and the arena by `draw` and `filter`.
        unsafe {
            core::arch::asm!(
                "call {stub}",
                "setc cl",
                "movzx ecx, cl",
                stub = in(reg) stub,
                lateout("rax") rax,
                lateout("rcx") carry,
                lateout("r11") _,
                in("rdi") a[0],
                in("rsi") a[1],
                inlateout("rdx") a[2] => rdx,
                in("r10") a[3],
                in("r8") a[4],
                in("r9") a[5],
            );
        }
        rt::sys::Raw {
            rax,
            rdx,
            carry: carry != 0,
        }
    }
}
