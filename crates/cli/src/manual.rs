//! `lwp man` and `lwp completions`: made from the declaration of the command line, so that they are true.

use crate::args::Cli;
use crate::fail::Failure;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use std::io::{self, Write};

/// Prints the page of `lwp`, or of one of its commands.
///
/// # Errors
/// [`Failure::Usage`]: there is no such command. [`Failure::Manual`]: nobody reads it.
pub(crate) fn page(command: Option<&str>) -> Result<(), Failure> {
    let command = find(command)?;
    Man::new(command)
        .render(&mut io::stdout())
        .map_err(Failure::Manual)
}

fn find(name: Option<&str>) -> Result<Command, Failure> {
    let mut all = Cli::command().disable_help_subcommand(true);
    all.build();
    let Some(name) = name else { return Ok(all) };
    all.find_subcommand(name)
        .cloned()
        .ok_or_else(|| Failure::Usage(format!("man: there is no command '{name}'")))
}

/// Prints what `shell` needs.
pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "lwp", &mut script);
    io::stdout().write_all(&script).map_err(Failure::Manual)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: Option<&str>) -> String {
        let mut page = Vec::new();
        let command = find(name).unwrap_or_else(|err| panic!("{err}"));
        Man::new(command).render(&mut page).unwrap_or_default();
        String::from_utf8_lossy(&page).into_owned()
    }

    #[test]
    fn every_command_has_a_page_under_its_name() {
        assert!(shown(None).contains("lwp\\-doctor(1)"), "{}", shown(None));
        assert!(shown(Some("run")).contains(".TH lwp-run 1"));
        assert!(find(Some("no such")).is_err());
    }
}
