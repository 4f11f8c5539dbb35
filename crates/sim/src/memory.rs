//! Guest memory: pages in a map.

use core::ops::Range;
use lwp_abi::mman::Prot;
use lwp_kernel::machine::BadAddress;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

const PAGE: u64 = 4096;
/// Where [`Memory::alloc`] gives out room.
const HEAP: u64 = 0x10_0000_0000;

struct Page {
    bytes: Box<[u8; 4096]>,
    prot: Prot,
}

#[derive(Default)]
struct Pages {
    by_addr: BTreeMap<u64, Page>,
    brk: u64,
    is_full: bool,
}

/// The memory of one simulated process.
#[derive(Default)]
pub struct Memory {
    inner: Mutex<Pages>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Maps zeroed pages over `at`.
    pub fn map(&self, at: Range<u64>, prot: Prot) {
        let mut inner = self.lock();
        for page in at.step_by(4096) {
            inner.by_addr.insert(
                page,
                Page {
                    bytes: Box::new([0; 4096]),
                    prot,
                },
            );
        }
    }

    /// From now on nothing more can be mapped, or again as before; [`Memory::alloc`] is not concerned.
    pub fn set_full(&self, is_full: bool) {
        self.lock().is_full = is_full;
    }

    /// See [`Memory::set_full`].
    pub(crate) fn is_full(&self) -> bool {
        self.lock().is_full
    }

    /// Unmaps `at`.
    pub fn unmap(&self, at: &Range<u64>) {
        self.lock().by_addr.retain(|page, _| !at.contains(page));
    }

    /// Changes the protection of what is mapped in `at`.
    pub fn protect(&self, at: Range<u64>, prot: Prot) {
        for (_, page) in self.lock().by_addr.range_mut(at) {
            page.prot = prot;
        }
    }

    /// New memory of `len` bytes that nobody else has, readable and writable.
    pub fn alloc(&self, len: u64) -> u64 {
        let start = {
            let mut inner = self.lock();
            let start = HEAP + inner.brk;
            inner.brk += len.next_multiple_of(PAGE) + PAGE;
            start
        };
        self.map(
            start..start + len.next_multiple_of(PAGE),
            Prot::READ | Prot::WRITE,
        );
        start
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// Some of them are not mapped, or not readable.
    pub fn read(&self, from: u64, to: &mut [u8]) -> Result<(), BadAddress> {
        let inner = self.lock();
        let mut done = 0;
        for (at, len) in pieces(from, to.len())? {
            let page = inner.by_addr.get(&(at & !(PAGE - 1))).ok_or(BadAddress)?;
            if !page.prot.contains(Prot::READ) {
                return Err(BadAddress);
            }
            to[done..done + len].copy_from_slice(&page.bytes[offset(at)..offset(at) + len]);
            done += len;
        }
        Ok(())
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// Some of them are not mapped, or not writable; those before may have been written.
    pub fn write(&self, from: &[u8], to: u64) -> Result<(), BadAddress> {
        let mut inner = self.lock();
        let mut done = 0;
        for (at, len) in pieces(to, from.len())? {
            let page = inner
                .by_addr
                .get_mut(&(at & !(PAGE - 1)))
                .ok_or(BadAddress)?;
            if !page.prot.contains(Prot::WRITE) {
                return Err(BadAddress);
            }
            page.bytes[offset(at)..offset(at) + len].copy_from_slice(&from[done..done + len]);
            done += len;
        }
        Ok(())
    }
}

/// Cuts a range at page boundaries: address and length of each piece.
fn pieces(from: u64, len: usize) -> Result<impl Iterator<Item = (u64, usize)>, BadAddress> {
    let end = from.checked_add(len as u64).ok_or(BadAddress)?;
    let mut at = from;
    Ok(core::iter::from_fn(move || {
        let start = at;
        let room = PAGE - start % PAGE;
        let len = room.min(end - start);
        at += len;
        let len = usize::try_from(len).unwrap_or(0);
        (len > 0).then_some((start, len))
    }))
}

fn offset(at: u64) -> usize {
    usize::try_from(at % PAGE).unwrap_or(0)
}
