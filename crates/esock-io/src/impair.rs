//! A bad network on demand: block, drop or delay packets by the peer's address, for demonstrations and tests.

use esock_proto::{Address, Datagram, Ecn, Local, Time, Transmit};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

/// Packets held back at most; more are dropped.
const MOST_HELD_PACKETS: usize = 16_384;

/// Bytes held back at most; more are dropped.
const MOST_HELD_BYTES: usize = 16 << 20;

/// Which packets an impairment is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the peer to us.
    Incoming,
    /// From us to the peer.
    Outgoing,
    /// Either way.
    Both,
}

impl Direction {
    fn indices(self) -> &'static [usize] {
        match self {
            Self::Incoming => &[INCOMING],
            Self::Outgoing => &[OUTGOING],
            Self::Both => &[INCOMING, OUTGOING],
        }
    }
}

const INCOMING: usize = 0;
const OUTGOING: usize = 1;

/// What happens to packets of one address in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Rule {
    blocked: bool,
    drop_probability: f64,
    delay: Duration,
}

/// Blocks, drops and delays packets by the address of the peer. Costs nothing while no rule is set.
///
/// See [`Driver::impairment`](crate::Driver::impairment).
#[derive(Debug)]
pub struct Impairment {
    rules: HashMap<Address, [Rule; 2]>,
    random: StdRng,
    held: BinaryHeap<Reverse<Held>>,
    held_bytes: usize,
    sequence: u64,
    dropped: u64,
    broken: bool,
}

/// What an [`Impairment`] does, by address.
#[derive(Debug, Clone)]
pub struct Rules {
    by_address: HashMap<Address, [Rule; 2]>,
    broken: bool,
}

/// A packet on its way through the bad network.
#[derive(Debug)]
pub(crate) struct Held {
    due: Time,
    sequence: u64,
    pub(crate) packet: Packet,
    pub(crate) data: Box<[u8]>,
}

/// Where a held packet goes.
#[derive(Debug)]
pub(crate) enum Packet {
    In { local: Local, remote: Address, encap_port: Option<u16>, ecn: Option<Ecn> },
    Out(Transmit),
}

