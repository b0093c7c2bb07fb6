//! What the socket API asks of the stack beyond the RFC's primitives: lifetimes, being told when all is acknowledged,
//! the largest chunk, parameters of a path that change while it lives.

mod common;
use common::*;
use esock_proto::*;
use std::time::Duration;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn quiet() -> Config {
    config_with(|config| {
        config.pmtud = false;
        config.heartbeat_interval = None;
    })
}

/// A pair whose wire drops what the first host sends, with one message that was sent in vain: nothing else can leave.
fn stuck() -> (Pair, AssocId, AssocId) {
    let (mut pair, client, server) = Pair::established(1, [quiet(), quiet()]);
    pair.filter = Box::new(|packet| packet.to == 0);
    for _ in 0..8 {
        pair.send(0, client, 0, &[7; 1200]);
    }
    pair.run(ms(10));
    let stats = pair.stats(0, client);
    assert!(stats.queued > 0 && stats.unacked_chunks > 0, "the window is full: {stats:?}");
    (pair, client, server)
}

fn send_for(pair: &mut Pair, assoc: AssocId, lifetime: Duration, context: u64) {
    let options = SendOptions { context, lifetime: Some(lifetime), ..SendOptions::default() };
    pair.hosts[0].stack.send(pair.now, assoc, options, b"soon"[..].into()).expect("room");
}

fn expired(pair: &Pair) -> Vec<u64> {
    let events = pair.hosts[0].events.iter();
    events
        .filter_map(|(_, event)| if let Event::Expired(back) = event { Some(back.options.context) } else { None })
        .collect()
}

#[test]
fn a_message_whose_lifetime_passes_before_it_is_sent_comes_back_and_is_never_sent() {
    // RFC 9260 §11.1.5 e.
    let (mut pair, client, server) = stuck();
    send_for(&mut pair, client, ms(500), 1);
    send_for(&mut pair, client, Duration::from_secs(60), 2);
    send_for(&mut pair, client, ms(600), 3);
    pair.run(ms(700));
    pair.filter = Box::new(|_| true);
    pair.run(Duration::from_secs(5));
    assert_eq!(expired(&pair), [1, 3]);
    let arrived = pair.recv_all(1, server);
    assert_eq!(arrived.len(), 9, "eight and the one that had time");
    assert_eq!(pair.stats(0, client).send_buffered, 0);
}

#[test]
fn a_message_that_leaves_in_time_is_not_given_up_however_late_it_is_acknowledged() {
    let (mut pair, client, server) = Pair::established(1, [quiet(), quiet()]);
    send_for(&mut pair, client, ms(1), 1);
    let mut first = true;
    pair.filter = Box::new(move |packet| !(packet.to == 1 && std::mem::take(&mut first)));
    pair.run(Duration::from_secs(5));
    assert_eq!(expired(&pair), [0; 0]);
    assert_eq!(pair.recv_all(1, server).len(), 1, "it was sent again");
}

#[test]
fn an_association_that_waits_only_for_what_is_given_up_ends() {
    let (mut pair, client, _) = stuck();
    send_for(&mut pair, client, ms(300), 1);
    pair.hosts[0].stack.shutdown(pair.now, client).expect("it is there");
    pair.run(ms(400));
    pair.filter = Box::new(|_| true);
    pair.run(Duration::from_secs(10));
    assert_eq!(expired(&pair), [1]);
    assert_eq!(pair.closed(0), Some(CloseReason::Shutdown));
}

#[test]
fn a_message_with_a_lifetime_is_no_probe_of_a_shut_window() {
    let mut eager = quiet();
    eager.probe_at_once = true;
    let mut small = quiet();
    small.receive_window = 4096;
    let (mut pair, client, _) = Pair::established(1, [eager, small]);
    for _ in 0..20 {
        if pair.stats(0, client).peer_rwnd > 0 {
            pair.send(0, client, 0, &[7; 500]);
            pair.run(ms(300));
        }
    }
    let stats = pair.stats(0, client);
    assert!(stats.peer_rwnd == 0 && stats.in_flight == 0, "the window is shut, and nothing is under way: {stats:?}");
    pair.log.clear();
    send_for(&mut pair, client, ms(500), 1);
    pair.send(0, client, 0, b"next");
    let sent = |pair: &Pair| pair.log.iter().flat_map(|packet| chunk_kinds(&packet.data)).any(|kind| kind == 0);
    pair.run(ms(400));
    assert!(!sent(&pair), "it would be sent for good");
    pair.run(ms(200));
    assert_eq!(expired(&pair), [1]);
    assert!(sent(&pair), "what is next probes at once");
}

#[test]
fn who_asks_is_told_once_when_all_is_acknowledged() {
    let (mut pair, client, _) = Pair::established(1, [quiet(), quiet()]);
    let drained = |pair: &Pair| pair.hosts[0].events.iter().filter(|(_, event)| *event == Event::Drained).count();
    pair.hosts[0].stack.tell_when_drained(pair.now, client).expect("it is there");
    pair.run(ms(1));
    assert_eq!(drained(&pair), 1, "nothing was outstanding");
    pair.send(0, client, 0, b"one");
    pair.run(ms(500));
    assert_eq!(drained(&pair), 1, "nobody asked");
    pair.send(0, client, 0, b"two");
    pair.hosts[0].stack.tell_when_drained(pair.now, client).expect("it is there");
    pair.run(ms(500));
    assert_eq!(drained(&pair), 2);
}

