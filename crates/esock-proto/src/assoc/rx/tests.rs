use super::*;
use crate::api::Part;
use crate::serial::Ssn;
use crate::types::{Ppid, StreamId};
use crate::wire::DataFlags;

fn config() -> Config {
    Config { receive_window: 64 << 10, ..Config::default() }
}

fn rx() -> Rx {
    Rx::new(Tsn(u32::MAX - 1), &config())
}

/// The chunk `at` places after the first; flags as letters.
fn data<'a>(at: u32, ssn: u16, flags: &str, payload: &'a [u8]) -> Data<'a> {
    let bit = |letter, bit| if flags.contains(letter) { bit } else { 0 };
    Data {
        flags: DataFlags(bit('B', DataFlags::BEGIN) | bit('E', DataFlags::END) | bit('U', DataFlags::UNORDERED)),
        tsn: Tsn(u32::MAX - 1).plus(at),
        stream: StreamId(1),
        ssn: Ssn(ssn),
        ppid: Ppid(7),
        payload,
    }
}

fn take(rx: &mut Rx, data: Data<'_>) -> Received {
    rx.on_data(&data, PathId(0), &mut Block::default(), data.payload.len())
}

// covers: RFC 9260 §6.9-1, §6.9-15, §1.6-1
#[test]
fn fragments_in_any_order_become_the_message_across_the_tsn_wrap() {
    let orders: [[u32; 4]; 6] = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 0, 3, 1], [0, 3, 1, 2], [3, 0, 2, 1]];
    for order in orders {
        let mut rx = rx();
        for at in order {
            let flags = ["B", "", "", "E"][at as usize];
            let byte = [b'a' + at as u8; 3];
            assert_eq!(take(&mut rx, data(at, 0, flags, &byte)), Received::New, "{order:?}");
        }
        let message = rx.pop().unwrap();
        assert_eq!(&message.payload[..], b"aaabbbcccddd", "{order:?}");
        assert_eq!((message.ppid, message.tsn), (Ppid(7), Tsn(u32::MAX - 1)));
        assert_eq!((rx.charged(), rx.map.cumulative()), (0, Tsn(1)));
        assert!(!rx.map.has_gaps());
    }
}

// covers: RFC 9260 §6.6-1, §6.6-2, §3.3.1-3
#[test]
fn ordered_messages_wait_for_their_turn_and_unordered_ones_do_not() {
    let mut rx = rx();
    take(&mut rx, data(2, 2, "BE", b"third"));
    take(&mut rx, data(1, 1, "BE", b"second"));
    take(&mut rx, data(3, 0, "BEU", b"now"));
    assert_eq!(&rx.pop().unwrap().payload[..], b"now");
    assert!(rx.pop().is_none());
    take(&mut rx, data(0, 0, "BE", b"first"));
    let all: Vec<_> = std::iter::from_fn(|| rx.pop()).map(|message| message.payload).collect();
    assert_eq!(all, [&b"first"[..], b"second", b"third"]);
    assert_eq!(rx.charged(), 0);
}

#[test]
fn duplicates_are_noticed_and_reported_once() {
    let mut rx = rx();
    take(&mut rx, data(0, 0, "BE", b"x"));
    take(&mut rx, data(2, 1, "BE", b"y"));
    assert_eq!(take(&mut rx, data(0, 0, "BE", b"x")), Received::Duplicate);
    assert_eq!(take(&mut rx, data(2, 1, "BE", b"y")), Received::Duplicate);
    assert_eq!(rx.map.take_duplicates().len(), 2);
    assert!(rx.map.take_duplicates().is_empty());
    let gaps: Vec<_> = rx.map.gaps(9).map(|gap| (gap.start, gap.end)).collect();
    assert_eq!(gaps, [(2, 2)]);
}

#[test]
fn contradicting_fragments_are_a_violation() {
    let cases: [&[(u32, u16, &str)]; 6] = [
        &[(0, 0, "B"), (1, 0, "B")],
        &[(0, 0, "B"), (1, 1, "E")],
        &[(1, 0, "B"), (0, 0, "B")],
        &[(0, 0, "BE"), (1, 1, "E")],
        &[(1, 0, ""), (0, 0, "BE")],
        &[(0, 0, "B"), (1, 1, "BE")],
    ];
    for case in cases {
        let mut rx = rx();
        let outcomes: Vec<_> =
            case.iter().map(|(at, ssn, flags)| take(&mut rx, data(*at, *ssn, flags, b"zz"))).collect();
        assert!(matches!(outcomes.last(), Some(Received::Violation(_))), "{case:?}: {outcomes:?}");
    }
    let mut rx = rx();
    take(&mut rx, data(0, 0, "BE", b"x"));
    assert!(matches!(take(&mut rx, data(1, 0, "BE", b"x")), Received::Violation(_)), "an SSN used twice");
}

// covers: RFC 9260 §6.2-31
#[test]
fn memory_is_bounded_by_the_window_and_the_lowest_gap_can_always_be_filled() {
    let mut rx = rx();
    let payload = [0; 1000];
    // Message 0 misses its first chunk; everything else waits behind it.
    let mut taken = 0;
    for at in 1..1000 {
        if take(&mut rx, data(at, at as u16, "BE", &payload)) == Received::New {
            taken += 1;
        }
        assert!(rx.charged() <= (64 << 10) + (64 << 10) / 8);
    }
    assert!((50..70).contains(&taken), "{taken}");
    assert!(rx.a_rwnd() < 1000 + OVERHEAD, "no room for one more: {}", rx.a_rwnd());
    assert_eq!(take(&mut rx, data(0, 0, "BE", &payload)), Received::New);
    assert_eq!(rx.ready_messages(), taken + 1);
    while rx.pop().is_some() {}
    assert_eq!((rx.charged(), rx.a_rwnd()), (0, 64 << 10));
}

