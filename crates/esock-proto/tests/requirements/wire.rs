//! §3, §6.8, §6.10: the form of everything that is sent, and what is tolerated in what arrives.

use crate::lab::*;
use esock_proto::*;

/// What has to hold of every packet of the stack. The path MTU is 1500: 1472 bytes are left by IP and UDP.
fn check(sent: &Sent) {
    let bytes = &sent.bytes;
    assert_eq!(bytes.len() % 4, 0);
    assert_eq!(bytes[..4], [PORT.to_be_bytes(), PEER_PORT.to_be_bytes()].concat());
    assert_eq!(bytes[8..12], crc32c(bytes));
    assert!(bytes.len() <= 1472 || !sent.dont_fragment, "{} bytes", bytes.len());
    let mut at = 12;
    while at < bytes.len() {
        let len = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        let padded = (len + 3) & !3;
        assert!(at + padded <= bytes.len(), "whole chunks only");
        assert!(bytes[at + len..at + padded].iter().all(|byte| *byte == 0), "padding is zero");
        at += padded;
    }
    let kinds = sent.kinds();
    let alone = kinds.iter().any(|kind| [INIT, INIT_ACK, SHUTDOWN_COMPLETE].contains(kind));
    assert!(!alone || kinds.len() == 1, "{kinds:?}");
    assert!(kinds.is_sorted_by_key(|kind| *kind == DATA), "control chunks come first: {kinds:?}");
    assert!(kinds.iter().position(|kind| *kind == ABORT).is_none_or(|at| at + 1 == kinds.len()), "{kinds:?}");
    assert!(sent.tsns().is_sorted());
    for chunk in &sent.chunks {
        if chunk.kind == INIT || chunk.kind == INIT_ACK {
            assert_eq!(chunk.flags, 0);
        }
        assert!(chunk.kind != DATA || (chunk.value.len() > 12 && chunk.flags & 0xf0 == 0));
    }
    if kinds == [INIT] {
        assert_eq!(sent.tag, 0);
    }
}

/// A long conversation with everything in it, from both ends of a setup.
fn everything() -> Vec<Sent> {
    let mut all = Vec::new();
    let mut lab = Lab::new(2, quiet());
    lab.connect(&[0, 1]);
    lab.give(&init().with(&tlv(7, &[5; 33])).with(&tlv(0xc123, &[1, 2, 3, 4, 5])).chunk(INIT_ACK));
    lab.give(&chunk(COOKIE_ACK, 0, &[]));
    all.extend(lab.take());
    for size in (1..2000).step_by(97) {
        let unordered = size % 2 == 0;
        lab.send_with(SendOptions { unordered, ..SendOptions::default() }, &vec![1; size]);
        all.extend(lab.take());
        let highest = all.iter().flat_map(Sent::tsns).max().unwrap_or(TSN);
        lab.give(
            &[data(PEER_TSN + 2 * size as u32, 0, 0, "BEU", &vec![2; size % 50 + 1]), sack(highest, 90_000, &[])]
                .concat(),
        );
        lab.give(
            &[chunk(HEARTBEAT, 0, &tlv(1, b"seven b")), chunk(0xc9, 0, b"x"), data(1, 99, 0, "BE", b"x")].concat(),
        );
        all.extend(lab.take());
    }
    lab.run(ms(10_000));
    lab.stack.shutdown(lab.now, lab.assoc).expect("it is there");
    let highest = all.iter().flat_map(Sent::tsns).max().unwrap_or(TSN);
    lab.give(&sack(highest, 90_000, &[]));
    lab.run(ms(10_000));
    lab.give(&chunk(SHUTDOWN_ACK, 0, &[]));
    lab.give(&chunk(SHUTDOWN_ACK, 0, &[]));
    lab.give(&data(PEER_TSN, 0, 0, "BE", b"out of the blue"));
    all.extend(lab.take());
    let mut lab = Lab::accepted(quiet());
    all.push(lab.invite(&init().with(&tlv(0xc123, &[1, 2, 3, 4, 5]))));
    lab.stack.abort(lab.now, lab.assoc, b"five!").expect("it is there");
    all.extend(lab.take());
    all
}

