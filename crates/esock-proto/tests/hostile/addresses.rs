//! Addresses that no peer can have, and addresses that a peer does not have.

use crate::meter::{FREE, cost};
use crate::wire::*;
use crate::world::*;
use esock_proto::*;
use std::time::Duration;

const IMPOSSIBLE: [&str; 9] = [
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "ff02::1",
    "ff0e::1234",
];

fn v4(text: &str) -> Vec<u8> {
    param(5, &text.parse::<std::net::Ipv4Addr>().expect("an address").octets())
}

fn v6(text: &str) -> Vec<u8> {
    param(6, &text.parse::<std::net::Ipv6Addr>().expect("an address").octets())
}

fn address_param(text: &str) -> Vec<u8> {
    if text.contains(':') { v6(text) } else { v4(text) }
}

// covers: RFC 9260 §8.4
#[test]
fn packets_from_or_to_impossible_addresses_are_dropped() {
    let mut world = World::new();
    let peer = world.settled();
    let before = world.essence(peer.id());
    for text in IMPOSSIBLE {
        for packet in [
            packet(PEER_PORT, PORT, 0, &InitFields::default().init(&[])),
            packet(PEER_PORT, PORT, 0x99, &chunk(SHUTDOWN_ACK, 0, &[])),
            peer.echo(),
            peer.packet(&chunk(ABORT, 0, &[])),
        ] {
            assert_eq!(cost(|| world.feed(ip(text), &packet)), FREE, "from {text}");
            assert_eq!(cost(|| world.feed_to(ip(text), evil(), &packet)), FREE, "to {text}");
            assert_eq!(world.collect(), [], "{text}");
        }
    }
    assert_eq!(world.essence(peer.id()), before);
}

// covers: RFC 9260 §5.1.2, RFC 9260 §3.3.2.1.1
#[test]
fn impossible_addresses_in_an_init_are_left_out() {
    let both = vec![home(), ip("2001:db8::1")];
    let mut world = World::at(both, quiet(), StackConfig::default());
    let mut listed: Vec<u8> = IMPOSSIBLE.iter().flat_map(|text| address_param(text)).collect();
    listed.extend(v6("::ffff:10.0.0.9"));
    listed.extend(v6("2001:db8::66"));
    let peer = world.associate(evil(), &listed);
    let remotes: Vec<_> = world.stats(peer.id()).paths.iter().map(|path| path.remote).collect();
    assert_eq!(remotes, [evil(), ip("2001:db8::66")]);
}

// covers: RFC 9260 §5.1.2
#[test]
fn impossible_addresses_in_an_init_ack_are_left_out() {
    let mut world = World::new();
    let (id, peer) = world.connect(&[evil()]);
    let listed: Vec<u8> = IMPOSSIBLE.iter().flat_map(|text| address_param(text)).collect();
    let replies = world.hit(evil(), &peer.init_ack(&listed));
    assert_eq!(kinds(&replies[0].data), [COOKIE_ECHO]);
    assert_eq!(world.stats(id).paths.len(), 1);
}

/// A packet that claims to come from ourselves must not make us talk to ourselves.
#[test]
fn an_init_from_this_very_endpoint_is_ignored() {
    let mut world = World::new();
    let land = packet(PORT, PORT, 0, &InitFields::default().init(&[]));
    assert_eq!(cost(|| world.feed(home(), &land)), FREE);
    assert_eq!(world.collect(), []);
    // Another port of our own host is somebody else.
    let neighbour = packet(PEER_PORT, PORT, 0, &InitFields::default().init(&[]));
    assert_eq!(kinds(&world.hit(home(), &neighbour)[0].data), [INIT_ACK]);
}

#[test]
fn our_own_address_in_an_init_with_our_own_port_is_left_out() {
    let both = vec![home(), ip("10.0.0.2")];
    let mut world = World::at(both, quiet(), StackConfig::default());
    let listed = [v4("10.0.0.1"), v4("10.0.0.2"), v4("10.0.0.9")].concat();
    let init = packet(PORT, PORT, 0, &InitFields::default().init(&listed));
    let replies = world.hit(evil(), &init);
    let mut peer = Tcb::from_init_ack(evil(), InitFields::default(), &replies[0]);
    peer.port = PORT;
    let _ = world.hit(evil(), &peer.echo());
    let id = world.accepted[0];
    let remotes: Vec<_> = world.stats(id).paths.iter().map(|path| path.remote).collect();
    assert_eq!(remotes, [evil(), ip("10.0.0.9")]);
}

