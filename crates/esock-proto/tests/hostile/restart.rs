//! INIT and COOKIE ECHO for an association that exists: nobody takes it over, nobody adds to it.

use crate::meter::cost;
use crate::wire::*;
use crate::world::*;
use esock_proto::*;

fn again(tag: u32, params: &[u8]) -> Vec<u8> {
    packet(PEER_PORT, PORT, 0, &InitFields { tag, ..InitFields::default() }.init(params))
}

// covers: RFC 9260 §5.2.2, RFC 9260 §3.3.10.11
#[test]
fn a_restart_that_adds_addresses_is_refused_with_their_list_and_costs_nothing() {
    let mut world = World::new();
    let peer = world.settled();
    for count in [1usize, 2, 16, 17, 900] {
        let added: Vec<u8> = (0..count).flat_map(|at| param(5, &[10, 9, (at >> 8) as u8, at as u8])).collect();
        let before = (world.essence(peer.id()), world.events.len(), world.stack.stats().init_acks_sent);
        let init = again(0x77, &added);
        let replies = world.hit(evil(), &init);
        assert_eq!(replies.len(), 1);
        assert_eq!(tag_of(&replies[0].data), 0x77, "with the tag of the INIT");
        let abort = chunks(&replies[0].data).remove(0);
        let (code, listed) = params(&abort.2).remove(0);
        assert_eq!((abort.0, code), (ABORT, 11));
        let expected: Vec<u8> = added[..8 * count.min(16)].to_vec();
        assert_eq!(listed, expected, "what was added, as far as it fits");
        assert!(replies[0].data.len() <= init.len());
        drop((replies, abort, listed));
        assert_eq!(cost(|| drop(world.hit(evil(), &init))).kept, 0);
        let after = (world.essence(peer.id()), world.events.len(), world.stack.stats().init_acks_sent);
        assert_eq!(after, before);
    }
}

/// An INIT that names the address of somebody else's association as one of its own gets nowhere.
// covers: RFC 9260 §5.2.2, RFC 5062 §2
#[test]
fn an_init_that_lists_the_address_of_an_existing_peer_is_refused() {
    let mut world = World::new();
    let peer = world.settled();
    let thief = ip("10.0.0.13");
    let before = world.essence(peer.id());
    let replies = world.hit(thief, &again(0x88, &param(5, &[10, 0, 0, 66])));
    assert_eq!((replies.len(), replies[0].to, kinds(&replies[0].data)), (1, thief, vec![ABORT]));
    assert_eq!(world.essence(peer.id()), before);
    // The same before the association was there: its cookie makes another one, which does not get the address.
    let mut world = World::new();
    let mut early =
        world.half_open(thief, InitFields { tag: 0x99, ..InitFields::default() }, &param(5, &[10, 0, 0, 66]));
    let mut peer = world.settled();
    let _ = world.hit(thief, &early.echo());
    early.id = world.accepted.last().copied();
    assert_ne!(early.id(), peer.id());
    let data = peer.data(3, 0, 1, b"mine");
    let _ = world.hit(evil(), &peer.packet(&data));
    assert_eq!(world.stack.recv(world.now, peer.id()).expect("it arrived").payload, b"mine"[..]);
    assert_eq!(world.stack.find(world.endpoint, evil(), PEER_PORT), Some(peer.id()));
}

// covers: RFC 9260 §5.2.2
#[test]
fn a_flood_of_inits_for_an_association_changes_nothing_in_it() {
    let mut world = World::new();
    let peer = world.settled();
    let options = SendOptions::default();
    world.stack.send(world.now, peer.id(), options, b"in flight"[..].into()).expect("it is up");
    assert_eq!(world.collect().len(), 1);
    let before = (world.essence(peer.id()), world.events.len(), world.stack.poll_timeout());
    let spent = cost(|| {
        for tag in 1..2000 {
            let init = again(tag, &[]);
            let replies = world.hit(evil(), &init);
            assert_eq!(replies.len(), 1);
            let ack = chunks(&replies[0].data).remove(0);
            assert_eq!(ack.0, INIT_ACK);
            assert_ne!(u32_at(&ack.2, 0), peer.their_tag, "a new tag for a new life");
        }
    });
    assert_eq!(spent.kept, 0);
    assert_eq!((world.essence(peer.id()), world.events.len(), world.stack.poll_timeout()), before);
}

