//! Guest memory: copying in and out, and the host's side of mappings.
//!
//! # Invariants
//! 1. Every access and every mapping call stays within `GUEST_START..GUEST_BOUND`, where nothing of
//!    ours lies (`layout`): the copy calls fail beyond it, the mapping calls are refused.
//! 2. Patches of system-call sites are gone before the text under them changes (`patch`).
//!
//! # Locks
//! The text's (`patch::lock`), for the time of one mapping call.
//!
//! Sources: copyin(9), mmap(2), madvise(2), minherit(2), and Linux's of the same names.

use crate::guest_asm::{self, Faulted};
use crate::patch::{self, Access};
use crate::size;
use core::ffi::c_void;
use core::ops::Range;
use lwp_abi::mman::Prot;
use lwp_kernel::machine::{Advice, Backing, BadAddress, GUEST_BOUND, GUEST_START, HostErr};

/// Private anonymous mappings from this size on ask for huge pages: fork of 1 GiB of small pages
/// takes 28 ms, of huge ones 1.6.
const HUGE: u64 = 4 << 20;
/// Bytes of a string that are read at once.
const STRING_CHUNK: u64 = 256;

impl From<Faulted> for BadAddress {
    fn from(_: Faulted) -> Self {
        Self
    }
}

/// Refuses what is not all the guest's.
fn check(at: u64, len: usize) -> Result<(), BadAddress> {
    let end = at.checked_add(len as u64).ok_or(BadAddress)?;
    if at < GUEST_START || end > GUEST_BOUND {
        Err(BadAddress)
    } else {
        Ok(())
    }
}

pub(crate) fn copyin(from: u64, to: &mut [u8]) -> Result<(), BadAddress> {
    if to.is_empty() {
        return Ok(());
    }
    check(from, to.len())?;
    // SAFETY: just checked; `HostMachine::new` installs the handlers.
    Ok(unsafe { guest_asm::read(from, to) }?)
}

pub(crate) fn copyout(from: &[u8], to: u64) -> Result<(), BadAddress> {
    if from.is_empty() {
        return Ok(());
    }
    check(to, from.len())?;
    // SAFETY: as in `copyin`.
    Ok(unsafe { guest_asm::write(from, to) }?)
}

pub(crate) fn copyinstr(from: u64, to: &mut [u8]) -> Result<Option<usize>, BadAddress> {
    let mut done = 0;
    while done < to.len() {
        let at = from.checked_add(done as u64).ok_or(BadAddress)?;
        // No chunk crosses a page, so what lies behind the NUL is as readable as what is before.
        let chunk = STRING_CHUNK - at % STRING_CHUNK;
        let end = to.len().min(done + size(chunk));
        let part = &mut to[done..end];
        copyin(at, part)?;
        if let Some(nul) = part.iter().position(|&byte| byte == 0) {
            return Ok(Some(done + nul));
        }
        done = end;
    }
    Ok(None)
}

pub(crate) fn store_u32(value: u32, to: u64) -> Result<(), BadAddress> {
    check(to, 4)?;
    // SAFETY: as in `copyin`.
    Ok(unsafe { guest_asm::store32(value, to) }?)
}

pub(crate) fn map(at: Range<u64>, prot: Prot, backing: Backing) -> Result<(), HostErr> {
    let (address, len) = host_range("mmap", &at)?;
    let access = access(prot);
    let mut text = patch::lock();
    text.before_replacing(&at);
    let (flags, fd, offset, shared) = match backing {
        Backing::Anon { shared: false, .. } => (
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
            false,
        ),
        Backing::Anon { shared: true, .. } => (libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0, true),
        Backing::File {
            fd,
            offset,
            shared: false,
        } => (libc::MAP_PRIVATE, fd, offset, false),
        Backing::File {
            fd,
            offset,
            shared: true,
        } => (libc::MAP_SHARED, fd, offset, true),
    };
    let offset = i64::try_from(offset).map_err(|_| refused("mmap", libc::EINVAL))?;
    // SAFETY: the range is the guest's (`host_range`).
    let got = unsafe {
        libc::mmap(
            address,
            len,
            host_prot(access),
            flags | libc::MAP_FIXED,
            fd,
            offset,
        )
    };
    if got == libc::MAP_FAILED {
        return Err(last_error("mmap"));
    }
    if matches!(
        backing,
        Backing::Anon {
            shared: false,
            stack: false
        }
    ) && len as u64 >= HUGE
    {
        // Only advice: without huge pages the mapping is as good, and slower.
        // SAFETY: the mapping just made.
        unsafe { libc::madvise(address, len, libc::MADV_HUGEPAGE) };
    }
    text.after_mapping(&at, access, shared);
    Ok(())
}

