//! Memory: mmap(2) and its relatives.
//!
//! Here NetBSD's decisions and rounding; what is mapped where is the kernel's (`lwp_kernel::vm`).
//!
//! Differs from NetBSD: nothing below `vm.minaddress` (0x10000) or above the runner's bound can be mapped;
//! `PaX` limits are never enforced, as if the sysctls were 0.
//!
//! Sources: mmap(2), munmap(2), mprotect(2), madvise(2), msync(2), mincore(2), mlock(2), minherit(2),
//! mremap(2), break(2); `uvm_mmap.c`, `uvm_map.c`, `uvm_unix.c`; syscalls.md 5.1.

use crate::Unix;
use crate::args::Args;
use crate::copy::copyout;
use crate::errno::{from_host, from_rustix};
use crate::files::Kind;
use core::ops::Range;
use lwp_abi::errno::Errno;
use lwp_abi::mman::{
    MADV_DONTNEED, MADV_FREE, MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED,
    MAP_INHERIT_COPY, MAP_INHERIT_NONE, MAP_INHERIT_SHARE, MAP_INHERIT_ZERO, MCL_CURRENT,
    MCL_FUTURE, MS_ASYNC, MS_INVALIDATE, MS_SYNC, MapFlags, Prot,
};
use lwp_abi::resource::RLIMIT_DATA;
use lwp_kernel::machine::{Advice, Backing, GUEST_BOUND, GUEST_START};
use lwp_kernel::vm::{Inherit, Move, Object, PAGE, Place, Request, round_down, round_up};
use lwp_kernel::{CurLwp, Ret, SysResult};
use rustix::fs::OFlags;

/// Pages that mincore(2) asks the host about at a time.
const MINCORE_PAGES: u64 = 4096;

/// mmap(2).
///
/// # Errors
/// EINVAL: the flags, the alignment, a fixed address that is misaligned or not the guest's, a descriptor with
/// `MAP_ANON`. EBADF, ENODEV, EACCES: the descriptor. ENOMEM: no room. EFAULT: the seventh argument.
pub(crate) fn sys_mmap(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let offset = a.on_stack(l, 0)?;
    let (addr, prot, fd) = (a.ptr(0), Prot::from_bits_retain(a.uint(2)), a.int(4));
    let flags = MapFlags::from_bits_retain(a.uint(3));
    let prot = prot & Prot::ALL;
    if flags.contains(MapFlags::SHARED | MapFlags::PRIVATE) {
        return Err(Errno::EINVAL.into());
    }
    let page_offset = offset % PAGE;
    let len = a
        .size(1)
        .checked_add(page_offset)
        .and_then(round_up)
        .ok_or(Errno::EINVAL)?;
    let is_fixed = flags.contains(MapFlags::FIXED);
    let place = if is_fixed {
        Place::Fixed(fixed_address(addr, page_offset, len)?)
    } else {
        Place::Hint(round_up(addr).unwrap_or(0))
    };
    let (backing, max) = backing(sys, flags, fd, offset - page_offset, prot)?;
    if len == 0 {
        let (Place::Fixed(at) | Place::Hint(at)) = place;
        return Ok(Ret(at + page_offset, 0));
    }
    if !max.contains(prot) {
        return Err(Errno::EINVAL.into());
    }
    let align = alignment(flags, is_fixed.then_some(addr))?;
    let request = Request {
        place,
        len,
        align,
        prot,
        max,
        backing,
        name: "",
    };
    let at = l.kernel.vm.map(&*l.kernel.machine, &request)?;
    if flags.contains(MapFlags::WIRED) || l.kernel.vm.is_wiring() {
        wire(sys, l, at..at + len)?;
    }
    Ok(Ret(at + page_offset, 0))
}

