//! §1.6, §6: numbers that wrap, order, windows.

use crate::lab::*;
use esock_proto::*;

// covers: RFC 9260 §1.6-1, §1.6-2, §1.6-4
#[test]
fn tsns_go_on_with_zero_and_are_compared_across_it() {
    // Ours.
    let mut lab = Lab::with_stack(1, quiet(), |stack| stack.initial_tsn = Some(Tsn(u32::MAX - 1)));
    let init_ack = lab.invite(&Init { tsn: u32::MAX - 1, ..init() });
    lab.tag = init_ack.chunks[0].u32_at(0);
    lab.give(&chunk(COOKIE_ECHO, 0, &Lab::cookie(&init_ack)));
    lab.take();
    (0..4).for_each(|_| lab.send(0, &[1; 100]));
    let tsns: Vec<u32> = lab.take().iter().flat_map(Sent::tsns).collect();
    assert_eq!(tsns, [u32::MAX - 1, u32::MAX, 0, 1]);
    // The first is missing; then all are there; then an old SACK from before the wrap.
    lab.give(&sack(u32::MAX - 2, 90_000, &[(2, 4)]));
    assert_eq!(lab.stats().in_flight, 100);
    lab.give(&sack(1, 80_000, &[]));
    lab.give(&sack(u32::MAX, 5, &[]));
    assert_eq!((lab.stats().send_buffered, lab.stats().peer_rwnd), (0, 80_000));
    // The peer's: with a gap across zero.
    for tsn in [u32::MAX - 1, 0, 1] {
        lab.give(&data(tsn, 0, tsn.wrapping_sub(u32::MAX - 1) as u16, "BE", b"x"));
    }
    let sack = lab.take().pop().unwrap().chunks.remove(0);
    assert_eq!((sack.u32_at(0), &sack.value[12..]), (u32::MAX - 1, &[0, 2, 0, 3][..]));
    lab.give(&data(u32::MAX, 0, 1, "BE", b"x"));
    assert_eq!(lab.recv().len(), 4);
    assert_eq!(lab.take().pop().unwrap().chunks[0].u32_at(0), 1);
}

// covers: RFC 9260 §1.6-5, §6.5-5, §6.6-1
#[test]
fn stream_sequence_numbers_go_on_with_zero() {
    let mut lab = Lab::established(1, quiet());
    let mut ssns = Vec::new();
    let mut tsn = TSN;
    while ssns.len() < 65_540 {
        (0..60).for_each(|_| lab.send(1, b"x"));
        for chunk in lab.take().iter().flat_map(|sent| &sent.chunks) {
            ssns.push(chunk.u16_at(6));
            tsn = tsn.max(chunk.u32_at(0));
        }
        lab.give(&sack(tsn, 100_000, &[]));
    }
    assert!(ssns.iter().zip((0..=u16::MAX).cycle()).all(|(got, expected)| *got == expected));
    // The peer's: message 65,535 comes after message 65,536, whose SSN is 0.
    let mut lab = Lab::established(1, quiet());
    let mut received = 0;
    for first in (0..65_500u32).step_by(50) {
        let chunks: Vec<u8> =
            (first..first + 50).flat_map(|at| data(PEER_TSN + at, 1, at as u16, "BE", b"x")).collect();
        lab.give(&chunks);
        received += lab.recv().len() as u32;
    }
    assert_eq!(received, 65_500);
    for at in (65_500..65_535).chain([65_536, 65_537]) {
        lab.give(&data(PEER_TSN + at, 1, at as u16, "BE", b"x"));
    }
    assert_eq!(lab.recv().len(), 35, "the last two wait");
    lab.give(&data(PEER_TSN + 65_535, 1, 65_535, "BE", b"x"));
    assert_eq!(lab.recv().iter().map(|message| message.ssn.0).collect::<Vec<u16>>(), [65_535, 0, 1]);
}

// covers: RFC 9260 §6.6-1, §6.6-2, §6.6-3, §3.3.1-3, §6.9-1, §6.9-15
#[test]
fn ordered_messages_wait_for_their_turn_and_unordered_ones_for_nothing() {
    let mut lab = Lab::warm(quiet());
    let mut got = |tsn: u32, ssn: u16, flags: &str, payload: &[u8]| -> Vec<Vec<u8>> {
        lab.give(&data(PEER_TSN + tsn, 0, ssn, flags, payload));
        lab.recv().iter().map(|message| message.payload.to_vec()).collect()
    };
    assert!(got(2, 2, "BE", b"second").is_empty());
    // Unordered: its SSN says nothing, be it old, far ahead or taken.
    assert_eq!(got(3, 0, "BEU", b"old"), [b"old"]);
    assert_eq!(got(4, 60_000, "BEU", b"ahead"), [b"ahead"]);
    assert_eq!(got(5, 2, "BEU", b"taken"), [b"taken"]);
    // Fragments in any order; each with an SSN of its own; up when it is whole, with a hole before it.
    assert!(got(8, 9, "EU", b"ends").is_empty());
    assert!(got(6, 7, "BU", b"begins, ").is_empty());
    assert_eq!(got(7, 8, "U", b"goes on, "), [b"begins, goes on, ends".to_vec()]);
    assert_eq!(got(1, 1, "BE", b"first"), [&b"first"[..], b"second"]);
}

