//! Several shards of one server, each on a core of its own: what a packet costs its core is charged in virtual time, and
//! nothing else is slow. So it is seen on any machine how far shards carry.
//!
//! The stacks are real, and so is the way of each packet: by its tag as the BPF program reads it, else by
//! [`Homes`]; what is misdirected is forwarded, and costs both. Clients, the network and the peers' cores are free.

use bytes::Bytes;
use esock_proto::{
    Address, AssocId, Config, Datagram, Encapsulation, EndpointConfig, EndpointId, Homes, Local, Peer, PeerKey,
    SendOptions, Shard, Stack, StackConfig, StrayKind, Time, VerificationTag,
};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

const UDP_PORT: u16 = 9899;
const SERVER_PORT: u16 = 2905;
const CLIENT_PORT: u16 = 5000;

/// Packets of one batch, as a driver asks for them.
const MAX_SEGMENTS: usize = 46;

/// Batches of one turn of a shard.
const BATCHES_PER_TURN: usize = 8;

/// User data of a message: with its headers a packet of 1,400 bytes.
const MESSAGE_BYTES: usize = 1372;

/// IPv4 and UDP header.
const OUTER_BYTES: usize = 28;

/// One way through the network.
const LATENCY: Duration = Duration::from_micros(25);

/// Batches that leave within this time may be joined.
const JOINED_WITHIN: Duration = Duration::from_micros(2);

/// What the clients have under way at most, all together.
const UNDER_WAY_BYTES: usize = 64 << 20;

/// What costs a core time.
#[derive(Debug, Clone, Copy)]
pub struct Costs {
    /// A packet received: its part of a system call, the stack, the copy.
    pub receive: Duration,
    /// A packet sent.
    pub send: Duration,
    /// A turn: waking up, and system calls that are made however few packets there are.
    pub turn: Duration,
    /// A packet that goes to another shard: this for each of the two.
    pub forward: Duration,
    /// A look at who has which peer. One shard at a time.
    pub look: Duration,
}

impl Costs {
    /// As measured on a core of an AMD EPYC over loopback, with Linux 6.18 in a virtual machine: 23.4 Gbit/s of user data
    /// in packets of 1,400 bytes are one in 469 ns, all included; of that some 14 ns are its part of a turn and a SACK. The
    /// rest is what `cargo test --release -p esock-io --lib -- --nocapture what_shards_cost` says.
    pub const MEASURED: Self = Self {
        receive: Duration::from_nanos(455),
        send: Duration::from_nanos(2945),
        turn: Duration::from_nanos(2270),
        forward: Duration::from_nanos(190),
        look: Duration::from_nanos(59),
    };
}

/// A run.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Shards of the server.
    pub shards: u16,
    /// Associations, each of a client of its own that sends without a pause once all are up.
    pub associations: usize,
    /// What costs what.
    pub costs: Costs,
    /// How long they send before it is measured: windows open slowly.
    pub warm_up: Duration,
    /// How long is measured.
    pub length: Duration,
    /// Whether two clients' batches arrive as one buffer at times, as a network card may join them.
    pub joined: bool,
    /// Of all random numbers.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// User data that the server's users took, in bits a second.
    pub bits_per_second: f64,
    /// Associations of each shard.
    pub spread: Vec<usize>,
    /// Packets that reached a shard while it was measured.
    pub packets: u64,
    /// Those among them that another shard had to be given.
    pub forwarded: u64,
    /// The same in the time before, while associations were set up.
    pub forwarded_at_setup: u64,
    /// How busy the cores were on average, 0 to 1.
    pub busy: f64,
}

/// Packets of equal size that travel together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Batch {
    client: usize,
    data: Vec<u8>,
    segment: usize,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    ToServer(Vec<Batch>),
    ToClient(Batch),
    /// A packet from another shard; whether nobody else is to be asked.
    Forwarded(usize, Batch, bool),
    Turn(usize),
    /// Nothing has left that could be joined with the batch that waits.
    JoinsNobody(u64),
    ClientTimer(usize),
}

