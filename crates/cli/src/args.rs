//! What can be typed.

use crate::chaos::Direction;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use core::num::{NonZeroU32, NonZeroUsize};
use core::time::Duration;
use lwp_chaos::strategy::{Perturb, Plan};
use lwp_trace::filter::Filter;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{self, PathBuf};

const EXAMPLES: &str = "\
Examples:
  lwp demo                                     see what it does
  lwp run ./hello                              run a NetBSD program
  GOOS=netbsd go test -exec 'lwp run' ./...    test a Go package as on NetBSD
  lwp run --stats ./server -port 8080          what follows PROGRAM is the program's

Exit status: the program's own; 128+N if signal N ended it; 125 if lwp failed,
126 if the program cannot be run, 127 if it was not found.";

/// Runs NetBSD/amd64 programs on Linux, with NetBSD's threads in user space.
#[derive(Debug, Parser)]
#[command(name = "lwp", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a NetBSD program
    Run(Run),
    /// Run a NetBSD program, and show each of its system calls
    ///
    /// A line for each call when it comes back: flags, errors, strings and records in words, and how long it took. A
    /// call that sleeps is shown at once. LWPs that come and go, signals and faults have lines, too. Children and
    /// programs they execute are followed.
    Trace(Trace),
    /// Have the kernel start NetBSD programs with lwp (binfmt_misc)
    ///
    /// Then a shell, make or a test runner starts them like any other program: ./prog. Covers programs that
    /// have NetBSD in the OS/ABI byte of their ELF header, as Go's do; the others need `lwp run`. Lasts until
    /// the next boot.
    Install(Registry),
    /// Take back what `lwp install` has done
    Uninstall(Registry),
    /// Run a program again as it ran under `lwp run --record`, or `lwp hunt`
    ///
    /// Needs the same program, in the same directory. If what happens is not what happened then, it says so.
    Replay(Replay),
    /// Run a program under many schedules, until it fails
    ///
    /// Each schedule comes from a seed (see `lwp run --chaos`), in virtual time. It fails with an exit status that is not
    /// 0, a fatal signal, a hang, or a pattern in its output. Then decisions are left out for as long as it still
    /// fails. What is left is told in words, and written to a file for `lwp replay`.
    Hunt(Hunt),
    /// Show the guests that run now, LWP by LWP
    ///
    /// Only those of this user. States are NetBSD's: O on a vcpu, R runnable, S asleep, I asleep for 20 s or more,
    /// D asleep where no signal reaches it, T stopped, U suspended, Z a zombie. WCHAN is what it sleeps in, SINCE for
    /// how long it has been running, or not. USER and KERNEL are known for guests that are watched (`--stats`).
    Ps(Ps),
    /// Watch the guests that run now, LWP by LWP
    ///
    /// What `lwp ps` shows, and how much of a CPU each LWP uses, anew every second.
    Top(Top),
    /// Show what LWPs can do, and what it costs beside Linux threads
    Demo,
    /// Say whether this host can run NetBSD programs, what is missing, and what to do
    ///
    /// Exit status: 0; 1 if no program runs here.
    Doctor(Registry),
    /// Show which statements about NetBSD's LWP calls hold
    Conform(Conform),
    /// Measure what LWPs cost beside threads, futexes and others
    Bench(Bench),
    /// Print what makes a shell complete lwp's options
    ///
    /// For instance: lwp completions bash > ~/.local/share/bash-completion/completions/lwp
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// Print the manual page
    ///
    /// For instance: lwp man run | man -l -
    Man {
        /// Of this command, and not of lwp as a whole
        command: Option<String>,
    },
}

/// `lwp ps`.
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Only this process
    pub(crate) pid: Option<i32>,

    /// Say who waits for what, since when, and who woke whom last
    #[arg(long)]
    pub(crate) waits: bool,

    /// Print JSON instead of a table: an array of processes; times in nanoseconds
    #[arg(long, conflicts_with = "waits")]
    pub(crate) json: bool,
}