/// The page that a fixed mapping of `len` bytes begins with.
fn fixed_address(addr: u64, page_offset: u64, len: u64) -> Result<u64, Errno> {
    let at = addr
        .checked_sub(page_offset)
        .filter(|at| at.is_multiple_of(PAGE));
    let at = at.ok_or(Errno::EINVAL)?;
    let end = at.checked_add(len).ok_or(Errno::EINVAL)?;
    if at < GUEST_START || end > GUEST_BOUND {
        return Err(Errno::EINVAL);
    }
    Ok(at)
}

/// `MAP_ALIGNED(n)`: the alignment asked for, at least a page.
fn alignment(flags: MapFlags, fixed: Option<u64>) -> Result<u64, Errno> {
    let log2 = flags.alignment_log2();
    if log2 == 0 {
        return Ok(PAGE);
    }
    let align = 1_u64
        .checked_shl(log2)
        .filter(|&align| align >= PAGE)
        .ok_or(Errno::EINVAL)?;
    if align >= GUEST_BOUND {
        return Err(Errno::ENOMEM);
    }
    if fixed.is_some_and(|addr| !addr.is_multiple_of(align)) {
        return Err(Errno::EINVAL);
    }
    Ok(align)
}

/// What is to be mapped, and the most that may be done to it.
fn backing(
    sys: &Unix,
    flags: MapFlags,
    fd: i32,
    offset: u64,
    prot: Prot,
) -> Result<(Backing, Prot), Errno> {
    let shared = flags.contains(MapFlags::SHARED);
    if flags.contains(MapFlags::ANON) {
        if fd != -1 {
            return Err(Errno::EINVAL);
        }
        let stack = flags.contains(MapFlags::STACK);
        return Ok((Backing::Anon { shared, stack }, Prot::ALL));
    }
    let file = sys.host.fd(fd).map_err(from_host)?;
    let mode = rustix::fs::fcntl_getfl(file).map_err(from_rustix)?;
    match sys.files.kind(&*sys.host, fd)? {
        Kind::Disk | Kind::Device | Kind::Random => {}
        Kind::Directory | Kind::Fifo | Kind::Socket | Kind::Anonymous | Kind::Object => {
            return Err(Errno::ENODEV);
        }
    }
    i64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let access = mode & OFlags::RWMODE;
    if access == OFlags::WRONLY {
        // The host needs to read what it maps.
        return Err(Errno::EACCES);
    }
    let mut max = Prot::ALL;
    if shared && access != OFlags::RDWR {
        if prot.contains(Prot::WRITE) {
            return Err(Errno::EACCES);
        }
        max.remove(Prot::WRITE);
    }
    Ok((Backing::File { fd, offset, shared }, max))
}

/// Locks a new mapping into memory, or takes it away again.
fn wire(sys: &Unix, l: &CurLwp, at: Range<u64>) -> Result<(), Errno> {
    if sys.host.mlock(at.clone()).is_ok() {
        return Ok(());
    }
    l.kernel.vm.unmap(&*l.kernel.machine, at)?;
    Err(Errno::ENOMEM)
}

/// munmap(2). Holes are fine.
///
/// # Errors
/// EINVAL: beyond the guest's addresses.
pub(crate) fn sys_munmap(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let at = pages(a.ptr(0), a.size(1))?;
    let at = at.start.max(GUEST_START)..at.end;
    if !at.is_empty() {
        l.kernel.vm.unmap(&*l.kernel.machine, at)?;
    }
    Ok(Ret::ZERO)
}

/// mprotect(2).
///
/// # Errors
/// EINVAL: beyond the guest's addresses. ENOMEM: a hole. EACCES: more than the file allows.
pub(crate) fn sys_mprotect(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let at = pages(a.ptr(0), a.size(1))?;
    if !at.is_empty() {
        let prot = Prot::from_bits_retain(a.uint(2)) & Prot::ALL;
        l.kernel.vm.protect(&*l.kernel.machine, at, prot)?;
    }
    Ok(Ret::ZERO)
}

