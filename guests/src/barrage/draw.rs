//! Calls at random: which one, with which arguments.
//!
//! Most arguments are of the kind the call wants, some are not; most of a kind are good, some are as
//! bad as can be. What is written for a call lies in the notes of the LWP's own berth.

use crate::berth::{self, ARENA, ARENA_LEN, Berth, LIDS};
use crate::calls::{self, Call, Kind, TOTAL};
use crate::filter::{self, NOBODY, PID};
use core::sync::atomic::Ordering;
use rt::abi::nr::{SYS___SYSCALL, SYS_LWP_CREATE, SYS_SYSCALL};
use rt::abi::signal::{DefaultAction, SIG_DFL, SIG_IGN, SaFlags, SigSet, Sigaction, Signo, StackT};
use rt::regs::Random;
use rt::sys::Arg as _;
use rt::{lwp, sig};

/// Where in the notes the records for one call lie.
const WORDS: u64 = 0;
const TIMES: u64 = 0x100;
const ADDRESS: u64 = 0x140;
const LIDS_AT: u64 = 0x1c0;
const IOVS: u64 = 0x200;
const MESSAGE: u64 = 0x240;
const CHANGES: u64 = 0x280;
const ACTION: u64 = 0x340;
const ALTSTACK: u64 = 0x380;
const MIB: u64 = 0x3a0;
const SET: u64 = 0x3e0;
const CONTEXT: u64 = 0x400;

/// Numbers at which kernels go wrong.
const EDGES: &[u64] = &[
    0,
    1,
    2,
    7,
    8,
    127,
    128,
    255,
    256,
    511,
    512,
    1023,
    1024,
    4095,
    4096,
    4097,
    65_535,
    65_536,
    0x7fff_fff0,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    // The stack of the first LWP ends right below.
    0x5000_0000_0000,
    0x7f7f_ffff_f000,
    0x7fff_ffff_f000,
    0x8000_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_8000_0000_0000,
    0xffff_ffff_ffff_f000,
    0xffff_ffff_ffff_fff8,
    0xffff_ffff_ffff_ffff,
];

/// One LWP's hand: its luck, and its place.
pub(crate) struct Hand {
    /// Where numbers come from.
    pub(crate) random: Random,
    /// Where arguments lie.
    pub(crate) berth: Berth,
    /// The place for the LWP that the call being drawn would make.
    claimed: Option<Berth>,
    /// Where short lives start.
    entry: extern "C" fn(u64),
    /// The handler of all signals.
    handler: sig::Handler,
    /// The signal that the call being drawn is about.
    signo: Option<Signo>,
}

impl Hand {
    pub(crate) fn new(
        seed: u64,
        slot: usize,
        entry: extern "C" fn(u64),
        handler: sig::Handler,
    ) -> Self {
        Self {
            random: Random::new(seed ^ (slot as u64 + 1) << 40),
            berth: Berth(slot),
            claimed: None,
            entry,
            handler,
            signo: None,
        }
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.random.below(n) == 0
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        let i = self.random.below(all.len() as u64);
        all[usize::try_from(i).unwrap_or(0)]
    }

    /// The next call that may be made.
    pub(crate) fn draw(&mut self) -> Call {
        loop {
            self.release();
            let call = self.draw_one();
            if filter::allows(&call) {
                return self.disguise(call);
            }
        }
    }

    /// Takes the place that was claimed: who lives there, or nobody.
    pub(crate) fn settle(&mut self, made: Option<i32>) {
        if let (Some(berth), Some(lid)) = (self.claimed, made) {
            LIDS[berth.0].store(lid, Ordering::Release);
            self.claimed = None;
        }
        self.release();
    }

    fn release(&mut self) {
        if let Some(berth) = self.claimed.take() {
            LIDS[berth.0].store(0, Ordering::Release);
        }
    }

