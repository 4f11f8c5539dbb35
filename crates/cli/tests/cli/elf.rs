//! NetBSD programs of a few instructions, and ELF files with something wrong in them.

/// Where the file is mapped, whole, from its first byte.
const BASE: u32 = 0x0040_0000;
/// Where the instructions are in the file.
const TEXT: usize = 0x200;
/// Where the data is in the file.
const DATA: usize = 0x800;

/// System calls, by their NetBSD numbers.
pub(crate) mod nr {
    pub(crate) const EXIT: u32 = 1;
    pub(crate) const FORK: u32 = 2;
    pub(crate) const READ: u32 = 3;
    pub(crate) const WRITE: u32 = 4;
    pub(crate) const OPEN: u32 = 5;
    pub(crate) const GETPID: u32 = 20;
    pub(crate) const KILL: u32 = 37;
    pub(crate) const DUP: u32 = 41;
    pub(crate) const EXECVE: u32 = 59;
    pub(crate) const GETRANDOM: u32 = 91;
    /// NetBSD has it; nobody will ever serve NFS through us.
    pub(crate) const NFSSVC: u32 = 155;
    pub(crate) const NANOSLEEP50: u32 = 430;
    pub(crate) const WAIT450: u32 = 449;
    /// No release of NetBSD assigns this one.
    pub(crate) const NOBODYS: u32 = 326;
}

/// A 32-bit immediate operand, or a register that holds the value by then.
#[derive(Clone, Copy)]
pub(crate) enum Value {
    Is(u32),
    /// What the call before returned.
    Returned,
    /// The bottom of the free part of the stack, with room for 64 bytes.
    Buffer,
}

/// The address of the program's data.
pub(crate) const fn data() -> Value {
    data_at(0)
}

/// The address so many bytes into the program's data.
pub(crate) const fn data_at(offset: u32) -> Value {
    Value::Is(BASE + 0x800 + offset)
}

/// The instructions of a program, in the order in which they run.
#[derive(Default)]
pub(crate) struct Code(Vec<u8>);

impl Code {
    /// Calls `nr` with up to three arguments.
    pub(crate) fn call(mut self, nr: u32, args: &[Value]) -> Self {
        // Of each register: `mov $imm32,r32`; `mov %eax,r32`; `lea -64(%rsp),r64`.
        const REGISTERS: [(u8, u8, u8); 3] =
            [(0xbf, 0xc7, 0x7c), (0xbe, 0xc6, 0x74), (0xba, 0xc2, 0x54)];
        for (value, (immediate, eax, buffer)) in args.iter().zip(REGISTERS) {
            match value {
                Value::Is(value) => {
                    self.0.push(immediate);
                    self.0.extend(value.to_le_bytes());
                }
                Value::Returned => self.0.extend([0x89, eax]),
                Value::Buffer => self.0.extend([0x48, 0x8d, buffer, 0x24, 0xc0]),
            }
        }
        self.0.push(0xb8);
        self.0.extend(nr.to_le_bytes());
        self.0.extend([0x0f, 0x05]);
        self
    }

    /// Ends with the value, or the error number, that the call before returned.
    pub(crate) fn exit_with_result(self) -> Self {
        self.call(nr::EXIT, &[Value::Returned])
    }

    /// Ends with `status`.
    pub(crate) fn exit(self, status: u32) -> Self {
        self.call(nr::EXIT, &[Value::Is(status)])
    }

    /// Sends `signal`, by its NetBSD number, to the program itself, and ends with 0 if it lives.
    pub(crate) fn die_of(self, signal: u32) -> Self {
        let me = self.call(nr::GETPID, &[]);
        me.call(nr::KILL, &[Value::Returned, Value::Is(signal)])
            .exit(0)
    }

    /// Writes `len` bytes of argument `n`, or of what comes `n` words after the count of arguments
    /// if that is no argument.
    pub(crate) fn write_argument(mut self, n: u8, len: u32) -> Self {
        // mov 8*(n+1)(%rsp),%rsi
        self.0.extend([0x48, 0x8b, 0x74, 0x24, 8 * (n + 1)]);
        self.write_rsi(len)
    }

    /// Writes `len` bytes of the first string of the environment.
    pub(crate) fn write_environment(mut self, len: u32) -> Self {
        // mov (%rsp),%rax; mov 16(%rsp,%rax,8),%rsi
        self.0
            .extend([0x48, 0x8b, 0x04, 0x24, 0x48, 0x8b, 0x74, 0xc4, 0x10]);
        self.write_rsi(len)
    }

    /// Runs in place for ever.
    pub(crate) fn spin(mut self) -> Self {
        self.0.extend([0xeb, 0xfe]);
        self
    }

    /// Runs `body` so many times; it may call, and keeps RBX.
    pub(crate) fn repeat(mut self, times: u32, body: &Self) -> Self {
        // mov $times,%ebx; the body; dec %ebx; jnz the body
        self.0.push(0xbb);
        self.0.extend(times.to_le_bytes());
        self.0.extend(&body.0);
        self.0.extend([0xff, 0xcb, 0x0f, 0x85]);
        let back = i32::try_from(body.0.len()).unwrap() + 8;
        self.0.extend((-back).to_le_bytes());
        self
    }

    /// Runs `body` if what the call before returned is even.
    pub(crate) fn if_even(mut self, body: &Self) -> Self {
        let len = u8::try_from(body.0.len()).expect("a short body");
        // test $1,%al; jnz over the body
        self.0.extend([0xa8, 1, 0x75, len]);
        self.0.extend(&body.0);
        self
    }

