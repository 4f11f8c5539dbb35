//! Sleep queues: how an LWP comes to wait for something, and how it stops waiting.
//!
//! A sleep has three steps, as in NetBSD: [`CurLwp::sleepq_enter`] marks the LWP asleep (usually under
//! the lock that guards what it waits for, so that no wake-up is lost), then locks are dropped, then
//! [`CurLwp::sleepq_block`] waits and tells how it ended. [`WaitQueue`] is the sleep queue of one wait
//! channel; `_lwp_park` has none, since unpark finds the LWP by id.
//!
//! Responsible for the single outcome of each sleep and the order of the checks around it. Not for who
//! runs next (`sched`), nor for the passing of time (`callout`).
//!
//! # Invariants
//! 1. `LwpSt::asleep` is set by the LWP itself and cleared by exactly one of: a wake-up, its timer, a
//!    signal, cancellation; all under lwp_lock.
//! 2. A sleep that returned leaves no entry in any wait queue ([`Queued`]'s `Drop`) and no timer.
//! 3. Priority at entry: cancel or exit, then a pending signal, then sleep. At exit: timeout, then cancel
//!    or exit, then signal, then normal.
//!
//! Sources: `kern_sleepq.c: sleepq_enter, sleepq_block, sleepq_timeout`; lwp.md 4.1, 4.2.

use crate::callout::{Call, CalloutId};
use crate::events::What;
use crate::kernel::Kernel;
use crate::lwp::{CurLwp, Lwp, LwpFlags, LwpSt, SyncObj};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, Rank, SpinGuard};
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use lwp_abi::lwp::LwpState as LwpStat;
use std::sync::Arc;

/// How a sleep ended other than by the awaited event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an outcome nobody reads is a lost wake-up"]
pub enum SleepEnd {
    /// EWOULDBLOCK: the time ran out.
    TimedOut,
    /// EINTR: a signal whose disposition does not restart, `_lwp_wakeup`, or exit.
    Intr,
    /// ERESTART: a signal with SA_RESTART.
    Restart,
}

/// The wait message of `_lwp_park(2)`.
pub const PARKED: &str = "parked";
/// That of those who wait for another LWP to exit, or to suspend itself.
pub(crate) const LWP_WAIT: &str = "lwpwait";

/// Whether signals end a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Catch {
    /// They do.
    Signals,
    /// They do not.
    Nothing,
}

impl CurLwp {
    /// `sleepq_enter`, `sleepq_enqueue`: from here on a wake-up ends this sleep, even before it blocks.
    ///
    /// Returns the number of the sleep, for wait queues.
    pub fn sleepq_enter(&mut self, wmesg: &'static str, obj: SyncObj, catch: Catch) -> u64 {
        let mut st = self.lwp.lock();
        st.sleep_gen += 1;
        st.stat = LwpStat::Sleep;
        st.asleep = Some(obj);
        st.interruptible = catch == Catch::Signals;
        st.wmesg = wmesg;
        self.tell(|| What::Sleep { wmesg });
        st.sleep_gen
    }

    /// Takes back [`CurLwp::sleepq_enter`] without having slept.
    ///
    /// No lock may be held. If a stop has found the LWP asleep meanwhile, it counts as running again and
    /// stops at its next chance.
    pub fn sleepq_leave(&mut self) {
        {
            let mut st = self.lwp.lock();
            st.asleep = None;
            st.interruptible = false;
            self.tell(|| What::Awake);
            if st.stat != LwpStat::Stop {
                st.stat = LwpStat::Onproc;
                return;
            }
        }
        let mut p = self.kernel.proc.lock();
        let mut st = self.lwp.lock();
        if st.stat == LwpStat::Stop {
            p.nrlwps += 1;
            self.lwp.set_flags(LwpFlags::PENDSIG);
        }
        st.stat = LwpStat::Onproc;
    }

    /// `sleepq_block`: waits until something ends the sleep begun by [`CurLwp::sleepq_enter`], at
    /// `deadline` (monotonic) at the latest.
    ///
    /// # Errors
    /// How it ended, if not by a plain wake-up. `Ok` says that something woke the LWP, not that what it
    /// waits for is there.
    pub fn sleepq_block(
        &mut self,
        deadline: Option<Duration>,
        catch: Catch,
    ) -> impl Future<Output = Result<(), SleepEnd>> + Send {
        // Not an async fn: what is done before the wait needs no room in the future, of which every parked LWP
        // has one.
        let begun = self.sleepq_begin(deadline, catch);
        async move {
            match begun {
                Begun::Cancelled => return Err(SleepEnd::Intr),
                Begun::Signalled => {}
                Begun::Parked => self.block_lending(true).await,
                Begun::Asleep => self.block().await,
                Begun::Until(timer) => {
                    self.block().await;
                    if self.timed_out(timer) {
                        return Err(SleepEnd::TimedOut);
                    }
                }
            }
            let mut ended = self.sleepq_ended(catch);
            loop {
                match ended {
                    Some(ended) => return ended,
                    // This is where a stop is joined inside a call.
                    None => self.stop_here().await,
                }
                ended = self.sleep_signalled();
            }
        }
    }

