//! The log of a path: when each chunk last left over it, and what had been delivered by then. It is kept only where
//! something asks for it: the rate at which a path delivers (as in draft-cheng-iccrg-delivery-rate-estimation), the
//! round-trip time of every SACK, and RACK (`tx/loss/rack.rs`).

use crate::serial::Tsn;
use crate::time::Time;
use std::collections::VecDeque;
use std::time::Duration;

/// How long a shortest round-trip time counts.
const MIN_RTT_WINDOW: Duration = Duration::from_secs(300);

/// What a SACK says about a path, by its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Round-trip time of the newest chunk acknowledged, if that was sent once.
    pub rtt: Option<Duration>,
    /// Bytes of chunks delivered per second while it was on its way; 0 if that is not known.
    pub rate: u64,
    /// The sender had not enough to send then: the path may be faster.
    pub app_limited: bool,
    /// Bytes of chunks delivered before it was sent, and now.
    pub prior_delivered: u64,
    /// See there.
    pub delivered: u64,
}

/// A chunk that left.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub tsn: Tsn,
    pub sent: Time,
    /// When the chunk left that began the interval which this one ends.
    first_sent: Time,
    delivered: u64,
    delivered_at: Time,
    app_limited: bool,
    /// Acknowledged, given up, or sent again.
    pub gone: bool,
}

/// What RACK (RFC 8985) knows of a path.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rack {
    /// The chunk that was sent last of those that arrived (RACK.xmit_ts, RACK.end_seq), and its round-trip time.
    pub newest: Option<(Time, Tsn, Duration)>,
    /// The highest TSN that arrived (RACK.fack).
    pub highest: Option<Tsn>,
    /// A chunk arrived behind one that was sent after it.
    pub reordered: bool,
    /// Steps by which the reordering window was widened, as duplicates showed it too small (RACK.reo_wnd_mult).
    pub steps: u32,
    /// When a chunk that may still be on its way is overdue.
    pub timer: Option<Time>,
    /// When the last chunk in flight is sent once more to find out what became of it (PTO, §7.2).
    pub probe_timer: Option<Time>,
    /// The chunk that was (TLP.end_seq).
    pub probe: Option<Tsn>,
}

/// See the module.
#[derive(Debug)]
pub struct Log {
    /// Serial of the first entry; 0 is no entry.
    base: u32,
    pub entries: VecDeque<Entry>,
    delivered: u64,
    delivered_at: Time,
    first_sent: Time,
    /// Samples of what was sent before so much was delivered are limited by the sender.
    app_limited_until: u64,
    min_rtt: Option<(Duration, Time)>,
    /// The newest chunk that the current SACK acknowledges, and its round-trip time if it was sent once.
    acked: Option<(Entry, Option<Duration>)>,
    pub rack: Rack,
}

impl Log {
    pub fn new(now: Time) -> Self {
        Self {
            base: 1,
            entries: VecDeque::new(),
            delivered: 0,
            delivered_at: now,
            first_sent: now,
            app_limited_until: 0,
            min_rtt: None,
            acked: None,
            rack: Rack::default(),
        }
    }

    /// The shortest round-trip time of late.
    pub fn min_rtt(&self) -> Option<Duration> {
        self.min_rtt.map(|(rtt, _)| rtt)
    }

    /// A chunk leaves; `idle`: nothing was in flight. Returns its serial.
    pub fn on_sent(&mut self, now: Time, tsn: Tsn, idle: bool) -> u32 {
        if idle {
            (self.first_sent, self.delivered_at) = (now, now);
        }
        self.entries.push_back(Entry {
            tsn,
            sent: now,
            first_sent: self.first_sent,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            app_limited: self.app_limited_until > 0,
            gone: false,
        });
        // Zero is skipped once in four thousand million chunks: that one has no entry that can be found.
        self.base.wrapping_add(self.entries.len() as u32 - 1)
    }

    fn entry(&mut self, serial: u32) -> Option<&mut Entry> {
        self.entries.get_mut(serial.wrapping_sub(self.base) as usize).filter(|entry| serial != 0 && !entry.gone)
    }

    /// A chunk is not on its way any more.
    pub fn forget(&mut self, serial: u32) {
        if let Some(entry) = self.entry(serial) {
            entry.gone = true;
        }
        self.trim();
    }

