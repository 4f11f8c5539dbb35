//! `lwp doctor`: whether this host can run NetBSD programs, what is missing, and what to do.
//!
//! The first finding is the whole truth: a program that comes with `lwp` is run. The others say why not,
//! or how far it goes.
//!
//! Sources: Linux, Documentation/admin-guide/syscall-user-dispatch.rst, Documentation/arch/x86/x86_64/fsgs.rst,
//! Documentation/admin-guide/sysctl/vm.rst; `proc_pid_status(5)`.

use crate::fail::Failure;
use crate::guests::InMemory;
use crate::install;
use core::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

/// Linux's bit of `AT_HWCAP2`: programs may set their FS and GS bases themselves.
const FSGSBASE: usize = 1 << 1;
/// The first Linux with Syscall User Dispatch.
const FIRST_LINUX: (u32, u32) = (5, 11);
/// Linux's own default of `vm.max_map_count`.
const USUAL_MAPPINGS: u64 = 65_530;
/// Descriptors that programs expect to have.
const USUAL_DESCRIPTORS: u64 = 1024;
/// Signals that may have to be queued at a time.
const SIGNALS: u64 = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// As it should be.
    Fine,
    /// Programs run, but some may meet a limit.
    Limit,
    /// No program runs.
    Missing,
}

/// Something that was looked at.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    verdict: Verdict,
    what: String,
    /// What it means, or what to do; empty if all is well.
    advice: &'static str,
}

impl Finding {
    fn fine(what: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Fine,
            what: what.into(),
            advice: "",
        }
    }

    fn limit(what: impl Into<String>, advice: &'static str) -> Self {
        Self {
            verdict: Verdict::Limit,
            what: what.into(),
            advice,
        }
    }

    fn missing(what: impl Into<String>, advice: &'static str) -> Self {
        Self {
            verdict: Verdict::Missing,
            what: what.into(),
            advice,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Fine => "ok",
            Verdict::Limit => "limit",
            Verdict::Missing => "MISSING",
        };
        writeln!(f, "{verdict:<8}{}", self.what)?;
        if self.advice.is_empty() {
            return Ok(());
        }
        writeln!(f, "{:<8}{}", "", self.advice)
    }
}

/// Looks at everything and says what was found.
///
/// # Errors
/// [`Failure::Unfit`]: no program runs here.
pub(crate) fn run(registry: &Path) -> Result<(), Failure> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let number = |path| fs::read_to_string(path).unwrap_or_default();
    let findings = [
        program(),
        linux(&rustix::system::uname().release().to_string_lossy()),
        thread_pointer(rustix::param::linux_hwcap().1),
        cpus(),
        procfs(),
        filter(&status),
        descriptors(lwp_machine::initial_descriptor_limits()),
        mappings(&number("/proc/sys/vm/max_map_count")),
        overcommit(&number("/proc/sys/vm/overcommit_memory")),
        signals(&status),
        interpreter(registry),
    ];
    let mut out = io::stdout();
    for finding in &findings {
        // The reader may have gone.
        let _ = write!(out, "{finding}");
    }
    let is_missing = |finding: &&Finding| finding.verdict == Verdict::Missing;
    match findings.iter().filter(is_missing).count() {
        0 => Ok(()),
        count => Err(Failure::Unfit(count)),
    }
}

/// Runs one.
fn program() -> Finding {
    const ADVICE: &str = "what follows may say why";
    let ran = InMemory::guest("hello").and_then(|hello| {
        Command::new("/proc/self/exe")
            .args(["run", &hello.path()])
            .output()
    });
    match ran {
        Ok(ran) if ran.status.success() => Finding::fine("a NetBSD program runs"),
        Ok(ran) => {
            let said = String::from_utf8_lossy(&ran.stderr);
            let said = said.trim().trim_start_matches("lwp: ");
            let what = format!("a NetBSD program does not run ({}): {said}", ran.status);
            Finding::missing(what, ADVICE)
        }
        Err(err) => Finding::missing(format!("a NetBSD program cannot be started: {err}"), ADVICE),
    }
}

/// Linux's version, from the release that it gives itself.
fn linux(release: &str) -> Finding {
    let mut numbers = release
        .split(|each: char| !each.is_ascii_digit())
        .map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let what = format!("Linux {release}");
    if version < FIRST_LINUX {
        Finding::missing(what, "Syscall User Dispatch came with Linux 5.11")
    } else {
        Finding::fine(what)
    }
}

fn thread_pointer(hwcap2: usize) -> Finding {
    if hwcap2 & FSGSBASE != 0 {
        Finding::fine("FSGSBASE: thread pointers are set without a system call")
    } else {
        Finding::limit(
            "no FSGSBASE (Linux 5.9, and a CPU of 2012 or later)",
            "entering and leaving a program takes two host calls more each time",
        )
    }
}

fn cpus() -> Finding {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    Finding::fine(format!(
        "CPUs we may use: {count}; so many vcpus, unless told"
    ))
}