    /// The first half of [`CurLwp::sleepq_block`]: what ends the sleep before it has begun, and the timer.
    fn sleepq_begin(&mut self, deadline: Option<Duration>, catch: Catch) -> Begun {
        if catch == Catch::Signals {
            let flags = self.lwp.flags();
            if flags.intersects(LwpFlags::INTR) {
                self.lwp.clear_flags(LwpFlags::CANCELLED);
                self.sleepq_leave();
                return Begun::Cancelled;
            }
            if flags.contains(LwpFlags::PENDSIG) && self.sigispending() {
                self.sleepq_leave();
                return Begun::Signalled;
            }
        }
        let Some(at) = deadline else {
            let lends = self.lwp.lock().asleep == Some(SyncObj::Park);
            return if lends { Begun::Parked } else { Begun::Asleep };
        };
        self.lwp.clear_flags(LwpFlags::STIMO);
        let sleep = self.lwp.lock().sleep_gen;
        let call = Call::Timeout(Arc::clone(&self.lwp), sleep);
        Begun::Until(self.kernel.callouts.schedule(at, call))
    }

    /// The sleep with this timer is over; whether the timer ended it.
    fn timed_out(&self, timer: CalloutId) -> bool {
        self.kernel.callouts.cancel(timer);
        self.lwp.flags().contains(LwpFlags::STIMO)
    }

    /// How a sleep has ended that no timer has; `None` as [`CurLwp::sleep_signalled`].
    fn sleepq_ended(&self, catch: Catch) -> Option<Result<(), SleepEnd>> {
        // What follows was looked at before an LWP went to user mode that came back from there.
        if self.came_back.is_some() || catch == Catch::Nothing {
            return Some(Ok(()));
        }
        let flags = self.lwp.flags();
        if flags.intersects(LwpFlags::INTR) {
            return Some(Err(SleepEnd::Intr));
        }
        if flags.contains(LwpFlags::PENDSIG) {
            return self.sleep_signalled();
        }
        Some(Ok(()))
    }

    /// Gives up the vcpu until this LWP is set running again. The state says why (`LwpSt::stat`).
    ///
    /// The one place where an LWP's future returns `Pending`.
    pub(crate) fn block(&mut self) -> Blocked<'_> {
        self.block_lending(false)
    }

    /// [`CurLwp::block`]; with `lends`, the user-mode state is in `LwpSt::user` meanwhile, and the LWP may have
    /// used it when this returns: then `came_back` says why it is here.
    fn block_lending(&mut self, lends: bool) -> Blocked<'_> {
        self.kernel.machine.switch_out(&mut self.ctx);
        Blocked { l: self, lends }
    }
}

/// How [`CurLwp::sleepq_block`] has begun.
enum Begun {
    /// It is over: cancelled, or the LWP is to exit.
    Cancelled,
    /// There is no sleep, for a signal may be due.
    Signalled,
    /// Asleep in a park without a limit.
    Parked,
    /// Asleep in another sleep without a limit.
    Asleep,
    /// Asleep, with this timer.
    Until(CalloutId),
}

/// Ready as soon as the LWP is set running.
#[must_use = "an LWP that does not await this goes on"]
pub(crate) struct Blocked<'a> {
    l: &'a mut CurLwp,
    lends: bool,
}

impl Future for Blocked<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let Self { l, lends } = &mut *self;
        let mut st = l.lwp.lock();
        match st.stat {
            LwpStat::Onproc => {}
            // Woken before it got here: still on its vcpu, so on no run queue (lwp.rs, invariant 3).
            LwpStat::Run if !st.yielding => st.stat = LwpStat::Onproc,
            _ => {
                if *lends {
                    st.user = l.ctx.0.take();
                }
                return Poll::Pending;
            }
        }
        if l.ctx.0.is_none() {
            l.ctx.0 = st.user.take();
            l.came_back = st.trap.take();
        }
        Poll::Ready(())
    }
}

