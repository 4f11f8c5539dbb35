//! Sending and receiving: sendto(2), sendmsg(2), recvfrom(2), recvmsg(2), and many messages at a time.
//!
//! Tried without waiting; if it must wait, the LWP sleeps until the socket may be ready, at most as long
//! as `SO_SNDTIMEO` or `SO_RCVTIMEO` says, and tries again. Data go straight to and from guest memory.
//!
//! # Invariants
//! 1. A blocking send on a stream returns when all is sent, or something came in between: then the short
//!    count, if anything was sent. `MSG_WAITALL` is the same for receiving.
//! 2. Control data and an address go with the first piece.
//! 3. Descriptors that were received and cannot be handed over are closed.
//!
//! Differs from NetBSD: with `LOCAL_CREDS` every message brings credentials, not only the first.
//!
//! Sources: `uipc_syscalls.c: do_sys_sendmsg, do_sys_recvmsg, copyout_msg_control`,
//! `uipc_socket.c: sosend, soreceive`; syscalls.md 5.6.

use super::addr::{self, HOST_ROOM};
use super::{check_socket, close_new, control, is_datagram, is_stream};
use crate::Unix;
use crate::args::Args;
use crate::copy::{self, copyin_slice, copyin_struct, copyout, copyout_struct};
use crate::errno::{from_host, restartable};
use crate::host::{Received, RecvMsg, SendMsg};
use crate::patience::Patience;
use crate::sys_generic::{Pieces, is_nonblocking, sigpipe, socket_deadline};
use core::mem::offset_of;
use lwp_abi::errno::Errno;
use lwp_abi::limits::IOV_MAX;
use lwp_abi::socket::{
    MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_DONTROUTE, MSG_EOR, MSG_FLAGS, MSG_OOB, MSG_PEEK, MSG_TRUNC,
    MSG_USERFLAGS, Mmsghdr, MsgFlags, Msghdr,
};
use lwp_abi::table::{flags_from_linux, flags_to_linux};
use lwp_abi::time::Timespec;
use lwp_abi::uio::Iovec;
use lwp_kernel::machine::Ready;
use lwp_kernel::{CurLwp, Ended, Outcome, Ret, SysResult};
use rustix::io::Errno as HostErrno;

/// The most control data a guest can send (`sockargs`: a page).
const CONTROL_MAX: u32 = 4096;
/// Room for control data from the host: more than any message brings.
const CONTROL_ROOM: usize = 4096;
/// The most messages in one call.
const MESSAGES_MAX: u32 = 1024;
/// What the host is told of the flags; the others are dealt with here, or mean nothing.
const TO_HOST: u32 = MSG_OOB | MSG_PEEK | MSG_DONTROUTE | MSG_EOR | MSG_CMSG_CLOEXEC;
/// What the guest is told of the host's flags.
const TO_GUEST: u32 = MSG_OOB | MSG_EOR | MSG_TRUNC | MSG_CTRUNC;

/// `sendto(2)`.
///
/// # Errors
/// EBADF, ENOTSOCK. EPIPE: with SIGPIPE, unless forbidden. ENOTCONN, EDESTADDRREQ, EISCONN. EMSGSIZE.
/// EAGAIN. EINTR or a restart. EFAULT. Those of the address and of the protocol.
pub(crate) fn sys_sendto<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let name_len = if a.ptr(4) == 0 { 0 } else { a.uint(5) };
    let msg = Msghdr {
        msg_name: a.ptr(4),
        msg_namelen: name_len,
        ..Msghdr::default()
    };
    let prepared = check_socket(sys, a.int(0)).and_then(|()| {
        let piece = Iovec {
            iov_base: a.ptr(1),
            iov_len: a.size(2),
        };
        copy::total(&[piece])?;
        Send::new(
            sys,
            l,
            a.int(0),
            &msg,
            Pieces::one(piece.iov_base, piece.iov_len),
            a.uint(3),
        )
    });
    send(sys, l, prepared)
}

/// `sendmsg(2)`.
///
/// # Errors
/// As [`sys_sendto`]. EMSGSIZE: too many pieces. EINVAL: bad control data, or too much of it.
pub(crate) fn sys_sendmsg<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let prepared = copyin_struct::<Msghdr>(l, a.ptr(1))
        .and_then(|msg| Send::of_header(sys, l, a.int(0), &msg, a.uint(2)));
    send(sys, l, prepared)
}

