//! The life of an association between two stacks.

mod common;
use common::*;
use esock_proto::*;
use std::time::Duration;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn two_stacks_connect_exchange_messages_and_shut_down() {
    let (mut pair, client, server) = Pair::established(1, [config(), config()]);
    let big: Vec<u8> = (0..100_000u32).map(|at| at as u8).collect();
    pair.send(0, client, 0, b"hello");
    pair.send(0, client, 3, &big);
    pair.send(1, server, 1, b"world");
    pair.run(secs(5));
    let at_server = pair.recv_all(1, server);
    assert_eq!(at_server.len(), 2);
    assert_eq!(at_server[0].payload, &b"hello"[..]);
    assert_eq!(at_server[0].ppid, Ppid(46));
    assert_eq!(at_server[1].payload, big);
    assert_eq!(pair.recv_all(0, client)[0].payload, &b"world"[..]);
    pair.hosts[0].stack.shutdown(pair.now, client).unwrap();
    pair.run(secs(5));
    assert_eq!(pair.closed(0), Some(CloseReason::Shutdown));
    assert_eq!(pair.closed(1), Some(CloseReason::Shutdown));
    for host in [0, 1] {
        let id = [client, server][host];
        let stats = pair.stats(host, id);
        assert_eq!((stats.send_buffered, stats.receive_buffered, stats.in_flight), (0, 0, 0));
        pair.hosts[host].stack.release(pair.now, id);
        assert_eq!(pair.hosts[host].stack.stats().associations, 0);
        assert_eq!(pair.hosts[host].stack.poll_timeout(), None);
    }
}

#[test]
fn every_tenth_packet_lost_loses_no_message() {
    let (mut pair, client, server) = Pair::established(1, [config(), config()]);
    let mut count = 0;
    pair.filter = Box::new(move |_| {
        count += 1;
        count % 10 != 0
    });
    let mut received = [Vec::new(), Vec::new()];
    let mut sent = [0u32, 0];
    for _ in 0..3000 {
        for (host, assoc) in [(0, client), (1, server)] {
            while sent[host] < 300 {
                let payload = vec![sent[host] as u8; 1 + (sent[host] as usize * 37) % 5000];
                let options = SendOptions { stream: StreamId((sent[host] % 5) as u16), ..SendOptions::default() };
                let now = pair.now;
                if pair.hosts[host].stack.send(now, assoc, options, payload.into()).is_err() {
                    break;
                }
                sent[host] += 1;
            }
            received[host].extend(pair.recv_all(host, assoc));
        }
        pair.run(Duration::from_millis(50));
    }
    for (host, assoc) in [(0, client), (1, server)] {
        received[host].extend(pair.recv_all(host, assoc));
        assert_eq!(received[host].len(), 300, "host {host}: {:#?}", pair.stats(1 - host, [client, server][1 - host]));
        let stats = pair.stats(host, assoc);
        assert_eq!((stats.send_buffered, stats.receive_buffered), (0, 0));
    }
}

// covers: RFC 9260 §6.4.1-1, §8.2-2, §8.2-5
#[test]
fn failover_to_the_second_path_loses_nothing_and_the_first_comes_back() {
    let fast = || {
        config_with(|config| {
            config.rto_initial = Duration::from_millis(100);
            config.rto_min = Duration::from_millis(50);
            config.rto_max = Duration::from_millis(500);
            config.heartbeat_interval = Some(Duration::from_millis(200));
            config.path_max_retrans = Some(2);
        })
    };
    let (mut pair, client, server) = Pair::established(2, [fast(), fast()]);
    pair.run(secs(1));
    let stats = pair.stats(0, client);
    assert_eq!(stats.paths.len(), 2);
    assert!(stats.paths.iter().all(|path| path.state == PathState::Active), "{stats:#?}");
    let dead = address(1, 0);
    pair.filter = Box::new(move |packet| packet.local != dead && packet.remote != dead);
    for at in 0..100u8 {
        pair.send(0, client, 0, &[at; 500]);
        pair.run(Duration::from_millis(20));
    }
    pair.run(secs(2));
    let stats = pair.stats(0, client);
    assert_eq!(stats.paths[0].state, PathState::Inactive);
    let got: Vec<u8> = pair.recv_all(1, server).iter().map(|message| message.payload[0]).collect();
    assert_eq!(got, (0..100).collect::<Vec<u8>>());
    pair.filter = Box::new(|_| true);
    pair.run(secs(3));
    let before = pair.stats(0, client);
    assert_eq!(before.paths[0].state, PathState::Active);
    pair.send(0, client, 0, b"back");
    pair.run(secs(1));
    let after = pair.stats(0, client);
    assert!(after.paths[0].data_packets_sent > before.paths[0].data_packets_sent);
    assert_eq!(pair.recv_all(1, server).len(), 1);
}

