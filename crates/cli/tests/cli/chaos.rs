//! `lwp run --chaos` and `lwp replay`: what a seed decides, and that it does so again.

use crate::elf::{Code, Elf, Value, data, data_at, nr};
use crate::run::{assert_refused, assert_status, file, guest, lwp, output, program, stderr};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The exit status of a replay that hangs.
const HANG: i32 = 124;

/// `lwp run --chaos SEED --virtual-time --stats`.
fn chaos(seed: u32) -> Command {
    let mut command = lwp();
    command.args(["run", "--quiet", "--virtual-time", "--stats", "--chaos"]);
    command.arg(seed.to_string());
    command
}

/// A planted bug's twin.
fn twin(command: &mut Command, name: &str) -> Output {
    output(command.arg(guest("bugs")).args([name, "fixed"]))
}

/// The line of `--stats` with the hash.
#[track_caller]
fn hash(output: &Output) -> String {
    let mut lines = stderr(output).lines();
    let line = lines.find(|line| line.starts_with("lwp: event hash:"));
    line.unwrap_or_else(|| panic!("no hash: {output:?}"))
        .to_owned()
}

fn replay(schedule: &Path) -> Output {
    output(lwp().args(["replay", "--stats"]).arg(schedule))
}

fn is_another(output: &Output) -> bool {
    stderr(output).contains("the program did not do what it did when this was recorded")
}

/// A program that makes many system calls, and nothing else.
fn calls() -> Code {
    (0..40).fold(Code::default(), |code, _| code.call(nr::GETPID, &[]))
}

/// A file that is not there yet.
fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn a_seed_has_one_vcpu_and_what_is_about_seeds_needs_one() {
    assert_refused(["--chaos", "1", "--vcpus", "2", "x"], 125, &["--vcpus"]);
    assert_refused(["--virtual-time", "x"], 125, &["--chaos"]);
    assert_refused(["--record", "f", "x"], 125, &["--chaos"]);
    assert_refused(["--chaos", "one", "x"], 125, &["one"]);
    let policy = ["--chaos", "1", "--policy", "mad", "x"];
    assert_refused(policy, 125, &["mad", "fair", "steps"]);
    let perturb = ["--chaos", "1", "--perturb", "park,mad", "x"];
    assert_refused(perturb, 125, &["mad", "signal"]);
}

#[test]
fn a_seed_is_one_run_and_another_is_another() {
    let hashes = [1, 1, 2].map(|seed| hash(&twin(&mut chaos(seed), "lost-wakeup")));
    assert_eq!(hashes[0], hashes[1]);
    assert_ne!(hashes[0], hashes[2]);
}

#[test]
fn a_record_is_replayed() {
    for seed in 1..=20 {
        let schedule = place(&format!("recorded-{seed}.schedule"));
        let mut command = chaos(seed);
        let recorded = twin(command.arg("--record").arg(&schedule), "counter");
        let again = replay(&schedule);
        assert_eq!(hash(&recorded), hash(&again), "seed {seed}");
        assert!(!is_another(&again), "{again:?}");
    }
}

#[test]
fn switches_to_which_nobody_was_there_are_replayed_too() {
    let guest = program("chaos-alone", calls().exit(0));
    for seed in 1..=20 {
        let schedule = place(&format!("alone-{seed}.schedule"));
        let mut command = chaos(seed);
        command.args(["--policy", "steps:4", "--record"]);
        let recorded = output(command.arg(&schedule).arg(&guest));
        let again = replay(&schedule);
        assert_eq!(hash(&recorded), hash(&again), "seed {seed}");
        assert!(!is_another(&again), "{again:?}");
    }
}

#[test]
fn a_replay_says_that_the_program_is_another_one() {
    let guest = program("chaos-changes", Code::default().exit(3));
    let schedule = place("changes.schedule");
    output(chaos(1).arg("--record").arg(&schedule).arg(&guest));
    program("chaos-changes", calls().exit(4));
    let again = replay(&schedule);
    assert_eq!(again.status.code(), Some(4));
    assert!(is_another(&again), "{again:?}");
}

#[test]
fn a_replay_sets_the_variables_that_were_set() {
    let mut command = chaos(1);
    command.env_clear().args(["--env", "SEEN=1", "--record"]);
    let schedule = place("variable.schedule");
    let guest = program(
        "chaos-variable",
        Code::default().write_environment(6).exit(0),
    );
    assert_eq!(output(command.arg(&schedule).arg(&guest)).stdout, b"SEEN=1");
    let mut command = lwp();
    let again = command.env_clear().arg("replay").arg(&schedule);
    assert_eq!(output(again).stdout, b"SEEN=1");
}

