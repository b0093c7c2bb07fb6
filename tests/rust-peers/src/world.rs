//! A stack of ours, a peer, and the wire between them.

use crate::book::{Book, Plan, Planned};
use crate::peer::{Options, Peer, PeerEvent};
use crate::shift::Shift;
use crate::wire::{Init, chunks, code, word_at};
use crate::{PORT, PPID};
use esock_proto::{
    Address, AssocId, AssociationStats, CloseReason, Config, Datagram, Encapsulation, EndpointConfig, EndpointId,
    Event, Local, PathId, PathParameters, Ppid, SendOptions, SocketId, Stack, StackConfig, State, StreamId, Time, Tsn,
};
use esock_sim::{Capture, Fate, Link, LinkConfig};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Bytes of the IPv4 and UDP headers in front of each packet.
const HEADERS: usize = 28;
/// Packets of one batch of ours.
const MAX_SEGMENTS: usize = 16;
/// More steps than any of the cases needs.
const MAX_STEPS: usize = 2_000_000;

/// One end, and its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Us,
    Them,
}

/// How the world is set up.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The wire, the same in both directions.
    pub link: LinkConfig,
    /// Our parameters.
    pub config: Config,
    /// The peer's receive window, in bytes.
    pub their_window: u32,
    /// Our first TSN.
    pub our_tsn: Option<Tsn>,
    /// The peer's first TSN, as it appears to us.
    pub their_tsn: Option<Tsn>,
}

impl Default for Setup {
    fn default() -> Self {
        let link = LinkConfig { delay: Duration::from_millis(10), mtu: 1500, ..LinkConfig::default() };
        Self { link, config: Config::default(), their_window: 1 << 20, our_tsn: None, their_tsn: None }
    }
}

