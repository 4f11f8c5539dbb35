//! What is known of descriptors beyond what the host knows.
//!
//! Guest descriptor numbers are host numbers, so the host keeps the table of open files. Here is the
//! rest, by number: what kind of file it is (asked of the host once), `O_NOSIGPIPE`, and the objects that
//! are the kernel's own (kqueues) and only borrow a number from the host.
//!
//! # Invariants
//! 1. [`Files::closing`] comes before every host close or dup over a number, so that whatever hangs on
//!    the number goes away first.
//! 2. A slot's generation changes with every `closing` and `closed`: what was learnt about the old file is
//!    not kept for the new one.
//! 3. No guest number is [`MAX_FILES`] or more: the limit `RLIMIT_NOFILE` sees to that.
//!
//! # Locks
//! `objects` is `Rank::Files`, the outermost; no object's method is called with it held.
//!
//! Differs from NetBSD: `O_NOSIGPIPE` belongs to the number, copied by dup, not to the open file; after
//! a dup, `F_SETNOSIGPIPE` on one number does not change the other.
//!
//! Sources: syscalls.md 5.2, 5.5; `kern_descrip.c: fd_close`.

use crate::errno::{from_host, from_rustix};
use crate::host::Host;
use core::any::Any;
use core::sync::atomic::{AtomicU32, Ordering};
use lwp_abi::errno::Errno;
use lwp_abi::fs::Stat;
use lwp_kernel::Kernel;
use lwp_kernel::machine::Ready;
use lwp_kernel::sync::{Mutex, Rank};
use lwp_kernel::watch::Listener;
use rustix::fs::FileType;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// One more than the largest descriptor number a guest can have.
pub const MAX_FILES: i32 = 1 << 16;

/// What a descriptor refers to, as far as waiting depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file or block device: transfers do not sleep.
    Disk,
    /// A directory.
    Directory,
    /// A pipe or FIFO.
    Fifo,
    /// A socket.
    Socket,
    /// A terminal or another character device.
    Device,
    /// `/dev/random` or `/dev/urandom`: reads are the machine's random bytes.
    Random,
    /// Something of the host without a file type: eventfd, timerfd.
    Anonymous,
    /// An object of ours; see [`Files::object`].
    Object,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Disk,
        Self::Directory,
        Self::Fifo,
        Self::Socket,
        Self::Device,
        Self::Random,
        Self::Anonymous,
        Self::Object,
    ];

    fn of(stat: &rustix::fs::Stat) -> Self {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile | FileType::BlockDevice | FileType::Symlink => Self::Disk,
            FileType::Directory => Self::Directory,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice if RANDOM.contains(&stat.st_rdev) => Self::Random,
            FileType::CharacterDevice => Self::Device,
            FileType::Unknown => Self::Anonymous,
        }
    }

    /// The value in a slot; 0 is "not known".
    fn code(self) -> u32 {
        self as u32 + 1
    }

    fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// A descriptor's object that the host knows nothing of. Its number is held by some host descriptor
/// that does nothing.
///
/// read(2) and write(2) on it are ENXIO, most of fcntl(2) and all of ioctl(2) ENOTTY.
pub trait FileObject: Any + Send + Sync {
    /// fstat(2).
    fn stat(&self) -> Stat;

    /// poll(2): what it is ready for now.
    fn ready(&self, kernel: &Arc<Kernel>) -> Ready;

    /// Tells `listener` when [`FileObject::ready`] may have changed, for as long as it lives.
    fn listen(&self, listener: Weak<dyn Listener>);

    /// The number `fd`, one of those that refer to this object, is about to be closed.
    fn closed(&self, kernel: &Arc<Kernel>, fd: i32);

    /// The number `fd`, of some other file, is about to be closed.
    fn number_closed(&self, kernel: &Arc<Kernel>, fd: i32);
}

/// The host's device numbers of `/dev/random` and `/dev/urandom`.
const RANDOM: [u64; 2] = [0x108, 0x109];

const KIND: u32 = 0xf;
const NOSIGPIPE: u32 = 0x10;
const GENERATION: u32 = 0x100;

/// The table; see the module header.
pub struct Files {
    /// By number: kind in bits 0 to 3, `O_NOSIGPIPE` in bit 4, generation from bit 8.
    slots: Box<[AtomicU32]>,
    objects: Mutex<BTreeMap<i32, Arc<dyn FileObject>>>,
}

impl Default for Files {
    fn default() -> Self {
        Self::new()
    }
}

impl Files {
    /// A table in which nothing is known.
    pub fn new() -> Self {
        Self {
            slots: (0..MAX_FILES).map(|_| AtomicU32::new(0)).collect(),
            objects: Mutex::new(Rank::Files, BTreeMap::new()),
        }
    }

    fn slot(&self, fd: i32) -> Result<&AtomicU32, Errno> {
        usize::try_from(fd)
            .ok()
            .and_then(|at| self.slots.get(at))
            .ok_or(Errno::EBADF)
    }

    /// What `fd` refers to.
    ///
    /// # Errors
    /// EBADF: it is not open.
    pub fn kind(&self, host: &dyn Host, fd: i32) -> Result<Kind, Errno> {
        let slot = self.slot(fd)?;
        let seen = slot.load(Ordering::Acquire);
        if let Some(kind) = Kind::from_code(seen & KIND) {
            return Ok(kind);
        }
        let stat = rustix::fs::fstat(host.fd(fd).map_err(from_host)?).map_err(from_rustix)?;
        let kind = Kind::of(&stat);
        // Lost if the number was closed meanwhile (invariant 2).
        let _ = slot.compare_exchange(
            seen,
            seen | kind.code(),
            Ordering::Release,
            Ordering::Relaxed,
        );
        Ok(kind)
    }

