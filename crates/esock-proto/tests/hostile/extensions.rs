//! Chunks and parameters of extensions that this stack does not speak: declined as unknown ones are, by their
//! high bits, with nothing kept and a bounded answer. A peer that was not told of an extension has no business
//! to use it; one that does must not get further by it.

use crate::meter::cost;
use crate::wire::*;
use crate::world::*;
use esock_proto::*;

const AUTH: u8 = 0x0f;
const I_DATA: u8 = 0x40;
const ASCONF_ACK: u8 = 0x80;
const RE_CONFIG: u8 = 0x82;
const FORWARD_TSN: u8 = 0xc0;
const ASCONF: u8 = 0xc1;
const I_FORWARD_TSN: u8 = 0xc2;

/// A chunk, whether what follows it is read, and whether it is reported.
fn declined(chunk_bytes: &[u8], goes_on: bool, reported: bool) {
    let mut world = World::new();
    let mut peer = world.settled();
    let before = world.essence(peer.id());
    let question = peer.packet(chunk_bytes);
    let mut replies = Vec::new();
    let spent = cost(|| replies = world.hit(evil(), &question));
    assert_eq!(replies.len(), usize::from(reported));
    for reply in &replies {
        let error = chunks(&reply.data).remove(0);
        let (code, quoted) = params(&error.2).remove(0);
        assert_eq!((error.0, code), (ERROR, 6), "Unrecognized Chunk Type");
        assert!(chunk_bytes.starts_with(&quoted), "it quotes the chunk");
        assert!(reply.data.len() <= (question.len() + 8).min(1400), "{} bytes", reply.data.len());
    }
    assert!(spent.peak < 16_384, "{spent:?}");
    assert_eq!(world.essence(peer.id()), before);
    drop(replies);
    assert_eq!(cost(|| drop(world.hit(evil(), &question))).kept, 0);
    // What follows it in its packet.
    let data = peer.data(3, 0, 1, b"behind");
    let _ = world.hit(evil(), &peer.packet(&[chunk_bytes, &data[..]].concat()));
    assert_eq!(world.stats(peer.id()).ready_messages, usize::from(goes_on));
}

// covers: RFC 9260 §3.2
#[test]
fn forward_tsn_is_declined_wherever_it_jumps() {
    for kind in [FORWARD_TSN, I_FORWARD_TSN] {
        for jump in [0u32, 1, 1000, (1 << 31) - 1, 1 << 31, u32::MAX] {
            let tsn = 1001u32.wrapping_add(jump).to_be_bytes().to_vec();
            declined(&chunk(kind, 0, &tsn), true, true);
        }
        // With a great many streams, and with half a stream.
        declined(&chunk(kind, 0, &[&[0, 0, 9, 0][..], &[0, 1, 0, 1].repeat(16_000)].concat()), true, true);
        declined(&chunk(kind, 0, &[0, 0, 9, 0, 0, 1]), true, true);
    }
}

// covers: RFC 9260 §3.2
#[test]
fn auth_is_declined_with_all_that_it_claims_to_vouch_for() {
    for len in [0, 4, 24, 1000, 60_000] {
        declined(&chunk(AUTH, 0, &vec![0; len]), false, false);
    }
}

// covers: RFC 9260 §3.2
#[test]
fn asconf_is_declined_well_formed_or_not() {
    let serial = 1000u32.to_be_bytes();
    let address = param(5, &[10, 0, 0, 66]);
    let add = param(0xc001, &[&[0, 0, 0, 1][..], &param(5, &[10, 0, 0, 77])].concat());
    let primary = param(0xc004, &[&[0, 0, 0, 2][..], &param(5, &[10, 0, 0, 77])].concat());
    let wildcard = param(0xc001, &[&[0, 0, 0, 3][..], &param(5, &[0; 4])].concat());
    let overlong = param_of_length(0xc001, 0xffff, &[0; 4]);
    for body in [vec![], add.clone(), primary, wildcard, overlong, add.repeat(2000)] {
        declined(&chunk(ASCONF, 0, &[&serial[..], &address, &body].concat()), true, true);
    }
    declined(&chunk(ASCONF, 0, &[]), true, true);
    declined(&chunk(ASCONF_ACK, 0, &serial), true, false);
}

