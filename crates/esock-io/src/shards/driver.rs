//! What a driver does for its associations to be one shard's: in a group, a peer is claimed before it is accepted or
//! connected to.

use crate::Driver;
use crate::transport::{Held, Incoming};
use esock_proto::{AssocId, Config, ConnectError, EndpointId, Peer, Time};

impl Driver {
    /// The next peer to decide on. One that another shard has got meanwhile is dropped: it has begun twice, and is told
    /// by that shard.
    pub(crate) fn poll_incoming(&mut self) -> Option<Incoming> {
        while let Some(cookie) = self.stack.poll_incoming() {
            let claimed = self
                .member
                .as_ref()
                .is_none_or(|member| member.claim(cookie.endpoint(), cookie.addresses(), cookie.port()));
            if claimed {
                return Some(Incoming::from(cookie));
            }
            self.stack.ignore(cookie);
        }
        None
    }

    /// Decides on a peer with `decide`, and lets go of it as a question.
    pub(crate) fn decide<T>(
        &mut self,
        incoming: Incoming,
        decide: impl FnOnce(&mut esock_proto::Stack, esock_proto::Incoming) -> T,
    ) -> Option<T> {
        let Incoming { endpoint, addresses, port, held, .. } = incoming;
        let Held::Cookie(cookie) = held else { return None };
        let out = decide(&mut self.stack, cookie);
        if let Some(member) = &self.member {
            member.release(&mut self.stack, endpoint, &addresses, port);
        }
        Some(out)
    }

    /// Starts an association, unless another shard has one with the peer.
    pub(crate) fn connect(
        &mut self,
        now: Time,
        endpoint: EndpointId,
        peer: &Peer,
        config: Option<Config>,
    ) -> Result<AssocId, ConnectError> {
        let Some(member) = &self.member else { return self.stack.connect(now, endpoint, peer, config) };
        if !member.claim(endpoint, &peer.addresses, peer.port) {
            return Err(ConnectError::Exists);
        }
        let id = self.stack.connect(now, endpoint, peer, config);
        member.release(&mut self.stack, endpoint, &peer.addresses, peer.port);
        id
    }
}
