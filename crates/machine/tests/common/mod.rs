//! What the machine's tests share: a place for guest code, and a vcpu to run it on.
#![allow(dead_code, reason = "each test program uses a part of this")]

use lwp_abi::mman::Prot;
use lwp_kernel::ctx::{Trap, UserCtx};
use lwp_kernel::machine::{Backing, FastCalls, FastEnd, Memory, UserMode};
use lwp_machine::{HostMachine, MainVcpu, Options};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of each test's piece of guest memory.
pub(crate) const PIECE: u64 = 1 << 20;

static NEXT: AtomicU64 = AtomicU64::new(0x10_0000_0000);

/// A machine with this thread as its vcpu 0, and some guest memory: code, then data, then a stack.
pub(crate) struct Guest {
    // Dropped first: the thread stops being a vcpu before its machine goes.
    _vcpu: MainVcpu,
    pub(crate) machine: HostMachine,
    pub(crate) base: u64,
}

impl Guest {
    pub(crate) fn new() -> Self {
        Self::with(1)
    }

    pub(crate) fn with(vcpus: usize) -> Self {
        let options = Options {
            vcpus: Some(vcpus),
            no_fsgsbase: std::env::var_os("LWP_TEST_NO_FSGSBASE").is_some(),
            ..Options::default()
        };
        let machine = HostMachine::new(&options).expect("this host will do");
        let vcpu = machine.adopt_main_thread().expect("vcpu 0 is free");
        let base = NEXT.fetch_add(PIECE, Ordering::Relaxed);
        let anon = Backing::Anon {
            shared: false,
            stack: false,
        };
        let all = base..base + PIECE / 2;
        machine
            .map(all, Prot::READ | Prot::WRITE, anon)
            .expect("room");
        Self {
            _vcpu: vcpu,
            machine,
            base,
        }
    }

    /// Puts code at the start of the piece and makes it text, so that its call sites get patched.
    pub(crate) fn text(&self, code: &[u8]) -> u64 {
        self.text_at(self.base, code)
    }

    pub(crate) fn text_at(&self, at: u64, code: &[u8]) -> u64 {
        let pages = at & !0xfff..(at + code.len() as u64 + 0xfff) & !0xfff;
        self.machine
            .protect(pages.clone(), Prot::READ | Prot::WRITE)
            .expect("mapped");
        self.machine.copyout(code, at).expect("writable");
        self.machine
            .protect(pages, Prot::READ | Prot::EXEC)
            .expect("mapped");
        at
    }

    /// An address of zeroed memory.
    pub(crate) fn data(&self) -> u64 {
        self.base + PIECE / 4
    }

    /// A context at `rip` with a stack.
    pub(crate) fn cx(&self, rip: u64) -> UserCtx {
        let mut cx = UserCtx::default();
        cx.regs.rip = rip;
        cx.regs.rsp = self.base + PIECE / 2 - 4096;
        cx.regs.rflags = 0x202;
        cx
    }

    pub(crate) fn enter(&self, cx: &mut UserCtx) -> Trap {
        self.machine.enter(cx)
    }
}

/// Two calls, 42 and 43, both patched.
pub(crate) const TWO_CALLS: [u8; 14] = [0xb8, 42, 0, 0, 0, 0x0f, 5, 0xb8, 43, 0, 0, 0, 0x0f, 5];

/// Makes call 42 on the spot, and no other, in the way it is told.
pub(crate) struct Script<'a> {
    pub(crate) machine: &'a HostMachine,
    pub(crate) end: FastEnd,
    /// How often it has been made.
    pub(crate) made: u32,
    /// The context to switch to.
    pub(crate) other: Option<Box<UserCtx>>,
    /// The one that has parked.
    pub(crate) parked: Option<Box<UserCtx>>,
}

impl<'a> Script<'a> {
    pub(crate) fn new(guest: &'a Guest, end: FastEnd) -> Self {
        Self {
            machine: &guest.machine,
            end,
            made: 0,
            other: None,
            parked: None,
        }
    }
}

impl FastCalls for Script<'_> {
    fn fast_call(&mut self, slot: &mut Option<Box<UserCtx>>) -> FastEnd {
        let Some(cx) = slot.as_deref_mut().filter(|cx| cx.regs.rax == 42) else {
            return FastEnd::Slow;
        };
        match self.end {
            FastEnd::Slow => return FastEnd::Slow,
            FastEnd::Done => cx.regs.succeed(7, 9),
            FastEnd::Switched | FastEnd::Parked if !self.machine.set_aside(cx) => {
                return FastEnd::Slow;
            }
            FastEnd::Switched => {
                core::mem::swap(slot, &mut self.other);
                core::mem::swap(&mut self.other, &mut self.parked);
            }
            FastEnd::Parked => core::mem::swap(slot, &mut self.parked),
        }
        self.made += 1;
        self.end
    }
}

/// A fast generator of reproducible numbers (xorshift).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
