//! Rules of RFC 9260 with a number or a packet in them, each with its section.

mod common;
use common::*;
use esock_proto::*;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

const DATA: u8 = 0;
const INIT: u8 = 1;
const SACK: u8 = 3;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const ERROR: u8 = 9;
const COOKIE_ECHO: u8 = 10;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// No path MTU probes and no heartbeats: only what the test is about is on the wire.
fn quiet() -> Config {
    config_with(|config| {
        config.pmtud = false;
        config.heartbeat_interval = None;
    })
}

fn quiet_pair() -> (Pair, AssocId, AssocId) {
    let (mut pair, client, server) = Pair::established(1, [quiet(), quiet()]);
    // §5.1: the first DATA is acknowledged at once; behind it the usual rules hold.
    for (host, assoc) in [(0, client), (1, server)] {
        pair.send(host, assoc, 0, b"first");
    }
    pair.run(ms(1000));
    pair.recv_all(0, client);
    pair.recv_all(1, server);
    pair.log.clear();
    (pair, client, server)
}

/// When packets with this chunk were sent by `from`, in milliseconds after `start`.
fn sent(pair: &Pair, from: usize, kind: u8, start: Time) -> Vec<u64> {
    let ours = pair.log.iter().filter(|packet| packet.to != from && chunk_kinds(&packet.data).contains(&kind));
    ours.map(|packet| (packet.at - DELAY).since(start).as_millis() as u64).collect()
}

fn fix_checksum(packet: &mut [u8]) {
    packet[8..12].fill(0);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, packet) as u32;
    packet[8..12].copy_from_slice(&crc.to_le_bytes());
}

/// A packet like `template`, with these chunks.
fn forged(template: &Packet, tag: Option<u32>, chunks: &[u8]) -> Packet {
    let mut data = template.data[..12].to_vec();
    if let Some(tag) = tag {
        data[4..8].copy_from_slice(&tag.to_be_bytes());
    }
    data.extend_from_slice(chunks);
    fix_checksum(&mut data);
    Packet { data, ..template.clone() }
}

// covers: RFC 9260 §6.2-8, §6.2-9
#[test]
fn a_sack_waits_200_ms_or_for_the_second_packet() {
    // §6.2.
    let (mut pair, client, _) = quiet_pair();
    let start = pair.now;
    pair.send(0, client, 0, b"alone");
    pair.run(ms(1000));
    assert_eq!(sent(&pair, 1, SACK, start), [205]);
    pair.log.clear();
    let start = pair.now;
    for _ in 0..2 {
        pair.send(0, client, 0, &[1; 1300]);
    }
    pair.run(ms(1000));
    assert_eq!(sent(&pair, 1, SACK, start), [5]);
}

#[test]
fn the_i_bit_asks_for_a_sack_at_once() {
    // RFC 7053.
    let (mut pair, client, _) = quiet_pair();
    let start = pair.now;
    let options = SendOptions { sack_immediately: true, ..SendOptions::default() };
    pair.hosts[0].stack.send(pair.now, client, options, b"now"[..].into()).expect("room");
    pair.run(ms(1000));
    assert_eq!(sent(&pair, 1, SACK, start), [5]);
}

#[test]
fn t3_backs_off_and_starts_from_rto_min() {
    // §6.3.3 E2: 1 s, then doubled; §8.2 and §8.1: the association goes after ten retries.
    let (mut pair, client, _) = quiet_pair();
    pair.filter = Box::new(|packet| packet.to == 0);
    let start = pair.now;
    pair.send(0, client, 0, b"into the void");
    pair.run(Duration::from_secs(700));
    let seconds: Vec<u64> = sent(&pair, 0, DATA, start).iter().map(|at| at / 1000).collect();
    assert_eq!(seconds, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303]);
    assert_eq!(pair.closed(0), Some(CloseReason::TimedOut));
}

// covers: RFC 9260 §7.2.4-2
#[test]
fn a_chunk_is_sent_again_at_the_third_miss_indication() {
    // §7.2.4.
    let (mut pair, client, server) = quiet_pair();
    let start = pair.now;
    let count = Rc::new(RefCell::new(0));
    let counter = count.clone();
    pair.filter = Box::new(move |packet| {
        if packet.to == 1 && chunk_kinds(&packet.data).contains(&DATA) {
            *counter.borrow_mut() += 1;
            return *counter.borrow() != 1;
        }
        true
    });
    for at in 0..4u8 {
        pair.send(0, client, 0, &[at; 1300]);
        pair.run(ms(20));
    }
    pair.run(ms(100));
    // Packets leave at 0, 20, 40, 60 ms; the first is lost; the SACK for the fourth is the third report.
    assert_eq!(sent(&pair, 0, DATA, start), [0, 20, 40, 60, 70]);
    assert_eq!(pair.stats(0, client).counters.fast_retransmissions, 1);
    assert_eq!(pair.recv_all(1, server).len(), 4);
}

