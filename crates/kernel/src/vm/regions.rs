//! The parts of the address space that every program has: the image, the break, the main stack.
//!
//! Sources: break(2), `uvm_unix.c: sys_obreak, uvm_grow`, `exec_subr.c: exec_setup_stack`,
//! `kern_resource.c: dosetrlimit` (the stack's protection follows its limit); syscalls.md 5.1.

use super::{Inherit, Mapping, Object, PAGE, Request, USRSTACK, Vmspace, check, refused};
use super::{round_down, round_up};
use crate::machine::{Backing, Memory};
use core::ops::Range;
use lwp_abi::errno::Errno;
use lwp_abi::exec::MAXSSIZ;
use lwp_abi::mman::Prot;

/// What the guest may do to its stack and its break.
const DATA: Prot = Prot::READ.union(Prot::WRITE);

impl Vmspace {
    /// Some free place of `len` bytes, for what must be placed as a whole; it stays free.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn find_room(&self, len: u64, align: u64) -> Result<u64, Errno> {
        let request = Request {
            align,
            ..Request::anon(len, Prot::NONE, "")
        };
        self.lock().find(&request).map(|at| at.start)
    }

    /// The break begins at `start`, the end of the program's data.
    pub fn set_break(&self, start: u64) {
        self.lock().brk = start..start;
    }

    /// break(2): the data segment now ends at `end`.
    ///
    /// `limit` is `RLIMIT_DATA`, counted from where the break began.
    ///
    /// # Errors
    /// ENOMEM beyond the limit, or something else is mapped there. EINVAL below the beginning.
    pub fn set_break_end(&self, machine: &dyn Memory, end: u64, limit: u64) -> Result<(), Errno> {
        let mut st = self.lock();
        let Range { start, end: old } = st.brk;
        let size = end.checked_sub(start).ok_or(Errno::EINVAL)?;
        if size > limit {
            return Err(Errno::ENOMEM);
        }
        let (old_top, top) = (round_up(old), round_up(end));
        let (old_top, top) = old_top.zip(top).ok_or(Errno::ENOMEM)?;
        if top > old_top {
            let at = old_top..top;
            check(&at, Errno::ENOMEM)?;
            if st.map.overlaps(&at) {
                return Err(Errno::ENOMEM);
            }
            let backing = Backing::Anon {
                shared: false,
                stack: false,
            };
            machine.map(at.clone(), DATA, backing).map_err(refused)?;
            st.put(at, anon("break", DATA, false));
        } else if top < old_top {
            for (at, _) in st.pieces(&(top..old_top)) {
                machine.unmap(at.clone()).map_err(refused)?;
                st.take(at);
            }
        }
        st.brk.end = end;
        Ok(())
    }

    /// Makes the main stack: [`MAXSSIZ`] reserved, `soft` bytes of it accessible. Returns the lowest
    /// accessible address.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn map_stack(&self, machine: &dyn Memory, soft: u64) -> Result<u64, Errno> {
        let mut st = self.lock();
        let soft = whole_stack(soft);
        let all = USRSTACK - MAXSSIZ..USRSTACK;
        if st.map.overlaps(&all) {
            return Err(Errno::ENOMEM);
        }
        let backing = Backing::Anon {
            shared: false,
            stack: true,
        };
        machine
            .map(all.clone(), Prot::NONE, backing)
            .map_err(refused)?;
        st.put(all, anon("stack", Prot::NONE, true));
        let open = USRSTACK - soft..USRSTACK;
        machine.protect(open.clone(), DATA).map_err(refused)?;
        st.put(open.clone(), anon("stack", DATA, true));
        st.stack_soft = soft;
        Ok(open.start)
    }

    /// `RLIMIT_STACK`, soft, as whole pages.
    pub fn stack_limit(&self) -> u64 {
        self.lock().stack_soft
    }

    /// The soft `RLIMIT_STACK` is now `soft`: a raised limit opens more of the stack's reservation, a
    /// lowered one closes what is beyond it.
    ///
    /// # Errors
    /// ENOMEM, when the host says so.
    pub fn set_stack_limit(&self, machine: &dyn Memory, soft: u64) -> Result<(), Errno> {
        let mut st = self.lock();
        let soft = whole_stack(soft);
        let (at, prot) = if soft > st.stack_soft {
            (USRSTACK - soft..USRSTACK - st.stack_soft, DATA)
        } else {
            (USRSTACK - st.stack_soft..USRSTACK - soft, Prot::NONE)
        };
        for (at, mapping) in st.pieces(&at) {
            if mapping.name == "stack" {
                machine.protect(at.clone(), prot).map_err(refused)?;
                st.put(at, Mapping { prot, ..mapping });
            }
        }
        st.stack_soft = soft;
        Ok(())
    }
}

/// A limit as the stack can follow it.
fn whole_stack(soft: u64) -> u64 {
    round_down(soft).clamp(PAGE, MAXSSIZ)
}

fn anon(name: &'static str, prot: Prot, stack: bool) -> Mapping {
    Mapping {
        prot,
        max: Prot::ALL,
        object: Object::Anon {
            shared: false,
            stack,
        },
        inherit: Inherit::Normal,
        name,
    }
}
