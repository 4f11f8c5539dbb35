//! What Linux programs do where NetBSD programs use LWP signals: handlers, and signals to threads.
//!
//! For `lwp bench` alone, which compares with it, and outside any machine: no guest runs in a process
//! that uses this. It is here because handlers are unsafe code.
//!
//! # Invariants
//! 1. The handlers touch atomics and make futex calls, nothing else; `errno` is not looked at by
//!    what they interrupt.

use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};

/// How often a handler has run.
static HANDLED: AtomicU32 = AtomicU32::new(0);
/// Up to which run of a handler those that stop have been let go. A number, not a flag: a thread told
/// to stop again may not have left the last stop yet.
static RELEASED: AtomicU32 = AtomicU32::new(0);

/// A thread of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostThread(libc::pid_t);

impl HostThread {
    /// The calling one.
    pub fn current() -> Self {
        // SAFETY: it takes nothing and cannot fail.
        Self(unsafe { libc::gettid() })
    }

    /// Has SIGUSR1's handler run in it: it counts, and wakes whoever waits in [`wait_handled`].
    pub fn interrupt(self) {
        self.signal(libc::SIGUSR1);
    }

    /// Has it stop in a handler, as runtimes stop threads that know nothing of it; returns when it has.
    pub fn stop(self) {
        let seen = handled();
        self.signal(libc::SIGUSR2);
        wait_handled(seen);
    }

    /// Lets it go on.
    pub fn go_on(self) {
        RELEASED.store(handled(), Ordering::SeqCst);
        futex(&RELEASED, libc::FUTEX_WAKE, 1);
    }

    fn signal(self, signo: i32) {
        let pid = std::process::id();
        // SAFETY: plain numbers; a thread that is gone makes it fail, which harms nobody.
        unsafe { libc::syscall(libc::SYS_tgkill, pid, self.0, signo) };
    }
}

/// Installs the handlers of SIGUSR1 and SIGUSR2 for this process.
pub fn catch_peer_signals() {
    let handlers: [(i32, extern "C" fn(i32)); 2] =
        [(libc::SIGUSR1, on_interrupt), (libc::SIGUSR2, on_stop)];
    for (signo, handler) in handlers {
        // SAFETY: all zeros is a `sigaction`: no flags, an empty mask.
        let mut act: libc::sigaction = unsafe { core::mem::zeroed() };
        act.sa_sigaction = handler as usize;
        // SAFETY: `act` is valid, and the handler keeps to what a handler may do (invariant 1).
        unsafe { libc::sigaction(signo, &raw const act, ptr::null_mut()) };
    }
}

/// How often a handler has run.
pub fn handled() -> u32 {
    HANDLED.load(Ordering::SeqCst)
}

/// Waits until a handler has run since `seen` was right.
pub fn wait_handled(seen: u32) {
    while handled() == seen {
        futex(&HANDLED, libc::FUTEX_WAIT, seen);
    }
}

extern "C" fn on_interrupt(_: i32) {
    count();
}

extern "C" fn on_stop(_: i32) {
    let mine = count();
    loop {
        let released = RELEASED.load(Ordering::SeqCst);
        if released.wrapping_sub(mine).cast_signed() >= 0 {
            return;
        }
        futex(&RELEASED, libc::FUTEX_WAIT, released);
    }
}

/// Counts a handler's run and tells whoever waits for it; its number.
fn count() -> u32 {
    let mine = HANDLED.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
    futex(&HANDLED, libc::FUTEX_WAKE, 1);
    mine
}

/// `futex(2)` of this process, without a time.
fn futex(word: &AtomicU32, op: i32, value: u32) {
    let op = op | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word is static or borrowed for the call; the kernel only reads it.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), op, value, 0_usize) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stops_and_goes_on() {
        catch_peer_signals();
        let seen = handled();
        HostThread::current().interrupt();
        wait_handled(seen);
        let (tell, told) = std::sync::mpsc::channel();
        let over = std::sync::Arc::new(AtomicU32::new(0));
        let theirs = std::sync::Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            tell.send(HostThread::current()).unwrap();
            while theirs.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
        });
        let other = told.recv().unwrap();
        for _ in 0..1000 {
            other.stop();
            other.go_on();
        }
        over.store(1, Ordering::SeqCst);
        thread.join().unwrap();
    }
}
