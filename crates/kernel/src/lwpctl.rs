//! lwpctl: the words in user memory that tell on which CPU an LWP is and how often it was switched.
//!
//! Blocks of 8 bytes come from areas of 64 KiB mapped into the guest, never inherited by fork. A block
//! belongs to its LWP until that is reaped.
//!
//! Differs from NetBSD: there is one area (8,192 blocks, then ENOMEM); here more are mapped as
//! needed, because a process may have a million LWPs.
//!
//! Sources: `kern_lwp.c: lwp_ctl_alloc, lwp_ctl_free`; lwp.md section 3.

use crate::kernel::Kernel;
use crate::lwp::{CurLwp, LwpSt};
use crate::machine::{Advice, CpuId};
use crate::sync::atomic::Ordering;
use core::ops::Range;
use lwp_abi::errno::Errno;
use lwp_abi::lwp::{LWPCTL_CPU_EXITED, LWPCTL_CPU_NONE};
use lwp_abi::mman::Prot;
use std::collections::BTreeSet;

const AREA: u64 = 64 << 10;
const BLOCK: u64 = 8;

/// The areas of a process and which blocks are free.
#[derive(Debug, Default)]
pub(crate) struct LwpctlArea {
    areas: Vec<Range<u64>>,
    free: BTreeSet<u64>,
}

impl CurLwp {
    /// The address of this LWP's block, allocated at the first call.
    ///
    /// # Errors
    /// EBUSY in a vfork child whose parent waits; ENOMEM, or what mapping an area says.
    pub fn lwp_ctl_alloc(&mut self) -> Result<u64, Errno> {
        if self.kernel.proc.is_vfork_child.load(Ordering::Relaxed) {
            return Err(Errno::EBUSY);
        }
        let mut p = self.kernel.proc.lock();
        let addr = self.lwp.lock().lwpctl;
        if addr != 0 {
            return Ok(addr);
        }
        if p.lwpctl.free.is_empty() {
            let area = self.kernel.lwpctl_map()?;
            p.lwpctl.free.extend(area.clone().step_by(8));
            p.lwpctl.areas.push(area);
        }
        let addr = p.lwpctl.free.pop_first().ok_or(Errno::ENOMEM)?;
        let mut count = [0; 4];
        let machine = &*self.kernel.machine;
        machine
            .copyin(addr + 4, &mut count)
            .map_err(|_| Errno::ENOMEM)?;
        let mut st = self.lwp.lock();
        st.lwpctl = addr;
        st.pctr = u32::from_le_bytes(count);
        self.kernel
            .lwpctl_cpu(&st, i32::try_from(machine.current()).unwrap_or(0));
        Ok(addr)
    }
}

impl Kernel {
    /// Maps one more area.
    fn lwpctl_map(&self) -> Result<Range<u64>, Errno> {
        let machine = &*self.machine;
        let start = self
            .vm
            .map_anywhere(machine, AREA, Prot::READ.union(Prot::WRITE), "lwpctl")?;
        let area = start..start + AREA;
        machine
            .advise(area.clone(), Advice::InheritNone)
            .map_err(|_| Errno::ENOMEM)?;
        Ok(area)
    }

    /// The LWP was switched onto `cpu`.
    pub(crate) fn lwpctl_on(&self, st: &mut LwpSt, cpu: CpuId) {
        if st.lwpctl == 0 {
            return;
        }
        st.pctr = st.pctr.wrapping_add(1);
        // The guest may have unmapped the area: its loss.
        let _ = self.machine.store_u32(st.pctr, st.lwpctl + 4);
        self.lwpctl_cpu(st, i32::try_from(cpu).unwrap_or(0));
    }

    /// The LWP was switched off its CPU.
    pub(crate) fn lwpctl_off(&self, st: &LwpSt) {
        self.lwpctl_cpu(st, LWPCTL_CPU_NONE);
    }

    /// The LWP has exited.
    pub(crate) fn lwpctl_exited(&self, st: &LwpSt) {
        self.lwpctl_cpu(st, LWPCTL_CPU_EXITED);
    }

    fn lwpctl_cpu(&self, st: &LwpSt, cpu: i32) {
        if st.lwpctl != 0 {
            let _ = self.machine.store_u32(cpu.cast_unsigned(), st.lwpctl);
        }
    }
}

impl LwpctlArea {
    /// The LWP that had `addr` was reaped.
    pub(crate) fn free(&mut self, addr: u64) {
        if addr != 0 {
            debug_assert!(addr.is_multiple_of(BLOCK));
            self.free.insert(addr);
        }
    }

    /// Drops everything; returns the areas that were mapped.
    pub(crate) fn take_areas(&mut self) -> Vec<Range<u64>> {
        self.free.clear();
        core::mem::take(&mut self.areas)
    }
}
