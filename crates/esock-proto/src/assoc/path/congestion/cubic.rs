//! CUBIC (RFC 9438), in user bytes; where SCTP has limits of its own (RFC 9260 §7.2) they hold.

use super::hystart::{HyStart, Pace};
use super::{Acked, CongestionControl, NO_THRESHOLD, Start, decayed};
use crate::time::Time;
use std::time::Duration;

/// RFC 9438 §5.
const C: f64 = 0.4;
const BETA: f64 = 0.7;
/// §4.3: what Reno would gain per round, while CUBIC has less.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

/// A stage of congestion avoidance (§4.2): windows in packets, as in the formulas.
#[derive(Debug, Clone, Copy)]
struct Epoch {
    began: Time,
    /// Seconds until the window is what it was before the last reduction.
    k: f64,
    /// What Reno would have.
    w_est: f64,
    /// The window where the plateau is.
    origin: f64,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Cubic {
    start: Start,
    cwnd: usize,
    ssthresh: usize,
    /// Bytes of growth that do not make up a whole byte yet, so to say: the window in fractions.
    fraction: f64,
    w_max: f64,
    /// The window just before the last reduction.
    prior: f64,
    epoch: Option<Epoch>,
    hystart: Option<HyStart>,
    /// When the window was last in full use: idle time does not count (§5.8).
    last_full: Option<Time>,
}

impl Cubic {
    pub fn new(pmdcs: usize, start: Start, hystart: Option<HyStart>) -> Self {
        Self {
            start,
            cwnd: start.window(pmdcs),
            ssthresh: NO_THRESHOLD,
            fraction: 0.0,
            w_max: 0.0,
            prior: 0.0,
            epoch: None,
            hystart,
            last_full: None,
        }
    }

    /// §4.6, §4.7: what both kinds of loss do.
    fn reduce(&mut self, pmdcs: usize) {
        let window = self.cwnd as f64 / pmdcs as f64;
        self.prior = window;
        // §4.7: fast convergence makes room for flows that came later.
        self.w_max = if window < self.w_max { window * (1.0 + BETA) / 2.0 } else { window };
        self.ssthresh = ((self.cwnd as f64 * BETA) as usize).max(4 * pmdcs);
        self.epoch = None;
        self.fraction = 0.0;
        self.hystart = None;
    }

    fn avoid_congestion(&mut self, now: Time, acked: &Acked) {
        let pmdcs = acked.pmdcs as f64;
        let window = self.cwnd as f64 / pmdcs;
        if let (Some(epoch), Some(last)) = (&mut self.epoch, self.last_full) {
            // What was not in use does not move the clock.
            let idle = now.since(last).saturating_sub(acked.srtt.unwrap_or_default());
            epoch.began = epoch.began + idle;
        }
        let (w_max, prior) = (self.w_max, self.prior);
        let epoch = self.epoch.get_or_insert_with(|| Epoch {
            began: now,
            k: if window < w_max { ((w_max - window) / C).cbrt() } else { 0.0 },
            w_est: window,
            origin: w_max.max(window),
        });
        let rtt = acked.srtt.unwrap_or_default().as_secs_f64();
        let t = now.since(epoch.began).as_secs_f64();
        let segments = acked.bytes as f64 / pmdcs;
        // §4.3: Reno's window; at full speed once it is where it was.
        let alpha = if epoch.w_est >= prior { 1.0 } else { ALPHA };
        epoch.w_est += alpha * segments / window;
        let cubic = |t: f64| C * (t - epoch.k).powi(3) + epoch.origin;
        let grown = if cubic(t) < epoch.w_est {
            epoch.w_est
        } else {
            // §4.4, §4.5: towards where the function is a round-trip time from now.
            let target = cubic(t + rtt).min(1.5 * window).max(window);
            window + (target - window) / window * segments
        };
        self.fraction += (grown - window).max(0.0) * pmdcs;
        let whole = self.fraction as usize;
        self.fraction -= whole as f64;
        self.cwnd += whole;
    }
}

impl CongestionControl for Cubic {
    fn cwnd(&self) -> usize {
        self.cwnd
    }

    fn ssthresh(&self) -> usize {
        self.ssthresh
    }

