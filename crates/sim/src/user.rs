//! User mode: programs as async functions.
//!
//! A function has an address; an LWP whose instruction pointer is such an address starts it, as a new
//! activation with an address of its own. At a system call the activation is left with the call's
//! registers loaded; it goes on when the LWP comes back to user mode at the same address. So contexts,
//! signal handlers and restarted calls work as on a real machine, by registers alone.
//!
//! Responsible for what happens between two traps; what the calls of a program look like is in `calls`.

use crate::memory::Memory;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use lwp_abi::errno::Errno;
use lwp_abi::nr;
use lwp_abi::ucontext::{PSL_C, PSL_USERSET, SEL_GUDATA, SEL_UCODE, SEL_UDATA, UcFlags, Ucontext};
use lwp_kernel::Kernel;
use lwp_kernel::ctx::{Fault, FaultKind, Regs};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

const FUNCTIONS: u64 = 0x100_0000;
const ACTIVATIONS: u64 = 0x200_0000;
const SPACING: u64 = 16;
/// Bytes of a system-call instruction.
const SYSCALL: u64 = 2;
const STACK: u64 = 16 << 10;
/// A program that looks for something this often has looked in vain.
const PATIENCE: u32 = 200_000;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
type Function = Arc<dyn Fn(User, [u64; 3]) -> Task + Send + Sync>;

/// What happens when a function returns.
#[derive(Clone, Copy)]
enum Kind {
    /// The LWP exits.
    Thread,
    /// The context given in RDX is installed.
    Handler,
}

/// What user mode came to.
pub(crate) enum Step {
    /// A system call is loaded.
    Call,
    /// An exception.
    Fault(Fault),
    /// Time has passed.
    Pause,
}

/// What a system call left in the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// RAX.
    pub rax: u64,
    /// RDX.
    pub rdx: u64,
    /// The carry flag.
    pub carry: bool,
}

impl Reply {
    /// The value, or the error if carry is set.
    ///
    /// # Errors
    /// Those of the call.
    ///
    /// # Panics
    /// If the number is no errno.
    pub fn result(self) -> Result<u64, Errno> {
        if !self.carry {
            return Ok(self.rax);
        }
        let number = i32::try_from(self.rax).expect("an errno fits");
        Err(Errno::from_raw(number).expect("the kernel returns known errors"))
    }
}

enum Wish {
    Call(u16, [u64; 6]),
    Pause,
    Fault(FaultKind, u64),
}

#[derive(Default)]
struct Port {
    wish: Option<Wish>,
    reply: Option<Reply>,
}

/// What all LWPs of a simulated process share: code, memory and the kernel.
pub(crate) struct Space {
    pub(crate) memory: Arc<Memory>,
    kernel: OnceLock<Weak<Kernel>>,
    functions: Mutex<Vec<(Function, Kind)>>,
    live: Mutex<(HashMap<u64, Activation>, u64)>,
}

struct Activation {
    task: Task,
    user: User,
    kind: Kind,
    context: u64,
}

/// A program's access to its machine: system calls, memory, and the state of the kernel to look at.
#[derive(Clone)]
pub struct User {
    port: Arc<Mutex<Port>>,
    space: Arc<Space>,
}

impl User {
    fn port(&self) -> MutexGuard<'_, Port> {
        self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process's memory.
    pub fn memory(&self) -> &Memory {
        &self.space.memory
    }

    /// The kernel, for looking at its state. A program that changes it is on its own.
    ///
    /// # Panics
    /// If the run is over.
    pub fn kernel(&self) -> Arc<Kernel> {
        let kernel = self.space.kernel.get().and_then(Weak::upgrade);
        kernel.expect("a program that runs has a kernel")
    }

