//! Floods: nothing grows, what is answered is bounded in count, bytes and rate, and who is there is still served.

use crate::meter::cost;
use crate::wire::*;
use crate::world::*;
use esock_proto::*;
use std::net::Ipv4Addr;
use std::time::Duration;

fn somebody(at: u32) -> Address {
    Ipv4Addr::from(0x0b00_0000 + at).into()
}

fn init_from(at: u32) -> Vec<u8> {
    packet(1 + (at % 60_000) as u16, PORT, 0, &InitFields { tag: at + 1, ..InitFields::default() }.init(&[]))
}

// covers: RFC 9260 §5.1.3, RFC 9260 §12.2.4.1
#[test]
fn a_hundred_thousand_half_open_attempts_cost_not_a_byte() {
    let mut world = World::new();
    let mut peer = world.settled();
    let id = peer.id();
    let before = world.essence(id);
    let mut answers = 0;
    let spent = cost(|| {
        for at in 0..100_000 {
            let replies = world.hit(somebody(at), &init_from(at));
            assert!(replies.len() == 1 && replies[0].to == somebody(at));
            answers += 1;
        }
    });
    assert_eq!((answers, spent.kept), (100_000, 0));
    assert!(spent.peak < 4096, "{spent:?}");
    assert_eq!(world.essence(id), before);
    assert_eq!((world.stack.stats().associations, world.stack.poll_timeout().is_some()), (1, false));
    let data = peer.data(3, 0, 1, b"still here");
    let _ = world.hit(evil(), &peer.packet(&data));
    assert_eq!(world.stack.recv(world.now, id).expect("it arrived").payload, b"still here"[..]);
}

/// Nobody takes what is to be sent: the line of answers is bounded.
#[test]
fn answers_that_nobody_sends_do_not_pile_up() {
    let mut world = World::new();
    let spent = cost(|| (0..20_000).for_each(|at| world.feed(somebody(at), &init_from(at))));
    assert!(spent.kept < 400_000, "{spent:?}");
    assert!(world.collect().len() <= 512);
    assert!(world.stack.stats().rate_limited >= 19_000);
}

/// A driver that sends a few packets at a time, and gets more to answer than it sends: who has an association
/// is served in turn with the answers.
#[test]
fn answers_do_not_stand_in_the_way_of_data() {
    let mut world = World::new();
    let peer = world.settled();
    let mut buffer = vec![0; 1 << 16];
    for round in 0..100u32 {
        let options = SendOptions { unordered: true, ..SendOptions::default() };
        world.stack.send(world.now, peer.id(), options, b"data"[..].into()).expect("room");
        (0..512).for_each(|at| world.feed(somebody(at), &init_from(round * 512 + at)));
        let sent = (0..2).filter_map(|_| {
            let transmit = world.stack.poll_transmit(world.now, 1, &mut buffer)?;
            (transmit.remote == evil()).then(|| buffer[..transmit.size].to_vec())
        });
        let data: Vec<_> = sent.collect();
        assert_eq!(data.len(), 1, "round {round}");
        let tsn = u32_at(&chunks(&data[0])[0].2, 0);
        world.feed(evil(), &peer.packet(&sack(tsn, 1 << 20, &[], &[])));
    }
    assert_eq!(world.stats(peer.id()).in_flight, 0);
}

/// The work for a packet does not grow with how many came before: not by one allocation.
#[test]
fn the_hundred_thousandth_packet_costs_what_the_first_did() {
    let mut world = World::new();
    let peer = world.settled();
    let asks = |world: &mut World, from: u32| {
        cost(|| {
            for at in from..from + 1000 {
                drop(world.hit(somebody(at), &init_from(at)));
                drop(world.hit(somebody(at), &packet(7, PORT, at | 1, &chunk(COOKIE_ECHO, 0, &[7; 140]))));
                drop(world.hit(somebody(at), &packet(7, PORT, at | 1, &chunk(ABORT, 0, &[]))));
                drop(world.hit(evil(), &peer.packet(&chunk(HEARTBEAT, 0, &[0, 1, 0, 8, 1, 2, 3, 4]))));
            }
        })
    };
    let first = asks(&mut world, 0);
    for from in (1000..99_000).step_by(1000) {
        let _ = asks(&mut world, from);
    }
    let last = asks(&mut world, 99_000);
    assert_eq!((last.allocations, last.kept), (first.allocations, 0));
}

