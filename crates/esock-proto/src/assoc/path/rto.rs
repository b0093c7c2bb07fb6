//! The retransmission timeout (RFC 9260 §6.3.1).

use crate::config::Config;
use std::time::Duration;

/// Clock granularity: "should be as small as possible" (§6.3.1 G).
const GRANULARITY: Duration = Duration::from_micros(100);

/// Round-trip time of a path and the timeout that follows from it.
#[derive(Debug, Clone)]
pub struct Rto {
    srtt: Option<Duration>,
    rttvar: Duration,
    rto: Duration,
    min: Duration,
    max: Duration,
}

impl Rto {
    pub fn new(config: &Config) -> Self {
        // C1: before a measurement, RTO.Initial.
        Self { srtt: None, rttvar: Duration::ZERO, rto: config.rto_initial, min: config.rto_min, max: config.rto_max }
    }

    /// New bounds (RFC 6458 §8.1.1); the timeout keeps to them from now on.
    pub fn set_bounds(&mut self, min: Duration, max: Duration) {
        (self.min, self.max) = (min, max);
        self.rto = self.rto.clamp(min, max);
    }

    pub fn current(&self) -> Duration {
        self.rto
    }

    pub fn srtt(&self) -> Option<Duration> {
        self.srtt
    }

    pub fn rttvar(&self) -> Duration {
        self.rttvar
    }

    /// Takes a measurement. Karn's rule (C5) is the caller's: never of a chunk sent more than once.
    pub fn on_measurement(&mut self, rtt: Duration) {
        match self.srtt {
            // C2.
            None => {
                self.srtt = Some(rtt);
                self.rttvar = rtt / 2;
            }
            // C3: RTO.Beta 1/4, RTO.Alpha 1/8; the variation first, from the old srtt.
            Some(srtt) => {
                self.rttvar = self.rttvar * 3 / 4 + srtt.abs_diff(rtt) / 4;
                self.srtt = Some(srtt * 7 / 8 + rtt / 8);
            }
        }
        let srtt = self.srtt.unwrap_or(rtt);
        // G1: a variation of zero becomes the granularity. C6, C7: bounds.
        if self.rttvar.is_zero() {
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
