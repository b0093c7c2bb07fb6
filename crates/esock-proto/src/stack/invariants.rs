//! What holds between any two calls, recounted from nothing: for fuzzing.

use super::Stack;
use crate::assoc::Association;

/// Bytes that one chunk can hold: the most by which a window is exceeded beyond its eighth.
const LARGEST_CHUNK: usize = 1 << 16;

impl Stack {
    /// Recounts everything that is kept incrementally, and checks the bounds of what a peer can make us hold.
    ///
    /// # Panics
    ///
    /// If anything is not as it has to be.
    pub fn check_invariants(&self) {
        self.table.check_invariants();
        assert!(self.table.len() <= self.config.max_associations, "more associations than allowed");
        assert!(self.incoming.len() <= self.config.max_incoming, "more peers wait than allowed");
        self.undecided.check_invariants();
        assert!(self.undecided.len() >= self.incoming.len(), "a peer waits that is not undecided");
        assert!(self.replies.len() <= super::output::MAX_REPLIES + 8, "replies pile up");
        for assoc in self.table.iter() {
            assoc.check_invariants();
        }
        self.endpoints.check_invariants(|id| {
            self.table.iter().filter(|assoc| assoc.endpoint == id && !assoc.is_closed()).count()
        });
    }

    /// What holds besides when [`Stack::poll_transmit`] has nothing more: no association waits for nothing.
    ///
    /// # Panics
    ///
    /// If an association can neither send nor has a timer that will make it.
    pub fn check_rest(&self) {
        for assoc in self.table.iter() {
            assoc.check_rest();
            assert_eq!(self.stalled(assoc.id), None, "{assoc:#?}");
        }
    }
}

impl Association {
    /// Upper bound of what it charges for what it has received.
    pub fn receive_bound(&self) -> usize {
        let window = self.config().receive_window as usize;
        window + window / 8 + LARGEST_CHUNK
    }
}