// covers: RFC 9260 §1.3-2, §3-2, §3.1-1, §3.1-2, §3.2-1, §3.2-2, §3.2-3, §3.2.1-1, §3.2.1-2, §3.3.1-8, §3.3.1-9
// covers: RFC 9260 §3.3.2-5, §3.3.3-3, §3.3.7-2, §6.8-1, §6.8-2, §6.10-1, §6.10-3, §6.10-4, §6.10-5, §6.10-8, §8.5.1-A1
#[test]
fn every_packet_is_well_formed_whatever_is_in_it() {
    let all = everything();
    all.iter().for_each(check);
    let mut kinds: Vec<u8> = all.iter().flat_map(Sent::kinds).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, [0, 1, 2, 3, 5, 6, 7, 9, 10, 14], "each kind of chunk was among them");
}

// covers: RFC 9260 §3.3.11-1, §3.3.1-13, §3.3.1-12, §6.9-12
#[test]
fn data_follows_the_handshake_with_consecutive_tsns() {
    let all = everything();
    let echo = all.iter().position(|sent| sent.chunk(COOKIE_ECHO).is_some()).unwrap();
    let first = all.iter().position(|sent| sent.chunk(DATA).is_some()).unwrap();
    assert!(echo < first);
    let mut tsns: Vec<u32> = all.iter().flat_map(Sent::tsns).collect();
    tsns.dedup();
    assert!(tsns.iter().zip(TSN..).all(|(got, expected)| *got == expected), "{tsns:?}");
    assert!(tsns.len() > 20);
}

// covers: RFC 9260 §3.3.1-1, §3.3.1-6, §3.3.1-7, §3.3.1-11, §3.3.1-12, §6.9-10, §6.9-12, §6.9-14, §6.5-4
#[test]
fn fragments_have_what_the_layout_says() {
    let mut lab = Lab::established(1, quiet());
    lab.send(3, b"small");
    lab.send(3, &[7; 4000]);
    let chunks: Vec<Chunk> = lab.take().into_iter().flat_map(|sent| sent.chunks).collect();
    assert_eq!(chunks.len(), 4, "{chunks:?}");
    let flags: Vec<u8> = chunks.iter().map(|chunk| chunk.flags).collect();
    assert_eq!(flags, [0b11, 0b10, 0b00, 0b01]);
    for (at, chunk) in chunks.iter().enumerate() {
        // TSN, stream, SSN and PPID, each at its place and in network byte order.
        assert_eq!(chunk.u32_at(0), TSN + at as u32);
        assert_eq!((chunk.u16_at(4), chunk.u16_at(6)), (3, u16::from(at > 0)));
        assert_eq!(chunk.u32_at(8), 46);
    }
    let payload: Vec<u8> = chunks[1..].iter().flat_map(|chunk| chunk.value[12..].to_vec()).collect();
    assert_eq!(payload, [7; 4000]);
}

// covers: RFC 9260 §6.9-13, §6.5-6, §6.5-4
#[test]
fn unordered_messages_have_the_u_bit_in_each_fragment_and_leave_the_ssn_alone() {
    let mut lab = Lab::established(1, quiet());
    lab.send(3, b"one");
    lab.send_with(SendOptions { stream: StreamId(3), unordered: true, ..SendOptions::default() }, &[7; 4000]);
    lab.take().iter().for_each(check);
    lab.give(&sack(TSN + 3, 100_000, &[]));
    lab.send(3, b"two");
    let sent = lab.take();
    assert_eq!(sent[0].chunk(DATA).unwrap().u16_at(6), 1, "the second ordered message");
    let mut lab = Lab::established(1, quiet());
    lab.send_with(SendOptions { unordered: true, ..SendOptions::default() }, &[7; 4000]);
    let flags: Vec<u8> = lab.take().iter().flat_map(|sent| sent.chunks.clone()).map(|chunk| chunk.flags).collect();
    assert_eq!(flags, [0b110, 0b100, 0b101]);
}

