//! Memory: mappings, and stacks made of them.

use crate::{SysResult, sys, sys::raw_stack};
use lwp_abi::Errno;
use lwp_abi::nr::SYS_MMAP;

/// `PROT_NONE`.
pub const PROT_NONE: i32 = 0;
/// `PROT_READ`.
pub const PROT_READ: i32 = 1;
/// `PROT_READ | PROT_WRITE`.
pub const PROT_RW: i32 = 3;
/// `MAP_SHARED`.
pub const MAP_SHARED: i32 = 1;
/// `MAP_PRIVATE`.
pub const MAP_PRIVATE: i32 = 2;
/// `MAP_FIXED`.
pub const MAP_FIXED: i32 = 0x10;
/// `MAP_ANON`.
pub const MAP_ANON: i32 = 0x1000;
/// A page.
pub const PAGE: usize = 4096;

/// `mmap(2)`, the offset on the stack.
///
/// # Errors
/// The call's own.
pub fn mmap(addr: u64, len: usize, prot: i32, flags: i32, fd: i32, offset: i64) -> SysResult {
    use sys::Arg as _;
    let a = [addr, len.arg(), prot.arg(), flags.arg(), fd.arg(), 0];
    raw_stack(u64::from(SYS_MMAP), a, [offset.arg(), 0, 0]).result()
}

/// `munmap(2)`.
///
/// # Errors
/// The call's own.
pub fn munmap(addr: u64, len: usize) -> SysResult {
    sys!(SYS_MUNMAP, addr, len)
}

/// `mprotect(2)`.
///
/// # Errors
/// The call's own.
pub fn mprotect(addr: u64, len: usize, prot: i32) -> SysResult {
    sys!(SYS_MPROTECT, addr, len, prot)
}

/// Private zeroed memory.
///
/// # Errors
/// The call's own.
pub fn map(len: usize) -> Result<Area, Errno> {
    let base = mmap(0, len, PROT_RW, MAP_PRIVATE | MAP_ANON, -1, 0)?;
    Ok(Area { base, len })
}

/// Memory that children share.
///
/// # Errors
/// The call's own.
pub fn map_shared(len: usize) -> Result<Area, Errno> {
    let base = mmap(0, len, PROT_RW, MAP_SHARED | MAP_ANON, -1, 0)?;
    Ok(Area { base, len })
}

/// A mapping. It is not given back by itself: LWPs outlive whoever made their stacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Area {
    /// Its first address.
    pub base: u64,
    /// Its bytes.
    pub len: usize,
}

impl Area {
    /// The address behind it.
    pub fn end(self) -> u64 {
        self.base + self.len as u64
    }

    /// A pointer `at` bytes into it.
    pub fn ptr<T>(self, at: usize) -> *mut T {
        pointer(self.base + at as u64)
    }

    /// The start of it as a shared value.
    ///
    /// # Panics
    /// If it is too small.
    pub fn shared<T: Shared>(self) -> &'static T {
        assert!(
            size_of::<T>() <= self.len,
            "a mapping too small for its use"
        );
        // SAFETY: mapped by `map` or `map_shared`, page aligned, zeroed (which `Shared` allows),
        // and large enough; whoever unmaps it no longer uses the reference.
        unsafe { &*self.ptr::<T>(0) }
    }

    /// Gives it back.
    pub fn unmap(self) {
        // Only a wrong address or length fails.
        let _ = munmap(self.base, self.len);
    }
}

/// What may be made of zeroed memory, and be written by several LWPs or processes.
///
/// # Safety
/// All zeros is a value, and all writing goes through atomics.
pub unsafe trait Shared: Sync {}
// SAFETY: an atomic.
unsafe impl Shared for crate::sync::Word {}
// SAFETY: an array of what may be.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {}

/// A pointer to a guest address that is only known as a number.
pub fn pointer<T>(addr: u64) -> *mut T {
    core::ptr::with_exposed_provenance_mut(usize::try_from(addr).unwrap_or(0))
}

/// An address in the first page, which is never mapped.
pub const NOWHERE: u64 = 8;