/// A program that calls `number` with the address of a time of so many seconds.
fn with_seconds(name: &str, number: u32, seconds: [u8; 16]) -> PathBuf {
    let elf = Elf {
        data: Box::leak(Box::new(seconds)),
        ..Elf::netbsd(
            Code::default()
                .call(number, &[data(), Value::Is(0)])
                .exit_with_result(),
        )
    };
    file(name, &elf.bytes(), 0o755)
}

#[test]
fn hours_of_sleep_pass_at_once() {
    // 65,536 seconds, 18 hours: more than a test may take.
    let mut time = [0; 16];
    time[2] = 1;
    let guest = with_seconds("chaos-sleeps", nr::NANOSLEEP50, time);
    assert_eq!(output(chaos(1).arg(guest)).status.code(), Some(0));
}

#[test]
fn a_loop_that_waits_for_the_clock_ends() {
    let done = output(chaos(1).arg(guest("faults")).arg("convoy"));
    assert_eq!(done.status.code(), Some(0), "{done:?}");
}

#[test]
fn the_time_stamp_counter_grows_wherever_it_is_read() {
    let guest = program("chaos-counter", calls().counter_grows().exit_with_result());
    for seed in 1..=20 {
        let mut command = chaos(seed);
        command.args(["--policy", "steps:4"]);
        assert_eq!(output(command.arg(&guest)).status.code(), Some(1), "{seed}");
    }
}

#[test]
fn who_computes_for_long_makes_way() {
    let schedule = place("computes.schedule");
    // One LWP computes until the other has run. In the end there is a deadlock, which a hunt ends.
    let mut command = lwp();
    command.args(["hunt", "--json", "--policy", "fair", "--output"]);
    let command = command.arg(schedule).arg(guest("faults")).arg("lost");
    let found = output(command);
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    let told = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(told.contains("every LWP waits for another"), "{told}");
}

#[test]
fn children_and_programs_that_are_executed_have_seeds_too() {
    let any = Value::Is(u32::MAX);
    let null = Value::Is(0);
    let forks = Code::default()
        .call(nr::FORK, &[])
        .call(nr::WAIT450, &[any, null, null]);
    let guest = program("chaos-forks", forks.exit(5));
    for seed in 1..=5 {
        assert_eq!(output(chaos(seed).arg(&guest)).status.code(), Some(5));
    }
}

#[test]
fn a_program_that_another_executes_goes_on_with_the_seed() {
    program("c-last", calls().exit(7));
    // The path, then the vector of arguments: the path, and NULL. No environment.
    let args = [data(), data_at(8), Value::Is(0)];
    let elf = Elf {
        data: b"c-last\0\0\x00\x08\x40\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ..Elf::netbsd(Code::default().call(nr::EXECVE, &args).exit_with_result())
    };
    let guest = file("chaos-executes", &elf.bytes(), 0o755);
    let schedule = place("executes.schedule");
    let run = |command: &mut Command| output(command.arg(&guest).current_dir(place("")));
    let (first, second) = (run(&mut chaos(3)), run(&mut chaos(3)));
    assert_eq!(first.status.code(), Some(7), "{first:?}");
    assert_eq!(hash(&first), hash(&second));
    let recorded = run(chaos(3).arg("--record").arg(&schedule));
    assert_eq!(recorded.status.code(), Some(7), "{recorded:?}");
    assert_eq!(hash(&recorded), hash(&first));
    // Of the first program.
    let again = output(lwp().arg("replay").arg(&schedule).current_dir(place("")));
    assert_eq!(again.status.code(), Some(7), "{again:?}");
    assert!(!is_another(&again), "{again:?}");
}

#[test]
fn a_switch_for_which_there_was_only_the_clock_is_told() {
    let empty = Code::default();
    let guest = program(
        "chaos-long",
        Code::default().repeat(200_000_000, &empty).exit(0),
    );
    let done = output(chaos(1).arg(guest));
    assert!(stderr(&done).contains("lwp: by the clock"), "{done:?}");
}

/// Checks that a schedule's file is refused in one line.
#[track_caller]
fn assert_no_schedule(name: &str, bytes: &[u8]) {
    let refused = replay(&file(name, bytes, 0o644));
    assert_eq!(refused.status.code(), Some(125), "{refused:?}");
    assert_eq!(stderr(&refused).lines().count(), 1, "{refused:?}");
    assert!(refused.stdout.is_empty());
}

