//! The retransmission timeout (RFC 9260 §6.3.1).

use crate::config::Config;
use std::time::Duration;

/// Clock granularity: "should be as small as possible" (§6.3.1 G).
const GRANULARITY: u64 = 100_000;

/// A longer round trip is none: so much can be multiplied below.
const LONGEST: u64 = u64::MAX / 16;

/// Round-trip time of a path and the timeout that follows from it, all in nanoseconds: half as large as durations, and
/// reckoned with in a fraction of the time.
#[derive(Debug, Clone)]
pub struct Rto {
    srtt: Option<u64>,
    rttvar: u64,
    rto: u64,
    min: u64,
    max: u64,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(LONGEST).min(LONGEST)
}

impl Rto {
    pub fn new(config: &Config) -> Self {
        let (min, max) = (nanos(config.rto_min), nanos(config.rto_max));
        // C1: before a measurement, RTO.Initial.
        Self { srtt: None, rttvar: 0, rto: nanos(config.rto_initial), min, max }
    }

    /// New bounds (RFC 6458 §8.1.1); the timeout keeps to them from now on.
    pub fn set_bounds(&mut self, min: Duration, max: Duration) {
        (self.min, self.max) = (nanos(min), nanos(max));
        self.rto = self.rto.clamp(self.min, self.max);
    }

    pub fn current(&self) -> Duration {
        Duration::from_nanos(self.rto)
    }

    pub fn srtt(&self) -> Option<Duration> {
        self.srtt.map(Duration::from_nanos)
    }

    pub fn rttvar(&self) -> Duration {
        Duration::from_nanos(self.rttvar)
    }

    /// Takes a measurement. Karn's rule (C5) is the caller's: never of a chunk sent more than once.
    pub fn on_measurement(&mut self, rtt: Duration) {
        let rtt = nanos(rtt);
        let srtt = match self.srtt {
            // C2.
            None => {
                self.rttvar = rtt / 2;
                rtt
            }
            // C3: RTO.Beta 1/4, RTO.Alpha 1/8; the variation first, from the old srtt.
            Some(srtt) => {
                self.rttvar = self.rttvar * 3 / 4 + srtt.abs_diff(rtt) / 4;
                srtt * 7 / 8 + rtt / 8
            }
        };
        self.srtt = Some(srtt);
        // G1: a variation of zero becomes the granularity. C6, C7: bounds.
        if self.rttvar == 0 {
            self.rttvar = GRANULARITY;
        }
        self.rto = (srtt + self.rttvar * 4).clamp(self.min, self.max);
    }

    /// §6.3.3 E2: doubles the timeout, up to RTO.Max.
    pub fn back_off(&mut self) {
        self.rto = (self.rto * 2).min(self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn measurements_give_the_numbers_of_the_rules() {
        let mut rto = Rto::new(&Config::default());
        assert_eq!(rto.current(), ms(1000));
        rto.on_measurement(ms(800));
        // C2: srtt 800, rttvar 400, rto 800 + 4 * 400.
        assert_eq!((rto.srtt(), rto.rttvar(), rto.current()), (Some(ms(800)), ms(400), ms(2400)));
        rto.on_measurement(ms(400));
        // C3: rttvar 0.75 * 400 + 0.25 * 400 = 400; srtt 700 + 50 = 750; rto 750 + 1600.
        assert_eq!((rto.srtt(), rto.rttvar(), rto.current()), (Some(ms(750)), ms(400), ms(2350)));
    }

    #[test]
    fn the_timeout_stays_within_its_bounds_and_doubles() {
        let mut rto = Rto::new(&Config::default());
        rto.on_measurement(ms(1));
        assert_eq!(rto.current(), ms(1000));
        for expected in [2000, 4000, 8000, 16000, 32000, 60000, 60000] {
            rto.back_off();
            assert_eq!(rto.current(), ms(expected));
        }
    }
}
