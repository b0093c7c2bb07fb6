//! HyStart++ (RFC 9406): slow start ends when the round-trip time grows, before packets are lost.

use super::Acked;
use std::time::Duration;

/// RFC 9406 §4.3.
const MIN_RTT_THRESH: Duration = Duration::from_millis(4);
const MAX_RTT_THRESH: Duration = Duration::from_millis(16);
const MIN_RTT_DIVISOR: u32 = 8;
const N_RTT_SAMPLE: u32 = 8;
const CSS_GROWTH_DIVISOR: usize = 4;
const CSS_ROUNDS: u32 = 5;
/// Without pacing a SACK opens the window by this many packets at most; with it, by what it acknowledges.
const L: usize = 8;

/// How fast slow start goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// By so many bytes.
    Grow(usize),
    /// It is over.
    Over,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct HyStart {
    paced: bool,
    /// The round ends when what was delivered by then has been delivered again: by the log's count.
    round_end: u64,
    last_round_min: Option<Duration>,
    this_round_min: Option<Duration>,
    samples: u32,
    /// Conservative slow start: the round-trip time at which it began, and how many rounds it has lasted.
    conservative: Option<(Duration, u32)>,
}

impl HyStart {
    pub fn new(paced: bool) -> Self {
        Self { paced, round_end: 0, last_round_min: None, this_round_min: None, samples: 0, conservative: None }
    }

    /// A SACK came in slow start. It says by how much the window may grow.
    pub fn on_ack(&mut self, acked: &Acked) -> Pace {
        if let Some(sample) = acked.sample {
            if sample.prior_delivered >= self.round_end && self.on_round(sample.delivered) {
                return Pace::Over;
            }
            if let Some(rtt) = sample.rtt {
                self.this_round_min = Some(self.this_round_min.map_or(rtt, |least| least.min(rtt)));
                self.samples += 1;
                self.look_at_delay();
            }
        }
        let most = if self.paced { usize::MAX } else { L * acked.pmdcs };
        let growth = acked.bytes.min(most);
        Pace::Grow(if self.conservative.is_some() { growth / CSS_GROWTH_DIVISOR } else { growth })
    }

    /// A round has ended. Returns whether slow start is over with it.
    fn on_round(&mut self, delivered: u64) -> bool {
        self.round_end = delivered;
        self.last_round_min = self.this_round_min.take().or(self.last_round_min);
        self.samples = 0;
        if let Some((_, rounds)) = &mut self.conservative {
            *rounds += 1;
            return *rounds >= CSS_ROUNDS;
        }
        false
    }

    /// RFC 9406 §4.2: the delay has grown, or it was a false alarm.
    fn look_at_delay(&mut self) {
        let (Some(current), Some(last)) = (self.this_round_min, self.last_round_min) else { return };
        if self.samples < N_RTT_SAMPLE {
            return;
        }
        match self.conservative {
            None => {
                let threshold = (last / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH, MAX_RTT_THRESH);
                if current >= last + threshold {
                    self.conservative = Some((current, 0));
                }
            }
            Some((baseline, _)) if current < baseline => self.conservative = None,
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assoc::path::log::Sample;

    /// A round of `count` SACKs with this round-trip time; returns the bytes that the window grew by.
    fn round(hystart: &mut HyStart, number: u64, millis: u64, count: u64) -> Option<usize> {
        let mut grown = 0;
        for at in 0..count {
            let sample = Sample {
                rtt: Some(Duration::from_millis(millis)),
                rate: 0,
                app_limited: false,
                prior_delivered: number * 10_000,
                delivered: (number + 1) * 10_000 - (count - 1 - at),
            };
            let acked = Acked {
                bytes: 1000,
                flight_before: 10_000,
                flight_after: 9_000,
                in_fast_recovery: false,
                pmdcs: 1000,
                srtt: None,
                sample: Some(sample),
            };
            match hystart.on_ack(&acked) {
                Pace::Grow(bytes) => grown += bytes,
                Pace::Over => return None,
            }
        }
        Some(grown)
    }

    #[test]
    fn slow_start_goes_on_while_the_delay_stays() {
        let mut hystart = HyStart::new(true);
        for number in 0..20 {
            assert_eq!(round(&mut hystart, number, 20, 10), Some(10_000));
        }
    }

    #[test]
    fn a_grown_delay_slows_it_down_and_ends_it_after_five_rounds() {
        let mut hystart = HyStart::new(true);
        round(&mut hystart, 0, 20, 10);
        // The threshold is 4 ms: an eighth of 20 is below it. It is seen with the eighth sample.
        let grown = round(&mut hystart, 1, 24, 10);
        assert_eq!(grown, Some(7 * 1000 + 3 * 250));
        for number in 2..6 {
            assert_eq!(round(&mut hystart, number, 26, 10), Some(2500), "round {number}");
        }
        assert_eq!(round(&mut hystart, 6, 26, 10), None);
    }

    #[test]
    fn a_delay_that_falls_again_was_a_false_alarm() {
        let mut hystart = HyStart::new(true);
        round(&mut hystart, 0, 20, 10);
        round(&mut hystart, 1, 30, 10);
        let grown = round(&mut hystart, 2, 20, 10);
        assert_eq!(grown, Some(7 * 250 + 3 * 1000));
    }
}
