//! The headers suite: C programs compiled against NetBSD's own headers read what the kernel writes.
//!
//! The programs are in `guests/c`. Zig has the headers (of NetBSD 11, whose records are those of 10 but
//! for `struct kevent`) and the compiler; it refuses to link a static program with NetBSD's libc, so
//! they have none, and are linked by its linker alone.

use crate::guests::judge;
use crate::project::Project;
use crate::report::Report;
use crate::run::{run, show};
use crate::runner::Runner;
use crate::setup;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Many times what one takes.
const LIMIT: Duration = Duration::from_mins(1);
/// As few as possible, and two at once.
const VCPUS: [u32; 2] = [1, 2];

/// Compiles every program, and runs it.
pub(crate) fn suite(project: &Project, report: &mut Report) {
    let Some(zig) = report.need("set-up", || setup::zig(project)) else {
        return;
    };
    let Some(lwp) = report.need("lwp builds", || project.lwp()) else {
        return;
    };
    let Some(sources) = report.need("sources", || sources(&project.source("guests/c"))) else {
        return;
    };
    for source in sources {
        let name = source.file_stem().unwrap_or_default().display().to_string();
        let Some(program) = report.need(&name, || compile(project, &zig, &source, &name)) else {
            continue;
        };
        for vcpus in VCPUS {
            report.check(format!("{name}, {vcpus} vcpus"), || {
                let runner = Runner::new(lwp.clone()).vcpus(vcpus);
                let log = project.log(&format!("headers-{name}-{vcpus}"));
                judge(run(&mut runner.command(&program), LIMIT, &log)?)
            });
        }
    }
}

/// The C files of a directory.
fn sources(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let files = fs::read_dir(directory).map_err(|why| format!("{}: {why}", directory.display()))?;
    let mut sources: Vec<_> = files
        .flatten()
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    sources.sort();
    if sources.is_empty() {
        return Err(format!("{}: no C file", directory.display()));
    }
    Ok(sources)
}

/// Compiles and links one program.
fn compile(project: &Project, zig: &Path, source: &Path, name: &str) -> Result<PathBuf, String> {
    let directory = project.target("headers");
    fs::create_dir_all(&directory).map_err(|why| format!("{}: {why}", directory.display()))?;
    let (object, program) = (directory.join(format!("{name}.o")), directory.join(name));
    let mut cc = Command::new(zig);
    cc.args([
        "cc",
        "-target",
        "x86_64-netbsd-none",
        "-std=gnu11",
        "-O1",
        "-c",
    ]);
    cc.args(["-Wall", "-Wextra", "-Werror", "-fno-stack-protector"]);
    cc.args(["-fno-sanitize=all", "-fno-builtin", "-mno-red-zone"]);
    let cache = project.target("headers/zig");
    for variable in ["ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"] {
        cc.env(variable, &cache);
    }
    show(cc.arg("-o").arg(&object).arg(source))?;
    let mut ld = Command::new(zig);
    ld.args(["ld.lld", "-static", "-o"])
        .arg(&program)
        .arg(&object);
    show(&mut ld)?;
    Ok(program)
}
