//! The options of the command, and what belongs to the guest.

use crate::elf::{Code, nr};
use crate::run::{assert_refused, assert_status, lwp, lwp_run, output, program, stderr};

const ENOSYS: i32 = 78;

#[test]
fn help_fits_a_screen_and_names_every_option() {
    let output = output(lwp().args(["run", "-h"]));
    assert_status(&output, 0);
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.lines().count() <= 24, "{help}");
    for option in ["--vcpus", "--stats", "-q", "--env", "PROGRAM", "ARGS"] {
        assert!(help.contains(option), "{option} is missing:\n{help}");
    }
}

#[test]
fn long_help_says_what_exit_statuses_mean() {
    let output = output(lwp().args(["run", "--help"]));
    assert_status(&output, 0);
    let help = String::from_utf8(output.stdout).unwrap();
    for word in ["125", "126", "127", "128"] {
        assert!(help.contains(word), "{word} is missing:\n{help}");
    }
}

#[test]
fn help_of_the_command_names_its_subcommands() {
    let output = output(lwp().arg("--help"));
    assert_status(&output, 0);
    let help = String::from_utf8(output.stdout).unwrap();
    for word in ["run", "demo"] {
        assert!(help.contains(word), "{word} is missing:\n{help}");
    }
}

#[test]
fn the_doctor_runs_a_program() {
    // Where these tests run, programs do.
    let output = output(lwp().args(["doctor", "--registry", "/nonexistent"]));
    assert_status(&output, 0);
    let found = String::from_utf8(output.stdout).unwrap();
    assert!(
        found.starts_with("ok      a NetBSD program runs\nok      Linux "),
        "{found}"
    );
    assert!(!found.contains("MISSING"), "{found}");
}

#[test]
fn the_manual_and_the_completions_are_printed() {
    for (args, word) in [
        (&["man"][..], ".TH lwp 1"),
        (&["man", "run"], "vcpus"),
        (&["completions", "bash"], "complete -F _lwp"),
        (&["completions", "zsh"], "#compdef lwp"),
        (&["completions", "fish"], "complete -c lwp"),
    ] {
        let output = output(lwp().args(args));
        assert_status(&output, 0);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(word), "{word} is missing:\n{text}");
    }
    let output = output(lwp().args(["man", "nonsense"]));
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("there is no command 'nonsense'"));
}

#[test]
fn the_version_is_the_packages() {
    let output = output(lwp().arg("--version"));
    assert_status(&output, 0);
    let version = String::from_utf8(output.stdout).unwrap();
    assert!(
        version.starts_with(concat!("lwp ", env!("CARGO_PKG_VERSION"))),
        "{version}"
    );
}

#[test]
fn wrong_options_are_125_and_not_the_guests_fault() {
    let path = program("never", Code::default().exit(0));
    for wrong in [
        ["--vcpus", "0"],
        ["--vcpus", "many"],
        ["--vcpus", "-1"],
        ["--env", "=x"],
    ] {
        let output = output(lwp().arg("run").args(wrong).arg(&path));
        assert_eq!(
            output.status.code(),
            Some(125),
            "{wrong:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(wrong[0]),
            "{wrong:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn no_program_is_125() {
    let output = output(lwp().arg("run"));
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("PROGRAM"));
}

#[test]
fn what_follows_the_program_is_the_guests() {
    let path = program("argument", Code::default().write_argument(2, 7).exit(0));
    let output = output(lwp_run(&path).args(["--vcpus", "--stats", "-q"]));
    assert_status(&output, 0);
    assert_eq!(output.stdout, b"--stats");
}

#[test]
fn the_guests_name_is_as_it_was_typed() {
    let path = program("named", Code::default().write_argument(0, 7).exit(0));
    let mut command = lwp();
    command
        .args(["run", "./named"])
        .current_dir(path.parent().unwrap());
    let output = output(&mut command);
    assert_status(&output, 0);
    assert_eq!(output.stdout, b"./named");
}

#[test]
fn the_environment_is_passed_on() {
    let path = program("environment", Code::default().write_environment(9).exit(0));
    let output = output(lwp_run(&path).env_clear().env("NAME", "word"));
    assert_status(&output, 0);
    assert_eq!(output.stdout, b"NAME=word");
}

#[test]
fn env_sets_and_replaces() {
    let path = program("env", Code::default().write_environment(9).exit(0));
    for replaced in [None, Some("lost")] {
        let mut command = lwp();
        command
            .args(["run", "--env", "NAME=said"])
            .arg(&path)
            .env_clear();
        command.envs(replaced.map(|value| ("NAME", value)));
        let output = output(&mut command);
        assert_status(&output, 0);
        assert_eq!(output.stdout, b"NAME=said");
    }
}

#[test]
fn stats_count_system_calls() {
    let path = program("stats", Code::default().call(nr::GETPID, &[]).exit(3));
    let output = output(lwp().args(["run", "--stats"]).arg(path));
    assert_eq!(output.status.code(), Some(3));
    let counted: Vec<u32> = stderr(&output)
        .lines()
        .filter_map(|line| line.strip_prefix("lwp:")?.trim().split_once(' '))
        .filter(|(name, _)| ["fast", "slow"].contains(name))
        .map(|(_, number)| number.split_whitespace().next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(counted.len(), 2, "{}", stderr(&output));
    assert_eq!(counted.iter().sum::<u32>(), 2, "{}", stderr(&output));
}

#[test]
fn a_call_we_do_not_have_is_said_once_by_name() {
    let twice = Code::default()
        .call(nr::NFSSVC, &[])
        .call(nr::NFSSVC, &[])
        .exit_with_result();
    let path = program("nfssvc", twice);
    let said = output(&mut lwp_run(&path));
    assert_eq!(said.status.code(), Some(ENOSYS));
    assert_eq!(stderr(&said).lines().count(), 1, "{}", stderr(&said));
    assert!(
        stderr(&said).contains("nfssvc") && stderr(&said).contains("155"),
        "{}",
        stderr(&said)
    );
    let quiet = output(lwp().args(["run", "-q"]).arg(path));
    assert_status(&quiet, ENOSYS);
}

#[test]
fn a_number_that_netbsd_does_not_assign_is_sigsys() {
    let path = program("nobodys", Code::default().call(nr::NOBODYS, &[]).exit(0));
    let output = output(&mut lwp_run(&path));
    // SIGSYS, 12 there and 31 here.
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&output.status),
        Some(31)
    );
}

#[test]
fn a_file_that_is_there_is_refused_by_its_name_as_typed() {
    assert_refused(["--", "./not there"], 127, &["./not there: "]);
}
