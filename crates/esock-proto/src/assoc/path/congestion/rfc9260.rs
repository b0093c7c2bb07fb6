//! The congestion control of RFC 9260 §7.2; with HyStart++ (RFC 9406) if that was asked for.

use super::hystart::{HyStart, Pace};
use super::{Acked, CongestionControl, NO_THRESHOLD, Start, decayed};
use crate::time::Time;
use std::time::Duration;

/// RFC 9260 §7.2.
#[derive(Debug, Clone)]
pub struct Rfc9260 {
    start: Start,
    cwnd: usize,
    ssthresh: usize,
    partial_bytes_acked: usize,
    hystart: Option<Box<HyStart>>,
}

impl Rfc9260 {
    pub fn new(pmdcs: usize, start: Start, hystart: Option<Box<HyStart>>) -> Self {
        Self { start, cwnd: start.window(pmdcs), ssthresh: NO_THRESHOLD, partial_bytes_acked: 0, hystart }
    }

    fn slow_start(&mut self, acked: &Acked) {
        let pace = match &mut self.hystart {
            Some(hystart) => hystart.on_ack(acked),
            // §7.2.1: by at most one PMDCS (L = 1).
            None => Pace::Grow(acked.bytes.min(acked.pmdcs)),
        };
        match pace {
            Pace::Grow(bytes) => self.cwnd += bytes,
            Pace::Over => self.ssthresh = self.cwnd,
        }
    }

    /// §7.2.3, §7.2.4.
    fn reduce(&mut self, pmdcs: usize) {
        self.ssthresh = (self.cwnd / 2).max(4 * pmdcs);
        self.partial_bytes_acked = 0;
        self.hystart = None;
    }
}

impl CongestionControl for Rfc9260 {
    fn cwnd(&self) -> usize {
        self.cwnd
    }

    fn ssthresh(&self) -> usize {
        self.ssthresh
    }

    fn on_ack(&mut self, _now: Time, acked: &Acked) {
        let full = acked.is_full(self.cwnd);
        if self.cwnd <= self.ssthresh {
            // §7.2.1: not in fast recovery.
            if full && !acked.in_fast_recovery {
                self.slow_start(acked);
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
        self.reduce(pmdcs);
        self.cwnd = self.ssthresh;
    }

    fn on_timeout(&mut self, _now: Time, pmdcs: usize) {
        self.reduce(pmdcs);
        self.cwnd = pmdcs;
    }

    fn on_idle(&mut self, idle: Duration, rto: Duration, pmdcs: usize) {
        // §7.2.1: the old window is remembered as the threshold.
        let window = decayed(self.cwnd, idle, rto, pmdcs);
        if window < self.cwnd {
            self.ssthresh = self.cwnd;
            self.cwnd = window;
        }
    }

    fn on_pmdcs(&mut self, old: usize, new: usize) {
        // A window that was never touched follows the packet size.
        if self.cwnd == self.start.window(old) && self.ssthresh == NO_THRESHOLD {
            self.cwnd = self.start.window(new);
        }
        self.cwnd = self.cwnd.max(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::ZERO;

    fn acked(bytes: usize, flight_before: usize) -> Acked {
        Acked {
            bytes,
            flight_before,
            flight_after: flight_before - bytes,
            in_fast_recovery: false,
            pmdcs: 1000,
            srtt: None,
            sample: None,
        }
    }

    #[test]
    fn slow_start_grows_by_what_was_acknowledged_up_to_one_packet() {
        let mut cc = Rfc9260::new(1000, Start { is_ipv4: true }, None);
        assert_eq!(cc.cwnd(), 4000);
        cc.on_ack(NOW, &acked(2000, 4000));
        assert_eq!(cc.cwnd(), 5000);
        cc.on_ack(NOW, &acked(300, 5000));
        assert_eq!(cc.cwnd(), 5300);
        // Not fully used: no growth.
        cc.on_ack(NOW, &acked(1000, 2000));
        assert_eq!(cc.cwnd(), 5300);
        cc.on_ack(NOW, &Acked { in_fast_recovery: true, ..acked(1000, 5300) });
        assert_eq!(cc.cwnd(), 5300);
        // A byte short of full is not full.
        cc.on_ack(NOW, &acked(1000, 5299));
        assert_eq!(cc.cwnd(), 5300);
    }

    #[test]
    fn congestion_avoidance_grows_by_one_packet_per_window() {
        let mut cc = Rfc9260::new(1000, Start { is_ipv4: true }, None);
        cc.on_timeout(NOW, 1000);
        assert_eq!((cc.cwnd(), cc.ssthresh()), (1000, 4000));
        cc.cwnd = 4500;
        cc.on_ack(NOW, &acked(2000, 4500));
        assert_eq!(cc.cwnd(), 4500);
        cc.on_ack(NOW, &acked(2500, 4500));
        assert_eq!(cc.cwnd(), 5500);
        assert_eq!(cc.partial_bytes_acked, 0);
    }

    #[test]
    fn loss_halves_and_idleness_decays_to_four_packets() {
        let mut cc = Rfc9260::new(1000, Start { is_ipv4: true }, None);
        cc.cwnd = 20_000;
        cc.on_fast_retransmit(NOW, 1000);
        assert_eq!((cc.cwnd(), cc.ssthresh()), (10_000, 10_000));
        cc.on_idle(Duration::from_secs(1), Duration::from_secs(1), 1000);
        assert_eq!(cc.cwnd(), 5000);
        cc.on_idle(Duration::from_secs(100), Duration::from_secs(1), 1000);
        assert_eq!(cc.cwnd(), 4000);
    }
}
