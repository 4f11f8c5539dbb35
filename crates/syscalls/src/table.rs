//! The system-call table: one row per number, and the dispatch made from it.
//!
//! A row is `number "name" Support;` for a call we do not have, or ends in `=> now path;` (a handler that
//! never sleeps, `fn(&Unix, &mut CurLwp, &Args) -> SysResult`) or `=> may_sleep path;` (one that may,
//! `fn(&Unix, &mut CurLwp, &Args) -> Outcome`). `Partial` says what is missing.
//!
//! 0 and 198 have no handler: they are taken apart before the dispatch. Numbers without a row, and rows in parentheses,
//! are unknown to NetBSD itself: SIGSYS and ENOSYS.
//!
//! Source: NetBSD's syscalls.master, by way of `lwp_abi::nr`.

use crate::args::Args;
use crate::{Unix, nosys};
use crate::{sys_descrip, sys_generic, sys_lock, sys_misc, sys_resource, vfs};
use lwp_abi::nr;
use lwp_kernel::{CurLwp, Outcome};

/// How well a call is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// As NetBSD does it.
    Full,
    /// All but what is named.
    Partial(&'static str),
    /// Not at all: ENOSYS.
    None,
}

/// A row, without its handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The number.
    pub number: u16,
    /// NetBSD's name for it.
    pub name: &'static str,
    /// How well it is supported.
    pub support: Support,
}

macro_rules! calls {
    ($($number:literal $name:literal $support:expr $(=> $kind:ident $handler:path)?;)*) => {
        static ROWS: &[Row] = {
            use Support::{Full, None, Partial};
            // Used by some sets of rows only.
            const _: [Support; 3] = [Full, None, Partial("")];
            &[$(Row { number: $number, name: $name, support: $support },)*]
        };

        /// Makes call `number`, which is below 512, with these arguments.
        pub(crate) fn dispatch<'a>(
            sys: &'a Unix,
            l: &'a mut CurLwp,
            number: u16,
            args: &Args,
        ) -> Outcome<'a> {
            match number {
                $($($number => calls!(@call $kind $handler, sys, l, args),)?)*
                _ => Outcome::Done(absent(sys, l, number)),
            }
        }
    };
    (@call now $handler:path, $sys:ident, $l:ident, $args:ident) => {
        Outcome::Done($handler($sys, $l, $args))
    };
    (@call may_sleep $handler:path, $sys:ident, $l:ident, $args:ident) => {
        $handler($sys, $l, $args)
    };
}

/// All rows, by number.
pub fn support() -> impl Iterator<Item = &'static Row> {
    ROWS.iter()
}

/// A number without a handler.
fn absent(sys: &Unix, l: &mut CurLwp, number: u16) -> lwp_kernel::SysResult {
    match nr::name(number) {
        Some(name) if !name.starts_with('(') => sys.unsupported(number, name),
        _ => nosys(l),
    }
}

