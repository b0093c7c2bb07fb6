//! What was sent, and what became of it: every message arrives once and, within its stream, in order, or comes back.
//!
//! What went along with COOKIE ECHO (RFC 9260 §5.1 C) goes along with the next one too where the first was not answered.
//! The peer may have had an association by the first that has ended since: then it arrives over both, since nobody can know
//! whether it was read there.

use esock_proto::{AssocId, Message, Pieces, SendOptions, Undelivered};
use std::collections::HashMap;

#[derive(Debug)]
struct Sent {
    options: SendOptions,
    len: usize,
    /// Over which association of the receiver it last arrived.
    arrived: Option<AssocId>,
    returned: bool,
}

/// The messages of one host.
#[derive(Debug, Default)]
pub struct Ledger {
    sent: Vec<Sent>,
    /// By receiving association and stream: the last message in order that arrived.
    last: HashMap<(AssocId, u16), u32>,
    /// By receiving association: what has arrived of a message that is read in pieces.
    pieces: HashMap<AssocId, Pieces>,
}

/// The payload of message `number`: its number, and bytes that follow from it.
pub fn payload(number: u32, len: usize) -> Vec<u8> {
    let mut payload: Vec<u8> = (0..len).map(|at| (number as usize * 7 + at) as u8).collect();
    let head = number.to_be_bytes();
    let known = len.min(head.len());
    payload[..known].copy_from_slice(&head[..known]);
    payload
}

/// Shortest message that its number fits into.
pub const SHORTEST: usize = 4;

impl Ledger {
    /// The number of the next message.
    pub fn next(&self) -> u32 {
        self.sent.len() as u32
    }

    /// Notes a message that was taken to be sent.
    pub fn sent(&mut self, options: SendOptions, len: usize) {
        self.sent.push(Sent { options, len, arrived: None, returned: false });
    }

    /// Takes a message, or piece of one, that has arrived over association `by` of the other host, of which these others
    /// have ended.
    pub fn arrived(&mut self, by: AssocId, message: &Message, ended: &[AssocId]) {
        let Some(message) = self.pieces.entry(by).or_default().join(message.clone()) else { return };
        let head = message.payload.first_chunk::<SHORTEST>().expect("no shorter message was sent");
        let number = u32::from_be_bytes(*head);
        let sent = self.sent.get_mut(number as usize).expect("a message arrives that was never sent");
        let again = sent.arrived.replace(by).is_some_and(|before| before == by || !ended.contains(&before));
        assert!(!again, "message {number} arrives again");
        assert_eq!(message.payload.len(), sent.len, "the length of message {number}");
        assert_eq!(message.payload[..], payload(number, sent.len)[..], "the bytes of message {number}");
        assert_eq!(
            (message.stream, message.ppid, message.unordered),
            (sent.options.stream, sent.options.ppid, sent.options.unordered)
        );
        if !message.unordered {
            let last = self.last.insert((by, message.stream.0), number);
            assert!(last.is_none_or(|last| last < number), "message {number} arrives behind {last:?}");
        }
    }

    /// Takes a message that came back. It may have arrived all the same, if it says so.
    pub fn came_back(&mut self, back: &Undelivered) {
        let sent = self.sent.get_mut(back.options.context as usize).expect("a message comes back that was never sent");
        assert_eq!((sent.options, sent.len), (back.options, back.payload.len()), "it comes back as it was sent");
        assert!(!std::mem::replace(&mut sent.returned, true), "a message comes back twice");
        assert!(sent.arrived.is_none() || back.maybe_received, "it arrived, and comes back as never sent");
    }

    /// Messages of which nothing was heard.
    pub fn open(&self) -> usize {
        self.sent.iter().filter(|sent| sent.arrived.is_none() && !sent.returned).count()
    }
}
