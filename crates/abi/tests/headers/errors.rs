//! Errors, in both directions.

use crate::{number, rows};
use lwp_abi::Errno;

const TABLE: &str = include_str!("data/errno.tsv");

fn find(name: &str) -> Option<Errno> {
    (1..=Errno::ELAST.raw())
        .filter_map(Errno::from_raw)
        .find(|errno| errno.name() == name)
}

fn value(text: &str) -> Option<i32> {
    number(text).map(|n| i32::try_from(n).expect(text))
}

#[test]
fn every_error_has_netbsds_number_and_goes_both_ways() {
    let mut seen = 0;
    for row in rows(TABLE) {
        let (name, linux) = (row["netbsd_name"], value(row["linux_number"]));
        let raw = value(row["netbsd_number"]);
        let way = row["direction"];
        if way == "none" {
            assert!(name == "ELAST" || raw < Some(0), "{name}");
            continue;
        }
        let errno = match name {
            "EWOULDBLOCK" => Errno::EWOULDBLOCK,
            _ => find(name).unwrap_or_else(|| panic!("{name} is not there")),
        };
        assert_eq!(Some(errno.raw()), raw, "{name}");
        match (way, linux) {
            ("nb-only", None) => assert_eq!(errno.to_linux(), None, "{name}"),
            ("nb>lx", Some(_)) => assert_eq!(errno.to_linux(), linux, "{name}"),
            ("lx>nb", Some(linux)) => assert_eq!(Errno::from_linux(linux), errno, "{linux}"),
            ("lx>nb", None) => assert_eq!(errno, Errno::EINVAL, "the fallback"),
            ("both" | "alias", Some(number)) => {
                assert_eq!(errno.to_linux(), linux, "{name}");
                assert_eq!(Errno::from_linux(number), errno, "{name}");
            }
            odd => panic!("{name}: {odd:?}"),
        }
        seen += i32::from(way != "lx>nb" && way != "alias");
    }
    assert_eq!(seen, Errno::ELAST.raw());
}

#[test]
fn unknown_host_errors_become_einval() {
    for linux in [i32::MIN, -1, 0, 41, 58, 134, 511, 525, i32::MAX] {
        assert_eq!(Errno::from_linux(linux), Errno::EINVAL, "{linux}");
    }
}

#[test]
fn numbers_that_are_no_errors_have_no_name() {
    for raw in [i32::MIN, -3, 0, 99, i32::MAX] {
        assert_eq!(Errno::from_raw(raw), None, "{raw}");
    }
}
