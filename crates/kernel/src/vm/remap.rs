//! mremap(2): a mapping changes its size or its place.
//!
//! Sources: mremap(2), `uvm_mremap.c`; syscalls.md 5.1.

use super::{Inherit, Mapping, Object, Place, Request, VmSt, Vmspace, check, refused, span};
use crate::machine::{Backing, Memory};
use core::ops::Range;
use lwp_abi::errno::Errno;

/// A mapping that is to move or to change its size; everything is page aligned.
#[derive(Clone, Debug)]
pub struct Move {
    /// Where it is.
    pub old: Range<u64>,
    /// Its new size, at least a page.
    pub len: u64,
    /// Where it shall be.
    pub place: Place,
    /// Alignment of the new address: a power of two, at least a page.
    pub align: u64,
}

impl Vmspace {
    /// Moves, grows or shrinks a mapping; returns its address.
    ///
    /// It stays where it is if that was not forbidden and there is room behind it.
    ///
    /// # Errors
    /// EINVAL part of the old range is not mapped, its mappings differ, the new one is outside the guest's
    /// range, or overlaps the old one without beginning there. ENOMEM no room.
    pub fn remap(&self, machine: &dyn Memory, want: &Move) -> Result<u64, Errno> {
        check(&want.old, Errno::EINVAL)?;
        let mut st = self.lock();
        let mapping = st.uniform(&want.old)?;
        let stays = match want.place {
            Place::Fixed(addr) => addr == want.old.start,
            Place::Hint(_) => want.old.start.is_multiple_of(want.align),
        };
        if stays && st.resize(machine, want, &mapping)? {
            return Ok(want.old.start);
        }
        let at = st.place(&Request {
            place: want.place,
            len: want.len,
            align: want.align,
            ..Request::anon(want.len, mapping.prot, mapping.name)
        })?;
        if at.start < want.old.end && want.old.start < at.end {
            return Err(Errno::EINVAL);
        }
        // A shorter copy moves what it keeps; the rest of the old range goes first.
        let kept = want.old.start..want.old.end.min(want.old.start + want.len);
        if kept.end < want.old.end {
            st.drop_host(machine, kept.end..want.old.end)?;
        }
        machine
            .relocate(kept.clone(), at.clone())
            .map_err(refused)?;
        st.take(kept);
        let start = at.start;
        st.put(at, mapping);
        Ok(start)
    }
}

impl VmSt {
    /// The one mapping that fills `at`.
    fn uniform(&self, at: &Range<u64>) -> Result<Mapping, Errno> {
        let pieces = self.whole(at).map_err(|_| Errno::EINVAL)?;
        match &pieces[..] {
            [(_, mapping)] => Ok(mapping.clone()),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Changes the size in place; `false` if it must move instead.
    fn resize(
        &mut self,
        machine: &dyn Memory,
        want: &Move,
        mapping: &Mapping,
    ) -> Result<bool, Errno> {
        let new = span(want.old.start, want.len).ok_or(Errno::EINVAL)?;
        if new.end <= want.old.end {
            if new.end < want.old.end {
                self.drop_host(machine, new.end..want.old.end)?;
            }
            return Ok(true);
        }
        let more = want.old.end..new.end;
        let Object::Anon {
            shared: false,
            stack,
        } = mapping.object
        else {
            return Ok(false);
        };
        if check(&more, Errno::ENOMEM).is_err() || self.map.overlaps(&more) {
            return Ok(false);
        }
        let backing = Backing::Anon {
            shared: false,
            stack,
        };
        machine
            .map(more.clone(), mapping.prot, backing)
            .map_err(refused)?;
        self.put(
            more,
            Mapping {
                inherit: Inherit::Normal,
                ..mapping.clone()
            },
        );
        Ok(true)
    }

    fn drop_host(&mut self, machine: &dyn Memory, at: Range<u64>) -> Result<(), Errno> {
        machine.unmap(at.clone()).map_err(refused)?;
        self.take(at);
        Ok(())
    }
}