#[test]
fn what_leaves_from_one_address_does_not_change_to_each_that_the_peer_tries() {
    let beating = config_with(|config| config.heartbeat_interval = Some(Duration::from_millis(200)));
    let (mut pair, client, server) = Pair::established(2, [config(), beating]);
    pair.run(secs(1));
    let (first, second) = (address(0, 0), address(0, 1));
    // The server's packet of this kind, to the other of the client's addresses: then from where do data leave?
    let source_after = |pair: &mut Pair, kind: u8| {
        let is_it = |packet: &&Packet| packet.local == first && packet.data[12] == kind;
        let mut packet = pair.log.iter().rev().find(is_it).expect("the server has sent one").clone();
        packet.local = second;
        pair.log.clear();
        pair.deliver(&packet);
        pair.run(Duration::from_micros(1));
        let answers: Vec<_> = pair.log.iter().filter(|packet| packet.data[12] == 5).collect();
        assert_eq!(answers.len(), usize::from(kind == 4));
        assert!(answers.iter().all(|packet| packet.remote == second), "it is answered from where it went");
        pair.log.clear();
        let text = b"from where?";
        pair.send(0, client, 0, text);
        pair.run(secs(1));
        let has_text = |packet: &&Packet| packet.data.windows(text.len()).any(|part| part == text);
        pair.log.iter().find(has_text).expect("data were sent").remote
    };
    assert_eq!(source_after(&mut pair, 4), first, "after a HEARTBEAT");
    pair.send(1, server, 0, b"data");
    pair.run(secs(1));
    assert_eq!(source_after(&mut pair, 0), second, "after DATA");
}

#[test]
fn a_refused_peer_hears_why_and_leaves_nothing_behind() {
    let mut pair = Pair::new(1, [config(), config()]);
    pair.hosts[1].accept = false;
    pair.connect();
    pair.run(secs(1));
    let Some(CloseReason::Refused { cause: Some(12), info }) = pair.closed(0) else { panic!("{:?}", pair.closed(0)) };
    assert_eq!(info, &b"not you"[..]);
    assert_eq!(pair.hosts[1].stack.stats().associations, 0);
}

// covers: RFC 9260 §4-4, §4-5
#[test]
fn nobody_there_times_out_and_a_port_without_endpoint_refuses() {
    let mut pair = Pair::new(1, [config(), config()]);
    pair.hosts[1].stack.set_accepting(pair.hosts[1].endpoint, false);
    pair.connect();
    pair.run(secs(600));
    assert_eq!(pair.closed(0), Some(CloseReason::TimedOut));
    assert_eq!(pair.log.len(), 9, "INIT and 8 repetitions");
    let mut pair = Pair::new(1, [config(), config()]);
    let endpoint = pair.hosts[1].endpoint;
    pair.hosts[1].stack.close(pair.now, endpoint);
    pair.connect();
    pair.run(secs(1));
    assert!(matches!(pair.closed(0), Some(CloseReason::Refused { .. })));
}

