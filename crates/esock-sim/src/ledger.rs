//! The book of one direction of a run: what was sent, what arrived, what came back.

use esock_proto::{Message, SendOptions, StreamId, Undelivered};
use std::collections::{BTreeMap, VecDeque};

/// A message in the book.
#[derive(Debug, Clone)]
struct Entry {
    stream: StreamId,
    unordered: bool,
    len: usize,
    received: u32,
    returned: Option<bool>,
    /// Its sender crashed while it was under way.
    excused: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Vec<Entry>,
    /// Ordered messages under way, per stream.
    expected: BTreeMap<u16, VecDeque<usize>>,
    /// Unordered messages under way.
    unordered: Vec<usize>,
    pub received: usize,
    pub returned: usize,
}

/// The bytes of message `number`: each message has its own, and the first tell its number where there is room.
pub fn payload(number: usize, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    let mut state = number as u32 ^ 0x9e37_79b9;
    for byte in &mut out {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    let head = (number as u32).to_be_bytes();
    let room = len.min(4);
    out[..room].copy_from_slice(&head[4 - room..]);
    out
}

impl Ledger {
    /// Enters a message that was taken to be sent; its number is its context.
    pub fn sent(&mut self, options: &SendOptions, len: usize) {
        let number = self.entries.len();
        assert_eq!(options.context, number as u64, "messages are numbered in the order of sending");
        self.entries.push(Entry {
            stream: options.stream,
            unordered: options.unordered,
            len,
            received: 0,
            returned: None,
            excused: false,
        });
        if options.unordered {
            self.unordered.push(number);
        } else {
            self.expected.entry(options.stream.0).or_default().push_back(number);
        }
    }

    /// The number of the next message.
    pub fn next(&self) -> usize {
        self.entries.len()
    }

    /// A message arrived: it must be one that was sent, whole, and the next of its stream.
    pub fn arrived(&mut self, message: &Message) -> Result<(), String> {
        let number = if message.unordered {
            let head = message.payload.get(..4).and_then(|head| head.try_into().ok()).map(u32::from_be_bytes);
            let number = head.ok_or("an unordered message without a number")? as usize;
            let at = self.unordered.iter().position(|waiting| *waiting == number);
            self.unordered
                .swap_remove(at.ok_or_else(|| format!("unordered message {number} arrived twice, or was never sent"))?)
        } else {
            let line = self.expected.entry(message.stream.0).or_default();
            loop {
                let number = line.pop_front().ok_or_else(|| {
                    format!("a message too many on stream {}: {} bytes", message.stream.0, message.payload.len())
                })?;
                // Of a crashed sender's messages some never arrive.
                let entry = &self.entries[number];
                if !entry.excused || message.payload == payload(number, entry.len) {
                    break number;
                }
            }
        };
        let entry = &mut self.entries[number];
        entry.received += 1;
        self.received += 1;
        if message.payload != payload(number, entry.len) {
            return Err(format!("message {number} on stream {} arrived out of order or altered", message.stream.0));
        }
        if entry.returned == Some(false) {
            return Err(format!("message {number} arrived although it came back as never sent"));
        }
        if entry.stream != message.stream || entry.unordered != message.unordered {
            return Err(format!("message {number} changed its stream"));
        }
        Ok(())
    }

    /// A message came back.
    pub fn came_back(&mut self, back: &Undelivered) -> Result<(), String> {
        let number = back.options.context as usize;
        let entry = self.entries.get_mut(number).ok_or("a message came back that was never sent")?;
        if entry.returned.replace(back.maybe_received).is_some() {
            return Err(format!("message {number} came back twice"));
        }
        if back.payload != payload(number, entry.len) {
            return Err(format!("message {number} came back altered"));
        }
        if entry.received > 0 && !back.maybe_received {
            return Err(format!("message {number} came back as never sent, but had arrived"));
        }
        self.returned += 1;
        Ok(())
    }

    /// The sender crashed: it cannot be told what became of its messages.
    pub fn excuse(&mut self) {
        let lines = self.expected.values().flatten().chain(&self.unordered);
        for number in lines.copied().collect::<Vec<_>>() {
            self.entries[number].excused = true;
        }
    }

    /// A new association or a restart: nothing that was sent before arrives any more.
    pub fn cut(&mut self) {
        self.expected.clear();
        self.unordered.clear();
    }

    /// The run is over: everything arrived exactly once or came back.
    pub fn close(&self) -> Result<(), String> {
        for (number, entry) in self.entries.iter().enumerate() {
            let accounted = entry.received == 1 || (entry.received == 0 && entry.returned.is_some()) || entry.excused;
            if !accounted {
                return Err(format!("message {number} ({} bytes) was lost without a word", entry.len));
            }
        }
        Ok(())
    }

    /// Messages of which nothing is known yet.
    pub fn open(&self) -> usize {
        let known = |entry: &&Entry| entry.received == 0 && entry.returned.is_none() && !entry.excused;
        self.entries.iter().filter(known).count()
    }
}
