//! Where the associations are: by slot, by our tag, by the peer's address; who is due, who has to send.

use super::deadlines::Deadlines;
use super::peers::Peers;
use super::shard::Shard;
use super::tags::{Retired, Tags};
use crate::assoc::Association;
use crate::time::Time;
use crate::types::{Address, AssocId, EndpointId, VerificationTag};
use rand::{Rng, RngExt};
use siphasher::sip::SipHasher13;
use slab::Slab;
use std::collections::VecDeque;
use std::hash::BuildHasher;

/// Keys that a peer chooses are hashed with SipHash (house rule 10), seeded from the stack's seed.
#[derive(Debug, Clone)]
pub struct Keyed(u64, u64);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

/// An association in its slot.
#[derive(Debug)]
pub struct Entry {
    pub assoc: Box<Association>,
    /// Whether it stands among those that have to send.
    active: bool,
}

impl Entry {
    /// Whether it has nothing to send.
    pub fn is_at_rest(&self) -> bool {
        !self.active
    }
}

/// See the module.
#[derive(Debug)]
pub struct Table {
    slots: Slab<Entry>,
    generation: u32,
    pub tags: Tags,
    pub peers: Peers,
    pub deadlines: Deadlines,
    active: VecDeque<AssocId>,
}

impl Table {
    pub fn new(rng: &mut impl Rng, shard: Shard) -> Self {
        Self {
            peers: Peers::new(Keyed(rng.random(), rng.random()), shard),
            slots: Slab::new(),
            generation: 0,
            tags: Tags::new(shard),
            deadlines: Deadlines::default(),
            active: VecDeque::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// The identifier of the association that is inserted next.
    pub fn next_id(&mut self) -> AssocId {
        self.generation = self.generation.wrapping_add(1);
        AssocId { slot: self.slots.vacant_key() as u32, generation: self.generation }
    }

    /// Inserts an association that has the identifier of [`Table::next_id`].
    pub fn insert(&mut self, assoc: Box<Association>) {
        let id = assoc.id;
        self.tags.insert(assoc.identity.local_tag, id);
        let slot = self.slots.insert(Entry { assoc, active: false });
        debug_assert_eq!(slot, id.slot(), "next_id names the slot");
        self.list_paths(id);
    }

    /// Enters the peer's addresses.
    pub fn list_paths(&mut self, id: AssocId) {
        let Some(entry) = self.slots.get(id.slot()) else { return };
        let (endpoint, port) = (entry.assoc.endpoint, entry.assoc.identity.peer_port);
        entry.assoc.paths.list.iter().for_each(|path| self.peers.list((endpoint, path.remote, port), id));
    }

    /// Takes the peer's addresses out again.
    pub fn unlist_paths(&mut self, id: AssocId) {
        let Some(entry) = self.slots.get(id.slot()) else { return };
        let (endpoint, port) = (entry.assoc.endpoint, entry.assoc.identity.peer_port);
        entry.assoc.paths.list.iter().for_each(|path| self.peers.unlist((endpoint, path.remote, port), id));
    }

    /// The peer's addresses have changed from `before`.
    pub fn relist_paths(&mut self, id: AssocId, before: &[Address]) {
        let Some(entry) = self.slots.get(id.slot()) else { return };
        let (endpoint, port) = (entry.assoc.endpoint, entry.assoc.identity.peer_port);
        if entry.assoc.paths.list.iter().map(|path| &path.remote).eq(before) {
            return;
        }
        for address in before.iter().filter(|address| entry.assoc.paths.by_remote(**address).is_none()) {
            self.peers.unlist((endpoint, *address, port), id);
        }
        self.list_paths(id);
    }

    /// The association has ended: nothing finds it any more but its identifier.
    pub fn unlist(&mut self, now: Time, id: AssocId, retire_until: Time) {
        self.unlist_paths(id);
        if let Some(entry) = self.slots.get(id.slot()) {
            self.tags.retire(now, entry.assoc.identity.local_tag, Retired::Ended, retire_until);
        }
    }

    pub fn get(&self, id: AssocId) -> Option<&Entry> {
        self.slots.get(id.slot()).filter(|entry| entry.assoc.id == id)
    }

    pub fn get_mut(&mut self, id: AssocId) -> Option<&mut Entry> {
        self.slots.get_mut(id.slot()).filter(|entry| entry.assoc.id == id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Association> {
        self.slots.iter().map(|(_, entry)| &*entry.assoc)
    }

    pub fn by_peer(&self, endpoint: EndpointId, remote: Address, port: u16) -> Option<AssocId> {
        self.peers.find(&(endpoint, remote, port))
    }

    pub fn by_tag(&self, tag: VerificationTag) -> Option<AssocId> {
        self.tags.find(tag)
    }

    /// Enters an association's deadline, and that it may have something to send.
    pub fn settle(&mut self, id: AssocId) {
        let Some(entry) = self.slots.get_mut(id.slot()).filter(|entry| entry.assoc.id == id) else { return };
        self.deadlines.update(id.slot, entry.assoc.deadline());
        if entry.assoc.wants_transmit() {
            self.activate(id);
        } else if cfg!(debug_assertions) {
            let stall = self.stall(id);
            debug_assert!(stall.is_none(), "{}: {:#?}", stall.unwrap_or_default(), self.get(id));
        }
    }

    /// See [`Association::stall`]; and what the association waits for must stand among the deadlines.
    pub fn stall(&self, id: AssocId) -> Option<&'static str> {
        let assoc = &self.get(id)?.assoc;
        let late = |wanted: Time| self.deadlines.of(id.slot).is_none_or(|entered| entered > wanted);
        assoc.stall().or(assoc.deadline().is_some_and(late).then_some("its deadline is not entered"))
    }

    /// An association has nothing more to send: only now does its deadline count.
    pub fn settle_rest(&mut self, id: AssocId) {
        if let Some(entry) = self.slots.get_mut(id.slot()).filter(|entry| entry.assoc.id == id) {
            self.deadlines.update(id.slot, entry.assoc.deadline());
            entry.assoc.on_rest();
        }
    }

    /// Puts an association among those that have to send, once.
    pub fn activate(&mut self, id: AssocId) {
        if let Some(entry) = self.slots.get_mut(id.slot()).filter(|entry| !entry.active) {
            entry.active = true;
            self.active.push_back(id);
        }
    }

    /// Whether any association may have to send.
    pub fn has_active(&self) -> bool {
        !self.active.is_empty()
    }

    /// How many associations may have to send.
    pub fn active_count(&self) -> usize {
        self.active.len()
    }

    /// The next association that has to send.
    pub fn next_active(&mut self) -> Option<AssocId> {
        while let Some(id) = self.active.pop_front() {
            if let Some(entry) = self.slots.get_mut(id.slot()).filter(|entry| entry.assoc.id == id) {
                entry.active = false;
                return Some(id);
            }
        }
        None
    }

    /// The next association whose time has come.
    pub fn pop_due(&mut self, now: Time) -> Option<AssocId> {
        while let Some(slot) = self.deadlines.pop_due(now) {
            let Some(entry) = self.slots.get(slot as usize) else { continue };
            // The deadline may have moved later since it was entered.
            let deadline = entry.assoc.deadline();
            if deadline.is_some_and(|at| at <= now) {
                return Some(entry.assoc.id);
            }
            self.deadlines.update(slot, deadline);
        }
        None
    }

    pub fn remove(&mut self, id: AssocId) {
        if self.get(id).is_some() {
            self.slots.remove(id.slot());
            self.deadlines.remove(id.slot);
        }
    }

    /// Whether everything finds its association, and nothing finds one that is gone.
    #[cfg(feature = "fuzzing")]
    pub fn check_invariants(&self) {
        for (slot, entry) in &self.slots {
            let assoc = &entry.assoc;
            assert_eq!(slot, assoc.id.slot(), "an association knows its slot");
            let open = !assoc.is_closed();
            let tagged = self.tags.find(assoc.identity.local_tag) == Some(assoc.id);
            assert_eq!(tagged, open, "the tag of an association that is open: {open}");
            for path in &assoc.paths.list {
                let holder = self.peers.find(&(assoc.endpoint, path.remote, assoc.identity.peer_port));
                assert!(!open || holder.is_some(), "nobody is found at {}", path.remote);
                assert!(open || holder != Some(assoc.id), "an association that has ended is found");
            }
            assert!(!entry.active || self.active.contains(&assoc.id), "its turn does not come");
        }
        assert!(self.peers.holders().all(|id| self.get(id).is_some()), "an address leads nowhere");
        assert!(self.active.len() <= 2 * self.slots.len() + 64, "turns pile up");
        self.deadlines.check_invariants(|slot| self.slots.contains(slot));
        self.tags.check_invariants(self.slots.iter().filter(|(_, entry)| !entry.assoc.is_closed()).count());
    }
}