/// madvise(2). `MADV_DONTNEED` keeps the contents.
///
/// # Errors
/// EINVAL: unknown advice, or beyond the guest's addresses. EFAULT: a hole, with `MADV_DONTNEED` or `MADV_FREE`.
pub(crate) fn sys_madvise(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let at = pages(a.ptr(0), a.size(1))?;
    let advice = match a.int(2) {
        MADV_NORMAL => Some(Advice::Normal),
        MADV_RANDOM => Some(Advice::Random),
        MADV_SEQUENTIAL => Some(Advice::Sequential),
        MADV_WILLNEED => Some(Advice::WillNeed),
        MADV_FREE => Some(Advice::Free),
        MADV_DONTNEED => None,
        _ => return Err(Errno::EINVAL.into()),
    };
    if at.is_empty() {
        return Ok(Ret::ZERO);
    }
    if matches!(advice, None | Some(Advice::Free)) && !l.kernel.vm.is_mapped(&at) {
        return Err(Errno::EFAULT.into());
    }
    let at = at.start.max(GUEST_START)..at.end;
    if let Some(advice) = advice.filter(|_| !at.is_empty()) {
        l.kernel.vm.advise(&*l.kernel.machine, at, advice)?;
    }
    Ok(Ret::ZERO)
}

/// msync(2).
///
/// # Errors
/// EINVAL: the flags, beyond the guest's addresses, or size 0 and nothing is mapped there. EFAULT: a hole. EIO.
pub(crate) fn sys_msync(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let flags = a.uint(2);
    let is_both = flags & MS_ASYNC != 0 && flags & MS_SYNC != 0;
    if flags & !(MS_ASYNC | MS_INVALIDATE | MS_SYNC) != 0 || is_both {
        return Err(Errno::EINVAL.into());
    }
    let mut at = pages(a.ptr(0), a.size(1))?;
    if at.is_empty() {
        at = l.kernel.vm.lookup(at.start).ok_or(Errno::EINVAL)?.0;
    }
    if !l.kernel.vm.is_mapped(&at) {
        return Err(Errno::EFAULT.into());
    }
    let sync = if flags & MS_ASYNC == 0 { MS_SYNC } else { 0 };
    // The host's values are the same.
    let flags = i32::try_from(flags | sync).map_err(|_| Errno::EINVAL)?;
    sys.host.msync(at, flags).map_err(from_host)?;
    Ok(Ret::ZERO)
}

/// mincore(2): a byte for each page.
///
/// # Errors
/// EINVAL: misaligned, empty, or beyond the guest's addresses. ENOMEM: a hole. EFAULT: the bytes.
pub(crate) fn sys_mincore(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let (start, mut vec) = (a.ptr(0), a.ptr(2));
    let at = pages(start, a.size(1))?;
    if at.start != start || at.is_empty() {
        return Err(Errno::EINVAL.into());
    }
    if !l.kernel.vm.is_mapped(&at) {
        return Err(Errno::ENOMEM.into());
    }
    let mut next = at.start;
    while next < at.end {
        let part = next..at.end.min(next + MINCORE_PAGES * PAGE);
        let count = (part.end - part.start) / PAGE;
        let mut resident = vec![0; usize::try_from(count).unwrap_or(0)];
        sys.host
            .mincore(part.clone(), &mut resident)
            .map_err(from_host)?;
        copyout(l, &resident, vec)?;
        vec = vec.wrapping_add(count);
        next = part.end;
    }
    Ok(Ret::ZERO)
}

/// mlock(2).
///
/// # Errors
/// EINVAL: beyond the guest's addresses. ENOMEM: a hole, or more than may be locked.
pub(crate) fn sys_mlock(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let at = lockable(l, a)?;
    if !at.is_empty() {
        sys.host.mlock(at).map_err(|_| Errno::ENOMEM)?;
    }
    Ok(Ret::ZERO)
}

/// munlock(2).
///
/// # Errors
/// EINVAL: beyond the guest's addresses. ENOMEM: a hole.
pub(crate) fn sys_munlock(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let at = lockable(l, a)?;
    if !at.is_empty() {
        sys.host.munlock(at).map_err(|_| Errno::ENOMEM)?;
    }
    Ok(Ret::ZERO)
}

