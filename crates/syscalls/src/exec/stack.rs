//! What lies on the main stack when a program starts.
//!
//! ```text
//! USRSTACK            the end; also AT_STACKBASE
//! USRSTACK - 32       struct ps_strings
//!                     environment strings, argument strings, packed; at most 15 bytes of gap below
//!                     the path for AT_SUN_EXECNAME
//!                     the auxiliary vector, ended by AT_NULL
//!                     environment pointers, NULL
//!                     argument pointers, NULL
//! rsp                 argc; a multiple of 16
//! ```
//! Argument strings lie below environment strings, in order.
//!
//! Sources: `kern_exec.c: copyoutargs, copyoutpsstrs`, `exec_elf.c: elf_copyargs`; lwp.md 6.2, 6.3.

use super::Refusal;
use lwp_abi::exec::{
    AT_BASE, AT_EGID, AT_ENTRY, AT_EUID, AT_FLAGS, AT_NULL, AT_PAGESZ, AT_PHDR, AT_PHENT, AT_PHNUM,
    AT_RGID, AT_RUID, AT_STACKBASE, AT_SUN_EXECNAME, AuxEntry, PsStrings,
};
use lwp_kernel::vm::{PAGE, USRSTACK};
use zerocopy::IntoBytes;

/// `ARG_MAX`: bytes of all strings with their NULs.
const ARG_MAX: usize = 262_144;
/// Bytes of a program header.
const PHENT: u64 = 56;

/// What the new image is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// argv.
    pub argv: Vec<Vec<u8>>,
    /// The environment.
    pub envp: Vec<Vec<u8>>,
    /// The path of the executable, resolved.
    pub execname: Vec<u8>,
}

/// Whose process it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "real and effective ids")]
pub struct Credentials {
    pub ruid: u32,
    pub euid: u32,
    pub rgid: u32,
    pub egid: u32,
}

impl Credentials {
    /// Those of the host process.
    pub fn of_host() -> Self {
        Self {
            ruid: rustix::process::getuid().as_raw(),
            euid: rustix::process::geteuid().as_raw(),
            rgid: rustix::process::getgid().as_raw(),
            egid: rustix::process::getegid().as_raw(),
        }
    }
}

/// Where the program is, for the auxiliary vector.
#[derive(Clone, Copy, Debug)]
pub(super) struct Where {
    pub(super) phdr: u64,
    pub(super) phnum: u64,
    pub(super) entry: u64,
}

/// The contents of the stack, and where its landmarks are.
#[derive(Debug)]
pub(super) struct Initial {
    /// The stack pointer, where `bytes` begin; they end at [`USRSTACK`].
    pub(super) rsp: u64,
    pub(super) ps_strings: u64,
    pub(super) bytes: Vec<u8>,
}

/// Lays out the stack.
///
/// # Errors
/// [`Refusal::ArgumentsTooLong`].
pub(super) fn build(
    args: &Arguments,
    cred: Credentials,
    program: Where,
) -> Result<Initial, Refusal> {
    let strings: usize = args
        .argv
        .iter()
        .chain(&args.envp)
        .map(|each| each.len() + 1)
        .sum();
    if strings > ARG_MAX {
        return Err(Refusal::ArgumentsTooLong);
    }
    let ps_strings = USRSTACK - size_of::<PsStrings>() as u64;
    let first_string = ps_strings - strings as u64;
    let name_len = args.execname.len() as u64 + 1;
    let words = 1 + args.argv.len() as u64 + 1 + args.envp.len() as u64 + 1;
    let fixed = words * 8 + AUX_ENTRIES * size_of::<AuxEntry>() as u64 + name_len;
    let rsp = (first_string - fixed) & !15;

    let argv = rsp + 8;
    let envp = argv + (args.argv.len() as u64 + 1) * 8;
    let auxv = envp + (args.envp.len() as u64 + 1) * 8;
    let name = auxv + AUX_ENTRIES * size_of::<AuxEntry>() as u64;

    let mut bytes = Vec::new();
    let mut string = first_string;
    push(&mut bytes, args.argv.len() as u64);
    for row in [&args.argv, &args.envp] {
        for each in row {
            push(&mut bytes, string);
            string += each.len() as u64 + 1;
        }
        push(&mut bytes, 0);
    }
    bytes.extend_from_slice(auxiliary(cred, program, name).as_bytes());
    bytes.extend_from_slice(&args.execname);
    bytes.push(0);
    let gap = first_string - rsp - bytes.len() as u64;
    bytes.extend(core::iter::repeat_n(0, usize::try_from(gap).unwrap_or(0)));
    for each in args.argv.iter().chain(&args.envp) {
        bytes.extend_from_slice(each);
        bytes.push(0);
    }
    let record = PsStrings {
        ps_argvstr: argv,
        // Both are bounded by `ARG_MAX`.
        ps_nargvstr: i32::try_from(args.argv.len()).unwrap_or(0),
        ps_envstr: envp,
        ps_nenvstr: i32::try_from(args.envp.len()).unwrap_or(0),
        ..PsStrings::default()
    };
    bytes.extend_from_slice(record.as_bytes());
    Ok(Initial {
        rsp,
        ps_strings,
        bytes,
    })
}

