//! Where to connect.

use crate::{Address, Config, Encapsulation};
use esock_proto::Peer;

/// A peer to connect to, for [`Endpoint::connect`](crate::Endpoint::connect).
#[derive(Debug, Clone)]
pub struct ConnectTo {
    pub(crate) peer: Peer,
    pub(crate) config: Option<Config>,
}

impl ConnectTo {
    /// A peer with these addresses and this SCTP port. They are tried in their order; the first that answers
    /// is the primary path. How packets travel is found out: native SCTP where raw IP is permitted, and UDP port 9899 of the peer.
    pub fn new(addresses: impl IntoIterator<Item = impl Into<Address>>, port: u16) -> Self {
        let addresses = addresses.into_iter().map(Into::into).collect();
        let encapsulation = Encapsulation::Both(crate::ENCAPSULATION_PORT);
        Self { peer: Peer { addresses, port, encapsulation }, config: None }
    }

    /// How packets travel.
    #[must_use]
    pub fn encapsulation(mut self, encapsulation: Encapsulation) -> Self {
        self.peer.encapsulation = encapsulation;
        self
    }

    /// In UDP, to this port of the peer (RFC 6951), and no other way.
    #[must_use]
    pub fn encap_port(self, port: u16) -> Self {
        self.encapsulation(Encapsulation::Udp(port))
    }

    /// Parameters of this association, instead of those of its endpoint.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }
}
