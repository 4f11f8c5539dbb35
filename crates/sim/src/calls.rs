//! System calls as a program writes them: typed arguments in, results out.
//!
//! 32-bit arguments travel with rubbish in the upper half of their register, which the kernel has to
//! ignore.

use crate::personality::{GET_UPPER, SET_UPPER, SINGLE_THREADED};
use crate::user::{Reply, User};
use core::time::Duration;
use lwp_abi::errno::Errno;
use lwp_abi::lwp::Lwpctl;
use lwp_abi::nr;
use lwp_abi::signal::{
    SIG_BLOCK, SIG_DFL, SIG_SETMASK, SIG_UNBLOCK, SaFlags, SigSet, Sigaction, Siginfo, Signo,
};
use lwp_abi::time::{ClockId, TIMER_ABSTIME, Timespec};
use std::sync::{Mutex, PoisonError};

/// Trampoline address and version of every handler; the sim never goes there.
const TRAMP: (u64, u64) = (0x1000, 2);
/// An address that nothing is mapped at.
pub const NOWHERE: u64 = 0x6660_0000;

/// A 32-bit argument, with rubbish above.
pub fn int(value: i32) -> u64 {
    0xfeed_beef_0000_0000 | u64::from(value.cast_unsigned())
}

/// What a `___lwp_park60` is given.
#[derive(Clone, Copy, Debug)]
pub struct Park {
    /// The clock of the time.
    pub clock: ClockId,
    /// `TIMER_ABSTIME` or nothing.
    pub flags: i32,
    /// Address of the time, or 0.
    pub ts: u64,
    /// The LWP to unpark first, or 0.
    pub unpark: i32,
}

impl Default for Park {
    fn default() -> Self {
        Self {
            clock: ClockId::MONOTONIC,
            flags: 0,
            ts: 0,
            unpark: 0,
        }
    }
}

type Nothing = Result<(), Errno>;

impl User {
    async fn done(&self, number: u16, args: &[u64]) -> Nothing {
        let value = self.call(number, args).await?;
        assert_eq!(value, 0, "call {number} returns 0");
        Ok(())
    }

    /// `exit(2)`: does not return.
    pub async fn exit(&self, code: i32) {
        self.syscall(nr::SYS_EXIT, &[int(code)]).await;
    }

    /// `fork(2)`: who comes back is the child, alone; its pid. There is no parent any more.
    ///
    /// # Panics
    /// If it fails.
    pub async fn fork(&self) -> i32 {
        let forked = self.call(nr::SYS_FORK, &[]).await;
        forked.expect("one vcpu can fork");
        self.kernel().proc.pid()
    }

    /// What execve(2) does to all LWPs but the caller: they are gone when this returns.
    ///
    /// # Errors
    /// None: the caller may be gone, too.
    pub async fn single_threaded(&self) -> Nothing {
        self.done(SINGLE_THREADED, &[]).await
    }

    /// Puts a number into the upper half of a vector register.
    ///
    /// # Panics
    /// Never.
    pub async fn set_upper(&self, value: u64) {
        let done = self.done(SET_UPPER, &[value]).await;
        done.expect("registers take any value");
    }

    /// What is in the upper half of that register.
    ///
    /// # Panics
    /// Never.
    pub async fn upper(&self) -> u64 {
        let value = self.call(GET_UPPER, &[]).await;
        value.expect("registers can be read")
    }

