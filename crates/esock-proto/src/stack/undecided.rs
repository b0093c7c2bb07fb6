//! Peers between a valid COOKIE ECHO and the user's decision.

use super::table::Keyed;
use crate::types::{Address, EndpointId, VerificationTag};
use rustc_hash::FxHashMap;
use std::collections::HashSet;

/// Who it is: endpoint, address of the COOKIE ECHO, port.
type PeerKey = (EndpointId, Address, u16);

/// See the module.
#[derive(Debug)]
pub struct Undecided {
    /// By the tag that the cookie gives us.
    tags: FxHashMap<u32, PeerKey>,
    peers: HashSet<PeerKey, Keyed>,
}

impl Undecided {
    pub fn new(hasher: Keyed) -> Self {
        Self { tags: FxHashMap::default(), peers: HashSet::with_hasher(hasher) }
    }

    /// Notes a peer; false if its cookie, or another of the same peer, waits already.
    pub fn insert(&mut self, tag: VerificationTag, peer: PeerKey) -> bool {
        let new = !self.tags.contains_key(&tag.0) && self.peers.insert(peer);
        if new {
            self.tags.insert(tag.0, peer);
        }
        new
    }

    /// Whether a peer waits.
    pub fn has_peer(&self, peer: &PeerKey) -> bool {
        !self.peers.is_empty() && self.peers.contains(peer)
    }

    /// Takes a peer out: it was decided on, or has taken its wish back. False if it did not wait (any more).
    pub fn remove(&mut self, tag: VerificationTag) -> bool {
        let peer = self.tags.remove(&tag.0);
        peer.is_some_and(|peer| self.peers.remove(&peer))
    }

    /// How many wait.
    #[cfg(feature = "fuzzing")]
    pub fn len(&self) -> usize {
        assert_eq!(self.tags.len(), self.peers.len(), "each is found both ways");
        self.tags.len()
    }
}
