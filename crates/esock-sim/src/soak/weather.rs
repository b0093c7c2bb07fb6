//! What the network is like for a while, and what befalls a link.

use crate::link::{LinkConfig, Loss};
use esock_proto::Time;
use rand::RngExt;
use rand::rngs::StdRng;
use std::time::Duration;

fn millis(rng: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(range))
}

/// The conditions of one path, both ways, for a while.
pub fn conditions(rng: &mut StdRng) -> LinkConfig {
    let mut link = LinkConfig { delay: millis(rng, 1..80), ..LinkConfig::default() };
    if rng.random_bool(0.3) {
        link.rate = Some(rng.random_range(1_000_000..100_000_000));
        link.queue_bytes = rng.random_range(20_000..200_000);
    }
    match rng.random_range(0..6) {
        0 => link.loss = Loss::Random(rng.random_range(0.0001..0.1)),
        1 => link.loss = Loss::Bursty { begins: rng.random_range(0.0001..0.02), ends: 0.3, loss: 0.8 },
        _ => {}
    }
    if rng.random_bool(0.2) {
        link.reorder = rng.random_range(0.01..0.3);
        link.reorder_by = millis(rng, 1..100);
        link.jitter = millis(rng, 0..20);
    }
    if rng.random_bool(0.2) {
        link.duplicate = rng.random_range(0.001..0.1);
    }
    if rng.random_bool(0.1) {
        link.corrupt = rng.random_range(0.0001..0.02);
    }
    // The way may become narrower than what was found to pass.
    link.mtu = match rng.random_range(0..4) {
        0 => rng.random_range(1280..1500),
        1 => 1500,
        _ => rng.random_range(1500..9200),
    };
    link.icmp = rng.random_bool(0.5);
    link
}

/// What befalls a link.
#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    /// These paths (by bit) are black for as long; with `one_way`, only towards that end.
    Flap { paths: u32, one_way: Option<usize>, lasts: Duration },
    /// The host of this end crashes and comes back at once.
    Crash(usize),
    /// This end shuts down, or aborts.
    Shutdown(usize),
    /// See `Shutdown`.
    Abort(usize),
    /// The client's program forgets its association (an ABORT leaves) and sets up anew.
    Release,
    /// Both ends abort, and both set up anew at once.
    Collide,
    /// The host of this end is suspended for as long.
    Sleep(usize, Duration),
}

/// What a link has to expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its association lives for as long as the soak: paths come and go.
    Eternal,
    /// Its client crashes, ends and returns; outages outlast associations.
    Hard,
    /// As that, and the server crashes too.
    Hardest,
}

impl Fate {
    /// The next trouble of a link with so many paths.
    pub fn trouble(self, rng: &mut StdRng, paths: u32) -> Trouble {
        let all = (1 << paths) - 1;
        let one_way = rng.random_bool(0.3).then(|| rng.random_range(0..2));
        match (self, rng.random_range(0..12)) {
            // Short enough that no association dies of it.
            (Self::Eternal, 0..3) => Trouble::Flap { paths: all, one_way, lasts: millis(rng, 100..60_000) },
            (Self::Eternal, 3) => Trouble::Sleep(0, millis(rng, 1000..40_000)),
            (Self::Eternal, _) | (_, 0..3) => {
                Trouble::Flap { paths: rng.random_range(1..=all), one_way, lasts: millis(rng, 100..120_000) }
            }
            (_, 3) => Trouble::Flap { paths: all, one_way, lasts: millis(rng, 10_000..1_200_000) },
            (_, 4 | 5) => Trouble::Crash(0),
            (Self::Hardest, 6) => Trouble::Crash(1),
            (_, 6) => Trouble::Release,
            (_, 7) => Trouble::Abort(rng.random_range(0..2)),
            (_, 8) => Trouble::Collide,
            (Self::Hardest, 9) => Trouble::Sleep(1, millis(rng, 1000..300_000)),
            (_, 9) => Trouble::Sleep(0, millis(rng, 1000..3_600_000)),
            _ => Trouble::Shutdown(rng.random_range(0..2)),
        }
    }

    /// How long until the next trouble.
    pub fn interval(self, rng: &mut StdRng, now: Time) -> Time {
        now + millis(rng, 10_000..900_000)
    }
}
