//! `EVFILT_VNODE`, and the edges of files: inotify.
//!
//! A kqueue has one inotify instance, made when first needed. What it reports is put into the hints of
//! the bells that subscribed to the file; a knote makes NOTE_* of that when it answers.
//!
//! `NOTE_LINK` and `NOTE_DELETE` are not reported by the host as such: a change of attributes with another
//! link count is LINK, and DELETE when the count has become 0. `NOTE_REVOKE` never comes.
//!
//! # Locks
//! `subscribers` is of rank `Queue`; bells are rung without it.
//!
//! Sources: `vfs_vnops.c: vn_knote_*`, `genfs_vnops.c: filt_genfsvnode`; syscalls.md 5.5.

use super::fd::{Own, own};
use super::knotes::Knote;
use super::source::Cx;
use super::{Bell, Kqueue};
use crate::Unix;
use crate::errno::from_rustix;
use crate::files::Kind;
use crate::host::Host;
use core::mem::MaybeUninit;
use core::sync::atomic::Ordering;
use lwp_abi::errno::Errno;
use lwp_abi::event::{
    NOTE_ATTRIB, NOTE_CLOSE, NOTE_CLOSE_WRITE, NOTE_DELETE, NOTE_EXTEND, NOTE_LINK, NOTE_OPEN,
    NOTE_READ, NOTE_RENAME, NOTE_WRITE,
};
use lwp_kernel::Kernel;
use lwp_kernel::machine::Ready;
use lwp_kernel::sync::{Mutex, Rank};
use lwp_kernel::watch::Listener;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};

/// Room for what the host reports at a time.
const BUFFER: usize = 4096;

/// An inotify instance and who wants to know what.
#[derive(Debug)]
pub(super) struct Inotify {
    fd: Own,
    /// By the host's watch number.
    subscribers: Mutex<HashMap<i32, Vec<Weak<Bell>>>>,
}

impl Inotify {
    /// A new instance, listened to.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub(super) fn new(kernel: &Arc<Kernel>, host: &dyn Host) -> Result<Arc<Self>, Errno> {
        let fd =
            inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(from_rustix)?;
        let fd = own(Cx { kernel, host }, fd)?;
        let number = fd.number();
        let this = Arc::new(Self {
            fd,
            subscribers: Mutex::new(Rank::Queue, HashMap::new()),
        });
        let listener: Weak<Self> = Arc::downgrade(&this);
        if let Ok(watch) = kernel.watches.get(kernel, number) {
            watch.listen(listener);
        }
        Ok(this)
    }

    /// Adds `changes` to what is reported of the file behind descriptor `fd`; returns the watch number.
    fn add(&self, fd: i32, changes: WatchFlags) -> Result<i32, Errno> {
        let path = format!("/proc/self/fd/{fd}");
        // Differs in name only: a file that cannot be watched has no such filter.
        inotify::add_watch(self.fd.as_fd(), path, changes | WatchFlags::MASK_ADD)
            .map_err(|_| Errno::EOPNOTSUPP)
    }

    fn subscribe(&self, fd: i32, changes: WatchFlags, bell: &Arc<Bell>) -> Result<i32, Errno> {
        let mut subscribers = self.subscribers.lock();
        let wd = self.add(fd, changes)?;
        subscribers
            .entry(wd)
            .or_default()
            .push(Arc::downgrade(bell));
        Ok(wd)
    }

    fn unsubscribe(&self, wd: i32, bell: &Weak<Bell>) {
        let mut subscribers = self.subscribers.lock();
        let Some(bells) = subscribers.get_mut(&wd) else {
            return;
        };
        bells.retain(|each| !each.ptr_eq(bell));
        if bells.is_empty() {
            subscribers.remove(&wd);
            // Fails if the file is gone for good, and the watch with it.
            let _ = inotify::remove_watch(self.fd.as_fd(), wd);
        }
    }

    /// Takes what the host has to report, and rings.
    fn collect(&self, kernel: &Arc<Kernel>) {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = Reader::new(self.fd.as_fd(), &mut buffer);
        while let Ok(event) = reader.next() {
            let bells: Vec<_> = match self.subscribers.lock().get(&event.wd()) {
                Some(bells) => bells.iter().filter_map(Weak::upgrade).collect(),
                None => continue,
            };
            for bell in bells {
                bell.hint
                    .fetch_or(u64::from(event.events().bits()), Ordering::SeqCst);
                bell.ring(kernel);
            }
        }
    }
}