#[test]
fn heartbeats_come_every_interval_and_rto_with_half_an_rto_of_jitter() {
    // §8.3.
    let config = || config_with(|config| config.pmtud = false);
    let (mut pair, _, _) = Pair::established(1, [config(), quiet()]);
    pair.log.clear();
    let start = pair.now;
    pair.run(Duration::from_secs(330));
    let times = sent(&pair, 0, 4, start);
    assert!((9..=11).contains(&times.len()), "{times:?}");
    for pair in times.windows(2) {
        let gap = pair[1] - pair[0];
        assert!((30_500..=31_500).contains(&gap), "{gap}");
    }
}

#[test]
fn packets_with_a_wrong_tag_change_nothing_whatever_they_carry() {
    // §8.5, CVE-2021-3772: every chunk type, in every state that can be held.
    for state in ["cookie-wait", "cookie-echoed", "established", "shutdown-pending", "shutdown-sent"] {
        for kind in (0..=16).chain([0x84, 0xc1, 0xff]) {
            for reflected in [false, true] {
                let mut pair = Pair::new(1, [quiet(), quiet()]);
                let stop_at = if state == "cookie-echoed" { COOKIE_ECHO } else { SHUTDOWN };
                let hold = state == "cookie-wait";
                pair.filter = Box::new(move |packet| !hold && !chunk_kinds(&packet.data).contains(&stop_at));
                let client = pair.connect();
                pair.run(ms(100));
                if state.starts_with("shutdown") {
                    if state == "shutdown-pending" {
                        pair.filter = Box::new(|_| false);
                        pair.send(0, client, 0, b"under way");
                    }
                    pair.hosts[0].stack.shutdown(pair.now, client).expect("it is there");
                    pair.run(ms(50));
                }
                let before = pair.hosts[0].stack.state(client);
                let template = Packet {
                    at: pair.now,
                    to: 0,
                    local: address(0, 0),
                    remote: address(1, 0),
                    data: [&PORT.to_be_bytes()[..], &5000u16.to_be_bytes(), &[0; 8]].concat(),
                };
                let chunk = [&[kind, u8::from(reflected), 0, 20][..], &[0; 16]].concat();
                let (log, events) = (pair.log.len(), pair.hosts[0].events.len());
                pair.deliver(&forged(&template, Some(0x1234_5678), &chunk));
                pair.run(Duration::from_micros(1));
                assert_eq!(pair.hosts[0].stack.state(client), before, "{state}, chunk {kind}");
                assert_eq!(pair.hosts[0].events.len(), events, "{state}, chunk {kind}");
                // §8.5.1 E: SHUTDOWN ACK while setting up is out of the blue, and answered as such.
                let answered = usize::from(kind == 8 && state.starts_with("cookie"));
                assert_eq!(pair.log.len() - log, answered, "{state}, chunk {kind}");
            }
        }
    }
}

#[test]
fn packets_out_of_the_blue_are_answered_as_the_list_says() {
    // §8.4. (chunks, the answer's chunk and T bit)
    type Case<'a> = (&'a [u8], Option<(u8, u8)>);
    let cases: [Case<'_>; 9] = [
        (&[ABORT, 0, 0, 4], None),
        (&[8, 0, 0, 4], Some((14, 1))),
        (&[14, 0, 0, 4], None),
        (&[11, 0, 0, 4], None),
        (&[ERROR, 0, 0, 12, 0, 3, 0, 8, 0, 0, 0, 1], None),
        (&[ERROR, 0, 0, 8, 0, 1, 0, 4], Some((ABORT, 1))),
        (&[DATA, 3, 0, 17, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0], Some((ABORT, 1))),
        (&[4, 0, 0, 4], Some((ABORT, 1))),
        (&[DATA, 3, 0, 4, ABORT, 0, 0, 4], None),
    ];
    for (chunks, answer) in cases {
        let mut pair = Pair::new(1, [quiet(), quiet()]);
        let header = [&5000u16.to_be_bytes()[..], &PORT.to_be_bytes(), &[0; 8]].concat();
        let template = Packet { at: pair.now, to: 1, local: address(1, 0), remote: address(0, 0), data: header };
        pair.deliver(&forged(&template, Some(0xdead_beef), chunks));
        pair.run(ms(1));
        let got = pair.log.first().map(|packet| (packet.data[12], packet.data[13]));
        assert_eq!(got, answer, "{chunks:?}");
        if let Some(reply) = pair.log.first() {
            assert_eq!(reply.data[4..8], 0xdead_beef_u32.to_be_bytes(), "the tag is reflected");
        }
        assert_eq!(pair.hosts[1].stack.stats().associations, 0);
    }
}

