//! COOKIE ECHO: without an association (§5.1.5), with one (§5.2.4), and too late (§5.2.6).

use crate::lab::*;
use esock_proto::*;
use std::time::Duration;

/// The Initiate Tag of a third INIT.
const THIRD_TAG: u32 = 0x0707_0707;

/// The peer's INIT with this tag. Returns what the INIT ACK says: the stack's tag and the cookie.
fn cookie_for(lab: &mut Lab, peer_tag: u32) -> (u32, Vec<u8>) {
    lab.deliver(0, &[init(INIT, peer_tag, &[])]);
    let sent = lab.take();
    let ack = &sent[0].chunks[0];
    assert_eq!((sent.len(), ack.kind, sent[0].tag), (1, INIT_ACK, peer_tag), "an INIT ACK");
    (word(&ack.value, 0), param(&ack.value[16..], 7).expect("a State Cookie"))
}

fn echo(lab: &mut Lab, (tag, cookie): &(u32, Vec<u8>)) {
    lab.deliver(*tag, &[chunk(COOKIE_ECHO, 0, cookie)]);
}

/// ESTABLISHED with the peer's `PEER_TAG`, and from there to `at`.
fn go_on(lab: &mut Lab, at: At) {
    let nothing = lab.tsn.wrapping_sub(1);
    match at {
        At::ShutdownPending => {
            lab.send(1, b"outstanding");
            lab.shutdown();
        }
        At::ShutdownSent => lab.shutdown(),
        At::ShutdownReceived => {
            lab.send(1, b"outstanding");
            lab.deliver(lab.tag, &[shutdown(nothing)]);
        }
        At::ShutdownAckSent => lab.deliver(lab.tag, &[shutdown(nothing)]),
        _ => {}
    }
    lab.take();
    lab.events();
    lab.settle_state();
    assert_eq!(lab.state(), at.state(), "the way there");
}

// covers: RFC 9260 §5.2.4-A1, §5.2.4-A3, §5.3.1-3, §1.3-1, §8.5-1
#[test]
fn action_a_restarts_the_association_unless_it_is_in_shutdown_ack_sent() {
    // Local Tag X, Peer's Tag X, Tie-Tags M M. What was outstanding comes back; who had asked for the end still
    // gets it; in SHUTDOWN-ACK-SENT the old association has to end first, with the tags of old.
    let table = [
        (At::Established, "I:COOKIE_ACK ! Restarted Writable"),
        (At::ShutdownPending, "I:COOKIE_ACK+SHUTDOWN(0) > SHUTDOWN-SENT ! Unacked Restarted Writable"),
        (At::ShutdownSent, "I:COOKIE_ACK+SHUTDOWN(0) ! Restarted Writable"),
        (At::ShutdownReceived, "I:COOKIE_ACK > ESTABLISHED ! Unacked Restarted Writable"),
        (At::ShutdownAckSent, "SHUTDOWN_ACK+ERROR(10)"),
    ];
    let mut rows = Rows::of("§5.2.4 action A");
    for (at, expected) in table {
        for role in [Role::Client, Role::Server] {
            let mut lab = Lab::up(role, quiet());
            let cookie = cookie_for(&mut lab, NEW_TAG);
            assert_ne!(cookie.0, lab.tag, "§5.2.2: a new Initiate Tag");
            go_on(&mut lab, at);
            echo(&mut lab, &cookie);
            rows.check(&format!("§5.2.4 A in {at:?} as {role:?}"), lab.outcome(), expected.to_owned());
            // The tag that the stack answers to now.
            let (new, old) = if at == At::ShutdownAckSent { (lab.tag, cookie.0) } else { (cookie.0, lab.tag) };
            lab.deliver(old, &[chunk(HEARTBEAT, 0, &[0, 1, 0, 4])]);
            let got = lab.take();
            rows.check(&format!("§5.2.4 A in {at:?}: the other tag"), lab.render_all(&got), String::new());
            lab.deliver(new, &[chunk(HEARTBEAT, 0, &[0, 1, 0, 4])]);
            let answered = if at == At::ShutdownAckSent { "HEARTBEAT_ACK" } else { "I:HEARTBEAT_ACK" };
            let got = lab.take();
            rows.check(&format!("§5.2.4 A in {at:?}: its tag"), lab.render_all(&got), answered.to_owned());
        }
    }
    rows.end(30);
}