fn send<'a>(sys: &'a Unix, l: &'a mut CurLwp, prepared: Result<Send, Errno>) -> Outcome<'a> {
    let mut send = match prepared {
        Ok(send) => send,
        Err(errno) => return Outcome::Done(Err(errno.into())),
    };
    send.fall_short(sys, l);
    match send.attempt(sys) {
        Some(result) => Outcome::Done(send.end(sys, l, result)),
        None => Outcome::Sleep(Box::pin(async move {
            let result = send.sleep(sys, l).await;
            send.end(sys, l, result)
        })),
    }
}

/// `recvfrom(2)`.
///
/// # Errors
/// EBADF, ENOTSOCK. ENOTCONN. EAGAIN. EINTR or a restart. EFAULT. Those of the protocol.
pub(crate) fn sys_recvfrom<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let piece = Iovec {
        iov_base: a.ptr(1),
        iov_len: a.size(2),
    };
    let reply = Reply::From {
        addr: a.ptr(4),
        len_addr: a.ptr(5),
    };
    let prepared = check_socket(sys, a.int(0)).and_then(|()| {
        copy::total(&[piece])?;
        let pieces = Pieces::one(piece.iov_base, piece.iov_len);
        Ok(Recv::new(a.int(0), pieces, a.uint(3), a.ptr(4) != 0, false))
    });
    receive(sys, l, prepared, reply)
}

/// `recvmsg(2)`.
///
/// # Errors
/// As [`sys_recvfrom`]. EMSGSIZE: too many pieces.
pub(crate) fn sys_recvmsg<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    match copyin_struct::<Msghdr>(l, a.ptr(1)) {
        Ok(header) => {
            let prepared = Recv::of_header(sys, l, a.int(0), &header, a.uint(2));
            receive(
                sys,
                l,
                prepared,
                Reply::Header {
                    header,
                    addr: a.ptr(1),
                },
            )
        }
        Err(errno) => Outcome::Done(Err(errno.into())),
    }
}

fn receive<'a>(
    sys: &'a Unix,
    l: &'a mut CurLwp,
    prepared: Result<Recv, Errno>,
    reply: Reply,
) -> Outcome<'a> {
    let mut recv = match prepared {
        Ok(recv) => recv,
        Err(errno) => return Outcome::Done(Err(errno.into())),
    };
    recv.fall_short(sys, l);
    match recv.attempt(sys) {
        Some(result) => Outcome::Done(recv.end(sys, l, result, reply)),
        None => Outcome::Sleep(Box::pin(async move {
            let result = recv.sleep(sys, l).await;
            recv.end(sys, l, result, reply)
        })),
    }
}

/// `sendmmsg(2)`: sends until one fails; that error is told only if it was the first.
///
/// # Errors
/// As [`sys_sendmsg`].
pub(crate) fn sys_sendmmsg<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let (fd, list, count, flags) = (a.int(0), a.ptr(1), a.uint(2).min(MESSAGES_MAX), a.uint(3));
    Outcome::Sleep(Box::pin(async move {
        check_socket(sys, fd)?;
        for index in 0..count {
            let addr = element(list, index);
            if let Err(ended) = send_one(sys, l, fd, addr, flags).await {
                return so_far(index, ended);
            }
        }
        Ok(Ret(u64::from(count), 0))
    }))
}

