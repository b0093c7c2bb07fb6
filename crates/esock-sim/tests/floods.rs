//! Floods at a host that talks to somebody else meanwhile: what it owes its peer it delivers, what it keeps does
//! not grow, and the cost of a packet stays the same.

use esock_proto::{
    Address, AssocId, Config, Encapsulation, EndpointConfig, PathState, Peer, SendOptions, Stack, StackConfig,
    StackStats, State, Time,
};
use esock_sim::{LinkConfig, Network};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const PORT: u16 = 30_400;
const INIT: u8 = 1;
const HEARTBEAT: u8 = 4;
const SHUTDOWN_ACK: u8 = 8;
const ERROR: u8 = 9;
const COOKIE_ECHO: u8 = 10;
const ASCONF: u8 = 0xc1;
/// Packets of a flood.
const FLOOD: u32 = 100_000;
/// A message every 10 ms, and this many packets of the flood in between.
const PER_TICK: u32 = 100;

fn client() -> Address {
    Ipv4Addr::new(10, 0, 0, 1).into()
}

fn server() -> Address {
    Ipv4Addr::new(10, 0, 0, 2).into()
}

fn victim() -> Address {
    Ipv4Addr::new(10, 9, 9, 9).into()
}

/// One of many sources, none of which exists.
fn spoofed(at: u32) -> Address {
    Ipv4Addr::from(0x0b00_0000 + at).into()
}