    /// Lets go of entries at the front that are of no more use.
    pub fn trim(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.gone) {
            self.entries.pop_front();
            self.base = self.base.wrapping_add(1);
        }
    }

    /// A SACK is about to be taken.
    pub fn begin_sack(&mut self) {
        self.acked = None;
    }

    /// A chunk was acknowledged; `again`: which of its copies arrived is not clear.
    pub fn on_acked(&mut self, now: Time, serial: u32, len: usize, again: bool) {
        self.delivered += len as u64;
        self.delivered_at = now;
        let Some(entry) = self.entry(serial) else { return };
        let found = *entry;
        entry.gone = true;
        self.trim();
        let rtt = now.since(found.sent);
        if !again && self.min_rtt.is_none_or(|(least, at)| rtt <= least || now.since(at) > MIN_RTT_WINDOW) {
            self.min_rtt = Some((rtt, now));
        }
        if self.acked.is_none_or(|(newest, _)| found.sent >= newest.sent) {
            self.acked = Some((found, (!again).then_some(rtt)));
        }
        self.update_rack(&found, rtt, again);
    }

    /// RFC 8985 §6.2 steps 1 to 3.
    fn update_rack(&mut self, found: &Entry, rtt: Duration, again: bool) {
        // A chunk that was sent twice and is acknowledged sooner than anything can be: it was the first copy.
        if again && self.min_rtt().is_some_and(|least| rtt < least) {
            return;
        }
        let rack = &mut self.rack;
        if rack
            .newest
            .is_none_or(|(sent, tsn, _)| (found.sent > sent) || (found.sent == sent && found.tsn.follows(tsn)))
        {
            rack.newest = Some((found.sent, found.tsn, rtt));
        }
        match rack.highest {
            Some(highest) if !found.tsn.follows(highest) => rack.reordered |= !again && found.tsn != highest,
            _ => rack.highest = Some(found.tsn),
        }
    }

    /// What the SACK that was just taken says; `None` if it acknowledged nothing of this path.
    pub fn sample(&mut self, now: Time) -> Option<Sample> {
        let (newest, rtt) = self.acked.take()?;
        self.first_sent = newest.sent;
        if self.delivered > self.app_limited_until {
            self.app_limited_until = 0;
        }
        // Neither faster than it was sent, nor than it was acknowledged.
        let interval = newest.sent.since(newest.first_sent).max(now.since(newest.delivered_at));
        let bytes = self.delivered - newest.delivered;
        let plausible = !interval.is_zero() && self.min_rtt().is_none_or(|least| interval >= least);
        let rate = if plausible { (bytes as f64 / interval.as_secs_f64()) as u64 } else { 0 };
        Some(Sample {
            rtt,
            rate,
            app_limited: newest.app_limited,
            prior_delivered: newest.delivered,
            delivered: self.delivered,
        })
    }

    /// There is nothing more to send, though so much more might be in flight than `flight`.
    pub fn on_app_limited(&mut self, flight: usize) {
        self.app_limited_until = (self.delivered + flight as u64).max(1);
    }

    /// The earliest of its timers.
    pub fn deadline(&self) -> Option<Time> {
        [self.rack.timer, self.rack.probe_timer].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_what_was_delivered_while_the_newest_chunk_was_on_its_way() {
        let at = Time::from_millis;
        let mut log = Log::new(at(0));
        // A chunk of 1,000 bytes every 10 ms; each is acknowledged after 100 ms.
        let mut serials = VecDeque::new();
        let mut last = None;
        for step in 0..50u64 {
            if step < 10 {
                serials.push_back(log.on_sent(at(10 * step), Tsn(step as u32), step == 0));
            } else {
                log.begin_sack();
                log.on_acked(at(10 * step), serials.pop_front().unwrap(), 1000, false);
                last = log.sample(at(10 * step));
                // A SACK lets the next one leave.
                serials.push_back(log.on_sent(at(10 * step), Tsn(step as u32), false));
            }
        }
        let last = last.unwrap();
        assert_eq!((last.rate, last.rtt), (100_000, Some(Duration::from_millis(100))));
        assert_eq!((last.delivered - last.prior_delivered, log.min_rtt()), (10_000, Some(Duration::from_millis(100))));
        assert_eq!(log.entries.len(), 10, "what was acknowledged is forgotten");
    }

    #[test]
    fn what_its_user_did_not_fill_is_marked_until_it_was_delivered() {
        let at = Time::from_millis;
        let mut log = Log::new(at(0));
        let first = log.on_sent(at(0), Tsn(1), true);
        log.on_app_limited(1000);
        let second = log.on_sent(at(10), Tsn(2), false);
        let take = |log: &mut Log, serial, now| {
            log.begin_sack();
            log.on_acked(now, serial, 1000, false);
            log.sample(now).unwrap().app_limited
        };
        assert!(!take(&mut log, first, at(100)));
        assert!(take(&mut log, second, at(110)), "it left behind the gap");
        let third = log.on_sent(at(120), Tsn(3), true);
        assert!(!take(&mut log, third, at(220)));
    }

    #[test]
    fn serials_of_what_is_gone_are_not_found() {
        let mut log = Log::new(Time::ZERO);
        let first = log.on_sent(Time::ZERO, Tsn(1), true);
        let second = log.on_sent(Time::ZERO, Tsn(2), false);
        log.forget(second);
        assert_eq!(log.entries.len(), 2, "it is behind one that is not gone");
        log.forget(first);
        assert!(log.entries.is_empty());
        log.begin_sack();
        log.on_acked(Time::ZERO, second, 10, false);
        assert_eq!(log.sample(Time::ZERO), None);
    }
}