#[test]
fn a_stale_cookie_is_answered_and_a_longer_life_is_asked_for() {
    // §5.1.5 step 3, §5.2.6.
    let short = config_with(|config| {
        config.cookie_life = ms(50);
        config.pmtud = false;
    });
    let mut pair = Pair::new(1, [quiet(), short]);
    // The first COOKIE ECHO is lost, the next comes after a second.
    let first = Rc::new(RefCell::new(true));
    pair.filter = Box::new(move |packet| {
        !(chunk_kinds(&packet.data) == [COOKIE_ECHO] && std::mem::take(&mut *first.borrow_mut()))
    });
    let client = pair.connect();
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.hosts[0].stack.state(client), Some(State::Established));
    assert_eq!(pair.hosts[1].stack.stats().stale_cookies, 1);
    let inits: Vec<_> = pair.log.iter().filter(|packet| packet.data[12] == INIT).collect();
    assert_eq!(inits.len(), 2);
    let preservative = |packet: &Packet| packet.data[32..].chunks(4).any(|word| word[..2] == [0, 9]);
    assert!(!preservative(inits[0]) && preservative(inits[1]));
}

#[test]
fn a_restart_that_adds_addresses_is_refused_and_the_association_lives() {
    // §5.2.2.
    let (mut pair, client, server) = quiet_pair();
    let mut chunk = vec![INIT, 0, 0, 28];
    chunk.extend_from_slice(&[0, 0, 0, 77, 0, 1, 0, 0, 0, 5, 0, 5, 0, 0, 0, 9]);
    chunk.extend_from_slice(&[0, 5, 0, 8, 10, 9, 9, 9]);
    let header = [&5000u16.to_be_bytes()[..], &PORT.to_be_bytes(), &[0; 8]].concat();
    let template = Packet { at: pair.now, to: 1, local: address(1, 0), remote: address(0, 0), data: header };
    pair.deliver(&forged(&template, Some(0), &chunk));
    pair.run(Duration::from_micros(1));
    let reply = &pair.log[0].data;
    assert_eq!((reply[12], reply[13], &reply[4..8]), (ABORT, 0, &[0, 0, 0, 77][..]));
    assert_eq!(reply[16..18], [0, 11], "Restart of an Association with New Addresses");
    assert_eq!(reply[20..28], [0, 5, 0, 8, 10, 9, 9, 9], "the address that was added");
    pair.send(0, client, 0, b"still here");
    pair.run(ms(500));
    assert_eq!(pair.recv_all(1, server).len(), 1);
}

#[test]
fn unknown_chunks_follow_their_high_bits() {
    // §3.2: (type, whether what follows is read, whether it is reported)
    for (kind, read, reported) in [(0x3e, false, false), (0x7e, false, true), (0xbe, true, false), (0xfe, true, true)] {
        let (mut pair, client, server) = quiet_pair();
        pair.send(0, client, 0, b"x");
        let end = pair.now;
        pair.step(end);
        let template = pair.wire.pop_front().expect("a packet with DATA");
        let chunks = [&[kind, 0, 0, 4][..], &template.data[12..]].concat();
        pair.log.clear();
        pair.deliver(&forged(&template, None, &chunks));
        pair.run(ms(1));
        assert_eq!(pair.recv_all(1, server).len(), usize::from(read), "{kind:x}");
        let error = pair.log.iter().find(|packet| chunk_kinds(&packet.data).contains(&ERROR));
        assert_eq!(error.is_some(), reported, "{kind:x}");
    }
}

#[test]
fn both_ends_may_shut_down_at_once() {
    // §9.2.
    let (mut pair, client, server) = quiet_pair();
    pair.hosts[0].stack.shutdown(pair.now, client).expect("up");
    pair.hosts[1].stack.shutdown(pair.now, server).expect("up");
    pair.run(Duration::from_secs(2));
    assert_eq!((pair.closed(0), pair.closed(1)), (Some(CloseReason::Shutdown), Some(CloseReason::Shutdown)));
}

