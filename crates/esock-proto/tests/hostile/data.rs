//! DATA that is empty, out of range, contradictory, or more than there is room for.

use crate::meter::cost;
use crate::wire::*;
use crate::world::*;
use esock_proto::*;

const END: u8 = 1;
const BEGIN: u8 = 2;
const UNORDERED: u8 = 4;
const NOW: u8 = 8;

/// The one ABORT that a packet brings about: its first cause. The association is closed, nothing is left of it.
fn aborted(world: &mut World, peer: &Tcb, chunks_sent: &[u8]) -> (u16, Vec<u8>) {
    let replies = world.hit(evil(), &peer.packet(chunks_sent));
    assert_eq!(replies.len(), 1, "{replies:?}");
    let abort = chunks(&replies[0].data).remove(0);
    assert_eq!((abort.0, tag_of(&replies[0].data)), (ABORT, peer.fields.tag));
    assert_eq!(world.state(peer.id()), Some(State::Closed));
    world.assert_at_rest();
    params(&abort.2).remove(0)
}

// covers: RFC 9260 §3.3.1, RFC 9260 §6.2, RFC 9260 §3.3.10.9
#[test]
fn data_without_user_data_ends_the_association() {
    for flags in [0, BEGIN, END, BEGIN | END, 15] {
        let mut world = World::new();
        let peer = world.settled();
        let cause = aborted(&mut world, &peer, &data(flags, peer.tsn, 0, 1, &[]));
        assert_eq!(cause, (9, peer.tsn.to_be_bytes().to_vec()), "No User Data, with the TSN");
    }
}

// covers: RFC 9260 §3.3.1
#[test]
fn data_shorter_than_its_header_ends_the_association() {
    for len in 0..12 {
        let mut world = World::new();
        let peer = world.settled();
        assert_eq!(aborted(&mut world, &peer, &chunk(DATA, 3, &vec![0; len])).0, 13);
    }
}

// covers: RFC 9260 §6.5, RFC 9260 §3.3.10.1
#[test]
fn data_for_streams_that_do_not_exist_is_acknowledged_reported_and_not_kept() {
    let mut config = quiet();
    config.inbound_streams = 5;
    let mut world = World::with(config, StackConfig::default());
    let mut peer = world.settled();
    for stream in [5, 6, 1000, 65_535] {
        let bad = peer.data(BEGIN | END | NOW, stream, 0, b"nowhere to go");
        let replies = world.hit(evil(), &peer.packet(&bad));
        let chunks = chunks(&replies[0].data);
        assert_eq!((replies.len(), chunks[0].0), (1, ERROR));
        assert_eq!(params(&chunks[0].2), [(1, [&u16::to_be_bytes(stream)[..], &[0, 0]].concat())]);
        let stats = world.stats(peer.id());
        assert_eq!((stats.receive_buffered, stats.ready_messages), (0, 0));
    }
    let sacks = world.wait(std::time::Duration::from_secs(1));
    let last = sacks.iter().flat_map(|reply| chunks(&reply.data)).rfind(|chunk| chunk.0 == SACK);
    assert!(last.is_none_or(|sack| u32_at(&sack.2, 0) == peer.tsn.wrapping_sub(1)), "all acknowledged");
    // A packet full of them is answered with one packet.
    let flood: Vec<u8> = (0..60).flat_map(|_| peer.data(BEGIN | END, 9, 0, b"x")).collect();
    let replies = world.hit(evil(), &peer.packet(&flood));
    assert_eq!(replies.len(), 1);
    assert!(replies[0].data.len() <= flood.len() + 12);
}