impl Listener for Inotify {
    fn activity(&self, kernel: &Arc<Kernel>, _: Ready) {
        self.collect(kernel);
    }

    fn closed(&self, _: &Arc<Kernel>) {}
}

/// A bell's subscription to the changes of one file; dropping it ends it.
#[derive(Debug)]
pub(super) struct Subscription {
    inotify: Arc<Inotify>,
    fd: i32,
    wd: i32,
    bell: Weak<Bell>,
}

impl Subscription {
    /// Rings `bell` when the file behind descriptor `fd` changes in one of these ways.
    ///
    /// # Errors
    /// EOPNOTSUPP: the host cannot watch it. EMFILE, ENFILE, ENOMEM.
    pub(super) fn new(
        kq: &Kqueue,
        cx: Cx<'_>,
        bell: &Arc<Bell>,
        fd: i32,
        changes: WatchFlags,
    ) -> Result<Self, Errno> {
        let inotify = kq.inotify(cx.kernel)?;
        let wd = inotify.subscribe(fd, changes, bell)?;
        Ok(Self {
            inotify,
            fd,
            wd,
            bell: Arc::downgrade(bell),
        })
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.inotify.unsubscribe(self.wd, &self.bell);
    }
}

/// `EVFILT_VNODE` at work.
#[derive(Debug)]
pub(super) struct VnodeSource {
    subscription: Subscription,
    /// Links and bytes, as last seen.
    seen: Seen,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Seen {
    links: u64,
    size: i64,
}

impl VnodeSource {
    /// Attaches to the file behind the descriptor that the ident names.
    ///
    /// # Errors
    /// EINVAL: it is no file or directory. EOPNOTSUPP: the host cannot watch it.
    pub(super) fn attach(
        kq: &Kqueue,
        sys: &Unix,
        cx: Cx<'_>,
        bell: &Arc<Bell>,
        kn: &Knote,
    ) -> Result<Self, Errno> {
        let fd = i32::try_from(kn.kev.ident).map_err(|_| Errno::EBADF)?;
        if !matches!(sys.files.kind(cx.host, fd)?, Kind::Disk | Kind::Directory) {
            return Err(Errno::EINVAL);
        }
        let subscription = Subscription::new(kq, cx, bell, fd, changes(kn.sfflags))?;
        let seen = look(cx.host, fd).unwrap_or_default();
        Ok(Self { subscription, seen })
    }

    /// The guest watches for `notes` now.
    ///
    /// # Errors
    /// EOPNOTSUPP.
    pub(super) fn widen(&self, _: &Bell, notes: u32) -> Result<(), Errno> {
        let Subscription { inotify, fd, .. } = &self.subscription;
        inotify.add(*fd, changes(notes)).map(|_| ())
    }

