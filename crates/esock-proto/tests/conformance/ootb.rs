//! Packets out of the blue (§8.4) and the exceptions in verification tag rules (§8.5.1).

use crate::lab::*;
use esock_proto::*;

const ABORTED: &str = "R:ABORT()/T";
const COMPLETE: &str = "R:SHUTDOWN_COMPLETE/T";

// covers: RFC 9260 §8.4-2, §8.4-3a, §8.4-3b, §8.4-4, §8.4-5a, §8.4-5b, §8.4-6, §8.4-7, §8.4-8a, §8.4-8b, §8.4-8c
// covers: RFC 9260 §8.4-8d, §8.5.1-A2, §8.5.1-A3, §3.3.2-7, §3.3.7-3, §12.3-3
#[test]
fn every_rule_for_packets_out_of_the_blue_in_their_order() {
    let heartbeat = || chunk(HEARTBEAT, 0, &[0, 1, 0, 4]);
    let plain = |kind: u8| chunk(kind, 0, &[]);
    let stale = || chunk(ERROR, 0, &[0, 3, 0, 8, 0, 0, 0, 1]);
    let error = || chunk(ERROR, 0, &[0, 1, 0, 8, 0, 0, 0, 0]);
    let two_causes = || chunk(ERROR, 0, &[0, 1, 0, 8, 0, 0, 0, 0, 0, 3, 0, 8, 0, 0, 0, 1]);
    type Case = (&'static str, u32, Vec<Vec<u8>>, &'static str);
    let table: Vec<Case> = vec![
        // Rule 2 comes before all others.
        ("2: ABORT", 9, vec![plain(ABORT)], "-"),
        ("2: ABORT behind DATA", 9, vec![data(1, b"x"), plain(ABORT)], "-"),
        ("2: ABORT behind SHUTDOWN ACK", 9, vec![plain(SHUTDOWN_ACK), plain(ABORT)], "-"),
        ("2: ABORT behind an unknown chunk", 9, vec![plain(0x3e), plain(ABORT)], "-"),
        // Rule 3; §8.5.1 A: it comes alone; §3.3.2: with a tag inside.
        ("3: INIT", 0, vec![init(INIT, NEW_TAG, &[])], "I:INIT_ACK"),
        ("3: INIT and DATA", 0, vec![init(INIT, NEW_TAG, &[]), data(1, b"x")], "-"),
        ("3: INIT with Initiate Tag 0", 0, vec![init(INIT, 0, &[])], "-"),
        ("3: INIT that cannot be taken", 0, vec![chunk(INIT, 0, &bad_init())], "I:ABORT(7)"),
        // §12.3: the INIT and all behind it.
        ("INIT with a tag", 9, vec![init(INIT, NEW_TAG, &[])], "-"),
        ("INIT with a tag, DATA", 9, vec![init(INIT, NEW_TAG, &[]), data(1, b"x")], "-"),
        ("INIT with a tag, SHUTDOWN ACK", 9, vec![init(INIT, NEW_TAG, &[]), plain(SHUTDOWN_ACK)], "-"),
        ("8: HEARTBEAT before an INIT with a tag", 9, vec![heartbeat(), init(INIT, NEW_TAG, &[])], ABORTED),
        // Rule 4.
        ("4: COOKIE ECHO that is not ours", 9, vec![chunk(COOKIE_ECHO, 0, &[1; 100])], "-"),
        ("4: the same, with SHUTDOWN ACK", 9, vec![chunk(COOKIE_ECHO, 0, &[1; 100]), plain(SHUTDOWN_ACK)], "-"),
        ("8: COOKIE ECHO that is not first", 9, vec![heartbeat(), chunk(COOKIE_ECHO, 0, &[1; 100])], ABORTED),
        // Rule 5.
        ("5: SHUTDOWN ACK", 9, vec![plain(SHUTDOWN_ACK)], COMPLETE),
        ("5: SHUTDOWN ACK behind another", 9, vec![heartbeat(), plain(SHUTDOWN_ACK)], COMPLETE),
        ("5: before 6", 9, vec![plain(SHUTDOWN_COMPLETE), plain(SHUTDOWN_ACK)], COMPLETE),
        ("5: before 7", 9, vec![plain(COOKIE_ACK), plain(SHUTDOWN_ACK)], COMPLETE),
        // Rule 6.
        ("6: SHUTDOWN COMPLETE", 9, vec![plain(SHUTDOWN_COMPLETE)], "-"),
        ("6: with the T bit", 9, vec![chunk(SHUTDOWN_COMPLETE, 1, &[])], "-"),
        // Rule 7.
        ("7: ERROR Stale Cookie", 9, vec![stale()], "-"),
        ("7: as the second cause", 9, vec![two_causes()], "-"),
        ("7: as the second chunk", 9, vec![heartbeat(), stale()], "-"),
        ("7: COOKIE ACK", 9, vec![plain(COOKIE_ACK)], "-"),
        ("7: COOKIE ACK and DATA", 9, vec![plain(COOKIE_ACK), data(1, b"x")], "-"),
        // Rule 8.
        ("8: another ERROR", 9, vec![error()], ABORTED),
        ("8: DATA", 9, vec![data(1, b"x")], ABORTED),
        ("8: many DATA, one answer", 9, (1..9).map(|number| data(number, b"x")).collect(), ABORTED),
        ("8: SACK", 9, vec![sack(7, 9000, &[], &[])], ABORTED),
        ("8: HEARTBEAT", 9, vec![heartbeat()], ABORTED),
        ("8: HEARTBEAT ACK", 9, vec![chunk(HEARTBEAT_ACK, 0, &[0, 1, 0, 4])], ABORTED),
        ("8: SHUTDOWN", 9, vec![shutdown(7)], ABORTED),
        ("8: INIT ACK", 9, vec![init(INIT_ACK, PEER_TAG, &[0, 7, 0, 8, 1, 2, 3, 4])], ABORTED),
        ("8: unknown", 9, vec![plain(0xfe)], ABORTED),
        // §8.5.1 A: tag 0 without INIT.
        ("tag 0: DATA", 0, vec![data(1, b"x")], "-"),
        ("tag 0: SHUTDOWN ACK", 0, vec![plain(SHUTDOWN_ACK)], "-"),
        ("tag 0: COOKIE ECHO", 0, vec![chunk(COOKIE_ECHO, 0, &[1; 100])], "-"),
    ];
    let mut rows = Rows::of("§8.4");
    for (name, tag, chunks, expected) in table {
        let mut lab = Lab::at(At::Listening, Role::Server, quiet());
        lab.deliver(tag, &chunks);
        let sent = lab.take();
        // To where it came from, and no more than one.
        assert!(sent.len() <= 1 && sent.iter().all(|packet| packet.remote == remote(0)), "{name}");
        rows.check(name, if sent.is_empty() { "-".to_owned() } else { lab.render_all(&sent) }, expected.to_owned());
        rows.check(name, (lab.stack.stats().associations, lab.stack.poll_timeout()), (0, None));
    }
    rows.end(70);
}

