//! INIT and INIT ACK when an association exists (§5.2.1 to §5.2.3).

use crate::lab::*;
use esock_proto::*;
use std::time::Duration;

/// Tag, a_rwnd, streams and first TSN of an INIT or INIT ACK.
fn fields(chunk: &Chunk) -> (u32, u32, u16, u16, u32) {
    let value = &chunk.value;
    (word(value, 0), word(value, 4), half(value, 8), half(value, 10), word(value, 12))
}

// covers: RFC 9260 §5.2.1
// covers: RFC 9260 §5.2.1-1, §5.2.1-5, §5.2.1-6, §5.2.1-11, §5.2.1-12, §5.2.1-13, §5.2.1-14
#[test]
fn an_init_in_cookie_wait_or_cookie_echoed_is_answered_with_the_values_of_our_own() {
    let mut rows = Rows::of("§5.2.1");
    for at in [At::CookieWait, At::CookieEchoed] {
        let mut lab = Lab::new(quiet());
        let peer = Peer { addresses: vec![remote(0)], port: PEER_PORT, encapsulation: Encapsulation::Default };
        lab.assoc = lab.stack.connect(lab.now, lab.endpoint.expect("open"), &peer, None).ok();
        let ours = lab.take().remove(0).chunks.remove(0);
        lab.learn(&ours);
        if at == At::CookieEchoed {
            lab.init_ack();
            lab.take();
        }
        let before = lab.stats();
        lab.deliver(0, &[init(INIT, NEW_TAG, &[])]);
        let sent = lab.take();
        let name = format!("{at:?}");
        rows.check(&name, lab.render_all(&sent), "I:INIT_ACK".to_owned());
        rows.check(&name, fields(&sent[0].chunks[0]), fields(&ours));
        rows.check(&name, sent[0].remote, remote(0));
        rows.check(&name, param(&sent[0].chunks[0].value[16..], 7).is_some(), true);
        // Neither state nor anything else changes, and T1 is left running.
        rows.check(&name, lab.stats(), before);
        let again = lab.run(Duration::from_secs(1));
        let expected = if at == At::CookieWait { "0:INIT" } else { "COOKIE_ECHO" };
        rows.check(&format!("{name}: T1"), lab.render_all(&again), expected.to_owned());
    }
    rows.end(12);
}

// covers: RFC 9260 §5.2.1
// covers: RFC 9260 §5.2.1-3, §5.2.1-4, §5.2.1-5
#[test]
fn in_cookie_wait_init_ack_goes_only_to_an_address_that_the_user_gave_and_the_init_names() {
    let mut rows = Rows::of("§5.2.1, the destination");
    // The user gave the first `paths` addresses. (paths, source of the INIT, addresses in it, destination)
    let table: [(u8, u8, &[u8], Option<u8>); 6] = [
        (1, 0, &[], Some(0)),
        (1, 0, &[0, 1], Some(0)),
        (1, 1, &[0, 1], Some(0)),
        (2, 1, &[0, 1], Some(1)),
        (2, 2, &[1, 2], Some(1)),
        // No address of the association: another association, and nobody listens.
        (1, 2, &[1, 2], None),
    ];
    for (paths, source, listed, destination) in table {
        let mut lab = Lab::with_paths(quiet(), paths);
        lab.connect();
        let addresses: Vec<Address> = listed.iter().map(|path| remote(*path)).collect();
        lab.received_tag = 0;
        let bytes = packet(PEER_PORT, PORT, 0, &[init(INIT, NEW_TAG, &address_params(&addresses))]);
        lab.deliver_raw(remote(source), local(0), &bytes);
        let sent = lab.take();
        let name = format!("{paths} given, INIT from {source} naming {listed:?}");
        let to: Vec<Address> = sent.iter().map(|packet| packet.remote).collect();
        rows.check(&name, to, destination.map(remote).into_iter().collect());
        let Some(destination) = destination else { continue };
        // The cookie brings the association up, and the address that INIT ACK went to is confirmed (§5.4).
        let cookie = param(&sent[0].chunks[0].value[16..], 7).expect("a State Cookie");
        lab.deliver_from(remote(destination), lab.tag, &[chunk(COOKIE_ECHO, 0, &cookie)]);
        rows.check(&name, lab.state(), Some(State::Established));
        let stats = lab.stats();
        let active: Vec<Address> =
            stats.paths.iter().filter(|path| path.state == PathState::Active).map(|path| path.remote).collect();
        rows.check(&name, active.contains(&remote(destination)), true);
    }
    rows.end(16);
}