#[test]
fn a_slow_reader_closes_the_window_and_opens_it_again() {
    let small = config_with(|config| config.receive_window = 20_000);
    let (mut pair, client, server) = Pair::established(1, [config(), small]);
    for at in 0..100u8 {
        pair.send(0, client, 0, &vec![at; 1000]);
    }
    pair.run(secs(300));
    let stats = pair.stats(1, server);
    assert!(stats.receive_buffered <= 20_000 + 2_500, "{stats:#?}");
    assert_eq!(pair.hosts[0].stack.state(client), Some(State::Established), "a closed window is no failure");
    assert_eq!(pair.stats(0, client).paths[0].state, PathState::Active);
    let mut got = Vec::new();
    for _ in 0..50 {
        got.extend(pair.recv_all(1, server).iter().map(|message| message.payload[0]));
        pair.run(Duration::from_millis(200));
    }
    assert_eq!(got, (0..100).collect::<Vec<u8>>());
}

// covers: RFC 9260 §1.3-1
#[test]
fn simultaneous_connects_become_one_association() {
    let mut pair = Pair::new(1, [config(), config()]);
    pair.hosts[0].stack.set_accepting(pair.hosts[0].endpoint, true);
    let one = pair.connect();
    let peer = Peer { addresses: vec![address(0, 0)], port: 5000, encapsulation: Encapsulation::Default };
    let endpoint = pair.hosts[1].endpoint;
    let other = pair.hosts[1].stack.connect(pair.now, endpoint, &peer, None).unwrap();
    pair.run(secs(5));
    assert_eq!(pair.hosts[0].stack.state(one), Some(State::Established));
    assert_eq!(pair.hosts[1].stack.state(other), Some(State::Established));
    assert!(pair.hosts.iter().all(|host| host.stack.stats().associations == 1));
    pair.send(0, one, 0, b"to");
    pair.send(1, other, 0, b"fro");
    pair.run(secs(1));
    assert_eq!(pair.recv_all(1, other).len(), 1);
    assert_eq!(pair.recv_all(0, one).len(), 1);
}

#[test]
fn a_restarted_peer_gets_its_association_and_what_was_under_way_comes_back() {
    let (mut pair, client, server) = Pair::established(1, [config(), config()]);
    pair.filter = Box::new(|packet| packet.to == 1);
    pair.send(1, server, 0, b"never acknowledged");
    pair.run(secs(2));
    let mut fresh = Pair::new(1, [config(), config()]);
    std::mem::swap(&mut pair.hosts[0], &mut fresh.hosts[0]);
    // The same seed would repeat the tags of the old life.
    pair.hosts[0].stack = Stack::new(StackConfig::default(), [77; 32], pair.now);
    pair.hosts[0].endpoint = pair.hosts[0]
        .stack
        .open(EndpointConfig { port: 5000, addresses: vec![address(0, 0)], host_addresses: vec![], config: config() })
        .unwrap();
    pair.wire.clear();
    pair.filter = Box::new(|_| true);
    let again = pair.connect();
    pair.run(secs(2));
    assert_eq!(pair.hosts[0].stack.state(again), Some(State::Established));
    let events = &pair.hosts[1].events;
    assert!(events.iter().any(|(id, event)| *id == server && matches!(event, Event::Restarted(_))));
    assert!(events.iter().any(|(_, event)| matches!(event, Event::Undelivered(back) if back.maybe_received && back.payload == b"never acknowledged"[..])));
    pair.send(1, server, 0, b"new life");
    pair.run(secs(1));
    assert_eq!(pair.recv_all(0, again)[0].payload, &b"new life"[..]);
    let _ = client;
}

