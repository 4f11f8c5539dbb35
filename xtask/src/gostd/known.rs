//! The known differences: tests that fail on a real NetBSD too, each with its reason and its source.
//!
//! The file has four fields a line, separated by tabs: package, test, reason, source. It is in order,
//! names nothing twice, and no line goes without a reason that a reader can check. A line covers the
//! test and its subtests.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The shortest text that can be a reason.
const REASON: usize = 30;

/// The known differences of all packages.
#[derive(Debug, Default)]
pub(crate) struct Known {
    packages: BTreeMap<String, Vec<String>>,
}

impl Known {
    /// Reads the file.
    ///
    /// # Errors
    /// It is not there, or not in the form that the module's header says.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))?;
        Self::parse(&text).map_err(|why| format!("{}: {why}", path.display()))
    }

    /// The tests of `package` whose failure is no fault of ours.
    pub(crate) fn of(&self, package: &str) -> &[String] {
        self.packages.get(package).map_or(&[], Vec::as_slice)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut known = Self::default();
        let mut last = (String::new(), String::new());
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        for line in lines {
            let [package, test, reason, source] = fields(line)?;
            let this = (package.to_owned(), test.to_owned());
            if this <= last {
                return Err(format!("{package} {test}: out of order, or twice"));
            }
            if reason.len() < REASON {
                return Err(format!("{package} {test}: no reason that says why"));
            }
            if !source.contains(['/', '(', '.']) {
                return Err(format!(
                    "{package} {test}: the source names no file or page"
                ));
            }
            known
                .packages
                .entry(this.0.clone())
                .or_default()
                .push(this.1.clone());
            last = this;
        }
        Ok(known)
    }
}

/// The four fields of a line.
fn fields(line: &str) -> Result<[&str; 4], String> {
    let fields: Vec<_> = line.split('\t').collect();
    let fields = <[&str; 4]>::try_from(fields).map_err(|_| format!("not four fields: {line}"))?;
    if fields
        .iter()
        .any(|field| field.trim() != *field || field.is_empty())
    {
        return Err(format!("an empty field, or blanks around one: {line}"));
    }
    if fields[1].contains(['*', '?', '|']) {
        return Err(format!("a pattern instead of a test: {line}"));
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many differences are known: this number grows only together with the file, by hand.
    const COUNT: usize = 1;

    const REASON: &str = "the kernel answers this way because of that";

    #[test]
    fn the_file_has_its_form() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("setup/go-std.known");
        let known = Known::read(&path).unwrap();
        assert_eq!(known.packages.values().map(Vec::len).sum::<usize>(), COUNT);
    }

    #[test]
    fn a_line_without_reason_or_source_is_refused() {
        let line =
            |reason: &str, source: &str| Known::parse(&format!("os\tTestA\t{reason}\t{source}\n"));
        assert_eq!(
            line(REASON, "kern/vfs_syscalls.c").unwrap().of("os"),
            ["TestA"]
        );
        assert!(line("fails", "kern/vfs_syscalls.c").is_err());
        assert!(line(REASON, "").is_err());
        assert!(line(REASON, "experience").is_err());
    }

    #[test]
    fn patterns_repetitions_and_disorder_are_refused() {
        let line = |test: &str| format!("os\t{test}\t{REASON}\tfork(2)\n");
        assert!(Known::parse(&line("Test*")).is_err());
        assert!(Known::parse(&(line("TestA") + &line("TestA"))).is_err());
        assert!(Known::parse(&(line("TestB") + &line("TestA"))).is_err());
        assert!(Known::parse(&(line("TestA") + "# a remark\n" + &line("TestB"))).is_ok());
    }
}
