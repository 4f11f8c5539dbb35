//! How checks are written, run and reported.
//!
//! A check is a function; a program is a table of them. Each runs in a child of its own, with a
//! watchdog, so that one that hangs or dies fails alone. Output: `ok NAME`, `FAIL NAME detail` or
//! `skip NAME why`, one line each; then `N passed, N failed, N skipped`. The exit status is 1 if
//! any failed.
//!
//! Arguments: names of checks (or beginnings of names) to run; `--inline` runs them in the program
//! itself, for kernels that cannot fork yet; `--list` names them; `--relaxed=park` and
//! `--relaxed=transfer` say what the kernel does on purpose (see [`By`]); `--few` makes them do things less often, for runs
//! of which there are many.

use crate::fmt::Text;
use crate::process::{self, Status};
use crate::start::Args;
use crate::sync::NeverCame;
use crate::{complain, say, sig};
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use lwp_abi::Errno;
use lwp_abi::signal::{SigSet, Signo};

/// Why a check did not pass.
#[derive(Debug)]
pub struct Fail {
    detail: Text<100>,
    skipped: bool,
}

impl Fail {
    /// A finding.
    pub fn new(detail: fmt::Arguments<'_>) -> Self {
        Self {
            detail: Text::of(detail),
            skipped: false,
        }
    }

    /// Not a finding: the check cannot be made here.
    pub fn skip(why: fmt::Arguments<'_>) -> Self {
        Self {
            detail: Text::of(why),
            skipped: true,
        }
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.detail.fmt(f)
    }
}

impl From<Errno> for Fail {
    #[track_caller]
    fn from(errno: Errno) -> Self {
        let at = core::panic::Location::caller().line();
        Self::new(format_args!("line {at}: unexpected {}", errno.name()))
    }
}

impl From<NeverCame> for Fail {
    #[track_caller]
    fn from(never: NeverCame) -> Self {
        let at = core::panic::Location::caller().line();
        Self::new(format_args!("line {at}: never came: {}", never.0))
    }
}

/// What a check says.
pub type Verdict = Result<(), Fail>;

/// One check: its name, and what it does.
pub type Check = (&'static str, fn() -> Verdict);

/// Fails the check unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($cond:expr) => { $crate::ensure!($cond, "not so: {}", stringify!($cond)) };
    ($cond:expr, $($why:tt)+) => {
        if !$cond {
            return Err($crate::check::Fail::new(core::format_args!(
                "line {}: {}", line!(), core::format_args!($($why)+)
            )));
        }
    };
}

/// Fails the check unless both are equal.
#[macro_export]
macro_rules! ensure_eq {
    ($got:expr, $want:expr $(,)?) => {
        match (&$got, &$want) {
            (got, want) => $crate::ensure!(got == want, "{:?}, not {:?}", got, want),
        }
    };
}

/// Fails the check unless the call fails so.
#[macro_export]
macro_rules! ensure_err {
    ($got:expr, $errno:ident $(,)?) => {
        match $got {
            got => $crate::ensure!(
                matches!(got, Err($crate::Errno::$errno)),
                "{:?}, not {}",
                got,
                stringify!($errno)
            ),
        }
    };
}

/// Leaves the check without a finding.
#[macro_export]
macro_rules! skip {
    ($($why:tt)+) => {
        return Err($crate::check::Fail::skip(core::format_args!($($why)+)))
    };
}

/// What a kernel may do, but does not do unless it is asked to (`lwp run --perturb`). A check that would fail then looks for
/// less if it is said to be so.
#[derive(Clone, Copy, Debug)]
pub enum By {
    /// Parks come back with EALREADY and nobody has woken the caller.
    Park = 1,
    /// Reads and writes move fewer bytes than they could.
    Transfer = 2,
}

static RELAXED: AtomicU8 = AtomicU8::new(0);

/// Whether checks are to look for what holds with this, too.
pub fn is_relaxed(by: By) -> bool {
    RELAXED.load(Ordering::Relaxed) & by as u8 != 0
}

fn relax(by: By) {
    RELAXED.fetch_or(by as u8, Ordering::Relaxed);
}

static FEW: AtomicBool = AtomicBool::new(false);

/// How often to do something that is usually done so often.
pub fn times(usually: u32) -> u32 {
    if FEW.load(Ordering::Relaxed) {
        usually.div_ceil(10)
    } else {
        usually
    }
}

/// Seconds until a check is over, one way or the other.
const LIMIT: i64 = 20;
/// Seconds until a program is over.
const TOTAL: i64 = 600;

/// What a child says by its exit status.
const PASSED: i32 = 0;
const FAILED: i32 = 1;
const SKIPPED: i32 = 2;

#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
    skipped: u32,
}

/// Runs the checks that the arguments ask for. Gives the program's exit status.
pub fn run(args: Args, groups: &[&[Check]]) -> i32 {
    let mut inline = false;
    let mut named = false;
    for arg in args.rest() {
        match arg {
            "--inline" => inline = true,
            "--few" => FEW.store(true, Ordering::Relaxed),
            "--relaxed=park" => relax(By::Park),
            "--relaxed=transfer" => relax(By::Transfer),
            "--list" => {
                for (name, _) in groups.iter().copied().flatten() {
                    say!("{name}");
                }
                return 0;
            }
            _ => named = true,
        }
    }
    as_init_starts_it();
    if !inline {
        process::watchdog(TOTAL);
    }
    let mut tally = Tally::default();
    for check in groups.iter().copied().flatten() {
        let wanted = |arg: &str| check.0.starts_with(arg);
        if named && !args.rest().any(wanted) {
            continue;
        }
        let status = if inline {
            run_here(check)
        } else {
            run_in_child(check)
        };
        match status {
            PASSED => tally.passed += 1,
            SKIPPED => tally.skipped += 1,
            _ => tally.failed += 1,
        }
    }
    say!(
        "{} passed, {} failed, {} skipped",
        tally.passed,
        tally.failed,
        tally.skipped
    );
    i32::from(tally.failed != 0)
}

/// Default actions and an empty mask: whoever started the program may ignore or block signals, as
/// nohup(1) does, and has no say in the checks.
fn as_init_starts_it() {
    for signo in Signo::all().filter(|signo| !signo.is_cantmask()) {
        // It fails for no other signal.
        let _ = sig::default(signo);
    }
    let _ = sig::setmask(SigSet::EMPTY);
}

/// Runs one check and prints its line.
fn run_here((name, check): &Check) -> i32 {
    match check() {
        Ok(()) => {
            say!("ok {name}");
            PASSED
        }
        Err(Fail {
            detail,
            skipped: true,
        }) => {
            say!("skip {name} {detail}");
            SKIPPED
        }
        Err(Fail {
            detail,
            skipped: false,
        }) => {
            say!("FAIL {name} {detail}");
            FAILED
        }
    }
}

/// Runs one check in a child. A child that dies has printed nothing: its line is printed here.
fn run_in_child(check: &Check) -> i32 {
    let child = match process::fork() {
        Ok(0) => {
            process::watchdog(LIMIT);
            process::exit(run_here(check))
        }
        Ok(child) => child,
        Err(errno) => {
            complain!("fork: {}", errno.name());
            say!("FAIL {} no child to run it in", check.0);
            return FAILED;
        }
    };
    let status = process::wait(child);
    if let Ok(Some(code @ (PASSED | FAILED | SKIPPED))) = status.map(Status::code) {
        return code;
    }
    say!("FAIL {} the program ended early: {status:?}", check.0);
    FAILED
}
