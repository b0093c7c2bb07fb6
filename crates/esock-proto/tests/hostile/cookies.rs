//! State Cookies: forged, cut, stale, replayed, for somebody else; and COOKIE ECHO again and again.

use crate::meter::{FREE, cost};
use crate::wire::*;
use crate::world::*;
use esock_proto::*;
use std::time::Duration;

// covers: RFC 9260 §5.1.5, RFC 9260 §5.1.3
#[test]
fn a_forged_or_cut_cookie_costs_no_byte_and_gets_no_word() {
    let mut world = World::new();
    let peer = world.half_open(evil(), InitFields::default(), &[]);
    let bad_before = world.stack.stats().bad_cookies;
    let mut bad = 0;
    let mut check = |world: &mut World, cookie: &[u8]| {
        let echo = peer.packet(&chunk(COOKIE_ECHO, 0, cookie));
        assert_eq!(cost(|| world.feed(evil(), &echo)), FREE, "checked before anything is made of it");
        assert_eq!(world.collect(), []);
        bad += 1;
    };
    for at in 0..peer.cookie.len() {
        let mut cookie = peer.cookie.clone();
        cookie[at] ^= 1;
        check(&mut world, &cookie);
    }
    for len in 0..peer.cookie.len() {
        check(&mut world, &peer.cookie[..len]);
    }
    check(&mut world, &[&peer.cookie[..], &[0]].concat());
    check(&mut world, &[0; 60_000]);
    assert_eq!(world.stack.stats().bad_cookies, bad_before + bad);
    assert_eq!((world.stack.stats().associations, world.accepted.len()), (0, 0));
    // The true one is still good.
    assert_eq!(kinds(&world.hit(evil(), &peer.echo())[0].data), [COOKIE_ACK]);
}

/// The class of CVE-2026-53224 and CVE-2026-53246: lengths and counts inside the cookie are believed
/// only if we wrote them. Here the address count, the last thing before the addresses, is inflated.
// covers: RFC 9260 §5.1.5
#[test]
fn a_cookie_whose_inner_counts_are_inflated_is_not_parsed() {
    let mut world = World::new();
    let addresses = [param(5, &[10, 0, 1, 1]), param(5, &[10, 0, 1, 2])].concat();
    let peer = world.half_open(evil(), InitFields::default(), &addresses);
    for at in 0..peer.cookie.len() - 32 {
        for value in [0, 0x7f, 0xff] {
            let mut cookie = peer.cookie.clone();
            if std::mem::replace(&mut cookie[at], value) == value {
                continue;
            }
            let echo = peer.packet(&chunk(COOKIE_ECHO, 0, &cookie));
            assert_eq!(cost(|| world.feed(evil(), &echo)), FREE, "byte {at}");
            assert_eq!(world.collect(), []);
        }
    }
    // Whole chunks appended or repeated inside do not help either.
    for extra in [peer.cookie.clone(), InitFields::default().init(&[0xff; 400])] {
        let echo = peer.packet(&chunk(COOKIE_ECHO, 0, &[&peer.cookie[..], &extra].concat()));
        assert_eq!(cost(|| world.feed(evil(), &echo)), FREE);
        assert_eq!(world.collect(), []);
    }
    assert_eq!(world.stack.stats().associations, 0);
}

/// RFC 5062 §7: an association must not come up between other ports than those of its INIT.
// covers: RFC 9260 §5.1.5, RFC 5062 §7.3
#[test]
fn a_cookie_for_other_ports_tags_or_addresses_is_nobodys() {
    let mut world = World::new();
    let peer = world.half_open(evil(), InitFields::default(), &[]);
    let echo = chunk(COOKIE_ECHO, 0, &peer.cookie);
    let tag = peer.their_tag;
    for (from, packet) in [
        (evil(), packet(PEER_PORT + 1, PORT, tag, &echo)),
        (evil(), packet(PEER_PORT, PORT + 1, tag, &echo)),
        (evil(), packet(PEER_PORT, PORT, tag ^ 1, &echo)),
        (ip("10.0.0.67"), packet(PEER_PORT, PORT, tag, &echo)),
        (ip("2001:db8::1"), packet(PEER_PORT, PORT, tag, &echo)),
    ] {
        let before = world.stack.stats().bad_cookies;
        world.feed(from, &packet);
        assert_eq!(world.collect(), []);
        assert_eq!(world.stack.stats().bad_cookies, before + 1);
        assert_eq!(world.stack.stats().associations, 0);
    }
}