// covers: RFC 9260 §7.2, §5.2.4-A2, §6.5-3
#[test]
fn a_restart_resets_congestion_control_streams_and_errors() {
    let mut lab = Lab::warm(quiet());
    // T3-rtx expires twice: cwnd, RTO and the error counters show it.
    lab.send(0, &[1; 100]);
    lab.run(Duration::from_millis(3500));
    let before = lab.stats();
    assert_eq!((before.error_count, before.paths[0].rto), (2, Duration::from_secs(4)));
    assert!(before.paths[0].cwnd < 4404, "{}", before.paths[0].cwnd);
    let cookie = cookie_for(&mut lab, NEW_TAG);
    echo(&mut lab, &cookie);
    lab.take();
    let after = lab.stats();
    // §7.2.1: min(4 * 1360, max(2 * 1360, 4404)); §6.3.1 C1.
    assert_eq!((after.paths[0].cwnd, after.paths[0].rto), (4404, Duration::from_secs(1)));
    assert_eq!((after.error_count, after.paths[0].error_count, after.in_flight), (0, 0, 0));
    // Streams begin anew in both directions.
    lab.deliver(cookie.0, &[data(1, b"again the first")]);
    assert_eq!(lab.recv().expect("§5.2.4 A: SSN 0 is next").payload, &b"again the first"[..]);
    lab.send(0, b"x");
    let sent = lab.take();
    let chunk = sent.iter().flat_map(|packet| &packet.chunks).find(|chunk| chunk.kind == DATA).expect("DATA");
    assert_eq!(half(&chunk.value, 6), 0, "SSN");
    println!("conformance: §5.2.4 A resets: 9 rows");
}

// covers: RFC 9260 §5.2.4
// covers: RFC 9260 §5.2.4-B1, §5.2.4-B2
#[test]
fn action_b_takes_the_peers_new_tag() {
    let mut rows = Rows::of("§5.2.4 action B");
    let mut row = |name: &str, lab: &mut Lab, cookie: &(u32, Vec<u8>), expected: &str, tag: &str| {
        echo(lab, cookie);
        rows.check(name, lab.outcome(), expected.to_owned());
        // T1 is stopped, and the peer hears its tag.
        lab.deliver(lab.tag, &[chunk(HEARTBEAT, 0, &[0, 1, 0, 4])]);
        let got = lab.run(Duration::from_secs(5));
        rows.check(&format!("{name}: afterwards"), lab.render_all(&got), tag.to_owned());
    };
    // M 0 0 0: COOKIE-WAIT, the peer's tag is not known.
    let mut lab = Lab::at(At::CookieWait, Role::Client, quiet());
    let cookie = cookie_for(&mut lab, NEW_TAG);
    row("M 0 0 0", &mut lab, &cookie, "I:COOKIE_ACK > ESTABLISHED ! Up", "I:HEARTBEAT_ACK");
    // M X 0 0: the cookie was made in COOKIE-WAIT.
    let mut lab = Lab::at(At::CookieWait, Role::Client, quiet());
    let cookie = cookie_for(&mut lab, NEW_TAG);
    lab.init_ack();
    lab.take();
    lab.settle_state();
    row("M X 0 0 in COOKIE-ECHOED", &mut lab, &cookie, "I:COOKIE_ACK > ESTABLISHED ! Up", "I:HEARTBEAT_ACK");
    // M X M M: it was made in COOKIE-ECHOED.
    let mut lab = Lab::at(At::CookieEchoed, Role::Client, quiet());
    let cookie = cookie_for(&mut lab, NEW_TAG);
    row("M X M M in COOKIE-ECHOED", &mut lab, &cookie, "I:COOKIE_ACK > ESTABLISHED ! Up", "I:HEARTBEAT_ACK");
    // The same, and COOKIE ACK came before it: it stays in ESTABLISHED.
    for made_in in [At::CookieWait, At::CookieEchoed] {
        let mut lab = Lab::at(At::CookieWait, Role::Client, quiet());
        let early = (made_in == At::CookieWait).then(|| cookie_for(&mut lab, NEW_TAG));
        lab.init_ack();
        lab.take();
        let cookie = early.unwrap_or_else(|| cookie_for(&mut lab, NEW_TAG));
        lab.deliver(lab.tag, &[chunk(COOKIE_ACK, 0, &[])]);
        lab.take();
        lab.events();
        lab.settle_state();
        row("M X in ESTABLISHED", &mut lab, &cookie, "I:COOKIE_ACK", "I:HEARTBEAT_ACK");
    }
    // Once both ends have exchanged data the peer does have the tag that it uses: the cookie is older than that.
    let mut lab = Lab::at(At::CookieWait, Role::Client, quiet());
    let cookie = cookie_for(&mut lab, NEW_TAG);
    lab.init_ack();
    lab.take();
    lab.deliver(lab.tag, &[chunk(COOKIE_ACK, 0, &[]), data(1, b"x")]);
    lab.take();
    lab.events();
    lab.settle_state();
    row("M X in ESTABLISHED, in use", &mut lab, &cookie, "-", "HEARTBEAT_ACK");
    rows.end(12);
}

