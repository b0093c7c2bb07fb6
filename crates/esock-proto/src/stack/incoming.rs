//! A peer whose cookie was valid, between COOKIE ECHO and the user's decision.

use super::Stack;
use super::cookie::Cookie;
use super::tags::Retired;
use crate::api::{Incoming, Negotiated};
use crate::assoc::{Association, Cx};
use crate::time::Time;
use crate::transmit::{Datagram, Local};
use crate::types::{Address, AssocId, EndpointId};
use crate::wire::{Cause, Header, kind};

/// The verified facts of a COOKIE ECHO.
#[derive(Debug)]
pub struct IncomingFacts {
    pub(super) cookie: Cookie,
    pub(super) local: Local,
    pub(super) remote: Address,
    pub(super) encap_port: Option<u16>,
    /// The chunks that came behind COOKIE ECHO.
    pub(super) rest: Vec<u8>,
}

impl IncomingFacts {
    /// Its packet, as far as it is still needed.
    fn datagram(&self) -> Datagram<'_> {
        Datagram { local: self.local, remote: self.remote, encap_port: self.encap_port, ecn: None, data: &self.rest }
    }

    /// The header of a packet to the peer.
    fn header(&self) -> Header {
        Header { source: self.cookie.local_port, destination: self.cookie.peer_port, tag: self.cookie.peer_tag }
    }
}

impl Incoming {
    /// The endpoint that it is for.
    pub fn endpoint(&self) -> EndpointId {
        self.endpoint
    }

    /// The address that its COOKIE ECHO came from.
    pub fn remote(&self) -> Address {
        self.facts.remote
    }

    /// Its SCTP port.
    pub fn port(&self) -> u16 {
        self.facts.cookie.peer_port
    }

    /// All its addresses; the first is where its INIT came from.
    pub fn addresses(&self) -> &[Address] {
        &self.facts.cookie.addresses
    }

    /// Its UDP port, `None` for native SCTP.
    pub fn encap_port(&self) -> Option<u16> {
        self.facts.encap_port
    }

    /// What would be agreed on: streams, adaptation indication.
    pub fn negotiated(&self) -> Negotiated {
        let cookie = &self.facts.cookie;
        Negotiated {
            outbound_streams: cookie.outbound_streams,
            inbound_streams: cookie.inbound_streams,
            adaptation: cookie.adaptation,
            peer_rwnd: cookie.peer_rwnd,
        }
    }
}

impl Stack {
    /// The next peer to decide on.
    pub fn poll_incoming(&mut self) -> Option<Incoming> {
        self.incoming.pop_front()
    }

    /// Accepts a peer: makes the association. `None` when it can no longer be made: the endpoint was
    /// closed or the stack is full (the peer is refused), it has an association by now, or it has given up.
    pub fn accept(&mut self, now: Time, incoming: Incoming) -> Option<AssocId> {
        let cookie = &incoming.facts.cookie;
        if !self.undecided.remove(cookie.local_tag) {
            // The peer has sent an ABORT in the meantime.
            return None;
        }
        // It has one where it came from; or an association of its own under another of its addresses.
        let remote = incoming.facts.remote;
        let has_one = |address: &Address| {
            let holder = self.table.by_peer(incoming.endpoint, *address, cookie.peer_port);
            holder.is_some_and(|id| *address == remote || self.has_tag_of(id, cookie))
        };
        if cookie.addresses.iter().any(has_one) {
            return None;
        }
        if self.table.len() >= self.config.max_associations || self.endpoints.get(incoming.endpoint).is_none() {
            self.reply_causes(
                &incoming.facts.datagram(),
                incoming.facts.header(),
                kind::ABORT,
                0,
                &[Cause::OutOfResource],
            );
            return None;
        }
        let endpoint = self.endpoints.get(incoming.endpoint)?;
        let id = self.table.next_id();
        let mut cx = Cx { now, rng: &mut self.rng, events: &mut self.events };
        let config = endpoint.config.clone();
        let assoc = Association::accept(&mut cx, id, cookie, config, |remote| endpoint.local_for(remote));
        self.insert(assoc);
        let datagram = incoming.facts.datagram();
        let facts = &incoming.facts;
        let _ = self.with(now, id, |assoc, cx| {
            let source = assoc.paths.by_remote(facts.remote);
            assoc.handle_chunks(cx, &facts.rest, &datagram, source, &|_| Local::default());
        });
        Some(id)
    }

    /// Refuses a peer with an ABORT that carries `reason` as User-Initiated Abort, if not empty.
    pub fn refuse(&mut self, now: Time, incoming: Incoming, reason: &[u8]) {
        let causes: &[Cause<'_>] = if reason.is_empty() { &[] } else { &[Cause::UserAbort(reason)] };
        let cookie = &incoming.facts.cookie;
        if self.undecided.remove(cookie.local_tag) {
            self.table.tags.retire(now, cookie.local_tag, Retired::Refused, now + cookie.life);
            self.reply_causes(&incoming.facts.datagram(), incoming.facts.header(), kind::ABORT, 0, causes);
        }
    }

    /// Drops a peer without a word: it may try again.
    pub fn ignore(&mut self, incoming: Incoming) {
        self.undecided.remove(incoming.facts.cookie.local_tag);
    }
}