// covers: RFC 9260 §9.2, §5.2.1-7, §5.2.1-8, §5.2.1-9, §5.2.1-10, §5.2.2-2, §5.2.2-3, §5.2.2-4, §5.2.2-9, §5.2.2-10
// covers: RFC 9260 §3.3.10.11-1
#[test]
fn an_init_that_adds_addresses_is_refused_with_the_addresses_that_it_adds() {
    let mut rows = Rows::of("§5.2.2, added addresses");
    // COOKIE-WAIT knows no addresses of the peer yet: none is added. SHUTDOWN-ACK-SENT answers with that chunk.
    let states = [At::CookieEchoed, At::Established, At::ShutdownPending, At::ShutdownSent, At::ShutdownReceived];
    let mut others = vec![(At::CookieWait, "I:INIT_ACK"), (At::ShutdownAckSent, "SHUTDOWN_ACK")];
    others.extend(states.map(|at| (at, "I:ABORT(11)")));
    for (at, expected) in others {
        for added in [&[5u8][..], &[5, 6]] {
            let mut lab = Lab::at(at, Role::Client, quiet());
            let before = lab.stats();
            let mut addresses = vec![remote(0)];
            addresses.extend(added.iter().map(|path| remote(*path)));
            lab.deliver(0, &[init(INIT, NEW_TAG, &address_params(&addresses))]);
            let sent = lab.take();
            let name = format!("{at:?}, {} added", added.len());
            rows.check(&name, lab.render_all(&sent), expected.to_owned());
            rows.check(&name, lab.stats().state, before.state);
            if expected == "I:ABORT(11)" {
                let list = param(&sent[0].chunks[0].value, 11).expect("the cause");
                rows.check(&name, list, address_params(&addresses[1..]));
                rows.check(&name, lab.stats(), before);
            }
        }
    }
    rows.end(48);
}

// covers: RFC 9260 §5.2.2-1, §5.2.2-6, §5.2.2-7, §5.2.2-8, §5.2.2-9, §5.2.2-10, §5.1.3-6, §5.3.1-2
#[test]
fn an_init_of_a_restarted_peer_gets_a_new_tag_and_a_cookie_that_tells_nothing_of_the_old_ones() {
    let mut rows = Rows::of("§5.2.2");
    for at in [At::Established, At::ShutdownPending, At::ShutdownSent, At::ShutdownReceived] {
        for role in [Role::Client, Role::Server] {
            let mut lab = Lab::at(at, role, quiet());
            let before = lab.stats();
            let mut tags = Vec::new();
            for _ in 0..3 {
                lab.deliver(0, &[init(INIT, NEW_TAG, &[])]);
                let sent = lab.take();
                let name = format!("{at:?} as {role:?}");
                rows.check(&name, lab.render_all(&sent), "I:INIT_ACK".to_owned());
                let ack = &sent[0].chunks[0];
                tags.push(word(&ack.value, 0));
                // Other parameters are those of the association.
                let (_, a_rwnd, outbound, inbound, _) = fields(ack);
                rows.check(&name, (a_rwnd, outbound, inbound), (1 << 20, 10, 65535));
                // §1.3: Tie-Tags do not reveal the true tags.
                let cookie = param(&ack.value[16..], 7).expect("a State Cookie");
                let holds = |tag: u32| cookie.windows(4).any(|bytes| bytes == tag.to_be_bytes());
                rows.check(&format!("{name}: our tag"), holds(lab.tag), false);
                rows.check(&format!("{name}: the peer's tag"), holds(PEER_TAG), false);
            }
            tags.sort_unstable();
            tags.dedup();
            rows.check("new tags, all different", (tags.len(), tags.contains(&lab.tag)), (3, false));
            rows.check("the association is not changed", lab.stats(), before);
            // What is under way goes on: the peer that did not restart is still heard.
            lab.deliver(lab.tag, &[chunk(HEARTBEAT, 0, &[0, 1, 0, 4])]);
            let sent = lab.take();
            rows.check("still there", lab.render_all(&sent), "HEARTBEAT_ACK".to_owned());
        }
    }
    rows.end(8 * 15);
}