calls! {
    0 "syscall" Full;
    1 "exit" Full => may_sleep crate::sys_process::sys_exit;
    2 "fork" Full => may_sleep crate::sys_process::sys_fork;
    3 "read" Full => may_sleep sys_generic::sys_read;
    4 "write" Full => may_sleep sys_generic::sys_write;
    5 "open" Full => may_sleep vfs::open::sys_open;
    6 "close" Full => now sys_descrip::sys_close;
    7 "compat_50_wait4" None;
    8 "compat_43_ocreat" None;
    9 "link" Full => now vfs::names::sys_link;
    10 "unlink" Full => now vfs::names::sys_unlink;
    11 "(obsolete execv)" None;
    12 "chdir" Full => now vfs::names::sys_chdir;
    13 "fchdir" Full => now vfs::names::sys_fchdir;
    14 "compat_50_mknod" None;
    15 "chmod" Full => now vfs::attr::sys_chmod;
    16 "chown" Full => now vfs::attr::sys_chown;
    17 "break" Full => now crate::sys_mman::sys_obreak;
    18 "compat_20_getfsstat" None;
    19 "compat_43_olseek" None;
    20 "getpid" Full => now sys_misc::sys_getpid;
    21 "compat_40_mount" Partial("always EPERM") => now sys_misc::eperm;
    22 "unmount" Partial("always EPERM") => now sys_misc::eperm;
    23 "setuid" Partial("ids cannot change") => now sys_misc::sys_setuid;
    24 "getuid" Full => now sys_misc::sys_getuid;
    25 "geteuid" Full => now sys_misc::sys_geteuid;
    26 "ptrace" Partial("always EPERM") => now sys_misc::eperm;
    27 "recvmsg" Partial("LOCAL_CREDS brings credentials with every message") => may_sleep crate::socket::msg::sys_recvmsg;
    28 "sendmsg" Full => may_sleep crate::socket::msg::sys_sendmsg;
    29 "recvfrom" Full => may_sleep crate::socket::msg::sys_recvfrom;
    30 "accept" Full => may_sleep crate::socket::sys_accept;
    31 "getpeername" Full => now crate::socket::sys_getpeername;
    32 "getsockname" Full => now crate::socket::sys_getsockname;
    33 "access" Full => now vfs::stat::sys_access;
    34 "chflags" Partial("no flags") => now vfs::attr::sys_chflags;
    35 "fchflags" Partial("no flags") => now vfs::attr::sys_fchflags;
    36 "sync" Full => now vfs::attr::sys_sync;
    37 "kill" Partial("SIGEMT and SIGINFO cannot be sent to other processes") => now crate::sys_process::sys_kill;
    38 "compat_43_stat43" None;
    39 "getppid" Full => now sys_misc::sys_getppid;
    40 "compat_43_lstat43" None;
    41 "dup" Full => now sys_descrip::sys_dup;
    42 "pipe" Full => now sys_descrip::sys_pipe;
    43 "getegid" Full => now sys_misc::sys_getegid;
    44 "profil" None;
    45 "ktrace" Partial("always EPERM") => now sys_misc::eperm;
    46 "compat_13_sigaction13" None;
    47 "getgid" Full => now sys_misc::sys_getgid;
    48 "compat_13_sigprocmask13" None;
    49 "__getlogin" Full => now sys_misc::sys_getlogin;
    50 "__setlogin" Partial("always EPERM") => now sys_misc::eperm;
    51 "acct" Partial("always EPERM") => now sys_misc::eperm;
    52 "compat_13_sigpending13" None;
    53 "compat_13_sigaltstack13" None;
    54 "ioctl" Partial("files and terminals; of sockets only what files have too") => may_sleep crate::sys_ioctl::sys_ioctl;
    55 "compat_12_oreboot" Partial("always EPERM") => now sys_misc::eperm;
    56 "revoke" None;
    57 "symlink" Full => now vfs::names::sys_symlink;
    58 "readlink" Full => now vfs::stat::sys_readlink;
    59 "execve" Partial("kqueues are closed; set-id bits of NetBSD programs are ignored") => may_sleep crate::sys_exec::sys_execve;
    60 "umask" Full => now vfs::names::sys_umask;
    61 "chroot" Full => now vfs::names::sys_chroot;
    62 "compat_43_fstat43" None;
    63 "compat_43_ogetkerninfo" None;
    64 "compat_43_ogetpagesize" None;
    65 "compat_12_msync" None;
    66 "vfork" Full => may_sleep crate::sys_process::sys_vfork;
    67 "(obsolete vread)" None;
    68 "(obsolete vwrite)" None;
    69 "(obsolete sbrk)" None;
    70 "(obsolete sstk)" None;
    71 "compat_43_ommap" None;
    72 "vadvise" None;
    73 "munmap" Full => now crate::sys_mman::sys_munmap;
    74 "mprotect" Full => now crate::sys_mman::sys_mprotect;
    75 "madvise" Full => now crate::sys_mman::sys_madvise;
    76 "(obsolete vhangup)" None;
    77 "(obsolete vlimit)" None;
    78 "mincore" Full => now crate::sys_mman::sys_mincore;
    79 "getgroups" Full => now sys_misc::sys_getgroups;
    80 "setgroups" Partial("ids cannot change") => now sys_misc::sys_setgroups;
    81 "getpgrp" Full => now crate::sys_process::sys_getpgrp;
    82 "setpgid" Full => now crate::sys_process::sys_setpgid;
    83 "compat_50_setitimer" None;
    84 "compat_43_owait" None;
    85 "compat_12_oswapon" Partial("always EPERM") => now sys_misc::eperm;
    86 "compat_50_getitimer" None;
    87 "compat_43_ogethostname" None;
    88 "compat_43_osethostname" Partial("always EPERM") => now sys_misc::eperm;
    89 "compat_43_ogetdtablesize" None;
    90 "dup2" Full => now sys_descrip::sys_dup2;
    91 "getrandom" Full => now sys_misc::sys_getrandom;
    92 "fcntl" Partial("F_SETFL cannot set O_SYNC; no close-on-fork") => may_sleep sys_descrip::sys_fcntl;
    93 "compat_50_select" None;
    95 "fsync" Full => now vfs::attr::sys_fsync;
    96 "setpriority" Full => now sys_resource::sys_setpriority;
    97 "compat_30_socket" None;
    98 "connect" Partial("local paths above 107 bytes") => may_sleep crate::socket::sys_connect;
    99 "compat_43_oaccept" None;
    100 "getpriority" Full => now sys_resource::sys_getpriority;
    101 "compat_43_osend" None;
    102 "compat_43_orecv" None;
    103 "compat_13_sigreturn13" None;
    104 "bind" Partial("local paths above 107 bytes") => now crate::socket::sys_bind;
    105 "setsockopt" Partial("ENOPROTOOPT for rare options") => now crate::socket::sockopt::sys_setsockopt;
    106 "listen" Full => now crate::socket::sys_listen;
    107 "(obsolete vtimes)" None;
    108 "compat_43_osigvec" None;
    109 "compat_43_osigblock" None;
    110 "compat_43_osigsetmask" None;
    111 "compat_13_sigsuspend13" None;
    112 "compat_43_osigstack" None;
    113 "compat_43_orecvmsg" None;
    114 "compat_43_osendmsg" None;
    115 "(obsolete vtrace)" None;
    116 "compat_50_gettimeofday" None;
    117 "compat_50_getrusage" None;
    118 "getsockopt" Partial("ENOPROTOOPT for rare options") => now crate::socket::sockopt::sys_getsockopt;
    119 "(obsolete resuba)" None;
    120 "readv" Full => may_sleep sys_generic::sys_readv;
    121 "writev" Full => may_sleep sys_generic::sys_writev;
    122 "compat_50_settimeofday" Partial("always EPERM") => now sys_misc::eperm;
    123 "fchown" Full => now vfs::attr::sys_fchown;
    124 "fchmod" Full => now vfs::attr::sys_fchmod;
    125 "compat_43_orecvfrom" None;
    126 "setreuid" Partial("ids cannot change") => now sys_misc::sys_setreuid;
    127 "setregid" Partial("ids cannot change") => now sys_misc::sys_setregid;
    128 "rename" Full => now vfs::names::sys_rename;
    129 "compat_43_otruncate" None;
    130 "compat_43_oftruncate" None;
    131 "flock" Full => may_sleep sys_lock::sys_flock;
    132 "mkfifo" Full => now vfs::names::sys_mkfifo;
    133 "sendto" Full => may_sleep crate::socket::msg::sys_sendto;
    134 "shutdown" Full => now crate::socket::sys_shutdown;
    135 "socketpair" Full => now crate::socket::sys_socketpair;
    136 "mkdir" Full => now vfs::names::sys_mkdir;
    137 "rmdir" Full => now vfs::names::sys_rmdir;
    138 "compat_50_utimes" None;
    139 "(obsolete 4.2 sigreturn)" None;
    140 "compat_50_adjtime" None;
    141 "compat_43_ogetpeername" None;
    142 "compat_43_ogethostid" None;
    143 "compat_43_osethostid" Partial("always EPERM") => now sys_misc::eperm;
    144 "compat_43_ogetrlimit" None;
    145 "compat_43_osetrlimit" None;
    146 "compat_43_okillpg" None;
    147 "setsid" Full => now crate::sys_process::sys_setsid;
    148 "compat_50_quotactl" None;
    149 "compat_43_oquota" None;
    150 "compat_43_ogetsockname" None;
    155 "nfssvc" None;
    156 "compat_43_ogetdirentries" None;
    157 "compat_20_statfs" None;
    158 "compat_20_fstatfs" None;
    161 "compat_30_getfh" Partial("always EPERM") => now sys_misc::eperm;
    162 "compat_09_ogetdomainname" None;
    163 "compat_09_osetdomainname" Partial("always EPERM") => now sys_misc::eperm;
    164 "compat_09_ouname" None;
    165 "sysarch" Partial("FSBASE and GSBASE; no other GS base than 0") => now sys_misc::sys_sysarch;
    166 "__futex" None;
    167 "__futex_set_robust_list" None;
    168 "__futex_get_robust_list" None;
    169 "compat_10_osemsys" None;
    170 "compat_10_omsgsys" None;
    171 "compat_10_oshmsys" None;
    173 "pread" Full => may_sleep sys_generic::sys_pread;
    174 "pwrite" Full => may_sleep sys_generic::sys_pwrite;
    175 "compat_30_ntp_gettime" None;
    176 "ntp_adjtime" None;
    177 "timerfd_create" Full => now crate::sys_eventfd::sys_timerfd_create;
    178 "timerfd_settime" Full => now crate::sys_eventfd::sys_timerfd_settime;
    179 "timerfd_gettime" Full => now crate::sys_eventfd::sys_timerfd_gettime;
    181 "setgid" Partial("ids cannot change") => now sys_misc::sys_setgid;
    182 "setegid" Partial("ids cannot change") => now sys_misc::sys_setegid;
    183 "seteuid" Partial("ids cannot change") => now sys_misc::sys_seteuid;
    184 "lfs_bmapv" None;
    185 "lfs_markv" None;
    186 "lfs_segclean" None;
    187 "compat_50_lfs_segwait" None;
    188 "compat_12_stat12" None;
    189 "compat_12_fstat12" None;
    190 "compat_12_lstat12" None;
    191 "pathconf" Full => now vfs::stat::sys_pathconf;
    192 "fpathconf" Full => now vfs::stat::sys_fpathconf;
    193 "getsockopt2" None;
    194 "getrlimit" Full => now sys_resource::sys_getrlimit;
    195 "setrlimit" Full => now sys_resource::sys_setrlimit;
    196 "compat_12_getdirentries" None;
    197 "mmap" Full => now crate::sys_mman::sys_mmap;
    198 "__syscall" Full;
    199 "lseek" Full => now vfs::dirents::sys_lseek;
    200 "truncate" Full => now vfs::attr::sys_truncate;
    201 "ftruncate" Full => now vfs::attr::sys_ftruncate;
    202 "__sysctl" Partial("read-only; no kern.proc, vm.uvmexp2") => now crate::sysctl::sys_sysctl;
    203 "mlock" Full => now crate::sys_mman::sys_mlock;
    204 "munlock" Full => now crate::sys_mman::sys_munlock;
    205 "undelete" Partial("always EOPNOTSUPP") => now sys_misc::eopnotsupp;
    206 "compat_50_futimes" None;
    207 "getpgid" Full => now crate::sys_process::sys_getpgid;
    208 "reboot" Partial("always EPERM") => now sys_misc::eperm;
    209 "poll" Full => may_sleep crate::sys_poll::sys_poll;
    210 "afssys" None;
    220 "compat_14___semctl" None;
    221 "semget" None;
    222 "semop" None;
    223 "semconfig" None;
    224 "compat_14_msgctl" None;
    225 "msgget" None;
    226 "msgsnd" None;
    227 "msgrcv" None;
    228 "shmat" None;
    229 "compat_14_shmctl" None;
    230 "shmdt" None;
    231 "shmget" None;
    232 "compat_50_clock_gettime" None;
    233 "compat_50_clock_settime" None;
    234 "compat_50_clock_getres" None;
    235 "timer_create" None;
    236 "timer_delete" None;
    237 "compat_50_timer_settime" None;
    238 "compat_50_timer_gettime" None;
    239 "timer_getoverrun" None;
    240 "compat_50_nanosleep" None;
    241 "fdatasync" Full => now vfs::attr::sys_fdatasync;
    242 "mlockall" Full => now crate::sys_mman::sys_mlockall;
    243 "munlockall" Full => now crate::sys_mman::sys_munlockall;
    244 "compat_50___sigtimedwait" None;
    245 "sigqueueinfo" None;
    246 "modctl" Partial("always EPERM") => now sys_misc::eperm;
    247 "_ksem_init" None;
    248 "_ksem_open" None;
    249 "_ksem_unlink" None;
    250 "_ksem_close" None;
    251 "_ksem_post" None;
    252 "_ksem_wait" None;
    253 "_ksem_trywait" None;
    254 "_ksem_getvalue" None;
    255 "_ksem_destroy" None;
    256 "_ksem_timedwait" None;
    257 "mq_open" None;
    258 "mq_close" None;
    259 "mq_unlink" None;
    260 "mq_getattr" None;
    261 "mq_setattr" None;
    262 "mq_notify" None;
    263 "mq_send" None;
    264 "mq_receive" None;
    265 "compat_50_mq_timedsend" None;
    266 "compat_50_mq_timedreceive" None;
    267 "eventfd" Full => now crate::sys_eventfd::sys_eventfd;
    270 "__posix_rename" Full => now vfs::names::sys_posix_rename;
    271 "swapctl" None;
    272 "compat_30_getdents" None;
    273 "minherit" Partial("MAP_INHERIT_SHARE of private and MAP_INHERIT_COPY of shared memory: EOPNOTSUPP") => now crate::sys_mman::sys_minherit;
    274 "lchmod" Full => now vfs::attr::sys_lchmod;
    275 "lchown" Full => now vfs::attr::sys_lchown;
    276 "compat_50_lutimes" None;
    277 "__msync13" Full => now crate::sys_mman::sys_msync;
    278 "compat_30___stat13" None;
    279 "compat_30___fstat13" None;
    280 "compat_30___lstat13" None;
    281 "__sigaltstack14" Full => now crate::sys_sig::sys_sigaltstack14;
    282 "__vfork14" Partial("memory is copied, not shared; the parent's lwpctl block is not lent") => may_sleep crate::sys_process::sys_vfork;
    283 "__posix_chown" Full => now vfs::attr::sys_chown;
    284 "__posix_fchown" Full => now vfs::attr::sys_fchown;
    285 "__posix_lchown" Full => now vfs::attr::sys_lchown;
    286 "getsid" Full => now crate::sys_process::sys_getsid;
    287 "__clone" None;
    288 "fktrace" Partial("always EPERM") => now sys_misc::eperm;
    289 "preadv" Full => may_sleep sys_generic::sys_preadv;
    290 "pwritev" Full => may_sleep sys_generic::sys_pwritev;
    291 "compat_16___sigaction14" None;
    292 "__sigpending14" Full => now crate::sys_sig::sys_sigpending14;
    293 "__sigprocmask14" Full => now crate::sys_sig::sys_sigprocmask14;
    294 "__sigsuspend14" Full => may_sleep crate::sys_sig::sys_sigsuspend14;
    295 "compat_16___sigreturn14" None;
    296 "__getcwd" Full => now vfs::names::sys_getcwd;
    297 "fchroot" Partial("always EPERM") => now sys_misc::eperm;
    298 "compat_30_fhopen" Partial("always EPERM") => now sys_misc::eperm;
    299 "compat_30_fhstat" Partial("always EPERM") => now sys_misc::eperm;
    300 "compat_20_fhstatfs" Partial("always EPERM") => now sys_misc::eperm;
    301 "compat_50_____semctl13" None;
    302 "compat_50___msgctl13" None;
    303 "compat_50___shmctl13" None;
    304 "lchflags" Partial("no flags") => now vfs::attr::sys_chflags;
    305 "issetugid" Full => now sys_misc::sys_issetugid;
    306 "utrace" Full => now sys_misc::succeed;
    307 "getcontext" Full => now crate::sys_sig::sys_getcontext;
    308 "setcontext" Full => may_sleep crate::sys_sig::sys_setcontext;
    309 "_lwp_create" Full => now crate::sys_lwp::sys_lwp_create;
    310 "_lwp_exit" Full => may_sleep crate::sys_lwp::sys_lwp_exit;
    311 "_lwp_self" Full => now crate::sys_lwp::sys_lwp_self;
    312 "_lwp_wait" Full => may_sleep crate::sys_lwp::sys_lwp_wait;
    313 "_lwp_suspend" Full => may_sleep crate::sys_lwp::sys_lwp_suspend;
    314 "_lwp_continue" Full => now crate::sys_lwp::sys_lwp_continue;
    315 "_lwp_wakeup" Full => now crate::sys_lwp::sys_lwp_wakeup;
    316 "_lwp_getprivate" Full => now crate::sys_lwp::sys_lwp_getprivate;
    317 "_lwp_setprivate" Full => now crate::sys_lwp::sys_lwp_setprivate;
    318 "_lwp_kill" Full => now crate::sys_lwp::sys_lwp_kill;
    319 "_lwp_detach" Full => now crate::sys_lwp::sys_lwp_detach;
    320 "compat_50__lwp_park" Full => may_sleep crate::sys_lwp::sys_lwp_park;
    321 "_lwp_unpark" Full => now crate::sys_lwp::sys_lwp_unpark;
    322 "_lwp_unpark_all" Full => now crate::sys_lwp::sys_lwp_unpark_all;
    323 "_lwp_setname" Full => now crate::sys_lwp::sys_lwp_setname;
    324 "_lwp_getname" Full => now crate::sys_lwp::sys_lwp_getname;
    325 "_lwp_ctl" Full => now crate::sys_lwp::sys_lwp_ctl;
    330 "compat_60_sa_register" None;
    331 "compat_60_sa_stacks" None;
    332 "compat_60_sa_enable" None;
    333 "compat_60_sa_setconcurrency" None;
    334 "compat_60_sa_yield" None;
    335 "compat_60_sa_preempt" None;
    336 "(obsolete sys_sa_unblockyield)" None;
    340 "__sigaction_sigtramp" Full => now crate::sys_sig::sys_sigaction_sigtramp;
    341 "(obsolete sys_pmc_get_info)" None;
    342 "(obsolete sys_pmc_control)" None;
    343 "rasctl" Partial("succeeds without effect") => now sys_misc::succeed;
    344 "kqueue" Full => now crate::kqueue::sys::sys_kqueue;
    345 "compat_50_kevent" None;
    346 "_sched_setparam" Partial("SCHED_OTHER only") => now crate::sys_sched::sys_sched_setparam;
    347 "_sched_getparam" Partial("SCHED_OTHER only") => now crate::sys_sched::sys_sched_getparam;
    348 "_sched_setaffinity" Partial("always EPERM") => now crate::sys_sched::sys_sched_setaffinity;
    349 "_sched_getaffinity" Full => now crate::sys_sched::sys_sched_getaffinity;
    350 "sched_yield" Full => may_sleep crate::sys_sched::sys_sched_yield;
    351 "_sched_protect" None;
    354 "fsync_range" Full => now vfs::attr::sys_fsync_range;
    355 "uuidgen" None;
    356 "compat_90_getvfsstat" Full => now vfs::statvfs::sys_getvfsstat90;
    357 "compat_90_statvfs1" Full => now vfs::statvfs::sys_statvfs90;
    358 "compat_90_fstatvfs1" Full => now vfs::statvfs::sys_fstatvfs90;
    359 "compat_30_fhstatvfs1" Partial("always EPERM") => now sys_misc::eperm;
    360 "extattrctl" Partial("always EPERM") => now sys_misc::eperm;
    361 "extattr_set_file" None;
    362 "extattr_get_file" None;
    363 "extattr_delete_file" None;
    364 "extattr_set_fd" None;
    365 "extattr_get_fd" None;
    366 "extattr_delete_fd" None;
    367 "extattr_set_link" None;
    368 "extattr_get_link" None;
    369 "extattr_delete_link" None;
    370 "extattr_list_fd" None;
    371 "extattr_list_file" None;
    372 "extattr_list_link" None;
    373 "compat_50_pselect" None;
    374 "compat_50_pollts" None;
    375 "setxattr" None;
    376 "lsetxattr" None;
    377 "fsetxattr" None;
    378 "getxattr" None;
    379 "lgetxattr" None;
    380 "fgetxattr" None;
    381 "listxattr" None;
    382 "llistxattr" None;
    383 "flistxattr" None;
    384 "removexattr" None;
    385 "lremovexattr" None;
    386 "fremovexattr" None;
    387 "compat_50___stat30" None;
    388 "compat_50___fstat30" None;
    389 "compat_50___lstat30" None;
    390 "__getdents30" Full => now vfs::dirents::sys_getdents;
    391 "(ignored old posix_fadvise)" Full => now sys_misc::succeed;
    392 "compat_30___fhstat30" Partial("always EPERM") => now sys_misc::eperm;
    393 "compat_50___ntp_gettime30" None;
    394 "__socket30" Partial("AF_LOCAL, AF_INET and AF_INET6") => now crate::socket::sys_socket;
    395 "__getfh30" Partial("always EPERM") => now sys_misc::eperm;
    396 "__fhopen40" Partial("always EPERM") => now sys_misc::eperm;
    397 "compat_90_fhstatvfs1" Partial("always EPERM") => now sys_misc::eperm;
    398 "compat_50___fhstat40" Partial("always EPERM") => now sys_misc::eperm;
    399 "aio_cancel" None;
    400 "aio_error" None;
    401 "aio_fsync" None;
    402 "aio_read" None;
    403 "aio_return" None;
    404 "compat_50_aio_suspend" None;
    405 "aio_write" None;
    406 "lio_listio" None;
    410 "__mount50" Partial("always EPERM") => now sys_misc::eperm;
    411 "mremap" Partial("MAP_REMAPDUP: EINVAL; a file grows only where it may move") => now crate::sys_mman::sys_mremap;
    412 "pset_create" None;
    413 "pset_destroy" None;
    414 "pset_assign" None;
    415 "_pset_bind" None;
    416 "__posix_fadvise50" Full => now vfs::attr::sys_posix_fadvise;
    417 "__select50" Full => may_sleep crate::sys_poll::sys_select;
    418 "__gettimeofday50" Full => now crate::sys_time::sys_gettimeofday50;
    419 "__settimeofday50" Partial("always EPERM") => now sys_misc::eperm;
    420 "__utimes50" Full => now vfs::attr::sys_utimes;
    421 "__adjtime50" None;
    422 "__lfs_segwait50" None;
    423 "__futimes50" Full => now vfs::attr::sys_futimes;
    424 "__lutimes50" Full => now vfs::attr::sys_lutimes;
    425 "__setitimer50" Partial("ITIMER_VIRTUAL counts system time too") => now crate::sys_time::sys_setitimer50;
    426 "__getitimer50" Full => now crate::sys_time::sys_getitimer50;
    427 "__clock_gettime50" Full => now crate::sys_time::sys_clock_gettime50;
    428 "__clock_settime50" Partial("nobody may set a clock") => now crate::sys_time::sys_clock_settime50;
    429 "__clock_getres50" Full => now crate::sys_time::sys_clock_getres50;
    430 "__nanosleep50" Full => may_sleep crate::sys_time::sys_nanosleep50;
    431 "____sigtimedwait50" Partial("an interrupted finite wait restarts or fails, where NetBSD 10 returns 0") => may_sleep crate::sys_sig::sys_sigtimedwait50;
    432 "__mq_timedsend50" None;
    433 "__mq_timedreceive50" None;
    434 "compat_60__lwp_park" Full => may_sleep crate::sys_lwp::sys_lwp_park50;
    435 "__kevent50" Partial("NOTE_FORK, NOTE_EXEC, NOTE_TRACK") => may_sleep crate::kqueue::sys::sys_kevent50;
    436 "__pselect50" Full => may_sleep crate::sys_poll::sys_pselect;
    437 "__pollts50" Full => may_sleep crate::sys_poll::sys_pollts;
    438 "__aio_suspend50" None;
    439 "__stat50" Full => now vfs::stat::sys_stat;
    440 "__fstat50" Full => now vfs::stat::sys_fstat;
    441 "__lstat50" Full => now vfs::stat::sys_lstat;
    442 "____semctl50" None;
    443 "__shmctl50" None;
    444 "__msgctl50" None;
    445 "__getrusage50" Full => now sys_resource::sys_getrusage;
    446 "__timer_settime50" None;
    447 "__timer_gettime50" None;
    448 "__ntp_gettime50" None;
    449 "__wait450" Full => may_sleep crate::sys_wait::sys_wait450;
    450 "__mknod50" Partial("FIFOs only") => now vfs::names::sys_mknod;
    451 "__fhstat50" Partial("always EPERM") => now sys_misc::eperm;
    452 "(obsolete 5.99 quotactl)" None;
    453 "pipe2" Full => now sys_descrip::sys_pipe2;
    454 "dup3" Full => now sys_descrip::sys_dup3;
    455 "kqueue1" Full => now crate::kqueue::sys::sys_kqueue1;
    456 "paccept" Full => may_sleep crate::socket::sys_paccept;
    457 "linkat" Full => now vfs::names::sys_linkat;
    458 "renameat" Full => now vfs::names::sys_renameat;
    459 "mkfifoat" Full => now vfs::names::sys_mkfifoat;
    460 "mknodat" Partial("FIFOs only") => now vfs::names::sys_mknodat;
    461 "mkdirat" Full => now vfs::names::sys_mkdirat;
    462 "faccessat" Full => now vfs::stat::sys_faccessat;
    463 "fchmodat" Full => now vfs::attr::sys_fchmodat;
    464 "fchownat" Full => now vfs::attr::sys_fchownat;
    465 "fexecve" None;
    466 "fstatat" Full => now vfs::stat::sys_fstatat;
    467 "utimensat" Full => now vfs::attr::sys_utimensat;
    468 "openat" Full => may_sleep vfs::open::sys_openat;
    469 "readlinkat" Full => now vfs::stat::sys_readlinkat;
    470 "symlinkat" Full => now vfs::names::sys_symlinkat;
    471 "unlinkat" Full => now vfs::names::sys_unlinkat;
    472 "futimens" Full => now vfs::attr::sys_futimens;
    473 "__quotactl" Partial("always EOPNOTSUPP") => now sys_misc::eopnotsupp;
    474 "posix_spawn" None;
    475 "recvmmsg" Partial("LOCAL_CREDS brings credentials with every message") => may_sleep crate::socket::msg::sys_recvmmsg;
    476 "sendmmsg" Full => may_sleep crate::socket::msg::sys_sendmmsg;
    477 "clock_nanosleep" Full => may_sleep crate::sys_time::sys_clock_nanosleep;
    478 "___lwp_park60" Full => may_sleep crate::sys_lwp::sys_lwp_park60;
    479 "posix_fallocate" Full => now vfs::attr::sys_posix_fallocate;
    480 "fdiscard" Full => now vfs::attr::sys_fdiscard;
    481 "wait6" Partial("id types beyond P_ALL, P_PID and P_PGID; what the child's children used reads as zero") => may_sleep crate::sys_wait::sys_wait6;
    482 "clock_getcpuclockid2" None;
    483 "__getvfsstat90" Full => now vfs::statvfs::sys_getvfsstat;
    484 "__statvfs190" Full => now vfs::statvfs::sys_statvfs;
    485 "__fstatvfs190" Full => now vfs::statvfs::sys_fstatvfs;
    486 "__fhstatvfs190" Partial("always EPERM") => now sys_misc::eperm;
    487 "__acl_get_link" Partial("always EOPNOTSUPP") => now sys_misc::eopnotsupp;
    488 "__acl_set_link" Partial("always EOPNOTSUPP") => now sys_misc::eopnotsupp;
    489 "__acl_delete_link" Partial("always EOPNOTSUPP") => now sys_misc::eopnotsupp;
    490 "__acl_aclcheck_link" Partial("always EOPNOTSUPP") => now sys_misc::eopnotsupp;
    491 "__acl_get_file" Partial("always EOPNOTSUPP") => now sys_misc::eopnotsupp;
    492 "__acl_set_file" Partial("always EOPNOTSUPP") => now sys_misc::eopnotsupp;
    493 "__acl_get_fd" Partial("always EOPNOTSUPP") => now sys_misc::eopnotsupp;
    494 "__acl_set_fd" Partial("always EOPNOTSUPP") => now sys_misc::eopnotsupp;
    495 "__acl_delete_file" Partial("always EOPNOTSUPP") => now sys_misc::eopnotsupp;
    496 "__acl_delete_fd" Partial("always EOPNOTSUPP") => now sys_misc::eopnotsupp;
    497 "__acl_aclcheck_file" Partial("always EOPNOTSUPP") => now sys_misc::eopnotsupp;
    498 "__acl_aclcheck_fd" Partial("always EOPNOTSUPP") => now sys_misc::eopnotsupp;
    499 "lpathconf" Full => now vfs::stat::sys_lpathconf;
    500 "memfd_create" Partial("no close-on-fork") => now sys_descrip::sys_memfd_create;
    501 "__kevent100" Partial("NOTE_FORK, NOTE_EXEC, NOTE_TRACK") => may_sleep crate::kqueue::sys::sys_kevent100;
    502 "epoll_create1" None;
    503 "epoll_ctl" None;
    504 "epoll_pwait2" None;
    505 "__dup3100" Partial("O_CLOFORK") => now sys_descrip::sys_dup3_100;
    506 "semtimedop" None;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_kernel_s_own_in_order() {
        let ours: Vec<_> = support().map(|row| (row.number, row.name)).collect();
        let theirs: Vec<_> = (0..nr::SYS_NSYSENT)
            .filter_map(|n| Some((n, nr::name(n)?)))
            .collect();
        assert_eq!(ours, theirs);
    }
}
