//! Two stacks, the wire between them, and what must hold after everything that is done to them.

use crate::input::Input;
use crate::packets::Known;
use crate::seen::Seen;
use esock_proto::{
    Address, AssocId, CloseReason, Config, CongestionAlgorithm, Datagram, Encapsulation, EndpointConfig, EndpointId,
    Event, Incoming, Local, LossRecovery, Peer, SocketId, Stack, StackConfig, State, Time, Tsn,
};
use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Ports of the two endpoints.
pub const PORTS: [u16; 2] = [5000, 30400];
/// The UDP port that packets come from.
pub const UDP: u16 = 9899;
/// Packets that are remembered.
const LOG: usize = 64;
/// Associations that a host may have.
pub const MAX_ASSOCIATIONS: usize = 8;
/// Packets that leave in answer to one thing that happens, for each association: a send buffer full of
/// fragments and control chunks.
const MAX_PACKETS: usize = 400;

/// A packet on its way.
#[derive(Debug, Clone)]
pub struct Packet {
    /// The host that it goes to.
    pub to: usize,
    /// The address that it goes to.
    pub local: Address,
    /// The address that it comes from.
    pub remote: Address,
    /// Its UDP port.
    pub encap_port: Option<u16>,
    /// The packet.
    pub data: Vec<u8>,
}

/// What was heard of an association.
#[derive(Debug, Default, Clone)]
pub struct Watch {
    /// It came up.
    pub up: bool,
    /// It ended.
    pub closed: Option<CloseReason>,
    /// How often the peer restarted.
    pub restarts: usize,
}

/// What a host does with peers that ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Takes them.
    Accept,
    /// Refuses them.
    Refuse,
    /// Keeps them waiting in `held`.
    Hold,
    /// Drops them.
    Ignore,
}

/// One end.
#[derive(Debug)]
pub struct Host {
    /// Its stack.
    pub stack: Stack,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// See [`Policy`].
    pub policy: Policy,
    /// Peers that wait.
    pub held: Vec<Incoming>,
    /// Its associations, in the order in which they were made, released ones included.
    pub assocs: Vec<AssocId>,
    /// What was heard of them.
    pub watches: HashMap<AssocId, Watch>,
    /// Events that somebody else wants to see too.
    pub events: Vec<(AssocId, Event)>,
    /// The largest receive window and send buffer of its associations.
    window: usize,
    buffer: usize,
}

impl Host {
    /// An association with this configuration will be made.
    pub fn expect(&mut self, config: &Config) {
        self.window = self.window.max(config.receive_window as usize);
        self.buffer = self.buffer.max(config.send_buffer);
    }
}

/// See the module.
#[derive(Debug)]
pub struct World {
    /// The time.
    pub now: Time,
    /// Both ends.
    pub hosts: [Host; 2],
    /// Packets on their way, oldest first.
    pub wire: VecDeque<Packet>,
    /// Packets that were sent lately, newest last.
    pub log: Vec<Packet>,
    /// What was seen of each host.
    pub seen: [Seen; 2],
    buf: Vec<u8>,
}

/// Whether to tell what happens: `ESOCK_FUZZ_TRACE=1`, for looking into one input.
pub fn is_traced() -> bool {
    static TRACED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *TRACED.get_or_init(|| std::env::var_os("ESOCK_FUZZ_TRACE").is_some())
}

/// The chunks of a packet as they are told: type, flags, length of the value and its first bytes.
fn describe(packet: &[u8]) -> String {
    let all = crate::seen::chunks(packet).map(|(kind, flags, value)| {
        format!("[{kind}/{flags:x} {} {:02x?}]", value.len(), &value[..value.len().min(16)])
    });
    format!("tag {:08x} {}", crate::seen::word(packet, 4), all.collect::<Vec<_>>().join(" "))
}

/// An address of a host.
pub fn address(host: usize, path: usize) -> Address {
    match path {
        2 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host as u16 + 1).into(),
        _ => Ipv4Addr::new(10, path as u8, 0, host as u8 + 1).into(),
    }
}

