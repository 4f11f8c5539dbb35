//! The nodes of the tree, and how their values are made.
//!
//! Numbers from 1024 up are those that a kernel gives out as it starts; programs find them by name only.
//!
//! Sources: sysctl(7); sys/sysctl.h, `init_sysctl.c`, `kern_proc.c`, `uvm_meter.c`; syscalls.md 5.7.

use super::{Asked, Value};
use super::{dynamic, lwps};
use crate::sys_resource::MAX_PROC;
use lwp_abi::sysctl::{
    CTL_HW, CTL_KERN, CTL_MACHDEP, CTL_NET, CTL_PROC, CTL_SECURITY, CTL_USER, CTL_VFS, CTL_VM,
    CTLTYPE_INT, CTLTYPE_NODE, CTLTYPE_QUAD, CTLTYPE_STRING, CTLTYPE_STRUCT, Clockinfo,
    HW_ALIGNBYTES, HW_BYTEORDER, HW_MACHINE, HW_MACHINE_ARCH, HW_MODEL, HW_NCPU, HW_NCPUONLINE,
    HW_PAGESIZE, HW_PHYSMEM, HW_PHYSMEM64, HW_USERMEM, HW_USERMEM64, KERN_ARGMAX, KERN_ARND,
    KERN_BOOTTIME, KERN_CLOCKRATE, KERN_CP_TIME, KERN_DOMAINNAME, KERN_FSYNC, KERN_HOSTID,
    KERN_HOSTNAME, KERN_IOV_MAX, KERN_JOB_CONTROL, KERN_LOGIN_NAME_MAX, KERN_LWP,
    KERN_MAPPED_FILES, KERN_MAXFILES, KERN_MAXPROC, KERN_MAXVNODES, KERN_MEMLOCK,
    KERN_MEMLOCK_RANGE, KERN_MEMORY_PROTECTION, KERN_MONOTONIC_CLOCK, KERN_NGROUPS, KERN_OSRELEASE,
    KERN_OSREV, KERN_OSTYPE, KERN_POSIX_BARRIERS, KERN_POSIX_READER_WRITER_LOCKS,
    KERN_POSIX_SEMAPHORES, KERN_POSIX_SPIN_LOCKS, KERN_POSIX_THREADS, KERN_POSIX_TIMERS,
    KERN_POSIX1, KERN_PROC_ARGS, KERN_ROOT_PARTITION, KERN_SAVED_IDS, KERN_SBMAX, KERN_SECURELVL,
    KERN_SYNCHRONIZED_IO, KERN_URND, KERN_VERSION, Loadavg, VM_GUARD_SIZE, VM_LOADAVG,
    VM_MAXADDRESS, VM_MINADDRESS, VM_THREAD_GUARD_SIZE,
};
use lwp_abi::time::Timespec;
use lwp_kernel::machine::GUEST_BOUND;
use zerocopy::IntoBytes;

