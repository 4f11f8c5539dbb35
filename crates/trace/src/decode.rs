//! One call: its arguments at entry and at return, its result.

use crate::dump::Dump;
use crate::errtext;
use crate::kind::{Count, Kind, Returns, Shape, Signature, When};
use crate::{names, records, table};
use lwp_abi::errno::Errno;
use lwp_abi::fs::{
    AT_FDCWD, F_ADD_SEALS, F_GET_SEALS, F_GETFD, F_GETFL, F_GETLK, F_GETNOSIGPIPE, F_GETOWN,
    F_GETPATH, F_MAXFD, F_SETFD, F_SETFL, F_SETLK, F_SETLKW, O_CREAT,
};
use lwp_abi::ioctl::{IoctlCmd, TIOCGETA, TIOCGWINSZ, TIOCSETA, TIOCSETAF, TIOCSETAW, TIOCSWINSZ};
use lwp_abi::nr;
use lwp_kernel::machine::Memory;
use lwp_kernel::{Ended, Ret, SysResult};

/// How many arguments come in registers.
const IN_REGISTERS: usize = 6;

/// A system call as the guest makes it: that inside `syscall(2)` and `__syscall(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its number, below 512.
    pub number: u16,
    /// Its arguments; those it does not have may be anything.
    pub args: [u64; nr::SYS_MAXSYSARGS],
}

impl Call {
    /// Makes one of RAX, the argument registers and the stack pointer.
    pub fn new(memory: &dyn Memory, number: u64, regs: [u64; IN_REGISTERS], stack: u64) -> Self {
        let number = nr::of_word(number);
        let indirect = [nr::SYS_SYSCALL, nr::SYS___SYSCALL].contains(&number);
        let (number, in_registers) = if indirect {
            (nr::of_word(regs[0]), &regs[1..])
        } else {
            (number, &regs[..])
        };
        let mut args = [0; nr::SYS_MAXSYSARGS];
        let signature = table::signature(number);
        let count = signature.map_or(IN_REGISTERS, |signature| signature.args.len());
        for (at, arg) in args.iter_mut().enumerate().take(count) {
            *arg = match in_registers.get(at) {
                Some(&word) => word,
                // Above the return address.
                None => on_stack(memory, stack, at - in_registers.len() + 1),
            };
        }
        Self { number, args }
    }

    /// NetBSD's name for it, if it has one.
    pub fn name(&self) -> Option<&'static str> {
        nr::name(self.number)
    }

    fn int(&self, at: usize) -> i32 {
        int(self.args[at])
    }
}

fn on_stack(memory: &dyn Memory, stack: u64, at: usize) -> u64 {
    let mut word = [0; 8];
    let place = stack.wrapping_add(8 * at as u64);
    match memory.copyin(place, &mut word) {
        Ok(()) => u64::from_le_bytes(word),
        // The call itself will fail.
        Err(_) => 0,
    }
}

/// The low half, as an `int` is passed.
fn uint(word: u64) -> u32 {
    u32::try_from(word & u64::from(u32::MAX)).unwrap_or(0)
}

fn int(word: u64) -> i32 {
    uint(word).cast_signed()
}

/// A value as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The text; none if there is nothing to show.
    pub text: String,
    /// The text is a number.
    pub is_number: bool,
}

impl Shown {
    fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            is_number: false,
        }
    }

    fn number(number: impl Into<i128>) -> Self {
        Self {
            text: number.into().to_string(),
            is_number: true,
        }
    }
}

/// One argument.
#[derive(Clone, Debug)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// What is known of it.
    pub shown: Option<Shown>,
    when: When,
}

/// A call, as far as it is known.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The call.
    pub call: Call,
    /// Its arguments.
    pub args: Vec<Argument>,
    signature: Option<&'static Signature>,
}

impl Decoded {
    /// The name; with a question mark if we know nothing of the arguments.
    pub fn name(&self) -> String {
        let mark = if self.signature.is_some() { "" } else { "?" };
        match self.call.name() {
            Some(name) => format!("{name}{mark}"),
            None => format!("call {}{mark}", self.call.number),
        }
    }

