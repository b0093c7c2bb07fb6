//! What the fuzz targets found (`fuzz/`), each as a test of its own.

mod common;
use common::*;
use esock_proto::*;
use std::time::Duration;

/// A packet from the client to the server, made of chunks: type, flags, value.
fn inject(pair: &mut Pair, chunks: &[(u8, u8, Vec<u8>)]) {
    let template = pair.log.iter().rfind(|packet| packet.to == 1 && packet.data[4..8] != [0; 4]).expect("one was sent");
    let mut packet = template.clone();
    packet.data.truncate(12);
    for (kind, flags, value) in chunks {
        packet.data.extend_from_slice(&[*kind, *flags]);
        packet.data.extend_from_slice(&(4 + value.len() as u16).to_be_bytes());
        packet.data.extend_from_slice(value);
        packet.data.resize(packet.data.len().next_multiple_of(4), 0);
    }
    packet.data[8..12].fill(0);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &packet.data) as u32;
    packet.data[8..12].copy_from_slice(&crc.to_le_bytes());
    pair.deliver(&packet);
    pair.run(Duration::from_millis(50));
}

/// The value of a DATA chunk, `ahead` of the next TSN that the client would use.
fn data(pair: &Pair, ahead: u32, stream: u16, payload: &[u8]) -> Vec<u8> {
    let init = pair.log.iter().find(|packet| packet.data[12] == 1).expect("an INIT");
    let first = u32::from_be_bytes(init.data[28..32].try_into().expect("four bytes"));
    let mut value = first.wrapping_add(ahead).to_be_bytes().to_vec();
    value.extend_from_slice(&stream.to_be_bytes());
    value.extend_from_slice(&[0, 0, 0, 0, 0, 46]);
    value.extend_from_slice(payload);
    value
}

const BEGIN: u8 = 2;
const MIDDLE: u8 = 0;
const END: u8 = 1;

#[test]
fn data_and_abort_in_one_packet_are_told_in_that_order_and_closed_is_the_last_event() {
    let (mut pair, _, server) = Pair::established(1, [config(), config()]);
    pair.hosts[1].events.clear();
    let chunk = data(&pair, 0, 0, b"last words");
    inject(&mut pair, &[(0, BEGIN | END, chunk), (6, 0, vec![])]);
    let events: Vec<_> = pair.hosts[1].events.iter().map(|(_, event)| event.clone()).collect();
    assert!(matches!(events[..], [Event::Readable, Event::Closed(CloseReason::PeerAbort { .. })]), "{events:?}");
    assert_eq!(pair.recv_all(1, server).len(), 1);
}

#[test]
fn a_chunk_of_a_stream_that_does_not_exist_in_the_middle_of_a_message_ends_the_association() {
    let narrow = config_with(|config| config.inbound_streams = 2);
    let (mut pair, _, server) = Pair::established(1, [config(), narrow]);
    let chunks = [
        (0, BEGIN, data(&pair, 0, 0, b"one")),
        (0, END, data(&pair, 2, 0, b"three")),
        (0, MIDDLE, data(&pair, 1, 7, b"two")),
    ];
    inject(&mut pair, &chunks);
    // The message was acknowledged and can never be whole.
    assert!(matches!(pair.closed(1), Some(CloseReason::ProtocolViolation { cause: 13, .. })), "{:?}", pair.closed(1));
    assert_eq!(pair.stats(1, server).receive_buffered, 0, "nothing of it is kept");
}

#[test]
fn an_init_ack_from_an_address_that_nobody_named_leaves_a_path_that_is_probed() {
    let mut pair = Pair::new(2, [config(), config()]);
    let peer = Peer { addresses: vec![address(1, 0)], port: PORT, encapsulation: Encapsulation::Default };
    let endpoint = pair.hosts[0].endpoint;
    let client = pair.hosts[0].stack.connect(pair.now, endpoint, &peer, None).expect("the test set it up");
    // The server answers from its other address.
    for _ in 0..40 {
        let end = pair.now + Duration::from_millis(10);
        pair.step(end);
        for packet in &mut pair.wire {
            if packet.data[12] == 2 {
                packet.remote = address(1, 1);
            }
        }
    }
    let stats = pair.stats(0, client);
    assert_eq!(stats.state, State::Established);
    assert!(stats.paths.len() == 2 && stats.paths.iter().all(|path| path.state == PathState::Active), "{stats:#?}");
}