fn bad_init() -> Vec<u8> {
    [&NEW_TAG.to_be_bytes()[..], &PEER_RWND.to_be_bytes(), &[0, 0, 0, 10], &[0, 0, 0, 1]].concat()
}

// covers: RFC 9260 §8.4, §6.8
// covers: RFC 9260 §8.4-1, §6.8-3, §6.8-4
#[test]
fn packets_that_are_not_out_of_the_blue_but_wrong_are_never_answered() {
    let mut rows = Rows::of("§8.4 rule 1, §6.8");
    let good = || packet(PEER_PORT, PORT, 9, &[data(1, b"x")]);
    let ip = |text: &str| Address::from(text.parse::<std::net::IpAddr>().expect("an address"));
    // Rule 1: to or from a non-unicast address.
    for bad in ["224.0.0.1", "239.1.2.3", "255.255.255.255", "0.0.0.0"] {
        for (from, to) in [(ip(bad), local(0)), (remote(0), ip(bad))] {
            let mut lab = Lab::at(At::Listening, Role::Server, quiet());
            lab.deliver_raw(from, to, &good());
            rows.check(&format!("from {from} to {to}"), lab.outcome(), "-".to_owned());
            lab.deliver_raw(from, to, &packet(PEER_PORT, PORT, 0, &[init(INIT, NEW_TAG, &[])]));
            rows.check(&format!("INIT from {from} to {to}"), lab.outcome(), "-".to_owned());
        }
    }
    // §6.8: a wrong checksum; §3: no chunk at all, and what is cut short.
    let mut damaged = good();
    damaged[8] ^= 1;
    let empty = packet(PEER_PORT, PORT, 9, &[]);
    let half = packet(PEER_PORT, PORT, 9, &[vec![0, 3]]);
    let no_length = packet(PEER_PORT, PORT, 9, &[vec![0, 3, 0, 3]]);
    for (name, bytes) in [("checksum", damaged), ("no chunk", empty), ("cut", half), ("length 3", no_length)] {
        let mut lab = Lab::at(At::Listening, Role::Server, quiet());
        lab.deliver_raw(remote(0), local(0), &bytes);
        rows.check(name, lab.outcome(), "-".to_owned());
    }
    rows.end(20);
}