    /// Whether it comes back.
    pub fn returns(&self) -> bool {
        self.signature
            .is_none_or(|signature| signature.returns != Returns::Never)
    }

    /// Name and arguments up to the first that is not known yet.
    pub fn head(&self) -> String {
        let mut text = self.name();
        text.push('(');
        let mut is_first = true;
        for arg in &self.args {
            let Some(shown) = &arg.shown else {
                if !is_first {
                    text.push(',');
                }
                return text;
            };
            if !shown.text.is_empty() {
                if !is_first {
                    text.push_str(", ");
                }
                is_first = false;
                text.push_str(&shown.text);
            }
            if arg.when == When::Both {
                return text;
            }
        }
        text
    }

    /// What is not known by now will not be: it is shown as an address.
    pub fn give_up(&mut self) {
        let words = self.call.args;
        for (arg, word) in self.args.iter_mut().zip(words) {
            arg.shown.get_or_insert_with(|| address(word));
        }
    }

    /// All of it; begins with what [`Decoded::head`] said before.
    pub fn whole(&self) -> String {
        let shown = self.args.iter().filter_map(|arg| arg.shown.as_ref());
        let texts: Vec<_> = shown
            .filter(|shown| !shown.text.is_empty())
            .map(|shown| &*shown.text)
            .collect();
        format!("{}({})", self.name(), texts.join(", "))
    }
}

/// Decodes calls.
#[derive(Clone, Copy)]
pub struct Decoder<'a> {
    /// Where the guest's memory can be read.
    pub memory: &'a dyn Memory,
    /// How many bytes of a string are shown.
    pub strings: usize,
}