    /// Whether `fd` is open, and the guest's.
    ///
    /// # Errors
    /// EBADF.
    pub fn check(&self, host: &dyn Host, fd: i32) -> Result<(), Errno> {
        self.kind(host, fd).map(|_| ())
    }

    /// The object behind `fd`, if it has one.
    pub fn object(&self, fd: i32) -> Option<Arc<dyn FileObject>> {
        let seen = self.slot(fd).ok()?.load(Ordering::Acquire);
        if seen & KIND != Kind::Object.code() {
            return None;
        }
        self.objects.lock().get(&fd).map(Arc::clone)
    }

    /// The object behind `fd`, if it has one of type `T`.
    pub fn object_of<T: FileObject>(&self, fd: i32) -> Option<Arc<T>> {
        let object: Arc<dyn Any + Send + Sync> = self.object(fd)?;
        object.downcast().ok()
    }

    /// Puts an object behind `fd`, a host descriptor just made for it.
    ///
    /// # Errors
    /// EBADF: there can be no such number.
    pub fn install(&self, fd: i32, object: Arc<dyn FileObject>) -> Result<(), Errno> {
        let slot = self.slot(fd)?;
        self.objects.lock().insert(fd, object);
        let generation = slot.load(Ordering::Acquire) & !(GENERATION - 1);
        slot.store(generation | Kind::Object.code(), Ordering::Release);
        Ok(())
    }

    /// Whether EPIPE on `fd` comes without SIGPIPE.
    pub fn is_nosigpipe(&self, fd: i32) -> bool {
        self.slot(fd)
            .is_ok_and(|slot| slot.load(Ordering::Relaxed) & NOSIGPIPE != 0)
    }

    /// `F_SETNOSIGPIPE`, `O_NOSIGPIPE`.
    pub fn set_nosigpipe(&self, fd: i32, is_set: bool) {
        let Ok(slot) = self.slot(fd) else { return };
        if is_set {
            slot.fetch_or(NOSIGPIPE, Ordering::Relaxed);
        } else {
            slot.fetch_and(!NOSIGPIPE, Ordering::Relaxed);
        }
    }

    /// `to` has become a copy of `from`; `to` was closed before, or never open.
    pub fn duplicated(&self, from: i32, to: i32) {
        self.set_nosigpipe(to, self.is_nosigpipe(from));
        if let Some(object) = self.object(from) {
            // The number exists: it was just made.
            let _ = self.install(to, object);
        }
    }

    /// `fd` is about to be closed or replaced: sleepers wake and find EBADF, knotes go, the object behind
    /// it is told. Nothing happens if it is not open.
    pub fn closing(&self, kernel: &Arc<Kernel>, fd: i32) {
        let Ok(slot) = self.slot(fd) else { return };
        let _ = slot.fetch_update(Ordering::AcqRel, Ordering::Acquire, |seen| {
            Some((seen & !(GENERATION - 1)).wrapping_add(GENERATION))
        });
        let (object, others) = {
            let mut objects = self.objects.lock();
            let object = objects.remove(&fd);
            (object, objects.values().map(Arc::clone).collect::<Vec<_>>())
        };
        for other in others {
            other.number_closed(kernel, fd);
        }
        kernel.watches.gone(kernel, fd);
        if let Some(object) = object {
            object.closed(kernel, fd);
        }
    }

    /// `fd` has been closed or replaced, after [`Files::closing`]. What was learnt meanwhile may be about the
    /// old file, but for an object, which says itself that it is there.
    pub fn closed(&self, kernel: &Arc<Kernel>, fd: i32) {
        let Ok(slot) = self.slot(fd) else { return };
        let _ = slot.fetch_update(Ordering::AcqRel, Ordering::Acquire, |seen| {
            let is_object = seen & KIND == Kind::Object.code();
            (!is_object).then_some((seen & !KIND).wrapping_add(GENERATION))
        });
        kernel.watches.closed(kernel, fd);
    }

    /// The numbers that have an object, highest last.
    pub fn objects(&self) -> Vec<i32> {
        self.objects.lock().keys().copied().collect()
    }

    /// In a fork child: kqueues are not inherited, so their numbers are closed.
    ///
    /// The objects are leaked: what they hold belongs to LWPs that do not exist here.
    pub fn forked_child(&self, host: &dyn Host) {
        let objects = core::mem::take(&mut *self.objects.lock());
        for (fd, object) in objects {
            core::mem::forget(object);
            if let Ok(slot) = self.slot(fd) {
                slot.store(0, Ordering::Release);
            }
            // It was open a moment ago, and nobody else is here.
            let _ = host.close(fd);
        }
    }
}

impl core::fmt::Debug for Files {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Files").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_distinct_codes_that_fit_their_bits() {
        for kind in Kind::ALL {
            assert!((1..=KIND).contains(&kind.code()));
            assert_eq!(Kind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(Kind::from_code(0), None);
    }

    #[test]
    fn numbers_out_of_range_are_no_descriptors() {
        let files = Files::new();
        for fd in [-1, i32::MIN, MAX_FILES, i32::MAX] {
            assert!(files.object(fd).is_none() && !files.is_nosigpipe(fd));
            files.set_nosigpipe(fd, true);
        }
    }

    #[test]
    fn nosigpipe_is_copied_with_the_descriptor() {
        let files = Files::new();
        files.set_nosigpipe(3, true);
        files.duplicated(3, 7);
        assert!(files.is_nosigpipe(7));
        files.set_nosigpipe(7, false);
        assert!(files.is_nosigpipe(3));
    }
}