/// Parameters that an input chooses: small buffers, so that bounds are met.
pub fn config(input: &mut Input<'_>) -> Config {
    let mut config = Config::default();
    let what = input.byte();
    if what & 1 != 0 {
        config.rto_initial = Duration::from_millis(300);
        config.rto_min = Duration::from_millis(100);
        config.rto_max = Duration::from_millis(2000);
        config.heartbeat_interval = Some(Duration::from_secs(5));
        config.sack_delay = Duration::from_millis(20);
    }
    config.receive_window = [65_536, 20_000, 6_000, 4096][usize::from(what >> 1 & 3)];
    config.send_buffer = [40_000, 10_000, 65_536, 2_000][usize::from(what >> 3 & 3)];
    config.max_message = [256 << 10, 3_000][usize::from(what >> 5 & 1)];
    if what & 0x40 != 0 {
        config.initial_mtu = 576;
    }
    if what & 0x80 != 0 {
        let more = input.byte();
        config.outbound_streams = 1 + u16::from(more & 0x1f);
        config.inbound_streams = 1 + u16::from(more >> 3);
        config.assoc_max_retrans = 4;
        config.max_init_retransmits = 2;
        // No fewer than the other end has: of what is left out, nobody knows that it is the same peer.
        config.max_peer_addresses = 3 + usize::from(more & 3);
        config.adaptation = (more & 1 != 0).then_some(7);
        config.pf_threshold = (more & 2 != 0).then_some(1);
        config.partial_delivery = more & 0x80 != 0;
        choose_recovery(&mut config, input.byte());
    }
    config
}

/// Congestion control and loss recovery, and what is done about peers that break rules and about shut windows.
fn choose_recovery(config: &mut Config, choice: u8) {
    use CongestionAlgorithm::{Bbr, Cubic, Rfc9260};
    config.congestion = [Rfc9260, Cubic, Bbr, Rfc9260][usize::from(choice & 3)];
    if choice & 4 != 0 {
        config.loss_recovery = LossRecovery::Rack;
    }
    (config.hystart, config.pacing) = (choice & 8 != 0, choice & 16 != 0);
    (config.strict, config.probe_at_once, config.patient) = (choice & 32 != 0, choice & 64 != 0, choice & 128 != 0);
}

impl World {
    /// A world that the first bytes of an input describe.
    pub fn new(input: &mut Input<'_>) -> Self {
        let shape = input.byte();
        let paths = 1 + usize::from(shape & 3) % 3;
        let mut stack_config = StackConfig::default();
        stack_config.max_associations = MAX_ASSOCIATIONS;
        stack_config.max_incoming = 4;
        stack_config.initial_tsn = (shape & 4 != 0).then_some(Tsn(u32::MAX - 3));
        stack_config.native = shape & 8 != 0;
        let hosts = [0, 1].map(|host| {
            let config = config(input);
            let (window, buffer) = (config.receive_window as usize, config.send_buffer);
            let mut stack = Stack::new(stack_config.clone(), [host as u8 + 1; 32], Time::ZERO);
            let addresses: Vec<Address> = (0..paths).map(|path| address(host, path)).collect();
            let endpoint = stack
                .open(EndpointConfig {
                    port: PORTS[host],
                    addresses: addresses.clone(),
                    host_addresses: Vec::new(),
                    config,
                })
                .expect("it can be opened");
            stack.set_accepting(endpoint, host == 1 || shape & 16 != 0);
            Host {
                stack,
                endpoint,
                addresses,
                policy: Policy::Accept,
                held: Vec::new(),
                assocs: Vec::new(),
                watches: HashMap::new(),
                events: Vec::new(),
                window,
                buffer,
            }
        });
        Self {
            now: Time::from_millis(1000),
            hosts,
            wire: VecDeque::new(),
            log: Vec::new(),
            seen: Default::default(),
            buf: vec![0; 1 << 16],
        }
    }

