//! Fault management (§8.1 to §8.3): error counters, path states, heartbeats.

use crate::lab::*;
use esock_proto::*;
use std::time::Duration;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Errors of the association, and of each path.
fn errors(lab: &Lab) -> (u32, Vec<u32>) {
    let stats = lab.stats();
    (stats.error_count, stats.paths.iter().map(|path| path.error_count).collect())
}

fn states(lab: &Lab) -> Vec<PathState> {
    lab.stats().paths.iter().map(|path| path.state).collect()
}

/// No potentially failed state (RFC 7829), so that the counters of RFC 9260 are all there is.
fn plain() -> Config {
    quiet_with(|config| config.pf_threshold = None)
}

// covers: RFC 9260 §8.1, §8.2
// covers: RFC 9260 §8.1-1, §8.1-3, §8.1-4, §8.1-5, §8.2-1, §8.2-2, §8.2-3
#[test]
fn errors_are_counted_until_an_acknowledgement_and_end_the_association_beyond_the_limit() {
    let mut rows = Rows::of("§8.1, §8.2");
    // T3-rtx expires at 1, 3, 7, 15, 31, 63, 123, 183, 243, 303 and 363 s: the eleventh exceeds ten.
    let mut lab = Lab::warm(plain());
    lab.send(0, b"x");
    let start = lab.now;
    lab.take();
    for (count, at) in (1..).zip([1u64, 3, 7, 15, 31, 63, 123, 183, 243, 303]) {
        lab.run(ms(at * 1000 - 1) - lab.now.since(start));
        rows.check(&format!("before {at} s"), errors(&lab), (count - 1, vec![count - 1]));
        lab.run(ms(2));
        rows.check(&format!("at {at} s"), errors(&lab), (count, vec![count]));
        // Path.Max.Retrans is 5: the sixth exceeds it.
        let state = if count > 5 { PathState::Inactive } else { PathState::Active };
        rows.check(&format!("at {at} s"), states(&lab), vec![state]);
    }
    let told: Vec<String> = lab.events().iter().map(name_of_event).collect();
    rows.check("told", told, vec!["Path0(Inactive)".to_owned()]);
    lab.run(ms(363_000 - 1) - lab.now.since(start));
    rows.check("before the last", lab.state(), Some(State::Established));
    lab.run(ms(1));
    rows.check("the last", lab.state(), Some(State::Closed));
    let told: Vec<String> = lab.events().iter().map(name_of_event).collect();
    rows.check("told", told, vec!["Unacked".to_owned(), "Closed(TimedOut)".to_owned()]);
    rows.end(34);
}

