//! Floods over loopback, at a driver that talks to somebody else meanwhile.

use super::address;
use super::pair::{End, establish, quiet, run_until};
use crate::config::Backend;
use esock_proto::{Config, State};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const FLOOD: u32 = 30_000;
/// Associations that are never completed.
const HALF_OPEN: u32 = 100_000;
/// Packets between two looks at what the driver does.
const BATCH: u32 = 100;

fn packet(to: u16, tag: u32, kind: u8, value: &[u8]) -> Vec<u8> {
    let mut out = [&7u16.to_be_bytes()[..], &to.to_be_bytes(), &tag.to_be_bytes(), &[0; 4], &[kind, 0]].concat();
    out.extend_from_slice(&(4 + value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &out) as u32;
    out[8..12].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Floods run one after another: each measures the memory of the process.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of memory that this process has in use.
#[cfg(target_os = "linux")]
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[cfg(not(target_os = "linux"))]
fn resident_bytes() -> usize {
    0
}

/// Reads what has come, without waiting: packets and bytes.
fn drain(socket: &UdpSocket) -> (usize, usize) {
    let mut buffer = [0; 2048];
    let (mut packets, mut bytes) = (0, 0);
    while let Ok(len) = socket.recv(&mut buffer) {
        packets += 1;
        bytes += len;
    }
    (packets, bytes)
}

/// Floods the server from some sockets in turn while a client sends it messages. No more packets come back to a
/// socket than left from it, and no more bytes than `most_bytes` for a byte.
fn flood(what: &str, (packets, attackers): (u32, &[UdpSocket]), make: impl Fn(u32, u16) -> Vec<u8>, most_bytes: f64) {
    let _alone = alone();
    let home = [address("127.0.0.1")];
    let mut config = Config::default();
    config.heartbeat_interval = None;
    let mut server = End::open(quiet(Backend::Udp), &home, config.clone());
    let mut client = End::open(quiet(Backend::Udp), &home, config);
    let encapsulation = server.over_udp();
    establish(&mut client, &mut server, &home, encapsulation);
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, server.driver.backend().udp_port.unwrap()));
    let port = server.port();

    let mut asked = vec![(0, 0); attackers.len()];
    let mut answered = asked.clone();
    let mut cost = [Duration::MAX; 2];
    let (mut sent, mut before) = (0, 0);
    let end = Instant::now() + Duration::from_secs(20);
    for round in 0..packets / BATCH {
        if round == 20 {
            before = resident_bytes();
        }
        if client.send(0, vec![round as u8; 200]) {
            sent += 1;
        }
        client.turn();
        for at in 0..BATCH {
            let number = round * BATCH + at;
            let who = number as usize % attackers.len();
            if let Ok(len) = attackers[who].send_to(&make(number, port), target) {
                asked[who] = (asked[who].0 + 1, asked[who].1 + len);
            }
        }
        let began = Instant::now();
        while server.turn() {}
        // The cheapest round of each half.
        let half = usize::from(round > packets / BATCH / 2);
        cost[half] = cost[half].min(began.elapsed());
        for (attacker, answered) in attackers.iter().zip(&mut answered) {
            let (packets, bytes) = drain(attacker);
            *answered = (answered.0 + packets, answered.1 + bytes);
        }
        assert!(Instant::now() < end, "{what}: the driver does not keep up");
    }
    run_until(&mut client, &mut server, "all messages have arrived", |_, server| server.messages.len() == sent);
    let grown = resident_bytes().saturating_sub(before);
    let stats = server.driver.stack().stats();
    assert!(answered.iter().zip(&asked).all(|(answered, asked)| answered.0 <= asked.0), "{what}");
    let sum = |all: &[(usize, usize)]| all.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let (asked, answered) = (sum(&asked), sum(&answered));
    println!(
        "{what}: {} packets for {}, {} bytes for {}; {:?} for a round of {BATCH} at first, {:?} at last; {} KiB more",
        answered.0,
        asked.0,
        answered.1,
        asked.1,
        cost[0],
        cost[1],
        grown / 1024
    );
    assert!(asked.0 > packets as usize / 2 && sent > 100, "{what}: it was no flood");
    assert!(answered.1 as f64 <= asked.1 as f64 * most_bytes, "{what}: {} bytes for {}", answered.1, asked.1);
    assert_eq!((stats.associations, server.stats().state), (1, State::Established), "{what}");
    assert_eq!(client.closed(), None);
    // Other tests of this process may take memory at the same time.
    assert!(grown < 64 << 20, "{what}: {grown} bytes more");
    assert!(cost[1] < cost[0] * 4 + Duration::from_millis(5), "{what}: {cost:?}");
}

