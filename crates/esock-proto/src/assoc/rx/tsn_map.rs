//! Which TSNs have arrived (RFC 9260 §6.2): the cumulative one, and a bitmap of what came beyond it.

use crate::bits::RareBits;
use crate::serial::Tsn;
use crate::wire::GapBlock;

/// Gap ack blocks have 16-bit offsets: what lies farther cannot be reported, so it is not taken.
const MAX_OFFSET: usize = 65_535;
/// Duplicates reported in one SACK.
const MAX_DUPLICATES: usize = 20;

/// See the module.
#[derive(Debug)]
pub struct TsnMap {
    cumulative: Tsn,
    /// The cumulative TSN without wrapping, for keys that need an order.
    extended: u64,
    /// Bit k: cumulative + 1 + k has arrived.
    beyond: RareBits,
    /// One past the highest bit set.
    end: usize,
    /// Since the last SACK.
    #[expect(
        clippy::box_collection,
        reason = "mostly there are none, and all associations would have the room for it"
    )]
    duplicates: Option<Box<Vec<Tsn>>>,
}

impl TsnMap {
    pub fn new(cumulative: Tsn) -> Self {
        // The extended number starts high enough that nothing before it is negative.
        Self { cumulative, extended: 1 << 33, beyond: RareBits::default(), end: 0, duplicates: None }
    }

    pub fn cumulative(&self) -> Tsn {
        self.cumulative
    }

    /// Whether TSNs are missing below one that has arrived.
    pub fn has_gaps(&self) -> bool {
        self.end > 0
    }

    /// How many TSNs are missing below the highest that has arrived. Walks the gaps.
    pub fn missing(&self) -> usize {
        let arrived = self.gaps(usize::MAX).map(|gap| usize::from(gap.end - gap.start) + 1).sum::<usize>();
        self.end.saturating_sub(arrived)
    }

    /// How far a TSN lies beyond the cumulative one, 0 for the very next; `None` if it has arrived,
    /// or is too far off to be reported.
    pub fn offset_of(&self, tsn: Tsn) -> Option<usize> {
        let offset = tsn.distance_from(self.cumulative.next()) as usize;
        (offset < MAX_OFFSET && !self.beyond.get(offset)).then_some(offset)
    }

    /// Whether a TSN lies so far ahead that it is neither new nor a duplicate.
    pub fn is_too_far(&self, tsn: Tsn) -> bool {
        tsn.follows(self.cumulative) && tsn.distance_from(self.cumulative) as usize > MAX_OFFSET
    }

    /// The TSN at `offset` as a number that does not wrap.
    pub fn extended(&self, offset: usize) -> u64 {
        self.extended + 1 + offset as u64
    }

    /// The cumulative TSN as a number that does not wrap.
    pub fn extended_cumulative(&self) -> u64 {
        self.extended
    }

    /// Notes the TSN at `offset` as arrived.
    pub fn insert(&mut self, offset: usize) {
        if offset == 0 && self.end == 0 {
            self.cumulative = self.cumulative.next();
            self.extended += 1;
            return;
        }
        self.beyond.set(offset);
        self.end = self.end.max(offset + 1);
        if offset == 0 {
            let run = self.beyond.next_clear(0);
            self.beyond.advance(run);
            self.end -= run;
            self.cumulative = self.cumulative.plus(run as u32);
            self.extended += run as u64;
        }
    }

    /// Takes back a TSN beyond the cumulative one.
    pub fn remove(&mut self, tsn: Tsn) -> bool {
        if !tsn.follows(self.cumulative) {
            return false;
        }
        let offset = tsn.distance_from(self.cumulative.next()) as usize;
        let had = self.beyond.get(offset);
        self.beyond.clear(offset);
        while self.end > 0 && !self.beyond.get(self.end - 1) {
            self.end -= 1;
        }
        had
    }

    /// The end of the bits, recounted, and where they may lie.
    #[cfg(feature = "fuzzing")]
    pub fn recount(&self) {
        assert!(!self.beyond.get(0), "what is next has arrived");
        assert!(self.end == 0 || self.beyond.get(self.end - 1), "the end of what has arrived");
        assert!(self.beyond.next_set(self.end).is_none() && self.end <= MAX_OFFSET, "arrived beyond the end");
    }

    pub fn note_duplicate(&mut self, tsn: Tsn) {
        if self.duplicates() < MAX_DUPLICATES && !self.is_too_far(tsn) {
            self.duplicates.get_or_insert_default().push(tsn);
        }
    }

    /// The duplicates since the last time (RFC 9260 §6.2: reported once).
    pub fn take_duplicates(&mut self) -> Vec<Tsn> {
        self.duplicates.take().map(|duplicates| *duplicates).unwrap_or_default()
    }

    pub fn duplicates(&self) -> usize {
        self.duplicates.as_ref().map_or(0, |duplicates| duplicates.len())
    }

    /// The gap ack blocks, at most `max`.
    pub fn gaps(&self, max: usize) -> impl Iterator<Item = GapBlock> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = self.beyond.next_set(at).filter(|start| *start < self.end)?;
            at = self.beyond.next_clear(start);
            // Offset k of a block is cumulative + k: index + 1; the end is inclusive.
            Some(GapBlock { start: (start + 1) as u16, end: at as u16 })
        })
        .take(max)
    }
}
