//! The laboratory: one stack under test, and a peer whose every packet is made by hand.
//!
//! What the stack answers is written as one line, so that a row of a table can say what it expects:
//!
//! ```text
//! packets > STATE ! events        e.g.  SHUTDOWN_COMPLETE > CLOSED ! Closed(Shutdown)
//! ```
//!
//! - A packet is its chunks, joined by `+`; packets are separated by spaces; `-` is nothing at all.
//! - Its verification tag is the peer's, unless a prefix says another: `0:` zero, `R:` the one that the
//!   packet came with, `I:` the Initiate Tag of an INIT made by hand, `?:` none of these.
//! - `/T` is the T bit. DATA, SACK and SHUTDOWN carry their TSN, counted from 1 in each direction; a SACK also
//!   its gap blocks and duplicates: `SACK(1,3-4,d1)`. ABORT and ERROR carry the codes of their causes.
//! - The state stands there only if it changed.

use esock_proto::*;
use std::time::Duration;

pub const DATA: u8 = 0;
pub const INIT: u8 = 1;
pub const INIT_ACK: u8 = 2;
pub const SACK: u8 = 3;
pub const HEARTBEAT: u8 = 4;
pub const HEARTBEAT_ACK: u8 = 5;
pub const ABORT: u8 = 6;
pub const SHUTDOWN: u8 = 7;
pub const SHUTDOWN_ACK: u8 = 8;
pub const ERROR: u8 = 9;
pub const COOKIE_ECHO: u8 = 10;
pub const COOKIE_ACK: u8 = 11;
pub const SHUTDOWN_COMPLETE: u8 = 14;

/// The stack's port and the peer's.
pub const PORT: u16 = 5000;
pub const PEER_PORT: u16 = 6000;
/// The peer's Initiate Tag and first TSN.
pub const PEER_TAG: u32 = 0x0a0b_0c0d;
pub const PEER_TSN: u32 = 1000;
/// The Initiate Tag of another INIT of the peer.
pub const NEW_TAG: u32 = 0x0e0e_0e0e;
/// A tag that is nobody's.
pub const WRONG_TAG: u32 = 0x5757_5757;
/// The peer's window.
pub const PEER_RWND: u32 = 100_000;

/// The stack's address on a path.
pub fn local(path: u8) -> Address {
    std::net::Ipv4Addr::new(10, path, 0, 1).into()
}

/// The peer's address on a path.
pub fn remote(path: u8) -> Address {
    std::net::Ipv4Addr::new(10, path, 0, 2).into()
}

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Neither path MTU probes nor heartbeats: only what a test is about is on the wire. The path MTU is 1400:
/// with 20 bytes of IP, 8 of UDP and 12 of SCTP, 1360 bytes are left for chunks.
pub fn quiet() -> Config {
    let mut config = Config::default();
    config.pmtud = false;
    config.heartbeat_interval = None;
    config
}

pub fn quiet_with(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = quiet();
    change(&mut config);
    config
}

/// Where the stack stands when a row begins (RFC 9260 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Nobody has the port.
    NoEndpoint,
    /// CLOSED, and an endpoint that accepts.
    Listening,
    CookieWait,
    CookieEchoed,
    Established,
    ShutdownPending,
    ShutdownSent,
    ShutdownReceived,
    ShutdownAckSent,
}

impl At {
    pub const ALL: [Self; 9] = [
        Self::NoEndpoint,
        Self::Listening,
        Self::CookieWait,
        Self::CookieEchoed,
        Self::Established,
        Self::ShutdownPending,
        Self::ShutdownSent,
        Self::ShutdownReceived,
        Self::ShutdownAckSent,
    ];
    /// Where both ends know each other.
    pub const UP: [Self; 5] =
        [Self::Established, Self::ShutdownPending, Self::ShutdownSent, Self::ShutdownReceived, Self::ShutdownAckSent];
}

/// Who sent the INIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The stack.
    Client,
    /// The peer.
    Server,
}

/// A chunk as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    pub kind: u8,
    pub flags: u8,
    pub value: Vec<u8>,
}

/// A packet as it was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub at: Time,
    pub remote: Address,
    pub tag: u32,
    pub size: usize,
    pub chunks: Vec<Chunk>,
}

impl Sent {
    pub fn has(&self, kind: u8) -> bool {
        self.chunks.iter().any(|chunk| chunk.kind == kind)
    }
}

