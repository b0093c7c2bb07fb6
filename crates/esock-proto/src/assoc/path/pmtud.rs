//! Packetization layer path MTU discovery (RFC 8899): a search with padded HEARTBEATs. It begins when packets are full:
//! who sends small messages, or none, has no use for a larger MTU, and probes cost both ends and the network (RFC 8899
//! §5.1.1: without data they may be left out).

use crate::time::Time;
use std::time::Duration;

/// Sizes worth trying, in bytes of IP packet: links people have.
const LADDER: [u16; 11] = [1280, 1400, 1428, 1454, 1480, 1492, 1500, 2000, 4352, 9000, 65528];
/// What every link of IPv6 carries (RFC 8200 §5), and every host of IPv4 (RFC 791).
const MIN_IPV6: u16 = 1280;
const MIN_IPV4: u16 = 576;
/// RFC 8899 §5.1.2: probes of one size before it is given up.
const MAX_PROBES: u8 = 3;
/// RFC 8899 §5.1.1: PMTU_RAISE_TIMER.
const RAISE_AFTER: Duration = Duration::from_secs(600);
/// Timeouts in a row, with data in flight, that make a black hole likely (RFC 8899 §4.3).
const BLACK_HOLE_TIMEOUTS: u8 = 2;

/// What a path can carry, and the search for it.
#[derive(Debug, Clone)]
pub struct Pmtud {
    /// What is used now, bytes of IP packet.
    mtu: u16,
    /// What always works: BASE_PLPMTU.
    base: u16,
    /// Nothing larger is tried.
    max: u16,
    /// Nothing this large or larger works, as far as is known.
    too_large: u32,
    phase: Phase,
    timeouts: u8,
    /// What may be tried once the search goes on, while it is switched off.
    held: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not searching (yet, or at all).
    Off,
    /// The path is confirmed; the search begins when there is a use for it.
    Ready,
    /// Trying this size for the n-th time.
    Searching { size: u16, tries: u8 },
    /// Done until then.
    Complete { raise_at: Time },
}

impl Pmtud {
    pub fn new(initial: u16, base: u16, max: u16) -> Self {
        Self {
            mtu: initial,
            base: base.min(initial),
            max: max.max(initial),
            too_large: u32::from(u16::MAX) + 1,
            phase: Phase::Off,
            timeouts: 0,
            held: None,
        }
    }

    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// A size that the user fixed.
    pub fn fix(&mut self, mtu: u16) {
        self.mtu = mtu;
        self.base = self.base.min(mtu);
        self.hold();
        self.max = mtu;
    }

    /// Stops the search: what is used now stays.
    pub fn hold(&mut self) {
        self.held.get_or_insert(self.max);
        self.phase = Phase::Off;
        self.max = self.mtu;
    }

    /// Takes a search up again that was stopped, or begins it before there is a use for it. Returns whether a probe is
    /// wanted that was not before.
    pub fn resume(&mut self, now: Time) -> bool {
        let Some(max) = self.held.take() else { return self.start(now) };
        self.max = max.max(self.mtu);
        self.too_large = u32::from(u16::MAX) + 1;
        self.phase = Phase::Ready;
        self.start(now)
    }

    /// The path is confirmed: it may be searched.
    pub fn allow(&mut self) {
        if self.held.is_none() {
            self.phase = Phase::Ready;
        }
    }

    /// A larger MTU would be of use: begins the search, if it may and has not. Returns whether a probe is wanted that
    /// was not before.
    pub fn start(&mut self, now: Time) -> bool {
        let begins = self.phase == Phase::Ready;
        if begins {
            self.next_size(now);
        }
        begins && self.wants_probe()
    }

    pub fn wants_probe(&self) -> bool {
        matches!(self.phase, Phase::Searching { .. })
    }

    /// The size of the next probe, in bytes of IP packet.
    pub fn probe_size(&self) -> Option<u16> {
        match self.phase {
            Phase::Searching { size, .. } => Some(size),
            _ => None,
        }
    }

    /// When the search should be taken up again.
    pub fn deadline(&self) -> Option<Time> {
        match self.phase {
            Phase::Complete { raise_at } => Some(raise_at),
            _ => None,
        }
    }

    /// The raise timer.
    pub fn on_timer(&mut self, now: Time) {
        if self.deadline().is_some_and(|at| at <= now) {
            self.too_large = u32::from(u16::MAX) + 1;
            self.next_size(now);
        }
    }

    /// A probe of `size` was acknowledged. Returns whether the MTU grew.
    pub fn on_probe_acked(&mut self, now: Time, size: u16) -> bool {
        if size <= self.mtu {
            return false;
        }
        self.mtu = size;
        self.next_size(now);
        true
    }

    /// A probe of `size` was not acknowledged in time.
    pub fn on_probe_lost(&mut self, now: Time, lost: u16) {
        if let Phase::Searching { size, tries } = self.phase
            && size == lost
        {
            if tries + 1 >= MAX_PROBES {
                self.too_large = self.too_large.min(u32::from(size));
                self.next_size(now);
            } else {
                self.phase = Phase::Searching { size, tries: tries + 1 };
            }
        }
    }