/// A packet of the stack, once it stands there.
fn last_words(lab: &mut Lab) -> String {
    let sent = lab.take();
    lab.render_all(&sent)
}

// covers: RFC 9260 §8.5.1-A1, §8.5.1-D1, §9.1-1, §9.1-2, §8.5.1-C1, §8.5.1-C2, §8.4-5b, §8.5-1, §8.5.1-B1, §8.5.1-C3
#[test]
fn the_stack_fills_in_the_tags_that_the_exceptions_ask_for() {
    let mut rows = Rows::of("§8.5.1, sending");
    // A: INIT has tag 0. D: COOKIE ECHO has the Initiate Tag of INIT ACK.
    let mut lab = Lab::new(quiet());
    let peer = Peer { addresses: vec![remote(0)], port: PEER_PORT, encapsulation: Encapsulation::Default };
    lab.assoc = lab.stack.connect(lab.now, lab.endpoint.expect("open"), &peer, None).ok();
    let sent = lab.take();
    rows.check("A", lab.render_all(&sent), "0:INIT".to_owned());
    lab.learn(&sent[0].chunks[0]);
    lab.init_ack();
    rows.check("D", last_words(&mut lab), "COOKIE_ECHO".to_owned());
    // B: ABORT has the peer's tag once it is known, with T clear; before, there is none to send it with.
    for (at, expected) in [
        (At::CookieWait, ""),
        (At::CookieEchoed, "ABORT(12)"),
        (At::Established, "ABORT(12)"),
        (At::ShutdownPending, "ABORT(12)"),
        (At::ShutdownSent, "ABORT(12)"),
        (At::ShutdownReceived, "ABORT(12)"),
        (At::ShutdownAckSent, "ABORT(12)"),
    ] {
        let mut lab = Lab::at(at, Role::Client, quiet());
        lab.stack.abort(lab.now, lab.id(), b"enough").expect("there");
        rows.check(&format!("B in {at:?}"), last_words(&mut lab), expected.to_owned());
        rows.check(&format!("B in {at:?}"), lab.state(), Some(State::Closed));
    }
    // C: SHUTDOWN COMPLETE with an association: the peer's tag, T clear. Without: reflected, T set.
    for at in [At::ShutdownSent, At::ShutdownAckSent] {
        let mut lab = Lab::at(at, Role::Client, quiet());
        lab.deliver(lab.tag, &[chunk(SHUTDOWN_ACK, 0, &[])]);
        rows.check(&format!("C in {at:?}"), last_words(&mut lab), "SHUTDOWN_COMPLETE".to_owned());
        // It was lost: SHUTDOWN ACK comes again, and there is no association any more.
        lab.deliver(lab.tag, &[chunk(SHUTDOWN_ACK, 0, &[])]);
        rows.check(&format!("C after {at:?}"), last_words(&mut lab), COMPLETE.to_owned());
    }
    rows.end(20);
}

// covers: RFC 9260 §8.5, §8.5.1-B4, §8.5.1-C5
#[test]
fn what_follows_an_abort_or_a_shutdown_complete_that_is_not_accepted_is_discarded_with_it() {
    let mut rows = Rows::of("§8.5.1 B, C: the packet is discarded");
    for kind in [ABORT, SHUTDOWN_COMPLETE] {
        for (tag_is_ours, t_bit) in [(true, 1), (false, 0), (false, 1)] {
            let mut lab = Lab::up(Role::Client, quiet());
            let tag = if tag_is_ours { lab.tag } else { WRONG_TAG };
            lab.deliver(tag, &[chunk(kind, t_bit, &[]), data(1, b"x")]);
            rows.check(&format!("{kind}, our tag: {tag_is_ours}, T {t_bit}"), lab.outcome(), "-".to_owned());
        }
    }
    rows.end(6);
}

// covers: RFC 9260 §8.5.1-B3
#[test]
fn where_the_peer_has_chosen_our_own_tag_the_t_bit_makes_no_difference() {
    let mut rows = Rows::of("§8.5.1 B, equal tags");
    for t_bit in [0, 1] {
        let mut lab = Lab::new(quiet());
        lab.connect();
        let tag = lab.tag;
        lab.deliver(tag, &[init(INIT_ACK, tag, &[0, 7, 0, 8, 1, 2, 3, 4])]);
        lab.deliver(tag, &[chunk(COOKIE_ACK, 0, &[])]);
        assert_eq!(lab.state(), Some(State::Established));
        lab.deliver(tag, &[chunk(ABORT, t_bit, &[])]);
        rows.check(&format!("T {t_bit}"), lab.state(), Some(State::Closed));
    }
    rows.end(2);
}
