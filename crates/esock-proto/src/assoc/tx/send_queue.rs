//! Messages that were taken and of which nothing has been sent. The order in which they leave is
//! decided here: first come, first served (RFC 8260's other schedulers have their place here).

use crate::api::SendOptions;
use bytes::Bytes;
use std::collections::VecDeque;

#[derive(Debug, Default)]
pub struct SendQueue {
    messages: VecDeque<(SendOptions, Bytes)>,
    bytes: usize,
}

impl SendQueue {
    pub fn push(&mut self, options: SendOptions, payload: Bytes) {
        self.bytes += payload.len();
        self.messages.push_back((options, payload));
    }

    /// Gives back the room of what has left.
    pub fn compact(&mut self) {
        self.messages.shrink_to_fit();
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The length of the message that is next.
    pub fn next_len(&self) -> Option<usize> {
        self.messages.front().map(|(_, payload)| payload.len())
    }

    pub fn pop(&mut self) -> Option<(SendOptions, Bytes)> {
        let next = self.messages.pop_front()?;
        self.bytes -= next.1.len();
        Some(next)
    }

    /// Recounted: bytes and messages.
    #[cfg(feature = "fuzzing")]
    pub fn recount(&self) -> (usize, usize) {
        let bytes = self.messages.iter().map(|(_, payload)| payload.len()).sum();
        assert_eq!(bytes, self.bytes, "bytes that wait");
        (bytes, self.messages.len())
    }

    /// Takes out what is for streams that do not exist.
    pub fn take_beyond(&mut self, streams: u16) -> VecDeque<(SendOptions, Bytes)> {
        let all = std::mem::take(&mut self.messages);
        let (keep, gone): (VecDeque<_>, VecDeque<_>) =
            all.into_iter().partition(|(options, _)| options.stream.0 < streams);
        self.bytes = keep.iter().map(|(_, payload)| payload.len()).sum();
        self.messages = keep;
        gone
    }

    pub fn drain(&mut self) -> impl Iterator<Item = (SendOptions, Bytes)> + use<> {
        self.bytes = 0;
        std::mem::take(&mut self.messages).into_iter()
    }
}
