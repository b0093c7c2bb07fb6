//! Many associations that have something to read at the same time, and are answered at the same time: what is sent on one
//! of them waits a moment for others, and leaves with them in one call.

use esock_proto::Time;
use std::time::Duration;

/// So many associations are a crowd.
const CROWD: usize = 4;

/// A crowd is answered in so many parts: the other end has the first while the next are written.
const PARTS: usize = 3;

/// A message waits for no longer, and for nobody who takes longer.
const PATIENCE: Duration = Duration::from_micros(50);

/// See the module.
#[derive(Debug, Default)]
pub struct Crowd {
    /// Associations that have become readable in this turn.
    readable: usize,
    /// How many of those of the last turn may still be answered.
    expected: usize,
    /// When the last answer came.
    seen: Time,
    /// How many answers leave together.
    part: usize,
    /// How many wait, and since when.
    waiting: usize,
    since: Time,
}

impl Crowd {
    /// An association can be read.
    pub fn on_readable(&mut self) {
        self.readable += 1;
    }

    /// The background task has taken a turn, and sent what there was.
    pub fn on_turn(&mut self, now: Time) {
        let readable = std::mem::take(&mut self.readable);
        let expected = if readable < CROWD { 0 } else { readable };
        *self = Self { expected, seen: now, part: readable.div_ceil(PARTS), ..Self::default() };
    }

    /// What there was has been sent.
    pub fn on_flush(&mut self) {
        self.waiting = 0;
    }

    /// Whether a message waits for others.
    pub fn waits(&self) -> bool {
        self.waiting > 0
    }

    /// A message was taken. Says whether it waits for others.
    pub fn gathers(&mut self, now: Time) -> bool {
        if self.expected == 0 || now.since(self.seen) >= PATIENCE {
            self.expected = 0;
            return false;
        }
        self.expected -= 1;
        self.seen = now;
        if self.waiting == 0 {
            self.since = now;
        }
        self.waiting += 1;
        self.expected > 0 && self.waiting < self.part && now.since(self.since) < PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(micros: u64) -> Time {
        Time::from_nanos(1_000_000_000 + micros * 1000)
    }

    fn crowd_of(readable: usize) -> Crowd {
        let mut crowd = Crowd::default();
        (0..readable).for_each(|_| crowd.on_readable());
        crowd.on_turn(micros(0));
        crowd
    }

    /// How many leave together, when one comes every so many microseconds.
    fn leave(crowd: &mut Crowd, at: &mut u64, every: u64) -> usize {
        let waited = (0..).take_while(|_| {
            *at += every;
            crowd.gathers(micros(*at))
        });
        let count = waited.count() + 1;
        crowd.on_flush();
        count
    }

    #[test]
    fn the_answers_of_a_crowd_leave_in_parts_and_those_of_few_at_once() {
        let (mut few, mut at) = (crowd_of(CROWD - 1), 0);
        assert!((0..CROWD).all(|_| leave(&mut few, &mut at, 1) == 1));
        let (mut crowd, mut at) = (crowd_of(10), 0);
        let parts = std::array::from_fn(|_| leave(&mut crowd, &mut at, 1));
        assert_eq!(parts, [4, 4, 2, 1], "and who is not of it waits for nobody");
    }

    #[test]
    fn nobody_waits_long() {
        let (mut crowd, mut at) = (crowd_of(1000), 0);
        assert!((0..3).all(|_| leave(&mut crowd, &mut at, 10) == 6));
        assert_eq!(leave(&mut crowd, &mut at, 50), 1, "who comes late is not waited for");
        assert_eq!(leave(&mut crowd, &mut at, 1), 1, "nor is anybody after that");
    }
}
