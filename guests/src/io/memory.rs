//! The mmap family.

use super::files::open;
use rt::abi::fs::{O_CREAT, O_RDWR};
use rt::abi::nr::SYS_MMAP;
use rt::abi::signal::Signo;
use rt::check::{Check, Verdict};
use rt::process::{close, in_child, write};
use rt::sys::Arg as _;
use rt::vm::{MAP_ANON, MAP_FIXED, MAP_PRIVATE, MAP_SHARED, PROT_NONE, PROT_READ, PROT_RW, mmap};
use rt::{SysResult, ensure, ensure_eq, ensure_err, sys, vm};

pub(crate) const CHECKS: &[Check] = &[
    ("mmap/anonymous", anonymous),
    ("mmap/errors", errors),
    ("mmap/size-0", nothing_at_all),
    ("mmap/fixed", fixed),
    ("mmap/hint", hint),
    ("mmap/aligned", aligned),
    ("mmap/file", file),
    ("mmap/unaligned-offset", unaligned_offset),
    ("mmap/reserve", reserve_and_commit),
    ("munmap", unmap),
    ("mprotect", protect),
    ("madvise", advise),
    ("mincore", residence),
    ("minherit", inheritance),
    ("mremap", remap),
    ("break", heap_end),
];

const ANON: i32 = MAP_PRIVATE | MAP_ANON;

fn get(at: u64) -> u8 {
    // SAFETY: mapped by the check; a fault fails it.
    unsafe { vm::pointer::<u8>(at).read_volatile() }
}

fn put(at: u64, byte: u8) {
    // SAFETY: as in `get`.
    unsafe { vm::pointer::<u8>(at).write_volatile(byte) }
}

fn anonymous() -> Verdict {
    let at = mmap(0, 10_000, PROT_RW, ANON, -1, 0)?;
    ensure_eq!(at % 4096, 0);
    ensure_eq!((get(at), get(at + 12_287)), (0, 0));
    put(at + 12_287, 5);
    ensure_eq!(get(at + 12_287), 5);
    // Neither shared nor private is private.
    ensure!(mmap(0, 4096, PROT_RW, MAP_ANON, -1, 0).is_ok());
    // The descriptor is an int: the upper half does not count.
    let a = [0, 4096, 3, ANON.arg(), 0xffff_ffff, 0];
    ensure!(
        sys::raw_stack(u64::from(SYS_MMAP), a, [0; 3])
            .result()
            .is_ok()
    );
    Ok(())
}

fn errors() -> Verdict {
    ensure_err!(
        mmap(0, 4096, PROT_RW, MAP_SHARED | MAP_PRIVATE | MAP_ANON, -1, 0),
        EINVAL
    );
    ensure_err!(mmap(0, 4096, PROT_RW, ANON, 0, 0), EINVAL);
    ensure_err!(mmap(0, 4096, PROT_RW, MAP_PRIVATE, -1, 0), EBADF);
    ensure_err!(mmap(0, usize::MAX, PROT_RW, ANON, -1, 0), EINVAL);
    ensure!(mmap(0, 1 << 46, PROT_RW, ANON, -1, 0).is_err());
    ensure_err!(
        mmap(1 << 63, 4096, PROT_RW, ANON | MAP_FIXED, -1, 0),
        EINVAL
    );
    ensure_err!(
        mmap(0x7f7f_ffff_f000, 4096, PROT_RW, ANON | MAP_FIXED, -1, 0),
        EINVAL
    );
    ensure_err!(mmap(5, 4096, PROT_RW, ANON | MAP_FIXED, -1, 0), EINVAL);
    Ok(())
}

fn nothing_at_all() -> Verdict {
    ensure!(mmap(0, 0, PROT_RW, ANON, -1, 0).is_ok());
    Ok(())
}

