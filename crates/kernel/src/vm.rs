//! The guest's address space: what is mapped where, and where there is room.
//!
//! Responsible for the map of mappings, for placement, and for keeping the host's side equal to it. Not
//! for what a system call accepts (`sys_mman` rounds and judges), nor for the contents of memory.
//!
//! ```text
//! 0x10000 …          left to the machine, which puts trampolines below a non-PIE image
//! image, break       the program; the break grows up from the end of its data
//! 0xc0_0000_0000 …   left to hints: Go's heap
//! WINDOW             mappings without a hint: best fit, from the top
//! guard, stack       MAXSSIZ reserved, the soft limit of it accessible
//! GUEST_BOUND        = USRSTACK here; NetBSD's 0x7f7ffffff000 is given up
//! ```
//!
//! # Invariants
//! 1. `map` holds exactly what the host has mapped for the guest; every host call that changes it is made
//!    under the lock, before `map` is changed, and `map` is changed only if the host agreed.
//! 2. `gaps` is what `map` leaves of [`WINDOW`].
//! 3. Every range that reaches the machine is page aligned, not empty, and inside
//!    `GUEST_START..GUEST_BOUND`.
//!
//! # Locks
//! One of rank `Vm`. The machine takes none of the kernel's.
//!
//! Sources: uvm(9), mmap(2), `uvm_mmap.c`, `uvm_map.c`; syscalls.md 5.1.

mod gaps;
mod regions;
mod remap;
#[cfg(test)]
mod tests;

use crate::machine::{Advice, Backing, GUEST_BOUND, GUEST_START, HostErr, Memory};
use crate::sync::{Guard, Mutex, Rank};
use core::ops::Range;
use gaps::Gaps;
use lwp_abi::errno::Errno;
use lwp_abi::exec::{DFLSSIZ, MAXSSIZ};
use lwp_abi::mman::Prot;
use rangemap::RangeMap;

pub use remap::Move;

/// Bytes in a page.
pub const PAGE: u64 = 4096;

/// The end of the main stack.
pub const USRSTACK: u64 = GUEST_BOUND;

/// Room below the stack's reservation in which nothing is placed unasked (`vm.guard_size`).
pub const STACK_GUARD: u64 = 1 << 20;

/// Where mappings without a hint go.
///
/// Far above the hints of Go (0xc0 << 32, in steps of 1 TiB), the program and its break.
pub const WINDOW: Range<u64> = 0x4000_0000_0000..USRSTACK - MAXSSIZ - STACK_GUARD;

/// What a mapping shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// Zero-filled memory.
    Anon {
        /// `MAP_SHARED`.
        shared: bool,
        /// A stack.
        stack: bool,
    },
    /// A file. Mappings made by different calls have different ids.
    File {
        /// Which call made it.
        id: u64,
        /// `MAP_SHARED`.
        shared: bool,
    },
}

/// What a fork child gets of a mapping (minherit(2)); sharing is a matter of [`Object`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inherit {
    /// A copy, or the same memory if it is shared.
    #[default]
    Normal,
    /// Nothing.
    None,
    /// Zeroed memory.
    Zero,
}

/// One piece of the address space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// What may be done to it.
    pub prot: Prot,
    /// What mprotect(2) may allow.
    pub max: Prot,
    /// What it shows.
    pub object: Object,
    /// What a fork child gets.
    pub inherit: Inherit,
    /// What the kernel made it for; empty for the guest's own.
    pub name: &'static str,
}

/// Where a mapping is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Wherever there is room, preferably here; 0 is no preference.
    Hint(u64),
    /// Here, replacing what is there.
    Fixed(u64),
}

/// A mapping to be made.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Where; page aligned.
    pub place: Place,
    /// How many bytes: a positive number of pages.
    pub len: u64,
    /// Alignment of the address: a power of two, at least [`PAGE`].
    pub align: u64,
    /// What may be done to it.
    pub prot: Prot,
    /// What mprotect(2) may allow later.
    pub max: Prot,
    /// What it shows.
    pub backing: Backing,
    /// See [`Mapping::name`].
    pub name: &'static str,
}

impl Request {
    /// Private zeroed memory, wherever there is room.
    pub fn anon(len: u64, prot: Prot, name: &'static str) -> Self {
        let backing = Backing::Anon {
            shared: false,
            stack: false,
        };
        Self {
            place: Place::Hint(0),
            len,
            align: PAGE,
            prot,
            max: Prot::ALL,
            backing,
            name,
        }
    }
}

/// The guest's address space.
#[derive(Debug)]
pub struct Vmspace {
    st: Mutex<VmSt>,
}

#[derive(Debug)]
struct VmSt {
    map: RangeMap<u64, Mapping>,
    gaps: Gaps,
    /// Where the break began and where it is; empty before the image is loaded.
    brk: Range<u64>,
    /// `RLIMIT_STACK`, soft: how much of the stack is accessible, in whole pages.
    stack_soft: u64,
    /// The last [`Object::File`] id.
    files: u64,
    /// `MCL_FUTURE`.
    wires_future: bool,
}

