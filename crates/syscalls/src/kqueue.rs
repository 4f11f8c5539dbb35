//! kqueue(2): the object behind a kqueue descriptor.
//!
//! A kqueue holds [`knotes`], each with a [`source`] that knows when there is something to report.
//! Sources are told of news by descriptors (`lwp_kernel::watch`), signals, timers and inotify, at any
//! moment and under any lock of rank `Proc` or before; so all a source does then is ring its [`Bell`],
//! which lies in the inbox from then on, and wakes those who wait. Whoever looks at the kqueue next
//! empties the inbox and asks the filters. The state of the host is looked at then, not at the ring.
//!
//! # Invariants
//! 1. A bell rings exactly as long as it is in the inbox ([`Inbox`]): whoever takes it out silences it, also
//!    when its knote does not exist yet (then the filter is asked when it does), or any more.
//! 2. Who goes to sleep is in `waiters` before looking at the inbox a last time: no ring is lost.
//! 3. `queued` is the number of queued knotes whenever the lock is free.
//! 4. A kqueue inside another is asked for `queued` and its inbox only, never emptied: no recursion.
//!
//! # Locks
//! `Kqueue` (the knotes) before everything that sources use; `inbox`, `pollers` and `watchers` are of
//! rank `Queue` and held for one step each.
//!
//! Sources: kqueue(2); `kern_event.c`; syscalls.md 5.5.

mod fd;
mod knotes;
mod proc;
mod source;
pub(crate) mod sys;
mod timer;
mod user;
mod vnode;

use crate::files::FileObject;
use crate::host::Host;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use knotes::{Changed, Key, Knote, Knotes};
use lwp_abi::errno::Errno;
use lwp_abi::event::{EvFlags, Kevent100};
use lwp_abi::fs::Stat;
use lwp_abi::signal::Signo;
use lwp_kernel::Kernel;
use lwp_kernel::machine::Ready;
use lwp_kernel::sleepq::WaitQueue;
use lwp_kernel::sync::{Mutex, Rank};
use lwp_kernel::watch::{Listener, SignalListener};
use source::{Cx, Source};
use std::sync::{Arc, Weak};
use vnode::Inotify;

/// `S_IFIFO | S_IRUSR | S_IWUSR`: what fstat(2) says of a kqueue.
const KQUEUE_MODE: u32 = 0o010_600;

/// A kqueue.
pub(crate) struct Kqueue {
    st: Mutex<State>,
    inbox: Inbox,
    queued: AtomicUsize,
    /// Counts closings of numbers that refer to this.
    closings: AtomicU64,
    waiters: WaitQueue,
    /// Those who poll(2) this.
    pollers: Mutex<Vec<Weak<dyn Listener>>>,
    /// Knotes of other kqueues on this one.
    watchers: Mutex<Vec<Weak<Bell>>>,
    host: Arc<dyn Host>,
    me: Weak<Self>,
}

#[derive(Default)]
struct State {
    knotes: Knotes<Source>,
    inotify: Option<Arc<Inotify>>,
}

