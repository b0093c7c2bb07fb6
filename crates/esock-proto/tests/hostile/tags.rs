//! Verification tags: who does not know them changes nothing.

use crate::meter::{FREE, cost};
use crate::wire::*;
use crate::world::*;
use esock_proto::*;

/// A chunk of each type, with a value that could do harm.
fn harmful(kind: u8, flags: u8, tsn: u32) -> Vec<u8> {
    match kind {
        DATA => data(3, tsn, 0, 0, b"forged"),
        SACK => sack(tsn, 0, &[(1, 2)], &[]),
        HEARTBEAT_ACK | HEARTBEAT => chunk(kind, flags, &param(1, &[0; 12])),
        ERROR => chunk(kind, flags, &param(3, &[0, 0, 0, 1])),
        SHUTDOWN => chunk(kind, flags, &tsn.to_be_bytes()),
        INIT | INIT_ACK => chunk(kind, flags, &[&InitFields::default().bytes()[..], &param(7, b"cookie")].concat()),
        _ => chunk(kind, flags, &[]),
    }
}

/// Brings an association into a state. Its peer is at `evil()`.
fn brought_to(state: State) -> (World, Tcb) {
    let mut world = World::new();
    match state {
        State::CookieWait => {
            let (_, mut peer) = world.connect(&[evil()]);
            peer.fields.tag = 0;
            return (world, peer);
        }
        State::CookieEchoed => {
            let (_, peer) = world.connect(&[evil()]);
            let replies = world.hit(evil(), &peer.init_ack(&[]));
            assert_eq!(kinds(&replies[0].data), [COOKIE_ECHO]);
            return (world, peer);
        }
        _ => {}
    }
    let peer = world.settled();
    let (id, now) = (peer.id(), world.now);
    if matches!(state, State::ShutdownPending | State::ShutdownReceived) {
        world.stack.send(now, id, SendOptions::default(), b"under way"[..].into()).expect("it is up");
    }
    match state {
        State::ShutdownPending | State::ShutdownSent => world.stack.shutdown(now, id).expect("it is up"),
        State::ShutdownReceived | State::ShutdownAckSent => {
            let shutdown = peer.packet(&chunk(SHUTDOWN, 0, &(peer.their_tsn.wrapping_sub(1)).to_be_bytes()));
            world.feed(evil(), &shutdown);
        }
        _ => {}
    }
    let _ = world.collect();
    assert_eq!(world.state(id), Some(state));
    (world, peer)
}

const STATES: [State; 7] = [
    State::CookieWait,
    State::CookieEchoed,
    State::Established,
    State::ShutdownPending,
    State::ShutdownSent,
    State::ShutdownReceived,
    State::ShutdownAckSent,
];

/// CVE-2021-3772.
// covers: RFC 9260 §8.5, RFC 9260 §8.5.1
#[test]
fn a_wrong_tag_changes_nothing_and_costs_nothing_in_every_state() {
    for state in STATES {
        let (mut world, peer) = brought_to(state);
        let id = peer.id();
        for kind in (0..=16).chain([0x80, 0x82, 0xc0, 0xc1, 0xff]) {
            for flags in [0, 1] {
                for tag in [peer.their_tag ^ 1, peer.their_tag.swap_bytes(), 1, u32::MAX, peer.fields.tag ^ 0x8000_0000]
                {
                    let before = (world.essence(id), world.events.len(), world.stack.stats().associations);
                    let forged = packet(PEER_PORT, PORT, tag, &harmful(kind, flags, peer.tsn));
                    let timeout = world.stack.poll_timeout();
                    let mut replies = Vec::new();
                    let spent = cost(|| world.feed(evil(), &forged));
                    replies.extend(world.collect());
                    let after = (world.essence(id), world.events.len(), world.stack.stats().associations);
                    assert_eq!(after, before, "{state:?}, chunk {kind}, flags {flags}");
                    assert_eq!(world.stack.poll_timeout(), timeout, "{state:?}, chunk {kind}");
                    // §8.5.1 E: SHUTDOWN ACK is out of the blue while an association is set up.
                    if kind == SHUTDOWN_ACK && matches!(state, State::CookieWait | State::CookieEchoed) {
                        assert_eq!(kinds(&replies[0].data), [SHUTDOWN_COMPLETE]);
                        assert_eq!((replies.len(), tag_of(&replies[0].data)), (1, tag));
                    } else {
                        assert_eq!(replies, [], "{state:?}, chunk {kind}");
                        assert_eq!(spent, FREE, "{state:?}, chunk {kind}");
                    }
                }
            }
        }
    }
}

/// CVE-2021-3772.
// covers: RFC 9260 §8.5.1
#[test]
fn the_t_bit_with_our_own_tag_and_the_peers_tag_without_it_are_both_ignored() {
    for state in STATES {
        let (mut world, peer) = brought_to(state);
        let before = (world.essence(peer.id()), world.events.len());
        for kind in [ABORT, SHUTDOWN_COMPLETE] {
            let with_t_bit = packet(PEER_PORT, PORT, peer.their_tag, &chunk(kind, 1, &[]));
            assert_eq!(world.hit(evil(), &with_t_bit), [], "{state:?}");
            if peer.fields.tag != 0 {
                let without = packet(PEER_PORT, PORT, peer.fields.tag, &chunk(kind, 0, &[]));
                assert_eq!(world.hit(evil(), &without), [], "{state:?}");
            }
            assert_eq!((world.essence(peer.id()), world.events.len()), before, "{state:?}, chunk {kind}");
        }
    }
}