// covers: RFC 9260 §8.1, §8.2, §8.3
// covers: RFC 9260 §8.1-6, §8.2-4, §8.3-11, §8.3-12
#[test]
fn an_answer_clears_the_counters() {
    let mut rows = Rows::of("§8.1, §8.2, answers");
    let failing = || {
        let mut lab = Lab::warm(plain());
        lab.send(0, b"x");
        lab.take();
        lab.run(ms(7500));
        assert_eq!(errors(&lab), (3, vec![3]));
        lab
    };
    // "MUST be reset each time a DATA chunk is acknowledged"; the path's own stays, as it is not known which copy
    // arrived (§8.2 allows that), until something unambiguous comes.
    let mut lab = failing();
    lab.ack(2, &[]);
    rows.check("SACK of what was sent again", errors(&lab), (0, vec![3]));
    lab.send(0, b"x");
    lab.take();
    lab.ack(3, &[]);
    rows.check("SACK of what was sent once", errors(&lab), (0, vec![0]));
    // A SACK of nothing new is no answer.
    let mut lab = failing();
    lab.ack(1, &[]);
    rows.check("SACK of nothing", errors(&lab), (3, vec![3]));
    // HEARTBEAT ACK clears the path's, and the association's too where nothing is outstanding (§8.1 allows that: else
    // a peer that acknowledges nothing would be kept for ever).
    let mut lab = failing();
    lab.stack.request_heartbeat(lab.now, lab.id(), PathId(0)).expect("a path");
    let sent = lab.take();
    lab.answer_heartbeats(&sent);
    rows.check("HEARTBEAT ACK, data outstanding", errors(&lab), (3, vec![0]));
    let mut lab = Lab::warm(plain());
    for count in 1..3 {
        lab.stack.request_heartbeat(lab.now, lab.id(), PathId(0)).expect("a path");
        lab.run(secs(5));
        rows.check("HEARTBEAT, no answer", errors(&lab), (count, vec![count]));
    }
    lab.stack.request_heartbeat(lab.now, lab.id(), PathId(0)).expect("a path");
    let sent = lab.take();
    lab.answer_heartbeats(&sent);
    rows.check("HEARTBEAT ACK, nothing outstanding", errors(&lab), (0, vec![0]));
    // Once: the same answer again is none.
    let mut lab = failing();
    lab.stack.request_heartbeat(lab.now, lab.id(), PathId(0)).expect("a path");
    let sent = lab.take();
    lab.answer_heartbeats(&sent);
    lab.run(secs(20));
    let before = errors(&lab);
    lab.answer_heartbeats(&sent);
    rows.check("HEARTBEAT ACK, again", errors(&lab), before);
    // Other packets of the peer clear nothing.
    let mut lab = failing();
    lab.deliver(lab.tag, &[data(2, b"x"), chunk(HEARTBEAT, 0, &[0, 1, 0, 4])]);
    rows.check("DATA and HEARTBEAT", errors(&lab), (3, vec![3]));
    rows.end(9);
}

// covers: RFC 9260 §5.4-R3, §8.3-3
#[test]
fn a_heartbeat_ack_must_bring_back_what_was_sent() {
    let mut rows = Rows::of("§8.3, §5.4, HEARTBEAT ACK");
    type Change = fn(&mut Vec<u8>);
    let table: [(&str, Change, bool); 7] = [
        ("as it was", |_| {}, true),
        ("another nonce", |value| value[15] ^= 1, false),
        ("the first byte of the nonce", |value| value[8] ^= 0x80, false),
        ("another path", |value| value[5] = 1, false),
        ("cut", |value| value.truncate(8), false),
        ("empty", |value| value.clear(), false),
        ("another parameter type", |value| value[1] = 2, false),
    ];
    for (name, change, taken) in table {
        let mut lab = Lab::with_paths(plain(), 2);
        lab.establish(Role::Client);
        let before = lab.stats().counters.heartbeat_acks;
        lab.stack.request_heartbeat(lab.now, lab.id(), PathId(0)).expect("a path");
        let sent = lab.take();
        let mut value = sent[0].chunks[0].value.clone();
        rows.check(name, value.len(), 16);
        change(&mut value);
        lab.deliver(lab.tag, &[chunk(HEARTBEAT_ACK, 0, &value)]);
        rows.check(name, lab.stats().counters.heartbeat_acks - before, u64::from(taken));
        // §8.3: unanswered within an RTO, it is an error.
        lab.run(ms(1100));
        rows.check(name, errors(&lab).1[0], u32::from(!taken));
    }
    rows.end(21);
}