#[test]
fn an_abort_carries_the_reason_and_gives_unacknowledged_messages_back() {
    let (mut pair, client, server) = Pair::established(1, [config(), config()]);
    pair.filter = Box::new(|packet| packet.to == 0 || chunk_kinds(&packet.data) == [6]);
    pair.send(0, client, 2, b"lost");
    pair.run(Duration::from_millis(500));
    pair.hosts[0].stack.abort(pair.now, client, b"enough").unwrap();
    pair.run(Duration::from_millis(500));
    assert_eq!(pair.closed(0), Some(CloseReason::LocalAbort));
    let Some(CloseReason::PeerAbort { cause: Some(12), info }) = pair.closed(1) else { panic!("{:?}", pair.closed(1)) };
    assert_eq!(info, &b"enough"[..]);
    let back = pair.hosts[0].events.iter().any(|(_, event)| matches!(event, Event::Undelivered(_)));
    assert!(back);
    assert!(pair.hosts[1].stack.recv(pair.now, server).is_none());
}

// covers: RFC 9260 §5.1.1-3, §5.1.1-4, §6.5-1
#[test]
fn messages_for_streams_that_the_peer_does_not_allow_come_back() {
    let few = config_with(|config| config.inbound_streams = 3);
    let mut pair = Pair::new(1, [config(), few]);
    let client = pair.connect();
    pair.send(0, client, 2, b"allowed");
    pair.send(0, client, 3, b"one too many");
    pair.run(secs(1));
    let server = pair.hosts[1].accepted[0];
    assert_eq!(pair.stats(0, client).negotiated.outbound_streams, 3);
    assert_eq!(pair.recv_all(1, server).len(), 1);
    let back = pair.hosts[0].events.iter().filter_map(|(_, event)| match event {
        Event::Undelivered(back) => Some((back.maybe_received, back.payload.clone())),
        _ => None,
    });
    assert_eq!(back.collect::<Vec<_>>(), [(false, b"one too many"[..].into())]);
    assert_eq!(pair.stats(0, client).send_buffered, 0);
}

#[test]
fn a_long_sleep_is_no_path_failure() {
    let (mut pair, client, server) = Pair::established(2, [config(), config()]);
    pair.run(secs(10));
    pair.send(0, client, 0, b"sent right before the lid was closed");
    // The whole host sleeps for an hour: nothing is delivered, no timer runs.
    pair.filter = Box::new(|_| false);
    pair.run(Duration::from_millis(1));
    pair.filter = Box::new(|_| true);
    pair.now = pair.now + secs(3600);
    pair.hosts[0].stack.handle_timeout(pair.now);
    let stats = pair.stats(0, client);
    assert_eq!(stats.error_count, 0);
    assert!(stats.paths.iter().all(|path| path.state == PathState::Active), "{stats:#?}");
    pair.run(secs(5));
    assert_eq!(pair.recv_all(1, server).len(), 1);
}

#[test]
fn a_connect_that_is_given_up_at_any_moment_does_not_stand_in_the_way_of_the_next() {
    for given in 0..60 {
        let mut pair = Pair::new(1, [config(), config()]);
        let first = pair.connect();
        pair.run(Duration::from_micros(given * 500));
        let _ = pair.hosts[0].stack.shutdown(pair.now, first);
        let closed = pair.hosts[0].stack.state(first) == Some(State::Closed);
        if closed {
            pair.hosts[0].stack.release(pair.now, first);
            let again = pair.connect();
            pair.run(secs(30));
            assert_eq!(pair.hosts[0].stack.state(again), Some(State::Established), "given up after {given} half ms");
        }
    }
}

#[test]
fn a_peer_that_was_refused_and_did_not_hear_it_is_refused_again_without_asking() {
    let mut pair = Pair::new(1, [config(), config()]);
    pair.hosts[1].accept = false;
    let mut lost = 0;
    pair.filter = Box::new(move |packet| {
        let drop = packet.to == 0 && chunk_kinds(&packet.data) == [6] && lost == 0;
        lost += usize::from(drop);
        !drop
    });
    pair.connect();
    pair.run(Duration::from_millis(100));
    pair.hosts[1].accept = true;
    pair.run(secs(5));
    assert!(matches!(pair.closed(0), Some(CloseReason::Refused { .. })), "{:?}", pair.closed(0));
    assert!(pair.hosts[1].accepted.is_empty());
}
