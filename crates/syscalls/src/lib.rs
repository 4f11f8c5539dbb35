//! NetBSD's system calls on top of the kernel: dispatch, files, sockets, sysctl, processes.
//!
//! [`Unix`] is the personality of one guest process. [`table`] has a row for every number; each
//! family of calls has a file, `sys_*`, with thin handlers over workers that know nothing of registers.
//! Host calls go through `rustix`, or through [`host::Host`] where they take unsafe code.
//!
//! # Invariants
//! 1. A handler checks in NetBSD's order: the guest sees which error comes first.
//! 2. No handler waits in the host, except for a disk: it tries, and sleeps in the kernel if it must.
//! 3. `O_NONBLOCK` is never set on a descriptor on which the guest did not set it.
#![forbid(unsafe_code)]

pub mod args;
mod background;
pub mod copy;
mod errno;
pub mod exec;
pub mod files;
pub mod host;
mod kqueue;
mod patience;
mod pids;
mod socket;
mod sys_descrip;
mod sys_eventfd;
mod sys_exec;
mod sys_generic;
mod sys_ioctl;
mod sys_lock;
mod sys_lwp;
mod sys_misc;
mod sys_mman;
mod sys_poll;
mod sys_process;
pub mod sys_resource;
mod sys_sched;
mod sys_sig;
mod sys_time;
mod sys_wait;
mod sysctl;
pub mod table;
mod tty;
mod vfs;

use crate::args::Args;
use crate::files::Files;
use crate::host::Host;
use crate::pids::{Pids, relatives};
use crate::sys_resource::Limits;
use core::sync::atomic::{AtomicU64, Ordering};
use lwp_abi::errno::Errno;
use lwp_abi::lwp::Pid;
use lwp_abi::nr;
use lwp_abi::signal::{SI_USER, Siginfo, Signo};
use lwp_kernel::fast::FastNumbers;
use lwp_kernel::{CurLwp, Outcome, Personality, SysResult};
use std::sync::{Arc, RwLock};

/// What the user chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// No messages about calls that are not supported.
    pub is_quiet: bool,
    /// What the program learns from outside is the same each time: process ids come from this seed, the order of
    /// directories from their names, and what was used of the CPU from the machine's clocks.
    pub of_seed: Option<u64>,
    /// The runner's own.
    pub of_runner: OfRunner,
}

impl Options {
    /// The id of the calling process, as its program knows it.
    pub fn pid(&self, host: &dyn Host) -> i32 {
        Pids::new(host, self.of_seed, &self.of_runner.pids).own()
    }
}

/// What the runner itself wants to know again when the program executes another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfRunner {
    /// The words of its command line, from its name up to the program's.
    pub words: Vec<Vec<u8>>,
    /// This process is not the one that the user started, but one forked from it.
    pub is_child: bool,
    /// What process ids the program knows; empty if they are the host's.
    pub pids: Vec<i32>,
}

/// The program that runs, as sysctl and procfs show it.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// The resolved path of the executable, absolute.
    pub path: Vec<u8>,
    /// The address of `struct ps_strings`.
    pub ps_strings: u64,
}

/// The system calls of one guest process.
pub struct Unix {
    /// The host below.
    pub host: Arc<dyn Host>,
    /// What is known of descriptors.
    pub files: Files,
    /// The guest's limits.
    pub limits: Limits,
    /// What the user chose.
    pub options: Options,
    /// The process the user started; its forks have other ids.
    first_pid: i32,
    pub(crate) pids: Pids,
    pub(crate) children: Arc<sys_wait::Children>,
    pub(crate) vforks: sys_process::Vforks,
    image: RwLock<Image>,
    /// One bit per number: its message has been printed.
    told: [AtomicU64; nr::SYS_NSYSENT as usize / 64],
}

impl Unix {
    /// A personality for a process that has no program yet; see [`Unix::set_image`].
    pub fn new(host: Arc<dyn Host>, options: Options) -> Self {
        let pids = Pids::new(&*host, options.of_seed, &options.of_runner.pids);
        Self {
            limits: Limits::new(host.first_own_fd()),
            host,
            files: Files::new(),
            options,
            first_pid: pids.own(),
            pids,
            children: Arc::default(),
            vforks: sys_process::Vforks::default(),
            image: RwLock::new(Image::default()),
            told: [const { AtomicU64::new(0) }; nr::SYS_NSYSENT as usize / 64],
        }
    }

    /// Has process ids by `seed` begin now, in the calling process, whatever they were before. Returns its own.
    pub fn begin(&self, seed: u64) -> i32 {
        self.pids.begin(seed, relatives(&*self.host))
    }

    /// How many descriptors the guest has open.
    pub fn open_descriptors(&self) -> usize {
        self.host.fds().len()
    }

    /// The program that runs.
    pub fn image(&self) -> Image {
        self.image
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// Says which program runs from now on.
    pub fn set_image(&self, image: Image) {
        *self
            .image
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = image;
    }

    /// A call that NetBSD has and we have not: ENOSYS, and one message per number.
    fn unsupported(&self, number: u16, name: &str) -> SysResult {
        let (word, bit) = (usize::from(number / 64), 1 << (number % 64));
        if self.told[word].fetch_or(bit, Ordering::Relaxed) & bit == 0 && !self.options.is_quiet {
            eprintln!("lwp: system call {name} ({number}) is not supported: ENOSYS");
        }
        Err(Errno::ENOSYS.into())
    }
}

impl core::fmt::Debug for Unix {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Unix").finish_non_exhaustive()
    }
}

/// A number that NetBSD itself does not know: SIGSYS, then ENOSYS.
fn nosys(l: &mut CurLwp) -> SysResult {
    l.kernel.psignal(&Siginfo::new(Signo::SIGSYS, SI_USER));
    Err(Errno::ENOSYS.into())
}

impl Personality for Unix {
    fn syscall<'a>(&'a self, l: &'a mut CurLwp) -> Outcome<'a> {
        let args = Args::new(&l.ctx.regs);
        let number = nr::of_word(l.ctx.regs.rax);
        if number != nr::SYS_SYSCALL && number != nr::SYS___SYSCALL {
            return table::dispatch(self, l, number, &args);
        }
        let inner = nr::of_word(args.u64(0));
        if inner == nr::SYS_SYSCALL || inner == nr::SYS___SYSCALL {
            return Outcome::Done(Err(Errno::ENOSYS.into()));
        }
        match args.shifted(l) {
            Ok(args) => table::dispatch(self, l, inner, &args),
            Err(errno) => Outcome::Done(Err(errno.into())),
        }
    }

    fn as_guest_sees(&self, mut info: Siginfo) -> Siginfo {
        info.set_pid(Pid::new(self.pids.to_guest(info.pid().raw())));
        info
    }

    fn fast_numbers(&self) -> FastNumbers {
        FastNumbers {
            own: nr::SYS_LWP_SELF,
            unpark: nr::SYS_LWP_UNPARK,
            park: nr::SYS_LWP_PARK60,
            time: nr::SYS_CLOCK_GETTIME50,
        }
    }
}