fn fixed() -> Verdict {
    let at = mmap(0, 3 * 4096, PROT_RW, ANON, -1, 0)?;
    put(at, 1);
    put(at + 4096, 2);
    put(at + 8192, 3);
    ensure_eq!(
        mmap(at + 4096, 4096, PROT_RW, ANON | MAP_FIXED, -1, 0),
        Ok(at + 4096)
    );
    ensure_eq!((get(at), get(at + 4096), get(at + 8192)), (1, 0, 3));
    Ok(())
}

fn hint() -> Verdict {
    // Where Go asks for its heap.
    let want = 0xc0_0000_0000;
    ensure_eq!(mmap(want, 1 << 26, PROT_NONE, ANON, -1, 0), Ok(want));
    let other = mmap(want, 4096, PROT_RW, ANON, -1, 0)?;
    ensure!(other != want);
    put(other, 1);
    Ok(())
}

fn aligned() -> Verdict {
    for log2 in [12, 16, 21, 22] {
        let flags = ANON | log2 << 24;
        let at = mmap(0, 4096, PROT_RW, flags, -1, 0)?;
        ensure!(
            at.trailing_zeros() >= log2.cast_unsigned(),
            "{at:#x} for 2^{log2}"
        );
        put(at, 1);
    }
    ensure_err!(mmap(0, 4096, PROT_RW, ANON | 11 << 24, -1, 0), EINVAL);
    ensure_err!(mmap(0, 4096, PROT_RW, ANON | 64 << 24, -1, 0), EINVAL);
    Ok(())
}

/// A file without a name: two pages, the second begins with "two".
fn two_pages() -> Result<i32, rt::Errno> {
    let path = c"io-mapping.tmp";
    let fd = open(path, O_RDWR | O_CREAT, 0o600)?;
    sys!(SYS_UNLINK, path)?;
    sys!(SYS_FTRUNCATE, fd, 0, 8192)?;
    write(fd, b"one")?;
    sys!(SYS_PWRITE, fd, b"two".as_ptr(), 3, 0, 4096)?;
    Ok(fd)
}

fn file() -> Verdict {
    let fd = two_pages()?;
    let shared = mmap(0, 8192, PROT_RW, MAP_SHARED, fd, 0)?;
    let private = mmap(0, 4096, PROT_RW, MAP_PRIVATE, fd, 4096)?;
    ensure_eq!(
        (get(shared), get(shared + 4096), get(private)),
        (b'o', b't', b't')
    );
    put(shared, b'X');
    put(private, b'Y');
    let mut buf = [0_u8; 1];
    sys!(SYS_PREAD, fd, buf.as_mut_ptr(), 1, 0, 0)?;
    ensure_eq!((buf[0], get(shared + 4096)), (b'X', b't'));
    close(fd)?;
    ensure_eq!(get(shared), b'X');
    sys!(SYS_MSYNC13, shared, 8192, 4)?;
    Ok(())
}

fn unaligned_offset() -> Verdict {
    let fd = two_pages()?;
    let at = mmap(0, 100, PROT_READ, MAP_PRIVATE, fd, 4097)?;
    ensure_eq!((at % 4096, get(at)), (1, b'w'));
    Ok(())
}

fn reserve_and_commit() -> Verdict {
    let at = mmap(0, 1 << 32, PROT_NONE, ANON, -1, 0)?;
    ensure_eq!(mmap(at, 1 << 20, PROT_RW, ANON | MAP_FIXED, -1, 0), Ok(at));
    put(at + (1 << 20) - 1, 1);
    vm::munmap(at, 1 << 32)?;
    Ok(())
}

/// That touching an address kills.
fn kills(at: u64, write: bool) -> Verdict {
    let status = in_child(|| {
        if write {
            put(at, 1);
        } else {
            get(at);
        }
        0
    })?;
    ensure_eq!(status.signal(), Some(Signo::SIGSEGV.raw()));
    Ok(())
}

