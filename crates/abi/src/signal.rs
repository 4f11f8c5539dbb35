//! Signals: their numbers, what they do by default, and their numbers on the host.
//!
//! Responsible for what is fixed: names, default actions, properties, layouts. Who gets a signal,
//! and when, is the kernel's.
//!
//! # Invariants
//! 1. A [`Signo`] is between 1 and 63; signal 0 (a mere existence check) is no `Signo`.
//! 2. Real-time signals are 33 to 63, and become Linux's 34 to 64: the 31 that glibc leaves free.
//!
//! Sources: signal(7), sigaction(2), sys/signal.h, sys/signalvar.h (the property table).

mod action;
mod info;
mod set;

pub use action::*;
pub use info::*;
pub use set::SigSet;

use crate::table::numbers;
use core::fmt;

/// One more than the last signal.
pub const NSIG: i32 = 64;

/// A signal number. Having one means that the number is valid, but not that it may be caught.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Signo(u8);

/// What a signal does to a process that has not said otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DefaultAction {
    /// The process ends.
    Terminate,
    /// The process ends, and may leave a core file.
    Core,
    /// The process stops.
    Stop,
    /// Nothing.
    Ignore,
    /// A stopped process goes on; otherwise nothing.
    Continue,
}

/// One row of the property table: number, Linux number, default action, names.
struct Row(Signo, Option<u8>, DefaultAction, &'static str);

macro_rules! signals {
    ($($name:ident = $number:literal $(=> $linux:literal)?, $action:ident, $what:literal;)*) => {
        impl Signo {
            $(
                #[doc = concat!("Signal ", $number, ": ", $what, ".")]
                pub const $name: Self = Self($number);
            )*
        }
        /// Signals 1 to 32, in order.
        const ROWS: [Row; 32] = [$(Row(
            Signo::$name,
            signals!(@linux $($linux)?),
            DefaultAction::$action,
            stringify!($name),
        ),)*];
    };
    (@linux) => { None };
    (@linux $linux:literal) => { Some($linux) };
}

signals! {
    SIGHUP = 1 => 1, Terminate, "the terminal is gone";
    SIGINT = 2 => 2, Terminate, "interrupt from the keyboard";
    SIGQUIT = 3 => 3, Core, "quit from the keyboard";
    SIGILL = 4 => 4, Core, "illegal instruction";
    SIGTRAP = 5 => 5, Core, "breakpoint or single step";
    SIGABRT = 6 => 6, Core, "abort(3)";
    SIGEMT = 7, Core, "emulated instruction";
    SIGFPE = 8 => 8, Core, "arithmetic error";
    SIGKILL = 9 => 9, Terminate, "kill, for certain";
    SIGBUS = 10 => 7, Core, "bad access to mapped memory";
    SIGSEGV = 11 => 11, Core, "access to memory that is not there";
    SIGSYS = 12 => 31, Core, "bad system call";
    SIGPIPE = 13 => 13, Terminate, "nobody reads from the pipe";
    SIGALRM = 14 => 14, Terminate, "the real-time timer";
    SIGTERM = 15 => 15, Terminate, "please end";
    SIGURG = 16 => 23, Ignore, "urgent data on a socket";
    SIGSTOP = 17 => 19, Stop, "stop, for certain";
    SIGTSTP = 18 => 20, Stop, "stop from the keyboard";
    SIGCONT = 19 => 18, Continue, "go on";
    SIGCHLD = 20 => 17, Ignore, "a child changed state";
    SIGTTIN = 21 => 21, Stop, "a background process reads from the terminal";
    SIGTTOU = 22 => 22, Stop, "a background process writes to the terminal";
    SIGIO = 23 => 29, Ignore, "input or output is possible";
    SIGXCPU = 24 => 24, Terminate, "the CPU time limit is reached";
    SIGXFSZ = 25 => 25, Terminate, "the file size limit is reached";
    SIGVTALRM = 26 => 26, Terminate, "the virtual timer";
    SIGPROF = 27 => 27, Terminate, "the profiling timer";
    SIGWINCH = 28 => 28, Ignore, "the window changed its size";
    SIGINFO = 29, Ignore, "status request from the keyboard";
    SIGUSR1 = 30 => 10, Terminate, "for the program to use";
    SIGUSR2 = 31 => 12, Terminate, "for the program to use, too";
    SIGPWR = 32 => 30, Ignore, "the power is failing";
}

/// Names of the real-time signals, from 33 on.
const RT_NAMES: [&str; 31] = [
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+2",
    "SIGRTMIN+3",
    "SIGRTMIN+4",
    "SIGRTMIN+5",
    "SIGRTMIN+6",
    "SIGRTMIN+7",
    "SIGRTMIN+8",
    "SIGRTMIN+9",
    "SIGRTMIN+10",
    "SIGRTMIN+11",
    "SIGRTMIN+12",
    "SIGRTMIN+13",
    "SIGRTMIN+14",
    "SIGRTMIN+15",
    "SIGRTMIN+16",
    "SIGRTMIN+17",
    "SIGRTMIN+18",
    "SIGRTMIN+19",
    "SIGRTMIN+20",
    "SIGRTMIN+21",
    "SIGRTMIN+22",
    "SIGRTMIN+23",
    "SIGRTMIN+24",
    "SIGRTMIN+25",
    "SIGRTMIN+26",
    "SIGRTMIN+27",
    "SIGRTMIN+28",
    "SIGRTMIN+29",
    "SIGRTMAX",
];

impl Signo {
    /// An old name of `SIGABRT`.
    pub const SIGIOT: Self = Self::SIGABRT;
    /// The first real-time signal.
    pub const SIGRTMIN: Self = Self(33);
    /// The last real-time signal, and the last of all.
    pub const SIGRTMAX: Self = Self(63);

    /// Takes a number from the guest. `None` if no signal has it.
    pub const fn new(number: i32) -> Option<Self> {
        match number {
            // No value changes: the range says so.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "1 to 63"
            )]
            1..NSIG => Some(Self(number as u8)),
            _ => None,
        }
    }

    /// All signals, lowest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..NSIG).filter_map(Self::new)
    }

    /// The number.
    pub const fn raw(self) -> i32 {
        self.0 as i32
    }

    /// The number, as an index into a table with [`NSIG`] entries.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The name: `"SIGHUP"`, `"SIGRTMIN+3"`.
    pub fn name(self) -> &'static str {
        match self.row() {
            Some(row) => row.3,
            None => RT_NAMES[usize::from(self.0 - Self::SIGRTMIN.0)],
        }
    }

    /// What happens if the process has not said otherwise.
    pub fn default_action(self) -> DefaultAction {
        self.row().map_or(DefaultAction::Terminate, |row| row.2)
    }

    /// The host's number, if the host has this signal.
    pub fn to_linux(self) -> Option<i32> {
        match self.row() {
            Some(row) => row.1.map(i32::from),
            None => Some(self.raw() + 1),
        }
    }

    /// The signal with this number on the host, if NetBSD has it.
    pub fn from_linux(linux: i32) -> Option<Self> {
        Self::all().find(|signo| signo.to_linux() == Some(linux))
    }

    /// Whether the signal cannot be caught, blocked or ignored.
    pub fn is_cantmask(self) -> bool {
        SigSet::CANTMASK.contains(self)
    }

    /// Whether the signal acts on every LWP, even when it was sent to one.
    pub fn acts_on_all(self) -> bool {
        matches!(
            self,
            Self::SIGKILL
                | Self::SIGSTOP
                | Self::SIGTSTP
                | Self::SIGCONT
                | Self::SIGTTIN
                | Self::SIGTTOU
        )
    }

    /// Whether one LWP's trap makes the signal, which then goes to that LWP.
    pub fn is_trap(self) -> bool {
        matches!(
            self,
            Self::SIGILL
                | Self::SIGTRAP
                | Self::SIGEMT
                | Self::SIGFPE
                | Self::SIGBUS
                | Self::SIGSEGV
                | Self::SIGSYS
        )
    }

    /// Whether `SA_RESETHAND` is ignored for the signal.
    pub fn no_reset(self) -> bool {
        matches!(self, Self::SIGILL | Self::SIGTRAP | Self::SIGPWR)
    }

    /// Whether the default is to stop.
    pub fn is_stop(self) -> bool {
        self.default_action() == DefaultAction::Stop
    }

    /// Whether the default is to stop, on behalf of a terminal (not if the process group is orphaned).
    pub fn is_tty_stop(self) -> bool {
        self.is_stop() && self != Self::SIGSTOP
    }

    /// Whether several of the signal may be pending at once.
    pub fn is_realtime(self) -> bool {
        self >= Self::SIGRTMIN
    }

    /// The row of signals 1 to 32; real-time signals have none.
    fn row(self) -> Option<&'static Row> {
        // Invariant 1: never 0.
        ROWS.get(self.index() - 1)
    }
}

