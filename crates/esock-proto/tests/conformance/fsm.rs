//! Figure 3: every transition of the state diagram, and the timers that §4 speaks of.

use crate::lab::*;
use esock_proto::*;
use std::time::Duration;

/// What makes a transition.
#[derive(Debug, Clone, Copy)]
enum Input {
    /// A primitive of the user: ASSOCIATE, SHUTDOWN, ABORT.
    Associate,
    Shutdown,
    Abort,
    /// A chunk of the peer.
    Receive(u8),
    /// Everything outstanding is acknowledged.
    AllAcked,
}

// covers: RFC 9260 §4, §3.3.8-1, §5.1.4-1, §9.2-16, §9.2-21, §9.2-23, §9.2-29, §9.2-30, §14.2-1, §9.1-7, §9.2-1
#[test]
fn every_transition_of_the_state_diagram() {
    use Input::*;
    let gone = "> CLOSED ! Closed(Shutdown)";
    let complete = "SHUTDOWN_COMPLETE > CLOSED ! Closed(Shutdown)";
    // From, input, and output with the state that it leads to.
    let table = [
        (At::Listening, Receive(INIT), "I:INIT_ACK"),
        (At::Listening, Receive(COOKIE_ECHO), "COOKIE_ACK > ESTABLISHED ! Up"),
        (At::Listening, Associate, "0:INIT > COOKIE-WAIT"),
        (At::CookieWait, Receive(INIT_ACK), "COOKIE_ECHO > COOKIE-ECHOED"),
        (At::CookieEchoed, Receive(COOKIE_ACK), "> ESTABLISHED ! Up"),
        (At::Established, Shutdown, "SHUTDOWN(0) > SHUTDOWN-SENT"),
        (At::Established, Receive(SHUTDOWN), "SHUTDOWN_ACK > SHUTDOWN-ACK-SENT ! ShutdownReceived"),
        (At::ShutdownPending, AllAcked, "SHUTDOWN(0) > SHUTDOWN-SENT"),
        (At::ShutdownPending, Receive(SHUTDOWN), "> SHUTDOWN-RECEIVED"),
        (At::ShutdownSent, Receive(SHUTDOWN_ACK), complete),
        (At::ShutdownSent, Receive(SHUTDOWN), "SHUTDOWN_ACK > SHUTDOWN-ACK-SENT"),
        (At::ShutdownReceived, AllAcked, "SHUTDOWN_ACK > SHUTDOWN-ACK-SENT"),
        (At::ShutdownAckSent, Receive(SHUTDOWN_COMPLETE), gone),
        (At::ShutdownAckSent, Receive(SHUTDOWN_ACK), complete),
        // From any state: ABORT, of the user and of the peer.
        (At::CookieWait, Abort, "> CLOSED ! Closed(LocalAbort)"),
        (At::CookieEchoed, Abort, "ABORT(12) > CLOSED ! Closed(LocalAbort)"),
        (At::Established, Abort, "ABORT(12) > CLOSED ! Closed(LocalAbort)"),
        (At::ShutdownPending, Abort, "ABORT(12) > CLOSED ! Unacked Closed(LocalAbort)"),
        (At::ShutdownSent, Abort, "ABORT(12) > CLOSED ! Closed(LocalAbort)"),
        (At::ShutdownReceived, Abort, "ABORT(12) > CLOSED ! Unacked Closed(LocalAbort)"),
        (At::ShutdownAckSent, Abort, "ABORT(12) > CLOSED ! Closed(LocalAbort)"),
        (At::CookieWait, Receive(ABORT), "> CLOSED ! Closed(Refused)"),
        (At::CookieEchoed, Receive(ABORT), "> CLOSED ! Closed(Refused)"),
        (At::Established, Receive(ABORT), "> CLOSED ! Closed(PeerAbort)"),
        (At::ShutdownPending, Receive(ABORT), "> CLOSED ! Unacked Closed(PeerAbort)"),
        (At::ShutdownSent, Receive(ABORT), "> CLOSED ! Closed(PeerAbort)"),
        (At::ShutdownReceived, Receive(ABORT), "> CLOSED ! Unacked Closed(PeerAbort)"),
        (At::ShutdownAckSent, Receive(ABORT), "> CLOSED ! Closed(PeerAbort)"),
        // SHUTDOWN of the user elsewhere: before ESTABLISHED there is nothing to end gracefully; later it has begun.
        (At::CookieWait, Shutdown, "> CLOSED ! Closed(LocalAbort)"),
        (At::CookieEchoed, Shutdown, "ABORT() > CLOSED ! Closed(LocalAbort)"),
        (At::ShutdownPending, Shutdown, "-"),
        (At::ShutdownSent, Shutdown, "-"),
        (At::ShutdownReceived, Shutdown, "-"),
        (At::ShutdownAckSent, Shutdown, "-"),
    ];
    let mut rows = Rows::of("Figure 3");
    for (from, input, expected) in table {
        for role in [Role::Client, Role::Server] {
            let mut lab = Lab::at(from, role, quiet());
            let closed = expected.contains("CLOSED");
            make(&mut lab, input);
            rows.check(&format!("{from:?}, {input:?} as {role:?}"), lab.outcome(), expected.to_owned());
            if closed {
                // "delete TCB": no timer runs, nothing is left but what the user may still read.
                let left = lab.run(Duration::from_secs(400));
                rows.check(&format!("{from:?}, {input:?}: afterwards"), lab.render_all(&left), String::new());
                rows.check(&format!("{from:?}, {input:?}: timers"), lab.stack.poll_timeout(), None);
            }
        }
    }
    rows.end(100);
}

