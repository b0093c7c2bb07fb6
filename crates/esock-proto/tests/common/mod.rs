//! Two stacks and the wire between them, in virtual time.
#![expect(dead_code, reason = "each test file uses its part")]

use esock_proto::*;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

pub const PORT: u16 = 30400;
pub const DELAY: Duration = Duration::from_millis(5);

/// One end.
pub struct Host {
    pub stack: Stack,
    pub endpoint: EndpointId,
    pub addresses: Vec<Address>,
    pub events: Vec<AssocEvent>,
    pub accepted: Vec<AssocId>,
    pub accept: bool,
}

/// A packet on the wire.
#[derive(Clone)]
pub struct Packet {
    pub at: Time,
    pub to: usize,
    pub local: Address,
    pub remote: Address,
    pub data: Vec<u8>,
}

/// Both ends.
pub struct Pair {
    pub now: Time,
    pub hosts: [Host; 2],
    pub wire: VecDeque<Packet>,
    /// Decides whether a packet passes.
    pub filter: Box<dyn FnMut(&Packet) -> bool>,
    /// Every packet that was sent.
    pub log: Vec<Packet>,
}

pub fn address(host: usize, path: usize) -> Address {
    Ipv4Addr::new(10, path as u8, 0, host as u8 + 1).into()
}

pub fn config() -> Config {
    Config::default()
}

pub fn config_with(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = config();
    change(&mut config);
    config
}

impl Pair {
    pub fn new(paths: usize, configs: [Config; 2]) -> Self {
        let mut host = 0;
        let hosts = configs.map(|config| {
            let mut stack = Stack::new(StackConfig::default(), [host as u8 + 1; 32], Time::ZERO);
            let addresses: Vec<Address> = (0..paths).map(|path| address(host, path)).collect();
            let endpoint = stack
                .open(EndpointConfig {
                    port: if host == 0 { 5000 } else { PORT },
                    addresses: addresses.clone(),
                    host_addresses: Vec::new(),
                    config,
                })
                .expect("the test set it up");
            stack.set_accepting(endpoint, host == 1);
            host += 1;
            Host { stack, endpoint, addresses, events: Vec::new(), accepted: Vec::new(), accept: true }
        });
        Self { now: Time::from_millis(1000), hosts, wire: VecDeque::new(), filter: Box::new(|_| true), log: Vec::new() }
    }

    pub fn connect(&mut self) -> AssocId {
        let peer =
            Peer { addresses: self.hosts[1].addresses.clone(), port: PORT, encapsulation: Encapsulation::Default };
        let endpoint = self.hosts[0].endpoint;
        self.hosts[0].stack.connect(self.now, endpoint, &peer, None).expect("the test set it up")
    }

    /// Connected, both ends up.
    pub fn established(paths: usize, configs: [Config; 2]) -> (Self, AssocId, AssocId) {
        let mut pair = Self::new(paths, configs);
        let client = pair.connect();
        pair.run(Duration::from_millis(100));
        let server = pair.hosts[1].accepted[0];
        assert_eq!(pair.hosts[0].stack.state(client), Some(State::Established));
        assert_eq!(pair.hosts[1].stack.state(server), Some(State::Established));
        (pair, client, server)
    }

    fn collect(&mut self, host: usize) {
        let mut buf = vec![0; 1 << 16];
        let Host { stack, events, accepted, accept, .. } = &mut self.hosts[host];
        while let Some(incoming) = stack.poll_incoming() {
            if *accept {
                accepted.extend(stack.accept(self.now, incoming));
            } else {
                stack.refuse(self.now, incoming, b"not you");
            }
        }
        while let Some(transmit) = stack.poll_transmit(self.now, 10, &mut buf) {
            for segment in buf[..transmit.size].chunks(transmit.segment_size.unwrap_or(transmit.size)) {
                let packet = Packet {
                    at: self.now + DELAY,
                    to: 1 - host,
                    local: transmit.remote,
                    remote: transmit.local.address.expect("explicit addresses"),
                    data: segment.to_vec(),
                };
                self.log.push(packet.clone());
                if (self.filter)(&packet) {
                    self.wire.push_back(packet);
                }
            }
        }
        while let Some(event) = stack.poll_event() {
            events.push(event);
        }
    }

    /// Hands a packet to its host.
    pub fn deliver(&mut self, packet: &Packet) {
        let datagram = Datagram {
            local: Local { address: Some(packet.local), socket: Some(SocketId(0)), interface: 0 },
            remote: packet.remote,
            encap_port: Some(9899),
            ecn: None,
            data: &packet.data,
        };
        self.hosts[packet.to].stack.handle_datagram(self.now, datagram);
    }

    /// The next thing that happens, not after `end`. Returns whether there was one.
    pub fn step(&mut self, end: Time) -> bool {
        self.collect(0);
        self.collect(1);
        let timers = self.hosts.iter().filter_map(|host| host.stack.poll_timeout()).min();
        let wire = self.wire.front().map(|packet| packet.at);
        let Some(next) = timers.into_iter().chain(wire).min().filter(|at| *at <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(next);
        while self.wire.front().is_some_and(|packet| packet.at <= self.now) {
            let packet = self.wire.pop_front().expect("the test set it up");
            self.deliver(&packet);
        }
        for host in &mut self.hosts {
            host.stack.handle_timeout(self.now);
        }
        true
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        let mut steps = 0;
        while self.step(end) {
            steps += 1;
            assert!(steps < 5_000_000, "this never ends");
        }
    }

    pub fn send(&mut self, host: usize, assoc: AssocId, stream: u16, payload: &[u8]) {
        let options = SendOptions { stream: StreamId(stream), ppid: Ppid(46), ..SendOptions::default() };
        self.hosts[host].stack.send(self.now, assoc, options, payload.to_vec().into()).expect("the test set it up");
    }

    pub fn recv_all(&mut self, host: usize, assoc: AssocId) -> Vec<Message> {
        let now = self.now;
        std::iter::from_fn(|| self.hosts[host].stack.recv(now, assoc)).collect()
    }

    pub fn stats(&self, host: usize, assoc: AssocId) -> AssociationStats {
        self.hosts[host].stack.association(self.now, assoc).expect("the test set it up")
    }

    pub fn closed(&self, host: usize) -> Option<CloseReason> {
        self.hosts[host].events.iter().find_map(|(_, event)| match event {
            Event::Closed(reason) => Some(reason.clone()),
            _ => None,
        })
    }
}

/// The chunk types of a packet.
pub fn chunk_kinds(packet: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    let mut at = 12;
    while at + 4 <= packet.len() {
        kinds.push(packet[at]);
        let len = usize::from(u16::from_be_bytes([packet[at + 2], packet[at + 3]]));
        at += (len.max(4) + 3) & !3;
    }
    kinds
}

pub fn ip(text: &str) -> Address {
    text.parse::<IpAddr>().expect("the test set it up").into()
}