    /// `_lwp_create(2)` of an LWP that runs `f`.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn spawn<F>(&self, f: impl FnOnce(User) -> F + Send + 'static) -> Result<i32, Errno>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_with(0, f).await
    }

    /// The same with flags.
    ///
    /// # Errors
    /// Those of the call.
    ///
    /// # Panics
    /// If something else starts there a second time.
    pub async fn spawn_with<F>(
        &self,
        flags: u64,
        f: impl FnOnce(User) -> F + Send + 'static,
    ) -> Result<i32, Errno>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let once = Mutex::new(Some(f));
        let at = self.thread(move |user, _| {
            let f = once.lock().unwrap_or_else(PoisonError::into_inner).take();
            f.expect("a context is started in once")(user)
        });
        self.spawn_at(at, 0, flags).await
    }

    /// `_lwp_create(2)` of an LWP that starts at `function` with `arg`.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn spawn_at(&self, function: u64, arg: u64, flags: u64) -> Result<i32, Errno> {
        let uc = self.put(&self.context(function, arg));
        let lid = self.put(&0i32);
        self.create(uc, flags, lid).await?;
        Ok(self.get(lid))
    }

    /// `_lwp_create(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn create(&self, uc: u64, flags: u64, lid: u64) -> Nothing {
        self.done(nr::SYS_LWP_CREATE, &[uc, flags, lid]).await
    }

    /// `_lwp_exit(2)`: does not return.
    pub async fn lwp_exit(&self) {
        self.syscall(nr::SYS_LWP_EXIT, &[]).await;
    }

    /// `_lwp_self(2)`.
    ///
    /// # Panics
    /// If it fails.
    pub async fn lwp_self(&self) -> i32 {
        let lid = self.call(nr::SYS_LWP_SELF, &[]).await;
        let lid = lid.expect("_lwp_self does not fail");
        i32::try_from(lid).expect("an id is an int")
    }

    /// `_lwp_wait(2)`, returning the id of the departed.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn wait(&self, lid: i32) -> Result<i32, Errno> {
        let departed = self.put(&0i32);
        self.wait_to(lid, departed).await?;
        Ok(self.get(departed))
    }

    /// `_lwp_wait(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn wait_to(&self, lid: i32, departed: u64) -> Nothing {
        self.done(nr::SYS_LWP_WAIT, &[int(lid), departed]).await
    }

    /// `_lwp_suspend(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn suspend(&self, lid: i32) -> Nothing {
        self.done(nr::SYS_LWP_SUSPEND, &[int(lid)]).await
    }

    /// `_lwp_continue(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn resume(&self, lid: i32) -> Nothing {
        self.done(nr::SYS_LWP_CONTINUE, &[int(lid)]).await
    }

    /// `_lwp_wakeup(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn wakeup(&self, lid: i32) -> Nothing {
        self.done(nr::SYS_LWP_WAKEUP, &[int(lid)]).await
    }

    /// `_lwp_kill(2)` with any number.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn kill_raw(&self, lid: i32, signo: i32) -> Nothing {
        self.done(nr::SYS_LWP_KILL, &[int(lid), int(signo)]).await
    }

    /// `_lwp_kill(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn kill(&self, lid: i32, signo: Signo) -> Nothing {
        self.kill_raw(lid, signo.raw()).await
    }

    /// `_lwp_detach(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn detach(&self, lid: i32) -> Nothing {
        self.done(nr::SYS_LWP_DETACH, &[int(lid)]).await
    }

    /// `___lwp_park60`.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn park_with(&self, park: Park) -> Nothing {
        let Park {
            clock,
            flags,
            ts,
            unpark,
        } = park;
        let args = [int(clock.raw()), int(flags), ts, int(unpark), 1, u64::MAX];
        self.done(nr::SYS_LWP_PARK60, &args).await
    }

    /// Parks without a limit.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn park(&self) -> Nothing {
        self.park_with(Park::default()).await
    }

    /// Parks for a time on the monotonic clock.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn park_for(&self, time: Duration) -> Nothing {
        let ts = self.put(&Timespec::from(time));
        self.park_with(Park {
            ts,
            ..Park::default()
        })
        .await
    }

    /// Parks until a time on the monotonic clock.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn park_until(&self, at: Duration) -> Nothing {
        let ts = self.put(&Timespec::from(at));
        self.park_with(Park {
            ts,
            flags: TIMER_ABSTIME,
            ..Park::default()
        })
        .await
    }

    /// `_lwp_unpark(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn unpark(&self, lid: i32) -> Nothing {
        self.done(nr::SYS_LWP_UNPARK, &[int(lid), 7]).await
    }

    /// `_lwp_unpark_all(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn unpark_all(&self, lids: &[i32]) -> Nothing {
        let at = self.put(lids);
        let args = [at, lids.len() as u64, 7];
        self.done(nr::SYS_LWP_UNPARK_ALL, &args).await
    }

    /// `_lwp_setname(2)`; the name gets its NUL here.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn setname(&self, lid: i32, name: &str) -> Nothing {
        let at = self.put(format!("{name}\0").as_bytes());
        self.done(nr::SYS_LWP_SETNAME, &[int(lid), at]).await
    }

    /// `_lwp_getname(2)` into 16 bytes.
    ///
    /// # Errors
    /// Those of the call.
    ///
    /// # Panics
    /// If there is no NUL in them.
    pub async fn getname(&self, lid: i32) -> Result<String, Errno> {
        let at = self.put(&[b'?'; 16]);
        self.done(nr::SYS_LWP_GETNAME, &[int(lid), at, 16]).await?;
        let bytes: [u8; 16] = self.get(at);
        let len = bytes.iter().position(|&byte| byte == 0);
        let len = len.expect("a name ends with NUL");
        Ok(String::from_utf8_lossy(&bytes[..len]).into_owned())
    }

    /// `_lwp_ctl(2)`: the address of the caller's block.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn ctl(&self, features: i32) -> Result<u64, Errno> {
        let at = self.put(&0u64);
        self.done(nr::SYS_LWP_CTL, &[int(features), at]).await?;
        Ok(self.get(at))
    }

    /// What an lwpctl block says.
    pub fn lwpctl(&self, block: u64) -> Lwpctl {
        self.get(block)
    }

    /// `nanosleep(2)`; an error comes with the rest.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn nanosleep(&self, time: Duration) -> Result<(), (Errno, Timespec)> {
        let time = self.put(&Timespec::from(time));
        let rest = self.put(&Timespec::ZERO);
        let done = self.done(nr::SYS_NANOSLEEP50, &[time, rest]).await;
        done.map_err(|errno| (errno, self.get(rest)))
    }

    /// Installs a handler.
    ///
    /// # Panics
    /// If that fails.
    pub async fn sigaction(&self, signo: Signo, handler: u64, flags: SaFlags) {
        let action = Sigaction {
            sa_handler: handler,
            sa_mask: SigSet::EMPTY,
            sa_flags: flags.bits(),
            pad: 0,
        };
        let done = self.sigaction_raw(signo.raw(), &action, TRAMP).await;
        done.expect("the action is in order");
    }

    /// `__sigaction_sigtramp` with any arguments: trampoline and version come last.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn sigaction_raw(&self, signo: i32, new: &Sigaction, tramp: (u64, u64)) -> Nothing {
        let new = self.put(new);
        let args = [int(signo), new, 0, tramp.0, tramp.1];
        self.done(nr::SYS_SIGACTION_SIGTRAMP, &args).await
    }

    /// Makes a handler that counts its runs in memory, installs it, and returns the counter's address.
    pub async fn count_signals(&self, signo: Signo, flags: SaFlags) -> u64 {
        let count = self.put(&0u64);
        let handler = self.handler(move |user, _| async move { user.add(count, 1) });
        self.sigaction(signo, handler, flags).await;
        count
    }

    /// Back to the default action.
    pub async fn default_action(&self, signo: Signo) {
        self.sigaction(signo, SIG_DFL, SaFlags::RESTART).await;
    }

    /// Adds to a counter in memory. Not atomic with respect to other vcpus.
    ///
    /// # Panics
    /// If it is not there.
    pub fn add(&self, at: u64, value: u64) {
        let sum = self.get::<u64>(at).wrapping_add(value);
        self.memory()
            .write(&sum.to_le_bytes(), at)
            .expect("a counter is writable");
    }

    async fn mask(&self, how: i32, set: SigSet) -> SigSet {
        let (set, old) = (self.put(&set), self.put(&SigSet::EMPTY));
        let done = self
            .done(nr::SYS_SIGPROCMASK14, &[int(how), set, old])
            .await;
        done.expect("the mask is in order");
        self.get(old)
    }

    /// Blocks signals; returns the old mask.
    pub async fn block(&self, signals: &[Signo]) -> SigSet {
        self.mask(SIG_BLOCK, SigSet::of(signals)).await
    }

    /// Unblocks signals; returns the old mask.
    pub async fn unblock(&self, signals: &[Signo]) -> SigSet {
        self.mask(SIG_UNBLOCK, SigSet::of(signals)).await
    }

    /// Sets the mask; returns the old one.
    pub async fn set_mask(&self, mask: SigSet) -> SigSet {
        self.mask(SIG_SETMASK, mask).await
    }

    /// `sigpending(2)`.
    ///
    /// # Panics
    /// If it fails.
    pub async fn sigpending(&self) -> SigSet {
        let at = self.put(&SigSet::EMPTY);
        let done = self.done(nr::SYS_SIGPENDING14, &[at]).await;
        done.expect("the place is there");
        self.get(at)
    }

    /// `sigsuspend(2)`.
    ///
    /// # Errors
    /// EINTR.
    pub async fn sigsuspend(&self, mask: SigSet) -> Nothing {
        let at = self.put(&mask);
        self.done(nr::SYS_SIGSUSPEND14, &[at]).await
    }

    /// `sigtimedwait(2)`.
    ///
    /// # Errors
    /// Those of the call.
    ///
    /// # Panics
    /// If the value is not the signal's number.
    pub async fn sigtimedwait(
        &self,
        set: SigSet,
        timeout: Option<Duration>,
    ) -> Result<Siginfo, Errno> {
        let (set, info) = (self.put(&set), self.put(&[0u8; size_of::<Siginfo>()]));
        let timeout = timeout.map_or(0, |time| self.put(&Timespec::from(time)));
        let Reply { rax, carry, .. } = self
            .syscall(nr::SYS_SIGTIMEDWAIT50, &[set, info, timeout])
            .await;
        let reply = Reply { rax, rdx: 0, carry };
        let signo = reply.result()?;
        let info: Siginfo = self.get(info);
        assert_eq!(u64::from(info.si_signo.unsigned_abs()), signo);
        Ok(info)
    }
}
