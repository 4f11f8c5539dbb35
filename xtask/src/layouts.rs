//! The layouts suite: the same again where memory lies elsewhere, a descriptor is missing, or the
//! build is another. Each of these has broken runners like ours before.

use crate::bundle::Bundle;
use crate::go::Go;
use crate::guests;
use crate::project::Project;
use crate::report::Report;
use crate::runner::Runner;
use std::path::Path;

/// An ELF program header that names an interpreter: the mark of a dynamic program.
const PT_INTERP: u32 = 3;

/// Runs the guests, one bundle and the Go tests under each condition.
pub(crate) fn suite(project: &Project, report: &mut Report) {
    let Some(bundle) = report.need("set-up", || Bundle::prepare(project)) else {
        return;
    };
    let Some(go) = report.need("set-up", || Go::prepare(project)) else {
        return;
    };
    for (how, runner) in layouts(project, report) {
        guests::all(project, report, &runner, how);
        let file = how.replace([' ', ','], "-");
        report.check(format!("esbuild, {how}"), || {
            bundle
                .run(project, &runner, &format!("esbuild-{file}"))
                .map(drop)
        });
        report.check(format!("go, {how}"), || {
            go.test(project, &runner, &format!("go-{file}"))
        });
    }
}

/// The conditions, and how each is made.
fn layouts(project: &Project, report: &mut Report) -> Vec<(&'static str, Runner)> {
    let mut layouts = Vec::new();
    if let Some(lwp) = report.need("lwp builds", || project.lwp()) {
        let lwp = Runner::new(lwp);
        let how = "unlimited stack";
        let script = "ulimit -s unlimited && exec \"$@\"";
        if let Some(behind) = report.need(how, || wrapper(project, "unlimited", script)) {
            layouts.push((how, lwp.clone().behind(&["/bin/sh", &behind])));
        }
        layouts.push(("no randomisation", lwp.clone().behind(&["setarch", "-R"])));
        let how = "standard input closed";
        if let Some(behind) = report.need(how, || wrapper(project, "closed", "exec \"$@\" <&-")) {
            layouts.push((how, lwp.clone().behind(&["/bin/sh", &behind])));
        }
        if let Some(cpus) = report.need("two CPUs", two_cpus) {
            let crowded = lwp.vcpus(8).behind(&["taskset", "-c", &cpus]);
            layouts.push(("8 vcpus on 2 CPUs", crowded));
        }
    }
    if let Some(lwp) = report.need("a build with RUSTFLAGS", || project.lwp_with_rustflags()) {
        report.check("a build with RUSTFLAGS is dynamic", || dynamic(&lwp));
        layouts.push(("RUSTFLAGS set", Runner::new(lwp)));
    }
    layouts
}

/// Writes a shell script that changes something and runs its arguments: `go test -exec` has no quoting
/// that would take the script itself.
fn wrapper(project: &Project, name: &str, script: &str) -> Result<String, String> {
    let path = project.target(&format!("layouts/{name}.sh"));
    let parent = path.parent().expect("it lies in a directory");
    std::fs::create_dir_all(parent)
        .and_then(|()| std::fs::write(&path, format!("{script}\n")))
        .map_err(|why| format!("{}: {why}", path.display()))?;
    let path = path.into_os_string().into_string();
    path.map_err(|path| format!("{}: not a path that cargo could have", path.display()))
}

/// The first two CPUs that this process may use, or the only one, as `taskset` reads them.
fn two_cpus() -> Result<String, String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|why| why.to_string())?;
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let list = list.ok_or("/proc/self/status does not say which CPUs we may use")?;
    Ok(cpus(list)
        .take(2)
        .map(|cpu| cpu.to_string())
        .collect::<Vec<_>>()
        .join(","))
}

/// The CPUs of a list like `0-2,7`.
fn cpus(list: &str) -> impl Iterator<Item = u32> {
    list.trim()
        .split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?)
        })
        .flatten()
}

/// Checks that the layout is what it is tried for.
fn dynamic(program: &Path) -> Result<(), String> {
    let elf = std::fs::read(program).map_err(|why| format!("{}: {why}", program.display()))?;
    match has_interpreter(&elf) {
        Some(true) => Ok(()),
        Some(false) => Err("it is static: the flags of .cargo/config.toml still hold".to_owned()),
        None => Err(format!("{}: not an ELF file of 64 bits", program.display())),
    }
}

/// Looks through the program headers of an ELF file of 64 bits, little-endian.
fn has_interpreter(elf: &[u8]) -> Option<bool> {
    let number = |at: usize, len: usize| {
        let bytes = elf.get(at..at.checked_add(len)?)?;
        let number = bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        usize::try_from(number).ok()
    };
    elf.starts_with(b"\x7fELF\x02\x01").then_some(())?;
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for at in 0..count {
        if number(table.checked_add(at * size)?, 4)? == PT_INTERP as usize {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::{cpus, has_interpreter};

    #[test]
    fn lists_of_cpus_are_read_as_the_kernel_writes_them() {
        assert_eq!(cpus("\t0-2,7\n").collect::<Vec<_>>(), [0, 1, 2, 7]);
        assert_eq!(cpus("5").collect::<Vec<_>>(), [5]);
    }

    #[test]
    fn a_file_cut_short_has_no_answer() {
        assert_eq!(has_interpreter(b"\x7fELF\x02\x01"), None);
        assert_eq!(has_interpreter(b"#!/bin/sh"), None);
    }
}