// covers: RFC 9260 §5.2.4
// covers: RFC 9260 §5.2.4-4, §5.2.4-C1, §5.2.4-C2, §5.2.4-C3
#[test]
fn action_c_and_what_is_not_in_the_table_are_discarded() {
    let mut rows = Rows::of("§5.2.4 action C and others");
    // A cookie that the stack made while it listened, then it connected itself: its own tag is another.
    for (name, cookie_tag, at) in [
        ("X 0 0 0: not in the table", PEER_TAG, At::CookieWait),
        ("X M 0 0: C", PEER_TAG, At::CookieEchoed),
        ("X M 0 0: C", PEER_TAG, At::Established),
        ("X X 0 0: not in the table", NEW_TAG, At::CookieEchoed),
        ("X X 0 0: not in the table", NEW_TAG, At::Established),
    ] {
        let mut lab = Lab::at(At::Listening, Role::Client, quiet());
        let cookie = cookie_for(&mut lab, cookie_tag);
        lab.connect();
        if at != At::CookieWait {
            lab.init_ack();
            lab.take();
        }
        if at == At::Established {
            lab.deliver(lab.tag, &[chunk(COOKIE_ACK, 0, &[])]);
            lab.take();
        }
        lab.events();
        lab.settle_state();
        assert_eq!(lab.state(), at.state());
        echo(&mut lab, &cookie);
        rows.check(&format!("{name} in {at:?}"), lab.outcome(), "-".to_owned());
        // Timers are left running: T1 is 1 s.
        let got = lab.run(ms(500));
        let expected = match at {
            At::CookieWait => "0:INIT",
            At::CookieEchoed => "COOKIE_ECHO",
            _ => "",
        };
        rows.check(&format!("{name} in {at:?}: T1"), lab.render_all(&got), expected.to_owned());
        rows.check(&format!("{name}: associations"), lab.stack.stats().associations, 1);
    }
    // X M M M: the peer's INIT with the tag that it has, while ESTABLISHED; not in the table.
    for at in At::UP {
        let mut lab = Lab::up(Role::Server, quiet());
        let cookie = cookie_for(&mut lab, PEER_TAG);
        go_on(&mut lab, at);
        echo(&mut lab, &cookie);
        rows.check(&format!("X M M M in {at:?}"), lab.outcome(), "-".to_owned());
    }
    // Tie-Tags X: two INITs, and the association restarted with the cookie of the other one.
    for (name, second) in [("X X X X", THIRD_TAG), ("X M X X", NEW_TAG)] {
        let mut lab = Lab::up(Role::Server, quiet());
        let first = cookie_for(&mut lab, NEW_TAG);
        let second = cookie_for(&mut lab, second);
        echo(&mut lab, &first);
        lab.outcome();
        echo(&mut lab, &second);
        rows.check(&format!("{name}: restarted meanwhile"), lab.outcome(), "-".to_owned());
    }
    rows.end(22);
}

