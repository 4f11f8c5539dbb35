//! `lwp bench` works, with few repetitions: no time is asserted, a machine may be as slow as it likes.

use crate::run::{file, lwp};
use std::fs;

/// What every object says.
const FIELDS: [&str; 6] = ["row", "ours_ns", "peer", "peer_ns", "ratio", "goal"];

/// `lwp bench` in a hurry, on rows whose names hold `pattern`.
fn bench(pattern: &str, options: &[&str]) -> (String, Option<i32>) {
    let done = lwp()
        .args(["bench", "--rounds=1", "--effort=1", "--rows", pattern])
        .args(options)
        .output()
        .unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    (text, done.status.code())
}

#[test]
fn its_json_is_an_array_of_objects_with_the_fields() {
    // Programs, LWPs, threads, and a row that counts bytes.
    for pattern in ["null call", "mutex", "static hello", "parked LWPs"] {
        let (text, status) = bench(pattern, &["--json"]);
        assert_eq!(status, Some(0), "{pattern}");
        let objects = json::array_of_objects(&text).expect(&text);
        assert!(!objects.is_empty(), "{pattern}");
        for object in objects {
            for field in FIELDS {
                assert!(object.iter().any(|name| name == field), "{field}: {text}");
            }
        }
        // Against its first peer, that is: a thread's memory is not measured.
        let first = text.lines().find(|line| line.contains("\"ratio\": "));
        assert!(
            first.is_some_and(|line| !line.contains("\"ratio\": null")),
            "{text}"
        );
    }
}

#[test]
fn a_row_is_in_the_table_and_in_the_picture() {
    let svg = file("bench.svg", b"", 0o644);
    let (text, status) = bench("null call", &["--svg", svg.to_str().unwrap()]);
    assert_eq!(status, Some(0));
    assert!(text.contains("null call: _lwp_self"), "{text}");
    let picture = fs::read_to_string(svg).unwrap();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    assert!(picture.contains("null call: _lwp_self"));
}

#[test]
fn a_pattern_that_fits_nothing_is_an_error() {
    let (text, status) = bench("no such row", &[]);
    assert_eq!((text.as_str(), status), ("", Some(125)));
}

/// Just enough of JSON to say whether a text is well formed.
mod json {
    /// The names of the fields of each object; `None` if it is no array of objects.
    pub(super) fn array_of_objects(text: &str) -> Option<Vec<Vec<String>>> {
        let mut rest = text.trim().strip_prefix('[')?.trim_start();
        let mut objects = Vec::new();
        loop {
            let (names, after) = object(rest)?;
            objects.push(names);
            rest = match after.trim_start().strip_prefix(',') {
                Some(more) => more.trim_start(),
                None => break (after.trim_start() == "]").then_some(objects),
            };
        }
    }

    fn object(text: &str) -> Option<(Vec<String>, &str)> {
        let mut rest = text.strip_prefix('{')?;
        let mut names = Vec::new();
        loop {
            let (name, after) = string(rest.trim_start())?;
            names.push(name);
            rest = value(after.strip_prefix(':')?.trim_start())?.trim_start();
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => return Some((names, rest.strip_prefix('}')?)),
            }
        }
    }

    /// What follows a string, a number, true, false, null, or an array of those.
    fn value(text: &str) -> Option<&str> {
        if text.starts_with('"') {
            return string(text).map(|(_, rest)| rest);
        }
        if let Some(mut rest) = text.strip_prefix('[') {
            loop {
                rest = value(rest.trim_start())?.trim_start();
                match rest.strip_prefix(',') {
                    Some(more) => rest = more,
                    None => return rest.strip_prefix(']'),
                }
            }
        }
        let end = text.find([',', '}', ']'])?;
        let word = text[..end].trim_end();
        let is_word = ["true", "false", "null"].contains(&word) || word.parse::<f64>().is_ok();
        is_word.then_some(&text[end..])
    }

    fn string(text: &str) -> Option<(String, &str)> {
        let mut letters = text.strip_prefix('"')?.char_indices();
        let mut value = String::new();
        loop {
            match letters.next()? {
                (end, '"') => return Some((value, &text[end + 2..])),
                (_, '\\') => value.extend(letters.next().map(|(_, letter)| letter)),
                (_, control) if control < ' ' => return None,
                (_, letter) => value.push(letter),
            }
        }
    }

    #[test]
    fn what_is_not_json_is_told_from_what_is() {
        let good = r#"[{"a \"b": 1.5, "c": [1, null]}, {"d": "e"}]"#;
        let names = array_of_objects(good).unwrap();
        assert_eq!(names, [vec!["a \"b", "c"], vec!["d"]]);
        for bad in [
            "",
            "[]]",
            "[{\"a\": }]",
            "[{\"a\" 1}]",
            "[{\"a\": nan,}]",
            "[{\"a\": 1}",
        ] {
            assert_eq!(array_of_objects(bad), None, "{bad}");
        }
    }
}
