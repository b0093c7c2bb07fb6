//! When which association wants to be called. Lazy: a deadline that moved later stays where it is until
//! it comes; only an earlier one is entered.

use crate::time::Time;
use std::collections::BTreeSet;

/// Deadlines by slot.
#[derive(Debug, Default)]
pub struct Deadlines {
    set: BTreeSet<(Time, u32)>,
}

impl Deadlines {
    /// Notes that `slot` wants to be called at `wanted`; `entered` is what stands in the set for it.
    pub fn update(&mut self, slot: u32, entered: &mut Option<Time>, wanted: Option<Time>) {
        let Some(at) = wanted else { return };
        if entered.is_none_or(|entered| at < entered) {
            self.remove(slot, entered);
            self.set.insert((at, slot));
            *entered = Some(at);
        }
    }

    /// Forgets `slot`.
    pub fn remove(&mut self, slot: u32, entered: &mut Option<Time>) {
        if let Some(at) = entered.take() {
            self.set.remove(&(at, slot));
        }
    }

    /// The next slot whose time has come.
    pub fn pop_due(&mut self, now: Time) -> Option<u32> {
        self.set.first().filter(|(at, _)| *at <= now)?;
        self.set.pop_first().map(|(_, slot)| slot)
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Time> {
        self.set.first().map(|(at, _)| *at)
    }

    #[cfg(feature = "fuzzing")]
    pub fn len(&self) -> usize {
        self.set.len()
    }

    #[cfg(feature = "fuzzing")]
    pub fn has(&self, slot: u32, at: Time) -> bool {
        self.set.contains(&(at, slot))
    }
}
