//! INIT and INIT ACK with values and parameters that nobody should send.

use crate::meter::{FREE, cost};
use crate::wire::*;
use crate::world::*;
use esock_proto::*;

fn init(fields: InitFields, params: &[u8]) -> Vec<u8> {
    packet(PEER_PORT, PORT, 0, &fields.init(params))
}

/// The one ABORT that a packet is answered with: its causes.
fn refused(world: &mut World, packet: &[u8], tag: u32) -> Vec<(u16, Vec<u8>)> {
    let before = world.stack.stats();
    let replies = world.hit(evil(), packet);
    assert_eq!(replies.len(), 1);
    assert_eq!((replies[0].to, tag_of(&replies[0].data)), (evil(), tag));
    let mut chunks = chunks(&replies[0].data);
    assert_eq!((chunks.len(), chunks[0].0, chunks[0].1), (1, ABORT, 0));
    let after = world.stack.stats();
    assert_eq!((after.associations, after.init_acks_sent), (before.associations, before.init_acks_sent));
    params(&chunks.remove(0).2)
}

// covers: RFC 9260 §3.3.2, RFC 9260 §5.1.1, RFC 9260 §3.3.10.7
#[test]
fn zero_streams_or_a_window_below_1500_are_refused() {
    let good = InitFields { tag: 0x5555_aaaa, ..InitFields::default() };
    let mut world = World::new();
    for bad in [
        InitFields { outbound: 0, ..good },
        InitFields { inbound: 0, ..good },
        InitFields { outbound: 0, inbound: 0, ..good },
        InitFields { a_rwnd: 0, ..good },
        InitFields { a_rwnd: 1499, ..good },
    ] {
        assert_eq!(refused(&mut world, &init(bad, &[]), good.tag), [(7, vec![])], "Invalid Mandatory Parameter");
    }
    let least = InitFields { outbound: 1, inbound: 1, a_rwnd: 1500, ..good };
    assert_eq!(kinds(&world.hit(evil(), &init(least, &[]))[0].data), [INIT_ACK]);
}

// covers: RFC 9260 §3.3.2
#[test]
fn an_init_shorter_than_its_fixed_part_is_dropped() {
    let mut world = World::new();
    for len in 0..16 {
        let short = packet(PEER_PORT, PORT, 0, &chunk(INIT, 0, &InitFields::default().bytes()[..len]));
        assert_eq!(cost(|| world.feed(evil(), &short)), FREE);
        assert_eq!(world.collect(), []);
    }
}

// covers: RFC 9260 §5.1.2, RFC 9260 §3.3.2.1.4
// covers: RFC 9260 §5.1.2-2, §5.1.2-3, §3.3.2-3, §3.3.10.5-1
#[test]
fn a_host_name_is_refused_and_nobody_looks_it_up() {
    let mut world = World::new();
    let fields = InitFields::default();
    let host = param(11, b"victim.example.com\0");
    let causes = refused(&mut world, &init(fields, &host), fields.tag);
    assert_eq!(causes, [(5, host[..23].to_vec())], "Unresolvable Address with the parameter");
    // A long one is cut, or left out, but the answer is no larger than the question.
    let host = param(11, &[b'a'; 40_000]);
    let question = init(fields, &host);
    let replies = world.hit(evil(), &question);
    assert!(replies.len() == 1 && replies[0].data.len() <= 2048, "{}", replies[0].data.len());
}

// covers: RFC 9260 §3.2.1, RFC 9260 §3.3.3.1
// covers: RFC 9260 §3.2.1-T00, §3.2.1-T01, §3.2.1-T10, §3.2.1-T11, §3.2.1-T2, §3.2.2-1
#[test]
fn unknown_parameters_of_all_four_kinds_follow_their_high_bits() {
    for (kind, goes_on, reported) in
        [(0x3fff, false, false), (0x7fff, false, true), (0xbfff, true, false), (0xffff, true, true)]
    {
        let mut world = World::new();
        let unknown = param(kind, b"odd");
        let params_sent = [unknown.clone(), param(5, &[10, 0, 3, 3])].concat();
        let replies = world.hit(evil(), &init(InitFields::default(), &params_sent));
        let ack = chunks(&replies[0].data).remove(0);
        assert_eq!(ack.0, INIT_ACK);
        let reports: Vec<_> = params(&ack.2[16..]).into_iter().filter(|param| param.0 == 8).collect();
        let expected = if reported { vec![(8, unknown[..7].to_vec())] } else { vec![] };
        assert_eq!(reports, expected, "{kind:x}");
        let mut peer = Tcb::from_init_ack(evil(), InitFields::default(), &replies[0]);
        let _ = world.hit(evil(), &peer.echo());
        peer.id = world.accepted.last().copied();
        let remotes: Vec<_> = world.stats(peer.id()).paths.iter().map(|path| path.remote).collect();
        let expected = if goes_on { vec![evil(), ip("10.0.3.3")] } else { vec![evil()] };
        assert_eq!(remotes, expected, "{kind:x}");
    }
}

