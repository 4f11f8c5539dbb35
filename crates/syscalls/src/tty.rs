//! Terminals: the requests of group 't', and `struct termios`.
//!
//! Modes, special characters and speeds are translated bit by bit from the tables in `lwp_abi`; what only
//! the host has stays as it was.
//!
//! Differs from NetBSD: what Linux cannot store (ALTWERASE, NOKERNINFO, ONOEOT, VDSUSP, VSTATUS and others
//! without a twin) reads back as off. OXTABS is the host's XTABS.
//!
//! Sources: tty(4), termios(4), ptm(4), pts(4); sys/ttycom.h; syscalls.md 5.9.

use crate::Unix;
use crate::errno::{from_host, from_rustix};
use crate::sys_ioctl::{Done, HOST_OUTQ, Job, JobArg, host_result, int, set_int};
use lwp_abi::errno::Errno;
use lwp_abi::ioctl::{
    IoctlCmd, TIOCCBRK, TIOCCDTR, TIOCCONS, TIOCDRAIN, TIOCEXCL, TIOCFLUSH, TIOCGETA, TIOCGETD,
    TIOCGFLAGS, TIOCGPGRP, TIOCGRANTPT, TIOCGSID, TIOCGWINSZ, TIOCM_DTR, TIOCMBIC, TIOCMBIS,
    TIOCMGET, TIOCMSET, TIOCNOTTY, TIOCNXCL, TIOCOUTQ, TIOCPKT, TIOCPTMGET, TIOCPTMGET_16,
    TIOCPTSNAME, TIOCPTSNAME_16, TIOCSBRK, TIOCSCTTY, TIOCSDTR, TIOCSETA, TIOCSETAF, TIOCSETAW,
    TIOCSETD, TIOCSPGRP, TIOCSTART, TIOCSTI, TIOCSTOP, TIOCSWINSZ,
};
use lwp_abi::table::{Number, flags_from_linux, flags_to_linux};
use lwp_abi::termios::{
    _POSIX_VDISABLE, CFLAGS, CONTROL_CHARS, IFLAGS, LFLAGS, NCCS, OFLAGS, OXTABS, Termios, VMIN,
    VTIME,
};
use lwp_kernel::{CurLwp, Ended};
use rustix::pty::OpenptFlags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The host's `struct termios2`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
struct HostTermios {
    iflag: u32,
    oflag: u32,
    cflag: u32,
    lflag: u32,
    line: u8,
    cc: [u8; 19],
    ispeed: u32,
    ospeed: u32,
}

const TCGETS2: u32 = 0x802c_542a;
const TCSETS2: u32 = 0x402c_542b;
const TCSETSW2: u32 = 0x402c_542c;
const TCSETSF2: u32 = 0x402c_542d;
const TCSBRK: u32 = 0x5409;
const TCXONC: u32 = 0x540a;
const TCFLSH: u32 = 0x540b;
const TIOCSPTLCK: u32 = 0x4004_5431;
/// The host's bits for both speeds in `cflag`, and their value for "see the speed fields".
const SPEED_MASK: u32 = 0x100f | 0x100f << 16;
const SPEED_OTHER: u32 = 0x1000 | 0x1000 << 16;
/// The host's XTABS: all of its tab-delay bits.
const HOST_XTABS: u32 = 0x1800;

/// What a request becomes, where that takes no thought.
enum Plan {
    /// The same bytes by pointer.
    Bytes(u32),
    /// A word.
    Word(u32, i32),
}

