//! Situations, made from a seed.

use crate::link::{LinkConfig, Loss};
use esock_proto::{Address, Config, CongestionAlgorithm, LossRecovery, StackConfig, Time, Tsn};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// What is special about a situation; the runs of a test are counted by these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// Packets get lost, one by one.
    RandomLoss,
    /// Packets get lost in bursts.
    BurstyLoss,
    /// Packets overtake each other.
    Reordering,
    /// Packets arrive twice.
    Duplication,
    /// Bits flip.
    Corruption,
    /// Several paths.
    SeveralPaths,
    /// IPv4 and IPv6.
    MixedFamilies,
    /// A path is black for a while.
    BlackHole,
    /// A link carries less than packets begin with.
    SmallMtu,
    /// A reader takes its time.
    SlowReader,
    /// A receive window of a few packets.
    TinyWindow,
    /// One end crashes and comes back.
    Restart,
    /// One end aborts in the middle.
    Abort,
    /// One end shuts down while both still send.
    EarlyShutdown,
    /// TSNs wrap.
    TsnWrap,
    /// Messages outside their streams' order.
    Unordered,
    /// An end with CUBIC.
    Cubic,
    /// An end with BBR.
    Bbr,
    /// An end that finds losses by time.
    Rack,
    /// An end with HyStart++.
    HyStart,
    /// An end that paces what it sends.
    Pacing,
}

/// How one end behaves.
#[derive(Debug, Clone)]
pub struct Side {
    /// Its parameters.
    pub config: Config,
    /// Its first TSN, if not random.
    pub initial_tsn: Option<Tsn>,
    /// Messages that it sends.
    pub messages: usize,
    /// The largest, in bytes.
    pub largest: usize,
    /// Streams that it uses.
    pub streams: u16,
    /// The share of unordered messages.
    pub unordered: f64,
    /// Time between bunches of messages.
    pub send_every: Duration,
    /// Time between looks at what has arrived, and messages taken at each.
    pub read_every: Duration,
    /// See `read_every`.
    pub read_at_once: usize,
}

/// What happens besides sending and reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything is exchanged, then host 0 shuts down.
    WhenDone,
    /// This host shuts down at this time, whatever is under way.
    ShutdownAt(usize, Time),
    /// This host aborts at this time.
    AbortAt(usize, Time),
}

/// A situation: two hosts, paths between them, what they send, and what goes wrong.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What it was made from.
    pub seed: u64,
    /// Its peculiarities.
    pub features: Vec<Feature>,
    /// Addresses of both hosts, path by path.
    pub addresses: [Vec<Address>; 2],
    /// The links of each path, there and back.
    pub links: Vec<[LinkConfig; 2]>,
    /// Both ends; host 0 connects.
    pub sides: [Side; 2],
    /// When this host crashes and comes back at once.
    pub restart: Option<(usize, Time)>,
    /// How it ends.
    pub ending: Ending,
    /// When the last outage is over.
    pub calm_from: Time,
}

fn millis(rng: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(range))
}

