//! Directories as streams: getdents(2); and lseek(2), whose offsets in directories are cookies.
//!
//! # Invariants
//! 1. One call converts exactly the records of one host call, so that the host's offset afterwards is
//!    the guest's: what telldir(3) remembers leads back to the same records.
//!    With a seed ([`crate::Options::of_seed`]) this does not hold: see `sorted`.
//! 2. A NetBSD record is no longer than the Linux record of the same name, so what fits the guest's size
//!    there fits here.
//!
//! Sources: getdents(2), lseek(2); `vfs_syscalls.c: sys___getdents30, sys_lseek`; syscalls.md 5.2.

use crate::Unix;
use crate::args::Args;
use crate::copy::copyout;
use crate::errno::{from_host, from_rustix};
use crate::files::Kind;
use lwp_abi::errno::Errno;
use lwp_abi::fs::{
    DT_BLK, DT_CHR, DT_DIR, DT_FIFO, DT_LNK, DT_REG, DT_SOCK, DT_UNKNOWN, DirentHeader, SEEK_CUR,
    SEEK_END, SEEK_SET,
};
use lwp_kernel::{CurLwp, Ret, SysResult};
use rustix::fs::{FileType, RawDir, SeekFrom};
use std::os::fd::BorrowedFd;
use zerocopy::IntoBytes;

/// The most that one call returns.
const MOST: usize = 64 << 10;

/// `__getdents30`.
///
/// # Errors
/// EBADF. EINVAL: no directory, or no room for one record. EFAULT.
pub(crate) fn sys_getdents(sys: &Unix, l: &mut CurLwp, a: &Args) -> SysResult {
    if sys.files.kind(&*sys.host, a.int(0))? != Kind::Directory {
        return Err(Errno::EINVAL.into());
    }
    let room = usize::try_from(a.size(2)).unwrap_or(MOST).min(MOST);
    let fd = sys.host.fd(a.int(0)).map_err(from_host)?;
    if sys.options.of_seed.is_some() {
        let (guest, next) = sorted(fd, room)?;
        copyout(l, &guest, a.ptr(1))?;
        rustix::fs::seek(fd, SeekFrom::Start(next)).map_err(from_rustix)?;
        return Ok(Ret(guest.len() as u64, 0));
    }
    let mut host = Vec::with_capacity(room);
    let mut guest = Vec::with_capacity(room);
    let mut entries = RawDir::new(fd, &mut host.spare_capacity_mut()[..room]);
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(from_rustix)?;
        append(
            &mut guest,
            entry.ino(),
            entry.file_type(),
            entry.file_name().to_bytes(),
        );
        if entries.is_buffer_empty() {
            break;
        }
    }
    copyout(l, &guest, a.ptr(1))?;
    Ok(Ret(guest.len() as u64, 0))
}

/// The records that follow the offset of `fd`, as many as there is room for, and the offset behind them: in an order
/// that comes from the names, whatever the file system has. An offset is the place of a name in this order, so that
/// it holds while others come and go. The offset of `fd` stays.
///
/// # Errors
/// EINVAL: no room for what comes next. What the host says.
fn sorted(fd: BorrowedFd<'_>, room: usize) -> Result<(Vec<u8>, u64), Errno> {
    let offset = rustix::fs::tell(fd).map_err(from_rustix)?;
    rustix::fs::seek(fd, SeekFrom::Start(0)).map_err(from_rustix)?;
    let all = entries(fd);
    rustix::fs::seek(fd, SeekFrom::Start(offset)).map_err(from_rustix)?;
    let mut left: Vec<_> = all?.into_iter().filter(|it| it.place >= offset).collect();
    left.sort_unstable_by(|one, other| (one.place, &one.name).cmp(&(other.place, &other.name)));
    let mut guest = Vec::new();
    let mut next = offset;
    // Those that share a place are given together.
    for group in left.chunk_by(|one, other| one.place == other.place) {
        let before = guest.len();
        for entry in group {
            append(&mut guest, entry.ino, entry.file, &entry.name);
        }
        if guest.len() > room {
            if before == 0 {
                return Err(Errno::EINVAL);
            }
            guest.truncate(before);
            break;
        }
        next = group[0].place + 1;
    }
    Ok((guest, next))
}

/// An entry of a directory.
struct Entry {
    place: u64,
    ino: u64,
    file: FileType,
    name: Vec<u8>,
}

/// The entries of a directory from where its offset is.
fn entries(fd: BorrowedFd<'_>) -> Result<Vec<Entry>, Errno> {
    let mut host = Vec::with_capacity(MOST);
    let mut entries = RawDir::new(fd, host.spare_capacity_mut());
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(from_rustix)?;
        let name = entry.file_name().to_bytes();
        found.push(Entry {
            place: place(name),
            ino: entry.ino(),
            file: entry.file_type(),
            name: name.to_vec(),
        });
    }
    Ok(found)
}

/// Where a name is in the order: `.`, `..`, the others by a hash (FNV-1a) of 30 bits, which every file system takes
/// for an offset.
fn place(name: &[u8]) -> u64 {
    match name {
        b"." => 0,
        b".." => 1,
        _ => {
            let hash = name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
            });
            2 + ((hash ^ hash >> 32) & 0x3fff_ffff)
        }
    }
}

/// Adds a record, unless the name is too long for one (Linux's names are not).
fn append(to: &mut Vec<u8>, ino: u64, file: FileType, name: &[u8]) {
    let Some(reclen) = DirentHeader::reclen(name.len()) else {
        return;
    };
    let end = to.len() + usize::from(reclen);
    let header = DirentHeader {
        // 0 would say that the entry was deleted.
        d_fileno: ino.max(1),
        d_reclen: reclen,
        d_namlen: u16::try_from(name.len()).unwrap_or(u16::MAX),
        d_type: dirent_type(file),
    };
    to.extend_from_slice(header.as_bytes());
    to.extend_from_slice(name);
    to.resize(end, 0);
}