/// What a node is.
#[derive(Clone, Copy)]
pub(super) enum What {
    /// An inner node.
    Children(&'static [Node]),
    /// A value.
    Leaf(fn(&Asked<'_>) -> Value),
    /// A value that depends on the rest of the name.
    Deep(fn(&Asked<'_>) -> Value),
}

/// A node of the tree.
pub(super) struct Node {
    pub(super) number: i32,
    pub(super) name: &'static str,
    /// `CTLTYPE_*` of a value.
    pub(super) kind: u32,
    /// Bytes of a value; 0 if it varies.
    pub(super) size: u64,
    pub(super) what: What,
}

const fn inner(number: i32, name: &'static str, children: &'static [Node]) -> Node {
    Node {
        number,
        name,
        kind: CTLTYPE_NODE,
        size: 0,
        what: What::Children(children),
    }
}

const fn int(number: i32, name: &'static str, value: fn(&Asked<'_>) -> Value) -> Node {
    Node {
        number,
        name,
        kind: CTLTYPE_INT,
        size: 4,
        what: What::Leaf(value),
    }
}

const fn quad(number: i32, name: &'static str, value: fn(&Asked<'_>) -> Value) -> Node {
    Node {
        number,
        name,
        kind: CTLTYPE_QUAD,
        size: 8,
        what: What::Leaf(value),
    }
}

const fn string(number: i32, name: &'static str, value: fn(&Asked<'_>) -> Value) -> Node {
    Node {
        number,
        name,
        kind: CTLTYPE_STRING,
        size: 0,
        what: What::Leaf(value),
    }
}

const fn record(
    number: i32,
    name: &'static str,
    size: u64,
    value: fn(&Asked<'_>) -> Value,
) -> Node {
    Node {
        number,
        name,
        kind: CTLTYPE_STRUCT,
        size,
        what: What::Leaf(value),
    }
}

const fn deep(number: i32, name: &'static str, value: fn(&Asked<'_>) -> Value) -> Node {
    Node {
        number,
        name,
        kind: CTLTYPE_NODE,
        size: 0,
        what: What::Deep(value),
    }
}

/// An int that never varies.
macro_rules! fixed {
    ($number:expr, $name:literal, $value:expr) => {
        int($number, $name, |_| int_value($value))
    };
}

/// A string that never varies.
macro_rules! text {
    ($number:expr, $name:literal, $value:literal) => {
        string($number, $name, |_| str_value($value))
    };
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a value")]
fn int_value(value: i32) -> Value {
    Ok(value.to_le_bytes().to_vec())
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a value")]
fn quad_value(value: u64) -> Value {
    Ok(value.to_le_bytes().to_vec())
}

/// With its NUL.
#[expect(clippy::unnecessary_wraps, reason = "the shape of a value")]
fn str_value(value: impl AsRef<[u8]>) -> Value {
    Ok([value.as_ref(), b"\0"].concat())
}

/// The version of POSIX that the options of kern.posix_* name.
const POSIX_VERSION: i32 = 200_112;
/// The first number that is given out at run time.
const CREATED: i32 = 1024;

/// The root.
pub(super) static ROOT: Node = inner(
    0,
    "",
    &[
        inner(CTL_KERN, "kern", KERN),
        inner(CTL_VM, "vm", VM),
        inner(CTL_VFS, "vfs", VFS),
        inner(CTL_NET, "net", NET),
        inner(CTL_HW, "hw", HW),
        inner(CTL_MACHDEP, "machdep", MACHDEP),
        inner(CTL_USER, "user", USER),
        deep(CTL_PROC, "proc", dynamic::proc_node),
        inner(CTL_SECURITY, "security", SECURITY),
    ],
);

const KERN: &[Node] = &[
    text!(KERN_OSTYPE, "ostype", "NetBSD"),
    text!(KERN_OSRELEASE, "osrelease", "10.1"),
    fixed!(KERN_OSREV, "osrevision", 1_001_000_000),
    text!(
        KERN_VERSION,
        "version",
        "NetBSD 10.1 (GENERIC) #0: lwp, a user-space kernel\n"
    ),
    fixed!(KERN_MAXVNODES, "maxvnodes", 65_536),
    int(KERN_MAXPROC, "maxproc", |_| {
        int_value(i32::try_from(MAX_PROC).unwrap_or(i32::MAX))
    }),
    int(KERN_MAXFILES, "maxfiles", max_files),
    fixed!(KERN_ARGMAX, "argmax", 262_144),
    fixed!(KERN_SECURELVL, "securelevel", -1),
    string(KERN_HOSTNAME, "hostname", |_| {
        str_value(rustix::system::uname().nodename().to_bytes())
    }),
    fixed!(KERN_HOSTID, "hostid", 0),
    record(KERN_CLOCKRATE, "clockrate", 20, |_| {
        let rate = Clockinfo {
            hz: 100,
            tick: 10_000,
            tickadj: 40,
            stathz: 100,
            profhz: 100,
        };
        Ok(rate.as_bytes().to_vec())
    }),
    fixed!(KERN_POSIX1, "posix1version", POSIX_VERSION),
    fixed!(KERN_NGROUPS, "ngroups", 16),
    fixed!(KERN_JOB_CONTROL, "job_control", 1),
    fixed!(KERN_SAVED_IDS, "saved_ids", 1),
    text!(KERN_DOMAINNAME, "domainname", ""),
    fixed!(KERN_FSYNC, "fsync", 1),
    fixed!(KERN_SYNCHRONIZED_IO, "synchronized_io", 1),
    fixed!(KERN_IOV_MAX, "iov_max", 1024),
    fixed!(KERN_MAPPED_FILES, "mapped_files", 1),
    fixed!(KERN_MEMLOCK, "memlock", 1),
    fixed!(KERN_MEMLOCK_RANGE, "memlock_range", 1),
    fixed!(KERN_MEMORY_PROTECTION, "memory_protection", 1),
    fixed!(KERN_LOGIN_NAME_MAX, "login_name_max", 17),
    deep(KERN_PROC_ARGS, "proc_args", dynamic::proc_args),
    record(KERN_CP_TIME, "cp_time", 40, |_| Ok(vec![0; 40])),
    fixed!(KERN_SBMAX, "sbmax", 262_144),
    fixed!(KERN_MONOTONIC_CLOCK, "monotonic_clock", POSIX_VERSION),
    int(KERN_URND, "urandom", |asked| {
        dynamic::random_bytes(asked, 4)
    }),
    deep(KERN_LWP, "lwp", lwps::lwps),
    fixed!(KERN_POSIX_THREADS, "posix_threads", POSIX_VERSION),
    fixed!(KERN_POSIX_SEMAPHORES, "posix_semaphores", POSIX_VERSION),
    fixed!(KERN_POSIX_BARRIERS, "posix_barriers", POSIX_VERSION),
    fixed!(KERN_POSIX_TIMERS, "posix_timers", POSIX_VERSION),
    fixed!(KERN_POSIX_SPIN_LOCKS, "posix_spin_locks", POSIX_VERSION),
    fixed!(
        KERN_POSIX_READER_WRITER_LOCKS,
        "posix_reader_writer_locks",
        POSIX_VERSION
    ),
    fixed!(KERN_ROOT_PARTITION, "root_partition", 0),
    int(KERN_ARND, "arandom", dynamic::arandom),
    record(KERN_BOOTTIME, "boottime", 16, boot_time),
    fixed!(CREATED, "somaxconn", 128),
    fixed!(CREATED + 1, "maxlwp", 4_194_304),
];

const VM: &[Node] = &[
    record(VM_LOADAVG, "loadavg", 24, load_average),
    quad(VM_MINADDRESS, "minaddress", |_| {
        quad_value(lwp_kernel::machine::GUEST_START)
    }),
    quad(VM_MAXADDRESS, "maxaddress", |_| quad_value(GUEST_BOUND)),
    fixed!(VM_GUARD_SIZE, "guard_size", 1 << 20),
    fixed!(VM_THREAD_GUARD_SIZE, "thread_guard_size", 1 << 16),
];

const NET: &[Node] = &[
    inner(24, "inet6", &[inner(41, "ip6", &[fixed!(24, "v6only", 1)])]),
    deep(34, "route", super::route::value),
];

const HW: &[Node] = &[
    text!(HW_MACHINE, "machine", "amd64"),
    string(HW_MODEL, "model", model),
    int(HW_NCPU, "ncpu", ncpu),
    fixed!(HW_BYTEORDER, "byteorder", 1234),
    int(HW_PHYSMEM, "physmem", |_| {
        int_value(i32::try_from(memory()).unwrap_or(i32::MAX))
    }),
    int(HW_USERMEM, "usermem", |_| {
        int_value(i32::try_from(memory()).unwrap_or(i32::MAX))
    }),
    fixed!(HW_PAGESIZE, "pagesize", 4096),
    text!(HW_MACHINE_ARCH, "machine_arch", "x86_64"),
    fixed!(HW_ALIGNBYTES, "alignbytes", 7),
    quad(HW_PHYSMEM64, "physmem64", |_| quad_value(memory())),
    quad(HW_USERMEM64, "usermem64", |_| quad_value(memory())),
    int(HW_NCPUONLINE, "ncpuonline", ncpu),
];

/// What users may do with mounts: nothing.
const VFS: &[Node] = &[inner(
    0,
    "generic",
    &[fixed!(3, "usermount", 0), fixed!(4, "magiclinks", 0)],
)];

/// Source: `x86_machdep.c: sysctl_machdep_setup`, machine/cpu.h.
const MACHDEP: &[Node] = &[
    text!(5, "booted_kernel", "netbsd"),
    fixed!(7, "fpu_present", 1),
    fixed!(8, "osfxsr", 1),
    fixed!(9, "sse", 1),
    fixed!(10, "sse2", 1),
    string(CREATED, "cpu_brand", model),
];

const USER: &[Node] = &[
    text!(
        1,
        "cs_path",
        "/usr/bin:/bin:/usr/sbin:/sbin:/usr/pkg/bin:/usr/pkg/sbin:/usr/local/bin:/usr/local/sbin"
    ),
    fixed!(2, "bc_base_max", 99),
    fixed!(3, "bc_dim_max", 2048),
    fixed!(4, "bc_scale_max", 99),
    fixed!(5, "bc_string_max", 1000),
    fixed!(6, "coll_weights_max", 2),
    fixed!(7, "expr_nest_max", 32),
    fixed!(8, "line_max", 2048),
    fixed!(9, "re_dup_max", 255),
    fixed!(10, "posix2_version", 199_212),
    fixed!(11, "posix2_c_bind", 1),
    fixed!(12, "posix2_c_dev", 1),
    fixed!(13, "posix2_char_term", 1),
    fixed!(14, "posix2_fort_dev", 0),
    fixed!(15, "posix2_fort_run", 0),
    fixed!(16, "posix2_localedef", 0),
    fixed!(17, "posix2_sw_dev", 1),
    fixed!(18, "posix2_upe", 1),
    fixed!(19, "stream_max", 20),
    fixed!(20, "tzname_max", 255),
    fixed!(21, "atexit_max", -1),
];

/// `PaX` is never enforced.
const SECURITY: &[Node] = &[inner(
    CREATED,
    "pax",
    &[
        inner(
            CREATED,
            "mprotect",
            &[
                fixed!(CREATED, "enabled", 0),
                fixed!(CREATED + 1, "global", 0),
            ],
        ),
        inner(CREATED + 1, "segvguard", &[fixed!(CREATED, "enabled", 0)]),
        inner(CREATED + 2, "aslr", &[fixed!(CREATED, "enabled", 0)]),
    ],
)];

fn ncpu(asked: &Asked<'_>) -> Value {
    int_value(i32::try_from(asked.l.kernel.machine.ncpu()).unwrap_or(i32::MAX))
}

fn max_files(asked: &Asked<'_>) -> Value {
    use lwp_abi::resource::RLIMIT_NOFILE;
    let hard = asked.sys.limits.get(RLIMIT_NOFILE).rlim_max;
    int_value(i32::try_from(hard).unwrap_or(i32::MAX))
}

/// The host's memory, in bytes.
fn memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit))
}

fn model(_: &Asked<'_>) -> Value {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line
        .and_then(|line| line.split_once(':'))
        .map_or("x86_64", |(_, name)| name.trim());
    str_value(name)
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a value")]
fn boot_time(asked: &Asked<'_>) -> Value {
    let machine = &asked.l.kernel.machine;
    let boot = machine.realtime().saturating_sub(machine.monotonic());
    Ok(Timespec::from(boot).as_bytes().to_vec())
}

/// The host's averages, whose scale is 65536, in NetBSD's, which is 2048.
#[expect(clippy::unnecessary_wraps, reason = "the shape of a value")]
fn load_average(asked: &Asked<'_>) -> Value {
    let loads = match asked.sys.options.of_seed {
        None => rustix::system::sysinfo().loads,
        Some(_) => [0; 3],
    };
    let load = Loadavg {
        ldavg: loads.map(|load| u32::try_from(load >> 5).unwrap_or(u32::MAX)),
        pad: 0,
        fscale: 2048,
    };
    Ok(load.as_bytes().to_vec())
}
