//! Messages that are larger than the receive window: handed over in pieces (RFC 9260 §6.9, RFC 6458 §8.1.21).

mod common;

use common::{Pair, config_with};
use esock_proto::*;
use std::time::Duration;

const WINDOW: u32 = 16 << 10;

fn sender() -> Config {
    config_with(|config| (config.pmtud, config.heartbeat_interval, config.send_buffer) = (false, None, 16 << 20))
}

fn reader() -> Config {
    config_with(|config| {
        (config.receive_window, config.partial_delivery, config.max_message) = (WINDOW, true, 5000);
        (config.pmtud, config.heartbeat_interval) = (false, None);
    })
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

/// Reads what there is and lets time pass, until `enough` of the messages and pieces that came.
fn read_until(pair: &mut Pair, server: AssocId, enough: impl Fn(&[Message]) -> bool) -> Vec<Message> {
    let mut all = Vec::new();
    for _ in 0..200_000 {
        all.extend(pair.recv_all(1, server));
        if enough(&all) {
            return all;
        }
        pair.run(Duration::from_millis(2));
    }
    panic!("it stands still: {:?}", pair.stats(1, server));
}

fn ends(messages: &[Message]) -> usize {
    messages.iter().filter(|message| message.part.is_end()).count()
}

// covers: RFC 9260 §6.9-16
#[test]
fn a_message_larger_than_the_window_arrives_in_pieces_as_they_are_read() {
    let (mut pair, client, server) = Pair::established(1, [sender(), reader()]);
    let sent = payload(1_000_000);
    pair.send(0, client, 3, &sent);
    let pieces = read_until(&mut pair, server, |all| ends(all) == 1);
    let last = pieces.len() - 1;
    assert!(pieces.len() > 20 && pieces[..last].iter().all(|piece| piece.part == Part::More));
    assert_eq!(pieces[last].part, Part::Last);
    let same = |piece: &Message| (piece.stream, piece.ppid, piece.ssn) == (StreamId(3), Ppid(46), Ssn(0));
    assert!(pieces.iter().all(same));
    assert!(pieces.windows(2).all(|two| two[1].tsn.follows(two[0].tsn)), "each has the TSN of its first fragment");
    let mut joined = Pieces::default();
    let whole: Vec<Message> = pieces.into_iter().filter_map(|piece| joined.join(piece)).collect();
    assert!(whole.len() == 1 && whole[0].payload[..] == sent[..] && joined.is_empty());
    let stats = pair.stats(1, server);
    assert_eq!((stats.receive_buffered, stats.ready_messages, stats.counters.messages_received), (0, 0, 1));
    pair.send(0, client, 3, b"and on");
    assert_eq!(read_until(&mut pair, server, |all| ends(all) == 1)[0].part, Part::Whole);
}

#[test]
fn what_is_unread_of_it_is_bounded_by_the_window_and_the_sender_waits() {
    let (mut pair, client, server) = Pair::established(1, [sender(), reader()]);
    pair.send(0, client, 0, &payload(200_000));
    for _ in 0..100 {
        pair.run(Duration::from_secs(10));
        let held = pair.stats(1, server).receive_buffered;
        assert!(held <= (WINDOW + WINDOW / 8) as usize, "{held} bytes held");
    }
    assert_eq!((pair.closed(0), pair.closed(1)), (None, None));
    let unread = pair.stats(1, server).ready_messages;
    assert_eq!(unread, 1, "one piece, however much there is of it");
    let whole = read_until(&mut pair, server, |all| ends(all) == 1);
    assert_eq!(whole.iter().map(|piece| piece.payload.len()).sum::<usize>(), 200_000);
}

#[test]
fn a_message_that_is_not_too_large_arrives_whole_though_larger_ones_do_not() {
    let (mut pair, client, server) = Pair::established(1, [sender(), reader()]);
    for len in [1, 1000, 4999, 5000] {
        pair.send(0, client, 0, &payload(len));
        let all = read_until(&mut pair, server, |all| ends(all) == 1);
        assert_eq!((all.len(), all[0].part, all[0].payload.len()), (1, Part::Whole, len));
    }
    // All of it came before anybody read.
    pair.send(0, client, 0, &payload(9000));
    pair.run(Duration::from_secs(5));
    let all = pair.recv_all(1, server);
    assert_eq!((all.len(), all[0].part, all[0].payload.len()), (1, Part::Whole, 9000));
}

// covers: RFC 9260 §6.6-1
#[test]
fn messages_of_other_streams_wait_until_it_has_ended_and_none_is_lost() {
    for lossy in [false, true] {
        let (mut pair, client, server) = Pair::established(1, [sender(), reader()]);
        if lossy {
            let mut count = 0;
            pair.filter = Box::new(move |_| {
                count += 1;
                count % 7 != 0
            });
        }
        let sent = payload(60_000);
        pair.send(0, client, 0, b"before");
        pair.send(0, client, 0, &sent);
        for number in 0..40u8 {
            let options = SendOptions { stream: StreamId(u16::from(number % 3)), ..SendOptions::default() };
            let options = SendOptions { unordered: number % 5 == 0, ..options };
            let now = pair.now;
            pair.hosts[0].stack.send(now, client, options, vec![number; 300].into()).expect("there is room");
        }
        let all = read_until(&mut pair, server, |all| ends(all) == 42);
        let first = all.iter().position(|message| message.part == Part::More).expect("a piece");
        let last = all.iter().position(|message| message.part == Part::Last).expect("the last one");
        assert!(all[first..last].iter().all(|message| message.part == Part::More), "none comes between");
        let mut joined = Pieces::default();
        let whole: Vec<Message> = all.into_iter().filter_map(|piece| joined.join(piece)).collect();
        assert!(whole.iter().any(|message| message.payload[..] == sent[..]), "lossy: {lossy}");
        for stream in 0..3 {
            let of_it = |message: &&Message| message.stream.0 == stream && !message.unordered;
            let ssns: Vec<u16> = whole.iter().filter(of_it).map(|message| message.ssn.0).collect();
            assert!(ssns.is_sorted(), "stream {stream}: {ssns:?}");
        }
        assert_eq!(pair.stats(1, server).receive_buffered, 0);
    }
}

#[test]
fn who_has_read_a_part_learns_that_the_rest_never_comes() {
    type End = fn(&mut Pair, AssocId, AssocId);
    let by_peer: End = |pair, client, _| {
        pair.hosts[0].stack.abort(pair.now, client, b"").expect("it is there");
    };
    let by_us: End = |pair, _, server| {
        pair.hosts[1].stack.abort(pair.now, server, b"").expect("it is there");
    };
    for end in [by_peer, by_us] {
        for read_before in [true, false] {
            let (mut pair, client, server) = Pair::established(1, [sender(), reader()]);
            pair.send(0, client, 0, &payload(100_000));
            pair.run(Duration::from_secs(5));
            let mut read = Vec::new();
            if read_before {
                read = pair.recv_all(1, server);
                assert!(!read.is_empty() && read.iter().all(|piece| piece.part == Part::More));
                pair.run(Duration::from_millis(1));
            }
            end(&mut pair, client, server);
            pair.run(Duration::from_secs(5));
            let rest = pair.recv_all(1, server);
            assert_eq!(rest.iter().map(|piece| piece.part).collect::<Vec<_>>(), [Part::Cut]);
            let bytes: Vec<u8> = read.iter().chain(&rest).flat_map(|piece| piece.payload.to_vec()).collect();
            assert!(bytes[..] == payload(bytes.len())[..] && bytes.len() > 5000, "what there was of it");
            assert_eq!(pair.stats(1, server).receive_buffered, 0);
        }
    }
}

// covers: RFC 9260 §5.2.4
#[test]
fn a_peer_that_restarts_cuts_the_message_and_begins_anew() {
    let (mut pair, client, server) = Pair::established(1, [sender(), reader()]);
    pair.send(0, client, 0, &payload(100_000));
    pair.run(Duration::from_secs(5));
    assert!(!pair.recv_all(1, server).is_empty());
    pair.run(Duration::from_secs(5));
    // The same port and addresses, and nothing known of before.
    let mut other = Pair::new(1, [sender(), reader()]);
    // It has drawn other random numbers.
    let first = other.connect();
    other.hosts[0].stack.release(other.now, first);
    std::mem::swap(&mut pair.hosts[0], &mut other.hosts[0]);
    let client = pair.connect();
    pair.hosts[1].events.clear();
    pair.run(Duration::from_secs(20));
    let events = &pair.hosts[1].events;
    assert!(events.iter().any(|(_, event)| matches!(event, Event::Restarted(_))), "{events:?}");
    let all = pair.recv_all(1, server);
    assert_eq!(all.iter().map(|piece| piece.part).collect::<Vec<_>>(), [Part::Cut]);
    pair.send(0, client, 0, b"anew");
    let all = read_until(&mut pair, server, |all| ends(all) == 1);
    assert_eq!((&all[0].payload[..], all[0].part), (&b"anew"[..], Part::Whole));
}

#[test]
fn without_partial_delivery_it_is_refused_and_not_forgotten() {
    let whole = config_with(|config| config.receive_window = 4096);
    let (mut pair, client, _) = Pair::established(1, [sender(), whole]);
    pair.send(0, client, 0, &payload(20_000));
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.closed(1), Some(CloseReason::MessageTooLarge));
    assert!(matches!(pair.closed(0), Some(CloseReason::PeerAbort { .. })));
}

#[test]
fn pieces_are_read_one_by_one_and_many_at_a_time_alike() {
    let (mut pair, client, server) = Pair::established(1, [sender(), reader()]);
    pair.send(0, client, 0, b"one");
    pair.send(0, client, 0, &payload(50_000));
    pair.send(0, client, 1, b"two");
    let mut all = Vec::new();
    for _ in 0..20_000 {
        pair.run(Duration::from_millis(2));
        let before = (all.len(), pair.hosts[1].stack.ready_messages(server));
        let now = pair.now;
        let told = pair.hosts[1].stack.peek(server).map(|(message, len)| (message.stream, len));
        pair.hosts[1].stack.recv_many(now, server, 100, &mut |message| all.push(message));
        assert_eq!(all.len() - before.0, before.1, "as many as were said to be there");
        assert_eq!(told, all.get(before.0).map(|message| (message.stream, message.payload.len())));
        if ends(&all) == 3 {
            break;
        }
    }
    let mut joined = Pieces::default();
    let whole: Vec<usize> = all.into_iter().filter_map(|piece| joined.join(piece)).map(|m| m.payload.len()).collect();
    assert_eq!(whole, [3, 50_000, 3]);
}