#[test]
fn a_path_that_icmp_puts_in_doubt_during_the_handshake_is_probed_behind_it() {
    let mut pair = Pair::new(1, [config(), config()]);
    let client = pair.connect();
    let end = pair.now + DELAY * 2;
    while pair.stats(0, client).state != State::CookieEchoed {
        assert!(pair.step(end), "INIT ACK arrives");
    }
    // The COOKIE ECHO has left; a router says that it did not get through.
    let end = pair.now;
    pair.step(end);
    let echo = pair.log.iter().rfind(|packet| packet.data[12] == 10).expect("it was sent").clone();
    let report =
        Icmp { kind: IcmpKind::HostUnreachable, remote: echo.local, encap_port: Some(9899), quoted: &echo.data[..12] };
    pair.hosts[0].stack.handle_icmp(pair.now, report);
    assert_eq!(pair.stats(0, client).paths[0].state, PathState::PotentiallyFailed);
    pair.run(Duration::from_secs(1));
    let stats = pair.stats(0, client);
    assert_eq!((stats.state, stats.paths[0].state), (State::Established, PathState::Active));
}

#[test]
fn a_peer_that_answers_heartbeats_and_never_acknowledges_is_given_up() {
    // RFC 9260 §8.1: while data is outstanding, HEARTBEAT ACK need not clear the association's error count.
    let (mut pair, client, _) = Pair::established(2, [config(), config()]);
    pair.filter = Box::new(|packet| !(packet.to == 0 && chunk_kinds(&packet.data).contains(&3)));
    pair.send(0, client, 0, b"is anybody there");
    pair.run(Duration::from_secs(3600));
    assert_eq!(pair.closed(0), Some(CloseReason::TimedOut));
    // What it says last is heard.
    assert!(matches!(pair.closed(1), Some(CloseReason::PeerAbort { .. })), "{:?}", pair.closed(1));
}

#[test]
fn a_peer_that_lacks_what_it_had_acknowledged_is_given_up_though_its_window_is_shut() {
    // Somebody acknowledged in its name what it never got, and shut its window. Each probe of that it answers with what it
    // has, which is behind what it had acknowledged: RFC 9260 §6.2.1 D i, dropped. It answers HEARTBEATs all the while.
    let mut config = config();
    config.heartbeat_interval = Some(Duration::from_secs(1));
    let (mut pair, _, server) = Pair::established(2, [config.clone(), config]);
    pair.filter = Box::new(|packet| !(packet.to == 0 && chunk_kinds(&packet.data).contains(&0)));
    pair.send(1, server, 0, b"lost");
    pair.run(Duration::from_millis(10));
    let init_ack = pair.log.iter().find(|packet| packet.data[12] == 2).expect("an INIT ACK");
    let sack = [&init_ack.data[28..32], &[0; 8]].concat();
    inject(&mut pair, &[(3, 0, sack)]);
    assert_eq!((pair.stats(1, server).in_flight, pair.stats(1, server).peer_rwnd), (0, 0));
    pair.filter = Box::new(|_| true);
    pair.send(1, server, 0, b"and what comes behind it");
    pair.run(Duration::from_secs(3600));
    assert_eq!(pair.closed(1), Some(CloseReason::TimedOut));
    assert!(matches!(pair.closed(0), Some(CloseReason::PeerAbort { .. })), "{:?}", pair.closed(0));
}

#[test]
fn cookies_of_one_peer_that_come_from_its_several_addresses_make_one_association() {
    // The server takes two of the client's three addresses: where the INIT came from, and another.
    let mut pair = Pair::new(3, [config(), config_with(|config| config.max_peer_addresses = 2)]);
    pair.connect();
    // Two INITs of one peer, over both of its paths; both are answered before there is an association.
    pair.step(pair.now);
    let init = pair.wire.pop_front().expect("an INIT");
    let mut other = init.clone();
    (other.local, other.remote) = (address(1, 2), address(0, 2));
    for packet in [&init, &other] {
        pair.deliver(packet);
    }
    pair.step(pair.now);
    let cookies: Vec<Packet> = pair.wire.drain(..).filter(|packet| packet.data[12] == 2).collect();
    assert_eq!(cookies.len(), 2);
    for (at, answer) in cookies.iter().enumerate() {
        let tag: [u8; 4] = answer.data[16..20].try_into().expect("four bytes");
        let cookie = state_cookie(&answer.data);
        let mut echo = Packet { to: 1, local: address(1, 2 * at), remote: address(0, 2 * at), ..answer.clone() };
        echo.data =
            [&init.data[..4], &tag, &[0; 4], &[10, 0], &(4 + cookie.len() as u16).to_be_bytes(), cookie].concat();
        echo.data.resize(echo.data.len().next_multiple_of(4), 0);
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &echo.data) as u32;
        echo.data[8..12].copy_from_slice(&crc.to_le_bytes());
        pair.deliver(&echo);
        pair.step(pair.now);
    }
    assert_eq!(pair.hosts[1].accepted.len(), 1, "one peer, one association");
}

/// The State Cookie of an INIT ACK.
fn state_cookie(packet: &[u8]) -> &[u8] {
    let mut at = 32;
    loop {
        let length = usize::from(u16::from_be_bytes([packet[at + 2], packet[at + 3]]));
        if packet[at..at + 2] == [0, 7] {
            return &packet[at + 4..at + length];
        }
        at += length.next_multiple_of(4);
    }
}
