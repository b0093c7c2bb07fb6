//! BBR: sends at the rate at which the path has delivered, with about two round trips' worth in flight, whatever is
//! lost. The model, its states and its numbers are those of the first version (draft-cardwell-iccrg-bbr-congestion-control-00).

use super::{Acked, CongestionControl, NO_THRESHOLD, Start};
use crate::time::Time;
use std::time::Duration;

/// 2/ln 2: the least gain with which the rate doubles every round.
const HIGH_GAIN: f64 = 2.885;
/// One round more, one less to drain what it queued, six of rest.
const CYCLE: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
/// In flight at most, in products of bandwidth and delay: SACKs may come late and in bunches.
const CWND_GAIN: f64 = 2.0;
/// Rounds for which the best rate counts.
const RATE_ROUNDS: u64 = 10;
/// How long the shortest round-trip time counts, and how long the path is emptied to measure it anew.
const RTT_WINDOW: Duration = Duration::from_secs(10);
const PROBE_RTT_TIME: Duration = Duration::from_millis(200);
/// Packets in flight meanwhile, and at least.
const MIN_PACKETS: usize = 4;
/// The pipe is full when so many rounds in a row brought less than a quarter more.
const FULL_ROUNDS: u32 = 3;
const FULL_GROWTH: f64 = 1.25;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    /// Doubling until the pipe is full.
    Startup,
    /// Emptying the queue that startup made.
    Drain,
    /// Going round [`CYCLE`].
    ProbeBandwidth { phase: usize, since: Time },
    /// Emptying the path; until when, once it is empty.
    ProbeRtt { until: Option<Time> },
}

/// The largest of the last rounds: the best three, each later than the one before.
#[derive(Debug, Clone, Copy, Default)]
struct WindowedMax([(u64, u64); 3]);

impl WindowedMax {
    fn best(&self) -> u64 {
        self.0[0].0
    }

