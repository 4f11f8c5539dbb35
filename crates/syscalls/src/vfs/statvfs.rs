//! statvfs(2) and getvfsstat(2), in the records of NetBSD 10 and of 3 to 9.
//!
//! Sizes come from the host's statfs(2); where a file system is mounted, and what, from
//! /proc/self/mountinfo. Local file systems call themselves "ffs": the names "union" and "nfs" make libc's
//! opendir(3) read whole directories in advance.
//!
//! Sources: statvfs(2), getvfsstat(2), statvfs(5); syscalls.md 5.2.

use crate::Unix;
use crate::args::Args;
use crate::copy::copyout_struct;
use crate::errno::{from_host, from_rustix};
use crate::vfs::here;
use lwp_abi::errno::Errno;
use lwp_abi::fs::{FsId, ST_FLAGS, ST_LOCAL, ST_NOWAIT, ST_WAIT, Statvfs, Statvfs90};
use lwp_abi::table::from_linux;
use lwp_kernel::{CurLwp, Ret, SysResult};
use rustix::fs::{AtFlags, Mode, OFlags, StatFs, StatxFlags};
use std::os::fd::{AsFd, BorrowedFd};
use zerocopy::{FromZeros, Immutable, IntoBytes};

/// One mounted file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Mount {
    /// The host's number of the mount.
    id: u64,
    /// Where it is.
    on: Vec<u8>,
    /// The host's name for its kind.
    kind: Vec<u8>,
    /// What is mounted.
    from: Vec<u8>,
}

/// `__statvfs190`.
///
/// # Errors
/// EFAULT, and those of looking up a path.
pub(crate) fn sys_statvfs(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let found = by_path(sys, l, a.ptr(0))?;
    copyout_struct(l, &found, a.ptr(1))?;
    Ok(Ret::ZERO)
}

/// `compat_90_statvfs1`.
///
/// # Errors
/// As [`sys_statvfs`].
pub(crate) fn sys_statvfs90(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let found = by_path(sys, l, a.ptr(0))?;
    copyout_struct(l, &old(&found), a.ptr(1))?;
    Ok(Ret::ZERO)
}

/// `__fstatvfs190`.
///
/// # Errors
/// EBADF. EINVAL: no file. EFAULT.
pub(crate) fn sys_fstatvfs(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let found = by_fd(sys, a.int(0))?;
    copyout_struct(l, &found, a.ptr(1))?;
    Ok(Ret::ZERO)
}

/// `compat_90_fstatvfs1`.
///
/// # Errors
/// As [`sys_fstatvfs`].
pub(crate) fn sys_fstatvfs90(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    let found = by_fd(sys, a.int(0))?;
    copyout_struct(l, &old(&found), a.ptr(1))?;
    Ok(Ret::ZERO)
}

/// `__getvfsstat90`: how many there are; as many as fit are stored.
///
/// # Errors
/// EINVAL: neither `ST_WAIT` nor `ST_NOWAIT`. EFAULT.
pub(crate) fn sys_getvfsstat(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    getvfsstat(l, a, |found| *found)
}

/// `compat_90_getvfsstat`.
///
/// # Errors
/// As [`sys_getvfsstat`].
pub(crate) fn sys_getvfsstat90(_: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    getvfsstat(l, a, old)
}

fn getvfsstat<T: IntoBytes + Immutable>(
    l: &CurLwp,
    a: &Args,
    record: impl Fn(&Statvfs) -> T,
) -> SysResult {
    let (to, room) = (a.ptr(0), a.size(1));
    if ![ST_WAIT, ST_NOWAIT].contains(&a.int(2)) {
        return Err(Errno::EINVAL.into());
    }
    let size = size_of::<T>() as u64;
    let mut count = 0;
    for mount in mounts() {
        let Ok(statfs) = rustix::fs::statfs(&mount.on[..]) else {
            continue;
        };
        let offset = size * count;
        if to != 0 && room.saturating_sub(offset) >= size {
            let found = record(&statvfs(&statfs, 0, Some(&mount)));
            copyout_struct(l, &found, to.wrapping_add(offset))?;
        } else if to != 0 {
            break;
        }
        count += 1;
    }
    Ok(Ret(count, 0))
}

fn by_path(sys: &Unix, l: &CurLwp, path: u64) -> Result<Statvfs, Errno> {
    let place = here(sys, l, path)?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(place.dir, place.path(), flags, Mode::empty());
    of(fd.map_err(from_rustix)?.as_fd())
}

fn by_fd(sys: &Unix, fd: i32) -> Result<Statvfs, Errno> {
    use crate::files::Kind;
    match sys.files.kind(&*sys.host, fd)? {
        Kind::Socket | Kind::Anonymous | Kind::Object => Err(Errno::EINVAL),
        Kind::Disk | Kind::Directory | Kind::Fifo | Kind::Device | Kind::Random => {
            of(sys.host.fd(fd).map_err(from_host)?)
        }
    }
}

fn of(fd: BorrowedFd<'_>) -> Result<Statvfs, Errno> {
    let statfs = rustix::fs::fstatfs(fd).map_err(from_rustix)?;
    let stat = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
    let stat = stat.map_err(from_rustix)?;
    let mounts = mounts();
    let mount = mounts.iter().find(|mount| mount.id == stat.stx_mnt_id);
    let dev = rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
    Ok(statvfs(&statfs, dev, mount))
}