/// `recvmmsg(2)`. The time-out is looked at between messages, and never written back.
///
/// # Errors
/// As [`sys_recvmsg`].
pub(crate) fn sys_recvmmsg<'a>(sys: &'a Unix, l: &'a mut CurLwp, a: &Args) -> Outcome<'a> {
    let (fd, list, count) = (a.int(0), a.ptr(1), a.uint(2).min(MESSAGES_MAX));
    let (mut flags, timeout) = (a.uint(3), a.ptr(4));
    Outcome::Sleep(Box::pin(async move {
        check_socket(sys, fd)?;
        let deadline = match timeout {
            0 => None,
            addr => {
                let time = core::time::Duration::try_from(copyin_struct::<Timespec>(l, addr)?);
                Some(
                    l.kernel
                        .machine
                        .monotonic()
                        .saturating_add(time.unwrap_or_default()),
                )
            }
        };
        for index in 0..count {
            if let Err(ended) = receive_one(sys, l, fd, element(list, index), flags).await {
                return so_far(index, ended);
            }
            if MsgFlags::from_bits_retain(flags).contains(MsgFlags::WAITFORONE) {
                flags |= MsgFlags::DONTWAIT.bits();
            }
            if deadline.is_some_and(|at| l.kernel.machine.monotonic() >= at) {
                return Ok(Ret(u64::from(index) + 1, 0));
            }
        }
        Ok(Ret(u64::from(count), 0))
    }))
}

fn element(list: u64, index: u32) -> u64 {
    let size = u64::try_from(size_of::<Mmsghdr>()).unwrap_or(0);
    list.wrapping_add(u64::from(index).wrapping_mul(size))
}

fn so_far(count: u32, ended: Ended) -> SysResult {
    if count == 0 {
        Err(ended)
    } else {
        Ok(Ret(u64::from(count), 0))
    }
}

async fn send_one(sys: &Unix, l: &mut CurLwp, fd: i32, addr: u64, flags: u32) -> Result<(), Ended> {
    let header: Msghdr = copyin_struct(l, addr)?;
    let mut send = Send::of_header(sys, l, fd, &header, flags)?;
    send.fall_short(sys, l);
    let result = match send.attempt(sys) {
        Some(result) => result,
        None => send.sleep(sys, l).await,
    };
    let Ret(sent, _) = send.end(sys, l, result)?;
    copyout_len(l, sent, addr)
}

async fn receive_one(
    sys: &Unix,
    l: &mut CurLwp,
    fd: i32,
    addr: u64,
    flags: u32,
) -> Result<(), Ended> {
    let header: Msghdr = copyin_struct(l, addr)?;
    let mut recv = Recv::of_header(sys, l, fd, &header, flags)?;
    recv.fall_short(sys, l);
    let result = match recv.attempt(sys) {
        Some(result) => result,
        None => recv.sleep(sys, l).await,
    };
    let Ret(len, _) = recv.end(sys, l, result, Reply::Header { header, addr })?;
    copyout_len(l, len, addr)
}

/// Writes the length behind the header of one of many messages.
fn copyout_len(l: &CurLwp, len: u64, addr: u64) -> Result<(), Ended> {
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    let at = u64::try_from(offset_of!(Mmsghdr, msg_len)).unwrap_or(0);
    Ok(copyout_struct(l, &len, addr.wrapping_add(at))?)
}

/// The pieces of a message header.
fn copyin_pieces(l: &CurLwp, header: &Msghdr) -> Result<Pieces, Errno> {
    let count = usize::try_from(header.msg_iovlen).unwrap_or(usize::MAX);
    if count > IOV_MAX {
        return Err(Errno::EMSGSIZE);
    }
    let iov = copyin_slice::<Iovec>(l, header.msg_iov, count)?;
    copy::total(&iov)?;
    Ok(Pieces::Many(iov))
}

/// Whether the call is not to wait.
fn is_impatient(sys: &Unix, fd: i32, flags: MsgFlags) -> bool {
    flags.intersects(MsgFlags::DONTWAIT | MsgFlags::NBIO) || is_nonblocking(sys, fd)
}

fn host_flags(flags: MsgFlags) -> i32 {
    flags_to_linux(MSG_FLAGS, flags.bits() & TO_HOST)
        .bits
        .cast_signed()
}

/// A message on its way out.
struct Send {
    fd: i32,
    /// The destination, for the host; empty for none.
    name: Vec<u8>,
    control: Vec<u8>,
    pieces: Pieces,
    flags: MsgFlags,
    done: u64,
}

impl Send {
    fn of_header(
        sys: &Unix,
        l: &CurLwp,
        fd: i32,
        header: &Msghdr,
        flags: u32,
    ) -> Result<Self, Errno> {
        check_socket(sys, fd)?;
        let pieces = copyin_pieces(l, header)?;
        Self::new(sys, l, fd, header, pieces, flags)
    }

