//! Whatever a guest passes, wherever it points: nothing panics, and nothing becomes long.

use crate::memory::{BASE, Piece};
use lwp_abi::errno::Errno;
use lwp_abi::nr;
use lwp_kernel::{Ended, Ret, SysResult};
use lwp_trace::decode::{Call, Decoder};
use lwp_trace::kind::Kind;
use lwp_trace::table;
use proptest::prelude::*;

/// Eight arguments, each of 2 KiB and eight strings of 32 bytes, every byte of which may take four.
const LONGEST: usize = 8 * (2048 + 8 * 4 * 32 + 64);

/// A word that may be anything, but often points to where there is something.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        BASE..BASE + 0x1000,
        0..64u64,
        Just(0),
        Just(u64::MAX),
        any::<u32>().prop_map(u64::from),
    ]
}

fn result() -> impl Strategy<Value = SysResult> {
    prop_oneof![
        word().prop_map(|value| Ok(Ret(value, value))),
        Just(Err(Ended::Failed(Errno::EFAULT))),
        Just(Err(Ended::Restart)),
        Just(Err(Ended::AsSet)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_call_is_decoded(
        number in prop_oneof![0..u64::from(nr::SYS_NSYSENT), any::<u64>()],
        regs in prop::array::uniform6(word()),
        stack in word(),
        words in prop::collection::vec(word(), 0..512),
        result in result(),
    ) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let memory = Piece::of(&bytes);
        let decoder = Decoder { memory: &memory, strings: 32 };
        let mut decoded = decoder.enter(Call::new(&memory, number, regs, stack));
        let head = decoded.head();
        let mut given_up = decoded.clone();
        given_up.give_up();
        prop_assert!(given_up.whole().starts_with(&head));
        let shown = decoder.leave(&mut decoded, result);
        let whole = decoded.whole();
        prop_assert!(whole.starts_with(&head), "{} does not begin {}", head, whole);
        prop_assert!(whole.len() + shown.text.len() < LONGEST, "{} bytes", whole.len());
        prop_assert!(whole.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", whole);
    }

    #[test]
    fn no_flag_word_is_a_bare_number(bits: u64) {
        let memory = Piece::default();
        let decoder = Decoder { memory: &memory, strings: 32 };
        for call in table::all() {
            let args = [bits; nr::SYS_MAXSYSARGS];
            let decoded = decoder.enter(Call { number: call.number, args });
            for (arg, shown) in call.args.iter().zip(&decoded.args) {
                let is_flags = matches!(
                    arg.kind,
                    Kind::Flags(_) | Kind::LongFlags(_) | Kind::MapFlags | Kind::SockType
                );
                let Some(shown) = shown.shown.as_ref().filter(|_| is_flags) else { continue };
                for part in shown.text.split('|') {
                    let is_number = part.starts_with("0x") && !part.ends_with('?');
                    prop_assert!(!is_number, "{}: {}", call.name, shown.text);
                }
            }
        }
    }
}
