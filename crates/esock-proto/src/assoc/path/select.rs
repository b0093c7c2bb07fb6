//! Which path carries what (RFC 9260 §6.4).

use super::{Path, Paths};
use crate::api::PathState;

impl Paths {
    /// How good a path is for data: lower is better. An unconfirmed address comes last, and gets none even
    /// then (§5.4): a peer could have us bomb somebody whom it listed (RFC 5062 §5).
    fn rank(path: &Path) -> (u8, u32) {
        let class = match path.state {
            _ if !path.confirmed => 3,
            PathState::Active => 0,
            PathState::PotentiallyFailed => 1,
            PathState::Inactive | PathState::Unconfirmed => 2,
        };
        // Errors tell potentially failed paths apart (RFC 7829 §3.2), active ones are equal.
        (class, if class == 0 { 0 } else { path.error_count })
    }

    /// The path for new data: the primary if it is as good as any, else the best; where they are
    /// equal, the one in use stays.
    pub fn select_for_data(&self) -> usize {
        let key = |index: usize| {
            (Self::rank(&self.list[index]), usize::from(index != self.primary), usize::from(index != self.current))
        };
        (0..self.list.len()).min_by_key(|index| key(*index)).unwrap_or(0)
    }

    /// The path for a chunk to be sent again, last sent over `last`. What timed out goes over another one that is
    /// as good (§6.4, §6.4.1); everything else stays unless that one has errors and another is active without.
    pub fn select_for_retransmission(&self, last: usize, timed_out: bool) -> usize {
        let key = |index: usize| {
            let path = &self.list[index];
            let repeats = timed_out && index == last;
            (Self::rank(path), repeats, path.error_count, index != last, index != self.primary)
        };
        (0..self.list.len()).min_by_key(|index| key(*index)).unwrap_or(0)
    }

    /// The path for a reply to what came over `source`; another one if `avoid`, where there is an active one.
    pub fn select_for_reply(&self, source: usize, avoid: bool) -> usize {
        if self.is_usable(source) && !avoid {
            return source;
        }
        let others = (1..=self.list.len()).map(|step| (source + step) % self.list.len().max(1));
        others.into_iter().find(|index| self.is_usable(*index)).unwrap_or_else(|| self.permitted(source))
    }

    /// Whether the path is there and active, and so confirmed.
    pub fn is_usable(&self, index: usize) -> bool {
        self.list.get(index).is_some_and(|path| path.state == PathState::Active)
    }

    /// `index` if it is confirmed, else the best path: chunks other than probes go to confirmed addresses (§5.4).
    pub fn permitted(&self, index: usize) -> usize {
        if self.list.get(index).is_some_and(|path| path.confirmed) { index } else { self.select_for_data() }
    }
}
