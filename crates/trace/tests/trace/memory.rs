//! Guest memory: one piece, which begins at [`BASE`].

use core::ops::Range;
use lwp_abi::mman::Prot;
use lwp_kernel::machine::{Advice, Backing, BadAddress, HostErr, Memory};
use std::sync::Mutex;
use zerocopy::{Immutable, IntoBytes};

/// Where it begins.
pub(crate) const BASE: u64 = 0x10_0000;

/// What is there.
#[derive(Default)]
pub(crate) struct Piece(Mutex<Vec<u8>>);

impl Piece {
    /// Memory that holds these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Mutex::new(bytes.to_vec()))
    }

    /// Adds a record, and says where it is.
    pub(crate) fn put(&self, record: &(impl IntoBytes + Immutable + ?Sized)) -> u64 {
        let mut bytes = self.0.lock().unwrap();
        let at = bytes.len().next_multiple_of(8);
        bytes.resize(at, 0);
        bytes.extend_from_slice(record.as_bytes());
        BASE + at as u64
    }

    /// Writes over what is there.
    pub(crate) fn set(&self, at: u64, record: &(impl IntoBytes + Immutable + ?Sized)) {
        let start = usize::try_from(at - BASE).unwrap();
        let record = record.as_bytes();
        self.0.lock().unwrap()[start..start + record.len()].copy_from_slice(record);
    }
}

const NOTHING: HostErr = HostErr {
    call: "test",
    errno: 38,
};

impl Memory for Piece {
    fn copyin(&self, from: u64, to: &mut [u8]) -> Result<(), BadAddress> {
        let bytes = self.0.lock().unwrap();
        let start = from
            .checked_sub(BASE)
            .and_then(|at| usize::try_from(at).ok());
        let start = start.ok_or(BadAddress)?;
        let end = start.checked_add(to.len()).ok_or(BadAddress)?;
        to.copy_from_slice(bytes.get(start..end).ok_or(BadAddress)?);
        Ok(())
    }

    fn copyinstr(&self, from: u64, to: &mut [u8]) -> Result<Option<usize>, BadAddress> {
        for at in 0..to.len() {
            self.copyin(from.wrapping_add(at as u64), &mut to[at..=at])?;
            if to[at] == 0 {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    fn copyout(&self, _: &[u8], _: u64) -> Result<(), BadAddress> {
        panic!("a tracer writes no guest memory")
    }

    fn store_u32(&self, _: u32, _: u64) -> Result<(), BadAddress> {
        panic!("a tracer writes no guest memory")
    }

    fn map(&self, _: Range<u64>, _: Prot, _: Backing) -> Result<(), HostErr> {
        Err(NOTHING)
    }

    fn unmap(&self, _: Range<u64>) -> Result<(), HostErr> {
        Err(NOTHING)
    }

    fn protect(&self, _: Range<u64>, _: Prot) -> Result<(), HostErr> {
        Err(NOTHING)
    }

    fn advise(&self, _: Range<u64>, _: Advice) -> Result<(), HostErr> {
        Err(NOTHING)
    }

    fn relocate(&self, _: Range<u64>, _: Range<u64>) -> Result<(), HostErr> {
        Err(NOTHING)
    }
}