#[test]
fn a_cookie_of_an_endpoint_that_has_gone_is_nobodys() {
    let mut world = World::new();
    let peer = world.half_open(evil(), InitFields::default(), &[]);
    world.stack.close(world.now, world.endpoint);
    let reopened = EndpointConfig { port: PORT, addresses: vec![home()], host_addresses: vec![], config: quiet() };
    let endpoint = world.stack.open(reopened).expect("the port is free");
    world.stack.set_accepting(endpoint, true);
    assert_eq!(world.hit(evil(), &peer.echo()), []);
    assert_eq!(world.stack.stats().associations, 0);
}

// covers: RFC 9260 §5.1.5, RFC 9260 §3.3.10.3
#[test]
fn a_stale_cookie_is_answered_with_the_measure_and_nothing_is_kept() {
    let mut world = World::new();
    let peer = world.half_open(evil(), InitFields::default(), &[]);
    for late_ms in [1u64, 2500, 20_000] {
        world.now = Time::from_millis(1_000_000 + 60_000 + late_ms);
        let replies = world.hit(evil(), &peer.echo());
        assert_eq!(replies.len(), 1);
        assert_eq!(tag_of(&replies[0].data), peer.fields.tag);
        let error = chunks(&replies[0].data).remove(0);
        let micros = (late_ms as u32 * 1000).to_be_bytes().to_vec();
        assert_eq!((error.0, params(&error.2)), (ERROR, vec![(3, micros)]));
        assert!(replies[0].data.len() <= peer.echo().len());
        drop(replies);
    }
    let spent = cost(|| {
        let _ = world.hit(evil(), &peer.echo());
    });
    assert_eq!(spent.kept, 0);
    assert_eq!((world.stack.stats().stale_cookies, world.stack.stats().associations), (4, 0));
}

/// A flood of stale cookies is a flood like any other: their answers count against the same limit.
// covers: RFC 9260 §8.4
#[test]
fn answers_to_stale_cookies_are_limited() {
    let mut limits = StackConfig::default();
    limits.ootb_replies_per_second = 10;
    let mut world = World::with(quiet(), limits);
    let peer = world.half_open(evil(), InitFields::default(), &[]);
    world.now = world.now + Duration::from_secs(70);
    let replies: usize = (0..100).map(|_| world.hit(evil(), &peer.echo()).len()).sum();
    assert_eq!(replies, 10);
    assert_eq!(world.stack.stats().rate_limited, 90);
}

/// The life that a Cookie Preservative can ask for is bounded (RFC 5062 §6.3).
// covers: RFC 9260 §3.3.2.1.1, RFC 5062 §6.3
#[test]
fn a_cookie_preservative_buys_a_minute_at_most() {
    let mut world = World::new();
    let preservative = param(9, &u32::MAX.to_be_bytes());
    let peer = world.half_open(evil(), InitFields::default(), &preservative);
    world.now = world.now + Duration::from_millis(120_001);
    assert_eq!(kinds(&world.hit(evil(), &peer.echo())[0].data), [ERROR]);
    assert_eq!(world.stack.stats().associations, 0);
}