impl Impairment {
    /// A network without faults.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rules: HashMap::new(),
            random: StdRng::seed_from_u64(seed),
            held: BinaryHeap::new(),
            held_bytes: 0,
            sequence: 0,
            dropped: 0,
            broken: false,
        }
    }

    /// Drops every packet from, or to, `remote`, until [`Impairment::unblock`].
    pub fn block(&mut self, remote: Address, direction: Direction) {
        self.change(remote, direction, |rule| rule.blocked = true);
    }

    /// Ends [`Impairment::block`].
    pub fn unblock(&mut self, remote: Address, direction: Direction) {
        self.change(remote, direction, |rule| rule.blocked = false);
    }

    /// Drops each packet with this probability, 0 to 1; 0 ends it.
    pub fn set_drop_probability(&mut self, remote: Address, direction: Direction, probability: f64) {
        let probability = probability.clamp(0.0, 1.0);
        self.change(remote, direction, |rule| rule.drop_probability = probability);
    }

    /// Holds each packet back for `delay`; zero ends it. At most 16,384 packets and 16 MiB are held in
    /// all, further ones are dropped.
    pub fn set_delay(&mut self, remote: Address, direction: Direction, delay: Duration) {
        self.change(remote, direction, |rule| rule.delay = delay);
    }

    /// Ends all rules. Packets that are held back still arrive in their time.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// Lets the driver's next turn fail as if its sockets had.
    pub fn break_sockets(&mut self) {
        self.broken = true;
    }

    /// What it does now, for others that are to do the same: drivers that share a UDP port.
    pub fn rules(&self) -> Rules {
        Rules { by_address: self.rules.clone(), broken: self.broken }
    }

    /// Does from now on what another one does.
    pub fn follow(&mut self, rules: Rules) {
        self.rules = rules.by_address;
        self.broken |= rules.broken;
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Begins the random decisions anew.
    pub fn reseed(&mut self, seed: u64) {
        self.random = StdRng::seed_from_u64(seed);
    }

    /// Packets dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Packets held back now.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    fn change(&mut self, remote: Address, direction: Direction, change: impl Fn(&mut Rule)) {
        let rules = self.rules.entry(remote).or_default();
        for index in direction.indices() {
            change(&mut rules[*index]);
        }
        if *rules == [Rule::default(); 2] {
            self.rules.remove(&remote);
        }
    }

    /// Whether packets to `remote` are to be handed to [`Impairment::send`].
    pub(crate) fn affects_outgoing(&self, remote: Address) -> bool {
        !self.rules.is_empty() && self.rules.get(&remote).is_some_and(|rules| rules[OUTGOING] != Rule::default())
    }

    /// Decides on a packet that has arrived; says whether it goes on to the stack now.
    pub(crate) fn receive(&mut self, now: Time, datagram: &Datagram<'_>) -> bool {
        if self.rules.is_empty() {
            return true;
        }
        let Some(rule) = self.rules.get(&datagram.remote).map(|rules| rules[INCOMING]) else {
            return true;
        };
        if self.is_dropped(rule) {
            return false;
        }
        if rule.delay.is_zero() {
            return true;
        }
        let Datagram { local, remote, encap_port, ecn, data } = *datagram;
        self.hold(now + rule.delay, Packet::In { local, remote, encap_port, ecn }, data);
        false
    }

    /// Takes packets that are to be sent; those that are not dropped come back from [`Impairment::due`].
    pub(crate) fn send(&mut self, now: Time, transmit: &Transmit, data: &[u8]) {
        let rule = self.rules.get(&transmit.remote).map(|rules| rules[OUTGOING]);
        let rule = rule.unwrap_or_default();
        for segment in data.chunks(transmit.segment_size.unwrap_or(data.len()).max(1)) {
            if !self.is_dropped(rule) {
                let one = Transmit { size: segment.len(), segment_size: None, ..*transmit };
                self.hold(now + rule.delay, Packet::Out(one), segment);
            }
        }
    }

    /// The next packet whose time has come.
    pub(crate) fn due(&mut self, now: Time) -> Option<Held> {
        if self.held.peek()?.0.due > now {
            return None;
        }
        let held = self.held.pop()?.0;
        self.held_bytes -= held.data.len();
        Some(held)
    }

    /// Takes a packet back that could not leave.
    pub(crate) fn put_back(&mut self, held: Held) {
        self.held_bytes += held.data.len();
        self.held.push(Reverse(held));
    }

    /// When the next packet is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.held.peek().map(|held| held.0.due)
    }

    fn is_dropped(&mut self, rule: Rule) -> bool {
        let dropped =
            rule.blocked || (rule.drop_probability > 0.0 && self.random.random::<f64>() < rule.drop_probability);
        self.dropped += u64::from(dropped);
        dropped
    }

    fn hold(&mut self, due: Time, packet: Packet, data: &[u8]) {
        if self.held.len() >= MOST_HELD_PACKETS || self.held_bytes + data.len() > MOST_HELD_BYTES {
            self.dropped += 1;
            return;
        }
        self.sequence += 1;
        self.held_bytes += data.len();
        let held = Held { due, sequence: self.sequence, packet, data: data.into() };
        self.held.push(Reverse(held));
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.sequence).cmp(&(other.due, other.sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn address(last: u8) -> Address {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    fn datagram(remote: Address) -> Datagram<'static> {
        let local = Local::default();
        Datagram { local, remote, encap_port: Some(9899), ecn: None, data: b"packet" }
    }

    fn transmit(remote: Address, size: usize, segment_size: usize) -> Transmit {
        Transmit {
            local: Local::default(),
            remote,
            encap_port: Some(9899),
            ecn: None,
            size,
            segment_size: Some(segment_size),
            dont_fragment: true,
        }
    }

    #[test]
    fn a_block_is_for_one_address_and_one_direction_until_it_ends() {
        let mut network = Impairment::new(1);
        network.block(address(1), Direction::Incoming);
        assert!(!network.receive(Time::ZERO, &datagram(address(1))));
        assert!(network.receive(Time::ZERO, &datagram(address(2))));
        assert!(!network.affects_outgoing(address(1)));
        network.unblock(address(1), Direction::Both);
        assert!(network.receive(Time::ZERO, &datagram(address(1))));
        assert!(network.rules.is_empty(), "nothing is looked up any more");
        assert_eq!(network.dropped(), 1);
    }

    #[test]
    fn packets_are_dropped_with_the_probability_given_and_the_same_seed_drops_the_same() {
        let mut decisions = Vec::new();
        for _ in 0..2 {
            let mut network = Impairment::new(7);
            network.set_drop_probability(address(1), Direction::Incoming, 0.25);
            let passed: Vec<bool> = (0..4000).map(|_| network.receive(Time::ZERO, &datagram(address(1)))).collect();
            decisions.push(passed);
        }
        let passed = decisions[0].iter().filter(|passed| **passed).count();
        assert!((2850..=3150).contains(&passed), "{passed} of 4000");
        assert_eq!(decisions[0], decisions[1]);
    }

    #[test]
    fn a_delay_holds_each_segment_back_and_keeps_their_order() {
        let mut network = Impairment::new(1);
        network.set_delay(address(1), Direction::Outgoing, Duration::from_millis(5));
        let start = Time::from_millis(100);
        network.send(start, &transmit(address(1), 7, 3), b"aaabbbc");
        assert_eq!(network.deadline(), Some(Time::from_millis(105)));
        assert!(network.due(Time::from_millis(104)).is_none());
        let mut data = Vec::new();
        while let Some(held) = network.due(Time::from_millis(105)) {
            data.push(held.data.to_vec());
        }
        assert_eq!(data, [b"aaa".to_vec(), b"bbb".to_vec(), b"c".to_vec()]);
        assert_eq!((network.held(), network.held_bytes), (0, 0));
    }

    #[test]
    fn what_is_held_back_is_bounded() {
        let mut network = Impairment::new(1);
        network.set_delay(address(1), Direction::Incoming, Duration::from_secs(1));
        for _ in 0..MOST_HELD_PACKETS + 10 {
            assert!(!network.receive(Time::ZERO, &datagram(address(1))));
        }
        assert_eq!((network.held(), network.dropped()), (MOST_HELD_PACKETS, 10));
    }
}