// covers: RFC 9260 §6.5-2
#[test]
fn data_for_a_stream_that_does_not_exist_is_acknowledged_and_reported() {
    // §6.5.
    let few = config_with(|config| {
        config.inbound_streams = 2;
        config.pmtud = false;
    });
    let (mut pair, client, server) = Pair::established(1, [quiet(), few]);
    pair.send(0, client, 1, b"x");
    let end = pair.now;
    pair.step(end);
    let template = pair.wire.pop_front().expect("a packet with DATA");
    let mut chunks = template.data[12..].to_vec();
    chunks[8..10].copy_from_slice(&[0, 2]);
    pair.log.clear();
    pair.deliver(&forged(&template, None, &chunks));
    pair.run(ms(300));
    let error = pair.log.iter().find(|packet| chunk_kinds(&packet.data).contains(&ERROR)).expect("an ERROR");
    assert_eq!(error.data[16..22], [0, 1, 0, 8, 0, 2]);
    assert_eq!(pair.recv_all(1, server).len(), 0);
    assert_eq!(pair.stats(0, client).send_buffered, 0, "it was acknowledged");
}

/// Whether data packets with PAD chunks (RFC 4820) were sent, by a client whose path MTU probes are answered or not.
fn pads_data(answered: bool) -> bool {
    const PAD: u8 = 0x84;
    let configs = [Config::default(), Config::default()];
    let mut pair = Pair::new(1, configs);
    pair.filter = Box::new(move |packet| answered || !chunk_kinds(&packet.data).contains(&PAD));
    let client = pair.connect();
    pair.run(ms(3000));
    for index in 0..400 {
        pair.send(0, client, 0, &vec![7; 300 + index * 89 % 700]);
    }
    pair.run(ms(5000));
    let of_data = |packet: &&Packet| chunk_kinds(&packet.data).first() == Some(&DATA);
    pair.log.iter().filter(of_data).any(|packet| chunk_kinds(&packet.data).contains(&PAD))
}

#[test]
fn data_is_padded_only_for_a_peer_that_has_read_a_pad_chunk() {
    assert!(pads_data(true));
    assert!(!pads_data(false));
}

#[test]
fn packets_are_equal_in_size_though_messages_leave_short_rests_in_them() {
    // A batch of segments (GSO) ends with the first short packet. The peer has read no PAD chunk here, and the last
    // fragment of a message of 16 KiB leaves less than 100 bytes of its packet.
    let config = config_with(|config| (config.pmtud, config.initial_mtu) = (false, 1428));
    let (mut pair, client, _) = Pair::established(1, [config.clone(), config]);
    for _ in 0..20 {
        pair.send(0, client, 0, &[7; 16 << 10]);
    }
    pair.run(ms(5000));
    let sizes: Vec<usize> =
        pair.log.iter().filter(|packet| packet.data[12] == DATA).map(|packet| packet.data.len()).collect();
    let short = sizes.iter().filter(|size| **size < sizes[0]).count();
    // Windows end where they end.
    assert!(sizes.len() > 200 && short <= 5, "{short} of {} packets are short", sizes.len());
}

#[test]
fn a_shutdown_that_acknowledges_what_was_never_sent_is_a_shutdown() {
    let (mut pair, client, _) = quiet_pair();
    let server = pair.hosts[1].accepted[0];
    pair.send(0, client, 0, b"one");
    pair.send(1, server, 0, b"two");
    pair.run(ms(300));
    let data =
        |to| pair.log.iter().find(|packet| packet.to == to && packet.data[12] == DATA).expect("one was sent").clone();
    let (ours, from_server) = (data(1), data(0));
    let tsn = u32::from_be_bytes(ours.data[16..20].try_into().expect("four bytes"));
    let mut chunk = vec![SHUTDOWN, 0, 0, 8];
    chunk.extend_from_slice(&tsn.wrapping_add(1000).to_be_bytes());
    pair.deliver(&forged(&from_server, None, &chunk));
    pair.run(ms(10));
    assert_eq!(pair.stats(0, client).state, State::ShutdownAckSent);
}

#[test]
fn a_peer_that_answers_heartbeats_is_kept_while_its_window_is_shut_though_it_acknowledges_no_probe() {
    let theirs = config_with(|config| config.receive_window = 4096);
    let (mut pair, client, _) = Pair::established(1, [config(), theirs]);
    for _ in 0..10 {
        pair.send(0, client, 0, &[7; 1000]);
    }
    pair.run(ms(5000));
    // §6.2: a probe that is dropped has to be answered by a SACK. Not by this one.
    pair.filter = Box::new(|packet| packet.to == 1 || chunk_kinds(&packet.data) != [SACK]);
    for _ in 0..60 {
        pair.hosts[0].stack.request_heartbeat(pair.now, client, PathId(0)).expect("it is up");
        pair.run(ms(1000));
    }
    let stats = pair.stats(0, client);
    assert!(stats.peer_rwnd < 1000 && stats.in_flight > 0, "the window is not shut, or not probed: {stats:?}");
    assert!(stats.counters.t3_timeouts > 11, "too few errors to end it: {stats:?}");
    assert_eq!(stats.state, State::Established);
}
