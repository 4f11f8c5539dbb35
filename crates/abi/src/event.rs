//! Kernel queues, and the descriptors that count events or time.
//!
//! There are two records. Up to NetBSD 10 a `struct kevent` has 40 bytes, here [`Kevent`] (call 435);
//! NetBSD 11 adds four words, here [`Kevent100`] after its call, `__kevent100` (501).
//!
//! Sources: kqueue(2), eventfd(2), timerfd(2), sys/event.h, sys/eventfd.h, sys/timerfd.h.

use crate::table::numbers;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct kevent` up to NetBSD 10.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Kevent {
    /// The thing watched: a descriptor, a process, a signal, any number.
    pub ident: u64,
    /// One of [`EVFILTS`].
    pub filter: u32,
    /// [`EvFlags`].
    pub flags: u32,
    /// What the filter shall watch for, or has seen.
    pub fflags: u32,
    /// Padding.
    pub pad: u32,
    /// What the filter has to say.
    pub data: i64,
    /// The program's own.
    pub udata: u64,
}

/// `struct kevent` since NetBSD 11.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Kevent100 {
    /// The thing watched: a descriptor, a process, a signal, any number.
    pub ident: u64,
    /// One of [`EVFILTS`].
    pub filter: u32,
    /// [`EvFlags`].
    pub flags: u32,
    /// What the filter shall watch for, or has seen.
    pub fflags: u32,
    /// Padding.
    pub pad: u32,
    /// What the filter has to say.
    pub data: i64,
    /// The program's own.
    pub udata: u64,
    /// The program's own, too.
    pub ext: [u64; 4],
}

impl From<Kevent> for Kevent100 {
    fn from(ev: Kevent) -> Self {
        let Kevent {
            ident,
            filter,
            flags,
            fflags,
            data,
            udata,
            ..
        } = ev;
        Self {
            ident,
            filter,
            flags,
            fflags,
            data,
            udata,
            ..Self::default()
        }
    }
}

impl From<Kevent100> for Kevent {
    fn from(ev: Kevent100) -> Self {
        let Kevent100 {
            ident,
            filter,
            flags,
            fflags,
            data,
            udata,
            ..
        } = ev;
        Self {
            ident,
            filter,
            flags,
            fflags,
            data,
            udata,
            ..Self::default()
        }
    }
}

numbers! {
    /// Filters. They count up from 0, and are not negative as elsewhere.
    EVFILTS: u32 {
        /// Never implemented: `EINVAL`.
        EVFILT_AIO = 2,
        /// NetBSD 10 and later.
        EVFILT_EMPTY = 9,
        EVFILT_FS = 7,
        EVFILT_PROC = 4,
        EVFILT_READ = 0,
        EVFILT_SIGNAL = 5,
        EVFILT_SYSCOUNT = 10,
        EVFILT_TIMER = 6,
        /// NetBSD 10 and later.
        EVFILT_USER = 8,
        EVFILT_VNODE = 3,
        EVFILT_WRITE = 1,
    }
}

numbers! {
    /// Flags of [`Kevent::flags`].
    EV_FLAGS: u32 {
        EV_ADD = 0x1,
        EV_CLEAR = 0x20,
        EV_DELETE = 0x2,
        EV_DISABLE = 0x8,
        /// NetBSD 6 and later.
        EV_DISPATCH = 0x80,
        EV_ENABLE = 0x4,
        EV_EOF = 0x8000,
        EV_ERROR = 0x4000,
        EV_FLAG1 = 0x2000,
        EV_ONESHOT = 0x10,
        /// NetBSD 6 and later.
        EV_RECEIPT = 0x40,
        /// The kernel's own flags: taken off what a program passes.
        EV_SYSFLAGS = 0xf000,
    }
}

bitflags::bitflags! {
    /// What to do with an event, and what it is. Unknown bits survive.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct EvFlags: u32 {
        /// Add it, or change it.
        const ADD = EV_ADD;
        /// Delete it.
        const DELETE = EV_DELETE;
        /// Report it.
        const ENABLE = EV_ENABLE;
        /// Do not report it.
        const DISABLE = EV_DISABLE;
        /// Delete it after the first report.
        const ONESHOT = EV_ONESHOT;
        /// Begin anew after each report.
        const CLEAR = EV_CLEAR;
        /// Report the outcome of the change.
        const RECEIPT = EV_RECEIPT;
        /// Disable it after each report.
        const DISPATCH = EV_DISPATCH;
        /// The filter's own.
        const FLAG1 = EV_FLAG1;
        /// The change failed; the data is an error number.
        const ERROR = EV_ERROR;
        /// There is an end.
        const EOF = EV_EOF;
        const _ = !0;
    }
}

numbers! {
    /// Values of [`Kevent::fflags`]. Each belongs to some filters; numbers repeat.
    NOTES: u32 {
        /// NetBSD 10 and later.
        NOTE_ABSTIME = 0x10,
        NOTE_ATTRIB = 0x8,
        /// Of `EVFILT_PROC`; only reported.
        NOTE_CHILD = 0x4,
        /// NetBSD 10 and later.
        NOTE_CLOSE = 0x100,
        /// NetBSD 10 and later.
        NOTE_CLOSE_WRITE = 0x200,
        NOTE_DELETE = 0x1,
        /// Of `EVFILT_PROC`.
        NOTE_EXEC = 0x2000_0000,
        /// Of `EVFILT_PROC`.
        NOTE_EXIT = 0x8000_0000,
        NOTE_EXTEND = 0x4,
        NOTE_FFAND = 0x4000_0000,
        NOTE_FFCOPY = 0xc000_0000,
        NOTE_FFCTRLMASK = 0xc000_0000,
        NOTE_FFLAGSMASK = 0xff_ffff,
        NOTE_FFNOP = 0x0,
        NOTE_FFOR = 0x8000_0000,
        /// Of `EVFILT_PROC`.
        NOTE_FORK = 0x4000_0000,
        NOTE_LINK = 0x10,
        /// Of `EVFILT_READ` and `EVFILT_WRITE`, on sockets.
        NOTE_LOWAT = 0x1,
        /// The default.
        NOTE_MSECONDS = 0x0,
        /// NetBSD 10 and later.
        NOTE_NSECONDS = 0x3,
        /// NetBSD 10 and later.
        NOTE_OPEN = 0x80,
        NOTE_PCTRLMASK = 0xf000_0000,
        NOTE_PDATAMASK = 0xfffff,
        /// NetBSD 10 and later.
        NOTE_READ = 0x400,
        NOTE_RENAME = 0x20,
        NOTE_REVOKE = 0x40,
        /// NetBSD 10 and later.
        NOTE_SECONDS = 0x1,
        /// Of `EVFILT_PROC`.
        NOTE_TRACK = 0x1,
        /// Of `EVFILT_PROC`; only reported.
        NOTE_TRACKERR = 0x2,
        /// Of `EVFILT_USER`.
        NOTE_TRIGGER = 0x100_0000,
        /// NetBSD 10 and later.
        NOTE_USECONDS = 0x2,
        NOTE_WRITE = 0x2,
    }
}

numbers! {
    /// What can be asked of a queue by ioctl(2).
    KQUEUE_IOCTLS: u32 {
        KFILTER_BYFILTER = 0xc018_6b00,
        KFILTER_BYNAME = 0xc018_6b01,
    }
}

/// `struct kfilter_mapping`: the name of a filter.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct KfilterMapping {
    /// Where the name is.
    pub name: u64,
    /// Its length.
    pub len: u64,
    /// The filter.
    pub filter: u32,
    /// Padding.
    pub pad: u32,
}

numbers! {
    /// Flags of eventfd(2).
    EVENTFD_FLAGS: u32 {
        EFD_CLOEXEC = 0x40_0000 => 0x80000,
        EFD_NONBLOCK = 0x4 => 0x800,
        EFD_SEMAPHORE = 0x2 => 0x1,
    }
}

numbers! {
    /// Flags of timerfd(2).
    TIMERFD_FLAGS: u32 {
        TFD_CLOEXEC = 0x40_0000 => 0x80000,
        TFD_NONBLOCK = 0x4 => 0x800,
        TFD_TIMER_ABSTIME = 0x1 => 0x1,
        TFD_TIMER_CANCEL_ON_SET = 0x2 => 0x2,
    }
}

/// The ioctl that sets the count of a timerfd.
pub const TFD_IOC_SET_TICKS: u32 = 0x8008_5400;
