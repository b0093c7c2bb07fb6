//! When which association wants to be called. Lazy: a deadline that moved later stays where it is until it comes; only an
//! earlier one is entered. So most packets change nothing here.

use crate::time::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Entries that nobody waits for any more are tolerated up to this number, and as many as there are others.
const MIN_STALE: usize = 64;

/// Deadlines by slot.
#[derive(Debug, Default)]
pub struct Deadlines {
    /// What stands for each slot.
    entered: Vec<Option<Time>>,
    /// How many slots have one.
    count: usize,
    /// All that was entered, the earliest first. What does not stand for its slot any more is passed over; the first one
    /// always does.
    heap: BinaryHeap<Reverse<(Time, u32)>>,
}

impl Deadlines {
    /// Notes that `slot` wants to be called at `wanted`.
    pub fn update(&mut self, slot: u32, wanted: Option<Time>) {
        let Some(at) = wanted else { return };
        let index = slot as usize;
        if index >= self.entered.len() {
            self.entered.resize(index + 1, None);
        }
        let entered = &mut self.entered[index];
        if entered.is_none_or(|entered| at < entered) {
            self.count += usize::from(entered.is_none());
            *entered = Some(at);
            self.heap.push(Reverse((at, slot)));
            self.tidy();
        }
    }

    /// Forgets `slot`.
    pub fn remove(&mut self, slot: u32) {
        if self.entered.get_mut(slot as usize).and_then(Option::take).is_some() {
            self.count -= 1;
            self.tidy();
        }
    }

    /// What stands for `slot`.
    pub fn of(&self, slot: u32) -> Option<Time> {
        self.entered.get(slot as usize).copied().flatten()
    }

    /// The next slot whose time has come.
    pub fn pop_due(&mut self, now: Time) -> Option<u32> {
        let slot = self.heap.peek().filter(|Reverse((at, _))| *at <= now).map(|Reverse((_, slot))| *slot)?;
        self.remove(slot);
        Some(slot)
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes out what stands first and for nobody; and all such, when they are too many.
    fn tidy(&mut self) {
        while self.heap.peek().is_some_and(|Reverse((at, slot))| self.of(*slot) != Some(*at)) {
            self.heap.pop();
        }
        if self.heap.len() > 2 * self.count + MIN_STALE {
            let entered = &self.entered;
            self.heap.retain(|Reverse((at, slot))| entered[*slot as usize] == Some(*at));
        }
    }

    /// Whether all that stands for a slot is found, and the heap is no larger than it may be. `is_used` knows the slots
    /// of associations.
    #[cfg(feature = "fuzzing")]
    pub fn check_invariants(&self, is_used: impl Fn(usize) -> bool) {
        let of_nobody = |(slot, at): (usize, &Option<Time>)| at.is_some() && !is_used(slot);
        assert!(!self.entered.iter().enumerate().any(of_nobody), "a deadline of nobody");
        assert_eq!(self.entered.iter().flatten().count(), self.count, "slots with a deadline");
        assert!(self.heap.len() <= 2 * self.count + MIN_STALE, "entries for nobody pile up");
        let mut found: Vec<(Time, u32)> = self.heap.iter().map(|Reverse(entry)| *entry).collect();
        found.retain(|(at, slot)| self.of(*slot) == Some(*at));
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), self.count, "a deadline is not found");
        assert_eq!(found.first().map(|(at, _)| *at), self.next(), "the first one stands for nobody");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn the_earliest_comes_first_and_entries_for_nobody_do_not_pile_up() {
        let seed = std::env::var("ESOCK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
        println!("ESOCK_SEED={seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut deadlines, mut model) = (Deadlines::default(), vec![None; 50]);
        let mut now = Time::ZERO;
        for _ in 0..20_000 {
            let slot = rng.random_range(0..50);
            match rng.random_range(0..10) {
                0 => {
                    deadlines.remove(slot);
                    model[slot as usize] = None;
                }
                1 => {
                    now = Time::from_millis(now.as_nanos() / 1_000_000 + rng.random_range(0..20));
                    while let Some(slot) = deadlines.pop_due(now) {
                        let at = model[slot as usize].take();
                        assert!(at.is_some_and(|at| at <= now), "{at:?} at {now:?}");
                    }
                }
                _ => {
                    let at = Time::from_millis(now.as_nanos() / 1_000_000 + rng.random_range(1..500));
                    deadlines.update(slot, Some(at));
                    let entered: &mut Option<Time> = &mut model[slot as usize];
                    *entered = Some(entered.map_or(at, |entered| entered.min(at)));
                }
            }
            assert_eq!(deadlines.next(), model.iter().flatten().min().copied());
            assert_eq!(deadlines.of(slot), model[slot as usize]);
            assert!(deadlines.heap.len() <= 2 * 50 + MIN_STALE, "{}", deadlines.heap.len());
        }
    }
}
