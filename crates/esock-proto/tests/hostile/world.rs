//! One stack, and whoever sends it packets.

use crate::wire::{self, InitFields, chunk, packet};
use esock_proto::*;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

pub const PORT: u16 = 30_400;
/// A peer's SCTP port.
pub const PEER_PORT: u16 = 5000;
/// A peer's UDP port.
pub const UDP: u16 = 9899;

/// A packet that the stack has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub to: Address,
    pub data: Vec<u8>,
}

pub struct World {
    pub stack: Stack,
    pub endpoint: EndpointId,
    pub now: Time,
    pub events: Vec<AssocEvent>,
    pub accepted: Vec<AssocId>,
    /// Whether peers are accepted at once; else they wait in `incoming`.
    pub decide: bool,
    pub incoming: Vec<Incoming>,
    buffer: Vec<u8>,
}

pub fn ip(text: &str) -> Address {
    text.parse::<IpAddr>().expect("an address").into()
}

/// The endpoint's own address.
pub fn home() -> Address {
    Ipv4Addr::new(10, 0, 0, 1).into()
}

/// An attacker's address.
pub fn evil() -> Address {
    Ipv4Addr::new(10, 0, 0, 66).into()
}

/// Nothing but what the test is about: no MTU search, no heartbeats of confirmed paths.
pub fn quiet() -> Config {
    let mut config = Config::default();
    config.pmtud = false;
    config.heartbeat_interval = None;
    config
}

impl World {
    pub fn new() -> Self {
        Self::with(quiet(), StackConfig::default())
    }

    pub fn with(config: Config, stack: StackConfig) -> Self {
        Self::at(vec![home()], config, stack)
    }

    pub fn at(addresses: Vec<Address>, config: Config, stack: StackConfig) -> Self {
        let now = Time::from_millis(1_000_000);
        let mut stack = Stack::new(stack, [7; 32], now);
        let endpoint = EndpointConfig { port: PORT, addresses, host_addresses: Vec::new(), config };
        let endpoint = stack.open(endpoint).expect("a sound configuration");
        stack.set_accepting(endpoint, true);
        let mut world = Self {
            stack,
            endpoint,
            now,
            events: Vec::new(),
            accepted: Vec::new(),
            decide: true,
            incoming: Vec::new(),
            buffer: vec![0; 1 << 16],
        };
        // Queues get their first room now, so that what a test counts is what its packets cost.
        let init = packet(9, PORT, 0, &InitFields::default().init(&[]));
        let _ = world.hit(ip("10.9.9.9"), &init);
        world
    }

    /// Hands a packet to the stack, no more.
    pub fn feed_to(&mut self, local: Address, from: Address, data: &[u8]) {
        let datagram = Datagram {
            local: Local { address: Some(local), socket: Some(SocketId(0)), interface: 0 },
            remote: from,
            encap_port: Some(UDP),
            ecn: None,
            data,
        };
        self.stack.handle_datagram(self.now, datagram);
    }

    pub fn feed(&mut self, from: Address, data: &[u8]) {
        self.feed_to(home(), from, data);
    }

    /// Everything that the stack has to say now.
    pub fn collect(&mut self) -> Vec<Reply> {
        let mut out = Vec::new();
        loop {
            while let Some(incoming) = self.stack.poll_incoming() {
                if self.decide {
                    self.accepted.extend(self.stack.accept(self.now, incoming));
                } else {
                    self.incoming.push(incoming);
                }
            }
            while let Some(event) = self.stack.poll_event() {
                self.events.push(event);
            }
            let Some(transmit) = self.stack.poll_transmit(self.now, 8, &mut self.buffer) else { break };
            for data in self.buffer[..transmit.size].chunks(transmit.segment_size.unwrap_or(transmit.size)) {
                out.push(Reply { to: transmit.remote, data: data.to_vec() });
            }
        }
        out
    }

    /// A packet arrives; what the stack says to it.
    pub fn hit(&mut self, from: Address, data: &[u8]) -> Vec<Reply> {
        self.feed(from, data);
        self.collect()
    }

    /// Lets time pass; what the stack says meanwhile, and when.
    pub fn wait_timed(&mut self, time: Duration) -> Vec<(Time, Reply)> {
        let end = self.now + time;
        let mut out: Vec<(Time, Reply)> = Vec::new();
        loop {
            out.extend(self.collect().into_iter().map(|reply| (self.now, reply)));
            let Some(at) = self.stack.poll_timeout().filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            self.stack.handle_timeout(self.now);
        }
        self.now = end;
        out
    }

    pub fn wait(&mut self, time: Duration) -> Vec<Reply> {
        self.wait_timed(time).into_iter().map(|(_, reply)| reply).collect()
    }

    /// Nothing more comes of it: no packet, and no timer that runs on.
    pub fn assert_at_rest(&mut self) {
        assert_eq!(self.wait(Duration::from_secs(600)), []);
        assert_eq!(self.stack.poll_timeout(), None);
    }

    pub fn stats(&self, id: AssocId) -> AssociationStats {
        self.stack.association(self.now, id).expect("it has not been released")
    }

