//! Messages: sent, received, and the two that are none, SHUTDOWN and ABORT.

use super::abi;
use super::address;
use super::constants as c;
use super::{AssocId, SctpSocket};
use crate::sys::{self, Control};
use esock_proto::Address;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// How to send a message (RFC 6458 §5.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendInfo {
    /// The association. On a socket that was peeled off it is of no matter.
    pub association: AssocId,
    /// The stream.
    pub stream: u16,
    /// The payload protocol identifier.
    pub ppid: u32,
    /// Whether it may overtake others (RFC 9260 §6.6).
    pub unordered: bool,
    /// Whether the peer is to acknowledge at once (RFC 7053).
    pub sack_immediately: bool,
    /// A number that comes back with the message if it cannot be delivered.
    pub context: u32,
    /// The peer's address to send it to instead of the primary one. Linux does not look at it on a
    /// socket that was peeled off.
    pub to: Option<(Address, u16)>,
}

impl SendInfo {
    /// An ordered message on stream 0 without a payload protocol identifier.
    pub fn new(association: AssocId) -> Self {
        Self { association, stream: 0, ppid: 0, unordered: false, sack_immediately: false, context: 0, to: None }
    }
}

/// When to give a message up (RFC 7496 §4, RFC 3758).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrInfo {
    /// After this time, in whole milliseconds.
    Lifetime(Duration),
    /// After this many retransmissions.
    Retransmissions(u32),
    /// When there is no room for a message that is more important: of a smaller number.
    Priority(u32),
}

/// What [`SctpSocket::recv`] received.
///
/// The end of an association is a notification. After it a socket that was peeled off gives EAGAIN for
/// ever, as if something could still come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// How many bytes.
    pub len: usize,
    /// Whether the message, or notification, ends here; otherwise the next call gives what follows
    /// (or [`PartialDelivery`](super::Notification::PartialDelivery) if that will not come). Without
    /// [`set_fragment_interleave`](SctpSocket::set_fragment_interleave) nothing else comes between.
    pub end_of_record: bool,
    /// Whether it is a notification, for [`Notification::parse`](super::Notification::parse).
    pub notification: bool,
    /// About a message, if [`set_receive_info`](SctpSocket::set_receive_info) asked for it.
    pub rcvinfo: Option<RcvInfo>,
    /// About the one after it, if it is there and [`set_next_info`](SctpSocket::set_next_info) asked for it.
    pub nxtinfo: Option<NxtInfo>,
    /// The peer's address and port.
    pub from: Option<(Address, u16)>,
}

/// About a message that was received (RFC 6458 §5.3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RcvInfo {
    /// The association.
    pub association: AssocId,
    /// The stream.
    pub stream: u16,
    /// The stream sequence number, of an ordered message.
    pub ssn: u16,
    /// Whether it was sent unordered.
    pub unordered: bool,
    /// The payload protocol identifier.
    pub ppid: u32,
    /// The TSN of one of its chunks.
    pub tsn: u32,
    /// The cumulative TSN when it was received, of an unordered message.
    pub cum_tsn: u32,
    /// The number that the option SCTP_CONTEXT gives.
    pub context: u32,
}

/// About the message that comes next (RFC 6458 §5.3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NxtInfo {
    /// The association.
    pub association: AssocId,
    /// The stream.
    pub stream: u16,
    /// Whether it was sent unordered.
    pub unordered: bool,
    /// Whether it is a notification.
    pub notification: bool,
    /// The payload protocol identifier.
    pub ppid: u32,
    /// How many of its bytes are there.
    pub length: usize,
}

impl From<abi::sctp_rcvinfo> for RcvInfo {
    fn from(info: abi::sctp_rcvinfo) -> Self {
        Self {
            association: AssocId(info.rcv_assoc_id),
            stream: info.rcv_sid,
            ssn: info.rcv_ssn,
            unordered: info.rcv_flags & c::SCTP_UNORDERED != 0,
            ppid: u32::from_be(info.rcv_ppid),
            tsn: info.rcv_tsn,
            cum_tsn: info.rcv_cumtsn,
            context: info.rcv_context,
        }
    }
}

impl From<abi::sctp_nxtinfo> for NxtInfo {
    fn from(info: abi::sctp_nxtinfo) -> Self {
        Self {
            association: AssocId(info.nxt_assoc_id),
            stream: info.nxt_sid,
            unordered: info.nxt_flags & c::SCTP_UNORDERED != 0,
            notification: info.nxt_flags & c::SCTP_NOTIFICATION != 0,
            ppid: u32::from_be(info.nxt_ppid),
            length: info.nxt_length as usize,
        }
    }
}

impl From<PrInfo> for abi::sctp_prinfo {
    fn from(info: PrInfo) -> Self {
        let (pr_policy, pr_value) = match info {
            PrInfo::Lifetime(time) => (c::SCTP_PR_SCTP_TTL, u32::try_from(time.as_millis()).unwrap_or(u32::MAX)),
            PrInfo::Retransmissions(count) => (c::SCTP_PR_SCTP_RTX, count),
            PrInfo::Priority(priority) => (c::SCTP_PR_SCTP_PRIO, priority),
        };
        Self { pr_policy, pr_value }
    }
}