pub struct Lab {
    pub stack: Stack,
    pub endpoint: Option<EndpointId>,
    pub now: Time,
    pub assoc: Option<AssocId>,
    /// The stack's Initiate Tag and first TSN.
    pub tag: u32,
    pub tsn: u32,
    /// The tag that the last packet was delivered with.
    pub received_tag: u32,
    pub cookie: Vec<u8>,
    /// The paths of the peer.
    pub paths: u8,
    state: Option<State>,
}

impl Lab {
    /// A stack with an endpoint, nothing else.
    pub fn new(config: Config) -> Self {
        Self::with_paths(config, 1)
    }

    pub fn with_paths(config: Config, paths: u8) -> Self {
        let now = Time::from_millis(1000);
        let mut stack = Stack::new(StackConfig::default(), [7; 32], now);
        let addresses = (0..paths).map(local).collect();
        let endpoint = stack
            .open(EndpointConfig { port: PORT, addresses, host_addresses: Vec::new(), config })
            .expect("the configuration is good");
        Self {
            stack,
            endpoint: Some(endpoint),
            now,
            assoc: None,
            tag: 0,
            tsn: 0,
            received_tag: 0,
            cookie: Vec::new(),
            paths,
            state: None,
        }
    }

    /// A stack that stands there; what led there has been taken.
    pub fn at(at: At, role: Role, config: Config) -> Self {
        let mut lab = Self::new(config);
        match at {
            At::NoEndpoint => lab.close_endpoint(),
            At::Listening => lab.listen(),
            At::CookieWait => lab.connect(),
            At::CookieEchoed => {
                lab.connect();
                lab.init_ack();
            }
            _ => lab.establish(role),
        }
        match at {
            At::ShutdownPending => {
                lab.send(1, b"outstanding");
                lab.shutdown();
            }
            At::ShutdownSent => lab.shutdown(),
            At::ShutdownReceived => {
                lab.send(1, b"outstanding");
                lab.deliver(lab.tag, &[shutdown(lab.tsn.wrapping_sub(1))]);
            }
            At::ShutdownAckSent => lab.deliver(lab.tag, &[shutdown(lab.tsn.wrapping_sub(1))]),
            _ => {}
        }
        lab.take();
        lab.events();
        lab.settle_state();
        assert_eq!(lab.state, at.state(), "the way there");
        lab
    }

    /// Up, with nothing on the wire; the peer's first DATA (§5.1: acknowledged at once) is still to come.
    pub fn up(role: Role, config: Config) -> Self {
        Self::at(At::Established, role, config)
    }

    /// Up, and both ends have sent one message that was acknowledged: the usual rules hold from here.
    pub fn warm(config: Config) -> Self {
        let mut lab = Self::up(Role::Client, config);
        lab.deliver(lab.tag, &[data(1, b"first")]);
        lab.send(0, b"first");
        let tsn = lab.tsn;
        lab.take();
        lab.deliver(lab.tag, &[sack(tsn, PEER_RWND, &[], &[])]);
        while lab.recv().is_some() {}
        lab.take();
        lab.events();
        lab
    }

    pub fn close_endpoint(&mut self) {
        if let Some(endpoint) = self.endpoint.take() {
            self.stack.close(self.now, endpoint);
        }
    }

    pub fn listen(&mut self) {
        self.stack.set_accepting(self.endpoint.expect("open"), true);
    }

    /// ASSOCIATE: COOKIE-WAIT.
    pub fn connect(&mut self) {
        let addresses = (0..self.paths).map(remote).collect();
        let peer = Peer { addresses, port: PEER_PORT, encapsulation: Encapsulation::Default };
        self.assoc = Some(self.stack.connect(self.now, self.endpoint.expect("open"), &peer, None).expect("a peer"));
        let sent = self.take();
        assert_eq!((sent.len(), sent[0].chunks.len(), sent[0].chunks[0].kind), (1, 1, INIT));
        self.learn(&sent[0].chunks[0]);
    }

    /// Takes tag, TSN and cookie from an INIT or INIT ACK of the stack.
    pub fn learn(&mut self, init: &Chunk) {
        self.tag = word(&init.value, 0);
        self.tsn = word(&init.value, 12);
        if let Some(cookie) = param(&init.value[16..], 7) {
            self.cookie = cookie;
        }
    }