    /// What must stay as it is when a packet changes nothing: all figures but those that count packets and control chunks.
    pub fn essence(&self, id: AssocId) -> AssociationStats {
        let mut stats = self.stats(id);
        stats.counters.packets_received = 0;
        stats.counters.packets_discarded = 0;
        stats.counters.packets_sent = 0;
        (stats.counters.control_chunks_received, stats.counters.control_chunks_sent) = (0, 0);
        stats.stalled_for = Duration::ZERO;
        stats.paths.iter_mut().for_each(|path| path.packets_received = 0);
        stats
    }

    pub fn state(&self, id: AssocId) -> Option<State> {
        self.stack.state(id)
    }

    pub fn closed(&self, id: AssocId) -> Option<CloseReason> {
        self.events.iter().find_map(|(of, event)| match event {
            Event::Closed(reason) if *of == id => Some(reason.clone()),
            _ => None,
        })
    }

    /// A peer sets up an association, by hand.
    pub fn associate(&mut self, from: Address, params: &[u8]) -> Tcb {
        let mut peer = self.half_open(from, InitFields::default(), params);
        let replies = self.hit(from, &peer.echo());
        assert_eq!(wire::kinds(&replies[0].data)[0], wire::COOKIE_ACK);
        peer.id = self.accepted.last().copied();
        peer
    }

    /// A peer sends INIT and has its INIT ACK.
    pub fn half_open(&mut self, from: Address, fields: InitFields, params: &[u8]) -> Tcb {
        let replies = self.hit(from, &packet(PEER_PORT, PORT, 0, &fields.init(params)));
        assert_eq!(replies.len(), 1, "an INIT ACK: {replies:?}");
        Tcb::from_init_ack(from, fields, &replies[0])
    }

    /// An association whose first data has been exchanged, so that the usual rules hold (§5.1: the first
    /// DATA is acknowledged at once).
    pub fn settled(&mut self) -> Tcb {
        let mut peer = self.associate(evil(), &[]);
        let first = peer.data(3, 0, 0, b"first");
        let replies = self.hit(evil(), &peer.packet(&first));
        assert_eq!(wire::kinds(&replies[0].data), [wire::SACK]);
        let id = peer.id();
        assert!(self.stack.recv(self.now, id).is_some());
        let _ = self.collect();
        peer
    }

    /// We connect to a peer at `addresses`; its INIT ACK is up to the test.
    pub fn connect(&mut self, addresses: &[Address]) -> (AssocId, Tcb) {
        let peer = Peer { addresses: addresses.to_vec(), port: PEER_PORT, encapsulation: Encapsulation::Default };
        let id = self.stack.connect(self.now, self.endpoint, &peer, None).expect("a sound peer");
        let replies = self.collect();
        assert_eq!(wire::kinds(&replies[0].data), [wire::INIT]);
        let value = wire::chunks(&replies[0].data).remove(0).2;
        let fields = InitFields::default();
        let tcb = Tcb {
            port: PEER_PORT,
            fields,
            their_tag: wire::u32_at(&value, 0),
            their_tsn: wire::u32_at(&value, 12),
            tsn: fields.tsn,
            cookie: Vec::new(),
            id: Some(id),
        };
        (id, tcb)
    }
}

/// The other end, as far as a test needs one.
#[derive(Clone)]
pub struct Tcb {
    pub port: u16,
    pub fields: InitFields,
    /// What packets to the stack carry.
    pub their_tag: u32,
    /// The stack's first TSN.
    pub their_tsn: u32,
    /// Our next TSN.
    pub tsn: u32,
    pub cookie: Vec<u8>,
    pub id: Option<AssocId>,
}

impl Tcb {
    pub fn from_init_ack(address: Address, fields: InitFields, reply: &Reply) -> Self {
        let chunks = wire::chunks(&reply.data);
        assert_eq!((chunks.len(), chunks[0].0), (1, wire::INIT_ACK), "INIT ACK comes alone");
        assert_eq!((reply.to, wire::tag_of(&reply.data)), (address, fields.tag));
        let value = &chunks[0].2;
        let cookie = wire::params(&value[16..]).into_iter().find(|param| param.0 == 7).expect("a State Cookie").1;
        Self {
            port: PEER_PORT,
            fields,
            their_tag: wire::u32_at(value, 0),
            their_tsn: wire::u32_at(value, 12),
            tsn: fields.tsn,
            cookie,
            id: None,
        }
    }

    pub fn id(&self) -> AssocId {
        self.id.expect("it was accepted")
    }

    /// A packet of this association.
    pub fn packet(&self, chunks: &[u8]) -> Vec<u8> {
        packet(self.port, PORT, self.their_tag, chunks)
    }

    pub fn echo(&self) -> Vec<u8> {
        self.packet(&chunk(wire::COOKIE_ECHO, 0, &self.cookie))
    }

    /// The next DATA chunk in order of TSN.
    pub fn data(&mut self, flags: u8, stream: u16, ssn: u16, payload: &[u8]) -> Vec<u8> {
        let tsn = self.tsn;
        self.tsn = self.tsn.wrapping_add(1);
        wire::data(flags, tsn, stream, ssn, payload)
    }

    /// An INIT ACK to the stack, with a cookie.
    pub fn init_ack(&self, params: &[u8]) -> Vec<u8> {
        let value = [&self.fields.bytes()[..], params, &wire::param(7, b"cookie--")].concat();
        self.packet(&chunk(wire::INIT_ACK, 0, &value))
    }
}
