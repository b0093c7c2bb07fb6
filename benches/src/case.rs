//! What is measured of whom: a case is measured in a process of its own, and says its figures line by line.

use crate::peers::Peer;
use crate::{Plan, RoundTrips, median};
use std::fmt;
use std::time::Duration;

/// Messages of [`Measure::Crowd`].
const CROWD_BYTES: usize = 64;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// User data per second.
    Bulk,
    /// Round trips of a message.
    PingPong,
    /// The same, and both ends spin: neither sleeps.
    Spinning,
    /// The same while another association of the process sends bulk.
    BesideBulk,
    /// A message of 64 bytes back and forth on each of `size` associations at once.
    Crowd,
    /// Bulk of `size` associations at once, in messages of 16 KiB, on two cores.
    Several,
    /// Associations set up per second, `message_bytes` of them at once.
    Setup,
    /// The same 64 at once, where there are `size` associations already.
    SetupCurve,
    /// Two stacks without sockets and `size` associations between them: rate, memory, time per message.
    InMemory,
}

impl Measure {
    /// All there are.
    pub const ALL: [Self; 9] = [
        Self::Bulk,
        Self::PingPong,
        Self::Spinning,
        Self::BesideBulk,
        Self::Crowd,
        Self::Several,
        Self::Setup,
        Self::SetupCurve,
        Self::InMemory,
    ];

    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::PingPong => "ping-pong",
            Self::Spinning => "spinning",
            Self::BesideBulk => "beside-bulk",
            Self::Crowd => "crowd",
            Self::Several => "several",
            Self::Setup => "setup",
            Self::SetupCurve => "setup-curve",
            Self::InMemory => "in-memory",
        }
    }

    /// Whether it is measured only where it is named: it takes long.
    pub fn is_asked_for(self) -> bool {
        self == Self::SetupCurve
    }

    /// The measure with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|measure| measure.name() == name)
    }
}

/// One thing to measure of one candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    /// What.
    pub measure: Measure,
    /// Bytes of a packet without UDP and IP headers.
    pub packet_bytes: usize,
    /// Bytes of a message; for [`Measure::Crowd`], [`Measure::Several`], [`Measure::Setup`], [`Measure::SetupCurve`] and
    /// [`Measure::InMemory`], how many associations.
    pub size: usize,
    /// Of whom.
    pub peer: Peer,
}

impl Case {
    /// What a process is told to measure: the words of [`Case::from_words`].
    pub fn words(&self, plan: &Plan) -> Vec<String> {
        let numbers = [
            self.packet_bytes as u128,
            self.size as u128,
            plan.warm_up.as_millis(),
            plan.measure.as_millis(),
            plan.exchanges as u128,
        ];
        let names = [self.measure.name(), self.peer.name()].map(str::to_owned);
        names.into_iter().chain(numbers.iter().map(u128::to_string)).collect()
    }

    /// What to measure.
    pub fn from_words(words: &[String]) -> Option<(Self, Plan)> {
        let [measure, peer, numbers @ ..] = words else { return None };
        let numbers: Vec<u64> = numbers.iter().map_while(|word| word.parse().ok()).collect();
        let [packet_bytes, size, warm_up, time, exchanges] = numbers[..] else { return None };
        let (measure, peer) = (Measure::from_name(measure)?, Peer::from_name(peer)?);
        let case = Self { measure, packet_bytes: packet_bytes as usize, size: size as usize, peer };
        let plan = Plan {
            packet_bytes: case.packet_bytes,
            warm_up: Duration::from_millis(warm_up),
            measure: Duration::from_millis(time),
            exchanges: exchanges as usize,
            ..Plan::default()
        };
        Some((case, plan))
    }

    /// Measures it here and now: figures with their names, which have their units.
    pub fn measure(&self, plan: &Plan) -> Result<Vec<(&'static str, f64)>, String> {
        match self.measure {
            Measure::Bulk => {
                let bulk = self.peer.bulk(plan, self.size)?;
                Ok(vec![("Gbit/s", bulk.gigabits()), ("messages/s", bulk.megamessages() * 1e6)])
            }
            Measure::PingPong => Ok(percentiles(&self.peer.ping_pong(plan, self.size)?)),
            Measure::Spinning => Ok(percentiles(&self.peer.ping_pong(&Plan { spins: true, ..*plan }, self.size)?)),
            Measure::BesideBulk => {
                let (trips, bulk) = self.peer.beside_bulk(plan, self.size)?;
                Ok(percentiles(&trips).into_iter().chain([("Gbit/s", bulk.gigabits())]).collect())
            }
            Measure::Crowd => {
                let (rate, trips) = self.peer.crowd(plan, CROWD_BYTES, self.size)?;
                Ok([("round trips/s", rate.per_second())].into_iter().chain(percentiles(&trips)).collect())
            }
            Measure::Several => Ok(vec![("Gbit/s", self.peer.several(plan, self.size)?.gigabits())]),
            Measure::InMemory => Err("it has a program of its own".to_owned()),
            Measure::SetupCurve => Ok(vec![("associations/s", self.peer.setup_among(plan, self.size)?.per_second())]),
            Measure::Setup => Ok(vec![("associations/s", self.peer.setup(plan, self.size)?.per_second())]),
        }
    }
}

fn percentiles(trips: &RoundTrips) -> Vec<(&'static str, f64)> {
    let percentile = |fraction| trips.percentile(fraction).as_nanos() as f64 / 1e3;
    vec![("p50 µs", percentile(0.5)), ("p99 µs", percentile(0.99))]
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { measure, packet_bytes, size, peer } = self;
        match measure {
            Measure::Crowd | Measure::Several | Measure::SetupCurve | Measure::InMemory => {
                write!(f, "{}, {size} associations: {}", measure.name(), peer.name())
            }
            Measure::Setup => write!(f, "{}, {size} at once: {}", measure.name(), peer.name()),
            _ => write!(f, "{}, {} in {packet_bytes}: {}", measure.name(), size_name(*size), peer.name()),
        }
    }
}

/// A number of bytes for people.
pub fn size_name(bytes: usize) -> String {
    match bytes {
        1024.. if bytes.is_multiple_of(1024) => format!("{} KiB", bytes / 1024),
        _ => format!("{bytes} B"),
    }
}

/// Figures of one name, of several runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// `None` of nothing.
    pub fn of(values: &[f64]) -> Option<Self> {
        let least = values.iter().copied().reduce(f64::min)?;
        let most = values.iter().copied().reduce(f64::max)?;
        Some(Self { median: median(values.to_vec()), least, most })
    }
}
