//! Socket addresses: NetBSD's begin with a length byte and a family byte, Linux's with a 16-bit family.
//!
//! Inward, the length byte is ignored and the length argument counts; with family 0, a length byte that
//! is a family is one (the layout of 4.3BSD). Outward, the length byte is the true length, at most the
//! given room is copied, and the length stored back is the smaller of the two.
//!
//! Differs from NetBSD: paths of local sockets have up to 107 bytes, not 251 (ENAMETOOLONG). Linux's
//! abstract names do not exist; a socket that has one reads as unnamed.
//!
//! Sources: `uipc_syscalls.c: sockargs, copyout_sockname`; unix(4); syscalls.md 5.6.

use crate::copy::{copyin_slice, copyin_struct, copyout, copyout_struct};
use lwp_abi::errno::Errno;
use lwp_abi::socket::{
    ADDRESS_FAMILIES, AF_INET, AF_INET6, AF_LOCAL, AF_MAX, AF_UNSPEC, SOCKADDR_STORAGE_SIZE,
};
use lwp_abi::table::{from_linux, to_linux};
use lwp_abi::until_nul;
use lwp_kernel::CurLwp;

/// Room for any address of the host.
pub(super) const HOST_ROOM: usize = SOCKADDR_STORAGE_SIZE;
/// The longest address that is taken (`sockargs`).
const LONGEST: u32 = 255;
/// Room for a path on Linux, without its NUL.
const HOST_PATH: usize = 107;

/// The Linux number of an address family, if a guest can have sockets of it.
pub(super) fn host_family(domain: i32) -> Option<i32> {
    let family = u8::try_from(domain).ok()?;
    matches!(family, AF_LOCAL | AF_INET | AF_INET6)
        .then(|| to_linux(ADDRESS_FAMILIES, i64::from(family)))
        .flatten()
        .and_then(|family| i32::try_from(family).ok())
}

/// Reads an address argument and makes a host address of it.
///
/// # Errors
/// EINVAL: a length that no address has, or not this family's. EFAULT. ENAMETOOLONG. ENOENT: an empty
/// path. EAFNOSUPPORT.
pub(super) fn copyin_addr(l: &CurLwp, addr: u64, len: u32) -> Result<Vec<u8>, Errno> {
    if len <= 2 || len > LONGEST {
        return Err(Errno::EINVAL);
    }
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
    to_host(&copyin_slice::<u8>(l, addr, len)?)
}

/// Writes an address where the guest wants it, and its length (`copyout_sockname`). `None` is "nobody".
///
/// # Errors
/// EFAULT. EINVAL: negative room.
pub(super) fn copyout_addr(
    l: &CurLwp,
    name: Option<&[u8]>,
    addr: u64,
    len_addr: u64,
) -> Result<(), Errno> {
    if addr == 0 {
        return Ok(());
    }
    let room: i32 = copyin_struct(l, len_addr)?;
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    let name = name.unwrap_or_default();
    let name = &name[..name.len().min(room)];
    copyout(l, name, addr)?;
    copyout_struct(l, &u32::try_from(name.len()).unwrap_or(0), len_addr)
}

