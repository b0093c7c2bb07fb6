//! Peers between a valid COOKIE ECHO and the user's decision.

use super::table::Keyed;
use crate::types::{Address, EndpointId, VerificationTag};
use rustc_hash::FxHashMap;
use std::collections::HashSet;

/// Bytes of chunks behind COOKIE ECHOs that are held at most, all peers together. What is not held the peers
/// send again.
const MAX_HELD_BYTES: usize = 256 << 10;

/// Who it is: endpoint, address of the COOKIE ECHO, port.
type PeerKey = (EndpointId, Address, u16);

/// One peer that waits.
#[derive(Debug)]
struct Waiting {
    peer: PeerKey,
    held_bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Undecided {
    /// By the tag that the cookie gives us.
    tags: FxHashMap<u32, Waiting>,
    peers: HashSet<PeerKey, Keyed>,
    held_bytes: usize,
}

impl Undecided {
    pub fn new(hasher: Keyed) -> Self {
        Self { tags: FxHashMap::default(), peers: HashSet::with_hasher(hasher), held_bytes: 0 }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.tags.len()
    }

    /// Notes a peer; false if its cookie, or another of the same peer, waits already.
    pub fn insert(&mut self, tag: VerificationTag, peer: PeerKey) -> bool {
        let new = !self.tags.contains_key(&tag.0) && self.peers.insert(peer);
        if new {
            self.tags.insert(tag.0, Waiting { peer, held_bytes: 0 });
        }
        new
    }

    /// Keeps what came behind the COOKIE ECHO of a peer that waits, if there is room for it.
    pub fn hold(&mut self, tag: VerificationTag, rest: &[u8]) -> Vec<u8> {
        let fits = self.held_bytes + rest.len() <= MAX_HELD_BYTES;
        let Some(waiting) = self.tags.get_mut(&tag.0).filter(|_| fits) else { return Vec::new() };
        waiting.held_bytes += rest.len();
        self.held_bytes += rest.len();
        rest.to_vec()
    }

    /// Whether a peer waits.
    pub fn has_peer(&self, peer: &PeerKey) -> bool {
        !self.peers.is_empty() && self.peers.contains(peer)
    }

    /// Takes a peer out: it was decided on, or has taken its wish back. False if it did not wait (any more).
    pub fn remove(&mut self, tag: VerificationTag) -> bool {
        let Some(waiting) = self.tags.remove(&tag.0) else { return false };
        self.held_bytes -= waiting.held_bytes;
        self.peers.remove(&waiting.peer)
    }

    /// Whether each is found both ways.
    #[cfg(feature = "fuzzing")]
    pub fn check_invariants(&self) {
        assert_eq!(self.tags.len(), self.peers.len(), "a peer waits that is not found");
    }
}