/// Does what a request of group 't' asks.
///
/// # Errors
/// ENOTTY: no terminal, or no such request. EPERM: not for users. ENXIO: no such line discipline.
pub(crate) fn ioctl(
    sys: &Unix,
    l: &CurLwp,
    fd: i32,
    cmd: IoctlCmd,
    arg: &mut [u8],
) -> Result<Done, Ended> {
    match cmd.raw() {
        TIOCGETA => {
            let found = host_termios(sys, fd)?;
            arg.copy_from_slice(to_guest(&found).as_bytes());
        }
        TIOCSETA => return set(sys, fd, TCSETS2, arg),
        TIOCSETAW => return set(sys, fd, TCSETSW2, arg),
        TIOCSETAF => return set(sys, fd, TCSETSF2, arg),
        TIOCDRAIN => {
            return wait_or_not(
                sys,
                fd,
                Job {
                    request: TCSBRK,
                    arg: JobArg::Word(1),
                },
            );
        }
        TIOCGETD | TIOCGFLAGS => {
            host_termios(sys, fd)?;
            set_int(arg, 0);
        }
        TIOCSETD => {
            host_termios(sys, fd)?;
            if int(arg) != 0 {
                return Err(Errno::ENXIO.into());
            }
        }
        TIOCCONS => return Err(Errno::EPERM.into()),
        TIOCSDTR | TIOCCDTR => {
            let request = if cmd.raw() == TIOCSDTR {
                0x5416
            } else {
                0x5417
            };
            let mut bits = TIOCM_DTR.to_le_bytes();
            host_result(sys.host.ioctl(fd, request, &mut bits))?;
        }
        TIOCGRANTPT => {
            host_result(sys.host.ioctl(fd, TIOCSPTLCK, &mut [0; 4]))?;
        }
        TIOCPTMGET | TIOCPTMGET_16 => new_pair(sys, l, arg)?,
        TIOCPTSNAME | TIOCPTSNAME_16 => {
            let name = rustix::pty::ptsname(sys.host.fd(fd).map_err(from_host)?, Vec::new());
            fill_ptmget(arg, -1, -1, name.map_err(from_rustix)?.as_bytes());
        }
        TIOCGPGRP | TIOCGSID => {
            let request = if cmd.raw() == TIOCGPGRP {
                0x540f
            } else {
                0x5429
            };
            host_result(sys.host.ioctl(fd, request, arg))?;
            set_int(arg, sys.pids.to_guest(int(arg)));
        }
        TIOCSPGRP => {
            let mut group = sys.pids.to_host(int(arg))?.to_le_bytes();
            host_result(sys.host.ioctl(fd, 0x5410, &mut group))?;
        }
        _ => match plan(cmd, arg).ok_or(Errno::ENOTTY)? {
            Plan::Bytes(request) => drop(host_result(sys.host.ioctl(fd, request, arg))?),
            Plan::Word(request, word) => drop(host_result(sys.host.ioctl_word(fd, request, word))?),
        },
    }
    Ok(Done::Now)
}

fn plan(cmd: IoctlCmd, arg: &[u8]) -> Option<Plan> {
    Some(match cmd.raw() {
        TIOCGWINSZ => Plan::Bytes(0x5413),
        TIOCSWINSZ => Plan::Bytes(0x5414),
        TIOCOUTQ => Plan::Bytes(HOST_OUTQ),
        TIOCSTI => Plan::Bytes(0x5412),
        TIOCMGET => Plan::Bytes(0x5415),
        TIOCMBIS => Plan::Bytes(0x5416),
        TIOCMBIC => Plan::Bytes(0x5417),
        TIOCMSET => Plan::Bytes(0x5418),
        TIOCPKT => Plan::Bytes(0x5420),
        TIOCSCTTY => Plan::Word(0x540e, 0),
        TIOCNOTTY => Plan::Word(0x5422, 0),
        TIOCEXCL => Plan::Word(0x540c, 0),
        TIOCNXCL => Plan::Word(0x540d, 0),
        TIOCSBRK => Plan::Word(0x5427, 0),
        TIOCCBRK => Plan::Word(0x5428, 0),
        TIOCSTART => Plan::Word(TCXONC, 1),
        TIOCSTOP => Plan::Word(TCXONC, 0),
        TIOCFLUSH => Plan::Word(TCFLSH, flush_queues(int(arg))),
        _ => return None,
    })
}

/// The host's queue selector for FREAD 1, FWRITE 2; neither means both.
fn flush_queues(which: i32) -> i32 {
    match which & 3 {
        1 => 0,
        2 => 1,
        _ => 2,
    }
}

fn host_termios(sys: &Unix, fd: i32) -> Result<HostTermios, Ended> {
    let mut found = HostTermios::default();
    host_result(sys.host.ioctl(fd, TCGETS2, found.as_mut_bytes()))?;
    Ok(found)
}

