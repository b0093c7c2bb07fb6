//! Sockets that have a port together, as Linux lets them (SO_REUSEADDR, SCTP_REUSE_PORT, SO_REUSEPORT).
//!
//! They have one endpoint of the stack, so they share a port with the same addresses only.

use super::{Engine, Socket, SocketId, SocketState};
use crate::address::Named;
use esock_proto::{Address, EndpointId};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Whether a socket may have a port, or listen there, beside another that has it: either while that one does not listen,
/// if both allow it, or in any case, if both want to share who connects.
fn tolerates(one: &Socket, other: &Socket) -> bool {
    let reuse = |socket: &Socket| socket.settings.reuse || socket.settings.reuse_port;
    let allowed = reuse(one) && reuse(other) && other.state != SocketState::Listening;
    allowed || (one.settings.shares_listening() && other.settings.shares_listening())
}

impl Engine {
    /// The sockets that are bound to an endpoint.
    fn owners(&self, endpoint: EndpointId) -> impl Iterator<Item = &Socket> {
        let owners = self.endpoints.get(&endpoint).map_or(&[][..], |used| &used.owners);
        owners.iter().filter_map(|id| self.sockets.get(id))
    }

    /// Whether a socket may have the port of an endpoint as those do that have it.
    pub(super) fn may_share(&self, id: SocketId, endpoint: EndpointId, addresses: &[Address]) -> bool {
        self.owners(endpoint).next().is_some()
            && self.driver.stack().endpoint_addresses(endpoint) == addresses
            && self.may_listen(id, endpoint)
    }

    /// Whether a socket may listen beside the others of its endpoint.
    pub(super) fn may_listen(&self, id: SocketId, endpoint: EndpointId) -> bool {
        self.sockets.get(&id).is_some_and(|socket| {
            self.owners(endpoint).filter(|other| other.id != id).all(|other| tolerates(socket, other))
        })
    }

    /// Whether an endpoint has other sockets than this one.
    pub(super) fn is_shared(&self, id: SocketId, endpoint: EndpointId) -> bool {
        self.owners(endpoint).any(|other| other.id != id)
    }

    /// The socket that takes a peer's association: of several that listen always the same, by the peer's address and port.
    /// None for a peer of a family that it does not take (IPV6_V6ONLY).
    pub(super) fn listener_for(&self, endpoint: EndpointId, peer: Named) -> Option<&Socket> {
        let listens = |socket: &&Socket| socket.state == SocketState::Listening && socket.takes(peer.0);
        let listening: Vec<&Socket> = self.owners(endpoint).filter(listens).collect();
        let mut hasher = DefaultHasher::new();
        peer.hash(&mut hasher);
        let at = hasher.finish().checked_rem(listening.len() as u64)?;
        listening.get(at as usize).copied()
    }

    /// Has the stack accept peers of an endpoint, or not, as its sockets listen now.
    pub(super) fn follow_listeners(&mut self, endpoint: EndpointId) {
        let accepting = self.owners(endpoint).any(|socket| socket.state == SocketState::Listening);
        self.driver.stack_mut().set_accepting(endpoint, accepting);
    }
}