    async fn wish(&self, wish: Wish) -> Reply {
        self.port().wish = Some(wish);
        let mut asked = false;
        core::future::poll_fn(|_| {
            if core::mem::replace(&mut asked, true) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        let reply = self.port().reply.take();
        reply.expect("an activation is resumed with a reply")
    }

    /// Makes a system call and returns the registers.
    pub async fn syscall(&self, number: u16, args: &[u64]) -> Reply {
        let mut words = [0; 6];
        words[..args.len()].copy_from_slice(args);
        self.wish(Wish::Call(number, words)).await
    }

    /// Makes a system call.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn call(&self, number: u16, args: &[u64]) -> Result<u64, Errno> {
        self.syscall(number, args).await.result()
    }

    /// Spends time in user mode; others may run.
    pub async fn pause(&self) {
        self.wish(Wish::Pause).await;
    }

    /// Spends time in user mode until `holds` does.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..PATIENCE {
            if holds() {
                return;
            }
            self.pause().await;
        }
        panic!("waited in vain until {what}");
    }

    /// Takes an exception.
    pub async fn fault(&self, kind: FaultKind, addr: u64) {
        self.wish(Wish::Fault(kind, addr)).await;
    }

    /// A new record in memory, holding `value`.
    ///
    /// # Panics
    /// Never: the memory is fresh.
    pub fn put<T: IntoBytes + Immutable + ?Sized>(&self, value: &T) -> u64 {
        let bytes = value.as_bytes();
        let at = self.memory().alloc(bytes.len() as u64);
        self.memory()
            .write(bytes, at)
            .expect("fresh memory is writable");
        at
    }

    /// Reads a record.
    ///
    /// # Panics
    /// If it is not mapped.
    pub fn get<T: FromBytes + IntoBytes>(&self, at: u64) -> T {
        let mut value = T::new_zeroed();
        self.memory()
            .read(at, value.as_mut_bytes())
            .expect("the program knows its memory");
        value
    }

    /// The address of a new function that an LWP can start in; its argument is RDI.
    pub fn thread<F>(&self, f: impl Fn(User, u64) -> F + Send + Sync + 'static) -> u64
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let function = move |user, [arg, ..]: [u64; 3]| -> Task { Box::pin(f(user, arg)) };
        self.space.add(Arc::new(function), Kind::Thread)
    }

    /// The address of a new signal handler: signal number, address of the siginfo, of the context.
    pub fn handler<F>(&self, f: impl Fn(User, [u64; 3]) -> F + Send + Sync + 'static) -> u64
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let function = move |user, args| -> Task { Box::pin(f(user, args)) };
        self.space.add(Arc::new(function), Kind::Handler)
    }

    /// A context that starts `function` with `arg`, on a fresh stack.
    pub fn context(&self, function: u64, arg: u64) -> Ucontext {
        let mut uc = Ucontext::new_zeroed();
        uc.uc_flags = UcFlags::CPU.bits();
        let g = &mut uc.uc_mcontext.gregs;
        g.rip = function;
        g.rdi = arg;
        g.rsp = self.memory().alloc(STACK) + STACK - 8;
        g.rflags = PSL_USERSET;
        (g.cs, g.ss, g.ds, g.es) = (SEL_UCODE, SEL_UDATA, SEL_GUDATA, SEL_GUDATA);
        uc
    }
}