/// One shard and its core.
#[derive(Debug)]
struct Core {
    stack: Stack,
    assocs: Vec<AssocId>,
    /// What waits in its socket and its inbox.
    queue: VecDeque<(Batch, Option<bool>)>,
    /// Until when it works.
    free_at: Time,
    /// When its next turn is, if one is to come.
    next: Option<Time>,
    busy: Duration,
    bytes: u64,
    packets: u64,
    forwarded: u64,
}

/// A peer, with a stack of its own.
#[derive(Debug)]
struct Client {
    stack: Stack,
    assoc: AssocId,
    timer: Option<Time>,
}

/// See [`Run::play`].
struct World {
    run: Run,
    now: Time,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    order: u64,
    cores: Vec<Core>,
    clients: Vec<Client>,
    /// All are up, and the clients send.
    sends: bool,
    homes: Homes,
    /// Until when somebody looks at `homes`.
    homes_free_at: Time,
    waits_to_be_joined: Option<(u64, Batch)>,
    payload: Bytes,
    buffer: Vec<u8>,
}

fn client_address(client: usize) -> Address {
    Ipv4Addr::from_bits(0x0a00_0000 + 2 + client as u32).into()
}

fn server_address() -> Address {
    Ipv4Addr::new(192, 0, 2, 1).into()
}

fn config(send_buffer: usize) -> Config {
    let mut config = Config::default();
    config.initial_mtu = (MESSAGE_BYTES + 28 + OUTER_BYTES) as u16;
    config.pmtud = false;
    config.heartbeat_interval = None;
    config.receive_window = 8 << 20;
    config.send_buffer = send_buffer;
    config
}

fn stack(shard: Shard, seed: u64, number: usize, own: Address, port: u16, config: Config) -> (Stack, EndpointId) {
    let now = Time::from_millis(1000);
    let mut seeds = [0; 32];
    seeds[..8].copy_from_slice(&seed.to_le_bytes());
    seeds[8..16].copy_from_slice(&(number as u64).to_le_bytes());
    let mut stack_config = StackConfig::default();
    stack_config.shard = shard;
    let mut stack = Stack::new(stack_config, seeds, now);
    let endpoint = EndpointConfig { port, addresses: vec![own], host_addresses: Vec::new(), config };
    let id = stack.open(endpoint).unwrap_or_else(|error| panic!("a fixed configuration: {error}"));
    stack.set_accepting(id, true);
    (stack, id)
}

impl Run {
    /// Plays it.
    ///
    /// # Panics
    ///
    /// If associations do not come up within a virtual minute: the stacks have a fault.
    pub fn play(self) -> Outcome {
        let mut world = World::new(self);
        let patience = world.now + Duration::from_secs(60);
        let up = |world: &World| world.cores.iter().map(|core| core.assocs.len()).sum::<usize>() == self.associations;
        while !up(&world) {
            assert!(world.now < patience && world.step(), "not all came up");
        }
        world.begin_to_send();
        world.until(world.now + self.warm_up);
        let forwarded_at_setup = world.cores.iter().map(|core| core.forwarded).sum();
        for core in &mut world.cores {
            (core.busy, core.bytes, core.packets, core.forwarded) = Default::default();
        }
        world.until(world.now + self.length);
        let sum = |of: fn(&Core) -> u64| world.cores.iter().map(of).sum::<u64>();
        let busy: Duration = world.cores.iter().map(|core| core.busy).sum();
        Outcome {
            bits_per_second: sum(|core| core.bytes) as f64 * 8.0 / self.length.as_secs_f64(),
            spread: world.cores.iter().map(|core| core.assocs.len()).collect(),
            packets: sum(|core| core.packets),
            forwarded: sum(|core| core.forwarded),
            forwarded_at_setup,
            busy: busy.as_secs_f64() / self.length.as_secs_f64() / f64::from(self.shards),
        }
    }
}