impl SctpSocket {
    /// Sends a message, whole or not at all. Returns its length.
    ///
    /// # Errors
    /// EAGAIN if there is no room; EPIPE if the association has ended or does not take messages any
    /// more; EINVAL for a stream that does not exist or an empty message; EMSGSIZE.
    pub fn send(&self, message: &[u8], info: &SendInfo, reliability: Option<PrInfo>) -> io::Result<usize> {
        let mut flags = 0;
        for (wanted, flag) in [
            (info.unordered, c::SCTP_UNORDERED),
            (info.sack_immediately, c::SCTP_SACK_IMMEDIATELY),
            (info.to.is_some(), c::SCTP_ADDR_OVER),
        ] {
            flags |= if wanted { flag } else { 0 };
        }
        self.send_with_flags(message, info, flags, reliability)
    }

    /// Shuts an association down in order: what was sent arrives first (RFC 9260 §9.2).
    ///
    /// # Errors
    /// EPIPE if it has ended.
    pub fn shutdown(&self, association: AssocId) -> io::Result<()> {
        self.send_with_flags(&[], &SendInfo::new(association), c::SCTP_EOF, None).map(drop)
    }

    /// Aborts an association (RFC 9260 §9.1). The peer is told `reason`.
    ///
    /// # Errors
    /// EPIPE if it has ended.
    pub fn abort(&self, association: AssocId, reason: &[u8]) -> io::Result<()> {
        self.send_with_flags(reason, &SendInfo::new(association), c::SCTP_ABORT, None).map(drop)
    }

    fn send_with_flags(
        &self,
        message: &[u8],
        info: &SendInfo,
        flags: u16,
        reliability: Option<PrInfo>,
    ) -> io::Result<usize> {
        let mut control = Control::<64>::new();
        let sndinfo = abi::sctp_sndinfo {
            snd_sid: info.stream,
            snd_flags: flags,
            snd_ppid: info.ppid.to_be(),
            snd_context: info.context,
            snd_assoc_id: info.association.0,
        };
        control.push(libc::IPPROTO_SCTP, c::SCTP_SNDINFO, sndinfo);
        if let Some(reliability) = reliability {
            control.push(libc::IPPROTO_SCTP, c::SCTP_PRINFO, abi::sctp_prinfo::from(reliability));
        }
        let mut name = info.to.map(|(address, port)| address::to_storage(address, port));
        // The kernel only reads it, though the type says otherwise.
        let mut slice = libc::iovec { iov_base: message.as_ptr().cast_mut().cast(), iov_len: message.len() };
        // SAFETY: integers and pointers, for which zero and null are valid.
        let mut header: libc::msghdr = unsafe { zeroed() };
        if let Some(name) = &mut name {
            header.msg_name = std::ptr::from_mut(name).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as _;
        }
        header.msg_iov = &raw mut slice;
        header.msg_iovlen = 1;
        let (pointer, len) = control.as_sent();
        header.msg_control = pointer;
        header.msg_controllen = len as _;
        // SAFETY: all buffers named by `header` live through the call and have the lengths given.
        let sent = unsafe { libc::sendmsg(self.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Receives bytes of one message or notification into `buffer`. Of one that is longer the rest
    /// comes with the next calls.
    ///
    /// # Errors
    /// EAGAIN if nothing is there.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<Received> {
        // SAFETY: plain integers, for which zero is valid.
        let mut name: libc::sockaddr_storage = unsafe { zeroed() };
        let mut control = Control::<256>::new();
        let mut slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: integers and pointers, for which zero and null are valid.
        let mut header: libc::msghdr = unsafe { zeroed() };
        header.msg_name = (&raw mut name).cast();
        header.msg_namelen = size_of::<libc::sockaddr_storage>() as _;
        header.msg_iov = &raw mut slice;
        header.msg_iovlen = 1;
        let (pointer, len) = control.as_received();
        header.msg_control = pointer;
        header.msg_controllen = len as _;
        // SAFETY: all buffers named by `header` live through the call and have the lengths given.
        let received = unsafe { libc::recvmsg(self.as_raw_fd(), &raw mut header, 0) };
        let len = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        let (mut rcvinfo, mut nxtinfo) = (None, None);
        // SAFETY: `header` was filled by the call above, and `control` is still there.
        unsafe {
            sys::each_control(&header, |level, kind, bytes| match (level, kind) {
                (libc::IPPROTO_SCTP, c::SCTP_RCVINFO) => rcvinfo = sys::read::<abi::sctp_rcvinfo>(bytes),
                (libc::IPPROTO_SCTP, c::SCTP_NXTINFO) => nxtinfo = sys::read::<abi::sctp_nxtinfo>(bytes),
                _ => {}
            });
        }
        Ok(Received {
            len,
            end_of_record: header.msg_flags & libc::MSG_EOR != 0,
            notification: header.msg_flags & c::MSG_NOTIFICATION != 0,
            rcvinfo: rcvinfo.map(RcvInfo::from),
            nxtinfo: nxtinfo.map(NxtInfo::from),
            from: address::from_storage(name),
        })
    }
}