// covers: RFC 9260 §5.2.1
#[test]
fn inits_that_collide_with_our_own_are_answered_with_our_own_tag_and_leave_no_trace() {
    for echoed in [false, true] {
        let mut world = World::new();
        let (id, peer) = world.connect(&[evil()]);
        if echoed {
            assert_eq!(kinds(&world.hit(evil(), &peer.init_ack(&[]))[0].data), [COOKIE_ECHO]);
        }
        let before = (world.essence(id), world.stack.poll_timeout());
        let init = again(0x4444, &[]);
        let first = world.hit(evil(), &init);
        let spent = cost(|| {
            for _ in 0..500 {
                assert_eq!(world.hit(evil(), &init).len(), 1);
            }
        });
        let ack = chunks(&first[0].data).remove(0);
        assert_eq!((ack.0, u32_at(&ack.2, 0), u32_at(&ack.2, 12)), (INIT_ACK, peer.their_tag, peer.their_tsn));
        assert_eq!(spent.kept, 0);
        assert_eq!((world.essence(id), world.stack.poll_timeout()), before);
    }
}

/// A cookie links to one life of an association. Two restarts from the same moment: the second is of a life
/// that is over.
// covers: RFC 9260 §5.2.4
#[test]
fn of_two_restart_cookies_only_one_is_taken() {
    let mut world = World::new();
    let peer = world.settled();
    let one = world.half_open(evil(), InitFields { tag: 0x1001, ..InitFields::default() }, &[]);
    let other = world.half_open(evil(), InitFields { tag: 0x1002, ..InitFields::default() }, &[]);
    assert_eq!(kinds(&world.hit(evil(), &one.echo())[0].data)[0], COOKIE_ACK);
    assert_eq!(world.stats(peer.id()).counters.restarts, 1);
    let before = (world.essence(peer.id()), world.events.len());
    assert_eq!(world.hit(evil(), &other.echo()), []);
    assert_eq!((world.essence(peer.id()), world.events.len()), before);
    // The old life's packets are nobody's.
    let replies = world.hit(evil(), &peer.packet(&chunk(SHUTDOWN, 0, &[0; 4])));
    assert_eq!(replies, [], "a tag that is not this association's is dropped");
    assert_eq!(world.state(peer.id()), Some(State::Established));
}

/// CVE-2013-2206.
// covers: RFC 9260 §5.2.4, RFC 9260 §3.3.10.10
#[test]
fn a_restart_during_the_end_is_told_to_finish_first() {
    let mut world = World::new();
    let peer = world.settled();
    let later = world.half_open(evil(), InitFields { tag: 0x2002, ..InitFields::default() }, &[]);
    let shutdown = chunk(SHUTDOWN, 0, &peer.their_tsn.wrapping_sub(1).to_be_bytes());
    assert_eq!(kinds(&world.hit(evil(), &peer.packet(&shutdown))[0].data), [SHUTDOWN_ACK]);
    let before = world.essence(peer.id());
    let replies = world.hit(evil(), &later.echo());
    assert_eq!(replies.len(), 1);
    let sent = chunks(&replies[0].data);
    assert_eq!((sent.len(), sent[0].0, sent[1].0), (2, SHUTDOWN_ACK, ERROR));
    assert_eq!(params(&sent[1].2), [(10, vec![])], "Cookie Received While Shutting Down");
    assert_eq!(world.essence(peer.id()), before);
    // INIT is answered with SHUTDOWN ACK too.
    let replies = world.hit(evil(), &again(0x3003, &[]));
    assert_eq!((replies.len(), kinds(&replies[0].data)), (1, vec![SHUTDOWN_ACK]));
}

/// A peer that restarts again and again costs what one association costs.
// covers: RFC 9260 §5.2.4
#[test]
fn restarts_without_end_do_not_grow() {
    let mut world = World::new();
    let peer = world.settled();
    let restart = |world: &mut World, tag: u32| {
        let fields = InitFields { tag, ..InitFields::default() };
        let mut new = world.half_open(evil(), fields, &[]);
        assert_eq!(kinds(&world.hit(evil(), &new.echo())[0].data)[0], COOKIE_ACK);
        // It leaves pieces behind each time.
        let tsn = new.tsn.wrapping_add(5);
        let piece = data(1, tsn, 0, 0, &[0; 1000]);
        assert_eq!(world.hit(evil(), &new.packet(&piece)).len(), 1);
        new.tsn = tsn;
        world.events.clear();
    };
    (1..50).for_each(|tag| restart(&mut world, tag));
    // Retired tags are remembered for as long as their cookies live.
    let spent = cost(|| (50..1050).for_each(|tag| restart(&mut world, tag)));
    assert!(spent.kept < 1000 * 64, "{spent:?}");
    assert_eq!(world.stack.stats().associations, 1);
    assert!(world.stats(peer.id()).receive_buffered < 2000);
}