/// The guest's record.
fn statvfs(found: &StatFs, dev: u64, mount: Option<&Mount>) -> Statvfs {
    let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
    let mut record = Statvfs::new_zeroed();
    let fragment = match unsigned(found.f_frsize) {
        0 => unsigned(found.f_bsize),
        size => size,
    };
    record.f_flag = flags(unsigned(found.f_flags)) | ST_LOCAL;
    record.f_bsize = unsigned(found.f_bsize);
    record.f_frsize = fragment;
    record.f_iosize = record.f_bsize;
    record.f_blocks = found.f_blocks;
    record.f_bfree = found.f_bfree;
    record.f_bavail = found.f_bavail;
    record.f_bresvd = found.f_bfree.saturating_sub(found.f_bavail);
    record.f_files = found.f_files;
    record.f_ffree = found.f_ffree;
    record.f_favail = found.f_ffree;
    let half = |bits: u64| i32::try_from(bits & 0x7fff_ffff).unwrap_or(0);
    record.f_fsidx = FsId {
        val: [half(dev), half(dev >> 32)],
    };
    record.f_fsid = dev;
    record.f_namemax = unsigned(found.f_namelen);
    put(&mut record.f_fstypename, kind(mount));
    put(
        &mut record.f_mntonname,
        mount.map_or(b"/", |mount| &mount.on),
    );
    put(
        &mut record.f_mntfromname,
        mount.map_or(b"root", |mount| &mount.from),
    );
    record
}

/// What NetBSD would call the file system.
fn kind(mount: Option<&Mount>) -> &[u8] {
    match mount.map(|mount| &mount.kind[..]) {
        Some(b"proc") => b"procfs",
        Some(b"tmpfs") => b"tmpfs",
        Some(b"devpts") => b"ptyfs",
        Some(b"iso9660") => b"cd9660",
        Some(b"vfat") => b"msdos",
        _ => b"ffs",
    }
}

/// The host's flags that NetBSD has too.
fn flags(host: u64) -> u64 {
    (0..32)
        .map(|bit| 1i64 << bit)
        .filter(|&bit| host & bit.unsigned_abs() != 0)
        .filter_map(|bit| from_linux(ST_FLAGS, bit))
        .fold(0, |flags, bit| flags | bit.unsigned_abs())
}

/// Copies a name, cut so that a NUL follows.
fn put(to: &mut [u8], name: &[u8]) {
    let len = name.len().min(to.len().saturating_sub(1));
    to[..len].copy_from_slice(&name[..len]);
}

/// The record of NetBSD 3 to 9.
fn old(new: &Statvfs) -> Statvfs90 {
    let mut record = Statvfs90::new_zeroed();
    record.f_flag = new.f_flag;
    record.f_bsize = new.f_bsize;
    record.f_frsize = new.f_frsize;
    record.f_iosize = new.f_iosize;
    record.f_blocks = new.f_blocks;
    record.f_bfree = new.f_bfree;
    record.f_bavail = new.f_bavail;
    record.f_bresvd = new.f_bresvd;
    record.f_files = new.f_files;
    record.f_ffree = new.f_ffree;
    record.f_favail = new.f_favail;
    record.f_fsidx = new.f_fsidx;
    record.f_fsid = new.f_fsid;
    record.f_namemax = new.f_namemax;
    record.f_fstypename = new.f_fstypename;
    record.f_mntonname = new.f_mntonname;
    record.f_mntfromname = new.f_mntfromname;
    record
}

/// All mounts that this process can see.
fn mounts() -> Vec<Mount> {
    let text = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    text.split(|&c| c == b'\n').filter_map(mount).collect()
}

/// One line of mountinfo: `id parent dev root on options optional... - kind from options`.
fn mount(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|&c| c == b' ');
    let id = str::from_utf8(words.next()?).ok()?.parse().ok()?;
    let on = unescape(words.nth(3)?);
    let mut words = words.skip_while(|word| *word != b"-").skip(1);
    let kind = words.next()?.to_vec();
    let from = unescape(words.next()?);
    Some(Mount { id, on, kind, from })
}

/// Undoes mountinfo's `\040` for a blank, and its like.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..3).and_then(|digits| str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                out.push(byte);
                rest = &tail[3..];
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use lwp_abi::fs::ST_RDONLY;

    #[test]
    fn a_line_of_mountinfo_is_a_mount() {
        let line = b"36 35 98:0 /mnt1 /mnt\\0402 rw,noatime shared:1 master:2 - ext3 /dev/root rw";
        let expected = Mount {
            id: 36,
            on: b"/mnt 2".to_vec(),
            kind: b"ext3".to_vec(),
            from: b"/dev/root".to_vec(),
        };
        assert_eq!(mount(line), Some(expected));
        assert_eq!(mount(b""), None);
        assert_eq!(mount(b"36 35 98:0 / /"), None);
    }

    #[test]
    fn flags_are_translated_bit_by_bit() {
        // ST_RDONLY, ST_NOSUID and ST_NODEV of Linux, and a bit that nobody has.
        assert_eq!(flags(1 | 2 | 4 | 1 << 31), ST_RDONLY | 8 | 0x10);
    }

    #[test]
    fn the_file_system_of_the_root_has_room_and_a_name() {
        let root = rustix::fs::open("/", OFlags::PATH, Mode::empty()).unwrap();
        let found = of(root.as_fd()).unwrap();
        assert!(found.f_frsize > 0 && found.f_namemax > 0);
        assert_eq!(found.f_mntonname[..2], *b"/\0");
        assert_eq!(old(&found).f_bfree, found.f_bfree);
    }
}
