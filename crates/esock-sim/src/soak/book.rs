//! The book of what one end sends in one life of its association. It holds what is under way, and no more:
//! it can be kept for days.

use bytes::Bytes;
use esock_proto::{Message, SendOptions, StreamId, Undelivered};
use std::collections::{BTreeMap, VecDeque};
use std::sync::OnceLock;

/// Every message begins with its stamp.
pub const STAMP_BYTES: usize = 12;
/// No message is longer.
pub const LARGEST: usize = 256 << 10;
/// A sequence number of a stream comes again after as many messages.
const SSN_WRAP: u64 = 1 << 16;

/// Which message it is: the end that sent it, in which life, and the how many-eth of that life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub end: u32,
    pub life: u32,
    pub number: u32,
}

/// Bytes that repeat nowhere near; made once.
pub fn noise() -> &'static [u8] {
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    NOISE.get_or_init(|| {
        let mut state = 0x9e37_79b9_u32;
        let byte = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..2 * LARGEST).map(byte).collect()
    })
}

impl Stamp {
    /// What a message of this stamp consists of behind the stamp.
    fn body(self, len: usize) -> &'static [u8] {
        let from = (self.number as usize * 31 + self.life as usize * 7) % LARGEST;
        &noise()[from..from + len - STAMP_BYTES]
    }

    /// The message of this stamp.
    pub fn message(self, len: usize) -> Bytes {
        let mut out = Vec::with_capacity(len);
        for word in [self.end, self.life, self.number] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(self.body(len));
        out.into()
    }

    /// The stamp of a message.
    pub fn of(message: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_be_bytes(message.get(at..at + 4)?.try_into().ok()?));
        Some(Self { end: word(0)?, life: word(4)?, number: word(8)? })
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    stream: StreamId,
    unordered: bool,
    len: u32,
    received: bool,
    returned: Option<bool>,
}

/// The ordered messages of one stream that are under way, and how many have arrived.
#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<u32>,
    arrived: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Book {
    end: u32,
    life: u32,
    entries: VecDeque<Entry>,
    /// The number of the first of `entries`; all before it have arrived.
    base: u32,
    /// Ordered messages, by stream.
    lines: BTreeMap<u16, Line>,
    /// One past the highest number below `base` that came back all the same.
    returned_below: u32,
    /// Its sender crashed: nobody could be told what became of its messages.
    excused: bool,
    pub returned: u64,
}

/// A message that has arrived, as far as the book is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Entered {
    /// The sequence number of its stream began anew with it.
    pub ssn_wrapped: bool,
}

impl Book {
    pub fn new(end: u32, life: u32) -> Self {
        Self {
            end,
            life,
            entries: VecDeque::new(),
            base: 0,
            lines: BTreeMap::new(),
            returned_below: 0,
            excused: false,
            returned: 0,
        }
    }

    pub fn life(&self) -> u32 {
        self.life
    }

    /// The stamp of the next message.
    pub fn next(&self) -> Stamp {
        Stamp { end: self.end, life: self.life, number: self.base + self.entries.len() as u32 }
    }

    /// Enters the message that was taken to be sent under the stamp of [`Book::next`].
    pub fn sent(&mut self, options: &SendOptions, len: usize) {
        let number = self.next().number;
        let (stream, unordered) = (options.stream, options.unordered);
        self.entries.push_back(Entry { stream, unordered, len: len as u32, received: false, returned: None });
        if !unordered {
            self.lines.entry(stream.0).or_default().waiting.push_back(number);
        }
    }

    /// A message of this book arrived: once, whole, on its stream, and as the next of it.
    pub fn arrived(&mut self, stamp: Stamp, message: &Message) -> Result<Entered, String> {
        let number = stamp.number;
        let name = || format!("message {number} of life {} of end {}", self.life, self.end);
        let at = number.checked_sub(self.base).ok_or_else(|| format!("{} arrived twice", name()))?;
        let entry = *self.entries.get(at as usize).ok_or_else(|| format!("{} was never sent", name()))?;
        if entry.received {
            return Err(format!("{} arrived twice", name()));
        }
        if entry.returned == Some(false) {
            return Err(format!("{} arrived although it came back as never sent", name()));
        }
        if message.payload.len() != entry.len as usize
            || message.payload[STAMP_BYTES..] != *stamp.body(entry.len as usize)
        {
            return Err(format!("{} arrived altered", name()));
        }
        if (entry.stream, entry.unordered) != (message.stream, message.unordered) {
            return Err(format!("{} changed its stream", name()));
        }
        let mut ssn_wrapped = false;
        if !entry.unordered {
            let line = self.lines.entry(entry.stream.0).or_default();
            let due = line.waiting.pop_front();
            if due != Some(number) {
                return Err(format!("message {number} of stream {} arrived where {due:?} was due", entry.stream.0));
            }
            // RFC 9260 §6.5: 0, 1, ... 65535, 0, ...
            if u64::from(message.ssn.0) != line.arrived % SSN_WRAP {
                return Err(format!(
                    "message {number} has SSN {} as the {}th of its stream",
                    message.ssn.0, line.arrived
                ));
            }
            ssn_wrapped = line.arrived > 0 && message.ssn.0 == 0;
            line.arrived += 1;
        }
        self.entries[at as usize].received = true;
        while self.entries.front().is_some_and(|entry| entry.received && entry.returned.is_none()) {
            self.entries.pop_front();
            self.base += 1;
        }
        Ok(Entered { ssn_wrapped })
    }

    /// A message came back: once, whole, and told to be unsent only if it has not arrived.
    pub fn came_back(&mut self, back: &Undelivered) -> Result<(), String> {
        let stamp = Stamp::of(&back.payload).ok_or("a message came back without a stamp")?;
        let number = stamp.number;
        let name = || format!("message {number} of life {} of end {}", self.life, self.end);
        if (stamp.end, stamp.life) != (self.end, self.life) {
            return Err(format!("{stamp:?} came back to life {} of end {}", self.life, self.end));
        }
        if back.payload[STAMP_BYTES..] != *stamp.body(back.payload.len()) {
            return Err(format!("{} came back altered", name()));
        }
        self.returned += 1;
        let Some(at) = number.checked_sub(self.base) else {
            // It had arrived.
            if !back.maybe_received || number < self.returned_below {
                return Err(format!("{} had arrived, and came back twice or as never sent", name()));
            }
            self.returned_below = number + 1;
            return Ok(());
        };
        let entry = self.entries.get(at as usize).copied().ok_or_else(|| format!("{} was never sent", name()))?;
        if entry.returned.is_some() {
            return Err(format!("{} came back twice", name()));
        }
        if entry.received && !back.maybe_received {
            return Err(format!("{} came back as never sent, but had arrived", name()));
        }
        self.entries[at as usize].returned = Some(back.maybe_received);
        Ok(())
    }

    /// The sender crashed.
    pub fn excuse(&mut self) {
        self.excused = true;
    }

    /// Messages of which nothing is known yet.
    pub fn open(&self) -> usize {
        self.entries.iter().filter(|entry| !entry.received && entry.returned.is_none()).count()
    }

    /// Nothing more can become of its messages: all must be accounted for.
    pub fn close(&self) -> Result<(), String> {
        match self.open() {
            open if open > 0 && !self.excused => {
                Err(format!("{open} messages of life {} of end {} were lost without a word", self.life, self.end))
            }
            _ => Ok(()),
        }
    }

    /// Gives back what it does not need.
    pub fn compact(&mut self) {
        self.entries.shrink_to_fit();
        self.lines.values_mut().for_each(|line| line.waiting.shrink_to_fit());
    }
}
