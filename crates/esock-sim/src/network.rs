//! Hosts, links, and virtual time.

use crate::link::{Fate, Link, LinkConfig};
use crate::pcapng::Capture;
use esock_proto::{
    Address, AssocEvent, AssocId, Datagram, EndpointConfig, EndpointId, Icmp, IcmpKind, Local, SocketId, Stack,
    StackConfig, Time,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Packets of one batch.
const MAX_SEGMENTS: usize = 16;
/// Bytes of IPv4 or IPv6 header, and of UDP.
const UDP_BYTES: usize = 8;

/// A host: a stack with one endpoint.
#[derive(Debug)]
pub struct Host {
    /// The stack.
    pub stack: Stack,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// What has happened, until somebody takes it.
    pub events: Vec<AssocEvent>,
    /// Associations that it accepted, until somebody takes them.
    pub accepted: Vec<AssocId>,
    /// Whether it takes peers.
    pub accepts: bool,
    /// It is suspended until then: it does nothing, and what arrives is lost. Its clock goes on.
    pub asleep_until: Time,
    /// When it was last looked after, and whether something has happened since.
    dirty: bool,
}

/// A packet on its way.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    at: Time,
    /// Packets of one moment arrive in the order in which they left.
    order: u64,
    host: usize,
    from: Address,
    to: Address,
    data: Vec<u8>,
}

/// See the crate.
#[derive(Debug)]
pub struct Network {
    /// The time.
    pub now: Time,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// Randomness of the network itself; the stacks have their own.
    pub rng: StdRng,
    /// Every packet that is sent, if wanted.
    pub capture: Option<Capture>,
    /// Packets sent so far.
    pub packets: u64,
    links: HashMap<(usize, Address), Link>,
    owners: HashMap<Address, usize>,
    /// What came to addresses that no host has, where somebody listens.
    outsiders: HashMap<Address, Vec<Vec<u8>>>,
    arrivals: BinaryHeap<Reverse<Arrival>>,
    order: u64,
    buffer: Vec<u8>,
}

impl Network {
    /// An empty network.
    pub fn new(seed: u64) -> Self {
        Self::starting_at(seed, Time::from_millis(1000))
    }

    /// An empty network whose clock begins at `now`.
    pub fn starting_at(seed: u64, now: Time) -> Self {
        Self {
            now,
            hosts: Vec::new(),
            rng: StdRng::seed_from_u64(seed),
            capture: None,
            packets: 0,
            links: HashMap::new(),
            owners: HashMap::new(),
            outsiders: HashMap::new(),
            arrivals: BinaryHeap::new(),
            order: 0,
            buffer: vec![0; 1 << 16],
        }
    }

    /// Adds a host with one endpoint, which accepts peers.
    ///
    /// # Panics
    ///
    /// If the configuration cannot work.
    pub fn add_host(&mut self, stack: StackConfig, endpoint: EndpointConfig) -> usize {
        let index = self.hosts.len();
        let addresses = endpoint.addresses.clone();
        self.owners.extend(addresses.iter().map(|address| (*address, index)));
        let host = self.make_host(stack, endpoint);
        self.hosts.push(host);
        index
    }

    /// Replaces a host by a new one with the same addresses: it has crashed and forgotten everything.
    pub fn restart_host(&mut self, index: usize, stack: StackConfig, endpoint: EndpointConfig) {
        self.hosts[index] = self.make_host(stack, endpoint);
    }

    fn make_host(&mut self, config: StackConfig, endpoint: EndpointConfig) -> Host {
        let mut stack = Stack::new(config, self.rng.random(), self.now);
        let addresses = endpoint.addresses.clone();
        let opened = stack.open(endpoint);
        let endpoint = opened.unwrap_or_else(|error| panic!("the scenario's endpoint cannot be opened: {error}"));
        stack.set_accepting(endpoint, true);
        Host {
            stack,
            endpoint,
            addresses,
            events: Vec::new(),
            accepted: Vec::new(),
            accepts: true,
            asleep_until: Time::ZERO,
            dirty: true,
        }
    }

    /// Sets the link from a host to an address of another.
    pub fn link(&mut self, from: usize, to: Address, config: LinkConfig) {
        self.links.insert((from, to), Link::new(config));
    }

    /// The link from a host to an address, to be changed.
    pub fn link_mut(&mut self, from: usize, to: Address) -> Option<&mut LinkConfig> {
        self.links.get_mut(&(from, to)).map(|link| &mut link.config)
    }

    /// A host was given a command: what it has to say is sent with the next step.
    pub fn touch(&mut self, host: usize) {
        self.hosts[host].dirty = true;
    }