// covers: RFC 9260 §3.2-4, §3.2.1-3, §3.2-F1
#[test]
fn padding_and_reserved_flags_may_hold_anything() {
    let noisy = |mut chunk: Vec<u8>, from: usize| {
        chunk[from..].fill(0xee);
        chunk
    };
    let mut lab = Lab::new(1, quiet());
    // INIT with all flags, and a parameter whose padding is not zero.
    let mut first = init().with(&noisy(tlv(0x8123, b"x"), 5)).with(&address_param(theirs(0))).chunk(INIT);
    first[1] = 0xff;
    lab.deliver(0, 0, &packet(0, &first));
    let init_ack = lab.take().remove(0);
    assert_eq!(init_ack.kinds(), [INIT_ACK]);
    lab.tag = init_ack.chunks[0].u32_at(0);
    lab.give(&chunk(COOKIE_ECHO, 0xff, &Lab::cookie(&init_ack)));
    assert_eq!((lab.state(), lab.take_kinds()), (State::Established, vec![vec![COOKIE_ACK]]));
    let mut with_flags = data(PEER_TSN, 0, 0, "BE", b"x");
    with_flags[1] |= 0xf0;
    let len = with_flags.len();
    lab.give(&[noisy(with_flags, len - 3), data(PEER_TSN + 1, 0, 1, "BE", b"y")].concat());
    assert_eq!(lab.recv().iter().map(|message| message.payload[0]).collect::<Vec<u8>>(), *b"xy");
    lab.take();
    lab.give(&chunk(HEARTBEAT, 0xff, &tlv(1, b"nonce")));
    assert_eq!(lab.take_kinds(), [[HEARTBEAT_ACK]]);
    lab.send(0, b"x");
    let mut acknowledged = sack(TSN, 9000, &[]);
    acknowledged[1] = 0xff;
    lab.give(&acknowledged);
    assert_eq!(lab.stats().send_buffered, 0);
    let mut lab = Lab::new(1, quiet());
    lab.connect(&[0]);
    let mut init_ack = init().with(&tlv(7, b"cookie")).chunk(INIT_ACK);
    init_ack[1] = 0xff;
    lab.give(&init_ack);
    assert_eq!(lab.state(), State::CookieEchoed);
}

// covers: RFC 9260 §3.3.4-1, §3.3.4-2, §3.3.4-3, §6.2-17
#[test]
fn a_sack_of_10_to_12_14_15_and_17_is_the_one_of_the_example() {
    let mut lab = Lab::new(1, quiet());
    let init_ack = lab.invite(&Init { tsn: 10, ..init() });
    lab.tag = init_ack.chunks[0].u32_at(0);
    lab.give(&chunk(COOKIE_ECHO, 0, &Lab::cookie(&init_ack)));
    lab.take();
    for tsn in [10, 11, 12, 14, 15, 17] {
        lab.give(&data(tsn, 0, tsn as u16 - 10, "BE", b"x"));
    }
    let last = lab.take().pop().unwrap();
    let sack = last.chunk(SACK).unwrap();
    assert_eq!((sack.u32_at(0), sack.u16_at(8), sack.u16_at(10)), (12, 2, 0));
    assert_eq!(sack.value[12..], [0, 2, 0, 3, 0, 5, 0, 5]);
    assert!((1000..=1 << 20).contains(&sack.u32_at(4)));
}

// covers: RFC 9260 §6.2-18, §6.7-6, §6.7-7
#[test]
fn a_sack_reports_the_lowest_gaps_that_fit_and_there_is_only_one() {
    let mut lab = Lab::established(1, quiet());
    for tsn in (PEER_TSN + 1..PEER_TSN + 1201).step_by(2) {
        lab.give(&data(tsn, 0, 0, "BEU", b"x"));
    }
    let sent = lab.take();
    assert_eq!(sent.len(), 600, "one for each packet");
    let last = sent.last().unwrap();
    check(last);
    let sack = last.chunk(SACK).unwrap();
    // 1472 - 12 - 16 bytes are left for blocks of 4.
    assert_eq!(sack.u16_at(8), 361);
    let block = |at: usize| (sack.u16_at(12 + 4 * at), sack.u16_at(14 + 4 * at));
    assert_eq!((block(0), block(1), block(360)), ((2, 2), (4, 4), (722, 722)));
}
