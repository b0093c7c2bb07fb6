//! The sending half recounted: for fuzzing.

use super::{MESSAGE_OVERHEAD, Tx};
use crate::assoc::path::Paths;

impl Tx {
    /// Recounts what is kept incrementally.
    pub fn recount(&self, paths: &Paths) {
        let mut flights = vec![0; paths.list.len()];
        let (mut lost, mut taken, mut in_flight) = (0, 0, 0);
        for (at, chunk) in self.sent.iter().enumerate() {
            let len = usize::from(chunk.len);
            let (is_acked, is_lost) = (self.acked.get(at), self.lost.get(at));
            assert!(!(is_acked && is_lost), "acknowledged and lost");
            assert!(!self.watched.get(at) || !(is_acked || is_lost), "watched and not in flight");
            assert!(chunk.len > 0 && self.data_at(at).is_some(), "a chunk without its message");
            if !is_acked && !is_lost {
                flights[usize::from(chunk.path)] += chunk.size();
                in_flight += len;
            }
            lost += usize::from(is_lost);
            taken += len;
        }
        let end = self.sent.len();
        assert!(self.acked.next_set(end).is_none() && self.lost.next_set(end).is_none(), "marks beyond what was sent");
        assert!(self.watched.next_set(end).is_none(), "watched beyond what was sent");
        assert_eq!(in_flight, self.flight, "flight size");
        for (path, flight) in paths.list.iter().zip(flights) {
            assert_eq!(path.flight, flight, "flight size of path {}", path.id.0);
        }
        assert_eq!(lost, self.lost_chunks, "chunks marked for retransmission");
        let (waiting, messages) = self.queue.recount();
        assert_eq!(taken + self.unsent_of_last + waiting, self.buffered, "bytes in the send buffer");
        assert_eq!(self.buffered + MESSAGE_OVERHEAD * (self.messages.len() + messages), self.charged, "charged");
        assert!(self.charged <= self.limit + MESSAGE_OVERHEAD, "more was taken than the send buffer holds");
    }
}
