//! The receiving half recounted: for fuzzing.

use super::{OVERHEAD, Rx};

impl Rx {
    /// Recounts what is kept incrementally.
    pub fn recount(&self) {
        let held = self.fragments.recount(self.map.extended_cumulative()) + self.streams.recount();
        assert_eq!(held, self.held, "bytes held");
        let ready: usize = self.ready.iter().map(|message| message.payload.len() + OVERHEAD).sum();
        assert_eq!(ready, self.ready_bytes, "bytes ready");
        self.map.recount();
    }
}