// covers: RFC 9260 §6.2-29, §6.2-30
#[test]
fn at_the_hard_bound_what_came_out_of_order_is_given_up() {
    let mut rx = rx();
    let payload = [0; 1000];
    for at in 20..1000 {
        take(&mut rx, data(at, at as u16, "BE", &payload));
    }
    assert!(rx.map.has_gaps());
    // Stream order holds everything back: SSN 0 comes last.
    for at in 0..19 {
        assert_eq!(take(&mut rx, data(at, at as u16 + 1, "BE", &payload)), Received::New);
    }
    assert!(!rx.map.has_gaps(), "the peer is told that they are missing again");
    assert_eq!(rx.map.cumulative(), Tsn(u32::MAX - 1).plus(18));
    assert!(rx.charged() <= (64 << 10) + (64 << 10) / 8);
}

#[test]
fn a_message_beyond_the_limit_is_refused_while_it_arrives() {
    let mut rx = Rx::new(Tsn(u32::MAX - 1), &Config { max_message: 2500, ..config() });
    assert_eq!(take(&mut rx, data(0, 0, "B", &[0; 1000])), Received::New);
    assert_eq!(take(&mut rx, data(1, 0, "", &[0; 1000])), Received::New);
    assert_eq!(take(&mut rx, data(2, 0, "", &[0; 1000])), Received::TooLarge);
}

#[test]
fn a_tsn_far_ahead_is_not_taken() {
    let mut rx = rx();
    assert_eq!(take(&mut rx, data(70_000, 0, "BE", b"far")), Received::Duplicate);
    assert!(rx.map.is_too_far(Tsn(u32::MAX - 1).plus(70_000)));
    assert!(rx.map.take_duplicates().is_empty());
    assert_eq!((rx.charged(), rx.counters.out_of_sequence, rx.counters.duplicates), (0, 1, 0));
}

#[test]
fn small_messages_of_a_packet_share_memory_but_for_one_that_has_to_wait() {
    let (mut rx, mut block) = (rx(), Block::default());
    for (at, ssn) in [(0, 0), (1, 2), (2, 1), (3, 3), (4, 4)] {
        let payload = [ssn as u8; 64];
        assert_eq!(rx.on_data(&data(at, ssn, "BE", &payload), PathId(0), &mut block, 1000), Received::New);
    }
    drop(block);
    let mut all = Vec::new();
    assert_eq!(rx.pop_many(2, &mut |message| all.push(message.payload)), 2);
    assert_eq!(rx.pop_many(9, &mut |message| all.push(message.payload)), 3);
    assert!((0u8..).zip(&all).all(|(ssn, payload)| payload[..] == [ssn; 64]));
    // The one with number 2 came early.
    let alone: Vec<bool> = all.iter().map(bytes::Bytes::is_unique).collect();
    assert_eq!(alone, [false, false, true, false, false]);
    assert_eq!((rx.charged(), rx.counters.messages), (0, 5));
}

#[test]
fn what_waits_behind_a_message_that_is_read_in_pieces_never_keeps_its_rest_out() {
    let mut rx = Rx::new(Tsn(u32::MAX - 1), &Config { partial_delivery: true, max_message: 8000, ..config() });
    let payload = [7; 1000];
    for at in 0..9 {
        assert_eq!(take(&mut rx, data(at, 0, if at == 0 { "B" } else { "" }, &payload)), Received::New);
    }
    assert_eq!(rx.ready_messages(), 1);
    let piece = rx.pop().unwrap();
    assert_eq!((piece.part, piece.payload.len()), (Part::More, 9000));
    // The rest of it is lost; what was sent behind it fills the window.
    let behind = (20..200).filter(|at| take(&mut rx, data(*at, 0, "BEU", &payload)) == Received::New).count();
    assert!(behind > 40 && rx.a_rwnd() == 0);
    assert_eq!((rx.ready_messages(), rx.pop(), rx.peek()), (0, None, None), "it all waits");
    rx.on_announced(0);
    for at in 9..19 {
        assert_eq!(take(&mut rx, data(at, 0, "", &payload)), Received::New, "{at}");
        assert_eq!(rx.peek().map(|(message, len)| (message.part, len)), Some((Part::Last, 1000)));
        assert_eq!(rx.pop().unwrap().part, Part::More);
        assert!(rx.charged() <= (64 << 10) + 2048, "one chunk more than the window");
    }
    assert_eq!(take(&mut rx, data(19, 0, "E", &payload)), Received::New);
    assert_eq!(rx.ready_messages(), 1 + behind);
    assert_eq!(rx.pop().unwrap().part, Part::Last);
    let mut rest = 0;
    assert_eq!(rx.pop_many(usize::MAX, &mut |message| rest += usize::from(message.part == Part::Whole)), behind);
    assert_eq!((rest, rx.charged(), rx.map.has_gaps()), (behind, 0, false));
}