    fn draw_one(&mut self) -> Call {
        self.note_words();
        self.signo = None;
        let nr = if self.one_in(24) {
            // Any number at all; those that are no calls too.
            u16::try_from(self.random.below(512)).unwrap_or(0)
        } else {
            calls::pick(self.random.below(TOTAL)).nr
        };
        let kinds = calls::kinds(nr);
        // One in twelve has its arguments from another world.
        let is_wild = self.one_in(12);
        let mut args = [0; 6];
        for (i, arg) in args.iter_mut().enumerate() {
            let kind = kinds.get(i).copied();
            *arg = match kind {
                // These are what keeps the run alive: never anything else.
                Some(
                    kind @ (Kind::Context
                    | Kind::Action
                    | Kind::AltStack
                    | Kind::Install
                    | Kind::Limits
                    | Kind::Tramp
                    | Kind::Sockaddr
                    | Kind::Path
                    | Kind::At
                    | Kind::Fd
                    | Kind::Msg
                    | Kind::LidOut),
                ) => self.arg(kind),
                Some(kind) if !is_wild => self.arg(kind),
                Some(_) => self.wild(),
                None => self.number(),
            };
        }
        Call { nr, args }
    }

    /// The same call by way of `syscall(2)` now and then.
    fn disguise(&mut self, call: Call) -> Call {
        let is_indirect = call.nr == SYS_SYSCALL || call.nr == SYS___SYSCALL;
        let fits = call.nr != SYS_LWP_CREATE && calls::kinds(call.nr).len() <= 5;
        if !(is_indirect || fits && self.one_in(32)) {
            return call;
        }
        // What would stand behind a call of the indirect one was not asked about: one that is refused.
        let inner = u64::from(call.nr) + if is_indirect { 512 } else { 0 };
        let nr = self.one_of(&[SYS_SYSCALL, SYS___SYSCALL]);
        let mut args = call.args;
        args.rotate_right(1);
        args[0] = inner;
        Call { nr, args }
    }

    /// A number without a meaning, or an address: none of the program's own memory but the berth's.
    fn wild(&mut self) -> u64 {
        if self.one_in(5) {
            self.buf()
        } else {
            self.number()
        }
    }

    /// A number without a meaning, and no address.
    fn number(&mut self) -> u64 {
        match self.random.below(5) {
            0 => self.random.draw() | 1 << 63,
            1 => self.random.below(16),
            2 => self.random.below(64).wrapping_neg(),
            _ => self.edge(),
        }
    }

    fn edge(&mut self) -> u64 {
        self.one_of(EDGES)
    }

    /// An argument that is taken for a `kind`.
    fn arg(&mut self, kind: Kind) -> u64 {
        match kind {
            Kind::Any => self.wild(),
            Kind::Int => {
                if self.one_in(10) {
                    self.edge()
                } else {
                    self.random.below(17)
                }
            }
            Kind::Bits => match self.random.below(8) {
                0 => self.random.below(1 << 32),
                1 => self.edge(),
                2..=4 => 1 << self.random.below(31),
                5 => 1 << self.random.below(16) | 1 << self.random.below(16),
                _ => self.random.below(4),
            },
            Kind::Fd => self.fd(),
            Kind::At => match self.random.below(4) {
                0 => self.fd(),
                _ => (-100_i32).arg(),
            },
            Kind::Path => {
                if self.one_in(12) {
                    self.nowhere()
                } else {
                    let n = self.random.below(64);
                    self.berth.name(n)
                }
            }
            Kind::Buf => self.buf(),
            Kind::Len => {
                if self.one_in(8) {
                    self.edge()
                } else {
                    let top = self.one_of(&[8, 64, 64, 600, 8192]);
                    self.random.below(top)
                }
            }
            Kind::Lid => self.lid().arg(),
            Kind::Pid => self.pid(),
            Kind::Signal => {
                if self.one_in(16) {
                    return self.edge();
                }
                let signo = self.random.below(68);
                self.signo = i32::try_from(signo).ok().and_then(Signo::new);
                signo
            }
            Kind::Clock => match self.random.below(8) {
                0 => self.edge(),
                1 => 0x4000_0000 | u64::from(self.lid().unsigned_abs()),
                _ => self.random.below(5),
            },
            Kind::Time => self.times(),
            Kind::Where => self.place(),
            Kind::Span => match self.random.below(16) {
                0 => self.edge(),
                1 => self.random.below(1 << 16),
                _ => self.random.below(8) * 4096,
            },
            Kind::Break => berth::first_break() + self.random.below(64) * 4096,
            _ => self.record(kind),
        }
    }