impl Scenario {
    /// The situation of a seed.
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut features = Vec::new();
        let paths = [1, 1, 2, 2, 3][rng.random_range(0..5)];
        if paths > 1 {
            features.push(Feature::SeveralPaths);
        }
        let mixed = rng.random_bool(0.3);
        let addresses = [0, 1].map(|host| {
            let address = |path: usize| -> Address {
                if mixed && path % 2 == 1 {
                    Ipv6Addr::new(0x2001, 0xdb8, 0, path as u16, 0, 0, 0, host + 1).into()
                } else {
                    Ipv4Addr::new(10, 0, path as u8, host as u8 + 1).into()
                }
            };
            (0..paths).map(address).collect()
        });
        if mixed && paths > 1 {
            features.push(Feature::MixedFamilies);
        }
        let mut calm_from = Time::from_millis(1000);
        let links = (0..paths).map(|_| Self::links(&mut rng, &mut features, &mut calm_from)).collect();
        let mut sides = [0, 1].map(|_| Self::side(&mut rng, &mut features));
        // With randomness of its own: a seed stays the situation that it was.
        let mut choices = StdRng::seed_from_u64(!seed);
        sides.iter_mut().for_each(|side| Self::choose_recovery(&mut choices, &mut side.config, &mut features));
        let moment = |rng: &mut StdRng| Time::from_millis(1000) + millis(rng, 20..15_000);
        let restart = rng.random_bool(0.15).then(|| (rng.random_range(0..2), moment(&mut rng)));
        if let Some((_, at)) = restart {
            features.push(Feature::Restart);
            calm_from = calm_from.max(at);
        }
        let ending = match rng.random_range(0..10) {
            0 => {
                features.push(Feature::Abort);
                Ending::AbortAt(rng.random_range(0..2), moment(&mut rng))
            }
            1 | 2 => {
                features.push(Feature::EarlyShutdown);
                Ending::ShutdownAt(rng.random_range(0..2), moment(&mut rng))
            }
            _ => Ending::WhenDone,
        };
        features.sort_unstable();
        features.dedup();
        Self { seed, features, addresses, links, sides, restart, ending, calm_from }
    }

    /// Congestion control and loss recovery: half of all sides have the default.
    fn choose_recovery(rng: &mut StdRng, config: &mut Config, features: &mut Vec<Feature>) {
        if rng.random_bool(0.5) {
            return;
        }
        config.congestion = match rng.random_range(0..3) {
            0 => CongestionAlgorithm::Rfc9260,
            1 => CongestionAlgorithm::Cubic,
            _ => CongestionAlgorithm::Bbr,
        };
        config.loss_recovery = if rng.random_bool(0.7) { LossRecovery::Rack } else { LossRecovery::Rfc9260 };
        (config.hystart, config.pacing) = (rng.random_bool(0.5), rng.random_bool(0.5));
        let chosen = [
            (Feature::Cubic, config.congestion == CongestionAlgorithm::Cubic),
            (Feature::Bbr, config.congestion == CongestionAlgorithm::Bbr),
            (Feature::Rack, config.loss_recovery == LossRecovery::Rack),
            (Feature::HyStart, config.hystart),
            (Feature::Pacing, config.pacing),
        ];
        features.extend(chosen.into_iter().filter(|(_, is)| *is).map(|(feature, _)| feature));
    }

    /// The links of one path, there and back.
    fn links(rng: &mut StdRng, features: &mut Vec<Feature>, calm_from: &mut Time) -> [LinkConfig; 2] {
        let mut link = LinkConfig { delay: millis(rng, 1..60), ..LinkConfig::default() };
        if rng.random_bool(0.5) {
            link.rate = Some(rng.random_range(1_000_000..100_000_000));
            link.queue_bytes = rng.random_range(20_000..200_000);
        }
        if rng.random_bool(0.6) {
            let share = rng.random_range(0.001..0.2);
            if rng.random_bool(0.3) {
                features.push(Feature::BurstyLoss);
                link.loss = Loss::Bursty { begins: share / 5.0, ends: 0.3, loss: 0.8 };
            } else {
                features.push(Feature::RandomLoss);
                link.loss = Loss::Random(share);
            }
        }
        if rng.random_bool(0.4) {
            features.push(Feature::Reordering);
            link.reorder = rng.random_range(0.01..0.3);
            link.reorder_by = millis(rng, 1..100);
            link.jitter = millis(rng, 0..20);
        }
        if rng.random_bool(0.4) {
            features.push(Feature::Duplication);
            link.duplicate = rng.random_range(0.01..0.2);
        }
        if rng.random_bool(0.2) {
            features.push(Feature::Corruption);
            link.corrupt = rng.random_range(0.001..0.05);
        }
        if rng.random_bool(0.3) {
            features.push(Feature::SmallMtu);
            link.mtu = rng.random_range(1280..1400);
            link.icmp = rng.random_bool(0.5);
        }
        if rng.random_bool(0.25) {
            features.push(Feature::BlackHole);
            let from = Time::from_millis(1000) + millis(rng, 0..10_000);
            let to = from + millis(rng, 100..20_000);
            link.black_holes.push((from, to));
            *calm_from = (*calm_from).max(to);
        }
        let back = LinkConfig { ..link.clone() };
        [link, back]
    }

    fn side(rng: &mut StdRng, features: &mut Vec<Feature>) -> Side {
        let mut config = Config::default();
        if rng.random_bool(0.5) {
            // As telecom has it: short timeouts, so that more happens in a run.
            config.rto_initial = Duration::from_millis(300);
            config.rto_min = Duration::from_millis(200);
            config.rto_max = Duration::from_millis(2000);
            config.sack_delay = Duration::from_millis(40);
            config.heartbeat_interval = Some(Duration::from_secs(5));
        }
        config.outbound_streams = rng.random_range(1..20);
        config.inbound_streams = rng.random_range(1..20);
        let slow = rng.random_bool(0.25);
        let tiny = rng.random_bool(0.2);
        let mut largest = [100, 3000, 20_000, 100_000][rng.random_range(0..4)];
        if tiny {
            features.push(Feature::TinyWindow);
            config.receive_window = rng.random_range(6_000..20_000);
        }
        if slow {
            features.push(Feature::SlowReader);
        }
        config.send_buffer = rng.random_range(120_000..400_000);
        let initial_tsn = rng.random_bool(0.3).then(|| {
            features.push(Feature::TsnWrap);
            Tsn(u32::MAX - rng.random_range(0..30))
        });
        let unordered = if rng.random_bool(0.4) {
            features.push(Feature::Unordered);
            rng.random_range(0.1..1.0)
        } else {
            0.0
        };
        if largest == 100_000 && rng.random_bool(0.5) {
            largest = 1_400;
        }
        Side {
            config,
            initial_tsn,
            messages: rng.random_range(1..120),
            largest,
            streams: rng.random_range(1..20),
            unordered,
            send_every: millis(rng, 0..300),
            read_every: if slow { millis(rng, 200..3000) } else { Duration::from_millis(1) },
            read_at_once: if slow { rng.random_range(1..6) } else { usize::MAX },
        }
    }

    /// Whether its network does nothing worse than lose every tenth packet: no association dies of that.
    pub fn is_mild(&self) -> bool {
        let mild =
            |link: &LinkConfig| matches!(link.loss, Loss::Random(share) if share <= 0.1) && link.black_holes.is_empty();
        self.links.iter().flatten().all(mild)
    }

    /// Whether packets arrive in the order in which they leave, and no receiver has reason to take anything back.
    pub fn is_orderly(&self) -> bool {
        let orderly = |link: &LinkConfig| link.reorder == 0.0 && link.jitter.is_zero();
        let roomy = |side: &Side| side.config.receive_window > 20_000;
        self.links.len() == 1 && self.links.iter().flatten().all(orderly) && self.sides.iter().all(roomy)
    }

    /// The stack of one host.
    pub fn stack(&self, host: usize) -> StackConfig {
        let mut config = StackConfig::default();
        config.initial_tsn = self.sides[host].initial_tsn;
        config
    }

    /// The largest message that host `to` receives whole.
    pub fn largest_to(&self, to: usize) -> usize {
        self.sides[to].config.largest_inbound_message()
    }
}