// covers: RFC 9260 §5.1.5
#[test]
fn a_flood_of_bad_cookies_costs_no_byte_and_gets_no_answer() {
    let mut world = World::new();
    let peer = world.half_open(evil(), InitFields::default(), &[]);
    let mut cookie = peer.cookie.clone();
    let spent = cost(|| {
        for at in 0..50_000u32 {
            let index = at as usize % (cookie.len() - 4);
            cookie[index..index + 4].copy_from_slice(&at.to_be_bytes());
            let echo = packet(PEER_PORT, PORT, at | 1, &chunk(COOKIE_ECHO, 0, &cookie));
            assert_eq!(world.hit(somebody(at), &echo), []);
        }
    });
    assert_eq!(spent.kept, 0);
    assert_eq!(world.stack.stats().associations, 0);
    assert_eq!(kinds(&world.hit(evil(), &peer.echo())[0].data), [COOKIE_ACK]);
}

// covers: RFC 9260 §8.4
#[test]
fn a_flood_out_of_the_blue_is_answered_at_a_thousand_a_second() {
    let mut world = World::new();
    let mut answers = 0;
    let spent = cost(|| {
        for at in 0..100_000u32 {
            let kind = [SHUTDOWN_ACK, DATA, HEARTBEAT, SACK, 0xff][at as usize % 5];
            let stray = packet(7, PORT, at | 1, &chunk(kind, 3, &[1; 16]));
            let replies = world.hit(somebody(at), &stray);
            assert!(replies.iter().all(|reply| reply.data.len() <= stray.len()));
            answers += replies.len();
            if at % 10_000 == 9_999 {
                world.now = world.now + Duration::from_millis(500);
            }
        }
    });
    assert_eq!(spent.kept, 0);
    // A second's worth at once, and as many in each second of the five.
    assert!((1000..=1000 + 5 * 1000).contains(&answers), "{answers}");
    assert_eq!(world.stack.stats().associations, 0);
}

/// RFC 5062 §6: somebody lists a victim's addresses and comes again and again. The victim gets a small packet
/// for each pair of packets that the attacker sends from its own address, no more.
// covers: RFC 9260 §5.4, RFC 5062 §6
#[test]
fn a_third_party_gets_no_more_packets_than_the_attacker_sends() {
    let listed: Vec<u8> = (1..=31u8).flat_map(|at| param(5, &[10, 8, 0, at])).collect();
    let mut world = World::new();
    let (mut sent, mut bytes_sent, mut hits, mut bytes) = (0, 0, 0, 0);
    for at in 0..500u16 {
        let fields = InitFields { tag: 1 + u32::from(at), ..InitFields::default() };
        let init = packet(7000 + at, PORT, 0, &fields.init(&listed));
        let replies = world.hit(evil(), &init);
        let mut peer = Tcb::from_init_ack(evil(), fields, &replies[0]);
        peer.port = 7000 + at;
        let echo = peer.echo();
        let mut replies = world.hit(evil(), &echo);
        let mut all = vec![init, echo];
        // The victim does not speak SCTP. The attacker ends it, and plays the cookie again.
        let abort = peer.packet(&chunk(ABORT, 0, &[]));
        for packet in [abort, peer.echo()] {
            replies.extend(world.hit(evil(), &packet));
            all.push(packet);
        }
        sent += all.len();
        bytes_sent += all.iter().map(|packet| packet.len() + LOWER_HEADERS).sum::<usize>();
        let at_victim = replies.iter().filter(|reply| reply.to != evil());
        at_victim.for_each(|reply| {
            assert_eq!(kinds(&reply.data), [HEARTBEAT]);
            hits += 1;
            bytes += reply.data.len() + LOWER_HEADERS;
        });
        world.accepted.clear();
        world.events.clear();
    }
    println!("bombing a third party: {hits} packets for {sent}, {bytes} bytes for {bytes_sent}");
    assert!(hits <= sent / 2 && bytes * 4 <= bytes_sent, "{hits} for {sent}, {bytes} for {bytes_sent}");
}