/// TIOCSETA and its kin.
fn set(sys: &Unix, fd: i32, request: u32, arg: &[u8]) -> Result<Done, Ended> {
    let wanted = Termios::read_from_bytes(arg).map_err(|_| Errno::ENOTTY)?;
    let new = to_host(&wanted, &host_termios(sys, fd)?);
    let bytes = new.as_bytes().to_vec();
    wait_or_not(
        sys,
        fd,
        Job {
            request,
            arg: JobArg::Bytes(bytes),
        },
    )
}

/// Makes a request at once if it cannot wait: there is nothing left to be sent, or it does not care.
fn wait_or_not(sys: &Unix, fd: i32, job: Job) -> Result<Done, Ended> {
    let mut queued = [0; 4];
    if job.request != TCSETS2 {
        host_result(sys.host.ioctl(fd, HOST_OUTQ, &mut queued))?;
    }
    if int(&queued) > 0 {
        return Ok(Done::Later(job));
    }
    match job.arg {
        JobArg::Bytes(mut bytes) => host_result(sys.host.ioctl(fd, job.request, &mut bytes))?,
        JobArg::Word(word) => host_result(sys.host.ioctl_word(fd, job.request, word))?,
    };
    Ok(Done::Now)
}

/// The guest's record of the host's.
fn to_guest(host: &HostTermios) -> Termios {
    let bits = |table: &[Number], bits| flags_from_linux(table, bits).bits;
    let mut c_oflag = bits(OFLAGS, host.oflag);
    if host.oflag & HOST_XTABS == HOST_XTABS {
        c_oflag |= OXTABS;
    }
    let mut c_cc = [_POSIX_VDISABLE; NCCS];
    for (guest, at) in char_indices() {
        c_cc[guest] = match host.cc[at] {
            0 if !is_count(guest) => _POSIX_VDISABLE,
            c => c,
        };
    }
    let speed = |speed: u32| i32::try_from(speed).unwrap_or(i32::MAX);
    Termios {
        c_iflag: bits(IFLAGS, host.iflag),
        c_oflag,
        c_cflag: bits(CFLAGS, host.cflag),
        c_lflag: bits(LFLAGS, host.lflag),
        c_cc,
        c_ispeed: speed(host.ispeed),
        c_ospeed: speed(host.ospeed),
    }
}

/// The host's record for what the guest wants; `old` has what the guest cannot see.
fn to_host(wanted: &Termios, old: &HostTermios) -> HostTermios {
    let merge = |table: &[Number], old: u32, wanted: u32| {
        let known = flags_to_linux(table, u32::MAX).bits;
        old & !known | flags_to_linux(table, wanted).bits
    };
    let mut oflag = merge(OFLAGS, old.oflag, wanted.c_oflag) & !HOST_XTABS;
    if wanted.c_oflag & OXTABS != 0 {
        oflag |= HOST_XTABS;
    }
    let mut cc = old.cc;
    for (guest, at) in char_indices() {
        cc[at] = match wanted.c_cc[guest] {
            _POSIX_VDISABLE if !is_count(guest) => 0,
            c => c,
        };
    }
    let speed = |speed: i32| u32::try_from(speed).unwrap_or(0);
    HostTermios {
        iflag: merge(IFLAGS, old.iflag, wanted.c_iflag),
        oflag,
        cflag: merge(CFLAGS, old.cflag, wanted.c_cflag) & !SPEED_MASK | SPEED_OTHER,
        lflag: merge(LFLAGS, old.lflag, wanted.c_lflag),
        line: old.line,
        cc,
        ispeed: speed(wanted.c_ispeed),
        ospeed: speed(wanted.c_ospeed),
    }
}

/// VMIN and VTIME are numbers, not characters: nothing disables them.
fn is_count(guest: usize) -> bool {
    guest == VMIN || guest == VTIME
}

/// The special characters that both systems have: their places here and there.
fn char_indices() -> impl Iterator<Item = (usize, usize)> {
    CONTROL_CHARS.iter().filter_map(|row| {
        let guest = usize::try_from(row.netbsd).ok()?;
        let host = usize::try_from(row.linux?).ok()?;
        Some((guest, host))
    })
}