// covers: RFC 9260 §3.2
#[test]
fn reconfig_and_interleaved_data_are_declined() {
    let reset_all = param(13, &[0; 12]);
    let add_streams = param(17, &[0, 0, 0, 1, 0xff, 0xff, 0, 0]);
    for body in [reset_all, add_streams, param_of_length(13, 0xffff, &[0; 4]), vec![]] {
        declined(&chunk(RE_CONFIG, 0, &body), true, false);
    }
    declined(&chunk(I_DATA, 3, &[0; 20]), false, true);
}

/// ECNE and CWR are in RFC 9260's table; ECN was not agreed on.
// covers: RFC 9260 §3.2
#[test]
fn explicit_congestion_notification_that_was_not_agreed_on_is_skipped() {
    for kind in [12, 13] {
        for value in [vec![], vec![0; 4], vec![0; 8], vec![0; 1000]] {
            let mut world = World::new();
            let peer = world.settled();
            let before = world.essence(peer.id());
            assert_eq!(world.hit(evil(), &peer.packet(&chunk(kind, 0, &value))), []);
            assert_eq!(world.essence(peer.id()), before);
        }
    }
}

// covers: RFC 9260 §3.2.1
#[test]
fn no_extension_is_promised_whatever_the_peer_offers() {
    let offer = [
        param(0x8000, &[]),
        param(0x8001, &[0, 0, 0, 1]),
        param(0x8002, &[5; 32]),
        param(0x8003, &[0xc1, 0x80]),
        param(0x8004, &[0, 3, 0, 1]),
        param(0x8008, &[0xc0, 0xc1, 0x80, 0x82, 0x40, 0x0f]),
        param(0xc000, &[]),
        param(0xc005, &[]),
    ]
    .concat();
    let mut world = World::new();
    let init = packet(PEER_PORT, PORT, 0, &InitFields::default().init(&offer));
    let replies = world.hit(evil(), &init);
    let ack = chunks(&replies[0].data).remove(0);
    let answered: Vec<u16> = params(&ack.2[16..]).into_iter().map(|param| param.0).collect();
    // The cookie, and reports of those that ask to be reported.
    assert_eq!(answered, [7, 8, 8]);
}

/// ASCONF and the like without end on an association that is up: one answer each at most, nothing grows, and
/// data still flows.
#[test]
fn a_flood_of_unknown_chunks_is_bounded_and_data_still_flows() {
    for kind in [ASCONF, FORWARD_TSN, RE_CONFIG, AUTH, 0x7f, 0xff] {
        let mut world = World::new();
        let mut peer = world.settled();
        let id = peer.id();
        let flood = peer.packet(&chunk(kind, 0, &[1; 60]));
        let _ = world.hit(evil(), &flood);
        let (mut answers, mut delivered) = (0, 0);
        let spent = cost(|| {
            for at in 0..5000u16 {
                answers += world.hit(evil(), &flood).len();
                if at % 100 == 0 {
                    let data = peer.data(3, 0, 1 + at / 100, b"still here");
                    let _ = world.hit(evil(), &peer.packet(&data));
                    delivered += usize::from(world.stack.recv(world.now, id).is_some());
                    world.events.clear();
                }
            }
        });
        assert!(answers <= 5000 && spent.kept <= 512, "{answers} answers, {spent:?}");
        assert_eq!((delivered, world.state(id)), (50, Some(State::Established)));
        // All at once in one packet.
        for (count, size) in [(16_000, 0), (500, 100), (40, 1500)] {
            let many = peer.packet(&chunk(kind, 0, &vec![1; size]).repeat(count));
            let mut replies = Vec::new();
            let spent = cost(|| replies = world.hit(evil(), &many));
            assert!(replies.len() <= 1, "{} packets for one", replies.len());
            assert!(spent.peak < 50_000, "{spent:?}");
        }
    }
}

/// ERRORs without end: the user hears of a few of each packet, and the peer hears nothing.
// covers: RFC 9260 §3.3.10
#[test]
fn a_flood_of_errors_is_told_in_small_doses() {
    let mut world = World::new();
    let peer = world.settled();
    let before = world.essence(peer.id());
    let many = peer.packet(&chunk(ERROR, 0, &param(1, &[0; 4]).repeat(40)).repeat(180));
    let spent = cost(|| world.feed(evil(), &many));
    assert!(spent.kept < 4096, "{spent:?}");
    world.events.clear();
    assert_eq!(world.collect(), []);
    assert_eq!(world.events.len(), 8);
    assert_eq!(world.essence(peer.id()), before);
}
