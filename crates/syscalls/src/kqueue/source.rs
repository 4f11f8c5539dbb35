//! The filters: what a knote watches, and what it has to say of it.
//!
//! [`attach`] makes a [`Source`] for a new knote; dropping the source detaches it. Each kind has a file;
//! those without a word of their own are here.
//!
//! Sources: `kern_event.c: sys_kfilters`, `kern_sig.c: filt_signal`; syscalls.md 5.5.

use super::fd::FdSource;
use super::knotes::{Filter, Knote, Touched};
use super::proc::ProcSource;
use super::timer::TimerSource;
use super::user::UserSource;
use super::vnode::VnodeSource;
use super::{Bell, Kqueue};
use crate::Unix;
use crate::host::Host;
use lwp_abi::errno::Errno;
use lwp_abi::event::{
    EVFILT_EMPTY, EVFILT_FS, EVFILT_PROC, EVFILT_READ, EVFILT_SIGNAL, EVFILT_TIMER, EVFILT_USER,
    EVFILT_VNODE, EVFILT_WRITE, EvFlags, Kevent100,
};
use lwp_kernel::Kernel;
use lwp_kernel::machine::Ready;
use lwp_kernel::watch::SignalListener;
use std::sync::{Arc, Weak};

/// The filters whose ident is a descriptor.
pub(super) const FD_FILTERS: [u32; 4] = [EVFILT_READ, EVFILT_WRITE, EVFILT_VNODE, EVFILT_EMPTY];

/// What filters need of the world.
#[derive(Clone, Copy)]
pub(super) struct Cx<'a> {
    /// Time, readiness.
    pub(super) kernel: &'a Arc<Kernel>,
    /// Everything else about descriptors.
    pub(super) host: &'a dyn Host,
}

/// A filter at work, with the bell it rings.
#[derive(Debug)]
pub(super) struct Source {
    bell: Arc<Bell>,
    what: What,
}

#[derive(Debug)]
enum What {
    Fd(FdSource),
    Vnode(VnodeSource),
    Proc(ProcSource),
    Signal,
    Timer(TimerSource),
    User(UserSource),
    /// Mounts: never.
    Fs,
}

impl Source {
    /// Its bell.
    pub(super) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }
}

/// The checks that come before a knote is looked for.
///
/// # Errors
/// EINVAL: no such filter. EBADF: the ident is to be a descriptor, and is none.
pub(super) fn check(sys: &Unix, change: &Kevent100) -> Result<(), Errno> {
    match change.filter {
        EVFILT_PROC | EVFILT_SIGNAL | EVFILT_TIMER | EVFILT_FS | EVFILT_USER => Ok(()),
        filter if FD_FILTERS.contains(&filter) => {
            let fd = i32::try_from(change.ident).map_err(|_| Errno::EBADF)?;
            sys.files.check(&*sys.host, fd)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// The changes of a descriptor that concern a filter.
pub(super) fn interest(filter: u32) -> Ready {
    match filter {
        EVFILT_WRITE | EVFILT_EMPTY => Ready::OUT | Ready::ERR | Ready::HUP,
        _ => Ready::IN | Ready::PRI | Ready::RDHUP | Ready::ERR | Ready::HUP,
    }
}

/// Attaches a new knote to what it watches (`f_attach`).
///
/// # Errors
/// Those of the filter.
pub(super) fn attach(
    kq: &Kqueue,
    sys: &Unix,
    kernel: &Arc<Kernel>,
    bell: Arc<Bell>,
    kn: &mut Knote,
) -> Result<Source, Errno> {
    let cx = Cx {
        kernel,
        host: &*sys.host,
    };
    let what = match kn.kev.filter {
        EVFILT_READ | EVFILT_WRITE | EVFILT_EMPTY => {
            What::Fd(FdSource::attach(kq, sys, cx, &bell, kn)?)
        }
        EVFILT_VNODE => What::Vnode(VnodeSource::attach(kq, sys, cx, &bell, kn)?),
        EVFILT_PROC => What::Proc(ProcSource::attach(sys, cx, &bell, kn)?),
        EVFILT_SIGNAL => {
            kn.set(EvFlags::CLEAR);
            let listener: Weak<Bell> = Arc::downgrade(&bell);
            let listener: Weak<dyn SignalListener> = listener;
            kernel.watches.listen_to_signals(listener);
            What::Signal
        }
        EVFILT_TIMER => What::Timer(TimerSource::attach(cx, &bell, kn)?),
        EVFILT_USER => What::User(UserSource::default()),
        EVFILT_FS => What::Fs,
        _ => return Err(Errno::EINVAL),
    };
    Ok(Source { bell, what })
}

impl Filter<Cx<'_>> for Source {
    fn event(&mut self, kn: &mut Knote, cx: &Cx<'_>) -> bool {
        match &mut self.what {
            What::Fd(source) => source.event(&self.bell, kn, cx),
            What::Vnode(_) => kn.kev.fflags != 0,
            What::Proc(source) => source.event(kn, cx),
            What::Signal => kn.kev.data != 0,
            What::Timer(source) => source.event(&self.bell, kn, cx),
            What::User(source) => source.is_triggered(),
            What::Fs => false,
        }
    }

    fn activity(&mut self, kn: &mut Knote, hint: u64, cx: &Cx<'_>) -> bool {
        match &mut self.what {
            What::Fd(source) => {
                let edge = Ready::from_bits_truncate(u32::try_from(hint).unwrap_or(0));
                source.activity(&self.bell, kn, edge, cx)
            }
            What::Vnode(source) => source.activity(kn, hint, cx),
            What::Signal => {
                let more = i64::try_from(hint).unwrap_or(i64::MAX);
                kn.kev.data = kn.kev.data.saturating_add(more);
                kn.kev.data != 0
            }
            _ => self.event(kn, cx),
        }
    }

    fn touch(&mut self, kn: &mut Knote, change: &Kevent100, cx: &Cx<'_>) -> Result<Touched, Errno> {
        match &mut self.what {
            What::Timer(source) => source.touch(&self.bell, kn, change, cx),
            What::User(source) => {
                source.touch(kn, change);
                Ok(Touched::Kept)
            }
            What::Vnode(_) | What::Fd(_) | What::Proc(_) | What::Signal | What::Fs => {
                kn.sfflags = change.fflags;
                kn.sdata = change.data;
                if let What::Vnode(source) = &self.what {
                    source.widen(&self.bell, kn.sfflags)?;
                }
                Ok(Touched::Kept)
            }
        }
    }

    fn report(&mut self, kn: &mut Knote) -> Kevent100 {
        match &mut self.what {
            What::User(source) => source.report(kn),
            _ => kn.kev,
        }
    }
}
