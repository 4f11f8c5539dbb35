//! Which test sees which error: a table that has to be complete.
//!
//! `tests/data/lwp_errors.tsv` says which errors there are. Each row needs a test here, and a name
//! without a test does not compile.

use crate::{
    create, detach, kill, lwpctl, names, old_parks, park, private, suspend, unpark, wait, wakeup,
};

/// The errors there are.
const SPEC: &str = include_str!("../data/lwp_errors.tsv");
/// Where the tests are.
const SOURCES: &[&str] = &[
    include_str!("create.rs"),
    include_str!("detach.rs"),
    include_str!("kill.rs"),
    include_str!("lwpctl.rs"),
    include_str!("names.rs"),
    include_str!("old_parks.rs"),
    include_str!("park.rs"),
    include_str!("private.rs"),
    include_str!("suspend.rs"),
    include_str!("unpark.rs"),
    include_str!("wait.rs"),
    include_str!("wakeup.rs"),
];

struct Seen {
    row: [&'static str; 3],
    test: &'static str,
}

macro_rules! errors {
    ($($call:literal, $errno:literal, $when:literal => $module:ident :: $test:ident;)*) => {
        &[$({
            const _: fn() = $module::$test;
            Seen { row: [$call, $errno, $when], test: stringify!($test) }
        }),*]
    };
}

const ERRORS: &[Seen] = errors! {
    "_lwp_create", "EFAULT", "the context cannot be read" => create::an_unreadable_context_is_efault;
    "_lwp_create", "EINVAL", "the context has no registers" => create::a_context_without_registers_is_einval;
    "_lwp_create", "EINVAL", "the registers are not acceptable" => create::registers_that_user_mode_may_not_have_are_einval;
    "_lwp_create", "EAGAIN", "too many LWPs" => create::one_lwp_more_than_the_limit_is_eagain;
    "_lwp_create", "EFAULT", "the id cannot be stored" => create::an_unwritable_place_for_the_id_is_efault_and_leaves_a_corpse;
    "_lwp_setprivate", "EINVAL", "not a user address" => private::a_pointer_outside_user_space_is_einval_and_kept_all_the_same;
    "_lwp_suspend", "ESRCH", "no such live LWP" => suspend::an_unknown_id_or_a_zombie_is_esrch_in_both;
    "_lwp_suspend", "ESRCH", "the target exits meanwhile" => suspend::a_target_that_exits_meanwhile_is_esrch;
    "_lwp_suspend", "EDEADLK", "the caller, and nobody else runs" => suspend::suspending_oneself_with_nobody_else_running_is_edeadlk;
    "_lwp_continue", "ESRCH", "no such live LWP" => suspend::an_unknown_id_or_a_zombie_is_esrch_in_both;
    "_lwp_wakeup", "ESRCH", "no such live LWP" => wakeup::an_unknown_id_or_a_zombie_is_esrch;
    "_lwp_wakeup", "ENODEV", "not asleep" => wakeup::an_lwp_that_does_not_sleep_is_enodev_but_marked;
    "_lwp_wakeup", "EBUSY", "asleep uninterruptibly" => wakeup::an_uninterruptible_sleep_is_ebusy_but_marked;
    "_lwp_wait", "ESRCH", "no such LWP" => wait::an_unknown_id_is_esrch;
    "_lwp_wait", "ESRCH", "any, and nobody is left to wait for" => wait::waiting_for_any_alone_is_esrch;
    "_lwp_wait", "ESRCH", "another waiter was faster" => wait::of_two_waiters_one_reaps_and_the_other_gets_esrch;
    "_lwp_wait", "EINVAL", "the target is detached" => wait::a_live_detached_lwp_is_einval_and_a_dead_one_esrch;
    "_lwp_wait", "EINVAL", "the target becomes detached" => wait::a_target_that_becomes_detached_is_einval;
    "_lwp_wait", "EDEADLK", "the target is the caller" => wait::waiting_for_oneself_is_edeadlk_or_einval_when_detached;
    "_lwp_wait", "EDEADLK", "the target waits for the caller" => wait::waiting_for_ones_waiter_is_edeadlk;
    "_lwp_wait", "EDEADLK", "all LWPs wait" => wait::the_one_that_completes_the_set_of_waiters_gets_edeadlk;
    "_lwp_wait", "EINTR", "a signal without SA_RESTART" => wait::a_handler_without_restart_ends_the_wait_with_eintr;
    "_lwp_wait", "EINTR", "_lwp_wakeup" => wait::a_wakeup_ends_the_wait_with_eintr;
    "_lwp_wait", "EFAULT", "the id cannot be stored" => wait::a_bad_departed_is_efault_with_the_lwp_reaped;
    "_lwp_kill", "EINVAL", "no such signal" => kill::no_signal_number_is_einval_before_esrch;
    "_lwp_kill", "ESRCH", "no such live LWP" => kill::an_unknown_id_or_a_zombie_is_esrch;
    "_lwp_detach", "ESRCH", "no such LWP" => detach::an_unknown_id_is_esrch;
    "_lwp_detach", "EINVAL", "detached already" => detach::a_live_lwp_is_detached_once_and_then_einval;
    "___lwp_park60", "EFAULT", "the time cannot be read" => park::an_unreadable_time_is_efault_and_nobody_is_unparked;
    "___lwp_park60", "ESRCH", "the LWP to unpark is not there" => park::unparking_nobody_is_esrch_without_parking;
    "___lwp_park60", "EINVAL", "nanoseconds out of range" => park::bad_nanoseconds_are_einval_and_leave_the_token;
    "___lwp_park60", "EINVAL", "no such clock" => park::an_unknown_clock_is_einval_if_there_is_a_time;
    "___lwp_park60", "ESRCH", "the clock of an unknown LWP" => park::the_cpu_clock_of_an_unknown_lwp_is_esrch;
    "___lwp_park60", "EINVAL", "an absolute time too far away" => park::an_absolute_time_too_far_away_is_einval;
    "___lwp_park60", "ETIMEDOUT", "the time is over" => park::a_time_that_is_over_is_etimedout_and_leaves_the_token;
    "___lwp_park60", "ETIMEDOUT", "the timer" => park::the_timer_ends_it_with_etimedout_never_early;
    "___lwp_park60", "EALREADY", "an unpark was pending" => park::one_early_unpark_is_kept_and_not_two;
    "___lwp_park60", "EINTR", "a signal" => park::a_handler_ends_it_with_eintr_restart_or_not;
    "___lwp_park60", "EINTR", "_lwp_wakeup" => park::a_wakeup_ends_it_with_eintr;
    "___lwp_park50", "EFAULT", "the time cannot be read" => old_parks::an_unreadable_time_is_efault;
    "___lwp_park50", "ESRCH", "the LWP to unpark is not there" => old_parks::unparking_nobody_is_esrch;
    "___lwp_park50", "EINVAL", "nanoseconds out of range" => old_parks::bad_nanoseconds_are_einval;
    "___lwp_park50", "ETIMEDOUT", "the deadline" => old_parks::the_deadline_is_etimedout_and_stays_as_it_is;
    "___lwp_park50", "EALREADY", "an unpark was pending" => old_parks::a_pending_unpark_is_ealready;
    "___lwp_park50", "EINTR", "a signal" => old_parks::a_signal_is_eintr;
    "_lwp_park", "EFAULT", "the time cannot be read" => old_parks::an_unreadable_time_is_efault;
    "_lwp_park", "ESRCH", "the LWP to unpark is not there" => old_parks::unparking_nobody_is_esrch;
    "_lwp_park", "EINVAL", "nanoseconds out of range" => old_parks::bad_nanoseconds_are_einval;
    "_lwp_park", "ETIMEDOUT", "the deadline" => old_parks::the_deadline_is_etimedout_and_stays_as_it_is;
    "_lwp_park", "EALREADY", "an unpark was pending" => old_parks::a_pending_unpark_is_ealready;
    "_lwp_park", "EINTR", "a signal" => old_parks::a_signal_is_eintr;
    "_lwp_unpark", "ESRCH", "no such LWP" => unpark::an_unknown_id_is_esrch;
    "_lwp_unpark", "ESRCH", "a zombie" => unpark::a_zombie_is_esrch;
    "_lwp_unpark_all", "EINVAL", "no targets, or too many" => unpark::none_or_too_many_are_einval_before_the_list_is_read;
    "_lwp_unpark_all", "EFAULT", "the list cannot be read" => unpark::an_unreadable_list_is_efault_and_wakes_nobody;
    "_lwp_unpark_all", "ESRCH", "one of them is not there" => unpark::an_unknown_id_among_others_is_esrch_and_the_others_wake;
    "_lwp_setname", "EFAULT", "the name cannot be read" => names::setname_of_a_bad_address_is_efault_before_esrch;
    "_lwp_setname", "ESRCH", "no such live LWP" => names::setname_of_nobody_or_a_zombie_is_esrch;
    "_lwp_getname", "ESRCH", "no such live LWP" => names::getname_of_nobody_is_esrch_before_efault;
    "_lwp_getname", "ENAMETOOLONG", "the NUL does not fit" => names::getname_without_room_is_enametoolong_and_stores_what_fits;
    "_lwp_getname", "EFAULT", "the name cannot be stored" => names::getname_to_a_bad_address_is_efault;
    "_lwp_ctl", "ENODEV", "unknown features" => lwpctl::unknown_features_are_enodev_even_with_a_block;
    "_lwp_ctl", "EBUSY", "a vfork child whose parent waits" => lwpctl::a_vfork_child_is_ebusy;
    "_lwp_ctl", "ENOMEM", "no memory for the block" => lwpctl::no_memory_is_enomem;
    "_lwp_ctl", "EFAULT", "the address cannot be stored" => lwpctl::a_bad_address_is_efault_and_the_block_stays;
};

#[test]
fn every_error_has_a_test_that_sees_it() {
    let rows = SPEC
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let expected: Vec<Vec<&str>> = rows.map(|row| row.split('\t').collect()).collect();
    let found: Vec<Vec<&str>> = ERRORS.iter().map(|seen| seen.row.to_vec()).collect();
    assert_eq!(found, expected);
    for Seen { test, .. } in ERRORS {
        let as_test = format!("#[test]\npub(crate) fn {test}()");
        assert!(
            SOURCES.iter().any(|source| source.contains(&as_test)),
            "{test} is not run"
        );
    }
}