/// A guest's address as the host has it.
pub(super) fn to_host(guest: &[u8]) -> Result<Vec<u8>, Errno> {
    let &[len, family, ref rest @ ..] = guest else {
        return Err(Errno::EINVAL);
    };
    let family = if family == AF_UNSPEC && len < AF_MAX {
        len
    } else {
        family
    };
    match family {
        AF_UNSPEC => Ok(vec![0; 16]),
        AF_LOCAL => local_to_host(rest),
        AF_INET if guest.len() != 16 => Err(Errno::EINVAL),
        AF_INET6 if guest.len() != 28 => Err(Errno::EINVAL),
        AF_INET | AF_INET6 => {
            let host = to_linux(ADDRESS_FAMILIES, i64::from(family)).ok_or(Errno::EAFNOSUPPORT)?;
            let host = u16::try_from(host).map_err(|_| Errno::EAFNOSUPPORT)?;
            Ok([&host.to_ne_bytes(), rest].concat())
        }
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

fn local_to_host(path: &[u8]) -> Result<Vec<u8>, Errno> {
    let path = until_nul(path);
    if path.is_empty() {
        // On Linux this would be a name of the kernel's own making.
        return Err(Errno::ENOENT);
    }
    if path.len() > HOST_PATH {
        return Err(Errno::ENAMETOOLONG);
    }
    Ok([&u16::from(AF_LOCAL).to_ne_bytes(), path, &[0]].concat())
}

/// A host address as the guest sees it; `None` if the host gave none.
pub(super) fn to_guest(host: &[u8]) -> Option<Vec<u8>> {
    let (family, rest) = host.split_first_chunk::<2>()?;
    let family = i64::from(u16::from_ne_bytes(*family));
    let family = u8::try_from(from_linux(ADDRESS_FAMILIES, family)?).ok()?;
    let rest = if family == AF_LOCAL {
        local_to_guest(rest)
    } else {
        rest.to_vec()
    };
    let len = u8::try_from(rest.len() + 2).ok()?;
    Some([&[len, family], rest.as_slice()].concat())
}

/// A path with its NUL, as Linux counts it; nothing for a socket without a name.
fn local_to_guest(path: &[u8]) -> Vec<u8> {
    match path.iter().position(|&byte| byte == 0) {
        Some(0) => Vec::new(),
        Some(end) => path[..=end].to_vec(),
        None => path.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INET: [u8; 16] = [
        16, AF_INET, 0x1f, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0,
    ];

    #[test]
    fn internet_addresses_differ_in_their_first_two_bytes() {
        let host = to_host(&INET).unwrap();
        assert_eq!(host[..4], [2, 0, 0x1f, 0x90]);
        assert_eq!(to_guest(&host).unwrap(), INET);
        let mut inet6 = vec![28, AF_INET6];
        inet6.extend(0..26);
        let host = to_host(&inet6).unwrap();
        assert_eq!(host[..2], [10, 0]);
        assert_eq!(to_guest(&host).unwrap(), inet6);
    }

    #[test]
    fn the_length_byte_is_ignored_or_is_an_old_family() {
        let mut odd = INET;
        odd[0] = 99;
        assert_eq!(to_host(&odd), to_host(&INET));
        odd[0] = AF_INET;
        odd[1] = AF_UNSPEC;
        assert_eq!(to_host(&odd), to_host(&INET));
    }

    #[test]
    fn wrong_lengths_and_families_are_refused() {
        assert_eq!(to_host(&INET[..15]), Err(Errno::EINVAL));
        assert_eq!(
            to_host(&[8, AF_INET6, 0, 0, 0, 0, 0, 0]),
            Err(Errno::EINVAL)
        );
        assert_eq!(to_host(&[16, 77, 0, 0]), Err(Errno::EAFNOSUPPORT));
        assert_eq!(to_host(&[1]), Err(Errno::EINVAL));
    }

    #[test]
    fn local_paths_end_at_their_nul_and_are_never_abstract() {
        let guest = b"\x6a\x01/tmp/s\0\0\0";
        assert_eq!(to_host(guest).unwrap(), b"\x01\0/tmp/s\0");
        assert_eq!(to_host(b"\x04\x01\0abstract"), Err(Errno::ENOENT));
        assert_eq!(
            to_host(&[[9, AF_LOCAL].as_slice(), &[b'a'; 108]].concat()),
            Err(Errno::ENAMETOOLONG)
        );
        assert_eq!(to_guest(b"\x01\0/tmp/s\0").unwrap(), b"\x09\x01/tmp/s\0");
    }

    #[test]
    fn unnamed_and_abstract_local_sockets_have_two_bytes() {
        assert_eq!(to_guest(b"\x01\0").unwrap(), [2, AF_LOCAL]);
        assert_eq!(to_guest(b"\x01\0\0hidden").unwrap(), [2, AF_LOCAL]);
        assert_eq!(to_guest(b""), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_understood_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            if let Ok(host) = to_host(&bytes) {
                prop_assert!(host.len() <= HOST_ROOM);
                prop_assert!(to_guest(&host).is_some());
            }
            let _ = to_guest(&bytes);
        }
    }
}