fn procfs() -> Finding {
    match fs::read_link("/proc/self/exe") {
        Ok(_) => Finding::fine("/proc is mounted"),
        Err(err) => Finding::limit(
            format!("/proc/self/exe: {err}"),
            "programs cannot execute others; mount /proc",
        ),
    }
}

/// A field of `/proc/self/status`.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.strip_prefix(':')?.trim())
}

fn filter(status: &str) -> Finding {
    match field(status, "Seccomp") {
        Some("0") | None => Finding::fine("no seccomp filter"),
        Some(_) => Finding::limit(
            "a seccomp filter is in force, a container's perhaps",
            "programs get an error from calls that it forbids",
        ),
    }
}

fn descriptors((soft, hard): (u64, u64)) -> Finding {
    let what = format!("descriptors: {soft}, or up to {hard} if a program asks (ulimit -n)");
    if soft < USUAL_DESCRIPTORS {
        Finding::limit(what, "some programs expect 1024; see ulimit -n")
    } else {
        Finding::fine(what)
    }
}

fn mappings(max: &str) -> Finding {
    match max.trim().parse::<u64>() {
        Ok(max) if max < USUAL_MAPPINGS => Finding::limit(
            format!("memory mappings: {max}"),
            "programs with many LWPs or files mapped need more; see sysctl vm.max_map_count",
        ),
        Ok(max) => Finding::fine(format!("memory mappings: {max}")),
        Err(_) => Finding::fine("memory mappings: not known"),
    }
}

fn overcommit(mode: &str) -> Finding {
    if mode.trim() == "2" {
        Finding::limit(
            "memory is not overcommitted (vm.overcommit_memory is 2)",
            "programs that reserve much more than they use, as Go's do, may get ENOMEM",
        )
    } else {
        Finding::fine("memory may be reserved before it is there")
    }
}

/// Room for queued signals, which all processes of the user share.
fn signals(status: &str) -> Finding {
    let room = field(status, "SigQ").and_then(|field| {
        let (queued, max) = field.split_once('/')?;
        let number = |text: &str| text.parse::<u64>().ok();
        Some(number(max)?.saturating_sub(number(queued)?))
    });
    match room {
        Some(room) if room < SIGNALS => Finding::limit(
            format!("room for {room} queued signals"),
            "timers and preemption may fail; see ulimit -i, and what other processes have queued",
        ),
        Some(room) => Finding::fine(format!("room for {room} queued signals")),
        None => Finding::fine("room for queued signals: not known"),
    }
}

fn interpreter(registry: &Path) -> Finding {
    match install::installed(registry) {
        Some(runner) => Finding::fine(format!("the kernel starts NetBSD programs with {runner}")),
        None => Finding::fine("programs are started by `lwp run`; after `lwp install`, by name"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_off_the_release() {
        for good in ["5.11.0", "6.18.5-arch1", "5.15-rc3", "10.0"] {
            assert_eq!(linux(good).verdict, Verdict::Fine, "{good}");
        }
        for bad in ["5.10.200", "4.19", "", "nonsense"] {
            assert_eq!(linux(bad).verdict, Verdict::Missing, "{bad}");
        }
    }

    #[test]
    fn limits_are_found_in_what_linux_says() {
        let status = "Name:\tlwp\nSigQ:\t7/1000\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        assert_eq!(filter(status).verdict, Verdict::Limit);
        assert_eq!(signals(status).what, "room for 993 queued signals");
        assert_eq!(signals(status).verdict, Verdict::Limit);
        let status = "SigQ:\t0/96365\nSeccomp:\t0\n";
        assert_eq!(filter(status).verdict, Verdict::Fine);
        assert_eq!(signals(status).verdict, Verdict::Fine);
        assert_eq!(mappings("65530\n").verdict, Verdict::Fine);
        assert_eq!(mappings("1000\n").verdict, Verdict::Limit);
        assert_eq!(overcommit("2\n").verdict, Verdict::Limit);
        assert_eq!(overcommit("0\n").verdict, Verdict::Fine);
        assert_eq!(descriptors((256, 4096)).verdict, Verdict::Limit);
        assert_eq!(descriptors((1024, 4096)).verdict, Verdict::Fine);
        assert_eq!(thread_pointer(0).verdict, Verdict::Limit);
        assert_eq!(thread_pointer(2).verdict, Verdict::Fine);
    }

    #[test]
    fn what_linux_does_not_say_is_no_fault() {
        let texts = [
            filter(""),
            signals(""),
            signals("SigQ:\tx/y\n"),
            mappings(""),
        ];
        assert!(texts.iter().all(|each| each.verdict == Verdict::Fine));
    }

    #[test]
    fn advice_stands_below_the_finding() {
        let shown = overcommit("2").to_string();
        let lines: Vec<_> = shown.lines().collect();
        assert!(lines[0].starts_with("limit   memory"));
        assert!(lines[1].starts_with("        programs"));
    }
}
