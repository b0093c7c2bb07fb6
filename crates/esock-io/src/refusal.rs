//! Why a packet did not leave, where a send call only says that some packet did not.

use crate::sys;
use std::io;

/// Calls made again because they returned a report about an earlier packet.
pub(crate) const RETRIES: usize = 2;

/// What a look at the error queue of a socket has found.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Drained {
    /// The MTU (in bytes, IP header included) if this host itself refused a packet as too large: the caller still has it.
    pub(crate) mtu: Option<u32>,
    /// Nothing is left.
    pub(crate) empty: bool,
}

/// The send calls for one packet, or one batch, that fail with reports.
#[derive(Debug)]
pub(crate) struct Tries {
    /// Calls that may still be made again.
    left: usize,
    drained: Drained,
}

impl Tries {
    pub(crate) fn new() -> Self {
        Self { left: RETRIES, drained: Drained::default() }
    }

    /// Whether the call may be made again, for another reason than a report.
    pub(crate) fn again(&mut self) -> bool {
        let may = self.left > 0;
        self.left -= usize::from(may);
        may
    }

    /// What has become of a call that failed with a report, after a look at the queue. `None`: it is to be made again.
    ///
    /// Each call that fails takes one report from the socket, and the next in the queue takes its place: only what fails
    /// behind an empty queue is about the packet that is to leave. Else whoever floods us with forged ICMP could have us
    /// believe that no peer can be reached.
    pub(crate) fn failed(&mut self, error: &io::Error, drained: Drained) -> Option<Refusal> {
        let before = std::mem::replace(&mut self.drained, drained);
        let too_large = error.raw_os_error() == Some(libc::EMSGSIZE);
        if too_large && drained.mtu.is_some() {
            return Some(Refusal::TooLarge(drained.mtu));
        }
        if self.again() {
            return None;
        }
        Some(match too_large {
            _ if !(before.empty && sys::is_of_this_packet(error)) => Refusal::Dropped,
            true => Refusal::TooLarge(None),
            false => Refusal::Unreachable,
        })
    }
}

/// Why a packet did not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is larger than the link allows, whose MTU this is if the host told it.
    TooLarge(Option<u32>),
    /// There is no route, or no such source address any more.
    Unreachable,
    /// This host dropped it (queues, firewalls), or reports about other packets were all that was heard.
    Dropped,
}