const TOP_EXAMPLES: &str = "\
Keys:
  q, Esc, Ctrl-C   leave
  c t s l n        sort by CPU, time, switches, lid, name; again: the other way round
  /                show only LWPs with what follows in their line; Enter ends it
  arrows, PgUp, PgDn, Home, End

Examples:
  lwp top                 all guests of this user
  lwp top 4711 -d 0.2     one of them, five times a second
  lwp top --once          one look, as text: who uses the CPU most comes first";

/// `lwp top`.
#[derive(Debug, Args)]
#[command(after_help = TOP_EXAMPLES)]
pub(crate) struct Top {
    /// Only this process; its end is the end
    pub(crate) pid: Option<i32>,

    /// Seconds between two looks
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) delay: Duration,

    /// Print one table and end; needs no terminal
    #[arg(long)]
    pub(crate) once: bool,
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text
        .parse()
        .ok()
        .filter(|&seconds| (0.05..=3600.0).contains(&seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or("between 0.05 and 3600 seconds")
}

const CONFORM_EXAMPLES: &str = "\
Examples:
  lwp conform                        check every statement
  lwp conform --filter _lwp_park     those about one call
  lwp conform --filter L-042         one of them
  lwp conform --vcpus 8 --repeat 100

Exit status: 0; 1 if a check failed; 125 if lwp failed.";

/// `lwp conform`.
#[derive(Debug, Args)]
#[command(after_help = CONFORM_EXAMPLES)]
pub(crate) struct Conform {
    /// Only statements whose number, call or text contains this
    #[arg(long, value_name = "PATTERN")]
    pub(crate) filter: Option<String>,

    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,

    /// How many host threads run each program's LWPs [default: the CPUs we may use]
    #[arg(long, value_name = "N")]
    pub(crate) vcpus: Option<NonZeroUsize>,

    /// Run everything so many times; what fails once fails
    #[arg(long, value_name = "N")]
    pub(crate) repeat: Option<NonZeroUsize>,
}

/// `lwp install`, `lwp uninstall` and `lwp doctor`.
#[derive(Debug, Args)]
pub(crate) struct Registry {
    /// Where binfmt_misc is mounted
    #[arg(
        long,
        value_name = "DIRECTORY",
        default_value = "/proc/sys/fs/binfmt_misc"
    )]
    pub(crate) registry: PathBuf,
}

/// `lwp bench`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Only rows with this in their names
    #[arg(long, value_name = "PATTERN")]
    pub(crate) rows: Option<String>,

    /// How often each row is measured, ours and theirs in turns; the middle one counts
    #[arg(long, value_name = "N", default_value = "5")]
    pub(crate) rounds: NonZeroU32,

    /// How many repetitions and LWPs a measurement has, in per cent of the usual
    #[arg(long, value_name = "PERCENT", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) effort: u32,

    /// Print an array of JSON objects instead of a table
    ///
    /// Each has `row`, `ours_ns`, `peer`, `peer_ns`, `ratio` and `goal` (the most the ratio may be, or null),
    /// and why a row is `missing`. Rows that count bytes have `ours_bytes` and `peer_bytes`.
    #[arg(long)]
    pub(crate) json: bool,

    /// Draw the ratios into a file
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

    /// Where esbuild is (node_modules) and what it bundles (project) [default: what the tests fetched]
    #[arg(long, value_name = "DIR")]
    pub(crate) esbuild: Option<PathBuf>,
}

/// `lwp run`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) watch: Watch,

    #[command(flatten)]
    pub(crate) chaos: Chaos,

    #[command(flatten)]
    pub(crate) program: Program,
}

const HUNT_EXAMPLES: &str = "\
Examples:
  lwp hunt ./counter                     look for a schedule with which it fails
  lwp hunt --runs 1000000 --jobs 8 -- ./server --self-test
  lwp hunt --policy pct:4 --perturb none -- ./queue
  lwp replay counter.17.schedule         the same again

Exit status: 0 if nothing was found; 1 if something was; 125 if lwp failed,
126 if the program cannot be run, 127 if it was not found.";