pub(crate) fn unmap(at: Range<u64>) -> Result<(), HostErr> {
    let (address, len) = host_range("munmap", &at)?;
    let mut text = patch::lock();
    text.before_replacing(&at);
    // SAFETY: the range is the guest's (`host_range`).
    answer("munmap", unsafe { libc::munmap(address, len) })
}

pub(crate) fn protect(at: Range<u64>, prot: Prot) -> Result<(), HostErr> {
    let (address, len) = host_range("mprotect", &at)?;
    let access = access(prot);
    let mut text = patch::lock();
    text.before_protecting(&at, access);
    // SAFETY: the range is the guest's (`host_range`).
    answer("mprotect", unsafe {
        libc::mprotect(address, len, host_prot(access))
    })?;
    text.after_protecting(&at, access);
    Ok(())
}

pub(crate) fn advise(at: Range<u64>, advice: Advice) -> Result<(), HostErr> {
    let (address, len) = host_range("madvise", &at)?;
    let advices: &[libc::c_int] = match advice {
        Advice::Normal => &[libc::MADV_NORMAL],
        Advice::Random => &[libc::MADV_RANDOM],
        Advice::Sequential => &[libc::MADV_SEQUENTIAL],
        Advice::WillNeed => &[libc::MADV_WILLNEED],
        Advice::Free => &[libc::MADV_FREE],
        Advice::InheritNone => &[libc::MADV_DONTFORK],
        Advice::InheritZero => &[libc::MADV_DOFORK, libc::MADV_WIPEONFORK],
        Advice::InheritCopy => &[libc::MADV_DOFORK, libc::MADV_KEEPONFORK],
    };
    for &advice in advices {
        // SAFETY: the range is the guest's (`host_range`).
        answer("madvise", unsafe { libc::madvise(address, len, advice) })?;
    }
    Ok(())
}

pub(crate) fn relocate(from: Range<u64>, to: Range<u64>) -> Result<(), HostErr> {
    let (old, old_len) = host_range("mremap", &from)?;
    let (new, new_len) = host_range("mremap", &to)?;
    let mut text = patch::lock();
    let kind = text.kind(&from);
    text.before_replacing(&from);
    text.before_replacing(&to);
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: both ranges are the guest's (`host_range`).
    let got = unsafe { libc::mremap(old, old_len, new_len, flags, new) };
    if got == libc::MAP_FAILED {
        return Err(last_error("mremap"));
    }
    text.after_relocating(&to, kind);
    Ok(())
}

/// A range of guest pages as the host's calls want it. Anything else is refused.
fn host_range(call: &'static str, at: &Range<u64>) -> Result<(*mut c_void, usize), HostErr> {
    let len = at
        .end
        .checked_sub(at.start)
        .ok_or(refused(call, libc::EINVAL))?;
    if at.start < GUEST_START || at.end > GUEST_BOUND {
        return Err(refused(call, libc::EINVAL));
    }
    Ok((core::ptr::without_provenance_mut(size(at.start)), size(len)))
}

fn access(prot: Prot) -> Access {
    Access {
        read: prot.contains(Prot::READ),
        write: prot.contains(Prot::WRITE),
        exec: prot.contains(Prot::EXEC),
    }
}

fn host_prot(access: Access) -> libc::c_int {
    let bit = |is_set, bit| if is_set { bit } else { libc::PROT_NONE };
    bit(access.read, libc::PROT_READ)
        | bit(access.write, libc::PROT_WRITE)
        | bit(access.exec, libc::PROT_EXEC)
}

fn answer(call: &'static str, result: libc::c_int) -> Result<(), HostErr> {
    if result == 0 {
        Ok(())
    } else {
        Err(last_error(call))
    }
}

fn refused(call: &'static str, errno: i32) -> HostErr {
    HostErr { call, errno }
}

/// The error of the host call that has just failed on this thread.
pub(crate) fn last_error(call: &'static str) -> HostErr {
    let errno = std::io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO);
    HostErr { call, errno }
}
