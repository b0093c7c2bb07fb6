//! The workload that two peers exchange: what message number `i` looks like follows from its seed alone,
//! so each end verifies what it receives without having seen what the other sent.
//!
//! `peers/workload.c` is the same in C; a test compares the two.

use std::str::FromStr;

/// The payload protocol identifier of message 0; message `i` has this plus `i`. Nobody registered
/// these, so tshark does not look for a protocol in the data.
pub const PPID_BASE: u32 = 0x4553_0000;

/// The payload protocol identifier of a peer's last message: it has verified all that it expected.
pub const DONE_PPID: u32 = PPID_BASE | 0xffff;

/// One direction of an exchange: `none`, `fixed:LENGTH:COUNT:SEED` or `mixed:TOTAL:LARGEST:SEED`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workload {
    lengths: Vec<usize>,
    seed: u64,
    mixed: bool,
}

fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn message_seed(seed: u64, index: usize) -> u64 {
    mix(seed ^ (index as u64).wrapping_mul(0xd134_2543_de82_ef95))
}

/// Sizes of all magnitudes alike: a random power of two, then a random length up to it.
fn mixed_length(seed: u64, index: usize, largest: u64) -> u64 {
    let random = message_seed(seed, index);
    match index {
        0 => 1,
        1 => largest,
        _ => (1 + (random >> 8) % (1 << (random % 21))).min(largest),
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no workload: use none, fixed:LENGTH:COUNT:SEED or mixed:TOTAL:LARGEST:SEED");
        let mut words = text.split(':');
        let kind = words.next().unwrap_or_default();
        let numbers = words.map(str::parse).collect::<Result<Vec<u64>, _>>().map_err(|_| wrong())?;
        match (kind, numbers.as_slice()) {
            ("none", &[]) => Ok(Self::default()),
            ("fixed", &[length, count, seed]) if length > 0 => {
                Ok(Self { lengths: vec![length as usize; count as usize], seed, mixed: false })
            }
            ("mixed", &[total, largest, seed]) if largest > 0 => {
                let (mut lengths, mut left) = (Vec::new(), total);
                while left > 0 {
                    let length = mixed_length(seed, lengths.len(), largest).min(left);
                    left -= length;
                    lengths.push(length as usize);
                }
                Ok(Self { lengths, seed, mixed: true })
            }
            _ => Err(wrong()),
        }
    }
}

impl Workload {
    /// How many messages.
    pub fn count(&self) -> usize {
        self.lengths.len()
    }

    /// Bytes in all.
    pub fn total(&self) -> u64 {
        self.lengths.iter().map(|length| *length as u64).sum()
    }

    /// The largest message, in bytes.
    pub fn largest(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(0)
    }

    /// The stream of message `index`.
    pub fn stream(index: usize, streams: u16) -> u16 {
        (index % usize::from(streams)) as u16
    }

    /// Whether message `index` is sent outside its stream's order.
    pub fn is_unordered(&self, index: usize) -> bool {
        self.mixed && index % 8 == 5
    }

    /// The contents of message `index`.
    pub fn message(&self, index: usize) -> Vec<u8> {
        let length = self.lengths[index];
        let mut word = message_seed(self.seed, index);
        let mut out = Vec::with_capacity(length.next_multiple_of(8));
        while out.len() < length {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.truncate(length);
        out
    }

    /// The checksum of message `index` as received; those of all messages are added up, in whatever
    /// order they came.
    pub fn sum(index: usize, data: &[u8]) -> u64 {
        let mut sum = mix((index as u64) << 32 | data.len() as u64);
        for chunk in data.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            sum = (sum ^ u64::from_be_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            sum ^= sum >> 29;
        }
        sum
    }

    /// The checksum of all messages.
    pub fn total_sum(&self) -> u64 {
        (0..self.count()).fold(0, |sum: u64, index| sum.wrapping_add(Self::sum(index, &self.message(index))))
    }
}

/// Verifies what arrives against the workload that was expected.
#[derive(Debug)]
pub struct Verifier {
    expected: Workload,
    streams: u16,
    seen: Vec<bool>,
    next: Vec<usize>,
    /// Messages received.
    pub count: usize,
    /// Bytes received.
    pub bytes: u64,
    /// The sum of their checksums.
    pub sum: u64,
}

impl Verifier {
    /// Expects `expected`, spread over `streams` streams.
    pub fn new(expected: Workload, streams: u16) -> Self {
        let seen = vec![false; expected.count()];
        let next = (0..streams).map(usize::from).collect();
        let mut new = Self { expected, streams, seen, next, count: 0, bytes: 0, sum: 0 };
        (0..streams).for_each(|stream| new.skip_unordered(stream));
        new
    }

    /// Whether everything expected has arrived.
    pub fn is_complete(&self) -> bool {
        self.count == self.expected.count()
    }

    fn skip_unordered(&mut self, stream: u16) {
        let next = &mut self.next[usize::from(stream)];
        while *next < self.expected.count() && self.expected.is_unordered(*next) {
            *next += usize::from(self.streams);
        }
    }

    /// Takes message `index` as it arrived; the error says what is wrong with it.
    pub fn take(&mut self, index: usize, stream: u16, unordered: bool, data: &[u8]) -> Result<(), &'static str> {
        if index >= self.expected.count() {
            return Err("unknown-message");
        }
        if std::mem::replace(&mut self.seen[index], true) {
            return Err("message-came-twice");
        }
        if stream != Workload::stream(index, self.streams) {
            return Err("wrong-stream");
        }
        if unordered != self.expected.is_unordered(index) {
            return Err("wrong-order-flag");
        }
        if !unordered {
            if self.next[usize::from(stream)] != index {
                return Err("out-of-order");
            }
            self.next[usize::from(stream)] += usize::from(self.streams);
            self.skip_unordered(stream);
        }
        if data.len() != self.expected.lengths[index] {
            return Err("wrong-length");
        }
        if data != self.expected.message(index) {
            return Err("wrong-content");
        }
        self.count += 1;
        self.bytes += data.len() as u64;
        self.sum = self.sum.wrapping_add(Workload::sum(index, data));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_sizes_begin_with_the_smallest_and_the_largest_and_add_up_to_the_total() {
        let workload: Workload = "mixed:4194304:1048576:7".parse().unwrap();
        assert_eq!(workload.total(), 4 << 20);
        assert_eq!(workload.lengths[..2], [1, 1 << 20]);
        assert_eq!(workload.largest(), 1 << 20);
        assert!(workload.count() > 20);
    }

    #[test]
    fn a_verifier_notices_what_is_twice_missing_altered_or_out_of_order() {
        let workload: Workload = "fixed:100:6:3".parse().unwrap();
        let mut verifier = Verifier::new(workload.clone(), 2);
        assert_eq!(verifier.take(2, 0, false, &workload.message(2)), Err("out-of-order"));
        let mut verifier = Verifier::new(workload.clone(), 2);
        assert_eq!(verifier.take(0, 0, false, &workload.message(0)), Ok(()));
        assert_eq!(verifier.take(0, 0, false, &workload.message(0)), Err("message-came-twice"));
        assert_eq!(verifier.take(1, 1, false, &workload.message(0)), Err("wrong-content"));
        assert_eq!(verifier.take(6, 0, false, &[]), Err("unknown-message"));
        assert_eq!(verifier.take(3, 0, false, &workload.message(3)), Err("wrong-stream"));
        assert!(!verifier.is_complete());
    }
}