/// Whatever we say to a packet that claims to come from ourselves, saying it to ourselves ends it.
// covers: RFC 9260 §8.4
#[test]
fn two_endpoints_that_are_set_at_each_other_fall_silent() {
    for kind in 0..=16u8 {
        let mut world = World::new();
        let mut on_the_wire = vec![packet(PORT, PORT, 0x4242, &chunk(kind, 0, &[0; 16]))];
        let mut rounds = 0;
        while let Some(packet) = on_the_wire.pop() {
            on_the_wire.extend(world.hit(home(), &packet).into_iter().map(|reply| reply.data));
            rounds += 1;
            assert!(rounds < 4, "chunk {kind} is answered without end");
        }
    }
}

#[test]
fn the_user_cannot_connect_to_an_impossible_address_either() {
    let mut world = World::new();
    for text in IMPOSSIBLE {
        let peer = Peer { addresses: vec![ip(text)], port: 7, encapsulation: Encapsulation::Default };
        let error = world.stack.connect(world.now, world.endpoint, &peer, None);
        assert_eq!(error, Err(ConnectError::BadAddress(ip(text))));
    }
    let own = Peer { addresses: vec![home()], port: PORT, encapsulation: Encapsulation::Default };
    assert!(world.stack.connect(world.now, world.endpoint, &own, None).is_err());
    assert_eq!(world.collect(), []);
}

/// RFC 5062 §2: somebody camps on a victim's address. As soon as the victim, who knows nothing of it, answers
/// the probe with an ABORT, the camp is gone, and the victim can come.
// covers: RFC 9260 §5.4, RFC 5062 §2
#[test]
fn camping_on_an_address_ends_with_the_first_probe() {
    let victim = ip("10.0.0.77");
    let mut world = World::new();
    let mut camper = world.half_open(evil(), InitFields::default(), &v4("10.0.0.77"));
    let replies = world.hit(evil(), &camper.echo());
    camper.id = world.accepted.last().copied();
    let probe = replies.iter().find(|reply| reply.to == victim).expect("the address is probed at once");
    assert_eq!(kinds(&probe.data), [HEARTBEAT]);
    // The victim cannot come yet: it would add its address to an association.
    let init = packet(PEER_PORT, PORT, 0, &InitFields { tag: 5, ..InitFields::default() }.init(&v4("10.0.0.78")));
    assert_eq!(kinds(&world.hit(victim, &init)[0].data), [ABORT]);
    // Out of the blue, for the victim: it reflects the tag.
    let abort = packet(PEER_PORT, PORT, tag_of(&probe.data), &chunk(ABORT, 1, &[]));
    assert_eq!(world.hit(victim, &abort), []);
    assert_eq!(world.state(camper.id()), Some(State::Closed));
    assert_eq!(kinds(&world.hit(victim, &init)[0].data), [INIT_ACK]);
}

/// Chunks that may go to an address that is not confirmed.
fn only_probes(replies: &[Reply], unconfirmed: &[Address]) {
    for reply in replies.iter().filter(|reply| unconfirmed.contains(&reply.to)) {
        let kinds = kinds(&reply.data);
        let allowed = |kind: &u8| [HEARTBEAT, HEARTBEAT_ACK].contains(kind);
        assert!(kinds.iter().all(allowed), "chunks {kinds:?} to {}, which nobody has confirmed", reply.to);
    }
}