fn make(lab: &mut Lab, input: Input) {
    let nothing = lab.tsn.wrapping_sub(1);
    match input {
        Input::Associate => {
            let peer = Peer { addresses: vec![remote(0)], port: PEER_PORT, encapsulation: Encapsulation::Default };
            lab.assoc = lab.stack.connect(lab.now, lab.endpoint.expect("open"), &peer, None).ok();
        }
        Input::Shutdown => lab.stack.shutdown(lab.now, lab.id()).expect("there"),
        Input::Abort => lab.stack.abort(lab.now, lab.id(), b"why").expect("there"),
        Input::AllAcked => lab.deliver(lab.tag, &[sack(lab.tsn, PEER_RWND, &[], &[])]),
        Input::Receive(INIT) => lab.deliver(0, &[init(INIT, NEW_TAG, &[])]),
        Input::Receive(COOKIE_ECHO) => {
            lab.deliver(0, &[init(INIT, PEER_TAG, &[])]);
            let ack = lab.take().remove(0).chunks.remove(0);
            lab.learn(&ack);
            lab.deliver(lab.tag, &[chunk(COOKIE_ECHO, 0, &lab.cookie)]);
            assert!(lab.accept(), "it waits for the user");
        }
        Input::Receive(INIT_ACK) => lab.init_ack(),
        Input::Receive(SHUTDOWN) => lab.deliver(lab.tag, &[shutdown(nothing)]),
        Input::Receive(kind) => lab.deliver(lab.tag, &[chunk(kind, 0, &[])]),
    }
}

// covers: RFC 9260 §4-3, §4-4, §4-5, §4-6, §4-7, §4-8, §5.1-8, §5.1-13, §5.1.4-2
#[test]
fn t1_repeats_init_and_cookie_echo_max_init_retransmits_times() {
    let mut rows = Rows::of("§4, T1-init and T1-cookie");
    // RTO.Initial 1 s, doubled up to RTO.Max 60 s: 1, 2, 4, 8, 16, 32, 60, 60 s; after the last, 60 s more.
    let all = [1u64, 3, 7, 15, 31, 63, 123, 183];
    for (at, kind) in [(At::CookieWait, INIT), (At::CookieEchoed, COOKIE_ECHO)] {
        for max in [0usize, 1, 3, 8] {
            let mut lab = Lab::at(at, Role::Client, quiet_with(|config| config.max_init_retransmits = max as u32));
            let start = lab.now;
            let given_up = all.get(max).copied().unwrap_or(243);
            let sent = lab.run(Duration::from_millis(given_up * 1000 - 1));
            let name = format!("{at:?}, {max} retries");
            let times: Vec<u64> = sent.iter().map(|packet| packet.at.since(start).as_secs()).collect();
            rows.check(&name, times, all[..max].to_vec());
            rows.check(&name, sent.iter().all(|packet| packet.chunks.len() == 1 && packet.has(kind)), true);
            rows.check(&name, lab.state(), at.state());
            rows.check(&name, lab.events().len(), 0);
            let sent = lab.run(ms(1));
            rows.check(&name, sent.len(), 0);
            rows.check(&name, lab.state(), Some(State::Closed));
            let told: Vec<String> = lab.events().iter().map(name_of_event).collect();
            rows.check(&name, told, vec!["Closed(TimedOut)".to_owned()]);
        }
    }
    rows.end(56);
}

// covers: RFC 9260 §4
#[test]
fn a_late_answer_still_counts_until_the_last_moment() {
    let mut rows = Rows::of("§4, late answers");
    for at in [At::CookieWait, At::CookieEchoed] {
        for seconds in [0, 2, 100, 242] {
            let mut lab = Lab::at(at, Role::Client, quiet());
            lab.run(Duration::from_secs(seconds));
            match at {
                At::CookieWait => lab.init_ack(),
                _ => lab.deliver(lab.tag, &[chunk(COOKIE_ACK, 0, &[])]),
            }
            let expected = if at == At::CookieWait { State::CookieEchoed } else { State::Established };
            rows.check(&format!("{at:?} after {seconds} s"), lab.state(), Some(expected));
        }
    }
    rows.end(8);
}