    /// Calls `nr` again and again.
    pub(crate) fn for_ever(mut self, nr: u32) -> Self {
        let begin = self.0.len();
        self = self.call(nr, &[]);
        let back = i32::try_from(self.0.len() - begin).unwrap() + 5;
        self.0.push(0xe9);
        self.0.extend((-back).to_le_bytes());
        self
    }

    /// Reads the time-stamp counter twice; the result is 1 if the second is more.
    pub(crate) fn counter_grows(mut self) -> Self {
        // rdtsc; shl $32,%rdx; or %rdx,%rax
        let read = [0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0];
        self.0.extend(read);
        // mov %rax,%rbx
        self.0.extend([0x48, 0x89, 0xc3]);
        self.0.extend(read);
        // cmp %rax,%rbx; setb %al; movzx %al,%eax
        self.0
            .extend([0x48, 0x39, 0xc3, 0x0f, 0x92, 0xc0, 0x0f, 0xb6, 0xc0]);
        self
    }

    /// Reads from address 8.
    pub(crate) fn fault(mut self) -> Self {
        self.0.extend([0x48, 0x8b, 0x04, 0x25, 8, 0, 0, 0]);
        self
    }

    fn write_rsi(mut self, len: u32) -> Self {
        // mov $1,%edi; mov $len,%edx; mov $WRITE,%eax; syscall
        self.0.extend([0xbf, 1, 0, 0, 0, 0xba]);
        self.0.extend(len.to_le_bytes());
        self.call(nr::WRITE, &[])
    }
}

/// An ELF file with one segment, all of it, and perhaps a note and an interpreter.
pub(crate) struct Elf {
    /// 1 for 32 bits, 2 for 64.
    pub(crate) class: u8,
    pub(crate) machine: u16,
    /// 2 for a program at a fixed address.
    pub(crate) kind: u16,
    /// Name, type and first word of the note.
    pub(crate) note: Option<(&'static [u8], u32, u32)>,
    pub(crate) interpreter: Option<&'static str>,
    pub(crate) code: Code,
    pub(crate) data: &'static [u8],
}

impl Elf {
    /// A static program for NetBSD 10.1 that runs `code`.
    pub(crate) fn netbsd(code: Code) -> Self {
        Self {
            class: 2,
            machine: 62,
            kind: 2,
            note: Some((b"NetBSD\0", 1, 1_001_000_000)),
            interpreter: None,
            code,
            data: b"",
        }
    }

    /// A program for Linux, as its note says; it is never run.
    pub(crate) fn linux() -> Self {
        Self {
            note: Some((b"GNU\0", 1, 0)),
            ..Self::netbsd(Code::default().exit(0))
        }
    }

    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut file = vec![0; DATA];
        put(&mut file, TEXT, &self.code.0);
        file.extend_from_slice(self.data);
        let mut extra = Vec::new();
        if let Some(note) = self.note {
            let at = 0x180;
            extra.push((4, at, put_note(&mut file, at, note)));
        }
        if let Some(path) = self.interpreter {
            put(&mut file, 0x1c0, path.as_bytes());
            extra.push((3, 0x1c0, path.len() + 1));
        }
        put(&mut file, 0, &self.header(1 + extra.len()));
        let all = file.len();
        put(&mut file, 64, &program_header(1, 5, 0, all));
        for (n, (kind, at, len)) in extra.into_iter().enumerate() {
            put(
                &mut file,
                64 + 56 * (n + 1),
                &program_header(kind, 4, at, len),
            );
        }
        file
    }

    fn header(&self, segments: usize) -> Vec<u8> {
        let mut header = vec![0x7f, b'E', b'L', b'F', self.class, 1, 1];
        header.resize(16, 0);
        header.extend(self.kind.to_le_bytes());
        header.extend(self.machine.to_le_bytes());
        header.extend(1_u32.to_le_bytes());
        header.extend((u64::from(BASE) + word(TEXT)).to_le_bytes());
        header.extend(64_u64.to_le_bytes());
        header.extend([0; 12]);
        for half in [64, 56, segments, 64, 0, 0] {
            header.extend(u16::try_from(half).unwrap().to_le_bytes());
        }
        header
    }
}

/// A program header for `len` bytes at `at` of the file.
fn program_header(kind: u32, flags: u32, at: usize, len: usize) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(kind.to_le_bytes());
    header.extend(flags.to_le_bytes());
    let address = u64::from(BASE) + word(at);
    let align = if kind == 1 { 0x1000 } else { 4 };
    for value in [word(at), address, address, word(len), word(len), align] {
        header.extend(value.to_le_bytes());
    }
    header
}

/// Puts a note of one word into the file and says how long it is.
fn put_note(file: &mut [u8], at: usize, (name, kind, value): (&[u8], u32, u32)) -> usize {
    let mut note = Vec::new();
    // An ABI tag of Linux has four words; the others are zero here.
    let words: usize = if name == b"GNU\0" { 4 } else { 1 };
    for word in [
        u32::try_from(name.len()).unwrap(),
        u32::try_from(4 * words).unwrap(),
        kind,
    ] {
        note.extend(word.to_le_bytes());
    }
    note.extend_from_slice(name);
    note.resize(note.len().next_multiple_of(4), 0);
    note.extend(value.to_le_bytes());
    note.resize(note.len() + 4 * (words - 1), 0);
    put(file, at, &note);
    note.len()
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

fn word(size: usize) -> u64 {
    u64::try_from(size).unwrap()
}
