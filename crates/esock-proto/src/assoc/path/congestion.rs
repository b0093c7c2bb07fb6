//! Congestion control, one state per path, behind one small interface.

use crate::config::CongestionAlgorithm;
use crate::time::Time;
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
}

/// A congestion control algorithm. Sizes are those of whole DATA chunks, header and padding included (§7.2).
pub trait CongestionControl {
    /// How much may be in flight.
    fn cwnd(&self) -> usize;
    /// The slow-start threshold.
    fn ssthresh(&self) -> usize;
    /// A SACK acknowledged data of this path.
    fn on_ack(&mut self, now: Time, acked: Acked);
    /// Fast retransmit began fast recovery (§7.2.4).
    fn on_fast_retransmit(&mut self, now: Time, pmdcs: usize);
    /// T3-rtx expired (§7.2.3).
    fn on_timeout(&mut self, now: Time, pmdcs: usize);
    /// Nothing was sent for `idle`, with this timeout (§7.2.1).
    fn on_idle(&mut self, idle: Duration, rto: Duration, pmdcs: usize);
    /// The path MTU changed.
    fn on_pmdcs(&mut self, old: usize, new: usize);
}

/// The algorithm of one path.
#[derive(Debug, Clone)]
pub enum Controller {
    Rfc9260(Rfc9260),
}

impl Controller {
    pub fn new(algorithm: CongestionAlgorithm, pmdcs: usize, is_ipv4: bool) -> Self {
        match algorithm {
            CongestionAlgorithm::Rfc9260 => Self::Rfc9260(Rfc9260::new(pmdcs, is_ipv4)),
        }
    }

    pub fn get(&self) -> &impl CongestionControl {
        let Self::Rfc9260(inner) = self;
        inner
    }

    pub fn get_mut(&mut self) -> &mut impl CongestionControl {
        let Self::Rfc9260(inner) = self;
        inner
    }
}

/// RFC 9260 §7.2.
#[derive(Debug, Clone)]
pub struct Rfc9260 {
    cwnd: usize,
    ssthresh: usize,
    partial_bytes_acked: usize,
    /// What the initial window is in small packets: see [`Rfc9260::initial`].
    floor: usize,
}

impl Rfc9260 {
    fn new(pmdcs: usize, is_ipv4: bool) -> Self {
        let floor = if is_ipv4 { 4404 } else { 4344 };
        Self { cwnd: Self::initial(pmdcs, floor), ssthresh: usize::MAX / 2, partial_bytes_acked: 0, floor }
    }

    /// §7.2.1: min(4 * PMDCS, max(2 * PMDCS, 4404)); 4344 for IPv6.
    fn initial(pmdcs: usize, floor: usize) -> usize {
        (4 * pmdcs).min((2 * pmdcs).max(floor))
    }
}

impl CongestionControl for Rfc9260 {
    fn cwnd(&self) -> usize {
        self.cwnd
    }

    fn ssthresh(&self) -> usize {
        self.ssthresh
    }

    fn on_ack(&mut self, _now: Time, acked: Acked) {
        // §7.2.1, §7.2.2: the window grows only when it was used up. What was acknowledged counts whether or
        // not the cumulative TSN moved.
        let full = acked.flight_before >= self.cwnd;
        if self.cwnd <= self.ssthresh {
            // §7.2.1: slow start; not in fast recovery, by at most one PMDCS (L = 1).
            if full && !acked.in_fast_recovery {
                self.cwnd += acked.bytes.min(acked.pmdcs);
            }
        } else {
            // §7.2.2: congestion avoidance.
            self.partial_bytes_acked += acked.bytes;
            if self.partial_bytes_acked > self.cwnd && !full {
                self.partial_bytes_acked = self.cwnd;
            }
            if self.partial_bytes_acked >= self.cwnd && full && !acked.in_fast_recovery {
                self.partial_bytes_acked -= self.cwnd;
                self.cwnd += acked.pmdcs;
            }
        }
        // §7.2.2: everything acknowledged.
        if acked.flight_after == 0 {
            self.partial_bytes_acked = 0;
        }
    }

