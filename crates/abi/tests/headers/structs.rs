//! Sizes of records, and places and sizes of their fields.

use crate::{complain, rows};
use lwp_abi::{
    event, exec, fs, ioctl, lwp, poll, resource, sched, signal, socket, spawn, sysctl, termios,
    time, ucontext, uio, wait,
};
use std::collections::BTreeSet;
use std::mem::offset_of;

const TABLE: &str = include_str!("data/structs.tsv");

/// A record of the crate.
struct Layout {
    /// Its name in C.
    name: &'static str,
    size: usize,
    /// Whether it is only the beginning of the C record.
    is_beginning: bool,
    /// The C names of its fields, without spaces, their offsets and sizes.
    fields: Vec<(String, usize, usize)>,
}

/// `"c name" is Type { field, field as "c name" }`, or `begins` for the beginning of a record.
macro_rules! layouts {
    ($($name:literal $how:ident $ty:path {$($($field:ident).+ $(as $c:literal)?),*})*) => {
        vec![$(Layout {
            name: $name,
            size: size_of::<$ty>(),
            is_beginning: stringify!($how) == "begins",
            fields: vec![$((
                layouts!(@name $($field).+ $(as $c)?),
                offset_of!($ty, $($field).+),
                size_of_field(|s: $ty| s.$($field).+),
            ),)*],
        },)*]
    };
    (@name $($field:ident).+) => { stringify!($($field).+).replace(' ', "") };
    (@name $($field:ident).+ as $c:literal) => { $c.to_owned() };
}