const AUX_ENTRIES: u64 = 14;

fn auxiliary(cred: Credentials, program: Where, name: u64) -> [AuxEntry; 14] {
    [
        AuxEntry::new(AT_PHDR, program.phdr),
        AuxEntry::new(AT_PHENT, PHENT),
        AuxEntry::new(AT_PHNUM, program.phnum),
        AuxEntry::new(AT_PAGESZ, PAGE),
        AuxEntry::new(AT_BASE, 0),
        AuxEntry::new(AT_FLAGS, 0),
        AuxEntry::new(AT_ENTRY, program.entry),
        AuxEntry::new(AT_EUID, cred.euid.into()),
        AuxEntry::new(AT_RUID, cred.ruid.into()),
        AuxEntry::new(AT_EGID, cred.egid.into()),
        AuxEntry::new(AT_RGID, cred.rgid.into()),
        AuxEntry::new(AT_STACKBASE, USRSTACK),
        AuxEntry::new(AT_SUN_EXECNAME, name),
        AuxEntry::new(AT_NULL, 0),
    ]
}

fn push(bytes: &mut Vec<u8>, word: u64) {
    bytes.extend_from_slice(&word.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads the stack back as a program would.
    struct Reader<'a>(&'a Initial);

    impl Reader<'_> {
        fn at(&self, addr: u64) -> &[u8] {
            &self.0.bytes[usize::try_from(addr - self.0.rsp).unwrap()..]
        }
        fn word(&self, addr: u64) -> u64 {
            u64::from_le_bytes(self.at(addr)[..8].try_into().unwrap())
        }
        fn int(&self, addr: u64) -> u32 {
            u32::from_le_bytes(self.at(addr)[..4].try_into().unwrap())
        }
        fn string(&self, addr: u64) -> Vec<u8> {
            self.at(addr)
                .iter()
                .copied()
                .take_while(|&byte| byte != 0)
                .collect()
        }
        /// Strings by pointers up to NULL; returns the address behind it.
        fn strings(&self, mut addr: u64) -> (Vec<Vec<u8>>, u64) {
            let mut all = Vec::new();
            while self.word(addr) != 0 {
                all.push(self.string(self.word(addr)));
                addr += 8;
            }
            (all, addr + 8)
        }
    }

    fn string() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(1..=255_u8, 0..40)
    }

    proptest! {
        #[test]
        fn a_program_finds_what_it_was_given(
            argv in prop::collection::vec(string(), 0..20),
            envp in prop::collection::vec(string(), 0..20),
            execname in string(),
        ) {
            let args = Arguments { argv, envp, execname };
            let cred = Credentials { ruid: 1, euid: 2, rgid: 3, egid: 4 };
            let program = Where { phdr: 0x40_0040, phnum: 5, entry: 0x40_1000 };
            let built = build(&args, cred, program).unwrap();
            prop_assert_eq!(built.rsp % 16, 0);
            prop_assert_eq!(built.rsp + built.bytes.len() as u64, USRSTACK);
            let r = Reader(&built);
            prop_assert_eq!(r.word(built.rsp), args.argv.len() as u64);
            let (argv, envp_at) = r.strings(built.rsp + 8);
            let (envp, mut aux) = r.strings(envp_at);
            prop_assert_eq!((&argv, &envp), (&args.argv, &args.envp));
            prop_assert_eq!(r.word(built.ps_strings), built.rsp + 8);
            prop_assert_eq!(r.int(built.ps_strings + 8) as usize, args.argv.len());
            prop_assert_eq!(r.word(built.ps_strings + 16), envp_at);
            prop_assert_eq!(r.int(built.ps_strings + 24) as usize, args.envp.len());
            let mut seen = Vec::new();
            while r.word(aux) != 0 {
                seen.push(r.word(aux));
                if r.word(aux) == u64::from(AT_SUN_EXECNAME) {
                    prop_assert_eq!(&r.string(r.word(aux + 8)), &args.execname);
                }
                aux += 16;
            }
            prop_assert_eq!(seen, [3, 4, 5, 6, 7, 8, 9, 2000, 2001, 2002, 2003, 13, 2014]);
        }
    }

    #[test]
    fn too_many_bytes_are_refused() {
        let program = Where {
            phdr: 0,
            phnum: 0,
            entry: 0,
        };
        let of = |len| Arguments {
            argv: vec![vec![b'x'; len - 1]],
            ..Arguments::default()
        };
        assert!(build(&of(ARG_MAX), Credentials::default(), program).is_ok());
        let err = build(&of(ARG_MAX + 1), Credentials::default(), program).unwrap_err();
        assert_eq!(err, Refusal::ArgumentsTooLong);
    }
}