// covers: RFC 9260 §6.2
#[test]
fn a_tsn_far_ahead_or_behind_takes_no_room() {
    let mut world = World::new();
    let peer = world.settled();
    for far in [65_535u32, 65_536, 100_000, 1 << 30, (1 << 31) - 1, 1 << 31, u32::MAX - 1] {
        let before = world.stats(peer.id());
        let packet = peer.packet(&data(3, peer.tsn.wrapping_add(far), 0, 1, &[7; 1000]));
        let spent = cost(|| world.feed(evil(), &packet));
        assert!(spent.kept <= 256, "{spent:?}");
        let replies = world.collect();
        assert!(replies.len() <= 1);
        for reply in replies {
            let sack = chunks(&reply.data).remove(0);
            assert_eq!((sack.0, u32_at(&sack.2, 0)), (SACK, peer.tsn.wrapping_sub(1)), "nothing was taken");
            assert_eq!(sack.2[8..10], [0, 0], "no gap block for {far}");
        }
        let after = world.stats(peer.id());
        assert_eq!(after.receive_buffered, before.receive_buffered);
    }
    // The farthest that can be reported costs its bit map: 8 KiB, once.
    let packet = peer.packet(&data(3, peer.tsn.wrapping_add(65_534), 0, 9, b"far"));
    let spent = cost(|| world.feed(evil(), &packet));
    assert!(spent.kept < 20_000, "{spent:?}");
    assert_eq!(world.stats(peer.id()).state, State::Established);
}

// covers: RFC 9260 §6.2, RFC 9260 §6.9
#[test]
fn a_fragment_that_comes_again_with_other_content_does_not_replace_the_first() {
    let mut world = World::new();
    let peer = world.settled();
    let at = |offset: u32| peer.tsn.wrapping_add(offset);
    for chunk in [
        data(BEGIN, at(0), 0, 1, b"first "),
        data(BEGIN, at(0), 0, 1, b"FORGED AND LONGER"),
        data(END, at(0), 7, 9, b"other flags, other stream"),
        data(END, at(1), 0, 1, b"second"),
        data(BEGIN | END, at(1), 0, 2, b"once more"),
    ] {
        let _ = world.hit(evil(), &peer.packet(&chunk));
    }
    let message = world.stack.recv(world.now, peer.id()).expect("it is complete");
    assert_eq!(message.payload, b"first second"[..]);
    assert!(world.stack.recv(world.now, peer.id()).is_none());
    let stats = world.stats(peer.id());
    assert_eq!((stats.counters.duplicates_received, stats.receive_buffered), (3, 0));
}

/// Fragments that contradict each other, in the order in which they come: (flags, offset, stream, SSN).
type Contradiction = (&'static str, &'static [(u8, u32, u16, u16)]);

const CONTRADICTIONS: &[Contradiction] = &[
    ("a middle with no beginning", &[(0, 0, 0, 1)]),
    ("an end with no beginning", &[(END, 0, 0, 1)]),
    ("a beginning behind a beginning", &[(BEGIN, 0, 0, 1), (BEGIN, 1, 0, 2)]),
    ("a whole message behind a beginning", &[(BEGIN, 0, 0, 1), (BEGIN | END, 1, 0, 2)]),
    ("a middle behind an end", &[(BEGIN, 0, 0, 1), (END, 1, 0, 1), (0, 2, 0, 1)]),
    ("a middle behind a whole message", &[(BEGIN | END, 0, 0, 1), (0, 1, 0, 2)]),
    ("another stream in the middle", &[(BEGIN, 0, 0, 1), (0, 1, 1, 1)]),
    ("another SSN in the middle", &[(BEGIN, 0, 0, 1), (END, 1, 0, 2)]),
    ("another order in the middle", &[(BEGIN, 0, 0, 1), (END | UNORDERED, 1, 0, 1)]),
    ("unordered, then ordered", &[(BEGIN | UNORDERED, 0, 0, 1), (END, 1, 0, 1)]),
    ("out of order: a middle before a beginning", &[(0, 5, 0, 1), (BEGIN, 6, 0, 1)]),
    ("out of order: the same stream number twice", &[(BEGIN | END, 3, 0, 5), (BEGIN | END, 2, 0, 5)]),
    ("a stream number that was used", &[(BEGIN | END, 0, 0, 1), (BEGIN | END, 1, 0, 1)]),
    ("a stream number of long ago", &[(BEGIN | END, 0, 0, 0x8001)]),
];