    /// The rest of the kinds: addresses of records, and choices from a list.
    fn record(&mut self, kind: Kind) -> u64 {
        let notes = self.berth.notes();
        match kind {
            Kind::Sockaddr => self.sockaddr(),
            Kind::Context => self.context(),
            Kind::Install => {
                if self.one_in(2) {
                    self.berth.constants()
                } else {
                    self.nowhere()
                }
            }
            Kind::LidOut => {
                if self.one_in(16) {
                    self.nowhere()
                } else {
                    self.berth.sink()
                }
            }
            Kind::Action => self.action(),
            Kind::Tramp => sig::trampoline_addr(),
            Kind::AltStack => self.alt_stack(),
            Kind::Limits => {
                if self.one_in(4) {
                    self.nowhere()
                } else {
                    self.berth.limits()
                }
            }
            Kind::Child => match self.random.below(4) {
                0 => self.pid(),
                1 => 0,
                _ => (-1_i32).arg(),
            },
            Kind::Request => self.one_of(&[
                0x4004_667f,
                0x8004_667e,
                0x8004_667d,
                0x2000_6601,
                0x2000_6602,
                0x4008_7468,
                0x402c_7413,
                0x4004_7473,
                0x4004_7477,
                0x4004_667b,
                0x4004_6679,
                0xdead_beef,
                0,
                u64::MAX,
            ]),
            Kind::Mib => notes + MIB,
            Kind::Changes => notes + CHANGES,
            Kind::Iov => notes + IOVS,
            Kind::Msg => {
                if self.one_in(8) {
                    self.nowhere()
                } else {
                    notes + MESSAGE
                }
            }
            // A set of signals.
            _ => {
                if self.one_in(12) {
                    self.buf()
                } else {
                    notes + SET
                }
            }
        }
    }

    /// An address that nothing can be at.
    fn nowhere(&mut self) -> u64 {
        self.one_of(&[
            0,
            1,
            8,
            4095,
            0x5000_0000_0000,
            0x7fff_ffff_f000,
            0x8000_0000_0000,
            0xffff_8000_0000_0000,
            u64::MAX,
            u64::MAX - 7,
        ])
    }

    /// Memory: mostly such that can be written.
    fn buf(&mut self) -> u64 {
        let berth = self.berth;
        match self.random.below(16) {
            0..=5 => berth.sink() + 8 * self.random.below(64),
            6 => berth.sink() + self.random.below(4096),
            7 | 8 => berth.notes() + WORDS + 8 * self.random.below(16),
            9 => berth.notes() + LIDS_AT,
            // Up to the page that can only be read, and across.
            10 => berth.constants() - self.random.below(32),
            11 => berth.constants() + self.random.below(64),
            12 => berth.guard() - self.random.below(16),
            13 => self.place(),
            14 => self.nowhere(),
            // The program's text.
            _ => {
                let text: fn(&mut Self) -> u64 = Self::buf;
                text as usize as u64
            }
        }
    }

    fn fd(&mut self) -> u64 {
        match self.random.below(20) {
            0 => (-1_i32).arg(),
            1 => 200 + self.random.below(5000),
            // Where a runner may keep its own.
            2 => self.one_of(&[
                1000,
                1023,
                1024,
                65_535,
                65_536,
                524_288,
                1_048_570,
                0x7fff_ffff,
                0x8000_0000,
            ]),
            3 => 3 + self.random.below(300),
            _ => 3 + self.random.below(40),
        }
    }

    fn lid(&mut self) -> i32 {
        match self.random.below(16) {
            0 => self.one_of(&[
                0,
                -1,
                1,
                i32::MAX,
                i32::MIN,
                1 << 23,
                (1 << 29) - 1,
                lwp::NOBODY.raw(),
            ]),
            1 => PID.load(Ordering::Relaxed),
            _ => {
                let slot = usize::try_from(self.random.below(LIDS.len() as u64)).unwrap_or(0);
                LIDS[slot].load(Ordering::Relaxed)
            }
        }
    }

    fn pid(&mut self) -> u64 {
        match self.random.below(8) {
            0 => (NOBODY + 1).arg(),
            1 => i32::MAX.arg(),
            _ => PID.load(Ordering::Relaxed).arg(),
        }
    }