impl Kernel {
    /// `sleepq_remove` and `setrunnable`: ends the sleep of an LWP that is asleep.
    ///
    /// A stopped one leaves its sleep and stays stopped.
    pub(crate) fn unsleep(&self, lwp: &Arc<Lwp>, mut st: SpinGuard<'_, LwpSt>) {
        debug_assert!(st.asleep.is_some(), "unsleep of an LWP that is not asleep");
        st.asleep = None;
        st.interruptible = false;
        if st.stat == LwpStat::Sleep {
            self.setrunnable(lwp, st);
        }
    }

    /// Makes an LWP runnable: queues it, or leaves that to the vcpu it is still on.
    pub(crate) fn setrunnable(&self, lwp: &Arc<Lwp>, mut st: SpinGuard<'_, LwpSt>) {
        st.stat = LwpStat::Run;
        self.tell(lwp, || What::Runnable);
        let queue = st.on_cpu().is_none();
        drop(st);
        if queue && self.sched.enqueue(lwp, &*self.machine) {
            self.summon();
        }
    }

    /// Ends sleep number `sleep` of `lwp`, if it is still in it. Returns whether it was.
    pub(crate) fn wake_sleep(&self, lwp: &Arc<Lwp>, sleep: u64) -> bool {
        let st = lwp.lock();
        if st.asleep.is_none() || st.sleep_gen != sleep {
            return false;
        }
        self.unsleep(lwp, st);
        true
    }

    /// `sleepq_timeout`.
    pub(crate) fn sleep_timeout(&self, lwp: &Arc<Lwp>, sleep: u64) {
        let st = lwp.lock();
        if st.asleep.is_some() && st.sleep_gen == sleep {
            lwp.set_flags(LwpFlags::STIMO);
            self.tell(lwp, || What::Timeout);
            self.unsleep(lwp, st);
        }
    }
}

/// The sleepers of one wait channel.
#[derive(Debug)]
pub struct WaitQueue {
    /// How many there are: lets a broadcast to nobody cost one load.
    count: AtomicUsize,
    waiters: Mutex<Waiters>,
}

/// A list in a vector: to come and to go costs the same however many there are, and mostly no memory.
#[derive(Debug)]
struct Waiters {
    places: Vec<Place>,
    first: usize,
    last: usize,
    /// The first free place; they are linked by `after`.
    free: usize,
    len: usize,
    tickets: u64,
}

#[derive(Debug)]
struct Place {
    /// Who came, in order; 0 in a free place.
    ticket: u64,
    /// The sleeper and its sleep; `None` in a free place.
    waiter: Option<(Arc<Lwp>, u64)>,
    before: usize,
    after: usize,
}

/// No place.
const NIL: usize = usize::MAX;

impl Waiters {
    const EMPTY: Self = Self {
        places: Vec::new(),
        first: NIL,
        last: NIL,
        free: NIL,
        len: 0,
        tickets: 0,
    };

    /// Takes the last place. Returns its index and its ticket.
    fn push(&mut self, waiter: (Arc<Lwp>, u64)) -> (usize, u64) {
        self.tickets += 1;
        let place = Place {
            ticket: self.tickets,
            waiter: Some(waiter),
            before: self.last,
            after: NIL,
        };
        let index = if self.free == NIL {
            self.places.push(place);
            self.places.len() - 1
        } else {
            let index = self.free;
            self.free = self.places[index].after;
            self.places[index] = place;
            index
        };
        match self.places.get_mut(self.last) {
            Some(last) => last.after = index,
            None => self.first = index,
        }
        self.last = index;
        self.len += 1;
        (index, self.tickets)
    }

    /// Gives back the place `index`, if `ticket` still has it.
    fn remove(&mut self, index: usize, ticket: u64) -> Option<(Arc<Lwp>, u64)> {
        let place = self.places.get_mut(index)?;
        if place.ticket != ticket {
            return None;
        }
        place.ticket = 0;
        let waiter = place.waiter.take();
        let (before, after) = (place.before, place.after);
        place.after = self.free;
        self.free = index;
        match self.places.get_mut(before) {
            Some(before) => before.after = after,
            None => self.first = after,
        }
        match self.places.get_mut(after) {
            Some(after) => after.before = before,
            None => self.last = before,
        }
        self.len -= 1;
        waiter
    }