impl Decoder<'_> {
    /// What is known of a call when it is made.
    pub fn enter(&self, call: Call) -> Decoded {
        let signature = table::signature(call.number);
        let args = match signature {
            Some(signature) => (0..signature.args.len())
                .map(|at| self.entering(&call, signature, at))
                .collect(),
            None => call.args[..IN_REGISTERS]
                .iter()
                .map(|&word| unknown(word))
                .collect(),
        };
        Decoded {
            call,
            args,
            signature,
        }
    }

    /// What is known when it has come back: adds to the arguments, and says what came of it.
    pub fn leave(&self, decoded: &mut Decoded, result: SysResult) -> Shown {
        let Decoded {
            call,
            args,
            signature,
        } = decoded;
        let Some(signature) = signature else {
            return ended(result, |ret| Shown::number(ret.0.cast_signed()));
        };
        for (at, arg) in args.iter_mut().enumerate() {
            if arg.when != When::In {
                let after = result
                    .ok()
                    .map(|ret| self.show(call, signature, at, Some(ret)));
                arg.shown = Some(merged(arg.shown.take(), after, call.args[at]));
            }
        }
        ended(result, |ret| returned(call, signature.returns, ret))
    }

    fn entering(&self, call: &Call, signature: &'static Signature, at: usize) -> Argument {
        let arg = &signature.args[at];
        let when = when(call, &arg.kind);
        let is_known = when != When::Out;
        Argument {
            name: arg.name,
            shown: is_known.then(|| self.show(call, signature, at, None)),
            when,
        }
    }

    /// Shows an argument, with what has come back if it has.
    fn show(&self, call: &Call, signature: &Signature, at: usize, ret: Option<Ret>) -> Shown {
        let word = call.args[at];
        match signature.args[at].kind {
            Kind::Id if uint(word) == u32::MAX => Shown::number(-1),
            Kind::Uint | Kind::Id => Shown::number(uint(word)),
            Kind::Long => Shown::number(word.cast_signed()),
            Kind::Size => Shown::number(word),
            Kind::Ptr => address(word),
            Kind::AtFd if int(word) == AT_FDCWD => Shown::text("AT_FDCWD"),
            Kind::Int | Kind::Fd | Kind::AtFd => Shown::number(int(word)),
            Kind::Signo => Shown::text(names::signo(int(word))),
            Kind::OpenMode if uint(call.args[at - 1]) & O_CREAT == 0 => Shown::default(),
            Kind::Mode | Kind::OpenMode => Shown::text(names::mode(uint(word))),
            Kind::Clock => Shown::text(names::clock(int(word))),
            Kind::Flags(flags) => Shown::text(flags.show(uint(word).into())),
            Kind::LongFlags(flags) => Shown::text(flags.show(word)),
            Kind::Enum(names) => Shown::text(names.show(int(word).into())),
            Kind::MapFlags => Shown::text(names::map_flags(uint(word))),
            Kind::SockType => Shown::text(names::socket_type(uint(word))),
            Kind::SockOpt => Shown::text(names::sockopt(call.int(at - 1), int(word))),
            Kind::Ioctl => Shown::text(names::ioctl(uint(word))),
            Kind::IoctlArg => self.ioctl_arg(uint(call.args[at - 1]), word),
            Kind::FcntlArg => self.fcntl_arg(call.int(at - 1), word),
            Kind::Mem(_, shape) => {
                Shown::text(self.dump(|d| self.shape(d, call, shape, word, ret)))
            }
            Kind::Pad => Shown::default(),
        }
    }

    fn dump(&self, show: impl FnOnce(&mut Dump<'_>)) -> String {
        let mut dump = Dump::new(self.memory, self.strings);
        show(&mut dump);
        dump.into_text()
    }

    fn shape(&self, d: &mut Dump<'_>, call: &Call, shape: Shape, at: u64, ret: Option<Ret>) {
        let count = |count| self.count(call, count, ret);
        match shape {
            Shape::One(show) => show(d, at),
            Shape::Rows(show, size, many) => d.rows(at, size, count(many), show),
            Shape::Bytes(many) => d.bytes(at, count(many)),
            Shape::Value(many) => records::value(d, at, count(many)),
            Shape::Dirents(many) => records::dirents(d, at, count(many)),
            Shape::Str => d.string(at),
            Shape::Strs => records::strings(d, at),
            Shape::Iov(many) => records::iov(d, at, count(many), received(ret)),
            Shape::Sockaddr(many) => records::sockaddr(d, at, count(many)),
            Shape::Msg => records::msghdr(d, at, received(ret)),
            Shape::Polls(many) => {
                let show = match ret {
                    None => records::pollfd,
                    Some(_) => records::polled,
                };
                d.rows(at, records::POLLFD, count(many), show);
            }
            Shape::FdSet(many) => records::fd_set(d, at, count(many)),
            Shape::Mib(many) => mib(d, at, count(many)),
        }
    }

    fn count(&self, call: &Call, count: Count, ret: Option<Ret>) -> u64 {
        let word_at = |at: usize| Dump::new(self.memory, 0).read::<u64>(call.args[at]);
        let half_at = |at: usize| Dump::new(self.memory, 0).read::<u32>(call.args[at]);
        match count {
            Count::Fixed(count) => count,
            Count::Arg(at) => call.args[at],
            Count::Int(at) => u64::try_from(call.int(at)).unwrap_or(0),
            Count::At32(at) => half_at(at).map_or(0, u64::from),
            Count::At64(at) => word_at(at).unwrap_or(0),
            Count::Result => ret.map_or(0, |ret| ret.0),
        }
    }

    fn ioctl_arg(&self, request: u32, word: u64) -> Shown {
        let cmd = IoctlCmd::new(request);
        if !cmd.is_in() && !cmd.is_out() {
            return Shown::default();
        }
        Shown::text(self.dump(|d| match request {
            TIOCGETA | TIOCSETA | TIOCSETAW | TIOCSETAF => records::termios(d, word),
            TIOCGWINSZ | TIOCSWINSZ => records::winsize(d, word),
            _ => records::value(d, word, cmd.len() as u64),
        }))
    }

    fn fcntl_arg(&self, cmd: i32, word: u64) -> Shown {
        match cmd {
            F_GETFD | F_GETFL | F_GETOWN | F_GETNOSIGPIPE | F_MAXFD | F_GET_SEALS => {
                Shown::default()
            }
            F_SETFD => Shown::text(names::FD.show(uint(word).into())),
            F_SETFL => Shown::text(names::OPEN.show(uint(word).into())),
            F_ADD_SEALS => Shown::text(names::SEALS.show(uint(word).into())),
            F_GETLK | F_SETLK | F_SETLKW => Shown::text(self.dump(|d| records::flock(d, word))),
            F_GETPATH => Shown::text(self.dump(|d| d.string(word))),
            _ => Shown::number(int(word)),
        }
    }
}

