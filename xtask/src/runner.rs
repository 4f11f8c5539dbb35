//! `lwp run` or another command that runs a guest, and the conditions under which it is tried.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A way to run guests: what comes before `lwp`, the `lwp` itself, its options.
#[derive(Clone)]
pub(crate) struct Runner {
    before: Vec<OsString>,
    lwp: PathBuf,
    verb: &'static str,
    options: Vec<OsString>,
}

impl Runner {
    /// Runs guests with `lwp`, as a user would.
    pub(crate) fn new(lwp: PathBuf) -> Self {
        Self {
            before: Vec::new(),
            lwp,
            verb: "run",
            options: Vec::new(),
        }
    }

    /// The same, with `words` before it on the command line.
    pub(crate) fn behind(mut self, words: &[&str]) -> Self {
        self.before.splice(0..0, words.iter().map(Into::into));
        self
    }

    /// The same, but by `lwp trace`.
    pub(crate) fn tracing(self) -> Self {
        Self {
            verb: "trace",
            ..self
        }
    }

    /// The same, but under many schedules, by `lwp hunt`.
    pub(crate) fn hunting(self) -> Self {
        Self {
            verb: "hunt",
            ..self
        }
    }

    /// The same, with `count` vcpus.
    pub(crate) fn vcpus(self, count: u32) -> Self {
        self.option("--vcpus").option(&count.to_string())
    }

    /// The same, with one more option of the command.
    pub(crate) fn option(mut self, option: &str) -> Self {
        self.options.push(option.into());
        self
    }

    /// The same, with more options or words of theirs.
    pub(crate) fn options(self, words: &[&str]) -> Self {
        words.iter().fold(self, |runner, word| runner.option(word))
    }

    /// The command that runs `program`; its arguments are to be added.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut words = self.words();
        let mut command = Command::new(words.next().expect("there is lwp at least"));
        command.args(words).arg(program);
        command
    }

    /// The words before the program as one string, quoted as `go test -exec` reads them.
    ///
    /// # Errors
    /// A word holds a quote, for which Go's reader has no escape.
    pub(crate) fn quoted(&self) -> Result<String, String> {
        let quote = |word: OsString| match word.to_str() {
            Some(word) if !word.contains(['\'', '"']) => Ok(format!("'{word}'")),
            _ => Err(format!(
                "{}: a path that go test -exec cannot take",
                word.display()
            )),
        };
        Ok(self
            .words()
            .map(quote)
            .collect::<Result<Vec<_>, _>>()?
            .join(" "))
    }

    /// The words before the program.
    pub(crate) fn words(&self) -> impl Iterator<Item = OsString> {
        let lwp = [self.lwp.clone().into(), self.verb.into()];
        self.before
            .iter()
            .cloned()
            .chain(lwp)
            .chain(self.options.iter().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_in_their_order() {
        let runner = Runner::new("/a b/lwp".into())
            .vcpus(2)
            .behind(&["setarch", "-R"]);
        let quoted = runner.quoted().unwrap();
        assert_eq!(quoted, "'setarch' '-R' '/a b/lwp' 'run' '--vcpus' '2'");
        let command = runner.command(Path::new("guest"));
        assert_eq!(
            (command.get_program(), command.get_args().last()),
            ("setarch".as_ref(), Some("guest".as_ref()))
        );
    }

    #[test]
    fn a_quote_in_a_path_is_refused() {
        assert!(Runner::new("/it's/lwp".into()).quoted().is_err());
    }
}
