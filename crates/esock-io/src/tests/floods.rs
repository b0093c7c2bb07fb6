//! Floods over loopback, at a driver that talks to somebody else meanwhile.

use super::address;
use super::pair::{End, establish, quiet, run_until};
use crate::config::Backend;
use esock_proto::{Config, State};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const FLOOD: u32 = 30_000;
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

/// Floods the server from one socket while a client sends it messages. Returns packets and bytes that came back.
fn flood(what: &str, make: impl Fn(u32, u16) -> Vec<u8>, most_bytes: f64) {
    let home = [address("127.0.0.1")];
    let mut config = Config::default();
    config.heartbeat_interval = None;
    let mut server = End::open(quiet(Backend::Udp), &home, config.clone());
    let mut client = End::open(quiet(Backend::Udp), &home, config);
    let encapsulation = server.over_udp();
    establish(&mut client, &mut server, &home, encapsulation);
    let attacker = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    attacker.set_nonblocking(true).unwrap();
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, server.driver.backend().udp_port.unwrap()));
    let port = server.port();

    let (mut asked, mut answered) = ((0, 0), (0, 0));
    let mut cost = [Duration::MAX; 2];
    let (mut sent, mut before) = (0, 0);
    let end = Instant::now() + Duration::from_secs(20);
    for round in 0..FLOOD / BATCH {
        if round == 20 {
            before = resident_bytes();
        }
        if client.send(0, vec![round as u8; 200]) {
            sent += 1;
        }
        client.turn();
        for at in 0..BATCH {
            let packet = make(round * BATCH + at, port);
            if let Ok(len) = attacker.send_to(&packet, target) {
                asked = (asked.0 + 1, asked.1 + len);
            }
        }
        let began = Instant::now();
        while server.turn() {}
        // The cheapest round of the first and of the last third.
        let third = usize::from(round > FLOOD / BATCH / 2);
        cost[third] = cost[third].min(began.elapsed());
        let (packets, bytes) = drain(&attacker);
        answered = (answered.0 + packets, answered.1 + bytes);
        assert!(Instant::now() < end, "{what}: the driver does not keep up");
    }
    run_until(&mut client, &mut server, "all messages have arrived", |_, server| server.messages.len() == sent);
    let grown = resident_bytes().saturating_sub(before);
    let stats = server.driver.stack().stats();
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
    assert!(asked.0 > FLOOD as usize / 2 && sent > 100, "{what}: it was no flood");
    assert!(answered.0 <= asked.0, "{what}");
    assert!(answered.1 as f64 <= asked.1 as f64 * most_bytes, "{what}: {} bytes for {}", answered.1, asked.1);
    assert_eq!((stats.associations, server.stats().state), (1, State::Established), "{what}");
    assert_eq!(client.closed(), None);
    // Other tests of this process may take memory at the same time.
    assert!(grown < 64 << 20, "{what}: {grown} bytes more");
    assert!(cost[1] < cost[0] * 4 + Duration::from_millis(5), "{what}: {cost:?}");
}

#[test]
fn a_flood_of_inits_is_answered_one_for_one_and_messages_arrive() {
    let make = |at: u32, port| {
        let value = [&(at + 1).to_be_bytes()[..], &[0, 16, 0, 0, 0, 10, 0, 10, 0, 0, 0, 1]].concat();
        packet(port, 0, 1, &value)
    };
    flood("INIT", make, 5.0);
}

#[test]
fn a_flood_of_bad_cookies_is_not_answered_and_messages_arrive() {
    flood("COOKIE ECHO", |at, port| packet(port, at | 1, 10, &[at as u8; 140]), 0.0);
}

#[test]
fn a_flood_out_of_the_blue_is_answered_now_and_then_and_messages_arrive() {
    flood("SHUTDOWN ACK", |at, port| packet(port, at | 1, 8, &[]), 1.0);
}

#[test]
fn a_flood_of_noise_is_not_answered_and_messages_arrive() {
    let make = |at: u32, port: u16| {
        let mut noise = packet(port, at, 1, &[at as u8; 100]);
        noise.truncate((at % 100) as usize);
        noise
    };
    flood("noise", make, 0.0);
}
