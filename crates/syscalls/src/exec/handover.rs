//! What survives when a NetBSD program executes another: the runner executes itself, in the same host
//! process, and finds here what the host does not keep for it.
//!
//! The host's own argument vector is the guest's, so that ps(1) shows it, but the guest's are taken from
//! here, exact to the byte. The record lies in a sealed memory file; the environment variable
//! [`VARIABLE`], which no guest ever sees, holds its descriptor.
//!
//! # Format
//! [`MAGIC`], then the fields of [`Handover`] in order: numbers as 64 bits, strings as length and bytes,
//! rows as count and strings. Written and read by the same executable, so it has no version.
//!
//! Sources: execve(2); lwp.md 7.1; design section 9, "exec".

use super::stack::Arguments;
use crate::OfRunner;
use crate::host::Host;
use lwp_abi::resource::{RLIM_NLIMITS, Rlimit};
use lwp_abi::signal::{SigSet, Signo};
use rustix::fs::{MemfdFlags, SealFlags};
use std::env;
use std::os::fd::OwnedFd;

/// Holds the descriptor of the record.
pub const VARIABLE: &str = "LWP_EXEC";
const MAGIC: &[u8; 8] = b"lwp exec";
/// Larger records are none of ours.
const MAX: u64 = 4 << 20;
/// Nobody has changed the record since it was written.
const SEALS: SealFlags = SealFlags::SEAL
    .union(SealFlags::SHRINK)
    .union(SealFlags::GROW)
    .union(SealFlags::WRITE);

/// What a new image takes over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handover {
    /// What the program is told.
    pub arguments: Arguments,
    /// The program, open; the host's number, to be closed.
    pub program: i32,
    /// The id of the LWP that called execve(2), the only one left.
    pub lid: i32,
    /// Its signal mask.
    pub mask: SigSet,
    /// Ignored signals.
    pub ignored: SigSet,
    /// Signals pending on the process.
    pub pending: SigSet,
    /// Signals pending on the LWP.
    pub lwp_pending: SigSet,
    /// Limits, as `sys_resource` keeps them.
    pub limits: [Rlimit; RLIM_NLIMITS],
    /// `RLIMIT_NTHR`, which the kernel keeps.
    pub nthr: Rlimit,
    /// Interval timers by number: interval and remaining time, in nanoseconds.
    pub itimers: [(u64, u64); 4],
    /// What the user asked of the runner.
    pub of_runner: OfRunner,
}

impl Handover {
    /// Puts the record where the next image finds it. The descriptor is inherited.
    ///
    /// # Errors
    /// The host's.
    pub(crate) fn store(&self) -> rustix::io::Result<OwnedFd> {
        let file = rustix::fs::memfd_create("lwp-exec", MemfdFlags::ALLOW_SEALING)?;
        let bytes = self.encode();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            rest = &rest[rustix::io::write(&file, rest)?..];
        }
        rustix::fs::fcntl_add_seals(&file, SEALS)?;
        Ok(file)
    }

    /// The record that the image before has left for this one, if there is one.
    pub fn receive(host: &dyn Host) -> Option<Self> {
        let number = env::var(VARIABLE).ok()?.parse().ok()?;
        let file = host.fd(number).ok()?;
        if !rustix::fs::fcntl_get_seals(file).ok()?.contains(SEALS) {
            return None;
        }
        let len = u64::try_from(rustix::fs::fstat(file).ok()?.st_size).ok()?;
        let mut bytes = vec![0; usize::try_from(len.min(MAX)).ok()?];
        let read = rustix::io::pread(file, &mut bytes, 0).ok()?;
        let found = Self::decode(bytes.get(..read)?)?;
        // It was open a moment ago.
        let _ = host.close(number);
        Some(found)
    }

    fn encode(&self) -> Vec<u8> {
        let mut w = Writer(MAGIC.to_vec());
        w.row(&self.arguments.argv);
        w.row(&self.arguments.envp);
        w.string(&self.arguments.execname);
        w.int(self.program);
        w.int(self.lid);
        for set in [self.mask, self.ignored, self.pending, self.lwp_pending] {
            w.word(bits(set));
        }
        for limit in self.limits.iter().chain([&self.nthr]) {
            w.word(limit.rlim_cur);
            w.word(limit.rlim_max);
        }
        for (interval, value) in self.itimers {
            w.word(interval);
            w.word(value);
        }
        w.row(&self.of_runner.words);
        w.word(self.of_runner.is_child.into());
        w.ints(&self.of_runner.pids);
        w.0
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader(bytes.strip_prefix(MAGIC)?);
        let arguments = Arguments {
            argv: r.row()?,
            envp: r.row()?,
            execname: r.string()?,
        };
        let mut found = Self {
            arguments,
            program: r.int()?,
            lid: r.int()?,
            ..Self::default()
        };
        found.mask = set(r.word()?);
        found.ignored = set(r.word()?);
        found.pending = set(r.word()?);
        found.lwp_pending = set(r.word()?);
        for limit in found.limits.iter_mut().chain([&mut found.nthr]) {
            *limit = Rlimit {
                rlim_cur: r.word()?,
                rlim_max: r.word()?,
            };
        }
        for itimer in &mut found.itimers {
            *itimer = (r.word()?, r.word()?);
        }
        found.of_runner = OfRunner {
            words: r.row()?,
            is_child: r.word()? != 0,
            pids: r.ints()?,
        };
        r.0.is_empty().then_some(found)
    }
}