// covers: RFC 9260 §6.9, RFC 9260 §6.6
#[test]
fn fragments_in_contradiction_end_the_association_and_free_what_they_took() {
    for (what, fragments) in CONTRADICTIONS {
        let mut world = World::new();
        let peer = world.settled();
        let mut replies = Vec::new();
        for (flags, offset, stream, ssn) in *fragments {
            let piece = data(*flags, peer.tsn.wrapping_add(*offset), *stream, *ssn, &[3; 100]);
            replies.extend(world.hit(evil(), &peer.packet(&piece)));
        }
        let aborts: Vec<_> = replies.iter().filter(|reply| kinds(&reply.data) == [ABORT]).collect();
        assert_eq!(aborts.len(), 1, "{what}: {replies:?}");
        assert_eq!(params(&chunks(&aborts[0].data)[0].2)[0].0, 13, "{what}");
        assert!(matches!(world.closed(peer.id()), Some(CloseReason::ProtocolViolation { cause: 13, .. })), "{what}");
        world.stack.release(world.now, peer.id());
        assert_eq!(world.stack.stats().associations, 0);
    }
}

// covers: RFC 9260 §6.9
#[test]
fn a_message_that_never_ends_is_cut_off_at_the_limit() {
    let mut config = quiet();
    config.max_message = 20_000;
    let mut world = World::with(config, StackConfig::default());
    let mut peer = world.settled();
    let first = peer.data(BEGIN, 0, 1, &[1; 1000]);
    let _ = world.hit(evil(), &peer.packet(&first));
    let mut most = 0;
    let closed = (0..100).find_map(|_| {
        let more = peer.data(0, 0, 1, &[2; 1000]);
        let replies = world.hit(evil(), &peer.packet(&more));
        most = most.max(world.stats(peer.id()).receive_buffered);
        replies.into_iter().find(|reply| kinds(&reply.data) == [ABORT])
    });
    let abort = chunks(&closed.expect("it ends").data).remove(0);
    assert_eq!(params(&abort.2), [(4, vec![])], "Out of Resource");
    assert_eq!(world.closed(peer.id()), Some(CloseReason::MessageTooLarge));
    assert!(most <= 20_000 + 21 * 256, "{most}");
}

/// It is held up by the window while nobody reads, and else goes on for as long as somebody does.
// covers: RFC 9260 §6.9
#[test]
fn a_message_that_never_ends_costs_no_more_than_the_window_where_it_is_read_in_pieces() {
    for fragment in [1, 100, 1000] {
        let mut config = quiet();
        let window = 20_000;
        let whole = 5000.min(50 * fragment);
        (config.receive_window, config.partial_delivery, config.max_message) = (window, true, whole);
        let mut world = World::with(config, StackConfig::default());
        let mut peer = world.settled();
        let first = peer.data(BEGIN, 0, 1, &vec![1; fragment]);
        let _ = world.hit(evil(), &peer.packet(&first));
        let (mut most, mut read) = (0, 0);
        for round in 0..2000 {
            // Whatever the window says, and again if it was not taken.
            let tsn = peer.tsn;
            let before = world.stats(peer.id()).counters.window_drops;
            let more = peer.data(0, 0, 1, &vec![2; fragment]);
            let _ = world.hit(evil(), &peer.packet(&more));
            let stats = world.stats(peer.id());
            most = most.max(stats.receive_buffered);
            if stats.counters.window_drops > before {
                peer.tsn = tsn;
            }
            while round > 1000
                && let Some(piece) = world.stack.recv(world.now, peer.id())
            {
                assert_eq!(piece.part, Part::More);
                read += piece.payload.len();
            }
        }
        assert_eq!(world.closed(peer.id()), None);
        assert!(most <= (window + window / 8) as usize, "{most} held in fragments of {fragment}");
        assert!(read > 900 * fragment, "{read} read in fragments of {fragment}");
    }
}

