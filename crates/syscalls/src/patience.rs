//! Waiting for a descriptor that says it is ready and still does not let one through.
//!
//! The host's readiness is not always the caller's: a datagram socket may be writable while the one
//! receiver meant is full, a socket readable with less than `MSG_WAITALL` wants. Trying again at once, for
//! ever, would keep the vcpu from everybody else; so after a few quick rounds each further one sleeps a
//! little first.

use core::time::Duration;
use lwp_kernel::CurLwp;
use lwp_kernel::lwp::SyncObj;
use lwp_kernel::machine::Ready;
use lwp_kernel::sleepq::{Catch, SleepEnd};

/// A wait that ended sooner did not sleep.
const QUICK: Duration = Duration::from_micros(20);
/// How many quick rounds are nothing special.
const ROUNDS: u32 = 4;
/// How long to sleep before each further round.
const PAUSE: Duration = Duration::from_millis(1);

/// Counts the rounds of one waiting call.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    quick_rounds: u32,
}

impl Patience {
    /// As [`CurLwp::wait_ready`], for use in a loop.
    ///
    /// # Errors
    /// As [`CurLwp::wait_ready`].
    pub(crate) async fn wait_ready(
        &mut self,
        l: &mut CurLwp,
        fd: i32,
        want: Ready,
        deadline: Option<Duration>,
        wmesg: &'static str,
    ) -> Result<(), SleepEnd> {
        let begun = l.kernel.machine.monotonic();
        l.wait_ready(fd, want, deadline, wmesg).await?;
        let ended = l.kernel.machine.monotonic();
        if ended.saturating_sub(begun) >= QUICK {
            self.quick_rounds = 0;
            return Ok(());
        }
        self.quick_rounds = self.quick_rounds.saturating_add(1);
        if self.quick_rounds <= ROUNDS {
            return Ok(());
        }
        if deadline.is_some_and(|deadline| deadline <= ended) {
            return Err(SleepEnd::TimedOut);
        }
        l.sleepq_enter(wmesg, SyncObj::Other, Catch::Signals);
        match l
            .sleepq_block(Some(ended.saturating_add(PAUSE)), Catch::Signals)
            .await
        {
            Ok(()) | Err(SleepEnd::TimedOut) => Ok(()),
            Err(end) => Err(end),
        }
    }
}
