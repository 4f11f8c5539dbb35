//! System call numbers and names.

use crate::{number, rows};
use lwp_abi::nr;

const TABLE: &str = include_str!("data/syscalls.tsv");

#[test]
fn every_slot_has_the_name_of_the_kernels_table() {
    let mut names = [None; nr::SYS_NSYSENT as usize];
    for row in rows(TABLE) {
        let at = usize::try_from(number(row["number"]).unwrap()).unwrap();
        names[at] = Some(row["name"]);
    }
    assert_eq!(names.iter().flatten().count(), 475);
    for (at, name) in names.iter().enumerate() {
        assert_eq!(nr::NAMES[at], *name, "{at}");
    }
}

#[test]
fn numbers_beyond_the_table_have_no_name() {
    assert_eq!(nr::name(nr::SYS_NSYSENT), None);
    assert_eq!(nr::name(u16::MAX), None);
    assert_eq!(nr::name(nr::SYS_LWP_PARK60), Some("___lwp_park60"));
}

#[test]
fn constants_follow_the_rule_for_names() {
    assert_eq!((nr::SYS_SYSCALL, nr::SYS___SYSCALL), (0, 198));
    assert_eq!(
        (nr::SYS_EXIT, nr::SYS_LWP_CREATE, nr::SYS_LWP_SELF),
        (1, 309, 311)
    );
    assert_eq!(
        (nr::SYS_COMPAT_60__LWP_PARK, nr::SYS_LWP_PARK60),
        (434, 478)
    );
    assert_eq!((nr::SYS_KEVENT50, nr::SYS_KEVENT100), (435, 501));
}