/// Fills the window with the smallest chunks, none of which can be delivered, in several ways. What the
/// allocator has given stays within a small multiple of the window.
// covers: RFC 9260 §6.2
#[test]
fn memory_is_bounded_by_the_window_whatever_fills_it() {
    type Filling = (&'static str, fn(u32) -> (u8, u32, u16, u16), usize);
    let fillings: [Filling; 6] = [
        ("whole messages of one byte that wait for an SSN", |at| (BEGIN | END, at, 0, 2 + at as u16), 1),
        ("whole messages behind a gap", |at| (BEGIN | END, 1 + at, 0, 2 + at as u16), 1),
        ("beginnings with gaps between them", |at| (BEGIN, 1 + 2 * at, 0, 2 + at as u16), 1),
        ("middles with gaps between them", |at| (0, 1 + 2 * at, 0, 7), 1),
        ("one message in pieces of one byte", |at| (if at == 0 { BEGIN } else { 0 }, at, 0, 1), 1),
        ("each on a stream of its own", |at| (BEGIN | END, at, (at * 64) as u16, 1), 1),
    ];
    for (what, make, size) in fillings {
        let mut config = quiet();
        config.receive_window = 64 << 10;
        let window = 64 << 10;
        let mut world = World::with(config, StackConfig::default());
        let fields = InitFields { outbound: u16::MAX, ..InitFields::default() };
        let mut peer = world.half_open(evil(), fields, &[]);
        let first = peer.data(BEGIN | END, 0, 0, b"first");
        let echo = chunk(COOKIE_ECHO, 0, &peer.cookie);
        let _ = world.hit(evil(), &peer.packet(&[echo, first].concat()));
        peer.id = world.accepted.last().copied();
        assert!(world.stack.recv(world.now, peer.id()).is_some());
        let mut last = Vec::new();
        let spent = cost(|| {
            for at in 0..3000 {
                let (flags, offset, stream, ssn) = make(at);
                let packet = peer.packet(&data(flags, peer.tsn.wrapping_add(offset), stream, ssn, &vec![1; size]));
                world.feed(evil(), &packet);
                if at % 2 == 0 {
                    last = world.collect();
                    assert!(last.len() <= 2, "{what}");
                }
            }
            last = Vec::new();
        });
        let stats = world.stats(peer.id());
        println!("{what}: {} bytes held for a window of {window}, charged {}", spent.kept, stats.receive_buffered);
        assert_eq!(stats.state, State::Established, "{what}");
        assert!(stats.receive_buffered <= window + window / 8, "{what}: {stats:#?}");
        assert!(spent.kept < 3 * window as isize, "{what}: {} bytes", spent.kept);
    }
}

/// A message whose fragments come from its end on: each joins those behind it, and twice as many are twice the work.
#[test]
fn a_message_that_comes_from_its_end_on_is_no_more_work() {
    let spent = [2000u32, 4000].map(|fragments| {
        let mut world = World::with(quiet(), StackConfig::default());
        let mut peer = world.settled();
        let packets: Vec<_> = (0..fragments)
            .rev()
            .map(|at| {
                let flags = if at == 0 { BEGIN } else { 0 } | if at == fragments - 1 { END } else { 0 };
                peer.packet(&data(flags, peer.tsn.wrapping_add(at), 0, 1, &[at as u8]))
            })
            .collect();
        peer.tsn = peer.tsn.wrapping_add(fragments);
        let spent = cost(|| packets.iter().for_each(|packet| world.feed(evil(), packet)));
        let whole = world.stack.recv(world.now, peer.id()).expect("it is whole");
        assert!(whole.payload.iter().enumerate().all(|(at, byte)| *byte == at as u8));
        assert_eq!(whole.payload.len(), fragments as usize);
        spent.allocated
    });
    assert!(spent[1] < 3 * spent[0], "{spent:?} bytes were asked for");
}

// covers: RFC 9260 §6.2
#[test]
fn a_slow_reader_shuts_the_window_and_costs_no_more() {
    let mut config = quiet();
    config.receive_window = 32 << 10;
    let mut world = World::with(config, StackConfig::default());
    let mut peer = world.settled();
    let mut replies = Vec::new();
    for at in 0..40u16 {
        let data = peer.data(BEGIN | END | NOW, 0, 1 + at, &[5; 1000]);
        replies = world.hit(evil(), &peer.packet(&data));
    }
    let sack = chunks(&replies[0].data).remove(0);
    assert_eq!(u32_at(&sack.2, 4), 0, "the window is shut");
    let before = world.stats(peer.id());
    let spent = cost(|| {
        for at in 0..10_000u16 {
            let tsn = peer.tsn.wrapping_add(u32::from(at));
            let replies = world.hit(evil(), &peer.packet(&data(BEGIN | END, tsn, 0, 50 + at, &[5; 1000])));
            assert!(replies.len() <= 1);
        }
    });
    let after = world.stats(peer.id());
    assert_eq!(after.receive_buffered, before.receive_buffered);
    assert!(spent.kept <= 1024, "{spent:?}");
    assert!(after.counters.window_drops >= 10_000, "{after:#?}");
    let mut read = 0;
    while world.stack.recv(world.now, peer.id()).is_some() {
        read += 1;
    }
    assert!((20..=40).contains(&read), "{read} messages were kept");
    let update = chunks(&world.collect()[0].data).remove(0);
    assert_eq!((update.0, u32_at(&update.2, 4)), (SACK, 32 << 10));
}

// covers: RFC 9260 §6.2
#[test]
fn a_flood_of_duplicates_is_answered_one_for_one_and_forgotten() {
    let mut world = World::new();
    let peer = world.settled();
    let old = peer.packet(&data(BEGIN | END, peer.tsn.wrapping_sub(1), 0, 0, b"first"));
    let spent = cost(|| {
        for _ in 0..5000 {
            let replies = world.hit(evil(), &old);
            assert_eq!(replies.len(), 1);
            assert!(replies[0].data.len() <= old.len());
        }
        // Many in a packet: at most twenty are reported.
        let many = data(BEGIN | END, peer.tsn.wrapping_sub(1), 0, 0, b"first").repeat(60);
        let replies = world.hit(evil(), &peer.packet(&many));
        let sack = chunks(&replies[0].data).remove(0);
        assert_eq!((replies.len(), sack.2[10..12].to_vec()), (1, vec![0, 20]));
    });
    assert!(spent.kept <= 256, "{spent:?}");
    assert_eq!(world.stats(peer.id()).ready_messages, 0);
}

/// Data in a state that takes none.
// covers: RFC 9260 §4, RFC 9260 §9.2
#[test]
fn data_after_the_peer_said_that_there_is_no_more_is_ignored() {
    let mut world = World::new();
    let mut peer = world.settled();
    let shutdown = chunk(SHUTDOWN, 0, &peer.their_tsn.wrapping_sub(1).to_be_bytes());
    assert_eq!(kinds(&world.hit(evil(), &peer.packet(&shutdown))[0].data), [SHUTDOWN_ACK]);
    let before = world.stats(peer.id());
    for at in 0..10u16 {
        let late = peer.data(BEGIN | END | NOW, 0, 1 + at, b"late");
        let _ = world.hit(evil(), &peer.packet(&late));
    }
    let after = world.stats(peer.id());
    assert_eq!((after.state, after.receive_buffered), (State::ShutdownAckSent, before.receive_buffered));
    assert_eq!(after.counters.bytes_received, before.counters.bytes_received);
}

/// All 65,536 streams, each with one message: their numbers are kept, and that is bounded.
#[test]
fn the_numbers_of_all_streams_cost_less_than_200_kb() {
    let fields = InitFields { outbound: u16::MAX, ..InitFields::default() };
    let mut world = World::new();
    let mut peer = world.half_open(evil(), fields, &[]);
    let _ = world.hit(evil(), &peer.echo());
    peer.id = world.accepted.last().copied();
    let id = peer.id();
    let spent = cost(|| {
        for stream in 0..u16::MAX {
            let data = peer.data(BEGIN | END, stream, 0, b"1");
            let _ = world.hit(evil(), &peer.packet(&data));
            assert!(world.stack.recv(world.now, id).is_some());
            world.events.clear();
        }
    });
    assert!(spent.kept < 200_000, "{spent:?}");
}
