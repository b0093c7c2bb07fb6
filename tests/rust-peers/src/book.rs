//! The book of one direction: what is to be sent, and whether it arrived as it was.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, VecDeque};

/// A message of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// The stream.
    pub stream: u16,
    /// Whether it is sent outside its stream's order.
    pub unordered: bool,
    /// Bytes.
    pub len: usize,
}

/// The messages of one direction.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// In the order of sending.
    pub messages: Vec<Planned>,
    seed: u64,
}

impl Plan {
    /// `count` messages of `len` bytes, ordered, over `streams` streams in turn.
    pub fn fixed(seed: u64, count: usize, len: usize, streams: u16) -> Self {
        let message = |index: usize| Planned { stream: (index % usize::from(streams)) as u16, unordered: false, len };
        Self { messages: (0..count).map(message).collect(), seed }
    }

    /// `total` bytes in messages of all magnitudes from 1 byte to `largest`, over `streams` streams, every eighth
    /// outside the order.
    pub fn mixed(seed: u64, total: usize, largest: usize, streams: u16) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut messages, mut left) = (Vec::new(), total);
        while left > 0 {
            let index = messages.len();
            let len = match index {
                0 => 1,
                1 => largest,
                _ => {
                    let magnitude = rng.random_range(0..=largest.ilog2());
                    rng.random_range(1..=1usize << magnitude)
                }
            };
            let len = len.min(largest).min(left);
            left -= len;
            messages.push(Planned { stream: (index % usize::from(streams)) as u16, unordered: index % 8 == 5, len });
        }
        Self { messages, seed }
    }

    /// The contents of a message.
    pub fn payload(&self, index: usize) -> Vec<u8> {
        let mut rng = StdRng::seed_from_u64(self.seed ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut payload = vec![0; self.messages[index].len];
        rand::Rng::fill_bytes(&mut rng, &mut payload);
        payload
    }

    /// Bytes in all.
    pub fn total(&self) -> usize {
        self.messages.iter().map(|message| message.len).sum()
    }
}

/// What is still to be sent and to arrive of a plan.
#[derive(Debug, Default)]
pub struct Book {
    plan: Plan,
    /// How many were sent.
    pub sent: usize,
    /// How many arrived.
    pub arrived: usize,
    /// Ordered messages that have not arrived, per stream.
    ordered: BTreeMap<u16, VecDeque<usize>>,
    /// Unordered messages that have not arrived.
    unordered: Vec<usize>,
}

impl Book {
    /// Nothing was sent.
    pub fn new(plan: Plan) -> Self {
        let mut book = Self { plan, ..Self::default() };
        for (index, message) in book.plan.messages.iter().enumerate() {
            match message.unordered {
                true => book.unordered.push(index),
                false => book.ordered.entry(message.stream).or_default().push_back(index),
            }
        }
        book
    }

    /// The next message to be sent, and its contents.
    pub fn next(&self) -> Option<(Planned, Vec<u8>)> {
        let message = *self.plan.messages.get(self.sent)?;
        Some((message, self.plan.payload(self.sent)))
    }

    /// Whether everything arrived.
    pub fn is_complete(&self) -> bool {
        self.arrived == self.plan.messages.len()
    }

    /// Takes a message as it arrived. `unordered` is `None` where the receiver is not told.
    ///
    /// The error says what is wrong with it.
    pub fn take(&mut self, stream: u16, unordered: Option<bool>, payload: &[u8]) -> Result<(), String> {
        let ordered = self.ordered.get(&stream).and_then(|line| line.front()).copied();
        if unordered != Some(true) && ordered.is_some_and(|index| self.is(index, payload)) {
            self.ordered.get_mut(&stream).and_then(VecDeque::pop_front);
        } else {
            let mut waiting = self.unordered.iter();
            let at = waiting.position(|&index| self.plan.messages[index].stream == stream && self.is(index, payload));
            let at = at.filter(|_| unordered != Some(false)).ok_or_else(|| {
                let len = payload.len();
                format!(
                    "message number {} to arrive ({len} bytes, stream {stream}, unordered: {unordered:?}) \
                     is not what was expected: {:?}",
                    self.arrived,
                    ordered.map(|index| self.plan.messages[index])
                )
            })?;
            self.unordered.swap_remove(at);
        }
        self.arrived += 1;
        Ok(())
    }

    /// Whether these are the contents of a message that was sent.
    fn is(&self, index: usize, payload: &[u8]) -> bool {
        index < self.sent && self.plan.messages[index].len == payload.len() && self.plan.payload(index) == payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(plan: &Plan) -> Book {
        Book { sent: plan.messages.len(), ..Book::new(plan.clone()) }
    }

    #[test]
    fn what_is_altered_twice_or_out_of_order_is_noticed() {
        let plan = Plan::fixed(1, 4, 50, 2);
        let mut book = sent(&plan);
        assert!(book.take(0, None, &plan.payload(2)).is_err(), "the second of its stream came first");
        assert!(book.take(1, None, &plan.payload(0)).is_err(), "on another stream");
        assert!(book.take(0, Some(true), &plan.payload(0)).is_err(), "marked as unordered");
        assert_eq!(book.take(0, None, &plan.payload(0)), Ok(()));
        assert!(book.take(0, None, &plan.payload(0)).is_err(), "twice");
        let mut altered = plan.payload(1);
        altered[49] ^= 1;
        assert!(book.take(1, None, &altered).is_err());
        assert!(!book.is_complete());
        for (stream, index) in [(1, 1), (0, 2), (1, 3)] {
            assert_eq!(book.take(stream, Some(false), &plan.payload(index)), Ok(()));
        }
        assert!(book.is_complete());
    }

    #[test]
    fn mixed_sizes_begin_with_the_smallest_and_the_largest_and_some_are_unordered() {
        let plan = Plan::mixed(7, 2 << 20, 256 << 10, 4);
        assert_eq!((plan.messages[0].len, plan.messages[1].len), (1, 256 << 10));
        assert_eq!(plan.total(), 2 << 20);
        let mut book = sent(&plan);
        let unordered: Vec<usize> = (0..plan.messages.len()).filter(|index| plan.messages[*index].unordered).collect();
        for &index in unordered.iter().rev() {
            assert_eq!(book.take(plan.messages[index].stream, None, &plan.payload(index)), Ok(()));
        }
        assert!(unordered.len() > 1);
        let never_sent = Book::new(plan.clone()).take(0, None, &plan.payload(0));
        assert!(never_sent.is_err(), "it was not sent yet");
    }
}
