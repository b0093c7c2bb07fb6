//! Shutdown and its collisions (§9.2), abort (§9.1).

use crate::lab::*;
use esock_proto::*;
use std::time::Duration;

/// Milliseconds after `start` at which packets with this chunk were sent.
fn times(sent: &[Sent], start: Time, kind: u8) -> Vec<u128> {
    sent.iter().filter(|packet| packet.has(kind)).map(|packet| packet.at.since(start).as_millis()).collect()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

// covers: RFC 9260 §9.2-25, §9.2-11, §4-12, §6-1, §5-1
#[test]
fn a_send_request_is_refused_once_a_shutdown_has_begun() {
    let mut rows = Rows::of("§9.2, send requests");
    for at in At::ALL {
        let Some(state) = at.state() else { continue };
        let mut lab = Lab::at(at, Role::Client, quiet());
        let sent = lab.stack.send(lab.now, lab.id(), SendOptions::default(), b"x"[..].into()).map_err(|no| no.error);
        let taken = matches!(state, State::CookieWait | State::CookieEchoed | State::Established);
        rows.check(&format!("{at:?}"), sent, if taken { Ok(()) } else { Err(SendError::ShuttingDown) });
        // §6: only in ESTABLISHED does it leave (behind COOKIE ECHO it could, in COOKIE-WAIT it must not).
        let out = lab.take();
        let expected = if state == State::Established { "DATA(1)" } else { "" };
        rows.check(&format!("{at:?}"), lab.render_all(&out), expected.to_owned());
    }
    rows.end(14);
}

// covers: RFC 9260 §9.2-24, §6-1, §9.2-1
#[test]
fn shutdown_waits_until_everything_is_acknowledged() {
    let mut rows = Rows::of("§9.2, outstanding data");
    let mut lab = Lab::warm(quiet());
    let first = lab.tsn.wrapping_add(1);
    lab.send(0, &[1; 100]);
    lab.send(0, &[2; 100]);
    let sent = lab.take();
    rows.check("two messages leave", lab.render_all(&sent), "DATA(2)+DATA(3)".to_owned());
    lab.shutdown();
    rows.check("nothing yet", lab.outcome(), "> SHUTDOWN-PENDING".to_owned());
    lab.deliver(lab.tag, &[sack(first, PEER_RWND, &[], &[])]);
    rows.check("half of it", lab.outcome(), "-".to_owned());
    // T3-rtx, restarted by the SACK: 1 s. Data is repeated in SHUTDOWN-PENDING.
    let again = lab.run(ms(500));
    rows.check("T3-rtx", lab.render_all(&again), "DATA(3)".to_owned());
    lab.deliver(lab.tag, &[sack(first.wrapping_add(1), PEER_RWND, &[], &[])]);
    let got = lab.outcome();
    rows.check("all of it", got, "SHUTDOWN(1) > SHUTDOWN-SENT ! Path0(PotentiallyFailed)".to_owned());
    rows.end(5);
}

// covers: RFC 9260 §9.2
// covers: RFC 9260 §9.2-8, §9.2-9, §9.2-10, §9.2-16, §6-4
#[test]
fn the_receiver_of_shutdown_sends_what_it_has_and_answers_when_all_is_acknowledged() {
    let mut rows = Rows::of("§9.2, SHUTDOWN-RECEIVED");
    let mut lab = Lab::warm(quiet());
    // More than the window takes at once: some is sent, some waits.
    for _ in 0..8 {
        lab.send(0, &[1; 1300]);
    }
    let mut seen = lab.take().len() as u32;
    let mut acked = lab.tsn;
    lab.deliver(lab.tag, &[shutdown(acked)]);
    rows.check("data is outstanding", lab.outcome_now(), "> SHUTDOWN-RECEIVED ! ShutdownReceived".to_owned());
    // §9.2: its user's SHUTDOWN is ignored now.
    lab.stack.shutdown(lab.now, lab.id()).expect("there");
    rows.check("SHUTDOWN of the user", lab.outcome_now(), "-".to_owned());
    // SHUTDOWN with a newer cumulative TSN acknowledges, and new data leaves.
    acked = acked.wrapping_add(seen);
    lab.deliver(lab.tag, &[shutdown(acked)]);
    let more = lab.take();
    rows.check("what waited leaves", more.iter().all(|packet| packet.has(DATA)) && !more.is_empty(), true);
    rows.check("still there", lab.state(), Some(State::ShutdownReceived));
    seen += more.len() as u32;
    while seen < 8 {
        acked = lab.tsn.wrapping_add(seen);
        lab.deliver(lab.tag, &[sack(acked, PEER_RWND, &[], &[])]);
        seen += lab.take().len() as u32;
    }
    lab.deliver(lab.tag, &[sack(lab.tsn.wrapping_add(8), PEER_RWND, &[], &[])]);
    rows.check("all acknowledged", lab.outcome_now(), "SHUTDOWN_ACK > SHUTDOWN-ACK-SENT".to_owned());
    // DATA in this state is discarded (§6): not even acknowledged.
    lab.deliver(lab.tag, &[data(2, b"late")]);
    rows.check("DATA", lab.outcome(), "-".to_owned());
    rows.end(6);
}

// covers: RFC 9260 §9.2-12, §9.2-13, §6.2-16, §6.2-19
#[test]
fn data_in_shutdown_sent_is_taken_and_answered_with_shutdown_at_once() {
    let mut rows = Rows::of("§9.2, DATA in SHUTDOWN-SENT");
    let mut lab = Lab::warm(quiet());
    lab.shutdown();
    rows.check("SHUTDOWN", lab.outcome(), "SHUTDOWN(1) > SHUTDOWN-SENT".to_owned());
    // One packet, not the second: answered at once nevertheless, with the new cumulative TSN.
    lab.deliver(lab.tag, &[data(2, b"x")]);
    let sent = lab.take();
    rows.check("in order", lab.render_all(&sent), "SHUTDOWN(2)+SACK(2)".to_owned());
    // A gap cannot be told in a SHUTDOWN: with SACK.
    lab.deliver(lab.tag, &[data(4, b"x")]);
    let sent = lab.take();
    rows.check("a gap", lab.render_all(&sent), "SHUTDOWN(2)+SACK(2,2-2)".to_owned());
    lab.deliver(lab.tag, &[data(4, b"x")]);
    let sent = lab.take();
    rows.check("a duplicate", lab.render_all(&sent), "SHUTDOWN(2)+SACK(2,2-2,d4)".to_owned());
    lab.deliver(lab.tag, &[data(3, b"x"), data(5, b"x")]);
    let sent = lab.take();
    rows.check("two chunks, one answer", lab.render_all(&sent), "SHUTDOWN(5)+SACK(5)".to_owned());
    // All were delivered.
    let got: Vec<_> = std::iter::from_fn(|| lab.recv()).collect();
    rows.check("delivered", got.len(), 4);
    rows.end(6);
}

// covers: RFC 9260 §9.2-7, §9.2-3, §9.2-1
#[test]
fn every_packet_of_the_peer_restarts_t2_and_clears_the_count_in_shutdown_sent() {
    let mut rows = Rows::of("§9.2, T2 is restarted");
    let quick = || quiet_with(|config| config.assoc_max_retrans = 2);
    for (name, built) in
        [("DATA", data(2, b"x")), ("HEARTBEAT", chunk(HEARTBEAT, 0, &[0, 1, 0, 4])), ("SACK", sack(0, 9, &[], &[]))]
    {
        let mut lab = Lab::warm(quick());
        lab.shutdown();
        let start = lab.now;
        lab.take();
        // T2 is 1 s, then 2 s: SHUTDOWN at 0, 1 and 3 s, two errors counted.
        let sent = lab.run(ms(3100));
        rows.check(name, times(&sent, start, SHUTDOWN), vec![1000, 3000]);
        rows.check(name, lab.stats().error_count, 2);
        // 3.1 s: a packet. T2 begins anew with 4 s, and two more errors are allowed.
        let built = if name == "SACK" { sack(lab.tsn, PEER_RWND, &[], &[]) } else { built };
        lab.deliver(lab.tag, &[built]);
        let after = lab.now;
        lab.take();
        rows.check(name, lab.stats().error_count, 0);
        let sent = lab.run(secs(30));
        rows.check(name, times(&sent, after, SHUTDOWN), vec![4000, 12_000]);
        rows.check(name, lab.state(), Some(State::Closed));
    }
    rows.end(15);
}

// covers: RFC 9260 §6.3.3, §9.2-1, §9.2-3, §9.2-4, §9.2-5, §9.2-6, §9.2-17, §9.2-18, §9.2-19, §9.2-20, §9.2-2
#[test]
fn t2_repeats_shutdown_and_shutdown_ack_until_association_max_retrans_is_exceeded() {
    let mut rows = Rows::of("§9.2, T2-shutdown");
    // RTO is 1 s and doubles: expirations at 1, 3, 7, 15 s. With three retries allowed, the fourth ends it.
    for (at, kind) in [(At::ShutdownSent, SHUTDOWN), (At::ShutdownAckSent, SHUTDOWN_ACK)] {
        for role in [Role::Client, Role::Server] {
            let mut lab = Lab::at(at, role, quiet_with(|config| config.assoc_max_retrans = 3));
            let start = lab.now;
            let sent = lab.run(secs(14));
            let name = format!("{at:?} as {role:?}");
            rows.check(&name, times(&sent, start, kind), vec![1000, 3000, 7000]);
            rows.check(&name, lab.state(), at.state());
            let sent = lab.run(secs(2));
            rows.check(&name, times(&sent, start, kind), vec![]);
            rows.check(&name, lab.state(), Some(State::Closed));
            let told: Vec<String> = lab.events().iter().map(name_of_event).collect();
            rows.check(&name, told.last().cloned(), Some("Closed(TimedOut)".to_owned()));
            rows.check(&name, lab.stack.poll_timeout(), None);
        }
    }
    rows.end(24);
}

// covers: RFC 9260 §9.2
// covers: RFC 9260 §9.2-14, §9.2-15
#[test]
fn t5_shutdown_guard_ends_a_shutdown_that_takes_longer_than_five_times_rto_max() {
    // The peer goes on sending DATA, so that T2 never gives up: 5 * 60 s after SHUTDOWN it is aborted.
    let mut lab = Lab::warm(quiet());
    lab.shutdown();
    let start = lab.now;
    lab.take();
    for number in 2..=300 {
        lab.run(secs(1));
        assert_eq!(lab.state(), Some(State::ShutdownSent), "second {number}");
        lab.deliver(lab.tag, &[data(number, b"x")]);
        assert!(lab.take().iter().all(|packet| packet.has(SHUTDOWN)));
        lab.recv();
    }
    let sent = lab.run(secs(1));
    assert_eq!(lab.render_all(&sent), "ABORT()");
    assert_eq!(sent[0].at.since(start), secs(300));
    assert_eq!(lab.state(), Some(State::Closed));
    println!("conformance: §9.2 T5-shutdown-guard: 299 rows");
}

// covers: RFC 9260 §9.2-23, §9.2-29, §9.2-30
#[test]
fn collisions_end_in_one_exchange() {
    let mut rows = Rows::of("§9.2, collisions");
    // Both send SHUTDOWN; then either end may be the one whose SHUTDOWN ACK arrives first.
    for last in [SHUTDOWN_ACK, SHUTDOWN_COMPLETE] {
        let mut lab = Lab::at(At::ShutdownSent, Role::Client, quiet());
        lab.deliver(lab.tag, &[shutdown(lab.tsn.wrapping_sub(1))]);
        rows.check("SHUTDOWN", lab.outcome(), "SHUTDOWN_ACK > SHUTDOWN-ACK-SENT".to_owned());
        lab.deliver(lab.tag, &[chunk(last, 0, &[])]);
        let expected = if last == SHUTDOWN_ACK {
            "SHUTDOWN_COMPLETE > CLOSED ! Closed(Shutdown)"
        } else {
            "> CLOSED ! Closed(Shutdown)"
        };
        rows.check(&name_of_chunk(last), lab.outcome(), expected.to_owned());
    }
    // SHUTDOWN overtaken by DATA that the peer sent before: both are in one packet, in order.
    let mut lab = Lab::warm(quiet());
    lab.shutdown();
    lab.take();
    lab.settle_state();
    lab.deliver(lab.tag, &[shutdown(lab.tsn), data(2, b"behind it")]);
    rows.check("DATA behind SHUTDOWN", lab.outcome(), "SHUTDOWN_ACK > SHUTDOWN-ACK-SENT".to_owned());
    // T2 restarts with SHUTDOWN ACK: 1 s from there.
    let mut lab = Lab::at(At::ShutdownSent, Role::Client, quiet());
    lab.run(ms(900));
    lab.deliver(lab.tag, &[shutdown(lab.tsn.wrapping_sub(1))]);
    let start = lab.now;
    let sent = lab.run(ms(1900));
    rows.check("T2", times(&sent, start, SHUTDOWN_ACK), vec![0, 1000]);
    rows.check("T2", times(&sent, start, SHUTDOWN), vec![]);
    rows.end(7);
}

// covers: RFC 9260 §9.2
// covers: RFC 9260 §9.2-27
#[test]
fn a_shutdown_ack_of_the_past_is_answered_while_setting_up_and_t1_goes_on() {
    let mut rows = Rows::of("§9.2, SHUTDOWN ACK while setting up");
    for (at, repeated) in [(At::CookieWait, "0:INIT"), (At::CookieEchoed, "COOKIE_ECHO")] {
        for tag in [WRONG_TAG, 0x1234_5678] {
            let mut lab = Lab::at(at, Role::Client, quiet());
            lab.run(ms(400));
            lab.deliver(tag, &[chunk(SHUTDOWN_ACK, 0, &[])]);
            let sent = lab.take();
            let name = format!("{at:?}");
            rows.check(&name, lab.render_all(&sent), "R:SHUTDOWN_COMPLETE/T".to_owned());
            rows.check(&name, lab.state(), at.state());
            let sent = lab.run(ms(599));
            rows.check(&name, lab.render_all(&sent), String::new());
            let sent = lab.run(ms(1));
            rows.check(&name, lab.render_all(&sent), repeated.to_owned());
        }
    }
    rows.end(16);
}

// covers: RFC 9260 §9.2-26, §8.5.1-C5
#[test]
fn an_init_in_shutdown_ack_sent_brings_that_chunk_again_and_no_more() {
    let mut rows = Rows::of("§9.2, INIT in SHUTDOWN-ACK-SENT");
    for role in [Role::Client, Role::Server] {
        let mut lab = Lab::at(At::ShutdownAckSent, role, quiet());
        for tag in [PEER_TAG, NEW_TAG] {
            lab.deliver(0, &[init(INIT, tag, &[])]);
            let sent = lab.take();
            rows.check(&format!("{role:?}"), lab.render_all(&sent), "SHUTDOWN_ACK".to_owned());
        }
        // The peer has forgotten everything: it answers as out of the blue, with our tag for it and T set.
        lab.deliver(PEER_TAG, &[chunk(SHUTDOWN_COMPLETE, 1, &[])]);
        rows.check(&format!("{role:?}"), lab.outcome(), "> CLOSED ! Closed(Shutdown)".to_owned());
        // Its next INIT is a new beginning.
        lab.listen();
        lab.deliver(0, &[init(INIT, NEW_TAG, &[])]);
        let sent = lab.take();
        rows.check(&format!("{role:?}"), lab.render_all(&sent), "I:INIT_ACK".to_owned());
    }
    rows.end(8);
}

// covers: RFC 9260 §8.3
#[test]
fn heartbeats_end_with_shutdown_and_shutdown_ack() {
    let mut rows = Rows::of("§8.3, heartbeats end");
    let beating = || quiet_with(|config| config.heartbeat_interval = Some(ms(100)));
    for (at, beats) in [
        (At::Established, true),
        (At::ShutdownPending, true),
        (At::ShutdownSent, false),
        (At::ShutdownReceived, true),
        (At::ShutdownAckSent, false),
    ] {
        let mut lab = Lab::at(at, Role::Client, beating());
        // HB.interval + RTO + half an RTO: 1.6 s at most. Data in flight is watched by T3-rtx instead (§8.3: not idle).
        let outstanding = matches!(at, At::ShutdownPending | At::ShutdownReceived);
        let sent = lab.run(secs(2));
        let beat = sent.iter().any(|packet| packet.has(HEARTBEAT));
        rows.check(&format!("{at:?}"), beat, beats && !outstanding);
    }
    rows.end(5);
}

// covers: RFC 9260 §9.1-1, §9.1-3, §9.1-4, §3.3.10.12-1, §14.2-1, §9.1-2
#[test]
fn an_abort_of_the_user_carries_the_reason_alone_and_gives_everything_back() {
    let mut lab = Lab::warm(quiet());
    lab.send(0, &[1; 100]);
    lab.take();
    for _ in 0..10 {
        lab.send(0, &[2; 1300]);
    }
    lab.stack.abort(lab.now, lab.id(), b"enough").expect("there");
    let sent = lab.take();
    assert_eq!(lab.render_all(&sent), "ABORT(12)", "§9.1: no DATA with it");
    assert_eq!(param(&sent[0].chunks[0].value, 12), Some(b"enough".to_vec()));
    let told: Vec<String> = lab.events().iter().map(name_of_event).collect();
    let mut expected = vec!["Unacked".to_owned()];
    expected.extend(std::iter::repeat_n("Unsent".to_owned(), 10));
    expected.push("Closed(LocalAbort)".to_owned());
    assert_eq!(told, expected);
    // Nothing answers for it any more but §8.4.
    lab.deliver(lab.tag, &[data(2, b"x")]);
    let sent = lab.take();
    assert_eq!(lab.render_all(&sent), "R:ABORT()/T");
    println!("conformance: §9.1 ABORT of the user: 4 rows");
}

// covers: RFC 9260 §9.1-5, §9.1-7, §9.1-8, §9.1-9, §3.3.7-4
#[test]
fn an_abort_of_the_peer_is_never_answered_and_its_reason_is_told() {
    let mut rows = Rows::of("§9.1, ABORT of the peer");
    let reason = [0, 12, 0, 10, b'e', b'n', b'o', b'u', b'g', b'h', 0, 0];
    for at in At::ALL {
        if at.state().is_none() {
            continue;
        }
        let mut lab = Lab::at(at, Role::Client, quiet());
        // A HEARTBEAT before it would be answered; not in this packet.
        lab.deliver(lab.tag, &[chunk(HEARTBEAT, 0, &[0, 1, 0, 4]), chunk(ABORT, 0, &reason), data(1, b"x")]);
        let sent = lab.run(secs(10));
        rows.check(&format!("{at:?}"), lab.render_all(&sent), String::new());
        let closed = lab.events().pop();
        let forming = matches!(at, At::CookieWait | At::CookieEchoed);
        let info = b"enough"[..].into();
        let expected = if forming {
            CloseReason::Refused { cause: Some(12), info }
        } else {
            CloseReason::PeerAbort { cause: Some(12), info }
        };
        rows.check(&format!("{at:?}"), closed, Some(Event::Closed(expected)));
        rows.check(&format!("{at:?}"), lab.stack.poll_timeout(), None);
    }
    rows.end(21);
}
