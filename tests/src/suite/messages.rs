//! Messages.

use super::world::{World, closed, event, expect, message, millis, on, send, soon, v4};
use super::{Case, cases};
use bytes::Bytes;
use esock::{
    Capability, Config, CongestionAlgorithm, ConnectError, Event, LossRecovery, Part, PathId, Pieces, Ppid, SendError,
    SendOptions, StreamId,
};
use std::collections::VecDeque;

pub(super) const CASES: &[Case] = cases![
    what_is_sent_arrives_both_ways,
    the_server_may_speak_first,
    messages_of_all_sizes_arrive_whole,
    streams_and_payload_identifiers_survive needs Streams Ppid,
    each_stream_keeps_its_order needs Streams,
    a_stream_that_was_not_negotiated_is_refused needs Streams,
    unordered_messages_arrive needs Unordered,
    a_slow_reader_holds_the_sender_back_and_loses_nothing,
    a_message_larger_than_the_receive_window_is_read_in_pieces needs PartialDelivery,
    bad_messages_come_back_with_a_reason,
    what_the_backend_cannot_do_is_an_error_that_names_it,
    many_messages_at_once_arrive_in_order,
];

async fn what_is_sent_arrives_both_ways(world: World) {
    let (_server, _client, (ours, mut our_inbox), (theirs, mut their_inbox)) = world.pair().await;
    send(&ours, "hello").await;
    expect(world, &mut their_inbox, b"hello").await;
    send(&theirs, "how do you do").await;
    expect(world, &mut our_inbox, b"how do you do").await;
}

async fn the_server_may_speak_first(world: World) {
    let (_server, _client, (_ours, mut our_inbox), (theirs, _their_inbox)) = world.pair().await;
    send(&theirs, "welcome").await;
    expect(world, &mut our_inbox, b"welcome").await;
}

/// Bytes that are wrong in any other place.
fn pattern(len: usize) -> Bytes {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect::<Vec<u8>>().into()
}

async fn messages_of_all_sizes_arrive_whole(world: World) {
    let (_server, _client, (ours, _our_inbox), (_theirs, mut their_inbox)) = world.pair().await;
    for len in [1, 2, 3, 4, 100, 1_199, 1_452, 4_000, 16_384, 65_535, 65_537, 131_072, 262_144] {
        let payload = pattern(len);
        let (sent, ()) =
            tokio::join!(ours.send(SendOptions::default(), payload.clone()), expect(world, &mut their_inbox, &payload));
        sent.unwrap_or_else(|error| panic!("{len} bytes: {error}"));
    }
}

async fn streams_and_payload_identifiers_survive(world: World) {
    let (_server, _client, (ours, _our_inbox), (_theirs, mut their_inbox)) = world.pair().await;
    for (stream, ppid) in [(0, 0), (1, 46), (9, 0x0102_0304), (3, u32::MAX)] {
        let options = SendOptions { ppid: Ppid(ppid), ..on(stream) };
        soon("sending", ours.send(options, "x")).await.expect("it is taken");
        let message = message(&mut their_inbox).await;
        assert_eq!((message.stream, message.ppid), (StreamId(stream), Ppid(ppid)));
    }
}

async fn each_stream_keeps_its_order(world: World) {
    let (_server, _client, (ours, _our_inbox), (_theirs, mut their_inbox)) = world.pair().await;
    let sender = tokio::spawn(async move {
        for number in 0..300u32 {
            soon("sending", ours.send(on(number as u16 % 10), number.to_be_bytes().to_vec())).await.expect("taken");
        }
        ours
    });
    let mut last = [None; 10];
    for _ in 0..300 {
        let message = message(&mut their_inbox).await;
        let number = u32::from_be_bytes(*message.payload.first_chunk().expect("four bytes"));
        let stream = usize::from(message.stream.0);
        assert_eq!(number as usize % 10, stream);
        assert!(last[stream] < Some(number), "{number} came after {:?}", last[stream]);
        last[stream] = Some(number);
    }
    sender.await.expect("the sender ends well");
}

async fn a_stream_that_was_not_negotiated_is_refused(world: World) {
    let (_server, _client, (ours, _our_inbox), _theirs) = world.pair().await;
    let rejected = ours.send(on(10), "x").await.expect_err("ten streams: 0 to 9");
    assert_eq!(rejected.error, SendError::BadStream { stream: StreamId(10), count: 10 });
    assert_eq!(rejected.payload, "x", "it comes back");
}

async fn unordered_messages_arrive(world: World) {
    let (_server, _client, (ours, _our_inbox), (_theirs, mut their_inbox)) = world.pair().await;
    let options = SendOptions { unordered: true, ..SendOptions::default() };
    soon("sending", ours.send(options, "now")).await.expect("taken");
    let message = message(&mut their_inbox).await;
    assert!(message.unordered && message.payload == "now");
}

async fn a_slow_reader_holds_the_sender_back_and_loses_nothing(world: World) {
    let (_server, _client, (ours, _our_inbox), (_theirs, mut their_inbox)) = world.pair().await;
    // More than all buffers on the way can take.
    let (len, most) = (10_000, 20_000);
    let mut taken = 0u64;
    let mut full = 0;
    while full < 20 && taken < most {
        match ours.try_send(SendOptions::default(), pattern(len)) {
            Ok(()) => (taken, full) = (taken + 1, 0),
            Err(rejected) => {
                assert_eq!(rejected.error, SendError::Full);
                // What is on its way may yet make room; in the end nothing does.
                full += 1;
                tokio::time::sleep(millis(20)).await;
            }
        }
    }
    assert!(taken < most, "nothing held the sender back");
    let last = tokio::spawn(async move {
        soon("room for one more", ours.send(SendOptions::default(), pattern(len))).await.expect("taken");
        ours
    });
    let mut bytes = 0u64;
    while bytes < (taken + 1) * len as u64 {
        bytes += message(&mut their_inbox).await.payload.len() as u64;
    }
    assert_eq!(bytes, (taken + 1) * len as u64);
    last.await.expect("the sender ends well");
}

