//! What `lwp trace` says of esbuild.

use crate::bundle::Bundle;
use crate::esbuild::counter;
use crate::project::Project;
use crate::runner::Runner;
use std::fs;
use std::path::Path;

/// How many bad lines are shown.
const SHOWN: usize = 5;

/// Traces a bundle: each call that `--stats` counts is there, and of each all is known.
///
/// # Errors
/// A call without a signature, or with bits or values that have no name; calls that are missing.
pub(crate) fn every_call_is_decoded(
    project: &Project,
    bundle: &Bundle,
    runner: &Runner,
) -> Result<(), String> {
    let to = project.log("esbuild.trace");
    let stats = traced(project, bundle, runner, &to)?;
    let text = fs::read_to_string(&to).map_err(|why| format!("{}: {why}", to.display()))?;
    let lines = || text.lines().map(said);
    let bad: Vec<_> = lines()
        .filter(|line| has_unknown(line))
        .take(SHOWN)
        .collect();
    if !bad.is_empty() {
        return Err(format!("not decoded:\n    {}", bad.join("\n    ")));
    }
    let begun = lines().filter(|line| is_call(line)).count();
    let counted = calls(&stats)?;
    if u64::try_from(begun) == Ok(counted) {
        Ok(())
    } else {
        Err(format!("{begun} calls are traced, of {counted}"))
    }
}

/// Has a bundle's calls counted twice.
///
/// # Errors
/// The counts differ.
pub(crate) fn counts_agree(
    project: &Project,
    bundle: &Bundle,
    runner: &Runner,
) -> Result<(), String> {
    let to = project.log("esbuild.table");
    let summary = runner.clone().option("--summary");
    let stats = traced(project, bundle, &summary, &to)?;
    let table = fs::read_to_string(&to).map_err(|why| format!("{}: {why}", to.display()))?;
    let total = table.lines().last().unwrap_or_default();
    let counted = calls(&stats)?;
    // Share and time, then the count.
    if total.split_whitespace().nth(2) == Some(&*counted.to_string()) {
        Ok(())
    } else {
        Err(format!("--stats has {counted} calls:\n{table}"))
    }
}

/// Bundles with `runner`'s options and a trace into a file; says what is on standard error.
fn traced(
    project: &Project,
    bundle: &Bundle,
    runner: &Runner,
    to: &Path,
) -> Result<String, String> {
    let to = absolute(to)?;
    let runner = runner
        .clone()
        .tracing()
        .option("--stats")
        .option("--output")
        .option(&to);
    bundle.run(project, &runner, "traced")
}

/// The program runs in another directory.
fn absolute(path: &Path) -> Result<String, String> {
    let path = std::path::absolute(path).map_err(|why| format!("{}: {why}", path.display()))?;
    let name = path.to_str().ok_or("a path that is no text")?;
    Ok(name.to_owned())
}

fn calls(stats: &str) -> Result<u64, String> {
    Ok(counter(stats, "fast")? + counter(stats, "slow")?)
}

/// A line without who says it.
fn said(line: &str) -> &str {
    line.split_once("] ").map_or(line, |(_, said)| said)
}

/// Whether the line is the first of a call.
fn is_call(line: &str) -> bool {
    !line.starts_with(['<', '-', '+'])
}

/// Whether there is something in the line that has no name: question marks say so, but for those in strings, and
/// for the result of a call that has none.
fn has_unknown(line: &str) -> bool {
    let plain = line.replace(r"\\", "").replace(r#"\""#, "");
    let outside: String = plain.split('"').step_by(2).collect();
    let (call, result) = outside.rsplit_once(" = ").unwrap_or((&outside, ""));
    call.contains('?') || result.contains('?') && !result.starts_with('?')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_name_is_found() {
        for (line, unknown) in [
            ("[7] read(3, \"what?\", 5) = 5 <1.0 us>", false),
            ("[7] read(3, \"\\\"?\\\\\", 5) = 5 <1.0 us>", false),
            ("[7 name] exit(0) = ?", false),
            (
                "[7] setcontext({...}) = ? EJUSTRETURN (the registers are set) <1.0 us>",
                false,
            ),
            ("[7] open(\"x\", O_RDONLY|0x1000?) = 3 <1.0 us>", true),
            ("[7] nfssvc?(0x1, 0x2) = 3 <1.0 us>", true),
            ("[7] fcntl(3, F_GETFL) = 0x1? <1.0 us>", true),
        ] {
            assert_eq!(has_unknown(said(line)), unknown, "{line}");
        }
        let begin = |line| is_call(said(line));
        assert!(begin("[7] read(3, <unfinished ...>"));
        assert!(!begin("[7] <... read resumed> NULL, 0) = 0 <1.0 us>"));
        assert!(!begin("[7] --- SIGURG ---"));
    }
}
