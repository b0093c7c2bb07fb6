//! Links: one direction between two hosts.

use esock_proto::Time;
use rand::RngExt;
use rand::rngs::StdRng;
use std::time::Duration;

/// How packets get lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// Each with this probability.
    Random(f64),
    /// Gilbert-Elliott: in good times none, in bad times most.
    Bursty {
        /// Probability, per packet, that bad times begin.
        begins: f64,
        /// Probability, per packet, that they end.
        ends: f64,
        /// Probability of loss while they last.
        loss: f64,
    },
}

/// What a link does to packets. The default is a perfect one of 1 ms.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkConfig {
    /// Bits per second; `None`: any number.
    pub rate: Option<u64>,
    /// One-way delay.
    pub delay: Duration,
    /// Random addition to the delay, up to this: packets may overtake each other.
    pub jitter: Duration,
    /// Bytes that wait for the link at most (with a rate).
    pub queue_bytes: usize,
    /// How packets get lost.
    pub loss: Loss,
    /// Probability that a packet is held back by `reorder_by`.
    pub reorder: f64,
    /// How long.
    pub reorder_by: Duration,
    /// Probability that a packet arrives twice.
    pub duplicate: f64,
    /// Probability that bits of a packet are flipped.
    pub corrupt: f64,
    /// Largest IP packet, in bytes.
    pub mtu: usize,
    /// Whether the sender hears of packets that are too large.
    pub icmp: bool,
    /// From when to when nothing passes.
    pub black_holes: Vec<(Time, Time)>,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            rate: None,
            delay: Duration::from_millis(1),
            jitter: Duration::ZERO,
            queue_bytes: usize::MAX,
            loss: Loss::Random(0.0),
            reorder: 0.0,
            reorder_by: Duration::from_millis(5),
            duplicate: 0.0,
            corrupt: 0.0,
            mtu: 65_535,
            icmp: false,
            black_holes: Vec::new(),
        }
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It arrives at these times; the flag says that bits are flipped on the way.
    Arrives(Vec<(Time, bool)>),
    /// It is larger than the MTU, and the sender hears of it.
    TooBig,
    /// Nothing more is heard of it.
    Lost,
}

/// A link at work.
#[derive(Debug)]
pub struct Link {
    /// What it does.
    pub config: LinkConfig,
    /// When the last bit of what waits has left.
    busy_until: Time,
    bad_times: bool,
}

impl Link {
    /// An idle one.
    pub fn new(config: LinkConfig) -> Self {
        Self { config, busy_until: Time::ZERO, bad_times: false }
    }

    fn loses(&mut self, rng: &mut StdRng) -> bool {
        match self.config.loss {
            Loss::Random(probability) => rng.random_bool(probability),
            Loss::Bursty { begins, ends, loss } => {
                let change = if self.bad_times { ends } else { begins };
                self.bad_times ^= rng.random_bool(change);
                self.bad_times && rng.random_bool(loss)
            }
        }
    }

    /// Decides on a packet of `bytes` (IP header included) that enters at `now`.
    pub fn enter(&mut self, now: Time, bytes: usize, dont_fragment: bool, rng: &mut StdRng) -> Fate {
        if self.config.black_holes.iter().any(|(from, to)| *from <= now && now < *to) {
            return Fate::Lost;
        }
        if bytes > self.config.mtu && dont_fragment {
            return if self.config.icmp { Fate::TooBig } else { Fate::Lost };
        }
        let mut leaves = now;
        if let Some(rate) = self.config.rate {
            let time = |bytes: u128| Duration::from_nanos((bytes * 8_000_000_000 / u128::from(rate)) as u64);
            let waiting = self.busy_until.since(now).as_nanos() * u128::from(rate) / 8_000_000_000;
            if waiting + bytes as u128 > self.config.queue_bytes as u128 {
                return Fate::Lost;
            }
            self.busy_until = self.busy_until.max(now) + time(bytes as u128);
            leaves = self.busy_until;
        }
        if self.loses(rng) {
            return Fate::Lost;
        }
        let copies = if rng.random_bool(self.config.duplicate) { 2 } else { 1 };
        let arrive = |rng: &mut StdRng| {
            let mut at = leaves + self.config.delay;
            if !self.config.jitter.is_zero() {
                at = at + self.config.jitter.mul_f64(rng.random());
            }
            if rng.random_bool(self.config.reorder) {
                at = at + self.config.reorder_by.mul_f64(rng.random());
            }
            (at, rng.random_bool(self.config.corrupt))
        };
        Fate::Arrives((0..copies).map(|_| arrive(rng)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn a_rate_spaces_packets_and_a_queue_has_an_end() {
        let mut rng = StdRng::seed_from_u64(1);
        let config = LinkConfig { rate: Some(8_000_000), queue_bytes: 3000, ..LinkConfig::default() };
        let mut link = Link::new(config);
        let mut arrivals = Vec::new();
        for _ in 0..5 {
            if let Fate::Arrives(times) = link.enter(Time::ZERO, 1000, true, &mut rng) {
                arrivals.push(times[0].0.as_nanos() / 1_000_000);
            }
        }
        // 1000 bytes take 1 ms, the way takes 1 ms; the queue holds three.
        assert_eq!(arrivals, [2, 3, 4]);
    }

    #[test]
    fn black_holes_open_and_close_and_large_packets_are_refused() {
        let mut rng = StdRng::seed_from_u64(1);
        let at = Time::from_millis;
        let config = LinkConfig { mtu: 1500, icmp: true, black_holes: vec![(at(10), at(20))], ..LinkConfig::default() };
        let mut link = Link::new(config);
        assert_eq!(link.enter(at(10), 100, true, &mut rng), Fate::Lost);
        assert!(matches!(link.enter(at(20), 100, true, &mut rng), Fate::Arrives(_)));
        assert_eq!(link.enter(at(20), 1501, true, &mut rng), Fate::TooBig);
        assert!(matches!(link.enter(at(20), 1501, false, &mut rng), Fate::Arrives(_)));
    }

    #[test]
    fn loss_is_as_likely_as_it_says() {
        let mut rng = StdRng::seed_from_u64(1);
        let bursty = Loss::Bursty { begins: 0.01, ends: 0.2, loss: 0.9 };
        for (loss, expected) in [(Loss::Random(0.1), 0.1), (bursty, 0.9 * 0.01 / 0.21)] {
            let mut link = Link::new(LinkConfig { loss, ..LinkConfig::default() });
            let lost = (0..100_000).filter(|_| link.enter(Time::ZERO, 100, true, &mut rng) == Fate::Lost).count();
            let share = lost as f64 / 100_000.0;
            assert!((share - expected).abs() < 0.01, "{share} of {expected}");
        }
    }
}