#[test]
fn what_is_no_schedule_is_refused_in_one_line() {
    for (name, text) in [
        ("empty.schedule", ""),
        ("first-line.schedule", "lwp-schedule 2\n"),
        ("no-program.schedule", "lwp-schedule 1\nseed 1\n"),
        ("entry.schedule", "lwp-schedule 1\nspeed 1\n"),
        (
            "seed.schedule",
            "lwp-schedule 1\nseed 99999999999999999999\n",
        ),
        ("hash.schedule", "lwp-schedule 1\nhash xyz\n"),
        ("policy.schedule", "lwp-schedule 1\npolicy pct:4294967296\n"),
        ("perturb.schedule", "lwp-schedule 1\nperturb x\n"),
        ("escape.schedule", "lwp-schedule 1\nprogram \\x4\n"),
        ("decide.schedule", "lwp-schedule 1\ndecide 0 call 1\n"),
        (
            "huge.schedule",
            "lwp-schedule 1\ndecide 0 call 4294967296 to 1\n",
        ),
        (
            "point.schedule",
            "lwp-schedule 1\ndecide 0 nowhere 1 to 1\n",
        ),
    ] {
        assert_no_schedule(name, text.as_bytes());
    }
    assert_no_schedule("binary.schedule", b"\x7fELF\0\xff\xfe\n\n");
    let gone = output(lwp().args(["replay", "/nowhere/x.schedule"]));
    assert_eq!(stderr(&gone).lines().count(), 1, "{gone:?}");
    assert_ne!(gone.status.code(), Some(0));
}

#[test]
fn decisions_of_which_nothing_comes_are_left_out() {
    let guest = program("chaos-decisions", calls().exit(6));
    let text = format!(
        "lwp-schedule 1\nseed 18446744073709551615\npolicy steps:4294967295\nprogram {}\n\
         decide 4294967295 call 4294967295 to 4294967295\n\
         decide 0 call 3 to 4294967295\n\
         decide 0 return 3 to 0\n\
         decide 0 pick 0 to 77\n\
         decide 0 user 5 steps 0 hits 0 to 9\n\
         decide 0 user 6 steps 4294967295 hits 4294967295 to 9\n\
         decide 0 park 0 by 4294967295\n\
         decide 0 start 0 by 4294967295\n\
         decide 0 signal 0 by 4294967295\n",
        guest.display()
    );
    let done = replay(&file("decisions.schedule", text.as_bytes(), 0o644));
    assert_eq!(done.status.code(), Some(6), "{done:?}");
    assert!(!stderr(&done).contains("panicked"), "{done:?}");
}

#[test]
fn every_beginning_of_a_schedule_is_one_or_is_refused() {
    let guest = program("chaos-cut", Code::default().exit(0));
    let schedule = place("whole.schedule");
    output(chaos(1).arg("--record").arg(&schedule).arg(&guest));
    let whole = fs::read(schedule).unwrap();
    for len in (0..whole.len()).step_by(7) {
        let done = replay(&file("cut.schedule", &whole[..len], 0o644));
        let said = stderr(&done);
        assert!(!said.contains("panicked"), "{len} bytes: {said}");
        // The cut name of a program is another program, which is not there.
        let status = done.status.code();
        assert!(
            matches!(status, Some(0 | 125..=127)),
            "{len} bytes: {done:?}"
        );
    }
}

#[test]
fn the_replay_of_a_hang_ends_and_names_the_lwps() {
    let schedule = place("hang.schedule");
    let mut command = lwp();
    command.args(["hunt", "--output"]).arg(&schedule);
    let found = output(command.arg(guest("bugs")).arg("abba"));
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    let again = output(lwp().arg("replay").arg(&schedule));
    assert_status_of_hang(&again);
}

#[track_caller]
fn assert_status_of_hang(again: &Output) {
    let said = stderr(again);
    assert_eq!(again.status.code(), Some(HANG), "{said}");
    assert!(said.contains("lwp: the program hangs"), "{said}");
    let parked = |line: &&str| line.contains("  LWP ") && line.contains("parked for");
    assert!(said.lines().filter(parked).count() >= 2, "{said}");
    assert!(!is_another(again), "{said}");
}

#[test]
fn an_exit_status_is_the_program_s_under_a_seed_too() {
    let guest = program("chaos-status", Code::default().exit(9));
    let mut command = lwp();
    assert_status(&output(command.args(["run", "--chaos", "1"]).arg(guest)), 9);
}