    /// An address in the arena, mostly of a page.
    fn place(&mut self) -> u64 {
        let at = ARENA.load(Ordering::Relaxed) + self.random.below(ARENA_LEN / 4096 - 16) * 4096;
        if self.one_in(8) {
            at + self.random.below(4096)
        } else {
            at
        }
    }

    /// Words of all sorts, for records whose shape nobody wrote down here.
    fn note_words(&mut self) {
        for i in 0..32 {
            let word = match self.random.below(8) {
                0 => self.edge(),
                1 => self.berth.sink() + 8 * self.random.below(16),
                2 => self.random.below(1 << 32),
                3 => self.lid().arg(),
                _ => self.random.below(64),
            };
            self.berth.note(WORDS + 8 * i, word);
        }
        for i in 0..8 {
            let (a, b) = (self.lid().cast_unsigned(), self.lid().cast_unsigned());
            self.berth
                .note(LIDS_AT + 8 * i, u64::from(a) | u64::from(b) << 32);
        }
        for i in 0..4 {
            self.berth.note(IOVS + 16 * i, self.berth.sink() + 512 * i);
            let len = if self.one_in(16) {
                self.edge()
            } else {
                self.random.below(300)
            };
            self.berth.note(IOVS + 16 * i + 8, len);
        }
        for i in 0..8 {
            let (a, b) = (self.random.below(9), self.random.below(90));
            self.berth.note(MIB + 8 * i, a | b << 32);
        }
        let set = if self.one_in(2) {
            u64::MAX
        } else {
            self.random.draw()
        };
        // An exception of the program's own is to be told, not to kill.
        self.berth.note(SET, set & !u64::from(traps().words()[0]));
        self.berth.note(SET + 8, 0);
        self.note_message();
        self.note_changes();
    }

    /// A `struct msghdr`.
    fn note_message(&mut self) {
        let (berth, small) = (self.berth, self.random.below(5));
        let control = if self.one_in(2) {
            berth.notes() + WORDS
        } else {
            0
        };
        let words = [
            0,
            0,
            berth.notes() + IOVS,
            small,
            control,
            self.random.below(96),
        ];
        for (i, word) in (0..).zip(words) {
            berth.note(MESSAGE + 8 * i, word);
        }
    }

    /// Three records of `struct kevent`, of the size that call 501 takes.
    fn note_changes(&mut self) {
        for i in 0..3 {
            let at = CHANGES + 64 * i;
            let ident = if self.one_in(6) {
                self.edge()
            } else {
                self.fd()
            };
            self.berth.note(at, ident);
            let filter = self.random.below(11);
            let flags = self.one_of(&[1, 1, 1, 2, 4, 5, 0x11, 0x21, 0x41, 0x81]);
            self.berth.note(at + 8, filter | flags << 32);
            self.berth.note(at + 16, self.random.below(64));
            let data = if self.one_in(4) {
                self.edge()
            } else {
                self.random.below(20)
            };
            self.berth.note(at + 24, data);
            self.berth.note(at + 32, self.random.draw());
        }
    }

    /// Up to two times: mostly short.
    fn times(&mut self) -> u64 {
        if self.one_in(8) {
            return 0;
        }
        for i in 0..2 {
            let sec = if self.one_in(12) { self.edge() } else { 0 };
            let nsec = match self.random.below(12) {
                0 => self.edge(),
                1 => 999_999_999,
                _ => self.random.below(3_000_000),
            };
            self.berth.note(TIMES + 16 * i, sec);
            self.berth.note(TIMES + 16 * i + 8, nsec);
        }
        self.berth.notes() + TIMES
    }