/// RFC 5062 §6: a cookie that is kept makes one association, not one per replay.
// covers: RFC 9260 §5.2.4, RFC 5062 §6
#[test]
fn a_cookie_replayed_after_its_association_has_ended_is_ignored() {
    let mut world = World::new();
    let peer = world.associate(evil(), &[param(5, &[10, 0, 9, 1]), param(5, &[10, 0, 9, 2])].concat());
    let _ = world.hit(evil(), &peer.packet(&chunk(ABORT, 0, &[])));
    assert_eq!(world.state(peer.id()), Some(State::Closed));
    world.stack.release(world.now, peer.id());
    let before = world.stack.stats();
    for _ in 0..100 {
        let spent = cost(|| world.feed(evil(), &peer.echo()));
        assert_eq!(spent.kept, 0);
        assert_eq!(world.collect(), []);
    }
    let after = world.stack.stats();
    assert_eq!((after.associations, after.associations_total), (0, before.associations_total));
}

/// The same for as long as a cookie can live: a preservative gives it a minute more than its endpoint does.
// covers: RFC 9260 §5.2.4, RFC 5062 §6
#[test]
fn a_long_lived_cookie_makes_no_other_association_after_its_own_has_ended() {
    let mut config = quiet();
    config.cookie_life = Duration::from_secs(1);
    let mut world = World::with(config, StackConfig::default());
    let begun = world.now;
    let peer = world.associate(evil(), &param(9, &60_000u32.to_be_bytes()));
    let _ = world.hit(evil(), &peer.packet(&chunk(ABORT, 0, &[])));
    world.stack.release(world.now, peer.id());
    let before = world.stack.stats().associations_total;
    for seconds in [1, 2, 3, 30, 60] {
        world.now = begun + Duration::from_secs(seconds);
        assert_eq!(world.hit(evil(), &peer.echo()), []);
        assert_eq!(world.stack.stats().associations_total, before, "after {seconds} s");
    }
}

/// CVE-2013-2206: a duplicate COOKIE ECHO must not make a second, empty association beside the first.
// covers: RFC 9260 §5.2.4
#[test]
fn a_repeated_cookie_echo_is_acknowledged_and_changes_nothing() {
    let mut world = World::new();
    let peer = world.settled();
    let before = (world.essence(peer.id()), world.events.len());
    let associations = world.stack.associations(world.endpoint);
    for _ in 0..50 {
        let echo = peer.echo();
        let mut replies = Vec::new();
        replies.extend(world.hit(evil(), &echo));
        assert_eq!(replies.len(), 1);
        assert_eq!(kinds(&replies[0].data), [COOKIE_ACK], "action D");
        assert_eq!((world.essence(peer.id()), world.events.len()), before);
    }
    // Even when it would be stale by now.
    world.now = world.now + Duration::from_secs(100);
    assert_eq!(kinds(&world.hit(evil(), &peer.echo())[0].data), [COOKIE_ACK]);
    assert_eq!(world.stack.associations(world.endpoint), associations);
}

/// CVE-2013-2206.
// covers: RFC 9260 §5.2.4
#[test]
fn a_repeated_cookie_echo_while_shutting_down_does_not_bring_the_association_back() {
    for by_peer in [false, true] {
        let mut world = World::new();
        let peer = world.settled();
        if by_peer {
            let shutdown = chunk(SHUTDOWN, 0, &peer.their_tsn.wrapping_sub(1).to_be_bytes());
            assert_eq!(kinds(&world.hit(evil(), &peer.packet(&shutdown))[0].data), [SHUTDOWN_ACK]);
        } else {
            world.stack.shutdown(world.now, peer.id()).expect("it is up");
            assert_eq!(kinds(&world.collect()[0].data), [SHUTDOWN]);
        }
        let before = world.essence(peer.id());
        let replies = world.hit(evil(), &peer.echo());
        assert_eq!(replies.len(), 1);
        assert_eq!(kinds(&replies[0].data), [COOKIE_ACK]);
        assert_eq!(world.essence(peer.id()), before);
    }
}

