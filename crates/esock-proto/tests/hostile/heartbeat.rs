//! HEARTBEATs too large and too many, and answers to HEARTBEATs that were never sent.

use crate::meter::{FREE, cost};
use crate::wire::*;
use crate::world::*;
use esock_proto::*;
use std::time::Duration;

/// Asks a path, and tells what the HEARTBEAT carried.
fn ask(world: &mut World, peer: &Tcb) -> Vec<u8> {
    world.stack.request_heartbeat(world.now, peer.id(), PathId(0)).expect("it is up");
    let beat = chunks(&world.collect()[0].data).remove(0);
    assert_eq!(beat.0, HEARTBEAT);
    beat.2
}

fn answer(peer: &Tcb, beat: &[u8]) -> Vec<u8> {
    peer.packet(&chunk(HEARTBEAT_ACK, 0, beat))
}

// covers: RFC 9260 §5.4, RFC 9260 §8.3
#[test]
fn an_answer_with_a_forged_nonce_changes_no_path() {
    let mut world = World::new();
    let mut peer = world.half_open(evil(), InitFields::default(), &param(5, &[10, 0, 0, 77]));
    let replies = world.hit(evil(), &peer.echo());
    peer.id = world.accepted.last().copied();
    let probe = replies.iter().find(|reply| kinds(&reply.data) == [HEARTBEAT]).expect("a probe");
    let beat = chunks(&probe.data).remove(0).2;
    let before = world.essence(peer.id());
    assert_eq!(before.paths[1].state, PathState::Unconfirmed);
    for bit in 32..beat.len() * 8 {
        let mut forged = beat.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        for from in [evil(), ip("10.0.0.77")] {
            let packet = answer(&peer, &forged);
            assert_eq!(cost(|| world.feed(from, &packet)), FREE);
            assert_eq!(world.collect(), []);
            assert_eq!(world.essence(peer.id()), before, "bit {bit}");
        }
    }
    let _ = world.hit(ip("10.0.0.77"), &answer(&peer, &beat));
    assert_eq!(world.stats(peer.id()).paths[1].state, PathState::Active);
}

// covers: RFC 9260 §8.3
#[test]
fn an_answer_is_taken_once_and_in_time() {
    let mut world = World::new();
    let peer = world.settled();
    let beat = ask(&mut world, &peer);
    world.now = world.now + Duration::from_millis(30);
    assert_eq!(world.hit(evil(), &answer(&peer, &beat)), []);
    let before = world.essence(peer.id());
    assert_eq!(before.paths[0].srtt, Some(Duration::from_millis(30)));
    // Again, later: it would measure a round trip of minutes.
    world.now = world.now + Duration::from_secs(100);
    for _ in 0..100 {
        let packet = answer(&peer, &beat);
        assert_eq!(cost(|| world.feed(evil(), &packet)), FREE);
    }
    assert_eq!(world.collect(), []);
    assert_eq!(world.essence(peer.id()), before);
    // One that comes when the HEARTBEAT has been given up says nothing.
    let late = ask(&mut world, &peer);
    let _ = world.wait(Duration::from_secs(5));
    let before = world.essence(peer.id());
    assert!(before.paths[0].error_count > 0);
    assert_eq!(world.hit(evil(), &answer(&peer, &late)), []);
    assert_eq!(world.essence(peer.id()), before);
}

// covers: RFC 9260 §3.3.5, RFC 9260 §3.3.6, RFC 9260 §8.3
#[test]
fn a_heartbeat_is_answered_with_what_it_carried_up_to_the_largest() {
    let mut world = World::new();
    let peer = world.settled();
    for size in [0, 4, 1000, 1300, 1500, 9000, 60_000] {
        let info = if size < 4 { vec![] } else { param(1, &vec![0xab; size - 4]) };
        let question = peer.packet(&chunk(HEARTBEAT, 0, &info));
        let replies = world.hit(evil(), &question);
        assert_eq!(replies.len(), 1, "{size}");
        assert_eq!(chunks(&replies[0].data), [(HEARTBEAT_ACK, 0, info.clone())], "{size}");
        assert_eq!(replies[0].data.len(), question.len());
        drop(replies);
        assert_eq!(cost(|| drop(world.hit(evil(), &question))).kept, 0, "{size}");
    }
}

/// RFC 5062 §8 and §10: what one packet is answered with fits into one packet.
// covers: RFC 9260 §6.10, RFC 5062 §8.3, RFC 5062 §10.3
#[test]
fn a_packet_full_of_heartbeats_is_answered_with_one_packet() {
    for (count, size) in [(3000, 0), (300, 100), (60, 1000), (45, 1344), (20, 3000), (2, 30_000)] {
        let mut world = World::new();
        let mut peer = world.settled();
        let beats = chunk(HEARTBEAT, 0, &param(1, &vec![7; size])).repeat(count);
        let with_data = [beats.clone(), peer.data(11, 0, 1, b"data")].concat();
        for chunks in [beats, with_data] {
            let question = peer.packet(&chunks);
            let mut replies = Vec::new();
            let spent = cost(|| replies = world.hit(evil(), &question));
            assert!(replies.len() <= 1, "{count} of {size}: {} packets", replies.len());
            let bytes: usize = replies.iter().map(|reply| reply.data.len()).sum();
            assert!(bytes <= 1400, "{bytes}");
            assert!(spent.peak < 50_000, "{spent:?}");
        }
    }
}

// covers: RFC 9260 §8.3
#[test]
fn a_flood_of_heartbeats_is_answered_one_for_one_and_leaves_nothing() {
    let mut world = World::new();
    let peer = world.settled();
    let question = peer.packet(&chunk(HEARTBEAT, 0, &param(1, &[9; 40])));
    let _ = world.hit(evil(), &question);
    let before = world.essence(peer.id());
    let mut answers = 0;
    let spent = cost(|| {
        for _ in 0..20_000 {
            answers += world.hit(evil(), &question).len();
        }
    });
    assert_eq!((answers, spent.kept), (20_000, 0));
    assert_eq!(world.essence(peer.id()), before);
    // When they come faster than we send, some go unanswered, and only a few wait.
    let spent = cost(|| (0..20_000).for_each(|_| world.feed(evil(), &question)));
    assert!(spent.kept < 8192, "{spent:?}");
    assert!(world.collect().len() <= 16);
}