    /// The peer's INIT ACK: COOKIE-ECHOED.
    pub fn init_ack(&mut self) {
        let addresses: Vec<Address> = (0..self.paths).map(remote).collect();
        let mut params = if self.paths > 1 { address_params(&addresses) } else { Vec::new() };
        params.extend_from_slice(&[0, 7, 0, 8, 1, 2, 3, 4]);
        self.deliver(self.tag, &[init(INIT_ACK, PEER_TAG, &params)]);
    }

    /// ESTABLISHED.
    pub fn establish(&mut self, role: Role) {
        match role {
            Role::Client => {
                self.connect();
                self.init_ack();
                self.take();
                self.deliver(self.tag, &[chunk(COOKIE_ACK, 0, &[])]);
            }
            Role::Server => {
                self.listen();
                let addresses: Vec<Address> = (0..self.paths).map(remote).collect();
                let params = if self.paths > 1 { address_params(&addresses) } else { Vec::new() };
                self.deliver(0, &[init(INIT, PEER_TAG, &params)]);
                let sent = self.take();
                self.learn(&sent[0].chunks[0]);
                self.deliver(self.tag, &[chunk(COOKIE_ECHO, 0, &self.cookie)]);
                self.accept();
            }
        }
        self.take();
        self.settle_state();
    }

    /// Accepts who waits. Returns whether somebody did.
    pub fn accept(&mut self) -> bool {
        let Some(incoming) = self.stack.poll_incoming() else { return false };
        self.assoc = self.stack.accept(self.now, incoming);
        true
    }

    pub fn id(&self) -> AssocId {
        self.assoc.expect("an association")
    }

    pub fn send(&mut self, stream: u16, payload: &[u8]) {
        let options = SendOptions { stream: StreamId(stream), ..SendOptions::default() };
        self.stack.send(self.now, self.id(), options, payload.to_vec().into()).expect("taken");
    }

    pub fn recv(&mut self) -> Option<Message> {
        self.stack.recv(self.now, self.id())
    }

    pub fn shutdown(&mut self) {
        self.take();
        self.stack.shutdown(self.now, self.id()).expect("there");
    }

    /// A packet of the peer, over the first path.
    pub fn deliver(&mut self, tag: u32, chunks: &[Vec<u8>]) {
        self.deliver_from(remote(0), tag, chunks);
    }

    pub fn deliver_from(&mut self, from: Address, tag: u32, chunks: &[Vec<u8>]) {
        self.received_tag = tag;
        let data = packet(PEER_PORT, PORT, tag, chunks);
        let to = (0..4).map(local).find(|to| same_path(*to, from)).unwrap_or(local(0));
        self.deliver_raw(from, to, &data);
    }

    pub fn deliver_raw(&mut self, from: Address, to: Address, data: &[u8]) {
        let local = Local { address: Some(to), socket: Some(SocketId(0)), interface: 0 };
        let datagram = Datagram { local, remote: from, encap_port: Some(9899), ecn: None, data };
        self.stack.handle_datagram(self.now, datagram);
    }

    /// What the stack sends now.
    pub fn take(&mut self) -> Vec<Sent> {
        let mut buf = vec![0; 1 << 16];
        let mut all = Vec::new();
        while let Some(transmit) = self.stack.poll_transmit(self.now, 10, &mut buf) {
            for segment in buf[..transmit.size].chunks(transmit.segment_size.unwrap_or(transmit.size)) {
                all.push(parse(self.now, transmit.remote, segment));
            }
        }
        all
    }