impl Space {
    /// A process whose first function is `main`.
    pub(crate) fn new<F>(main: impl Fn(User) -> F + Send + Sync + 'static) -> Arc<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let space = Self {
            memory: Arc::new(Memory::default()),
            kernel: OnceLock::new(),
            functions: Mutex::default(),
            live: Mutex::default(),
        };
        let function = move |user, _: [u64; 3]| -> Task { Box::pin(main(user)) };
        space.add(Arc::new(function), Kind::Thread);
        Arc::new(space)
    }

    /// Makes `kernel` known to the programs.
    pub(crate) fn set_kernel(&self, kernel: &Arc<Kernel>) {
        // Set once, by the run that made both.
        let _ = self.kernel.set(Arc::downgrade(kernel));
    }

    fn add(&self, function: Function, kind: Kind) -> u64 {
        let mut functions = self
            .functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        functions.push((function, kind));
        FUNCTIONS + SPACING * (functions.len() as u64 - 1)
    }

    fn function(&self, rip: u64) -> Option<(Function, Kind)> {
        let offset = rip.checked_sub(FUNCTIONS)?;
        let index = usize::try_from(offset / SPACING).ok()?;
        let functions = self
            .functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (function, kind) = functions.get(index).filter(|_| offset % SPACING == 0)?;
        Some((Arc::clone(function), *kind))
    }

    /// The registers of the first LWP.
    pub(crate) fn first_registers(&self, regs: &mut Regs) {
        regs.rip = FUNCTIONS;
        regs.rsp = self.memory.alloc(STACK) + STACK - 8;
        regs.rflags = PSL_USERSET;
    }

    fn live(&self) -> MutexGuard<'_, (HashMap<u64, Activation>, u64)> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets every program that has not ended: they hold what holds them.
    pub(crate) fn clear(&self) {
        let left = core::mem::take(&mut self.live().0);
        drop(left);
        let functions = core::mem::take(
            &mut *self
                .functions
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        drop(functions);
    }

    /// Runs what the registers say until something happens.
    pub(crate) fn run(self: &Arc<Self>, regs: &mut Regs) -> Step {
        if let Some((function, kind)) = self.function(regs.rip) {
            self.start(&function, kind, regs);
        }
        let back = regs.rip.wrapping_sub(ACTIVATIONS) % SPACING;
        let at = regs.rip.wrapping_sub(back);
        let found = {
            let mut live = self.live();
            if back == 0 && live.0.contains_key(&at) {
                // A restarted call: the registers still hold it.
                regs.rip = at + SYSCALL;
                return Step::Call;
            }
            live.0.remove(&at)
        };
        let Some(mut activation) = found else {
            return Step::Fault(nothing_there(regs.rip));
        };
        activation.user.port().reply = Some(Reply {
            rax: regs.rax,
            rdx: regs.rdx,
            carry: regs.rflags & PSL_C != 0,
        });
        let polled = activation
            .task
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        if polled.is_ready() {
            let (number, arg) = match activation.kind {
                Kind::Thread => (nr::SYS_LWP_EXIT, 0),
                Kind::Handler => (nr::SYS_SETCONTEXT, activation.context),
            };
            load(regs, number, [arg, 0, 0, 0, 0, 0]);
            regs.rip = 0;
            return Step::Call;
        }
        let wish = activation.user.port().wish.take();
        self.live().0.insert(at, activation);
        match wish.expect("a program awaits nothing but its machine") {
            Wish::Call(number, args) => {
                load(regs, number, args);
                Step::Call
            }
            Wish::Pause => Step::Pause,
            Wish::Fault(kind, addr) => Step::Fault(Fault {
                kind,
                addr,
                trapno: 0,
                err: 0,
            }),
        }
    }

    fn start(self: &Arc<Self>, function: &Function, kind: Kind, regs: &mut Regs) {
        let user = User {
            port: Arc::default(),
            space: Arc::clone(self),
        };
        let activation = Activation {
            task: function(user.clone(), [regs.rdi, regs.rsi, regs.rdx]),
            user,
            kind,
            context: regs.rdx,
        };
        let mut live = self.live();
        let at = ACTIVATIONS + SPACING * live.1;
        live.1 += 1;
        live.0.insert(at, activation);
        regs.rip = at + SYSCALL;
    }
}

fn nothing_there(rip: u64) -> Fault {
    Fault {
        kind: FaultKind::SegvMapErr,
        addr: rip,
        trapno: 14,
        err: 0x14,
    }
}

fn load(regs: &mut Regs, number: u16, args: [u64; 6]) {
    regs.rax = u64::from(number);
    [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = args;
}