    fn update(&mut self, round: u64, value: u64) {
        let [first, second, third] = &mut self.0;
        if value >= first.0 || round.saturating_sub(third.1) > RATE_ROUNDS {
            self.0 = [(value, round); 3];
            return;
        }
        if value >= second.0 {
            (*second, *third) = ((value, round), (value, round));
        } else if value >= third.0 {
            *third = (value, round);
        }
        let age = |entry: (u64, u64)| round.saturating_sub(entry.1);
        if age(self.0[0]) > RATE_ROUNDS {
            self.0 = [self.0[1], self.0[2], (value, round)];
            if age(self.0[0]) > RATE_ROUNDS {
                self.0 = [self.0[1], self.0[2], (value, round)];
            }
        } else if self.0[1].1 == self.0[0].1 && age(self.0[1]) > RATE_ROUNDS / 4 {
            self.0[1] = (value, round);
            self.0[2] = (value, round);
        } else if self.0[2].1 == self.0[1].1 && age(self.0[2]) > RATE_ROUNDS / 2 {
            self.0[2] = (value, round);
        }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Bbr {
    start: Start,
    mode: Mode,
    cwnd: usize,
    pmdcs: usize,
    /// Bytes a second, over the last rounds.
    rate: WindowedMax,
    /// The shortest round-trip time, and when it was measured.
    rtt: Option<(Duration, Time)>,
    round: u64,
    /// The round ends when what is sent now has been delivered.
    round_end: u64,
    full_rate: f64,
    full_rounds: u32,
    filled: bool,
    pacing_rate: Option<u64>,
    /// The window before it was made small.
    saved_cwnd: usize,
}

impl Bbr {
    pub fn new(pmdcs: usize, start: Start) -> Self {
        Self {
            start,
            mode: Mode::Startup,
            cwnd: start.window(pmdcs),
            pmdcs,
            rate: WindowedMax::default(),
            rtt: None,
            round: 0,
            round_end: 0,
            full_rate: 0.0,
            full_rounds: 0,
            filled: false,
            pacing_rate: None,
            saved_cwnd: 0,
        }
    }

    fn pacing_gain(&self) -> f64 {
        match self.mode {
            Mode::Startup => HIGH_GAIN,
            Mode::Drain => 1.0 / HIGH_GAIN,
            Mode::ProbeBandwidth { phase, .. } => CYCLE[phase],
            Mode::ProbeRtt { .. } => 1.0,
        }
    }

    /// Bytes in flight that fill the pipe so many times, with some for batches.
    fn in_flight_for(&self, gain: f64) -> usize {
        let Some((rtt, _)) = self.rtt else { return self.start.window(self.pmdcs) };
        let product = self.rate.best() as f64 * rtt.as_secs_f64();
        // Three batches: one being made, one on its way down, one at the peer.
        let batch = (self.rate.best() as f64 / 1000.0).min(65_536.0).max(2.0 * self.pmdcs as f64);
        ((gain * product + 3.0 * batch) as usize).max(MIN_PACKETS * self.pmdcs)
    }

    /// Whether the pipe is full: the rate grows no more though ever more is sent.
    fn look_for_full_pipe(&mut self, app_limited: bool) {
        if self.filled || app_limited {
            return;
        }
        let best = self.rate.best() as f64;
        if best >= self.full_rate * FULL_GROWTH {
            (self.full_rate, self.full_rounds) = (best, 0);
            return;
        }
        self.full_rounds += 1;
        self.filled = self.full_rounds >= FULL_ROUNDS;
    }

    fn begin_cycle(&mut self, now: Time) {
        // Anywhere but in the phase that empties: flows that began together spread out.
        let phase = [0, 2, 3, 4, 5, 6, 7][(self.round_end % 7) as usize];
        self.mode = Mode::ProbeBandwidth { phase, since: now };
    }

    fn advance(&mut self, now: Time, acked: &Acked) {
        match self.mode {
            Mode::Startup if self.filled => self.mode = Mode::Drain,
            Mode::Drain if acked.flight_after <= self.in_flight_for(1.0) => self.begin_cycle(now),
            Mode::ProbeBandwidth { phase, since } => {
                let rtt = self.rtt.map(|(rtt, _)| rtt).unwrap_or_default();
                let over = now.since(since) > rtt;
                let next = match CYCLE[phase] {
                    // Until the pipe is over-full; losses end it as well, which `on_fast_retransmit` cannot tell apart.
                    gain if gain > 1.0 => over && acked.flight_before >= self.in_flight_for(gain).min(self.cwnd),
                    gain if gain < 1.0 => over || acked.flight_before <= self.in_flight_for(1.0),
                    _ => over,
                };
                // A path that cannot be filled (by its user, or the peer's window) is not waited for.
                if next || now.since(since) > 4 * rtt {
                    self.mode = Mode::ProbeBandwidth { phase: (phase + 1) % CYCLE.len(), since: now };
                }
            }
            _ => {}
        }
    }

    /// The shortest round-trip time, and whether it is time to look for it with an empty path.
    fn update_rtt(&mut self, now: Time, acked: &Acked, sample: Option<Duration>) {
        let expired = self.rtt.is_some_and(|(_, at)| now.since(at) > RTT_WINDOW);
        if let Some(rtt) = sample
            && (expired || self.rtt.is_none_or(|(least, _)| rtt <= least))
        {
            self.rtt = Some((rtt, now));
        }
        match &mut self.mode {
            Mode::ProbeRtt { until } => {
                if until.is_none() && acked.flight_after <= MIN_PACKETS * self.pmdcs {
                    *until = Some(now + PROBE_RTT_TIME.max(acked.srtt.unwrap_or_default()));
                }
                if until.is_some_and(|until| now >= until) {
                    if let Some((_, at)) = &mut self.rtt {
                        *at = now;
                    }
                    self.cwnd = self.cwnd.max(self.saved_cwnd);
                    if self.filled { self.begin_cycle(now) } else { self.mode = Mode::Startup }
                }
            }
            _ if expired => {
                self.saved_cwnd = self.cwnd;
                self.mode = Mode::ProbeRtt { until: None };
            }
            _ => {}
        }
    }

    fn update_window(&mut self, acked: &Acked, delivered: u64) {
        let gain = if self.filled { CWND_GAIN } else { HIGH_GAIN };
        let target = self.in_flight_for(gain);
        if self.filled {
            self.cwnd = (self.cwnd + acked.bytes).min(target);
        } else if self.cwnd < target || delivered < self.start.window(self.pmdcs) as u64 {
            self.cwnd += acked.bytes;
        }
        self.cwnd = self.cwnd.max(MIN_PACKETS * self.pmdcs);
        if let Mode::ProbeRtt { .. } = self.mode {
            self.cwnd = self.cwnd.min(MIN_PACKETS * self.pmdcs);
        }
    }

    fn update_pacing(&mut self) {
        let best = self.rate.best();
        if best == 0 {
            return;
        }
        let rate = (self.pacing_gain() * best as f64) as u64;
        // While the pipe fills, one slow sample slows nothing down.
        if self.filled || self.pacing_rate.is_none_or(|now| rate > now) {
            self.pacing_rate = Some(rate);
        }
    }
}

impl CongestionControl for Bbr {
    fn cwnd(&self) -> usize {
        self.cwnd
    }

    fn ssthresh(&self) -> usize {
        NO_THRESHOLD
    }

    fn on_ack(&mut self, now: Time, acked: &Acked) {
        let Some(sample) = acked.sample else { return };
        // An emptied path tells nothing of its rate: what was known is not forgotten over it.
        let probing_rtt = matches!(self.mode, Mode::ProbeRtt { .. });
        let round_begins = sample.prior_delivered >= self.round_end && !probing_rtt;
        if round_begins {
            self.round += 1;
            self.round_end = sample.delivered;
        }
        if sample.rate > 0 && !probing_rtt && (!sample.app_limited || sample.rate >= self.rate.best()) {
            self.rate.update(self.round, sample.rate);
        }
        if round_begins {
            self.look_for_full_pipe(sample.app_limited);
        }
        self.advance(now, acked);
        self.update_rtt(now, acked, sample.rtt);
        self.update_window(acked, sample.delivered);
        self.update_pacing();
    }

    fn on_fast_retransmit(&mut self, _now: Time, _pmdcs: usize) {}

    fn on_timeout(&mut self, _now: Time, pmdcs: usize) {
        // It grows back with what is acknowledged, to where the model says.
        self.cwnd = pmdcs;
    }

    fn on_idle(&mut self, _idle: Duration, _rto: Duration, _pmdcs: usize) {
        // What leaves after an idle time leaves at the paced rate.
    }

    fn on_pmdcs(&mut self, old: usize, new: usize) {
        if self.cwnd == self.start.window(old) {
            self.cwnd = self.start.window(new);
        }
        self.pmdcs = new;
        self.cwnd = self.cwnd.max(new);
    }

    fn pacing_rate(&self) -> Option<u64> {
        self.pacing_rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assoc::path::log::Sample;

    #[test]
    fn the_best_of_ten_rounds_is_forgotten_with_the_eleventh() {
        let mut max = WindowedMax::default();
        max.update(1, 100);
        for round in 2..=11 {
            max.update(round, 50);
            assert_eq!(max.best(), 100, "round {round}");
        }
        max.update(12, 50);
        assert_eq!(max.best(), 50);
        max.update(13, 70);
        assert_eq!(max.best(), 70);
    }

    /// A path of 1,000,000 bytes a second and 100 ms: the product is 100,000 bytes.
    fn run(bbr: &mut Bbr, rounds: u64, from: (Time, u64)) -> (Time, u64) {
        let (mut now, mut delivered) = from;
        for _ in 0..rounds {
            let window = bbr.cwnd();
            // What is beyond the product waits in a queue.
            let rtt = Duration::from_millis(100).max(Duration::from_micros(window as u64));
            now = now + rtt;
            let rate = (window as f64 / rtt.as_secs_f64()) as u64;
            let sample = Sample {
                rtt: Some(rtt),
                rate,
                app_limited: false,
                prior_delivered: delivered,
                delivered: delivered + window as u64,
            };
            delivered += window as u64;
            let acked = Acked {
                bytes: window,
                flight_before: window,
                flight_after: 0,
                in_fast_recovery: false,
                pmdcs: 1000,
                srtt: Some(rtt),
                sample: Some(sample),
            };
            bbr.on_ack(now, &acked);
        }
        (now, delivered)
    }

    #[test]
    fn it_finds_the_rate_and_the_delay_of_a_path_and_stays_near_twice_their_product() {
        let mut bbr = Bbr::new(1000, Start { is_ipv4: true });
        let end = run(&mut bbr, 20, (Time::ZERO, 0));
        assert!(bbr.filled && matches!(bbr.mode, Mode::ProbeBandwidth { .. }), "{bbr:?}");
        assert!((950_000..=1_010_000).contains(&bbr.rate.best()), "{bbr:?}");
        assert!((190_000..=220_000).contains(&bbr.cwnd()), "{bbr:?}");
        bbr.on_fast_retransmit(end.0, 1000);
        assert!(bbr.cwnd() >= 190_000, "what is lost says nothing of the rate");
        bbr.on_timeout(end.0, 1000);
        assert_eq!(bbr.cwnd(), 1000);
        run(&mut bbr, 20, end);
        assert!(bbr.cwnd() >= 190_000, "{bbr:?}");
    }

    #[test]
    fn every_ten_seconds_the_path_is_emptied_for_a_moment() {
        let mut bbr = Bbr::new(1000, Start { is_ipv4: true });
        let (now, delivered) = run(&mut bbr, 30, (Time::ZERO, 0));
        let (mut at, mut emptied) = ((now, delivered), false);
        while at.0.since(now) < Duration::from_secs(15) {
            at = run(&mut bbr, 1, at);
            emptied |= bbr.cwnd() == 4000;
        }
        assert!(emptied && bbr.cwnd() > 100_000, "{bbr:?}");
    }
}