/// When an argument can be shown.
fn when(call: &Call, kind: &Kind) -> When {
    match *kind {
        Kind::Mem(when, _) => when,
        Kind::IoctlArg => {
            let cmd = IoctlCmd::new(uint(call.args[1]));
            match (cmd.is_in(), cmd.is_out()) {
                (true, true) => When::Both,
                (false, true) => When::Out,
                _ => When::In,
            }
        }
        Kind::FcntlArg => match call.int(1) {
            F_GETLK => When::Both,
            F_GETPATH => When::Out,
            _ => When::In,
        },
        _ => When::In,
    }
}

/// A name of sysctl(3).
fn mib(d: &mut Dump<'_>, at: u64, count: u64) {
    const MOST: usize = lwp_abi::sysctl::CTL_MAXNAME.unsigned_abs() as usize;
    let count = usize::try_from(count).unwrap_or(MOST).min(MOST);
    let name: Option<Vec<i32>> = (0..count as u64)
        .map(|index| d.read(at.wrapping_add(index * 4)))
        .collect();
    match name.filter(|_| at != 0) {
        Some(name) => d.push(&names::mib(&name)),
        None => d.address(at),
    }
}

/// How many bytes have come; all, if that is not known yet.
fn received(ret: Option<Ret>) -> u64 {
    ret.map_or(u64::MAX, |ret| ret.0)
}

fn address(word: u64) -> Shown {
    match word {
        0 => Shown::text("NULL"),
        word => Shown::text(format!("{word:#x}")),
    }
}

fn unknown(word: u64) -> Argument {
    Argument {
        name: "?",
        shown: Some(Shown::text(format!("{word:#x}"))),
        when: When::In,
    }
}

/// What was there before the call, and after it.
fn merged(before: Option<Shown>, after: Option<Shown>, word: u64) -> Shown {
    match (before, after) {
        (None, None) => address(word),
        (Some(only), None) | (None, Some(only)) => only,
        (Some(before), Some(after)) if before == after => before,
        (Some(before), Some(after)) => Shown::text(format!("{} => {}", before.text, after.text)),
    }
}

/// What came of a call.
fn ended(result: SysResult, show: impl FnOnce(Ret) -> Shown) -> Shown {
    match result {
        Ok(ret) => show(ret),
        Err(Ended::Failed(errno)) => Shown::text(format!("-1 {}", error(errno))),
        Err(Ended::Restart) => Shown::text("? ERESTART (to be made again)"),
        Err(Ended::AsSet) => Shown::text("? EJUSTRETURN (the registers are set)"),
        Err(Ended::Gone) => Shown::text("?"),
    }
}

/// An error by name, and what it means.
fn error(errno: Errno) -> String {
    format!("{} ({})", errno.name(), errtext::text(errno))
}

fn returned(call: &Call, returns: Returns, ret: Ret) -> Shown {
    match returns {
        Returns::Ptr => address(ret.0),
        Returns::Mode => Shown::text(names::mode(uint(ret.0))),
        Returns::Pair => Shown::text(format!("[{}, {}]", int(ret.0), int(ret.1))),
        Returns::Fcntl => match call.int(1) {
            F_GETFD => Shown::text(names::FD.show(uint(ret.0).into())),
            F_GETFL => Shown::text(names::OPEN.show(uint(ret.0).into())),
            F_GET_SEALS => Shown::text(names::SEALS.show(uint(ret.0).into())),
            _ => Shown::number(ret.0.cast_signed()),
        },
        Returns::Number | Returns::Nothing | Returns::Never => Shown::number(ret.0.cast_signed()),
    }
}