impl Kqueue {
    /// An empty kqueue.
    pub(crate) fn new(host: Arc<dyn Host>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            st: Mutex::new(Rank::Kqueue, State::default()),
            inbox: Inbox::new(),
            queued: AtomicUsize::new(0),
            closings: AtomicU64::new(0),
            waiters: WaitQueue::new(),
            pollers: Mutex::new(Rank::Queue, Vec::new()),
            watchers: Mutex::new(Rank::Queue, Vec::new()),
            host,
            me: Weak::clone(me),
        })
    }

    /// Applies one change (`kqueue_register`). Its flags have lost what is output only.
    ///
    /// # Errors
    /// EINVAL: no such filter, or not for this thing. EBADF: no such descriptor. ENOENT: no such knote.
    /// ESRCH, EACCES: the process. What the filter says.
    fn register(
        &self,
        sys: &crate::Unix,
        kernel: &Arc<Kernel>,
        change: &Kevent100,
    ) -> Result<(), Errno> {
        source::check(sys, change)?;
        let is_add = EvFlags::from_bits_retain(change.flags).contains(EvFlags::ADD);
        let key = Key::of(change);
        if !is_add || self.st.lock().knotes.contains(key) {
            return self.change(kernel, change);
        }
        let mut kn = Knote::new(change);
        let bell = Bell::new(Weak::clone(&self.me), key);
        let source = source::attach(self, sys, kernel, bell, &mut kn)?;
        let cx = self.cx(kernel);
        let mut st = self.st.lock();
        if st.knotes.contains(key) {
            // Another LWP was faster.
            drop(st);
            return self.change(kernel, change);
        }
        st.knotes.insert(kn, source, change, &cx);
        self.publish(&st);
        drop(st);
        self.tell(kernel);
        Ok(())
    }

    fn change(&self, kernel: &Arc<Kernel>, change: &Kevent100) -> Result<(), Errno> {
        let mut st = self.st.lock();
        let changed = st.knotes.change(change, &self.cx(kernel));
        self.publish(&st);
        drop(st);
        // A deleted source goes here, with no lock held.
        if let Changed::Updated = changed? {
            self.tell(kernel);
        }
        Ok(())
    }

    /// Asks the filters whose bells rang.
    fn answer(&self, kernel: &Arc<Kernel>) {
        if self.inbox.len() == 0 {
            return;
        }
        let cx = self.cx(kernel);
        let mut st = self.st.lock();
        for (key, hint) in self.news(&st) {
            st.knotes.activity(key, Some(hint), &cx);
        }
        self.publish(&st);
    }

    /// The knotes whose bells rang, with what happened.
    fn news(&self, st: &State) -> Vec<(Key, u64)> {
        let rung = self.inbox.take().into_iter().filter(|(bell, _)| {
            let source = st.knotes.filter(bell.key);
            source.is_some_and(|source| Arc::ptr_eq(source.bell(), bell))
        });
        rung.map(|(bell, hint)| (bell.key, hint)).collect()
    }

    /// Reports news and what is queued, up to `room` records in `out`: what was queued before `end`, or,
    /// without it, all. Returns the end: what is to be reported again comes behind it.
    fn scan(
        &self,
        kernel: &Arc<Kernel>,
        end: Option<u64>,
        room: usize,
        out: &mut Vec<Kevent100>,
    ) -> u64 {
        let mut gone = Vec::new();
        let mut st = self.st.lock();
        let news = self.news(&st);
        let cx = self.cx(kernel);
        let end = st.knotes.scan(&news, end, room, &cx, out, &mut gone);
        self.publish(&st);
        drop(st);
        // One-shot sources go here, with no lock held.
        drop(gone);
        end
    }

    /// Whether there may be something to report.
    fn has_news(&self) -> bool {
        self.pending() > 0
    }

    /// About how many knotes wait to be reported, without asking any filter.
    fn pending(&self) -> usize {
        self.queued.load(Ordering::SeqCst) + self.inbox.len()
    }

    fn publish(&self, st: &State) {
        self.queued.store(st.knotes.queued(), Ordering::SeqCst);
    }

    fn cx<'a>(&'a self, kernel: &'a Arc<Kernel>) -> Cx<'a> {
        Cx {
            kernel,
            host: &*self.host,
        }
    }

    /// Wakes those who wait for this kqueue, if there is reason to.
    fn tell(&self, kernel: &Arc<Kernel>) {
        if self.has_news() {
            self.wake(kernel);
        }
    }

    /// Wakes those who wait for this kqueue, for kqueues that have a knote on it, and so on. Cycles end
    /// where a bell rings already.
    fn wake(&self, kernel: &Arc<Kernel>) {
        let mut outer = self.wake_own(kernel);
        while let Some(bell) = outer.pop() {
            if let Some(kq) = bell.put() {
                outer.extend(kq.wake_own(kernel));
            }
        }
    }

    /// Wakes the LWPs that wait for this kqueue; returns the bells to be rung.
    fn wake_own(&self, kernel: &Arc<Kernel>) -> Vec<Arc<Bell>> {
        self.waiters.wake_all(kernel);
        for poller in live(&self.pollers) {
            poller.activity(kernel, Ready::IN);
        }
        live(&self.watchers)
    }

    /// The inotify instance of this kqueue, made when first needed.
    fn inotify(&self, kernel: &Arc<Kernel>) -> Result<Arc<Inotify>, Errno> {
        let mut st = self.st.lock();
        if let Some(inotify) = &st.inotify {
            return Ok(Arc::clone(inotify));
        }
        let inotify = Inotify::new(kernel, &*self.host)?;
        st.inotify = Some(Arc::clone(&inotify));
        Ok(inotify)
    }

    /// Rings `bell` whenever this kqueue gets something to report.
    fn watch(&self, bell: &Arc<Bell>) {
        let mut watchers = self.watchers.lock();
        watchers.retain(|each| each.strong_count() > 0);
        watchers.push(Arc::downgrade(bell));
    }
}