    /// Lets time pass. Returns what the stack sends, each packet with its time.
    pub fn run(&mut self, time: Duration) -> Vec<Sent> {
        let end = self.now + time;
        let mut all = self.take();
        while let Some(at) = self.stack.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.stack.handle_timeout(self.now);
            all.extend(self.take());
        }
        self.now = end;
        all
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.stack.poll_event()).map(|(_, event)| event).collect()
    }

    pub fn stats(&self) -> AssociationStats {
        self.stack.association(self.now, self.id()).expect("an association")
    }

    pub fn state(&self) -> Option<State> {
        self.assoc.and_then(|id| self.stack.state(id))
    }

    /// From here on, the state has not changed.
    pub fn settle_state(&mut self) {
        self.state = self.state();
    }

    /// What has happened since the last call, as a line: see the module. Lets 600 ms pass, less than
    /// any retransmission timer runs, so that what is delayed shows and what is not sent is not sent.
    pub fn outcome(&mut self) -> String {
        self.outcome_within(ms(600))
    }

    /// The same, without letting time pass.
    pub fn outcome_now(&mut self) -> String {
        self.outcome_within(ms(0))
    }

    fn outcome_within(&mut self, time: Duration) -> String {
        let sent = self.run(time);
        let mut line = if sent.is_empty() { "-".to_owned() } else { self.render_all(&sent) };
        if self.state() != self.state {
            line += &format!(" > {}", name_of_state(self.state()));
            self.settle_state();
        }
        let events = self.events();
        if !events.is_empty() {
            line += " !";
            events.iter().for_each(|event| line += &format!(" {}", name_of_event(event)));
        }
        if let Some(rest) = line.strip_prefix("- ") { rest.to_owned() } else { line }
    }

    pub fn render_all(&self, sent: &[Sent]) -> String {
        sent.iter().map(|packet| self.render(packet)).collect::<Vec<_>>().join(" ")
    }

    /// A packet as the module says.
    pub fn render(&self, packet: &Sent) -> String {
        let label = match packet.tag {
            0 => "0:",
            PEER_TAG => "",
            NEW_TAG => "I:",
            tag if tag == self.received_tag => "R:",
            _ => "?:",
        };
        let chunks: Vec<String> = packet.chunks.iter().map(|chunk| self.render_chunk(chunk)).collect();
        format!("{label}{}", chunks.join("+"))
    }

    fn render_chunk(&self, chunk: &Chunk) -> String {
        let value = &chunk.value;
        let ours = |tsn: u32| tsn.wrapping_sub(self.tsn).wrapping_add(1);
        let peers = |tsn: u32| tsn.wrapping_sub(PEER_TSN).wrapping_add(1) as i32;
        let detail = match chunk.kind {
            DATA => format!("({})", ours(word(value, 0))),
            SACK => {
                let (gaps, dups) = (half(value, 8), half(value, 10));
                let mut detail = format!("({}", peers(word(value, 0)));
                for gap in 0..usize::from(gaps) {
                    let [from, to] = [half(value, 12 + 4 * gap), half(value, 14 + 4 * gap)];
                    detail += &format!(",{from}-{to}");
                }
                for dup in 0..usize::from(dups) {
                    detail += &format!(",d{}", peers(word(value, 12 + 4 * usize::from(gaps) + 4 * dup)));
                }
                detail + ")"
            }
            SHUTDOWN => format!("({})", peers(word(value, 0))),
            ABORT | ERROR => {
                let codes: Vec<String> = tlvs(value).iter().map(|(code, _)| code.to_string()).collect();
                format!("({})", codes.join(","))
            }
            _ => String::new(),
        };
        let t_bit = matches!(chunk.kind, ABORT | SHUTDOWN_COMPLETE) && chunk.flags & 1 != 0;
        format!("{}{detail}{}", name_of_chunk(chunk.kind), if t_bit { "/T" } else { "" })
    }
}

impl At {
    /// The association's state.
    pub fn state(self) -> Option<State> {
        match self {
            Self::NoEndpoint | Self::Listening => None,
            Self::CookieWait => Some(State::CookieWait),
            Self::CookieEchoed => Some(State::CookieEchoed),
            Self::Established => Some(State::Established),
            Self::ShutdownPending => Some(State::ShutdownPending),
            Self::ShutdownSent => Some(State::ShutdownSent),
            Self::ShutdownReceived => Some(State::ShutdownReceived),
            Self::ShutdownAckSent => Some(State::ShutdownAckSent),
        }
    }
}

/// The rows of a table that were run, and those that failed: all are run, and the end tells.
pub struct Rows {
    table: &'static str,
    count: usize,
    failed: Vec<String>,
}

impl Rows {
    pub fn of(table: &'static str) -> Self {
        Self { table, count: 0, failed: Vec::new() }
    }

    /// A row: what came of it, and what was expected.
    pub fn check<T: PartialEq + std::fmt::Debug>(&mut self, row: &str, got: T, expected: T) {
        self.count += 1;
        if got != expected {
            self.failed.push(format!("{row}\n    expected {expected:?}\n         got {got:?}"));
        }
    }

    /// Tells how many rows there were; there must be `least` at least, so that no table loses its rows unnoticed.
    pub fn end(self, least: usize) {
        println!("conformance: {}: {} rows", self.table, self.count);
        assert!(
            self.failed.is_empty(),
            "{} of {} rows failed:\n{}",
            self.failed.len(),
            self.count,
            self.failed.join("\n")
        );
        assert!(self.count >= least, "{} has {} rows only", self.table, self.count);
    }
}

// --- packets by hand -------------------------------------------------------------------------------------