/// The size of what a function takes out of a record. It is never called.
fn size_of_field<T, F>(_: impl Fn(T) -> F) -> usize {
    size_of::<F>()
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn layouts() -> Vec<Layout> {
    layouts! {
    "sigset_t" is signal::SigSet {}
    "kevent100" is event::Kevent {
        ident, filter, flags, fflags, data, udata
    }
    "kevent" is event::Kevent100 {
        ident, filter, flags, fflags, data, udata, ext
    }
    "kfilter_mapping" is event::KfilterMapping {
        name, len, filter
    }
    "AuxInfo" is exec::AuxEntry {
        a_type, a_v
    }
    "ps_strings" is exec::PsStrings {
        ps_argvstr, ps_nargvstr, ps_envstr, ps_nenvstr
    }
    "dirent" begins fs::DirentHeader {
        d_fileno, d_reclen, d_namlen, d_type
    }
    "flock" is fs::Flock {
        l_start, l_len, l_pid, l_type, l_whence
    }
    "stat" is fs::Stat {
        st_dev, st_mode, st_ino, st_nlink, st_uid, st_gid, st_rdev, st_atim, st_mtim,
        st_ctim, st_birthtim, st_size, st_blocks, st_blksize, st_flags, st_gen, st_spare
    }
    "statvfs" is fs::Statvfs {
        f_flag, f_bsize, f_frsize, f_iosize, f_blocks, f_bfree, f_bavail, f_bresvd,
        f_files, f_ffree, f_favail, f_fresvd, f_syncreads, f_syncwrites, f_asyncreads,
        f_asyncwrites, f_fsidx, f_fsid, f_namemax, f_owner, f_spare, f_fstypename,
        f_mntonname, f_mntfromname, f_mntfromlabel
    }
    "statvfs90" is fs::Statvfs90 {
        f_flag, f_bsize, f_frsize, f_iosize, f_blocks, f_bfree, f_bavail, f_bresvd,
        f_files, f_ffree, f_favail, f_fresvd, f_syncreads, f_syncwrites, f_asyncreads,
        f_asyncwrites, f_fsidx, f_fsid, f_namemax, f_owner, f_spare, f_fstypename,
        f_mntonname, f_mntfromname
    }
    "ptmget" is ioctl::Ptmget {
        cfd, sfd, cn, sn
    }
    "kinfo_lwp" is lwp::KinfoLwp {
        l_forw, l_back, l_laddr, l_addr, l_lid, l_flag, l_swtime, l_slptime, l_schedflags,
        l_holdcnt, l_priority, l_usrpri, l_stat, l_pad1, l_pad2, l_wmesg, l_wchan,
        l_cpuid, l_rtime_sec, l_rtime_usec, l_cpticks, l_pctcpu, l_pid, l_name
    }
    "lwpctl" is lwp::Lwpctl {
        lc_curcpu, lc_pctr
    }
    "pollfd" is poll::Pollfd {
        fd, events, revents
    }
    "rlimit" is resource::Rlimit {
        rlim_cur, rlim_max
    }
    "rusage" is resource::Rusage {
        ru_utime, ru_stime, ru_maxrss, ru_ixrss, ru_idrss, ru_isrss, ru_minflt, ru_majflt,
        ru_nswap, ru_inblock, ru_oublock, ru_msgsnd, ru_msgrcv, ru_nsignals, ru_nvcsw,
        ru_nivcsw
    }
    "sched_param" is sched::SchedParam {
        sched_priority
    }
    "sigaction" is signal::Sigaction {
        sa_handler as "_sa_u._sa_handler", sa_mask, sa_flags
    }
    "sigevent" is signal::Sigevent {
        sigev_notify, sigev_signo, sigev_value, sigev_notify_function,
        sigev_notify_attributes
    }
    "siginfo_t" is signal::Siginfo {
        si_signo as "_info._signo", si_code as "_info._code", si_errno as "_info._errno"
    }
    "stack_t" is signal::StackT {
        ss_sp, ss_size, ss_flags
    }
    "cmsghdr" is socket::Cmsghdr {
        cmsg_len, cmsg_level, cmsg_type
    }
    "dl_addr" is socket::DlAddr {
        dl_type, dl_nlen, dl_alen, dl_slen, dl_data
    }
    "in6_pktinfo" is socket::In6Pktinfo {
        ipi6_addr, ipi6_ifindex
    }
    "in_pktinfo" is socket::InPktinfo {
        ipi_addr, ipi_ifindex
    }
    "ip_mreq" is socket::IpMreq {
        imr_multiaddr, imr_interface
    }
    "ipv6_mreq" is socket::Ipv6Mreq {
        ipv6mr_multiaddr, ipv6mr_interface
    }
    "linger" is socket::Linger {
        l_onoff, l_linger
    }
    "mmsghdr" is socket::Mmsghdr {
        msg_hdr, msg_len
    }
    "msghdr" is socket::Msghdr {
        msg_name, msg_namelen, msg_iov, msg_iovlen, msg_control, msg_controllen, msg_flags
    }
    "sockaddr" is socket::Sockaddr {
        sa_len, sa_family, sa_data
    }
    "sockaddr_dl" is socket::SockaddrDl {
        sdl_len, sdl_family, sdl_index, sdl_addr
    }
    "sockaddr_in" is socket::SockaddrIn {
        sin_len, sin_family, sin_port, sin_addr, sin_zero
    }
    "sockaddr_in6" is socket::SockaddrIn6 {
        sin6_len, sin6_family, sin6_port, sin6_flowinfo, sin6_addr, sin6_scope_id
    }
    "sockaddr_un" is socket::SockaddrUn {
        sun_len, sun_family, sun_path
    }
    "sockcred" begins socket::Sockcred {
        sc_pid, sc_uid, sc_euid, sc_gid, sc_egid, sc_ngroups
    }
    "unpcbid" is socket::Unpcbid {
        unp_pid, unp_euid, unp_egid
    }
    "posix_spawnattr" is spawn::SpawnAttr {
        sa_flags, sa_pgroup, sa_schedparam, sa_schedpolicy, sa_sigdefault, sa_sigmask
    }
    "posix_spawn_file_actions_entry" is spawn::SpawnFileAction {
        fae_action, fae_fildes, fae_data
    }
    "posix_spawn_file_actions" is spawn::SpawnFileActions {
        size, len, fae
    }
    "clockinfo" is sysctl::Clockinfo {
        hz, tick, tickadj, stathz, profhz
    }
    "loadavg" is sysctl::Loadavg {
        ldavg, fscale
    }
    "sysctlnode" is sysctl::Sysctlnode {
        sysctl_flags, sysctl_num, sysctl_name, sysctl_ver, rsvd as "__rsvd", sysctl_un,
        sysctl_size as "_sysctl_size", sysctl_func as "_sysctl_func", sysctl_parent as
        "_sysctl_parent", sysctl_desc as "_sysctl_desc"
    }
    "termios" is termios::Termios {
        c_iflag, c_oflag, c_cflag, c_lflag, c_cc, c_ispeed, c_ospeed
    }
    "winsize" is termios::Winsize {
        ws_row, ws_col, ws_xpixel, ws_ypixel
    }
    "itimerspec" is time::Itimerspec {
        it_interval, it_value
    }
    "itimerval" is time::Itimerval {
        it_interval, it_value
    }
    "timespec" is time::Timespec {
        tv_sec, tv_nsec
    }
    "timeval" is time::Timeval {
        tv_sec, tv_usec
    }
    "timezone" is time::Timezone {
        tz_minuteswest, tz_dsttime
    }
    "fpreg" is ucontext::Fpregs {
        fxsave as "fxstate"
    }
    "reg" is ucontext::Gregs {}
    "mcontext_t" is ucontext::Mcontext {
        gregs as "__gregs", tlsbase as "_mc_tlsbase", fpregs as "__fpregs", gregs.rdi as
        "__gregs[_REG_RDI]", gregs.rsi as "__gregs[_REG_RSI]", gregs.rdx as
        "__gregs[_REG_RDX]", gregs.rcx as "__gregs[_REG_RCX]", gregs.r8 as
        "__gregs[_REG_R8]", gregs.r9 as "__gregs[_REG_R9]", gregs.r10 as
        "__gregs[_REG_R10]", gregs.r11 as "__gregs[_REG_R11]", gregs.r12 as
        "__gregs[_REG_R12]", gregs.r13 as "__gregs[_REG_R13]", gregs.r14 as
        "__gregs[_REG_R14]", gregs.r15 as "__gregs[_REG_R15]", gregs.rbp as
        "__gregs[_REG_RBP]", gregs.rbx as "__gregs[_REG_RBX]", gregs.rax as
        "__gregs[_REG_RAX]", gregs.gs as "__gregs[_REG_GS]", gregs.fs as
        "__gregs[_REG_FS]", gregs.es as "__gregs[_REG_ES]", gregs.ds as
        "__gregs[_REG_DS]", gregs.trapno as "__gregs[_REG_TRAPNO]", gregs.err as
        "__gregs[_REG_ERR]", gregs.rip as "__gregs[_REG_RIP]", gregs.cs as
        "__gregs[_REG_CS]", gregs.rflags as "__gregs[_REG_RFLAGS]", gregs.rsp as
        "__gregs[_REG_RSP]", gregs.ss as "__gregs[_REG_SS]"
    }
    "ucontext_t" is ucontext::Ucontext {
        uc_flags, uc_link, uc_sigmask, uc_stack, uc_mcontext
    }
    "iovec" is uio::Iovec {
        iov_base, iov_len
    }
    "wrusage" is wait::Wrusage {
        wru_self, wru_children
    }
    }
}

/// Fields that a record of the crate does not show.
const LEFT_OUT_FIELDS: &[(&str, &str, &str)] = &[
    ("sigset_t", "__bits", "private: the whole record"),
    ("siginfo_t", "si_pad", "the record as bytes"),
    ("reg", "regs", "named fields instead; compared as __gregs"),
    ("dirent", "d_name", "the name follows the header"),
    ("sockcred", "sc_groups", "the groups follow"),
];

/// Records that the crate does not have.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "_ksiginfo",
        "the first part of siginfo_t, which has no type of its own here",
    ),
    ("accept_filter_arg", "accept filters are kernel modules"),
    ("aiocb", "no aio(3)"),
    ("bpf_*", "no bpf(4)"),
    ("epoll_event", "NetBSD 11 only"),
    ("fd_set", "an array of u32; see poll::NFDBITS"),
    ("fsid_t", "two integers; compared inside statvfs"),
    ("icmp6_filter", "raw sockets need privilege"),
    ("if*", "no list of network interfaces"),
    ("in6_ifreq", "no list of network interfaces"),
    ("ip6_mtuinfo", "no path MTU messages"),
    ("ipc_perm", "no System V IPC"),
    ("kinfo_drivers", "no drivers"),
    ("kinfo_file", "no kern.file2"),
    ("kinfo_pcb", "no list of sockets"),
    ("kinfo_proc2", "no kern.proc2"),
    ("kinfo_vmentry", "no vm.proc.map"),
    ("mq_attr", "no mq(3)"),
    ("msqid_ds", "no System V IPC"),
    ("ntptimeval", "no ntp_gettime(2)"),
    ("ptrace_*", "no ptrace(2)"),
    ("rt_*", "no routing sockets"),
    ("sembuf", "no System V IPC"),
    ("semid_ds", "no System V IPC"),
    ("shmid_ds", "no System V IPC"),
    (
        "sigval",
        "a word: what of it counts is the program's business",
    ),
    (
        "sockaddr_storage",
        "only its size; see socket::SOCKADDR_STORAGE_SIZE",
    ),
    ("sysctldesc", "no descriptions of sysctl nodes"),
    ("tcp_info", "no TCP_INFO"),
    ("timex", "no ntp_adjtime(2)"),
    ("tls_tcb", "the business of ld.elf_so and libpthread"),
    ("utsname", "made by libc from sysctl"),
    ("uuid", "no uuidgen(2)"),
    ("uvmexp_sysctl", "no vm.uvmexp2"),
    ("vmtotal", "no vm.meter"),
];

