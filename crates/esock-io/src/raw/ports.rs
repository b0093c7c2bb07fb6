//! The SCTP ports that are ours.

use super::claim::{Claim, Claims};
use crate::error::ClaimError;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One bit per port.
const WORDS: usize = 65536 / 64;

/// The ports that this driver has claimed, held until they are released or it is dropped.
#[derive(Debug)]
pub(crate) struct Ports {
    claims: BTreeMap<u16, Arc<Claim>>,
    bits: Box<[u64; WORDS]>,
    /// We answer for ports that nobody has: only one process of a network namespace does.
    rest: Option<Arc<Claim>>,
    /// Where they are claimed, together with other shards if there are any.
    common: Arc<Claims>,
}

impl Ports {
    /// None yet.
    pub(crate) fn new(common: Arc<Claims>) -> Self {
        Self { claims: BTreeMap::new(), bits: Box::new([0; WORDS]), rest: None, common }
    }

    /// Claims a port. Claiming it again is no error and changes nothing.
    pub(crate) fn claim(&mut self, port: u16) -> Result<(), ClaimError> {
        if let Entry::Vacant(place) = self.claims.entry(port) {
            place.insert(self.common.claim(port)?);
            self.bits[usize::from(port / 64)] |= 1 << (port % 64);
        }
        Ok(())
    }

    /// Gives a port back.
    pub(crate) fn release(&mut self, port: u16) {
        if self.claims.remove(&port).is_some() {
            self.bits[usize::from(port / 64)] &= !(1 << (port % 64));
        }
    }

    /// From now on those that nobody has are ours as well, unless another process answers for them. Says whether they are.
    pub(crate) fn claim_rest(&mut self) -> bool {
        self.rest = self.rest.take().or_else(|| self.common.claim_rest().ok());
        self.rest.is_some()
    }

    /// All of them, in order; `None` if packets to any port are of interest.
    pub(crate) fn all(&self) -> Option<BTreeSet<u16>> {
        if self.rest.is_some() { None } else { Some(self.claims.keys().copied().collect()) }
    }

    /// Whether an SCTP packet is for one of them.
    pub(crate) fn is_ours(&self, packet: &[u8]) -> bool {
        let Some(&[high, low]) = packet.get(2..4) else { return false };
        let port = u16::from_be_bytes([high, low]);
        let is_claimed = self.bits[usize::from(port / 64)] & (1 << (port % 64)) != 0;
        is_claimed || (self.rest.is_some() && !Claim::is_held(port))
    }
}