fn packet(source: u16, tag: u32, kind: u8, value: &[u8]) -> Vec<u8> {
    let mut out = [&source.to_be_bytes()[..], &PORT.to_be_bytes(), &tag.to_be_bytes(), &[0; 4], &[kind, 0]].concat();
    out.extend_from_slice(&(4 + value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &out) as u32;
    out[8..12].copy_from_slice(&crc.to_le_bytes());
    out
}

fn init(at: u32) -> Vec<u8> {
    let mut value = (at + 1).to_be_bytes().to_vec();
    value.extend_from_slice(&[0, 16, 0, 0, 0, 10, 0, 10, 0, 0, 0, 1]);
    packet(1 + (at % 60_000) as u16, 0, INIT, &value)
}

/// A client and a server with an association; nothing else is on the wire.
fn pair() -> (Network, AssocId, AssocId) {
    let mut network = Network::new(7);
    for (port, address) in [(5000, client()), (PORT, server())] {
        let endpoint =
            EndpointConfig { port, addresses: vec![address], host_addresses: Vec::new(), config: Config::default() };
        network.add_host(StackConfig::default(), endpoint);
    }
    network.link(0, server(), LinkConfig::default());
    network.link(1, client(), LinkConfig::default());
    let peer = Peer { addresses: vec![server()], port: PORT, encapsulation: Encapsulation::Default };
    let (now, endpoint) = (network.now, network.hosts[0].endpoint);
    let ours = network.hosts[0].stack.connect(now, endpoint, &peer, None).expect("a sound scenario");
    network.touch(0);
    network.run_until(now + Duration::from_secs(5));
    let theirs = *network.hosts[1].accepted.first().expect("the association comes up");
    (network, ours, theirs)
}

/// What a flood did.
struct Outcome {
    sent_before: StackStats,
    sent_after: StackStats,
    slowest: Duration,
}

impl Outcome {
    /// Packets that the server sent beside its association.
    fn answers(&self) -> u64 {
        self.sent_after.packets_sent - self.sent_before.packets_sent
    }
}

/// A message every 10 ms while the flood goes on; each arrives, and soon.
fn flood(
    network: &mut Network,
    (ours, theirs): (AssocId, AssocId),
    mut next: impl FnMut(u32) -> (Address, Vec<u8>),
) -> Outcome {
    let sent_before = network.hosts[1].stack.stats();
    let mut slowest = Duration::ZERO;
    let mut waiting = std::collections::VecDeque::new();
    for tick in 0..FLOOD / PER_TICK {
        let now = network.now;
        network.hosts[0].stack.send(now, ours, SendOptions::default(), vec![1; 100].into()).expect("room");
        waiting.push_back(now);
        network.touch(0);
        for at in 0..PER_TICK {
            let (from, packet) = next(tick * PER_TICK + at);
            network.inject(from, server(), packet);
        }
        network.run_until(now + Duration::from_millis(10));
        while network.hosts[1].stack.recv(network.now, theirs).is_some() {
            let sent: Time = waiting.pop_front().expect("each arrives once");
            slowest = slowest.max(network.now.since(sent));
        }
        network.touch(1);
    }
    network.run_until(network.now + Duration::from_secs(1));
    while network.hosts[1].stack.recv(network.now, theirs).is_some() {
        waiting.pop_front();
    }
    assert!(waiting.is_empty(), "{} messages are missing", waiting.len());
    let stats = network.hosts[0].stack.association(network.now, ours).expect("it was not released");
    assert_eq!((stats.state, stats.paths[0].state), (State::Established, PathState::Active));
    assert_eq!((stats.counters.retransmissions, stats.error_count, stats.send_buffered), (0, 0, 0));
    assert!(slowest <= Duration::from_millis(50), "{slowest:?}");
    Outcome { sent_before, sent_after: network.hosts[1].stack.stats(), slowest }
}

/// What an association costs in packets of its own, without any flood.
fn calm(network: &mut Network, ids: (AssocId, AssocId)) -> u64 {
    let outcome = flood(network, ids, |at| (spoofed(at), vec![0; 16]));
    outcome.answers()
}

#[test]
fn established_associations_keep_their_pace_in_every_flood() {
    type Flood = (&'static str, fn(u32) -> (Address, Vec<u8>), f64);
    let floods: [Flood; 5] = [
        ("INIT from as many sources", |at| (spoofed(at), init(at)), 1.0),
        ("INIT in a victim's name", |at| (victim(), init(at)), 1.0),
        ("COOKIE ECHO with bad cookies", |at| (spoofed(at), packet(9, at | 1, COOKIE_ECHO, &[at as u8; 140])), 0.0),
        ("out of the blue", |at| (spoofed(at), packet(9, at | 1, SHUTDOWN_ACK, &[])), 0.15),
        ("out of the blue in a peer's name", |at| (client(), packet(5000, at | 1, HEARTBEAT, &[0; 40])), 0.0),
    ];
    for (what, next, most) in floods {
        let (mut network, ours, theirs) = pair();
        network.listen(victim());
        let own = calm(&mut network, (ours, theirs));
        let outcome = flood(&mut network, (ours, theirs), next);
        let answers = outcome.answers().saturating_sub(own);
        let heard = network.overheard(victim());
        let bytes: usize = heard.iter().map(|packet| packet.len() + 28).sum();
        println!("{what}: {answers} answers to {FLOOD}, slowest message {:?}", outcome.slowest);
        assert!(answers as f64 <= f64::from(FLOOD) * most + 200.0, "{what}: {answers}");
        assert_eq!(outcome.sent_after.associations, 1, "{what}");
        if !heard.is_empty() {
            let asked = FLOOD as usize * (init(0).len() + 28);
            println!("{what}: the victim gets {} packets, {bytes} bytes for {asked}", heard.len());
            assert!(heard.len() <= FLOOD as usize && bytes <= 4 * asked);
        }
    }
}

/// Somebody who has an association of its own floods it.
#[test]
fn floods_on_an_association_do_not_slow_the_others_down() {
    for (what, kind, value) in [
        ("HEARTBEAT", HEARTBEAT, vec![0, 1, 0, 44].into_iter().chain([7; 40]).collect::<Vec<u8>>()),
        ("ERROR", ERROR, vec![0, 1, 0, 8, 0, 9, 0, 0]),
        (
            "ASCONF",
            ASCONF,
            vec![0, 0, 0, 1, 0, 5, 0, 8, 10, 9, 9, 9, 0xc0, 1, 0, 16, 0, 0, 0, 1, 0, 5, 0, 8, 10, 9, 9, 8],
        ),
        ("restart", INIT, init(5)[16..].to_vec()),
    ] {
        let (mut network, ours, theirs) = pair();
        let own = calm(&mut network, (ours, theirs));
        network.listen(victim());
        network.inject(victim(), server(), init(4999));
        network.run_until(network.now + Duration::from_millis(1));
        let ack = network.overheard(victim()).remove(0);
        let tag = u32::from_be_bytes(ack[16..20].try_into().expect("four bytes"));
        // The State Cookie is the first parameter of an endpoint with one address.
        let length = usize::from(u16::from_be_bytes([ack[34], ack[35]]));
        assert_eq!(ack[32..34], [0, 7]);
        network.inject(victim(), server(), packet(5000, tag, COOKIE_ECHO, &ack[36..32 + length]));
        network.run_until(network.now + Duration::from_secs(2));
        assert_eq!(network.hosts[1].stack.stats().associations, 2);
        let _ = network.overheard(victim());
        network.hosts[1].events.clear();
        let tag = if kind == INIT { 0 } else { tag };
        let attack = packet(5000, tag, kind, &value);
        let outcome = flood(&mut network, (ours, theirs), |_| (victim(), attack.clone()));
        let heard = network.overheard(victim()).len();
        println!("{what} on an association: {heard} answers to {FLOOD}, slowest message {:?}", outcome.slowest);
        assert!(heard <= FLOOD as usize);
        assert!(outcome.answers() <= own + u64::from(FLOOD) + 200);
        assert_eq!(outcome.sent_after.associations, 2);
    }
}

/// Peers that never read what they are sent, and send more than anybody reads: each takes its two buffers and no more,
/// and a shut window costs a probe now and then.
#[test]
fn slow_readers_and_shut_windows_take_their_buffers_and_nothing_of_the_others() {
    const SLOW: u8 = 40;
    const BUFFER: usize = 32_768;
    let (mut network, ours, theirs) = pair();
    let mut config = Config::default();
    (config.receive_window, config.send_buffer) = (BUFFER as u32, BUFFER);
    for at in 0..SLOW {
        let address: Address = Ipv4Addr::new(10, 1, 0, 1 + at).into();
        let endpoint =
            EndpointConfig { port: 5000, addresses: vec![address], host_addresses: Vec::new(), config: config.clone() };
        let host = network.add_host(StackConfig::default(), endpoint);
        network.link(host, server(), LinkConfig::default());
        network.link(1, address, LinkConfig::default());
        let peer = Peer { addresses: vec![server()], port: PORT, encapsulation: Encapsulation::Default };
        let (now, endpoint) = (network.now, network.hosts[host].endpoint);
        network.hosts[host].stack.connect(now, endpoint, &peer, None).expect("a sound scenario");
        network.touch(host);
    }
    network.run_until(network.now + Duration::from_secs(5));
    let slow: Vec<AssocId> = network.hosts[1].accepted.iter().copied().filter(|id| *id != theirs).collect();
    assert_eq!(slow.len(), usize::from(SLOW));

    let (mut slowest, mut waiting) = (Duration::ZERO, std::collections::VecDeque::new());
    let mut halfway = 0;
    for tick in 0..6000 {
        let now = network.now;
        if tick == 3000 {
            halfway = network.hosts[1].stack.stats().packets_sent;
        }
        network.hosts[0].stack.send(now, ours, SendOptions::default(), vec![1; 100].into()).expect("room");
        waiting.push_back(now);
        network.touch(0);
        // Both ends of the slow ones send whatever there is room for, and read nothing.
        for (at, id) in slow.iter().enumerate() {
            let full =
                |stack: &mut Stack, id| stack.send(now, id, SendOptions::default(), vec![7; 1000].into()).is_err();
            while !full(&mut network.hosts[1].stack, *id) {}
            let endpoint = network.hosts[2 + at].endpoint;
            let other = network.hosts[2 + at].stack.associations(endpoint)[0];
            while !full(&mut network.hosts[2 + at].stack, other) {}
            network.touch(2 + at);
        }
        network.touch(1);
        network.run_until(now + Duration::from_millis(10));
        while network.hosts[1].stack.recv(network.now, theirs).is_some() {
            slowest = slowest.max(network.now.since(waiting.pop_front().expect("each arrives once")));
        }
        network.touch(1);
    }
    let sent = network.hosts[1].stack.stats().packets_sent - halfway;
    println!("slowest message {slowest:?}, {sent} packets of the server in the second half minute");
    assert!(waiting.len() <= 1 && slowest <= Duration::from_millis(50), "{slowest:?}");
    // A SACK for every second of 3000 messages; beside that, for each slow one, what a second costs: a packet at each
    // timeout, answers to those of the other end, and searches for the path MTU where packets stay unacknowledged.
    assert!(sent <= 1500 + 30 * 2 * u64::from(SLOW), "{sent}");
    let (window, buffer) = (Config::default().receive_window as usize, Config::default().send_buffer);
    for id in slow {
        let stats = network.hosts[1].stack.association(network.now, id).expect("it was not released");
        assert_eq!((stats.state, stats.error_count), (State::Established, 0), "{stats:#?}");
        // Both are filled, but for what the next message needs.
        assert!((window / 10 * 9..=window).contains(&stats.receive_buffered), "{stats:#?}");
        assert!((buffer / 10 * 9..=buffer).contains(&stats.send_buffered), "{stats:#?}");
        assert!(stats.in_flight <= BUFFER, "{stats:#?}");
    }
}

/// The cheapest of some batches of a thousand packets, in nanoseconds for a packet: what else the machine does
/// only makes batches dearer.
fn cost(stack: &mut Stack, now: Time, from: &mut u32, next: &dyn Fn(u32) -> (Address, Vec<u8>)) -> u64 {
    let mut buffer = vec![0; 1 << 16];
    let batches = (0..10).map(|_| {
        let packets: Vec<_> = (*from..*from + 1000).map(next).collect();
        *from += 1000;
        let began = Instant::now();
        for (remote, data) in &packets {
            let local = esock_proto::Local { address: Some(server()), ..esock_proto::Local::default() };
            let datagram = esock_proto::Datagram { local, remote: *remote, encap_port: Some(9899), ecn: None, data };
            stack.handle_datagram(now, datagram);
            while stack.poll_transmit(now, 1, &mut buffer).is_some() {}
        }
        began.elapsed().as_nanos() as u64 / 1000
    });
    batches.min().unwrap_or(0)
}

#[test]
fn the_cost_of_a_packet_is_the_same_after_a_hundred_thousand() {
    type Flood = (&'static str, fn(u32) -> (Address, Vec<u8>));
    let floods: [Flood; 3] = [
        ("INIT", |at| (spoofed(at), init(at))),
        ("COOKIE ECHO with a bad cookie", |at| (spoofed(at), packet(9, at | 1, COOKIE_ECHO, &[at as u8; 140]))),
        ("out of the blue", |at| (spoofed(at), packet(9, at | 1, SHUTDOWN_ACK, &[]))),
    ];
    let now = Time::from_millis(1000);
    for (what, next) in floods {
        let mut stack = Stack::new(StackConfig::default(), [1; 32], now);
        let config = Config::default();
        let endpoint = EndpointConfig { port: PORT, addresses: vec![server()], host_addresses: Vec::new(), config };
        let endpoint = stack.open(endpoint).expect("a sound scenario");
        stack.set_accepting(endpoint, true);
        let mut from = 0;
        let first = cost(&mut stack, now, &mut from, &next);
        while from < FLOOD {
            let _ = cost(&mut stack, now, &mut from, &next);
        }
        // A busy machine gets another chance.
        let last = (0..5).map(|_| cost(&mut stack, now, &mut from, &next)).find(|last| *last <= first * 2 + 200);
        println!("{what}: {first} ns for a packet at first, {last:?} ns after {from}");
        assert!(last.is_some(), "{what}: a packet has become dearer than {first} ns");
    }
}
