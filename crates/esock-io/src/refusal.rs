//! Why a packet did not leave, where a send call only says that some packet did not.

use crate::sys;
use std::io;

/// What a look at the error queue of a socket has found.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Drained {
    /// The MTU (in bytes, IP header included) if this host itself refused a packet as too large: the caller still has it.
    pub(crate) mtu: Option<u32>,
    /// Nothing is left.
    pub(crate) empty: bool,
}

/// What has become of a send call that failed with a report, after a look at the queue. `None`: it is to be made again.
///
/// Each call that fails takes one report from the socket, and the next in the queue takes its place: only what fails behind
/// an empty queue is about the packet that is to leave. Else whoever floods us with forged ICMP could have us believe that
/// no peer can be reached.
pub(crate) fn verdict(error: &io::Error, before: Drained, now: Drained, retries: usize) -> Option<Refusal> {
    let too_large = error.raw_os_error() == Some(libc::EMSGSIZE);
    if too_large && now.mtu.is_some() {
        return Some(Refusal::TooLarge(now.mtu));
    }
    if retries > 0 {
        return None;
    }
    Some(match too_large {
        _ if !(before.empty && sys::is_of_this_packet(error)) => Refusal::Unknown,
        true => Refusal::TooLarge(None),
        false => Refusal::Unreachable,
    })
}

/// Why a packet did not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is too large, for this MTU if that is known.
    TooLarge(Option<u32>),
    /// There is no way.
    Unreachable,
    /// Reports about other packets were all that was heard.
    Unknown,
}
