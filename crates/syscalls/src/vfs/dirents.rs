//! Directories as streams: getdents(2); and lseek(2), whose offsets in directories are cookies.
//!
//! # Invariants
//! 1. One call converts exactly the records of one host call, so that the host's offset afterwards is
//!    the guest's: what telldir(3) remembers leads back to the same records.
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
    let mut host = Vec::with_capacity(room);
    let mut guest = Vec::with_capacity(room);
    let fd = sys.host.fd(a.int(0)).map_err(from_host)?;
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
mod tests {
    use super::*;
    use proptest::prelude::*;

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