    fn new(
        sys: &Unix,
        l: &CurLwp,
        fd: i32,
        header: &Msghdr,
        pieces: Pieces,
        flags: u32,
    ) -> Result<Self, Errno> {
        let name = match header.msg_name {
            0 => Vec::new(),
            at => addr::copyin_addr(l, at, header.msg_namelen)?,
        };
        let control = match header.msg_control {
            0 => Vec::new(),
            at => copyin_control(sys, l, at, header.msg_controllen)?,
        };
        if !name.is_empty() && sys.host.getpeername(fd, &mut [0; HOST_ROOM]).is_ok() {
            return Err(Errno::EISCONN);
        }
        let flags = MsgFlags::from_bits_retain(flags & MSG_USERFLAGS);
        Ok(Self {
            fd,
            name,
            control,
            pieces,
            flags,
            done: 0,
        })
    }

    /// Cuts it short, if that is allowed and the policy wants it.
    fn fall_short(&mut self, sys: &Unix, l: &CurLwp) {
        self.pieces.fall_short(l, |_| {
            self.control.is_empty()
                && is_stream(sys, self.fd)
                && is_impatient(sys, self.fd, self.flags)
        });
    }

    /// Sends what can be sent without waiting. `None` if the LWP has to wait.
    fn attempt(&mut self, sys: &Unix) -> Option<Result<(), Ended>> {
        loop {
            let msg = SendMsg {
                name: &self.name,
                iov: self.pieces.as_slice(),
                control: &self.control,
                flags: host_flags(self.flags),
            };
            match sys.host.sendmsg(self.fd, &msg) {
                Ok(sent) => {
                    let sent = u64::try_from(sent).unwrap_or(0);
                    self.done += sent;
                    self.pieces.advance(sent);
                    self.control.clear();
                    if self.pieces.len() == 0
                        || is_impatient(sys, self.fd, self.flags)
                        || !is_stream(sys, self.fd)
                    {
                        return Some(Ok(()));
                    }
                }
                Err(err) => {
                    return match HostErrno::from_raw_os_error(err.errno) {
                        HostErrno::AGAIN if !is_impatient(sys, self.fd, self.flags) => None,
                        // Where no connection is required, what is missing is an address (`sosend`).
                        HostErrno::NOTCONN if self.name.is_empty() && is_datagram(sys, self.fd) => {
                            Some(Err(Errno::EDESTADDRREQ.into()))
                        }
                        _ => Some(Err(from_host(err).into())),
                    };
                }
            }
        }
    }

    async fn sleep(&mut self, sys: &Unix, l: &mut CurLwp) -> Result<(), Ended> {
        let deadline = socket_deadline(sys, l, self.fd, Ready::OUT);
        let mut patience = Patience::default();
        loop {
            let ready = patience.wait_ready(l, self.fd, Ready::OUT, deadline, "netio");
            ready.await.map_err(restartable)?;
            if let Some(result) = self.attempt(sys) {
                return result;
            }
        }
    }

    /// What the guest is told: a short count outranks an interruption.
    fn end(&self, sys: &Unix, l: &CurLwp, result: Result<(), Ended>) -> SysResult {
        let Err(ended) = result else {
            return Ok(Ret(self.done, 0));
        };
        if self.done > 0 && is_interruption(ended) {
            return Ok(Ret(self.done, 0));
        }
        if ended == Ended::Failed(Errno::EPIPE) && !self.flags.contains(MsgFlags::NOSIGNAL) {
            sigpipe(sys, l, self.fd);
        }
        Err(ended)
    }
}

fn is_interruption(ended: Ended) -> bool {
    matches!(
        ended,
        Ended::Restart | Ended::Failed(Errno::EINTR | Errno::EWOULDBLOCK)
    )
}

/// Reads control messages to be sent.
fn copyin_control(sys: &Unix, l: &CurLwp, at: u64, len: u32) -> Result<Vec<u8>, Errno> {
    let is_header =
        usize::try_from(len).is_ok_and(|len| len >= size_of::<lwp_abi::socket::Cmsghdr>());
    if !is_header || len > CONTROL_MAX {
        return Err(Errno::EINVAL);
    }
    let bytes = copyin_slice::<u8>(l, at, usize::try_from(len).map_err(|_| Errno::EINVAL)?)?;
    control::to_host(&bytes, |fd| {
        sys.files.check(&*sys.host, fd)?;
        // A kqueue belongs to its process.
        if sys.files.object(fd).is_some() {
            Err(Errno::EBADF)
        } else {
            Ok(())
        }
    })
}