/// What a packet of each kind is answered with, in packets and in bytes of IP packets over UDP and IPv4. The
/// attacker may give any source, so this is what a third party can be made to receive.
// covers: RFC 5062 §9, RFC 9260 §8.4
#[test]
fn the_amplification_of_packets_that_prove_nothing_is_bounded() {
    let both: Vec<Address> = vec![home(), ip("10.0.0.2"), ip("2001:db8::1"), ip("2001:db8::2")];
    for (what, addresses) in [("one address", vec![home()]), ("four addresses", both)] {
        let mut world = World::at(addresses, quiet(), StackConfig::default());
        let fields = InitFields::default();
        let listed: Vec<u8> = (0..60u8).flat_map(|at| param(5, &[10, 7, 0, at])).collect();
        let stale = world.half_open(ip("10.0.0.9"), fields, &[]);
        world.now = world.now + Duration::from_secs(61);
        let out_of_the_blue = |kind: u8, value: &[u8]| packet(PEER_PORT, PORT, 0x1234, &chunk(kind, 0, value));
        let init = |params: &[u8]| packet(PEER_PORT, PORT, 0, &fields.init(params));
        // What is sent, from whom, and the most bytes that come back for a byte.
        let cases: [(&str, Address, Vec<u8>, f64); 13] = [
            ("INIT", evil(), init(&[]), 4.0),
            ("INIT, 60 addresses", evil(), init(&listed), 1.5),
            ("INIT, 60 small unknown parameters", evil(), init(&param(0xffff, &[]).repeat(60)), 3.0),
            ("INIT, 1000 small unknown parameters", evil(), init(&param(0xffff, &[]).repeat(1000)), 1.0),
            ("INIT, one large unknown parameter", evil(), init(&param(0xffff, &[0; 500])), 1.5),
            ("INIT to nobody", evil(), packet(PEER_PORT, 9, 0, &fields.init(&[])), 1.0),
            (
                "INIT, zero streams",
                evil(),
                packet(PEER_PORT, PORT, 0, &InitFields { inbound: 0, ..fields }.init(&[])),
                1.0,
            ),
            ("INIT with a host name", evil(), init(&param(11, b"name")), 1.0),
            ("COOKIE ECHO, forged", evil(), out_of_the_blue(COOKIE_ECHO, &[0; 100]), 0.0),
            ("COOKIE ECHO, stale", ip("10.0.0.9"), stale.echo(), 1.0),
            ("SHUTDOWN ACK out of the blue", evil(), out_of_the_blue(SHUTDOWN_ACK, &[]), 1.0),
            ("HEARTBEAT out of the blue", evil(), out_of_the_blue(HEARTBEAT, &[0; 1000]), 1.0),
            ("DATA out of the blue", evil(), packet(PEER_PORT, PORT, 7, &data(3, 1, 0, 0, b"x")), 1.0),
        ];
        for (name, from, question, most) in cases {
            let replies = world.hit(from, &question);
            let asked = question.len() + LOWER_HEADERS;
            let answered: usize = replies.iter().map(|reply| reply.data.len() + LOWER_HEADERS).sum();
            let factor = answered as f64 / asked as f64;
            println!("{what}: {name}: {} packets for 1, {answered} bytes for {asked}: {factor:.2}", replies.len());
            assert!(replies.len() <= 1, "{name}");
            assert!(factor <= most, "{name}: {factor}");
        }
    }
}

/// What packets of an association are answered with; they come from an address that was proved.
// covers: RFC 5062 §8, RFC 9260 §6.10
#[test]
fn the_amplification_of_packets_of_an_association_is_bounded() {
    let mut world = World::new();
    let mut peer = world.settled();
    let cases = [
        ("HEARTBEAT", chunk(HEARTBEAT, 0, &param(1, &[0; 12]))),
        ("30 HEARTBEATs", chunk(HEARTBEAT, 0, &param(1, &[0; 12])).repeat(30)),
        ("unknown chunk", chunk(0xff, 0, &[])),
        ("300 unknown chunks", chunk(0xff, 0, &[]).repeat(300)),
        ("DATA", peer.data(11, 0, 1, b"x")),
        ("DATA for no stream", peer.data(11, 60_000, 0, b"x")),
        ("COOKIE ECHO again", chunk(COOKIE_ECHO, 0, &peer.cookie)),
        ("SACK", sack(peer.their_tsn.wrapping_sub(1), 0, &[], &[])),
        ("ERROR", chunk(ERROR, 0, &param(1, &[0; 4]))),
    ];
    for (name, question) in cases {
        let question = peer.packet(&question);
        let replies = world.hit(evil(), &question);
        let asked = question.len() + LOWER_HEADERS;
        let answered: usize = replies.iter().map(|reply| reply.data.len() + LOWER_HEADERS).sum();
        let factor = answered as f64 / asked as f64;
        println!("association: {name}: {} packets for 1, {answered} bytes for {asked}: {factor:.2}", replies.len());
        assert!(replies.len() <= 1 && factor <= 2.0, "{name}: {factor}");
    }
}
