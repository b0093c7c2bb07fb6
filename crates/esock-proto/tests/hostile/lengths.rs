//! Lengths that lie: of chunks, parameters, causes and counts.

use crate::meter::{FREE, cost};
use crate::wire::*;
use crate::world::*;
use esock_proto::*;

/// Chunk types of RFC 9260 and of the extensions, and some that nobody has.
fn types() -> impl Iterator<Item = u8> {
    (0..=16).chain([0x3f, 0x40, 0x7f, 0x80, 0x82, 0x84, 0xbf, 0xc0, 0xc1, 0xc2, 0xff])
}

// covers: RFC 9260 §3.2
#[test]
fn a_first_chunk_of_length_0_to_3_is_dropped_without_a_word_or_a_byte() {
    let mut world = World::new();
    let peer = world.settled();
    for tag in [0, 0x1234_5678, peer.their_tag] {
        for kind in types() {
            for length in 0..4 {
                let before = (world.essence(peer.id()), world.stack.stats().malformed);
                let lie = packet(PEER_PORT, PORT, tag, &chunk_of_length(kind, 0, length, &[0; 20]));
                assert_eq!(cost(|| world.feed(evil(), &lie)), FREE, "chunk {kind} of length {length}");
                assert_eq!(world.collect(), [], "chunk {kind} of length {length}");
                let malformed = world.stack.stats().malformed;
                assert_eq!((world.essence(peer.id()), malformed), (before.0, before.1 + 1));
            }
        }
    }
}

// covers: RFC 9260 §3.2
#[test]
fn a_chunk_that_reaches_beyond_its_packet_is_not_looked_into() {
    let mut world = World::new();
    let peer = world.settled();
    for kind in types() {
        for length in [25, 28, 1000, 0xfffc, 0xffff] {
            let before = world.essence(peer.id());
            let lie = peer.packet(&chunk_of_length(kind, 0, length, &[0; 20]));
            assert_eq!(cost(|| world.feed(evil(), &lie)), FREE, "chunk {kind} of length {length}");
            assert_eq!(world.collect(), [], "chunk {kind} of length {length}");
            assert_eq!(world.essence(peer.id()), before, "chunk {kind} of length {length}");
        }
    }
}

// covers: RFC 9260 §3.2, RFC 9260 §6.10
#[test]
fn a_later_chunk_that_lies_ends_the_packet_and_what_stood_before_it_counts() {
    for length in [0, 1, 2, 3, 9, 0xffff] {
        let mut world = World::new();
        let mut peer = world.settled();
        let good = peer.data(3, 0, 1, b"good");
        let lie = chunk_of_length(SHUTDOWN, 0, length, &[]);
        let abort = chunk(ABORT, 0, &[]);
        let before = world.stats(peer.id()).counters;
        let replies = world.hit(evil(), &peer.packet(&[good, lie, abort].concat()));
        assert_eq!(replies, [], "one packet of data waits for the second");
        let stats = world.stats(peer.id());
        assert_eq!(stats.state, State::Established, "the ABORT behind the lie was not read");
        assert_eq!(stats.counters.data_chunks_received, before.data_chunks_received + 1);
        assert_eq!(stats.counters.packets_discarded, before.packets_discarded + 1);
    }
}

/// CVE-2019-20503.
// covers: RFC 9260 §3.2.1, RFC 9260 §5.1
#[test]
fn an_init_whose_parameter_lies_is_refused_and_leaves_nothing() {
    let address = param(5, &[10, 1, 2, 3]);
    let lies = [
        param_of_length(5, 0, &[10, 1, 2, 3]),
        param_of_length(5, 1, &[10, 1, 2, 3]),
        param_of_length(5, 3, &[10, 1, 2, 3]),
        // The last one straddles the end of its chunk.
        param_of_length(5, 12, &[10, 1, 2, 3]),
        param_of_length(0x8003, 0xffff, &[0; 4]),
        // Half a header.
        vec![0, 5],
        // An address of the wrong size.
        param(5, &[10, 1]),
        param(6, &[0; 8]),
    ];
    let mut world = World::new();
    for lie in lies {
        let fields = InitFields { tag: 0xabcd_0123, ..InitFields::default() };
        let value = [&fields.bytes()[..], &address, &lie].concat();
        let init = packet(PEER_PORT, PORT, 0, &chunk(INIT, 0, &value));
        let before = world.stack.stats();
        let mut replies = Vec::new();
        let spent = cost(|| replies = world.hit(evil(), &init));
        assert_eq!(replies.len(), 1, "{lie:?}");
        assert_eq!(tag_of(&replies[0].data), 0xabcd_0123);
        let abort = chunks(&replies[0].data).remove(0);
        assert_eq!((abort.0, abort.1, params(&abort.2)[0].0), (ABORT, 0, 13), "Protocol Violation");
        assert!(replies[0].data.len() <= init.len() + 16, "{} for {}", replies[0].data.len(), init.len());
        let shown = replies.iter().map(|reply| reply.data.capacity()).sum::<usize>() as isize;
        let list = (replies.capacity() * size_of::<Reply>()) as isize;
        assert_eq!(spent.kept, shown + list, "nothing but the reply that the test holds");
        assert_eq!(world.stack.stats().associations, before.associations);
        assert_eq!(world.stack.stats().init_acks_sent, before.init_acks_sent);
    }
}

