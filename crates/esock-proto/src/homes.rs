//! Which of several stacks behind one UDP port has which peer. Asked when associations begin and end, and for packets that carry no tag of ours: none of
//! this is on the way of data.

use crate::types::Address;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// An endpoint by what is the same in every shard: its port, and the lowest of its addresses (none: all of the host's),
/// which no other endpoint of that port has.
pub type EndpointName = (u16, Option<Address>);

/// A peer of an endpoint by one of its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerKey {
    /// The endpoint.
    pub endpoint: EndpointName,
    /// The peer's address.
    pub remote: Address,
    /// The peer's port.
    pub port: u16,
}

/// A shard, and for how many reasons it has a peer: an association, somebody whom its user thinks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hold {
    shard: u16,
    reasons: u32,
}

/// Who has a peer; others that list the same address are found by it when the first lets go.
#[derive(Debug)]
struct Holders {
    first: Hold,
    others: Vec<Hold>,
}

/// Which shard has which peer, for whoever runs several stacks ([`Shard`](crate::Shard)) behind one UDP port. Peers choose the keys: the standard library's map hashes them with a secret.
#[derive(Debug)]
pub struct Homes {
    by_peer: HashMap<PeerKey, Holders>,
    /// How many addresses of peers each shard has.
    loads: Vec<usize>,
    /// Which shards can take peers.
    present: Vec<bool>,
}

impl Homes {
    /// For so many shards, none of which has joined.
    pub fn new(count: usize) -> Self {
        Self { by_peer: HashMap::new(), loads: vec![0; count], present: vec![false; count] }
    }

    /// A shard is there from now on: new peers may go to it.
    pub fn join(&mut self, shard: u16) {
        self.present[usize::from(shard)] = true;
    }

    /// The shard that has a peer, by any of its addresses.
    pub fn find(&self, keys: impl IntoIterator<Item = PeerKey>) -> Option<u16> {
        keys.into_iter().find_map(|key| self.by_peer.get(&key)).map(|holders| holders.first.shard)
    }

    /// Takes a peer for a shard, unless another has any of its addresses. Says whether it did.
    pub fn claim(&mut self, shard: u16, keys: impl Iterator<Item = PeerKey> + Clone) -> bool {
        let taken = |key| self.by_peer.get(&key).is_some_and(|holders| holders.first.shard != shard);
        if keys.clone().any(taken) {
            return false;
        }
        keys.for_each(|key| self.hold(shard, key));
        true
    }

    /// A shard has one more reason to have an address. If another one has it, it stands in line.
    pub fn hold(&mut self, shard: u16, key: PeerKey) {
        match self.by_peer.entry(key) {
            Entry::Vacant(place) => {
                place.insert(Holders { first: Hold { shard, reasons: 1 }, others: Vec::new() });
                self.loads[usize::from(shard)] += 1;
            }
            Entry::Occupied(mut holders) => {
                let Holders { first, others } = holders.get_mut();
                match std::iter::once(first).chain(others.iter_mut()).find(|hold| hold.shard == shard) {
                    Some(hold) => hold.reasons += 1,
                    None => {
                        others.push(Hold { shard, reasons: 1 });
                        self.loads[usize::from(shard)] += 1;
                    }
                }
            }
        }
    }

    /// A shard has one reason less.
    pub fn release(&mut self, shard: u16, key: PeerKey) {
        let Entry::Occupied(mut place) = self.by_peer.entry(key) else { return };
        let Holders { first, others } = place.get_mut();
        let all = std::iter::once(&mut *first).chain(others.iter_mut());
        let Some(hold) = all.into_iter().find(|hold| hold.shard == shard) else { return };
        hold.reasons -= 1;
        if hold.reasons > 0 {
            return;
        }
        self.loads[usize::from(shard)] -= 1;
        others.retain(|hold| hold.reasons > 0);
        if first.reasons == 0 {
            if others.is_empty() {
                place.remove();
            } else {
                *first = others.remove(0);
            }
        }
    }

    /// A shard has nothing more of an endpoint, or (`None`) nothing at all.
    fn drop_all(&mut self, shard: u16, endpoint: Option<EndpointName>) {
        let loads = &mut self.loads;
        self.by_peer.retain(|key, holders| {
            if endpoint.is_some_and(|endpoint| endpoint != key.endpoint) {
                return true;
            }
            let mut rest = std::iter::once(holders.first).chain(holders.others.drain(..)).collect::<Vec<_>>();
            let before = rest.len();
            rest.retain(|hold| hold.shard != shard);
            loads[usize::from(shard)] -= before - rest.len();
            if rest.is_empty() {
                return false;
            }
            holders.first = rest.remove(0);
            holders.others = rest;
            true
        });
    }

