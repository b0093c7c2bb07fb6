//! One stack and a peer that does what the test says, in virtual time. Packets arrive at once.

use esock_proto::*;
use std::time::Duration;

/// The stack's port, and the peer's.
pub const PORT: u16 = 5000;
pub const PEER_PORT: u16 = 6000;
/// The peer's tag and its first TSN.
pub const PEER_TAG: u32 = 0x0a0b_0c0d;
pub const PEER_TSN: u32 = 1000;
/// The stack's first TSN.
pub const TSN: u32 = 5_000_000;

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

/// A chunk as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    pub kind: u8,
    pub flags: u8,
    pub value: Vec<u8>,
}

impl Chunk {
    pub fn u16_at(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.value[at], self.value[at + 1]])
    }

    pub fn u32_at(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.value[at..at + 4].try_into().expect("the test knows the chunk"))
    }

    /// Parameters or causes from `at` on: type and value.
    pub fn tlvs(&self, mut at: usize) -> Vec<(u16, Vec<u8>)> {
        let mut all = Vec::new();
        while at < self.value.len() {
            let len = usize::from(self.u16_at(at + 2));
            all.push((self.u16_at(at), self.value[at + 4..at + len].to_vec()));
            at += (len + 3) & !3;
        }
        all
    }
}

/// A packet that the stack sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub at: Time,
    pub from: Option<Address>,
    pub to: Address,
    pub tag: u32,
    pub chunks: Vec<Chunk>,
    pub bytes: Vec<u8>,
    pub dont_fragment: bool,
}

impl Sent {
    pub fn kinds(&self) -> Vec<u8> {
        self.chunks.iter().map(|chunk| chunk.kind).collect()
    }

    pub fn chunk(&self, kind: u8) -> Option<&Chunk> {
        self.chunks.iter().find(|chunk| chunk.kind == kind)
    }

    /// The TSNs of its DATA chunks.
    pub fn tsns(&self) -> Vec<u32> {
        self.chunks.iter().filter(|chunk| chunk.kind == DATA).map(|chunk| chunk.u32_at(0)).collect()
    }
}

pub struct Lab {
    pub stack: Stack,
    pub endpoint: EndpointId,
    pub now: Time,
    pub events: Vec<Event>,
    pub assoc: AssocId,
    /// The tag that the stack gave itself.
    pub tag: u32,
    sent: Vec<Sent>,
}

pub fn ours(path: u8) -> Address {
    std::net::Ipv4Addr::new(10, path, 0, 1).into()
}

pub fn theirs(path: u8) -> Address {
    std::net::Ipv4Addr::new(10, path, 0, 2).into()
}

pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Nothing is sent that the test does not ask for: no MTU search, no heartbeats.
pub fn quiet() -> Config {
    let mut config = Config::default();
    config.pmtud = false;
    config.heartbeat_interval = None;
    config.initial_mtu = 1500;
    config
}

pub fn quiet_with(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = quiet();
    change(&mut config);
    config
}