async fn a_message_larger_than_the_receive_window_is_read_in_pieces(world: World) {
    let mut config = world.config();
    (config.receive_window, config.max_message, config.partial_delivery) = (64 << 10, 20_000, true);
    let server = world.builder().config(config).open().await.expect("it opens");
    let client = world.endpoint().await;
    let ((ours, mut our_inbox), (theirs, mut their_inbox)) = world.join(&client, &server).await;
    // More than three times the window and a packet, by which it may be exceeded.
    let large = pattern(300_000);
    send(&ours, large.clone()).await;
    send(&ours, "and then").await;
    let mut pieces = Pieces::default();
    let mut count = 0;
    let whole = loop {
        count += 1;
        if let Some(whole) = pieces.join(message(&mut their_inbox).await) {
            break whole;
        }
    };
    assert!(count > 3 && whole.payload == large, "{count} pieces, {} bytes", whole.payload.len());
    expect(world, &mut their_inbox, b"and then").await;
    // What is cut off says so.
    send(&ours, large.clone()).await;
    assert_eq!(message(&mut their_inbox).await.part, Part::More);
    ours.abort(b"");
    let mut last = Part::More;
    while last == Part::More {
        last = message(&mut their_inbox).await.part;
    }
    assert_eq!(last, Part::Cut);
    closed(&mut their_inbox).await;
    closed(&mut our_inbox).await;
    drop(theirs);
}

async fn bad_messages_come_back_with_a_reason(world: World) {
    let (_server, _client, (ours, _our_inbox), _theirs) = world.pair().await;
    let error = |payload: Bytes| ours.try_send(SendOptions::default(), payload).expect_err("it cannot be sent").error;
    assert_eq!(error(Bytes::new()), SendError::Empty);
    let limit = world.config().send_buffer;
    assert_eq!(error(pattern(limit + 1)), SendError::TooLarge { len: limit + 1, limit });
}

async fn what_the_backend_cannot_do_is_an_error_that_names_it(world: World) {
    let (server, client, (ours, _our_inbox), _theirs) = world.pair().await;
    let can = client.capabilities();
    let try_send = |options| ours.try_send(options, "x").map_err(|rejected| rejected.error);
    let cases = [
        (Capability::Streams, on(1)),
        (Capability::Ppid, SendOptions { ppid: Ppid(46), ..SendOptions::default() }),
        (Capability::Unordered, SendOptions { unordered: true, ..SendOptions::default() }),
        (Capability::MessagePath, SendOptions { path: Some(PathId(0)), ..SendOptions::default() }),
    ];
    for (capability, options) in cases {
        let expected = if can.has(capability) { Ok(()) } else { Err(SendError::Unsupported(capability)) };
        assert_eq!(try_send(options), expected);
    }
    let path = ours.paths().into_iter().next().expect("there is a path");
    let unsupported = |capability| Err(esock::PathError::Unsupported(capability));
    if !can.has(Capability::PrimaryPath) {
        assert_eq!(path.set_primary(), unsupported(Capability::PrimaryPath));
    }
    if !can.has(Capability::PathParameters) {
        let parameters = esock::PathParameters::default();
        assert_eq!(path.set_parameters(parameters), unsupported(Capability::PathParameters));
    }
    for change in [
        |config: &mut Config| config.congestion = CongestionAlgorithm::Cubic,
        |config: &mut Config| config.loss_recovery = LossRecovery::Rack,
        |config: &mut Config| config.pacing = true,
    ] {
        let mut config = world.config();
        change(&mut config);
        let opened = world.builder().config(config.clone()).open().await.map_err(|error| error.to_string());
        if can.has(Capability::CongestionControl) {
            assert!(opened.is_ok(), "{opened:?}");
        } else {
            assert!(opened.is_err_and(|error| error.contains("congestion control")));
            let connected = world.endpoint().await.connect(world.to(&server).config(config)).await;
            let refused = ConnectError::Invalid(esock::InvalidConnect::Unsupported(Capability::CongestionControl));
            assert_eq!(connected.err(), Some(refused));
        }
    }
    if !can.has(Capability::Impairment) {
        assert_eq!(client.impairment(|network| network.block(v4(1), esock::Direction::Both)), None);
    }
}

async fn many_messages_at_once_arrive_in_order(world: World) {
    let (_server, _client, (ours, mut our_inbox), (_theirs, mut their_inbox)) = world.pair().await;
    let mut messages: VecDeque<_> =
        (0..2_000u32).map(|number| (SendOptions::default(), Bytes::from(number.to_be_bytes().to_vec()))).collect();
    let sender = tokio::spawn(async move {
        soon("sending many", ours.send_many(&mut messages)).await.expect("all are taken");
        ours.shutdown().await
    });
    let mut bytes = Vec::new();
    while bytes.len() < 8_000 {
        bytes.extend(message(&mut their_inbox).await.payload);
    }
    let numbers: Vec<u32> = bytes.as_chunks().0.iter().map(|chunk| u32::from_be_bytes(*chunk)).collect();
    assert!(numbers.iter().copied().eq(0..2_000));
    drop(their_inbox);
    drop(_theirs);
    event(&mut our_inbox, "the end", |event| matches!(event, Event::Closed(_)).then_some(())).await;
    sender.await.expect("the sender ends well");
}