/// `lwp hunt`.
#[derive(Debug, Args)]
#[command(after_help = HUNT_EXAMPLES)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub(crate) struct Hunt {
    /// How many schedules at most
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) runs: u64,

    /// How many at a time [default: the CPUs we may use]
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,

    /// A run hangs that has had so many seconds, of its time or of ours
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: Duration,

    /// A run fails, too, that prints this
    #[arg(long, value_name = "TEXT")]
    pub(crate) pattern: Option<String>,

    /// The first seed
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub(crate) seed: u64,

    #[command(flatten)]
    pub(crate) how: Policies,

    /// Where to write the schedule [default: PROGRAM.SEED.schedule]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Print JSON: an object with schedules, seconds, and found, null or an object with seed, how, story and more
    #[arg(long)]
    pub(crate) json: bool,

    /// Leave time to the host
    #[arg(long, hide_short_help = true)]
    pub(crate) real_time: bool,

    /// Print how many schedules a second there are, and what one costs
    #[arg(long, hide_short_help = true)]
    pub(crate) bench: bool,

    /// Run schedules for a hunt
    #[arg(long, hide = true)]
    pub(crate) server: bool,

    #[command(flatten)]
    pub(crate) called: Called,
}

impl Hunt {
    /// How many runs at a time.
    pub(crate) fn jobs(&self) -> usize {
        let cpus = std::thread::available_parallelism().ok();
        self.jobs.or(cpus).map_or(1, NonZeroUsize::get)
    }
}

/// `lwp replay`.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The schedule
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) watch: Watch,

    /// Say nothing about system calls that are not supported
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// A schedule from a seed.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Chaos {
    /// On one vcpu, decide every switch by a seed: the same again next time
    ///
    /// A number. What else NetBSD leaves open is decided, too (`--perturb`), and where memory lies, random bytes and
    /// the numbers of processes are the same in each run.
    #[arg(
        long = "chaos",
        id = "chaos",
        value_name = "SEED",
        conflicts_with = "vcpus"
    )]
    pub(crate) seed: Option<u64>,

    /// With `--chaos`: time is the seed's, too, and jumps to the next deadline when every LWP waits
    ///
    /// It passes with each system call. Reads of the time-stamp counter show it. What comes from other
    /// processes, and from the network, still comes when it comes.
    #[arg(long, requires = "chaos", hide_short_help = true)]
    pub(crate) virtual_time: bool,

    #[command(flatten)]
    pub(crate) how: Policies,

    /// With `--chaos`: write what was decided to a file, for `lwp replay`
    ///
    /// Of a program that executes another, the first is what the file is of.
    #[arg(long, value_name = "FILE", requires = "chaos", hide_short_help = true)]
    pub(crate) record: Option<PathBuf>,
}

/// How a seed is to decide.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Policies {
    /// How the seed decides: fair, random, pct, starve, steps, or a mix of them
    ///
    /// random:RATE: any LWP, at one point in RATE. pct:DEPTH:POINTS: always the one of the highest
    /// priority, which change DEPTH - 1 times in POINTS points. starve:POINTS: for a while one does not run unless nobody
    /// else can. steps:POINTS: switches in the midst of user code, a few instructions after a system call or where another
    /// LWP was then. mix:POINTS, unless told: one of these, by the seed. A point is where an LWP enters or leaves the kernel.
    #[arg(long, value_name = "POLICY", hide_short_help = true)]
    pub(crate) policy: Option<Plan>,

    /// What else the seed decides: all, none, or a list
    ///
    /// park: parks return early. wake: the order of LWPs woken together. transfer: reads and writes are short. signal: a signal is
    /// taken a system call later, and interrupts that if it sleeps. start: LWPs begin late. What is named happens often;
    /// without this option the seed says what happens, and how often.
    #[arg(long, value_name = "LIST", hide_short_help = true)]
    pub(crate) perturb: Option<Perturb>,
}