// covers: RFC 9260 §3.2.1
#[test]
fn the_report_of_unknown_parameters_is_bounded() {
    let mut world = World::new();
    for (count, size) in [(16_000, 0), (500, 100), (1, 60_000)] {
        let unknown = param(0xffff, &vec![1; size]).repeat(count);
        let question = init(InitFields::default(), &unknown);
        let replies = world.hit(evil(), &question);
        assert_eq!(replies.len(), 1);
        assert!(replies[0].data.len() <= 1500 - LOWER_HEADERS, "{}", replies[0].data.len());
        drop(replies);
        let spent = cost(|| drop(world.hit(evil(), &question)));
        assert!(spent.kept == 0 && spent.peak < 16_384, "{spent:?}");
    }
}

// covers: RFC 9260 §5.1.2, RFC 9260 §5.4
#[test]
fn hundreds_of_addresses_are_capped_and_make_no_burst() {
    let mut world = World::new();
    let listed: Vec<u8> = (0..900u16).flat_map(|at| param(5, &[10, 7, (at >> 8) as u8, at as u8])).collect();
    let question = init(InitFields::default(), &listed);
    let replies = world.hit(evil(), &question);
    assert_eq!(replies.len(), 1);
    assert!(replies[0].data.len() < question.len() / 4, "the cookie holds 32 of 900");
    let mut peer = Tcb::from_init_ack(evil(), InitFields::default(), &replies[0]);
    let mut replies = Vec::new();
    let spent = cost(|| replies = world.hit(evil(), &peer.echo()));
    peer.id = world.accepted.last().copied();
    assert_eq!(world.stats(peer.id()).paths.len(), 32);
    assert!(spent.kept < 40_000, "{spent:?}");
    // HB.Max.Burst: COOKIE ACK, and one HEARTBEAT to one address of somebody.
    let sent: Vec<_> = replies.iter().map(|reply| (reply.to, kinds(&reply.data))).collect();
    assert_eq!(sent, [(evil(), vec![COOKIE_ACK]), (ip("10.7.0.0"), vec![HEARTBEAT])]);
}

/// The same address a thousand times is one address, and the work for it is bounded.
#[test]
fn repeated_addresses_are_one() {
    let mut world = World::new();
    let mut listed = param(5, &[10, 7, 0, 1]).repeat(4000);
    listed.extend(param(6, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]).repeat(1000));
    let peer = world.associate(evil(), &listed);
    let remotes: Vec<_> = world.stats(peer.id()).paths.iter().map(|path| path.remote).collect();
    // IPv6 is not for an endpoint that has no IPv6 address.
    assert_eq!(remotes, [evil(), ip("10.7.0.1")]);
}

/// CVE-2020-6831: lists of chunk types and HMACs at and over their limits. We do not speak AUTH: its
/// parameters are skipped without a word, whatever their size.
// covers: RFC 9260 §3.2.1
#[test]
fn auth_parameters_of_any_size_are_skipped() {
    let mut world = World::new();
    let plain = world.hit(evil(), &init(InitFields::default(), &[]));
    for len in [0, 1, 32, 255, 256, 257, 1023, 1024, 8192, 20_000] {
        let list = vec![0xc1; len];
        let params = [param(0x8002, &list), param(0x8003, &list), param(0x8004, &list)].concat();
        let question = init(InitFields::default(), &params);
        let replies = world.hit(evil(), &question);
        assert_eq!(replies.len(), 1);
        assert_eq!(kinds(&replies[0].data), [INIT_ACK]);
        assert_eq!(replies[0].data.len(), plain[0].data.len(), "nothing of it is kept in the cookie or reported");
        drop(replies);
        let spent = cost(|| drop(world.hit(evil(), &question)));
        assert!(spent.kept == 0 && spent.peak < 4096, "{spent:?}");
    }
    // One that lies about its length is refused like any other.
    let lie = param_of_length(0x8003, 1000, &[0xc1; 8]);
    let fields = InitFields::default();
    assert_eq!(refused(&mut world, &init(fields, &lie), fields.tag)[0].0, 13);
}