pub fn chunk(kind: u8, flags: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, flags];
    out.extend_from_slice(&(4 + value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// An INIT or INIT ACK with these parameters.
pub fn init(kind: u8, tag: u32, params: &[u8]) -> Vec<u8> {
    let mut value = [tag.to_be_bytes(), PEER_RWND.to_be_bytes()].concat();
    value.extend_from_slice(&[0, 10, 0, 10]);
    value.extend_from_slice(&PEER_TSN.to_be_bytes());
    value.extend_from_slice(params);
    chunk(kind, 0, &value)
}

pub fn address_params(addresses: &[Address]) -> Vec<u8> {
    let octets = |address: &Address| match address.ip() {
        std::net::IpAddr::V4(v4) => v4.octets(),
        std::net::IpAddr::V6(_) => panic!("the laboratory speaks IPv4"),
    };
    addresses.iter().flat_map(|address| [&[0, 5, 0, 8][..], &octets(address)].concat()).collect()
}

/// The peer's `number`th DATA chunk, counted from 1: a whole message on stream 0.
pub fn data(number: u32, payload: &[u8]) -> Vec<u8> {
    data_chunk(number, 3, 0, number as u16 - 1, payload)
}

pub fn data_chunk(number: u32, flags: u8, stream: u16, ssn: u16, payload: &[u8]) -> Vec<u8> {
    let mut value = PEER_TSN.wrapping_add(number).wrapping_sub(1).to_be_bytes().to_vec();
    value.extend_from_slice(&stream.to_be_bytes());
    value.extend_from_slice(&ssn.to_be_bytes());
    value.extend_from_slice(&[0; 4]);
    value.extend_from_slice(payload);
    chunk(DATA, flags, &value)
}

pub fn sack(cumulative: u32, a_rwnd: u32, gaps: &[(u16, u16)], dups: &[u32]) -> Vec<u8> {
    let mut value = [cumulative.to_be_bytes(), a_rwnd.to_be_bytes()].concat();
    value.extend_from_slice(&(gaps.len() as u16).to_be_bytes());
    value.extend_from_slice(&(dups.len() as u16).to_be_bytes());
    for (from, to) in gaps {
        value.extend_from_slice(&from.to_be_bytes());
        value.extend_from_slice(&to.to_be_bytes());
    }
    dups.iter().for_each(|dup| value.extend_from_slice(&dup.to_be_bytes()));
    chunk(SACK, 0, &value)
}

pub fn shutdown(cumulative: u32) -> Vec<u8> {
    chunk(SHUTDOWN, 0, &cumulative.to_be_bytes())
}

/// A packet, with its checksum.
pub fn packet(source: u16, destination: u16, tag: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut out = [&source.to_be_bytes()[..], &destination.to_be_bytes(), &tag.to_be_bytes(), &[0; 4]].concat();
    chunks.iter().for_each(|chunk| out.extend_from_slice(chunk));
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &out) as u32;
    out[8..12].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Reads a packet of the stack, strictly: checksum, ports, and not a byte behind the last chunk.
fn parse(at: Time, remote: Address, data: &[u8]) -> Sent {
    let mut zeroed = data.to_vec();
    zeroed[8..12].fill(0);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &zeroed) as u32;
    assert_eq!(data[8..12], crc.to_le_bytes(), "§6.8: checksum");
    assert_eq!(half(data, 2), PEER_PORT, "destination port");
    let mut chunks = Vec::new();
    let mut rest = &data[12..];
    while !rest.is_empty() {
        let length = usize::from(half(rest, 2));
        let padded = length.next_multiple_of(4);
        assert!(length >= 4 && padded <= rest.len(), "§3.2: chunk length {length} in {} bytes", rest.len());
        assert!(rest[length..padded].iter().all(|byte| *byte == 0), "§3.2: padding is zero");
        chunks.push(Chunk { kind: rest[0], flags: rest[1], value: rest[4..length].to_vec() });
        rest = &rest[padded..];
    }
    assert!(!chunks.is_empty(), "§3: a packet has a chunk");
    check_bundle(&chunks);
    Sent { at, remote, tag: word(data, 4), size: data.len(), chunks }
}

/// What §6.10 says of every packet that is sent.
fn check_bundle(chunks: &[Chunk]) {
    let kinds: Vec<u8> = chunks.iter().map(|chunk| chunk.kind).collect();
    for alone in [INIT, INIT_ACK, SHUTDOWN_COMPLETE] {
        assert!(!kinds.contains(&alone) || kinds.len() == 1, "§6.10: never bundled: {kinds:?}");
    }
    let first_data = kinds.iter().position(|kind| *kind == DATA).unwrap_or(kinds.len());
    let behind = &kinds[first_data..];
    // RFC 4820: PAD comes last.
    assert!(behind.iter().all(|kind| matches!(*kind, DATA | 0x84)), "§6.10: control chunks first: {kinds:?}");
    if behind.contains(&DATA) {
        for never in [ABORT, SHUTDOWN, SHUTDOWN_ACK] {
            assert!(!kinds.contains(&never), "§9.1, §6.10: no DATA with {never}: {kinds:?}");
        }
    }
    for first in [COOKIE_ECHO, COOKIE_ACK] {
        let at = kinds.iter().position(|kind| *kind == first);
        assert!(at.is_none_or(|at| at == 0), "§5.1: first in its packet: {kinds:?}");
    }
    let tsns: Vec<u32> = chunks.iter().filter(|chunk| chunk.kind == DATA).map(|chunk| word(&chunk.value, 0)).collect();
    assert!(tsns.windows(2).all(|pair| (pair[1].wrapping_sub(pair[0]) as i32) > 0), "§6.10: TSNs rise: {tsns:?}");
    assert!(kinds.iter().filter(|kind| **kind == SACK).count() <= 1, "§6.2: one SACK: {kinds:?}");
}

pub fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The parameters or causes in `bytes`.
pub fn tlvs(bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut all = Vec::new();
    let mut rest = bytes;
    while rest.len() >= 4 {
        let length = usize::from(half(rest, 2));
        assert!(length >= 4 && length <= rest.len(), "§3.2.1: parameter length {length} in {} bytes", rest.len());
        all.push((half(rest, 0), rest[4..length].to_vec()));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

/// The value of a parameter.
pub fn param(bytes: &[u8], kind: u16) -> Option<Vec<u8>> {
    tlvs(bytes).into_iter().find(|(found, _)| *found == kind).map(|(_, value)| value)
}

fn same_path(one: Address, other: Address) -> bool {
    match (one.ip(), other.ip()) {
        (std::net::IpAddr::V4(one), std::net::IpAddr::V4(other)) => one.octets()[..2] == other.octets()[..2],
        _ => false,
    }
}

pub fn name_of_chunk(kind: u8) -> String {
    const NAMES: [&str; 15] = [
        "DATA",
        "INIT",
        "INIT_ACK",
        "SACK",
        "HEARTBEAT",
        "HEARTBEAT_ACK",
        "ABORT",
        "SHUTDOWN",
        "SHUTDOWN_ACK",
        "ERROR",
        "COOKIE_ECHO",
        "COOKIE_ACK",
        "ECNE",
        "CWR",
        "SHUTDOWN_COMPLETE",
    ];
    NAMES.get(usize::from(kind)).map_or_else(|| format!("{kind:#x}"), |name| (*name).to_owned())
}

fn name_of_state(state: Option<State>) -> &'static str {
    match state {
        None => "NONE",
        Some(State::CookieWait) => "COOKIE-WAIT",
        Some(State::CookieEchoed) => "COOKIE-ECHOED",
        Some(State::Established) => "ESTABLISHED",
        Some(State::ShutdownPending) => "SHUTDOWN-PENDING",
        Some(State::ShutdownSent) => "SHUTDOWN-SENT",
        Some(State::ShutdownReceived) => "SHUTDOWN-RECEIVED",
        Some(State::ShutdownAckSent) => "SHUTDOWN-ACK-SENT",
        Some(State::Closed) => "CLOSED",
    }
}

pub fn name_of_event(event: &Event) -> String {
    let variant = |text: String| text.split([' ', '{', '(']).next().unwrap_or_default().to_owned();
    match event {
        Event::Closed(CloseReason::ProtocolViolation { cause, .. }) => format!("Closed(ProtocolViolation:{cause})"),
        Event::Closed(reason) => format!("Closed({})", variant(format!("{reason:?}"))),
        Event::PeerError { cause, .. } => format!("PeerError({cause})"),
        Event::Path { path, state, .. } => format!("Path{}({state:?})", path.0),
        Event::PathInUse { path, .. } => format!("PathInUse({})", path.0),
        Event::Undelivered(back) => (if back.maybe_received { "Unacked" } else { "Unsent" }).to_owned(),
        other => variant(format!("{other:?}")),
    }
}
