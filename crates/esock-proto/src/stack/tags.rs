//! Verification tags: ours are random, unique in the stack, and not used again while a cookie that
//! carries them could still be presented (RFC 9260 §5.3.1).

use crate::time::Time;
use crate::types::{AssocId, VerificationTag};
use rand::{Rng, RngExt};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::VecDeque;

/// Tags of ended associations that are remembered at most.
const MAX_RETIRED: usize = 100_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Tags {
    in_use: FxHashMap<u32, AssocId>,
    retired: FxHashSet<u32>,
    expiry: VecDeque<(Time, u32)>,
}

impl Tags {
    /// A tag that nobody has.
    pub fn choose(&self, rng: &mut impl Rng) -> VerificationTag {
        loop {
            let tag = rng.random();
            if tag != 0 && !self.in_use.contains_key(&tag) && !self.retired.contains(&tag) {
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
    pub fn retire(&mut self, now: Time, tag: VerificationTag, until: Time) {
        self.expire(now);
        if self.in_use.remove(&tag.0).is_some() && self.retired.insert(tag.0) {
            self.expiry.push_back((until, tag.0));
        }
    }

    /// Whether a tag was in use lately: a cookie with it is a replay.
    pub fn is_retired(&mut self, now: Time, tag: VerificationTag) -> bool {
        self.expire(now);
        self.retired.contains(&tag.0)
    }

    fn expire(&mut self, now: Time) {
        while let Some((until, tag)) = self.expiry.front().copied() {
            if until > now && self.expiry.len() < MAX_RETIRED {
                break;
            }
            self.expiry.pop_front();
            self.retired.remove(&tag);
        }
    }
}