/// Somebody at an address.
fn attacker(address: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn one() -> Vec<UdpSocket> {
    vec![attacker(Ipv4Addr::LOCALHOST)]
}

fn init(at: u32, port: u16) -> Vec<u8> {
    let value = [&(at + 1).to_be_bytes()[..], &[0, 16, 0, 0, 0, 10, 0, 10, 0, 0, 0, 1]].concat();
    packet(port, 0, 1, &value)
}

#[test]
fn a_hundred_thousand_half_open_attempts_are_answered_one_for_one_and_messages_arrive() {
    flood("INIT", (HALF_OPEN, &one()), init, 5.0);
}

/// The addresses of a whole network, as somebody writes them who wants it bombed: each gets no more packets than were
/// sent in its name.
#[cfg(target_os = "linux")]
#[test]
fn a_flood_in_the_names_of_many_brings_none_of_them_more_packets_and_messages_arrive() {
    let victims: Vec<_> = (1..=200).map(|at| attacker(Ipv4Addr::new(127, 0, 9, at))).collect();
    flood("INIT from 200 sources", (FLOOD, &victims), init, 5.0);
    flood("SHUTDOWN ACK from 200 sources", (FLOOD, &victims), |at, port| packet(port, at | 1, 8, &[]), 1.0);
}

#[test]
fn a_flood_of_bad_cookies_is_not_answered_and_messages_arrive() {
    flood("COOKIE ECHO", (FLOOD, &one()), |at, port| packet(port, at | 1, 10, &[at as u8; 140]), 0.0);
}

#[test]
fn a_flood_out_of_the_blue_is_answered_now_and_then_and_messages_arrive() {
    flood("SHUTDOWN ACK", (FLOOD, &one()), |at, port| packet(port, at | 1, 8, &[]), 1.0);
}

#[test]
fn a_flood_of_noise_is_not_answered_and_messages_arrive() {
    let make = |at: u32, port: u16| {
        let mut noise = packet(port, at, 1, &[at as u8; 100]);
        noise.truncate((at % 100) as usize);
        noise
    };
    flood("noise", (FLOOD, &one()), make, 0.0);
}

/// Peers that read nothing and send whatever they can, to somebody who reads nothing of theirs: each costs its two
/// buffers and a packet now and then.
#[test]
fn slow_readers_and_shut_windows_take_their_buffers_and_messages_of_others_arrive() {
    const SLOW: usize = 8;
    const BUFFER: usize = 64 << 10;
    let _alone = alone();
    let home = [address("127.0.0.1")];
    let mut config = Config::default();
    config.heartbeat_interval = None;
    (config.receive_window, config.send_buffer) = (BUFFER as u32, BUFFER);
    let mut server = End::open(quiet(Backend::Udp), &home, config.clone());
    let encapsulation = server.over_udp();
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let mut peer = End::open(quiet(Backend::Udp), &home, config.clone());
        establish(&mut peer, &mut server, &home, encapsulation);
        peer.reads = false;
        slow.push((peer, server.assoc.unwrap()));
        server.events.clear();
    }
    // The last one is the one that the server reads.
    let mut client = End::open(quiet(Backend::Udp), &home, config);
    establish(&mut client, &mut server, &home, encapsulation);
    let began = Instant::now();
    let mut latest = Duration::ZERO;
    let mut sent = 0;
    while began.elapsed() < Duration::from_secs(2) {
        for (peer, id) in &mut slow {
            while peer.send(0, vec![7; 1000]) {}
            peer.turn();
            let now = server.driver.now();
            let send = |stack: &mut esock_proto::Stack| {
                stack.send(now, *id, esock_proto::SendOptions::default(), vec![8; 1000].into()).is_ok()
            };
            while send(server.driver.stack_mut()) {}
        }
        let asked = Instant::now();
        assert!(client.send(0, vec![sent as u8; 200]));
        sent += 1;
        run_until(&mut client, &mut server, "the message arrives", |_, server| server.messages.len() == sent);
        latest = latest.max(asked.elapsed());
    }
    let stack = server.driver.stack();
    let packets = stack.stats().packets_sent;
    println!("{sent} messages, the slowest after {latest:?}; {packets} packets of the server");
    assert!(sent > 100, "{sent} messages");
    for (_, id) in &slow {
        let stats = stack.association(server.driver.now(), *id).unwrap();
        assert_eq!((stats.state, stats.error_count), (State::Established, 0), "{stats:#?}");
        // A chunk that fits is taken, though what it costs to keep does not fit.
        assert!((BUFFER / 2..=BUFFER + 2000).contains(&stats.receive_buffered), "{stats:#?}");
        assert!((BUFFER / 2..=BUFFER).contains(&stats.send_buffered), "{stats:#?}");
        // What fills its window, SACKs, and little more once it is shut.
        assert!(stats.counters.packets_sent < 400, "{stats:#?}");
    }
}