// covers: RFC 9260 §5.1, RFC 9260 §8.4
#[test]
fn an_init_to_a_port_that_nobody_has_is_aborted_and_to_one_that_does_not_accept_dropped() {
    let mut world = World::new();
    let fields = InitFields { tag: 0x7777, ..InitFields::default() };
    let replies = world.hit(evil(), &packet(PEER_PORT, PORT + 1, 0, &fields.init(&[])));
    assert_eq!(replies.len(), 1);
    assert_eq!((chunks(&replies[0].data), tag_of(&replies[0].data)), (vec![(ABORT, 0, vec![])], 0x7777));
    world.stack.set_accepting(world.endpoint, false);
    let question = init(fields, &[]);
    assert_eq!(world.hit(evil(), &question), []);
    let spent = cost(|| world.feed(evil(), &question));
    assert_eq!(spent.kept, 0);
}

// covers: RFC 9260 §3.3.3, RFC 9260 §5.1
#[test]
fn an_init_ack_with_values_that_are_not_allowed_ends_the_attempt() {
    let good = InitFields::default();
    for bad in [InitFields { outbound: 0, ..good }, InitFields { inbound: 0, ..good }] {
        let mut world = World::new();
        let (id, mut peer) = world.connect(&[evil()]);
        peer.fields = bad;
        let replies = world.hit(evil(), &peer.init_ack(&[]));
        assert_eq!(replies.len(), 1);
        assert_eq!((kinds(&replies[0].data), tag_of(&replies[0].data)), (vec![ABORT], bad.tag));
        assert!(matches!(world.closed(id), Some(CloseReason::ProtocolViolation { cause: 7, .. })));
        world.assert_at_rest();
    }
    // Tag 0: the answer reflects the tag that the INIT ACK came with.
    let mut world = World::new();
    let (id, mut peer) = world.connect(&[evil()]);
    peer.fields.tag = 0;
    let replies = world.hit(evil(), &peer.init_ack(&[]));
    let abort = chunks(&replies[0].data).remove(0);
    assert_eq!((replies.len(), abort.0, abort.1, tag_of(&replies[0].data)), (1, ABORT, 1, peer.their_tag));
    assert_eq!(world.state(id), Some(State::Closed));
}

// covers: RFC 9260 §5.2.3
#[test]
fn an_init_ack_that_nobody_waits_for_is_dropped() {
    let mut world = World::new();
    let peer = world.settled();
    let before = world.essence(peer.id());
    let mut forged = peer.clone();
    forged.fields.tag = 0x6666;
    forged.fields.tsn = 77;
    assert_eq!(world.hit(evil(), &forged.init_ack(&param(5, &[10, 0, 4, 4]))), []);
    assert_eq!(world.essence(peer.id()), before);
}

/// A cookie as large as a packet can be is echoed; the attempt still ends in time.
#[test]
fn a_peer_with_a_huge_cookie_costs_one_copy_of_it() {
    let mut world = World::new();
    let (id, peer) = world.connect(&[evil()]);
    let value = [&peer.fields.bytes()[..], &param(7, &[9; 65_000])].concat();
    let init_ack = peer.packet(&chunk(INIT_ACK, 0, &value));
    let spent = cost(|| world.feed(evil(), &init_ack));
    assert!(spent.kept < 80_000, "{spent:?}");
    assert_eq!(world.collect().len(), 1);
    let replies = world.wait(std::time::Duration::from_secs(3600));
    assert_eq!(replies.len(), 8, "Max.Init.Retransmits");
    assert_eq!(world.closed(id), Some(CloseReason::TimedOut));
}

/// A peer that calls every cookie stale must not keep us busy for ever.
// covers: RFC 9260 §5.2.6
#[test]
fn a_peer_that_finds_every_cookie_stale_is_given_up() {
    let mut world = World::new();
    let (id, peer) = world.connect(&[evil()]);
    let mut rounds = 0;
    while world.state(id) == Some(State::CookieWait) {
        rounds += 1;
        assert!(rounds < 50, "it goes on for ever");
        assert_eq!(kinds(&world.hit(evil(), &peer.init_ack(&[]))[0].data), [COOKIE_ECHO]);
        let stale = chunk(ERROR, 0, &param(3, &[0, 0, 1, 0]));
        let replies = world.hit(evil(), &peer.packet(&stale));
        assert!(replies.len() <= 1, "one INIT at most: {replies:?}");
    }
    assert_eq!(world.closed(id), Some(CloseReason::TimedOut));
    world.assert_at_rest();
}

// covers: RFC 9260 §5.2.6
#[test]
fn a_stale_cookie_error_for_an_association_that_is_up_is_ignored() {
    let mut world = World::new();
    let peer = world.settled();
    let before = (world.essence(peer.id()), world.events.len());
    for _ in 0..20 {
        assert_eq!(world.hit(evil(), &peer.packet(&chunk(ERROR, 0, &param(3, &[0, 0, 1, 0])))), []);
    }
    assert_eq!((world.essence(peer.id()), world.events.len()), before);
}