impl Vmspace {
    /// An empty address space.
    pub fn new() -> Self {
        Self {
            st: Mutex::new(
                Rank::Vm,
                VmSt {
                    map: RangeMap::new(),
                    gaps: Gaps::new(WINDOW),
                    brk: 0..0,
                    stack_soft: DFLSSIZ,
                    files: 0,
                    wires_future: false,
                },
            ),
        }
    }

    fn lock(&self) -> Guard<'_, VmSt> {
        self.st.lock()
    }

    /// Maps `len` bytes (rounded up to pages) of private zeroed memory where there is room.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn map_anywhere(
        &self,
        machine: &dyn Memory,
        len: u64,
        prot: Prot,
        name: &'static str,
    ) -> Result<u64, Errno> {
        let len = round_up(len).filter(|&len| len > 0).ok_or(Errno::ENOMEM)?;
        self.map(machine, &Request::anon(len, prot, name))
    }

    /// Makes a mapping and returns its address.
    ///
    /// # Errors
    /// EINVAL a fixed place is not the guest's. ENOMEM no room. Else what
    /// the host says of a file: EACCES, EBADF, ENODEV.
    pub fn map(&self, machine: &dyn Memory, want: &Request) -> Result<u64, Errno> {
        let mut st = self.lock();
        let at = st.place(want)?;
        machine
            .map(at.clone(), want.prot, want.backing)
            .map_err(refused)?;
        let object = match want.backing {
            Backing::Anon { shared, stack } => Object::Anon { shared, stack },
            Backing::File { shared, .. } => {
                st.files += 1;
                Object::File {
                    id: st.files,
                    shared,
                }
            }
        };
        let start = at.start;
        st.put(
            at,
            Mapping {
                prot: want.prot,
                max: want.max,
                object,
                inherit: Inherit::Normal,
                name: want.name,
            },
        );
        Ok(start)
    }

    /// Unmaps whatever is mapped in `at` (page aligned).
    ///
    /// # Errors
    /// EINVAL outside the guest's range. ENOMEM if the host would need too many mappings.
    pub fn unmap(&self, machine: &dyn Memory, at: Range<u64>) -> Result<(), Errno> {
        check(&at, Errno::EINVAL)?;
        let mut st = self.lock();
        for (at, _) in st.pieces(&at) {
            machine.unmap(at.clone()).map_err(refused)?;
            st.take(at);
        }
        Ok(())
    }

    /// Changes the protection of `at` (page aligned).
    ///
    /// # Errors
    /// EACCES more than the maximum of some mapping, or the host's refusal. ENOMEM part of it is not
    /// mapped.
    pub fn protect(&self, machine: &dyn Memory, at: Range<u64>, prot: Prot) -> Result<(), Errno> {
        check(&at, Errno::ENOMEM)?;
        let mut st = self.lock();
        let pieces = st.whole(&at)?;
        if pieces
            .iter()
            .any(|(_, mapping)| !mapping.max.contains(prot))
        {
            return Err(Errno::EACCES);
        }
        machine.protect(at, prot).map_err(refused)?;
        for (at, mapping) in pieces {
            st.put(at, Mapping { prot, ..mapping });
        }
        Ok(())
    }

    /// Passes advice on the mapped parts of `at` (page aligned) to the host, which may ignore it.
    ///
    /// # Errors
    /// EINVAL outside the guest's range.
    pub fn advise(
        &self,
        machine: &dyn Memory,
        at: Range<u64>,
        advice: Advice,
    ) -> Result<(), Errno> {
        check(&at, Errno::EINVAL)?;
        for (at, mapping) in self.lock().pieces(&at) {
            let is_private_anon = matches!(mapping.object, Object::Anon { shared: false, .. });
            if advice != Advice::Free || is_private_anon {
                // Advice that the host does not take is no error.
                let _ = machine.advise(at, advice);
            }
        }
        Ok(())
    }

    /// Says what a fork child gets of the mapped parts of `at` (page aligned).
    ///
    /// # Errors
    /// EINVAL outside the guest's range, or zeroing was asked for of something other than private anonymous
    /// memory, which the host cannot do.
    pub fn inherit(
        &self,
        machine: &dyn Memory,
        at: Range<u64>,
        inherit: Inherit,
    ) -> Result<(), Errno> {
        let advice = match inherit {
            Inherit::Normal => Advice::InheritCopy,
            Inherit::None => Advice::InheritNone,
            Inherit::Zero => Advice::InheritZero,
        };
        check(&at, Errno::EINVAL)?;
        let mut st = self.lock();
        for (at, mapping) in st.pieces(&at) {
            machine.advise(at.clone(), advice).map_err(refused)?;
            st.put(at, Mapping { inherit, ..mapping });
        }
        Ok(())
    }

    /// The mapping at `addr` and its extent.
    pub fn lookup(&self, addr: u64) -> Option<(Range<u64>, Mapping)> {
        let st = self.lock();
        st.map
            .get_key_value(&addr)
            .map(|(at, mapping)| (at.clone(), mapping.clone()))
    }

    /// What is mapped in `at`, cut to it.
    pub fn mappings_in(&self, at: &Range<u64>) -> Vec<(Range<u64>, Mapping)> {
        self.lock().pieces(at)
    }

    /// All of `at` is mapped.
    pub fn is_mapped(&self, at: &Range<u64>) -> bool {
        check(at, Errno::ENOMEM)
            .and_then(|()| self.lock().whole(at))
            .is_ok()
    }

    /// Every mapping of the guest, from the bottom up.
    pub fn mappings(&self) -> Vec<(Range<u64>, Mapping)> {
        self.mappings_in(&(GUEST_START..GUEST_BOUND))
    }

    /// mlockall(2): whether new mappings are to be locked.
    pub fn is_wiring(&self) -> bool {
        self.lock().wires_future
    }

    /// mlockall(2) and munlockall(2): whether new mappings are to be locked.
    pub fn set_wiring(&self, wires_future: bool) {
        self.lock().wires_future = wires_future;
    }

    /// The fork child's side: what is not inherited is gone.
    pub fn forked(&self) {
        let mut st = self.lock();
        for (at, mapping) in st.pieces(&(GUEST_START..GUEST_BOUND)) {
            if mapping.inherit == Inherit::None {
                st.take(at);
            }
        }
    }
}