impl World {
    fn new(run: Run) -> Self {
        let now = Time::from_millis(1000);
        let cores = (0..run.shards).map(|index| {
            let shard = Shard::new(index, run.shards).unwrap_or_default();
            let config = config(1 << 20);
            let (stack, _) = stack(shard, run.seed, index.into(), server_address(), SERVER_PORT, config);
            Core {
                stack,
                assocs: Vec::new(),
                queue: VecDeque::new(),
                free_at: now,
                next: None,
                busy: Duration::ZERO,
                bytes: 0,
                packets: 0,
                forwarded: 0,
            }
        });
        let mut homes = Homes::new(run.shards.into());
        (0..run.shards).for_each(|shard| homes.join(shard));
        let mut world = Self {
            run,
            now,
            events: BinaryHeap::new(),
            order: 0,
            cores: cores.collect(),
            clients: Vec::new(),
            sends: false,
            homes,
            homes_free_at: now,
            waits_to_be_joined: None,
            payload: Bytes::from(vec![7; MESSAGE_BYTES]),
            buffer: vec![0; 1 << 16],
        };
        for number in 0..run.associations {
            world.add_client(number);
        }
        world
    }

    fn add_client(&mut self, number: usize) {
        // At least four messages: every second packet is acknowledged at once.
        let send_buffer = (UNDER_WAY_BYTES / self.run.associations).clamp(4 * MESSAGE_BYTES, 1 << 20);
        let seed = self.run.seed ^ u64::MAX;
        let own = client_address(number);
        let (mut stack, endpoint) = stack(Shard::ALONE, seed, number, own, CLIENT_PORT, config(send_buffer));
        let encapsulation = Encapsulation::Udp(UDP_PORT);
        let peer = Peer { addresses: vec![server_address()], port: SERVER_PORT, encapsulation };
        let connected = stack.connect(self.now, endpoint, &peer, None);
        let assoc = connected.unwrap_or_else(|error| panic!("a fixed peer: {error}"));
        self.clients.push(Client { stack, assoc, timer: None });
        // They begin one after the other, ten microseconds apart.
        let at = self.now + Duration::from_micros(10) * number as u32;
        self.clients[number].timer = Some(at);
        self.enter(at, Event::ClientTimer(number));
    }

    fn begin_to_send(&mut self) {
        self.sends = true;
        for number in 0..self.clients.len() {
            self.clients[number].timer = Some(self.now);
            self.enter(self.now, Event::ClientTimer(number));
        }
    }

    fn enter(&mut self, at: Time, event: Event) {
        self.order += 1;
        self.events.push(Reverse((at, self.order, event)));
    }

    fn until(&mut self, end: Time) {
        while self.events.peek().is_some_and(|Reverse((at, ..))| *at <= end) && self.step() {}
        self.now = end;
    }

    /// The next event. Says whether there was one.
    fn step(&mut self) -> bool {
        let Some(Reverse((at, _, event))) = self.events.pop() else { return false };
        self.now = at;
        match event {
            Event::ToServer(batches) => {
                // A buffer goes where its first packet belongs.
                let shard = self.steer(&batches[0]);
                self.cores[shard].queue.extend(batches.into_iter().map(|batch| (batch, None)));
                self.wake(shard, at);
            }
            Event::Forwarded(shard, batch, last) => {
                self.cores[shard].queue.push_back((batch, Some(last)));
                self.wake(shard, at);
            }
            Event::Turn(shard) => {
                if self.cores[shard].next == Some(at) {
                    self.cores[shard].next = None;
                    self.turn(shard);
                }
            }
            Event::JoinsNobody(number) => {
                if let Some((_, batch)) = self.waits_to_be_joined.take_if(|(waiting, _)| *waiting == number) {
                    self.enter(at + LATENCY, Event::ToServer(vec![batch]));
                }
            }
            Event::ToClient(batch) => self.client(batch.client, Some(&batch)),
            Event::ClientTimer(client) => {
                if self.clients[client].timer == Some(at) {
                    self.clients[client].timer = None;
                    self.client(client, None);
                }
            }
        }
        true
    }