// covers: RFC 9260 §5.2.4
#[test]
fn a_cookie_of_before_the_association_is_discarded() {
    // Two handshakes of one peer; the older cookie comes when the younger has made the association.
    let mut world = World::new();
    let older = world.half_open(evil(), InitFields { tag: 0x111, ..InitFields::default() }, &[]);
    let peer = world.settled();
    let before = (world.essence(peer.id()), world.events.len());
    let spent = cost(|| world.feed(evil(), &older.echo()));
    assert_eq!(spent.kept, 0);
    assert_eq!(world.collect(), []);
    assert_eq!((world.essence(peer.id()), world.events.len()), before);
    assert_eq!(world.stack.stats().associations, 1);
}

/// Tie-Tags link a restart to its association without giving the true tags away (RFC 5062 §3): whoever
/// gets hold of the peer's address must not read from an INIT ACK what packets of the association carry.
// covers: RFC 9260 §5.2.2, RFC 9260 §1.4, RFC 5062 §3.3
// covers: RFC 9260 §5.1.3-6, §5.2.2-5
#[test]
fn a_cookie_does_not_tell_the_tags_of_the_association_that_exists() {
    let mut world = World::new();
    let peer = world.settled();
    let fields = InitFields { tag: 0x0bad_0bad, ..InitFields::default() };
    let thief = world.half_open(evil(), fields, &[]);
    let tells = |tag: u32| thief.cookie.windows(4).any(|word| word == tag.to_be_bytes());
    assert!(!tells(peer.their_tag), "our tag stands in the cookie");
    assert!(!tells(peer.fields.tag), "the peer's tag stands in the cookie");
    // A restart still works with it.
    let replies = world.hit(evil(), &thief.echo());
    assert_eq!(kinds(&replies[0].data)[0], COOKIE_ACK);
    assert!(matches!(world.events.last(), Some((_, Event::Restarted(_) | Event::Writable))));
}

/// What is kept from behind a COOKIE ECHO is no packet: it may be shorter than a common header.
// covers: RFC 9260 §5.1, §6.10
#[test]
fn an_init_ack_behind_a_cookie_echo_is_nothing() {
    for rest in 0..24usize {
        let mut world = World::new();
        let mut peer = world.half_open(evil(), InitFields::default(), &[]);
        let behind = chunk(INIT_ACK, 0, &vec![0; rest]);
        let replies = world.hit(evil(), &peer.packet(&[chunk(COOKIE_ECHO, 0, &peer.cookie), behind].concat()));
        assert_eq!(kinds(&replies[0].data), [COOKIE_ACK], "{rest} bytes");
        peer.id = world.accepted.last().copied();
        assert_eq!(world.stats(peer.id()).state, State::Established, "{rest} bytes");
    }
}

/// What stands behind a COOKIE ECHO is kept while the user decides: as little as possible.
#[test]
fn peers_that_wait_for_a_decision_are_bounded_in_number_and_bytes() {
    let mut limits = StackConfig::default();
    limits.max_incoming = 64;
    let mut world = World::with(quiet(), limits);
    world.decide = false;
    let kept = cost(|| {
        for port in 0..200u16 {
            let init = packet(6000 + port, PORT, 0, &InitFields::default().init(&[]));
            let replies = world.hit(evil(), &init);
            let mut peer = Tcb::from_init_ack(evil(), InitFields::default(), &replies[0]);
            peer.port = 6000 + port;
            let mut rest = chunk(COOKIE_ECHO, 0, &peer.cookie);
            rest.extend(data(3, peer.tsn, 0, 0, &vec![7; 60_000]));
            assert_eq!(world.hit(evil(), &peer.packet(&rest)), [], "nobody has decided yet");
        }
    })
    .kept;
    assert_eq!(world.incoming.len(), 64, "those that the user holds count too");
    assert!(kept < 600_000, "{kept} bytes for 64 peers");
    // A decision makes room for another.
    let incoming = world.incoming.pop().expect("64 wait");
    world.stack.ignore(incoming);
    let peer = world.half_open(ip("10.0.0.5"), InitFields::default(), &[]);
    let _ = world.hit(ip("10.0.0.5"), &peer.echo());
    assert_eq!(world.incoming.len(), 64);
}