impl fmt::Debug for Signo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Signo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

numbers! {
    /// What `sigprocmask(2)` does to the mask.
    SIG_HOW: i32 {
        SIG_BLOCK = 1 => 0,
        SIG_UNBLOCK = 2 => 1,
        SIG_SETMASK = 3 => 2,
    }
}

numbers! {
    /// Flags and sizes of alternate signal stacks.
    SIGALTSTACK: i32 {
        SS_ONSTACK = 1 => 1,
        SS_DISABLE = 4 => 2,
        MINSIGSTKSZ = 8192,
        SIGSTKSZ = 40960,
    }
}

const _: () = {
    let mut at = 0;
    while at < ROWS.len() {
        assert!(ROWS[at].0.index() == at + 1, "a gap in the numbers");
        at += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_sixty_four_are_no_signals() {
        assert_eq!(Signo::new(0), None);
        assert_eq!(Signo::new(64), None);
        assert_eq!(Signo::new(i32::MIN), None);
        assert_eq!(Signo::all().count(), 63);
    }

    #[test]
    fn realtime_signals_avoid_those_of_the_host_libc() {
        assert_eq!(Signo::SIGRTMIN.to_linux(), Some(34));
        assert_eq!(Signo::SIGRTMAX.to_linux(), Some(64));
        assert_eq!(Signo::from_linux(32), None);
        assert_eq!(Signo::from_linux(33), None);
    }

    #[test]
    fn the_way_to_the_host_and_back_changes_nothing() {
        for signo in Signo::all() {
            if let Some(linux) = signo.to_linux() {
                assert_eq!(Signo::from_linux(linux), Some(signo));
            }
        }
    }

    #[test]
    fn realtime_names_count_from_sigrtmin() {
        assert_eq!(Signo::SIGRTMIN.name(), "SIGRTMIN");
        assert_eq!(Signo::new(36).map(Signo::name), Some("SIGRTMIN+3"));
        assert_eq!(Signo::SIGRTMAX.name(), "SIGRTMAX");
    }
}
