//! Whom an association is found by: the peer's addresses, with endpoint and port.

use super::shard::{PeerChange, Shard};
use super::table::Keyed;
use crate::types::{Address, AssocId, EndpointId};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

/// Endpoint, address and port of the peer.
pub type PeerKey = (EndpointId, Address, u16);

/// See the module.
#[derive(Debug)]
pub struct Peers {
    holders: HashMap<PeerKey, AssocId, Keyed>,
    /// Who else has listed an address, and is found by it when the one that has it ends.
    contested: HashMap<PeerKey, Vec<AssocId>, Keyed>,
    /// What has changed in `holders`, where other shards want to know.
    pub changes: Option<VecDeque<PeerChange>>,
}

impl Peers {
    pub fn new(keyed: Keyed, shard: Shard) -> Self {
        Self {
            holders: HashMap::with_hasher(keyed.clone()),
            contested: HashMap::with_hasher(keyed),
            changes: (shard != Shard::ALONE).then(VecDeque::new),
        }
    }

    /// The hasher for keys that a peer chooses.
    pub fn hasher(&self) -> Keyed {
        self.holders.hasher().clone()
    }

    /// Who is found by an address.
    pub fn find(&self, key: &PeerKey) -> Option<AssocId> {
        self.holders.get(key).copied()
    }

    /// Enters an address; one that another association has stays with it until that one ends.
    pub fn list(&mut self, key: PeerKey, id: AssocId) {
        match self.holders.entry(key) {
            Entry::Vacant(place) => {
                place.insert(id);
                self.note(key, true);
            }
            Entry::Occupied(holder) if *holder.get() != id => {
                let others = self.contested.entry(key).or_default();
                if !others.contains(&id) {
                    others.push(id);
                }
            }
            Entry::Occupied(_) => {}
        }
    }

    /// Takes an address out: whoever else has listed it is found by it now.
    pub fn unlist(&mut self, key: PeerKey, id: AssocId) {
        let held = self.find(&key) == Some(id);
        let heir = self.contested.get_mut(&key).and_then(|others| {
            others.retain(|other| *other != id);
            if held { others.pop() } else { None }
        });
        match heir {
            Some(heir) => drop(self.holders.insert(key, heir)),
            None if held => {
                self.holders.remove(&key);
                self.note(key, false);
            }
            None => {}
        }
        if self.contested.get(&key).is_some_and(Vec::is_empty) {
            self.contested.remove(&key);
        }
    }

    /// Notes a change for the other shards, if there are any.
    fn note(&mut self, (endpoint, remote, port): PeerKey, listed: bool) {
        if let Some(changes) = &mut self.changes {
            changes.push_back(PeerChange { endpoint, remote, port, listed });
        }
    }

    /// Everybody who is found.
    #[cfg(feature = "fuzzing")]
    pub fn holders(&self) -> impl Iterator<Item = AssocId> + '_ {
        self.holders.values().copied()
    }
}
