//! Park and unpark: the primitive under every user-level lock.
//!
//! # Invariants
//! 1. Test-pending-then-sleep here and test-sleeping-then-mark-pending in [`Kernel::unpark`] are both
//!    under the target's lwp_lock: an unpark is never lost.
//! 2. One unpark that comes too early is kept (`LwpFlags::UNPARKED`), not two.
//!
//! No process lock and no wait queue: `_lwp_unpark` finds the sleeper by id.
//!
//! Sources: `sys_lwp.c: lwp_park, lwp_unpark`; lwp.md 2.12 to 2.14.

use crate::events::What;
use crate::kernel::Kernel;
use crate::lwp::{CurLwp, LwpFlags, SyncObj};
use crate::run::{Ret, SysResult};
use crate::sleepq::{Catch, SleepEnd};
use crate::time::Timo;
use lwp_abi::errno::Errno;
use lwp_abi::lwp::LwpState as LwpStat;
use lwp_abi::time::Timespec;
use zerocopy::IntoBytes;

/// The park an LWP is in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Park {
    timo: Option<Timo>,
    /// Where the rest of a relative time goes, 0 for nowhere.
    write_back: u64,
}

impl CurLwp {
    /// `lwp_park` up to the sleep: `false` if a wake-up was pending, which is consumed.
    ///
    /// If `true`, the LWP is asleep and must go on to [`CurLwp::park_wait`]. `write_back` is where the
    /// unslept rest of a relative time is stored then (0: nowhere).
    #[must_use]
    pub fn park_enter(&mut self, timo: Option<Timo>, write_back: u64) -> bool {
        self.park = Park { timo, write_back };
        let mut st = self.lwp.lock();
        if self
            .lwp
            .flags()
            .intersects(LwpFlags::CANCELLED | LwpFlags::UNPARKED)
        {
            self.lwp
                .clear_flags(LwpFlags::CANCELLED | LwpFlags::UNPARKED);
            self.tell(|| What::Token);
            return false;
        }
        st.sleep_gen += 1;
        st.stat = LwpStat::Sleep;
        st.asleep = Some(SyncObj::Park);
        st.interruptible = true;
        st.wmesg = "parked";
        self.tell(|| What::Sleep { wmesg: "parked" });
        true
    }

    /// `lwp_park` from the sleep on, with the write-back of `sys____lwp_park60`.
    pub(crate) async fn park_wait(&mut self) -> SysResult {
        let deadline = self.park.timo.map(|timo| timo.deadline);
        let ended = self.sleepq_block(deadline, Catch::Signals).await;
        let Park { timo, write_back } = self.park;
        if let Some(timo) = timo.filter(|_| write_back != 0) {
            let rest = match ended {
                Err(SleepEnd::TimedOut) => Timespec::ZERO,
                _ => timo.left(self),
            };
            // Failing to write back is no error.
            let _ = self.kernel.machine.copyout(rest.as_bytes(), write_back);
        }
        match ended {
            Ok(()) => Ok(Ret::ZERO),
            Err(SleepEnd::TimedOut) => Err(Errno::ETIMEDOUT.into()),
            // Never restarted: the unpark may have come meanwhile.
            Err(SleepEnd::Intr | SleepEnd::Restart) => Err(Errno::EINTR.into()),
        }
    }
}

impl Kernel {
    /// `lwp_unpark` of one LWP: wakes it from its park, or leaves one wake-up pending.
    ///
    /// # Errors
    /// ESRCH: `lid` names no LWP of the process, or a zombie.
    pub fn unpark(&self, lid: i32) -> Result<(), Errno> {
        let lwp = self.lids.find(lid).ok_or(Errno::ESRCH)?;
        let st = lwp.lock();
        match st.stat {
            _ if st.asleep == Some(SyncObj::Park) => {
                self.tell(&lwp, || What::Unpark { is_kept: false });
                self.unsleep(&lwp, st);
            }
            LwpStat::Zomb | LwpStat::Idl => return Err(Errno::ESRCH),
            _ => {
                lwp.set_flags(LwpFlags::UNPARKED);
                self.tell(&lwp, || What::Unpark { is_kept: true });
            }
        }
        Ok(())
    }
}