fn lockable(l: &CurLwp, a: &Args) -> Result<Range<u64>, Errno> {
    let at = pages(a.ptr(0), a.size(1))?;
    if at.is_empty() || l.kernel.vm.is_mapped(&at) {
        Ok(at)
    } else {
        Err(Errno::ENOMEM)
    }
}

/// mlockall(2): locks the guest's mappings, not the runner's.
///
/// # Errors
/// EINVAL: the flags. ENOMEM: more than may be locked.
pub(crate) fn sys_mlockall(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let flags = a.uint(0);
    if flags == 0 || flags & !(MCL_CURRENT | MCL_FUTURE) != 0 {
        return Err(Errno::EINVAL.into());
    }
    if flags & MCL_FUTURE != 0 {
        l.kernel.vm.set_wiring(true);
    }
    if flags & MCL_CURRENT != 0 {
        let all = l.kernel.vm.mappings().into_iter();
        for (at, _) in all.filter(|(_, mapping)| !mapping.prot.is_empty()) {
            sys.host.mlock(at).map_err(|_| Errno::ENOMEM)?;
        }
    }
    Ok(Ret::ZERO)
}

/// munlockall(2).
#[expect(clippy::unnecessary_wraps, reason = "the shape of a handler")]
pub(crate) fn sys_munlockall(sys: &Unix, l: &mut CurLwp, _: &Args) -> SysResult {
    l.kernel.vm.set_wiring(false);
    for (at, _) in l.kernel.vm.mappings() {
        // Another LWP may have unmapped it meanwhile.
        let _ = sys.host.munlock(at);
    }
    Ok(Ret::ZERO)
}

/// minherit(2).
///
/// # Errors
/// EINVAL: unknown, or beyond the guest's addresses. EOPNOTSUPP: what the host cannot do, sharing private
/// memory, copying shared memory, zeroing other than private anonymous memory.
pub(crate) fn sys_minherit(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let at = pages(a.ptr(0), a.size(1))?;
    let how = a.int(2);
    let inherit = match how {
        MAP_INHERIT_SHARE | MAP_INHERIT_COPY => Inherit::Normal,
        MAP_INHERIT_NONE => Inherit::None,
        MAP_INHERIT_ZERO => Inherit::Zero,
        _ => return Err(Errno::EINVAL.into()),
    };
    let at = at.start.max(GUEST_START)..at.end;
    if at.is_empty() {
        return Ok(Ret::ZERO);
    }
    let can = |object| match object {
        Object::Anon { shared: false, .. } => how != MAP_INHERIT_SHARE,
        Object::File { shared: false, .. } => how != MAP_INHERIT_SHARE && how != MAP_INHERIT_ZERO,
        Object::Anon { shared: true, .. } | Object::File { shared: true, .. } => {
            how == MAP_INHERIT_SHARE || how == MAP_INHERIT_NONE
        }
    };
    if !l
        .kernel
        .vm
        .mappings_in(&at)
        .iter()
        .all(|(_, mapping)| can(mapping.object))
    {
        return Err(Errno::EOPNOTSUPP.into());
    }
    l.kernel.vm.inherit(&*l.kernel.machine, at, inherit)?;
    Ok(Ret::ZERO)
}

