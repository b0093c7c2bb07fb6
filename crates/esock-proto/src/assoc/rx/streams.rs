//! Order within streams (RFC 9260 §6.6).

use super::reassembly::Complete;
use crate::faults::{Fault, Faults};
use crate::serial::{Ssn, Tsn};
use crate::streams::StreamTable;
use crate::types::StreamId;
use std::collections::BTreeMap;

/// The next sequence number of each stream, and what has to wait for it.
#[derive(Debug, Default)]
pub struct InboundStreams {
    expected: StreamTable,
    waiting: BTreeMap<(StreamId, u16), Complete>,
}

impl InboundStreams {
    /// Whether `ssn` is the next number of its stream; if it is, it is taken.
    pub fn is_next(&mut self, stream: StreamId, ssn: Ssn, faults: Faults) -> bool {
        let is_next = self.expected.next(stream) == ssn;
        if is_next && !faults.has(Fault::SsnNotAdvanced) {
            self.expected.take(stream);
        }
        is_next
    }

    /// Gives the message back if it is the next of its stream, else keeps it. `Err`: its number was used before.
    pub fn pass(&mut self, complete: Complete, faults: Faults) -> Result<Option<Complete>, ()> {
        let (stream, ssn) = (complete.message.stream, complete.message.ssn);
        if self.is_next(stream, ssn, faults) {
            return Ok(Some(complete));
        }
        let expected = self.expected.next(stream);
        if ssn.precedes(expected) || self.waiting.contains_key(&(stream, ssn.0)) {
            return Err(());
        }
        self.waiting.insert((stream, ssn.0), complete);
        Ok(None)
    }

    /// The message that has become next in `stream`.
    pub fn next(&mut self, stream: StreamId) -> Option<Complete> {
        if self.waiting.is_empty() {
            return None;
        }
        let Ssn(ssn) = self.expected.next(stream);
        let complete = self.waiting.remove(&(stream, ssn))?;
        self.expected.take(stream);
        Some(complete)
    }

    /// What waits, recounted.
    #[cfg(feature = "fuzzing")]
    pub fn recount(&self) -> usize {
        self.waiting.values().map(Complete::cost).sum()
    }

    /// Gives up what waits and whose TSNs `take_back` finds beyond the cumulative one. Returns its cost.
    pub fn give_up(&mut self, take_back: &mut impl FnMut(Tsn) -> bool) -> usize {
        let mut freed = 0;
        self.waiting.retain(|_, complete| {
            // A message that reaches below the cumulative TSN was acknowledged for good: it stays.
            let keep = !take_back(complete.message.tsn);
            if !keep {
                (1..complete.fragments).for_each(|more| {
                    take_back(complete.message.tsn.plus(more));
                });
                freed += complete.cost();
            }
            keep
        });
        freed
    }
}