// covers: RFC 9260 §5.2.4
// covers: RFC 9260 §5.2.4-3, §5.2.4-D1, §5.2.4-D2
#[test]
fn action_d_answers_again_and_a_matching_cookie_never_becomes_stale() {
    let mut rows = Rows::of("§5.2.4 action D");
    for at in At::UP {
        for late in [false, true] {
            let mut lab = Lab::up(Role::Server, quiet_with(|config| config.assoc_max_retrans = 1000));
            let cookie = (lab.tag, lab.cookie.clone());
            if late {
                // Past Valid.Cookie.Life: step 4 says it is valid nevertheless.
                lab.run(Duration::from_secs(61));
            }
            go_on(&mut lab, at);
            echo(&mut lab, &cookie);
            rows.check(&format!("M M 0 0 in {at:?}, late: {late}"), lab.outcome(), "COOKIE_ACK".to_owned());
        }
    }
    // The peer's INIT has the tag of its INIT ACK; made in COOKIE-WAIT without, in COOKIE-ECHOED with Tie-Tags.
    for made_in in [At::CookieWait, At::CookieEchoed] {
        let mut lab = Lab::at(At::CookieWait, Role::Client, quiet());
        let early = (made_in == At::CookieWait).then(|| cookie_for(&mut lab, PEER_TAG));
        lab.init_ack();
        lab.take();
        let cookie = early.unwrap_or_else(|| cookie_for(&mut lab, PEER_TAG));
        lab.settle_state();
        echo(&mut lab, &cookie);
        let name = format!("M M in COOKIE-ECHOED, made in {made_in:?}");
        rows.check(&name, lab.outcome(), "COOKIE_ACK > ESTABLISHED ! Up".to_owned());
        // T1-cookie is stopped.
        let got = lab.run(Duration::from_secs(5));
        rows.check(&format!("{name}: T1"), lab.render_all(&got), String::new());
    }
    rows.end(14);
}

// covers: RFC 9260 §5.1-6, §5.1-9, §5.1.5-2, §5.1.5-3, §5.1-3, §5.1-5, §5.1-19, §5.1.3-1
#[test]
fn a_cookie_without_an_association_is_taken_if_it_is_ours_fresh_and_for_these_ports_and_tag() {
    let mut rows = Rows::of("§5.1.5");
    let listening = || {
        let mut lab = Lab::at(At::Listening, Role::Server, quiet());
        let cookie = cookie_for(&mut lab, PEER_TAG);
        assert_eq!(lab.stack.stats().associations, 0, "§5.1 B: INIT leaves no state");
        lab.tag = cookie.0;
        (lab, cookie)
    };
    // Steps 5 to 7, with DATA behind the cookie: COOKIE ACK comes first, and the SACK at once.
    let (mut lab, cookie) = listening();
    lab.deliver(cookie.0, &[chunk(COOKIE_ECHO, 0, &cookie.1), data(1, b"x")]);
    assert!(lab.accept());
    rows.check("a good one", lab.outcome(), "COOKIE_ACK+SACK(1) > ESTABLISHED ! Up Readable".to_owned());
    // What must be discarded silently, with all that comes along.
    let mut refused = |name: &str, source: u16, tag: u32, cookie: &[u8], from: Address| {
        let (mut lab, _) = listening();
        let bytes = packet(source, PORT, tag, &[chunk(COOKIE_ECHO, 0, cookie), data(1, b"x")]);
        lab.deliver_raw(from, local(0), &bytes);
        assert!(!lab.accept(), "{name}");
        rows.check(name, (lab.outcome(), lab.stack.stats().associations), ("-".to_owned(), 0));
    };
    for at in [0, 1, 60, cookie.1.len() - 33, cookie.1.len() - 32, cookie.1.len() - 1] {
        let mut altered = cookie.1.clone();
        altered[at] ^= 1;
        refused(&format!("step 2: byte {at} altered"), PEER_PORT, cookie.0, &altered, remote(0));
    }
    refused("step 2: cut", PEER_PORT, cookie.0, &cookie.1[..cookie.1.len() - 1], remote(0));
    refused("step 2: empty", PEER_PORT, cookie.0, &[], remote(0));
    refused("step 3: another port", PEER_PORT + 1, cookie.0, &cookie.1, remote(0));
    refused("step 3: another tag", PEER_PORT, WRONG_TAG, &cookie.1, remote(0));
    refused("from an address that the INIT did not name", PEER_PORT, cookie.0, &cookie.1, remote(9));
    rows.end(12);
}

