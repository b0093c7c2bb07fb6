//! Verification tags: ours are random, unique in the stack, and not used again while a cookie that
//! carries them could still be presented (RFC 9260 §5.3.1).

use super::shard::Shard;
use crate::time::Time;
use crate::types::{AssocId, VerificationTag};
use rand::{Rng, RngExt};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// Tags of ended associations that are remembered at most.
const MAX_RETIRED: usize = 100_000;

/// Why a tag is not used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retired {
    /// Its association has ended: a cookie with it is a replay.
    Ended,
    /// The user has refused the peer: a COOKIE ECHO with it is the same question again.
    Refused,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Tags {
    /// Whose tags these are.
    shard: Shard,
    in_use: FxHashMap<u32, AssocId>,
    retired: FxHashMap<u32, Retired>,
    expiry: VecDeque<(Time, u32)>,
}

impl Tags {
    pub fn new(shard: Shard) -> Self {
        Self { shard, ..Self::default() }
    }

    /// A tag that nobody has, and that names our shard.
    pub fn choose(&self, rng: &mut impl Rng) -> VerificationTag {
        loop {
            let Some(tag) = self.shard.tag(rng.random()) else { continue };
            if tag != 0 && !self.in_use.contains_key(&tag) && !self.retired.contains_key(&tag) {
                return VerificationTag(tag);
            }
        }
    }

    /// Gives a tag to an association.
    pub fn insert(&mut self, tag: VerificationTag, assoc: AssocId) {
        self.in_use.insert(tag.0, assoc);
    }

    /// Whose tag it is.
    pub fn find(&self, tag: VerificationTag) -> Option<AssocId> {
        self.in_use.get(&tag.0).copied()
    }

    /// Takes a tag out of use until `until`.
    pub fn retire(&mut self, now: Time, tag: VerificationTag, why: Retired, until: Time) {
        self.expire(now);
        self.in_use.remove(&tag.0);
        if self.retired.insert(tag.0, why).is_none() {
            self.expiry.push_back((until, tag.0));
        }
    }

    /// Whether a tag was taken out of use lately.
    pub fn retired(&mut self, now: Time, tag: VerificationTag) -> Option<Retired> {
        self.expire(now);
        self.retired.get(&tag.0).copied()
    }

    /// `open`: associations that have not ended.
    #[cfg(feature = "fuzzing")]
    pub fn check_invariants(&self, open: usize) {
        assert_eq!(self.in_use.len(), open, "tags of nobody are in use");
        assert_eq!(self.retired.len(), self.expiry.len(), "a tag is never forgotten");
        assert!(self.retired.len() <= MAX_RETIRED, "tags pile up");
    }

    fn expire(&mut self, now: Time) {
        while let Some((until, tag)) = self.expiry.front().copied() {
            // That moment included: a cookie as old as its life is still good.
            if until >= now && self.expiry.len() < MAX_RETIRED {
                break;
            }
            self.expiry.pop_front();
            self.retired.remove(&tag);
        }
    }
}