/// CVE-2019-20503.
// covers: RFC 9260 §3.2.1
#[test]
fn an_init_ack_whose_parameter_lies_ends_the_attempt_with_an_abort() {
    for lie in [param_of_length(7, 2, &[0; 4]), param_of_length(7, 400, &[0; 4]), param_of_length(0x8008, 0, &[])] {
        let mut world = World::new();
        let (id, peer) = world.connect(&[evil()]);
        let value = [&peer.fields.bytes()[..], &lie].concat();
        let replies = world.hit(evil(), &peer.packet(&chunk(INIT_ACK, 0, &value)));
        assert_eq!(replies.len(), 1);
        assert_eq!((kinds(&replies[0].data), tag_of(&replies[0].data)), (vec![ABORT], peer.fields.tag));
        assert!(matches!(world.closed(id), Some(CloseReason::ProtocolViolation { cause: 13, .. })));
        world.assert_at_rest();
    }
}

/// One walker: a parameter that says "stop" hides what stands behind it from all who look.
// covers: RFC 9260 §3.2.1, RFC 9260 §3.3.3
#[test]
fn a_cookie_behind_a_parameter_that_says_stop_is_not_there() {
    let mut world = World::new();
    let (id, peer) = world.connect(&[evil()]);
    let replies = world.hit(evil(), &peer.init_ack(&param(0x3fff, &[])));
    assert_eq!(replies.len(), 1);
    let abort = chunks(&replies[0].data).remove(0);
    // Missing Mandatory Parameter: one, the State Cookie.
    assert_eq!((abort.0, params(&abort.2)), (ABORT, vec![(2, vec![0, 0, 0, 1, 0, 7])]));
    assert!(matches!(world.closed(id), Some(CloseReason::ProtocolViolation { cause: 2, .. })));
}

/// The counts of a SACK may not exceed its length (GHSA-jwjp-4649-v8jp was such a walk).
// covers: RFC 9260 §3.3.4
#[test]
fn a_sack_that_counts_more_blocks_than_it_holds_is_dropped() {
    let mut world = World::new();
    let peer = world.settled();
    let options = SendOptions::default();
    world.stack.send(world.now, peer.id(), options, b"in flight"[..].into()).expect("it is up");
    assert_eq!(world.collect().len(), 1);
    let before = world.essence(peer.id());
    for (gaps, duplicates) in [(1, 0), (0, 1), (0xffff, 0), (0, 0xffff), (0xffff, 0xffff), (0x4000, 0xc000)] {
        let mut lie = sack(peer.their_tsn, 1 << 20, &[], &[]);
        lie[12..14].copy_from_slice(&u16::to_be_bytes(gaps));
        lie[14..16].copy_from_slice(&u16::to_be_bytes(duplicates));
        assert_eq!(cost(|| world.feed(evil(), &peer.packet(&lie))).kept, 0);
        assert_eq!(world.collect(), []);
        let mut after = world.essence(peer.id());
        after.counters.sacks_received = before.counters.sacks_received;
        assert_eq!(after, before, "{gaps} blocks, {duplicates} duplicates");
    }
    // Shorter than its fixed part.
    for len in 0..12 {
        let short = peer.packet(&chunk(SACK, 0, &vec![0; len]));
        assert_eq!(world.hit(evil(), &short), []);
        assert_eq!(world.stats(peer.id()).in_flight, 9);
    }
}

// covers: RFC 9260 §3.3.10
#[test]
fn causes_whose_lengths_overflow_are_told_up_to_the_lie() {
    for (lie, told) in [
        (param_of_length(1, 0, &[]), 0),
        (param_of_length(1, 3, &[]), 0),
        (param_of_length(1, 0xffff, &[0; 4]), 0),
        ([param(1, &[0, 1, 0, 0]), param_of_length(6, 9, &[0; 4])].concat(), 1),
        (vec![0, 1, 0], 0),
    ] {
        let mut world = World::new();
        let peer = world.settled();
        let before = (world.essence(peer.id()), world.events.len());
        let packet = peer.packet(&chunk(ERROR, 0, &lie));
        let spent = cost(|| world.feed(evil(), &packet));
        assert!(spent.peak <= 2048, "{spent:?}");
        assert_eq!(world.collect(), []);
        assert_eq!((world.essence(peer.id()), world.events.len()), (before.0, before.1 + told), "{lie:?}");
    }
}

