//! `#!` lines.
//!
//! Sources: `exec_script.c: exec_script_makecmds`; execve(2); syscalls.md 2.

/// The longest `#!` line, its newline included (MAXINTERP).
pub(super) const MAX_LINE: usize = 1024;

/// What the first line of a script asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Path of the interpreter.
    pub interpreter: Vec<u8>,
    /// The rest of the line: one argument, if it is there.
    pub argument: Option<Vec<u8>>,
}

impl Script {
    /// Reads the beginning of a file; `None` if that is no `#!` line, or an endless one.
    pub fn parse(head: &[u8]) -> Option<Self> {
        let line = head.get(..head.len().min(MAX_LINE))?.strip_prefix(b"#!")?;
        let end = line.iter().position(|&byte| byte == b'\n' || byte == 0)?;
        let line = trim(&line[..end]);
        let word = line
            .iter()
            .position(|byte| is_blank(*byte))
            .unwrap_or(line.len());
        let (interpreter, rest) = line.split_at(word);
        if interpreter.is_empty() {
            return None;
        }
        let rest = trim(rest);
        Some(Self {
            interpreter: interpreter.to_vec(),
            argument: (!rest.is_empty()).then(|| rest.to_vec()),
        })
    }

    /// The interpreter, to be printed.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.interpreter).into_owned()
    }

    /// The interpreter's arguments: its own path, the line's, the script's path and what `argv` holds
    /// beyond its first.
    pub fn arguments(&self, path: &[u8], argv: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let line = core::iter::once(&self.interpreter)
            .chain(&self.argument)
            .cloned();
        let rest = argv.iter().skip(1).cloned();
        line.chain([path.to_vec()]).chain(rest).collect()
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trim(mut line: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = line
        && is_blank(*first)
    {
        line = rest;
    }
    while let [rest @ .., last] = line
        && is_blank(*last)
    {
        line = rest;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(head: &[u8]) -> Option<(String, Option<String>)> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Script::parse(head).map(|script| (text(script.interpreter), script.argument.map(text)))
    }

    #[test]
    fn the_rest_of_the_line_is_one_argument() {
        assert_eq!(parsed(b"#!/bin/sh\necho"), Some(("/bin/sh".into(), None)));
        let env = Some(("/usr/bin/env".into(), Some("-S sh -e".into())));
        assert_eq!(parsed(b"#! \t/usr/bin/env  -S sh -e \n"), env);
    }

    #[test]
    fn what_is_no_line_is_no_script() {
        for head in [&b""[..], b"#", b"#!", b"#!/bin/sh", b"#!  \n", b"/bin/sh\n"] {
            assert_eq!(parsed(head), None, "{head:?}");
        }
        assert_eq!(
            Script::parse(&[b"#!".as_slice(), &[b'x'; MAX_LINE], b"\n"].concat()),
            None
        );
    }

    #[test]
    fn the_script_takes_the_place_of_the_first_argument() {
        let script = Script::parse(b"#!/bin/sh -e\n").unwrap();
        let argv = [b"x".to_vec(), b"y".to_vec()];
        let whole: [&[u8]; 4] = [b"/bin/sh", b"-e", b"./s", b"y"];
        assert_eq!(script.arguments(b"./s", &argv), whole);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(head: Vec<u8>) {
            let _ = Script::parse(&[b"#!".as_slice(), &head].concat());
        }
    }
}