impl FileObject for Kqueue {
    fn stat(&self) -> Stat {
        Stat {
            st_mode: KQUEUE_MODE,
            st_size: i64::try_from(self.pending()).unwrap_or(i64::MAX),
            st_blksize: 40,
            st_blocks: 1,
            st_uid: rustix::process::geteuid().as_raw(),
            st_gid: rustix::process::getegid().as_raw(),
            ..Stat::default()
        }
    }

    fn ready(&self, kernel: &Arc<Kernel>) -> Ready {
        self.answer(kernel);
        if self.queued.load(Ordering::SeqCst) > 0 {
            Ready::IN
        } else {
            Ready::empty()
        }
    }

    fn listen(&self, listener: Weak<dyn Listener>) {
        let mut pollers = self.pollers.lock();
        pollers.retain(|each| each.strong_count() > 0);
        pollers.push(listener);
    }

    fn closed(&self, kernel: &Arc<Kernel>, fd: i32) {
        self.number_closed(kernel, fd);
        self.closings.fetch_add(1, Ordering::SeqCst);
        self.waiters.wake_all(kernel);
        for poller in live(&self.pollers) {
            poller.closed(kernel);
        }
    }

    fn number_closed(&self, _: &Arc<Kernel>, fd: i32) {
        let Ok(ident) = u64::try_from(fd) else { return };
        let mut st = self.st.lock();
        let gone: Vec<_> = source::FD_FILTERS
            .into_iter()
            .filter_map(|filter| st.knotes.remove(Key { ident, filter }))
            .collect();
        self.publish(&st);
        drop(st);
        drop(gone);
    }
}

impl core::fmt::Debug for Kqueue {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Kqueue")
            .field("queued", &self.queued)
            .finish_non_exhaustive()
    }
}

/// Those of a list that still live.
fn live<T: ?Sized>(list: &Mutex<Vec<Weak<T>>>) -> Vec<Arc<T>> {
    list.lock().iter().filter_map(Weak::upgrade).collect()
}

/// What a source rings when the thing it watches has changed.
#[derive(Debug)]
struct Bell {
    me: Weak<Self>,
    kq: Weak<Kqueue>,
    key: Key,
    /// The changes of a descriptor that it rings for.
    want: Ready,
    is_ringing: AtomicBool,
    /// What happened, for the filter: a count, or bits.
    hint: AtomicU64,
}