    /// Adds what happened to the flags to be reported, as far as it was asked for.
    pub(super) fn activity(&mut self, kn: &mut Knote, hint: u64, cx: &Cx<'_>) -> bool {
        let events = ReadFlags::from_bits_retain(u32::try_from(hint).unwrap_or(0));
        let now = look(cx.host, self.subscription.fd).unwrap_or(self.seen);
        kn.kev.fflags |= notes(events, self.seen, now) & kn.sfflags;
        self.seen = now;
        kn.kev.fflags != 0
    }
}

fn look(host: &dyn Host, fd: i32) -> Option<Seen> {
    let stat = rustix::fs::fstat(host.fd(fd).ok()?).ok()?;
    Some(Seen {
        links: stat.st_nlink,
        size: stat.st_size,
    })
}

/// What the host is to report for these NOTE_* flags: the rare changes always, the frequent ones if asked.
fn changes(notes: u32) -> WatchFlags {
    let mut changes = WatchFlags::MODIFY
        | WatchFlags::ATTRIB
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::MOVE_SELF;
    for (note, flag) in [
        (NOTE_OPEN, WatchFlags::OPEN),
        (NOTE_CLOSE, WatchFlags::CLOSE_NOWRITE),
        (NOTE_CLOSE_WRITE, WatchFlags::CLOSE_WRITE),
        (NOTE_READ, WatchFlags::ACCESS),
    ] {
        if notes & note != 0 {
            changes |= flag;
        }
    }
    changes
}

/// The NOTE_* flags for what the host reported, with the file's state before and after.
fn notes(events: ReadFlags, before: Seen, after: Seen) -> u32 {
    let entries =
        ReadFlags::CREATE | ReadFlags::DELETE | ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO;
    let mut notes = 0;
    if events.intersects(ReadFlags::MODIFY | entries) {
        notes |= NOTE_WRITE;
    }
    if events.contains(ReadFlags::MODIFY) && after.size > before.size {
        notes |= NOTE_EXTEND;
    }
    // In a directory, a subdirectory coming or going; in a file, a name of it.
    if after.links != before.links {
        notes |= if after.links == 0 {
            NOTE_DELETE
        } else {
            NOTE_LINK
        };
    } else if events.contains(ReadFlags::ATTRIB) {
        notes |= NOTE_ATTRIB;
    }
    for (event, note) in [
        (ReadFlags::DELETE_SELF, NOTE_DELETE),
        (ReadFlags::MOVE_SELF, NOTE_RENAME),
        (ReadFlags::OPEN, NOTE_OPEN),
        (ReadFlags::CLOSE_NOWRITE, NOTE_CLOSE),
        (ReadFlags::CLOSE_WRITE, NOTE_CLOSE_WRITE),
        (ReadFlags::ACCESS, NOTE_READ),
    ] {
        if events.contains(event) {
            notes |= note;
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Seen = Seen { links: 1, size: 10 };

    #[test]
    fn a_write_extends_only_if_the_file_grew() {
        assert_eq!(notes(ReadFlags::MODIFY, FILE, FILE), NOTE_WRITE);
        let longer = Seen { size: 11, ..FILE };
        assert_eq!(
            notes(ReadFlags::MODIFY, FILE, longer),
            NOTE_WRITE | NOTE_EXTEND
        );
    }

    #[test]
    fn link_counts_tell_links_and_deletion_from_attributes() {
        let linked = Seen { links: 2, ..FILE };
        let deleted = Seen { links: 0, ..FILE };
        assert_eq!(notes(ReadFlags::ATTRIB, FILE, FILE), NOTE_ATTRIB);
        assert_eq!(notes(ReadFlags::ATTRIB, FILE, linked), NOTE_LINK);
        assert_eq!(notes(ReadFlags::ATTRIB, FILE, deleted), NOTE_DELETE);
    }

    #[test]
    fn entries_coming_and_going_are_writes_to_the_directory() {
        let dir = Seen { links: 2, size: 0 };
        let with_subdirectory = Seen { links: 3, size: 0 };
        assert_eq!(notes(ReadFlags::CREATE, dir, dir), NOTE_WRITE);
        assert_eq!(
            notes(ReadFlags::CREATE, dir, with_subdirectory),
            NOTE_WRITE | NOTE_LINK
        );
    }

    #[test]
    fn frequent_changes_are_watched_for_only_on_demand() {
        assert!(!changes(NOTE_WRITE).intersects(WatchFlags::ACCESS | WatchFlags::OPEN));
        assert!(changes(NOTE_READ).contains(WatchFlags::ACCESS));
    }
}