/// A set as one word: signal n is bit n - 1.
fn bits(set: SigSet) -> u64 {
    set.iter()
        .fold(0, |bits, signo| bits | 1 << (signo.raw() - 1))
}

fn set(bits: u64) -> SigSet {
    Signo::all()
        .filter(|signo| bits & 1 << (signo.raw() - 1) != 0)
        .collect()
}

struct Writer(Vec<u8>);

impl Writer {
    fn word(&mut self, word: u64) {
        self.0.extend(word.to_le_bytes());
    }
    fn int(&mut self, int: i32) {
        self.word(i64::from(int).cast_unsigned());
    }
    fn ints(&mut self, ints: &[i32]) {
        self.word(ints.len() as u64);
        for &int in ints {
            self.int(int);
        }
    }
    fn string(&mut self, string: &[u8]) {
        self.word(string.len() as u64);
        self.0.extend(string);
    }
    fn row(&mut self, row: &[Vec<u8>]) {
        self.word(row.len() as u64);
        for string in row {
            self.string(string);
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn word(&mut self) -> Option<u64> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*word))
    }
    fn int(&mut self) -> Option<i32> {
        self.word()?.cast_signed().try_into().ok()
    }
    fn ints(&mut self) -> Option<Vec<i32>> {
        // As in `row`.
        let mut ints = Vec::new();
        for _ in 0..self.word()? {
            ints.push(self.int()?);
        }
        Some(ints)
    }
    fn string(&mut self) -> Option<Vec<u8>> {
        let len = usize::try_from(self.word()?).ok()?;
        let (string, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(string.to_vec())
    }
    fn row(&mut self) -> Option<Vec<Vec<u8>>> {
        // Not collected with a size hint: the count may be a lie.
        let mut row = Vec::new();
        for _ in 0..self.word()? {
            row.push(self.string()?);
        }
        Some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> Handover {
        let all = |n| Rlimit {
            rlim_cur: n,
            rlim_max: u64::MAX,
        };
        Handover {
            arguments: Arguments {
                argv: vec![b"a".to_vec(), b"".to_vec()],
                envp: vec![b"X=\xff".to_vec()],
                execname: b"/bin/a".to_vec(),
            },
            program: 3,
            lid: -7,
            mask: Signo::all().collect(),
            ignored: SigSet::of(&[Signo::SIGHUP]),
            pending: SigSet::of(&[Signo::SIGEMT, Signo::SIGRTMAX]),
            lwp_pending: SigSet::EMPTY,
            limits: core::array::from_fn(|n| all(n as u64)),
            nthr: all(9),
            itimers: [(1, 2), (3, 4), (5, 6), (0, 0)],
            of_runner: OfRunner {
                words: vec![b"lwp".to_vec(), b"run".to_vec(), b"-q".to_vec()],
                is_child: true,
                pids: vec![123, 0, -1],
            },
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let example = example();
        assert_eq!(Handover::decode(&example.encode()), Some(example));
    }

    proptest! {
        #[test]
        fn damage_is_refused_or_read_without_a_panic(at: usize, byte: u8, cut: usize) {
            let mut bytes = example().encode();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = Handover::decode(&bytes);
            prop_assert_eq!(Handover::decode(&bytes[..cut % bytes.len()]), None);
        }
    }
}