    /// What the BPF program does.
    fn steer(&self, batch: &Batch) -> usize {
        let word = |at: usize| batch.data.get(at..at + 4).and_then(|word| word.first_chunk().copied());
        let tag = word(4).map_or(0, u32::from_be_bytes);
        let tag = if tag == 0 { word(16).map_or(0, u32::from_be_bytes) } else { tag };
        tag as usize % self.cores.len()
    }

    fn wake(&mut self, shard: usize, at: Time) {
        let core = &mut self.cores[shard];
        let at = at.max(core.free_at);
        if core.next.is_none_or(|next| at < next) {
            core.next = Some(at);
            self.enter(at, Event::Turn(shard));
        }
    }

    /// A shard works: receives, lets its user read, sends.
    fn turn(&mut self, shard: usize) {
        let began = self.now;
        let mut clock = began + self.run.costs.turn;
        for _ in 0..BATCHES_PER_TURN {
            let Some((batch, forwarded)) = self.cores[shard].queue.pop_front() else { break };
            for packet in batch.data.chunks(batch.segment) {
                self.cores[shard].packets += 1;
                clock = self.receive(shard, clock, batch.client, packet, forwarded);
            }
        }
        let core = &mut self.cores[shard];
        while let Some(incoming) = core.stack.poll_incoming() {
            core.assocs.extend(core.stack.accept(clock, incoming));
        }
        while let Some((id, event)) = core.stack.poll_event() {
            if matches!(event, esock_proto::Event::Readable) {
                core.stack.recv_many(clock, id, usize::MAX, &mut |message| core.bytes += message.payload.len() as u64);
            }
        }
        if core.stack.poll_timeout().is_some_and(|at| at <= clock) {
            core.stack.handle_timeout(clock);
        }
        while let Some(change) = self.cores[shard].stack.poll_peer_change() {
            let key = PeerKey { endpoint: (SERVER_PORT, None), remote: change.remote, port: change.port };
            if change.listed {
                self.homes.hold(shard as u16, key)
            } else {
                self.homes.release(shard as u16, key)
            }
            clock = self.look(clock);
        }
        clock = self.send(shard, clock);
        let core = &mut self.cores[shard];
        core.free_at = clock;
        core.busy += clock.since(began);
        if !core.queue.is_empty() {
            self.wake(shard, clock);
        } else if let Some(at) = core.stack.poll_timeout() {
            self.wake(shard, at);
        }
    }

    /// Sends what a shard has; says when that is done.
    fn send(&mut self, shard: usize, mut clock: Time) -> Time {
        loop {
            let core = &mut self.cores[shard];
            let Some(transmit) = core.stack.poll_transmit(clock, MAX_SEGMENTS, &mut self.buffer) else { return clock };
            let segment = transmit.segment_size.unwrap_or(transmit.size);
            clock = clock + self.run.costs.send * transmit.size.div_ceil(segment) as u32;
            let client = client_of(transmit.remote);
            let batch = Batch { client, data: self.buffer[..transmit.size].to_vec(), segment };
            self.enter(clock + LATENCY, Event::ToClient(batch));
        }
    }

    /// One shard after the other looks at who has which peer.
    fn look(&mut self, clock: Time) -> Time {
        self.homes_free_at = self.homes_free_at.max(clock) + self.run.costs.look;
        self.homes_free_at
    }