#[test]
fn no_chunk_is_larger_than_was_asked_for() {
    // RFC 6458 §8.1.16.
    let (mut pair, client, server) = Pair::established(1, [quiet(), quiet()]);
    let config = config_with(|config| config.max_segment = 500);
    pair.hosts[0].stack.configure(pair.now, client, &config).expect("it can work");
    pair.log.clear();
    pair.send(0, client, 0, &[1; 1200]);
    pair.run(ms(500));
    let chunks = pair.log.iter().flat_map(|packet| chunk_kinds(&packet.data)).filter(|kind| *kind == 0).count();
    assert_eq!(chunks, 3);
    assert_eq!(pair.recv_all(1, server)[0].payload.len(), 1200);
}

#[test]
fn a_larger_send_buffer_takes_more_at_once() {
    let small = config_with(|config| config.send_buffer = 4096);
    let (mut pair, client, _) = Pair::established(1, [small, quiet()]);
    let send = |pair: &mut Pair| {
        let payload = vec![1; 8000].into();
        pair.hosts[0].stack.send(pair.now, client, SendOptions::default(), payload).map_err(|rejected| rejected.error)
    };
    assert_eq!(send(&mut pair), Err(SendError::TooLarge { len: 8000, limit: 4096 }));
    let config = config_with(|config| config.send_buffer = 1 << 16);
    pair.hosts[0].stack.configure(pair.now, client, &config).expect("it can work");
    assert_eq!(send(&mut pair), Ok(()));
}

#[test]
fn a_path_keeps_the_mtu_that_it_was_given_until_the_search_is_taken_up_again() {
    // RFC 6458 §8.1.12.
    let (mut pair, client, _) = Pair::established(1, [config(), config()]);
    let set = |pair: &mut Pair, change: fn(&mut PathParameters)| {
        let mut parameters = PathParameters::default();
        change(&mut parameters);
        pair.hosts[0].stack.set_path_parameters(pair.now, client, PathId(0), parameters).expect("it is there");
    };
    set(&mut pair, |parameters| parameters.mtu = Some(1300));
    pair.run(Duration::from_secs(700));
    assert_eq!(pair.stats(0, client).paths[0].mtu, 1300);
    set(&mut pair, |parameters| parameters.pmtud = Some(true));
    pair.run(Duration::from_secs(10));
    assert_eq!(pair.stats(0, client).paths[0].mtu, 9000, "this wire carries everything");
}

#[test]
fn the_path_mtu_is_searched_when_there_is_more_than_one_packet_takes_and_not_before() {
    // RFC 8899 §5.1.1: without data that has a use for it no probes are sent.
    let (mut pair, client, _) = Pair::established(2, [config_with(|config| config.pmtud = true), config()]);
    let mtus = |pair: &Pair| pair.stats(0, client).paths.iter().map(|path| path.mtu).collect::<Vec<u16>>();
    let before = mtus(&pair);
    for _ in 0..100 {
        pair.send(0, client, 0, &[7; 1000]);
        pair.run(Duration::from_secs(10));
    }
    assert_eq!(mtus(&pair), before, "messages that fit, one at a time");
    pair.send(0, client, 0, &[7; 5000]);
    pair.run(Duration::from_secs(10));
    // What is cut has to fit every path.
    assert_eq!(mtus(&pair), [9000, 9000]);
}

#[test]
fn who_wants_to_know_the_path_mtu_before_there_is_data_may_ask() {
    let (mut pair, client, _) = Pair::established(1, [config_with(|config| config.pmtud = true), config()]);
    let mut parameters = PathParameters::default();
    parameters.pmtud = Some(true);
    pair.hosts[0].stack.set_path_parameters(pair.now, client, PathId(0), parameters).expect("it is there");
    pair.run(Duration::from_secs(10));
    assert_eq!(pair.stats(0, client).paths[0].mtu, 9000);
}

#[test]
fn chunks_are_counted_as_linux_counts_them() {
    // SCTP_GET_ASSOC_STATS.
    let (mut pair, client, server) = Pair::established(1, [quiet(), quiet()]);
    let mut lost = 0;
    pair.filter = Box::new(move |packet| {
        lost += i32::from(chunk_kinds(&packet.data).contains(&0));
        lost != 2
    });
    for number in 0..6u8 {
        let options = SendOptions { unordered: number % 2 == 0, ..SendOptions::default() };
        pair.hosts[0].stack.send(pair.now, client, options, vec![number; 1000].into()).expect("there is room");
    }
    pair.run(Duration::from_secs(10));
    assert_eq!(pair.recv_all(1, server).len(), 6);
    let (sent, got) = (pair.stats(0, client).counters, pair.stats(1, server).counters);
    assert_eq!((sent.data_chunks_sent, sent.retransmissions, sent.unordered_chunks_sent), (7, 1, 3));
    assert_eq!((got.data_chunks_received, got.unordered_chunks_received, got.duplicates_received), (6, 3, 0));
    assert!(sent.gap_blocks_received > 0 && got.gap_blocks_received == 0);
    // INIT and COOKIE ECHO; INIT ACK and COOKIE ACK.
    assert_eq!((sent.control_chunks_sent, sent.control_chunks_received), (2, 2 + sent.sacks_received));
    assert_eq!((got.control_chunks_sent, got.control_chunks_received), (1 + got.sacks_sent, 0));
}