/// What is to be watched while a program runs, and told when it ends.
#[derive(Debug, Default, Args)]
pub(crate) struct Watch {
    /// Print what was counted, on stderr, when the program ends
    ///
    /// System calls, by the fast road (patched call sites) and the slow one (traps), and where the slow ones are;
    /// LWPs; switches and their reasons; parks and unparks; where the time went; how late woken LWPs came to run; whom
    /// others have waited for; and what was left when the program ended. To be counted, no system call is made on the
    /// spot, so the program runs slower than without.
    #[arg(long)]
    pub(crate) stats: bool,

    /// Print what was left of LWPs, callouts, descriptors and mappings when the program ended
    ///
    /// The last line of `--stats`, without the cost of counting. For tests.
    #[arg(long, hide_short_help = true)]
    pub(crate) left: bool,

    /// Draw what each LWP did, into a page (.html) or for Perfetto (.pftrace)
    ///
    /// The file is written, and one of that name replaced, when the program ends or executes another. The page
    /// needs no network: a row for each LWP and each vcpu, who woke whom, the longest waits. Of a program that
    /// executes another NetBSD program the file shows the last. Forked processes are not shown.
    #[arg(long, value_name = "FILE", value_parser = timeline, overrides_with = "timeline")]
    pub(crate) timeline: Option<Timeline>,

    /// How many events a timeline keeps at most (24 bytes each); those after them are counted
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4_000_000,
        hide_short_help = true
    )]
    pub(crate) timeline_events: usize,
}

const TRACE_EXAMPLES: &str = "\
Examples:
  lwp trace ./hello                            every system call, on stderr
  lwp trace -o trace.txt -e file,network ./server
  lwp trace -e '!_lwp_park,!_lwp_unpark' ./server     all but two
  lwp trace -c ./server                        a table: how often, how long
  lwp trace -f json -e read ./hello            for programs

Families: file, desc, lwp, process, signal, memory, network, time, event, system, misc.
Exit status: as that of lwp run.";

/// `lwp trace`.
#[derive(Debug, Args)]
#[command(after_help = TRACE_EXAMPLES)]
pub(crate) struct Trace {
    #[command(flatten)]
    pub(crate) tracing: Tracing,

    #[command(flatten)]
    pub(crate) watch: Watch,

    #[command(flatten)]
    pub(crate) chaos: Chaos,

    #[command(flatten)]
    pub(crate) program: Program,
}

/// How to trace a program.
#[derive(Clone, Debug, Args)]
pub(crate) struct Tracing {
    /// Only these calls; with ! before it, not this one
    ///
    /// Families and names of calls, with commas between. A name is the kernel's or the program's: ___lwp_park60 or
    /// _lwp_park. Each adds calls, or with ! takes some away: from all, if it comes first.
    #[arg(short = 'e', long = "calls", value_name = "FAMILY|NAME,…")]
    pub(crate) filter: Option<Filter>,

    /// Write to a file, and not to stderr
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Print a table when the program ends: how often, how long
    #[arg(short = 'c', long)]
    pub(crate) summary: bool,

    /// How to print
    ///
    /// `json` is an object in each line: pid, lid, name; call, args, result or errno, start and duration in
    /// nanoseconds, trapped (it came by the slow road); or event, value, at. With -c, an object for each process:
    /// pid, calls.
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        default_value = "text",
        hide_default_value = true
    )]
    pub(crate) format: Format,

    /// How many bytes of a string are shown
    #[arg(short, long, value_name = "N", default_value = "32", hide_short_help = true, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) strings: u16,

    /// Where the image before has written, for the one that follows it
    #[arg(long, hide = true)]
    pub(crate) to_fd: Option<i32>,
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// A file for a timeline; its name says what it is to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Timeline {
    pub(crate) file: PathBuf,
    pub(crate) kind: TimelineKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimelineKind {
    Page,
    Perfetto,
}