/// A message to be received.
struct Recv {
    fd: i32,
    pieces: Pieces,
    flags: MsgFlags,
    wants_control: bool,
    done: u64,
    /// What came with the first piece.
    name: Vec<u8>,
    control: Vec<u8>,
    host_flags: i32,
    wants_name: bool,
}

/// Where the answer goes.
#[derive(Clone, Copy)]
enum Reply {
    From { addr: u64, len_addr: u64 },
    Header { header: Msghdr, addr: u64 },
}

impl Recv {
    fn of_header(
        sys: &Unix,
        l: &CurLwp,
        fd: i32,
        header: &Msghdr,
        flags: u32,
    ) -> Result<Self, Errno> {
        check_socket(sys, fd)?;
        let pieces = copyin_pieces(l, header)?;
        let (wants_name, wants_control) = (header.msg_name != 0, header.msg_control != 0);
        Ok(Self::new(fd, pieces, flags, wants_name, wants_control))
    }

    fn new(fd: i32, pieces: Pieces, flags: u32, wants_name: bool, wants_control: bool) -> Self {
        Self {
            fd,
            pieces,
            flags: MsgFlags::from_bits_retain(flags & MSG_USERFLAGS),
            wants_control,
            done: 0,
            name: Vec::new(),
            control: Vec::new(),
            host_flags: 0,
            wants_name,
        }
    }

    /// Receives what is there. `None` if the LWP has to wait.
    fn attempt(&mut self, sys: &Unix) -> Option<Result<(), Ended>> {
        if self.pieces.len() == 0 && !self.wants_control && is_stream(sys, self.fd) {
            return Some(Ok(()));
        }
        loop {
            match self.step(sys) {
                Ok(got) => {
                    let len = u64::try_from(got.len).unwrap_or(0);
                    self.done += len;
                    self.pieces.advance(len);
                    let is_all = self.pieces.len() == 0 || len == 0 || !self.control.is_empty();
                    if is_all || !self.wants_all(sys) {
                        return Some(Ok(()));
                    }
                }
                Err(HostErrno::AGAIN) if is_impatient(sys, self.fd, self.flags) => {
                    return Some(if self.done > 0 {
                        Ok(())
                    } else {
                        Err(Errno::EAGAIN.into())
                    });
                }
                Err(HostErrno::AGAIN) => return None,
                Err(err) => return Some(Err(Errno::from_linux(err.raw_os_error()).into())),
            }
        }
    }

    /// Cuts it short, if that is allowed and the policy wants it.
    fn fall_short(&mut self, sys: &Unix, l: &CurLwp) {
        let is_whole = MsgFlags::WAITALL | MsgFlags::PEEK | MsgFlags::OOB;
        self.pieces.fall_short(l, |_| {
            !self.wants_control && !self.flags.intersects(is_whole) && is_stream(sys, self.fd)
        });
    }

    fn wants_all(&self, sys: &Unix) -> bool {
        self.flags.contains(MsgFlags::WAITALL)
            && !self.flags.intersects(MsgFlags::PEEK | MsgFlags::OOB)
            && is_stream(sys, self.fd)
    }

    /// One host call.
    fn step(&mut self, sys: &Unix) -> Result<Received, HostErrno> {
        let mut name = [0; HOST_ROOM];
        let mut control = vec![0; if self.wants_control { CONTROL_ROOM } else { 0 }];
        let mut msg = RecvMsg {
            name: if self.wants_name { &mut name } else { &mut [] },
            iov: self.pieces.as_slice(),
            control: &mut control,
            flags: host_flags(self.flags),
        };
        let got = sys
            .host
            .recvmsg(self.fd, &mut msg)
            .map_err(|err| HostErrno::from_raw_os_error(err.errno))?;
        if self.done == 0 {
            self.name = name[..got.name_len.min(HOST_ROOM)].to_vec();
        }
        control.truncate(got.control_len);
        self.control.append(&mut control);
        self.host_flags |= got.flags;
        Ok(got)
    }

