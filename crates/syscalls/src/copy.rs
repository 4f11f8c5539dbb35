//! copyin(9) and copyout(9) by type.
//!
//! Guest memory is read once, into a value. A bad address is EFAULT, always.

use lwp_abi::errno::Errno;
use lwp_abi::limits::{IOV_MAX, PATH_MAX};
use lwp_abi::uio::Iovec;
use lwp_kernel::CurLwp;
use lwp_kernel::machine::BadAddress;
use std::ffi::CString;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// What every copy says of a bad address.
pub(crate) fn fault(_: BadAddress) -> Errno {
    Errno::EFAULT
}

/// Reads a record.
///
/// # Errors
/// EFAULT.
pub fn copyin_struct<T: FromBytes + IntoBytes>(l: &CurLwp, from: u64) -> Result<T, Errno> {
    let mut value = T::new_zeroed();
    copyin_into(l, from, &mut value)?;
    Ok(value)
}

/// Reads a record into its place: a large one need not move then.
///
/// # Errors
/// EFAULT; part of `to` may have been written.
pub fn copyin_into<T: FromBytes + IntoBytes>(
    l: &CurLwp,
    from: u64,
    to: &mut T,
) -> Result<(), Errno> {
    let to = to.as_mut_bytes();
    l.kernel.machine.copyin(from, to).map_err(fault)
}

/// Writes a record.
///
/// # Errors
/// EFAULT.
pub fn copyout_struct<T: IntoBytes + Immutable + ?Sized>(
    l: &CurLwp,
    value: &T,
    to: u64,
) -> Result<(), Errno> {
    copyout(l, value.as_bytes(), to)
}

/// Reads a row of records. The caller bounds `count`.
///
/// # Errors
/// EFAULT. ENOMEM: more than a machine has.
pub fn copyin_slice<T>(l: &CurLwp, from: u64, count: usize) -> Result<Vec<T>, Errno>
where
    T: FromBytes + IntoBytes,
{
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    values.resize_with(count, T::new_zeroed);
    l.kernel
        .machine
        .copyin(from, values.as_mut_slice().as_mut_bytes())
        .map_err(fault)?;
    Ok(values)
}

/// Writes bytes.
///
/// # Errors
/// EFAULT.
pub fn copyout(l: &CurLwp, from: &[u8], to: u64) -> Result<(), Errno> {
    l.kernel.machine.copyout(from, to).map_err(fault)
}

/// Reads one word.
///
/// # Errors
/// EFAULT.
pub fn copyin_u64(l: &CurLwp, from: u64) -> Result<u64, Errno> {
    copyin_struct(l, from)
}

/// Reads a string of at most `room` bytes, NUL included, and returns it without the NUL.
///
/// # Errors
/// EFAULT. ENAMETOOLONG: no NUL in that room.
pub fn copyin_str(l: &CurLwp, from: u64, room: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; room];
    let found = l
        .kernel
        .machine
        .copyinstr(from, &mut bytes)
        .map_err(fault)?;
    bytes.truncate(found.ok_or(Errno::ENAMETOOLONG)?);
    Ok(bytes)
}

/// Reads a path.
///
/// # Errors
/// EFAULT. ENAMETOOLONG: 1024 bytes and no NUL.
pub fn copyin_path(l: &CurLwp, from: u64) -> Result<CString, Errno> {
    // Without a NUL, by the meaning of copyinstr.
    CString::new(copyin_str(l, from, PATH_MAX)?).map_err(|_| Errno::EINVAL)
}

/// Reads the pieces of a readv(2) or writev(2).
///
/// # Errors
/// EINVAL: none, more than `IOV_MAX`, or more than `SSIZE_MAX` bytes in all. EFAULT.
pub fn copyin_iov(l: &CurLwp, from: u64, count: i32) -> Result<Vec<Iovec>, Errno> {
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
    if count == 0 || count > IOV_MAX {
        return Err(Errno::EINVAL);
    }
    let iov = copyin_slice::<Iovec>(l, from, count)?;
    total(&iov)?;
    Ok(iov)
}

/// The bytes of all pieces.
///
/// # Errors
/// EINVAL: more than `SSIZE_MAX`.
pub fn total(iov: &[Iovec]) -> Result<u64, Errno> {
    const SSIZE_MAX: u64 = i64::MAX.unsigned_abs();
    iov.iter()
        .try_fold(0u64, |sum, piece| sum.checked_add(piece.iov_len))
        .filter(|&sum| sum <= SSIZE_MAX)
        .ok_or(Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iov(lens: &[u64]) -> Vec<Iovec> {
        lens.iter()
            .map(|&iov_len| Iovec {
                iov_base: 0,
                iov_len,
            })
            .collect()
    }

    #[test]
    fn a_sum_above_ssize_max_is_refused() {
        assert_eq!(total(&iov(&[1, 2, 3])), Ok(6));
        assert_eq!(
            total(&iov(&[i64::MAX.unsigned_abs()])),
            Ok(i64::MAX.unsigned_abs())
        );
        assert_eq!(
            total(&iov(&[i64::MAX.unsigned_abs(), 1])),
            Err(Errno::EINVAL)
        );
        assert_eq!(total(&iov(&[u64::MAX, u64::MAX])), Err(Errno::EINVAL));
    }
}
