//! One of several stacks behind one UDP port: whose tag it is, what a stack cannot tell on its own, and which peers it has.
//!
//! Each chooses its verification tags so that they name it: what carries a tag reaches its stack without a look at
//! anything shared. What carries none of ours (an INIT, a reflected tag) is found by the peer's address, and that may be
//! another stack's: [`Stack::offer_datagram`] gives it back, and [`Stack::poll_peer_change`] says who is where.

use super::Stack;
use crate::time::Time;
use crate::transmit::Datagram;
use crate::types::{Address, EndpointId, VerificationTag};
use crate::wire::{Chunk, HEADER_BYTES, Header, Init, InitParams, padded};

/// Which of how many stacks behind one UDP port a stack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shard {
    index: u16,
    count: u16,
}

impl Default for Shard {
    fn default() -> Self {
        Self::ALONE
    }
}

impl Shard {
    /// The only one.
    pub const ALONE: Self = Self { index: 0, count: 1 };

    /// The shard `index` (from 0) of `count`; `None` if there is no such.
    pub fn new(index: u16, count: u16) -> Option<Self> {
        (index < count).then_some(Self { index, count })
    }

    /// Its number, from 0.
    pub fn index(self) -> u16 {
        self.index
    }

    /// How many there are.
    pub fn count(self) -> u16 {
        self.count
    }

    /// The number of the shard whose tag this is.
    pub fn of(self, tag: VerificationTag) -> u16 {
        (tag.0 % u32::from(self.count)) as u16
    }

    /// The tag of this shard that a random number stands for; a few of the largest stand for none.
    pub(super) fn tag(self, random: u32) -> Option<u32> {
        (random - random % u32::from(self.count)).checked_add(self.index.into())
    }
}

/// Why a stack has not taken a packet: another shard may have an association with this peer. Whoever knows gives the
/// packet to that one, and otherwise back, to [`Stack::handle_datagram`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// What the packet is.
    pub kind: StrayKind,
    /// The endpoint that it came to.
    pub endpoint: EndpointId,
    /// The addresses that its sender may be known by.
    pub addresses: Vec<Address>,
    /// Its sender's port.
    pub port: u16,
}

/// What a [`Stray`] packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrayKind {
    /// An INIT (RFC 9260 §5.2.1, §5.2.2: what it means depends on the association that there is). Without one, any
    /// shard may answer it, and has the association then.
    Init,
    /// A COOKIE ECHO. No other shard can read its cookie: if one has an association with this peer, it is to be
    /// discarded, as §5.2.4 discards the cookie of another attempt.
    CookieEcho,
    /// Any other (§8.4, §8.5.1: a reflected tag is the peer's own).
    Other,
}

/// An address of a peer that a stack finds an association by from now on, or does not find it by any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerChange {
    /// The endpoint whose peer it is.
    pub endpoint: EndpointId,
    /// The address.
    pub remote: Address,
    /// The peer's port.
    pub port: u16,
    /// Whether it is found from now on.
    pub listed: bool,
}

impl Stack {
    /// Which shard this is.
    pub fn shard(&self) -> Shard {
        self.config.shard
    }

    /// [`Stack::handle_datagram`] for one of several shards: a packet that may belong to another one comes back.
    pub fn offer_datagram(&mut self, now: Time, datagram: Datagram<'_>) -> Option<Stray> {
        let stray = self.take_datagram(now, datagram, false);
        // Whoever gets it in the end counts it.
        self.stats.packets_received -= u64::from(stray.is_some());
        stray
    }

    /// The next change in which peers are found here, for one of several shards; in the order in which they happened.
    pub fn poll_peer_change(&mut self) -> Option<PeerChange> {
        self.table.peers.changes.as_mut()?.pop_front()
    }

    /// What an INIT is, if its sender has no association here and waits for none.
    pub(super) fn stray_init(&self, datagram: &Datagram<'_>, header: &Header, chunk: &Chunk<'_>) -> Option<Stray> {
        let alone = padded(chunk.raw.len()) >= datagram.data.len() - HEADER_BYTES;
        let init = Init::parse(chunk).ok().filter(|_| alone)?;
        let id = self.endpoints.find(datagram.local.address, header.destination)?;
        let endpoint = self.endpoints.get(id)?;
        let max = endpoint.config.max_peer_addresses;
        let params = InitParams::parse(init.params, max).ok()?;
        let mut addresses = self.peer_addresses(id, datagram.remote, header.source, &params);
        addresses.truncate(max);
        let known = addresses.iter().any(|address| self.table.by_peer(id, *address, header.source).is_some());
        let waits = self.undecided.has_peer(&(id, datagram.remote, header.source));
        let stray = Stray { kind: StrayKind::Init, endpoint: id, addresses, port: header.source };
        (!known && !waits).then_some(stray)
    }

    /// What a packet of a sender is that has no association here.
    pub(super) fn stray(&self, datagram: &Datagram<'_>, header: &Header, kind: StrayKind) -> Option<Stray> {
        let endpoint = self.endpoints.find(datagram.local.address, header.destination)?;
        Some(Stray { kind, endpoint, addresses: vec![datagram.remote], port: header.source })
    }
}

#[cfg(test)]
#[path = "shard_tests.rs"]
mod tests;