/// `FILE.html` or `FILE.pftrace`.
fn timeline(name: &str) -> Result<Timeline, &'static str> {
    // The program may go to another directory before it ends.
    let file = path::absolute(name).map_err(|_| "there is no such file")?;
    let kind = match file.extension().and_then(OsStr::to_str) {
        Some("html") => TimelineKind::Page,
        Some("pftrace") => TimelineKind::Perfetto,
        _ => return Err("a timeline is a page, FILE.html, or a trace for Perfetto, FILE.pftrace"),
    };
    Ok(Timeline { file, kind })
}

/// A program to be run, and how: what every command that runs one takes.
#[derive(Debug, Default, Args)]
pub(crate) struct Program {
    /// How many host threads run its LWPs [default: the CPUs we may use]
    #[arg(long, value_name = "N")]
    pub(crate) vcpus: Option<NonZeroUsize>,

    /// Make no system call on the spot
    ///
    /// Every call then leaves user mode and takes the ordinary road through the kernel: slower, and in
    /// nothing else different. For tests, and to find out where a difference comes from.
    #[arg(long, hide_short_help = true)]
    pub(crate) no_fast_calls: bool,

    /// Say nothing about system calls that are not supported
    #[arg(short, long)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) called: Called,

    /// How many LWPs the program may have
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(crate) maxlwp: Option<u32>,
}

/// A program as it is called.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Called {
    /// Set a variable in the program's environment
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) env: Vec<Variable>,

    /// The program and its arguments; without a slash it is looked for in PATH
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_names = ["PROGRAM", "ARGS"]
    )]
    pub(crate) words: Vec<OsString>,
}

/// What the user asked for when he had a program run, by whichever command.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) program: Program,
    pub(crate) watch: Watch,
    /// [`Trace::tracing`].
    pub(crate) tracing: Option<Tracing>,
    pub(crate) direction: Option<Direction>,
}

impl From<Run> for Wanted {
    fn from(run: Run) -> Self {
        Self {
            program: run.program,
            watch: run.watch,
            tracing: None,
            direction: run.chaos.direction(),
        }
    }
}

impl From<Trace> for Wanted {
    fn from(trace: Trace) -> Self {
        Self {
            program: trace.program,
            watch: trace.watch,
            tracing: Some(trace.tracing),
            direction: trace.chaos.direction(),
        }
    }
}

impl Wanted {
    /// The words before the program's, as they are to be read again by [`Wanted::again`]: wherever the program
    /// has gone by then, a file is where it was.
    pub(crate) fn words_again(&self, mut words: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        if let Some(made) = self.direction.as_ref().and_then(Direction::words_again) {
            words = made;
            let more = [
                (self.program.quiet, "--quiet"),
                (self.watch.stats, "--stats"),
            ];
            let more = more.iter().filter(|(is_wanted, _)| *is_wanted);
            words.extend(more.map(|(_, option)| option.as_bytes().to_vec()));
        }
        if let Some(timeline) = &self.watch.timeline {
            let end = words.len() - usize::from(words.last().is_some_and(|last| last == b"--"));
            let file = timeline.file.as_os_str().as_bytes().to_vec();
            words.splice(end..end, [b"--timeline".to_vec(), file]);
        }
        words
    }

    /// What was asked for by a command line of which only the words before the program's are left.
    pub(crate) fn again(words: &[Vec<u8>]) -> Self {
        let words = words.iter().map(|word| OsStr::from_bytes(word));
        let parsed = Cli::try_parse_from(words.chain([OsStr::new("program")]));
        match parsed.map(|cli| cli.command) {
            Ok(Command::Run(run)) => run.into(),
            Ok(Command::Trace(trace)) => trace.into(),
            // They were understood before.
            _ => Self::default(),
        }
    }
}

/// `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable(Vec<u8>);

impl Variable {
    /// Of `whole`, if that has a name and a value.
    pub(crate) fn new(whole: OsString) -> Option<Self> {
        let whole = whole.into_vec();
        let sign = whole.iter().position(|&byte| byte == b'=');
        sign.is_some_and(|at| at > 0).then_some(Self(whole))
    }

    /// The whole of it.
    pub(crate) fn whole(&self) -> &[u8] {
        &self.0
    }

