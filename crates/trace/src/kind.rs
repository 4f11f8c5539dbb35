//! What an argument or a result of a system call can be.

use crate::dump::Dump;
use crate::names::{Flags, Names};

/// Which part of the kernel a call belongs to; `-e` selects by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Takes the name of a file.
    File,
    /// Works on a descriptor.
    Desc,
    /// LWPs, and their scheduling.
    Lwp,
    /// Processes, and who they are.
    Process,
    /// Signals.
    Signal,
    /// The address space.
    Memory,
    /// Sockets.
    Network,
    /// Clocks and timers.
    Time,
    /// Waiting for descriptors and other events.
    Event,
    /// The system as a whole.
    System,
    /// Calls of old releases and for old hardware, as far as they have no other family.
    Misc,
}

impl Family {
    /// All of them, with their names.
    pub const ALL: [(Self, &'static str); 11] = [
        (Self::File, "file"),
        (Self::Desc, "desc"),
        (Self::Lwp, "lwp"),
        (Self::Process, "process"),
        (Self::Signal, "signal"),
        (Self::Memory, "memory"),
        (Self::Network, "network"),
        (Self::Time, "time"),
        (Self::Event, "event"),
        (Self::System, "system"),
        (Self::Misc, "misc"),
    ];

    /// The family of this name.
    pub fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|&&(_, each)| each == name);
        found.map(|&(family, _)| family)
    }
}

/// When what is at an address can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The guest has put it there.
    In,
    /// The kernel puts it there, if the call succeeds.
    Out,
    /// Both, and what comes back is another thing.
    Both,
}

/// How many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// So many.
    Fixed(u64),
    /// As argument n says, a `size_t`.
    Arg(usize),
    /// As argument n says, an `int`.
    Int(usize),
    /// As the 32-bit word says whose address argument n is.
    At32(usize),
    /// As the 64-bit word says whose address argument n is.
    At64(usize),
    /// As the call returns.
    Result,
}

/// Shows the record at an address.
pub type Show = fn(&mut Dump<'_>, u64);

/// What is at an address.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// One record.
    One(Show),
    /// A row of records of so many bytes each.
    Rows(Show, u64, Count),
    /// Bytes.
    Bytes(Count),
    /// A value of so many bytes: a number, if it has the size of one.
    Value(Count),
    /// Records of getdents(2), so many bytes in all.
    Dirents(Count),
    /// A string that ends with NUL.
    Str,
    /// Addresses of such strings; the last one is NULL.
    Strs,
    /// Pieces of memory, so many, whose bytes are shown.
    Iov(Count),
    /// An address of a socket, of so many bytes.
    Sockaddr(Count),
    /// A message of sendmsg(2) or recvmsg(2).
    Msg,
    /// Descriptors to be polled, and what was found of them.
    Polls(Count),
    /// A set of descriptors below so many.
    FdSet(Count),
    /// A name of sysctl(3), of so many numbers.
    Mib(Count),
}

/// What an argument is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// An `int`.
    Int,
    /// An `unsigned int`.
    Uint,
    /// A `long` or `off_t`.
    Long,
    /// A `size_t` or `unsigned long`.
    Size,
    /// An address that is not looked at.
    Ptr,
    /// A descriptor.
    Fd,
    /// A descriptor of a directory, or `AT_FDCWD`.
    AtFd,
    /// A user's or group's id; -1 is none.
    Id,
    /// A signal.
    Signo,
    /// Type and permissions of a file.
    Mode,
    /// The same, which open(2) looks at only if the flags before have `O_CREAT`.
    OpenMode,
    /// A clock.
    Clock,
    /// Bits, each of which has a name. An `int`.
    Flags(&'static Flags),
    /// The same, in 64 bits.
    LongFlags(&'static Flags),
    /// One of some values.
    Enum(&'static Names),
    /// The flags of mmap(2).
    MapFlags,
    /// The type argument of socket(2).
    SockType,
    /// An option of a socket, at the level that the argument before says.
    SockOpt,
    /// A request of ioctl(2).
    Ioctl,
    /// What goes with it.
    IoctlArg,
    /// What goes with the command of fcntl(2).
    FcntlArg,
    /// The address of something.
    Mem(When, Shape),
    /// Padding, which is not shown.
    Pad,
}

/// What a call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// Zero, or a number.
    Number,
    /// Nothing.
    Nothing,
    /// An address.
    Ptr,
    /// Permissions.
    Mode,
    /// Two descriptors, in two registers.
    Pair,
    /// What fcntl(2) returns: it depends on the command.
    Fcntl,
    /// It does not come back.
    Never,
}

/// An argument.
#[derive(Clone, Copy, Debug)]
pub struct Arg {
    /// NetBSD's name for it.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
}

/// A system call.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    /// Its number.
    pub number: u16,
    /// NetBSD's name for it.
    pub name: &'static str,
    /// Where it belongs.
    pub family: Family,
    /// In order, padding included.
    pub args: &'static [Arg],
    /// What it returns.
    pub returns: Returns,
}
