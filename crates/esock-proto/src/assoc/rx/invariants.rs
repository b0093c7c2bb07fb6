//! The receiving half recounted: for fuzzing.

use super::partial::Partial;
use super::{OVERHEAD, Rx};
use crate::api::Part;

impl Rx {
    /// Recounts what is kept incrementally.
    pub fn recount(&self) {
        let held = self.fragments.recount(self.map.extended_cumulative()) + self.streams.recount();
        assert_eq!(held, self.held, "bytes held");
        if let Partial::Active { ahead } = self.partial {
            let place = self.ready.get(ahead as usize).expect("a place for the message that is read in pieces");
            assert!(place.payload.is_empty() && place.part != Part::More, "its bytes are elsewhere");
            assert!(self.fragments.has_pieces(), "it is the first");
        }
        let ready: usize = self.ready.iter().map(|message| message.payload.len() + OVERHEAD).sum();
        assert_eq!(ready, self.ready_bytes, "bytes ready");
        self.map.recount();
    }
}