    /// ICMP Packet Too Big for a packet of ours. Returns whether the MTU in use fell.
    pub fn on_too_big(&mut self, now: Time, mtu: u32) -> bool {
        let searches = self.phase != Phase::Off;
        // RFC 8899 §4.6.2: below the minimum or not below what we send, it says nothing. Without probes to find out
        // what is true, a small link is believed.
        let least = if searches || self.base >= MIN_IPV6 { self.base.min(MIN_IPV6) } else { MIN_IPV4 };
        if mtu < u32::from(least) {
            return false;
        }
        if mtu < u32::from(self.mtu) {
            self.mtu = (mtu as u16).max(if searches { self.base } else { least });
            self.base = self.base.min(self.mtu);
            self.too_large = mtu + 1;
            if searches {
                self.next_size(now);
            }
            return true;
        }
        if let Phase::Searching { size, .. } = self.phase
            && mtu < u32::from(size)
        {
            self.too_large = self.too_large.min(mtu + 1);
            self.next_size(now);
        }
        false
    }

    /// T3-rtx expired with packets of the current size in flight. Returns whether the MTU fell back.
    pub fn on_timeout(&mut self, now: Time) -> bool {
        self.timeouts = self.timeouts.saturating_add(1);
        if self.timeouts < BLACK_HOLE_TIMEOUTS || self.mtu == self.base || self.phase == Phase::Off {
            return false;
        }
        self.too_large = u32::from(self.mtu);
        self.mtu = self.base;
        self.timeouts = 0;
        self.next_size(now);
        true
    }

    /// Data got through.
    pub fn on_progress(&mut self) {
        self.timeouts = 0;
    }

    fn next_size(&mut self, now: Time) {
        // The largest size of all is worth one try of its own: it may be no rung.
        let rung = LADDER.iter().copied().chain([self.max]).filter(|size| *size > self.mtu && *size <= self.max);
        self.phase = match rung.filter(|size| u32::from(*size) < self.too_large).min() {
            Some(size) => Phase::Searching { size, tries: 0 },
            None => Phase::Complete { raise_at: now + RAISE_AFTER },
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::ZERO;

    fn search(link: u16) -> Pmtud {
        let mut pmtud = Pmtud::new(1280, 1280, 9000);
        pmtud.allow();
        assert_eq!(pmtud.probe_size(), None, "nobody has a use for it yet");
        pmtud.start(NOW);
        while let Some(size) = pmtud.probe_size() {
            if size <= link {
                pmtud.on_probe_acked(NOW, size);
            } else {
                pmtud.on_probe_lost(NOW, size)
            }
        }
        pmtud
    }

    #[test]
    fn the_search_ends_at_what_the_link_carries() {
        assert_eq!(search(1500).mtu(), 1500);
        assert_eq!(search(9000).mtu(), 9000);
        assert_eq!(search(1280).mtu(), 1280);
        assert_eq!(search(1460).mtu(), 1454);
    }

    #[test]
    fn a_black_hole_and_packet_too_big_bring_it_down() {
        let mut pmtud = search(1500);
        assert!(!pmtud.on_timeout(NOW));
        assert!(pmtud.on_timeout(NOW));
        assert_eq!(pmtud.mtu(), 1280);
        let mut pmtud = search(9000);
        assert!(pmtud.on_too_big(NOW, 1500));
        assert_eq!(pmtud.mtu(), 1500);
        assert!(!pmtud.on_too_big(NOW, 40), "nonsense is ignored");
        assert_eq!(pmtud.probe_size(), None);
    }

    #[test]
    fn a_search_that_was_stopped_stays_so_until_it_is_taken_up_again() {
        let mut pmtud = search(1500);
        pmtud.fix(1300);
        assert!(!pmtud.start(NOW));
        assert_eq!((pmtud.mtu(), pmtud.deadline()), (1300, None));
        assert!(pmtud.resume(NOW));
        assert_eq!(pmtud.probe_size(), Some(1400));
        assert!(!pmtud.resume(NOW), "it was not stopped");
    }

    #[test]
    fn without_a_search_packet_too_big_is_followed_and_nothing_is_probed() {
        let mut pmtud = Pmtud::new(1400, 1200, 9000);
        pmtud.fix(1500);
        assert!(pmtud.on_too_big(NOW, 1000));
        assert_eq!((pmtud.mtu(), pmtud.probe_size(), pmtud.deadline()), (1000, None, None));
        assert!(!pmtud.on_too_big(NOW, 500), "no host of IPv4 is that small");
        let mut pmtud = Pmtud::new(1280, 1280, 9000);
        assert!(!pmtud.on_too_big(NOW, 1000), "no link of IPv6 is");
    }

    #[test]
    fn the_search_is_taken_up_again_after_ten_minutes() {
        let mut pmtud = search(1500);
        let at = pmtud.deadline().unwrap();
        assert_eq!(at, NOW + RAISE_AFTER);
        pmtud.on_timer(at);
        assert_eq!(pmtud.probe_size(), Some(2000));
    }
}