// covers: RFC 9260 §8.3-10, §3.3.6-1, §3.3.6-2, §6.4-2
#[test]
fn a_heartbeat_comes_back_unchanged_to_where_it_came_from() {
    let mut rows = Rows::of("§8.3, HEARTBEAT");
    let long: Vec<u8> = [&[0, 1, 5, 4][..], &[9; 1280]].concat();
    let values: [&[u8]; 6] = [
        &[0, 1, 0, 9, 1, 2, 3, 4, 5],
        &[0, 1, 0, 4],
        // "together with any other received TLVs": whatever it is.
        &[0, 1, 0, 8, 1, 2, 3, 4, 0x80, 9, 0, 6, 1, 2],
        &[1, 2, 3],
        &[],
        &long,
    ];
    for value in values {
        for path in 0..2 {
            let mut lab = Lab::with_paths(plain(), 2);
            lab.establish(Role::Client);
            lab.deliver_from(remote(path), lab.tag, &[chunk(HEARTBEAT, 0, value)]);
            let sent = lab.take();
            let name = format!("{} bytes over path {path}", value.len());
            rows.check(&name, lab.render_all(&sent), "HEARTBEAT_ACK".to_owned());
            rows.check(&name, (sent[0].chunks[0].value.clone(), sent[0].remote), (value.to_vec(), remote(path)));
        }
    }
    // From an address that is none of the peer's: nothing.
    let mut lab = Lab::up(Role::Client, plain());
    lab.deliver_from(remote(3), lab.tag, &[chunk(HEARTBEAT, 0, &[0, 1, 0, 4])]);
    rows.check("from elsewhere", lab.line(), String::new());
    rows.end(25);
}

// covers: RFC 9260 §8.3
// covers: RFC 9260 §8.3-1, §8.3-15
#[test]
fn idle_paths_are_asked_every_interval_and_rto_and_half_an_rto_more_or_less() {
    let mut rows = Rows::of("§8.3, the interval");
    for interval in [1u64, 5, 30] {
        let mut lab = Lab::up(Role::Client, quiet_with(|config| config.heartbeat_interval = Some(secs(interval))));
        let start = lab.now;
        let mut times = Vec::new();
        while times.len() < 12 {
            for packet in lab.run(ms(100)) {
                rows.check("a HEARTBEAT alone", lab.render(&packet), "HEARTBEAT".to_owned());
                times.push(packet.at.since(start).as_millis() as u64);
                lab.answer_heartbeats(&[packet]);
            }
        }
        let mut gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        // RTO is 1 s: interval + 1 s, give or take 0.5 s; answered up to 100 ms late, which changes nothing.
        let (least, most) = (interval * 1000 + 500, interval * 1000 + 1500);
        rows.check(&format!("every {interval} s: {gaps:?}"), gaps.iter().all(|gap| (least..=most).contains(gap)), true);
        gaps.dedup();
        rows.check("jitter", gaps.len() > 5, true);
    }
    // Off.
    let mut lab = Lab::up(Role::Client, quiet());
    rows.check("off", lab.run(secs(1000)).len(), 0);
    rows.end(40);
}

// covers: RFC 9260 §8.1-2, §8.2-5, §8.3-3, §8.3-4, §8.3-5, §8.3-6, §8.3-7, §8.2-1, §8.3-11
#[test]
fn heartbeats_that_are_not_answered_make_a_path_inactive_and_its_counter_stops() {
    let mut rows = Rows::of("§8.3, no answer");
    // Two paths: the first answers, the second does not; data goes over the first.
    let config = quiet_with(|config| {
        config.heartbeat_interval = Some(secs(5));
        config.pf_threshold = None;
    });
    let mut lab = Lab::with_paths(config, 2);
    lab.establish(Role::Client);
    lab.events();
    let mut asked = 0;
    let mut last = Vec::new();
    for _ in 0..6000 {
        let sent = lab.run(ms(100));
        let (good, bad): (Vec<Sent>, Vec<Sent>) = sent.into_iter().partition(|packet| packet.remote == remote(0));
        lab.answer_heartbeats(&good);
        asked += bad.len() as u32;
        let now = errors(&lab);
        // §8.1: a path that carries no data says nothing of the association.
        assert_eq!((now.0, now.1[0]), (0, 0));
        if last != now.1 {
            last = now.1;
            // It becomes inactive with the sixth error, and stays there: "SHOULD stop increasing".
            let state = if last[1] > 5 { PathState::Inactive } else { PathState::Active };
            rows.check(&format!("{} errors", last[1]), states(&lab), vec![PathState::Active, state]);
        }
    }
    rows.check("the counter stops", last[1], 6);
    rows.check("HEARTBEATs go on", asked > 10, true);
    let told: Vec<String> = lab.events().iter().map(name_of_event).collect();
    rows.check("told once", told, vec!["Path1(Inactive)".to_owned()]);
    // It answers: active again, and told.
    let mut back = false;
    for _ in 0..1500 {
        let sent = lab.run(ms(100));
        lab.answer_heartbeats(&sent);
        back |= states(&lab)[1] == PathState::Active;
    }
    rows.check("back", (back, errors(&lab)), (true, (0, vec![0, 0])));
    let told: Vec<String> = lab.events().iter().map(name_of_event).collect();
    rows.check("told", told, vec!["Path1(Active)".to_owned()]);
    rows.end(11);
}