/// mremap(2).
///
/// # Errors
/// EINVAL: the flags, the alignments, an empty range, or one that is not a single mapping. ENOMEM: no room.
pub(crate) fn sys_mremap(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let (old, old_len, new, len) = (a.ptr(0), a.size(1), a.ptr(2), a.size(3));
    let flags = MapFlags::from_bits_retain(a.uint(4));
    let log2 = flags.alignment_log2() << lwp_abi::mman::MAP_ALIGNMENT_SHIFT;
    if flags.bits() & !log2 & !MapFlags::FIXED.bits() != 0 {
        return Err(Errno::EINVAL.into());
    }
    let is_whole = [old, old_len, new, len]
        .iter()
        .all(|each| each.is_multiple_of(PAGE));
    let end = old
        .checked_add(old_len)
        .filter(|&end| end <= GUEST_BOUND && end > old);
    let (true, Some(end), true) = (is_whole, end, len > 0) else {
        return Err(Errno::EINVAL.into());
    };
    let is_fixed = flags.contains(MapFlags::FIXED);
    let align = alignment(flags, is_fixed.then_some(new))?;
    let place = if is_fixed {
        Place::Fixed(new)
    } else {
        Place::Hint(new)
    };
    let at = l.kernel.vm.remap(
        &*l.kernel.machine,
        &Move {
            old: old..end,
            len,
            place,
            align,
        },
    )?;
    Ok(Ret(at, 0))
}

/// break(2): sets the end of the data segment.
///
/// # Errors
/// ENOMEM: more than `RLIMIT_DATA`, or something else is mapped there. EINVAL: before the segment.
pub(crate) fn sys_obreak(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let limit = sys.limits.get(RLIMIT_DATA).rlim_cur;
    l.kernel
        .vm
        .set_break_end(&*l.kernel.machine, a.ptr(0), limit)?;
    Ok(Ret::ZERO)
}

/// The pages that hold `len` bytes from `addr`; none if `len` is 0.
///
/// # Errors
/// EINVAL: they reach beyond the guest's addresses.
fn pages(addr: u64, len: u64) -> Result<Range<u64>, Errno> {
    let start = round_down(addr);
    let end = addr
        .checked_add(len)
        .and_then(round_up)
        .filter(|&end| end <= GUEST_BOUND);
    let end = end.ok_or(Errno::EINVAL)?;
    Ok(start..if len == 0 { start } else { end })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_rounded_outwards_and_size_zero_is_no_page() {
        assert_eq!(pages(0x1_0001, 1), Ok(0x1_0000..0x1_1000));
        assert_eq!(pages(0x1_0fff, 2), Ok(0x1_0000..0x1_2000));
        assert_eq!(pages(0x1_0fff, 0), Ok(0x1_0000..0x1_0000));
        assert_eq!(pages(GUEST_BOUND - 1, 2), Err(Errno::EINVAL));
        assert_eq!(pages(u64::MAX, u64::MAX), Err(Errno::EINVAL));
    }

    #[test]
    fn alignments_are_judged_in_order() {
        let of = |log2: u32, fixed| alignment(MapFlags::from_bits_retain(log2 << 24), fixed);
        assert_eq!(of(0, None), Ok(PAGE));
        assert_eq!(of(21, None), Ok(2 << 20));
        assert_eq!(of(11, None), Err(Errno::EINVAL));
        assert_eq!(of(64, None), Err(Errno::EINVAL));
        assert_eq!(of(56, None), Err(Errno::ENOMEM));
        assert_eq!(of(21, Some(3 << 20)), Err(Errno::EINVAL));
        assert_eq!(of(21, Some(4 << 20)), Ok(2 << 20));
    }

    #[test]
    fn a_fixed_address_has_the_offset_s_remainder() {
        assert_eq!(fixed_address(0x2_0123, 0x123, PAGE), Ok(0x2_0000));
        assert_eq!(fixed_address(0x2_0000, 0x123, PAGE), Err(Errno::EINVAL));
        assert_eq!(fixed_address(0x1000, 0, PAGE), Err(Errno::EINVAL));
        assert_eq!(fixed_address(GUEST_BOUND, 0, PAGE), Err(Errno::EINVAL));
    }

    proptest! {
        #[test]
        fn no_range_leaves_the_guest(addr: u64, len: u64) {
            if let Ok(at) = pages(addr, len) {
                prop_assert!(at.end <= GUEST_BOUND && at.start <= at.end);
                prop_assert!(len == 0 || at.contains(&addr));
            }
        }
    }
}