/// A chunk with its padding.
pub fn chunk(kind: u8, flags: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, flags];
    out.extend_from_slice(&(4 + value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.resize((out.len() + 3) & !3, 0);
    out
}

/// A parameter or cause with its padding.
pub fn tlv(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut out = kind.to_be_bytes().to_vec();
    out.extend_from_slice(&(4 + value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.resize((out.len() + 3) & !3, 0);
    out
}

/// The fields of an INIT or INIT ACK.
#[derive(Clone)]
pub struct Init {
    pub tag: u32,
    pub a_rwnd: u32,
    pub outbound: u16,
    pub inbound: u16,
    pub tsn: u32,
    pub params: Vec<u8>,
}

pub fn init() -> Init {
    Init { tag: PEER_TAG, a_rwnd: 100_000, outbound: 10, inbound: 10, tsn: PEER_TSN, params: Vec::new() }
}

impl Init {
    pub fn with(mut self, params: &[u8]) -> Self {
        self.params.extend_from_slice(params);
        self
    }

    pub fn chunk(&self, kind: u8) -> Vec<u8> {
        let mut value = self.tag.to_be_bytes().to_vec();
        value.extend_from_slice(&self.a_rwnd.to_be_bytes());
        value.extend_from_slice(&self.outbound.to_be_bytes());
        value.extend_from_slice(&self.inbound.to_be_bytes());
        value.extend_from_slice(&self.tsn.to_be_bytes());
        value.extend_from_slice(&self.params);
        chunk(kind, 0, &value)
    }
}

pub fn address_param(address: Address) -> Vec<u8> {
    match address.ip() {
        std::net::IpAddr::V4(v4) => tlv(5, &v4.octets()),
        std::net::IpAddr::V6(v6) => tlv(6, &v6.octets()),
    }
}

/// A DATA chunk. `flags`: letters of B, E, U and I.
pub fn data(tsn: u32, stream: u16, ssn: u16, flags: &str, payload: &[u8]) -> Vec<u8> {
    let bits = [('E', 1), ('B', 2), ('U', 4), ('I', 8)];
    let flags = bits.into_iter().filter(|(letter, _)| flags.contains(*letter)).map(|(_, bit)| bit).sum();
    let mut value = tsn.to_be_bytes().to_vec();
    value.extend_from_slice(&stream.to_be_bytes());
    value.extend_from_slice(&ssn.to_be_bytes());
    value.extend_from_slice(&46u32.to_be_bytes());
    value.extend_from_slice(payload);
    chunk(DATA, flags, &value)
}

pub fn sack(cumulative: u32, a_rwnd: u32, gaps: &[(u16, u16)]) -> Vec<u8> {
    let mut value = cumulative.to_be_bytes().to_vec();
    value.extend_from_slice(&a_rwnd.to_be_bytes());
    value.extend_from_slice(&(gaps.len() as u16).to_be_bytes());
    value.extend_from_slice(&[0, 0]);
    for (start, end) in gaps {
        value.extend_from_slice(&start.to_be_bytes());
        value.extend_from_slice(&end.to_be_bytes());
    }
    chunk(SACK, 0, &value)
}

pub fn parse_chunks(bytes: &[u8]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut at = 12;
    while at < bytes.len() {
        let len = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        chunks.push(Chunk { kind: bytes[at], flags: bytes[at + 1], value: bytes[at + 4..at + len].to_vec() });
        at += (len + 3) & !3;
    }
    assert_eq!(at, bytes.len(), "chunks and their padding fill the packet");
    chunks
}

pub fn crc32c(packet: &[u8]) -> [u8; 4] {
    let mut copy = packet.to_vec();
    copy[8..12].fill(0);
    (crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &copy) as u32).to_le_bytes()
}

pub fn packet(tag: u32, chunks: &[u8]) -> Vec<u8> {
    packet_between(PEER_PORT, PORT, tag, chunks)
}

pub fn packet_between(source: u16, destination: u16, tag: u32, chunks: &[u8]) -> Vec<u8> {
    let mut packet = source.to_be_bytes().to_vec();
    packet.extend_from_slice(&destination.to_be_bytes());
    packet.extend_from_slice(&tag.to_be_bytes());
    packet.extend_from_slice(&[0; 4]);
    packet.extend_from_slice(chunks);
    let crc = crc32c(&packet);
    packet[8..12].copy_from_slice(&crc);
    packet
}

impl Lab {
    /// An endpoint that accepts, with an address on each of `paths` networks.
    pub fn new(paths: u8, config: Config) -> Self {
        Self::with_stack(paths, config, |stack| stack.initial_tsn = Some(Tsn(TSN)))
    }

    pub fn with_stack(paths: u8, config: Config, change: impl FnOnce(&mut StackConfig)) -> Self {
        let mut stack_config = StackConfig::default();
        change(&mut stack_config);
        let mut stack = Stack::new(stack_config, [7; 32], Time::from_millis(1000));
        let addresses = (0..paths).map(ours).collect();
        let endpoint = stack
            .open(EndpointConfig { port: PORT, addresses, host_addresses: Vec::new(), config })
            .expect("the first endpoint");
        stack.set_accepting(endpoint, true);
        let now = Time::from_millis(1000);
        Self { stack, endpoint, now, events: Vec::new(), assoc: AssocId::new(0, 0), tag: 0, sent: Vec::new() }
    }

    /// Starts to connect to these of the peer's addresses; the INIT has left.
    pub fn connect(&mut self, paths: &[u8]) {
        let addresses = paths.iter().map(|path| theirs(*path)).collect();
        let peer = Peer { addresses, port: PEER_PORT, encapsulation: Encapsulation::Default };
        self.assoc = self.stack.connect(self.now, self.endpoint, &peer, None).expect("connects");
        self.collect();
        let init = self.sent.last().expect("INIT").chunks[0].clone();
        assert_eq!(init.kind, INIT);
        self.tag = init.u32_at(0);
    }

    /// Connected by us to a peer at `paths` networks: in COOKIE-ECHOED.
    pub fn echoed(paths: u8, config: Config) -> Self {
        let mut lab = Self::new(paths, config);
        lab.connect(&(0..paths).collect::<Vec<u8>>());
        let listed: Vec<u8> = (0..paths).flat_map(|path| address_param(theirs(path))).collect();
        lab.give(&init().with(&listed).with(&tlv(7, b"a cookie")).chunk(INIT_ACK));
        assert_eq!(lab.state(), State::CookieEchoed);
        lab.take();
        lab
    }

    /// Connected by us: in ESTABLISHED, with all paths confirmed; nothing waits to be sent.
    pub fn established(paths: u8, config: Config) -> Self {
        let mut lab = Self::echoed(paths, config);
        lab.give(&chunk(COOKIE_ACK, 0, &[]));
        assert_eq!(lab.state(), State::Established);
        lab.answer_heartbeats();
        lab.take();
        lab
    }

    /// As [`Lab::established`], and the peer's first DATA (TSN `PEER_TSN`) was acknowledged.
    pub fn warm(config: Config) -> Self {
        let mut lab = Self::established(1, config);
        lab.give(&data(PEER_TSN, 0, 0, "BE", b"first"));
        lab.recv();
        lab.take();
        lab
    }

    /// The peer connects with this INIT from its address on network 0. Returns the INIT ACK.
    pub fn invite(&mut self, init: &Init) -> Sent {
        self.deliver(0, 0, &packet(0, &init.chunk(INIT)));
        let answers = self.take();
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers[0].clone()
    }

    /// The State Cookie of an INIT ACK.
    pub fn cookie(init_ack: &Sent) -> Vec<u8> {
        init_ack.chunks[0].tlvs(16).into_iter().find(|(kind, _)| *kind == 7).expect("a State Cookie").1
    }

    /// Accepted from a peer at one address.
    pub fn accepted(config: Config) -> Self {
        let mut lab = Self::new(1, config);
        let init_ack = lab.invite(&init());
        lab.tag = init_ack.chunks[0].u32_at(0);
        lab.give(&chunk(COOKIE_ECHO, 0, &Self::cookie(&init_ack)));
        assert_eq!(lab.state(), State::Established);
        lab.take();
        lab
    }

    /// In this state of a shutdown, on a fresh association.
    pub fn shutting(state: State, config: Config) -> Self {
        let mut lab = Self::warm(config);
        match state {
            State::ShutdownPending | State::ShutdownReceived => lab.send(0, b"under way"),
            _ => {}
        }
        match state {
            State::ShutdownPending | State::ShutdownSent => {
                lab.stack.shutdown(lab.now, lab.assoc).expect("it is there");
                lab.collect();
            }
            State::ShutdownReceived | State::ShutdownAckSent => {
                lab.give(&chunk(SHUTDOWN, 0, &(TSN - 1).to_be_bytes()));
            }
            _ => {}
        }
        assert_eq!(lab.state(), state);
        lab
    }

    /// Hands the stack a packet that the peer sent from its address on network `from` to ours on `to`.
    pub fn deliver(&mut self, from: u8, to: u8, packet: &[u8]) {
        self.deliver_from(theirs(from), to, packet);
    }

    pub fn deliver_from(&mut self, remote: Address, to: u8, data: &[u8]) {
        let local = Local { address: Some(ours(to)), socket: None, interface: 0 };
        let datagram = Datagram { local, remote, encap_port: Some(9899), ecn: None, data };
        self.stack.handle_datagram(self.now, datagram);
        self.collect();
    }

    /// Chunks from the peer, on network 0, with our tag.
    pub fn give(&mut self, chunks: &[u8]) {
        self.give_over(0, chunks);
    }

    pub fn give_over(&mut self, path: u8, chunks: &[u8]) {
        let packet = packet(self.tag, chunks);
        self.deliver(path, path, &packet);
    }

    fn collect(&mut self) {
        while let Some(incoming) = self.stack.poll_incoming() {
            self.assoc = self.stack.accept(self.now, incoming).expect("accepts");
        }
        let mut buf = vec![0; 1 << 16];
        while let Some(transmit) = self.stack.poll_transmit(self.now, 1, &mut buf) {
            let bytes = buf[..transmit.size].to_vec();
            self.sent.push(Sent {
                at: self.now,
                from: transmit.local.address,
                to: transmit.remote,
                tag: u32::from_be_bytes(bytes[4..8].try_into().expect("four bytes")),
                chunks: parse_chunks(&bytes),
                bytes,
                dont_fragment: transmit.dont_fragment,
            });
        }
        while let Some((_, event)) = self.stack.poll_event() {
            self.events.push(event);
        }
    }

    /// What was sent since the last time.
    pub fn take(&mut self) -> Vec<Sent> {
        self.collect();
        std::mem::take(&mut self.sent)
    }

    /// The chunk types of each packet that was sent since the last time.
    pub fn take_kinds(&mut self) -> Vec<Vec<u8>> {
        self.take().iter().map(Sent::kinds).collect()
    }

    /// Lets time pass; timers do what they do.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.collect();
        while let Some(at) = self.stack.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.stack.handle_timeout(self.now);
            self.collect();
        }
        self.now = end;
    }

    /// Answers the HEARTBEATs that have been sent, over the paths that they went.
    pub fn answer_heartbeats(&mut self) {
        for sent in self.take() {
            let path = (0..8).find(|path| theirs(*path) == sent.to).expect("a path of the lab");
            if let Some(heartbeat) = sent.chunk(HEARTBEAT) {
                self.give_over(path, &chunk(HEARTBEAT_ACK, 0, &heartbeat.value));
            }
        }
    }

    pub fn send(&mut self, stream: u16, payload: &[u8]) {
        let options = SendOptions { stream: StreamId(stream), ppid: Ppid(46), ..SendOptions::default() };
        self.send_with(options, payload);
    }

    pub fn send_with(&mut self, options: SendOptions, payload: &[u8]) {
        self.stack.send(self.now, self.assoc, options, payload.to_vec().into()).expect("is taken");
        self.collect();
    }

    pub fn recv(&mut self) -> Vec<Message> {
        let all = std::iter::from_fn(|| self.stack.recv(self.now, self.assoc)).collect();
        self.collect();
        all
    }

    pub fn state(&self) -> State {
        self.stack.state(self.assoc).expect("the association is there")
    }

    pub fn stats(&self) -> AssociationStats {
        self.stack.association(self.now, self.assoc).expect("the association is there")
    }

    pub fn closed(&self) -> Option<CloseReason> {
        self.events.iter().find_map(|event| match event {
            Event::Closed(reason) => Some(reason.clone()),
            _ => None,
        })
    }
}