    fn on_fast_retransmit(&mut self, _now: Time, pmdcs: usize) {
        self.ssthresh = (self.cwnd / 2).max(4 * pmdcs);
        self.cwnd = self.ssthresh;
        self.partial_bytes_acked = 0;
    }

    fn on_timeout(&mut self, _now: Time, pmdcs: usize) {
        self.ssthresh = (self.cwnd / 2).max(4 * pmdcs);
        self.cwnd = pmdcs;
        self.partial_bytes_acked = 0;
    }

    fn on_idle(&mut self, idle: Duration, rto: Duration, pmdcs: usize) {
        // §7.2.1: max(cwnd / 2, 4 * PMDCS) per RTO; the old window is remembered as the threshold. A smaller
        // window does not grow by idleness.
        let floor = 4 * pmdcs;
        let mut halvings = idle.as_nanos() / rto.as_nanos().max(1);
        if halvings > 0 && self.cwnd > floor {
            self.ssthresh = self.cwnd;
        }
        while halvings > 0 && self.cwnd > floor {
            self.cwnd = (self.cwnd / 2).max(floor);
            halvings -= 1;
        }
    }

    fn on_pmdcs(&mut self, old: usize, new: usize) {
        // A window that was never touched follows the packet size.
        if self.cwnd == Self::initial(old, self.floor) && self.ssthresh == usize::MAX / 2 {
            self.cwnd = Self::initial(new, self.floor);
        }
        self.cwnd = self.cwnd.max(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::ZERO;

    fn acked(bytes: usize, flight_before: usize) -> Acked {
        Acked { bytes, flight_before, flight_after: flight_before - bytes, in_fast_recovery: false, pmdcs: 1000 }
    }

    #[test]
    fn slow_start_grows_by_what_was_acknowledged_up_to_one_packet() {
        let mut cc = Rfc9260::new(1000, true);
        assert_eq!(cc.cwnd(), 4000);
        cc.on_ack(NOW, acked(2000, 4000));
        assert_eq!(cc.cwnd(), 5000);
        cc.on_ack(NOW, acked(300, 5000));
        assert_eq!(cc.cwnd(), 5300);
        // Not fully used: no growth.
        cc.on_ack(NOW, acked(1000, 2000));
        assert_eq!(cc.cwnd(), 5300);
        cc.on_ack(NOW, Acked { in_fast_recovery: true, ..acked(1000, 5300) });
        assert_eq!(cc.cwnd(), 5300);
        // A byte short of full is not full.
        cc.on_ack(NOW, acked(1000, 5299));
        assert_eq!(cc.cwnd(), 5300);
    }

    #[test]
    fn congestion_avoidance_grows_by_one_packet_per_window() {
        let mut cc = Rfc9260::new(1000, true);
        cc.on_timeout(NOW, 1000);
        assert_eq!((cc.cwnd(), cc.ssthresh()), (1000, 4000));
        cc.cwnd = 4500;
        cc.on_ack(NOW, acked(2000, 4500));
        assert_eq!(cc.cwnd(), 4500);
        cc.on_ack(NOW, acked(2500, 4500));
        assert_eq!(cc.cwnd(), 5500);
        assert_eq!(cc.partial_bytes_acked, 0);
    }

    #[test]
    fn loss_halves_and_idleness_decays_to_four_packets() {
        let mut cc = Rfc9260::new(1000, true);
        cc.cwnd = 20_000;
        cc.on_fast_retransmit(NOW, 1000);
        assert_eq!((cc.cwnd(), cc.ssthresh()), (10_000, 10_000));
        cc.on_idle(Duration::from_secs(1), Duration::from_secs(1), 1000);
        assert_eq!(cc.cwnd(), 5000);
        cc.on_idle(Duration::from_secs(100), Duration::from_secs(1), 1000);
        assert_eq!(cc.cwnd(), 4000);
    }
}