// covers: RFC 9260 §6.2-34
#[test]
fn an_empty_message_is_refused() {
    let mut lab = Lab::established(1, quiet());
    let refused = lab.stack.send(lab.now, lab.assoc, SendOptions::default(), b""[..].into()).unwrap_err();
    assert_eq!(refused.error, SendError::Empty);
    assert!(lab.take().is_empty());
}

// covers: RFC 9260 §6.2-26, §6.2-25
#[test]
fn what_waits_to_be_put_together_does_not_open_the_window() {
    let mut lab = Lab::warm(quiet());
    let mut announced = Vec::new();
    for at in 1..9 {
        let flags = if at == 1 { "BI" } else { "I" };
        lab.give(&data(PEER_TSN + at, 0, 1, flags, &[1; 1000]));
        assert!(lab.recv().is_empty());
        announced.push(lab.take().pop().unwrap().chunks[0].u32_at(4));
    }
    assert!(announced.windows(2).all(|pair| pair[1] + 1000 <= pair[0]), "{announced:?}");
    lab.give(&data(PEER_TSN + 9, 0, 1, "EI", &[1; 1000]));
    lab.recv();
    lab.give(&data(PEER_TSN + 10, 0, 2, "BEI", b"x"));
    assert!(lab.take().pop().unwrap().chunks[0].u32_at(4) > announced[0]);
}

// covers: RFC 9260 §6.1-16, §6.1-17
#[test]
fn no_more_than_65535_chunks_are_sent_beyond_the_first_that_is_missing() {
    let config = quiet_with(|config| {
        config.send_buffer = 64 << 20;
        config.max_burst = 1000;
    });
    let mut lab = Lab::established(1, config);
    (0..70_000).for_each(|_| lab.send(0, b"x"));
    // The first TSN never arrives, all others do.
    let mut highest = lab.take().iter().flat_map(Sent::tsns).max().unwrap();
    let mut rounds = 0;
    loop {
        let end = (highest - TSN + 1) as u16;
        lab.give(&sack(TSN - 1, 1 << 30, &[(2, end)]));
        let Some(higher) = lab.take().iter().flat_map(Sent::tsns).filter(|tsn| *tsn > highest).max() else { break };
        highest = higher;
        rounds += 1;
    }
    assert_eq!((highest - TSN, rounds > 10), (65_534, true));
    lab.give(&sack(highest, 1 << 30, &[]));
    assert!(lab.take().iter().flat_map(Sent::tsns).any(|tsn| tsn > highest), "it goes on");
}

// covers: RFC 9260 §3.3.8-2
#[test]
fn a_shutdown_takes_back_nothing_that_a_sack_had_reported() {
    let mut lab = Lab::established(1, quiet());
    (0..4).for_each(|_| lab.send(0, &[1; 1000]));
    lab.take();
    lab.give(&sack(TSN - 1, 90_000, &[(2, 3)]));
    lab.take();
    assert_eq!(lab.stats().in_flight, 2000);
    lab.give(&chunk(SHUTDOWN, 0, &(TSN - 1).to_be_bytes()));
    assert_eq!((lab.state(), lab.stats().in_flight, lab.stats().counters.reneged), (State::ShutdownReceived, 2000, 0));
    // T3: what was reported does not go again.
    lab.run(ms(30_000));
    let again: Vec<u32> = lab.take().iter().flat_map(Sent::tsns).collect();
    assert!(!again.is_empty() && again.iter().all(|tsn| *tsn == TSN || *tsn == TSN + 3), "{again:?}");
}

// covers: RFC 9260 §6.9-7
#[test]
fn what_was_cut_for_a_larger_mtu_goes_again_in_a_packet_that_may_be_fragmented() {
    let config = quiet_with(|config| config.pmtud = true);
    let mut lab = Lab::established(1, config);
    lab.send(0, &[1; 1400]);
    let sent = lab.take();
    assert!(sent.iter().any(|sent| sent.chunk(DATA).is_some() && sent.dont_fragment));
    let quoted = packet_between(PORT, PEER_PORT, PEER_TAG, &[]);
    let icmp = Icmp { kind: IcmpKind::PacketTooBig(1300), remote: theirs(0), encap_port: Some(9899), quoted: &quoted };
    lab.stack.handle_icmp(lab.now, icmp);
    lab.run(ms(5000));
    let again: Vec<Sent> = lab.take().into_iter().filter(|sent| sent.chunk(DATA).is_some()).collect();
    assert!(!again.is_empty());
    assert!(again.iter().all(|sent| sent.bytes.len() > 1300 && !sent.dont_fragment && sent.tsns() == [TSN]));
}

// covers: RFC 9260 §6.9-9, §6.9-8
#[test]
fn a_fragment_leaves_room_for_the_sack_beside_it() {
    let mut lab = Lab::warm(quiet());
    lab.give(&data(PEER_TSN + 1, 0, 1, "BE", b"x"));
    lab.send(0, &[1; 4000]);
    let sent = lab.take();
    assert_eq!(sent[0].kinds(), [SACK, DATA]);
    assert!(sent.iter().all(|sent| sent.bytes.len() <= 1472), "{:?}", sent[0].bytes.len());
    assert_eq!(sent[0].bytes.len(), 1472);
}