// covers: RFC 9260 §8.1-1, §8.1-3, §8.3-3
#[test]
fn heartbeats_on_the_path_in_use_count_for_the_association() {
    let mut rows = Rows::of("§8.1, HEARTBEATs");
    // HB.interval 1 s, RTO 1 s and doubling; nobody answers. Ten are allowed.
    let config = quiet_with(|config| {
        config.heartbeat_interval = Some(secs(1));
        config.pf_threshold = None;
        config.path_max_retrans = None;
    });
    let mut lab = Lab::up(Role::Client, config);
    let mut last = 0;
    let mut beats = 0;
    while lab.state() == Some(State::Established) {
        beats += lab.run(ms(100)).iter().filter(|packet| packet.has(HEARTBEAT)).count();
        let now = errors(&lab).0;
        if lab.state() == Some(State::Established) && now != last {
            rows.check("one by one", (now, errors(&lab).1), (last + 1, vec![now]));
            last = now;
        }
    }
    rows.check("ten are allowed", (last, beats), (10, 11));
    let told: Vec<String> = lab.events().iter().map(name_of_event).collect();
    rows.check("told", told.last().cloned(), Some("Closed(TimedOut)".to_owned()));
    rows.end(12);
}

// covers: RFC 9260 §8.1, §5.4-R1, §5.4-R2, §5.4-R4, §5.4-2, §3.3.5-3
#[test]
fn addresses_that_are_not_confirmed_carry_nothing_but_heartbeats_and_say_nothing_of_the_association() {
    let mut rows = Rows::of("§5.4");
    // Rule 2: the peer's INIT names a second address; INIT ACK went to the first, which is confirmed.
    let mut lab = Lab::with_paths(plain(), 2);
    lab.listen();
    lab.deliver(0, &[init(INIT, PEER_TAG, &address_params(&[remote(0), remote(1)]))]);
    let ack = lab.take().remove(0).chunks.remove(0);
    lab.learn(&ack);
    lab.deliver(lab.tag, &[chunk(COOKIE_ECHO, 0, &lab.cookie)]);
    assert!(lab.accept());
    rows.check("rule 2", states(&lab), vec![PathState::Active, PathState::Unconfirmed]);
    // Rule 1: those that the user gave are confirmed.
    let mut client = Lab::with_paths(plain(), 2);
    client.connect();
    client.init_ack();
    rows.check("rule 1", states(&client), vec![PathState::Active, PathState::Active]);
    // Probes to the other address, no data, whatever the user asks for; its errors are its own.
    (0..4).for_each(|_| lab.send(0, &[1; 1000]));
    let mut nonces = Vec::new();
    for _ in 0..300 {
        for packet in lab.run(ms(100)) {
            if packet.remote == remote(1) {
                rows.check("to the unconfirmed one", lab.render(&packet), "HEARTBEAT".to_owned());
                nonces.push(packet.chunks[0].value[8..16].to_vec());
            }
        }
        let outstanding = lab.tsn.wrapping_add(3);
        lab.deliver(lab.tag, &[sack(outstanding, PEER_RWND, &[], &[])]);
    }
    let count = nonces.len();
    nonces.dedup();
    rows.check("a new nonce each time", nonces.len(), count);
    rows.check("errors", (errors(&lab).0, errors(&lab).1[1] > 3), (0, true));
    rows.end(8);
}
