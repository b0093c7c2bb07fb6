//! What is sent, and the check of what arrives: cheap, and the same for every peer.
//!
//! A few messages of a known content go round and round. Of each that arrives, the length and eight bytes in every
//! kilobyte are compared: enough to notice a message that is lost, repeated, torn or out of its place.

use bytes::Bytes;

/// Where content is compared: at every such offset ...
const SAMPLE_EVERY: usize = 1024;

/// ... this many bytes.
const SAMPLE_BYTES: usize = 8;

/// Messages of one size.
#[derive(Debug, Clone)]
pub struct Pattern {
    messages: Vec<Bytes>,
}

impl Pattern {
    /// Messages of `message_bytes`: few enough to stay in the cache, of a number that is prime, so that what is out of
    /// place by a power of two is noticed.
    pub fn new(message_bytes: usize) -> Self {
        let count = Self::count(message_bytes);
        let messages = (0..count).map(|k| (0..message_bytes).map(|i| content(k, i)).collect()).collect();
        Self { messages }
    }

    /// How many different messages there are.
    pub fn count(message_bytes: usize) -> usize {
        match message_bytes {
            0..=4096 => 61,
            4097..=65536 => 13,
            _ => 3,
        }
    }

    /// The `n`th message.
    pub fn message(&self, n: u64) -> &Bytes {
        &self.messages[(n % self.messages.len() as u64) as usize]
    }

    /// The `n`th message has arrived.
    ///
    /// # Panics
    ///
    /// If it is another.
    pub fn check(&self, n: u64, payload: &[u8]) {
        let wanted = self.message(n);
        assert_eq!(payload.len(), wanted.len(), "message {n} has the wrong length");
        assert!(same(payload, wanted), "message {n} has the wrong content");
    }
}

/// The byte at offset `i` of the `k`th message; usrsctp.c has the same.
fn content(k: usize, i: usize) -> u8 {
    (k * 31 + i * 7 + (i >> 8) * 13) as u8
}

/// Checks messages that arrive whole.
#[derive(Debug)]
pub struct Checker {
    pattern: Pattern,
    next: u64,
}

impl Checker {
    /// Expects the first message.
    pub fn new(message_bytes: usize) -> Self {
        Self { pattern: Pattern::new(message_bytes), next: 0 }
    }

    /// The next message has arrived.
    ///
    /// # Panics
    ///
    /// If it is another.
    pub fn message(&mut self, payload: &[u8]) {
        self.pattern.check(self.next, payload);
        self.next += 1;
    }
}

/// Checks the messages of a stream of bytes, which has no boundaries.
#[derive(Debug)]
pub struct StreamChecker {
    /// All messages, and the first bytes again.
    period: Vec<u8>,
    period_bytes: usize,
    at: usize,
}

impl StreamChecker {
    /// Expects the first byte.
    pub fn new(message_bytes: usize) -> Self {
        let mut period: Vec<u8> = Pattern::new(message_bytes).messages.concat();
        let period_bytes = period.len();
        period.extend_from_within(..SAMPLE_BYTES.min(period_bytes));
        Self { period, period_bytes, at: 0 }
    }

    /// The next bytes have arrived.
    ///
    /// # Panics
    ///
    /// If they are others.
    pub fn bytes(&mut self, chunk: &[u8]) {
        for (number, sample) in chunk.chunks(SAMPLE_EVERY).enumerate() {
            let at = (self.at + number * SAMPLE_EVERY) % self.period_bytes;
            let len = sample.len().min(SAMPLE_BYTES);
            assert!(sample[..len] == self.period[at..at + len], "byte {at} of the pattern is wrong");
        }
        self.at = (self.at + chunk.len()) % self.period_bytes;
    }
}

fn same(a: &[u8], b: &[u8]) -> bool {
    let starts = |bytes: &[u8]| bytes[..bytes.len().min(SAMPLE_BYTES)].try_into().map(u64::from_le_bytes);
    a.chunks(SAMPLE_EVERY).zip(b.chunks(SAMPLE_EVERY)).all(|(a, b)| match (starts(a), starts(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn messages_in_order_pass() {
        for bytes in [1, 64, 1400, 16 << 10, 256 << 10] {
            let pattern = Pattern::new(bytes);
            let mut checker = Checker::new(bytes);
            (0..70).for_each(|n| checker.message(pattern.message(n)));
        }
    }

    #[test]
    fn a_lost_a_torn_and_an_altered_message_are_noticed() {
        let pattern = Pattern::new(5000);
        let bad = |payload: Bytes| catch_unwind(|| Checker::new(5000).message(&payload)).is_err();
        assert!(!bad(pattern.message(0).clone()));
        assert!(bad(pattern.message(1).clone()), "the first was lost");
        assert!(bad(pattern.message(0).slice(..4999)));
        let mut moved = pattern.message(0).to_vec();
        moved.rotate_left(1);
        assert!(bad(moved.into()));
        let mut altered = pattern.message(0).to_vec();
        altered[4096] ^= 1;
        assert!(bad(altered.into()));
    }

    #[test]
    fn a_stream_may_be_cut_anywhere_and_must_not_lose_a_byte() {
        let all: Vec<u8> = (0..200).flat_map(|n| Pattern::new(64).message(n).to_vec()).collect();
        let mut checker = StreamChecker::new(64);
        all.chunks(1777).for_each(|chunk| checker.bytes(chunk));
        let lossy = move || {
            let mut checker = StreamChecker::new(64);
            checker.bytes(&all[..100]);
            checker.bytes(&all[101..]);
        };
        assert!(catch_unwind(lossy).is_err());
    }
}