    fn on_ack(&mut self, now: Time, acked: &Acked) {
        if !acked.is_full(self.cwnd) || acked.in_fast_recovery {
            return;
        }
        if self.cwnd < self.ssthresh {
            let pace = match &mut self.hystart {
                Some(hystart) => hystart.on_ack(acked),
                // RFC 9260 §7.2.1: by at most one packet.
                None => Pace::Grow(acked.bytes.min(acked.pmdcs)),
            };
            match pace {
                Pace::Grow(bytes) => self.cwnd += bytes,
                Pace::Over => self.ssthresh = self.cwnd,
            }
        } else {
            self.avoid_congestion(now, acked);
        }
        self.last_full = Some(now);
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
        let window = decayed(self.cwnd, idle, rto, pmdcs);
        if window < self.cwnd {
            self.ssthresh = self.cwnd;
            self.cwnd = window;
            self.epoch = None;
        }
    }

    fn on_pmdcs(&mut self, old: usize, new: usize) {
        if self.cwnd == self.start.window(old) && self.ssthresh == NO_THRESHOLD {
            self.cwnd = self.start.window(new);
        }
        self.cwnd = self.cwnd.max(new);
        // The formulas count packets.
        let scale = old as f64 / new as f64;
        self.w_max *= scale;
        self.prior *= scale;
        self.epoch = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    fn acked(bytes: usize, cwnd: usize) -> Acked {
        Acked {
            bytes,
            flight_before: cwnd,
            flight_after: cwnd - bytes,
            in_fast_recovery: false,
            pmdcs: 1000,
            srtt: Some(RTT),
            sample: None,
        }
    }

    /// Acknowledges whole windows for `time`.
    fn run(cubic: &mut Cubic, from: Time, time: Duration) -> Time {
        let mut now = from;
        while now.since(from) < time {
            let cwnd = cubic.cwnd();
            for _ in 0..cwnd / 1000 {
                cubic.on_ack(now, &acked(1000, cubic.cwnd()));
            }
            now = now + RTT;
        }
        now
    }

    #[test]
    fn a_loss_leaves_seven_tenths_and_k_seconds_later_the_window_is_back() {
        let mut cubic = Cubic::new(1000, Start { is_ipv4: true }, None);
        cubic.cwnd = 1_000_000;
        cubic.on_fast_retransmit(Time::ZERO, 1000);
        assert_eq!((cubic.cwnd(), cubic.ssthresh()), (700_000, 700_000));
        // K = cbrt((1000 - 700) / 0.4) = 9.09 s.
        let now = run(&mut cubic, Time::ZERO, Duration::from_secs(9));
        assert!((980_000..1_010_000).contains(&cubic.cwnd()), "{}", cubic.cwnd());
        // At the plateau it hardly grows; far behind it, it does.
        let now = run(&mut cubic, now, Duration::from_secs(1));
        assert!((990_000..1_020_000).contains(&cubic.cwnd()), "{}", cubic.cwnd());
        run(&mut cubic, now, Duration::from_secs(10));
        assert!(cubic.cwnd() > 1_300_000, "{}", cubic.cwnd());
    }

    #[test]
    fn a_second_loss_below_the_plateau_makes_room_for_others() {
        let mut cubic = Cubic::new(1000, Start { is_ipv4: true }, None);
        cubic.cwnd = 1_000_000;
        cubic.on_fast_retransmit(Time::ZERO, 1000);
        cubic.on_fast_retransmit(Time::ZERO, 1000);
        assert!((489_999..=490_000).contains(&cubic.cwnd()), "{}", cubic.cwnd());
        assert!((cubic.w_max - 700.0 * 0.85).abs() < 1e-6, "{}", cubic.w_max);
    }

    #[test]
    fn a_small_window_grows_as_reno_would() {
        let mut cubic = Cubic::new(1000, Start { is_ipv4: true }, None);
        cubic.cwnd = 10_000;
        cubic.on_fast_retransmit(Time::ZERO, 1000);
        assert_eq!(cubic.cwnd(), 7_000);
        // ALPHA = 0.53 packets a round up to 10 packets, which takes five to six rounds of 100 ms; then one a round.
        let now = run(&mut cubic, Time::ZERO, Duration::from_millis(500));
        assert!((9_300..9_900).contains(&cubic.cwnd()), "{}", cubic.cwnd());
        run(&mut cubic, now, Duration::from_millis(500));
        assert!((13_000..15_000).contains(&cubic.cwnd()), "{}", cubic.cwnd());
    }

    #[test]
    fn a_timeout_begins_anew_with_one_packet() {
        let mut cubic = Cubic::new(1000, Start { is_ipv4: true }, None);
        cubic.cwnd = 100_000;
        cubic.on_timeout(Time::ZERO, 1000);
        assert_eq!((cubic.cwnd(), cubic.ssthresh()), (1000, 70_000));
    }
}
