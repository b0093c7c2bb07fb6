//! The candidates.

pub mod bare_udp;
pub mod esock;
pub mod tcp;
pub mod usrsctp;

use crate::{Bulk, Plan, Rate, RoundTrips};

/// A candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// UDP with GSO and GRO, no protocol.
    Udp,
    /// The kernel's TCP.
    Tcp,
    /// esock over UDP encapsulation, on its `Driver`.
    Esock,
    /// usrsctp over UDP encapsulation.
    Usrsctp,
}

impl Peer {
    /// All there are in this build.
    pub const ALL: &[Self] = &[Self::Udp, Self::Tcp, Self::Esock, Self::Usrsctp];

    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Esock => "esock",
            Self::Usrsctp => "usrsctp",
        }
    }

    /// Its name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Udp => "UDP with GSO and GRO, no protocol",
            Self::Tcp => "kernel TCP (write size)",
            Self::Esock => "esock",
            Self::Usrsctp => "usrsctp 0.9.5",
        }
    }

    /// Whether it has associations.
    pub fn sets_up(self) -> bool {
        matches!(self, Self::Usrsctp)
    }

    /// Whether it is ours.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Esock)
    }

    /// The candidate with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|peer| peer.name() == name)
    }

    /// Whether it can be measured on this machine, and if not, why.
    pub fn check(self) -> Result<(), String> {
        match self {
            Self::Usrsctp => usrsctp::check(),
            _ => Ok(()),
        }
    }

    /// One end sends messages, the other reads them.
    pub fn bulk(self, plan: &Plan, message_bytes: usize) -> Result<Bulk, String> {
        match self {
            Self::Udp => Ok(bare_udp::bulk(*plan, message_bytes)),
            Self::Tcp => Ok(tcp::bulk(*plan, message_bytes)),
            Self::Esock => Ok(esock::bulk(*plan, message_bytes)),
            Self::Usrsctp => usrsctp::bulk(plan, message_bytes),
        }
    }

    /// A message back and forth.
    pub fn ping_pong(self, plan: &Plan, message_bytes: usize) -> Result<RoundTrips, String> {
        match self {
            Self::Udp => Ok(bare_udp::ping_pong(*plan, message_bytes)),
            Self::Tcp => Ok(tcp::ping_pong(*plan, message_bytes)),
            Self::Esock => Ok(esock::ping_pong(*plan, message_bytes)),
            Self::Usrsctp => usrsctp::ping_pong(plan, message_bytes),
        }
    }

    /// Associations set up, `at_once` at a time.
    pub fn setup(self, plan: &Plan, at_once: usize) -> Result<Rate, String> {
        match self {
            Self::Usrsctp => usrsctp::setup(plan, at_once),
            _ => Err("there is nothing to set up".to_owned()),
        }
    }
}