impl Bell {
    /// A silent bell for the knote `key` of `kq`.
    fn new(kq: Weak<Kqueue>, key: Key) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            kq,
            key,
            want: source::interest(key.filter),
            is_ringing: AtomicBool::new(false),
            hint: AtomicU64::new(0),
        })
    }

    /// Puts it into the inbox; `None` if it was there, or there is no kqueue any more.
    fn put(&self) -> Option<Arc<Kqueue>> {
        let (bell, kq) = (self.me.upgrade()?, self.kq.upgrade()?);
        kq.inbox.put(bell).then_some(kq)
    }

    /// Rings: there is news. May be called with locks of rank `Watch` and before held.
    fn ring(&self, kernel: &Arc<Kernel>) {
        if let Some(kq) = self.put() {
            kq.wake(kernel);
        }
    }
}

/// The bells that ring, in the order in which they began.
#[derive(Debug)]
struct Inbox {
    bells: Mutex<Vec<Arc<Bell>>>,
}

impl Inbox {
    fn new() -> Self {
        Self {
            bells: Mutex::new(Rank::Queue, Vec::new()),
        }
    }

    fn len(&self) -> usize {
        self.bells.lock().len()
    }

    /// Lets a bell ring; `false` if it does already.
    fn put(&self, bell: Arc<Bell>) -> bool {
        if bell.is_ringing.swap(true, Ordering::SeqCst) {
            return false;
        }
        self.bells.lock().push(bell);
        true
    }

    /// Takes out and silences all bells; each with what happened since it was last taken.
    fn take(&self) -> Vec<(Arc<Bell>, u64)> {
        let bells = core::mem::take(&mut *self.bells.lock());
        let silenced = bells.into_iter().map(|bell| {
            // In this order: what comes in between rings again. Pairs with `put`, after the hint.
            bell.is_ringing.store(false, Ordering::SeqCst);
            let hint = bell.hint.swap(0, Ordering::SeqCst);
            (bell, hint)
        });
        silenced.collect()
    }
}

impl Listener for Bell {
    fn activity(&self, kernel: &Arc<Kernel>, ready: Ready) {
        if ready.intersects(self.want) {
            self.hint
                .fetch_or(u64::from(ready.bits()), Ordering::SeqCst);
            self.ring(kernel);
        }
    }

    fn closed(&self, _: &Arc<Kernel>) {
        // The knote goes by `number_closed`.
    }
}

impl SignalListener for Bell {
    fn signalled(&self, kernel: &Arc<Kernel>, signo: Signo) {
        if u64::try_from(signo.raw()) == Ok(self.key.ident) {
            self.hint.fetch_add(1, Ordering::SeqCst);
            self.ring(kernel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bell(ident: u64) -> Arc<Bell> {
        Bell::new(Weak::new(), Key { ident, filter: 0 })
    }

    #[test]
    fn a_bell_that_was_taken_rings_again_whether_or_not_it_has_a_knote() {
        let (inbox, bell) = (Inbox::new(), bell(1));
        assert!(inbox.put(Arc::clone(&bell)));
        assert!(!inbox.put(Arc::clone(&bell)));
        assert_eq!((inbox.take().len(), inbox.len()), (1, 0));
        assert!(inbox.put(bell));
    }

    #[test]
    fn hints_gather_until_they_are_taken() {
        let (inbox, bell) = (Inbox::new(), bell(1));
        for _ in 0..3 {
            bell.hint.fetch_add(1, Ordering::SeqCst);
            inbox.put(Arc::clone(&bell));
        }
        let hints: Vec<_> = inbox.take().into_iter().map(|(_, hint)| hint).collect();
        assert_eq!(hints, [3]);
        inbox.put(bell);
        assert_eq!(inbox.take()[0].1, 0);
    }

    #[test]
    fn bells_are_answered_in_the_order_of_ringing() {
        let inbox = Inbox::new();
        let bells: Vec<_> = (0..3).map(bell).collect();
        for at in [2, 0, 1, 0, 2] {
            inbox.put(Arc::clone(&bells[at]));
        }
        let order: Vec<_> = inbox
            .take()
            .iter()
            .map(|(bell, _)| bell.key.ident)
            .collect();
        assert_eq!(order, [2, 0, 1]);
    }
}
