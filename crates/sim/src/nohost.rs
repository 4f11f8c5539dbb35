//! A host that has nothing: calls that need one fail with ENOSYS.

use core::ffi::CStr;
use core::ops::Range;
use lwp_abi::resource::Rusage;
use lwp_abi::signal::SigSet;
use lwp_abi::uio::Iovec;
use lwp_kernel::machine::HostErr;
use lwp_syscalls::host::{
    At, ChildInfo, Host, HostResult, LockOp, Received, RecordLock, RecvMsg, SendMsg, WaitFor,
    Waited, Waiting,
};
use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};

pub(crate) struct NoHost;

const NOTHING: HostErr = HostErr {
    call: "sim",
    errno: 38,
};

/// Methods that fail.
macro_rules! nothing {
    ($(fn $name:ident(&self $(, $arg:ty)*) -> $ok:ty;)*) => {
        $(nothing!(@one $name [$($arg),*] $ok);)*
    };
    (@one $name:ident [] $ok:ty) => {
        fn $name(&self) -> HostResult<$ok> { Err(NOTHING) }
    };
    (@one $name:ident [$t0:ty] $ok:ty) => {
        fn $name(&self, _: $t0) -> HostResult<$ok> { Err(NOTHING) }
    };
    (@one $name:ident [$t0:ty, $t1:ty] $ok:ty) => {
        fn $name(&self, _: $t0, _: $t1) -> HostResult<$ok> { Err(NOTHING) }
    };
    (@one $name:ident [$t0:ty, $t1:ty, $t2:ty] $ok:ty) => {
        fn $name(&self, _: $t0, _: $t1, _: $t2) -> HostResult<$ok> { Err(NOTHING) }
    };
    (@one $name:ident [$t0:ty, $t1:ty, $t2:ty, $t3:ty] $ok:ty) => {
        fn $name(&self, _: $t0, _: $t1, _: $t2, _: $t3) -> HostResult<$ok> { Err(NOTHING) }
    };
}

impl Host for NoHost {
    fn first_own_fd(&self) -> i32 {
        i32::MAX
    }

    fn fds(&self) -> Vec<i32> {
        Vec::new()
    }

    nothing! {
        fn fd(&self, i32) -> BorrowedFd<'_>;
        fn close(&self, i32) -> ();
        fn adopt(&self, OwnedFd) -> i32;
        fn dup(&self, i32, i32, bool) -> OwnedFd;
        fn dup3(&self, i32, i32, bool) -> ();
        fn readv(&self, i32, &[Iovec], At, Waiting) -> u64;
        fn writev(&self, i32, &[Iovec], At, Waiting) -> u64;
        fn fcntl(&self, i32, i32, i32) -> i32;
        fn record_lock(&self, i32, LockOp, &mut RecordLock) -> ();
        fn ioctl(&self, i32, u32, &mut [u8]) -> i32;
        fn ioctl_word(&self, i32, u32, i32) -> i32;
        fn socket(&self, i32, i32, i32) -> OwnedFd;
        fn socketpair(&self, i32, i32, i32) -> [OwnedFd; 2];
        fn bind(&self, i32, &[u8]) -> ();
        fn connect(&self, i32, &[u8]) -> ();
        fn listen(&self, i32, i32) -> ();
        fn accept(&self, i32, &mut [u8], i32) -> (OwnedFd, usize);
        fn getsockname(&self, i32, &mut [u8]) -> usize;
        fn getpeername(&self, i32, &mut [u8]) -> usize;
        fn getsockopt(&self, i32, i32, i32, &mut [u8]) -> usize;
        fn setsockopt(&self, i32, i32, i32, &[u8]) -> ();
        fn sendmsg(&self, i32, &SendMsg<'_>) -> usize;
        fn recvmsg(&self, i32, &mut RecvMsg<'_>) -> Received;
        fn wait4(&self, i32, i32) -> Option<Waited>;
        fn waitid(&self, WaitFor, i32) -> (ChildInfo, Rusage);
        fn getrusage(&self, i32) -> Rusage;
        fn getpgid(&self, i32) -> i32;
        fn getsid(&self, i32) -> i32;
        fn kill(&self, i32, i32) -> ();
        fn msync(&self, Range<u64>, i32) -> ();
        fn mincore(&self, Range<u64>, &mut [u8]) -> ();
        fn mlock(&self, Range<u64>) -> ();
        fn munlock(&self, Range<u64>) -> ();
    }

    fn discard_children(&self, _: bool) {}

    fn leave_signals(&self, _: SigSet, _: SigSet) {}

    fn without_tty_signals(&self, call: &mut dyn FnMut()) {
        call();
    }

    fn execve(&self, _: &CStr, _: &[CString], _: &[CString]) -> HostErr {
        NOTHING
    }
}
