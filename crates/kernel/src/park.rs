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
use crate::lwp::{CurLwp, Lwp, LwpFlags, SyncObj};
use crate::run::{Ret, SysResult};
use crate::sched::Chance;
use crate::sleepq::{Catch, PARKED, SleepEnd};
use crate::time::Timo;
use lwp_abi::errno::Errno;
use lwp_abi::lwp::{LwpId, LwpState as LwpStat};
use lwp_abi::time::Timespec;
use std::sync::Arc;
use zerocopy::IntoBytes;

/// The park an LWP is in.
#[derive(Debug, Default)]
pub struct Park {
    /// Boxed: most parks that last long have none, and every LWP has room for one park.
    timo: Option<Box<Timo>>,
    /// Where the rest of a relative time goes, 0 for nowhere.
    write_back: u64,
}

impl CurLwp {
    /// `lwp_park` up to the sleep: `false` if a wake-up was pending, which is consumed, or if the policy
    /// will have it so: whoever parks has to expect that.
    ///
    /// If `true`, the LWP is asleep and must go on to [`CurLwp::park_wait`]. `write_back` is where the
    /// unslept rest of a relative time is stored then (0: nowhere).
    #[must_use]
    pub fn park_enter(&mut self, timo: Option<Timo>, write_back: u64) -> bool {
        self.park = Park {
            timo: timo.map(Box::new),
            write_back,
        };
        let mut st = self.lwp.lock();
        if self.lwp.flags().intersects(LwpFlags::WAKES) {
            self.lwp.clear_flags(LwpFlags::WAKES);
            self.tell(|| What::Token);
            return false;
        }
        if self.kernel.sched.choose(Chance::Park, 2) != 0 {
            self.tell(|| What::Sleep { wmesg: PARKED });
            self.tell(|| What::Awake);
            return false;
        }
        st.sleep_gen += 1;
        st.stat = LwpStat::Sleep;
        st.asleep = Some(SyncObj::Park);
        st.interruptible = true;
        st.wmesg = PARKED;
        self.tell(|| What::Sleep { wmesg: PARKED });
        true
    }

    /// `lwp_park` from the sleep on, with the write-back of `sys____lwp_park60`.
    ///
    /// `None`: the park was over long ago, and the LWP has been to user mode since (`came_back`).
    pub(crate) async fn park_wait(&mut self) -> Option<SysResult> {
        let deadline = self.park.timo.as_ref().map(|timo| timo.deadline);
        let ended = if self.lwp.flags().contains(LwpFlags::WSUSPEND) {
            // Told to suspend between its entry into the kernel and its sleep. NetBSD sleeps on, and the
            // caller of _lwp_suspend waits for an unpark; this is what it gets a moment later.
            self.sleepq_leave();
            Ok(())
        } else {
            self.sleepq_block(deadline, Catch::Signals).await
        };
        if self.came_back.is_some() {
            return None;
        }
        let Park { timo, write_back } = core::mem::take(&mut self.park);
        if let Some(timo) = timo.filter(|_| write_back != 0) {
            let rest = match ended {
                Err(SleepEnd::TimedOut) => Timespec::ZERO,
                _ => timo.left(self),
            };
            // Failing to write back is no error.
            let _ = self.kernel.machine.copyout(rest.as_bytes(), write_back);
        }
        Some(match ended {
            Ok(()) => Ok(Ret::ZERO),
            Err(SleepEnd::TimedOut) => Err(Errno::ETIMEDOUT.into()),
            // Never restarted: the unpark may have come meanwhile.
            Err(SleepEnd::Intr | SleepEnd::Restart) => Err(Errno::EINTR.into()),
        })
    }
}

impl Kernel {
    /// `lwp_unpark` of one LWP by another: wakes it from its park, or leaves one wake-up pending.
    ///
    /// # Errors
    /// ESRCH: `lid` names no LWP of the process, or a zombie.
    pub fn unpark(&self, lid: i32, by: LwpId) -> Result<(), Errno> {
        let lwp = self.lids.find(lid).ok_or(Errno::ESRCH)?;
        match self.end_park(&lwp, by) {
            Unparked::ToQueue => {
                if self.sched.enqueue(&lwp, &*self.machine) {
                    self.summon();
                }
                Ok(())
            }
            Unparked::Done => Ok(()),
            Unparked::Nobody => Err(Errno::ESRCH),
        }
    }

    /// [`Kernel::unpark`] of many, who come to the run queue together and in this order. Returns how many there
    /// were not.
    pub fn unpark_all(&self, lids: &[LwpId], by: LwpId) -> usize {
        let mut woken = Vec::with_capacity(lids.len());
        let mut missing = 0;
        for lid in lids {
            let found = self.lids.find(lid.raw());
            match found.as_ref().map(|lwp| self.end_park(lwp, by)) {
                Some(Unparked::ToQueue) => woken.extend(found),
                Some(Unparked::Done) => {}
                Some(Unparked::Nobody) | None => missing += 1,
            }
        }
        self.sched.shuffle(&mut woken);
        let needs_help = match &woken[..] {
            [] => false,
            // Perhaps the caller parks now, and hands over.
            [one] => self.sched.enqueue(one, &*self.machine),
            _ => self.sched.enqueue_all(woken, &*self.machine),
        };
        if needs_help {
            self.summon();
        }
        missing
    }

    /// Ends the park of `lwp`, or leaves one wake-up pending, but queues nobody.
    fn end_park(&self, lwp: &Arc<Lwp>, by: LwpId) -> Unparked {
        let mut st = lwp.lock();
        match st.stat {
            _ if st.asleep == Some(SyncObj::Park) => {
                self.tell(lwp, || What::Unpark { is_kept: false });
                st.unparked_by = by;
                st.asleep = None;
                st.interruptible = false;
                if st.stat != LwpStat::Sleep {
                    return Unparked::Done;
                }
                st.stat = LwpStat::Run;
                self.tell(lwp, || What::Runnable);
                if st.on_cpu().is_none() {
                    Unparked::ToQueue
                } else {
                    Unparked::Done
                }
            }
            LwpStat::Zomb | LwpStat::Idl => Unparked::Nobody,
            _ => {
                lwp.set_flags(LwpFlags::UNPARKED);
                st.unparked_by = by;
                self.tell(lwp, || What::Unpark { is_kept: true });
                Unparked::Done
            }
        }
    }
}

/// What came of an unpark.
enum Unparked {
    /// The LWP is runnable, and has to come to a run queue.
    ToQueue,
    /// Nothing is left to do.
    Done,
    /// There is no such live LWP.
    Nobody,
}