    /// A shard has closed an endpoint.
    pub fn close(&mut self, shard: u16, endpoint: EndpointName) {
        self.drop_all(shard, Some(endpoint));
    }

    /// A shard has gone: it has nobody, and gets nobody before it joins again.
    pub fn leave(&mut self, shard: u16) {
        self.present[usize::from(shard)] = false;
        self.drop_all(shard, None);
    }

    /// Where a new association goes that could be anywhere: to `here`, unless that has clearly more than another that is
    /// there.
    pub fn lightest(&self, here: u16) -> u16 {
        let count = self.loads.len();
        let others = (1..count).map(|step| (usize::from(here) + step) % count);
        let others = others.filter(|index| self.present[*index]);
        let Some(least) = others.min_by_key(|index| self.loads[*index]) else { return here };
        let allowed = self.loads[least] + self.loads[least] / 8;
        if self.loads[usize::from(here)] > allowed { least as u16 } else { here }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(last: u8) -> PeerKey {
        PeerKey { endpoint: (7, None), remote: std::net::Ipv4Addr::new(10, 0, 0, last).into(), port: 5 }
    }

    #[test]
    fn one_shard_has_a_peer_until_it_has_no_reason_left() {
        let mut homes = Homes::new(3);
        assert!(homes.claim(1, [key(1), key(2)].into_iter()));
        assert!(!homes.claim(2, [key(3), key(2)].into_iter()), "it has one of them");
        assert_eq!(homes.find([key(3)]), None, "all or nothing");
        assert_eq!(homes.find([key(3), key(2)]), Some(1));
        assert!(homes.claim(1, [key(1)].into_iter()));
        homes.release(1, key(1));
        assert_eq!(homes.find([key(1)]), Some(1));
        homes.release(1, key(1));
        homes.release(1, key(1));
        assert_eq!((homes.find([key(1)]), homes.loads[1]), (None, 1));
    }

    #[test]
    fn who_lists_what_another_has_is_found_when_that_one_lets_go() {
        let mut homes = Homes::new(3);
        for shard in [0, 1, 2] {
            homes.hold(shard, key(1));
        }
        assert_eq!(homes.find([key(1)]), Some(0));
        homes.release(1, key(1));
        homes.release(0, key(1));
        assert_eq!(homes.find([key(1)]), Some(2));
        homes.hold(1, key(1));
        homes.hold(2, key(2));
        homes.leave(2);
        assert_eq!((homes.find([key(1)]), homes.find([key(2)])), (Some(1), None));
        homes.close(1, (8, None));
        assert_eq!(homes.find([key(1)]), Some(1));
        homes.close(1, (7, None));
        assert_eq!((homes.find([key(1)]), homes.loads), (None, vec![0; 3]));
    }

    #[test]
    fn nobody_goes_to_a_shard_that_has_gone() {
        let mut homes = Homes::new(3);
        assert_eq!(homes.lightest(0), 0);
        homes.hold(0, key(1));
        assert_eq!(homes.lightest(0), 0, "nobody else is there yet");
        homes.join(1);
        assert_eq!(homes.lightest(0), 1);
        homes.hold(1, key(2));
        homes.hold(1, key(3));
        homes.join(2);
        assert_eq!(homes.lightest(0), 2);
        homes.leave(2);
        assert_eq!((homes.lightest(0), homes.lightest(1)), (0, 1), "0 has not joined");
        homes.join(0);
        assert_eq!((homes.lightest(0), homes.lightest(1)), (0, 0));
        homes.leave(1);
        assert_eq!((homes.lightest(0), homes.find([key(2)])), (0, None));
        homes.join(1);
        assert_eq!(homes.lightest(0), 1, "it is there again");
    }

    #[test]
    fn new_peers_go_where_there_are_fewer_unless_the_difference_is_small() {
        let group = |count: u16| {
            let mut homes = Homes::new(count.into());
            (0..count).for_each(|shard| homes.join(shard));
            homes
        };
        let mut homes = group(2);
        for peer in 0..100u8 {
            let shard = homes.lightest(0);
            homes.hold(shard, key(peer));
        }
        assert!(homes.loads[0].abs_diff(homes.loads[1]) <= 7, "{:?}", homes.loads);
        assert_eq!(group(1).lightest(0), 0);
        let mut few = group(4);
        let shards = [0, 0, 0, 0].map(|here| {
            let shard = few.lightest(here);
            few.hold(shard, key(few.by_peer.len() as u8));
            shard
        });
        assert_eq!(shards, [0, 1, 2, 3]);
    }
}