    /// The name, with the sign behind it.
    fn name(&self) -> &[u8] {
        let sign = self.0.iter().position(|&byte| byte == b'=');
        &self.0[..=sign.unwrap_or(0)]
    }

    /// Sets this variable among `all`.
    pub(crate) fn put_into(&self, all: &mut Vec<Vec<u8>>) {
        all.retain(|each| !each.starts_with(self.name()));
        all.push(self.whole().to_vec());
    }
}

fn variable(text: &str) -> Result<Variable, &'static str> {
    Variable::new(text.into()).ok_or("a variable is NAME=VALUE")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn run(args: &[&str]) -> Run {
        let all = ["lwp", "run"].iter().chain(args);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Run(run) => run,
            other => panic!("{other:?}, not run"),
        }
    }

    #[test]
    fn the_declaration_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_the_program_is_the_program_s() {
        let parsed = run(&["--vcpus", "2", "prog", "--vcpus", "3", "-q", "--", "x"]);
        let program = parsed.program;
        assert_eq!(program.vcpus.map(NonZeroUsize::get), Some(2));
        assert!(!program.quiet);
        assert_eq!(
            program.called.words,
            ["prog", "--vcpus", "3", "-q", "--", "x"]
        );
    }

    #[test]
    fn the_words_before_the_program_say_again_what_was_asked_for() {
        let words = ["lwp", "run", "--stats", "--vcpus", "3", "--"].map(Into::into);
        let wanted = Wanted::again(&words);
        assert_eq!(wanted.program.vcpus.map(NonZeroUsize::get), Some(3));
        assert!(wanted.watch.stats && !wanted.program.quiet);
    }

    #[test]
    fn a_timeline_is_where_it_was_when_the_words_are_read_again_elsewhere() {
        let typed = ["lwp", "run", "--timeline=a.html", "--"].map(|word| word.as_bytes().to_vec());
        let wanted = Wanted::again(&typed);
        let file = wanted.watch.timeline.clone().unwrap().file;
        assert!(file.is_absolute() && file.ends_with("a.html"), "{file:?}");
        let words = wanted.words_again(typed.to_vec());
        assert_eq!(words.last().map(Vec::as_slice), Some(&b"--"[..]));
        assert_eq!(words[words.len() - 2], file.as_os_str().as_bytes());
        assert_eq!(Wanted::again(&words).watch.timeline, wanted.watch.timeline);
    }

    #[test]
    fn the_name_of_a_timeline_says_what_it_is_to_hold() {
        let kind = |name| {
            run(&["--timeline", name, "prog"])
                .watch
                .timeline
                .unwrap()
                .kind
        };
        assert_eq!(kind("a.html"), TimelineKind::Page);
        assert_eq!(kind("b/a.x.pftrace"), TimelineKind::Perfetto);
        for name in ["a", "a.htm", ".html", "html", ""] {
            let words = ["lwp", "run", "--timeline", name, "prog"];
            assert!(Cli::try_parse_from(words).is_err(), "{name}");
        }
    }

    #[test]
    fn a_trace_goes_on_where_it_was() {
        let words = [
            "lwp", "trace", "--to-fd", "16320", "-c", "-e", "!read", "--stats",
        ];
        let wanted = Wanted::again(&words.map(Into::into));
        let tracing = wanted.tracing.unwrap();
        assert!(wanted.watch.stats && tracing.summary);
        assert_eq!(tracing.to_fd, Some(16320));
        assert!(!tracing.filter.unwrap().has(lwp_abi::nr::SYS_READ));
    }

    #[test]
    fn a_variable_replaces_its_namesake_only() {
        let mut all = vec![b"A=1".to_vec(), b"AB=2".to_vec()];
        run(&["--env", "A=3", "prog"]).program.called.env[0].put_into(&mut all);
        assert_eq!(all, [b"AB=2".to_vec(), b"A=3".to_vec()]);
        assert!(Cli::try_parse_from(["lwp", "run", "--env", "=x", "prog"]).is_err());
    }
}