// covers: RFC 9260 §3.3.7
#[test]
fn an_abort_whose_cause_lies_is_an_abort() {
    for lie in [param_of_length(12, 0, &[]), param_of_length(12, 0xffff, &[1, 2, 3, 4]), vec![0, 12, 0]] {
        let mut world = World::new();
        let peer = world.settled();
        assert_eq!(world.hit(evil(), &peer.packet(&chunk(ABORT, 0, &lie))), []);
        let nothing = CloseReason::PeerAbort { cause: None, info: Default::default() };
        assert_eq!(world.closed(peer.id()), Some(nothing));
    }
}

#[test]
fn the_reason_of_an_abort_is_kept_only_as_far_as_somebody_reads_it() {
    let mut world = World::new();
    let peer = world.settled();
    let abort = peer.packet(&chunk(ABORT, 0, &param(12, &vec![b'x'; 60_000])));
    let spent = cost(|| world.feed(evil(), &abort));
    assert!(spent.kept < 8192, "{spent:?}");
    let _ = world.collect();
    let Some(CloseReason::PeerAbort { cause: Some(12), info }) = world.closed(peer.id()) else { panic!("no ABORT") };
    assert_eq!(info, vec![b'x'; 1024]);
}

// covers: RFC 9260 §3.3.5, RFC 9260 §3.3.6
#[test]
fn a_heartbeat_ack_whose_information_lies_changes_nothing() {
    let mut world = World::new();
    let peer = world.settled();
    world.stack.request_heartbeat(world.now, peer.id(), PathId(0)).expect("it is up");
    let beat = chunks(&world.collect()[0].data).remove(0);
    assert_eq!(beat.0, HEARTBEAT);
    let info = params(&beat.2).remove(0).1;
    let before = world.essence(peer.id());
    for lie in [
        vec![],
        vec![0, 1],
        param_of_length(1, 0, &info),
        param_of_length(1, 3, &info),
        param_of_length(1, 17, &info),
        param(1, &info[..11]),
        param(1, &[&info[..], &[0; 4]].concat()),
        param(2, &info),
    ] {
        let packet = peer.packet(&chunk(HEARTBEAT_ACK, 0, &lie));
        assert_eq!(cost(|| world.feed(evil(), &packet)), FREE);
        assert_eq!(world.collect(), []);
        assert_eq!(world.essence(peer.id()), before, "{lie:?}");
    }
    // And the truth is taken.
    assert_eq!(world.hit(evil(), &peer.packet(&chunk(HEARTBEAT_ACK, 0, &param(1, &info)))), []);
    assert_eq!(world.stats(peer.id()).counters.heartbeat_acks, before.counters.heartbeat_acks + 1);
}

// covers: RFC 9260 §3.3.8
#[test]
fn a_shutdown_without_its_tsn_is_no_shutdown() {
    let mut world = World::new();
    let peer = world.settled();
    for len in 0..4 {
        assert_eq!(world.hit(evil(), &peer.packet(&chunk(SHUTDOWN, 0, &vec![0; len]))), []);
        assert_eq!(world.state(peer.id()), Some(State::Established));
    }
}

// covers: RFC 9260 §3.1, RFC 9260 §3.2
#[test]
fn every_packet_cut_anywhere_is_harmless() {
    let mut world = World::new();
    let mut peer = world.settled();
    let whole = [
        packet(PEER_PORT, PORT, 0, &InitFields::default().init(&param(5, &[10, 1, 2, 3]))),
        peer.echo(),
        peer.packet(&sack(peer.their_tsn, 1 << 20, &[(2, 3)], &[7])),
        {
            let data = peer.data(3, 0, 1, b"data");
            peer.packet(&data)
        },
    ];
    for packet in whole {
        for len in 0..packet.len() {
            let mut cut = packet[..len].to_vec();
            if len >= 12 {
                seal(&mut cut);
            }
            let before = world.stack.stats().associations;
            let replies = world.hit(evil(), &cut);
            assert!(replies.len() <= 1, "{replies:?}");
            assert_eq!(world.stack.stats().associations, before);
            if world.state(peer.id()) != Some(State::Established) {
                // A DATA chunk cut short is a violation: a new association for the next cut.
                assert_eq!(kinds(&replies[0].data), [ABORT]);
                world.stack.release(world.now, peer.id());
                peer = world.settled();
            }
        }
    }
}