/// TIOCPTMGET: a new pair of terminals, both open.
///
/// # Errors
/// EMFILE, ENOSPC: no more to be had.
fn new_pair(sys: &Unix, l: &CurLwp, arg: &mut [u8]) -> Result<(), Ended> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let master = rustix::pty::openpt(flags).map_err(from_rustix)?;
    rustix::pty::unlockpt(&master).map_err(from_rustix)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).map_err(from_rustix)?;
    let name = rustix::pty::ptsname(&master, Vec::new()).map_err(from_rustix)?;
    let cfd = sys.adopt(master)?;
    let sfd = match sys.adopt(slave) {
        Ok(sfd) => sfd,
        Err(errno) => {
            sys.close(l, cfd)?;
            return Err(errno.into());
        }
    };
    fill_ptmget(arg, cfd, sfd, name.as_bytes());
    Ok(())
}

/// `struct ptmget`, with names of 1024 bytes or, from older programs, of 16.
fn fill_ptmget(arg: &mut [u8], cfd: i32, sfd: i32, slave: &[u8]) {
    arg.fill(0);
    let Some((fds, names)) = arg.split_at_mut_checked(8) else {
        return;
    };
    fds[..4].copy_from_slice(&cfd.to_le_bytes());
    fds[4..].copy_from_slice(&sfd.to_le_bytes());
    let (cn, sn) = names.split_at_mut(names.len() / 2);
    for (to, name) in [(cn, &b"/dev/ptmx"[..]), (sn, slave)] {
        let len = name.len().min(to.len().saturating_sub(1));
        to[..len].copy_from_slice(&name[..len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lwp_abi::termios::{
        CS6, CS8, CSIZE, ECHO, ICANON, ICRNL, IXON, ONLCR, OPOST, VEOF, VERASE, VINTR,
    };
    use proptest::prelude::*;

    fn cooked() -> HostTermios {
        let mut cc = [0; 19];
        (cc[0], cc[4], cc[5], cc[6]) = (3, 4, 0, 1);
        HostTermios {
            iflag: 0x500,
            oflag: 0x5,
            cflag: 0xbf,
            lflag: 0x8a3b,
            line: 0,
            cc,
            ispeed: 38400,
            ospeed: 38400,
        }
    }

    #[test]
    fn a_usual_terminal_looks_as_on_netbsd() {
        let guest = to_guest(&cooked());
        assert_eq!(guest.c_iflag, ICRNL | IXON);
        assert_eq!(guest.c_oflag, OPOST | ONLCR);
        assert_eq!(guest.c_cflag & CSIZE, CS8);
        assert_eq!(guest.c_lflag & (ICANON | ECHO), ICANON | ECHO);
        assert_eq!((guest.c_cc[VINTR], guest.c_cc[VEOF]), (3, 4));
        assert_eq!((guest.c_cc[VMIN], guest.c_cc[VTIME]), (1, 0));
        assert_eq!(guest.c_cc[VERASE], _POSIX_VDISABLE);
        assert_eq!((guest.c_ispeed, guest.c_ospeed), (38400, 38400));
    }

    #[test]
    fn sizes_of_characters_are_not_mixed_up() {
        let six = HostTermios {
            cflag: 0x10,
            ..cooked()
        };
        assert_eq!(to_guest(&six).c_cflag & CSIZE, CS6);
        let wanted = Termios {
            c_cflag: CS6,
            ..to_guest(&cooked())
        };
        assert_eq!(to_host(&wanted, &cooked()).cflag & 0x30, 0x10);
    }

    #[test]
    fn one_queue_or_both_are_flushed() {
        assert_eq!([0, 1, 2, 3].map(flush_queues), [2, 0, 1, 2]);
    }

    #[test]
    fn names_are_cut_to_their_room() {
        let mut arg = [0xff; 40];
        fill_ptmget(&mut arg, 3, 4, b"/dev/pts/1234567890");
        assert_eq!(arg[..8], [3, 0, 0, 0, 4, 0, 0, 0]);
        assert_eq!(&arg[8..18], b"/dev/ptmx\0");
        assert_eq!(&arg[24..40], b"/dev/pts/123456\0");
    }

    proptest! {
        #[test]
        fn what_the_host_can_store_reads_back(
            iflag: u32, oflag: u32, cflag: u32, lflag: u32, cc: [u8; 19], speed in 0u32..4_000_000,
        ) {
            let host = HostTermios {
                iflag, oflag, cflag, lflag, cc, ispeed: speed, ospeed: speed, ..cooked()
            };
            let guest = to_guest(&host);
            let again = to_guest(&to_host(&guest, &host));
            prop_assert_eq!(again, guest);
        }
    }
}