/// RFC 5062 §5: the attacker lists a victim, asks for data, lets its own path fail and acknowledges what the
/// victim gets. No byte of data may go there, however long it lasts.
// covers: RFC 9260 §5.4, RFC 9260 §6.4, RFC 5062 §5
// covers: RFC 9260 §5.4-2
#[test]
fn an_unconfirmed_address_gets_no_data_even_when_all_others_have_failed() {
    let victims = [ip("10.0.0.77"), ip("10.0.0.78")];
    let mut config = quiet();
    config.rto_initial = Duration::from_millis(100);
    config.rto_min = Duration::from_millis(100);
    config.rto_max = Duration::from_millis(400);
    config.path_max_retrans = Some(2);
    config.assoc_max_retrans = 1000;
    let mut world = World::with(config, StackConfig::default());
    let peer = world.associate(evil(), &[v4("10.0.0.77"), v4("10.0.0.78")].concat());
    for at in 0..40u8 {
        let options = SendOptions::default();
        world.stack.send(world.now, peer.id(), options, vec![at; 1000].into()).expect("room");
    }
    let replies = world.wait(Duration::from_secs(60));
    let stats = world.stats(peer.id());
    assert!(stats.paths.iter().all(|path| path.state != PathState::Active), "{stats:#?}");
    assert!(replies.iter().any(|reply| reply.to == evil() && kinds(&reply.data).contains(&DATA)));
    assert!(replies.iter().any(|reply| reply.to == victims[0]), "it is probed");
    only_probes(&replies, &victims);
    // Acknowledgements that come from the victims' addresses confirm nothing.
    for victim in victims {
        let replies = world.hit(victim, &peer.packet(&sack(peer.their_tsn, 1 << 20, &[], &[])));
        only_probes(&replies, &victims);
        only_probes(&world.wait(Duration::from_secs(5)), &victims);
    }
    let stats = world.stats(peer.id());
    assert!(stats.paths[1..].iter().all(|path| path.state != PathState::Active), "{stats:#?}");
}

// covers: RFC 9260 §5.4
// covers: RFC 9260 §5.4-2, §5.4-3
#[test]
fn whatever_comes_from_an_unconfirmed_address_its_answer_goes_to_a_confirmed_one() {
    let victim = ip("10.0.0.77");
    let mut world = World::new();
    let mut peer = world.associate(evil(), &v4("10.0.0.77"));
    let unknown = chunk(0xff, 0, b"unknown");
    let bad_stream = peer.data(3, 9999, 0, b"no such stream");
    let good = peer.data(11, 0, 0, b"data");
    for chunks in [unknown, bad_stream, good, chunk(HEARTBEAT, 0, &param(1, b"hello"))] {
        let replies = world.hit(victim, &peer.packet(&chunks));
        assert!(!replies.is_empty());
        only_probes(&replies, &[victim]);
    }
    let replies = world.hit(victim, &peer.echo());
    assert_eq!(replies.len(), 1);
    only_probes(&replies, &[victim]);
    let shutdown = chunk(SHUTDOWN, 0, &peer.their_tsn.wrapping_sub(1).to_be_bytes());
    let replies = world.hit(victim, &peer.packet(&shutdown));
    assert_eq!(kinds(&replies[0].data), [SHUTDOWN_ACK]);
    only_probes(&replies, &[victim]);
}

/// An INIT ACK may come from an address that the user did not name. It is asked before data goes there.
// covers: RFC 9260 §5.4
// covers: RFC 9260 §5.4-2, §5.4-5, §5.4-R3
#[test]
fn an_init_ack_from_elsewhere_does_not_make_its_address_confirmed() {
    let elsewhere = ip("10.0.0.77");
    let mut world = World::new();
    let (id, peer) = world.connect(&[evil()]);
    let replies = world.hit(elsewhere, &peer.init_ack(&[]));
    assert_eq!(replies.len(), 1);
    assert_eq!(kinds(&replies[0].data), [COOKIE_ECHO, HEARTBEAT], "bundled with a HEARTBEAT with a nonce");
    world.stack.send(world.now, id, SendOptions::default(), b"secret"[..].into()).expect("room");
    let replies = world.hit(elsewhere, &peer.packet(&chunk(COOKIE_ACK, 0, &[])));
    assert_eq!(world.state(id), Some(State::Established));
    only_probes(&replies, &[elsewhere]);
    // Its answer is lost; it is asked again, without end, and gets nothing else.
    let replies = world.wait(Duration::from_secs(600));
    assert!(replies.len() >= 8, "{}", replies.len());
    only_probes(&replies, &[elsewhere]);
    world.stack.request_heartbeat(world.now, id, PathId(0)).expect("it is up");
    let beat = chunks(&world.collect()[0].data).remove(0).2;
    let replies = world.hit(elsewhere, &peer.packet(&chunk(HEARTBEAT_ACK, 0, &beat)));
    assert!(kinds(&replies[0].data).contains(&DATA), "now it is confirmed");
    assert_eq!(world.stats(id).paths[0].state, PathState::Active);
}