// covers: RFC 9260 §3.3.10.3, §5.1.5-4, §5.1.5-5, §5.2.4-1, §5.2.4-2
#[test]
fn a_stale_cookie_is_reported_with_the_microseconds_by_which_it_is_stale() {
    let mut rows = Rows::of("§5.1.5 step 4, §5.2.4 step 3");
    // Life in ms, preservative in ms, age in ms, measure in µs (none: taken). "Longer than the lifespan" is stale.
    let table = [
        (60_000, 0, 60_000, None),
        (60_000, 0, 60_001, Some(1_000)),
        (60_000, 0, 63_250, Some(3_250_000)),
        (50, 0, 51, Some(1_000)),
        // §3.3.2.1.3: an extension was asked for.
        (60_000, 5_000, 65_000, None),
        (60_000, 5_000, 65_002, Some(2_000)),
        // Not without a limit of ours: 60 s.
        (60_000, 600_000, 120_000, None),
        (60_000, 600_000, 121_000, Some(1_000_000)),
    ];
    for (life, preservative, age, measure) in table {
        for exists in [false, true] {
            let mut lab = Lab::at(At::Listening, Role::Server, quiet_with(|config| config.cookie_life = ms(life)));
            if exists {
                lab.establish(Role::Server);
                lab.outcome();
            }
            let params: Vec<u8> = [&[0, 9, 0, 8][..], &u32::to_be_bytes(preservative)].concat();
            lab.deliver(0, &[init(INIT, NEW_TAG, if preservative > 0 { &params } else { &[] })]);
            let ack = lab.take().remove(0).chunks.remove(0);
            let cookie = (word(&ack.value, 0), param(&ack.value[16..], 7).expect("a State Cookie"));
            lab.run(ms(age));
            lab.deliver(cookie.0, &[chunk(COOKIE_ECHO, 0, &cookie.1), data(1, b"x")]);
            let accepted = lab.accept();
            let sent = lab.take();
            let name = format!("life {life}, extended by {preservative}, age {age}, association: {exists}");
            match measure {
                None => {
                    rows.check(&name, lab.render_all(&sent), "I:COOKIE_ACK+SACK(1)".to_owned());
                    rows.check(&name, accepted, !exists);
                }
                Some(measure) => {
                    rows.check(&name, lab.render_all(&sent), "I:ERROR(3)".to_owned());
                    rows.check(&name, sent[0].chunks[0].value.clone(), stale_cause(measure));
                    rows.check(&name, accepted, false);
                    // The old association goes on.
                    rows.check(&name, lab.state(), exists.then_some(State::Established));
                }
            }
        }
    }
    rows.end(50);
}

fn stale_cause(measure: u32) -> Vec<u8> {
    [&[0, 3, 0, 8][..], &measure.to_be_bytes()].concat()
}

// covers: RFC 9260 §5.2.6
// covers: RFC 9260 §5.2.6-3, §5.2.6-4
#[test]
fn a_client_whose_cookie_was_stale_asks_for_the_round_trip_and_one_second_more() {
    let mut rows = Rows::of("§5.2.6");
    for round_trip in [0, 1, 250, 900] {
        let mut lab = Lab::at(At::CookieEchoed, Role::Client, quiet());
        lab.run(ms(round_trip));
        lab.deliver(lab.tag, &[chunk(ERROR, 0, &stale_cause(77_000_000))]);
        let sent = lab.take();
        let name = format!("round trip {round_trip} ms");
        rows.check(&name, lab.render_all(&sent), "0:INIT".to_owned());
        rows.check(&name, lab.state(), Some(State::CookieWait));
        let asked = param(&sent[0].chunks[0].value[16..], 9).map(|value| word(&value, 0));
        rows.check(&name, asked, Some(round_trip as u32 + 1000));
        // The same attempt: tag and TSN are kept, and the new cookie brings it up.
        rows.check(&name, (word(&sent[0].chunks[0].value, 0), word(&sent[0].chunks[0].value, 12)), (lab.tag, lab.tsn));
        lab.init_ack();
        let sent = lab.take();
        rows.check(&name, lab.render_all(&sent), "COOKIE_ECHO".to_owned());
    }
    // The first INIT asks for nothing.
    let mut lab = Lab::new(quiet());
    let peer = Peer { addresses: vec![remote(0)], port: PEER_PORT, encapsulation: Encapsulation::Default };
    lab.stack.connect(lab.now, lab.endpoint.expect("open"), &peer, None).expect("a peer");
    let sent = lab.take();
    rows.check("the first INIT", param(&sent[0].chunks[0].value[16..], 9), None);
    rows.end(21);
}
