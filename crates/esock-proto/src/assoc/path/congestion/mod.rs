//! Congestion control, one state per path, behind one small interface.

mod bbr;
mod cubic;
mod hystart;
mod rfc9260;

use super::log::Sample;
use crate::config::{Config, CongestionAlgorithm};
use crate::time::Time;
use bbr::Bbr;
use cubic::Cubic;
use hystart::HyStart;
use rfc9260::Rfc9260;
use std::time::Duration;

/// What a SACK said about one path.
#[derive(Debug, Clone, Copy)]
pub struct Acked {
    /// Bytes of chunks newly acknowledged, gap acks included.
    pub bytes: usize,
    /// Bytes of chunks in flight on the path before this SACK.
    pub flight_before: usize,
    /// Bytes of chunks in flight on the path after it.
    pub flight_after: usize,
    /// Whether the association is in fast recovery.
    pub in_fast_recovery: bool,
    /// Largest DATA chunk of a packet on the path, header included (the RFC's PMDCS).
    pub pmdcs: usize,
    /// Smoothed round-trip time of the path.
    pub srtt: Option<Duration>,
    /// What the log of the path says, where one is kept.
    pub sample: Option<Sample>,
}

impl Acked {
    /// §7.2.1, §7.2.2: whether the window was used up; else it does not grow. What was acknowledged counts whether or not
    /// the cumulative TSN moved.
    fn is_full(&self, cwnd: usize) -> bool {
        self.flight_before >= cwnd
    }
}

/// A congestion control algorithm. Sizes are those of whole DATA chunks, header and padding included (§7.2).
pub trait CongestionControl {
    /// How much may be in flight.
    fn cwnd(&self) -> usize;
    /// The slow-start threshold.
    fn ssthresh(&self) -> usize;
    /// A SACK acknowledged data of this path.
    fn on_ack(&mut self, now: Time, acked: &Acked);
    /// A loss was found, and fast recovery begins (§7.2.4).
    fn on_fast_retransmit(&mut self, now: Time, pmdcs: usize);
    /// T3-rtx expired (§7.2.3).
    fn on_timeout(&mut self, now: Time, pmdcs: usize);
    /// Nothing was sent for `idle`, with this timeout (§7.2.1).
    fn on_idle(&mut self, idle: Duration, rto: Duration, pmdcs: usize);
    /// The path MTU changed.
    fn on_pmdcs(&mut self, old: usize, new: usize);
    /// Bytes of chunks a second at which data is to leave, where the algorithm itself says so.
    fn pacing_rate(&self) -> Option<u64> {
        None
    }
}

/// The algorithm of one path. The default stands here itself: an idle association pays for no other.
#[derive(Debug, Clone)]
pub enum Controller {
    Rfc9260(Rfc9260),
    Cubic(Box<Cubic>),
    Bbr(Box<Bbr>),
}

/// Hands a call on to the algorithm there is.
macro_rules! each {
    ($controller:expr, $inner:ident => $call:expr) => {
        match $controller {
            Controller::Rfc9260($inner) => $call,
            Controller::Cubic($inner) => $call,
            Controller::Bbr($inner) => $call,
        }
    };
}

impl Controller {
    pub fn new(config: &Config, pmdcs: usize, is_ipv4: bool) -> Self {
        let start = Start { is_ipv4 };
        let hystart = config.hystart.then(|| HyStart::new(config.is_paced()));
        match config.congestion {
            CongestionAlgorithm::Rfc9260 => Self::Rfc9260(Rfc9260::new(pmdcs, start, hystart.map(Box::new))),
            CongestionAlgorithm::Cubic => Self::Cubic(Box::new(Cubic::new(pmdcs, start, hystart))),
            CongestionAlgorithm::Bbr => Self::Bbr(Box::new(Bbr::new(pmdcs, start))),
        }
    }
}

impl CongestionControl for Controller {
    fn cwnd(&self) -> usize {
        each!(self, inner => inner.cwnd())
    }

    fn ssthresh(&self) -> usize {
        each!(self, inner => inner.ssthresh())
    }

    fn on_ack(&mut self, now: Time, acked: &Acked) {
        each!(self, inner => inner.on_ack(now, acked));
    }

    fn on_fast_retransmit(&mut self, now: Time, pmdcs: usize) {
        each!(self, inner => inner.on_fast_retransmit(now, pmdcs));
    }

    fn on_timeout(&mut self, now: Time, pmdcs: usize) {
        each!(self, inner => inner.on_timeout(now, pmdcs));
    }

    fn on_idle(&mut self, idle: Duration, rto: Duration, pmdcs: usize) {
        each!(self, inner => inner.on_idle(idle, rto, pmdcs));
    }

    fn on_pmdcs(&mut self, old: usize, new: usize) {
        each!(self, inner => inner.on_pmdcs(old, new));
    }

    fn pacing_rate(&self) -> Option<u64> {
        each!(self, inner => inner.pacing_rate())
    }
}

/// How windows begin.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    is_ipv4: bool,
}

impl Start {
    /// §7.2.1: min(4 * PMDCS, max(2 * PMDCS, 4404)); 4344 for IPv6.
    fn window(self, pmdcs: usize) -> usize {
        (4 * pmdcs).min((2 * pmdcs).max(if self.is_ipv4 { 4404 } else { 4344 }))
    }
}

/// No threshold yet.
const NO_THRESHOLD: usize = usize::MAX / 2;

/// §7.2.1: what becomes of a window while nothing is sent: max(cwnd / 2, 4 * PMDCS) per RTO.
fn decayed(cwnd: usize, idle: Duration, rto: Duration, pmdcs: usize) -> usize {
    // A smaller window does not grow by idleness.
    let floor = 4 * pmdcs;
    let (mut cwnd, mut halvings) = (cwnd, idle.as_nanos() / rto.as_nanos().max(1));
    while halvings > 0 && cwnd > floor {
        cwnd = (cwnd / 2).max(floor);
        halvings -= 1;
    }
    cwnd
}