/// The seed of this run: from ESOCK_SEED, else from the clock; printed.
pub fn seed() -> u64 {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let given = std::env::var("ESOCK_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or(u64::from(clock.subsec_nanos()));
    println!("ESOCK_SEED={seed}");
    seed
}

/// What passed over the wire from one end.
#[derive(Debug, Default)]
pub struct Seen {
    /// Chunks by type.
    pub chunks: BTreeMap<u8, usize>,
    /// INIT and INIT ACK chunks.
    pub inits: Vec<Init>,
    /// Packets.
    pub packets: usize,
    /// Packets whose checksum field was zero.
    pub zero_checksums: usize,
    /// Whether DATA went from large TSNs to small ones.
    pub wrapped: bool,
    last_tsn: Option<u32>,
}

impl Seen {
    fn note(&mut self, packet: &[u8]) {
        self.packets += 1;
        self.zero_checksums += usize::from(packet[8..12] == [0; 4]);
        for chunk in chunks(packet) {
            *self.chunks.entry(chunk.kind).or_default() += 1;
            match chunk.kind {
                code::INIT | code::INIT_ACK => self.inits.push(Init::parse(chunk.value)),
                code::DATA => self.note_tsn(word_at(chunk.value, 0)),
                _ => {}
            }
        }
    }

    fn note_tsn(&mut self, tsn: u32) {
        let last = self.last_tsn.replace(tsn);
        self.wrapped |= last.is_some_and(|last| last > u32::MAX - 1000 && tsn < 1000);
    }

    /// How many chunks of a type there were.
    pub fn count(&self, kind: u8) -> usize {
        self.chunks.get(&kind).copied().unwrap_or(0)
    }
}

/// Our side.
#[derive(Debug)]
pub struct Us {
    /// The stack.
    pub stack: Stack,
    endpoint: EndpointId,
    /// Its association, once there is one.
    pub association: Option<AssocId>,
    /// What happened on it.
    pub events: Vec<Event>,
    /// Whether messages are read as they come.
    pub reads: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    at: Time,
    /// Packets of one moment arrive in the order in which they left.
    order: u64,
    at_us: bool,
    data: Vec<u8>,
}

/// See the module.
#[derive(Debug)]
pub struct World<P> {
    /// The time.
    pub now: Time,
    /// Our side.
    pub us: Us,
    /// The other side.
    pub peer: P,
    /// What it said.
    pub peer_events: Vec<PeerEvent>,
    /// Whether it reads messages as they come.
    pub they_read: bool,
    /// What we send.
    pub ours: Book,
    /// What the peer sends.
    pub theirs: Book,
    /// What we sent over the wire, and what the peer sent.
    pub seen: [Seen; 2],
    setup: Setup,
    seed: u64,
    rng: StdRng,
    links: [Link; 2],
    shift: Option<Shift>,
    /// The next packet of ours with a chunk of this type is lost.
    to_lose: Option<u8>,
    arrivals: BinaryHeap<Reverse<Arrival>>,
    order: u64,
    steps: usize,
    waiting: [Option<(Planned, Vec<u8>)>; 2],
    buffer: Vec<u8>,
    capture: Capture,
}

fn our_address() -> Address {
    Ipv4Addr::new(10, 0, 0, 1).into()
}

fn their_address() -> Address {
    Ipv4Addr::new(10, 0, 0, 2).into()
}

impl Us {
    fn new(setup: &Setup, rng: &mut StdRng, now: Time) -> Self {
        let mut stack_config = StackConfig::default();
        stack_config.initial_tsn = setup.our_tsn;
        let mut stack = Stack::new(stack_config, rng.random(), now);
        let opened = stack.open(EndpointConfig {
            port: PORT,
            addresses: vec![our_address()],
            host_addresses: Vec::new(),
            config: setup.config.clone(),
        });
        let endpoint = opened.unwrap_or_else(|error| panic!("{error}"));
        stack.set_accepting(endpoint, true);
        Self { stack, endpoint, association: None, events: Vec::new(), reads: true }
    }
}

impl<P: Peer> World<P> {
    /// Two ends that know nothing of each other yet.
    pub fn new(seed: u64, setup: Setup) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let now = Time::from_millis(1000);
        Self {
            now,
            us: Us::new(&setup, &mut rng, now),
            peer: P::new(Options { seed, receive_window: setup.their_window }, now),
            peer_events: Vec::new(),
            they_read: true,
            ours: Book::default(),
            theirs: Book::default(),
            seen: Default::default(),
            links: [Link::new(setup.link.clone()), Link::new(setup.link.clone())],
            shift: None,
            to_lose: None,
            arrivals: BinaryHeap::new(),
            order: 0,
            steps: 0,
            waiting: [None, None],
            buffer: vec![0; 1 << 16],
            capture: Capture::new(),
            seed,
            rng,
            setup,
        }
    }

    /// We connect.
    pub fn we_connect(&mut self) {
        let peer =
            esock_proto::Peer { addresses: vec![their_address()], port: PORT, encapsulation: Encapsulation::Default };
        let connected = self.us.stack.connect(self.now, self.us.endpoint, &peer, None);
        self.us.association = Some(connected.unwrap_or_else(|error| panic!("{error}")));
    }

    /// They connect.
    pub fn they_connect(&mut self) {
        self.peer.connect(self.now);
    }

    /// We crash, and come back without memory of the association.
    pub fn we_restart(&mut self) {
        self.us = Us::new(&self.setup, &mut self.rng, self.now);
    }

    /// They crash, and come back without memory of the association.
    pub fn they_restart(&mut self) {
        let options = Options { seed: self.seed ^ 1, receive_window: self.setup.their_window };
        self.peer = P::new(options, self.now);
        self.peer_events.clear();
    }

    /// Has the next packet of ours with a chunk of type `kind` lost.
    pub fn lose_next(&mut self, kind: u8) {
        self.to_lose = Some(kind);
    }

    /// Our association.
    pub fn association(&self) -> AssocId {
        self.us.association.unwrap_or_else(|| panic!("we have no association"))
    }

    /// Our association at a glance.
    pub fn stats(&self) -> Option<AssociationStats> {
        self.us.association.and_then(|association| self.us.stack.association(self.now, association))
    }

    /// Whether both ends say that it is up.
    pub fn is_up(&self) -> bool {
        let ours = self.us.association.and_then(|association| self.us.stack.state(association));
        ours == Some(State::Established) && self.peer_events.contains(&PeerEvent::Up)
    }

    /// How it ended for us.
    pub fn our_end(&self) -> Option<&CloseReason> {
        self.us.events.iter().find_map(|event| match event {
            Event::Closed(reason) => Some(reason),
            _ => None,
        })
    }

    /// How it ended for the peer, in its words.
    pub fn their_end(&self) -> Option<&str> {
        self.peer_events.iter().find_map(|event| match event {
            PeerEvent::Closed(reason) => Some(reason.as_str()),
            _ => None,
        })
    }

    /// From now on these messages are sent, as there is room.
    pub fn send(&mut self, ours: Plan, theirs: Plan) {
        (self.ours, self.theirs) = (Book::new(ours), Book::new(theirs));
        self.waiting = [None, None];
    }

    /// Whether everything has arrived, both ways.
    pub fn is_exchanged(&self) -> bool {
        self.ours.is_complete() && self.theirs.is_complete()
    }

    /// We search the path MTU now, and not when there is use for it.
    pub fn search_mtu(&mut self) {
        let mut parameters = PathParameters::default();
        parameters.pmtud = Some(true);
        let association = self.association();
        let done = self.us.stack.set_path_parameters(self.now, association, PathId(0), parameters);
        assert!(done.is_ok(), "we have no path");
    }

    /// We end the association gracefully.
    pub fn shutdown(&mut self) {
        let done = self.us.stack.shutdown(self.now, self.association());
        assert!(done.is_ok(), "we have no association any more");
    }

    /// We end it with an ABORT.
    pub fn abort(&mut self) {
        let done = self.us.stack.abort(self.now, self.association(), b"enough");
        assert!(done.is_ok(), "we have no association any more");
    }

    /// Lets time pass until `what` is so.
    ///
    /// # Panics
    /// If it is not so within `limit`.
    pub fn until(&mut self, what: &str, limit: Duration, mut is_so: impl FnMut(&Self) -> bool) {
        let end = self.now + limit;
        loop {
            self.pump();
            if is_so(self) {
                return;
            }
            if !self.advance(end) {
                panic!("not within {limit:?}: {what}\n{}", self.situation());
            }
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.pump();
            if !self.advance(end) {
                return;
            }
        }
    }

    /// What is known, for the message of a failure.
    fn situation(&self) -> String {
        let book = |book: &Book| format!("{} sent, {} arrived", book.sent, book.arrived);
        format!(
            "at {:?}; from us: {}; from them: {}\nwe said: {:?}\nthey said: {:?}\n{:?}",
            self.now,
            book(&self.ours),
            book(&self.theirs),
            self.us.events,
            self.peer_events,
            self.stats()
        )
    }

    /// Goes on to the next moment at which something happens; `false`: there is none before `end`.
    fn advance(&mut self, end: Time) -> bool {
        self.steps += 1;
        assert!(self.steps < MAX_STEPS, "this never ends: {}", self.situation());
        let arrival = self.arrivals.peek().map(|Reverse(arrival)| arrival.at);
        let timers = [self.us.stack.poll_timeout(), self.peer.poll_timeout()];
        let Some(next) = timers.into_iter().flatten().chain(arrival).min().filter(|at| *at <= end) else {
            self.now = self.now.max(end);
            return false;
        };
        self.now = self.now.max(next);
        while self.arrivals.peek().is_some_and(|Reverse(arrival)| arrival.at <= self.now) {
            if let Some(Reverse(arrival)) = self.arrivals.pop() {
                self.deliver(&arrival);
            }
        }
        if self.us.stack.poll_timeout().is_some_and(|at| at <= self.now) {
            self.us.stack.handle_timeout(self.now);
        }
        if self.peer.poll_timeout().is_some_and(|at| at <= self.now) {
            self.peer.handle_timeout(self.now);
        }
        true
    }

    fn deliver(&mut self, arrival: &Arrival) {
        if arrival.at_us {
            let datagram = Datagram {
                local: Local { address: Some(our_address()), socket: Some(SocketId(0)), interface: 0 },
                remote: their_address(),
                encap_port: Some(9899),
                ecn: None,
                data: &arrival.data,
            };
            self.us.stack.handle_datagram(self.now, datagram);
        } else {
            self.peer.handle_packet(self.now, &arrival.data);
        }
    }

    /// Has both ends say and send what they have, and read and write what they can.
    fn pump(&mut self) {
        self.hear();
        self.read();
        self.write();
        self.hear();
        self.transmit();
    }

    fn hear(&mut self) {
        while let Some(incoming) = self.us.stack.poll_incoming() {
            if let Some(accepted) = self.us.stack.accept(self.now, incoming) {
                self.us.association = Some(accepted);
            }
        }
        while let Some((id, event)) = self.us.stack.poll_event() {
            if Some(id) == self.us.association {
                self.us.events.push(event);
            }
        }
        while let Some(event) = self.peer.poll_event() {
            self.peer_events.push(event);
        }
    }

    fn read(&mut self) {
        while self.us.reads
            && let Some(association) = self.us.association
            && let Some(message) = self.us.stack.recv(self.now, association)
        {
            assert_eq!(message.ppid, Ppid(PPID));
            let taken = self.theirs.take(message.stream.0, Some(message.unordered), &message.payload);
            taken.unwrap_or_else(|wrong| panic!("at our side {wrong}\n{}", self.situation()));
        }
        while self.they_read
            && let Some(message) = self.peer.recv(self.now)
        {
            assert_eq!(message.ppid, PPID);
            let taken = self.ours.take(message.stream, None, &message.payload);
            taken.unwrap_or_else(|wrong| panic!("at their side {wrong}\n{}", self.situation()));
        }
    }

    fn write(&mut self) {
        if !self.is_up() {
            return;
        }
        let association = self.association();
        while let Some((message, payload)) = self.waiting[0].take().or_else(|| self.ours.next()) {
            let options = SendOptions {
                stream: StreamId(message.stream),
                ppid: Ppid(PPID),
                unordered: message.unordered,
                ..SendOptions::default()
            };
            if let Err(rejected) = self.us.stack.send(self.now, association, options, payload.into()) {
                assert_eq!(rejected.error, esock_proto::SendError::Full);
                self.waiting[0] = Some((message, rejected.payload.into()));
                break;
            }
            self.ours.sent += 1;
        }
        while let Some((message, payload)) = self.waiting[1].take().or_else(|| self.theirs.next()) {
            if !self.peer.send(self.now, message.stream, message.unordered, &payload) {
                self.waiting[1] = Some((message, payload));
                break;
            }
            self.theirs.sent += 1;
        }
    }

    fn transmit(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(transmit) = self.us.stack.poll_transmit(self.now, MAX_SEGMENTS, &mut buffer) {
            for packet in buffer[..transmit.size].chunks(transmit.segment_size.unwrap_or(transmit.size)) {
                self.put(End::Us, packet.to_vec());
            }
        }
        self.buffer = buffer;
        while let Some(packet) = self.peer.poll_packet(self.now) {
            self.put(End::Them, packet);
        }
    }

    fn put(&mut self, from: End, mut packet: Vec<u8>) {
        self.shift(from, &mut packet);
        self.seen[from as usize].note(&packet);
        let (source, destination) = match from {
            End::Us => (our_address(), their_address()),
            End::Them => (their_address(), our_address()),
        };
        self.capture.add(self.now, source, destination, &packet);
        if from == End::Us && chunks(&packet).iter().any(|chunk| Some(chunk.kind) == self.to_lose) {
            self.to_lose = None;
            return;
        }
        let fate = self.links[from as usize].enter(self.now, HEADERS + packet.len(), true, &mut self.rng);
        let Fate::Arrives(times) = fate else { return };
        if from == End::Us
            && let Some(shift) = self.shift
        {
            shift.outbound(&mut packet);
        }
        for (at, _) in times {
            self.order += 1;
            let arrival = Arrival { at, order: self.order, at_us: from == End::Them, data: packet.clone() };
            self.arrivals.push(Reverse(arrival));
        }
    }

    /// Moves the peer's TSNs, if that was asked for.
    fn shift(&mut self, from: End, packet: &mut [u8]) {
        let (End::Them, Some(to)) = (from, self.setup.their_tsn) else { return };
        let first = chunks(packet).first().filter(|chunk| matches!(chunk.kind, code::INIT | code::INIT_ACK)).copied();
        // Each time: a peer may choose another TSN for each INIT that it answers.
        if let Some(chunk) = first {
            self.shift = Some(Shift::new(Init::parse(chunk.value).tsn, to.0));
        }
        if let Some(shift) = self.shift {
            shift.inbound(packet);
        }
    }
}

impl<P> World<P> {
    /// Writes what passed over the wire as pcapng.
    fn keep_capture(&self) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tmp/rust-peers");
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("test").replace("::", "-");
        let file = directory.join(format!("{name}-{}.pcapng", self.seed));
        let written = std::fs::create_dir_all(&directory).and_then(|()| std::fs::write(&file, self.capture.bytes()));
        println!("ESOCK_SEED={}, capture: {} ({written:?})", self.seed, file.display());
    }
}

impl<P> Drop for World<P> {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("ESOCK_KEEP_CAPTURES").is_some() {
            self.keep_capture();
        }
    }
}