// covers: RFC 9260 §5.2.2, §5.1.2-6
#[test]
fn an_init_belongs_to_an_association_if_any_of_its_addresses_does() {
    let mut lab = Lab::up(Role::Server, quiet());
    let bytes = packet(PEER_PORT, PORT, 0, &[init(INIT, NEW_TAG, &address_params(&[remote(3), remote(0)]))]);
    lab.deliver_raw(remote(3), local(0), &bytes);
    let sent = lab.take();
    assert_eq!(lab.render_all(&sent), "I:ABORT(11)", "its source is new to the association");
    assert_eq!(sent[0].remote, remote(3));
    // §9.2, the note: another port is another association.
    lab.deliver_raw(remote(0), local(0), &packet(PEER_PORT, PORT + 1, 0, &[init(INIT, NEW_TAG, &[])]));
    let sent = lab.take();
    assert_eq!(lab.render_all(&sent), "I:ABORT()");
    println!("conformance: §5.1.2 whose INIT: 3 rows");
}

// covers: RFC 9260 §5.2.3, §3.3.3-2, §3.3.3-6, §3.3.3-7, §3.3.3-10, §3.3.3-11, §3.3.3-12, §3.3.3-16, §3.3.3-17
// covers: RFC 9260 §3.3.3-20, §3.3.3-21, §3.3.3-25, §5.1-16, §5.1-17, §5.1-18, §3.2.2-2, §3.2.2-3, §5.1.4-1, §5.1.2-2
// covers: RFC 9260 §3.3.10.2-1
#[test]
fn an_init_ack_is_taken_in_cookie_wait_only_and_judged_there() {
    let mut rows = Rows::of("§5.2.3, §3.3.3");
    let cookie: &[u8] = &[0, 7, 0, 8, 1, 2, 3, 4];
    let bad = |a_rwnd: u32, outbound: u16, inbound: u16| {
        let mut value = [PEER_TAG.to_be_bytes(), a_rwnd.to_be_bytes()].concat();
        value.extend_from_slice(&outbound.to_be_bytes());
        value.extend_from_slice(&inbound.to_be_bytes());
        value.extend_from_slice(&PEER_TSN.to_be_bytes());
        value.extend_from_slice(cookie);
        chunk(INIT_ACK, 0, &value)
    };
    let host_name = [cookie, &[0, 11, 0, 8, b'h', b'o', b's', 0]].concat();
    let violation = |cause: u16| format!("> CLOSED ! Closed(ProtocolViolation:{cause})");
    let table = [
        ("good", init(INIT_ACK, PEER_TAG, cookie), "COOKIE_ECHO > COOKIE-ECHOED".to_owned()),
        // §3.3.3: tag 0: the association goes; the ABORT reflects our own tag.
        ("Initiate Tag 0", init(INIT_ACK, 0, cookie), format!("R:ABORT(7)/T {}", violation(7))),
        ("no cookie", init(INIT_ACK, PEER_TAG, &[]), format!("ABORT(2) {}", violation(2))),
        // §3.3.3: an ABORT, and no change of state.
        ("a_rwnd 1499", bad(1499, 10, 10), "ABORT(7)".to_owned()),
        ("a_rwnd 1500", bad(1500, 10, 10), "COOKIE_ECHO > COOKIE-ECHOED".to_owned()),
        ("no outbound streams", bad(9000, 0, 10), format!("ABORT(7) {}", violation(7))),
        ("no inbound streams", bad(9000, 10, 0), format!("ABORT(7) {}", violation(7))),
        // §5.1.2 B.
        ("a host name", init(INIT_ACK, PEER_TAG, &host_name), format!("ABORT(5) {}", violation(5))),
    ];
    for (name, built, expected) in table {
        let mut lab = Lab::at(At::CookieWait, Role::Client, quiet());
        lab.deliver(lab.tag, &[built]);
        rows.check(name, lab.outcome(), expected);
    }
    // What INIT ACK named and was not understood is reported behind COOKIE ECHO, with the right high bits (§3.2.1).
    for (kind, reported) in [(0x3f, false), (0x7f, true), (0xbf, false), (0xff, true)] {
        let mut lab = Lab::at(At::CookieWait, Role::Client, quiet());
        lab.deliver(lab.tag, &[init(INIT_ACK, PEER_TAG, &[cookie, &[kind, 1, 0, 4]].concat())]);
        let expected = if reported { "COOKIE_ECHO+ERROR(8)" } else { "COOKIE_ECHO" };
        rows.check(&format!("{kind:x}"), lab.outcome(), format!("{expected} > COOKIE-ECHOED"));
    }
    rows.end(12);
}