fn is_left_out(name: &str) -> bool {
    LEFT_OUT
        .iter()
        .any(|(pattern, _)| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == *pattern,
        })
}

fn length(text: &str) -> usize {
    text.parse().expect(text)
}

/// Compares one record with its rows.
fn compare(layout: &Layout, complaints: &mut Vec<String>) {
    let rows: Vec<_> = rows(TABLE)
        .into_iter()
        .filter(|row| row["struct"] == layout.name)
        .collect();
    let Some(first) = rows.first() else {
        return complaints.push(format!("{}: not in the table", layout.name));
    };
    let size = length(first["size"]);
    if layout.size != size && !(layout.is_beginning && layout.size < size) {
        complaints.push(format!(
            "{}: {} bytes, not {size}",
            layout.name, layout.size
        ));
    }
    for (name, offset, size) in &layout.fields {
        let place = rows
            .iter()
            .find(|row| row["field"] == name)
            .map(|row| (length(row["offset"]), length(row["field_size"])));
        if place != Some((*offset, *size)) {
            complaints.push(format!(
                "{}.{name}: {:?}, not {place:?}",
                layout.name,
                (offset, size)
            ));
        }
    }
    for row in &rows {
        let field = row["field"];
        let is_there = |name: &str| {
            let rest = name.strip_prefix(field);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let is_inner = field.contains(['.', '[']);
        let is_out = LEFT_OUT_FIELDS
            .iter()
            .any(|out| (out.0, out.1) == (layout.name, field));
        if !is_inner && !is_out && !layout.fields.iter().any(|(name, ..)| is_there(name)) {
            complaints.push(format!("{}.{field}: missing", layout.name));
        }
    }
}

#[test]
fn every_record_has_netbsds_layout() {
    let mut complaints = Vec::new();
    for layout in layouts() {
        compare(&layout, &mut complaints);
    }
    complain(&complaints);
}

#[test]
fn every_record_of_the_headers_is_here_or_left_out_for_a_reason() {
    let here: BTreeSet<_> = layouts().iter().map(|layout| layout.name).collect();
    let all: BTreeSet<_> = rows(TABLE).iter().map(|row| row["struct"]).collect();
    let complaints: Vec<_> = all
        .iter()
        .filter(|name| here.contains(*name) == is_left_out(name))
        .map(|name| format!("{name}: neither, or both"))
        .collect();
    complain(&complaints);
    assert_eq!(here.len(), layouts().len(), "a record is there twice");
}

#[test]
fn sizes_that_programs_pass_are_right() {
    assert_eq!(ucontext::UCONTEXT_SIZE, size_of::<ucontext::Ucontext>());
    assert_eq!(socket::SOCKADDR_STORAGE_SIZE, 128);
    assert_eq!(size_of::<signal::Siginfo>(), 128);
}
