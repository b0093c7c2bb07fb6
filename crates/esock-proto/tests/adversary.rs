//! Packets that nobody sane would send: altered on the way with a good checksum, or made up. Nothing may
//! panic, loop or grow; what cannot be taken is refused or ignored.
//!
//! `ESOCK_SEED=n` begins at another seed, `ESOCK_RUNS=n` makes more runs.

mod common;
use common::*;
use esock_proto::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn seeds(runs: u64) -> impl Iterator<Item = u64> {
    let first = number("ESOCK_SEED", 1);
    println!("ESOCK_SEED={first}");
    first..first + number("ESOCK_RUNS", runs)
}

/// Writes the right checksum.
fn fix_checksum(packet: &mut [u8]) {
    packet[8..12].fill(0);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, packet) as u32;
    packet[8..12].copy_from_slice(&crc.to_le_bytes());
}

/// Alters a packet behind its common header.
fn alter(rng: &mut StdRng, packet: &mut Vec<u8>) {
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(12..packet.len());
        match rng.random_range(0..7) {
            0 => packet[at] ^= 1 << rng.random_range(0..8),
            1 => packet[at] = rng.random(),
            // A field at a boundary of four: lengths, TSNs, counts.
            2 => {
                let at = at & !3;
                let value = [0, 1, 3, 4, 0x7fff_ffff, 0x8000_0000, u32::MAX, rng.random()][rng.random_range(0..8)];
                if let Some(field) = packet.get_mut(at..at + 4) {
                    field.copy_from_slice(&value.to_be_bytes());
                }
            }
            3 => {
                let at = at & !1;
                let value: u16 = [0, 1, 3, 4, 0xffff, rng.random()][rng.random_range(0..6)];
                if let Some(field) = packet.get_mut(at..at + 2) {
                    field.copy_from_slice(&value.to_be_bytes());
                }
            }
            4 => packet.truncate(at.max(16)),
            5 => packet.extend((0..rng.random_range(1..64)).map(|_| rng.random::<u8>())),
            // A chunk again.
            _ => packet.extend_from_within(at & !3..),
        }
    }
    packet.truncate(2000);
}

/// What must hold whatever came.
fn check_bounds(pair: &Pair) {
    for host in &pair.hosts {
        assert!(host.stack.stats().associations <= 8, "associations out of nothing");
        for id in host.stack.associations(host.endpoint) {
            let stats = host.stack.association(pair.now, id).expect("listed");
            assert!(stats.receive_buffered <= (1 << 20) + (1 << 17) + 4096, "{stats:#?}");
            assert!(stats.in_flight <= stats.send_buffered, "{stats:#?}");
            assert!(stats.paths.len() <= 34, "{stats:#?}");
        }
    }
}

#[test]
fn two_stacks_with_an_adversary_between_them_who_alters_packets_survive() {
    for seed in seeds(300) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut pair = Pair::new(1 + seed as usize % 2, [config(), config()]);
        let client = pair.connect();
        let share = rng.random_range(0.02..0.5);
        let end = pair.now + Duration::from_secs(30);
        let mut steps = 0;
        while pair.step(end) && steps < 20_000 {
            steps += 1;
            for packet in &mut pair.wire {
                if rng.random_bool(share / 4.0) {
                    alter(&mut rng, &mut packet.data);
                    fix_checksum(&mut packet.data);
                }
            }
            if steps % 7 == 0 {
                let server = pair.hosts[1].accepted.last().copied();
                for (host, assoc) in [(0, Some(client)), (1, server)] {
                    let Some(assoc) = assoc else { continue };
                    let options = SendOptions { stream: StreamId(rng.random_range(0..3)), ..SendOptions::default() };
                    let payload = vec![7; rng.random_range(1..6000)];
                    // Whether it is still up is not the question.
                    let _ = pair.hosts[host].stack.send(pair.now, assoc, options, payload.into());
                    if rng.random_bool(0.8) {
                        pair.recv_all(host, assoc);
                    }
                }
            }
            if steps % 50 == 0 {
                check_bounds(&pair);
            }
        }
        check_bounds(&pair);
        assert!(steps < 20_000, "seed {seed}: packets breed packets");
    }
}

#[test]
fn a_stack_fed_made_up_chunks_in_every_state_survives() {
    for seed in seeds(400) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut pair = Pair::new(1, [config(), config()]);
        let client = pair.connect();
        // Any state: the handshake is stopped somewhere, or data and a shutdown are under way.
        for _ in 0..rng.random_range(1..12) {
            let end = pair.now + Duration::from_secs(1);
            pair.step(end);
            match rng.random_range(0..6) {
                0 => drop(pair.hosts[0].stack.shutdown(pair.now, client)),
                1..=3 => {
                    let payload = vec![1; rng.random_range(1..5000)];
                    let _ = pair.hosts[0].stack.send(pair.now, client, SendOptions::default(), payload.into());
                }
                _ => {}
            }
        }
        // Headers as they were seen on the wire, so that tags are right.
        let headers: Vec<_> = pair.log.iter().map(|packet| (packet.clone(), packet.data[..12].to_vec())).collect();
        for _ in 0..200 {
            let (template, header) = &headers[rng.random_range(0..headers.len())];
            let mut data = header.clone();
            for _ in 0..rng.random_range(1..5) {
                let value: Vec<u8> =
                    (0..rng.random_range(0..64)).map(|_| [0, 1, 255, rng.random()][rng.random_range(0..4)]).collect();
                let length = if rng.random_bool(0.9) { 4 + value.len() as u16 } else { rng.random() };
                let kind = if rng.random_bool(0.9) { rng.random_range(0..16) } else { rng.random() };
                data.extend_from_slice(&[kind, rng.random_range(0..16)]);
                data.extend_from_slice(&length.to_be_bytes());
                data.extend_from_slice(&value);
                data.resize(data.len().next_multiple_of(4), 0);
            }
            fix_checksum(&mut data);
            pair.deliver(&Packet { data, ..template.clone() });
            let end = pair.now + Duration::from_millis(20);
            for _ in 0..50 {
                if !pair.step(end) {
                    break;
                }
            }
            check_bounds(&pair);
        }
        pair.hosts[0].stack.release(pair.now, client);
        let end = pair.now + Duration::from_secs(3600);
        let mut steps = 0;
        while pair.step(end) && steps < 20_000 {
            steps += 1;
        }
        assert!(steps < 20_000, "seed {seed}: it does not come to rest");
    }
}

#[test]
fn a_peer_that_is_gone_costs_nothing_and_cookies_are_not_taken_twice() {
    let (mut pair, client, server) = Pair::established(1, [config(), config()]);
    let echo = pair.log.iter().find(|packet| chunk_kinds(&packet.data)[0] == 10).expect("a COOKIE ECHO").clone();
    pair.hosts[0].stack.shutdown(pair.now, client).expect("it is up");
    pair.run(Duration::from_secs(1));
    pair.hosts[1].stack.release(pair.now, server);
    assert_eq!(pair.hosts[1].stack.stats().associations, 0);
    let before = pair.log.len();
    for _ in 0..10 {
        pair.deliver(&echo);
        pair.run(Duration::from_millis(100));
    }
    assert_eq!(pair.hosts[1].stack.stats().associations, 0, "a replayed cookie makes no association");
    assert_eq!(pair.log.len(), before, "and is not answered");
}