/// Where the peer also has an address that the user named, that one is used.
// covers: RFC 9260 §5.4
#[test]
fn the_address_that_the_user_named_goes_before_the_one_that_answered() {
    let elsewhere = ip("10.0.0.77");
    let mut world = World::new();
    let (id, peer) = world.connect(&[evil()]);
    let replies = world.hit(elsewhere, &peer.init_ack(&v4("10.0.0.66")));
    assert_eq!((replies.len(), replies[0].to, kinds(&replies[0].data)), (1, evil(), vec![COOKIE_ECHO]));
    let _ = world.hit(evil(), &peer.packet(&chunk(COOKIE_ACK, 0, &[])));
    assert_eq!(world.state(id), Some(State::Established));
}

/// HB.Max.Burst: one probe of an unconfirmed address in each RTO, or for each that is confirmed.
// covers: RFC 9260 §5.4, RFC 9260 §16, RFC 5062 §6.3
// covers: RFC 9260 §5.4-1
#[test]
fn unconfirmed_addresses_are_probed_one_at_a_time() {
    let listed: Vec<u8> = (1..=20u8).flat_map(|at| param(5, &[10, 8, 0, at])).collect();
    let mut world = World::new();
    let mut peer = world.half_open(evil(), InitFields::default(), &listed);
    let first = world.hit(evil(), &peer.echo());
    peer.id = world.accepted.last().copied();
    let start = world.now;
    let mut beats: Vec<(u64, Address)> =
        first.iter().filter(|reply| kinds(&reply.data) == [HEARTBEAT]).map(|reply| (0, reply.to)).collect();
    assert_eq!(beats.len(), 1, "{beats:?}");
    for (at, reply) in world.wait_timed(Duration::from_secs(120)) {
        assert_eq!(kinds(&reply.data), [HEARTBEAT]);
        assert!(reply.data.len() <= 64, "probes of unconfirmed addresses are small");
        beats.push((at.since(start).as_millis() as u64, reply.to));
    }
    for two in beats.windows(2) {
        assert!(two[1].0 - two[0].0 >= 1000, "two probes within an RTO: {two:?}");
    }
    let mut probed: Vec<_> = beats.iter().map(|beat| beat.1).collect();
    probed.sort_unstable();
    probed.dedup();
    assert_eq!(probed.len(), 20, "each has its turn");
    assert!(beats.len() <= 121);
}

// covers: RFC 9260 §5.4
#[test]
fn addresses_that_answer_are_confirmed_without_waiting_for_a_timeout() {
    let listed: Vec<u8> = (1..=20u8).flat_map(|at| param(5, &[10, 8, 0, at])).collect();
    let mut world = World::new();
    let mut peer = world.half_open(evil(), InitFields::default(), &listed);
    let mut replies = world.hit(evil(), &peer.echo());
    peer.id = world.accepted.last().copied();
    let mut rounds = 0;
    while let Some(probe) = replies.iter().find(|reply| kinds(&reply.data) == [HEARTBEAT]).cloned() {
        let beat = chunks(&probe.data).remove(0).2;
        replies = world.hit(probe.to, &peer.packet(&chunk(HEARTBEAT_ACK, 0, &beat)));
        assert!(replies.len() <= 1, "one probe for each answer");
        rounds += 1;
    }
    assert_eq!(rounds, 20);
    assert!(world.stats(peer.id()).paths.iter().all(|path| path.state == PathState::Active));
}
