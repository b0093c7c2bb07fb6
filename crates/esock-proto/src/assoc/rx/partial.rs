//! Partial delivery: a message that is larger than is received whole is handed over in pieces as it arrives
//! (RFC 9260 §6.9). Its bytes stay in its run until they are read, so what it costs is what is unread of it; a place
//! is kept for it among the messages that are ready, and those behind that wait until it has ended.

use super::reassembly::{Complete, Reassembly};
use super::{OVERHEAD, Received, Rx};
use crate::api::{Message, Part};
use crate::types::PathId;

/// Whether a message is being handed over in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partial {
    /// None ever is.
    Off,
    /// None is now.
    Possible,
    /// One is: this many messages that are ready come before its place.
    Active { ahead: u32 },
}

impl Partial {
    pub fn new(wanted: bool) -> Self {
        if wanted { Self::Possible } else { Self::Off }
    }

    pub fn is_possible(self) -> bool {
        self == Self::Possible
    }

    pub fn is_active(self) -> bool {
        matches!(self, Self::Active { .. })
    }

    /// Whether a piece is what is read next.
    pub fn is_next(self) -> bool {
        self == Self::Active { ahead: 0 }
    }
}

impl Rx {
    /// Much is held: hands the message that is arriving over in pieces, if it is too large, or has filled the window.
    #[cold]
    pub(super) fn consider_pieces(&mut self, path: PathId) -> Received {
        // Who has something to read opens the window by that.
        let is_full = self.ready_bytes == 0 && self.a_rwnd() == 0;
        let Some(run) = self.fragments.arriving(self.map.extended_cumulative()) else { return Received::New };
        if run.len < self.max_message && !is_full {
            return Received::New;
        }
        let stream = run.stream;
        if !run.unordered && !self.streams.is_next(stream, run.ssn, self.faults) {
            // It has to wait for one that was sent after it: nobody can read it, and it grows.
            return Received::TooLarge;
        }
        let ordered = !run.unordered;
        self.partial = Partial::Active { ahead: self.ready.len() as u32 };
        self.ready_bytes += OVERHEAD;
        self.ready.push_back(run.begin_pieces(path));
        if ordered {
            self.deliver_next(stream);
        }
        Received::New
    }

    /// A chunk was dropped: perhaps because of a message that has filled the window.
    #[cold]
    pub(super) fn on_dropped(&mut self, offset: usize, path: PathId) -> Received {
        if offset == 0 && self.partial.is_possible() && self.consider_pieces(path) == Received::TooLarge {
            return Received::TooLarge;
        }
        Received::Dropped
    }

    /// The rest of the message has arrived: it takes its place, and what waited behind it does not wait any more.
    #[cold]
    pub(super) fn finish_pieces(&mut self, complete: Complete, path: PathId) -> Received {
        let Partial::Active { ahead } = self.partial else { return Received::New };
        self.partial = Partial::Possible;
        if let Some(place) = self.ready.get_mut(ahead as usize) {
            self.ready_bytes += complete.message.payload.len();
            *place = Message { part: place.part, ..complete.message };
        }
        // The next may have grown too large meanwhile.
        self.consider_pieces(path)
    }

    /// Whether its next piece is all that can be read.
    pub(super) fn waits_for_piece(&self) -> bool {
        self.partial.is_next() && self.fragments.piece_len() == 0
    }

    /// The next message, while one is handed over in pieces.
    #[cold]
    pub(super) fn pop_amid_pieces(&mut self) -> Option<Message> {
        if let Partial::Active { ahead: ahead @ 1.. } = self.partial {
            self.partial = Partial::Active { ahead: ahead - 1 };
            return self.pop_ready();
        }
        let piece = self.change_fragments(Reassembly::take_piece)?;
        let place = self.ready.front_mut()?;
        place.part = Part::Last;
        Some(Message { part: Part::More, tsn: piece.tsn, payload: piece.payload, ..place.clone() })
    }

    #[cold]
    pub(super) fn pop_many_amid_pieces(&mut self, max: usize, take: &mut dyn FnMut(Message)) -> usize {
        (0..max).map_while(|_| self.pop()).map(take).count()
    }

    /// Nothing more of the message will come: what there is of it is its last piece.
    pub(super) fn cut(&mut self) {
        let Partial::Active { ahead } = self.partial else { return };
        self.partial = Partial::Possible;
        let piece = self.change_fragments(Reassembly::take_piece);
        if let Some(place) = self.ready.get_mut(ahead as usize) {
            place.part = Part::Cut;
            if let Some(piece) = piece {
                (place.tsn, place.payload) = (piece.tsn, piece.payload);
            }
            self.ready_bytes += place.payload.len();
        }
    }
}