impl Default for Vmspace {
    fn default() -> Self {
        Self::new()
    }
}

impl VmSt {
    /// Decides where `want` goes.
    fn place(&self, want: &Request) -> Result<Range<u64>, Errno> {
        match want.place {
            Place::Fixed(addr) => {
                let at = span(addr, want.len).ok_or(Errno::EINVAL)?;
                check(&at, Errno::EINVAL)?;
                Ok(at)
            }
            Place::Hint(addr) => self.hinted(addr, want).map_or_else(|| self.find(want), Ok),
        }
    }

    /// The place asked for, if it is free.
    fn hinted(&self, addr: u64, want: &Request) -> Option<Range<u64>> {
        let at = span(addr.checked_next_multiple_of(want.align)?, want.len)?;
        let is_free = addr != 0 && at.end <= WINDOW.end && !self.map.overlaps(&at);
        (is_free && check(&at, Errno::ENOMEM).is_ok()).then_some(at)
    }

    /// Some free place: in the window, or, when that is full, the highest below it.
    fn find(&self, want: &Request) -> Result<Range<u64>, Errno> {
        if let Some(at) = self.gaps.find(want.len, want.align) {
            return Ok(at);
        }
        let below = GUEST_START..WINDOW.start;
        let mut best = None;
        for gap in self.map.gaps(&below) {
            best = gaps::top_of(&gap, want.len, want.align).or(best);
        }
        best.ok_or(Errno::ENOMEM)
    }

    /// What is mapped in `at`, cut to it.
    fn pieces(&self, at: &Range<u64>) -> Vec<(Range<u64>, Mapping)> {
        self.map
            .overlapping(at)
            .map(|(found, mapping)| {
                (
                    found.start.max(at.start)..found.end.min(at.end),
                    mapping.clone(),
                )
            })
            .collect()
    }

    /// As [`VmSt::pieces`], if they cover all of `at`.
    fn whole(&self, at: &Range<u64>) -> Result<Vec<(Range<u64>, Mapping)>, Errno> {
        let pieces = self.pieces(at);
        let covered: u64 = pieces
            .iter()
            .map(|(piece, _)| piece.end - piece.start)
            .sum();
        if covered == at.end - at.start {
            Ok(pieces)
        } else {
            Err(Errno::ENOMEM)
        }
    }

    fn put(&mut self, at: Range<u64>, mapping: Mapping) {
        self.gaps.take(&at);
        self.map.insert(at, mapping);
    }

    fn take(&mut self, at: Range<u64>) {
        self.gaps.give(&at);
        self.map.remove(at);
    }
}

/// `addr` rounded up to a page; `None` past the end of the numbers.
pub fn round_up(addr: u64) -> Option<u64> {
    addr.checked_next_multiple_of(PAGE)
}

/// `addr` rounded down to a page.
pub fn round_down(addr: u64) -> u64 {
    addr & !(PAGE - 1)
}

/// `len` bytes from `addr`; `None` past the end of the numbers.
fn span(addr: u64, len: u64) -> Option<Range<u64>> {
    Some(addr..addr.checked_add(len)?)
}

/// Invariant 3, or `errno`.
fn check(at: &Range<u64>, errno: Errno) -> Result<(), Errno> {
    debug_assert!(
        at.start.is_multiple_of(PAGE) && at.end.is_multiple_of(PAGE),
        "callers round: {at:x?}"
    );
    let is_guests = GUEST_START <= at.start && at.start < at.end && at.end <= GUEST_BOUND;
    if is_guests { Ok(()) } else { Err(errno) }
}

/// What the guest hears when the host refuses: mmap(2)'s and mprotect(2)'s numbers agree but for these.
fn refused(err: HostErr) -> Errno {
    match err.errno {
        // Linux's EPERM: code from a noexec file system, or a sealed file. NetBSD: EACCES.
        1 => Errno::EACCES,
        // Linux's EAGAIN: too much memory locked.
        11 => Errno::ENOMEM,
        other => Errno::from_linux(other),
    }
}
