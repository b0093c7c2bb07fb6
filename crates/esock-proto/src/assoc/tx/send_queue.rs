//! Messages that were taken and of which nothing has been sent. The order in which they leave is
//! decided here: first come, first served (RFC 8260's other schedulers have their place here).

use crate::api::SendOptions;
use crate::time::Time;
use crate::types::PathId;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;

/// Longer lifetimes are for ever.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Debug, Default)]
pub struct SendQueue {
    messages: VecDeque<(SendOptions, Bytes)>,
    /// When each of those that have a lifetime is given up, in the order of `messages`.
    #[expect(clippy::box_collection, reason = "few associations have any, all would have the room for it")]
    expiries: Option<Box<VecDeque<Time>>>,
    bytes: usize,
}

impl SendQueue {
    pub fn push(&mut self, now: Time, options: SendOptions, payload: Bytes) {
        if let Some(lifetime) = options.lifetime {
            self.expiries.get_or_insert_default().push_back(now + lifetime.min(LONGEST));
        }
        self.bytes += payload.len();
        self.messages.push_back((options, payload));
    }

    /// Gives back the room of what has left.
    pub fn compact(&mut self) {
        self.messages.shrink_to_fit();
        self.expiries.take_if(|expiries| expiries.is_empty());
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The length of the message that is next.
    pub fn next_len(&self) -> Option<usize> {
        self.messages.front().map(|(_, payload)| payload.len())
    }

    /// The path that the message that is next is to go over.
    pub fn next_path(&self) -> Option<PathId> {
        self.messages.front().and_then(|(options, _)| options.path)
    }

    /// When the message that is next has waited for as long as its lifetime is; none has no lifetime.
    pub fn next_expiry(&self) -> Option<Time> {
        let first = self.expiries.as_ref()?.front().copied();
        let has_lifetime = self.messages.front().is_some_and(|(options, _)| options.lifetime.is_some());
        first.filter(|_| has_lifetime)
    }

    /// Whether the message that is next has waited for longer than its lifetime.
    pub fn next_is_expired(&self, now: Time) -> bool {
        self.next_expiry().is_some_and(|at| at < now)
    }

    pub fn pop(&mut self) -> Option<(SendOptions, Bytes)> {
        let next = self.messages.pop_front()?;
        self.bytes -= next.1.len();
        if next.0.lifetime.is_some()
            && let Some(expiries) = &mut self.expiries
        {
            expiries.pop_front();
        }
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
        let mut expiries = self.expiries.take();
        let mut gone = VecDeque::new();
        self.bytes = 0;
        for (options, payload) in std::mem::take(&mut self.messages) {
            let expiry = options.lifetime.and(expiries.as_mut()).and_then(|expiries| expiries.pop_front());
            if options.stream.0 < streams {
                self.bytes += payload.len();
                if let Some(expiry) = expiry {
                    self.expiries.get_or_insert_default().push_back(expiry);
                }
                self.messages.push_back((options, payload));
            } else {
                gone.push_back((options, payload));
            }
        }
        gone
    }

    pub fn drain(&mut self) -> impl Iterator<Item = (SendOptions, Bytes)> + use<> {
        self.bytes = 0;
        self.expiries = None;
        std::mem::take(&mut self.messages).into_iter()
    }
}
