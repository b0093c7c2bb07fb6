//! A window of bits that slides over serial numbers, worked on by words.

use std::collections::VecDeque;

const WORD: usize = 64;

/// Bits indexed from a moving front. Bits that were never set are clear; nothing is stored for them.
#[derive(Debug, Clone, Default)]
pub struct BitRing {
    words: VecDeque<u64>,
    /// Bits of the first word that have left the front.
    head: usize,
}

impl BitRing {
    /// Whether bit `at` is set.
    pub fn get(&self, at: usize) -> bool {
        let at = at + self.head;
        self.words.get(at / WORD).is_some_and(|word| word >> (at % WORD) & 1 == 1)
    }

    /// Sets bit `at`.
    pub fn set(&mut self, at: usize) {
        let at = at + self.head;
        if at / WORD >= self.words.len() {
            self.words.resize(at / WORD + 1, 0);
        }
        self.words[at / WORD] |= 1 << (at % WORD);
    }

    /// Clears bit `at`.
    pub fn clear(&mut self, at: usize) {
        let at = at + self.head;
        if let Some(word) = self.words.get_mut(at / WORD) {
            *word &= !(1 << (at % WORD));
        }
    }

    /// Forgets every bit, and what it was stored in.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// The first set bit at or after `from`.
    pub fn next_set(&self, from: usize) -> Option<usize> {
        self.next_by(from, |word| word)
    }

    /// The first clear bit at or after `from`; beyond what is stored, all are clear.
    pub fn next_clear(&self, from: usize) -> usize {
        self.next_by(from, |word| !word).unwrap_or_else(|| (self.words.len() * WORD).max(from + self.head) - self.head)
    }

    fn next_by(&self, from: usize, look: impl Fn(u64) -> u64) -> Option<usize> {
        let from = from + self.head;
        let mut mask = u64::MAX << (from % WORD);
        for index in from / WORD..self.words.len() {
            let found = look(self.words[index]) & mask;
            if found != 0 {
                return Some(index * WORD + found.trailing_zeros() as usize - self.head);
            }
            mask = u64::MAX;
        }
        None
    }

    /// Slides the front: what was bit `count` is bit 0 now.
    pub fn advance(&mut self, count: usize) {
        let front = self.head + count;
        let whole = (front / WORD).min(self.words.len());
        self.words.drain(..whole);
        self.head = if self.words.is_empty() { 0 } else { front % WORD };
    }

    #[cfg(test)]
    pub fn iter_set(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = usize> + '_ {
        let mut at = range.start;
        std::iter::from_fn(move || {
            let found = self.next_set(at).filter(|found| *found < range.end)?;
            at = found + 1;
            Some(found)
        })
    }
}

/// The same where hardly ever a bit is set: until then it is a pointer to nothing, and no association pays for more.
#[derive(Debug, Clone, Default)]
pub struct RareBits(Option<Box<BitRing>>);

impl RareBits {
    /// Whether bit `at` is set.
    pub fn get(&self, at: usize) -> bool {
        self.0.as_ref().is_some_and(|bits| bits.get(at))
    }

    /// Sets bit `at`.
    pub fn set(&mut self, at: usize) {
        self.0.get_or_insert_default().set(at);
    }

    /// Clears bit `at`.
    pub fn clear(&mut self, at: usize) {
        if let Some(bits) = &mut self.0 {
            bits.clear(at);
        }
    }

    /// Forgets every bit, and what it was stored in.
    pub fn reset(&mut self) {
        self.0 = None;
    }

    /// The first set bit at or after `from`.
    pub fn next_set(&self, from: usize) -> Option<usize> {
        self.0.as_ref()?.next_set(from)
    }

    /// The first clear bit at or after `from`.
    pub fn next_clear(&self, from: usize) -> usize {
        self.0.as_ref().map_or(from, |bits| bits.next_clear(from))
    }

    /// Slides the front: what was bit `count` is bit 0 now.
    pub fn advance(&mut self, count: usize) {
        if let Some(bits) = &mut self.0 {
            bits.advance(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use std::collections::BTreeSet;

    #[test]
    fn it_behaves_as_a_set_of_numbers_whatever_is_done_to_it() {
        let seed = std::env::var("ESOCK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
        println!("ESOCK_SEED={seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..50 {
            let (mut ring, mut model) = (BitRing::default(), BTreeSet::<usize>::new());
            for _ in 0..300 {
                let at = rng.random_range(0..400);
                match rng.random_range(0..6) {
                    0..=2 => {
                        ring.set(at);
                        model.insert(at);
                    }
                    3 => {
                        ring.clear(at);
                        model.remove(&at);
                    }
                    4 => {
                        let by = at / 8;
                        ring.advance(by);
                        model = model.iter().filter_map(|bit| bit.checked_sub(by)).collect();
                    }
                    _ => {
                        assert_eq!(ring.get(at), model.contains(&at));
                        assert_eq!(ring.next_set(at), model.range(at..).next().copied());
                        assert_eq!(ring.next_clear(at), (at..).find(|bit| !model.contains(bit)).unwrap());
                        let set: Vec<_> = ring.iter_set(at..at + 100).collect();
                        assert_eq!(set, model.range(at..at + 100).copied().collect::<Vec<_>>());
                    }
                }
            }
        }
    }
}
