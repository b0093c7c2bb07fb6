//! Messages made whole again by who reads them.

use crate::api::{Message, Part};
use bytes::{Bytes, BytesMut};

/// Puts the pieces of one association's messages together, for who has
/// [`Config::partial_delivery`](crate::Config::partial_delivery) on and wants whole messages all the same, larger than a
/// receive window. Bounded by nothing but [`Pieces::len`]: look at it.
#[derive(Debug, Default)]
pub struct Pieces {
    first: Option<Message>,
    bytes: BytesMut,
}

impl Pieces {
    /// Takes a message, or a piece of one. Gives the message if it is whole with that; one that has been cut is gone.
    pub fn join(&mut self, message: Message) -> Option<Message> {
        match message.part {
            Part::Whole => return Some(message),
            Part::Cut => {
                *self = Self::default();
                return None;
            }
            Part::More | Part::Last => self.bytes.extend_from_slice(&message.payload),
        }
        let (is_end, path) = (message.part.is_end(), message.path);
        let first = self.first.get_or_insert(Message { payload: Bytes::new(), ..message });
        if !is_end {
            return None;
        }
        let whole = Message { part: Part::Whole, path, payload: self.bytes.split().freeze(), ..first.clone() };
        *self = Self::default();
        Some(whole)
    }

    /// Bytes of the message that has begun.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no message has begun.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}
