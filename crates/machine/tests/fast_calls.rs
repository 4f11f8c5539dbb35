//! What is reached by a call made on the spot runs on the guest's FS: it has no thread-local storage.
//!
//! Disassembles the `lwp` binary beside this test, if that has been built for release, and follows every call and
//! jump from the fast calls on. Whatever an indirect call may lead to is a root of its own: the kernel's
//! `FastCalls`, and the few methods that `machine::FastCalls` allows them. No instruction found may use an FS
//! segment, and no call may lead out of the program.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, OpKind, Register};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Where it begins: parts of names, of which all must be found in one name.
const ROOTS: [&[&str]; 11] = [
    &["lwp_fast_call"],
    &["Passing", "FastCalls", "fast_call"],
    &["Alone", "FastCalls", "fast_call"],
    &["HostMachine", "UserMode", "set_aside"],
    &["HostMachine", "Memory", "copyout"],
    &["HostMachine", "Memory", "store_u32"],
    &["HostMachine", "Clocks", "monotonic"],
    &["HostMachine", "Clocks", "realtime"],
    &["HostMachine", "Clocks", "stamp"],
    &["Unix", "Personality", "fast"],
    &["Fair", "Policy", "pick"],
];

/// Where it ends, and why that is no harm: parts of names as above.
const ENDS: [(&[&str], &str); 9] = [
    (
        &["core", "panicking"],
        "a bug, which ends the process either way",
    ),
    (&["core", "option", "expect_failed"], "the same"),
    (&["core", "option", "unwrap_failed"], "the same"),
    (&["core", "result", "unwrap_failed"], "the same"),
    (&["core", "slice", "index", "fail"], "the same"),
    (&["_Unwind_Resume"], "what a panic began"),
    (
        &["Arc", "drop_slow"],
        "no last reference is dropped (`fast`, invariant 1)",
    ),
    (
        &["RawVec", "grow_one"],
        "room is looked for before (`Sched::enqueue_fast`)",
    ),
    (&["sched_yield"], "it never fails, so it sets no errno"),
];

struct Program {
    /// Start of each function: its end and name.
    functions: BTreeMap<u64, (u64, String)>,
    sections: Vec<(u64, Vec<u8>)>,
}

impl Program {
    fn read(path: &PathBuf) -> Self {
        let bytes = std::fs::read(path).expect("it can be read");
        let file = object::File::parse(&*bytes).expect("an object file");
        let mut functions = BTreeMap::new();
        for symbol in file.symbols().filter(|s| s.kind() == SymbolKind::Text) {
            let name = symbol.name().unwrap_or("?").to_owned();
            let end = symbol.address() + symbol.size();
            let known = functions.entry(symbol.address()).or_insert((end, name));
            known.0 = known.0.max(end);
        }
        let sections = file
            .sections()
            .filter(|section| section.name().is_ok_and(|name| name.starts_with(".text")))
            .map(|section| (section.address(), section.data().expect("text").to_vec()))
            .collect();
        Self {
            functions,
            sections,
        }
    }

    fn named<'a>(&'a self, parts: &'a [&str]) -> impl Iterator<Item = u64> + 'a {
        self.functions
            .iter()
            .filter(|(_, (_, name))| parts.iter().all(|part| name.contains(part)))
            .map(|(&start, _)| start)
    }

    /// The function that `at` is in: where it starts, and its name.
    fn function(&self, at: u64) -> Option<(u64, u64, &str)> {
        let (&start, (end, name)) = self.functions.range(..=at).next_back()?;
        (at < *end || at == start).then_some((start, *end, name.as_str()))
    }

    fn instructions(&self, start: u64, end: u64) -> Vec<Instruction> {
        let section = self
            .sections
            .iter()
            .find(|(at, code)| (*at..at + code.len() as u64).contains(&start));
        let Some((at, code)) = section else {
            return Vec::new();
        };
        let from = usize::try_from(start - at).expect("in memory");
        let to = usize::try_from(end - at)
            .expect("in memory")
            .min(code.len());
        Decoder::with_ip(64, &code[from..to], start, DecoderOptions::NONE)
            .iter()
            .collect()
    }
}

fn uses_fs(instruction: &Instruction) -> bool {
    instruction.segment_prefix() == Register::FS
        && (0..instruction.op_count()).any(|op| instruction.op_kind(op) == OpKind::Memory)
}

fn target(instruction: &Instruction) -> Option<u64> {
    let leads_on = matches!(
        instruction.flow_control(),
        FlowControl::Call | FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch
    );
    // A system call is a call, too.
    let is_direct = instruction.op_kind(0) == OpKind::NearBranch64;
    (leads_on && is_direct).then(|| instruction.near_branch_target())
}

#[test]
fn calls_made_on_the_spot_use_no_thread_local_storage() {
    if cfg!(not(target_feature = "crt-static")) {
        return;
    }
    let own = std::env::current_exe().expect("it runs");
    let target_dir = own.ancestors().nth(3).expect("target/TRIPLE/PROFILE/deps");
    let path = target_dir.join("release/lwp");
    if !path.exists() {
        eprintln!("not tested: {} has not been built", path.display());
        return;
    }
    let program = Program::read(&path);
    let malloc = program
        .named(&["malloc"])
        .filter_map(|at| program.function(at));
    let has_tls = |(start, end, _)| program.instructions(start, end).iter().any(uses_fs);
    assert!(malloc.into_iter().any(has_tls), "it is seen where it is");
    let mut to_do: Vec<(u64, String)> = Vec::new();
    for root in ROOTS {
        let found: Vec<_> = program.named(root).collect();
        assert!(!found.is_empty(), "there is no {root:?}");
        to_do.extend(found.into_iter().map(|at| (at, format!("{root:?}"))));
    }
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    while let Some((at, from)) = to_do.pop() {
        let Some((start, end, name)) = program.function(at) else {
            found.push(format!("{from} goes to {at:#x}, which is no function"));
            continue;
        };
        let is_end = |(parts, _): &(&[&str], &str)| parts.iter().all(|part| name.contains(part));
        if ENDS.iter().any(is_end) || !seen.insert(start) {
            continue;
        }
        for instruction in program.instructions(start, end) {
            if uses_fs(&instruction) {
                found.push(format!("{name} (from {from}) at {:#x}", instruction.ip()));
            }
            match target(&instruction) {
                Some(next) if !(start..end).contains(&next) => {
                    to_do.push((next, name.to_owned()));
                }
                _ => {}
            }
        }
    }
    assert!(seen.len() > 8, "only {} functions", seen.len());
    found.truncate(20);
    assert_eq!(found, Vec::<String>::new());
}
