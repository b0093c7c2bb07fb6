//! What is measured.

use std::time::Duration;

/// A throughput.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bulk {
    /// User bytes received.
    pub bytes: u64,
    /// Messages received.
    pub messages: u64,
    /// In this time.
    pub time: Duration,
}

impl Bulk {
    /// Gigabits of user data per second.
    pub fn gigabits(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.time.as_secs_f64() / 1e9
    }

    /// Millions of messages per second.
    pub fn megamessages(&self) -> f64 {
        self.messages as f64 / self.time.as_secs_f64() / 1e6
    }
}

/// How often something happened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rate {
    /// So many times.
    pub count: u64,
    /// In this time.
    pub time: Duration,
}

impl Rate {
    /// Per second.
    pub fn per_second(&self) -> f64 {
        self.count as f64 / self.time.as_secs_f64()
    }
}

/// Round-trip times of a ping-pong, sorted.
#[derive(Debug, Clone)]
pub struct RoundTrips(Vec<Duration>);

impl RoundTrips {
    /// Sorts what was measured.
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time that this fraction of the exchanges took at most.
    pub fn percentile(&self, fraction: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * fraction).round() as usize).copied().unwrap_or_default()
    }
}

/// The middle of the values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[len / 2],
        len => (values[len / 2 - 1] + values[len / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn percentiles_are_of_sorted_times() {
        let times = RoundTrips::new((1..=101).rev().map(Duration::from_micros).collect());
        assert_eq!(times.percentile(0.5), Duration::from_micros(51));
        assert_eq!(times.percentile(1.0), Duration::from_micros(101));
        assert_eq!(RoundTrips::new(Vec::new()).percentile(0.5), Duration::ZERO);
    }

    #[test]
    fn a_throughput_is_in_units_of_user_data() {
        let bulk = Bulk { bytes: 250_000_000, messages: 2_000_000, time: Duration::from_secs(2) };
        assert_eq!((bulk.gigabits(), bulk.megamessages()), (1.0, 1.0));
    }
}