// covers: RFC 9260 §8.5.1
#[test]
fn a_reflected_abort_from_the_peers_address_is_believed() {
    for state in STATES.into_iter().skip(1) {
        let (mut world, peer) = brought_to(state);
        let reflected = packet(PEER_PORT, PORT, peer.fields.tag, &chunk(ABORT, 1, &[]));
        // From elsewhere it is nobody's.
        assert_eq!(world.hit(ip("10.0.0.77"), &reflected), []);
        assert_eq!(world.state(peer.id()), Some(state));
        assert_eq!(world.hit(evil(), &reflected), []);
        assert_eq!(world.state(peer.id()), Some(State::Closed));
    }
}

// covers: RFC 9260 §8.5.1
#[test]
fn the_right_tag_with_other_ports_is_out_of_the_blue() {
    let mut world = World::new();
    let peer = world.settled();
    let before = world.essence(peer.id());
    for (source, destination) in [(PEER_PORT + 1, PORT), (PEER_PORT, PORT + 1)] {
        let stray = packet(source, destination, peer.their_tag, &chunk(SHUTDOWN, 0, &[0; 4]));
        let replies = world.hit(evil(), &stray);
        assert_eq!(replies.len(), 1);
        assert_eq!(chunks(&replies[0].data), [(ABORT, 1, vec![])]);
        assert_eq!(tag_of(&replies[0].data), peer.their_tag, "reflected");
        assert_eq!(world.essence(peer.id()), before);
    }
}

/// The peer's tag is not known yet: nothing but INIT may leave, and INIT alone has tag 0.
// covers: RFC 9260 §8.5.1, RFC 9260 §5.1
#[test]
fn nothing_is_answered_before_the_peers_tag_is_known() {
    for kind in (0..=16).chain([0x40, 0x7f, 0x80, 0x82, 0xc0, 0xc1, 0xff]) {
        let (mut world, peer) = brought_to(State::CookieWait);
        if [INIT_ACK, ABORT].contains(&kind) {
            continue;
        }
        let before = world.essence(peer.id());
        let replies = world.hit(evil(), &packet(PEER_PORT, PORT, peer.their_tag, &harmful(kind, 0, 0)));
        let expected: &[u8] = if kind == SHUTDOWN_ACK { &[SHUTDOWN_COMPLETE] } else { &[] };
        assert_eq!(replies.iter().flat_map(|reply| kinds(&reply.data)).collect::<Vec<_>>(), expected, "chunk {kind}");
        let mut after = world.essence(peer.id());
        after.counters.sacks_received = 0;
        assert_eq!(after, before, "chunk {kind}");
    }
}

// covers: RFC 9260 §3.3.2, RFC 9260 §8.5.1, RFC 9260 §12.3-3
#[test]
fn an_init_with_tag_zero_or_with_company_is_dropped() {
    let mut world = World::new();
    let init = InitFields::default().init(&[]);
    let zero = InitFields { tag: 0, ..InitFields::default() }.init(&[]);
    let bad = [
        packet(PEER_PORT, PORT, 0, &zero),
        packet(PEER_PORT, PORT, 0, &[init.clone(), chunk(COOKIE_ACK, 0, &[])].concat()),
        packet(PEER_PORT, PORT, 0, &[chunk(COOKIE_ACK, 0, &[]), init.clone()].concat()),
    ];
    for packet in bad {
        let before = world.stack.stats();
        assert_eq!(cost(|| world.feed(evil(), &packet)), FREE);
        assert_eq!(world.collect(), []);
        let after = world.stack.stats();
        assert_eq!((after.init_acks_sent, after.associations), (before.init_acks_sent, 0));
    }
    // §12.3: with a tag in its header it is discarded silently, and all behind it.
    for chunks in [init.clone(), [init, chunk(SHUTDOWN_ACK, 0, &[])].concat()] {
        assert_eq!(world.hit(evil(), &packet(PEER_PORT, PORT, 7, &chunks)), []);
    }
}

// covers: RFC 9260 §8.5.1
#[test]
fn only_init_may_carry_tag_zero() {
    let mut world = World::new();
    let peer = world.settled();
    let before = world.essence(peer.id());
    for kind in (0..=16).filter(|kind| *kind != INIT).chain([0xc1, 0xff]) {
        let packet = packet(PEER_PORT, PORT, 0, &harmful(kind, 0, peer.tsn));
        assert_eq!(cost(|| world.feed(evil(), &packet)), FREE, "chunk {kind}");
        assert_eq!(world.collect(), [], "chunk {kind}");
        assert_eq!(world.essence(peer.id()), before, "chunk {kind}");
    }
}

// covers: RFC 9260 §6.8
#[test]
fn a_bad_checksum_is_not_looked_into() {
    let mut world = World::new();
    let peer = world.settled();
    let before = (world.essence(peer.id()), world.stack.stats().bad_checksum);
    let mut abort = peer.packet(&chunk(ABORT, 0, &[]));
    for at in 8..abort.len() {
        abort[at] ^= 0x40;
        assert_eq!(cost(|| world.feed(evil(), &abort)), FREE);
        abort[at] ^= 0x40;
    }
    assert_eq!(world.collect(), []);
    let bad = world.stack.stats().bad_checksum;
    assert_eq!((world.essence(peer.id()), bad), (before.0, before.1 + abort.len() as u64 - 8));
}
