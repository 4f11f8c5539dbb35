//! A NetBSD kernel for one guest process: LWPs, their scheduler, sleep queues, signals and timers.
//!
//! The kernel is a value, [`Kernel`], over a [`machine::Machine`]; it names no host and holds no
//! unsafe code. Each LWP is one future ([`run`]), polled by whichever vcpu picks it up. A system call
//! that must sleep awaits; returning `Pending` is the context switch.
//!
//! | file | NetBSD's | what |
//! |---|---|---|
//! | [`lwp`], [`lids`] | `lwp.h`, `kern_proc.c` | what an LWP is; finding one by id |
//! | [`life`], [`suspend`], [`park`], [`lwpctl`] | `kern_lwp.c`, `sys_lwp.c` | create, exit, wait; suspend; park; lwpctl |
//! | [`proc`], [`exit`], [`fork`] | `proc.h`, `kern_exit.c`, `kern_fork.c` | the process |
//! | [`sleepq`], [`callout`], [`time`], [`itimer`] | `kern_sleepq.c`, `kern_timeout.c`, `subr_time.c` | waiting and time |
//! | [`sched`], [`run`] | `kern_runq.c`, `kern_synch.c` | who runs; the vcpu's and the LWP's loop |
//! | [`fast`] | – | system calls that need neither |
//! | [`sig`], [`sigframe`], [`stop`] | `kern_sig.c`, `machdep.c` | signals, what they put on the stack, job control |
//! | [`watch`] | – | host descriptors somebody waits for |
//! | [`events`] | `ktrace` | the one stream of what happens to LWPs |
//! | [`census`], [`ps`] | `kern_proc.c` | how much there is of all this; what each LWP is doing |
//! | [`vm`] | `uvm` | the guest's address space |
//!
//! # Lock order
//! [`sync::Rank`], first taken first: `Files` (the descriptor table) → `Kqueue` → `Timers` (interval timers) → `Proc`
//! (the process lock, `p_lock`) → `Vm` → `Watch` → `Queue` (wait queues) → `Lids` (one slot of the id table) → `Lwp`
//! (one LWP's state, `lwp_lock`) → `Callout` → `Run` (one vcpu's run queue). Never two of one rank. None
//! is held across an `.await`, nor in user mode.
#![forbid(unsafe_code)]

pub mod births;
pub mod callout;
pub mod census;
pub mod ctx;
pub mod events;
pub mod exit;
pub mod fast;
pub mod fork;
mod invariants;
pub mod itimer;
pub mod kernel;
pub mod lids;
pub mod life;
pub mod lwp;
pub mod lwpctl;
pub mod machine;
pub mod park;
pub mod proc;
pub mod ps;
pub mod run;
pub mod sched;
pub mod sig;
pub mod sigframe;
pub mod sleepq;
pub mod stop;
pub mod suspend;
pub mod sync;
pub mod time;
pub mod vm;
pub mod watch;

pub use kernel::Kernel;
pub use lwp::{CurLwp, Lwp};
pub use run::{Ended, Outcome, Personality, Ret, SysResult};