fn unmap() -> Verdict {
    let at = mmap(0, 3 * 4096, PROT_RW, ANON, -1, 0)?;
    // Rounded outwards; holes do not matter; nothing is fine.
    ensure_eq!(vm::munmap(at + 4096 + 100, 10), Ok(0));
    kills(at + 4096, false)?;
    put(at, 1);
    put(at + 8192, 1);
    ensure_eq!(vm::munmap(at, 3 * 4096), Ok(0));
    ensure_eq!(vm::munmap(at, 0), Ok(0));
    ensure_err!(vm::munmap(1 << 63, 4096), EINVAL);
    Ok(())
}

fn protect() -> Verdict {
    let at = mmap(0, 8192, PROT_RW, ANON, -1, 0)?;
    put(at, 9);
    vm::mprotect(at, 4096, PROT_READ)?;
    ensure_eq!(get(at), 9);
    kills(at, true)?;
    put(at + 4096, 1);
    vm::mprotect(at + 5, 10, PROT_NONE)?;
    kills(at, false)?;
    vm::mprotect(at, 4096, PROT_RW)?;
    ensure_eq!(get(at), 9);
    vm::munmap(at, 4096)?;
    ensure_err!(vm::mprotect(at, 8192, PROT_READ), ENOMEM);
    Ok(())
}

fn madvise(at: u64, advice: i32) -> SysResult {
    sys!(SYS_MADVISE, at, 4096, advice)
}

fn advise() -> Verdict {
    let at = mmap(0, 4096, PROT_RW, ANON, -1, 0)?;
    put(at, 7);
    for advice in 0..=4 {
        ensure_eq!(madvise(at, advice), Ok(0));
    }
    // DONTNEED keeps what is there, unlike on Linux.
    ensure_eq!(get(at), 7);
    ensure_eq!(madvise(at, 6), Ok(0));
    ensure_err!(madvise(at, 5), EINVAL);
    ensure_err!(madvise(at, 99), EINVAL);
    Ok(())
}

fn residence() -> Verdict {
    let at = mmap(0, 8192, PROT_RW, ANON, -1, 0)?;
    put(at, 1);
    let mut pages = [0xff_u8; 2];
    sys!(SYS_MINCORE, at, 8192, pages.as_mut_ptr())?;
    ensure_eq!((pages[0] & 1, pages[1]), (1, 0));
    Ok(())
}

fn inheritance() -> Verdict {
    let (none, zero) = (
        mmap(0, 4096, PROT_RW, ANON, -1, 0)?,
        mmap(0, 4096, PROT_RW, ANON, -1, 0)?,
    );
    put(zero, 5);
    sys!(SYS_MINHERIT, none, 4096, 2)?;
    sys!(SYS_MINHERIT, zero, 4096, 4)?;
    let status = in_child(|| i32::from(get(zero)))?;
    ensure_eq!(status.code(), Some(0));
    kills(none, false)?;
    ensure_eq!((get(none), get(zero)), (0, 5));
    ensure_err!(sys!(SYS_MINHERIT, none, 4096, 3), EINVAL);
    Ok(())
}

fn remap() -> Verdict {
    let at = mmap(0, 8192, PROT_RW, ANON, -1, 0)?;
    put(at + 4096, 6);
    let new = sys!(SYS_MREMAP, at, 8192, 0, 1 << 20, 0)?;
    ensure_eq!((get(new + 4096), get(new + (1 << 20) - 1)), (6, 0));
    ensure_eq!(sys!(SYS_MREMAP, new, 1 << 20, 0, 8192, 0), Ok(new));
    ensure_err!(sys!(SYS_MREMAP, new + 1, 8192, 0, 4096, 0), EINVAL);
    Ok(())
}

fn heap_end() -> Verdict {
    unsafe extern "C" {
        /// The linker's: where the program's data ends, and the heap begins.
        static _end: u8;
    }
    let end = (&raw const _end).arg().next_multiple_of(4096);
    ensure_eq!(sys!(SYS_BREAK, end + 8192), Ok(0));
    put(end + 8191, 4);
    ensure_eq!(get(end + 8191), 4);
    ensure_eq!(sys!(SYS_BREAK, end), Ok(0));
    kills(end + 4096, false)
}
