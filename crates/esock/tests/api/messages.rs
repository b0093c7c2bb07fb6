//! Messages: whole, once, in order, and never more than there is room for.

use crate::net::*;
use bytes::Bytes;
use esock::{Direction, Part, Pieces, Ppid, Received, SendError, SendOptions, StreamId};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_carry_messages_of_all_sizes_both_ways_in_order() {
    let mut pair = Pair::new().await;
    let sizes = [8, 1, 100, 1400, 5_000, 60_000, 200_000];
    let send = |association: esock::Association| async move {
        for number in 0..400u64 {
            let options = SendOptions {
                stream: StreamId((number % 10) as u16),
                ppid: Ppid(number as u32),
                ..SendOptions::default()
            };
            let payload = numbered(number, sizes[number as usize % sizes.len()]);
            association.send(options, payload).await.unwrap();
        }
    };
    let receive = |mut receiver: esock::Receiver| async move {
        let mut last = BTreeMap::new();
        for _ in 0..400 {
            let message = message(&mut receiver).await;
            let number = number_of(&message);
            assert_eq!(u64::from(message.stream.0), number % 10);
            assert_eq!(message.ppid, Ppid(number as u32));
            assert_eq!(message.payload.len(), sizes[number as usize % sizes.len()].max(8));
            // Every tenth message is on the same stream: each follows the one before it.
            let before = last.insert(message.stream, number);
            assert_eq!(before, number.checked_sub(10), "stream {:?}", message.stream);
            assert_eq!(message.ssn, esock::Ssn((number / 10) as u16));
        }
        receiver
    };
    let there = (tokio::spawn(send(pair.near.clone())), tokio::spawn(receive(pair.far_rx)));
    let back = (tokio::spawn(send(pair.far.clone())), tokio::spawn(receive(pair.near_rx)));
    for sent in [there.0, back.0] {
        soon(sent).await.unwrap();
    }
    pair.far_rx = soon(there.1).await.unwrap();
    pair.near_rx = soon(back.1).await.unwrap();
    assert!(!matches!(pair.far_rx.try_recv(), Some(Received::Message(_))), "nothing comes twice");
    assert!(!matches!(pair.near_rx.try_recv(), Some(Received::Message(_))), "nothing comes twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn unordered_messages_say_so() {
    let mut pair = Pair::new().await;
    let options = SendOptions { unordered: true, sack_immediately: true, ..on_stream(2) };
    pair.near.send(options, "any time").await.unwrap();
    let heard = message(&mut pair.far_rx).await;
    assert!(heard.unordered);
    assert_eq!((heard.stream, heard.payload), (StreamId(2), Bytes::from("any time")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_sent_comes_back_with_the_reason() {
    let mut pair = Pair::new().await;
    let cases = [
        (on_stream(0), Bytes::new(), SendError::Empty),
        (on_stream(10), numbered(1, 8), SendError::BadStream { stream: StreamId(10), count: 10 }),
        (on_stream(0), numbered(2, (1 << 20) + 1), SendError::TooLarge { len: (1 << 20) + 1, limit: 1 << 20 }),
    ];
    for (options, payload, error) in cases {
        let rejected = pair.near.send(options, payload.clone()).await.unwrap_err();
        assert_eq!((rejected.error, rejected.payload), (error.clone(), payload.clone()));
        let rejected = pair.near.try_send(options, payload.clone()).unwrap_err();
        assert_eq!((rejected.error, rejected.payload), (error.clone(), payload.clone()));
        // In a batch, what comes before it is taken, and what comes behind it stays.
        let mut batch = VecDeque::from([
            (on_stream(0), numbered(7, 8)),
            (options, payload.clone()),
            (on_stream(0), numbered(8, 8)),
        ]);
        assert_eq!(pair.near.send_many(&mut batch).await.unwrap_err(), error);
        assert_eq!(batch, [(options, payload), (on_stream(0), numbered(8, 8))]);
        assert_eq!(numbers(&mut pair.far_rx, 1).await, [7]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn try_send_says_when_the_buffer_is_full_and_gives_the_message_back() {
    let mut pair = Pair::new().await;
    let mut taken = 0;
    let rejected = loop {
        match pair.near.try_send(on_stream(0), numbered(taken, 10_000)) {
            Ok(()) => taken += 1,
            // What is being acknowledged makes room: full is what stays full.
            Err(_) if pair.near.stats().unwrap().peer_rwnd > 20_000 => tokio::task::yield_now().await,
            Err(rejected) => break rejected,
        }
        assert!(taken < 1000, "nobody reads, and yet all is taken");
    };
    assert_eq!(rejected.error, SendError::Full);
    assert_eq!(rejected.payload, numbered(taken, 10_000));
    // The peer's window and our buffer, a megabyte each.
    assert!((100..=210).contains(&taken), "{taken}");
    let all: Vec<u64> = (0..taken).collect();
    assert_eq!(numbers(&mut pair.far_rx, taken).await, all);
    until("there is room again", || pair.near.try_send(on_stream(0), numbered(taken, 10_000)).is_ok()).await;
    assert_eq!(numbers(&mut pair.far_rx, 1).await, [taken]);
}

#[tokio::test(flavor = "multi_thread")]
async fn send_waits_for_room_and_goes_on_when_the_peer_reads() {
    let mut pair = Pair::new().await;
    let sender = tokio::spawn({
        let near = pair.near.clone();
        async move {
            for number in 0..1000 {
                near.send(on_stream(0), numbered(number, 10_000)).await.unwrap();
            }
        }
    });
    until("the window is closed", || pair.near.stats().unwrap().peer_rwnd < 10_000).await;
    tokio::time::sleep(millis(200)).await;
    assert!(!sender.is_finished(), "ten megabytes do not fit into two");
    let stats = pair.far.stats().unwrap();
    assert!(stats.receive_buffered <= (1 << 20) * 9 / 8, "{}", stats.receive_buffered);
    assert!(pair.near.stats().unwrap().send_buffered <= 1 << 20);
    let all: Vec<u64> = (0..1000).collect();
    assert_eq!(numbers(&mut pair.far_rx, 1000).await, all);
    soon(sender).await.unwrap();
    until("the buffers are empty", || pair.near.stats().unwrap().send_buffered == 0).await;
    assert_eq!(pair.far.stats().unwrap().receive_buffered, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_go_through_one_by_one() {
    const ALL: u64 = 20_000;
    let mut pair = Pair::new().await;
    let sender = tokio::spawn({
        let near = pair.near.clone();
        async move {
            let mut batch = VecDeque::new();
            for number in 0..ALL {
                batch.push_back((on_stream(0), numbered(number, 64)));
                if batch.len() == 777 || number == ALL - 1 {
                    near.send_many(&mut batch).await.unwrap();
                    assert!(batch.is_empty());
                }
            }
        }
    });
    let (mut heard, mut batch) = (0, Vec::new());
    while heard < ALL {
        let count = soon(pair.far_rx.recv_many(&mut batch, 100)).await;
        assert_eq!(count, batch.len());
        assert!((1..=100).contains(&count));
        for received in batch.drain(..) {
            if let Received::Message(message) = received {
                assert_eq!(number_of(&message), heard);
                heard += 1;
            }
        }
    }
    soon(sender).await.unwrap();
    assert_eq!(pair.far_rx.recv_many(&mut batch, 0).await, 0);
    assert_eq!(pair.far.stats().unwrap().counters.messages_received, ALL);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_may_send_over_one_association() {
    let mut pair = Pair::new().await;
    let mut senders = tokio::task::JoinSet::new();
    for task in 0..10u64 {
        let near = pair.near.clone();
        senders.spawn(async move {
            for number in 0..300 {
                near.send(on_stream(task as u16), numbered(task * 1000 + number, 3000)).await.unwrap();
            }
        });
    }
    let mut next = [0; 10];
    for _ in 0..3000 {
        let message = message(&mut pair.far_rx).await;
        let task = usize::from(message.stream.0);
        assert_eq!(number_of(&message), task as u64 * 1000 + next[task]);
        next[task] += 1;
    }
    soon(senders.join_all()).await;
    assert_eq!(next, [300; 10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_ten_megabytes_goes_through_a_window_of_one() {
    let (mut sending, mut reading) = (fast(), fast());
    sending.send_buffer = 16 << 20;
    reading.partial_delivery = true;
    let mut pair = Pair::with([builder().config(sending), builder().config(reading)]).await;
    let large = numbered(7, 10 << 20);
    pair.near.send(on_stream(0), large.clone()).await.unwrap();
    pair.near.send(on_stream(1), numbered(8, 100)).await.unwrap();
    let (mut pieces, mut count) = (Pieces::default(), 0);
    loop {
        let piece = message(&mut pair.far_rx).await;
        assert!(piece.payload.len() <= 2 << 20, "no more than the window holds");
        count += 1;
        if let Some(whole) = pieces.join(piece) {
            assert!(whole.payload == large && whole.part == Part::Whole);
            break;
        }
    }
    assert!(count > 5, "{count} pieces");
    assert_eq!(number_of(&message(&mut pair.far_rx).await), 8);
    // One that no buffer holds is refused, and comes back.
    let rejected = pair.near.send(on_stream(0), numbered(9, 17 << 20)).await.unwrap_err();
    assert_eq!(rejected.error, SendError::TooLarge { len: 17 << 20, limit: 16 << 20 });
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_waited_longest_for_room_goes_first() {
    let mut roomy = fast();
    roomy.receive_window = 4 << 20;
    roomy.max_message = 1 << 20;
    let mut pair = Pair::with([builder(), builder().config(roomy)]).await;
    let small = numbered(1, 10_000);
    pair.cut();
    while pair.near.try_send(on_stream(0), small.clone()).is_ok() {}
    // It needs the whole buffer; those behind it would fit long before.
    let send = |stream, payload| {
        let near = pair.near.clone();
        async move { near.send(on_stream(stream), payload).await.unwrap() }
    };
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut large = Box::pin(send(1, numbered(2, 1_000_000)));
    assert!(large.as_mut().poll(&mut cx).is_pending());
    let large = tokio::spawn(large);
    let mut behind = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let mut next = Box::pin(send(2, small.clone()));
        assert!(next.as_mut().poll(&mut cx).is_pending());
        behind.spawn(next);
    }
    // And one that does not stand in line at all.
    behind.spawn({
        let (near, small) = (pair.near.clone(), small.clone());
        async move {
            for _ in 0..50 {
                while near.try_send(on_stream(2), small.clone()).is_err() {
                    tokio::time::sleep(millis(1)).await;
                }
            }
        }
    });
    pair.mend();
    let mut order = Vec::new();
    while order.len() < 101 {
        let message = message(&mut pair.far_rx).await;
        number_of(&message);
        if message.stream != StreamId(0) {
            order.push(message.stream.0);
        }
    }
    assert_eq!(order[0], 1, "nobody overtakes the large one");
    assert_eq!(order[1..], [2; 100]);
    soon(large).await.unwrap();
    soon(behind.join_all()).await;
}

/// Sends `count` messages of 10,000 bytes while they are read.
async fn transfer(near: &esock::Association, far_rx: &mut esock::Receiver, count: u64) -> Duration {
    let start = Instant::now();
    let sender = tokio::spawn({
        let near = near.clone();
        async move {
            for number in 0..count {
                near.send(on_stream(0), numbered(number, 10_000)).await.unwrap();
            }
        }
    });
    let all: Vec<u64> = (0..count).collect();
    assert_eq!(numbers(far_rx, count).await, all);
    soon(sender).await.unwrap();
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_closes_its_own_window_and_nobody_elses() {
    let mut slow = Pair::new().await;
    // A second client on the same sockets, to the same server.
    let client = endpoint().await;
    let ((near, _near_rx), (_far, mut far_rx)) = connect(&client, &slow.server).await;
    let alone = transfer(&near, &mut far_rx, 2000).await;

    let stuck = tokio::spawn({
        let near = slow.near.clone();
        async move {
            for number in 0..1000 {
                near.send(on_stream(0), numbered(number, 10_000)).await.unwrap();
            }
        }
    });
    until("the slow reader's window is closed", || slow.near.stats().unwrap().peer_rwnd < 10_000).await;
    let beside = transfer(&near, &mut far_rx, 2000).await;
    println!("20 MB took {alone:?} alone, {beside:?} beside a slow reader");
    assert!(!stuck.is_finished());
    assert!(beside < alone * 4 + Duration::from_secs(2), "{alone:?} became {beside:?}");
    let held = slow.far.stats().unwrap().receive_buffered;
    assert!((900_000..=(1 << 20) * 9 / 8).contains(&held), "{held}");

    let all: Vec<u64> = (0..1000).collect();
    assert_eq!(numbers(&mut slow.far_rx, 1000).await, all);
    soon(stuck).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_network_loses_repeats_and_reorders_nothing() {
    let seed = std::env::var("ESOCK_SEED").map_or(7, |seed| seed.parse().unwrap());
    println!("ESOCK_SEED={seed}");
    let mut pair = Pair::new().await;
    pair.client.impairment(|network| {
        network.reseed(seed);
        network.set_drop_probability(v4(1), Direction::Both, 0.05);
        network.set_delay(v4(1), Direction::Incoming, millis(2));
    });
    let sender = tokio::spawn({
        let near = pair.near.clone();
        async move {
            for number in 0..600 {
                near.send(on_stream((number % 3) as u16), numbered(number, 4000)).await.unwrap();
            }
        }
    });
    let mut next = [0, 1, 2];
    for _ in 0..600 {
        let message = message(&mut pair.far_rx).await;
        let stream = usize::from(message.stream.0);
        assert_eq!(number_of(&message), next[stream]);
        next[stream] += 3;
    }
    soon(sender).await.unwrap();
    assert!(pair.client.impairment(|network| network.dropped()).unwrap() > 0);
    assert!(pair.near.stats().unwrap().counters.retransmissions > 0);
}

/// How much of `busy` was done when another task of the same thread had its first turn.
async fn done_before_another_runs<F: Future<Output = ()> + Send + 'static>(busy: impl FnOnce(Arc<AtomicUsize>) -> F) {
    let done = Arc::new(AtomicUsize::new(0));
    let busy = tokio::spawn(busy(done.clone()));
    let before = tokio::spawn({
        let done = done.clone();
        async move { done.load(Ordering::Relaxed) }
    });
    let before = soon(before).await.unwrap();
    soon(busy).await.unwrap();
    assert!((1..1000).contains(&before) && done.load(Ordering::Relaxed) == 1000, "{before}");
}

#[tokio::test]
async fn a_task_that_always_finds_something_to_send_or_to_read_lets_others_run() {
    let (server, client) = (endpoint().await, endpoint().await);
    let ((ours, _our_rx), (theirs, mut their_rx)) = connect(&client, &server).await;
    let sender = ours.clone();
    done_before_another_runs(|done| async move {
        for number in 0..1000 {
            sender.send(on_stream(0), numbered(number, 16)).await.unwrap();
            done.fetch_add(1, Ordering::Relaxed);
        }
    })
    .await;
    until("all is there", || theirs.stats().is_some_and(|stats| stats.ready_messages == 1000)).await;
    done_before_another_runs(|done| async move {
        for _ in 0..1000 {
            message(&mut their_rx).await;
            done.fetch_add(1, Ordering::Relaxed);
        }
    })
    .await;
}