    /// A shard has a packet in hand, as `esock-io`'s `Member` has it; says when it is done with it.
    fn receive(&mut self, shard: usize, clock: Time, client: usize, packet: &[u8], forwarded: Option<bool>) -> Time {
        let costs = self.run.costs;
        let local = Local { address: Some(server_address()), ..Local::default() };
        let datagram =
            Datagram { local, remote: client_address(client), encap_port: Some(UDP_PORT), ecn: None, data: packet };
        let clock = clock + if forwarded.is_some() { costs.forward } else { Duration::ZERO };
        let tag = packet.get(4..8).and_then(|word| word.first_chunk().copied()).map_or(0, u32::from_be_bytes);
        let core = &mut self.cores[shard];
        let owner = usize::from(core.stack.shard().of(VerificationTag(tag)));
        if tag != 0 && owner != shard && forwarded.is_none() {
            return self.forward(shard, owner, clock, client, packet, false);
        }
        let clock = clock + costs.receive;
        if forwarded == Some(true) {
            core.stack.handle_datagram(clock, datagram);
            return clock;
        }
        let Some(stray) = core.stack.offer_datagram(clock, datagram) else { return clock };
        let clock = self.look(clock);
        let key = |remote: &Address| PeerKey { endpoint: (SERVER_PORT, None), remote: *remote, port: stray.port };
        let home = self.homes.find(stray.addresses.iter().map(key)).map(usize::from);
        let home = home.unwrap_or_else(|| match stray.kind {
            StrayKind::Init => self.homes.lightest(shard as u16).into(),
            _ => shard,
        });
        if home == shard {
            self.cores[shard].stack.handle_datagram(clock, datagram);
            return clock;
        }
        self.forward(shard, home, clock, client, packet, true)
    }

    fn forward(&mut self, from: usize, to: usize, clock: Time, client: usize, packet: &[u8], last: bool) -> Time {
        let clock = clock + self.run.costs.forward;
        self.cores[from].forwarded += 1;
        let batch = Batch { client, data: packet.to_vec(), segment: packet.len() };
        self.enter(clock, Event::Forwarded(to, batch, last));
        clock
    }

    /// A client receives, and sends as much as it may.
    fn client(&mut self, number: usize, batch: Option<&Batch>) {
        let now = self.now;
        let client = &mut self.clients[number];
        let remote = server_address();
        let local = Local { address: Some(client_address(number)), ..Local::default() };
        for data in batch.into_iter().flat_map(|batch| batch.data.chunks(batch.segment)) {
            let encap_port = Some(UDP_PORT);
            client.stack.handle_datagram(now, Datagram { local, remote, encap_port, ecn: None, data });
        }
        if client.stack.poll_timeout().is_some_and(|at| at <= now) {
            client.stack.handle_timeout(now);
        }
        while client.stack.poll_event().is_some() {}
        if self.sends {
            while client.stack.send(now, client.assoc, SendOptions::default(), self.payload.clone()).is_ok() {}
        }
        loop {
            let client = &mut self.clients[number];
            let Some(transmit) = client.stack.poll_transmit(now, MAX_SEGMENTS, &mut self.buffer) else { break };
            let segment = transmit.segment_size.unwrap_or(transmit.size);
            self.leave(Batch { client: number, data: self.buffer[..transmit.size].to_vec(), segment });
        }
        let client = &mut self.clients[number];
        if let Some(at) = client.stack.poll_timeout()
            && client.timer.is_none_or(|timer| at < timer)
        {
            client.timer = Some(at);
            self.enter(at, Event::ClientTimer(number));
        }
    }

    /// A batch leaves a client, perhaps together with another's.
    fn leave(&mut self, batch: Batch) {
        let at = self.now + LATENCY;
        if !self.run.joined {
            return self.enter(at, Event::ToServer(vec![batch]));
        }
        match self.waits_to_be_joined.take() {
            Some((_, first)) => self.enter(at, Event::ToServer(vec![first, batch])),
            None => {
                self.waits_to_be_joined = Some((self.order, batch));
                self.enter(self.now + JOINED_WITHIN, Event::JoinsNobody(self.order));
            }
        }
    }
}

fn client_of(remote: Address) -> usize {
    match remote.ip() {
        std::net::IpAddr::V4(v4) => (v4.to_bits() - 0x0a00_0002) as usize,
        std::net::IpAddr::V6(_) => unreachable!("clients have IPv4 addresses"),
    }
}