    /// A socket's address on this machine, or none.
    fn sockaddr(&mut self) -> u64 {
        let port = if self.one_in(3) {
            0
        } else {
            0xc3 + (self.random.below(8) << 8)
        };
        let local: &[u8] = self.one_of(&[
            b"\x10\x01s0\0",
            b"\x10\x01s1\0",
            b"\x05\x01s0\0",
            b"\x02\x01\0\0\0",
        ]);
        match self.random.below(6) {
            0 => return self.nowhere(),
            1 | 2 => {
                // sin_len, AF_INET, port, 127.0.0.1
                self.berth.note(ADDRESS, 0x0100_007f_0000_0210 | port << 16);
                self.berth.note(ADDRESS + 8, 0);
            }
            3 => {
                // sin6_len, AF_INET6, port, flow, ::1
                self.berth.note(ADDRESS, 0x181c | port << 16);
                self.berth.note(ADDRESS + 8, 0);
                self.berth.note(ADDRESS + 16, 1 << 56);
                self.berth.note(ADDRESS + 24, 0);
            }
            4 => {
                self.berth.note(ADDRESS, 0);
                self.berth.note(ADDRESS + 8, 0);
                self.berth.note_bytes(ADDRESS, local);
            }
            // A family that is none of these.
            _ => self.berth.note(ADDRESS, 0x3f10),
        }
        self.berth.notes() + ADDRESS
    }

    /// A context that starts a short life in a place that was free, or one that is refused.
    fn context(&mut self) -> u64 {
        let from = self.random.draw();
        if self.one_in(8) {
            return if self.one_in(2) {
                self.berth.constants()
            } else {
                self.nowhere()
            };
        }
        let Some(berth) = Berth::claim(from) else {
            return self.berth.constants();
        };
        self.claimed = Some(berth);
        let Ok(mut uc) = lwp::makecontext(self.entry, berth.0 as u64, berth.stack_top()) else {
            return self.berth.constants();
        };
        if self.one_in(16) {
            uc.uc_mcontext.gregs.cs = self.random.draw();
        }
        if self.one_in(16) {
            // One that is refused: with DF or TF the program would fail by itself.
            uc.uc_mcontext.gregs.rflags ^= 1 << self.one_of(&[9, 12, 13, 14, 17, 19, 32, 63]);
        }
        self.note_record(CONTEXT, &uc)
    }

    fn note_record<T: Copy>(&mut self, at: u64, record: &T) -> u64 {
        const { assert!(size_of::<T>() as u64 <= 4096 - CONTEXT) };
        let to = self.berth.notes() + at;
        // SAFETY: inside the page of notes, by the assertion, and nobody else's (`Berth::note`).
        unsafe { rt::vm::pointer::<T>(to).write_unaligned(*record) };
        to
    }

    /// A disposition under which no signal ends the process.
    fn action(&mut self) -> u64 {
        if self.one_in(8) {
            return self.nowhere();
        }
        let sa_handler = match self.random.below(8) {
            0 if !self.signo.is_some_and(Signo::is_trap) => SIG_IGN,
            // The signal stands to the left, and is drawn before.
            1 | 2 if self.signo.is_some_and(is_mild) => SIG_DFL,
            _ => sig::handler_addr(self.handler),
        };
        let all = self.random.below(1 << 8);
        let flags = u32::try_from(all).unwrap_or(0) & !SaFlags::RESETHAND.bits();
        let sa_mask = if self.one_in(4) {
            SigSet::EMPTY
        } else {
            full()
        };
        self.note_record(
            ACTION,
            &Sigaction {
                sa_handler,
                sa_mask,
                sa_flags: flags,
                pad: 0,
            },
        )
    }

    /// The berth's alternate stack, or what is refused, or none.
    fn alt_stack(&mut self) -> u64 {
        let alt = self.berth.alt();
        let (ss_size, ss_flags) = match self.random.below(5) {
            0 => (alt.len as u64, 4),
            1 => (100, 0),
            2 => (alt.len as u64, 0x70),
            3 => return self.nowhere(),
            _ => (alt.len as u64, 0),
        };
        self.note_record(
            ALTSTACK,
            &StackT {
                ss_sp: alt.base,
                ss_size,
                ss_flags,
                pad: 0,
            },
        )
    }
}

/// All signals but those of exceptions.
fn full() -> SigSet {
    let mut set = SigSet::EMPTY;
    Signo::all().for_each(|each| set.insert(each));
    set.minus(traps())
}

/// The signals of exceptions.
fn traps() -> SigSet {
    let mut set = SigSet::EMPTY;
    Signo::all()
        .filter(|each| each.is_trap())
        .for_each(|each| set.insert(each));
    set
}

/// Whether a signal by default does no more than stop the process.
fn is_mild(signo: Signo) -> bool {
    matches!(
        signo.default_action(),
        DefaultAction::Ignore | DefaultAction::Continue | DefaultAction::Stop
    )
}