    /// Host `host` connects to the other one.
    pub fn connect(&mut self, host: usize, encapsulation: Encapsulation) -> Option<AssocId> {
        let peer = Peer { addresses: self.hosts[1 - host].addresses.clone(), port: PORTS[1 - host], encapsulation };
        let Host { stack, endpoint, assocs, watches, .. } = &mut self.hosts[host];
        if stack.stats().associations >= MAX_ASSOCIATIONS {
            return None;
        }
        let id = stack.connect(self.now, *endpoint, &peer, None).ok()?;
        assocs.push(id);
        watches.insert(id, Watch::default());
        self.settle(host);
        Some(id)
    }

    /// Connects and lets packets pass until both ends are up.
    pub fn establish(&mut self) -> (Option<AssocId>, Option<AssocId>) {
        let client = self.connect(0, Encapsulation::Default);
        for _ in 0..4 {
            self.deliver_all();
        }
        (client, self.hosts[1].assocs.last().copied())
    }

    /// What is known for a packet to `to`.
    pub fn known(&self, to: usize) -> Known<'_> {
        Known { to: &self.seen[to], from: &self.seen[1 - to], ports: (PORTS[1 - to], PORTS[to]), log: &self.log }
    }

    /// Hands a packet to its host and takes what comes of it.
    pub fn deliver(&mut self, packet: &Packet) {
        if is_traced() {
            println!("{:?} -> {}: {}", self.now, packet.to, describe(&packet.data));
        }
        let Host { stack, .. } = &mut self.hosts[packet.to];
        let before = stack.stats();
        stack.handle_datagram(
            self.now,
            Datagram {
                local: Local { address: Some(packet.local), socket: Some(SocketId(0)), interface: 0 },
                remote: packet.remote,
                encap_port: packet.encap_port,
                ecn: None,
                data: &packet.data,
            },
        );
        let after = stack.stats();
        let answers = |stats: &esock_proto::StackStats| stats.ootb_replies + stats.init_acks_sent;
        assert!(answers(&after) <= answers(&before) + 1, "one packet, several answers");
        assert_eq!(before.associations, after.associations, "a packet makes no association by itself");
        self.settle(packet.to);
    }

    /// Delivers the oldest packet on its way.
    pub fn deliver_next(&mut self) -> bool {
        let Some(packet) = self.wire.pop_front() else { return false };
        self.deliver(&packet);
        true
    }

    /// Delivers what is on its way now; what is sent meanwhile stays. Some time passes.
    pub fn deliver_all(&mut self) {
        for _ in 0..self.wire.len() {
            self.deliver_next();
        }
        self.now = self.now + Duration::from_millis(1);
    }

    /// Time passes to the next timer, or for `at_most`.
    pub fn pass(&mut self, at_most: Duration) {
        let end = self.now + at_most;
        let next = self.hosts.iter().filter_map(|host| host.stack.poll_timeout()).min();
        self.now = next.map_or(end, |next| next.clamp(self.now, end));
        self.fire();
    }

    /// Time passes, whatever is due meanwhile: the host slept.
    pub fn jump(&mut self, time: Duration) {
        self.now = self.now + time;
        self.fire();
    }

    fn fire(&mut self) {
        for host in 0..2 {
            self.hosts[host].stack.handle_timeout(self.now);
            self.settle(host);
            let next = self.hosts[host].stack.poll_timeout();
            assert!(
                next.is_none_or(|next| next > self.now),
                "a timer that is due stays due: {next:?} at {:?}",
                self.now
            );
        }
    }

    /// Takes what a host has: peers, packets, events; then checks it.
    pub fn settle(&mut self, host: usize) {
        self.take_incoming(host);
        self.take_packets(host);
        self.take_events(host);
        self.check(host);
    }

    fn take_incoming(&mut self, host: usize) {
        let Host { stack, policy, held, assocs, watches, .. } = &mut self.hosts[host];
        while let Some(incoming) = stack.poll_incoming() {
            match policy {
                Policy::Accept => {
                    if let Some(id) = stack.accept(self.now, incoming) {
                        assocs.push(id);
                        watches.insert(id, Watch::default());
                    }
                }
                Policy::Refuse => stack.refuse(self.now, incoming, b"not you"),
                Policy::Hold => held.push(incoming),
                Policy::Ignore => stack.ignore(incoming),
            }
        }
    }

    /// Decides on a peer that waits.
    pub fn decide(&mut self, host: usize, policy: Policy) {
        let Host { stack, held, assocs, watches, .. } = &mut self.hosts[host];
        let Some(incoming) = held.pop() else { return };
        match policy {
            Policy::Accept => {
                if let Some(id) = stack.accept(self.now, incoming) {
                    assocs.push(id);
                    watches.insert(id, Watch::default());
                }
            }
            Policy::Refuse => stack.refuse(self.now, incoming, b""),
            Policy::Hold => held.push(incoming),
            Policy::Ignore => stack.ignore(incoming),
        }
        self.settle(host);
    }

    fn take_packets(&mut self, host: usize) {
        let mut packets = 0;
        let limit = 64 + MAX_PACKETS * (1 + self.hosts[host].stack.stats().associations);
        while let Some(transmit) = self.hosts[host].stack.poll_transmit(self.now, 4, &mut self.buf) {
            assert!(transmit.size > 0 && transmit.size <= self.buf.len());
            let segment = transmit.segment_size.unwrap_or(transmit.size);
            for data in self.buf[..transmit.size].chunks(segment) {
                packets += 1;
                self.seen[host].note(data);
                let packet = Packet {
                    to: 1 - host,
                    local: transmit.remote,
                    remote: transmit.local.address.unwrap_or(self.hosts[host].addresses[0]),
                    encap_port: transmit.encap_port.map(|_| UDP),
                    data: data.to_vec(),
                };
                if self.log.len() == LOG {
                    self.log.remove(0);
                }
                self.log.push(packet.clone());
                // What goes to an address that nobody has is lost.
                if self.hosts[1 - host].addresses.contains(&packet.local) {
                    self.wire.push_back(packet);
                }
            }
            assert!(packets <= limit, "{packets} packets, and no end");
        }
    }

    fn take_events(&mut self, host: usize) {
        let Host { stack, watches, events, .. } = &mut self.hosts[host];
        let mut count = 0;
        while let Some((id, event)) = stack.poll_event() {
            count += 1;
            if is_traced() {
                println!("{:?} host {host}: {id} {event:?}", self.now);
            }
            assert!(count < 20_000, "events without end");
            let watch = watches.get_mut(&id).expect("an event of an association that nobody knows");
            assert!(watch.closed.is_none(), "an event after Closed: {event:?}");
            match &event {
                Event::Up(_) => assert!(!std::mem::replace(&mut watch.up, true), "up twice"),
                Event::Restarted(_) => watch.restarts += 1,
                Event::Closed(reason) => watch.closed = Some(reason.clone()),
                _ => {}
            }
            events.push((id, event));
        }
    }

    /// What must hold of a host that has come to rest.
    fn check(&self, host: usize) {
        let Host { stack, watches, window, buffer, assocs, .. } = &self.hosts[host];
        stack.check_invariants();
        stack.check_rest();
        assert!(stack.stats().associations <= MAX_ASSOCIATIONS);
        for id in assocs.iter().rev().take(MAX_ASSOCIATIONS) {
            let Some(stats) = stack.association(self.now, *id) else { continue };
            assert!(stats.receive_buffered <= window + window / 8 + (1 << 16), "{stats:#?}");
            assert!(stats.send_buffered <= *buffer && stats.in_flight <= stats.send_buffered, "{stats:#?}");
            assert!(stats.paths.len() <= 40, "{stats:#?}");
            let watch = &watches[id];
            assert_eq!(watch.closed.is_some(), stats.state == State::Closed, "{watch:?}");
        }
    }
}