    /// Takes out whoever came first, if that was no later than the one with ticket `latest`.
    fn pop(&mut self, latest: u64) -> Option<(Arc<Lwp>, u64)> {
        let ticket = self.places.get(self.first)?.ticket;
        if ticket > latest {
            return None;
        }
        self.remove(self.first, ticket)
    }
}

/// An LWP's place in a [`WaitQueue`]; dropping it takes the LWP out.
#[derive(Debug)]
#[must_use = "dropping it leaves the queue"]
pub struct Queued<'a> {
    queue: &'a WaitQueue,
    index: usize,
    ticket: u64,
}

impl WaitQueue {
    /// An empty queue.
    pub const fn new() -> Self {
        Self {
            count: AtomicUsize::new(0),
            waiters: Mutex::new(Rank::Queue, Waiters::EMPTY),
        }
    }

    /// Marks the current LWP asleep on this queue. Call it with the lock held that guards the awaited
    /// condition, then drop that lock and await [`CurLwp::sleepq_block`].
    pub fn enter(&self, l: &mut CurLwp, wmesg: &'static str, catch: Catch) -> Queued<'_> {
        let sleep = l.sleepq_enter(wmesg, SyncObj::Other, catch);
        let mut waiters = self.waiters.lock();
        let (index, ticket) = waiters.push((Arc::clone(&l.lwp), sleep));
        self.count.store(waiters.len, Ordering::SeqCst);
        Queued {
            queue: self,
            index,
            ticket,
        }
    }

    /// Wakes everybody (`cv_broadcast`).
    pub fn wake_all(&self, kernel: &Kernel) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut waiters = self.waiters.lock();
        // Those who come while it goes on are not meant.
        let latest = waiters.tickets;
        if kernel.sched.meddles() {
            let mut woken: Vec<_> = core::iter::from_fn(|| waiters.pop(latest)).collect();
            self.count.store(waiters.len, Ordering::Release);
            drop(waiters);
            kernel.sched.shuffle(&mut woken);
            for (lwp, sleep) in woken {
                kernel.wake_sleep(&lwp, sleep);
            }
            return;
        }
        while let Some((lwp, sleep)) = waiters.pop(latest) {
            let left = waiters.len;
            self.count.store(left, Ordering::Release);
            drop(waiters);
            kernel.wake_sleep(&lwp, sleep);
            if left == 0 {
                return;
            }
            waiters = self.waiters.lock();
        }
    }

    /// How many places are taken.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Forgets all sleepers: for a fork child, where they do not exist.
    pub fn clear(&self) {
        let mut waiters = self.waiters.lock();
        core::mem::forget(core::mem::replace(&mut *waiters, Waiters::EMPTY));
        self.count.store(0, Ordering::SeqCst);
    }
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        // It has counted itself: if nobody is left, it was taken out by whoever woke it.
        if self.queue.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut waiters = self.queue.waiters.lock();
        let _mostly_woken_long_ago = waiters.remove(self.index, self.ticket);
        self.queue.count.store(waiters.len, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::Joinable;
    use lwp_abi::lwp::LwpId;
    use lwp_abi::signal::SigSet;

    #[test]
    fn places_are_left_in_any_order_and_the_first_come_is_the_first_out() {
        let mut waiters = Waiters::EMPTY;
        let lwp = Arc::new(Lwp::new(LwpId::new(1), 0, SigSet::EMPTY, Joinable::Yes));
        let come = |waiters: &mut Waiters, sleep| waiters.push((Arc::clone(&lwp), sleep));
        let sleep = |waiter: Option<(Arc<Lwp>, u64)>| waiter.map(|(_, sleep)| sleep);
        let places: Vec<_> = (0..5).map(|number| come(&mut waiters, number)).collect();
        for left in [2, 0, 4] {
            let (index, ticket) = places[left];
            assert_eq!(sleep(waiters.remove(index, ticket)), Some(left as u64));
            assert!(waiters.remove(index, ticket).is_none());
        }
        let latest = waiters.tickets;
        // Into a place that was left: the old ticket no longer has it.
        let (index, ticket) = come(&mut waiters, 5);
        let left = places.iter().find(|place| place.0 == index);
        assert!(
            left.is_some_and(|&(_, old)| old != ticket && waiters.remove(index, old).is_none())
        );
        let out: Vec<_> = core::iter::from_fn(|| sleep(waiters.pop(latest))).collect();
        assert_eq!(out, [1, 3]);
        assert_eq!((sleep(waiters.pop(u64::MAX)), waiters.len), (Some(5), 0));
        assert_eq!((waiters.first, waiters.last), (NIL, NIL));
    }
}