    async fn sleep(&mut self, sys: &Unix, l: &mut CurLwp) -> Result<(), Ended> {
        let deadline = socket_deadline(sys, l, self.fd, Ready::IN);
        let want = if self.flags.contains(MsgFlags::OOB) {
            Ready::PRI
        } else {
            Ready::IN
        };
        let mut patience = Patience::default();
        loop {
            let ready = patience.wait_ready(l, self.fd, want, deadline, "netio");
            ready.await.map_err(restartable)?;
            if let Some(result) = self.attempt(sys) {
                return result;
            }
        }
    }

    fn end(&self, sys: &Unix, l: &CurLwp, result: Result<(), Ended>, reply: Reply) -> SysResult {
        if let Err(ended) = result
            && !(self.done > 0 && is_interruption(ended))
        {
            return Err(ended);
        }
        let name = addr::to_guest(&self.name);
        match reply {
            Reply::From { addr, len_addr } => {
                addr::copyout_addr(l, name.as_deref(), addr, len_addr)?;
            }
            Reply::Header { header, addr } => {
                if let Err(errno) = self.reply_header(sys, l, header, addr, name) {
                    self.close_received(sys, l);
                    return Err(errno.into());
                }
            }
        }
        Ok(Ret(self.done, 0))
    }

    /// Writes the address, the control messages and the header.
    fn reply_header(
        &self,
        sys: &Unix,
        l: &CurLwp,
        mut header: Msghdr,
        addr: u64,
        name: Option<Vec<u8>>,
    ) -> Result<(), Errno> {
        let flags = flags_from_linux(MSG_FLAGS, self.host_flags.cast_unsigned()).bits & TO_GUEST;
        let mut flags = MsgFlags::from_bits_retain(flags);
        if header.msg_control == 0 {
            header.msg_controllen = 0;
            flags.remove(MsgFlags::CTRUNC);
        } else {
            let room = usize::try_from(header.msg_controllen).unwrap_or(usize::MAX);
            let control = control::to_guest(&self.control, room, &sys.pids);
            copyout(l, &control.bytes, header.msg_control)?;
            header.msg_controllen = u32::try_from(control.bytes.len()).unwrap_or(0);
            flags.set(
                MsgFlags::CTRUNC,
                control.is_truncated || flags.contains(MsgFlags::CTRUNC),
            );
            control.refused.iter().for_each(|&fd| close_new(sys, l, fd));
        }
        let name = name.filter(|_| header.msg_name != 0).unwrap_or_default();
        let room = usize::try_from(header.msg_namelen).unwrap_or(usize::MAX);
        let name = &name[..name.len().min(room)];
        copyout(l, name, header.msg_name)?;
        header.msg_namelen = u32::try_from(name.len()).unwrap_or(0);
        header.msg_flags = flags.bits();
        copyout_struct(l, &header, addr)
    }

    /// Closes the descriptors that came with a message which cannot be handed over.
    fn close_received(&self, sys: &Unix, l: &CurLwp) {
        for fd in control::descriptors(&self.control) {
            close_new(sys, l, fd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colliding_flag_values_are_kept_apart() {
        // NetBSD's WAITALL is Linux's DONTWAIT, its EOR is Linux's CTRUNC, its DONTWAIT is Linux's EOR.
        let flags = |bits| host_flags(MsgFlags::from_bits_retain(bits));
        assert_eq!(
            flags(MsgFlags::WAITALL.bits() | MsgFlags::DONTWAIT.bits()),
            0
        );
        assert_eq!(flags(MSG_EOR), 0x80);
        assert_eq!(flags(MSG_PEEK | MSG_OOB), 3);
        assert_eq!(flags(MSG_CMSG_CLOEXEC), 0x4000_0000);
        assert_eq!(flags(MSG_TRUNC), 0);
    }

    #[test]
    fn the_guest_is_told_of_its_own_flags_only() {
        let told = flags_from_linux(MSG_FLAGS, 0x8 | 0x20 | 0x4000_0000 | 0x80).bits & TO_GUEST;
        assert_eq!(told, MSG_CTRUNC | MSG_TRUNC | MSG_EOR);
    }
}