fn dirent_type(file: FileType) -> u8 {
    match file {
        FileType::RegularFile => DT_REG,
        FileType::Directory => DT_DIR,
        FileType::Symlink => DT_LNK,
        FileType::Fifo => DT_FIFO,
        FileType::Socket => DT_SOCK,
        FileType::CharacterDevice => DT_CHR,
        FileType::BlockDevice => DT_BLK,
        FileType::Unknown => DT_UNKNOWN,
    }
}

/// `lseek(2)`; argument 1 is padding.
///
/// # Errors
/// EBADF. ESPIPE: one cannot seek there. EINVAL: no such origin, or a negative result.
pub(crate) fn sys_lseek(sys: &Unix, _: &mut CurLwp, a: &Args) -> SysResult {
    match sys.files.kind(&*sys.host, a.int(0))? {
        Kind::Disk | Kind::Directory | Kind::Device | Kind::Random => {}
        Kind::Fifo | Kind::Socket | Kind::Anonymous | Kind::Object => {
            return Err(Errno::ESPIPE.into());
        }
    }
    let offset = a.i64(2);
    let from = match a.int(3) {
        SEEK_SET => SeekFrom::Start(u64::try_from(offset).map_err(|_| Errno::EINVAL)?),
        SEEK_CUR => SeekFrom::Current(offset),
        SEEK_END => SeekFrom::End(offset),
        _ => return Err(Errno::EINVAL.into()),
    };
    let fd = sys.host.fd(a.int(0)).map_err(from_host)?;
    Ok(Ret(rustix::fs::seek(fd, from).map_err(from_rustix)?, 0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs::{self, File};
    use std::os::fd::AsFd;

    /// The names in `records`.
    fn names(mut records: &[u8]) -> Vec<Vec<u8>> {
        let mut names = Vec::new();
        while !records.is_empty() {
            let number =
                |at: usize| usize::from(u16::from_le_bytes([records[at], records[at + 1]]));
            names.push(records[13..13 + number(10)].to_vec());
            records = &records[number(8)..];
        }
        names
    }

    /// All names in a directory, by calls with so much room, after each of which `between` is called.
    fn read_all(dir: &File, room: usize, mut between: impl FnMut(&[Vec<u8>])) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        rustix::fs::seek(dir, SeekFrom::Start(0)).unwrap();
        loop {
            let (records, next) = sorted(dir.as_fd(), room).unwrap();
            if records.is_empty() {
                return all;
            }
            rustix::fs::seek(dir, SeekFrom::Start(next)).unwrap();
            let found = names(&records);
            between(&found);
            all.extend(found);
        }
    }

    #[test]
    fn the_order_of_a_directory_comes_from_the_names_alone() {
        let base = std::env::temp_dir().join(format!("lwp-dirents-{}", std::process::id()));
        let all: Vec<String> = (0..500).map(|n| format!("name {n}")).collect();
        let make = |name: &str, files: &mut dyn Iterator<Item = &String>| {
            let dir = base.join(name);
            fs::create_dir_all(&dir).unwrap();
            files.for_each(|file| drop(File::create(dir.join(file)).unwrap()));
            File::open(dir).unwrap()
        };
        let one = make("one", &mut all.iter());
        let other = make("other", &mut all.iter().rev());
        let order = read_all(&one, MOST, |_| {});
        assert_eq!(order.len(), 502);
        assert_eq!(order[..2], [b".".to_vec(), b"..".to_vec()]);
        for room in [64, 100, 512, 4096] {
            assert_eq!(read_all(&other, room, |_| {}), order);
        }
        assert_eq!(
            sorted(one.as_fd(), 0),
            Ok((Vec::new(), rustix::fs::tell(&one).unwrap()))
        );
        rustix::fs::seek(&one, SeekFrom::Start(0)).unwrap();
        assert_eq!(sorted(one.as_fd(), 8), Err(Errno::EINVAL));
        // What is removed meanwhile does not hide anything else.
        let remove = |names: &[Vec<u8>]| {
            for name in names.iter().filter(|name| name.len() > 2) {
                let name = core::str::from_utf8(name).unwrap();
                fs::remove_file(base.join("one").join(name)).unwrap();
            }
        };
        assert_eq!(read_all(&one, 512, remove), order);
        fs::remove_dir_all(&base).unwrap();
    }

    proptest! {
        #[test]
        fn records_are_well_formed_and_never_longer_than_the_host_s(
            names in proptest::collection::vec("[a-z.]{1,255}", 1..5),
        ) {
            let mut records = Vec::new();
            for name in &names {
                let before = records.len();
                append(&mut records, 0, FileType::RegularFile, name.as_bytes());
                let host = (19 + name.len() + 1).next_multiple_of(8);
                prop_assert!(records.len() - before <= host);
            }
            let mut rest = &records[..];
            for name in &names {
                let reclen = usize::from(u16::from_le_bytes([rest[8], rest[9]]));
                prop_assert_eq!(reclen % 8, 0);
                prop_assert_eq!(u64::from_le_bytes(rest[..8].try_into().unwrap()), 1);
                prop_assert_eq!(&rest[13..13 + name.len()], name.as_bytes());
                prop_assert_eq!(rest[13 + name.len()], 0);
                rest = &rest[reclen..];
            }
            prop_assert!(rest.is_empty());
        }
    }
}
