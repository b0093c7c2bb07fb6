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

pub use crate::hand::*;
use esock_proto::*;
use std::time::Duration;

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
        let sent = self.take();
        self.answer_heartbeats(&sent);
        self.take();
        self.settle_state();
    }

    /// The peer answers the HEARTBEATs among these packets, over the paths that they came over.
    pub fn answer_heartbeats(&mut self, sent: &[Sent]) {
        for packet in sent {
            for beat in packet.chunks.iter().filter(|chunk| chunk.kind == HEARTBEAT) {
                self.deliver_from(packet.remote, self.tag, &[chunk(HEARTBEAT_ACK, 0, &beat.value)]);
            }
        }
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

    /// The peer's SACK: all of the stack's chunks up to `number` have arrived, counted from 1, and these runs
    /// beyond.
    pub fn ack(&mut self, number: u32, gaps: &[(u16, u16)]) {
        self.ack_with(number, PEER_RWND, gaps);
    }

    pub fn ack_with(&mut self, number: u32, a_rwnd: u32, gaps: &[(u16, u16)]) {
        let cumulative = self.tsn.wrapping_add(number).wrapping_sub(1);
        self.deliver(self.tag, &[sack(cumulative, a_rwnd, gaps, &[])]);
    }

    /// What the stack sends now, as a line; empty for nothing.
    pub fn line(&mut self) -> String {
        let sent = self.take();
        self.render_all(&sent)
    }

    /// Lets time pass. Returns what the stack sends, each packet with the milliseconds since `start`.
    pub fn timed(&mut self, start: Time, time: Duration) -> Vec<(u64, String)> {
        let sent = self.run(time);
        sent.iter().map(|packet| (packet.at.since(start).as_millis() as u64, self.render(packet))).collect()
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