    /// Sends what hosts have to say, then goes on to the next moment at which something happens, not beyond
    /// `end`. Returns whether there was one.
    pub fn step(&mut self, end: Time) -> bool {
        for host in 0..self.hosts.len() {
            if self.hosts[host].dirty && self.hosts[host].asleep_until <= self.now {
                self.hosts[host].dirty = false;
                self.look_after(host);
            }
        }
        let wakes = |host: &Host| host.stack.poll_timeout().map(|at| at.max(host.asleep_until));
        let timers = self.hosts.iter().filter_map(wakes);
        let arrival = self.arrivals.peek().map(|Reverse(arrival)| arrival.at);
        let Some(next) = timers.chain(arrival).min().filter(|at| *at <= end) else {
            self.now = self.now.max(end);
            return false;
        };
        self.now = self.now.max(next);
        while self.arrivals.peek().is_some_and(|Reverse(arrival)| arrival.at <= self.now) {
            if let Some(Reverse(arrival)) = self.arrivals.pop() {
                self.deliver(&arrival);
            }
        }
        for host in &mut self.hosts {
            if host.asleep_until <= self.now && host.stack.poll_timeout().is_some_and(|at| at <= self.now) {
                host.stack.handle_timeout(self.now);
                host.dirty = true;
            }
        }
        true
    }

    /// Somebody who is no host listens at an address: [`Network::overheard`] tells what is sent there.
    pub fn listen(&mut self, address: Address) {
        self.outsiders.entry(address).or_default();
    }

    /// The packets that were sent to an address where somebody listens, since the last time.
    pub fn overheard(&mut self, address: Address) -> Vec<Vec<u8>> {
        self.outsiders.get_mut(&address).map(std::mem::take).unwrap_or_default()
    }

    /// Somebody sends a packet, true or not, to a host's address: it arrives at once, over no link.
    ///
    /// # Panics
    ///
    /// If no host has the address.
    pub fn inject(&mut self, from: Address, to: Address, data: Vec<u8>) {
        let host = self.owners[&to];
        self.order += 1;
        self.arrivals.push(Reverse(Arrival { at: self.now, order: self.order, host, from, to, data }));
    }

    /// Lets time pass.
    pub fn run_until(&mut self, end: Time) {
        while self.step(end) {}
    }

    /// Gives back the memory that the network itself does not need; the stacks keep theirs.
    pub fn compact(&mut self) {
        self.arrivals.shrink_to_fit();
        for host in &mut self.hosts {
            host.events.shrink_to_fit();
            host.accepted.shrink_to_fit();
        }
    }

    fn deliver(&mut self, arrival: &Arrival) {
        let datagram = Datagram {
            local: Local { address: Some(arrival.to), socket: Some(SocketId(0)), interface: 0 },
            remote: arrival.from,
            encap_port: Some(9899),
            ecn: None,
            data: &arrival.data,
        };
        let host = &mut self.hosts[arrival.host];
        if host.asleep_until > self.now {
            return;
        }
        host.stack.handle_datagram(self.now, datagram);
        host.dirty = true;
    }

    fn look_after(&mut self, index: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            let host = &mut self.hosts[index];
            while let Some(incoming) = host.stack.poll_incoming() {
                if host.accepts {
                    host.accepted.extend(host.stack.accept(self.now, incoming));
                } else {
                    host.stack.refuse(self.now, incoming, b"");
                }
            }
            while let Some(event) = host.stack.poll_event() {
                host.events.push(event);
            }
            let Some(transmit) = host.stack.poll_transmit(self.now, MAX_SEGMENTS, &mut buffer) else { break };
            let from = transmit.local.address.unwrap_or(host.addresses[0]);
            for data in buffer[..transmit.size].chunks(transmit.segment_size.unwrap_or(transmit.size)) {
                self.send(index, from, transmit.remote, transmit.dont_fragment, data);
            }
        }
        self.buffer = buffer;
    }

    fn send(&mut self, host: usize, from: Address, to: Address, dont_fragment: bool, data: &[u8]) {
        self.packets += 1;
        if let Some(capture) = &mut self.capture {
            capture.add(self.now, from, to, data);
        }
        if let Some(heard) = self.outsiders.get_mut(&to) {
            heard.push(data.to_vec());
        }
        let (Some(owner), Some(link)) = (self.owners.get(&to).copied(), self.links.get_mut(&(host, to))) else {
            return;
        };
        let bytes = to.ip_header_bytes() + UDP_BYTES + data.len();
        match link.enter(self.now, bytes, dont_fragment, &mut self.rng) {
            Fate::Lost => {}
            Fate::TooBig => {
                let kind = IcmpKind::PacketTooBig(link.config.mtu as u32);
                let quoted = &data[..data.len().min(64)];
                self.hosts[host].stack.handle_icmp(self.now, Icmp { kind, remote: to, encap_port: Some(9899), quoted });
            }
            Fate::Arrives(times) => {
                for (at, corrupt) in times {
                    let mut data = data.to_vec();
                    if corrupt {
                        let bit = self.rng.random_range(0..data.len() * 8);
                        data[bit / 8] ^= 1 << (bit % 8);
                    }
                    self.order += 1;
                    self.arrivals.push(Reverse(Arrival { at, order: self.order, host: owner, from, to, data }));
                }
            }
        }
    }
}
